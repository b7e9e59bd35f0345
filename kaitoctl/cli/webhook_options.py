"""The group of options of run-controller that says whether, where and how its process is a webhook, too."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.commands.webhook_options import WebhookOptions


class Webhook(WebhookOptions, frozen=True):
    """The webhook's settings as options."""

    webhook: Annotated[
        bool,
        typer.Option(
            "--webhook",
            help="Also refuse invalid Workspaces before they are written, as run-webhook does.",
        ),
    ] = False
    webhook_address: Annotated[
        str,
        typer.Option("--webhook-address", help="Where the API server asks, over TLS.", metavar="HOST:PORT"),
    ] = ":9443"
    webhook_cert_dir: Annotated[
        str | None,
        typer.Option(
            "--webhook-cert-dir",
            help="tls.crt and tls.key that somebody else renews (default: make one).",
            metavar="DIR",
        ),
    ] = None
    webhook_secret: Annotated[
        str,
        typer.Option(
            "--webhook-secret", help="Where the certificate that is made is kept.", metavar="NAMESPACE/NAME"
        ),
    ] = "kaitoctl-system/kaitoctl-webhook"  # noqa: S105 - where it is, not what it says
    webhook_configuration: Annotated[
        str,
        typer.Option(
            "--webhook-configuration",
            help="The ValidatingWebhookConfiguration that is made to trust it.",
            metavar="NAME",
        ),
    ] = "kaitoctl-webhook"
    webhook_host: Annotated[
        list[str] | None,
        typer.Option(
            "--webhook-host",
            help="A name or address of the webhook (default: the Service of the Secret's name). Repeatable.",
            metavar="HOST",
        ),
    ] = None


WEBHOOK = Webhook()
