"""The reconciler on a cluster: informers fill its stores, and say which sets a change is news to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from kaitoctl.errors import KaitoctlError
from kaitoctl.fleet_controller.reconcile import FleetReconciler, FleetStores, set_of_workspace
from kaitoctl.kaito import api
from kaitoctl.kaito.desired import Settings
from kaitoctl.kaito.fleet import history, kinds
from kaitoctl.kube.objects import CONTROLLER_REVISION, Kind, Object, ObjectKey, without_managed_fields
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.controller import Controller, ReconcileResult, own_key, owner_keys, run_all
from kaitoctl.reconcile.generator_driver import Sender
from kaitoctl.reconcile.informer import Informer

if TYPE_CHECKING:
    from kaitoctl.kube.client import Client

logger = logging.getLogger(__name__)

_RESYNC_S = 600.0
_LOOK_FOR_SETS_S = 60.0
_TRANSFORMS: Mapping[Kind, Callable[[Object], Object]] = {CONTROLLER_REVISION: history.trim_revision}


def transform_of(kind: Kind) -> Callable[[Object], Object]:
    """What the stores keep of an object of this kind, for `Informer`."""
    return _TRANSFORMS.get(kind, without_managed_fields)


async def run(
    client: Client,
    *,
    namespace: str = "",
    settings: Settings | None = None,
    workers: int = 4,
    allowed: Callable[[], bool] | None = None,
    sender: Sender | None = None,
    observer: Callable[[ReconcileResult], None] | None = None,
    room: Callable[[Object], str] = lambda workspace: "",
    is_used: Callable[[ObjectKey], bool] = lambda key: False,
) -> None:
    """Manage all InferenceSets of a namespace (of all namespaces when empty) until cancelled.

    While the cluster serves no InferenceSets it waits, and asks again each minute; when another version
    becomes the newest that is served, it begins again with that.

    Args:
        client: of the cluster.
        namespace: the one to manage; empty for all.
        settings: of the Workspaces' controller.
        workers: how many sets are worked on at a time.
        allowed: asked before every request; False while another process leads.
        sender: carries out the reconciler's requests instead of `client`: a dry run's.
        observer: called with every reconcile that ended.
        room: as in `FleetReconciler`.
        is_used: likewise.
    """

    async def manage(kind: Kind) -> None:
        informers = _informers(client, kind, namespace)
        stores = FleetStores(**{name: one.store for name, one in informers.items()})
        controller = Controller(
            "inferenceset",
            sender or client,
            FleetReconciler(stores, settings or Settings(), kind=kind, room=room, is_used=is_used).reconcile,
            workers=workers,
            resync_s=_RESYNC_S,
            allowed=allowed,
            observer=observer,
            ignore_own_writes=sender is None,
        )
        controller.watches(informers["sets"], own_key)
        controller.watches(informers["workspaces"], set_of_workspace)
        controller.watches(informers["revisions"], owner_keys(kind))
        await run_all(*informers.values(), controller)

    await _while_served(client, manage)


async def _while_served(client: Client, manage: Callable[[Kind], Coroutine[Any, Any, None]]) -> None:
    """Manage in the newest version that is served, and in another one from when that is the newest."""
    served: Kind | None = None
    managing: asyncio.Task[None] | None = None
    try:
        while True:
            newest = await _served_kind(client, served)
            if newest != served:
                await _on_end(managing)
                served, managing = newest, None
                if served is not None:
                    managing = asyncio.create_task(manage(served))
            if managing is None:
                await asyncio.sleep(_LOOK_FOR_SETS_S)
            elif (await asyncio.wait({managing}, timeout=_LOOK_FOR_SETS_S))[0]:
                managing.result()  # it ends by an error alone
    finally:
        await _on_end(managing)


async def _on_end(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _informers(client: Client, served: Kind, namespace: str) -> dict[str, Informer]:
    def of(kind: Kind, **options: Any) -> Informer:
        return Informer(client, kind, namespace=namespace, transform=transform_of(kind), **options)

    return {
        "sets": of(served),
        "workspaces": of(api.WORKSPACE_V1BETA1, label_selector=api.LABEL_CREATED_BY_SET),
        "revisions": of(CONTROLLER_REVISION, label_selector=history.LABEL_NAME),
    }


async def _served_kind(client: Client, before: Kind | None) -> Kind | None:
    """InferenceSets in the newest version that is served beside Workspaces of v1beta1; None without.

    A server that does not answer is no news.
    """
    found: dict[str, set[str]] = {}
    for version in kinds.VERSIONS[api.INFERENCE_SET.kind]:
        try:
            answer = await client.send(Request("GET", f"/apis/{api.GROUP}/{version}"))
        except KaitoctlError as error:
            if getattr(error, "status", 0) != 404:
                logger.debug("which versions of %s are served? %s", api.INFERENCE_SET.resource, error)
                return before
            continue
        found[version] = {str(item.get("kind")) for item in answer.get("resources") or ()}
    if api.WORKSPACE.kind not in found.get(api.WORKSPACE_V1BETA1.version, ()):
        return None
    for version in reversed(kinds.VERSIONS[api.INFERENCE_SET.kind]):
        if api.INFERENCE_SET.kind in found.get(version, ()):
            return replace(api.INFERENCE_SET, version=version)
    return None
