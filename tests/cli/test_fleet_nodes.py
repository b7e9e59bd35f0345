"""Nodes for fleets: `check-nodes` of a set and of two roles, and `validate` against a cluster's nodes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fleet_world import inference_set
from shell import Shell

from kaitoctl.kaito.fleet.node_demand import demands

MADE_BY, ROLE = "multiroleinference.kaito.sh/created-by", "kaito.sh/inference-role"
A100 = "Standard_NC24ads_A100_v4"


def roles(namespace: str, **spec: Any) -> Any:
    return {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "MultiRoleInference",
        "metadata": {"name": "pair", "namespace": namespace},
        "spec": {
            "labelSelector": {"matchLabels": {"pool": namespace}},
            "model": {"name": "phi-4-mini-instruct"},
            "roles": [{"type": "prefill", "replicas": 1}, {"type": "decode", "replicas": 2}],
            **spec,
        },
    }


def test_a_fleet_stands_for_the_nodes_of_all_its_replicas() -> None:
    prefill, decode = demands(roles("a"))
    assert (prefill["metadata"]["name"], decode["metadata"]["name"]) == ("pair-prefill", "pair-decode")
    assert (prefill["resource"]["count"], decode["resource"]["count"]) == (1, 2)
    assert decode["resource"]["labelSelector"]["matchLabels"] == {
        "pool": "a",
        MADE_BY: "pair",
        ROLE: "decode",
    }
    (three,) = demands(inference_set(3))
    assert (three["metadata"]["name"], three["resource"]["count"]) == ("phis", 3)
    assert list(demands(inference_set(0))) == []
    assert list(demands({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}})) == []


def node(name: str, **labels: str) -> Any:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "node.kubernetes.io/instance-type": A100,
                "kubernetes.io/os": "linux",
                "nvidia.com/gpu.product": "NVIDIA-A100-80GB-PCIe",
                "nvidia.com/gpu.count": "1",
                "nvidia.com/gpu.memory": "81920",
                **labels,
            },
        },
        "status": {
            "capacity": {"nvidia.com/gpu": "1"},
            "allocatable": {"nvidia.com/gpu": "1", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def test_offline_the_two_labels_of_a_role_are_looked_for(offline: Shell) -> None:
    home = offline.home
    (home / "pair.yaml").write_text(yaml.safe_dump(roles("default")))
    ready = {MADE_BY: "pair", ROLE: "prefill"}
    nodes = [node("a", pool="default", **ready), node("b", pool="default")]
    (home / "nodes.json").write_text(json.dumps({"kind": "NodeList", "apiVersion": "v1", "items": nodes}))
    (home / "pods.json").write_text(json.dumps({"kind": "PodList", "apiVersion": "v1", "items": []}))
    check = ("check-nodes", "-f", "pair.yaml", "--nodes", "nodes.json", "--pods", "pods.json")
    more = ("--target-version", "v0.12", "--node-provisioner", "byo")
    assert "holds 2 Workspaces" in offline.kaitoctl(*check, *more, code=2).stderr
    assert "1 x" in offline.kaitoctl(*check, "pair-prefill", *more).stdout
    done = offline.kaitoctl(*check, "pair-decode", *more, "-o", "json", code=1)
    verdict = json.loads(done.stdout)
    assert verdict["required"] == 2
    assert f"kubectl label node NODE {MADE_BY}=pair {ROLE}=decode" in done.stderr


@pytest.fixture
def pool(shell: Shell, namespace: str) -> Iterator[str]:
    """Three nodes with a label of this test's."""
    names = [f"{namespace[:40].strip('-')}-{number}" for number in range(3)]
    for name in names:
        shell.add_node(name, A100, pool=namespace)
    yield namespace
    shell.delete_node(*names)


def test_on_a_cluster_the_labels_of_a_role_are_missing_until_somebody_sets_them(
    shell: Shell, pool: str, tmp_path: Path
) -> None:
    file = tmp_path / "pair.yaml"
    file.write_text(yaml.safe_dump(roles(pool)))
    how = ("--target-version", "v0.12", "--node-provisioner", "byo", "-n", pool)
    validate = ("validate", "-f", str(file), *how, "--kubeconfig", shell.kubeconfig)
    done = shell.kaitoctl(*validate, "-o", "json", code=2, KAITOCTL_SANDBOX="")
    assert "KW324" in done.stdout
    assert "no node has what decode asks for" in done.stdout
    done = shell.kaitoctl("check-nodes", "-f", str(file), "pair-decode", *how, code=1)
    assert f"kubectl label node NODE {MADE_BY}=pair {ROLE}=decode" in done.stderr
    first, *others = (one.partition("/")[2] for one in shell.names("nodes", "-l", f"pool={pool}"))
    shell.kubectl("label", "node", first, f"{MADE_BY}=pair", f"{ROLE}=prefill")
    shell.kubectl("label", "node", *others, f"{MADE_BY}=pair", f"{ROLE}=decode")
    for role in ("prefill", "decode"):
        shell.kaitoctl("check-nodes", "-f", str(file), f"pair-{role}", *how)
    done = shell.kaitoctl(*validate, KAITOCTL_SANDBOX="")
    assert "KW324" not in done.stdout


def test_a_set_of_the_cluster_is_judged_as_an_update_and_for_one_more_replica(
    shell: Shell, pool: str, tmp_path: Path
) -> None:
    made = inference_set(0)
    made["metadata"]["namespace"] = pool
    made["spec"]["labelSelector"] = {"matchLabels": {"pool": pool}}
    shell.apply(made)
    try:
        done = shell.kaitoctl("check-nodes", "phis", "-n", pool)
        assert "nodes for one more replica" in done.stderr
        assert "1 x" in done.stdout
        file = tmp_path / "set.yaml"
        made["spec"]["template"]["inference"]["preset"]["name"] = "phi-4"
        file.write_text(yaml.safe_dump(made))
        validate = ("validate", "-f", str(file), "--target-version", "v0.12", "-o", "json")
        assert "KW310" not in shell.kaitoctl(*validate, KAITOCTL_SANDBOX="", KUBECONFIG="").stdout
        done = shell.kaitoctl(*validate, "--kubeconfig", shell.kubeconfig, KAITOCTL_SANDBOX="")
        assert "KW310" in done.stdout
    finally:
        shell.kubectl("delete", "inferenceset", "phis", "-n", pool)
