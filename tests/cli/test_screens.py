"""What a person sees on a terminal of 80 columns, and what a pipe gets."""

from __future__ import annotations

import os
import pty
import subprocess

from shell import BIN, Shell


def on_a_terminal(shell: Shell, *arguments: str) -> list[str]:
    """The lines that kaitoctl writes to a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    env = {**shell.env, "COLUMNS": "80", "TERM": "xterm"}
    process = subprocess.Popen([str(BIN / "kaitoctl"), *arguments], stdout=theirs, env=env, cwd=shell.home)
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
