"""What comes before a pod's containers: its volumes, devices, sandbox and network. Pure."""

from __future__ import annotations

from kaitoctl.kaito.snapshot import Snapshot
from kaitoctl.kube import conditions, pod_state
from kaitoctl.kube.objects import Object, dig

# What a kubelet does before the first container: volumes, devices, the sandbox and its network.
# Source: Kubernetes v1.37.2 pkg/kubelet/events/event.go, container/sync_result.go.
UNPREPARED = frozenset(
    {"FailedAttachVolume", "FailedMount", "FailedMapVolume", "FailedMountOnFilesystemMismatch"}
    | {"FailedCreatePodSandBox", "FailedPodSandBoxStatus", "FailedCreatePodContainer", "NetworkNotReady"}
    | {"FailedPrepareDynamicResources"}
)
_PREPARED = frozenset({"Pulling", "Pulled", "Created", "Started", "BackOff"})
_SANDBOX = ("CreatePodSandboxError", "ConfigPodSandboxError", "KillPodSandboxError")


def is_unprepared(seen: Snapshot, pod: Object) -> bool:
    """Whether a pod's volumes, or its sandbox and network, are not there yet: nothing is pulled before."""
    states = [item.get("state") or {} for item in pod_state.container_statuses(pod)]
    if any(map(has_begun, pod_state.container_statuses(pod))) or pod_state.is_finished(pod):
        return False
    if any(dig(state, "waiting", "reason") in _SANDBOX for state in states):
        return True
    ready = conditions.find(pod, "PodReadyToStartContainers")
    if ready is not None:  # from Kubernetes v1.29 on
        return ready.get("status") == "False"
    return unprepared_event(seen, pod) is not None


def unprepared_event(seen: Snapshot, pod: Object) -> Object | None:
    """The newest failure of what comes before the containers; None once one of them has been begun with."""
    newest = next((one for one in seen.events_of(pod) if one.get("reason") in UNPREPARED | _PREPARED), None)
    return newest if newest is not None and newest["reason"] in UNPREPARED else None


def has_begun(item: Object) -> bool:
    """Whether the container has run, be it that it has ended since: then its image is there."""
    states = [
        dig(item, state, kind) for state in ("state", "lastState") for kind in ("running", "terminated")
    ]
    return any(state is not None for state in states) or bool(item.get("restartCount"))
