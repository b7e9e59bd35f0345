"""The volumes of an inference pod, and where its containers see them."""

from __future__ import annotations

from kaitoctl.kaito import api
from kaitoctl.kube.objects import Object, annotations_of, dig

ADAPTER_VOLUME = "adapter-volume"
ADAPTER_PATH = "/mnt/adapter"
SHARED_MEMORY_PATH = "/dev/shm"  # noqa: S108 - a mount path inside the pod
CONFIG_PATH = "/mnt/config"
STRENGTHS_VOLUME, STRENGTHS_PATH = "adapter-strengths", "/mnt/strengths"
WEIGHTS_VOLUME, WEIGHTS_PATH = "model-weights-volume", "/workspace/weights"
NVME_STORAGE_CLASS = "kaito-local-nvme-disk"
CUDA_VOLUME, CUDA_PATH = "cuda-toolkit-hostpath", "/opt/kaito/cuda/129"

_LOCAL_WEIGHTS = "/opt/kaito/models"

Volumes = tuple[list[Object], list[Object]]
"""Volumes of a pod, and mounts of its main container."""


def volumes(has_adapters: bool, gpus: int) -> Volumes:
    """Those of a preset's own image, which has the weights inside."""
    made: list[Object] = []
    mounts: list[Object] = []
    if gpus > 1:
        # NCCL between the GPUs of one node needs more than the runtime's 64 MiB.
        made.append({"name": "dshm", "emptyDir": {"medium": "Memory"}})
        mounts.append({"name": "dshm", "mountPath": SHARED_MEMORY_PATH})
    if has_adapters:
        made.append({"name": ADAPTER_VOLUME, "emptyDir": {}})
        mounts.append({"name": ADAPTER_VOLUME, "mountPath": ADAPTER_PATH})
    return made, mounts


def of_model(workspace: Object, *, needs_cuda: bool, streams: bool = False) -> Volumes:
    """Those of the base image: configuration, CUDA for kernels that it compiles, shared memory; all mounts.

    The volume of the weights is the last of the pod, as with KAITO, which restarts pods for another order.

    Args:
        workspace: the Workspace.
        needs_cuda: whether the server compiles kernels at its start.
        streams: whether the weights need no place at all.

    Source: KAITO v0.12.0 `pkg/workspace/inference/preset_inferences.go`, `pkg/utils/common_preset.go`.
    """
    made: list[Object] = []
    mounts: list[Object] = []
    if name := dig(workspace, "inference", "config"):
        made.append({"name": "config-volume", "configMap": {"name": name}})
        mounts.append({"name": "config-volume", "mountPath": CONFIG_PATH})
    if path := local_weights(workspace):
        name = "model-weights-hostpath"
        made.append({"name": name, "hostPath": {"path": path, "type": "Directory"}})
        mounts.append({"name": name, "mountPath": path, "readOnly": True})
    elif not streams:
        mounts.append({"name": WEIGHTS_VOLUME, "mountPath": WEIGHTS_PATH})
    if needs_cuda:
        made.append({"name": CUDA_VOLUME, "hostPath": {"path": CUDA_PATH, "type": "DirectoryOrCreate"}})
        mounts.append({"name": CUDA_VOLUME, "mountPath": CUDA_PATH, "readOnly": True})
    made.append({"name": "dshm", "emptyDir": {"medium": "Memory"}})
    mounts.append({"name": "dshm", "mountPath": SHARED_MEMORY_PATH})
    return made, mounts


def weights_claim(labels: dict[str, str], disk: str) -> Object:
    """The claim by which each pod gets room for its weights on its node's fast disk."""
    return {
        "metadata": {"name": WEIGHTS_VOLUME, "labels": labels},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": NVME_STORAGE_CLASS,
            "resources": {"requests": {"storage": disk}},
        },
    }


def local_weights(workspace: Object) -> str:
    """The folder of the node that holds the weights already; empty when they are to be downloaded."""
    if annotations_of(workspace).get(api.ANNOTATION_LOCAL_WEIGHTS) != "true":
        return ""
    name = str(dig(workspace, "inference", "preset", "name") or "")
    return f"{_LOCAL_WEIGHTS}/{name.lower().replace('/', '-')}" if name else ""
