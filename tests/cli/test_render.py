"""`kaitoctl render`: what the controller would create, offline and always the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import adapter, node, workspace
from shell import Shell
from world import World, falcon, gpu_node, node_status

from kaitoctl.commands.render import rendered
from kaitoctl.kaito import api as kaito
from kaitoctl.kaito.desired import Settings
from kaitoctl.kube.objects import DEPLOYMENT, NODE, NODE_CLAIM, SERVICE, Object
from kaitoctl.reconcile.field_differences import differences


def manifest(name: str = "w", **changes: Any) -> Object:
    made = workspace(name, **changes)
    made["metadata"] = {"name": name}
    return made


def given(shell: Shell, *documents: Object, name: str = "workspace.yaml") -> str:
    (shell.home / name).write_text(yaml.safe_dump_all(documents))
    return name


def kinds(text: str) -> list[tuple[str, str]]:
    return [(item["kind"], item["metadata"]["name"]) for item in yaml.safe_load_all(text)]


@pytest.mark.parametrize("prepared", [True, False])
def test_it_renders_what_the_controller_creates(prepared: bool) -> None:
    world = World()
    if prepared:
        world.apply(NODE, gpu_node("gpu-a", {"apps": "falcon-7b"}))
        world.set_status(NODE, "gpu-a", node_status("1"))
    nodes = world.list(NODE) if prepared else None
    world.apply(kaito.WORKSPACE, falcon())
    asked = world.get(kaito.WORKSPACE, "falcon")
    assert asked is not None
    made = rendered(asked, nodes, Settings())
    world.settle()
    for kind, obj in zip((SERVICE, DEPLOYMENT), made.objects, strict=True):
        live = world.get(kind, "falcon")
        assert live is not None
        assert differences(obj, live) == []
        assert "ownerReferences" not in obj["metadata"]
    assert [claim["metadata"]["name"] for claim in made.claims] == [
        claim["metadata"]["name"] for claim in world.list(NODE_CLAIM)
    ]


def test_several_documents_from_stdin_and_twice_the_same_bytes(offline: Shell) -> None:
    first, second = given(offline, manifest("a")), given(offline, manifest("b"), name="b.yaml")
    done = offline.run("/bin/sh", "-c", f"cat {second} | kaitoctl render -f {first} -f -")
    assert done.returncode == 0, done.stderr
    assert kinds(done.stdout) == [
        ("Service", "a"),
        ("Deployment", "a"),
        ("Service", "b"),
        ("Deployment", "b"),
    ]
    again = offline.run("/bin/sh", "-c", f"cat {second} | kaitoctl render -f {first} -f -")
    assert again.stdout == done.stdout


def test_node_claims_are_comments_or_objects(offline: Shell) -> None:
    file = given(offline, manifest(resource={"count": 2}))
    plain = offline.kaitoctl("render", "-f", file).stdout
    assert plain.count("#   kind: NodeClaim") == 2
    assert "NodeClaim" not in dict(kinds(plain))
    whole = offline.kaitoctl("render", "-f", file, "--node-claims").stdout
    assert [kind for kind, _ in kinds(whole)] == ["NodeClaim", "NodeClaim", "Service", "Deployment"]
    assert "kaitoctl.dev/workspace-uid" not in whole
    listed = json.loads(offline.kaitoctl("render", "-f", file, "-o", "json", "--node-claims").stdout)
    assert listed["items"] == list(yaml.safe_load_all(whole))


def test_given_nodes_decide_how_many_gpus_a_pod_gets_and_how_many_nodes_are_missing(offline: Shell) -> None:
    file = given(offline, manifest(resource={"preferredNodes": ["gpu-a"]}))
    small = node(gpus="1", instance_type="Standard_NC6s_v3")
    nodes = given(offline, {"apiVersion": "v1", "kind": "List", "items": [small]}, name="nodes.yaml")
    done = offline.kaitoctl("render", "-f", file, "--nodes", nodes, "-o", "json")
    (_, made) = json.loads(done.stdout)["items"]
    assert made["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    assert "1 of 1 required nodes usable" in done.stderr
    assert "NodeClaim" not in offline.kaitoctl("render", "-f", file, "--nodes", nodes).stdout
    broken = given(offline, node(ready="False"), name="broken.yaml")
    done = offline.kaitoctl("render", "-f", given(offline, manifest()), "--nodes", broken)
    assert done.stdout.count("#   kind: NodeClaim") == 1


def test_errors_end_it_before_anything_is_printed(offline: Shell) -> None:
    good, bad = manifest("good"), manifest("bad", inference={"preset": {"name": "falcon-8b"}})
    done = offline.kaitoctl("render", "-f", given(offline, good, bad), code=2)
    assert done.stdout == ""
    assert "document 2: Workspace bad" in done.stderr
    assert "falcon-7b" in done.stderr


def test_a_refusal_is_said_with_its_reason(offline: Shell) -> None:
    greedy = given(offline, manifest(resource={"count": 70}))
    done = offline.kaitoctl("render", "-f", greedy, code=2)
    assert "more than the 64 nodes" in done.stderr
    vllm = manifest(inference={"adapters": [adapter()]})
    vllm["metadata"]["annotations"] = {"kaito.sh/runtime": "vllm"}
    done = offline.kaitoctl("render", "-f", given(offline, vllm), code=2)
    assert "adapters" in done.stderr


def test_what_is_no_workspace_is_skipped_and_said(offline: Shell) -> None:
    other = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
    done = offline.kaitoctl("render", "-f", given(offline, other, manifest()))
    assert [kind for kind, _ in kinds(done.stdout)] == ["Service", "Deployment"]
    assert "ConfigMap" in done.stderr
    assert "no Workspace" in offline.kaitoctl("render", "-f", given(offline, other), code=2).stderr


def test_the_context_of_a_config_map_beside_it_and_the_nodes_given_decide_how_many_nodes(
    offline: Shell,
) -> None:
    model = {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": "w"},
        "resource": {"labelSelector": {"matchLabels": {"apps": "w"}}},
        "inference": {"preset": {"name": "gemma-3-27b-instruct"}, "config": "mine"},
    }
    asks = {"inference_config.yaml": "vllm:\n  max-model-len: 32768\n"}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine"}, "data": asks}
    labels = {"apps": "w", "nvidia.com/gpu.product": "A100", "nvidia.com/gpu.count": "1"}
    labels |= {"nvidia.com/gpu.memory": "81920"}

    def own(name: str, labels: Object) -> Object:
        return {**gpu_node(name, labels, "own"), "status": node_status("1")}

    listed = {"kind": "List", "items": [own(name, labels) for name in ("a", "b")]}
    (offline.home / "nodes.json").write_text(json.dumps(listed))

    def replicas(*documents: Object) -> list[int]:
        done = offline.kaitoctl("render", "-f", given(offline, *documents), "--nodes", "nodes.json")
        made = yaml.safe_load_all(done.stdout)
        return [item["spec"]["replicas"] for item in made if item["kind"] == "StatefulSet"]

    assert replicas(model) == [1]
    assert replicas(model, config) == [2]


@pytest.mark.parametrize(
    ("provisioner", "asked"),
    [
        ("karpenter", [("NodePool", 3)]),
        ("byo", []),
        ("azure-gpu-provisioner", [("NodeClaim", None)] * 3),
    ],
)
def test_each_provisioner_is_asked_in_its_way(
    offline: Shell, provisioner: str, asked: list[tuple[str, int | None]]
) -> None:
    model = {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": "w"},
        "resource": {
            "instanceType": "Standard_NC24ads_A100_v4",
            "labelSelector": {"matchLabels": {"apps": "w"}},
        },
        "inference": {"preset": {"name": "llama-3.3-70b-instruct"}},
    }
    options = ("--node-provisioner", provisioner, "--node-claims")
    done = offline.kaitoctl("render", "-f", given(offline, model), *options)
    made = [item for item in yaml.safe_load_all(done.stdout) if item["kind"].startswith("Node")]
    assert [(item["kind"], item["spec"].get("replicas")) for item in made] == asked


def test_two_workspaces_that_want_one_name_are_refused(offline: Shell) -> None:
    done = offline.kaitoctl("render", "-f", given(offline, manifest("w"), manifest("w")), code=2)
    assert "given twice: default/w" in done.stderr


def test_what_it_renders_runs_without_any_controller(shell: Shell, namespace: str, tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(yaml.safe_dump(manifest()))
    objects = shell.kaitoctl("render", "-f", str(file), "-n", namespace).stdout
    (tmp_path / "made.yaml").write_text(objects)
    shell.kubectl("apply", "--server-side", "--validate=false", "-f", str(tmp_path / "made.yaml"))
    assert shell.names("deployments,services", "-n", namespace) == ["deployment.apps/w", "service/w"]
