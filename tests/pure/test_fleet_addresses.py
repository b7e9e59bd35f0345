"""What leads to all replicas of a set: a Service over their pods, a gateway before its InferencePool."""

from __future__ import annotations

from typing import Any

import pytest

from kaitoctl.kaito.fleet.addresses import gateways_of, service_over, url_of
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


def route(backend: str, *parents: Any, kind: str = "InferencePool") -> Any:
    rules = [{"backendRefs": [{"kind": kind, "name": backend}]}]
    spec = {"parentRefs": list(parents), "rules": rules}
    return {"metadata": {"name": "r", "namespace": "default"}, "spec": spec}


def test_a_gateway_is_found_by_its_route_to_the_pool() -> None:
    gate, far = {"name": "gate"}, {"name": "far", "namespace": "edge", "kind": "Gateway"}
    mesh = {"name": "mesh", "kind": "Service"}
    routes = [route("phis-inferencepool", gate, far, mesh), route("phi-inferencepool", {"name": "other"})]
    routes.append(route("phis-inferencepool", {"name": "no"}, kind="Service"))
    assert gateways_of("phis", routes) == [ObjectKey("default", "gate"), ObjectKey("edge", "far")]


@pytest.mark.parametrize(
    ("address", "listener", "url"),
    [
        ("203.0.113.5", {"protocol": "HTTP", "port": 80}, "http://203.0.113.5"),
        ("203.0.113.5", {"protocol": "HTTPS", "port": 8443}, "https://203.0.113.5:8443"),
        ("2001:db8::1", {"protocol": "HTTP", "port": 80}, "http://[2001:db8::1]"),
        (None, {"protocol": "HTTP", "port": 80}, ""),
    ],
)
def test_where_a_gateway_takes_requests(address: str | None, listener: Any, url: str) -> None:
    status = {"addresses": [{"value": address}] if address else []}
    gateway = {"spec": {"listeners": [{"protocol": "TCP", "port": 1}, listener]}, "status": status}
    assert url_of(gateway) == url
