"""The one-word reasons by which Kubernetes says what is wrong with a pod, and the cause that each leads to.

Data: a rule looks a reason up by the place it stands at. What is not in a table is shown with its own message
(`kubernetes-says`). Paths are those of Kubernetes v1.37.2; reasons of older releases say which.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Literal

Place = Literal[
    "waiting", "terminated", "pod", "event", "workload-event", "node-event", "scheduled", "disruption"
]
"""Where a reason stands: `state.waiting` or `state.terminated` of a container, `status` of a pod, an event
about a pod, a workload or a node, the pod's condition PodScheduled, or its condition DisruptionTarget."""

_Table = Mapping[str, str]

NORMAL = ""
"""The code of what is no trouble by itself."""

_IMAGES = "pkg/kubelet/images/types.go"
_RUNTIME = "pkg/kubelet/kuberuntime/kuberuntime_container.go"
_SYNC = "pkg/kubelet/container/sync_result.go"
_EVENTS = "pkg/kubelet/events/event.go"
_PREDICATE = "pkg/kubelet/lifecycle/predicate.go"
_CONTROLLERS = "pkg/controller/controller_utils.go"

_SOURCES: Mapping[Place, Mapping[str, _Table]] = {
    "waiting": {
        _IMAGES: {
            "ImagePullBackOff": "image-pull-failed",
            "ErrImagePull": "image-pull-failed",
            "ErrImageNeverPull": "image-pull-failed",
            "ImageInspectError": "image-pull-failed",
            "InvalidImageName": "image-name-invalid",
        },
        "staging/src/k8s.io/cri-api/pkg/errors/errors.go": {
            "RegistryUnavailable": "registry-unreachable",
            "SignatureValidationFailed": "image-pull-failed",
        },
        _RUNTIME: {
            "CreateContainerConfigError": "container-cannot-start",
            "PreCreateHookError": "container-cannot-start",
            "CreateContainerError": "container-cannot-start",
            "PreStartHookError": "container-cannot-start",
            "PostStartHookError": "container-cannot-start",
        },
        _SYNC: {
            "CrashLoopBackOff": "crash-loop",
            "RunContainerError": "container-cannot-start",
            "KillContainerError": "container-cannot-start",
            "RemoveContainerError": "container-cannot-start",
            "ResizePodInPlaceError": "container-cannot-start",
            "CreatePodSandboxError": "pod-sandbox-failed",
            "ConfigPodSandboxError": "pod-sandbox-failed",
            "KillPodSandboxError": "pod-sandbox-failed",
        },
        "pkg/kubelet/dockershim, up to v1.23": {
            "StartError": "container-cannot-start",
            "ContainerCannotRun": "container-cannot-start",
        },
        "pkg/kubelet/kubelet_pods.go": {"ContainerCreating": NORMAL, "PodInitializing": NORMAL},
    },
    "terminated": {
        "containerd internal/cri/server (v2.1); ContainerCannotRun of dockershim, up to v1.23": {
            "StartError": "container-cannot-start",
            "ContainerCannotRun": "container-cannot-start",
            "OOMKilled": "out-of-memory",
            "Error": "crash-loop",
            "Completed": NORMAL,
            "Unknown": "container-killed",
        },
        "pkg/kubelet/container/runtime.go": {"ContainerStatusUnknown": "container-killed"},
    },
    "pod": {
        _PREDICATE: {
            "PodOSSelectorNodeLabelDoesNotMatch": "pod-rejected",
            "PodOSNotSupported": "pod-rejected",
            "InvalidNodeInfo": "pod-rejected",
            "InitContainerRestartPolicyForbidden": "pod-rejected",
            "SupplementalGroupsPolicyNotSupported": "pod-rejected",
            "UnexpectedAdmissionError": "pod-rejected",
            "UnknownReason": "pod-rejected",
            "UnexpectedPredicateFailureType": "pod-rejected",
            "OutOfcpu": "pod-rejected",
            "OutOfmemory": "pod-rejected",
            "OutOfephemeral-storage": "pod-rejected",
            "OutOfpods": "pod-rejected",
        },
        "pkg/kubelet/lifecycle/predicate.go, by names of pkg/scheduler/framework/plugins/names": {
            "NodeAffinity": "pod-rejected",
            "NodeName": "pod-rejected",
            "NodePorts": "pod-rejected",
            "TaintToleration": "pod-rejected",
            "NodeUnschedulable": "pod-rejected",
            "MatchNodeSelector": "pod-rejected",  # up to v1.19
            "HostName": "pod-rejected",  # the same
            "PodFitsHostPorts": "pod-rejected",  # the same
        },
        "pkg/kubelet/lifecycle/handlers.go": {
            "AppArmor": "pod-rejected",
            "PodLevelResourcesNotSupported": "pod-rejected",
        },
        "pkg/kubelet/sysctl/allowlist.go": {"SysctlForbidden": "pod-rejected"},
        "pkg/kubelet/cm/topologymanager/topology_manager.go": {"TopologyAffinityError": "pod-rejected"},
        "pkg/kubelet/cm/cpumanager/policy_static.go": {"SMTAlignmentError": "pod-rejected"},
        "pkg/kubelet/cm/admission/errors.go": {"EmptyPodSharedPoolError": "pod-rejected"},
        "pkg/kubelet/volumemanager/volume_manager.go": {"VolumeAttachmentLimitExceeded": "pod-rejected"},
        "pkg/kubelet/nodeshutdown/nodeshutdown_manager.go; Shutdown up to v1.21": {
            "NodeShutdown": "pod-rejected",
            "Terminated": "pod-ended",
            "Shutdown": "pod-ended",
        },
        "pkg/kubelet/eviction/helpers.go": {"Evicted": "pod-evicted"},
        "pkg/kubelet/preemption/preemption.go": {"Preempting": "pod-ended"},
        "pkg/kubelet/active_deadline.go": {"DeadlineExceeded": "pod-ended"},
        "pkg/util/node/node.go": {"NodeLost": "node-lost"},
    },
    "event": {
        _EVENTS: {
            "Created": NORMAL,
            "Started": NORMAL,
            "Pulling": NORMAL,
            "Pulled": NORMAL,
            "SuccessfulAttachVolume": NORMAL,
            "SuccessfulMountVolume": NORMAL,
            "VolumeResizeSuccessful": NORMAL,
            "FileSystemResizeSuccessful": NORMAL,
            "SandboxChanged": NORMAL,  # of_unknown counts how often
            "ResizeStarted": NORMAL,
            "ResizeCompleted": NORMAL,
            "ProbeWarning": NORMAL,
            "CgroupV1": NORMAL,
            "VolumePermissionChangeInProgress": "kubernetes-says",
            "AlreadyMountedVolume": NORMAL,
            "PossibleMemoryBackedVolumesOnDisk": NORMAL,
            "Killing": NORMAL,  # says why a container ended; the container is what is looked at
            "Unhealthy": NORMAL,  # the same
            "BackOff": NORMAL,  # the same
            "Failed": NORMAL,  # the same: that of a pull or a start stands at the container
            "InspectFailed": "image-pull-failed",
            "ErrImageNeverPull": "image-pull-failed",
            "FailedAttachVolume": "volume-unavailable",
            "FailedMount": "volume-unavailable",
            "FailedMapVolume": "volume-unavailable",
            "FailedMountOnFilesystemMismatch": "volume-unavailable",
            "VolumeResizeFailed": "volume-unavailable",
            "FileSystemResizeFailed": "volume-unavailable",
            "FailedCreatePodSandBox": "pod-sandbox-failed",
            "FailedPodSandBoxStatus": "pod-sandbox-failed",
            "FailedCreatePodContainer": "pod-sandbox-failed",
            "NetworkNotReady": "pod-sandbox-failed",
            "FailedPrepareDynamicResources": "pod-sandbox-failed",
            "FailedPostStartHook": "kubernetes-says",
            "FailedPreStopHook": "kubernetes-says",
            "FailedKillPod": "kubernetes-says",
            "ExceededGracePeriod": "kubernetes-says",
            "FailedSync": "kubernetes-says",
            "FailedValidation": "kubernetes-says",
            "FailedNodeDeclaredFeaturesCheck": "kubernetes-says",
            "InvalidImageID": "kubernetes-says",
            "ResizeDeferred": "kubernetes-says",
            "ResizeInfeasible": "kubernetes-says",
            "ResizeError": "kubernetes-says",
            "Preempting": "pod-thrown-out",
        },
        "pkg/kubelet/kubelet.go": {"FailedToRetrieveImagePullSecret": NORMAL},
        # Warnings about what goes on all the same.
        "pkg/kubelet/network/dns/dns.go": {"DNSConfigForming": NORMAL, "MissingClusterDNS": NORMAL},
        "pkg/kubelet/lifecycle/handlers.go": {"LifecycleHTTPFallback": NORMAL},
        "pkg/controller/volume/selinuxwarning": {"MultipleSELinuxLabels": NORMAL},
        "kyverno pkg/event/reason.go (1629081), policies that only audit": {"PolicyViolation": NORMAL},
        "pkg/controller/resourceclaim/controller.go": {"FailedResourceClaimCreation": "kubernetes-says"},
        "pkg/controller/devicetainteviction/device_taint_eviction.go": {
            "DeviceTaintManagerEviction": "pod-thrown-out"
        },
        "pkg/kubelet/eviction/helpers.go": {"Evicted": "pod-thrown-out"},
        "pkg/controller/tainteviction/taint_eviction.go": {"TaintManagerEviction": "pod-thrown-out"},
        "pkg/scheduler/framework/preemption/executor.go": {"Preempted": "pod-thrown-out"},
        "pkg/scheduler/schedule_one.go": {"FailedScheduling": NORMAL, "Scheduled": NORMAL},
        "pkg/controller/util/node/controller_utils.go": {"NodeNotReady": NORMAL},
        # Read with what the scheduler says.
        "cluster-autoscaler 1.34 processors/status/eventing_scale_up_processor.go": {
            "NotTriggerScaleUp": NORMAL,
            "TriggeredScaleUp": NORMAL,
        },
        "GKE, for node groups whose last node was refused": {"FailedScaleUp": NORMAL},
        "pkg/controller/volume/events/event.go": {
            "FailedBinding": "volume-unavailable",
            "ProvisioningFailed": "volume-unavailable",
            "WaitForPodScheduled": NORMAL,
        },
    },
    "workload-event": {
        _CONTROLLERS: {
            "FailedCreate": "pods-refused",
            "SuccessfulCreate": NORMAL,
            "SuccessfulDelete": NORMAL,
            "FailedDelete": "kubernetes-says",
        },
        "pkg/controller/deployment/util/deployment_util.go": {
            "ScalingReplicaSet": NORMAL,
            "ReplicaSetCreateError": "pods-refused",
        },
        "pkg/controller/deployment/deployment_controller.go": {"SelectingAll": "kubernetes-says"},
        "pkg/controller/statefulset": {
            "FailedUpdate": "kubernetes-says",
            "SuccessfulUpdate": NORMAL,
            "RecreatingFailedPod": NORMAL,
            "RecreatingTerminatedPod": NORMAL,
            "ConflictingController": "kubernetes-says",
            "UnknownStrategy": "kubernetes-says",
        },
        "pkg/controller/job/job_controller.go": {
            "Suspended": NORMAL,
            "Resumed": NORMAL,
            "Completed": NORMAL,
            "BackoffLimitExceeded": NORMAL,  # a failed Job is a cause of its own
            "DeadlineExceeded": NORMAL,
            "PodFailurePolicy": NORMAL,
            "FailedIndexes": NORMAL,
            "MaxFailedIndexesExceeded": NORMAL,
            "TooManySucceededPods": "kubernetes-says",
            "UnknownCompletionMode": "kubernetes-says",
        },
    },
    "node-event": {
        "pkg/kubelet/oom/oom_watcher_linux.go": {"SystemOOM": "out-of-memory"},
        _EVENTS: {
            "Rebooted": "container-killed",
            "Shutdown": "container-killed",
            "KubeletSetupFailed": "node-problem",
            "FailedNodeAllocatableEnforcement": "node-problem",
            "ContainerGCFailed": "node-problem",
            "FreeDiskSpaceFailed": "disk-full",
            "ImageGCFailed": NORMAL,  # also when a kubelet has just begun; FreeDiskSpaceFailed is certain
            "InvalidDiskCapacity": NORMAL,  # the same
            "Starting": NORMAL,
            "NodeAllocatableEnforced": NORMAL,
            # The node's conditions say so, for as long as it is so.
            "NodeReady": NORMAL,
            "NodeNotReady": NORMAL,
            "NodeSchedulable": NORMAL,
            "NodeNotSchedulable": NORMAL,
            "NodeHasDiskPressure": NORMAL,
            "NodeHasInsufficientMemory": NORMAL,
            "NodeHasInsufficientPID": NORMAL,
            "EvictionThresholdMet": NORMAL,
        },
        "node-problem-detector config/kernel-monitor.json, kernel-monitor-filelog.json": {
            "OOMKilling": "out-of-memory",
            "PodOOMKilling": "out-of-memory",
            "TaskHung": "node-problem",
            "DockerHung": "node-problem",
            "KernelOops": "node-problem",
            "Ext4Error": "node-problem",
            "IOError": "node-problem",
            "FilesystemIsReadOnly": "node-problem",
            "XfsHasShutdown": "node-problem",
            "CperHardwareErrorFatal": "node-problem",
            "UnregisterNetDevice": NORMAL,
            "Ext4Warning": NORMAL,
            "MemoryReadError": NORMAL,  # corrected by the hardware
        },
        "node-problem-detector config/docker-monitor.json, systemd-monitor.json": {
            "CorruptDockerImage": "node-problem",
            "CorruptDockerOverlay2": "node-problem",
            "KubeletStart": "container-killed",
            "DockerStart": "container-killed",
            "ContainerdStart": "container-killed",
        },
        "learn.microsoft.com/azure/aks/node-problem-detector": {
            "PreemptScheduled": "node-lost",
            "TerminateScheduled": "node-lost",
            "RedeployScheduled": "node-lost",
            "RebootScheduled": "container-killed",
            "FreezeScheduled": NORMAL,  # for seconds
            "VMEventScheduled": NORMAL,  # one of the others says which
            "GPUMissing": "node-problem",
            "XIDErrors": "node-problem",
            "NVLinkStatusInactive": "node-problem",
            "FilesystemCorruptionDetected": "node-problem",
            "KubeletIsDown": "node-problem",
            "ContainerRuntimeIsDown": "node-problem",
        },
        "aws/eks-node-monitoring-agent 51af549 docs/node-health-issues.adoc": {
            "DCGMDiagnosticFailure": "node-problem",
            "FabricManagerNotRunning": "node-problem",
            "NvidiaDeviceCountMismatch": "node-problem",
            "NvidiaDoubleBitError": "node-problem",
            "NvidiaFabricError": "node-problem",
            "NvidiaNVLinkError": "node-problem",
            "NvidiaPageRetirement": "node-problem",
            "ForkFailedOutOfPIDs": "node-problem",
            "KernelBug": "node-problem",
            "BlockDeviceIOError": "node-problem",
            "NvidiaPCIeError": NORMAL,  # sent again
            "NvidiaPowerError": NORMAL,
            "NvidiaThermalError": NORMAL,
            "AppBlocked": NORMAL,
            "SoftLockup": NORMAL,
        },
        "karpenter pkg/controllers, karpenter-provider-aws pkg/controllers/interruption/events": {
            "SpotInterrupted": "node-lost",
            "InstanceTerminating": "node-lost",
            "InstanceStopping": "node-lost",
            "TerminatingOnInterruption": "node-lost",
            "DisruptionTerminating": "node-lost",
            "SpotRebalanceRecommendation": NORMAL,
            # What Karpenter considers, and what keeps it from it; the node stays.
            "DisruptionBlocked": NORMAL,
            "DisruptionLaunching": NORMAL,
            "DisruptionWaitingReadiness": NORMAL,
            "Unconsolidatable": NORMAL,
            "ConsolidationCandidate": NORMAL,
            "ConsolidationRejected": NORMAL,
            "NodeRepairBlocked": NORMAL,
        },
        "pkg/controller/nodelifecycle, k8s.io/cloud-provider/controllers/nodelifecycle": {
            "RegisteredNode": NORMAL,
            "RemovingNode": "node-lost",
            "DeletingNode": "node-lost",
        },
        "cluster-autoscaler 1.34 core/scaledown/actuation": {
            "ScaleDown": "node-lost",
            "ScaleDownEmpty": "node-lost",
        },
    },
    "scheduled": {
        "staging/src/k8s.io/api/core/v1/types.go": {
            "Unschedulable": "unschedulable",
            "SchedulerError": "unschedulable",
            "SchedulingGated": "scheduling-gated",
        },
    },
    "disruption": {
        "staging/src/k8s.io/api/core/v1/types.go": {
            "TerminationByKubelet": "pod-thrown-out",
            "PreemptionByScheduler": "pod-thrown-out",
        },
        "pkg/controller/tainteviction/taint_eviction.go": {"DeletionByTaintManager": "pod-thrown-out"},
        "pkg/controller/devicetainteviction/device_taint_eviction.go": {
            "DeletionByDeviceTaintManager": "pod-thrown-out"
        },
        "pkg/controller/podgc/gc_controller.go": {"DeletionByPodGC": "pod-thrown-out"},
        "pkg/registry/core/pod/storage/eviction.go": {"EvictionByEvictionAPI": "pod-thrown-out"},
    },
}

_BY_PLACE: Mapping[Place, _Table] = {
    place: {reason: code for table in tables.values() for reason, code in table.items()}
    for place, tables in _SOURCES.items()
}
# With its number within. Source: aws/eks-node-monitoring-agent 51af549 docs/node-health-issues.adoc.
_XID = re.compile(r"NvidiaXID\d{1,5}Error")
_OUT_OF = "OutOf"  # of any resource: OutOfnvidia.com/gpu. Source: _PREDICATE, InsufficientResourcePrefix


def code_of(place: Place, reason: str) -> str | None:
    """The cause that a reason leads to, `NORMAL` for one that is no trouble; None when nobody knows it."""
    if place == "pod" and reason.startswith(_OUT_OF):
        return "pod-rejected"
    if place == "node-event" and _XID.fullmatch(reason):
        return "node-problem"
    return _BY_PLACE[place].get(reason)


def reasons() -> Iterator[tuple[Place, str, str, str]]:
    """All that are known: where each stands, its word, the cause it leads to, and its source."""
    for place, tables in _SOURCES.items():
        for source, table in tables.items():
            for reason, code in table.items():
                yield place, reason, code, source
