"""Machines, by which KAITO asked for nodes up to v0.4.1, after kaitoctl's controller has taken over.

They count while their nodes are there: no node is bought beside one, and nobody waits for what never comes.
They are never deleted; whoever can delete them is told.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from controller.test_burst import put
from planned_world import PlannedWorld, plan_of
from virtual_time import run
from world import NOW, World, crds, falcon, gpu_node, is_ready, node_status, our_pod

from kaitoctl import workspace_controller
from kaitoctl.advice import text
from kaitoctl.kaito import api as kaito
from kaitoctl.kaito.deletion import consequences
from kaitoctl.kaito.snapshot import Snapshot
from kaitoctl.kube import conditions, request
from kaitoctl.kube.client import Client, connect
from kaitoctl.kube.objects import CRD, EVENT, NODE, NODE_CLAIM, Kind, Object, key_of
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.store import Store
from kaitoctl.sandbox.api import Call
from kaitoctl.sandbox.server import ApiServer
from kaitoctl.workspace_controller import transform_of

STAMP = "2026-01-01T00:00:00Z"
DELETES_IT = "kubectl delete machines.karpenter.sh wsm"


def machine(node: str = "", name: str = "wsm") -> Object:
    """As KAITO v0.3.2 `pkg/machine/machine.go` makes one."""
    labels = {
        "karpenter.sh/provisioner-name": "default",
        "kaito.sh/workspace": "falcon",
        "kaito.sh/workspacenamespace": "default",
        "apps": "falcon-7b",
    }
    values = {
        "node.kubernetes.io/instance-type": "Standard_NC12s_v3",
        "karpenter.sh/provisioner-name": "default",
        "kaito.sh/machine-type": "gpu",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
    }
    return {
        "apiVersion": kaito.MACHINE.api_version,
        "kind": kaito.MACHINE.kind,
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "machineTemplateRef": {"name": name},
            "requirements": [{"key": key, "operator": "In", "values": [one]} for key, one in values.items()],
            "resources": {"requests": {"storage": "120Gi"}},
            "taints": [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
        },
        **({"status": {"nodeName": node}} if node else {}),
    }


def crd_of(kind: Kind) -> Object:
    schema: Any = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": kind.version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": kind.kind, "plural": kind.plural, "singular": kind.kind.lower()}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{kind.group}"},
        "spec": {"group": kind.group, "scope": "Cluster", "names": names, "versions": [version]},
    }


class OldWorld(PlannedWorld):
    """A cluster of KAITO v0.3's, with Machines that have been there for a time."""

    def __init__(self, age_s: float = 900) -> None:
        super().__init__()
        self.made_at = conditions.timestamp(NOW - timedelta(seconds=age_s))
        self.do(request.apply(CRD, crd_of(kaito.MACHINE), manager="test", force=True))

    def more_stores(self) -> dict[str, Store]:
        store = Store()
        for one in self.list(kaito.MACHINE):
            one["metadata"]["creationTimestamp"] = self.made_at
            store._replace(key_of(one), transform_of(kaito.MACHINE)(one))
        return {**super().more_stores(), "machines": store}

    def made(self, *, joined: bool) -> None:
        """A Machine, and its node once it has joined."""
        self.apply(kaito.MACHINE, machine("vm-m" if joined else ""))
        if joined:
            self.apply(NODE, gpu_node("vm-m", machine()["metadata"]["labels"]))
            self.set_status(NODE, "vm-m", node_status("2"))


def asked_for(world: World, names: set[str]) -> set[str]:
    return {asked.path for asked in world.requests if asked.is_write and names & set(asked.path.split("/"))}


def test_no_node_is_bought_beside_a_machine() -> None:
    """Not even while its node is not fit for use; once it is, the model runs there."""
    world = OldWorld()
    world.made(joined=True)
    world.set_status(NODE, "vm-m", node_status("0"))
    world.apply(kaito.WORKSPACE, falcon())
    world.settle()
    assert not world.list(NODE_CLAIM)
    world.made(joined=True)
    world.settle()
    assert is_ready(world)
    assert not world.list(NODE_CLAIM)


def test_a_second_node_is_bought_as_ever() -> None:
    world = OldWorld()
    world.made(joined=True)
    world.apply(kaito.WORKSPACE, falcon(count=2))
    world.settle()
    assert len(world.list(NODE_CLAIM)) == 1


def _going(world: OldWorld) -> Object:
    """A Machine whose node is being deleted, and is held by a finalizer that nobody takes away."""
    node = gpu_node("vm-going", machine()["metadata"]["labels"])
    node["metadata"]["finalizers"] = ["karpenter.sh/termination"]
    world.apply(NODE, node)
    world.set_status(NODE, "vm-going", node_status("0"))
    world.do(request.delete(NODE, "", "vm-going"))
    return machine("vm-going", "dead")


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda _: machine("", "dead"), "it has no node"),
        (lambda _: machine("vm-gone", "dead"), "its node vm-gone is gone"),
        (_going, "its node vm-going is gone"),
    ],
)
@pytest.mark.parametrize("count", [1, 2])
def test_a_machine_without_node_is_not_waited_for(
    made: Callable[[OldWorld], Object], said: str, count: int
) -> None:
    """Where the Workspace has two nodes, one is there. What is announced is what is bought."""
    world = OldWorld()
    world.apply(kaito.MACHINE, made(world))
    if count == 2:
        world.made(joined=True)
    (change,) = plan_of(world, [falcon(count=count)]).changes
    assert (change.nodes_asked, change.nodes_most, change.waits) == (1, 1, "")
    world.apply(kaito.WORKSPACE, falcon(count=count))
    world.reconcile("falcon")
    found = world.get(kaito.WORKSPACE, "falcon")
    assert found is not None
    words = conditions.current(found, kaito.NODE_CLAIM_READY)["message"]
    assert f"Machine dead is not waited for, {said}" in words
    assert "kubectl describe machines.karpenter.sh dead" in words
    assert "kubectl delete machines.karpenter.sh dead" in words
    assert "wsm" not in words
    world.settle()
    assert is_ready(world)
    assert len(world.list(NODE_CLAIM)) == 1
    (after,) = plan_of(world, [falcon(count=count)]).changes
    assert after.nodes_asked == 0
    assert not asked_for(world, {"machines"})


@pytest.mark.parametrize("count", [1, 2])
def test_a_machine_that_was_just_made_is_waited_for(count: int) -> None:
    """KAITO may have asked a minute before it was replaced, and its node may be about to join."""
    world = OldWorld(age_s=899)
    world.made(joined=False)
    world.apply(kaito.WORKSPACE, falcon(count=count))
    world.reconcile("falcon")
    assert len(world.list(NODE_CLAIM)) == count - 1
    found = world.get(kaito.WORKSPACE, "falcon")
    assert found is not None
    words = conditions.current(found, kaito.NODE_CLAIM_READY)["message"]
    assert "waiting for the node of Machine wsm" in words and "not waited for" not in words
    world.made(joined=True)
    world.settle()
    assert is_ready(world)
    assert len(world.list(NODE_CLAIM)) == count - 1


def test_a_machine_of_another_type_is_not_waited_for() -> None:
    world = OldWorld(age_s=0)
    world.made(joined=False)
    world.apply(kaito.WORKSPACE, falcon(instanceType="Standard_NC24s_v3"))
    world.reconcile("falcon")
    assert len(world.list(NODE_CLAIM)) == 1
    found = world.get(kaito.WORKSPACE, "falcon")
    assert found is not None
    assert "waiting for the node of" not in conditions.current(found, kaito.NODE_CLAIM_READY)["message"]


def test_when_the_node_of_a_machine_goes_another_is_bought() -> None:
    world = OldWorld()
    world.made(joined=True)
    world.apply(kaito.WORKSPACE, falcon())
    world.settle()
    assert is_ready(world) and not world.list(NODE_CLAIM)
    world.do(request.delete(NODE, "", "vm-m"))
    world.settle()
    assert is_ready(world)
    assert len(world.list(NODE_CLAIM)) == 1


@pytest.mark.parametrize(
    ("again", "is_told"),
    [
        ({}, False),
        ({"instanceType": "Standard_NC24s_v3"}, True),
        ({"labelSelector": {"matchLabels": {"apps": "other"}}}, True),
    ],
)
def test_a_recreation_says_that_a_machine_stays_only_where_its_node_is_not_used_again(
    again: Mapping[str, Any], is_told: bool
) -> None:
    world = OldWorld()
    world.made(joined=True)
    world.apply(kaito.WORKSPACE, falcon())
    world.settle()
    changed = falcon(**again)
    changed["inference"]["preset"]["name"] = "falcon-7b-instruct"
    (change,) = plan_of(world, [changed]).changes
    assert change.fate == "recreated"
    assert sum(DELETES_IT in line for line in change.warnings) == is_told


def test_a_recreation_with_fewer_nodes_says_that_the_others_stay() -> None:
    world = OldWorld()
    world.made(joined=True)
    world.apply(kaito.MACHINE, machine("vm-n", "wsn"))
    world.apply(NODE, gpu_node("vm-n", machine()["metadata"]["labels"]))
    world.set_status(NODE, "vm-n", node_status("2"))
    world.apply(kaito.WORKSPACE, falcon(count=2))
    world.settle()
    (change,) = plan_of(world, [falcon(count=1)]).changes
    assert change.fate == "recreated"
    takes, stays = change.warnings
    assert (
        takes == "the new one takes 1 Standard_NC12s_v3 node: those that are free, and new ones for the rest"
    )
    assert "Machine wsn" in stays


def test_the_machine_of_a_workspace_that_goes_stays_and_that_is_said() -> None:
    world = OldWorld()
    world.made(joined=True)
    finalizers = {"finalizers": [kaito.FINALIZER]}
    planned = falcon()
    world.apply(kaito.WORKSPACE, {**planned, "metadata": {**planned["metadata"], **finalizers}})
    world.settle()
    world.do(request.delete(kaito.WORKSPACE, "default", "falcon"))
    world.settle()
    assert world.get(kaito.WORKSPACE, "falcon") is None, "it is not held by what nobody deletes"
    assert [key_of(one).name for one in world.list(kaito.MACHINE)] == ["wsm"]
    assert any(DELETES_IT in one["message"] for one in world.list(EVENT))
    assert not asked_for(world, {"machines", "nodeclaims"})


def test_a_machine_that_is_not_needed_is_named_in_the_status_and_in_the_plan() -> None:
    world = OldWorld()
    world.apply(NODE, gpu_node("gpu-a", {"apps": "falcon-7b"}))
    world.set_status(NODE, "gpu-a", node_status("2"))
    world.apply(kaito.WORKSPACE, falcon())
    world.settle()
    world.made(joined=True)
    world.settle()
    found = world.get(kaito.WORKSPACE, "falcon")
    assert found is not None
    assert DELETES_IT in conditions.current(found, kaito.NODE_CLAIM_READY)["message"]
    changed = falcon()
    changed["metadata"]["labels"] = {"team": "blue"}
    (change,) = plan_of(world, [changed]).changes
    assert [DELETES_IT in line for line in change.warnings] == [True]
    assert not change.returned
    assert not asked_for(world, {"machines", "nodeclaims"})


def test_a_deletion_says_that_a_machine_stays_and_does_not_wait_for_it() -> None:
    ours = {**falcon(), "metadata": {**falcon()["metadata"], "uid": "u"}}
    ours["metadata"]["managedFields"] = [{"manager": "kaitoctl-controller"}]
    own = our_pod("vm-m")
    found = consequences(Snapshot(ours, claims=(machine("vm-m"),), pods=(own,)), [own])
    assert [DELETES_IT in text(line) for line in found.kept] == [True]
    assert not found.returned
    assert not found.waits_for
    kaitos = {**ours, "metadata": {**ours["metadata"], "managedFields": []}}
    found = consequences(Snapshot(kaitos, claims=(machine("vm-m"),), pods=(own,)), [own])
    assert found.returned == ("Machine wsm, node vm-m",)
    left = Snapshot(ours, claims=(machine("vm-m"),), gone=frozenset({"vm-m"}))
    assert ["its node vm-m is gone" in text(line) for line in consequences(left, []).kept] == [True]
    assert found.waits_for == {"wsm"}


class Noting(PlannedWorld):
    """Remembers what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        super().__init__()

    def do(self, asked: Request) -> Object:
        self.asked.append(asked.path)
        return super().do(asked)


@pytest.mark.parametrize(
    ("node", "condition", "is_asked"),
    [
        ({"karpenter.sh/provisioner-name": "default"}, "", True),
        ({}, "MachineReady", True),  # its Machine may have no node yet
        ({}, "", False),
    ],
)
def test_a_plan_asks_for_machines_only_where_there_may_be_some(
    node: dict[str, str], condition: str, is_asked: bool
) -> None:
    world = Noting()
    world.apply(NODE, gpu_node("vm", node))
    world.apply(kaito.WORKSPACE, falcon())
    if condition:
        said = {
            "type": condition,
            "status": "True",
            "reason": "r",
            "message": "",
            "lastTransitionTime": STAMP,
        }
        world.set_status(kaito.WORKSPACE, "falcon", {"conditions": [said]})
    world.asked.clear()
    plan_of(world, [falcon()])
    assert any(path == kaito.MACHINE.path() for path in world.asked) is is_asked


@asynccontextmanager
async def _controlled(asked: list[str]) -> AsyncIterator[tuple[ApiServer, Client]]:
    """A server with our controller; what is asked is noted."""
    server = ApiServer()
    await server.start()
    for crd in crds():
        put(server.api, request.apply(CRD, crd, manager="test", force=True))
    answer = server.api.answer

    def noted(call: Call) -> object:
        asked.append(call.path)
        return answer(call)

    server.api.answer = noted  # type: ignore[method-assign, assignment]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config").write_text(json.dumps(server.kubeconfig()))
        async with connect(kubeconfig=Path(folder) / "config") as client:
            running = asyncio.create_task(workspace_controller.run(client))
            await asyncio.sleep(300)
            yield server, client
            assert not running.done()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    await server.stop()


def _put_machine(server: ApiServer) -> None:
    """The kind, one of it, and its node, which is not fit for use yet."""
    put(server.api, request.apply(CRD, crd_of(kaito.MACHINE), manager="test", force=True))
    put(server.api, request.apply(kaito.MACHINE, machine("vm-m"), manager="test"))
    node = gpu_node("vm-m", machine()["metadata"]["labels"])
    put(server.api, request.apply(NODE, node, manager="test"))


@pytest.mark.parametrize("has_machines", [True, False])
def test_machines_are_watched_as_soon_as_the_cluster_has_them(has_machines: bool) -> None:
    """Where it has none, that is asked seldom: twice a minute at most."""

    async def story() -> None:
        asked: list[str] = []
        async with _controlled(asked) as (server, client):
            if has_machines:
                _put_machine(server)
                await asyncio.sleep(120)
            put(server.api, request.apply(kaito.WORKSPACE, falcon(), manager="test"))
            asked.clear()
            await asyncio.sleep(900)
            assert len((await client.list(NODE_CLAIM)).items) == int(not has_machines)
            about_machines = [path for path in asked if kaito.MACHINE.version in path]
            assert 0 < len(about_machines) <= 31

    run(story())


def test_the_kind_of_machines_may_go_and_the_controller_goes_on() -> None:
    async def story() -> None:
        async with _controlled([]) as (server, client):
            _put_machine(server)
            await asyncio.sleep(120)
            put(server.api, request.apply(kaito.WORKSPACE, falcon(), manager="test"))
            await asyncio.sleep(600)
            assert not (await client.list(NODE_CLAIM)).items
            crd = f"{kaito.MACHINE.plural}.{kaito.MACHINE.group}"
            put(server.api, request.delete(CRD, "", crd))
            put(server.api, request.delete(NODE, "", "vm-m"))
            await asyncio.sleep(600)
            assert len((await client.list(NODE_CLAIM)).items) == 1

    run(story())
