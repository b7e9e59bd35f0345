"""The RBAC verb and resource of a request, as an API server sees them."""

from __future__ import annotations

import pytest

from kaitoctl.advice import text
from kaitoctl.kube import request
from kaitoctl.kube.access import Access, access
from kaitoctl.kube.objects import DEPLOYMENT, NODE, NODE_CLAIM, SERVICE
from kaitoctl.kube.request import Request

OBJ = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "ns", "name": "a"}}
CLAIMS = ("karpenter.sh", "nodeclaims")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (request.get(SERVICE, "ns", "a"), Access("get", "", "services", "ns", "a")),
        (Request("GET", SERVICE.path("ns")), Access("list", "", "services", "ns")),
        (Request("GET", NODE.path(), query={"watch": "true"}), Access("watch", "", "nodes")),
        (Request("GET", NODE.path(), query={"watch": "false"}), Access("list", "", "nodes")),
        (request.apply(DEPLOYMENT, OBJ, manager="m"), Access("patch", "apps", "deployments", "ns", "a")),
        (request.create(DEPLOYMENT, OBJ), Access("create", "apps", "deployments", "ns")),
        (request.replace(DEPLOYMENT, OBJ), Access("update", "apps", "deployments", "ns", "a")),
        (request.delete(NODE_CLAIM, "", "c"), Access("delete", *CLAIMS, "", "c")),
        (Request("DELETE", NODE_CLAIM.path()), Access("deletecollection", *CLAIMS)),
        (
            request.apply_status(DEPLOYMENT, OBJ, manager="m"),
            Access("patch", "apps", "deployments/status", "ns", "a"),
        ),
        (Request("GET", "/api/v1/namespaces/ns"), Access("get", "", "namespaces", "", "ns")),
        (Request("GET", "/api/v1/namespaces"), Access("list", "", "namespaces")),
        (Request("GET", "/version"), Access("get", "", "/version")),
        (Request("GET", "/apis/kaito.sh"), Access("get", "", "/apis/kaito.sh")),
    ],
)
def test_a_request_takes_the_right_that_kubernetes_asks_for(asked: Request, expected: Access) -> None:
    assert access(asked.method, asked.path, asked.query) == expected


@pytest.mark.parametrize(
    ("right", "command"),
    [
        (Access("list", "", "nodes"), "kubectl auth can-i list nodes -A"),
        (Access("get", "", "pods/log", "ns", "a"), "kubectl auth can-i get pods --subresource=log -n ns"),
        (
            Access("patch", "kaito.sh", "workspaces", "ns", "w"),
            "kubectl auth can-i patch workspaces.kaito.sh -n ns",
        ),
    ],
)
def test_who_lacks_a_right_is_told_how_to_look_for_it(right: Access, command: str) -> None:
    assert text(right.hint) == f"you need {right.verb} on {right.resource}; check with: {command}"
