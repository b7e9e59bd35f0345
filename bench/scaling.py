"""How time and memory grow with the number of objects, and with which power.

    python -m bench scaling [--sizes 1000,10000,20000]

The controller with so many Workspaces (`bench.controller`), check-nodes on so many nodes (`bench.nodes`),
`nodes` and `status -A` beside `kubectl get` on the sandbox's API server, and `validate` on documents beside
the bare YAML loader. Powers are fitted to what a size takes beyond a nearly empty cluster: 1 is linear. For
commands the lowest of a few runs counts: what disturbs a machine only adds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench import api_server, controller, nodes, startup, validate
from bench.figures import Curves, Figure, of_growth, of_values

ROUNDS = 3
FEW = 10
DOCUMENTS = (20, 200, 2000)


def figures(sizes: Sequence[int]) -> list[Figure]:
    return [*controllers(sizes), *check_nodes(sizes), *reads(sizes), validating()]


def controllers(sizes: Sequence[int]) -> list[Figure]:
    """One run of each size: the sizes themselves show the spread."""
    runs = {size: controller.runs_of(["kaitoctl"], 1, size)["kaitoctl"][0] for size in sizes}

    def growth(name: str, values: list[float], unit: str) -> Figure:
        curve = dict(zip(sizes, values, strict=True))
        return of_growth("scaling", name, {"kaitoctl": curve}, unit=unit)

    def at(size: int, name: str, what: str, unit: str, aim: str) -> Figure:
        return of_values(
            "scaling", f"controller, {size} Workspaces: {name}", [runs[size][what]], unit=unit, aim=aim
        )

    cpu_s = [runs[size]["cpu_ms_per_workspace"] * size / 1000 for size in sizes]
    memory = [runs[size]["kib_per_workspace"] * size / 1024 for size in sizes]
    found = [
        growth("controller, CPU", cpu_s, "s"),
        growth("controller, memory beyond an empty one", memory, "MiB"),
    ]
    for size in sizes:
        found += [
            at(size, "memory", "peak_mib", "MiB", "<= 150" if size == 10_000 else ""),
            at(size, "relist after 410, of the steady memory", "relist_peak_ratio", "x", "<= 2"),
            at(size, "writes for a change that a relist finds", "writes_per_change_after_relist", "", "= 5"),
        ]
    return found


def check_nodes(sizes: Sequence[int]) -> list[Figure]:
    taken = {size: nodes.compared(size, ROUNDS, alone=True)[0] for size in (FEW, *sizes)}
    sides = sorted(name for name in taken[FEW] if name.startswith("check-nodes"))  # "all" first: the dearest
    found = []
    for which, what, unit in (("seconds", "time", "s"), ("mib", "memory", "MiB")):
        lowest = {
            side: {size: min(getattr(run, which) for run in taken[size][side]) for size in (FEW, *sizes)}
            for side in sides
        }
        found.append(_beyond_few(f"check-nodes, {what}", lowest, unit))
    return found


def _beyond_few(name: str, lowest: Curves, unit: str) -> Figure:
    """The growth beyond what a few objects take."""
    curves = {
        side: {size: value for size, value in points.items() if size != FEW}
        for side, points in lowest.items()
    }
    empty = {side: points[FEW] for side, points in lowest.items()}
    return of_growth("scaling", name, curves, empty=empty, unit=unit)


def reads(sizes: Sequence[int]) -> list[Figure]:
    """As many nodes as Workspaces."""
    commands = {
        "nodes": {"kaitoctl nodes": ["nodes"], "kubectl get nodes": ["get", "nodes"]},
        "status -A": {
            "kaitoctl status -A": ["status", "-A"],
            "kubectl get workspaces -A": ["get", "workspaces", "-A"],
        },
    }
    sides = {
        name: [str(startup.BIN / name.partition(" ")[0]), *words]
        for both in commands.values()
        for name, words in both.items()
    }
    lowest: dict[str, dict[int, float]] = {name: {} for name in sides}
    for size in (FEW, *sizes):
        with api_server.running() as server, tempfile.TemporaryDirectory() as home:
            server.ask("nodes", size)
            server.ask("create", 0, size)
            env = startup.environment(Path(home), server.kubeconfig())
            for name, runs in startup.timed(sides, ROUNDS, env, {}).items():
                lowest[name][size] = min(runs) / 1000
    return [_beyond_few(what, {name: lowest[name] for name in both}, "s") for what, both in commands.items()]


def validating() -> Figure:
    curves: dict[str, dict[int, float]] = {"kaitoctl": {}, "yaml.CSafeLoader": {}}
    for count in DOCUMENTS:
        text = validate.documents_of(count)
        for name, work in {"kaitoctl": validate.judged, "yaml.CSafeLoader": validate.loaded}.items():
            curves[name][count] = min(validate.milliseconds(partial(work, text)) for _ in range(ROUNDS))
    return of_growth("scaling", "validate, in this process", curves, unit="ms")
