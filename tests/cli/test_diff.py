"""`kaitoctl diff`: what applying would change, in the Workspace and in what is made from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import adapter, node, pod, workspace
from shell import Shell

from kaitoctl.commands.observed_nodes import ObservedNodes
from kaitoctl.kaito.node_check import OWN_RULES

Wait = Callable[[Callable[[], object]], None]


def manifest(namespace: str, **changes: Any) -> str:
    made = workspace("w", **changes)
    made["resource"]["labelSelector"] = {"matchLabels": {"apps": namespace}}
    made["metadata"] = {"name": "w", "namespace": namespace}
    made["metadata"]["annotations"] = {"kaito.sh/runtime": "transformers"}
    return yaml.safe_dump(made)


@pytest.fixture
def running(shell: Shell, namespace: str, tmp_path: Path, wait_until: Wait) -> Callable[..., str]:
    """A Workspace `w` that serves; returns what writes another manifest of it."""

    def written(**changes: Any) -> str:
        file = tmp_path / "workspace.yaml"
        file.write_text(manifest(namespace, **changes))
        return str(file)

    shell.kubectl("apply", "--server-side", "--validate=false", "--field-manager=kaitoctl", "-f", written())

    def serves() -> bool:
        found = shell.get("workspaces", "-n", namespace)["items"][0].get("status", {})
        return any(
            item["type"] == "WorkspaceSucceeded" and item["status"] == "True"
            for item in found.get("conditions", ())
        )

    wait_until(serves)
    return written


def versions(shell: Shell, namespace: str) -> list[str]:
    kinds = "workspaces,deployments,services,pods"
    return [item["metadata"]["resourceVersion"] for item in shell.get(kinds, "-n", namespace)["items"]]


def test_it_tells_what_restarts_and_writes_nothing(
    shell: Shell, namespace: str, running: Callable[..., str]
) -> None:
    before = versions(shell, namespace)
    done = shell.kaitoctl("diff", "-f", running())
    assert done.stdout.splitlines() == [
        f"► Workspace/{namespace}/w unchanged",
        f"► generated Service/{namespace}/w unchanged",
        f"► generated Deployment/{namespace}/w unchanged",
    ]
    file = running(inference={"adapters": [adapter("style", strength="0.5")]})
    done = shell.kaitoctl("diff", "-f", file, code=1)
    assert f"► Workspace/{namespace}/w changed\n" in done.stdout
    assert f"► generated Deployment/{namespace}/w changed -> 1 pod restarts\n" in done.stdout
    assert "spec.template.spec.initContainers" in done.stdout
    assert versions(shell, namespace) == before

    found = json.loads(shell.kaitoctl("diff", "-f", file, "-o", "json", code=1).stdout)
    assert found["differs"] is True
    (told,) = found["workspaces"]
    assert [(item["kind"], item["fate"], item["podsRestarted"]) for item in told["generated"]] == [
        ("Service", "unchanged", 0),
        ("Deployment", "changed", 1),
    ]

    drifted = ["deployment", "w", "-n", namespace]
    shell.kubectl("label", *drifted, "theirs=x")  # nobody's business here
    shell.kaitoctl("diff", "-f", running())


def test_what_is_not_there_will_be_created(shell: Shell, namespace: str, tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text(manifest(namespace))
    done = shell.kaitoctl("diff", "-f", str(tmp_path / "w.yaml"), code=1)
    assert [line.split(" -> ")[1] for line in done.stdout.splitlines()] == ["will be created"] * 3
    assert shell.names("workspaces,deployments", "-n", namespace) == []


def test_a_foreign_object_of_a_wanted_name_is_told(shell: Shell, namespace: str, tmp_path: Path) -> None:
    spec = {"ports": [{"port": 1}]}
    metadata = {"name": "w", "namespace": namespace}
    shell.apply({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    (tmp_path / "w.yaml").write_text(manifest(namespace))
    done = shell.kaitoctl("diff", "-f", str(tmp_path / "w.yaml"), code=1)
    assert (
        f"Service/{namespace}/w is not this Workspace's (controller: none) and is left alone" in done.stdout
    )


def test_trouble_has_codes_above_one(shell: Shell, offline: Shell, tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(manifest("no-such-namespace"))
    shell.kaitoctl("diff", "-f", str(file), code=4)
    shell.kaitoctl("diff", "-f", str(tmp_path / "none.yaml"), code=2)
    offline.kaitoctl("diff", "-f", str(file), code=2, KUBECONFIG="/nowhere")


def test_of_nodes_whose_pods_nobody_listed_the_gpus_in_use_are_unknown() -> None:
    """What diff and create judge by: only nodes with the right labels have their pods listed."""
    ws = workspace(resource={"preferredNodes": ["listed", "bare"]})
    nodes = [node("listed"), node("bare", labels={})]
    taken = [pod(node_name="listed", gpus=1)]
    seen = ObservedNodes(nodes, taken, pods_of=frozenset({"listed"})).verdict(ws, OWN_RULES)
    in_use = {found.name: found.gpus.in_use for found in seen.nodes}
    assert in_use == {"listed": 1, "bare": None}
    in_use = {
        found.name: found.gpus.in_use for found in ObservedNodes(nodes, None).verdict(ws, OWN_RULES).nodes
    }
    assert in_use == {"listed": None, "bare": None}


def test_a_node_without_the_labels_is_told_by_its_labels_and_not_by_its_gpus(
    shell: Shell, namespace: str, tmp_path: Path
) -> None:
    bare = node(f"bare-{namespace}", labels={})
    shell.apply({key: value for key, value in bare.items() if key != "status"})
    file = tmp_path / "w.yaml"
    file.write_text(manifest(namespace, resource={"preferredNodes": [f"bare-{namespace}"]}))
    done = shell.kaitoctl("diff", "-f", str(file), code=1)
    assert "the workload waits for nodes: 0 of 1 required nodes usable" in done.stderr
    assert "free" not in done.stderr
    shell.delete_node(f"bare-{namespace}")
