"""A dry run decides with the controller's own code and writes nothing at all."""

from __future__ import annotations

import asyncio

from world import NOW, WATCHED, World, falcon, gpu_node, node_status

from kaitoctl.kaito import api as kaito
from kaitoctl.kaito.desired import Settings
from kaitoctl.kube import request
from kaitoctl.kube.objects import EVENT, NODE, Object, ObjectKey
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.dry_run import Decision, DryRun, outcome
from kaitoctl.reconcile.generator_driver import drive
from kaitoctl.workspace_controller import WorkspaceReconciler


class Door:
    """The world's API as a door."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.requests: list[Request] = []

    async def send(self, request: Request, /) -> Object:
        self.requests.append(request)
        return self.world.do(request)


def dry_passes(world: World, passes: int = 1) -> tuple[list[Decision], list[Request]]:
    told: list[Decision] = []
    door = Door(world)
    dry = DryRun(door, told.append)
    reconciler = WorkspaceReconciler(world.stores(), Settings(), clock=lambda: NOW)
    for _ in range(passes):
        asyncio.run(drive(dry, reconciler.reconcile(ObjectKey("default", "falcon"))))
    return told, door.requests


def picture(world: World) -> dict[str, list[Object]]:
    return {kind.plural: world.list(kind) for kind in (*WATCHED, EVENT)}


def short(told: list[Decision]) -> list[tuple[str, str]]:
    return [(item.verb, item.kind) for item in told]


def test_it_tells_what_a_new_workspace_would_become_and_leaves_the_cluster_as_it_was() -> None:
    world = World()
    world.apply(NODE, gpu_node("gpu-a", {"apps": "falcon-7b"}))
    world.set_status(NODE, "gpu-a", node_status("2"))
    world.apply(kaito.WORKSPACE, falcon())
    before = picture(world)
    told, requests = dry_passes(world)
    assert picture(world) == before
    assert {asked.method for asked in requests} == {"GET"}
    assert short(told) == [
        ("create", "ControllerRevision"),
        ("create", "Service"),
        ("create", "Deployment"),
        ("apply", "Workspace/status"),
        ("create", "Event"),
    ]
    assert str(told[2]) == "would create Deployment default/falcon: missing"


def test_it_tells_which_nodes_would_be_asked_for_and_repeats_nothing() -> None:
    world = World()
    world.apply(kaito.WORKSPACE, falcon(count=2))
    told, _ = dry_passes(world, passes=3)
    assert [item.verb for item in told if item.kind == "NodeClaim"] == ["create", "create"]
    assert ("patch", "Workspace") in short(told)
    assert len(told) == len(set(told))
    assert not [item for item in told if "vanished" in item.why]


def test_it_tells_what_a_deletion_would_take_along() -> None:
    world = World()
    world.apply(kaito.WORKSPACE, falcon())
    world.settle()
    world.do(request.delete(kaito.WORKSPACE, "default", "falcon"))
    before = picture(world)
    told, _ = dry_passes(world)
    assert picture(world) == before
    assert ("delete", "NodeClaim") in short(told)


def test_it_tells_where_a_child_has_drifted() -> None:
    world = World()
    world.apply(NODE, gpu_node("gpu-a", {"apps": "falcon-7b"}))
    world.set_status(NODE, "gpu-a", node_status("2"))
    world.apply(kaito.WORKSPACE, falcon())
    world.settle()
    patch = {"spec": {"replicas": 5}}
    world.do(Request("PATCH", "/apis/apps/v1/namespaces/default/deployments/falcon", body=patch,
                     content_type="application/merge-patch+json", query={"fieldManager": "x"}))  # fmt: skip
    told, _ = dry_passes(world)
    assert Decision("apply", "Deployment", ObjectKey("default", "falcon"), "differs at spec.replicas") in told


def test_at_rest_it_tells_nothing() -> None:
    world = World()
    world.apply(kaito.WORKSPACE, falcon())
    world.settle()
    assert dry_passes(world) == ([], [])


def test_a_made_up_object_has_no_uid_and_a_patched_one_keeps_what_it_had() -> None:
    patch = Request("PATCH", "/x", body={"metadata": {"name": "a"}, "spec": {"n": None, "m": 1}})
    assert outcome(patch, None) == {"metadata": {"generation": 1, "name": "a"}, "spec": {"m": 1}}
    live = {"metadata": {"name": "a", "uid": "u"}, "spec": {"n": 1}}
    assert outcome(patch, live) == {"metadata": {"name": "a", "uid": "u"}, "spec": {"m": 1}}
    assert live["spec"] == {"n": 1}
