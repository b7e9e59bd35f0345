"""A controller whose pods do not run says why: `why` and `doctor` read its pods, and the end of their log."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import workspace
from fake_server import serving
from served_world import world
from shell import Shell

from kaitoctl.advice import text
from kaitoctl.commands.controller_pods import Halt, halt_of
from kaitoctl.kaito import installation
from kaitoctl.kube.client import Client
from kaitoctl.kube.kubeconfig import Server
from kaitoctl.kube.objects import Object

LABELS = {"app.kubernetes.io/name": "workspace"}
GONE = "container workspace: back-off 5m0s"


def deployment(ready: int = 0, replicas: int = 1, image: str = "mcr/aks/kaito/workspace:0.9.1") -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "kaito-workspace", "namespace": "kaito"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": LABELS},
            "template": {"spec": {"containers": [{"name": "workspace", "image": image}]}},
        },
        "status": {"readyReplicas": ready},
    }


def pod(name: str = "kaito-workspace-1", created: str = "2026-01-01T00:00:00Z", **status: Any) -> Object:
    limits = {"resources": {"limits": {"memory": "500Mi"}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "kaito", "labels": LABELS, "creationTimestamp": created},
        "spec": {"containers": [{"name": "workspace", "image": "x", **limits}]},
        "status": {"phase": "Running", **status},
    }


def loops(code: int = 1, reason: str = "Error", message: str = "") -> Object:
    ended = {"exitCode": code, "reason": reason, "message": message}
    waits = {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}
    states = {"state": {"waiting": waits}, "lastState": {"terminated": ended}}
    return {"containerStatuses": [{"name": "workspace", "ready": False, "restartCount": 9, **states}]}


def waits(reason: str, message: str) -> Object:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"containerStatuses": [{"name": "workspace", "ready": False, "restartCount": 0, "state": state}]}


def halt(tmp_path: Path, *objects: Object, of: Object | None = None, **more: Any) -> Halt | None:
    one = installation.controllers([of or deployment()])[0]

    async def ask(url: str) -> Halt | None:
        async with Client(Server(url)) as client:
            return await halt_of(client, one)

    with serving(world(*objects, **more), tmp_path) as kubeconfig:
        server = yaml.safe_load(Path(kubeconfig).read_text())["clusters"][0]["cluster"]["server"]
        return asyncio.run(ask(server))


@pytest.mark.parametrize(
    ("status", "log", "words", "hint"),
    [
        (loops(137, "OOMKilled"), "", "container workspace is OOMKilled at 500Mi", "memory limit"),
        (
            loops(),
            'E1130 10:00:00.000000 1 main.go:230] "problem running manager" err="timed out"\n',
            'its log: E1130 10:00:00.000000 1 main.go:230] "problem running manager"',
            "kubectl logs kaito-workspace-1 -n kaito -c workspace --previous",
        ),
        (
            loops(),
            'E1130 10:00:00 1 leaderelection.go:332] leases.coordination.k8s.io "a" is forbidden: User "b" '
            'cannot get\nE1130 10:00:10 1 main.go:230] "problem running manager" err="election lost"\n',
            'leases.coordination.k8s.io "a" is forbidden',
            "kubectl logs",
        ),
        (loops(2, message="panic: AADSTS70021: no identity"), "", "AADSTS70021", "kubectl logs"),
        (waits("ImagePullBackOff", "Back-off pulling image: i/o timeout"), "", "i/o timeout", "describe pod"),
        (waits("CreateContainerConfigError", 'secret "a" not found'), "", 'secret "a" not found', "names"),
        (
            {
                "phase": "Pending",
                "conditions": [
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/1 nodes are available: 1 Insufficient cpu.",
                    }
                ],
            },
            "",
            "Insufficient cpu",
            "make room",
        ),
        (
            {"phase": "Failed", "reason": "Evicted", "message": "low on resource: memory"},
            "",
            "low on",
            "names",
        ),
    ],
)
def test_each_way_of_not_running_is_told(
    tmp_path: Path, status: Object, log: str, words: str, hint: str
) -> None:
    found = halt(tmp_path, pod(**status), logs={"kaito-workspace-1": log})
    assert found is not None
    assert found.words.startswith("pod kaito-workspace-1: ")
    assert words in found.words
    assert hint in text(found.hint)


def test_the_newest_pod_counts_and_secrets_are_masked(tmp_path: Path) -> None:
    old = pod("kaito-workspace-0", **waits("ImagePullBackOff", "of before"))
    new = pod(
        "kaito-workspace-9",
        "2026-02-01T00:00:00Z",
        **loops(1, message="token=hf_abcdefghijklmnopqrstuvwxyz0123"),
    )
    found = halt(tmp_path, old, new)
    assert found is not None
    assert "kaito-workspace-9" in found.words
    assert "hf_abcdefghijklmnopqrstuvwxyz" not in found.words


@pytest.mark.parametrize("of", [deployment(ready=1), deployment(replicas=0)])
def test_one_that_runs_or_is_not_to_run_is_not_asked(tmp_path: Path, of: Object) -> None:
    assert halt(tmp_path, pod(**loops()), of=of, forbidden=("/pods",)) is None


def test_where_pods_may_not_be_listed_nothing_is_said(tmp_path: Path) -> None:
    assert halt(tmp_path, pod(**loops()), forbidden=("/pods",)) is None
    assert halt(tmp_path) is None, "it has no pod"


def test_why_and_doctor_say_it(offline: Shell, tmp_path: Path) -> None:
    lost = workspace(generation=1)
    lost["metadata"] |= {"namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z"}
    oom = pod(**loops(137, "OOMKilled"))
    with serving(world(lost, deployment(), oom), tmp_path) as kubeconfig:
        why = offline.run("kaitoctl", "why", "falcon", "--kubeconfig", kubeconfig)
        doctor = offline.run("kaitoctl", "doctor", "--kubeconfig", kubeconfig)
    for done in (why, doctor):
        assert done.returncode == 1, done.stderr
        assert "container workspace is OOMKilled at 500Mi" in done.stdout
    assert "fix what its pod says" in why.stdout
    lost["metadata"]["finalizers"] = ["workspace.finalizer.kaito.sh"]  # it was taken up once
    with serving(world(lost, deployment(), oom), tmp_path) as kubeconfig:
        invalid = offline.run("kaitoctl", "why", "falcon", "--kubeconfig", kubeconfig)
    lost["resource"]["instanceType"] = "Standard_NC24ads_A100_v4"
    with serving(world(lost, deployment(), oom), tmp_path) as kubeconfig:
        silent = offline.run("kaitoctl", "why", "falcon", "--kubeconfig", kubeconfig)
    assert "[controller-silent]" in invalid.stdout, "a controller that does not run fails on no instance type"
    assert "fix what its pod says" in silent.stdout
    assert "raise its memory limit" in doctor.stdout
