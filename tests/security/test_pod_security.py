"""Pods that we run or make, by the Pod Security Standards: judged here, and by a real API server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import workspace
from controlplane.controller import DEPLOY
from controlplane.plane import ControlPlane
from security.test_injection import WORKSPACES, built

from kaitoctl.kaito.desired import Settings, desired
from kaitoctl.kube.objects import Object
from kaitoctl.kube.pod_security import Level, violations
from kaitoctl.workspace_controller import refusal_of

GOLDEN = Path(__file__).parent.parent / "data" / "golden"

AS_THE_IMAGE_NEEDS = {
    "runAsNonRoot is not true",
    "seccompProfile.type is neither RuntimeDefault nor Localhost",
    "capabilities.drop lacks ALL",
}
"""Beyond `restricted`, in containers with images of KAITO's or the user's: those run as root."""
OURS = {"data-downloader", "push-adapter"}
"""Containers whose images we choose."""


def pods(made: list[Object]) -> Iterator[Object]:
    for obj in made:
        if template := obj["spec"].get("template"):
            yield template["spec"]


def forbidden(spec: Object, level: Level) -> list[str]:
    return [what.removeprefix("spec.") for what in violations({"spec": spec}, level)]


def golden_pods() -> Iterator[tuple[str, Object]]:
    """The pods of the golden files: each file begins with its plainest combination in full."""
    for file in sorted((GOLDEN / "desired").glob("*.txt")):
        text = file.read_text()
        for block in re.split(r"^---$|^# .*$|^==.*$", text, flags=re.MULTILINE):
            try:
                found = yaml.safe_load(block)
            except yaml.YAMLError:
                continue  # a difference, not a document
            if isinstance(found, dict) and "spec" in found and "template" in found["spec"]:
                yield file.stem, found["spec"]["template"]["spec"]


def by_container(pod: Object, level: Level) -> dict[str, set[str]]:
    """Container (or the pod's part) -> what is forbidden."""
    named = {
        f"{kind}[{index}]": container["name"]
        for kind in ("initContainers", "containers")
        for index, container in enumerate(pod.get(kind, []))
    }
    found: dict[str, set[str]] = {}
    for violation in forbidden(pod, level):
        place, _, what = violation.partition(".securityContext.")
        found.setdefault(named.get(place, place), set()).add(what)
    return found


def assert_as_documented(pod: Object) -> None:
    assert forbidden(pod, "baseline") == []
    assert pod["automountServiceAccountToken"] is False
    for name, what in by_container(pod, "restricted").items():
        assert name not in OURS, f"{name}: {what}"
        assert what <= AS_THE_IMAGE_NEEDS, f"{name}: {what}"


@pytest.mark.parametrize("name", WORKSPACES)
def test_what_we_make_is_baseline_and_restricted_but_for_what_images_need(name: str) -> None:
    found = list(pods(built(WORKSPACES[name])))
    assert found
    for pod in found:
        assert_as_documented(pod)


def test_so_is_what_the_golden_files_say_of_each_preset() -> None:
    found = list(golden_pods())
    assert len({name for name, _ in found} - {"custom-pod"}) >= 18
    for name, pod in found:
        if name != "custom-pod":  # the user's own
            assert_as_documented(pod)


def controller_pod() -> Object:
    for obj in yaml.safe_load_all(DEPLOY.read_text()):
        if obj["kind"] == "Deployment":
            pod: Object = obj["spec"]["template"]["spec"]
            return pod
    raise AssertionError("there is no Deployment")


def test_the_controllers_own_pod_is_restricted() -> None:
    assert forbidden(controller_pod(), "restricted") == []


# --- custom pods -------------------------------------------------------------------------------------------

CONTAINER: Object = {"name": "c", "image": "registry.example/c:1"}


def with_context(**context: Any) -> Object:
    return {"containers": [{**CONTAINER, "securityContext": context}]}


def with_pod(**fields: Any) -> Object:
    return {"containers": [CONTAINER], **fields}


FORBIDDEN: dict[str, tuple[Object, str]] = {
    "privileged": (with_context(privileged=True), "containers[0].securityContext.privileged: true"),
    "host network": (with_pod(hostNetwork=True), "hostNetwork: true"),
    "host processes": (with_pod(hostPID=True), "hostPID: true"),
    "host IPC": (with_pod(hostIPC=True), "hostIPC: true"),
    "host path": (with_pod(volumes=[{"name": "v", "hostPath": {"path": "/"}}]), "volumes[0].hostPath"),
    "host port": (
        {"containers": [{**CONTAINER, "ports": [{"containerPort": 1, "hostPort": 1}]}]},
        "containers[0].ports[0].hostPort: 1",
    ),
    "a capability": (
        with_context(capabilities={"add": ["SYS_ADMIN"]}),
        "containers[0].securityContext.capabilities.add: SYS_ADMIN",
    ),
    "in an init container": (
        with_pod(initContainers=[{**CONTAINER, "name": "i", "securityContext": {"privileged": True}}]),
        "initContainers[0].securityContext.privileged: true",
    ),
    "no seccomp": (
        with_pod(securityContext={"seccompProfile": {"type": "Unconfined"}}),
        "securityContext.seccompProfile.type: Unconfined",
    ),
    "no AppArmor": (
        with_context(appArmorProfile={"type": "Unconfined"}),
        "containers[0].securityContext.appArmorProfile.type: Unconfined",
    ),
    "SELinux": (
        with_context(seLinuxOptions={"type": "spc_t"}),
        "containers[0].securityContext.seLinuxOptions",
    ),
    "proc": (
        with_context(procMount="Unmasked"),
        "containers[0].securityContext.procMount: Unmasked",
    ),
    "a sysctl": (
        with_pod(securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}),
        "securityContext.sysctls[0]: kernel.msgmax",
    ),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_a_custom_pod_gets_nothing_of_the_nodes_unless_the_operator_says_so(what: str) -> None:
    spec, words = FORBIDDEN[what]
    obj = workspace(inference={"template": {"spec": spec}})
    del obj["inference"]["preset"]
    assert f"inference.template.spec.{words} is not allowed" in refusal_of(obj, Settings())
    trusting = Settings(allows_privileged_templates=True)
    assert refusal_of(obj, trusting) == ""
    assert [kind.kind for kind, _ in desired(obj, gpus=1, settings=trusting)][-1] == "Deployment"


ALLOWED: dict[str, Object] = {
    "nothing said": with_pod(),
    "capabilities that containers have anyway": with_context(capabilities={"add": ["CHOWN"]}),
    "root": with_context(runAsUser=0),
    "a volume of NFS": with_pod(volumes=[{"name": "v", "nfs": {"server": "s", "path": "/"}}]),
    "an image as a volume": with_pod(volumes=[{"name": "v", "image": {"reference": "registry.example/m:1"}}]),
    "all of proc, in a user namespace": {**with_context(procMount="Unmasked"), "hostUsers": False},
    "memory": with_pod(volumes=[{"name": "v", "emptyDir": {"medium": "Memory"}}]),
    "a harmless sysctl": with_pod(
        securityContext={"sysctls": [{"name": "net.ipv4.tcp_syncookies", "value": "1"}]}
    ),
    "restricted": {
        **with_context(allowPrivilegeEscalation=False, capabilities={"drop": ["ALL"]}),
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    },
    "restricted, bound to a low port": {
        "containers": [
            CONTAINER
            | {
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
                    "runAsNonRoot": True,
                    "seccompProfile": {"type": "RuntimeDefault"},
                }
            }
        ],
    },
}  # fmt: skip


@pytest.mark.parametrize("what", ALLOWED)
def test_a_custom_pod_may_have_what_harms_no_node(what: str) -> None:
    obj = workspace(inference={"template": {"spec": ALLOWED[what]}})
    del obj["inference"]["preset"]
    assert refusal_of(obj, Settings()) == ""


# --- and a real API server ---------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["baseline", "restricted"])
def test_a_real_api_server_judges_alike(control_plane: ControlPlane, level: Level) -> None:
    """Its admission says yes or no to each pod; nothing is made."""
    namespace = f"pod-security-{level}"
    labels = {"pod-security.kubernetes.io/enforce": level}
    metadata = {"name": namespace, "labels": labels}
    control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    made = [pod for name in WORKSPACES for pod in pods(built(WORKSPACES[name]))]
    specs = [*(spec for spec, _ in FORBIDDEN.values()), *ALLOWED.values(), controller_pod(), *made]
    for number, spec in enumerate(specs):
        # What else the API server has against a pod is no matter here.
        spec = {**spec, "serviceAccountName": "default", "automountServiceAccountToken": False}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"p{number}"}, "spec": spec}
        path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
        status, answer = control_plane.send("POST", path, pod)
        refuses = status == 403 and "violates PodSecurity" in answer["message"]
        if status == 422 and "procMount" in answer["message"]:
            continue  # the API server wants a user namespace for it
        assert refuses or status == 201, answer.get("message")
        assert bool(forbidden(spec, level)) is refuses, (forbidden(spec, level), answer)
    control_plane.do("DELETE", f"/api/v1/namespaces/{namespace}")
