"""Events as `kaitoctl events` shows them: in order, a row each."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kaitoctl.commands import invocation, option_values
from kaitoctl.kaito.secrecy import without_secrets
from kaitoctl.kaito.snapshot import event_time, times_of
from kaitoctl.kube.objects import EVENT, dig
from kaitoctl.screens import output
from kaitoctl.screens.layout import Cell
from kaitoctl.screens.status_screen import age

if TYPE_CHECKING:
    from kaitoctl.kube.objects import Object

Row = tuple[str, ...]
_STYLES = {"Warning": "yellow"}


def selection(events: Iterable[Object], warnings: bool) -> list[Object]:
    """Each event once, oldest first; only warnings if so wanted."""
    chosen = (event for event in events if not warnings or event.get("type") == "Warning")
    found = {event["metadata"].get("uid") or id(event): event for event in chosen}

    def order(event: Object) -> tuple[str, int]:
        """Times are whole seconds; within one, the versions tell what came first."""
        version = str(event["metadata"].get("resourceVersion") or "")
        return event_time(event), int(version) if version.isascii() and version.isdigit() else 0

    return sorted(found.values(), key=order)


def row_of(event: Object) -> Row:
    """Time, type, reason, what it is about, and message, in which somebody may have quoted a secret."""
    about = f"{dig(event, 'involvedObject', 'kind')} {dig(event, 'involvedObject', 'name')}"
    count = times_of(event)
    message = str(event.get("message") or event.get("note") or "") + (f" (x{count})" if count > 1 else "")
    shown = str(without_secrets(message))
    return event_time(event), str(event.get("type")), str(event.get("reason")), about, shown


def show(found: Iterable[Object], output_format: str) -> None:
    """All of them."""
    chosen = invocation.sort_for_output(list(found), lambda event: _json(row_of(event)))
    rows = [row_of(event) for event in chosen]
    if output_format == "name":
        for event in chosen:
            output.data(_name(event))
    elif option_values.is_structured(output_format):
        output.write_structured({"events": [_json(row) for row in rows]}, output_format)
    elif rows:
        now = datetime.now(UTC)
        headers = ("LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE")
        cells = [_cells(row, now) for row in rows]
        output.table(headers, cells, wide=output_format == "wide", below=True)
    else:
        output.step("no events (clusters keep them for an hour)")


def show_new(found: Iterable[Object], shown: set[Row], output_format: str) -> None:
    """A line, or an object, for each that has not been shown; notes that it has been."""
    for event in found:
        row = row_of(event)
        if row in shown:
            continue
        shown.add(row)
        if output_format == "json":
            output.document(_json(row), indent=None)
        elif output_format == "name":
            output.data(_name(event))
        else:
            output.data(output.visible("  ".join((*row[:4], _message(row)))))


def _name(event: Object) -> str:
    return output.resource_name({"kind": EVENT.kind, "metadata": event["metadata"]})


def _json(row: Row) -> Object:
    keys = ("time", "type", "reason", "object", "message")
    return dict(zip(keys, row, strict=True))


def _cells(row: Row, now: datetime) -> list[str | Cell]:
    severity = Cell(row[1], spans=((row[1], _STYLES.get(row[1], "")),))
    return [age(row[0], now), severity, *row[2:4], _message(row)]


def _message(row: Row) -> str:
    return " ".join(row[4].split())
