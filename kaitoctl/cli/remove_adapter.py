"""`kaitoctl remove-adapter`: remove a LoRA adapter from a Workspace."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import adapter_options, options

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
@options.grouped
def remove_adapter(
    name: Annotated[str, typer.Option("--name", help="Name of the adapter.", metavar="NAME")],
    workspace: adapter_options.EditedWorkspace = None,
    given: adapter_options.AdapterChange = adapter_options.ADAPTER_CHANGE,
    target: options.Cluster = options.CLUSTER,
) -> None:
    """Remove a LoRA adapter from a Workspace, and wait until the model serves without it.

    Shows first what changes and how long nothing serves, and asks before it writes.

    \b
    Examples:
      kaitoctl remove-adapter workspace-falcon-7b --name style
    """
    from kaitoctl.commands import remove_adapter

    remove_adapter.remove_adapter(
        name=name,
        workspace=workspace,
        given=given,
        target=target,
    )
