"""The GPUs of each node, for whoever asks what runs there: how many are free, and how large. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from msgspec import Struct

from kaitoctl.kaito import catalog, node_check
from kaitoctl.kaito.catalog import Catalog
from kaitoctl.kaito.node_check.sharing import Slices, slices_on
from kaitoctl.kube.objects import Object, dig, quantity, whole_number

_GIB = 2**30


class GpuNode(Struct, frozen=True):
    """A node as `fit.placements` sees it.

    Args:
        name: of the node.
        instance_type: its label, empty when it has none.
        gpus: devices that pods may ask for.
        free: devices that nobody holds; of shares and slices of GPUs only as many as one pod can use.
        memory_gib: memory of one device as the node's labels say, else the catalog; None when neither does.
        catalogued_gib: the other way round: a driver reports a little less than the maker's figure.
        faults: why it cannot be used at all.
        warnings: what speaks against it, and keeps no pod away.
        main_memory_gib: main memory for pods; None when that is not known.
        is_whole: whether each device is a GPU of its own.
        labelled: GPUs that its labels say it has, and pods of KAITO v0.12 ask for; 0 when they say nothing.
        capability: the GPUs' compute capability, None when it is not known.
        slices: MIG slices that it offers under names of their own.
    """

    name: str
    instance_type: str
    gpus: int
    free: int
    memory_gib: float | None
    catalogued_gib: float | None
    faults: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    main_memory_gib: float | None = None
    is_whole: bool = True
    labelled: int = 0
    capability: tuple[int, int] | None = None
    slices: tuple[Slices, ...] = ()


def gpu_nodes(
    nodes: Iterable[Object], pods: Iterable[Object] | None = (), *, known: Catalog = catalog.SHIPPED
) -> tuple[GpuNode, ...]:
    """The nodes that have GPUs, or claim to, with what is free on them.

    Args:
        nodes: as the API server sends them.
        pods: whose GPUs are taken; those that ended are not counted. None when that is not known.
        known: where the memory of an instance type's GPUs is looked up when the node's labels do not tell.
    """
    listed = list(nodes)
    by_name = {name: node for node in listed if isinstance(name := dig(node, "metadata", "name"), str)}
    # The question of check-nodes, asked for a Workspace that names every node and wants nothing else.
    everyone: Object = {"resource": {"instanceType": "-", "preferredNodes": list(by_name)}}
    rules = node_check.Rules(catalog=known)
    seen = []
    there = None if pods is None else list(pods)
    by_node = _by_node(there or ())
    crowds = None if there is None else node_check.crowds(everyone, there)
    for node in node_check.verdict(everyone, listed, there, rules=rules, crowds=crowds).nodes:
        machine = known.machine(node.instance_type)
        if machine is None and any(finding.code == "no-gpu" for finding in node.failures):
            continue  # an ordinary node
        gpus, reported = node.gpus, node.gpus.memory_gib
        catalogued = machine.gpu_memory_gib / machine.gpus if machine and gpus.sharing is None else None
        free = gpus.allocatable if gpus.free is None else gpus.free
        slices = slices_on(
            dig(by_name.get(node.name), "status", "allocatable") or {},
            None if there is None else partial(_held, by_node.get(node.name, ())),
        )
        seen.append(
            GpuNode(
                name=node.name,
                instance_type=node.instance_type,
                gpus=gpus.allocatable,
                free=min(free, gpus.together),
                memory_gib=catalogued if reported is None else reported,
                catalogued_gib=reported if catalogued is None else catalogued,
                faults=tuple(
                    one.message for one in node.failures if not (slices and one.code == "only-mig-slices")
                ),
                slices=slices,
                warnings=tuple(item.message for item in node.warnings if item.code != "gpu-labels-missing"),
                main_memory_gib=_main_memory_gib(by_name.get(node.name)),
                is_whole=gpus.sharing is None,
                labelled=_labelled(by_name.get(node.name)),
                capability=node_check.capability(by_name.get(node.name), known),
            )
        )
    return tuple(seen)


def _by_node(pods: Iterable[Object]) -> Mapping[str, list[Object]]:
    found: dict[str, list[Object]] = {}
    for pod in pods:
        found.setdefault(str(dig(pod, "spec", "nodeName") or ""), []).append(pod)
    return found


def _held(pods: Iterable[Object], resource: str) -> int:
    return sum(node_check.gpus_held(pod, resource) for pod in pods)


def _labelled(node: Object | None) -> int:
    return whole_number(dig(node, "metadata", "labels", "nvidia.com/gpu.count")) or 0


def _main_memory_gib(node: Object | None) -> float | None:
    try:
        return float(quantity(str(dig(node, "status", "allocatable", "memory")))) / _GIB
    except (ValueError, OverflowError):
        return None
