"""Rules about nodes: those that were asked for, and those that are there."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kaitoctl.kaito import api, catalog, nodes
from kaitoctl.kaito.diagnosis.case import Case, blame, denials, span, title_of, told_by, word
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kaito.rollout import Phase
from kaitoctl.kaito.status import claim_failure
from kaitoctl.kube import conditions
from kaitoctl.kube import pods as pods_
from kaitoctl.kube.objects import Object, dig, is_being_deleted

_CLAIM_TAKEN_UP_WITHIN_S = 60.0
_JOINS_WITHIN_S = 900.0
_PLUGIN_WITHIN_S = 180.0

_QUOTA = r"(?i)quota|limit ?exceeded|VcpuLimit|exceeding approved"
_UNAVAILABLE = (
    r"(?i)unavailable during launch|InsufficientCapacity|InsufficientInstanceCapacity|SkuNotAvailable|"
    r"ZonalAllocation|OverconstrainedAllocation|AllocationFailed|InstanceTypeNotFound|not available in|"
    r"sold out"
)
_CLAIM_FAILURES = ("Launched", "MachineLaunched")


def claims(case: Case) -> Iterator[Cause]:
    """Nodes that were asked for and are not there."""
    if case.progress.phase > Phase.SCHEDULING:
        return
    for claim in case.seen.claims:
        if is_being_deleted(claim) or conditions.is_true(claim, "Ready"):
            continue
        name = claim["metadata"]["name"]
        look = f"kubectl describe {str(claim['kind']).lower()} {word(name)}"
        told = [told_by(event) for event in case.seen.events_of(claim) if event.get("type") == "Warning"]
        if why := claim_failure(claim):
            reason = next(
                str(item.get("reason") or "")
                for item in dig(claim, "status", "conditions")
                if item.get("type") in _CLAIM_FAILURES and item.get("status") == "False"
            )
            told.insert(0, ("condition Launched", f"{reason}: {why}"))
            yield _unlaunched(case, claim, " ".join(words for _, words in told), told, look)
            continue
        code, message, weight_s, waits_s = _pending(case, claim)
        told[:0] = [
            (f"condition {item['type']}", f"{item.get('status')} {item.get('reason')}: {item.get('message')}")
            for item in dig(claim, "status", "conditions") or ()
            if item.get("status") != "True" and item.get("type") in ("Registered", "Initialized")
        ][:1]
        node = word(str(dig(claim, "status", "nodeName")))
        plugin = f"kubectl get pods -A --field-selector spec.nodeName={node}"
        yield blame(
            code,
            title_of(claim),
            message,
            told,
            hint="install the GPU vendor's device plugin, or see why it does not run on this node"
            if code == "device-plugin-missing"
            else "nodes take minutes; then see the node provisioner's log",
            command=plugin if code == "device-plugin-missing" else look,
            weight="fault" if waits_s > weight_s else "wait",
        )


def _unlaunched(case: Case, claim: Object, words: str, told: list[tuple[str, str]], look: str) -> Cause:
    kind = nodes.instance_type_of(case.workspace)
    if re.search(_QUOTA, words):
        code, message = "quota-exceeded", f"the cloud's quota does not allow another {kind}"
        hint = "raise the quota, give machines back, or take another family: kaitoctl fit PRESET"
    elif re.search(_UNAVAILABLE, words):
        code, message = "instance-type-unavailable", f"the cloud has no {kind} to give"
        known = catalog.current().instance_types
        near = [] if kind in known else catalog.close_matches(kind, known)
        hint = f"did you mean {near[0]}?" if near else "wait, or take another type: kaitoctl fit PRESET"
    else:
        code, message = (
            "node-claim-failed",
            f"the machine for {claim['metadata']['name']} could not be launched",
        )
        hint = "see the message, and the node provisioner's log"
    return blame(code, title_of(claim), message, told, hint=hint, command=look)


def _pending(case: Case, claim: Object) -> tuple[str, str, float, float]:
    """Code, message, after how many seconds it is a fault, and how many have passed."""
    name = claim["metadata"]["name"]
    since_s = case.age_s(claim["metadata"].get("creationTimestamp"))
    if not dig(claim, "status", "conditions"):
        message = f"nobody has taken {name} up for {span(since_s)}"
        return "node-claim-pending", message, _CLAIM_TAKEN_UP_WITHIN_S, since_s
    node = case.seen.node(str(dig(claim, "status", "nodeName") or ""))
    ready = conditions.find(node, "Ready") if node else None
    if conditions.is_true(claim, "Registered") and node is not None and not nodes.offers_gpus(node):
        on_s = case.age_s((ready or {}).get("lastTransitionTime"))
        message = f"node {node['metadata']['name']} has joined and shows no {api.GPU} for {span(on_s)}"
        return "device-plugin-missing", message, _PLUGIN_WITHIN_S, on_s
    message = f"the machine for {name} was asked for {span(since_s)} ago and has not joined"
    return "node-claim-pending", message, _JOINS_WITHIN_S, since_s


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
