"""The control plane itself: what the other tests rely on, and that nothing is left of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from builders import pod
from controlplane import programs
from controlplane.plane import ControlPlane, sweep
from shell import Shell

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def shell(control_plane: ControlPlane, tmp_path: Path) -> Shell:
    """An administrator's."""
    return Shell(tmp_path, cluster={"KUBECONFIG": str(control_plane.kubeconfig)})


@pytest.fixture
def node(shell: Shell) -> Iterator[str]:
    """A node with two GPUs, where only pods go that name it."""
    shell.add_node("plane-a", "Standard_NC12s_v3")
    shell.kubectl("cordon", "plane-a")
    yield "plane-a"
    shell.delete_node("plane-a")


@pytest.fixture
def run(shell: Shell, node: str) -> Iterator[Callable[..., Any]]:
    """Run a pod on the node; returns what `kubectl get` shows of its status when that holds."""

    def running(until: Callable[[Any], bool], **spec: Any) -> Any:
        made = pod("plane", node_name=node)
        made["spec"] |= {"containers": [{"name": "main", "image": "registry.example/web:1"}], **spec}
        del made["status"]
        shell.apply(made)
        return eventually(lambda: shell.get("pod", "plane")["status"], until)

    yield running
    shell.kubectl("delete", "pod", "plane", "--ignore-not-found")


def eventually(look: Callable[[], Any], holds: Callable[[Any], bool]) -> Any:
    deadline = time.monotonic() + 30
    while not holds(seen := look()):
        assert time.monotonic() < deadline, seen
        time.sleep(0.05)
    return seen


def waits_for(status: Any, key: str = "containerStatuses") -> str:
    reasons = [item["state"].get("waiting", {}).get("reason", "") for item in status.get(key, ())]
    return reasons[0] if reasons else ""


def test_it_is_the_release_of_go_mod(control_plane: ControlPlane) -> None:
    assert control_plane.do("GET", "/version")["gitVersion"] == programs.version()


def test_users_may_what_their_roles_say(control_plane: ControlPlane, tmp_path: Path) -> None:
    def ask(user: Path, code: int) -> None:
        Shell(tmp_path, cluster={"KUBECONFIG": str(user)}).kubectl("get", "pods", code=code)

    ask(control_plane.kubeconfig_of("nobody"), code=1)
    ask(control_plane.kubeconfig_of("somebody", ["system:masters"]), code=0)


def test_a_token_speaks_for_its_service_account(control_plane: ControlPlane, tmp_path: Path) -> None:
    account = control_plane.kubeconfig_of_service_account("default", "default")
    shell = Shell(tmp_path, cluster={"KUBECONFIG": str(account)})
    who = json.loads(shell.kubectl("auth", "whoami", "-o", "json"))["status"]["userInfo"]
    assert who["username"] == "system:serviceaccount:default:default"


def test_the_audit_log_tells_who_asked_for_what_and_got_it(control_plane: ControlPlane, shell: Shell) -> None:
    began = control_plane.audit_mark()
    shell.kubectl("get", "configmap", "no-such-one", code=1)
    (told,) = [
        event
        for event in control_plane.audit_events(began)
        if event.get("objectRef", {}).get("name") == "no-such-one"
    ]
    assert (told["user"]["username"], told["verb"], told["responseStatus"]["code"]) == ("admin", "get", 404)


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_the_api_server_comes_back_at_its_address_with_its_objects(
    control_plane: ControlPlane, shell: Shell, kill: bool
) -> None:
    shell.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept", "namespace": "default"}}
    )
    before = control_plane.api_server.pid
    control_plane.restart_api_server(kill=kill)
    assert control_plane.api_server.pid != before
    assert shell.names("configmap", "kept") == ["configmap/kept"]
    shell.kubectl("delete", "configmap", "kept")


def test_a_pod_is_initialized_runs_and_is_ready(run: Callable[..., Any]) -> None:
    first = [{"name": "first", "image": "registry.example/adapter:1"}]
    status = run(lambda it: it.get("containerStatuses", [{}])[0].get("ready"), initContainers=first)
    assert status["phase"] == "Running"
    assert status["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
    conditions = {item["type"]: item["status"] for item in status["conditions"]}
    assert conditions == dict.fromkeys(("Initialized", "Ready", "ContainersReady"), "True")


@pytest.mark.parametrize(
    ("tag", "reason"),
    [("does-not-exist", "ImagePullBackOff"), ("crash", "CrashLoopBackOff")],
)
def test_a_word_in_the_image_breaks_the_container(run: Callable[..., Any], tag: str, reason: str) -> None:
    broken = [{"name": "main", "image": f"registry.example/web:{tag}"}]
    run(lambda it: waits_for(it) == reason, containers=broken)


@pytest.mark.parametrize(
    ("tag", "reason"),
    [("does-not-exist", "ImagePullBackOff"), ("empty-data", "CrashLoopBackOff")],
)
def test_a_broken_init_container_keeps_the_others_waiting(
    run: Callable[..., Any], tag: str, reason: str
) -> None:
    broken = [{"name": "first", "image": f"registry.example/adapter:{tag}"}]
    status = run(lambda it: waits_for(it, "initContainerStatuses") == reason, initContainers=broken)
    assert waits_for(status) == "PodInitializing"


def test_what_need_not_run_for_ever_succeeds(run: Callable[..., Any]) -> None:
    status = run(lambda it: it["phase"] == "Succeeded", restartPolicy="Never")
    assert status["containerStatuses"][0]["state"]["terminated"]["reason"] == "Completed"


def test_a_node_claim_gets_a_node_with_its_gpus_and_takes_it_along(shell: Shell) -> None:
    wanted = {
        "node.kubernetes.io/instance-type": "Standard_NC24s_v3",
        "kubernetes.io/os": "linux",
    }
    claim = {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodeClaim",
        "metadata": {"name": "plane-claim", "labels": {"apps": "plane"}},
        "spec": {
            "nodeClassRef": {"group": "karpenter.azure.com", "kind": "AKSNodeClass", "name": "default"},
            "requirements": [
                {"key": key, "operator": "In", "values": [value]} for key, value in wanted.items()
            ],
            "taints": [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
        },
    }
    shell.apply(claim)
    status = eventually(
        lambda: shell.get("nodeclaim", "plane-claim").get("status", {}), lambda it: "nodeName" in it
    )
    assert {item["type"]: item["status"] for item in status["conditions"]}["Ready"] == "True"
    node = shell.get("node", status["nodeName"])
    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "4"
    assert node["metadata"]["labels"].items() >= {**wanted, "apps": "plane"}.items()
    assert {"key": "sku", "value": "gpu", "effect": "NoSchedule"} in node["spec"]["taints"]
    shell.kubectl("delete", "nodeclaim", "plane-claim")
    eventually(lambda: shell.names("nodes"), lambda names: f"node/{status['nodeName']}" not in names)


# --- its beginning and its end -----------------------------------------------------------------------------


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose name leaves room for that of a socket, 108 characters in all."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["terminated", "killed"])
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children that their parent has died")
@pytest.mark.usefixtures("control_plane")  # where there are no programs, this is skipped
def test_nothing_is_left_of_it(number: int, short: Path) -> None:
    """Not of the test process's choosing: somebody ends it."""
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "TMPDIR": str(short)}
    process = subprocess.Popen(
        [sys.executable, "-m", "controlplane.plane"], env=env, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process.stdout as said:
        assert said.readline().startswith("export KUBECONFIG=")
    assert len(running_in(short)) == 5
    process.send_signal(number)
    process.wait(60)
    eventually(lambda: running_in(short), lambda left: not left)
    if number == signal.SIGKILL:
        sweep(short)  # as the next one to start does
    assert list(short.iterdir()) == []


def running_in(folder: Path) -> list[str]:
    """The command lines of the processes that have files below the folder."""
    found = []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = command.read_bytes().decode(errors="replace").replace("\0", " ")
        except OSError:
            continue  # it has just ended
        if f"{folder}/" in words:
            found.append(words)
    return found


@pytest.mark.parametrize(("ci", "outcome"), [("", "1 skipped"), ("true", "1 error")])
def test_without_the_programs_the_tests_are_skipped_but_not_in_ci(
    tmp_path: Path, ci: str, outcome: str
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "python").symlink_to(sys.executable)
    env = {**os.environ, "CI": ci, "KAITOCTL_CONTROLPLANE_CACHE": str(tmp_path), "PATH": str(tools)}
    env.pop("KUBEBUILDER_ASSETS", None)
    case = f"{__file__}::{test_it_is_the_release_of_go_mod.__name__}"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", case],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"on Kubernetes {programs.version()}: {outcome}" in done.stdout
    assert "install Go" in done.stdout
    assert done.returncode == (1 if ci else 0)


def test_the_developers_own_programs_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAITOCTL_CONTROLPLANE_CACHE", str(tmp_path))
    built, own = programs.cache(), tmp_path / "own"
    for folder, names in ((built, programs.NAMES), (own, ("etcd",))):
        folder.mkdir()
        for name in names:
            (folder / name).touch(mode=0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(own))
    found = programs.find()
    assert found["etcd"] == own / "etcd"
    assert found["kwok"] == built / "kwok"
    shutil.rmtree(built)
    with pytest.raises(programs.Unavailable, match="kube-apiserver"):
        programs.find()


def test_helm_is_the_one_that_is_named_then_the_pinned_one_then_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAITOCTL_CONTROLPLANE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    files = [tmp_path / "mine", programs.cache(programs.HELM) / "helm", tmp_path / "bin" / "helm"]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o755)
    monkeypatch.setenv("KAITOCTL_HELM", str(files[0]))
    for file in files:
        assert programs.helm() == file
        file.unlink()
    with pytest.raises(programs.Unavailable, match="no helm: helm missing; install Go"):
        programs.helm()


def test_helm_is_of_the_control_planes_release_and_shares_what_both_need() -> None:
    """So that Go compiles it once: a build of helm alone takes as long as half a control plane."""
    wanted, shared = _required(programs.CONTROL_PLANE), _required(programs.HELM)
    both = wanted.keys() & shared.keys()
    assert "k8s.io/client-go" in both
    other = {name for name in both if wanted[name] != shared[name]}
    assert other <= {"github.com/Masterminds/semver/v3", "go.yaml.in/yaml/v3"}, other


def _required(of: programs.Module) -> dict[str, str]:
    """Each module's version; one that replaces another stands further down."""
    rows = [line.split() for line in (of.folder / "go.mod").read_text().splitlines() if line[:1] == "\t"]
    return {row[0]: row[-1] if "=>" in row else row[1] for row in rows if len(row) > 1}
