"""Servers for the tests; what they are made of is in `serving`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sandbox_api.serving import Server, running


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as started:
        yield started


@pytest.fixture
def start() -> Iterator[Callable[[Path], Server]]:
    """Starts servers on a state file; they are stopped at the end unless they are already."""
    with ExitStack() as stack:
        yield lambda state: stack.enter_context(running(state))
