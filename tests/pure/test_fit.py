from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from kaitoctl.kaito import catalog, estimate, fit, gpu_nodes, node_check, validation
from kaitoctl.kaito.catalog import InstanceType, Model, Preset
from kaitoctl.kaito.estimate import Shape
from kaitoctl.kaito.node_check import inventory


def model(name: str) -> Model:
    found = catalog.SHIPPED.model(name)
    assert found is not None
    return found


def preset(name: str) -> Preset:
    found = catalog.SHIPPED.preset(name)
    assert found is not None
    return found


def shape(instance_type: str) -> Shape:
    found = catalog.SHIPPED.instance_type(instance_type)
    assert found is not None
    return Shape(found.gpus, found.gpu_memory_gib / found.gpus)


# --- the estimator of v0.12 ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "instance_type", "nodes"),
    [
        # KAITO's own examples for v1beta1, and the nodes that its formula gives them.
        ("deepseek-r1-distill-qwen-14b", "Standard_NC24ads_A100_v4", 1),
        ("deepseek-r1-0528", "Standard_NC80adis_H100_v5", 5),
        ("deepseek-v3-0324", "Standard_NC80adis_H100_v5", 5),
        ("gemma-3-27b-instruct", "Standard_NC24ads_A100_v4", 1),
        ("gemma-3-4b-instruct", "Standard_NV36ads_A10_v5", 1),
        ("llama-3.1-8b-instruct", "Standard_NC96ads_A100_v4", 1),
        ("mistral-large-3-675b-instruct", "Standard_NC80adis_H100_v5", 5),
        ("phi-3-mini-128k-instruct", "Standard_NC24ads_A100_v4", 1),
        ("qwen2.5-coder-32b-instruct", "Standard_NC24ads_A100_v4", 2),
    ],
)
def test_a_model_takes_as_many_nodes_as_kaito_estimates(name: str, instance_type: str, nodes: int) -> None:
    assert estimate.estimated_nodes(model(name), shape(instance_type)) == nodes
    assert fit.sizing(model(name), shape(instance_type)).nodes == nodes


def test_the_formula_by_hand() -> None:
    # (0.84 x 80 - 2.3 - 2048 x 262144 / 2^30) / 1.05 = 61.33 GiB; 1.02 x 61.03 = 62.25 do not go in.
    assert estimate.estimated_gpus(model("qwen2.5-coder-32b-instruct"), Shape(1, 80)) == 2


def test_a_longer_context_takes_more() -> None:
    wanted = model("phi-4")
    assert estimate.estimated_nodes(wanted, Shape(1, 40)) == 1
    assert estimate.estimated_nodes(wanted, Shape(1, 40), context=16384) == 2
    assert not fit.sizing(wanted, Shape(1, 80), context=20_000).fits  # the model's own limit is 16384


def test_a_gpu_that_the_cache_fills_holds_no_weights() -> None:
    assert estimate.estimated_gpus(model("phi-4"), Shape(1, 2)) is None
    assert "no weights" in fit.sizing(model("phi-4"), Shape(1, 2)).why


def test_more_nodes_than_allowed_are_said_and_not_taken() -> None:
    sized = fit.sizing(model("deepseek-r1-0528"), Shape(2, 94), max_nodes=4)
    assert not sized.fits and "5 nodes" in sized.why


def test_how_a_model_is_spread_is_said() -> None:
    assert "copy on each of 2" in fit.sizing(model("phi-4"), Shape(2, 80)).why
    assert "tensor parallel over 2" in fit.sizing(model("qwen2.5-coder-32b-instruct"), Shape(2, 80)).why
    assert "pipeline over 2" in fit.sizing(model("qwen2.5-coder-32b-instruct"), Shape(1, 80)).why


@given(st.sampled_from(list(catalog.models().values())), st.integers(1, 16), st.integers(1, 200))
@settings(max_examples=300, deadline=None)
def test_enough_nodes_hold_the_weights_and_one_less_does_not(wanted: Model, gpus: int, memory: int) -> None:
    nodes = estimate.estimated_nodes(wanted, Shape(gpus, memory))
    if nodes is None:
        return
    usable = (0.84 * memory - 2.3 - 2048 * wanted.bytes_per_token / gpus / 2**30) / 1.05
    assert nodes * gpus * usable > 1.02 * wanted.weights_gib * (1 - 1e-9)
    devices = math.floor(1.02 * wanted.weights_gib / usable) + 1
    assert (nodes - 1) * gpus < devices <= nodes * gpus
    sized = fit.sizing(wanted, Shape(gpus, memory), max_nodes=10**6)
    assert sized.nodes == nodes and 0 < sized.used <= 1


# --- presets up to v0.4 ----------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", catalog.presets().values(), ids=catalog.presets().keys())
def test_fit_and_validation_agree_on_every_instance_type(wanted: Preset) -> None:
    for machine in catalog.instance_types().values():
        if fit.fault_of(machine):
            assert not validation.fits(wanted, machine)
            continue
        sized = fit.sizing(wanted, shape(machine.name))
        if sized.fits:
            assert validation.fits(wanted, machine, sized.nodes)
            assert not wanted.distributed or wanted.world_size % sized.nodes == 0
        else:
            assert not any(
                validation.fits(wanted, machine, count)
                for count in range(1, 9)
                if not (wanted.distributed and wanted.world_size % count)
            )


def test_a_preset_that_cannot_spread_never_takes_two_nodes() -> None:
    sized = fit.sizing(preset("falcon-40b"), Shape(1, 80))
    assert not sized.fits and "2 GPUs needed on one node" in sized.why


def test_a_distributed_preset_shares_its_processes_equally() -> None:
    assert fit.sizing(preset("llama-2-13b-chat"), Shape(1, 16)).nodes == 2
    assert (
        fit.sizing(preset("llama-2-70b"), Shape(3, 80)).nodes == 4
    )  # 3 nodes have 9 GPUs, but 8 / 3 is no number
    assert "8 nodes" in fit.sizing(preset("llama-2-70b"), Shape(1, 80), max_nodes=7).why


# --- instance types --------------------------------------------------------------------------------------


def choices(name: str, target: str = "v0.4", **how: Any) -> dict[str, fit.Choice]:
    wanted = catalog.SHIPPED.preset(name) if target != "v0.12" else catalog.SHIPPED.model(name)
    assert wanted is not None
    found = fit.choices_on(wanted, catalog.instance_types().values(), target=target, **how)
    return {choice.instance_type.name: choice for choice in found}


def test_the_smallest_comes_first_and_what_does_not_fit_last() -> None:
    found = list(choices("llama-2-13b-chat").values())
    assert found[0].instance_type.name == "Standard_NC12s_v3"
    fitting = [choice for choice in found if choice.sizing.fits]
    assert found[: len(fitting)] == fitting
    assert [choice.memory_gib for choice in fitting] == sorted(choice.memory_gib for choice in fitting)
    assert len(found) == len(catalog.instance_types())


def test_every_instance_type_that_is_left_out_says_why() -> None:
    for target in catalog.TARGETS:
        assert all(choice.sizing.why for choice in choices("phi-3-mini-4k-instruct", target).values())


@pytest.mark.parametrize(
    ("instance_type", "target", "why"),
    [
        ("Standard_ND96asr_A100_v4", "v0.4", "no such type"),
        ("g4ad.xlarge", "v0.4", "not an NVIDIA GPU"),
        ("g5g.xlarge", "v0.4", "arm64"),
        ("Standard_NC12s_v3", "v0.12", "KAITO v0.12 does not know it"),
        ("Standard_NC4_A2", "v0.4", "KAITO v0.4 does not know it"),
        ("g5.xlarge", "v0.3", "Azure only"),
        ("p2.8xlarge", "v0.4", "compute capability 3.7"),
        ("Standard_NV24", "v0.4", "compute capability 5.2"),
    ],
)
def test_what_no_preset_can_use_is_left_out_with_its_reason(
    instance_type: str, target: str, why: str
) -> None:
    sized = choices("phi-3-mini-4k-instruct", target)[instance_type].sizing
    assert not sized.fits and why in sized.why


# --- nodes -------------------------------------------------------------------------------------------------


def node(
    name: str, gpus: int, *, free: int | None = None, memory: float = 80.0, **more: Any
) -> gpu_nodes.GpuNode:
    return gpu_nodes.GpuNode(name, "", gpus, gpus if free is None else free, memory, memory, **more)


def placed(name: str, *nodes: gpu_nodes.GpuNode) -> fit.Placement:
    wanted = catalog.SHIPPED.preset(name) or catalog.SHIPPED.model(name)
    assert wanted is not None
    return fit.placements([wanted], nodes)[0]


def test_the_smallest_nodes_are_taken() -> None:
    assert placed("falcon-7b", node("big", 4), node("small", 1, memory=16)).nodes == ("small",)


def test_only_nodes_that_are_alike_are_taken_together() -> None:
    alike = placed("llama-2-13b", node("a", 1, memory=16), node("b", 1, memory=16), node("c", 1, memory=24))
    assert alike.nodes == ("a", "b")
    mixed = placed("llama-2-13b", node("a", 1, memory=16), node("c", 1, memory=24))
    assert not mixed.fits and "2 nodes of 1 x 24 GiB needed, 1 there" in mixed.why


def test_gpus_in_use_are_not_there() -> None:
    assert not placed("falcon-40b", node("a", 2, free=1)).fits
    assert placed("falcon-40b", node("a", 4, free=2)).nodes == ("a",)


def test_a_model_of_v0_12_wants_all_gpus_of_its_node_free() -> None:
    assert placed("phi-4", node("a", 2)).nodes == ("a",)
    taken = placed("phi-4", node("a", 2, free=1))
    assert not taken.fits and "all GPUs of a node must be free" in taken.why


def test_a_node_with_a_fault_or_of_unknown_memory_is_not_taken() -> None:
    unknown = gpu_nodes.GpuNode("u", "", 1, 1, None, None)
    assert not placed("falcon-7b", node("a", 1, faults=("the node is cordoned",)), unknown).fits
    assert "the memory of the GPUs of u is not known" in placed("falcon-7b", unknown).why


def test_what_check_nodes_warns_of_fit_does_too() -> None:
    ill = api_node("a", "7")
    ill["metadata"]["labels"] = {"node.kubernetes.io/instance-type": "standard_nd96ASR_v4"}
    ill["status"]["conditions"].append({"type": "XIDErrors", "status": "True", "message": "Xid 79"})
    ill["status"]["capacity"]["nvidia.com/gpu"] = "8"
    ill["status"]["allocatable"]["memory"] = "4Gi"
    (seen,) = gpu_nodes.gpu_nodes([ill])
    assert not seen.faults and seen.memory_gib == 40, "a label names a machine in any case"
    assert any("XIDErrors" in words for words in seen.warnings)
    assert any("7 of 8" in words for words in seen.warnings)
    found = placed("falcon-7b", seen)
    assert found.fits and "only 4 GiB main memory" in found.why
    assert "main memory" not in placed("falcon-7b", replace(seen, main_memory_gib=64.0)).why
    assert "main memory" not in placed("falcon-7b", replace(seen, main_memory_gib=None)).why


def test_without_nodes_nothing_runs() -> None:
    answers = fit.placements([*catalog.presets().values(), *catalog.models().values()], [])
    assert not any(answer.fits for answer in answers)
    assert all(answer.why for answer in answers)


def api_node(name: str, gpus: str = "1", **labels: str) -> Any:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {key.replace("__", "/"): value for key, value in labels.items()},
        },
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "capacity": {"nvidia.com/gpu": gpus},
            "allocatable": {"nvidia.com/gpu": gpus},
        },
    }


def pod(on: str, gpus: str, phase: str = "Running") -> Any:
    container = {"name": "c", "resources": {"requests": {"nvidia.com/gpu": gpus}}}
    return {
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "n"},
        "spec": {"nodeName": on, "containers": [container]},
        "status": {"phase": phase},
    }


def test_nodes_are_read_with_what_is_free_on_them() -> None:
    a100 = {"node.kubernetes.io/instance-type": "Standard_NC48ads_A100_v4"}
    first, second = api_node("a", "2"), api_node("t4", "1")
    first["metadata"]["labels"] = a100
    second["metadata"]["labels"] = {"nvidia.com/gpu.memory": "15360", "nvidia.com/gpu.product": "Tesla-T4"}
    ordinary = {"kind": "Node", "metadata": {"name": "cpu"}, "status": {}}
    seen = gpu_nodes.gpu_nodes([first, second, ordinary], [pod("a", "1"), pod("a", "1", "Succeeded")])
    assert [(item.name, item.gpus, item.free, item.memory_gib) for item in seen] == [
        ("a", 2, 1, 80),
        ("t4", 1, 1, 15),
    ]
    assert not any(item.faults for item in seen)


def test_shares_and_slices_are_not_taken_for_whole_gpus() -> None:
    mig = api_node("mig", "3")
    mig["metadata"]["labels"] = {
        "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB-MIG-2g.20gb",
        "nvidia.com/gpu.memory": "19968",
    }
    sliced = api_node("shared", "8")
    sliced["metadata"]["labels"] = {
        "nvidia.com/gpu.product": "Tesla-V100-PCIE-16GB-SHARED",
        "nvidia.com/gpu.memory": "16384",
        "nvidia.com/gpu.count": "2",
        "nvidia.com/gpu.replicas": "4",
    }
    seen = gpu_nodes.gpu_nodes([mig, sliced])
    assert [(item.name, item.gpus, item.free, item.is_whole) for item in seen] == [
        ("mig", 3, 1, False),
        ("shared", 8, 2, False),
    ]
    small, large = catalog.SHIPPED.preset("falcon-7b"), catalog.SHIPPED.preset("llama-2-13b-chat")
    assert small and large
    (one,) = fit.placements([small], seen[:1])
    (two,) = fit.placements([large], seen[:1])
    assert (one.nodes, two.nodes) == (("mig",), ())
    model = catalog.SHIPPED.model("phi-4")
    assert model is not None
    (none,) = fit.placements([model], seen)
    assert not none.fits and none.why.startswith("a node with whole GPUs")


def sliced_node(name: str, **slices: str) -> Any:
    made = api_node(name, "0")
    amounts = {
        f"nvidia.com/mig-{profile.replace('_', '.')[1:]}": number for profile, number in slices.items()
    }
    made["status"]["allocatable"] = made["status"]["capacity"] = amounts
    made["metadata"]["labels"] |= {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB", "apps": "w"}
    return made


def holding(name: str, node_name: str, resource: str) -> Any:
    limits = {"limits": {resource: "1"}}
    spec = {"nodeName": node_name, "containers": [{"name": "c", "resources": limits}]}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec, "status": {"phase": "Running"}}


@pytest.mark.parametrize("held", [0, 1, 2])
def test_slices_are_counted_as_check_nodes_counts_them(held: int) -> None:
    nodes = [sliced_node("a", p3g_40gb="2", p1g_10gb="1")]
    pods = [holding(f"p{number}", "a", "nvidia.com/mig-3g.40gb") for number in range(held)]
    large = {"mode": "mig", "profile": "3g.40gb"}
    workspace = {
        "apiVersion": "kaito.sh/v1beta1",
        "metadata": {"name": "w", "namespace": "default"},
        "resource": {"labelSelector": {"matchLabels": {"apps": "w"}}, "partition": large},
        "inference": {"preset": {"name": "phi-4"}},
    }
    rules = node_check.Rules(target="v0.12", provisioner="byo")
    said = node_check.verdict(workspace, nodes, pods, rules=rules)
    (seen,) = gpu_nodes.gpu_nodes(nodes, pods)
    assert [(one.profile, one.free) for one in seen.slices] == [("3g.40gb", 2 - held), ("1g.10gb", 1)]
    assert said.nodes[0].gpus.free == seen.slices[0].free and seen.faults == ()
    (listed,) = inventory.gpu_inventory(nodes, pods).nodes
    assert listed.slices == seen.slices and listed.faults == ("only-mig-slices",)
    found = placed("phi-4", seen)
    assert found.fits == said.enough == (held < 2)
    assert ("profile: 3g.40gb" in found.why) == (held < 2)
    assert not placed("llama-3.3-70b-instruct", seen).fits


def test_slices_of_a_node_that_takes_no_pods_are_not_free() -> None:
    closed = sliced_node("a", p3g_40gb="2")
    closed["spec"] = {"unschedulable": True}
    (listed,) = inventory.gpu_inventory([closed], []).nodes
    assert [one.free for one in listed.slices] == [0]
    assert not placed("phi-4", *gpu_nodes.gpu_nodes([closed], [])).fits
    (unknown,) = gpu_nodes.gpu_nodes([sliced_node("b", p3g_40gb="2")], None)
    assert [one.free for one in unknown.slices] == [None]


def test_a_whole_gpu_comes_before_a_slice() -> None:
    whole = api_node("whole", "1", **{"nvidia.com/gpu.memory": "81920"})
    seen = gpu_nodes.gpu_nodes([sliced_node("a", p3g_40gb="2"), whole], [])
    assert placed("phi-4-mini-instruct", *seen).nodes == ("whole",)


def test_a_cordoned_node_is_read_with_its_fault() -> None:
    closed = api_node("a", "1")
    closed["spec"] = {"unschedulable": True}
    (seen,) = gpu_nodes.gpu_nodes([closed])
    assert seen.faults


def test_memory_of_an_own_instance_type_comes_from_the_own_catalog() -> None:
    rack = InstanceType("rack-1", "own", 4, 192, "NVIDIA L40S", "nvidia.com/gpu", ("v0.4.0",), "me")
    known = catalog.Catalog(own_instance_types={"rack-1": rack})
    labelled = api_node("a", "4")
    labelled["metadata"]["labels"] = {"node.kubernetes.io/instance-type": "rack-1"}
    (seen,) = gpu_nodes.gpu_nodes([labelled], known=known)
    assert seen.memory_gib == 48


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["metadata", "name", "labels", "status", "allocatable", "nvidia.com/gpu", "spec"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(st.lists(JSON, max_size=3), st.lists(JSON, max_size=2))
@settings(max_examples=150, deadline=None)
def test_nodes_and_pods_of_any_shape_are_survived(nodes: list[Any], pods: list[Any]) -> None:
    fit.placements([preset("falcon-7b"), model("phi-4")], gpu_nodes.gpu_nodes(nodes, pods))
