"""The HTTPS server behind the ValidatingWebhookConfiguration, and what it counts."""

from __future__ import annotations

import json
import logging
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from kaitoctl.kaito.validation import Setting
from kaitoctl.kaito.validation.review import NotAReviewError, answer
from kaitoctl.kube.objects import dig

logger = logging.getLogger(__name__)

PATH = "/validate"
_LONGEST_BODY = 8 << 20  # an object of 1.5 MiB, and the one before it, as JSON
_LONGEST_GOODBYE_S = 5.0


class Reviews:
    """What the webhook has answered, for Prometheus and for probes.

    Args:
        setting: where the Workspaces are to live.
        missing: why nobody can reach the webhook yet; empty when it can.
        ends_at: when the certificate ends, in seconds since 1970.
        registry: of the process that the webhook is a part of; None where it is all of it.
    """

    def __init__(
        self,
        setting: Setting,
        missing: Callable[[], str],
        ends_at: Callable[[], float],
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._setting = setting
        self._missing = missing
        self._registry = registry or CollectorRegistry()
        if registry is None:
            ProcessCollector(registry=self._registry)
        self._answers = Counter(
            "kaitoctl_webhook_reviews",
            "Workspaces that were judged, by operation and answer: admits, warns, refuses.",
            ("operation", "answer"),
            registry=self._registry,
        )
        self._duration = Histogram(
            "kaitoctl_webhook_review_duration_seconds",
            "How long it took to judge one.",
            registry=self._registry,
        )
        ends = Gauge(
            "kaitoctl_webhook_certificate_expiry_timestamp_seconds",
            "When the certificate that is shown ends.",
            registry=self._registry,
        )
        ends.set_function(ends_at)

    @property
    def unready(self) -> str:
        """Why the webhook cannot answer; empty when it can."""
        return self._missing()

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    async def review(self, asked: web.Request) -> web.Response:
        """Answer one AdmissionReview."""
        begun = time.perf_counter()
        try:
            body = json.loads(await asked.read())
            answered = answer(body, self._setting)
        except (ValueError, RecursionError) as error:
            words = str(error) if isinstance(error, NotAReviewError) else "the body is not JSON"
            return web.Response(status=400, text=f"{words}\n")
        self._duration.observe(time.perf_counter() - begun)
        response = answered["response"]
        word = "warns" if response["allowed"] and "warnings" in response else "admits"
        operation = str(dig(body, "request", "operation"))
        self._answers.labels(operation, word if response["allowed"] else "refuses").inc()
        if not response["allowed"]:
            name = f"{dig(body, 'request', 'namespace')}/{dig(body, 'request', 'name')}"
            logger.info("refused %s of Workspace %s: %s", operation, name, response["status"]["message"])
        return web.json_response(answered)


@asynccontextmanager
async def serving(reviews: Reviews, host: str, port: int, context: ssl.SSLContext) -> AsyncIterator[str]:
    """Answer the API server while the context lasts; gives the address, with the port really used.

    Raises:
        OSError: the address cannot be had.
    """
    application = web.Application(client_max_size=_LONGEST_BODY)
    application.router.add_post(PATH, reviews.review)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=_LONGEST_GOODBYE_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, host or None, port, ssl_context=context).start()
        used = runner.addresses[0]
        shown = f"[{used[0]}]" if ":" in used[0] else used[0]
        yield f"{shown}:{used[1]}"
    finally:
        await runner.cleanup()
