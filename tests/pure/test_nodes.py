from __future__ import annotations

from typing import Any

import pytest
from builders import node, pod, workspace

from kaitoctl.kaito import nodes
from kaitoctl.kube.objects import Object


def failures(obj: Object, ws: Object | None = None, pods: tuple[Object, ...] = ()) -> list[str]:
    """The codes that speak against a preferred node."""
    name = obj["metadata"]["name"]
    asking = ws or workspace()
    asking["resource"]["preferredNodes"] = [name]
    (judged,) = nodes.verdict(asking, [obj], pods).nodes
    return [finding.code for finding in judged.failures]


def test_a_labelled_ready_node_with_free_gpus_is_used() -> None:
    assert failures(node()) == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"labels": {}}, "label-missing"),
        ({"labels": {"apps": "other"}}, "label-differs"),
        ({"ready": "False"}, "not-ready"),
        ({"unschedulable": True}, "cordoned"),
        ({"taints": [{"key": "team", "value": "x", "effect": "NoSchedule"}]}, "taint-not-tolerated"),
        ({"gpus": None}, "no-gpu"),
        ({"gpus": "0", "capacity": "2"}, "gpu-not-allocatable"),
        ({"gpus": "1"}, "too-few-gpus"),
        ({"gpus": "two"}, "bad-quantity"),
    ],
)
def test_each_cause_has_its_code(change: dict[str, Any], code: str) -> None:
    assert failures(node(**change)) == [code]


def test_a_missing_label_comes_with_the_command_that_mends_it() -> None:
    ws = workspace(resource={"preferredNodes": ["gpu-a"]})
    (judged,) = nodes.verdict(ws, [node(labels={})]).nodes
    assert judged.failures[0].command == "kubectl label node gpu-a apps=falcon-7b"


@pytest.mark.parametrize("key", ["nvidia.com/gpu", "sku"])
def test_the_taints_of_gpu_nodes_are_tolerated(key: str) -> None:
    assert failures(node(taints=[{"key": key, "value": "gpu", "effect": "NoSchedule"}])) == []


def test_a_cordon_and_its_taint_are_one_cause() -> None:
    taint = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    assert failures(node(unschedulable=True, taints=[taint])) == ["cordoned"]


def test_gpus_that_other_pods_hold_are_not_free() -> None:
    assert failures(node(), pods=(pod(node_name="gpu-a", gpus=1),)) == ["gpus-in-use"]
    finished = pod(node_name="gpu-a", gpus=2)
    finished["status"]["phase"] = "Succeeded"
    assert failures(node(), pods=(finished,)) == []


def test_a_prepared_node_of_another_type_needs_only_what_the_preset_needs() -> None:
    prepared = node(instance_type="on-premise", gpus="1")
    assert failures(prepared) == []


def test_a_node_that_is_not_preferred_must_have_the_instance_type() -> None:
    verdict = nodes.verdict(workspace(), [node("a", instance_type="Standard_NC6s_v3"), node("b")])
    assert verdict.selected == ("b",)
    assert verdict.enough


def test_preferred_nodes_come_first_then_those_already_used_then_by_name() -> None:
    ws = workspace(
        resource={"preferredNodes": ["z"], "count": 2}, status={"workerNodes": ["m"], "conditions": []}
    )
    verdict = nodes.verdict(ws, [node("a"), node("m"), node("z")])
    assert verdict.selected == ("z", "m")


def test_a_preferred_node_that_does_not_exist_is_named_with_the_nearest_one() -> None:
    ws = workspace(resource={"preferredNodes": ["gpu-b"]})
    verdict = nodes.verdict(ws, [node("gpu-a")])
    assert verdict.not_found == ("gpu-b",)
    assert "did you mean gpu-a" in verdict.unusable_preferred[0]


def test_a_pod_never_asks_for_more_gpus_than_its_node_has() -> None:
    ws = workspace(resource={"preferredNodes": ["gpu-a"]})
    small = nodes.verdict(ws, [node(instance_type="on-premise", gpus="1")])
    assert nodes.gpus_per_pod(ws, small.nodes) == 1
    large = nodes.verdict(ws, [node(instance_type="on-premise", gpus="8")])
    assert nodes.gpus_per_pod(ws, large.nodes) == 2  # the instance type's number is the upper bound
