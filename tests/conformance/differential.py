"""Sequences of requests, carried out on two servers, and what their answers have in common.

A sequence is a list of steps, each a small JSON object, so that a failing one can be printed, kept and
carried out again. A step says which object it is about and what to do with it; what depends on the server
(the version or uid that an object has there) is filled in by each side.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from sandbox_api.serving import APPLY, JSON_PATCH, MERGE, STRATEGIC, Answer, Client

from kaitoctl.kube.objects import Object, apply_merge_patch, dig

PATHS = {
    "ConfigMap": "/api/v1/namespaces/default/configmaps",
    "Pod": "/api/v1/namespaces/default/pods",
    "Deployment": "/apis/apps/v1/namespaces/default/deployments",
    "Service": "/api/v1/namespaces/default/services",
    "Workspace": "/apis/kaito.sh/v1beta1/namespaces/default/workspaces",
}
API_VERSIONS = {
    "ConfigMap": "v1",
    "Pod": "v1",
    "Deployment": "apps/v1",
    "Service": "v1",
    "Workspace": "kaito.sh/v1beta1",
}
_PATCHES = {"merge": MERGE, "json": JSON_PATCH, "strategic": STRATEGIC}
_OF_THE_SERVER = ("uid", "creationTimestamp", "deletionTimestamp", "selfLink")


class Side:
    """One server, and what it has answered so far.

    Args:
        client: how to reach it.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._last: dict[tuple[str, str], Object] = {}
        self._versions: dict[str, int] = {}

    def do(self, step: Object) -> Object:
        """Carry out a step; returns the answer without what may differ."""
        answer = self._send(step)
        body = answer.body
        name = (step["kind"], step["name"])
        if step["verb"] == "delete" and step.get("query"):
            self._let_garbage_be_collected(step)
        if isinstance(body, dict) and body.get("kind") == step["kind"]:
            self._last[name] = copy.deepcopy(body)
        return {
            "status": answer.status,
            "body": self._normal(body),
            # Of what else is unwise, the sandbox says nothing.
            "warned": answer.status < 400 and "unknown field" in (answer.headers["Warning"] or ""),
        }

    def _send(self, step: Object) -> Answer:
        kind, name, verb = step["kind"], step["name"], step["verb"]
        collection = PATHS[kind]
        path = f"{collection}/{name}{step.get('below', '')}"
        query = step.get("query") or {}
        body: Any = copy.deepcopy(step.get("body"))
        if verb == "create":
            return self._client.create(collection, body, **query)
        if verb == "get":
            return self._client.get(path)
        if verb == "list":
            return self._client.get(collection, **query)
        if verb == "delete":
            return self._client.delete(path, body, **query)
        if verb == "apply":
            return self._client.send("PATCH", path, body, content_type=APPLY, **query)
        if verb == "put":
            last = self._last.get((kind, name)) or {}
            if step.get("fresh"):  # from what was read, as an editor does
                body = apply_merge_patch(last, body)
            return self._client.put(path, body, **query)
        return self._client.send("PATCH", path, body, content_type=_PATCHES[verb], **query)

    def _let_garbage_be_collected(self, step: Object) -> None:
        """A real server's garbage collector comes when it comes."""

        def done() -> bool:
            now = self._client.get(f"{PATHS[step['kind']]}/{step['name']}")
            finalizers = dig(now.body, "metadata", "finalizers") or ()
            return "orphan" not in finalizers and "foregroundDeletion" not in finalizers

        self._client.until(done)

    # --- what may differ ------------------------------------------------------------------------------------

    def _normal(self, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        if body.get("kind") == "Status" and body.get("status") == "Failure":
            causes = dig(body, "details", "causes") or []
            found = {(cause.get("reason", ""), cause.get("field", "")) for cause in causes}
            return {"reason": body.get("reason"), "causes": sorted(found)}
        if "items" in body:
            return {"kind": body["kind"], "items": [self._normal(item) for item in body["items"]]}
        body = copy.deepcopy(body)
        body.pop("apiVersion", None)
        body.pop("kind", None)
        metadata = body.get("metadata") or {}
        for field in _OF_THE_SERVER:
            if field in metadata:
                metadata[field] = "..."
        if "resourceVersion" in metadata:  # versions count the same writes, whatever their numbers
            version = f"{metadata.get('name')}@{metadata['resourceVersion']}"
            metadata["resourceVersion"] = self._versions.setdefault(version, len(self._versions))
        for entry in metadata.get("managedFields") or ():
            entry.pop("time", None)
        metadata.get("managedFields", []).sort(key=lambda entry: json.dumps(entry, sort_keys=True))
        if body.get("status") == "Success":
            (body.get("details") or {}).pop("uid", None)
        spec = body.get("spec")
        if isinstance(spec, dict):
            if spec.get("serviceAccountName") == "default":  # its admission is off on the bare control plane
                del spec["serviceAccountName"], spec["serviceAccount"]
            if spec.get("clusterIP") not in (None, "None"):
                spec["clusterIP"], spec["clusterIPs"] = "an address", ["an address"]
            for port in spec.get("ports") or ():
                if isinstance(port, dict) and "nodePort" in port:
                    port["nodePort"] = "a port"
        return body


def differences(left: Any, right: Any, path: str = "") -> list[str]:
    """The places where two answers differ, with both values."""
    if isinstance(left, dict) and isinstance(right, dict):
        found = []
        for name in sorted(left.keys() | right.keys()):
            absent = "(absent)"
            found += differences(left.get(name, absent), right.get(name, absent), f"{path}.{name}")
        return found
    if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        return [
            line
            for position, pair in enumerate(zip(left, right, strict=True))
            for line in differences(*pair, f"{path}[{position}]")
        ]
    if left == right:
        return []
    return [f"{path}: {json.dumps(left, sort_keys=True)} / {json.dumps(right, sort_keys=True)}"]


def replay(steps: list[Object]) -> str:
    """A sequence as one line, which `KNOWN` takes."""
    return json.dumps(steps, sort_keys=True)
