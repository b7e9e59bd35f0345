"""The only file that prints: data on stdout, narration on stderr.

What comes from a cluster is shown with its control characters made visible, so that no name or message
can move the cursor or hide a line. Colour only on a terminal, and never with NO_COLOR.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TextIO

from kaitoctl.cli.stream import write
from kaitoctl.errors import Unread

if TYPE_CHECKING:
    from kaitoctl.errors import KaitoctlError
    from kaitoctl.kube.objects import Object

_RED, _GREEN, _YELLOW, _DIM, _PLAIN = "31", "32", "33", "2", ""
_GAP = "   "
_LEAST_ROOM = 20
_LEAST_LEFT = 10
_SAID_AGAIN_S = 30.0
# Arabic, Hebrew and other letters are fine; what steers the writing direction is not.
_STEERING = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def visible(text: str) -> str:
    """The text on one line, control and direction characters replaced by escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char if char.isprintable() and char not in _STEERING else char.encode("unicode_escape").decode()
        for char in text
    )


_ends_unread = False


def end_unread() -> None:
    """From now on, end the command when the reader of stdout has gone: it has nothing else to do."""
    global _ends_unread
    _ends_unread = True


# --- data ----------------------------------------------------------------------------------------------


def data(text: str) -> None:
    """One line (or a finished block) of the command's result, on stdout."""
    _write(sys.stdout, text)


def objects(items: Sequence[Object], output: str) -> None:
    """Objects as `yaml`, `json` or `name`, on stdout; several as YAML documents or a JSON List."""
    if output == "name":
        for item in items:
            data(resource_name(item))
    elif output == "json":
        value = items[0] if len(items) == 1 else {"apiVersion": "v1", "kind": "List", "items": list(items)}
        document(value, indent=4)
    else:
        from kaitoctl.kube.documents import to_yaml

        data("---\n".join(to_yaml(item) for item in items).rstrip("\n"))


def document(value: object, *, indent: int | None = 2) -> None:
    """A JSON document on stdout; without `indent` on one line."""
    data(json_text(value, indent))


def json_text(value: object, indent: int | None = None) -> str:
    """JSON that any terminal survives: characters that steer it are escapes, as JSON allows."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    if text.isascii() and "\x7f" not in text:
        return text
    return "".join(
        char if char == "\n" or (char.isprintable() and char not in _STEERING) else json.dumps(char)[1:-1]
        for char in text.replace("\x7f", "\\u007f")
    )


def resource_name(obj: Object) -> str:
    """`workspace.kaito.sh/phi`, `service/phi`: as kubectl names objects."""
    group = str(obj.get("apiVersion")).rpartition("/")[0]
    kind = str(obj.get("kind")).lower() + (f".{group}" if group else "")
    return visible(f"{kind}/{(obj.get('metadata') or {}).get('name')}")


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, most: int | None = None) -> None:
    """Left-aligned columns in the manner of kubectl, on stdout; on a terminal the last one is cut to fit.

    Args:
        headers: of the columns.
        rows: their cells.
        most: the width elsewhere, by default any; 0 cuts nothing, not even on a terminal.
    """
    lines = [list(headers), *([visible(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    used, gaps, gap = sum(widths[:-1]), len(widths) - 1, _GAP
    if most != 0 and sys.stdout.isatty() and _left_of(used + len(gap) * gaps) < min(widths[-1], _LEAST_ROOM):
        gap = _GAP[1:]
    room = _room_for_last(used + len(gap) * gaps, most)
    for line in lines:
        if len(line[-1]) > room:
            line[-1] = f"{line[-1][: room - 1]}…"
        data(gap.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _room_for_last(used: int, most: int | None) -> int:
    """Characters that the last column may have: what is left of the width, but enough to read."""
    if most == 0 or (most is None and not sys.stdout.isatty()):
        return sys.maxsize
    if not sys.stdout.isatty():
        return max((most or 0) - used, _LEAST_ROOM)
    left = _left_of(used)
    return left if left >= _LEAST_LEFT else sys.maxsize  # a row that is wrapped anyway is shown whole


def _left_of(used: int) -> int:
    """Columns that the terminal has left; below 0 when it has too few."""
    from shutil import get_terminal_size

    return get_terminal_size().columns - used


def passage(text: str) -> str:
    """A text of several lines, such as a log: lines and tabs stay, what else steers a terminal is escaped.

    Of a line that was written over by carriage returns (a progress bar) the last state remains.
    """
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return "\n".join("\t".join(visible(part) for part in line.split("\t")) for line in lines)


def piece(text: str) -> None:
    """A piece of a text on stdout, without a line's end: a model speaks word by word."""
    _write(sys.stdout, passage(text), end="")


class Canvas:
    """A block of lines at the end of a terminal's text, drawn again in place.

    Args:
        stream: a terminal; lines must be no wider than it, and show no control characters but colours.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn = 0

    def draw(self, lines: Sequence[str]) -> None:
        """Replace the block; what is too high for the terminal is cut, and says so."""
        from shutil import get_terminal_size

        room = max(2, get_terminal_size().lines - 1)
        if len(lines) > room:
            lines = [*lines[: room - 1], f"... {len(lines) - room + 1} more lines"]
        up = f"\x1b[{self._drawn}A\r" if self._drawn else "\x1b[?25l"
        text = "".join(f"{line}\x1b[K\n" for line in lines)
        self._put(f"{up}{text}\x1b[J")
        self._drawn = len(lines)

    def close(self) -> None:
        """Leave the block where it is, and give the cursor back."""
        if self._drawn:
            self._put("\x1b[?25h")

    def _put(self, text: str) -> None:
        try:
            print(text, file=self._stream, end="", flush=True)
        except UnicodeEncodeError:
            encoding = self._stream.encoding or "ascii"
            self._stream.write(text.encode(encoding, "replace").decode(encoding))
            self._stream.flush()


def log_to_narration() -> None:
    """Let the library's warnings appear as narration, made visible; tracebacks only with KAITOCTL_DEBUG."""
    import logging

    said: dict[str, float] = {}

    class Narrating(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if debugging():
                trace(self.format(record))
            elif not record.exc_info:  # a defect's details say nothing to a user; what it leads to is told
                text = record.getMessage()
                # Ten watches of a server that is gone say the same ten times, and again every few seconds.
                what, _, cause = text.partition(": ")
                if what.startswith("watching "):
                    if record.created - said.get(cause, -_SAID_AGAIN_S) < _SAID_AGAIN_S:
                        return
                    said[cause] = record.created
                warning(text)

    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(Narrating(logging.WARNING))


def debugging() -> bool:
    """Whether the user wants to see where things fail."""
    return bool(os.environ.get("KAITOCTL_DEBUG"))


def trace(text: str) -> None:
    """Where something failed, for who is debugging."""
    _write(sys.stderr, passage(text.rstrip("\n")))


# --- narration -------------------------------------------------------------------------------------------


def step(text: str) -> None:
    """Something begins or moves on."""
    _narrate("►", text, _DIM)


def success(text: str) -> None:
    """Something went well."""
    _narrate("✔", text, _GREEN)


def warning(text: str, *, hint: str = "") -> None:
    """Something that the user should know and that stops nobody."""
    _narrate("!", text, _YELLOW)
    if hint:
        _write(sys.stderr, f"  {visible(hint)}")


def failure(text: str) -> None:
    """Something went wrong; details may follow."""
    _narrate("✗", text, _RED)


def note(text: str) -> None:
    """A line below what was just said."""
    _write(sys.stderr, f"  {visible(text)}")


def differences(lines: Iterable[str]) -> None:
    """Lines of a unified diff: what goes in red, what comes in green; on a terminal cut to its width."""
    from shutil import get_terminal_size

    room = get_terminal_size().columns if sys.stderr.isatty() else sys.maxsize
    for line in lines:
        text = visible(line)
        text = text if len(text) <= room else f"{text[: room - 1]}…"
        colour = {"+": _GREEN, "-": _RED}.get(line[:1], _PLAIN)
        _write(sys.stderr, _painted(text, colour, sys.stderr))


def can_ask() -> bool:
    """Whether somebody sits there who can answer a question."""
    return sys.stdin.isatty() and sys.stderr.isatty()


async def ask(question: str) -> bool:
    """The answer to a question, no unless it is yes; Ctrl-C ends the command as always."""
    return (await asked(f"{visible(question)} [y/N] ")).strip().lower() in ("y", "yes")


async def asked(prompt: str) -> str:
    """The line that is typed on the terminal after a prompt, with its end; empty at the end of all."""
    import asyncio

    _write(sys.stderr, prompt, end="")
    loop = asyncio.get_running_loop()
    typed = asyncio.Event()
    # A thread that waits for a line could not be interrupted.
    loop.add_reader(sys.stdin.fileno(), typed.set)
    try:
        await typed.wait()
    except asyncio.CancelledError:
        _write(sys.stderr, "")  # what comes next begins on a line of its own
        raise
    finally:
        loop.remove_reader(sys.stdin.fileno())
    return sys.stdin.readline()


def error(problem: KaitoctlError) -> None:
    """The last words of a command that failed: cause, details, and the one thing to do next."""
    _write(sys.stderr, _painted("error: ", _RED, sys.stderr) + visible(problem.message))
    for line in getattr(problem, "problems", ()):
        _write(sys.stderr, f"  {visible(line)}")
    if problem.hint:
        _write(sys.stderr, f"hint: {visible(problem.hint)}")


def _narrate(mark: str, text: str, colour: str) -> None:
    _write(sys.stderr, f"{_painted(mark, colour, sys.stderr)} {visible(text)}")


def _painted(text: str, colour: str, stream: TextIO) -> str:
    if not colour or os.environ.get("NO_COLOR") or not stream.isatty():
        return text
    return f"\x1b[{colour}m{text}\x1b[0m"


def _write(stream: TextIO, text: str, end: str = "\n") -> None:
    is_read = write(stream, text, end)
    if not is_read and stream is sys.stdout and _ends_unread:
        raise Unread("nobody reads what this writes")
