"""Server-side apply: merge, ownership, conflicts. Pure.

A `Shape` says how the fields of a kind merge (which lists are keyed, which are sets, what is one atomic
value). `apply` and `update` take the live object, the wanted one and the owners so far, and answer with
the new owners (`apply` also with the merged object). Objects are never changed in place; results share
unchanged parts with what came in.

Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from kaitoctl.kube.managed_fields import Fields, both, is_member, minus, path_text, paths, union
from kaitoctl.kube.objects import Object
from kaitoctl.sandbox.shapes import Shape


class Manager(NamedTuple):
    """Who wrote: name, `Apply` or `Update`, with which version (Update only), through which subresource."""

    name: str
    operation: str
    api_version: str
    subresource: str


class Owned(NamedTuple):
    """The fields of one manager, when that set last changed, and in which version (Apply only)."""

    fields: Fields
    time: str
    api_version: str = ""


Owners = dict[Manager, Owned]


class ApplyConflict(Exception):
    """Others own fields that an apply would change.

    Args:
        conflicts: (manager in words, path in words), in the order of managers.
        fields: the fields in conflict.
    """

    def __init__(self, conflicts: list[tuple[str, str]], fields: Fields) -> None:
        self.conflicts = conflicts
        self.fields = fields
        if len(conflicts) == 1:
            words = "Apply failed with 1 conflict: conflict with {}: {}".format(*conflicts[0])
        else:
            lines = []
            for manager in sorted({manager for manager, _ in conflicts}):
                lines.append(f"conflicts with {manager}:")
                lines += [f"- {path}" for owner, path in conflicts if owner == manager]
            words = f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(lines)
        super().__init__(words)


# --- managedFields <-> Owners -----------------------------------------------------------------------------


def owners_of(managed_fields: Iterable[Object] | None) -> Owners:
    """The owners that `metadata.managedFields` names."""
    owners: Owners = {}
    for entry in managed_fields or ():
        operation = entry.get("operation") or ""
        manager = Manager(
            entry.get("manager") or "",
            operation,
            "" if operation == "Apply" else entry.get("apiVersion") or "",
            entry.get("subresource") or "",
        )
        version = entry.get("apiVersion") or ""
        owned = Owned(entry.get("fieldsV1") or {}, entry.get("time") or "")
        owners[manager] = owned if manager.api_version else owned._replace(api_version=version)
    return owners


def managed_fields_of(owners: Owners, api_version: str) -> list[Object]:
    """`metadata.managedFields` as the server writes it: Apply first, then by time and name."""
    ordered = sorted(owners.items(), key=lambda item: (item[0].operation, item[1].time, item[0]))
    return [
        {
            "manager": manager.name,
            "operation": manager.operation,
            "apiVersion": manager.api_version or owned.api_version or api_version,
            **({"time": owned.time} if owned.time else {}),
            "fieldsType": "FieldsV1",
            "fieldsV1": owned.fields,
            **({"subresource": manager.subresource} if manager.subresource else {}),
        }
        for manager, owned in ordered
    ]


def _in_words(manager: Manager) -> str:
    words = json.dumps(manager.name)
    if manager.subresource:
        words += f' with subresource "{manager.subresource}"'
    return f"{words} using {manager.api_version}" if manager.operation == "Update" else words


# --- what nobody owns -----------------------------------------------------------------------------------

_SYSTEM_METADATA = frozenset(
    (
        "name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp",
        "deletionTimestamp", "deletionGracePeriodSeconds", "managedFields", "selfLink",
    )
)  # fmt: skip


def ownable(obj: Object) -> Object:
    """The part of an object that managers own: neither its identity nor what the server writes itself."""
    metadata = {
        key: value for key, value in (obj.get("metadata") or {}).items() if key not in _SYSTEM_METADATA
    }
    rest = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind", "metadata")}
    return {"metadata": metadata, **rest} if metadata else rest


# --- sets of fields --------------------------------------------------------------------------------------


def fields_of(value: Any, shape: Shape, *, inner: bool = False) -> Fields:
    """The fields that a value consists of.

    Args:
        value: an object or a part of it.
        shape: how it merges.
        inner: whether maps and keyed lists count besides what they hold; they do when somebody makes
            them appear, they do not when somebody applies into them.
    """
    fields: Fields = {".": {}} if inner else {}
    if isinstance(value, dict):  # the same as below, without naming the elements first: this is the hot loop
        if shape.atomic or not value:
            return {}
        for name, part in value.items():
            is_leaf = not isinstance(part, (dict, list))
            node = {} if is_leaf else fields_of(part, shape.child(name), inner=inner)
            if node and not inner and isinstance(part, dict) and name not in shape.fields:
                node = {".": {}, **node}  # an entry of a map, and no field that is there anyhow
            fields[f"f:{name}"] = node
        return fields
    elements = shape.elements(value)
    if not elements:
        return {}
    for element, part in elements.items():
        node = fields_of(part, shape.entry, inner=inner)
        # An entry of a keyed list is owned besides its fields.
        fields[element] = {".": {}, **node} if node and element[0] == "k" else node
    return fields


def difference(old: Any, new: Any, shape: Shape) -> tuple[Fields, Fields]:
    """What became different between two versions of an object: (set or changed, removed)."""
    if old == new:
        return {}, {}
    changed, removed = _difference(old, new, shape)
    for fields in (changed, removed):
        fields.pop(".", None)
        metadata = fields.get("f:metadata")
        if metadata and "." in metadata:
            fields["f:metadata"] = {key: node for key, node in metadata.items() if key != "."}
    return changed, removed


def _difference(old: Any, new: Any, shape: Shape) -> tuple[Fields, Fields]:
    before, after = shape.elements(old), shape.elements(new)
    if before is None or after is None:  # at least one side is one value
        return fields_of(new, shape, inner=True) if after else {}, fields_of(old, shape, inner=True)
    changed: Fields = {}
    removed: Fields = {}
    for element, part in after.items():
        if element not in before:
            changed[element] = fields_of(part, shape.element_shape(element), inner=True)
        elif before[element] is not part and before[element] != part:
            earlier, below = before[element], shape.element_shape(element)
            if below.elements(earlier) is None or below.elements(part) is None:
                changed[element] = fields_of(part, below, inner=True)
                if earlier is None and len(changed[element]) > 1:
                    changed[element].pop(".", None)  # the field was there, and empty
                if gone := minus(fields_of(earlier, below, inner=True), changed[element]):
                    removed[element] = {key: node for key, node in gone.items() if key != "."}
            else:
                more, less = _difference(earlier, part, below)
                if more:
                    changed[element] = more
                if less:
                    removed[element] = less
    for element, part in before.items():
        if element not in after:
            removed[element] = fields_of(part, shape.element_shape(element), inner=True)
    return changed, removed


# --- writing ---------------------------------------------------------------------------------------------


def update(
    live: Object | None, new: Object, owners: Owners, me: Manager, shape: Shape, *, now: str
) -> Owners:
    """The owners after `me` has put `new` in the place of `live`: who changes a field owns it alone.

    What is only taken away leaves the time as it was.

    Source: k8s.io/apimachinery v0.37.2 `pkg/util/managedfields/internal/managedfieldsupdater.go`.
    """
    changed, removed = difference(ownable(live or {}), ownable(new), shape)
    if not changed and not removed:
        return owners
    mine = owners.get(me)
    before = mine.fields if mine else {}
    after = minus(union(before, changed), removed)
    rest = _taken_from_others(owners, me, changed, removed)
    if after:
        rest[me] = mine._replace(fields=after) if mine and not changed else Owned(after, now)
    return rest


def apply(
    live: Object | None,
    config: Object,
    owners: Owners,
    me: Manager,
    shape: Shape,
    *,
    force: bool,
    now: str,
) -> tuple[Object, Owners]:
    """The object after `me` has applied `config`, and its owners.

    Fields that `me` applied before and leaves out now are removed, unless others own them too.
    Guarantee: applying the same config again gives an equal object and equal owners, times included.

    Raises:
        ApplyConflict: others own fields that would change, and `force` is not given.
        UnkeyedEntry: a keyed list or set of the config is ambiguous.
    """
    shape.insist_on_keys(config)
    mine = owners.get(me)
    applied = fields_of(ownable(config), shape)
    merged: Object = merge(live or {}, config, shape)
    if mine:
        kept = union(applied, {"f:metadata": {"f:name": {}}})  # which nobody owns, and everything has
        for manager, owned in owners.items():
            if manager != me:
                kept = union(kept, owned.fields)
        if gone := minus(mine.fields, kept):
            merged = _without(merged, gone, kept, shape)
    changed, removed = difference(ownable(live), ownable(merged), shape) if live else ({}, {})
    if not force and changed:
        conflicts = []
        contested: Fields = {}
        for manager, owned in sorted(owners.items()):
            if manager != me and (shared := both(owned.fields, changed)):
                conflicts += [(_in_words(manager), path_text(path)) for path in paths(shared)]
                contested = union(contested, shared)
        if conflicts:
            raise ApplyConflict(conflicts, contested)
    rest = _taken_from_others(owners, me, changed, removed)
    if applied:
        unchanged = mine and mine.fields == applied and not changed and not removed
        version = str(config.get("apiVersion") or "")
        rest[me] = mine if mine and unchanged else Owned(applied, now, version)
    return merged, rest


def _taken_from_others(owners: Owners, me: Manager, changed: Fields, removed: Fields) -> Owners:
    rest: Owners = {}
    for manager, owned in owners.items():
        if manager != me:
            left = minus(minus(owned.fields, changed), removed)
            if left:
                rest[manager] = owned if left is owned.fields else owned._replace(fields=left)
    return rest


def merge(live: Any, config: Any, shape: Shape) -> Any:
    """`live` with everything that `config` says; nothing is removed."""
    if isinstance(live, dict) and isinstance(config, dict) and not shape.atomic:
        merged = dict(live)
        for name, value in config.items():
            merged[name] = merge(live[name], value, shape.child(name)) if name in live else value
        return merged
    if isinstance(live, list) and isinstance(config, list) and (shape.keys or shape.is_set):
        return _merge_entries(live, config, shape)
    if config is None and live and shape.elements(live) is not None:
        return live  # null says nothing of what is owned part by part
    return config


def _merge_entries(live: list[Any], config: list[Any], shape: Shape) -> list[Any]:
    """Both lists' entries: in the order of `config`, with the others where they were."""
    have, want = shape.elements(live) or {}, shape.elements(config) or {}
    waiting = list(want)
    merged: dict[str, Any] = {}

    def take(element: str) -> None:
        entry = want[element]
        merged[element] = merge(have[element], entry, shape.entry) if element in have else entry

    for element in have:
        if element not in want:
            merged[element] = have[element]
        elif element not in merged:
            while waiting:
                first = waiting.pop(0)
                take(first)
                if first == element:
                    break
    for element in waiting:
        take(element)
    return list(merged.values())


def _without(value: Any, gone: Fields, kept: Fields, shape: Shape) -> Any:
    """`value` without the fields in `gone`, except for what leads to fields in `kept`.

    An entry of a keyed list goes with its owners, whatever others have put into it: without its key it
    would be no entry. Source: structured-merge-diff, `Updater.prune`.
    """
    elements = shape.elements(value)
    if elements is None:
        return value
    left: dict[str, Any] = {}
    for element, part in elements.items():
        node = gone.get(element)
        if node is None or element in (f"f:{name}" for name, _ in shape.keys):
            left[element] = part
            continue
        keep = kept.get(element)
        is_kept = keep is not None and (element[0] != "k" or is_member(keep))
        # A declared field goes whole when nobody owns any part of it, with what was filled in there.
        is_field = element[0] == "f" and element[2:] in shape.fields
        if (is_member(node) or is_field) and not is_kept:
            continue
        rest = _without(part, node, keep or {}, shape.element_shape(element))
        if rest or not part or keep is not None:
            left[element] = rest
    if isinstance(value, list):
        return list(left.values())
    return {element[2:]: part for element, part in left.items()}


# --- shapes of custom resources --------------------------------------------------------------------------
