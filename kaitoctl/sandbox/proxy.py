"""The API server's proxy to pods and Services: requests passed on to a process, answers as they come."""

from __future__ import annotations

import re

import aiohttp
from aiohttp import web
from msgspec import Struct

from kaitoctl.sandbox.error_status import Failure

_PATH = re.compile(
    r"/api/v1/namespaces/(?P<namespace>[^/]+)/(?P<kind>pods|services)/"
    r"(?:https?:)?(?P<name>[^/:]+)(?::[^/:]*)?:?/proxy(?P<path>/.*)?"
)
# Those of a connection, and what is meant for the API server alone.
_NOT_PASSED_ON = frozenset(
    (
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer"),
        *("transfer-encoding", "upgrade", "host", "authorization", "content-length"),
    )
)


class NoConnection(Exception):
    """The process does not take a connection."""


class ProxyTarget(Struct, frozen=True):
    """Who is to be asked, and what.

    Args:
        kind: `pods` or `services`.
        namespace: of it.
        name: of it, without scheme and port: a process has one port.
        path: that it is asked for.
    """

    kind: str
    namespace: str
    name: str
    path: str


def read(path: str) -> ProxyTarget | None:
    """What a path of the API server asks for; None for one that is no proxy's."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    return ProxyTarget(found["kind"], found["namespace"], found["name"], found["path"] or "/")


def no_answer(asked: ProxyTarget) -> Failure:
    """503: the process is loading, ended, or not ready."""
    if asked.kind == "services":
        return Failure(
            503, "ServiceUnavailable", f'no endpoints available for service "{asked.name}"', name=asked.name
        )
    return Failure(
        503, "ServiceUnavailable", f"pod {asked.name} does not accept connections now", name=asked.name
    )


async def passed_on(request: web.BaseRequest, port: int, path: str) -> web.StreamResponse:
    """Ask the process on a port of this machine, and answer what it answers.

    Raises:
        NoConnection: nothing listens there.
    """
    headers = {name: value for name, value in request.headers.items() if name.lower() not in _NOT_PASSED_ON}
    body = request.content if request.body_exists else None
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
    async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
        try:
            answer = await session.request(
                request.method,
                f"http://127.0.0.1:{port}{path}",
                params=request.query,
                headers=headers,
                data=body,
                allow_redirects=False,
            )
        except aiohttp.ClientConnectionError as error:
            raise NoConnection from error
        async with answer:
            response = web.StreamResponse(status=answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in _NOT_PASSED_ON:
                    response.headers[name] = value
            await response.prepare(request)
            try:
                async for piece in answer.content.iter_any():
                    await response.write(piece)
                await response.write_eof()
            except ConnectionError:
                pass  # the asker went away; leaving the block tells the process so
            return response
