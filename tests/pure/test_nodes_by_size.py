"""How many nodes KAITO v0.12 takes for a model, and what it refuses on nodes of one's own."""

from __future__ import annotations

from typing import Any

import pytest

from kaitoctl.commands.observed_nodes import ObservedNodes
from kaitoctl.kaito import catalog, desired, estimate, fit, gpu_nodes, node_check
from kaitoctl.kaito.node_check import Rules, Verdict
from kaitoctl.kaito.validation.config_maps import length_read_by_kaito
from kaitoctl.kube import pod_state
from kaitoctl.kube.objects import Object

A100 = "Standard_NC24ads_A100_v4"
PRODUCT, COUNT, MEMORY = (f"nvidia.com/gpu.{name}" for name in ("product", "count", "memory"))


def node(name: str = "g1", *, gpus: str = "1", ready: str = "True", **labels: str | None) -> Object:
    written = {"product": "NVIDIA-A100-80GB-PCIe", "count": "1", "memory": "81920", **labels}
    known = {f"nvidia.com/gpu.{key}": value for key, value in written.items() if value is not None}
    return {
        "metadata": {
            "name": name,
            "labels": {"apps": "w", "node.kubernetes.io/instance-type": A100, **known},
        },
        "status": {
            "capacity": {"nvidia.com/gpu": gpus},
            "allocatable": {"nvidia.com/gpu": gpus, "pods": "110"},
            "conditions": [{"type": "Ready", "status": ready}],
        },
    }


def workspace(preset: str = "phi-4-mini-instruct", machine: str = "", **more: Any) -> Object:
    resource: Object = {"labelSelector": {"matchLabels": {"apps": "w"}}, **more.pop("resource", {})}
    if machine:
        resource["instanceType"] = machine
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": "w", "namespace": "ns", **more.pop("metadata", {})},
        "resource": resource,
        "inference": {"preset": {"name": preset}},
        **more,
    }


def judged(ws: Object, nodes: list[Object], provisioner: str = "byo") -> Verdict:
    return node_check.verdict(ws, nodes, rules=Rules("v0.12", provisioner))


BIG = "llama-3.3-70b-instruct"
TRANSFORMERS = {"annotations": {"kaito.sh/runtime": "transformers"}}


@pytest.mark.parametrize(
    ("ws", "provisioner", "required"),
    [
        (workspace(machine=A100), "karpenter", 1),
        (workspace(BIG, A100), "karpenter", 3),
        (workspace(BIG, A100.upper()), "karpenter", 3),
        (workspace(BIG, A100), "azure-gpu-provisioner", 3),
        (workspace(BIG, A100, resource={"count": 8}), "karpenter", 3),
        (workspace(BIG, A100, resource={"count": 8}, metadata=TRANSFORMERS), "karpenter", 8),
        (workspace(BIG, A100, status={"targetNodeCount": 4}), "karpenter", 4),
        (workspace(BIG, "Standard_of_nobody", resource={"count": 2}), "karpenter", 2),
        (workspace(BIG), "byo", 3),
        (workspace("no-such-model", resource={"count": 2}), "byo", 2),
        (workspace(BIG, resource={"partition": {"mode": "mig", "profile": "1g.10gb"}}), "byo", 1),
    ],
)
def test_the_model_says_how_many_nodes_it_takes(ws: Object, provisioner: str, required: int) -> None:
    assert judged(ws, [node(), node("g2"), node("g3")], provisioner).required == required


@pytest.mark.parametrize(
    ("preset", "context", "required", "refusal"),
    [
        (BIG, 0, 3, ""),
        (BIG, 2048, 3, ""),
        # 80 layers, 8 heads of 128 for keys and as many for values, 2 bytes: 20 GiB for 65,536 tokens.
        (BIG, 65_536, 4, ""),
        (BIG, 131_072, 6, ""),
        (BIG, 400_000, 1, "no room for weights of llama-3.3-70b-instruct beside the cache of 400,000 tokens"),
        ("phi-4-mini-instruct", 131_072, 1, ""),
    ],
)
def test_more_context_takes_more_nodes(preset: str, context: int, required: int, refusal: str) -> None:
    rules = Rules("v0.12", "karpenter", context=context)
    found = node_check.verdict(workspace(preset, A100), [], rules=rules)
    assert found.required == required
    assert (refusal in found.refusal) if refusal else not found.refusal
    own = ObservedNodes([], []).verdict(workspace(preset, A100), Rules("kaitoctl", context=context))
    assert own.required == required
    large = node_check.verdict(workspace(preset, A100), [node()], rules=rules)
    assert bool(large.nodes[0].failures) is bool(refusal)


@pytest.mark.parametrize(
    ("text", "context"),
    [
        ("vllm:\n  max-model-len: 8192\n", 8192),
        ("vllm:\n  dtype: float16\n  max-model-len: 8192", 8192),
        ("vllm:\n\n  # tokens\n  max-model-len: +8192\n", 8192),
        ("a: 1\nvllm: # flags\n  max-model-len:    8192   \n", 8192),
        ("vllm:\n  max-model-len: 8192 # tokens\n", 0),
        ('vllm:\n  max-model-len: "8192"\n', 0),
        ("vllm:\n  max-model-len: 8k\n", 0),
        ("vllm:\n  max-model-len: -1\n", 0),
        ("vllm:\n  max-model-len:\n  max-model-len: 8192\n", 0),
        ("vllm:\n  dtype: x\nother:\n  max-model-len: 8192\n", 0),
        ("max-model-len: 8192\n", 0),
        ("", 0),
        (None, 0),
        (7, 0),
    ],
)
def test_kaito_reads_the_context_line_by_line(text: Any, context: int) -> None:
    assert length_read_by_kaito({"data": {"inference_config.yaml": text}}) == context


@pytest.mark.parametrize(("preset", "replicas", "nodes"), [("phi-4-mini-instruct", 3, 3), (BIG, 2, 6)])
def test_each_replica_takes_the_nodes_of_its_model(preset: str, replicas: int, nodes: int) -> None:
    together = node_check.of_replicas(workspace(preset, A100), replicas)
    assert judged(together, [], "karpenter").required == nodes
    for target in ("v0.12", "kaitoctl"):
        rules = Rules(target, "karpenter")
        assert ObservedNodes([], []).verdict(together, rules).required == nodes


def test_releases_before_take_the_count() -> None:
    asked = workspace(BIG, A100, resource={"count": 2})
    assert node_check.verdict(asked, [node()], rules=Rules("v0.4")).required == 2


@pytest.mark.parametrize(
    ("nodes", "refusal"),
    [
        ([node()], ""),
        ([node(), node("g2")], ""),
        ([node(), node("g2", product="Tesla-T4")], "differ in product"),
        ([node(), node("g2", count="2")], "differ in count"),
        ([node(), node("g2", memory="40960")], "differ in memory"),
        ([node(), node("g2", ready="False", memory="40960")], "differ in memory"),
        ([node(), node("g2", product=None, count=None, memory=None)], "node g2 does not carry"),
        ([node(memory="80GB")], "node g1 does not carry"),
        ([node(memory="4096")], "4 GiB of GPU memory, phi-4-mini-instruct needs 7"),
    ],
)
def test_kaito_refuses_what_it_does_not_understand_of_your_own_nodes(
    nodes: list[Object], refusal: str
) -> None:
    found = judged(workspace(), nodes)
    assert (refusal in found.refusal) if refusal else not found.refusal
    assert found.enough is not bool(refusal)
    assert ("would refuse" in found.summary) is bool(refusal)
    made = judged(workspace(metadata={"uid": "u"}), nodes)  # it is not asked again
    assert not made.refusal


@pytest.mark.parametrize(
    ("labels", "gpus", "said"),
    [
        (
            {"replicas": "10", "sharing-strategy": "mps"},
            "10",
            "1 share of 8 GiB: phi-4-mini-instruct takes 2",
        ),
        ({"product": "NVIDIA-A100-MIG-1g.5gb", "memory": "4864"}, "1", "takes 5 such nodes"),
        ({"memory": "2048"}, "1", "no room for weights"),
    ],
)
def test_a_node_whose_devices_are_smaller_than_kaito_takes_them_for_will_not_do(
    labels: dict[str, str], gpus: str, said: str
) -> None:
    found = judged(workspace(machine=A100), [node(gpus=gpus, **labels)], "karpenter")
    messages = [item.message for item in found.nodes[0].failures if item.code == "gpu-memory-too-small"]
    assert len(messages) == 1 and said in messages[0], (found.nodes[0].findings, messages)


def test_a_driver_that_reports_a_little_less_is_no_smaller_gpu() -> None:
    a10 = node(product="NVIDIA-A10", memory="23028")
    a10["metadata"]["labels"]["node.kubernetes.io/instance-type"] = "Standard_NV36ads_A10_v5"
    found = judged(workspace("phi-4-mini-instruct", "Standard_NV36ads_A10_v5"), [a10], "karpenter")
    assert found.nodes[0].usable


def test_a_custom_pod_needs_no_labels_of_gpus() -> None:
    ws = workspace()
    limits = {"limits": {"nvidia.com/gpu": "1"}}
    ws["inference"] = {
        "template": {"spec": {"containers": [{"name": "c", "image": "i", "resources": limits}]}}
    }
    plain = node(product=None, count=None, memory=None)
    plain["metadata"]["labels"].pop("node.kubernetes.io/instance-type")
    assert judged(ws, [plain]).enough


def sliced(**amounts: str) -> Object:
    one = node()
    one["status"]["allocatable"] = {"pods": "110", **amounts}
    return one


SLICE = {"mode": "mig", "profile": "3g.40gb"}


@pytest.mark.parametrize(
    ("partition", "preset", "amounts", "code"),
    [
        (SLICE, "phi-4-mini-instruct", {"nvidia.com/mig-3g.40gb": "2"}, ""),
        (SLICE, "phi-4-mini-instruct", {"nvidia.com/mig-3g.40gb": "2", "nvidia.com/gpu": "0"}, ""),
        (SLICE, "phi-4-mini-instruct", {"nvidia.com/mig-1g.10gb": "7"}, "no-gpu"),
        (SLICE, "phi-4-mini-instruct", {"nvidia.com/gpu": "1"}, "no-gpu"),
        (SLICE, BIG, {"nvidia.com/mig-3g.40gb": "2"}, "gpu-memory-too-small"),
        ({"mode": "accelerator", "count": 1}, "phi-4-mini-instruct", {"nvidia.com/gpu": "1"}, ""),
        ({"mode": "accelerator", "count": 2}, "phi-4-mini-instruct", {"nvidia.com/gpu": "1"}, "too-few-gpus"),
    ],
)
def test_parts_of_gpus_are_looked_for_where_the_workspace_asks_for_them(
    partition: Object, preset: str, amounts: dict[str, str], code: str
) -> None:
    ws = workspace(preset, resource={"partition": partition}, metadata={"uid": "u"})
    found = judged(ws, [sliced(**amounts)]).nodes[0]
    assert [item.code for item in found.failures] == ([code] if code else []), found.findings
    assert all("all-disabled" not in str(item.hint) for item in found.findings)


@pytest.mark.parametrize(("count", "required"), [(1, 3), (2, 2), (4, 1), (8, 1)])
def test_an_accelerator_partition_counts_nodes_by_the_gpus_of_a_pod(count: int, required: int) -> None:
    """As KAITO does (estimator.go, ScaleGPUConfigToCount): not by those that the node has."""
    ws = workspace(BIG, resource={"partition": {"mode": "accelerator", "count": count}})
    large = [node(f"g{number}", gpus="8", count="8") for number in range(3)]
    found = judged(ws, large)
    model = catalog.SHIPPED.model(BIG)
    assert model is not None
    assert found.required == estimate.estimated_nodes(model, estimate.Shape(count, 80)) == required
    assert found.enough
    settings = desired.Settings(catalog=catalog.SHIPPED, provisioner="byo")
    assert desired.target_nodes(ws, settings, nodes=estimate.Shape(8, 80)) == required


@pytest.mark.parametrize(("held", "code"), [(0, ""), (6, ""), (7, "gpus-in-use"), (8, "gpus-in-use")])
def test_an_accelerator_partition_takes_what_others_leave_of_a_node(held: int, code: str) -> None:
    limits = {"limits": {"nvidia.com/gpu": str(held)}}
    spec = {"nodeName": "g1", "containers": [{"name": "c", "resources": limits}]}
    other = {"metadata": {"name": "o", "namespace": "ns"}, "spec": spec, "status": {"phase": "Running"}}
    ws = workspace(resource={"partition": {"mode": "accelerator", "count": 2}}, metadata={"uid": "u"})
    large = node(gpus="8", count="8")
    (found,) = node_check.verdict(ws, [large], [other], rules=Rules("v0.12", "byo")).nodes
    assert [item.code for item in found.failures] == ([code] if code else [])
    assert (found.gpus.allocatable, found.gpus.in_use, found.gpus.free) == (8, held, 8 - held)


def test_slices_that_others_hold_are_in_use() -> None:
    def holding(name: str, resource: str) -> Object:
        asked = {"containers": [{"name": "c", "resources": {"limits": {resource: "1"}}}]}
        spec = {"nodeName": "g1", **asked}
        return {"metadata": {"name": name, "namespace": "ns"}, "spec": spec, "status": {"phase": "Running"}}

    one = sliced(**{"nvidia.com/mig-3g.40gb": "2", "nvidia.com/mig-1g.10gb": "1"})
    one["status"]["capacity"] = dict(one["status"]["allocatable"])
    ws, rules = workspace(resource={"partition": SLICE}), Rules("v0.12", "byo")
    others = [holding("a", "nvidia.com/mig-1g.10gb"), holding("b", "nvidia.com/mig-3g.40gb")]
    (found,) = node_check.verdict(ws, [one], others, rules=rules).nodes
    slices = found.gpus
    assert (slices.resource, slices.allocatable, slices.in_use, slices.free, slices.memory_gib) == (
        "nvidia.com/mig-3g.40gb",
        2,
        1,
        1,
        40,
    )
    assert found.usable
    (found,) = node_check.verdict(
        ws, [one], [*others, holding("c", "nvidia.com/mig-3g.40gb")], rules=rules
    ).nodes
    assert [item.code for item in found.failures] == ["gpus-in-use"]
    assert all(pod_state.holding_gpus(pod) is not None for pod in others), "a plan remembers them, too"


def test_pods_on_a_slice_tolerate_its_taint() -> None:
    one = sliced(**{"nvidia.com/mig-3g.40gb": "2"})
    one["spec"] = {"taints": [{"key": "nvidia.com/mig-3g.40gb", "effect": "NoSchedule"}]}
    assert judged(workspace(resource={"partition": SLICE}), [one]).enough
    assert not judged(workspace(), [one]).enough


@pytest.mark.parametrize(
    ("labels", "code"),
    [
        ({"nvidia.com/gpu.compute.major": "7", "nvidia.com/gpu.compute.minor": "5"}, "no-bfloat16"),
        ({"nvidia.com/gpu.compute.major": "7", "nvidia.com/gpu.compute.minor": "0"}, "gpu-unsupported"),
        ({"nvidia.com/cuda.compute.major": "7"}, "gpu-unsupported"),
        ({"nvidia.com/gpu.compute.major": "8", "nvidia.com/gpu.compute.minor": "0"}, ""),
        ({"nvidia.com/gpu.family": "turing"}, "no-bfloat16"),
        ({"nvidia.com/gpu.family": "volta"}, "gpu-unsupported"),
        ({"nvidia.com/gpu.family": "ampere"}, ""),
        ({"node.kubernetes.io/instance-type": A100}, ""),
        ({"node.kubernetes.io/instance-type": "Standard_NC6s_v3"}, "gpu-unsupported"),
        ({"node.kubernetes.io/instance-type": "g4dn.xlarge"}, "no-bfloat16"),
        ({"nvidia.com/gpu.compute.major": "junk"}, ""),
        ({}, ""),
    ],
)
def test_gpus_that_are_too_old_for_the_server_will_not_do(labels: dict[str, str], code: str) -> None:
    one = node()
    one["metadata"]["labels"].pop("node.kubernetes.io/instance-type")
    one["metadata"]["labels"].update(labels)
    configured = workspace()
    configured["inference"]["config"] = "may-say-float16"
    level = "warn" if code == "no-bfloat16" else "fail"
    quantized = code and "gpu-unsupported"  # its format takes 8.0, whatever it computes in
    for ws, expected in (
        (workspace(), (code, "fail")),
        (configured, (code, level)),  # no ConfigMap brings programs
        (workspace("gpt-oss-20b"), (quantized, "fail")),
    ):
        found = judged(ws, [one]).nodes[0].findings
        said = [(item.code, item.level) for item in found if item.code in ("no-bfloat16", "gpu-unsupported")]
        assert said == ([expected] if expected[0] else [])


@pytest.mark.parametrize(
    ("target", "annotations", "capability", "does"),
    [
        ("v0.4", {}, "5.2", False),  # M60: vLLM is the default there
        ("v0.4", {}, "7.0", True),
        ("v0.4", {"kaito.sh/runtime": "transformers"}, "5.2", True),
        ("v0.3", {}, "5.2", True),
        ("v0.3", {}, "3.7", False),  # K80
        ("kaitoctl", {}, "5.2", True),  # ours serves presets with transformers
        ("kaitoctl", {"kaito.sh/runtime": "vllm"}, "5.2", False),
    ],
)
def test_presets_take_gpus_that_their_server_is_built_for(
    target: str, annotations: dict[str, str], capability: str, does: bool
) -> None:
    major, _, minor = capability.partition(".")
    one = node(**{"compute.major": major, "compute.minor": minor})
    ws = workspace("falcon-7b", metadata={"annotations": annotations})
    found = node_check.verdict(ws, [one], rules=Rules(target)).nodes[0].findings
    assert ("gpu-unsupported" not in {item.code for item in found}) is does


@pytest.mark.parametrize(
    ("name", "capability", "runtime", "said"),
    [
        ("phi-4", "7.0", "", [("gpu-unsupported", "warn")]),
        ("microsoft/phi-4", "7.0", "", [("gpu-unsupported", "warn")]),
        ("phi-4", "7.5", "", [("no-bfloat16", "warn")]),
        ("gpt-oss-20b", "7.5", "", [("gpu-unsupported", "warn")]),
        ("phi-4", "8.0", "", []),
        ("phi-3-mini-4k-instruct", "7.0", "", []),  # the older generation's server takes it
        ("smollm2-135m-instruct", "3.7", "", []),  # it runs on a CPU
        ("falcon-7b", "3.7", "", [("gpu-unsupported", "fail")]),
        ("no-such", "3.7", "", []),
    ],
)
def test_our_own_controller_starts_todays_server_on_gpus_that_it_is_built_for(
    name: str, capability: str, runtime: str, said: list[tuple[str, str]]
) -> None:
    """Which takes no node away: the controller may be pinned to an older generation."""
    major, _, minor = capability.partition(".")
    one = node(**{"compute.major": major, "compute.minor": minor})
    found = node_check.verdict(workspace(name), [one], rules=Rules("kaitoctl")).nodes[0]
    codes = ("no-bfloat16", "gpu-unsupported")
    assert [(item.code, item.level) for item in found.findings if item.code in codes] == said


def test_a_selector_without_labels_means_all_of_your_own_nodes() -> None:
    ws = workspace()
    ws["resource"]["labelSelector"] = {}
    assert judged(ws, [node(), node("g2")]).enough


@pytest.mark.parametrize(
    ("resource", "refusal"),
    [
        ({"instanceType": A100}, "instanceType is set"),
        ({"labelSelector": {"matchLabels": {"kaito.sh/workspace": "w"}}}, "all labels of the selector"),
    ],
)
def test_the_answer_is_no_where_the_webhook_says_no(resource: Object, refusal: str) -> None:
    found = judged(workspace(resource=resource), [node()])
    assert refusal in found.refusal and not found.enough


@pytest.mark.parametrize(
    ("one", "fits"),
    [
        (node(gpus="8", count="8"), True),
        (node(gpus="7", count="8"), False),  # pods ask for 8
        (node(**{"compute.major": "7", "compute.minor": "5"}), False),
        (node(**{"compute.major": "9"}), True),
    ],
)
def test_fit_agrees_with_the_check_of_nodes(one: Object, fits: bool) -> None:
    del one["metadata"]["labels"]["node.kubernetes.io/instance-type"]
    model = catalog.SHIPPED.model("phi-4-mini-instruct")
    assert model is not None
    (found,) = fit.placements([model], gpu_nodes.gpu_nodes([one]))
    assert found.fits is fits
    assert judged(workspace(), [one]).enough is fits


@pytest.mark.parametrize(
    ("machine", "disk", "warned"),
    [
        ("of-nobody", "5Gi", True),
        ("of-nobody", "900Gi", False),
        (A100, "5Gi", False),  # its local disks hold the weights
    ],
)
def test_the_weights_of_a_model_need_room_on_the_disk(machine: str, disk: str, warned: bool) -> None:
    one = node()
    one["metadata"]["labels"]["node.kubernetes.io/instance-type"] = machine
    one["status"]["allocatable"]["ephemeral-storage"] = disk
    said = [item for item in judged(workspace(), [one]).nodes[0].warnings if item.code == "no-room"]
    assert [("phi-4-mini-instruct needs about" in item.message) for item in said] == (
        [True] if warned else []
    )


@pytest.mark.parametrize(("serves", "usable"), [("True", True), ("False", False)])
def test_a_config_map_that_grows_takes_no_node_from_a_model_that_serves(serves: str, usable: bool) -> None:
    """KAITO counts nodes once, and the server reads its ConfigMap when it starts."""
    rules = Rules("v0.12", "karpenter", context=1_000_000)
    conditions = [{"type": "InferenceReady", "status": serves}]
    status = {"targetNodeCount": 1, "workerNodes": ["gpu-a"], "conditions": conditions}
    live = {**workspace("phi-4", A100), "status": status}
    a, b = node_check.verdict(live, [node("gpu-a"), node("gpu-b")], [], rules=rules).nodes
    assert (a.usable, b.usable) == (usable, False)
    found = next(one for one in a.findings if one.code == "gpu-memory-too-small")
    assert ("would not after a restart" in found.message) is usable
