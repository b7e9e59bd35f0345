"""A set as blocks: its replicas as a table, and what holds it up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from kaitoctl.kaito.fleet import history
from kaitoctl.kaito.fleet.template import adapters_of
from kaitoctl.kaito.fleet.view import (
    ROLE_CONDITIONS,
    Fleet,
    replica_words,
    state_of_roles,
    trouble_of_roles,
)
from kaitoctl.kube import conditions
from kaitoctl.kube.objects import Object, annotations_of, dig, key_of
from kaitoctl.screens import layout
from kaitoctl.screens.layout import BLANK, Block, Cell, Command, Paragraph
from kaitoctl.screens.status_screen import age, brief

if TYPE_CHECKING:
    from kaitoctl.kaito.view import View

_MARKS = {"Ready": "✔", "Failed": "✗", "NotServing": "✗", "Mixed": "!"}
_STYLES = {"Ready": "green", "Failed": "red", "NotServing": "red", "Mixed": "yellow", "Deleting": "yellow"}
_HEADERS = ("REPLICA", "READY", "TEMPLATE", "REVISION", "ADAPTERS", "NODES", "AGE", "MESSAGE")
_MOST = 4  # replicas with a bar: the table has all
_ROLES_HEADERS = ("MULTIROLEINFERENCE", "STATE", "PREFILL", "DECODE", "AGE", "MESSAGE")
_LIST_HEADERS = ("INFERENCESET", "STATE", "READY", "TEMPLATE", "AGE", "MESSAGE")


def report(fleet: Fleet, now: datetime, *, hint: str = "", coming_up: Sequence[View] = ()) -> list[Block]:
    """One set, with a row for each replica.

    Args:
        fleet: the set.
        now: the present time.
        hint: the command that gets it further; empty when none is needed.
        coming_up: replicas that are followed, on a terminal.
    """
    state = "not serving" if fleet.state == "NotServing" else fleet.state.lower()
    head = f"InferenceSet {fleet.key}: {state}, {fleet.ready} of {fleet.wanted} replicas ready"
    blocks: list[Block] = [Paragraph(head, mark=_MARKS.get(fleet.state, "-"))]
    blocks.append(Paragraph(fleet.trouble or fleet.template_words, indent=2))
    if hint:
        blocks.append(Command(hint))
    going = [one for one in coming_up if one.outcome is None and not one.down]
    said = {one.workspace for one in going[:_MOST]}
    if fleet.replicas:
        rows = [
            [
                one.name,
                "yes" if one.is_ready else "no",
                "present" if one.is_current else "older",
                annotations_of(one.workspace).get(history.NUMBER, "-"),
                ",".join(adapters_of(one.workspace)) or "-",
                ",".join(map(str, dig(one.workspace, "status", "workerNodes") or ())) or "-",
                age(str(one.workspace["metadata"].get("creationTimestamp") or ""), now),
                "" if str(key_of(one.workspace)) in said else replica_words(one),
            ]
            for one in fleet.replicas
        ]
        blocks += [BLANK, layout.table(_HEADERS, rows, gap=3)]
    if going:
        blocks.append(BLANK)
        blocks += [block for one in going[:_MOST] for block in brief(one, now, with_cause=False)]
    if len(going) > _MOST:
        blocks.append(Paragraph(f"... {len(going) - _MOST} more under way", style="dim"))
    return blocks


def rows_of(fleets: Sequence[Fleet], now: datetime, *, everywhere: bool) -> list[Block]:
    """A row for each set."""
    headers = ("NAMESPACE", *_LIST_HEADERS) if everywhere else _LIST_HEADERS
    rows = [
        [
            *([fleet.key.namespace] if everywhere else ()),
            fleet.key.name,
            Cell(fleet.state, spans=((fleet.state, _STYLES.get(fleet.state, "")),)),
            f"{fleet.ready}/{fleet.wanted}",
            f"{len(fleet.outdated)} older" if fleet.outdated else "present",
            age(str(fleet.inference_set["metadata"].get("creationTimestamp") or ""), now),
            fleet.trouble,
        ]
        for fleet in fleets
    ]
    return [layout.table(headers, rows, gap=3, names=2 if everywhere else 1)]


def rows_of_roles(found: Sequence[Object], now: datetime, *, everywhere: bool) -> list[Block]:
    """A row for each MultiRoleInference."""
    headers = ("NAMESPACE", *_ROLES_HEADERS) if everywhere else _ROLES_HEADERS
    rows = []
    for one in found:
        state, key = state_of_roles(one), key_of(one)
        rows.append(
            [
                *([key.namespace] if everywhere else ()),
                key.name,
                Cell(state, spans=((state, _STYLES.get(state, "")),)),
                *((conditions.find(one, name) or {}).get("status") or "-" for name in ROLE_CONDITIONS[:2]),
                age(str(one["metadata"].get("creationTimestamp") or ""), now),
                trouble_of_roles(one),
            ]
        )
    return [layout.table(headers, rows, gap=3, names=2 if everywhere else 1)]
