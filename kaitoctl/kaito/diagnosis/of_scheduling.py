"""Rules about pods that no node has: gates, what the scheduler says, and what threw pods out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec import Struct

from kaitoctl.advice import Command
from kaitoctl.kaito import api, kubectl_hints
from kaitoctl.kaito.diagnosis.case import Case, blame, event_words, reason_words, span, title_of
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kaito.diagnosis.of_volumes import unbound_claims
from kaitoctl.kaito.diagnosis.reasons import code_of
from kaitoctl.kube import conditions, pod_state
from kaitoctl.kube.objects import Object, dig, is_being_deleted

if TYPE_CHECKING:
    from kaitoctl.kaito.diagnosis.of_places import Place

_LOOKS_WITHIN_S = 60.0
_KUEUE = "kueue.x-k8s.io/"


def gates_of(pod: Object) -> list[str]:
    """The scheduling gates that hold a pod that has no node."""
    if dig(pod, "spec", "nodeName") or pod_state.is_finished(pod):
        return []
    return [
        str(item.get("name")) for item in dig(pod, "spec", "schedulingGates") or () if isinstance(item, dict)
    ]


def scheduling_gates(case: Case) -> Iterator[Cause]:
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
                ("condition PodScheduled", reason_words(placed)),
            ],
            hint="check the queue: it takes the gate away when it is the pod's turn; nodes are not the matter"
            if is_kueue
            else "who set the gate takes it away; nodes are not the matter",
            command=Command("kubectl get workloads.kueue.x-k8s.io", *case.in_namespace)
            if is_kueue
            else kubectl_hints.describe(pod),
        )
        return


class NoScaleUp(Struct, frozen=True):
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
_OF_KARPENTER = "Failed to schedule pod, "  # how its events begin that have the scheduler's own reason
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
        r"backoff after failed scale-up", "the cloud refused the last node: check the autoscaler's status"
    ),
    NoScaleUp(r"max node group size reached", "raise the largest size of the node group (node pool)"),
    NoScaleUp(
        r"max cluster \S+ limit reached|max limit reached", "raise the autoscaler's limit for the cluster"
    ),
    NoScaleUp(r"not ready for scale-?up", "check whether the node group's last nodes have become Ready"),
    # Karpenter's. Source: karpenter v1.14 pkg/controllers/provisioning/scheduling/{nodeclaim,scheduler}.go,
    # pkg/scheduling/taints.go; of older releases "no instance type satisfied resources".
    NoScaleUp(
        r"exceed limits for nodepool|limits have been exhausted",
        "raise spec.limits of the NodePool, or free nodes of it",
    ),
    NoScaleUp(
        r"reserved offering|required offering",
        "the cloud offers the NodePool's machines neither in these zones nor as this kind (spot, on demand, "
        "reserved): widen the NodePool's requirements, or wait",
    ),
    NoScaleUp(
        r"no instance type|filtered out all available instance types",
        "no machine that the NodePool may have gives the pod what it asks for: compare its GPUs, labels and "
        "zone with the NodePool's requirements",
    ),
    NoScaleUp(r"did not tolerate taint", "the pod does not tolerate the NodePool's taints: check both"),
    NoScaleUp(
        r"incompatible (?:requirements|with nodepool)|minValues requirements",
        "the pod asks for other labels than the NodePool gives its nodes: compare both",
    ),
    NoScaleUp(
        r"no (?:dynamic )?nodepools found",
        "Karpenter has no NodePool that is ready: check them and their node classes",
    ),
    NoScaleUp(
        r"Dynamic Resource Allocation requirements that are not yet supported",
        "this Karpenter makes no nodes for pods with ResourceClaims: create the node by other means",
    ),
    NoScaleUp(
        r"affinity|selector|Insufficient|untolerated|wouldn't fit|volume",
        "no node group makes a node that takes the pod: give one its labels and GPUs, or create the node",
    ),
)


def _autoscaler(case: Case, pod: Object) -> tuple[tuple[str, str], str, str] | None:
    """What the newest event of an autoscaler says about a pod: evidence, a message, and what to do."""
    for event in case.seen.events_of(pod):
        source, words = event_words(event)
        of_karpenter = words.partition(_OF_KARPENTER)[2] if event.get("reason") == "FailedScheduling" else ""
        if what := "Karpenter adds no node" if of_karpenter else _AUTOSCALERS.get(str(event.get("reason"))):
            said = " ".join((of_karpenter or words.partition(": ")[2] or words).split())
            if event["reason"] == "TriggeredScaleUp":
                return (source, words), f"{what}: {said}", "wait for the node"
            hint = next((row.hint for row in NO_SCALE_UP if re.search(row.pattern, words)), "")
            look = "log of Karpenter" if of_karpenter else "status of the cluster autoscaler"
            hint = hint or f"check the {look}"
            return (source, words), f"{what}: {said}" if said else what, hint
    return None


_OF_CLAIMS = ("volume-claim-missing", "volume-lost", "volume-not-here")


def scheduling(case: Case) -> Iterator[Cause]:
    """The scheduler finds no node."""
    for pod in case.pods:
        placed = conditions.find(pod, "PodScheduled") or {}
        if dig(pod, "spec", "nodeName") or gates_of(pod):
            continue
        if told := _told_by_event(case, pod, placed):
            placed = told
        elif not placed.get("status") and (cause := _no_scheduler(case, pod)):
            yield cause
            return
        if placed.get("status") != "False":
            continue
        if code_of("scheduled", str(placed.get("reason") or "")) == "scheduling-gated":
            continue
        from kaitoctl.kaito.diagnosis.scheduler_messages import Obstacle, obstacle_of  # most pods have a node

        words = str(placed.get("message") or "")
        evidence = [("condition PodScheduled", words)] if placed.get("type") else []
        evidence += [
            event_words(event)
            for event in case.seen.events_of(pod)
            if event.get("reason") in ("FailedScheduling", _NO_CLAIM)
        ]
        names = {"workspace": case.name, "namespace": case.namespace, "pod": str(pod["metadata"]["name"])}
        obstacle = obstacle_of(words, names, _nodes_in_use(case))
        obstacle = obstacle or Obstacle("", "see for each node why not").filled(names)
        hint, command, code = obstacle.hint, obstacle.command, obstacle.code
        if obstacle.code in _OF_CLAIMS:
            said, better = unbound_claims(case, pod)
            evidence, hint = [*evidence[:1], *said, *evidence[1:]], better or hint
            if not better and (found := _place(case, pod, words)):
                words, hint, command, code = found.message, found.hint, found.command, found.code
                evidence[1:1] = found.evidence
        if obstacle.code == "unschedulable" and (scaled := _autoscaler(case, pod)):
            evidence.insert(1, scaled[0])
            words, hint = f"{words.rstrip('. ')}; {scaled[1]}", f"{scaled[2]}; or {hint}"
        if obstacle.resource == api.GPU and (older := _holder_of_ours(case, pod)):
            words = f"{words.rstrip('. ')}; {older} of the same Workspace holds GPUs, and still serves"
            hint = (
                "add a node for the update; deleting the older pod makes room, too, but then nobody is "
                "served until the new one is ready"
            )
        elif obstacle.resource and (leaving := _leaving_holder(case, obstacle.resource)) is not None:
            going, hint = _going(case, leaving)
            words = (
                f"{words.rstrip('. ')}; {title_of(leaving)} of the same Workspace is going{going}, and still "
            )
            words += "holds some"
            evidence.insert(1, (title_of(leaving), _deletion_words(leaving)))
        yield blame(
            code,
            title_of(pod),
            words or "no node takes the pod",
            evidence,
            hint=hint,
            command=command,
            weight="wait" if obstacle.code == "unschedulable" else "fault",
        )
        return


def _place(case: Case, pod: Object, words: str) -> Place | None:
    """Which of the pod's volumes is not where the nodes are, as far as that was looked at."""
    if not case.seen.storage:
        return None
    from kaitoctl.kaito.diagnosis.of_places import place  # most pods wait for no volume

    return place(case, pod, words)


_NO_CLAIM = "FailedResourceClaimCreation"


def _told_by_event(case: Case, pod: Object, placed: Object) -> Object | None:
    """What an event alone says, as others say it in the condition PodScheduled.

    Volcano says all of it so. Until a ResourceClaim can be created no scheduler looks at the pod, and the
    condition says at most that it is waited for. Source: Kubernetes v1.37.2 pkg/controller/resourceclaim.
    """
    is_judged = bool(placed.get("status"))
    if is_judged and "claim" not in str(placed.get("message")).lower():
        return None  # the claim is there by now: events stay for an hour
    events = case.seen.events_of(pod)
    failed = [event for event in events if event.get("reason") == _NO_CLAIM]
    failed += [] if is_judged else [event for event in events if event.get("reason") == "FailedScheduling"]
    words = next((event_words(event)[1] for event in failed), "")
    return {"status": "False", "reason": "Unschedulable", "message": words} if words else None


def _holder_of_ours(case: Case, pod: Object) -> str:
    """The ready pod of an older revision that holds what this one waits for; empty without one."""
    for other in case.seen.pods:
        if other is not pod and pod_state.is_ready(other) and pod_state.gpu_request(other, api.GPU):
            owners = [item["metadata"].get("ownerReferences") for item in (other, pod)]
            if dig(other, "spec", "nodeName") and owners[0] != owners[1]:
                return title_of(other)
    return ""


def _nodes_in_use(case: Case) -> int:
    """On how many nodes pods of the Workspace hold GPUs."""
    held = (pod for pod in case.seen.pods if pod_state.gpu_request(pod, api.GPU))
    return len({dig(pod, "spec", "nodeName") for pod in held if not pod_state.is_finished(pod)} - {None})


def _leaving_holder(case: Case, resource: str) -> Object | None:
    """The pod that is being deleted and holds what the next one waits for; None without one."""
    return next(
        (
            other
            for other in case.seen.pods
            if is_being_deleted(other)
            and dig(other, "spec", "nodeName")
            and not pod_state.is_finished(other)
            and pod_state.gpu_request(other, resource)
        ),
        None,
    )


def _going(case: Case, pod: Object) -> tuple[str, str]:
    """For how long a pod should have been gone, and what holds it; and what to do.

    Source: Kubernetes v1.37.2 staging/src/k8s.io/api/core/v1 (deletionTimestamp: when its grace period ends).
    """
    overdue_s = case.age_s(pod["metadata"].get("deletionTimestamp"))
    held = ", ".join(map(str, pod["metadata"].get("finalizers") or ()))
    if overdue_s < _ENDS_WITHIN_S:
        return "", (
            "wait until it has ended; if it does not, its node is not heard of, or a finalizer or a long "
            "grace period holds it"
        )
    since = f" and overdue for {span(overdue_s)}"
    if held:
        return (
            f"{since}, held by finalizer {held}",
            "the finalizer's owner takes it off: check that it runs; by hand, what it guards is left behind",
        )
    return since, "check that the kubelet and the container runtime of its node end it: nothing else holds it"


def _deletion_words(pod: Object) -> str:
    held = ", ".join(map(str, pod["metadata"].get("finalizers") or ())) or "none"
    return f"deletionTimestamp {pod['metadata'].get('deletionTimestamp')}, finalizers {held}"


_ENDS_WITHIN_S = 120.0


def _no_scheduler(case: Case, pod: Object) -> Cause | None:
    """A pod that its scheduler has said nothing of: that scheduler does not run."""
    since_s = case.age_s(pod["metadata"].get("creationTimestamp"))
    if pod_state.is_finished(pod) or since_s <= _LOOKS_WITHIN_S:
        return None
    name = str(dig(pod, "spec", "schedulerName") or "default-scheduler")
    return blame(
        "unschedulable",
        title_of(pod),
        f"scheduler {name} has not tried to place it for {span(since_s)}",
        [
            ("pod", f"schedulerName {name}, no condition PodScheduled"),
            *map(event_words, case.seen.events_of(pod)),
        ],
        hint="check that a scheduler of this name runs: whoever runs the cluster knows where",
        command=Command("kubectl get pods -A -o wide"),
    )


_EVENTS = ("TaintManagerEviction", "DeviceTaintManagerEviction", "Preempted", "Preempting", "Evicted")
_WHAT = {
    "DeletionByTaintManager": "a NoExecute taint of its node evicted it",
    "TaintManagerEviction": "a NoExecute taint of its node evicted it",
    "DeletionByDeviceTaintManager": "a taint of the device that it holds (DRA) evicted it",
    "DeviceTaintManagerEviction": "a taint of the device that it holds (DRA) evicted it",
    "PreemptionByScheduler": "a pod of higher priority took its place",
    "Preempted": "a pod of higher priority took its place",
    "Preempting": "its node made room for a critical pod",
    "EvictionByEvictionAPI": "its node was drained, or its eviction was requested",
    "DeletionByPodGC": "its node is gone, so that it was removed",
    "TerminationByKubelet": "its node ended it",
    "Evicted": "its node ran short of a resource and evicted it",
}
_UNREACHABLE = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def thrown_out(case: Case) -> Iterator[Cause]:
    """Pods that served, and that a node, a taint or another pod has put out of the way."""
    if any(pod_state.is_ready(pod) for pod in case.seen.pods):
        return
    left = [pod for pod in case.pods if not pod_state.is_finished(pod)]
    unplaced = not left or any(not dig(pod, "spec", "nodeName") for pod in left)
    for name, reason, told, node in _disruptions(case):
        taints = _taints(case, node)
        evidence = [*told, *((f"Node {where}", f"taint {taint}") for where, taint in taints)]
        what = _WHAT.get(reason, reason)
        is_taint = reason in ("DeletionByTaintManager", "TaintManagerEviction")
        if taints and is_taint:
            what = f"taint {taints[0][1]} of node {taints[0][0]} evicted it"
        where = node or (taints[0][0] if taints else "")
        yield blame(
            "pod-thrown-out",
            f"Pod {name}",
            what,
            evidence,
            hint="the taint belongs to who set it: wait until it is gone, or take another node"
            if is_taint
            else "check who did it and whether it will happen again; higher priority protects from preemption"
            if reason.startswith("Preempt")
            else "check the node; the pod is created again where there is room",
            command=Command("kubectl describe node", where) if where else Command("kubectl get nodes"),
            weight="fault" if unplaced else "note",
        )
        return


# How a pod's name goes on after that of its StatefulSet, Job or Deployment, which is the Workspace's.
# Source: Kubernetes v1.37.2 apimachinery/pkg/util/rand (alphanums), apiserver/pkg/storage/names.
_RANDOM = "[bcdfghjklmnpqrstvwxz2456789]"
_OF_ITS_WORKLOAD = re.compile(rf"-(?:\d+|(?:{_RANDOM}{{4,10}}-)?{_RANDOM}{{5}})")


def _says_itself(pod: Object) -> bool:
    """Whether it is there still, and says itself how it ended: evicted, shut down (`of_failed_pods`)."""
    return dig(pod, "status", "phase") == "Failed" and bool(dig(pod, "status", "reason"))


def _disruptions(case: Case) -> Iterator[tuple[str, str, list[tuple[str, str]], str]]:
    """Pods that were put out of the way: name, reason, evidence, node."""
    for pod in case.seen.pods:
        item = conditions.find(pod, "DisruptionTarget")
        if item is not None and item.get("status") == "True" and not _says_itself(pod):
            words = reason_words(item)
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
            is_its_own = pod or _OF_ITS_WORKLOAD.fullmatch(name.removeprefix(case.name))  # not of falcon-7b
            if not is_its_own or _says_itself(pod):
                continue
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
