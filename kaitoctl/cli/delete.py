"""`kaitoctl delete`: say what ends and which nodes go, ask, delete, wait until it is gone."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import complete, options

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
@options.grouped
def delete(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="The Workspaces to delete.", metavar="[WORKSPACE]...", autocompletion=complete.served
        ),
    ] = None,
    given: options.ManifestsToSend = options.TO_SEND,
    dry_run: options.DryRun = "none",
    ignore_not_found: Annotated[
        bool, typer.Option("--ignore-not-found", help="Exit with 0 when the Workspace does not exist.")
    ] = False,
    yes: options.Yes = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait until pods and nodes are gone.")
    ] = True,
    timeout: Annotated[
        str | None,
        typer.Option("--timeout", help="How long to wait (default: 20m).", metavar="DURATION"),
    ] = None,
    target: options.Cluster = options.CLUSTER,
) -> None:
    """Delete Workspaces, and wait until their pods and nodes are gone.

    Shows first what ends, which nodes are released and what stays. Exit code 0: gone; 1: not confirmed;
    124: something still blocks the deletion, and the message says what.

    \b
    Examples:
      kaitoctl delete workspace-falcon-7b
    """
    from kaitoctl.commands import delete

    raise typer.Exit(
        delete.delete(
            names=names,
            given=given,
            dry_run=dry_run,
            ignore_not_found=ignore_not_found,
            yes=yes,
            wait=wait,
            timeout=timeout,
            target=target,
        )
    )
