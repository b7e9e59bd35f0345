"""`apply` when something happens between the plan and its last write."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from direct import Direct
from fleet_world import KEY, SET, inference_set
from planned_world import PlannedDirect, PlannedWorld
from virtual_time import run
from world import World, falcon

from kaitoctl.advice import Command, text
from kaitoctl.commands import apply, make_plan, prune, rollout, rollout_surge
from kaitoctl.commands.cluster import FIELD_MANAGER
from kaitoctl.commands.observe_fleet import fleet_at
from kaitoctl.commands.observe_revisions import revisions_of
from kaitoctl.commands.one_by_one import Progress
from kaitoctl.commands.option_values import NOT_SAID, ManagedBy, Manifests
from kaitoctl.commands.plan_documents import Written
from kaitoctl.commands.target import Target
from kaitoctl.errors import ApiError, Unreachable
from kaitoctl.kaito import api as kaito
from kaitoctl.kaito.fleet.replicas import workspace_of
from kaitoctl.kaito.planning import Plan
from kaitoctl.kube import request
from kaitoctl.kube.objects import CONFIG_MAP, SECRET, Kind, Object, ObjectKey, key_of, with_type
from kaitoctl.kube.request import Request
from kaitoctl.kube.response_bodies import ObjectList

AGAIN = Command("kaitoctl apply -f models")
ADAPTER = {"source": {"name": "style", "image": "registry.example/style:1"}, "strength": "0.5"}
CONFIG: Object = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "cm"},
    "data": {"inference_config.yaml": "vllm: {}"},
}


class Meddled(Direct):
    """Does something before the write of an object of some name; once."""

    def __init__(self, world: World, name: str, meddle: Callable[[], object]) -> None:
        super().__init__(world)
        self._name, self._meddle = name, meddle

    async def send(self, asked: Request) -> Object:
        if asked.is_write and asked.path.endswith(f"/{self._name}"):
            self._name = ""
            self._meddle()
        return await super().send(asked)


def workspace(name: str, **inference: Any) -> Object:
    made = falcon(labelSelector={"matchLabels": {"apps": name}})
    inside = {**made["inference"], **inference}
    return {**made, "metadata": {"name": name, "namespace": "default"}, "inference": inside}


def planned(world: World | Direct, *bodies: Object) -> Plan:
    documents = [
        Written(f"x: {number}", body["kind"], ObjectKey("default", key_of(body).name), {**body})
        for number, body in enumerate(bodies)
    ]
    asking = make_plan.PlanRequest(is_sandbox=True, managed=NOT_SAID, force=False)
    client = world if isinstance(world, Direct) else Direct(world)
    return asyncio.run(make_plan.make(client, documents, asking))  # type: ignore[arg-type]


def write(client: Direct, plan: Plan) -> list[str]:
    progress = Progress("applied", AGAIN)
    asyncio.run(apply.write(client, plan, progress, force=False))  # type: ignore[arg-type]
    assert progress.done == len(progress.titles)
    return list(progress.titles)


def test_what_fails_in_the_middle_says_what_was_applied_and_what_goes_on() -> None:
    world = World()
    plan = planned(world, workspace("one"), CONFIG, workspace("two"), workspace("three"))

    def refuse() -> None:
        raise ApiError(403, "Forbidden", "exceeded quota: gpus")

    with pytest.raises(ApiError) as caught:
        write(Meddled(world, "two", refuse), plan)
    assert "applied: ConfigMap default/cm, Workspace default/one;" in caught.value.message
    assert "not applied: Workspace default/two, Workspace default/three" in caught.value.message
    assert "kaitoctl apply -f models continues where this stopped" in caught.value.hint
    # The same once more does the rest, and only that.
    rest = planned(world, workspace("one"), CONFIG, workspace("two"), workspace("three"))
    assert write(Direct(world), rest) == ["Workspace default/two", "Workspace default/three"]


def test_what_may_have_been_applied_is_not_said_to_be_not_applied() -> None:
    """The server goes away in the middle of a write, and does not come back."""
    world = World()
    plan = planned(world, workspace("one"), workspace("two"), workspace("three"))
    is_gone: list[bool] = []

    class Leaving(Direct):
        async def send(self, asked: Request) -> Object:
            if is_gone or (asked.is_write and asked.path.endswith("/two")):
                is_gone.append(True)
                raise Unreachable("cannot reach the API server")
            return await super().send(asked)

    writing = apply.write(Leaving(world), plan, Progress("applied", AGAIN), force=False)  # type: ignore[arg-type]
    with pytest.raises(Unreachable) as caught:
        run(writing)
    assert "whether Workspace default/two was created is unknown" in caught.value.message
    assert "applied: Workspace default/one; not applied: Workspace default/three" in caught.value.message


def test_what_somebody_else_changes_meanwhile_is_not_overwritten() -> None:
    world = World()
    write(Direct(world), planned(world, workspace("one")))
    adapters = [{"source": {"name": "x", "image": "registry.example/x:1"}, "strength": "0.5"}]
    plan = planned(world, workspace("one", adapters=adapters))

    def edit() -> None:
        theirs = workspace("one")
        theirs["inference"]["config"] = "theirs"
        world.apply(kaito.WORKSPACE, theirs)

    with pytest.raises(ApiError) as caught:
        write(Meddled(world, "one", edit), plan)
    assert caught.value.status == 409 and "kaitoctl plan" in caught.value.hint
    now = world.get(kaito.WORKSPACE, "one")
    assert now is not None and "adapters" not in now["inference"]


def test_a_status_that_moves_meanwhile_is_no_obstacle() -> None:
    world = World()
    write(Direct(world), planned(world, workspace("one")))
    adapters = [{"source": {"name": "x", "image": "registry.example/x:1"}, "strength": "0.5"}]
    plan = planned(world, workspace("one", adapters=adapters))
    status = {"workerNodes": ["gpu-a"]}
    meddled = Meddled(world, "one", lambda: world.set_status(kaito.WORKSPACE, "one", status))
    assert write(meddled, plan) == ["Workspace default/one"]


def test_one_that_somebody_else_creates_meanwhile_stays_as_it_is() -> None:
    world = World()
    plan = planned(world, workspace("one"))
    theirs = workspace("one")
    theirs["metadata"]["labels"] = {"team": "theirs"}
    with pytest.raises(ApiError) as caught:
        write(Meddled(world, "one", lambda: world.apply(kaito.WORKSPACE, theirs)), plan)
    assert caught.value.status == 409


def test_one_that_was_replaced_meanwhile_is_not_written() -> None:
    world = World()
    write(Direct(world), planned(world, CONFIG))
    plan = planned(world, {**CONFIG, "data": {"inference_config.yaml": "vllm: {seed: 1}"}})

    def replace() -> None:
        world.do(request.delete(CONFIG_MAP, "default", "cm"))
        world.apply(CONFIG_MAP, {**CONFIG, "metadata": {"name": "cm", "namespace": "default"}})

    with pytest.raises(ApiError) as caught:
        write(Meddled(world, "cm", replace), plan)
    assert caught.value.status == 409
    now = world.get(CONFIG_MAP, "cm")
    assert now is not None and now["data"] == CONFIG["data"]


@pytest.mark.parametrize("kind", [kaito.WORKSPACE, CONFIG_MAP])
def test_one_that_was_deleted_meanwhile_is_not_made_again(kind: Kind) -> None:
    """It would buy nodes that nobody has been told of."""
    world = World()
    write(Direct(world), planned(world, CONFIG, workspace("one")))
    name = "cm" if kind == CONFIG_MAP else "one"
    plan = planned(
        world, {**CONFIG, "data": {"inference_config.yaml": "vllm: {seed: 1}"}}, workspace("one", config="cm")
    )
    with pytest.raises(ApiError) as caught:
        write(Meddled(world, name, lambda: world.do(request.delete(kind, "default", name))), plan)
    assert caught.value.status == 409 and "deleted it meanwhile" in caught.value.message
    assert world.get(kind, name) is None


def test_a_plan_is_made_of_many_documents_at_once() -> None:
    world = World()
    plan = planned(world, *(workspace(f"w{number}") for number in range(500)))
    assert plan.nodes_asked == {"Standard_NC12s_v3": 500}
    assert not any(change.rivals for change in plan.changes)


def test_a_plan_asks_once_for_each_workspace_and_works_in_proportion() -> None:
    """What it takes beside validating and a list of the nodes is measured by `python -m bench plan`."""

    class Counting(Direct):
        asked = 0

        async def send(self, asked: Request) -> Object:
            self.asked += asked.path.startswith("/apis/kaito.sh/")
            return await super().send(asked)

    def effort(number: int) -> tuple[int, int]:
        world, calls = World(), 0
        client = Counting(world)
        bodies = [workspace(f"w{one}") for one in range(number)]
        for body in bodies:  # all may use the same nodes
            body["resource"]["labelSelector"] = {"matchLabels": {"apps": "shared"}}

        def count(frame: FrameType, event: str, _: object) -> None:
            nonlocal calls
            path = frame.f_code.co_filename
            calls += event == "call" and "/kaitoctl/" in path and "/sandbox/" not in path

        sys.setprofile(count)
        try:
            plan = planned_by(client, *bodies)
        finally:
            sys.setprofile(None)
        assert len(plan.written) == number
        return client.asked, calls

    effort(2)  # tables are read once
    (few_asked, few), (many_asked, many) = effort(40), effort(80)
    assert many_asked - few_asked == 40, "what was listed is not read once more"
    assert (many - few) / 40 < 2500


def test_of_many_that_were_applied_the_first_and_the_last_are_named() -> None:
    world = World()
    plan = planned(world, *(workspace(f"w{number}") for number in range(40)))

    def refuse() -> None:
        raise ApiError(403, "Forbidden", "exceeded quota: gpus")

    with pytest.raises(ApiError) as caught:
        write(Meddled(world, "w25", refuse), plan)
    first, last = (f"{number} objects, Workspace default/w" for number in (25, 15))
    assert f"applied: {first}0 to Workspace default/w24 in the order above" in caught.value.message
    assert f"not applied: {last}25 to Workspace default/w39 in the order" in caught.value.message


def test_what_many_documents_name_is_asked_for_once() -> None:
    class Counting(Direct):
        asked = 0

        async def send(self, asked: Request) -> Object:
            self.asked += asked.path.endswith("/secrets/registry")
            return await super().send(asked)

    world = World()
    metadata = {"name": "registry", "namespace": "default"}
    of_type = {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "e30="}}
    world.apply(SECRET, {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, **of_type})
    client = Counting(world)
    image = {"name": "a", "image": "registry.example/a:1", "imagePullSecrets": ["registry"]}
    bodies = [workspace(f"w{number}") for number in range(20)]
    for body in bodies:
        body["inference"]["adapters"] = [{"source": image, "strength": "0.5"}]
    assert not planned_by(client, *bodies).refused
    assert client.asked == 1


def test_a_config_map_alone_is_judged_with_the_workspaces_that_name_it() -> None:
    def named(length: str) -> Object:
        data = {"inference_config.yaml": f"vllm:\n  max-model-len: {length}\n"}
        return {**CONFIG, "metadata": {"name": "mine", "namespace": "default"}, "data": data}

    world = World()
    write(Direct(world), planned(world, named("2048")))
    inference = {"preset": {"name": "phi-4"}, "config": "mine"}
    user = {**workspace("user"), "apiVersion": "kaito.sh/v1beta1", "inference": inference}
    user["resource"]["instanceType"] = "Standard_NC24ads_A100_v4"
    world.apply(kaito.WORKSPACE_V1BETA1, user)
    kaito_manages = ManagedBy(target_version="v0.12")
    (broken,) = planned_by(Direct(world), named("many"), managed=kaito_manages).changes
    assert broken.fate == "refused"
    assert any(words.startswith("Workspace default/user names it: ") for words in broken.problems)
    (changed,) = planned_by(Direct(world), named("1024"), managed=kaito_manages).changes
    assert changed.fate == "changed"
    assert changed.warnings == (
        "the pods of Workspace default/user keep the values from before until they restart",
    )
    (same,) = planned_by(Direct(world), named("2048"), managed=kaito_manages).changes
    assert same.warnings == ()
    beside, _ = planned_by(Direct(world), named("1024"), user, managed=kaito_manages).changes
    assert beside.warnings == changed.warnings
    world.do(request.delete(CONFIG_MAP, "default", "mine"))
    (made,) = planned_by(Direct(world), named("many"), managed=kaito_manages).changes
    assert made.problems == broken.problems
    (made,) = planned_by(Direct(world), named("1024"), managed=kaito_manages).changes
    assert (made.fate, made.warnings) == ("created", ())


# --- rights ------------------------------------------------------------------------------------------------


class Denied(Direct):
    """Somebody who may not list some kinds, nor write others."""

    def __init__(self, world: World, *, lists: tuple[str, ...] = (), writes: tuple[str, ...] = ()) -> None:
        super().__init__(world)
        self._lists, self._writes = lists, writes

    async def list(self, kind: Kind, namespace: str = "", **selectors: str) -> ObjectList:
        if kind.plural in self._lists:
            raise ApiError(403, "Forbidden", f"{kind.plural} is forbidden")
        return await super().list(kind, namespace, **selectors)

    async def send(self, asked: Request) -> Object:
        if asked.method == "PATCH" and any(f"/{plural}/" in asked.path for plural in self._writes):
            raise ApiError(403, "Forbidden", f"{asked.path} is forbidden", details={"kind": "x", "name": "y"})
        return await super().send(asked)


def planned_by(client: Direct, *bodies: Object, managed: ManagedBy = NOT_SAID) -> Plan:
    documents = [
        Written(f"x: {number}", body["kind"], ObjectKey("default", key_of(body).name), {**body})
        for number, body in enumerate(bodies)
    ]
    asking = make_plan.PlanRequest(is_sandbox=True, managed=managed, force=False)
    return asyncio.run(make_plan.make(client, documents, asking))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["deployments", "statefulsets", "jobs"])
def test_who_may_not_see_what_runs_is_asked_rather_than_told_that_nothing_restarts(kind: str) -> None:
    world = World(runs_pods=True)
    write(Direct(world), planned(world, workspace("w")))
    adapters = [{"source": {"name": "a", "image": "registry.example/a:1"}, "strength": "0.5"}]
    (change,) = planned_by(Denied(world, lists=(kind,)), workspace("w", adapters=adapters)).changes
    assert change.uncertain == f"whether pods restart, as {kind} cannot be listed in default"
    assert change.wants_consent
    (same,) = planned_by(Denied(world, lists=(kind,)), workspace("w")).changes
    assert not same.uncertain and not same.wants_consent


@pytest.mark.parametrize("kind", ["nodes", "pods", "nodeclaims", "services", "controllerrevisions"])
def test_without_the_right_to_one_kind_a_plan_is_made_of_the_others(kind: str) -> None:
    (change,) = planned_by(Denied(World(), lists=(kind,)), workspace("w")).changes
    assert change.fate == "created" and change.nodes_asked == 1, "more is announced rather than less"


def test_the_kind_that_may_not_be_written_is_refused_and_with_it_all() -> None:
    plan = planned_by(Denied(World(), writes=("configmaps",)), CONFIG, workspace("w"))
    assert [change.fate for change in plan.changes] == ["refused", "created"]
    assert "forbidden" in plan.refused[0].problems[0] and plan.exit_code == 2


@pytest.mark.parametrize("kind", ["Workspace", "custom pod", "InferenceSet"])
def test_a_config_map_that_a_manifest_names_is_not_pruned(kind: str) -> None:
    """Nothing runs with it yet: the Workspace is changed by this very apply, the set has no replicas."""
    world = World()
    labelled = {"metadata": {"name": "cm", "labels": {"team": "blue"}}}
    write(Direct(world), planned(world, {**CONFIG, **labelled}, workspace("one")))
    container = {"name": "c", "image": "x", "envFrom": [{"configMapRef": {"name": "cm"}}]}
    pod = workspace("pod")
    pod["inference"] = {"template": {"spec": {"containers": [container]}}}
    users = {"Workspace": workspace("one", config="cm"), "custom pod": pod}
    user = users.get(kind) or inference_set(0, config="cm")
    plan = planned(world, user)
    assert not plan.refused
    found = asyncio.run(prune.find(Direct(world), plan, [], "team=blue"))  # type: ignore[arg-type]
    assert found.config_maps == ()
    if kind == "InferenceSet":  # which goes away, one by one
        write(Direct(world), plan)
        plan = planned(world, workspace("one"))
        found = asyncio.run(prune.find(Direct(world), plan, [], "team=blue"))  # type: ignore[arg-type]
        assert found.config_maps == (), "a set that stays names it, without replicas"
    else:
        plan = planned(world, workspace("two"))
        (gone,) = asyncio.run(prune.find(Direct(world), plan, [], "team=blue")).config_maps  # type: ignore[arg-type]
        assert key_of(gone).name == "cm", "nobody names it"


# --- rollout undo ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rest", [{}, {"metadata": {"annotations": {"note": None}}}])
def test_what_is_added_while_an_undo_is_asked_for_is_not_lost(rest: Object) -> None:
    """The list of adapters is one value: the one of the revision would take the new one away."""
    world = World()
    write(Direct(world), planned(world, workspace("one", adapters=[ADAPTER])))
    known = asyncio.run(revisions_of(Direct(world), ObjectKey("default", "one")))  # type: ignore[arg-type]
    goal = {**known.workspace, "inference": {"preset": {"name": "falcon-7b"}, "adapters": []}}

    def undo(meddle: Callable[[], object]) -> Object:
        client = Meddled(world, "one", meddle)
        return asyncio.run(rollout.write_rollback(client, known, goal, rest, force=True))  # type: ignore[arg-type]

    more = [ADAPTER, {**ADAPTER, "source": {"name": "tone", "image": "registry.example/tone:1"}}]
    with pytest.raises(ApiError) as caught:
        undo(lambda: world.apply(kaito.WORKSPACE, workspace("one", adapters=more)))
    assert "changed, replaced or deleted Workspace default/one meanwhile" in caught.value.message
    now = world.get(kaito.WORKSPACE, "one")
    assert now is not None and now["inference"]["adapters"] == more

    known = asyncio.run(revisions_of(Direct(world), ObjectKey("default", "one")))  # type: ignore[arg-type]
    after = undo(lambda: world.set_status(kaito.WORKSPACE, "one", {"workerNodes": ["gpu-a"]}))
    assert after["inference"]["adapters"] == []


# --- rollout fleet -----------------------------------------------------------------------------------------


def test_a_surge_begins_although_the_status_moves_while_it_is_asked_for() -> None:
    world = World()
    write(Direct(world), planned(world, inference_set(2)))
    fleet = asyncio.run(fleet_at(Direct(world), KEY))  # type: ignore[arg-type]
    assert fleet is not None
    moves = Meddled(world, KEY.name, lambda: world.set_status(SET, KEY.name, {"replicas": 2}))
    asyncio.run(rollout_surge.begin(moves, fleet, 1))  # type: ignore[arg-type]
    assert world.get(SET, KEY.name)["spec"]["replicas"] == 3  # type: ignore[index]
    with pytest.raises(ApiError, match="changed, replaced or deleted InferenceSet default/phis meanwhile"):
        asyncio.run(rollout_surge.begin(Direct(world), fleet, 1))  # type: ignore[arg-type]


# --- sets --------------------------------------------------------------------------------------------------


def test_a_replica_in_the_place_of_another_takes_its_part_of_the_quota() -> None:
    world = PlannedWorld(quota={"pods": "1"})
    write(PlannedDirect(world), planned(PlannedDirect(world), inference_set(1)))
    the_set = with_type(SET, world.get(SET, KEY.name) or {})
    world.apply(kaito.WORKSPACE_V1BETA1, workspace_of(the_set, "phis-a"))
    world.settle("phis-a")
    assert world.used() == {"pods": 1}
    (change,) = planned(PlannedDirect(world), inference_set(1, preset={"name": "phi-4"})).changes
    assert (change.nodes_asked, len(change.returned), change.outage.pods) == (1, 1, 1)
    assert change.waits == "", "the old pod goes before the new one comes"
    (change,) = planned(PlannedDirect(world), inference_set(2)).changes
    assert "quota team" in change.waits


def test_a_pull_secret_that_has_gone_since_stands_in_no_changes_way() -> None:
    world, gone = World(), {"source": {**ADAPTER["source"], "imagePullSecrets": ["gone"]}}  # type: ignore[dict-item]
    before = with_type(kaito.WORKSPACE, workspace("one", adapters=[{**ADAPTER, **gone}]))
    world.do(request.apply(kaito.WORKSPACE, before, manager=FIELD_MANAGER))
    again = workspace("one", adapters=[{**ADAPTER, **gone, "strength": "0.7"}])
    (change,) = planned(world, again).changes
    assert not change.problems
    said = "there is no pull secret gone in namespace default"
    assert said in [one.partition(" (")[0] for one in change.warnings]
    (change,) = planned(world, workspace("two", adapters=[{**ADAPTER, **gone}])).changes
    assert [one.partition(" (")[0] for one in change.problems] == [said]


def test_what_a_new_one_would_be_refused_for_is_not_recreated() -> None:
    world = World()
    world.do(request.create(CONFIG_MAP, {**CONFIG, "metadata": {"name": "cm", "namespace": "default"}}))
    world.do(request.create(kaito.WORKSPACE, workspace("one", config="cm")))
    other = workspace("one", config="empty", preset={"name": "phi-2"})
    empty = {**CONFIG, "metadata": {"name": "empty", "namespace": "default"}, "data": {"x": "y"}}
    world.do(request.create(CONFIG_MAP, empty))
    (change,) = planned(world, other).changes
    assert change.fate == "refused"
    assert any("inference_config.yaml" in line for line in change.problems)
    good = workspace("one", config="cm", preset={"name": "phi-2"})
    (change,) = planned(world, good).changes
    assert change.fate == "recreated"


@pytest.mark.parametrize(
    ("given", "kept", "expected"),
    [
        (Manifests(filename=["a.yaml"]), None, "-f a.yaml"),
        (Manifests(filename=["-"]), None, "-f FILE (FILE: what was read from stdin)"),
        (Manifests(), {"manifests": ["-f", "a.yaml"]}, "-f a.yaml"),
        (Manifests(), {"manifests": ["-f", "FILE"]}, "-f FILE (FILE: what was read from stdin)"),
        (Manifests(), {}, "-f FILE (FILE: the plan's manifests)"),  # kept before plans named them
    ],
)
def test_the_command_that_goes_on_says_what_its_file_is(
    given: Manifests, kept: Object | None, expected: str
) -> None:
    asking = make_plan.PlanRequest(is_sandbox=True, managed=NOT_SAID, force=False)
    found = apply._again(given, kept, Target(), asking, None, "")
    assert text(found) == f"kaitoctl apply {expected}"
