"""A MultiRoleInference -> its two InferenceSets, as KAITO's controller makes them. Pure.

Source: KAITO v0.12.0, `pkg/controllers/multiroleinference/controller.go` (reconcileInferenceSet).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kaitoctl.kaito import api
from kaitoctl.kube.objects import Object, copy_of, dig, owner_reference

ROLES = api.INFERENCE_ROLES


def sets_of(multi_role: Object) -> list[Object]:
    """The InferenceSets, in the order of the roles; roles of a wrong shape are left out."""
    return [_set_of(multi_role, role) for role in _roles(multi_role)]


def node_labels(multi_role: Object, role: str) -> dict[str, str]:
    """The labels that nodes must have for a role: two more than the selector says."""
    found = dig(multi_role, "spec", "labelSelector", "matchLabels")
    labels = dict(found) if isinstance(found, dict) else {}
    name = str(dig(multi_role, "metadata", "name") or "")
    return {**labels, api.LABEL_CREATED_BY_ROLES: name, api.LABEL_INFERENCE_ROLE: role}


def _roles(multi_role: Object) -> Iterator[dict[str, Any]]:
    found = dig(multi_role, "spec", "roles")
    for role in found if isinstance(found, list) else ():
        if isinstance(role, dict) and role.get("type") in ROLES:
            yield role


def _set_of(multi_role: Object, role: dict[str, Any]) -> Object:
    metadata = multi_role.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    name = str(metadata.get("name") or "")
    selector, model = dig(multi_role, "spec", "labelSelector"), dig(multi_role, "spec", "model")
    labels = node_labels(multi_role, role["type"])
    model = model if isinstance(model, dict) else {}
    preset: Object = {"name": model.get("name")}
    if model.get("modelAccessSecret"):
        preset["presetOptions"] = {"modelAccessSecret": model["modelAccessSecret"]}
    template: Object = {
        "metadata": {"labels": labels},
        "resource": {"instanceType": role["instanceType"]} if role.get("instanceType") else {},
        "inference": {
            "preset": preset,
            **({"config": role["runtimeConfig"]} if role.get("runtimeConfig") else {}),
        },
    }
    annotations = dig(multi_role, "metadata", "annotations")
    if annotations and isinstance(annotations, dict):
        template["metadata"]["annotations"] = dict(annotations)
    replicas = role.get("replicas")
    made: Object = {
        "apiVersion": api.INFERENCE_SET.api_version,
        "kind": api.INFERENCE_SET.kind,
        "metadata": {
            "name": f"{name}-{role['type']}",
            **({"namespace": metadata["namespace"]} if metadata.get("namespace") else {}),
            "labels": {api.LABEL_CREATED_BY_ROLES: name, api.LABEL_INFERENCE_ROLE: role["type"]},
            **({"ownerReferences": [owner_reference(multi_role)]} if metadata.get("uid") else {}),
        },
        "spec": {
            **({"replicas": replicas} if replicas is not None else {}),
            "labelSelector": {
                **(selector if isinstance(selector, dict) else {}),
                "matchLabels": labels,
            },
            "template": template,
        },
    }
    return copy_of(made)
