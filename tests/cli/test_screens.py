"""What a person sees on a terminal of 80 columns, and what a pipe gets."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

from shell import BIN, Shell


def on_a_terminal(shell: Shell, *arguments: str) -> list[str]:
    """The lines that kaitoctl writes to a terminal of 80 columns."""
    return seen_by(shell, str(BIN / "kaitoctl"), *arguments)


def seen_by(shell: Shell, *command: str) -> list[str]:
    ours, theirs = pty.openpty()
    env = {**shell.env, "COLUMNS": "80", "TERM": "xterm"}
    process = subprocess.Popen(command, stdout=theirs, env=env, cwd=shell.home)
    os.close(theirs)
    seen = b""
    try:
        while chunk := os.read(ours, 65536):
            seen += chunk
    except OSError:  # how Linux says that the other end has gone
        pass
    os.close(ours)
    assert process.wait(20) == 0
    return seen.decode().splitlines()


def test_the_last_column_is_cut_to_a_terminal_and_whole_in_a_pipe(offline: Shell) -> None:
    lines = on_a_terminal(offline, "explain")
    assert max(map(len, lines)) <= 80
    assert any(line.endswith("…") for line in lines)
    piped = offline.kaitoctl("explain").stdout.splitlines()
    assert len(piped) == len(lines)
    assert not any("…" in line for line in piped)


TABLE = """
from kaitoctl.cli import output
output.table(["NAME", "OBJECT", "MESSAGE"], [["n" * {name}, "o" * 30, "all is well, as far as one can see"]])
"""


def test_a_row_is_never_cut_and_wrapped_as_well(offline: Shell) -> None:
    narrow = seen_by(offline, sys.executable, "-c", TABLE.format(name=30))
    assert max(map(len, narrow)) == 80
    assert narrow[1].endswith("all is well, as…")
    too_narrow = seen_by(offline, sys.executable, "-c", TABLE.format(name=45))
    assert too_narrow[1].endswith("as far as one can see")
