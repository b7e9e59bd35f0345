"""`kaitoctl replay`: replay a rollout that `status -w --record` recorded."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

from kaitoctl.advice import Command
from kaitoctl.commands.files import display_name, text_of
from kaitoctl.errors import ExitCode, InputError
from kaitoctl.kaito.view_json import of_json
from kaitoctl.kube.conditions import parse_timestamp
from kaitoctl.screens import progress_reporters

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from kaitoctl.kaito.view import View

_LONGEST_PAUSE_S = 3.0
_HINT = "record one: " + Command("kaitoctl status NAME -w --record FILE")


def replay(*, file: str, speed: float) -> int:
    """Replay a recorded rollout: drawn on a terminal, one line per change elsewhere."""
    frames = list(_frames(file))
    if not frames:
        raise InputError(f"{display_name(file)}: nothing was recorded in it", hint=_HINT)
    reporter = progress_reporters.on(sys.stdout)
    before = None
    try:
        for shown, moment in frames:
            if before is not None and isinstance(reporter, progress_reporters.Live):
                pause_s = max(0.0, (moment - before).total_seconds()) / speed
                time.sleep(min(pause_s, _LONGEST_PAUSE_S))
            reporter.show(shown, moment)
            before = moment
    finally:
        reporter.close()
    return ExitCode.NEGATIVE if frames[-1][0].outcome == "failed" else ExitCode.DONE


def _frames(file: str) -> Iterator[tuple[View, datetime]]:
    for number, line in enumerate(text_of(file, option="FILE").splitlines(), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
            yield of_json(value), parse_timestamp(str(value["time"]))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            words = str(error)[:120]
            raise InputError(
                f"{display_name(file)}, line {number}: not a recorded rollout: {words}", hint=_HINT
            ) from None
