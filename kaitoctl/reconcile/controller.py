"""Changes become keys, keys are reconciled, failures become retries.

The reconciler itself does no I/O: it is a generator that yields requests and is sent answers, which
`generator_driver` carries out.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Generator, Iterable
from functools import partial
from math import inf
from typing import Literal

from msgspec import Struct

from kaitoctl.advice import text
from kaitoctl.errors import ApiError, KaitoctlError, Unreachable
from kaitoctl.kube.objects import Kind, Object, ObjectKey, controller_of, key_of
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.derived import Derived
from kaitoctl.reconcile.generator_driver import Sender, drive
from kaitoctl.reconcile.informer import Informer
from kaitoctl.reconcile.own_writes import OwnWrites
from kaitoctl.reconcile.store import Change
from kaitoctl.reconcile.workqueue import WorkQueue

logger = logging.getLogger(__name__)

_SHORTEST_REQUEUE_S = 0.01

# A server that is away is no fault of the key's: once it is back, nobody waits for minutes. As client-go's
# reflector, `tools/cache/reflector.go`.
_LONGEST_OUTAGE_DELAY_S = 30.0
_OVERLOADED = frozenset({429, 502, 503, 504})

# What a server refuses may be granted a moment later, and nothing tells: a quota is raised, a webhook back.
# For so long a key is tried again at least this often; after that so rarely that two requests a reconcile
# make one in thirty seconds. All keys that are refused together share a budget of retries a second.
_REFUSED_LATELY_S = 300.0
_LONGEST_REFUSAL_DELAY_S = 15.0
_LONGEST_OLD_REFUSAL_DELAY_S = 60.0
_RETRIES_PER_S = 10.0

Keys = Callable[[Object], Iterable[ObjectKey]]


class Outcome(Struct, frozen=True):
    """How a reconcile ended that did not fail.

    Args:
        requeue_after_s: look again after this many seconds, even if nothing changes; None for not.
    """

    requeue_after_s: float | None = None


Reconcile = Callable[[ObjectKey], Generator[Request, Object, Outcome]]
"""One reconcile of one key: yields requests, is sent their answers; errors are thrown in as ApiError."""


Result = Literal["done", "requeued", "conflict", "error"]


class ReconcileResult(Struct, frozen=True):
    """How one reconcile went.

    Args:
        key: over which key.
        result: `done`; `requeued` as the reconciler asked; `conflict`: somebody wrote first, the next
            reconcile settles it; `error`: it failed and will be repeated.
        waited_s: seconds between being due and being begun.
        worked_s: seconds from begin to end.
    """

    key: ObjectKey
    result: Result
    waited_s: float
    worked_s: float


class Controller:
    """Calls `reconcile` for every key that something happened to, until nothing is left to do.

    Level-based: a reconcile is given the key, never what happened. Different keys are reconciled
    concurrently, one key never. A reconcile that fails is logged once and repeated with the key's own
    back-off, without holding up the others.

    Args:
        name: for the logs.
        client: carries out the reconciler's requests.
        reconcile: one reconcile of one key.
        workers: how many keys are worked on at a time.
        resync_s: look at every key this often even if nothing changed; None for never.
        allowed: asked before every request, False ends the reconcile: `lambda: election.is_leader`.
        observer: called after every reconcile; must neither block nor raise.
        ignore_own_writes: a reconcile leaves nothing for the next that only its own writes would call for.
            They are shown in the stores at once then, and do not enqueue the same key again, whether the
            watch shows them before they are answered or after.
    """

    def __init__(
        self,
        name: str,
        client: Sender,
        reconcile: Reconcile,
        *,
        workers: int = 4,
        resync_s: float | None = None,
        allowed: Callable[[], bool] | None = None,
        observer: Callable[[ReconcileResult], None] | None = None,
        ignore_own_writes: bool = False,
    ) -> None:
        self.name = name
        self._client = client
        self._reconcile = reconcile
        self._workers = workers
        self._resync_s = resync_s
        self._allowed = allowed
        self._observer = observer
        self._own_writes = OwnWrites() if ignore_own_writes else None
        self._sources: list[tuple[Informer | Derived, Keys]] = []
        self._informers: dict[tuple[str, str], list[Informer | Derived]] = {}
        self._queue: WorkQueue[ObjectKey] = WorkQueue()
        self._wake = asyncio.Event()
        self._listening = False

    def watches(self, informer: Informer | Derived, keys: Keys) -> None:
        """Let each change of the informer's objects enqueue keys; call it before `run`.

        Args:
            informer: run by the caller, perhaps shared.
            keys: which keys an object concerns; asked about the old and the new one.
        """
        self._sources.append((informer, keys))
        same_kind = self._informers.setdefault((informer.kind.api_version, informer.kind.kind), [])
        if informer not in same_kind:
            same_kind.append(informer)

    @property
    def waiting(self) -> int:
        """How many keys wait, those included that are not due yet."""
        return len(self._queue)

    def enqueue(self, key: ObjectKey) -> None:
        """Enqueue one key: something changed that no informer sees."""
        self._add(key, asyncio.get_running_loop().time())

    def enqueue_all(self) -> None:
        """Enqueue every key: something changed that concerns them all."""
        if self._listening:
            self._add_all(within_s=0.0)

    async def run(self) -> None:
        """Work until cancelled; starts when every informer is synced, and does not run the informers.

        It may be run again after it was cancelled (leadership lost and won back): every key is then
        looked at again.
        """
        await asyncio.gather(*(informer.wait_synced() for informer, _ in self._sources))
        if not self._listening:
            self._listening = True
            for informer, keys in self._sources:
                informer.subscribe(self._listener(informer.kind, keys))
        else:
            self._add_all(within_s=0.0)
        slots = asyncio.Semaphore(self._workers)
        async with asyncio.TaskGroup() as tasks:
            if self._resync_s is not None:
                tasks.create_task(self._resync(self._resync_s))
            while True:
                await slots.acquire()
                key, waited_s = await self._next()
                working = tasks.create_task(self._reconcile_key(key, waited_s), name=f"{self.name} {key}")
                # Not a `finally` in the task: a task that is cancelled before its first step runs none of it.
                working.add_done_callback(partial(self._end, key, slots))

    def _listener(self, kind: Kind, keys: Keys) -> Callable[[Change], None]:
        def listen(change: Change) -> None:
            now, own = asyncio.get_running_loop().time(), self._own_writes
            concerned = dict.fromkeys(self._keys(keys, change.old) if change.old is not None else ())
            if change.new is not None:
                concerned.update(dict.fromkeys(self._keys(keys, change.new)))
            for key in concerned:
                if own is None or not own.accounts_for(key, kind, change, now):
                    self._add(key, now)

        return listen

    def _keys(self, keys: Keys, obj: Object) -> Iterable[ObjectKey]:
        """The keys that an object concerns; none, and a log line, when the mapper raises."""
        try:
            return list(keys(obj))
        except Exception:
            logger.exception(
                "%s: mapping %s to keys failed", self.name, key_of(obj), extra={"controller": self.name}
            )
            return ()

    def _add(self, key: ObjectKey, at: float) -> None:
        self._queue.add(key, at)
        self._wake.set()

    def _add_all(self, *, within_s: float) -> None:
        """Add every key there is, at random moments of the next `within_s` seconds."""
        now = asyncio.get_running_loop().time()
        for informer, keys in self._sources:
            for obj in informer.store.values():
                for key in self._keys(keys, obj):
                    self._add(key, now + within_s * random.random())

    async def _resync(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            self._add_all(within_s=every_s / 10)

    async def _next(self) -> tuple[ObjectKey, float]:
        """The next key that is due and for how many seconds it has been; sleeps until there is one."""
        clock = asyncio.get_running_loop().time
        while True:
            self._wake.clear()
            due, now = self._queue.next_due(), clock()
            key = self._queue.take(now)
            if key is not None:
                return key, now - (now if due is None else due)
            try:
                async with asyncio.timeout_at(self._queue.next_due()):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _reconcile_key(self, key: ObjectKey, waited_s: float) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        done = ReconcileResult(key, await self._try(key), waited_s, clock() - began)
        fields = {"controller": self.name, "key": str(key), "result": done.result}
        logger.debug("%s %s: %s in %.3g s", self.name, key, done.result, done.worked_s, extra=fields)
        if self._observer is not None:
            self._observer(done)

    async def _drive(self, key: ObjectKey) -> Outcome:
        """Carry one reconcile out; writes that do not enqueue its key are shown to the stores."""
        if (own := self._own_writes) is None:
            return await drive(self._client, self._reconcile(key), allowed=self._allowed)

        def wrote(request: Request, answer: Object) -> None:
            kind = answer.get("apiVersion", ""), answer.get("kind", "")
            own.observe(key, request, answer, [one.observe_write for one in self._informers.get(kind, ())])

        own.begin(key)
        return await drive(self._client, self._reconcile(key), allowed=self._allowed, wrote=wrote)

    async def _try(self, key: ObjectKey) -> Result:
        """One reconcile, and what follows from how it ended: nothing, a retry, another look later."""
        clock = asyncio.get_running_loop().time
        fields = {"controller": self.name, "key": str(key)}
        try:
            requeue_after_s = (await self._drive(key)).requeue_after_s
        except KaitoctlError as error:
            asked_s = (error.retry_after_s or 0.0) if isinstance(error, ApiError) else 0.0
            at_most_s = self._longest_delay_s(key, error)
            delay_s = self._queue.retry(key, clock(), at_least_s=asked_s, at_most_s=at_most_s)
            # A conflict (somebody wrote, or deleted, first) is everyday life: the next reconcile settles it.
            is_conflict = isinstance(error, ApiError) and error.reason in ("Conflict", "NotFound")
            level = logging.INFO if is_conflict else logging.WARNING
            fields["reason"] = (error.reason if isinstance(error, ApiError) else "") or type(error).__name__
            if error.hint and not is_conflict:
                fields["hint"] = text(error.hint)
            logger.log(level, "%s %s: %s; again in %.3g s", self.name, key, error, delay_s, extra=fields)
            return "conflict" if is_conflict else "error"
        except Exception:
            delay_s = self._queue.retry(key, clock())
            logger.exception("%s %s: failed; again in %.3g s", self.name, key, delay_s, extra=fields)
            return "error"
        self._queue.forget(key)
        if requeue_after_s is None:
            return "done"
        self._queue.add(key, clock() + max(requeue_after_s, _SHORTEST_REQUEUE_S))
        return "requeued"

    def _longest_delay_s(self, key: ObjectKey, error: KaitoctlError) -> float:
        """How long a failing key waits at most for its next try."""
        if isinstance(error, Unreachable) or (isinstance(error, ApiError) and error.status in _OVERLOADED):
            return _LONGEST_OUTAGE_DELAY_S
        if not isinstance(error, ApiError):
            return inf
        fails_for_s = self._queue.fails_for_s(key, asyncio.get_running_loop().time())
        is_new = fails_for_s < _REFUSED_LATELY_S
        longest_s = _LONGEST_REFUSAL_DELAY_S if is_new else _LONGEST_OLD_REFUSAL_DELAY_S
        return max(longest_s, self._queue.failing / _RETRIES_PER_S)

    def _end(self, key: ObjectKey, slots: asyncio.Semaphore, _: object) -> None:
        if self._own_writes is not None and (at := self._own_writes.end(key)) is not None:
            self._queue.add(key, at)
        self._queue.done(key)
        self._wake.set()
        slots.release()


def own_key(obj: Object) -> Iterable[ObjectKey]:
    """For `Controller.watches`: an object concerns its own key."""
    return (key_of(obj),)


def owner_keys(kind: Kind) -> Callable[[Object], Iterable[ObjectKey]]:
    """For `Controller.watches`: an object concerns its controller, if that is of this kind (any version)."""

    def keys(obj: Object) -> Iterable[ObjectKey]:
        reference = controller_of(obj)
        if reference is None or reference.get("kind") != kind.kind:
            return ()
        group, _, _ = str(reference.get("apiVersion") or "").rpartition("/")
        if group != kind.group:
            return ()
        return (ObjectKey(key_of(obj).namespace if kind.namespaced else "", reference["name"]),)

    return keys


async def run_all(*things: Informer | Controller) -> None:
    """Run informers and controllers together until cancelled; if one fails, all end.

    Raises:
        ExceptionGroup: what the failed one raised.
    """
    async with asyncio.TaskGroup() as tasks:
        for thing in things:
            tasks.create_task(thing.run())
