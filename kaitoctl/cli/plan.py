"""`kaitoctl plan`: what applying manifests would do, before anybody does it."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import options

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
@options.grouped
def plan(
    given: options.ManifestsToSend = options.TO_SEND,
    output_format: Annotated[
        str, options.formats("text", "json", "yaml", "name", "markdown", text="{} (name: what is written).")
    ] = "text",
    out: Annotated[
        str | None,
        typer.Option("--out", help="Save the plan to this file, for apply --plan.", metavar="FILE"),
    ] = None,
    force_conflicts: Annotated[
        bool,
        typer.Option("--force-conflicts", help="Compare as if fields of other managers were taken over."),
    ] = False,
    catalog: options.CatalogFile = None,
    prices: options.PricesFile = None,
    managed: options.ManagedBy = options.MANAGED_BY,
    target: options.Cluster = options.CLUSTER,
) -> None:
    """Say what applying manifests would do: changes, restarts, nodes asked for and released.

    Writes nothing. Exit code 0: all is as the manifests say; 1: something changes; 2: something is refused.

    \b
    Examples:
      kaitoctl plan -f models/ --out models.plan
    """
    from kaitoctl.commands import plan

    raise typer.Exit(
        plan.plan(
            given=given,
            output_format=output_format,
            out=out,
            force_conflicts=force_conflicts,
            managed=managed,
            catalog=catalog,
            prices=prices,
            target=target,
        )
    )
