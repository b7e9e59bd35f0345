"""`kaitoctl run-webhook`: judge Workspaces before the API server writes them."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import complete, options

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_CLUSTER = options.WholeCluster()


@app.command()
@options.grouped
def run_webhook(
    address: Annotated[
        str,
        typer.Option("--address", help="Address to listen on (TLS) for the API server.", metavar="HOST:PORT"),
    ] = ":9443",
    cert_dir: Annotated[
        str | None,
        typer.Option(
            "--cert-dir",
            help="Folder with tls.crt and tls.key, renewed by others (default: generate one).",
            metavar="DIR",
        ),
    ] = None,
    secret: Annotated[
        str,
        typer.Option(
            "--secret", help="Secret that stores the generated certificate.", metavar="NAMESPACE/NAME"
        ),
    ] = "kaitoctl-system/kaitoctl-webhook",  # noqa: S107 - where it is, not what it says
    configuration: Annotated[
        str,
        typer.Option(
            "--configuration",
            help="ValidatingWebhookConfiguration whose CA bundle is kept up to date.",
            metavar="NAME",
        ),
    ] = "kaitoctl-webhook",
    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host",
            help="A name or address of the webhook (default: the Service of the Secret's name). Repeatable.",
            metavar="HOST",
        ),
    ] = None,
    target_version: Annotated[
        str | None,
        typer.Option(
            "--target-version",
            help="KAITO release that manages Workspaces, such as v0.12 (default: kaitoctl).",
            metavar="VERSION",
            autocompletion=complete.of("v0.3", "v0.4", "v0.12", "kaitoctl"),
        ),
    ] = None,
    metrics_address: Annotated[
        str,
        typer.Option(
            "--metrics-address",
            help="Address of /healthz, /readyz and /metrics; 0 disables it.",
            metavar="HOST:PORT",
        ),
    ] = "127.0.0.1:8081",
    log_format: options.LogFormat = "text",
    log_level: options.LogLevel = "info",
    catalog: options.CatalogFile = None,
    target: options.WholeCluster = _CLUSTER,
) -> None:
    """Refuse Workspaces that `kaitoctl validate` calls invalid, before the API server writes them.

    Runs until SIGTERM or Ctrl-C; deploy/webhook.yaml runs it in a cluster.

    \b
    Examples:
      kaitoctl run-webhook --cert-dir certificates --address 127.0.0.1:9443
    """
    from kaitoctl.commands import run_webhook
    from kaitoctl.commands.webhook_options import Certificates

    raise typer.Exit(
        run_webhook.run_webhook(
            address=address,
            certificates=Certificates(cert_dir, secret, configuration, tuple(host or ())),
            target_version=target_version,
            catalog=catalog,
            metrics_address=metrics_address,
            log_format=log_format,
            log_level=log_level,
            target=target,
        )
    )
