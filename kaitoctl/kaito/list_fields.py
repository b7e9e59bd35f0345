"""What a list of Workspaces reads of each object: the rest is forgotten while the list is fetched. Pure.

A cluster with ten thousand Workspaces has a hundred MB of Deployments and pods, most of it templates and
volumes; a line of the list says where each Workspace stands (`rollout`), and that is in a tenth of it.
"""

from __future__ import annotations

from kaitoctl.kaito import api
from kaitoctl.kube.objects import (
    DEPLOYMENT,
    POD,
    SERVICE,
    STATEFUL_SET,
    Kind,
    Object,
    dig,
    only,
    without,
    without_managed_fields,
)

_METADATA = ("name", "namespace", "uid", "resourceVersion", "generation")
_TIMES = ("creationTimestamp", "deletionTimestamp")
_CONTAINER = ("name", "image", "ports", "resources", "restartPolicy")
_PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
_PORTS = ("httpGet", "tcpSocket", "grpc")


def trimmed(kind: Kind, obj: Object) -> Object:
    """What is kept of an object of this kind."""
    if kind in (api.WORKSPACE, api.WORKSPACE_V1BETA1):
        return _workspace(obj)
    if kind == POD:
        return _pod(obj)
    if kind in (DEPLOYMENT, STATEFUL_SET):
        return {**_slim(obj, "annotations"), "spec": only(obj.get("spec") or {}, "replicas")}
    if kind == SERVICE:
        return without(_slim(obj, "annotations"), "status")
    return without_managed_fields(obj)


def _slim(obj: Object, *more: str) -> Object:
    """The object with what tells it from others, and when it came, of its metadata."""
    return {**obj, "metadata": only(obj["metadata"], *_METADATA, *_TIMES, *more)}


def _workspace(obj: Object) -> Object:
    """The whole, and who has written it, by which one sees whose controller manages it; not which fields."""
    if not (entries := obj["metadata"].get("managedFields")):
        return obj
    writers = [{**entry, "fieldsV1": {}} for entry in entries]
    return {**obj, "metadata": {**obj["metadata"], "managedFields": writers}}


def _pod(pod: Object) -> Object:
    spec = only(pod.get("spec") or {}, "nodeName", "resourceClaims")
    for name in ("initContainers", "containers"):
        if listed := dig(pod, "spec", name):
            spec[name] = [_container(item) for item in listed]
    return {**_slim(pod, "labels"), "spec": spec}


def _container(item: Object) -> Object:
    kept = only(item, *_CONTAINER)
    for name in _PROBES:
        if probe := item.get(name):
            kept[name] = only(probe, *_PORTS)
    return kept
