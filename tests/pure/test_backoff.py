from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kaitoctl.reconcile.backoff import Backoff


def test_delays_double_up_to_the_longest() -> None:
    backoff = Backoff(jitter=0)
    assert [round(backoff.delay(now), 3) for now in range(8)] == [0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30]


def test_quiet_starts_over() -> None:
    backoff = Backoff(jitter=0, reset_after_s=120)
    assert [backoff.delay(now) for now in (0, 1, 121, 242)] == [0.8, 1.6, 3.2, 0.8]


def test_reset_starts_over() -> None:
    backoff = Backoff(jitter=0)
    backoff.delay(0)
    backoff.reset()
    assert backoff.delay(1) == 0.8


def test_full_jitter_at_most_doubles_a_delay() -> None:
    assert Backoff(random=lambda: 0.999).delay(0) < 1.6
    assert Backoff(random=lambda: 0.0).delay(0) == 0.8


@given(
    st.floats(0.001, 10),
    st.floats(1, 10),
    st.floats(0, 2),
    st.lists(st.floats(0, 500), min_size=1, max_size=50),
)
def test_every_delay_lies_within_its_promise(
    initial_s: float, factor: float, jitter: float, pauses: list[float]
) -> None:
    backoff = Backoff(initial_s=initial_s, longest_s=30, factor=factor, jitter=jitter)
    now = 0.0
    for pause in pauses:
        now += pause
        assert initial_s <= backoff.delay(now) <= 30 * (1 + jitter)
