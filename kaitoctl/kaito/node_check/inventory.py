"""Nodes x Pods -> Inventory: how many GPUs there are, who holds them, which are free and which are broken.

A neighbour of `judge`, which asks what one Workspace would get; here nobody asks for anything. What is wrong
with a node is found by the same functions, so that both say the same of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from kaitoctl.kaito import api
from kaitoctl.kaito.catalog import SHIPPED, Catalog, InstanceType
from kaitoctl.kaito.node_check import of_gpus, of_placement, of_state, sharing
from kaitoctl.kaito.node_check.allowed_changes import AllowedChanges
from kaitoctl.kaito.node_check.answer import Finding
from kaitoctl.kaito.node_check.facts import (
    LABEL_COUNT,
    LABEL_MEMORY,
    LABEL_PRODUCT,
    NodeFacts,
    below,
    facts_of,
    gpus_of,
    mapping,
)
from kaitoctl.kaito.node_check.judge import crowds as crowds_of
from kaitoctl.kaito.node_check.judge import gpus_held
from kaitoctl.kaito.node_check.sharing import Sharing, Slices
from kaitoctl.kube.objects import GPU_RESOURCES, Object, whole_number


@dataclass(frozen=True, slots=True, order=True)
class Holder:
    """Whose pods hold GPUs.

    Args:
        kind: `Workspace` for pods that carry its label, else `Pod`.
        namespace: the pods'.
        name: the Workspace's or the pod's.
        of_set: the InferenceSet whose replica the Workspace is; empty without one.
    """

    kind: str
    namespace: str
    name: str
    of_set: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


class Share(Struct, frozen=True):
    """What one holder has in the whole inventory.

    Args:
        holder: whose it is.
        gpus: whole devices.
        nodes: on how many nodes.
    """

    holder: Holder
    gpus: int
    nodes: int


class NodeGpus(Struct, frozen=True):
    """The GPUs of one node, in whole devices of `resource`.

    Args:
        name: the node's.
        resource: the extended resource's name, empty when the node has none.
        capacity: devices that the node reports, or should when it reports none (its labels, the catalogue).
        allocatable: devices that pods may ask for.
        held: devices by holder, the largest first; None when its pods are not known.
        faults: codes of `CODES` that keep pods from free devices, the gravest first.
        warnings: codes of what should be known and keeps nobody away.
        instance_type: its label, empty without one.
        product: model from the feature-discovery labels, else the catalogue's; empty when unknown.
        memory_gib: memory that a pod may use of one device, None when unknown.
        sharing: what the devices are, None when each is a GPU of its own.
        slices: MIG slices that the node offers under names of their own; they are none of its devices.

    Guarantee: `in_use + free + broken == total` whenever `held` is known.
    """

    name: str
    resource: str = ""
    capacity: int = 0
    allocatable: int = 0
    held: tuple[tuple[Holder, int], ...] | None = ()
    faults: tuple[str, ...] = ()
    instance_type: str = ""
    product: str = ""
    memory_gib: float | None = None
    warnings: tuple[str, ...] = ()
    sharing: Sharing | None = None
    slices: tuple[Slices, ...] = ()

    @property
    def in_use(self) -> int | None:
        """Devices that unfinished pods hold; None when that is not known."""
        return None if self.held is None else sum(devices for _, devices in self.held)

    @property
    def total(self) -> int:
        """All devices; pods keep theirs when the device plugin forgets them."""
        return max(self.capacity, self.allocatable, self.in_use or 0)

    @property
    def takes_pods(self) -> bool:
        """Whether a new pod could be placed there at all."""
        return all(code in _GPU_FAULTS and code not in _CLOSING for code in self.faults)

    @property
    def free(self) -> int | None:
        """Devices that a new pod could get now; None when in-use is not known and matters."""
        if not self.takes_pods or not self.allocatable:
            return 0
        return None if self.in_use is None else max(0, self.allocatable - self.in_use)

    @property
    def broken(self) -> int:
        """Devices that nobody has and nobody could get; when in-use is not known, at least so many."""
        if self.in_use is None:
            return self.total - self.allocatable
        return self.total - self.in_use - (self.free or 0)

    @property
    def has_gpus(self) -> bool:
        """Whether it is worth a line in a list of GPU nodes."""
        return bool(self.total or self.faults_of_gpus)

    @property
    def free_block(self) -> int | None:
        """Free devices that one pod can use as so many GPUs; of shares and slices fewer than are free."""
        if self.free is None or self.sharing is None:
            return self.free
        return min(self.free, self.sharing.together)

    @property
    def faults_of_gpus(self) -> tuple[str, ...]:
        """Those faults that are about its GPUs."""
        return tuple(code for code in self.faults if code in _GPU_FAULTS)


# While its GPUs are being changed the node takes nobody, whatever it still offers.
_CLOSING = ("mig-changing", "gpu-driver-upgrade")
_GPU_FAULTS = (
    *_CLOSING,
    "bad-quantity",
    "mig-failed",
    "no-gpu",
    "gpu-not-allocatable",
    "gpus-renamed",
    "only-mig-slices",
    "gpu-unhealthy",
)


class Inventory(Struct, frozen=True):
    """The GPUs of a cluster.

    Args:
        nodes: all nodes, by name.
        shares: what each holder has, the largest first; None when pods could not be listed.
        held_elsewhere: devices of pods on nodes that are not in the list.
    """

    nodes: tuple[NodeGpus, ...]
    shares: tuple[Share, ...] | None = ()
    held_elsewhere: int = 0

    @property
    def gpu_nodes(self) -> tuple[NodeGpus, ...]:
        """The nodes that have GPUs, or should."""
        return tuple(node for node in self.nodes if node.has_gpus)

    @property
    def sets(self) -> tuple[tuple[Share, int], ...]:
        """What the replicas of each InferenceSet have together, and how many replicas that are."""
        found: dict[Holder, tuple[int, int, int]] = {}
        for share in self.shares or ():
            if share.holder.of_set:
                holder = Holder(api.INFERENCE_SET.kind, share.holder.namespace, share.holder.of_set)
                gpus, nodes, replicas = found.get(holder, (0, 0, 0))
                found[holder] = gpus + share.gpus, nodes + share.nodes, replicas + 1
        return tuple((Share(holder, one[0], one[1]), one[2]) for holder, one in sorted(found.items()))

    @property
    def total(self) -> int:
        """All devices of all nodes."""
        return sum(node.total for node in self.nodes)

    @property
    def in_use(self) -> int | None:
        """Devices that pods hold; None when pods could not be listed."""
        return None if self.shares is None else sum(node.in_use or 0 for node in self.nodes)

    @property
    def free(self) -> int | None:
        """Devices that new pods could get; None when pods could not be listed."""
        return None if self.shares is None else sum(node.free or 0 for node in self.nodes)

    @property
    def broken(self) -> int:
        """Devices that nobody has and nobody could get."""
        return sum(node.broken for node in self.nodes)

    @property
    def largest_free(self) -> tuple[int, str] | None:
        """The most free devices on one node, and the first node that has so many; None when not known."""
        if self.shares is None:
            return None
        return max(
            ((node.free_block or 0, node.name) for node in self.nodes),
            key=lambda block: block[0],
            default=(0, ""),
        )

    @property
    def shared(self) -> tuple[NodeGpus, ...]:
        """Nodes whose devices are shares or slices of GPUs."""
        return tuple(node for node in self.nodes if node.sharing is not None and node.total)


def gpu_inventory(
    nodes: Iterable[Object],
    pods: Iterable[Object] | None,
    crowds: Mapping[str, int] | None = None,
    *,
    catalog: Catalog = SHIPPED,
) -> Inventory:
    """Count the GPUs of these nodes by who holds them.

    Args:
        nodes: the cluster's nodes; what is no node is left out, and of two with one name the last counts.
        pods: those that hold GPUs, or all. None when they could not be listed.
        crowds: how many pods are on each node, whatever they hold; None when `pods` are all there are.
        catalog: where instance types are looked up.

    Guarantee: never raises, whatever the nodes and pods look like.
    """
    known = {facts.name: facts for node in nodes if (facts := facts_of(node, catalog)).name}
    resources = {name: _resource(facts) for name, facts in known.items()}
    held: dict[str, Counter[Holder]] = {}
    slices_held: Counter[tuple[str, str]] = Counter()
    elsewhere, listed = 0, list(pods or ())
    crowds = crowds_of({}, listed) if crowds is None else crowds
    for pod in listed:
        node_name = below(pod, "spec", "nodeName")
        if not isinstance(node_name, str):
            continue
        if node_name not in known:
            elsewhere += max((gpus_held(pod, kind) for kind in GPU_RESOURCES), default=0)
            continue
        for kind in sharing.mig_slices(known[node_name].allocatable):
            slices_held[node_name, kind] += gpus_held(pod, kind)
        # A node that lost its device plugin names no resource, and its pods still hold theirs.
        kinds = [kind] if (kind := resources[node_name]) else GPU_RESOURCES
        if devices := max(gpus_held(pod, kind) for kind in kinds):
            held.setdefault(node_name, Counter())[_holder(pod)] += devices
    counted = []
    for name, facts in sorted(known.items()):
        shares = None if pods is None else held.get(name, Counter())
        found = _count_gpus(facts, resources[name], shares, crowds.get(name, 0))
        taken = None if pods is None else partial(_of_node, slices_held, name)
        slices = sharing.slices_on(facts.allocatable, taken, is_closed=not found.takes_pods)
        counted.append(replace(found, slices=slices) if slices else found)
    return Inventory(tuple(counted), None if pods is None else _shares(held), elsewhere)


def _of_node(slices_held: Mapping[tuple[str, str], int], node_name: str, resource: str) -> int:
    return slices_held.get((node_name, resource), 0)


def _holder(pod: Object) -> Holder:
    metadata = mapping(below(pod, "metadata"))
    labels = mapping(metadata.get("labels"))
    workspace = labels.get(api.LABEL_WORKSPACE)
    namespace = str(metadata.get("namespace") or "default")
    if isinstance(workspace, str) and workspace:
        of_set = labels.get(api.LABEL_CREATED_BY_SET)
        return Holder("Workspace", namespace, workspace, of_set if isinstance(of_set, str) else "")
    return Holder("Pod", namespace, str(metadata.get("name") or ""))


def _shares(held: dict[str, Counter[Holder]]) -> tuple[Share, ...]:
    gpus: Counter[Holder] = Counter()
    nodes: Counter[Holder] = Counter()
    for holders in held.values():
        gpus.update(holders)
        nodes.update(holders.keys())
    shares = (Share(holder, devices, nodes[holder]) for holder, devices in gpus.items())
    return tuple(sorted(shares, key=lambda share: (-share.gpus, share.holder)))


def _resource(node: NodeFacts) -> str:
    """The first resource of which the node reports devices; empty when it reports none."""
    return next(
        (
            kind
            for kind in GPU_RESOURCES
            if _devices(node.capacity.get(kind)) or _devices(node.allocatable.get(kind))
        ),
        "",
    )


def _count_gpus(node: NodeFacts, resource: str, held: Counter[Holder] | None, crowd: int) -> NodeGpus:
    instance_type = node.labels.get(api.LABEL_INSTANCE_TYPE, "")
    shape = node.shape
    allocatable = _devices(node.allocatable.get(resource))
    capacity = _devices(node.capacity.get(resource))
    shared: Sharing | None = None
    if resource == api.GPU:
        seen = gpus_of(node, 0)
        shared = seen.sharing
        capacity = of_gpus.expected_gpus(node, seen)[0] if allocatable else capacity
    elif not resource and not _offers_otherwise(node):
        resource, capacity = _expected_gpus(node, shape)
    memory_mib = whole_number(node.labels.get(LABEL_MEMORY), most=10**9)
    memory_gib = round(memory_mib / 1024, 1) if memory_mib else None
    is_known = shape is not None and resource == shape.gpu_resource != ""
    if shape and is_known and not (shared and shared.strategy == "mig"):
        memory_gib = memory_gib or shape.gpu_memory_per_gpu_gib
    found = list(_findings(node, resource, capacity, allocatable, crowd))
    faults = [finding.code for finding in found if finding.level == "fail"]
    return NodeGpus(
        node.name,
        resource,
        capacity,
        allocatable,
        None if held is None else tuple(sorted(held.items(), key=lambda item: (-item[1], item[0]))),
        tuple(dict.fromkeys(faults)),
        instance_type,
        node.labels.get(LABEL_PRODUCT) or (shape.gpu_model if shape and is_known else ""),
        shared.memory_gib(memory_gib) if shared else memory_gib,
        tuple(dict.fromkeys(finding.code for finding in found if finding.code not in faults)),
        shared,
    )


def _offers_otherwise(node: NodeFacts) -> bool:
    """Whether its GPUs are offered as slices or under another name."""
    amounts = {key: amount for key, amount in node.allocatable.items() if _devices(amount)}
    return bool(sharing.mig_slices(amounts) or sharing.renamed(amounts))


def _expected_gpus(node: NodeFacts, shape: InstanceType | None) -> tuple[str, int]:
    """What a node that reports no devices should have: its device plugin does not run."""
    if told := _devices(node.labels.get(LABEL_COUNT)):
        return api.GPU, told
    if shape is not None and shape.gpu_resource in GPU_RESOURCES:
        return shape.gpu_resource, shape.gpus
    return "", 0


def _findings(
    node: NodeFacts, resource: str, capacity: int, allocatable: int, crowd: int
) -> Iterable[Finding]:
    """What keeps everybody from its free devices: what check-nodes says of it, whoever asks.

    Taints that were set by hand are left out: they keep the node for somebody.
    """
    nobody = AllowedChanges(node, "", None, is_named=False)
    yield from of_state.deletion_findings(node)
    yield from of_state.condition_findings(node, keeps_passing=False)
    yield from of_state.cordon_findings(node, nobody)
    yield from of_state.owned_taint_findings(node, (), nobody, None, keeps_passing=False)
    full = of_placement.full_finding(node, crowd)
    if full is not None:
        yield full
    amounts = [side.get(kind) for kind in GPU_RESOURCES for side in (node.capacity, node.allocatable)]
    if any(whole_number(amount) is None for amount in amounts):
        yield Finding("bad-quantity", "fail", "")
        return
    is_nvidia = resource in ("", api.GPU)
    if is_nvidia and (resource or _offers_otherwise(node)):
        yield from of_state.platform_findings(node)
        changing = of_gpus.changing_finding(node, is_enough=allocatable > 0)
        if changing is not None:
            yield changing
        gpus = gpus_of(node, 0)
        yield from of_gpus.sharing_findings(node, gpus, 1)
        if not allocatable:
            yield of_gpus.why_no_gpu(node, gpus)
        elif (unhealthy := of_gpus.unhealthy_finding(node, gpus, capacity)) is not None:
            yield unhealthy
    elif allocatable < capacity:
        yield Finding("gpu-unhealthy" if allocatable else "gpu-not-allocatable", "fail", "")


def _devices(amount: Any) -> int:
    return whole_number(amount) or 0
