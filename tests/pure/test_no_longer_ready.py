"""Pods that served and do not any more: the cause is theirs, also where their controller calls them ready."""

from __future__ import annotations

from typing import Any

import pytest
from trouble import World

from kaitoctl.kube.pod_state import was_ready_for_s

POD = "falcon-5b8f-abcde"
GET = 'Readiness probe failed: Get "http://10.1.0.4:5000/health": '
LOADED = (
    "INFO 11-28 16:58:11 [loggers.py:122] Engine 000: Avg prompt throughput: 9120.4 tokens/s, Avg generation "
    "throughput: 1822.0 tokens/s, Running: 256 reqs, Waiting: {waiting} reqs, GPU KV cache usage: 99.8%\n"
)


def unready(began: str, changed: str, *, is_called_ready: bool = True) -> World:
    """A server that began and whose pod is not Ready since, at times of the day; it is 17:00."""
    world = World("service-missing").without("Event")
    world.objects.append(World("scaled-to-zero")["Service"])
    status = world["Pod"]["status"]
    running = {"running": {"startedAt": f"2026-11-28T{began}:00Z"}}
    status["containerStatuses"] = [{"name": "falcon", "ready": False, "restartCount": 0, "state": running}]
    status["conditions"] = [
        {
            "type": "Ready",
            "status": "False",
            "reason": "ContainersNotReady",
            "lastTransitionTime": f"2026-11-28T{changed}:00Z",
        }
    ]
    world["Deployment"]["status"].update(readyReplicas=0, availableReplicas=0)
    if not is_called_ready:
        for item in world["Workspace"]["status"]["conditions"]:
            item["status"] = "False"
    return world


@pytest.mark.parametrize("is_called_ready", [True, False])
@pytest.mark.parametrize("began", ["10:00", "16:40"])  # beyond what loading may take, and within it
@pytest.mark.parametrize(
    ("said", "words", "hint"),
    [
        (f"{GET}context deadline exceeded", "no answer within 1 s", "timeoutSeconds"),
        ("Readiness probe failed: dial tcp 10.1.0.4:5000: i/o timeout", "no answer", "timeoutSeconds"),
        ("Readiness probe failed: HTTP probe failed with statuscode: 503", "with 503", "engine has died"),
        (f"{GET}dial tcp 10.1.0.4:5000: connect: connection refused", "nobody listens", "begins again"),
        (f"{GET}EOF", "closes the connection", "crashes over the request"),
        (f"{GET}read: connection reset by peer", "closes the connection", "crashes over the request"),
        (f"{GET}write: broken pipe", "closes the connection", "crashes over the request"),
        (f"{GET}http: server closed idle connection", "closes the connection", "crashes over the request"),
        (f"{GET}dial tcp 10.1.0.4:5000: connect: no route to host", "does not reach", "CNI"),
        ("Readiness probe failed: HTTP probe failed with statuscode: 404", "no such path", "path"),
        ('Readiness probe failed: service unhealthy (responded with "NOT_SERVING")', "not serve", "engine"),
        ("Readiness probe failed: something new", "no longer ready", "GPU is lost"),
    ],
)
def test_what_its_probe_meets_is_the_reason(
    said: str, words: str, hint: str, began: str, is_called_ready: bool
) -> None:
    world = unready(began, "16:55", is_called_ready=is_called_ready)
    cause = world.event("Unhealthy", said, count=41).cause()
    assert (cause.code, cause.about, cause.weight) == ("nobody-served", f"Pod {POD}", "fault")
    assert words in cause.message
    assert hint in cause.hint
    assert any(said in shown for _, shown in cause.evidence)


@pytest.mark.parametrize(
    "line",
    [
        LOADED.format(waiting=830),
        "INFO metrics.py:455] Avg prompt throughput: 1.0 tokens/s, Running: 256 reqs, Swapped: 3 reqs, "
        "Pending: 830 reqs, GPU KV cache usage: 99.1%, CPU KV cache usage: 0.0%.",
        "[2026-11-28 16:58:11] Decode batch. #running-req: 256, #token: 9123, token usage: 0.99, "
        "gen throughput (token/s): 100.2, #queue-req: 830, ",
    ],
)
def test_a_server_with_more_requests_than_it_answers_is_called_so(line: str) -> None:
    world = unready("10:00", "16:55").event("Unhealthy", f"{GET}context deadline exceeded")
    cause = world.cause(logs={(POD, "falcon"): f"ValueError: one request's own\n{line}"})
    assert "830 requests wait while 256 are at work" in cause.message
    assert "more requests than it can answer" in cause.hint
    assert any(source == "log" and "830" in shown for source, shown in cause.evidence)
    idle = world.cause(logs={(POD, "falcon"): LOADED.format(waiting=0)})
    assert "requests wait" not in idle.message


@pytest.mark.parametrize("waiting", [0, 12])
def test_an_engine_that_has_died_under_load_is_not_called_busy(waiting: int) -> None:
    world = unready("10:00", "16:55").event("Unhealthy", f"{GET}context deadline exceeded")
    died = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    log = f"{LOADED.format(waiting=waiting)}\n{died}\nEngineDeadError: EngineCore died"
    cause = world.cause(logs={(POD, "falcon"): log})
    assert cause.code == "cuda-out-of-memory"
    assert "replicas" not in cause.hint


@pytest.mark.parametrize("said", ["EOF", "read: connection reset by peer", "connect: connection refused"])
def test_only_its_log_says_that_an_engine_has_died(said: str) -> None:
    world = unready("10:00", "16:55").event("Unhealthy", f"{GET}{said}", count=41)
    assert "engine has died" not in world.cause().message + world.cause().hint
    dead = world.cause(logs={(POD, "falcon"): "ERROR EngineDeadError: EngineCore encountered an issue."})
    assert "its engine has died" in dead.message
    assert "a restart of the pod" in dead.hint


def test_what_its_engine_died_of_is_the_cause_and_an_error_of_one_request_is_not() -> None:
    world = unready("10:00", "16:55").event(
        "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503"
    )
    died = world.cause(
        logs={(POD, "falcon"): "RuntimeError: CUDA error: uncorrectable ECC error encountered"}
    )
    assert (died.code, "is no longer ready" in died.message) == ("gpu-broken", True)
    log = "ValueError: This model's maximum context length is 2048 tokens. However, you requested 4096"
    other = world.cause(logs={(POD, "falcon"): log})
    assert other.code == "nobody-served"


def test_the_container_beside_the_server_is_named_at_once() -> None:
    world = unready("16:40", "16:55")
    world["Pod"]["spec"]["containers"].append({"name": "istio-proxy", "image": "istio"})
    statuses = world["Pod"]["status"]["containerStatuses"]
    statuses.append({**statuses[0], "name": "istio-proxy"})
    statuses[0]["ready"] = True
    cause = world.cause()
    assert "istio-proxy, which runs beside the server, is not ready" in cause.message


PREEMPTED = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "PreemptionByScheduler",
    "message": "default-scheduler: preempting to accommodate a higher priority pod",
}


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({}, ""),
        (
            {"reason": "Terminated", "message": "Pod was terminated in response to imminent node shutdown."},
            "imminent node shutdown",
        ),
        ({"reason": "Evicted", "message": "The node was low on resource: memory."}, "low on resource"),
        ({"reason": "UnexpectedAdmissionError", "message": "Allocate failed"}, "Allocate failed"),
        ({"conditions": [PREEMPTED]}, "higher priority"),
    ],
)
def test_a_pod_that_loads_in_the_place_of_one_that_served_says_so_and_why(
    status: dict[str, Any], words: str
) -> None:
    world = unready("16:50", "16:49")
    if status:
        old = {**world["Pod"], "status": {"phase": "Failed", **status}}
        old["metadata"] = {
            **old["metadata"],
            "name": "falcon-5b8f-old01",
            "uid": "uid-old",
            "creationTimestamp": "2026-11-27T10:00:00Z",
        }
        world.objects.append(old)
    cause = world.cause()
    assert (cause.code, cause.weight, cause.about) == ("nobody-served", "wait", f"Pod {POD}")
    assert "it loads the model for 10m" in cause.message
    assert words in cause.message
    assert ("Pod falcon-5b8f-old01" in cause.message) is bool(status)
    others = [one.about for one in world.diagnosis().causes[1:]]
    assert len(others) == len(set(others)), "each pod that ended is named once"


@pytest.mark.parametrize(
    ("began", "changed", "status", "ready", "seconds"),
    [
        ("10:00", "16:00", "False", False, 21600),
        ("10:00", "10:01", "False", False, 0),  # a kubelet's two writes
        ("10:00", "09:00", "False", False, 0),  # since it was made
        ("10:00", "16:00", "True", False, 0),
        ("10:00", "16:00", "Unknown", False, 0),
        ("10:00", "16:00", "False", True, 0),
        ("?", "16:00", "False", False, 0),
    ],
)
def test_how_long_a_container_was_ready(
    began: str, changed: str, status: str, ready: bool, seconds: int
) -> None:
    world = unready(began, changed)
    world["Pod"]["status"]["conditions"][0]["status"] = status
    item = {**world["Pod"]["status"]["containerStatuses"][0], "ready": ready}
    assert was_ready_for_s(world["Pod"], item) == seconds
