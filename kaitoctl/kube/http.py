"""HTTP/1.1 as a client of one API server needs it, over asyncio: kept connections, streams, TLS, a proxy.

A general HTTP library costs more than all that is asked through it: aiohttp takes 200 ms to import and
140 us of CPU for a request (docs/adr/0008). What no API server asks for is not here: redirects are
answers like others, there are no cookies, and nothing is repeated but a GET on a kept connection that the
server has just closed.
"""

from __future__ import annotations

import asyncio
import base64
import re
import ssl as ssl_
import zlib
from collections.abc import AsyncGenerator, Mapping
from typing import Any, NamedTuple
from urllib.parse import SplitResult, quote, unquote, urlsplit

_LONGEST_HEAD = 64 * 1024
_MUCH = 1024 * 1024  # unread; the peer is made to wait
_KEPT_FOR_S = 15.0  # shorter than servers keep them, so that no request meets one that is being closed
_HAPPY_EYEBALLS_S = 0.25  # as RFC 8305 recommends; for names alone, whose addresses may be of two families
_UNSAFE = re.compile(r"[^!-~]")


class Broken(ConnectionError):
    """The connection ended, or what came through it is not HTTP."""


class Head(NamedTuple):
    """The first half of an answer; the names of headers are in lower case."""

    status: int
    headers: dict[str, str]


class _Connection(asyncio.Protocol):
    """Bytes in both directions; reads wait until there are enough."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.received = False  # anything of the present answer
        self.idle_since = 0.0
        self.is_used = False
        self._buffer = bytearray()
        self._waiter: asyncio.Future[None] | None = None
        self._is_over = False
        self._error: Exception | None = None
        self._is_paused = False

    # --- told by the event loop ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self.received = True
        if self._waiter is None:
            if len(self._buffer) > _MUCH and not self._is_paused:
                self._is_paused = True
                self.transport.pause_reading()
        else:
            self._wake()

    def eof_received(self) -> None:
        self._is_over = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_over, self._error = True, exc
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- asked by `Answer` ---

    @property
    def is_clean(self) -> bool:
        """Whether another request may be sent: it is open, and nothing unasked has come."""
        return not self._is_over and not self._buffer

    async def _more(self) -> None:
        if self._is_over:
            raise Broken(str(self._error) if self._error else "the server closed the connection")
        if self._is_paused:
            self._is_paused = False
            self.transport.resume_reading()
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def until(self, mark: bytes, most: int) -> bytes:
        """What comes before the mark, which is taken, too."""
        start = 0
        while (end := self._buffer.find(mark, start)) < 0:
            if len(self._buffer) > most:
                raise Broken("the server answered something that is not HTTP")
            start = max(0, len(self._buffer) - len(mark))
            await self._more()
        found = bytes(self._buffer[:end])
        del self._buffer[: end + len(mark)]
        return found

    async def exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            await self._more()
        found = bytes(self._buffer[:count])
        del self._buffer[:count]
        return found

    async def some(self, most: int) -> bytes:
        """What there is, and that is something; empty at the end of the stream."""
        while not self._buffer:
            if self._is_over and self._error is None:
                return b""
            await self._more()
        found = bytes(self._buffer[:most])
        del self._buffer[:most]
        return found

    async def head(self) -> Head:
        while True:
            first, *lines = (await self.until(b"\r\n\r\n", _LONGEST_HEAD)).decode("latin-1").split("\r\n")
            version, _, rest = first.partition(" ")
            code = rest[:3]
            if not version.startswith("HTTP/1.") or not (code.isascii() and code.isdigit()):
                raise Broken("the server answered something that is not HTTP")
            if code[0] != "1":  # 100 Continue and the like announce the answer
                break
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            name, value = name.strip().lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        if version == "HTTP/1.0":
            headers.setdefault("connection", "close")
        return Head(int(code), headers)


class Answer:
    """An answer whose head has arrived. Call `close` when done with it, read or not."""

    def __init__(self, pool: Pool, connection: _Connection, head: Head) -> None:
        self.status, self.headers = head
        self._pool = pool
        self._connection = connection
        self._is_read = head.status in (204, 304)
        self._is_gzipped = head.headers.get("content-encoding", "").lower() == "gzip"

    async def read(self) -> bytes:
        """The whole body.

        Raises:
            Broken: the connection ended in the middle of it.
        """
        length = self._length
        if self._is_read:
            body = b""
        elif length is not None and not self._is_chunked:
            body = await self._connection.exactly(length)
            self._is_read = True
        else:
            body = b"".join([chunk async for chunk in self.chunks()])
        if not self._is_gzipped or not body:
            return body
        try:
            return zlib.decompress(body, wbits=31)
        except zlib.error as error:
            raise Broken(f"the server answered gzip that is none: {error}") from None

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes.

        Raises:
            Broken: the connection ended in the middle of it.
        """
        connection, length = self._connection, self._length
        if self._is_read:
            return
        if self._is_chunked:
            while size := _chunk_size(await connection.until(b"\r\n", _LONGEST_HEAD)):
                while size:
                    part = await connection.some(size)
                    if not part:
                        raise Broken("the server closed the connection in the middle of an answer")
                    size -= len(part)
                    yield part
                await connection.exactly(2)
            while await connection.until(b"\r\n", _LONGEST_HEAD):
                pass  # trailers
        else:
            left = length
            while left != 0 and (part := await connection.some(left or _MUCH)):
                left = None if left is None else left - len(part)
                yield part
            if left:
                raise Broken("the server closed the connection in the middle of an answer")
        self._is_read = True

    def close(self) -> None:
        """Give the connection back if it can be used again, else end it."""
        keeps = "close" not in self.headers.get("connection", "").lower()
        is_framed = self._is_chunked or self._length is not None or self.status in (204, 304)
        if self._is_read and keeps and is_framed and self._connection.is_clean:
            self._pool.give_back(self._connection)
        else:
            self._connection.transport.abort()

    @property
    def _is_chunked(self) -> bool:
        return self.headers.get("transfer-encoding", "").lower() == "chunked"

    @property
    def _length(self) -> int | None:
        text = self.headers.get("content-length")
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 16):
            raise Broken("the server answered something that is not HTTP")
        return int(text)


class Pool:
    """Connections to one server, kept for further requests.

    Args:
        address: `http(s)://host[:port][/path]`; the path begins every target.
        ssl: for https.
        server_hostname: whose certificate it must be; the address's host when empty.
        proxy: `http://[user:password@]host:port`, through which everything goes; empty for none.
        connect_timeout_s: for each connection.
    """

    def __init__(
        self,
        address: str,
        *,
        ssl: ssl_.SSLContext | None,
        server_hostname: str = "",
        proxy: str = "",
        connect_timeout_s: float,
    ) -> None:
        where = urlsplit(address)
        self._ssl = ssl
        self._host = where.hostname or ""
        self._port = where.port or (443 if ssl else 80)
        self._server_hostname = server_hostname or self._host
        self._proxy = urlsplit(proxy) if proxy else None
        self._connect_timeout_s = connect_timeout_s
        self._idle: list[_Connection] = []
        authority = where.netloc.rpartition("@")[2]
        # A proxy that sees the request is told where it goes.
        whole = f"http://{authority}" if self._proxy and ssl is None else ""
        self._prefix = whole + quoted(where.path.rstrip("/"))
        self._greeting = f" HTTP/1.1\r\nHost: {authority}\r\n"
        if self._proxy and ssl is None:
            self._greeting += _proxy_authorization(self._proxy)

    async def ask(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Answer:
        """Send a request; returns when the head of its answer has arrived.

        Raises:
            Broken: the connection ended.
            OSError: there is no connection to be had; of ssl.SSLError when it cannot be trusted.
            TimeoutError: there was none in time.
        """
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        if body is not None:
            lines += f"Content-Length: {len(body)}\r\n"
        if "\r" in target or "\n" in target or lines.count("\n") != len(headers) + (body is not None):
            raise ValueError("a header or target with a line break")
        request = f"{method} {self._prefix}{quoted(target)}{self._greeting}{lines}\r\n".encode("latin-1")
        while True:
            connection = self._take() or await self._connect()
            connection.received = False
            try:
                connection.transport.write(request + body if body else request)
                return Answer(self, connection, await connection.head())
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

    async def close(self) -> None:
        """End all kept connections."""
        for connection in self._idle:
            connection.transport.abort()
        self._idle.clear()
        await asyncio.sleep(0)  # transports close in the next round of the loop

    def _take(self) -> _Connection | None:
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()  # the warmest; those beneath grow old and are ended
            if connection.is_clean and now - connection.idle_since < _KEPT_FOR_S:
                if self._idle and now - self._idle[0].idle_since > _KEPT_FOR_S:
                    self._idle.pop(0).transport.abort()
                return connection
            connection.transport.abort()
        return None

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        host, port = self._host, self._port
        if self._proxy:
            host, port = self._proxy.hostname or "", self._proxy.port or 80
        ssl = None if self._proxy else self._ssl
        async with asyncio.timeout(self._connect_timeout_s):
            _, connection = await loop.create_connection(
                _Connection,
                host,
                port,
                ssl=ssl,
                server_hostname=self._server_hostname if ssl else None,
                happy_eyeballs_delay=None if _is_address(host) else _HAPPY_EYEBALLS_S,
            )
            if self._proxy and self._ssl:
                try:
                    await self._tunnel(connection, self._proxy)
                except BaseException:
                    connection.transport.abort()
                    raise
        return connection

    async def _tunnel(self, connection: _Connection, proxy: SplitResult) -> None:
        host = f"[{self._host}]" if ":" in self._host else self._host
        where = f"{host}:{self._port}"
        asking = f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n{_proxy_authorization(proxy)}\r\n"
        connection.transport.write(asking.encode("latin-1"))
        head = await connection.head()
        if head.status != 200:
            raise Broken(f"the proxy {proxy.hostname} answered HTTP {head.status}")
        assert self._ssl is not None
        connection.transport = await asyncio.get_running_loop().start_tls(
            connection.transport, connection, self._ssl, server_hostname=self._server_hostname
        )


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def quoted(target: str) -> str:
    """A path or query with everything escaped that may not stand in a request line; escapes stay."""
    return quote(target, safe="/?:@!$&'()*+,;=~%-._") if _UNSAFE.search(target) else target


def _proxy_authorization(proxy: SplitResult) -> str:
    if proxy.username is None:
        return ""
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode()}\r\n"


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    try:
        if not digits or digits.strip(b"0123456789abcdefABCDEF") or len(digits) > 12:
            raise ValueError
        return int(digits, 16)
    except ValueError:
        raise Broken("the server answered something that is not HTTP") from None
