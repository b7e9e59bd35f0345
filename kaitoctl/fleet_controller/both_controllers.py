"""Both controllers: that of the Workspaces, and that of the sets which make Workspaces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from kaitoctl import workspace_controller
from kaitoctl.fleet_controller import wiring
from kaitoctl.fleet_controller.replica_capacity import Room
from kaitoctl.kaito.desired import Settings
from kaitoctl.kaito.kaito_at_work import Rival
from kaitoctl.reconcile.controller import ReconcileResult
from kaitoctl.reconcile.generator_driver import Sender
from kaitoctl.workspace_controller import Running

if TYPE_CHECKING:
    from kaitoctl.kube.client import Client


async def run_together(
    client: Client,
    *,
    namespace: str = "",
    settings: Settings | None = None,
    workers: int = 16,
    allowed: Callable[[], bool] | None = None,
    sender: Sender | None = None,
    observer: Callable[[ReconcileResult], None] | None = None,
    started: Callable[[Running], None] | None = None,
    beside: Callable[[Rival], None] | None = None,
) -> None:
    """Manage Workspaces, and InferenceSets where the cluster has them, until cancelled.

    Args:
        client: of the cluster.
        namespace: as in `workspace_controller.run`, and so are the others.
        settings: of what is built.
        workers: how many Workspaces are worked on at a time.
        allowed: asked before every request.
        sender: carries out the requests instead of `client`.
        observer: called with every reconcile of a Workspace.
        started: given the Workspaces' controller each time before it begins.
        beside: called when KAITO's controller turns up.
    """
    settings = settings or Settings()
    room = Room(settings)

    def begins(running: Running) -> None:
        room.running = running
        if started is not None:
            started(running)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(
            workspace_controller.run(
                client,
                namespace=namespace,
                settings=settings,
                workers=workers,
                allowed=allowed,
                sender=sender,
                observer=observer,
                started=begins,
                beside=beside,
            )
        )
        tasks.create_task(
            wiring.run(
                client,
                namespace=namespace,
                settings=settings,
                allowed=allowed,
                sender=sender,
                room=room,
                is_used=room.is_used,
            )
        )
