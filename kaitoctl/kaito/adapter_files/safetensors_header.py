"""The head of a safetensors file: which tensors it has, of which type and shape.

Source: huggingface/safetensors README, "Format": eight bytes of length, that much JSON, the data.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from msgspec import Struct

LONGEST_HEADER = 100_000_000
"""Bytes; the safetensors library refuses longer ones, too."""

_BITS = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16}
_BITS |= {"I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64}
_LFS = b"version https://git-lfs.github.com/spec/"


class BadFile(ValueError):
    """The file is not what its name says.

    Args:
        code: which kind, a key of `codes.CODES`.
        words: what is wrong, without the file's name.
    """

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code


class Tensor(Struct, frozen=True):
    """One tensor as the head describes it.

    Args:
        dtype: as safetensors writes it, such as `F32`.
        shape: its sizes, slowest first.
        begin: bytes from the end of the head to its data.
        end: bytes from the end of the head to the end of its data.
    """

    dtype: str
    shape: tuple[int, ...]
    begin: int = 0
    end: int = 0


def is_pointer(start: bytes) -> bool:
    """Whether a file is a git-lfs pointer: text that stands for what was not downloaded."""
    return start.startswith(_LFS)


def header_length(start: bytes, size: int) -> int:
    """Bytes of JSON that follow the first eight.

    Args:
        start: the file's first bytes, at least 64 where it has so many.
        size: bytes of the whole file.

    Raises:
        BadFile: this cannot be a safetensors file.
    """
    if is_pointer(start):
        raise BadFile("adapter-lfs-pointer", "is a git-lfs pointer, not the weights")
    if size < 8:
        raise BadFile("adapter-file-broken", f"has {size} bytes, too few for a safetensors file")
    length = int.from_bytes(start[:8], "little")
    if length > LONGEST_HEADER or start[8:9] not in (b"{", b""):
        raise BadFile("adapter-file-broken", "is not a safetensors file")
    if 8 + length > size:
        raise BadFile("adapter-file-broken", f"is truncated: its header has {length} bytes, the file {size}")
    return length


def tensors(head: bytes, size: int) -> Mapping[str, Tensor]:
    """The tensors by name.

    Args:
        head: the JSON, as long as `header_length` says.
        size: bytes of the whole file.

    Raises:
        BadFile: the head makes no sense, or the file has another length than it says.
    """
    try:
        table = json.loads(head)
        found = {
            name: Tensor(
                str(entry["dtype"]), tuple(map(_size, entry["shape"])), *map(_size, entry["data_offsets"])
            )
            for name, entry in table.items()
            if name != "__metadata__"
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadFile("adapter-file-broken", "has a header that is not a safetensors table") from error
    for name, tensor in found.items():
        bits = _BITS.get(tensor.dtype)
        if bits is None:
            raise BadFile("adapter-file-broken", f"has the tensor {name} of unknown type {tensor.dtype}")
        if tensor.end - tensor.begin != math.prod(tensor.shape) * bits // 8:
            raise BadFile(
                "adapter-file-broken", f"has another number of bytes for {name} than its shape needs"
            )
    needed = 8 + len(head) + max((tensor.end for tensor in found.values()), default=0)
    if needed != size:
        raise BadFile("adapter-file-broken", f"has {size} bytes where its header needs {needed}: truncated?")
    return found


def _size(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(value)
    return value
