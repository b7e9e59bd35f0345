"""Nodes on demand: what Karpenter does with a NodeClaim, and what a cloud does with Karpenter.

A claim is launched, after 20 simulated seconds its node joins, 5 s later the device plugin offers the GPUs,
and only then the claim is Initialized and Ready. Deleting the claim drains and deletes the node, then the
finalizer goes. A claim whose node was deleted by hand is deleted too.

The label `sandbox.kaitoctl.dev/fault` on a claim names something that goes wrong with its machine:

| fault            | what happens                                                       |
|------------------|--------------------------------------------------------------------|
| `quota`          | the cloud refuses to launch it: the quota is used up               |
| `no-capacity`    | the cloud has none to give at the moment                           |
| `never-joins`    | it is launched, and its node never registers                       |
| `plugin-missing` | its node joins, and no device plugin ever offers its GPUs          |

Source: https://karpenter.sh/docs/concepts/nodeclaims/ (conditions, labels, finalizer).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping

from msgspec import Struct

from kaitoctl.errors import ApiError
from kaitoctl.kube import conditions, request
from kaitoctl.kube.objects import (
    NODE,
    NODE_CLAIM,
    POD,
    Object,
    ObjectKey,
    dig,
    is_being_deleted,
    key_of,
    labels_of,
    owner_reference,
)
from kaitoctl.kube.pod_state import is_finished
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.controller import Outcome
from kaitoctl.sandbox import nodes
from kaitoctl.sandbox.clock import Clock
from kaitoctl.sandbox.nodes import LABEL_INSTANCE_TYPE, InstanceShape
from kaitoctl.sandbox.workloads import pods
from kaitoctl.sandbox.workloads.pods import Writes

FINALIZER = "karpenter.sh/termination"
JOIN_S = 20.0
DEVICE_PLUGIN_S = 5.0
_MANAGER = "karpenter"
_CLAIM_ANNOTATION = "sandbox.kaitoctl.dev/node-claim"
_DISRUPTED: Object = {"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}
_LOOK_AGAIN_S = 1.0

FAULT_LABEL = "sandbox.kaitoctl.dev/fault"
_NO_CAPACITY = "all requested instance types were unavailable during launch"
_REFUSALS = {
    "unknown-type": ("InstanceTypeNotFound", _NO_CAPACITY),
    "no-capacity": ("InsufficientCapacityError", _NO_CAPACITY),
    "quota": (
        "LaunchFailed",
        "creating instance: operation could not be completed as it results in exceeding approved quota: "
        "vCPUs of this family left 0 (simulated)",
    ),
}
"""Why a machine cannot be had, by fault: reason and message."""


def node_name(claim: Object) -> str:
    """The name of the node that a claim gets; it follows from the claim's."""
    return f"{key_of(claim).name}-node"


def keys_of_node(node: Object) -> Iterable[ObjectKey]:
    """The claim that a node was made for."""
    name = (node["metadata"].get("annotations") or {}).get(_CLAIM_ANNOTATION)
    return (ObjectKey("", name),) if name else ()


def required_labels(claim: Object) -> dict[str, str]:
    """What the claim says about its node's labels: its own, and every requirement that leaves one choice."""
    labels = dict(labels_of(claim))
    for requirement in dig(claim, "spec", "requirements") or ():
        values = requirement.get("values") or []
        if requirement.get("operator") == "In" and len(values) == 1:
            labels[requirement["key"]] = values[0]
    return labels


def instance_type(claim: Object, shapes: Mapping[str, InstanceShape]) -> str | None:
    """The first of the instance types that the claim accepts and that there are; None when there is none."""
    for requirement in dig(claim, "spec", "requirements") or ():
        if requirement.get("key") == LABEL_INSTANCE_TYPE and requirement.get("operator") == "In":
            return next((name for name in requirement.get("values") or () if name in shapes), None)
    return None


class Provisioner(Struct, frozen=True):
    """Reconciles one NodeClaim.

    Args:
        claims: store of all NodeClaims.
        nodes: store of all nodes.
        pods: store of all pods.
        shapes: the instance types that can be had.
        clock: the sandbox's time.
    """

    claims: Mapping[ObjectKey, Object]
    nodes: Mapping[ObjectKey, Object]
    pods: Mapping[ObjectKey, Object]
    shapes: Mapping[str, InstanceShape]
    clock: Clock

    def reconcile(self, key: ObjectKey) -> Generator[Request, Object, Outcome]:
        """Take the claim one step further towards its node, or away from it."""
        claim = self.claims.get(key)
        if claim is None:
            return Outcome()
        finalizers = claim["metadata"].get("finalizers") or []
        if is_being_deleted(claim):
            return (yield from self._terminate(claim)) if FINALIZER in finalizers else Outcome()
        if FINALIZER not in finalizers:
            patch = {"metadata": {"finalizers": [*finalizers, FINALIZER]}}
            yield pods.spec_patch(NODE_CLAIM, claim, patch, manager=_MANAGER)
            return Outcome()
        chosen, fault = instance_type(claim, self.shapes), labels_of(claim).get(FAULT_LABEL, "")
        if refusal := _REFUSALS.get("unknown-type" if chosen is None else fault):
            yield from self._refuse(claim, *refusal)
            return Outcome()
        assert chosen is not None
        launched = conditions.find(claim, "Launched")
        if launched is None or launched.get("status") != "True":
            yield from self._launch(claim, chosen)
            return Outcome()
        name = node_name(claim)
        node = self.nodes.get(ObjectKey("", name))
        if node is None and fault == "never-joins":
            return Outcome()
        if node is None:
            return (yield from self._joining(claim, chosen, launched["lastTransitionTime"]))
        return (yield from self._initializing(claim, node, self.shapes[chosen]))

    def _refuse(self, claim: Object, reason: str, message: str) -> Writes:
        known = conditions.find(claim, "Launched") or {}
        yield from self._report(
            claim,
            [
                {"type": "Launched", "status": "False", "reason": reason, "message": message},
                {"type": "Ready", "status": "False", "reason": "NotLaunched", "message": message},
            ],
        )
        if known.get("reason") != reason:
            yield from pods.record(claim, reason, message, source=_MANAGER, clock=self.clock, warning=True)

    def _launch(self, claim: Object, chosen: str) -> Writes:
        shape = self.shapes[chosen]
        gpus = nodes.gpu_resources(shape)
        waiting = {"status": "Unknown", "reason": "AwaitingReconciliation", "message": "object is awaiting"}
        yield from self._report(
            claim,
            [
                {"type": "Launched", "status": "True", "reason": "Launched", "message": ""},
                *({"type": kind, **waiting} for kind in ("Registered", "Initialized", "Ready")),
            ],
            providerID=f"sandbox:///{node_name(claim)}",
            capacity=nodes.capacity(shape) | gpus,
            allocatable=nodes.allocatable(shape) | gpus,
        )

    def _joining(self, claim: Object, chosen: str, launched: str) -> Generator[Request, Object, Outcome]:
        name = node_name(claim)
        if conditions.is_true(claim, "Registered"):
            try:
                yield request.get(NODE, "", name)  # the store may be behind
            except ApiError as error:
                if error.status != 404:
                    raise
                yield from pods.delete(NODE_CLAIM, claim)
            return Outcome()
        left_s = JOIN_S - self.clock.since_s(launched)
        if left_s > 0:
            return Outcome(self.clock.wall_s(left_s))
        labels = {
            **required_labels(claim),
            "karpenter.sh/registered": "true",
            LABEL_INSTANCE_TYPE: chosen,
        }
        made = nodes.node(
            name,
            self.shapes[chosen],
            instance_type=chosen,
            labels=labels,
            annotations={_CLAIM_ANNOTATION: key_of(claim).name},
            taints=dig(claim, "spec", "taints") or (),
            ready_since=self.clock.stamp(),
            device_plugin=False,
        )
        made["metadata"]["ownerReferences"] = [
            {field: value for field, value in owner_reference(claim).items() if field != "controller"}
        ]
        try:
            created = yield request.create(NODE, made)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            return Outcome(self.clock.wall_s(_LOOK_AGAIN_S))
        if not dig(created, "status", "conditions"):
            yield from pods.status_patch(NODE, created, made["status"], manager=NODE.kind.lower())
        return Outcome()

    def _initializing(
        self, claim: Object, node: Object, shape: InstanceShape
    ) -> Generator[Request, Object, Outcome]:
        if conditions.is_true(claim, "Initialized"):
            return Outcome()  # from here on the node is its own, broken ones included
        ready = conditions.find(node, "Ready") or {}
        gpus = nodes.gpu_resources(shape)
        name = key_of(node).name
        registered = {"type": "Registered", "status": "True", "reason": "Registered", "message": ""}
        broken = labels_of(claim).get(FAULT_LABEL) == "plugin-missing"
        left_s = DEVICE_PLUGIN_S - self.clock.since_s(ready.get("lastTransitionTime") or self.clock.stamp())
        if not nodes.is_ready(node) or (gpus and (broken or left_s > 0)):
            unmet = f"Resource {next(iter(gpus), '')!r} not registered" if gpus else "Node status is NotReady"
            waiting = {"type": "Initialized", "status": "Unknown", "reason": "NodeNotReady", "message": unmet}
            if gpus:
                waiting["reason"] = "ResourceNotRegistered"
            yield from self._report(claim, [registered, waiting], nodeName=name)
            return Outcome(self.clock.wall_s(left_s) if nodes.is_ready(node) and not broken else None)
        equipped = nodes.with_device_plugin(node, shape)
        status: Object = node.get("status") or {}
        if equipped["status"] != status:
            status_patch = {side: equipped["status"][side] for side in ("capacity", "allocatable")}
            yield request.merge_patch(
                NODE, "", name, {"status": status_patch}, manager="device-plugin", subresource="status"
            )
        labels = {**labels_of(equipped), "karpenter.sh/initialized": "true"}
        if labels != labels_of(node):
            yield request.merge_patch(NODE, "", name, {"metadata": {"labels": labels}}, manager=_MANAGER)
        done = [
            {"type": kind, "status": "True", "reason": kind, "message": ""}
            for kind in ("Initialized", "Ready")
        ]
        yield from self._report(claim, [registered, *done], nodeName=name)
        return Outcome()

    def _terminate(self, claim: Object) -> Generator[Request, Object, Outcome]:
        """Drain the node, delete it, let the claim go."""
        name = node_name(claim)
        try:
            node = yield request.get(NODE, "", name)
        except ApiError as error:
            if error.status != 404:
                raise
            finalizers = [one for one in claim["metadata"]["finalizers"] if one != FINALIZER]
            patch = {"metadata": {"finalizers": finalizers}}
            yield pods.spec_patch(NODE_CLAIM, claim, patch, manager=_MANAGER)
            return Outcome()
        taints = dig(node, "spec", "taints") or []
        if not any(taint.get("key") == _DISRUPTED["key"] for taint in taints):
            patch = {"spec": {"taints": [*taints, _DISRUPTED]}}
            yield pods.spec_patch(NODE, node, patch, manager=_MANAGER)
        # Asked of the server: a pod that was bound a moment ago may not be in the store yet.
        answer = yield Request("GET", POD.path(), query={"fieldSelector": f"spec.nodeName={name}"})
        running = [pod for pod in answer.get("items") or () if not is_finished(pod)]
        for pod in running:
            if not is_being_deleted(pod):
                yield from pods.delete(POD, pod)
        if running:
            return Outcome(self.clock.wall_s(_LOOK_AGAIN_S))
        yield from pods.delete(NODE, node)
        return Outcome(self.clock.wall_s(_LOOK_AGAIN_S))

    def _report(self, claim: Object, news: list[Object], **more: object) -> Writes:
        had = dig(claim, "status", "conditions") or []
        status = {
            **(claim.get("status") or {}),
            **more,
            "conditions": pods.merged_conditions(had, news, self.clock),
        }
        yield from pods.status_patch(NODE_CLAIM, claim, status, manager=_MANAGER)
