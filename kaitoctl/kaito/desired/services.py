"""The Services in front of a Workspace's pods."""

from __future__ import annotations

from collections.abc import Iterable

from kaitoctl.kaito import api
from kaitoctl.kaito.desired.children import (
    DASHBOARD_PORT,
    KV_EVENTS_PORT,
    PORT,
    RAY_PORT,
    child_object,
    headless_name,
    pod_labels,
)
from kaitoctl.kube.objects import LABEL_POD_NAME, SERVICE, Object, annotations_of

HTTP: Object = {"name": "http", "protocol": "TCP", "port": 80, "targetPort": PORT}

_TORCH: Object = {"name": "torch", "protocol": "TCP", "port": 29500, "targetPort": 29500}


def service(
    workspace: Object, *, first_pod_only: bool = False, ports: Iterable[Object] | None = None
) -> Object:
    """The ClusterIP Service (a LoadBalancer on request) in front of the model server.

    Unlike KAITO's it does not publish pods that are still loading the model, nor, on a load balancer, the
    port where the model's processes meet, which asks nobody who they are.

    Args:
        workspace: the Workspace.
        first_pod_only: a distributed model answers on its pod of rank 0 alone.
        ports: Service ports; None for those of the model server.
    """
    load_balanced = annotations_of(workspace).get(api.ANNOTATION_ENABLE_LB) == "True"
    if ports is None:
        ports = (HTTP,) if load_balanced else (HTTP, _TORCH)
    selector = pod_labels(workspace)
    if first_pod_only:
        selector[LABEL_POD_NAME] = f"{workspace['metadata']['name']}-0"
    spec = {
        "type": "LoadBalancer" if load_balanced else "ClusterIP",
        "ports": [dict(port) for port in ports],
        "selector": selector,
    }
    return child_object(SERVICE, workspace, spec)


def headless_service(workspace: Object) -> Object:
    """Names for the single pods of a distributed model; they must find each other before any is ready."""
    spec = {
        "clusterIP": "None",
        "ports": [{"name": "torchrun", "protocol": "TCP", "port": 29500, "targetPort": 29500}],
        "selector": pod_labels(workspace),
        "publishNotReadyAddresses": True,
    }
    return child_object(SERVICE, workspace, spec, name=headless_name(workspace))


def model_service(workspace: Object, runtime: str) -> Object:
    """The Service of a model server of KAITO v0.12: prompts go to the pod of index 0, on one node or several.

    KAITO's publishes pods that are still loading the model, too; and on a load balancer the ports by which
    Ray takes commands from anybody.

    Args:
        workspace: the Workspace.
        runtime: `vllm` or `transformers`.

    Source: KAITO v0.12.0 `pkg/workspace/manifests/manifests.go`, GenerateServiceManifest.
    """
    load_balanced = annotations_of(workspace).get(api.ANNOTATION_ENABLE_LB) == "True"
    ports = [dict(HTTP)]
    if not load_balanced:
        ports += [_port("ray", RAY_PORT), _port("dashboard", DASHBOARD_PORT)]
        ports += [_port("kv-events", KV_EVENTS_PORT)] if runtime == "vllm" else []
    return service(workspace, first_pod_only=True, ports=ports)


def model_headless_service(workspace: Object) -> Object:
    """Names for the pods of a model server of KAITO v0.12; needs no port."""
    made = headless_service(workspace)
    del made["spec"]["ports"]
    return made


def _port(name: str, number: int) -> Object:
    return {"name": name, "protocol": "TCP", "port": number, "targetPort": number}
