"""What the stores say about nodes: who bought them, whose pods are on them, what a Workspace's share is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from kaitoctl.kaito import api, sharing
from kaitoctl.kaito import claims as claims_
from kaitoctl.kaito import nodes as nodes_
from kaitoctl.kaito import status as status_
from kaitoctl.kaito.nodes import Finding, NodeVerdict, Verdict
from kaitoctl.kaito.sharing import Seeker
from kaitoctl.kube import conditions
from kaitoctl.kube.objects import (
    Object,
    ObjectKey,
    dig,
    generation_of,
    is_being_deleted,
    key_of,
    labels_of,
    resource_version_of,
    uid_of,
)
from kaitoctl.kube.pods import is_finished
from kaitoctl.workspace_controller.stores import (
    Stores,
    node_of_claim,
    node_of_pod,
    sought,
    workspace_of_labels,
)

_MOST_KNOWN = 50_000
_FEW_KNOWN = 1_000


@dataclass(frozen=True, slots=True)
class Look:
    """What a pass found out about a Workspace's nodes.

    Args:
        verdict: its `selected` nodes are those that the Workspace has, and its share of the free ones.
        held: nodes that exist and have unfinished pods of the Workspace.
        undecided: how many of its pods have no node yet, and the scheduler has not said that there is none.
        waits_for_others: usable nodes are there, and they are other Workspaces'.
    """

    verdict: Verdict
    held: frozenset[str]
    undecided: int = 0
    waits_for_others: bool = False


class NodeView:
    """Answers about nodes, from the stores alone.

    Args:
        stores: the world as last seen.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._known: dict[tuple[object, ...], tuple[object, NodeVerdict]] = {}
        self._forgets_at = _FEW_KNOWN

    def look(self, workspace: Object) -> Look:
        """The Workspace's own nodes and its share of those that several could use."""
        whole = self._judged(workspace)
        there = self._stores.pods.by(workspace_of_labels, key_of(workspace))
        pods = [pod for pod in there if not is_finished(pod) and self._exists(dig(pod, "spec", "nodeName"))]
        undecided = sum(map(_is_undecided, there))
        held = frozenset(pod["spec"]["nodeName"] for pod in pods)
        usable = [node.name for node in whole.nodes if node.usable]
        mine = [name for name in usable if name in held]
        # A node that stumbles under pods that stay is still the Workspace's.
        stumbling = {pod["spec"]["nodeName"] for pod in pods if not is_being_deleted(pod)} - set(mine)
        needs = whole.required - len(mine) - len(stumbling)
        free = [name for name in usable if name not in held]
        if needs <= 0 or not free:
            return Look(replace(whole, selected=tuple(mine[: whole.required])), held, undecided)
        shares, holders = self._shares(workspace, free, needs)
        share = shares.get(key_of(workspace), ())
        selected = tuple([*mine, *share][: whole.required])
        others = [name for name in free if name not in share]
        verdict = replace(whole, selected=selected)
        if verdict.missing and others:
            verdict = replace(verdict, nodes=tuple(_kept(node, others, holders) for node in verdict.nodes))
        return Look(verdict, held, undecided, waits_for_others=bool(verdict.missing and others))

    def _forget(self) -> None:
        """Drop judgements of nodes that have gone or changed; seldom, as it looks at all nodes."""
        now = {key.name: resource_version_of(node) for key, node in self._stores.nodes.items()}
        known = self._known.items()
        self._known = {slot: found for slot, found in known if now.get(str(slot[0])) == found[0]}
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        self._forgets_at = max(_FEW_KNOWN, min(2 * len(self._known), _MOST_KNOWN))

    def wanted_by_others(self, workspace: Object, nodes: Collection[str]) -> set[str]:
        """Which of these nodes, bought for the Workspace and not needed by it, others plan with."""
        shares, _ = self._shares(workspace, nodes, 0)
        mine = key_of(workspace)
        return {name for key, names in shares.items() if key != mine for name in names} & set(nodes)

    def serving(self, workspace: Object, ready: Iterable[str]) -> set[str]:
        """Those of the nodes that would suit the Workspace as it is now."""
        suits = {node.name for node in self._judged(workspace).nodes if node.usable}
        return suits & set(ready)

    def guests(self, node: str, workspace: ObjectKey | None) -> list[str]:
        """The namespaces whose pods hold GPUs of the node, the Workspace's own pods left out."""
        pods = (pod for pod in self._stores.gpu_pods.by(node_of_pod, node) if not is_finished(pod))
        return sorted({key_of(pod).namespace for pod in pods if workspace not in workspace_of_labels(pod)})

    # --- shares ------------------------------------------------------------------------------------------

    def _exists(self, node: str | None) -> bool:
        return bool(node) and ObjectKey("", str(node)) in self._stores.nodes

    def _judged(self, workspace: Object, *, pods_of_all: bool = False) -> Verdict:
        """Of the nodes that the Workspace names and of those with all its labels: no other can be used.

        Args:
            workspace: the Workspace.
            pods_of_all: count the GPUs of its own pods as taken, too.
        """
        store, labels = self._stores.nodes, nodes_.labels_asked(workspace)
        keys = [ObjectKey("", name) for name in nodes_.preferred_nodes(workspace)]
        nodes = {key: store[key] for key in keys if key in store}
        names = () if len(nodes) == len(keys) else [key.name for key in store]
        of_type = {api.LABEL_INSTANCE_TYPE: nodes_.instance_type_of(workspace)}
        nodes |= {key_of(node): node for node in store.labelled(labels or of_type)}
        own = None if pods_of_all else key_of(workspace)
        pods = (pod for key in nodes for pod in self._stores.gpu_pods.by(node_of_pod, key.name))
        others = [pod for pod in pods if own not in workspace_of_labels(pod)]
        if len(self._known) > self._forgets_at:
            self._forget()
        return nodes_.verdict(workspace, nodes.values(), others, known_names=names, known=self._known)

    def _shares(
        self, workspace: Object, nodes: Iterable[str], needs: int
    ) -> tuple[dict[ObjectKey, tuple[str, ...]], Mapping[str, ObjectKey]]:
        """Everybody's share of the nodes, and of those that the same Workspaces could use besides.

        Args:
            workspace: who asks.
            nodes: those that it could use.
            needs: how many of them it lacks.

        Returns:
            The shares, and who has which node in his.
        """
        found: dict[ObjectKey, tuple[Object, Verdict]] = {}
        names, looked_for = set(nodes), set[object]()
        fresh, classes = set(names), dict[str, Verdict]()
        mine = key_of(workspace)
        while fresh:
            marks = {mark for name in fresh for mark in self._marks(name)} - looked_for
            looked_for |= marks
            fresh = set()
            for mark in marks:
                for other in self._stores.workspaces.by(sought, mark):
                    key = key_of(other)
                    if key == mine or key in found or is_being_deleted(other):
                        continue
                    asked = repr((other.get("resource"), dig(other, "inference", "preset", "name")))
                    verdict = classes.get(asked) or self._judged(other, pods_of_all=True)
                    classes[asked] = verdict
                    found[key] = other, verdict
                    fresh |= {node.name for node in verdict.nodes if node.usable} - names
            names |= fresh
        if not found:
            return {mine: self._alone(workspace, names, mine)[:needs]}, {}
        bought = {name: owner for name in names if (owner := self._bought_for(name)) is not None}
        leaving = {name for name, owner in bought.items() if owner not in found and owner != mine}
        whole = self._judged(workspace, pods_of_all=True)
        free = {
            node.name: node.gpus.allocatable - (node.gpus.in_use or 0)
            for verdict in (whole, *classes.values())
            for node in verdict.nodes
            if node.usable and node.name not in leaving
        }
        found.setdefault(mine, (workspace, whole))
        seekers = [
            self._seeker(key, other, verdict, bought, needs if key == mine else None)
            for key, (other, verdict) in found.items()
        ]
        shares = sharing.shares(seekers, free, bought)
        return shares, {name: key for key, taken in shares.items() for name in taken}

    def _alone(self, workspace: Object, nodes: Iterable[str], mine: ObjectKey) -> tuple[str, ...]:
        """The nodes of a Workspace that nobody competes with, best first."""
        named = nodes_.preferred_nodes(workspace)
        owners = {name: self._bought_for(name) for name in nodes}
        ran_on = dig(workspace, "status", "workerNodes") or ()
        ranked = sorted(owners, key=lambda name: (owners[name] != mine, name not in ran_on, name))
        usable = [name for name in ranked if owners[name] in (None, mine)]
        return tuple(
            [name for name in named if name in usable] + [name for name in usable if name not in named]
        )

    def _marks(self, node: str) -> list[object]:
        there = self._stores.nodes.get(ObjectKey("", node))
        return [node, *labels_of(there).items()] if there is not None else [node]

    def _bought_for(self, node: str) -> ObjectKey | None:
        """Whose node it is; of somebody who is no more while its claim is still there, or is leaving."""
        for claim in self._stores.claims.by(node_of_claim, node):
            owner = next(iter(workspace_of_labels(claim)), ObjectKey("", ""))
            living = self._stores.workspaces.get(owner)
            if living is None or is_being_deleted(claim) or not claims_.is_of(claim, living):
                return ObjectKey("", "")
            return owner
        there = self._stores.nodes.get(ObjectKey("", node))
        owners = workspace_of_labels(there) if there is not None else []
        return next((owner for owner in owners if owner in self._stores.workspaces), None)

    def _seeker(
        self,
        key: ObjectKey,
        workspace: Object,
        verdict: Verdict,
        bought: Mapping[str, ObjectKey],
        needs: int | None,
    ) -> Seeker:
        """A Workspace that could use some of the nodes.

        Args:
            key: its name.
            workspace: the Workspace.
            verdict: of its nodes.
            bought: whose nodes are whose.
            needs: how many nodes it lacks; None to work it out.
        """
        is_asking = needs is not None
        if needs is None:
            pods = self._stores.gpu_pods.by(workspace_of_labels, key)
            held = {
                name
                for pod in pods
                for name in node_of_pod(pod)
                if self._exists(name) and not is_finished(pod)
            }
            needs = 0 if _needs_nothing(workspace) else verdict.required - len(held)
        usable = [node for node in verdict.nodes if node.usable]
        ran_on = dig(workspace, "status", "workerNodes") or ()
        own = {node.name for node in usable if bought.get(node.name) == key}
        before = {node.name for node in usable if node.name in ran_on and node.name not in bought}
        named = tuple(nodes_.preferred_nodes(workspace))
        return Seeker(
            key,
            (str(workspace["metadata"].get("creationTimestamp") or ""), uid_of(workspace)),
            max(needs, 0),
            {node.name: nodes_.gpus_per_pod(workspace, [node]) for node in usable},
            frozenset(own),
            frozenset(before),
            *self._bought(key, workspace, {node.name for node in usable}),
            named,
            takes_part=self._stores.can_claim() and not named and not claims_.contradiction(workspace),
            takes_turns=is_asking or not _is_stuck(workspace),
        )

    def _bought(self, key: ObjectKey, workspace: Object, usable: Collection[str]) -> tuple[int, int]:
        """How many nodes that were bought for it are not fit for use yet, and how many others took."""
        claims = self._stores.claims.by(claims_.owner_uids, uid_of(workspace))
        nodes = [claims_.node_of(one) for one in claims if not is_being_deleted(one)]
        lost = sum(bool(node) and bool(self.guests(node, key)) for node in nodes if node not in usable)
        return sum(node not in usable for node in nodes) - lost, lost


def _is_undecided(pod: Object) -> bool:
    """Whether a pod waits for the scheduler, which may yet find a node for it."""
    if dig(pod, "spec", "nodeName") or is_finished(pod) or is_being_deleted(pod):
        return False
    scheduled = conditions.find(pod, "PodScheduled") or {}
    return (scheduled.get("status"), scheduled.get("reason")) != ("False", "Unschedulable")


def _kept(node: NodeVerdict, others: Collection[str], holders: Mapping[str, ObjectKey]) -> NodeVerdict:
    """A node that the Workspace names, and that is in another's share."""
    if not node.preferred or node.name not in others:
        return node
    holder = holders.get(node.name)
    message = f"it is kept for the Workspace {holder}" if holder else "it is another Workspace's, and leaves"
    finding = Finding("of-another-workspace", "fail", message, "choose another node", stage="selection")
    return replace(node, findings=(*node.findings, finding))


def _needs_nothing(workspace: Object) -> bool:
    """Whether it is a tuning Workspace that is done."""
    return bool(workspace.get("tuning")) and conditions.is_true(
        workspace, api.WORKSPACE_SUCCEEDED, generation=generation_of(workspace)
    )


def _is_stuck(workspace: Object) -> bool:
    """Whether its own status says that it gets no further by waiting: nobody waits for it, then."""
    told = conditions.find(workspace, api.WORKSPACE_SUCCEEDED) or {}
    is_of_now = int(told.get("observedGeneration") or 0) == generation_of(workspace)
    return is_of_now and told.get("reason") == status_.FAILED
