"""What the screens say of a set in each state that it can be in, and what `rollout status` makes of it."""

from __future__ import annotations

import asyncio
import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from fleet_world import KEY, SET, START, FleetWorld, adapter, inference_set
from msgspec.structs import replace
from virtual_time import run

from kaitoctl.commands import fleet_picture, follow_fleet, why_fleet
from kaitoctl.commands.target import Target
from kaitoctl.commands.why_answer import Answer
from kaitoctl.errors import InputError, TimedOut
from kaitoctl.kaito.catalog import SHIPPED
from kaitoctl.kaito.fleet.strategy import PAUSED
from kaitoctl.kaito.fleet.view import Fleet, fleet_of
from kaitoctl.kaito.planning import Change, change_of_set, effects_of_set, outage_of_replica, set_problems
from kaitoctl.kaito.planning.change import Trial
from kaitoctl.kaito.planning.of_sets import SetEffects
from kaitoctl.kaito.planning.outage import Outage
from kaitoctl.kaito.validation import OWN, Setting
from kaitoctl.kube import request
from kaitoctl.kube.objects import CONTROLLER_REVISION, Object, key_of
from kaitoctl.screens import output

TARGET = Target("default", None, None)


def seen(world: FleetWorld, *, by_kaito: bool = False) -> Fleet:
    found = {"apiVersion": SET.api_version, "kind": SET.kind, **world.the_set}
    if by_kaito:
        there = [one for one in found["status"]["conditions"] if one["type"] != "RolloutComplete"]
        found = {**found, "status": {**found["status"], "conditions": there}}
    revisions = world.listed(CONTROLLER_REVISION)
    return fleet_of(found, world.workspaces, revisions, world.now, catalog=SHIPPED)


def serving(replicas: int = 3) -> FleetWorld:
    world = FleetWorld()
    world.apply(inference_set(replicas))
    world.settle()
    return world


def adapted(replicas: int = 3, *, paused: bool = False, **rolling: Any) -> Object:
    made = inference_set(replicas, adapters=[adapter("a")])
    if paused:
        made["metadata"]["annotations"] = {PAUSED: "true"}
    if rolling:
        made["spec"]["updateStrategy"] = {"rollingUpdate": rolling}
    return made


def status(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> list[str]:
    output.show(fleet_picture.report(TARGET, fleet, datetime.now(UTC)))
    return [line.strip() for line in capsys.readouterr().out.splitlines()]


def why(fleet: Fleet) -> Answer:
    found = why_fleet.of_set(TARGET, fleet)
    assert isinstance(found, Answer)
    return found


def ends(fleet: Fleet) -> bool:
    """Whether `rollout status` gives up."""
    return fleet.is_leaving or fleet.state == "Failed" or bool(fleet.stuck)


def trial_of(before: Object, after: Object) -> Trial:
    return Trial("fleet.yaml", SET.kind, after, before, after, (("spec", None, None),))


def hint(fleet: Fleet) -> str:
    return str(follow_fleet.failure(TARGET, fleet).hint)


def test_a_pause_while_a_replica_restarts_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    world = serving()
    world.apply(adapted())
    world.reconcile()
    world.apply(adapted(paused=True))
    world.reconcile()
    fleet = seen(world)
    assert (fleet.state, ends(fleet)) == ("Progressing", False)
    head, words, command = status(fleet, capsys)[:3]
    assert head == "InferenceSet default/phis: progressing, 2 of 3 replicas ready"
    assert words == "2 of 3 replicas have an older template; the rollout is paused"
    assert command == "kaitoctl rollout resume phis -n default"
    world.settle()
    fleet = seen(world)
    assert (fleet.state, ends(fleet)) == ("Mixed", True)
    assert hint(fleet) == "kaitoctl rollout resume phis -n default resumes it"
    assert why(fleet).short.endswith("the rollout is paused -> kaitoctl rollout resume phis -n default")
    assert not why(fleet).is_well
    assert hint(seen(world, by_kaito=True)) == hint(fleet), "rollout fleet would be refused, too"


@pytest.mark.parametrize("by_kaito", [False, True])
def test_a_canary_and_a_walk_that_restart_replicas_have_not_failed(by_kaito: bool) -> None:
    world = serving()
    world.apply(adapted(partition=2))
    world.reconcile()
    world.reconcile()
    fleet = seen(world, by_kaito=by_kaito)
    assert (fleet.ready, fleet.state, ends(fleet)) == (2, "Progressing", False)
    world.settle()
    fleet = seen(world, by_kaito=by_kaito)
    assert (fleet.state, ends(fleet)) == ("Mixed", True)
    assert ("kaitoctl rollout fleet phis" if by_kaito else "kaitoctl edit inferenceset/phis") in hint(fleet)


def test_over_the_failure_budget_the_replica_is_named_once_and_both_ways_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    world = serving()
    world.broken = lambda one: "adapters" in one["inference"]
    world.apply(adapted())
    world.settle()
    fleet = seen(world)
    (failed,) = (one.name for one in fleet.replicas if one.failure)
    assert (fleet.state, ends(fleet)) == ("Failed", True)
    assert status(fleet, capsys)[2] == f"kaitoctl why {failed} -n default"
    assert follow_fleet.line(fleet).count(failed) == 1
    assert f"kaitoctl why {failed}" in hint(fleet)
    assert "kaitoctl rollout undo phis -n default brings the earlier template back" in hint(fleet)
    assert why_fleet.of_set(TARGET, fleet) == key_of(fleet.replicas[0].workspace)._replace(name=failed)
    beside = seen(world, by_kaito=True)
    assert beside.trouble == f"{failed}: as it is", "what has failed comes before what is mixed"


def test_a_set_that_is_refused_is_not_waited_for() -> None:
    world = serving()
    world.apply(inference_set(3, preset={"name": "phi-4"}, adapters=[adapter("A!")]))
    world.settle()
    fleet = seen(world)
    assert (fleet.state, ends(fleet)) == ("Mixed", True)
    assert hint(fleet) == "kaitoctl edit inferenceset/phis -n default changes that"
    world.apply(inference_set(3))
    assert not ends(seen(world)), "the refusal was of the generation before"


def test_zero_replicas_serve_nobody_and_none_at_all_is_not_well() -> None:
    world = serving(0)
    assert "scaled to zero and serves nobody" in follow_fleet.line(seen(world))
    assert why(seen(world)).is_well
    world = FleetWorld()
    world.apply(inference_set(2))
    fleet = seen(world)
    assert "no replica exists yet" in follow_fleet.line(fleet)
    assert not why(fleet).is_well


def test_too_many_are_told_and_waited_for() -> None:
    world = serving()
    world.apply(inference_set(1))
    fleet = seen(world)
    assert (fleet.state, ends(fleet)) == ("Progressing", False)
    assert follow_fleet.line(fleet) == "3 of 1 replicas ready; 2 more than wanted"


def test_a_set_that_is_being_deleted_becomes_ready_no_more() -> None:
    world = serving()
    world.do(request.delete(SET, *KEY))
    fleet = seen(world)
    assert (fleet.state, ends(fleet)) == ("Deleting", True)
    assert str(follow_fleet.failure(TARGET, fleet)) == "InferenceSet default/phis: it is being deleted"


def test_a_surge_without_room_is_waited_for_and_says_why() -> None:
    world = serving()
    world.room = lambda workspace: "no node has free GPUs"
    world.apply(adapted(maxUnavailable=0, maxSurge=1))
    world.settle()
    fleet = seen(world)
    assert not ends(fleet)
    assert "no replica can be added: no node has free GPUs" in follow_fleet.line(fleet)


@pytest.mark.parametrize(
    ("rolling", "paused", "rolled", "left"),
    [({}, False, 3, 0), ({"partition": 2}, False, 1, 2), ({}, True, 0, 3), ({"partition": 9}, False, 0, 3)],
)
def test_a_plan_of_a_set_restarts_what_its_controller_will(
    rolling: dict[str, Any], paused: bool, rolled: int, left: int
) -> None:
    world = serving()
    before = {"apiVersion": SET.api_version, "kind": SET.kind, **world.the_set}
    after = copy.deepcopy(before)
    wanted = adapted(paused=paused, **rolling)
    after["spec"] |= wanted["spec"]
    after["metadata"]["annotations"] = wanted["metadata"].get("annotations", {})
    trial = trial_of(before, after)
    effects = effects_of_set(trial, world.workspaces, world.now, is_own=True)
    assert (len(effects.rolled), len(effects.left)) == (rolled, left)
    world.apply(wanted)
    world.settle()
    changed = {key_of(one).name for one in world.live if "adapters" in one["inference"]}
    assert changed == set(effects.rolled)


def test_a_plan_names_the_replicas_that_its_controller_deletes() -> None:
    world = serving(4)
    before = {"apiVersion": SET.api_version, "kind": SET.kind, **world.the_set}
    after = {**before, "spec": {**before["spec"], "replicas": 2}}
    effects = effects_of_set(trial_of(before, after), world.workspaces, world.now, is_own=True)
    names = {key_of(one).name for one in world.live}
    world.apply(inference_set(2))
    world.settle()
    assert names - {key_of(one).name for one in world.live} == set(effects.going)


def test_which_serving_replica_kaito_deletes_is_not_foretold() -> None:
    """It lists them from a cache without order; one that does not serve goes before."""
    world = serving(4)
    before = {"apiVersion": SET.api_version, "kind": SET.kind, **world.the_set}
    after = {**before, "spec": {**before["spec"], "replicas": 2}}

    def effects(replicas: int = 2) -> SetEffects:
        to_be = {**after, "spec": {**after["spec"], "replicas": replicas}}
        return effects_of_set(trial_of(before, to_be), world.workspaces, world.now, is_own=False)

    assert (effects().going, effects().chosen) == ((), 2)
    assert len(set(effects(0).going)) == 4, "all of them go"
    late = world.live[0]
    late["status"]["conditions"] = []
    effect = effects_of_set(trial_of(before, after), [late, *world.live[1:]], world.now, is_own=False)
    assert (effect.going, effect.chosen) == ((key_of(late).name,), 1)
    change = change_of_set(trial_of(before, after), effect, Outage(), asked=0, most=0)
    assert change.returned == (
        f"Workspace {key_of(late).name}, with its nodes",
        "one more of the replicas that serve, whichever KAITO chooses, with its nodes",
    )


@pytest.mark.parametrize(
    ("change", "rolling", "is_bought", "made", "going"),
    [
        ({"preset": {"name": "phi-4"}}, {}, True, 3, 3),
        ({"preset": {"name": "phi-4"}}, {}, False, 0, 0),
        ({"instanceType": "Standard_ND96asr_v4"}, {}, True, 3, 3),
        ({"instanceType": "Standard_ND96asr_v4"}, {}, False, 3, 0),
        ({"adapters": [adapter("a")]}, {}, True, 0, 0),
        ({"adapters": [adapter("a")]}, {"maxUnavailable": 0, "maxSurge": 1}, True, 3, 3),
        ({"adapters": [adapter("a")]}, {"maxUnavailable": 0, "maxSurge": 1}, False, 1, 0),
    ],
)
def test_a_plan_counts_the_nodes_of_replicas_that_come_in_the_place_of_others(
    change: dict[str, Any], rolling: dict[str, Any], is_bought: bool, made: int, going: int
) -> None:
    """A Workspace that goes gives its nodes back, and the next one asks for others."""
    world = serving()
    before = {"apiVersion": SET.api_version, "kind": SET.kind, **world.the_set}
    after = copy.deepcopy(before)
    after["spec"]["updateStrategy"] = {"rollingUpdate": rolling}
    part = "resource" if "instanceType" in change else "inference"
    after["spec"]["template"][part] |= change
    bought = [key_of(one) for one in world.live] if is_bought else []
    trial = trial_of(before, after)
    effects = effects_of_set(trial, world.workspaces, world.now, is_own=True, bought=bought)
    assert (len(effects.rolled), len(effects.made), len(effects.going)) == (3, made, going)
    beside_kaito = effects_of_set(trial, world.workspaces, world.now, is_own=False, bought=bought)
    assert (beside_kaito.made, beside_kaito.going) == ((), ()), "it carries no template to what there is"


@pytest.mark.parametrize(
    ("most", "words"),
    [
        (1, "3 pods restart one by one, at most 30 minutes each; the others keep serving"),
        (2, "3 pods restart 2 at a time, at most 30 minutes each; the others keep serving"),
        (3, "3 pods restart: at most 30 minutes without service"),
    ],
)
def test_a_plan_says_how_many_replicas_restart_at_a_time_and_how_long_the_model_may_take(
    most: int, words: str
) -> None:
    world = serving()
    before = {"apiVersion": SET.api_version, "kind": SET.kind, **world.the_set}
    after = {**before, "spec": {**before["spec"], **adapted(maxUnavailable=most)["spec"]}}
    assert planned(world, trial_of(before, after)).outage.words == words


def test_a_plan_that_changes_nothing_restarts_nothing_and_says_what_is_still_to_come() -> None:
    world = serving()
    world.apply(adapted())
    before = {"apiVersion": SET.api_version, "kind": SET.kind, **world.the_set}
    change = planned(world, Trial("fleet.yaml", SET.kind, before, before, before, ()))
    assert (change.fate, change.outage.pods) == ("unchanged", 0)
    assert "3 of 3 replicas are yet to restart with the present template" in change.warnings


def planned(world: FleetWorld, trial: Trial) -> Change:
    effects = effects_of_set(trial, world.workspaces, world.now, is_own=True)
    restarts = outage_of_replica(trial.after, (), SHIPPED)
    return change_of_set(trial, effects, restarts, asked=0, most=0)


# --- what no longer moves ----------------------------------------------------------------------------------

BUDGET_S = SHIPPED.from_nothing_s("phi-4-mini-instruct")


def held(kind: str) -> Fleet:
    """A set of three that stays as it is: one serves nobody, is missing, or does not go."""
    fleet = seen(serving())
    first, *others = fleet.replicas
    if kind == "silent":
        return fleet.as_served({first.name: "the Service has no endpoints"}, {})
    return replace(fleet, replicas=(*([replace(first, leaving=True)] if kind == "leaving" else []), *others))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("silent", "; phis-a: the Service has no endpoints"),
        ("missing", "2 of 3 exist"),
        ("leaving", "2 of 3 exist; being deleted: phis-a"),
    ],
)
def test_what_does_not_move_for_as_long_as_a_replica_may_take_is_followed_no_longer(
    kind: str, words: str
) -> None:
    fleet = held(kind)
    named = words.replace("phis-a", fleet.replicas[0].name)

    async def follow(*, gives_up: bool) -> float:
        moving, now = follow_fleet.Moving(TARGET, SHIPPED, gives_up=gives_up), 0.0
        while now <= 2 * BUDGET_S:
            moving.insist(seen(serving()) if now == BUDGET_S / 2 else fleet)
            await asyncio.sleep(BUDGET_S / 10)
            now += BUDGET_S / 10
        return now

    with pytest.raises(TimedOut) as caught:
        run(follow(gives_up=True))
    assert caught.value.message.startswith("InferenceSet default/phis: nothing has changed for ")
    assert named in caught.value.message
    assert "kaitoctl why phis -n default shows what holds it" in caught.value.hint
    assert run(follow(gives_up=False)) > 2 * BUDGET_S, "--timeout counts alone"


def test_as_long_as_replicas_change_a_set_moves() -> None:
    async def follow() -> None:
        moving, fleets = (
            follow_fleet.Moving(TARGET, SHIPPED, gives_up=True),
            (held("silent"), seen(serving())),
        )
        for number in range(60):
            moving.insist(fleets[number // 9 % 2])
            await asyncio.sleep(0.1 * BUDGET_S)

    run(follow())


def test_while_nobody_can_look_nothing_stands_still() -> None:
    """As when an API server is away for longer than a replica may take."""

    async def follow() -> None:
        moving, fleet = follow_fleet.Moving(TARGET, SHIPPED, gives_up=True), held("silent")
        moving.insist(fleet)
        await asyncio.sleep(3 * BUDGET_S)
        moving.insist(fleet)
        for _ in range(8):
            await asyncio.sleep(0.1 * BUDGET_S)
            moving.insist(fleet)
        with pytest.raises(TimedOut):
            for _ in range(2):
                await asyncio.sleep(0.1 * BUDGET_S)
                moving.insist(fleet)

    run(follow())


@pytest.mark.parametrize(("more", "is_refused"), [(5000, False), (5001, True), (10**9, True)])
def test_a_mistyped_number_of_replicas_is_refused_before_each_is_planned(more: int, is_refused: bool) -> None:
    before = inference_set(2)
    after = {**before, "spec": {**before["spec"], "replicas": 2 + more}}
    setting = Setting(OWN)
    problems, _ = set_problems(after, setting, before)
    assert any("at most 5000 are planned at once" in words for words in problems) is is_refused
    assert not set_problems(after, setting, after)[0], "what there is already is no typing error"
    if more > 5000:
        with pytest.raises(
            InputError, match=f"InferenceSet default/phis: spec.replicas: it asks for {2 + more} more"
        ):
            effects_of_set(trial_of(before, after), [], START, is_own=True)
