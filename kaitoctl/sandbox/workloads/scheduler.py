"""Which node a pod goes to, and why none of them will do.

`choose` is the decision, `Scheduler` the reconciler around it. Known: readiness and cordons, taints and
tolerations, `nodeSelector`, node affinity (required and preferred), resources, extended ones included, and
whether the claims of volumes exist. Not known: affinity between pods, topology spread, ports, where volumes
are, preemption.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Mapping
from decimal import Decimal
from typing import Any

from msgspec import Struct, field

from kaitoctl.errors import ApiError
from kaitoctl.kube import conditions, request
from kaitoctl.kube.objects import (
    PERSISTENT_VOLUME_CLAIM,
    POD,
    Object,
    ObjectKey,
    dig,
    is_being_deleted,
    key_of,
    labels_of,
    matches_node_term,
    quantity,
    tolerates,
    uid_of,
)
from kaitoctl.kube.pod_state import is_finished, references
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.controller import Outcome
from kaitoctl.sandbox import nodes
from kaitoctl.sandbox.clock import Clock
from kaitoctl.sandbox.workloads import pods
from kaitoctl.sandbox.workloads.pods import Writes

NAME = "default-scheduler"
PASS = ObjectKey("", "scheduling")
"""The scheduler's only key: each reconcile looks at all that waits, so that nothing is given out twice."""

NOT_READY_TAINT: Object = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
_UNSCHEDULABLE_TAINT: Object = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}

_LOOK_FOR_CLAIMS_S = 20.0  # simulated

Resources = Mapping[str, Decimal]


# --- the decision --------------------------------------------------------------------------------------


class Choice(Struct, frozen=True):
    """Where a pod goes.

    Args:
        node: the node's name, None when no node will do.
        message: why none will do, in the words of Kubernetes' scheduler; empty otherwise.
    """

    node: str | None
    message: str = ""


def choose(pod: Object, candidates: Iterable[Object], used: Mapping[str, Resources]) -> Choice:
    """The node for a pod: of those that will do the most preferred, then the emptiest, then by name.

    Args:
        pod: the pod.
        candidates: all nodes.
        used: what the pods on each node ask for, `pods` (their number) included.
    """
    fitting: list[tuple[int, Decimal, str]] = []
    reasons: Counter[str] = Counter()
    asked = {**pods.resource_requests(pod), "pods": Decimal(1)}
    total = 0
    for candidate in candidates:
        total += 1
        name = key_of(candidate).name
        taken = used.get(name) or {}
        if refused := _refusal(pod, candidate) or _shortage(asked, candidate, taken):
            reasons.update(refused)
        else:
            fitting.append((-_preference(pod, candidate), taken.get("pods", Decimal(0)), name))
    if fitting:
        return Choice(min(fitting)[2])
    if not total:
        return Choice(None, "no nodes available to schedule pods")
    listed = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
    return Choice(None, f"0/{total} nodes are available: {listed}.")


def _refusal(pod: Object, node: Object) -> list[str]:
    """Why a node will not do whatever else runs there: the first reason only, as Kubernetes reports it."""
    tolerations = dig(pod, "spec", "tolerations") or []
    if dig(node, "spec", "unschedulable") and not is_tolerated(_UNSCHEDULABLE_TAINT, tolerations):
        return ["node(s) were unschedulable"]
    for taint in (
        *(dig(node, "spec", "taints") or ()),
        *(() if nodes.is_ready(node) else (NOT_READY_TAINT,)),
    ):
        if taint.get("effect") in ("NoSchedule", "NoExecute") and not is_tolerated(taint, tolerations):
            return [f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value') or ''}}}"]
    if not matches_node(pod, node):
        return ["node(s) didn't match Pod's node affinity/selector"]
    return []


def is_tolerated(taint: Object, tolerations: Iterable[Object]) -> bool:
    """Whether one of the tolerations matches the taint."""
    return any(tolerates(toleration, taint) for toleration in tolerations)


def matches_node(pod: Object, node: Object) -> bool:
    """Whether the node has what `nodeSelector` and required node affinity ask for."""
    labels = labels_of(node)
    selector = dig(pod, "spec", "nodeSelector") or {}
    if any(labels.get(key) != value for key, value in selector.items()):
        return False
    required = dig(pod, "spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    return any(
        matches_node_term(term, key_of(node).name, labels) for term in required.get("nodeSelectorTerms") or ()
    )


def _shortage(asked: Resources, node: Object, taken: Resources) -> list[str]:
    allocatable: dict[str, Any] = dig(node, "status", "allocatable") or {}
    short = []
    for name, amount in asked.items():
        if amount and taken.get(name, Decimal(0)) + amount > quantity(allocatable.get(name, 0)):
            short.append("Too many pods" if name == "pods" else f"Insufficient {name}")
    return short


def _preference(pod: Object, node: Object) -> int:
    preferred = dig(
        pod, "spec", "affinity", "nodeAffinity", "preferredDuringSchedulingIgnoredDuringExecution"
    )
    return sum(
        int(term.get("weight") or 0)
        for term in preferred or ()
        if matches_node_term(term.get("preference") or {}, key_of(node).name, labels_of(node))
    )


# --- the reconciler ------------------------------------------------------------------------------------


def waits(pod: Object) -> bool:
    """Whether this pod wants a node from us."""
    return (
        not dig(pod, "spec", "nodeName")
        and pods.is_active(pod)
        and not dig(pod, "spec", "schedulingGates")
        and (dig(pod, "spec", "schedulerName") or NAME) == NAME
    )


def keys_of_pod(pod: Object) -> Iterable[ObjectKey]:
    """A reconcile when a pod waits, or when one may have given its resources back."""
    return (PASS,) if waits(pod) or is_finished(pod) or is_being_deleted(pod) else ()


def keys_of_node(_node: Object) -> Iterable[ObjectKey]:
    """A reconcile when a node changes."""
    return (PASS,)


class Scheduler(Struct):
    """Binds waiting pods, the oldest first.

    Args:
        pods: store of all pods.
        nodes: store of all nodes.
        clock: the sandbox's time.
    """

    pods: Mapping[ObjectKey, Object]
    nodes: Mapping[ObjectKey, Object]
    clock: Clock
    # What we bound and the store does not show yet; only a lag, so a restart has nothing to remember.
    _assumed: dict[str, tuple[ObjectKey, str]] = field(default_factory=dict)

    def reconcile(self, _key: ObjectKey) -> Generator[Request, Object, Outcome]:
        """One reconcile of all pods that wait."""
        self._forget_what_is_known()
        waiting = [pod for pod in self.pods.values() if waits(pod) and uid_of(pod) not in self._assumed]
        if not waiting:
            return Outcome()
        waiting.sort(key=lambda pod: (pod["metadata"].get("creationTimestamp") or "", key_of(pod)))
        candidates = [self.nodes[key] for key in sorted(self.nodes)]
        used = self._usage()
        lost_race = lacks_claim = False
        there: dict[ObjectKey, bool] = {}
        for pod in waiting:
            try:
                if claim := (yield from _missing_claim(pod, there)):
                    lacks_claim = True
                    why = f'persistentvolumeclaim "{claim}" not found'
                    yield from self._refuse(pod, f"0/{len(candidates)} nodes are available: {why}.")
                    continue
                choice = choose(pod, candidates, used)
                if choice.node is None:
                    yield from self._refuse(pod, choice.message)
                    continue
                yield from self._bind(pod, choice.node)
            except ApiError:  # gone, changed or bound meanwhile: the next reconcile sees it
                lost_race = True
                continue
            self._assumed[uid_of(pod)] = (key_of(pod), choice.node)
            _occupy(used, choice.node, pod)
        again_s = self.clock.wall_s(_LOOK_FOR_CLAIMS_S) if lacks_claim else None
        return Outcome(requeue_after_s=0.1 if lost_race else again_s)

    def _forget_what_is_known(self) -> None:
        for uid, (key, _) in list(self._assumed.items()):
            pod = self.pods.get(key)
            if pod is None or uid_of(pod) != uid or dig(pod, "spec", "nodeName"):
                del self._assumed[uid]

    def _usage(self) -> dict[str, dict[str, Decimal]]:
        used: dict[str, dict[str, Decimal]] = {}
        for pod in self.pods.values():
            _, assumed = self._assumed.get(uid_of(pod), (None, ""))
            node = dig(pod, "spec", "nodeName") or assumed
            if node and not is_finished(pod):
                _occupy(used, node, pod)
        return used

    def _bind(self, pod: Object, node: str) -> Writes:
        key = key_of(pod)
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": key.name, "namespace": key.namespace, "uid": uid_of(pod)},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        yield Request("POST", POD.path(key.namespace, key.name, "binding"), body=binding)
        yield from pods.record(
            pod,
            "Scheduled",
            f"Successfully assigned {key} to {node}",
            source=NAME,
            clock=self.clock,
        )

    def _refuse(self, pod: Object, message: str) -> Writes:
        before = conditions.find(pod, "PodScheduled") or {}
        if before.get("reason") == "Unschedulable" and before.get("message") == message:
            return
        news = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]
        had = dig(pod, "status", "conditions") or []
        status = {
            **(pod.get("status") or {}),
            "phase": "Pending",
            "conditions": pods.merged_conditions(had, news, self.clock),
        }
        yield from pods.status_patch(POD, pod, status, manager=NAME)
        yield from pods.record(pod, "FailedScheduling", message, source=NAME, clock=self.clock, warning=True)


def _missing_claim(pod: Object, there: dict[ObjectKey, bool]) -> Generator[Request, Object, str]:
    """The first claim of its volumes that does not exist; empty without.

    Args:
        pod: that waits.
        there: which claims exist, as far as this pass has asked.

    Source: kubernetes v1.37 `pkg/scheduler/framework/plugins/volumebinding` (PreFilter).
    """
    for reference in references(pod):
        key = ObjectKey(key_of(pod).namespace, reference.name)
        if reference.kind != PERSISTENT_VOLUME_CLAIM.kind:
            continue
        if key not in there:
            try:
                yield request.get(PERSISTENT_VOLUME_CLAIM, *key)
            except ApiError as error:
                if error.status != 404:
                    raise
                there[key] = False
            else:
                there[key] = True
        if not there[key]:
            return reference.name
    return ""


def _occupy(used: dict[str, dict[str, Decimal]], node: str, pod: Object) -> None:
    taken = used.setdefault(node, {})
    for name, amount in {**pods.resource_requests(pod), "pods": Decimal(1)}.items():
        taken[name] = taken.get(name, Decimal(0)) + amount
