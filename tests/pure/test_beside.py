"""What is not the model server, and what is not the Workspace: each is called what it is."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from trouble import World

from kaitoctl.advice import text
from kaitoctl.kaito.rollout import progress

RUNNING = {"running": {"startedAt": "2026-11-28T10:00:00Z"}}


def serving_world() -> World:
    world = World("service-missing")
    world.objects.append(World("scaled-to-zero")["Service"])
    return world


def unready(*statuses: Any, inits: Any = ()) -> World:
    world = serving_world()
    world["Pod"]["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
    world["Pod"]["status"]["containerStatuses"] = list(statuses)
    world["Pod"]["status"]["initContainerStatuses"] = list(inits)
    world["Deployment"]["status"].update(readyReplicas=0, availableReplicas=0)
    return world


@pytest.mark.parametrize("name", ["istio-proxy", "log-shipper", "vault-agent"])
def test_a_container_beside_the_server_is_not_said_to_load_a_model(name: str) -> None:
    world = unready(
        {"name": "falcon", "ready": True, "state": RUNNING}, {"name": name, "ready": False, "state": RUNNING}
    )
    world["Pod"]["spec"]["containers"].append({"name": name, "image": "p"})
    cause = world.cause()
    assert cause.code == "slow-start"
    assert f"{name}, which runs beside the server, is not ready 7h00m after it began" in cause.message
    assert text(cause.command) == f"kaitoctl logs falcon -n default -c {name}"


@pytest.mark.parametrize("name", ["wait-for-db", "istio-validation", "model-weights-downloader"])
def test_an_init_container_that_does_not_end_is_called_so(name: str) -> None:
    world = unready(inits=[{"name": name, "ready": False, "state": RUNNING}])
    world["Pod"]["spec"]["initContainers"] = [{"name": name, "image": "b"}]
    cause = world.cause()
    assert f"init container {name} has run for 7h00m and has not ended" in cause.message
    assert "model" not in cause.hint
    world["Pod"]["spec"]["initContainers"][0]["restartPolicy"] = "Always"  # a sidecar runs on
    assert f"{name}, which runs beside the server" in world.cause().message
    world["Pod"]["spec"]["initContainers"][0]["startupProbe"] = {"httpGet": {"path": "/", "port": 1}}
    assert f"sidecar {name} has run for 7h00m and its startupProbe has not passed" in world.cause().message
    assert "startupProbe" in world.cause().hint


def test_the_server_itself_loads() -> None:
    cause = unready({"name": "falcon", "ready": False, "state": RUNNING}).cause()
    assert "it loads for 7h00m" in cause.message


@pytest.mark.parametrize("is_gone", [False, True])
def test_a_server_of_which_one_pod_is_lost_says_which_node_is_missing(is_gone: bool) -> None:
    world = serving_world()
    other, node = copy.deepcopy(world["Pod"]), copy.deepcopy(world["Node"])
    other["metadata"] |= {"name": "falcon-other", "uid": "u2"}
    other["spec"]["nodeName"] = node["metadata"]["name"] = "gpu-2"
    lost = [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}]
    world["Node"]["status"]["conditions"] = lost
    world.objects += [other, node]
    world["Deployment"]["spec"]["replicas"] = 2
    world["Deployment"]["status"].update(
        replicas=2, updatedReplicas=2, readyReplicas=1, availableReplicas=1, unavailableReplicas=1
    )
    if is_gone:
        world.objects = [one for one in world.objects if one["metadata"]["name"] != "gpu-1"]
    where = progress(world.seen(gone=frozenset({"gpu-1"}) if is_gone else frozenset()))
    what = "does not exist any more" if is_gone else "is not Ready"
    assert where.detail == f"1 of 2 pods are on gpu-1, which {what}"


@pytest.mark.parametrize(
    ("changed", "code"), [("2026-11-28T16:30:00Z", "kubernetes-says"), ("2026-11-28T16:59:50Z", None)]
)
def test_a_workload_that_kubernetes_has_not_taken_up(changed: str, code: str | None) -> None:
    world = serving_world()
    world["Deployment"]["metadata"].update(
        generation=5, managedFields=[{"manager": "kaito", "time": changed}]
    )
    world["Deployment"]["status"]["observedGeneration"] = 4
    found = world.diagnosis()
    assert not found.is_ready
    assert (found.cause.code if found.cause else None) == code
    if found.cause:
        assert "kube-controller-manager" in found.cause.hint
        assert ("status", "observedGeneration 4, and metadata.generation is 5") in found.cause.evidence
