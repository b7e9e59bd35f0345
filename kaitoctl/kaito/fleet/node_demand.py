"""A fleet -> the Workspaces that stand for it where nodes are judged. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from kaitoctl.kaito import node_check
from kaitoctl.kaito.fleet import kinds
from kaitoctl.kaito.fleet.replicas import wanted_replicas, workspace_of
from kaitoctl.kaito.fleet.roles import sets_of
from kaitoctl.kube.objects import Object


def demands(fleet: Object) -> Iterator[Object]:
    """One Workspace for each set, called after it, that takes as many nodes as all of its replicas.

    The sets of a MultiRoleInference select nodes by two labels more than it says itself.

    Args:
        fleet: an InferenceSet, or a MultiRoleInference; of any other kind there is none.
    """
    if kinds.is_multi_role(fleet):
        for one in sets_of(fleet):
            yield from demands(one)
    elif kinds.is_set(fleet):
        made = replica_demand(fleet)
        if replicas := wanted_replicas(fleet):
            yield node_check.of_replicas(made, replicas)


def replica_demand(inference_set: Object) -> Object:
    """What one more replica takes, called after the set."""
    return workspace_of(inference_set, str(inference_set["metadata"].get("name") or ""))
