"""Workspace x Nodes x Pods -> Verdict: the rules, one function for each kind of finding."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Container, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import Any

from kaitoctl.kaito import api, catalog
from kaitoctl.kaito.nodes.answer import (
    OWN_RULES,
    Finding,
    Gpus,
    Level,
    NodeVerdict,
    Rules,
    Verdict,
    plural,
)
from kaitoctl.kaito.nodes.facts import (
    LABEL_COUNT,
    LABEL_PCI,
    LABEL_PRESENT,
    LABEL_PRODUCT,
    LABELS_OWNER,
    READ_LABELS,
    NodeFacts,
    below,
    facts_of,
    gpus_of,
    items,
    mapping,
    name_of,
    texts,
    whole_number,
)
from kaitoctl.kube import pods as pods_
from kaitoctl.kube.objects import GPU_RESOURCES, Object, matches_expression

# What every generated pod tolerates; anything else keeps it away from a node.
TOLERATIONS: tuple[Object, ...] = (
    {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "sku", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"},
)
# KAITO v0.12 adds this one.
_SPOT: Object = {
    "key": "kubernetes.azure.com/scalesetpriority",
    "operator": "Equal",
    "value": "spot",
    "effect": "NoSchedule",
}

# A driver reports less than the maker's figure: 23028 MiB of an A10's 24 GiB, 15360 of a T4's 16 (0.94).
_REPORTED_SHARE = 0.93
_NAMES_COMPARED = 20
_MIG = "nvidia.com/mig-"
# From v0.12 on KAITO drops these keys from matchLabels.
_RESERVED = frozenset(
    {
        api.LABEL_WORKSPACE,
        api.LABEL_WORKSPACE_NAMESPACE,
        "kaito.sh/ragengine",
        "kaito.sh/ragenginenamespace",
        *LABELS_OWNER,
        "karpenter.kaito.sh/inferenceset",
        "karpenter.kaito.sh/inferenceset-namespace",
    }
)


# --- what a Workspace asks for -----------------------------------------------------------------------------


def required_nodes(workspace: Object) -> int:
    """`resource.count`, 1 when absent."""
    count = below(workspace, "resource", "count")
    return count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else 1


def instance_type_of(workspace: Object) -> str:
    """`resource.instanceType`, or the default of the CRD; empty in v1beta1, which has none.

    Without one, nodes of any type will do if they have the labels, and none can be asked for.
    """
    named = below(workspace, "resource", "instanceType")
    is_v1beta1 = below(workspace, "apiVersion") == api.WORKSPACE_V1BETA1.api_version
    return str(named or ("" if is_v1beta1 else api.DEFAULT_INSTANCE_TYPE))


def preferred_nodes(workspace: Object) -> list[str]:
    """`resource.preferredNodes` without repetitions, in the user's order."""
    return list(dict.fromkeys(_named(workspace)))


def labels_asked(workspace: Object, rules: Rules = OWN_RULES) -> dict[str, str]:
    """The labels that a node must carry to be selected."""
    asked = texts(below(workspace, "resource", "labelSelector", "matchLabels"))
    if not rules.is_modern:
        return asked
    asked = {key: value for key, value in asked.items() if key not in _RESERVED}
    metadata = mapping(below(workspace, "metadata"))
    if rules.provisioner == "azure-gpu-provisioner":
        asked = {
            api.LABEL_WORKSPACE: str(metadata.get("name") or ""),
            api.LABEL_WORKSPACE_NAMESPACE: str(metadata.get("namespace") or "default"),
        }
    return asked


def labels_read(workspace: Object, rules: Rules = OWN_RULES) -> list[str]:
    """The keys of all node labels that a verdict for this Workspace reads."""
    expressions = items(below(workspace, "resource", "labelSelector", "matchExpressions"))
    keys = [key for item in expressions if isinstance(key := below(item, "key"), str)]
    return list(dict.fromkeys([*READ_LABELS, *labels_asked(workspace, rules), *keys]))


def rules_for(workspace: Object, target: str, provisioner: str = "") -> Rules:
    """The rules of a target version; without a provisioner the one that the Workspace suggests.

    From v0.12 on KAITO refuses an instance type on your own nodes and demands one everywhere else.
    """
    suggested = "azure-gpu-provisioner" if below(workspace, "resource", "instanceType") else "byo"
    return Rules(target, provisioner or suggested)


def pods_of_others(workspace: Object, pods: Iterable[Object]) -> list[Object]:
    """The pods that hold GPUs on a node and are not the Workspace's own: those whose GPUs are taken."""
    metadata = mapping(below(workspace, "metadata"))
    own = (metadata.get("namespace") or "default", metadata.get("name"))
    others = []
    for pod in pods:
        labels = mapping(below(pod, "metadata", "labels"))
        theirs = (below(pod, "metadata", "namespace") or "default", labels.get(api.LABEL_WORKSPACE))
        if theirs != own and gpus_held(pod):
            others.append(pod)
    return others


def gpus_held(pod: Object, resource: str = api.GPU) -> int:
    """How many whole GPUs a pod holds on its node; 0 before it has one, and once it has finished."""
    held = pods_.gpu_request(pod, resource)
    return held if held and below(pod, "spec", "nodeName") and not pods_.is_finished(pod) else 0


def offers_gpus(node: Object) -> bool:
    """Whether pods can have NVIDIA GPUs of this node."""
    return bool(whole_number(below(node, "status", "allocatable", api.GPU)))


def what_counts(node: Object) -> object:
    """All that a verdict reads of a node: when it is equal, so is the verdict."""
    return facts_of(node)


# --- the verdict -------------------------------------------------------------------------------------------


def verdict(
    workspace: Object,
    nodes: Iterable[Object],
    pods: Iterable[Object] | None = (),
    *,
    rules: Rules = OWN_RULES,
    known_names: Iterable[str] = (),
    pods_of: Container[str] | None = None,
    known: MutableMapping[tuple[object, ...], NodeVerdict] | None = None,
) -> Verdict:
    """Judge all nodes that the Workspace names, labels select, or whose instance type it asks for.

    Args:
        workspace: the Workspace; defaults need not have been filled in.
        nodes: the cluster's nodes; what is no node is left out.
        pods: pods whose GPUs are taken; leave the Workspace's own out (`pods_of_others`). None when they
            could not be listed: in-use is unknown then, and not judged.
        rules: whose selection to mirror.
        known_names: further nodes of the cluster, for "did you mean".
        pods_of: the nodes whose pods are listed, None for all; of others in-use is unknown.
        known: what was judged before, for whoever asks again and again: a node in the same version is not
            judged twice for Workspaces that ask for the same.

    Guarantee: never raises, whatever the nodes and pods look like.
    """
    need = _need(workspace, rules)
    asked = None if known is None else _asked(workspace, rules)
    in_use = None if pods is None else _in_use(pods)
    judged: dict[str, NodeVerdict] = {}
    made_for_us: set[str] = set()
    names: set[str] = set()
    for node in nodes:
        if not (name := name_of(node)):
            continue
        names.add(name)
        labels = mapping(below(node, "metadata", "labels"))
        if not need.concerns(name, labels):
            continue
        is_listed = in_use is not None and (pods_of is None or name in pods_of)
        used = in_use.get(name, 0) if in_use is not None and is_listed else None
        version = below(node, "metadata", "resourceVersion")
        if known is None or not version:
            judged[name] = _judge(need, facts_of(node), used)
        elif (found := known.get(slot := (asked, name, version, used))) is not None:
            judged[name] = found
        else:
            judged[name] = known[slot] = _judge(need, facts_of(node), used)
        if api.LABEL_NODE_POOL in labels or api.LABEL_MACHINE_TYPE in labels:
            made_for_us.add(name)

    not_found = tuple(name for name in need.preferred if name not in judged)
    # Nobody means a node that the list has already.
    near = _near_names(not_found, {*names, *known_names} - set(need.preferred))
    for name in not_found:
        judged[name] = _not_found(name, near.get(name), need)

    already = {name for name in items(below(workspace, "status", "workerNodes")) if isinstance(name, str)}

    def order(node: NodeVerdict) -> tuple[int, bool, bool, str]:
        rank = 0 if rules.is_modern else need.preferred.get(node.name, len(need.preferred))
        return rank, node.name not in already, node.name not in made_for_us, node.name

    ordered = _alike(sorted(judged.values(), key=order), need)
    selected = tuple(node.name for node in ordered if node.usable)[: need.required]
    return Verdict(need.required, tuple(ordered), selected, not_found, need.instance_type, rules)


def gpus_per_pod(workspace: Object, selected: Iterable[NodeVerdict]) -> int:
    """How many GPUs each pod asks for: the instance type's, but no more than the smallest chosen node has.

    KAITO always takes the instance type's number, so a Workspace on a prepared node with one GPU and the
    default instance type (two GPUs) stays Pending for ever.
    """
    shape = catalog.instance_type(instance_type_of(workspace))
    counts = [node.gpus.allocatable for node in selected]
    if shape is not None:
        counts.append(shape.gpus)
    return min(counts, default=_preset_gpus(_preset_of(workspace)))


@dataclass(frozen=True, slots=True)
class _Need:
    """What a Workspace asks of a node, read once."""

    rules: Rules
    required: int
    labels: Mapping[str, str]
    expressions: tuple[Object, ...]
    instance_type: str
    shape: catalog.InstanceType | None
    preferred: Mapping[str, int]
    repeated: frozenset[str]
    preset: catalog.Preset | None
    owner: tuple[str, str]

    def concerns(self, name: str, labels: Mapping[str, Any]) -> bool:
        """Whether somebody could expect the node to be used: its name, its type, or all labels say so."""
        if name in self.preferred:
            return True
        if self.instance_type and labels.get(api.LABEL_INSTANCE_TYPE) == self.instance_type:
            return True
        return bool(self.labels) and all(labels.get(key) == value for key, value in self.labels.items())

    def gpus_asked(self, node: NodeFacts, allocatable: int) -> tuple[int, int]:
        """How many GPUs the node must have, and how many the pod will get there."""
        least = _preset_gpus(self.preset)
        if self.rules.target == "kaitoctl":
            if self.shape and node.labels.get(api.LABEL_INSTANCE_TYPE) == self.instance_type:
                return self.shape.gpus, self.shape.gpus
            return least, max(least, min(allocatable, self.shape.gpus if self.shape else allocatable))
        if self.rules.is_byo:
            count = whole_number(node.labels.get(LABEL_COUNT)) or 1
        else:
            count = self.shape.gpus if self.shape else least
        return count, count


def _asked(workspace: Object, rules: Rules) -> tuple[object, ...]:
    """All that `_need` reads of a Workspace, as something that can be compared."""
    metadata = mapping(below(workspace, "metadata"))
    presets = [below(workspace, use, "preset", "name") for use in ("inference", "tuning")]
    owner = (metadata.get("namespace"), metadata.get("name")) if rules.is_modern else ()
    planned = below(workspace, "status", "targetNodeCount") if rules.is_modern else None
    version, resource = below(workspace, "apiVersion"), below(workspace, "resource")
    return rules, repr((version, resource, presets, owner, planned))


def _need(workspace: Object, rules: Rules) -> _Need:
    named = _named(workspace)
    wanted = "" if rules.is_byo else instance_type_of(workspace)
    required = required_nodes(workspace)
    planned = below(workspace, "status", "targetNodeCount")
    if rules.is_modern and isinstance(planned, int) and planned > 0:
        required = planned
    metadata = mapping(below(workspace, "metadata"))
    expressions = items(below(workspace, "resource", "labelSelector", "matchExpressions"))
    return _Need(
        rules,
        required,
        labels_asked(workspace, rules),
        tuple(item for item in expressions if isinstance(item, dict)),
        wanted,
        catalog.instance_type(wanted),
        {name: position for position, name in enumerate(dict.fromkeys(named))},
        frozenset(name for name, times in Counter(named).items() if times > 1),
        _preset_of(workspace),
        (str(metadata.get("namespace") or "default"), str(metadata.get("name") or "")),
    )


def _judge(need: _Need, node: NodeFacts, in_use: int | None) -> NodeVerdict:
    preferred = node.name in need.preferred
    gpus = gpus_of(node, in_use)
    findings = [
        *_deletion_findings(node),
        *_label_findings(need, node),
        *_selection_findings(need, node, preferred),
        *_condition_findings(node),
        *_scheduling_findings(need, node),
        *_gpu_findings(need, node, gpus),
    ]
    if node.name in need.repeated:
        findings.append(_listed_twice(node.name))
    return NodeVerdict(
        node.name,
        preferred,
        gpus,
        tuple(findings),
        ready=node.is_ready,
        instance_type=node.labels.get(api.LABEL_INSTANCE_TYPE, ""),
        labels_asked=len(need.labels),
        labels_to_set={key: value for key, value in need.labels.items() if node.labels.get(key) != value},
        taints=sum(_keeps_away(taint) and not _is_condition(taint) for taint in node.taints),
    )


def _listed_twice(name: str) -> Finding:
    message = "preferredNodes names the node more than once; it counts once"
    return Finding("listed-twice", "warn", message, f"name {name} once", stage="selection")


def _not_found(name: str, near: str | None, need: _Need) -> NodeVerdict:
    message = "there is no such node" + (f"; did you mean {near}?" if near else "")
    hint = (
        f"write {near} in preferredNodes" if near else "take the name out of preferredNodes, or add the node"
    )
    findings = [Finding("not-found", "fail", message, hint, "kubectl get nodes", "selection")]
    if name in need.repeated:
        findings.append(_listed_twice(name))
    return NodeVerdict(
        name,
        True,
        Gpus(in_use=None),
        tuple(findings),
        exists=False,
        ready=False,
        labels_asked=len(need.labels),
    )


def _near_names(missing: Iterable[str], names: set[str]) -> dict[str, str]:
    """What was probably meant; only for the first few, for a comparison with all nodes is slow."""
    first = list(missing)[:_NAMES_COMPARED]
    known = sorted(names) if first else []
    return {name: match[0] for name in first if (match := catalog.close_matches(name, known))}


def _alike(nodes: list[NodeVerdict], need: _Need) -> list[NodeVerdict]:
    """Say it of every chosen node whose GPUs differ from the first one's."""
    chosen = [node for node in nodes if node.usable]
    if not need.rules.is_byo:
        chosen = chosen[: need.required]
    kinds = Counter(_likeness(node.gpus, need) for node in chosen)
    if len(kinds) < 2:
        return nodes
    usual = kinds.most_common(1)[0][0]
    example = next(node.gpus for node in chosen if _likeness(node.gpus, need) == usual)
    level: Level = "fail" if need.rules.is_byo else "warn"
    odd = {node.name for node in chosen if _likeness(node.gpus, need) != usual}
    changed = []
    for node in nodes:
        if node.name in odd:
            message = f"{_described(node.gpus)}, while others have {_described(example)}"
            finding = Finding("gpus-not-alike", level, message, "use nodes with equal GPUs", stage="model")
            node = replace(node, findings=(*node.findings, finding))
        changed.append(node)
    return changed


def _likeness(gpus: Gpus, need: _Need) -> tuple[object, ...]:
    """What must be equal; on your own nodes to the letter."""
    if need.rules.is_byo:
        return gpus.product, gpus.allocatable, gpus.memory_gib
    words = [word for word in gpus.product.replace("-", " ").split() if word not in ("NVIDIA", "Tesla")]
    return tuple(words[:1]), gpus.memory_gib and round(gpus.memory_gib / 4)


# --- findings ----------------------------------------------------------------------------------------------


def _deletion_findings(node: NodeFacts) -> Iterable[Finding]:
    if node.is_being_deleted:
        yield Finding(
            "being-deleted", "fail", "the node is being deleted", "choose another node", stage="selection"
        )


def _label_findings(need: _Need, node: NodeFacts) -> Iterable[Finding]:
    hint = "KAITO lists nodes by these labels first; preferredNodes does not override that"
    differs = (
        hint if node.name in need.preferred else "another Workspace may rely on it: look before you change it"
    )
    for key, value in need.labels.items():
        have = node.labels.get(key)
        if have == value:
            continue
        command = f"kubectl label node {_word(node.name)} {_word(f'{key}={value}')}"
        if have is None:
            message = f"label {key}={value} is missing"
            yield Finding("label-missing", "fail", message, hint, command, "selection")
        else:
            message = f"label {key} is {have!r}, not {value!r}"
            yield Finding("label-differs", "fail", message, differs, f"{command} --overwrite", "selection")
    for expression in need.expressions:
        try:
            if matches_expression(expression, node.labels):
                continue
            values = ",".join(str(value) for value in items(expression.get("values")))
            message = f"labels do not satisfy: {expression['key']} {expression['operator']} {values}".rstrip()
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # the schema's and the rules' business
        yield Finding(
            "label-differs",
            "fail",
            message,
            "KAITO itself does not read matchExpressions",
            f"kubectl get node {_word(node.name)} --show-labels",
        )


def _selection_findings(need: _Need, node: NodeFacts, preferred: bool) -> Iterable[Finding]:
    rules = need.rules
    if preferred and rules.is_modern:
        yield Finding(
            "preferred-ignored",
            "warn",
            "KAITO v0.12 does not read preferredNodes",
            "choose nodes by their labels",
            stage="selection",
        )
    have = node.labels.get(api.LABEL_INSTANCE_TYPE, "")
    if need.instance_type and have != need.instance_type and (not preferred or rules.is_modern):
        message = f"instance type is {have or 'unknown'}, not {need.instance_type}"
        hint = f"ask for --instance-type {have}" if rules.is_modern else f"name {node.name} in preferredNodes"
        yield Finding("instance-type-differs", "fail", message, hint, stage="selection")
    if rules.is_modern and rules.provisioner == "karpenter":
        owner = tuple(node.labels.get(key, "") for key in LABELS_OWNER)
        if any(owner) and owner != need.owner:
            message = f"KAITO made it for the Workspace {'/'.join(owner)}"
            yield Finding("of-another-workspace", "fail", message, "choose another node", stage="selection")


def _condition_findings(node: NodeFacts) -> Iterable[Finding]:
    look = f"kubectl describe node {_word(node.name)}"
    if not node.is_ready:
        _, why = node.conditions.get("Ready", ("", ""))
        message = f"the node is not Ready: {why or 'it has never reported'}"
        yield Finding("not-ready", "fail", message, "see its conditions", look, "selection")
    for kind in ("DiskPressure", "MemoryPressure", "PIDPressure"):
        if node.conditions.get(kind, ("", ""))[0] == "True":
            yield Finding("pressure", "warn", f"the node reports {kind}", "pods may be evicted from it", look)


def _scheduling_findings(need: _Need, node: NodeFacts) -> Iterable[Finding]:
    name = _word(node.name)
    if node.is_cordoned:
        yield Finding(
            "cordoned", "fail", "the node is cordoned", "let it take pods again", f"kubectl uncordon {name}"
        )
    tolerations = (*TOLERATIONS, _SPOT) if need.rules.is_modern else TOLERATIONS
    for taint in node.taints:
        # A cordon or an unready node shows up as a taint, too; one finding for one cause.
        if not _keeps_away(taint) or _is_condition(taint):
            continue
        if not any(_tolerates(toleration, taint) for toleration in tolerations):
            key, value, effect = taint.get("key"), taint.get("value"), taint.get("effect")
            text = f"{key}={value}:{effect}" if value else f"{key}:{effect}"
            yield Finding(
                "taint-not-tolerated",
                "fail",
                f"taint {text} is not tolerated by the pods that a Workspace makes",
                "they tolerate nvidia.com/gpu:NoSchedule and sku=gpu:NoSchedule",
                f"kubectl taint node {name} {_word(f'{key}:{effect}-')}",
            )


_CONDITION_TAINTS = frozenset(
    {"unschedulable", "not-ready", "unreachable", "disk-pressure", "memory-pressure", "pid-pressure"}
)


def _keeps_away(taint: Object) -> bool:
    return taint.get("effect") in ("NoSchedule", "NoExecute")


def _is_condition(taint: Object) -> bool:
    """Whether the node controller keeps this taint in step with a condition or cordon judged here."""
    return str(taint.get("key") or "").removeprefix("node.kubernetes.io/") in _CONDITION_TAINTS


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration["key"] != taint.get("key") or toleration["effect"] != taint.get("effect"):
        return False
    return toleration["operator"] == "Exists" or toleration.get("value") == (taint.get("value") or "")


def _gpu_findings(need: _Need, node: NodeFacts, gpus: Gpus) -> Iterable[Finding]:
    for where, amounts in (("capacity", node.capacity), ("allocatable", node.allocatable)):
        if whole_number(amounts.get(api.GPU, 0)) is None:
            message = f"status.{where} says {amounts[api.GPU]!r:.60} {api.GPU}: not a number of devices"
            look = f"kubectl get node {_word(node.name)} -o jsonpath='{{.status.{where}}}'"
            yield Finding("bad-quantity", "fail", message, "the device plugin reports nonsense", look)
            return
    if gpus.allocatable == 0:
        yield _why_no_gpu(need, node, gpus)
        return
    needed, gets = need.gpus_asked(node, gpus.allocatable)
    on_node = f"kubectl get pods -A --field-selector spec.nodeName={_word(node.name)}"
    ok = False
    if gpus.allocatable < needed:
        have = _count(gpus.allocatable, "GPU")
        of = f", as many as {need.instance_type} has" if need.shape and needed == need.shape.gpus else ""
        message = f"{have} allocatable, and each pod asks for {needed}{of}"
        hint = "set an --instance-type with as many GPUs as the node has, or choose a larger node"
        yield Finding("too-few-gpus", "fail", message, hint)
    elif gpus.free is not None and gpus.free < needed:
        message = f"{gpus.free} of {_count(gpus.allocatable, 'GPU')} free, and each pod asks for {needed}"
        hint = "wait for the pods that hold them, or move those away"
        yield Finding("gpus-in-use", "fail", message, hint, on_node)
    else:
        ok = True
    yield from _memory_findings(need, node, gpus, gets)
    if ok:
        free = "in use unknown" if gpus.free is None else f"{gpus.free} free"
        yield Finding("gpu-ok", "pass", f"{_described(gpus)} allocatable, {free}")


def _why_no_gpu(need: _Need, node: NodeFacts, gpus: Gpus) -> Finding:
    plugin = f"kubectl get pods -A --field-selector spec.nodeName={_word(node.name)}"
    labels = node.labels
    amounts = node.allocatable.items()
    slices = [key for key, amount in amounts if key.startswith(_MIG) and whole_number(amount)]
    if slices:
        message = f"it offers only MIG slices: {', '.join(sorted(slices)[:4])}"
        command = f"kubectl label node {_word(node.name)} nvidia.com/mig.config=all-disabled --overwrite"
        return Finding("only-mig-slices", "fail", message, f"the pods ask for whole {api.GPU}", command)
    if gpus.capacity:
        message = f"it has {_count(gpus.capacity, 'GPU')}, and none is allocatable"
        hint = "the device plugin stopped or holds them for unhealthy; see its pod on this node"
        return Finding("gpu-not-allocatable", "fail", message, hint, plugin)
    if other := next((kind for kind in GPU_RESOURCES[1:] if whole_number(node.allocatable.get(kind))), ""):
        hint = "choose a node with NVIDIA GPUs"
        return Finding("other-vendor-gpu", "fail", f"it offers {other}, and the pods ask for {api.GPU}", hint)
    if any(labels.get(key) for key in (LABEL_PRODUCT, LABEL_COUNT)) or "true" in (
        labels.get(LABEL_PRESENT),
        labels.get(LABEL_PCI),
    ):
        told = labels.get(LABEL_PRODUCT) or "an NVIDIA GPU"
        message = f"its labels say {told}, but neither capacity nor allocatable shows {api.GPU}"
        hint = "the device plugin does not run on this node, or the driver failed; see its pod there"
        return Finding("gpu-not-allocatable", "fail", message, hint, plugin)
    message = f"status.allocatable has no {api.GPU}"
    if shape := catalog.instance_type(labels.get(api.LABEL_INSTANCE_TYPE, "")):
        message += f", although a {shape.name} has {_count(shape.gpus, shape.gpu_model)}"
    hint = "install the GPU vendor's device plugin, or see why it does not run on this node"
    return Finding("no-gpu", "fail", message, hint, plugin)


def _memory_findings(need: _Need, node: NodeFacts, gpus: Gpus, gets: int) -> Iterable[Finding]:
    if gpus.memory_gib is None or not gpus.product:
        what = "product and memory of its GPUs are" if not gpus.product else "the memory of its GPUs is"
        yield Finding(
            "gpu-labels-missing",
            "fail" if need.rules.is_byo else "warn",
            f"{what} unknown: no labels nvidia.com/gpu.product and .memory",
            "install GPU feature discovery (part of the GPU operator)",
            stage="model",
        )
    preset, each = need.preset, gpus.memory_gib
    if preset is None or each is None:
        return
    nodes = need.required if preset.distributed else 1
    total, per_node = each * gets, preset.total_gpu_memory_gib / nodes
    if each < preset.per_gpu_memory_gib * _REPORTED_SHARE:
        message = (
            f"each GPU has {each:g} GiB, and {preset.name} needs {preset.per_gpu_memory_gib} GiB on each"
        )
    elif total < per_node * _REPORTED_SHARE:
        message = (
            f"{_count(gets, 'GPU')} of {each:g} GiB make {total:g}, and {preset.name} needs {per_node:g} GiB"
        )
    else:
        return
    yield Finding(
        "gpu-memory-too-small", "fail", message, "choose a node with larger or more GPUs", stage="model"
    )


def _in_use(pods: Iterable[Object]) -> dict[str, int]:
    used: dict[str, int] = {}
    for pod in pods:
        if devices := gpus_held(pod):
            node = str(below(pod, "spec", "nodeName"))
            used[node] = used.get(node, 0) + devices
    return used


def _preset_of(workspace: Object) -> catalog.Preset | None:
    for use in ("inference", "tuning"):
        if name := below(workspace, use, "preset", "name"):
            return catalog.preset(str(name))
    return None


def _preset_gpus(preset: catalog.Preset | None) -> int:
    return preset.gpu_count if preset else 1


def _named(workspace: Object) -> list[str]:
    named = items(below(workspace, "resource", "preferredNodes"))
    return [name for name in named if isinstance(name, str) and name]


def _word(text: str) -> str:
    """One word of a shell command, whatever a file claims that a node is called."""
    return shlex.quote(text)


def _count(number: int, what: str) -> str:
    return f"{number} {plural(what, number)}"


def _described(gpus: Gpus) -> str:
    memory = f" of {gpus.memory_gib:g} GiB" if gpus.memory_gib else ""
    return f"{gpus.allocatable} x {gpus.product or 'GPU'}{memory}"
