"""What deletions entail: dependents go with their owner, content with its namespace. Pure.

Work is queued as events come in and done a little at a time (`collect`), so that deleting something large
does not stop the server from answering. Deleting is always done by `Deletes.delete`, with its finalizers
and grace periods.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime

from kaitoctl.kube.conditions import timestamp
from kaitoctl.kube.objects import Object, ObjectKey
from kaitoctl.sandbox.api.deletes import Deletes
from kaitoctl.sandbox.api.kinds import Kinds
from kaitoctl.sandbox.api.requests import Author
from kaitoctl.sandbox.builtin import CRDS, NAMESPACES
from kaitoctl.sandbox.store import Event, Store

Place = tuple[str, ObjectKey]
"""A resource's name and the key of an object."""


class Garbage:
    """The garbage collector and the namespace controller of an `Api`."""

    def __init__(self, store: Store, kinds: Kinds, deletes: Deletes, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._kinds = kinds
        self._deletes = deletes
        self._clock = clock
        self._forget()

    def _forget(self) -> None:
        self._place: dict[str, Place] = {}  # by uid
        self._dependents: dict[str, dict[Place, bool]] = {}  # owner's uid -> dependent -> does it block?
        self._orphans: deque[Place] = deque()  # objects with an owner that may be gone
        self._leaving: deque[Place] = deque()  # owners, namespaces, CRDs that wait for others to go
        self._doomed: deque[Place] = deque()  # content of those
        self._emptied: set[str] = set()  # uids of the namespaces and CRDs whose content is doomed already

    # --- what is known ---

    def learn(self) -> None:
        """Forget what was known, and learn from the objects that the store has."""
        self._forget()
        for resource in self._store.resources():
            for entry in self._store.entries(resource):
                self.notice(resource, Event("ADDED", entry, None))

    def notice(self, resource: str, event: Event) -> None:
        """Learn from a write, and queue what it entails."""
        key = event.entry.key
        place = (resource, key)
        metadata = event.entry.obj["metadata"]
        uid = metadata["uid"]
        before = _references(event.previous.obj) if event.previous else ()
        after = _references(event.entry.obj) if event.type != "DELETED" else ()
        if before != after:
            for reference in before:
                self._dependents.get(reference["uid"], {}).pop(place, None)
            for reference in after:
                blocks = bool(reference.get("blockOwnerDeletion"))
                self._dependents.setdefault(reference["uid"], {})[place] = blocks
            if after:
                self._orphans.append(place)
        if event.type == "DELETED":
            self._place.pop(uid, None)
            self._orphans.extend(self._dependents.pop(uid, {}))
            for reference in before:  # an owner may have waited for this
                if owner := self._place.get(reference["uid"]):
                    self._requeue_if_leaving(owner)
            if key.namespace:
                self._requeue_if_leaving((NAMESPACES.name, ObjectKey("", key.namespace)))
            self._requeue_if_leaving((CRDS.name, ObjectKey("", resource)))
            self._emptied.discard(uid)
            return
        self._place[uid] = place
        if metadata.get("deletionTimestamp"):
            self._requeue_if_leaving(place)

    def _requeue_if_leaving(self, place: Place) -> None:
        entry = self._store.find(*place)
        if entry is None or not entry.obj["metadata"].get("deletionTimestamp"):
            return
        finalizers = entry.obj["metadata"].get("finalizers") or ()
        waits = "foregroundDeletion" in finalizers or "orphan" in finalizers
        if (waits or place[0] in (NAMESPACES.name, CRDS.name)) and place not in self._leaving:
            self._leaving.append(place)

    # --- what is done ---

    @property
    def is_idle(self) -> bool:
        """Whether nothing is queued."""
        return not (self._orphans or self._leaving or self._doomed)

    def collect(self, limit: int) -> bool:
        """Do up to `limit` pieces of queued work; whether more is left."""
        for _ in range(limit):
            if self._doomed:
                self._delete(self._doomed.popleft())
            elif self._orphans:
                self._check_owners(self._orphans.popleft())
            elif self._leaving:
                self._let_go(self._leaving.popleft())
            else:
                return False
        return not self.is_idle

    def _delete(self, place: Place, policy: str = "Background") -> None:
        entry, resource = self._store.find(*place), self._kinds.resource_of(place[0])
        if entry is not None and resource is not None and not entry.obj["metadata"].get("deletionTimestamp"):
            author = Author("kube-controller-manager", now=timestamp(self._clock()))
            self._deletes.delete(resource, entry, {"propagationPolicy": policy}, author)

    def _check_owners(self, place: Place) -> None:
        """Delete an object without any living owner; forget the dead ones of the others."""
        entry, resource = self._store.find(*place), self._kinds.resource_of(place[0])
        if entry is None or resource is None:
            return
        references = _references(entry.obj)
        if not entry.key.namespace and any(map(self._is_namespaced, references)):
            return
        alive = [reference for reference in references if self._lives(reference, entry.key.namespace)]
        if references and not alive:
            self._delete(place)
        elif len(alive) < len(references):
            self._deletes.rewrite_metadata(resource, entry, ownerReferences=alive)

    def _is_namespaced(self, reference: Object) -> bool:
        """Whether an owner is of a kind that lives in namespaces.

        What lives in none cannot say in which, so that nobody finds it: such an object is never collected.
        Source: Kubernetes v1.37.2 pkg/controller/garbagecollector (namespacedOwnerOfClusterScopedObjectErr).
        """
        kinds = (resource.kind for resource in self._kinds.resources.values())
        wanted = reference.get("apiVersion"), reference.get("kind")
        return any(kind.namespaced and (kind.api_version, kind.kind) == wanted for kind in kinds)

    def _lives(self, reference: Object, namespace: str) -> bool:
        owner = self._place.get(reference["uid"])
        return owner is not None and owner[1].namespace in ("", namespace)

    def orphan_dependents_of(self, uid: str) -> None:
        """Make an owner's dependents forget it."""
        for place in list(self._dependents.get(uid, ())):
            entry, resource = self._store.find(*place), self._kinds.resource_of(place[0])
            if entry is not None and resource is not None:
                others = [item for item in _references(entry.obj) if item["uid"] != uid]
                self._deletes.rewrite_metadata(resource, entry, ownerReferences=others)

    def _let_go(self, place: Place) -> None:
        """Bring the deletion of an owner (foreground), a namespace or a CRD forward."""
        entry, resource = self._store.find(*place), self._kinds.resource_of(place[0])
        if entry is None or resource is None:
            return
        metadata = entry.obj["metadata"]
        finalizers = list(metadata.get("finalizers") or ())
        if "orphan" in finalizers:
            self.orphan_dependents_of(metadata["uid"])
            finalizers.remove("orphan")
            self._deletes.rewrite_metadata(resource, entry, finalizers=finalizers)
            return
        if "foregroundDeletion" in finalizers:
            dependents = self._dependents.get(metadata["uid"], {})
            for dependent in list(dependents):
                self._delete(dependent, "Foreground")
            if not any(self._dependents.get(metadata["uid"], {}).values()):
                finalizers.remove("foregroundDeletion")
                self._deletes.rewrite_metadata(resource, entry, finalizers=finalizers)
            return
        if resource not in (NAMESPACES, CRDS):
            return
        if metadata["uid"] not in self._emptied:
            self._emptied.add(metadata["uid"])
            contents = [entry.key.name] if resource is CRDS else self._kinds.namespaced()
            namespace = "" if resource is CRDS else entry.key.name
            for content in contents:
                self._doomed.extend((content, item.key) for item in self._store.entries(content, namespace))
        if not finalizers and self._kinds.is_empty(resource, entry.key.name):
            self._store.remove(resource.name, entry.key)


def _references(obj: Object) -> list[Object]:
    return [item for item in obj["metadata"].get("ownerReferences") or () if item.get("uid")]
