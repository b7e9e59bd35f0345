"""deploy/chart on a real control plane, by real helm: a model becomes ready under it, and nothing stays."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import built
import pytest
from built import needed
from controlplane import programs
from controlplane.plane import ControlPlane, _free_port, running
from controlplane.webhooks import as_in_space, create, shows_the_words_of_validate
from pure.test_review import WRONG
from shell import BIN

from kaitoctl.kaito.api import WORKSPACE
from kaitoctl.kube import conditions
from kaitoctl.kube.objects import DEPLOYMENT, Object
from kaitoctl.kube.webhooks import VALIDATING

CHART = Path(__file__).parent.parent.parent / "deploy" / "chart"
SPACE, NAME, WEBHOOK = "models-system", "kaitoctl-controller", "kaitoctl-webhook"
NO_PODS = ("controller.replicas=0", "webhook.replicas=0")
CLUSTER_WIDE = ("clusterroles", "clusterrolebindings")


def until(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 90
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


class Installed:
    """The chart on a cluster, and processes of this machine that stand in for its pods."""

    def __init__(self, plane: ControlPlane, home: Path) -> None:
        self.plane = plane
        self._home = home

    def helm(self, *words: str) -> None:
        built.helm("--kubeconfig", str(self.plane.kubeconfig), "-n", SPACE, *words)

    def upgrade(self, *settings: str) -> None:
        chosen = [word for setting in (*NO_PODS, *settings) for word in ("--set", setting)]
        self.helm("upgrade", "--install", "kaitoctl", str(CHART), "--create-namespace", *chosen)

    def there(self, name: str) -> bool:
        return self.plane.send("GET", DEPLOYMENT.path(SPACE, name))[0] == 200

    @contextmanager
    def running(self, name: str, *options: str) -> Iterator[None]:
        """What the pods of a Deployment run, with the rights of its account, until it has ended in order."""
        pod = self.plane.do("GET", DEPLOYMENT.path(SPACE, name))["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        kubeconfig = self.plane.kubeconfig_of_service_account(SPACE, pod["serviceAccountName"])
        log = self._home / f"{name}.log"
        words = [*container["args"], "--metrics-address=0", *options, f"--kubeconfig={kubeconfig}"]
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [BIN / "kaitoctl", *words],
                env={"HOME": str(self._home), "PATH": os.environ["PATH"]},
                stderr=stderr,
            )
        try:
            yield
            assert process.poll() is None, log.read_text()
            process.terminate()
            assert process.wait(60) == 0, log.read_text()
        finally:
            process.kill()
            process.wait()

    def rule(self) -> Object:
        (found,) = self.plane.do("GET", VALIDATING.path("", WEBHOOK))["webhooks"]
        made: Object = found
        return made

    def reach_the_webhook_at(self, place: Object) -> None:
        """On this machine: nobody reaches a Service of this cluster. What it trusts stays."""
        trusted = self.rule()["clientConfig"].get("caBundle")
        config = {**place, **({"caBundle": trusted} if trusted else {})}
        patch = [{"op": "replace", "path": "/webhooks/0/clientConfig", "value": config}]
        json_patch = "application/json-patch+json"
        self.plane.do("PATCH", VALIDATING.path("", WEBHOOK), patch, content_type=json_patch)

    def refuses(self) -> bool:
        """Whether the webhook answers: a Workspace is wrong, and nobody else would refuse it."""
        wrong = as_in_space("default", WRONG, "probe")
        return "KW142" in str(create(self.plane, "default", wrong)[1].get("message"))


@pytest.fixture
def chart(tmp_path: Path) -> Iterator[Installed]:
    with running(needed(programs.find)) as plane:
        yield Installed(plane, tmp_path)


def test_a_model_becomes_ready_under_the_chart_and_nothing_of_it_stays(chart: Installed) -> None:
    chart.upgrade()
    with chart.running(NAME):
        a_model_comes_and_goes(chart.plane)
    chart.helm("uninstall", "kaitoctl", "--wait")
    assert not chart.plane.do("GET", DEPLOYMENT.path(SPACE))["items"]
    for kind in CLUSTER_WIDE:
        left = chart.plane.do("GET", f"/apis/rbac.authorization.k8s.io/v1/{kind}")["items"]
        assert not [one for one in left if "kaitoctl" in one["metadata"]["name"]]


def test_admission_under_the_chart_in_pods_of_its_own_and_then_in_the_controllers(
    chart: Installed, tmp_path: Path
) -> None:
    """failurePolicy is Fail: whatever is written has been asked about."""
    settings = ("webhook.enabled=true", "webhook.failurePolicy=Fail")
    chart.upgrade(*settings)
    port = _free_port()
    service = {"service": chart.rule()["clientConfig"]["service"]}
    here = {"url": f"https://127.0.0.1:{port}/validate"}
    chart.reach_the_webhook_at(here)
    reached = (f"--address=127.0.0.1:{port}", "--host=127.0.0.1")
    with chart.running(WEBHOOK, *reached):
        until(chart.refuses, "the webhook does not answer")
        shows_the_words_of_validate(chart.plane, "default", tmp_path)
        chart.reach_the_webhook_at(service)
        before = chart.rule()
        chart.upgrade(*settings, "userRoles=false")
        assert chart.rule() == before, "an upgrade takes the trust away"
    chart.upgrade(*settings, "webhook.inController=true")
    assert chart.rule() == before
    chart.reach_the_webhook_at(here)
    assert not chart.there(WEBHOOK)
    with chart.running(NAME, *(option.replace("--", "--webhook-") for option in reached)):
        until(chart.refuses, "the controller does not answer")
        shows_the_words_of_validate(chart.plane, "default", tmp_path)
        a_model_comes_and_goes(chart.plane)
    chart.helm("uninstall", "kaitoctl", "--wait")
    assert not chart.plane.do("GET", VALIDATING.path())["items"], "nobody is left to answer"


def a_model_comes_and_goes(plane: ControlPlane) -> None:
    workspace = {
        "apiVersion": WORKSPACE.api_version,
        "kind": WORKSPACE.kind,
        "metadata": {"name": "falcon", "namespace": "default"},
        "resource": {"labelSelector": {"matchLabels": {"apps": "falcon"}}},
        "inference": {"preset": {"name": "falcon-7b"}},
    }
    plane.apply(workspace)
    path = WORKSPACE.path("default", "falcon")
    until(lambda: conditions.is_true(plane.do("GET", path), "WorkspaceSucceeded"), "it is not ready")
    plane.do("DELETE", path)
    until(lambda: plane.send("GET", path)[0] == 404, "it does not go")
