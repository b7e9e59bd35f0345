"""The clock of the tests jumps only when nothing real is under way."""

from __future__ import annotations

import asyncio
import time

import pytest
from virtual_time import run


def test_waiting_costs_nothing_and_ends_on_time() -> None:
    async def story() -> list[float]:
        clock = asyncio.get_running_loop().time
        began = clock()
        await asyncio.gather(*(asyncio.sleep(hours * 3600) for hours in range(1, 4)))
        return [began, clock()]

    assert run(story()) == [0.0, 3 * 3600.0]


def test_clock_stands_still_while_a_thread_works() -> None:
    async def story() -> float:
        timer = asyncio.create_task(asyncio.sleep(3600))
        await asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.01)
        assert not timer.done()
        return asyncio.get_running_loop().time()

    assert run(story()) == 0.0


def test_story_that_never_ends_is_ended() -> None:
    async def story() -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        run(story(), at_most_s=60)
