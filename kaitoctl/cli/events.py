"""`kaitoctl events`: the events of a Workspace and everything it owns, in order."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import options

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
@options.grouped
def events(
    names: options.ServedNames,
    warnings: Annotated[bool, typer.Option("--warnings", help="Only warnings.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Watch for new events.")] = False,
    output_format: Annotated[
        str,
        options.formats("table", "wide", "json", "yaml", "name", text="{} (-w: one object a line)."),
    ] = "table",
    target: options.Cluster = options.CLUSTER,
) -> None:
    """Show the events of a Workspace, its workload, pods, NodeClaims and nodes, oldest first.

    \b
    Examples:
      kaitoctl events workspace-falcon-7b --warnings
    """
    from kaitoctl.commands import events

    events.events(names=names, warnings=warnings, watch=watch, output_format=output_format, target=target)
