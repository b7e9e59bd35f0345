"""`kaitoctl run-controller` as a process of its own, on clusters that have no Workspace controller."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from shell import BIN, Shell

if TYPE_CHECKING:
    from controlplane.plane import ControlPlane

Wait = Callable[[Callable[[], object]], None]
A100 = "Standard_NC24ads_A100_v4"
CREATE = ["create", "workspace", "w", "--preset", "falcon-7b", "--instance-type", "Standard_NC12s_v3"]


@pytest.fixture(
    scope="module", params=["sandbox", pytest.param("control-plane", marks=pytest.mark.control_plane)]
)
def bare(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    home = tmp_path_factory.mktemp("home")
    if request.param == "control-plane":
        plane: ControlPlane = request.getfixturevalue("control_plane")
        yield Shell(home, cluster={"KUBECONFIG": str(plane.kubeconfig)})
        return
    shell = Shell(home, "bare", {"KAITOCTL_SANDBOX": "1"})
    shell.kaitoctl("sandbox", "up", "--no-controller", "--speed", "200")
    yield shell
    shell.kaitoctl("sandbox", "down", "--delete")


@contextmanager
def controller(shell: Shell, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [str(BIN / "kaitoctl"), "run-controller", "--metrics-address=0", *arguments],
        env=shell.env,
        cwd=shell.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def holder(shell: Shell) -> str:
    names = shell.names("leases", "-n", "default")
    if not names:
        return ""
    return str(shell.get("lease", "kaitoctl-controller", "-n", "default")["spec"].get("holderIdentity") or "")


def test_it_manages_workspaces_and_gives_its_lease_back_on_sigterm(bare: Shell, wait_until: Wait) -> None:
    with controller(bare) as process:
        bare.kaitoctl(*CREATE, "--timeout", "60s", "--yes")
        bare.kubectl("delete", "workspace", "w")
        assert holder(bare)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=20)
        assert process.returncode == 0, stderr
        assert "Traceback" not in stderr
        assert holder(bare) == ""


def test_a_second_controller_waits_and_takes_over(bare: Shell, wait_until: Wait) -> None:
    with controller(bare) as first:
        wait_until(lambda: holder(bare))
        leader = holder(bare)
        with controller(bare) as second:
            first.send_signal(signal.SIGTERM)
            first.communicate(timeout=20)
            wait_until(lambda: holder(bare) not in ("", leader))
            assert second.poll() is None
            assert str(second.pid) in holder(bare)


def test_nodes_of_ones_own_are_waited_for_and_nobody_is_said_to_buy_any(
    bare: Shell, wait_until: Wait
) -> None:
    byo = ("--node-provisioner", "byo", "--kaito-version", "v0.12")
    create = ("create", "workspace", "own", "--preset", "phi-4", "--instance-type", A100, "--yes")
    with controller(bare, *byo) as process:
        wait_until(lambda: str(process.pid) in holder(bare))
        done = bare.kaitoctl(*create, "--timeout", "4s", code=124)
        assert "nodes asked for" not in done.stderr
        nobody = "Nobody creates the missing nodes: this controller asks for none (--node-provisioner byo)"
        assert f"waits for: 1 more node: 0 of 1 required nodes usable. {nobody}." in done.stderr
        assert nobody in bare.kaitoctl("check-nodes", "own", code=1).stdout
        cause = json.loads(bare.kaitoctl("why", "own", "-o", "json", code=1).stdout)["cause"]
        assert cause["code"] == "no-node-provisioner" and "label nodes" in cause["hint"]
        bare.add_node("own-gpu", A100, apps="own")
        if bare.env.get("KAITOCTL_SANDBOX"):  # elsewhere no kubelet runs its pod
            bare.kaitoctl(*create, "--timeout", "60s")
        bare.kubectl("delete", "workspace", "own")
        bare.kubectl("delete", "node", "own-gpu")
        process.send_signal(signal.SIGTERM)  # a lease that is left to expire tells of its holder until then
        process.communicate(timeout=20)


def test_nodes_are_not_foretold_where_no_api_creates_them(bare: Shell, wait_until: Wait) -> None:
    """The sandbox serves no NodePools."""
    if not bare.env.get("KAITOCTL_SANDBOX"):
        return
    asked = ("--preset", "phi-4", "--instance-type", A100, "--node-provisioner", "karpenter")
    nobody = "this cluster has no NodePool API that could create them"
    for release in ("v0.12", "kaitoctl"):
        who = (*asked, "--target-version", release)
        assert nobody in bare.kaitoctl("check-nodes", *who, "--label", "apps=k", code=1).stdout
        trial = bare.kaitoctl("create", "workspace", "k", *who, "--no-wait", "--dry-run", "server")
        assert nobody in trial.stderr and "nodes asked for" not in trial.stderr


def test_without_a_controller_the_waiting_user_is_told(bare: Shell, tmp_path: Path) -> None:
    done = bare.kaitoctl(
        *("create", "workspace", "lonely", "--preset", "falcon-7b", "--timeout", "9s", "--yes"), code=124
    )
    assert "no controller has taken the Workspace up in" in done.stderr
    assert "so nothing will happen: kaitoctl why lonely" in done.stderr
    # On a plane that other tests share, the Deployment of a controller may still be there, without pods.
    assert any(words in done.stderr for words in ("run-controller", "kaitoctl's controller is ready"))
    bare.kubectl("delete", "workspace", "lonely")
    made = bare.kaitoctl(*CREATE, "--dry-run", "client", "-o", "yaml").stdout
    (bare.home / "w.yaml").write_text(made)
    late = bare.kaitoctl("apply", "-f", "w.yaml", "--yes", "--timeout", "2s", code=124)
    (line,) = (line for line in late.stderr.splitlines() if "is not ready after 2s" in line)
    assert line.count("default/w") == 1
    bare.kubectl("delete", "workspace", "w")


def test_a_cluster_without_the_crd_is_refused_at_once(tmp_path: Path) -> None:
    shell = Shell(tmp_path, "empty")
    shell.kaitoctl("sandbox", "up", "--no-controller")
    shell.kubectl("delete", "crd", "workspaces.kaito.sh")
    done = shell.kaitoctl("run-controller", "--sandbox", code=4)
    assert "the CRD workspaces.kaito.sh is not installed" in done.stderr
    shell.kaitoctl("sandbox", "down", "--delete")
