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


def _workspace(version: str, known: Catalog) -> dict[str, Any]:
    from kaitoctl.kaito.validation import schema_of

    schema = translated(schema_of(version))
    properties = schema["properties"]
    properties["apiVersion"] = {**properties["apiVersion"], "const": f"{api.GROUP}/{version}"}
    properties["kind"] = {**properties["kind"], "const": api.WORKSPACE.kind}
    properties["metadata"] = {
        "description": "Name, namespace, labels and annotations.",
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "maxLength": 63, "description": "Also the name of the Service."},
            "namespace": {"type": "string", "maxLength": 63, "description": "The context's when left out."},
            "labels": _TEXTS,
            "annotations": {
                **_TEXTS,
                "properties": {
                    api.ANNOTATION_RUNTIME: {
                        "enum": ["transformers", "vllm"],
                        "description": "What serves the model; KAITO v0.3 has transformers only.",
                    },
                    api.ANNOTATION_ENABLE_LB: {
                        "enum": ["True", "False"],
                        "description": "True gives the Service a load balancer; note the capital.",
                    },
                },
            },
        },
    }
    if "status" in properties:
        properties["status"]["readOnly"] = True
    is_new = version == api.WORKSPACE_V1BETA1.version
    names = [model.preset_name for model in known.models.values()] if is_new else list(known.presets)
    for use in ("inference", "tuning"):
        properties[use]["properties"]["preset"]["properties"]["name"]["examples"] = names
    target = catalog.TARGETS["v0.12" if is_new else catalog.DEFAULT_GENERATION]
    types = [machine.name for machine in known.instance_types.values() if target in machine.versions]
    properties["resource"]["properties"]["instanceType"]["examples"] = types
    required = ["apiVersion", "kind", "metadata"]
    return {**schema, "title": f"KAITO Workspace {version}", "required": required}


def translated(node: Mapping[str, Any]) -> dict[str, Any]:
    """A structural schema as JSON Schema of draft 2020-12."""
    made = {
        key: value for key, value in node.items() if key != "nullable" and not key.startswith("x-kubernetes-")
    }
    if "properties" in node:
        made["properties"] = {name: translated(below) for name, below in node["properties"].items()}
        if not node.get("x-kubernetes-preserve-unknown-fields"):
            made["additionalProperties"] = False
    if isinstance(node.get("items"), Mapping):
        made["items"] = translated(node["items"])
    if isinstance(node.get("additionalProperties"), Mapping):
        made["additionalProperties"] = translated(node["additionalProperties"])
    if node.get("x-kubernetes-int-or-string"):
        made["type"] = ["integer", "string"]
    if node.get("nullable") and isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
    if str(node.get("description", "")).endswith("Deprecated."):
        made["deprecated"] = True
    return made
