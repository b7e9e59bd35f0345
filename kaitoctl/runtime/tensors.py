"""Reads safetensors files: the table, and single tensors as f32.

The safetensors package gives numpy no bf16, in which most weights come; with the table it takes three lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kaitoctl.kaito.adapter_files import safetensors_header
from kaitoctl.kaito.adapter_files.safetensors_header import Tensor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TYPES = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"}


def table(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a file, without their data.

    Raises:
        BadFile: it is no whole safetensors file.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = safetensors_header.header_length(file.read(64), size)
        file.seek(8)
        return safetensors_header.tensors(file.read(length), size)


def as_f32(path: Path, tensor: Tensor) -> NDArray[np.float32]:
    """The data of one tensor that `table` has given.

    Raises:
        ValueError: its type is none of floating point.
    """
    import numpy as np

    if tensor.dtype not in _TYPES:
        raise ValueError(f"a tensor has the type {tensor.dtype}; only floating point can be merged")
    with path.open("rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little") + tensor.begin
        file.seek(start)
        raw = np.frombuffer(file.read(tensor.end - tensor.begin), _TYPES[tensor.dtype])
    if tensor.dtype == "BF16":  # the upper half of an f32
        raw = (raw.astype("<u4") << 16).view("<f4")
    return raw.astype(np.float32).reshape(tensor.shape)
