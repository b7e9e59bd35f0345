"""`deploy/` on a real API server: the roles are what the audit log shows in use, and the pods are let in."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from controller.test_provisioners import pools_crd
from controller.test_take_over import as_kaito_writes_it
from controlplane.controller import (
    ACCOUNT,
    DEPLOY,
    KARPENTER,
    LEASE,
    NAMESPACE,
    USER,
    deployed_controller,
    documents,
    install,
)
from controlplane.plane import ControlPlane
from shell import BIN, Shell
from test_deploy import Right, granted

from kaitoctl.kaito.api import INFERENCE_SET, NODE_POOL, WORKSPACE
from kaitoctl.kaito.desired import Settings, desired
from kaitoctl.kube.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    JOB,
    SECRET,
    STATEFUL_SET,
    Kind,
    Object,
    owner_reference,
)

SPACE = "rights"
OWNER_GENERATION = "kaitoctl.dev/owner-generation"
UNSEEN = {("update", "kaito.sh", f"{kind}/finalizers") for kind in ("workspaces", "inferencesets")}
"""Granted and used, but no request: the API server asks itself when it admits owner references."""
OTHER_KINDS = {
    ("delete", "apps", "deployments"),
    ("delete", "apps", "statefulsets"),
    ("delete", "", "services"),
}
"""Of a Workspace that becomes one of another kind, as one without a history may: tests/test_deploy.py."""
FOR_A_SURGE = {("list", "", kind) for kind in ("resourcequotas", "limitranges")}
"""Asked for before one replica more is made than there are to be: tests/controller/test_fleets.py."""


OF_AN_OLDER_KAITO = {("watch", "karpenter.sh", "machines")}
"""Asked for where the cluster has Machines: tests/test_deploy.py. To list them is how that is found out."""


def manifest(name: str, **spec: Any) -> Object:
    labels = {"matchLabels": {"apps": f"rights-{name}"}}
    resource = {"instanceType": "Standard_NC12s_v3", "labelSelector": labels}
    return {
        "apiVersion": WORKSPACE.api_version,
        "kind": WORKSPACE.kind,
        "metadata": {"name": name, "namespace": SPACE},
        "resource": {**resource, **spec.pop("resource", {})},
        **spec,
    }


def adapters_of(*names: str) -> list[Object]:
    sources = [{"name": name, "image": "registry.example/adapter:1"} for name in names]
    return [{"source": source, "strength": "1.0"} for source in sources]


def with_adapters(*names: str) -> Object:
    return manifest("falcon", inference={"preset": {"name": "falcon-7b"}, "adapters": adapters_of(*names)})


def distributed(*adapters: str) -> Object:
    options = {"image": "registry.example/llama:1"}
    preset = {"name": "llama-2-13b", "accessMode": "private", "presetOptions": options}
    inference = {"preset": preset, "adapters": adapters_of(*adapters)}
    return manifest("falcon", resource={"count": 2}, inference=inference)


def tuned(url: str, **more: str) -> Object:
    output = {"image": "registry.example/tuned:1", "imagePushSecret": "push"}
    asked = {"preset": {"name": "phi-2"}, "method": "qlora", "input": {"urls": [url]}, "output": output}
    return manifest("tune", resource={"instanceType": "Standard_NC6s_v3"}, tuning={**asked, **more})


class Life:
    """What a user does to Workspaces of one namespace, each step until the controller has followed.

    Args:
        plane: where.
        began: the mark of the audit log before the controller started.
    """

    def __init__(self, plane: ControlPlane, began: int) -> None:
        self._plane = plane
        self.began = began

    def find(self, kind: Kind, name: str) -> Any:
        status, found = self._plane.send("GET", kind.path(SPACE if kind.namespaced else "", name))
        return found if status == 200 else None

    def asks(self, workspace: Object) -> None:
        """Apply it, whole: what it says no more is gone."""
        self._plane.apply(workspace)

    def until(self, holds: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < deadline, what
            time.sleep(0.05)

    def until_followed(self, kind: Kind, name: str) -> None:
        """A child was made for the newest generation."""

        def is_followed() -> bool:
            child, owner = self.find(kind, name), self.find(WORKSPACE, name)
            made_for = child and child["metadata"]["annotations"].get(OWNER_GENERATION)
            return bool(made_for == str(owner["metadata"]["generation"]))

        self.until(is_followed, f"{kind.kind} {name} does not follow")

    def until_says(self, name: str, **wanted: str) -> None:
        """The conditions are so, for the newest generation."""

        def says() -> bool:
            found = self.find(WORKSPACE, name)
            newest = found["metadata"]["generation"]
            conditions = found.get("status", {}).get("conditions", ())
            said = {it["type"]: it["status"] for it in conditions if it["observedGeneration"] == newest}
            return wanted.items() <= said.items()

        self.until(says, f"{name} is not {wanted}")

    def ends(self, name: str) -> None:
        self._plane.do("DELETE", WORKSPACE.path(SPACE, name))
        self.until(lambda: self.find(WORKSPACE, name) is None, f"{name} stays")

    # --- the stations ---------------------------------------------------------------------------------------

    def of_serving(self) -> None:
        """From a bought node on, through more edits than the history keeps, to other kinds of workload."""
        for name in (*"abcdefghijkl", "k"):
            self.asks(with_adapters(name))
            self.until_followed(DEPLOYMENT, "falcon")
        self.until_says("falcon", WorkspaceSucceeded="True")
        self.asks(with_adapters("a", "a"))  # refused: what serves goes on
        self.until_says("falcon", WorkspaceSucceeded="False")
        self.asks(with_adapters("a"))
        self.until_followed(DEPLOYMENT, "falcon")

        # A child that claims to be of the future makes the controller read the Workspace itself.
        future = {"metadata": {"annotations": {OWNER_GENERATION: "99"}}}
        path = DEPLOYMENT.path(SPACE, "falcon")
        self._plane.do("PATCH", path, future, content_type="application/merge-patch+json")
        self.asks(with_adapters("b"))
        self._plane.do("DELETE", path)
        self.until_followed(DEPLOYMENT, "falcon")

        self.ends("falcon")
        self.asks(distributed())
        self.until_says("falcon", WorkspaceSucceeded="True")
        assert self.find(DEPLOYMENT, "falcon") is None
        self.asks(distributed("a"))
        self.until_followed(STATEFUL_SET, "falcon")
        self.until_says("falcon", WorkspaceSucceeded="True")
        pod = {"containers": [{"name": "c", "image": "registry.example/c:1"}]}
        self.ends("falcon")
        self.asks(manifest("falcon", inference={"template": {"spec": pod}}))
        self.until_says("falcon", WorkspaceSucceeded="True")
        assert self.find(STATEFUL_SET, "falcon") is None
        self.ends("falcon")

    def of_tuning(self) -> None:
        """With the defaults, with other data, and with a ConfigMap of the user's."""
        metadata = {"name": "push", "namespace": SPACE}
        content = {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "e30="}}
        self._plane.apply({"apiVersion": "v1", "kind": SECRET.kind, "metadata": metadata, **content})
        for url in ("https://data.example/a.json", "https://data.example/b.json"):
            self.asks(tuned(url))
            self.until_followed(JOB, "tune")
            self.until_says("tune", WorkspaceSucceeded="True")
        shipped = self.find(CONFIG_MAP, "tune-tuning-config")
        own = {"apiVersion": "v1", "kind": CONFIG_MAP.kind, "metadata": {"name": "mine", "namespace": SPACE}}
        self._plane.apply({**own, "data": shipped["data"]})
        self.asks(tuned("https://data.example/b.json", config="mine"))
        self.until_followed(JOB, "tune")
        self.until(lambda: self.find(CONFIG_MAP, "tune-tuning-config") is None, "the shipped one stays")
        self.ends("tune")

    def of_a_set(self) -> None:
        """Two replicas, then one, then none."""
        template = {
            "resource": {"instanceType": "Standard_NC24ads_A100_v4"},
            "inference": {"preset": {"name": "phi-4-mini-instruct"}},
        }

        def scaled(number: int) -> Object:
            labels = {"matchLabels": {"apps": "rights-fleet"}}
            return {
                "apiVersion": INFERENCE_SET.api_version,
                "kind": INFERENCE_SET.kind,
                "metadata": {"name": "fleet", "namespace": SPACE},
                "spec": {"replicas": number, "labelSelector": labels, "template": template},
            }

        def replicas() -> int:
            return len(self._plane.do("GET", WORKSPACE.path(SPACE))["items"])

        self.asks(scaled(2))
        self.until(lambda: replicas() == 2, "not two replicas")
        self.asks(scaled(1))
        self.until(lambda: replicas() == 1, "not one replica")
        self._plane.do("DELETE", INFERENCE_SET.path(SPACE, "fleet"))
        self.until(lambda: self.find(INFERENCE_SET, "fleet") is None and not replicas(), "the set stays")


@pytest.fixture
def life(control_plane: ControlPlane, tmp_path: Path) -> Iterator[Life]:
    """With a controller that has just been started, for the first time in this cluster."""
    control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    control_plane.send("DELETE", LEASE)
    began = control_plane.audit_mark()
    with deployed_controller(control_plane, tmp_path):
        yield Life(control_plane, began)
    _end_space(control_plane)


def _end_space(plane: ControlPlane) -> None:
    """No controller is left to take the finalizers off, and the next test wants the namespace."""
    space = f"/api/v1/namespaces/{SPACE}"
    plane.do("DELETE", space)
    deadline = time.monotonic() + 120
    while plane.send("GET", space)[0] != 404:
        assert time.monotonic() < deadline, plane.send("GET", space)
        for kind in (WORKSPACE, INFERENCE_SET):
            for item in plane.do("GET", kind.path(SPACE))["items"]:
                patch = {"metadata": {"finalizers": None}}
                path = kind.path(SPACE, item["metadata"]["name"])
                plane.send("PATCH", path, patch, content_type="application/merge-patch+json")
        time.sleep(0.1)


def asked(events: list[Object]) -> Iterator[Right]:
    """The rights that the controller's requests took."""
    for event in events:
        if event["user"].get("username") == USER and "objectRef" in event:
            used: Mapping[str, str] = event["objectRef"]
            resource = "/".join(filter(None, (used["resource"], used.get("subresource"))))
            yield event["verb"], used.get("apiGroup", ""), resource
            if event["verb"] == "patch" and event["responseStatus"]["code"] == 201:
                yield "create", used.get("apiGroup", ""), resource


def test_the_roles_grant_what_the_controller_asks_a_real_server_for_and_nothing_else(
    control_plane: ControlPlane, life: Life
) -> None:
    life.of_serving()
    life.of_tuning()
    life.of_a_set()
    roles = documents()
    given = granted(roles[f"ClusterRole/{ACCOUNT}"]) | granted(roles[f"Role/{ACCOUNT}"])
    used = set(asked(control_plane.audit_events(life.began))) - {("get", "", "secrets")}
    assert used - given == set(), "the controller asks for what it may not do"
    assert given - used == UNSEEN | OTHER_KINDS | FOR_A_SURGE | OF_AN_OLDER_KAITO, (
        "the roles grant what the controller does not ask for"
    )


def test_with_karpenter_it_asks_for_pools_with_the_rights_of_its_own_file(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    control_plane.install([pools_crd()])
    control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    control_plane.send("DELETE", LEASE)
    began = control_plane.audit_mark()
    options = ("--node-provisioner=karpenter",)
    with deployed_controller(control_plane, tmp_path, *options, files=[KARPENTER]):
        life = Life(control_plane, began)
        preset = {"preset": {"name": "phi-4"}}
        life.asks(manifest("pooled", resource={"instanceType": "Standard_NC24ads_A100_v4"}, inference=preset))
        life.until(lambda: life.find(NODE_POOL, f"{SPACE}-pooled"), "no NodePool")
        made = life.find(NODE_POOL, f"{SPACE}-pooled")["spec"]
        assert made["replicas"] == 1
        assert "nodeClassRef" in made["template"]["spec"]
        life.ends("pooled")
        life.until(lambda: life.find(NODE_POOL, f"{SPACE}-pooled") is None, "the NodePool stays")
    _end_space(control_plane)
    more = granted(documents(KARPENTER)[f"ClusterRole/{ACCOUNT}-karpenter"])
    roles = documents()
    given = more | granted(roles[f"ClusterRole/{ACCOUNT}"]) | granted(roles[f"Role/{ACCOUNT}"])
    used = set(asked(control_plane.audit_events(began))) - {("get", "", "secrets")}
    assert used - given == set(), "the controller asks for what it may not do"
    assert more - used == set(), "its own file grants what it does not ask for"


def test_the_option_for_karpenter_is_added_as_its_file_says(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    head = KARPENTER.read_text().partition("apiVersion:")[0].replace("\n#", "\n").replace("\\\n", " ")
    (line,) = (line.strip() for line in head.splitlines() if " patch deployment " in line)
    install(control_plane)
    shell = Shell(tmp_path, cluster={"KUBECONFIG": str(control_plane.kubeconfig)})
    _, *words = shlex.split(line)
    shell.kubectl(*words)
    found = shell.get("deployment", ACCOUNT, "-n", NAMESPACE)
    args = found["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args[-1] == "--node-provisioner=karpenter"
    assert args[0] == "run-controller"


def test_the_pods_are_let_in_by_the_restricted_standard(control_plane: ControlPlane, tmp_path: Path) -> None:
    """As the page says to install it; nobody runs the image here, so the pods are only made."""
    shell = Shell(tmp_path, cluster={"KUBECONFIG": str(control_plane.kubeconfig)})
    where = (str(BIN / "kubectl"), f"--kubeconfig={shell.kubeconfig}")
    done = shell.run(*where, "apply", "--server-side", "--force-conflicts", "-f", str(DEPLOY))
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    try:
        deadline = time.monotonic() + 30
        while len(pods := shell.get("pods", "-n", NAMESPACE)["items"]) < 2:
            events = shell.kubectl("get", "events", "-n", NAMESPACE)
            assert time.monotonic() < deadline, events
            time.sleep(0.05)
    finally:
        shell.kubectl("scale", "deployment", ACCOUNT, "-n", NAMESPACE, "--replicas=0")
    assert {pod["spec"]["serviceAccountName"] for pod in pods} == {ACCOUNT}


def test_who_may_view_or_edit_a_namespace_may_do_so_with_its_workspaces(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    shell = Shell(tmp_path, cluster={"KUBECONFIG": str(control_plane.kubeconfig)})
    users = {"view": (True, False), "edit": (True, True), "admin": (True, True)}
    shell.kubectl("create", "namespace", "shared")

    def may(role: str, verb: str) -> bool:
        where = ("-n", "shared", "--as", f"her-{role}")
        asked = (str(BIN / "kubectl"), f"--kubeconfig={shell.kubeconfig}", "auth", "can-i")
        return shell.run(*asked, verb, "workspaces.kaito.sh", *where).stdout.strip() == "yes"

    try:
        for role in users:
            named = (f"her-{role}", f"--clusterrole={role}", f"--user=her-{role}")
            shell.kubectl("create", "rolebinding", *named, "-n", "shared")
            assert not may(role, "list"), "Kubernetes' roles know nothing of Workspaces"
        shell.kubectl("apply", "--server-side", "-f", str(DEPLOY.parent / "users.yaml"))
        deadline = time.monotonic() + 30
        while {role: (may(role, "watch"), may(role, "patch")) for role in users} != users:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        shell.kubectl("delete", "--ignore-not-found", "-f", str(DEPLOY.parent / "users.yaml"))
        shell.end_namespace("shared")


def test_a_model_that_kaito_runs_is_taken_over_without_a_new_pod(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    """Its StatefulSet as KAITO writes it, with a real server's defaults and server-side apply."""
    control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    control_plane.send("DELETE", LEASE)
    made = manifest(
        "taken",
        resource={"instanceType": "Standard_NC24ads_A100_v4"},
        inference={"preset": {"name": "phi-4"}},
    )
    made["apiVersion"] = "kaito.sh/v1beta1"
    live = control_plane.do("POST", f"/apis/kaito.sh/v1beta1/namespaces/{SPACE}/workspaces", made)
    provisioner = "azure-gpu-provisioner"
    kaitos = desired(live, gpus=1, settings=Settings(image_generation="v0.12", provisioner=provisioner))
    server = as_kaito_writes_it(next(item for kind, item in kaitos if kind == STATEFUL_SET))
    server["metadata"]["ownerReferences"] = [owner_reference(live)]
    before = control_plane.do("POST", STATEFUL_SET.path(SPACE), server)
    with deployed_controller(control_plane, tmp_path, f"--node-provisioner={provisioner}"):
        life = Life(control_plane, 0)
        hash_ = "kaitoctl.dev/desired-hash"
        life.until(
            lambda: hash_ in life.find(STATEFUL_SET, "taken")["metadata"].get("annotations", {}),
            "the workload is not taken over",
        )
        after = life.find(STATEFUL_SET, "taken")
        life.ends("taken")
    _end_space(control_plane)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"]["template"] == before["spec"]["template"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
