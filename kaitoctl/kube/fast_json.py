"""JSON by msgspec, several times as fast as `json`; what that refuses, and `json` takes, is taken."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def decode(body: bytes | bytearray, *, parse_constant: Callable[[str], Any] | None = None) -> Any:
    """What the JSON says.

    Args:
        body: in UTF-8.
        parse_constant: as json's: called for NaN and the infinities.

    Raises:
        ValueError: it is none.
    """
    try:
        return _decode(body)
    except msgspec.DecodeError:  # json reads more, and raises what callers expect
        return json.loads(body, parse_constant=parse_constant)


def encode(value: Any) -> bytes:
    """Compact JSON of an object."""
    try:
        return _encode(value)
    except (TypeError, ValueError, OverflowError):  # json writes more: half of a surrogate pair, huge numbers
        return json.dumps(value, separators=(",", ":")).encode()
