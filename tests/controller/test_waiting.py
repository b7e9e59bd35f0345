"""Many Workspaces that wait for nodes, and one node that changes: nobody writes."""

from __future__ import annotations

from typing import Any

from world import World, falcon, gpu_node, node_status, our_pod

from kaitoctl.kaito import api as kaito
from kaitoctl.kube import conditions, request
from kaitoctl.kube.objects import EVENT, NODE, NODE_CLAIM, POD, Object

MANY = [f"w{number}" for number in range(68)]


def stranger(node: str, gpus: str = "2") -> Object:
    pod = our_pod(node)
    pod["metadata"] = {"name": "train", "namespace": "kube-public"}
    pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] = gpus
    return pod


def waiting(names: list[str]) -> World:
    """Workspaces with the same labels, whose nodes are asked for and never join; one node is another's."""
    world = World()
    world.apply(NODE, gpu_node("gpu-a", {"apps": "falcon-7b"}))
    world.set_status(NODE, "gpu-a", node_status("2"))
    world.apply(POD, stranger("gpu-a"))
    for name in names:
        obj = falcon()
        obj["metadata"]["name"] = name
        world.apply(kaito.WORKSPACE, obj)
        world.reconcile(name)
        world.reconcile(name)
    return world


def writes_of_a_round(world: World, names: list[str]) -> list[str]:
    """What passes over all of them write."""
    before = len(world.requests)
    for name in names:
        world.reconcile(name)
    return [asked.path for asked in world.requests[before:] if asked.is_write]


def test_while_68_wait_nobody_writes_whatever_becomes_of_a_node_that_is_not_theirs() -> None:
    world = waiting(MANY)
    assert len(world.list(NODE_CLAIM)) == len(MANY)
    assert writes_of_a_round(world, MANY) == []
    changes: list[Any] = [
        lambda: world.do(
            request.merge_patch(NODE, "", "gpu-a", {"spec": {"unschedulable": True}}, manager="x")
        ),
        lambda: world.set_status(NODE, "gpu-a", node_status("0")),
        lambda: world.do(request.delete(NODE, "", "gpu-a")),
    ]
    for change in changes:
        change()
        assert writes_of_a_round(world, MANY) == []


def test_what_was_asked_for_outlives_the_controller_and_goes_when_the_node_is_there() -> None:
    world = World()
    world.apply(kaito.WORKSPACE, falcon())
    world.reconcile()
    (claim,) = world.list(NODE_CLAIM)
    name = claim["metadata"]["name"]
    world.do(request.delete(NODE_CLAIM, "", name))
    world.reconcile()  # each pass is a new process
    assert world.list(NODE_CLAIM) == []
    found = world.get(kaito.WORKSPACE, "falcon")
    assert found is not None
    told = conditions.find(found, kaito.NODE_CLAIM_READY)
    assert told is not None
    assert told["message"] == (
        f"NodeClaim {name}, asked for once, has vanished (no capacity?); again at 2026-01-01T00:00:30Z"
    )
    world.apply(NODE, gpu_node("gpu-a", {"apps": "falcon-7b"}))
    world.set_status(NODE, "gpu-a", node_status("2"))
    world.settle()
    found = world.get(kaito.WORKSPACE, "falcon")
    assert found is not None
    assert conditions.find(found, kaito.NODE_CLAIMS_ASKED) is None


def test_a_node_with_another_tenants_pods_is_kept_and_the_status_says_why() -> None:
    world = World(runs_pods=True)
    world.apply(kaito.WORKSPACE, falcon(count=2))
    world.settle()
    world.forget_history()
    world.apply(kaito.WORKSPACE, falcon(count=1))
    world.reconcile()
    world.cluster_moves()  # its second pod is gone
    (left,) = [pod["spec"]["nodeName"] for pod in world.list(POD)]
    (node,) = [obj["metadata"]["name"] for obj in world.list(NODE) if obj["metadata"]["name"] != left]
    world.apply(POD, stranger(node))
    world.settle()
    assert len(world.list(NODE_CLAIM)) == 2
    found = world.get(kaito.WORKSPACE, "falcon")
    assert found is not None
    claim = node.removeprefix("node-")
    kept = f"NodeClaim {claim} is kept: pods of kube-public hold GPUs of its node {node}"
    assert kept in str(conditions.find(found, kaito.NODE_CLAIM_READY))
    world.do(request.delete(kaito.WORKSPACE, "default", "falcon"))
    world.settle()
    assert world.get(kaito.WORKSPACE, "falcon") is None, "another tenant's pods hold up no deletion"
    assert [item["metadata"]["name"] for item in world.list(NODE_CLAIM)] == [claim]
    (event,) = [item for item in world.list(EVENT) if item["reason"] == "NodeClaimKept"]
    assert kept in event["message"]
    done = {"status": {"phase": "Succeeded"}}
    world.do(request.merge_patch(POD, "kube-public", "train", done, manager="x", subresource="status"))
    world.settle()
    assert world.list(NODE_CLAIM) == []
