"""An object against its CRD: what is wrong with it. Pure.

One walker of structural schemas finds what is wrong, and stops at the first finding when all that matters is
whether there is one. The tests hold it to the reference validator `jsonschema` (docs/adr/0008).
`schema_defaults` says what a server makes of what is right.

At the top of an object, and of an embedded resource, `apiVersion`, `kind` and `metadata` are always known.

Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from kaitoctl.advice import shortened
from kaitoctl.kube.objects import Object

Schema = Mapping[str, Any]

IDENTITY = frozenset(("apiVersion", "kind", "metadata"))


class Problem(Struct, frozen=True):
    """One way in which an object breaks its schema.

    Args:
        path: where, `inference.adapters[0].strength`; empty for the object itself.
        message: what is wrong and what was expected.
        rule: the schema's keyword that is broken, or `unknown`.
        value: what is there; None when something is missing.
        expected: the keyword's value, for `unknown` the known names.
    """

    path: str
    message: str
    rule: str
    value: Any = None
    expected: Any = None

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def is_open(schema: Schema) -> bool:
    """Whether a map may hold fields that the schema does not name."""
    named_only = schema.get("additionalProperties") in (None, False)
    return not named_only or bool(schema.get("x-kubernetes-preserve-unknown-fields"))


def problems(
    obj: Any, schema: Schema, *, unknown: Literal["ignore", "error"] = "ignore", most: int | None = None
) -> list[Problem]:
    """Everything that is wrong with an object, in the order of its paths; empty when it fits.

    Args:
        obj: a whole object.
        schema: the structural schema of its version.
        unknown: whether fields that the schema does not know are problems.
        most: how many to look for; None for all.
    """
    walker = _Walker(strict=unknown == "error", most=math.inf if most is None else most)
    walker.check(obj, schema, embedded=True)
    return sorted(map(_problem_of, walker.found), key=lambda problem: (problem.path, problem.rule))


def fits(obj: Any, schema: Schema, *, unknown_is_error: bool = False) -> bool:
    """Whether an object obeys its structural schema; the fast answer to `not problems(...)`."""
    return _part_fits(obj, schema, strict=unknown_is_error, embedded=True)


def _part_fits(value: Any, schema: Schema, *, strict: bool = False, embedded: bool = False) -> bool:
    walker = _Walker(strict=strict, most=1)
    walker.check(value, schema, embedded)
    return not walker.found


# --- the walker --------------------------------------------------------------------------------------------


class _Finding(NamedTuple):
    """A broken keyword, not worded yet; the path is turned around, its last part first."""

    path: list[str | int]
    rule: str
    value: Any
    expected: Any


class _Walker:
    """Walks an object and its schema together.

    A path is put together on the way back from a finding: what fits costs none.

    Args:
        strict: whether unknown fields are findings.
        most: how many findings end the walk.
    """

    __slots__ = ("_most", "_strict", "found")

    def __init__(self, *, strict: bool, most: float) -> None:
        self._strict = strict
        self._most = most
        self.found: list[_Finding] = []

    def check(self, value: Any, schema: Schema, embedded: bool = False) -> None:
        """Find what is wrong with a value."""
        if schema.get("type") != _EXACT.get(type(value), "") or "x-kubernetes-int-or-string" in schema:
            self._check_type(value, schema)
        if "enum" in schema:
            self._check_enum(value, schema)
        if isinstance(value, dict):
            self._check_map(value, schema, embedded)
        elif isinstance(value, list):
            self._check_list(value, schema)
        elif isinstance(value, str):
            self._check_text(value, schema)
        elif _is_number(value):
            self._check_number(value, schema)
        if not schema.keys().isdisjoint(_JUNCTIONS):
            self._check_junctions(value, schema)

    def _add(self, rule: str, value: Any, expected: Any, *path: str | int) -> None:
        if len(self.found) < self._most:
            self.found.append(_Finding([*path], rule, value, expected))

    def _below(self, step: str | int, value: Any, schema: Schema) -> bool:
        """Check what is below; False once there are findings enough."""
        before = len(self.found)
        self.check(value, schema)
        if len(self.found) > before:
            for finding in self.found[before:]:
                finding.path.append(step)
        return len(self.found) < self._most

    def _check_type(self, value: Any, schema: Schema) -> None:
        kind, is_either = schema.get("type"), schema.get("x-kubernetes-int-or-string")
        if not (kind or is_either) or (value is None and schema.get("nullable")):
            return
        if kind and not is_either:
            if not _IS_OF_TYPE[kind](value):
                self._add("type", value, kind)
        elif not (isinstance(value, str) or _is_integer(value)) or (kind and not _IS_OF_TYPE[kind](value)):
            self._add("type", value, [kind] if kind in _EITHER else _EITHER)

    def _check_enum(self, value: Any, schema: Schema) -> None:
        allowed = schema["enum"]
        if allowed is None or (value is None and schema.get("nullable")):
            return
        if not any(_same(value, member) for member in allowed):
            self._add("enum", value, allowed)

    def _check_map(self, value: Object, schema: Schema, embedded: bool) -> None:
        for name in schema.get("required") or ():
            if name not in value:
                self._add("required", None, schema["required"], name)
        self._check_size(value, schema, "minProperties", "maxProperties")
        known = schema.get("properties") or {}
        values = schema.get("additionalProperties")
        embedded = embedded or bool(schema.get("x-kubernetes-embedded-resource"))
        for name, item in value.items():
            if embedded and name in IDENTITY:
                continue
            below = known.get(name)
            if below is None and isinstance(values, dict):
                below = values
            if below is not None:
                if not self._below(name, item, below):
                    return
            elif values is False or (self._strict and not is_open(schema)):
                self._add("unknown", item, sorted({*known, *(IDENTITY if embedded else ())}), name)

    def _check_list(self, value: list[Any], schema: Schema) -> None:
        self._check_size(value, schema, "minItems", "maxItems")
        if (kind := schema.get("x-kubernetes-list-type")) in ("set", "map"):
            for position in _duplicates(value, schema):
                self._add("x-kubernetes-list-type", value[position], kind, position)
        elif schema.get("uniqueItems") and next(_duplicates(value, schema), None) is not None:
            self._add("uniqueItems", value, True)
        if items := schema.get("items"):
            for position, item in enumerate(value):
                if not self._below(position, item, items):
                    return

    def _check_text(self, value: str, schema: Schema) -> None:
        self._check_size(value, schema, "minLength", "maxLength")
        compiled = _pattern(schema["pattern"]) if schema.get("pattern") else None
        if compiled is not None and not compiled.search(value):
            self._add("pattern", value, schema["pattern"])
        if "format" in schema:
            self._check_format(value, schema)

    def _check_number(self, value: float, schema: Schema) -> None:
        low, high = schema.get("minimum"), schema.get("maximum")
        if low is not None and not (value > low if schema.get("exclusiveMinimum") else value >= low):
            self._add("exclusiveMinimum" if schema.get("exclusiveMinimum") else "minimum", value, low)
        if high is not None and not (value < high if schema.get("exclusiveMaximum") else value <= high):
            self._add("exclusiveMaximum" if schema.get("exclusiveMaximum") else "maximum", value, high)
        if (step := schema.get("multipleOf")) and not _is_multiple(value, step):
            self._add("multipleOf", value, step)
        self._check_format(value, schema)

    def _check_size(self, value: Any, schema: Schema, least: str, most: str) -> None:
        if least in schema and len(value) < schema[least]:
            self._add(least, value, schema[least])
        if most in schema and len(value) > schema[most]:
            self._add(most, value, schema[most])

    def _check_format(self, value: Any, schema: Schema) -> None:
        if "format" in schema and not _has_format(value, schema["format"]):
            self._add("format", value, schema["format"])

    def _check_junctions(self, value: Any, schema: Schema) -> None:
        """Parts of a junction know no fields of their own, so none is unknown to them."""
        for part in schema.get("allOf") or ():
            inside = _Walker(strict=False, most=self._most - len(self.found))
            inside.check(value, part)
            self.found += inside.found
        if (parts := schema.get("anyOf")) and not any(_part_fits(value, part) for part in parts):
            self._add("anyOf", value, parts)
        if (parts := schema.get("oneOf")) and sum(_part_fits(value, part) for part in parts) != 1:
            self._add("oneOf", value, parts)
        if "not" in schema and _part_fits(value, schema["not"]):
            self._add("not", value, schema["not"])


_JUNCTIONS = frozenset(("allOf", "anyOf", "oneOf", "not"))
_EITHER = ["integer", "string"]
_EXACT = {dict: "object", list: "array", str: "string", bool: "boolean"}  # of these the type says it all


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_integer(value: Any) -> bool:
    """Whether the API server takes a number for an integer: of 64 bits, or a float that holds one exactly."""
    if isinstance(value, int):
        return not isinstance(value, bool) and -(2**63) <= value < 2**63
    return isinstance(value, float) and value.is_integer() and abs(value) < 2**53


_IS_OF_TYPE: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": _is_integer,
    "number": _is_number,
    "null": lambda value: value is None,
}


def _duplicates(value: list[Any], schema: Schema) -> Iterator[int]:
    """The positions of entries that a set or keyed list already has."""
    kind = schema.get("x-kubernetes-list-type")
    if kind not in ("set", "map") and not schema.get("uniqueItems"):
        return
    keys = schema.get("x-kubernetes-list-map-keys") if kind == "map" else None
    seen = set()
    for position, item in enumerate(value):
        what = [item.get(key) for key in keys] if keys and isinstance(item, dict) else item
        text = json.dumps(_canonical(what), sort_keys=True)
        if text in seen:
            yield position
        seen.add(text)


def _canonical(value: Any) -> Any:
    """JSON's own equality: 1 and 1.0 are one number, true is not 1."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _canonical(item) for name, item in value.items()}
    return [_canonical(item) for item in value] if isinstance(value, list) else value


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, str) or isinstance(right, str):
        return bool(left == right)
    return json.dumps(_canonical(left), sort_keys=True) == json.dumps(_canonical(right), sort_keys=True)


def _is_multiple(value: float, step: float) -> bool:
    if isinstance(step, int) and isinstance(value, int):
        return value % step == 0
    quotient = value / step
    return math.isfinite(quotient) and bool(int(quotient) == quotient)


@lru_cache(maxsize=1024)
def _pattern(text: str) -> re.Pattern[str] | None:
    """A compiled pattern; None when Python cannot read what Go's RE2 can: then it is not checked."""
    try:
        return re.compile(text)
    except re.error:
        return None


_DATE_TIME = (
    r"(?a)\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[Tt]([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?"
    r"([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)"
)


def _has_format(value: Any, name: str | None) -> bool:
    if name == "date-time" and isinstance(value, str):
        return re.fullmatch(_DATE_TIME, value) is not None
    if name in ("int32", "int64") and _is_number(value):
        bound = 2**31 if name == "int32" else 2**63
        return bool(-bound <= value < bound)
    return True


# --- words -------------------------------------------------------------------------------------------------

_WORDS: dict[str, Callable[[Any, Any], str]] = {
    "required": lambda value, expected: "is required",
    "type": lambda value, expected: f"must be {_types(expected)}, not {_shorten(value)}",
    "enum": lambda value, expected: (
        f"{_shorten(value)} is not one of {', '.join(_shorten(item) for item in expected)}"
        + _close_matches(value, expected)
    ),
    "pattern": lambda value, expected: f"{_shorten(value)} does not match {expected}",
    "format": lambda value, expected: f"{_shorten(value)} is not a valid {expected}",
    "minimum": lambda value, expected: f"{_shorten(value)} is less than the minimum of {expected}",
    "maximum": lambda value, expected: f"{_shorten(value)} is greater than the maximum of {expected}",
    "exclusiveMinimum": lambda value, expected: f"must be greater than {expected}, not {_shorten(value)}",
    "exclusiveMaximum": lambda value, expected: f"must be less than {expected}, not {_shorten(value)}",
    "multipleOf": lambda value, expected: f"{_shorten(value)} is not a multiple of {expected}",
    "minLength": lambda value, expected: f"{_shorten(value)} is shorter than {expected} characters",
    "maxLength": lambda value, expected: f"is longer than {expected} characters ({len(value)})",
    "minItems": lambda value, expected: f"has {len(value)} entries, at least {expected} are needed",
    "maxItems": lambda value, expected: f"has {len(value)} entries, at most {expected} are allowed",
    "minProperties": lambda value, expected: f"has {len(value)} fields, at least {expected} are needed",
    "maxProperties": lambda value, expected: f"has {len(value)} fields, at most {expected} are allowed",
    "uniqueItems": lambda value, expected: "has entries that are there twice",
    "x-kubernetes-list-type": lambda value, expected: f"{_shorten(value)} is there twice",
    "anyOf": lambda value, expected: f"{_shorten(value)} matches none of the {len(expected)} allowed forms",
    "oneOf": lambda value, expected: (
        f"{_shorten(value)} must match exactly one of {len(expected)} allowed forms"
    ),
    "not": lambda value, expected: f"{_shorten(value)} matches a form that is not allowed",
}


def _problem_of(finding: _Finding) -> Problem:
    path, rule, value, expected = finding
    if rule == "unknown":
        message = _unknown_field(str(path[0]), expected)
    else:
        message = _WORDS[rule](value, expected)
    return Problem(_path_text(reversed(path)), message, rule, value, expected)


def _path_text(parts: Iterable[str | int]) -> str:
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _types(names: Any) -> str:
    listed = [names] if isinstance(names, str) else list(names)
    article = {"integer": "an integer", "object": "an object", "array": "a list", "null": "null"}
    return " or ".join(article.get(name, f"a {name}") for name in listed)


def _shorten(value: Any) -> str:
    return shortened(json.dumps(value, ensure_ascii=False, default=str), 80)


def _unknown_field(name: str, known: list[str]) -> str:
    listed = f"; known: {', '.join(known)}" if known else ""
    return "unknown field" + (_close_matches(name, known) or listed)


def _close_matches(value: Any, known: Iterable[Any]) -> str:
    names = [str(item) for item in known]
    near = difflib.get_close_matches(str(value), names, n=2) if isinstance(value, str) else []
    if not near and isinstance(value, str):
        near = [name for name in names if name.lower() == value.lower()]
    return f"; did you mean {' or '.join(json.dumps(name) for name in near)}?" if near else ""


def without_nulls(value: Any, schema: Schema | None) -> Any:
    """`value` without the nulls that the API server drops or fills in; `value` itself when it has none.

    A null in a field that is not nullable is dropped, and where the schema has a default it is filled in as
    if the field were missing; both are "missing" here. An entry of a list stays, and so does a null that no
    schema speaks of. Only `kubectl apply --server-side` is stricter.

    Source: k8s.io/apiextensions-apiserver `pkg/apiserver/schema/defaulting` (prunenulls.go, algorithm.go),
    `pkg/apiserver/customresource_handler.go`.
    """
    return _pruned(value, schema) if schema and _has_null(value) else value


def _has_null(value: Any) -> bool:
    """Whether there is a null somewhere below: next to no object has, and looking costs less than pruning."""
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        if isinstance(holder, (dict, list)):
            below = holder.values() if isinstance(holder, dict) else holder
            if None in below:
                return True
            waiting += below
    return False


def _pruned(value: Any, schema: Schema | None) -> Any:
    if not schema:
        return value
    if isinstance(value, dict):
        known, values = schema.get("properties") or {}, schema.get("additionalProperties")
        kept: dict[str, Any] = {}
        for name, item in value.items():
            below = known.get(name, values if isinstance(values, dict) else None)
            if item is None and below is not None and not below.get("nullable"):
                continue
            kept[name] = _pruned(item, below) if isinstance(item, (dict, list)) else item
        is_same = len(kept) == len(value) and all(kept[name] is item for name, item in value.items())
        return value if is_same else kept
    if isinstance(value, list) and (items := schema.get("items")):
        done = [_pruned(item, items) for item in value]
        return done if any(new is not old for new, old in zip(done, value, strict=True)) else value
    return value
