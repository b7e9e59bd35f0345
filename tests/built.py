"""The programs that were built of Go modules, for tests: missing ones skip a test, and fail it in CI."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from typing import TypeVar

import pytest
from controlplane import programs

T = TypeVar("T")


def needed(find: Callable[[], T]) -> T:
    """What `find` gives; without it, the test that asks cannot run on this machine."""
    try:
        return find()
    except programs.Unavailable as error:
        (pytest.fail if programs.must_run() else pytest.skip)(str(error))


def helm(*arguments: str, code: int = 0) -> str:
    """What helm prints, on stderr when it is to fail; it sees no settings of the developer's."""
    command = [str(needed(programs.helm)), *arguments]
    env = {name: value for name, value in os.environ.items() if not name.startswith("HELM_")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr
