"""`doctor` on clusters whose webhooks nobody answers, and that have two controllers."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cli.test_doctor import by_name, cluster, deployment
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fake_server import Answer, serving
from shell import Shell

from kaitoctl.commands.doctor_webhooks import untrusted
from kaitoctl.kube.objects import ObjectKey
from kaitoctl.kube.webhooks import Webhook, has_endpoints, lacks_port

SERVICE = "/api/v1/namespaces/kaito-workspace/services/workspace"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/kaito-workspace/endpointslices"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
KAITO = deployment("mcr.microsoft.com/aks/kaito/workspace:0.4.6")


def bundle(ends: datetime) -> str:
    """The certificate of an authority that ends then, as a caBundle."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(ends - timedelta(days=9)).not_valid_after(ends)
    pem = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return base64.b64encode(pem).decode()


LIVES, OVER = bundle(datetime.now(UTC) + timedelta(days=9)), bundle(datetime(2025, 1, 2, 3, 4, tzinfo=UTC))


def hook(
    *resources: str, group: str = "kaito.sh", policy: str | None = None, service: str = "workspace"
) -> Any:
    made = {
        "name": "validation.workspace.kaito.sh",
        "clientConfig": {"service": {"name": service, "namespace": "kaito-workspace"}, "caBundle": LIVES},
        "rules": [{"apiGroups": [group], "apiVersions": ["*"], "resources": list(resources)}],
    }
    return made | ({"failurePolicy": policy} if policy else {})


def configuration(*hooks: Any, name: str = "validation.workspace.kaito.sh") -> Any:
    return {"metadata": {"name": name}, "webhooks": list(hooks)}


def endpoints(*ready: bool) -> Any:
    found = [{"addresses": ["10.0.0.1"], "conditions": {"ready": value}} for value in ready]
    return {"metadata": {"name": "s"}, "endpoints": found}


def with_webhooks(
    base: Answer, *configurations: Any, service: bool = True, slices: tuple[Any, ...] = (), more: Any = None
) -> Answer:
    lists = {f"{ADMISSION}/validatingwebhookconfigurations": configurations, SLICES: slices, **(more or {})}
    lists.setdefault(f"{ADMISSION}/mutatingwebhookconfigurations", ())

    def answer(method: str, path: str) -> tuple[int, str]:
        plain = path.removeprefix("/s3cret-path").split("?")[0]
        if plain in lists:
            return 200, json.dumps({"metadata": {}, "items": list(lists[plain])})
        if plain == SERVICE and service:
            return 200, json.dumps({"kind": "Service", "metadata": {"name": "workspace"}})
        return base(method, path)

    return answer


def examined(offline: Shell, tmp_path: Path, answer: Answer) -> dict[str, Any]:
    with serving(answer, tmp_path) as kubeconfig:
        return by_name(offline.run("kaitoctl", "doctor", "--kubeconfig", kubeconfig, "-o", "json"))


@pytest.mark.parametrize(
    ("configurations", "service", "slices", "result", "words"),
    [
        (
            [configuration(hook("workspaces"))],
            False,
            (),
            "error",
            "Service kaito-workspace/workspace is gone",
        ),
        (
            [configuration(hook("workspaces", "workspaces/status"))],
            True,
            (),
            "error",
            "has no ready endpoint",
        ),
        ([configuration(hook("*"))], True, (endpoints(False, False),), "error", "such writes are rejected"),
        ([configuration(hook("*/*", group="*"))], True, (), "error", "deployments, statefulsets"),
        ([configuration(hook("pods", group=""))], True, (), "error", "every write of pods"),
        ([configuration(hook("workspaces", policy="Ignore"))], True, (), "warning", "are slow"),
        ([configuration(hook("workspaces"))], True, (endpoints(False, True),), "ok", "and all have backends"),
    ],
)
def test_a_webhook_that_outlives_its_program_is_named(
    offline: Shell, tmp_path: Path, configurations: Any, service: bool, slices: Any, result: str, words: str
) -> None:
    answer = with_webhooks(cluster(), *configurations, service=service, slices=slices)
    check = examined(offline, tmp_path, answer)["webhooks"]
    assert check["result"] == result, check
    assert words in check["message"]


@pytest.mark.parametrize(
    ("refused", "right"),
    [
        ("/services/workspace", "get services in namespace kaito-workspace"),
        ("/endpointslices", "list endpointslices.discovery.k8s.io in namespace kaito-workspace"),
    ],
)
def test_a_webhook_whose_backends_may_not_be_seen_is_not_called_sound(
    offline: Shell, tmp_path: Path, refused: str, right: str
) -> None:
    sound = with_webhooks(cluster(), configuration(hook("workspaces")), slices=(endpoints(True),))

    def answer(method: str, path: str) -> tuple[int, str]:
        return (403, '{"message": "no"}') if refused in path else sound(method, path)

    check = examined(offline, tmp_path, answer)["webhooks"]
    assert check["result"] == "unknown"
    assert right in check["message"]


@pytest.mark.parametrize(
    ("given", "is_url", "words"),
    [
        (LIVES, False, ""),
        (LIVES, True, ""),
        ("", True, ""),
        ("", False, "its caBundle is empty"),
        ("AAAA", False, "its caBundle holds no certificates"),
        ("é", True, "its caBundle holds no certificates"),
        (OVER, False, "the certificates of its caBundle expired at 2025-01-02 03:04Z"),
        (OVER, True, "the certificates of its caBundle expired at 2025-01-02 03:04Z"),
    ],
)
def test_a_webhook_that_the_api_server_does_not_trust_is_named(given: str, is_url: bool, words: str) -> None:
    service = None if is_url else ObjectKey("kaito-workspace", "workspace")
    hook = Webhook("ValidatingWebhookConfiguration", "x", "x", service, True, ("workspaces",), bundle=given)
    said = untrusted(hook, datetime.now(UTC))
    assert said.startswith(words)
    assert bool(said) == bool(words)


def test_a_service_leads_to_a_webhook_by_its_port() -> None:
    service = {"spec": {"ports": [{"port": 443}, {"port": 9443}]}}
    assert not lacks_port(service, 9443)
    assert lacks_port(service, 8443)
    assert has_endpoints([endpoints(True) | {"ports": [{"port": 1}]}])
    assert not has_endpoints([endpoints(True) | {"ports": None}]), "no pod has a port of that name"


def test_the_port_and_trust_of_a_webhook_are_read_where_it_stands(offline: Shell, tmp_path: Path) -> None:
    asked = hook("workspaces")
    asked["clientConfig"] |= {"service": {"name": "workspace", "namespace": "kaito-workspace", "port": 1}}
    answer = with_webhooks(cluster(KAITO), configuration(asked), slices=(endpoints(True),))

    found = {"kind": "Service", "metadata": {"name": "w"}, "spec": {"ports": [{"port": 443}]}}

    def with_ports(method: str, path: str) -> tuple[int, str]:
        is_service = path.endswith(SERVICE)
        return (200, json.dumps(found)) if is_service else answer(method, path)

    assert "has no port 1" in examined(offline, tmp_path, with_ports)["webhooks"]["message"]
    asked["clientConfig"] |= {"caBundle": OVER}
    check = examined(offline, tmp_path, answer)["webhooks"]
    assert "expired at 2025" in check["message"]
    assert "writes caBundle again" in check["hint"]


def test_it_may_be_deleted_only_where_kaito_is_gone(offline: Shell, tmp_path: Path) -> None:
    dead = configuration(hook("workspaces"))
    delete = " delete validatingwebhookconfiguration "
    gone = examined(offline, tmp_path, with_webhooks(cluster(), dead))["webhooks"]["hint"]
    assert delete in gone
    there = examined(offline, tmp_path, with_webhooks(cluster(KAITO), dead))["webhooks"]["hint"]
    assert delete not in there
    unseen = cluster(refused=("/deployments",))
    assert delete not in examined(offline, tmp_path, with_webhooks(unseen, dead))["webhooks"]["hint"]
    policies = with_webhooks(
        cluster(), configuration(hook("pods", group="", service="policies"), name="policies.example.org")
    )
    # Another's: nobody knows whether it comes back.
    assert delete not in examined(offline, tmp_path, policies)["webhooks"]["hint"]


def test_webhooks_that_are_asked_about_other_things_are_nobodys_business(
    offline: Shell, tmp_path: Path
) -> None:
    other = configuration(hook("ragengines"), hook("ingresses", group="networking.k8s.io"))
    assert "webhooks" not in examined(offline, tmp_path, with_webhooks(cluster(), other))
    url = configuration({**hook("workspaces"), "clientConfig": {"url": "https://example.org"}})
    assert examined(offline, tmp_path, with_webhooks(cluster(), url))["webhooks"]["result"] == "ok"


def test_a_conversion_that_nobody_does_is_named(offline: Shell, tmp_path: Path) -> None:
    service = {"name": "workspace", "namespace": "kaito-workspace"}
    conversion = {"strategy": "Webhook", "webhook": {"clientConfig": {"service": service}}}
    crd = {"metadata": {"name": "workspaces.kaito.sh"}, "spec": {"conversion": conversion}}
    base = cluster()

    def answer(method: str, path: str) -> tuple[int, str]:
        if path.endswith("/customresourcedefinitions/workspaces.kaito.sh"):
            return 200, json.dumps(crd)
        answered: tuple[int, str] = base(method, path)
        return answered

    check = examined(offline, tmp_path, with_webhooks(answer, service=False))["webhooks"]
    assert check["result"] == "error"
    assert "workspaces.kaito.sh is asked about every write of workspaces" in check["message"]
    assert " delete " not in check["hint"]


def lease(ago: timedelta) -> Any:
    renewed = (datetime.now(UTC) - ago).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"holderIdentity": "laptop-7", "leaseDurationSeconds": 15, "renewTime": renewed}
    return {"metadata": {"name": "kaitoctl-controller", "namespace": "default"}, "spec": spec}


def test_two_controllers_are_seen_wherever_they_run(offline: Shell, tmp_path: Path) -> None:
    leases = "/apis/coordination.k8s.io/v1/leases"
    held = with_webhooks(cluster(KAITO), more={leases: (lease(timedelta(seconds=3)),)})
    check = examined(offline, tmp_path, held)["one-controller"]
    assert check["result"] == "error"
    assert "KAITO (system/controller) and kaitoctl (laptop-7" in check["message"]
    over = with_webhooks(cluster(KAITO), more={leases: (lease(timedelta(hours=1)),)})
    assert "one-controller" not in examined(offline, tmp_path, over)
    twice = cluster(KAITO, deployment("ghcr.io/kaito-project/kaito/workspace:0.12.0"))
    assert examined(offline, tmp_path, twice)["one-controller"]["result"] == "error"


def test_a_controller_that_runs_outside_the_cluster_is_seen_by_its_lease(
    offline: Shell, tmp_path: Path
) -> None:
    leases = "/apis/coordination.k8s.io/v1/leases"
    held = with_webhooks(cluster(), more={leases: (lease(timedelta(seconds=3)),)})
    check = examined(offline, tmp_path, held)["controller"]
    assert check["result"] == "ok"
    assert "laptop-7, lease default/kaitoctl-controller" in check["message"]
    over = with_webhooks(cluster(), more={leases: (lease(timedelta(hours=1)),)})
    assert examined(offline, tmp_path, over)["controller"]["result"] == "warning"


def test_a_kaito_that_is_scaled_to_nothing_is_no_second_controller(offline: Shell, tmp_path: Path) -> None:
    stopped = deployment("mcr.microsoft.com/aks/kaito/workspace:0.4.6", ready=0)
    stopped["spec"]["replicas"] = 0
    found = examined(offline, tmp_path, cluster(deployment("k", "run-controller"), stopped))
    assert "one-controller" not in found
    assert "scaled to 0" in found["controller"]["message"]


def test_the_only_controller_scaled_to_nothing_is_an_error(offline: Shell, tmp_path: Path) -> None:
    stopped = deployment("mcr.microsoft.com/aks/kaito/workspace:0.4.6", ready=0)
    stopped["spec"]["replicas"] = 0
    assert examined(offline, tmp_path, cluster(stopped))["controller"]["result"] == "error"
