"""The controller works in the newest API version that is served: a Workspace loses nothing, and says more."""

from __future__ import annotations

import asyncio
import copy
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from virtual_time import run
from world import (
    WATCHED,
    Fault,
    World,
    crds,
    falcon,
    gpu_node,
    is_ready,
    node_status,
    prepared,
    serving,
    writes,
)

from kaitoctl import workspace_controller
from kaitoctl.kaito import api as kaito
from kaitoctl.kaito import revisions, undo, validation
from kaitoctl.kaito.api import VERSIONS
from kaitoctl.kube import conditions, request
from kaitoctl.kube.client import connect
from kaitoctl.kube.objects import (
    CONTROLLER_REVISION,
    CRD,
    DEPLOYMENT,
    NODE,
    NODE_CLAIM,
    SERVICE,
    Kind,
    Object,
    generation_of,
    uid_of,
    without_managed_fields,
)
from kaitoctl.kube.request import Request
from kaitoctl.sandbox.api import Call, Response
from kaitoctl.sandbox.server import ApiServer

OLD, NEW = VERSIONS
NO_FINALIZERS: Object = {"metadata": {"finalizers": None}}
PEAK: Object = {"value": "7", "unit": "tokens/min", "description": "stress"}


def newest(**resource: Any) -> Object:
    """A Workspace with every field that only v1beta1 has."""
    made = falcon(partition={"mode": "accelerator", "count": 2}, **resource)
    made["inference"]["preset"]["presetOptions"] = {"modelAccessSecret": "token"}
    return {**made, "apiVersion": kaito.WORKSPACE_V1BETA1.api_version}


def stored(world: World) -> Object:
    found = world.get(kaito.WORKSPACE_V1BETA1, "falcon")
    assert found is not None
    return found


def asked(workspace: Object) -> Object:
    return {part: workspace[part] for part in ("resource", "inference")}


def with_node(world: World) -> World:
    world.apply(NODE, gpu_node("gpu-a", {"apps": "falcon-7b"}))
    world.set_status(NODE, "gpu-a", node_status("2"))
    return world


def leaves(node: Object, path: str = "") -> set[str]:
    below = node.get("properties") or {}
    found = {leaf for name, child in below.items() for leaf in leaves(child, f"{path}.{name}".strip("."))}
    return found or {path}


def test_the_fields_that_only_the_new_version_has_are_those_of_the_schemas() -> None:
    old, new = (leaves(validation.schema_of(version)) for version in VERSIONS)
    users = {field for field in new - old if not field.startswith("status.")}
    assert {field for field in users if not field.startswith(kaito.ONLY_IN_V1BETA1)} == set()
    assert all(any(field.startswith(only) for field in users) for only in kaito.ONLY_IN_V1BETA1)


# --- nothing is lost ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["none", "crash-before", "crash-after", "conflict", "unavailable"])
def test_no_write_takes_a_field_away(fault: Any) -> None:
    world = World()  # without a node: one is bought, which takes the finalizer
    world.apply(kaito.WORKSPACE_V1BETA1, newest())
    before = asked(stored(world))
    world.check = lambda: _insist(asked(stored(world)) == before)
    world.settle()
    world.check = lambda: None
    for number in range(len(world.requests)) if fault != "none" else ():
        again = World()
        again.apply(kaito.WORKSPACE_V1BETA1, newest())
        again.faults = {number: fault}
        again.settle()
        assert asked(stored(again)) == before
        assert is_ready(again)
    assert is_ready(world)
    assert stored(world)["metadata"]["finalizers"] == [kaito.FINALIZER]
    world.do(request.delete(kaito.WORKSPACE, "default", "falcon"))
    world.reconcile()
    assert asked(stored(world)) == before, "the status of a Workspace on its way out is written, too"


def _insist(holds: bool) -> None:
    assert holds


def test_what_somebody_else_measured_stays_and_costs_no_write() -> None:
    world = prepared()
    world.apply(kaito.WORKSPACE_V1BETA1, newest())
    world.settle()
    measured: Object = {"metrics": {"peakTokensPerMinute": PEAK}}
    world.do(
        request.merge_patch(
            kaito.WORKSPACE_V1BETA1,
            "default",
            "falcon",
            {"status": {"performance": measured}},
            manager="bench",
            subresource="status",
        )
    )
    before = len(writes(world))
    world.reconcile()
    assert len(writes(world)) == before
    assert "performance" in stored(world)["status"]


def test_undo_keeps_what_the_recorder_of_a_revision_could_not_see() -> None:
    world = prepared()
    world.apply(kaito.WORKSPACE_V1BETA1, newest())
    live = stored(world)
    as_read = {**copy.deepcopy(live), "apiVersion": kaito.WORKSPACE.api_version}
    del as_read["resource"]["partition"], as_read["inference"]["preset"]["presetOptions"]
    assert asked(undo.goal_of(live, revisions.revision(as_read, 1))) == asked(live)
    own = {**as_read, "apiVersion": kaito.WORKSPACE_V1BETA1.api_version}
    assert asked(undo.goal_of(live, revisions.revision(own, 1))) == asked(as_read), (
        "it saw that they were not"
    )


# --- the same in both versions -----------------------------------------------------------------------------


def built(world: World) -> Object:
    """What was made, without what is random: names of NodeClaims and addresses."""
    made: Object = {}
    for kind in (DEPLOYMENT, SERVICE, NODE_CLAIM, CONTROLLER_REVISION):
        for number, obj in enumerate(world.list(kind)):
            spec = {key: value for key, value in (obj.get("spec") or {}).items() if "clusterIP" not in key}
            made[f"{kind.kind} {number}"] = (spec, obj.get("data"))
    return made


@pytest.mark.parametrize("has_node", [True, False])
def test_a_workspace_of_the_old_version_becomes_the_same_in_both(has_node: bool) -> None:
    worlds = [World(OLD), World(NEW), World(OLD, served=[OLD])]
    for world in worlds:
        if has_node:
            with_node(world)
        world.apply(kaito.WORKSPACE, falcon())
        world.settle()
        assert is_ready(world)
        assert world.reconcile() == 0
    assert built(worlds[0]) == built(worlds[1]) == built(worlds[2])
    assert len({len(writes(world)) for world in worlds}) == 1
    for world in (worlds[0], worlds[2]):
        assert world.list(kaito.WORKSPACE)[0]["status"].keys() == {"conditions", "workerNodes"}


@pytest.mark.parametrize("fault", ["crash-before", "crash-after", "conflict", "unavailable"])
@pytest.mark.parametrize("version", VERSIONS)
def test_one_fault_anywhere_ends_as_none_does(version: str, fault: Fault) -> None:
    def lived(faults: dict[int, Fault]) -> World:
        world = World(version, served=[version])
        world.faults = faults
        world.apply(world.kind, {**falcon(), "apiVersion": world.kind.api_version})
        world.settle()
        return world

    goal = lived({})
    for number in range(len(goal.requests)):
        world = lived({number: fault})
        assert is_ready(world)
        assert built(world) == built(goal)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_refused_edit_keeps_what_serves(version: str) -> None:
    world = with_node(World(version, served=[version]))
    kind = world.kind
    good = {**falcon(), "apiVersion": kind.api_version}
    world.apply(kind, good)
    world.settle()
    before = world.get(DEPLOYMENT, "falcon")
    world.apply(kind, {**good, "inference": {"preset": {"name": "no-such-model"}}})
    world.settle()
    assert not is_ready(world)
    after = world.get(DEPLOYMENT, "falcon")
    assert before is not None and after is not None
    assert before["spec"] == after["spec"]
    assert world.list(kaito.WORKSPACE)[0]["status"].get("state") == ("NotReady" if version == NEW else None)
    world.apply(kind, good)
    world.settle()
    assert is_ready(world)


@pytest.mark.parametrize("version", VERSIONS)
def test_deletion_gives_nodes_back_and_leaves_the_finalizers_of_others(version: str) -> None:
    world = World(version, served=[version])
    made = {**falcon(), "apiVersion": world.kind.api_version}
    made["metadata"] = {**made["metadata"], "finalizers": ["example.com/audit"]}
    world.apply(world.kind, made)
    world.settle()
    assert len(world.list(NODE_CLAIM)) == 1
    world.do(request.delete(world.kind, "default", "falcon"))
    world.settle()
    assert world.list(NODE_CLAIM) == []
    (left,) = world.list(kaito.WORKSPACE)
    assert left["metadata"]["finalizers"] == ["example.com/audit"]


def test_children_of_an_older_run_stay_ours_and_no_pod_restarts() -> None:
    world = with_node(World(OLD))
    world.apply(kaito.WORKSPACE, falcon())
    world.settle()
    kinds = (DEPLOYMENT, SERVICE, CONTROLLER_REVISION)
    before = {uid_of(obj): generation_of(obj) for kind in kinds for obj in world.list(kind)}
    world.kind = replace(kaito.WORKSPACE, version=NEW)
    world.settle()
    assert {uid_of(obj): generation_of(obj) for kind in kinds for obj in world.list(kind)} == before
    children = [obj for kind in (DEPLOYMENT, SERVICE) for obj in world.list(kind)]
    owners = [owner["apiVersion"] for obj in children for owner in obj["metadata"]["ownerReferences"]]
    assert owners == ["kaito.sh/v1beta1"] * len(children)
    assert is_ready(world)
    assert world.reconcile() == 0


# --- what the new version says -----------------------------------------------------------------------------


def said(world: World) -> tuple[str, int]:
    status = stored(world)["status"]
    return status["state"], status["targetNodeCount"]


def test_the_state_is_what_the_conditions_say() -> None:
    world = prepared()
    world.apply(kaito.WORKSPACE_V1BETA1, newest())
    world.reconcile()
    assert said(world) == ("Pending", 1)
    world.settle()
    assert said(world) == ("Ready", 1)
    world.set_status(DEPLOYMENT, "falcon", {"readyReplicas": 0, "availableReplicas": 0, "updatedReplicas": 0})
    world.reconcile()
    assert not is_ready(world)
    assert said(world) == ("NotReady", 1)


def test_what_will_never_work_is_not_pending() -> None:
    world = prepared()
    made = newest(count=3)
    made["inference"]["preset"]["name"] = "no-such-model"
    world.apply(kaito.WORKSPACE_V1BETA1, made)
    world.settle()
    assert said(world) == ("NotReady", 3)


def test_without_an_instance_type_nodes_with_the_labels_are_used_and_none_is_bought() -> None:
    world = World()
    made = falcon()
    del made["resource"]["instanceType"]
    world.apply(kaito.WORKSPACE_V1BETA1, {**made, "apiVersion": kaito.WORKSPACE_V1BETA1.api_version})
    world.settle()
    assert world.list(NODE_CLAIM) == []
    resource = conditions.find(stored(world), kaito.RESOURCE_READY)
    assert resource is not None and "resource.instanceType is not given" in resource["message"]
    world.apply(NODE, gpu_node("own", {"apps": "falcon-7b"}, "Standard_NC24s_v3"))
    world.set_status(NODE, "own", node_status("4"))
    world.settle()
    assert is_ready(world)
    assert stored(world)["status"]["workerNodes"] == ["own"]


# --- which version -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("served", [(OLD,), (NEW,), VERSIONS])
def test_the_controller_waits_for_the_crd_and_takes_the_newest_version_that_appears(
    served: tuple[str, ...],
) -> None:
    paths: set[str] = set()

    async def story(folder: Path) -> None:
        server = ApiServer()
        await server.start()
        answer = server.api.answer

        def noted(call: Call) -> object:
            if "/workspaces" in call.path:
                paths.add(call.path.split("/")[3])
            return answer(call)

        def put(sent: Request) -> None:
            body = json.dumps(sent.body).encode()
            done = answer(Call(sent.method, sent.path, dict(sent.query), body, sent.content_type))
            assert isinstance(done, Response)
            assert done.status < 300, done.body

        server.api.answer = noted  # type: ignore[method-assign, assignment]
        (folder / "config").write_text(json.dumps(server.kubeconfig()))
        async with connect(kubeconfig=folder / "config") as client:
            running = asyncio.create_task(workspace_controller.run(client))
            await asyncio.sleep(20)
            assert paths == set()
            for crd in crds():
                is_ours = crd["spec"]["names"]["kind"] == kaito.WORKSPACE.kind
                crd = serving(crd, served) if is_ours else crd
                put(request.apply(CRD, crd, manager="test", force=True))
            kind = replace(kaito.WORKSPACE, version=served[-1])
            put(request.create(kind, {**falcon(), "apiVersion": kind.api_version}))
            await asyncio.sleep(90)
            found = await client.send(request.get(kind, "default", "falcon"))
            assert conditions.find(found, kaito.WORKSPACE_SUCCEEDED) is not None
            assert set(without_managed_fields(found)["metadata"]["finalizers"]) == {kaito.FINALIZER}
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        await server.stop()

    with tempfile.TemporaryDirectory() as name:
        run(story(Path(name)))
    assert paths == {served[-1]}


@pytest.mark.parametrize(("before", "after"), [((OLD,), VERSIONS), (VERSIONS, (OLD,)), ((OLD,), (NEW,))])
def test_a_version_that_comes_or_goes_while_the_controller_runs_is_noticed_and_costs_no_status(
    before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    calls: list[tuple[str, str]] = []

    async def story(folder: Path) -> None:
        server = ApiServer()
        await server.start()
        answer = server.api.answer

        def noted(call: Call) -> object:
            calls.append((call.method, call.path))
            return answer(call)

        def put(sent: Request) -> None:
            body = json.dumps(sent.body).encode()
            done = answer(Call(sent.method, sent.path, dict(sent.query), body, sent.content_type))
            assert isinstance(done, Response)
            assert done.status < 300, done.body

        def install(versions: tuple[str, ...]) -> None:
            for crd in crds():
                if crd["spec"]["names"]["kind"] == kaito.WORKSPACE.kind:
                    stored = VERSIONS if set(VERSIONS) <= {*before, *after} else versions
                    crd = copy.deepcopy(serving(crd, stored))
                    for version in crd["spec"]["versions"]:
                        version["served"] = version["name"] in versions
                put(request.apply(CRD, crd, manager="test", force=True))

        def of(versions: tuple[str, ...]) -> Kind:
            return replace(kaito.WORKSPACE, version=versions[-1])

        server.api.answer = noted  # type: ignore[method-assign, assignment]
        (folder / "config").write_text(json.dumps(server.kubeconfig()))
        install(before)
        put(request.create(of(before), {**falcon(), "apiVersion": of(before).api_version}))
        async with connect(kubeconfig=folder / "config") as client:
            running = asyncio.create_task(workspace_controller.run(client))
            await asyncio.sleep(30)
            (claim,) = (await client.send(Request("GET", NODE_CLAIM.path())))["items"]
            install(after)
            calls.clear()
            await asyncio.sleep(150)
            assert [call for call in calls if call[0] != "GET"] == []
            calls.clear()
            put(
                request.create(of(after), {**falcon(), **named("later"), "apiVersion": of(after).api_version})
            )
            await asyncio.sleep(30)
            found = await client.send(request.get(of(after), "default", "later"))
            assert conditions.find(found, kaito.WORKSPACE_SUCCEEDED) is not None
            claims = (await client.send(Request("GET", NODE_CLAIM.path())))["items"]
            assert uid_of(claim) in {uid_of(one) for one in claims}
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        await server.stop()

    with tempfile.TemporaryDirectory() as name:
        run(story(Path(name)))
    assert {path.split("/")[3] for _, path in calls if "/workspaces" in path} == {after[-1]}


def test_nodes_of_a_workspace_that_is_served_in_another_version_only_are_not_given_back() -> None:
    world = World()
    world.apply(kaito.WORKSPACE_V1BETA1, newest())
    world.reconcile()
    assert len(world.list(NODE_CLAIM)) == 1
    (crd,) = (copy.deepcopy(one) for one in crds() if one["spec"]["names"]["kind"] == kaito.WORKSPACE.kind)
    for version in crd["spec"]["versions"]:
        version["served"] = version["name"] == OLD
    world.frozen = {kind: [] if kind == kaito.WORKSPACE else world.list(kind) for kind in WATCHED}
    world.do(request.apply(CRD, crd, manager="test", force=True))
    assert world.reconcile() == 0
    world.do(request.delete(CRD, "", crd["metadata"]["name"]))
    world.do(request.merge_patch(kaito.WORKSPACE, "default", "falcon", NO_FINALIZERS, manager="x"))
    assert world.reconcile() == 1, "without their kind there are no Workspaces"
    assert world.list(NODE_CLAIM) == []


def named(name: str) -> Object:
    return {"metadata": {"name": name, "namespace": "default"}}


def test_the_number_of_nodes_that_kaito_found_out_is_never_lowered() -> None:
    """KAITO estimates it once from the model's size; with a smaller one the model would stay too small."""
    world = with_node(prepared())
    world.apply(kaito.WORKSPACE_V1BETA1, newest())
    world.set_status(kaito.WORKSPACE_V1BETA1, "falcon", {"targetNodeCount": 2})
    world.settle()
    assert said(world) == ("Ready", 2)
    assert world.reconcile() == 0


def test_a_number_of_nodes_that_is_its_own_follows_the_spec() -> None:
    world = with_node(prepared())
    world.apply(kaito.WORKSPACE_V1BETA1, newest(count=2))
    world.reconcile()
    assert said(world)[1] == 2
    world.apply(kaito.WORKSPACE_V1BETA1, newest(count=1))
    world.settle()
    assert said(world)[1] == 1
    assert world.reconcile() == 0
