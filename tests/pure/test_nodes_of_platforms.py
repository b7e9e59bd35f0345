"""What platforms, device plugins and detectors put on nodes: each member of a family has its answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from builders import node, pod, workspace
from hypothesis import given
from hypothesis import strategies as st
from terminals import Terminal

from kaitoctl.advice import text
from kaitoctl.kaito import node_check
from kaitoctl.kaito.catalog import SHIPPED
from kaitoctl.kaito.node_check import Finding, of_state, taints, take_room
from kaitoctl.kube.objects import Object
from kaitoctl.screens.node_table import report

V0_4 = node_check.Rules("v0.4")
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def judged(
    obj: Object, ws: Object | None = None, pods: Any = (), *, rules: node_check.Rules = V0_4, **more: Any
) -> node_check.NodeVerdict:
    """The verdict on a node that is preferred."""
    asking = ws or workspace()
    asking["resource"]["preferredNodes"] = [obj["metadata"]["name"]]
    (found,) = node_check.verdict(asking, [obj], pods, rules=rules, **more).nodes
    return found


def said(verdict: node_check.NodeVerdict, code: str) -> Finding | None:
    return next((finding for finding in verdict.findings if finding.code == code), None)


def labelled(labels: dict[str, str], *, gpus: str = "2", **more: Any) -> Object:
    obj = node(gpus=gpus, **more)
    obj["metadata"]["labels"] |= labels
    return obj


def tainted(key: str, *, effect: str = "NoSchedule", **more: Any) -> Object:
    return node(taints=[{"key": key, "effect": effect, **more}])


def with_condition(kind: str, status: str) -> Object:
    obj = node()
    obj["status"]["conditions"].append({"type": kind, "status": status, "message": "fan 3 stopped"})
    return obj


def custom(spec: dict[str, Any], gpus: str = "1") -> Object:
    container = {"name": "main", "image": "i", "resources": {"limits": {"nvidia.com/gpu": gpus}}}
    ws = workspace()
    ws["inference"] = {"template": {"spec": {"containers": [container], **spec}}}
    return ws


# --- GPUs that are not whole -------------------------------------------------------------------------------

GFD = "nvidia.com/gpu."
MIG_40 = {GFD + "product": "NVIDIA-A100-SXM4-80GB-MIG-3g.40gb", GFD + "memory": "40192"}
NOT_WHOLE = {
    "time-slicing": ({GFD + "replicas": "2", GFD + "sharing-strategy": "time-slicing"}, "gpus-shared"),
    "mps": ({GFD + "replicas": "2", GFD + "sharing-strategy": "mps"}, "gpus-shared"),
    "mps-capable": ({GFD + "replicas": "2", "nvidia.com/mps.capable": "true"}, "gpus-shared"),
    "product-only": ({GFD + "product": "Tesla-T4-SHARED"}, "gpus-shared"),
    "count-only": ({GFD + "count": "1"}, "gpus-shared"),
    "gke-time-sharing": (
        {
            "cloud.google.com/gke-gpu-sharing-strategy": "time-sharing",
            "cloud.google.com/gke-max-shared-clients-per-gpu": "2",
        },
        "gpus-shared",
    ),
    "gke-mps": (
        {
            "cloud.google.com/gke-gpu-sharing-strategy": "mps",
            "cloud.google.com/gke-max-shared-clients-per-gpu": "2",
        },
        "gpus-shared",
    ),
    "mig-single": (MIG_40, "gpus-sliced"),
    "mig-shared": ({GFD + "product": "NVIDIA-A100-SXM4-80GB-MIG-3g.40gb-SHARED"}, "gpus-sliced"),
    "mig-media": ({GFD + "product": "NVIDIA-H100-80GB-HBM3-MIG-1g.10gb.me"}, "gpus-sliced"),
    "mig-slices": ({GFD + "slices.gi": "3"}, "gpus-sliced"),
    "gke-partitions": ({"cloud.google.com/gke-gpu-partition-size": "3g.20gb"}, "gpus-sliced"),
}


@pytest.mark.parametrize("how", NOT_WHOLE)
def test_two_devices_that_are_not_two_gpus_do_not_run_a_preset_of_two(how: str) -> None:
    labels, code = NOT_WHOLE[how]
    found = judged(labelled(labels, instance_type="own"))
    finding = said(found, code)
    assert finding is not None and finding.level == "fail", found.findings
    assert found.gpus.together == 1
    # Of our own controller, which asks for no more than a node has, one of them is enough.
    own = judged(labelled(labels, instance_type="own"), rules=node_check.OWN_RULES)
    mine = said(own, code)
    assert mine is not None and mine.level == "warn"


def test_more_devices_than_the_machine_has_are_shares() -> None:
    found = judged(labelled({}, gpus="8"))  # a Standard_NC12s_v3 has 2
    assert said(found, "gpus-shared") and found.gpus.sharing and found.gpus.sharing.replicas == 4


def test_more_devices_than_any_machine_has_are_shares() -> None:
    """HAMi offers each GPU ten times and sets no label that says so."""
    obj = node(gpus="20", instance_type="on-premises")
    found = judged(obj)
    assert found.gpus.sharing and found.gpus.together == 1
    finding = said(found, "gpus-shared")
    assert finding and "its 20 devices are more than a machine has GPUs" in finding.message
    assert judged(node(gpus="16", instance_type="on-premises")).gpus.sharing is None


def test_replicas_of_one_are_no_sharing() -> None:
    labels = {GFD + "replicas": "1", GFD + "sharing-strategy": "none", GFD + "count": "2"}
    assert judged(labelled(labels)).gpus.sharing is None


def test_mps_gives_each_device_its_part_of_the_memory() -> None:
    labels = {GFD + "replicas": "4", GFD + "sharing-strategy": "mps", GFD + "memory": "81920"}
    labels |= {GFD + "count": "1", GFD + "product": "A100"}
    found = judged(labelled(labels, gpus="4", instance_type="own"), rules=node_check.OWN_RULES)
    assert found.gpus.memory_gib == 20
    labels[GFD + "memory"] = "16384"
    small = judged(labelled(labels, gpus="4", instance_type="own"), rules=node_check.OWN_RULES)
    finding = said(small, "gpu-memory-too-small")
    assert finding and "1 share of 4 GiB" in finding.message


def test_a_slice_has_its_own_memory_also_where_only_its_profile_tells() -> None:
    labels = {"cloud.google.com/gke-gpu-partition-size": "1g.5gb"}
    found = judged(labelled(labels, gpus="7", instance_type="own"), rules=node_check.OWN_RULES)
    assert found.gpus.memory_gib == 5
    assert said(found, "gpu-memory-too-small")


@pytest.mark.parametrize(
    ("resource", "code"),
    [
        ("nvidia.com/gpu.shared", "gpus-renamed"),
        ("nvidia.com/GA102GL_A10", "gpus-renamed"),
        ("aliyun.com/gpu-mem", "gpus-renamed"),
        ("volcano.sh/vgpu-number", "gpus-renamed"),
        ("nvidia.com/mig-1g.5gb", "only-mig-slices"),
        ("nvidia.com/mig-1g.5gb.shared", "only-mig-slices"),
        ("amd.com/gpu", "other-vendor-gpu"),
        ("gpu.intel.com/xe", "other-vendor-gpu"),
        ("habana.ai/gaudi", "other-vendor-gpu"),
        ("aws.amazon.com/neuroncore", "other-vendor-gpu"),
        ("google.com/tpu", "other-vendor-gpu"),
    ],
)
def test_devices_of_other_names_are_named(resource: str, code: str) -> None:
    obj = node(gpus="0", instance_type="own")
    obj["status"]["allocatable"][resource] = obj["status"]["capacity"][resource] = "4"
    found = judged(obj)
    finding = said(found, code)
    assert finding and resource in finding.message
    assert "kubectl label" not in finding.command


@pytest.mark.parametrize(
    ("labels", "code", "level"),
    [
        ({"nvidia.com/mig.config.state": "pending"}, "mig-changing", "fail"),
        ({"nvidia.com/mig.config.state": "rebooting"}, "mig-changing", "fail"),
        ({"nvidia.com/gpu.deploy.device-plugin": "paused-for-mig-change"}, "mig-changing", "fail"),
        ({"nvidia.com/mig.config.state": "failed"}, "mig-failed", "warn"),
        ({"nvidia.com/gpu-driver-upgrade-state": "drain-required"}, "gpu-driver-upgrade", "fail"),
        ({"nvidia.com/gpu-driver-upgrade-state": "upgrade-failed"}, "gpu-driver-upgrade", "warn"),
        ({"nvidia.com/gpu-driver-upgrade-state": "upgrade-done"}, "", ""),
        ({"nvidia.com/mig.config": "all-disabled", "nvidia.com/mig.config.state": "success"}, "", ""),
    ],
)
def test_gpus_that_are_being_changed_are_waited_for(labels: dict[str, str], code: str, level: str) -> None:
    found = judged(labelled(labels))
    codes = {"mig-changing", "mig-failed", "gpu-driver-upgrade"}
    assert [(item.code, item.level) for item in found.findings if item.code in codes] == (
        [(code, level)] if code else []
    )


def test_a_device_plugin_that_is_switched_off_is_named() -> None:
    finding = said(
        judged(labelled({"nvidia.com/gpu.deploy.device-plugin": "false"}, gpus="0")), "gpu-not-allocatable"
    )
    assert finding and "switched off" in finding.message


def test_mig_that_failed_and_left_no_gpu_fails() -> None:
    found = judged(labelled({"nvidia.com/mig.config.state": "failed"}, gpus="0", capacity="2"))
    assert [item.code for item in found.failures] == ["mig-failed"]


@pytest.mark.parametrize(
    ("capacity", "gpus", "labels"),
    [("8", "7", {}), ("7", "7", {}), ("7", "7", {GFD + "count": "8"}), ("8", "7", {GFD + "count": "7"})],
    ids=["unhealthy", "lost", "feature-discovery-knows", "plugin-knows"],
)
def test_seven_of_eight_gpus_are_a_fault_of_the_machine(
    capacity: str, gpus: str, labels: dict[str, str]
) -> None:
    obj = labelled(labels, gpus=gpus, capacity=capacity, instance_type="Standard_ND96asr_v4")
    ws = workspace(resource={"instanceType": "Standard_ND96asr_v4"})
    found = judged(obj, ws)
    finding = said(found, "gpu-unhealthy")
    assert finding and finding.level == "fail" and finding.message.startswith("7 of 8 GPUs allocatable")
    assert "--instance-type" not in finding.hint
    enough = said(judged(obj), "gpu-unhealthy")  # of which 2 are asked for
    assert enough and enough.level == "warn"


# --- taints ------------------------------------------------------------------------------------------------

OWNED = [
    *taints._BY_KEY,
    *(f"{prefix}anything" for prefix, _ in taints._BY_PREFIX),
    *(f"{driver}/agent-not-ready" for driver in ("ebs.csi.aws.com", "efs.csi.aws.com", "s3.csi.aws.com")),
    "node.example.com/uninitialized",
    *(f"{domain}/anything" for domain in taints.PLATFORMS),
    *(f"node.{domain}/anything" for domain in taints.PLATFORMS),
]
WITH_OWN_FINDING = {"node.kubernetes.io/unschedulable", *of_state._OF_CONDITIONS}


@pytest.mark.parametrize("effect", ["NoSchedule", "NoExecute"])
@pytest.mark.parametrize("key", OWNED)
def test_a_taint_that_a_controller_owns_is_never_to_be_taken_off(key: str, effect: str) -> None:
    found = judged(tainted(key, effect=effect, value="true"))
    assert not found.usable
    if key not in WITH_OWN_FINDING:
        finding = said(found, "taint-of-controller")
        assert finding and key in finding.message and finding.hint
    assert all("kubectl taint" not in f"{text(item.command)} {text(item.hint)}" for item in found.findings)


@pytest.mark.parametrize(
    "name",
    [
        "quarantined",
        "gpu-xid-error",
        "gpu-degraded",
        "upgrade-in-progress",
        "needs-repair",
        "Unhealthy",
        "drain",
    ],
)
def test_a_state_that_a_platform_writes_keeps_the_node_for_no_other_pods(name: str) -> None:
    found = taints.owner_of({"key": f"nvsentinel.nvidia.com/{name}", "effect": "NoSchedule"})
    assert found is not None
    assert found.kind == "trouble"
    kept = taints.owner_of({"key": "nvsentinel.nvidia.com/team", "effect": "NoSchedule"})
    assert kept is not None
    assert kept.kind == "reserved"


@pytest.mark.parametrize("key", ["team", "dedicated", "example.com/maintenance", "notkubernetes.io/x"])
def test_a_taint_that_somebody_set_may_be_taken_off_an_empty_node(key: str) -> None:
    finding = said(judged(tainted(key)), "taint-not-tolerated")
    assert finding and text(finding.command) == f"kubectl taint node gpu-a {key}:NoSchedule-"
    held = said(judged(tainted(key), pods=[pod(node_name="gpu-a", gpus=1)]), "taint-not-tolerated")
    assert held and "kubectl taint" not in held.command and "of others" in held.hint
    unknown = said(judged(tainted(key), pods=None), "taint-not-tolerated")
    assert unknown and "kubectl taint" not in unknown.command


def test_the_taint_of_gpu_nodes_is_somebodys_hand_whatever_its_domain() -> None:
    finding = said(judged(tainted("nvidia.com/gpu", effect="NoExecute")), "taint-not-tolerated")
    assert finding and text(finding.command) == "kubectl taint node gpu-a nvidia.com/gpu:NoExecute-"


@pytest.mark.parametrize("key", [["a"], {"a": 1}, None, 7])
def test_a_taint_whose_key_is_no_text_keeps_pods_away_and_is_not_touched(key: Any) -> None:
    finding = said(judged(tainted(key)), "taint-not-tolerated")
    assert finding and "kubectl taint" not in finding.command


@pytest.mark.parametrize("key", ["k8saas.nvidia.com/cordon-by", "dgxc.nvidia.com/cordon-by"])
def test_a_cordon_that_says_which_controller_it_is_of_is_not_to_be_lifted(key: str) -> None:
    finding = said(judged(labelled({key: "NVSentinel"}, unschedulable=True)), "cordoned")
    assert finding and "uncordon" not in finding.command and "NVSentinel" in finding.hint


@pytest.mark.parametrize(
    ("annotations", "who"),
    [
        ({"weave.works/kured-reboot-in-progress": "2026-11-28T11:55:00Z"}, "kured"),
        ({"machineconfiguration.openshift.io/state": "Working"}, "machine-config-operator"),
        ({"machineconfiguration.openshift.io/state": "Degraded"}, "machine-config-operator"),
        ({"machineconfiguration.openshift.io/desiredDrain": "drain-rendered-worker-1"}, "machine-config"),
        ({"flatcar-linux-update.v1.flatcar-linux.net/reboot-in-progress": "true"}, "Flatcar"),
        ({"sriovnetwork.openshift.io/state": "Draining"}, "SR-IOV"),
        ({"weave.works/kured-most-recent-reboot-needed": "2026-11-28T11:55:00Z"}, ""),
        ({"machineconfiguration.openshift.io/state": "Done"}, ""),
        ({"machineconfiguration.openshift.io/desiredDrain": "uncordon-rendered-worker-1"}, ""),
        ({"flatcar-linux-update.v1.flatcar-linux.net/reboot-in-progress": "false"}, ""),
        ({"sriovnetwork.openshift.io/state": "Idle"}, ""),
    ],
)
def test_who_says_by_an_annotation_that_it_closed_the_node_is_named(
    annotations: dict[str, str], who: str
) -> None:
    obj = node(unschedulable=True)
    obj["metadata"]["annotations"] = annotations
    finding = said(judged(obj), "cordoned")
    assert finding and ("kubectl uncordon" in finding.command) == (not who)
    assert who in finding.hint and ("uncordoning would fight it" in finding.hint) == bool(who)


@pytest.mark.parametrize(
    ("key", "who"),
    [
        ("ToBeDeletedByClusterAutoscaler", "the cluster autoscaler"),
        ("karpenter.sh/disrupted", "Karpenter"),
        ("karpenter.sh/disruption", "Karpenter"),
        ("aws-node-termination-handler/spot-itn", "aws-node-termination-handler"),
        ("remediator.kubernetes.azure.com/unschedulable", "AKS node auto-repair"),
        ("medik8s.io/drain", "medik8s"),
    ],
)
def test_a_cordon_of_who_takes_the_node_away_is_not_to_be_lifted(key: str, who: str) -> None:
    taints = [
        {"key": key, "effect": "NoSchedule"},
        {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"},
    ]
    finding = said(judged(node(unschedulable=True, taints=taints)), "cordoned")
    assert finding and "kubectl uncordon" not in finding.command
    assert text(finding.hint).startswith(f"{who} is taking it away; uncordoning would fight it")


@pytest.mark.parametrize("state", ["drain-required", "pod-restart-required", "upgrade-failed"])
def test_a_cordon_of_the_network_operator_is_not_to_be_lifted(state: str) -> None:
    labels = {"nvidia.com/ofed-driver-upgrade-state": state}
    finding = said(judged(labelled(labels, unschedulable=True)), "cordoned")
    assert finding and "network operator" in finding.hint and "kubectl uncordon" not in finding.command


@pytest.mark.parametrize(
    "labels",
    [
        {"nvidia.com/dra-kubelet-plugin": "true"},
        {"nvidia.com/dra-kubelet-plugin": "true", "nvidia.com/gpu.deploy.device-plugin": "false"},
        {"cloud.google.com/gke-gpu-dra-driver": "true"},
        {
            "cloud.google.com/gke-nvidia-gpu-dra-driver": "true",
            "gke-no-default-nvidia-gpu-device-plugin": "true",
            "nvidia.com/gpu.present": "true",
        },
        {"nvidia.com/dra-kubelet-plugin": "true", "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"},
    ],
)
def test_gpus_of_dynamic_resource_allocation_are_called_so(labels: dict[str, str]) -> None:
    finding = said(judged(labelled(labels, gpus="0", capacity="0")), "gpu-not-allocatable")
    assert finding and "dynamic resource allocation" in finding.message
    assert "resourceslices" in finding.command and "install" not in finding.hint


def test_slices_that_are_not_alike_are_no_fault_of_the_plugin() -> None:
    labels = {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB-MIG-INVALID", "nvidia.com/gpu.count": "0"}
    finding = said(judged(labelled(labels, gpus="0", capacity="0")), "gpu-not-allocatable")
    assert finding and "strategy single" in finding.message and "nvidia.com/mig.config" in finding.hint


@pytest.mark.parametrize(
    "resource",
    [
        "tke.cloud.tencent.com/qgpu-core",
        "nvshare.com/gpu",
        "koordinator.sh/gpu-memory",
        "koordinator.sh/shared-gpu",
        "example.com/a100-gpu",  # of a plugin that no table has
        "example.com/vGPU",
    ],
)
def test_gpus_of_a_plugin_that_nobody_listed_are_offered_under_another_name(resource: str) -> None:
    obj = node(gpus="0", capacity="0")
    obj["status"]["allocatable"][resource] = "2"
    finding = said(judged(obj), "gpus-renamed")
    assert finding and resource in finding.message


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({"nvidia.com/gpu.workload.config": "vm-passthrough"}, "for virtual machines"),
        ({"nvidia.com/gpu.workload.config": "vm-vgpu", "nvidia.com/gpu.present": "true"}, "for virtual"),
        ({"nvidia.com/gpu.deploy.operands": "false", "nvidia.com/gpu.present": "true"}, "switched off"),
    ],
)
def test_gpus_that_the_operator_keeps_or_leaves_alone_are_called_so(
    labels: dict[str, str], words: str
) -> None:
    finding = said(judged(labelled(labels, gpus="0", capacity="0")), "gpu-not-allocatable")
    assert finding and words in finding.message and "install" not in finding.hint


@pytest.mark.parametrize("key", ["skyhook.nvidia.com", "google.com/tpu", "slinky.slurm.net/managed-node"])
def test_taints_of_gpu_schedulers_and_of_node_setups_are_not_taken_off(key: str) -> None:
    finding = said(judged(tainted(key)), "taint-of-controller")
    assert finding and "kubectl taint" not in finding.command


@pytest.mark.parametrize("labels", [{"nvidia.com/dra-kubelet-plugin": "false"}, {}])
def test_a_node_without_dra_is_not_called_so(labels: dict[str, str]) -> None:
    findings = judged(labelled(labels, gpus="0", capacity="0")).findings
    assert not any("dynamic resource" in finding.message for finding in findings)


def test_a_node_with_both_offers_what_its_device_plugin_offers() -> None:
    assert said(judged(labelled({"nvidia.com/dra-kubelet-plugin": "true"})), "gpu-ok")


@pytest.mark.parametrize(
    ("taint", "words"),
    [
        ({"key": "ToBeDeletedByClusterAutoscaler", "value": "1764000000"}, "days already"),
        ({"key": "karpenter.sh/unregistered", "effect": "NoExecute"}, "days already"),
        ({"key": "karpenter.sh/disrupted", "timeAdded": "2026-11-28T11:55:00Z"}, ""),
        ({"key": "karpenter.sh/disrupted"}, ""),
        ({"key": "ToBeDeletedByClusterAutoscaler", "value": "1795867140"}, ""),  # a minute ago
    ],
)
def test_a_taint_that_was_forgotten_is_called_old_with_evidence(taint: Object, words: str) -> None:
    obj = node(taints=[{"effect": "NoSchedule", **taint}])
    obj["status"]["conditions"][0]["lastTransitionTime"] = "2026-11-01T00:00:00Z"
    finding = said(judged(obj, now=NOW), "taint-of-controller")
    assert finding and (words in finding.message if words else "already" not in finding.message)
    assert ("check whether it still runs" in finding.hint) == bool(words)
    assert "kubectl taint" not in finding.command


def test_a_candidate_for_removal_is_a_warning() -> None:
    found = judged(tainted("DeletionCandidateOfClusterAutoscaler", effect="PreferNoSchedule"))
    finding = said(found, "taint-of-controller")
    assert found.usable and finding and finding.level == "warn"


def test_pressure_that_keeps_pods_away_fails_and_makes_our_controller_buy_nothing() -> None:
    obj = tainted("node.kubernetes.io/disk-pressure")
    assert [item.code for item in judged(obj).failures] == ["pressure"]
    assert judged(obj, rules=node_check.OWN_RULES).usable


# --- conditions --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        *((kind, "True") for kind in of_state.BAD_WHEN_TRUE),
        *((kind, "False") for kind in of_state.BAD_WHEN_FALSE),
        ("GcmXidErrorsProblem", "True"),
        ("GpuNotReady", "True"),
        ("FabricUnhealthy", "True"),
        ("DeviceUnavailable", "True"),
        ("GPUHealthy", "False"),
        ("example.com/NvLinkReady", "False"),
        ("RdmaAvailable", "False"),
    ],
)
def test_a_condition_that_reports_a_problem_is_a_warning_with_its_message(kind: str, status: str) -> None:
    finding = said(judged(with_condition(kind, status)), "node-problem")
    assert (
        finding
        and finding.level == "warn"
        and finding.message == f"condition {kind} is {status}: fan 3 stopped"
    )


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        *((kind, "False") for kind in of_state.BAD_WHEN_TRUE),
        *((kind, "True") for kind in of_state.BAD_WHEN_FALSE),
        ("EtcdIsVoter", "True"),
        ("EtcdIsVoter", "Unknown"),
        ("GPUHealthy", "True"),
        ("GcmXidErrorsProblem", "False"),
        ("RdmaAvailable", "True"),
    ],
)
def test_a_condition_that_reports_none_is_not_mentioned(kind: str, status: str) -> None:
    assert said(judged(with_condition(kind, status)), "node-problem") is None


@pytest.mark.parametrize(
    "kind", ["XIDErrors", "GPUMissing", "AcceleratedHardwareReady", "GcmXidErrorsProblem"]
)
def test_a_check_of_the_node_that_could_not_be_made_is_said_to_be_that(kind: str) -> None:
    finding = said(judged(with_condition(kind, "Unknown")), "node-problem")
    assert finding and (finding.level, finding.message) == (
        "warn",
        f"condition {kind} is Unknown: fan 3 stopped",
    )
    assert "nobody knows" in finding.hint


# --- platform and room -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "info", "fits"),
    [
        ({"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}, {}, True),
        ({}, {"operatingSystem": "linux", "architecture": "amd64"}, True),
        ({}, {}, True),
        ({"kubernetes.io/os": "windows"}, {}, False),
        ({"beta.kubernetes.io/os": "windows"}, {}, False),
        ({"kubernetes.io/arch": "arm64"}, {}, False),
        ({}, {"operatingSystem": "linux", "architecture": "arm64"}, False),
        ({"kubernetes.io/arch": "amd64"}, {"architecture": "arm64"}, False),
        ({"kubernetes.io/arch": "ppc64le"}, {}, False),
    ],
)
def test_images_run_on_linux_amd64(labels: dict[str, str], info: dict[str, str], fits: bool) -> None:
    obj = labelled(labels)
    obj["status"]["nodeInfo"] = info
    assert (said(judged(obj), "other-platform") is None) == fits
    own_image = said(judged(obj, custom({})), "other-platform")
    assert fits or (own_image and own_image.level == "warn")


@pytest.mark.parametrize(
    ("allocatable", "level", "words"),
    [
        ({"pods": "0"}, "fail", "takes no pods"),
        ({"pods": "3"}, "fail", "has 3 pods and takes 3"),
        ({"pods": "4"}, "", ""),
        ({"memory": "8Gi"}, "warn", "only 8 GiB memory"),
        ({"memory": "0"}, "warn", "only 0 GiB memory"),
        ({"cpu": "0"}, "warn", "only 0 cpu"),
        ({"ephemeral-storage": "5Gi"}, "warn", "only 5 GiB ephemeral storage"),
        ({"memory": "100Gi", "cpu": "11", "ephemeral-storage": "100Gi", "pods": "110"}, "", ""),
        ({"memory": "nonsense"}, "", ""),
    ],
)
def test_a_node_with_gpus_and_no_room_is_named(allocatable: dict[str, str], level: str, words: str) -> None:
    obj = node()
    obj["status"]["allocatable"] |= allocatable
    finding = said(judged(obj, crowds={"gpu-a": 3}), "no-room")
    assert (finding.level if finding else "") == level
    assert not finding or words in finding.message


def asking(cpu: str = "", memory: str = "", **more: str) -> Object:
    """A container that requests these amounts."""
    amounts = {key: amount for key, amount in {"cpu": cpu, "memory": memory, **more}.items() if amount}
    return {"name": "c", "image": "i", "resources": {"requests": amounts}}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"containers": [asking(cpu="3"), asking(cpu="2")]}, "requests 5"),
        ({"initContainers": [{**asking(cpu="2"), "restartPolicy": "Always"}],
          "containers": [asking(cpu="3")]}, "requests 5"),
        ({"initContainers": [asking(memory="9Gi")], "containers": [asking(memory="1Gi")]}, "requests 9 GiB"),
        ({"initContainers": [{**asking(cpu="2"), "restartPolicy": "Always"}, asking(cpu="3")],
          "containers": [asking(cpu="1")]}, "requests 5"),
        ({"overhead": {"memory": "5Gi"}, "containers": [asking(memory="4Gi")]}, "requests 9 GiB"),
        ({"resources": {"requests": {"memory": "9Gi"}},
          "containers": [asking(memory="1Gi")]}, "requests 9 GiB"),
        ({"resources": {"limits": {"cpu": "5"}}, "containers": [{"name": "c"}]}, "requests 5"),
        ({"containers": [asking(**{"hugepages-2Mi": "2Gi"})]}, "hugepages-2Mi"),
        ({"initContainers": [asking(cpu="4")], "containers": [asking(cpu="4")]}, ""),
        ({"initContainers": "x", "overhead": [], "resources": None,
          "containers": [None, asking(cpu="x")]}, ""),
    ],
)  # fmt: skip
def test_a_custom_pod_needs_room_for_all_that_runs_at_once(spec: dict[str, Any], words: str) -> None:
    obj = node()
    obj["status"]["allocatable"] |= {"cpu": "4", "memory": "8Gi"}
    finding = said(judged(obj, custom(spec)), "no-room")
    assert (finding is not None and words in finding.message) if words else finding is None
    obj["status"]["allocatable"] |= {"cpu": "5", "memory": "9Gi", "hugepages-2Mi": "2Gi"}
    assert said(judged(obj, custom(spec)), "no-room") is None


@pytest.mark.parametrize("amount", ["-1", "-5Gi"])
def test_what_nobody_asks_for_keeps_nobody_away(amount: str) -> None:
    obj = node()
    obj["status"]["allocatable"]["memory"] = amount
    finding = said(judged(obj), "no-room")
    assert finding and finding.level == "warn" and "only 0 GiB" in finding.message


def test_pods_are_counted_whatever_they_hold_but_not_the_workspaces_own() -> None:
    own = pod("own", node_name="gpu-a", labels={"kaito.sh/workspace": "falcon"})
    done = pod("done", node_name="gpu-a")
    done["status"]["phase"] = "Succeeded"
    there = [pod("a", node_name="gpu-a"), pod("b", node_name="gpu-a", gpus=1), own, done, pod("waiting")]
    assert node_check.crowds(workspace(), there) == {"gpu-a": 2}


# --- custom pods -------------------------------------------------------------------------------------------


def test_a_custom_pods_gpus_are_its_own_sidecars_included() -> None:
    sidecar = {"name": "s", "restartPolicy": "Always", "resources": {"limits": {"nvidia.com/gpu": "2"}}}
    obj = node(instance_type="own", gpus="2")
    assert judged(obj, custom({})).usable
    finding = said(judged(obj, custom({"initContainers": [sidecar]})), "too-few-gpus")
    assert finding and "each pod asks for 3" in finding.message
    assert judged(node(gpus="0"), custom({}, gpus="0")).usable  # which asks for none


def test_a_custom_pods_tolerations_count() -> None:
    obj = tainted("team", value="vision")
    assert not judged(obj, custom({})).usable
    for toleration in (
        {"key": "team", "operator": "Exists"},
        {"key": "team", "value": "vision", "effect": "NoSchedule"},
        {"operator": "Exists"},
    ):
        assert judged(obj, custom({"tolerations": [toleration]})).usable
    assert not judged(obj, custom({"tolerations": [{"key": "team", "value": "other"}]})).usable


def affinity(*terms: Object) -> dict[str, Any]:
    required = {"nodeSelectorTerms": list(terms)}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}}


def test_where_a_custom_pod_wants_to_run_counts() -> None:
    zone = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
    code = "custom-pod-elsewhere"
    assert said(judged(node(), custom({"nodeSelector": {"disk": "nvme"}})), code)
    assert said(judged(node(), custom({"nodeName": "gpu-b"})), code)
    assert not said(judged(node(), custom({"nodeName": "gpu-a"})), code)
    # KAITO overwrites the affinity; our own controller keeps it.
    assert not said(judged(node(), custom(affinity(zone))), code)
    assert said(judged(node(), custom(affinity(zone)), rules=node_check.OWN_RULES), code)
    ours = judged(labelled({"zone": "a"}), custom(affinity({}, zone)), rules=node_check.OWN_RULES)
    assert not said(ours, code)
    field = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["gpu-a"]}]}
    assert not said(judged(node(), custom(affinity(field)), rules=node_check.OWN_RULES), code)


def test_a_custom_pod_may_ask_for_slices() -> None:
    ws = custom({})
    (container,) = ws["inference"]["template"]["spec"]["containers"]
    container["resources"]["limits"] = {"nvidia.com/mig-3g.20gb": "1", "memory": "64Gi"}
    obj = node(gpus="0")
    obj["status"]["allocatable"] |= {"nvidia.com/mig-3g.20gb": "2", "memory": "100Gi"}
    assert judged(obj, ws).usable
    obj["status"]["allocatable"] |= {"nvidia.com/mig-3g.20gb": "0", "memory": "32Gi"}
    assert {item.code for item in judged(obj, ws).failures} == {"too-few-gpus", "no-room"}


# --- selection ---------------------------------------------------------------------------------------------


def test_an_instance_type_of_other_case_is_shown_and_named() -> None:
    obj = node(instance_type="standard_nc12s_v3", labels=None)
    obj["metadata"]["labels"] = {"node.kubernetes.io/instance-type": "standard_nc12s_v3", "apps": "falcon-7b"}
    (found,) = node_check.verdict(workspace(), [obj], rules=V0_4).nodes
    finding = said(found, "instance-type-differs")
    assert finding and "upper and lower case count" in finding.message
    asked_wrong = workspace(resource={"instanceType": "standard_nc12s_v3"})
    (found,) = node_check.verdict(asked_wrong, [node()], rules=V0_4).nodes
    finding = said(found, "instance-type-differs")
    assert finding and text(finding.hint) == "write it as the node does: --instance-type Standard_NC12s_v3"
    assert node_check.instance_types_meant(asked_wrong, SHIPPED) == ["standard_nc12s_v3", "Standard_NC12s_v3"]


def selecting(**selector: Any) -> Object:
    return workspace(resource={"labelSelector": selector})


def test_expressions_count_for_whom_reads_them() -> None:
    unmet = [{"key": "zone", "operator": "In", "values": ["a"]}]
    ws = selecting(matchLabels={"apps": "falcon-7b"}, matchExpressions=unmet)
    for target in ("v0.3", "v0.4", "v0.12"):
        rules = node_check.Rules(target, "karpenter")
        found = judged(node(), ws, rules=rules)
        ignored = said(found, "expression-ignored")
        assert found.usable and ignored and target in ignored.message
    assert said(judged(node(), ws, rules=node_check.OWN_RULES), "label-differs")


def test_without_match_labels_pods_of_kaito_v0_4_match_no_node() -> None:
    met = [{"key": "apps", "operator": "In", "values": ["falcon-7b"]}]
    ws = selecting(matchExpressions=met)
    assert [item.code for item in judged(node(), ws).failures] == ["no-label-selects"]
    assert judged(node(), ws, rules=node_check.Rules("v0.12", "karpenter")).usable
    assert judged(node(), ws, rules=node_check.OWN_RULES).usable


# --- advice ------------------------------------------------------------------------------------------------

_OWNERS = st.sampled_from(
    [
        {},
        {"kaito.sh/workspace": "falcon", "kaito.sh/workspacenamespace": "default"},
        {"kaito.sh/workspace": "other", "kaito.sh/workspacenamespace": "default"},
        {"kaito.sh/workspace": "falcon", "kaito.sh/workspacenamespace": "elsewhere"},
        {"karpenter.kaito.sh/workspace-name": "other", "karpenter.kaito.sh/workspace-namespace": "default"},
        {"kaito.sh/ragengine": "r"},
        {"karpenter.kaito.sh/inferenceset": "s"},
    ]
)
_RULES = st.sampled_from(
    [node_check.OWN_RULES, V0_4, *(node_check.Rules("v0.12", name) for name in node_check.PROVISIONERS)]
)


@given(
    rules=_RULES,
    owner=_OWNERS,
    apps=st.sampled_from([None, "falcon-7b", "other"]),
    keys=st.lists(st.sampled_from(["team", "karpenter.sh/disrupted", "sku"]), max_size=2, unique=True),
    cordoned=st.booleans(),
    held=st.sampled_from([None, 0, 1]),
    preferred=st.booleans(),
)
def test_no_command_takes_a_node_from_somebody(
    rules: node_check.Rules,
    owner: dict[str, str],
    apps: str | None,
    keys: list[str],
    cordoned: bool,
    held: int | None,
    preferred: bool,
) -> None:
    obj = node(unschedulable=cordoned, taints=[{"key": key, "effect": "NoSchedule"} for key in keys])
    obj["metadata"]["labels"] |= owner
    if apps is None:
        del obj["metadata"]["labels"]["apps"]
    else:
        obj["metadata"]["labels"]["apps"] = apps
    pods = None if held is None else [pod(node_name="gpu-a", gpus=held)]
    ws = workspace(resource={"preferredNodes": ["gpu-a"] if preferred else []})
    (found,) = node_check.verdict(ws, [obj], pods, rules=rules).nodes or (None,)
    if found is None:
        return
    commands = [text(item.command) for item in found.findings]
    mine = {} if owner.get("kaito.sh/workspacenamespace") == "elsewhere" else owner
    is_others = bool(owner) and mine.get("kaito.sh/workspace") != "falcon"
    labels = [command for command in commands if command.startswith("kubectl label")]
    changes = [*labels, *(command for command in commands if command.startswith("kubectl taint"))]
    if is_others or held:
        assert not changes
        assert not found.may_be_labelled or not found.labels_to_set
    if is_others or "karpenter.sh/disrupted" in keys:
        assert not any(command.startswith("kubectl uncordon") for command in commands)
    if any("--overwrite" in command for command in labels):
        assert preferred and held == 0
    assert not any("kaito.sh/" in command for command in labels)
    assert not any("karpenter.sh" in command for command in changes)


@pytest.mark.parametrize(
    "key", ["node.kubernetes.io/instance-type", "kubernetes.azure.com/agentpool", "nvidia.com/gpu.product"]
)
def test_labels_of_the_platform_are_never_to_be_written(key: str) -> None:
    ws = selecting(matchLabels={key: "x"})
    for obj in (node(), labelled({key: "y"})):
        found = judged(obj, ws)
        assert all("kubectl label" not in item.command for item in found.findings)
        assert not found.may_be_labelled


def test_the_table_fits_a_terminal_whatever_the_product_is_called() -> None:
    name = "gke-production-cluster-gpu-a100-highmem-pool-4f1c2d3e-wxyz"
    product = {f"{GFD}product": "NVIDIA-A100-SXM4-80GB-MIG-3g.40gb-SHARED"}
    obj = labelled({**product, "node.kubernetes.io/instance-type": "other"}, gpus="16")
    obj["metadata"]["name"] = name
    ws = workspace(resource={"preferredNodes": ["nope"]})
    found = node_check.verdict(ws, [obj, node(name="b", gpus="0")], [], rules=V0_4)
    lines = Terminal(80).lines(report(found, "w", drawn=True))
    assert all(len(line) <= 80 or "kubectl" in line for line in lines)
    assert name in [word for line in lines for word in line.split()]


@pytest.mark.parametrize(
    ("asked", "code", "who"),
    [
        ({"rdma/hca_shared_devices_a": "1"}, "no-room", "RDMA shared device plugin"),
        ({"vpc.amazonaws.com/efa": "4"}, "no-room", "EFA device plugin"),
        ({"openshift.io/sriov_ib": "1"}, "no-room", "SR-IOV"),
        ({"hugepages-2Mi": "1Gi", "memory": "1Gi"}, "no-room", "vm.nr_hugepages"),
        ({"nvidia.com/mig-3g.20gb": "1"}, "too-few-gpus", "offers as many"),
    ],
)
def test_what_a_custom_pod_asks_for_besides_gpus_is_named_with_who_offers_it(
    asked: dict[str, str], code: str, who: str
) -> None:
    limits = {"nvidia.com/gpu": "1", **asked}
    container = {"name": "main", "image": "i", "resources": {"limits": limits}}
    found = said(judged(node(), custom({"containers": [container]})), code)
    assert found is not None
    assert next(iter(asked)) in found.message
    assert who in text(found.hint)
    offering = node()
    offering["status"]["allocatable"] |= asked
    assert said(judged(offering, custom({"containers": [container]})), code) is None


@pytest.mark.parametrize(
    ("amount", "spec", "is_named"),
    [
        ("0", None, True),
        ("50m", None, True),
        ("0.25", None, True),
        ("499m", {"containers": [{"name": "c", "image": "i"}]}, True),
        ("500m", None, False),
        ("940m", None, False),  # GKE's smallest machine that takes a GPU
        ("200m", {"containers": [asking(cpu="100m")]}, False),  # it says itself what it needs
    ],
)
def test_nearly_no_cpu_is_named_where_a_pod_asks_for_none(
    amount: str, spec: dict[str, Any] | None, is_named: bool
) -> None:
    obj = node()
    obj["status"]["allocatable"]["cpu"] = amount
    finding = said(judged(obj, custom(spec)) if spec else judged(obj), "no-room")
    assert (finding is not None) is is_named
    if finding is not None:
        assert (finding.level, "cpu allocatable" in finding.message) == ("warn", True)


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ([{"containers": [asking(cpu="3")]}], "1 of 4 cpu free, and the pod requests 2"),
        ([{"containers": [asking(cpu="1500m")]}, {"containers": [asking(cpu="1")]}], "1.5 of 4 cpu free"),
        ([{"overhead": {"cpu": "250m"}, "containers": [asking(cpu="2")]}], "1.75 of 4 cpu free"),
        ([{"resources": {"requests": {"cpu": "4"}}, "containers": [asking(cpu="1")]}], "0 of 4 cpu free"),
        ([{"initContainers": [asking(cpu="3")], "containers": [asking(cpu="1")]}], "1 of 4 cpu free"),
        ([{"containers": [asking(memory="7Gi")]}], "1 GiB of 8 GiB memory free"),
        ([{"containers": [asking(cpu="2", memory="4Gi")]}], ""),
        ([{"containers": [{"name": "c"}]}], ""),
    ],
)
def test_what_pods_of_others_request_leaves_a_custom_pod_no_room(
    others: list[dict[str, Any]], words: str
) -> None:
    obj = node()
    obj["status"]["allocatable"] |= {"cpu": "4", "memory": "8Gi"}
    wanted = custom({"containers": [asking(cpu="2", memory="4Gi")]})
    taken: dict[str, dict[str, Any]] = {}
    for number, spec in enumerate(others):
        other = {"metadata": {"name": f"o{number}"}, "spec": {"nodeName": "gpu-a", **spec}, "status": {}}
        take_room(taken, wanted, other)
        take_room(taken, wanted, {**other, "status": {"phase": "Succeeded"}})
    finding = said(judged(obj, wanted, taken=taken), "no-room")
    assert (finding is not None and words in finding.message) if words else finding is None
    preset = workspace()
    none: dict[str, dict[str, Any]] = {}
    take_room(none, preset, {"spec": {"nodeName": "gpu-a", "containers": [asking(cpu="3")]}})
    assert none == {}, "the pods of presets request nothing besides GPUs"
