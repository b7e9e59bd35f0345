"""All models of KAITO v0.12 on our own controller, beside the presets of the guide."""

from __future__ import annotations

from typing import Any

import pytest
from world import World, falcon, gpu_node, is_ready, node_status, writes

from kaitoctl.kaito import api as kaito
from kaitoctl.kaito import catalog, image_generations, revisions
from kaitoctl.kaito.desired import Settings
from kaitoctl.kube import conditions, request
from kaitoctl.kube.objects import (
    CONFIG_MAP,
    CONTROLLER_REVISION,
    DEPLOYMENT,
    NODE,
    NODE_CLAIM,
    SERVICE,
    STATEFUL_SET,
    Object,
    annotations_of,
    dig,
    key_of,
    uid_of,
)
from kaitoctl.workspace_controller.decisions import MANAGER

A100, H200 = "Standard_NC24ads_A100_v4", "Standard_ND96isr_H200_v5"
MODELS = [model.preset_name for model in catalog.models().values()]


def asks_for(model: str, machine: str = H200, **inference: Any) -> Object:
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": "falcon", "namespace": "default"},
        "resource": {"instanceType": machine, "labelSelector": {"matchLabels": {"apps": "w"}}},
        "inference": {"preset": {"name": model}, **inference},
    }


def world_with(ws: Object) -> World:
    world = World()
    world.apply(kaito.WORKSPACE_V1BETA1, ws)
    world.settle()
    return world


@pytest.mark.parametrize("model", MODELS)
def test_every_model_becomes_ready(model: str) -> None:
    world = world_with(asks_for(model))
    assert is_ready(world)
    assert [item["metadata"]["name"] for item in world.list(STATEFUL_SET)] == ["falcon"]
    assert {item["metadata"]["name"] for item in world.list(SERVICE)} == {"falcon", "falcon-headless"}
    status = world.list(kaito.WORKSPACE_V1BETA1)[0]["status"]
    assert status["targetNodeCount"] == len(world.list(NODE_CLAIM))


def test_as_many_nodes_are_asked_for_as_the_model_takes() -> None:
    world = world_with(asks_for("llama-3.3-70b-instruct", A100))
    assert is_ready(world)
    assert len(world.list(NODE_CLAIM)) == 3
    (server,) = world.list(STATEFUL_SET)
    assert server["spec"]["replicas"] == 3
    assert world.list(kaito.WORKSPACE_V1BETA1)[0]["status"]["targetNodeCount"] == 3


def test_a_settled_model_costs_no_writes() -> None:
    world = world_with(asks_for("llama-3.3-70b-instruct", A100))
    before = len(writes(world))
    world.reconcile()
    assert len(writes(world)) == before


def test_an_adapter_that_comes_later_is_loaded() -> None:
    world = world_with(asks_for("phi-4-mini-instruct"))
    entry = {"source": {"name": "style", "image": "registry.example/style:1"}}
    world.apply(kaito.WORKSPACE_V1BETA1, asks_for("phi-4-mini-instruct", adapters=[entry]))
    world.settle()
    pod = world.list(STATEFUL_SET)[0]["spec"]["template"]["spec"]
    assert " --enable-lora " in pod["containers"][0]["command"][2]
    assert [item["name"] for item in pod["initContainers"]] == ["puller-style"]


def test_strength_on_vllm_is_refused_and_what_runs_stays() -> None:
    world = world_with(asks_for("phi-4-mini-instruct"))
    entry = {"source": {"name": "style", "image": "registry.example/style:1"}, "strength": "0.5"}
    world.apply(kaito.WORKSPACE_V1BETA1, asks_for("phi-4-mini-instruct", adapters=[entry]))
    world.settle()
    assert "initContainers" not in world.list(STATEFUL_SET)[0]["spec"]["template"]["spec"]
    told = world.list(kaito.WORKSPACE_V1BETA1)[0]["status"]["conditions"]
    assert any("strength" in condition["message"] for condition in told)


def config(length: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "mine", "namespace": "default"},
        "data": {"inference_config.yaml": f"vllm:\n  max-model-len: {length}\n"},
    }


@pytest.mark.parametrize(("length", "nodes"), [("2048", 1), ("32768", 2), ("0", 1), ("many", 1)])
def test_more_context_takes_more_nodes(length: str, nodes: int) -> None:
    world = World()
    world.apply(CONFIG_MAP, config(length))
    world.apply(kaito.WORKSPACE_V1BETA1, asks_for("gemma-3-27b-instruct", A100, config="mine"))
    world.settle()
    assert is_ready(world)
    assert len(world.list(NODE_CLAIM)) == nodes
    assert world.list(STATEFUL_SET)[0]["spec"]["replicas"] == nodes
    assert world.list(kaito.WORKSPACE_V1BETA1)[0]["status"]["targetNodeCount"] == nodes


def old_phi_3() -> Object:
    ws = falcon(instanceType=A100)
    ws["inference"]["preset"]["name"] = "phi-3-mini-4k-instruct"
    return ws


def test_the_guides_preset_stays_a_deployment_with_its_own_image() -> None:
    world = World()
    world.apply(kaito.WORKSPACE, falcon())
    world.settle()
    (server,) = world.list(DEPLOYMENT)
    image = dig(server, "spec", "template", "spec", "containers", 0, "image")
    assert image == "mcr.microsoft.com/aks/kaito/kaito-falcon-7b:0.0.7"


def test_a_preset_of_two_generations_is_made_in_the_newest_and_keeps_the_one_in_which_it_runs() -> None:
    fresh = World()
    fresh.apply(kaito.WORKSPACE, old_phi_3())
    fresh.settle()
    assert fresh.list(STATEFUL_SET)
    assert not fresh.list(DEPLOYMENT)

    world = World()
    world.settings = Settings(image_generation="v0.4")
    world.apply(kaito.WORKSPACE, old_phi_3())
    world.settle()
    assert world.list(DEPLOYMENT)
    world.settings = Settings()
    world.settle()
    assert world.list(DEPLOYMENT)
    assert not world.list(STATEFUL_SET)


def in_private_image(preset: str) -> Object:
    ws = old_phi_3()
    own = {"image": "registry.example/team/my-model:7", "imagePullSecrets": ["team"]}
    ws["inference"]["preset"] = {"name": preset, "accessMode": "private", "presetOptions": own}
    return ws


def forget_the_note(world: World) -> None:
    """As a controller left it that wrote none."""
    (server,) = world.list(DEPLOYMENT)
    change(world, server, {"metadata": {"annotations": {image_generations.MADE_IN: None}}})


def change(world: World, server: Object, patch: Object) -> None:
    world.do(request.merge_patch(DEPLOYMENT, *key_of(server), patch, manager="test"))


@pytest.mark.parametrize("has_note", [True, False])
@pytest.mark.parametrize("generation", ["v0.3", "v0.4"])
@pytest.mark.parametrize("preset", ["phi-3-mini-4k-instruct", "phi-3-medium-128k-instruct", "mistral-7b"])
def test_a_private_image_keeps_the_generation_in_which_it_runs(
    preset: str, generation: str, has_note: bool
) -> None:
    if generation not in catalog.presets()[preset].images:
        pytest.skip("not of this release")
    world = World()
    world.settings = Settings(image_generation=generation)
    world.apply(kaito.WORKSPACE, in_private_image(preset))
    world.settle()
    (before,) = world.list(DEPLOYMENT)
    if not has_note:
        forget_the_note(world)
    world.settings = Settings()
    world.settle()
    (after,) = world.list(DEPLOYMENT)
    assert not world.list(STATEFUL_SET)
    assert uid_of(after) == uid_of(before)
    assert after["spec"]["template"] == before["spec"]["template"]
    assert annotations_of(after)[image_generations.MADE_IN] == generation


def test_a_renamed_mirror_keeps_the_generation_in_which_it_runs() -> None:
    world = World()
    world.settings = Settings(image_generation="v0.4")
    world.apply(kaito.WORKSPACE, old_phi_3())
    world.settle()
    forget_the_note(world)
    (server,) = world.list(DEPLOYMENT)
    (container,) = server["spec"]["template"]["spec"]["containers"]
    renamed = {**container, "image": "mirror.example/phi3@sha256:" + "0" * 64}
    change(world, server, {"spec": {"template": {"spec": {"containers": [renamed]}}}})
    world.settings = Settings()
    world.settle()
    assert uid_of(world.list(DEPLOYMENT)[0]) == uid_of(server)
    assert not world.list(STATEFUL_SET)


def own_node(world: World, name: str, memory_mib: int) -> None:
    labels = {
        "apps": "w",
        "nvidia.com/gpu.product": "NVIDIA-A100",
        "nvidia.com/gpu.count": "1",
        "nvidia.com/gpu.memory": str(memory_mib),
    }
    world.apply(NODE, gpu_node(name, labels, "own-machine"))
    world.set_status(NODE, name, node_status("1"))


def test_nodes_of_ones_own_are_counted_by_their_labels() -> None:
    ws = asks_for("llama-3.3-70b-instruct", "")
    world = World()
    for number in range(3):
        own_node(world, f"own-{number}", 81920)
    world.apply(kaito.WORKSPACE_V1BETA1, ws)
    world.settle()
    assert is_ready(world)
    assert world.list(STATEFUL_SET)[0]["spec"]["replicas"] == 3
    assert not world.list(NODE_CLAIM)


def sliced_node(world: World, name: str, slices: int) -> None:
    """A node with MIG slices of one size, as the GPU operator's strategy `single` offers them."""
    labels = {
        "apps": "w",
        "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB-MIG-3g.40gb",
        "nvidia.com/gpu.count": str(slices),
        "nvidia.com/gpu.memory": "40192",
        "nvidia.com/mig.strategy": "single",
        "nvidia.com/mig.config": "all-3g.40gb",
        "nvidia.com/mig.config.state": "success",
    }
    world.apply(NODE, gpu_node(name, labels, "own-machine"))
    world.set_status(NODE, name, node_status(str(slices)))


def test_a_slice_of_a_gpu_serves_by_itself() -> None:
    """KAITO asks for all slices of the node as GPUs of one server, which do not work together."""
    world = World()
    sliced_node(world, "sliced", 2)
    world.apply(kaito.WORKSPACE_V1BETA1, asks_for("phi-4-mini-instruct", ""))
    world.settle()
    assert is_ready(world)
    (container,) = world.list(STATEFUL_SET)[0]["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {kaito.GPU: "1"}
    line = container["command"][2]
    assert "--tensor-parallel-size=1" in line
    assert "--kaito-kv-cache-cpu-memory-utilization=0" in line


@pytest.mark.parametrize(
    ("partition", "odd"),
    [
        ({"mode": "mig", "profile": "3g.40gb"}, {"count": 2}),
        ({"mode": "accelerator", "count": 1}, {"profile": "1g.10gb"}),
    ],
)
def test_what_an_earlier_controller_made_of_an_odd_partition_goes_on_serving(
    partition: Object, odd: Object
) -> None:
    """Its successor refuses the partition: it says so, and touches nothing that serves."""
    world = World()
    sliced_node(world, "sliced", 2)
    ws = asks_for("phi-4-mini-instruct", "")
    ws["resource"]["partition"] = partition
    world.apply(kaito.WORKSPACE_V1BETA1, ws)
    world.settle()
    (recorded,) = world.list(CONTROLLER_REVISION)
    world.do(request.delete(CONTROLLER_REVISION, *key_of(recorded)))
    ws["resource"]["partition"] = partition | odd
    live = world.apply(kaito.WORKSPACE_V1BETA1, ws)  # as the earlier one had it, and has recorded it
    world.do(request.create(CONTROLLER_REVISION, revisions.revision(live, 1)))
    stamp = {"kaitoctl.dev/owner-generation": str(live["metadata"]["generation"])}
    (workload,) = world.list(STATEFUL_SET)
    patch = {"metadata": {"annotations": stamp}}
    world.do(request.merge_patch(STATEFUL_SET, *key_of(workload), patch, manager=MANAGER))
    children = (STATEFUL_SET, SERVICE, CONTROLLER_REVISION)
    before = [world.list(kind) for kind in children]
    world.settle()
    assert [world.list(kind) for kind in children] == before
    said = conditions.find(world.list(kaito.WORKSPACE_V1BETA1)[0], kaito.WORKSPACE_SUCCEEDED)
    assert said and said["message"].endswith("; what was built before still serves")
    assert f"resource.partition.{next(iter(odd))}" in said["message"]
    del ws["resource"]["partition"][next(iter(odd))]
    world.apply(kaito.WORKSPACE_V1BETA1, ws)
    world.settle()
    assert is_ready(world)
    assert [item["spec"] for item in world.list(STATEFUL_SET)] == [item["spec"] for item in before[0]]


@pytest.mark.parametrize(
    ("partition", "asked", "flags"),
    [
        (
            {"mode": "mig", "profile": "3g.40gb"},
            {"nvidia.com/mig-3g.40gb": "1"},
            ("--tensor-parallel-size=1", "--kaito-kv-cache-cpu-memory-utilization=0"),
        ),
        ({"mode": "accelerator", "count": 2}, {kaito.GPU: "2"}, ("--data-parallel-size=2",)),
        ({"mode": "accelerator", "count": 1}, {kaito.GPU: "1"}, ("--tensor-parallel-size=1",)),
    ],
)
def test_a_partition_is_what_the_pod_asks_for(
    partition: Object, asked: dict[str, str], flags: tuple[str, ...]
) -> None:
    ws = asks_for("phi-4-mini-instruct")
    ws["resource"]["partition"] = partition
    world = world_with(ws)
    spec = world.list(STATEFUL_SET)[0]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["resources"]["limits"] == asked
    for flag in flags:
        assert flag in container["command"][2]
    keys = {toleration.get("key") for toleration in spec["tolerations"]}
    assert ("nvidia.com/mig-3g.40gb" in keys) == (partition["mode"] == "mig")
