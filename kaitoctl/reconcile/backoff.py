"""How long to wait before trying again: doubling, with jitter, starting over after a quiet time.

Pure: the time is given. `workqueue` keeps one per failing key, `informer` one per stream.
"""

from __future__ import annotations

import random as _random
from collections.abc import Callable


class Backoff:
    """Growing delays for one thing that keeps failing.

    Args:
        initial_s: the first delay, before jitter.
        longest_s: delays stop growing here, before jitter.
        factor: how much longer each delay is than the one before.
        jitter: every delay is lengthened by a random part of up to this share of itself, so that
            those who failed together do not come back together.
        reset_after_s: after this long without a `delay`, the next one is the first again.
        random: a number from [0, 1), replaceable to make delays exact.

    Source of the default figures: client-go, `tools/cache/reflector.go` (0.8 s, 30 s, x2, 1.0, 2 min).
    """

    __slots__ = (
        "_factor",
        "_initial_s",
        "_jitter",
        "_last",
        "_longest_s",
        "_next_s",
        "_random",
        "_reset_after_s",
    )

    def __init__(
        self,
        *,
        initial_s: float = 0.8,
        longest_s: float = 30.0,
        factor: float = 2.0,
        jitter: float = 1.0,
        reset_after_s: float = 120.0,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self._initial_s = initial_s
        self._longest_s = longest_s
        self._factor = factor
        self._jitter = jitter
        self._reset_after_s = reset_after_s
        self._random = random
        self._next_s = initial_s
        self._last: float | None = None

    def delay(self, now: float) -> float:
        """Seconds to wait before the next try; `now` is any monotonic clock, in seconds.

        Guarantee: between the undisturbed delay and `1 + jitter` times it; the undisturbed delay is
        at least `initial_s` and at most `longest_s`.
        """
        if self._last is not None and now - self._last > self._reset_after_s:
            self.reset()
        self._last = now
        undisturbed_s = min(self._next_s, self._longest_s)
        self._next_s = min(self._next_s * self._factor, self._longest_s)
        return undisturbed_s * (1 + self._jitter * self._random())

    def reset(self) -> None:
        """Start over: the next delay is the first again."""
        self._next_s = self._initial_s
