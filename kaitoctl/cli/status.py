"""`kaitoctl status`: the status of Workspaces: a list, or one as a tree, live if asked for."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import complete, options

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
@options.grouped
def status(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Workspace names (default: list all).",
            metavar="[NAME]...",
            autocompletion=complete.served,
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow changes.")] = False,
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="List all namespaces.")] = False,
    selector: Annotated[
        str, typer.Option("--selector", "-l", help="Only Workspaces with these labels.", metavar="LABELS")
    ] = "",
    timeout: Annotated[
        str | None, typer.Option("--timeout", help="With -w: how long to follow.", metavar="DURATION")
    ] = None,
    record: Annotated[
        str | None,
        typer.Option("--record", help="With -w: record every change for `kaitoctl replay`.", metavar="FILE"),
    ] = None,
    output_format: Annotated[str, options.formats("table", "wide", "json", "yaml", "name")] = "table",
    managed: options.ManagedBy = options.MANAGED_BY,
    target: options.Cluster = options.CLUSTER,
) -> None:
    """Show the status of all Workspaces as a list, or of one with everything it owns.

    With -w a terminal is updated in place; elsewhere each change is one line, or with -o json one object. One
    Workspace is followed until it is ready or has failed, the list until Ctrl-C or --timeout. With
    --timeout, one that is yet to be created is waited for.
    `status` writes the status as JSON and YAML; `get` writes the objects themselves, as kubectl does.
    Exit code 0: ready (without -w: or progressing), 1: failed, or no longer serving, 124: timed out.

    \b
    Examples:
      kaitoctl status -A
      kaitoctl status workspace-falcon-7b -w
    """
    from kaitoctl.commands import option_values, status

    raise typer.Exit(
        status.status(
            which=option_values.Which(tuple(names or ()), everywhere, selector),
            watch=watch,
            timeout=timeout,
            record=record,
            output_format=output_format,
            managed=managed,
            target=target,
            is_get=ctx.info_name == "get",
        )
    )
