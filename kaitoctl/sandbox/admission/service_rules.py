"""What is wrong with a Service that has its defaults. Pure, and changes nothing."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from kaitoctl.kube.objects import Object
from kaitoctl.sandbox.admission.defaults import is_reached_from_outside
from kaitoctl.sandbox.admission.names import key_causes, label_value_causes
from kaitoctl.sandbox.error_status import (
    duplicate,
    forbidden_field,
    invalid,
    invalid_value,
    required,
    unsupported,
)

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_AFFINITIES = ("ClientIP", "None")
_PROTOCOLS = ("SCTP", "TCP", "UDP")


def service_causes(obj: Object, live: Object | None) -> Iterator[Object]:
    """What is wrong with a Service.

    Raises:
        Failure: 422, its address is none; all else is judged later.
    """
    spec = obj["spec"]
    kind, address = spec["type"], spec.get("clusterIP")
    if address and address != "None" and not _is_address(address):
        cause = invalid_value("spec.clusterIPs[0]", address, "must be a valid IP address")
        raise invalid("Service", "", obj["metadata"]["name"], [cause])
    if kind not in _TYPES:
        yield unsupported("spec.type", kind, _TYPES)
    was = live["spec"].get("clusterIP") if live is not None and kind != "ExternalName" else None
    if was and address != was:
        yield invalid_value("spec.clusterIPs[0]", address, "may not change once set")
    for key, value in (spec.get("selector") or {}).items():
        yield from key_causes("spec.selector", key)
        yield from label_value_causes("spec.selector", value)
    for position, outside in enumerate(spec.get("externalIPs") or ()):
        if not _is_address(outside):
            yield invalid_value(f"spec.externalIPs[{position}]", outside, "must be a valid IP address")
    if kind == "ExternalName" and not spec.get("externalName"):
        yield required("spec.externalName")
    if spec["sessionAffinity"] not in _AFFINITIES:
        yield unsupported("spec.sessionAffinity", spec["sessionAffinity"], _AFFINITIES)
    if spec.get("externalTrafficPolicy") and not is_reached_from_outside(spec):
        why = "may only be set for externally-accessible services"
        yield invalid_value("spec.externalTrafficPolicy", spec["externalTrafficPolicy"], why)
    if not spec.get("ports") and address != "None" and kind != "ExternalName":
        yield required("spec.ports")
    names: set[str] = set()
    used: set[tuple[Any, str]] = set()
    for position, port in enumerate(spec.get("ports") or ()):
        at = f"spec.ports[{position}]"
        yield from _port_causes(port, kind, at)
        yield from _sibling_causes(port, used, names, len(spec["ports"]) > 1, at)


def _port_causes(port: Object, kind: str, at: str) -> Iterator[Object]:
    number, target = port.get("port"), port["targetPort"]
    if not isinstance(number, int) or not 1 <= number <= 65535:
        yield invalid_value(f"{at}.port", number, "must be between 1 and 65535, inclusive")
    if kind == "ClusterIP" and port.get("nodePort"):
        yield forbidden_field(f"{at}.nodePort", "may not be used when `type` is ClusterIP")
    if port["protocol"] not in _PROTOCOLS:
        yield unsupported(f"{at}.protocol", port["protocol"], _PROTOCOLS)
    if isinstance(target, int) and not 1 <= target <= 65535:
        yield invalid_value(f"{at}.targetPort", target, "must be between 1 and 65535, inclusive")


def _sibling_causes(
    port: Object, used: set[tuple[Any, str]], names: set[str], is_one_of_several: bool, at: str
) -> Iterator[Object]:
    what = port.get("port"), port["protocol"]
    if what in used:
        yield duplicate(at, {"port": what[0], "protocol": what[1]})
    used.add(what)
    if is_one_of_several and not port.get("name"):
        yield required(f"{at}.name")
    elif port.get("name") and port["name"] in names:
        yield duplicate(f"{at}.name", port["name"])
    names.add(port.get("name", ""))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
