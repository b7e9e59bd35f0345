"""Endpoints and EndpointSlices of Services: where the ready pods behind a selector can be reached.

Services of type LoadBalancer also get an address, from the range that is reserved for documentation.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Mapping
from typing import Any

from msgspec import Struct

from kaitoctl.kube.objects import (
    ENDPOINT_SLICE,
    ENDPOINTS,
    SERVICE,
    Kind,
    Object,
    ObjectKey,
    dig,
    is_being_deleted,
    key_of,
    labels_of,
    owner_reference,
)
from kaitoctl.kube.pod_state import is_finished
from kaitoctl.kube.request import Request, create
from kaitoctl.reconcile.controller import Outcome
from kaitoctl.sandbox.workloads import pods
from kaitoctl.sandbox.workloads.pods import Writes

_MANAGER = "endpoints-controller"


class ServiceEndpoints(Struct, frozen=True):
    """Reconciles one Service with a selector.

    Args:
        services: store of all Services.
        pods: store of all pods.
        endpoints: store of all Endpoints.
        slices: store of all EndpointSlices.
    """

    services: Mapping[ObjectKey, Object]
    pods: Mapping[ObjectKey, Object]
    endpoints: Mapping[ObjectKey, Object]
    slices: Mapping[ObjectKey, Object]

    def reconcile(self, key: ObjectKey) -> Generator[Request, Object, Outcome]:
        """Write both forms when they are not as they should be."""
        service = self.services.get(key)
        if service is None or is_being_deleted(service):
            return Outcome()
        yield from self._addresses(service)
        if not dig(service, "spec", "selector"):
            return Outcome()
        chosen = behind(service, self.pods)
        for kind, store, wanted in (
            (ENDPOINTS, self.endpoints, endpoints_of(service, chosen)),
            (ENDPOINT_SLICE, self.slices, slice_of(service, chosen)),
        ):
            observed = store.get(key_of(wanted))
            if observed is None:
                yield create(kind, wanted)
            elif differing := {
                name: value
                for name, value in wanted.items()
                if name not in ("metadata", "apiVersion", "kind") and observed.get(name, []) != value
            }:
                yield pods.spec_patch(kind, observed, differing, manager=_MANAGER)
        return Outcome()

    def _addresses(self, service: Object) -> Writes:
        if dig(service, "spec", "type") != "LoadBalancer" or dig(
            service, "status", "loadBalancer", "ingress"
        ):
            return
        address = f"198.51.100.{1 + zlib.crc32(str(key_of(service)).encode()) % 254}"
        status = {**(service.get("status") or {}), "loadBalancer": {"ingress": [{"ip": address}]}}
        yield from pods.status_patch(SERVICE, service, status, manager="service-controller")


def behind(service: Object, all_pods: Mapping[ObjectKey, Object]) -> list[Object]:
    """The pods that a Service selects and that have an address; none for one without a selector."""
    selector = dig(service, "spec", "selector") or {}
    return [
        pod
        for key, pod in sorted(all_pods.items())
        if selector
        and key.namespace == key_of(service).namespace
        and dig(pod, "status", "podIP")
        and not is_finished(pod)
        and selector.items() <= labels_of(pod).items()
    ]


def keys_of_pod(services: Mapping[ObjectKey, Object]) -> Callable[[Object], list[ObjectKey]]:
    """The Services that select a pod."""

    def keys(pod: Object) -> list[ObjectKey]:
        labels, namespace = labels_of(pod).items(), key_of(pod).namespace
        return [
            key
            for key, service in services.items()
            if key.namespace == namespace
            and (selector := dig(service, "spec", "selector"))
            and selector.items() <= labels
        ]

    return keys


def keys_of_slice(slice_: Object) -> list[ObjectKey]:
    """The Service of an EndpointSlice."""
    name = labels_of(slice_).get("kubernetes.io/service-name")
    return [ObjectKey(key_of(slice_).namespace, name)] if name else []


def endpoints_of(service: Object, behind: list[Object]) -> Object:
    """The Endpoints object for the pods behind a Service."""
    ready = [_address(pod) for pod in behind if _serves(service, pod)]
    others = [_address(pod) for pod in behind if not _serves(service, pod) and not is_being_deleted(pod)]
    subset: Object = {}
    if ready:
        subset["addresses"] = ready
    if others:
        subset["notReadyAddresses"] = others
    if subset and (ports := _ports(service, behind)):
        subset["ports"] = ports
    return _child(service, ENDPOINTS, key_of(service).name, {}) | {"subsets": [subset] if subset else []}


def slice_of(service: Object, behind: list[Object]) -> Object:
    """The EndpointSlice for the pods behind a Service."""
    key = key_of(service)
    labels = {
        "kubernetes.io/service-name": key.name,
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    name = f"{key.name}-{pods.short_hash(str(key), 5)}"
    return _child(service, ENDPOINT_SLICE, name, labels) | {
        "addressType": "IPv4",
        "endpoints": [
            {
                "addresses": [dig(pod, "status", "podIP")],
                "conditions": {
                    "ready": _serves(service, pod),
                    "serving": pods.is_ready(pod),
                    "terminating": is_being_deleted(pod),
                },
                "nodeName": dig(pod, "spec", "nodeName"),
                "targetRef": _reference(pod),
            }
            for pod in behind
        ],
        "ports": _ports(service, behind),
    }


def _serves(service: Object, pod: Object) -> bool:
    if dig(service, "spec", "publishNotReadyAddresses"):
        return True
    return pods.is_ready(pod) and not is_being_deleted(pod)


def _address(pod: Object) -> Object:
    address: Object = {"ip": dig(pod, "status", "podIP"), "targetRef": _reference(pod)}
    if node := dig(pod, "spec", "nodeName"):
        address["nodeName"] = node
    if hostname := dig(pod, "spec", "hostname"):
        address["hostname"] = hostname
    return address


def _reference(pod: Object) -> Object:
    key = key_of(pod)
    return {"kind": "Pod", "namespace": key.namespace, "name": key.name, "uid": pod["metadata"].get("uid")}


def _ports(service: Object, behind: list[Object]) -> list[Object]:
    found = []
    for port in dig(service, "spec", "ports") or ():
        number = _target(port, behind)
        if number is not None:
            named = {"name": port["name"]} if port.get("name") else {}
            found.append({**named, "port": number, "protocol": port.get("protocol") or "TCP"})
    return found


def _target(port: Object, behind: list[Object]) -> int | None:
    """A Service port's number on the pods; a name is looked up in the first pod that has it."""
    target: Any = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target
    for pod in behind:
        for container in dig(pod, "spec", "containers") or ():
            for offered in container.get("ports") or ():
                if offered.get("name") == target:
                    return int(offered["containerPort"])
    return None


def _child(service: Object, kind: Kind, name: str, labels: Mapping[str, str]) -> Object:
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {
            "name": name,
            "namespace": key_of(service).namespace,
            "labels": {**labels_of(service), **labels},
            "ownerReferences": [owner_reference(service)],
        },
    }
