"""`kaitoctl nodes`: the GPUs of a cluster, by who holds them; free ones, and broken ones."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer

from kaitoctl.cli import catalog_options, options, output
from kaitoctl.cli.catalog_options import CatalogFile
from kaitoctl.cli.connect import Context, Kubeconfig, Sandbox, SandboxName, Target, connected
from kaitoctl.cli.saved_lists import NodesFile, PodsFile
from kaitoctl.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kaitoctl.cli.node_table import Screen
    from kaitoctl.kaito.nodes.inventory import Holder, Inventory, NodeGpus
    from kaitoctl.kube.objects import Object

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_OUTPUTS = ("table", "wide", "json", "yaml", "name")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_OTHERS, _FREE, _BROKEN, _UNKNOWN = "*", ".", "!", "?"
_GREEN, _RED, _DIM = "32", "31", "2"
_HOLDERS_COLOURS = ("36", "33", "35", "34", "96", "93", "95", "94")
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


@app.command()
def nodes(
    selector: Annotated[
        str, typer.Option("--selector", "-l", help="Only nodes with these labels.", metavar="LABELS")
    ] = "",
    everything: Annotated[bool, typer.Option("--all", help="Nodes without GPUs, too.")] = False,
    nodes_file: NodesFile = None,
    pods_file: PodsFile = None,
    output_format: Annotated[
        str, typer.Option("--output", "-o", help="table, wide, json, yaml or name.", metavar="FORMAT")
    ] = "table",
    catalog: CatalogFile = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = False,
    sandbox_name: SandboxName = "default",
) -> None:
    """Show the cluster's GPUs: one cell for each, by the Workspace or pod that holds it.

    Example: kaitoctl nodes -l agentpool=gpu

    Without a cluster: kaitoctl nodes --nodes nodes.json --pods pods.json
    """
    catalog_options.use(catalog)
    options.one_of(output_format, _OUTPUTS, option="--output")
    if pods_file is not None and nodes_file is None:
        raise InputError("--pods goes with --nodes: a saved list of pods says nothing about today's nodes")
    if nodes_file is not None and pods_file == nodes_file == "-":
        raise InputError("only one of --nodes and --pods can be stdin")
    chosen = _predicate(selector)
    if nodes_file is not None:
        found = _from_lists(nodes_file, pods_file, chosen)
    else:
        import asyncio

        found = asyncio.run(_from_cluster(Target(None, context, kubeconfig, sandbox, sandbox_name), selector))
    _print(found, output_format, everything)


# --- what there is -----------------------------------------------------------------------------------------


def _predicate(selector: str) -> Callable[[Object], bool] | None:
    if not selector:
        return None
    from kaitoctl.sandbox.selectors import label_predicate
    from kaitoctl.sandbox.status import Failure

    try:
        return label_predicate(selector)
    except Failure as error:
        hint = "such as agentpool=gpu,team!=vision"
        raise InputError(f"-l {selector!r} is no label selector", hint=hint) from error


def _from_lists(nodes_file: str, pods_file: str | None, chosen: Callable[[Object], bool] | None) -> Inventory:
    from kaitoctl.cli import saved_lists
    from kaitoctl.kaito import api
    from kaitoctl.kaito.nodes import plural
    from kaitoctl.kaito.nodes.facts import READ_LABELS, below, texts
    from kaitoctl.kaito.nodes.inventory import gpu_inventory
    from kaitoctl.kube import trimmed

    # A selector may read any label.
    decode = trimmed.node_list(READ_LABELS) if chosen is None else None
    found = saved_lists.objects(nodes_file, "Node", option="--nodes", decode=decode)
    if chosen is not None:
        found = [
            node
            for node in found
            if chosen({"metadata": {"labels": texts(below(node, "metadata", "labels"))}})
        ]
    if pods_file is None:
        output.warning("who holds the GPUs is unknown: there is no --pods FILE")
        return gpu_inventory(found, None)
    decode = trimmed.pod_list([api.LABEL_WORKSPACE])
    listed = gpu_inventory(found, saved_lists.objects(pods_file, "Pod", option="--pods", decode=decode))
    if (held := listed.held_elsewhere) and chosen is None:
        output.warning(
            f"pods hold {held} {plural('GPU', held)} on nodes that are not in {nodes_file}",
            hint="save both lists at the same time",
        )
    return listed


async def _from_cluster(target: Target, selector: str) -> Inventory:
    from collections import Counter

    from kaitoctl.cli.check_nodes import pods_on
    from kaitoctl.kaito.nodes import crowds
    from kaitoctl.kaito.nodes.facts import READ_LABELS
    from kaitoctl.kaito.nodes.inventory import gpu_inventory
    from kaitoctl.kube import trimmed
    from kaitoctl.kube.objects import NODE

    async with connected(target) as client:
        decode = trimmed.node_list(READ_LABELS)
        found = (await client.list(NODE, label_selector=selector, decode=decode)).items
        names = [node.name for node in gpu_inventory(found, None).gpu_nodes]
        there: Counter[str] = Counter()
        pods = await pods_on(client, names, seen=lambda pod: there.update(crowds({}, [pod])))
        return gpu_inventory(found, pods, there)


# --- for machines ------------------------------------------------------------------------------------------


def as_json(found: Inventory, *, everything: bool = False) -> Object:
    """The inventory as documented in docs/check-nodes.md."""
    largest = found.largest_free
    return {
        "nodes": [_node(node) for node in (found.nodes if everything else found.gpu_nodes)],
        "holders": None
        if found.shares is None
        else [{**_named(share.holder), "gpus": share.gpus, "nodes": share.nodes} for share in found.shares],
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


def _node(node: NodeGpus) -> Object:
    from kaitoctl.cli.node_table import sharing_json

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
        "holders": None
        if node.held is None
        else [{**_named(holder), "gpus": devices} for holder, devices in node.held],
    }


def _named(holder: Holder) -> Object:
    return {"kind": holder.kind, "namespace": holder.namespace, "name": holder.name}


# --- for people --------------------------------------------------------------------------------------------


def report(found: Inventory, screen: Screen, *, everything: bool = False, wide: bool = False) -> list[str]:
    """The table of nodes, the legend, and the totals; fits the screen unless wide."""
    from kaitoctl.cli.node_table import wrapped

    shown = found.nodes if everything else found.gpu_nodes
    letters = dict(zip((share.holder for share in found.shares or ()), _LETTERS, strict=False))
    lines = _table(shown, letters, screen, wide) if shown else ["No node has GPUs."]
    if legend := _legend(found, letters, screen, wide):
        lines += ["", *legend]
    return [
        *lines,
        "",
        *chain.from_iterable(wrapped(text, screen, "") for text in _totals(found, everything)),
    ]


def _table(nodes: Sequence[NodeGpus], letters: dict[Holder, str], screen: Screen, wide: bool) -> list[str]:
    from kaitoctl.cli.node_table import aligned, cut, model
    from kaitoctl.cli.output import visible

    headers = ["NODE", "GPUS", "FREE", "GPU MODEL", "INSTANCE TYPE", "STATE"]
    rights = [False, False, True, False, False, False]
    if wide:
        headers[3:3] = ["IN USE", "BROKEN", "TOTAL", "MEMORY"]
        rights[3:3] = [True, True, True, True]
    rows = []
    bars = [_bar(node, letters) for node in nodes]
    for node, bar in zip(nodes, bars, strict=True):
        row = [
            visible(node.name),
            cut("".join(bar), 2 * _LONGEST_BAR),
            _number(node.free) if node.total else "-",
            visible(model(node.product, node.memory_gib, short=not wide)),
            visible(node.instance_type or "-"),
            _state(node, wide),
        ]
        if wide:
            memory = f"{node.memory_gib:g} GiB" if node.memory_gib else "-"
            row[3:3] = [_number(node.in_use), str(node.broken), str(node.total), memory]
        rows.append(row)
    if screen.width is not None and not wide:
        _fit(headers, rows, screen.width - 2 * screen.symbols)
    for row, node, bar in zip(rows, nodes, bars, strict=True):
        if row[1] == "".join(bar):  # a bar that was cut stays plain
            row[1] = "".join(_painted(cell, screen) for cell in bar)
        mark = "!" if node.takes_pods and (node.faults or node.warnings) else "✗" if node.faults else "✔"
        row[-1] = screen.marked(mark, row[-1])
    return aligned([headers, *rows], rights)


def _fit(headers: Sequence[str], rows: Sequence[list[str]], room: int) -> None:
    """Shorten what can be told from less: Azure's prefix, the middle of names and types."""
    from kaitoctl.cli.node_table import cut

    def over() -> int:
        return sum(widths()) + 2 * (len(headers) - 1) - room

    def widths() -> list[int]:
        return [max(map(len, column)) for column in zip(headers, *rows, strict=True)]

    if over() > 0:
        for row in rows:
            row[4] = row[4].removeprefix("Standard_")
    for column, least in ((0, 16), (4, 16), (3, 9), (0, 8), (4, 13), (1, 8)):
        if (excess := over()) > 0:
            longest = max(least, widths()[column] - excess)
            for row in rows:
                row[column] = cut(row[column], longest)


def _bar(node: NodeGpus, letters: dict[Holder, str]) -> list[str]:
    """The cells of a node, or a number and the cell of each kind when they are many."""
    runs = [(letters.get(holder, _OTHERS), devices) for holder, devices in node.held or ()]
    if node.held is None:
        runs.append((_UNKNOWN, node.allocatable))
    runs += [(_FREE, node.free or 0), (_BROKEN, node.broken)]
    if node.total > _LONGEST_BAR:
        return [word for cell, number in runs if number for word in (f"{number}", cell, " ")][:-1]
    return [cell for cell, number in runs for _ in range(number)] or ["-"]


def _painted(cell: str, screen: Screen) -> str:
    if cell in _LETTERS:
        return screen.painted(cell, _HOLDERS_COLOURS[_LETTERS.index(cell) % len(_HOLDERS_COLOURS)])
    colours = {_FREE: _GREEN, _BROKEN: _RED, _UNKNOWN: _DIM}
    return screen.painted(cell, colours[cell]) if cell in colours else cell


def _number(number: int | None) -> str:
    return "?" if number is None else str(number)


def _state(node: NodeGpus, wide: bool) -> str:
    if wide:
        return ",".join([*(node.faults or ("ready",)), *node.warnings])
    if not node.faults:
        return ", ".join(["ready", *(_word(code, node) for code in node.warnings[:1])])
    more = len(node.faults) - 1
    return _word(node.faults[0], node) + (f" +{more}" if more else "")


def _word(code: str, node: NodeGpus) -> str:
    """A code for a screen; broken is what the totals count as broken, too."""
    if code == "gpu-unhealthy":
        return f"{node.broken} broken" if node.broken else "unhealthy"
    return _WORDS[code]


def _legend(found: Inventory, letters: dict[Holder, str], screen: Screen, wide: bool) -> list[str]:
    from kaitoctl.cli.node_table import aligned, cut
    from kaitoctl.cli.output import visible
    from kaitoctl.kaito.nodes import plural

    shares = found.shares or ()
    rows = []
    for share in shares:
        if share.holder not in letters and not wide:
            break
        amount = f"{share.gpus} {plural('GPU', share.gpus)} on {share.nodes} {plural('node', share.nodes)}"
        room = 10_000 if wide or screen.width is None else max(20, screen.width - len(amount) - 5)
        cell = letters.get(share.holder, _OTHERS)
        rows.append([_painted(cell, screen), cut(visible(str(share.holder)), room), amount])
    lines = aligned(rows, [False, False, False]) if rows else []
    if rest := shares[len(rows) :]:
        gpus = sum(share.gpus for share in rest)
        lines.append(f"{_OTHERS}  {len(rest)} more with {gpus} {plural('GPU', gpus)} (-o wide names them)")
    kinds = [(_FREE, "free", found.free), (_BROKEN, "broken or out of reach", found.broken)]
    unknown = sum(node.allocatable for node in found.nodes if node.held is None)
    kinds.append((_UNKNOWN, "free or in use", unknown))
    words = [f"{_painted(cell, screen)}  {text}" for cell, text, number in kinds if number]
    return [*lines, *words]


def _totals(found: Inventory, everything: bool) -> list[str]:
    from kaitoctl.kaito.nodes import plural

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
        from kaitoctl.cli.output import visible

        second = f"Largest free block on one node: {largest[0]} ({visible(largest[1])})."
    else:
        second = "Largest free block on one node: none."
    hidden = f"{others} {plural('node', others)} without GPUs" + (
        "." if everything else " (--all shows them)."
    )
    return [first, second, *([hidden] if others else [])]


def _shares(found: Inventory) -> str:
    """That some devices are no GPUs of their own."""
    from kaitoctl.kaito.nodes import plural

    devices = sum(node.total for node in found.shared)
    if not devices:
        return ""
    nodes = len(found.shared)
    are = "is" if devices == 1 else "are"
    return f"Of them {devices} on {nodes} {plural('node', nodes)} {are} shares or MIG slices, not whole GPUs."


def _print(found: Inventory, output_format: str, everything: bool) -> None:
    from kaitoctl.cli.catalog_options import structured
    from kaitoctl.cli.node_table import Screen

    if output_format == "name":
        for node in found.nodes if everything else found.gpu_nodes:
            output.data(output.resource_name({"kind": "Node", "metadata": {"name": node.name}}))
    elif output_format in ("json", "yaml"):
        structured(as_json(found, everything=everything), output_format)
    else:
        lines = report(found, Screen.of_stdout(), everything=everything, wide=output_format == "wide")
        output.data("\n".join(lines))
