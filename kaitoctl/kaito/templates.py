"""Templates as files, shipped or the user's own, and the plain data that they are filled with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kaitoctl import packaged
from kaitoctl.errors import InputError
from kaitoctl.kube.yaml_scalars import Refused

DEFAULT = "inference"
SUFFIX = ".yaml.j2"
SHIPPED = "shipped template "  # how errors name what ships with us
MAX_TEMPLATE = 1_000_000  # characters


def names() -> list[str]:
    """The names of the shipped templates, sorted."""
    return sorted(file.name.removesuffix(SUFFIX) for file in packaged.folder("templates").glob(f"*{SUFFIX}"))


def text_of(name_or_path: str) -> tuple[str, str]:
    """A template's text and how errors name it.

    A path is what exists as a file, has a slash, or has a suffix; anything else is a shipped template's name.

    Raises:
        InputError: no such template, or a file that cannot be read.
    """
    path = Path(name_or_path)
    if "\0" in name_or_path or not name_or_path:
        raise InputError(f"template {name_or_path!r} is not a name and not a path")
    if "/" in name_or_path or path.suffix or path.is_file():
        return _file_text(path), name_or_path
    shipped = packaged.folder("templates") / f"{name_or_path}{SUFFIX}"
    if not shipped.is_file():
        raise InputError(
            f"there is no template {name_or_path!r}",
            hint=f"shipped: {', '.join(names())}; a file of your own needs a suffix or a slash",
        )
    return _file_text(shipped), f"{SHIPPED}{name_or_path}"


def _file_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(4 * MAX_TEMPLATE + 1)
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None


def plain(value: Any) -> Any:
    """A deep copy of `value` made of dict, list, str, int, float, bool and None only."""
    match value:
        case None | bool():
            return value
        case str():
            return str(value)
        case int():
            return int(value)
        case float():
            if not math.isfinite(value):
                raise Refused(f"{value} has no JSON form")
            return float(value)
        case Mapping():
            return {_plain_key(key): plain(item) for key, item in value.items()}
        case list() | tuple() | range():
            return [plain(item) for item in value]
        case _:
            raise Refused(f"a {type(value).__name__} is not plain data (text, number, list, map)")


def _plain_key(key: Any) -> str:
    if not isinstance(key, str):
        raise Refused(f"the key {key!r} of a map is not text")
    return str(key)
