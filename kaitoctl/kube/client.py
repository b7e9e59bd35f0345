"""The door: the only connection from kaitoctl to an API server.

`kubeconfig` says which server and who we are, `credentials` keeps that fresh, `tls` says whom we trust,
`http` carries bytes; here they become objects, watches and errors. Objects stay dicts, a watch is a stream of
lines. Only what the server itself asks for (`Retry-After`) is retried behind the caller's back; for a command
that somebody waits for (`patient`), also what may pass (`retries`), and a long silence is said. Watching *for
ever* is not here; that is `reconcile.informer`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import urlencode, urlsplit

from kaitoctl import __version__
from kaitoctl.errors import ApiError, InputError, Unreachable
from kaitoctl.kube import credentials, failures, http, kubeconfig, proxies, refusals, retries, tls
from kaitoctl.kube.access import access
from kaitoctl.kube.kubeconfig import Server
from kaitoctl.kube.objects import Kind, Object
from kaitoctl.kube.request import Request
from kaitoctl.kube.trimmed import Decode

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, Configuration

_HEADERS = {"User-Agent": f"kaitoctl/{__version__}", "Accept": "application/json"}
_CONNECT_TIMEOUT_S = 10.0
_REQUEST_TIMEOUT_S = 60.0
_SILENCE_S = 20.0  # until a question is answered; a write may have to wait for webhooks
_SLOW_S = 3.0  # after which somebody who waits wants to know for what
_SAID_EVERY_S = 15.0
_PATIENT_AGAIN_S = 60.0
_LONGEST_SILENCE_S = 300.0  # a large model may think that long before its first word
_PAGE = 500
_RETRIES_WHEN_ASKED_TO_WAIT = 3
_MOST_WARNINGS = 100  # said once each; a controller runs long
_SHORTEST_SECRET = 6  # shorter ones are in any text
_HINT_NO_API_SERVER = "is the kubeconfig's server address that of a Kubernetes API server?"

T = TypeVar("T")
_log = logging.getLogger(__name__)


class ObjectList(NamedTuple):
    """A complete list of one moment.

    Args:
        items: the objects, each with `apiVersion` and `kind` filled in.
        resource_version: where a watch may go on from.
    """

    items: list[Object]
    resource_version: str


class WatchEvent(NamedTuple):
    """One line of a watch: `ADDED`, `MODIFIED`, `DELETED` or `BOOKMARK`, and the object."""

    type: str
    object: Object


@dataclass(frozen=True, slots=True)
class Exchange:
    """One HTTP request that was sent, and how it ended; a watch ends when it begins to stream.

    Args:
        method: upper-case HTTP method.
        path: URL path.
        query: query parameters.
        status: the HTTP status code, None when there was no answer.
        took_s: seconds until the answer's head arrived.
    """

    method: str
    path: str
    query: Mapping[str, str]
    status: int | None
    took_s: float


Observer = Callable[[Exchange], None]
Encode = Callable[[Any], bytes]
"""Compact JSON."""

_json = json.JSONEncoder(separators=(",", ":"), check_circular=False)


def _encode(value: Any) -> bytes:
    return _json.encode(value).encode()


class Client:
    """A connection to one API server. Make one with `connect`; use it in one event loop.

    Args:
        server: where it is, and who we are there.
        namespace: the default one.
        observer: told of every exchange, repetitions included; must neither block nor raise.
        decode: reads JSON; `fast_json.decode` where there is much of it.
        encode: writes JSON; `fast_json.encode` where there is much of it.
        patient: somebody waits for what is asked: what may pass is tried again for a few seconds, and a
            question is not waited for as long as a controller would.
        says_waits: say whom we wait for when an answer takes long.
        request_timeout_s: for the whole of each request; infinite for no end, None for what is usual.

    Raises (every method):
        ApiError: the server answered with an error Status.
        Unreachable: no answer.
    """

    def __init__(
        self,
        server: Server,
        *,
        namespace: str = "default",
        observer: Observer | None = None,
        decode: Decode = json.loads,
        encode: Encode = _encode,
        patient: bool = False,
        says_waits: bool = False,
        request_timeout_s: float | None = None,
    ) -> None:
        base = server.address.rstrip("/")
        _insist_on_an_address(base)
        # For messages: whatever a server's URL has besides its address may be a secret.
        where = urlsplit(base)
        self.host = f"{where.scheme}://{where.netloc.rpartition('@')[2]}"
        self.namespace = namespace
        self._server = server
        self._observer = observer
        self._decode = decode
        self._encode = encode
        self._patient = patient
        self._says_waits = says_waits
        self._timeout_s = request_timeout_s
        self._said_at = self._gave_up_at = -math.inf
        self._is_logging_in = False
        self._warned: set[str] = set()
        self._secrets = (
            where.path.strip("/"),
            server.token,
            *(server.basic or ())[1:],
            where.password or "",
            *(value for name, value in server.impersonation if name.startswith("Impersonate-Extra-")),
        )
        self._sent = ""  # the secret in the header Authorization
        _refuse_to_leak_a_secret(self.host, server)
        proxy = proxies.checked(server.proxy, "the kubeconfig's proxy-url", names_scheme=True)
        if not proxy and where.scheme == "https":
            proxy = proxies.from_environment(self.host, os.environ)
        self._pool = http.Pool(
            base,
            ssl=tls.context(server, self.host) if where.scheme == "https" else None,
            server_hostname=server.tls_server_name,
            proxy=proxy,
            connect_timeout_s=_CONNECT_TIMEOUT_S,
            more=server.impersonation,
        )
        self._credentials = credentials.of(server, where)
        self._pair: tuple[bytes, bytes] | None = None

    @classmethod
    def from_official(
        cls, source: ApiClient | Configuration | None = None, *, namespace: str = "default", **options: Any
    ) -> Client:
        """A client with the settings of the official Python client.

        Args:
            source: a `kubernetes.client.ApiClient` or `Configuration`; None loads what the official
                `kubernetes.config.load_config` finds.
            namespace: the default one: an official configuration has none.
            options: as above.

        Raises:
            InputError: there is no configuration, or it is of no use.
        """
        from kaitoctl.kube import official

        return cls(official.server(source), namespace=namespace, **options)

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def send(self, request: Request, *, decode: Decode | None = None) -> Object:
        """Carry out a request and return the object (or Status) that answers it.

        Args:
            request: what to ask.
            decode: reads the body of the answer; raises ValueError for what is not JSON.
        """
        body = None if request.body is None else html_safe(self._encode(request.body))

        async def once() -> Object:
            raw = await self._read(request, body)
            if not raw and request.method == "GET":
                raise failures.no_json("")
            answered: Object = self._decoded(raw, decode)
            if decode is None:
                _insist_on_success(answered)
                _insist_on_an_object(request, answered)
            return answered

        return await self._tried(request, once)

    async def _tried(self, request: Request, once: Callable[[], Awaitable[T]]) -> T:
        """What a request is answered with, tried again as long as that makes sense."""
        began, attempt, trouble = asyncio.get_running_loop().time(), 0, [""]
        with self._said_when_slow(trouble):
            while True:
                attempt += 1
                try:
                    return await once()
                except (ApiError, Unreachable) as error:
                    wait_s = self._wait_s(request, error, attempt, began)
                    if wait_s is None:
                        raise
                    trouble[0] = str(error)
                await asyncio.sleep(wait_s)

    def _wait_s(
        self, request: Request, error: ApiError | Unreachable, attempt: int, began: float
    ) -> float | None:
        """Seconds until the next try, None when there is none."""
        if not self._patient:
            asked_s = error.retry_after_s if isinstance(error, ApiError) else None
            too_long = asked_s is None or asked_s > retries.LONGEST_ASKED_WAIT_S
            return None if too_long or attempt > _RETRIES_WHEN_ASKED_TO_WAIT else asked_s
        wait_s = retries.wait_s(request, error, attempt)
        if wait_s is None:
            return None
        now = asyncio.get_running_loop().time()
        is_weary = now - self._gave_up_at < _PATIENT_AGAIN_S
        if is_weary or now + wait_s - began > retries.PATIENCE_S:
            # Whatever else is asked would wait as long again: all of a command together are patient once.
            self._gave_up_at = now
            return None
        return wait_s

    @contextmanager
    def _said_when_slow(self, trouble: Sequence[str] = ("",)) -> Iterator[None]:
        """Say what we wait for when it takes longer than somebody waits without wondering."""
        if not self._says_waits:
            yield
            return

        def say() -> None:
            now = loop.time()
            if now - self._said_at >= _SAID_EVERY_S:
                self._said_at = now
                whom = f"the API server {self.host}"
                whom = "the credentials that the kubeconfig names" if self._is_logging_in else whom
                _log.warning("waiting for %s: %s", whom, trouble[0] or "no answer yet")

        loop = asyncio.get_running_loop()
        timer = loop.call_later(_SLOW_S, say)
        try:
            yield
        finally:
            timer.cancel()

    async def list(
        self,
        kind: Kind,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        decode: Decode | None = None,
        keep: Callable[[Object], bool] | None = None,
    ) -> ObjectList:
        """All objects of a kind, fetched in pages.

        Args:
            kind: what to list.
            namespace: empty for all namespaces.
            label_selector: `a=1,b!=2,c in (x,y)`.
            field_selector: `metadata.name=x`.
            decode: reads a page; `kube.trimmed` has decoders that keep only what is looked at.
            keep: which objects to return; the others of a page are forgotten with it.
        """
        items: list[Object] = []
        version = ""
        async for page in self.pages(
            kind,
            namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            decode=decode,
            keep=keep,
        ):
            items += page.items
            version = page.resource_version
        return ObjectList(items, version)

    async def pages(
        self,
        kind: Kind,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        decode: Decode | None = None,
        keep: Callable[[Object], bool] | None = None,
    ) -> AsyncIterator[ObjectList]:
        """As `list`, page by page, for who need not have all of it at once; all are of one moment."""
        query = _selectors(label_selector, field_selector) | {"limit": str(_PAGE)}
        while True:
            page = await self.send(Request("GET", kind.path(namespace), query=query), decode=decode)
            _insist_on_success(page)
            items = [
                {"apiVersion": kind.api_version, "kind": kind.kind, **item}
                for item in _items(page)
                if keep is None or keep(item)
            ]
            metadata = page.get("metadata") or {}
            yield ObjectList(items, str(metadata.get("resourceVersion") or ""))
            if not metadata.get("continue"):
                return
            if metadata["continue"] == query.get("continue"):
                raise Unreachable(
                    "the server answered the same page of a list over and over", hint=_HINT_NO_API_SERVER
                )
            query = {**query, "continue": metadata["continue"]}

    async def watch(
        self,
        kind: Kind,
        namespace: str = "",
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
        timeout_s: int = 290,
    ) -> AsyncIterator[WatchEvent]:
        """The changes after `resource_version`, until the server ends the stream.

        Bookmarks are asked for and yielded. A peer that is silent for longer than `timeout_s` plus
        some grace counts as dead.

        Raises:
            ApiError: also for an `ERROR` event inside the stream; status 410 means "list again".
            LookupError, TypeError: an event that is none; whoever watches has to begin anew.
            Unreachable: the connection was refused or broke.
        """
        query = _selectors(label_selector, field_selector) | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_s),
        }
        try:
            with self._said_when_slow():
                async with asyncio.timeout(self._timeout_s or _REQUEST_TIMEOUT_S):
                    answer = await self._open("GET", kind.path(namespace), query)
        except TimeoutError as error:
            raise failures.unreachable(self.host, error, self._without_secrets) from error
        try:
            async with aclosing(answer.chunks()) as chunks:
                rest = b""
                while (chunk := await self._next(chunks, timeout_s + 5)) is not None:
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        if line:
                            yield _watch_event(self._decoded(line))
        finally:
            answer.close()

    async def _next(self, chunks: AsyncIterator[bytes], silent_s: float) -> bytes | None:
        """The next piece of a stream, None at its end."""
        try:
            async with asyncio.timeout(silent_s):
                return await anext(chunks, None)
        except OSError as error:
            raise failures.unreachable(self.host, error, self._without_secrets) from error

    async def text(self, path: str, query: Mapping[str, str] | None = None) -> str:
        """The body of a GET as text: pod logs, `/version`, whatever is not an object."""
        asked = Request("GET", path, query=query or {})
        return (await self._tried(asked, lambda: self._read(asked, None))).decode(errors="replace")

    async def stream(self, request: Request, *, silent_s: float = _LONGEST_SILENCE_S) -> AsyncIterator[bytes]:
        """The body of an answer piece by piece, as it comes: logs that are followed, a model that speaks.

        Args:
            request: what to ask.
            silent_s: how long the server may say nothing before it counts as dead.
        """
        body = None if request.body is None else self._encode(request.body)
        try:
            async with asyncio.timeout(silent_s):
                answer = await self._open(
                    request.method, request.path, request.query, body, request.content_type
                )
        except TimeoutError as error:
            raise failures.unreachable(self.host, error, self._without_secrets) from error
        try:
            async with aclosing(answer.chunks()) as chunks:
                while (chunk := await self._next(chunks, silent_s)) is not None:
                    yield chunk
        finally:
            answer.close()

    async def _read(self, request: Request, body: bytes | None) -> bytes:
        """The body that answers a request."""
        timeout_s = _REQUEST_TIMEOUT_S if self._timeout_s is None else self._timeout_s
        silence_s = _SILENCE_S if self._patient and not request.is_write and self._timeout_s is None else None
        try:
            async with asyncio.timeout(timeout_s if timeout_s < math.inf else None):
                async with asyncio.timeout(silence_s):
                    answer = await self._open(
                        request.method, request.path, request.query, body, request.content_type
                    )
                try:
                    return await answer.read()
                finally:
                    answer.close()
        except OSError as error:
            raise failures.unreachable(self.host, error, self._without_secrets) from None

    async def _open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: bytes | None = None,
        content_type: str = "application/json",
        *,
        is_second_try: bool = False,
    ) -> http.Answer:
        """An answer that is no error, its body unread."""
        headers = dict(_HEADERS)
        if body is not None:
            headers["Content-Type"] = content_type
        elif "watch" not in query and self._server.compresses:
            headers["Accept-Encoding"] = "gzip"
        if authorization := await self._authorized():
            headers["Authorization"] = authorization
        target = f"{path}?{_query_text(tuple(query.items()))}" if query else path
        began, status = time.perf_counter(), None
        try:
            answer = await self._pool.ask(method, target, headers, body)
            status = answer.status
        except OSError as error:
            raise failures.unreachable(self.host, error, self._without_secrets) from error
        finally:
            if self._observer is not None:
                self._observer(Exchange(method, path, query, status, time.perf_counter() - began))
        if "warning" in answer.headers:
            self._say_warnings(answer.headers["warning"])
        if answer.status < 300:
            return answer
        if answer.status == 401 and not is_second_try and await self._credentials.renew():
            answer.close()
            return await self._open(method, path, query, body, content_type, is_second_try=True)
        try:
            text = self._without_secrets((await answer.read()).decode(errors="replace"))
        except OSError as error:
            raise failures.unreachable(self.host, error, self._without_secrets) from error
        finally:
            answer.close()
        refusal = failures.refusal(answer.status, answer.headers, text, path)
        asked = access(method, path, query)
        refusal.hint = refusals.hint_of(refusal, asked.namespace) or refusal.hint
        if refusals.kind_of(refusal) == "rights":
            refusal.hint = asked.hint
        raise refusal

    def _decoded(self, body: bytes, decode: Decode | None = None) -> Any:
        try:
            return (decode or self._decode)(body) if body else {}
        except (ValueError, RecursionError):
            raise failures.no_json(self._without_secrets(body[:4000].decode(errors="replace"))) from None

    def _without_secrets(self, text: str) -> str:
        """The text as it may be shown: servers and libraries like to quote what they were asked with."""
        for secret in (*self._secrets, self._sent):
            if len(secret) >= _SHORTEST_SECRET:
                text = text.replace(secret, "***")
        return text

    def _say_warnings(self, header: str) -> None:
        """Say what a server warns of, each once."""
        from kaitoctl.kube import warning_header

        for text in warning_header.texts(header):
            if text not in self._warned and len(self._warned) < _MOST_WARNINGS:
                self._warned.add(text)
                _log.warning("the API server warns: %s", self._without_secrets(text))

    async def log_in(self) -> None:
        """Ask who gives our credentials, before anything else is asked.

        Raises:
            InputError: there are none.
            Unreachable: who gives them does not answer.
        """
        with self._said_when_slow():
            await self._authorized()

    async def _authorized(self) -> str:
        """The value of the header Authorization, empty for none; by then TLS has our certificate, too."""
        self._is_logging_in = True
        try:
            authorization = await self._credentials.authorization()
        finally:
            self._is_logging_in = False
        self._sent = authorization.partition(" ")[2]
        if (pair := self._credentials.pair) != self._pair:
            self._pair = pair
            if self.host.startswith("https:"):
                self._pool.show(tls.context(self._server, self.host, pair))
        return authorization


@asynccontextmanager
async def connect(
    *,
    kubeconfig: Path | None = None,
    context: str | None = None,
    namespace: str | None = None,
    observer: Observer | None = None,
    decode: Decode = json.loads,
    encode: Encode = _encode,
    patient: bool = False,
    says_waits: bool = False,
    request_timeout_s: float | None = None,
) -> AsyncIterator[Client]:
    """A client for the cluster that kubectl would use.

    Looked for in this order: `kubeconfig`, `$KUBECONFIG`, `~/.kube/config`, the pod's own service account.

    Args:
        kubeconfig: a file, or None for the usual places.
        context: a context of it, or None for the current one.
        namespace: the default namespace, or None for the context's own.
        observer: told of every exchange with the server.
        decode: as in `Client`.
        encode: as in `Client`.
        patient: as in `Client`.
        says_waits: as in `Client`.
        request_timeout_s: as in `Client`.

    Raises:
        InputError: the kubeconfig is missing, unreadable or has no such context; nobody gives credentials.
    """
    server = _found(kubeconfig, context)
    async with Client(
        server,
        namespace=namespace or server.namespace or "default",
        observer=observer,
        decode=decode,
        encode=encode,
        patient=patient,
        says_waits=says_waits,
        request_timeout_s=request_timeout_s,
    ) as client:
        if server.plugin or server.issuer:
            await client.log_in()
        yield client


def _found(file: Path | None, context: str | None) -> Server:
    if file is not None:
        files = [str(file)]
    elif listed := os.environ.get("KUBECONFIG"):
        files = list(dict.fromkeys(filter(None, listed.split(os.pathsep))))
    else:
        files = [str(Path.home() / ".kube" / "config")]
    if existing := [name for name in files if os.path.exists(name)]:  # noqa: PTH110 - one stat
        return kubeconfig.from_files(existing, context)
    if file is None and not context and (server := kubeconfig.from_pod()) is not None:
        return server
    raise InputError(
        f"no kubeconfig: {os.pathsep.join(files)} does not exist",
        hint="name one with --kubeconfig or $KUBECONFIG, or use --sandbox for a cluster on this machine",
    )


def _insist_on_an_address(server: str) -> None:
    if not http.is_address(server):
        shown = re.sub(r"(//[^/]*)/.*", r"\1/...", http.without_user(server), flags=re.DOTALL)
        raise InputError(f"the kubeconfig's server {shown!r} is not an http(s) address")


def _refuse_to_leak_a_secret(host: str, server: Server) -> None:
    parts = urlsplit(host)
    if parts.scheme == "https" or not server.has_secret:
        return
    if not proxies.is_loopback(parts.hostname or ""):
        raise InputError(
            f"the kubeconfig's server {host} is plain HTTP, and a token must not be sent in the clear",
            hint="use the server's https:// address",
        )
    if server.proxy:
        raise InputError(
            f"the kubeconfig's server {host} is plain HTTP, and its proxy-url would see the token",
            hint="use the server's https:// address, or no proxy-url",
        )


@lru_cache(128)  # a controller says the same of all its writes
def _query_text(query: tuple[tuple[str, str], ...]) -> str:
    return urlencode(query)


def _selectors(label_selector: str, field_selector: str) -> dict[str, str]:
    query = {"labelSelector": label_selector, "fieldSelector": field_selector}
    return {name: value for name, value in query.items() if value}


def _items(page: Any) -> Sequence[Object]:
    """The objects of a list; an answer that is none must never be taken for an empty one."""
    items = page.get("items", ()) if isinstance(page, dict) else ()
    is_list = isinstance(items, list) or (items is None and isinstance(page.get("metadata"), dict))
    if is_list and all(_is_object(item) for item in items or ()):
        return items or ()
    raise Unreachable(
        "the server answered something that is not a list where one was due", hint=_HINT_NO_API_SERVER
    )


def _is_object(item: Any) -> bool:
    metadata = item.get("metadata") if isinstance(item, dict) else None
    return isinstance(metadata, dict) and isinstance(metadata.get("name"), str)


def _insist_on_success(answer: Any) -> None:
    """Take a Status that reports a failure for one, also where a gateway has made a success of its number."""
    is_status = isinstance(answer, dict) and answer.get("kind") == "Status"
    if is_status and answer.get("status") == "Failure":
        code = answer.get("code")
        raise failures.status_error(code if isinstance(code, int) and code >= 400 else 500, answer)


def _insist_on_an_object(request: Request, answer: Any) -> None:
    """Refuse what no API server answers: somebody else may speak in its place."""
    if isinstance(answer, dict):
        about = access(request.method, request.path, request.query)
        if about.name and about.verb in ("get", "patch", "update") and "/" not in about.resource:
            is_right = _is_named(answer, about.name)
        else:
            is_right = not re.fullmatch("/apis/[^/]+", request.path) or _has_versions(answer)
        if is_right:
            return
    raise Unreachable(
        "the server answered something that is not an object where one was due", hint=_HINT_NO_API_SERVER
    )


def _is_named(answer: Object, name: str) -> bool:
    """Whether it is an object, not a Status or a List; the path has named it where it does not say."""
    metadata = answer.get("metadata")
    if not isinstance(metadata, dict) or str(answer.get("kind")).endswith(("Status", "List")):
        return False
    return isinstance(metadata.setdefault("name", name), str)


def _has_versions(answer: Object) -> bool:
    """Whether it tells the versions of an API group."""
    versions = answer.get("versions")
    return isinstance(versions, list) and all(isinstance(item, dict) for item in versions)


def _watch_event(event: Any) -> WatchEvent:
    if event["type"] == "ERROR":
        raise failures.status_error(int(event["object"].get("code") or 500), event["object"])
    return WatchEvent(event["type"], event["object"])


_UNSAFE = re.compile(b"[<>&]|\xe2\x80[\xa8\xa9]")
_UNSAFE_IN_HTML = {char: f"\\u{ord(char):04x}".encode() for char in "<>&\u2028\u2029"}


def html_safe(body: bytes) -> bytes:
    """JSON in the one form in which API servers write it, too: compact, and safe to be put into HTML.

    A ControllerRevision's immutable `data` is compared by its bytes: in another form, a patch of anything
    else in it seems to change it. Source: Go's encoding/json, `HTMLEscape`.
    """
    if _UNSAFE.search(body) is None:
        return body
    for char, escape in _UNSAFE_IN_HTML.items():
        body = body.replace(char.encode(), escape)
    return body
