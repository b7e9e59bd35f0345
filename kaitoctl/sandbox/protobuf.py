"""Built-in objects as Kubernetes' protobuf: request bodies in, JSON objects out. Pure.

kubectl's typed commands (`create deployment`, `drain`, ...) send protobuf and take JSON back. What is sent
is the magic number, then a `runtime.Unknown` that names the kind around the message itself.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding
"""

from __future__ import annotations

import base64
import json
import struct as binary
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from kaitoctl.kube.objects import Object
from kaitoctl.sandbox import types
from kaitoctl.sandbox.types import Struct

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"


def decode(body: bytes) -> Object:
    """A request's body as the object that it is in JSON.

    Raises:
        ValueError: not a protobuf message of a kind that this server knows.
    """
    if not body.startswith(_MAGIC):
        raise ValueError("a Kubernetes protobuf message begins with k8s\\x00")
    envelope = dict(_parts(body[len(_MAGIC) :]))
    identity = {number: _text(value) for number, value in _parts(_bytes(envelope.get(1, b"")))}
    api_version, kind = identity.get(1, ""), identity.get(2, "")
    group, _, version = api_version.rpartition("/")
    struct = types.struct_of(group, version, kind)
    if struct is None:
        raise ValueError(f"no protobuf message {kind!r} in {api_version!r}")
    return {"apiVersion": api_version, "kind": kind, **_struct(struct, _bytes(envelope.get(2, b"")))}


def _struct(struct: Struct, message: bytes) -> Object:
    by_number = {item.number: item for item in struct.fields if item.number}
    made: Object = {}
    for number, raw in _parts(message):
        item = by_number.get(number)
        if item is None:
            continue
        type_ = item.type.lstrip("*")
        if item.name == ".":
            made.update(_struct(types.structs()[type_], _bytes(raw)))
        elif type_.startswith("[]"):
            made.setdefault(item.name, []).extend(_entries(type_[2:], raw))
        elif type_.startswith("{}"):
            pair = dict(_parts(_bytes(raw)))
            key = _text(pair.get(1, b""))
            made.setdefault(item.name, {})[key] = _value(type_[2:], pair.get(2, b""))
        else:
            made[item.name] = _value(type_, raw)
    return made


def _entries(type_: str, raw: int | bytes) -> list[Any]:
    """One entry of a repeated field, or several of packed numbers."""
    if isinstance(raw, bytes) and type_ in ("int32", "int64", "bool"):
        entries, position = [], 0
        while position < len(raw):
            number, position = _varint(raw, position)
            entries.append(_value(type_, number))
        return entries
    return [_value(type_, raw)]


def _value(type_: str, raw: int | bytes) -> Any:
    if (struct := types.structs().get(type_)) is not None:
        return _struct(struct, _bytes(raw))
    match type_:
        case "string":
            return _text(raw)
        case "bool":
            return bool(raw)
        case "int32" | "int64":
            return _to_signed(raw)
        case "float64":
            if len(_bytes(raw)) != 8:
                raise ValueError("a floating point number has eight bytes")
            return binary.unpack("<d", _bytes(raw))[0]
        case "bytes":
            return base64.b64encode(_bytes(raw)).decode()
    parts = dict(_parts(_bytes(raw)))
    match type_:
        case "time" | "microtime":
            return _time(parts, micro=type_ == "microtime")
        case "quantity":
            return _text(parts.get(1, b""))
        case "intorstring":
            return _text(parts.get(3, b"")) if parts.get(1) else _to_signed(parts.get(2, 0))
        case "raw":
            return json.loads(_bytes(parts.get(1, b"null")))
    raise ValueError(f"values of type {type_} have no protobuf form here")


def _time(parts: dict[int, int | bytes], *, micro: bool) -> str | None:
    """A time; the message of a zero one is empty."""
    if not parts:
        return None
    fraction = f".{_to_signed(parts.get(2, 0)) // 1000:06}" if micro else ""
    try:
        moment = datetime.fromtimestamp(_to_signed(parts.get(1, 0)), UTC)
    except (OverflowError, OSError) as error:
        raise ValueError(f"no time of this calendar: {error}") from None
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}Z"


# --- the wire -----------------------------------------------------------------------------------------------


def _parts(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message as (number, value): an integer, or bytes of whatever they mean."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, position = _varint(message, position)
            yield number, value
            continue
        if wire == 2:
            length, position = _varint(message, position)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if position + length > len(message):
            raise ValueError("the message is cut off")
        yield number, message[position : position + length]
        position += length


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(message) and shift < 70:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ValueError("a number is cut off or too long")


def _to_signed(raw: int | bytes) -> int:
    if isinstance(raw, bytes):
        raise ValueError("a number is expected")
    return raw - (1 << 64) if raw >= 1 << 63 else raw


def _bytes(raw: int | bytes) -> bytes:
    if isinstance(raw, int):
        raise ValueError("bytes are expected")
    return raw


def _text(raw: int | bytes) -> str:
    return _bytes(raw).decode()
