"""Whether a Deployment or StatefulSet has arrived at its spec. Pure.

Ready replicas alone say nothing about the *new* pods: after a change the old pod still satisfies
`readyReplicas == replicas`. So the generation must have been observed, every replica must be of the
newest revision, and none of an older one may be left.

Source: the rules of `kubectl rollout status`.
"""

from __future__ import annotations

from collections.abc import Iterable

from kaitoctl.kube.conditions import is_of_now
from kaitoctl.kube.objects import (
    Object,
    dig,
    is_being_deleted,
    is_controlled_by,
    labels_of,
)

_POD_REVISION = "controller-revision-hash"


def is_observed(workload: Object) -> bool:
    """Whether its status is of its present spec: its controller has taken that up."""
    return is_of_now(workload.get("status") or {}, workload)


def is_rolled_out(workload: Object) -> bool:
    """Whether all replicas are of the current spec, ready, and the only ones."""
    status = workload.get("status") or {}
    wanted = replicas(workload)
    if not is_observed(workload):
        return False
    counts = [int(status.get(name) or 0) for name in ("replicas", "updatedReplicas", "readyReplicas")]
    return all(count == wanted for count in counts)


def replicas(workload: Object) -> int:
    """The replicas asked for; 1 when the spec does not say."""
    wanted = dig(workload, "spec", "replicas")
    return 1 if wanted is None else int(wanted)


def running(workload: Object) -> int:
    """How many pods there are of it, as its status says; before it does, how many it wants."""
    there = dig(workload, "status", "replicas")
    if there is None and dig(workload, "status", "observedGeneration"):
        return 0  # a count of none is left out
    return int(there if there is not None else replicas(workload))


def why_stalled(workload: Object) -> str:
    """Why the rollout has been given up (`Progressing` is False), or an empty string."""
    if not is_observed(workload):
        return ""
    for condition in dig(workload, "status", "conditions") or ():
        if condition.get("type") == "Progressing" and condition.get("status") == "False":
            return str(condition.get("message") or condition.get("reason") or "it is not progressing")
    return ""


def refused_pods(workload: Object) -> str:
    """Why the API server lets nobody create its pods, as the workload says of its present spec; or nothing.

    A StatefulSet and a Job say it in events alone.

    Source: Kubernetes v1.37.2, pkg/controller/replicaset/replica_set_utils.go (calculateStatus), and
    pkg/controller/deployment/sync.go, which copies the newest ReplicaSet's condition.
    """
    if not is_observed(workload):
        return ""
    for condition in dig(workload, "status", "conditions") or ():
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            if condition.get("reason") == "FailedDelete":
                return ""
            return str(condition.get("message") or condition.get("reason") or "no reason is given")
    return ""


def outdated_pods(stateful_set: Object, pods: Iterable[Object]) -> list[Object]:
    """The set's pods that are of an older template and still to be stopped; none while nobody knows yet.

    None either where somebody has set a partition: below it a pod comes back as it was, again and again.
    """
    if dig(stateful_set, "spec", "updateStrategy", "rollingUpdate", "partition"):
        return []
    status = stateful_set.get("status") or {}
    wanted = status.get("updateRevision")
    if not wanted or not is_observed(stateful_set):
        return []
    return [
        pod
        for pod in pods
        if is_controlled_by(pod, stateful_set)
        and not is_being_deleted(pod)
        and labels_of(pod).get(_POD_REVISION, wanted) != wanted
    ]
