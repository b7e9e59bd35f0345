"""`kaitoctl run-controller`: be the Workspace controller."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import options
from kaitoctl.cli.controller_options import CONTROLLER, Controller
from kaitoctl.cli.webhook_options import WEBHOOK, Webhook

app = typer.Typer(rich_markup_mode=None, add_completion=False)


class _Cluster(options.WholeCluster, frozen=True):
    """A cluster, and what of it is managed."""

    namespace: Annotated[
        str | None,
        typer.Option("--namespace", "-n", help="Manage one namespace only (default: all).", metavar="NAME"),
    ] = None


_CLUSTER = _Cluster()


@app.command()
@options.grouped
def run_controller(
    workers: Annotated[
        int, typer.Option("--workers", help="Workspaces handled at a time.", min=1, max=64)
    ] = 16,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print each write without making it; takes no Lease."),
    ] = False,
    take_over: Annotated[
        bool,
        typer.Option(
            "--take-over",
            help="Start even if KAITO's controller is running here, and take over its Workspaces.",
        ),
    ] = False,
    leader_elect: Annotated[
        bool, typer.Option("--leader-elect/--no-leader-elect", help="Run only while holding a Lease.")
    ] = True,
    lease_namespace: Annotated[
        str, typer.Option("--lease-namespace", help="Namespace of the Lease.", metavar="NAME")
    ] = "default",
    metrics_address: Annotated[
        str | None,
        typer.Option(
            "--metrics-address",
            help="Where /healthz, /readyz and /metrics answer; 0 for nowhere "
            "(default: 127.0.0.1:8080, if it is free).",
            metavar="HOST:PORT",
        ),
    ] = None,
    log_format: options.LogFormat = "text",
    log_level: options.LogLevel = "info",
    controller: Controller = CONTROLLER,
    webhook: Webhook = WEBHOOK,
    target: _Cluster = _CLUSTER,
) -> None:
    """Manage Workspaces: give each its workload, Service and nodes, and keep them so.

    Runs until SIGTERM or Ctrl-C.

    \b
    Examples:
      kaitoctl run-controller --namespace models
      kaitoctl run-controller --dry-run  # what would it do here?
    """
    from kaitoctl.commands import run_controller

    raise typer.Exit(
        run_controller.run_controller(
            workers=workers,
            dry_run=dry_run,
            take_over=take_over,
            leader_elect=leader_elect,
            lease_namespace=lease_namespace,
            metrics_address=metrics_address,
            log_format=log_format,
            log_level=log_level,
            controller=controller,
            webhook=webhook,
            target=target,
        )
    )
