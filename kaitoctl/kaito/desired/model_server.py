"""KAITO v0.12: every model runs in one image, as a StatefulSet behind a headless Service.

Source: KAITO v0.12.0 `pkg/workspace/inference/preset_inferences.go`, `pkg/workspace/manifests/manifests.go`.
"""

from __future__ import annotations

from kaitoctl.kaito import api
from kaitoctl.kaito.catalog import Catalog, Model
from kaitoctl.kaito.desired import adapters, probes, streaming, vllm
from kaitoctl.kaito.desired.children import (
    KV_EVENTS_PORT,
    NO_NEW_PRIVILEGES,
    PORT,
    child_object,
    headless_name,
    replicas,
    serving_labels,
)
from kaitoctl.kaito.desired.placement import node_affinity, tolerations
from kaitoctl.kaito.desired.sizes import machine_of, shape_of, size_refusal
from kaitoctl.kaito.desired.vllm import BEHIND_SIDECAR, Layout, has_sidecar
from kaitoctl.kaito.desired.volumes import (
    CUDA_PATH,
    CUDA_VOLUME,
    WEIGHTS_VOLUME,
    local_weights,
    of_model,
    weights_claim,
)
from kaitoctl.kaito.estimate import Shape
from kaitoctl.kaito.image_generations import IMAGE_GENERATIONS, ImageGeneration, base_image, runtime_of
from kaitoctl.kaito.settings import Settings
from kaitoctl.kube.objects import STATEFUL_SET, Object, dig, labels_of

# Source: KAITO v0.12.0 pkg/model/interface.go, RequiresDeepGEMM.
_DEEP_GEMM = {"DeepseekV4ForCausalLM", "DeepseekV32ForCausalLM", "GlmMoeDsaForCausalLM"}
_SIDECAR = "mcr.microsoft.com/oss/v2/llm-d/llm-d-routing-sidecar:v0.8.0"
_POD_IP: Object = {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}


def refusal(workspace: Object, model: Model, settings: Settings) -> str:
    """Why no server can be made for a model; empty when one can."""
    runtime = runtime_of(workspace, IMAGE_GENERATIONS[settings.image_generation])
    if runtime == "transformers" and model.transformers is None:
        runs_not = f"{model.preset_name} does not run on the transformers runtime"
        return f"{runs_not}: leave {api.ANNOTATION_RUNTIME} out"
    why = size_refusal(workspace, model, runtime, settings) or adapters.refusal(workspace, runtime, settings)
    if why:
        return why
    return streaming.refusal(workspace) if streaming.is_streamed(workspace, runtime, settings) else ""


def stateful_set(
    workspace: Object,
    model: Model,
    generation: ImageGeneration,
    *,
    gpus: int,
    settings: Settings,
    nodes: Shape | None = None,
) -> Object:
    """The StatefulSet: all pods at once, each with its index.

    Args:
        workspace: the Workspace, with the number of nodes that it takes.
        model: that it serves.
        generation: of the objects.
        gpus: that each pod asks for, unless the Workspace wants parts of them.
        settings: registry, cloud, provisioner, disks.
        nodes: the shape of its nodes where the instance type does not tell.
    """
    streams = streaming.is_streamed(workspace, runtime_of(workspace, generation), settings)
    labels = {**serving_labels(workspace), **(streaming.LABELS if streams else {})}
    machine = machine_of(workspace, settings.catalog)
    has_nvme = settings.has_local_nvme and machine is not None and bool(machine.nvme)
    has_claim = has_nvme and not local_weights(workspace) and not streams
    template: Object = {
        "metadata": {"labels": dict(labels)},
        "spec": _pod(workspace, model, generation, gpus, settings, nodes, has_claim, streams),
    }
    spec: Object = {
        "replicas": replicas(workspace),
        "selector": {"matchLabels": labels},
        "serviceName": headless_name(workspace),
        "podManagementPolicy": "Parallel",
        "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Retain", "whenDeleted": "Delete"},
        "template": template,
    }
    if has_claim:
        own = {api.LABEL_WORKSPACE: workspace["metadata"]["name"]}
        spec["volumeClaimTemplates"] = [weights_claim(own, model.disk)]
    return child_object(STATEFUL_SET, workspace, spec)


def _pod(
    workspace: Object,
    model: Model,
    generation: ImageGeneration,
    gpus: int,
    settings: Settings,
    nodes: Shape | None,
    has_claim: bool,
    streams: bool,
) -> Object:
    runtime = runtime_of(workspace, generation)
    layout = layout_of(workspace, settings.catalog, gpus, nodes)._replace(streams=streams)
    volumes, mounts = of_model(workspace, needs_cuda=model.cuda_toolkit, streams=streams)
    asked = _resources(workspace, layout)
    port = BEHIND_SIDECAR if runtime == "vllm" and has_sidecar(workspace) else PORT
    main: Object = {
        "name": workspace["metadata"]["name"],
        "image": base_image(generation, settings),
        "securityContext": dict(NO_NEW_PRIVILEGES),
        "command": vllm.command(workspace, model, generation, runtime, layout),
        "ports": _ports(runtime, port),
        "resources": {"requests": dict(asked), "limits": asked},
        "env": _environment(workspace, model, runtime, layout),
        "volumeMounts": mounts,
        **probes.of_model(workspace, generation, model, runtime, nodes=layout.nodes, port=port),
    }
    spec: Object = {
        "tolerations": tolerations(workspace, settings),
        "automountServiceAccountToken": False,  # a model server has no business with the API
        "containers": [main],
        "volumes": volumes,
    }
    if affinity := node_affinity(workspace, settings):
        spec["affinity"] = {"nodeAffinity": affinity}
    if model.cuda_toolkit:
        spec["initContainers"] = [_cuda(base_image(generation, settings))]
    if streams:
        streaming.stream(workspace, model, spec, base_image(generation, settings))
    adapters.add_pullers(workspace, spec)
    if not has_claim and not local_weights(workspace) and not streams:
        spec["volumes"].append({"name": WEIGHTS_VOLUME, "emptyDir": {}})
    if not main["env"]:
        del main["env"]
    if port != PORT:
        spec["containers"].append(_sidecar())
    return spec


def layout_of(workspace: Object, known: Catalog, gpus: int, nodes: Shape | None = None) -> Layout:
    """How the model lies on the nodes of the Workspace, whose count is that which it takes."""
    shape, machine = shape_of(workspace, known, nodes), machine_of(workspace, known)
    partition = dig(workspace, "resource", "partition") or {}
    if partition.get("mode") in ("mig", "accelerator") and shape is not None:
        gpus = shape.gpus
    elif partition.get("mode") == "accelerator":  # how many GPUs its nodes have does not change that
        gpus = int(partition.get("count") or gpus)
    return Layout(
        replicas(workspace),
        gpus,
        shape.memory_gib if shape else 0,
        machine.gpu_model if machine else "",
        is_slice=shape is not None and shape.is_slice,
    )


def _resources(workspace: Object, layout: Layout) -> dict[str, str]:
    partition = dig(workspace, "resource", "partition") or {}
    if partition.get("mode") == "mig":
        return {f"nvidia.com/mig-{partition.get('profile')}": "1"}
    return {api.GPU: str(layout.gpus)}


def _ports(runtime: str, port: int) -> list[Object]:
    made: list[Object] = [{"name": "http", "containerPort": port, "protocol": "TCP"}]
    if runtime == "vllm":
        made.append({"name": "kv-events", "containerPort": KV_EVENTS_PORT, "protocol": "TCP"})
    return made


def _environment(workspace: Object, model: Model, runtime: str, layout: Layout) -> list[Object]:
    made: list[Object] = []
    if runtime == "vllm":
        made.append({"name": "VLLM_USE_FLASHINFER_SAMPLER", "value": "0"})
        needs = not _DEEP_GEMM.isdisjoint(model.architectures)
        made.append({"name": "VLLM_USE_DEEP_GEMM", "value": "1" if needs else "0"})
    if model.cuda_toolkit:
        made.append({"name": "CUDA_HOME", "value": CUDA_PATH})
    if path := local_weights(workspace):
        made.append({"name": "KAITO_PROCESSOR", "value": path})
    if role := _role(workspace):
        made.append({"name": "KAITO_INFERENCE_ROLE", "value": role})
        made.append({"name": "VLLM_NIXL_SIDE_CHANNEL_HOST", "valueFrom": dict(_POD_IP)})
    if secret := dig(workspace, "inference", "preset", "presetOptions", "modelAccessSecret"):
        reference = {"name": secret, "key": "HF_TOKEN", "optional": True}
        made.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": reference}})
    if runtime == "vllm" and layout.nodes > 1:
        label = "metadata.labels['apps.kubernetes.io/pod-index']"
        made.append(
            {"name": "POD_INDEX", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": label}}}
        )
    return made


def _role(workspace: Object) -> str:
    role = str(labels_of(workspace).get(api.LABEL_INFERENCE_ROLE) or "")
    return role if role in ("prefill", "decode") else ""


def _cuda(image: str) -> Object:
    """Puts nvcc on the node where it lacks it; the lock is for pods that start there at once."""
    return {
        "name": "cuda-toolkit-provisioner",
        "image": image,
        "command": ["/bin/sh", "-c", 'flock "$1" /workspace/cuda-provision.sh "$1"', "sh", CUDA_PATH],
        "volumeMounts": [{"name": CUDA_VOLUME, "mountPath": CUDA_PATH}],
    }


def _sidecar() -> Object:
    return {
        "name": "llm-d-routing-sidecar",
        "image": _SIDECAR,
        "args": [f"--port={PORT}", f"--vllm-port={BEHIND_SIDECAR}", "--secure-proxy=false"],
        "ports": [{"name": "sidecar", "containerPort": PORT, "protocol": "TCP"}],
        "env": [
            {"name": "POD_IP", "valueFrom": dict(_POD_IP)},
            {"name": "VLLM_NIXL_SIDE_CHANNEL_HOST", "valueFrom": dict(_POD_IP)},
        ],
    }
