"""Files that users name: read whole, within limits, and said by name when they cannot be."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kaitoctl.errors import InputError

if TYPE_CHECKING:
    from kaitoctl.kube.objects import Object

MAX_BYTES = 40_000_000  # the ten million characters that `load_yaml` reads


def called(path: str) -> str:
    """What a path is called where a message begins with it."""
    return "stdin" if path == "-" else path


def text_of(path: str, *, option: str) -> str:
    """The text of a file, of stdin when the path is `-`.

    Raises:
        InputError: it cannot be read, is too large, or not UTF-8.
    """
    from kaitoctl.kube.documents import decoded

    try:
        if path == "-":
            raw = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise InputError(f"{option} {path}: larger than {MAX_BYTES:,} bytes")
        return decoded(raw, f"{option} {path}")
    except (OSError, ValueError) as error:
        raise InputError(f"{option} {path}: {getattr(error, 'strerror', None) or error}") from None


def objects_in(path: str, *, option: str) -> list[Object]:
    """The objects in a YAML or JSON file; those in a List are taken out of it.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    from kaitoctl.kube.documents import load_yaml

    found: list[Object] = []
    for document in load_yaml(text_of(path, option=option), called(path)):
        items = document.get("items")
        is_list = str(document.get("kind") or "").endswith("List") and isinstance(items, list)
        found += items if is_list and items is not None else [document]
    for position, item in enumerate(found):
        if not isinstance(item, dict):
            raise InputError(f"{option} {path}: item {position} is not an object")
    return found
