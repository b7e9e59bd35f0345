"""Rules about nodes that are there; those that were asked for are in `of_claims`."""

from __future__ import annotations

from collections.abc import Iterator

from kaitoctl.kaito import api, catalog, nodes
from kaitoctl.kaito.diagnosis.case import Case, blame, denials, title_of, told_by, word
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kaito.rollout import Phase
from kaitoctl.kaito.status import claim_failure
from kaitoctl.kube import conditions
from kaitoctl.kube import pods as pods_
from kaitoctl.kube.objects import dig, is_being_deleted


def findings(case: Case) -> Iterator[Cause]:
    """Nodes that could serve, and what keeps them from it."""
    for pod in case.pods:
        node = case.seen.node(str(dig(pod, "spec", "nodeName") or ""))
        if node is not None and not pods_.is_finished(pod) and not conditions.is_true(node, "Ready"):
            ready = conditions.find(node, "Ready") or {}
            yield blame(
                "not-ready",
                title_of(node),
                f"the node that {pod['metadata']['name']} runs on is not Ready",
                [("condition Ready", f"{ready.get('reason')}: {ready.get('message')}")],
                hint="see its conditions",
                command=f"kubectl describe node {word(node['metadata']['name'])}",
            )
    verdict = case.seen.verdict
    waiting = [pod for pod in case.pods if not dig(pod, "spec", "nodeName") and not pods_.is_finished(pod)]
    if verdict is None or case.progress.phase > Phase.SCHEDULING:
        return
    if case.pods and not waiting and case.progress.phase not in (Phase.NODES, Phase.GPU_PLUGIN):
        return
    if verdict.enough and not waiting:
        return
    held = {dig(pod, "spec", "nodeName") for pod in case.pods}
    told = [told_by(event) for pod in waiting for event in case.seen.events_of(pod)[:1]]
    told += [(f"condition {item['type']}", str(item.get("message"))) for item in denials(case)][:1]
    on_their_way = any(not claim_failure(claim) and not is_being_deleted(claim) for claim in case.seen.claims)
    # Those that would be selected, or that the user named, are what somebody relies on.
    judged = sorted(
        verdict.nodes, key=lambda node: (node.name not in held, not node.preferred, not node.recognised)
    )
    for judged_node in judged:
        if judged_node.usable or (
            on_their_way and not judged_node.preferred and judged_node.name not in held
        ):
            continue
        for finding in judged_node.failures:
            code = finding.code
            is_gpu_type = catalog.instance_type(judged_node.instance_type) is not None
            unseen = code == "gpu-not-allocatable" and not judged_node.gpus.capacity
            if unseen or (code == "no-gpu" and is_gpu_type):
                code = "device-plugin-missing"
            yield blame(
                code,
                f"Node {judged_node.name}",
                finding.message,
                [("node", _described(judged_node)), *told],
                hint=finding.hint,
                command=finding.command,
            )


def _described(node: nodes.NodeVerdict) -> str:
    if not node.exists:
        return "the cluster has no node of this name"
    gpus, words = node.gpus, [node.instance_type or "no instance type"]
    words.append(f"capacity {gpus.capacity}, allocatable {gpus.allocatable} {api.GPU}")
    if gpus.in_use is not None:
        words.append(f"in use {gpus.in_use}")
    return ", ".join(words)


def no_nodes(case: Case) -> Iterator[Cause]:
    """There are too few nodes, and nobody who could create them."""
    for item in denials(case):
        if item.get("reason") == "NodesMissing":
            yield blame(
                "no-node-provisioner",
                title_of(case.workspace),
                "nodes are missing, and nobody can create them here",
                [(f"condition {item['type']}", str(item.get("message")))],
                hint="prepare nodes, or install a node provisioner",
                command=f"kaitoctl check-nodes {case.name} {case.namespace}",
            )
            return
