"""What the API server asks of the metadata of every object, whatever its kind.

Source: Kubernetes v1.37, apimachinery: `pkg/api/validation/objectmeta.go` (ValidateObjectMeta,
TotalAnnotationSizeLimitB), `pkg/apis/meta/v1/validation/validation.go`, and the types of ObjectMeta in
`pkg/apis/meta/v1/types.go`. Names and the syntax of labels are among the rules of `create`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kaitoctl.kaito.validation.grammar import is_dns_name, is_label_key
from kaitoctl.kaito.validation.problem import Problem, as_list, as_map, as_text, error

MOST_ANNOTATIONS = 256 * 1024
"""Bytes, of keys and values together, in UTF-8."""

_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[-+][0-9]{2}:[0-9]{2})"
)

_TYPES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(
        ("name", "generateName", "namespace", "selfLink", "uid", "resourceVersion"),
        ("text", lambda value: isinstance(value, str)),
    ),
    **dict.fromkeys(
        ("labels", "annotations"), ("a map", lambda value: isinstance(value, dict)),
    ),
    **dict.fromkeys(
        ("finalizers", "ownerReferences", "managedFields"), ("a list", lambda value: isinstance(value, list))
    ),
    **dict.fromkeys(
        ("generation", "deletionGracePeriodSeconds"),
        ("a whole number", lambda value: _is_whole(value) and -(2**63) <= value < 2**63),
    ),
    **dict.fromkeys(
        ("creationTimestamp", "deletionTimestamp"),
        ("a time", lambda value: isinstance(value, str) and _TIME.fullmatch(value) is not None),
    ),
}  # fmt: skip
_OWNER: Mapping[str, type] = {
    "apiVersion": str, "kind": str, "name": str, "uid": str, "controller": bool, "blockOwnerDeletion": bool,
}  # fmt: skip


def problems(metadata: Any) -> Iterator[Problem]:
    """What is wrong with an object's metadata; nothing is said of what its name must look like.

    Guarantee: never raises, whatever JSON it is made of.
    """
    if metadata is not None and not isinstance(metadata, dict):
        yield error("metadata", "KW106", "must be a map")
        return
    metadata = as_map(metadata)
    for key, value in metadata.items():
        where = f"metadata.{key[:80]}"
        if key not in _TYPES:
            yield error(where, "KW102", "unknown field", "labels and annotations are maps below metadata")
        elif value is not None and not _TYPES[key][1](value):
            yield error(where, "KW106", f"must be {_TYPES[key][0]}")
    for key in ("labels", "annotations"):
        yield from _texts(f"metadata.{key}", metadata.get(key))
    yield from _sizes(as_map(metadata.get("annotations")))
    yield from _generate_name(metadata)
    yield from _finalizers(as_list(metadata.get("finalizers")))
    yield from _owners(as_list(metadata.get("ownerReferences")))
    yield from _managers(as_list(metadata.get("managedFields")))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _texts(where: str, found: Any) -> Iterator[Problem]:
    for key, value in as_map(found).items():
        if value is not None and not isinstance(value, str):
            shown = {True: "true", False: "false"}.get(value, value) if isinstance(value, bool) else value
            hint = f'put it in quotes: "{shown}"' if isinstance(value, (int, float)) else ""
            yield error(f"{where}[{key[:80]}]", "KW106", "must be text", hint)


def _sizes(annotations: Mapping[str, Any]) -> Iterator[Problem]:
    total = sum(_size(key) + _size(value) for key, value in annotations.items())
    if total > MOST_ANNOTATIONS:
        largest = max(annotations, key=lambda key: _size(annotations[key]))
        hint = f"the largest is {largest[:80]} ({_size(annotations[largest])} bytes)"
        if largest == "kubectl.kubernetes.io/last-applied-configuration":
            hint += "; a server-side apply does not write it"
        message = f"{total} bytes of annotations, {MOST_ANNOTATIONS} are allowed"
        yield error("metadata.annotations", "KW107", message, hint)


def _size(value: Any) -> int:
    return len(value.encode("utf-8", "surrogatepass")) if isinstance(value, str) else 0


def _generate_name(metadata: Mapping[str, Any]) -> Iterator[Problem]:
    prefix = metadata.get("generateName")
    if isinstance(prefix, str) and prefix and not is_dns_name(prefix.removesuffix("-") or "-"):
        yield error("metadata.generateName", "KW108", f"{prefix[:80]!r} cannot begin a name")


def _finalizers(finalizers: list[Any]) -> Iterator[Problem]:
    for index, name in enumerate(finalizers):
        where = f"metadata.finalizers[{index}]"
        if not isinstance(name, str):
            yield error(where, "KW106", "must be text")
        elif not is_label_key(name):
            yield error(where, "KW108", f"{name[:80]!r} is not a finalizer's name")
    if {"orphan", "foregroundDeletion"} <= {name for name in finalizers if isinstance(name, str)}:
        yield error("metadata.finalizers", "KW108", "orphan and foregroundDeletion exclude each other")


def _owners(owners: list[Any]) -> Iterator[Problem]:
    controllers = 0
    for index, owner in enumerate(owners):
        where = f"metadata.ownerReferences[{index}]"
        if not isinstance(owner, dict):
            yield error(where, "KW106", "must be a map")
            continue
        for key, value in owner.items():
            if key not in _OWNER:
                yield error(f"{where}.{key[:80]}", "KW102", "unknown field")
            elif value is not None and not isinstance(value, _OWNER[key]):
                yield error(
                    f"{where}.{key}",
                    "KW106",
                    "must be " + ("text" if _OWNER[key] is str else "true or false"),
                )
        for key in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(key):
                yield error(f"{where}.{key}", "KW108", "is required")
        version = as_text(owner.get("apiVersion"))
        if version.count("/") > 1:
            yield error(f"{where}.apiVersion", "KW108", f"{version[:80]!r} is not group/version")
        if version == "v1" and owner.get("kind") == "Event":
            yield error(where, "KW108", "an Event cannot be an owner")
        controllers += owner.get("controller") is True
        if controllers == 2:
            yield error(f"{where}.controller", "KW108", "only one owner can be the controller")
            controllers += 1


def _managers(entries: list[Any]) -> Iterator[Problem]:
    for index, entry in enumerate(entries):
        where = f"metadata.managedFields[{index}]"
        if not isinstance(entry, dict):
            yield error(where, "KW106", "must be a map")
