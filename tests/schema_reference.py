"""The second opinion on structural schemas: the reference validator, on a translated schema."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import jsonschema

from kaitoctl.kube.objects import Object
from kaitoctl.kube.schema import IDENTITY, Schema, _duplicates, _has_format, _is_integer, _pattern, is_open

_JUNCTIONS = ("allOf", "anyOf", "oneOf")


def errors(obj: Any, schema: Schema, strict: bool) -> Iterable[Any]:
    """What the reference validator says."""
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
        if strict and not is_open(schema):
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
        plain["properties"].update(dict.fromkeys(IDENTITY, True))
    return plain


def places(error: Any) -> Iterator[tuple[str, str]]:
    """Where an error is and which rule is broken, as `schema.problems` says it."""
    path, rule = "", str(error.validator)
    for part in error.absolute_path:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    if rule == "required":
        missing = next(name for name in error.validator_value if error.message.startswith(repr(name)))
        yield f"{path}.{missing}" if path else missing, rule
    elif rule == "additionalProperties":
        known = error.schema.get("properties") or ()
        for name in error.instance:
            if name not in known:
                yield f"{path}.{name}" if path else name, "unknown"
    else:
        yield path, rule
