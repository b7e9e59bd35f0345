"""Where a watch stands, as a state machine: what to do next, and how long to wait before it.

Pure: the time is given, and `informer` does what the state says. The states are those of kube-rs' watcher
(`kube-runtime/src/watcher.rs`: Empty, InitPage, InitListed, Watching), and one for a kind that is not there:

    EMPTY ──begin──▶ LISTING ──listed──▶ LISTED ──watch──▶ WATCHING
      ▲                 │                  ▲                  │
      │                 │ not_served       └── stream ended ──┤
      │                 ▼                                     │
      ├── begin ── NOT_SERVED ◀── not_served (404) ───────────┤
      └── relist: 410, failed watches, nonsense, two hours ───┘
"""

from __future__ import annotations

import random
from enum import Enum
from math import inf

from kaitoctl.reconcile.backoff import Backoff

_LONG_LIVED_S = 30.0
# News can get lost in a server's own cache, and no watch would ever tell: a list is the remedy, now and then.
_LIST_AGAIN_S = 2 * 3600.0
_RECONNECT_WITHIN_S = 0.2
MOST_FAILED_WATCHES = 3
_NOT_ABOUT_OUR_POSITION = frozenset({401, 403, 429, 503})


class State(Enum):
    """Where a watch stands."""

    EMPTY = "only a list can tell what there is"
    LISTING = "a list is under way"
    LISTED = "the next watch goes on at `version`"
    WATCHING = "a stream is open"
    NOT_SERVED = "the server knows no such kind"


class WatchState:
    """The state of one watch, and its place in the stream.

    `version` is where the next watch goes on, empty while only a list can tell; `last_version` is the newest
    place that was ever known.
    """

    def __init__(self) -> None:
        self.state = State.EMPTY
        self.version = ""
        self.is_served: bool | None = None
        self._last_version = "0"
        self._failed_watches = 0
        self._listed_at = -inf
        self._watching_since = inf
        self._backoff = Backoff()

    @property
    def last_version(self) -> str:
        """The newest place in the stream that was ever known."""
        return self.version or self._last_version

    def begin(self, now: float) -> State:
        """A new try: LISTING or LISTED, by what it has to begin with."""
        self._watching_since = inf
        if now - self._listed_at >= _LIST_AGAIN_S:
            self.relist()
        self.state = State.LISTED if self.version else State.LISTING
        return self.state

    def listed(self, version: str, now: float) -> bool:
        """The last page of a list is there; returns whether the kind was not served before."""
        was_missing = self.is_served is False
        self.state, self.version, self.is_served, self._listed_at = State.LISTED, version, True, now
        return was_missing

    def watch(self, now: float) -> None:
        """A stream is opened."""
        self.state, self._watching_since = State.WATCHING, now

    def event(self) -> None:
        """Something came: the server knows our place in the stream."""
        self._failed_watches = 0

    def advance(self, version: str) -> None:
        """The next watch goes on after `version`, unless it is older than where it would."""
        if version and not is_before(version, self.version):
            self.version = version

    def relist(self) -> None:
        """Forget the place in the stream."""
        self.state = State.EMPTY
        self._last_version, self.version = self.last_version, ""

    def refused(self, status: int) -> None:
        """An error answer: some say that our place is forgotten, and so do too many of the others."""
        if status not in _NOT_ABOUT_OUR_POSITION:
            self._failed_watches += 1
        if status == 410 or self._failed_watches >= MOST_FAILED_WATCHES:
            self.relist()
            self._failed_watches = 0

    def not_served(self) -> bool:
        """The server knows no such kind; returns whether it said so before: a proxy may have answered."""
        said_before, self.is_served = self.is_served is False, False
        self.relist()
        self.state = State.NOT_SERVED
        return said_before

    def delay_s(self, now: float, asked_s: float) -> float:
        """How long to wait after a list or stream ended, a clean end included.

        Args:
            now: the monotonic time.
            asked_s: the shortest delay, as the server may have asked for.
        """
        if now - self._watching_since >= _LONG_LIVED_S:
            self._backoff.reset()
            return max(random.random() * _RECONNECT_WITHIN_S, asked_s)
        return max(self._backoff.delay(now), asked_s)


def is_before(version: str, other: str) -> bool:
    """Whether one resource version is older; opaque ones never are.

    Source: KEP-5504, resource versions of one resource are comparable as numbers.
    """
    return (version + other).isascii() and version.isdigit() and other.isdigit() and int(version) < int(other)
