"""`kaitoctl status`: Workspaces as a list, once or as it changes."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from kaitoctl.commands import invocation, option_values
from kaitoctl.commands.cluster import connected, no_such
from kaitoctl.commands.listed_sets import ROLES, SETS, is_served, listed
from kaitoctl.commands.name_lookup import say_missing
from kaitoctl.commands.overview import observe_overview
from kaitoctl.commands.target import Target
from kaitoctl.errors import TimedOut
from kaitoctl.kube.conditions import timestamp
from kaitoctl.kube.objects import ObjectKey, dig, key_of
from kaitoctl.screens import layout, output
from kaitoctl.screens.layout import Block, Cell, Paragraph
from kaitoctl.screens.status_screen import age

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kaitoctl.commands.fleet_rows import FleetRow
    from kaitoctl.commands.option_values import Which
    from kaitoctl.commands.overview import Row
    from kaitoctl.kube.objects import Object


class Listed(NamedTuple):
    """What a line is about: a kind with a blank after it, empty for a Workspace, and a key."""

    kind: str
    key: ObjectKey


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
        rows, found = found, _rows_named(found, which)
        missing = set(which.names) - {row.key.name for row in found}
        sets: list[Object] = []
        roles: list[Object] = []
        if missing or not (which.names or which.labels):
            # One may stand without sets, as where KAITO's gate for it is off.
            sets, roles = await asyncio.gather(
                *(listed(client, kinds, picked, unseen) for kinds in (SETS, ROLES))
            )
        if which.names:
            sets = [one for one in sets if key_of(one).name in missing]
            missing -= {key_of(one).name for one in sets}
            roles = [one for one in roles if key_of(one).name in missing]
            missing -= {key_of(one).name for one in roles}
        gone = [await no_such(client, picture.kind, ObjectKey(where, name)) for name in sorted(missing)]
    _warn(unseen)
    made = _fleets(sets, roles, rows, datetime.now(UTC))
    _print(found, made, which.everywhere, output_format, datetime.now(UTC), where)
    say_missing(gone)


def _warn(unseen: Mapping[str, str]) -> None:
    for what, reason in unseen.items():
        output.warning(f"{what} cannot be listed, so less is shown: {reason}")


def _rows_named(rows: Sequence[Row], which: Which) -> list[Row]:
    return [row for row in rows if not which.names or row.key.name in which.names]


async def follow_list(target: Target, which: Which, timeout_s: float | None, output_format: str) -> None:
    """Show every change of the list until time is up."""
    shown: dict[Listed, tuple[Object, str]] = {}
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
            unlisted = observed.unlisted()  # which notes what was refused, too
            kinds = [kind for kind in observed.refused if await is_served(client, kind)]
            _warn({**unlisted, **{kind.plural: observed.refused[kind] for kind in kinds}})
            while True:
                await observed.follow_nodes()
                every = observed.rows()[0]
                rows, now = _rows_named(every, which), datetime.now(UTC)
                fleets = _fleets(observed.sets(), observed.roles(), every, now)
                fleets = [one for one in fleets if not which.names or one.key.name in which.names]
                if picture is None:
                    shown = _print_changes(rows, fleets, shown, now, output_format)
                else:
                    picture.draw(
                        [
                            *_fleet_blocks(fleets, now, which.everywhere),
                            *_report(rows, which.everywhere, now, drawn=True),
                        ]
                    )
                rest_s, ages_s = (_MOST_OFTEN_S, _AGES_S) if picture else (0.0, None)
                await observed.change(rest_s=rest_s, within_s=ages_s)
    except TimeoutError:
        raise TimedOut(f"timed out after {layout.elapsed(timeout_s or 0)}") from None
    finally:
        if picture is not None:
            picture.close()


def _print_changes(
    rows: Sequence[Row],
    fleets: Sequence[FleetRow],
    shown: Mapping[Listed, tuple[Object, str]],
    now: datetime,
    output_format: str,
) -> dict[Listed, tuple[Object, str]]:
    """A line, or an object, for each that has changed; returns what has been shown by then."""
    stamp = timestamp(now)
    known = {Listed("", row.key): (row.as_json(), f"{row.state}  {row.where}") for row in rows}
    known |= {Listed(f"{one.obj['kind']} ", one.key): (one.as_json, one.words) for one in fleets}
    for one, (value, words) in known.items():
        if one in shown and shown[one][0] == value:
            continue
        if output_format == "json":
            output.document({"time": stamp, **value}, indent=None)
        else:
            output.data(output.visible(f"{stamp}  {one.kind}{one.key}  {words}"))
    for one in [one for one in shown if one not in known]:
        if output_format == "json":
            gone = {"namespace": one.key.namespace, "name": one.key.name, "state": "gone"}
            output.document({"time": stamp, **gone}, indent=None)
        else:
            output.data(output.visible(f"{stamp}  {one.kind}{one.key}  Gone"))
    return known


def _fleets(
    sets: Sequence[Object], roles: Sequence[Object], rows: Sequence[Row], now: datetime
) -> list[FleetRow]:
    if not (sets or roles):
        return []
    from kaitoctl.commands import fleet_rows  # most clusters have no InferenceSets

    return fleet_rows.rows(sets, roles, rows, now)


def _fleet_blocks(fleets: Sequence[FleetRow], now: datetime, everywhere: bool) -> list[Block]:
    if not fleets:
        return []
    from kaitoctl.commands import fleet_rows  # most clusters have no InferenceSets

    return fleet_rows.blocks(fleets, now, everywhere=everywhere)


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
    fleets: Sequence[FleetRow],
    everywhere: bool,
    output_format: str,
    now: datetime,
    where: str,
) -> None:
    rows = invocation.sort_for_output(rows, lambda row: row.as_json())
    if output_format == "name":
        for row in rows:
            output.data(output.resource_name(row.workspace))
        for one in fleets:
            output.data(output.resource_name(one.obj))
    elif option_values.is_structured(output_format):
        value: Object = {"workspaces": [row.as_json() for row in rows]}
        if fleets:
            from kaitoctl.commands import fleet_rows  # most clusters have no InferenceSets

            value |= fleet_rows.structured(fleets)
        output.write_structured(value, output_format)
    elif not rows and not fleets:
        output.step("no Workspaces" + ("" if everywhere else f" in namespace {where}"))
    else:
        drawn, wide = output.is_drawn(sys.stdout), output_format == "wide"
        if fleets:
            output.show(_fleet_blocks(fleets, now, everywhere))
        output.show(_report(rows, everywhere, now, drawn=drawn, wide=wide))
