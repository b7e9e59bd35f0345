"""Rules about pods that no node has: gates, what the scheduler says, and what threw pods out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from kaitoctl.advice import Command
from kaitoctl.kaito import looks
from kaitoctl.kaito.diagnosis.case import Case, blame, event_words, span, title_of
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kaito.diagnosis.reasons import code_of
from kaitoctl.kube import conditions, pod_state
from kaitoctl.kube.objects import Object, dig

_LOOKS_WITHIN_S = 60.0
_KUEUE = "kueue.x-k8s.io/"


def gates_of(pod: Object) -> list[str]:
    """The scheduling gates that hold a pod that has no node."""
    if dig(pod, "spec", "nodeName") or pod_state.is_finished(pod):
        return []
    return [
        str(item.get("name")) for item in dig(pod, "spec", "schedulingGates") or () if isinstance(item, dict)
    ]


def gated(case: Case) -> Iterator[Cause]:
    """Somebody holds the pod back before the scheduler looks at it."""
    for pod in case.pods:
        gates = gates_of(pod)
        placed = conditions.find(pod, "PodScheduled") or {}
        if not gates and (placed.get("reason") != "SchedulingGated" or dig(pod, "spec", "nodeName")):
            continue
        is_kueue = any(gate.startswith(_KUEUE) for gate in gates)
        yield blame(
            "scheduling-gated",
            title_of(pod),
            f"it is held by gate {', '.join(gates) or '?'}, and no scheduler looks at it until that is gone",
            [
                ("spec", f"schedulingGates: {', '.join(gates)}"),
                ("condition PodScheduled", f"{placed.get('reason')}: {placed.get('message')}"),
            ],
            hint="see the queue: it takes the gate away when it is the pod's turn; nodes are not the matter"
            if is_kueue
            else "who set the gate takes it away; nodes are not the matter",
            command=Command("kubectl get workloads.kueue.x-k8s.io", *case.in_namespace)
            if is_kueue
            else looks.describe(pod),
        )
        return


_CHECK_NODES = Command("kaitoctl check-nodes {workspace} -n {namespace}")


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A reason for which the scheduler rules nodes out.

    Args:
        pattern: of its words, as they stand behind a number of nodes.
        hint: what to do.
        command: where to look; `{namespace}`, `{workspace}` and `{pod}` are names.
        code: the cause; the default has the nodes checked one by one.
        before_labels: whether the scheduler asks for it before, or when, it compares labels: nodes that are
            ruled out by something else are those that the Workspace selects.
    """

    pattern: str
    hint: str
    command: Command = _CHECK_NODES
    code: str = "unschedulable"
    before_labels: bool = False


_DESCRIBE = Command("kubectl describe pod {pod} -n {namespace}")
_VOLUMES = Command("kubectl get persistentvolumeclaims -n {namespace} -o wide")
# Source: Kubernetes v1.37.2, pkg/scheduler/framework/plugins/*, and their order in pkg/scheduler/apis/
# config/v1/default_plugins.go; those of older releases behind "up to".
OBSTACLES = (
    Obstacle(
        r"persistentvolumeclaim \S+ is being deleted",
        "the claim goes once no pod uses it, and what is on it may go, too: see who deleted it",
        Command("kubectl get pvc -n {namespace}"),
        "volume-claim-missing",
    ),
    Obstacle(
        r"persistentvolumeclaims? \S+ not found|unbound immediate PersistentVolumeClaims|"
        r"waiting for ephemeral volume controller|"
        r"binding volumes: ",
        "create the claim, or see why it is not bound",
        Command("kubectl get pvc -n {namespace}"),
        "volume-claim-missing",
    ),
    Obstacle(
        r"didn't match PersistentVolume's node affinity|"  # volumebinding/binder.go
        r"volume node affinity conflict|"  # the same, up to v1.33
        r"no available volume zone|"  # volumezone
        r"didn't find available persistent volumes to bind|"  # volumebinding
        r"bound to non-existent (?:p|Node)|non-existent pv\(s\)|"
        r"no available disk|ReadWriteOncePod",  # volumerestrictions
        "its volume is tied to other nodes or zones, or is in use: see where it may be attached",
        _VOLUMES,
        "volume-not-here",
    ),
    Obstacle(
        r"did not have enough free storage",  # volumebinding
        "the storage that the nodes can reach has no room for its volume: see its capacity, or ask for less",
        Command("kubectl get csistoragecapacities -A"),
        "volume-not-here",
    ),
    Obstacle(
        r"CSI driver is not installed on the node",  # nodevolumelimits
        "the storage driver of its volume does not run on these nodes: see its DaemonSet",
        Command("kubectl get csinodes"),
        "volume-not-here",
    ),
    Obstacle(
        r"VolumeBindingMode not set|PersistentVolume(?:Claim)? had no",  # volumezone
        "its StorageClass has no volumeBindingMode, or the claim names neither volume nor class",
        Command("kubectl get pvc,storageclasses -n {namespace}"),
        "volume-claim-missing",
    ),
    Obstacle(
        r"waiting for the preemption for this pod",  # defaultpreemption
        "pods of lower priority are making room for it: wait",
        _DESCRIBE,
    ),
    Obstacle(
        r"exceed max volume count",  # nodevolumelimits
        "each of these nodes has as many disks as it can have: take another node, or fewer volumes",
        _VOLUMES,
        "volume-not-here",
    ),
    Obstacle(
        r"(?i)no nodes available to schedule pods|^0/0 nodes are available",
        "the cluster has no node that is up: see them, and who creates them",
        Command("kubectl get nodes"),
    ),
    Obstacle(
        r"(?i)pod ?group|minMember|minAvailable|minCount|gang\b",
        "its scheduler places all pods of a group together or none: see the PodGroup and the others",
        _DESCRIBE,
    ),
    Obstacle(
        r"Insufficient nvidia\.com/|Insufficient \S+/\S+",
        "see who holds the GPUs",
        Command("kaitoctl nodes"),
    ),
    Obstacle(r"Insufficient (cpu|memory|ephemeral-storage)", "take nodes with more, or ask for less"),
    Obstacle(r"Too many pods", "the node runs as many pods as its kubelet lets it: see what runs there"),
    Obstacle(
        r"untolerated taint|taints that the pod didn't tolerate",
        "see the taints and whose they are",
        before_labels=True,
    ),
    Obstacle(
        r"node affinity/selector|scheduler-enforced node affinity",
        "see the labels that nodes lack",
        before_labels=True,
    ),
    Obstacle(
        r"free ports",
        "another pod holds the host port: see what runs on the node",
        Command("kaitoctl nodes"),
    ),
    Obstacle(r"anti-affinity|pod affinity|topology spread", "see the affinity rules of the pod", _DESCRIBE),
    Obstacle(r"were unschedulable", "the node is cordoned: find out by whom, and why", before_labels=True),
    Obstacle(
        r"requested node name|nodeinfo not found|required features|had unknown conditions",
        "see the pod and the node",
        _DESCRIBE,
    ),
    Obstacle(
        r"(?i)resource ?claim|device ?class|cannot allocate all claims|dynamic resource",  # dynamicresources
        "see the pod's ResourceClaims and their driver",
        Command("kubectl get resourceclaims -n {namespace}"),
    ),
)


@dataclass(frozen=True, slots=True)
class NoScaleUp:
    """Why a cluster autoscaler adds no node for a pod.

    Args:
        pattern: of its words.
        hint: what to do.
    """

    pattern: str
    hint: str


# What an event's reason means; its message follows.
_AUTOSCALERS = {
    "NotTriggerScaleUp": "the cluster autoscaler adds no node",
    "FailedScaleUp": "the cluster autoscaler's node was refused",
    "TriggeredScaleUp": "the cluster autoscaler has asked for a node",
}
# The more it says of what has to change, the nearer to the front.
# Source: cluster-autoscaler 1.34 processors/status/eventing_scale_up_processor.go, core/scaleup/orchestrator
# (skippedreasons.go, rejectedreasons.go) and core/scaleup/resource; GKE's FailedScaleUp.
NO_SCALE_UP = (
    NoScaleUp(r"(?i)quota", "the cloud's quota is used up: raise it, or take another instance type"),
    NoScaleUp(
        r"(?i)out of resources|stockout|IP space exhausted",
        "the cloud has none now: take another zone or type",
    ),
    NoScaleUp(
        r"backoff after failed scale-up", "the cloud refused the last node: see the autoscaler's status"
    ),
    NoScaleUp(r"max node group size reached", "raise the largest size of the node group (node pool)"),
    NoScaleUp(
        r"max cluster \S+ limit reached|max limit reached", "raise the autoscaler's limit for the cluster"
    ),
    NoScaleUp(r"not ready for scale-?up", "see whether the node group's last nodes have become Ready"),
    NoScaleUp(
        r"affinity|selector|Insufficient|untolerated|wouldn't fit|volume",
        "no node group makes a node that takes the pod: give one its labels and GPUs, or create the node",
    ),
)


def _autoscaler(case: Case, pod: Object) -> tuple[tuple[str, str], str, str] | None:
    """What the newest event of an autoscaler says about a pod: evidence, a message, and what to do."""
    for event in case.seen.events_of(pod):
        if what := _AUTOSCALERS.get(str(event.get("reason"))):
            source, words = event_words(event)
            said = " ".join((words.partition(": ")[2] or words).split())
            if event["reason"] == "TriggeredScaleUp":
                return (source, words), f"{what}: {said}", "wait for the node"
            hint = next((row.hint for row in NO_SCALE_UP if re.search(row.pattern, words)), "")
            hint = hint or "see the status of the cluster autoscaler"
            return (source, words), f"{what}: {said}" if said else what, hint
    return None


def scheduling(case: Case) -> Iterator[Cause]:
    """The scheduler finds no node."""
    for pod in case.pods:
        placed = conditions.find(pod, "PodScheduled") or {}
        if dig(pod, "spec", "nodeName") or gates_of(pod):
            continue
        if not placed.get("status") and (cause := _no_scheduler(case, pod)):
            yield cause
            return
        if placed.get("status") != "False":
            continue
        if code_of("scheduled", str(placed.get("reason") or "")) == "scheduling-gated":
            continue
        words = str(placed.get("message") or "")
        evidence = [("condition PodScheduled", words)]
        evidence += [
            event_words(event)
            for event in case.seen.events_of(pod)
            if event.get("reason") == "FailedScheduling"
        ]
        obstacle = _obstacle(words) or Obstacle("", "see for each node why not")
        hint = obstacle.hint
        if obstacle.code == "unschedulable" and (scaled := _autoscaler(case, pod)):
            evidence.insert(1, scaled[0])
            words, hint = f"{words.rstrip('. ')}; {scaled[1]}", f"{scaled[2]}; or {hint}"
        names = {"workspace": case.name, "namespace": case.namespace, "pod": pod["metadata"]["name"]}
        yield blame(
            obstacle.code,
            title_of(pod),
            words or "no node takes the pod",
            evidence,
            hint=hint,
            command=obstacle.command.filled(names),
            weight="wait" if obstacle.code == "unschedulable" else "fault",
        )
        return


def _no_scheduler(case: Case, pod: Object) -> Cause | None:
    """A pod that its scheduler has said nothing of: that scheduler does not run."""
    since_s = case.age_s(pod["metadata"].get("creationTimestamp"))
    if pod_state.is_finished(pod) or since_s <= _LOOKS_WITHIN_S:
        return None
    name = str(dig(pod, "spec", "schedulerName") or "default-scheduler")
    return blame(
        "unschedulable",
        title_of(pod),
        f"scheduler {name} has not looked at it for {span(since_s)}",
        [
            ("pod", f"schedulerName {name}, no condition PodScheduled"),
            *map(event_words, case.seen.events_of(pod)),
        ],
        hint="see that a scheduler of this name runs: whoever runs the cluster knows where",
        command=Command("kubectl get pods -A -o wide"),
    )


def ruled_out(words: str) -> list[tuple[int, str]]:
    """How many nodes the scheduler rules out for which reason; what concerns the whole pod has all of them.

    Source: Kubernetes v1.37.2, pkg/scheduler/framework/types.go (FitError).
    """
    _, is_list, rest = words.partition(" nodes are available: ")
    if not is_list:
        return [(_ALL, words)] if words else []
    rest = rest.partition("preemption:")[0].rstrip(". ")
    parts = re.split(r"[,.] (?=\d+ )", rest)
    counted = [re.match(r"(\d+) (.*)", part, re.DOTALL) for part in parts]
    return [
        (int(found[1]), found[2]) if found else (_ALL, part)
        for found, part in zip(counted, parts, strict=True)
    ]


_ALL = 1_000_000


def _obstacle(words: str) -> Obstacle | None:
    """What rules out most of the nodes that have the Workspace's labels; of all nodes, where none has."""
    found = [
        (not obstacle.before_labels, count, -rank, obstacle)
        for count, reason in ruled_out(words)
        for rank, obstacle in enumerate(OBSTACLES)
        if re.search(obstacle.pattern, reason)
    ]
    return max(found, key=lambda item: item[:3])[3] if found else None


_EVENTS = ("TaintManagerEviction", "DeviceTaintManagerEviction", "Preempted", "Preempting", "Evicted")
_WHAT = {
    "DeletionByTaintManager": "a NoExecute taint of its node threw it out",
    "TaintManagerEviction": "a NoExecute taint of its node threw it out",
    "DeletionByDeviceTaintManager": "a taint of the device that it holds (DRA) threw it out",
    "DeviceTaintManagerEviction": "a taint of the device that it holds (DRA) threw it out",
    "PreemptionByScheduler": "a pod of higher priority took its place",
    "Preempted": "a pod of higher priority took its place",
    "Preempting": "its node made room for a critical pod",
    "EvictionByEvictionAPI": "its node was drained, or its eviction was requested",
    "DeletionByPodGC": "its node is gone, so that it was removed",
    "TerminationByKubelet": "its node ended it",
    "Evicted": "its node ran short of something and threw it out",
}
_UNREACHABLE = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def thrown_out(case: Case) -> Iterator[Cause]:
    """Pods that served, and that a node, a taint or another pod has put out of the way."""
    if any(pod_state.is_ready(pod) for pod in case.seen.pods):
        return
    unplaced = not case.pods or any(not dig(pod, "spec", "nodeName") for pod in case.pods)
    for name, reason, told, node in _disruptions(case):
        taints = _taints(case, node)
        evidence = [*told, *((f"Node {where}", f"taint {taint}") for where, taint in taints)]
        what = _WHAT.get(reason, reason)
        is_taint = reason in ("DeletionByTaintManager", "TaintManagerEviction")
        if taints and is_taint:
            what = f"taint {taints[0][1]} of node {taints[0][0]} threw it out"
        where = node or (taints[0][0] if taints else "")
        yield blame(
            "pod-thrown-out",
            f"Pod {name}",
            what,
            evidence,
            hint="the taint belongs to who set it: wait until it is gone, or take another node"
            if is_taint
            else "see who did it and whether it will happen again; a higher priority protects from preemption"
            if reason.startswith("Preempt")
            else "see the node; the pod is created again where there is room",
            command=Command("kubectl describe node", where) if where else Command("kubectl get nodes"),
            weight="fault" if unplaced else "note",
        )
        return


def _disruptions(case: Case) -> Iterator[tuple[str, str, list[tuple[str, str]], str]]:
    """Pods that were put out of the way: name, reason, evidence, node."""
    for pod in case.seen.pods:
        item = conditions.find(pod, "DisruptionTarget")
        if item is not None and item.get("status") == "True":
            words = f"{item.get('reason')}: {item.get('message')}"
            evidence = [("condition DisruptionTarget", words)]
            yield (
                str(pod["metadata"]["name"]),
                str(item.get("reason")),
                evidence,
                str(dig(pod, "spec", "nodeName") or ""),
            )
    for event in case.seen.events:
        is_pods = dig(event, "involvedObject", "kind") == "Pod"
        if is_pods and event.get("reason") in _EVENTS and "Cancelling" not in str(event.get("message")):
            name = str(dig(event, "involvedObject", "name"))
            pod = next((item for item in case.seen.pods if item["metadata"]["name"] == name), {})
            yield name, str(event["reason"]), [event_words(event)], str(dig(pod, "spec", "nodeName") or "")


def _taints(case: Case, node: str) -> list[tuple[str, str]]:
    """The NoExecute taints of its node, or of all that it had; those of lost nodes last."""
    found = [
        (str(item["metadata"]["name"]), f"{taint.get('key')}:NoExecute")
        for item in case.seen.nodes
        if not node or item["metadata"]["name"] == node
        for taint in dig(item, "spec", "taints") or ()
        if taint.get("effect") == "NoExecute"
    ]
    return sorted(found, key=lambda pair: pair[1].startswith(_UNREACHABLE))
