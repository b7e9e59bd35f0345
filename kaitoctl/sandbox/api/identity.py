"""Which object a request means: by its URL, and by what the body says of itself. Pure."""

from __future__ import annotations

from typing import Any

from kaitoctl.kube.objects import Object
from kaitoctl.sandbox.admission.metadata import decoded_metadata
from kaitoctl.sandbox.builtin import Resource
from kaitoctl.sandbox.error_status import bad_request, conflict, invalid, invalid_value
from kaitoctl.sandbox.store import Entry


def with_identity(resource: Resource, namespace: str, name: str, obj: Any, *, is_put: bool = False) -> Object:
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
    metadata = decoded_metadata(metadata)
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


def uid_must_stay(resource: Resource, entry: Entry, metadata: Object) -> None:
    """A patch sees the object that it patches: with another uid it does not miss it, it changes it.

    Raises:
        Failure: 422.
    """
    uid = metadata.get("uid")
    if uid and uid != entry.obj["metadata"]["uid"]:
        cause = invalid_value("metadata.uid", uid, "field is immutable")
        raise invalid(resource.kind.kind, resource.kind.group, entry.key.name, [cause])


def must_be_the_same(resource: Resource, entry: Entry, metadata: Object) -> None:
    """Make sure that the stored object is the one that a request names by uid or version.

    Raises:
        Failure: 409.
    """
    kind, live = resource.kind, entry.obj["metadata"]
    uid, version = metadata.get("uid"), metadata.get("resourceVersion")
    if uid and uid != live["uid"]:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {live['uid']}"
        raise conflict(kind.plural, kind.group, entry.key.name, why)
    if version and version != live["resourceVersion"]:
        raise conflict(kind.plural, kind.group, entry.key.name)
