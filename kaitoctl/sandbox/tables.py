"""Lists as `Table`s: the columns that `kubectl get` prints. Pure.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kaitoctl.kube import pods
from kaitoctl.kube.conditions import parse_timestamp
from kaitoctl.kube.objects import Object, dig
from kaitoctl.sandbox.builtin import Resource


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    read: Callable[[Object, datetime], Any]
    kind: str = "string"
    priority: int = 0  # above 0: with `-o wide` only


def wanted(accept: str) -> bool:
    """Whether a client would rather have a Table."""
    return "as=Table" in accept


def table(
    resource: Resource, objects: list[Object], metadata: Object, *, now: datetime, headless: bool = False
) -> Object:
    """Objects of one resource as a Table.

    Args:
        resource: of what kind.
        objects: one per row.
        metadata: of the list.
        now: what ages are counted to.
        headless: leave the columns' definitions out, as in all but the first event of a watch.
    """
    columns = _columns(resource)
    heads = [
        {
            "name": column.name,
            "type": column.kind,
            "format": "name" if column.name == "Name" else "",
            "description": "",
            "priority": column.priority,
        }
        for column in columns
    ]
    rows = [
        {"cells": [column.read(obj, now) for column in columns], "object": _identity(obj)} for obj in objects
    ]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [] if headless else heads,
        "rows": rows,
    }


def _identity(obj: Object) -> Object:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def _columns(resource: Resource) -> list[_Column]:
    name = _Column("Name", lambda obj, _: obj["metadata"]["name"])
    if resource.is_custom and resource.columns:
        return [name, *(_custom(column) for column in resource.columns)]
    return [name, *_BUILTIN.get(resource.name, ()), _AGE]


# Up to (a bound, in seconds), print this unit, and this smaller one behind it.
# Source: k8s.io/apimachinery `util/duration.HumanDuration`.
_AGES = (
    (120, 1, "s", 0, ""),
    (600, 60, "m", 1, "s"),
    (3 * 3600, 60, "m", 0, ""),
    (8 * 3600, 3600, "h", 60, "m"),
    (48 * 3600, 3600, "h", 0, ""),
    (8 * 86400, 86400, "d", 3600, "h"),
    (2 * 365 * 86400, 86400, "d", 0, ""),
)


def age(since: str | None, now: datetime) -> str:
    """How long ago, as kubectl prints it: `5s`, `3m20s`, `4h`, `12d`."""
    if not since:
        return "<unknown>"
    seconds = max(0, int((now - parse_timestamp(since)).total_seconds()))
    for bound, unit, name, smaller, smaller_name in _AGES:
        if seconds < bound:
            rest = seconds % unit // smaller if smaller else 0
            return f"{seconds // unit}{name}" + (f"{rest}{smaller_name}" if rest else "")
    return f"{seconds // (365 * 86400)}y"


_AGE = _Column("Age", lambda obj, now: age(dig(obj, "metadata", "creationTimestamp"), now))


def _at(path: str, absent: Any = "<none>") -> Callable[[Object, datetime], Any]:
    steps = path.split(".")

    def read(obj: Object, _: datetime) -> Any:
        value = dig(obj, *steps)
        return absent if value is None or value == "" else value

    return read


def _of(done: str, total: str) -> Callable[[Object, datetime], Any]:
    """`1/3`."""
    some, all_ = _at(done, 0), _at(total, 0)
    return lambda obj, now: f"{some(obj, now)}/{all_(obj, now)}"


def _pod_ready(obj: Object, _: datetime) -> str:
    statuses = dig(obj, "status", "containerStatuses") or []
    return f"{sum(bool(item.get('ready')) for item in statuses)}/{len(obj['spec']['containers'])}"


def _pod_status(obj: Object, _: datetime) -> str:
    return pods.summary(obj)


def _pod_restarts(obj: Object, _: datetime) -> str:
    return str(sum(item.get("restartCount", 0) for item in dig(obj, "status", "containerStatuses") or ()))


def _node_status(obj: Object, _: datetime) -> str:
    conditions = {item["type"]: item["status"] for item in dig(obj, "status", "conditions") or ()}
    ready = {"True": "Ready", "False": "NotReady"}.get(conditions.get("Ready", ""), "Unknown")
    return f"{ready},SchedulingDisabled" if dig(obj, "spec", "unschedulable") else ready


def _node_roles(obj: Object, _: datetime) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = dig(obj, "metadata", "labels") or {}
    return ",".join(sorted(key.removeprefix(prefix) for key in labels if key.startswith(prefix))) or "<none>"


def _ports(obj: Object, _: datetime) -> str:
    def text(port: Object) -> str:
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        return f"{port['port']}{node}/{port.get('protocol', 'TCP')}"

    return ",".join(text(port) for port in dig(obj, "spec", "ports") or ()) or "<none>"


def _job_status(obj: Object, _: datetime) -> str:
    true = [item["type"] for item in dig(obj, "status", "conditions") or () if item["status"] == "True"]
    return next((kind for kind in ("Complete", "Failed", "Suspended") if kind in true), "Running")


def _event_object(obj: Object, _: datetime) -> str:
    involved = obj.get("involvedObject") or {}
    return f"{str(involved.get('kind', '')).lower()}/{involved.get('name', '')}"


def _count(path: str) -> Callable[[Object, datetime], int]:
    return lambda obj, _: len(dig(obj, *path.split(".")) or ())


_REPLICAS = (
    _Column("Desired", _at("spec.replicas", 0), "integer"),
    _Column("Current", _at("status.replicas", 0), "integer"),
    _Column("Ready", _at("status.readyReplicas", 0), "integer"),
)
_BUILTIN: dict[str, tuple[_Column, ...]] = {
    "pods": (
        _Column("Ready", _pod_ready),
        _Column("Status", _pod_status),
        _Column("Restarts", _pod_restarts),
        _Column("IP", _at("status.podIP"), priority=1),
        _Column("Node", _at("spec.nodeName"), priority=1),
    ),
    "nodes": (
        _Column("Status", _node_status),
        _Column("Roles", _node_roles),
        _Column("Version", _at("status.nodeInfo.kubeletVersion")),
    ),
    "namespaces": (_Column("Status", _at("status.phase")),),
    "services": (
        _Column("Type", _at("spec.type")),
        _Column("Cluster-IP", _at("spec.clusterIP")),
        _Column("External-IP", lambda obj, _: ",".join(dig(obj, "spec", "externalIPs") or ()) or "<none>"),
        _Column("Port(s)", _ports),
    ),
    "configmaps": (_Column("Data", _count("data"), "integer"),),
    "secrets": (_Column("Type", _at("type")), _Column("Data", _count("data"), "integer")),
    "events": (
        _Column("Type", _at("type")),
        _Column("Reason", _at("reason")),
        _Column("Object", _event_object),
        _Column("Message", _at("message")),
    ),
    "deployments.apps": (
        _Column("Ready", _of("status.readyReplicas", "spec.replicas")),
        _Column("Up-to-date", _at("status.updatedReplicas", 0), "integer"),
        _Column("Available", _at("status.availableReplicas", 0), "integer"),
    ),
    "statefulsets.apps": (_Column("Ready", _of("status.readyReplicas", "spec.replicas")),),
    "replicasets.apps": _REPLICAS,
    "controllerrevisions.apps": (_Column("Revision", _at("revision", 0), "integer"),),
    "jobs.batch": (
        _Column("Status", _job_status),
        _Column("Completions", _of("status.succeeded", "spec.completions")),
    ),
    "leases.coordination.k8s.io": (_Column("Holder", _at("spec.holderIdentity")),),
    "customresourcedefinitions.apiextensions.k8s.io": (
        _Column("Created At", _at("metadata.creationTimestamp")),
    ),
}


def _custom(column: Object) -> _Column:
    path = column.get("jsonPath") or ""
    kind = column.get("type") or "string"

    def read(obj: Object, now: datetime) -> Any:
        found = next(iter(values_at(obj, path)), None)
        if found is None:
            return ""
        return age(str(found), now) if kind == "date" else found if kind != "string" else _plain(found)

    return _Column(column["name"], read, kind, int(column.get("priority") or 0))


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


_STEP = re.compile(
    r"""\.(?P<name>(?:[\w-]|\\\.)+)
      | \['(?P<quoted>[^']+)'\]
      | \[(?P<index>\d+|\*)\]
      | \[\?\(@\.(?P<key>[\w.]+)\s*==\s*["'](?P<value>[^"']*)["']\)\]""",
    re.VERBOSE,
)


def values_at(obj: Any, path: str) -> Iterator[Any]:
    """What a JSON path of a printer column leads to: names, indexes, `[*]` and `[?(@.type=="x")]`."""
    if not path:
        yield obj
        return
    step = _STEP.match(path)
    if step is None:
        return
    rest = path[step.end() :]
    name = step["quoted"] or (step["name"] or "").replace("\\.", ".")
    if name:
        found = [obj[name]] if isinstance(obj, dict) and name in obj else []
    elif not isinstance(obj, list):
        found = []
    elif step["key"]:
        found = [item for item in obj if str(dig(item, *step["key"].split("."))) == step["value"]]
    else:
        found = obj if step["index"] == "*" else obj[int(step["index"]) :][:1]
    for value in found:
        yield from values_at(value, rest)
