"""What this controller would do about Workspaces that are about to be written. Pure: nothing is sent.

The reconciler itself is asked, on copies of what there is with the Workspaces as they would be: a forecast
that shared only the rules would be wrong as soon as they change. What it writes is answered as a server would
and kept for the Workspaces after it, so no two of them count the same free node.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from kaitoctl.errors import ApiError
from kaitoctl.kaito import node_check, node_claims
from kaitoctl.kaito.desired import Settings
from kaitoctl.kaito.desired.placement import PROVISIONER_LABELS, with_own_labels
from kaitoctl.kaito.settings import Rights
from kaitoctl.kube.access import access
from kaitoctl.kube.objects import Object, ObjectKey, dig, is_being_deleted, key_of, labels_of, uid_of
from kaitoctl.kube.pod_state import is_finished
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.comparison import changes, restarts
from kaitoctl.reconcile.dry_run import outcome
from kaitoctl.reconcile.store import Store, store_of
from kaitoctl.workspace_controller.claims import claims_of
from kaitoctl.workspace_controller.decisions import ANNOTATION_PREFIX, MANAGER, gpus_of, mixed_nodes
from kaitoctl.workspace_controller.node_pools import replicas_of_pool, workspace_of_pool
from kaitoctl.workspace_controller.node_view import NodeView
from kaitoctl.workspace_controller.reconcile import ReconcileSteps, WorkspaceReconciler
from kaitoctl.workspace_controller.rivals import Rivals
from kaitoctl.workspace_controller.stores import Stores, node_of_pod, workspace_of_labels

_STORES = {
    "workspaces": "workspaces",
    "deployments": "deployments",
    "statefulsets": "stateful_sets",
    "services": "services",
    "nodes": "nodes",
    "pods": "pods",
    "nodeclaims": "claims",
    "nodepools": "pools",
    "jobs": "jobs",
    "configmaps": "config_maps",
    "controllerrevisions": "revisions",
}
_WORKLOADS = ("deployments", "statefulsets")
_MOST_REQUESTS = 500  # of one reconcile: there is none with that many
# Settings that let custom pods have all: what only a controller's defaults refuse may be built or not, and is
# said so.
_MILD = Rights(True, frozenset("*"), frozenset("*"), True)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What would become of one Workspace.

    Args:
        key: which one.
        asked: the names of the NodeClaims that are asked for; that of a NodePool once for each of its nodes.
        most: how many may be asked for when other Workspaces that move at the same time can use the same
            nodes: the scheduler may give them to any.
        rivals: those others.
        returned: the names of those that are given back once it runs without.
        restarts: how many of its pods are recreated.
        waits: what it would wait for, in words; empty when nodes are there or asked for.
        refusal: why nothing would be built; empty when something would.
        workload: what its pods are then made of; None while it waits for nodes.
        outgrown: those of `returned` that go only when all its pods are ready.
        perhaps: those of `outgrown` that stay when the scheduler places pods on their nodes.
        strays: nodes where the scheduler may place pods of it that do not count there.
    """

    key: ObjectKey
    asked: tuple[str, ...] = ()
    returned: tuple[str, ...] = ()
    restarts: int = 0
    waits: str = ""
    refusal: str = ""
    most: int = 0
    rivals: tuple[ObjectKey, ...] = ()
    workload: Object | None = None
    outgrown: tuple[str, ...] = ()
    perhaps: tuple[str, ...] = ()
    strays: tuple[str, ...] = ()


def forecast(
    stores: Stores,
    planned: Iterable[Object],
    settings: Settings,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    knows_rights: bool = False,
    restarted: Mapping[ObjectKey, int] = MappingProxyType({}),
) -> Generator[Request, Object, list[Forecast]]:
    """What becomes of the planned Workspaces, in their order.

    Yields the reads that the stores cannot answer (Secrets of tuning, revisions with their data); the driver
    answers them, or throws the `ApiError`.

    Args:
        stores: the world, its workloads with managedFields; it stays as it is.
        planned: Workspaces as a server's dry run returned them, in the version that the controller reads.
        settings: the controller's, as far as its Deployment says them.
        clock: the present time.
        knows_rights: whether the settings say what custom pods and volumes may have. Where they do not, what
            the defaults refuse may be built or not.
        restarted: how many pods somebody else restarts, by Workspace.
    """
    if settings.provisioner == "byo":
        stores = replace(stores, can_claim=lambda: False)
    world, found = _World(stores, planned, settings), []
    mildest = settings if knows_rights else settings.allowing(_MILD)
    reconcilers = [WorkspaceReconciler(world.stores, one, clock=clock) for one in (settings, mildest)]
    for key in world.planned:
        strict, mild = reconcilers[0].refusal_of(world.stores.workspaces[key]), ""
        if strict:
            mild = reconcilers[1].refusal_of(world.stores.workspaces[key])
        if not strict and settings.provisioner == "byo" and not world.has_workload(key):
            workspace = world.stores.workspaces[key]
            strict = mild = mixed_nodes(workspace, world.nodes.look(workspace).verdict)
        chosen = reconcilers[bool(strict) and not mild]
        world.begin()
        problem = yield from _reconcile(world, chosen.reconcile(key))
        world.restarts += restarted.get(key, 0)
        sized = chosen.sized(world.stores.workspaces[key])
        if not (problem or mild) and world.recreate(sized):
            problem = yield from _reconcile(world, chosen.reconcile(key))
        one = _outcome(world, key, sized, refusal=mild)
        if strict and not mild:
            problem = f"a controller with other than its default settings, for {strict}"
        found.append(replace(one, waits=problem or one.waits))
    own_labels = PROVISIONER_LABELS.get(settings.provisioner, ())
    return _beside_rivals(world, found, reconcilers[0].sized, own_labels)


def _reconcile(world: _World, passing: ReconcileSteps) -> Generator[Request, Object, str]:
    """Let one reconcile happen in the world; why it came to no end, empty when it did."""
    try:
        asked = next(passing)
        for _ in range(_MOST_REQUESTS):
            try:
                answer = world.answer(asked)
                if answer is None:
                    answer = yield asked
            except ApiError as error:
                asked = passing.throw(error)
            else:
                asked = passing.send(answer)
    except StopIteration:
        return ""
    except ApiError as error:
        return f"what cannot be foreseen: {error}"
    passing.close()
    return "what cannot be foreseen: its reconcile does not end"


def _outcome(world: _World, key: ObjectKey, workspace: Object, *, refusal: str) -> Forecast:
    """What the reconcile has come to, and what follows once the workload runs.

    Args:
        world: after the reconcile.
        key: of the Workspace.
        workspace: with as many nodes as its model takes.
        refusal: why nothing would be built.
    """
    look, claims = world.nodes.look(workspace), claims_of(world.stores, workspace)
    workload = world.workload(key)
    outgrown: list[Object] = []
    perhaps: list[str] = []
    if look.verdict.enough and world.has_workload(key):
        held = frozenset() if world.restarts else look.held
        to_come = look.verdict.required - len(held)
        room = {node.name for node in look.verdict.nodes if node.usable} - held if to_come > 0 else set()
        if len(room) <= to_come:  # it can do without none, wherever the scheduler places them
            held |= room
        serving = look.verdict.selected
        outgrown = node_claims.outgrown(workspace, claims, serving=serving, held=held)
        perhaps = [key_of(claim).name for claim in outgrown if node_claims.node_of(claim) in room]
    nodes = {node for claim in outgrown if (node := node_claims.node_of(claim))}
    kept = world.nodes.wanted_by_others(workspace, nodes) if nodes else set()
    kept |= {node for node in nodes - kept if world.nodes.guests(node, key)}
    given_back = [key_of(claim).name for claim in outgrown if node_claims.node_of(claim) not in kept]
    coming = sum(not node_claims.node_of(claim) for claim in claims) + world.coming_of_pool(key)
    short = look.verdict.missing - coming
    is_placing = not refusal and (world.restarts or len(look.held) < look.verdict.required)
    strays = []
    if is_placing or not look.verdict.enough:
        strays = world.nodes.strays(workspace, gpus_of(workload or {}))
    waits = ""
    if short > 0 and not refusal and not look.held:
        words = "those that would do are other Workspaces'" if look.waits_for_others else look.verdict.summary
        waits = f"{short} more {node_check.plural('node', short)}: {words}"
    elif not (refusal or is_placing or look.verdict.enough):
        astray = ", ".join(sorted(look.held.intersection(strays)))
        waits = f"its pods are on {astray}, which the controller does not count" if astray else ""
    returned = dict.fromkeys([*world.returned, *given_back])
    return Forecast(
        key,
        tuple(world.asked),
        tuple(returned),
        world.restarts,
        waits,
        refusal,
        workload=workload,
        outgrown=tuple(given_back),
        perhaps=tuple(name for name in perhaps if name in given_back),
        strays=tuple(strays) if is_placing else (),
    )


def _beside_rivals(
    world: _World,
    planned: list[Forecast],
    sized: Callable[[Object], Object],
    own_labels: Collection[str],
) -> list[Forecast]:
    """The forecasts with what becomes of them where others move on the same nodes, at the same time.

    A controller asks for a node again when another took the one that it had asked for, up to twice as many
    as the Workspace needs (`claims.demand`). Nodes with labels of their owner's (`own_labels`) have no other.
    """
    workspaces = world.stores.workspaces
    moving = {item.key for item in planned if item.restarts or item.asked}
    others = (key for key in workspaces if key not in moving)
    moving |= {key for key in others if not world.is_placed(sized(workspaces[key]))}
    asked = {key: _labels_asked(workspaces[key], own_labels) for key in sorted(moving)}
    bought = [*asked.values(), *(node_claims.selected_labels(workspaces[key]) for key in asked)]
    bought += world.labels_coming()
    rivals_of = Rivals(asked, map(labels_of, world.stores.nodes.values()), bought)
    found = []
    for one in planned:
        rivals: tuple[ObjectKey, ...] = ()
        if one.key in moving and not one.refusal:
            rivals = rivals_of(one.key)
        most = len(one.asked)
        if rivals and world.stores.can_claim():
            workspace = sized(workspaces[one.key])
            claims = [claim for claim in claims_of(world.stores, workspace) if not is_being_deleted(claim)]
            alive = sum(node_claims.fits(workspace, claim) for claim in claims) - most
            most = max(most, 2 * node_check.required_nodes(workspace) - alive)
        found.append(replace(one, most=most, rivals=rivals))
    return found


def _labels_asked(workspace: Object, own: Collection[str]) -> Mapping[str, str]:
    return node_check.labels_asked(with_own_labels(workspace, own) if own else workspace)


class _World:
    """Copies of the stores that answer requests, with what one reconcile has done.

    Attributes:
        stores: the copies.
        nodes: what they say about nodes.
        planned: the Workspaces that are to be written.
        asked: names of NodeClaims asked for.
        returned: names of NodeClaims deleted.
        restarts: pods whose template has changed.
    """

    def __init__(self, stores: Stores, planned: Iterable[Object], settings: Settings) -> None:
        names = (item.name for item in fields(Stores) if item.name != "can_claim")
        copied: dict[str, Any] = {name: store_of(dict(getattr(stores, name))) for name in names}
        self.stores = replace(stores, **copied)
        self.nodes = NodeView(self.stores, settings)
        self.planned: list[ObjectKey] = []
        for workspace in planned:
            key = key_of(workspace)
            self.planned.append(key)
            metadata = {**workspace["metadata"], "uid": uid_of(workspace) or f"planned-{key}"}
            metadata.setdefault("generation", 1)
            metadata.setdefault("resourceVersion", "0")
            self.stores.workspaces._replace(key, {**workspace, "metadata": metadata})
        self.begin()

    def begin(self) -> None:
        """Forget what the reconcile before has done."""
        self.asked: list[str] = []
        self.returned: list[str] = []
        self.restarts = 0

    def has_workload(self, key: ObjectKey) -> bool:
        """Whether the Workspace's pods are there, or about to be."""
        return self.workload(key) is not None

    def workload(self, key: ObjectKey) -> Object | None:
        """The Deployment, StatefulSet or Job of the Workspace."""
        kinds = (self.stores.deployments, self.stores.stateful_sets, self.stores.jobs)
        return next((store[key] for store in kinds if key in store), None)

    def coming_of_pool(self, key: ObjectKey) -> int:
        """How many nodes of the Workspace's NodePool have not joined yet."""
        wanted = sum(map(replicas_of_pool, self.stores.pools.by(workspace_of_pool, key)))
        return max(0, wanted - len(self.stores.nodes.by(workspace_of_pool, key))) if wanted else 0

    def labels_coming(self) -> Iterator[Mapping[str, str]]:
        """The labels of nodes that have been asked for, and may not be there yet."""
        yield from map(labels_of, self.stores.claims.values())
        for pool in self.stores.pools.values():
            yield dig(pool, "spec", "template", "metadata", "labels") or {}

    def is_placed(self, workspace: Object) -> bool:
        """Whether the Workspace has pods on as many nodes as it needs."""
        return len(self.nodes.look(workspace).held) >= node_check.required_nodes(workspace)

    def recreate(self, workspace: Object) -> bool:
        """Let pods that are recreated leave nodes that count only while they are there; whether any has.

        As many as can go where the scheduler has room for them, though the controller sees none, go there.
        """
        look, key = self.nodes.look(workspace), key_of(workspace)
        usable = {one.name for one in look.verdict.nodes if one.usable}
        if not self.restarts or not look.verdict.missing or look.held <= usable:
            return False
        there = self.stores.pods.by(workspace_of_labels, key)
        pods = [pod for pod in there if not is_finished(pod) and not usable.intersection(node_of_pod(pod))]
        rooms = self.nodes.strays(workspace, gpus_of(self.workload(key) or {}))
        for pod, room in zip(pods, [*rooms, *[""] * len(pods)], strict=False):
            moved = {**pod, "spec": {**pod["spec"], "nodeName": room}} if room else None
            for store in (self.stores.pods, self.stores.gpu_pods):
                if key_of(pod) in store:
                    store._replace(key_of(pod), moved)
        return len(rooms) < len(pods)

    def answer(self, asked: Request) -> Object | None:
        """What a server would answer; None for a read that only a server can answer.

        Raises:
            ApiError: there is no such object.
        """
        named = access(asked.method, asked.path, asked.query)
        plural, _, below = named.resource.partition("/")
        store: Store | None = getattr(self.stores, _STORES[plural]) if plural in _STORES else None
        key = ObjectKey(named.namespace, named.name)
        if asked.method == "GET":
            return self._read(asked, plural, store, key)
        live = store.get(key) if store is not None and named.name else None
        if store is None or below:
            return outcome(asked, live)
        if asked.method == "DELETE":
            if plural in ("nodeclaims", "nodepools") and live is not None:
                self.returned.append(named.name)
                for node in self._nodes_of(plural, live):
                    self.stores.nodes._replace(node, None)
            if plural == "jobs" and live is not None:  # tuning that runs begins again
                self.restarts += int(dig(live, "status", "active") or 0)
            store._replace(key, None)
            return outcome(asked, live)
        return self._write(asked, plural, store, key, live)

    def _nodes_of(self, plural: str, live: Object) -> list[ObjectKey]:
        """The nodes that go with what has asked for them."""
        if plural == "nodeclaims":
            return [ObjectKey("", name)] if (name := node_claims.node_of(live)) else []
        owners = workspace_of_pool(live)
        return [key_of(node) for key in owners for node in self.stores.nodes.by(workspace_of_pool, key)]

    def _read(self, asked: Request, plural: str, store: Store | None, key: ObjectKey) -> Object | None:
        if plural == "pods" and not key.name:
            node = asked.query.get("fieldSelector", "").partition("spec.nodeName=")[2]
            return {"items": self.stores.gpu_pods.by(node_of_pod, node)}
        if plural == "controllerrevisions" and not key.name:
            return {"items": []}  # asked for when the store has none, and it has just been read
        if store is None or plural in ("controllerrevisions", "configmaps") or not key.name:
            return None
        if (found := store.get(key)) is None:
            raise ApiError(404, "NotFound", f"{plural} {key} not found", details={"name": key.name})
        return found

    def _write(
        self, asked: Request, plural: str, store: Store, key: ObjectKey, live: Object | None
    ) -> Object:
        if plural in _WORKLOADS and live is not None:
            changed = changes(asked.body, live, manager=MANAGER, annotation_prefix=ANNOTATION_PREFIX)
            self.restarts += restarts(live, changed)
        if plural == "nodeclaims" and live is None:
            self.asked.append(key.name)
        if plural == "nodepools":
            more = replicas_of_pool(asked.body) - (0 if live is None else replicas_of_pool(live))
            self.asked += [key.name] * max(0, more)
        made = outcome(asked, live)
        made["metadata"].setdefault("uid", f"planned-{plural}-{key}")
        made["metadata"].setdefault("resourceVersion", "0")
        name = ObjectKey(key.namespace, str(made["metadata"].get("name") or key.name))
        if name.name:
            store._replace(name, made)
        return made
