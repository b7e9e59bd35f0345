"""Whether there are nodes for one more replica: free ones, or such as may be bought."""

from __future__ import annotations

from dataclasses import dataclass, field

from kaitoctl.kaito import node_check
from kaitoctl.kaito.desired import Settings
from kaitoctl.kube.objects import Object
from kaitoctl.workspace_controller import Running
from kaitoctl.workspace_controller.node_view import NodeView


@dataclass(slots=True)
class Room:
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
