"""What ResourceQuotas leave for pods; tests/controlplane/test_plans.py asks a real API server the same."""

from __future__ import annotations

from typing import Any

import pytest

from kaitoctl.kube.objects import Object
from kaitoctl.kube.quotas import Pods, Quotas

GPUS = "requests.nvidia.com/gpu"


def quota(hard: dict[str, str], used: dict[str, str] | None = None, **spec: Any) -> Object:
    return {
        "metadata": {"name": "team", "namespace": "n"},
        "spec": {"hard": hard, **spec},
        "status": {"hard": hard, "used": used or {}},
    }


def pod(gpus: str = "2", **spec: Any) -> Object:
    amounts = {"nvidia.com/gpu": gpus}
    return {"containers": [{"name": "c", "resources": {"limits": amounts, "requests": amounts}}], **spec}


def limits(**amounts: str) -> Object:
    return {"containers": [{"name": "c", "resources": {"limits": amounts}}]}


def disk(size: str, of_class: str = "") -> Object:
    claim: Object = {"resources": {"requests": {"storage": size}}}
    if of_class:
        claim["storageClassName"] = of_class
    return {"volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": claim}}}]}


@pytest.mark.parametrize(
    ("one", "spec", "wanted", "let_in", "words"),
    [
        (quota({GPUS: "4"}, {GPUS: "2"}), pod(), 1, 1, ""),
        (quota({GPUS: "4"}, {GPUS: "3"}), pod(), 1, 0, f"none of its pod ({GPUS}: 2 each, 1 of 4 left)"),
        (quota({GPUS: "4"}, {GPUS: "5"}), pod(), 1, 0, "0 of 4 left"),
        (quota({"pods": "3"}, {"pods": "1"}), pod(), 3, 2, "room for 2 of its 3 pods (pods: 1 each"),
        (quota({"count/pods": "0"}), pod(), 1, 0, "count/pods"),
        (quota({"services": "0"}), pod(), 1, 1, ""),
        (
            quota({"requests.storage": "100Gi"}, {"requests.storage": "60Gi"}),
            disk("60Gi"),
            1,
            0,
            "40Gi of 100Gi",
        ),
        (quota({"persistentvolumeclaims": "0"}), disk("1Gi"), 1, 0, "persistentvolumeclaims"),
        (quota({"fast.storageclass.storage.k8s.io/requests.storage": "1"}), disk("1Gi"), 1, 1, ""),
        (
            quota({"fast.storageclass.storage.k8s.io/requests.storage": "1"}),
            disk("1Gi", "fast"),
            1,
            0,
            "fast",
        ),
        (quota({"requests.memory": "1Gi"}), pod(), 1, 0, "do not say requests.memory"),
        (quota({"requests.memory": "1Gi"}), limits(memory="2Gi"), 1, 0, "requests.memory: 2Gi each"),
        (quota({"memory": "4Gi"}), limits(memory="2Gi"), 1, 1, ""),
        (quota({"limits.cpu": "1"}), limits(cpu="1500m"), 1, 0, "limits.cpu: 1.5 each, 1 of 1 left"),
        (quota({"pods": "0"}, scopes=["BestEffort"]), limits(cpu="1"), 1, 1, ""),
        (quota({"pods": "0"}, scopes=["BestEffort"]), pod(), 1, 0, "pods"),  # GPUs are no matter of QoS
        (quota({"pods": "0"}, scopes=["Terminating"]), pod(), 1, 1, ""),
        (quota({"pods": "0"}, scopes=["Terminating"]), pod(activeDeadlineSeconds=5), 1, 0, "pods"),
        (quota({"pods": "0"}, scopes=["NotTerminating"]), pod(), 1, 0, "pods"),
    ],
)
def test_what_a_quota_lets_in(one: Object, spec: Object, wanted: int, let_in: int, words: str) -> None:
    found, why = Quotas([one]).take("n", Pods(spec, wanted))
    assert found == let_in
    assert words in why and bool(why) is (let_in < wanted)
    assert Quotas([one]).take("another", Pods(spec, wanted)) == (wanted, "")


@pytest.mark.parametrize(
    ("operator", "values", "own", "counts"),
    [
        ("In", ["high"], "high", True),
        ("In", ["high"], "low", False),
        ("NotIn", ["high"], "low", True),
        ("Exists", [], "", False),
        ("DoesNotExist", [], "", True),
    ],
)
def test_a_quota_of_a_priority(operator: str, values: list[str], own: str, counts: bool) -> None:
    expression = {"scopeName": "PriorityClass", "operator": operator, "values": values}
    one = quota({"pods": "0"}, scopeSelector={"matchExpressions": [expression]})
    found, _ = Quotas([one]).take("n", Pods(pod(priorityClassName=own), 1))
    assert found == (0 if counts else 1)


def test_what_was_let_in_is_counted_and_what_ends_first_is_not() -> None:
    quotas = Quotas([quota({GPUS: "4"}, {GPUS: "2"})])
    old = {"spec": pod()}
    assert quotas.take("n", Pods(pod(), 2), freed=[old]) == (2, "")
    assert quotas.take("n", Pods(pod(), 1))[0] == 0


def test_a_limit_range_says_what_containers_do_not() -> None:
    one = quota({"requests.cpu": "2", "limits.cpu": "2"})
    limit = {"type": "Container", "default": {"cpu": "3"}, "defaultRequest": {"cpu": "1"}}
    ranges = [{"metadata": {"name": "r", "namespace": "n"}, "spec": {"limits": [limit]}}]
    found, why = Quotas([one], ranges).take("n", Pods(pod(), 1))
    assert found == 0 and "limits.cpu: 3 each" in why


def test_init_containers_count_as_much_as_they_need_at_once() -> None:
    amounts = {"limits": {"cpu": "5"}}
    spec = {**limits(cpu="1"), "initContainers": [{"name": "i", "resources": amounts}]}
    assert "limits.cpu: 5 each" in Quotas([quota({"limits.cpu": "4"})]).take("n", Pods(spec, 1))[1]


def test_what_cannot_be_read_counts_as_nothing() -> None:
    assert Quotas([quota({"pods": "many"})]).take("n", Pods(pod(), 1))[0] == 0
    assert Quotas([quota({GPUS: "1"})]).take("n", Pods(pod("x"), 1))[0] == 1
    assert Quotas([{"metadata": {"name": "q", "namespace": "n"}}]).take("n", Pods(pod(), 1))[0] == 1
