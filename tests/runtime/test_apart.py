"""Work in a process of its own: its result, its errors, its end."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kaitoctl.errors import InputError
from kaitoctl.runtime.worker_process import apart


def test_the_result_comes_back_and_what_was_imported_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)

    def work() -> tuple[Path, int]:
        import colorsys  # noqa: F401 - any module that nothing else here wants

        return Path("/x"), os.getpid()

    found, process = apart(work, doing="reading")
    assert found == Path("/x")
    assert process != os.getpid()
    assert "colorsys" not in sys.modules


def _refuse() -> None:
    raise InputError("x.gguf is empty", hint="pull it again")


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _fail() -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("work", "words", "hint"),
    [
        (_refuse, "x.gguf is empty", "pull it again"),
        (_die, "reading m: the process ended with -9", "memory"),
        (_fail, "reading m: the process ended with 1", "last words"),
    ],
)
def test_it_ends_in_an_error_that_says_why(work: Callable[[], None], words: str, hint: str) -> None:
    with pytest.raises(InputError, match=words) as raised:
        apart(work, doing="reading m")
    assert hint in str(raised.value.hint)
