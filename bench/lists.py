"""`status -A` with ten thousand Workspaces that serve, beside `kubectl get` of the same kinds; in turn.

    python -m bench lists [--rounds N]

A local server has so many Workspaces, each with its Deployment, pod and Service, and pages as an API server
does. The first line of a list is printed once all of it is known: columns are as wide as their widest
cell. Medians; memory is the peak.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from bench import api_server, nodes
from bench.figures import Figure, of_pairs, of_values
from kaitoctl.kaito import api
from kaitoctl.kaito.desired import Settings
from kaitoctl.kube.objects import DEPLOYMENT, POD, SERVICE, Kind
from kaitoctl.workspace_controller.decisions import children_of

MANY = 10_000
SINCE = "2026-01-01T00:00:00Z"
KINDS = (api.WORKSPACE_V1BETA1, DEPLOYMENT, SERVICE, POD)
_NAME = "ws-NUMBER"


def _conditions(*types: str) -> list[dict[str, Any]]:
    words = {"status": "True", "reason": "Succeeded", "message": "as it should be", "observedGeneration": 1}
    return [{"type": kind, "lastTransitionTime": SINCE, **words} for kind in types]


def _served(kind: Kind, obj: dict[str, Any]) -> dict[str, Any]:
    """As an API server has it: with a uid, a version, and who owns which field."""
    fields: dict[str, Any] = {f"f:field-{number}": {".": {}, "f:inner": {}} for number in range(40)}
    metadata = {**obj["metadata"], "name": obj["metadata"].get("name", _NAME), "namespace": "default"}
    metadata |= {"uid": f"{kind.plural}-NUMBER", "resourceVersion": "1NUMBER", "creationTimestamp": SINCE}
    metadata |= {"generation": 1, "managedFields": [{"manager": "kaitoctl-controller", "fieldsV1": fields}]}
    return {**obj, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}


def templates() -> dict[Kind, str]:
    """The objects of one Workspace that serves, as JSON with NUMBER for its number."""
    workspace = json.loads(json.dumps(api_server.workspace(0)).replace("ws-00000", _NAME))
    kind = api.WORKSPACE_V1BETA1
    workspace = _served(kind, workspace)
    four = (api.NODES_READY, api.RESOURCE_READY, api.INFERENCE_READY, api.WORKSPACE_SUCCEEDED)
    workspace["status"] = {"conditions": _conditions(*four), "workerNodes": ["gpu-NUMBER"]}
    made = {child.kind: child.manifest for child in children_of(workspace, gpus=2, settings=Settings())}
    counts = dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas", "availableReplicas"), 1)
    deployment = _served(DEPLOYMENT, made[DEPLOYMENT])
    deployment["metadata"]["annotations"] = {"kaitoctl.dev/owner-generation": "1"}
    deployment["status"] = {"observedGeneration": 1, **counts, "conditions": _conditions("Available")}
    template = made[DEPLOYMENT]["spec"]["template"]
    pod = _served(POD, {"metadata": {**template["metadata"], "name": f"{_NAME}-6d5b7c9f8-x2x4z"}})
    pod["metadata"]["labels"] = {**pod["metadata"].get("labels", {}), api.LABEL_WORKSPACE: _NAME}
    pod["spec"] = {**template["spec"], "nodeName": "gpu-NUMBER"}
    running = {"ready": True, "started": True, "restartCount": 0, "state": {"running": {"startedAt": SINCE}}}
    statuses = [{**running, "name": one["name"], "image": one["image"]} for one in pod["spec"]["containers"]]
    ready = _conditions("PodScheduled", "Initialized", "ContainersReady", "Ready")
    pod["status"] = {
        "phase": "Running",
        "podIP": "10.0.0.1",
        "conditions": ready,
        "containerStatuses": statuses,
    }
    found = {kind: workspace, DEPLOYMENT: deployment, SERVICE: _served(SERVICE, made[SERVICE]), POD: pod}
    return {kind: json.dumps(obj, separators=(",", ":")) for kind, obj in found.items()}


def _answers(count: int) -> Iterator[tuple[str, list[bytes]]]:
    for kind, text in templates().items():
        yield (
            kind.path(),
            [text.replace("NUMBER", f"{number:05}").encode() for number in range(count)],
        )
    node = json.dumps(
        {
            "metadata": {"name": "gpu-NUMBER", "uid": "nNUMBER", "resourceVersion": "1"},
            "status": {"conditions": _conditions("Ready")},
        }
    )
    yield "/api/v1/nodes", [node.replace("NUMBER", f"{number:05}").encode() for number in range(count)]


def serve(count: int, port: Any) -> None:
    objects = dict(_answers(count))
    group, plain = api.WORKSPACE_V1BETA1.group, {"namespaced": True, "verbs": ["list"]}
    versions: dict[str, list[dict[str, Any]]] = {}
    for kind in KINDS:
        where = f"/apis/{kind.api_version}" if kind.group else "/api/v1"
        named = {"name": kind.plural, "singularName": kind.kind.lower(), "kind": kind.kind, **plain}
        versions.setdefault(where, []).append(named)
    groups = [
        {"name": name, "versions": [v], "preferredVersion": v}
        for name, version in ((group, "v1beta1"), ("apps", "v1"))
        for v in ({"groupVersion": f"{name}/{version}", "version": version},)
    ]
    fixed: dict[str, Any] = {
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups},
        f"/apis/{group}": {"kind": "APIGroup", "apiVersion": "v1", **groups[0]},
    } | {
        where: {
            "kind": "APIResourceList",
            "groupVersion": where.partition("s/")[2] or "v1",
            "resources": there,
        }
        for where, there in versions.items()
    }

    def answer(target: str) -> tuple[int, bytes]:
        parts = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        status, body = 200, b""
        if parts.path in fixed:
            body = json.dumps(fixed[parts.path]).encode()
        elif parts.path in objects:
            body = page(objects[parts.path], query)
        else:
            status, body = 404, json.dumps(nodes.NOT_FOUND).encode()
        return status, body

    nodes.listen(answer, port)


def page(items: list[bytes], query: dict[str, str]) -> bytes:
    start, limit = int(query.get("continue") or 0), int(query.get("limit") or len(items) or 1)
    more = str(start + limit) if start + limit < len(items) else ""
    head = {"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "9", "continue": more}}
    return json.dumps(head)[:-1].encode() + b',"items":[' + b",".join(items[start : start + limit]) + b"]}"


def figures(rounds: int = 3, count: int = MANY) -> list[Figure]:
    ours, port = multiprocessing.Pipe(duplex=False)
    server = multiprocessing.Process(target=serve, args=(count, port), daemon=True)
    server.start()
    address = f"http://127.0.0.1:{ours.recv()}"
    env = {name: value for name, value in os.environ.items() if not name.startswith("KAITOCTL")}
    kinds = ",".join(kind.plural for kind in KINDS)
    sides = {
        "status -A": [str(nodes.BIN / "kaitoctl"), "status", "-A"],
        f"kubectl get {kinds} -A": [str(nodes.BIN / "kubectl"), "get", kinds, "-A"],
    }
    taken: dict[str, list[nodes.Taken]] = {name: [] for name in sides}
    with tempfile.TemporaryDirectory() as name:
        env |= {"HOME": name, "KUBECONFIG": nodes.kubeconfig(Path(name), "config", address)}
        for _ in range(rounds):
            for side, command in sides.items():
                taken[side].append(nodes.measured(command, env))
    server.terminate()
    mine, theirs = taken.values()
    what = f"status -A, {count} Workspaces that serve"

    def beside(words: str, field: str) -> Figure:
        pairs = [(getattr(a, field), getattr(b, field)) for a, b in zip(mine, theirs, strict=True)]
        return of_pairs("lists", f"{what}{words}", pairs, f"kubectl get {kinds} -A", "<= 1.0", unit="s")

    return [
        beside("", "seconds"),
        beside(": processor time", "cpu_s"),
        of_values("lists", f"{what}: memory", [run.mib for run in mine], unit="MiB", aim="<= 80"),
        of_values("lists", f"{what}: kubectl's memory", [run.mib for run in theirs], unit="MiB"),
    ]
