"""`kaitoctl version`: this program, the cluster, KAITO and its CRD, and whether they go together."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import options

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
@options.grouped
def version(
    client: Annotated[
        bool, typer.Option("--client", help="Show only the version of this program; asks no cluster.")
    ] = False,
    output_format: Annotated[str, options.formats("text", "json", "yaml")] = "text",
    target: options.WholeCluster = options.WHOLE_CLUSTER,
) -> None:
    """Show the versions of kaitoctl, the cluster, KAITO and its CRD, and whether they are compatible.

    Exit code 1: they are not.

    \b
    Examples:
      kaitoctl version
      kaitoctl version --client -o json
    """
    from kaitoctl.commands import version

    raise typer.Exit(version.version(only_client=client, output_format=output_format, target=target))
