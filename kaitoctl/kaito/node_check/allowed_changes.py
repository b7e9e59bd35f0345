"""What may be advised about a node: nothing that takes it away from somebody else. Pure.

Every command that changes a node (labels, taints, cordons) passes through here, so that one place decides:
a node that holds another's GPU pods, or that says by its labels that it is another Workspace's, is only
looked at; labels of the platform and of KAITO are never written; a label's present value is overwritten
only on an empty node that the user has named.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from kaitoctl.advice import Command
from kaitoctl.kaito import api, kubectl_hints
from kaitoctl.kaito.node_check import sharing, taints
from kaitoctl.kaito.node_check.facts import LABELS_OWNER, NodeFacts
from kaitoctl.kaito.node_check.need import Need

_UNDER_WAY = ("leaving", "trouble")


class AllowedChanges(Struct, frozen=True):
    """What may be advised about one node.

    Args:
        node: the node.
        owner: who it belongs to by its labels, empty when it is nobody else's.
        held: how much pods of others hold there, devices of any kind; None when that is not known.
        is_named: whether preferredNodes names it.
    """

    node: NodeFacts
    owner: str
    held: int | None
    is_named: bool

    @property
    def is_free(self) -> bool:
        """Whether it is known that nobody else has it."""
        return not self.owner and self.held == 0

    @property
    def why_not(self) -> str:
        """Why the node is only to be looked at; empty when that is not so."""
        if self.owner:
            return f"it belongs to {self.owner}: leave it alone, and choose another node"
        if self.held:
            return "it holds GPU pods of others: leave it alone, or ask them first"
        return ""

    def may_add_label(self, key: str) -> bool:
        """Whether a label that the node lacks may be set."""
        if self.owner or self.held or is_platforms(key):
            return False
        return self.held == 0 or self.is_named

    def may_overwrite_label(self, key: str) -> bool:
        """Whether a label that the node has may get another value."""
        return self.is_free and self.is_named and not is_platforms(key)

    @property
    def may_remove_taint(self) -> bool:
        """Whether a taint that somebody has set by hand may be taken off."""
        return self.is_free

    @property
    def may_uncordon(self) -> bool:
        """Whether the node may take pods again.

        Not while something takes it away, repairs it or works on its GPUs, and not while others run there:
        whoever closed it may be waiting for them to end.
        """
        busy = bool(self._at_work or sharing.changing(self.node.labels)[0] or self.node.cordoned_by)
        return not (self.owner or self.held or self.node.is_being_deleted or busy)

    @property
    def _at_work(self) -> list[taints.Owner]:
        """Whose taints say that they take the node away, or repair it."""
        owners = [taints.owner_of(taint) for taint in self.node.taints if not is_cordon(taint)]
        return [owner for owner in owners if owner is not None and owner.kind in _UNDER_WAY]

    @property
    def why_cordoned(self) -> str:
        """Who closed the node, as far as it says so, and what to do; empty when nothing tells."""
        if who := self.node.cordoned_by:
            return f"{who} closed it and opens it again; uncordoning would fight it: choose another node"
        leaving = [owner for owner in self._at_work if owner.kind == "leaving"]
        if leaving:
            return f"{leaving[0].name} is taking it away; uncordoning would fight it: choose another node"
        return ""

    def look(self, what: str = "describe") -> Command:
        """A command that shows the node and changes nothing: `describe`, `labels` or `pods`."""
        name = self.node.name
        return {
            "describe": Command("kubectl describe node", name),
            "labels": kubectl_hints.labels_of(name),
            "pods": kubectl_hints.pods_on(name),
        }[what]


def allowed_changes(need: Need, node: NodeFacts, held: int | None) -> AllowedChanges:
    """What may be advised about a node to whom asks for it."""
    return AllowedChanges(node, owner_of(need.owner, node), held, node.name in need.preferred)


def owner_of(workspace: tuple[str, str], node: NodeFacts) -> str:
    """Who else the node belongs to by its labels, empty when nobody.

    Args:
        workspace: namespace and name of the one that asks; the name is empty when there is none yet.
        node: the node.
    """
    labels = node.labels
    for name_key, namespace_key in (
        (api.LABEL_WORKSPACE, api.LABEL_WORKSPACE_NAMESPACE),
        (LABELS_OWNER[1], LABELS_OWNER[0]),
    ):
        if name := labels.get(name_key):
            owner = (labels.get(namespace_key) or workspace[0], name)
            if owner != workspace:
                return f"Workspace {'/'.join(owner)}"
    if name := labels.get("kaito.sh/ragengine"):
        return f"RAGEngine {name}"
    if name := labels.get("karpenter.kaito.sh/inferenceset"):
        return f"InferenceSet {name}"
    return ""


def could_be_labelled(asked: Mapping[str, str], have: Mapping[str, str]) -> bool:
    """Whether only labels are missing that a person may set: another value is somebody else's."""
    return all(
        have.get(key) == value or (key not in have and not is_platforms(key)) for key, value in asked.items()
    )


def is_platforms(key: str) -> bool:
    """Whether a label is KAITO's or the platform's to write."""
    return key in api.RESERVED_LABELS or taints.is_platforms(key)


def is_cordon(taint: object) -> bool:
    """Whether the node controller keeps this taint in step with spec.unschedulable."""
    return isinstance(taint, dict) and taint.get("key") == "node.kubernetes.io/unschedulable"
