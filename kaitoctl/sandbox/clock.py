"""The sandbox's time: it runs faster than the wall's.

Everything that takes a while in a cluster (pulling an image, loading a model, a progress deadline) is
written down in *simulated* seconds; only `Clock.wall_s` turns them into time that somebody waits.
Moments stay those of the wall, so that kubectl's AGE column and `creationTimestamp` agree with each other.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from kaitoctl.kube.conditions import parse_timestamp

DEFAULT_SPEED = 20.0
_SHORTEST_WAIT_S = 0.001  # a timer may fire a hair early; this keeps the next look from being immediate


def precise(moment: datetime) -> str:
    """An RFC 3339 text with microseconds.

    A `metav1.Time` is written with whole seconds, but read with any fraction. At twenty simulated seconds
    a second, a start truncated to its second would be up to 20 s wrong, so where the sandbox counts from a
    moment that it wrote itself, it writes it precisely.
    """
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Clock(Struct, frozen=True):
    """How the sandbox reads the time.

    Args:
        now: the wall's time, with a time zone.
        speed: simulated seconds per second of the wall.
    """

    now: Callable[[], datetime]
    speed: float = DEFAULT_SPEED

    def stamp(self) -> str:
        """The moment, precise enough to count simulated seconds from."""
        return precise(self.now())

    def since_s(self, moment: str) -> float:
        """Simulated seconds since a timestamp; never negative."""
        return max(0.0, (self.now() - parse_timestamp(moment)).total_seconds() * self.speed)

    def wall_s(self, simulated_s: float) -> float:
        """Seconds of the wall that `simulated_s` take; always a little more than nothing."""
        return max(_SHORTEST_WAIT_S, simulated_s / self.speed)

    def moment(self, start: str, simulated_s: float) -> str:
        """The timestamp `simulated_s` after `start`."""
        return precise(parse_timestamp(start) + timedelta(seconds=simulated_s / self.speed))
