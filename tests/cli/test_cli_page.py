"""docs/cli.md is what the commands say about themselves; `python3 dev.py docs` writes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from kaitoctl.cli.app import app

PAGE = Path(__file__).parent.parent.parent / "docs" / "cli.md"
HEAD = """\
# Commands

The help of every command, written by `python3 dev.py docs`; a test keeps it true. For what they are
about, see the other pages of this folder.
"""


def helps(command: Any, context: Any) -> Iterator[tuple[str, str]]:
    """The help page of a command, 80 columns wide, and of those below it."""
    yield context.command_path, command.get_help(context)
    for name in sorted(command.list_commands(context)) if hasattr(command, "list_commands") else ():
        below = command.get_command(context, name)
        if not below.hidden:
            inner = below.make_context(name, [], parent=context, resilient_parsing=True)
            yield from helps(below, inner)


def test_the_page_is_what_the_commands_say(pytestconfig: pytest.Config) -> None:
    root: Any = typer.main.get_command(app)
    top = root.make_context("kaitoctl", [], resilient_parsing=True, terminal_width=80)
    sections = [f"## {path}\n\n```text\n{text.rstrip()}\n```\n" for path, text in helps(root, top)]
    page = "\n".join([HEAD, *sections])
    if pytestconfig.getoption("--update-golden"):
        PAGE.write_text(page, encoding="utf-8")
    assert page == PAGE.read_text(encoding="utf-8"), "python3 dev.py docs writes it"
