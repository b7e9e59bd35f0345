"""Follow a Workspace's rollout until it is ready, has failed, or time is up: a line per change on stderr."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kaitoctl.cli import options, output
from kaitoctl.errors import ApiError, NegativeAnswer, TimedOut
from kaitoctl.kaito import api
from kaitoctl.kaito.rollout import Phase, Progress, progress
from kaitoctl.kaito.snapshot import Snapshot
from kaitoctl.kube.objects import DEPLOYMENT, NODE_CLAIM, POD, STATEFUL_SET, Kind, ObjectKey

if TYPE_CHECKING:
    from collections.abc import Callable

    from kaitoctl.kube.client import Client
    from kaitoctl.reconcile.informer import Informer

_NOBODY_CAME_S = 5.0
# Rights that somebody who creates Workspaces need not have: without them the picture has fewer details.
_REFUSED = (401, 403)


@dataclass(slots=True)
class _Views:
    workspace: Informer
    workloads: tuple[Informer, ...]
    pods: Informer
    claims: Informer

    @property
    def all(self) -> tuple[Informer, ...]:
        return (self.workspace, *self.workloads, self.pods, self.claims)

    def snapshot(self, key: ObjectKey) -> Snapshot:
        return Snapshot(
            self.workspace.store.get(key),
            tuple(view.store[key] for view in self.workloads if key in view.store),
            tuple(self.pods.store.values()),
            tuple(self.claims.store.values()),
        )


async def rollout(
    client: Client,
    key: ObjectKey,
    *,
    timeout_s: float,
    has_arrived: Callable[[Snapshot], bool] = lambda seen: True,
) -> Snapshot:
    """Narrate the rollout of the Workspace's present generation; returns what there is once it is ready.

    Args:
        client: the door to the cluster.
        key: the Workspace's.
        timeout_s: how long to follow.
        has_arrived: asked of what says that it is ready: right after a change it may be the old state.

    Raises:
        NegativeAnswer: it failed.
        TimedOut: it is still under way; nothing was undone.
    """
    following = _Following(key, asyncio.get_running_loop().time(), has_arrived)
    try:
        async with asyncio.timeout(timeout_s):
            return await following.until_ready(_views(client, key))
    except TimeoutError:
        raise TimedOut(
            f"Workspace {key} is not ready after {options.elapsed(timeout_s)}; last seen {following.words}",
            hint=f"it goes on in the cluster: kubectl get workspace {key.name} -n {key.namespace} -w",
        ) from None


class _Following:
    """One rollout as it is told: what was seen last, and since when."""

    def __init__(self, key: ObjectKey, started: float, has_arrived: Callable[[Snapshot], bool]) -> None:
        self._key = key
        self._has_arrived = has_arrived
        self._started = started
        self._seen: Progress | None = None

    @property
    def words(self) -> str:
        """Where it stands."""
        if self._seen is None:
            return "nothing: the cluster does not show it"
        return f"{self._seen.phase.words}: {self._seen.detail}".rstrip(": ")

    async def until_ready(self, views: _Views) -> Snapshot:
        changed = asyncio.Event()
        for view in views.all:
            view.subscribe(lambda _: changed.set())
        async with _running(views, changed) as running:
            while True:
                running.insist_on_sight()
                snapshot = views.snapshot(self._key)
                now = progress(snapshot)
                if now.outcome == "ready" and not self._has_arrived(snapshot):
                    now = Progress(Phase.ACCEPTED, "the pods are still those from before")
                if now != self._seen:
                    _narrate(now, options.elapsed(asyncio.get_running_loop().time() - self._started))
                    self._seen = now
                if now.outcome == "ready":
                    return snapshot
                if now.outcome == "failed":
                    raise NegativeAnswer(
                        f"Workspace {self._key}: the rollout failed while {self.words}",
                        hint=f"kubectl describe workspace {self._key.name} -n {self._key.namespace}",
                    )
                await self._next(changed, now)

    async def _next(self, changed: asyncio.Event, now: Progress) -> None:
        """Wait for a change; tell after a while that nobody has taken the Workspace up."""
        tell_at = self._started + _NOBODY_CAME_S
        if now.phase is Phase.SUBMITTED and asyncio.get_running_loop().time() < tell_at:
            try:
                async with asyncio.timeout_at(tell_at):
                    await changed.wait()
            except TimeoutError:
                output.warning(
                    "no controller has taken the Workspace up yet",
                    hint="is KAITO installed? `kaitoctl run-controller` manages Workspaces, too",
                )
        await changed.wait()
        changed.clear()


def _narrate(now: Progress, since: str) -> None:
    link = " " if now.detail.startswith("on ") else ": "
    text = f"{since:>4}  {now.phase.words}" + (link + now.detail if now.detail else "")
    if now.outcome == "ready":
        output.success(text)
    elif now.outcome == "failed":
        output.failure(text)
    else:
        output.step(text)


def _views(client: Client, key: ObjectKey) -> _Views:
    from kaitoctl.reconcile.informer import Informer

    def named(kind: Kind) -> Informer:
        return Informer(
            client,
            kind,
            namespace=key.namespace,
            field_selector=f"metadata.name={key.name}",
            gives_up_on=_REFUSED,
        )

    ours = f"{api.LABEL_WORKSPACE}={key.name}"
    return _Views(
        named(api.WORKSPACE),
        (named(DEPLOYMENT), named(STATEFUL_SET)),
        Informer(client, POD, namespace=key.namespace, label_selector=ours, gives_up_on=_REFUSED),
        Informer(
            client,
            NODE_CLAIM,
            label_selector=f"{ours},{api.LABEL_WORKSPACE_NAMESPACE}={key.namespace}",
            gives_up_on=_REFUSED,
        ),
    )


class _running:  # noqa: N801 - reads as the statement it is
    """The views' informers, running for as long as the block; entered once their first lists are there."""

    def __init__(self, views: _Views, changed: asyncio.Event) -> None:
        self._views = views
        self._changed = changed
        self._tasks: dict[asyncio.Task[None], Informer] = {}

    async def __aenter__(self) -> _running:
        for view in self._views.all:
            task = asyncio.create_task(view.run())
            self._tasks[task] = view
            task.add_done_callback(lambda _: self._changed.set())
            synced = asyncio.create_task(view.wait_synced())
            await asyncio.wait({task, synced}, return_when=asyncio.FIRST_COMPLETED)
            synced.cancel()
        return self

    def insist_on_sight(self) -> None:
        """Go on with less when a detail cannot be watched (any more), but not without the Workspace.

        Raises:
            ApiError: the Workspace itself may not be watched.
        """
        for task, view in list(self._tasks.items()):
            if not task.done():
                continue
            del self._tasks[task]
            error = task.exception()
            if error is not None and (view is self._views.workspace or not isinstance(error, ApiError)):
                raise error
            output.warning(f"{view.kind.plural} cannot be watched, so less is shown: {error}")

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
