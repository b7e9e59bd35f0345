"""A proxy between a controller and an API server that does what networks and servers do on bad days.

Rules say which requests they mean and what happens to them; every request that arrives is remembered. It
speaks plain HTTP on loopback and takes no credentials unless a test asks for a token.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web


@dataclass(frozen=True)
class Upstream:
    """Where the API server is, and how an administrator speaks to it."""

    address: str
    headers: dict[str, str] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None


@dataclass
class Asked:
    """A request that arrived.

    Args:
        verb: the HTTP method, but LIST and WATCH for collections.
        path: of the URL.
        status: what was answered; 0 before, and for no answer.
    """

    verb: str
    path: str
    status: int = 0

    @property
    def is_write(self) -> bool:
        return self.verb not in ("GET", "LIST", "WATCH")

    def __str__(self) -> str:
        return f"{self.verb} {self.path}"


Act = Callable[["Proxy", web.Request, Asked], Awaitable[web.StreamResponse]]
Line = Callable[[bytes], list[bytes]]


@dataclass
class Rule:
    """What happens to which requests.

    Args:
        verb: WATCH, LIST, GET, PATCH ...; `write` for every write; empty for all.
        path: a pattern that is searched for in the path.
        act: what is done instead of passing the request on.
        times: to how many requests; then the rule is spent.
        skip: how many requests that fit are left alone before.
    """

    verb: str
    path: str
    act: Act
    times: int = 1
    skip: int = 0

    def fits(self, asked: Asked) -> bool:
        by_verb = self.verb in ("", asked.verb) or (self.verb == "write" and asked.is_write)
        return bool(self.times > 0 and by_verb and re.search(self.path, asked.path))


class Proxy:
    """A proxy that runs; `running` makes one."""

    def __init__(self, upstream: Upstream, session: aiohttp.ClientSession) -> None:
        self.upstream = upstream
        self.rules: list[Rule] = []
        self.asked: list[Asked] = []
        self.token = ""
        self.address = ""
        self.is_down = False
        self._session = session

    def kubeconfig(self, file: Path, *, token_file: Path | None = None) -> Path:
        """Write a kubeconfig that leads here."""
        user = {"tokenFile": str(token_file)} if token_file else {}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": self.address}}],
            "users": [{"name": "proxy", "user": user}],
            "contexts": [
                {"name": "proxy", "context": {"cluster": "proxy", "user": "proxy", "namespace": "default"}}
            ],
        }
        file.write_text(json.dumps(config))
        return file

    def writes(self) -> list[str]:
        """The writes that arrived, but for Leases and Events."""
        return [
            str(one)
            for one in self.asked
            if one.is_write and "/leases" not in one.path and not one.path.endswith("/events")
        ]

    async def answer(self, http: web.Request) -> web.StreamResponse:
        verb = http.method
        if verb == "GET":
            verb = "WATCH" if "watch" in http.query else "LIST" if _is_collection(http.path) else "GET"
        asked = Asked(verb, http.path)
        self.asked.append(asked)
        if self.is_down:
            return await reset(self, http, asked)
        if self.token and http.headers.get("Authorization") != f"Bearer {self.token}":
            asked.status = 401
            return web.json_response(_status(401, "Unauthorized"), status=401)
        for rule in self.rules:
            if rule.fits(asked):
                if rule.skip:
                    rule.skip -= 1
                    continue
                rule.times -= 1
                return await rule.act(self, http, asked)
        return await self.forward(http, asked)

    async def forward(
        self,
        http: web.Request,
        asked: Asked,
        *,
        line: Line | None = None,
        change: Callable[[bytes], bytes] | None = None,
        most_lines: int = 10**9,
        quiet_after: bool = False,
    ) -> web.StreamResponse:
        """Pass a request on, and its answer back.

        Args:
            http: the request.
            asked: the same, as remembered.
            line: what becomes of each line of a watch.
            change: what becomes of another body.
            most_lines: break a watch after so many lines.
            quiet_after: do not break it then, but say nothing more.
        """
        headers = {
            name: value
            for name, value in http.headers.items()
            if name.lower() not in ("host", "authorization", "content-length", "accept-encoding")
        }
        options: dict[str, Any] = {"ssl": self.upstream.tls} if self.upstream.tls else {}
        async with self._session.request(
            http.method,
            self.upstream.address + http.raw_path,
            headers={**headers, **self.upstream.headers, "Accept-Encoding": "identity"},
            data=await http.read(),
            **options,
        ) as answer:
            asked.status = answer.status
            kept = {
                name: answer.headers[name]
                for name in ("Content-Type", "Retry-After", "Warning")
                if name in answer.headers
            }
            if asked.verb != "WATCH":
                body = await answer.read()
                return web.Response(status=answer.status, body=change(body) if change else body, headers=kept)
            stream = web.StreamResponse(status=answer.status, headers=kept)
            await stream.prepare(http)
            async for raw in answer.content:
                for one in line(raw) if line else [raw]:
                    await stream.write(one)
                most_lines -= 1
                if most_lines <= 0:
                    if quiet_after:
                        await asyncio.sleep(3600)
                    _break(http)
                    break
            return stream


def _is_collection(path: str) -> bool:
    parts = path.strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        rest = rest[2:]
    return len(rest) == 1


def _break(http: web.Request) -> None:
    if http.transport is not None:
        http.transport.abort()


def _status(code: int, reason: str) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "reason": reason,
        "message": f"the proxy says {reason}",
        "code": code,
    }


# --- what can happen to a request -----------------------------------------------------------------------


def refuse(status: int, reason: str = "", *, retry_after: str = "") -> Act:
    """Answer with an error."""

    async def act(_: Proxy, __: web.Request, asked: Asked) -> web.StreamResponse:
        asked.status = status
        headers = {"Retry-After": retry_after} if retry_after else {}
        return web.json_response(_status(status, reason or "Fault"), status=status, headers=headers)

    return act


async def reset(_: Proxy, http: web.Request, __: Asked) -> web.StreamResponse:
    """Break the connection before anything was done."""
    _break(http)
    return web.Response()


async def lose_reply(proxy: Proxy, http: web.Request, asked: Asked) -> web.StreamResponse:
    """Do it, and break the connection instead of answering."""
    await proxy.forward(http, asked)
    _break(http)
    return web.Response()


def delay(seconds: float) -> Act:
    """Pass it on, later."""

    async def act(proxy: Proxy, http: web.Request, asked: Asked) -> web.StreamResponse:
        await asyncio.sleep(seconds)
        return await proxy.forward(http, asked)

    return act


async def half(proxy: Proxy, http: web.Request, asked: Asked) -> web.StreamResponse:
    """Do it, and send half of the answer, as if it were the whole."""
    return await proxy.forward(http, asked, change=lambda body: body[: len(body) // 2])


async def html(_: Proxy, __: web.Request, asked: Asked) -> web.StreamResponse:
    """A load balancer's page, with status 200."""
    asked.status = 200
    return web.Response(text="<html><body>Welcome</body></html>", content_type="text/html")


async def garbage(_: Proxy, __: web.Request, asked: Asked) -> web.StreamResponse:
    """JSON of another shape."""
    asked.status = 200
    return web.json_response({"hello": "world"})


def breaking_after(lines: int, *, quiet: bool = False) -> Act:
    """A watch that breaks, or says nothing more, after so many lines."""
    return lambda proxy, http, asked: proxy.forward(http, asked, most_lines=lines, quiet_after=quiet)


async def twice(proxy: Proxy, http: web.Request, asked: Asked) -> web.StreamResponse:
    """A watch that says everything twice."""
    return await proxy.forward(http, asked, line=lambda raw: [raw, raw])


async def gone(_: Proxy, http: web.Request, asked: Asked) -> web.StreamResponse:
    """A watch that begins well and says that the past is forgotten."""
    asked.status = 200
    stream = web.StreamResponse(headers={"Content-Type": "application/json"})
    await stream.prepare(http)
    event = {"type": "ERROR", "object": _status(410, "Expired")}
    await stream.write(json.dumps(event).encode() + b"\n")
    return stream


def swallowing(pattern: bytes) -> Act:
    """A watch that leaves out the events that the pattern is found in."""
    return lambda proxy, http, asked: proxy.forward(
        http, asked, line=lambda raw: [] if re.search(pattern, raw) else [raw]
    )


def answering(body: bytes) -> Act:
    """Answer as it was some time ago."""

    async def act(_: Proxy, __: web.Request, asked: Asked) -> web.StreamResponse:
        asked.status = 200
        return web.Response(body=body, content_type="application/json")

    return act


@dataclass
class Gate:
    """Holds requests: a test sees that one has arrived, and decides.

    Args:
        after: let the server do it first, and hold the answer.
    """

    after: bool = False
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, proxy: Proxy, http: web.Request, asked: Asked) -> web.StreamResponse:
        if self.after:
            answer = await proxy.forward(http, asked)
            self.arrived.set()
            await self.opened.wait()
            return answer
        self.arrived.set()
        await self.opened.wait()
        return await proxy.forward(http, asked)


@asynccontextmanager
async def running(upstream: Upstream) -> AsyncIterator[Proxy]:
    """A proxy on a free port."""
    limits = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=limits, read_bufsize=2**20
    ) as session:
        proxy = Proxy(upstream, session)
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", proxy.answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        proxy.address = "http://{}:{}".format(*runner.addresses[0][:2])
        try:
            yield proxy
        finally:
            await runner.cleanup()
