"""The figures as pictures: `docs/performance/PART.svg`, the same bytes for the same figures.

No background, and ink that is readable on white and on black: nobody knows where a page is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from bench.figures import Figure

INK, MET, MISSED = "#808080", "#2f81f7", "#e8590c"
LINES = [MET, MISSED, "#2da44e", "#a371f7"]
WIDTH, ROW = 7.5, 0.3
COLUMNS = 2

STYLE: Any = {
    "svg.hashsalt": "kaitoctl",
    "svg.fonttype": "none",  # text stays text: small, and found by a search
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "grid.color": INK,
    "grid.alpha": 0.25,
}


def draw(figures: Iterable[Figure], file: Path) -> bool:
    """Draw what there is to see in the figures of a part; False when there is nothing."""
    figures = list(figures)
    growing = [figure for figure in figures if figure.curves]
    aimed = [figure for figure in figures if figure.aim and figure.aim[0] in "<>" and figure.value > 0]
    if not growing and not aimed:
        return False
    with mpl.rc_context(STYLE):
        picture = _growth(growing) if growing else _aims(aimed)
        file.parent.mkdir(exist_ok=True)
        picture.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return True


def _aims(figures: Sequence[Figure]) -> Picture:
    """Each figure as a multiple of its aim, with the spread of its runs; left of the line is met."""
    picture = Picture(figsize=(WIDTH, 0.8 + ROW * len(figures)), layout="constrained")
    axes = picture.add_subplot()
    for row, figure in enumerate(figures):
        sign, _, number = figure.aim.partition(" ")
        bound = float(number)
        spread = [value / bound for value in (figure.low, figure.value, figure.high)]
        if sign == ">=":
            spread = [1 / max(value, 1e-3) for value in reversed(spread)]
        low, value, high = (max(value, 0.01) for value in spread)
        colour = MET if figure.is_met else MISSED
        axes.plot([low, high], [row, row], color=colour, linewidth=2, alpha=0.5, solid_capstyle="round")
        axes.plot(value, row, marker="o" if figure.is_met else "X", color=colour, markersize=7)
    axes.axvline(1, color=INK, linewidth=1)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.4), max(high, 2.5))
    _label(axes.xaxis, (1, 2, 5))
    axes.set_xlabel("multiple of the aim: up to 1 is met  (median, lowest and highest run)")
    axes.set_yticks(range(len(figures)), [figure.name for figure in figures])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(figures) - 0.5, -0.5)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    return picture


def _growth(figures: Sequence[Figure]) -> Picture:
    """A panel for each thing that grows: every program's values over the size, on logarithmic axes."""
    rows = -(-len(figures) // COLUMNS)
    picture = Picture(figsize=(WIDTH, 2.5 * rows), layout="constrained")
    panels = list(picture.subplots(rows, COLUMNS, squeeze=False).flat)
    for figure, axes in zip(figures, panels, strict=False):
        _panel(figure, axes)
    for axes in panels[len(figures) :]:
        axes.set_visible(False)
    return picture


def _panel(figure: Figure, axes: Axes) -> None:
    for (side, curve), colour in zip(figure.curves.items(), LINES, strict=False):
        sizes, values = zip(*curve.points, strict=True)
        label = f"{side}: power {curve.power:.2f}"
        axes.plot(sizes, values, marker="o", markersize=4, color=colour, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    widen = max(1, 10 / (high / low)) ** 0.5  # a decade at least: what hardly grows looks like it
    axes.set_ylim(low / widen, high * widen)
    _label(axes.yaxis, (1, 3))
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes], minor=False)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylabel(figure.curves_unit)
    axes.set_title(figure.name, fontsize=9)
    axes.legend(fontsize=8)
    axes.grid()


def _label(axis: Axis, digits: Sequence[int]) -> None:
    """A logarithmic axis with ticks at these multiples of the powers of ten, and no others."""
    axis.set_major_locator(LogLocator(subs=digits))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
