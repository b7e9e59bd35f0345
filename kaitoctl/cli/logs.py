"""`kaitoctl logs`: the logs of a Workspace's containers, those of the model server by default."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import options

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
@options.grouped
def logs(
    name: options.ServedName,
    adapter: Annotated[
        str,
        typer.Option("--adapter", help="Logs of the container that copies this adapter.", metavar="NAME"),
    ] = "",
    container: Annotated[
        str, typer.Option("--container", "-c", help="Logs of this container.", metavar="NAME")
    ] = "",
    pod: Annotated[str, typer.Option("--pod", help="Only of this pod.", metavar="NAME")] = "",
    previous: Annotated[
        bool, typer.Option("--previous", "-p", help="Logs of the run before the last restart.")
    ] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stream new lines.")] = False,
    tail: Annotated[int, typer.Option("--tail", help="Only the last lines; -1 for all.", min=-1)] = -1,
    since: Annotated[
        str | None, typer.Option("--since", help="Only lines newer than DURATION.", metavar="DURATION")
    ] = None,
    target: options.Cluster = options.CLUSTER,
) -> None:
    """Show the logs of a Workspace's model server, or of the container that copies an adapter.

    With several pods each line begins with the pod's name.

    \b
    Examples:
      kaitoctl logs workspace-falcon-7b --previous
    """
    from kaitoctl.commands import logs

    logs.logs(
        name=name,
        adapter=adapter,
        container=container,
        pod=pod,
        previous=previous,
        follow=follow,
        tail=tail,
        since=since,
        target=target,
    )
