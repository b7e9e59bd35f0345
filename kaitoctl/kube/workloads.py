"""Whether a Deployment or StatefulSet has arrived at its spec. Pure.

Ready replicas alone say nothing about the *new* pods: after a change the old pod still satisfies
`readyReplicas == replicas`. So the generation must have been observed, every replica must be of the
newest revision, and none of an older one may be left.

Source: the rules of `kubectl rollout status`.
"""

from __future__ import annotations

from kaitoctl.kube.objects import Object, dig, generation_of


def is_rolled_out(workload: Object) -> bool:
    """Whether all replicas are of the current spec, ready, and the only ones."""
    status = workload.get("status") or {}
    wanted = replicas(workload)
    if int(status.get("observedGeneration") or 0) < generation_of(workload):
        return False
    counts = [int(status.get(name) or 0) for name in ("replicas", "updatedReplicas", "readyReplicas")]
    return all(count == wanted for count in counts)


def replicas(workload: Object) -> int:
    """The replicas asked for; 1 when the spec does not say."""
    wanted = dig(workload, "spec", "replicas")
    return 1 if wanted is None else int(wanted)


def stalled(workload: Object) -> str:
    """Why the rollout has been given up (`Progressing` is False), or an empty string."""
    if int(dig(workload, "status", "observedGeneration") or 0) < generation_of(workload):
        return ""
    for condition in dig(workload, "status", "conditions") or ():
        if condition.get("type") == "Progressing" and condition.get("status") == "False":
            return str(condition.get("message") or condition.get("reason") or "it is not progressing")
    return ""
