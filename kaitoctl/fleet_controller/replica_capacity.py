"""Whether there are nodes and a quota for one more replica, and which names are free for it."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct, field

from kaitoctl.kaito import node_check
from kaitoctl.kaito.desired import Settings
from kaitoctl.kube.objects import Object, ObjectKey, key_of
from kaitoctl.kube.quotas import Pods, Quotas
from kaitoctl.kube.workloads import replicas
from kaitoctl.workspace_controller import Running, workload_of
from kaitoctl.workspace_controller.node_pools import workspace_of_pool
from kaitoctl.workspace_controller.node_view import NodeView
from kaitoctl.workspace_controller.stores import workspace_of_labels


class Room(Struct):
    """Asked by the set's controller of what the Workspace's controller sees.

    Args:
        settings: of the Workspace's controller.
        running: it, once it runs; nothing can be said before.
    """

    settings: Settings
    running: Running | None = field(default=None)

    def __call__(self, workspace: Object) -> str:
        """Why there are no nodes for a Workspace that might be made; empty when there are.

        Nodes are bought by type: without a type, or with nodes of one's own, only free ones count.
        """
        if self.running is None or not self.running.synced:
            return "the cache of nodes is not synced yet"
        stores = self.running.stores
        if (
            self.settings.provisioner != "byo"
            and stores.can_claim()
            and node_check.instance_type_of(workspace)
        ):
            return ""
        look = NodeView(stores, self.settings).look(workspace)
        return "" if look.verdict.enough else look.verdict.summary

    def is_used(self, key: ObjectKey) -> bool:
        """Whether there is still a NodeClaim, a NodePool or a node of an earlier Workspace of this name.

        Another one of that name would be kept from nodes of its own, or its pods would go where those leave.
        """
        if self.running is None:
            return False
        stores = self.running.stores
        claims, pools, nodes = stores.claims, stores.pools, stores.nodes
        return bool(
            claims.keys_by(workspace_of_labels, key)
            or pools.keys_by(workspace_of_pool, key)
            or nodes.keys_by(workspace_of_labels, key)
            or nodes.keys_by(workspace_of_pool, key)
        )


def refused_by_quota(
    workspace: Object, settings: Settings, quotas: Iterable[Object], ranges: Iterable[Object]
) -> str:
    """Why a quota of the namespace refuses pods of a Workspace that might be made; empty when none does.

    Args:
        workspace: that might be made.
        settings: of the Workspace's controller.
        quotas: the ResourceQuotas of its namespace.
        ranges: the LimitRanges of its namespace.
    """
    workload = workload_of(workspace, settings)
    if workload is None:
        return ""
    pods = Pods.made_by(workload, replicas(workload))
    return Quotas(quotas, ranges).take(key_of(workspace).namespace, pods)[1]
