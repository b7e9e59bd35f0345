"""Conditions of nodes by which kubelets and problem detectors report trouble. Pure.

Each detector has types of its own, and they do not agree on what True means: most say a problem, those of
EKS that all is well. A type that is not in the table is read by its name.

Source: kubernetes `k8s.io/api/core/v1` (NodeConditionType); node-problem-detector 6632ca6 (2026-08),
`config/*.json`; learn.microsoft.com/azure/aks/node-problem-detector and aks/gpu-health-monitoring;
aws/eks-node-monitoring-agent 51af549 (2026-08), `pkg/conditions/conditions.go`; karpenter-provider-azure
`pkg/cloudprovider/cloudprovider.go` (RepairPolicies); docs.nebius.com/kubernetes/maintenance/health-checks;
k3s and RKE2 (EtcdIsVoter).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

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
        if kind in _HARMLESS or status not in ("True", "False"):
            continue
        reporter = BAD_WHEN_TRUE.get(kind) or BAD_WHEN_FALSE.get(kind) or ""
        says_by_false = kind in BAD_WHEN_FALSE or (not reporter and _GOOD_NAME.search(kind) is not None)
        if status == ("False" if says_by_false else "True"):
            yield kind, status, words, reporter
