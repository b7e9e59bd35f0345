"""An `Api` on a port of this machine: HTTP, the token, streams of watch events.

It listens on the loopback interface only and insists on its token. A browser page that guesses the port
gets nothing: any `Origin` and any foreign `Host` is refused before the token is looked at.

The token may come as a bearer token, or as the first segment of the path: kubectl (client-go) sends a
kubeconfig's credentials over TLS only, but keeps a path that the kubeconfig's server address has.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from kaitoctl.kube.objects import Object, ObjectKey
from kaitoctl.sandbox import proxy
from kaitoctl.sandbox.api import Api, Call, Response, Watch
from kaitoctl.sandbox.api.requests import is_true
from kaitoctl.sandbox.error_status import Failure, insufficient_storage, not_found, nothing_serves
from kaitoctl.sandbox.persistence import Database, NotSaved
from kaitoctl.sandbox.store import Store

_BODY_LIMIT = 3 * 1024 * 1024  # as etcd's and the real API server's limit for a request
_BOOKMARK_EVERY_S = 60.0
_DISK_RETRY_S = 1.0
_CONTEXT = "kaitoctl-sandbox"
_LOG = re.compile(r"/api/v1/namespaces/([^/]+)/pods/([^/]+)/log")
Follow = Callable[[str, str, str], AsyncIterator[bytes] | None]
PortOf = Callable[[str, str, str], int | None]
_OPEN_PATHS = ("/healthz", "/readyz", "/livez")


class ApiServer:
    """A Kubernetes API server on 127.0.0.1.

    Args:
        state: the SQLite file to keep everything in; None for a cluster that is forgotten at the end.
        token: the bearer token to insist on; None for a random one.
        port: 0 for a free one.
        clock: what time it is, in UTC.
    """

    def __init__(
        self,
        *,
        state: Path | None = None,
        token: str | None = None,
        port: int = 0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        store = Store()
        self._database = Database(state) if state else None
        if self._database:
            self._database.load(store)
        self.api = Api(store, clock=clock)
        self.token = token or secrets.token_urlsafe(32)
        self.address = ""
        self.port_of: PortOf = lambda _kind, _namespace, _name: None
        """Where processes behind pods and Services listen; whoever runs pods sets it."""
        self.follow: Follow = lambda _namespace, _pod, _container: None
        """What a container logs from now on; whoever runs pods sets it."""
        self._port = port
        self._watches: set[Watch] = set()
        self._runner: web.ServerRunner | None = None
        self._chores: asyncio.Handle | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the port is taken.
        """
        server = web.Server(self._serve, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, backlog=1024)
        try:
            await site.start()
        except OSError:
            await self.stop()  # lets go of the state file: the caller may try another port
            raise
        self._port = self._runner.addresses[0][1]
        self.address = f"http://127.0.0.1:{self._port}"
        self._save()

    async def stop(self) -> None:
        """End all watches, stop listening, and save."""
        for watch in list(self._watches):
            watch.close()
        if self._chores:
            self._chores.cancel()
        if self._runner:
            await self._runner.cleanup()
        self._save()
        if self._database:
            self._database.close()

    def kubeconfig(self) -> Object:
        """A kubeconfig whose only context leads here."""
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": _CONTEXT,
            "clusters": [{"name": _CONTEXT, "cluster": {"server": f"{self.address}/{self.token}"}}],
            "users": [{"name": _CONTEXT, "user": {"token": self.token}}],
            "contexts": [
                {"name": _CONTEXT, "context": {"cluster": _CONTEXT, "user": _CONTEXT, "namespace": "default"}}
            ],
        }

    def _save(self) -> None:
        if self._database:
            self._database.save(self.api.store)
        else:
            self.api.store.unsaved.clear()

    @contextlib.contextmanager
    def _saving(self) -> Iterator[None]:
        """Whatever is written within is saved before anybody hears of it.

        Raises:
            NotSaved: the disk did not take it, and the cluster is as it was before.
        """
        self.api.store.begin()
        try:
            yield
            self._save()
        except BaseException:
            self.api.take_back()
            raise
        self.api.store.commit()

    # --- requests ---

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        first, _, rest = path.removeprefix("/").partition("/")
        has_token = self._is_token(first)
        if has_token:
            path = f"/{rest}"
        # Who says who it is in the usual way is taken at its word, also when that is wrong.
        says_so = has_token and "Authorization" not in request.headers
        if (refusal := self._refusal(request, path, says_so)) is not None:
            return refusal
        if (asked := proxy.read(path)) is not None:
            return await self._proxy(request, asked)
        body = b""
        if request.body_exists:
            chunks = []
            size = 0
            async for chunk in request.content.iter_any():
                size += len(chunk)
                if size > _BODY_LIMIT:
                    return _status(413, "RequestEntityTooLarge", f"limit is {_BODY_LIMIT} bytes")
                chunks.append(chunk)
            body = b"".join(chunks)
        headers = request.headers
        call = Call(
            request.method,
            path,
            request.query,
            body,
            headers.get("Content-Type") or "application/json",
            headers.get("Accept", ""),
            headers.get("User-Agent", ""),
        )
        try:
            with self._saving():
                answer = self.api.answer(call)
        except NotSaved as error:
            return _failure_response(insufficient_storage(str(error)))
        self._do_chores()
        if isinstance(answer, Watch):
            return await self._stream(request, answer)
        if (found := _LOG.fullmatch(path)) and answer.status == 200 and is_true(request.query.get("follow")):
            more = self.follow(found[1], found[2], request.query.get("container", ""))
            if more is not None:
                return await _follow(request, answer.body, more)
        return _http(answer)

    async def _proxy(self, request: web.BaseRequest, asked: proxy.ProxyTarget) -> web.StreamResponse:
        """Pass a request on to the process behind a pod or a Service."""
        store = self.api.store
        if store.find(asked.kind, ObjectKey(asked.namespace, asked.name)) is None:
            return _failure_response(not_found(asked.kind, "", asked.name))
        port = self.port_of(asked.kind, asked.namespace, asked.name)
        if port is None:
            return _failure_response(nothing_serves())
        if not port:
            return _failure_response(proxy.no_answer(asked))
        try:
            return await proxy.passed_on(request, port, asked.path)
        except proxy.NoConnection:
            return _failure_response(proxy.no_answer(asked))

    def _refusal(self, request: web.BaseRequest, path: str, has_token: bool) -> web.Response | None:
        if not _is_local(request):
            return _status(
                403, "Forbidden", "this server answers programs of its own machine only, no browsers"
            )
        if has_token or path in _OPEN_PATHS:
            return None
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(token.strip()):
            return None
        return _status(401, "Unauthorized", "Unauthorized")

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(errors="replace"), self.token.encode())

    def _do_chores(self) -> None:
        """Go on with what deletions entail, a little at a time between requests."""
        if self._chores is None and not self.api.garbage.is_idle:
            self._chores = asyncio.get_running_loop().call_soon(self._chore)

    def _chore(self) -> None:
        self._chores = None
        try:
            with self._saving():
                self.api.garbage.collect(limit=50)
        except NotSaved:
            self._chores = asyncio.get_running_loop().call_later(_DISK_RETRY_S, self._chore)
        self._do_chores()

    # --- watches ---

    async def _stream(self, request: web.BaseRequest, watch: Watch) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        bell = asyncio.Event()
        watch.ring = bell.set
        bell.set()
        loop = asyncio.get_running_loop()
        end = loop.time() + watch.timeout_s if watch.timeout_s else None
        self._watches.add(watch)
        try:
            await response.prepare(request)
            while True:
                wait_s = _BOOKMARK_EVERY_S if end is None else min(_BOOKMARK_EVERY_S, end - loop.time())
                try:
                    async with asyncio.timeout(max(wait_s, 0)):
                        await bell.wait()
                except TimeoutError:
                    if watch.wants_bookmarks:
                        watch.bookmark()
                    if end is not None and loop.time() >= end:
                        watch.close()
                bell.clear()
                if lines := watch.take():
                    await response.write(lines)
                if watch.ended:
                    break
            with contextlib.suppress(ConnectionError):
                await response.write_eof()
        except ConnectionError:
            pass  # the watcher went away
        finally:
            self._watches.discard(watch)
            watch.close()
        return response


async def _follow(request: web.BaseRequest, begin: bytes, more: AsyncIterator[bytes]) -> web.StreamResponse:
    """A log as it grows."""
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    response.enable_chunked_encoding()
    with contextlib.suppress(ConnectionError):
        await response.prepare(request)
        await response.write(begin)
        async for piece in more:
            await response.write(piece)
        await response.write_eof()
    return response


def _is_local(request: web.BaseRequest) -> bool:
    """Whether a request names this machine as its host, and no web page as its origin."""
    host = request.headers.get("Host", "").rpartition(":")[0]
    return "Origin" not in request.headers and host in ("127.0.0.1", "localhost")


def _http(answer: Response) -> web.Response:
    headers = {"Content-Type": answer.content_type, **answer.headers}
    return web.Response(status=answer.status, body=answer.body, headers=headers)


def _status(code: int, reason: str, message: str) -> web.Response:
    return _failure_response(Failure(code, reason, message))


def _failure_response(failure: Failure) -> web.Response:
    body = json.dumps(failure.status).encode()
    return web.Response(status=failure.code, body=body, content_type="application/json")
