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
    form: str = ""


def wanted(accept: str) -> bool:
    """Whether a client would rather have a Table."""
    return "as=Table" in accept


def table(
    resource: Resource,
    objects: list[Object],
    metadata: Object,
    *,
    now: datetime,
    headless: bool = False,
    include: str = "",
) -> Object:
    """Objects of one resource as a Table.

    Args:
        resource: of what kind.
        objects: one per row.
        metadata: of the list.
        now: what ages are counted to.
        headless: leave the columns' definitions out, as in all but the first event of a watch.
        include: what comes with each row: `Object`, `None`, or its `Metadata`, as when it is empty.
    """
    columns = _columns(resource)
    heads = [
        {
            "name": column.name,
            "type": column.kind,
            "format": column.form,
            "description": "",
            "priority": column.priority,
        }
        for column in columns
    ]
    rows = []
    for obj in objects:
        row: Object = {"cells": [column.read(obj, now) for column in columns]}
        if include != "None":
            row["object"] = obj if include == "Object" else _identity(obj)
        rows.append(row)
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
    if resource.is_custom:
        columns = resource.columns or (_AGE_OF_CUSTOM,)
        return [_NAME, *(_custom(column) for column in columns)]
    columns_of_kind = _BUILTIN[resource.name]
    return [*columns_of_kind] if resource.name == "events" else [_NAME, *columns_of_kind]


_AGE_OF_CUSTOM: Object = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}


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
    (8 * 365 * 86400, 365 * 86400, "y", 86400, "d"),
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


def _pod_restarts(obj: Object, now: datetime) -> str:
    statuses = dig(obj, "status", "containerStatuses") or ()
    restarts = sum(item.get("restartCount", 0) for item in statuses)
    ended = [dig(item, "lastState", "terminated", "finishedAt") for item in statuses]
    last = max(filter(None, ended), default=None)
    return f"{restarts} ({age(last, now)} ago)" if restarts and last else str(restarts)


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


def _last_seen(obj: Object) -> str | None:
    return dig(obj, "series", "lastObservedTime") or obj.get("lastTimestamp") or _first_seen(obj)


def _first_seen(obj: Object) -> str | None:
    return obj.get("firstTimestamp") or obj.get("eventTime")


def _count(path: str) -> Callable[[Object, datetime], int]:
    return lambda obj, _: len(dig(obj, *path.split(".")) or ())


def _names(path: str, name: str = "name", absent: str = "<none>") -> Callable[[Object, datetime], str]:
    """One field of all entries of a list, with commas."""
    steps = path.split(".")
    return lambda obj, _: ",".join(str(item.get(name, "")) for item in dig(obj, *steps) or ()) or absent


def _pairs(path: str) -> Callable[[Object, datetime], str]:
    """A map of labels: `a=b,c=d`."""
    steps = path.split(".")
    return lambda obj, _: (
        ",".join(f"{key}={val}" for key, val in sorted((dig(obj, *steps) or {}).items())) or "<none>"
    )


def _external_ip(obj: Object, _: datetime) -> str:
    spec = obj["spec"]
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName"))
    found = [
        item.get("ip") or item.get("hostname") for item in dig(obj, "status", "loadBalancer", "ingress") or ()
    ]
    found += spec.get("externalIPs") or []
    return ",".join(map(str, found)) or ("<pending>" if spec.get("type") == "LoadBalancer" else "<none>")


def _completions(obj: Object, _: datetime) -> str:
    spec, done = obj["spec"], dig(obj, "status", "succeeded") or 0
    if spec.get("completions") is not None:
        return f"{done}/{spec['completions']}"
    parallelism = spec.get("parallelism") or 0
    return f"{done}/1 of {parallelism}" if parallelism > 1 else f"{done}/1"


def _duration(obj: Object, now: datetime) -> str:
    start, end = (dig(obj, "status", field) for field in ("startTime", "completionTime"))
    return age(start, parse_timestamp(end) if end else now) if start else ""


def _controller(obj: Object, _: datetime) -> str:
    owner: Object = next(
        (item for item in obj["metadata"].get("ownerReferences") or () if item.get("controller")), {}
    )
    if not owner:
        return "<none>"
    group = str(owner["apiVersion"]).rpartition("/")[0]
    return f"{str(owner['kind']).lower()}{'.' if group else ''}{group}/{owner['name']}"


def _endpoints(obj: Object, _: datetime) -> str:
    found = [
        f"{address['ip']}:{port['port']}"
        for subset in obj.get("subsets") or ()
        for port in subset.get("ports") or ({"port": ""},)
        for address in subset.get("addresses") or ()
    ]
    return _shortened(found)


def _slice_endpoints(obj: Object, _: datetime) -> str:
    return _shortened(
        [address for item in obj.get("endpoints") or () for address in item.get("addresses") or ()]
    )


def _shortened(found: list[str]) -> str:
    more = f" + {len(found) - 3} more..." if len(found) > 3 else ""
    return (",".join(found[:3]) + more) or "<none>"


_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def _modes(path: str) -> Callable[[Object, datetime], str]:
    steps = path.split(".")
    return lambda obj, _: ",".join(_MODES.get(mode, mode) for mode in dig(obj, *steps) or ())


def _claim(obj: Object, _: datetime) -> str:
    reference = dig(obj, "spec", "claimRef") or {}
    return f"{reference.get('namespace')}/{reference.get('name')}" if reference else ""


def _node_address(kind: str) -> Callable[[Object, datetime], str]:
    def read(obj: Object, _: datetime) -> str:
        found = dig(obj, "status", "addresses") or ()
        return next((str(item["address"]) for item in found if item["type"] == kind), "<none>")

    return read


def _nominated(obj: Object, _: datetime) -> str:
    return str(dig(obj, "status", "nominatedNodeName") or "<none>")


def _gates(obj: Object, _: datetime) -> str:
    gates = [item["conditionType"] for item in dig(obj, "spec", "readinessGates") or ()]
    true = {item["type"] for item in dig(obj, "status", "conditions") or () if item["status"] == "True"}
    return f"{sum(gate in true for gate in gates)}/{len(gates)}" if gates else "<none>"


def _subjects(kind: str) -> Callable[[Object, datetime], str]:
    def read(obj: Object, _: datetime) -> str:
        found = [item for item in obj.get("subjects") or () if item["kind"] == kind]
        return ",".join(
            f"{item.get('namespace')}/{item['name']}" if kind == "ServiceAccount" else item["name"]
            for item in found
        )

    return read


def _source(obj: Object, _: datetime) -> str:
    source = obj.get("source") or {}
    both = [source.get("component") or obj.get("reportingComponent"), source.get("host")]
    return ", ".join(filter(None, both))


def _established(obj: Object, _: datetime) -> bool:
    found = dig(obj, "status", "conditions") or ()
    return any(item["type"] == "Established" and item["status"] == "True" for item in found)


_NAME = _Column("Name", lambda obj, _: obj["metadata"]["name"], form="name")
_CREATED = _Column("Created At", lambda obj, _: obj["metadata"].get("creationTimestamp"), "date")
_CONTAINERS = (
    _Column("Containers", _names("spec.template.spec.containers"), priority=1),
    _Column("Images", _names("spec.template.spec.containers", "image"), priority=1),
)
_SELECTOR = _Column("Selector", _pairs("spec.selector.matchLabels"), priority=1)
_BINDING = (
    _Column("Role", lambda obj, _: f"{obj['roleRef']['kind']}/{obj['roleRef']['name']}"),
    _AGE,
    _Column("Users", _subjects("User"), priority=1),
    _Column("Groups", _subjects("Group"), priority=1),
    _Column("ServiceAccounts", _subjects("ServiceAccount"), priority=1),
)
_REPLICAS = (
    _Column("Desired", _at("spec.replicas", 0), "integer"),
    _Column("Current", _at("status.replicas", 0), "integer"),
    _Column("Ready", _at("status.readyReplicas", 0), "integer"),
    _AGE,
    *_CONTAINERS,
    _SELECTOR,
)
# The columns behind the name. Source: what a Kubernetes 1.37 API server answers; tests compare them with one.
_BUILTIN: dict[str, tuple[_Column, ...]] = {
    "pods": (
        _Column("Ready", _pod_ready),
        _Column("Status", _pod_status),
        _Column("Restarts", _pod_restarts),
        _AGE,
        _Column("IP", _at("status.podIP"), priority=1),
        _Column("Node", _at("spec.nodeName"), priority=1),
        _Column("Nominated Node", _nominated, priority=1),
        _Column("Readiness Gates", _gates, priority=1),
    ),
    "nodes": (
        _Column("Status", _node_status),
        _Column("Roles", _node_roles),
        _AGE,
        _Column("Version", _at("status.nodeInfo.kubeletVersion", "")),
        _Column("Internal-IP", _node_address("InternalIP"), priority=1),
        _Column("External-IP", _node_address("ExternalIP"), priority=1),
        _Column("OS-Image", _at("status.nodeInfo.osImage", "<unknown>"), priority=1),
        _Column("Kernel-Version", _at("status.nodeInfo.kernelVersion", "<unknown>"), priority=1),
        _Column("Container-Runtime", _at("status.nodeInfo.containerRuntimeVersion", "<unknown>"), priority=1),
    ),
    "namespaces": (_Column("Status", _at("status.phase")), _AGE),
    "services": (
        _Column("Type", _at("spec.type")),
        _Column("Cluster-IP", _at("spec.clusterIP")),
        _Column("External-IP", _external_ip),
        _Column("Port(s)", _ports),
        _AGE,
        _Column("Selector", _pairs("spec.selector"), priority=1),
    ),
    "configmaps": (
        _Column("Data", lambda obj, _: len(obj.get("data") or ()) + len(obj.get("binaryData") or ())),
        _AGE,
    ),
    "secrets": (_Column("Type", _at("type")), _Column("Data", _count("data")), _AGE),
    "serviceaccounts": (_AGE,),
    "endpoints": (_Column("Endpoints", _endpoints), _AGE),
    "endpointslices.discovery.k8s.io": (
        _Column("AddressType", _at("addressType")),
        _Column("Ports", _names("ports", "port", "<unset>")),
        _Column("Endpoints", _slice_endpoints),
        _AGE,
    ),
    "persistentvolumeclaims": (
        _Column("Status", _at("status.phase", "")),
        _Column("Volume", _at("spec.volumeName", "")),
        _Column("Capacity", _at("status.capacity.storage", "")),
        _Column("Access Modes", _modes("status.accessModes")),
        _Column("StorageClass", _at("spec.storageClassName", "")),
        _Column("VolumeAttributesClass", _at("spec.volumeAttributesClassName", "<unset>")),
        _AGE,
        _Column("VolumeMode", _at("spec.volumeMode", "<unset>"), priority=1),
    ),
    "persistentvolumes": (
        _Column("Capacity", _at("spec.capacity.storage", "")),
        _Column("Access Modes", _modes("spec.accessModes")),
        _Column("Reclaim Policy", _at("spec.persistentVolumeReclaimPolicy", "")),
        _Column("Status", _at("status.phase", "")),
        _Column("Claim", _claim),
        _Column("StorageClass", _at("spec.storageClassName", "")),
        _Column("VolumeAttributesClass", _at("spec.volumeAttributesClassName", "<unset>")),
        _Column("Reason", _at("status.reason", "")),
        _AGE,
        _Column("VolumeMode", _at("spec.volumeMode", "<unset>"), priority=1),
    ),
    "storageclasses.storage.k8s.io": (
        _Column("Provisioner", _at("provisioner")),
        _Column("ReclaimPolicy", _at("reclaimPolicy", "Delete")),
        _Column("VolumeBindingMode", _at("volumeBindingMode", "Immediate")),
        _Column("AllowVolumeExpansion", lambda obj, _: bool(obj.get("allowVolumeExpansion"))),
        _AGE,
    ),
    "events": (
        _Column("Last Seen", lambda obj, now: age(_last_seen(obj), now)),
        _Column("Type", _at("type", "")),
        _Column("Reason", _at("reason", "")),
        _Column("Object", _event_object),
        _Column("Subobject", _at("involvedObject.fieldPath", ""), priority=1),
        _Column("Source", _source, priority=1),
        _Column("Message", lambda obj, _: str(obj.get("message") or "").strip()),
        _Column("First Seen", lambda obj, now: age(_first_seen(obj), now), priority=1),
        _Column("Count", lambda obj, _: dig(obj, "series", "count") or obj.get("count") or 1, priority=1),
        _Column("Name", lambda obj, _: obj["metadata"]["name"], priority=1, form="name"),
    ),
    "deployments.apps": (
        _Column("Ready", _of("status.readyReplicas", "spec.replicas")),
        _Column("Up-to-date", _at("status.updatedReplicas", 0)),
        _Column("Available", _at("status.availableReplicas", 0)),
        _AGE,
        *_CONTAINERS,
        _SELECTOR,
    ),
    "statefulsets.apps": (_Column("Ready", _of("status.readyReplicas", "spec.replicas")), _AGE, *_CONTAINERS),
    "replicasets.apps": _REPLICAS,
    "daemonsets.apps": (
        _Column("Desired", _at("status.desiredNumberScheduled", 0), "integer"),
        _Column("Current", _at("status.currentNumberScheduled", 0), "integer"),
        _Column("Ready", _at("status.numberReady", 0), "integer"),
        _Column("Up-to-date", _at("status.updatedNumberScheduled", 0), "integer"),
        _Column("Available", _at("status.numberAvailable", 0), "integer"),
        _Column("Node Selector", _pairs("spec.template.spec.nodeSelector")),
        _AGE,
        *_CONTAINERS,
        _SELECTOR,
    ),
    "controllerrevisions.apps": (
        _Column("Controller", _controller),
        _Column("Revision", _at("revision", 0)),
        _AGE,
    ),
    "jobs.batch": (
        _Column("Status", _job_status),
        _Column("Completions", _completions),
        _Column("Duration", _duration),
        _AGE,
        *_CONTAINERS,
        _SELECTOR,
    ),
    "poddisruptionbudgets.policy": (
        _Column("Min Available", lambda obj, _: str(_at("spec.minAvailable", "N/A")(obj, _))),
        _Column("Max Unavailable", lambda obj, _: str(_at("spec.maxUnavailable", "N/A")(obj, _))),
        _Column("Allowed Disruptions", _at("status.disruptionsAllowed", 0), "integer"),
        _AGE,
    ),
    "priorityclasses.scheduling.k8s.io": (
        _Column("Value", _at("value", 0), "integer"),
        _Column("Global-Default", lambda obj, _: bool(obj.get("globalDefault")), "boolean"),
        _AGE,
        _Column("PreemptionPolicy", _at("preemptionPolicy", "PreemptLowerPriority")),
    ),
    "leases.coordination.k8s.io": (_Column("Holder", _at("spec.holderIdentity", "")), _AGE),
    "roles.rbac.authorization.k8s.io": (_CREATED,),
    "clusterroles.rbac.authorization.k8s.io": (_CREATED,),
    "rolebindings.rbac.authorization.k8s.io": _BINDING,
    "clusterrolebindings.rbac.authorization.k8s.io": _BINDING,
    "customresourcedefinitions.apiextensions.k8s.io": (
        _Column("Scope", _at("spec.scope")),
        _Column("Versions", _names("spec.versions")),
        _CREATED,
        _Column("Group", _at("spec.group"), priority=1),
        _Column("Kind", _at("spec.names.kind"), priority=1),
        _Column(
            "ShortNames", lambda obj, _: ",".join(dig(obj, "spec", "names", "shortNames") or ()), priority=1
        ),
        _Column("Established", _established, "boolean", priority=1),
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
