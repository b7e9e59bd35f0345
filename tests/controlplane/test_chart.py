"""deploy/chart on a real control plane, by real helm: a model becomes ready under it, and nothing stays."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import built
from built import needed
from controlplane import programs
from controlplane.plane import running
from shell import BIN

from kaitoctl.kaito.api import WORKSPACE
from kaitoctl.kube import conditions
from kaitoctl.kube.objects import DEPLOYMENT

CHART = Path(__file__).parent.parent.parent / "deploy" / "chart"
SPACE, NAME = "models-system", "kaitoctl-controller"
CLUSTER_WIDE = ("clusterroles", "clusterrolebindings")


def until(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 90
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def test_a_model_becomes_ready_under_the_chart_and_nothing_of_it_stays(tmp_path: Path) -> None:
    with running(needed(programs.find)) as plane:

        def helm(*words: str) -> None:
            built.helm("--kubeconfig", str(plane.kubeconfig), "-n", SPACE, *words)

        # The process below stands in for the pods.
        none = ("--set", "controller.replicas=0,webhook.replicas=0")
        helm("install", "kaitoctl", str(CHART), "--create-namespace", *none)
        deployment = plane.do("GET", DEPLOYMENT.path(SPACE, NAME))
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        kubeconfig = plane.kubeconfig_of_service_account(SPACE, NAME)
        log = tmp_path / "log"
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [BIN / "kaitoctl", *container["args"], "--metrics-address=0", f"--kubeconfig={kubeconfig}"],
                env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
                stderr=stderr,
            )
        try:
            workspace = {
                "apiVersion": WORKSPACE.api_version,
                "kind": WORKSPACE.kind,
                "metadata": {"name": "falcon", "namespace": "default"},
                "resource": {"labelSelector": {"matchLabels": {"apps": "falcon"}}},
                "inference": {"preset": {"name": "falcon-7b"}},
            }
            plane.apply(workspace)

            def is_ready() -> bool:
                assert process.poll() is None, log.read_text()
                return conditions.is_true(
                    plane.do("GET", WORKSPACE.path("default", "falcon")), "WorkspaceSucceeded"
                )

            until(is_ready, "the Workspace is not ready")
            helm("upgrade", "kaitoctl", str(CHART), *none, "--set", "webhook.enabled=true")
            assert plane.send("GET", DEPLOYMENT.path(SPACE, "kaitoctl-webhook"))[0] == 200
            plane.do("DELETE", WORKSPACE.path("default", "falcon"))
            until(lambda: plane.send("GET", WORKSPACE.path("default", "falcon"))[0] == 404, "it does not go")
        finally:
            process.terminate()
            process.wait()
        helm("uninstall", "kaitoctl", "--wait")
        assert not plane.do("GET", DEPLOYMENT.path(SPACE))["items"]
        for kind in CLUSTER_WIDE:
            left = plane.do("GET", f"/apis/rbac.authorization.k8s.io/v1/{kind}")["items"]
            assert not [one for one in left if "kaitoctl" in one["metadata"]["name"]]
