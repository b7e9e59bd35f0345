"""Lists, then watches, for ever, and keeps a store of what there is.

`kube.client` gives one list and one stream; an `Informer` makes a lasting, truthful picture of them:
it resumes after breaks, lists again when the past is forgotten (410), notices silent connections, and
waits after *every* end of a stream; `watch_state` knows what comes next. `controller` turns the changes into
keys; `follow` is the same for somebody who waits for one object.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

from kaitoctl.errors import ApiError, KaitoctlError, Unreachable
from kaitoctl.kube.objects import (
    Kind,
    Object,
    ObjectKey,
    controller_of,
    dig,
    key_of,
    labels_of,
    resource_version_of,
)
from kaitoctl.reconcile.store import Change, Store
from kaitoctl.reconcile.watch_state import MOST_FAILED_WATCHES, State, WatchState, is_before

if TYPE_CHECKING:
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.response_bodies import WatchEvent

logger = logging.getLogger(__name__)

# API servers send a bookmark about every 60 s: https://kubernetes.io/docs/reference/using-api/api-concepts/
_LONGEST_SILENCE_S = 75.0
_GRAIN_S = 1.0
_REFUSED = frozenset({400, 401, 403})


class Informer:
    """A lasting picture of all objects of a kind (or of those selected).

    Run it once, next to whoever uses its `store`; it may be shared by any number of controllers.

    Args:
        client: of the cluster.
        kind: what to watch.
        namespace: empty for all namespaces.
        label_selector: as in `Client.list`.
        field_selector: as in `Client.list`.
        fatal_statuses: HTTP statuses that end `run` with their ApiError; every other failure is tried again.
        optional: without the right to list the kind (403) it counts as not served; nobody waits for it.
        transform: what to store of an object, None for nothing; the whole object when not given. A change
            that touches nothing of it is not reported.
        packed: as in `Store`.
    """

    def __init__(
        self,
        client: Client,
        kind: Kind,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        fatal_statuses: Collection[int] = (),
        optional: bool = False,
        transform: Callable[[Object], Object | None] | None = None,
        packed: bool = False,
    ) -> None:
        self.kind = kind
        self.store = Store(packed=packed)
        self._client = client
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._fatal_statuses = fatal_statuses
        self._optional = optional
        self._transform = transform
        self._on_served: list[Callable[[], None]] = []
        self._listeners: list[Callable[[Change], None]] = []
        self._has_synced = asyncio.Event()
        self._state = WatchState()
        self._versions: dict[ObjectKey, str] = {}  # of what is stored: a look at these unpacks nothing
        self._written: set[ObjectKey] = set()  # answers that came while only a list can tell

    @property
    def synced(self) -> bool:
        """True once the store shows the cluster: after the first list, or when there is nothing to list."""
        return self._has_synced.is_set()

    @property
    def is_served(self) -> bool | None:
        """Whether the server knows this kind at all (its CRD exists); None until it has been asked."""
        return self._state.is_served

    async def wait_synced(self) -> None:
        """Return once `synced`; an optional CRD that is not served blocks nobody."""
        await self._has_synced.wait()

    def subscribe(self, listener: Callable[[Change], None]) -> None:
        """Call `listener` with every change from now on, and first with what the store holds, as additions.

        Guarantee: the store already shows a change when its listeners are called.
        Assumes: the listener neither blocks nor raises; what it raises is logged.
        """
        self._listeners.append(listener)
        for key, obj in list(self.store.items()):
            self._notify(listener, Change(key, None, obj))

    def when_served(self, listener: Callable[[], None]) -> None:
        """Call `listener` when a kind that was not served begins to be: no object's change shows that."""
        self._on_served.append(listener)

    def observe_write(self, obj: Object) -> None:
        """Show what a write was answered with at once: the watch shows it later.

        Guarantee: what the watch or a list has shown already is not undone, and what is of another kind,
        namespace or selection is left out.
        """
        version = str(dig(obj, "metadata", "resourceVersion") or "")
        if not is_before(self._state.last_version, version) or not self._selects(obj):
            return
        key = self._key(obj)
        if key is not None and is_before(self._versions.get(key, "0"), version):
            self._set(key, self._apply_transform(obj))
            if not self._state.version:  # the list that is under way may be of a moment before
                self._written.add(key)

    def _selects(self, obj: Object) -> bool:
        """Whether the watch would show the object; False also where only the server can tell."""
        kind, namespace = self.kind, dig(obj, "metadata", "namespace")
        return (
            (obj.get("apiVersion"), obj.get("kind")) == (kind.api_version, kind.kind)
            and self._namespace in ("", namespace)
            and not self._field_selector
            and (not self._label_selector or self._label_selector in labels_of(obj))  # a key alone: has it
        )

    async def run(self, *, once: bool = False) -> None:
        """Keep the store up to date until cancelled; `once` ends when it is `synced`, and watches nothing.

        Guarantee: there is a delay after every end of a stream, a clean one included; a watch that
        breaks goes on where it stopped, and only a server that has forgotten that place is listed again,
        and every server after two hours.

        Raises:
            ApiError: only with a status from `fatal_statuses`; when `once`, with any.
            Unreachable: only when `once`: no answer, or one that makes no sense.
        """
        clock = asyncio.get_running_loop().time
        lists_left = MOST_FAILED_WATCHES  # of which the server may forget the beginning before the end
        while True:
            asked_wait_s = 0.0
            try:
                if self._state.begin(clock()) is State.LISTING:
                    await self._list()
                if once:
                    return
                self._state.watch(clock())
                await self._watch()
            except ApiError as error:
                if error.status in self._fatal_statuses:
                    raise
                lists_left -= 1
                if once and not self._is_no_kind(error) and (error.status != 410 or not lists_left):
                    raise
                asked_wait_s = error.retry_after_s or 0.0
                self._on_api_error(error)
            except KaitoctlError as error:
                if once:
                    raise
                logger.warning("watching %s: %s", self.kind.resource, error, extra=self._fields())
            except Exception as error:
                if once:
                    raise Unreachable(
                        f"listing {self.kind.resource}: no API server answers like this "
                        f"({type(error).__name__})"
                    ) from None
                # No API server answers like this: nothing of it may be believed, nor may it end the watch.
                logger.exception("watching %s: unexpected answer", self.kind.resource, extra=self._fields())
                self._state.relist()
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise asyncio.CancelledError  # an error on the way out took its place
            if once and self.synced:
                return
            await asyncio.sleep(self._state.delay_s(clock(), asked_wait_s))

    async def _list(self) -> None:
        # Nothing is believed before the last page is there; until then it waits in its packed form.
        now: dict[ObjectKey, tuple[str, Any]] = {}
        version = ""
        async for page in self._client.pages(
            self.kind,
            self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
        ):
            version = page.resource_version
            for obj in page.items:
                if (key := self._key(obj)) is not None and (kept := self._apply_transform(obj)) is not None:
                    now[key] = resource_version_of(obj), self.store.pack(kept)
            page.items.clear()  # the next one needs the room
        was_missing = self._state.listed(version, asyncio.get_running_loop().time())
        newer = {key for key in self._written if is_before(version, self._versions.get(key, ""))}
        self._written.clear()
        for key in [key for key in self.store if key not in now and key not in newer]:
            self._set(key, None)
        for key, (its_version, packed) in now.items():
            if key not in newer and (not its_version or its_version != self._versions.get(key)):
                self._set(key, self.store.unpack(packed))
        self._has_synced.set()
        for listener in self._on_served if was_missing else ():
            listener()

    async def _watch(self) -> None:
        clock = asyncio.get_running_loop().time
        events = self._client.watch(
            self.kind,
            self._namespace,
            resource_version=self._state.version,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
        )
        try:
            async with (
                aclosing(cast("AsyncGenerator[WatchEvent, None]", events)) as stream,
                asyncio.timeout(_LONGEST_SILENCE_S) as patience,
            ):
                heard_at = clock()
                async for event in stream:
                    # A timer for each event would cost as much as the event.
                    if (now := clock()) - heard_at > _GRAIN_S:
                        patience.reschedule(now + _LONGEST_SILENCE_S)
                        heard_at = now
                    self._state.event()
                    self._apply_event(event)
            logger.debug("watching %s: the stream ended", self.kind.resource, extra=self._fields())
        except TimeoutError:
            logger.info("watching %s: silent, reconnecting", self.kind.resource, extra=self._fields())

    def _apply_event(self, event: WatchEvent) -> None:
        obj = event.object
        version = resource_version_of(obj)
        if event.type != "BOOKMARK":  # a bookmark has a place in the stream and no identity
            if (key := self._key(obj)) is None:
                return
            known = self._versions.get(key)
            if known is None or not is_before(version, known):  # a late event must not bring back the past
                if event.type == "DELETED":
                    self._set(key, None)
                elif not version or version != known:
                    self._set(key, self._apply_transform(obj))
        self._state.advance(version)

    def _is_no_kind(self, error: ApiError) -> bool:
        """Whether an error answer says that there is no such kind, for us."""
        return error.is_unknown_resource or (self._optional and error.status == 403)

    def _on_api_error(self, error: ApiError) -> None:
        """What an error answer says about our place in the stream, and about the kind itself."""
        if not self._is_no_kind(error):
            logger.warning("watching %s: %s", self.kind.resource, error, extra=self._fields())
            self._state.refused(error.status)
            return
        if self._state.not_served():
            for key in list(self.store):
                self._set(key, None)
        else:
            logger.info("%s is not served; asking again", self.kind.resource, extra=self._fields())
        self._has_synced.set()

    def _apply_transform(self, obj: Object) -> Object | None:
        return obj if self._transform is None else self._transform(obj)

    def _key(self, obj: Object) -> ObjectKey | None:
        """The object's key, or None (and a log line) for something that is not an object."""
        try:
            key = key_of(obj)
            controller_of(obj)
            resource_version_of(obj)
        except (KeyError, TypeError, AttributeError, ValueError):
            logger.warning(
                "watching %s: left out a malformed object, a %s of %s",  # not its values: they may be secret
                self.kind.resource,
                type(obj).__name__,
                sorted(obj) if isinstance(obj, dict) else "no fields",
                extra=self._fields(),
            )
            return None
        return key

    def _set(self, key: ObjectKey, new: Object | None) -> None:
        if new is None:
            self._versions.pop(key, None)
        elif (version := resource_version_of(new)) and version == self._versions.get(key):
            return
        else:
            self._versions[key] = version
        old = self.store._replace(key, new)
        if old is new or (self._transform and old and new and without_version(old) == without_version(new)):
            return
        for listener in self._listeners:
            self._notify(listener, Change(key, old, new))

    def _notify(self, listener: Callable[[Change], None], change: Change) -> None:
        notify(listener, change, self.kind, self._namespace)

    def _fields(self) -> dict[str, object]:
        return {"resource": self.kind.resource, "namespace": self._namespace}


async def follow(client: Client, kind: Kind, namespace: str, name: str) -> AsyncIterator[Object | None]:
    """Each state of one object, the present one first; None while there is no such object.

    Never ends by itself: leave the loop, or put a timeout around it.

    Raises:
        ApiError: the server refuses to show it (400, 401, 403). Whatever may pass is waited out.
    """
    informer = Informer(
        client, kind, namespace=namespace, field_selector=f"metadata.name={name}", fatal_statuses=_REFUSED
    )
    states: asyncio.Queue[Object | None] = asyncio.Queue()
    informer.subscribe(lambda change: states.put_nowait(change.new))
    running = asyncio.create_task(informer.run())
    running.add_done_callback(lambda _: states.put_nowait(None))  # wakes the loop below
    synced = asyncio.create_task(informer.wait_synced())
    try:
        await asyncio.wait({running, synced}, return_when=asyncio.FIRST_COMPLETED)
        if states.empty():
            yield None
        while True:
            state = await states.get()
            if running.done():
                running.result()
            yield state
    finally:
        running.cancel()
        synced.cancel()
        await asyncio.gather(running, synced, return_exceptions=True)


def without_version(obj: Object) -> Object:
    """The object as it would be if nothing but its resourceVersion had changed."""
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": ""}}


def notify(listener: Callable[[Change], None], change: Change, kind: Kind, namespace: str = "") -> None:
    """Call a listener, which must not raise; what it raises is logged."""
    try:
        listener(change)
    except Exception:
        fields = {"resource": kind.resource, "namespace": namespace, "key": str(change.key)}
        logger.exception("a listener failed", extra=fields)
