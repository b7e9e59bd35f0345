"""Which changes a reconcile caused itself: no reason to look at its key again.

A watch may show a write before it is answered or after. So what concerns a key that is being reconciled is
held back until the writes are answered: what is then nobody else's is dropped, the rest enqueues the key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from msgspec import Struct

from kaitoctl.kube.objects import Kind, Object, ObjectKey, generation_of, key_of, resource_version_of
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.store import Change

_SERVERS_OWN = frozenset({"resourceVersion", "managedFields"})


class _HeldBack(NamedTuple):
    """A change that concerns a key, seen while a reconcile of the key ran."""

    at: float
    kind: Kind
    change: Change


class OwnWrites:
    """The writes of the reconciles that run."""

    def __init__(self) -> None:
        self._held_back: dict[ObjectKey, list[_HeldBack]] = {}
        self._observed: _OwnWrite | None = None  # which is being shown to the stores

    def begin(self, key: ObjectKey) -> None:
        """A reconcile of `key` begins."""
        self._held_back[key] = []

    def end(self, key: ObjectKey) -> float | None:
        """A reconcile of `key` ended; returns when the first change came that was not its own."""
        held_back = self._held_back.pop(key, None)
        return held_back[0].at if held_back else None

    def accounts_for(self, key: ObjectKey, kind: Kind, change: Change, now: float) -> bool:
        """Whether a change of an object of `kind` is no reason to enqueue `key`, or not yet."""
        if self._observed is not None and self._observed.key == key and self._observed.is_all_of(change):
            return True
        if key not in self._held_back:
            return False
        self._held_back[key].append(_HeldBack(now, kind, change))
        return True

    def observe(
        self, key: ObjectKey, request: Request, answer: Object, show: Iterable[Callable[[Object], None]]
    ) -> None:
        """A write of a reconcile of `key` was answered: show it to the stores, others hear of it as ever."""
        write = _OwnWrite(key, request, answer)
        self._held_back[key] = [held for held in self._held_back[key] if not write.is_all_that(held)]
        self._observed = write
        try:
            for observe_write in show:
                observe_write(answer)
        finally:
            self._observed = None


class _OwnWrite(Struct, frozen=True):
    """A write of a reconcile that has been answered.

    Args:
        key: the reconcile's.
        request: which write.
        answer: the object as it is then.
    """

    key: ObjectKey
    request: Request
    answer: Object

    def is_all_that(self, held: _HeldBack) -> bool:
        """Whether what was held back is this write, and nothing else."""
        new, kind = held.change.new, held.kind
        return (
            new is not None
            and (kind.api_version, kind.kind) == (self.answer.get("apiVersion"), self.answer.get("kind"))
            and held.change.key == key_of(self.answer)
            and resource_version_of(new) == resource_version_of(self.answer) != ""
            and self.is_all_of(held.change)
        )

    def is_all_of(self, change: Change) -> bool:
        """Whether the change is the write's alone.

        An answer may show what somebody else wrote before it, and so may a list, which shows the newest
        version alone. A write moves the generation by one at most, and one of the status changes nothing
        besides; where it moves none, it has a resourceVersion or sets all that the reconcile cares for.
        """
        old, new = change.old, change.new
        if old is None or new is None:
            return True
        if not self.request.path.endswith("/status"):
            return generation_of(new) <= generation_of(old) + 1
        return _without_status(old) == _without_status(new)


def _without_status(obj: Object) -> Object:
    metadata = {name: value for name, value in obj["metadata"].items() if name not in _SERVERS_OWN}
    return {**obj, "status": None, "metadata": metadata}
