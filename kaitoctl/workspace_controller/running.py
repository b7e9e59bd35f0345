"""The reconciler on a cluster: informers fill its stores, and say which Workspaces a change is news to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kaitoctl.errors import ApiError, KaitoctlError
from kaitoctl.kaito import api, revisions, rivals
from kaitoctl.kaito import nodes as nodes_
from kaitoctl.kaito.desired import Settings
from kaitoctl.kaito.rivals import Rival
from kaitoctl.kube import conditions
from kaitoctl.kube.objects import (
    CONFIG_MAP,
    CONTROLLER_REVISION,
    DEPLOYMENT,
    JOB,
    NODE,
    NODE_CLAIM,
    POD,
    SERVICE,
    STATEFUL_SET,
    Kind,
    Object,
    ObjectKey,
    dig,
    is_being_deleted,
    key_of,
    labels_of,
)
from kaitoctl.kube.pods import holding_gpus
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.backoff import Backoff
from kaitoctl.reconcile.controller import Controller, Door, Worked, own_key, owner_keys, run_all
from kaitoctl.reconcile.informer import Change, Informer, Store
from kaitoctl.workspace_controller.reconciler import WorkspaceReconciler
from kaitoctl.workspace_controller.stores import (
    Stores,
    keep_of,
    node_of_claim,
    sought,
    workspace_of_labels,
)

if TYPE_CHECKING:
    from kaitoctl.kube.client import Client

logger = logging.getLogger(__name__)

_RESYNC_S = 600.0

_LOOK_FOR_VERSIONS_S = 60.0
_LOOK_TWICE_S = 5.0


@dataclass(frozen=True, slots=True)
class Running:
    """What can be asked of a controller that runs.

    Args:
        controller: works off the keys.
        informers: show it the cluster.
        workspaces: the Workspaces as last seen.
    """

    controller: Controller
    informers: tuple[Informer, ...]
    workspaces: Store

    @property
    def synced(self) -> bool:
        """True once every store shows the cluster."""
        return all(informer.synced for informer in self.informers)


async def run(
    client: Client,
    *,
    namespace: str = "",
    settings: Settings | None = None,
    workers: int = 16,
    allowed: Callable[[], bool] | None = None,
    door: Door | None = None,
    observer: Callable[[Worked], None] | None = None,
    started: Callable[[Running], None] | None = None,
    beside: Callable[[Rival], None] | None = None,
) -> None:
    """Manage all Workspaces of a namespace (of all namespaces when empty) until cancelled.

    In the newest API version that the cluster serves: a status written through an older one would cost the
    Workspace whatever only the newer one has. While the cluster serves none, it waits; when a CRD that comes
    or goes makes another one the newest, it begins again with that, as after a restart.

    Args:
        client: the door to the cluster.
        namespace: the one to manage; empty for all.
        settings: image registry and generation.
        workers: how many Workspaces are worked on at a time.
        allowed: asked before every request; False while another process leads.
        door: carries out the passes' requests instead of `client`: a dry run's.
        observer: told of every pass.
        started: given what can be asked of the controller, each time before it begins.
        beside: called when KAITO's controller turns up among the Deployments; must neither block nor raise.
    """
    served = await _served(client)
    while True:
        manages = _manage(
            client,
            served,
            namespace=namespace,
            settings=settings or Settings(),
            workers=workers,
            allowed=allowed,
            door=door,
            observer=observer,
            started=started,
            beside=beside,
        )
        other = await _until_another_is_served(client, served, manages)
        logger.warning(
            "Workspaces are managed in %s from now on, no longer in %s", other.version, served.version
        )
        served = other


async def _until_another_is_served(client: Client, served: Kind, manages: Coroutine[Any, Any, None]) -> Kind:
    """Manage Workspaces until they should be managed in another version; returns that.

    What is stopped between two requests goes on with the next pass: passes do not rely on one another.
    """
    managing = asyncio.create_task(manages)
    looking = asyncio.create_task(_another_version(client, served))
    try:
        await asyncio.wait({managing, looking}, return_when=asyncio.FIRST_COMPLETED)
        if managing.done():
            await managing
    finally:
        managing.cancel()
        looking.cancel()
        await asyncio.gather(managing, looking, return_exceptions=True)
    return looking.result()


async def _another_version(client: Client, served: Kind) -> Kind:
    """Workspaces in the version that is the newest served, once that is another one than before."""
    while True:
        await asyncio.sleep(_LOOK_FOR_VERSIONS_S)
        if await _newest_served(client) in (None, served):
            continue
        # Of several API servers, one may be behind: what it says is not what the next request meets.
        await asyncio.sleep(_LOOK_TWICE_S)
        if (kind := await _newest_served(client)) is not None and kind != served:
            return kind


async def _newest_served(client: Client) -> Kind | None:
    """Workspaces in the newest version that is served; None also when there is no telling."""
    try:
        return api.newest(api.served_versions(await client.send(Request("GET", f"/apis/{api.GROUP}"))))
    except KaitoctlError as error:
        logger.debug("which versions of %s are served? %s", api.WORKSPACE.resource, error)
        return None


async def _manage(
    client: Client,
    served: Kind,
    *,
    namespace: str,
    settings: Settings,
    workers: int,
    allowed: Callable[[], bool] | None,
    door: Door | None,
    observer: Callable[[Worked], None] | None,
    started: Callable[[Running], None] | None,
    beside: Callable[[Rival], None] | None,
) -> None:
    """Manage Workspaces in the version that is given until cancelled; the rest as for `run`."""

    def of(kind: Kind, **options: Any) -> Informer:
        return Informer(client, kind, namespace=namespace, packed=True, keep=keep_of(kind), **options)

    workspaces, services = of(served), of(SERVICE)
    deployments, stateful_sets, jobs = of(DEPLOYMENT), of(STATEFUL_SET), of(JOB)
    config_maps = of(CONFIG_MAP, label_selector=api.LABEL_WORKSPACE)
    history = of(CONTROLLER_REVISION, label_selector=revisions.LABEL_NAME)
    pods = of(POD, label_selector=api.LABEL_WORKSPACE)
    nodes = Informer(client, NODE, keep=keep_of(NODE), packed=True)
    unfinished = "status.phase!=Succeeded,status.phase!=Failed"
    gpu_pods = Informer(client, POD, field_selector=unfinished, optional=True, keep=holding_gpus)
    claims = Informer(client, NODE_CLAIM, label_selector=api.LABEL_WORKSPACE, optional=True)
    stores = Stores(
        workspaces=workspaces.store,
        deployments=deployments.store,
        stateful_sets=stateful_sets.store,
        services=services.store,
        nodes=nodes.store,
        pods=pods.store,
        gpu_pods=gpu_pods.store,
        claims=claims.store,
        jobs=jobs.store,
        config_maps=config_maps.store,
        revisions=history.store,
        can_claim=lambda: claims.is_served is not False,
    )
    reconciler = WorkspaceReconciler(stores, settings, kind=served)
    controller = Controller(
        "workspace",
        door or client,
        reconciler.reconcile,
        workers=workers,
        resync_s=_RESYNC_S,
        allowed=allowed,
        observer=observer,
        is_thorough=door is None,  # a dry run writes nothing that anybody could be told of
    )
    children_of_ours = (deployments, stateful_sets, services, jobs, config_maps)
    controller.watches(workspaces, own_key)
    controller.watches(workspaces, lambda workspace: _left_by(workspace, workspaces.store))
    for children in children_of_ours:
        controller.watches(children, owner_keys(served))
        controller.watches(children, lambda child: _namesake(child, workspaces.store))
    controller.watches(history, owner_keys(served))
    controller.watches(pods, workspace_of_labels)
    controller.watches(gpu_pods, lambda pod: _waiting_for(pod, stores))
    controller.watches(claims, workspace_of_labels)
    controller.watches(nodes, lambda node: _interested(node, workspaces.store))
    controller.watches(nodes, lambda node: _bought_for(node["metadata"]["name"], stores))
    claims.when_served(controller.look_at_all)
    if beside is not None:
        deployments.subscribe(lambda change: _look_for_kaito(change, beside))
    informers = (workspaces, *children_of_ours, history, pods, gpu_pods, nodes, claims)
    if started is not None:
        started(Running(controller, informers, workspaces.store))
    await run_all(*informers, controller)


def _look_for_kaito(change: Change, beside: Callable[[Rival], None]) -> None:
    if change.new is not None and rivals.is_candidate(change.new):
        for rival in rivals.of_deployments([change.new]):
            beside(rival)


async def _served(client: Client) -> Kind:
    """Workspaces in the newest version that the cluster serves and we know, once it serves one."""
    clock, backoff, told = asyncio.get_running_loop().time, Backoff(), ""
    while True:
        try:
            answer = await client.send(Request("GET", f"/apis/{api.GROUP}"))
            if (kind := api.newest(api.served_versions(answer))) is not None:
                return kind
            why = f"no version of {api.WORKSPACE.resource} that kaitoctl speaks is served"
        except ApiError as error:
            why = f"{api.WORKSPACE.resource} is not served" if error.status == 404 else str(error)
        except KaitoctlError as error:
            why = str(error)
        if why != told:
            logger.warning("%s; asking again", why)
            told = why
        await asyncio.sleep(backoff.delay(clock()))


def _namesake(child: Object, workspaces: Store) -> Iterable[ObjectKey]:
    """A foreign object of our name that comes or goes makes or ends a name conflict."""
    key = key_of(child)
    endings = ("-headless", "-tuning-config")
    of_these = {ObjectKey(key.namespace, key.name.removesuffix(ending)) for ending in endings}
    return [name for name in {key} | of_these if name in workspaces]


def _waiting_for(pod: Object, stores: Stores) -> list[ObjectKey]:
    """Who may want the GPUs of the node that a pod comes to or leaves, and who waits to give that back."""
    name = dig(pod, "spec", "nodeName") or ""
    node = stores.nodes.get(ObjectKey("", name))
    waiting = _interested(node, stores.workspaces) if node is not None else []
    return [*waiting, *(key for key in _bought_for(name, stores) if key not in waiting)]


def _bought_for(node: str, stores: Stores) -> list[ObjectKey]:
    """Whose NodeClaim the node came with, whether it is still there or not."""
    return [key for claim in stores.claims.by(node_of_claim, node) for key in workspace_of_labels(claim)]


def _left_by(workspace: Object, workspaces: Store) -> list[ObjectKey]:
    """Who waits for nodes that were kept for a Workspace that goes."""
    if key_of(workspace) in workspaces and not is_being_deleted(workspace):
        return []
    found = (one for mark in sought(workspace) for one in workspaces.by(sought, mark))
    return [key_of(one) for one in found if not conditions.is_true(one, api.RESOURCE_READY)]


def _interested(node: Object, workspaces: Store) -> list[ObjectKey]:
    """The Workspaces that may use the node: they name it, or it has all the labels that they ask for."""
    name, labels = node["metadata"]["name"], labels_of(node)
    found = workspaces.by(sought, name)
    for label in labels.items():
        asking = workspaces.by(sought, label)
        found += [one for one in asking if nodes_.labels_asked(one).items() <= labels.items()]
    return [key_of(workspace) for workspace in found]
