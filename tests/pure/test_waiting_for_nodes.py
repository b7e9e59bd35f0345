"""Pods without a node: what an autoscaler says, who has cordoned the node, and GPUs that only DRA offers."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from builders import node, workspace
from trouble import World

from kaitoctl.kaito import node_check
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kube.objects import Object

NO_PLACE = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."


def unscheduled(words: str = NO_PLACE) -> World:
    world = World("scheduling-gated").without("Event")
    del world["Pod"]["spec"]["schedulingGates"]
    world["Pod"]["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}
    ]
    return world


# --- the cluster autoscaler ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "words", "said", "hint"),
    [
        (
            "NotTriggerScaleUp",
            "pod didn't trigger scale-up: 1 max node group size reached, 2 Insufficient nvidia.com/gpu",
            "adds no node: 1 max node group size reached",
            "raise the largest size",
        ),
        (
            "NotTriggerScaleUp",
            "pod didn't trigger scale-up: 1 in backoff after failed scale-up",
            "adds no node: 1 in backoff",
            "the cloud refused the last node",
        ),
        (
            "NotTriggerScaleUp",
            "pod didn't trigger scale-up: 3 max cluster nvidia.com/gpu limit reached",
            "adds no node: 3 max cluster",
            "raise the autoscaler's limit",
        ),
        (
            "NotTriggerScaleUp",
            "pod didn't trigger scale-up: 4 node(s) didn't match Pod's node affinity/selector",
            "adds no node: 4 node(s) didn't match",
            "no node group makes a node",
        ),
        (
            "NotTriggerScaleUp",
            "pod didn't trigger scale-up (it wouldn't fit if a new node is added)",
            "it wouldn't fit",
            "no node group makes a node",
        ),
        (
            "NotTriggerScaleUp",
            "pod didn't trigger scale-up: ",
            "adds no node",
            "status of the cluster autoscaler",
        ),
        (
            "FailedScaleUp",
            "Node scale up in zones a associated with this pod failed: GCE out of resources. Pod is "
            "at risk of not being scheduled.",
            "node was refused: GCE out of resources",
            "another zone",
        ),
        ("FailedScaleUp", "Node scale up in zones a failed: GCE quota exceeded.", "GCE quota", "quota"),
        (
            "TriggeredScaleUp",
            "pod triggered scale-up: [{gpu-pool 0->1 (max: 3)}]",
            "has asked for a node: [{gpu-pool 0->1",
            "wait for the node",
        ),
    ],
)
def test_what_the_cluster_autoscaler_says_is_said(reason: str, words: str, said: str, hint: str) -> None:
    cause = unscheduled().event(reason, words, kind="Normal").cause()
    assert cause.code == "unschedulable"
    assert NO_PLACE.rstrip(".") in cause.message
    assert said in cause.message
    assert hint in cause.hint
    assert any(words.strip() in told for _, told in cause.evidence)


@pytest.mark.parametrize(
    ("why", "hint"),
    [
        (
            'incompatible with nodepool "kaito", daemonset overhead={"cpu":"180m"}, no instance type '
            'satisfied resources {"nvidia.com/gpu":"2"}',
            "no machine that the NodePool may have",
        ),
        (
            "no instance type has enough resources, requirements=x, resources=y",
            "no machine that the NodePool",
        ),
        ("no instance type has the required offering, requirements=x, resources=y", "neither in these zones"),
        ("did not tolerate taint (taint=sku=gpu:NoSchedule)", "taints"),
        ("incompatible requirements, label apps not in [falcon]", "other labels"),
        ("all available instance types exceed limits for nodepool (NodePool=kaito)", "spec.limits"),
        ("no nodepools found", "no NodePool that is ready"),
        ("something that nobody knows", "log of Karpenter"),
    ],
)
def test_what_karpenter_says_of_a_pod_is_not_the_schedulers(why: str, hint: str) -> None:
    cause = unscheduled().event("FailedScheduling", f"Failed to schedule pod, {why}").cause()
    assert NO_PLACE.rstrip(".") in cause.message or cause.code == "node-pool-limit"
    assert why in cause.message
    assert hint in cause.hint


def test_an_older_pod_that_serves_is_named_when_it_holds_the_gpus_of_its_own_update() -> None:
    world = unscheduled()
    older = copy.deepcopy(world["Pod"])
    older["metadata"] |= {"name": "falcon-old", "uid": "old", "ownerReferences": [{"uid": "rs-old"}]}
    older["spec"]["nodeName"] = "gpu-1"
    older["status"] = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    world.objects.append(older)
    cause = world.cause()
    assert "Pod falcon-old of the same Workspace holds GPUs, and still serves" in cause.message
    assert "nobody is served until" in cause.hint
    older["status"]["conditions"] = []
    assert "of the same Workspace" not in world.cause().message


@pytest.mark.parametrize(
    ("why", "hint"),
    [
        ("didn't match pod topology spread constraints", "topologySpreadConstraints"),
        ("didn't match pod anti-affinity rules", "podAntiAffinity"),
        ("didn't satisfy existing pods anti-affinity rules", "podAntiAffinity"),
        ("didn't match pod affinity rules", "podAffinity"),
    ],
)
def test_each_rule_of_placement_is_called_by_its_name(why: str, hint: str) -> None:
    assert hint in unscheduled(f"0/1 nodes are available: 1 node(s) {why}.").cause().hint


def test_the_newest_word_of_an_autoscaler_counts() -> None:
    world = unscheduled()
    world.event(
        "NotTriggerScaleUp", "pod didn't trigger scale-up: 1 max node group size reached", kind="Normal"
    )
    later = {"kind": "Normal", "lastTimestamp": "2026-11-28T16:59:00Z"}
    cause = world.event("TriggeredScaleUp", "pod triggered scale-up: [{g 0->1 (max: 3)}]", **later).cause()
    assert "has asked for a node" in cause.message


# --- nodes that somebody maintains -----------------------------------------------------------------------


def judged(obj: Object, **seen: Any) -> Cause:
    """What is said of the only node, which the Workspace prefers."""
    world = unscheduled("0/1 nodes are available: 1 node(s) were unschedulable.")
    asking = workspace(resource={"preferredNodes": [obj["metadata"]["name"]]})
    world.objects.append(obj)
    return world.cause(verdict=node_check.verdict(asking, [obj], ()), **seen)


@pytest.mark.parametrize(
    ("key", "value", "who"),
    [
        ("weave.works/kured-reboot-in-progress", "2026-11-28T16:00:00Z", "kured reboots it"),
        ("machineconfiguration.openshift.io/state", "Working", "machine config operator updates it"),
        ("machineconfiguration.openshift.io/state", "Degraded", "could not update it"),
        ("machineconfiguration.openshift.io/desiredDrain", "drain-rendered-worker-1", "drains it"),
        ("flatcar-linux-update.v1.flatcar-linux.net/reboot-in-progress", "true", "Flatcar"),
        ("sriovnetwork.openshift.io/desired-state", "Drain_Required", "SR-IOV"),
        ("harvesterhci.io/maintain-status", "running", "Harvester"),
        ("rke.cattle.io/pre-drain", "{}", "Rancher"),
    ],
)
def test_a_cordon_of_maintenance_is_its_owners(key: str, value: str, who: str) -> None:
    obj = {**node(unschedulable=True), "kind": "Node"}
    obj["metadata"]["annotations"] = {key: value}
    cause = judged(obj)
    assert cause.code == "cordoned"
    assert who in cause.message
    assert "uncordon" not in cause.command
    assert "wait" in cause.hint


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("machineconfiguration.openshift.io/state", "Done"),
        ("machineconfiguration.openshift.io/desiredDrain", "uncordon-rendered-worker-1"),
        ("flatcar-linux-update.v1.flatcar-linux.net/reboot-in-progress", "false"),
        ("sriovnetwork.openshift.io/desired-state", "Idle"),
    ],
)
def test_who_has_finished_does_not_hold_the_node(key: str, value: str) -> None:
    obj = {**node(unschedulable=True), "kind": "Node"}
    obj["metadata"]["annotations"] = {key: value}
    assert judged(obj).message == "the node is cordoned"


# --- dynamic resource allocation -------------------------------------------------------------------------


def offered(driver: str, of: str = "gpu-a", count: int = 2) -> Object:
    devices = [{"name": f"gpu-{number}"} for number in range(count)]
    return {
        "kind": "ResourceSlice",
        "metadata": {"name": "s"},
        "spec": {"driver": driver, "nodeName": of, "devices": devices},
    }


@pytest.mark.parametrize("driver", ["gpu.nvidia.com", "gpu.intel.com", "gpu.amd.com"])
@pytest.mark.parametrize("gpus", [{"gpus": None}, {"gpus": "0", "capacity": "2"}])
def test_gpus_that_only_dra_offers_are_named(driver: str, gpus: dict[str, Any]) -> None:
    cause = judged({**node(**gpus), "kind": "Node"}, device_slices=(offered(driver),))
    assert cause.code == "device-plugin-missing"
    assert f"2 devices of {driver}" in cause.message
    assert "DeviceClass" in cause.hint


@pytest.mark.parametrize("slices", [(), (offered("gpu.nvidia.com", of="other"),), (offered("dra.net"),)])
def test_what_others_offer_says_nothing_of_the_node(slices: tuple[Object, ...]) -> None:
    cause = judged({**node(gpus=None), "kind": "Node"}, device_slices=slices)
    assert "dynamic resource allocation" not in cause.message
