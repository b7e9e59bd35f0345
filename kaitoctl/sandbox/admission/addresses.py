"""Cluster IPs and node ports of Services."""

from __future__ import annotations

import ipaddress

from kaitoctl.kube.objects import Object
from kaitoctl.sandbox.builtin import SERVICES, Resource
from kaitoctl.sandbox.error_status import Failure, invalid, invalid_value
from kaitoctl.sandbox.store import Event, Store


class Addresses:
    """Cluster IPs and node ports: handed out once each, free again when the Service is gone."""

    _NETWORK = ipaddress.ip_network("10.96.0.0/16")
    _NODE_PORTS = range(30000, 32768)

    def __init__(self, store: Store) -> None:
        self._ips: set[str] = {"10.96.0.1", "10.96.0.10"}  # the API server's and the DNS's
        self._ports: set[int] = set()
        self._next_ip = 10
        for entry in store.entries(SERVICES.name):
            self._on_event(Event("ADDED", entry, None))
        store.listen(SERVICES.name, self._on_event)

    def _on_event(self, event: Event) -> None:
        spec = event.entry.obj["spec"]
        ips = {spec["clusterIP"]} - {"None", ""} if spec.get("clusterIP") else set()
        ports = {port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")}
        if event.type == "DELETED":
            self._ips -= ips
            self._ports -= ports
        else:
            self._ips |= ips
            self._ports |= ports

    def allocate(self, resource: Resource, service: Object, live: Object | None = None) -> None:
        """Give a Service the addresses that it needs and has not chosen itself.

        Raises:
            Failure: 422, what it has chosen is taken or out of range.
        """
        if resource is not SERVICES:
            return
        spec = service["spec"]
        if spec["type"] == "ExternalName":
            return
        chosen = spec.get("clusterIP")
        if not chosen:
            chosen = self._free_ip()
        elif chosen != "None" and (live is None or live["spec"].get("clusterIP") != chosen):
            self._must_be_free(service, chosen)
        spec["clusterIP"] = chosen
        spec.setdefault("clusterIPs", [chosen])
        # Whoever is headless and chooses no pods says itself where it leads, in either family.
        is_open = chosen == "None" and not spec.get("selector")
        spec.setdefault("ipFamilies", ["IPv4", "IPv6"] if is_open else ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "RequireDualStack" if is_open else "SingleStack")
        if spec["type"] in ("NodePort", "LoadBalancer"):
            for port in spec.get("ports") or ():
                if not port.get("nodePort"):
                    port["nodePort"] = next(
                        number for number in self._NODE_PORTS if number not in self._ports
                    )
                self._ports.add(port["nodePort"])

    def _free_ip(self) -> str:
        for _ in range(self._NETWORK.num_addresses):
            self._next_ip = self._next_ip % (self._NETWORK.num_addresses - 2) + 1
            address = str(self._NETWORK[self._next_ip])
            if address not in self._ips:
                return address
        raise Failure(500, "InternalError", "failed to allocate a serviceIP: range is full")

    def _must_be_free(self, service: Object, address: str) -> None:
        why = ""
        if ipaddress.ip_address(address) not in self._NETWORK:
            why = f"the provided IP ({address}) is not in the valid range {self._NETWORK}"
        if address in self._ips:
            why = f"failed to allocate IP {address}: provided IP is already allocated"
        if why:
            name = service["metadata"]["name"]
            raise invalid("Service", "", name, [invalid_value("spec.clusterIPs", [address], why)])
