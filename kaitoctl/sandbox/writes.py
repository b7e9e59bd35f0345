"""What a write does to an object: identity, defaults, status, generation, ownership, deletion. Pure.

Every write ends in one place (`_settle` and the store), so that the rules hold for creates, updates,
patches and applies alike. `api` finds out which write is meant; `admission` and `crd` know the kinds.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from kaitoctl.kube.conditions import parse_timestamp, timestamp
from kaitoctl.kube.managed_fields import Fields, minus
from kaitoctl.kube.objects import Object, ObjectKey, dig, generation_of, merge_patched
from kaitoctl.sandbox import admission, crd, types
from kaitoctl.sandbox.apply import (
    ApplyConflict,
    Manager,
    Owned,
    Owners,
    Shape,
    UnkeyedEntry,
    apply,
    fields_of,
    managed_fields_of,
    ownable,
    owners_of,
    update,
)
from kaitoctl.sandbox.builtin import CRDS, NAMESPACES, PODS, Resource
from kaitoctl.sandbox.patch import PatchFailed, json_patched, strategically_patched
from kaitoctl.sandbox.status import (
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
from kaitoctl.sandbox.store import Entry

if TYPE_CHECKING:
    from kaitoctl.sandbox.api import Api

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
# Source: ReturnDeletedObject there.
_SHOWN_WHEN_DELETED = (
    "pods", "services", "serviceaccounts", "persistentvolumes", "persistentvolumeclaims", "storageclasses",
)  # fmt: skip
_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # no vowels: generated names spell nothing
_EMPTY_IS_ABSENT = ("labels", "annotations", "finalizers", "ownerReferences")
_GIVEN_BY_SERVER = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
)


@dataclass(frozen=True, slots=True)
class Author:
    """Who writes, and how.

    Args:
        manager: the field manager.
        named: whether the request named it, as an apply must.
        dry_run: do everything but write.
        force: an apply takes fields over.
        validation: `Strict`, `Warn` or `Ignore` unknown fields.
        now: the time of the request.
        warnings: collects what the client should be told.
    """

    manager: str
    named: bool = True
    dry_run: bool = False
    force: bool = False
    validation: str = "Warn"
    now: str = ""
    warnings: list[str] = field(default_factory=list)


class Writes:
    """The writing half of an `Api`."""

    def __init__(self, api: Api, clock: Callable[[], datetime]) -> None:
        self._api = api
        self._store = api.store
        self._clock = clock
        self._addresses = admission.Addresses(api.store)

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
        given = self._identified(resource, namespace, "", obj)
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
            crd.prepare(self._api, given, None, author.now)
        for name_ in _GIVEN_BY_SERVER:
            if name_ != "generation" or resource.counts:
                metadata.pop(name_, None)
        metadata["uid"] = str(uuid.UUID(int=random.getrandbits(128), version=4))
        metadata["creationTimestamp"] = author.now
        if resource.counts:
            metadata["generation"] = 1
        new = self._settle(resource, given, None, "", author, owners)
        if self._store.find(resource.name, key) is not None:  # an invalid object is told so first
            raise already_exists(kind.plural, kind.group, name)
        self._addresses.allocate(resource, new)
        if author.dry_run:
            return Entry(key, new, self._store.version)
        return self._store.put(resource.name, crd.in_storage_version(resource, new))

    def _namespace_must_take(self, resource: Resource, key: ObjectKey) -> None:
        namespace = self._store.find(NAMESPACES.name, ObjectKey("", key.namespace))
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

    def _identified(
        self, resource: Resource, namespace: str, name: str, obj: Any, *, is_put: bool = False
    ) -> Object:
        """The object with a metadata of its own, and with what the URL says about it.

        Raises:
            Failure: 400, it is not such an object, or not the one that the URL names.
        """
        kind = resource.kind
        if not isinstance(obj, dict):
            raise bad_request(f"the body must be an object of kind {kind.kind}")
        metadata = obj.get("metadata") or {}
        if not isinstance(metadata, dict):
            raise bad_request("metadata must be an object")
        for field_, expected in (("apiVersion", kind.api_version), ("kind", kind.kind)):
            if not obj.get(field_) and resource.is_custom:
                raise bad_request(f"Object '{field_}' is missing")
            if obj.get(field_, expected) != expected:
                raise bad_request(
                    "the object provided is unrecognized "
                    f"(must be of type {kind.kind} in {kind.api_version}): its {field_} is {obj[field_]!r}"
                )
        metadata = admission.decoded_metadata(metadata)
        if is_put and not metadata.get("name"):
            raise bad_request(f"the name of the object ({name} based on URL) is missing: it must be provided")
        if name and metadata.setdefault("name", name) != name:
            raise bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
            )
        if not kind.namespaced:
            if metadata.pop("namespace", None):
                raise bad_request(f"namespace is not allowed on cluster-scoped {kind.kind}")
        elif namespace and (metadata.get("namespace") or namespace) != namespace:
            raise bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        elif namespace:
            metadata["namespace"] = namespace
        elif not metadata.get("namespace"):
            raise bad_request("an object of a namespaced kind must be created in a namespace")
        return {"apiVersion": kind.api_version, "kind": kind.kind, **obj, "metadata": metadata}

    def _drop_unknown(self, resource: Resource, obj: Object, author: Author) -> None:
        """Read an object as its type or schema says: unknown fields go, and the client is told as it wished.

        Raises:
            Failure: 400, a field is of the wrong type, or unknown and the client is strict.
        """
        if resource.struct is not None:
            kept, unknown = self._decoded(resource, resource.struct, obj)
        else:
            kept, unknown = obj, crd.unknown_fields(resource, obj)
            if unknown:
                kept = crd.pruned(resource, obj)
            metadata, more = self._decoded(resource, types.METADATA, kept["metadata"])
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

    def _decoded(self, resource: Resource, struct: types.Struct, obj: Object) -> tuple[Object, list[str]]:
        try:
            return types.decode(struct, obj)
        except types.TypeMismatch as error:
            kind, version = resource.kind.kind, resource.kind.version
            raise bad_request(
                f"{kind} in version {version!r} cannot be handled as a {kind}: {error}"
            ) from None

    # --- update ---

    def put_new(self, resource: Resource, key: ObjectKey, obj: Any, author: Author) -> Entry:
        """Answer a PUT of what does not exist: some kinds are created by it.

        Raises:
            Failure: 404, or what is wrong with the object, which is looked at first.
        """
        given = self._identified(resource, key.namespace, key.name, obj, is_put=True)
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
            new = self._identified(resource, key.namespace, key.name, obj, is_put=is_put)
            self._drop_unknown(resource, new, author)
        except Failure as failure:
            if is_put or failure.code != 400:
                raise
            # It is the patch that is wrong, and no object was sent.
            raise invalid("", "", "", [invalid_value("patch", "...", failure.message)]) from None
        if not is_put:
            self._uid_must_stay(resource, entry, new["metadata"])
        self._must_be_the_same(resource, entry, new["metadata"])
        if resource.is_custom and is_put and not new["metadata"].get("resourceVersion"):
            cause = invalid_value("metadata.resourceVersion", 0, "must be specified for an update")
            raise invalid(kind.kind, kind.group, key.name, [cause])
        return self._write(resource, entry, live, new, subresource, author, None)

    def _uid_must_stay(self, resource: Resource, entry: Entry, metadata: Object) -> None:
        """A patch sees the object that it patches: with another uid it does not miss it, it changes it."""
        uid = metadata.get("uid")
        if uid and uid != entry.obj["metadata"]["uid"]:
            cause = invalid_value("metadata.uid", uid, "field is immutable")
            raise invalid(resource.kind.kind, resource.kind.group, entry.key.name, [cause])

    def _must_be_the_same(self, resource: Resource, entry: Entry, metadata: Object) -> None:
        kind, live = resource.kind, entry.obj["metadata"]
        uid, version = metadata.get("uid"), metadata.get("resourceVersion")
        if uid and uid != live["uid"]:
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {live['uid']}"
            raise conflict(kind.plural, kind.group, entry.key.name, why)
        if version and version != live["resourceVersion"]:
            raise conflict(kind.plural, kind.group, entry.key.name)

    def _write(
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
            new = {**_without(live, "status"), "metadata": dict(before), **_only(new, "status")}
        else:
            metadata = _without(new["metadata"], *_GIVEN_BY_SERVER)
            metadata.update(_only(before, *_GIVEN_BY_SERVER), resourceVersion=before["resourceVersion"])
            new["metadata"] = metadata
            if "status" in resource.subresources:
                new = {**_without(new, "status"), **_only(live, "status")}
        if resource is CRDS:
            crd.prepare(self._api, new, live, author.now)
        self._no_new_finalizers_while_deleting(resource, before, new["metadata"])
        new = self._settle(resource, new, live, subresource, author, owners, given)
        if new == live:
            return entry
        self._addresses.allocate(resource, new, live)
        if author.dry_run:
            return Entry(entry.key, new, entry.version)
        new = crd.in_storage_version(resource, new)
        if self._is_finished(resource, new["metadata"]):
            return self._store.remove(resource.name, entry.key, new)
        return self._store.put(resource.name, new)

    def _settle(
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
            new = crd.admitted(resource, new, is_applied=owners is not None)
        else:
            admission.admit(resource, new, live)
        metadata = new["metadata"]
        # Written in a version that lacks fields, a status takes them away, too: that counts for nothing.
        counts = resource.counts and subresource != "status"
        if live is not None and counts and _wanted(resource, new) != _wanted(resource, live):
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
            admission.complete(resource, new)
        return new

    def _no_new_finalizers_while_deleting(self, resource: Resource, before: Object, after: Object) -> None:
        if not before.get("deletionTimestamp"):
            return
        present = frozenset(before.get("finalizers") or ())
        if added := [name for name in after.get("finalizers") or () if name not in present]:
            why = (
                "no new finalizers can be added if the object is being deleted, found new finalizers "
                f"[]string{{{', '.join(map(_quoted, added))}}}"
            )
            cause = forbidden_field("metadata.finalizers", why)
            raise invalid(resource.kind.kind, resource.kind.group, before["name"], [cause])

    def _is_finished(self, resource: Resource, metadata: Object) -> bool:
        """Whether nothing holds back an object that is being deleted."""
        return bool(
            metadata.get("deletionTimestamp")
            and not metadata.get("finalizers")
            and not metadata.get("deletionGracePeriodSeconds")
            and (resource not in (NAMESPACES, CRDS) or self._api.garbage.is_empty(resource, metadata["name"]))
        )

    # --- patch ---

    def patch(
        self,
        resource: Resource,
        key: ObjectKey,
        entry: Entry | None,
        patch: Any,
        media: str,
        subresource: str,
        author: Author,
    ) -> Entry:
        """Change an object by any of the four kinds of patch; an apply may also create it.

        Raises:
            Failure: 400, 404, 409, 415, 422.
        """
        if media.startswith("application/apply-patch"):
            return self._apply(resource, key, entry, patch, subresource, author)
        if entry is None:
            raise not_found(resource.kind.plural, resource.kind.group, key.name)
        live = crd.in_version(resource, entry.obj)
        new = self._patched(live, patch, media, resource)
        return self.replace(resource, entry, new, subresource, author, is_put=False)

    def _patched(self, live: Object, patch: Any, media: str, resource: Resource) -> Any:
        must_be_patch(media, resource)
        try:
            if media == "application/json-patch+json":
                return json_patched(live, patch)
            if not isinstance(patch, dict):
                raise bad_request("a merge patch must be an object")
            if media == "application/merge-patch+json":
                return merge_patched(live, patch)
            return strategically_patched(live, patch, resource.shape)
        except PatchFailed as error:
            message = f"the server rejected our request due to an error in our request: {error}"
            raise Failure(422, "Invalid", message) from None

    def _apply(
        self,
        resource: Resource,
        key: ObjectKey,
        entry: Entry | None,
        body: Any,
        subresource: str,
        author: Author,
    ) -> Entry:
        if not author.named:
            cause = required("fieldManager", "is required for apply patch")
            raise invalid("PatchOptions", "meta.k8s.io", "", [cause])
        if isinstance(body, dict) and not (body.get("apiVersion") and body.get("kind")):
            raise bad_request("an apply patch must have apiVersion and kind")
        config = self._identified(resource, key.namespace, key.name, body)
        identity = config["metadata"]
        # What an apply says is empty, it owns.
        config["metadata"] = {**(body["metadata"] if dig(body, "metadata") else {}), **identity}
        if identity.get("managedFields"):
            raise bad_request("metadata.managedFields must be nil")
        live = None
        if entry is not None:
            self._uid_must_stay(resource, entry, identity)
            self._must_be_the_same(resource, entry, identity)
            live = crd.in_version(resource, entry.obj)
        elif uid := identity.get("uid"):
            why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            raise conflict(resource.kind.plural, resource.kind.group, key.name, why)
        if subresource == "status":
            name = _only(identity, "name", "namespace")
            config = {**_only(config, "apiVersion", "kind", "status"), "metadata": name}
        elif "status" in resource.subresources:
            config = _without(config, "status")
        namespace = dig(body, "metadata", "namespace") or ""
        self._must_be_declared(resource, key, namespace, config)
        owners = owners_of(live["metadata"].get("managedFields")) if live else {}
        me = Manager(author.manager, "Apply", "", subresource)
        shape, now = resource.shape, author.now
        if live is not None and not owners:
            before = Manager("before-first-apply", "Update", resource.kind.api_version, "")
            owners = {before: Owned(fields_of(ownable(live), shape), now)}
        try:
            try:
                merged, owners = apply(live, config, owners, me, shape, force=author.force, now=now)
            except ApplyConflict as error:
                if not _is_upgrade_of_kubectl(author.manager, live, error.fields, shape):
                    raise
                merged, owners = apply(live, config, owners, me, shape, force=True, now=now)
        except ApplyConflict as error:
            causes = [
                {"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": path}
                for manager, path in error.conflicts
            ]
            raise Failure(409, "Conflict", str(error), causes=causes) from None
        except UnkeyedEntry as error:
            raise self._untyped(resource, key, namespace, str(error)) from None
        merged["metadata"] = dict(merged["metadata"])
        if resource.struct is not None:
            merged, _ = self._decoded(resource, resource.struct, merged)
        else:
            merged["metadata"], _ = self._decoded(resource, types.METADATA, merged["metadata"])
        if entry is None or live is None:
            merged["metadata"].pop("resourceVersion", None)  # compared with what exists, or with nothing
            return self.create(resource, key.namespace, merged, author, owners=owners)
        return self._write(resource, entry, live, merged, subresource, author, owners)

    def _must_be_declared(self, resource: Resource, key: ObjectKey, namespace: str, config: Object) -> None:
        try:
            if resource.struct is not None:
                unknown = types.decode(resource.struct, config)[1]
            else:
                more = types.decode(types.METADATA, config["metadata"], "metadata")[1]
                unknown = [*crd.unknown_fields(resource, config), *more]
                if mismatch := crd.mismatch(resource, config):
                    raise self._untyped(resource, key, namespace, mismatch)
        except types.TypeMismatch as error:
            raise self._untyped(resource, key, namespace, f".{error}") from None
        if unknown:
            lines = [f".{path}: field not declared in schema" for path in unknown]
            words = lines[0] if len(lines) == 1 else "errors:\n" + "\n".join(f"  {line}" for line in lines)
            raise self._untyped(resource, key, namespace, words)

    def _untyped(self, resource: Resource, key: ObjectKey, namespace: str, words: str) -> Failure:
        # The real server, too, has no reason and code 500 here: its typed merge fails before validation.
        kind = resource.kind
        return Failure(
            500,
            "",
            f"failed to create typed patch object ({namespace}/{key.name}; "
            f"{kind.api_version}, Kind={kind.kind}): {words}",
        )

    # --- subresources with objects of their own ---

    def bind(self, resource: Resource, entry: Entry, binding: Any, author: Author) -> None:
        """Assign a pod to the node that a Binding names.

        Raises:
            Failure: 400, 409 when it is assigned already.
        """
        name = dig(binding, "metadata", "name")
        if name != entry.key.name:
            raise bad_request(f"the Binding is of {name!r}, not of the pod that the URL names")
        node = dig(binding, "target", "name")
        if not node:
            raise bad_request("a Binding needs target.name")
        obj, key = entry.obj, entry.key
        if held := dig(obj, "spec", "nodeName"):
            why = f'pod {key.name} is already assigned to node "{held}"'
            raise conflict("pods/binding", "", key.name, why)
        if dig(obj, "metadata", "deletionTimestamp"):
            raise conflict(
                "pods/binding", "", key.name, f"pod {key.name} is being deleted, cannot be assigned"
            )
        scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": author.now}
        others = [item for item in dig(obj, "status", "conditions") or () if item["type"] != "PodScheduled"]
        new = {
            **obj,
            "metadata": dict(obj["metadata"]),
            "spec": {**obj["spec"], "nodeName": node},
            "status": {**obj.get("status", {}), "conditions": [*others, scheduled]},
        }
        new = self._settle(resource, new, obj, "binding", author, None)
        if not author.dry_run:
            self._store.put(resource.name, new)

    def scale_of(self, resource: Resource, obj: Object) -> Object:
        """The Scale of a workload."""
        metadata = obj["metadata"]
        paths = resource.scale_paths
        selector = dig(obj, *_steps(paths.get("labelSelectorPath", "")))
        status: Object = {"replicas": dig(obj, *_steps(paths["statusReplicasPath"])) or 0}
        if isinstance(selector, dict):
            pairs = (selector.get("matchLabels") or {}).items()
            status["selector"] = ",".join(f"{key}={value}" for key, value in sorted(pairs))
        elif selector:
            status["selector"] = selector
        return {
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": _only(metadata, "name", "namespace", "uid", "resourceVersion", "creationTimestamp"),
            "spec": {"replicas": dig(obj, *_steps(paths["specReplicasPath"])) or 0},
            "status": status,
        }

    def set_scale(self, resource: Resource, entry: Entry, scale: Any, author: Author) -> Object:
        """Change the number of replicas by a Scale.

        Raises:
            Failure: 400, 409.
        """
        live = crd.in_version(resource, entry.obj)
        replicas = dig(scale, "spec", "replicas")
        if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
            raise bad_request("a Scale needs spec.replicas, a number that is not negative")
        metadata = dig(scale, "metadata") or {}
        if not isinstance(metadata, dict):
            raise bad_request("metadata must be an object")
        self._must_be_the_same(resource, entry, metadata)
        steps = _steps(resource.scale_paths["specReplicasPath"])
        new = _with(live, steps, replicas)
        new["metadata"] = dict(live["metadata"])
        new = self._settle(resource, new, live, "scale", author, None)
        if new == live:
            return self.scale_of(resource, live)
        if not author.dry_run:
            self._store.put(resource.name, crd.in_storage_version(resource, new))
        return self.scale_of(resource, new)

    def patch_scale(self, resource: Resource, entry: Entry, patch: Any, media: str, author: Author) -> Object:
        """Change the number of replicas by a patch of the Scale."""
        scale = self.scale_of(resource, crd.in_version(resource, entry.obj))
        if media.startswith("application/apply-patch"):
            media = "application/merge-patch+json"
        return self.set_scale(resource, entry, self._patched(scale, patch, media, resource), author)

    # --- delete ---

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
        kind, obj, name = resource.kind, entry.obj, entry.key.name
        metadata = obj["metadata"]
        preconditions = options.get("preconditions") or {}
        if not isinstance(preconditions, dict):
            raise bad_request("preconditions must be an object")
        self._must_be_the_same(resource, entry, preconditions)
        if resource is NAMESPACES and name in ("default", "kube-system", "kube-public"):
            raise forbidden("namespaces", "", name, "this namespace may not be deleted")
        dry_run = author.dry_run or bool(options.get("dryRun"))
        finalizers = list(metadata.get("finalizers") or ())
        policy = options.get("propagationPolicy") or (
            "Orphan" if options.get("orphanDependents") else "Background"
        )
        if policy not in ("Orphan", "Background", "Foreground"):
            raise bad_request(f'propagationPolicy: "{policy}" is none of Orphan, Background, Foreground')
        # The garbage collector takes these away when it has done its part.
        for name_, its_policy in (("orphan", "Orphan"), ("foregroundDeletion", "Foreground")):
            if policy == its_policy:
                finalizers = list(dict.fromkeys([*finalizers, name_]))
        grace_s = self._grace_s(resource, obj, options)
        gone = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": {
                "name": name,
                **({"group": kind.group} if kind.group else {}),
                "kind": kind.plural,
                "uid": metadata["uid"],
            },
        }
        # A namespace or definition is shown as it begins to go, however little there is to take along.
        if not finalizers and not grace_s and resource not in (NAMESPACES, CRDS):
            last = entry
            if resource is PODS:
                ending = {"deletionTimestamp": author.now, "deletionGracePeriodSeconds": 0}
                final = {**metadata, **ending, "generation": generation_of(obj) + 1}
                last = Entry(entry.key, {**obj, "metadata": final}, entry.version)
            if not dry_run:
                last = self._store.remove(resource.name, entry.key, last.obj)
            return last if kind.plural in _SHOWN_WHEN_DELETED else gone
        already = metadata.get("deletionTimestamp")
        earlier_s = metadata.get("deletionGracePeriodSeconds") or 0
        if already and grace_s >= earlier_s and finalizers == (metadata.get("finalizers") or []):
            return entry
        grace_s = min(grace_s, earlier_s) if already else grace_s
        start = parse_timestamp(author.now)
        when = already if already and grace_s == earlier_s else timestamp(start + timedelta(seconds=grace_s))
        marked: Object = {**metadata, "deletionTimestamp": when, "deletionGracePeriodSeconds": grace_s}
        if finalizers:
            marked["finalizers"] = finalizers
        if metadata.get("generation") and not already and resource is not CRDS:
            marked["generation"] = generation_of(obj) + 1
        new = {**obj, "metadata": marked}
        if resource is NAMESPACES:
            new["status"] = {**obj.get("status", {}), "phase": "Terminating"}
        if dry_run:
            return Entry(entry.key, new, entry.version)
        return self._store.put(resource.name, new)

    def _grace_s(self, resource: Resource, obj: Object, options: Object) -> int:
        """How long a pod may take to stop; nothing else takes time."""
        if resource is not PODS or not dig(obj, "spec", "nodeName"):
            return 0
        if dig(obj, "status", "phase") in ("Succeeded", "Failed"):
            return 0
        asked = options.get("gracePeriodSeconds")
        if asked is None:
            asked = dig(obj, "spec", "terminationGracePeriodSeconds")
        grace_s = 30 if asked is None else int(asked)
        return grace_s if grace_s >= 0 else 1

    def rewrite_metadata(self, resource: Resource, entry: Entry, **changes: Any) -> None:
        """The garbage collector's own writes: finalizers and owner references; empty removes."""
        metadata = {**entry.obj["metadata"], **changes}
        metadata = {key: value for key, value in metadata.items() if value or key not in changes}
        new = {**entry.obj, "metadata": metadata}
        if self._is_finished(resource, metadata):
            self._store.remove(resource.name, entry.key, new)
        else:
            self._store.put(resource.name, new)


def must_be_patch(media: str, resource: Resource) -> None:
    """Make sure that a resource takes patches of this media type.

    Raises:
        Failure: 415.
    """
    accepted = [kind for kind in _PATCH_TYPES if "strategic" not in kind or not resource.is_custom]
    if media not in accepted:
        raise unsupported_media_type(accepted)


def _is_upgrade_of_kubectl(manager: str, live: Object | None, contested: Fields, shape: Shape) -> bool:
    """Whether kubectl only meets itself: all fields in conflict are those of its last client-side apply.

    Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/#upgrading-from-client-side-apply-to-server-side-apply
    """
    last = dig(live, "metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration")
    if manager != "kubectl" or not isinstance(last, str):
        return False
    try:
        return not minus(contested, fields_of(ownable(json.loads(last)), shape))
    except (ValueError, AttributeError):
        return False


def _wanted(resource: Resource, obj: Object) -> Object:
    """What of an object its generation counts."""
    if not resource.is_custom:
        # A Deployment's annotations go to its ReplicaSets, so the real server counts them too.
        annotations = obj["metadata"].get("annotations") if resource.kind.kind == "Deployment" else None
        return {"spec": obj.get("spec"), "annotations": annotations}
    return (
        _without(obj, "metadata", "status")
        if "status" in resource.subresources
        else _without(obj, "metadata")
    )


def _without(obj: Object, *names: str) -> Object:
    return {key: value for key, value in obj.items() if key not in names}


def _only(obj: Object, *names: str) -> Object:
    return {key: obj[key] for key in names if key in obj}


def _quoted(text: str) -> str:
    return f'"{text}"'


def _steps(path: str) -> list[str]:
    """A simple JSON path: `.spec.replicas`."""
    return [step for step in path.split(".") if step]


def _with(obj: Object, steps: list[str], value: Any) -> Object:
    first, *rest = steps
    return {**obj, first: _with(obj.get(first) or {}, rest, value) if rest else value}
