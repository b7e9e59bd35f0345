"""How the parts of objects are merged and owned: keyed lists, atomic maps, of a type or of a schema. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from kaitoctl.kube.managed_fields import Path, path_text

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class UnkeyedEntry(Exception):
    """A list that merges by key or as a set has an entry without a key of its own."""


class Shape(Struct, frozen=True):
    """How a value merges and is owned.

    Args:
        fields: the shapes of named fields that are not simply deduced.
        items: of list entries or of a map's values; None to deduce them.
        keys: fields that identify a list entry, with the value that a missing one stands for.
        atomic: a map that is one value.
        is_set: a list of unique scalars.
        merge: by which field a strategic merge patch merges a list, "" for scalars; None replaces it.
    """

    fields: Mapping[str, Shape] = field(default_factory=dict)
    items: Shape | None = None
    keys: tuple[tuple[str, Any], ...] = ()
    atomic: bool = False
    is_set: bool = False
    merge: str | None = None

    def child(self, name: str) -> Shape:
        """The shape of a field of this name."""
        return self.fields.get(name) or self.items or DEDUCED

    @property
    def entry(self) -> Shape:
        """The shape of a list entry."""
        return self.items or DEDUCED

    def elements(self, value: Any) -> dict[str, Any] | None:
        """The parts of a value that are owned one by one, by path element; None when it is one value.

        A keyed list whose entries have no keys of their own counts as one value.
        """
        if isinstance(value, dict):
            return None if self.atomic else {f"f:{name}": item for name, item in value.items()}
        if not isinstance(value, list) or not (self.keys or self.is_set):
            return None
        try:
            found = {self.element(item, position): item for position, item in enumerate(value)}
        except UnkeyedEntry:
            return None
        return found if len(found) == len(value) else None

    def insist_on_keys(self, value: Any, path: Path = ()) -> None:
        """Make sure that every entry of every keyed list and set has a key of its own.

        Raises:
            UnkeyedEntry: one lacks a key, or two have the same.
        """
        if isinstance(value, dict) and not self.atomic:
            for name, part in value.items():
                if isinstance(part, (dict, list)):
                    self.child(name).insist_on_keys(part, (*path, f"f:{name}"))
        elif isinstance(value, list) and (self.keys or self.is_set):
            seen = set()
            for position, item in enumerate(value):
                try:
                    element = self.element(item, position)
                except UnkeyedEntry as error:
                    raise UnkeyedEntry(f"{path_text(path)}: {error}") from None
                if element in seen:
                    what = path_text((element,))
                    raise UnkeyedEntry(f"{path_text(path)}: duplicate entries for key {what}")
                seen.add(element)
                self.entry.insist_on_keys(item, (*path, element))

    def element(self, item: Any, position: int = 0) -> str:
        """The path element of an entry of a keyed list or of a set.

        Raises:
            UnkeyedEntry: it lacks a key.
        """
        if self.is_set:
            return f"v:{_encode(item)}"
        key = []
        for name, default in self.keys:
            value = item.get(name, default) if isinstance(item, dict) else None
            if value is None:
                raise UnkeyedEntry(
                    f"element {position}: associative list with keys has an element that omits "
                    f'key field "{name}" (and doesn\'t have default value)'
                )
            key.append(f'"{name}":{_encode(value)}')
        return f"k:{{{','.join(key)}}}"

    def element_shape(self, element: str) -> Shape:
        """The shape of what a path element leads to."""
        return self.child(element[2:]) if element.startswith("f:") else self.entry


DEDUCED = Shape()

_METADATA = Shape(
    {
        "labels": Shape(),
        "annotations": Shape(),
        "ownerReferences": Shape(keys=(("uid", None),)),
        "finalizers": Shape(is_set=True),
    }
)


def shape_of_schema(schema: Mapping[str, Any] | None) -> Shape:
    """How a custom resource merges: from `x-kubernetes-list-type`, `-list-map-keys` and `-map-type`."""
    shape = _shape_of(schema or {})
    return Shape({**shape.fields, "metadata": _METADATA}, shape.items)


def _has_parts(schema: Mapping[str, Any], name: str) -> bool:
    """Whether a field has parts: then it matters that it is declared, be it in no other way remarkable."""
    return schema["properties"][name].get("type") in ("object", None)


def _shape_of(schema: Mapping[str, Any]) -> Shape:
    if items := schema.get("items"):
        entry = _shape_of(items)
        kind = schema.get("x-kubernetes-list-type", "atomic")
        if kind == "map":
            known = items.get("properties") or {}
            names = schema.get("x-kubernetes-list-map-keys") or ()
            return Shape(
                items=entry, keys=tuple((name, (known.get(name) or {}).get("default")) for name in names)
            )
        return Shape(items=entry, is_set=kind == "set")
    fields = {name: _shape_of(child) for name, child in (schema.get("properties") or {}).items()}
    values = schema.get("additionalProperties")
    return Shape(
        {name: shape for name, shape in fields.items() if shape != DEDUCED or _has_parts(schema, name)},
        _shape_of(values) if isinstance(values, dict) else None,
        atomic=schema.get("x-kubernetes-map-type") == "atomic",
    )
