"""The read-only store that an informer keeps, and the changes of it."""

from __future__ import annotations

import marshal
import zlib
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Generic, TypeVar, overload

from msgspec import Struct

from kaitoctl.kube.objects import Object, ObjectKey, controller_of, labels_of

_T = TypeVar("_T")
_REMEMBERED = 512


class Change(Struct, frozen=True):
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


class Journal(Generic[_T]):
    """What has changed, one after the other, for whoever keeps something that follows from it.

    It remembers the last changes only: who comes too late works everything out again.
    """

    def __init__(self) -> None:
        self._items: list[_T] = []
        self._forgotten = 0

    @property
    def place(self) -> int:
        """How many changes there have been."""
        return self._forgotten + len(self._items)

    def add(self, item: _T) -> None:
        """Note a change."""
        self._items.append(item)
        if len(self._items) >= 2 * _REMEMBERED:
            del self._items[:_REMEMBERED]
            self._forgotten += _REMEMBERED

    def since(self, place: int) -> list[_T] | None:
        """The changes after a `place`; None when some of them are forgotten."""
        return self._items[place - self._forgotten :] if place >= self._forgotten else None


Index = Callable[[Object], Iterable[Hashable]]
"""The values under which an object is to be matching; asked of each version of an object once."""


class Store(Mapping[ObjectKey, Object]):
    """What an informer knows, by key and by any other value.

    Args:
        packed: keep the objects as bytes and make dicts of them when they are asked for: a thirtieth of the
            memory, and microseconds for each look. Not for what is looked at all the time.

    Assumes: nobody changes the objects it hands out; unless packed they are shared, and the next comparison
    would be made against the changed one. Copy before writing.
    """

    def __init__(self, *, packed: bool = False) -> None:
        self._objects: dict[ObjectKey, Any] = {}
        self._indexes: dict[Index, _Matching] = {}
        self.journal = Journal[ObjectKey]()
        """The keys of the objects that came, changed or went."""
        packing = _Packing() if packed else None
        self.pack: Callable[[Object], Any] = packing.pack if packing else _as_it_is
        self.unpack: Callable[[Any], Object] = packing.unpack if packing else _as_it_is

    def __getitem__(self, key: ObjectKey) -> Object:
        return self.unpack(self._objects[key])

    @overload
    def get(self, key: ObjectKey, /) -> Object | None: ...

    @overload
    def get(self, key: ObjectKey, default: Object | _T, /) -> Object | _T: ...

    def get(self, key: ObjectKey, default: Any = None, /) -> Any:
        """The object of a key; as the mapping's own, without an exception for what is not there."""
        return self[key] if key in self._objects else default

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

    def keys_by(self, index: Index, value: Hashable) -> Collection[ObjectKey]:
        """As `by`, the keys alone: nothing is unpacked. Not to be kept: it follows the store."""
        return self._keys(index, value)

    def by_owner(self, uid: str) -> list[Object]:
        """The objects whose controller has this uid; costs only what it returns."""
        return self.by(_owner_uids, uid)

    def by_labels(self, labels: Mapping[str, str]) -> Iterator[Object]:
        """The objects that carry all these labels, of which there must be one.

        Costs as much as there are objects with the rarest, and only as long as they are asked for.
        """
        matching = (self[key] for key in self.with_rarest(labels))
        return (obj for obj in matching if labels.items() <= labels_of(obj).items())

    def with_rarest(self, labels: Mapping[str, str]) -> Collection[ObjectKey]:
        """The keys of the objects with that one of these labels which fewest have; nothing is unpacked."""
        return min((self._keys(_values_of_label(key), value) for key, value in labels.items()), key=len)

    def _keys(self, index: Index, value: Hashable) -> Collection[ObjectKey]:
        matching = self._indexes.get(index)
        if matching is None:
            matching = self._indexes[index] = {}
            for key, obj in self.items():
                _add(matching, _values(index, obj), key)
        return matching.get(value, ())

    def _replace(self, key: ObjectKey, new: Object | None) -> Object | None:
        """Make `new` the object of `key`, None removes it; returns what was there."""
        old = self.get(key)
        self.journal.add(key)
        for index, matching in self._indexes.items():
            before, after = _values(index, old), _values(index, new)
            for value in before - after:
                _remove(matching, value, key)
            _add(matching, after - before, key)
        if new is not None:
            self._objects[key] = self.pack(new)
        elif old is not None:
            del self._objects[key]
        return old


class _Packing:
    """Objects of a kind as bytes: much alike, each is written as its differences from the first."""

    _WINDOW_BITS, _MEMORY = -12, 5  # 4 KiB without a header; a larger window takes longer than it saves

    def __init__(self) -> None:
        self._first = b""

    def pack(self, obj: Object) -> bytes:
        whole = marshal.dumps(obj)
        if not self._first:
            self._first = whole[: 1 << -self._WINDOW_BITS]
        writer = zlib.compressobj(1, zlib.DEFLATED, self._WINDOW_BITS, self._MEMORY, zdict=self._first)
        return writer.compress(whole) + writer.flush()

    def unpack(self, packed: bytes) -> Object:
        whole = zlib.decompressobj(self._WINDOW_BITS, self._first).decompress(packed)
        obj: Object = marshal.loads(whole)  # noqa: S302 - written above
        return obj


class Followed(Generic[_T]):
    """What follows from each object of a store, worked out once for each state of it, when it is asked for.

    Args:
        store: of the objects.
        work_out: what follows from one; pure.
    """

    def __init__(self, store: Store, work_out: Callable[[Object], _T]) -> None:
        self._store, self._work_out = store, work_out
        self._found: dict[ObjectKey, _T] = {}
        self._place = store.journal.place

    def get(self, key: ObjectKey) -> _T | None:
        """What follows from the object of this key; None when there is none."""
        journal = self._store.journal
        if journal.place != self._place:
            changed = journal.since(self._place)
            self._place = journal.place
            if changed is None:
                self._found.clear()
            for one in changed or ():
                self._found.pop(one, None)
        found = self._found.get(key)
        if found is None and (obj := self._store.get(key)) is not None:
            found = self._found[key] = self._work_out(obj)
        return found


def store_of(objects: Mapping[ObjectKey, Object]) -> Store:
    """A store of these objects that no informer keeps up to date, for who looks once."""
    made = Store()
    for key, obj in objects.items():
        made._replace(key, obj)
    return made


_Matching = dict[Hashable, tuple[ObjectKey] | dict[ObjectKey, None]]
"""The keys by a value. Most are one object's, and a dict for each would take more than its bytes."""


def _add(matching: _Matching, values: Iterable[Hashable], key: ObjectKey) -> None:
    alone = (key,)
    for value in values:
        there = matching.setdefault(value, alone)
        if there is alone:
            continue
        if isinstance(there, dict):
            there[key] = None
        else:
            matching[value] = {there[0]: None, key: None}


def _remove(matching: _Matching, value: Hashable, key: ObjectKey) -> None:
    there = matching[value]
    if isinstance(there, tuple):
        del matching[value]
        return
    del there[key]
    if len(there) == 1:
        (left,) = there
        matching[value] = (left,)


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
