"""Pods that the API server refuses: the status says why, and no node is bought that nobody would be on."""

from __future__ import annotations

from typing import Any

import pytest
from trouble import World as Seen
from world import World, falcon, prepared

from kaitoctl.kaito import api as kaito
from kaitoctl.kaito.rollout import progress
from kaitoctl.kube import conditions, request
from kaitoctl.kube.objects import DEPLOYMENT, NODE, NODE_CLAIM, POD

REFUSALS = [
    'pods "falcon-7d-x" is forbidden: exceeded quota: gpus, requested: pods=1, used: pods=0, limited: pods=0',
    'pods "falcon-7d-x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true',
    'admission webhook "policy.example" denied the request: no',
    'pods "falcon-7d-x" is forbidden: error looking up service account default/llm: not found',
]


def refused(words: str, **counts: int) -> World:
    """A Workspace that served, lost its node, and may have no new pods."""
    world = prepared()
    world.apply(kaito.WORKSPACE, falcon())
    world.settle()
    world.do(request.delete(NODE, "", "gpu-a"))
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": words}
    status: dict[str, Any] = {
        "observedGeneration": 1,
        "replicas": 0,
        "updatedReplicas": 0,
        "readyReplicas": 0,
    }
    world.set_status(DEPLOYMENT, "falcon", {**status, **counts, "conditions": [failure]})
    for _ in range(3):
        world.reconcile()
    return world


def told(world: World, kind: str) -> str:
    found = conditions.find(world.get(kaito.WORKSPACE, "falcon") or {}, kind) or {}
    return str(found.get("message"))


@pytest.mark.parametrize("words", REFUSALS)
@pytest.mark.parametrize("replicas", [0, 1])
def test_the_status_says_it_and_no_node_is_bought(words: str, replicas: int) -> None:
    world = refused(words, replicas=replicas)
    assert told(world, kaito.INFERENCE_READY).endswith(f"its pods are refused: {words}")
    assert "no node is asked for while the pods are refused" in told(world, kaito.RESOURCE_READY)
    assert world.list(NODE_CLAIM) == []


def test_a_pod_that_exists_and_has_no_place_gets_its_node() -> None:
    world = refused(REFUSALS[0], replicas=1)
    why = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/0 nodes"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "default", "labels": {"kaito.sh/workspace": "falcon"}},
        "spec": {"containers": [{"name": "falcon", "image": "x:1"}]},
    }
    world.apply(POD, pod)
    world.set_status(POD, "p", {"phase": "Pending", "conditions": [why]})
    world.reconcile()
    assert len(world.list(NODE_CLAIM)) == 1


def test_once_they_are_let_in_a_node_is_bought() -> None:
    world = refused(REFUSALS[0], replicas=1)
    world.set_status(DEPLOYMENT, "falcon", {"conditions": []})
    world.reconcile()
    assert len(world.list(NODE_CLAIM)) == 1


def test_a_refusal_of_another_generation_says_nothing() -> None:
    world = refused(REFUSALS[0], observedGeneration=0)
    assert "refused" not in told(world, kaito.INFERENCE_READY)


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_status_says_it_of_whoever_has_built_the_workload(kind: str) -> None:
    """A StatefulSet has no condition: its events alone say it."""
    seen = Seen("webhook-silent").without("Event", "Pod", "ReplicaSet")
    workload = seen["Deployment"]
    workload["kind"] = kind
    workload["status"]["conditions"] = []
    seen.event("FailedCreate", f"create Pod falcon-0 failed error: {REFUSALS[0]}", of=kind)
    assert "its pods are refused: " in progress(seen.seen()).detail
    assert "exceeded quota: gpus" in progress(seen.seen()).detail
