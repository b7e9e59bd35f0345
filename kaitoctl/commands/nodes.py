"""`kaitoctl nodes`: the GPUs of a cluster: who holds them, which are free, which are broken."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from msgspec.structs import replace

from kaitoctl.commands import invocation, option_values
from kaitoctl.commands.option_values import SavedLists
from kaitoctl.commands.target import Target
from kaitoctl.errors import InputError
from kaitoctl.kaito import api, catalog_file
from kaitoctl.kaito.node_check import crowds, plural
from kaitoctl.kaito.node_check.facts import READ_LABELS, below, texts
from kaitoctl.kaito.node_check.inventory import gpu_inventory
from kaitoctl.kube import partial_decoding
from kaitoctl.kube.objects import NODE
from kaitoctl.screens import gpu_table, output

if TYPE_CHECKING:
    from collections.abc import Callable

    from kaitoctl.kaito.catalog import Catalog
    from kaitoctl.kaito.node_check.inventory import Inventory
    from kaitoctl.kube.objects import Object

_OUTPUTS = ("table", "wide", "json", "yaml", "name")


def nodes(
    *,
    selector: str,
    everything: bool,
    lists: SavedLists,
    output_format: str,
    catalog: str | None,
    target: Target,
) -> None:
    """Show the GPUs of a cluster: one cell for each, by the Workspace or pod that holds it."""
    known = catalog_file.read(catalog)
    option_values.output_format(output_format, _OUTPUTS)
    lists.require_sense()
    chosen = selected_by(selector)
    if lists.nodes is not None:
        found = _from_lists(lists.nodes, lists.pods, chosen, known)
    else:
        found = invocation.answer_of(_from_cluster(target, selector, known))
    _print(found, output_format, everything)


# --- what there is -----------------------------------------------------------------------------------------


def selected_by(selector: str) -> Callable[[Object], bool] | None:
    """What a label selector takes; None for all.

    Raises:
        InputError: it is not a label selector.
    """
    if not selector:
        return None
    from kaitoctl.sandbox.error_status import Failure  # of a whole simulated API server
    from kaitoctl.sandbox.selectors import label_predicate

    try:
        return label_predicate(selector)
    except Failure as error:
        hint = "such as agentpool=gpu,team!=vision"
        raise InputError(f"-l {selector!r} is not a label selector", hint=hint) from error


def _from_lists(
    nodes_file: str, pods_file: str | None, chosen: Callable[[Object], bool] | None, known: Catalog
) -> Inventory:
    from kaitoctl.commands import saved_lists  # reads files: a cluster's nodes need none of it

    # A selector may read any label.
    decode = partial_decoding.node_list(READ_LABELS) if chosen is None else None
    found = saved_lists.objects(nodes_file, "Node", option="--nodes", decode=decode)
    everything = found
    if chosen is not None:
        found = [
            node
            for node in found
            if chosen({"metadata": {"labels": texts(below(node, "metadata", "labels"))}})
        ]
    if pods_file is None:
        output.warning("who holds the GPUs is unknown", hint="add --pods FILE")
        return gpu_inventory(found, None, catalog=known)
    decode = partial_decoding.pod_list([api.LABEL_WORKSPACE, api.LABEL_CREATED_BY_SET])
    pods = saved_lists.objects(pods_file, "Pod", option="--pods", decode=decode)
    saved_lists.warn_of_gaps(everything, pods, pods_file)
    listed = gpu_inventory(found, pods, catalog=known)
    if (held := listed.held_elsewhere) and chosen is None:
        output.warning(
            f"pods hold {held} {plural('GPU', held)} on nodes that are not in {nodes_file}",
            hint="save both lists at the same time",
        )
    return listed


async def _from_cluster(target: Target, selector: str, known: Catalog) -> Inventory:
    from kaitoctl.commands.cluster import connected  # saved lists need no client
    from kaitoctl.commands.observe_nodes import pods_on

    async with connected(target) as client:
        decode = partial_decoding.node_list(READ_LABELS)
        found = (await client.list(NODE, label_selector=selector, decode=decode)).items
        names = [node.name for node in gpu_inventory(found, None, catalog=known).gpu_nodes]
        there: Counter[str] = Counter()
        pods = await pods_on(client, names, seen=lambda pod: there.update(crowds({}, [pod])))
        return gpu_inventory(found, pods, there, catalog=known)


def _print(found: Inventory, output_format: str, everything: bool) -> None:
    found = replace(found, nodes=tuple(invocation.sort_for_output(found.nodes, gpu_table.node_as_json)))
    if output_format == "name":
        for node in found.nodes if everything else found.gpu_nodes:
            output.data(output.resource_name({"kind": "Node", "metadata": {"name": node.name}}))
    elif option_values.is_structured(output_format):
        output.write_structured(gpu_table.as_json(found, everything=everything), output_format, rows="nodes")
    else:
        output.show(gpu_table.report(found, everything=everything, wide=output_format == "wide"))
