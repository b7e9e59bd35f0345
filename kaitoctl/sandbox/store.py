"""Versioned objects, their history, and 410 when the past is forgotten. Pure.

The store keeps every object once, as the dict that was written and as the JSON that is sent; both are
never changed afterwards, so that readers and watchers share them. One counter numbers all writes: it is
the `resourceVersion`. What a write means (defaults, ownership, generations) is decided in `api`.

Readers see writes between `begin` and `commit` at once, watchers at the commit: `rollback` can take back what
could not be saved, because nobody outside has heard of it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator
from typing import Literal

from msgspec import Struct, field

from kaitoctl.kube import fast_json
from kaitoctl.kube.objects import Object, ObjectKey, key_of

_HISTORY = 5_000  # events hold old versions: this bounds memory to some tens of MB per busy resource


class Entry:
    """One version of one object; its dict and its JSON are read-only."""

    __slots__ = ("_json", "key", "obj", "version")

    def __init__(self, key: ObjectKey, obj: Object, version: int, json_: bytes | None = None) -> None:
        self.key = key
        self.obj = obj
        self.version = version
        self._json = json_

    @property
    def json(self) -> bytes:
        """The object as JSON, encoded once."""
        if self._json is None:
            self._json = fast_json.encode(self.obj)
        return self._json


EventType = Literal["ADDED", "MODIFIED", "DELETED"]


class Event:
    """One write: what happened, the object after it (for DELETED: its last state), and the one before."""

    __slots__ = ("_line", "entry", "previous", "type")

    def __init__(self, kind: EventType, entry: Entry, previous: Entry | None) -> None:
        self.type = kind
        self.entry = entry
        self.previous = previous
        self._line: bytes | None = None

    @property
    def line(self) -> bytes:
        """The event as a line of a watch, encoded once for all watchers."""
        if self._line is None:
            self._line = watch_line(self.type, self.entry.json)
        return self._line


def watch_line(kind: str, obj: bytes) -> bytes:
    """A line of a watch stream."""
    return b'{"type":"%s","object":%s}\n' % (kind.encode(), obj)


class Expired(Exception):
    """The past that was asked for is forgotten (HTTP 410)."""

    def __init__(self, asked: int, oldest: int) -> None:
        super().__init__(f"too old resource version: {asked} ({oldest})")


class _Table(Struct):
    """The objects of one resource: by key, their keys in order, and the latest events."""

    entries: dict[ObjectKey, Entry] = field(default_factory=dict)
    keys: list[ObjectKey] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    forgotten: int = 0  # the version of the youngest event that is no longer known
    listeners: list[Callable[[Event], None]] = field(default_factory=list)


class _Transaction(Struct):
    """What a rollback needs: each change with what was there before, and the events held back."""

    version: int
    unsaved: dict[tuple[str, ObjectKey], Entry | None]
    changes: list[tuple[_Table, ObjectKey, Entry | None]] = field(default_factory=list)
    events: list[tuple[_Table, Event]] = field(default_factory=list)


class Store:
    """All objects of a cluster, by resource (`deployments.apps`) and key.

    Args:
        history: how many events of each resource are remembered, at least.
    """

    def __init__(self, *, history: int = _HISTORY) -> None:
        self.version = 1
        self._history = history
        self._tables: dict[str, _Table] = {}
        self._birth = 1  # nothing is known of what was before
        self._transaction: _Transaction | None = None
        self.unsaved: dict[tuple[str, ObjectKey], Entry | None] = {}
        """Writes not yet persisted; None for a deletion. Whoever persists them clears it."""
        self.on_event: Callable[[str, Event], None] = lambda _resource, _event: None

    def _table(self, resource: str) -> _Table:
        table = self._tables.get(resource)
        if table is None:
            table = self._tables[resource] = _Table(forgotten=self._birth)
        return table

    # --- reading ---

    def find(self, resource: str, key: ObjectKey) -> Entry | None:
        """The current version of an object, or None."""
        table = self._tables.get(resource)
        return table.entries.get(key) if table else None

    def count(self, resource: str, namespace: str = "") -> int:
        """How many objects there are."""
        table = self._table(resource)
        start, end = _span(table.keys, namespace)
        return end - start

    def entries(
        self, resource: str, namespace: str = "", *, after: ObjectKey | None = None, at: int | None = None
    ) -> Iterator[Entry]:
        """Objects in the order of their keys, of one namespace when given.

        Args:
            resource: which.
            namespace: empty for all.
            after: only those behind this key.
            at: as they were at this version; None for now.

        Raises:
            Expired: that version is forgotten.
        """
        table = self._table(resource)
        entries, keys = table.entries, table.keys
        if at is not None and at < self.version and (undone := self.events_since(resource, at)):
            entries = dict(entries)
            for event in reversed(undone):
                if event.previous is None:
                    entries.pop(event.entry.key, None)
                else:
                    entries[event.entry.key] = event.previous
            keys = sorted(entries)
        start, end = _span(keys, namespace)
        if after is not None:
            start = max(start, bisect_right(keys, after))
        return (entries[key] for key in keys[start:end])

    def events_since(self, resource: str, version: int) -> list[Event]:
        """What happened after `version`.

        Raises:
            Expired: the history does not reach back that far.
        """
        table = self._table(resource)
        if version < table.forgotten:
            raise Expired(version, table.forgotten)
        events = table.events
        return events[bisect_right(events, version, key=lambda event: event.entry.version) :]

    def listen(self, resource: str, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call `listener` with every later event of a resource; returns what ends that."""
        listeners = self._table(resource).listeners
        listeners.append(listener)
        return lambda: listeners.remove(listener) if listener in listeners else None

    # --- transactions ---

    def begin(self) -> None:
        """Keep watchers waiting, and remember how to go back, until `commit` or `rollback`."""
        self._transaction = _Transaction(self.version, dict(self.unsaved))

    def commit(self) -> None:
        """Show watchers what was written since `begin`; without one, nothing happens."""
        transaction, self._transaction = self._transaction, None
        for table, event in transaction.events if transaction else ():
            self._deliver(table, event)

    def rollback(self) -> bool:
        """Undo all writes since `begin`; whether there were any."""
        transaction, self._transaction = self._transaction, None
        if transaction is None:
            return False
        for table, key, previous in reversed(transaction.changes):
            self._set(table, key, previous)
        for table, _ in transaction.events:
            table.events.pop()
        self.version, self.unsaved = transaction.version, transaction.unsaved
        return bool(transaction.changes)

    def _set(self, table: _Table, key: ObjectKey, entry: Entry | None) -> None:
        """Let an object be this entry, None for no object; the keys stay in order."""
        previous = table.entries.get(key)
        if self._transaction is not None:
            self._transaction.changes.append((table, key, previous))
        if entry is None:
            if previous is not None:
                del table.entries[key]
                del table.keys[bisect_left(table.keys, key)]
            return
        table.entries[key] = entry
        if previous is None:
            insort(table.keys, key)

    # --- writing ---

    def put(self, resource: str, obj: Object) -> Entry:
        """Write an object; the store owns the dict from here on and numbers it."""
        table = self._table(resource)
        key = key_of(obj)
        previous = table.entries.get(key)
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        entry = Entry(key, obj, self.version)
        self._set(table, key, entry)
        self._notify(resource, table, Event("MODIFIED" if previous else "ADDED", entry, previous))
        self.unsaved[resource, key] = entry
        return entry

    def remove(self, resource: str, key: ObjectKey, final: Object | None = None) -> Entry:
        """Delete an object; watchers get its last state (or `final`), numbered by the deletion."""
        table = self._table(resource)
        previous = table.entries[key]
        self._set(table, key, None)
        self.version += 1
        last = final or previous.obj
        metadata = {**last["metadata"], "resourceVersion": str(self.version)}
        entry = Entry(key, {**last, "metadata": metadata}, self.version)
        self._notify(resource, table, Event("DELETED", entry, previous))
        self.unsaved[resource, key] = None
        return entry

    def rewrite(self, resource: str, change: Callable[[Object], Object]) -> None:
        """Show every object of a resource differently from now on, which is not a write."""
        table = self._table(resource)
        for key, entry in list(table.entries.items()):
            if (obj := change(entry.obj)) is not entry.obj:
                self._set(table, key, Entry(key, obj, entry.version))
                self.unsaved[resource, key] = table.entries[key]

    def restore(self, version: int, objects: Iterator[tuple[str, Object, bytes]]) -> None:
        """Fill an empty store with what was persisted; of the time before, nothing is known."""
        self.version = self._birth = version
        for resource, obj, encoded in objects:
            table = self._table(resource)
            key = key_of(obj)
            table.entries[key] = Entry(key, obj, int(obj["metadata"]["resourceVersion"]), encoded)
        for table in self._tables.values():
            table.keys = sorted(table.entries)

    def resources(self) -> list[str]:
        """The resources that have or had objects."""
        return list(self._tables)

    def _notify(self, resource: str, table: _Table, event: Event) -> None:
        table.events.append(event)
        self.on_event(resource, event)
        if self._transaction is None:
            self._deliver(table, event)
        else:
            self._transaction.events.append((table, event))

    def _deliver(self, table: _Table, event: Event) -> None:
        events = table.events
        if len(events) > 2 * self._history:  # in large steps, so that forgetting costs nothing per write
            table.forgotten = events[-self._history - 1].entry.version
            del events[: -self._history]
        for listener in tuple(table.listeners):
            listener(event)


def _span(keys: list[ObjectKey], namespace: str) -> tuple[int, int]:
    if not namespace:
        return 0, len(keys)
    return (
        bisect_left(keys, ObjectKey(namespace, "")),
        bisect_left(keys, ObjectKey(namespace + "\0", "")),
    )
