"""What leads to all replicas of a set: a Service over their pods, a gateway before its InferencePool."""

from __future__ import annotations

from typing import Any

import pytest

from kaitoctl.kaito.fleet.addresses import Gate, gates_of, service_over, url_of
from kaitoctl.kube.objects import ObjectKey

LABELS = {"kaito.sh/workspace": "phis-a", "inferenceset.kaito.sh/created-by": "phis"}
POD = {"metadata": {"name": "phis-a-0", "namespace": "default", "labels": LABELS}}


def service(name: str, selector: Any, **port: Any) -> Any:
    spec = {"selector": selector, "ports": [{"port": 80, "targetPort": 5000, **port}]}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}


MAIN = service("phis-a", {"kaito.sh/workspace": "phis-a"})


def over(*services: Any) -> Any:
    found = service_over("phis", services, [POD], MAIN)
    return found and found["metadata"]["name"]


def test_a_service_over_the_set_is_found_by_its_selector() -> None:
    of_set = {"inferenceset.kaito.sh/created-by": "phis"}
    assert over(MAIN) is None
    assert over(MAIN, service("all", of_set)) == "all"
    assert over(service("all", {**of_set, "tier": "x"})) is None, "it leads to none of its pods"
    assert over(service("all", of_set, targetPort=9)) is None, "nobody listens there"
    assert over(service("others", {"inferenceset.kaito.sh/created-by": "phi"})) is None


def route(backend: str, *parents: Any, kind: str = "InferencePool", **more: Any) -> Any:
    rule = {"backendRefs": [{"kind": kind, "name": backend}], **more.pop("rule", {})}
    spec = {"parentRefs": list(parents), "rules": [rule], **more}
    return {"metadata": {"name": "r", "namespace": "default"}, "spec": spec}


GATE = {"name": "gate"}
POOL = "phis-inferencepool"
TO_GATE = Gate(ObjectKey("default", "gate"), "", "", "")


def test_a_gateway_is_found_by_its_route_to_the_pool() -> None:
    far = {"name": "far", "namespace": "edge", "kind": "Gateway", "sectionName": "web"}
    mesh = {"name": "mesh", "kind": "Service"}
    routes = [route(POOL, GATE, far, mesh), route("phi-inferencepool", {"name": "other"})]
    routes.append(route(POOL, {"name": "no"}, kind="Service"))
    assert gates_of("phis", routes) == [TO_GATE, Gate(ObjectKey("edge", "far"), "web", "", "")]
    condition = {"type": "Accepted", "status": "False", "reason": "NotAllowedByListeners"}
    refused = {**route(POOL, GATE), "status": {"parents": [{"parentRef": GATE, "conditions": [condition]}]}}
    assert gates_of("phis", [refused]) == []


def under(value: str, kind: str = "PathPrefix", **filters: Any) -> Any:
    rule = {"matches": [{"path": {"type": kind, "value": value}}]}
    return {**rule, "filters": [{"type": "URLRewrite", "urlRewrite": {"path": filters}}]} if filters else rule


@pytest.mark.parametrize(
    ("rule", "prefix"),
    [
        ({}, ""),
        (under("/"), ""),
        (under("/v1"), ""),
        (under("/v1/"), ""),
        (under("/phis", replacePrefixMatch="/"), "/phis"),
        (under("/phis"), None),  # the model server has no such path
        (under("/v1beta"), None),
        (under("/health", "Exact"), None),
    ],
)
def test_the_paths_that_a_route_takes(rule: Any, prefix: str | None) -> None:
    found = [gate.prefix for gate in gates_of("phis", [route(POOL, GATE, rule=rule)])]
    assert found == ([] if prefix is None else [prefix])


@pytest.mark.parametrize(
    ("names", "hosts"), [(["*.example", "a.example"], ["a.example"]), (["*.example"], [])]
)
def test_the_name_that_requests_must_be_for(names: list[str], hosts: list[str]) -> None:
    assert [gate.host for gate in gates_of("phis", [route(POOL, GATE, hostnames=names)])] == hosts


HTTP, TLS = (
    {"name": "web", "protocol": "HTTP", "port": 80},
    {"name": "tls", "protocol": "HTTPS", "port": 8443},
)


@pytest.mark.parametrize(
    ("address", "listeners", "gate", "url"),
    [
        ("203.0.113.5", [HTTP], TO_GATE, "http://203.0.113.5"),
        ("203.0.113.5", [TLS], TO_GATE, "https://203.0.113.5:8443"),
        ("203.0.113.5", [HTTP, TLS], TO_GATE._replace(listener="tls"), "https://203.0.113.5:8443"),
        ("203.0.113.5", [HTTP], TO_GATE._replace(listener="gone"), ""),
        ("203.0.113.5", [HTTP], TO_GATE._replace(host="a.example", prefix="/phis"), "http://a.example/phis"),
        ("203.0.113.5", [{**HTTP, "hostname": "b.example"}], TO_GATE, "http://b.example"),
        ("203.0.113.5", [{**HTTP, "hostname": "*.example"}], TO_GATE, ""),
        ("2001:db8::1", [HTTP], TO_GATE, "http://[2001:db8::1]"),
        (None, [HTTP], TO_GATE, ""),
    ],
)
def test_where_a_gateway_takes_requests(address: str | None, listeners: Any, gate: Gate, url: str) -> None:
    status = {"addresses": [{"value": address}] if address else []}
    others = [{"protocol": "TCP", "port": 1, "name": "raw"}, *listeners]
    assert url_of({"spec": {"listeners": others}, "status": status}, gate) == url
