"""What a verdict on nodes is made of, wherever it comes from: a cluster or saved lists."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from kaitoctl.kaito import node_check
from kaitoctl.kube.objects import dig

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from kaitoctl.kaito.node_check import Rules, Verdict
    from kaitoctl.kube.objects import Object


class ObservedNodes(Struct, frozen=True):
    """Nodes, and the pods on them, that a verdict is made of.

    Args:
        nodes: those that may matter.
        pods: those that hold GPUs, the Workspace's own left out; None when they could not be listed.
        names: further nodes of the cluster.
        pods_of: the nodes whose pods are listed, None for all.
        crowds: how many pods of any kind are on a node; None when they could not be listed.
        taken: what those of others request there besides devices; None when they could not be listed.
    """

    nodes: list[Object]
    pods: list[Object] | None
    names: tuple[str, ...] = ()
    pods_of: frozenset[str] | None = None
    crowds: Mapping[str, int] | None = None
    taken: Mapping[str, Mapping[str, Decimal]] | None = None

    def verdict(self, workspace: Object, rules: Rules) -> Verdict:
        """The answer for a Workspace, from what was seen; of a model, its size says how many."""
        found = self._judged(workspace, rules)
        name = dig(workspace, "inference", "preset", "name")
        if rules.target != "kaitoctl" or not isinstance(name, str):  # KAITO's own count is in the rules
            return found
        if rules.catalog.model(name) is None:
            return self._of_unknown_size(workspace, found, name) if "/" in name else found
        # The sizes of models are known to those who make their objects, which most verdicts need not load.
        from kaitoctl.kaito import desired
        from kaitoctl.workspace_controller import node_shape

        settings = desired.Settings(catalog=rules.catalog, context=rules.context)
        replicas, asked = node_check.replicas_of(workspace), node_check.required_nodes(workspace)
        one = _with_count(workspace, asked // replicas)
        count = replicas * desired.target_nodes(one, settings, nodes=node_shape(one, settings, found))
        return found if count == asked else self._judged(_with_count(workspace, count), rules)

    def _of_unknown_size(self, workspace: Object, found: Verdict, name: str) -> Verdict:
        """The verdict for a model that only the controller's catalog has: by what it has counted."""
        written = node_check.written_node_count(workspace)
        if written is None:
            return replace(found, unsized=name[:253])
        return self._judged(_with_count(workspace, written), found.rules)

    def _judged(self, workspace: Object, rules: Rules) -> Verdict:
        return node_check.verdict(
            workspace,
            self.nodes,
            self.pods,
            rules=rules,
            known_names=self.names,
            pods_of=self.pods_of,
            crowds=self.crowds,
            taken=self.taken,
            now=datetime.now(UTC),
        )


def _with_count(workspace: Object, count: int) -> Object:
    return {**workspace, "resource": {**(workspace.get("resource") or {}), "count": count}}
