"""What every observation is made of: informers side by side, and a note of each that the cluster refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from msgspec.structs import replace

from kaitoctl.commands.cluster import REFUSED, newest_kind, workspace_kind
from kaitoctl.errors import ApiError
from kaitoctl.kaito import api
from kaitoctl.kube.client import Client
from kaitoctl.kube.objects import (
    NODE_CLAIM,
    Kind,
    Object,
    dig,
)
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.informer import Informer

# ... and 400: of a name that no selector may hold, or that is too long for one, nothing is ever shown.
NEVER_SHOWN = (400, *REFUSED)
SERVICE_NAME_LABEL = "kubernetes.io/service-name"
MOST_NODES = 32

Observing = TypeVar("Observing", bound="Observation")


class Observation:
    """Informers side by side, and a note of each that the cluster refused; with `once` each lists and ends.

    Attributes:
        kind: Workspaces in the version that is read.
        changed: set whenever something has changed.
        refused: kinds that most clusters do not have, and why they are not shown.
    """

    def __init__(self, client: Client, kind: Kind, *, once: bool = False) -> None:
        self.kind = kind
        self._once = once
        self.changed = asyncio.Event()
        self._client = client
        self._tasks: dict[asyncio.Task[None], tuple[str, Informer]] = {}
        self._unseen: dict[str, str] = {}
        self.refused: dict[Kind, str] = {}
        self._optional: tuple[Informer, ...] = ()  # of kinds that most clusters do not have

    async def _watch(self, informer: Informer) -> None:
        """Run an informer; returns when it has synced or has been refused."""
        informer.subscribe(lambda _: self.changed.set())
        task = asyncio.create_task(informer.run(once=self._once))
        self._tasks[task] = (informer.kind.plural, informer)
        task.add_done_callback(lambda _: self.changed.set())
        synced = asyncio.create_task(informer.wait_synced())
        await asyncio.wait({task, synced}, return_when=asyncio.FIRST_COMPLETED)
        synced.cancel()

    def require(self, wanted: Informer) -> None:
        """Do without informers that were refused, but not without this one.

        Raises:
            ApiError: it was refused.
        """
        for task, (plural, informer) in list(self._tasks.items()):
            if not task.done():
                continue
            del self._tasks[task]
            error = task.exception()
            if error is None:  # it was to list once
                continue
            if informer in self._optional and getattr(error, "status", 0) in (404, *NEVER_SHOWN):
                if getattr(error, "status", 0) in REFUSED:
                    self.refused[informer.kind] = str(error)
                continue
            if informer is wanted or not isinstance(error, ApiError) or error.status not in NEVER_SHOWN:
                raise error  # half a picture would mislead while a server is in trouble
            self._unseen[plural] = str(error)

    async def change(self, *, rest_s: float = 0.0, within_s: float | None = None) -> None:
        """Wait for a change since this was called last, after a rest, and no longer than that."""
        await asyncio.sleep(rest_s)
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self.changed.wait()
        self.changed.clear()

    async def start(self) -> None:
        """Start all informers; returns when they have synced."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Stop all informers."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def running(observed: Observing) -> AsyncIterator[Observing]:
    """Observe for as long as the block runs."""
    try:
        await observed.start()
        observed.changed.clear()  # the first look is yet to come
        yield observed
    finally:
        await observed.stop()


async def served_kinds(client: Client, *, insists: bool) -> tuple[Kind, list[Kind]]:
    """The kind of Workspaces and the kinds of node claims, in the versions that the cluster serves.

    Args:
        client: the cluster.
        insists: whether a failing server is an error; whoever follows waits until it recovers.
    """
    groups = await _groups(client)
    if groups is not None and api.GROUP in groups:
        kind, answer = newest_kind(groups[api.GROUP]), groups.get(NODE_CLAIM.group)
    else:
        asking = _optional(client, Request("GET", f"/apis/{NODE_CLAIM.group}"), insists=insists)
        kind, answer = await asyncio.gather(workspace_kind(client), asking)
    versions = {str(item.get("version")) for item in (answer or {}).get("versions") or ()}
    claims = [replace(NODE_CLAIM, version=version) for version in ("v1", "v1beta1") if version in versions][
        :1
    ]
    if api.MACHINE.version in versions:
        claims.append(api.MACHINE)
    return kind, claims or [NODE_CLAIM]


async def _groups(client: Client) -> dict[str, Object] | None:
    """The API groups by name, in one answer; None where the server does not say and is asked for each."""
    try:
        answer = await client.send(Request("GET", "/apis"))
    except ApiError:
        return None
    found = answer.get("groups") if isinstance(answer, dict) else None
    return {str(dig(one, "name")): one for one in found} if isinstance(found, list) else None


async def _optional(client: Client, asked: Request, *, insists: bool) -> Any:
    try:
        return await client.send(asked)
    except ApiError as error:
        if insists and error.status not in (404, *REFUSED):
            raise
        return None
