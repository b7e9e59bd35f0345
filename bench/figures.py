"""What a benchmark found: ratios to a peer or to a limit, measured side by side, with aim and spread."""

from __future__ import annotations

import math
import statistics
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

NOISE = 1.05
"""What takes less than so many times the smallest is not told from it."""


class Skipped(Exception):
    """A part cannot be measured on this machine; the text says why."""


Curves = Mapping[str, Mapping[int, float]]
"""What was measured, by program and by size."""


class Curve(NamedTuple):
    """Pairs of a size and a value, and the power with which the values grow."""

    points: Sequence[tuple[int, float]]
    power: float


@dataclass(frozen=True)
class Figure:
    """One measured thing.

    Args:
        part: of which benchmark.
        name: what.
        value: the median.
        low: the lowest of the runs.
        high: the highest.
        runs: how many.
        unit: `x` for a ratio.
        aim: `<= 1.5`, `>= 0.7`, `= 5`; empty for a figure that only explains.
        beside: the medians of both sides, for people.
        curves: for a figure of growth, what was measured, by program.
        curves_unit: of its values.
    """

    part: str
    name: str
    value: float
    low: float
    high: float
    runs: int
    unit: str = "x"
    aim: str = ""
    beside: str = ""
    curves: Mapping[str, Curve] = field(default_factory=dict)
    curves_unit: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether the aim is met; None without one."""
        if not self.aim:
            return None
        sign, _, number = self.aim.partition(" ")
        bound = float(number)
        return {"<=": self.value <= bound, ">=": self.value >= bound, "=": self.value == bound}[sign]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def of_values(part: str, name: str, values: Sequence[float], **rest: Any) -> Figure:
    """A figure of single measurements."""
    return Figure(part, name, statistics.median(values), min(values), max(values), len(values), **rest)


def of_pairs(
    part: str, name: str, pairs: Sequence[tuple[float, float]], peer: str, aim: str, *, unit: str = "ms"
) -> Figure:
    """The ratio of ours to a peer's, pair by pair."""
    mine, other = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratios = [a / b for a, b in pairs]
    beside = f"{mine:.3g} {unit}, {peer} {other:.3g} {unit}"
    return of_values(part, name, ratios, aim=aim, beside=beside)


def of_growth(
    part: str, name: str, curves: Curves, *, unit: str, empty: Mapping[str, float] | None = None
) -> Figure:
    """The power with which ours, the first of the curves, grows; 1 is linear.

    Args:
        part: of which benchmark.
        name: what grows.
        curves: values by size, by program.
        unit: of the values.
        empty: by program, what it takes for nothing; 0 when not given. A start-up that is always the same is
            no growth, nor is what lies within its noise: where fewer than two sizes lie beyond, it is 0.
    """
    powers = {}
    for side, points in curves.items():
        start = (empty or {}).get(side, 0.0)
        beyond = {size: value - start for size, value in points.items() if value > start * NOISE}
        powers[side] = exponent(beyond) if len(beyond) > 1 else 0.0
    first, *_ = powers.values()
    ends = ", ".join(
        f"{side} {min(points.values()):.3g} to {max(points.values()):.3g} {unit}"
        for side, points in curves.items()
    )
    kept = {side: Curve(list(points.items()), powers[side]) for side, points in curves.items()}
    return Figure(part, name, first, first, first, 1, unit="", beside=ends, curves=kept, curves_unit=unit)


def exponent(points: Mapping[int, float]) -> float:
    """The power of the size with which the values grow, by least squares of the logarithms."""
    logs = [(math.log(size), math.log(value)) for size, value in points.items()]
    mean_x, mean_y = (statistics.fmean(axis) for axis in zip(*logs, strict=True))
    return sum((x - mean_x) * (y - mean_y) for x, y in logs) / sum((x - mean_x) ** 2 for x, _ in logs)


def wall_ms(
    command: Sequence[str], env: Mapping[str, str] | None = None, codes: Collection[int] = (0,)
) -> float:
    """How long a program takes that must end with one of these exit codes."""
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=False, env=env)
    took_ms = (time.perf_counter() - started) * 1000
    assert done.returncode in codes, (command, done.stderr[-2000:])
    return took_ms


def in_turn(rounds: int, sides: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Every side once, then every side again: what disturbs the machine disturbs them alike."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            taken[name].append(side())
    return taken


def of_json(found: Mapping[str, Any]) -> Figure:
    """What `Figure.as_json` was made of."""
    curves = {side: Curve(*curve) for side, curve in found.get("curves", {}).items()}
    return Figure(**{**found, "curves": curves})


def table(figures: Sequence[Figure]) -> str:
    """For a terminal."""
    lines = [f"{'':<52}{'measured':>10} {'lowest':>8} {'highest':>8}  {'aim':<9}"]
    for figure in figures:
        verdict = {True: "met", False: "missed", None: ""}[figure.is_met]
        unit = "x" if figure.unit == "x" else f" {figure.unit}"
        lines.append(
            f"{figure.name:<52}{figure.value:>10.3g} {figure.low:>8.3g} {figure.high:>8.3g}  "
            f"{figure.aim:<9}{verdict:<7} {unit.strip():<6} {figure.beside}"
        )
    return "\n".join(lines)
