"""`doctor` on clusters in which something below an installation is wrong, and when it is repaired."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from cli.test_doctor import cluster, deployment
from cli.test_doctor_alone import examined
from fake_server import Answer

from kaitoctl.advice import text
from kaitoctl.commands.doctor_check import Check
from kaitoctl.kaito import installation_codes
from kaitoctl.kaito.diagnosis import codes
from kaitoctl.kaito.validation import release_detection
from kaitoctl.kube.cluster_health import http_date, minor_version

GONE = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
APIS = "/apis/apiregistration.k8s.io/v1/apiservices"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
ALL_LEASES = "/apis/coordination.k8s.io/v1/leases"
WORKSPACES = "/apis/kaito.sh/v1beta1/namespaces/default/workspaces"
NODES = "/api/v1/nodes"
V0_12 = "ghcr.io/kaito-project/kaito/workspace:0.12.0"


def condition(kind: str, status: str, reason: str = "R", message: str = "why") -> Any:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def having(base: Answer, objects: dict[str, Any]) -> Answer:
    """The cluster, with these objects and lists at their paths; leases are made when they are asked for."""

    def answer(method: str, path: str) -> tuple[int, str]:
        plain = path.removeprefix("/s3cret-path").partition("?")[0]
        if plain not in objects:
            return base(method, path)
        found = objects[plain]() if callable(objects[plain]) else objects[plain]
        return 200, json.dumps({"metadata": {}, "items": found} if isinstance(found, list) else found)

    return answer


def crd(*, versions: tuple[str, ...] = ("v1alpha1", "v1beta1"), fields: bool = True, **more: Any) -> Any:
    """A CRD of Workspaces, as far as releases differ in it: of v0.12, unless fields lack."""
    parts: Any = {"inference": {"properties": {"config": {}}}}
    default = {"instanceType": {"default": "Standard_NC24ads_A100_v4"}}
    served = []
    for version in versions:
        properties: Any = {**parts, "resource": {"properties": default if version == "v1alpha1" else {}}}
        if fields and version == "v1beta1":
            properties["resource"] = {"properties": {"partition": {}}}
        served.append({"name": version, "schema": {"openAPIV3Schema": {"properties": properties}}})
    metadata = {"name": "workspaces.kaito.sh", **more.pop("metadata", {})}
    return {"metadata": metadata, "spec": {"versions": served}, **more}


def lease(name: str, off: timedelta) -> Any:
    at = (datetime.now(UTC) + off).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {"metadata": {"name": name, "namespace": "kube-node-lease"}, "spec": {"renewTime": at}}


def ready(name: str) -> Any:
    return {"metadata": {"name": name}, "status": {"conditions": [condition("Ready", "True")]}}


KAITO = cluster(deployment(V0_12))
CLAIMS = f"{CRDS}/nodeclaims.karpenter.sh"
SPACES = "/api/v1/namespaces"
METRICS = "v1beta1.metrics.k8s.io"
BOTH = [ready("g1"), ready("g2")]
HOUR, SECOND = timedelta(hours=1, seconds=20), timedelta(seconds=1)
DISCOVERY = condition(
    "NamespaceDeletionDiscoveryFailure",
    "True",
    "DiscoveryFailed",
    "Discovery failed for metrics.k8s.io",
)


def api(name: str, *conditions: Any, service: bool = True) -> Any:
    spec = {"service": {"name": "metrics-server", "namespace": "kube-system"}} if service else {}
    return {"metadata": {"name": name}, "spec": spec, "status": {"conditions": list(conditions)}}


def going(*finalizers: str) -> Any:
    return {"metadata": {"name": "w", "namespace": "default", **GONE, "finalizers": list(finalizers)}}


MINE = "workspace.finalizer.kaito.sh"
STOPPED = deployment(V0_12, ready=0)
STOPPED["spec"]["replicas"] = 0

# What is wrong, the check that says so: its name, code, result and words; and the same cluster repaired.
TROUBLE: dict[str, tuple[Answer, tuple[str, str, str, str], Answer]] = {
    "an old CRD under a new controller": (
        having(KAITO, {f"{CRDS}/workspaces.kaito.sh": crd(versions=("v1alpha1",))}),
        ("crds", "crd-of-other-release", "error", "it does not serve v1beta1"),
        having(KAITO, {f"{CRDS}/workspaces.kaito.sh": crd()}),
    ),
    "a CRD that lacks fields": (
        having(KAITO, {f"{CRDS}/workspaces.kaito.sh": crd(fields=False)}),
        ("crds", "crd-of-other-release", "warning", "resource.partition, which the API server drops"),
        having(KAITO, {f"{CRDS}/workspaces.kaito.sh": crd()}),
    ),
    "a new CRD over an old controller": (
        having(
            cluster(deployment("ghcr.io/kaito-project/kaito/workspace:0.9.4")),
            {f"{CRDS}/workspaces.kaito.sh": crd()},
        ),
        ("crds", "crd-of-other-release", "warning", "it is that of KAITO v0.12"),
        having(
            cluster(deployment("ghcr.io/kaito-project/kaito/workspace:0.9.4")),
            {f"{CRDS}/workspaces.kaito.sh": crd(fields=False)},
        ),
    ),
    "a CRD that is being deleted": (
        having(
            KAITO,
            {
                f"{CRDS}/workspaces.kaito.sh": crd(
                    metadata=GONE,
                    status={"conditions": [condition("Terminating", "True", message="CR instances remain")]},
                )
            },
        ),
        ("crds", "crd-being-deleted", "error", "all of its objects with it: CR instances remain"),
        having(KAITO, {f"{CRDS}/workspaces.kaito.sh": crd()}),
    ),
    "the CRD of NodeClaims that is being deleted": (
        having(KAITO, {CLAIMS: {"metadata": {"name": "nodeclaims.karpenter.sh", **GONE}}}),
        ("crds", "crd-being-deleted", "error", "CRD nodeclaims.karpenter.sh is being deleted"),
        KAITO,
    ),
    "a CRD whose names are taken": (
        having(
            KAITO,
            {
                f"{CRDS}/workspaces.kaito.sh": crd(
                    status={"conditions": [condition("NamesAccepted", "False", "ListKindConflict", "in use")]}
                )
            },
        ),
        ("crds", "crd-not-established", "error", "is not served: ListKindConflict: in use"),
        having(KAITO, {f"{CRDS}/workspaces.kaito.sh": crd()}),
    ),
    "one's own namespace is going": (
        having(
            KAITO,
            {SPACES: [{"metadata": {"name": "default", **GONE}, "status": {"conditions": [DISCOVERY]}}]},
        ),
        ("namespaces", "namespace-terminating", "error", "and is yours: Discovery failed for"),
        having(KAITO, {SPACES: [{"metadata": {"name": "default"}}]}),
    ),
    "another namespace stays": (
        having(
            KAITO,
            {
                SPACES: [
                    {
                        "metadata": {"name": "old", **GONE},
                        "status": {
                            "conditions": [condition("NamespaceFinalizersRemaining", "True", message="x")]
                        },
                    }
                ]
            },
        ),
        ("namespaces", "namespace-terminating", "warning", "namespace old is being deleted: x"),
        having(KAITO, {SPACES: []}),
    ),
    "an API that nobody serves": (
        having(
            KAITO,
            {APIS: [api(METRICS, condition("Available", "False", "MissingEndpoints", "no addresses"))]},
        ),
        ("api-services", "api-service-unavailable", "warning", "MissingEndpoints: no addresses"),
        having(KAITO, {APIS: [api(METRICS, condition("Available", "True"))]}),
    ),
    "Kubernetes is too old": (
        cluster(deployment(V0_12), version="v1.29.15-gke.1"),
        ("kubernetes", "kubernetes-too-old", "warning", "KAITO 0.12.0 is made for (1.33 and newer)"),
        cluster(deployment(V0_12), version="v1.33.1"),
    ),
    "a node's clock is ahead": (
        having(KAITO, {LEASES: lambda: [lease("g1", HOUR), lease("g2", -SECOND)], NODES: BOTH}),
        ("clock", "clock-skew", "warning", "differ from the API server's: g1 (60 min ahead)"),
        having(KAITO, {LEASES: lambda: [lease("g1", -SECOND), lease("g2", -SECOND)], NODES: BOTH}),
    ),
    "a node's clock is behind": (
        having(KAITO, {LEASES: lambda: [lease("g1", -HOUR)], NODES: [ready("g1")]}),
        ("clock", "clock-skew", "warning", "g1 (60 min behind)"),
        # It has gone, and its clock with it.
        having(KAITO, {LEASES: lambda: [lease("g1", -HOUR)], NODES: []}),
    ),
    "a finalizer of a controller that is gone": (
        having(cluster(), {WORKSPACES: [going(MINE)], ALL_LEASES: []}),
        ("finalizers", "finalizer-holds-deletion", "error", f"waits for {MINE}, and no controller runs"),
        having(KAITO, {WORKSPACES: [going(MINE)]}),
    ),
    "a finalizer of a controller that is stopped": (
        having(cluster(STOPPED), {WORKSPACES: [going("foregroundDeletion", MINE)]}),
        ("finalizers", "finalizer-holds-deletion", "error", "the deletion of Workspace default/w waits"),
        having(KAITO, {WORKSPACES: [going("foregroundDeletion", MINE)]}),
    ),
}  # fmt: skip


def found(answer: Answer, folder: Path, name: str) -> list[Check]:
    return [check for check in examined(answer, folder) if check.name == name and check.result != "ok"]


@pytest.mark.parametrize("what", TROUBLE)
def test_what_is_wrong_below_an_installation_is_named_until_it_is_repaired(tmp_path: Path, what: str) -> None:
    answer, (name, code, result, words), repaired = TROUBLE[what]
    (check,) = found(answer, tmp_path, name)
    assert (check.code, check.result) == (code, result)
    assert words in check.message
    assert text(check.hint)
    assert code in installation_codes.CODES or code in codes.CODES
    assert found(repaired, tmp_path, name) == []


def test_the_command_that_brings_the_crd_up_names_the_controllers_release(tmp_path: Path) -> None:
    answer, (name, *_), _ = TROUBLE["an old CRD under a new controller"]
    (check,) = found(answer, tmp_path, name)
    assert "/kaito/v0.12.0/config/crd/bases/kaito.sh_workspaces.yaml" in text(check.hint)


@pytest.mark.parametrize("target", ["v0.3.2", "v0.4.3", "0.7.1", "v0.11.0", "nightly"])
def test_a_crd_that_nobody_knows_is_not_called_another_releases(target: str) -> None:
    strange = crd(versions=("v1alpha1", "v1beta1", "v2"))
    misfit, is_fatal = release_detection.crd_misfit(strange, target)
    assert not misfit and not is_fatal


def test_a_machine_whose_clock_is_wrong_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = format_datetime(datetime.now(UTC) - timedelta(minutes=30), usegmt=True)
    monkeypatch.setattr("http.server.BaseHTTPRequestHandler.date_time_string", lambda *_: said)
    (check,) = found(KAITO, tmp_path, "clock")
    assert "this machine's clock is 30 min ahead of the API server's" in check.message


@pytest.mark.parametrize("text_", ["", "soon", "Sun, 99 Nov 2026 17:08:57 GMT"])
def test_a_date_that_is_none_says_nothing(text_: str) -> None:
    assert http_date(text_) is None


@pytest.mark.parametrize(
    ("written", "version"),
    [("v1.33.1", (1, 33)), ("v1.29.4-eks-1", (1, 29)), ("1.30+", (1, 30)), ("", None), ("main", None)],
)
def test_the_minor_version_of_kubernetes(written: str, version: tuple[int, int] | None) -> None:
    assert minor_version(written) == version


def test_a_program_that_the_api_server_holds_itself_is_no_service(tmp_path: Path) -> None:
    local = api("v1.apps", condition("Available", "False"), service=False)
    assert found(having(KAITO, {APIS: [local]}), tmp_path, "api-services") == []
