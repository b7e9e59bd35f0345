"""`kaitoctl run-controller`: be the Workspace controller."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from msgspec import Struct

from kaitoctl import fleet_controller
from kaitoctl.commands import admission, beside_kaito, controller_logs, option_values
from kaitoctl.commands.cluster import connected, missing_crd, workspace_kind
from kaitoctl.commands.controller_options import ControllerOptions
from kaitoctl.commands.controller_server import Telemetry, address_of, serving
from kaitoctl.commands.controller_settings import settings_of
from kaitoctl.commands.target import Target
from kaitoctl.commands.webhook_options import WebhookOptions
from kaitoctl.errors import ApiError, InputError, KaitoctlError, NegativeAnswer
from kaitoctl.kaito.validation import OWN, Setting, release_detection
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.dry_run import DryRun
from kaitoctl.reconcile.leader_election import LeaderElection
from kaitoctl.screens import output
from kaitoctl.webhook import server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kaitoctl.kaito.desired import Settings
    from kaitoctl.kaito.kaito_at_work import Rival
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Kind
    from kaitoctl.reconcile.dry_run import Decision

logger = logging.getLogger(__name__)


DEFAULT_METRICS_ADDRESS = "127.0.0.1:8080"


class _RunOptions(Struct, frozen=True):
    """How the controller is to run.

    Args:
        settings: of what it builds.
        workers: Workspaces worked on at a time.
        lease_namespace: where the Lease is; None to run without.
        dry_run: decide and write nothing.
        metrics_address: where to answer; None when the user has named none.
        is_json: whether lines are JSON.
        takes_over: run also where KAITO's controller is at work.
        webhook: whether and how Workspaces are judged before they are written.
    """

    settings: Settings
    workers: int
    lease_namespace: str | None
    dry_run: bool
    metrics_address: str | None
    is_json: bool
    takes_over: bool
    webhook: WebhookOptions


def run_controller(
    *,
    workers: int,
    controller: ControllerOptions,
    dry_run: bool,
    take_over: bool,
    leader_elect: bool,
    lease_namespace: str,
    metrics_address: str | None,
    log_format: str,
    log_level: str,
    webhook: WebhookOptions,
    target: Target,
) -> int:
    """Manage Workspaces: give each its workload, Service and nodes, and keep them so."""
    settings = settings_of(controller)
    option_values.one_of(log_format, controller_logs.FORMATS, option="--log-format")
    option_values.one_of(log_level, controller_logs.LEVELS, option="--log-level")
    webhook.insist()
    if webhook.webhook and dry_run:
        raise InputError("--webhook with --dry-run: a webhook writes its certificate and refuses Workspaces")
    controller_logs.configure(log_format, log_level)
    how = _RunOptions(
        settings,
        workers,
        lease_namespace if leader_elect and not dry_run else None,
        dry_run,
        metrics_address,
        log_format == "json",
        take_over,
        webhook,
    )
    try:
        asyncio.run(_run(target, how))
    except KaitoctlError as error:
        if not how.is_json:
            raise
        logger.error("%s", error, extra={"reason": type(error).__name__, "hint": error.hint})
        return error.exit_code
    return 0


async def _run(target: Target, how: _RunOptions) -> None:
    telemetry = Telemetry(elects=how.lease_namespace is not None)
    scope = target.namespace or ""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(connected(target, telemetry.exchanged, runs_long=True))
        kind = await _insist_on_crd(client, scope)
        await beside_kaito.insist_on_being_alone(client, kind, scope, takes_over=how.takes_over)
        await _answer(stack, telemetry, how)
        judging = await _judge(stack, telemetry, how, client)

        met: list[Rival] = []

        def meet(rival: Rival) -> None:
            """KAITO has started: to go on would be a fight over every Workspace."""
            if rival in met:
                return
            met.append(rival)
            if how.takes_over:
                logger.warning("KAITO's controller is at work beside this one: %s", rival.words)
            else:
                task.cancel()

        async def work(allowed: Callable[[], bool] | None = None) -> None:
            doing = "dry run: looking at" if how.dry_run else "managing"
            _say(how, f"{doing} Workspaces of {scope or 'all namespaces'} on {client.host}")
            try:
                await fleet_controller.run_together(
                    client,
                    namespace=scope,
                    settings=how.settings,
                    workers=how.workers,
                    allowed=allowed,
                    sender=DryRun(client, lambda decision: _tell(how, decision)) if how.dry_run else None,
                    observer=telemetry.worked,
                    started=telemetry.started,
                    beside=meet,
                )
            finally:
                telemetry.stopped()

        task = asyncio.create_task(
            _run_as_leader(client, how.lease_namespace, scope, how, telemetry, work)
            if how.lease_namespace
            else work()
        )
        if judging is not None:
            judging.add_done_callback(
                lambda _: task.cancel()
            )  # it ends by a defect alone, which is raised below
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            _say(how, "stopped")
        if met and not how.takes_over:
            error = beside_kaito.refusal(met)
            raise NegativeAnswer(error.message, hint=error.hint)


async def _answer(stack: AsyncExitStack, telemetry: Telemetry, how: _RunOptions) -> None:
    """Open the HTTP endpoint; only an address that the user has named must be had."""
    address = address_of(how.metrics_address or DEFAULT_METRICS_ADDRESS)
    if address is None:
        return
    try:
        where = await stack.enter_async_context(serving(telemetry, *address))
    except OSError as error:
        where = how.metrics_address or DEFAULT_METRICS_ADDRESS
        why = f"{where}: cannot listen on this address: {error.strerror or error}"
        if how.metrics_address is not None:
            raise InputError(f"--metrics-address {why}") from error
        logger.warning("no metrics: %s; choose another --metrics-address", why)
    else:
        _say(how, f"metrics and health on http://{where}")


async def _judge(
    stack: AsyncExitStack, telemetry: Telemetry, how: _RunOptions, client: Client
) -> asyncio.Task[None] | None:
    """Open the webhook, if there is to be one: every replica judges, whoever leads."""
    if not how.webhook.webhook:
        return None
    certificates = how.webhook.certificates
    keeper: admission.Keeper = (
        admission.of_folder(certificates.folder, "--webhook-cert-dir")
        if certificates.folder is not None
        else admission.make_trust(client, certificates)
    )
    setting = Setting(OWN, image_generation=how.settings.image_generation, catalog=how.settings.catalog)
    registry = telemetry.beside(lambda: f"the webhook: {keeper.missing}" if keeper.missing else "")
    reviews = server.Reviews(setting, lambda: keeper.missing, lambda: keeper.ends_at, registry)
    address = admission.address_of(how.webhook.webhook_address, "--webhook-address")
    return await stack.enter_async_context(admission.judging(reviews, keeper, address))


async def _run_as_leader(
    client: Client,
    namespace: str,
    scope: str,
    how: _RunOptions,
    telemetry: Telemetry,
    work: Callable[[Callable[[], bool]], Awaitable[None]],
) -> None:
    """Run the work for exactly as long as the lease is held; there is one lease for each scope."""
    identity = f"{socket.gethostname()}-{os.getpid()}"
    name = f"{release_detection.OWN_LEASE}-{scope}" if scope else release_detection.OWN_LEASE
    said = {
        release_detection.NOTE_PROVISIONER: how.settings.provisioner,
        release_detection.NOTE_VERSION: how.settings.image_generation,
    }
    election = LeaderElection(
        client,
        namespace=namespace,
        name=name,
        identity=identity,
        labels=dict([release_detection.OWN_LABEL]),
        notes=said,
    )
    telemetry.elected_by(lambda: election.is_leader)
    _say(how, f"waiting for the lease {namespace}/{name}")
    await election.run(lambda: work(lambda: election.is_leader))


def _say(how: _RunOptions, text: str) -> None:
    if how.is_json:
        logger.info("%s", text)
    else:
        output.step(text)


def _tell(how: _RunOptions, decision: Decision) -> None:
    """One line on stdout for a write that is not made."""
    if how.is_json:
        fields = {"verb": decision.verb, "kind": decision.kind, "key": str(decision.key)}
        output.data(
            controller_logs.line("info", __name__, str(decision), time.time(), **fields, reason=decision.why)
        )
    else:
        output.data(output.visible(str(decision)))


async def _insist_on_crd(client: Client, namespace: str) -> Kind:
    """A controller without its CRD would wait in silence: say what is missing instead.

    Returns:
        Workspaces in a version that is served.
    """
    kind = await workspace_kind(client)
    try:
        await client.send(Request("GET", kind.path(namespace), query={"limit": "1"}))
    except ApiError as error:
        if error.status in (408, 429) or error.status >= 500:
            return kind  # no news of the CRD; the controller asks again, as after it has started
        raise (missing_crd() if error.is_unknown_resource else error) from error
    return kind
