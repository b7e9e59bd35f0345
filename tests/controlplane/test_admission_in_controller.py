"""`run-controller --webhook` on a real API server: one process manages Workspaces and judges them."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from controlplane.controller import ACCOUNT, NAMESPACE, USER, deployed_controller
from controlplane.plane import ControlPlane, _free_port
from controlplane.webhooks import as_in_space, create, documents, shows_the_words_of_validate
from pure.test_review import GOOD, WRONG
from test_deploy import granted

from kaitoctl.kaito.api import WORKSPACE
from kaitoctl.kube import conditions
from kaitoctl.kube.objects import SECRET
from kaitoctl.kube.webhooks import VALIDATING

FILE = Path(__file__).parent.parent.parent / "deploy" / "controller-webhook.yaml"
SPACE = "judged-by-its-controller"
RIGHTS = "kaitoctl-controller-webhook"


@dataclass
class Both:
    plane: ControlPlane
    metrics: str

    def scrape(self, path: str) -> str:
        with urllib.request.urlopen(f"{self.metrics}{path}", timeout=30) as answer:
            return str(answer.read().decode())


def until(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 90
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.fixture(scope="module")
def both(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    port, metrics = _free_port(), _free_port()
    for name in (SPACE, NAMESPACE):
        control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    made = list(documents(FILE, NAMESPACE, SPACE, port))
    for obj in made:
        control_plane.apply(obj)
    began = control_plane.audit_mark()
    options = ("--webhook", f"--webhook-address=127.0.0.1:{port}", "--webhook-host=127.0.0.1")
    found = Both(control_plane, f"http://127.0.0.1:{metrics}")
    home = tmp_path_factory.mktemp("controller")
    try:
        with deployed_controller(control_plane, home, *options, f"--metrics-address=127.0.0.1:{metrics}"):
            until(lambda: _is_asked(found), "the API server does not ask")
            yield found
    finally:
        control_plane.send("DELETE", VALIDATING.path("", "kaitoctl-webhook"))
        control_plane.send("DELETE", SECRET.path(NAMESPACE, "kaitoctl-webhook"))
        control_plane.send("DELETE", f"/api/v1/namespaces/{SPACE}")
        for kind in ("clusterroles", "clusterrolebindings"):
            control_plane.send("DELETE", f"/apis/rbac.authorization.k8s.io/v1/{kind}/{RIGHTS}")
    used = {
        (event["verb"], event["objectRef"].get("apiGroup", ""), event["objectRef"]["resource"])
        for event in control_plane.audit_events(began)
        if event["user"].get("username") == USER and "objectRef" in event
    }
    roles = {item["kind"]: item for item in made}
    given = granted(roles["ClusterRole"]) | granted(roles["Role"])
    assert given - used <= {("update", "", "secrets")}, "the roles grant what it does not ask for"
    assert {roles[f"{kind}Binding"]["subjects"][0]["name"] for kind in ("ClusterRole", "Role")} == {ACCOUNT}


def _is_asked(both: Both) -> bool:
    if create(both.plane, SPACE, as_in_space(SPACE, WRONG, "probe"))[0] != 201:
        return "refuses" in both.scrape("/metrics")
    both.plane.send("DELETE", WORKSPACE.path(SPACE, "probe"))
    return False


def test_kubectl_shows_the_words_of_validate(both: Both, tmp_path: Path) -> None:
    shows_the_words_of_validate(both.plane, SPACE, tmp_path)


def test_a_model_becomes_ready_and_is_changed_with_admission_on(both: Both) -> None:
    """failurePolicy is Fail here: whatever the controller itself writes is let through, too."""
    good = as_in_space(SPACE, GOOD, "good")
    assert create(both.plane, SPACE, good)[0] == 201

    def is_ready() -> bool:
        found = both.plane.do("GET", WORKSPACE.path(SPACE, "good"))
        return conditions.is_true(found, "WorkspaceSucceeded")

    until(is_ready, "the Workspace is not ready")
    worse = {"inference": {"preset": {"name": "falcon-7d"}}}
    merge = "application/merge-patch+json"
    status, answer = both.plane.send("PATCH", WORKSPACE.path(SPACE, "good"), worse, content_type=merge)
    assert (status, "KW" in answer["message"]) == (422, True)
    assert both.plane.send("DELETE", WORKSPACE.path(SPACE, "good"))[0] == 200
    until(lambda: both.plane.send("GET", WORKSPACE.path(SPACE, "good"))[0] == 404, "it does not go")


def test_one_address_shows_the_metrics_and_health_of_both(both: Both) -> None:
    text = both.scrape("/metrics")
    for name in (
        "kaitoctl_webhook_reviews_total",
        "kaitoctl_webhook_certificate_expiry_timestamp_seconds",
        "kaitoctl_reconcile_total",
        "kaitoctl_leader 1.0",
    ):
        assert name in text, name
    assert text.count("# TYPE process_resident_memory_bytes") == 1
    assert both.scrape("/readyz") == "ok\n"
