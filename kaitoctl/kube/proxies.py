"""Through which proxy a server is reached: the kubeconfig's, or the environment's as kubectl reads it. Pure.

Source: the rules of Go's golang.org/x/net/http/httpproxy, which kubectl follows.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from kaitoctl.errors import InputError


def checked(url: str, where: str, *, names_scheme: bool = False) -> str:
    """The proxy's URL, `http://` where it names no scheme; empty for none.

    Args:
        url: as somebody wrote it.
        where: where that was, for the message.
        names_scheme: whether it has to: a kubeconfig's must, the environment's need not.

    Raises:
        InputError: it is no URL of a proxy that we can speak to. Its user and password are not told.
    """
    if not url:
        return ""
    whole = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(whole)
        fits = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port out of range, half an IPv6 address
        raise InputError(f"{where} is not the URL of a proxy") from None
    if not fits or (names_scheme and whole is not url):
        raise InputError(f"{where} is not the URL of a proxy")
    if parts.scheme != "http":
        raise InputError(
            f"{where} is a proxy of another kind than http://: {parts.scheme}://{parts.hostname}",
            hint="TLS to the API server goes through an http:// proxy unseen, by CONNECT",
        )
    return whole


def from_environment(address: str, environment: Mapping[str, str]) -> str:
    """The proxy for an https address by HTTPS_PROXY and NO_PROXY, in either case; empty for none.

    Guarantee: what is on this machine is never asked for through a proxy.

    Raises:
        InputError: as `checked`.
    """
    name = next((name for name in ("HTTPS_PROXY", "https_proxy") if environment.get(name)), "")
    where = urlsplit(address)
    if not name or where.scheme != "https":
        return ""
    exempt = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    if _is_exempt((where.hostname or "").rstrip("."), where.port or 443, exempt):
        return ""
    return checked(environment[name], f"${name}")


def is_loopback(host: str) -> bool:
    """Whether the host is this machine, by its address or the one name that always means it."""
    found = _address(host)
    return host == "localhost" if found is None else found.is_loopback


def _is_exempt(host: str, port: int, exempt: str) -> bool:
    if is_loopback(host):
        return True
    for entry in filter(None, (part.strip().lower() for part in exempt.split(","))):
        if entry == "*":
            return True
        name, entry_port = _host_and_port(entry)
        if entry_port and entry_port != str(port):
            continue
        if _matches(host, name):
            return True
    return False


def _host_and_port(entry: str) -> tuple[str, str]:
    if entry.startswith("["):
        name, _, port = entry[1:].partition("]")
        return name, port.removeprefix(":")
    name, colon, port = entry.rpartition(":")
    return (name, port) if colon and port.isdigit() and ":" not in name else (entry, "")


def _matches(host: str, name: str) -> bool:
    address = _address(host)
    if address is not None:
        try:
            return address in ipaddress.ip_network(name, strict=False)
        except ValueError:
            return False
    if name.startswith("*."):
        name = name[1:]
    if name.startswith("."):  # below it, not itself
        return host.endswith(name)
    return host == name or host.endswith(f".{name}")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
