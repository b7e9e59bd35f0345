from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from builders import node, pod, workspace
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kaitoctl.advice import text
from kaitoctl.kaito import api, node_check
from kaitoctl.kaito.catalog import SHIPPED
from kaitoctl.kaito.desired import placement
from kaitoctl.kaito.node_check import codes as node_codes
from kaitoctl.kube.objects import Object


def failures(obj: Object, ws: Object | None = None, pods: tuple[Object, ...] = ()) -> list[str]:
    """The codes that speak against a preferred node."""
    name = obj["metadata"]["name"]
    asking = ws or workspace()
    asking["resource"]["preferredNodes"] = [name]
    (judged,) = node_check.verdict(asking, [obj], pods).nodes
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
        ({"gpus": "1"}, "gpu-unhealthy"),
        ({"gpus": "two"}, "bad-quantity"),
    ],
)
def test_each_cause_has_its_code(change: dict[str, Any], code: str) -> None:
    assert failures(node(**change)) == [code]


def test_a_missing_label_comes_with_the_command_that_mends_it() -> None:
    ws = workspace(resource={"preferredNodes": ["gpu-a"]})
    (judged,) = node_check.verdict(ws, [node(labels={})]).nodes
    assert text(judged.failures[0].command) == "kubectl label node gpu-a apps=falcon-7b"


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
    verdict = node_check.verdict(workspace(), [node("a", instance_type="Standard_NC6s_v3"), node("b")])
    assert verdict.selected == ("b",)
    assert verdict.enough


def test_preferred_nodes_come_first_then_those_already_used_then_by_name() -> None:
    ws = workspace(
        resource={"preferredNodes": ["z"], "count": 2}, status={"workerNodes": ["m"], "conditions": []}
    )
    verdict = node_check.verdict(ws, [node("a"), node("m"), node("z")])
    assert verdict.selected == ("z", "m")


def test_a_preferred_node_that_does_not_exist_is_named_with_the_nearest_one() -> None:
    ws = workspace(resource={"preferredNodes": ["gpu-b"]})
    verdict = node_check.verdict(ws, [node("gpu-a")])
    assert verdict.not_found == ("gpu-b",)
    assert "did you mean gpu-a" in verdict.unusable_preferred[0]


def test_a_pod_never_asks_for_more_gpus_than_its_node_has() -> None:
    ws = workspace(resource={"preferredNodes": ["gpu-a"]})
    small = node_check.verdict(ws, [node(instance_type="on-premise", gpus="1")])
    assert node_check.gpus_per_pod(ws, small.nodes, SHIPPED) == 1
    large = node_check.verdict(ws, [node(instance_type="on-premise", gpus="8")])
    assert node_check.gpus_per_pod(ws, large.nodes, SHIPPED) == 2  # the instance type's is the upper bound


# --- whose selection ---------------------------------------------------------------------------------------


def of_rules(target: str, provisioner: str = "azure-gpu-provisioner") -> node_check.Rules:
    return node_check.Rules(target, provisioner)


def test_kaito_takes_a_node_that_nothing_can_run_on_and_buys_none() -> None:
    ws = workspace(resource={"preferredNodes": ["gpu-a"]})
    verdict = node_check.verdict(ws, [node(unschedulable=True)], rules=of_rules("v0.4"))
    assert (verdict.enough, verdict.would_create, verdict.taken_unusable) == (False, 0, ("gpu-a",))
    assert "KAITO would take gpu-a all the same" in verdict.summary


def test_kaito_buys_a_node_for_each_that_lacks_the_labels() -> None:
    ws = workspace(resource={"preferredNodes": ["a", "b"], "count": 2})
    verdict = node_check.verdict(ws, [node("a"), node("b", labels={})], rules=of_rules("v0.4"))
    assert verdict.summary == (
        "1 of 2 required nodes usable. Applying now would make KAITO create 1 new Standard_NC12s_v3 node."
    )


def test_our_controller_buys_nothing_while_a_preferred_node_cannot_be_used() -> None:
    ws = workspace(resource={"preferredNodes": ["gpu-a"]})
    assert node_check.verdict(ws, [node(labels={})]).would_create == 0
    assert node_check.verdict(workspace(), []).would_create == 1


def test_kaito_asks_for_the_instance_types_gpus_on_every_node() -> None:
    ws = workspace(resource={"preferredNodes": ["gpu-a"]})
    small = node(instance_type="on-premise", gpus="1")
    (judged,) = node_check.verdict(ws, [small], rules=of_rules("v0.4")).nodes
    assert [finding.code for finding in judged.failures] == ["too-few-gpus"]


def test_v0_12_does_not_read_preferred_nodes() -> None:
    ws = workspace(resource={"preferredNodes": ["z"]})
    other = node("z", instance_type="on-premise")
    verdict = node_check.verdict(ws, [other, node("a")], rules=of_rules("v0.12", "karpenter"))
    assert verdict.selected == ("a",)


def test_v0_12_with_azures_provisioner_counts_only_its_own_nodes() -> None:
    labels = {"node.kubernetes.io/instance-type": "Standard_NC12s_v3"}
    own = {**labels, "kaito.sh/workspace": "falcon", "kaito.sh/workspacenamespace": "default"}
    verdict = node_check.verdict(workspace(), [node("a"), node("b", labels=own)], rules=of_rules("v0.12"))
    assert verdict.selected == ("b",)


@pytest.mark.parametrize("provisioner", ["azure-gpu-provisioner", "karpenter"])
def test_our_controller_takes_only_its_own_nodes_with_a_provisioner_of_them(provisioner: str) -> None:
    """As its pods select: the Workspace's labels, and those of the provisioner."""
    keys = api.PROVISIONER_LABELS[provisioner]
    nodes = [node("bare"), node("mine"), node("others")]
    for one, name in zip(nodes[1:], ("falcon", "phi"), strict=True):
        one["metadata"]["labels"] |= dict(zip(keys, (name, "default"), strict=True))
    rules = node_check.rules_for(workspace(), "kaitoctl", provisioner, known=SHIPPED)
    verdict = node_check.verdict(workspace(), nodes, rules=rules)
    assert verdict.selected == ("mine",)
    bare, others = (next(one for one in verdict.nodes if one.name == name) for name in ("bare", "others"))
    assert [(one.code, bool(one.command)) for one in bare.failures] == [("label-missing", False)]
    assert [one.message for one in others.failures] == [
        "kaitoctl's controller made it for the Workspace default/phi"
    ]
    asked = placement.node_affinity(workspace(), provisioner=provisioner)
    (term,) = asked["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    asked_labels = {one["key"]: one["values"][0] for one in term["matchExpressions"]}
    assert asked_labels == node_check.labels_asked(workspace(), rules)


@pytest.mark.parametrize("provisioner", ["", "byo"])
def test_our_controller_takes_any_node_with_the_labels_without_one(provisioner: str) -> None:
    rules = node_check.rules_for(workspace(), "kaitoctl", provisioner, known=SHIPPED)
    assert node_check.verdict(workspace(), [node("bare")], rules=rules).selected == ("bare",)


def test_v0_12_creates_nothing_on_your_own_nodes_and_insists_on_gpu_labels() -> None:
    ws = workspace()
    del ws["resource"]["instanceType"]
    rules = node_check.rules_for(ws, "v0.12", known=SHIPPED)
    verdict = node_check.verdict(ws, [node(instance_type="on-premise")], rules=rules)
    assert rules.provisioner == "byo"
    assert [finding.code for finding in verdict.nodes[0].failures] == ["gpu-labels-missing"]
    assert verdict.would_create == 0


def test_a_spot_node_is_tolerated_from_v0_12_on() -> None:
    spot = node(
        taints=[{"key": "kubernetes.azure.com/scalesetpriority", "value": "spot", "effect": "NoSchedule"}]
    )
    assert failures(spot) == ["taint-of-controller"]
    assert node_check.verdict(workspace(), [spot], rules=of_rules("v0.12", "karpenter")).enough


# --- what cannot be known, and what makes no sense ---------------------------------------------------------


def test_without_a_list_of_pods_in_use_is_unknown_and_not_judged() -> None:
    (judged,) = node_check.verdict(workspace(), [node()], None).nodes
    assert (judged.usable, judged.gpus.in_use, judged.gpus.free) == (True, None, None)


def test_the_workspaces_own_pods_do_not_count_as_taken() -> None:
    own = pod(node_name="gpu-a", gpus=2, labels={"kaito.sh/workspace": "falcon"})
    assert node_check.pods_of_others(workspace(), [own]) == []
    elsewhere = {**own, "metadata": {**own["metadata"], "namespace": "other"}}
    assert node_check.pods_of_others(workspace(), [elsewhere]) == [elsewhere]


def test_a_quantity_of_a_hundred_million_digits_costs_nothing() -> None:
    assert failures(node(gpus="1e99999999")) == ["bad-quantity"]


def test_no_name_from_a_file_becomes_a_shell_command() -> None:
    hostile = node("a; rm -rf /", labels={})
    (judged,) = node_check.verdict(workspace(resource={"preferredNodes": ["a; rm -rf /"]}), [hostile]).nodes
    assert text(judged.failures[0].command) == "kubectl label node 'a; rm -rf /' apps=falcon-7b"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_ODD = st.sampled_from(["1", "0", "-1", "0.5", "1Ki", "nan", "Infinity", True, "True", "gpu-a"]) | _JSON


def _maybe(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({}, optional=fields) | _ODD


_AMOUNTS = _maybe(
    dict.fromkeys(
        (
            *("nvidia.com/gpu", "nvidia.com/mig-1g.5gb", "amd.com/gpu", "nvidia.com/gpu.shared"),
            *("memory", "cpu", "pods", "ephemeral-storage"),
        ),
        _ODD,
    )
)
_LABELS = _maybe(
    dict.fromkeys(
        (
            *("apps", "node.kubernetes.io/instance-type", "kubernetes.io/arch", "kaito.sh/workspace"),
            *("nvidia.com/gpu.memory", "nvidia.com/gpu.count", "nvidia.com/gpu.replicas"),
            *("nvidia.com/gpu.product", "nvidia.com/mig.config.state"),
        ),
        _ODD,
    )
)
_CONTAINERS = st.lists(_maybe({"resources": _maybe({"requests": _AMOUNTS, "limits": _AMOUNTS})}), max_size=2)
_NODES = _maybe(
    {
        "metadata": _maybe({"name": _ODD | st.just("gpu-a"), "labels": _LABELS, "deletionTimestamp": _ODD}),
        "spec": _maybe(
            {
                "taints": st.lists(
                    _maybe(
                        {
                            "key": st.sampled_from(
                                ["karpenter.sh/disrupted", "ToBeDeletedByClusterAutoscaler"]
                            )
                            | _ODD,
                            "value": st.just("9999999999") | _ODD,
                            "effect": st.just("NoSchedule"),
                            "timeAdded": _ODD,
                        }
                    ),
                    max_size=2,
                )
                | _ODD,
                "unschedulable": _ODD,
            }
        ),
        "status": _maybe(
            {
                "capacity": _AMOUNTS,
                "allocatable": _AMOUNTS,
                "nodeInfo": _maybe({"architecture": _ODD}),
                "conditions": st.lists(
                    _maybe(
                        {
                            "type": st.sampled_from(["Ready", "XIDErrors", "GPUHealthy"]) | _ODD,
                            "status": st.sampled_from(["True", "False"]) | _ODD,
                            "lastTransitionTime": _ODD,
                        }
                    ),
                    max_size=2,
                )
                | _ODD,
            }
        ),
    }
)
_PODS = _maybe(
    {
        "metadata": _maybe({"name": _ODD, "labels": _LABELS}),
        "spec": _maybe({"nodeName": _ODD, "containers": _CONTAINERS, "initContainers": _CONTAINERS}),
        "status": _maybe({"phase": _ODD}),
    }
)
_TERMS = st.lists(
    _maybe(
        {"matchExpressions": st.lists(_maybe({"key": _ODD, "operator": _ODD, "values": _ODD}), max_size=2)}
    ),
    max_size=2,
)
_TEMPLATES = _maybe(
    {
        "spec": _maybe(
            {
                "containers": _CONTAINERS | _ODD,
                "initContainers": _CONTAINERS | _ODD,
                "tolerations": st.lists(_maybe({"key": _ODD, "operator": _ODD}), max_size=2) | _ODD,
                "nodeSelector": _maybe({"apps": _ODD}),
                "nodeName": _ODD,
                "affinity": _maybe(
                    {
                        "nodeAffinity": _maybe(
                            {
                                "requiredDuringSchedulingIgnoredDuringExecution": _maybe(
                                    {"nodeSelectorTerms": _TERMS | _ODD}
                                )
                            }
                        )
                    }
                ),
            }
        )
    }
)
_RULES = st.sampled_from(
    [node_check.OWN_RULES, of_rules("v0.3"), *(of_rules("v0.12", how) for how in node_check.PROVISIONERS)]
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(_NODES, max_size=3), st.lists(_PODS, max_size=3), _RULES, _TEMPLATES | st.none())
def test_a_verdict_is_given_whatever_nodes_and_pods_look_like(
    found: list[Any], holding: list[Any], rules: node_check.Rules, template: Any
) -> None:
    ws = workspace(resource={"preferredNodes": ["gpu-a"]})
    if template is not None:
        ws["inference"] = {"template": template}
    verdict = node_check.verdict(
        ws,
        found,
        node_check.pods_of_others(ws, holding),
        rules=rules,
        crowds=node_check.crowds(ws, holding),
        now=datetime(2026, 11, 28, tzinfo=UTC),
    )
    assert set(node_check.labels_read(ws, rules)) >= {"apps"} - ({"apps"} if rules.is_modern else set())
    assert set(verdict.selected) <= {node.name for node in verdict.nodes if node.usable and node.exists}
    assert 0 <= verdict.would_create <= verdict.required
    assert all(finding.code in node_codes.CODES for node in verdict.nodes for finding in node.findings)
    assert verdict.summary.startswith(f"{len(verdict.selected)} of {verdict.required} required nodes")


@pytest.mark.parametrize(
    ("labels", "code"),
    [
        ({"kaito.sh/workspace": "7b", "kaito.sh/workspacenamespace": "default"}, "of-another-workspace"),
        ({"kaito.sh/workspace": "falcon", "kaito.sh/workspacenamespace": "other"}, "of-another-workspace"),
        ({"kaito.sh/workspace": "7b", "kaito.sh/workspacenamespace": "other"}, "of-another-workspace"),
        ({}, "label-missing"),
    ],
)
def test_kaitos_own_labels_are_never_to_be_set_by_hand(labels: dict[str, str], code: str) -> None:
    """`kubectl label node ... kaito.sh/workspace=` would take the node under another Workspace's model."""
    theirs = node("gpu-a", labels={"node.kubernetes.io/instance-type": "Standard_NC12s_v3", **labels})
    (judged,) = node_check.verdict(workspace(), [theirs], rules=of_rules("v0.12")).nodes
    assert {finding.code for finding in judged.failures} == {code}
    assert [text(finding.command) for finding in judged.failures if finding.command] == []
    assert not judged.labels_to_set
    assert not judged.only_labels_are_wrong
    assert not judged.has_all_labels


@pytest.mark.parametrize(
    "key", ["kaito.sh/workspace", "kaito.sh/workspacenamespace", "karpenter.kaito.sh/workspace-name"]
)
@pytest.mark.parametrize("target", ["v0.3", "v0.4", "kaitoctl"])
def test_not_even_where_the_selector_names_them(key: str, target: str) -> None:
    ws = workspace(resource={"labelSelector": {"matchLabels": {key: "falcon"}}})
    here = {"node.kubernetes.io/instance-type": "Standard_NC12s_v3"}
    for labels in (here, {**here, key: "other"}):
        (judged,) = node_check.verdict(ws, [node("gpu-a", labels=labels)], rules=of_rules(target)).nodes
        assert not judged.usable
        assert not any(text(finding.command).startswith("kubectl label") for finding in judged.findings)
        assert not judged.labels_to_set
