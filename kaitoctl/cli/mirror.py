"""`kaitoctl mirror`: what a cluster without a way to the Internet has to be given."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import options
from kaitoctl.cli.controller_options import CONTROLLER, Controller

app = typer.Typer(
    help="Images and models that an air-gapped cluster needs.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


@app.callback()
def mirror() -> None:
    """What a cluster without a way to the Internet has to be given."""


@app.command("list")
@options.grouped
def list_images(
    given: options.OfflineManifests = options.OFFLINE,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", help="Print the commands that copy the images to this registry.", metavar="REGISTRY"
        ),
    ] = None,
    output_format: options.CatalogOutput = "table",
    namespace: Annotated[
        str,
        typer.Option("--namespace", "-n", help="Namespace for Workspaces that name none.", metavar="NAME"),
    ] = "default",
    controller: Controller = CONTROLLER,
) -> None:
    """List all images and models that Workspaces and InferenceSets need. Asks no cluster.

    \b
    Examples:
      kaitoctl mirror list -f workspace.yaml

    To copy them: kaitoctl mirror list -f workspace.yaml --to registry.example/kaito
    """
    from kaitoctl.commands import mirror

    mirror.list_images(
        given=given, to=to, output_format=output_format, namespace=namespace, controller=controller
    )
