"""Keys that wait for a worker: each once, the earliest due first, never two workers on the same key.

Pure: the time is given, and nobody waits here; `controller` sleeps until `next_due`. Every operation
costs the logarithm of the number of keys, also with ten thousand of them.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable
from itertools import count
from math import inf
from typing import Generic, TypeVar

from kaitoctl.reconcile.backoff import Backoff

K = TypeVar("K", bound=Hashable)


def _key_backoff() -> Backoff:
    # From 5 ms to 5 min in ten steps: a lost race is run again at once, a poisoned key soon costs nothing.
    return Backoff(initial_s=0.005, longest_s=300.0, factor=3.0, jitter=0.1, reset_after_s=inf)


class WorkQueue(Generic[K]):
    """A queue of keys with due times.

    Guarantee: a key that was added is handed out at or after the earliest time it was added for, and
    while it is being worked on it is not handed out again; what is added meanwhile waits for `done`.

    Args:
        backoff: makes the back-off of one failing key.
    """

    def __init__(self, *, backoff: Callable[[], Backoff] = _key_backoff) -> None:
        self._new_backoff = backoff
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []  # may hold outdated entries: `_due` is the truth
        self._taken: set[K] = set()
        self._backoffs: dict[K, Backoff] = {}
        self._patient_until: dict[K, float] = {}  # when the last delay of a failing key is over
        self._failing_since: dict[K, float] = {}
        self._order = count()

    def add(self, key: K, at: float) -> None:
        """Let `key` be taken from the monotonic time `at` on; an earlier time it already waits for wins."""
        if at >= self._due.get(key, inf):
            return
        self._due[key] = at
        if key not in self._taken:
            self._push(at, key)

    def take(self, now: float) -> K | None:
        """The key that has been due for longest, or None when none is due; call `done` afterwards."""
        due = self.next_due()
        if due is None or due > now:
            return None
        key = heapq.heappop(self._heap)[2]
        del self._due[key]
        self._taken.add(key)
        return key

    def done(self, key: K) -> None:
        """Nobody works on `key` any more; it may be taken again if it was added meanwhile."""
        self._taken.discard(key)
        if key in self._due:
            self._push(self._due[key], key)

    def retry(self, key: K, now: float, *, at_least_s: float = 0.0, at_most_s: float = inf) -> float:
        """Add `key` with its own growing back-off, and return that delay in seconds.

        The delay grows once per delay: what fails because news came before the delay was over goes on
        waiting for its end. A dozen news within a second would else cost minutes.

        Args:
            key: what failed.
            now: the monotonic time.
            at_least_s: the shortest delay, as a server may have asked for.
            at_most_s: the longest, where the failure was not about the key.
        """
        backoff = self._backoffs.get(key)
        if backoff is None:
            backoff = self._backoffs[key] = self._new_backoff()
        self._failing_since.setdefault(key, now)
        left_s = self._patient_until.get(key, -inf) - now
        delay_s = max(left_s if left_s > 0 else min(backoff.delay(now), at_most_s), at_least_s)
        self._patient_until[key] = now + delay_s
        self.add(key, now + delay_s)
        return delay_s

    def forget(self, key: K) -> None:
        """`key` succeeded: its back-off starts over."""
        self._backoffs.pop(key, None)
        self._patient_until.pop(key, None)
        self._failing_since.pop(key, None)

    def fails_for_s(self, key: K, now: float) -> float:
        """For how many seconds `key` has failed each time; 0 when it has not."""
        return now - self._failing_since.get(key, now)

    @property
    def failing(self) -> int:
        """How many keys failed when they were worked on last."""
        return len(self._failing_since)

    def next_due(self) -> float | None:
        """When the next key that nobody works on is due, or None when there is none."""
        while self._heap:
            at, _, key = self._heap[0]
            if self._due.get(key) == at and key not in self._taken:
                return at
            heapq.heappop(self._heap)
        return None

    def __len__(self) -> int:
        """How many keys wait, those that wait for their own `done` included."""
        return len(self._due)

    def _push(self, at: float, key: K) -> None:
        heapq.heappush(self._heap, (at, next(self._order), key))
        # A key that is often wanted earlier than planned leaves one outdated entry each time.
        if len(self._heap) > 2 * len(self._due) + 64:
            self._heap = [
                (at, order, key)
                for at, order, key in self._heap
                if self._due.get(key) == at and key not in self._taken
            ]
            heapq.heapify(self._heap)
