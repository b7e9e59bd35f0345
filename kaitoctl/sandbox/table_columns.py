"""The columns that kubectl shows of the built-in kinds. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from msgspec import Struct

from kaitoctl.kube import pod_state
from kaitoctl.kube.conditions import parse_timestamp
from kaitoctl.kube.objects import Object, dig


class Column(Struct, frozen=True):
    """A column: its name, how a cell is read at a time, its type, priority and format."""

    name: str
    read: Callable[[Object, datetime], Any]
    kind: str = "string"
    priority: int = 0  # above 0: with `-o wide` only
    form: str = ""


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


AGE = Column("Age", lambda obj, now: age(dig(obj, "metadata", "creationTimestamp"), now))


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
    return pod_state.summary(obj)


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
    return _shorten(found)


def _slice_endpoints(obj: Object, _: datetime) -> str:
    return _shorten(
        [address for item in obj.get("endpoints") or () for address in item.get("addresses") or ()]
    )


def _shorten(found: list[str]) -> str:
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


def _nominated_node(obj: Object, _: datetime) -> str:
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


def _is_established(obj: Object, _: datetime) -> bool:
    found = dig(obj, "status", "conditions") or ()
    return any(item["type"] == "Established" and item["status"] == "True" for item in found)


NAME = Column("Name", lambda obj, _: obj["metadata"]["name"], form="name")
CREATED = Column("Created At", lambda obj, _: obj["metadata"].get("creationTimestamp"), "date")
_CONTAINERS = (
    Column("Containers", _names("spec.template.spec.containers"), priority=1),
    Column("Images", _names("spec.template.spec.containers", "image"), priority=1),
)
_SELECTOR = Column("Selector", _pairs("spec.selector.matchLabels"), priority=1)
_BINDING = (
    Column("Role", lambda obj, _: f"{obj['roleRef']['kind']}/{obj['roleRef']['name']}"),
    AGE,
    Column("Users", _subjects("User"), priority=1),
    Column("Groups", _subjects("Group"), priority=1),
    Column("ServiceAccounts", _subjects("ServiceAccount"), priority=1),
)
_REPLICAS = (
    Column("Desired", _at("spec.replicas", 0), "integer"),
    Column("Current", _at("status.replicas", 0), "integer"),
    Column("Ready", _at("status.readyReplicas", 0), "integer"),
    AGE,
    *_CONTAINERS,
    _SELECTOR,
)
# The columns behind the name. Source: what a Kubernetes 1.37 API server answers; tests compare them with one.
BUILTIN: dict[str, tuple[Column, ...]] = {
    "pods": (
        Column("Ready", _pod_ready),
        Column("Status", _pod_status),
        Column("Restarts", _pod_restarts),
        AGE,
        Column("IP", _at("status.podIP"), priority=1),
        Column("Node", _at("spec.nodeName"), priority=1),
        Column("Nominated Node", _nominated_node, priority=1),
        Column("Readiness Gates", _gates, priority=1),
    ),
    "nodes": (
        Column("Status", _node_status),
        Column("Roles", _node_roles),
        AGE,
        Column("Version", _at("status.nodeInfo.kubeletVersion", "")),
        Column("Internal-IP", _node_address("InternalIP"), priority=1),
        Column("External-IP", _node_address("ExternalIP"), priority=1),
        Column("OS-Image", _at("status.nodeInfo.osImage", "<unknown>"), priority=1),
        Column("Kernel-Version", _at("status.nodeInfo.kernelVersion", "<unknown>"), priority=1),
        Column("Container-Runtime", _at("status.nodeInfo.containerRuntimeVersion", "<unknown>"), priority=1),
    ),
    "namespaces": (Column("Status", _at("status.phase")), AGE),
    "services": (
        Column("Type", _at("spec.type")),
        Column("Cluster-IP", _at("spec.clusterIP")),
        Column("External-IP", _external_ip),
        Column("Port(s)", _ports),
        AGE,
        Column("Selector", _pairs("spec.selector"), priority=1),
    ),
    "configmaps": (
        Column("Data", lambda obj, _: len(obj.get("data") or ()) + len(obj.get("binaryData") or ())),
        AGE,
    ),
    "secrets": (Column("Type", _at("type")), Column("Data", _count("data")), AGE),
    "serviceaccounts": (AGE,),
    "endpoints": (Column("Endpoints", _endpoints), AGE),
    "endpointslices.discovery.k8s.io": (
        Column("AddressType", _at("addressType")),
        Column("Ports", _names("ports", "port", "<unset>")),
        Column("Endpoints", _slice_endpoints),
        AGE,
    ),
    "persistentvolumeclaims": (
        Column("Status", _at("status.phase", "")),
        Column("Volume", _at("spec.volumeName", "")),
        Column("Capacity", _at("status.capacity.storage", "")),
        Column("Access Modes", _modes("status.accessModes")),
        Column("StorageClass", _at("spec.storageClassName", "")),
        Column("VolumeAttributesClass", _at("spec.volumeAttributesClassName", "<unset>")),
        AGE,
        Column("VolumeMode", _at("spec.volumeMode", "<unset>"), priority=1),
    ),
    "persistentvolumes": (
        Column("Capacity", _at("spec.capacity.storage", "")),
        Column("Access Modes", _modes("spec.accessModes")),
        Column("Reclaim Policy", _at("spec.persistentVolumeReclaimPolicy", "")),
        Column("Status", _at("status.phase", "")),
        Column("Claim", _claim),
        Column("StorageClass", _at("spec.storageClassName", "")),
        Column("VolumeAttributesClass", _at("spec.volumeAttributesClassName", "<unset>")),
        Column("Reason", _at("status.reason", "")),
        AGE,
        Column("VolumeMode", _at("spec.volumeMode", "<unset>"), priority=1),
    ),
    "storageclasses.storage.k8s.io": (
        Column("Provisioner", _at("provisioner")),
        Column("ReclaimPolicy", _at("reclaimPolicy", "Delete")),
        Column("VolumeBindingMode", _at("volumeBindingMode", "Immediate")),
        Column("AllowVolumeExpansion", lambda obj, _: bool(obj.get("allowVolumeExpansion"))),
        AGE,
    ),
    "events": (
        Column("Last Seen", lambda obj, now: age(_last_seen(obj), now)),
        Column("Type", _at("type", "")),
        Column("Reason", _at("reason", "")),
        Column("Object", _event_object),
        Column("Subobject", _at("involvedObject.fieldPath", ""), priority=1),
        Column("Source", _source, priority=1),
        Column("Message", lambda obj, _: str(obj.get("message") or "").strip()),
        Column("First Seen", lambda obj, now: age(_first_seen(obj), now), priority=1),
        Column("Count", lambda obj, _: dig(obj, "series", "count") or obj.get("count") or 1, priority=1),
        Column("Name", lambda obj, _: obj["metadata"]["name"], priority=1, form="name"),
    ),
    "deployments.apps": (
        Column("Ready", _of("status.readyReplicas", "spec.replicas")),
        Column("Up-to-date", _at("status.updatedReplicas", 0)),
        Column("Available", _at("status.availableReplicas", 0)),
        AGE,
        *_CONTAINERS,
        _SELECTOR,
    ),
    "statefulsets.apps": (Column("Ready", _of("status.readyReplicas", "spec.replicas")), AGE, *_CONTAINERS),
    "replicasets.apps": _REPLICAS,
    "daemonsets.apps": (
        Column("Desired", _at("status.desiredNumberScheduled", 0), "integer"),
        Column("Current", _at("status.currentNumberScheduled", 0), "integer"),
        Column("Ready", _at("status.numberReady", 0), "integer"),
        Column("Up-to-date", _at("status.updatedNumberScheduled", 0), "integer"),
        Column("Available", _at("status.numberAvailable", 0), "integer"),
        Column("Node Selector", _pairs("spec.template.spec.nodeSelector")),
        AGE,
        *_CONTAINERS,
        _SELECTOR,
    ),
    "controllerrevisions.apps": (
        Column("Controller", _controller),
        Column("Revision", _at("revision", 0)),
        AGE,
    ),
    "jobs.batch": (
        Column("Status", _job_status),
        Column("Completions", _completions),
        Column("Duration", _duration),
        AGE,
        *_CONTAINERS,
        _SELECTOR,
    ),
    "poddisruptionbudgets.policy": (
        Column("Min Available", lambda obj, _: str(_at("spec.minAvailable", "N/A")(obj, _))),
        Column("Max Unavailable", lambda obj, _: str(_at("spec.maxUnavailable", "N/A")(obj, _))),
        Column("Allowed Disruptions", _at("status.disruptionsAllowed", 0), "integer"),
        AGE,
    ),
    "priorityclasses.scheduling.k8s.io": (
        Column("Value", _at("value", 0), "integer"),
        Column("Global-Default", lambda obj, _: bool(obj.get("globalDefault")), "boolean"),
        AGE,
        Column("PreemptionPolicy", _at("preemptionPolicy", "PreemptLowerPriority")),
    ),
    "leases.coordination.k8s.io": (Column("Holder", _at("spec.holderIdentity", "")), AGE),
    "roles.rbac.authorization.k8s.io": (CREATED,),
    "clusterroles.rbac.authorization.k8s.io": (CREATED,),
    "rolebindings.rbac.authorization.k8s.io": _BINDING,
    "clusterrolebindings.rbac.authorization.k8s.io": _BINDING,
    "customresourcedefinitions.apiextensions.k8s.io": (
        Column("Scope", _at("spec.scope")),
        Column("Versions", _names("spec.versions")),
        CREATED,
        Column("Group", _at("spec.group"), priority=1),
        Column("Kind", _at("spec.names.kind"), priority=1),
        Column(
            "ShortNames", lambda obj, _: ",".join(dig(obj, "spec", "names", "shortNames") or ()), priority=1
        ),
        Column("Established", _is_established, "boolean", priority=1),
    ),
}
