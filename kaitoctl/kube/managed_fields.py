"""Who owns which field: `metadata.managedFields`, pure.

A set of field paths is kept in the shape in which the API server writes it down (`fieldsV1`): a tree of
dicts whose keys are path elements, `f:name` for a field, `k:{"name":"a"}` for the entry of a keyed list,
`v:"x"` for a member of a set and `i:0` for a position. A node without children is in the set; a node with
children is in the set only when it says so with ".". The empty tree is the empty set.

`union`, `minus` and `both` never change their arguments and share what they can.

Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from kaitoctl.kube.objects import Object, dig

Fields = dict[str, Any]
"""A set of field paths as a `fieldsV1` tree."""

Path = tuple[str, ...]
"""One field path: its elements from the root."""


def is_member(node: Fields) -> bool:
    """Whether the path that leads to `node` is itself in the set."""
    return not node or "." in node


def paths(fields: Fields) -> Iterator[Path]:
    """The paths in the set, parents before children."""

    def walk(node: Fields, prefix: Path) -> Iterator[Path]:
        if prefix and is_member(node):
            yield prefix
        for element, child in node.items():
            if element != ".":
                yield from walk(child, (*prefix, element))

    return walk(fields, ())


def union(left: Fields, right: Fields) -> Fields:
    """The paths in either set."""
    if not left or not right:
        return left or right
    return _union(left, right)


def _union(left: Fields, right: Fields) -> Fields:
    if left is right:
        return left
    if not left or not right:
        filled = left or right
        return filled if is_member(filled) else {".": {}, **filled}
    merged = dict(left)
    for element, child in right.items():
        merged[element] = _union(merged[element], child) if element in merged else child
    return merged


def minus(left: Fields, right: Fields) -> Fields:
    """The paths in `left` that are not in `right`; `left` itself when there is nothing to take away."""
    if not left or not right:
        return left
    return _minus(left, right) or {}


def _minus(left: Fields, right: Fields) -> Fields | None:
    rest: Fields = {}
    same = True
    for element, child in left.items():
        if element == ".":
            continue
        if element in right:
            left_over = _minus(child, right[element])
            same = same and left_over is child
            if left_over is not None:
                rest[element] = left_over
        else:
            rest[element] = child
    stays = is_member(left) and not is_member(right)
    if same and stays == is_member(left):
        return left
    if stays:
        return {".": {}, **rest} if rest else {}
    return rest or None


def both(left: Fields, right: Fields) -> Fields:
    """The paths in both sets."""
    return (_both(left, right) or {}) if left and right else {}


def _both(left: Fields, right: Fields) -> Fields | None:
    shared = {
        element: child
        for element in left
        if element != "." and element in right
        if (child := _both(left[element], right[element])) is not None
    }
    if is_member(left) and is_member(right):
        return {".": {}, **shared} if shared else {}
    return shared or None


class Writer(NamedTuple):
    """Who wrote a field last.

    Args:
        manager: the field manager.
        time: when it wrote any of its fields last, RFC 3339; empty when nobody noted it.
    """

    manager: str
    time: str


def last_writer(obj: Object, *path: str) -> Writer | None:
    """Who owns a field and wrote last, such as `f:spec`, `f:replicas`; None when nobody says."""
    found = [
        Writer(str(entry.get("manager") or "?"), str(entry.get("time") or ""))
        for entry in (obj.get("metadata") or {}).get("managedFields") or ()
        if dig(entry, "fieldsV1", *path) is not None
    ]
    return max(found, key=lambda writer: writer.time, default=None)


def written_at(obj: Object, fields: Collection[str]) -> str:
    """When somebody last wrote an object of which they own one of these fields; empty when nobody says.

    Args:
        obj: as the API server has it.
        fields: at its root, such as `f:spec`.
    """
    entries = (obj.get("metadata") or {}).get("managedFields") or ()
    spec = (one for one in entries if not one.get("subresource"))
    own = [one for one in spec if not {*fields}.isdisjoint(one.get("fieldsV1") or ())]
    return max((str(one.get("time") or "") for one in own), default="")


def owners(obj: Object, *path: str, subresource: str | None = None) -> set[str]:
    """The managers that own a field, such as `f:spec`, `f:replicas`, or something below it.

    Args:
        obj: as the API server has it.
        path: of the field; of none, all managers.
        subresource: only those who wrote by this one; empty for the object itself, None for any.
    """
    return {
        str(entry.get("manager") or "")
        for entry in (obj.get("metadata") or {}).get("managedFields") or ()
        if (subresource is None or (entry.get("subresource") or "") == subresource)
        and (not path or dig(entry, "fieldsV1", *path) is not None)
    }


def path_text(path: Path) -> str:
    """A path as the API server words it: `.spec.containers[name="a"].image`."""
    return "".join(_element_text(element) for element in path)


def _element_text(element: str) -> str:
    tag, _, rest = element.partition(":")
    if tag == "f":
        return f".{rest}"
    if tag == "k":
        parts = (f"{key}={json.dumps(value)}" for key, value in json.loads(rest).items())
        return f"[{','.join(parts)}]"
    return f"[{rest}]"


def applied_fields(obj: Object, manager: str, *, subresource: str = "") -> Fields:
    """The set of fields that `manager` owns by server-side apply; empty when it never applied."""
    owned: Fields = {}
    for entry in obj.get("metadata", {}).get("managedFields") or ():
        if (
            entry.get("manager") == manager
            and entry.get("operation") == "Apply"
            and (entry.get("subresource") or "") == subresource
        ):
            owned = union(owned, entry.get("fieldsV1") or {})
    return owned


def extract(obj: Object, manager: str, *, subresource: str = "") -> Object:
    """What `manager` applied, with today's values: the manifest it may change a little and apply again.

    Returns:
        apiVersion, kind, name and namespace, and every field that the manager owns by Apply. Fields
        that others own are not in it.
    """
    metadata = obj.get("metadata", {})
    name = {key: metadata[key] for key in ("name", "namespace") if metadata.get(key)}
    head = {key: obj[key] for key in ("apiVersion", "kind") if key in obj}
    owned = _owned_by(obj, applied_fields(obj, manager, subresource=subresource))
    body = dict(owned) if isinstance(owned, dict) else {}
    return {**head, **body, "metadata": {**name, **body.get("metadata", {})}}


def _owned_by(value: Any, fields: Fields) -> Any:
    children = [element for element in fields if element != "."]
    if isinstance(value, dict):
        names = ((element[2:], fields[element]) for element in children if element.startswith("f:"))
        return {name: _value(value[name], node) for name, node in names if name in value}
    if isinstance(value, list):
        found = []
        for position, item in enumerate(value):
            for element in children:
                if (keys := _keys_if_matching(element, position, item)) is not None:
                    rest = _value(item, fields[element])
                    found.append({**keys, **rest} if isinstance(rest, dict) else rest)
                    break
        return found
    return value


def _value(value: Any, node: Fields) -> Any:
    if not node or (node.keys() == {"."} and not isinstance(value, dict)):
        return value  # a leaf: a scalar, or a list or map owned as one value
    return _owned_by(value, node)


def _keys_if_matching(element: str, position: int, item: Any) -> Object | None:
    """The key fields of a list entry when `element` means this entry, else None."""
    tag, _, rest = element.partition(":")
    if tag == "i":
        return {} if int(rest) == position else None
    wanted = json.loads(rest)
    if tag == "v":
        return {} if item == wanted else None
    if not isinstance(item, dict) or any(item.get(key, value) != value for key, value in wanted.items()):
        return None
    return {key: item[key] for key in wanted if key in item}
