"""Text reaches its reader, and a reader who has gone is no failure, in any encoding."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from kaitoctl.screens import stream


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_reader_who_has_gone_is_noticed(encoding: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with io.TextIOWrapper(os.fdopen(writing, "wb"), encoding=encoding) as text:
        assert not stream.write(text, "\N{HEAVY CHECK MARK} done")
        assert stream.write(text, "what comes after goes nowhere")


def test_a_terminal_that_knows_no_check_marks_gets_the_words(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w", encoding="ascii") as text:
        assert stream.write(text, "\N{HEAVY CHECK MARK} done")
    assert (tmp_path / "out").read_text() == "\\u2714 done\n"
