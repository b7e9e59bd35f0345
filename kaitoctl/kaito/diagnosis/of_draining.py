"""Why a node that is being deleted is not emptied: a budget, volumes, a machine that does not answer."""

from __future__ import annotations

from kaitoctl.advice import Command
from kaitoctl.kaito import looks
from kaitoctl.kaito.diagnosis.case import Case, blame, condition_words, event_words, title_of
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kube import conditions
from kaitoctl.kube.objects import Object, dig, labels_of, matches_selector


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
        _budget_block(case, claim, node, evidence, late=late)
        or _volume_block(case, claim, node, evidence, late=late)
        or (_silent_machine(node, evidence) if late else None)
    )


def _budget_block(
    case: Case, claim: Object, node: Object, evidence: list[tuple[str, str]], *, late: bool
) -> Cause | None:
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
    if not failed and not budgets:
        return None
    evidence = [
        *failed[:2],
        *(("PodDisruptionBudget", f"{item} allows no disruption") for item in budgets),
        *evidence,
    ]
    if not budgets and not any("PDB" in words or "disruption budget" in words.lower() for _, words in failed):
        return blame(
            "drain-blocked",
            title_of(node),
            f"node {name} cannot be drained: {failed[0][1]}",
            evidence,
            hint="see which pods are left on the node and why they do not end",
            command=looks.pods_on(name),
            weight="fault" if late else "wait",
        )
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
        hint="see which volumes are still attached, and the CSI driver's pods",
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
        hint="see at the cloud whether the machine still runs; the node provisioner's log says what it tries",
        command=Command("kubectl describe node", name),
    )


def _events(case: Case, claim: Object, node: Object, reason: str) -> list[tuple[str, str]]:
    events = [*case.seen.events_of(node), *case.seen.events_of(claim)]
    return [event_words(event) for event in events if event.get("reason") == reason]
