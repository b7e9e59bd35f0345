"""`check-nodes` on lists that kubectl saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kaitoctl.advice import Command
from kaitoctl.commands import saved_lists
from kaitoctl.commands.observed_nodes import ObservedNodes
from kaitoctl.commands.option_values import SavedLists
from kaitoctl.kaito import api, node_check, nodes_of_others
from kaitoctl.kube import partial_decoding
from kaitoctl.screens import output
from kaitoctl.screens.validation_report import OLD_API_WORDS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from kaitoctl.kaito.node_check import Rules, Verdict
    from kaitoctl.kube.objects import Object


def verdict_from_lists(
    workspace: Object, beside: Sequence[Object], rules: Rules, lists: SavedLists, *, is_release_said: bool
) -> Verdict:
    """The answer from saved lists, its advice leaving alone what other Workspaces of the files select.

    Args:
        workspace: the one that is checked.
        beside: other Workspaces of its file.
        rules: whose choice of nodes counts.
        lists: the files.
        is_release_said: whether the user names the release by whose rules it is.
    """
    if rules.target == "v0.4" and not is_release_said:
        output.step(OLD_API_WORDS)
    seen, others = _from_lists(workspace, beside, rules, lists)
    verdict = seen.verdict(workspace, rules)
    advised = nodes_of_others.nodes_to_change(verdict)
    if not advised:
        return verdict
    if not others:
        output.warning(
            "other Workspaces are not in these lists: they may select the nodes that the advice changes",
            hint="save them with the nodes: "
            + Command("kubectl get nodes,workspaces.kaito.sh -A -o json")
            + " > nodes.json",
        )
        return verdict
    named = [
        node for node in seen.nodes if isinstance(node.get("metadata"), dict) and "name" in node["metadata"]
    ]
    whose = nodes_of_others.owners_by_node(workspace, others, named, seen.pods or ())
    return nodes_of_others.without_changes_to(verdict, whose, advised)


def _from_lists(
    workspace: Object, beside: Sequence[Object], rules: Rules, lists: SavedLists
) -> tuple[ObservedNodes, list[Object]]:
    """What a verdict is made of, and the other Workspaces that the files hold."""
    nodes, pods = lists.nodes or "", lists.pods
    others = [other for other in beside if isinstance(other.get("metadata"), dict)]
    everybody: list[Object] | None = None
    if pods is not None:
        everybody, more = saved_lists.objects_and(
            "Workspace", pods, "Pod", option="--pods", decode=partial_decoding.pod_list([api.LABEL_WORKSPACE])
        )
        others += more
    # Others may ask for any label.
    decode = (
        None
        if others
        else partial_decoding.node_list(node_check.labels_read(workspace, rules), node_check.READ_ANNOTATIONS)
    )
    found, more = saved_lists.objects_and("Workspace", nodes, "Node", option="--nodes", decode=decode)
    others += more
    if everybody is None or pods is None:
        output.warning("GPUs in use are unknown without --pods FILE")
        return ObservedNodes(found, None), others
    saved_lists.warn_of_gaps(found, everybody, pods)
    holding = node_check.pods_of_others(workspace, everybody)
    taken: dict[str, dict[str, Decimal]] = {}
    for pod in everybody:
        node_check.take_room(taken, workspace, pod)
    crowds = node_check.crowds(workspace, everybody)
    return ObservedNodes(found, holding, crowds=crowds, taken=taken), others
