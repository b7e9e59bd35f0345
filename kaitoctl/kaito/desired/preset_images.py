"""KAITO up to v0.4: a preset runs in an image of its own, as a Deployment, or as a StatefulSet over nodes."""

from __future__ import annotations

from kaitoctl.kaito import api
from kaitoctl.kaito.catalog import Preset, PresetImage
from kaitoctl.kaito.desired import adapters
from kaitoctl.kaito.desired.children import (
    NO_NEW_PRIVILEGES,
    PORT,
    child_object,
    headless_name,
    one_pod_a_node,
    pod_labels,
    replicas,
    serving_labels,
)
from kaitoctl.kaito.desired.command_line import command_of
from kaitoctl.kaito.desired.placement import on_its_nodes
from kaitoctl.kaito.desired.probes import probes
from kaitoctl.kaito.desired.volumes import STRENGTHS_PATH, STRENGTHS_VOLUME, volumes
from kaitoctl.kaito.image_generations import runtime_of
from kaitoctl.kaito.settings import Settings
from kaitoctl.kube.objects import CONFIG_MAP, STATEFUL_SET, Object, dig


def image_of(workspace: Object, preset: Preset, settings: Settings) -> str | None:
    """The main container's image, None when a private preset names none."""
    if dig(workspace, "inference", "preset", "accessMode") == "private":
        return dig(workspace, "inference", "preset", "presetOptions", "image") or None
    return preset.image(settings.image_generation, settings.registry)


def refusal(workspace: Object, preset: Preset, settings: Settings) -> str:
    """Why no server can be made for a preset; empty when one can."""
    generation = preset.images.get(settings.image_generation)
    if generation is None:
        return f'preset "{preset.name}" has no image of generation {settings.image_generation}'
    if image_of(workspace, preset, settings) is None:
        return f'preset "{preset.name}" is private: inference.preset.presetOptions.image must name its image'
    return _runtime_refusal(workspace, preset, generation)


def _runtime_refusal(workspace: Object, preset: Preset, generation: PresetImage) -> str:
    runtime = runtime_of(workspace)
    if runtime == "transformers":
        return ""
    if runtime != "vllm":
        return f'{api.ANNOTATION_RUNTIME} "{runtime}" is neither transformers nor vllm'
    if preset.distributed or generation.vllm is None:
        return f'preset "{preset.name}" has no vLLM runtime in image generation {generation.name}'
    if dig(workspace, "inference", "adapters"):
        return (
            f"the vLLM server of image generation {generation.name} does not load adapters; use transformers"
        )
    return ""


def deployment(workspace: Object, preset: Preset, gpus: int, settings: Settings) -> Object:
    """The Deployment that runs `inference_api.py`: one pod a node, all of its GPUs."""
    template = _pod_template(workspace, preset, gpus, settings)
    return one_pod_a_node(workspace, template, deadline_s=preset.readiness_timeout_s)


def stateful_set(workspace: Object, preset: Preset, gpus: int, settings: Settings) -> Object:
    """The StatefulSet of a model that spreads over several nodes: all pods at once, each with its rank."""
    return child_object(
        STATEFUL_SET,
        workspace,
        {
            "replicas": replicas(workspace),
            "selector": {"matchLabels": pod_labels(workspace)},
            "serviceName": headless_name(workspace),
            "podManagementPolicy": "Parallel",
            "template": _pod_template(workspace, preset, gpus, settings),
        },
    )


def strengths(workspace: Object) -> Object:
    """The strengths of a preset of ours, whose server reads them while it runs: no change needs a new pod."""
    made = child_object(CONFIG_MAP, workspace, {}, name=strengths_name(workspace))
    del made["spec"]
    entries = dig(workspace, "inference", "adapters") or ()
    return {**made, "data": {adapters.adapter_name(item): adapters.strength_of(item) for item in entries}}


def strengths_name(workspace: Object) -> str:
    """The name of the ConfigMap of strengths."""
    return f"{workspace['metadata']['name']}-strengths"


def _pod_template(workspace: Object, preset: Preset, gpus: int, settings: Settings) -> Object:
    generation = preset.images[settings.image_generation]
    entries = dig(workspace, "inference", "adapters") or []
    made, mounts = volumes(bool(entries), gpus)
    copied = mounts
    main = {
        "name": workspace["metadata"]["name"],
        "image": image_of(workspace, preset, settings),
        "securityContext": dict(NO_NEW_PRIVILEGES),
        "command": command_of(workspace, preset, generation, gpus),
        "ports": [{"containerPort": PORT, "protocol": "TCP"}],
        "resources": {"requests": {api.GPU: str(gpus)}, "limits": {api.GPU: str(gpus)}},
        **probes(generation.probe_path, preset.readiness_timeout_s),
    }
    spec: Object = {
        **on_its_nodes(workspace, settings),
        "automountServiceAccountToken": False,  # a model server has no business with the API
        "containers": [main],
    }
    if entries and preset.local_model:
        made.append({"name": STRENGTHS_VOLUME, "configMap": {"name": strengths_name(workspace)}})
        mounts = [*mounts, {"name": STRENGTHS_VOLUME, "mountPath": STRENGTHS_PATH}]
    elif entries:
        main["env"] = [adapters.strength_variable(item) for item in entries]
    if entries:
        spec["initContainers"] = [adapters.copier(item, copied) for item in entries]
    if made:
        main["volumeMounts"] = mounts
        spec["volumes"] = made
    if secrets := adapters.pull_secrets(workspace):
        spec["imagePullSecrets"] = [{"name": name} for name in secrets]
    return {"metadata": {"labels": serving_labels(workspace)}, "spec": spec}
