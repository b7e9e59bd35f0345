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
