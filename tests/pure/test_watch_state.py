from __future__ import annotations

import pytest

from kaitoctl.reconcile.watch_state import MOST_FAILED_WATCHES, State, WatchState

TWO_HOURS_S = 2 * 3600.0


def watching(version: str = "5") -> WatchState:
    state = WatchState()
    assert state.begin(0.0) is State.LISTING
    state.listed(version, 0.0)
    state.watch(0.0)
    return state


def test_a_watch_goes_on_where_the_last_one_ended() -> None:
    state = watching()
    state.event()
    state.advance("9")
    assert state.begin(1.0) is State.LISTED
    assert state.version == "9"


def test_an_event_of_the_past_moves_nothing_back() -> None:
    state = watching("9")
    state.advance("5")
    assert state.version == "9"


@pytest.mark.parametrize(("status", "tries"), [(410, 1), (500, MOST_FAILED_WATCHES)])
def test_a_place_that_is_forgotten_or_refused_again_and_again_is_listed_again(
    status: int, tries: int
) -> None:
    state = watching()
    for _ in range(tries):
        assert state.begin(1.0) is State.LISTED
        state.refused(status)
    assert state.begin(1.0) is State.LISTING
    assert (state.version, state.last_version) == ("", "5")


@pytest.mark.parametrize("status", [401, 403, 429, 503])
def test_what_says_nothing_of_the_place_does_not_cost_it(status: int) -> None:
    state = watching()
    for _ in range(5 * MOST_FAILED_WATCHES):
        state.refused(status)
    assert state.begin(1.0) is State.LISTED


def test_an_event_in_between_shows_that_the_place_is_known() -> None:
    state = watching()
    for _ in range(5 * MOST_FAILED_WATCHES):
        state.refused(500)
        state.event()
    assert state.begin(1.0) is State.LISTED


def test_everything_is_listed_again_after_two_hours() -> None:
    state = watching()
    assert state.begin(TWO_HOURS_S - 1) is State.LISTED
    assert state.begin(TWO_HOURS_S) is State.LISTING


def test_a_kind_that_is_not_served_is_believed_the_second_time_and_may_come_back() -> None:
    state = watching()
    assert state.not_served() is False
    assert state.not_served() is True
    assert (state.state, state.is_served) == (State.NOT_SERVED, False)
    assert state.begin(1.0) is State.LISTING
    assert state.listed("7", 1.0) is True
    assert state.is_served is True


def test_the_delay_grows_until_a_stream_has_lived_long_and_is_never_shorter_than_asked() -> None:
    state = watching()
    short = [state.delay_s(1.0, 0.0) for _ in range(6)]
    assert short[-1] > short[0] > 0
    assert state.delay_s(1.0, 77.0) >= 77.0
    state.watch(100.0)
    assert 0 <= state.delay_s(200.0, 0.0) <= 0.2
