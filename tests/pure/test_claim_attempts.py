"""How long a claim that vanished is not asked for again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kaitoctl.kaito.claim_attempts import ClaimAttempts

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def waited_s(asked: ClaimAttempts, now: datetime) -> float:
    """How long somebody waits who asks again after each time that he is told."""
    began = now
    for _ in range(100):
        if not (wait_s := asked.wait_s(now)):
            return (now - began).total_seconds()
        now += timedelta(seconds=wait_s)
    raise AssertionError(f"still waiting after {now - began}")


@pytest.mark.parametrize(("times", "patience_s"), [(1, 30), (2, 60), (5, 480), (6, 600), (999_999, 600)])
def test_patience_doubles_up_to_ten_minutes(times: int, patience_s: int) -> None:
    assert waited_s(ClaimAttempts(times, NOON), NOON) == patience_s
    assert waited_s(ClaimAttempts(times, NOON), NOON + timedelta(days=400)) == 0


@pytest.mark.parametrize("times", [1, 4, 20])
@pytest.mark.parametrize("back_s", [1, 20, 45, 100, 600, 3600, 86_400, 400 * 86_400])
def test_a_clock_that_was_set_back_makes_nobody_wait_for_long(times: int, back_s: int) -> None:
    asked = ClaimAttempts(times, NOON)
    assert waited_s(asked, NOON - timedelta(seconds=back_s)) <= 2 * asked.patience_s
