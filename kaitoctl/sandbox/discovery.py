"""What an API server says about itself: versions, groups, resources, parameters it understands. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from kaitoctl.kube.objects import Object
from kaitoctl.sandbox import KUBERNETES, openapi
from kaitoctl.sandbox.builtin import Resource

_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def document(resources: Iterable[Resource], parts: list[str], accept: str) -> tuple[Object, str] | None:
    """The document at a path that is not a resource's, with its media type; None when there is none."""
    if parts[0] == "version":
        return _version(), "application/json"
    if parts[:2] == ["openapi", "v3"]:
        found = openapi.document(resources, "/".join(parts[2:])) if parts[2:] else openapi.index(resources)
        return (found, "application/json") if found else None
    by_group = _by_group(resources)
    if parts[0] not in ("api", "apis"):
        return None
    if len(parts) == 1 and "as=APIGroupDiscoveryList" in accept:
        groups = [group for group in by_group if bool(group) is (parts[0] == "apis")]
        aggregated = {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": "apidiscovery.k8s.io/v2",
            "metadata": {},
            "items": [_aggregated_group(group, by_group[group]) for group in groups],
        }
        return aggregated, _AGGREGATED
    plain = _legacy(by_group, parts)
    return (plain, "application/json") if plain else None


def _by_group(resources: Iterable[Resource]) -> dict[str, dict[str, list[Resource]]]:
    """Resources by group and version; the versions of a group in their order of preference."""
    groups: dict[str, dict[str, list[Resource]]] = {}
    for resource in resources:
        groups.setdefault(resource.kind.group, {}).setdefault(resource.kind.version, []).append(resource)
    return {
        group: {version: versions[version] for version in sorted(versions, key=priority, reverse=True)}
        for group, versions in groups.items()
    }


def priority(version: str) -> tuple[int, int, int]:
    """How much a version is preferred: `v2` over `v1` over `v1beta2` over `v1beta1` over `v1alpha1`.

    Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/
    """
    match = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if not match:
        return (-1, 0, 0)
    stage = {None: 2, "beta": 1, "alpha": 0}[match[2]]
    return (stage, int(match[1]), int(match[3] or 0))


def _version() -> Object:
    major, minor = KUBERNETES
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"v{major}.{minor}.0+kaitoctl-sandbox",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "python",
        "platform": "sandbox/sandbox",
    }


def _legacy(by_group: dict[str, dict[str, list[Resource]]], parts: list[str]) -> Object | None:
    if parts == ["api"]:
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    if parts == ["apis"]:
        named = [_group(group, versions) for group, versions in by_group.items() if group]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": named}
    if parts[0] == "apis" and len(parts) == 2 and parts[1] in by_group:
        return {"kind": "APIGroup", "apiVersion": "v1", **_group(parts[1], by_group[parts[1]])}
    group, version = ("", parts[1]) if parts[0] == "api" else (parts[1], parts[-1])
    found = by_group.get(group, {}).get(version)
    if found is None:
        return None
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{version}" if group else version,
        "resources": [entry for resource in found for entry in _legacy_entries(resource)],
    }


def _group(group: str, versions: Iterable[str]) -> Object:
    listed = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": listed, "preferredVersion": listed[0]}


def _legacy_entries(resource: Resource) -> list[Object]:
    kind = resource.kind
    entry: Object = {
        "name": kind.plural,
        "singularName": resource.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": _VERBS,
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    below = [
        {
            "name": f"{kind.plural}/{name}",
            "singularName": "",
            "namespaced": kind.namespaced,
            **_below(resource, name),
        }
        for name in sorted(resource.subresources)
    ]
    return [entry, *below]


def _below(resource: Resource, name: str) -> Object:
    """Kind and verbs of a subresource."""
    if name == "scale":
        return {"kind": "Scale", "group": "autoscaling", "version": "v1", "verbs": ["get", "patch", "update"]}
    if name == "binding":
        return {"kind": "Binding", "verbs": ["create"]}
    if name == "eviction":
        return {"kind": "Eviction", "group": "policy", "version": "v1", "verbs": ["create"]}
    verbs = ["get"] if name == "log" else ["get", "patch", "update"]
    return {"kind": resource.kind.kind, "verbs": verbs}


def _aggregated_group(group: str, versions: dict[str, list[Resource]]) -> Object:
    return {
        "metadata": {"name": group} if group else {"creationTimestamp": None},
        "versions": [
            {"version": version, "freshness": "Current", "resources": [_aggregate(item) for item in found]}
            for version, found in versions.items()
        ],
    }


def _aggregate(resource: Resource) -> Object:
    kind = resource.kind

    def response_kind(entry: Object) -> Object:
        return {
            "group": entry.get("group", kind.group),
            "version": entry.get("version", kind.version),
            "kind": entry["kind"],
        }

    listed: list[Object] = []
    for name in sorted(resource.subresources):
        below = _below(resource, name)
        listed.append({"subresource": name, "responseKind": response_kind(below), "verbs": below["verbs"]})
    return {
        "resource": kind.plural,
        "responseKind": response_kind({"kind": kind.kind}),
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": _VERBS,
        **({"shortNames": list(resource.short_names)} if resource.short_names else {}),
        **({"categories": list(resource.categories)} if resource.categories else {}),
        **({"subresources": listed} if listed else {}),
    }


def is_review(resource: str) -> bool:
    """Whether it is a resource that is only asked, never kept."""
    return resource in _REVIEWS


def access_review(api_version: str, resource: str, body: bytes) -> Object:
    """What one may do oneself, and who one is: everybody may do everything, so what is asked may stay unread.

    Args:
        api_version: of the review.
        resource: `selfsubjectaccessreviews`, `selfsubjectrulesreviews` or `selfsubjectreviews`.
        body: JSON; protobuf stays unread.
    """
    kind, status = _REVIEWS[resource]
    review = json.loads(body) if body.startswith(b"{") else {}
    return {"kind": kind, "apiVersion": api_version, "metadata": {}, "spec": {}, **review, "status": status}


_EVERYTHING = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
_REVIEWS: dict[str, tuple[str, Object]] = {
    "selfsubjectaccessreviews": ("SelfSubjectAccessReview", {"allowed": True}),
    "selfsubjectrulesreviews": (
        "SelfSubjectRulesReview",
        {
            "resourceRules": [_EVERYTHING],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": False,
        },
    ),
    "selfsubjectreviews": (
        "SelfSubjectReview",
        {"userInfo": {"username": "sandbox-user", "groups": ["system:masters", "system:authenticated"]}},
    ),
}
