"""`kaitoctl events`: the events of a Workspace and everything it owns, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kaitoctl.commands import cluster, invocation, option_values
from kaitoctl.commands.cluster import connected
from kaitoctl.commands.observe_deeply import with_evidence
from kaitoctl.commands.observe_workspace import observe_workspace, snapshot_of
from kaitoctl.commands.target import Target
from kaitoctl.errors import Interrupted
from kaitoctl.kaito.secrecy import without_secrets
from kaitoctl.kaito.snapshot import event_time
from kaitoctl.kube.objects import ObjectKey, dig
from kaitoctl.screens import output
from kaitoctl.screens.layout import Cell
from kaitoctl.screens.status_screen import age

if TYPE_CHECKING:
    from kaitoctl.kaito.snapshot import Snapshot
    from kaitoctl.kube.objects import Object

_STYLES = {"Warning": "yellow"}


def events(*, name: str, warnings: bool, watch: bool, output_format: str, target: Target) -> None:
    """Show the events of a Workspace, its workload, pods, NodeClaims and nodes, oldest first."""
    option_values.output_format(output_format, ("table", "wide", "json", "yaml"))
    try:
        asyncio.run(_events(target, option_values.workspace_name(name), warnings, watch, output_format))
    except KeyboardInterrupt:
        raise Interrupted("interrupted") from None


async def _events(target: Target, name: str, warnings: bool, watch: bool, output_format: str) -> None:
    async with connected(target) as client:
        key = ObjectKey(client.namespace, name)
        if not watch:
            seen = await with_evidence(client, await snapshot_of(client, key))
            if "events" in seen.unseen:
                output.warning(f"events cannot be listed: {seen.unseen['events']}")
            _print(_selection(seen, warnings), output_format)
            return
        output.end_unread()
        shown: set[tuple[str, ...]] = set()
        async with observe_workspace(client, key) as observed:
            if observed.snapshot().workspace is None:
                raise await cluster.no_such(client, observed.kind, key)
            while True:
                for event in _selection(observed.snapshot(), warnings):
                    row = _row(event)
                    if row not in shown:
                        shown.add(row)
                        _print_one(event, row, output_format)
                await observed.change()


def _selection(seen: Snapshot, warnings: bool) -> list[Object]:
    found = {id(event): event for event in seen.events if not warnings or event.get("type") == "Warning"}

    def order(event: Object) -> tuple[str, int]:
        """Times are whole seconds; within one, the versions tell what came first."""
        version = str(event["metadata"].get("resourceVersion") or "")
        return event_time(event), int(version) if version.isascii() and version.isdigit() else 0

    return sorted(found.values(), key=order)


def _row(event: Object) -> tuple[str, ...]:
    about = f"{dig(event, 'involvedObject', 'kind')} {dig(event, 'involvedObject', 'name')}"
    count = int(dig(event, "series", "count") or event.get("count") or 1)
    message = str(event.get("message") or event.get("note") or "") + (f" (x{count})" if count > 1 else "")
    return event_time(event), str(event.get("type")), str(event.get("reason")), about, message


def _json(row: tuple[str, ...]) -> Object:
    keys = ("time", "type", "reason", "object", "message")
    made: Object = without_secrets(dict(zip(keys, row, strict=True)))
    return made


def _print(found: Iterable[Object], output_format: str) -> None:
    rows = invocation.ordered([_row(event) for event in found], _json)
    if option_values.is_structured(output_format):
        output.structured({"events": [_json(row) for row in rows]}, output_format)
    elif rows:
        now = datetime.now(UTC)
        headers = ("LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE")
        cells = [_cells(row, now) for row in rows]
        output.table(headers, cells, wide=output_format == "wide", below=True)
    else:
        output.step("no events (clusters keep them for an hour)")


def _cells(row: tuple[str, ...], now: datetime) -> list[str | Cell]:
    severity = Cell(row[1], spans=((row[1], _STYLES.get(row[1], "")),))
    return [age(row[0], now), severity, *row[2:4], _message(row)]


def _message(row: tuple[str, ...]) -> str:
    return " ".join(row[4].split())


def _print_one(event: Object, row: tuple[str, ...], output_format: str) -> None:

    if output_format == "json":
        output.document(_json(row), indent=None)
    else:
        output.data(output.visible("  ".join((*row[:4], _message(row)))))
