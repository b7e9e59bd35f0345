"""An InferenceSet -> the Workspaces that are its replicas, as KAITO's controller makes them. Pure.

Source: KAITO v0.12.0, `pkg/utils/inferenceset/inferenceset.go` (NewWorkspaceForInferenceSet).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from itertools import count
from typing import Any

from kaitoctl.kaito import api
from kaitoctl.kube.objects import (
    Object,
    annotations_of,
    as_map,
    copy_of,
    dig,
    labels_of,
    owner_reference,
    uid_of,
)

COPIED_LABELS = (api.LABEL_INFERENCE_ROLE, api.LABEL_CREATED_BY_ROLES)
"""Labels of the set itself that its Workspaces get."""

_LONGEST_BASE = 58  # of generateName: the server adds five characters, to 63
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
DEFAULT_REPLICAS = 1


def wanted_replicas(inference_set: Object) -> int:
    """How many Workspaces the set asks for."""
    found = dig(inference_set, "spec", "replicas")
    is_number = isinstance(found, int) and not isinstance(found, bool)
    return max(0, found) if is_number else DEFAULT_REPLICAS


def workspace_of(inference_set: Object, name: str = "", *, provisioner: str = "") -> Object:
    """One of the Workspaces, in v1beta1.

    Args:
        inference_set: of either version, valid or not.
        name: of the Workspace; the server is asked for one when empty.
        provisioner: `byo` leaves out the instance type.
    """
    metadata, spec = as_map(inference_set.get("metadata")), as_map(inference_set.get("spec"))
    template = as_map(spec.get("template"))
    own_name = str(metadata.get("name") or "")
    annotations = _texts(dig(template, "metadata", "annotations"))
    if annotations_of(inference_set).get(api.ANNOTATION_DISABLE_BENCHMARK) == "true":
        annotations[api.ANNOTATION_DISABLE_BENCHMARK] = "true"
    labels = _texts(dig(template, "metadata", "labels"))
    of_set = labels_of(inference_set)
    labels |= {key: of_set[key] for key in COPIED_LABELS if key in of_set}
    labels[api.LABEL_CREATED_BY_SET] = own_name
    resource: Object = {}
    wanted = as_map(template.get("resource"))
    if provisioner != "byo" and wanted.get("instanceType"):
        resource["instanceType"] = wanted["instanceType"]
    for field, value in (
        ("labelSelector", spec.get("labelSelector")),
        ("partition", wanted.get("partition")),
    ):
        if value is not None:
            resource[field] = value
    made: Object = {
        "apiVersion": api.WORKSPACE_V1BETA1.api_version,
        "kind": api.WORKSPACE.kind,
        "metadata": {
            "generateName": f"{own_name}-",
            **({"name": name} if name else {}),
            **({"namespace": metadata["namespace"]} if metadata.get("namespace") else {}),
            "labels": labels,
            **({"annotations": annotations} if annotations else {}),
            **({"ownerReferences": [owner_reference(inference_set)]} if metadata.get("uid") else {}),
        },
        "resource": resource,
        "inference": template.get("inference"),
    }
    return copy_of(made)


def names(inference_set: Object) -> Iterator[str]:
    """Names for the set's Workspaces, without end; the same for the same set.

    They look as the server's own do. Because they follow from the set, a request that is sent twice, or by
    two controllers, makes one Workspace: nodes cost money.
    """
    base = f"{inference_set['metadata']['name']}-"[:_LONGEST_BASE]
    for slot in count():
        digest = hashlib.sha256(f"{uid_of(inference_set)}/{slot}".encode()).digest()
        yield base + "".join(_LETTERS[byte % len(_LETTERS)] for byte in digest[:5])


def free_names(inference_set: Object, taken: Collection[str]) -> Iterator[str]:
    """Names that no Workspace has."""
    return (name for name in names(inference_set) if name not in taken)


def _texts(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}
