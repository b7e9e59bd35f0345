"""What this controller would do about Workspaces that are about to be written. Pure: nothing is sent.

The reconciler itself is asked, on copies of what there is with the Workspaces as they would be: a forecast
that shared only the rules would be wrong as soon as they change. What it writes is answered as a server would
and kept for the Workspaces after it, so no two of them count the same free node.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType

from msgspec import Struct
from msgspec.structs import replace

from kaitoctl.errors import ApiError
from kaitoctl.kaito import api, node_check, node_claims
from kaitoctl.kaito.api import PROVISIONER_LABELS
from kaitoctl.kaito.desired import Settings
from kaitoctl.kaito.desired.placement import with_own_labels
from kaitoctl.kaito.settings import Rights
from kaitoctl.kube import conditions
from kaitoctl.kube.objects import Object, ObjectKey, is_being_deleted, key_of, labels_of
from kaitoctl.kube.request import Request
from kaitoctl.workspace_controller.claims import claims_of
from kaitoctl.workspace_controller.decisions import gpus_of, mixed_nodes
from kaitoctl.workspace_controller.forecast_world import Done, ForecastWorld
from kaitoctl.workspace_controller.reconcile import ReconcileSteps, WorkspaceReconciler
from kaitoctl.workspace_controller.rivals import Rivals
from kaitoctl.workspace_controller.stores import Stores, counted

_MOST_REQUESTS = 500  # of one reconcile: there is none with that many
# Settings that let custom pods have all: what only a controller's defaults refuse may be built or not, and is
# said so.
_MILD = Rights(True, frozenset("*"), frozenset("*"), True)


class Forecast(Struct, frozen=True):
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
        perhaps: those of `returned` that stay when the scheduler places pods on their nodes. Some may be
            other Workspaces', whose nodes its pods leave.
        strays: nodes where the scheduler may place pods of it that do not count there.
        machines: of an older KAITO, which it can do without or that have no node, and which stay.
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
    machines: tuple[Object, ...] = ()


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
    can_claim = (lambda: False) if settings.provisioner == "byo" else stores.can_claim
    stores = replace(stores, can_claim=can_claim, clock=clock)
    world = ForecastWorld(stores, planned, settings)
    mildest = settings if knows_rights else settings.allowing(_MILD)
    reconcilers = [WorkspaceReconciler(world.stores, one, clock=clock) for one in (settings, mildest)]
    parts: list[_Part] = []
    for key in world.planned:
        strict, mild = reconcilers[0].refusal_of(world.stores.workspaces[key]), ""
        if strict:
            mild = reconcilers[1].refusal_of(world.stores.workspaces[key])
        if not strict and settings.provisioner == "byo" and not world.has_workload(key):
            workspace = world.stores.workspaces[key]
            strict = mild = mixed_nodes(workspace, world.nodes.look(workspace).verdict)
        chosen = reconcilers[bool(strict) and not mild]
        done = world.begin()
        problem = yield from _reconcile(world, chosen.reconcile(key))
        done.restarts += restarted.get(key, 0)
        sized = chosen.sized(world.stores.workspaces[key])
        needs = f"a controller with other than its default settings, for {strict}" if strict else ""
        parts.append(_Part(key, chosen, sized, mild, done, problem, "" if mild else needs))
    # Pods of several Workspaces are recreated at the same time, and each may be on the other's node.
    moved = [one for one in parts if not (one.problem or one.refusal) and world.recreate(one.sized, one.done)]
    for one in moved:
        world.done = one.done
        one.problem = yield from _reconcile(world, one.reconciler.reconcile(one.key))
    found = _with_vacancies(world, stores, settings, parts, [_outcome(world, one, settings) for one in parts])
    own_labels = PROVISIONER_LABELS.get(settings.provisioner, ())
    return _beside_rivals(world, found, reconcilers[0].sized, own_labels)


class _Part(Struct):
    """A planned Workspace in the world.

    Args:
        key: its name.
        reconciler: whose settings decide.
        sized: it, with as many nodes as its model takes.
        refusal: why nothing would be built.
        done: by its reconciles.
        problem: why one of them came to no end.
        needs: what only a controller with other settings builds.
    """

    key: ObjectKey
    reconciler: WorkspaceReconciler
    sized: Object
    refusal: str
    done: Done
    problem: str
    needs: str = ""


def _reconcile(world: ForecastWorld, passing: ReconcileSteps) -> Generator[Request, Object, str]:
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


def _conflict(part: _Part) -> str:
    """What somebody else has under the name of what would be made, and so nothing is; empty without."""
    reported = part.done.status or part.sized
    for type_ in (api.INFERENCE_READY, api.JOB_STARTED):
        found = conditions.find(reported, type_) or {}
        if found.get("reason") == "NameConflict":
            return str(found.get("message"))
    return ""


def _outcome(world: ForecastWorld, part: _Part, settings: Settings) -> Forecast:
    """What the reconciles have come to, and what follows once the workload runs."""
    key, workspace, refusal, done = part.key, part.sized, part.refusal, part.done
    look, claims = world.nodes.look(workspace), claims_of(world.stores, workspace)
    workload = world.workload(key)
    outgrown: list[Object] = []
    counting = counted(world.stores, claims)
    machines = [claim for claim in claims if claim not in counting]
    perhaps: list[str] = []
    if look.verdict.enough and world.has_workload(key):
        held = frozenset() if done.restarts else look.held
        to_come = look.verdict.required - len(held)
        room = {node.name for node in look.verdict.nodes if node.usable} - held if to_come > 0 else set()
        if len(room) <= to_come:  # it can do without none, wherever the scheduler places them
            held |= room
        serving = look.verdict.selected
        outgrown = node_claims.outgrown(workspace, claims, serving=serving, held=held)
        machines += [one for one in outgrown if node_claims.is_machine(one) and one not in machines]
        outgrown = [claim for claim in outgrown if claim not in machines]
        perhaps = [key_of(claim).name for claim in outgrown if node_claims.node_of(claim) in room]
    nodes = {node for claim in outgrown if (node := node_claims.node_of(claim))}
    kept = world.nodes.wanted_by_others(workspace, nodes) if nodes else set()
    kept |= {node for node in nodes - kept if world.nodes.guests(node, key)}
    given_back = [key_of(claim).name for claim in outgrown if node_claims.node_of(claim) not in kept]
    coming = sum(not node_claims.node_of(claim) for claim in counting) + world.coming_of_pool(key)
    short = look.verdict.missing - coming
    is_placing = not refusal and (done.restarts or len(look.held) < look.verdict.required)
    strays = []
    if is_placing or not look.verdict.enough:
        strays = world.nodes.strays(workspace, gpus_of(workload or {}))
    waits = ""
    if short > 0 and not refusal and not look.held:
        verdict = look.verdict
        if not world.stores.can_claim():
            rules = verdict.rules
            rules = replace(rules, nobody=node_check.nobody_creates(settings.provisioner))
            verdict = replace(verdict, rules=rules)
        words = "those that would do are other Workspaces'" if look.waits_for_others else verdict.summary
        if taken := world.taken_of_pool(key):
            words = f"others hold GPUs of {', '.join(taken)}, and its NodePool makes no other node instead"
        waits = f"{short} more {node_check.plural('node', short)}: {words}"
    elif not (refusal or is_placing or look.verdict.enough):
        astray = ", ".join(sorted(look.held.intersection(strays)))
        waits = f"its pods are on {astray}, which the controller does not count" if astray else ""
    returned = dict.fromkeys([*done.returned, *given_back])
    return Forecast(
        key,
        tuple(done.asked),
        tuple(returned),
        done.restarts,
        part.needs or part.problem or _conflict(part) or waits,
        refusal,
        workload=workload,
        outgrown=tuple(given_back),
        perhaps=tuple(name for name in perhaps if name in given_back),
        strays=tuple(strays) if is_placing else (),
        machines=tuple(machines),
    )


def _with_vacancies(
    world: ForecastWorld, stores: Stores, settings: Settings, parts: Iterable[_Part], planned: list[Forecast]
) -> list[Forecast]:
    """The forecasts with the nodes of others that pods leave when they are recreated.

    Args:
        world: after the reconciles.
        stores: the world before, where all pods still are.
        settings: the controller's.
        parts: those that are planned.
        planned: what becomes of them, in the same order.
    """
    restarting = {
        one.key: (one.sized, gpus_of(world.workload(one.key) or {}))
        for one in parts
        if one.done.restarts and not one.refusal
    }
    if not restarting or not stores.claims:
        return planned
    before = replace(world.stores, pods=stores.pods, gpu_pods=stores.gpu_pods)
    from kaitoctl.workspace_controller.vacancies import vacancies  # in most plans no pod restarts

    known = {name for one in planned for name in one.returned}
    more: dict[ObjectKey, list[str]] = {}
    for one in vacancies(before, settings, restarting):
        if one.claim not in known:
            more.setdefault(one.owner if one.owner in restarting else one.guests[0], []).append(one.claim)
    return [
        replace(one, returned=(*one.returned, *names), perhaps=(*one.perhaps, *names))
        if (names := more.get(one.key))
        else one
        for one in planned
    ]


def _beside_rivals(
    world: ForecastWorld,
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
    astray = world.labels_astray(asked) if own_labels else []
    found = []
    for one in planned:
        rivals: tuple[ObjectKey, ...] = ()
        if one.key in moving and not one.refusal:
            rivals = rivals_of(one.key)
            mine = asked[one.key].items()
            beside = {key for key, labels in astray if mine <= labels.items()} - {one.key, *rivals}
            rivals = (*rivals, *sorted(beside))
        most = len(one.asked)
        if rivals and world.stores.can_claim():
            most = max(most, _most(world, sized(workspaces[one.key]), most))
        found.append(replace(one, most=most, rivals=rivals))
    return found


def _most(world: ForecastWorld, workspace: Object, asked: int) -> int:
    """How many nodes may be asked for where others take some; a NodePool makes no other in their place."""
    required, key = node_check.required_nodes(workspace), key_of(workspace)
    if world.has_pools:
        return asked + max(0, required - world.replicas_of_pools(key))
    claims = counted(world.stores, claims_of(world.stores, workspace))
    claims = [claim for claim in claims if not is_being_deleted(claim)]
    return asked + 2 * required - sum(node_claims.fits(workspace, claim) for claim in claims)


def _labels_asked(workspace: Object, own: Collection[str]) -> Mapping[str, str]:
    return node_check.labels_asked(with_own_labels(workspace, own) if own else workspace)
