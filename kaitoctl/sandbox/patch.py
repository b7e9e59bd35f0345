"""The three patches that are not an apply: JSON patch, merge patch, strategic merge patch. Pure.

What is patched is never changed in place; the result shares what the patch does not touch.

Source: RFC 6902, RFC 7386, and for strategic merges the Kubernetes community's
`contributors/devel/sig-api-machinery/strategic-merge-patch.md`.
"""

from __future__ import annotations

from typing import Any

from kaitoctl.kube.objects import Object
from kaitoctl.sandbox.shapes import Shape


class PatchFailed(Exception):
    """The patch does not fit what it is applied to."""


# --- RFC 7386 -----------------------------------------------------------------------------------------------


# --- RFC 6902 -----------------------------------------------------------------------------------------------


def apply_json_patch(target: Any, operations: Any) -> Any:
    """`target` after a JSON patch, all of it or nothing.

    Raises:
        PatchFailed: a malformed operation, a missing path, or a `test` that does not hold.
    """
    if not isinstance(operations, list):
        raise PatchFailed("a JSON patch is a list of operations")
    for operation in operations:
        try:
            target = _operate(target, operation)
        except (KeyError, TypeError) as error:
            raise PatchFailed(f"malformed operation {operation}: {error}") from None
    return target


def _operate(target: Any, operation: Object) -> Any:
    kind, path = operation["op"], _pointer(operation["path"])
    if kind == "test":
        wanted = operation.get("value")
        if wanted is None and path and isinstance(parent := _at(target, path[:-1]), dict):
            target_value = parent.get(path[-1])  # what is missing is null, as the real server does
        else:
            target_value = _at(target, path)
        if target_value != wanted:
            raise PatchFailed(f"testing value {operation['path']} failed: test failed")
        return target
    if kind == "add":
        return _change_at(target, path, operation["value"], insert=True)
    if kind == "replace":
        if not isinstance(_at(target, path[:-1]), dict):  # what a map lacks is added, as the real server does
            _at(target, path)
        return _change_at(target, path, operation["value"], insert=False)
    if kind == "remove":
        _at(target, path)
        return _remove_at(target, path)
    if kind in ("move", "copy"):
        source = _pointer(operation["from"])
        value = _at(target, source)
        if kind == "move":
            target = _remove_at(target, source)
        return _change_at(target, path, value, insert=True)
    raise PatchFailed(f"unknown operation {kind!r}")


def _pointer(text: str) -> list[str]:
    if text and not text.startswith("/"):
        raise PatchFailed(f"path {text!r} does not start with /")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _position(part: str, length: int) -> int:
    if not part.isascii() or not part.isdigit() or int(part) >= length:
        raise PatchFailed(f"there is no position {part!r} in a list of {length}")
    return int(part)


def _at(target: Any, path: list[str]) -> Any:
    for part in path:
        if isinstance(target, list):
            target = target[_position(part, len(target))]
        elif isinstance(target, dict) and part in target:
            target = target[part]
        else:
            raise PatchFailed(f"the path /{'/'.join(path)} does not exist")
    return target


def _change_at(target: Any, path: list[str], value: Any, *, insert: bool) -> Any:
    if not path:
        return value
    part, *rest = path
    if isinstance(target, list):
        items = list(target)
        if not rest and insert:
            items.insert(len(items) if part == "-" else _position(part, len(items) + 1), value)
        else:
            position = _position(part, len(items))
            items[position] = _change_at(items[position], rest, value, insert=insert)
        return items
    if not isinstance(target, dict) or (rest and part not in target):
        raise PatchFailed(f"the path of {part!r} does not exist")
    return {**target, part: _change_at(target.get(part), rest, value, insert=insert)}


def _remove_at(target: Any, path: list[str]) -> Any:
    if not path:
        return None
    part, *rest = path
    if isinstance(target, list):
        position = _position(part, len(target))
        middle = [_remove_at(target[position], rest)] if rest else []
        return [*target[:position], *middle, *target[position + 1 :]]
    if rest:
        return {**target, part: _remove_at(target[part], rest)}
    return {name: value for name, value in target.items() if name != part}


# --- strategic merge ----------------------------------------------------------------------------------------

_DIRECTIVE = "$patch"
_KEEP = "$retainKeys"
_DELETE_FROM = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"


def apply_strategic_patch(target: Any, patch: Any, shape: Shape) -> Any:
    """`target` after a strategic merge patch: like a merge patch, but keyed lists merge by key.

    Knows `$patch: replace|delete|merge`, `$retainKeys`, `$deleteFromPrimitiveList` and `$setElementOrder`.

    Raises:
        PatchFailed: a list entry without its merge key, or an unknown directive.
    """
    if not isinstance(patch, dict):
        return patch
    directive = patch.get(_DIRECTIVE, "merge")
    plain = {name: value for name, value in patch.items() if not name.startswith("$")}
    if directive == "replace":
        return plain
    if directive == "delete":
        return {}
    if directive != "merge":
        raise PatchFailed(f"unknown $patch directive {directive!r}")
    merged = dict(target) if isinstance(target, dict) else {}
    if (kept := patch.get(_KEEP)) is not None:
        merged = {name: value for name, value in merged.items() if name in kept}
    for name, value in plain.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, list) and name not in merged:
            merged[name] = _new_list(value, shape.child(name).entry)
        elif isinstance(value, list):
            merged[name] = _merged_list(merged[name] or [], value, shape.child(name))
        else:
            merged[name] = apply_strategic_patch(merged.get(name), value, shape.child(name))
    _follow_directives(merged, target, patch, shape)
    return merged


def _follow_directives(merged: Object, target: Any, patch: Object, shape: Shape) -> None:
    """Take out of lists of scalars, and put lists in order, as the patch says."""
    for name, value in patch.items():
        field = name.removeprefix(_DELETE_FROM)
        if name.startswith(_DELETE_FROM) and isinstance(merged.get(field), list):
            merged[field] = [item for item in merged[field] if item not in value]
    for name, value in patch.items():
        field = name.removeprefix(_ORDER)
        if name.startswith(_ORDER) and isinstance(merged.get(field), list):
            before = target.get(field) if isinstance(target, dict) else None
            merged[field] = _order(merged[field], value, before or [], shape.child(field))


def _new_list(patch: list[Any], entry: Shape) -> list[Any]:
    plain = [item for item in patch if not (isinstance(item, dict) and _DIRECTIVE in item)]
    return [apply_strategic_patch({}, item, entry) if isinstance(item, dict) else item for item in plain]


def _merged_list(target: list[Any], patch: list[Any], shape: Shape) -> list[Any]:
    key = shape.merge
    if key is None:
        return [item for item in patch if not (isinstance(item, dict) and _DIRECTIVE in item)]
    if not key:
        merged = [*target, *(item for item in patch if item not in target)]
        return _order(merged, patch, target, shape)
    if any(isinstance(item, dict) and item.get(_DIRECTIVE) == "replace" for item in patch):
        return [item for item in patch if _DIRECTIVE not in item]
    merged = list(target)
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise PatchFailed(f"map: {item} does not contain declared merge key: {key}")
        position = next((at for at, old in enumerate(merged) if old.get(key) == item[key]), None)
        if item.get(_DIRECTIVE) == "delete":
            merged = [old for old in merged if old.get(key) != item[key]]
        elif position is None:
            merged.append(apply_strategic_patch({}, item, shape.entry))
        else:
            merged[position] = apply_strategic_patch(merged[position], item, shape.entry)
    return _order(merged, [item for item in patch if _DIRECTIVE not in item], target, shape)


def _order(items: list[Any], order: list[Any], server: list[Any], shape: Shape) -> list[Any]:
    """Entries in the order of a patch, and the server's own where they were relative to them.

    Args:
        items: after the patch.
        order: entries, or keys of entries, in the patch's order.
        server: the entries before the patch.
        shape: of the list.
    """
    key = shape.merge

    def identity(item: Any) -> Any:
        return item.get(key) if key and isinstance(item, dict) else item

    wanted = [identity(item) for item in order]
    before = [identity(item) for item in server]
    patched = sorted(
        (item for item in items if identity(item) in wanted), key=lambda it: wanted.index(identity(it))
    )
    kept = [item for item in items if identity(item) not in wanted]
    made: list[Any] = []
    while patched and kept:
        mine, yours = identity(patched[0]), identity(kept[0])
        first = mine in before and yours in before and before.index(yours) < before.index(mine)
        made.append((kept if first else patched).pop(0))
    return [*made, *patched, *kept]
