"""What a reconcile's look at nodes costs where many Workspaces compete for them: processor time, in process.

    python -m bench competition [--rounds N]

A hundred Workspaces ask for the same nodes, of which a hundred are free and pods of others hold the rest.
Between two looks a node gets a pod, or loses it, as in a burst. The look at 1,000 nodes is measured beside
the look at 110, turn by turn.
"""

from __future__ import annotations

import time
from typing import Any

from bench.figures import Figure, in_turn, of_pairs, of_values
from kaitoctl.kaito import api
from kaitoctl.kaito.desired import Settings
from kaitoctl.kube.objects import Object, ObjectKey
from kaitoctl.reconcile.store import Store
from kaitoctl.workspace_controller import Stores
from kaitoctl.workspace_controller.node_view import NodeView

PART = "competition"
WORKSPACES, FREE, FEW, MANY = 100, 100, 110, 1000
TYPE, LABELS = "Standard_NC12s_v3", {"apps": "shared"}


def node(number: int) -> Object:
    amounts = {"cpu": "11740m", "memory": "216Gi", "pods": "110", "nvidia.com/gpu": "2"}
    return {
        "metadata": {
            "name": f"gpu-{number:05}",
            "uid": f"n{number}",
            "labels": {**LABELS, api.LABEL_INSTANCE_TYPE: TYPE},
        },
        "spec": {},
        "status": {
            "capacity": amounts,
            "allocatable": amounts,
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
        },
    }


def pod(number: int) -> Object:
    resources = {"limits": {"nvidia.com/gpu": "2"}, "requests": {"nvidia.com/gpu": "2"}}
    return {
        "metadata": {"name": f"pod-{number}", "namespace": "others"},
        "spec": {"nodeName": f"gpu-{number:05}", "containers": [{"name": "c", "resources": resources}]},
        "status": {"phase": "Running"},
    }


def workspace(number: int) -> Object:
    return {
        "apiVersion": api.WORKSPACE_V1BETA1.api_version,
        "kind": api.WORKSPACE_V1BETA1.kind,
        "metadata": {
            "name": f"ws-{number:03}",
            "namespace": "default",
            "uid": f"w{number}",
            "creationTimestamp": f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z",
        },
        "resource": {"count": 1, "instanceType": TYPE, "labelSelector": {"matchLabels": LABELS}},
        "inference": {"preset": {"name": "falcon-7b"}},
    }


def cluster(nodes: int) -> Stores:
    stores: dict[str, Any] = {
        name: Store(packed=name in ("nodes", "workspaces"))
        for name in Stores.__struct_fields__
        if name != "can_claim"
    }
    for number in range(nodes):
        stores["nodes"]._replace(ObjectKey("", f"gpu-{number:05}"), node(number))
        if number >= FREE:
            stores["gpu_pods"]._replace(ObjectKey("others", f"pod-{number}"), pod(number))
    for number in range(WORKSPACES):
        stores["workspaces"]._replace(ObjectKey("default", f"ws-{number:03}"), workspace(number))
    return Stores(**stores, can_claim=lambda: True)


class Burst:
    """One round of looks, each after a change, in a cluster of so many nodes."""

    def __init__(self, nodes: int) -> None:
        self._stores, self._last = cluster(nodes), nodes - 1
        self._view = NodeView(self._stores, Settings())
        self()  # the first look judges every node once

    def __call__(self) -> float:
        """Milliseconds of processor time for each look."""
        key, there = ObjectKey("others", f"pod-{self._last}"), pod(self._last)
        began = time.process_time()
        for number, obj in enumerate(self._stores.workspaces.values()):
            self._stores.gpu_pods._replace(key, None if number % 2 else there)
            self._view.look(obj)
        return (time.process_time() - began) * 1000 / WORKSPACES


def figures(rounds: int) -> list[Figure]:
    few, many = Burst(FEW), Burst(MANY)
    taken = in_turn(rounds, {"few": few, "many": many})
    pairs = list(zip(taken["many"], taken["few"], strict=True))
    return [
        of_pairs(PART, f"a look at {MANY:,} nodes, beside {FEW}", pairs, f"{FEW} nodes", "<= 1.3"),
        of_values(PART, f"a look at {MANY:,} nodes", taken["many"], unit="ms", aim="<= 8"),
    ]
