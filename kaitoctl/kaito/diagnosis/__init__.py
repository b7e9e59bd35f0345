"""Why a Workspace is not ready: one root cause, and what else was found. Pure.

The modules `of_...` hold the rules, each of its subject; `of_logs` reads logs by the tables of
`log_patterns`; `karpenter` knows Karpenter's reasons, `codes` explains what the rules find, `case` has what
they share. A rule reads what Kubernetes and every KAITO leave behind: conditions, NodeClaims and Machines,
workloads, pods, events, logs. What it needs and is not there (events that may not be listed, logs) costs
evidence, or leads to a more general code; it never fails the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from kaitoctl.kaito.diagnosis import of_claims, of_deletion, of_nodes, of_pods, of_workspace
from kaitoctl.kaito.diagnosis.case import Case, budget_of
from kaitoctl.kaito.diagnosis.cause import Cause, Weight
from kaitoctl.kaito.diagnosis.of_pods import endpoints, references
from kaitoctl.kaito.rollout import Progress, progress
from kaitoctl.kaito.snapshot import Snapshot
from kaitoctl.kube.objects import is_being_deleted

__all__ = [
    "Cause",
    "Diagnosis",
    "Weight",
    "budget_of",
    "diagnose",
    "endpoints",
    "references",
]

RULES: tuple[Callable[[Case], Iterator[Cause]], ...] = (
    of_deletion.deletion,
    of_workspace.clash,
    of_workspace.immutable,
    of_workspace.invalid,
    of_workspace.controller,
    of_pods.configuration,
    of_claims.claims,
    of_claims.vanished,
    of_claims.pools,
    of_nodes.findings,
    of_nodes.no_nodes,
    of_pods.refused_pods,
    of_pods.scheduling,
    of_pods.images,
    of_pods.containers,
    of_pods.evicted,
    of_pods.slow,
    of_pods.tuned,
    of_pods.given_up,
    of_pods.service,
    of_workspace.told,
)
"""The nearer to the front, the nearer to the root."""

# What these say, whatever else was found explains better.
_LAST_RESORT = frozenset({"controller-says", "progress-deadline", "tuning-failed", "unschedulable"})


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Where a Workspace stands, and what keeps it there.

    Args:
        progress: how far it is.
        causes: the root first; none when nothing is wrong that could be seen.
    """

    progress: Progress
    causes: tuple[Cause, ...]

    @property
    def is_ready(self) -> bool:
        """Whether all of it serves."""
        return self.progress.outcome == "ready"

    @property
    def cause(self) -> Cause | None:
        """What keeps it from being ready; None when it is, or is merely on its way."""
        first = self.causes[0] if self.causes else None
        return None if first is None or first.weight == "note" else first


def diagnose(seen: Snapshot, now: datetime, *, addressed: Callable[[str], str] = str) -> Diagnosis:
    """The causes in a snapshot, the gravest and nearest to the root first.

    Args:
        seen: what there is.
        now: the time; some causes need it.
        addressed: makes commands in an advice lead to the cluster that was looked at.

    Guarantee: not ready while a pod of the present spec is not.
    """
    where = progress(seen)
    if seen.workspace is None:
        return Diagnosis(where, ())
    case = Case(seen, seen.workspace, where, now)
    found: list[Cause] = []
    for rule in RULES:
        for cause in rule(case):
            said = [(known.code, known.message) for known in found]
            if (cause.code, cause.message) not in said:
                found.append(cause)
        if found and is_being_deleted(case.workspace):
            break  # what is going away need not become ready
    if any(cause.code not in _LAST_RESORT and cause.weight != "note" for cause in found):
        found = [cause for cause in found if cause.code not in _LAST_RESORT]
    if where.outcome == "ready":
        found = [replace(cause, weight="note") for cause in found]
    found = [replace(item, hint=addressed(item.hint), command=addressed(item.command)) for item in found]
    return Diagnosis(where, tuple(sorted(found, key=lambda cause: cause.order)))
