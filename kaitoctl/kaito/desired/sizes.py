"""How large a model of KAITO v0.12 is on its nodes: how many it takes, and how many GPUs each pod gets."""

from __future__ import annotations

from msgspec.structs import replace

from kaitoctl.kaito import api, estimate, fit
from kaitoctl.kaito.catalog import Catalog, InstanceType, Model
from kaitoctl.kaito.estimate import Shape
from kaitoctl.kaito.image_generations import image_generation_of, model_of, runtime_of
from kaitoctl.kaito.node_check import instance_type_of, required_nodes, written_node_count
from kaitoctl.kaito.settings import Settings
from kaitoctl.kube.objects import Object, dig


def shape_of(workspace: Object, known: Catalog, nodes: Shape | None = None) -> Shape | None:
    """What each pod finds on its node: a slice, a part, or the whole; None when nobody knows.

    Args:
        workspace: the Workspace.
        known: where instance types are looked up.
        nodes: the shape of its nodes where the instance type does not tell.
    """
    partition = dig(workspace, "resource", "partition") or {}
    if partition.get("mode") == "mig":
        from kaitoctl.kaito.validation.grammar import mig_memory_gb

        memory = mig_memory_gb(str(partition.get("profile") or ""))
        return Shape(1, memory, is_slice=True) if memory else None
    machine = machine_of(workspace, known)
    whole = Shape(machine.gpus, machine.gpu_memory_per_gpu_gib) if machine else nodes
    if whole and partition.get("mode") == "accelerator":
        return replace(whole, gpus=min(whole.gpus, int(partition.get("count") or whole.gpus)))
    return whole


def machine_of(workspace: Object, known: Catalog) -> InstanceType | None:
    """The Workspace's instance type, in whatever case; None when it is not known, or has no NVIDIA GPU."""
    name = instance_type_of(workspace)
    found = known.instance_type(name)
    if found is None and name:
        types = known.instance_types.values()
        found = next((item for item in types if item.name.lower() == name.lower()), None)
    return found if found is not None and found.gpu_resource == api.GPU else None


def target_nodes(workspace: Object, settings: Settings, *, nodes: Shape | None = None) -> int:
    """How many nodes a Workspace takes, as KAITO v0.12 writes it in `status.targetNodeCount`.

    vLLM goes by the model's size, whatever `resource.count` says; where no size is known, and for everything
    else, the count holds. What is written in the status already is never gone below: fewer nodes would
    restart a model that serves.
    """
    asked = required_nodes(workspace)
    if not _goes_by_size(workspace, settings):
        return asked
    model, shape = model_of(workspace, settings), shape_of(workspace, settings.catalog, nodes)
    context = settings.context or estimate.CONTEXT
    found = estimate.estimated_nodes(model, shape, context=context) if model and shape else None
    return max(found or asked, written_node_count(workspace) or 0)


def is_counted(workspace: Object, settings: Settings, *, nodes: Shape | None = None) -> bool:
    """Whether `target_nodes` is a finding: KAITO writes no count for a model while no node tells it of GPUs.

    Source: KAITO v0.12.0 `pkg/workspace/estimator/nodesestimator/estimator.go` (no ready nodes found).
    """
    is_found = shape_of(workspace, settings.catalog, nodes) is not None
    return is_found or not _goes_by_size(workspace, settings)


def _goes_by_size(workspace: Object, settings: Settings) -> bool:
    if model_of(workspace, settings) is None or workspace.get("tuning"):
        return False
    generation = image_generation_of(workspace, settings.catalog, pinned=settings.image_generation)
    assert generation is not None, "it has the model"
    return runtime_of(workspace, generation) == "vllm"


def with_node_count(workspace: Object, settings: Settings, *, nodes: Shape | None = None) -> Object:
    """The Workspace with the number of nodes that it takes in place of the one that it asks for.

    Guarantee: a Workspace that takes what it asks for is returned as it is.
    """
    if model_of(workspace, settings) is None:
        return workspace
    wanted = target_nodes(workspace, settings, nodes=nodes)
    if wanted == required_nodes(workspace):
        return workspace
    return {**workspace, "resource": {**(workspace.get("resource") or {}), "count": wanted}}


def size_refusal(workspace: Object, model: Model, runtime: str, settings: Settings) -> str:
    """Why the model does not run on the nodes that the Workspace asks for; empty when it does, or may."""
    if runtime != "vllm":
        if required_nodes(workspace) > 1:
            return "the transformers runtime serves on one node only: resource.count must be 1"
        return ""
    shape = shape_of(workspace, settings.catalog)
    if shape is None:
        return ""
    # As in KAITO, a length that is configured once the number of nodes is known takes nothing back.
    is_sized = dig(workspace, "status", "targetNodeCount") is not None
    context = (
        min(settings.context, model.context_limit) if settings.context and not is_sized else estimate.CONTEXT
    )
    found = fit.sizing(model, shape, max_nodes=10**6, context=context)
    where = instance_type_of(workspace) or "a node of the Workspace"
    if not found.fits:
        return f"{model.id} does not run on {where}: {found.why}"
    if found.nodes > 1 and dig(workspace, "resource", "partition", "mode") == "mig":
        return f"{model.id} does not run on one MIG slice: {model.weights_gib:.0f} GiB of weights"
    return ""
