"""Deletion: at once, or marked while finalizers, a grace period or content hold it back. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from kaitoctl.kube.conditions import parse_timestamp, timestamp
from kaitoctl.kube.objects import Object, dig, generation_of
from kaitoctl.sandbox.api.identity import must_be_the_same
from kaitoctl.sandbox.api.kinds import Kinds
from kaitoctl.sandbox.api.requests import Author
from kaitoctl.sandbox.builtin import CRDS, NAMESPACES, PODS, Resource
from kaitoctl.sandbox.error_status import bad_request, forbidden
from kaitoctl.sandbox.store import Entry, Store

# Source: the kinds whose strategy in k8s.io/kubernetes `pkg/registry` has ReturnDeletedObject.
_SHOWN_WHEN_DELETED = (
    "pods", "services", "serviceaccounts", "persistentvolumes", "persistentvolumeclaims", "storageclasses",
)  # fmt: skip


class Deletes:
    """The half of the writes that takes away."""

    def __init__(self, store: Store, kinds: Kinds) -> None:
        self._store = store
        self._kinds = kinds

    def delete(self, resource: Resource, entry: Entry, options: Object, author: Author) -> Entry | Object:
        """Delete an object, or mark it as being deleted when something still has to happen before.

        Args:
            resource: of what kind.
            entry: what is stored.
            options: `DeleteOptions`.
            author: who.

        Returns:
            A Status when the object is gone, else what is still there of it.

        Raises:
            Failure: 403 for what must not go, 409 when a precondition does not hold.
        """
        preconditions = options.get("preconditions") or {}
        if not isinstance(preconditions, dict):
            raise bad_request("preconditions must be an object")
        must_be_the_same(resource, entry, preconditions)
        if resource is NAMESPACES and entry.key.name in ("default", "kube-system", "kube-public"):
            raise forbidden("namespaces", "", entry.key.name, "this namespace may not be deleted")
        dry_run = author.dry_run or bool(options.get("dryRun"))
        finalizers = self._finalizers(entry.obj["metadata"], options)
        grace_s = self._grace_s(resource, entry.obj, options)
        # A namespace or definition is shown as it begins to go, however little there is to take along.
        if finalizers or grace_s or resource in (NAMESPACES, CRDS):
            return self._mark(resource, entry, finalizers, grace_s, author.now, dry_run)
        return self._remove(resource, entry, author.now, dry_run)

    def _finalizers(self, metadata: Object, options: Object) -> list[str]:
        """What holds the object back, the garbage collector's part among it."""
        policy = options.get("propagationPolicy") or (
            "Orphan" if options.get("orphanDependents") else "Background"
        )
        if policy not in ("Orphan", "Background", "Foreground"):
            raise bad_request(f'propagationPolicy: "{policy}" is none of Orphan, Background, Foreground')
        of_policy = {"Orphan": ["orphan"], "Foreground": ["foregroundDeletion"]}.get(policy, [])
        return list(dict.fromkeys([*(metadata.get("finalizers") or ()), *of_policy]))

    def _remove(self, resource: Resource, entry: Entry, now: str, dry_run: bool) -> Entry | Object:
        """Take an object away at once."""
        kind, last, metadata = resource.kind, entry, entry.obj["metadata"]
        if resource is PODS:
            ending = {"deletionTimestamp": now, "deletionGracePeriodSeconds": 0}
            final = {**metadata, **ending, "generation": generation_of(entry.obj) + 1}
            last = Entry(entry.key, {**entry.obj, "metadata": final}, entry.version)
        if not dry_run:
            last = self._store.remove(resource.name, entry.key, last.obj)
        if kind.plural in _SHOWN_WHEN_DELETED:
            return last
        group = {"group": kind.group} if kind.group else {}
        details = {"name": entry.key.name, **group, "kind": kind.plural, "uid": metadata["uid"]}
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}

    def _mark(
        self, resource: Resource, entry: Entry, finalizers: list[str], grace_s: int, now: str, dry_run: bool
    ) -> Entry:
        """Mark an object as being deleted, or let it go sooner than was said before."""
        obj, metadata = entry.obj, entry.obj["metadata"]
        already = metadata.get("deletionTimestamp")
        earlier_s = metadata.get("deletionGracePeriodSeconds") or 0
        if already and grace_s >= earlier_s and finalizers == (metadata.get("finalizers") or []):
            return entry
        grace_s = min(grace_s, earlier_s) if already else grace_s
        start = parse_timestamp(now)
        when = already if already and grace_s == earlier_s else timestamp(start + timedelta(seconds=grace_s))
        marked: Object = {**metadata, "deletionTimestamp": when, "deletionGracePeriodSeconds": grace_s}
        if finalizers:
            marked["finalizers"] = finalizers
        if metadata.get("generation") and not already and resource is not CRDS:
            marked["generation"] = generation_of(obj) + 1
        new = {**obj, "metadata": marked}
        if resource is NAMESPACES:
            new["status"] = {**obj.get("status", {}), "phase": "Terminating"}
        return Entry(entry.key, new, entry.version) if dry_run else self._store.put(resource.name, new)

    def _grace_s(self, resource: Resource, obj: Object, options: Object) -> int:
        """How long a pod may take to stop; nothing else takes time."""
        if resource is not PODS or not dig(obj, "spec", "nodeName"):
            return 0
        if dig(obj, "status", "phase") in ("Succeeded", "Failed"):
            return 0
        asked = options.get("gracePeriodSeconds")
        if asked is None:
            asked = dig(obj, "spec", "terminationGracePeriodSeconds")
        if asked is not None and (not isinstance(asked, int) or isinstance(asked, bool)):
            raise bad_request("gracePeriodSeconds must be a whole number")
        grace_s = 30 if asked is None else asked
        return grace_s if grace_s >= 0 else 1

    def rewrite_metadata(self, resource: Resource, entry: Entry, **changes: Any) -> None:
        """The garbage collector's own writes: finalizers and owner references; empty removes."""
        metadata = {**entry.obj["metadata"], **changes}
        metadata = {key: value for key, value in metadata.items() if value or key not in changes}
        new = {**entry.obj, "metadata": metadata}
        if self.is_finished(resource, metadata):
            self._store.remove(resource.name, entry.key, new)
        else:
            self._store.put(resource.name, new)

    def is_finished(self, resource: Resource, metadata: Object) -> bool:
        """Whether nothing holds back an object that is being deleted."""
        return bool(
            metadata.get("deletionTimestamp")
            and not metadata.get("finalizers")
            and not metadata.get("deletionGracePeriodSeconds")
            and (resource not in (NAMESPACES, CRDS) or self._kinds.is_empty(resource, metadata["name"]))
        )
