"""What a write does to an object: identity, defaults, status, generation, ownership. Pure.

Every write ends in one place (`settle` and the store), so that the rules hold for creates, updates,
patches and applies alike. `routes` finds out which write is meant; `admission` and `crd` know the kinds.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from kaitoctl.kube.conditions import timestamp
from kaitoctl.kube.objects import Object, ObjectKey, apply_merge_patch, generation_of, only, without
from kaitoctl.sandbox import crd, types
from kaitoctl.sandbox.admission.addresses import Addresses
from kaitoctl.sandbox.admission.admission import admit
from kaitoctl.sandbox.admission.completion import complete
from kaitoctl.sandbox.api.deletes import Deletes
from kaitoctl.sandbox.api.identity import must_be_the_same, uid_must_stay, with_identity
from kaitoctl.sandbox.api.requests import Author
from kaitoctl.sandbox.builtin import CRDS, NAMESPACES, Resource
from kaitoctl.sandbox.error_status import (
    Failure,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    forbidden_field,
    invalid,
    invalid_value,
    not_found,
    required,
    unsupported_media_type,
)
from kaitoctl.sandbox.patch import PatchFailed, apply_json_patch, apply_strategic_patch
from kaitoctl.sandbox.server_side_apply import Manager, Owners, managed_fields_of, owners_of, update
from kaitoctl.sandbox.store import Entry, Store

_PATCH_TYPES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)
# Source: the kinds whose strategy in k8s.io/kubernetes `pkg/registry` has AllowCreateOnUpdate.
_CREATED_BY_PUT = (
    "services", "endpoints", "events", "leases", "roles", "rolebindings", "clusterroles",
    "clusterrolebindings",
)  # fmt: skip
_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # no vowels: generated names spell nothing
_GIVEN_BY_SERVER = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
)


class Writes:
    """The writing half of an `Api`."""

    def __init__(self, store: Store, deletes: Deletes, clock: Callable[[], datetime]) -> None:
        self.store = store
        self._deletes = deletes
        self._clock = clock
        self._addresses = Addresses(store)

    def now(self) -> str:
        """The time as objects carry it."""
        return timestamp(self._clock())

    # --- create ---

    def create(
        self, resource: Resource, namespace: str, obj: Any, author: Author, *, owners: Owners | None = None
    ) -> Entry:
        """Create an object.

        Args:
            resource: of what kind.
            namespace: the one in the URL.
            obj: as sent; the store owns it from here on.
            author: who.
            owners: who owns its fields when it was applied; None when it is the author by Update.

        Raises:
            Failure: 400, 403, 404, 409, 422.
        """
        kind = resource.kind
        given = with_identity(resource, namespace, "", obj)
        metadata = given["metadata"]
        if metadata.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        if not metadata.get("name") and (prefix := metadata.get("generateName")):
            metadata["name"] = prefix[:58] + "".join(random.choices(_SUFFIX_LETTERS, k=5))
        name = metadata.get("name")
        if not name:
            raise invalid(
                kind.kind, kind.group, "", [required("metadata.name", "name or generateName is required")]
            )
        key = ObjectKey(metadata.get("namespace") or "", name)
        self._drop_unknown(resource, given, author)
        metadata = given["metadata"]
        if kind.namespaced:
            self._namespace_must_take(resource, key)
        if "status" in resource.subresources and resource.kind.kind != "Node":
            # A kubelet alone registers what it is about together with its status.
            given.pop("status", None)
        if resource is CRDS:
            crd.prepare(given, None, author.now)
        for name_ in _GIVEN_BY_SERVER:
            if name_ != "generation" or resource.counts:
                metadata.pop(name_, None)
        metadata["uid"] = str(uuid.UUID(int=random.getrandbits(128), version=4))
        metadata["creationTimestamp"] = author.now
        if resource.counts:
            metadata["generation"] = 1
        new = self.settle(resource, given, None, "", author, owners)
        if self.store.find(resource.name, key) is not None:  # an invalid object is told so first
            raise already_exists(kind.plural, kind.group, name)
        self._addresses.allocate(resource, new)
        if author.dry_run:
            return Entry(key, new, self.store.version)
        return self.store.put(resource.name, crd.in_storage_version(resource, new))

    def _namespace_must_take(self, resource: Resource, key: ObjectKey) -> None:
        namespace = self.store.find(NAMESPACES.name, ObjectKey("", key.namespace))
        if namespace is None:
            raise not_found("namespaces", "", key.namespace)
        if namespace.obj["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {key.namespace} because it is being terminated"
            causes = [
                {
                    "reason": "NamespaceTerminating",
                    "message": f"namespace {key.namespace} is being terminated",
                    "field": "metadata.namespace",
                }
            ]
            raise forbidden(resource.kind.plural, resource.kind.group, key.name, why, causes)

    def _drop_unknown(self, resource: Resource, obj: Object, author: Author) -> None:
        """Read an object as its type or schema says: unknown fields go, and the client is told as it wished.

        Raises:
            Failure: 400, a field is of the wrong type, or unknown and the client is strict.
        """
        if resource.struct is not None:
            kept, unknown = decoded_as(resource, resource.struct, obj)
        else:
            kept, unknown = obj, crd.unknown_fields(resource, obj)
            if unknown:
                kept = crd.prune(resource, obj)
            metadata, more = decoded_as(resource, types.METADATA, kept["metadata"])
            kept = {**kept, "metadata": metadata}
            unknown += [f"metadata.{path}" for path in more]
        if kept is not obj:
            obj.clear()
            obj.update(kept)
        if not unknown:
            return
        words = [f'unknown field "{path}"' for path in unknown]
        if author.validation == "Strict":
            raise bad_request(
                f"{resource.kind.kind} in version {resource.kind.version!r} cannot be handled as a "
                f"{resource.kind.kind}: strict decoding error: {', '.join(words)}"
            )
        if author.validation == "Warn":
            author.warnings.extend(words)

    # --- update ---

    def put_new(self, resource: Resource, key: ObjectKey, obj: Any, author: Author) -> Entry:
        """Answer a PUT of what does not exist: some kinds are created by it.

        Raises:
            Failure: 404, or what is wrong with the object, which is looked at first.
        """
        given = with_identity(resource, key.namespace, key.name, obj, is_put=True)
        if resource.kind.plural in _CREATED_BY_PUT:
            if uid := given["metadata"].get("uid"):
                why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: "
                raise conflict(resource.kind.plural, resource.kind.group, key.name, why)
            return self.create(resource, key.namespace, given, author)
        self._drop_unknown(resource, given, author)
        raise not_found(resource.kind.plural, resource.kind.group, key.name)

    def replace(
        self,
        resource: Resource,
        entry: Entry,
        obj: Any,
        subresource: str,
        author: Author,
        *,
        is_put: bool = True,
    ) -> Entry:
        """Put an object in the place of a stored one.

        Raises:
            Failure: 400, 409 when it was derived from another version, 422.
        """
        kind, key = resource.kind, entry.key
        live = crd.in_version(resource, entry.obj)
        try:
            new = with_identity(resource, key.namespace, key.name, obj, is_put=is_put)
            self._drop_unknown(resource, new, author)
        except Failure as failure:
            if is_put or failure.code != 400:
                raise
            # It is the patch that is wrong, and no object was sent.
            raise invalid("", "", "", [invalid_value("patch", "...", failure.message)]) from None
        if not is_put:
            uid_must_stay(resource, entry, new["metadata"])
        must_be_the_same(resource, entry, new["metadata"])
        if resource.is_custom and is_put and not new["metadata"].get("resourceVersion"):
            cause = invalid_value("metadata.resourceVersion", 0, "must be specified for an update")
            raise invalid(kind.kind, kind.group, key.name, [cause])
        return self.write(resource, entry, live, new, subresource, author, None)

    def write(
        self,
        resource: Resource,
        entry: Entry,
        live: Object,
        new: Object,
        subresource: str,
        author: Author,
        owners: Owners | None,
    ) -> Entry:
        """Store `new` in the place of `live`, unless that would change nothing.

        Args:
            resource: of what kind, in the version of `live` and `new`.
            entry: what is stored now.
            live: the same in the request's version.
            new: with a metadata of its own.
            subresource: `status` writes status alone; nothing else writes it where this exists.
            author: who.
            owners: the owners when `new` is the result of an apply.
        """
        before = live["metadata"]
        given = None if subresource else new["metadata"].get("managedFields")
        if subresource == "status":
            new = {**without(live, "status"), "metadata": dict(before), **only(new, "status")}
        else:
            metadata = without(new["metadata"], *_GIVEN_BY_SERVER)
            metadata.update(only(before, *_GIVEN_BY_SERVER), resourceVersion=before["resourceVersion"])
            new["metadata"] = metadata
            if "status" in resource.subresources:
                new = {**without(new, "status"), **only(live, "status")}
        if resource is CRDS:
            crd.prepare(new, live, author.now)
        self._no_new_finalizers_while_deleting(resource, before, new["metadata"])
        new = self.settle(resource, new, live, subresource, author, owners, given)
        if new == live:
            return entry
        self._addresses.allocate(resource, new, live)
        if author.dry_run:
            return Entry(entry.key, new, entry.version)
        new = crd.in_storage_version(resource, new)
        if self._deletes.is_finished(resource, new["metadata"]):
            return self.store.remove(resource.name, entry.key, new)
        return self.store.put(resource.name, new)

    def settle(
        self,
        resource: Resource,
        new: Object,
        live: Object | None,
        subresource: str,
        author: Author,
        owners: Owners | None,
        given: list[Object] | None = None,
    ) -> Object:
        """`new` with defaults, generation and owners.

        Raises:
            Failure: 422, it breaks the rules of its kind.
        """
        is_new = live is None
        if resource.is_custom:
            new = crd.admit(resource, new, is_applied=owners is not None)
        else:
            admit(resource, new, live)
        metadata = new["metadata"]
        # Written in a version that lacks fields, a status takes them away, too: that counts for nothing.
        counts = resource.counts and subresource != "status"
        if live is not None and counts and _wish(resource, new) != _wish(resource, live):
            metadata["generation"] = generation_of(live) + 1
        if owners is None:
            known = owners_of(live["metadata"].get("managedFields")) if live else {}
            is_untracked = live is not None and not known and not given
            if live is None and resource.struct is not None:
                live = types.blank(resource.struct)
            if given and given != (live or {}).get("metadata", {}).get("managedFields"):
                known = {} if given == [{}] else owners_of(given)
            me = Manager(author.manager, "Update", resource.kind.api_version, subresource)
            # The real server, too, leaves the time out for scales.
            now = author.now if subresource != "scale" else ""
            # Of an object that nobody owns anything of, nobody comes to: not before it is applied.
            owners = {} if is_untracked else update(live, new, known, me, resource.shape, now=now)
        metadata.pop("managedFields", None)
        if owners:
            metadata["managedFields"] = managed_fields_of(owners, resource.kind.api_version)
        if is_new and not resource.is_custom:
            complete(resource, new)
        return new

    def _no_new_finalizers_while_deleting(self, resource: Resource, before: Object, after: Object) -> None:
        if not before.get("deletionTimestamp"):
            return
        present = frozenset(before.get("finalizers") or ())
        if added := [name for name in after.get("finalizers") or () if name not in present]:
            why = (
                "no new finalizers can be added if the object is being deleted, found new finalizers "
                f"[]string{{{', '.join(map(_quote, added))}}}"
            )
            cause = forbidden_field("metadata.finalizers", why)
            raise invalid(resource.kind.kind, resource.kind.group, before["name"], [cause])

    # --- patch ---

    def patch(
        self,
        resource: Resource,
        entry: Entry,
        patch: Any,
        media: str,
        subresource: str,
        author: Author,
    ) -> Entry:
        """Change an object by a JSON, merge or strategic patch.

        Raises:
            Failure: 400, 409, 415, 422.
        """
        live = crd.in_version(resource, entry.obj)
        new = apply_patch(live, patch, media, resource)
        return self.replace(resource, entry, new, subresource, author, is_put=False)


def decoded_as(resource: Resource, struct: types.Struct, obj: Object) -> tuple[Object, list[str]]:
    """An object with the fields of its type, and the paths of those that it has besides.

    Raises:
        Failure: 400, a field is of another type.
    """
    try:
        return types.decode(struct, obj)
    except types.TypeMismatch as error:
        kind, version = resource.kind.kind, resource.kind.version
        raise bad_request(f"{kind} in version {version!r} cannot be handled as a {kind}: {error}") from None


def apply_patch(live: Object, patch: Any, media: str, resource: Resource) -> Any:
    """An object with a JSON, merge or strategic patch.

    Raises:
        Failure: 400, 415, 422.
    """
    must_be_patch(media, resource)
    try:
        if media == "application/json-patch+json":
            return apply_json_patch(live, patch)
        if not isinstance(patch, dict):
            raise bad_request("a merge patch must be an object")
        if media == "application/merge-patch+json":
            return apply_merge_patch(live, patch)
        return apply_strategic_patch(live, patch, resource.shape)
    except PatchFailed as error:
        message = f"the server rejected our request due to an error in our request: {error}"
        raise Failure(422, "Invalid", message) from None


def must_be_patch(media: str, resource: Resource) -> None:
    """Make sure that a resource takes patches of this media type.

    Raises:
        Failure: 415.
    """
    accepted = [kind for kind in _PATCH_TYPES if "strategic" not in kind or not resource.is_custom]
    if media not in accepted:
        raise unsupported_media_type(accepted)


def _wish(resource: Resource, obj: Object) -> Object:
    """What of an object its generation counts."""
    if not resource.is_custom:
        # A Deployment's annotations go to its ReplicaSets, so the real server counts them too.
        annotations = obj["metadata"].get("annotations") if resource.kind.kind == "Deployment" else None
        return {"spec": obj.get("spec"), "annotations": annotations}
    return (
        without(obj, "metadata", "status") if "status" in resource.subresources else without(obj, "metadata")
    )


def _quote(text: str) -> str:
    return f'"{text}"'
