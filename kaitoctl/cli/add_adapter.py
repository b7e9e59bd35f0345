"""`kaitoctl add-adapter`: add a LoRA adapter to a Workspace."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import adapter_options, options

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
@options.grouped
def add_adapter(
    workspace: adapter_options.EditedWorkspace = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="Name of the adapter (default: NAME of --from-tuning).", metavar="NAME"),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option("--image", help="Image with the adapter in /data.", metavar="IMAGE"),
    ] = None,
    volume_claim: Annotated[
        str | None,
        typer.Option(
            "--volume-claim",
            help="PersistentVolumeClaim with the adapter, instead of an image (KAITO v0.12).",
            metavar="NAME",
        ),
    ] = None,
    from_tuning: Annotated[
        str | None,
        typer.Option("--from-tuning", help="Tuning Workspace that has pushed the image.", metavar="NAME"),
    ] = None,
    strength: Annotated[
        str | None,
        typer.Option(
            "--strength", help="Strength, from 0 to 1 (default: 1.0; KAITO v0.12: none).", metavar="S"
        ),
    ] = None,
    image_pull_secret: Annotated[
        list[str] | None,
        typer.Option(
            "--image-pull-secret", help="Pull secret of the image; may be repeated.", metavar="NAME"
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the adapter of that name if it exists.")
    ] = False,
    given: adapter_options.AdapterChange = adapter_options.ADAPTER_CHANGE,
    target: options.Cluster = options.CLUSTER,
) -> None:
    """Add a LoRA adapter to a Workspace, and wait until it is loaded.

    Shows first what changes and how long nothing serves, and asks before it writes.

    \b
    Examples:
      kaitoctl add-adapter workspace-falcon-7b --name style \\
        --image registry.example/style:1 --strength 0.5
    """
    from kaitoctl.commands import add_adapter

    add_adapter.add_adapter(
        workspace=workspace,
        name=name,
        image=image,
        volume_claim=volume_claim,
        from_tuning=from_tuning,
        strength=strength,
        image_pull_secret=image_pull_secret,
        replace=replace,
        given=given,
        target=target,
    )
