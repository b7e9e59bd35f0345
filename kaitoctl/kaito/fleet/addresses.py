"""Who leads to all replicas of a set: a Service over their pods, or a gateway before its InferencePool. Pure.

KAITO makes the InferencePool (gate gatewayAPIInferenceExtension); HTTPRoute, Gateway and a Service over the
set are whoever runs the cluster's.

Source: KAITO v0.12.0, `pkg/utils/inferenceset/inferenceset.go` (InferencePoolName).
"""

from __future__ import annotations

from collections.abc import Iterable

from kaitoctl.kaito import api
from kaitoctl.kaito.serving import asked_port
from kaitoctl.kube.objects import Kind, Object, ObjectKey, dig, key_of, labels_of

_GATEWAYS = "gateway.networking.k8s.io"
HTTP_ROUTE = Kind(_GATEWAYS, "v1", "HTTPRoute", "httproutes")
GATEWAY = Kind(_GATEWAYS, "v1", "Gateway", "gateways")
_POOL = "InferencePool"


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


def gateways_of(name: str, routes: Iterable[Object]) -> list[ObjectKey]:
    """The Gateways whose routes lead to the set's InferencePool."""
    pool, found = f"{name}-inferencepool", dict[ObjectKey, None]()
    for route in routes:
        rules = dig(route, "spec", "rules") or ()
        backends = [ref for rule in rules for ref in rule.get("backendRefs") or ()]
        if not any(ref.get("kind") == _POOL and ref.get("name") == pool for ref in backends):
            continue
        for parent in dig(route, "spec", "parentRefs") or ():
            if parent.get("kind", GATEWAY.kind) == GATEWAY.kind and parent.get("name"):
                space = str(parent.get("namespace") or key_of(route).namespace)
                found[ObjectKey(space, str(parent["name"]))] = None
    return list(found)


def url_of(gateway: Object) -> str:
    """Where a Gateway takes requests; empty while it has no address."""
    address = dig(gateway, "status", "addresses", 0, "value")
    if not address:
        return ""
    listeners = dig(gateway, "spec", "listeners") or ()
    first: Object = next((one for one in listeners if one.get("protocol") in ("HTTP", "HTTPS")), {})
    scheme, port = str(first.get("protocol") or "HTTP").lower(), first.get("port") or 80
    host = f"[{address}]" if ":" in str(address) else str(address)
    return (
        f"{scheme}://{host}"
        if (scheme, port) in (("http", 80), ("https", 443))
        else f"{scheme}://{host}:{port}"
    )
