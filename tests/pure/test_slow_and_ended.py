"""Containers that run and are not ready, probes that end them, and pods that somebody threw out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from trouble import World

from kaitoctl.advice import text
from kaitoctl.commands.observe_deeply import _takes_long

POD = "falcon-5b8f-abcde"


def running(*, init: str = "", sidecar: bool = False) -> World:
    """A server, or what comes before it, that has run for two hours."""
    world = World("slow-pull").without("Event")
    status = world["Pod"]["status"]
    state: dict[str, Any] = {"state": {"running": {"startedAt": "2026-11-28T14:55:00Z"}}, "ready": False}
    waiting = {"name": "falcon", "ready": False, "state": {"waiting": {"reason": "PodInitializing"}}}
    if init:
        more = {"restartPolicy": "Always"} if sidecar else {}
        world["Pod"]["spec"]["initContainers"] = [{"name": init, **more}]
        status["initContainerStatuses"] = [{"name": init, **state}]
    status["containerStatuses"] = [waiting if init else {"name": "falcon", **state}]
    return world


@pytest.mark.parametrize("sidecar", [False, True])
def test_what_an_init_container_says_stands_beside_its_time(sidecar: bool) -> None:
    log = "[ERROR] agent.auth: error authenticating: Code: 403. permission denied\n[INFO] agent: sleeping\n"
    world = running(init="vault-agent", sidecar=sidecar)
    found = world.cause(logs={(POD, "vault-agent"): log})
    assert found.code == "slow-start"
    assert any(source == "log" and "permission denied" in said for source, said in found.evidence)
    assert text(found.command).endswith("-c vault-agent")


@pytest.mark.parametrize(
    ("line", "is_lonely"),
    [
        ("INFO:     Uvicorn running on http://127.0.0.1:5000 (Press CTRL+C to quit)", True),
        ("* Running on local URL:  http://localhost:7860", True),
        ("main: server is listening on http://[::1]:8080 - starting the main loop", True),
        ("INFO:     Uvicorn running on http://0.0.0.0:5000 (Press CTRL+C to quit)", False),
        ("loading weights from http://127.0.0.1:9000/cache", False),
    ],
)
def test_a_server_that_listens_for_itself_alone(line: str, is_lonely: bool) -> None:
    world = running().event(
        "Unhealthy", "Readiness probe failed: dial tcp 10.244.0.9:5000: connection refused"
    )
    found = world.cause(logs={(POD, "falcon"): line})
    assert (found.code == "bad-arguments") is is_lonely
    assert ("0.0.0.0" in found.hint) is is_lonely


@pytest.mark.parametrize(
    ("said", "part"),
    [
        ("Readiness probe failed: HTTP probe failed with statuscode: 404", "path"),
        ("Readiness probe failed: HTTP probe failed with statuscode: 401", "path"),
        ("Startup probe failed: HTTP probe failed with statuscode: 405", "path"),
        (
            'Readiness probe failed: Get "https://h:5000/": server gave HTTP response to HTTPS client',
            "scheme",
        ),
        (
            'Readiness probe failed: Get "http://h:5000/": malformed HTTP response',
            "scheme",
        ),
        ('Readiness probe errored: strconv.Atoi: parsing "http": invalid syntax', "port"),
        ("Readiness probe failed: HTTP probe failed with statuscode: 503", ""),
    ],
)
def test_a_probe_that_asks_for_something_else_never_passes(said: str, part: str) -> None:
    found = running().event("Unhealthy", said, count=200).cause()
    assert found.code == "slow-start"
    assert (f"the {part} of the probe" in found.hint) is bool(part)


def killed(message: str, log: str = "") -> Any:
    world = running()
    status = world["Pod"]["status"]["containerStatuses"][0]
    status |= {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 3}
    status["lastState"] = {"terminated": {"exitCode": 137, "reason": "Error"}}
    world.event("Unhealthy", message).event("Killing", "Container falcon failed startup probe", kind="Normal")
    return world.cause(logs={(POD, "falcon"): log})


def test_a_probes_command_that_is_too_slow_wants_no_more_time_to_start() -> None:
    found = killed('Startup probe failed: command timed out: "python3 /h.py" timed out after 1s')
    assert "does not end in time" in found.message
    assert "timeoutSeconds" in found.hint


def test_a_benchmark_that_fails_is_what_the_probe_fails_by() -> None:
    line = "KAITO_BENCHMARK 2026-11-28T15:40:00Z benchmark_failed error=guidellm exited non-zero"
    found = killed("Startup probe failed: ", f"loading\n{line}\nbye\n")
    assert found.code == "benchmark-failed"
    assert "guidellm exited non-zero" in found.message
    assert "disable-benchmark=true" in text(found.command)


@pytest.mark.parametrize("reason", ["DeletionByTaintManager", "DeletionByPodGC", "EvictionByEvictionAPI"])
def test_a_failed_pod_without_a_reason_has_that_of_its_condition(reason: str) -> None:
    world = World("slow-pull").without("Event")
    condition = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": "m"}
    world["Pod"]["status"] = {"phase": "Failed", "conditions": [condition]}
    assert world.cause().code == "pod-thrown-out"


@pytest.mark.parametrize(
    ("reason", "times", "words"),
    [
        ("SandboxChanged", 80, "sandbox ends again and again"),
        ("VolumePermissionChangeInProgress", 1, "fsGroupChangePolicy"),
    ],
)
def test_a_usual_event_that_comes_too_often_is_a_cause(reason: str, times: int, words: str) -> None:
    world = World("slow-pull").without("Event").event(reason, "it goes on", count=times, kind="Normal")
    assert words in world.cause().hint
    assert (
        "again and again" not in World("slow-pull").without("Event").event("SandboxChanged", "x").cause().hint
    )


@pytest.mark.parametrize(
    ("reason", "said", "code", "words"),
    [
        (
            "ImageInspectError",
            'short-name "x:1" did not resolve to an alias',
            "image-pull-failed",
            "registry",
        ),
        (
            "ErrImagePull",
            "failed to copy: content at https://r.example/v2/x/blobs/sha256:ab not found: not found",
            "image-not-found",
            "push it again",
        ),
        (
            "ErrImagePull",
            'credential provider plugin failed: exec plugin "acr" timed out',
            "image-pull-failed",
            "identity",
        ),
    ],
)
def test_what_is_amiss_with_an_image_that_is_there(reason: str, said: str, code: str, words: str) -> None:
    world = World("slow-pull").without("Event")
    state = {"waiting": {"reason": reason, "message": said}}
    world["Pod"]["status"]["containerStatuses"] = [
        {"name": "falcon", "image": "r.example/x:1", "state": state}
    ]
    found = world.cause()
    assert found.code == code
    assert words in found.hint


def test_only_logs_of_containers_that_take_long_are_read() -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    old: dict[str, Any] = {"state": {"running": {"startedAt": "2020-01-01T00:00:00Z"}}, "ready": False}
    assert _takes_long(old)
    assert not _takes_long({**old, "ready": True})
    assert not _takes_long({"state": {"running": {"startedAt": now}}, "ready": False})
    assert not _takes_long({"state": {"waiting": {}}})
