"""Workspace x Nodes x Pods -> Verdict: each node gets the findings of every subject, and an order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from kaitoctl.advice import Command
from kaitoctl.kaito import api, catalog
from kaitoctl.kaito.catalog import Catalog
from kaitoctl.kaito.node_check import of_gpus, of_labels, of_placement, of_state, taints
from kaitoctl.kaito.node_check.allowed_changes import allowed_changes
from kaitoctl.kaito.node_check.answer import (
    OWN_RULES,
    Finding,
    Gpus,
    Level,
    NodeVerdict,
    Rules,
    Verdict,
)
from kaitoctl.kaito.node_check.facts import (
    NodeFacts,
    below,
    capability_of,
    facts_of,
    gpus_of,
    items,
    mapping,
    name_of,
    slices_of,
)
from kaitoctl.kaito.node_check.need import (
    Need,
    instance_type_of,
    need_of,
    preset_asked,
    preset_gpus,
    room_of,
)
from kaitoctl.kube import pod_state
from kaitoctl.kube.objects import Object, whole_number

if TYPE_CHECKING:
    from kaitoctl.kaito.node_check.alike import Parts

_NAMES_COMPARED = 20
_FEW = 100  # nodes, of which comparing them would spare less than it costs


def pods_of_others(workspace: Object, pods: Iterable[Object]) -> list[Object]:
    """The pods that hold GPUs, or parts of them, on a node and are not the Workspace's own."""
    return [pod for pod in pods if holds_devices(pod) and not is_own_pod(workspace, pod)]


def is_own_pod(workspace: Object, pod: Object) -> bool:
    """Whether a pod carries the label of this very Workspace; none does while it has no name."""
    metadata = mapping(below(workspace, "metadata"))
    if not (name := metadata.get("name")):
        return False
    own = (metadata.get("namespace") or "default", name)
    labels = mapping(below(pod, "metadata", "labels"))
    return own == (below(pod, "metadata", "namespace") or "default", labels.get(api.LABEL_WORKSPACE))


def crowds(workspace: Object, pods: Iterable[Object]) -> Counter[str]:
    """How many unfinished pods, GPUs or not, are on each node, the Workspace's own left out."""
    found: Counter[str] = Counter()
    for pod in pods:
        name = below(pod, "spec", "nodeName")
        if (
            isinstance(name, str)
            and name
            and not pod_state.is_finished(pod)
            and not is_own_pod(workspace, pod)
        ):
            found[name] += 1
    return found


def take_room(taken: dict[str, dict[str, Decimal]], workspace: Object, pod: Object) -> None:
    """Add what an unfinished pod of others requests of its node besides devices.

    Args:
        taken: by node, then by kind; only of interest to custom pods, and empty for all others.
        workspace: who asks.
        pod: any pod.
    """
    name = below(pod, "spec", "nodeName")
    if not isinstance(name, str) or not name or below(workspace, "inference", "template") is None:
        return
    if pod_state.is_finished(pod) or is_own_pod(workspace, pod):
        return
    there = taken.setdefault(name, {})
    for kind, amount in room_of(pod).items():
        there[kind] = there.get(kind, Decimal(0)) + amount


def gpus_held(pod: Object, resource: str = api.GPU) -> int:
    """How many whole GPUs a pod holds on its node; 0 before it has one, and once it has finished."""
    held = pod_state.gpu_request(pod, resource)
    return held if held and below(pod, "spec", "nodeName") and not pod_state.is_finished(pod) else 0


def holds_devices(pod: Object) -> bool:
    """Whether a pod holds accelerators on its node, whole or in part, by whatever name."""
    on_a_node = isinstance(pod, dict) and below(pod, "spec", "nodeName") and not pod_state.is_finished(pod)
    return bool(on_a_node) and pod_state.holds_accelerator(pod)


def offers_gpus(node: Object, resource: str = api.GPU) -> bool:
    """Whether pods can have NVIDIA GPUs of this node, or slices of them by the name of a resource."""
    return bool(whole_number(below(node, "status", "allocatable", resource)))


def why_no_gpu(node: Object, known: Catalog) -> Finding:
    """Why pods can have no GPU of a node that offers none."""
    facts = facts_of(node, known)
    return of_gpus.why_no_gpu(facts, gpus_of(facts, 0))


def capability(node: Object | None, known: Catalog) -> tuple[int, int] | None:
    """The compute capability of a node's GPUs, None when nobody says it."""
    return None if node is None else capability_of(facts_of(node, known))


def what_counts(node: Object) -> object:
    """All that a verdict reads of a node: when it is equal, so is the verdict.

    The instance type is among the labels, so that any catalog will do.
    """
    return facts_of(node, catalog.SHIPPED)


# --- the verdict -------------------------------------------------------------------------------------------


def verdict(
    workspace: Object,
    nodes: Iterable[Object],
    pods: Iterable[Object] | None = (),
    *,
    rules: Rules = OWN_RULES,
    known_names: Iterable[str] = (),
    pods_of: Container[str] | None = None,
    crowds: Mapping[str, int] | None = None,
    taken: Mapping[str, Mapping[str, Decimal]] | None = None,
    now: datetime | None = None,
) -> Verdict:
    """Judge all nodes that the Workspace names, labels select, or whose instance type it asks for.

    Args:
        workspace: the Workspace; defaults need not have been filled in.
        nodes: the cluster's nodes; what is no node is left out.
        pods: pods that hold GPUs or parts of them; leave the Workspace's own out (`pods_of_others`). None
            when they could not be listed: in-use is unknown then, and not judged.
        rules: whose selection to mirror.
        known_names: further nodes of the cluster, for "did you mean".
        pods_of: the nodes whose pods are listed, None for all; of others in-use is unknown.
        crowds: how many pods are on each node (`crowds`); None when that is not known.
        taken: what they request there (`take_room`); None when that is not known.
        now: the time, by which forgotten taints are recognised; None leaves that out.

    Guarantee: never raises, whatever the nodes and pods look like.
    """
    found = nodes if isinstance(nodes, list) else list(nodes)
    need = need_of(workspace, rules, found)
    listed = None if pods is None else list(pods)
    in_use = None if listed is None else _in_use(listed, need.slice or api.GPU)
    # Who holds slices of GPUs, or another maker's, has the node as well.
    others = {below(pod, "spec", "nodeName") for pod in listed or () if holds_devices(pod)}
    judged: dict[str, NodeVerdict] = {}
    judge = _judging(need, now, len(found))
    names: set[str] = set()
    for node in found:
        if not (name := name_of(node)):
            continue
        names.add(name)
        labels = mapping(below(node, "metadata", "labels"))
        if not need.concerns(name, labels):
            continue
        used = _count(in_use, name) if pods_of is None or name in pods_of else None
        held = tuple(sorted((taken or {}).get(name, {}).items()))
        judged[name] = judge(name, node, Crowd(used, name in others, _count(crowds, name), held))
    return conclude(workspace, need, judged, {*names, *known_names})


def _count(counted: Mapping[str, int] | None, name: str) -> int | None:
    """How many of something are on a node; None when that is not known of any."""
    return None if counted is None else counted.get(name, 0)


def keeping() -> Callable[[list[Object]], list[Object]]:
    """What keeps nodes that a trimming decoder gave, page by page, for `verdict`.

    Of pages that are large it keeps what is read of the nodes, and once what many of them have in common.
    """
    parts: list[Parts] = []

    def kept(page: list[Object]) -> list[Object]:
        if not parts:
            if len(page) <= _FEW:
                return page
            from kaitoctl.kaito.node_check.alike import Parts

            parts.append(Parts())
        return [parts[0].shared(node) for node in page]

    return kept


def _judging(need: Need, now: datetime | None, count: int) -> Callable[[str, Object, Crowd], NodeVerdict]:
    """What judges so many nodes, each with its name and who is on it."""

    def judge(node: Object, crowd: Crowd) -> NodeVerdict:
        return judge_node(need, node, crowd, now)

    if count <= _FEW:
        return lambda _, node, crowd: judge(node, crowd)
    from kaitoctl.kaito.node_check.alike import AlikeNodes

    return AlikeNodes(need, judge).verdict


def conclude(
    workspace: Object, need: Need, judged: Mapping[str, NodeVerdict], names: Collection[str]
) -> Verdict:
    """The verdict for a Workspace, of what was judged of each node.

    Args:
        workspace: the Workspace.
        need: what it asks of a node.
        judged: by the nodes' names; further ones that it names are said not to be there.
        names: of the cluster's nodes, for "did you mean".
    """
    not_found = tuple(name for name in need.preferred if name not in judged)
    # Nobody means a node that the list has already.
    near = _near_names(not_found, set(names) - set(need.preferred)) if not_found else {}
    missing = [_not_found(name, near.get(name), need) for name in not_found]
    already = {name for name in items(below(workspace, "status", "workerNodes")) if isinstance(name, str)}

    def order(node: NodeVerdict) -> tuple[int, bool, bool, str]:
        rank = 0 if need.rules.is_modern else need.preferred.get(node.name, len(need.preferred))
        return rank, node.name not in already, not node.is_provisioned, node.name

    ordered = _alike(sorted([*judged.values(), *missing], key=order), need)
    if need.rules.is_modern and _serves(workspace):
        ordered = [_where_it_serves(node) if node.name in already else node for node in ordered]
    selected = tuple(node.name for node in ordered if node.usable)[: need.required]
    return Verdict(
        need.required,
        tuple(ordered),
        selected,
        not_found,
        need.instance_type,
        need.rules,
        need.refusal,
        need.unsized,
    )


def _serves(workspace: Object) -> bool:
    found = items(below(workspace, "status", "conditions"))
    return any(below(one, "type") == api.INFERENCE_READY and below(one, "status") == "True" for one in found)


def _where_it_serves(node: NodeVerdict) -> NodeVerdict:
    """The verdict on a node where the model runs: nodes are counted once, ConfigMaps read at a start."""
    return replace(node, findings=tuple(map(_at_the_next_start, node.findings)))


def _at_the_next_start(finding: Finding) -> Finding:
    if finding.level != "fail" or finding.code != "gpu-memory-too-small":
        return finding
    message = f"it serves there, and would not after a restart: {finding.message}"
    hint = "lower max-model-len in its ConfigMap before its pods restart, or recreate it on other nodes"
    return replace(finding, level="warn", message=message, hint=hint)


def gpus_per_pod(workspace: Object, selected: Iterable[NodeVerdict], known: Catalog) -> int:
    """How many GPUs each pod asks for: the instance type's, but no more than the smallest chosen node has.

    KAITO always takes the instance type's number, so a Workspace on a prepared node with one GPU and the
    default instance type (two GPUs) stays Pending for ever.
    """
    shape = known.instance_type(instance_type_of(workspace))
    counts = [node.gpus.together for node in selected]
    if shape is not None:
        counts.append(shape.gpus)
    return min(counts, default=preset_gpus(preset_asked(workspace, known)))


class Crowd(NamedTuple):
    """Who is on a node already.

    Args:
        in_use: devices of the kind that is asked for that pods of others hold; None when that is not known.
        has_holders: whether pods of others hold any accelerator, or a part of one.
        pods: unfinished pods of others; None when that is not known.
        taken: what they request besides devices, by kind, as far as that is known.
    """

    in_use: int | None
    has_holders: bool
    pods: int | None
    taken: tuple[tuple[str, Decimal], ...] = ()


def judge_node(need: Need, node: Object, crowd: Crowd, now: datetime | None = None) -> NodeVerdict:
    """What is found out about one node that `need` concerns.

    Args:
        need: what is asked of it.
        node: the node.
        crowd: who is on it.
        now: as for `verdict`.
    """
    return _judge(need, facts_of(node, need.rules.catalog), crowd, now)


def _judge(need: Need, node: NodeFacts, crowd: Crowd, now: datetime | None) -> NodeVerdict:
    preferred = node.name in need.preferred
    gpus = slices_of(node, need.slice, crowd.in_use) if need.slice else gpus_of(node, crowd.in_use)
    allowed = allowed_changes(need, node, crowd.in_use or (1 if crowd.has_holders else crowd.in_use))
    keeps_passing = need.rules.target == "kaitoctl"  # which would buy another node for one that recovers
    own_pod = need.pod
    findings = [
        *of_state.deletion_findings(node),
        *of_labels.label_findings(need, node, allowed),
        *of_labels.selection_findings(need, node, preferred),
        *of_state.platform_findings(
            node, os_name=own_pod.os_name if own_pod else "", own_image=own_pod is not None
        ),
        *of_state.condition_findings(node, keeps_passing=keeps_passing),
        *of_state.cordon_findings(node, allowed),
        *of_state.owned_taint_findings(node, need.tolerations, allowed, now, keeps_passing=keeps_passing),
        *of_placement.taint_findings(need, node, allowed),
        *(of_placement.custom_pod_findings(need, node) if own_pod else ()),
        *of_gpus.gpu_findings(need, node, gpus),
        *of_placement.room_findings(need, node, crowd.pods, dict(crowd.taken)),
    ]
    if node.name in need.repeated:
        findings.append(of_labels.listed_twice(node.name))
    missing = {
        key: value
        for key, value in need.labels.items()
        if node.labels.get(key) != value and key not in api.RESERVED_LABELS
    }
    return NodeVerdict(
        node.name,
        preferred,
        gpus,
        tuple(findings),
        ready=node.is_ready,
        instance_type=node.labels.get(api.LABEL_INSTANCE_TYPE, ""),
        labels_asked=len(need.labels),
        labels_to_set=missing,
        may_be_labelled=all(
            allowed.may_overwrite_label(key) if key in node.labels else allowed.may_add_label(key)
            for key in missing
        ),
        taints=sum(
            taints.keeps_away(taint) and not of_state.is_condition(node, taint) for taint in node.taints
        ),
        is_provisioned=api.LABEL_NODE_POOL in node.labels or api.LABEL_MACHINE_TYPE in node.labels,
    )


def _not_found(name: str, near: str | None, need: Need) -> NodeVerdict:
    message = "there is no such node" + (f"; did you mean {near}?" if near else "")
    hint = (
        f"write {near} in preferredNodes" if near else "take the name out of preferredNodes, or add the node"
    )
    findings = [Finding("not-found", "fail", message, hint, Command("kubectl get nodes"), "selection")]
    if name in need.repeated:
        findings.append(of_labels.listed_twice(name))
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


def _alike(nodes: list[NodeVerdict], need: Need) -> list[NodeVerdict]:
    """Say it of every chosen node whose GPUs differ from the first one's."""
    if need.slice:
        return nodes  # slices of one profile are alike
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
            message = f"{of_gpus.gpu_words(node.gpus)}, while others have {of_gpus.gpu_words(example)}"
            finding = Finding("gpus-not-alike", level, message, "use nodes with equal GPUs", stage="model")
            node = replace(node, findings=(*node.findings, finding))
        changed.append(node)
    return changed


def _likeness(gpus: Gpus, need: Need) -> tuple[object, ...]:
    """What must be equal; on your own nodes to the letter."""
    if need.rules.is_byo:
        return gpus.product, gpus.allocatable, gpus.memory_gib
    words = [word for word in gpus.product.replace("-", " ").split() if word not in ("NVIDIA", "Tesla")]
    return tuple(words[:1]), gpus.memory_gib and round(gpus.memory_gib / 4)


def _in_use(pods: Iterable[Object], resource: str) -> dict[str, int]:
    used: dict[str, int] = {}
    for pod in pods:
        if devices := gpus_held(pod, resource):
            node = str(below(pod, "spec", "nodeName"))
            used[node] = used.get(node, 0) + devices
    return used
