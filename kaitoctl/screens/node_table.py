"""A node check as blocks for people, and as a value for machines. Prints nothing itself."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from kaitoctl.advice import NO_FLAGS, ClusterFlags, on_screen, text
from kaitoctl.kaito.node_check import Finding, Gpus, NodeVerdict, Verdict
from kaitoctl.kaito.node_check.sharing import Sharing
from kaitoctl.kube.objects import Object
from kaitoctl.screens.layout import BLANK, Block, Cell, Column, Command, Paragraph, Table, visible

_MOST_ROWS = 20
# What only narrows a product's name down: size, board, memory type.
_BOARD = r"^NVIDIA[- ]|\b(?:Tesla|GeForce)[- ]|[- ](?:PCI[Ee]?|SXM\d?|NVL|HBM\d\w?|\d+GB)\b"


def as_json(
    verdict: Verdict,
    workspace: str,
    flags: ClusterFlags = NO_FLAGS,
    *,
    nodes: Sequence[NodeVerdict] | None = None,
) -> Object:
    """The verdict as documented in docs/check-nodes.md; `nodes` are its nodes in another order."""
    shown = verdict.nodes if nodes is None else nodes
    return {**without_nodes(verdict, workspace), "nodes": list(nodes_as_json(shown, flags))}


def without_nodes(verdict: Verdict, workspace: str) -> Object:
    """Of `as_json`, what stands before the nodes."""
    return {
        "workspace": workspace,
        "required": verdict.required,
        "usable": len(verdict.selected),
        "enough": verdict.suffices(strict=False),
        "would_create": verdict.would_create,
        "selected": list(verdict.selected),
        "not_found": list(verdict.not_found),
        **({"refusal": verdict.refusal} if verdict.refusal else {}),
        **({"unsized": verdict.why_unsized} if verdict.unsized else {}),
    }


def nodes_as_json(nodes: Iterable[NodeVerdict], flags: ClusterFlags = NO_FLAGS) -> Iterator[Object]:
    """Of `as_json`, the nodes, one after the other: there may be thousands."""
    for node in nodes:
        yield {
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
                    "hint": text(finding.hint, flags),
                    "command": text(finding.command, flags),
                }
                for finding in node.findings
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


def short(verdict: Verdict, flags: ClusterFlags = NO_FLAGS) -> list[str]:
    """One line for each thing that fails on a node that is named or has the labels, and the summary."""
    near = [node for node in verdict.nodes if node.preferred or node.has_all_labels]
    lines = []
    for node in near:
        for finding in node.failures:
            end = f" -> {text(finding.command, flags)}" if finding.command else ""
            lines.append(visible(f"{node.name}: {finding.code}: {finding.message}{end}"))
    if rest := [node for node in verdict.nodes if not node.preferred and not node.has_all_labels]:
        lines.append(_counts(rest))
    return [*lines, verdict.summary]


def _counts(nodes: Sequence[NodeVerdict]) -> str:
    codes = Counter(node.failures[0].code if node.failures else "usable" for node in nodes)
    counts = ", ".join(f"{number} {code}" for code, number in codes.most_common())
    return f"... and {len(nodes)} more: {counts} (-o wide shows them)"


def report(
    verdict: Verdict,
    title: str,
    flags: ClusterFlags = NO_FLAGS,
    *,
    nodes: Sequence[NodeVerdict] | None = None,
    wide: bool = False,
    drawn: bool = False,
) -> list[Block]:
    """The table, the findings by node, and the summary.

    Args:
        verdict: the answer.
        title: what was asked.
        flags: lead the commands to the cluster that was looked at.
        nodes: its nodes in another order; None for that of preference.
        wide: whether all nodes and all columns are wanted.
        drawn: whether it is for a terminal, which has less room than a pipe.
    """
    in_order = list(verdict.nodes if nodes is None else nodes)
    shown, rest = (in_order, []) if wide else _shown_and_rest(verdict, in_order)
    blocks: list[Block] = [Paragraph(title), BLANK]
    if verdict.nodes:
        blocks.append(_table(shown, wide=wide, short=drawn and not wide))
    else:
        blocks.append(Paragraph(_nothing_there(verdict)))
    if rest:
        blocks.append(Paragraph(_counts(rest)))
    for node in shown:
        if findings := [*node.failures, *node.warnings]:
            blocks += [BLANK, *_findings(node, findings, flags)]
    return [*blocks, BLANK, Paragraph(verdict.summary, mark="✔" if verdict.suffices(strict=False) else "✗")]


def _nothing_there(verdict: Verdict) -> str:
    """That no node comes into question, by what the rules go by."""
    if verdict.rules.is_byo:
        return (
            "No node carries the labels of the selector, and none has the labels of NVIDIA's GPU discovery."
        )
    if verdict.rules.is_modern:
        return "No node carries the labels, or has the instance type."
    return "No node carries the labels, has the instance type, or is named in preferredNodes."


def _shown_and_rest(
    verdict: Verdict, nodes: Sequence[NodeVerdict]
) -> tuple[list[NodeVerdict], list[NodeVerdict]]:
    """What somebody asked for by name or will get comes first; of thousands of others a few will do."""
    chosen = set(verdict.selected)
    named = [node for node in nodes if node.preferred or node.name in chosen]
    others = [node for node in nodes if not node.preferred and node.name not in chosen]
    room = max(0, _MOST_ROWS - len(named))
    kept = {node.name for node in [*named, *others[:room]]}
    return [node for node in nodes if node.name in kept], others[room:]


# --- the table -----------------------------------------------------------------------------------------


def _table(nodes: Sequence[NodeVerdict], *, wide: bool, short: bool) -> Table:
    columns = [
        Column("NODE", whole=True),
        Column("READY"),
        Column("LABELS"),
        Column("ALLOC" if short else "ALLOCATABLE", right=True),
        Column("IN USE", right=True),
        Column("FREE", right=True),
        Column("GPU MODEL"),
        Column("TAINTS"),
        Column("VERDICT"),
    ]
    rows = [_row(node, short=short) for node in nodes]
    if wide:
        columns[7:7] = [Column("MEMORY"), Column("INSTANCE TYPE"), Column("PREFERRED")]
        for row, node in zip(rows, nodes, strict=True):
            memory = f"{node.gpus.memory_gib:g} GiB" if node.gpus.memory_gib else "-"
            row[7:7] = [Cell(memory), Cell(node.instance_type or "-"), Cell(_yes(node.preferred))]
    return Table(tuple(columns), tuple(map(tuple, rows)), first=("VERDICT", "FREE"), wide=wide)


def _row(node: NodeVerdict, *, short: bool) -> list[Cell]:
    return [
        Cell(node.name),
        Cell(_yes(node.ready) if node.exists else "-", _tick(node, node.ready), stands_alone=True),
        Cell(_labels(node), _tick(node, node.has_all_labels)),
        Cell(_number(node, node.gpus.allocatable)),
        Cell(_number(node, node.gpus.in_use)),
        Cell(_number(node, node.gpus.free)),
        Cell(_model(node.gpus, short)),
        Cell(_taints(node)),
        Cell(_verdict(node), _mark(node)),
    ]


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


def _findings(node: NodeVerdict, findings: Iterable[Finding], flags: ClusterFlags) -> Iterator[Block]:
    yield Paragraph(node.name, mark=_mark(node), plain=f"{node.name}:")
    for finding in findings:
        code = f"[{finding.code}]" if finding.level == "fail" else f"[{finding.code}, warning]"
        yield Paragraph(f"{finding.message} {code}", indent=4)
        if finding.hint:
            yield Paragraph(on_screen(finding.hint, flags), indent=6)
        if finding.command:
            word = "fix" if finding.changes_node else "look"
            yield Command(text(finding.command, flags), lead=f"{word}: ", indent=6)
