"""The door: the only connection from kaitoctl to an API server.

`kubeconfig` says which server and who we are, `http` carries bytes; here they become objects, watches and
errors. Objects stay dicts, a watch is a stream of lines, and nothing is retried behind the caller's back
except what the server itself asks for (`Retry-After`). Watching *for ever* is not here; that is
`reconcile.informer`. The official package is asked when a service has to give the credentials.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import math
import os
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from kaitoctl import __version__
from kaitoctl.errors import ApiError, InputError, Unreachable
from kaitoctl.kube import http, kubeconfig, proxies, refusals
from kaitoctl.kube.access import access
from kaitoctl.kube.kubeconfig import Server
from kaitoctl.kube.objects import Kind, Object
from kaitoctl.kube.request import Request
from kaitoctl.kube.trimmed import Decode

_HEADERS = {"User-Agent": f"kaitoctl/{__version__}", "Accept": "application/json"}
_CONNECT_TIMEOUT_S = 10.0
_REQUEST_TIMEOUT_S = 60.0
_TOKEN_FILE_READ_EVERY_S = 60.0
_CREDENTIALS_TIMEOUT_S = 30.0  # for who vouches for us
_LONGEST_SILENCE_S = 300.0  # a large model may think that long before its first word
_PAGE = 500
_RETRIES_WHEN_ASKED_TO_WAIT = 3
_LONGEST_ASKED_WAIT_S = 30.0

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
        self._secrets = [where.path.strip("/"), server.token]
        _refuse_to_leak_a_secret(self.host, server)
        if where.scheme == "https":
            proxy = server.proxy or proxies.from_environment(self.host, os.environ)
        else:
            proxy = server.proxy
        context = _ssl_context(server, self.host) if where.scheme == "https" else None
        self._pool = http.Pool(
            base,
            ssl=context,
            server_hostname=server.tls_server_name,
            proxy=proxies.checked(proxy, "the kubeconfig's proxy-url"),
            connect_timeout_s=_CONNECT_TIMEOUT_S,
        )
        self._authorization, self._read_at = _authorization(server), -math.inf

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
        for attempt in range(_RETRIES_WHEN_ASKED_TO_WAIT + 1):
            try:
                answered: Object = _decode(await self._read(request, body), decode or self._decode)
                return answered
            except ApiError as error:
                wait_s = error.retry_after_s
                last = attempt == _RETRIES_WHEN_ASKED_TO_WAIT
                if wait_s is None or wait_s > _LONGEST_ASKED_WAIT_S or last:
                    raise
                await asyncio.sleep(wait_s)
        raise AssertionError("unreachable")

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
            items = [
                {"apiVersion": kind.api_version, "kind": kind.kind, **item}
                for item in _items(page)
                if keep is None or keep(item)
            ]
            metadata = page.get("metadata") or {}
            yield ObjectList(items, str(metadata.get("resourceVersion") or ""))
            if not metadata.get("continue"):
                return
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
            async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                answer = await self._open("GET", kind.path(namespace), query)
        except TimeoutError as error:
            raise _unreachable(self.host, error, self._without_secrets) from error
        try:
            async with aclosing(answer.chunks()) as chunks:
                rest = b""
                while (chunk := await self._next(chunks, timeout_s + 5)) is not None:
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        if line:
                            yield _watch_event(line, self._decode)
        finally:
            answer.close()

    async def _next(self, chunks: AsyncIterator[bytes], silent_s: float) -> bytes | None:
        """The next piece of a stream, None at its end."""
        try:
            async with asyncio.timeout(silent_s):
                return await anext(chunks, None)
        except OSError as error:
            raise _unreachable(self.host, error, self._without_secrets) from error

    async def text(self, path: str, query: Mapping[str, str] | None = None) -> str:
        """The body of a GET as text: pod logs, `/version`, whatever is not an object."""
        return (await self._read(Request("GET", path, query=query or {}), None)).decode(errors="replace")

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
            raise _unreachable(self.host, error, self._without_secrets) from error
        try:
            async with aclosing(answer.chunks()) as chunks:
                while (chunk := await self._next(chunks, silent_s)) is not None:
                    yield chunk
        finally:
            answer.close()

    async def _read(self, request: Request, body: bytes | None) -> bytes:
        """The body that answers a request."""
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                answer = await self._open(
                    request.method, request.path, request.query, body, request.content_type
                )
                try:
                    return await answer.read()
                finally:
                    answer.close()
        except OSError as error:
            raise _unreachable(self.host, error, self._without_secrets) from error

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
        elif "watch" not in query:
            headers["Accept-Encoding"] = "gzip"
        if authorization := await self._authorized():
            headers["Authorization"] = authorization
        target = f"{path}?{_query_text(tuple(query.items()))}" if query else path
        began, status = time.perf_counter(), None
        try:
            answer = await self._pool.ask(method, target, headers, body)
            status = answer.status
        except OSError as error:
            raise _unreachable(self.host, error, self._without_secrets) from error
        finally:
            if self._observer is not None:
                self._observer(Exchange(method, path, query, status, time.perf_counter() - began))
        if answer.status < 300:
            return answer
        if answer.status == 401 and self._server.token_file and not is_second_try:
            # The file may have a new token already: not in a minute, but now.
            answer.close()
            self._read_at = -math.inf
            return await self._open(method, path, query, body, content_type, is_second_try=True)
        try:
            text = self._without_secrets((await answer.read()).decode(errors="replace"))
        except OSError as error:
            raise _unreachable(self.host, error, self._without_secrets) from error
        finally:
            answer.close()
        refusal = _error(answer.status, answer.headers, text, path)
        if refusals.kind_of(refusal) == "rights":
            refusal.hint = access(method, path, query).hint
        raise refusal

    def _without_secrets(self, text: str) -> str:
        """The text as it may be shown: servers and libraries like to quote the URL they were asked for."""
        for secret in filter(None, self._secrets):
            text = text.replace(secret, "***")
        return text

    async def _authorized(self) -> str:
        """The value of the header Authorization; empty for none."""
        server = self._server
        if server.authorization is not None:
            # The official package's hook renews what another program gave before it expires.
            self._authorization = await server.authorization()
        elif server.token_file and (now := time.monotonic()) - self._read_at > _TOKEN_FILE_READ_EVERY_S:
            try:
                token = Path(server.token_file).read_text(encoding="ascii").strip()  # noqa: ASYNC240 - one small file
            except (OSError, ValueError) as error:
                if not self._authorization:
                    raise InputError(f"the token file {server.token_file} cannot be read: {error}") from error
            else:
                self._authorization, self._read_at = f"Bearer {token}", now
                self._secrets = [*self._secrets[:2], token]
        return self._authorization


@asynccontextmanager
async def connect(
    *,
    kubeconfig: Path | None = None,
    context: str | None = None,
    namespace: str | None = None,
    observer: Observer | None = None,
    decode: Decode = json.loads,
    encode: Encode = _encode,
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

    Raises:
        InputError: the kubeconfig is missing, unreadable or has no such context.
    """
    server = await _found(kubeconfig, context)
    chosen = namespace or server.namespace or "default"
    async with Client(server, namespace=chosen, observer=observer, decode=decode, encode=encode) as client:
        yield client


async def _found(file: Path | None, context: str | None) -> Server:
    files = str(file) if file else os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    if existing := _files_of(files):
        read = kubeconfig.from_files(existing, context)
        return await (_from_elsewhere(existing, context) if read is None else _vouched_for(read))
    if file is None and not context and (server := kubeconfig.from_pod()) is not None:
        return server
    raise InputError(
        f"no kubeconfig: {files} does not exist",
        hint="name one with --kubeconfig or $KUBECONFIG, or use --sandbox for a cluster on this machine",
    )


async def _vouched_for(server: Server) -> Server:
    """The server with the credentials that its plugin gives, if it has one."""
    if server.plugin is None:
        return server
    from kaitoctl.kube import exec_plugin

    given = await server.plugin.ask()
    made = replace(server, authorization=exec_plugin.renewing(server.plugin, given) if given.token else None)
    if not given.certificate:
        return made
    return replace(made, client_certificate=given.certificate, client_key=given.key)


async def _from_elsewhere(files: list[str], context: str | None) -> Server:
    """The server of a user whose credentials another service gives."""
    from kubernetes.aio.client import Configuration
    from kubernetes.aio.config import ConfigException, kube_config

    where = os.pathsep.join(files)
    configuration = type.__call__(Configuration)
    try:
        async with asyncio.timeout(_CREDENTIALS_TIMEOUT_S):
            loader = await kube_config.load_kube_config(
                config_file=where,
                context=context,
                client_configuration=configuration,
                persist_config=False,
            )
    except TimeoutError:
        raise InputError(
            f"kubeconfig {where}: its auth-provider said nothing for {_CREDENTIALS_TIMEOUT_S:.0f} s"
        ) from None
    except ConfigException as error:
        raise InputError(
            f"kubeconfig {where}: {error}", hint="see the contexts with: kubectl config get-contexts"
        ) from error
    except Exception as error:  # a broken file surfaces as any of YAMLError, TypeError, KeyError, OSError...
        raise InputError(
            f"kubeconfig {where} cannot be used: {type(error).__name__}: {error}",
            hint="kubectl config view shows what is in it",
        ) from error

    async def authorization() -> str:
        return str(await configuration.get_api_key_with_prefix("BearerToken") or "")

    has_token = bool(configuration.api_key.get("BearerToken"))
    return Server(
        configuration.host,
        namespace=str(loader.current_context.get("context", {}).get("namespace") or ""),
        authorization=authorization if has_token else None,
        ca_file=configuration.ssl_ca_cert or "",
        ca_data=configuration.ca_cert_data or "",
        verifies=bool(configuration.verify_ssl),
        tls_server_name=configuration.tls_server_name or "",
        proxy=configuration.proxy or "",
        client_certificate=configuration.cert_file or "",
        client_key=configuration.key_file or "",
    )


def _files_of(path_list: str) -> list[str]:
    return [name for name in path_list.split(os.pathsep) if name and Path(name).is_file()]


def _insist_on_an_address(server: str) -> None:
    if not http.is_address(server):
        raise InputError(f"the kubeconfig's server {http.without_user(server)!r} is not an http(s) address")


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


def _authorization(server: Server) -> str:
    if server.basic is not None:
        return f"Basic {base64.b64encode(':'.join(server.basic).encode()).decode()}"
    return f"Bearer {server.token}" if server.token else ""


def _ssl_context(server: Server, host: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(
            cafile=server.ca_file or None, cadata=None if server.ca_file else server.ca_data or None
        )
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if server.client_certificate:
            _load_client_certificate(context, server)
    except (OSError, ValueError) as error:
        raise InputError(f"the kubeconfig's certificates cannot be used: {error}") from error
    if not server.verifies:
        _log.warning(
            "anybody may pose as %s: its certificate is not verified (insecure-skip-tls-verify)",
            host,
        )
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    # Python 3.13 made this strict by default; many clusters' own CAs lack the extensions it asks for.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _load_client_certificate(context: ssl.SSLContext, server: Server) -> None:
    """Give the context what proves who we are; OpenSSL reads it from files only."""
    certificate, key = server.client_certificate, server.client_key
    if isinstance(certificate, str) and isinstance(key, str):
        context.load_cert_chain(certificate, keyfile=key or None)
        return
    import tempfile

    with tempfile.TemporaryDirectory(prefix="kaitoctl-") as name:  # for nobody else to look into
        paths = []
        for part, content in (("certificate", certificate), ("key", key)):
            if isinstance(content, bytes):
                (path := Path(name) / part).write_bytes(content)
                content = str(path)
            paths.append(content)
        context.load_cert_chain(paths[0], keyfile=paths[1] or None)


@lru_cache(128)  # a controller says the same of all its writes
def _query_text(query: tuple[tuple[str, str], ...]) -> str:
    return urlencode(query)


def _selectors(label_selector: str, field_selector: str) -> dict[str, str]:
    query = {"labelSelector": label_selector, "fieldSelector": field_selector}
    return {name: value for name, value in query.items() if value}


def _decode(body: bytes, decode: Decode) -> Any:
    try:
        return decode(body) if body else {}
    except (ValueError, RecursionError) as error:
        raise Unreachable(
            f"the server answered something that is not JSON: {body[:80]!r}",
            hint="is the kubeconfig's server address that of a Kubernetes API server?",
        ) from error


def _items(page: Any) -> Sequence[Object]:
    """The objects of a list; an answer that is none must never be taken for an empty one."""
    items = page.get("items", ()) if isinstance(page, dict) else ()
    if isinstance(items, list) or (items is None and "metadata" in page):
        return items or ()
    raise Unreachable(
        "the server answered something that is not a list where one was due",
        hint="is the kubeconfig's server address that of a Kubernetes API server?",
    )


def _object(answer: Any) -> Object:
    if isinstance(answer, dict):
        return answer
    raise Unreachable(
        f"the server answered {type(answer).__name__} where an object was due",
        hint="is the kubeconfig's server address that of a Kubernetes API server?",
    )


def _watch_event(line: bytes, decode: Decode) -> WatchEvent:
    event = _decode(line, decode)
    if event["type"] == "ERROR":
        raise _status_error(int(event["object"].get("code") or 500), event["object"], None)
    return WatchEvent(event["type"], event["object"])


def _error(status: int, headers: Mapping[str, str], body: str, path: str) -> ApiError:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = {}
    if not isinstance(answer, dict) or answer.get("kind") != "Status":
        words = body.strip()[:200] or f"HTTP {status}"
        reason = {404: "NotFound", 401: "Unauthorized", 403: "Forbidden"}.get(status, "")
        answer = {"message": f"{words} ({path})", "reason": reason}
    return _status_error(status, answer, headers.get("retry-after"))


def _status_error(status: int, answer: Object, retry_after: str | None) -> ApiError:
    details = answer.get("details")
    details = details if isinstance(details, dict) else {}
    asked = retry_after or details.get("retryAfterSeconds")
    try:
        retry_after_s = max(0.0, float(asked)) if asked else None
    except (ValueError, TypeError):
        retry_after_s = _until(str(asked))
    if retry_after_s is not None and not math.isfinite(retry_after_s):
        retry_after_s = 1.0
    return ApiError(
        status,
        str(answer.get("reason") or ""),
        str(answer.get("message") or f"HTTP {status}"),
        details=details,
        retry_after_s=retry_after_s if status in (429, 503) else None,
    )


def _until(date: str) -> float:
    """Seconds until an HTTP date; one for what is none."""
    from email.utils import parsedate_to_datetime

    try:
        when = parsedate_to_datetime(date)
        return max(0.0, (when - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 1.0


def _unreachable(host: str, error: OSError, shown: Callable[[str], str]) -> Unreachable:
    if isinstance(error, TimeoutError):
        cause, hint = "no answer in time", "is the cluster up, and reachable from this network?"
    elif isinstance(error, ssl.SSLError):
        cause, hint = shown(str(error)), "the server's certificate does not match the kubeconfig's CA"
    elif isinstance(error, http.Broken):
        cause, hint = shown(str(error)), "the connection broke; try again"
    else:
        if error.errno is None or isinstance(error, socket.gaierror):
            cause = error.strerror or str(error)
        else:
            cause = os.strerror(error.errno)
        hint = "is the cluster up? `kubectl cluster-info` asks the same server"
    return Unreachable(f"cannot reach the API server {host}: {cause}", cause=cause, hint=hint)


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
