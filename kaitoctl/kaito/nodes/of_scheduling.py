"""Findings about what the scheduler does with a Workspace's pods on a node: taints, demands, room. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache

from kaitoctl.kaito.nodes import taints
from kaitoctl.kaito.nodes.advice import Advice, word
from kaitoctl.kaito.nodes.answer import Finding
from kaitoctl.kaito.nodes.asked import Need
from kaitoctl.kaito.nodes.facts import NodeFacts, whole_number
from kaitoctl.kube.objects import quantity

_GIB = Decimal(2**30)
# A new node's disk is told by its size; what kubelet and system keep of it is not allocatable.
_ALLOCATABLE_SHARE = Decimal("0.8")
_WORDS = {"cpu": "cpu", "memory": "memory", "ephemeral-storage": "ephemeral storage"}


def taint_findings(need: Need, node: NodeFacts, advice: Advice) -> Iterable[Finding]:
    """Taints that somebody has set by hand and the pods do not tolerate."""
    for taint in node.taints:
        if not taints.keeps_away(taint) or taints.owner_of(taint) is not None:
            continue
        if any(taints.tolerates(toleration, taint) for toleration in need.tolerations):
            continue
        hint = "they tolerate nvidia.com/gpu:NoSchedule and sku=gpu:NoSchedule"
        if need.pod is not None:
            hint += ", and what the template's tolerations say"
        if why_not := advice.why_not:
            hint, command = why_not, advice.look("pods" if advice.held else "labels")
        elif advice.may_remove_taint:
            taken_off = f"{taint.get('key')}:{taint.get('effect')}-"
            command = f"kubectl taint node {word(node.name)} {word(taken_off)}"
        else:
            hint, command = f"{hint}; it may keep the node for others: look who uses it", advice.look("pods")
        message = f"taint {taints.text_of(taint)} is not tolerated by the pods that a Workspace makes"
        yield Finding("taint-not-tolerated", "fail", message, hint, command)


def custom_pod_findings(need: Need, node: NodeFacts) -> Iterable[Finding]:
    """What a custom pod says by itself about where it runs."""
    pod = need.pod
    if pod is None:
        return
    look = f"kubectl get node {word(node.name)} --show-labels"
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
            yield Finding("too-few-gpus", "fail", message, "choose a node that offers as many")


def room_findings(need: Need, node: NodeFacts, pods_there: int | None) -> Iterable[Finding]:
    """No room on the node besides its GPUs.

    Args:
        need: what is asked.
        node: the node.
        pods_there: unfinished pods on it, the Workspace's own left out; None when that is not known.
    """
    look = f"kubectl describe node {word(node.name)}"
    most = whole_number(node.allocatable.get("pods"), most=100_000)
    if "pods" in node.allocatable and most is not None and most <= (pods_there or 0):
        message = (
            f"the node has {pods_there} pods and takes {most}"
            if most
            else "the node takes no pods: 0 allocatable"
        )
        yield Finding("no-room", "fail", message, "choose another node, or raise the kubelet's maxPods", look)
    for kind, word_for in _WORDS.items():
        amount = _amount(node.allocatable.get(kind))
        if amount is None:
            continue
        asked = need.pod.room.get(kind, Decimal(0)) if need.pod else Decimal(0)
        if amount < asked:
            message = (
                f"{_said(kind, amount)} {word_for} allocatable, and the pod requests {_said(kind, asked)}"
            )
            yield Finding("no-room", "fail", message, "choose a larger node, or request less", look)
        elif amount < (least := _least(need, kind)) or amount <= 0:
            told = (
                f", and {need.preset.name} needs about {_said(kind, least)}" if need.preset and least else ""
            )
            message = f"only {_said(kind, amount)} {word_for} allocatable{told}"
            hint = "see what is reserved on the node (kubelet's systemReserved, kubeReserved)"
            yield Finding("no-room", "warn", message, hint, look)


def _least(need: Need, kind: str) -> Decimal:
    """What a preset takes of a node though its pods request nothing: weights pass through memory and disk."""
    if need.preset is None:
        return Decimal(0)
    if kind == "memory":
        nodes = need.required if need.preset.distributed else 1
        return need.preset.total_gpu_memory_gib * _GIB / nodes
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


def _said(kind: str, amount: Decimal) -> str:
    return f"{amount.normalize():f}" if kind == "cpu" else f"{float(amount / _GIB):.3g} GiB"
