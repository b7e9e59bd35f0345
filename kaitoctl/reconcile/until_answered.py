"""Ask the cluster until it answers, as a controller does that starts while its cluster is in trouble."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from kaitoctl.errors import KaitoctlError
from kaitoctl.reconcile.backoff import Backoff

logger = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")


def _never(error: KaitoctlError) -> bool:
    return False


async def until_answered(
    ask: Callable[[], Awaitable[_Answer]],
    *,
    doing: str = "",
    is_final: Callable[[KaitoctlError], bool] = _never,
) -> _Answer:
    """What `ask` returns, once it raises no error; each new error is logged once.

    Args:
        ask: one attempt; a `KaitoctlError` means that it is to be repeated.
        doing: begins the log lines: what waits for the answer.
        is_final: whether an error will not pass, and is raised.
    """
    clock, backoff, logged = asyncio.get_running_loop().time, Backoff(), ""
    while True:
        try:
            return await ask()
        except KaitoctlError as error:
            if is_final(error):
                raise
            if str(error) != logged:
                logged = str(error)
                logger.warning("%s%s; retrying", f"{doing}: " if doing else "", logged)
        await asyncio.sleep(backoff.delay(clock()))
