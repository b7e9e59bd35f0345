"""The reconciler on a cluster: informers fill its stores, and say which Workspaces a change is news to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from kaitoctl.kaito import api, kaito_at_work, revisions
from kaitoctl.kaito.desired import Settings
from kaitoctl.kaito.kaito_at_work import Rival
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
)
from kaitoctl.kube.pod_state import UNFINISHED, holding_gpus, is_finished
from kaitoctl.reconcile.controller import Controller, ReconcileResult, own_key, owner_keys, run_all
from kaitoctl.reconcile.derived import Derived
from kaitoctl.reconcile.generator_driver import Sender
from kaitoctl.reconcile.informer import Informer
from kaitoctl.reconcile.store import Change, Store
from kaitoctl.workspace_controller import mappers
from kaitoctl.workspace_controller.node_pools import MANAGED_POOLS, workspace_of_pool
from kaitoctl.workspace_controller.reconcile import WorkspaceReconciler
from kaitoctl.workspace_controller.served_version import (
    run_until_another_is_served,
    wait_served,
)
from kaitoctl.workspace_controller.stores import Stores, transform_of, workspace_of_labels

if TYPE_CHECKING:
    from kaitoctl.kube.client import Client

logger = logging.getLogger(__name__)

_RESYNC_S = 600.0


class Running(Struct, frozen=True):
    """What can be asked of a controller that runs.

    Args:
        controller: works off the keys.
        informers: show it the cluster.
        stores: the cluster as last seen.
    """

    controller: Controller
    informers: tuple[Informer, ...]
    stores: Stores

    @property
    def workspaces(self) -> Store:
        """The Workspaces as last seen."""
        return self.stores.workspaces

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
    sender: Sender | None = None,
    observer: Callable[[ReconcileResult], None] | None = None,
    started: Callable[[Running], None] | None = None,
    beside: Callable[[Rival], None] | None = None,
) -> None:
    """Manage all Workspaces of a namespace (of all namespaces when empty) until cancelled.

    In the newest API version that the cluster serves: a status written through an older one would cost the
    Workspace whatever only the newer one has. While the cluster serves none, it waits; when a CRD that comes
    or goes makes another one the newest, it begins again with that, as after a restart.

    Args:
        client: of the cluster.
        namespace: the one to manage; empty for all.
        settings: image registry and generation.
        workers: how many Workspaces are worked on at a time.
        allowed: asked before every request; False while another process leads.
        sender: carries out the reconciler's requests instead of `client`: a dry run's.
        observer: called with every reconcile that ended.
        started: given what can be asked of the controller, each time before it begins.
        beside: called when KAITO's controller turns up among the Deployments; must neither block nor raise.
    """
    served = await wait_served(client)
    while True:
        settings = settings or Settings()
        informers = _informers(client, served, namespace)
        if settings.provisioner == "karpenter":
            informers["pools"] = Informer(client, api.NODE_POOL, label_selector=MANAGED_POOLS, optional=True)
        gpu_pods = Derived([informers["pods"], informers["other_pods"]], _held, packed=True)
        stores = _stores(informers, gpu_pods)
        controller = Controller(
            "workspace",
            sender or client,
            WorkspaceReconciler(stores, settings, kind=served, one_by_one=sender is None).reconcile,
            workers=workers,
            resync_s=_RESYNC_S,
            allowed=allowed,
            observer=observer,
            ignore_own_writes=sender is None,  # a dry run writes nothing that a watch could show
        )
        _watch(controller, informers, gpu_pods, stores, served)
        if beside is not None:
            informers["deployments"].subscribe(partial(_look_for_kaito, beside))
        if started is not None:
            started(Running(controller, tuple(informers.values()), stores))
        managing = run_all(*informers.values(), controller)
        other = await run_until_another_is_served(client, served, managing)
        logger.warning(
            "Workspaces are managed in %s from now on, no longer in %s", other.version, served.version
        )
        served = other


def _informers(client: Client, served: Kind, namespace: str) -> dict[str, Informer]:
    """What shows the cluster, by the names of `Stores`; `gpu_pods` are made of `pods` and `other_pods`."""

    def of(kind: Kind, **options: Any) -> Informer:
        transform = transform_of(kind)
        return Informer(client, kind, namespace=namespace, packed=True, transform=transform, **options)

    # No change of a pod comes by two watches: where the first sees all namespaces, it has all with the label.
    unlabelled = "" if namespace else f"!{api.LABEL_WORKSPACE}"
    return {
        "workspaces": of(served),
        "deployments": of(DEPLOYMENT),
        "stateful_sets": of(STATEFUL_SET),
        "services": of(SERVICE),
        "jobs": of(JOB),
        "config_maps": of(CONFIG_MAP, label_selector=api.LABEL_WORKSPACE),
        "revisions": of(CONTROLLER_REVISION, label_selector=revisions.LABEL_NAME),
        "pods": of(POD, label_selector=api.LABEL_WORKSPACE),
        "other_pods": Informer(
            client,
            POD,
            label_selector=unlabelled,
            field_selector=UNFINISHED,
            optional=True,
            transform=holding_gpus,
            packed=True,
        ),
        "nodes": Informer(client, NODE, transform=transform_of(NODE), packed=True),
        "claims": Informer(client, NODE_CLAIM, label_selector=api.LABEL_WORKSPACE, optional=True),
        "machines": Informer(
            client,
            api.MACHINE,
            label_selector=api.LABEL_WORKSPACE,
            optional=True,
            transform=transform_of(api.MACHINE),
        ),
    }


def _stores(informers: dict[str, Informer], gpu_pods: Derived) -> Stores:
    claims = informers.get("pools") or informers["claims"]
    stores = {name: informer.store for name, informer in informers.items() if name != "other_pods"}
    return Stores(
        **stores,
        gpu_pods=gpu_pods.store,
        can_claim=lambda: claims.is_served is not False,
        clock=lambda: datetime.now(UTC),
    )


def _held(pod: Object) -> Object | None:
    """What there is to remember of a pod for the GPUs that it holds."""
    return None if is_finished(pod) else holding_gpus(pod)


def _watch(
    controller: Controller, informers: dict[str, Informer], gpu_pods: Derived, stores: Stores, served: Kind
) -> None:
    """Say which Workspaces a change of each kind is for."""
    workspaces = stores.workspaces
    owners = owner_keys(served)

    def watches(name: str, *mappers_: Callable[[Object], Iterable[ObjectKey]]) -> None:
        for mapper in mappers_:
            controller.watches(informers[name], mapper)

    watches("workspaces", own_key, lambda workspace: mappers.workspaces_after(workspace, workspaces))
    for name in ("deployments", "stateful_sets", "services", "jobs", "config_maps"):
        watches(name, owners, lambda child: mappers.keys_by_child_name(child, workspaces))
    watches("revisions", owners)
    watches("pods", workspace_of_labels)
    controller.watches(gpu_pods, lambda pod: mappers.workspaces_for_pod(pod, stores))
    watches("claims", workspace_of_labels)
    watches("machines", workspace_of_labels)
    watches(
        "nodes",
        lambda node: mappers.workspaces_for_node(node, workspaces),
        lambda node: mappers.workspaces_of_bought_node(node["metadata"]["name"], stores),
    )
    if "pools" in informers:
        watches("pools", workspace_of_pool)
        informers["pools"].when_served(controller.enqueue_all)
    informers["claims"].when_served(controller.enqueue_all)


def _look_for_kaito(beside: Callable[[Rival], None], change: Change) -> None:
    if change.new is not None and kaito_at_work.is_candidate(change.new):
        for rival in kaito_at_work.of_deployments([change.new]):
            beside(rival)
