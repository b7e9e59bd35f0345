"""Findings about the node itself, whoever asks: deletion, platform, conditions, controllers' taints. Pure.

Problem detectors have condition types of their own, and they do not agree on what True means: most say a
problem, those of EKS that all is well. A type that is not in the tables is read by its name.

Source: kubernetes `k8s.io/api/core/v1` (NodeConditionType); node-problem-detector 6632ca6 (2026-08),
`config/*.json`; learn.microsoft.com/azure/aks/node-problem-detector and aks/gpu-health-monitoring;
aws/eks-node-monitoring-agent 51af549 (2026-08), `pkg/conditions/conditions.go`; karpenter-provider-azure
`pkg/cloudprovider/cloudprovider.go` (RepairPolicies); docs.nebius.com/kubernetes/maintenance/health-checks;
k3s and RKE2 (EtcdIsVoter).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from kaitoctl.advice import Command
from kaitoctl.kaito import kubectl_hints
from kaitoctl.kaito.node_check import taints
from kaitoctl.kaito.node_check.allowed_changes import AllowedChanges, is_cordon
from kaitoctl.kaito.node_check.answer import Finding, Level
from kaitoctl.kaito.node_check.facts import NodeFacts
from kaitoctl.kube.objects import Object, tolerates

PRESSURES = ("DiskPressure", "MemoryPressure", "PIDPressure")
"""Conditions of the kubelet that have a finding of their own."""

_NPD, _AKS, _EKS = "the node problem detector", "AKS' node problem detector", "the EKS node monitoring agent"

BAD_WHEN_TRUE: Mapping[str, str] = {
    "NetworkUnavailable": "the cloud's route controller or the network plugin",
    "KernelDeadlock": _NPD,
    "ReadonlyFilesystem": _NPD,
    "XfsShutdown": _NPD,
    "CperHardwareErrorFatal": _NPD,
    "FrequentKubeletRestart": _NPD,
    "FrequentDockerRestart": _NPD,
    "FrequentContainerdRestart": _NPD,
    "FrequentUnregisterNetDevice": _NPD,
    "CorruptDockerOverlay2": _NPD,
    "DiskBadBlock": _NPD,
    "NTPProblem": _NPD,
    "ContainerRuntimeUnhealthy": _NPD,
    "KubeletUnhealthy": _NPD,
    "KubeProxyUnhealthy": _NPD,
    "FilesystemCorruptionProblem": _AKS,
    "KubeletProblem": _AKS,
    "ContainerRuntimeProblem": _AKS,
    "VMEventScheduled": _AKS,
    "GPUMissing": _AKS,
    "NVLinkStatusInactive": _AKS,
    "XIDErrors": _AKS,
    "IBLinkFlapping": _AKS,
    "UnhealthyNvidiaDevicePlugin": _AKS,
    "UnhealthyNvidiaDCGMServices": _AKS,
    "PreemptionScheduled": "Azure (a spot machine is about to be taken away)",
    "NebiusGPUError": "Nebius' health checks",
    "NebiusBootDiskIOError": "Nebius' health checks",
}
"""Types that report a problem by True, and who reports it."""

BAD_WHEN_FALSE: Mapping[str, str] = {
    "AcceleratedHardwareReady": _EKS,
    "ContainerRuntimeReady": _EKS,
    "KernelReady": _EKS,
    "NetworkingReady": _EKS,
    "StorageReady": _EKS,
    "kubernetes.azure.com/NodeHealthy": "AKS",
}
"""Types that report a problem by False."""

# True says nothing bad, whatever the name sounds like.
_HARMLESS = frozenset({"Ready", "EtcdIsVoter", *PRESSURES})

# Names by which True means that all is well; NotReady, Unhealthy, Unavailable and Invalid are no such names.
_GOOD_NAME = re.compile(
    r"(?<!not)(?<!un)(?<!in)(?<!dis)(?:ready|healthy|health|available|ok|alive|online|connected|valid|succeeded|"
    r"running|initialized|registered|enabled|installed|synced|reachable|passed|schedulable)$",
    re.IGNORECASE,
)


def problems(conditions: Mapping[str, tuple[str, str]]) -> Iterator[tuple[str, str, str, str]]:
    """Type, status, words and reporter (empty when unknown) of each condition that reports a problem.

    Args:
        conditions: status and message by type.
    """
    for kind, (status, words) in conditions.items():
        if kind in _HARMLESS:
            continue
        reporter = BAD_WHEN_TRUE.get(kind) or BAD_WHEN_FALSE.get(kind) or ""
        says_by_false = kind in BAD_WHEN_FALSE or (not reporter and _GOOD_NAME.search(kind) is not None)
        if status in ("False" if says_by_false else "True", "Unknown"):
            yield kind, status, words, reporter


_PLATFORM = frozenset({"linux", "amd64"})
# Taints that follow a condition which has a finding of its own.
_OF_CONDITIONS = {
    "node.kubernetes.io/disk-pressure": "DiskPressure",
    "node.kubernetes.io/memory-pressure": "MemoryPressure",
    "node.kubernetes.io/pid-pressure": "PIDPressure",
}
_READINESS = frozenset({"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"})


def deletion_findings(node: NodeFacts) -> Iterable[Finding]:
    """A node that is on its way out of the cluster."""
    if node.is_being_deleted:
        yield Finding(
            "being-deleted", "fail", "the node is being deleted", "choose another node", stage="selection"
        )


def platform_findings(node: NodeFacts, *, os_name: str = "", own_image: bool = False) -> Iterable[Finding]:
    """Another operating system or CPU than the images are for.

    Args:
        node: the node.
        os_name: the operating system that a custom pod names.
        own_image: whether the image is the user's own, of which nobody knows what it is for.
    """
    wrong = [name for name in node.platform if name.lower() not in _PLATFORM]
    if not wrong or set(wrong) == {os_name}:
        return
    yield Finding(
        "other-platform",
        "warn" if own_image else "fail",
        f"the node is {'/'.join(node.platform)}, and the images are for linux/amd64",
        "make sure that the pod's image is for this platform" if own_image else "choose a linux/amd64 node",
        kubectl_hints.labels_of(node.name),
        "model",
    )


# Source: Kubernetes v1.37.2 pkg/kubelet/kubelet.go (runtime state), pkg/kubelet/nodestatus/setters.go
# (ReadyCondition), pkg/controller/nodelifecycle (NodeStatusUnknown).
_UNREADY = (
    (
        r"(?i)stopped posting node status|never posted node status",
        "nobody hears of its kubelet: check at the cloud whether the machine runs and has a network, then "
        "the kubelet's log there",
    ),
    (
        r"(?i)NetworkPluginNotReady|NetworkReady=false|\bcni\b",
        "check the pods of its network plugin (CNI) there",
    ),
    (
        r"(?i)container runtime is down|PLEG|RuntimeReady=false",
        "check the container runtime there (containerd)",
    ),
    (r"(?i)CSINode is not yet initialized|node .{0,100}not found", "check the kubelet's log there"),
)


def unready_hint(status: str, why: str) -> str:
    """What to do about a node by what its condition Ready says.

    Args:
        status: `True`, `False`, `Unknown`, or empty where there is no condition.
        why: its message.
    """
    found = next((hint for pattern, hint in _UNREADY if re.search(pattern, why)), "")
    return found or (_UNREADY[0][1] if status == "Unknown" else "check its conditions")


def condition_findings(node: NodeFacts, *, keeps_passing: bool) -> Iterable[Finding]:
    """What kubelets and problem detectors report.

    Args:
        node: the node.
        keeps_passing: whether a node under pressure stays usable: pressure passes, and whoever would buy
            another node for it should wait.
    """
    look = Command("kubectl describe node", node.name)
    if not node.is_ready:
        status, why = node.conditions.get("Ready", ("", ""))
        message = f"the node is not Ready: {why or 'it has never reported'}"
        yield Finding("not-ready", "fail", message, unready_hint(status, why), look, "selection")
    tainted = {_OF_CONDITIONS.get(str(taint.get("key"))) for taint in node.taints}
    for kind in PRESSURES:
        if kind in tainted:
            level: Level = "warn" if keeps_passing else "fail"
            message = f"the node reports {kind}, and its taint keeps new pods away"
            yield Finding(
                "pressure", level, message, "wait until it has passed, or choose another node", look
            )
        elif node.conditions.get(kind, ("", ""))[0] == "True":
            yield Finding("pressure", "warn", f"the node reports {kind}", "pods may be evicted from it", look)
    for kind, status, words, reporter in problems(node.conditions):
        said = f": {words[:300]}" if words else ""
        if status == "Unknown":  # node-problem-detector's custom plugins: the check itself has failed
            hint = "the check could not be made, so nobody knows: check its log on the node"
            yield Finding("node-problem", "warn", f"condition {kind} is Unknown{said}", hint, look)
            continue
        hint = f"reported by {reporter}; choose another node until it is fixed" if reporter else ""
        message = f"condition {kind} is {status}{said}"
        yield Finding("node-problem", "warn", message, hint or "check what reports this condition", look)


def cordon_findings(node: NodeFacts, allowed: AllowedChanges) -> Iterable[Finding]:
    """A node that is closed for new pods."""
    if not node.is_cordoned:
        return
    if allowed.may_uncordon:
        hint, command = (
            "ask who closed it, then let it take pods again",
            Command("kubectl uncordon", node.name),
        )
    else:
        repaired = "it is being taken away or repaired: choose another node"
        hint = allowed.why_not or allowed.why_cordoned or repaired
        command = allowed.look("pods" if allowed.held and not allowed.owner else "describe")
    yield Finding("cordoned", "fail", "the node is cordoned", hint, command)


def owned_taint_findings(
    node: NodeFacts,
    tolerations: Iterable[Object],
    allowed: AllowedChanges,
    now: datetime | None,
    *,
    keeps_passing: bool,
) -> Iterable[Finding]:
    """Taints that a controller sets and takes off by itself.

    Args:
        node: the node.
        tolerations: what the pods tolerate.
        allowed: what may be advised about the node.
        now: the time, None when it is not known.
        keeps_passing: whether a Ready node stays usable while the taint of an unready one is still there.
    """
    tolerations = tuple(tolerations)
    for taint in node.taints:
        owner = taints.owner_of(taint)
        if owner is None or _has_its_own_finding(node, taint):
            continue
        is_soft = taint.get("effect") == "PreferNoSchedule" and owner.kind == "leaving"
        if not is_soft and not taints.keeps_away(taint):
            continue
        level: Level = "warn" if is_soft or (keeps_passing and taint.get("key") in _READINESS) else "fail"
        if any(tolerates(toleration, taint) for toleration in tolerations):
            continue
        hint, age_s = owner.advice, taints.age_s(taint, owner, node.ready_since, now)
        message = f"taint {taints.text_of(taint)} keeps pods away"
        if is_soft:
            message = f"taint {taints.text_of(taint)}: the node is a candidate for removal"
        if age_s is not None and taints.is_forgotten(owner, age_s):
            message += f", for {_long(age_s)} already"
            hint = (
                f"{owner.name} needs minutes for this: check whether it still runs. Only if it is gone for "
                "good, whoever runs the cluster may take the taint off"
            )
        yield Finding("taint-of-controller", level, message, hint, allowed.look())


def _has_its_own_finding(node: NodeFacts, taint: Object) -> bool:
    """Whether a cordon, a pressure or an unready node says it already: one finding for one cause."""
    key = taint.get("key")
    return is_cordon(taint) or key in _OF_CONDITIONS or (key in _READINESS and not node.is_ready)


def is_condition(node: NodeFacts, taint: Object) -> bool:
    """Whether a taint only repeats what a condition or a cordon says."""
    return _has_its_own_finding(node, taint)


def _long(age_s: float) -> str:
    days = age_s / 86400
    return (
        f"{days:.0f} days"
        if days >= 2
        else f"{age_s / 3600:.0f} hours"
        if age_s >= 7200
        else f"{age_s / 60:.0f} minutes"
    )
