"""A pod that waits since its volumes are elsewhere: which volume, where it is, and where the nodes are."""

from __future__ import annotations

from typing import Any

import pytest
from builders import node
from msgspec.structs import replace
from trouble import World

from kaitoctl.advice import text
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kaito.node_check import verdict
from kaitoctl.kube.objects import Object

ZONE = "topology.kubernetes.io/zone"
CONFLICT = "0/3 nodes are available: 3 node(s) had volume node affinity conflict."
NEWER = "0/3 nodes are available: 3 node(s) didn't match PersistentVolume's node affinity."
UNBOUND = "0/3 nodes are available: 3 node(s) didn't find available persistent volumes to bind."
FULL = "0/3 nodes are available: 1 Insufficient nvidia.com/gpu, 2 node(s) exceed max volume count."


def gpu_node(name: str, zone: str = "", **labels: str) -> Object:
    made = node(name)
    made["kind"] = "Node"
    made["metadata"]["labels"] |= {"kubernetes.io/hostname": name, **({ZONE: zone} if zone else {}), **labels}
    return made


def volume(key: str, *values: str, claim: str = "weights", namespace: str = "default") -> Object:
    term = {"matchExpressions": [{"key": key, "operator": "In", "values": list(values)}]}
    return {
        "kind": "PersistentVolume",
        "metadata": {"name": "pv-7"},
        "spec": {
            "claimRef": {"namespace": namespace, "name": claim},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
        },
    }


def waits(words: str, nodes: list[Object], *stored: Object, judged: bool = True, **more: Any) -> Cause:
    world = World("scheduling-gated")
    pod = world["Pod"]
    del pod["spec"]["schedulingGates"]
    pod["spec"]["volumes"] = [{"name": "w", "persistentVolumeClaim": {"claimName": "weights"}}]
    pod["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}
    ]
    if judged:
        workspace = world["Workspace"]
        found = verdict(workspace, nodes, [])
        more["verdict"] = replace(found, nodes=tuple(replace(one, findings=()) for one in found.nodes))
    return world.cause(storage=(*stored, *nodes), **more)


ELSEWHERE = [gpu_node("gpu-a", "west-2"), gpu_node("gpu-b", "west-3")]


@pytest.mark.parametrize(
    "words", [CONFLICT, NEWER, "0/3 nodes are available: 3 had no available volume zone."]
)
@pytest.mark.parametrize(
    "key",
    [
        ZONE,
        "failure-domain.beta.kubernetes.io/zone",
        "topology.disk.csi.azure.com/zone",
        "topology.ebs.csi.aws.com/zone",
        "topology.gke.io/zone",
    ],
)
def test_a_volume_in_another_zone_is_named_with_its_zone_and_that_of_the_nodes(words: str, key: str) -> None:
    cause = waits(words, ELSEWHERE, volume(key, "west-1"))
    assert cause.code == "volume-not-here"
    assert cause.message == (
        "volume pv-7 of claim weights can be attached in zone west-1 alone, and the nodes with GPUs are in "
        "west-2, west-3"
    )
    assert "take a node with GPUs in zone west-1, or copy" in cause.hint
    assert text(cause.command) == "kubectl describe pv pv-7"
    assert cause.evidence[0] == ("condition PodScheduled", words)
    assert ("Node gpu-a", f"{ZONE}=west-2") in cause.evidence


def test_one_zone_of_several_will_do_and_one_node_is_one() -> None:
    cause = waits(CONFLICT, ELSEWHERE[:1], volume(ZONE, "west-1", "west-9"))
    assert "in zone west-1 or west-9 alone, and the node with GPUs is in west-2" in cause.message


def test_nodes_that_nobody_could_look_at_are_not_said_to_be_elsewhere() -> None:
    cause = waits(CONFLICT, [], volume(ZONE, "west-1"), judged=False)
    assert cause.message == "volume pv-7 of claim weights can be attached in zone west-1 alone"
    none = waits(CONFLICT, [], volume(ZONE, "west-1"))
    assert none.message.endswith("in zone west-1 alone, and no node with GPUs is there")


def test_a_node_in_the_zone_that_is_full_is_named() -> None:
    cause = waits(CONFLICT, [*ELSEWHERE, gpu_node("gpu-c", "west-1")], volume(ZONE, "west-1"))
    assert "of the nodes with GPUs, gpu-c is there, and cannot take the pod now" in cause.message
    assert text(cause.command) == "kaitoctl check-nodes falcon -n default"


@pytest.mark.parametrize("key", ["kubernetes.io/hostname", "topology.topolvm.io/node", "openebs.io/nodename"])
@pytest.mark.parametrize("words", [CONFLICT, "PersistentVolume(s) bound to non-existent Node(s)"])
def test_a_disk_of_a_node_that_is_gone_is_lost(key: str, words: str) -> None:
    cause = waits(words, ELSEWHERE, volume(key, "nvme-1"), gone=frozenset({"nvme-1"}))
    assert cause.code == "volume-lost"
    assert cause.message == (
        "volume pv-7 of claim weights is on the disk of node nvme-1, which does not exist any more"
    )
    assert cause.hint.startswith("bring the node back")  # type: ignore[union-attr]
    assert ("cluster", "there is no Node nvme-1") in cause.evidence


def test_a_disk_of_a_node_that_is_there_keeps_its_pod_there() -> None:
    cause = waits(CONFLICT, ELSEWHERE, volume("kubernetes.io/hostname", "nvme-1"))
    assert cause.code == "volume-not-here"
    assert "on node nvme-1 alone, and the nodes with GPUs are in west-2, west-3" in cause.message
    assert cause.hint == "copy what is on it to another volume"


@pytest.mark.parametrize("other", [{"claim": "of-another-pod"}, {"namespace": "elsewhere"}])
def test_a_volume_of_another_pod_explains_nothing(other: dict[str, str]) -> None:
    assert waits(CONFLICT, ELSEWHERE, volume(ZONE, "west-1", **other)).message == CONFLICT


CLAIM: Object = {
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "weights", "namespace": "default"},
    "spec": {"storageClassName": "zonal"},
    "status": {"phase": "Pending"},
}


def storage_class(*zones: str, name: str = "zonal") -> Object:
    topologies = [{"matchLabelExpressions": [{"key": ZONE, "values": list(zones)}]}] if zones else []
    return {"kind": "StorageClass", "metadata": {"name": name}, "allowedTopologies": topologies}


def test_a_class_that_makes_volumes_elsewhere_alone_is_named() -> None:
    cause = waits(UNBOUND, ELSEWHERE, storage_class("west-1"), unbound=(CLAIM,))
    assert cause.code == "volume-not-here"
    assert cause.message == (
        "StorageClass zonal of claim weights makes volumes in zone west-1 alone, and the nodes with GPUs are "
        "in west-2, west-3"
    )
    assert "allowedTopologies" in cause.hint
    assert text(cause.command) == "kubectl get storageclass zonal -o yaml"
    for harmless in (storage_class(), storage_class("west-2"), storage_class("west-1", name="other")):
        assert waits(UNBOUND, ELSEWHERE, harmless, unbound=(CLAIM,)).message == UNBOUND


def csi_node(name: str, limit: int | None) -> Object:
    driver = {
        "name": "disk.csi.azure.com",
        **({"allocatable": {"count": limit}} if limit is not None else {}),
    }
    return {"kind": "CSINode", "metadata": {"name": name}, "spec": {"drivers": [driver]}}


def attachments(name: str, count: int) -> list[Object]:
    spec = {"nodeName": name, "attacher": "disk.csi.azure.com"}
    return [
        {"kind": "VolumeAttachment", "metadata": {"name": f"{name}-{n}"}, "spec": spec} for n in range(count)
    ]


def test_a_node_that_can_have_no_more_disks_is_named_with_its_limit() -> None:
    stored = [csi_node("gpu-a", 4), csi_node("gpu-b", 8), *attachments("gpu-a", 4), *attachments("gpu-b", 2)]
    cause = waits(FULL, ELSEWHERE, *stored)
    assert cause.code == "volume-not-here"
    assert cause.message == "node gpu-a has 4 of the 4 volumes of disk.csi.azure.com that it can have"
    assert ("CSINode gpu-a", "disk.csi.azure.com: 4 of 4 attached") in cause.evidence
    assert text(cause.command) == "kubectl get volumeattachments"
    both = waits(FULL, ELSEWHERE, *stored, *attachments("gpu-b", 6))
    assert both.message.endswith(", and 1 more is full, too")
    for unknown in ([csi_node("gpu-a", None)], [csi_node("gpu-a", 5), *attachments("gpu-a", 4)]):
        assert waits(FULL, ELSEWHERE, *unknown).message == FULL
