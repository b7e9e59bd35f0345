"""Deployment, StatefulSet or Job: which workload serves a Workspace, and the objects around it. Pure."""

from __future__ import annotations

from kaitoctl.kaito import tuning
from kaitoctl.kaito.desired import (
    configured_images,
    custom_pods,
    model_server,
    preset_images,
    services,
    streaming,
    tuning_job,
)
from kaitoctl.kaito.desired.sizes import with_node_count
from kaitoctl.kaito.estimate import Shape
from kaitoctl.kaito.image_generations import (
    IMAGE_GENERATIONS,
    image_generation_of,
    model_of,
    preset_of,
    runtime_of,
    with_image_generation,
)
from kaitoctl.kaito.settings import Settings
from kaitoctl.kube.objects import CONFIG_MAP, DEPLOYMENT, SERVICE, STATEFUL_SET, Kind, Object, dig


def refusal(workspace: Object, settings: Settings) -> str:
    """Why the Workspace's workload cannot be built; empty when it can.

    Asked before nodes are: KAITO v0.4.0 buys them first and then finds the combination impossible.
    """
    settings = with_image_generation(workspace, settings)
    if workspace.get("tuning"):
        return tuning.refusal(workspace, settings)
    inference = workspace.get("inference") or {}
    if inference.get("template"):
        return custom_pods.refusal(inference["template"], settings)
    if model := model_of(workspace, settings):
        return model_server.refusal(workspace, model, settings)
    generation = IMAGE_GENERATIONS[settings.image_generation]
    preset = preset_of(workspace, settings)
    if preset is not None and generation.starts and generation.name in preset.images:
        return configured_images.refusal(workspace, preset, generation, settings)
    if preset is not None:
        return preset_images.refusal(workspace, preset, settings)
    return _unknown(str(dig(inference, "preset", "name")), settings)


def size_unknown(name: str) -> str:
    """What `refusal` says of a model of Hugging Face that no catalog has."""
    return f'the size of "{name}" is not known: no --catalog has its figures'


def _unknown(name: str, settings: Settings) -> str:
    having = image_generation_of({"inference": {"preset": {"name": name}}}, settings.catalog)
    if having is not None:
        return f'preset "{name}" is served by generation {having.name}, not by {settings.image_generation}'
    if "/" in name:
        return size_unknown(name)
    return f'preset "{name}" is none of those that kaitoctl\'s controller serves'


def desired(
    workspace: Object,
    *,
    gpus: int,
    settings: Settings,
    output_dir: str = "",
    nodes: Shape | None = None,
) -> list[tuple[Kind, Object]]:
    """The objects that should exist for a Workspace that `refusal` has nothing against.

    Args:
        workspace: the Workspace.
        gpus: how many GPUs each pod of a preset asks for.
        settings: what the operator has chosen; see `with_image_generation` for a Workspace that runs already.
        output_dir: where tuning writes, if its own ConfigMap says so (`tuning.output_dir`).
        nodes: the shape of the Workspace's nodes where its instance type does not tell.
    """
    settings = with_image_generation(workspace, settings)
    generation = IMAGE_GENERATIONS[settings.image_generation]
    if workspace.get("tuning"):
        return tuning_job.objects(workspace, gpus=gpus, settings=settings, output_dir=output_dir)
    if dig(workspace, "inference", "template"):
        return custom_pods.objects(workspace, generation, settings)
    if model := model_of(workspace, settings):
        workspace = with_node_count(workspace, settings, nodes=nodes)
        server = model_server.stateful_set(
            workspace, model, generation, gpus=gpus, settings=settings, nodes=nodes
        )
        runtime = runtime_of(workspace, generation)
        is_streamed = streaming.is_streamed(workspace, runtime, settings)
        return [
            *([(CONFIG_MAP, streaming.script(workspace))] if is_streamed else []),
            (SERVICE, services.model_service(workspace, runtime)),
            (SERVICE, services.model_headless_service(workspace)),
            (STATEFUL_SET, server),
        ]
    preset = preset_of(workspace, settings)
    assert preset is not None, "refusal() said that there is one"
    if generation.starts:
        made = configured_images.deployment(
            workspace, preset, generation, gpus=gpus, settings=settings, nodes=nodes
        )
        own = [] if dig(workspace, "inference", "config") else [configured_images.config_map(workspace)]
        front = services.service(workspace, ports=(services.HTTP,))
        return [*((CONFIG_MAP, item) for item in own), (SERVICE, front), (DEPLOYMENT, made)]
    if preset.distributed:
        return [
            (SERVICE, services.service(workspace, first_pod_only=True)),
            (SERVICE, services.headless_service(workspace)),
            (STATEFUL_SET, preset_images.stateful_set(workspace, preset, gpus, settings)),
        ]
    server = preset_images.deployment(workspace, preset, gpus, settings)
    has_strengths = preset.local_model and dig(workspace, "inference", "adapters")
    read = [(CONFIG_MAP, preset_images.strengths(workspace))] if has_strengths else []
    return [*read, (SERVICE, services.service(workspace)), (DEPLOYMENT, server)]
