"""What a benchmark found: ratios to a peer or to a limit, measured side by side, with aim and spread."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


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
    details: Mapping[str, Any] = field(default_factory=dict)

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


def wall_ms(command: Sequence[str], env: Mapping[str, str] | None = None) -> float:
    """How long a program takes that must succeed."""
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=False, env=env)
    took_ms = (time.perf_counter() - started) * 1000
    assert done.returncode == 0, (command, done.stderr[-2000:])
    return took_ms


def in_turn(rounds: int, sides: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Every side once, then every side again: what disturbs the machine disturbs them alike."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            taken[name].append(side())
    return taken


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
