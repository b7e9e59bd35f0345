"""`kaitoctl list-adapters`: LoRA adapters in the spec, in the pods, loaded."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import complete, options

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
@options.grouped
def list_adapters(
    workspace: Annotated[
        str, typer.Argument(help="Workspace name.", metavar="NAME", autocompletion=complete.workspaces)
    ],
    output_format: options.CatalogOutput = "table",
    catalog: options.CatalogFile = None,
    target: options.Cluster = options.CLUSTER,
) -> None:
    """LoRA adapters: in the spec, in the pods, loaded.

    Exit code 1 when the pods differ from the spec, or the model server has not loaded an adapter.

    \b
    Examples:
      kaitoctl list-adapters workspace-falcon-7b
    """
    from kaitoctl.commands import list_adapters

    raise typer.Exit(
        list_adapters.list_adapters(
            workspace=workspace, output_format=output_format, catalog=catalog, target=target
        )
    )
