"""The metadata of every kind: as a typed server reads it, and what is wrong with it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kaitoctl.kube.objects import Object
from kaitoctl.sandbox.admission.names import (
    LABEL,
    LABEL_RULE,
    SUBDOMAIN,
    SUBDOMAIN_RULE,
    key_causes,
    label_value_causes,
)
from kaitoctl.sandbox.builtin import Resource
from kaitoctl.sandbox.error_status import bad_request, cause, invalid_value, required

_METADATA_TYPES: dict[str, tuple[type, type]] = {
    "name": (str, object),
    "namespace": (str, object),
    "generateName": (str, object),
    "uid": (str, object),
    "resourceVersion": (str, object),
    "labels": (dict, object),
    "annotations": (dict, object),
    "finalizers": (list, str),
    "ownerReferences": (list, dict),
    "managedFields": (list, dict),
}


def decoded_metadata(metadata: Object) -> Object:
    """A metadata of one's own as a typed server would read it: nulls and empty collections are absent.

    Raises:
        Failure: 400, a field is of the wrong type.
    """
    for field, (of, inner) in _METADATA_TYPES.items():
        value = metadata.get(field)
        if value is None:
            continue
        inside = value if of is list else value.values() if isinstance(value, dict) else ()
        if not isinstance(value, of) or not all(isinstance(item, inner) for item in inside):
            raise bad_request(f"metadata.{field} is of the wrong type: {value!r}")
    dropped = ("selfLink", "clusterName")
    return {
        key: value
        for key, value in metadata.items()
        if value is not None and value not in ({}, [], "") and key not in dropped
    }


def metadata_causes(resource: Resource, metadata: Object) -> list[Object]:
    """What is wrong with the metadata of an object."""
    causes = list(_name_causes(resource, metadata.get("name")))
    for field in ("labels", "annotations"):
        for key, value in (metadata.get(field) or {}).items():
            causes += key_causes(f"metadata.{field}", key)
            if not isinstance(value, str):
                causes.append(invalid_value(f"metadata.{field}", value, "must be a string"))
            elif field == "labels":
                causes += label_value_causes("metadata.labels", value)
    annotations = (metadata.get("annotations") or {}).items()
    if sum(len(str(key)) + len(str(value)) for key, value in annotations) > 2**18:
        why = "Too long: may not be more than 262144 bytes"
        causes.append(cause("FieldValueTooLong", "metadata.annotations", why))
    for position, reference in enumerate(metadata.get("ownerReferences") or ()):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not reference.get(field):
                causes.append(required(f"metadata.ownerReferences[{position}].{field}", "must not be empty"))
    controllers = [item for item in metadata.get("ownerReferences") or () if item.get("controller")]
    if len(controllers) > 1:
        why = "only one owner can be the controller"
        causes.append(invalid_value("metadata.ownerReferences", controllers, why))
    for name in metadata.get("finalizers") or ():
        causes += key_causes("metadata.finalizers", name)
    return causes


def _name_causes(resource: Resource, name: Any) -> Iterator[Object]:
    field = "metadata.name"
    plural, group = resource.kind.plural, resource.kind.group
    if not isinstance(name, str) or not name:
        yield required(field, "name or generateName is required")
    elif group == "rbac.authorization.k8s.io":
        if name in (".", "..") or "/" in name or "%" in name:
            yield invalid_value(field, name, "may not contain '/' or '%' and may not be '.' or '..'")
    elif plural in ("namespaces", "services") and not group:
        if not LABEL.fullmatch(name) or len(name) > 63:
            yield invalid_value(field, name, LABEL_RULE)
    elif len(name) > 253:
        yield invalid_value(field, name, "must be no more than 253 characters")
    elif not SUBDOMAIN.fullmatch(name):
        yield invalid_value(field, name, SUBDOMAIN_RULE)
