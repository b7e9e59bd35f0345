"""Nodes of the sandbox, as data: what a virtual machine of some shape looks like once it has joined.

Pure. `workloads.provisioner` builds its nodes here, and so does whoever puts nodes into a sandbox by hand
(through the API, as an ordinary client). Which instance types exist is the caller's knowledge.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct

from kaitoctl.kube.conditions import is_true
from kaitoctl.kube.objects import GPU_RESOURCES, Object, copy_of, dig, labels_of
from kaitoctl.sandbox import KUBERNETES

Damage = Literal["not-ready", "plugin-missing", "gpus-unhealthy", "cordoned"]
DAMAGES: tuple[Damage, ...] = ("not-ready", "plugin-missing", "gpus-unhealthy", "cordoned")

# Kubernetes' well-known labels: https://kubernetes.io/docs/reference/labels-annotations-taints/
LABEL_INSTANCE_TYPE = "node.kubernetes.io/instance-type"
LABEL_HOSTNAME = "kubernetes.io/hostname"
LABEL_ARCH = "kubernetes.io/arch"
LABEL_OS = "kubernetes.io/os"

_SYSTEM_CPU_MILLI = 100
_SYSTEM_MEMORY_MIB = 512
_MAX_PODS = 110  # the kubelet's default
_LONGEST_LABEL_VALUE = 63


_NODE_INFO = {
    "architecture": "amd64",
    "operatingSystem": "linux",
    "kubeletVersion": f"v{'.'.join(KUBERNETES)}.0",
    "kubeProxyVersion": "",
    "containerRuntimeVersion": "sandbox://1",
    "osImage": "kaitoctl sandbox (simulated)",
    "kernelVersion": "simulated",
    "machineID": "",
    "systemUUID": "",
    "bootID": "",
}


class InstanceShape(Struct, frozen=True):
    """What a machine of an instance type has.

    Args:
        cpu: virtual CPUs.
        memory_mib: main memory.
        gpus: number of GPUs.
        gpu_resource: the extended resource under which a device plugin offers them.
        gpu_product: the GPU's name as NVIDIA's feature discovery writes it, `NVIDIA-A100-80GB-PCIe`.
        gpu_memory_mib: memory of one GPU.
    """

    cpu: int = 8
    memory_mib: int = 32 * 1024
    gpus: int = 0
    gpu_resource: str = "nvidia.com/gpu"
    gpu_product: str = ""
    gpu_memory_mib: int = 0


def node(
    name: str,
    shape: InstanceShape,
    *,
    instance_type: str = "",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    taints: Iterable[Object] = (),
    provider_id: str = "",
    ready_since: str | None = None,
    device_plugin: bool = True,
) -> Object:
    """A Node that has joined the cluster and is Ready, with its status.

    Args:
        name: the node's name.
        shape: what the machine has.
        instance_type: value of the label `node.kubernetes.io/instance-type`; no label when empty.
        labels: added to the well-known ones, and stronger.
        annotations: the node's annotations.
        taints: `spec.taints`.
        provider_id: `spec.providerID`; derived from the name when empty.
        ready_since: timestamp of the Ready condition; left out when None.
        device_plugin: whether the GPUs are offered as a resource, with the feature-discovery labels.
    """
    well_known = {LABEL_ARCH: "amd64", LABEL_OS: "linux", LABEL_HOSTNAME: name[:_LONGEST_LABEL_VALUE]}
    if instance_type:
        well_known[LABEL_INSTANCE_TYPE] = instance_type
    spec: Object = {"providerID": provider_id or f"sandbox:///{name}"}
    if tainted := [dict(taint) for taint in taints]:
        spec["taints"] = tainted
    made: Object = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": well_known | dict(labels or {})},
        "spec": spec,
        "status": {
            "capacity": capacity(shape),
            "allocatable": allocatable(shape),
            "addresses": [
                {"type": "InternalIP", "address": _address(name)},
                {"type": "Hostname", "address": name},
            ],
            "conditions": _conditions(ready=True, since=ready_since),
            "nodeInfo": dict(_NODE_INFO),
        },
    }
    if annotations:
        made["metadata"]["annotations"] = dict(annotations)
    return with_device_plugin(made, shape) if device_plugin else made


def capacity(shape: InstanceShape) -> dict[str, str]:
    """`status.capacity` of a machine whose device plugin has not registered: no GPUs."""
    return {
        "cpu": str(shape.cpu),
        "memory": f"{shape.memory_mib}Mi",
        "ephemeral-storage": "128Gi",
        "pods": str(_MAX_PODS),
    }


def allocatable(shape: InstanceShape) -> dict[str, str]:
    """`status.allocatable` of such a machine: its capacity less what the system keeps."""
    return capacity(shape) | {
        "cpu": f"{max(shape.cpu * 1000 - _SYSTEM_CPU_MILLI, 0)}m",
        "memory": f"{max(shape.memory_mib - _SYSTEM_MEMORY_MIB, 0)}Mi",
    }


def gpu_resources(shape: InstanceShape) -> dict[str, str]:
    """What a device plugin adds to capacity and allocatable; empty without GPUs."""
    return {shape.gpu_resource: str(shape.gpus)} if shape.gpus else {}


def gpu_labels(shape: InstanceShape) -> dict[str, str]:
    """The labels of NVIDIA's GPU feature discovery; empty without GPUs, or for another maker's.

    Source: https://github.com/NVIDIA/k8s-device-plugin, docs/gpu-feature-discovery (memory is in MiB).
    """
    if not shape.gpus or not shape.gpu_resource.startswith("nvidia.com/"):
        return {}
    found = {
        "nvidia.com/gpu.present": "true",
        "nvidia.com/gpu.count": str(shape.gpus),
        "nvidia.com/gpu.product": shape.gpu_product,
        "nvidia.com/gpu.memory": str(shape.gpu_memory_mib) if shape.gpu_memory_mib else "",
    }
    return {label: value for label, value in found.items() if value}


def with_device_plugin(observed: Object, shape: InstanceShape) -> Object:
    """The node once the device plugin and feature discovery have spoken; labels already there stay."""
    changed = copy_of(observed)
    changed["metadata"]["labels"] = gpu_labels(shape) | labels_of(changed)
    for side in ("capacity", "allocatable"):
        changed["status"][side] = {**(changed["status"].get(side) or {}), **gpu_resources(shape)}
    return changed


def broken(observed: Object, how: Damage, *, since: str | None = None) -> Object:
    """The node with something wrong that really happens to GPU nodes.

    Args:
        observed: the healthy node; not changed.
        how: `not-ready` the kubelet reports trouble; `plugin-missing` no device plugin, so no GPUs in
            capacity or allocatable; `gpus-unhealthy` the plugin counts the GPUs and offers none;
            `cordoned` closed for new pods.
        since: timestamp of the Ready condition's change, for `not-ready`; left out when None.

    Raises:
        ValueError: an unknown kind of damage.
    """
    changed = copy_of(observed)
    status = changed.setdefault("status", {})
    if how == "not-ready":
        others = [item for item in status.get("conditions") or () if item.get("type") != "Ready"]
        status["conditions"] = [*others, *_conditions(ready=False, since=since)[-1:]]
    elif how in ("plugin-missing", "gpus-unhealthy"):
        sides = ("capacity", "allocatable") if how == "plugin-missing" else ("allocatable",)
        for side in sides:
            resources = status.get(side) or {}
            status[side] = {name: "0" if is_gpu(name) else value for name, value in resources.items()}
    elif how == "cordoned":
        changed.setdefault("spec", {})["unschedulable"] = True
    else:
        raise ValueError(f"unknown damage {how!r}; there are {', '.join(DAMAGES)}")
    return changed


def is_gpu(resource: str) -> bool:
    """Whether a resource's name means GPUs or slices of them: `nvidia.com/gpu`, `nvidia.com/mig-1g.5gb`."""
    return resource in GPU_RESOURCES or resource.startswith("nvidia.com/")


def is_ready(observed: Object) -> bool:
    """Whether the node's kubelet says that it can run pods."""
    return is_true(observed, "Ready")


def internal_ip(observed: Object) -> str:
    """The node's InternalIP, empty when it has none."""
    for address in dig(observed, "status", "addresses") or ():
        if address.get("type") == "InternalIP":
            return str(address.get("address") or "")
    return ""


def _address(name: str) -> str:
    number = zlib.crc32(name.encode())
    return f"10.240.{number >> 8 & 255}.{number & 255}"


def _conditions(*, ready: bool, since: str | None) -> list[Object]:
    times = {"lastHeartbeatTime": since, "lastTransitionTime": since} if since else {}
    healthy = [
        ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ]
    conditions = [
        {"type": kind, "status": "False", "reason": reason, "message": message, **times}
        for kind, reason, message in healthy
    ]
    reason, message = (
        ("KubeletReady", "kubelet is posting ready status")
        if ready
        else ("KubeletNotReady", "container runtime is down (broken on purpose, in the sandbox)")
    )
    conditions.append({"type": "Ready", "status": str(ready), "reason": reason, "message": message, **times})
    return conditions
