"""The nodes that a Workspace may use, and the pods that hold their GPUs, asked for sparingly."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from kaitoctl.commands.cluster import together
from kaitoctl.commands.observed_nodes import ObservedNodes
from kaitoctl.errors import ApiError
from kaitoctl.kaito import api, node_check, nodes_of_others
from kaitoctl.kube import partial_decoding, request
from kaitoctl.kube.objects import NODE, POD, labels_of
from kaitoctl.kube.pod_state import UNFINISHED
from kaitoctl.screens import output

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from decimal import Decimal

    from kaitoctl.kaito.node_check import Rules, Verdict
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object

# Up to so many nodes are asked for one by one: API servers index names, and pods by their node.
_ONE_BY_ONE = 24
_LABELS_ADVISED = 8
_SPARE = 1  # nodes looked at beyond those that are needed: some are another's


async def observe(client: Client, workspace: Object, rules: Rules) -> ObservedNodes:
    """Ask a cluster for just the nodes and pods that a verdict needs.

    Nodes are selected by the server: those with the Workspace's labels, those of its instance type, and the
    preferred ones by name. Where pods may not be listed, a warning says so.
    """
    decode = partial_decoding.node_list(node_check.labels_read(workspace, rules), node_check.READ_ANNOTATIONS)
    preferred = node_check.preferred_nodes(workspace)
    taken = _Taken(client, decode)
    nodes: dict[str, Object] = {}
    everything = len(preferred) > _ONE_BY_ONE
    asked_for = [""] if everything else selectors(workspace, rules)
    for found in await together(
        [lambda selector=selector: taken.by_labels(selector) for selector in asked_for]
    ):
        nodes |= found
    missing = [] if everything else [name for name in preferred if name not in nodes]
    for found in await together([lambda name=name: taken.by_name(name) for name in missing]):
        nodes |= found
    names: tuple[str, ...] = ()
    if any(name not in nodes for name in missing):  # for "did you mean"
        listed = await client.list(NODE, decode=partial_decoding.node_list(()))
        names = tuple(str(node["metadata"]["name"]) for node in listed.items)
    # Of nodes without the labels a few will do, for so many may be advised to be labelled.
    asked, preferred_too = node_check.labels_asked(workspace, rules), frozenset(preferred)
    devices = node_check.devices_asked(workspace, rules)
    carried = {name: labels_of(node) for name, node in nodes.items() if node_check.offers_gpus(node, devices)}
    names_asked = [
        name for name, have in carried.items() if name in preferred_too or asked.items() <= have.items()
    ]
    unlabelled = [
        name
        for name, have in carried.items()
        if name not in names_asked and node_check.could_be_labelled(asked, have)
    ]
    names_asked += unlabelled[: max(0, min(_LABELS_ADVISED, _ONE_BY_ONE - len(names_asked)))]
    crowds: Counter[str] = Counter()
    requested: dict[str, dict[str, Decimal]] = {}

    def see(pod: Object) -> None:
        crowds.update(node_check.crowds(workspace, [pod]))
        node_check.take_room(requested, workspace, pod)

    pods = await pods_on(client, names_asked, seen=see)
    if pods is None:
        return ObservedNodes(list(nodes.values()), None, names, frozenset(names_asked))
    others = node_check.pods_of_others(workspace, pods)
    return ObservedNodes(list(nodes.values()), others, names, frozenset(names_asked), crowds, requested)


class _Taken:
    """Nodes by name, taken in a page at a time."""

    def __init__(self, client: Client, decode: partial_decoding.Decode) -> None:
        self._client, self._decode, self._kept = client, decode, node_check.keeping()

    async def by_labels(self, selector: str) -> dict[str, Object]:
        """Those that a label selector selects."""
        pages = self._client.pages(NODE, label_selector=selector, decode=self._decode)
        return {_name_of(node): node async for page in pages for node in self._kept(page.items)}

    async def by_name(self, name: str) -> dict[str, Object]:
        """The one of this name, if there is one."""
        listed = await self._client.list(NODE, field_selector=f"metadata.name={name}", decode=self._decode)
        return {_name_of(node): node for node in listed.items}


def _name_of(node: Object) -> str:
    return str(node["metadata"]["name"])


def selectors(workspace: Object, rules: Rules) -> list[str]:
    """Label selectors of the nodes that may matter; no node fits two of them."""
    asked = list(node_check.labels_asked(workspace, rules).items())
    found = [",".join(f"{key}={value}" for key, value in asked)] if asked else []
    if rules.is_byo and not found:
        return [""]
    # Of the instance type, and without the first label; with it, and without the second...
    meant = node_check.instance_types_meant(workspace, rules.catalog)
    of_type = [
        f"{api.LABEL_INSTANCE_TYPE}={meant[0]}"
        if len(meant) == 1
        else f"{api.LABEL_INSTANCE_TYPE} in ({','.join(meant)})"
    ]
    if rules.is_byo:  # of any type: those whose GPUs are labelled, as its webhook wants them
        of_type = [node_check.LABEL_COUNT]
    if not asked:
        return of_type
    for number, (key, value) in enumerate(asked):
        has = [f"{earlier}={have}" for earlier, have in asked[:number]]
        found.append(",".join([*of_type, *has, f"{key}!={value}"]))
    return found


async def pods_on(
    client: Client,
    names: Sequence[str],
    *,
    seen: Callable[[Object], None] = lambda _: None,
) -> list[Object] | None:
    """The pods that hold accelerators, of any maker, on at least these nodes.

    None, with a warning, where pods may not be listed.

    Args:
        client: the cluster.
        names: of the nodes.
        seen: is shown every unfinished pod there, whatever it holds.
    """
    decode = partial_decoding.pod_list([api.LABEL_WORKSPACE, api.LABEL_CREATED_BY_SET])
    one_by_one = [f"spec.nodeName={name},{UNFINISHED}" for name in names]

    def keep(pod: Object) -> bool:
        seen(pod)
        return node_check.holds_devices(pod)

    try:
        lists = await together(
            [
                lambda fields=fields: client.list(
                    POD,
                    field_selector=fields,
                    decode=decode,
                    keep=keep,
                )
                for fields in (one_by_one if len(names) <= _ONE_BY_ONE else [UNFINISHED])
            ]
        )
    except ApiError as error:
        if error.status != 403:
            raise
        output.warning(
            "pods of all namespaces cannot be listed, so GPUs in use are unknown",
            hint="you need list on pods in all namespaces",
        )
        return None
    return [pod for listed in lists for pod in listed.items]


async def sparing_others(client: Client, workspace: Object, verdict: Verdict) -> Verdict:
    """The verdict, its advice leaving alone what other Workspaces hold or select.

    Of the nodes that it advises to change, as many are looked at as are needed and named; of the others
    nothing is advised but to look.
    """
    advised = nodes_of_others.nodes_to_change(verdict)
    if not advised:
        return verdict
    names = advised[: verdict.missing + sum(node.preferred for node in verdict.nodes) + _SPARE]
    nodes = await together(
        [lambda name=name: client.send(request.get(NODE, "", name)) for name in names]  # all their labels
    )
    pods = await pods_on(client, names)
    others: list[Object] = []
    try:
        others = (await client.list(api.WORKSPACE)).items
    except ApiError as error:
        if error.status not in (403, 404):
            raise
        if error.status == 403:
            output.warning("Workspaces of all namespaces cannot be listed: others may select these nodes")
    whose = nodes_of_others.owners_by_node(workspace, others, nodes, pods or ())
    return nodes_of_others.without_changes_to(verdict, whose, () if pods is None else names)
