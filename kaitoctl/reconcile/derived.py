"""One store of what several informers of a kind show, each object made into what is wanted of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from kaitoctl.kube.objects import Kind, Object, ObjectKey
from kaitoctl.reconcile.informer import Informer, notify, without_version
from kaitoctl.reconcile.store import Change, Store


class Derived:
    """What several informers show together, to be asked and subscribed to as an informer is.

    Two watches that share a kind's objects out by selectors carry each change once; of two that overlap each
    carries it.

    Args:
        informers: of one kind; an object that moves from one's selection to another's is never missed. Run
            by the caller, who begins after this.
        transform: what to store of an object, None for nothing. A change that touches nothing of it is not
            reported, and leaves the store as it is.
        packed: as in `Store`.
    """

    def __init__(
        self,
        informers: Sequence[Informer],
        transform: Callable[[Object], Object | None],
        *,
        packed: bool = False,
    ) -> None:
        self.kind: Kind = informers[0].kind
        self.store = Store(packed=packed)
        self._informers, self._transform = informers, transform
        self._listeners: list[Callable[[Change], None]] = []
        for informer in informers:
            informer.subscribe(lambda change: self._take(change.key, change.new))

    async def wait_synced(self) -> None:
        """Return once each informer is synced."""
        await asyncio.gather(*(informer.wait_synced() for informer in self._informers))

    def subscribe(self, listener: Callable[[Change], None]) -> None:
        """As `Informer.subscribe`."""
        self._listeners.append(listener)
        for key, obj in list(self.store.items()):
            notify(listener, Change(key, None, obj), self.kind)

    def observe_write(self, obj: Object) -> None:
        """Nothing: what is shown to its informers shows here, too."""

    def _take(self, key: ObjectKey, shown: Object | None) -> None:
        if shown is None:  # of one informer's selection; another one's may have it already
            found = (informer.store.get(key) for informer in self._informers)
            shown = next((obj for obj in found if obj is not None), None)
        new, old = None if shown is None else self._transform(shown), self.store.get(key)
        if old == new or (old and new and without_version(old) == without_version(new)):
            return
        self.store._replace(key, new)
        for listener in self._listeners:
            notify(listener, Change(key, old, new), self.kind)
