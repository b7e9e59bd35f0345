"""What an API server makes of an object by its CRD: drops what is not known, fills in defaults. Pure.

At the top of an object, and of an embedded resource, `apiVersion`, `kind` and `metadata` are always known.

Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from __future__ import annotations

from typing import Any

from kaitoctl.kube.objects import copy_of
from kaitoctl.kube.schema import IDENTITY, Schema, is_open


def prune(value: Any, schema: Schema) -> Any:
    """`value` without the fields that the schema does not know; `value` itself when it has none."""
    return _prune(value, schema, "", None, embedded=True)


def unknown_fields(value: Any, schema: Schema) -> list[str]:
    """The paths of the fields that `prune` drops, parents only."""
    dropped: list[str] = []
    _prune(value, schema, "", dropped, embedded=True)
    return dropped


def _prune(
    value: Any, schema: Schema, path: str, dropped: list[str] | None, *, embedded: bool = False
) -> Any:
    if isinstance(value, dict):
        known = schema.get("properties") or {}
        values = schema.get("additionalProperties")
        free = is_open(schema)
        embedded = embedded or bool(schema.get("x-kubernetes-embedded-resource"))
        changed: dict[str, Any] = {}
        gone = set()
        for name, item in value.items():
            below = known.get(name)
            if embedded and name in IDENTITY:
                continue
            if below is None and isinstance(values, dict):
                below = values
            if below is not None:
                if isinstance(item, (dict, list)):
                    after = _prune(item, below, f"{path}.{name}" if path else name, dropped)
                    if after is not item:
                        changed[name] = after
            elif not free:
                gone.add(name)
                if dropped is not None:
                    dropped.append(f"{path}.{name}" if path else name)
        if not gone and not changed:
            return value
        return {name: changed.get(name, item) for name, item in value.items() if name not in gone}
    if isinstance(value, list) and (items := schema.get("items")):
        pruned = [_prune(item, items, f"{path}[{position}]", dropped) for position, item in enumerate(value)]
        return pruned if any(new is not old for new, old in zip(pruned, value, strict=True)) else value
    return value


def default(value: Any, schema: Schema, *, keep_nulls: bool = False) -> Any:
    """`value` with the schema's defaults for what is missing; `value` itself when nothing is.

    A null in a field that is not nullable counts as missing, unless they are kept where there is no default.
    """
    if isinstance(value, dict):
        filled: dict[str, Any] | None = None
        known = schema.get("properties") or {}
        for name, below in known.items():
            item = value.get(name)
            if item is None and not (name in value and below.get("nullable")):
                if "default" in below:
                    after = default(copy_of(below["default"]), below)
                elif name in value and not keep_nulls:
                    filled = dict(value) if filled is None else filled
                    del filled[name]
                    continue
                else:
                    continue
            else:
                after = default(item, below, keep_nulls=keep_nulls)
            if after is not item:
                filled = dict(value) if filled is None else filled
                filled[name] = after
        values = schema.get("additionalProperties")
        if isinstance(values, dict):
            for name, item in value.items():
                if name not in known and (after := default(item, values, keep_nulls=keep_nulls)) is not item:
                    filled = dict(value) if filled is None else filled
                    filled[name] = after
        return value if filled is None else filled
    if isinstance(value, list) and (items := schema.get("items")):
        done = [default(item, items, keep_nulls=keep_nulls) for item in value]
        return done if any(new is not old for new, old in zip(done, value, strict=True)) else value
    return value
