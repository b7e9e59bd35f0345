"""Lists, then watches, for ever; and the read-only store that this keeps.

`kube.client` gives one list and one stream; an `Informer` makes a lasting, truthful picture of them:
it resumes after breaks, lists again when the past is forgotten (410), notices silent connections, and
waits after *every* end of a stream. `controller` turns its changes into keys; `follow` is the same
machine for somebody who waits for one object.
"""

from __future__ import annotations

import asyncio
import logging
import marshal
import random
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Collection,
    Hashable,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import aclosing
from dataclasses import dataclass
from functools import cache
from math import inf
from typing import TYPE_CHECKING, Any, cast

from kaitoctl.errors import ApiError, KaitoctlError, Unreachable
from kaitoctl.kube.objects import Kind, Object, ObjectKey, controller_of, dig, key_of, labels_of
from kaitoctl.reconcile.backoff import Backoff

if TYPE_CHECKING:
    from kaitoctl.kube.client import Client, WatchEvent

logger = logging.getLogger(__name__)

# API servers send a bookmark about every 60 s: https://kubernetes.io/docs/reference/using-api/api-concepts/
_LONGEST_SILENCE_S = 75.0
_GRAIN_S = 1.0
_LONG_LIVED_S = 30.0
# News can get lost in a server's own cache, and no watch would ever tell: a list is the remedy, now and then.
_LIST_AGAIN_S = 2 * 3600.0
_RECONNECT_WITHIN_S = 0.2
_FRUITLESS_TRIES = 3
_NOT_ABOUT_OUR_POSITION = frozenset({401, 403, 429, 503})
_REFUSED = frozenset({400, 401, 403})


@dataclass(frozen=True, slots=True)
class Change:
    """One object became another.

    Args:
        key: which object.
        old: what the store held before, None for an addition.
        new: what it holds now, None for a deletion. `old` and `new` may be two incarnations of one
            name, told apart by their uids, when the deletion in between was missed.
    """

    key: ObjectKey
    old: Object | None
    new: Object | None


Index = Callable[[Object], Iterable[Hashable]]
"""The values under which an object is to be found; asked of each version of an object once."""


class Store(Mapping[ObjectKey, Object]):
    """What an informer knows, by key and by any other value.

    Args:
        packed: keep the objects as bytes and make dicts of them when they are asked for: a sixth of the
            memory, and microseconds for each look. Not for what is looked at all the time.

    Assumes: nobody changes the objects it hands out; unless packed they are shared, and the next comparison
    would be made against the changed one. Copy before writing.
    """

    def __init__(self, *, packed: bool = False) -> None:
        self._objects: dict[ObjectKey, Any] = {}
        self._indexes: dict[Index, dict[Hashable, dict[ObjectKey, None]]] = {}
        self.pack: Callable[[Object], Any] = marshal.dumps if packed else _as_it_is
        self.unpack: Callable[[Any], Object] = marshal.loads if packed else _as_it_is

    def __getitem__(self, key: ObjectKey) -> Object:
        return self.unpack(self._objects[key])

    def __contains__(self, key: object) -> bool:
        return key in self._objects

    def __iter__(self) -> Iterator[ObjectKey]:
        return iter(self._objects)

    def __len__(self) -> int:
        return len(self._objects)

    def by(self, index: Index, value: Hashable) -> list[Object]:
        """The objects for which `index` gives this value; costs only what it returns.

        The first question by an index looks at every object once, from then on it is kept up to date.

        Args:
            index: the same function each time.
            value: one of those that it gives.
        """
        return [self[key] for key in self._keys(index, value)]

    def by_owner(self, uid: str) -> list[Object]:
        """The objects whose controller has this uid; costs only what it returns."""
        return self.by(_owner_uids, uid)

    def labelled(self, labels: Mapping[str, str]) -> Iterator[Object]:
        """The objects that carry all these labels, of which there must be one.

        Costs as much as there are objects with the rarest, and only as long as they are asked for.
        """
        rarest = min((self._keys(_values_of_label(key), value) for key, value in labels.items()), key=len)
        found = (self[key] for key in rarest)
        return (obj for obj in found if labels.items() <= labels_of(obj).items())

    def _keys(self, index: Index, value: Hashable) -> Collection[ObjectKey]:
        found = self._indexes.get(index)
        if found is None:
            found = self._indexes[index] = {}
            for key, obj in self.items():
                for one in _values(index, obj):
                    found.setdefault(one, {})[key] = None
        return found.get(value, ())

    def _replace(self, key: ObjectKey, new: Object | None) -> Object | None:
        """Make `new` the object of `key`, None removes it; returns what was there."""
        old = self.get(key)
        for index, found in self._indexes.items():
            before, after = _values(index, old), _values(index, new)
            for value in before - after:
                found[value].pop(key)
                if not found[value]:
                    del found[value]
            for value in after - before:
                found.setdefault(value, {})[key] = None
        if new is not None:
            self._objects[key] = self.pack(new)
        elif old is not None:
            del self._objects[key]
        return old


class Informer:
    """A lasting picture of all objects of a kind (or of those selected).

    Run it once, next to whoever uses its `store`; it may be shared by any number of controllers.

    Args:
        client: the door to the cluster.
        kind: what to watch.
        namespace: empty for all namespaces.
        label_selector: as in `Client.list`.
        field_selector: as in `Client.list`.
        gives_up_on: HTTP statuses that end `run` with their ApiError; every other failure is tried again.
        optional: without the right to list the kind (403) it counts as not served; nobody waits for it.
        keep: what to store of an object, None for nothing; the whole object when not given. A change that
            touches nothing of it is no news to anybody.
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
        gives_up_on: Collection[int] = (),
        optional: bool = False,
        keep: Callable[[Object], Object | None] | None = None,
        packed: bool = False,
    ) -> None:
        self.kind = kind
        self.store = Store(packed=packed)
        self._client = client
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._gives_up_on = gives_up_on
        self._optional = optional
        self._keep = keep
        self._on_served: list[Callable[[], None]] = []
        self._listeners: list[Callable[[Change], None]] = []
        self._first_picture = asyncio.Event()
        self._is_served: bool | None = None
        self._versions: dict[ObjectKey, str] = {}  # of what is stored: a look at these unpacks nothing
        self._version = ""  # where the next watch goes on; empty when only a list can tell
        self._heard = "0"  # where the last watch ended
        self._learned: set[ObjectKey] = set()  # from answers, since there is no such place
        self._fruitless = 0

    @property
    def synced(self) -> bool:
        """True once the store shows the cluster: after the first list, or when there is nothing to list."""
        return self._first_picture.is_set()

    @property
    def is_served(self) -> bool | None:
        """Whether the server knows this kind at all (its CRD exists); None until it has been asked."""
        return self._is_served

    async def wait_synced(self) -> None:
        """Return once `synced`; an optional CRD that is not served blocks nobody."""
        await self._first_picture.wait()

    def subscribe(self, listener: Callable[[Change], None]) -> None:
        """Call `listener` with every change from now on, and first with what the store holds, as additions.

        Guarantee: the store already shows a change when its listeners hear of it.
        Assumes: the listener neither blocks nor raises; what it raises is logged.
        """
        self._listeners.append(listener)
        for key, obj in list(self.store.items()):
            self._tell(listener, Change(key, None, obj))

    def when_served(self, listener: Callable[[], None]) -> None:
        """Call `listener` when a kind that was not served begins to be: no object's change tells that."""
        self._on_served.append(listener)

    def learn(self, obj: Object) -> None:
        """Take an object that a write was answered with for the news that it is: the watch tells it later.

        Guarantee: what the watch or a list has told already is not undone, and what is of another kind,
        namespace or selection is left out.
        """
        version = str(dig(obj, "metadata", "resourceVersion") or "")
        if not _is_before(self._version or self._heard, version) or not self._selects(obj):
            return
        key = self._key(obj)
        if key is not None and _is_before(self._versions.get(key, "0"), version):
            self._set(key, self._kept(obj))
            if not self._version:  # the list that is under way may be of a moment before
                self._learned.add(key)

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
            ApiError: only with a status from `gives_up_on`; when `once`, with any.
            Unreachable: only when `once`: no answer, or one that makes no sense.
        """
        clock = asyncio.get_running_loop().time
        lists_left = _FRUITLESS_TRIES  # of which the server may forget the beginning before the end
        backoff, listed_at = Backoff(), -inf
        while True:
            watching_since = inf
            asked_wait_s = 0.0
            try:
                if clock() - listed_at >= _LIST_AGAIN_S:
                    self._lose_place()
                if not self._version:
                    await self._list()
                    listed_at = clock()
                if once:
                    return
                watching_since = clock()
                await self._watch()
            except ApiError as error:
                if error.status in self._gives_up_on:
                    raise
                lists_left -= 1
                if once and not self._is_no_kind(error) and (error.status != 410 or not lists_left):
                    raise
                asked_wait_s = error.retry_after_s or 0.0
                self._judge(error)
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
                self._lose_place()
            if once and self.synced:
                return
            if clock() - watching_since >= _LONG_LIVED_S:
                backoff.reset()
                delay_s = random.random() * _RECONNECT_WITHIN_S
            else:
                delay_s = backoff.delay(clock())
            await asyncio.sleep(max(delay_s, asked_wait_s))

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
                if (key := self._key(obj)) is not None and (kept := self._kept(obj)) is not None:
                    now[key] = _version_of(obj), self.store.pack(kept)
        was_missing, self._is_served = self._is_served is False, True
        newer = {key for key in self._learned if _is_before(version, self._versions.get(key, ""))}
        self._learned.clear()
        for key in [key for key in self.store if key not in now and key not in newer]:
            self._set(key, None)
        for key, (its_version, packed) in now.items():
            if key not in newer and (not its_version or its_version != self._versions.get(key)):
                self._set(key, self.store.unpack(packed))
        self._version = version
        self._first_picture.set()
        for listener in self._on_served if was_missing else ():
            listener()

    async def _watch(self) -> None:
        clock = asyncio.get_running_loop().time
        events = self._client.watch(
            self.kind,
            self._namespace,
            resource_version=self._version,
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
                    self._fruitless = 0
                    self._learn(event)
            logger.debug("watching %s: the stream ended", self.kind.resource, extra=self._fields())
        except TimeoutError:
            logger.info("watching %s: silent, connecting anew", self.kind.resource, extra=self._fields())

    def _learn(self, event: WatchEvent) -> None:
        obj = event.object
        version = _version_of(obj)
        if event.type != "BOOKMARK":  # a bookmark has a place in the stream and no identity
            if (key := self._key(obj)) is None:
                return
            known = self._versions.get(key)
            if known is None or not _is_before(version, known):  # late news must not bring back the past
                if event.type == "DELETED":
                    self._set(key, None)
                elif not version or version != known:
                    self._set(key, self._kept(obj))
        if version and not _is_before(version, self._version):
            self._version = version

    def _lose_place(self) -> None:
        """Only a list can tell where to go on."""
        self._heard, self._version = self._version or self._heard, ""

    def _is_no_kind(self, error: ApiError) -> bool:
        """Whether an error answer says that there is no such kind, for us."""
        return error.is_unknown_resource or (self._optional and error.status == 403)

    def _judge(self, error: ApiError) -> None:
        """What an error answer says about our place in the stream, and about the kind itself."""
        if self._is_no_kind(error):
            if self._is_served is False:  # not believed the first time: a proxy may have answered
                for key in list(self.store):
                    self._set(key, None)
            else:
                logger.info("%s is not served; asking again", self.kind.resource, extra=self._fields())
            self._is_served = False
            self._lose_place()
            self._first_picture.set()
            return
        logger.warning("watching %s: %s", self.kind.resource, error, extra=self._fields())
        if error.status not in _NOT_ABOUT_OUR_POSITION:
            self._fruitless += 1
        if error.status == 410 or self._fruitless >= _FRUITLESS_TRIES:
            self._lose_place()
            self._fruitless = 0

    def _kept(self, obj: Object) -> Object | None:
        return obj if self._keep is None else self._keep(obj)

    def _key(self, obj: Object) -> ObjectKey | None:
        """The object's key, or None (and a log line) for something that is not an object."""
        try:
            key = key_of(obj)
            controller_of(obj)
            _version_of(obj)
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
        elif (version := _version_of(new)) and version == self._versions.get(key):
            return
        else:
            self._versions[key] = version
        old = self.store._replace(key, new)
        if old is new or (self._keep and old and new and _without_version(old) == _without_version(new)):
            return
        for listener in self._listeners:
            self._tell(listener, Change(key, old, new))

    def _tell(self, listener: Callable[[Change], None], change: Change) -> None:
        try:
            listener(change)
        except Exception:
            logger.exception("a listener failed", extra={**self._fields(), "key": str(change.key)})

    def _fields(self) -> dict[str, object]:
        return {"resource": self.kind.resource, "namespace": self._namespace}


async def follow(client: Client, kind: Kind, namespace: str, name: str) -> AsyncIterator[Object | None]:
    """Each state of one object, the present one first; None while there is no such object.

    Never ends by itself: leave the loop, or put a timeout around it.

    Raises:
        ApiError: the server refuses to show it (400, 401, 403). Whatever may pass is waited out.
    """
    informer = Informer(
        client, kind, namespace=namespace, field_selector=f"metadata.name={name}", gives_up_on=_REFUSED
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


def _values(index: Index, obj: Object | None) -> set[Hashable]:
    """What the index says of an object; nothing of one of a shape that no API server sends."""
    try:
        return set(index(obj)) if obj is not None else set()
    except (TypeError, ValueError, AttributeError, LookupError):
        return set()


def _as_it_is(obj: Object) -> Object:
    return obj


def _owner_uids(obj: Object) -> tuple[str, ...]:
    reference = controller_of(obj)
    return (str(reference.get("uid") or ""),) if reference else ()


@cache
def _values_of_label(key: str) -> Index:
    def values(obj: Object) -> tuple[str, ...]:
        labels = labels_of(obj)
        return (labels[key],) if key in labels else ()

    return values


def _version_of(obj: Object) -> str:
    return str(obj["metadata"].get("resourceVersion") or "")


def _without_version(obj: Object) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": ""}}


def _is_before(version: str, other: str) -> bool:
    """Whether one resource version is older; opaque ones never are.

    Source: KEP-5504, resource versions of one resource are comparable as numbers.
    """
    return version.isdigit() and other.isdigit() and int(version) < int(other)
