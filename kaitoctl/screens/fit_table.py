"""Where a preset fits: the answer first, then the next best and how full their memory is. Prints nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kaitoctl.kaito.fit import attainable_context
from kaitoctl.kaito.node_check import plural
from kaitoctl.screens.layout import BLANK, Block, Cell, Column, Paragraph, Table

if TYPE_CHECKING:
    from kaitoctl.kaito.catalog import Model, Preset
    from kaitoctl.kaito.fit import Choice
    from kaitoctl.kaito.prices import Prices

FIRST = 5
"""Rows that are shown unless all are asked for."""

_BAR = 10


def report(
    wanted: Preset | Model,
    choices: Sequence[Choice],
    rows: Sequence[Choice],
    prices: Prices,
    *,
    word: str,
    everything: bool = False,
    wide: bool = False,
) -> Iterator[Block]:
    """The answer, the first five, and how many more there are; or all of them.

    Args:
        wanted: what is to run.
        choices: what fits first, the best before the others.
        rows: what is shown, in its order.
        prices: what nodes cost; empty when nobody has said.
        word: what the first one is: `smallest` or `cheapest`.
        everything: whether to show all, with the reason of each that does not fit.
        wide: whether to show the cloud and notes, too.
    """
    fitting = [choice for choice in choices if choice.sizing.fits]
    if fitting:
        yield Paragraph(_answer(wanted, fitting[0], prices, word), mark="✔")
        yield BLANK
    shown = rows if everything else rows[:FIRST]
    if shown:
        yield _table(wanted, shown, prices, everything=everything, wide=wide)
    more, out = len(fitting) - FIRST, len(choices) - len(fitting)
    if fitting and not everything and (more > 0 or out):
        words = [f"{more} more {'fits' if more == 1 else 'fit'}"] if more > 0 else []
        words += [f"{out} {plural('type', out)} {'does' if out == 1 else 'do'} not"] if out else []
        yield Paragraph(f"{', '.join(words)}; --all shows all, and why not", style="dim")


def _answer(wanted: Preset | Model, best: Choice, prices: Prices, word: str) -> str:
    machine, sized = best.instance_type, best.sizing
    memory = f"{sized.used:.0%} of {best.memory_gib} GiB used" + (", tight" if sized.tight else "")
    parts = [f"{sized.nodes} {plural('node', sized.nodes)} of {machine.gpus} x {machine.gpu_model}", memory]
    if (price := prices.of(machine.name, sized.nodes)) is not None:
        parts.append(prices.words(price))
    if tokens := _context(wanted, best):
        parts.append(f"context up to {tokens}")
    return f"{word}: {machine.name}, {', '.join(parts)}"


def by_family(choices: Sequence[Choice]) -> list[Choice]:
    """All, those of one GPU together, in the order of the first of each."""
    families = list(dict.fromkeys(choice.instance_type.gpu_model for choice in choices))
    return sorted(choices, key=lambda choice: families.index(choice.instance_type.gpu_model))


def _table(
    wanted: Preset | Model, shown: Sequence[Choice], prices: Prices, *, everything: bool, wide: bool
) -> Table:
    has_context = any(_context(wanted, choice) for choice in shown)
    has_price = bool(prices.per_hour)
    columns = [
        Column("INSTANCE TYPE", whole=True),
        *([Column("CLOUD")] if wide or everything else ()),
        Column("GPUS"),
        Column("NODES", right=True),
        Column("MEMORY USED"),
        *([Column("CONTEXT", right=True)] if has_context else ()),
        *([Column(f"{prices.currency}/H", right=True)] if has_price else ()),
        *([Column("NOTE")] if wide else ()),
        Column("WHY" if everything else "HOW"),
    ]
    rows = []
    for choice in shown:
        machine, sized = choice.instance_type, choice.sizing
        price = prices.of(machine.name, sized.nodes) if sized.fits else None
        cells = [
            Cell(machine.name, "✔" if sized.fits else "✗"),
            *([Cell(machine.cloud)] if wide or everything else ()),
            Cell(f"{machine.gpus} x {machine.gpu_model.removeprefix('NVIDIA ')}"),
            Cell(str(sized.nodes) if sized.fits else "-"),
            _bar(sized.used) if sized.fits else Cell("-"),
            *([Cell(_context(wanted, choice) or "-")] if has_context else ()),
            *([Cell("-" if price is None else f"{price:,.2f}")] if has_price else ()),
            *([Cell(machine.note or "-")] if wide else ()),
            Cell(sized.why + (": tight" if sized.tight else "")),
        ]
        rows.append(tuple(cells))
    return Table(tuple(columns), tuple(rows), wide=wide, below=True)


def _bar(used: float) -> Cell:
    """A share as a bar on a terminal, as a number in a pipe."""
    full = min(_BAR, round(used * _BAR))
    colour = "red" if used >= 0.95 else "green"
    spans = (("█" * full, colour), ("░" * (_BAR - full), "dim"), (f" {used:4.0%}", ""))
    return Cell(f"{used:.0%}", spans=spans)


def _context(wanted: Preset | Model, choice: Choice) -> str:
    """The longest context that the memory leaves room for; empty where that is not known."""
    tokens = attainable_context(wanted, choice.instance_type, choice.sizing.nodes)
    return "" if tokens is None else f"{tokens:,}"
