"""`kaitoctl scale`: another number of replicas of an InferenceSet, or of nodes for a Workspace."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import options

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
@options.grouped
def scale(
    name: options.ServedName,
    count: Annotated[
        int,
        typer.Option(
            "--count", "--replicas", help="Replicas of an InferenceSet, or nodes of a Workspace.", min=0
        ),
    ],
    output_format: Annotated[
        str | None, options.formats("yaml", "json", "name", text="Print it scaled as {}; write nothing.")
    ] = None,
    dry_run: options.DryRun = "none",
    yes: options.Yes = False,
    wait: options.Wait = True,
    timeout: options.FollowTimeout = None,
    catalog: options.CatalogFile = None,
    managed: options.ManagedBy = options.MANAGED_BY,
    target: options.Cluster = options.CLUSTER,
) -> None:
    """Scale an InferenceSet, or say why a Workspace cannot be scaled.

    Of an InferenceSet it says which nodes are bought and which replicas go, asks, and follows. No release of
    KAITO takes another count for a Workspace that exists; -o prints it for a new one.

    \b
    Examples:
      kaitoctl scale phis --replicas 3
      kaitoctl scale falcon --count 2 -o yaml > falcon.yaml
    """
    from kaitoctl.commands import scale

    scale.scale(
        name=name,
        count=count,
        output_format=output_format,
        dry_run=dry_run,
        yes=yes,
        wait=wait,
        timeout=timeout,
        catalog=catalog,
        managed=managed,
        target=target,
    )
