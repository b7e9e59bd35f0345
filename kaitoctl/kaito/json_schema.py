"""The Workspace as JSON Schema, for editors: completion, descriptions and red lines while one types. Pure.

A CRD's structural schema is nearly JSON Schema; what differs is translated, and what the API server adds by
itself (kind, metadata) or would drop in silence (unknown fields) is written out.

Source: JSON Schema draft 2020-12; the structural schemas of Kubernetes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kaitoctl.kaito import api, catalog
from kaitoctl.kaito.catalog import Catalog

DRAFT = "https://json-schema.org/draft/2020-12/schema"

_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}


def of_workspaces(versions: Iterable[str], *, known: Catalog = catalog.SHIPPED) -> dict[str, Any]:
    """The JSON Schema of Workspaces of one or more API versions.

    Args:
        versions: such as `v1alpha1`; with several, `apiVersion` decides.
        known: names of presets and instance types are offered from here; others stay allowed.

    Guarantee: refuses unknown fields wherever the API server would drop them.
    """
    made = [_workspace(version, known) for version in versions]
    if len(made) == 1:
        return {"$schema": DRAFT, **made[0]}
    return {"$schema": DRAFT, "title": "KAITO Workspace", "oneOf": made}


def of_fleets(kind: str, versions: Iterable[str], *, known: Catalog = catalog.SHIPPED) -> dict[str, Any]:
    """As `of_workspaces`, of InferenceSets, MultiRoleInferences or ModelMirrors."""
    made = [_fleet(kind, version, known) for version in versions]
    if len(made) == 1:
        return {"$schema": DRAFT, **made[0]}
    return {"$schema": DRAFT, "title": f"KAITO {kind}", "oneOf": made}


def _fleet(kind: str, version: str, known: Catalog) -> dict[str, Any]:
    from kaitoctl.kaito.fleet import kinds

    schema = to_json_schema(kinds.schema_of(kind, version))
    properties = _with_head(schema, kind, version)
    is_mirror = kind == api.MODEL_MIRROR.kind
    named = "Its name in the whole cluster." if is_mirror else "Begins the names of its Workspaces."
    properties["metadata"] = _metadata(named, {})
    below = properties["spec"]["properties"]
    resource: dict[str, Any] | None = None
    if is_mirror:
        below["source"]["properties"]["modelID"]["examples"] = [one.id for one in known.models.values()]
    elif kind == api.INFERENCE_SET.kind:
        below = below["template"]["properties"]
        below["inference"]["properties"]["preset"]["properties"]["name"]["examples"] = _models(known)
        below["metadata"] = _metadata("Not read.", _RUNTIME_NOTE)
        del below["metadata"]["required"]
        resource = below["resource"]
    else:
        below["model"]["properties"]["name"]["examples"] = _models(known)
        resource = below["roles"]["items"]
    if resource is not None:
        resource["properties"]["instanceType"]["examples"] = _types(known, "v0.12")
    return {
        **schema,
        "title": f"KAITO {kind} {version}",
        "required": ["apiVersion", "kind", "metadata", "spec"],
    }


_RUNTIME_NOTE = {
    api.ANNOTATION_RUNTIME: {
        "enum": ["transformers", "vllm"],
        "description": "What serves the model; KAITO v0.3 has transformers only.",
    }
}


def _models(known: Catalog) -> list[str]:
    return [model.preset_name for model in known.models.values()]


def _types(known: Catalog, release: str) -> list[str]:
    target = catalog.TARGETS[release]
    return [machine.name for machine in known.instance_types.values() if target in machine.versions]


def _with_head(schema: dict[str, Any], kind: str, version: str) -> dict[str, Any]:
    """The properties of a schema, with the one value that `apiVersion` and `kind` may have."""
    properties: dict[str, Any] = schema["properties"]
    properties["apiVersion"] = {**properties["apiVersion"], "const": f"{api.GROUP}/{version}"}
    properties["kind"] = {**properties["kind"], "const": kind}
    if "status" in properties:
        properties["status"]["readOnly"] = True
    return properties


def _metadata(name: str, annotations: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "description": "Name, namespace, labels and annotations.",
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "maxLength": 63, "description": name},
            "namespace": {"type": "string", "maxLength": 63, "description": "The context's when left out."},
            "labels": _TEXTS,
            "annotations": {**_TEXTS, "properties": dict(annotations)},
        },
    }


def _workspace(version: str, known: Catalog) -> dict[str, Any]:
    from kaitoctl.kaito.validation import schema_of

    schema = to_json_schema(schema_of(version))
    properties = _with_head(schema, api.WORKSPACE.kind, version)
    balancer = {
        api.ANNOTATION_ENABLE_LB: {
            "enum": ["True", "False"],
            "description": "True gives the Service a load balancer; note the capital.",
        }
    }
    properties["metadata"] = _metadata("Also the name of the Service.", {**_RUNTIME_NOTE, **balancer})
    is_new = version == api.WORKSPACE_V1BETA1.version
    names = _models(known) if is_new else _presets_of_kaito(known)
    for use in ("inference", "tuning"):
        properties[use]["properties"]["preset"]["properties"]["name"]["examples"] = names
    types = _types(known, "v0.12" if is_new else catalog.DEFAULT_GENERATION)
    properties["resource"]["properties"]["instanceType"]["examples"] = types
    required = ["apiVersion", "kind", "metadata"]
    return {**schema, "title": f"KAITO Workspace {version}", "required": required}


def _presets_of_kaito(known: Catalog) -> list[str]:
    return [item.name for item in known.presets.values() if not item.local_model]


def to_json_schema(node: Mapping[str, Any]) -> dict[str, Any]:
    """A structural schema as JSON Schema of draft 2020-12."""
    made = {
        key: value for key, value in node.items() if key != "nullable" and not key.startswith("x-kubernetes-")
    }
    if "properties" in node:
        made["properties"] = {name: to_json_schema(below) for name, below in node["properties"].items()}
        if not node.get("x-kubernetes-preserve-unknown-fields"):
            made["additionalProperties"] = False
    if isinstance(node.get("items"), Mapping):
        made["items"] = to_json_schema(node["items"])
    if isinstance(node.get("additionalProperties"), Mapping):
        made["additionalProperties"] = to_json_schema(node["additionalProperties"])
    if node.get("x-kubernetes-int-or-string"):
        made["type"] = ["integer", "string"]
    if node.get("nullable") and isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
    if str(node.get("description", "")).endswith("Deprecated."):
        made["deprecated"] = True
    return made
