"""Waiting for deletions at the edge of its time, and with more namespaces than are watched at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from direct import Direct
from virtual_time import run
from world import World, falcon

from kaitoctl.commands.target import Target
from kaitoctl.commands.wait_gone import Going, wait_gone
from kaitoctl.kaito import api as kaito
from kaitoctl.kube import request
from kaitoctl.kube.objects import NAMESPACE, POD, Kind, ObjectKey, uid_of
from kaitoctl.kube.response_bodies import ObjectList

NAMESPACES = [f"team-{number}" for number in range(18)]


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


def test_of_many_only_their_number_is_told_to_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    world, deleted = World(), []
    for space in NAMESPACES:
        key = ObjectKey(space, "falcon")
        world.apply(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})
        world.apply(kaito.WORKSPACE, {**falcon(), "metadata": {"name": key.name, "namespace": space}})
        stored = world.do(request.get(kaito.WORKSPACE, *key))
        deleted.append(Going(key, uid_of(stored), frozenset()))
    slow = NAMESPACES[-1]
    metadata = {"name": "p", "namespace": slow, "labels": {kaito.LABEL_WORKSPACE: "falcon"}}
    spec = {"containers": [{"name": "main", "image": "registry.example/main:1"}]}
    world.apply(POD, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})

    async def others_go() -> None:
        await asyncio.sleep(2)
        for space in NAMESPACES[:-1]:
            world.do(request.delete(kaito.WORKSPACE, space, "falcon"))
        await asyncio.sleep(13)
        world.do(request.delete(POD, slow, "p"))
        await asyncio.sleep(20)
        world.do(request.delete(kaito.WORKSPACE, slow, "falcon"))

    async def main() -> None:
        await asyncio.gather(wait_gone(Quiet(world), Target(), deleted, 600), others_go())  # type: ignore[arg-type]

    run(main())
    told = capsys.readouterr().err
    assert told.count(" is gone\n") == len(NAMESPACES)
    assert "17 of 18 Workspaces are gone" in told and "waiting for" not in told
