"""Every example manifest of KAITO and of its guide, on a whole sandbox with the controller: how each ends.

All are applied to one cluster in virtual time; `data/examples.yaml` says what each asks for, and how it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from virtual_time import run
from world import crds

from kaitoctl import workspace_controller
from kaitoctl.commands.sandbox_server import shapes
from kaitoctl.kaito import api as kaito
from kaitoctl.kaito import catalog, validation
from kaitoctl.kaito.desired import image_generation_of
from kaitoctl.kube import conditions, request
from kaitoctl.kube.client import Client, connect
from kaitoctl.kube.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    EVENT,
    JOB,
    NODE_CLAIM,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    Kind,
    Object,
    dig,
    generation_of,
    labels_of,
)
from kaitoctl.kube.pod_state import is_ready
from kaitoctl.sandbox import nodes
from kaitoctl.sandbox.cluster import cluster

SPEED = 1000.0
KINDS = (kaito.WORKSPACE, DEPLOYMENT, STATEFUL_SET, JOB, SERVICE, POD, NODE_CLAIM, EVENT)


@dataclass(frozen=True)
class Example:
    """One line of the table."""

    number: int
    file: str
    versions: tuple[str, ...]
    ends: str
    asks: Object = field(repr=False)

    @property
    def name(self) -> str:
        """Of the Workspace: a Service's name."""
        return f"example-{self.number}"

    @property
    def is_refused(self) -> bool:
        return self.ends not in ("Ready", "Succeeded")

    @property
    def workspace(self) -> Object:
        asks = self.asks
        resource: Object = {"labelSelector": {"matchLabels": {"apps": self.name}}}
        resource |= {key: asks[key] for key in ("count", "partition") if key in asks}
        if "type" in asks:
            resource["instanceType"] = asks["type"]
        if "preferred" in asks:
            resource["preferredNodes"] = [self._node(name) for name in asks["preferred"]]
        obj: Object = {
            "apiVersion": f"kaito.sh/{'v1beta1' if self.versions == ('v0.12',) else 'v1alpha1'}",
            "kind": "Workspace",
            "metadata": {"name": self.name, "namespace": "default"},
            "resource": resource,
        }
        if "annotations" in asks:
            obj["metadata"]["annotations"] = asks["annotations"]
        if "tunes" in asks:
            return {**obj, "tuning": self._tuning}
        return {**obj, "inference": self._inference}

    @property
    def _inference(self) -> Object:
        asks = self.asks
        if "template" in asks:
            port = {"containerPort": 8000}
            server = {"name": "server", "image": asks["template"], "ports": [port]}
            server["resources"] = {"limits": {"nvidia.com/gpu": "1"}}
            return {"template": {"spec": {"containers": [server]}}}
        made: Object = {"preset": self._preset(asks["preset"])}
        if "adapter" in asks:
            source = {"name": "adapter", "image": asks["adapter"]}
            made["adapters"] = [{"source": source, "strength": asks["strength"]}]
        if "config" in asks:
            made["config"] = asks["config"]
        return made

    @property
    def _tuning(self) -> Object:
        asks = self.asks
        made: Object = {"preset": self._preset(asks["tunes"]), "method": "qlora"}
        made["input"] = {"urls": ["https://data.example/train.parquet"]}
        made["output"] = {"image": asks.get("output"), "imagePushSecret": "push"}
        if "volume" in asks:
            volume = {"volumeSource": {"persistentVolumeClaim": {"claimName": asks["volume"]}}}
            made["input"], made["output"] = volume, volume
        if "config" in asks:
            made["config"] = asks["config"]
        return made

    def _preset(self, name: str) -> Object:
        preset: Object = {"name": name}
        if "image" in self.asks:
            preset |= {"accessMode": "private", "presetOptions": {"image": self.asks["image"]}}
        if "secret" in self.asks:
            preset["presetOptions"] = {"modelAccessSecret": self.asks["secret"]}
        return preset

    @property
    def nodes(self) -> Iterator[Object]:
        """Nodes that the user has prepared."""
        for node in self.asks.get("preferred", ()):
            if node in ("here", "bare"):
                labels = {"apps": self.name} if node == "here" else {}
                asked = self.asks["type"]
                yield nodes.node(self._node(node), shapes()[asked], instance_type=asked, labels=labels)

    def _node(self, name: str) -> str:
        return f"{name}-{self.number}" if name == "here" else name


def table() -> list[Example]:
    groups = yaml.safe_load((Path(__file__).parent / "data" / "examples.yaml").read_text("utf-8"))
    rows = [
        (file, tuple(group["versions"]), group["ends"], asks)
        for group in groups
        for file, asks in group["examples"].items()
    ]
    return [Example(number, *row) for number, row in enumerate(rows)]


EXAMPLES = table()
BASIC = next(example for example in EXAMPLES if example.file == "guide: basic usage")


@dataclass
class Cluster:
    """How everything was when all examples had ended, or had again after an update."""

    objects: dict[Kind, list[Object]]

    def of(self, kind: Kind, name: str) -> list[Object]:
        """The objects of an example's Workspace."""
        return [
            item
            for item in self.objects[kind]
            if labels_of(item).get("kaito.sh/workspace") == name or item["metadata"]["name"] == name
        ]


def named_by_inference() -> Iterator[tuple[Kind, Object]]:
    """The ConfigMaps and Secrets that inference names; those of tuning are the refusals of the table."""
    asked = [example.asks for example in EXAMPLES if "preset" in example.asks]
    config = "vllm:\n  max-model-len: 2048\n"
    for name in sorted({asks["config"] for asks in asked if "config" in asks}):
        yield CONFIG_MAP, named("v1", "ConfigMap", name, data={"inference_config.yaml": config})
    for name in sorted({asks["secret"] for asks in asked if "secret" in asks}):
        yield SECRET, named("v1", "Secret", name, data={"HF_TOKEN": "e30="})


def claims_of_tuning() -> Iterator[tuple[Kind, Object]]:
    """The claims that data is read from and results are written to."""
    room = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "10Gi"}}}
    for name in sorted({one.asks["volume"] for one in EXAMPLES if "volume" in one.asks}):
        yield PERSISTENT_VOLUME_CLAIM, named("v1", "PersistentVolumeClaim", name, spec=room)


def named(version: str, kind: str, name: str, **rest: Object) -> Object:
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        **rest,
    }


async def everything(client: Client) -> dict[Kind, list[Object]]:
    return {kind: (await client.list(kind)).items for kind in KINDS}


def has_ended(workspace: Object) -> bool:
    found = conditions.find(workspace, kaito.WORKSPACE_SUCCEEDED)
    if found is None or found["observedGeneration"] < generation_of(workspace):
        return False
    return bool(found["status"] == "True" or found["reason"] != "workspacePending")


async def until_all_have_ended(client: Client) -> None:
    for _ in range(1000):
        workspaces = (await client.list(kaito.WORKSPACE)).items
        if all(map(has_ended, workspaces)):
            return
        await asyncio.sleep(0.05)
    raise AssertionError([item for item in workspaces if not has_ended(item)])


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cluster, Cluster]:
    """The cluster on which all examples have run to their end, and after the guide's change of adapters."""
    kubeconfig = tmp_path_factory.mktemp("examples") / "kubeconfig"
    seen: list[Cluster] = []

    async def play() -> None:
        prepared = [node for example in EXAMPLES for node in example.nodes]
        async with cluster(speed=SPEED, instance_types=shapes(), crds=crds(), nodes=prepared) as up:
            up.write_kubeconfig(kubeconfig)
            async with connect(kubeconfig=kubeconfig) as client:
                controller = asyncio.create_task(workspace_controller.run(client))
                for kind, obj in [*named_by_inference(), *claims_of_tuning()]:
                    await client.send(request.apply(kind, obj, manager="user"))
                await client.send(request.apply(SECRET, PUSH_SECRET, manager="user"))
                for example in EXAMPLES:
                    kind = kaito.WORKSPACE_V1BETA1 if "v0.12" in example.versions else kaito.WORKSPACE
                    await client.send(request.apply(kind, example.workspace, manager="user"))
                await until_all_have_ended(client)
                seen.append(Cluster(await everything(client)))
                changed = BASIC.workspace
                changed["inference"]["adapters"] = [{"source": ADAPTER, "strength": "0.2"}]
                await client.send(request.apply(kaito.WORKSPACE, changed, manager="user"))
                await until_all_have_ended(client)
                seen.append(Cluster(await everything(client)))
                controller.cancel()
                await asyncio.wait({controller})

    run(play())
    return seen[0], seen[1]


@pytest.fixture(scope="module")
def ended(story: tuple[Cluster, Cluster]) -> Cluster:
    return story[0]


ADAPTER: Object = {"name": "falcon-7b-adapter", "image": "registry.example/falcon-7b-adapter:1"}
PUSH_SECRET: Object = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "push", "namespace": "default"},
    "type": "kubernetes.io/dockerconfigjson",
    "data": {".dockerconfigjson": "e30="},
}


@pytest.mark.parametrize("example", EXAMPLES, ids=[f"{item.versions[0]} {item.file}" for item in EXAMPLES])
def test_an_example_ends_as_it_promises(example: Example, ended: Cluster) -> None:
    (workspace,) = ended.of(kaito.WORKSPACE, example.name)
    found = {item["type"]: item for item in workspace["status"]["conditions"]}
    succeeded = found[kaito.WORKSPACE_SUCCEEDED]
    claims = ended.of(NODE_CLAIM, example.name)
    if example.is_refused:
        assert (succeeded["status"], succeeded["reason"]) == ("False", "workspaceFailed")
        assert example.ends in succeeded["message"]
        assert claims == [], "what is refused costs nothing"
        assert not any(ended.of(kind, example.name) for kind in (DEPLOYMENT, STATEFUL_SET, JOB, POD))
        return
    assert succeeded["status"] == "True", found
    count = example.asks.get("nodes", example.asks.get("count", 1))
    assert len(claims) == (0 if "preferred" in example.asks else count)
    if example.ends == "Succeeded":
        (job,) = ended.of(JOB, example.name)
        assert job["status"]["succeeded"] == 1
        return
    pods = [pod for pod in ended.of(POD, example.name) if is_ready(pod)]
    assert len(pods) == count
    assert workspace["status"]["workerNodes"] == sorted(pod["spec"]["nodeName"] for pod in pods)
    kind = STATEFUL_SET if is_set(example) else DEPLOYMENT
    assert [item["metadata"]["name"] for item in ended.of(kind, example.name)] == [example.name]
    inits = [dig(pod, "status", "initContainerStatuses") or [] for pod in pods]
    assert [len(item) for item in inits] == [1 if "adapter" in example.asks else 0] * count


def is_set(example: Example) -> bool:
    """Whether it is served by a StatefulSet: distributed presets were, and from v0.12 on every model is."""
    preset = catalog.SHIPPED.preset(example.asks.get("preset", ""))
    generation = image_generation_of(example.workspace, catalog.SHIPPED)
    is_of_today = generation is not None and generation.name == "v0.12"
    return "preset" in example.asks and (is_of_today or (preset is not None and preset.distributed))


def test_a_change_of_adapters_recreates_the_pod_and_service_resumes(story: tuple[Cluster, Cluster]) -> None:
    """The guide's last paragraph; the brief downtime is told."""
    before, after = story
    (old,), (new,) = before.of(POD, BASIC.name), after.of(POD, BASIC.name)
    assert old["metadata"]["uid"] != new["metadata"]["uid"]
    assert [item["name"] for item in new["spec"]["initContainers"]] == ["falcon-7b-adapter"]
    assert old["spec"]["nodeName"] == new["spec"]["nodeName"]
    assert is_ready(new)
    told = [item for item in after.objects[EVENT] if item["involvedObject"]["name"] == BASIC.name]
    reasons = [item["reason"] for item in told if item["involvedObject"]["kind"] == "Workspace"]
    assert reasons.count("WorkspaceInferenceStatusPending") == 1
    assert reasons.count("WorkspaceInferenceStatusSuccess") == 2


def test_all_examples_have_their_line() -> None:
    """Of the Workspaces among KAITO's examples: 20 in v0.3.2, two more in v0.4.0, 46 in v0.12."""
    files = {
        (version, item.file.removesuffix(" (filled in)")) for item in EXAMPLES for version in item.versions
    }
    counts = {
        version: sum(of == version for of, file in files if "guide" not in file) for version, _ in files
    }
    assert counts == {"v0.3.2": 20, "v0.4.0": 22, "v0.12": 46}


TARGETS = {"v0.3.2": "v0.3", "v0.4.0": "v0.4", "v0.12": "v0.12"}


def test_what_is_to_be_said_of_the_examples_under_kaito_itself(golden: Callable[[str, str], None]) -> None:
    """By version: which of them KAITO refuses, and what it ignores of the others."""
    lines = []
    for version, target in TARGETS.items():
        for example in EXAMPLES:
            if version in example.versions:
                problems = validation.judge(example.workspace, validation.Setting(target))
                found = [f"{item.severity} {item.code} {item.path}" for item in problems]
                lines.append(f"{version} {example.file}: {'; '.join(found) or 'valid'}")
    golden("examples.txt", "\n".join(lines) + "\n")
