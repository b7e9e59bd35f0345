"""`kaitoctl doctor` on a sandbox, and on clusters that lack this or that."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from fake_server import serving
from shell import Shell

from kaitoctl.commands.doctor_rights import RIGHTS
from kaitoctl.kube.objects import Kind

ALL_GROUPS = {"kaito.sh": ["v1alpha1", "v1beta1"], "karpenter.sh": ["v1"]}


def by_name(done: Any) -> dict[str, Any]:
    return {check["name"]: check for check in json.loads(done.stdout)["checks"]}


def test_a_sandbox_is_sound(sandbox_shell: Shell) -> None:
    done = sandbox_shell.kaitoctl("doctor", "--sandbox", "-o", "json")
    checks = by_name(done)
    assert json.loads(done.stdout)["ok"]
    assert checks["crd"]["message"] == "Workspaces are served as v1alpha1, v1beta1"
    assert (
        checks["sandbox"]["result"]
        == checks["access"]["result"]
        == checks["node-provisioner"]["result"]
        == "ok"
    )
    assert checks["gpus"]["result"] == "ok"
    assert "storage" not in checks, "simulated pods need no storage class"
    assert "✔" not in sandbox_shell.kaitoctl("doctor", "--sandbox").stdout, "no symbols in a pipe"


def test_a_cluster_that_is_down_ends_with_3(offline: Shell, tmp_path: Path) -> None:
    with serving(lambda method, path: (200, "{}"), tmp_path) as kubeconfig:
        pass  # it is gone by now
    done = offline.kaitoctl("doctor", "--kubeconfig", kubeconfig, "-o", "json", code=3)
    assert by_name(done)["api-server"]["result"] == "error"


def deployment(image: str, *args: str, ready: int = 1) -> Any:
    container = {"name": "c", "image": image, "args": list(args)}
    return {
        "metadata": {"name": "controller", "namespace": "system"},
        "spec": {"replicas": 1, "template": {"spec": {"containers": [container]}}},
        "status": {"readyReplicas": ready},
    }


def claim(**condition: str) -> Any:
    status = {"conditions": [condition]} if condition else {}
    return {"metadata": {"name": "ws1", "creationTimestamp": "2026-01-01T00:00:00Z"}, "status": status}


def going() -> Any:
    held = {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["karpenter.sh/termination"]}
    return {"metadata": claim()["metadata"] | held, "status": claim(type="Launched", status="True")["status"]}


def gpu_node(*conditions: Any, spec: Any = None) -> Any:
    gpus = {"nvidia.com/gpu": "1"}
    ready = {"type": "Ready", "status": "True"}
    status = {"capacity": gpus, "allocatable": gpus, "conditions": [ready, *conditions]}
    return {"metadata": {"name": "g"}, "spec": spec or {}, "status": status}


def cluster(
    *deployments: Any,
    groups: dict[str, list[str]] = ALL_GROUPS,
    refused: tuple[str, ...] = (),
    denied: tuple[str, ...] = (),
    nodes: tuple[Any, ...] = (),
    claims: tuple[Any, ...] = (),
    machines: tuple[Any, ...] = (),
    workspaces: tuple[Any, ...] = (),
    version: str = "v1.33.1",
) -> Any:
    """A cluster that has just this; `refused` are paths with 403, `denied` resources in access reviews."""

    def answer(method: str, path: str) -> tuple[int, str]:
        path = path.removeprefix("/s3cret-path").split("?")[0]
        if any(word in path for word in refused):
            return 403, json.dumps({"kind": "Status", "reason": "Forbidden", "message": f"{path}: no"})
        if path == "/version":
            return 200, json.dumps({"gitVersion": version})
        if path.endswith("selfsubjectaccessreviews"):
            return 201, json.dumps({"status": {"allowed": not denied}})
        found = {"/apis/apps/v1/deployments": deployments, "/api/v1/nodes": nodes}
        found |= {"/apis/storage.k8s.io/v1/storageclasses": (), "/apis/karpenter.sh/v1/nodeclaims": claims}
        found |= {"/apis/karpenter.sh/v1alpha5/machines": machines}
        if workspaces and path.startswith(("/api/v1/namespaces/", "/apis/")) and path not in found:
            found[path] = workspaces if path.endswith("/workspaces") else ()
        if (path in found and path.count("/") > 3) or path == "/api/v1/nodes":
            return 200, json.dumps({"metadata": {}, "items": list(found[path])})
        group = path.removeprefix("/apis/")
        if group in groups:
            return 200, json.dumps({"versions": [{"version": version} for version in groups[group]]})
        return 404, json.dumps({"kind": "Status", "reason": "NotFound", "message": path})

    return answer


NO_CLAIMS = {"kaito.sh": ["v1alpha1", "v1beta1"]}
BYO = deployment("ghcr.io/kaito-project/kaito/workspace:0.12.0", "--node-provisioner=byo")
BY_POOLS = deployment("ghcr.io/kaito-project/kaito/workspace:0.12.0", "--node-provisioner=karpenter")
OLD_BYO = deployment(
    "mcr.microsoft.com/aks/kaito/workspace:0.9.4", "--feature-gates=disableNodeAutoProvisioning=true"
)
WITH_MACHINES = {**ALL_GROUPS, "karpenter.sh": ["v1", "v1alpha5"]}
OURS = deployment("r.example/kaitoctl:0.1.0", "run-controller")
OURS_BYO = deployment("r.example/kaitoctl:0.1.0", "run-controller", "--node-provisioner=byo")


@pytest.mark.parametrize(
    ("answer", "name", "result", "words"),
    [
        (cluster(groups={}), "crd", "error", "is not installed"),
        (cluster(groups={"kaito.sh": ["v2"]}), "crd", "error", "served as v2; kaitoctl supports"),
        (cluster(groups={"kaito.sh": ["v1alpha1"]}), "node-provisioner", "warning", "no nodes are created"),
        (cluster(), "controller", "warning", "no Workspace controller was found"),
        (
            cluster(deployment("mcr.microsoft.com/aks/kaito/workspace:0.3.2")),
            "controller",
            "ok",
            "KAITO 0.3.2: Deployment system/controller, 1 of 1 pods ready",
        ),
        (
            cluster(deployment("ghcr.io/kaito-project/kaito/workspace:0.12.0", "--node-provisioner=byo")),
            "controller",
            "ok",
            "KAITO 0.12.0: Deployment system/controller, 1 of 1 pods ready, nodes by byo",
        ),
        (
            cluster(deployment("r.example/kaitoctl:0.1.0", "run-controller", ready=0)),
            "controller",
            "error",
            "kaitoctl 0.1.0: Deployment system/controller, 0 of 1 pods ready",
        ),
        (
            cluster(deployment("a/kaito/workspace:1"), deployment("k", "run-controller")),
            "one-controller",
            "error",
            "would overwrite each other's changes",
        ),
        (cluster(BYO, groups=NO_CLAIMS), "node-provisioner", "ok", "the controller asks for none (byo)"),
        (cluster(BYO, groups=NO_CLAIMS), "gpus", "error", "none of 0 nodes has GPUs, and the controller"),
        (cluster(OLD_BYO, groups=NO_CLAIMS), "node-provisioner", "ok", "asks for none (byo)"),
        (cluster(BY_POOLS), "node-provisioner", "error", "asks for nodes with NodePools (karpenter), and"),
        (cluster(OURS_BYO, groups=NO_CLAIMS), "node-provisioner", "ok", "asks for none (byo)"),
        (cluster(version="v1.37.0+kaitoctl-sandbox"), "gpus", "ok", "makes GPU nodes on demand"),
        (cluster(denied=("all",)), "create workspaces.kaito.sh", "error", "you are not allowed to create"),
        (cluster(denied=("all",)), "list nodes", "warning", "you are not allowed to list nodes in"),
        (cluster(), "storage", "warning", "there is no storage class: none is the default"),
        (cluster(refused=("/deployments",)), "controllers", "unknown", "deployments: no"),
        (cluster(refused=("/version",)), "api-server", "ok", "its version cannot be read"),
        (
            cluster(
                workspaces=({"metadata": {**claim()["metadata"], "namespace": "default", "generation": 1}},)
            ),
            "taken-up",
            "error",
            "no controller has reconciled Workspace default/ws1",
        ),
        (cluster(version="v1.37.0+kaitoctl-sandbox"), "controller", "ok", "the sandbox manages Workspaces"),
        (cluster(), "node-provisioner", "ok", "a managed one is not"),
        (
            cluster(deployment("mcr/aks/kaito/gpu-provisioner:0.3.7")),
            "node-provisioner",
            "ok",
            "gpu-provisioner 0.3.7",
        ),
        (
            cluster(deployment("public.ecr.aws/karpenter/controller:1.14.0@sha256:1", ready=0)),
            "node-provisioner",
            "error",
            "karpenter 1.14.0: Deployment system/controller, 0 of 1 pods ready",
        ),
        (cluster(claims=(claim(),)), "node-claims", "error", "no node provisioner has acted on ws1"),
        (
            cluster(OURS, groups=WITH_MACHINES, machines=(claim(),)),
            "machines",
            "warning",
            "1 Machine (ws1) of an older KAITO costs",
        ),
        (
            cluster(OURS, groups=WITH_MACHINES),
            "node-provisioner",
            "ok",
            "NodeClaims are served as v1, Machines as v1alpha5",
        ),
        (
            cluster(claims=(claim(type="Launched", status="False", reason="LaunchFailed", message="quota"),)),
            "node-claims",
            "warning",
            "NodeClaim ws1 was not launched: LaunchFailed: quota",
        ),
        (
            cluster(claims=(claim(type="Launched", status="True"),)),
            "node-claims",
            "warning",
            "NodeClaim ws1 has a machine that has not joined the cluster",
        ),
        (
            cluster(claims=(going(),)),
            "node-claims",
            "warning",
            "going since 2026-01-01 00:00Z; it is held by karpenter.sh/termination",
        ),
        (
            cluster(nodes=(gpu_node(spec={"unschedulable": True}),)),
            "gpus",
            "warning",
            "1 of 1 GPU nodes take no new pods: g (cordoned)",
        ),
        (
            cluster(nodes=(gpu_node({"type": "XIDErrors", "status": "True"}),)),
            "gpus",
            "warning",
            "node conditions report problems of g",
        ),
        (
            cluster(
                nodes=({"metadata": {"name": "g", "labels": {"nvidia.com/gpu.count": "1"}}},)
            ),
            "device-plugin",
            "error",
            "the device plugin offers no GPUs on g",
        ),
    ],
)  # fmt: skip
def test_what_is_missing_is_said(
    offline: Shell, tmp_path: Path, answer: Any, name: str, result: str, words: str
) -> None:
    with serving(answer, tmp_path) as kubeconfig:
        done = offline.run("kaitoctl", "doctor", "--kubeconfig", kubeconfig, "-o", "json")
    checks = by_name(done)
    assert checks[name]["result"] == result, checks
    assert words in checks[name]["message"]
    wrong = any(check["result"] in ("error", "unknown") and not check["excused"] for check in checks.values())
    assert done.returncode == (1 if wrong else 0), done.stderr
    assert all(check["hint"] for check in checks.values() if check["result"] in ("error", "warning"))
    if name == "machines":  # Cluster API has some, too
        assert "kubectl get machines.karpenter.sh" in checks[name]["hint"]


WORKSPACE = {"metadata": {"name": "ws1", "namespace": "default", "generation": 1}}
FORBIDDEN = {
    "/apis/kaito.sh": ("workspaces", "get /apis/kaito.sh"),
    "apps/v1/deployments": ("controllers", "list deployments.apps in the whole cluster"),
    "leases": ("controller", "list leases.coordination.k8s.io in the whole cluster"),
    "mutatingwebhookconfigurations": ("webhooks", "list mutatingwebhookconfigurations.admission"),
    "customresourcedefinitions": ("webhooks", "get customresourcedefinitions.apiextensions.k8s.io"),
    "/workspaces": ("serving", "list workspaces.kaito.sh in namespace default"),
    "/pods": ("serving", "list pods in namespace default"),
    "endpointslices": ("serving", "list endpointslices.discovery.k8s.io in namespace default"),
    "selfsubjectaccessreviews": ("rights", "create selfsubjectaccessreviews.authorization.k8s.io"),
    "/nodes": ("nodes", "list nodes in the whole cluster"),
    "/apis/karpenter.sh": ("provisioners", "get /apis/karpenter.sh"),
    "nodeclaims": ("node-claims", "list nodeclaims.karpenter.sh in the whole cluster"),
    "storageclasses": ("storage", "list storageclasses.storage.k8s.io in the whole cluster"),
}


OF_THE_CLUSTER = {
    *(
        "apps/v1/deployments",
        "leases",
        "mutatingwebhookconfigurations",
        "customresourcedefinitions",
        "/nodes",
        "nodeclaims",
    ),
    "storageclasses",
}
"""What belongs to everybody: who has rights in one namespace only does not see it, and nothing is wrong."""


@pytest.mark.parametrize("path", FORBIDDEN)
def test_what_may_not_be_looked_at_is_not_sound(offline: Shell, tmp_path: Path, path: str) -> None:
    sound = cluster(workspaces=(WORKSPACE,))

    def answer(method: str, asked: str) -> tuple[int, str]:
        plain = asked.removeprefix("/s3cret-path").split("?")[0]
        if not plain.endswith(path) and not (path == "customresourcedefinitions" and path in plain):
            found: tuple[int, str] = sound(method, asked)
            return found
        kind = plain.rpartition("/")[2] if "webhook" in path else ""
        details = {"group": "admissionregistration.k8s.io", "kind": kind} if kind else {}
        return 403, json.dumps({"kind": "Status", "reason": "Forbidden", "message": "no", "details": details})

    name, right = FORBIDDEN[path]
    with serving(answer, tmp_path) as kubeconfig:
        done = offline.run("kaitoctl", "doctor", "--kubeconfig", kubeconfig, "-o", "json")
        short = offline.run("kaitoctl", "doctor", "--kubeconfig", kubeconfig, "-o", "short").stdout
    excused = path in OF_THE_CLUSTER
    assert done.returncode == (0 if excused else 1), done.stdout
    assert json.loads(done.stdout)["ok"] == excused
    check = by_name(done)[name]
    assert check["excused"] == excused
    assert check["lacks"].startswith(right)
    assert check["result"] == "unknown"
    assert f"you are not allowed to {right}" in check["message"]
    assert "kubectl auth can-i" in check["hint"]
    assert "not checked: you lack the rights" in short
    assert check["message"] in short


def test_who_may_see_nothing_is_told_of_no_soundness(offline: Shell, tmp_path: Path) -> None:
    with serving(cluster(refused=("/",)), tmp_path) as kubeconfig:
        done = offline.kaitoctl("doctor", "--kubeconfig", kubeconfig, code=1)
    assert done.stdout.endswith("14 things not checked: you lack the rights\n")
    assert "No problems" not in done.stdout


def test_short_shows_only_what_is_wrong(offline: Shell, tmp_path: Path) -> None:
    with serving(cluster(groups={}), tmp_path) as kubeconfig:
        text = offline.kaitoctl("doctor", "--kubeconfig", kubeconfig, "-o", "short", code=1).stdout
    assert text.startswith("error: the CRD of Workspaces is not installed")
    assert "Kubernetes v1.33.1" not in text


LISTS = (
    *("/deployments", "/nodes", "/workspaces", "/pods", "storageclasses", "webhookconfigurations"),
    *("/apis/karpenter.sh", "/apis/kaito.sh", "selfsubjectaccessreviews", "/version"),
)


def in_trouble(status: int, *words: str) -> Any:
    """A cluster that fails to answer what has one of the words in its path."""
    sound = cluster()

    def answer(method: str, path: str) -> tuple[int, str]:
        if any(word in path for word in words):
            return status, json.dumps({"kind": "Status", "message": "etcd is away", "code": status})
        status_and_body: tuple[int, str] = sound(method, path)
        return status_and_body

    return answer


@pytest.mark.parametrize(
    ("status", "word"), [*((500, word) for word in LISTS), (401, "/nodes"), (503, "/nodes")]
)
def test_what_a_server_in_trouble_does_not_show_is_not_sound(
    offline: Shell, tmp_path: Path, status: int, word: str
) -> None:
    with serving(in_trouble(status, word), tmp_path) as kubeconfig:
        done = offline.run("kaitoctl", "doctor", "--kubeconfig", kubeconfig, "-o", "json")
    assert done.returncode == 1, done.stdout
    result = "error" if word == "/version" else "unknown"
    wrong = [check for check in by_name(done).values() if check["result"] == result]
    assert any("etcd is away" in check["message"] for check in wrong)
    assert all(check["hint"] for check in wrong)


# What `why` reads besides: only some clusters have it, or everybody may.
_NOT_ASKED_ABOUT = {
    "machines",  # of KAITO up to v0.4
    "inferencesets",  # of a set
    "modelmirrors",  # of KAITO v0.12 with model streaming
    "namespaces",  # of a deletion; its name is in the Workspace
    "endpoints",  # where there are no EndpointSlices
}


def test_doctor_asks_for_the_rights_to_all_kinds_that_why_reads() -> None:
    asked = {(group, resource) for _, group, resource, *_ in RIGHTS}
    lacking = set()
    for module in (
        "observation",
        "observe_deeply",
        "observe_volumes",
        "observe_workspace",
        "observe_deletion",
    ):
        found = vars(importlib.import_module(f"kaitoctl.commands.{module}")).values()
        read = {(kind.group, kind.plural) for kind in found if isinstance(kind, Kind)}
        lacking |= {plural for group, plural in read - asked}
    assert lacking - _NOT_ASKED_ABOUT == set()


@pytest.mark.parametrize("kind", ["persistentvolumes", "storageclasses", "csinodes", "volumeattachments"])
def test_volumes_are_among_the_rights(kind: str) -> None:
    assert kind in {resource for _, _, resource, is_namespaced, _ in RIGHTS if not is_namespaced}
