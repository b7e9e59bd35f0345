"""What follows from writing Workspaces: nodes, restarts, waits; for `plan`, and before any command writes."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from msgspec.structs import replace

from kaitoctl.commands import consent, plan_world
from kaitoctl.commands.asked_context import contexts_on_cluster
from kaitoctl.commands.kaito_detection import rules_in
from kaitoctl.commands.option_values import NOT_SAID, ManagedBy
from kaitoctl.commands.plan_quotas import QuotaEffects
from kaitoctl.errors import ApiError, InputError
from kaitoctl.kaito import api, desired, node_check, node_claims, planning
from kaitoctl.kaito.planning import Change, Effects, Trial
from kaitoctl.kube import request
from kaitoctl.kube.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    JOB,
    STATEFUL_SET,
    ObjectKey,
    dig,
    is_controlled_by,
    key_of,
)
from kaitoctl.kube.pod_state import is_finished
from kaitoctl.kube.workloads import running
from kaitoctl.reconcile.comparison import between
from kaitoctl.reconcile.generator_driver import drive
from kaitoctl.workspace_controller.forecast import Forecast, forecast
from kaitoctl.workspace_controller.node_pools import workspace_of_pool
from kaitoctl.workspace_controller.stores import (
    counted,
    machine_stays,
    node_of_claim,
    node_of_pod,
    workspace_of_labels,
)

if TYPE_CHECKING:
    from kaitoctl.commands.plan_world import World
    from kaitoctl.commands.target import Target
    from kaitoctl.kaito.catalog import Catalog
    from kaitoctl.kaito.prices import Prices
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object
    from kaitoctl.kube.request import Request


_RUNNING = frozenset(kind.plural for kind in (DEPLOYMENT, STATEFUL_SET, JOB))
"""What pods run in."""


async def change_of(
    client: Client,
    before: Object | None,
    after: Object,
    known: Catalog,
    *,
    is_sandbox: bool,
    managed: ManagedBy = NOT_SAID,
) -> Change:
    """What one Workspace or InferenceSet that is about to be written leads to; nothing is written.

    Where the cluster does not let itself be looked at, that is said, and wants consent.

    Args:
        client: of the cluster.
        before: the object as it is, with managedFields; None for a new one.
        after: as the server would have it.
        known: the catalog.
        is_sandbox: kaitoctl's own controller runs there.
        managed: who manages Workspaces, as far as the user says it.
    """
    differences = () if before is None else between(before, after)
    fields = tuple((item.path, item.observed, item.desired) for item in differences)
    trial = Trial(after["kind"], after["kind"], after, before, after, fields)
    try:
        world = await plan_world.observe_world(
            client,
            is_sandbox=is_sandbox,
            managed=managed,
            known=known,
            namespaces=[key_of(after).namespace],
        )
    except ApiError as error:
        unknown = planning.change_of(trial, Effects(), None, (), known)
        return replace(unknown, uncertain=f"what restarts and is bought: {error}")
    (change,) = await changes_of(client, world, [trial])
    return change


async def agree_to_new(
    client: Client,
    target: Target,
    made: Object,
    known: Catalog,
    costs: Prices,
    *,
    skips: bool,
    managed: ManagedBy = NOT_SAID,
) -> None:
    """Show what a new Workspace or InferenceSet costs; ask where nodes are bought that somebody pays for.

    Args:
        client: of the cluster.
        target: the same; in a sandbox nobody pays.
        made: as the server would have it.
        known: the catalog.
        costs: by the hour.
        skips: show only: a dry run, or `--yes`.
        managed: who manages Workspaces, as far as the user says it.

    Raises:
        InputError: its controller would refuse it, or there is no terminal to ask on.
        NegativeAnswer: the answer is no.
    """
    change = await change_of(client, None, made, known, is_sandbox=target.sandbox, managed=managed)
    name = f"{made['kind']} {change.key}"
    if change.problems:
        raise InputError(f"{name} is refused; nothing was written", problems=list(change.problems))
    consent.show_costs(target, change, costs)
    if not skips and not target.sandbox and change.wants_consent:
        consent.require_yes_or_tty(yes=False)
        await consent.confirm(f"Create {name}?")


async def changes_of(client: Client, world: World, found: Sequence[Trial | Change]) -> list[Change]:
    """The entries of the plan, with what the controller does about each Workspace and set."""
    trials = [one for one in found if isinstance(one, Trial)]
    workspaces = [one for one in trials if one.kind == "Workspace"]
    there, now = world.stores.workspaces.values(), datetime.now(UTC)
    of_sets = [one for one in trials if one.kind == api.INFERENCE_SET.kind]
    bought = _bought_for(world) if of_sets else set()
    sets = {
        key_of(one.after): planning.effects_of_set(one, there, now, is_own=world.is_own, bought=bought)
        for one in of_sets
    }
    replicas = [workspace for one in sets.values() for workspace in one.starting]
    beside = [one.after for one in trials if one.kind == CONFIG_MAP.kind]
    planned = [(key_of(one), one) for one in [*(one.after for one in workspaces), *replicas]]
    contexts = await contexts_on_cluster(
        client, [one for _, one in planned], beside, lambda one: rules_in(world.setting, one)
    )
    effects: dict[ObjectKey, Effects] = {}
    workloads: dict[ObjectKey, Object | None] = {}
    if world.is_own:
        forecasts = await _forecasts(client, world, [one for _, one in planned], beside)
        effects = {item.key: _effects(world, item) for item in forecasts}
        effects |= _of_unknown_size(world, workspaces, replicas, effects, contexts)
        workloads = {item.key: item.workload for item in forecasts}
    else:
        effects = _by_kaito(world, workspaces, replicas, contexts)
    before = {
        ObjectKey(key.namespace, new): ObjectKey(key.namespace, old)
        for key, one in sets.items()
        for new, old in one.instead.items()
    }
    pods = {key: _pods(world, before.get(key, key)) for key in effects} if world.quotas else {}
    limited = QuotaEffects(world, pods)
    limited.survey((one, workloads.get(key), effects[key]) for key, one in planned)
    for key, workspace in planned:
        effects[key] = limited.of(workspace, workloads.get(key), effects[key])
    return [one if isinstance(one, Change) else _entry(world, one, effects, sets, contexts) for one in found]


def _by_kaito(
    world: World,
    workspaces: Sequence[Trial],
    replicas: Sequence[Object],
    contexts: Mapping[ObjectKey, int],
) -> dict[ObjectKey, Effects]:
    """What KAITO does about the Workspaces of the plan, and about those of its sets."""
    effects: dict[ObjectKey, Effects] = {}
    placings: dict[ObjectKey, planning.Placing] = {}
    share = _share(world)
    for one in workspaces:
        key = key_of(one.after)
        workload, pods = _workload(world, one.before), _pods(world, key)
        nodes = share.of(one.after, _claims_of(world, key), context=contexts.get(key, 0))
        effects[key] = planning.effects_by_kaito(one, workload, pods, nodes)
        held = planning.nodes_held(pods)
        move = planning.placing(workload, nodes.verdict, held, effects[key].restarts)
        if move is not None:
            placings[key] = move
    for key, stuck in planning.contests(placings).items():
        effects[key] = replace(effects[key], deadlock=stuck)
    for workspace in replicas:
        nodes = share.of(workspace, context=contexts.get(key_of(workspace), 0))
        effects[key_of(workspace)] = Effects(asked=nodes.asked, waits=nodes.waits, unsized=nodes.unsized)
    return effects


def _of_unknown_size(
    world: World,
    trials: Sequence[Trial],
    replicas: Sequence[Object],
    effects: Mapping[ObjectKey, Effects],
    contexts: Mapping[ObjectKey, int],
) -> dict[ObjectKey, Effects]:
    """What kaitoctl's controller does about models whose figures its own catalog alone may have."""
    found, share = {}, _share(world)
    changed = {key_of(one.after): one.before for one in trials if one.fields}
    for after in [*(one.after for one in trials), *replicas]:
        key, name = key_of(after), str(dig(after, "inference", "preset", "name"))
        if effects[key].refusal != desired.size_unknown(name):
            continue
        workload = _workload(world, after)
        nodes = share.of(after, _claims_of(world, key), context=contexts.get(key, 0))
        verdict = replace(nodes.verdict, unsized=name)
        found[key] = Effects(
            planning.restarts_by_kaito(changed.get(key), after, workload, world.setting.catalog),
            nodes.asked if workload is None else 0,
            unsized=verdict.why_unsized + ("; " + verdict.how_to_size) if workload is None else "",
        )
    return found


def _share(world: World) -> planning.Share:
    nodes, pods = world.stores.nodes.values(), world.stores.gpu_pods.values() if world.sees_pods else None
    return planning.Share(nodes, pods, world.setting, can_claim=world.stores.can_claim())


def _entry(
    world: World,
    trial: Trial,
    effects: Mapping[ObjectKey, Effects],
    sets: Mapping[ObjectKey, planning.SetEffects],
    contexts: Mapping[ObjectKey, int],
) -> Change:
    known = world.setting.catalog
    if trial.kind == api.INFERENCE_SET.kind:
        of_set = sets[key_of(trial.after)]
        found = [effects[key_of(one)] for one in of_set.starting]
        own = {str(key_of(one)) for one in of_set.starting}
        rivals = tuple(dict.fromkeys(name for one in found for name in one.rivals if name not in own))
        asked = sum(one.asked for one in found)
        most = sum(max(one.asked, one.most) for one in found) if rivals else asked
        waits = "; ".join(dict.fromkeys(one.waits for one in found if one.waits))
        rolled = _rolled(trial, of_set)
        restarts = planning.outage_of_replica(
            trial.after, [pod for one in rolled for pod in _pods(world, one)], known
        )
        left, kept = _left_by_replicas(world, trial, of_set)
        change = planning.change_of_set(
            trial,
            replace(of_set, kept=kept),
            restarts,
            asked=asked,
            most=most,
            rivals=rivals,
            waits=waits,
            returned=(*(line for one in found for line in one.returned), *left),
            perhaps=(*(line for one in found for line in one.perhaps), *left),
            unsized=next((one.unsized for one in found if one.unsized), ""),
        )
        if refusal := next((one.refusal for one in found if one.refusal), ""):
            change = replace(change, uncertain=f"what its new replicas take: {refusal}")
        first = next(iter(of_set.starting), None)
        return change if first is None else replace(change, loading=_loading(world, first, contexts))
    if trial.kind != "Workspace":
        return planning.change_of(trial, Effects(), None, (), known)
    key = key_of(trial.after)
    workload, pods = _workload(world, trial.before), _pods(world, key)
    change = planning.change_of(trial, effects[key], workload, pods, known)
    if change.fate == "created" or change.outage.pods:
        change = replace(change, loading=_loading(world, trial.after, contexts))
    hidden = sorted(world.hidden & _RUNNING) if change.fate == "changed" else ()
    if not hidden:
        return change
    words = f"whether pods restart, as {' and '.join(hidden)} cannot be listed in {key.namespace}"
    return replace(change, uncertain=words)


def _loading(world: World, workspace: Object, contexts: Mapping[ObjectKey, int]) -> planning.Loading | None:
    settings = replace(world.settings, context=contexts.get(key_of(workspace), 0))
    return planning.loading(workspace, settings)


async def _forecasts(
    client: Client,
    world: World,
    planned: list[Object],
    beside: Sequence[Object],
    restarted: Mapping[ObjectKey, int] | None = None,
) -> list[Forecast]:
    """What kaitoctl's controller would do; its reads that neither lists nor the plan answer are sent."""
    now = datetime.now(UTC)
    knows = world.setting.rights is not None
    asking = forecast(
        world.stores,
        planned,
        world.settings,
        clock=lambda: now,
        knows_rights=knows,
        restarted=restarted or {},
    )
    return await drive(client, _with_planned(asking, beside))


def _with_planned(
    asking: Generator[Request, Object, list[Forecast]], beside: Sequence[Object]
) -> Generator[Request, Object, list[Forecast]]:
    """The same, where ConfigMaps that the plan writes answer for those that the server has."""
    planned = {request.get(CONFIG_MAP, *key_of(one)).path: one for one in beside}
    try:
        asked = next(asking)
        while True:
            found = planned.get(asked.path) if asked.method == "GET" else None
            try:
                answer = (yield asked) if found is None else found
            except ApiError as error:
                asked = asking.throw(error)
            else:
                asked = asking.send(answer)
    except StopIteration as end:
        return list(end.value)


@lru_cache(maxsize=5000)
def _title(key: ObjectKey) -> str:
    """In words: of many that may meet, each names all the others."""
    return str(key)


def _effects(world: World, item: Forecast) -> Effects:
    return Effects(
        item.restarts,
        len(item.asked),
        tuple(_released(world, name, item.key) for name in item.returned),
        item.waits,
        refusal=item.refusal,
        most=item.most,
        rivals=tuple(map(_title, item.rivals)),
        outgrown=tuple(_released(world, name, item.key) for name in item.outgrown),
        perhaps=tuple(_released(world, name, item.key) for name in item.perhaps),
        strays=item.strays,
        warnings=tuple(machine_stays(world.stores, one) for one in item.machines),
    )


def _left_by_replicas(
    world: World, trial: Trial, of_set: planning.SetEffects
) -> tuple[list[str], frozenset[str]]:
    """What becomes of nodes under pods that are not their own Workspace's, when replicas are deleted.

    Returns:
        The nodes of others that may go, in words; the replicas whose nodes stay while others are there.
    """
    going = {ObjectKey(key_of(trial.after).namespace, name) for name in of_set.going}
    if not (going and world.is_own and world.stores.claims):
        return [], frozenset()
    from kaitoctl.workspace_controller.vacancies import vacancies  # most plans delete nothing

    found = vacancies(world.stores, world.settings, {}, going)
    kept = {
        key.name
        for key in going
        for claim in _claims_of(world, key)
        for node in node_of_claim(claim)
        for pod in world.stores.gpu_pods.by(node_of_pod, node)
        if not going.issuperset(workspace_of_labels(pod) or [key_of(pod)])
    }
    return [_released(world, one.claim, None) for one in found if one.owner not in going], frozenset(kept)


def _rolled(trial: Trial, of_set: planning.SetEffects) -> list[ObjectKey]:
    namespace = key_of(trial.after).namespace
    return [ObjectKey(namespace, name) for name in of_set.rolled]


def _released(world: World, name: str, mine: ObjectKey | None) -> str:
    """What goes, in words; and of which Workspace, unless it is that one's own."""
    key = ObjectKey("", name)
    if key in world.stores.pools:
        return f"NodePool {name}, with its nodes"
    claim = world.stores.claims.get(key)
    owners = [] if claim is None else [one for one in workspace_of_labels(claim) if one != mine]
    whose = "".join(f" of Workspace {owner}" for owner in owners)
    node = dig(claim, "status", "nodeName")
    return f"NodeClaim {name}{whose}" + (f", node {node}" if node else "")


def _workload(world: World, before: Object | None) -> Object | None:
    if before is None:
        return None
    for store in (world.stores.deployments, world.stores.stateful_sets):
        found = store.get(key_of(before))
        if found is not None and is_controlled_by(found, before):
            return found
    return None


def _pods(world: World, key: ObjectKey) -> list[Object]:
    return [pod for pod in world.stores.pods.by(workspace_of_labels, key) if not is_finished(pod)]


def _bought_for(world: World) -> set[ObjectKey]:
    """The Workspaces that nodes were bought for."""
    found = {key for claim in world.stores.claims.values() for key in workspace_of_labels(claim)}
    return found | {key for pool in world.stores.pools.values() for key in workspace_of_pool(pool)}


def _claims_of(world: World, key: ObjectKey) -> list[Object]:
    return world.stores.claims.by(workspace_of_labels, key)


def recreation(world: World, source: str, before: Object, after: Object, refusals: Sequence[str]) -> Change:
    """What comes of a Workspace that only a new one can take the place of."""
    key = key_of(before)
    sized = desired.with_node_count(after, desired.with_image_generation(after, world.settings))
    machines = world.stores.machines.by(workspace_of_labels, key) if world.stores.machines else []
    fitting = [one for one in counted(world.stores, machines) if node_claims.fits(after, one)]
    again = sorted(fitting, key=node_claims.node_of)[: node_check.required_nodes(after)]
    return planning.recreation(
        source,
        before,
        after,
        _workload(world, before),
        _pods(world, key),
        world.settings,
        releases=[_released(world, key_of(claim).name, key) for claim in _claims_of(world, key)],
        stays=[machine_stays(world.stores, one) for one in machines if one not in again],
        refusals=refusals,
        takes=0 if rules_in(world.setting, after).is_byo else node_check.required_nodes(sized),
    )


async def restart_of(
    client: Client, workspace: Object, known: Catalog, *, is_sandbox: bool, managed: ManagedBy
) -> Change:
    """What recreating the pods of a Workspace leads to, its manifest being what it is."""
    key = key_of(workspace)
    world = await plan_world.observe_world(
        client, is_sandbox=is_sandbox, managed=managed, known=known, namespaces=[key.namespace]
    )
    workload, pods = _workload(world, workspace), _pods(world, key)
    contexts = await contexts_on_cluster(client, [workspace], (), lambda one: rules_in(world.setting, one))
    share = _share(world).of(workspace, _claims_of(world, key), context=contexts.get(key, 0))
    effects = Effects()
    if world.is_own and workload is not None and (seen := world.stores.workspaces.get(key)) is not None:
        (found,) = await _forecasts(client, world, [seen], (), {key: running(workload)})
        if found.refusal != desired.size_unknown(str(dig(workspace, "inference", "preset", "name"))):
            effects = _effects(world, found)
    return planning.restart(workspace, workload, pods, share.verdict, known, effects)
