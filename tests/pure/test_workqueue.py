from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kaitoctl.reconcile.backoff import Backoff
from kaitoctl.reconcile.workqueue import WorkQueue


def test_keys_come_in_the_order_in_which_they_are_due() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key, at in (("late", 3.0), ("early", 1.0), ("middle", 2.0), ("early too", 1.0)):
        queue.add(key, at)
    assert [queue.take(10) for _ in range(5)] == ["early", "early too", "middle", "late", None]


def test_key_waits_once_and_its_earliest_time_wins() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for at in (5.0, 2.0, 9.0):
        queue.add("a", at)
    assert len(queue) == 1
    assert queue.next_due() == 2.0
    assert queue.take(1.9) is None
    assert queue.take(2.0) == "a"
    queue.done("a")
    assert queue.take(100) is None


def test_key_in_work_is_handed_out_again_only_after_done() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a", 0)
    assert queue.take(0) == "a"
    queue.add("a", 1)
    assert queue.take(5) is None
    assert queue.next_due() is None
    queue.done("a")
    assert queue.next_due() == 1
    assert queue.take(5) == "a"


def test_outdated_plan_of_a_key_in_work_does_not_hand_it_out() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for at in (5, 2):
        queue.add("a", at)
    assert queue.take(2) == "a"
    queue.add("a", 5)
    assert queue.take(9) is None
    queue.done("a")
    assert queue.take(9) == "a"
    assert queue.take(9) is None


def test_retry_backs_off_from_5_ms_to_5_minutes_within_ten_tries() -> None:
    queue: WorkQueue[str] = WorkQueue()
    now, delays = 0.0, []
    for _ in range(12):
        delays.append(queue.retry("a", now))
        now += delays[-1]
    assert 0.005 <= delays[0] <= 0.006
    assert all(later > earlier for earlier, later in pairwise(delays[:10]))
    assert min(delays[10:]) >= 290


def test_retry_waits_as_long_as_the_server_asked() -> None:
    queue: WorkQueue[str] = WorkQueue()
    assert queue.retry("a", 10.0, at_least_s=20.0) == 20.0
    assert queue.next_due() == 30.0


def test_back_off_belongs_to_one_key_and_ends_with_success() -> None:
    queue: WorkQueue[str] = WorkQueue(backoff=lambda: Backoff(jitter=0))
    assert [queue.retry("a", 0), queue.retry("a", 0.8), queue.retry("b", 0)] == [0.8, 1.6, 0.8]
    queue.forget("a")
    assert queue.retry("a", 0) == 0.8


def test_what_fails_on_news_within_its_delay_waits_no_longer_for_it() -> None:
    queue: WorkQueue[str] = WorkQueue(backoff=lambda: Backoff(jitter=0))
    queue.retry("a", 0)
    assert [round(queue.retry("a", now), 3) for now in (0.1, 0.2, 0.7)] == [0.7, 0.6, 0.1]
    assert queue.retry("a", 0.8) == 1.6


def test_a_failure_that_is_not_about_the_key_has_a_longest_delay() -> None:
    queue: WorkQueue[str] = WorkQueue()
    now = 0.0
    for _ in range(20):
        now += queue.retry("a", now, at_most_s=30.0)
    assert queue.retry("a", now, at_most_s=30.0) == 30.0


def test_news_about_a_failing_key_is_not_held_back_by_its_back_off() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.retry("a", 0, at_least_s=300)
    queue.add("a", 1)
    assert queue.take(1) == "a"


@pytest.mark.parametrize("keys", [1, 100])
def test_planned_and_overtaken_times_do_not_pile_up(keys: int) -> None:
    queue: WorkQueue[int] = WorkQueue()
    queue.add(-1, 3000.0)
    for now in range(2000):
        for key in range(keys):
            queue.add(key, now + 3600.0)
            queue.add(key, float(now))
        while (taken := queue.take(now)) is not None:
            queue.done(taken)
    assert len(queue._heap) <= 2 * (keys + 1) + 64


class QueueAgainstModel(RuleBasedStateMachine):
    """The queue loses nothing, hands out nothing early, and no key twice at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: WorkQueue[int] = WorkQueue(backoff=lambda: Backoff(jitter=0))
        self.now = 0.0
        self.waiting: dict[int, float] = {}
        self.taken: set[int] = set()

    @rule(key=st.integers(0, 5), after=st.integers(0, 9))
    def add(self, key: int, after: int) -> None:
        self.queue.add(key, self.now + after)
        self.waiting[key] = min(self.now + after, self.waiting.get(key, self.now + after))

    @rule(key=st.integers(0, 5))
    def retry(self, key: int) -> None:
        at = self.now + self.queue.retry(key, self.now)
        self.waiting[key] = min(at, self.waiting.get(key, at))

    @rule(seconds=st.integers(0, 5))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def take(self) -> None:
        key = self.queue.take(self.now)
        free = {at for other, at in self.waiting.items() if other not in self.taken and at <= self.now}
        if key is None:
            assert not free
        else:
            assert key not in self.taken
            assert self.waiting.pop(key) == min(free)
            self.taken.add(key)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.taken)))
        self.taken.remove(key)
        self.queue.done(key)

    @invariant()
    def agrees(self) -> None:
        assert len(self.queue) == len(self.waiting)
        free = [at for key, at in self.waiting.items() if key not in self.taken]
        assert self.queue.next_due() == min(free, default=None)


TestQueueAgainstModel = QueueAgainstModel.TestCase
TestQueueAgainstModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
