"""The kinds of fleets, and that of mirrors for their weights, with their schemas."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from msgspec.structs import replace

from kaitoctl.kaito import api
from kaitoctl.kube.objects import Kind, Object

KINDS = api.FLEETS
VERSIONS = {
    api.INFERENCE_SET.kind: ("v1alpha1", "v1beta1"),
    api.MULTI_ROLE_INFERENCE.kind: ("v1alpha1",),
    api.MODEL_MIRROR.kind: ("v1alpha1",),
}
"""The API versions of each kind, oldest first."""


def is_set(obj: Object) -> bool:
    """Whether an object is an InferenceSet of any version."""
    return _is(obj, api.INFERENCE_SET)


def is_multi_role(obj: Object) -> bool:
    """Whether an object is a MultiRoleInference."""
    return _is(obj, api.MULTI_ROLE_INFERENCE)


def is_mirror(obj: Object) -> bool:
    """Whether an object is a ModelMirror, which belongs to no namespace."""
    return _is(obj, api.MODEL_MIRROR)


def _is(obj: Object, kind: Kind) -> bool:
    return str(obj.get("apiVersion") or "").partition("/")[0] == api.GROUP and obj.get("kind") == kind.kind


def kind_of(obj: Object) -> Kind:
    """The kind of a fleet or mirror in its own API version."""
    known = next(kind for kind in KINDS if kind.kind == obj.get("kind"))
    return replace(known, version=str(obj["apiVersion"]).rpartition("/")[2])


def schema_of(kind: str, version: str) -> Object:
    """The OpenAPI v3 schema of a kind in an API version.

    Raises:
        KeyError: KAITO has no such kind or version.
    """
    return _schemas()[kind][version]


@cache
def _schemas() -> dict[str, dict[str, Object]]:
    """What the CRDs in schemas/ have under each version, as JSON, which loads sooner."""
    table = Path(__file__).parent.parent / "tables" / "fleet_schemas.json"
    schemas: dict[str, dict[str, Object]] = json.loads(table.read_text("utf-8"))
    return schemas
