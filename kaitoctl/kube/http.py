"""HTTP/1.1 as a client of one API server needs it, over asyncio: kept connections, streams, TLS, a proxy.

httptools (the parser of Node.js) reads what comes; here is what is done with it. aiohttp, which would do
that too, takes 200 ms to import and 140 us of CPU for a request (docs/adr/0011). What no API server asks for
is not here: redirects are answers like others, there are no cookies, and nothing is repeated but a GET on a
kept connection that the server has just closed.
"""

from __future__ import annotations

import asyncio
import socket
import ssl as ssl_
import zlib
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import SplitResult, urlsplit
from weakref import WeakSet

import httptools

from kaitoctl.kube import connecting, proxies, tls
from kaitoctl.kube.connecting import ProxyFault
from kaitoctl.kube.request import quote_target

_LONGEST_HEAD = 64 * 1024
_MUCH = 1024 * 1024  # unread; the peer is made to wait
_LARGE = 256 * 1024
_LARGEST_ANSWER = 512 * 1024 * 1024  # a page of 500 objects has some 10 MiB; none is larger than 1.5 MiB
_READ = frozenset(
    {b"content-encoding", b"content-length", b"date", b"retry-after", b"transfer-encoding", b"warning"}
)
_KEPT_FOR_S = 15.0  # shorter than servers keep them, so that no request meets one that is being closed


class Broken(ConnectionError):
    """The connection ended, or what came through it is not HTTP."""


class TooLarge(OSError):
    """An answer that no API server gives, and that would fill the memory."""

    def __init__(self) -> None:
        super().__init__(f"an answer of more than {_LARGEST_ANSWER // 1024**2} MiB")


class _Connection(asyncio.Protocol):
    """One connection, and what has come so far of the answer to its present request."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.idle_since = 0.0
        self.is_used = False
        self._parser: Any = None
        self._waiter: asyncio.Future[None] | None = None
        self._waits_since = 0.0
        self._is_over = False
        self._error = ""
        self._is_paused = False
        self.is_complete = self._is_kept = False
        self.expect_answer()

    def expect_answer(self) -> None:
        """Begin again: what comes from now on is another answer."""
        if not (self.is_complete and self._is_kept):  # else it waits for the next message by itself
            self._parser = httptools.HttpResponseParser(self)
        self.status, self.headers = 0, dict[str, str]()
        self.received = 0  # bytes of the head
        self.has_head = self.is_complete = self._is_kept = False
        self._body = bytearray()

    # --- told by the event loop ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.is_complete:
            self._fail("the server sent more than it was asked for")
            return
        if not self.has_head:
            self.received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail("the server answered something that is not HTTP")
        if not self.has_head and self.received > _LONGEST_HEAD:
            self._fail("the server answered something that is not HTTP")
        if self._waiter is None and len(self._body) > _MUCH and not self._is_paused:
            self._is_paused = True
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self._is_over = True
        if self.has_head and not self.headers.keys() & {"content-length", "transfer-encoding"}:
            self.is_complete = True  # an answer that says no length goes on until the end
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_over = True
        if exc is not None:
            self._error = self._error or str(exc)
        else:
            self.eof_received()
        self._wake()

    def _fail(self, why: str) -> None:
        self._is_over, self._error = True, why

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- told by the parser ---

    def on_message_begin(self) -> None:
        if self.is_complete:
            self._fail("the server sent more than it was asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() not in _READ:
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status < 200:  # 100 Continue and the like announce the answer
            self.headers.clear()
        else:
            self.has_head = True

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self.is_complete = self.has_head
        self._is_kept = self._parser.should_keep_alive()

    # --- asked by `Answer` and `Pool` ---

    @property
    def is_reusable(self) -> bool:
        """Whether another request may be sent: it is open, the answer whole, and nothing unasked has come."""
        return not self._is_over and self.is_complete and self._is_kept

    async def head(self) -> None:
        """Wait for the head of the answer."""
        while not self.has_head:
            await self._more()

    async def whole(self) -> bytes | bytearray:
        """Wait for the rest of the answer; returns what is unread of its body."""
        while not self.is_complete:
            if len(self._body) > _LARGEST_ANSWER:
                raise TooLarge
            await self._more()
        if len(self._body) < _LARGE:
            return self._take_body()
        if self._error:
            raise Broken(self._error)
        taken, self._body = self._body, bytearray()  # a copy of it would be as large again
        return taken

    async def some(self) -> bytes:
        """What is unread of the body, and that is something; empty at its end."""
        while not self._body and not self.is_complete:
            await self._more()
        return self._take_body()

    @contextmanager
    def heard_within(self, silent_s: float) -> Iterator[None]:
        """Let waiting end in a TimeoutError after so many seconds: one timer for all that comes.

        A stream has thousands of pieces, and a timer for each would cost as much as the piece.
        """
        loop = asyncio.get_running_loop()

        def look() -> None:
            waiter = self._waiter if self._waiter is not None and not self._waiter.done() else None
            left_s = silent_s if waiter is None else self._waits_since + silent_s - loop.time()
            if waiter is not None and left_s <= 0:
                waiter.set_exception(TimeoutError())
            else:
                timers.append(loop.call_later(left_s, look))
            del timers[0]

        timers = [loop.call_later(silent_s, look)]
        try:
            yield
        finally:
            for timer in timers:
                timer.cancel()

    def _take_body(self) -> bytes:
        if self._error:
            raise Broken(self._error)
        taken = bytes(self._body)
        self._body.clear()
        return taken

    async def _more(self) -> None:
        if self._is_over:
            raise Broken(self._error or "the server closed the connection")
        if self._is_paused:
            self._is_paused = False
            self.transport.resume_reading()
        loop = asyncio.get_running_loop()
        self._waiter, self._waits_since = loop.create_future(), loop.time()
        try:
            await self._waiter
        finally:
            self._waiter = None


class Answer:
    """An answer whose head has arrived. Call `close` when done with it, read or not.

    Of its headers there are those that somebody reads: `_READ`.
    """

    def __init__(self, pool: Pool, connection: _Connection) -> None:
        self.status, self.headers = connection.status, connection.headers
        self._pool = pool
        self._connection = connection
        self._is_gzipped = self.headers.get("content-encoding", "").lower() == "gzip"

    async def read(self) -> bytes | bytearray:
        """The whole body.

        Raises:
            Broken: the connection ended in the middle of it.
            TooLarge: it would fill the memory.
        """
        body = await self._connection.whole()
        if not self._is_gzipped or not body:
            return body
        try:
            unpacking = zlib.decompressobj(wbits=31)
            unpacked = unpacking.decompress(body, _LARGEST_ANSWER)
        except zlib.error as error:
            raise Broken(f"the server's answer is not valid gzip: {error}") from None
        if unpacking.unconsumed_tail:
            raise TooLarge
        if not unpacking.eof:
            raise Broken("the server answered half of what it has packed by gzip")
        return unpacked

    async def chunks(self, silent_s: float) -> AsyncGenerator[bytes, None]:
        """The body as it comes.

        Raises:
            Broken: the connection ended in the middle of it.
            TimeoutError: nothing came for so many seconds.
        """
        with self._connection.heard_within(silent_s):
            while chunk := await self._connection.some():
                yield chunk

    def close(self) -> None:
        """Give the connection back if it can be used again, else end it."""
        if self._connection.is_reusable:
            self._pool.give_back(self._connection)
        else:
            self._connection.transport.abort()


class Pool:
    """Connections to one server, kept for further requests.

    Args:
        address: `http(s)://host[:port][/path]`; the path begins every target.
        ssl: for https.
        server_hostname: whose certificate it must be; the address's host when empty.
        proxy: `scheme://[user:password@]host:port`, through which everything goes; empty for none. The
            schemes are http, https, and socks5 or socks5h.
        proxy_ssl: for an https proxy.
        connect_timeout_s: for each connection.
        more: headers that go with every request; the only ones that may come more than once.
    """

    def __init__(
        self,
        address: str,
        *,
        ssl: ssl_.SSLContext | None,
        server_hostname: str = "",
        proxy: str = "",
        proxy_ssl: ssl_.SSLContext | None = None,
        connect_timeout_s: float,
        more: Sequence[tuple[str, str]] = (),
    ) -> None:
        where = urlsplit(address)
        self._ssl = ssl
        self._host = where.hostname or ""
        self._port = where.port or (443 if ssl else 80)
        self._server_hostname = server_hostname or self._host
        self._proxy = urlsplit(proxy) if proxy else None
        self._proxy_ssl = proxy_ssl
        is_http_proxy = self._proxy is not None and self._proxy.scheme in ("http", "https")
        self._connect_timeout_s = connect_timeout_s
        self._more = "".join([f"{name}: {value}\r\n" for name, value in more])
        self._lines = len(more)
        self._idle: list[_Connection] = []
        self._open: WeakSet[_Connection] = WeakSet()
        authority = where.netloc.rpartition("@")[2]
        # A proxy that sees the request is told where it goes.
        whole = f"http://{authority}" if is_http_proxy and ssl is None else ""
        self._prefix = whole + quote_target(where.path.rstrip("/"))
        self._greeting = f" HTTP/1.1\r\nHost: {authority}\r\n"
        if self._proxy and is_http_proxy and ssl is None:
            self._greeting += connecting.proxy_authorization(self._proxy)

    async def ask(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Answer:
        """Send a request; returns when the head of its answer has arrived.

        Raises:
            Broken: the connection ended.
            OSError: there is no connection to be had; of ssl.SSLError when it cannot be trusted.
            TimeoutError: there was none in time.
        """
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()]) + self._more
        if body is not None:
            lines += f"Content-Length: {len(body)}\r\n"
        if (
            "\r" in target
            or "\n" in target
            or lines.count("\n") != self._lines + len(headers) + (body is not None)
        ):
            raise ValueError("a header or target with a line break")
        try:
            request = f"{method} {self._prefix}{quote_target(target)}{self._greeting}{lines}\r\n".encode()
        except UnicodeEncodeError:  # it holds the whole text, secrets and all
            raise ValueError("a header or target that is not Unicode") from None
        while True:
            connection = self._take() or await self._connect()
            connection.expect_answer()
            try:
                connection.transport.write(request + body if body else request)
                await connection.head()
                return Answer(self, connection)
            except Broken:
                connection.transport.abort()
                if not connection.is_used or connection.received or method != "GET":
                    raise
            except BaseException:
                connection.transport.abort()
                raise

    def give_back(self, connection: _Connection) -> None:
        """Keep a connection for the next request."""
        connection.is_used = True
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.append(connection)

    def show(self, ssl: ssl_.SSLContext) -> None:
        """From the next request on, prove by another context who we are; what is at work ends as it is."""
        self._ssl = ssl
        for connection in self._idle:
            connection.transport.abort()
        self._idle.clear()

    async def close(self) -> None:
        """End all connections, also those whose user was cancelled before it had them."""
        for connection in list(self._open):
            if connection.transport is not None:
                connection.transport.abort()
        self._idle.clear()
        await asyncio.sleep(0)  # transports close in the next round of the loop

    def _take(self) -> _Connection | None:
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()  # the warmest; those beneath grow old and are ended
            if connection.is_reusable and now - connection.idle_since < _KEPT_FOR_S:
                if self._idle and now - self._idle[0].idle_since > _KEPT_FOR_S:
                    self._idle.pop(0).transport.abort()
                return connection
            connection.transport.abort()
        return None

    async def _connect(self) -> _Connection:
        connection = _Connection()
        self._open.add(connection)
        if self._proxy is None:
            async with asyncio.timeout(self._connect_timeout_s):
                await connecting.open_connection(
                    connection, self._host, self._port, self._ssl, self._server_hostname
                )
            return connection
        try:
            sock = await self._reach_proxy(connection, self._proxy)
            async with asyncio.timeout(self._connect_timeout_s):
                await self._secure(connection, sock)
        except BaseException:
            if connection.transport is not None:
                connection.transport.abort()
            raise
        return connection

    async def _reach_proxy(self, connection: _Connection, proxy: SplitResult) -> socket.socket | None:
        """Let the proxy lead to the server; returns a socket where SOCKS has made one.

        Raises:
            ProxyFault: it does not, or it cannot be reached itself.
        """
        host = proxy.hostname or ""
        port = proxy.port or {"https": 443, "http": 80}.get(proxy.scheme, 1080)
        is_connected = False
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                if proxy.scheme.startswith("socks5"):
                    return await connecting.socks_socket(proxy, host, port, self._host, self._port)
                ssl = self._proxy_ssl if proxy.scheme == "https" else None
                await connecting.open_connection(connection, host, port, ssl, host)
                is_connected = True
                if self._ssl:
                    await self._ask_for_tunnel(connection, proxy)
        except ProxyFault:
            raise
        except OSError as error:
            raise ProxyFault(
                *proxies.fault(host, port, tls.cause(error), is_connected=is_connected)
            ) from None
        return None

    async def _secure(self, connection: _Connection, sock: socket.socket | None) -> None:
        """TLS with the server itself, through what leads to it."""
        if sock is not None:
            loop = asyncio.get_running_loop()
            name = self._server_hostname if self._ssl else None
            await loop.create_connection(lambda: connection, sock=sock, ssl=self._ssl, server_hostname=name)
        elif self._ssl:
            connection.transport = await connecting.tls_through(
                connection.transport, connection, self._ssl, self._server_hostname
            )

    async def _ask_for_tunnel(self, connection: _Connection, proxy: SplitResult) -> None:
        host = f"[{self._host}]" if ":" in self._host else self._host
        where = f"{host}:{self._port}"
        asking = f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n{connecting.proxy_authorization(proxy)}\r\n"
        connection.transport.write(asking.encode("latin-1"))
        await connection.head()
        if (status := connection.status) // 100 != 2:
            cause, hint = proxies.refusal(proxy.hostname or "", proxy.port or 80, status)
            raise ProxyFault(cause, hint, passes=status >= 500)
