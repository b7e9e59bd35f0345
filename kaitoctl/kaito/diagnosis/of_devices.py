"""Rules about the devices that containers hold, as the kubelet tells of their health.

Source: Kubernetes v1.37.2 staging/src/k8s.io/api/core/v1/types.go (ContainerStatus.allocatedResourcesStatus,
ResourceStatus, ResourceHealth), KEP 4680; alpha, and off, from v1.31 to v1.35.
"""

from __future__ import annotations

from collections.abc import Iterator

from kaitoctl.advice import Command
from kaitoctl.kaito.diagnosis.case import Case, blame, title_of
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kube import pod_state
from kaitoctl.kube.objects import Object, as_maps, dig

_OF_DRA = "claim:"
_SHOWN = 4


def unhealthy_devices(case: Case) -> Iterator[Cause]:
    """Devices that a container holds, and that their plugin or driver calls unhealthy, or says nothing of.

    Unknown is what a plugin leaves that has ended: pods that run lose nothing by that. Of a DRA driver it
    says nothing: most have no service that tells health (kubernetes pkg/kubelet/cm/dra/manager.go).
    """
    for pod in case.pods:
        if pod_state.is_finished(pod):
            continue
        for item in pod_state.container_statuses(pod):
            for held in as_maps(item.get("allocatedResourcesStatus")):
                is_of_dra = str(held.get("name")).startswith(_OF_DRA)
                for health in ("Unhealthy",) if is_of_dra else ("Unhealthy", "Unknown"):
                    found = [one for one in as_maps(held.get("resources")) if one.get("health") == health]
                    if found:
                        yield _cause(case, pod, str(item.get("name")), str(held.get("name")), found)


def _cause(case: Case, pod: Object, container: str, resource: str, found: list[Object]) -> Cause:
    health, node = str(found[0]["health"]), str(dig(pod, "spec", "nodeName") or "")
    ids = ", ".join(str(one.get("resourceID")) for one in found[:_SHOWN])
    why = "; ".join(dict.fromkeys(str(one["message"]) for one in found if one.get("message")))
    whose = "DRA driver" if resource.startswith(_OF_DRA) else "device plugin"
    is_unknown = health == "Unknown"
    says = (
        f"nobody says whether {ids} ({resource}), which {container} holds, is well: its {whose} has ended"
        if is_unknown
        else f"{ids} ({resource}), which {container} holds, is unhealthy, as its {whose} says"
    )
    hint = (
        f"check the pod of the {whose} on that node; what runs goes on"
        if is_unknown
        else "check the node's kernel log and the vendor's tool there (NVIDIA: Xid, nvidia-smi); drain and "
        "reboot it, or replace it. A pod that is made again gets another device only where one is free"
    )
    return blame(
        "gpu-unhealthy",
        f"{title_of(pod)}, container {container}",
        f"{says}: {why}" if why else says,
        [(f"container {container}, {resource}", f"{one.get('resourceID')}: {health}") for one in found],
        hint=hint,
        command=Command("kubectl describe node", node),
        weight="note" if pod_state.is_ready(pod) else "wait" if is_unknown else "fault",
    )
