"""Findings about what the scheduler goes by: taints, what a custom pod asks for, room. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

from kaitoctl.advice import Command
from kaitoctl.kaito import kubectl_hints
from kaitoctl.kaito.node_check import taints
from kaitoctl.kaito.node_check.allowed_changes import AllowedChanges
from kaitoctl.kaito.node_check.answer import Finding
from kaitoctl.kaito.node_check.facts import NodeFacts
from kaitoctl.kaito.node_check.need import Need
from kaitoctl.kube.objects import quantity, tolerates, whole_number

if TYPE_CHECKING:
    from kaitoctl.kaito.advertisers import Advertiser


_GIB = Decimal(2**30)
# A preset names the size of a new node's disk; what kubelet and system keep of it is not allocatable.
_ALLOCATABLE_SHARE = Decimal("0.8")
# A server beside kubelet and device plugin on less than this loads for hours, and fails its probes.
_LEAST_CPU = Decimal("0.5")
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
            hint += "; somebody keeps the node for others: ask who, before it is taken off"
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


def room_findings(
    need: Need, node: NodeFacts, pods_there: int | None, taken: Mapping[str, Decimal]
) -> Iterable[Finding]:
    """No room on the node besides its GPUs.

    Args:
        need: what is asked.
        node: the node.
        pods_there: as of `full_finding`.
        taken: what pods of others request there, by kind, as far as that is known.
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
        elif asked and (free := max(amount - taken.get(kind, Decimal(0)), Decimal(0))) < asked:
            there, wanted = _in_units(kind, free), _in_units(kind, asked)
            message = f"{there} of {_in_units(kind, amount)} {word_for} free, and the pod requests {wanted}"
            hint = "wait for the pods that hold it, choose another node, or request less"
            yield Finding("no-room", "fail", message, hint, kubectl_hints.pods_on(node.name))
        elif amount < (least := _least(need, node, kind, asked)) or amount <= 0:
            wanted_by = need.model or need.preset
            needs = (
                f", and {wanted_by.name} needs about {_in_units(kind, least)}" if wanted_by and least else ""
            )
            message = f"only {_in_units(kind, amount)} {word_for} allocatable{needs}"
            hint = "check what is reserved on the node (kubelet's systemReserved, kubeReserved)"
            yield Finding("no-room", "warn", message, hint, look)


def _least(need: Need, node: NodeFacts, kind: str, asked: Decimal) -> Decimal:
    """What a pod takes of a node though it requests nothing: weights pass through memory and disk."""
    if kind == "cpu":
        return Decimal(0) if asked else _LEAST_CPU
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
