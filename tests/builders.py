"""Objects that many tests need, as an API server would send them."""

from __future__ import annotations

from typing import Any

from kaitoctl.kube.objects import Object


def workspace(name: str = "falcon", *, uid: str = "ws-uid", generation: int = 1, **changes: Any) -> Object:
    """A falcon-7b Workspace after admission; `resource`, `inference`, `status`, `metadata` are merged in."""
    obj: Object = {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": uid,
            "generation": generation,
            "resourceVersion": "7",
        },
        "resource": {
            "count": 1,
            "instanceType": "Standard_NC12s_v3",
            "labelSelector": {"matchLabels": {"apps": "falcon-7b"}},
        },
        "inference": {"preset": {"name": "falcon-7b", "accessMode": "public"}},
    }
    for key, value in changes.items():
        obj[key] = {**obj.get(key, {}), **value} if isinstance(value, dict) else value
    return obj


def adapter(
    name: str = "style", image: str = "registry.example/style:1", strength: str | None = "0.2"
) -> Object:
    """One entry of `inference.adapters`."""
    entry: Object = {"source": {"name": name, "image": image}}
    if strength is not None:
        entry["strength"] = strength
    return entry


def node(
    name: str = "gpu-a",
    *,
    labels: dict[str, str] | None = None,
    instance_type: str = "Standard_NC12s_v3",
    gpus: object = "2",
    capacity: object = None,
    ready: str = "True",
    **spec: Any,
) -> Object:
    """A GPU node; `gpus` is what is allocatable, `spec` goes into the spec."""
    amounts = {"cpu": "12", "nvidia.com/gpu": gpus} if gpus is not None else {"cpu": "12"}
    have = dict(amounts)
    if capacity is not None:
        have["nvidia.com/gpu"] = capacity
    all_labels = {"apps": "falcon-7b", "node.kubernetes.io/instance-type": instance_type}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": all_labels if labels is None else labels},
        "spec": spec,
        "status": {
            "allocatable": amounts,
            "capacity": have,
            "conditions": [{"type": "Ready", "status": ready, "message": "kubelet stopped posting status"}],
        },
    }


def pod(
    name: str = "p", *, node_name: str = "", gpus: int = 0, labels: dict[str, str] | None = None
) -> Object:
    """A pod that holds GPUs on a node."""
    gpu = {"nvidia.com/gpu": str(gpus)}
    spec: Object = {"containers": [{"name": "main", "resources": {"limits": gpu, "requests": gpu}}]}
    if node_name:
        spec["nodeName"] = node_name
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": labels or {}},
        "spec": spec,
        "status": {"phase": "Running"},
    }
