"""An object against its CRD: what is wrong with it, what is filled in, what is dropped. Pure.

A small walker of structural schemas answers the everyday question "does it fit?" in microseconds. Only when
it does not, the reference validator `jsonschema` is imported (130 ms) to find every problem, and this
module words them. Both answer alike; a test with generated schemas holds them to it.

At the top of an object, and of an embedded resource, `apiVersion`, `kind` and `metadata` are always known.

Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
from typing import Any, Literal

from kaitoctl.kube.objects import Object

Schema = Mapping[str, Any]

_IDENTITY = frozenset(("apiVersion", "kind", "metadata"))
_JUNCTIONS = ("allOf", "anyOf", "oneOf")


@dataclass(frozen=True, slots=True)
class Problem:
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


def load_crd_schema(crd: Object, version: str) -> Object:
    """The structural schema of one version of a CustomResourceDefinition.

    Raises:
        KeyError: the CRD has no such version, or the version no schema.
    """
    for candidate in crd["spec"]["versions"]:
        if candidate["name"] == version:
            schema: Object = candidate["schema"]["openAPIV3Schema"]
            return schema
    raise KeyError(f"{crd['metadata']['name']} has no version {version!r}")


# --- pruning and defaults ---------------------------------------------------------------------------------


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
        free = _is_open(schema)
        embedded = embedded or bool(schema.get("x-kubernetes-embedded-resource"))
        changed: dict[str, Any] = {}
        gone = set()
        for name, item in value.items():
            below = known.get(name)
            if embedded and name in _IDENTITY:
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


def _is_open(schema: Schema) -> bool:
    """Whether a map may hold fields that the schema does not name."""
    named_only = schema.get("additionalProperties") in (None, False)
    return not named_only or bool(schema.get("x-kubernetes-preserve-unknown-fields"))


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
                    after = default(_copy(below["default"]), below)
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


def without_nulls(value: Any, schema: Schema | None) -> Any:
    """`value` without the nulls that the API server drops or fills in; `value` itself when it has none.

    A null in a field that is not nullable is dropped, and where the schema has a default it is filled in as
    if the field were missing; both are "missing" here. An entry of a list stays, and so does a null that no
    schema speaks of. Only `kubectl apply --server-side` is stricter.

    Source: k8s.io/apiextensions-apiserver `pkg/apiserver/schema/defaulting` (prunenulls.go, algorithm.go),
    `pkg/apiserver/customresource_handler.go`.
    """
    if not schema:
        return value
    if isinstance(value, dict):
        known, values = schema.get("properties") or {}, schema.get("additionalProperties")
        kept: dict[str, Any] = {}
        for name, item in value.items():
            below = known.get(name, values if isinstance(values, dict) else None)
            if item is None and below is not None and not below.get("nullable"):
                continue
            kept[name] = without_nulls(item, below) if isinstance(item, (dict, list)) else item
        is_same = len(kept) == len(value) and all(kept[name] is item for name, item in value.items())
        return value if is_same else kept
    if isinstance(value, list) and (items := schema.get("items")):
        done = [without_nulls(item, items) for item in value]
        return done if any(new is not old for new, old in zip(done, value, strict=True)) else value
    return value


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copy(item) for name, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


# --- does it fit? -----------------------------------------------------------------------------------------


def fits(obj: Any, schema: Schema, *, unknown_is_error: bool = False) -> bool:
    """Whether an object obeys its structural schema; the fast answer to `not problems(...)`."""
    return _fits(obj, schema, unknown_is_error, True)


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


def _fits(value: Any, schema: Schema, strict: bool, embedded: bool = False) -> bool:
    if value is None:
        if not schema.get("nullable") and (schema.get("type") or schema.get("x-kubernetes-int-or-string")):
            return False
    else:
        kind = schema.get("type")
        if kind and not _IS_OF_TYPE[kind](value):
            return False
        if schema.get("x-kubernetes-int-or-string") and not (isinstance(value, str) or _is_integer(value)):
            return False
    allowed = schema.get("enum")
    if allowed is not None and not (value is None and schema.get("nullable")):  # noqa: SIM102
        if not any(_same(value, member) for member in allowed):
            return False
    if isinstance(value, dict):
        if not _map_fits(value, schema, strict, embedded):
            return False
    elif isinstance(value, list):
        if not _list_fits(value, schema, strict):
            return False
    elif isinstance(value, str):
        if not _text_fits(value, schema):
            return False
    elif _is_number(value) and not _number_fits(value, schema):
        return False
    if "allOf" in schema and not all(_fits(value, part, False) for part in schema["allOf"]):
        return False
    if "anyOf" in schema and not any(_fits(value, part, False) for part in schema["anyOf"]):
        return False
    if "oneOf" in schema and sum(_fits(value, part, False) for part in schema["oneOf"]) != 1:
        return False
    return "not" not in schema or not _fits(value, schema["not"], False)


def _map_fits(value: Object, schema: Schema, strict: bool, embedded: bool) -> bool:
    if any(name not in value for name in schema.get("required") or ()):
        return False
    if not schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", math.inf):
        return False
    known = schema.get("properties") or {}
    values = schema.get("additionalProperties")
    embedded = embedded or bool(schema.get("x-kubernetes-embedded-resource"))
    closed = values is False or (strict and not _is_open(schema))
    for name, item in value.items():
        if embedded and name in _IDENTITY:
            continue
        below = known.get(name)
        if below is None:
            if isinstance(values, dict):
                below = values
            elif closed:
                return False
            else:
                continue
        if not _fits(item, below, strict):
            return False
    return True


def _list_fits(value: list[Any], schema: Schema, strict: bool) -> bool:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", math.inf):
        return False
    if next(_duplicates(value, schema), None) is not None:
        return False
    items = schema.get("items")
    return not items or all(_fits(item, items, strict) for item in value)


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


def _text_fits(value: str, schema: Schema) -> bool:
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", math.inf):
        return False
    if (pattern := schema.get("pattern")) and (compiled := _pattern(pattern)) and not compiled.search(value):
        return False
    return _has_format(value, schema.get("format"))


def _number_fits(value: float, schema: Schema) -> bool:
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    if not low <= value <= high:
        return False
    if (schema.get("exclusiveMinimum") and value == low) or (
        schema.get("exclusiveMaximum") and value == high
    ):
        return False
    if (step := schema.get("multipleOf")) and not _is_multiple(value, step):
        return False
    return _has_format(value, schema.get("format"))


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


# --- what is wrong? ---------------------------------------------------------------------------------------


def problems(
    obj: Object, schema: Schema, *, unknown: Literal["ignore", "error"] = "ignore", most: int | None = None
) -> list[Problem]:
    """Everything that is wrong with an object, in the order of its paths; empty when it fits.

    Args:
        obj: a whole object.
        schema: the structural schema of its version, see `load_crd_schema`.
        unknown: whether fields that the schema does not know are problems.
        most: how many to look for; None for all.
    """
    strict = unknown == "error"
    if fits(obj, schema, unknown_is_error=strict):
        return []
    worded = (problem for error in _errors(obj, schema, strict) for problem in _worded(error))
    return sorted(islice(worded, most), key=lambda problem: (problem.path, problem.rule))


def _errors(obj: Any, schema: Schema, strict: bool) -> Iterable[Any]:
    """What the reference validator says."""
    import jsonschema

    checker = jsonschema.FormatChecker(formats=())
    for name in ("date-time", "int32", "int64"):
        checker.checks(name)(partial(_has_format, name=name))

    def unique(_validator: Any, _kind: Any, value: Any, entry: Schema) -> Iterator[Any]:
        for position in _duplicates(value, entry) if isinstance(value, list) else ():
            yield jsonschema.ValidationError("duplicate", path=[position], instance=value[position])

    extend: Callable[..., Any] = jsonschema.validators.extend
    plain = jsonschema.Draft202012Validator
    types = plain.TYPE_CHECKER.redefine("integer", lambda _checker, value: _is_integer(value))
    validator = extend(plain, {"x-kubernetes-list-type": unique}, type_checker=types)
    found: Iterable[Any] = validator(_translated(schema, strict, True), format_checker=checker).iter_errors(
        obj
    )
    return found


def _translated(schema: Schema, strict: bool, embedded: bool = False) -> Object:
    """A structural schema in JSON Schema 2020-12."""
    plain = {
        key: schema[key]
        for key in (
            "required", "enum", "minLength", "maxLength", "minItems", "maxItems", "minProperties",
            "maxProperties", "minimum", "maximum", "multipleOf", "format", "uniqueItems", "items",
            "additionalProperties", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "not",
            *_JUNCTIONS,
        )
        if key in schema
    }  # fmt: skip
    nullable = bool(schema.get("nullable"))
    types = [schema["type"]] if schema.get("type") else []
    if schema.get("x-kubernetes-int-or-string"):
        types = [name for name in ("integer", "string") if not types or name in types]
        if not types:
            types = ["integer", "string"]
            plain["not"] = {}
    if types:
        plain["type"] = [*types, "null"] if nullable else types
    if nullable and "enum" in plain:
        plain["enum"] = [*plain["enum"], None]
    if (pattern := schema.get("pattern")) and _pattern(pattern):
        plain["pattern"] = pattern
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if schema.get(exclusive) and bound in plain:
            plain[exclusive] = plain.pop(bound)
    if isinstance(plain.get("items"), Mapping):
        plain["items"] = _translated(plain["items"], strict)
    if isinstance(values := plain.get("additionalProperties"), Mapping) and values:
        plain["additionalProperties"] = _translated(values, strict)
    elif "additionalProperties" not in plain or not isinstance(values, bool):
        plain.pop("additionalProperties", None)
        if strict and not _is_open(schema):
            plain["additionalProperties"] = False
    for key in _JUNCTIONS:
        if key in plain:
            plain[key] = [_translated(part, False) for part in plain[key]]
    if schema.get("not") is not None and plain.get("not") is schema["not"]:
        plain["not"] = _translated(plain["not"], False)
    plain["properties"] = {
        name: _translated(below, strict) for name, below in (schema.get("properties") or {}).items()
    }
    if embedded or schema.get("x-kubernetes-embedded-resource"):
        plain["properties"].update(dict.fromkeys(_IDENTITY, True))
    return plain


def _worded(error: Any) -> Iterator[Problem]:
    path = _path_text(error.absolute_path)
    rule, expected, value = str(error.validator), error.validator_value, error.instance
    shown = _shown(value)
    if rule == "required":
        # The validator reports each missing field on its own: this one is named first in its message.
        name = next(name for name in expected if error.message.startswith(repr(name)))
        yield Problem(f"{path}.{name}" if path else name, "is required", rule, None, expected)
        return
    if rule == "additionalProperties":
        known = sorted(error.schema.get("properties") or ())
        for name in value:
            if name not in known:
                at = f"{path}.{name}" if path else name
                yield Problem(at, _unknown_field(name, known), "unknown", value[name], known)
        return
    words: dict[str, Callable[[], str]] = {
        "type": lambda: f"must be {_types(expected)}, not {shown}",
        "enum": lambda: (
            f"{shown} is not one of {', '.join(_shown(item) for item in expected)}"
            + _close_matches(value, expected)
        ),
        "pattern": lambda: f"{shown} does not match {expected}",
        "format": lambda: f"{shown} is not a valid {expected}",
        "minimum": lambda: f"{shown} is less than the minimum of {expected}",
        "maximum": lambda: f"{shown} is greater than the maximum of {expected}",
        "exclusiveMinimum": lambda: f"must be greater than {expected}, not {shown}",
        "exclusiveMaximum": lambda: f"must be less than {expected}, not {shown}",
        "multipleOf": lambda: f"{shown} is not a multiple of {expected}",
        "minLength": lambda: f"{shown} is shorter than {expected} characters",
        "maxLength": lambda: f"is longer than {expected} characters ({len(value)})",
        "minItems": lambda: f"has {len(value)} entries, at least {expected} are needed",
        "maxItems": lambda: f"has {len(value)} entries, at most {expected} are allowed",
        "minProperties": lambda: f"has {len(value)} fields, at least {expected} are needed",
        "maxProperties": lambda: f"has {len(value)} fields, at most {expected} are allowed",
        "uniqueItems": lambda: "has entries that are there twice",
        "x-kubernetes-list-type": lambda: f"{shown} is there twice",
        "anyOf": lambda: f"{shown} matches none of the {len(expected)} allowed forms",
        "oneOf": lambda: f"{shown} must match exactly one of {len(expected)} allowed forms",
        "not": lambda: f"{shown} matches a form that is not allowed",
    }
    message = words[rule]() if rule in words else f"{shown} breaks {rule}"
    yield Problem(path, message, rule, value, expected)


def _path_text(parts: Iterable[str | int]) -> str:
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _types(names: Any) -> str:
    listed = [names] if isinstance(names, str) else list(names)
    article = {"integer": "an integer", "object": "an object", "array": "a list", "null": "null"}
    return " or ".join(article.get(name, f"a {name}") for name in listed)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _unknown_field(name: str, known: list[str]) -> str:
    listed = f"; known: {', '.join(known)}" if known else ""
    return "unknown field" + (_close_matches(name, known) or listed)


def _close_matches(value: Any, known: Iterable[Any]) -> str:
    names = [str(item) for item in known]
    near = difflib.get_close_matches(str(value), names, n=2) if isinstance(value, str) else []
    if not near and isinstance(value, str):
        near = [name for name in names if name.lower() == value.lower()]
    return f"; did you mean {' or '.join(json.dumps(name) for name in near)}?" if near else ""
