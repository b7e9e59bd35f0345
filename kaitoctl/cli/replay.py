"""`kaitoctl replay`: replay a rollout that `status -w --record` recorded."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import options

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def replay(
    file: Annotated[str, typer.Argument(help="Recorded by status --record; - for stdin.", metavar="FILE")],
    speed: Annotated[
        float,
        typer.Option(
            "--speed",
            help="Playback speed: recorded seconds per second.",
            min=0.1,
            max=100000,
            callback=options.number,
        ),
    ] = 10.0,
) -> None:
    """Replay a recorded rollout: drawn on a terminal, one line per change elsewhere.

    Pauses are at most three seconds. Exit code 1: the rollout failed.

    \b
    Examples:
      kaitoctl replay rollout.jsonl --speed 60
    """
    from kaitoctl.commands import replay

    raise typer.Exit(replay.replay(file=file, speed=speed))
