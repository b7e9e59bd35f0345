"""What a pod template and a volume may hold: KAITO's webhook decodes them, and refuses what it cannot decode.

The schema of a Workspace takes anything there. The webhook decodes it into the Go types of the Kubernetes
release that KAITO was built with: a key that they do not have, or a value of another type, is refused. A key
in other letters (`emptydir`) passes there, and the controller, whose decoder minds them, does not see it.

Source: k8s.io/api v0.30.1, v0.33.2, v0.34.1 and v0.35.0 (`core/v1/types.go`), which the `go.mod` of KAITO's
releases name; apimachinery's `Quantity`, `IntOrString` and `Time`; Go's `encoding/json`, sigs.k8s.io/json.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from kaitoctl.kaito.validation.problem import Problem, error
from kaitoctl.kube.objects import quantity

Types = Mapping[str, Mapping[str, str]]

_CALLED = {"PodTemplateSpec": "a pod template", "PodSpec": "a pod", "ObjectMeta": "metadata"}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[-+]\d\d:\d\d)", re.ASCII)
_PLAIN_UP_TO = 1e21  # a larger number is written with an exponent, which no integer has


def problems(where: str, value: Any, kind: str, api: str = "") -> Iterator[Problem]:
    """What cannot be decoded of a value.

    Args:
        where: its path.
        value: the value.
        kind: one of Kubernetes' types, such as `PodTemplateSpec`.
        api: the release of Kubernetes' Go types that decodes it; empty for the newest.
    """
    yield from _faults(where, value, kind, types_of(api))


@cache
def types_of(api: str) -> Types:
    """The fields of each type, and what each of them holds, in a release of Kubernetes' Go types."""
    table = Path(__file__).parent.parent / "tables" / "pod_types.json"
    known: dict[str, dict[str, str]] = {}
    for release, changes in json.loads(table.read_text("utf-8")).items():  # the oldest first
        for name, fields in changes.items():
            merged = {**known.get(name, {}), **fields}
            known[name] = {key: kind for key, kind in merged.items() if kind is not None}
        if release == api:
            break
    return known


def _faults(where: str, value: Any, kind: str, types: Types) -> Iterator[Problem]:
    if value is None:
        return
    if kind.startswith("[]"):
        if not isinstance(value, list):
            yield error(where, "KW105", "must be a list")
            return
        for index, item in enumerate(value):
            yield from _faults(f"{where}[{index}]", item, kind[2:], types)
    elif kind.startswith("{}"):
        if not isinstance(value, dict):
            yield error(where, "KW105", "must be a map")
            return
        for key, item in value.items():
            yield from _faults(f"{where}[{str(key)[:80]}]", item, kind[2:], types)
    elif kind in types:
        yield from _struct_faults(where, value, kind, types)
    elif not _IS[kind][1](value):
        yield error(where, "KW105", f"must be {_IS[kind][0]}")


def _struct_faults(where: str, value: Any, kind: str, types: Types) -> Iterator[Problem]:
    fields = types[kind]
    if not isinstance(value, dict):
        yield error(where, "KW105", f"{_CALLED.get(kind, 'it')} must be a map")
        return
    for key, item in value.items():
        if field := fields.get(key):
            yield from _faults(f"{where}.{key}", item, field, types)
            continue
        if meant := next((name for name in fields if name.lower() == str(key).lower()), ""):
            message = f"Kubernetes calls it {meant}: the webhook takes it, and the controller does not see it"
            fault = error(f"{where}.{key[:80]}", "KW105", message, f"write {meant}")
            yield replace(fault, kaito="never-ready")
            yield from _faults(f"{where}.{key}", item, fields[meant], types)
            continue
        from kaitoctl.kaito.catalog import close_matches

        near = close_matches(key, sorted(fields))
        hint = f"Did you mean {' or '.join(near)}?" if near else ""
        called = _CALLED.get(kind, f"a {kind}")
        yield error(f"{where}.{key[:80]}", "KW105", f"{called} has no {key[:80]!r}", hint)


def _is_whole(bits: int) -> Callable[[Any], bool]:
    def is_one(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        if isinstance(value, float) and not (value.is_integer() and abs(value) < _PLAIN_UP_TO):
            return False
        return -(1 << bits - 1) <= value < 1 << bits - 1

    return is_one


def _is_quantity(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return False
    try:
        quantity(value.strip() if isinstance(value, str) else value)
    except (ValueError, ArithmeticError):
        return False
    return True


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


_IS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "string": ("text", _is_text),
    "bytes": ("text", _is_text),
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "int32": ("a whole number below 2147483648", _is_whole(32)),
    "int64": ("a whole number", _is_whole(64)),
    "quantity": ("a quantity, such as 500m or 16Gi", _is_quantity),
    "time": (
        "a time, such as 2026-01-31T12:00:00Z",
        lambda value: _is_text(value) and bool(_TIME.fullmatch(value)),
    ),
    "int or string": ("a whole number or text", lambda value: _is_text(value) or _is_whole(32)(value)),
    "any": ("anything", lambda value: True),
}
"""What the other kinds of values are called, and whether a value is one."""
