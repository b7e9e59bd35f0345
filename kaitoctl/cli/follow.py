"""Follow a Workspace until it is ready, has failed, or time is up, and show every change.

On a terminal the picture is drawn in place, elsewhere each change is one line with its time; `Objects` writes
JSON instead, `Recording` keeps it in a file for `kaitoctl replay`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol, TextIO

from kaitoctl.cli import look, options, output, status_screen
from kaitoctl.cli.node_table import Screen
from kaitoctl.errors import InputError, NegativeAnswer, TimedOut
from kaitoctl.kaito.rollout import Phase, Progress, progress
from kaitoctl.kaito.snapshot import Snapshot
from kaitoctl.kaito.view import View, as_json, view
from kaitoctl.kube.conditions import timestamp
from kaitoctl.kube.objects import ObjectKey

if TYPE_CHECKING:
    from kaitoctl.cli.connect import Target
    from kaitoctl.kube.client import Client

_MOST_OFTEN_S = 0.2
_NOBODY_MANAGES = "controller-not-running"
_LOOK_AGAIN_S = 1.0  # ages grow, and some causes are only a matter of time


class Teller(Protocol):
    """Who shows a Workspace as it changes.

    Attributes:
        rest_s: the least time between two calls of `show`.
    """

    rest_s: float

    def show(self, shown: View, now: datetime) -> None:
        """Show it, if that is any news."""

    def close(self) -> None:
        """It was the last one."""


class Lines:
    """One line for each change: narration with a mark, or data when it is what was asked for."""

    rest_s = 0.0

    def __init__(self, *, as_data: bool = False) -> None:
        self._as_data = as_data
        self._where: object = None
        self._trouble = ""
        self._unseen: set[str] = set()

    def show(self, shown: View, now: datetime) -> None:
        """Write a line when it has moved on, and one when something new is wrong."""
        stamp = timestamp(now)
        for what in set(shown.unseen) - self._unseen:
            output.warning(f"{what} cannot be watched, so less is shown")
        self._unseen |= set(shown.unseen)
        where = (shown.phase, shown.detail, shown.outcome)
        if where != self._where:
            self._where = where
            self._write(shown.outcome or "", f"{stamp}  {shown.where}", shown)
        cause = shown.cause
        if shown.trouble != self._trouble and cause is not None and cause.weight == "fault":
            text = f"{stamp}  {cause.about}: {cause.message} [{cause.code}]"
            if self._as_data:
                self._write("trouble", text + (f" -> {cause.command}" if cause.command else ""), shown)
            else:
                output.warning(text, hint=cause.hint)
        self._trouble = shown.trouble

    def _write(self, outcome: str, text: str, shown: View) -> None:
        if self._as_data:
            stamp, _, rest = text.partition("  ")
            output.data(output.visible(f"{stamp}  {shown.workspace}  {rest}"))
        elif outcome == "ready":
            output.success(text)
        elif outcome == "failed":
            output.failure(text)
        else:
            output.step(text)

    def close(self) -> None:
        """Nothing to do: lines stay."""


class Live:
    """The whole picture, drawn in place."""

    rest_s = _MOST_OFTEN_S

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._canvas = output.Canvas(stream)
        self._drawn: list[str] = []

    def show(self, shown: View, now: datetime) -> None:
        """Draw it when any line differs."""
        lines = status_screen.lines(shown, now, Screen.of(self._stream))
        if lines != self._drawn:
            self._canvas.draw(lines)
            self._drawn = lines

    def close(self) -> None:
        """Give the terminal back."""
        self._canvas.close()


class Objects:
    """One JSON object for each change, on stdout or in a file."""

    rest_s = 0.0

    def __init__(self, file: IO[str] | None = None) -> None:
        self._file = file
        self._seen: View | None = None

    def show(self, shown: View, now: datetime) -> None:
        """Write it when it differs."""
        if shown == self._seen:
            return
        self._seen = shown
        text = output.json_text({"time": timestamp(now), **as_json(shown)})
        if self._file is None:
            output.data(text)
        else:
            self._file.write(text + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def recording(path: str) -> Objects:
    """A teller that writes to a new file; nothing of Secrets is in what it writes.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        return Objects(Path(path).open("w", encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--record {path}: {error.strerror}") from None


def on(stream: TextIO) -> Teller:
    """Who shows changes on stdout or stderr: drawn on a terminal, lines elsewhere."""
    if Screen.of(stream).symbols:
        return Live(stream)
    return Lines(as_data=stream is sys.stdout)


async def rollout(
    client: Client,
    target: Target,
    key: ObjectKey,
    *,
    timeout_s: float | None,
    has_arrived: Callable[[Snapshot], bool] = lambda seen: True,
    is_from_before: Callable[[Snapshot], bool] = lambda seen: False,
    tellers: Sequence[Teller] | None = None,
) -> Snapshot:
    """Show the rollout of the Workspace's present generation; returns what there is once it is ready.

    Args:
        client: the door to the cluster.
        target: how it was named; advice leads there.
        key: the Workspace's.
        timeout_s: how long to follow; None for ever.
        has_arrived: asked of what says that it is ready: right after a change it may be the old state.
        is_from_before: asked of what says that it has failed, for the same reason.
        tellers: who shows it; by default stderr.

    Raises:
        InputError: there is no such Workspace.
        NegativeAnswer: it failed.
        TimedOut: it is still under way; nothing was undone.
    """
    showing = [on(sys.stderr)] if tellers is None else tellers
    last = ["nothing: the cluster does not show it"]
    try:
        async with asyncio.timeout(timeout_s):
            return await _until_ready(client, target, key, has_arrived, is_from_before, showing, last)
    except TimeoutError:
        raise TimedOut(
            f"Workspace {key} is not ready after {options.elapsed(timeout_s or 0)}; last seen {last[0]}",
            hint=f"it goes on in the cluster: kaitoctl status {key.name} -n {key.namespace} -w",
        ) from None
    finally:
        for teller in showing:
            teller.close()


async def _until_ready(
    client: Client,
    target: Target,
    key: ObjectKey,
    has_arrived: Callable[[Snapshot], bool],
    is_from_before: Callable[[Snapshot], bool],
    tellers: Sequence[Teller],
    last: list[str],
) -> Snapshot:
    async with look.looking(client, key) as picture:
        if picture.snapshot().workspace is None:
            raise await look.no_such(client, picture.kind, key)
        looked = False
        while True:
            picture.changed.clear()
            await picture.follow_nodes()
            seen, now = picture.snapshot(), datetime.now(UTC)
            if seen.workspace is None:
                raise NegativeAnswer(f"Workspace {key} has been deleted")
            where = progress(seen)
            is_old = where.outcome == "ready" and not has_arrived(seen)
            if is_old or (where.outcome == "failed" and is_from_before(seen)):
                where = Progress(Phase.ACCEPTED, "the pods are still those from before")
            if where.outcome == "failed":
                seen = await look.deeply(client, seen)
            shown = view(seen, now, at=where, addressed=target.addressed)
            if not looked and shown.cause is not None and shown.cause.code == _NOBODY_MANAGES:
                looked = True  # what to do about it depends on which controllers there are
                seen = await look.with_controllers(client, seen)
                shown = view(seen, now, at=where, addressed=target.addressed)
            last[0] = shown.where
            for teller in tellers:
                teller.show(shown, now)
            if shown.outcome == "ready":
                return seen
            if shown.outcome == "failed":
                raise NegativeAnswer(
                    f"Workspace {key}: the rollout failed while {shown.where}",
                    hint=f"kaitoctl why {key.name} -n {key.namespace}",
                )
            await _change(picture, max(teller.rest_s for teller in tellers))


async def _change(picture: look.Look, rest_s: float) -> None:
    """Wait for a change, but not for ever; and not return too soon after the last one."""
    await asyncio.sleep(rest_s)
    try:
        async with asyncio.timeout(_LOOK_AGAIN_S):
            await picture.changed.wait()
    except TimeoutError:
        return
