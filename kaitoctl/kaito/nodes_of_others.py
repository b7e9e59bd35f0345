"""Nodes that others hold or select, and advice that leaves them alone. Pure.

A node may be another's long before a pod of it runs there: a Workspace that waits for quota, or whose model
has just been stopped, counts on the nodes that its labels select. A verdict on nodes sees one Workspace
alone; here the others are laid beside it before a command that changes a node is printed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from kaitoctl.kaito import kubectl_hints
from kaitoctl.kaito.node_check import Verdict, labels_asked, pods_of_others, preferred_nodes
from kaitoctl.kube.objects import Object, dig, is_being_deleted, key_of, labels_of


def nodes_to_change(verdict: Verdict) -> list[str]:
    """The nodes that the verdict advises to change, those first that are wanted most."""
    found = [node for node in verdict.nodes if any(item.changes_node for item in node.findings)]
    return [node.name for node in sorted(found, key=lambda node: not node.preferred)]


def owners_by_node(
    workspace: Object, others: Iterable[Object], nodes: Iterable[Object], pods: Iterable[Object]
) -> dict[str, str]:
    """The nodes that are another's, and why, a sentence each.

    Args:
        workspace: whose nodes are looked for; it need not be among the others.
        others: the Workspaces of the cluster.
        nodes: the nodes, with all their labels.
        pods: pods on these nodes.
    """
    own = (str(dig(workspace, "metadata", "namespace") or "default"), dig(workspace, "metadata", "name"))
    found: dict[str, str] = {}
    for pod in pods_of_others(workspace, pods):
        metadata = pod["metadata"]
        found[str(dig(pod, "spec", "nodeName"))] = (
            f"pod {metadata.get('namespace')}/{metadata['name']} holds GPUs of this node"
        )
    listed = list(nodes)
    for other in others:
        key = key_of(other)
        if tuple(key) == own or is_being_deleted(other):
            continue
        asked, named = labels_asked(other), set(preferred_nodes(other))
        for node in listed:
            name = str(node["metadata"]["name"])
            if name in named or (asked and asked.items() <= labels_of(node).items()):
                found.setdefault(name, f"Workspace {key} selects this node, too")
    return found


def without_changes_to(verdict: Verdict, whose: Mapping[str, str], looked_at: Iterable[str]) -> Verdict:
    """The verdict without a command that changes a node which is another's, or may be.

    Args:
        verdict: the answer for one Workspace.
        whose: as `owners_by_node` gives it.
        looked_at: the nodes of which that is known.
    """
    known = set(looked_at)
    nodes = []
    for node in verdict.nodes:
        if not node.may_be_labelled and not any(item.changes_node for item in node.findings):
            nodes.append(node)
            continue
        if why := whose.get(node.name) or ("" if node.name in known else "look first whose pods it has"):
            hint = f"{why}: leave it alone, and choose another" if node.name in whose else why
            look = kubectl_hints.pods_on(node.name)
            findings = [
                replace(item, hint=hint, command=look) if item.changes_node else item
                for item in node.findings
            ]
            node = replace(node, findings=tuple(findings), may_be_labelled=False)
        nodes.append(node)
    return replace(verdict, nodes=tuple(nodes))
