"""Findings about what places pods on a node: KAITO by labels and type, the scheduler by the rest. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

from kaitoctl.advice import Command
from kaitoctl.kaito import api, kubectl_hints
from kaitoctl.kaito.node_check import taints
from kaitoctl.kaito.node_check.allowed_changes import AllowedChanges, is_platforms
from kaitoctl.kaito.node_check.answer import Finding, Rules
from kaitoctl.kaito.node_check.facts import LABELS_OWNER, NodeFacts, items
from kaitoctl.kaito.node_check.need import Need, is_same_type
from kaitoctl.kube.label_selectors import expression_problem
from kaitoctl.kube.objects import Object, matches_expression, quantity, tolerates, whole_number

if TYPE_CHECKING:
    from kaitoctl.kaito.advertisers import Advertiser


def label_findings(need: Need, node: NodeFacts, allowed: AllowedChanges) -> Iterable[Finding]:
    """Labels that the node lacks or has with another value."""
    for key, value in need.labels.items():
        have = node.labels.get(key)
        if have == value:
            continue
        if key in api.RESERVED_LABELS:
            yield from _ownership_findings(need, node, key)
            continue
        if have is None:
            message, code = f"label {key}={value} is missing", "label-missing"
        else:
            message, code = f"label {key} is {have!r}, not {value!r}", "label-differs"
        hint, command = _label_fix(key, value, have is not None, allowed)
        yield Finding(code, "fail", message, hint, command, "selection")
    for expression in need.expressions:
        yield from _expression_findings(need, node, expression, allowed)
    if need.expressions and not need.labels and need.rules.target in ("v0.3", "v0.4") and not need.is_tuning:
        message = f"the selector has no matchLabels, and pods of KAITO {need.rules.target} then match no node"
        yield Finding("no-label-selects", "fail", message, "say it with resource.labelSelector.matchLabels")


def _ownership_findings(need: Need, node: NodeFacts, key: str) -> Iterable[Finding]:
    """A label by which KAITO says whose node it is: nobody is ever advised to set one by hand."""
    name = node.labels.get(api.LABEL_WORKSPACE) or ""
    owner = f"{node.labels.get(api.LABEL_WORKSPACE_NAMESPACE) or 'default'}/{name or node.labels.get(key)}"
    if not name and not node.labels.get(key):
        message = f"label {key} is missing: KAITO has not made the node for this Workspace"
        hint = "KAITO sets it on nodes that it makes, and takes no others; it makes those that are missing"
        yield Finding("label-missing", "fail", message, hint, stage="selection")
    elif key != api.LABEL_WORKSPACE_NAMESPACE or need.labels.get(api.LABEL_WORKSPACE, name) == name:
        # One finding, not one for each of its two labels.
        message = f"KAITO made it for the Workspace {owner}"
        yield Finding("of-another-workspace", "fail", message, "choose another node", stage="selection")


def _label_fix(key: str, value: str, overwrite: bool, allowed: AllowedChanges) -> tuple[str, Command]:
    """Hint and command; a command that changes the node only where that takes nothing from anybody."""
    if why_not := allowed.why_not:
        return why_not, allowed.look("pods" if allowed.held and not allowed.owner else "labels")
    if is_platforms(key):
        return "the platform sets this label: choose a node that has it", allowed.look("labels")
    setting = (allowed.node.name, f"{key}={value}")
    if not overwrite:
        if allowed.may_add_label(key):
            return "KAITO lists nodes by these labels first; preferredNodes does not override that", Command(
                "kubectl label node", *setting
            )
        return f"check who uses the node; if nobody does, label it {key}={value}", allowed.look("pods")
    if allowed.may_overwrite_label(key):
        overwriting = Command("kubectl label node", *setting, "--overwrite")
        return "another Workspace may rely on it: look before you change it", overwriting
    return "another Workspace may rely on this value: choose another node", allowed.look("labels")


def _expression_findings(
    need: Need, node: NodeFacts, expression: Object, allowed: AllowedChanges
) -> Iterable[Finding]:
    """matchExpressions: our own controller goes by them, KAITO reads them nowhere."""
    is_ours = need.rules.target == "kaitoctl"
    if problem := expression_problem(expression):
        yield Finding(
            "selector-not-understood",
            "fail" if is_ours else "warn",
            f"resource.labelSelector.matchExpressions is invalid: {problem}",
            "the API server refuses pods with it" if is_ours else "KAITO does not read matchExpressions",
        )
        return
    if matches_expression(expression, node.labels):
        return
    values = ",".join(str(value) for value in items(expression.get("values")))
    words = f"{expression['key']} {expression['operator']} {values}".rstrip()
    if is_ours:
        message = f"labels do not satisfy: {words}"
        yield Finding("label-differs", "fail", message, "choose a node that does", allowed.look("labels"))
        return
    version = need.rules.target
    yield Finding(
        "expression-ignored",
        "warn",
        f"labels do not satisfy {words}, and KAITO {version} does not read matchExpressions",
        "it may use the node all the same: say it with matchLabels",
        allowed.look("labels"),
    )


def selection_findings(need: Need, node: NodeFacts, preferred: bool) -> Iterable[Finding]:
    """Why KAITO passes the node over although its labels fit."""
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
        if is_same_type(have, need.instance_type):
            message += ": upper and lower case count"
            hint = _type_hint(node.name, have, rules)
        elif rules.is_modern:
            hint = f"ask for --instance-type {have}" if have else "choose a node whose type is known"
        else:
            hint = f"name {node.name} in preferredNodes"
        yield Finding("instance-type-differs", "fail", message, hint, stage="selection")
    if rules.is_modern and rules.provisioner == "karpenter":
        owner = tuple(node.labels.get(key, "") for key in LABELS_OWNER)
        if any(owner) and owner != need.owner:
            message = f"KAITO made it for the Workspace {'/'.join(owner)}"
            yield Finding("of-another-workspace", "fail", message, "choose another node", stage="selection")


def _type_hint(name: str, have: str, rules: Rules) -> str:
    """KAITO takes only names that it knows, so the node's way of writing is right only if it is known."""
    if rules.catalog.instance_type(have) is not None:
        return f"write it as the node does: --instance-type {have}"
    if rules.is_modern:
        return "the node's label is not as clouds write it: choose another node"
    return f"name {name} in preferredNodes"


def listed_twice(name: str) -> Finding:
    """A preferred node that is named more than once."""
    message = "preferredNodes names the node more than once; it counts once"
    return Finding("listed-twice", "warn", message, f"name {name} once", stage="selection")


_GIB = Decimal(2**30)
# A preset names the size of a new node's disk; what kubelet and system keep of it is not allocatable.
_ALLOCATABLE_SHARE = Decimal("0.8")
_WORDS = {"cpu": "cpu", "memory": "memory", "ephemeral-storage": "ephemeral storage"}


def taint_findings(need: Need, node: NodeFacts, allowed: AllowedChanges) -> Iterable[Finding]:
    """Taints that somebody has set by hand and the pods do not tolerate."""
    for taint in node.taints:
        if not taints.keeps_away(taint) or taints.owner_of(taint) is not None:
            continue
        if any(tolerates(toleration, taint) for toleration in need.tolerations):
            continue
        hint = "they tolerate nvidia.com/gpu:NoSchedule and sku=gpu:NoSchedule"
        if need.pod is not None:
            hint += ", and what the template's tolerations say"
        if why_not := allowed.why_not:
            hint, command = why_not, allowed.look("pods" if allowed.held else "labels")
        elif allowed.may_remove_taint and taint.get("key"):
            taken_off = f"{taint.get('key')}:{taint.get('effect')}-"
            command = Command("kubectl taint node", node.name, taken_off)
        else:
            hint += "; it may keep the node for others: check who uses it"
            command = allowed.look("pods")
        message = f"taint {taints.text_of(taint)} is not tolerated by the pods that a Workspace makes"
        yield Finding("taint-not-tolerated", "fail", message, hint, command)


def custom_pod_findings(need: Need, node: NodeFacts) -> Iterable[Finding]:
    """What a custom pod says by itself about where it runs."""
    pod = need.pod
    if pod is None:
        return
    look = kubectl_hints.labels_of(node.name)
    if pod.node_name and pod.node_name != node.name:
        message = f"the template's nodeName is {pod.node_name}, so that pods never run here"
        yield Finding("custom-pod-elsewhere", "fail", message, "take nodeName out of the template", look)
    for key, value in pod.node_selector.items():
        if node.labels.get(key) != value:
            message = f"the template's nodeSelector asks for {key}={value}"
            hint = "change the template, or choose a node that has the label"
            yield Finding("custom-pod-elsewhere", "fail", message, hint, look)
    # KAITO writes its own affinity over the template's.
    if need.rules.target == "kaitoctl" and not pod.fits_terms(node.name, node.labels):
        message = "the template's node affinity does not allow this node"
        hint = "change the template, or choose a node that it allows"
        yield Finding("custom-pod-elsewhere", "fail", message, hint, look)
    for kind, amount in pod.others.items():
        have = whole_number(node.allocatable.get(kind)) or 0
        if have < amount:
            message = f"{have} {kind} allocatable, and the custom pod asks for {amount}"
            if (known := _advertiser_of(kind)) is None:
                yield Finding("too-few-gpus", "fail", message, "choose a node that offers as many")
                continue
            hint = f"{kind} is what {known.who}: {known.hint}; or choose a node that offers as many"
            yield Finding("no-room", "fail", message, hint, Command("kubectl describe node", node.name))


def full_finding(node: NodeFacts, pods_there: int | None) -> Finding | None:
    """A kubelet that takes no more pods.

    Args:
        node: the node.
        pods_there: unfinished pods on it, without those of who asks; None when that is not known.
    """
    most = whole_number(node.allocatable.get("pods"), most=100_000)
    if node.allocatable.get("pods") is None or most is None or most > (pods_there or 0):
        return None
    message = (
        f"the node has {pods_there} pods and takes {most}"
        if most
        else "the node takes no pods: 0 allocatable"
    )
    look = Command("kubectl describe node", node.name)
    return Finding("no-room", "fail", message, "choose another node, or raise the kubelet's maxPods", look)


def room_findings(need: Need, node: NodeFacts, pods_there: int | None) -> Iterable[Finding]:
    """No room on the node besides its GPUs.

    Args:
        need: what is asked.
        node: the node.
        pods_there: as of `full_finding`.
    """
    look = Command("kubectl describe node", node.name)
    if (full := full_finding(node, pods_there)) is not None:
        yield full
    room = need.pod.room if need.pod else {}
    for kind in (*_WORDS, *(kind for kind in room if kind not in _WORDS)):
        amount = _amount(node.allocatable.get(kind, None if kind in _WORDS else 0))
        if amount is None:
            continue
        amount, asked, word_for = max(amount, Decimal(0)), room.get(kind, Decimal(0)), _WORDS.get(kind, kind)
        if amount < asked:
            there, wanted = _in_units(kind, amount), _in_units(kind, asked)
            message = f"{there} {word_for} allocatable, and the pod requests {wanted}"
            known = _advertiser_of(kind)
            hint = (
                f"it is what {known.who}: {known.hint}" if known else "choose a larger node, or request less"
            )
            yield Finding("no-room", "fail", message, hint, look)
        elif amount < (least := _least(need, node, kind)) or amount <= 0:
            wanted_by = need.model or need.preset
            needs = (
                f", and {wanted_by.name} needs about {_in_units(kind, least)}" if wanted_by and least else ""
            )
            message = f"only {_in_units(kind, amount)} {word_for} allocatable{needs}"
            hint = "check what is reserved on the node (kubelet's systemReserved, kubeReserved)"
            yield Finding("no-room", "warn", message, hint, look)


def _least(need: Need, node: NodeFacts, kind: str) -> Decimal:
    """What a preset takes of a node though its pods request nothing: weights pass through memory and disk."""
    if need.model is not None:  # fast local disks hold its weights where there are some, and memory maps them
        is_beside = kind != "ephemeral-storage" or (node.shape is not None and node.shape.nvme)
        return Decimal(0) if is_beside else (_amount(need.model.disk) or Decimal(0)) * _ALLOCATABLE_SHARE
    if need.preset is None:
        return Decimal(0)
    if kind == "memory":
        nodes = need.required if need.preset.distributed else 1
        return Decimal(str(need.preset.total_gpu_memory_gib)) * _GIB / nodes
    if kind == "ephemeral-storage":
        return (_amount(need.preset.disk) or Decimal(0)) * _ALLOCATABLE_SHARE
    return Decimal(0)


def _amount(value: object) -> Decimal | None:
    return None if value is None else _quantity(str(value)[:40])


@lru_cache(maxsize=4096)  # thousands of nodes have the same few amounts
def _quantity(text: str) -> Decimal | None:
    try:
        amount = quantity(text)
    except (ValueError, ArithmeticError):
        return None
    return amount if amount.is_finite() else None


def _in_units(kind: str, amount: Decimal) -> str:
    return f"{amount.normalize():f}" if kind == "cpu" else f"{round(float(amount / _GIB), 2):.4g} GiB"


def _advertiser_of(resource: str) -> Advertiser | None:
    from kaitoctl.kaito.advertisers import advertiser_of  # few nodes lack anything but GPUs

    return advertiser_of(resource)
