"""The head of a GGUF file: settings and the table of tensors.

`gguf.GGUFReader` makes an array of each word of the vocabulary, which takes seconds; lists are passed over.
Source: ggml-org/ggml, docs/gguf.md.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import IO, Any

from msgspec import Struct

_SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_STRING, _LIST = 8, 9
_LONGEST = 1 << 24
_MOST = 1 << 24


class Head(Struct, frozen=True):
    """What a file says of itself.

    Args:
        settings: by key; of a list of numbers its largest, of other lists None.
        shapes: of the tensors by name, slowest size first.
        is_f32: whether all tensors are in single precision: none was rounded.
    """

    settings: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    is_f32: bool


def read(path: Path) -> Head:
    """Read a file's head, and see that its data is all there.

    Raises:
        ValueError: it is not a complete GGUF file.
        OSError: it cannot be read.
    """
    import gguf

    with path.open("rb") as file:
        if file.read(4) != b"GGUF" or _number(file, "<I") not in (2, 3):
            raise ValueError("neither version 2 nor 3 of GGUF")
        tensors, keys = _count(file), _count(file)
        settings = {}
        for _ in range(keys):
            key = _text(file)
            settings[key] = _value(file, _number(file, "<I"))
        shapes, end, types = {}, 0, set()
        for _ in range(tensors):
            name = _text(file)
            sizes = tuple(_number(file, "<Q") for _ in range(min(_number(file, "<I"), 8)))
            kind = gguf.GGMLQuantizationType(_number(file, "<I"))
            block, size = gguf.GGML_QUANT_SIZES[kind]
            types.add(kind)
            count = 1
            for part in sizes:
                count *= part
            end = max(end, _number(file, "<Q") + count // block * size)
            shapes[name] = tuple(reversed(sizes))
        alignment = int(settings.get("general.alignment") or 32)
        begin = -(-file.tell() // alignment) * alignment
    if path.stat().st_size < begin + end:
        raise ValueError(f"{path.stat().st_size} bytes of {begin + end}: cut off?")
    return Head(settings, shapes, types <= {gguf.GGMLQuantizationType.F32})


def _value(file: IO[bytes], kind: int) -> Any:
    if kind == _STRING:
        return _text(file)
    if kind != _LIST:
        return _number(file, _SCALARS[kind])
    inner, count = _number(file, "<I"), _count(file)
    if inner in _SCALARS:
        code = _SCALARS[inner]
        data = _bytes(file, count * struct.calcsize(code))
        return max(struct.unpack(f"<{count}{code[1]}", data), default=None)
    for _ in range(count):
        _value(file, inner)
    return None


def _count(file: IO[bytes]) -> int:
    count = _number(file, "<Q")
    if count > _MOST:
        raise ValueError(f"a count of {count}")
    return int(count)


def _text(file: IO[bytes]) -> str:
    length = _number(file, "<Q")
    if length > _LONGEST:
        raise ValueError(f"a text of {length} bytes")
    return _bytes(file, length).decode(errors="replace")


def _number(file: IO[bytes], code: str) -> Any:
    return struct.unpack(code, _bytes(file, struct.calcsize(code)))[0]


def _bytes(file: IO[bytes], count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise ValueError("cut off in its head")
    return data
