"""More trouble of the kinds of test_trouble.py: other words, other moments, and silence."""

from __future__ import annotations

import re
from typing import Any

import pytest
from trouble import World

from kaitoctl.kaito.diagnosis import Cause

POD = "falcon-5b8f-abcde"


def killed(*, ran: tuple[str, str], **event: Any) -> World:
    """A server that was killed at the end of a run, and what an event says of a probe."""
    world = World("killed-after-serving").without("Event")
    ended = world["Pod"]["status"]["containerStatuses"][0]["lastState"]["terminated"]
    ended.update(exitCode=137, reason="Error", startedAt=ran[0], finishedAt=ran[1])
    return world.event(event.pop("reason"), event.pop("message"), **event)


# --- probes ----------------------------------------------------------------------------------------------

LIVENESS = "Container falcon failed liveness probe, will be restarted"


@pytest.mark.parametrize("reason", ["Killing", "Unhealthy"])
def test_a_probe_that_failed_in_an_earlier_run_did_not_kill_this_one(reason: str) -> None:
    run = ("2026-11-28T16:50:00Z", "2026-11-28T16:58:00Z")
    world = killed(ran=run, reason=reason, message=LIVENESS, lastTimestamp="2026-11-28T16:10:00Z")
    assert world.cause().code == "container-killed"


def test_a_probe_that_fails_again_and_again_is_blamed_for_each_of_its_kills() -> None:
    run = ("2026-11-28T16:30:00Z", "2026-11-28T16:41:00Z")
    times = {"firstTimestamp": "2026-11-28T16:05:00Z", "lastTimestamp": "2026-11-28T16:58:00Z", "count": 40}
    world = killed(ran=run, reason="Unhealthy", message="Liveness probe failed: connection refused", **times)
    assert world.cause().code == "probe-kills-slow-start"


def test_who_asks_a_server_to_end_is_not_the_kernel() -> None:
    world = killed(
        ran=("2026-11-28T11:00:00Z", "2026-11-28T16:58:00Z"), reason="Pulled", message="image is there"
    )
    world["Pod"]["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] = 143
    cause = world.cause()
    assert cause.code == "container-killed"
    assert "kernel" not in cause.hint


# --- silence ---------------------------------------------------------------------------------------------


def test_a_pod_that_no_scheduler_has_looked_at_says_so() -> None:
    world = World("scheduling-gated")
    del world["Pod"]["spec"]["schedulingGates"]
    world["Pod"]["spec"]["schedulerName"] = "volcano"
    world["Pod"]["status"] = {"phase": "Pending"}
    cause = world.cause()
    assert (cause.code, cause.weight) == ("unschedulable", "fault")
    assert "scheduler volcano has not looked at it" in cause.message


def test_a_workload_whose_pods_nobody_creates_says_so() -> None:
    world = World("webhook-silent").without("Event", "Pod")
    world["Deployment"]["status"]["conditions"] = []
    cause = world.cause()
    assert (cause.code, cause.about) == ("kubernetes-says", "Deployment falcon")
    assert "no pod of it has been created" in cause.message
    assert cause.command


def test_a_failed_pod_without_a_reason_is_not_passed_over() -> None:
    world = World("rejected-by-kubelet").without("Event")
    pod = world["Pod"]
    world.objects = [item for item in world.objects if item["kind"] != "Pod" or item is pod]
    pod["status"] = {"phase": "Failed", "message": "the node said something"}
    cause = world.cause()
    assert cause.code == "kubernetes-says"
    assert "the node said something" in cause.message


def test_a_container_that_waits_without_a_reason_is_being_created() -> None:
    world = World("sandbox-failed").without("Event")
    world["Pod"]["status"]["containerStatuses"] = [
        {"name": "falcon", "ready": False, "restartCount": 0, "state": {"waiting": {}}}
    ]
    assert "begun nothing of it" in world.cause().message


def test_a_workspace_that_serves_and_has_no_status_has_no_controller() -> None:
    world = World("service-missing")
    world.objects.append(World("scaled-to-zero")["Service"])
    world["Workspace"]["status"] = {}
    cause = world.cause(controllers=())
    assert (cause.code, cause.weight) == ("controller-silent", "fault")
    assert "serves" in cause.message
    assert "log" not in cause.hint
