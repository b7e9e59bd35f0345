"""CustomResourceDefinitions: what they make the API serve, and what their objects must look like. Pure.

Conversion between versions is `None`: only `apiVersion` changes, then the version's own defaults apply.
"""

from __future__ import annotations

import json
import re
from typing import Any

from kaitoctl.kube import schema as schemas
from kaitoctl.kube import schema_defaults
from kaitoctl.kube.names import DNS_1035_LABEL
from kaitoctl.kube.objects import Kind, Object
from kaitoctl.sandbox.admission.metadata import metadata_causes
from kaitoctl.sandbox.builtin import Resource
from kaitoctl.sandbox.error_status import (
    cause,
    duplicate,
    invalid,
    invalid_value,
    required,
    unsupported,
)
from kaitoctl.sandbox.shapes import shape_of_schema

_OPEN: Object = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


# --- serving ------------------------------------------------------------------------------------------------


def resource_of(crd: Object, version: Object, storage: str) -> Resource:
    """What one version of a CRD makes the API serve."""
    spec, names = crd["spec"], crd["spec"]["names"]
    schema = (version.get("schema") or {}).get("openAPIV3Schema") or _OPEN
    subresources = version.get("subresources") or {}
    fields = (item["jsonPath"].lstrip(".") for item in version.get("selectableFields") or ())
    return Resource(
        kind=Kind(
            spec["group"], version["name"], names["kind"], names["plural"], spec["scope"] == "Namespaced"
        ),
        singular=names.get("singular") or names["kind"].lower(),
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=frozenset(name for name in ("status", "scale") if subresources.get(name) is not None),
        shape=shape_of_schema(schema),
        counts=True,
        selectable=tuple(fields),
        schema=schema,
        storage_version=storage,
        columns=tuple(version.get("additionalPrinterColumns") or ()),
        scale_paths=subresources.get("scale") or {},
        list_kind=names.get("listKind") or f"{names['kind']}List",
    )


# --- objects ------------------------------------------------------------------------------------------------


def in_version(resource: Resource, obj: Object) -> Object:
    """A stored object in the version of `resource`; the object itself when that is how it is stored."""
    if resource.schema is None or obj.get("apiVersion") == resource.kind.api_version:
        return obj
    # What the stored version's schema fills in is there already; this version's is no part of a conversion.
    return prune(resource, {**obj, "apiVersion": resource.kind.api_version})


def in_storage_version(resource: Resource, obj: Object) -> Object:
    """An object as it is kept, whatever version it was written in; the object itself when it is that one."""
    if resource.kind.version == resource.storage_version:
        return obj
    return {**obj, "apiVersion": f"{resource.kind.group}/{resource.storage_version}"}


def as_stored(resource: Resource, obj: Object) -> Object:
    """An object as it is shown today: pruned and with the defaults of today's schema."""
    schema = resource.schema or _OPEN
    shown: Object = schema_defaults.default(schema_defaults.prune(obj, schema), schema)
    return {**shown, "apiVersion": resource.kind.api_version}


def unknown_fields(resource: Resource, obj: Object) -> list[str]:
    """The paths of the fields that pruning drops."""
    return schema_defaults.unknown_fields(obj, resource.schema or _OPEN)


def prune(resource: Resource, obj: Object) -> Object:
    """The object without them; gone fields are given as they are left, not removed."""
    kept: Object = schema_defaults.prune(obj, resource.schema or _OPEN)
    return kept


def admit(resource: Resource, obj: Object, *, is_applied: bool = False) -> Object:
    """A custom resource with its defaults.

    An apply means the nulls that it has; in other writes they say nothing.

    Raises:
        Failure: 422, with one cause per problem.
    """
    schema = resource.schema or _OPEN
    filled: Object = schema_defaults.default(obj, schema, keep_nulls=is_applied)
    causes = metadata_causes(resource, filled["metadata"])
    if not schemas.fits(filled, schema):
        causes += [_cause(problem) for problem in schemas.problems(filled, schema)]
    if causes:
        raise invalid(resource.kind.kind, resource.kind.group, filled["metadata"].get("name", ""), causes)
    return filled


def mismatch(resource: Resource, config: Object) -> str:
    """The first value of an applied object that is of another type than its field, in words; else empty."""
    problems = schemas.problems(config, resource.schema or _OPEN)
    of_type = (item for item in problems if item.rule == "type" and item.value is not None)
    return next((f".{item.path}: expected {item.expected}" for item in of_type), "")


def _cause(problem: schemas.Problem) -> Object:
    """A problem in the words of the real server."""
    path, value, expected = problem.path, problem.value, problem.expected
    in_body = f"{path} in body" if path else "the object"
    match problem.rule:
        case "required":
            return required(path)
        case "enum":
            return unsupported(path, value, expected)
        case "type":
            wanted = expected if isinstance(expected, str) else ",".join(expected)
            kind = _type_name(value)
            why = f"{in_body} must be of type {wanted}: {json.dumps(kind)}"
            return cause("FieldValueTypeInvalid", path, f"Invalid value: {json.dumps(kind)}: {why}")
        case "pattern":
            return invalid_value(path, value, f"{in_body} should match '{expected}'")
        case "minimum":
            return invalid_value(path, value, f"{in_body} should be greater than or equal to {expected}")
        case "maximum":
            return invalid_value(path, value, f"{in_body} should be less than or equal to {expected}")
        case "minLength":
            return invalid_value(path, value, f"{in_body} should be at least {expected} chars long")
        case "maxLength":
            message = f"Too long: may not be more than {expected} bytes"
            return cause("FieldValueTooLong", path, message)
        case "minItems":
            return invalid_value(path, len(value), f"{in_body} should have at least {expected} items")
        case "maxItems":
            return cause(
                "FieldValueTooMany", path, f"Too many: {len(value)}: must have at most {expected} items"
            )
        case "format":
            return invalid_value(path, value, f"{in_body} must be of type {expected}: {json.dumps(value)}")
        case "x-kubernetes-list-type" | "uniqueItems":
            return duplicate(path, value)
    return invalid_value(path or "<nil>", value, f"{in_body} {problem.message}")


def _type_name(value: Any) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}
    return names.get(type(value), "null")


# --- what a definition may look like: checked before anything reads it -------------------------------------

_TEXT: Object = {"type": "string"}
_TEXTS: Object = {"type": "array", "items": _TEXT}


def _map(*required_: str, **properties: Object) -> Object:
    return {"type": "object", "properties": properties, "required": list(required_)}


_VERSION = _map(
    name=_TEXT,
    served={"type": "boolean"},
    storage={"type": "boolean"},
    schema=_map(openAPIV3Schema={"type": "object"}),
    subresources=_map(
        status={"type": "object"},
        scale=_map(
            "specReplicasPath",
            "statusReplicasPath",
            specReplicasPath=_TEXT,
            statusReplicasPath=_TEXT,
            labelSelectorPath=_TEXT,
        ),
    ),
    additionalPrinterColumns={
        "type": "array",
        "items": _map(
            "name", "type", "jsonPath", name=_TEXT, type=_TEXT, jsonPath=_TEXT, priority={"type": "integer"}
        ),
    },
    selectableFields={"type": "array", "items": _map("jsonPath", jsonPath=_TEXT)},
)
_NAMES = _map(plural=_TEXT, singular=_TEXT, kind=_TEXT, listKind=_TEXT, shortNames=_TEXTS, categories=_TEXTS)
_DEFINITION = _map(
    spec=_map(
        group=_TEXT,
        scope=_TEXT,
        names=_NAMES,
        conversion=_map(strategy=_TEXT),
        versions={"type": "array", "items": _VERSION},
    )
)
_SCHEMA_KEYWORDS: dict[str, tuple[type, ...]] = {
    "type": (str,),
    "properties": (dict,),
    "items": (dict,),
    "additionalProperties": (dict, bool),
    **dict.fromkeys(("required", "enum", "allOf", "anyOf", "oneOf", "x-kubernetes-list-map-keys"), (list,)),
    "not": (dict,),
    **dict.fromkeys(("pattern", "format", "x-kubernetes-list-type", "x-kubernetes-map-type"), (str,)),
    "nullable": (bool,),
    **dict.fromkeys(("minimum", "maximum", "multipleOf"), (int, float)),
    **dict.fromkeys(
        ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), (int,)
    ),
}


_INNER_TYPES: dict[str, type] = {
    **dict.fromkeys(("properties", "allOf", "anyOf", "oneOf"), dict),
    **dict.fromkeys(("required", "x-kubernetes-list-map-keys"), str),
}


def _keyword_causes(schema: Object, at: str) -> list[Object]:
    """The keywords of a schema, and of all schemas in it, whose values are of the wrong type."""
    causes: list[Object] = []
    for keyword, types in _SCHEMA_KEYWORDS.items():
        value: Any = schema.get(keyword)
        inner: Any = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        if value is not None and (
            not isinstance(value, types)
            or (isinstance(value, bool) and bool not in types)
            or not all(isinstance(item, _INNER_TYPES.get(keyword, object)) for item in inner)
        ):
            causes.append(invalid_value(f"{at}.{keyword}", value, "is of the wrong type"))
        elif keyword == "properties":
            for name, below in (schema.get(keyword) or {}).items():
                causes += _keyword_causes(below, f"{at}.properties[{name}]")
        elif keyword in ("allOf", "anyOf", "oneOf"):
            for position, below in enumerate(inner):
                causes += _keyword_causes(below, f"{at}.{keyword}[{position}]")
        elif keyword in ("items", "additionalProperties", "not") and isinstance(value, dict):
            causes += _keyword_causes(value, f"{at}.{keyword}")
    return causes


# --- the definitions themselves -----------------------------------------------------------------------------


def prepare(crd: Object, live: Object | None, now: str) -> None:
    """Check a CRD that is to be written, and fill in its names and its status.

    Raises:
        Failure: 422.
    """
    spec = crd.get("spec")
    name = crd["metadata"].get("name", "")
    if not isinstance(spec, dict):
        raise _invalid(name, [required("spec")])
    shaped = schema_defaults.default({"spec": spec}, _DEFINITION)  # which drops nulls
    causes = [_cause(problem) for problem in schemas.problems(shaped, _DEFINITION)]
    spec = shaped["spec"]
    if causes := causes or _causes(spec, name, live):
        raise _invalid(name, causes)
    given = spec["names"]
    names = {"singular": given["kind"].lower(), "listKind": f"{given['kind']}List", **given}
    crd["spec"] = {"conversion": {"strategy": "None"}, **spec, "names": names}
    storage = next(version["name"] for version in spec["versions"] if version.get("storage"))
    status = dict((live or {}).get("status") or {})
    stored = list(dict.fromkeys([*(status.get("storedVersions") or ()), storage]))
    if status.get("acceptedNames") != names or status.get("storedVersions") != stored:
        crd["status"] = {
            "conditions": status.get("conditions")
            or [
                _condition("NamesAccepted", "NoConflicts", "no conflicts found", now),
                _condition(
                    "Established", "InitialNamesAccepted", "the initial names have been accepted", now
                ),
            ],
            "acceptedNames": names,
            "storedVersions": stored,
        }


def _condition(kind: str, reason: str, message: str, now: str) -> Object:
    return {"type": kind, "status": "True", "lastTransitionTime": now, "reason": reason, "message": message}


def _invalid(name: str, causes: list[Object]) -> Exception:
    return invalid("CustomResourceDefinition", "apiextensions.k8s.io", name, causes)


def _causes(spec: Object, name: str, live: Object | None) -> list[Object]:
    names = spec.get("names") or {}
    causes = [
        required(f"spec.{field}") for field in ("group", "scope", "names", "versions") if not spec.get(field)
    ]
    causes += [required(f"spec.names.{field}") for field in ("plural", "kind") if not names.get(field)]
    if causes:
        return causes
    expected = f"{names['plural']}.{spec['group']}"
    if name != expected:
        causes.append(invalid_value("metadata.name", name, 'must be spec.names.plural+"."+spec.group'))
    if spec["scope"] not in ("Namespaced", "Cluster"):
        causes.append(unsupported("spec.scope", spec["scope"], ["Cluster", "Namespaced"]))
    strategy = (spec.get("conversion") or {}).get("strategy", "None")
    if strategy != "None":
        causes.append(unsupported("spec.conversion.strategy", strategy, ["None"]))
    if sum(bool(version.get("storage")) for version in spec["versions"]) != 1:
        why = "must have exactly one version marked as storage version"
        causes.append(invalid_value("spec.versions", [v.get("name") for v in spec["versions"]], why))
    for position, version in enumerate(spec["versions"]):
        at = f"spec.versions[{position}]"
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        if not version.get("name"):
            causes.append(required(f"{at}.name"))
        elif not re.fullmatch(DNS_1035_LABEL, version["name"]):
            causes.append(invalid_value(f"{at}.name", version["name"], "must be a DNS-1035 label"))
        if not isinstance(schema, dict):
            causes.append(required(f"{at}.schema.openAPIV3Schema", "schemas are required"))
        elif schema.get("type") != "object":
            why = "must be object at the root"
            causes.append(invalid_value(f"{at}.schema.openAPIV3Schema.type", schema.get("type", ""), why))
        else:
            at = f"{at}.schema.openAPIV3Schema"
            causes += _keyword_causes(schema, at) or _structural_causes(schema, at)
    if live is not None:
        for field, was, new in (
            ("spec.group", live["spec"]["group"], spec["group"]),
            ("spec.scope", live["spec"]["scope"], spec["scope"]),
            ("spec.names.plural", live["spec"]["names"]["plural"], names["plural"]),
            ("spec.names.kind", live["spec"]["names"]["kind"], names["kind"]),
        ):
            if was != new:
                causes.append(invalid_value(field, new, "field is immutable"))
    return causes


def _structural_causes(schema: Object, at: str) -> list[Object]:
    """Where a schema is not structural: every value needs a type, unless it is one that says otherwise."""
    causes: list[Object] = []
    is_free = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-int-or-string")
    if not schema.get("type") and not is_free:
        causes.append(required(f"{at}.type", "must not be empty for specified object fields"))
    elif schema.get("type") not in (None, "object", "array", "string", "integer", "number", "boolean"):
        known = ["object", "array", "string", "integer", "number", "boolean"]
        causes.append(unsupported(f"{at}.type", schema["type"], known))
    if schema.get("properties") and isinstance(schema.get("additionalProperties"), dict):
        why = "additionalProperties and properties are mutual exclusive"
        causes.append(cause("FieldValueForbidden", f"{at}.additionalProperties", f"Forbidden: {why}"))
    for name, below in (schema.get("properties") or {}).items():
        causes += _structural_causes(below, f"{at}.properties[{name}]")
    if isinstance(values := schema.get("additionalProperties"), dict):
        causes += _structural_causes(values, f"{at}.additionalProperties")
    if schema.get("type") == "array":
        items = schema.get("items")
        if not isinstance(items, dict):
            causes.append(required(f"{at}.items", "must be specified"))
        else:
            causes += _structural_causes(items, f"{at}.items")
            causes += _list_map_causes(schema, items, at)
    return causes


def _list_map_causes(schema: Object, items: Object, at: str) -> list[Object]:
    if schema.get("x-kubernetes-list-type") != "map":
        return []
    keys = schema.get("x-kubernetes-list-map-keys") or ()
    if not keys:
        why = "must not be empty if x-kubernetes-list-type is map"
        return [required(f"{at}.x-kubernetes-list-map-keys", why)]
    known = items.get("properties") or {}
    causes = []
    for key in keys:
        if key not in known:
            causes.append(
                invalid_value(f"{at}.x-kubernetes-list-map-keys", key, "must be a property of items")
            )
        elif key not in (items.get("required") or ()) and "default" not in known[key]:
            why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be required"
            causes.append(required(f"{at}.items.properties[{key}].default", why))
    return causes
