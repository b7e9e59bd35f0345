"""Who leads to all replicas of a set: a Service over their pods, or a gateway before its InferencePool. Pure.

KAITO makes the InferencePool (gate gatewayAPIInferenceExtension); HTTPRoute, Gateway and a Service over the
set are whoever runs the cluster's.

Source: KAITO v0.12.0, `pkg/utils/inferenceset/inferenceset.go` (InferencePoolName).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from kaitoctl.kaito import api
from kaitoctl.kaito.serving import asked_port
from kaitoctl.kube import conditions
from kaitoctl.kube.objects import Kind, Object, ObjectKey, dig, key_of, labels_of

_GATEWAYS = "gateway.networking.k8s.io"
HTTP_ROUTE = Kind(_GATEWAYS, "v1", "HTTPRoute", "httproutes")
GATEWAY = Kind(_GATEWAYS, "v1", "Gateway", "gateways")
_POOL = "InferencePool"
_PREFIX = "PathPrefix"
_API = "/v1"


def service_over(
    name: str, services: Iterable[Object], pods: Iterable[Object], main: Object
) -> Object | None:
    """The Service that leads to the set's pods at the port of a replica's own Service; None without one.

    Args:
        name: of the set.
        services: of its namespace.
        pods: of a replica that serves.
        main: the replica's own Service.
    """
    labels = [labels_of(pod) for pod in pods]
    for service in sorted(services, key=key_of):
        selector = dig(service, "spec", "selector") or {}
        if selector.get(api.LABEL_CREATED_BY_SET) != name:
            continue
        leads_here = any(selector.items() <= one.items() for one in labels)
        if leads_here and _target(service) == _target(main) is not None:
            return service
    return None


def _target(service: Object) -> object:
    port = asked_port(service)
    return None if port is None else port.get("targetPort") or port.get("port")


class Gate(NamedTuple):
    """What a route says of the way through a Gateway to a set's InferencePool.

    Args:
        gateway: of which it is.
        listener: the name of the Gateway's listener; empty for any.
        host: the name that requests must be for; empty for any.
        prefix: of the paths, which the route takes off again; empty for none.
    """

    gateway: ObjectKey
    listener: str
    host: str
    prefix: str


def gates_of(name: str, routes: Iterable[Object]) -> list[Gate]:
    """The ways through Gateways whose routes lead to the set's InferencePool."""
    pool, found = f"{name}-inferencepool", dict[Gate, None]()
    for route in routes:
        host = _one_host(dig(route, "spec", "hostnames") or ())
        if host is None:
            continue
        prefixes = [_prefix(rule) for rule in dig(route, "spec", "rules") or () if _leads_to(rule, pool)]
        refused = [one.get("parentRef") for one in dig(route, "status", "parents") or () if _is_refused(one)]
        for parent in dig(route, "spec", "parentRefs") or ():
            if (
                parent.get("kind", GATEWAY.kind) != GATEWAY.kind
                or not parent.get("name")
                or parent in refused
            ):
                continue
            key = ObjectKey(str(parent.get("namespace") or key_of(route).namespace), str(parent["name"]))
            for prefix in prefixes:
                if prefix is not None:
                    found[Gate(key, str(parent.get("sectionName") or ""), host, prefix)] = None
    return list(found)


def _leads_to(rule: Object, pool: str) -> bool:
    backends = rule.get("backendRefs") or ()
    return any(ref.get("kind") == _POOL and ref.get("name") == pool for ref in backends)


def _prefix(rule: Object) -> str | None:
    """What must stand before the model server's paths; None where no such path gets there.

    Source: Gateway API v1, HTTPRouteRule: a rule without matches is one with the prefix `/`.
    """
    matches: Sequence[Object] = rule.get("matches") or ({},)
    paths: list[Object] = [one.get("path") or {} for one in matches]
    prefixes = [
        str(one.get("value") or "/").rstrip("/") for one in paths if one.get("type", _PREFIX) == _PREFIX
    ]
    if any(_API.startswith(f"{prefix}/") or prefix == _API for prefix in prefixes):
        return ""
    rewrites = [dig(one, "urlRewrite", "path") or {} for one in rule.get("filters") or ()]
    if prefixes and any(one.get("replacePrefixMatch") == "/" for one in rewrites):
        return prefixes[0]
    return None


def _is_refused(parent: Object) -> bool:
    found = conditions.find({"status": parent}, "Accepted")
    return found is not None and found.get("status") == "False"


def _one_host(names: Sequence[str]) -> str | None:
    """A name that requests may be for; empty where any may be, None where all are patterns."""
    return next((name for name in names if not name.startswith("*")), None) if names else ""


def url_of(gateway: Object, gate: Gate) -> str:
    """Where a Gateway takes requests for a set; empty while it has no address."""
    address = dig(gateway, "status", "addresses", 0, "value")
    listeners: list[Object] = [
        one
        for one in dig(gateway, "spec", "listeners") or ()
        if one.get("protocol") in ("HTTP", "HTTPS") and gate.listener in ("", one.get("name"))
    ]
    if not address or not listeners:
        return ""
    first = listeners[0]
    scheme, port = str(first["protocol"]).lower(), first.get("port") or 80
    named = gate.host or _one_host([str(first["hostname"])] if first.get("hostname") else ())
    if named is None:
        return ""
    host = named or str(address)
    host = f"[{host}]" if ":" in host else host
    usual = (scheme, port) in (("http", 80), ("https", 443))
    return f"{scheme}://{host}{'' if usual else f':{port}'}{gate.prefix}"
