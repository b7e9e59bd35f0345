"""How many nodes KAITO takes for a model, and what it refuses on your own nodes. Pure.

Its estimator goes by the instance type's figures, and on your own nodes by the labels that NVIDIA's feature
discovery put there; `resource.count` counts only where it cannot tell. Its webhook reads the same labels of
every node that the selector means, Ready or not, before it lets a new Workspace in.

Source: KAITO v0.12.0, `pkg/workspace/estimator/nodesestimator/estimator.go`, `pkg/sku` (figures from node
labels), `api/v1beta1/workspace_validation.go` (validateCreateWithInference).
"""

from __future__ import annotations

from collections.abc import Sequence

from kaitoctl.kaito import api, estimate, own_nodes
from kaitoctl.kaito.catalog import Model
from kaitoctl.kaito.node_check.answer import Rules
from kaitoctl.kaito.node_check.facts import below, mapping
from kaitoctl.kaito.own_nodes import Flaw, Hardware
from kaitoctl.kube.objects import Object, whole_number


def hardware_of(workspace: Object, rules: Rules, nodes: Sequence[Object]) -> Hardware | Flaw | None:
    """What KAITO reads off the labels of your own nodes; None where it does not look at them."""
    is_asked = rules.is_byo and below(workspace, "inference", "preset", "name")
    if not is_asked or below(workspace, "resource", "partition", "mode") == "mig" or not nodes:
        return None
    return own_nodes.hardware(nodes, mapping(below(workspace, "resource", "labelSelector", "matchLabels")))


def refusal_of(workspace: Object, rules: Rules, hardware: Hardware | Flaw | None) -> str:
    """Why KAITO's webhook refuses to create a Workspace on these nodes; it asks once, when it is created."""
    if below(workspace, "metadata", "uid"):
        return ""
    asked = mapping(below(workspace, "resource", "labelSelector", "matchLabels"))
    if asked and set(asked) <= api.RESERVED_LABELS:
        return "all labels of the selector are KAITO's own"
    if rules.is_byo and below(workspace, "resource", "instanceType"):
        return "resource.instanceType is set, and the nodes are your own"
    if hardware is None or below(workspace, "resource", "partition"):
        return ""
    if isinstance(hardware, Flaw):
        if hardware.code != "KW201":
            return ""  # there is no node at all, which the rest says
        return f"{hardware.message}, and it wants the same GPUs on every node that the selector means"
    model = rules.catalog.model(str(below(workspace, "inference", "preset", "name")))
    total = hardware.nodes * hardware.memory_gib
    is_bypassed = api.ANNOTATION_BYPASS in mapping(below(workspace, "metadata", "annotations"))
    if model is None or is_bypassed or total >= model.weights_gib:
        return ""
    has = f"all nodes that the selector means ({hardware.nodes}) have {total} GiB of GPU memory"
    return f"{has}, {model.name} needs {model.weights_gib:.0f}"


def partition_of(workspace: Object, rules: Rules) -> tuple[str, int]:
    """What pods ask for instead of all GPUs of a node: the resource of one MIG slice, or so many GPUs."""
    partition = mapping(below(workspace, "resource", "partition"))
    if not rules.is_byo or not below(workspace, "inference", "preset", "name"):
        return "", 0
    mode, profile = partition.get("mode"), partition.get("profile")
    if mode == "mig" and isinstance(profile, str) and profile:
        return f"nvidia.com/mig-{profile}", 0
    return "", (whole_number(partition.get("count")) or 0) if mode == "accelerator" else 0


def model_of(workspace: Object, rules: Rules) -> Model | None:
    """The model whose size decides over the number of nodes: one that vLLM serves."""
    name = below(workspace, "inference", "preset", "name")
    asked = below(workspace, "metadata", "annotations", api.ANNOTATION_RUNTIME)
    if not isinstance(name, str) or asked == "transformers":
        return None
    return rules.catalog.model(name)


def unsized_name(workspace: Object, model: Model | None) -> str:
    """The model whose size KAITO asks Hugging Face for; empty where it is known, or nodes need none."""
    name = below(workspace, "inference", "preset", "name")
    asked = below(workspace, "metadata", "annotations", api.ANNOTATION_RUNTIME)
    counts = asked != "transformers" and below(workspace, "resource", "partition", "mode") != "mig"
    is_unknown = counts and model is None and isinstance(name, str) and "/" in name
    return str(name)[:253] if is_unknown else ""


def shape_of(
    workspace: Object, rules: Rules, instance_type: str, hardware: Hardware | Flaw | None
) -> estimate.Shape | None:
    """The nodes that KAITO's estimator reckons with; None where it cannot tell."""
    if not rules.is_byo:
        machine = rules.catalog.machine(instance_type)
        if machine is None or machine.gpu_resource != api.GPU:
            return None
        return estimate.Shape(machine.gpus, machine.gpu_memory_per_gpu_gib)
    if isinstance(hardware, Hardware) and hardware.gpus > 0:
        _, parts = partition_of(workspace, rules)
        return estimate.Shape(min(parts or hardware.gpus, hardware.gpus), hardware.gpu_gib)
    return None


def estimate_nodes(
    workspace: Object, rules: Rules, model: Model, shape: estimate.Shape | None
) -> tuple[int | None, str]:
    """How many nodes KAITO's estimator wants, None where it cannot tell; and why it gives up, if it does."""
    if below(workspace, "resource", "partition", "mode") == "mig":
        return 1, ""
    if shape is None:
        return None, ""
    context = rules.context or estimate.CONTEXT
    found = estimate.estimated_nodes(model, shape, context=context)
    if found is None:
        beside = f"beside the cache of {context:,} tokens"
        return None, f"{shape} have no room for weights of {model.name} {beside}"
    if found > 1 and not model.distributed:
        return (
            None,
            f"{model.name} takes {found} nodes of {shape}, and this KAITO spreads it over none",
        )
    return found, ""
