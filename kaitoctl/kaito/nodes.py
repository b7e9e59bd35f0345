"""Workspace x Nodes x Pods x catalog -> Verdict: which nodes the Workspace will use, and why not the others.

KAITO lists nodes by the Workspace's labels first and drops what does not fit without a word
(`preferredNodes` cannot override that). Here every node that somebody could expect to be used gets its
findings, each with the command that mends it. The controller and `check-nodes` ask the same function.

Source of the rules: KAITO v0.3.2, `workspace_controller.go` (selection) and the kube-scheduler's own
conditions (allocatable, cordon, taints), which KAITO does not look at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from kaitoctl.kaito import api, catalog
from kaitoctl.kube import pods as pods_
from kaitoctl.kube.objects import (
    GPU_RESOURCES,
    Object,
    dig,
    is_being_deleted,
    labels_of,
    matches_expression,
    quantity,
)

Level = Literal["fail", "warn", "pass"]

# What every generated pod tolerates; anything else keeps it away from a node.
TOLERATIONS: tuple[Object, ...] = (
    {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "sku", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"},
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found out about one node.

    Args:
        code: stable name, `label-missing`.
        level: `fail` means that the node will not be used.
        message: what is so.
        hint: what to do, in words.
        command: what to do, as a command line; empty when no single command mends it.
    """

    code: str
    level: Level
    message: str
    hint: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True)
class Gpus:
    """The GPUs of a node, in whole devices of `resource`.

    Args:
        resource: the extended resource's name, empty when the node offers none.
        capacity: devices that the node has.
        allocatable: devices that pods may ask for.
        in_use: devices that unfinished pods hold.
        product: model from the feature-discovery labels, empty when unknown.
        memory_gib: memory of one device, None when unknown.
    """

    resource: str = ""
    capacity: int = 0
    allocatable: int = 0
    in_use: int = 0
    product: str = ""
    memory_gib: float | None = None

    @property
    def free(self) -> int:
        """Devices that a new pod could get now."""
        return max(0, self.allocatable - self.in_use)


@dataclass(frozen=True, slots=True)
class NodeVerdict:
    """What was found out about one node."""

    name: str
    preferred: bool
    gpus: Gpus
    findings: tuple[Finding, ...]

    @property
    def usable(self) -> bool:
        """Whether nothing speaks against it."""
        return all(finding.level != "fail" for finding in self.findings)

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The findings that keep it from being used."""
        return tuple(finding for finding in self.findings if finding.level == "fail")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer for a whole Workspace.

    Args:
        required: how many nodes it needs.
        nodes: every node looked at, usable or not, in the order of preference.
        selected: names of the nodes that it will use, at most `required`.
        not_found: preferred nodes that do not exist.
    """

    required: int
    nodes: tuple[NodeVerdict, ...]
    selected: tuple[str, ...]
    not_found: tuple[str, ...] = ()
    near_names: Mapping[str, str] = field(default_factory=dict)

    @property
    def missing(self) -> int:
        """How many nodes there are too few."""
        return self.required - len(self.selected)

    @property
    def enough(self) -> bool:
        """Whether the Workspace can run on what there is."""
        return self.missing <= 0

    @property
    def unusable_preferred(self) -> tuple[str, ...]:
        """One sentence for each preferred node that will not be used."""
        sentences = []
        for name in self.not_found:
            near = self.near_names.get(name)
            sentences.append(f"{name}: there is no such node" + (f"; did you mean {near}?" if near else ""))
        sentences += [
            f"{node.name}: " + "; ".join(finding.message for finding in node.failures)
            for node in self.nodes
            if node.preferred and not node.usable
        ]
        return tuple(sentences)


def required_nodes(workspace: Object) -> int:
    """`resource.count`, 1 when absent."""
    return int(dig(workspace, "resource", "count") or 1)


def instance_type_of(workspace: Object) -> str:
    """`resource.instanceType`, or the default that the CRD of v1alpha1 gives."""
    return str(dig(workspace, "resource", "instanceType") or api.DEFAULT_INSTANCE_TYPE)


def preferred_nodes(workspace: Object) -> list[str]:
    """`resource.preferredNodes` without repetitions, in the user's order."""
    return list(dict.fromkeys(dig(workspace, "resource", "preferredNodes") or ()))


def verdict(workspace: Object, nodes: Iterable[Object], pods: Iterable[Object] = ()) -> Verdict:
    """Judge all nodes that the Workspace names or whose instance type it asks for.

    Args:
        workspace: the Workspace; defaults need not have been filled in.
        nodes: the cluster's nodes.
        pods: pods whose GPUs are taken; leave the Workspace's own out. Empty when in-use is not to be judged.
    """
    by_name = {str(node["metadata"]["name"]): node for node in nodes}
    preferred = preferred_nodes(workspace)
    wanted_type = instance_type_of(workspace)
    in_use = _in_use(pods)

    judged = []
    for name, node in by_name.items():
        is_preferred = name in preferred
        if is_preferred or labels_of(node).get(api.LABEL_INSTANCE_TYPE) == wanted_type:
            judged.append(_judge(workspace, node, is_preferred, in_use.get(name, {})))

    already = set(dig(workspace, "status", "workerNodes") or ())
    rank = {name: position for position, name in enumerate(preferred)}

    def order(node: NodeVerdict) -> tuple[int, bool, bool, str]:
        labels = labels_of(by_name[node.name])
        made_for_us = api.LABEL_NODE_POOL in labels or api.LABEL_MACHINE_TYPE in labels
        return rank.get(node.name, len(rank)), node.name not in already, not made_for_us, node.name

    judged.sort(key=order)
    required = required_nodes(workspace)
    not_found = tuple(name for name in preferred if name not in by_name)
    near = {name: match[0] for name in not_found if (match := catalog.close_matches(name, by_name))}
    selected = tuple(node.name for node in judged if node.usable)[:required]
    return Verdict(required, tuple(judged), selected, not_found, near)


def gpus_per_pod(workspace: Object, selected: Iterable[NodeVerdict]) -> int:
    """How many GPUs each pod asks for: the instance type's, but no more than the smallest chosen node has.

    KAITO always takes the instance type's number, so a Workspace on a prepared node with one GPU and the
    default instance type (two GPUs) stays Pending for ever.
    """
    shape = catalog.instance_type(instance_type_of(workspace))
    counts = [node.gpus.allocatable for node in selected]
    if shape is not None:
        counts.append(shape.gpus)
    return min(counts, default=_gpus_of_preset(workspace))


def _gpus_of_preset(workspace: Object) -> int:
    preset = catalog.preset(str(dig(workspace, "inference", "preset", "name") or ""))
    return preset.gpu_count if preset else 1


def _judge(workspace: Object, node: Object, preferred: bool, in_use: Mapping[str, int]) -> NodeVerdict:
    gpus = _gpus(node, in_use)
    findings = [
        *_label_findings(workspace, node),
        *_condition_findings(node),
        *_scheduling_findings(node),
        *_gpu_findings(workspace, node, gpus),
    ]
    return NodeVerdict(str(node["metadata"]["name"]), preferred, gpus, tuple(findings))


def _label_findings(workspace: Object, node: Object) -> Iterable[Finding]:
    name, labels = node["metadata"]["name"], labels_of(node)
    for key, value in (dig(workspace, "resource", "labelSelector", "matchLabels") or {}).items():
        have = labels.get(key)
        if have == value:
            continue
        command = f"kubectl label node {name} {key}={value}"
        hint = "KAITO lists nodes by these labels first; preferredNodes does not override that"
        if have is None:
            yield Finding("label-missing", "fail", f"label {key}={value} is missing", hint, command)
        else:
            yield Finding(
                "label-differs",
                "fail",
                f"label {key} is {have!r}, not {value!r}",
                hint,
                f"{command} --overwrite",
            )
    for expression in dig(workspace, "resource", "labelSelector", "matchExpressions") or ():
        try:
            fits = matches_expression(expression, labels)
        except (ValueError, KeyError):
            continue  # the schema's and the rules' business
        if not fits:
            values = ",".join(expression.get("values") or ())
            message = f"labels do not satisfy: {expression['key']} {expression['operator']} {values}".rstrip()
            yield Finding("label-differs", "fail", message)


def _condition_findings(node: Object) -> Iterable[Finding]:
    name = node["metadata"]["name"]
    look = f"kubectl describe node {name}"
    if is_being_deleted(node):
        yield Finding("being-deleted", "fail", "the node is being deleted", "choose another node")
    conditions = {item.get("type"): item for item in dig(node, "status", "conditions") or ()}
    ready = conditions.get("Ready") or {}
    if ready.get("status") != "True":
        why = ready.get("message") or ready.get("reason") or "it has never reported"
        yield Finding("not-ready", "fail", f"the node is not Ready: {why}", "see its conditions", look)
    for kind in ("DiskPressure", "MemoryPressure", "PIDPressure"):
        if (conditions.get(kind) or {}).get("status") == "True":
            yield Finding("pressure", "warn", f"the node reports {kind}", "pods may be evicted from it", look)


def _scheduling_findings(node: Object) -> Iterable[Finding]:
    name = node["metadata"]["name"]
    if dig(node, "spec", "unschedulable"):
        yield Finding(
            "cordoned", "fail", "the node is cordoned", "let it take pods again", f"kubectl uncordon {name}"
        )
    for taint in dig(node, "spec", "taints") or ():
        # A cordon shows up as this taint too; one finding for one cause.
        if taint.get("effect") not in ("NoSchedule", "NoExecute") or _is_cordon(taint):
            continue
        if not any(_tolerates(toleration, taint) for toleration in TOLERATIONS):
            text = f"{taint.get('key')}={taint.get('value') or ''}:{taint.get('effect')}"
            yield Finding(
                "taint-not-tolerated",
                "fail",
                f"taint {text} is not tolerated by the pods that a Workspace makes",
                "they tolerate nvidia.com/gpu:NoSchedule and sku=gpu:NoSchedule",
                f"kubectl taint node {name} {taint.get('key')}:{taint.get('effect')}-",
            )


def _is_cordon(taint: Object) -> bool:
    return str(taint.get("key") or "").startswith("node.kubernetes.io/")


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration["key"] != taint.get("key") or toleration["effect"] != taint.get("effect"):
        return False
    return toleration["operator"] == "Exists" or toleration.get("value") == (taint.get("value") or "")


def _gpu_findings(workspace: Object, node: Object, gpus: Gpus) -> Iterable[Finding]:
    name = node["metadata"]["name"]
    for where in ("capacity", "allocatable"):
        amount = dig(node, "status", where, api.GPU)
        try:
            quantity(amount or 0)
        except ValueError:
            message = f"status.{where} says {amount!r} {api.GPU}, which is not a quantity"
            yield Finding("bad-quantity", "fail", message, "the device plugin reports nonsense")
            return
    if gpus.allocatable == 0:
        plugin = f"kubectl get pods -A --field-selector spec.nodeName={name}"
        if gpus.capacity:
            message = f"it has {gpus.capacity} GPUs, but none is allocatable"
            yield Finding(
                "gpu-not-allocatable", "fail", message, "the device plugin says they are unhealthy", plugin
            )
        elif other := next((kind for kind in GPU_RESOURCES if dig(node, "status", "allocatable", kind)), ""):
            yield Finding("other-vendor-gpu", "fail", f"it offers {other}, and the presets need {api.GPU}")
        else:
            message = f"status.allocatable has no {api.GPU}"
            hint = "install the GPU vendor's device plugin, or see why it does not run on this node"
            yield Finding("no-gpu", "fail", message, hint, plugin)
        return
    needed = _gpus_needed(workspace, node)
    if gpus.allocatable < needed:
        message = f"{gpus.allocatable} GPUs are allocatable, and each pod needs {needed}"
        yield Finding("too-few-gpus", "fail", message, "choose a larger node")
    elif gpus.free < needed:
        message = f"{gpus.free} of {gpus.allocatable} GPUs are free, and each pod needs {needed}"
        hint = "wait for the pods that hold them, or move those away"
        yield Finding(
            "gpus-in-use", "fail", message, hint, f"kubectl get pods -A --field-selector spec.nodeName={name}"
        )
    else:
        yield Finding("gpu-ok", "pass", f"{gpus.allocatable} {gpus.resource} allocatable, {gpus.free} free")


def _gpus_needed(workspace: Object, node: Object) -> int:
    """On a node of the Workspace's own instance type all of its GPUs; elsewhere what the preset needs."""
    wanted = instance_type_of(workspace)
    shape = catalog.instance_type(wanted)
    if shape is not None and labels_of(node).get(api.LABEL_INSTANCE_TYPE) == wanted:
        return shape.gpus
    return _gpus_of_preset(workspace)


def _gpus(node: Object, in_use: Mapping[str, int]) -> Gpus:
    labels = labels_of(node)
    memory_mib = labels.get("nvidia.com/gpu.memory", "")
    return Gpus(
        resource=api.GPU if dig(node, "status", "allocatable", api.GPU) else "",
        capacity=_whole(dig(node, "status", "capacity", api.GPU)),
        allocatable=_whole(dig(node, "status", "allocatable", api.GPU)),
        in_use=in_use.get(api.GPU, 0),
        product=labels.get("nvidia.com/gpu.product", ""),
        memory_gib=round(int(memory_mib) / 1024, 1) if memory_mib.isdecimal() else None,
    )


def _whole(amount: object) -> int:
    try:
        return max(0, int(quantity(str(amount or 0))))
    except (ValueError, OverflowError):
        return 0


def _in_use(pods: Iterable[Object]) -> dict[str, dict[str, int]]:
    used: dict[str, dict[str, int]] = {}
    for pod in pods:
        node = dig(pod, "spec", "nodeName")
        if not node or pods_.is_finished(pod):
            continue
        if devices := pods_.gpu_request(pod, api.GPU):
            on_node = used.setdefault(node, {})
            on_node[api.GPU] = on_node.get(api.GPU, 0) + devices
    return used
