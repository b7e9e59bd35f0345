"""How a command that runs for long tells what it does: log lines for people, or one JSON object per line.

The library only ever calls `logging`; this is where it is given a form.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

from kaitoctl.screens import output

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")

_TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"
# What every record has besides the fields that its writer gave it.
_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(style: str, level: str) -> None:
    """Let all log records of this process go to stderr.

    Args:
        style: one of `FORMATS`.
        level: the least one of `LEVELS` that is written.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if style == "json" else TextLines(_TEXT))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # One line per scrape and probe would drown the rest.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)


class TextLines(logging.Formatter):
    """One line for each record, whatever a cluster has written into its message; a traceback below it.

    A field `hint` stands behind the message: what to do about it.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - its name in the base class
        """The record's own line."""
        hint = getattr(record, "hint", "")
        record.message = output.visible(f"{record.message} ({hint})" if hint else record.message)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        """The record, and the traceback that it may have."""
        return output.passage(super().format(record))


class JsonLines(logging.Formatter):
    """`time`, `level`, `logger`, `message`, and the fields of `extra` (`controller`, `key`, `reason` ...)."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        fields = {name: value for name, value in vars(record).items() if name not in _RECORD}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return line(record.levelname.lower(), record.name, record.getMessage(), record.created, **fields)


def line(level: str, logger: str, message: str, at: float, /, **fields: Any) -> str:
    """One JSON line; `at` is in seconds since 1970."""
    time = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    own = {"time": time, "level": level, "logger": logger, "message": message}
    return json.dumps(
        {**own, **{name: value for name, value in fields.items() if name not in own}}, default=str
    )
