"""Through which proxy a server is reached: the kubeconfig's, or the environment's as kubectl reads it. Pure.

Source: the rules of Go's golang.org/x/net/http/httpproxy and net/http, which kubectl follows, and
k8s.io/client-go `tools/clientcmd/client_config.go`, parseProxyURL.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from kaitoctl.errors import InputError

_KINDS = ("http", "https", "socks5")


def check_url(url: str, where: str, *, names_scheme: bool = False) -> str:
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
    kinds = _KINDS if names_scheme else (*_KINDS, "socks5h")
    if parts.scheme not in kinds:
        raise InputError(
            f"{where} is a proxy of another kind than {', '.join(kinds)}: {parts.scheme}://{parts.hostname}"
        )
    return whole


def from_environment(address: str, environment: Mapping[str, str]) -> str:
    """The proxy for an https address by HTTPS_PROXY and NO_PROXY, in either case; empty for none.

    Guarantee: what is on this machine is never asked for through a proxy.

    Raises:
        InputError: as `check_url`.
    """
    name = next((name for name in ("HTTPS_PROXY", "https_proxy") if environment.get(name)), "")
    where = urlsplit(address)
    if not name or where.scheme != "https":
        return ""
    exempt = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    if _is_exempt((where.hostname or "").rstrip("."), where.port or 443, exempt):
        return ""
    return check_url(environment[name], f"${name}")


_WHICH = "HTTPS_PROXY or the kubeconfig's proxy-url names the proxy, and NO_PROXY what bypasses it"
# What a proxy answers to CONNECT. Source: RFC 9110 9.3.6, and what Squid, Envoy and tinyproxy make of it.
_REFUSALS = {
    400: "it takes no CONNECT: is it a proxy, and not a web server?",
    401: "it requires a user and a password",
    403: "it denies connections to this host and port: ask who runs it",
    404: "it takes no CONNECT: is it a proxy, and not a web server?",
    405: "it takes no CONNECT: is it a proxy, and not a web server?",
    407: "it requires a user and a password: http://USER:PASSWORD@HOST:PORT",
    429: "it is too busy",
    500: "it has failed",
    501: "it takes no CONNECT: is it a proxy, and not a web server?",
    502: "it cannot reach the API server",
    503: "it cannot reach the API server, or is too busy",
    504: "the API server does not answer it",
}


def fault(host: str, port: int, words: str, *, is_connected: bool) -> tuple[str, str]:
    """What is wrong with a proxy that lets nobody through, and what to look at.

    Args:
        host: of the proxy.
        port: of the proxy.
        words: what became of the connection to it.
        is_connected: whether there was one.
    """
    where = f"{_in_brackets(host)}:{port}"
    if is_connected:
        what = f"the proxy {where} does not answer CONNECT as a proxy does: {words}"
        return what, f"is it an http:// proxy? {_WHICH}"
    return f"the proxy {where} cannot be reached: {words}", f"does it run? {_WHICH}"


def refusal(host: str, port: int, status: int) -> tuple[str, str]:
    """The same of a proxy that answers with a status of HTTP."""
    why = _REFUSALS.get(status, "check what it logs")
    return f"the proxy {_in_brackets(host)}:{port} answered HTTP {status}", f"{why}; {_WHICH}"


def socks_refusal(host: str, port: int, words: str) -> tuple[str, str]:
    """The same of a SOCKS proxy that answers and leads nowhere."""
    return f"the proxy {_in_brackets(host)}:{port} refuses: {words}", f"may it reach the server? {_WHICH}"


def _in_brackets(host: str) -> str:
    return f"[{host}]" if ":" in host else host


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
    return (name, port) if colon and port.isascii() and port.isdigit() and ":" not in name else (entry, "")


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
