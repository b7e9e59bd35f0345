"""What a person sees on a terminal of 80 columns, and what a pipe gets."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

from shell import BIN, Shell


def on_a_terminal(shell: Shell, *arguments: str) -> list[str]:
    """The lines that kaitoctl writes to a terminal of 80 columns."""
    return seen_by(shell, str(BIN / "kaitoctl"), *arguments)


def seen_by(shell: Shell, *command: str, **variables: str) -> list[str]:
    ours, theirs = pty.openpty()
    env = {**shell.env, "COLUMNS": "80", "TERM": "xterm", **variables}
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


def test_the_last_column_is_wrapped_on_a_terminal_and_one_line_in_a_pipe(offline: Shell) -> None:
    lines = on_a_terminal(offline, "explain")
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)
    piped = offline.kaitoctl("explain").stdout.splitlines()
    assert len(piped) < len(lines)
    assert " ".join(" ".join(lines).split()) == " ".join(" ".join(piped).split())


TABLE = """
from kaitoctl.screens import output
output.table(["NAME", "OBJECT", "MESSAGE"], [["n" * {name}, "o" * 30, "all is well, as far as one can see"]])
"""


def test_a_name_that_leaves_no_room_has_a_line_of_its_own(offline: Shell) -> None:
    narrow = seen_by(offline, sys.executable, "-c", TABLE.format(name=20))
    assert max(map(len, narrow)) <= 80
    assert [line[54:] for line in narrow] == ["MESSAGE", "all is well, as far as one", "can see"]
    too_narrow = seen_by(offline, sys.executable, "-c", TABLE.format(name=45))
    assert max(map(len, too_narrow)) <= 80
    assert too_narrow[1] == "n" * 45


def test_a_dumb_terminal_gets_what_a_pipe_gets(offline: Shell) -> None:
    lines = seen_by(offline, str(BIN / "kaitoctl"), "explain", TERM="dumb")
    assert lines == offline.kaitoctl("explain").stdout.splitlines()


PICTURE = """
import sys
import termios
from kaitoctl.screens import layout, output
picture = output.picture(sys.stdout)
for message in ("one " * 30, "two " * 30):
    picture.draw([layout.table(["NAME", "MESSAGE"], [["falcon", message]])])
    sys.stdin.readline()
    output.warning("by the way")
picture.close()
"""


def test_a_picture_fits_the_terminal_after_it_has_been_resized(offline: Shell) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    env = {name: value for name, value in offline.env.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-c", PICTURE],
        stdin=subprocess.PIPE,
        stdout=theirs,
        stderr=theirs,
        env={**env, "TERM": "xterm", "NO_COLOR": "1"},
        cwd=offline.home,
    )
    assert process.stdin is not None
    seen = ""
    while seen.count("one") < 30:
        seen += os.read(ours, 65536).decode()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    os.close(theirs)
    process.stdin.write(b"\n")
    process.stdin.flush()
    again = ""
    while again.count("two") < 30:
        again += os.read(ours, 65536).decode()
    process.communicate(b"\n", timeout=20)
    os.close(ours)
    assert process.returncode == 0
    assert "by the way" in again
    before = seen.splitlines()
    assert 80 < max(map(len, before)) <= 120
    redrawn = again.rpartition("\x1b[2J")[2]
    assert "\x1b[H" in redrawn or "\x1b[2J" in again
    assert max(len(re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", line)) for line in redrawn.splitlines()) <= 40
