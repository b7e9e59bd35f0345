"""Rules about pods that have failed as a whole: rejected by a kubelet, evicted, or ended with their node.

A workload replaces such pods and leaves them there, sometimes by the thousand: they are counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

from kaitoctl.advice import Command
from kaitoctl.kaito import kubectl_hints, node_check
from kaitoctl.kaito.diagnosis.case import Case, blame, event_words, title_of
from kaitoctl.kaito.diagnosis.cause import Cause, Weight
from kaitoctl.kaito.diagnosis.reasons import code_of
from kaitoctl.kube import conditions, pod_state
from kaitoctl.kube.objects import Object, creation_time_of, dig, labels_of

_DISK = r"(?i)disk|ephemeral-storage|resource: (?:\w*inodes|nodefs|imagefs|containerfs)"
_DEVICES = r"(?i)\bdevices?\b|Allocate failed|nvidia|\bgpu\b"
# Counts, names and amounts: what differs between the words of pods that failed for one reason.
_VARYING = r"\d+|[0-9a-f]{8}-[0-9a-f-]+"


class _Group(Struct, frozen=True):
    """Pods that failed alike on one node."""

    reason: str
    words: str
    node: str
    pods: list[Object]

    @property
    def newest(self) -> Object:
        return max(self.pods, key=creation_time_of)


def failed_pods(case: Case) -> Iterator[Cause]:
    """Pods that failed as a whole, each kind of failure once."""
    for group in sorted(_groups(case), key=lambda group: creation_time_of(group.newest), reverse=True):
        code = code_of("pod", group.reason) or "kubernetes-says"
        if group.reason == "Evicted" and re.search(_DISK, group.words):
            code = "disk-full"
        yield _cause(case, group, code)


def _groups(case: Case) -> list[_Group]:
    found: dict[tuple[str, str, str], _Group] = {}
    for pod in case.seen.pods:
        reason = str(dig(pod, "status", "reason") or "")
        if dig(pod, "status", "phase") != "Failed":
            continue
        if not reason and any(dig(item, "state", "terminated") for item in pod_state.container_statuses(pod)):
            continue  # its containers say why
        if not reason and conditions.is_true(pod, "DisruptionTarget"):
            continue  # the condition says why
        reason = reason or "Failed"
        words = " ".join(str(dig(pod, "status", "message") or reason).split())
        node = str(dig(pod, "spec", "nodeName") or "")
        key = (reason, re.sub(_VARYING, "#", words), node)
        found.setdefault(key, _Group(reason, words, node, [])).pods.append(pod)
    return list(found.values())


def _cause(case: Case, group: _Group, code: str) -> Cause:
    count, newest = len(group.pods), group.newest
    many = "" if count == 1 else f"{count} pods: "
    where = f"node {group.node}" if group.node else "its node"
    what, hint = _MEANINGS.get(code, ("", "check the message"))
    own = (words for pattern, words in _HINTS if re.search(pattern, f"{group.reason}: {group.words}"))
    own_hint = _TOO_SMALL if _is_too_small(group.words) else _of_plugin(group) or next(own, "")
    hint = own_hint or hint
    said = what.format(node=where, it="it" if count == 1 else "them") if what else f"{group.reason}"
    evidence = [("pod" if count == 1 else f"{count} pods", f"{group.reason}: {group.words}")]
    evidence += [
        event_words(event) for event in case.seen.events_of(newest) if event.get("type") == "Warning"
    ][:1]
    if code == "pod-rejected" and not own_hint and re.search(_DEVICES, f"{group.reason} {group.words}"):
        hint = "what the kubelet knows of the node's GPUs is stale: see and restart its device plugin"
    look = Command("kubectl describe node", group.node) if group.node else kubectl_hints.describe(newest)
    if code == "pod-rejected" and re.search(_DEVICES, group.words) and group.node:
        look = kubectl_hints.pods_on(group.node)
    return blame(
        code,
        title_of(newest) if count == 1 else f"{count} {node_check.plural('pod', count)} of {case.name}",
        f"{many}{said}: {group.words}",
        evidence,
        hint=hint,
        command=look,
        weight=_weight(case, group),
    )


def _of_plugin(group: _Group) -> str:
    """What to do about a resource that is no GPU, and that something on the node has to announce."""
    from kaitoctl.kaito.advertisers import advertiser_of  # most pods are not rejected

    found = re.search(_RESOURCE, f"{group.reason}: {group.words}")
    resource = next(filter(None, found.groups()), "") if found else ""
    known = advertiser_of(resource)
    if known is None or re.search(r"\bused: [1-9]|no space left", group.words):
        return ""
    return f"the node has too little of {resource}, which {known.who}: {known.hint}"


# What a kubelet names a resource by. Source: Kubernetes v1.37.2 pkg/kubelet/cm/devicemanager/manager.go,
# lifecycle/predicate.go.
_RESOURCE = (
    r"^OutOf([^\s:]+)|(?:unregistered device|unhealthy devices|unavailable for|unknown Device Plugin|"
    r"registered resource:|resource) \"?([^\s,\"]+[^\s,\".])"
)


def _is_too_small(words: str) -> bool:
    """Whether a pod asks for more than the node has at all, whoever else runs there."""
    found = re.search(r"requested: (\d{1,19}), used: \d{1,19}, capacity: (\d{1,19})", words)
    return found is not None and int(found[1]) > int(found[2]) > 0


_TOO_SMALL = "the pod asks for more than the whole node has: take larger nodes, or ask for less"


def _weight(case: Case, group: _Group) -> Weight:
    """A fault while no pod has come after it that got further, or while the next one will fail alike."""
    newest = group.newest
    later = [
        pod
        for pod in case.seen.pods
        if not pod_state.is_finished(pod)
        and creation_time_of(pod) >= creation_time_of(newest)
        and dig(pod, "spec", "nodeName")
    ]
    if any(pod_state.is_ready(pod) for pod in case.seen.pods):
        return "note"
    if not later:
        return "fault"
    alike = [pod for pod in later if _template_of(pod) == _template_of(newest)]
    is_again = len(group.pods) > 1 and any(dig(pod, "spec", "nodeName") == group.node for pod in alike)
    return "fault" if is_again or (alike and re.search(_OWN_LIMIT, group.words)) else "note"


# What a pod sets itself, on whatever node it is. Source: Kubernetes v1.37.2 pkg/kubelet/eviction/helpers.go.
_OWN_LIMIT = r"exceeds the (?:total )?limit|exceeded its local ephemeral storage limit"


def _template_of(pod: Object) -> str:
    """Which revision of its workload's template it was made from; empty when it does not say."""
    labels = labels_of(pod)
    return labels.get("pod-template-hash") or labels.get("controller-revision-hash") or ""


# Where a reason, or its words, tell more than the cause. Source: Kubernetes v1.37.2, pkg/kubelet/eviction/
# eviction_manager.go, nodeshutdown, active_deadline.go, lifecycle/predicate.go (InsufficientResourceError),
# cm/devicemanager/manager.go, cm/topologymanager, cm/cpumanager, lifecycle/handlers.go, sysctl/allowlist.go;
# k8s-device-plugin internal/rm/rm.go.
_HINTS = (
    (
        r"maximum request size for shared resources",
        "the node's GPUs are shared, and its device plugin gives a pod one share: take whole GPUs",
    ),
    (
        r"(?i)GPU is lost|fallen off the bus|\bXid\b|GPU requires reset|uncorrectable ECC",
        "a GPU of the node does not answer, so that its device plugin gives none: drain and reboot the node, "
        "or replace it",
    ),
    (
        r"no healthy devices present|no longer healthy",
        "the device plugin takes the node's GPUs for broken: check its log, and Xid errors in the kernel log",
    ),
    (
        r"^OutOf\S+: .{0,200}\bused: [1-9]",
        "other pods on the node hold it, of which the scheduler did not know (one that is still ending, a "
        "static pod, a second scheduler): check what runs there",
    ),
    (
        r"^(?:NodeAffinity|MatchNodeSelector|HostName)",
        "the node's labels are others than when the pod was placed there: check who changed them; its "
        "workload makes another pod",
    ),
    (
        r"^(?:TopologyAffinityError|SMTAlignmentError|EmptyPodSharedPoolError)|not enough cpus available|"
        r"\[memorymanager\]|pod rejected, (?:pod has|sum of)",
        "the node's topology, CPU or memory manager finds no place that suits it: check the kubelet's policy "
        "there, "
        "ask for other amounts of CPU and memory, or take another node",
    ),
    (
        r"^SysctlForbidden",
        "take the sysctl out of the pod template; or whoever runs the node allows it (allowedUnsafeSysctls "
        "of its kubelet)",
    ),
    (
        r"^AppArmor",
        "load the AppArmor profile onto the node, or name in the pod template one that is there",
    ),
    (
        r"^PodOS|^InitContainerRestartPolicyForbidden|^SupplementalGroupsPolicyNotSupported|"
        r"^PodLevelResourcesNotSupported|^PodFeatureUnsupported",
        "the pod template asks for what nodes of this kind or release do not have: take it out, or choose "
        "other nodes",
    ),
    (
        r"^(?:NodeName|NodePorts|TaintToleration|NodeUnschedulable)",
        "the node has changed since the pod was placed there, or another pod is in its way: its workload "
        "makes another pod",
    ),
    (r"^VolumeAttachmentLimitExceeded", "the node has as many disks as it can have: take another node"),
    (
        r"Usage of EmptyDir volume",
        "raise sizeLimit of that emptyDir in the pod template, or write less to it",
    ),
    (
        r"^Evicted: The node was low on resource: memory",
        "let the pod template request the memory that the server needs, or take nodes with more: pods that "
        "use more than they request go first",
    ),
    (
        r"^Evicted: The node was low on resource: pids",
        "check what else starts so many processes there; set podPidsLimit of the node's kubelet",
    ),
    (
        r"exceeds the total limit of containers|exceeded its local ephemeral storage limit",
        "raise the limits of the pod template (ephemeral-storage), or write less to the container's disk",
    ),
    (
        r"(?i)no space left on device",
        "the disk of that node is full: check what fills it; another node takes the pod",
    ),
    (r"^NodeShutdown", "the node goes down: its workload creates another pod where there is room"),
    (r"^DeadlineExceeded", "activeDeadlineSeconds of the pod has passed: a server is not to have one"),
)
_MEANINGS = {
    "pod-rejected": (
        "the kubelet of {node} rejects {it}",
        "check what that node lacks; another node takes the pod, or the kubelet there needs a restart",
    ),
    "pod-ended": (
        "{node} ended {it}",
        "check the node; a workload creates the pod again where there is room",
    ),
    "pod-evicted": ("{node} evicted {it}", "check the node's pressure conditions"),
    "disk-full": ("{node} evicted {it}", "take nodes with a larger disk"),
    "node-lost": ("{node} is not heard of", "check whether the machine still runs"),
}
