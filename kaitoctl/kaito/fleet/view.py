"""A set and its Workspaces -> what is shown of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from kaitoctl.advice import Command
from kaitoctl.kaito import api
from kaitoctl.kaito.catalog import Catalog
from kaitoctl.kaito.fleet import history
from kaitoctl.kaito.fleet.decisions import Replica, replica_of
from kaitoctl.kaito.fleet.replicas import wanted_replicas
from kaitoctl.kaito.fleet.status import READY, ROLLOUT
from kaitoctl.kaito.fleet.strategy import PAUSED_BY_HAND, strategy_of
from kaitoctl.kaito.fleet.template import adapters_of
from kaitoctl.kaito.own_workloads import CONTROLLER
from kaitoctl.kube import conditions, managed_fields
from kaitoctl.kube.objects import (
    Object,
    ObjectKey,
    annotations_of,
    dig,
    is_being_deleted,
    is_controlled_by,
    key_of,
)

ROLE_CONDITIONS = ("PrefillReady", "DecodeReady", "InferencePoolReady", "Ready", "Deleting")
"""What KAITO's controller says of a MultiRoleInference."""

_ALL = "all replicas have the present template"


class Fleet(Struct, frozen=True):
    """A set with its Workspaces.

    Args:
        inference_set: the set.
        replicas: its Workspaces, by name.
        dropped: annotations that older templates had.
        is_walked: whether a client carries the template to the replicas just now.
    """

    inference_set: Object
    replicas: tuple[Replica, ...]
    dropped: tuple[str, ...] = ()
    is_walked: bool = False

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
        """Whether kaitoctl's own controller carries templates to the replicas.

        Its condition stays when KAITO takes the set over: who has written the conditions last counts, and
        KAITO, which writes none that says the same again, notes each new spec.
        """
        if conditions.find(self.inference_set, ROLLOUT) is None:
            return False
        ours = managed_fields.last_writer(self.inference_set, "f:status", "f:conditions")
        noted = ("f:metadata", "f:annotations", f"f:{history.HASH}")
        kaitos = managed_fields.last_writer(self.inference_set, *noted)
        if ours is None or kaitos is None:
            return True
        return ours.manager == CONTROLLER and ours.time >= kaitos.time

    @property
    def is_paused(self) -> bool:
        """Whether somebody has paused the rollout by the annotation."""
        return strategy_of(self.inference_set).paused == PAUSED_BY_HAND

    @property
    def is_leaving(self) -> bool:
        """Whether the set is being deleted."""
        return is_being_deleted(self.inference_set)

    @property
    def live(self) -> tuple[Replica, ...]:
        """The replicas that are not being deleted."""
        return tuple(one for one in self.replicas if not one.leaving)

    def as_served(self, gaps: Mapping[str, str], failures: Mapping[str, str]) -> Fleet:
        """The same by what pods and Services say, which is more and sooner than the replicas' statuses.

        Args:
            gaps: what keeps prompts from replicas that say that they are ready, by name.
            failures: why replicas will not come up by themselves, by name. Who is yet to be given the present
                template may come up with that.
        """
        is_carried = self.is_rolled_by_kaitoctl or self.is_walked

        def as_served(one: Replica) -> Replica:
            if one.is_ready:
                return replace(one, is_ready=False, silent=gaps[one.name]) if one.name in gaps else one
            if one.failure or one.leaving or (is_carried and not one.is_current):
                return one
            return replace(one, failure=failures.get(one.name, ""))

        return replace(self, replicas=tuple(map(as_served, self.replicas)))

    @property
    def stuck(self) -> str:
        """Why it gets no further by itself though its replicas serve; empty when it does, or is there."""
        if self.refusal:
            return self.refusal
        is_waiting = self.ready < self.wanted or self._rollout[0] == "NoRoom"
        return "" if is_waiting else self._held

    @property
    def refusal(self) -> str:
        """Why the controller makes nothing of the set as it is now; empty when it does."""
        found = conditions.current(self.inference_set, READY)
        return str(found.get("message") or "") if found.get("reason") == "inferencesetFailed" else ""

    @property
    def _held(self) -> str:
        """What keeps the template from further replicas; empty when nothing does."""
        if not self.outdated:
            return ""
        reason, message = self._rollout
        if reason == "FailureBudgetSpent":
            return message
        if self.is_paused:
            return f"{self.template_words}; {PAUSED_BY_HAND}"
        if not self.is_rolled_by_kaitoctl:
            if self.is_walked:
                return ""
            return f"{self.template_words}, and KAITO does not carry the present one to them"
        if paused := strategy_of(self.inference_set).paused:
            return f"{self.template_words}; {paused}"
        return message if reason not in ("", "Complete", "Progressing") else ""

    @property
    def _rollout(self) -> tuple[str, str]:
        """What the controller says of the present rollout: reason and message; empty of an earlier one."""
        found = conditions.current(self.inference_set, ROLLOUT)
        # Resuming changes an annotation, which makes no generation.
        if not found or (found.get("reason") == "Paused" and not strategy_of(self.inference_set).paused):
            return "", ""
        return str(found.get("reason") or ""), str(found.get("message") or "")

    @property
    def is_over_budget(self) -> bool:
        """Whether more replicas have failed on the present template than may."""
        return bool(self.outdated) and self._rollout[0] == "FailureBudgetSpent"

    @property
    def template_words(self) -> str:
        """Which template the replicas have, in words."""
        number, live = len(self.outdated), len(self.live)
        if self.is_leaving:
            return "it is being deleted"
        if not live:
            return "no replica exists yet" if self.wanted else "it is scaled to zero and serves nobody"
        if number:
            return f"{number} of {live} replicas have an older template"
        return f"{live - self.wanted} more than wanted" if live > self.wanted else _ALL

    @property
    def trouble(self) -> str:
        """What holds the set up; empty when nothing does."""
        if self.is_leaving:
            return ""
        if self.failed is not None and not self.is_over_budget and not self.refusal:
            return f"{self.failed.name}: {self.failed.failure}"
        if self.silent is not None and not self.refusal:
            return f"{self.silent.name}: {self.silent.silent}"
        return self.refusal or self._held

    @property
    def failed(self) -> Replica | None:
        """The first replica that will not come up by itself; None when there is none."""
        return next((one for one in self.live if one.failure), None)

    @property
    def silent(self) -> Replica | None:
        """The first replica that says that it is ready and serves nobody; None when there is none."""
        return next((one for one in self.live if one.silent), None)

    @property
    def worst(self) -> Replica | None:
        """The replica that keeps the set from being ready: one that has failed before one that comes up."""
        troubled = [one for one in self.replicas if not one.is_ready and not one.leaving]
        return min(troubled, key=lambda one: not one.failure, default=None)

    @property
    def state(self) -> str:
        """One word."""
        if self.is_leaving:
            return "Deleting"
        if self.ready < self.wanted:
            if self.failed or self.refusal:
                return "Failed"
            return "NotServing" if self.silent else "Progressing"
        if self.outdated:
            return "Progressing" if self.is_walked else "Mixed"
        return "Progressing" if len(self.live) > self.wanted else "Ready"


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
    budget_s = catalog.from_nothing_s(name)
    past = [history.trim_revision(one) for one in revisions if is_controlled_by(one, inference_set)]
    dropped = tuple(dict.fromkeys(key for one in past for key in one["annotations"]))
    own = sorted((one for one in workspaces if is_controlled_by(one, inference_set)), key=key_of)
    made = (replica_of(inference_set, one, now, budget_s, dropped) for one in own)
    return Fleet(inference_set, tuple(made), dropped)


def way_out(fleet: Fleet) -> tuple[Command, str] | None:
    """What gets a set further which gets no further by itself: the command, and what it does."""
    name, space = fleet.key.name, fleet.key.namespace
    edit = Command("kaitoctl edit", f"inferenceset/{name}", "-n", space), " changes that"
    if fleet.is_leaving or not fleet.trouble:
        return None
    if fleet.refusal:
        return edit
    if (down := fleet.failed or fleet.silent) is not None:
        return Command("kaitoctl why", down.name, "-n", space), " shows the cause"
    if fleet.is_paused:
        return Command("kaitoctl rollout resume", name, "-n", space), " resumes it"
    if not fleet.is_rolled_by_kaitoctl:
        return Command("kaitoctl rollout fleet", name, "-n", space), " carries it to them"
    return edit


def replica_words(replica: Replica) -> str:
    """How a replica is, in words."""
    if replica.leaving:
        return "being deleted"
    if replica.failure or replica.silent:
        return replica.failure or replica.silent
    if not replica.is_ready:
        found = conditions.find(replica.workspace, api.WORKSPACE_SUCCEEDED) or {}
        return str(found.get("message") or "not reconciled yet")
    return "" if replica.is_current else f"older template: {', '.join(replica.differing[:3])}"


def state_of_roles(multi_role: Object) -> str:
    """The state of a MultiRoleInference, as its controller says, in one word."""
    if is_being_deleted(multi_role):
        return "Deleting"
    return "Ready" if conditions.is_true(multi_role, "Ready") else "Progressing"


def trouble_of_roles(multi_role: Object) -> str:
    """The first part of a MultiRoleInference that is not ready, in words; empty when nothing says so."""
    if state_of_roles(multi_role) == "Ready":
        return ""
    for name in ROLE_CONDITIONS[:-1]:
        found = conditions.find(multi_role, name)
        if found and found.get("status") != "True":
            return (
                f"{name} {found.get('status')}: {found.get('message') or found.get('reason') or ''}".rstrip(
                    ": "
                )
            )
    return ""


def roles_as_json(multi_role: Object) -> Object:
    """A MultiRoleInference as docs/fleets.md has it."""
    key = key_of(multi_role)
    return {
        "kind": api.MULTI_ROLE_INFERENCE.kind,
        "namespace": key.namespace,
        "name": key.name,
        "state": state_of_roles(multi_role).lower(),
        "conditions": {
            name: (conditions.find(multi_role, name) or {}).get("status") for name in ROLE_CONDITIONS
        },
    }


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
