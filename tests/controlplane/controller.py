"""`kaitoctl run-controller` as `deploy/controller.yaml` runs it: its account, its roles, its arguments."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from shell import BIN

if TYPE_CHECKING:
    from controlplane.plane import ControlPlane

DEPLOY = Path(__file__).parent.parent.parent / "deploy" / "controller.yaml"
KARPENTER = DEPLOY.with_name("karpenter.yaml")
NAMESPACE = "kaitoctl-system"
ACCOUNT = "kaitoctl-controller"
USER = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{ACCOUNT}"
MAY_BE_REFUSED = {("get", "secrets")}
"""What the controller asks for where it may, and does without where it may not."""

_START_S = 60.0
_STOP_S = 20.0


def documents(file: Path = DEPLOY) -> dict[str, Any]:
    """The objects of a file of `deploy/`, by kind and name."""
    read = yaml.safe_load_all(file.read_text())
    return {f"{item['kind']}/{item['metadata']['name']}": item for item in read}


def install(plane: ControlPlane, *more: Path) -> None:
    """Apply `deploy/` but for the pods: the process that is tested stands in for them."""
    for obj in (item for file in (DEPLOY, *more) for item in documents(file).values()):
        made = json.loads(json.dumps(obj))
        if made["kind"] == "Deployment":
            made["spec"]["replicas"] = 0
        plane.apply(made)


@contextmanager
def deployed_controller(
    plane: ControlPlane, home: Path, *options: str, files: Sequence[Path] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """The controller at work, from the moment that it holds its Lease.

    At the end it must still be there, have been refused nothing, and end in order.

    Args:
        plane: where.
        home: its folder.
        options: besides those of `deploy/controller.yaml`.
        files: of `deploy/`, likewise.
    """
    install(plane, *files)
    (container,) = documents()[f"Deployment/{ACCOUNT}"]["spec"]["template"]["spec"]["containers"]
    # Where it answers is the pod's own affair: here several may run on one machine.
    arguments = [*container["args"], "--metrics-address=0", *options]
    kubeconfig = plane.kubeconfig_of_service_account(NAMESPACE, ACCOUNT)
    log = home / "controller.jsonl"
    began = plane.audit_mark()
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [str(BIN / "kaitoctl"), *arguments, f"--kubeconfig={kubeconfig}"],
            env={"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONWARNINGS": "error"},
            cwd=home,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
    try:
        _until_it_leads(plane, process, log)
        yield process
        assert process.poll() is None, f"the controller has ended:\n{log.read_text()}"
        process.send_signal(signal.SIGTERM)
        assert process.wait(_STOP_S) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in log.read_text(), log.read_text()
    # Not by the status code: a namespace that is being deleted answers 403 to whoever creates in it.
    refused = {
        (event["verb"], event["objectRef"]["resource"])
        for event in plane.audit_events(began)
        if event["user"].get("username") == USER
        and event["annotations"]["authorization.k8s.io/decision"] == "forbid"
    }
    assert refused <= MAY_BE_REFUSED, f"deploy/ does not grant {refused - MAY_BE_REFUSED}"


def _until_it_leads(plane: ControlPlane, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while not _leads(plane, process):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, f"it does not lead:\n{log.read_text()}"
        time.sleep(0.05)


def _leads(plane: ControlPlane, process: subprocess.Popen[bytes]) -> bool:
    status, lease = plane.send("GET", LEASE)
    return status == 200 and str(lease["spec"].get("holderIdentity") or "").endswith(f"-{process.pid}")
