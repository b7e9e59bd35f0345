"""Workspaces that compete for nodes on a real control plane, and manifests that it cannot read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from controlplane.controller import USER, deployed_controller
from controlplane.plane import ControlPlane

from kaitoctl.kaito.api import LABEL_WORKSPACE_NAMESPACE, WORKSPACE
from kaitoctl.kaito.node_claims import names
from kaitoctl.kube.objects import NODE_CLAIM, Object

SPACE = "competition"
SIX = [f"w{number}" for number in range(6)]


def workspace(name: str, inference: Object, **resource: Any) -> Object:
    selector = {"matchLabels": {"apps": "competition"}}
    return {
        "apiVersion": WORKSPACE.api_version,
        "kind": WORKSPACE.kind,
        "metadata": {"name": name, "namespace": SPACE},
        "resource": {"instanceType": "Standard_NC12s_v3", "labelSelector": selector, **resource},
        "inference": inference,
    }


FALCON = {"preset": {"name": "falcon-7b"}}


@pytest.fixture
def plane(control_plane: ControlPlane, tmp_path: Path) -> Iterator[ControlPlane]:
    control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    with deployed_controller(control_plane, tmp_path):
        yield control_plane
        for found in workspaces(control_plane):
            control_plane.do("DELETE", WORKSPACE.path(SPACE, found["metadata"]["name"]))
        # A name of one that is still going would be applied to it, and go with it.
        until(lambda: not workspaces(control_plane), "its Workspaces are gone")
        until(lambda: not claims_of(control_plane), "its nodes are given back")


def until(holds: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + 120
    while not (found := holds()):
        assert time.monotonic() < deadline, what
        time.sleep(0.1)
    return found


def workspaces(plane: ControlPlane) -> list[Object]:
    found: list[Object] = plane.do("GET", WORKSPACE.path(SPACE))["items"]
    return found


def claims_of(plane: ControlPlane) -> list[Object]:
    selector = f"labelSelector={LABEL_WORKSPACE_NAMESPACE}%3D{SPACE}"
    found: list[Object] = plane.do("GET", f"{NODE_CLAIM.path()}?{selector}")["items"]
    return found


def condition(plane: ControlPlane, name: str, kind: str) -> Object:
    found = plane.do("GET", WORKSPACE.path(SPACE, name))
    told: dict[str, Object] = {item["type"]: item for item in found.get("status", {}).get("conditions", ())}
    return told.get(kind, {})


def runs(plane: ControlPlane, name: str) -> bool:
    return bool(condition(plane, name, "WorkspaceSucceeded").get("status") == "True")


def failure(plane: ControlPlane, name: str) -> Object | None:
    found = condition(plane, name, "WorkspaceSucceeded")
    return found if found.get("reason") == "workspaceFailed" else None


def asked(plane: ControlPlane, began: int) -> list[tuple[str, str, str]]:
    """Verb, resource and name of the controller's requests, watches and its Lease aside.

    Of this namespace and of the NodeClaims that its Workspaces may buy, those that are gone again included: a
    controller serves the Workspaces, too, that tests before this one left in other namespaces.
    """
    claims = {name for found in workspaces(plane) for name in islice(names(found), 20)}
    found = []
    for event in plane.audit_events(began):
        about = event.get("objectRef", {})
        if event["user"].get("username") != USER or event["verb"] in ("watch", "list"):
            continue
        name = str(about.get("name"))
        if about.get("namespace") == SPACE or (about.get("resource") == "nodeclaims" and name in claims):
            found.append((str(event["verb"]), str(about.get("resource")), name))
    return found


def test_six_of_a_kind_buy_six_nodes_give_none_back_and_run(plane: ControlPlane) -> None:
    began = plane.audit_mark()
    for name in SIX:
        plane.apply(workspace(name, FALCON))
    for name in SIX:
        until(partial(runs, plane, name), name)
    assert len(claims_of(plane)) == 6
    requests = asked(plane, began)
    of_claims = sorted((verb, name) for verb, resource, name in requests if resource == "nodeclaims")
    assert of_claims == sorted(("patch", claim["metadata"]["name"]) for claim in claims_of(plane))
    at_rest = plane.audit_mark()
    # Anybody's change of a node that all of them could use makes each of them look, and none of them write.
    (claim, *_) = claims_of(plane)
    node = {"metadata": {"annotations": {"somebody": "was-here"}}}
    path = f"/api/v1/nodes/{claim['status']['nodeName']}"
    plane.do("PATCH", path, node, content_type="application/merge-patch+json")
    until(lambda: plane.do("GET", path)["metadata"]["annotations"].get("somebody"), "annotated")
    time.sleep(1)
    assert asked(plane, at_rest) == []


@pytest.mark.parametrize(
    ("container", "field"),
    [
        ({"name": "x", "image": 7}, 'inference.template.spec.containers[name="x"].image'),
        (
            {"name": "x", "image": "x:1", "command": "run"},
            'inference.template.spec.containers[name="x"].command',
        ),
        (
            {"name": "x", "image": "x:1", "surprise": 1},
            "inference.template.spec.containers[0].surprise",  # not even asked
        ),
        (
            {"name": "x", "image": "x:1", "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]},
            'inference.template.spec.containers[name="x"].env',
        ),
    ],
    ids=["number", "text for a list", "unknown", "a key twice"],
)
def test_what_the_server_cannot_read_is_final_and_named(
    plane: ControlPlane, container: Object, field: str
) -> None:
    node: Object = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": "prepared",
            "labels": {"apps": "competition", "node.kubernetes.io/instance-type": "Standard_NC12s_v3"},
        },
    }
    plane.apply(node)
    try:
        plane.apply(workspace("odd", {"template": {"spec": {"containers": [container]}}}))
        told = until(partial(failure, plane, "odd"), f"{field} is not said to be wrong")
        assert field in told["message"], told
        assert "&{" not in told["message"], told
    finally:
        plane.do("DELETE", "/api/v1/nodes/prepared")
