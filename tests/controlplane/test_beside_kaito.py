"""Beside KAITO with few rights, and what it leaves behind, on a real API server."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from builders import workspace
from controlplane.plane import ControlPlane

from kaitoctl.commands.beside_kaito import rivals_in
from kaitoctl.kaito import api, kaito_at_work, node_check, workspace_status
from kaitoctl.kaito.workspace_conditions import Observed
from kaitoctl.kaito.workspace_status import trim
from kaitoctl.kube import request
from kaitoctl.kube.client import connect
from kaitoctl.kube.objects import Object, key_of

TEAM, SYSTEM = "team-beside", "kaito-workspace"
RBAC = "rbac.authorization.k8s.io"


def role(name: str, namespace: str, rule: Object, user: str) -> list[Object]:
    metadata = {"name": name, "namespace": namespace}
    return [
        {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": metadata, "rules": [rule]},
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": name},
            "subjects": [{"apiGroup": RBAC, "kind": "User", "name": user}],
        },
    ]


@pytest.fixture(scope="module")
def team(control_plane: ControlPlane) -> Iterator[Path]:
    """The kubeconfig of somebody who may work in one namespace alone."""
    for name in (TEAM, SYSTEM):
        control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    rule = {"apiGroups": ["kaito.sh"], "resources": ["workspaces"], "verbs": ["get", "list", "watch"]}
    for obj in role("team", TEAM, rule, "beside"):
        control_plane.apply(obj)
    yield control_plane.kubeconfig_of("beside")
    # What looks as if KAITO wrote it would keep the controllers of the tests after these from starting.
    path = f"/apis/kaito.sh/v1beta1/namespaces/{TEAM}/workspaces"
    deadline = time.monotonic() + 60
    while items := control_plane.do("GET", path)["items"]:
        assert time.monotonic() < deadline, "its Workspaces do not go"
        for item in items:
            control_plane.send("DELETE", f"{path}/{item['metadata']['name']}")
        time.sleep(0.1)
    for name in (TEAM, SYSTEM):
        control_plane.send("DELETE", f"/api/v1/namespaces/{name}")


def seen_by(kubeconfig: Path, namespace: str) -> list[kaito_at_work.Rival]:
    async def look() -> list[kaito_at_work.Rival]:
        async with connect(kubeconfig=kubeconfig) as client:
            return await rivals_in(client, api.WORKSPACE_V1BETA1, namespace)

    return asyncio.run(look())


def written_by_kaito(control_plane: ControlPlane, name: str, **status: object) -> Object:
    """A Workspace with a status as KAITO writes it: by the program `manager`, which updates."""
    made = {**workspace(name), "apiVersion": api.WORKSPACE_V1BETA1.api_version}
    made["metadata"] = {"name": name, "namespace": TEAM}
    path = f"/apis/kaito.sh/v1beta1/namespaces/{TEAM}/workspaces"
    stored = control_plane.do("POST", path, made)
    body = {**stored, "status": status}
    found: Object = control_plane.do("PUT", f"{path}/{name}/status?fieldManager=manager", body)
    return found


def test_who_may_not_look_is_told_so_and_sees_what_there_is(
    control_plane: ControlPlane, team: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert seen_by(team, TEAM) == []
    assert "could not be checked" in caplog.text

    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": kaito_at_work.LEASE, "namespace": SYSTEM},
        "spec": {
            "holderIdentity": "workspace-1",
            "leaseDurationSeconds": 15,
            "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        },
    }
    control_plane.apply(lease)
    rule = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get"]}
    for obj in role("leases", SYSTEM, rule, "beside"):
        control_plane.apply(obj)
    (held,) = seen_by(team, TEAM)
    assert held.words == f"workspace-1 holds KAITO's lease {SYSTEM}/{kaito_at_work.LEASE}"
    control_plane.do(
        "DELETE", f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/{kaito_at_work.LEASE}"
    )

    written_by_kaito(control_plane, "written", workerNodes=["gpu-a"])
    (wrote,) = seen_by(team, TEAM)
    assert f"KAITO's manager wrote Workspace {TEAM}/written" in wrote.words


def test_the_number_of_nodes_that_kaito_found_stays_whoever_writes_the_rest(
    control_plane: ControlPlane, team: Path
) -> None:
    stored = written_by_kaito(control_plane, "two-nodes", targetNodeCount=2)

    async def passes() -> Object:
        now, live = datetime.now(UTC), stored
        async with connect(kubeconfig=control_plane.kubeconfig) as client:
            for _ in range(3):
                kept = trim(live)
                new = workspace_status.status(kept, Observed(verdict=node_check.verdict(kept, [])), now)
                name, namespace = key_of(live).name, TEAM
                body = {
                    "apiVersion": live["apiVersion"],
                    "kind": live["kind"],
                    "metadata": {"name": name, "namespace": namespace},
                    "status": new,
                }
                asked = request.apply_status(api.WORKSPACE_V1BETA1, body, manager="kaitoctl-controller")
                live = await client.send(asked)
        return live

    after = asyncio.run(passes())
    assert after["status"]["targetNodeCount"] == 2
    assert after["status"]["conditions"]
