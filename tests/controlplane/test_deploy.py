"""`deploy/` on a real API server: the roles are what the audit log shows in use, and the pods are let in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from controlplane.controller import ACCOUNT, DEPLOY, LEASE, NAMESPACE, USER, deployed_controller, documents
from controlplane.plane import ControlPlane
from shell import BIN, Shell
from test_deploy import Right, granted

from kaitoctl.kaito.api import WORKSPACE
from kaitoctl.kube.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    JOB,
    SECRET,
    STATEFUL_SET,
    Kind,
    Object,
)

SPACE = "rights"
OWNER_GENERATION = "kaitoctl.dev/owner-generation"
UNSEEN = {("update", "kaito.sh", "workspaces/finalizers")}
"""Granted and used, but no request: the API server asks itself when it admits owner references."""


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


def with_adapters(*names: str) -> Object:
    sources = [{"name": name, "image": "registry.example/adapter:1"} for name in names]
    adapters = [{"source": source, "strength": "1.0"} for source in sources]
    return manifest("falcon", inference={"preset": {"name": "falcon-7b"}, "adapters": adapters})


def distributed(image: str) -> Object:
    options = {"image": f"registry.example/{image}"}
    preset = {"name": "llama-2-13b", "accessMode": "private", "presetOptions": options}
    return manifest("falcon", resource={"count": 2}, inference={"preset": preset})


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

        self.asks(distributed("llama:1"))
        self.until_says("falcon", WorkspaceSucceeded="True")
        assert self.find(DEPLOYMENT, "falcon") is None
        self.asks(distributed("llama:2"))
        self.until_followed(STATEFUL_SET, "falcon")
        self.until_says("falcon", WorkspaceSucceeded="True")
        pod = {"containers": [{"name": "c", "image": "registry.example/c:1"}]}
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


@pytest.fixture
def life(control_plane: ControlPlane, tmp_path: Path) -> Iterator[Life]:
    """With a controller that has just been started, for the first time in this cluster."""
    control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    control_plane.send("DELETE", LEASE)
    began = control_plane.audit_mark()
    with deployed_controller(control_plane, tmp_path):
        yield Life(control_plane, began)
    control_plane.do("DELETE", f"/api/v1/namespaces/{SPACE}")


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
    roles = documents()
    given = granted(roles[f"ClusterRole/{ACCOUNT}"]) | granted(roles[f"Role/{ACCOUNT}"])
    used = set(asked(control_plane.audit_events(life.began))) - {("get", "", "secrets")}
    assert used - given == set(), "the controller asks for what it may not do"
    assert given - used == UNSEEN, "the roles grant what the controller does not ask for"


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
        shell.kubectl("delete", "namespace", "shared", "--wait=false")
