"""A cluster that has just the objects that a test gives: lists, logs, discovery, and what is forbidden."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Object = dict[str, Any]
PLURALS = {
    "Workspace": "workspaces",
    "Node": "nodes",
    "NodeClaim": "nodeclaims",
    "NodePool": "nodepools",
    "Event": "events",
    "Pod": "pods",
    "StatefulSet": "statefulsets",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "ValidatingWebhookConfiguration": "validatingwebhookconfigurations",
    "Namespace": "namespaces",
    "Deployment": "deployments",
    "ResourceSlice": "resourceslices",
    "ConfigMap": "configmaps",
    "PersistentVolume": "persistentvolumes",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "CSINode": "csinodes",
    "VolumeAttachment": "volumeattachments",
}


def selects(query: dict[str, list[str]], obj: Object) -> bool:
    for asked in (*query.get("labelSelector", ()), *query.get("fieldSelector", ())):
        for part in asked.split(","):
            key, _, value = part.partition("=")
            found: Any = obj
            if asked in query.get("labelSelector", ()):
                found = (obj["metadata"].get("labels") or {}).get(key)
            else:
                for step in key.split("."):
                    found = (found or {}).get(step)
            if found != value:
                return False
    return True


def world(
    *objects: Object, logs: dict[str, str] | None = None, forbidden: tuple[str, ...] = ()
) -> Callable[[str, str], tuple[int, str]]:
    """A cluster with these objects and no others, in which some paths are forbidden."""
    groups: dict[str, set[str]] = {"kaito.sh": {"v1alpha1"}}
    for obj in objects:
        group, _, version = obj["apiVersion"].rpartition("/")
        groups.setdefault(group, set()).add(version)

    def refused(status: int, reason: str) -> tuple[int, str]:
        body = {"kind": "Status", "status": "Failure", "code": status, "reason": reason, "message": reason}
        return status, json.dumps(body)

    def answer(method: str, path: str) -> tuple[int, str]:
        parts = urlsplit(unquote(path).removeprefix("/s3cret-path"))
        query = parse_qs(parts.query)
        if any(word in parts.path for word in forbidden):
            return refused(403, "Forbidden")
        if found := re.fullmatch(r"/apis/([^/]+)", parts.path):
            versions = [
                {"version": one, "groupVersion": f"{found[1]}/{one}"} for one in groups.get(found[1], ())
            ]
            return (200, json.dumps({"versions": versions})) if versions else refused(404, "NotFound")
        if found := re.fullmatch(r"/apis/([^/]+/[^/]+)", parts.path):
            kinds = {obj["kind"] for obj in objects if obj["apiVersion"] == found[1]}
            listed = [{"kind": kind, "name": PLURALS[kind]} for kind in kinds]
            return (200, json.dumps({"resources": listed})) if kinds else refused(404, "NotFound")
        if found := re.fullmatch(r"/api/v1/namespaces/[^/]+/pods/([^/]+)/log", parts.path):
            lines = (logs or {}).get(found[1], "").splitlines()
            return 200, "\n".join(lines[-int(query["tailLines"][0]) :])
        found = re.fullmatch(
            r"/apis?(?:/[^/]+)?/v\w+(?:/namespaces/([^/]+))?/([a-z]+)(?:/([^/]+))?", parts.path
        )
        if method != "GET" or found is None:
            return refused(404, "NotFound")
        namespace, plural, name = found.groups()
        mine = [
            obj
            for obj in objects
            if PLURALS[obj["kind"]] == plural and namespace in (None, obj["metadata"].get("namespace"))
        ]
        if name:
            mine = [obj for obj in mine if obj["metadata"]["name"] == name]
            return (200, json.dumps(mine[0])) if mine else refused(404, "NotFound")
        items = [obj for obj in mine if selects(query, obj)]
        return 200, json.dumps({"kind": "List", "metadata": {"resourceVersion": "1"}, "items": items})

    return answer
