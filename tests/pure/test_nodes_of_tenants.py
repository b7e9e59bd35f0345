"""A node that somebody uses is left alone, by whatever name its devices are held; so is a controller's."""

from __future__ import annotations

from typing import Any

import pytest
from builders import node, pod, workspace

from kaitoctl.advice import text
from kaitoctl.kaito import node_check, nodes_of_others
from kaitoctl.kube.objects import Object

CHANGES = ("kubectl label", "kubectl taint", "kubectl uncordon")


def changes(found: node_check.NodeVerdict) -> list[str]:
    """The commands of the advice that change the node."""
    return [text(item.command) for item in found.findings if text(item.command).startswith(CHANGES)]


def judged(obj: Object, pods: list[Object] | None = None) -> node_check.NodeVerdict:
    """The verdict on a node that is preferred."""
    asking = workspace(resource={"preferredNodes": [obj["metadata"]["name"]]})
    others = node_check.pods_of_others(asking, pods or [])
    (found,) = node_check.verdict(asking, [obj], others, rules=node_check.Rules("v0.4")).nodes
    return found


def in_need(**labels: str) -> Object:
    """A node that lacks the Workspace's label, is cordoned, and has a taint that somebody set."""
    obj = node(unschedulable=True, taints=[{"key": "team", "value": "b", "effect": "NoSchedule"}])
    del obj["metadata"]["labels"]["apps"]
    obj["metadata"]["labels"] |= labels
    return obj


def holding(amounts: dict[str, Any], **spec: Any) -> Object:
    made = pod(node_name="gpu-a", gpus=0)
    made["spec"]["containers"][0]["resources"] = {"limits": amounts, "requests": amounts}
    made["spec"] |= spec
    return made


@pytest.mark.parametrize(
    "resource",
    [
        "nvidia.com/gpu",
        "nvidia.com/gpu.shared",
        "nvidia.com/mig-1g.5gb",
        "nvidia.com/GA102GL_A10",
        "amd.com/gpu",
        "amd.com/cpx_nps4",
        "gpu.intel.com/xe",
        "habana.ai/gaudi",
        "aws.amazon.com/neuroncore",
        "google.com/tpu",
        "huawei.com/Ascend910",
        "volcano.sh/vgpu-number",
        "aliyun.com/gpu-mem",
        "tencent.com/vcuda-core",
    ],
)
def test_a_node_whose_devices_another_holds_is_only_looked_at(resource: str) -> None:
    assert len(changes(judged(in_need()))) == 3, "the node is nobody's"
    found = judged(in_need(), [holding({resource: "1"})])
    assert changes(found) == []
    assert not found.may_be_labelled


def test_devices_may_be_held_by_a_claim_or_an_init_container() -> None:
    by_claim = holding({}, resourceClaims=[{"name": "gpu", "resourceClaimName": "gpu"}])
    inits = [{"name": "warm", "resources": {"limits": {"nvidia.com/mig-1g.5gb": 1}}}]
    for held in (by_claim, holding({}, initContainers=inits)):
        assert changes(judged(in_need(), [held])) == []


def test_a_pod_that_has_ended_or_only_watches_holds_nothing() -> None:
    ended = holding({"nvidia.com/mig-1g.5gb": "1"})
    ended["status"]["phase"] = "Succeeded"
    for held in (ended, holding({"gpu.intel.com/i915_monitoring": "1"}), holding({"rdma/hca": "0"})):
        assert len(changes(judged(in_need(), [held]))) == 3


def test_others_are_seen_beside_a_verdict_that_does_not_know_them() -> None:
    held = holding({"nvidia.com/mig-3g.40gb": "1"})
    assert list(nodes_of_others.owners_by_node(workspace(), [], [in_need()], [held])) == ["gpu-a"]


@pytest.mark.parametrize(
    "labels",
    [
        {"nvidia.com/gpu-driver-upgrade-state": "cordon-required"},
        {"nvidia.com/gpu-driver-upgrade-state": "drain-required"},
        {"nvidia.com/gpu-driver-upgrade-state": "upgrade-failed"},
        {"nvidia.com/gpu-driver-upgrade-state": "uncordon-required"},
        {"nvidia.com/mig.config.state": "pending"},
        {"nvidia.com/mig.config.state": "rebooting"},
        {"nvidia.com/gpu.deploy.device-plugin": "paused-for-driver-upgrade"},
    ],
)
def test_what_works_on_the_gpus_opens_the_node_itself(labels: dict[str, str]) -> None:
    assert not any("uncordon" in command for command in changes(judged(in_need(**labels))))


@pytest.mark.parametrize("metadata", [{}, {"name": None}, {"namespace": "default"}, None])
def test_who_has_no_name_yet_has_no_pods_yet(metadata: Object | None) -> None:
    """`check-nodes --preset ... --label ...`: pods without KAITO's label in `default` are not its own."""
    asking = {**workspace(), "metadata": metadata}
    held = pod(node_name="gpu-a", gpus=2)
    assert held["metadata"].get("namespace", "default") == "default"
    assert node_check.pods_of_others(asking, [held]) == [held]
    assert node_check.crowds(asking, [held]) == {"gpu-a": 1}
