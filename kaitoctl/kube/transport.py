"""HTTP exchanges with one API server: whom we trust, who we are, and what an error answer means.

`tls` says whom we trust, `credentials` keeps fresh who we are, `http` carries bytes; here no answer and error
answers become exceptions, which hold no secret.
"""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from urllib.parse import urlencode, urlsplit

from msgspec import Struct

from kaitoctl import __version__
from kaitoctl.errors import ApiError
from kaitoctl.kube import credentials, failures, http, proxies, refusal_hints, tls
from kaitoctl.kube.access import access
from kaitoctl.kube.kubeconfig import Server
from kaitoctl.kube.request import Request
from kaitoctl.kube.request_retries import Patience
from kaitoctl.kube.server_choice import insist_on_an_address, refuse_to_leak_a_secret

_HEADERS = {"User-Agent": f"kaitoctl/{__version__}", "Accept": "application/json"}
_CONNECT_TIMEOUT_S = 10.0
_MOST_WARNINGS = 100  # said once each; a controller runs long
_SHORTEST_SECRET = 6  # shorter ones are in any text

_log = logging.getLogger("kaitoctl.kube.client")


class Exchange(Struct, frozen=True):
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


class Transport:
    """Carries out HTTP requests.

    Args:
        server: where it is, and who we are there.
        observer: called after every exchange; must neither block nor raise.
        patient: as in `client.Client`.
        says_waits: as in `client.Client`.
    """

    def __init__(self, server: Server, *, observer: Observer | None, patient: bool, says_waits: bool) -> None:
        base = server.address.rstrip("/")
        insist_on_an_address(base)
        # For messages: whatever a server's URL has besides its address may be a secret.
        where = urlsplit(base)
        self.host = f"{where.scheme}://{where.netloc.rpartition('@')[2]}"
        self._server = server
        self._observer = observer
        self.patience = Patience(self.host, retries_failures=patient, says_waits=says_waits)
        self._warned: set[str] = set()
        self._secrets = (
            where.path.strip("/"),
            server.token,
            *(server.basic or ())[1:],
            where.password or "",
            *(value for name, value in server.impersonation if name.startswith("Impersonate-Extra-")),
        )
        self._sent = ""  # the secret in the header Authorization
        refuse_to_leak_a_secret(self.host, server)
        proxy = proxies.check_url(server.proxy, "the kubeconfig's proxy-url", names_scheme=True)
        if not proxy and where.scheme == "https":
            proxy = proxies.from_environment(self.host, os.environ)
        trusted = functools.partial(tls.context, server, self.host)
        self._pool = http.Pool(
            base,
            ssl=trusted() if where.scheme == "https" else None,
            server_hostname=server.tls_server_name,
            proxy=proxy,
            # Whom the kubeconfig trusts vouches for the proxy, too: as Go's net/http, `Transport.addTLS`.
            proxy_ssl=trusted() if proxy.startswith("https:") else None,
            connect_timeout_s=_CONNECT_TIMEOUT_S,
            more=server.impersonation,
        )
        self._credentials = credentials.of(server, where)
        self._pair: tuple[bytes, bytes] | None = None
        self.date = ""  # what the server's clock said last, as HTTP writes it

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close()

    async def open(self, request: Request, body: bytes | None = None) -> http.Answer:
        """An answer that is no error, its body unread.

        Args:
            request: what to ask; its body is not looked at.
            body: the bytes of its body.

        Raises:
            ApiError: an error answer.
            OSError: none; callers have `no_answer_explained` around all of it.
        """
        answer = await self._ask(request, body)
        if answer.status == 401 and await self._credentials.renew():
            answer.close()
            answer = await self._ask(request, body)
        if answer.status < 300:
            return answer
        raise await self._refusal(answer, request)

    async def _ask(self, request: Request, body: bytes | None) -> http.Answer:
        headers = dict(_HEADERS)
        if body is not None:
            headers["Content-Type"] = request.content_type
        elif "watch" not in request.query and self._server.compresses:
            headers["Accept-Encoding"] = "gzip"
        if authorization := await self.authorize():
            headers["Authorization"] = authorization
        method, path, query = request.method, request.path, request.query
        target = f"{path}?{_query_text(tuple(query.items()))}" if query else path
        began, status = time.perf_counter(), None
        try:
            answer = await self._pool.ask(method, target, headers, body)
            status = answer.status
            self.date = answer.headers.get("date", "")
        finally:
            self._observe(Exchange(method, path, query, status, time.perf_counter() - began))
        if "warning" in answer.headers:
            self._say_warnings(answer.headers["warning"])
        return answer

    def _observe(self, exchange: Exchange) -> None:
        """Show the observer an exchange; what it raises would take the place of a cancellation."""
        try:
            if self._observer is not None:
                self._observer(exchange)
        except Exception:
            _log.exception("an observer failed")

    @contextmanager
    def no_answer_explained(self) -> Iterator[None]:
        """No answer, or half of one, is `Unreachable` from here on.

        Raises:
            Unreachable: of an OSError, a TimeoutError among them.
        """
        try:
            yield
        except OSError as error:
            raise failures.unreachable(self.host, error, self.without_secrets) from error

    async def _refusal(self, answer: http.Answer, request: Request) -> ApiError:
        """The error for an answer with an error status."""
        try:
            with self.no_answer_explained():
                text = self.without_secrets((await answer.read()).decode(errors="replace"))
        finally:
            answer.close()
        refusal = failures.refusal(answer.status, answer.headers, text, request.path)
        asked = access(request.method, request.path, request.query)
        refusal.hint = refusal_hints.hint_of(refusal, asked.namespace) or refusal.hint
        if refusal_hints.refusal_kind(refusal) == "rights":
            refusal.hint = asked.hint
        return refusal

    def without_secrets(self, text: str) -> str:
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
                _log.warning("the API server warns: %s", self.without_secrets(text))

    async def authorize(self) -> str:
        """The value of the header Authorization, empty for none; by then TLS has our certificate, too."""
        self.patience.is_logging_in = True
        try:
            authorization = await self._credentials.authorization()
        finally:
            self.patience.is_logging_in = False
        self._sent = authorization.partition(" ")[2]
        if (pair := self._credentials.pair) != self._pair:
            self._pair = pair
            if self.host.startswith("https:"):
                self._pool.show(tls.context(self._server, self.host, pair))
        return authorization


@lru_cache(128)  # a controller says the same of all its writes
def _query_text(query: tuple[tuple[str, str], ...]) -> str:
    return urlencode(query)
