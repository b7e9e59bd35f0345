"""Files that users name: read whole, within limits, and said by name when they cannot be."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from difflib import unified_diff
from pathlib import Path
from typing import TYPE_CHECKING

from kaitoctl.errors import InputError
from kaitoctl.kube.documents import decoded, load_yaml

if TYPE_CHECKING:
    from kaitoctl.kube.objects import Object

_SUFFIXES = (".yaml", ".yml", ".json")
MAX_BYTES = 40_000_000  # the ten million characters that `load_yaml` reads


def display_name(path: str) -> str:
    """What a path is called where a message begins with it."""
    return "stdin" if path == "-" else path


def insist_on_name(path: str, *, option: str) -> None:
    """Refuse the empty name, which as a path means the present folder: a shell variable was not set.

    Raises:
        InputError: it is empty.
    """
    if not path.strip():
        raise InputError(f"{option} {path!r} names no file")


def text_of(path: str, *, option: str) -> str:
    """The text of a file, of stdin when the path is `-`.

    Raises:
        InputError: it cannot be read, is too large, or not UTF-8.
    """
    insist_on_name(path, option=option)
    raw = bytes_of(path, option=option)
    if len(raw) > MAX_BYTES:
        raise InputError(f"{option} {path}: larger than {MAX_BYTES:,} bytes")
    return decoded(raw, f"{option} {path}")


def bytes_of(path: str, *, option: str) -> bytes:
    """The bytes of a file, of stdin when the path is `-`, one more than `MAX_BYTES` at most.

    Raises:
        InputError: it cannot be read.
    """
    try:
        if path == "-":
            return sys.stdin.buffer.read(MAX_BYTES + 1)
        with Path(path).open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise InputError(f"{option} {path}: {getattr(error, 'strerror', None) or error}") from None


def within(name: str, *, option: str) -> Iterator[str]:
    """The file of this name, or those of the folder and of all below it, by name.

    Raises:
        InputError: it names no file, or there is none in the folder.
    """
    insist_on_name(name, option=option)
    path = Path(name)
    if name == "-" or "\0" in name or not path.is_dir():
        yield name
        return
    inside = sorted(file for file in path.rglob("*") if file.suffix in _SUFFIXES and file.is_file())
    if not inside:
        raise InputError(f"{option} {name}: no {', '.join(_SUFFIXES)} file in this folder")
    yield from map(str, inside)


def difference(before: str, after: str) -> list[str]:
    """A unified diff of two texts, without its head."""
    lines = unified_diff(before.splitlines(), after.splitlines(), n=2, lineterm="")
    return [line for line in lines if not line.startswith(("---", "+++"))]


def replace(filename: str, text: str) -> None:
    """Put the text in the place of the file's, all at once; it keeps its permissions, and what links lead to.

    Raises:
        InputError: it cannot be written.
    """
    path = Path(os.path.realpath(filename))
    try:
        raw = path.read_bytes()
        mark = b"\xef\xbb\xbf" if raw.startswith(b"\xef\xbb\xbf") else b""
        mode = path.stat().st_mode & 0o7777
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(mark + text.encode())
            Path(temporary).chmod(mode)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputError(f"-f {filename}: it cannot be written: {error.strerror or error}") from None


def objects_in(path: str, *, option: str) -> list[Object]:
    """The objects in a YAML or JSON file; those in a List are taken out of it.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    found: list[Object] = []
    for document in load_yaml(text_of(path, option=option), display_name(path)):
        items = document.get("items")
        is_list = str(document.get("kind") or "").endswith("List") and isinstance(items, list)
        found += items if is_list and items is not None else [document]
    for position, item in enumerate(found):
        if not isinstance(item, dict):
            raise InputError(f"{option} {path}: item {position} is not an object")
    return found
