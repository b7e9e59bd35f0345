"""A `View` as lines of text: header, stations, tree, conditions, and the one thing that is wrong.

Prints nothing itself; `follow` draws the lines in place or lets them scroll.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from kaitoctl.cli import options
from kaitoctl.cli.node_table import Screen, aligned, cut, shown_length, wrapped
from kaitoctl.cli.output import visible
from kaitoctl.kaito.rollout import Phase
from kaitoctl.kube.conditions import parse_timestamp

if TYPE_CHECKING:
    from kaitoctl.kaito.view import Condition, Item, View

_MARKS = {"ok": "✔", "busy": "◌", "bad": "✗", "off": "-"}
_LEAST_NAME = 24
_NO_GOOD_NEWS = ("WorkspaceDeleting", "FieldsIgnored")
_LEAST_INFO = 6
_LONGEST_MESSAGE = 200


def age(moment: str, now: datetime) -> str:
    """`40s`, `12m`, `3h05m`, `4d`; empty for what is no moment."""
    try:
        seconds = max(0.0, (now - parse_timestamp(moment)).total_seconds())
    except ValueError:
        return ""
    if seconds < 600:
        return options.elapsed(seconds)
    return (
        f"{int(seconds // 60)}m"
        if seconds < 3600
        else (options.elapsed(seconds) if seconds < 172_800 else f"{int(seconds // 86_400)}d")
    )


def lines(shown: View, now: datetime, screen: Screen) -> list[str]:
    """Everything, fitted to the screen."""
    told = [f"Workspace {shown.workspace}", shown.title, f"generation {shown.generation}"]
    made = [*wrapped(visible(", ".join(told)), screen, ""), "", *_stations(shown, now, screen), ""]
    made += _tree(shown.tree, now, screen)
    if shown.conditions:
        made += ["", *_conditions(shown, now, screen)]
    if shown.cause is not None and shown.cause.weight == "fault":
        made += ["", *_cause(shown, screen)]
    if shown.unseen:
        made += ["", *wrapped(visible(f"Could not look at: {', '.join(shown.unseen)}"), screen, "")]
    return made


# --- stations ------------------------------------------------------------------------------------------


def _stations(shown: View, now: datetime, screen: Screen) -> Iterator[str]:
    words = [_station(phase, shown, screen) for phase in shown.stations]
    gap = "  " if screen.symbols else " > "
    if screen.width is not None and shown_length(gap.join(words)) > screen.width:
        gap = gap[1:]
    line = ""
    for word in words:
        longer = f"{line}{gap}{word}" if line else word
        if screen.width is not None and shown_length(longer) > screen.width:
            yield line
            longer = word
        line = longer
    yield line
    where = shown.where
    since = age(shown.since, now)
    if shown.outcome is None and since and not shown.down:
        where += f", for {since} of {options.elapsed(shown.budget_s).removesuffix('00s')}"
    elif shown.outcome == "failed":
        where = f"failed while {shown.phase.words}"
    yield from wrapped(visible(where), screen, "")


def _station(phase: Phase, shown: View, screen: Screen) -> str:
    from kaitoctl.kaito.view import STATIONS  # lists of Workspaces use this module, and need no view

    word = STATIONS[phase]
    # What waits for a controller has not even been accepted.
    at = max(shown.phase, Phase.ACCEPTED)
    if shown.outcome == "ready" or phase < at:
        return screen.marked("✔", word)
    if phase > at:
        return screen.marked("·", word)
    if not screen.symbols:
        return f"[{word}]"
    return screen.marked("✗" if shown.outcome == "failed" or shown.down else "◌", word)


# --- tree ----------------------------------------------------------------------------------------------


def _tree(root: Item, now: datetime, screen: Screen) -> list[str]:
    rows = [["NAME", "STATUS", "AGE", "INFO"]]
    branches = list(_branches(root))
    rows += [
        [
            f"{branch}{_called(item)}",
            screen.marked(_MARKS[item.mark], visible(item.status)),
            age(item.since, now),
            visible(item.info),
        ]
        for branch, item in branches
    ]
    if screen.width is not None:
        _fit(rows, [branch for branch, _ in branches], screen.width)
    return aligned(rows, [False, False, True, False])


def _called(item: Item) -> str:
    return visible(f"{item.kind} {item.name}")


def _branches(item: Item, before: str = "", own: str = "") -> Iterator[tuple[str, Item]]:
    yield before + own, item
    below = before + {"": "", "├─ ": "│  ", "└─ ": "   "}[own]
    for number, child in enumerate(item.children):
        is_last = number == len(item.children) - 1
        yield from _branches(child, below, "└─ " if is_last else "├─ ")


def _fit(rows: list[list[str]], branches: Sequence[str], width: int) -> None:
    """Shorten what can be told from less: the middle of names first, then the end of the last column."""

    def widths() -> list[int]:
        return [max(map(shown_length, column)) for column in zip(*rows, strict=True)]

    def over() -> int:
        return sum(widths()) + 2 * (len(rows[0]) - 1) - width

    info = widths()[3]
    if (excess := over()) > 0 and info > _LEAST_INFO:
        room = max(_LEAST_INFO, info - excess, min(info, 16))
        for row in rows:
            row[3] = row[3] if len(row[3]) <= room else f"{row[3][: room - 1]}…"
    if (excess := over()) > 0:
        room = max(_LEAST_NAME, widths()[0] - excess)
        for row, branch in zip(rows[1:], branches, strict=True):
            row[0] = branch + cut(row[0].removeprefix(branch), max(8, room - len(branch)))
    if (excess := over()) > 0:
        room = max(_LEAST_INFO, widths()[3] - excess)
        for row in rows:
            row[3] = row[3] if len(row[3]) <= room else f"{row[3][: room - 1]}…"


# --- conditions ----------------------------------------------------------------------------------------


def _conditions(shown: View, now: datetime, screen: Screen) -> list[str]:
    headers = ["CONDITION", "STATUS", "REASON", "AGE"]
    if screen.width is None:
        headers.append("MESSAGE")
    rows, below = [headers], []
    for item in shown.conditions:
        mark = {"True": "✔", "False": "✗"}.get(item.status, "◌")
        if item.status == "False" and "Pending" in item.reason:
            mark = "◌"
        if item.type in _NO_GOOD_NEWS and item.status == "True":
            mark = "!"
        row = [
            screen.marked(mark, visible(item.type)),
            visible(item.status),
            visible(item.reason),
            age(item.since, now) + ("*" if _is_stale(item, shown) else ""),
        ]
        if screen.width is None:
            row.append(visible(item.message))
        rows.append(row)
        below.append(
            wrapped(visible(_short(item.message)), screen, "    ")
            if screen.width is not None and item.status != "True" and item.message
            else []
        )
    drawn = aligned(rows, [False] * len(headers))
    made = drawn[:1]
    said: set[str] = set()
    for line, item, more in zip(drawn[1:], shown.conditions, below, strict=True):
        made += [line, *(more if item.message not in said else ())]
        said.add(item.message)
    if any(_is_stale(item, shown) for item in shown.conditions):
        made += wrapped(
            f"* of an older generation than {shown.generation}: it may not hold any more", screen, ""
        )
    return made


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]}…"


def _is_stale(item: Condition, shown: View) -> bool:
    return 0 < item.generation < shown.generation


def _cause(shown: View, screen: Screen) -> Iterator[str]:
    cause = shown.cause
    assert cause is not None
    mark = "✗" if cause.weight == "fault" else "!"
    first, *more = wrapped(
        visible(f"{cause.about}: {cause.message} [{cause.code}]"),
        screen,
        "",
        hang="  " if screen.symbols else "",
    )
    yield screen.marked(mark, first)
    yield from more
    if cause.command:
        yield f"    {visible(cause.command)}"
    yield f"  More: {visible(shown.more)}"
