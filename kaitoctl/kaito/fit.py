"""What runs where: a preset on instance types, and presets on the nodes that there are. Pure.

Both questions are one: how many nodes of a shape (so many GPUs of so much memory) does it take? KAITO up to
v0.4 compares a preset's written requirements; KAITO v0.12 estimates them from a model's size, and its figures
decide, even over the `resource.count` that a user wrote.

Source: the instance type checks of KAITO v0.3.2 and v0.4.0 (`api/v1alpha1/workspace_validation.go`) for
presets, the node estimator of KAITO v0.12 for models. Where KAITO lets too little through, because it sums
memory over nodes that cannot share it, we do not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from kaitoctl.kaito import catalog, gpu_age, node_check
from kaitoctl.kaito.api import GPU
from kaitoctl.kaito.catalog import InstanceType, Model, Preset
from kaitoctl.kaito.estimate import (
    CONTEXT,
    RESERVED_GIB,
    USABLE_SHARE,
    WEIGHTS_MARGIN,
    Shape,
    estimated_gpus,
    estimated_nodes,
    usable_gib,
)
from kaitoctl.kaito.node_check.sharing import profile_gib

if TYPE_CHECKING:
    from kaitoctl.kaito.gpu_nodes import GpuNode

MAX_NODES = 8
"""More nodes than this are not looked at unless asked for."""

_TIGHT = 0.95
_GIB = 2**30


class Sizing(Struct, frozen=True):
    """How many nodes of a shape it takes.

    Args:
        nodes: the least number; 0 when no number is enough.
        why: one clause: how it is spread, or what is missing.
        used: the share of the memory at hand that it takes, from 0 to 1; 0 when it does not run.
    """

    nodes: int
    why: str
    used: float = 0.0

    @property
    def fits(self) -> bool:
        """Whether it runs."""
        return self.nodes > 0

    @property
    def tight(self) -> bool:
        """Whether it runs with next to nothing left."""
        return self.used >= _TIGHT


class Choice(Struct, frozen=True):
    """One instance type as an answer to: where does this preset run?"""

    instance_type: InstanceType
    sizing: Sizing

    @property
    def memory_gib(self) -> int:
        """GPU memory of all the nodes that it takes; of one node when it does not run."""
        return self.instance_type.gpu_memory_gib * max(1, self.sizing.nodes)


class Placement(Struct, frozen=True):
    """One preset or model as an answer to: what runs on these nodes?

    Args:
        wanted: the preset or model.
        nodes: the names of the nodes that it would take, empty when it does not run.
        why: one clause: how it is spread, or what is missing.
        tight: whether next to nothing is left.
    """

    wanted: Preset | Model
    nodes: tuple[str, ...]
    why: str
    tight: bool = False

    @property
    def name(self) -> str:
        """What a Workspace writes: the preset's name, the model's alias or id."""
        return self.wanted.name if isinstance(self.wanted, Preset) else self.wanted.preset_name

    @property
    def fits(self) -> bool:
        """Whether it runs."""
        return bool(self.nodes)


# --- how much it takes -----------------------------------------------------------------------------------


def sizing(
    wanted: Preset | Model, shape: Shape, *, max_nodes: int = MAX_NODES, context: int = CONTEXT
) -> Sizing:
    """The least number of nodes of a shape that run a preset or model.

    Args:
        wanted: what is to run.
        shape: of each node.
        max_nodes: more are not looked at.
        context: tokens to leave room for; counts for models only.
    """
    if shape.gpus < 1:
        return Sizing(0, "there is no GPU")
    if isinstance(wanted, Model):
        return _model_sizing(wanted, shape, max_nodes, context)
    return _preset_sizing(wanted, shape, max_nodes)


def _model_sizing(model: Model, shape: Shape, max_nodes: int, context: int) -> Sizing:
    if context > model.context_limit:
        return Sizing(0, f"the model looks back {model.context_limit} tokens at most")
    gpus, nodes = (estimate(model, shape, context=context) for estimate in (estimated_gpus, estimated_nodes))
    if gpus is None or nodes is None:
        return Sizing(0, f"{shape.memory_gib:g} GiB per GPU hold no weights beside the cache")
    if nodes > 1 and not model.distributed:
        return Sizing(0, f"{gpus} GPUs needed on one node, which has {shape.gpus}")
    if nodes > max_nodes:
        return Sizing(0, f"{gpus} GPUs needed, which is {nodes} nodes")
    room = usable_gib(model, shape, context) * nodes * shape.gpus
    is_copied = nodes == 1 and shape.gpus > 1 and model.weights_gib < shape.memory_gib / 2
    if nodes > 1:
        how = f"pipeline over {nodes} nodes"
        if shape.gpus > 1:
            how = f"tensor parallel over {shape.gpus} GPUs, {how}"
    elif shape.gpus == 1:
        how = "on one GPU"
    elif is_copied:
        room /= shape.gpus
        how = f"a copy on each of {shape.gpus} GPUs"
    else:
        how = f"tensor parallel over {shape.gpus} GPUs"
    return Sizing(nodes, how, WEIGHTS_MARGIN * model.weights_gib / room)


def attainable_context(wanted: Preset | Model, machine: InstanceType, nodes: int) -> int | None:
    """The longest `max-model-len` with which KAITO v0.12 takes no more nodes; None where that is not known.

    It is not of presets, whose memory is a written figure, nor where the cache of a token is not known.

    Args:
        wanted: what is to run.
        machine: on which instance type.
        nodes: how many of them; 0 where it does not run.
    """
    if not isinstance(wanted, Model) or not wanted.bytes_per_token or not nodes:
        return None
    shape = Shape(machine.gpus, machine.gpu_memory_gib / machine.gpus)
    weights_gib = WEIGHTS_MARGIN * wanted.weights_gib / (nodes * shape.gpus)
    left_gib = USABLE_SHARE * shape.memory_gib - RESERVED_GIB - (1 + wanted.overhead) * weights_gib
    tokens = math.ceil(left_gib * shape.gpus * _GIB / wanted.bytes_per_token) - 1
    return max(0, min(tokens, wanted.context_limit))


def _preset_sizing(preset: Preset, shape: Shape, max_nodes: int) -> Sizing:
    if shape.memory_gib < preset.per_gpu_memory_gib:
        return Sizing(0, f"{preset.per_gpu_memory_gib} GiB per GPU needed")
    if not preset.distributed:
        if shape.gpus < preset.gpu_count:
            return Sizing(0, f"{_gpus(preset.gpu_count)} needed on one node")
        memory = shape.gpus * shape.memory_gib
        if memory < preset.total_gpu_memory_gib:
            return Sizing(0, f"{preset.total_gpu_memory_gib} GiB needed on one node")
        return Sizing(1, "on one node", preset.total_gpu_memory_gib / memory)
    enough = [
        nodes
        for nodes in range(1, preset.world_size + 1)
        if preset.world_size % nodes == 0
        and nodes * shape.gpus >= preset.gpu_count
        and nodes * shape.gpus * shape.memory_gib >= preset.total_gpu_memory_gib
    ]
    if not enough:
        return Sizing(0, f"{preset.total_gpu_memory_gib} GiB needed over {_gpus(preset.world_size)} at most")
    nodes = enough[0]
    if nodes > max_nodes:
        return Sizing(0, f"{preset.gpu_count} GPUs needed, which is {nodes} nodes")
    each = preset.world_size // nodes
    used = preset.total_gpu_memory_gib / (nodes * shape.gpus * shape.memory_gib)
    return Sizing(
        nodes, f"{each} of {preset.world_size} processes on each node" if nodes > 1 else "on one node", used
    )


def _gpus(number: int) -> str:
    return "1 GPU" if number == 1 else f"{number} GPUs"


# --- a preset on instance types ----------------------------------------------------------------------------


def choices_on(
    wanted: Preset | Model,
    machines: Iterable[InstanceType],
    *,
    target: str | None,
    max_nodes: int = MAX_NODES,
    context: int = CONTEXT,
) -> tuple[Choice, ...]:
    """Each instance type with how many nodes it takes: what fits first, and of that the smallest first.

    Smallest is the least GPU memory over all nodes, then the fewest nodes, then the order of the catalog.

    Args:
        wanted: what is to run.
        machines: the instance types to choose from.
        target: the release of KAITO; None leaves releases out of it.
        max_nodes: more nodes are not looked at.
        context: tokens to leave room for; counts for models only.
    """
    judged = []
    ages = () if target is None else gpu_age.demands(wanted, target)
    for machine in machines:
        has = gpu_age.capability(machine.cuda_capability)
        demand = gpu_age.too_old(ages, has)
        if fault := fault_of(machine, target) or (demand.words(has) if demand and has else ""):
            judged.append(Choice(machine, Sizing(0, fault)))
            continue
        shape = Shape(machine.gpus, machine.gpu_memory_gib / machine.gpus)
        judged.append(Choice(machine, sizing(wanted, shape, max_nodes=max_nodes, context=context)))
    return tuple(
        sorted(judged, key=lambda choice: (not choice.sizing.fits, choice.memory_gib, choice.sizing.nodes))
    )


def fault_of(machine: InstanceType, target: str | None = None) -> str:
    """Why nothing runs on an instance type, whatever the preset; empty when nothing speaks against it.

    Args:
        machine: the instance type.
        target: the release of KAITO; None leaves releases out of it, and so does one without a column.
    """
    if not machine.exists:
        return "the cloud has no such type"
    if machine.gpu_resource != GPU:
        return f"{machine.gpu_model}: not an NVIDIA GPU"
    if machine.arch != "amd64":
        return f"{machine.arch}, and the images are for amd64"
    if target is not None and (column := catalog.TARGETS.get(target)) and column not in machine.versions:
        return f"KAITO {target} does not know it"
    if target == "v0.3" and machine.cloud == "aws":
        return "KAITO v0.3 admits types of Azure only"
    return ""


# --- presets on the nodes that there are -------------------------------------------------------------------


def placements(
    wanted: Iterable[Preset | Model],
    nodes: Sequence[GpuNode],
    *,
    context: int = CONTEXT,
    release: str | None = None,
) -> tuple[Placement, ...]:
    """Each preset or model with the nodes that it would take, those that run first.

    Nodes are taken together only when they are alike: KAITO gives all pods of a Workspace one size. A preset
    of KAITO up to v0.4 may use the GPUs that are free; a model of v0.12 asks for all that a node has.

    Args:
        wanted: what could run.
        nodes: from `gpu_nodes.gpu_nodes`.
        context: tokens to leave room for; counts for models only.
        release: of KAITO; None takes the newest that has the preset or model.
    """
    usable = [node for node in nodes if not node.faults and (node.memory_gib is not None or node.slices)]
    answers = [_placement(item, usable, context, release or newest(item)) for item in wanted]
    unknown = [node.name for node in nodes if not node.faults and node not in usable]
    if unknown and not usable:
        why = f"the memory of the GPUs of {', '.join(unknown[:3])} is not known (label nvidia.com/gpu.memory)"
        answers = [Placement(answer.wanted, (), why) for answer in answers]
    memory = {node.name: node.main_memory_gib for node in usable}
    answers = [_with_main_memory(answer, memory) for answer in answers]
    return tuple(sorted(answers, key=lambda answer: not answer.fits))


def _with_main_memory(answer: Placement, memory: Mapping[str, float | None]) -> Placement:
    """The answer, and whether the weights of a preset have room in the main memory that they pass through."""
    if isinstance(answer.wanted, Model) or not answer.fits:
        return answer
    least = answer.wanted.total_gpu_memory_gib / (len(answer.nodes) if answer.wanted.distributed else 1)
    here = [gib for name in answer.nodes if (gib := memory.get(name)) is not None]
    if not here or min(here) >= least:
        return answer
    return replace(answer, why=f"{answer.why}; only {min(here):.3g} GiB main memory")


def newest(wanted: Preset | Model) -> str:
    """The newest generation that has a preset or model."""
    return "v0.12" if isinstance(wanted, Model) else list(wanted.images or ("v0.4",))[-1]


def _placement(wanted: Preset | Model, nodes: Sequence[GpuNode], context: int, release: str) -> Placement:
    ages, too_old = gpu_age.demands(wanted, release), ""
    by_shape: dict[Shape, list[str]] = {}
    partly_taken = in_parts = False
    for node in nodes:
        # KAITO v0.12 reads the labels, and its pods ask for all GPUs that a node has; before, tables counted.
        memory_gib = node.memory_gib if isinstance(wanted, Model) else node.catalogued_gib
        if memory_gib is None or not node.gpus:
            in_parts = in_parts or bool(node.slices)
            continue
        if isinstance(wanted, Model) and not node.is_whole and node.gpus > 1:
            in_parts = True  # it would be given them all, and can use one
            continue
        if isinstance(wanted, Model) and node.free < max(node.gpus, node.labelled if node.is_whole else 0):
            partly_taken = True
            continue
        demand = gpu_age.too_old(ages, node.capability)
        if demand is not None and node.capability is not None:
            too_old = demand.words(node.capability)
            continue
        by_shape.setdefault(Shape(node.free, memory_gib), []).append(node.name)
    best: tuple[float, Placement] | None = None
    what = "all GPUs of a node" if partly_taken else "a usable GPU node"
    if in_parts and not partly_taken:
        what = "a node with whole GPUs, not shares or slices of them,"
    why = "" if by_shape else f"{what} must be free"
    if not (by_shape or partly_taken or in_parts):
        why = too_old or why
    nearest = math.inf
    for shape, names in by_shape.items():
        sized = sizing(wanted, shape, max_nodes=10**6, context=context)
        if sized.fits and sized.nodes <= len(names):
            memory = sized.nodes * shape.gpus * shape.memory_gib
            if best is None or memory < best[0]:
                best = memory, Placement(wanted, tuple(names[: sized.nodes]), sized.why, sized.tight)
        elif (distance := -len(names) * shape.gpus * shape.memory_gib) < nearest:
            # The reason that counts is the largest group's, which came closest.
            nearest = distance
            needed = f"{sized.nodes} {node_check.plural('node', sized.nodes)} of {shape} needed"
            why = f"{needed}, {len(names)} there" if sized.fits else f"{sized.why} ({shape})"
    if best is None and isinstance(wanted, Model) and release == newest(wanted):
        return _on_a_slice(wanted, nodes, context) or Placement(wanted, (), why)
    return best[1] if best else Placement(wanted, (), why)


def _on_a_slice(model: Model, nodes: Sequence[GpuNode], context: int) -> Placement | None:
    """A model on the smallest free MIG slice that holds it, as `resource.partition` asks for; else None."""
    found = []
    for node in nodes:
        for one in node.slices:
            memory_gib = profile_gib(one.resource)
            if memory_gib is None or one.free == 0:
                continue
            sized = sizing(model, Shape(1, memory_gib, is_slice=True), max_nodes=1, context=context)
            if sized.fits:
                why = f"on one MIG slice: resource.partition {{mode: mig, profile: {one.profile}}}"
                found.append((memory_gib, node.name, Placement(model, (node.name,), why, sized.tight)))
    return min(found, key=lambda one: one[:2])[2] if found else None
