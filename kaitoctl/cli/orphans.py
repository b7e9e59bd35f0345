"""`kaitoctl orphans`: nodes that earlier Workspaces have left behind and somebody still pays for."""

from __future__ import annotations

import typer

from kaitoctl.cli import options

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
@options.grouped
def orphans(
    output_format: options.CatalogOutput = "table",
    target: options.WholeCluster = options.WHOLE_CLUSTER,
) -> None:
    """List NodeClaims, node pools and nodes whose Workspace is gone, with the command for each.

    Deletes nothing. Exit code 0: none; 1: some.

    \b
    Examples:
      kaitoctl orphans
    """
    from kaitoctl.commands import orphans

    raise typer.Exit(orphans.list_orphans(output_format=output_format, target=target))
