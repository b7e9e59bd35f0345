"""The API client: the only connection from kaitoctl to an API server.

`kubeconfig` says which server and who we are, `transport` asks it; here answers become objects and watches
(`response_bodies`). Objects stay dicts, a watch is a stream of lines. Only what the server itself asks for
(`Retry-After`) is retried behind the caller's back; for a command that somebody waits for (`patient`), also
what may pass, and a long silence is said (`request_retries`). Watching *for ever* is not here; that is
`reconcile.informer`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaitoctl.errors import ApiError
from kaitoctl.kube import failures, fast_json
from kaitoctl.kube.http import Answer
from kaitoctl.kube.kubeconfig import Server
from kaitoctl.kube.objects import Kind, Object, with_type
from kaitoctl.kube.overrides import NONE, Overrides
from kaitoctl.kube.paging import Paging
from kaitoctl.kube.partial_decoding import Decode
from kaitoctl.kube.request import Request
from kaitoctl.kube.response_bodies import (
    ObjectList,
    WatchEvent,
    html_safe,
    insist_on_an_object,
    insist_on_success,
    items_of,
    watch_event,
)
from kaitoctl.kube.server_choice import find_server
from kaitoctl.kube.transport import Exchange, Observer, Transport

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, Configuration

_REQUEST_TIMEOUT_S = 60.0
_SILENCE_S = 30.0  # until a question is answered; a write may have to wait for webhooks
_LONGEST_SILENCE_S = 300.0  # a large model may think that long before its first word
_PAGE = 500

__all__ = ["Client", "Exchange", "ObjectList", "Observer", "WatchEvent", "connect", "serves"]


class Client:
    """A connection to one API server. Make one with `connect`; use it in one event loop.

    Args:
        server: where it is, and who we are there.
        namespace: the default one.
        observer: called after every exchange, repetitions included; must neither block nor raise.
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
        patient: bool = False,
        says_waits: bool = False,
        request_timeout_s: float | None = None,
    ) -> None:
        self.namespace = namespace
        self._transport = Transport(server, observer=observer, patient=patient, says_waits=says_waits)
        self.host = self._transport.host
        self._patient = patient
        self._timeout_s = request_timeout_s
        self.has_written = False
        """Whether a request was sent that may have changed the cluster, answered or not."""

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

    @property
    def date(self) -> str:
        """What the server's clock said with its last answer, as HTTP writes it; empty where it did not."""
        return self._transport.date

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

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
        body = None if request.body is None else html_safe(fast_json.encode(request.body))

        async def once() -> Object:
            raw = await self._read(request, body)
            if not raw and request.method == "GET":
                raise failures.no_json("")
            answered: Object = self._decode_body(raw, decode)
            if decode is None:
                insist_on_success(answered)
                insist_on_an_object(request, answered)
            return answered

        return await self._transport.patience.retry(request, once)

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
        """All objects of a kind, fetched in pages; at once when the server forgets where they were (410).

        Args:
            kind: what to list.
            namespace: empty for all namespaces.
            label_selector: `a=1,b!=2,c in (x,y)`.
            field_selector: `metadata.name=x`.
            decode: reads a page; `kube.partial_decoding` has decoders that keep only what is looked at.
            keep: which objects to return; the others of a page are forgotten with it.
        """

        async def listed(limit: int) -> ObjectList:
            items: list[Object] = []
            version = ""
            selectors = {"label_selector": label_selector, "field_selector": field_selector}
            async for page in self.pages(kind, namespace, **selectors, decode=decode, keep=keep, limit=limit):
                items += page.items
                version = page.resource_version
            return ObjectList(items, version)

        try:
            return await listed(_PAGE)
        except ApiError as error:
            if error.status != 410:
                raise
        return await listed(0)

    async def pages(
        self,
        kind: Kind,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        decode: Decode | None = None,
        keep: Callable[[Object], bool] | None = None,
        limit: int = _PAGE,
    ) -> AsyncIterator[ObjectList]:
        """As `list`, page by page, for who need not have all of it at once; all are of one moment."""
        query = _selectors(label_selector, field_selector) | ({"limit": str(limit)} if limit else {})
        paging = Paging()
        while True:
            page = await self.send(Request("GET", kind.path(namespace), query=query), decode=decode)
            insist_on_success(page)
            items = [with_type(kind, item) for item in items_of(page) if keep is None or keep(item)]
            metadata, listed = page.get("metadata") or {}, items_of(page)
            yield ObjectList(items, str(metadata.get("resourceVersion") or ""))
            if not metadata.get("continue"):
                return
            paging.insist_on_progress(metadata["continue"], listed)
            query = {**query, "continue": metadata["continue"]}
            del page, items, listed  # the next one needs the room

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
            LookupError, TypeError: an event that is none; whoever watches has to list again.
            Unreachable: the connection was refused or broke.
        """
        query = _selectors(label_selector, field_selector) | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_s),
        }
        with self._transport.no_answer_explained(), self._transport.patience.said_when_slow():
            async with asyncio.timeout(self._timeout_s or _REQUEST_TIMEOUT_S):
                answer = await self._transport.open(Request("GET", kind.path(namespace), query=query))
        rest = b""
        async with aclosing(self._pieces(answer, timeout_s + 5)) as chunks:
            async for chunk in chunks:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line:
                        yield watch_event(self._decode_body(line))

    async def _pieces(self, answer: Answer, silent_s: float) -> AsyncGenerator[bytes, None]:
        """The body of an answer as it comes, and its connection given back at the end."""
        try:
            with self._transport.no_answer_explained():
                async with aclosing(answer.chunks(silent_s)) as chunks:
                    async for chunk in chunks:
                        yield chunk
        finally:
            answer.close()

    async def text(self, path: str, query: Mapping[str, str] | None = None) -> str:
        """The body of a GET as text: pod logs, `/version`, whatever is not an object."""
        asked = Request("GET", path, query=query or {})
        return (await self._transport.patience.retry(asked, lambda: self._read(asked, None))).decode(
            errors="replace"
        )

    async def stream(self, request: Request, *, silent_s: float = _LONGEST_SILENCE_S) -> AsyncIterator[bytes]:
        """The body of an answer piece by piece, as it comes: logs that are followed, a model that speaks.

        Args:
            request: what to ask.
            silent_s: how long the server may say nothing before it counts as dead.
        """
        body = None if request.body is None else fast_json.encode(request.body)
        with self._transport.no_answer_explained():
            async with asyncio.timeout(silent_s):
                answer = await self._transport.open(request, body)
        async with aclosing(self._pieces(answer, silent_s)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _read(self, request: Request, body: bytes | None) -> bytes | bytearray:
        """The body that answers a request."""
        self.has_written |= request.is_write
        timeout_s = _REQUEST_TIMEOUT_S if self._timeout_s is None else self._timeout_s
        silence_s = _SILENCE_S if self._patient and not request.is_write and self._timeout_s is None else None
        with self._transport.no_answer_explained():
            async with asyncio.timeout(timeout_s if timeout_s < math.inf else None):
                opening = self._transport.open(request, body)
                if silence_s is None:
                    answer = await opening
                else:
                    async with asyncio.timeout(silence_s):
                        answer = await opening
                try:
                    return await answer.read()
                finally:
                    answer.close()

    def _decode_body(self, body: bytes | bytearray, decode: Decode | None = None) -> Any:
        try:
            return (decode or fast_json.decode)(body) if body else {}
        except (ValueError, RecursionError):
            raise failures.no_json(
                self._transport.without_secrets(body[:4000].decode(errors="replace"))
            ) from None

    async def log_in(self) -> None:
        """Ask who gives our credentials, before anything else is asked.

        Raises:
            InputError: there are none.
            Unreachable: who gives them does not answer.
        """
        with self._transport.patience.said_when_slow():
            await self._transport.authorize()


@asynccontextmanager
async def connect(
    *,
    kubeconfig: Path | None = None,
    context: str | None = None,
    given: Overrides = NONE,
    namespace: str | None = None,
    observer: Observer | None = None,
    patient: bool = False,
    says_waits: bool = False,
    request_timeout_s: float | None = None,
) -> AsyncIterator[Client]:
    """A client for the cluster that kubectl would use.

    Looked for in this order: `kubeconfig`, `$KUBECONFIG`, `~/.kube/config`, the pod's own service account.

    Args:
        kubeconfig: a file, or None for the usual places.
        context: a context of it, or None for the current one.
        given: what counts instead of the kubeconfig.
        namespace: the default namespace, or None for the context's own.
        observer: called after every exchange with the server.
        patient: as in `Client`.
        says_waits: as in `Client`.
        request_timeout_s: as in `Client`.

    Raises:
        InputError: the kubeconfig is missing, unreadable or has no such context; nobody gives credentials.
    """
    server = find_server(kubeconfig, context, given)
    async with Client(
        server,
        namespace=namespace or server.namespace or "default",
        observer=observer,
        patient=patient,
        says_waits=says_waits,
        request_timeout_s=request_timeout_s,
    ) as client:
        if server.plugin or server.issuer:
            await client.log_in()
        yield client


async def serves(client: Client, kind: Kind) -> bool:
    """Whether the cluster has such a kind, in this version.

    Raises:
        ApiError: it does not say.
    """
    try:
        answer = await client.send(Request("GET", f"/apis/{kind.group}/{kind.version}"))
    except ApiError as error:
        if error.status != 404:
            raise
        return False
    return any(item.get("name") == kind.plural for item in answer.get("resources") or ())


def _selectors(label_selector: str, field_selector: str) -> dict[str, str]:
    query = {"labelSelector": label_selector, "fieldSelector": field_selector}
    return {name: value for name, value in query.items() if value}
