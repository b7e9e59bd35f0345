"""A pod that waits since its volumes are elsewhere: which volume, where it is, and where the nodes are."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from builders import node
from trouble import World

from kaitoctl.advice import text
from kaitoctl.kaito.diagnosis.cause import Cause
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


def cpu_node(name: str, zone: str = "", **labels: str) -> Object:
    made = gpu_node(name, zone, **labels)
    made["status"]["capacity"] = {"cpu": "8", "nvidia.com/gpu": "0"}
    return made


def volume(
    key: str, *values: str, claim: str = "weights", namespace: str = "default", name: str = "pv-7"
) -> Object:
    term = {"matchExpressions": [{"key": key, "operator": "In", "values": list(values)}]}
    return {
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "claimRef": {"namespace": namespace, "name": claim},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
        },
    }


def waits(words: str, nodes: list[Object] | None, *stored: Object, **more: Any) -> Cause:
    """What is said of a pod with three claims; `nodes` are all of the cluster, None where nobody may list."""
    world = World("scheduling-gated")
    pod = world["Pod"]
    del pod["spec"]["schedulingGates"]
    pod["spec"]["volumes"] = [
        {"name": name, "persistentVolumeClaim": {"claimName": name}}
        for name in ("weights", "adapters", "cache")
    ]
    pod["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}
    ]
    all_nodes = None if nodes is None else tuple(nodes)
    return world.cause(storage=stored, all_nodes=all_nodes, **more)


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


@pytest.mark.parametrize("key", [ZONE, "kubernetes.io/hostname", "topology.topolvm.io/node"])
def test_of_nodes_that_nobody_may_list_nothing_is_said(key: str) -> None:
    cause = waits(CONFLICT, None, volume(key, "west-1"), gone=frozenset({"west-1"}))
    assert cause.code == "volume-not-here"
    assert cause.message in (
        f"volume pv-7 of claim weights can be attached {where} west-1 alone"
        for where in ("in zone", "on node")
    )
    assert cause.hint == "nodes could not be listed: compare that with the labels of those with GPUs"
    both = waits(CONFLICT, None, volume(key, "west-1"), volume(ZONE, "x", claim="adapters", name="pv-8"))
    assert both.message.endswith(
        "west-1 alone, and volume pv-8 of claim adapters can be attached in zone x alone"
    )
    assert waits(UNBOUND, None, storage_class("west-1"), unbound=(CLAIM,)).message == UNBOUND


def test_where_no_node_has_gpus_that_is_said() -> None:
    for nodes in ([], [cpu_node("cpu-1", "west-1")]):
        none = waits(CONFLICT, nodes, volume(ZONE, "west-1"))
        assert none.message.endswith("in zone west-1 alone, and no node with GPUs is there")
        assert waits(UNBOUND, nodes, storage_class("west-1"), unbound=(CLAIM,)).message == UNBOUND


def test_a_node_in_the_zone_that_is_full_is_named() -> None:
    cause = waits(CONFLICT, [*ELSEWHERE, gpu_node("gpu-c", "west-1")], volume(ZONE, "west-1"))
    assert "of the nodes with GPUs, gpu-c is there, and cannot take the pod now" in cause.message
    assert text(cause.command) == "kaitoctl check-nodes falcon -n default"


DISKS = ["kubernetes.io/hostname", "topology.topolvm.io/node", "openebs.io/nodename"]


@pytest.mark.parametrize("key", DISKS)
@pytest.mark.parametrize("words", [CONFLICT, "PersistentVolume(s) bound to non-existent Node(s)"])
def test_a_disk_of_a_node_that_is_gone_is_lost(key: str, words: str) -> None:
    cause = waits(words, ELSEWHERE, volume(key, "nvme-1"))
    assert cause.code == "volume-lost"
    assert cause.message == (
        "volume pv-7 of claim weights is on the disk of node nvme-1, which does not exist any more"
    )
    assert cause.hint.startswith("bring the node back")  # type: ignore[union-attr]
    assert "ask whose they are before you delete the claim" in str(cause.hint)
    assert ("cluster", f"no Node has {key}=nvme-1") in cause.evidence


@pytest.mark.parametrize("key", DISKS)
@pytest.mark.parametrize(
    "home",
    [
        cpu_node("nvme-1"),
        cpu_node("nvme-1.internal", **{"kubernetes.io/hostname": "nvme-1"}),
        cpu_node("nvme-1", **{"kubernetes.io/hostname": "ip-10-0-0-1"}),
    ],
    ids=["same", "hostname-is-shorter", "hostname-differs"],
)
def test_a_disk_of_a_node_that_is_there_is_not_lost_whatever_the_node_is_called(
    key: str, home: Object
) -> None:
    cause = waits(CONFLICT, [*ELSEWHERE, home], volume(key, "nvme-1"), gone=frozenset({"nvme-1"}))
    assert cause.code == "volume-not-here"
    assert "on node nvme-1 alone, and the nodes with GPUs are in west-2, west-3" in cause.message
    assert cause.hint == "copy what is on it to another volume"


IDS = ["5b2f0c1e-8d3a-4c7e-9f10-2a6b7c8d9e0f", "i-0abc1234def567890", "9f86d081884c7d659a2feaa0c55ad015"]


@pytest.mark.parametrize(
    "key", ["csi.example.com/node", "openebs.io/nodename", "storage.example.com/node-id"]
)
@pytest.mark.parametrize("value", [*IDS, "rack-7"])
def test_an_id_of_a_driver_that_no_node_has_is_no_proof_that_a_node_is_gone(key: str, value: str) -> None:
    others = [] if value in IDS else [cpu_node("cpu-1", **{key: "rack-9"})]
    cause = waits(CONFLICT, [*ELSEWHERE, *others], volume(key, value))
    assert cause.code == "volume-not-here"
    assert "either the node is gone, or the storage driver" in cause.message
    assert text(cause.command) == f"kubectl get nodes -L {key}"
    assert "ask whose they are before you delete the claim" in str(cause.hint)


def test_a_node_by_the_label_of_a_driver_alone_is_found() -> None:
    home = cpu_node("ip-10-0-0-1", **{"topology.topolvm.io/node": "nvme-1"})
    assert waits(CONFLICT, [home], volume("topology.topolvm.io/node", "nvme-1")).code == "volume-not-here"


def test_a_volume_that_has_another_place_is_not_lost_with_a_node() -> None:
    stored = volume("kubernetes.io/hostname", "nvme-1")
    zone = {"matchExpressions": [{"key": ZONE, "operator": "In", "values": ["west-1"]}]}
    stored["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"].append(zone)
    assert waits(CONFLICT, ELSEWHERE, stored).code == "volume-not-here"


# --- several volumes -------------------------------------------------------------------------------------

NEAR = volume(ZONE, "west-2")
FAR = volume(ZONE, "west-9", claim="adapters", name="pv-8")
LOST = volume("kubernetes.io/hostname", "nvme-1", claim="cache", name="pv-9")


@pytest.mark.parametrize("stored", list(permutations([NEAR, FAR])))
def test_of_several_volumes_the_one_that_no_node_can_have_is_named(stored: list[Object]) -> None:
    cause = waits(CONFLICT, ELSEWHERE, *stored)
    assert cause.message.startswith("volume pv-8 of claim adapters can be attached in zone west-9 alone, and")


@pytest.mark.parametrize("stored", list(permutations([NEAR, FAR, LOST])))
def test_of_several_volumes_the_one_that_is_lost_comes_first(stored: list[Object]) -> None:
    cause = waits(CONFLICT, ELSEWHERE, *stored)
    assert (cause.code, "volume pv-9 of claim cache" in cause.message) == ("volume-lost", True)


def test_volumes_that_exclude_each_other_are_named_together() -> None:
    third = volume(ZONE, "west-2", "west-3", claim="cache", name="pv-9")
    other = volume("topology.gke.io/zone", "c", claim="adapters", name="pv-8")
    nodes = [ELSEWHERE[0], gpu_node("gpu-b", "west-3", **{"topology.gke.io/zone": "c"})]
    for stored in permutations([NEAR, other, third]):
        cause = waits(CONFLICT, nodes, *stored)
        assert "volume pv-7 of claim weights can be attached in zone west-2 alone" in cause.message
        assert "volume pv-8 of claim adapters can be attached in zone c alone" in cause.message
        assert "pv-9" not in cause.message
        assert cause.message.endswith(": no node with GPUs can have both")
        assert cause.hint.startswith("copy what is on one of them")  # type: ignore[union-attr]


def test_volumes_of_which_only_all_exclude_each_other_are_named_together() -> None:
    nodes = [gpu_node(f"gpu-{zone}", zone) for zone in "abc"]
    stored = [
        volume(ZONE, *zones, claim=claim, name=f"pv-{claim}")
        for zones, claim in (("ab", "weights"), ("bc", "adapters"), ("ac", "cache"))
    ]
    cause = waits(CONFLICT, nodes, *stored)
    assert cause.message.endswith(": no node with GPUs can have all of them")
    assert all(f"volume pv-{claim} " in cause.message for claim in ("weights", "adapters", "cache"))


def test_a_class_that_makes_volumes_where_another_volume_is_not_is_named_with_it() -> None:
    other = volume(ZONE, "west-3", claim="adapters", name="pv-8")
    cause = waits(CONFLICT, ELSEWHERE, other, storage_class("west-2"), unbound=(CLAIM,))
    assert "StorageClass zonal of claim weights makes volumes in zone west-2 alone" in cause.message
    assert cause.hint.startswith("create the claim that holds nothing yet")  # type: ignore[union-attr]


def test_nodes_that_can_have_all_volumes_are_named_last() -> None:
    wide = volume(ZONE, "west-2", "west-3", claim="adapters", name="pv-8")
    for stored in permutations([NEAR, wide]):
        cause = waits(CONFLICT, ELSEWHERE, *stored)
        assert cause.message == (
            "volume pv-7 of claim weights can be attached in zone west-2 alone; of the nodes with GPUs, "
            "gpu-a is there, and cannot take the pod now"
        )


@pytest.mark.parametrize("offered", ["nvidia.com/gpu", "nvidia.com/gpu.shared", "nvidia.com/mig-1g.5gb"])
def test_gpus_count_by_whatever_name_a_node_offers_them(offered: str) -> None:
    made = gpu_node("gpu-c", "west-1")
    made["status"]["capacity"] = {offered: "1"}
    assert "gpu-c is there" in waits(CONFLICT, [*ELSEWHERE, made], volume(ZONE, "west-1")).message


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
    lost = {**CLAIM, "spec": {**CLAIM["spec"], "volumeName": "pv-7"}, "status": {"phase": "Lost"}}
    assert waits(UNBOUND, ELSEWHERE, storage_class("west-1"), unbound=(lost,)).message == UNBOUND
    of_another = {**CLAIM, "metadata": {"name": "of-another-pod", "namespace": "default"}}
    assert waits(UNBOUND, ELSEWHERE, storage_class("west-1"), unbound=(of_another,)).message == UNBOUND
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
