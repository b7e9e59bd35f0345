"""KAITO v0.4.6: a preset still runs in an image of its own, with a configuration, and vLLM loads adapters.

Source: KAITO v0.4.6 (4e48fa9) `pkg/workspace/inference/preset-inferences.go`, `pkg/model/interface.go`,
`pkg/workspace/manifests/manifests.go`, `charts/kaito/workspace/templates/inference-params.yaml`.
"""

from __future__ import annotations

import math

from kaitoctl.kaito import api
from kaitoctl.kaito.catalog import Catalog, Preset, PresetImage
from kaitoctl.kaito.desired import adapters
from kaitoctl.kaito.desired.children import (
    NO_NEW_PRIVILEGES,
    PORT,
    child_object,
    one_pod_a_node,
    serving_labels,
)
from kaitoctl.kaito.desired.command_line import command_line
from kaitoctl.kaito.desired.placement import on_its_nodes
from kaitoctl.kaito.desired.probes import probes
from kaitoctl.kaito.desired.sizes import shape_of
from kaitoctl.kaito.desired.volumes import CONFIG_PATH, SHARED_MEMORY_PATH
from kaitoctl.kaito.estimate import Shape
from kaitoctl.kaito.image_generations import ImageGeneration, runtime_of
from kaitoctl.kaito.settings import Settings
from kaitoctl.kube.objects import CONFIG_MAP, Object, dig

CONFIG_KEY = "inference_config.yaml"

# KAITO copies its chart's ConfigMap, once for all Workspaces of a namespace; here each has one of its own.
_CONFIG = """\
max_probe_steps: 6
vllm:
  cpu-offload-gb: 0
  swap-space: 4
"""
PULLER_IMAGE = "quay.io/skopeo/stable:v1.18.0-immutable"
_RESERVED_GIB, _PLAIN, _MOST = 1.5, 0.90, 0.95


def config_name(workspace: Object) -> str:
    """The name of the ConfigMap that we generate when the Workspace names none."""
    return f"{workspace['metadata']['name']}-inference-config"


def refusal(workspace: Object, preset: Preset, generation: ImageGeneration, settings: Settings) -> str:
    """Why no server can be made for a preset; empty when one can."""
    image, runtime = preset.images[generation.name], runtime_of(workspace, generation)
    entries = dig(workspace, "inference", "adapters") or ()
    if entries and runtime == "vllm" and not image.lora:
        return f"vLLM does not load adapters for {preset.name}: set {api.ANNOTATION_RUNTIME} to transformers"
    if any(dig(item, "source", "volumeSource") for item in entries):
        return "inference.adapters: KAITO v0.4.6 loads adapters from images only"
    if image.downloads and not _secret(workspace):
        return f"{preset.name} is downloaded: modelAccessSecret must name a Secret with the key HF_TOKEN"
    return adapters.refusal(workspace, runtime, settings)


def config_map(workspace: Object) -> Object:
    """The configuration that a server reads when the Workspace names none."""
    made = child_object(CONFIG_MAP, workspace, {}, name=config_name(workspace))
    del made["spec"]
    return {**made, "data": {CONFIG_KEY: _CONFIG}}


def deployment(
    workspace: Object,
    preset: Preset,
    generation: ImageGeneration,
    *,
    gpus: int,
    settings: Settings,
    nodes: Shape | None = None,
) -> Object:
    """The Deployment that runs the model server: one pod a node, all of its GPUs.

    Args:
        workspace: the Workspace.
        preset: that it serves.
        generation: of the objects.
        gpus: that each pod asks for.
        settings: the registry.
        nodes: the shape of its nodes where the instance type does not tell.
    """
    image, runtime = preset.images[generation.name], runtime_of(workspace, generation)
    config = str(dig(workspace, "inference", "config") or "") or config_name(workspace)
    main: Object = {
        "name": workspace["metadata"]["name"],
        "image": preset.image(generation.name, settings.registry),
        "securityContext": dict(NO_NEW_PRIVILEGES),
        "command": ["/bin/sh", "-c", _line(workspace, image, runtime, gpus, settings.catalog, nodes)],
        "ports": [{"containerPort": PORT, "protocol": "TCP"}],
        "resources": {"requests": {api.GPU: str(gpus)}, "limits": {api.GPU: str(gpus)}},
        "env": [_token(_secret(workspace))] if image.downloads else [],
        "volumeMounts": [
            {"name": "config-volume", "mountPath": CONFIG_PATH},
            {"name": "dshm", "mountPath": SHARED_MEMORY_PATH},
        ],
        **probes(generation.probe_path, preset.readiness_timeout_s),
    }
    spec: Object = {
        **on_its_nodes(workspace, settings),
        "automountServiceAccountToken": False,  # a model server has no business with the API
        "containers": [main],
        "volumes": [
            {"name": "config-volume", "configMap": {"name": config}},
            {"name": "dshm", "emptyDir": {"medium": "Memory"}},
        ],
    }
    adapters.add_pullers(workspace, spec, image=PULLER_IMAGE, always=True)
    if not main["env"]:
        del main["env"]
    template = {"metadata": {"labels": serving_labels(workspace)}, "spec": spec}
    return one_pod_a_node(workspace, template, deadline_s=preset.readiness_timeout_s)


def _line(
    workspace: Object,
    image: PresetImage,
    runtime: str,
    gpus: int,
    known: Catalog,
    nodes: Shape | None,
) -> str:
    if runtime != "vllm":
        return command_line(image.transformers)
    assert image.vllm is not None, "each preset of this generation runs on vLLM"
    asked = {
        **image.vllm.parameters,
        "gpu-memory-utilization": f"{_utilization(shape_of(workspace, known, nodes)):.2f}",
        "kaito-config-file": f"{CONFIG_PATH}/{CONFIG_KEY}",
    }
    if image.tensor_parallel:
        asked["tensor-parallel-size"] = str(gpus)
    if dig(workspace, "inference", "adapters"):
        asked["enable-lora"] = ""
    return command_line(image.vllm._replace(parameters=asked))


def _utilization(shape: Shape | None) -> float:
    """All of a GPU but 1.5 GiB, in whole hundredths, and never more than 95 of them."""
    if shape is None or shape.memory_gib <= _RESERVED_GIB:
        return _PLAIN
    return min(math.floor((1 - _RESERVED_GIB / shape.memory_gib) * 100) / 100, _MOST)


def _secret(workspace: Object) -> str:
    return str(dig(workspace, "inference", "preset", "presetOptions", "modelAccessSecret") or "")


def _token(secret: str) -> Object:
    return {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": secret, "key": "HF_TOKEN"}}}
