"""A node check as lines of text for people, and as a value for machines. Prints nothing itself."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from kaitoctl.cli.output import visible
from kaitoctl.kaito.nodes import Finding, Gpus, NodeVerdict, Verdict
from kaitoctl.kaito.nodes.sharing import Sharing
from kaitoctl.kube.objects import Object

_MOST_ROWS = 20
_LEAST_NAME = 12
_LEAST_MODEL = 9
_MODEL = "GPU MODEL"
_RED, _GREEN, _YELLOW, _DIM = "31", "32", "33", "2"
_COLOURS = {"✔": _GREEN, "✗": _RED, "!": _YELLOW, "◌": _YELLOW, "-": _DIM, "·": _DIM}
# What only narrows a product's name down: size, board, memory type.
_BOARD = r"^NVIDIA[- ]|\b(?:Tesla|GeForce)[- ]|[- ](?:PCI[Ee]?|SXM\d?|NVL|HBM\d\w?|\d+GB)\b"
_LOOKING = r" (?:get|describe) "


@dataclass(frozen=True, slots=True)
class Screen:
    """What the lines are for.

    Args:
        width: columns, None for as many as it takes (a file, a pipe).
        symbols: whether to mark lines with ✔ and ✗.
        colour: whether to paint the marks.
    """

    width: int | None = None
    symbols: bool = False
    colour: bool = False

    @classmethod
    def of_stdout(cls) -> Screen:
        """What stdout can show: no symbols where nobody looks, no colour with NO_COLOR."""
        return cls.of(sys.stdout)

    @classmethod
    def of(cls, stream: TextIO) -> Screen:
        """What a stream can show."""
        if not stream.isatty() or os.environ.get("TERM") == "dumb":
            return cls()
        return cls(shutil.get_terminal_size().columns, symbols=True, colour=not os.environ.get("NO_COLOR"))

    def marked(self, mark: str, text: str) -> str:
        """The text behind its mark; without symbols the text alone."""
        if not self.symbols:
            return text
        return f"{self.painted(mark, _COLOURS[mark])} {text}"

    def painted(self, text: str, colour: str) -> str:
        """The text in a colour, if there are colours."""
        return f"\x1b[{colour}m{text}\x1b[0m" if self.colour else text


def as_json(verdict: Verdict, workspace: str) -> Object:
    """The verdict as documented in docs/check-nodes.md."""
    return {
        "workspace": workspace,
        "required": verdict.required,
        "usable": len(verdict.selected),
        "enough": verdict.enough,
        "would_create": verdict.would_create,
        "selected": list(verdict.selected),
        "not_found": list(verdict.not_found),
        "nodes": [
            {
                "name": node.name,
                "usable": node.usable,
                "preferred": node.preferred,
                "gpus": {
                    "resource": node.gpus.resource,
                    "capacity": node.gpus.capacity,
                    "allocatable": node.gpus.allocatable,
                    "in_use": node.gpus.in_use,
                    "free": node.gpus.free,
                    "product": node.gpus.product,
                    "memory_gib": node.gpus.memory_gib,
                    "sharing": sharing_json(node.gpus.sharing),
                },
                "findings": [
                    {
                        "code": finding.code,
                        "level": finding.level,
                        "message": finding.message,
                        "hint": finding.hint,
                        "command": finding.command,
                    }
                    for finding in node.findings
                ],
            }
            for node in verdict.nodes
        ],
    }


def sharing_json(sharing: Sharing | None) -> Object | None:
    """How devices are made of GPUs; null for whole ones."""
    if sharing is None:
        return None
    return {
        "strategy": sharing.strategy,
        "replicas": sharing.replicas,
        "gpus": sharing.gpus,
        "profile": sharing.profile,
    }


def short(verdict: Verdict) -> list[str]:
    """One line for each thing that fails on a node that is named or has the labels, and the summary."""
    near = [node for node in verdict.nodes if node.preferred or node.has_all_labels]
    lines = []
    for node in near:
        for finding in node.failures:
            end = f" -> {finding.command}" if finding.command else ""
            lines.append(visible(f"{node.name}: {finding.code}: {finding.message}{end}"))
    if rest := [node for node in verdict.nodes if not node.preferred and not node.has_all_labels]:
        lines.append(_counted(rest))
    return [*lines, verdict.summary]


def _counted(nodes: Sequence[NodeVerdict]) -> str:
    codes = Counter(node.failures[0].code if node.failures else "usable" for node in nodes)
    counts = ", ".join(f"{number} {code}" for code, number in codes.most_common())
    return f"... and {len(nodes)} more: {counts} (-o wide shows them)"


def report(verdict: Verdict, title: str, screen: Screen, *, wide: bool = False) -> list[str]:
    """The table, the findings by node, and the summary."""
    shown, rest = (list(verdict.nodes), []) if wide else _shown(verdict)
    lines = [*wrapped(visible(title), screen, ""), ""]
    if verdict.nodes:
        lines += _table(shown, screen, wide)
    else:
        lines.append("No node carries the labels, has the instance type, or is named in preferredNodes.")
    if rest:
        lines += wrapped(_counted(rest), screen, "")
    for node in shown:
        told = [*node.failures, *node.warnings]
        if told:
            lines += ["", *_findings(node, told, screen)]
    mark = "✔" if verdict.enough else "✗"
    first, *more = wrapped(visible(verdict.summary), screen, "", hang="  " if screen.symbols else "")
    return [*lines, "", screen.marked(mark, first), *more]


def _shown(verdict: Verdict) -> tuple[list[NodeVerdict], list[NodeVerdict]]:
    """What somebody asked for by name or will get comes first; of thousands of others a few will do."""
    chosen = set(verdict.selected)
    named = [node for node in verdict.nodes if node.preferred or node.name in chosen]
    others = [node for node in verdict.nodes if not node.preferred and node.name not in chosen]
    room = max(0, _MOST_ROWS - len(named))
    kept = {node.name for node in [*named, *others[:room]]}
    return [node for node in verdict.nodes if node.name in kept], others[room:]


# --- the table -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Column:
    header: str
    cell: Callable[[NodeVerdict], str]
    mark: Callable[[NodeVerdict], str] = lambda _: ""
    right: bool = False


def _table(nodes: Sequence[NodeVerdict], screen: Screen, wide: bool) -> list[str]:
    layouts = [_layout(nodes, wide=wide)]
    if not wide:
        layouts += [_layout(nodes, short=True), _layout(nodes, short=True, least=True)]
    room = screen.width or 10_000
    for columns in layouts:
        lines = _drawn(columns, nodes, screen, 200)
        if all(shown_length(line) <= room for line in lines):
            return lines
    least = layouts[-1]
    over = max(shown_length(line) for line in _drawn(least, nodes, screen, 200)) - room
    longest = max(len(visible(node.name)) for node in nodes)
    name = max(_LEAST_NAME, longest - over)
    if (over := max(shown_length(line) for line in _drawn(least, nodes, screen, name)) - room) <= 0:
        return _drawn(least, nodes, screen, name)
    # The product of a MIG slice that is shared is as long as a name.
    longest = max(len(visible(_model(node.gpus, short=True))) for node in nodes)
    return _drawn(least, nodes, screen, name, max(_LEAST_MODEL, longest - over))


def _layout(
    nodes: Sequence[NodeVerdict], *, wide: bool = False, short: bool = False, least: bool = False
) -> list[_Column]:
    columns = [
        _Column(
            "READY",
            lambda node: _yes(node.ready) if node.exists else "-",
            lambda node: _tick(node, node.ready),
        ),
        _Column("LABELS", _labels, lambda node: _tick(node, node.has_all_labels)),
        _Column(
            "ALLOC" if short else "ALLOCATABLE", lambda node: _number(node, node.gpus.allocatable), right=True
        ),
        _Column("IN USE", lambda node: _number(node, node.gpus.in_use), right=True),
        _Column("FREE", lambda node: _number(node, node.gpus.free), right=True),
        _Column(_MODEL, lambda node: _model(node.gpus, short)),
        _Column("TAINTS", _taints),
        _Column("VERDICT", _verdict, _mark),
    ]
    if least:
        columns = [column for column in columns if column.header not in ("IN USE", "TAINTS")]
    if wide:
        columns[6:6] = [
            _Column("MEMORY", lambda node: f"{node.gpus.memory_gib:g} GiB" if node.gpus.memory_gib else "-"),
            _Column("INSTANCE TYPE", lambda node: node.instance_type or "-"),
            _Column("PREFERRED", lambda node: _yes(node.preferred)),
        ]
    return columns


def _drawn(
    columns: Sequence[_Column],
    nodes: Sequence[NodeVerdict],
    screen: Screen,
    longest: int,
    longest_model: int = 200,
) -> list[str]:
    rows = [["NODE", *(column.header for column in columns)]]
    for node in nodes:
        cells = [cut(visible(node.name), longest)]
        for column in columns:
            mark, text = column.mark(node), visible(column.cell(node))
            if column.header == _MODEL:
                text = cut(text, longest_model)
            # A tick says yes by itself; a number of labels or a code stays beside its mark.
            if mark and screen.symbols:
                painted = screen.painted(mark, _COLOURS[mark])
                text = painted if text in ("yes", "no") else f"{painted} {text}"
            cells.append(text)
        rows.append(cells)
    return aligned(rows, [False, *(column.right for column in columns)])


def aligned(rows: Sequence[Sequence[str]], rights: Sequence[bool]) -> list[str]:
    """Rows of cells as lines, each column as wide as its widest cell; colours take no room."""
    widths = [max(shown_length(row[number]) for row in rows) for number in range(len(rows[0]))]
    lines = []
    for row in rows:
        padded = []
        for cell, width, right in zip(row, widths, rights, strict=True):
            space = " " * (width - shown_length(cell))
            padded.append(space + cell if right else cell + space)
        lines.append("  ".join(padded).rstrip())
    return lines


def shown_length(text: str) -> int:
    """How many columns a text takes; colours take none."""
    return len(re.sub(r"\x1b\[\d+m", "", text))


def cut(name: str, longest: int) -> str:
    """The name without its middle: both ends of a cloud's node name tell something."""
    if len(name) <= longest:
        return name
    tail = (longest - 1) // 2
    return f"{name[: longest - 1 - tail]}…{name[-tail:]}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _tick(node: NodeVerdict, value: bool) -> str:
    return ("✔" if value else "✗") if node.exists else ""


def _labels(node: NodeVerdict) -> str:
    return f"{max(0, node.labels_asked - node.labels_lacking)}/{node.labels_asked}" if node.exists else "-"


def _number(node: NodeVerdict, number: int | None) -> str:
    if not node.exists:
        return "-"
    return "?" if number is None else str(number)


def _model(gpus: Gpus, short: bool) -> str:
    return model(gpus.product, gpus.memory_gib, short=short)


def model(product: str, memory_gib: float | None, *, short: bool) -> str:
    """The product's name, or just what tells it from others: `A100 80G`."""
    if not product or not short:
        return product or "-"
    memory = f" {memory_gib:.0f}G" if memory_gib else ""
    return re.sub(_BOARD, "", product) + memory


def _taints(node: NodeVerdict) -> str:
    blocking = ("taint-not-tolerated", "taint-of-controller")
    if any(finding.code in blocking for finding in node.failures):
        return "blocking"
    return "tolerated" if node.taints else "-"


def _verdict(node: NodeVerdict) -> str:
    failures = node.failures
    if not failures:
        return "usable"
    return failures[0].code + (f" +{len(failures) - 1}" if len(failures) > 1 else "")


def _mark(node: NodeVerdict) -> str:
    return "✗" if node.failures else ("!" if node.warnings else "✔")


# --- the findings --------------------------------------------------------------------------------------


def _findings(node: NodeVerdict, told: Iterable[Finding], screen: Screen) -> Iterator[str]:
    yield screen.marked(_mark(node), visible(node.name) + ("" if screen.symbols else ":"))
    for finding in told:
        code = f"[{finding.code}]" if finding.level == "fail" else f"[{finding.code}, warning]"
        yield from wrapped(f"{visible(finding.message)} {code}", screen, "    ")
        if finding.hint:
            yield from wrapped(visible(finding.hint), screen, "      ")
        if finding.command:
            word = "look" if re.search(_LOOKING, finding.command) else "fix"
            yield f"      {word}: {visible(finding.command)}"


def wrapped(text: str, screen: Screen, indent: str, *, hang: str = "") -> list[str]:
    """The text in lines that fit the screen, those after the first behind `hang`."""
    if screen.width is None:
        return [indent + text]
    room = max(40, screen.width - len(hang))
    lines = textwrap.wrap(
        text,
        room,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [""]
    return [lines[0], *(hang + line for line in lines[1:])]
