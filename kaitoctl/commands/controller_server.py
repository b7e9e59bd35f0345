"""What a running controller shows of itself over HTTP: `/healthz`, `/readyz` and Prometheus' `/metrics`.

`Telemetry` is made of plain callbacks that are handed to `kube.client` and `workspace_controller`; neither
knows that there is Prometheus. Counts are kept as things happen; what can be looked up (queue depth, the
Workspaces' state, who leads) is looked up when it is asked for.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol, get_args

from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from kaitoctl.errors import InputError
from kaitoctl.kaito import api
from kaitoctl.kube import conditions
from kaitoctl.kube.access import access
from kaitoctl.kube.objects import generation_of
from kaitoctl.reconcile.controller import Result

if TYPE_CHECKING:
    from kaitoctl.kube.client import Exchange
    from kaitoctl.reconcile.controller import ReconcileResult
    from kaitoctl.workspace_controller import Running

logger = logging.getLogger(__name__)

_CONTROLLER = "workspace"
_LONGEST_GOODBYE_S = 1.0


class Telemetry:
    """What is known of one controller process.

    Args:
        elects: whether it works only while it holds a lease.
    """

    def __init__(self, *, elects: bool) -> None:
        self._elects = elects
        self._is_leader: Callable[[], bool] = lambda: False
        self._running: Running | None = None
        # They are one line more for each of the others, and nobody reads them.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._also: Callable[[], str] = lambda: ""
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(_Lookups(self))
        reconciles = Counter(
            "kaitoctl_reconcile",
            "Reconciles by result: done, requeued, conflict, error.",
            ("controller", "result"),
            registry=self._registry,
        )
        errors = Counter(
            "kaitoctl_reconcile_errors",
            "Failed reconciles that will be retried.",
            ("controller",),
            registry=self._registry,
        )
        latency = Histogram(
            "kaitoctl_workqueue_latency_seconds",
            "Time from a key being due to the start of its reconcile.",
            ("controller",),
            registry=self._registry,
        )
        duration = Histogram(
            "kaitoctl_workqueue_work_duration_seconds",
            "Duration of a reconcile.",
            ("controller",),
            registry=self._registry,
        )
        self._requests = Counter(
            "kaitoctl_api_requests",
            'Requests to the API server; the code is "none" when there was no answer.',
            ("verb", "resource", "code"),
            registry=self._registry,
        )
        # Looked up once: there are five of them for a pass. And a rate needs a zero to begin with.
        self._reconciles = {result: reconciles.labels(_CONTROLLER, result) for result in get_args(Result)}
        self._errors = errors.labels(_CONTROLLER)
        self._latency, self._duration = latency.labels(_CONTROLLER), duration.labels(_CONTROLLER)

    # --- told by others ----------------------------------------------------------------------------------

    def exchanged(self, exchange: Exchange) -> None:
        """For `kube.client`: a request was sent."""
        asked = access(exchange.method, exchange.path, exchange.query)
        resource = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
        self._requests.labels(asked.verb, resource, str(exchange.status or "none")).inc()

    def worked(self, worked: ReconcileResult) -> None:
        """For `workspace_controller.run`: a pass ended."""
        self._reconciles[worked.result].inc()
        if worked.result == "error":
            self._errors.inc()
        self._latency.observe(worked.waited_s)
        self._duration.observe(worked.worked_s)

    def elected_by(self, is_leader: Callable[[], bool]) -> None:
        """For whoever makes the election: how to ask whether we lead."""
        self._is_leader = is_leader

    def started(self, running: Running) -> None:
        """For `workspace_controller.run`: the controller begins."""
        self._running = running

    def beside(self, unready: Callable[[], str]) -> CollectorRegistry:
        """For what else this process serves: this is not ready while that is not.

        Returns:
            Where its metrics go.
        """
        self._also = unready
        return self._registry

    def stopped(self) -> None:
        """The controller has ended, perhaps to begin again when it leads again."""
        self._running = None

    # --- asked by others ---------------------------------------------------------------------------------

    @property
    def unready(self) -> str:
        """Why this process is not ready; empty when it sees the cluster or stands by for the lead."""
        return self._unready or self._also()

    @property
    def _unready(self) -> str:
        if self._running is None:
            return "" if self._elects and not self._is_leader() else "the controller has not started"
        missing = [informer.kind.plural for informer in self._running.informers if not informer.synced]
        return f"not listed yet: {', '.join(missing)}" if missing else ""

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def lookups(self) -> Iterator[Metric]:
        """The metrics that are looked up at this moment."""
        running = self._running
        leads = self._is_leader() if self._elects else running is not None
        yield GaugeMetricFamily("kaitoctl_leader", "1 while this process may write.", value=leads)
        depth = GaugeMetricFamily(
            "kaitoctl_workqueue_depth", "Keys waiting for a reconcile.", labels=("controller",)
        )
        depth.add_metric((_CONTROLLER,), running.controller.waiting if running else 0)
        yield depth
        ready = GaugeMetricFamily(
            "kaitoctl_workspace_ready",
            "1 when the Workspace's present generation has succeeded.",
            labels=("namespace", "name"),
        )
        for key, workspace in running.workspaces.items() if running else ():
            generation = generation_of(workspace)
            serves = conditions.is_true(workspace, api.WORKSPACE_SUCCEEDED, generation=generation)
            ready.add_metric((key.namespace, key.name), serves)
        yield ready


class _Lookups(Collector):
    """Prometheus' way to ask."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def collect(self) -> Iterator[Metric]:
        return self._telemetry.lookups()

    def describe(self) -> Iterator[Metric]:
        return iter(())  # asked at registration, before there is anything to look up


def address_of(text: str, option: str = "--metrics-address") -> tuple[str, int] | None:
    """Host and port of `HOST:PORT`, `:PORT` (all addresses) or `[v6]:PORT`; None for `0`, which is off.

    Raises:
        InputError: it is something else.
    """
    if text == "0":
        return None
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdecimal() or not int(port) < 65536:
        raise InputError(f"{option} {text!r}: write HOST:PORT, or 0 for none")
    return host.removeprefix("[").removesuffix("]"), int(port)


class Shown(Protocol):
    """What a program shows of itself to probes and to Prometheus."""

    @property
    def unready(self) -> str:
        """Why it is not ready; empty when it is."""

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""


@asynccontextmanager
async def serving(telemetry: Shown, host: str, port: int) -> AsyncIterator[str]:
    """Answer probes and scrapes while the context lasts; gives the address, with the port really used.

    Raises:
        OSError: the address cannot be had.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")  # whoever can answer is alive: one loop does everything

    async def readyz(_: web.Request) -> web.Response:
        unready = telemetry.unready
        return web.Response(text=f"{unready or 'ok'}\n", status=503 if unready else 200)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=telemetry.exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    application = web.Application()
    application.add_routes(
        [web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)]
    )
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=_LONGEST_GOODBYE_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, host or None, port).start()
        used = runner.addresses[0]
        shown = f"[{used[0]}]" if ":" in used[0] else used[0]
        yield f"{shown}:{used[1]}"
    finally:
        await runner.cleanup()
