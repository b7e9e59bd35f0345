"""The GPUs of a cluster as blocks for people, and as a value for machines. Prints nothing itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kaitoctl.kaito.node_check import plural
from kaitoctl.screens.layout import BLANK, Block, Cell, Column, Paragraph, Table
from kaitoctl.screens.node_table import model, sharing_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kaitoctl.kaito.node_check.inventory import Holder, Inventory, NodeGpus
    from kaitoctl.kube.objects import Object

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_OTHERS, _FREE, _BROKEN, _UNKNOWN = "*", ".", "!", "?"
_HOLDERS_STYLES = (
    *("cyan", "yellow", "magenta", "blue"),
    *("bright_cyan", "bright_yellow", "bright_magenta", "bright_blue"),
)
_LONGEST_BAR = 16  # the most GPUs in one machine today; more are written as a number of each
_WORDS = {
    "being-deleted": "deleting",
    "not-ready": "not ready",
    "cordoned": "cordoned",
    "taint-of-controller": "tainted",
    "other-platform": "other platform",
    "no-room": "full",
    "bad-quantity": "bad quantity",
    "mig-changing": "MIG changing",
    "mig-failed": "MIG failed",
    "gpu-driver-upgrade": "driver upgrade",
    "gpus-renamed": "renamed",
    "no-gpu": "not offered",
    "gpu-not-allocatable": "not offered",
    "only-mig-slices": "only MIG",
    "pressure": "pressure",
    "node-problem": "problem",
    "gpus-shared": "shared",
    "gpus-sliced": "MIG slices",
}


# --- for machines ------------------------------------------------------------------------------------------


def as_json(found: Inventory, *, everything: bool = False) -> Object:
    """The inventory as documented in docs/check-nodes.md."""
    largest = found.largest_free
    return {
        "nodes": [node_as_json(node) for node in (found.nodes if everything else found.gpu_nodes)],
        "holders": None
        if found.shares is None
        else [
            {**_holder_json(share.holder), "gpus": share.gpus, "nodes": share.nodes} for share in found.shares
        ],
        "inference_sets": [
            {
                "namespace": share.holder.namespace,
                "name": share.holder.name,
                "gpus": share.gpus,
                "nodes": share.nodes,
                "replicas": replicas,
            }
            for share, replicas in found.sets
        ],
        "totals": {
            "nodes": len(found.nodes),
            "gpu_nodes": len(found.gpu_nodes),
            "gpus": found.total,
            "in_use": found.in_use,
            "free": found.free,
            "broken": found.broken,
            "largest_free": None if largest is None else {"gpus": largest[0], "node": largest[1]},
        },
    }


def node_as_json(node: NodeGpus) -> Object:
    """A node as documented in docs/check-nodes.md."""
    return {
        "name": node.name,
        "instance_type": node.instance_type,
        "faults": list(node.faults),
        "warnings": list(node.warnings),
        "gpus": {
            "resource": node.resource,
            "product": node.product,
            "memory_gib": node.memory_gib,
            "total": node.total,
            "allocatable": node.allocatable,
            "in_use": node.in_use,
            "free": node.free,
            "broken": node.broken,
            "sharing": sharing_json(node.sharing),
        },
        "slices": [
            {
                "resource": one.resource,
                "allocatable": one.allocatable,
                "in_use": one.in_use,
                "free": one.free,
            }
            for one in node.slices
        ],
        "holders": None
        if node.held is None
        else [{**_holder_json(holder), "gpus": devices} for holder, devices in node.held],
    }


def _holder_json(holder: Holder) -> Object:
    return {"kind": holder.kind, "namespace": holder.namespace, "name": holder.name}


# --- for people --------------------------------------------------------------------------------------------


def report(found: Inventory, *, everything: bool = False, wide: bool = False) -> list[Block]:
    """The table of nodes, the legend, and the totals.

    Args:
        found: the GPUs.
        everything: whether nodes without GPUs are shown, too.
        wide: whether all columns and names are wanted.
    """
    shown = found.nodes if everything else found.gpu_nodes
    letters = dict(zip((share.holder for share in found.shares or ()), _LETTERS, strict=False))
    blocks: list[Block] = [_table(shown, letters, wide) if shown else Paragraph("No node has GPUs.")]
    if legend := _legend(found, letters, wide):
        blocks += [BLANK, *legend]
    return [*blocks, BLANK, *(Paragraph(text) for text in _totals(found, everything))]


def _table(nodes: Sequence[NodeGpus], letters: dict[Holder, str], wide: bool) -> Table:
    columns = [
        Column("NODE", whole=True),
        Column("GPUS"),
        Column("FREE", right=True),
        Column("GPU MODEL"),
        Column("INSTANCE TYPE", whole=True),
        Column("STATE"),
    ]
    rows = []
    for node in nodes:
        mark = "!" if node.takes_pods and (node.faults or node.warnings) else "✗" if node.faults else "✔"
        bar = _bar(node, letters)
        rows.append(
            [
                Cell(node.name),
                Cell(_shorten("".join(bar)), spans=tuple((cell, _style(cell)) for cell in bar)),
                Cell(_number(node.free) if node.total else "-"),
                Cell(model(node.product, node.memory_gib, short=not wide)),
                Cell(node.instance_type or "-"),
                Cell(_state(node, wide), mark),
            ]
        )
    if wide:
        columns[3:3] = [Column(header, right=True) for header in ("IN USE", "BROKEN", "TOTAL", "MEMORY")]
        for row, node in zip(rows, nodes, strict=True):
            memory = f"{node.memory_gib:g} GiB" if node.memory_gib else "-"
            numbers = (_number(node.in_use), str(node.broken), str(node.total), memory)
            row[3:3] = [Cell(text) for text in numbers]
    return Table(tuple(columns), tuple(map(tuple, rows)), first=("STATE",), wide=wide)


def _bar(node: NodeGpus, letters: dict[Holder, str]) -> list[str]:
    """The cells of a node, or a number and the cell of each kind when they are many."""
    runs = [(letters.get(holder, _OTHERS), devices) for holder, devices in node.held or ()]
    if node.held is None:
        runs.append((_UNKNOWN, node.allocatable))
    runs += [(_FREE, node.free or 0), (_BROKEN, node.broken)]
    if node.total > _LONGEST_BAR:
        return [word for cell, number in runs if number for word in (f"{number}", cell, " ")][:-1]
    return [cell for cell, number in runs for _ in range(number)] or ["-"]


def _shorten(bar: str) -> str:
    """A bar for a pipe: without its middle where many share one node."""
    longest = 2 * _LONGEST_BAR
    if len(bar) <= longest:
        return bar
    tail = (longest - 1) // 2
    return f"{bar[: longest - 1 - tail]}…{bar[-tail:]}"


def _style(cell: str) -> str:
    if cell in _LETTERS:
        return _HOLDERS_STYLES[_LETTERS.index(cell) % len(_HOLDERS_STYLES)]
    return {_FREE: "green", _BROKEN: "red", _UNKNOWN: "dim"}.get(cell, "")


def _number(number: int | None) -> str:
    return "?" if number is None else str(number)


def _state(node: NodeGpus, wide: bool) -> str:
    if wide:
        return ",".join([*(node.faults or ("ready",)), *node.warnings])
    free = [f"{_number(one.free)}/{one.allocatable} x {one.profile} free" for one in node.slices]
    if node.faults == ("only-mig-slices",) and free:
        return "MIG: " + ", ".join(free)
    if not node.faults:
        return ", ".join(["ready", *(_word(code, node) for code in node.warnings[:1]), *free])
    more = len(node.faults) - 1
    return _word(node.faults[0], node) + (f" +{more}" if more else "")


def _word(code: str, node: NodeGpus) -> str:
    """A code for a screen; broken is what the totals count as broken, too."""
    if code == "gpu-unhealthy":
        return f"{node.broken} broken" if node.broken else "unhealthy"
    return _WORDS[code]


def _legend(found: Inventory, letters: dict[Holder, str], wide: bool) -> list[Block]:
    """What each sign of a bar means."""
    shares = found.shares or ()
    rows = []
    for share in shares:
        if share.holder not in letters and not wide:
            break
        amount = f"{share.gpus} {plural('GPU', share.gpus)} on {share.nodes} {plural('node', share.nodes)}"
        sign = letters.get(share.holder, _OTHERS)
        rows.append((_sign(sign), Cell(str(share.holder)), Cell(amount)))
    columns = (Column("", whole=True), Column("", whole=True), Column(""))
    blocks: list[Block] = [Table(columns, tuple(rows), headed=False, wide=wide)] if rows else []
    others = []
    if rest := shares[len(rows) :]:
        gpus = sum(share.gpus for share in rest)
        names = f"{len(rest)} more with {gpus} {plural('GPU', gpus)} (-o wide names them)"
        others.append((_sign(_OTHERS), Cell(names)))
    unknown = sum(node.allocatable for node in found.nodes if node.held is None)
    kinds = [
        (_FREE, "free", found.free),
        (_BROKEN, "broken or out of reach", found.broken),
        (_UNKNOWN, "free or in use", unknown),
    ]
    others += [(_sign(sign), Cell(text)) for sign, text, number in kinds if number]
    if others:
        blocks.append(Table((Column("", whole=True), Column("")), tuple(others), headed=False))
    return blocks


def _sign(sign: str) -> Cell:
    return Cell(sign, spans=((sign, _style(sign)),))


def _totals(found: Inventory, everything: bool) -> list[str]:
    gpu_nodes, others = len(found.gpu_nodes), len(found.nodes) - len(found.gpu_nodes)
    # What pods hold is in use, also where the device plugin has forgotten it since.
    lost = sum(max(0, (node.in_use or 0) - node.allocatable) for node in found.nodes)
    counts = [
        f"{_number(found.in_use)} in use" + (f" ({lost} of them not offered any more)" if lost else ""),
        f"{_number(found.free)} free",
        f"{found.broken} broken",
    ]
    first = (
        f"{gpu_nodes} {plural('node', gpu_nodes)} with {found.total} {plural('GPU', found.total)}: "
        + ", ".join(counts)
        + "."
    )
    if shares := _shares(found):
        first = f"{first} {shares}"
    largest = found.largest_free
    if largest is None:
        second = "Largest free block on one node: unknown."
    elif largest[0]:
        second = f"Largest free block on one node: {largest[0]} ({largest[1]})."
    else:
        second = "Largest free block on one node: none."
    hidden = f"{others} {plural('node', others)} without GPUs" + (
        "." if everything else " (--all shows them)."
    )
    sets = [
        f"{share.holder}: {share.gpus} {plural('GPU', share.gpus)} on {share.nodes} "
        f"{plural('node', share.nodes)}, held by {replicas} {plural('replica', replicas)}."
        for share, replicas in found.sets
    ]
    return [first, second, *_slices(found), *sets, *([hidden] if others else [])]


def _slices(found: Inventory) -> list[str]:
    """How many MIG slices are offered under names of their own, if any are."""
    offering = [node for node in found.nodes if node.slices]
    offered = [one for node in offering for one in node.slices]
    if not offered:
        return []
    total, nodes = sum(one.allocatable for one in offered), len(offering)
    where = f"{total} MIG {plural('slice', total)} on {nodes} {plural('node', nodes)}"
    if found.shares is None:
        return [f"{where}: in use unknown."]
    in_use, free = (
        sum(numbers) for numbers in zip(*((one.in_use or 0, one.free or 0) for one in offered), strict=True)
    )
    return [f"{where}: {in_use} in use, {free} free."]


def _shares(found: Inventory) -> str:
    """That some devices are no GPUs of their own."""
    devices = sum(node.total for node in found.shared)
    if not devices:
        return ""
    nodes = len(found.shared)
    are = "is" if devices == 1 else "are"
    return f"Of them {devices} on {nodes} {plural('node', nodes)} {are} shares or MIG slices, not whole GPUs."
