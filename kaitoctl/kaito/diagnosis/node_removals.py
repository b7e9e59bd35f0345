"""Why a node went, or goes, in words: consolidation, drift, expiry, a spot machine that the cloud took back.

Sources: karpenter v1.14 pkg/controllers/disruption/events/events.go (`Disrupting Node: Underutilized/Delete`;
before v1 `Consolidation/...`, `Expiration/...`, `Emptiness/...`), nodeclaim/expiration/controller.go (which
deletes and says nothing), pkg/apis/v1 (condition DisruptionReason); karpenter-provider-aws pkg/controllers/
interruption/events; AKS node-problem-detector; cluster-autoscaler 1.34 core/scaledown/actuation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from kaitoctl.kaito.diagnosis.case import event_words
from kaitoctl.kube import conditions
from kaitoctl.kube.objects import Object, creation_time_of, dig


class Removal(NamedTuple):
    """Why a node went, and what keeps the next one."""

    words: str
    hint: str


_KEEP = (
    'the annotation karpenter.sh/do-not-disrupt: "true" on its pods keeps a node from that, and so do the '
    "budgets of its NodePool (spec.disruption)"
)
_WHO = "check who asked for its deletion"
_OF_KARPENTER = (
    ("Underutilized|Consolidat", "its pods fit on other nodes, or on a cheaper one (consolidation)", _KEEP),
    (
        "Empt",
        "no pods but those of DaemonSets were on it (consolidation)",
        "consolidateAfter of its NodePool says for how long a node may be empty",
    ),
    ("Drift", "it differed from its NodePool or node class, or their image is newer (drift)", _KEEP),
    (
        "Expir",
        "it was as old as a node of its NodePool may be (expireAfter)",
        "nothing keeps a node longer than expireAfter of its NodePool, which can be raised",
    ),
)
_SPOT = "take machines that are not spot where the model has to serve all the time"
# By reason of an event, what says most first: a cloud also tells of machines that somebody else has removed.
_OF_EVENTS = {
    "SpotInterrupted": ("the cloud took the spot machine back (interruption)", _SPOT),
    "PreemptScheduled": ("the cloud took the spot machine back (interruption)", _SPOT),
    "DisruptionTerminating": None,
    "ScaleDown": (
        "the cluster autoscaler found it little used (scale-down)",
        'the annotation cluster-autoscaler.kubernetes.io/safe-to-evict: "false" on its pods keeps a node',
    ),
    "ScaleDownEmpty": (
        "the cluster autoscaler found it empty (scale-down)",
        "its scale-down-unneeded-time says for how long a node may be",
    ),
    "TerminateScheduled": ("the cloud deleted the machine on request", "check who asked for it"),
    "RedeployScheduled": ("the cloud moved the machine to other hardware", "it comes back by itself"),
    "TerminatingOnInterruption": (
        "the cloud announced that the machine ends (interruption)",
        "check the cloud's notice",
    ),
    "InstanceTerminating": ("the machine was deleted in the cloud", "check who did it"),
    "InstanceStopping": ("the machine was stopped in the cloud", "check who did it"),
}


def of_events(events: Iterable[Object]) -> Removal | None:
    """Why a node went, by the events about it or its NodeClaim; None where none of them tells."""
    said = {str(event.get("reason")): event for event in reversed(list(events))}  # of several, the newest
    for reason, known in _OF_EVENTS.items():
        if reason not in said:
            continue
        if known is not None:
            return Removal(*known)
        if found := _of_karpenter(event_words(said[reason])[1]):
            return found
    return None


def of_claim(claim: Object, events: Iterable[Object]) -> Removal:
    """Why a NodeClaim is being deleted, by events, conditions or age; no words where nothing tells.

    A drifted claim stays for as long as budgets and pods hold it, and may go for any other reason meanwhile.
    """
    if told := of_events(events):
        return told
    chosen = conditions.find(claim, "DisruptionReason") or {}
    if chosen.get("status") == "True" and (reason := str(chosen.get("reason") or "")):
        return _of_karpenter(reason) or Removal(reason, _WHO)
    if _has_expired(claim) and (old := _of_karpenter("Expired")):
        return old
    if conditions.is_true(claim, "Drifted") and (drift := _of_karpenter("Drifted")):
        return Removal(f"perhaps since {drift.words}", f"{_WHO}; if nobody did, {drift.hint}")
    return Removal("", _WHO)


def _of_karpenter(words: str) -> Removal | None:
    return next(
        (Removal(why, hint) for pattern, why, hint in _OF_KARPENTER if re.search(pattern, words)), None
    )


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}


def _has_expired(claim: Object) -> bool:
    """Whether it was deleted no sooner than it may be old, and not long after."""
    text = str(dig(claim, "spec", "expireAfter") or "")
    parts = re.findall(r"(\d{1,9})([hms])", text)
    most_s = sum(int(number) * _UNITS[unit] for number, unit in parts)
    try:
        began = conditions.parse_timestamp(creation_time_of(claim))
        ended = conditions.parse_timestamp(str(claim["metadata"].get("deletionTimestamp")))
    except ValueError:
        return False
    # Karpenter asks for the deletion at that moment; of a NodeClaim the grace period is nothing.
    return bool(most_s) and 0 <= (ended - began).total_seconds() - most_s < _EXPIRES_WITHIN_S


_EXPIRES_WITHIN_S = 300.0
