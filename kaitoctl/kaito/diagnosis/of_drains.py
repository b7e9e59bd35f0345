"""Rules about nodes that are being emptied, so that they can be removed: what is left on them, and why.

Source: karpenter v1.14 (2266468) pkg/controllers/node/termination, terminator/terminator.go,
pkg/utils/pod/scheduling.go (IsWaitingEviction): pods that have ended, that outstay their grace period, that
tolerate the taint, and those of the kubelet itself are not waited for.
"""

from __future__ import annotations

from kaitoctl.advice import Command
from kaitoctl.kaito import kubectl_hints
from kaitoctl.kaito.diagnosis.case import Case, blame, condition_words, event_words, span, title_of
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kube import conditions, pod_state
from kaitoctl.kube.objects import (
    Object,
    annotations_of,
    dig,
    is_being_deleted,
    key_of,
    labels_of,
    matches_selector,
    tolerates,
)

_DISRUPTED = {"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}
_KEPT = "karpenter.sh/do-not-disrupt"
_ENDS_AT = "karpenter.sh/nodeclaim-termination-timestamp"
_BUFFER_S = 60.0
"""A pod is waited for that long after the end of its grace period: Karpenter, IsStuckTerminating."""
_MOST_NAMED = 3


def drain_block(
    case: Case, claim: Object, node: Object, evidence: list[tuple[str, str]], *, late: bool
) -> Cause | None:
    """What keeps a node from being emptied; None when nothing does.

    Args:
        case: the Workspace and all around it.
        claim: the NodeClaim of the node.
        node: which is being deleted.
        evidence: what is known already.
        late: whether it has taken longer than it should.
    """
    return (
        (_silent_machine(node, evidence) if late else None)
        or _budget_block(case, claim, node, evidence)
        or _pod_block(case, claim, node, evidence, late=late)
        or _volume_block(case, claim, node, evidence, late=late)
    )


def _budget_block(case: Case, claim: Object, node: Object, evidence: list[tuple[str, str]]) -> Cause | None:
    name = str(node["metadata"]["name"])
    failed = _events(case, claim, node, "FailedDraining")
    budgets = [
        str(budget["metadata"]["name"])
        for budget in case.seen.budgets
        if dig(budget, "status", "disruptionsAllowed") == 0
        and any(
            matches_selector(dig(budget, "spec", "selector"), labels_of(pod))
            for pod in case.seen.pods
            if dig(pod, "spec", "nodeName") == name
        )
    ]
    if not budgets and not any("PDB" in words or "disruption budget" in words.lower() for _, words in failed):
        return None
    evidence = [
        *failed[:2],
        *(("PodDisruptionBudget", f"{item} allows no disruption") for item in budgets),
        *evidence,
    ]
    named = f" ({', '.join(budgets)})" if budgets else ""
    return blame(
        "drain-blocked",
        title_of(node),
        f"node {name} cannot be drained: a PodDisruptionBudget{named} forbids it",
        evidence,
        hint="let the budget allow a disruption (another replica elsewhere, a smaller minAvailable), or ask "
        "its owner to end the pod; whatever serves on the node stops with it",
        command=Command("kubectl get poddisruptionbudgets -A"),
        weight="fault",
    )


def _pod_block(
    case: Case, claim: Object, node: Object, evidence: list[tuple[str, str]], *, late: bool
) -> Cause | None:
    """Pods that a drain waits for: with a grace period that is not over, that are not to be disrupted."""
    name = str(node["metadata"]["name"])
    failed = _events(case, claim, node, "FailedDraining")
    drained = conditions.find(claim, "Drained") or {}
    if drained.get("status") == "True" or not (failed or drained):
        return None
    left = [pod for pod in _pods_on(case, name) if _is_waited_for(case, pod)]
    graceful = [pod for pod in left if is_being_deleted(pod)]
    kept = [pod for pod in left if annotations_of(pod).get(_KEPT) not in (None, "", "false")]
    if not failed and not graceful and not kept:
        return None
    evidence = [*failed[:2], *((title_of(pod), _state(pod)) for pod in left[:_MOST_NAMED]), *evidence]
    ends_at = annotations_of(claim).get(_ENDS_AT)
    limit = f"; Karpenter ends what is left at {ends_at}" if ends_at else ""
    why = failed[0][1] if failed else "its pods are being evicted"
    hint = (
        "check which pods are left on the node, and what keeps them: a PodDisruptionBudget, the "
        f"annotation {_KEPT}, a finalizer, or a long grace period"
    )
    command = kubectl_hints.pods_on(name)
    if kept:
        key = key_of(kept[0])
        why = f"{key} is not to be disrupted ({_KEPT})"
        hint = (
            "it is waited for until it ends: wait, or ask its owner to end it or to take the annotation off"
        )
        command = Command("kubectl describe pod", key.name, "-n", key.namespace)
    elif graceful:
        key = key_of(graceful[0])
        asked_s = graceful[0]["metadata"].get("deletionGracePeriodSeconds")
        grace = f" of {span(float(asked_s))}" if isinstance(asked_s, int) else ""
        until = graceful[0]["metadata"]["deletionTimestamp"]
        why = f"{key} ends, and has until {until}: its grace period{grace} is not over"
        hint = "wait: it may end sooner; its owner knows what it still does"
        command = Command("kubectl describe pod", key.name, "-n", key.namespace)
    return blame(
        "drain-blocked",
        title_of(node),
        f"node {name} cannot be drained{'' if failed else ' yet'}: {why}",
        evidence,
        hint=hint + limit,
        command=command,
        weight="fault" if late and not (graceful and not kept) else "wait",
    )


def _pods_on(case: Case, node: str) -> list[Object]:
    """All pods of a node, whosever, as far as they may be listed."""
    found = {key_of(pod): pod for pod in (*case.seen.drained, *case.seen.pods)}
    return [pod for pod in found.values() if dig(pod, "spec", "nodeName") == node]


def _is_waited_for(case: Case, pod: Object) -> bool:
    owners = {item.get("kind") for item in pod["metadata"].get("ownerReferences") or ()}
    allowed = dig(pod, "spec", "tolerations") or ()
    is_overdue = is_being_deleted(pod) and case.age_s(pod["metadata"]["deletionTimestamp"]) > _BUFFER_S
    return not (
        pod_state.is_finished(pod)
        or is_overdue
        or "Node" in owners
        or any(tolerates(item, _DISRUPTED) for item in allowed)
    )


def _state(pod: Object) -> str:
    ends = pod["metadata"].get("deletionTimestamp")
    kept = annotations_of(pod).get(_KEPT)
    words = f"{key_of(pod)} is {pod_state.summary(pod)}"
    return words + (f", deletionTimestamp {ends}" if ends else "") + (f", {_KEPT}: {kept}" if kept else "")


def _volume_block(
    case: Case, claim: Object, node: Object, evidence: list[tuple[str, str]], *, late: bool
) -> Cause | None:
    volumes = conditions.find(claim, "VolumesDetached") or {}
    waiting = _events(case, claim, node, "AwaitingVolumeDetachment")
    if volumes.get("status") != "Unknown" and not waiting:
        return None
    return blame(
        "drain-blocked",
        title_of(node),
        f"node {node['metadata']['name']} waits for volumes to be detached",
        [*waiting[:1], *evidence],
        hint="check which volumes are still attached, and the CSI driver's pods",
        command=Command("kubectl get volumeattachments"),
        weight="fault" if late else "wait",
    )


def _silent_machine(node: Object, evidence: list[tuple[str, str]]) -> Cause | None:
    if conditions.is_true(node, "Ready"):
        return None
    name = str(node["metadata"]["name"])
    return blame(
        "drain-blocked",
        title_of(node),
        f"node {name} does not answer, so that its pods do not end",
        [condition_words(conditions.find(node, "Ready") or {}), *evidence],
        hint="check at the cloud whether the machine still runs; the provisioner's log says what it tries",
        command=Command("kubectl describe node", name),
    )


def _events(case: Case, claim: Object, node: Object, reason: str) -> list[tuple[str, str]]:
    events = [*case.seen.events_of(node), *case.seen.events_of(claim)]
    return [event_words(event) for event in events if event.get("reason") == reason]
