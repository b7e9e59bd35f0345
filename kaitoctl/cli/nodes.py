"""`kaitoctl nodes`: the GPUs of a cluster: who holds them, which are free, which are broken."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import options

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
@options.grouped
def nodes(
    selector: Annotated[
        str, typer.Option("--selector", "-l", help="Only nodes with these labels.", metavar="LABELS")
    ] = "",
    everything: Annotated[bool, typer.Option("--all", help="Show nodes without GPUs, too.")] = False,
    lists: options.NodeLists = options.NODE_LISTS,
    output_format: Annotated[str, options.formats("table", "wide", "json", "yaml", "name")] = "table",
    catalog: options.CatalogFile = None,
    target: options.WholeCluster = options.WHOLE_CLUSTER,
) -> None:
    """Show the GPUs of a cluster: one cell per GPU, by the Workspace or pod that holds it.

    \b
    Examples:
      kaitoctl nodes -l agentpool=gpu
      kaitoctl nodes --nodes nodes.json --pods pods.json
    """
    from kaitoctl.commands import nodes

    nodes.nodes(
        selector=selector,
        everything=everything,
        lists=lists,
        output_format=output_format,
        catalog=catalog,
        target=target,
    )
