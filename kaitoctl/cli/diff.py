"""`kaitoctl diff`: what applying a Workspace would change, in it and in what the controller makes from it."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import options
from kaitoctl.cli.controller_options import CONTROLLER, Controller

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
@options.grouped
def diff(
    given: options.ManifestsToSend = options.TO_SEND,
    output_format: Annotated[
        str, options.formats("text", "json", "yaml", "name", "markdown", text="{} (name: what differs).")
    ] = "text",
    force_conflicts: Annotated[
        bool,
        typer.Option("--force-conflicts", help="Compare as if fields of other managers were taken over."),
    ] = False,
    controller: Controller = CONTROLLER,
    target: options.Cluster = options.CLUSTER,
) -> None:
    """Compare Workspaces, and the objects that run-controller makes from them, with the cluster.

    Writes nothing: the Workspace is applied as a server-side dry run. Exit code 0: no differences; 1: some;
    more: an error.

    \b
    Examples:
      kaitoctl diff -f workspace.yaml
    """
    from kaitoctl.commands import diff

    raise typer.Exit(
        diff.diff(
            given=given,
            output_format=output_format,
            force_conflicts=force_conflicts,
            controller=controller,
            target=target,
        )
    )
