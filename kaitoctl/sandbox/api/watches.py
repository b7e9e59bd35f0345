"""A watch: the events of a resource as lines that wait to be sent. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from kaitoctl.kube import fast_json
from kaitoctl.kube.objects import Object
from kaitoctl.sandbox import crd, selectors, tables
from kaitoctl.sandbox.builtin import Resource
from kaitoctl.sandbox.error_status import Failure
from kaitoctl.sandbox.store import Entry, Event, Store, watch_line

_LINES_A_WATCHER_MAY_LAG = 100_000


class Watch:
    """A watch: lines waiting to be sent, and a bell that rings when there are some.

    Guarantee: the lines are in the order of the writes, and none is left out before the watch has `ended`.
    """

    def __init__(
        self,
        resource: Resource,
        store: Store,
        clock: Callable[[], datetime],
        predicate: selectors.Predicate | None,
    ) -> None:
        self.timeout_s = 0.0
        self.wants_bookmarks = False
        self.ended = False
        self.ring: Callable[[], None] = lambda: None
        self.as_table = False
        self.include = ""
        self._resource = resource
        self._clock = clock
        self._store = store
        self._has_head = False
        self._predicate = predicate
        self._lines: list[bytes] = []
        self._converts = resource.kind.version != resource.storage_version
        self._stop: Callable[[], None] = lambda: None

    def take(self) -> bytes:
        """The lines that wait, which then wait no longer."""
        lines, self._lines = self._lines, []
        return b"".join(lines)

    def close(self) -> None:
        """End the watch; what waits may still be taken."""
        self.ended = True
        self._stop()
        self.ring()

    def bookmark(self, *, after_initial_list: bool = False) -> None:
        """Tell the watcher how far it is."""
        kind = self._resource.kind
        metadata: Object = {"resourceVersion": str(self._store.version), "creationTimestamp": None}
        if after_initial_list:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        self._say("BOOKMARK", {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata})
        self.ring()

    def begin(self, *, initial: list[Entry], missed: list[Event]) -> None:
        """Start with what exists or with what was missed, then follow."""
        for entry in initial:
            self._on_event(Event("ADDED", entry, None))
        for event in missed:
            self._on_event(event)
        self._stop = self._store.listen(self._resource.name, self._on_event)

    def fail(self, failure: Failure) -> None:
        """End with an error."""
        self._lines.append(watch_line("ERROR", fast_json.encode(failure.status)))
        self.close()

    def _on_event(self, event: Event) -> None:
        if self._predicate is not None:
            before = event.previous is not None and self._predicate(event.previous.obj)
            after = event.type != "DELETED" and self._predicate(event.entry.obj)
            if not before and not after:
                return
            if before != after and event.type == "MODIFIED":
                # Seen through a selector, an object appears and disappears without being created or deleted.
                self._say("ADDED" if after else "DELETED", _last_seen(event, after))
                self.ring()
                return
        if self._converts or self.as_table:
            self._say(event.type, event.entry.obj)
        else:
            self._lines.append(event.line)
        if len(self._lines) > _LINES_A_WATCHER_MAY_LAG:
            self.close()  # it does not read; it may come again with the version it has
        self.ring()

    def _say(self, kind: str, obj: Object) -> None:
        shown = crd.in_version(self._resource, obj) if self._converts and kind != "BOOKMARK" else obj
        if self.as_table:
            rows = [shown] if kind != "BOOKMARK" else []
            metadata = shown["metadata"] if kind == "BOOKMARK" else {}
            shown = tables.table(
                self._resource,
                rows,
                metadata,
                now=self._clock(),
                headless=self._has_head,
                include=self.include,
            )
            self._has_head = True
        self._lines.append(watch_line(kind, fast_json.encode(shown)))


def _last_seen(event: Event, after: bool) -> Object:
    if after or event.previous is None:
        return event.entry.obj
    obj = event.previous.obj
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(event.entry.version)}}
