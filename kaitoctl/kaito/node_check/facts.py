"""A node's and a pod's own words, in shapes that can be relied on whatever the objects look like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from kaitoctl.kaito import api
from kaitoctl.kaito.catalog import Catalog, InstanceType
from kaitoctl.kaito.node_check import cordons, sharing
from kaitoctl.kaito.node_check.answer import Gpus
from kaitoctl.kube.objects import Object, only, whole_number

# Source of the nvidia.com labels: NVIDIA k8s-device-plugin, docs/gpu-feature-discovery (memory in MiB).
LABEL_PRODUCT = "nvidia.com/gpu.product"
LABEL_MEMORY = "nvidia.com/gpu.memory"
LABEL_COUNT = "nvidia.com/gpu.count"
LABEL_PRESENT = "nvidia.com/gpu.present"
LABELS_OWNER = (api.LABEL_POOL_NAMESPACE, api.LABEL_POOL_WORKSPACE)
LABELS_OS = ("kubernetes.io/os", "beta.kubernetes.io/os")
LABELS_ARCH = ("kubernetes.io/arch", "beta.kubernetes.io/arch")
# That the GPUs are offered by dynamic resource allocation. Source: NVIDIA's DRA driver, installation;
# cluster-autoscaler `cloudprovider/gce/dynamicresources.go`; GKE, "prepare GPUs for DRA".
LABELS_DRA = (
    "nvidia.com/dra-kubelet-plugin",
    "cloud.google.com/gke-gpu-dra-driver",
    "cloud.google.com/gke-nvidia-gpu-dra-driver",
)
# What the GPUs can compute: by feature discovery, by the name that KAITO looks for, or by their generation.
# Source: NVIDIA k8s-device-plugin, docs/gpu-feature-discovery; KAITO v0.12.0 `pkg/utils/consts/consts.go`.
LABELS_CAPABILITY = tuple(
    (f"nvidia.com/{of}.compute.major", f"nvidia.com/{of}.compute.minor") for of in ("gpu", "cuda")
)
LABEL_FAMILY = "nvidia.com/gpu.family"
_FAMILIES: Mapping[str, tuple[int, int]] = {
    "kepler": (3, 0), "maxwell": (5, 0), "pascal": (6, 0), "volta": (7, 0), "turing": (7, 5),
}  # fmt: skip
# Where GPU operator keeps a node's GPUs for virtual machines, or stays away from the node.
# Source: NVIDIA/gpu-operator `controllers/state_manager.go`.
LABEL_WORKLOAD = "nvidia.com/gpu.workload.config"
LABEL_OPERANDS = "nvidia.com/gpu.deploy.operands"
LABEL_PCI = "feature.node.kubernetes.io/pci-10de.present"  # 10de is NVIDIA's PCI vendor id

READ_LABELS = (
    api.LABEL_INSTANCE_TYPE,
    api.LABEL_NODE_POOL,
    api.LABEL_MACHINE_TYPE,
    api.LABEL_WORKSPACE,
    api.LABEL_WORKSPACE_NAMESPACE,
    *LABELS_OWNER,
    LABEL_PRODUCT,
    LABEL_MEMORY,
    LABEL_COUNT,
    LABEL_PRESENT,
    LABEL_PCI,
    *api.LABELS_OF_OTHERS,
    *LABELS_OS,
    *LABELS_ARCH,
    *cordons.LABELS,
    *LABELS_DRA,
    *(label for pair in LABELS_CAPABILITY for label in pair),
    LABEL_FAMILY,
    LABEL_WORKLOAD,
    LABEL_OPERANDS,
    *sharing.LABELS,
)
"""The node labels that a verdict reads besides those of the Workspace's selector."""


class NodeFacts(Struct, frozen=True):
    """What counts of a node, in shapes that can be relied on whatever the node looked like.

    Args:
        name: its name.
        labels: those with a text as value.
        is_being_deleted: whether its deletion has been asked for.
        is_cordoned: whether it is closed for new pods.
        taints: as in its spec; a key that is no text is empty.
        conditions: status and message (or reason) by type.
        capacity: amounts by resource.
        allocatable: what of them pods may ask for.
        platform: all that is said of its operating system and CPU: `("linux", "amd64")` and nothing else
            where labels and kubelet agree.
        ready_since: when its condition Ready last changed, empty when that is not known.
        cordoned_by: the controller that says on the node that it is at work there, empty when none does.
        shape: its instance type in the catalog; None for one that is not there.
    """

    name: str
    labels: Mapping[str, str]
    is_being_deleted: bool
    is_cordoned: bool
    taints: tuple[Object, ...]
    conditions: Mapping[str, tuple[str, str]]
    capacity: Mapping[str, Any]
    allocatable: Mapping[str, Any]
    platform: tuple[str, ...] = ()
    ready_since: str = ""
    cordoned_by: str = ""
    shape: InstanceType | None = None

    @property
    def is_ready(self) -> bool:
        """Whether the kubelet says that it can run pods."""
        return self.conditions.get("Ready", ("", ""))[0] == "True"


def facts_of(node: Object, known: Catalog) -> NodeFacts:
    """What counts of a node."""
    status = mapping(below(node, "status"))
    spec = mapping(below(node, "spec"))
    taints = tuple(
        item if isinstance(item.get("key"), str) else {**item, "key": ""}
        for item in items(spec.get("taints"))
        if isinstance(item, dict)
    )
    closed = any(taint.get("key") == "node.kubernetes.io/unschedulable" for taint in taints)
    labels = texts(below(node, "metadata", "labels"))
    conditions: dict[str, tuple[str, str]] = {}
    ready_since = ""
    for item in items(status.get("conditions")):
        if isinstance(item, dict):
            kind, words = str(item.get("type")), str(item.get("message") or item.get("reason") or "")
            conditions[kind] = (str(item.get("status")), words)
            if kind == "Ready":
                ready_since = str(item.get("lastTransitionTime") or "")
    return NodeFacts(
        name_of(node),
        labels,
        bool(below(node, "metadata", "deletionTimestamp")),
        spec.get("unschedulable") is True or closed,
        taints,
        conditions,
        mapping(status.get("capacity")),
        mapping(status.get("allocatable")),
        _platform(labels, mapping(status.get("nodeInfo"))),
        ready_since,
        cordons.cordoned_by(labels, texts(below(node, "metadata", "annotations"))),
        known.machine(labels.get(api.LABEL_INSTANCE_TYPE, "")),
    )


def _platform(labels: Mapping[str, str], info: Mapping[str, Any]) -> tuple[str, ...]:
    systems = (*(labels.get(key) for key in LABELS_OS), info.get("operatingSystem"))
    cpus = (*(labels.get(key) for key in LABELS_ARCH), info.get("architecture"))
    return tuple(dict.fromkeys(word for word in (*systems, *cpus) if isinstance(word, str) and word))


def trimmed(node: Object) -> Object:
    """A node with nothing but its identity and what a verdict reads of it; heartbeats do not change it."""
    metadata, spec, status = node["metadata"], mapping(node.get("spec")), mapping(node.get("status"))
    return {
        "metadata": only(
            metadata, "name", "namespace", "uid", "resourceVersion", "labels", "deletionTimestamp"
        ),
        "spec": only(spec, "taints", "unschedulable"),
        "status": {
            **only(status, "capacity", "allocatable"),
            "nodeInfo": only(mapping(status.get("nodeInfo")), "operatingSystem", "architecture"),
            "conditions": [
                only(item, "type", "status", "reason", "message", "lastTransitionTime")
                for item in items(status.get("conditions"))
                if isinstance(item, dict)
            ],
        },
    }


def gpus_of(node: NodeFacts, in_use: int | None) -> Gpus:
    """The GPUs of a node; what its labels do not tell is the catalogue's figure for its instance type."""
    labels = node.labels
    known = node.shape
    memory_mib = whole_number(labels.get(LABEL_MEMORY), most=10**9)
    memory_gib = round(memory_mib / 1024, 1) if memory_mib else None
    product = labels.get(LABEL_PRODUCT, "")
    capacity = whole_number(node.capacity.get(api.GPU)) or 0
    allocatable = whole_number(node.allocatable.get(api.GPU)) or 0
    is_known = known is not None and known.gpu_resource == api.GPU and allocatable
    shared = sharing.sharing_of(
        labels,
        devices=max(capacity, allocatable),
        gpus_labelled=whole_number(labels.get(LABEL_COUNT)) or 0,
        gpus_of_type=known.gpus if known and is_known else 0,
        product=product,
    )
    if known and is_known:
        if shared is None or shared.strategy != "mig":
            memory_gib = memory_gib or known.gpu_memory_per_gpu_gib
        product = product or known.gpu_model
    return Gpus(
        resource=api.GPU if allocatable else "",
        capacity=capacity,
        allocatable=allocatable,
        in_use=in_use,
        product=product,
        memory_gib=shared.memory_gib(memory_gib) if shared else memory_gib,
        sharing=shared,
    )


def slices_of(node: NodeFacts, resource: str, in_use: int | None) -> Gpus:
    """The MIG slices of one kind that a node offers beside its GPUs (strategy `mixed`), as `gpus_of`."""
    allocatable = whole_number(node.allocatable.get(resource)) or 0
    gib = sharing.profile_gib(resource)
    return Gpus(
        resource=resource if allocatable else "",
        capacity=whole_number(node.capacity.get(resource)) or 0,
        allocatable=allocatable,
        in_use=in_use,
        product=node.labels.get(LABEL_PRODUCT, ""),
        memory_gib=gib,
    )


def capability_of(node: NodeFacts) -> tuple[int, int] | None:
    """The compute capability of a node's GPUs, `(8, 0)`; None when it is not known."""
    for major, minor in LABELS_CAPABILITY:
        if number := whole_number(node.labels.get(major)):
            return number, whole_number(node.labels.get(minor)) or 0
    known = node.shape.cuda_capability.partition(".") if node.shape else ("", "", "")
    if number := whole_number(known[0]):
        return number, whole_number(known[2]) or 0
    return _FAMILIES.get(node.labels.get(LABEL_FAMILY, "").lower())


def name_of(node: Any) -> str:
    """The name, empty for what has none."""
    name = below(node, "metadata", "name")
    return name if isinstance(name, str) else ""


def below(obj: Any, *path: str) -> Any:
    """As `objects.dig`, for plain dicts only: ten thousand nodes make this the busiest function."""
    try:
        for key in path:
            obj = obj.get(key)
    except AttributeError:  # something on the way is no map
        return None
    return obj


def mapping(value: Any) -> dict[str, Any]:
    """The value if it is a map, else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def texts(value: Any) -> dict[str, str]:
    """The entries of a map whose values are texts."""
    return {
        key: text for key, text in mapping(value).items() if isinstance(key, str) and isinstance(text, str)
    }
