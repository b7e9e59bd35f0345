"""A `View` as blocks: header, stations, tree, conditions, and the one thing that is wrong. Prints nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from kaitoctl.advice import on_screen, shortened, text
from kaitoctl.kaito.rollout import Phase
from kaitoctl.kube.conditions import parse_timestamp
from kaitoctl.screens import layout
from kaitoctl.screens.layout import BLANK, Block, Cell, Column, Command, Paragraph, Steps, Table

if TYPE_CHECKING:
    from kaitoctl.kaito.view import Condition, View
    from kaitoctl.kaito.view_tree import Item

_MARKS = {"ok": "✔", "busy": "◌", "bad": "✗", "off": "-"}
_NO_GOOD_NEWS = ("WorkspaceDeleting", "FieldsIgnored")
_LONGEST_MESSAGE = 200
_BAR = 10
_FEWER = (24, 16, 12, 8, 6, 4, 3, 2, 1)
"""Rows that there may be room for."""


def age(moment: str, now: datetime) -> str:
    """`40s`, `12m`, `3h05m`, `4d`; empty for what is no moment."""
    try:
        seconds = max(0.0, (now - parse_timestamp(moment)).total_seconds())
    except ValueError:
        return ""
    if seconds < 600:
        return layout.elapsed(seconds)
    return (
        f"{int(seconds // 60)}m"
        if seconds < 3600
        else (layout.elapsed(seconds) if seconds < 172_800 else f"{int(seconds // 86_400)}d")
    )


def report(
    shown: View,
    now: datetime,
    *,
    drawn: bool = False,
    most_rows: int | None = None,
    with_conditions: bool = True,
) -> list[Block]:
    """Everything there is to show.

    Args:
        shown: the view.
        now: the moment, for ages.
        drawn: whether it is for a terminal, where messages stand below their conditions.
        most_rows: of the tree, what is wrong before what is well; None for all.
        with_conditions: whether conditions are shown.
    """
    head = f"Workspace {shown.workspace}, {shown.title}, generation {shown.generation}"
    blocks: list[Block] = [Paragraph(head), BLANK, *_stations(shown, now, drawn=drawn)]
    if shown.cause is not None and shown.cause.weight == "fault":
        blocks += _cause(shown)
    blocks += [BLANK, *_tree(shown.tree, now, most_rows)]
    # On a terminal, where all is well, they would say what stands above once more.
    is_said = drawn and shown.outcome == "ready" and _are_all_well(shown)
    if shown.conditions and with_conditions and not is_said:
        blocks += [BLANK, *_conditions(shown, now, drawn=drawn)]
    if shown.unseen:
        blocks += [BLANK, Paragraph(f"Unavailable: {', '.join(shown.unseen)}")]
    return blocks


def smaller(shown: View, now: datetime) -> Iterator[list[Block]]:
    """The report for fewer and fewer lines: without conditions, then with less and less of its tree."""
    for most in (None, *_FEWER):
        yield report(shown, now, drawn=True, most_rows=most, with_conditions=False)


def brief(shown: View, now: datetime, *, with_log: bool = True, with_cause: bool = True) -> Iterator[Block]:
    """One rollout of several, on a terminal: where it stands, with its bar, and what is wrong.

    Args:
        shown: the view.
        now: the moment, for ages.
        with_log: whether to show the last line of its log.
        with_cause: whether to show what is wrong.
    """
    mark = {"ready": "✔", "failed": "✗", None: "✗" if shown.down else "◌"}[shown.outcome]
    yield Paragraph(f"{shown.workspace}  {_standing(shown, now, drawn=True)}", mark=mark)
    if with_log:
        yield from _said(shown, indent=4)
    if with_cause and shown.cause is not None and shown.cause.weight == "fault":
        yield from _cause(shown)


def briefly(shown: Sequence[View], now: datetime) -> Iterator[list[Block]]:
    """Several rollouts in fewer and fewer lines: without logs, without what is ready, the first ones."""
    for with_log in (True, False):
        yield [block for one in shown for block in brief(one, now, with_log=with_log)]
    going = [one for one in shown if one.outcome != "ready"]
    for most in (len(going), *(most for most in _FEWER if most < len(going))):
        blocks = [block for one in going[:most] for block in brief(one, now, with_log=False)]
        rest = [f"{len(shown) - len(going)} ready"] if len(going) < len(shown) else []
        rest += [f"{len(going) - most} more under way"] if most < len(going) else []
        yield [*blocks, *([Paragraph(f"... {', '.join(rest)}", style="dim")] if rest else [])]


# --- stations ------------------------------------------------------------------------------------------


def _stations(shown: View, now: datetime, *, drawn: bool) -> Iterator[Block]:
    marked = [_station(phase, shown) for phase in shown.stations]
    words = [f"[{word}]" if mark in ("✗", "◌") else word for mark, word in marked]
    yield Steps(tuple(marked), " > ".join(words))
    yield Paragraph(_standing(shown, now, drawn=drawn))
    yield from _said(shown, indent=2)


def _standing(shown: View, now: datetime, *, drawn: bool) -> str:
    """Where it stands: with a bar, on a terminal, while it is under way."""
    where = shown.where
    since = age(shown.since, now)
    if shown.outcome is None and since and not shown.down:
        where += f", for {since} of {layout.elapsed(shown.budget_s).removesuffix('00s')}"
        where = f"{_bar(shown, now)} {where}" if drawn else where
    elif shown.outcome == "failed":
        where = shown.phase.failed_words
    return where


def _said(shown: View, *, indent: int) -> Iterator[Block]:
    """What the model server's log said last, while that is of interest."""
    if shown.log and shown.outcome is None:
        yield Paragraph(shown.log, indent=indent, hang=2, style="dim")


def _bar(shown: View, now: datetime) -> str:
    """How much of the model is loaded, if its log says so; else the time that has gone of its budget."""
    gone_s = (now - parse_timestamp(shown.since)).total_seconds()
    share = gone_s / max(shown.budget_s, 1.0) if shown.loaded is None else shown.loaded
    full = max(0, min(_BAR, int(_BAR * share)))
    words = "" if shown.loaded is None else f" {shown.loaded:.0%}"
    return "█" * full + "░" * (_BAR - full) + words


def _station(phase: Phase, shown: View) -> tuple[str, str]:
    """The mark and the word of a station."""
    from kaitoctl.kaito.view import STATIONS  # lists of Workspaces use this module, and need no view

    word = STATIONS[phase]
    # What waits for a controller has not even been accepted.
    at = max(shown.phase, Phase.ACCEPTED)
    if shown.outcome == "ready" or phase < at:
        return "✔", word
    if phase > at:
        return "·", word
    return "✗" if shown.outcome == "failed" or shown.down else "◌", word


# --- tree ----------------------------------------------------------------------------------------------

_TREE = (Column("NAME", whole=True), Column("STATUS"), Column("AGE", right=True), Column("INFO"))


def _tree(root: Item, now: datetime, most_rows: int | None) -> Iterator[Block]:
    items = [item for *_, item in _branches(root)]
    kept = _worst(root, most_rows) if most_rows is not None else {id(item) for item in items}
    yield Table(_TREE, tuple(_row(item, guide, below, now) for guide, below, item in _branches(root, kept)))
    if hidden := len(items) - len(kept):
        yield Paragraph(f"... {hidden} more {'row' if hidden == 1 else 'rows'}")


def _row(item: Item, guide: str, below: str, now: datetime) -> tuple[Cell, ...]:
    return (
        Cell(f"{item.kind} {item.name}", guide=guide, below=below),
        Cell(item.status, _MARKS[item.mark]),
        Cell(age(item.since, now)),
        Cell(item.info),
    )


def _worst(root: Item, most: int) -> set[int]:
    """The items that few rows are best spent on: the root, then what is wrong with what leads there."""
    order = {"bad": 0, "busy": 1, "off": 2, "ok": 3}
    paths = sorted(_paths(root), key=lambda path: order[path[-1].mark])
    kept = {id(root)}
    for path in paths:
        wanted = kept | {id(item) for item in path}
        if len(wanted) <= max(most, 1):
            kept = wanted
    return kept


def _paths(item: Item, before: tuple[Item, ...] = ()) -> Iterator[tuple[Item, ...]]:
    path = (*before, item)
    yield path
    for child in item.children:
        yield from _paths(child, path)


def _branches(
    item: Item, kept: set[int] | None = None, before: str = "", own: str = ""
) -> Iterator[tuple[str, str, Item]]:
    """The items in order, each with the lines of the tree before it, and those that go on below it."""
    below = before + {"": "", "├─ ": "│  ", "└─ ": "   "}[own]
    children = [child for child in item.children if kept is None or id(child) in kept]
    yield before + own, below + ("│  " if children else "   "), item
    for number, child in enumerate(children):
        yield from _branches(child, kept, below, "└─ " if number == len(children) - 1 else "├─ ")


# --- conditions ----------------------------------------------------------------------------------------


def _conditions(shown: View, now: datetime, *, drawn: bool) -> Iterator[Block]:
    columns = [Column("CONDITION", whole=True), Column("STATUS"), Column("REASON", whole=True), Column("AGE")]
    if not drawn:
        columns.append(Column("MESSAGE"))
    rows = []
    for item in shown.conditions:
        since = age(item.since, now) + ("*" if _is_stale(item, shown) else "")
        row = [
            Cell(item.type, _condition_mark(item, shown)),
            Cell(item.status),
            Cell(item.reason),
            Cell(since),
        ]
        rows.append(tuple(row if drawn else [*row, Cell(item.message)]))
    yield Table(tuple(columns), tuple(rows))
    if drawn and (shown.cause is None or shown.cause.weight != "fault"):
        yield from _messages(shown)
    if any(_is_stale(item, shown) for item in shown.conditions):
        yield Paragraph(f"* of an older generation than {shown.generation}: it may not hold any more")


def _are_all_well(shown: View) -> bool:
    return all(
        _condition_mark(item, shown) == "✔" and not _is_stale(item, shown) for item in shown.conditions
    )


def _condition_mark(item: Condition, shown: View) -> str:
    """A cross only where something is wrong: most conditions are False while they are waited for."""
    if item.status == "True":
        return "!" if item.type in _NO_GOOD_NEWS else "✔"
    is_fault = shown.cause is not None and shown.cause.weight == "fault"
    is_waited_for = shown.outcome is None and not shown.down and not is_fault
    return "✗" if item.status == "False" and "Pending" not in item.reason and not is_waited_for else "◌"


def _messages(shown: View) -> Iterator[Block]:
    """What the conditions that do not hold say, each message once, and not what stands above already."""
    above = shown.where
    for item in shown.conditions:
        if item.status != "True" and item.message and item.message not in above:
            yield Paragraph(f"{item.type}: {shortened(item.message, _LONGEST_MESSAGE)}", indent=2)
            above += f"\n{item.message}"


def _is_stale(item: Condition, shown: View) -> bool:
    return 0 < item.generation < shown.generation


def _cause(shown: View) -> Iterator[Block]:
    cause = shown.cause
    assert cause is not None
    mark = "✗" if cause.weight == "fault" else "!"
    yield Paragraph(f"{cause.about}: {cause.message} [{cause.code}]", mark=mark)
    if cause.command:
        yield Command(text(cause.command, shown.flags))
    elif cause.hint:
        yield Paragraph(on_screen(cause.hint, shown.flags), indent=4)
    yield Command(text(shown.more, shown.flags), lead="More: ", indent=2)
