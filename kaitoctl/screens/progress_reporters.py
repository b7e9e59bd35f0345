"""Show a Workspace as it changes: drawn in place on a terminal, a line for each change elsewhere, or JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, Protocol, TextIO

from kaitoctl import advice
from kaitoctl.errors import InputError
from kaitoctl.kaito.view import View
from kaitoctl.kaito.view_json import as_json
from kaitoctl.kube.conditions import timestamp
from kaitoctl.screens import output, status_screen

_MOST_OFTEN_S = 0.2


class ProgressReporter(Protocol):
    """Shows a Workspace as it changes.

    Attributes:
        rest_s: the least time between two calls of `show`.
    """

    rest_s: float

    def show(self, shown: View, now: datetime) -> None:
        """Show it, if anything has changed."""

    def close(self) -> None:
        """End: nothing more will be shown."""


class Lines:
    """One line for each change: narration with a mark, or data when it is what was asked for.

    Args:
        about: which Workspace it is, where several are followed.
        as_data: whether the lines are what was asked for.
        unseen: what was said already that cannot be watched.
    """

    rest_s = 0.0

    def __init__(self, about: str = "", *, as_data: bool = False, unseen: set[str] | None = None) -> None:
        self._about = f"  {about}" if about else ""
        self._as_data = as_data
        self._where: object = None
        self._trouble = ""
        self._unseen = set[str]() if unseen is None else unseen

    def show(self, shown: View, now: datetime) -> None:
        """Write a line when it says something new of where it is, and one for each new problem."""
        stamp = timestamp(now) + self._about
        for what in set(shown.unseen) - self._unseen:
            output.warning(f"{what} cannot be watched, so less is shown")
        self._unseen |= set(shown.unseen)
        where = (shown.where, shown.outcome)
        if where != self._where:
            self._where = where
            self._write(shown.outcome or "", f"{stamp}  {shown.where}", shown)
        cause = shown.cause
        if shown.trouble != self._trouble and cause is not None and cause.weight == "fault":
            command = advice.text(cause.command, shown.flags)
            text = f"{stamp}  {cause.about}: {cause.message} [{cause.code}]"
            if self._as_data:
                self._write("trouble", text + (f" -> {command}" if command else ""), shown)
            else:
                output.warning(text, hint=advice.text(cause.hint, shown.flags))
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
        """Do nothing: lines stay."""


class Live:
    """The whole picture, drawn in place."""

    rest_s = _MOST_OFTEN_S

    def __init__(self, stream: TextIO) -> None:
        self._picture = output.picture(stream)
        self._failed: tuple[View, datetime] | None = None

    def show(self, shown: View, now: datetime) -> None:
        """Draw it."""
        blocks = status_screen.report(shown, now, drawn=True)
        self._picture.draw(blocks, smaller=status_screen.smaller(shown, now))
        self._failed = (shown, now) if shown.outcome == "failed" else None

    def close(self) -> None:
        """Give the terminal back: the cause of a failure stays in sight, at the cost of its tree."""
        self._picture.close(smaller=status_screen.smaller(*self._failed) if self._failed else ())


class Together:
    """Several Workspaces in one picture, each in a few lines; the last one that ends leaves it.

    Args:
        stream: the terminal.
        keys: of the Workspaces, in the order in which they are shown.
    """

    def __init__(self, stream: TextIO, keys: Sequence[str]) -> None:
        self._picture = output.picture(stream)
        self._views: dict[str, View | None] = dict.fromkeys(keys)
        self._open = set(keys)

    def of(self, key: str) -> ProgressReporter:
        """The reporter of one of them."""
        return _OneOf(self, key)

    def show(self, key: str, shown: View, now: datetime) -> None:
        """Draw all of them again."""
        self._views[key] = shown
        views = [one for one in self._views.values() if one is not None]
        first, *others = status_screen.briefly(views, now)
        self._picture.draw(first, smaller=others)

    def end(self, key: str) -> None:
        """One of them is not followed any more."""
        self._open.discard(key)
        if not self._open:
            self._picture.close()


class _OneOf:
    rest_s = _MOST_OFTEN_S

    def __init__(self, together: Together, key: str) -> None:
        self._together = together
        self._key = key

    def show(self, shown: View, now: datetime) -> None:
        self._together.show(self._key, shown, now)

    def close(self) -> None:
        self._together.end(self._key)


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
    """A reporter that writes to a new file; it writes nothing of Secrets.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        return Objects(Path(path).open("w", encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--record {path}: {error.strerror}") from None


def on(stream: TextIO) -> ProgressReporter:
    """The reporter for stdout or stderr: drawn on a terminal, lines elsewhere."""
    if output.is_redrawn(stream):
        return Live(stream)
    return Lines(as_data=stream is sys.stdout)
