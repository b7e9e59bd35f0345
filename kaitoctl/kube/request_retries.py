"""How long a client waits for an API server: what is tried again, when it gives up, and when it says so."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from kaitoctl.errors import ApiError, Unreachable
from kaitoctl.kube import retry_delays
from kaitoctl.kube.request import Request

_SLOW_S = 2.0  # after which somebody who waits wants to know for what
_SAID_EVERY_S = 15.0
_PATIENT_AGAIN_S = 60.0
_RETRIES_WHEN_ASKED_TO_WAIT = 3

T = TypeVar("T")
_log = logging.getLogger("kaitoctl.kube.client")


class Patience:
    """The patience of one client.

    Args:
        host: whom we wait for, for messages.
        retries_failures: try again for a few seconds what may pass, for somebody who waits.
        says_waits: say whom we wait for when an answer takes long.
    """

    def __init__(self, host: str, *, retries_failures: bool, says_waits: bool) -> None:
        self._host = host
        self._retries_failures = retries_failures
        self._says_waits = says_waits
        self._said_at = self._gave_up_at = -math.inf
        self._waits: dict[object, tuple[float, Sequence[str]]] = {}  # not yet slow, the oldest first
        self._timer: asyncio.TimerHandle | None = None
        self.is_logging_in = False

    async def retry(self, request: Request, once: Callable[[], Awaitable[T]]) -> T:
        """What a request is answered with, tried again as long as that makes sense."""
        began, attempt, trouble = asyncio.get_running_loop().time(), 0, [""]
        waiting = self._begin_wait(began, trouble)
        try:
            while True:
                attempt += 1
                try:
                    return await once()
                except (ApiError, Unreachable) as error:
                    wait_s = self._wait_s(request, error, attempt, began)
                    if wait_s is None:
                        raise
                    trouble[0] = str(error)
                await asyncio.sleep(wait_s)
        finally:
            self._waits.pop(waiting, None)

    def _wait_s(
        self, request: Request, error: ApiError | Unreachable, attempt: int, began: float
    ) -> float | None:
        """Seconds until the next try, None when there is none."""
        if not self._retries_failures:
            asked_s = error.retry_after_s if isinstance(error, ApiError) else None
            too_long = asked_s is None or asked_s > retry_delays.LONGEST_ASKED_WAIT_S
            return None if too_long or attempt > _RETRIES_WHEN_ASKED_TO_WAIT else asked_s
        wait_s = retry_delays.wait_s(request, error, attempt)
        if wait_s is None:
            return None
        now = asyncio.get_running_loop().time()
        is_weary = now - self._gave_up_at < _PATIENT_AGAIN_S
        if is_weary or now + wait_s - began > retry_delays.PATIENCE_S:
            # Whatever else is asked would wait as long again: all of a command together are patient once.
            self._gave_up_at = now
            return None
        return wait_s

    @contextmanager
    def said_when_slow(self) -> Iterator[None]:
        """Say what we wait for when it takes longer than somebody waits without wondering."""
        waiting = self._begin_wait(asyncio.get_running_loop().time(), ("",))
        try:
            yield
        finally:
            self._waits.pop(waiting, None)

    def _begin_wait(self, now: float, trouble: Sequence[str]) -> object:
        """Note that somebody waits from `now` on; returns what to take out of `_waits` at the end."""
        waiting = object()
        if self._says_waits:
            self._waits[waiting] = now, trouble
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(_SLOW_S, self._look_who_waits)
        return waiting

    def _look_who_waits(self) -> None:
        """Say whom we wait for once the oldest wait is slow: one timer for all of them."""
        loop, self._timer = asyncio.get_running_loop(), None
        now = loop.time()
        for waiting, (since, trouble) in list(self._waits.items()):
            if (left_s := since + _SLOW_S - now) > 0:
                self._timer = loop.call_later(left_s, self._look_who_waits)
                return
            del self._waits[waiting]
            self._say(now, trouble[0])

    def _say(self, now: float, trouble: str) -> None:
        if now - self._said_at >= _SAID_EVERY_S:
            self._said_at = now
            of_login = "the credentials that the kubeconfig names"
            whom = of_login if self.is_logging_in else self._host
            _log.warning("waiting for %s ...%s", whom, f" ({trouble})" if trouble else "")
