"""ReplicaSets: as many pods as wanted."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from msgspec import Struct

from kaitoctl.kube import request
from kaitoctl.kube.objects import (
    POD,
    REPLICA_SET,
    Object,
    ObjectKey,
    dig,
    generation_of,
    is_being_deleted,
    is_controlled_by,
    key_of,
    selector_text,
    uid_of,
)
from kaitoctl.kube.request import Request
from kaitoctl.kube.workloads import replicas
from kaitoctl.reconcile.controller import Outcome
from kaitoctl.reconcile.store import Store
from kaitoctl.sandbox.clock import Clock
from kaitoctl.sandbox.workloads import pods

_REPLICA_SET_MANAGER = "replicaset-controller"


class ReplicaSets(Struct, frozen=True):
    """Reconciles one ReplicaSet: as many pods as wanted, the least useful ones go first.

    Args:
        replica_sets: store of all ReplicaSets.
        pods: store of all pods.
        clock: the sandbox's time.
    """

    replica_sets: Store
    pods: Store
    clock: Clock

    def reconcile(self, key: ObjectKey) -> Generator[Request, Object, Outcome]:
        """Create or delete pods, and count them."""
        owner = self.replica_sets.get(key)
        if owner is None or is_being_deleted(owner):
            return Outcome()
        wanted = replicas(owner)
        mine = [pod for pod in self.pods.by_owner(uid_of(owner)) if pods.is_active(pod)]
        if len(mine) != wanted:
            # The store may not show what the last reconcile did; before acting twice, ask.
            selector = selector_text(dig(owner, "spec", "selector", "matchLabels") or {})
            answer = yield Request("GET", POD.path(key.namespace), query={"labelSelector": selector})
            listed = [pod for pod in answer.get("items") or () if is_controlled_by(pod, owner)]
            mine = [pod for pod in listed if pods.is_active(pod)]
            template = dig(owner, "spec", "template") or {}
            for _ in range(wanted - len(mine)):
                pod = pods.pod_of(owner, template, pods.random_name(key.name))
                yield request.create(POD, pod)
                yield from pods.record(
                    owner,
                    "SuccessfulCreate",
                    f"Created pod: {key_of(pod).name}",
                    source=_REPLICA_SET_MANAGER,
                    clock=self.clock,
                )
            for pod in sorted(mine, key=_usefulness)[: max(0, len(mine) - wanted)]:
                yield from pods.delete(POD, pod)
        return (yield from self._count(owner, mine))

    def _count(self, owner: Object, mine: list[Object]) -> Generator[Request, Object, Outcome]:
        least_s = float(dig(owner, "spec", "minReadySeconds") or 0)
        waits = [pods.available_in_s(pod, least_s, self.clock) for pod in mine]
        counts = {
            "fullyLabeledReplicas": len(mine),
            "readyReplicas": sum(pods.is_ready(pod) for pod in mine),
            "availableReplicas": waits.count(0.0),
        }
        status = {
            "replicas": len(mine),
            "observedGeneration": generation_of(owner),
            **{name: count for name, count in counts.items() if count},
        }
        yield from pods.status_patch(REPLICA_SET, owner, status, manager=_REPLICA_SET_MANAGER)
        soonest = min((wait for wait in waits if wait), default=None)
        return Outcome(None if soonest is None else self.clock.wall_s(soonest))


def _usefulness(pod: Object) -> tuple[Any, ...]:
    """Sorts the pods to delete first to the front: no node, not running, not ready, the youngest."""
    created: Mapping[str, Any] = pod["metadata"]
    age = "".join(chr(255 - ord(char)) for char in created.get("creationTimestamp") or "")
    return (
        bool(dig(pod, "spec", "nodeName")),
        pods.phase(pod) == "Running",
        pods.is_ready(pod),
        age,
        key_of(pod),
    )
