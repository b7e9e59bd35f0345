"""What is answered before the command line is built: the version, the root help page, names to complete.

Importing typer takes longer than all of this. The answers come from a table beside this file, which a test
compares with what typer says, shell by shell; whatever is not in it (values of options, narrow terminals,
other shells) is left to typer.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # as type checkers read it; importing typing would take as long as all of this
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, TypeAlias

_WIDTH = 80
"""How wide the help page of the table is; wider terminals get the same."""


if TYPE_CHECKING:
    Item: TypeAlias = tuple[str, str]
    """A name to complete, and what it means."""


def answer(arguments: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """What to print; None when that takes the whole command line."""
    if shell := environment.get("_KAITOCTL_COMPLETE"):
        return _completions(shell, environment)
    if list(arguments) == ["--version"]:
        from kaitoctl import __version__

        return f"kaitoctl {__version__}\n"
    if list(arguments) in (["--help"], ["-h"]) and _is_wide(environment):
        page: str = table()["help"]
        return page
    return None


def _is_wide(environment: Mapping[str, str]) -> bool:
    """Whether typer would make the page as wide as it is in the table."""
    if columns := environment.get("COLUMNS"):
        return columns.isascii() and columns.isdecimal() and int(columns) >= _WIDTH
    try:
        return os.get_terminal_size(sys.__stdout__.fileno() if sys.__stdout__ else 1).columns >= _WIDTH
    except (OSError, ValueError):
        return True  # a pipe


def table() -> Any:
    """The help page, and of each command its options and what is below it."""
    import json

    with open(os.path.join(os.path.dirname(__file__), "quick.json"), encoding="utf-8") as file:  # noqa: PTH118, PTH120, PTH123 - pathlib takes longer than the rest
        return json.load(file)


# --- completion ------------------------------------------------------------------------------------------


def _completions(shell: str, environment: Mapping[str, str]) -> str | None:
    shows = {"complete_bash": _bash, "complete_zsh": _zsh, "complete_fish": _fish}.get(shell)
    line = environment.get("COMP_WORDS" if shell == "complete_bash" else "_TYPER_COMPLETE_ARGS", "")
    if shows is None or not line or set(line) & set("\"'\\"):
        return None
    words = line.split()
    if shell == "complete_bash":
        number = environment.get("COMP_CWORD", "")
        cursor = int(number) if number.isascii() and number.isdecimal() else 0
    else:
        cursor = len(words) - (not line.endswith(" "))
    if not 0 < cursor <= len(words):
        return None
    found = _items(words[1:cursor], words[cursor] if cursor < len(words) else "")
    return None if found is None else shows(found, environment)


def _items(before: Sequence[str], begun: str) -> list[Item] | None:
    """The names that the word under the cursor may become; None when it is not about names."""
    known, path, rest = table()["commands"], "", list(before)
    while rest and (deeper := f"{path} {rest[0]}".strip()) in known:
        path = deeper
        rest.pop(0)
    command = known[path]
    if "--" in rest or "=" in begun:
        return None
    if begun.startswith("-"):
        return [
            (name, text)
            for names, text, is_repeated in command["options"]
            if is_repeated or not set(names) & set(rest)
            for name in names
            if name.startswith(begun)
        ]
    if rest or "commands" not in command:
        return None
    return [(name, text) for name, text in command["commands"] if name.startswith(begun)]


def _bash(items: list[Item], _: Mapping[str, str]) -> str:
    return "\n".join(name for name, _ in items) + "\n"


def _zsh(items: list[Item], _: Mapping[str, str]) -> str:
    def escaped(text: str) -> str:
        for char, instead in (('"', '""'), ("'", "''"), ("$", "\\$"), ("`", "\\`"), (":", "\\\\:")):
            text = text.replace(char, instead)
        return text

    lines = [f'"{escaped(name)}":"{escaped(text)}"' if text else f'"{escaped(name)}"' for name, text in items]
    return f"_arguments '*: :(({chr(10).join(lines)}))'\n" if lines else "_files\n"


def _fish(items: list[Item], environment: Mapping[str, str]) -> str | None:
    if environment.get("_TYPER_COMPLETE_FISH_ACTION") != "get-args":
        return None  # the question whether there are any is answered by the exit code
    return "\n".join(f"{name}\t{text}" if text else name for name, text in items) + "\n"
