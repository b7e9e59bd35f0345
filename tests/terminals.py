"""Terminals that are not there: what blocks look like on one, and in a pipe."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from unittest import mock

from kaitoctl.screens import layout, terminal
from kaitoctl.screens.layout import Block

STEERING = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")
"""What moves the cursor of a terminal, hides it, or gives colour."""


class _Stream(io.StringIO):
    def __init__(self, encoding: str) -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return True


@dataclass(frozen=True)
class Terminal:
    """A terminal of so many columns."""

    columns: int
    colour: bool = False
    encoding: str = "utf-8"

    def lines(self, blocks: Sequence[Block]) -> list[str]:
        """What it shows."""
        variables = {"COLUMNS": str(self.columns), "LINES": "50", "TERM": "xterm", "FORCE_COLOR": ""}
        with mock.patch.dict(os.environ, variables | {"NO_COLOR": "" if self.colour else "1"}):
            return terminal.render_blocks(blocks, _Stream(self.encoding)).split("\n")[:-1]


def lines(blocks: Sequence[Block], shown_on: Terminal | None) -> list[str]:
    """What a terminal shows, or without one what a pipe gets."""
    return layout.plain(blocks) if shown_on is None else shown_on.lines(blocks)


def uncoloured(text: str) -> str:
    """The text without colours."""
    return re.sub(r"\x1b\[[\d;]*m", "", text)
