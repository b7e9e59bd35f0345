"""`kaitoctl why`: the root cause that keeps a Workspace from being ready, with evidence and how to fix it."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import options

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
@options.grouped
def why(
    names: options.ServedNames,
    output_format: Annotated[
        str, options.formats("text", "short", "json", "yaml", "name", text="{} (of what is not ready).")
    ] = "text",
    catalog: options.CatalogFile = None,
    managed: options.ManagedBy = options.MANAGED_BY,
    target: options.Cluster = options.CLUSTER,
) -> None:
    """Explain why a Workspace is not ready: one root cause, its evidence, and how to fix it.

    Exit code 0: ready, or progressing and nothing blocks it; 1: something does. With several names, -o json
    has a list.

    \b
    Examples:
      kaitoctl why workspace-falcon-7b
      kaitoctl why falcon phi -o short
    """
    from kaitoctl.commands import why

    raise typer.Exit(
        why.why(names=names, output_format=output_format, catalog=catalog, managed=managed, target=target)
    )
