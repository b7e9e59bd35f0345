"""`kaitoctl run-controller`: be the Workspace controller."""

from __future__ import annotations

import logging
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from kaitoctl.cli import beside_kaito, catalog_options, logs, options, output
from kaitoctl.cli.catalog_options import CatalogFile
from kaitoctl.cli.connect import Context, Kubeconfig, Sandbox, SandboxName, Target, connected
from kaitoctl.cli.controller_options import (
    AllowPrivilegedTemplates,
    AllowTemplateScheduling,
    ImageGeneration,
    MostNodes,
    Registry,
    TemplateSecrets,
    TemplateServiceAccounts,
    settings_of,
)
from kaitoctl.errors import ApiError, InputError, KaitoctlError, NegativeAnswer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kaitoctl.cli.controller_server import Telemetry
    from kaitoctl.kaito.desired import Settings
    from kaitoctl.kaito.rivals import Rival
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Kind
    from kaitoctl.reconcile.dry_run import Decision

logger = logging.getLogger(__name__)

app = typer.Typer(rich_markup_mode=None, add_completion=False)

DEFAULT_METRICS_ADDRESS = "127.0.0.1:8080"


@dataclass(frozen=True, slots=True)
class _How:
    """How the controller is to run.

    Args:
        settings: of what it builds.
        workers: Workspaces worked on at a time.
        lease_namespace: where the Lease is; None to run without.
        dry_run: decide and write nothing.
        metrics_address: where to answer; None when the user has named none.
        is_json: whether lines are JSON.
        takes_over: run also where KAITO's controller is at work.
    """

    settings: Settings
    workers: int
    lease_namespace: str | None
    dry_run: bool
    metrics_address: str | None
    is_json: bool
    takes_over: bool


@app.command()
def run_controller(
    namespace: Annotated[
        str | None,
        typer.Option("--namespace", "-n", help="Manage one namespace only (default: all).", metavar="NAME"),
    ] = None,
    image_generation: ImageGeneration = "v0.4",
    registry: Registry = None,
    workers: Annotated[
        int, typer.Option("--workers", help="Workspaces handled at a time.", min=1, max=64)
    ] = 16,
    most_nodes: MostNodes = 64,
    allow_privileged_templates: AllowPrivilegedTemplates = False,
    template_service_accounts: TemplateServiceAccounts = None,
    template_secrets: TemplateSecrets = None,
    allow_template_scheduling: AllowTemplateScheduling = False,
    catalog: CatalogFile = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print each write that would be made, and make none (no Lease either)."
        ),
    ] = False,
    take_over: Annotated[
        bool,
        typer.Option(
            "--take-over",
            help="Start although KAITO's controller is at work here: its Workspaces are taken over.",
        ),
    ] = False,
    leader_elect: Annotated[
        bool, typer.Option("--leader-elect/--no-leader-elect", help="Hold a Lease while running.")
    ] = True,
    lease_namespace: Annotated[
        str, typer.Option("--lease-namespace", help="Where the Lease lives.", metavar="NAME")
    ] = "default",
    metrics_address: Annotated[
        str | None,
        typer.Option(
            "--metrics-address",
            help="Where /healthz, /readyz and /metrics answer; 0 for nowhere "
            f"(default: {DEFAULT_METRICS_ADDRESS}, if it is free).",
            metavar="HOST:PORT",
        ),
    ] = None,
    log_format: Annotated[
        str, typer.Option("--log-format", help="text, or json: one object per line.", metavar="FORMAT")
    ] = "text",
    log_level: Annotated[
        str, typer.Option("--log-level", help="debug, info, warning or error.", metavar="LEVEL")
    ] = "info",
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = False,
    sandbox_name: SandboxName = "default",
) -> None:
    """Manage Workspaces: give each its workload, Service and nodes, and keep them so.

    Runs until SIGTERM or Ctrl-C. Example: kaitoctl run-controller --namespace models

    What would it do here? kaitoctl run-controller --dry-run
    """
    import asyncio

    catalog_options.use(catalog)
    settings = settings_of(
        image_generation,
        registry,
        most_nodes,
        allow_privileged_templates,
        template_service_accounts=template_service_accounts,
        template_secrets=template_secrets,
        allow_template_scheduling=allow_template_scheduling,
    )
    options.one_of(log_format, logs.FORMATS, option="--log-format")
    options.one_of(log_level, logs.LEVELS, option="--log-level")
    logs.configure(log_format, log_level)
    how = _How(
        settings,
        workers,
        lease_namespace if leader_elect and not dry_run else None,
        dry_run,
        metrics_address,
        log_format == "json",
        take_over,
    )
    target = Target(namespace, context, kubeconfig, sandbox, sandbox_name)
    try:
        asyncio.run(_run(target, how))
    except KaitoctlError as error:
        if not how.is_json:
            raise
        logger.error("%s", error, extra={"reason": type(error).__name__, "hint": error.hint})
        raise typer.Exit(error.exit_code) from error


async def _run(target: Target, how: _How) -> None:
    import asyncio
    import signal

    from kaitoctl import workspace_controller
    from kaitoctl.cli.controller_server import Telemetry
    from kaitoctl.reconcile.dry_run import DryRun

    telemetry = Telemetry(elects=how.lease_namespace is not None)
    scope = target.namespace or ""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(connected(target, telemetry.exchanged, runs_long=True))
        kind = await _insist_on_crd(client, scope)
        await beside_kaito.insist_on_being_alone(client, kind, scope, takes_over=how.takes_over)
        await _answer(stack, telemetry, how)

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
                await workspace_controller.run(
                    client,
                    namespace=scope,
                    settings=how.settings,
                    workers=how.workers,
                    allowed=allowed,
                    door=DryRun(client, lambda decision: _tell(how, decision)) if how.dry_run else None,
                    observer=telemetry.worked,
                    started=telemetry.started,
                    beside=meet,
                )
            finally:
                telemetry.stopped()

        task = asyncio.create_task(
            _led(client, how.lease_namespace, scope, how, telemetry, work) if how.lease_namespace else work()
        )
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


async def _answer(stack: AsyncExitStack, telemetry: Telemetry, how: _How) -> None:
    """Open the HTTP endpoint; only an address that the user has named must be had."""
    from kaitoctl.cli.controller_server import address_of, serving

    address = address_of(how.metrics_address or DEFAULT_METRICS_ADDRESS)
    if address is None:
        return
    try:
        where = await stack.enter_async_context(serving(telemetry, *address))
    except OSError as error:
        why = f"{how.metrics_address or DEFAULT_METRICS_ADDRESS} cannot be had: {error.strerror or error}"
        if how.metrics_address is not None:
            raise InputError(f"--metrics-address {why}") from error
        logger.warning("no metrics: %s; choose another --metrics-address", why)
    else:
        _say(how, f"metrics and health on http://{where}")


async def _led(
    client: Client,
    namespace: str,
    scope: str,
    how: _How,
    telemetry: Telemetry,
    work: Callable[[Callable[[], bool]], Awaitable[None]],
) -> None:
    """Run the work for exactly as long as the lease is held; there is one lease for each scope."""
    import os
    import socket

    from kaitoctl.reconcile.leader_election import LeaderElection

    identity = f"{socket.gethostname()}-{os.getpid()}"
    name = f"kaitoctl-controller-{scope}" if scope else "kaitoctl-controller"
    election = LeaderElection(client, namespace=namespace, name=name, identity=identity)
    telemetry.elected_by(lambda: election.is_leader)
    _say(how, f"waiting for the lease {namespace}/{name}")
    await election.run(lambda: work(lambda: election.is_leader))


def _say(how: _How, text: str) -> None:
    if how.is_json:
        logger.info("%s", text)
    else:
        output.step(text)


def _tell(how: _How, decision: Decision) -> None:
    """One line on stdout for a write that is not made."""
    if how.is_json:
        fields = {"verb": decision.verb, "kind": decision.kind, "key": str(decision.key)}
        output.data(logs.line("info", __name__, str(decision), time.time(), **fields, reason=decision.why))
    else:
        output.data(output.visible(str(decision)))


async def _insist_on_crd(client: Client, namespace: str) -> Kind:
    """A controller without its CRD would wait in silence: say what is missing instead.

    Returns:
        Workspaces in a version that is served.
    """
    from kaitoctl.cli.create_workspace import missing_crd
    from kaitoctl.cli.look import workspace_kind
    from kaitoctl.kube.request import Request

    kind = await workspace_kind(client)
    try:
        await client.send(Request("GET", kind.path(namespace), query={"limit": "1"}))
    except ApiError as error:
        if error.status in (408, 429) or error.status >= 500:
            return kind  # no news of the CRD; the controller asks again, as after it has started
        raise (missing_crd() if error.is_unknown_resource else error) from error
    return kind
