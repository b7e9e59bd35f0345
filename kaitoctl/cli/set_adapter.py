"""`kaitoctl set-adapter`: change the strength, image or pull secrets of an adapter."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import adapter_options, options

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
@options.grouped
def set_adapter(
    name: Annotated[str, typer.Option("--name", help="Name of the adapter.", metavar="NAME")],
    workspace: adapter_options.EditedWorkspace = None,
    strength: Annotated[
        str | None, typer.Option("--strength", help="Strength, from 0 to 1.", metavar="S")
    ] = None,
    image: Annotated[
        str | None,
        typer.Option("--image", help="Image with the adapter in /data.", metavar="IMAGE"),
    ] = None,
    image_pull_secret: Annotated[
        list[str] | None,
        typer.Option(
            "--image-pull-secret",
            help="Pull secret of the image, replacing the present ones; may be repeated.",
            metavar="NAME",
        ),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Set --strength on running servers (kaitoctl's own); no restart.")
    ] = False,
    save: Annotated[bool, typer.Option("--save", help="With --live: write the Workspace, too.")] = False,
    given: adapter_options.AdapterChange = adapter_options.ADAPTER_CHANGE,
    target: options.Cluster = options.CLUSTER,
) -> None:
    """Change the strength, image or pull secrets of an adapter, and wait until it is loaded.

    Shows first what changes and how long nothing serves, and asks before it writes.

    \b
    Examples:
      kaitoctl set-adapter workspace-falcon-7b --name style --strength 0.2
      kaitoctl set-adapter demo --name style --strength 0.2 --live
    """
    from kaitoctl.commands import set_adapter

    set_adapter.set_adapter(
        name=name,
        workspace=workspace,
        strength=strength,
        image=image,
        image_pull_secret=image_pull_secret,
        live=live,
        save=save,
        given=given,
        target=target,
    )
