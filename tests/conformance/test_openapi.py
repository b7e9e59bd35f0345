"""The types that the sandbox knows are Kubernetes': their OpenAPI is that of a real API server."""

from __future__ import annotations

from typing import Any

import pytest
from conformance.inprocess import InProcess
from controlplane.plane import ControlPlane

from kaitoctl.kube.objects import Object
from kaitoctl.sandbox.builtin import BUILTIN

_ROOTS = sorted(
    {
        f"apis/{kind.group}/{kind.version}" if kind.group else f"api/{kind.version}"
        for kind in (resource.kind for resource in BUILTIN)
    }
)
_KEPT = (
    "type", "format", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type",
    "x-kubernetes-patch-strategy", "x-kubernetes-patch-merge-key",
)  # fmt: skip
# The sandbox keeps these as any value, or as a map whose parts it does not look into.
_OPEN = {
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps",
    "io.k8s.apimachinery.pkg.apis.meta.v1.ManagedFieldsEntry",
    "io.k8s.api.apps.v1.ControllerRevision",
}


def _facts(schema: Object, all_schemas: Object) -> Object:
    """What of a field's schema both must agree on."""
    reference = schema.get("$ref") or next((item["$ref"] for item in schema.get("allOf") or ()), "")
    name = reference.rpartition("/")[2]
    target = all_schemas.get(name) or {}
    if target and "properties" not in target and name.rpartition(".")[2] in ("Time", "MicroTime"):
        schema, name = {**schema, **{key: target[key] for key in ("type", "format")}}, ""
    found: dict[str, Any] = {key: schema[key] for key in _KEPT if key in schema}
    if found.get("x-kubernetes-list-type") == "atomic":
        del found["x-kubernetes-list-type"]  # what a list is that says nothing
    if name:
        found["is"] = name
    for inner in ("items", "additionalProperties"):
        if isinstance(schema.get(inner), dict):
            found[inner] = _facts(schema[inner], all_schemas)
    return found


@pytest.mark.parametrize("root", _ROOTS)
def test_the_fields_of_built_in_kinds_are_a_real_servers(bare_control_plane: ControlPlane, root: str) -> None:
    real = bare_control_plane.do("GET", f"/openapi/v3/{root}")["components"]["schemas"]
    ours = InProcess().get(f"/openapi/v3/{root}").body["components"]["schemas"]
    checked = 0
    for name in ours.keys() & real.keys() - _OPEN:
        mine, theirs = ours[name], real[name]
        properties, wanted = mine.get("properties") or {}, theirs.get("properties") or {}
        assert properties.keys() == wanted.keys(), name
        assert set(mine.get("required") or ()) == set(theirs.get("required") or ()), name
        for field, schema in properties.items():
            assert _facts(schema, ours) == _facts(wanted[field], real), f"{name}.{field}"
            checked += 1
    assert checked > 20


def test_every_kind_is_described_for_clients(bare_control_plane: ControlPlane) -> None:
    """Version 2, which old clients ask for: the same kinds in the JSON and in the protobuf form."""
    client = InProcess()
    kinds = {
        (item["group"], item["version"], item["kind"])
        for schema in client.get("/openapi/v2")["definitions"].values()
        for item in schema.get("x-kubernetes-group-version-kind") or ()
    }
    wanted = [resource.kind for resource in BUILTIN]
    assert {(kind.group, kind.version, kind.kind) for kind in wanted} <= kinds
