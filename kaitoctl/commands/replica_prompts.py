"""One prompt to each replica that has the present template, before another one is changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from kaitoctl.commands import follow_fleet, smoke_test
from kaitoctl.commands.observe_workspace import snapshot_of
from kaitoctl.errors import ApiError, NegativeAnswer, Unreachable
from kaitoctl.kaito.serving import serving
from kaitoctl.kube.objects import ObjectKey, generation_of, uid_of
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.kaito.fleet.decisions import Replica
    from kaitoctl.kaito.fleet.view import Fleet
    from kaitoctl.kube.client import Client

_LOOKS = 10
_Version = tuple[str, int]


class Prompts:
    """Remembers which replicas have answered since they were changed.

    Args:
        client: of the cluster.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._silent: dict[_Version, str] = {}

    async def rehearse(self, fleet: Fleet) -> None:
        """Ask a replica that serves now: what cannot be asked at all is known before anything changes.

        Raises:
            NegativeAnswer: it does not answer.
        """
        serves = next((one for one in fleet.replicas if one.is_ready), None)
        if serves is None:
            output.note("no replica serves now; prompts go to those that are changed")
        elif silent := await self._answer(serves):
            raise NegativeAnswer(
                f"no smoke test: {serves.name} does not answer before anything has changed: {silent}",
                hint="leave --smoke-test out, or first see to it that a prompt reaches the model",
            )

    async def ask(self, replicas: Iterable[Replica]) -> list[Replica]:
        """The replicas; one with the present template that serves and gives no answer has failed."""
        return [await self._asked(one) for one in replicas]

    async def _asked(self, one: Replica) -> Replica:
        if not (one.is_ready and one.is_current):
            return one
        version = _version(one)
        if version not in self._silent:
            self._silent[version] = await self._answer(one)
        if silent := self._silent[version]:
            return replace(one, is_ready=False, failure=f"it is ready but answers no prompt: {silent}")
        return one

    async def _answer(self, one: Replica) -> str:
        """Why a replica gives no answer; empty when it gives one, which is shown.

        Raises:
            Unreachable: the API server, by which it is asked, is away: that says nothing of the replica.
        """
        key = ObjectKey(str(one.workspace["metadata"]["namespace"]), one.name)
        try:
            return await self._asked_once(key)
        except Unreachable:
            pass
        await snapshot_of(self._client, key)
        try:
            return await self._asked_once(key)
        except Unreachable as error:
            await snapshot_of(self._client, key)
            return error.message

    async def _asked_once(self, key: ObjectKey) -> str:
        try:
            seen = await snapshot_of(self._client, key)
            for _ in range(_LOOKS):  # endpoints come a moment after the pod is ready
                if serving(seen).is_any:
                    break
                await asyncio.sleep(follow_fleet.LOOK_AGAIN_S)
                seen = await snapshot_of(self._client, key)
            output.step(f"{key.name} answers: {await smoke_test.answer_of(self._client, seen)}")
        except (ApiError, NegativeAnswer) as error:
            return error.message
        return ""


def _version(one: Replica) -> _Version:
    return uid_of(one.workspace), generation_of(one.workspace)
