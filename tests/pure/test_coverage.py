"""Lists of pods that leave some out: whatever shows it is said, and a whole list is let be."""

from __future__ import annotations

from typing import Any

import pytest
from builders import node, pod

from kaitoctl.kaito.node_check import coverage

A, B = node("gpu-a"), node("gpu-b")


def of(namespace: str, node_name: str, **fields: Any) -> dict[str, Any]:
    made = pod(node_name=node_name, **fields)
    return {**made, "metadata": {**made["metadata"], "namespace": namespace}}


WHOLE = [of("kube-system", "gpu-a"), of("kube-system", "gpu-b"), of("ml", "gpu-a", gpus=1)]


@pytest.mark.parametrize(
    ("pods", "words"),
    [
        ([], "holds no pods at all"),
        ([of("ml", "gpu-a"), of("ml", "gpu-b")], "covers only the namespace ml"),
        ([of("kube-system", "gpu-a")], "covers only the namespace kube-system"),
        ([of("gpu-operator", "gpu-a"), of("gpu-operator", "gpu-b")], "only the namespace gpu-operator"),
        ([of("ml", "gpu-a"), of("web", "gpu-b")], "covers only the namespaces ml, web"),
        ([of(f"t{n}", "gpu-a") for n in range(9)], "covers only the namespaces t0, t1, t2 and 6 more"),
        ([of("kube-system", "cpu-1"), of("ml", "cpu-1")], "has no pod on any of these nodes"),
        ([of("kube-system", "gpu-a"), of("ml", "gpu-a")], "has no pod on gpu-b, not even that of a device"),
        ([of("kube-system", ""), of("ml", "")], "has no pod on any of these nodes"),
    ],
)
def test_what_a_list_leaves_out_is_said(pods: list[Any], words: str) -> None:
    assert words in coverage.gap([A, B], pods)


def test_a_sandbox_has_no_pods_of_its_own() -> None:
    simulated = [
        {**one, "status": {**one["status"], "nodeInfo": {"containerRuntimeVersion": "sandbox://1"}}}
        for one in (A, B)
    ]
    assert coverage.gap(simulated, [of("default", "gpu-a")]) == ""
    assert coverage.gap(simulated, []) != ""
    assert coverage.gap([A, *simulated], [of("default", "gpu-a")]) != ""


@pytest.mark.parametrize(
    "system", ["kube-system", "openshift-dns", "gke-managed-system", "calico-system", "cattle-system"]
)
def test_a_whole_list_is_let_be(system: str) -> None:
    pods = [of(system, "gpu-a"), of(system, "gpu-b"), of("ml", "gpu-a", gpus=1)]
    assert coverage.gap([A, B, node("cpu-1", gpus="0", capacity="0")], pods) == ""
