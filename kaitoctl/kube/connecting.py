"""How a connection to a server is made: to it, or to the proxy before it."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl as ssl_
from asyncio.sslproto import SSLProtocol
from typing import Any
from urllib.parse import SplitResult, unquote

from kaitoctl.kube import proxies

_ENDS_BY_A_CAUSE = SSLProtocol._abort.__code__.co_argcount > 1
_HAPPY_EYEBALLS_S = 0.25  # as RFC 8305 recommends; for names alone, whose addresses may be of two families


class ProxyFault(ConnectionError):
    """The proxy before the server does not let anybody through; of the server itself nothing is known.

    Args:
        cause: what is wrong, which names the proxy.
        hint: what to look at.
        passes: whether the next try may fare better.
    """

    def __init__(self, cause: str, hint: str, *, passes: bool = False) -> None:
        super().__init__(cause)
        self.hint = hint
        self.passes = passes


async def open_connection(
    connection: asyncio.BaseProtocol, host: str, port: int, ssl: ssl_.SSLContext | None, server_hostname: str
) -> None:
    """Connect a protocol to a host, the faster of IPv6 and IPv4."""
    await asyncio.get_running_loop().create_connection(
        lambda: connection,
        host,
        port,
        ssl=ssl,
        server_hostname=server_hostname if ssl else None,
        happy_eyeballs_delay=None if _is_ip(host) else _HAPPY_EYEBALLS_S,
    )


async def tls_through(
    transport: Any, connection: asyncio.BaseProtocol, ssl: ssl_.SSLContext, server_hostname: str
) -> asyncio.Transport | None:
    """TLS with a server through what leads to it, which may be TLS with a proxy.

    Where asyncio ends TLS inside TLS by a call that it does not take itself, a TypeError hid the cause.
    Source: CPython v3.11.7 and v3.12.1 `Lib/asyncio/sslproto.py`, `_SSLProtocolTransport._force_close`.
    """
    if not _ENDS_BY_A_CAUSE and transport.get_extra_info("ssl_object") is not None:
        transport._force_close = lambda _: transport.abort()
    loop = asyncio.get_running_loop()
    return await loop.start_tls(transport, connection, ssl, server_hostname=server_hostname)


async def socks_socket(
    proxy: SplitResult, proxy_host: str, proxy_port: int, host: str, port: int
) -> socket.socket:
    """A socket to the host through a SOCKS proxy, which looks its name up, as Go's does for either scheme."""
    from python_socks import ProxyError, ProxyType
    from python_socks.async_.asyncio import Proxy

    user, password = unquote(proxy.username or ""), unquote(proxy.password or "")
    socks = Proxy(ProxyType.SOCKS5, proxy_host, proxy_port, user or None, password or None, rdns=True)
    try:
        return await socks.connect(host, port)
    except ProxyError as error:
        raise ProxyFault(*proxies.socks_refusal(proxy_host, proxy_port, str(error))) from None


def _is_ip(host: str) -> bool:
    return ":" in host or (host.isascii() and host.replace(".", "").isdigit())


def proxy_authorization(proxy: SplitResult) -> str:
    """The header line that tells a proxy who asks; empty without a user."""
    if proxy.username is None:
        return ""
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode()}\r\n"
