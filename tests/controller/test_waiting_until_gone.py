"""Waiting for deletions at the edge of its time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from direct import Direct
from virtual_time import run
from world import World

from kaitoctl.commands.target import Target
from kaitoctl.commands.wait_gone import Going, wait_gone
from kaitoctl.kube.objects import Kind, ObjectKey
from kaitoctl.kube.response_bodies import ObjectList


class Quiet(Direct):
    """Its watches tell nothing, and take a while to end."""

    def __init__(self, world: World, ending_s: float = 0.0) -> None:
        super().__init__(world)
        self._ending_s = ending_s

    async def pages(self, kind: Kind, namespace: str = "", **selectors: str) -> AsyncIterator[ObjectList]:
        yield await self.list(kind, namespace, **selectors)

    async def watch(self, kind: Kind, namespace: str = "", **_: Any) -> AsyncIterator[Any]:
        try:
            await asyncio.Event().wait()
            yield
        finally:
            await asyncio.sleep(self._ending_s)


def test_the_last_one_that_goes_just_in_time_is_gone(capsys: pytest.CaptureFixture[str]) -> None:
    gone = Going(ObjectKey("default", "falcon"), "uid", frozenset())
    run(wait_gone(Quiet(World(), ending_s=60), Target(), [gone], 5))  # type: ignore[arg-type]
    assert "Workspace default/falcon is gone" in capsys.readouterr().err
