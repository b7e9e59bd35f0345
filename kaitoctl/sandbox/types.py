"""The types of built-in kinds: reading an object as a typed server does, and how its fields merge. Pure.

A typed server knows each field: it drops what it does not know, refuses values of another type, leaves out
what says nothing (`""`, `0`, `[]` of a field that need not be there) and writes empty structs where they
belong. `builtin_types.txt` has the facts; `protobuf` reads messages and `openapi` describes kinds by them.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any

import msgspec

from kaitoctl.kube.objects import Object, quantity
from kaitoctl.sandbox.shapes import DEDUCED, Shape


class TypeMismatch(Exception):
    """A value is not of its field's type."""

    def __init__(self, path: str, wanted: str, value: Any) -> None:
        super().__init__(f"{path or 'the object'}: cannot read {_kind(value)} as {wanted}")


_Reader = tuple[str, Callable[[Any, str, list[str]], Any], Any, bool]


class Field(msgspec.Struct, frozen=True):
    """A field of a struct.

    Args:
        name: as in JSON; `.` for a struct whose fields JSON shows in place (protobuf nests it).
        number: in protobuf; 0 when it is not there.
        type: as in the table: `*int32`, `[]Container`, `{}string`, `core.v1.PodSpec`.
        marks: `always` (written even when empty; such a field is required unless it is `optional`),
            `required`, `set`, `atomic`, `keys`, `merge`, `retainKeys`, `replace`, `default`,
            `omitzero`, `granular` (merges although its struct is `atomic`).
    """

    name: str
    number: int
    type: str
    marks: dict[str, str]


class Struct(msgspec.Struct, eq=False):
    """A struct.

    Args:
        name: `core.v1.PodSpec`.
        atomic: it is owned as one value.
        fields: as declared.
        members: as JSON shows them, with those of embedded structs in place.
    """

    name: str
    atomic: bool
    fields: list[Field] = msgspec.field(default_factory=list)
    members: dict[str, Field] = msgspec.field(default_factory=dict)
    readers: list[_Reader] = msgspec.field(default_factory=list)


@cache
def structs() -> dict[str, Struct]:
    """All structs by name."""
    found: dict[str, Struct] = {}
    text = resources.files("kaitoctl.sandbox").joinpath("builtin_types.txt").read_text("utf-8")
    current: Struct | None = None
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        if not line.startswith(" "):
            name, *marks = line.split()
            current = found[name] = Struct(name, "atomic" in marks)
        elif current is not None:
            name, number, type_, *rest = line.split()
            pairs = (mark.partition("=") for mark in rest)
            package = current.name.rpartition(".")[0]
            marked = {key: value for key, _, value in pairs}
            current.fields.append(Field(name, int(number), _full(type_, package), marked))
    for struct in found.values():
        struct.members = {item.name: item for item in _members(struct, found)}
    return found


def _full(type_: str, package: str) -> str:
    """A type's name with its package; scalars have none."""
    match = re.fullmatch(r"((?:\*|\[\]|\{\})*)(.+)", type_)
    assert match is not None
    prefix, name = match.groups()
    return type_ if "." in name or name[0].islower() else f"{prefix}{package}.{name}"


def _members(struct: Struct, found: dict[str, Struct]) -> Iterator[Field]:
    for item in struct.fields:
        if item.name == ".":
            yield from _members(found[item.type], found)
        else:
            yield item


METADATA = structs()["meta.v1.ObjectMeta"]


def struct_of(group: str, version: str, kind: str) -> Struct | None:
    """The struct of a built-in kind."""
    package = group.partition(".")[0] if group else "core"
    if kind == "DeleteOptions":  # the same in every version
        package, version = "meta", "v1"
    return structs().get(f"{package}.{version}.{kind}")


# --- how it merges ------------------------------------------------------------------------------------------


def shape(struct: Struct) -> Shape:
    """How the values of a struct merge and are owned."""
    return _struct_shape(struct, _SHAPES)


_SHAPES: dict[str, Shape] = {}


def _struct_shape(struct: Struct, known: dict[str, Shape]) -> Shape:
    if (found := known.get(struct.name)) is not None:
        return found
    fields: dict[str, Shape] = {}
    # Known before it is complete: the schema of a CustomResourceDefinition contains itself.
    known[struct.name] = made = Shape(fields, atomic=struct.atomic)
    for item in struct.members.values():
        if (below := _field_shape(item, known)) is not DEDUCED:
            fields[item.name] = below
    return made


def _field_shape(item: Field, known: dict[str, Shape]) -> Shape:
    type_, marks = item.type.lstrip("*"), item.marks
    if type_.startswith("[]"):
        inner = structs().get(type_[2:])
        items = _struct_shape(inner, known) if inner else None
        pairs = tuple((key, _default_of_key(inner, key)) for key in marks.get("keys", "").split(",") if key)
        made = Shape(items=items, keys=pairs, is_set="set" in marks, merge=marks.get("merge"))
    elif type_.startswith("{}"):
        inner = structs().get(type_[2:])
        made = Shape(items=_struct_shape(inner, known) if inner else None, atomic="atomic" in marks)
    elif (struct := structs().get(type_)) is not None:
        made = _struct_shape(struct, known)
        if made.atomic is not ("atomic" in marks or (made.atomic and "granular" not in marks)):
            made = Shape(made.fields, atomic=not made.atomic)
    elif type_ in ("quantity", "intorstring", "raw", "any"):
        made = Shape(atomic=type_ != "any")
    else:
        made = DEDUCED
    return made


def _default_of_key(struct: Struct | None, key: str) -> str | None:
    return struct.members[key].marks.get("default") if struct else None


@cache
def blank(struct: Struct) -> Object:
    """What a typed server writes of an object that says nothing; not to be changed."""
    return _read_struct(struct, {}, "", [])


# --- reading as a typed server does -------------------------------------------------------------------------


def decode(struct: Struct, value: Any, path: str = "") -> tuple[Object, list[str]]:
    """A value as a typed server writes it again, and the paths of the fields that it does not know.

    Raises:
        TypeMismatch: something is of another type than its field.
    """
    unknown: list[str] = []
    return _read_struct(struct, value, path, unknown), unknown


def _read_struct(struct: Struct, value: Any, path: str, unknown: list[str]) -> Object:
    if not isinstance(value, dict):
        raise TypeMismatch(path, "an object", value)
    made: Object = {}
    readers = struct.readers or _make_readers(struct)
    rest = len(value)
    for name, read, absent, keeps_empty in readers:
        given = value.get(name)
        if given is None:
            if name in value:
                rest -= 1
            if absent is not None:
                made[name] = absent()
            continue
        rest -= 1
        result = read(given, f"{path}.{name}" if path else name, unknown)
        if result or keeps_empty:
            made[name] = result
    if rest:
        unknown.extend(f"{path}.{name}" if path else name for name in value if name not in struct.members)
    return made


def _make_readers(struct: Struct) -> list[tuple[str, Any, Any, bool]]:
    """For each field: name, reader, what stands for an absent one, and whether empty values are kept."""
    for item in struct.members.values():
        type_ = item.type
        is_pointer = type_.startswith("*")
        is_struct = type_ in structs()
        always = "always" in item.marks
        absent: Callable[[], Any] | None = None
        if is_struct:
            absent = _empty_struct(structs()[type_])
        elif always and not is_pointer and type_ in _ZERO:
            absent = (lambda zero: lambda: zero)(_ZERO[type_])
        elif always or (type_ in ("time", "microtime") and "omitzero" not in item.marks):
            absent = lambda: None  # noqa: E731
        keeps = (
            is_pointer or is_struct or always or type_ in ("time", "quantity", "intorstring", "raw", "any")
        )
        struct.readers.append((item.name, _reader(type_.lstrip("*")), absent, keeps))
    return struct.readers


def _empty_struct(struct: Struct) -> Callable[[], Object]:
    return lambda: _read_struct(struct, {}, "", [])


_ZERO = {"string": "", "bool": False, "int32": 0, "int64": 0, "float64": 0.0}


def _reader(type_: str) -> Callable[[Any, str, list[str]], Any]:
    if type_ in _READERS:
        return _READERS[type_]
    if type_.startswith("[]"):
        return _list_reader(type_[2:])
    if type_.startswith("{}"):
        return _map_reader(type_[2:])
    struct = structs()[type_]
    return lambda value, path, unknown: _read_struct(struct, value, path, unknown)


def _list_reader(inner: str) -> Callable[[Any, str, list[str]], Any]:
    read = _reader(inner) if inner not in structs() else None

    def read_list(value: Any, path: str, unknown: list[str]) -> Any:
        if not isinstance(value, list):
            raise TypeMismatch(path, "a list", value)
        if read is None:
            struct = structs()[inner]
            return [
                _read_struct(struct, {} if item is None else item, f"{path}[{position}]", unknown)
                for position, item in enumerate(value)
            ]
        return [
            _ZERO.get(inner) if item is None else read(item, f"{path}[{position}]", unknown)
            for position, item in enumerate(value)
        ]

    return read_list


def _map_reader(inner: str) -> Callable[[Any, str, list[str]], Any]:
    read = _reader(inner) if inner not in structs() else None

    def read_map(value: Any, path: str, unknown: list[str]) -> Any:
        if not isinstance(value, dict):
            raise TypeMismatch(path, "an object", value)
        reader = read or _reader(inner)
        return {
            name: _ZERO.get(inner) if item is None else reader(item, f"{path}.{name}", unknown)
            for name, item in value.items()
        }

    return read_map


def _read_string(value: Any, path: str, _: list[str]) -> str:
    if not isinstance(value, str):
        raise TypeMismatch(path, "a string", value)
    return value


def _read_bool(value: Any, path: str, _: list[str]) -> bool:
    if not isinstance(value, bool):
        raise TypeMismatch(path, "a boolean", value)
    return value


def _integer_reader(bits: int) -> Callable[[Any, str, list[str]], int]:
    bound = 1 << (bits - 1)

    def read(value: Any, path: str, _: list[str]) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not -bound <= value < bound:
            raise TypeMismatch(path, f"an integer of {bits} bits", value)
        return value

    return read


def _read_number(value: Any, path: str, _: list[str]) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeMismatch(path, "a number", value)
    return value


def _read_bytes(value: Any, path: str, _: list[str]) -> str:
    if not isinstance(value, str):
        raise TypeMismatch(path, "base64 text", value)
    try:
        raw = base64.b64decode(value.replace("\n", "").replace("\r", ""), validate=True)
    except (binascii.Error, ValueError):
        raise TypeMismatch(path, "base64", value) from None
    return base64.b64encode(raw).decode()


def _read_time(value: Any, path: str, _: list[str]) -> str:
    try:
        if not isinstance(value, str) or "T" not in value:
            raise ValueError
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError
    except ValueError:
        raise TypeMismatch(path, "a time as in RFC 3339", value) from None
    # Fractions of seconds stay: the sandbox's kubelet lives faster than its seconds tell.
    return value if value.endswith("Z") else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _read_quantity(value: Any, path: str, _: list[str]) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise TypeMismatch(path, "a quantity", value)
    try:
        return canonical_quantity(str(value))
    except ValueError:
        raise TypeMismatch(path, "a quantity", value) from None


def _read_int_or_string(value: Any, path: str, _: list[str]) -> int | str:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise TypeMismatch(path, "an integer or a string", value)
    return value


def _read_any(value: Any, _path: str, _: list[str]) -> Any:
    return value


_READERS: dict[str, Callable[[Any, str, list[str]], Any]] = {
    "string": _read_string,
    "bool": _read_bool,
    "int32": _integer_reader(32),
    "int64": _integer_reader(64),
    "float64": _read_number,
    "bytes": _read_bytes,
    "time": _read_time,
    "microtime": _read_time,
    "quantity": _read_quantity,
    "intorstring": _read_int_or_string,
    "raw": _read_any,
    "any": _read_any,
}


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    text = names.get(type(value), "a number")
    return f"{text} ({str(value)[:40]!r})" if not isinstance(value, (dict, list)) else text


_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_DECIMAL = {-9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P", 18: "E"}


def canonical_quantity(text: str) -> str:
    """A quantity as the server writes it: the largest unit of the same family that needs no fraction.

    Raises:
        ValueError: not a quantity.

    Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
    """
    value = quantity(text)
    suffix = text.lstrip("+-0123456789.")
    if suffix.endswith("i"):
        if value == value.to_integral_value() and abs(value) >= 1024:
            whole, unit = int(value), 0
            while whole % 1024 == 0 and unit < len(_BINARY) - 1:
                whole, unit = whole // 1024, unit + 1
            return f"{whole}{_BINARY[unit]}"
        suffix = ""  # too small for a binary unit: written in decimal ones
    if value == 0:
        return "0"
    nano = int((value * 10**9).to_integral_value("ROUND_UP"))
    exponent = -9
    while nano % 1000 == 0 and exponent < 18:
        nano, exponent = nano // 1000, exponent + 3
    if re.match(r"[eE][-+]?\d", suffix):
        return f"{nano}e{exponent}" if exponent else str(nano)
    return f"{nano}{_DECIMAL[exponent]}"
