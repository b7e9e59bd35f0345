"""The command line of KAITO v0.12: vLLM by default, transformers by annotation.

Source: KAITO v0.12.0 `pkg/model/interface.go` (buildVLLMInferenceCommand, configureParallelism,
buildMultiNodeRayCommand, buildHuggingfaceInferenceCommand), `presets/workspace/models/vllm_model.go`. KAITO
writes the flags in the random order of a Go map, at every build in another one; here they are sorted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from kaitoctl.kaito import api
from kaitoctl.kaito.catalog import Model
from kaitoctl.kaito.desired import streaming
from kaitoctl.kaito.desired.children import RAY_PORT, first_pod
from kaitoctl.kaito.desired.command_line import flags
from kaitoctl.kaito.desired.volumes import CONFIG_PATH, WEIGHTS_PATH, local_weights
from kaitoctl.kaito.image_generations import ImageGeneration
from kaitoctl.kube.objects import Object, annotations_of, dig, labels_of

CONFIG_KEY = "inference_config.yaml"
BEHIND_SIDECAR = 5001
"""Where vLLM listens while the routing sidecar has its port."""

_UTILIZATION = "0.84"
_UTILIZATION_BY_GPU: Mapping[str, str] = {"NVIDIA A10": "0.82"}
_SERVE = "/workspace/vllm/multi-node-serving.sh"
_SET = "inferenceset.kaito.sh/created-by"
_ROLES = "multiroleinference.kaito.sh/created-by"
# Any of these may stand in a shell line as it is; anything else is quoted.
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]*")


class Layout(NamedTuple):
    """How a model lies on its nodes.

    Args:
        nodes: how many.
        gpus: that each pod asks for.
        memory_gib: of each GPU; 0 when nobody knows.
        gpu_model: maker and model; empty when nobody knows.
        is_slice: whether the GPU is a MIG slice.
        streams: whether the weights come from a store that the server's entrypoint knows.
    """

    nodes: int
    gpus: int
    memory_gib: float = 0
    gpu_model: str = ""
    is_slice: bool = False
    streams: bool = False


def command(
    workspace: Object, model: Model, generation: ImageGeneration, runtime: str, layout: Layout
) -> list[str]:
    """The main container's command.

    Guarantee: what users write is quoted where it is in the line at all.
    """
    start = generation.starts[runtime]
    if runtime != "vllm":
        return _shell(_line(start, transformers_flags(model)))
    serve = _line(start, vllm_flags(workspace, model, layout))
    if layout.nodes == 1:
        return _shell(serve)
    leader = _line(f"{_SERVE} leader", {"ray_cluster_size": str(layout.nodes), "ray_port": str(RAY_PORT)})
    worker = _line(f"{_SERVE} worker", {"ray_address": first_pod(workspace), "ray_port": str(RAY_PORT)})
    return _shell(f'if [ "${{POD_INDEX}}" = "0" ]; then {leader}; {serve}; else {worker}; fi')


def transformers_flags(model: Model) -> dict[str, str]:
    """The flags of the transformers server; it downloads the weights by itself."""
    asked = {"pretrained_model_name_or_path": model.id.lower(), "served_model_name": model.name}
    return {**(model.transformers or {}), **asked, "allow_remote_files": ""}


def vllm_flags(workspace: Object, model: Model, layout: Layout) -> dict[str, str]:
    """All flags of vLLM, by name; an empty value means the name alone."""
    notes = annotations_of(workspace)
    made = {
        "trust-remote-code": "",
        **model.vllm,
        **_parsers(model),
        "served-model-name": served_name(workspace, model),
        "max-model-len": "auto",
        "gpu-memory-utilization": _UTILIZATION_BY_GPU.get(layout.gpu_model, _UTILIZATION),
        "kv-events-config": '{"enable_kv_cache_events":true}',
        "compilation-config.pass_config.fuse_allreduce_rms": "False",
        **_weights(workspace, model, layout),
    }
    if dig(workspace, "inference", "adapters"):
        made["enable-lora"] = ""
    if dig(workspace, "inference", "config"):
        made["kaito-config-file"] = f"{CONFIG_PATH}/{CONFIG_KEY}"
    if (mode := notes.get(api.ANNOTATION_PERFORMANCE_MODE) or "balanced") != "balanced":
        made["performance-mode"] = mode
    if not model.kv_cache_offload or layout.is_slice:
        made["kaito-kv-cache-cpu-memory-utilization"] = "0"
    made |= parallelism(model, layout)
    if layout.streams and made["tensor-parallel-size"] != "1":
        made["model-loader-extra-config"] = '{"distributed": true}'
    if has_sidecar(workspace):
        made["port"] = str(BEHIND_SIDECAR)
    return made


def parallelism(model: Model, layout: Layout) -> dict[str, str]:
    """A copy on each GPU where half of one holds the weights; else one over all GPUs, and all nodes."""
    without_offload = {"kaito-kv-cache-cpu-memory-utilization": "0"}
    if layout.nodes > 1:
        return {
            "tensor-parallel-size": str(layout.gpus),
            "pipeline-parallel-size": str(layout.nodes),
            "distributed-executor-backend": "ray",
            **without_offload,
        }
    if layout.gpus > 1 and model.weights_gib * 2 < layout.memory_gib:
        copies = {"data-parallel-size": str(layout.gpus), "tensor-parallel-size": "1"}
        return copies | without_offload
    return {"tensor-parallel-size": str(layout.gpus)}


def served_name(workspace: Object, model: Model) -> str:
    """What the server calls the model: an InferenceSet's name, so that all of its children agree."""
    labels = labels_of(workspace)
    return model.name if _ROLES in labels else str(labels.get(_SET) or model.name)


def has_sidecar(workspace: Object) -> bool:
    """Whether the pod decodes for others, behind a sidecar that routes."""
    return labels_of(workspace).get(api.LABEL_INFERENCE_ROLE) == "decode"


def _parsers(model: Model) -> dict[str, str]:
    made: dict[str, str] = {}
    if model.tool_call_parser:
        made |= {"tool-call-parser": model.tool_call_parser, "enable-auto-tool-choice": ""}
    if model.reasoning_parser:
        made["reasoning-parser"] = model.reasoning_parser
    if model.chat_template:
        made["chat-template"] = f"/workspace/chat_templates/{model.chat_template}"
    return made


def _weights(workspace: Object, model: Model, layout: Layout) -> dict[str, str]:
    """Where the weights are from: the hub, or a store or the node's own disk, which vLLM streams from."""
    if layout.streams:
        return {"model": streaming.MODEL, "load-format": "runai_streamer"}
    if path := local_weights(workspace):
        return {"model": path, "load-format": "runai_streamer"}
    return {"model": model.id.lower(), "download-dir": WEIGHTS_PATH}


def _line(start: str, asked: Mapping[str, str]) -> str:
    # Two spellings of one flag contradict each other; the one with a hyphen is the Workspace's.
    spelled = {
        key: value for key, value in asked.items() if key != "load_format" or "load-format" not in asked
    }
    return " ".join([start, *flags({key: _quote(value) for key, value in spelled.items()})])


def _quote(text: str) -> str:
    return (
        text
        if text == streaming.MODEL or _PLAIN.fullmatch(text)
        else "'" + text.replace("'", "'\"'\"'") + "'"
    )


def _shell(line: str) -> list[str]:
    # Kubernetes replaces $(NAME) in a command, so what is not a reference must not look like one.
    return ["/bin/sh", "-c", line.replace("$(", "$$(")]
