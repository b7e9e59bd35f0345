"""The Workspace controller: observe (stores) -> decide (kaito) -> plan -> act -> status.

The reconciler is a generator without I/O: it reads the informers' stores, yields one API request at a
time and is sent the answer. A pass never waits and never polls; it acts on what is there, says in the
status what is missing, and is woken by the next change. When nothing has changed it yields nothing.

Rules that hold in every pass:
- an object that is not controlled by this very Workspace (by uid) is never touched, but reported;
- a child never goes back to an older generation of its Workspace;
- the status is written last and also after a refused write, so it is always truthful;
- NodeClaims, which cost money, have names that follow from the Workspace and a slot: repeating a request
  cannot buy a second node.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count, islice
from typing import TYPE_CHECKING

from kaitoctl.errors import ApiError
from kaitoctl.kaito import api, desired, validation
from kaitoctl.kaito import nodes as nodes_
from kaitoctl.kaito import status as status_
from kaitoctl.kaito.desired import Settings
from kaitoctl.kaito.nodes import Verdict
from kaitoctl.kaito.status import Observed
from kaitoctl.kube import request
from kaitoctl.kube.objects import (
    DEPLOYMENT,
    EVENT,
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
    is_controlled_by,
    key_of,
    labels_of,
    uid_of,
)
from kaitoctl.kube.pods import is_finished
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.controller import Controller, Outcome, owner_keys, run_all
from kaitoctl.reconcile.informer import Informer, Store
from kaitoctl.reconcile.plan import Child, Plan, plan

if TYPE_CHECKING:
    from kaitoctl.kube.client import Client

logger = logging.getLogger(__name__)

WORKLOADS = (DEPLOYMENT, STATEFUL_SET)

MANAGER = "kaitoctl-controller"
"""The field manager under which the controller writes."""

ANNOTATION_PREFIX = "kaitoctl.dev"
_OWNER_UID = f"{ANNOTATION_PREFIX}/workspace-uid"

# Answers that the next try may change; anything else is a refusal that the status has to show.
_TRANSIENT = frozenset({408, 409, 410, 429, 500, 502, 503, 504})

Pass = Generator[Request, Object, Outcome]


@dataclass(frozen=True, slots=True)
class Stores:
    """What a pass may look at: the informers' stores, and whether NodeClaims exist in this cluster."""

    workspaces: Store
    deployments: Store
    stateful_sets: Store
    services: Store
    nodes: Store
    pods: Store
    claims: Store
    can_claim: Callable[[], bool]


class WorkspaceReconciler:
    """Decides what one pass over one Workspace does.

    Args:
        stores: the world as last seen.
        settings: image registry and generation.
        clock: the present time, for condition times.
    """

    def __init__(
        self, stores: Stores, settings: Settings, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._stores = stores
        self._settings = settings
        self._clock = clock

    def reconcile(self, key: ObjectKey) -> Pass:
        """One pass over the Workspace `key`."""
        workspace = self._stores.workspaces.get(key)
        if workspace is None:
            return Outcome()  # its children go with it, by their owner references
        if is_being_deleted(workspace):
            return (yield from self._release(workspace))
        if refusal := refusal_of(workspace, self._settings):
            yield from self._report(workspace, Observed(refusal=refusal))
            return Outcome()
        return (yield from self._converge(workspace))

    def _converge(self, workspace: Object) -> Pass:
        key = key_of(workspace)
        others = [pod for pod in self._stores.pods.values() if key not in workspace_of_labels(pod)]
        verdict = nodes_.verdict(workspace, self._stores.nodes.values(), others)
        changes = self._plan(workspace, verdict)
        if changes.stale:
            return Outcome()  # our view of the Workspace is old; the newer one is on its way to us
        problem: ApiError | None = None
        conflicts = tuple(_conflict(kind, key, owner) for kind, key, owner in changes.foreign)
        workload = self._workload(workspace)
        try:
            yield from self._claim_nodes(workspace, verdict)
            if not conflicts:  # half a workload beside somebody else's Service serves nobody
                for step in changes.steps:
                    answer = yield step.request
                    if step.kind in WORKLOADS and step.verb != "delete":
                        workload = answer  # newer than the store, and one status write less
        except ApiError as error:
            problem = error
        refused = str(problem) if problem and problem.status not in _TRANSIENT else ""
        yield from self._report(workspace, self._observed(workspace, verdict, workload, conflicts, refused))
        if problem:
            raise problem  # the work queue waits and tries again
        return Outcome()

    def _plan(self, workspace: Object, verdict: Verdict) -> Plan:
        observed = self._children(workspace)
        workload = self._workload(workspace)
        if not verdict.enough and workload is None:
            return Plan((), (), False)  # no pods before there are nodes to run them
        gpus = nodes_.gpus_per_pod(workspace, [n for n in verdict.nodes if n.name in verdict.selected])
        if not verdict.enough and workload is not None:
            gpus = _gpus_of(workload) or gpus  # a lost node is no reason to change the pods
        children = desired.desired(workspace, gpus=gpus, settings=self._settings)
        return plan(
            workspace,
            [Child(kind, manifest) for kind, manifest in children],
            observed,
            manager=MANAGER,
            annotation_prefix=ANNOTATION_PREFIX,
        )

    def _workload(self, workspace: Object) -> Object | None:
        """The Workspace's own workload as last seen; a foreign one of the same name does not count."""
        for store in (self._stores.deployments, self._stores.stateful_sets):
            found = store.get(key_of(workspace))
            if found is not None and is_controlled_by(found, workspace):
                return found
        return None

    def _children(self, workspace: Object) -> list[tuple[Kind, Object]]:
        """Objects that carry the names of the Workspace's children, and all that it owns."""
        key, uid = key_of(workspace), uid_of(workspace)
        names = (key, ObjectKey(key.namespace, desired.headless_name(workspace)))
        stores = (
            (DEPLOYMENT, self._stores.deployments),
            (STATEFUL_SET, self._stores.stateful_sets),
            (SERVICE, self._stores.services),
        )
        found: dict[tuple[Kind, ObjectKey], Object] = {}
        for kind, store in stores:
            for child in [*store.by_owner(uid), *(store[name] for name in names if name in store)]:
                found[kind, key_of(child)] = child
        return [(kind, child) for (kind, _), child in found.items()]

    # --- nodes -----------------------------------------------------------------------------------------

    def _claims(self, workspace: Object) -> list[Object]:
        uid = uid_of(workspace)
        return [
            claim
            for claim in self._stores.claims.values()
            if (claim["metadata"].get("annotations") or {}).get(_OWNER_UID) == uid
        ]

    def _claim_nodes(self, workspace: Object, verdict: Verdict) -> Generator[Request, Object, None]:
        """Ask for the nodes that are missing, unless they are on their way or prepared nodes need mending."""
        if verdict.enough or verdict.unusable_preferred or not self._stores.can_claim():
            return
        claims = self._claims(workspace)
        serving = set(verdict.selected)
        pending = [claim for claim in claims if dig(claim, "status", "nodeName") not in serving]
        wanted = verdict.missing - len(pending)
        taken = {claim["metadata"]["name"] for claim in claims}
        if wanted <= 0:
            return
        free = (name for name in claim_names(workspace) if name not in taken)
        if api.FINALIZER not in (workspace["metadata"].get("finalizers") or ()):
            yield _finalizers(workspace, ours=True)
        for name in islice(free, wanted):
            yield request.apply(NODE_CLAIM, node_claim(workspace, name), manager=MANAGER)

    def _release(self, workspace: Object) -> Pass:
        """Deletion: NodeClaims first, and our finalizer only when they are gone; nobody else's finalizer."""
        if api.FINALIZER not in (workspace["metadata"].get("finalizers") or ()):
            return Outcome()
        yield from self._write_status(workspace, status_.deleting(workspace, self._clock()))
        claims = self._claims(workspace)
        for claim in claims:
            if not is_being_deleted(claim):
                yield request.delete(NODE_CLAIM, "", claim["metadata"]["name"], uid=uid_of(claim))
        if not claims:
            yield _finalizers(workspace, ours=False)
        return Outcome()

    # --- status ----------------------------------------------------------------------------------------

    def _observed(
        self,
        workspace: Object,
        verdict: Verdict,
        workload: Object | None,
        conflicts: tuple[str, ...],
        error: str,
    ) -> Observed:
        key = key_of(workspace)
        return Observed(
            verdict=verdict,
            claims=tuple(self._claims(workspace)),
            can_claim=self._stores.can_claim(),
            workload=workload,
            pods=tuple(pod for pod in self._stores.pods.values() if key in workspace_of_labels(pod)),
            conflicts=conflicts,
            error=error,
        )

    def _report(self, workspace: Object, seen: Observed) -> Generator[Request, Object, None]:
        now = self._clock()
        new = status_.status(workspace, seen, now)
        yield from self._write_status(workspace, new)
        for event in status_.events(workspace, new, now, component=MANAGER):
            try:
                yield request.create(EVENT, event)
            except ApiError as error:  # told in the status already; an Event is a courtesy
                logger.debug("no event for %s: %s", key_of(workspace), error)

    def _write_status(self, workspace: Object, new: Object) -> Generator[Request, Object, None]:
        if new == (workspace.get("status") or {}):
            return
        metadata = workspace["metadata"]
        body = {
            "apiVersion": api.WORKSPACE.api_version,
            "kind": api.WORKSPACE.kind,
            "metadata": {
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
            "status": new,
        }
        yield request.apply_status(api.WORKSPACE, body, manager=MANAGER)


# --- decisions on plain objects ----------------------------------------------------------------------------


def refusal_of(workspace: Object, settings: Settings) -> str:
    """Why nothing is built for this Workspace: it is not valid, or asks for what we do not build."""
    if (wanted := nodes_.required_nodes(workspace)) > settings.most_nodes:
        return f"resource.count {wanted} is more than the {settings.most_nodes} nodes that one Workspace may have"
    errors = [
        f"{problem.path}: {problem.message}" if problem.path else problem.message
        for problem in validation.problems(workspace)
        if problem.severity == "error"
    ]
    return "; ".join(errors) or desired.refusal(workspace, settings)


def claim_names(workspace: Object) -> Iterator[str]:
    """The names of a Workspace's NodeClaims, slot after slot.

    Like KAITO's they are `ws` and nine hex digits; unlike KAITO's they hash no time, so asking twice
    for the same slot is asking once (U3, K24).
    """
    for slot in count():
        seed = f"{key_of(workspace)}/{uid_of(workspace)}/{slot}"
        yield "ws" + hashlib.sha256(seed.encode()).hexdigest()[:9]


def node_claim(workspace: Object, name: str) -> Object:
    """The NodeClaim that asks Karpenter for one node of the Workspace's instance type.

    Source: KAITO v0.3.2 `pkg/nodeclaim/nodeclaim.go`, moved to karpenter.sh/v1.
    """
    metadata = workspace["metadata"]
    instance_type = nodes_.instance_type_of(workspace)
    preset = desired.preset_of(workspace)
    labels = dig(workspace, "resource", "labelSelector", "matchLabels") or {}
    return {
        "apiVersion": NODE_CLAIM.api_version,
        "kind": NODE_CLAIM.kind,
        "metadata": {
            "name": name,
            "labels": {
                **labels,
                api.LABEL_NODE_POOL: "kaito",
                api.LABEL_WORKSPACE: metadata["name"],
                api.LABEL_WORKSPACE_NAMESPACE: metadata["namespace"],
            },
            "annotations": {"karpenter.sh/do-not-disrupt": "true", _OWNER_UID: metadata["uid"]},
        },
        "spec": {
            "nodeClassRef": {"group": "karpenter.azure.com", "kind": "AKSNodeClass", "name": "default"},
            "requirements": [
                {"key": api.LABEL_NODE_POOL, "operator": "In", "values": ["kaito"]},
                {"key": api.LABEL_INSTANCE_TYPE, "operator": "In", "values": [instance_type]},
                {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]},
                {"key": "karpenter.azure.com/sku-name", "operator": "In", "values": [instance_type]},
            ],
            "taints": [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
            "resources": {"requests": {"ephemeral-storage": preset.disk if preset else "0"}},
        },
    }


def _gpus_of(workload: Object) -> int:
    limit = dig(workload, "spec", "template", "spec", "containers", 0, "resources", "limits", api.GPU)
    return int(limit) if str(limit or "").isdecimal() else 0


def _conflict(kind: Kind, key: ObjectKey, owner: str) -> str:
    return f"{kind.kind} {key} exists and belongs to {owner or 'nobody we know'}; it is left alone"


def _finalizers(workspace: Object, *, ours: bool) -> Request:
    """Add or remove our finalizer; the resourceVersion makes it a 409 when somebody else wrote meanwhile."""
    metadata = workspace["metadata"]
    others = [name for name in metadata.get("finalizers") or () if name != api.FINALIZER]
    patch = {
        "metadata": {
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "finalizers": [*others, api.FINALIZER] if ours else others,
        }
    }
    return request.merge_patch(api.WORKSPACE, metadata["namespace"], metadata["name"], patch, manager=MANAGER)


# --- wiring ------------------------------------------------------------------------------------------------


async def run(
    client: Client,
    *,
    namespace: str = "",
    settings: Settings | None = None,
    workers: int = 4,
    allowed: Callable[[], bool] | None = None,
) -> None:
    """Manage all Workspaces of a namespace (of all namespaces when empty) until cancelled.

    Args:
        client: the door to the cluster.
        namespace: the one to manage; empty for all.
        settings: image registry and generation.
        workers: how many Workspaces are worked on at a time.
        allowed: asked before every request; False while another process leads.
    """
    workspaces = Informer(client, api.WORKSPACE, namespace=namespace)
    deployments = Informer(client, DEPLOYMENT, namespace=namespace)
    stateful_sets = Informer(client, STATEFUL_SET, namespace=namespace)
    services = Informer(client, SERVICE, namespace=namespace)
    pods = Informer(client, POD, namespace=namespace, label_selector=api.LABEL_WORKSPACE)
    nodes = Informer(client, NODE)
    claims = Informer(client, NODE_CLAIM, label_selector=api.LABEL_WORKSPACE)
    stores = Stores(
        workspaces.store,
        deployments.store,
        stateful_sets.store,
        services.store,
        nodes.store,
        pods.store,
        claims.store,
        can_claim=lambda: claims.is_served is not False,
    )
    reconciler = WorkspaceReconciler(stores, settings or Settings())
    controller = Controller("workspace", client, reconciler.reconcile, workers=workers, allowed=allowed)
    controller.watches(workspaces, lambda workspace: [key_of(workspace)])
    for children in (deployments, stateful_sets, services):
        controller.watches(children, owner_keys(api.WORKSPACE))
        controller.watches(children, lambda child: _namesake(child, workspaces.store))
    controller.watches(pods, workspace_of_labels)
    controller.watches(pods, lambda pod: _waiting_for(pod, stores))
    controller.watches(claims, workspace_of_labels)
    controller.watches(nodes, lambda node: _interested(node, workspaces.store.values()))
    await run_all(workspaces, deployments, stateful_sets, services, pods, nodes, claims, controller)


def _namesake(child: Object, workspaces: Store) -> Iterable[ObjectKey]:
    """A foreign object of our name that comes or goes makes or ends a name conflict."""
    key = key_of(child)
    of_headless = ObjectKey(key.namespace, key.name.removesuffix("-headless"))
    return [name for name in {key, of_headless} if name in workspaces]


def workspace_of_labels(child: Object) -> list[ObjectKey]:
    """The key of the Workspace that a pod or NodeClaim is labelled with, as a list of one or none."""
    labels = labels_of(child)
    namespace = child["metadata"].get("namespace") or labels.get(api.LABEL_WORKSPACE_NAMESPACE) or ""
    name = labels.get(api.LABEL_WORKSPACE)
    return [ObjectKey(namespace, name)] if name and namespace else []


def _waiting_for(pod: Object, stores: Stores) -> list[ObjectKey]:
    """Who may want the GPUs that a pod gives back."""
    node = stores.nodes.get(ObjectKey("", dig(pod, "spec", "nodeName") or ""))
    if node is None or not (is_being_deleted(pod) or is_finished(pod)):
        return []
    return _interested(node, stores.workspaces.values())


def _interested(node: Object, workspaces: Iterable[Object]) -> list[ObjectKey]:
    """The Workspaces that may use the node: they name it, or ask for its instance type."""
    name, instance_type = node["metadata"]["name"], labels_of(node).get(api.LABEL_INSTANCE_TYPE)
    return [
        key_of(workspace)
        for workspace in workspaces
        if name in nodes_.preferred_nodes(workspace) or nodes_.instance_type_of(workspace) == instance_type
    ]
