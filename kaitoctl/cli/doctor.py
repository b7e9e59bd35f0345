"""`kaitoctl doctor`: is the installation sound? One check a line, each with how to fix it."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import options

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
@options.grouped
def doctor(
    output_format: Annotated[
        str,
        options.formats("text", "short", "json", "yaml", text="{} (what is wrong)."),
    ] = "text",
    target: options.Cluster = options.CLUSTER,
) -> None:
    """Check the installation: the cluster, who manages Workspaces, your rights, GPUs, node provisioners.

    Exit code 0: nothing is wrong (there may be warnings, and things of the whole cluster that you may not
    see); 1: something is, or could not be checked because the server is in trouble or you lack a right in
    your own namespace (it is named); 3: the cluster cannot be reached.

    \b
    Examples:
      kaitoctl doctor
    """
    from kaitoctl.commands import doctor

    raise typer.Exit(doctor.doctor(output_format=output_format, target=target))
