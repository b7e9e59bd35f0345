"""`kaitoctl replay`: play a rollout that `status -w --record` has kept."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from kaitoctl.cli import options
from kaitoctl.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from kaitoctl.kaito.view import View

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_LONGEST_PAUSE_S = 3.0
_HINT = "kaitoctl status NAME -w --record FILE writes such files"


@app.command()
def replay(
    file: Annotated[str, typer.Argument(help="What --record wrote; - for stdin.", metavar="FILE")],
    speed: Annotated[
        float,
        typer.Option(
            "--speed",
            help="Seconds of the record per second.",
            min=0.1,
            max=100000,
            callback=options.number,
        ),
    ] = 10.0,
) -> None:
    """Play a recorded rollout: drawn on a terminal, one line per change elsewhere.

    Pauses are at most three seconds. Exit code 0: it ended ready, or under way; 1: it failed.

    Example: kaitoctl replay rollout.jsonl --speed 60
    """
    import time

    from kaitoctl.cli import follow
    from kaitoctl.cli.files import called

    frames = list(_frames(file))
    if not frames:
        raise InputError(f"{called(file)}: there is nothing in it to play", hint=_HINT)
    teller = follow.on(sys.stdout)
    before = None
    try:
        for shown, moment in frames:
            if before is not None and isinstance(teller, follow.Live):
                pause_s = max(0.0, (moment - before).total_seconds()) / speed
                time.sleep(min(pause_s, _LONGEST_PAUSE_S))
            teller.show(shown, moment)
            before = moment
    finally:
        teller.close()
    raise typer.Exit(1 if frames[-1][0].outcome == "failed" else 0)


def _frames(file: str) -> Iterator[tuple[View, datetime]]:
    import json

    from kaitoctl.cli.files import called, text_of
    from kaitoctl.kaito.view import of_json
    from kaitoctl.kube.conditions import parse_timestamp

    for number, line in enumerate(text_of(file, option="FILE").splitlines(), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
            yield of_json(value), parse_timestamp(str(value["time"]))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            words = str(error)[:120]
            raise InputError(
                f"{called(file)}, line {number}: not a record of a rollout: {words}", hint=_HINT
            ) from None
