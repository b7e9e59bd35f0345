"""Subresources with objects of their own: a pod's binding, a workload's scale. Pure."""

from __future__ import annotations

from typing import Any

from kaitoctl.kube.objects import Object, dig, only
from kaitoctl.sandbox import crd
from kaitoctl.sandbox.api.identity import must_be_the_same
from kaitoctl.sandbox.api.requests import Author
from kaitoctl.sandbox.api.writes import Writes, apply_patch
from kaitoctl.sandbox.builtin import Resource
from kaitoctl.sandbox.error_status import bad_request, conflict
from kaitoctl.sandbox.store import Entry


def bind(writes: Writes, resource: Resource, entry: Entry, binding: Any, author: Author) -> None:
    """Assign a pod to the node that a Binding names.

    Raises:
        Failure: 400, 409 when it is assigned already.
    """
    name = dig(binding, "metadata", "name")
    if name != entry.key.name:
        raise bad_request(f"the Binding is of {name!r}, not of the pod that the URL names")
    node = dig(binding, "target", "name")
    if not node:
        raise bad_request("a Binding needs target.name")
    obj, key = entry.obj, entry.key
    if held := dig(obj, "spec", "nodeName"):
        why = f'pod {key.name} is already assigned to node "{held}"'
        raise conflict("pods/binding", "", key.name, why)
    if dig(obj, "metadata", "deletionTimestamp"):
        raise conflict("pods/binding", "", key.name, f"pod {key.name} is being deleted, cannot be assigned")
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": author.now}
    others = [item for item in dig(obj, "status", "conditions") or () if item["type"] != "PodScheduled"]
    new = {
        **obj,
        "metadata": dict(obj["metadata"]),
        "spec": {**obj["spec"], "nodeName": node},
        "status": {**obj.get("status", {}), "conditions": [*others, scheduled]},
    }
    new = writes.settle(resource, new, obj, "binding", author, None)
    if not author.dry_run:
        writes.store.put(resource.name, new)


def scale_of(resource: Resource, obj: Object) -> Object:
    """The Scale of a workload."""
    metadata = obj["metadata"]
    paths = resource.scale_paths
    selector = dig(obj, *_steps(paths.get("labelSelectorPath", "")))
    status: Object = {"replicas": dig(obj, *_steps(paths["statusReplicasPath"])) or 0}
    if isinstance(selector, dict):
        pairs = (selector.get("matchLabels") or {}).items()
        status["selector"] = ",".join(f"{key}={value}" for key, value in sorted(pairs))
    elif selector:
        status["selector"] = selector
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": only(metadata, "name", "namespace", "uid", "resourceVersion", "creationTimestamp"),
        "spec": {"replicas": dig(obj, *_steps(paths["specReplicasPath"])) or 0},
        "status": status,
    }


def set_scale(writes: Writes, resource: Resource, entry: Entry, scale: Any, author: Author) -> Object:
    """Change the number of replicas by a Scale.

    Raises:
        Failure: 400, 409.
    """
    live = crd.in_version(resource, entry.obj)
    replicas = dig(scale, "spec", "replicas")
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
        raise bad_request("a Scale needs spec.replicas, a number that is not negative")
    metadata = dig(scale, "metadata") or {}
    if not isinstance(metadata, dict):
        raise bad_request("metadata must be an object")
    must_be_the_same(resource, entry, metadata)
    steps = _steps(resource.scale_paths["specReplicasPath"])
    new = _with(live, steps, replicas)
    new["metadata"] = dict(live["metadata"])
    new = writes.settle(resource, new, live, "scale", author, None)
    if new == live:
        return scale_of(resource, live)
    if not author.dry_run:
        writes.store.put(resource.name, crd.in_storage_version(resource, new))
    return scale_of(resource, new)


def patch_scale(
    writes: Writes, resource: Resource, entry: Entry, patch: Any, media: str, author: Author
) -> Object:
    """Change the number of replicas by a patch of the Scale."""
    scale = scale_of(resource, crd.in_version(resource, entry.obj))
    if media.startswith("application/apply-patch"):
        media = "application/merge-patch+json"
    return set_scale(writes, resource, entry, apply_patch(scale, patch, media, resource), author)


def _steps(path: str) -> list[str]:
    """A simple JSON path: `.spec.replicas`."""
    return [step for step in path.split(".") if step]


def _with(obj: Object, steps: list[str], value: Any) -> Object:
    first, *rest = steps
    return {**obj, first: _with(obj.get(first) or {}, rest, value) if rest else value}
