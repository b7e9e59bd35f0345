"""Commands run in this process, beside a server in the same event loop, in which waiting costs nothing."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from functools import cache
from typing import Any, NamedTuple

import pytest
import typer
import virtual_time

from kaitoctl.cli import app as app_


class Ending(NamedTuple):
    """How a command ended.

    Args:
        code: its exit code.
        at_s: the moment, in the time of the loop.
        said: what it wrote to stderr, with the moments.
        printed: what it wrote to stdout.
        logged: every record of any logger, with what it carries.
    """

    code: int
    at_s: float
    said: list[tuple[float, str]]
    printed: str
    logged: str

    @property
    def text(self) -> str:
        """Stderr."""
        return "".join(text for _, text in self.said)


class _Stopwatch(io.StringIO):
    """A stderr that notes the time of the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[float, str]] = []

    def write(self, text: str) -> int:
        try:
            now = asyncio.get_running_loop().time()
        except RuntimeError:  # the end of a command is said when its loop is gone
            now = self.said[-1][0] if self.said else 0.0
        self.said.append((now, text))
        return len(text)


class _Everything(logging.Handler):
    """Keeps all of each record."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += f"{self.format(record)} {record.__dict__}\n"


@cache
def all_commands() -> Any:
    """The command line, which is the same in each run: to build a command takes longer than to run most."""
    return typer.main.get_command(app_.app)


def beside(
    up: Callable[[], AbstractAsyncContextManager[Any]],
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    at_most_s: float,
    is_real: bool = False,
) -> Ending:
    """Run a command while a server is up.

    Args:
        up: brings the server up, in the event loop of the command.
        arguments: of the command.
        monkeypatch: puts back what is changed for it.
        at_most_s: when it is ended, in the time of the loop.
        is_real: whether that is the time of the world: where other programs take part.
    """
    stderr, stdout, ended_at = _Stopwatch(), io.StringIO(), [0.0]

    async def both(work: Coroutine[Any, Any, Any]) -> Any:
        async with up():
            try:
                async with asyncio.timeout(at_most_s):
                    return await work
            finally:
                ended_at[0] = asyncio.get_running_loop().time()

    def run(work: Coroutine[Any, Any, Any]) -> Any:
        if not is_real:
            return virtual_time.run(both(work))
        with asyncio.Runner() as runner:
            return runner.run(both(work))

    root, everything = logging.getLogger(), _Everything()
    level = root.level
    with monkeypatch.context() as patched:
        patched.setattr(asyncio, "run", run)
        patched.setattr("sys.stderr", stderr)
        patched.setattr("sys.stdout", stdout)
        patched.setattr(root, "handlers", [])
        watched = logging.getLogger("kaitoctl")
        watched.addHandler(everything)
        try:
            code = app_.run(lambda: all_commands()(arguments))
        finally:
            watched.removeHandler(everything)
            root.setLevel(level)
    return Ending(code, ended_at[0], stderr.said, stdout.getvalue(), everything.text)
