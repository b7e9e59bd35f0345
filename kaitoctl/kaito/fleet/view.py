"""A set and its Workspaces -> what is shown of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from kaitoctl.kaito import api
from kaitoctl.kaito.catalog import Catalog
from kaitoctl.kaito.fleet import history
from kaitoctl.kaito.fleet.decisions import Replica, replica_of
from kaitoctl.kaito.fleet.replicas import wanted_replicas
from kaitoctl.kaito.fleet.status import READY, ROLLOUT
from kaitoctl.kaito.fleet.strategy import PAUSED_BY_HAND, strategy_of
from kaitoctl.kaito.fleet.template import adapters_of
from kaitoctl.kube import conditions
from kaitoctl.kube.objects import (
    Object,
    ObjectKey,
    annotations_of,
    dig,
    is_controlled_by,
    key_of,
)

_NODES_COME_UP_S = 600.0
_HELD = ("Canary", "FailureBudgetSpent", "NoBudget")
"""Reasons of a rollout that time alone does not change."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """A set with its Workspaces.

    Args:
        inference_set: the set.
        replicas: its Workspaces, by name.
        dropped: annotations that older templates had.
    """

    inference_set: Object
    replicas: tuple[Replica, ...]
    dropped: tuple[str, ...] = ()

    @property
    def key(self) -> ObjectKey:
        """Of the set."""
        return key_of(self.inference_set)

    @property
    def wanted(self) -> int:
        """How many replicas it asks for."""
        return wanted_replicas(self.inference_set)

    @property
    def ready(self) -> int:
        """How many serve."""
        return sum(one.is_ready for one in self.replicas)

    @property
    def outdated(self) -> tuple[Replica, ...]:
        """Those that are not as the present template says."""
        return tuple(one for one in self.replicas if not one.is_current and not one.leaving)

    @property
    def is_rolled_by_kaitoctl(self) -> bool:
        """Whether kaitoctl's own controller carries templates to the replicas."""
        return conditions.find(self.inference_set, ROLLOUT) is not None

    @property
    def is_paused(self) -> bool:
        """Whether somebody has paused the rollout by the annotation."""
        return strategy_of(self.inference_set).paused == PAUSED_BY_HAND

    @property
    def stuck(self) -> str:
        """Why the template goes no further by itself; empty when it does, or is everywhere."""
        if not self.outdated or self.ready < self.wanted:
            return ""
        if self.is_paused:
            return f"{self.template_words}, and the rollout is paused"
        if not self.is_rolled_by_kaitoctl:
            return f"{self.template_words}, and KAITO does not carry it to them"
        if paused := strategy_of(self.inference_set).paused:
            return f"{self.template_words}; {paused}"
        reason, message = self._rollout
        return f"{reason}: {message}" if reason in _HELD else ""

    @property
    def _rollout(self) -> tuple[str, str]:
        """What the controller says of the present rollout: reason and message; empty of an earlier one."""
        found = conditions.current(self.inference_set, ROLLOUT)
        # Resuming changes an annotation, which makes no generation.
        if not found or (found.get("reason") == "Paused" and not strategy_of(self.inference_set).paused):
            return "", ""
        return str(found.get("reason") or ""), str(found.get("message") or "")

    @property
    def template_words(self) -> str:
        """Which template the replicas have, in words."""
        number = len(self.outdated)
        if not number:
            return "all replicas have the present template"
        return f"mixed: {number} of {len(self.replicas)} replicas have an older template"

    @property
    def trouble(self) -> str:
        """What holds the set up, of itself; empty when nothing does."""
        ready = conditions.find(self.inference_set, READY) or {}
        if ready.get("reason") == "inferencesetFailed":
            return str(ready.get("message") or "")
        reason, message = self._rollout
        if reason not in ("", "Complete", "Progressing"):
            return f"{reason}: {message}"
        if self.outdated and not self.is_rolled_by_kaitoctl:
            return f"{self.template_words}, and KAITO does not carry it to them"
        return ""

    @property
    def worst(self) -> Replica | None:
        """The replica that keeps the set from being ready: one that has failed before one that comes up."""
        troubled = [one for one in self.replicas if not one.is_ready and not one.leaving]
        return min(troubled, key=lambda one: not one.failure, default=None)

    @property
    def state(self) -> str:
        """One word."""
        if self.inference_set["metadata"].get("deletionTimestamp"):
            return "Deleting"
        if self.ready < self.wanted:
            is_failing = any(one.failure for one in self.replicas)
            return "Failed" if is_failing or self.trouble else "Progressing"
        return "Mixed" if self.outdated else "Ready"


def fleet_of(
    inference_set: Object,
    workspaces: Iterable[Object],
    revisions: Iterable[Object],
    now: datetime,
    *,
    catalog: Catalog,
) -> Fleet:
    """A set with those of the Workspaces that are its own.

    Args:
        inference_set: the set.
        workspaces: candidates.
        revisions: of sets, whole.
        now: the present time.
        catalog: of presets, for how long a replica may take.
    """
    name = str(dig(inference_set, "spec", "template", "inference", "preset", "name") or "")
    found = (catalog.preset(name) or catalog.model(name)) if name else None
    budget_s = (found.readiness_timeout_s if found else 1800) + _NODES_COME_UP_S
    past = [history.trim_revision(one) for one in revisions if is_controlled_by(one, inference_set)]
    dropped = tuple(dict.fromkeys(key for one in past for key in one["annotations"]))
    own = sorted((one for one in workspaces if is_controlled_by(one, inference_set)), key=key_of)
    made = (replica_of(inference_set, one, now, budget_s, dropped) for one in own)
    return Fleet(inference_set, tuple(made), dropped)


def replica_words(replica: Replica) -> str:
    """How a replica is, in words."""
    if replica.leaving:
        return "being deleted"
    if replica.failure:
        return replica.failure
    if not replica.is_ready:
        found = conditions.find(replica.workspace, api.WORKSPACE_SUCCEEDED) or {}
        return str(found.get("message") or "not reconciled yet")
    return "" if replica.is_current else f"older template: {', '.join(replica.differing[:3])}"


def as_json(fleet: Fleet) -> Object:
    """The set as docs/fleets.md has it."""
    return {
        "kind": api.INFERENCE_SET.kind,
        "namespace": fleet.key.namespace,
        "name": fleet.key.name,
        "state": fleet.state.lower(),
        "replicas": fleet.wanted,
        "readyReplicas": fleet.ready,
        "outdatedReplicas": len(fleet.outdated),
        "message": fleet.trouble,
        "members": [
            {
                "name": one.name,
                "ready": one.is_ready,
                "current": one.is_current,
                "differs": list(one.differing),
                "revision": annotations_of(one.workspace).get(history.NUMBER),
                "adapters": list(adapters_of(one.workspace)),
                "nodes": list(dig(one.workspace, "status", "workerNodes") or ()),
                "message": replica_words(one),
            }
            for one in fleet.replicas
        ],
    }
