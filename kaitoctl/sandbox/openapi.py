"""The OpenAPI documents, from which clients learn the fields of kinds: version 3 and version 2. Pure.

kubectl reads version 3 for `explain`, for merging on the client (`apply`, `diff`) and to find out that the
server validates fields itself; version 2 it asks for as protobuf only, for what version 3 does not answer
(the kind `List`).

Source: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-interface-definition and
gnostic's `openapiv2/OpenAPIv2.proto`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kaitoctl.kube.objects import Object
from kaitoctl.sandbox import types
from kaitoctl.sandbox.builtin import Resource
from kaitoctl.sandbox.types import Field, Struct

V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
"""What clients ask for. It is no valid media type, so that the answer's is spelled otherwise."""

V2_PROTOBUF_SENT = V2_PROTOBUF.replace("@", ".")

_SCALARS: dict[str, Object] = {
    "string": {"type": "string"},
    "bool": {"type": "boolean"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "float64": {"type": "number", "format": "double"},
    "bytes": {"type": "string", "format": "byte"},
    "time": {"type": "string", "format": "date-time"},
    "microtime": {"type": "string", "format": "date-time"},
    "raw": {"type": "object"},
    "any": {},
}
# These have names of their own, which `kubectl explain` shows.
_NAMED: dict[str, tuple[str, Object]] = {
    "quantity": (
        "io.k8s.apimachinery.pkg.api.resource.Quantity",
        {"oneOf": [{"type": "string"}, {"type": "number"}], "x-kubernetes-int-or-string": True},
    ),
    "intorstring": (
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
        {
            "oneOf": [{"type": "integer"}, {"type": "string"}],
            "format": "int-or-string",
            "x-kubernetes-int-or-string": True,
        },
    ),
}
_WRITE_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation", "force")


def index(resources: Iterable[Resource]) -> Object:
    """`/openapi/v3`: the documents there are, by group and version."""
    return {
        "paths": {
            root: {"serverRelativeURL": f"/openapi/v3/{root}?hash={_hash(found)}"}
            for root, found in _roots(resources).items()
        }
    }


def document(resources: Iterable[Resource], root: str) -> Object | None:
    """`/openapi/v3/apis/apps/v1`; None when nothing is served there."""
    found = _roots(resources).get(root)
    if found is None:
        return None
    paths: Object = {}
    for resource in found:
        paths.update(_paths(resource))
    return {
        "openapi": "3.0.0",
        "info": {"title": "kaitoctl sandbox", "version": "unversioned"},
        "paths": paths,
        "components": {"schemas": _definitions(found, "#/components/schemas/")},
    }


def document_v2(resources: Iterable[Resource]) -> Object:
    """`/openapi/v2`, without paths: whoever wants those has version 3."""
    return {
        "swagger": "2.0",
        "info": {"title": "kaitoctl sandbox", "version": "unversioned"},
        "paths": {},
        "definitions": _definitions(list(resources), "#/definitions/"),
    }


def _roots(resources: Iterable[Resource]) -> dict[str, list[Resource]]:
    roots: dict[str, list[Resource]] = {}
    for resource in resources:
        kind = resource.kind
        root = f"apis/{kind.group}/{kind.version}" if kind.group else f"api/{kind.version}"
        roots.setdefault(root, []).append(resource)
    return roots


def _hash(resources: list[Resource]) -> str:
    """Changes when the document does, which clients keep on disk by it."""
    text = json.dumps([[item.name, item.kind.kind, item.schema] for item in resources])
    return hashlib.sha256(text.encode()).hexdigest()[:16].upper()


def _identity(resource: Resource) -> Object:
    kind = resource.kind
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


def _paths(resource: Resource) -> Iterator[tuple[str, Object]]:
    identity = {"x-kubernetes-group-version-kind": _identity(resource), "responses": {}}
    parameters = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in _WRITE_PARAMETERS]
    patches = ["apply-patch+yaml", "json-patch+json", "merge-patch+json"]
    if not resource.is_custom:
        patches.append("strategic-merge-patch+json")
    body: Object = {"content": {f"application/{name}": {} for name in patches}}
    collection = resource.kind.path("{namespace}").replace("%7B", "{").replace("%7D", "}")

    def operation(action: str, **more: Any) -> Object:
        return {**identity, "x-kubernetes-action": action, **more}

    yield collection, {"get": operation("list"), "post": operation("post", parameters=parameters)}
    yield (
        f"{collection}/{{name}}",
        {
            "get": operation("get"),
            "put": operation("put", parameters=parameters),
            "patch": operation("patch", parameters=parameters, requestBody=body),
            "delete": operation("delete"),
        },
    )


# --- schemas ------------------------------------------------------------------------------------------------


def _definitions(resources: list[Resource], prefix: str) -> Object:
    definitions: Object = {}
    for resource in resources:
        if resource.struct is not None:
            _define(resource.struct, prefix, definitions)
            name = _name(resource.struct)
            # A copy: the type itself may be another kind's part.
            definitions[name] = {
                **definitions[name],
                "x-kubernetes-group-version-kind": [_identity(resource)],
            }
        else:
            _define(types.METADATA, prefix, definitions)
            definitions[_name_of_custom(resource)] = _custom(resource, prefix)
    return definitions


def _name(struct: Struct) -> str:
    package, _, kind = struct.name.rpartition(".")
    group = package.partition(".")[0]
    home = {
        "meta": "io.k8s.apimachinery.pkg.apis.",
        "apiextensions": "io.k8s.apiextensions-apiserver.pkg.apis.",
    }
    return f"{home.get(group, 'io.k8s.api.')}{package}.{kind}"


def _name_of_custom(resource: Resource) -> str:
    kind = resource.kind
    return ".".join([*reversed(kind.group.split(".")), kind.version, kind.kind])


def _custom(resource: Resource, prefix: str) -> Object:
    schema = dict(resource.schema or {})
    metadata = {"$ref": f"{prefix}{_name(types.METADATA)}"}
    own = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": metadata}
    schema["properties"] = {**(schema.get("properties") or {}), **own}
    schema["x-kubernetes-group-version-kind"] = [_identity(resource)]
    return schema


def _define(struct: Struct, prefix: str, definitions: Object) -> None:
    """Add the schema of a struct, and of all structs in it."""
    name = _name(struct)
    if name in definitions:
        return
    made = definitions[name] = {"type": "object"}
    properties = {item.name: _property(item, prefix, definitions) for item in struct.members.values()}
    if properties:
        made["properties"] = properties
    needed = [
        item.name
        for item in struct.members.values()
        if "required" in item.marks or ("always" in item.marks and "optional" not in item.marks)
    ]
    if needed:
        made["required"] = needed
    if struct.atomic:
        made["x-kubernetes-map-type"] = "atomic"


def _property(item: Field, prefix: str, definitions: Object) -> Object:
    schema = dict(_schema(item.type.lstrip("*"), prefix, definitions))
    marks = item.marks
    if schema.get("type") == "array":
        schema["x-kubernetes-list-type"] = "map" if "keys" in marks else "set" if "set" in marks else "atomic"
    if "keys" in marks:
        schema["x-kubernetes-list-map-keys"] = marks["keys"].split(",")
    for name in ("atomic", "granular"):
        if name in marks:
            schema["x-kubernetes-map-type"] = name
    strategies = [name for name in ("merge", "retainKeys", "replace") if name in marks]
    if strategies:
        schema["x-kubernetes-patch-strategy"] = ",".join(strategies)
    if marks.get("merge"):
        schema["x-kubernetes-patch-merge-key"] = marks["merge"]
    if "default" in marks:
        schema["default"] = marks["default"]
    return schema


def _schema(type_: str, prefix: str, definitions: Object) -> Object:
    if type_.startswith("[]"):
        return {"type": "array", "items": _schema(type_[2:], prefix, definitions)}
    if type_.startswith("{}"):
        return {"type": "object", "additionalProperties": _schema(type_[2:], prefix, definitions)}
    if (struct := types.structs().get(type_)) is not None:
        _define(struct, prefix, definitions)
        return {"allOf": [{"$ref": f"{prefix}{_name(struct)}"}]}
    if type_ in _NAMED:
        name, schema = _NAMED[type_]
        definitions.setdefault(name, schema)
        return {"allOf": [{"$ref": f"{prefix}{name}"}]}
    return _SCALARS[type_]


# --- version 2 as protobuf ----------------------------------------------------------------------------------


def to_protobuf(document: Object) -> bytes:
    """A version 2 document as gnostic's message of it, with what tells a client the types of fields."""
    info = _string(1, document["info"]["title"]) + _string(2, document["info"]["version"])
    definitions = b"".join(_named_schema(1, *pair) for pair in document["definitions"].items())
    return _string(1, document["swagger"]) + _message(2, info) + _message(8, b"") + _message(9, definitions)


def _named_schema(number: int, name: str, schema: Object) -> bytes:
    return _message(number, _string(1, name) + _message(2, _schema_message(schema)))


def _schema_message(schema: Mapping[str, Any]) -> bytes:
    # Version 2 knows neither oneOf nor nullable: what may be of several types has none.
    if "allOf" in schema and len(schema["allOf"]) == 1 and "$ref" in schema["allOf"][0]:
        schema = {**schema, "$ref": schema["allOf"][0]["$ref"]}
    parts = []
    if reference := schema.get("$ref"):
        parts.append(_string(1, reference))
    is_open = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-int-or-string")
    if "format" in schema:
        parts.append(_string(2, schema["format"]))
    if "description" in schema:
        parts.append(_string(4, schema["description"]))
    if not is_open:
        parts += [_string(19, name) for name in schema.get("required") or ()]
        additional = schema.get("additionalProperties")
        if isinstance(additional, dict):
            parts.append(_message(21, _message(1, _schema_message(additional))))
        if "type" in schema and not schema.get("nullable"):
            parts.append(_message(22, _string(1, schema["type"])))
        if "items" in schema:
            parts.append(_message(23, _message(1, _schema_message(schema["items"]))))
        if properties := schema.get("properties"):
            named = b"".join(_named_schema(1, *pair) for pair in properties.items())
            parts.append(_message(25, named))
    for name, value in schema.items():
        if name.startswith("x-kubernetes-") and name != "x-kubernetes-validations":
            parts.append(_message(31, _string(1, name) + _message(2, _string(2, json.dumps(value)))))
    return b"".join(parts)


def _string(number: int, text: str) -> bytes:
    return _message(number, text.encode())


def _message(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)
