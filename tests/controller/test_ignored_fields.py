"""Nothing is silently ignored: each field makes a difference, is refused, or is named in a condition."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from world import World, falcon, gpu_node, node_status

from kaitoctl.kaito import api as kaito
from kaitoctl.kaito import validation
from kaitoctl.kube import conditions
from kaitoctl.kube.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    EVENT,
    JOB,
    NODE,
    NODE_CLAIM,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    Object,
)

VERSIONS = ("v1alpha1", "v1beta1")
ADAPTER: Object = {"source": {"name": "style", "image": "r.io/style:1"}, "strength": "0.5"}
PRIVATE: Object = {"name": "falcon-7b", "accessMode": "private", "presetOptions": {"image": "r.io/own:1"}}
EXPRESSION: Object = {"key": "zone", "operator": "In", "values": ["a"]}
TUNING: Object = {
    "preset": {"name": "phi-2"},
    "method": "qlora",
    "input": {"urls": ["https://data.example/a.json"]},
    "output": {"image": "r.io/adapter:1", "imagePushSecret": "push"},
}
TEMPLATE: Object = {"spec": {"containers": [{"name": "server", "image": "r.io/x:1"}]}}


def serving(**inference: Any) -> Object:
    return {**falcon(), "inference": {"preset": {"name": "falcon-7b"}, **inference}}


def tuned(**tuning: Any) -> Object:
    obj = falcon(instanceType="Standard_NC6s_v3")
    del obj["inference"]
    return {**obj, "tuning": {**copy.deepcopy(TUNING), **tuning}}


def selecting(**expression: Any) -> Object:
    selector = {"matchLabels": {"apps": "falcon-7b"}, "matchExpressions": [{**EXPRESSION, **expression}]}
    return falcon(labelSelector=selector)


def annotated(obj: Object, key: str, value: str) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "annotations": {key: value}}}


# For every field that a user can write: two Workspaces that differ in it alone.
PAIRS: dict[str, tuple[Object, Object]] = {
    "inference.adapters[].source.image": (
        serving(adapters=[ADAPTER]),
        serving(adapters=[{**ADAPTER, "source": {"name": "style", "image": "r.io/style:2"}}]),
    ),
    "inference.adapters[].source.imagePullSecrets": (
        serving(adapters=[ADAPTER]),
        serving(adapters=[{**ADAPTER, "source": {**ADAPTER["source"], "imagePullSecrets": ["a"]}}]),
    ),
    "inference.adapters[].source.name": (
        serving(adapters=[ADAPTER]),
        serving(adapters=[{**ADAPTER, "source": {**ADAPTER["source"], "name": "other"}}]),
    ),
    "inference.adapters[].source.urls": (
        serving(adapters=[ADAPTER]),
        serving(adapters=[{**ADAPTER, "source": {**ADAPTER["source"], "urls": ["https://x"]}}]),
    ),
    "inference.adapters[].source.volumeSource": (
        serving(adapters=[ADAPTER]),
        serving(adapters=[{**ADAPTER, "source": {**ADAPTER["source"], "volumeSource": {"emptyDir": {}}}}]),
    ),
    "inference.adapters[].strength": (
        serving(adapters=[ADAPTER]),
        serving(adapters=[{**ADAPTER, "strength": "0.6"}]),
    ),
    "inference.config": (serving(), serving(config="mine")),
    "inference.preset.accessMode": (
        serving(preset={"name": "falcon-7b"}),
        serving(preset={"name": "falcon-7b", "accessMode": "private"}),
    ),
    "inference.preset.name": (serving(), serving(preset={"name": "falcon-7b-instruct"})),
    "inference.preset.presetOptions.image": (
        serving(),
        serving(preset={"name": "falcon-7b", "presetOptions": {"image": "r.io/own:1"}}),
    ),
    "inference.preset.presetOptions.imagePullSecrets": (
        serving(preset=PRIVATE),
        serving(preset={**PRIVATE, "presetOptions": {**PRIVATE["presetOptions"], "imagePullSecrets": ["a"]}}),
    ),
    "inference.preset.presetOptions.modelAccessSecret": (
        serving(),
        serving(preset={"name": "falcon-7b", "presetOptions": {"modelAccessSecret": "token"}}),
    ),
    "inference.template": (
        {**falcon(), "inference": {"template": TEMPLATE}},
        {
            **falcon(),
            "inference": {"template": {"spec": {"containers": [{"name": "server", "image": "r.io/x:2"}]}}},
        },
    ),
    "resource.count": (falcon(count=1), falcon(count=2)),
    "resource.instanceType": (falcon(), falcon(instanceType="Standard_NC24s_v3")),
    "resource.labelSelector.matchExpressions[].key": (selecting(), selecting(key="rack")),
    "resource.labelSelector.matchExpressions[].operator": (selecting(), selecting(operator="NotIn")),
    "resource.labelSelector.matchExpressions[].values": (selecting(), selecting(values=["b"])),
    "resource.labelSelector.matchLabels": (
        falcon(),
        falcon(labelSelector={"matchLabels": {"apps": "other"}}),
    ),
    "resource.partition.count": (falcon(), falcon(partition={"mode": "accelerator", "count": 2})),
    "resource.partition.mode": (falcon(), falcon(partition={"mode": "accelerator"})),
    "resource.partition.profile": (falcon(), falcon(partition={"mode": "mig", "profile": "1g.10gb"})),
    "resource.preferredNodes": (falcon(), falcon(preferredNodes=["other"])),
    "tuning.config": (tuned(), tuned(config="mine")),
    "tuning.input.image": (tuned(), tuned(input={"image": "r.io/data:1"})),
    "tuning.input.imagePullSecrets": (
        tuned(input={"image": "r.io/data:1"}),
        tuned(input={"image": "r.io/data:1", "imagePullSecrets": ["a"]}),
    ),
    "tuning.input.urls": (tuned(), tuned(input={"urls": ["https://data.example/b.json"]})),
    "tuning.input.volumeSource": (
        tuned(),
        tuned(input={**TUNING["input"], "volumeSource": {"emptyDir": {}}}),
    ),
    "tuning.method": (tuned(), tuned(method="lora")),
    "tuning.output.image": (tuned(), tuned(output={**TUNING["output"], "image": "r.io/adapter:2"})),
    "tuning.output.imagePushSecret": (tuned(), tuned(output={**TUNING["output"], "imagePushSecret": "no"})),
    "tuning.output.volumeSource": (
        tuned(),
        tuned(output={**TUNING["output"], "volumeSource": {"emptyDir": {}}}),
    ),
    "tuning.preset.accessMode": (tuned(), tuned(preset={"name": "phi-2", "accessMode": "private"})),
    "tuning.preset.name": (tuned(), tuned(preset={"name": "falcon-7b"})),
    "tuning.preset.presetOptions.image": (
        tuned(),
        tuned(preset={"name": "phi-2", "presetOptions": {"image": "r.io/own:1"}}),
    ),
    "tuning.preset.presetOptions.imagePullSecrets": (
        tuned(preset={**PRIVATE, "name": "phi-2"}),
        tuned(
            preset={
                **PRIVATE,
                "name": "phi-2",
                "presetOptions": {"image": "r.io/own:1", "imagePullSecrets": ["a"]},
            }
        ),
    ),
    "tuning.preset.presetOptions.modelAccessSecret": (
        tuned(),
        tuned(preset={"name": "phi-2", "presetOptions": {"modelAccessSecret": "token"}}),
    ),
}

WITHOUT_MEANING = {"tuning.input.name"}
"""A name for the data, for people; KAITO's controller does not read it either."""


def leaves(node: Object, path: str = "") -> set[str]:
    below = {
        found
        for name, child in (node.get("properties") or {}).items()
        for found in leaves(child, f"{path}.{name}" if path else name)
    }
    if node.get("items", {}).get("type") == "object":
        below |= leaves(node["items"], f"{path}[]")
    return below or {path}


FIELDS = {
    version: {
        path
        for path in leaves(validation.schema_of(version))
        if path.startswith(("resource", "inference", "tuning"))
    }
    for version in VERSIONS
}


def test_every_field_that_a_user_can_write_is_tried_here() -> None:
    assert set().union(*FIELDS.values()) == set(PAIRS) | WITHOUT_MEANING


@pytest.mark.parametrize("obj", [serving(), tuned()])
def test_the_same_workspace_twice_makes_no_difference(obj: Object) -> None:
    one, other = World(), World()
    assert outcome(one, told(one, obj, "v1alpha1")) == outcome(other, told(other, obj, "v1alpha1"))


def told(world: World, obj: Object, version: str) -> Object:
    """The world after the Workspace has been worked on, and what its conditions say."""
    obj = {**obj, "apiVersion": f"kaito.sh/{version}"}
    for name, labels in (("gpu-a", {"zone": "a"}), ("gpu-b", {"zone": "b"}), ("gpu-c", {"rack": "a"})):
        for instance_type, gpus in (("Standard_NC12s_v3", "2"), ("Standard_NC6s_v3", "1")):
            node = f"{name}-{gpus}"
            world.apply(NODE, gpu_node(node, {"apps": "falcon-7b", **labels}, instance_type))
            world.set_status(NODE, node, node_status(gpus))
    secret = {"data": {".dockerconfigjson": "e30="}, "type": "kubernetes.io/dockerconfigjson"}
    world.apply(
        SECRET,
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "push", "namespace": "default"},
            **secret,
        },
    )
    kind = kaito.WORKSPACE if version == "v1alpha1" else kaito.WORKSPACE_V1BETA1
    world.apply(kind, obj)
    world.settle()
    found = world.get(kaito.WORKSPACE, "falcon")
    assert found is not None
    return found


def outcome(world: World, workspace: Object) -> Object:
    """What was built, and which nodes and what refusal the status tells of; nothing that is random."""
    kinds = (DEPLOYMENT, STATEFUL_SET, SERVICE, JOB, CONFIG_MAP, NODE_CLAIM)
    built: Object = {kind.kind: [] for kind in kinds}
    for kind in kinds:
        for item in world.list(kind):
            spec: Object = item.get("spec") or {}
            for random in ("clusterIP", "clusterIPs", "selector"):
                spec.pop(random, None)
            if kind is JOB:
                spec["template"]["metadata"].pop("labels")
            built[kind.kind].append((spec, item.get("data")))
    succeeded = conditions.find(workspace, kaito.WORKSPACE_SUCCEEDED) or {}
    return {**built, "says": succeeded.get("message"), "nodes": workspace["status"]["workerNodes"]}


@pytest.mark.parametrize(
    ("field", "version"),
    [(field, version) for version in VERSIONS for field in PAIRS if field in FIELDS[version]],
)
def test_each_field_makes_a_difference_or_is_named(field: str, version: str) -> None:
    before, after = PAIRS[field]
    one, other = World(), World()
    first, second = told(one, before, version), told(other, after, version)
    if outcome(one, first) != outcome(other, second):
        assert conditions.find(second, kaito.FIELDS_IGNORED) is None
        return
    named = conditions.find(second, kaito.FIELDS_IGNORED)
    assert named is not None, f"{field} makes no difference, and nobody says so"
    assert field.removesuffix(".mode").removesuffix(".profile").removesuffix(".count") in named["message"]
    assert ("Warning", "FieldsIgnored") in events(other)
    assert conditions.find(first, kaito.FIELDS_IGNORED) is None
    assert "FieldsIgnored" not in dict(map(reversed, events(one)))  # type: ignore[arg-type]


def events(world: World) -> list[tuple[str, str]]:
    return [(item["type"], item["reason"]) for item in world.list(EVENT)]


LLAMA: Object = {"accessMode": "private", "presetOptions": {"image": "r.io/llama:1"}}
PORTS: Object = {
    "spec": {"containers": [{"name": "server", "image": "r.io/x:1", "ports": [{"containerPort": 80}]}]}
}


@pytest.mark.parametrize(
    ("obj", "words"),
    [
        (
            serving(preset={"name": "llama-2-7b", **LLAMA}, adapters=[ADAPTER]),
            "inference.adapters: the server of llama-2-7b does not load adapters",
        ),
        (
            {
                **falcon(instanceType="Standard_NC96ads_A100_v4", count=2),
                "inference": {"preset": {"name": "llama-2-70b", **LLAMA}, "adapters": [ADAPTER]},
            },
            "inference.adapters: the server of llama-2-70b does not load adapters",
        ),
        (
            {**falcon(), "inference": {"template": TEMPLATE, "adapters": [ADAPTER]}},
            "inference.adapters: adapters beside a template are not loaded",
        ),
        (
            annotated({**falcon(), "inference": {"template": TEMPLATE}}, "kaito.sh/enablelb", "True"),
            "metadata.annotations[kaito.sh/enablelb]: there is nothing to balance",
        ),
        (annotated(tuned(), "kaito.sh/enablelb", "True"), "there is nothing to balance"),
        (annotated(tuned(), "kaito.sh/runtime", "vllm"), "it chooses the server of an inference preset"),
        (annotated(falcon(), "kaito.sh/enablelb", "true"), "does not ask for a load balancer"),
        (annotated(falcon(), "kaito.sh/enable-lb", "True"), "KAITO does not read kaito.sh/enable-lb"),
        (
            annotated(falcon(), "kaito.sh/performance-mode", "throughput"),
            "kaitoctl's controller does not read kaito.sh/performance-mode",
        ),
    ],
)
def test_what_matters_only_beside_something_else_is_named_where_it_does_not(obj: Object, words: str) -> None:
    world = World()
    found = conditions.find(told(world, obj, "v1alpha1"), kaito.FIELDS_IGNORED)
    assert found is not None
    assert words in found["message"]
    assert ("Warning", "FieldsIgnored") in events(world)


@pytest.mark.parametrize(
    "obj",
    [
        annotated(falcon(), "kaito.sh/enablelb", "True"),
        annotated(falcon(), "kaito.sh/runtime", "vllm"),
        annotated({**falcon(), "inference": {"template": PORTS}}, "kaito.sh/enablelb", "True"),
        annotated(falcon(), "example.com/team", "a"),
        serving(adapters=[ADAPTER]),
        selecting(),
    ],
)
def test_what_is_used_is_not_named(obj: Object) -> None:
    assert conditions.find(told(World(), obj, "v1alpha1"), kaito.FIELDS_IGNORED) is None


def test_the_condition_goes_with_its_reason_and_comes_back_with_an_event() -> None:
    world = World()
    told(world, serving(config="mine"), "v1alpha1")
    left = told(world, serving(), "v1alpha1")
    assert conditions.find(left, kaito.FIELDS_IGNORED) is None
    told(world, annotated(serving(), "kaito.sh/enablelb", "yes"), "v1alpha1")
    texts = [item["message"] for item in world.list(EVENT) if item["reason"] == "FieldsIgnored"]
    assert len(texts) == len(set(texts)) == 1, "at one moment of the test's clock, an Event has one name"


def test_a_status_moves_no_generation_whatever_its_version_leaves_out() -> None:
    world = World()
    found = told(world, falcon(partition={"mode": "accelerator", "count": 2}), "v1beta1")
    assert found["metadata"]["generation"] == 1
    assert {item["observedGeneration"] for item in found["status"]["conditions"]} == {1}
