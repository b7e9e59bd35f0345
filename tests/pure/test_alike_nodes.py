"""Nodes that are alike are judged once, and everything is said of each as if it had been judged alone."""

from __future__ import annotations

import tracemalloc
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest
from builders import node, pod, workspace
from hypothesis import given, settings
from hypothesis import strategies as st

from kaitoctl.advice import Command
from kaitoctl.kaito import node_check
from kaitoctl.kaito.node_check import Crowd, judge
from kaitoctl.kaito.node_check.alike import _NOBODY, AlikeNodes, Parts
from kaitoctl.kube.objects import Object

NOW = datetime(2026, 11, 28, tzinfo=UTC)
READY = {"type": "Ready", "status": "True"}
TAINTS = [
    {"key": "team", "value": "a", "effect": "NoSchedule"},
    {"key": "ebs.csi.aws.com/agent-not-ready", "effect": "NoExecute"},
    {"key": "karpenter.sh/disrupted", "effect": "NoSchedule"},
]


def of(
    conditions: list[Object], amounts: Object, labels: Object, annotations: Object, spec: Object
) -> Object:
    """A node but for its name."""
    return {
        "metadata": {"labels": labels, "annotations": annotations},
        "spec": spec,
        "status": {"capacity": {"nvidia.com/gpu": "2"}, "allocatable": amounts, "conditions": conditions},
    }


def some(*choices: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(choices)


KINDS = st.builds(
    of,
    st.lists(
        some(
            READY,
            {**READY, "lastTransitionTime": "2026-11-01T00:00:00Z"},
            {"type": "Ready", "status": "False", "message": "no kubelet"},
            {"type": "XIDErrors", "status": "True", "message": "gpu-a fell off the bus"},
            {"type": "MemoryPressure", "status": "True", "lastTransitionTime": "2026-11-02T00:00:00Z"},
        ),
        max_size=3,
    ),
    some(
        {},
        {"nvidia.com/gpu": "1"},
        {"nvidia.com/gpu": "2", "memory": "1Gi", "pods": "1"},
        {"amd.com/gpu": "1"},
    ),
    st.fixed_dictionaries(
        {"node.kubernetes.io/instance-type": some("Standard_NC12s_v3", "Standard_NC24s_v3")},
        optional={
            "apps": some("falcon-7b", "other"),
            "kaito.sh/workspace": some("other"),
            "nvidia.com/gpu.replicas": some("4"),
            "kubernetes.io/arch": some("arm64"),
        },
    ),
    st.fixed_dictionaries({}, optional={"cluster-api.cluster.x-k8s.io/disable-machine-create": some("true")}),
    st.fixed_dictionaries(
        {}, optional={"taints": st.lists(some(*TAINTS), max_size=2), "unschedulable": st.booleans()}
    ),
)
RULES = some(
    node_check.OWN_RULES,
    node_check.Rules(target="v0.4"),
    *(node_check.Rules(target="v0.12", provisioner=one) for one in node_check.PROVISIONERS),
)


def named(kind: Object, name: str) -> Object:
    return {**kind, "metadata": {**kind["metadata"], "name": name}}


@settings(max_examples=200, deadline=None)
@given(
    st.lists(KINDS, min_size=1, max_size=3),
    RULES,
    some([], ["gpu-0-0", "gpu-a"]),
    some(None, {"spec": {"containers": [], "nodeName": "gpu-0-1", "nodeSelector": {"apps": "other"}}}),
    st.dictionaries(some("gpu-0-0", "gpu-0-1", "gpu-1-0"), some(1, 2), max_size=2),
    st.booleans(),
)
def test_the_same_is_said_as_of_each_alone(
    kinds: list[Object], rules: node_check.Rules, preferred: list[str], template: Any, held: Any, shared: bool
) -> None:
    ws = workspace(resource={"preferredNodes": preferred} if preferred else {})
    if template is not None:
        ws["inference"] = {"template": template}
    nodes = [named(kind, f"gpu-{one}-{copy}") for one, kind in enumerate(kinds) for copy in range(3)]
    holding = [pod(f"p-{name}", node_name=name, gpus=gpus) for name, gpus in held.items()]

    def verdict(of_these: list[Object]) -> node_check.Verdict:
        crowds = node_check.crowds(ws, holding)
        return node_check.verdict(ws, of_these, holding, rules=rules, crowds=crowds, now=NOW)

    alone = verdict(deepcopy(nodes))
    parts = Parts()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(judge, "_FEW", 0)
        found = verdict([parts.shared(one) for one in deepcopy(nodes)] if shared else nodes)
    assert found == alone
    assert _NOBODY not in repr(found)


def judgements(nodes: list[Object], monkeypatch: pytest.MonkeyPatch) -> int:
    """How many nodes are judged for a verdict on these."""
    count, judge_node = 0, judge.judge_node

    def counted(*given: Any) -> node_check.NodeVerdict:
        nonlocal count
        count += 1
        return judge_node(*given)

    with monkeypatch.context() as patched:
        patched.setattr(judge, "judge_node", counted)
        verdict = node_check.verdict(workspace(), nodes, [], now=NOW)
    assert len(verdict.nodes) == len(nodes)
    return count


def pool(count: int) -> list[Object]:
    """Nodes of one pool, some of them cordoned, each Ready since a moment of its own."""
    found = []
    for number in range(count):
        made = node(f"gpu-{number:05}", unschedulable=number % 10 == 0)
        made["status"]["conditions"] = [
            {**READY, "lastTransitionTime": f"2026-11-01T00:00:{number % 60:02}Z"}
        ]
        found.append(made)
    return found


def test_nodes_of_a_pool_are_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for count in (110, 300):
        assert judgements(node_check.keeping()(pool(count)), monkeypatch) == 2


def test_a_command_names_the_node_that_it_is_about() -> None:
    found = node_check.verdict(workspace(), pool(110), [], now=NOW)
    uncordon = {
        judged.name: finding.command
        for judged in found.nodes
        for finding in judged.findings
        if finding.code == "cordoned"
    }
    names = [f"gpu-{number:05}" for number in range(0, 110, 10)]
    assert uncordon == {name: Command("kubectl uncordon", name) for name in names}


def test_little_is_kept_of_a_node_that_is_like_another() -> None:
    def kept(count: int) -> int:
        nodes, parts = pool(count), Parts()
        tracemalloc.start()
        try:
            held = [parts.shared(nodes.pop()) for _ in range(count)]
            size, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert len(held) == count
        return size

    assert (kept(300) - kept(100)) / 200 <= 700, "bytes"


def test_what_is_no_json_is_judged_alone() -> None:
    odd = node(labels={"apps": "falcon-7b"}, unschedulable=object())
    seen: list[Object] = []

    def judged(one: Object, crowd: Crowd) -> node_check.NodeVerdict:
        seen.append(one)
        return judge.judge_node(need, one, crowd)

    need = node_check.need_of(workspace(), node_check.OWN_RULES)
    AlikeNodes(need, judged).verdict("gpu-a", odd, Crowd(0, False, 0))
    assert seen == [odd]
