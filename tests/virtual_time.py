"""An event loop in which waiting costs nothing: real sockets, but a clock that jumps to the next timer.

As long as any socket has something to say, the clock stands still; when all is quiet, it jumps. So an hour
of watches over real HTTP takes seconds, and is the same every time.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# The kernel's loopback delivers at once; this is for what is still on its way through it.
_GRACE_S = 0.001
_DEADLOCK_S = 10.0


class _JumpingSelector(selectors.BaseSelector):
    """A real selector which, instead of sleeping, moves a clock."""

    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()
        self.now = 0.0
        self.threads = 0  # running in executors: their results come in real time

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if ready := self._real.select(0):
            return ready
        if timeout is not None and timeout <= 0:
            return []
        if self.threads or timeout is None:
            ready = self._real.select(_DEADLOCK_S)
            if not ready and not self.threads:
                raise RuntimeError(f"nothing happened for {_DEADLOCK_S} s, and no timer is set: a deadlock")
            return ready
        if ready := self._real.select(_GRACE_S):
            return ready
        self.now += timeout
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A selector loop whose `time()` starts at 0 and moves only when everybody waits."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        future: asyncio.Future[T] = super().run_in_executor(executor, func, *args)
        self._jumping.threads += 1
        future.add_done_callback(self._thread_ended)
        return future

    def _thread_ended(self, _: object) -> None:
        self._jumping.threads -= 1


def run(coroutine: Coroutine[Any, Any, T], *, at_most_s: float = 6 * 3600) -> T:
    """Run a coroutine in virtual time, at most `at_most_s` virtual seconds of it."""

    async def limited() -> T:
        async with asyncio.timeout(at_most_s):
            return await coroutine

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(limited())
