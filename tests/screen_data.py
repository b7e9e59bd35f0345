"""What the tests of screens show: a Workspace, the nodes of a case, the GPUs of a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from builders import node, workspace

from kaitoctl.kaito import node_check
from kaitoctl.kaito.node_check import Rules, Verdict
from kaitoctl.kaito.node_check.inventory import Inventory, gpu_inventory
from kaitoctl.kaito.snapshot import Snapshot
from kaitoctl.kube.objects import Object

NODE_DATA = Path(__file__).parent / "data" / "nodes"
# Codes that only KAITO v0.12 brings up; all others are judged as v0.4 would.
MODERN = {
    "preferred-ignored": "azure-gpu-provisioner",
    "of-another-workspace": "karpenter",
    "no-bfloat16": "byo",
    "gpu-unsupported": "byo",
}
NODE_CASES = sorted(file.name.removesuffix(".input.yaml") for file in NODE_DATA.glob("*.input.yaml"))


def node_case(case: str) -> list[Object]:
    documents = yaml.safe_load_all((NODE_DATA / f"{case}.input.yaml").read_text())
    return [item for document in documents for item in document.get("items", [document])]


def node_verdict(case: str) -> Verdict:
    everything = node_case(case)
    of = {kind: [obj for obj in everything if obj["kind"] == kind] for kind in ("Workspace", "Node", "Pod")}
    (workspace,) = of["Workspace"]
    rules = Rules("v0.12", MODERN[case]) if case in MODERN else Rules("v0.4")
    return node_check.verdict(
        workspace, of["Node"], node_check.pods_of_others(workspace, of["Pod"]), rules=rules
    )


def pod(name: str = "falcon-0", message: str = "", **metadata: Any) -> Object:
    state = {"waiting": {"reason": "ImagePullBackOff", "message": message}}
    return {
        "kind": "Pod",
        "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:59:00Z", **metadata},
        "spec": {
            "nodeName": "gpu-a",
            "containers": [{"name": "falcon", "env": [{"name": "A", "value": "geheim"}]}],
        },
        "status": {"phase": "Pending", "containerStatuses": [{"name": "falcon", "state": state}]},
    }


def snapshot(*pods: Object, message: str = "", generation: int = 1) -> Snapshot:
    condition = {
        "type": "ResourceReady",
        "status": "False",
        "reason": "x",
        "message": message,
        "observedGeneration": 1,
    }
    asked = workspace(generation=generation, status={"conditions": [condition]})
    asked["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    made = {
        "kind": "StatefulSet",
        "metadata": {"name": "falcon", "uid": "w", "generation": 1, "ownerReferences": [
            {"kind": "Workspace", "name": "falcon", "uid": "ws-uid", "controller": True}]},
        "spec": {"replicas": len(pods)},
        "status": {"observedGeneration": 1, "updatedReplicas": len(pods)},
    }  # fmt: skip
    for one in pods:
        one["metadata"]["ownerReferences"] = [
            {"kind": "StatefulSet", "name": "falcon", "uid": "w", "controller": True}
        ]
    return Snapshot(asked, (made,), pods, nodes=(node(),))


def cluster(*, with_pods: bool = True) -> Inventory:
    lists = yaml.safe_load((Path(__file__).parent / "data" / "inventory" / "cluster.yaml").read_text())
    return gpu_inventory(lists["nodes"], lists["pods"] if with_pods else None)
