"""Writes GGUF files, whole or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kaitoctl.errors import InputError


@contextlib.contextmanager
def writing(path: Path, architecture: str) -> Iterator[Any]:
    """A `gguf.GGUFWriter` to be filled; the file is written at the end of the block, or removed.

    Raises:
        InputError: the disk is full, or a file cannot be read or written.
    """
    import gguf

    writer = gguf.GGUFWriter(path, architecture)
    is_whole = False
    try:
        yield writer
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        is_whole = True
    except OSError as error:  # numpy's has no errno: "2048 requested and 760 written"
        words = f"{error.filename or path}: {error.strerror or error}"
        raise InputError(words, hint="is the disk full?") from error
    finally:
        with contextlib.suppress(OSError):  # it tries once more to write what did not go
            writer.close()
        if not is_whole:
            path.unlink(missing_ok=True)
