"""Objects that many tests need, as an API server would send them."""

from __future__ import annotations

from collections.abc import Iterable
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


def slices_of(service: Object | None, pods: Iterable[Object]) -> tuple[Object, ...]:
    """The EndpointSlice that Kubernetes keeps of a Service with a selector, while no pod is ready too."""
    spec = (service or {}).get("spec") or {}
    selector = spec.get("selector") or {}
    if service is None or not selector or spec.get("type") == "ExternalName":
        return ()
    behind = [pod for pod in pods if selector.items() <= (pod["metadata"].get("labels") or {}).items()]
    behind = [pod for pod in behind if pod["status"].get("phase") not in ("Failed", "Succeeded")]
    numbers = [{"port": _on_pods(port, behind)} for port in spec.get("ports") or ()]
    name = service["metadata"]["name"]
    return (
        {
            "kind": "EndpointSlice",
            "metadata": {"name": f"{name}-x", "labels": {"kubernetes.io/service-name": name}},
            "ports": [port for port in numbers if port["port"]] if behind else None,
            "endpoints": [_endpoint(pod) for pod in behind],
        },
    )


def _endpoint(pod: Object) -> Object:
    said = {item["type"]: item["status"] for item in pod["status"].get("conditions") or ()}
    ready = said.get("Ready") == "True" and not pod["metadata"].get("deletionTimestamp")
    reference = {"kind": "Pod", "name": pod["metadata"]["name"]}
    return {"addresses": ["10.1.2.3"], "conditions": {"ready": ready}, "targetRef": reference}


def _on_pods(port: Object, pods: list[Object]) -> int | None:
    """Where a port of a Service leads on its pods; a name that no container has, nowhere."""
    target = port.get("targetPort") or port["port"]
    if str(target).isdigit():
        return int(target)
    offered = [one for pod in pods for item in pod["spec"]["containers"] for one in item.get("ports") or ()]
    return next((int(one["containerPort"]) for one in offered if one.get("name") == target), None)
