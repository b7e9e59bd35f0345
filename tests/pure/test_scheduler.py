"""Where the sandbox's scheduler puts a pod, and its words when no node will do."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaitoctl.kube.objects import Object, tolerates
from kaitoctl.sandbox import nodes
from kaitoctl.sandbox.nodes import InstanceShape
from kaitoctl.sandbox.workloads import pods
from kaitoctl.sandbox.workloads.scheduler import choose

PLAIN = InstanceShape(cpu=4, memory_mib=8192)
GPU = InstanceShape(cpu=12, memory_mib=114_688, gpus=2, gpu_product="Tesla-V100", gpu_memory_mib=16_384)
SKU = {"key": "sku", "value": "gpu", "effect": "NoSchedule"}


def pod(limits: dict[str, str] | None = None, **spec: Any) -> Object:
    resources = {"limits": limits} if limits else {}
    containers = [{"name": "c", "image": "i", "resources": resources}]
    return {"metadata": {"name": "p", "namespace": "d"}, "spec": {"containers": containers, **spec}}


def affinity(*terms: Object) -> Object:
    required = {"nodeSelectorTerms": list(terms)}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


def expression(key: str, operator: str, *values: str) -> Object:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


def test_the_emptiest_node_that_will_do_is_chosen_by_name_when_equal() -> None:
    both = [nodes.node("b", PLAIN), nodes.node("a", PLAIN)]
    assert choose(pod(), both, {}).node == "a"
    assert choose(pod(), both, {"a": {"pods": Decimal(1)}}).node == "b"


def test_every_reason_is_counted_as_kubernetes_words_it() -> None:
    candidates = [
        nodes.node("a", GPU, taints=[SKU]),
        nodes.node("b", GPU, taints=[SKU]),
        nodes.node("c", PLAIN),
        nodes.broken(nodes.node("d", GPU), "cordoned"),
        nodes.broken(nodes.node("e", GPU), "not-ready"),
        nodes.node("f", GPU),
    ]
    used = {"f": {"nvidia.com/gpu": Decimal(2), "pods": Decimal(1)}}
    assert choose(pod({"nvidia.com/gpu": "1"}), candidates, used).message == (
        "0/6 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }, "
        "1 node(s) were unschedulable, 2 Insufficient nvidia.com/gpu, "
        "2 node(s) had untolerated taint {sku: gpu}."
    )


def test_without_nodes_it_says_so() -> None:
    assert choose(pod(), [], {}).message == "no nodes available to schedule pods"


@pytest.mark.parametrize("damage", ["plugin-missing", "gpus-unhealthy"])
def test_gpus_that_are_not_offered_cannot_be_had(damage: nodes.Damage) -> None:
    broken = nodes.broken(nodes.node("a", GPU), damage)
    assert "Insufficient nvidia.com/gpu" in choose(pod({"nvidia.com/gpu": "1"}), [broken], {}).message
    assert choose(pod(), [broken], {}).node == "a"


@pytest.mark.parametrize(
    ("toleration", "expected"),
    [
        ({"key": "sku", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"}, True),
        ({"key": "sku", "value": "gpu"}, True),
        ({"key": "sku", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"key": "sku", "value": "cpu"}, False),
        ({"key": "sku", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"value": "gpu"}, False),
    ],
)
def test_tolerations(toleration: Object, expected: bool) -> None:
    assert tolerates(toleration, SKU) is expected
    found = choose(pod(tolerations=[toleration]), [nodes.node("a", PLAIN, taints=[SKU])], {}).node
    assert (found == "a") is expected


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        (expression("zone", "In", "x", "y"), True),
        (expression("zone", "In", "y"), False),
        (expression("zone", "NotIn", "y"), True),
        (expression("zone", "Exists"), True),
        (expression("missing", "DoesNotExist"), True),
        (expression("gen", "Gt", "2"), True),
        (expression("gen", "Lt", "2"), False),
        ({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]}, True),
        ({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]}, False),
        ({}, False),
        (expression("zone", "Near", "x"), False),
    ],
)
def test_required_node_affinity(term: Object, expected: bool) -> None:
    labelled = [nodes.node("a", PLAIN, labels={"zone": "x", "gen": "3"})]
    choice = choose(pod(affinity=affinity(term)), labelled, {})
    assert (choice.node == "a") is expected
    assert expected or choice.message == (
        "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
    )
    # Terms are alternatives.
    assert choose(pod(affinity=affinity(term, expression("zone", "Exists"))), labelled, {}).node == "a"


def test_a_node_selector_must_match_whole() -> None:
    labelled = [nodes.node("a", PLAIN, labels={"zone": "x"})]
    assert choose(pod(nodeSelector={"zone": "x"}), labelled, {}).node == "a"
    assert choose(pod(nodeSelector={"zone": "x", "disk": "ssd"}), labelled, {}).node is None


def test_a_preferred_node_wins_over_an_empty_one() -> None:
    preferred = [{"weight": 5, "preference": expression("zone", "In", "x")}]
    wish = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}
    both = [nodes.node("a", PLAIN), nodes.node("b", PLAIN, labels={"zone": "x"})]
    assert choose(pod(affinity=wish), both, {"b": {"pods": Decimal(9)}}).node == "b"


def test_the_largest_init_container_counts_and_sidecars_add() -> None:
    def asking(name: str, cpu: str, **more: str) -> Object:
        return {"name": name, "resources": {"requests": {"cpu": cpu}}, **more}

    spec = {
        "containers": [asking("a", "1"), asking("b", "500m")],
        "initContainers": [
            asking("i", "3"),
            asking("side", "250m", restartPolicy="Always"),
            asking("j", "2"),
        ],
    }
    obj: Object = {"metadata": {"name": "p"}, "spec": spec}
    assert pods.resource_requests(obj) == {"cpu": Decimal(3)}
    spec["initContainers"][0]["resources"]["requests"]["cpu"] = "1"
    assert pods.resource_requests(obj) == {"cpu": Decimal("2.25")}


@given(st.lists(st.integers(0, 4), max_size=12), st.integers(1, 4))
def test_no_node_is_ever_given_more_gpus_than_it_has(asked: list[int], count: int) -> None:
    shape = InstanceShape(cpu=64, gpus=count)
    candidates = [nodes.node(name, shape) for name in "ab"]
    used: dict[str, dict[str, Decimal]] = {}
    for number in asked:
        wanting = pod({"nvidia.com/gpu": str(number)})
        if (name := choose(wanting, candidates, used).node) is not None:
            taken = used.setdefault(name, {"nvidia.com/gpu": Decimal(0), "pods": Decimal(0)})
            taken["nvidia.com/gpu"] += number
            taken["pods"] += 1
        else:
            free = [count - used.get(name, {}).get("nvidia.com/gpu", Decimal(0)) for name in "ab"]
            assert max(free) < number
    assert all(taken["nvidia.com/gpu"] <= count for taken in used.values())
