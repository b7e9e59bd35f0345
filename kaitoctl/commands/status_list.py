"""`kaitoctl status`: Workspaces as a list, once or as it changes."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kaitoctl.commands import invocation, option_values
from kaitoctl.commands.cluster import connected, no_such
from kaitoctl.commands.listed_sets import listed_sets
from kaitoctl.commands.overview import observe_overview
from kaitoctl.commands.target import Target
from kaitoctl.errors import TimedOut
from kaitoctl.kube.conditions import timestamp
from kaitoctl.kube.objects import ObjectKey, dig
from kaitoctl.screens import durations, layout, output
from kaitoctl.screens.layout import Block, Cell, Paragraph
from kaitoctl.screens.status_screen import age

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kaitoctl.commands.overview import Row
    from kaitoctl.commands.status_options import Which
    from kaitoctl.kube.objects import Object


_MOST_OFTEN_S = 0.2
_AGES_S = 1.0  # ages grow
_STYLES = {"Ready": "green", "Failed": "red", "NotServing": "red", "Deleting": "yellow", "Waiting": "yellow"}
_HEADERS = ("NAME", "STATE", "NODES", "GPUS", "ADAPTERS", "AGE", "MESSAGE")


async def show_list(target: Target, which: Which, output_format: str) -> None:
    """Show the Workspaces of a namespace, or of all."""
    async with connected(target) as client:
        where = client.namespace
        picked = "" if which.everywhere else where
        async with observe_overview(client, picked, once=True, labels=which.labels) as picture:
            found, unseen = picture.rows()
        found = _rows_named(found, which)
        missing = set(which.names) - {row.key.name for row in found}
        gone = [await no_such(client, picture.kind, ObjectKey(where, name)) for name in sorted(missing)]
        is_all = not which.names and not which.labels
        sets = await listed_sets(client, picked) if is_all else []
    for what, reason in unseen.items():
        output.warning(f"{what} cannot be listed, so less is shown: {reason}")
    _print(found, sets, which.everywhere, output_format, datetime.now(UTC), where)
    for one in gone[:-1]:
        output.failure(one.message)
    if gone:
        raise gone[-1]


def _rows_named(rows: Sequence[Row], which: Which) -> list[Row]:
    return [row for row in rows if not which.names or row.key.name in which.names]


async def follow_list(target: Target, which: Which, timeout_s: float | None, output_format: str) -> None:
    """Show every change of the list until time is up."""
    shown: dict[ObjectKey, Row] = {}
    is_picture = output_format != "json" and output.is_redrawn(sys.stdout)
    picture = output.picture(sys.stdout) if is_picture else None
    try:
        async with (
            connected(target) as client,
            asyncio.timeout(timeout_s),
            observe_overview(
                client, "" if which.everywhere else client.namespace, labels=which.labels
            ) as observed,
        ):
            while True:
                await observed.follow_nodes()
                rows = _rows_named(observed.rows()[0], which)
                now = datetime.now(UTC)
                if picture is None:
                    shown = _print_changes(rows, shown, now, output_format)
                else:
                    blocks = _report(rows, which.everywhere, now, drawn=True)
                    picture.draw(blocks)
                rest_s, ages_s = (_MOST_OFTEN_S, _AGES_S) if picture else (0.0, None)
                await observed.change(rest_s=rest_s, within_s=ages_s)
    except TimeoutError:
        raise TimedOut(f"timed out after {durations.elapsed(timeout_s or 0)}") from None
    finally:
        if picture is not None:
            picture.close()


def _print_changes(
    rows: Sequence[Row], shown: dict[ObjectKey, Row], now: datetime, output_format: str
) -> dict[ObjectKey, Row]:
    """A line, or an object, for each Workspace that has changed; returns what has been shown by then."""
    stamp, known = timestamp(now), {row.key: row for row in rows}
    for key, row in known.items():
        before = shown.get(key)
        if before is not None and before.as_json() == row.as_json():
            continue
        if output_format == "json":
            output.document({"time": stamp, **row.as_json()}, indent=None)
        else:
            output.data(output.visible(f"{stamp}  {key}  {row.state}  {row.where}"))
    for key in [key for key in shown if key not in known]:
        if output_format == "json":
            gone = {"namespace": key.namespace, "name": key.name, "state": "gone"}
            output.document({"time": stamp, **gone}, indent=None)
        else:
            output.data(output.visible(f"{stamp}  {key}  Gone"))
    return known


def _report(
    rows: Sequence[Row], everywhere: bool, now: datetime, *, drawn: bool, wide: bool = False
) -> list[Block]:
    """The list as a table; on a terminal, what is ready needs no message."""
    if not rows:
        return [Paragraph("no Workspaces")]
    headers = [*(["NAMESPACE"] if everywhere else ()), *_HEADERS]
    if wide:
        headers[-1:-1] = ["MODEL", "INSTANCE TYPE"]
    cells = [
        [
            *([row.key.namespace] if everywhere else ()),
            row.key.name,
            Cell(row.state, spans=((row.state, _STYLES.get(row.state, "")),)),
            row.nodes,
            row.gpus,
            str(row.adapters or "-"),
            age(row.since, now),
            *(_asked_for(row.workspace) if wide else ()),
            "" if drawn and row.state == "Ready" else row.where,
        ]
        for row in rows
    ]
    made = layout.table(headers, cells, gap=3, names=2 if everywhere else 1)
    return [replace(made, wide=wide, below=True)]


def _asked_for(workspace: Object) -> tuple[str, str]:
    """The model and the instance type that a Workspace asks for."""
    preset = dig(workspace, "inference", "preset", "name") or dig(workspace, "tuning", "preset", "name")
    return str(preset or "-"), str(dig(workspace, "resource", "instanceType") or "-")


def _print(
    rows: Sequence[Row],
    sets: Sequence[Object],
    everywhere: bool,
    output_format: str,
    now: datetime,
    where: str,
) -> None:
    rows = invocation.ordered(rows, lambda row: row.as_json())
    if output_format == "name":
        for row in rows:
            output.data(output.resource_name(row.workspace))
        for one in sets:
            output.data(output.resource_name(one))
    elif option_values.is_structured(output_format):
        value: Object = {"workspaces": [row.as_json() for row in rows]}
        if sets:
            from kaitoctl.commands import fleet_rows  # most clusters have none

            value["inferenceSets"] = fleet_rows.as_objects(sets, [row.workspace for row in rows], now)
        output.structured(value, output_format)
    elif not rows and not sets:
        output.step("no Workspaces" + ("" if everywhere else f" in namespace {where}"))
    else:
        if sets:
            from kaitoctl.commands import fleet_rows  # most clusters have none

            output.show(fleet_rows.blocks(sets, [row.workspace for row in rows], now, everywhere=everywhere))
        drawn, wide = output.is_drawn(sys.stdout), output_format == "wide"
        output.show(_report(rows, everywhere, now, drawn=drawn, wide=wide))
