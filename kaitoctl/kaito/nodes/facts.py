"""A node's and a pod's own words, in shapes that can be relied on whatever the objects look like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from kaitoctl.kaito import api, catalog
from kaitoctl.kaito.nodes.answer import Gpus
from kaitoctl.kube.objects import Object, quantity

_MOST_GPUS = 10_000
# Source of the nvidia.com labels: NVIDIA k8s-device-plugin, docs/gpu-feature-discovery (memory in MiB).
LABEL_PRODUCT = "nvidia.com/gpu.product"
LABEL_MEMORY = "nvidia.com/gpu.memory"
LABEL_COUNT = "nvidia.com/gpu.count"
LABEL_PRESENT = "nvidia.com/gpu.present"
LABELS_OWNER = ("karpenter.kaito.sh/workspace-namespace", "karpenter.kaito.sh/workspace-name")
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
)
"""The node labels that a verdict reads besides those of the Workspace's selector."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What counts of a node, in shapes that can be relied on whatever the node looked like."""

    name: str
    labels: Mapping[str, str]
    is_being_deleted: bool
    is_cordoned: bool
    taints: tuple[Object, ...]
    conditions: Mapping[str, tuple[str, str]]
    capacity: Mapping[str, Any]
    allocatable: Mapping[str, Any]

    @property
    def is_ready(self) -> bool:
        """Whether the kubelet says that it can run pods."""
        return self.conditions.get("Ready", ("", ""))[0] == "True"


def facts_of(node: Object) -> NodeFacts:
    """What counts of a node."""
    status = mapping(below(node, "status"))
    spec = mapping(below(node, "spec"))
    taints = tuple(item for item in items(spec.get("taints")) if isinstance(item, dict))
    closed = any(taint.get("key") == "node.kubernetes.io/unschedulable" for taint in taints)
    return NodeFacts(
        name_of(node),
        texts(below(node, "metadata", "labels")),
        bool(below(node, "metadata", "deletionTimestamp")),
        spec.get("unschedulable") is True or closed,
        taints,
        {
            str(item.get("type")): (
                str(item.get("status")),
                str(item.get("message") or item.get("reason") or ""),
            )
            for item in items(status.get("conditions"))
            if isinstance(item, dict)
        },
        mapping(status.get("capacity")),
        mapping(status.get("allocatable")),
    )


def trimmed(node: Object) -> Object:
    """A node with nothing but its identity and what a verdict reads of it; heartbeats do not change it."""
    metadata, spec, status = node["metadata"], mapping(node.get("spec")), mapping(node.get("status"))
    return {
        "metadata": _only(
            metadata, "name", "namespace", "uid", "resourceVersion", "labels", "deletionTimestamp"
        ),
        "spec": _only(spec, "taints", "unschedulable"),
        "status": {
            **_only(status, "capacity", "allocatable"),
            "conditions": [
                _only(item, "type", "status", "reason", "message")
                for item in items(status.get("conditions"))
                if isinstance(item, dict)
            ],
        },
    }


def _only(obj: Mapping[str, Any], *names: str) -> Object:
    return {name: obj[name] for name in names if name in obj}


def gpus_of(node: NodeFacts, in_use: int | None) -> Gpus:
    """The GPUs of a node; what its labels do not tell is the catalogue's figure for its instance type."""
    labels = node.labels
    known = catalog.instance_type(labels.get(api.LABEL_INSTANCE_TYPE, ""))
    memory_mib = whole_number(labels.get(LABEL_MEMORY), most=10**9)
    memory_gib = round(memory_mib / 1024, 1) if memory_mib else None
    product = labels.get(LABEL_PRODUCT, "")
    allocatable = whole_number(node.allocatable.get(api.GPU)) or 0
    if known and known.gpu_resource == api.GPU and allocatable:
        memory_gib = memory_gib or known.gpu_memory_per_gpu_gib
        product = product or known.gpu_model
    return Gpus(
        resource=api.GPU if allocatable else "",
        capacity=whole_number(node.capacity.get(api.GPU)) or 0,
        allocatable=allocatable,
        in_use=in_use,
        product=product,
        memory_gib=memory_gib,
    )


def name_of(node: Any) -> str:
    """The name, empty for what has none."""
    name = below(node, "metadata", "name")
    return name if isinstance(name, str) else ""


def whole_number(amount: object, *, most: int = _MOST_GPUS) -> int | None:
    """A whole, sensible number of things; None when it is none."""
    if amount is None:
        return 0
    if isinstance(amount, str) and len(amount) < 5 and amount.isascii() and amount.isdigit():
        return int(amount)
    try:
        number = quantity(str(amount)[:40])
    except (ValueError, ArithmeticError):
        return None
    # Looked at before it becomes an int: 1e99999999 has that many digits.
    if not number.is_finite() or not Decimal(0) <= number <= most or number != number.to_integral_value():
        return None
    return int(number)


def below(obj: Any, *path: str) -> Any:
    """As `objects.dig`, for plain dicts only: ten thousand nodes make this the busiest function."""
    for key in path:
        if not isinstance(obj, dict):
            return None
        obj = obj.get(key)
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
