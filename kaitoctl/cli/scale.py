"""`kaitoctl scale`: another number of nodes for a Workspace."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import options

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
@options.grouped
def scale(
    name: options.WorkspaceName,
    count: Annotated[int, typer.Option("--count", "--replicas", help="Number of nodes.", min=1)],
    output_format: Annotated[
        str | None, options.formats("yaml", "json", "name", text="Print the scaled Workspace as {}.")
    ] = None,
    managed: options.ManagedBy = options.MANAGED_BY,
    target: options.Cluster = options.CLUSTER,
) -> None:
    """Scale a Workspace, or say why it cannot be and what can.

    No release of KAITO takes another count for a Workspace that exists; -o prints it for a new one.

    \b
    Examples:
      kaitoctl scale falcon --count 2 -o yaml > falcon.yaml
    """
    from kaitoctl.commands import scale

    scale.scale(name=name, count=count, output_format=output_format, managed=managed, target=target)
