"""What to do next about a set: which Workspaces to make, to change and to delete. Pure.

One step at a time: what is decided holds for the Workspaces as they are now, and after each step they are
looked at again. Laws:
- no step takes ready replicas below what is wanted, less `max_unavailable`;
- a Workspace that is made is made from the present template;
- what is to go is what costs least: what is not ready, then what has an older template and is not to keep it,
  then the youngest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

from msgspec import Struct, field

from kaitoctl.kaito import api
from kaitoctl.kaito.fleet.strategy import Strategy
from kaitoctl.kaito.fleet.template import Way, differences, way_of
from kaitoctl.kaito.workspace_conditions import FAILED
from kaitoctl.kube import conditions
from kaitoctl.kube.conditions import parse_timestamp
from kaitoctl.kube.objects import Object, annotations_of, generation_of, is_being_deleted

CHANGED_AT = "kaitoctl.dev/template-changed-at"
"""On a Workspace: when it was given the template that it has."""


class Replica(Struct, frozen=True):
    """One Workspace of a set.

    Args:
        workspace: as it is.
        is_ready: whether it serves what it asks for now.
        differing: in which fields it is not as the template says.
        failure: why it will not come up by itself; empty when it may.
        leaving: whether it is being deleted.
        way: how it comes to be as the template says.
        silent: what keeps prompts from it although its status says that it is ready.
    """

    workspace: Object
    is_ready: bool
    differing: tuple[str, ...]
    failure: str = ""
    leaving: bool = False
    way: Way = ""
    silent: str = ""

    @property
    def name(self) -> str:
        """Of the Workspace."""
        return str(self.workspace["metadata"]["name"])

    @property
    def is_current(self) -> bool:
        """Whether it has the present template; labels alone do not count."""
        return self.way in ("", "label")


class Rollout(Struct, frozen=True):
    """How far a template has come.

    Args:
        reason: one word: `Complete`, `Progressing`, `Paused`, `Canary`, `FailureBudgetSpent`, `NoRoom`.
        message: the same in words.
    """

    reason: str
    message: str

    @property
    def is_complete(self) -> bool:
        """Whether every replica has the template."""
        return self.reason == "Complete"


class Decision(Struct, frozen=True):
    """The next step.

    Args:
        create: how many Workspaces to make.
        delete: which to delete.
        change: which to patch.
        rollout: how far the template has come.
        is_surge: whether what is made is more than wanted.
    """

    create: int = 0
    delete: tuple[Replica, ...] = ()
    change: tuple[Replica, ...] = ()
    rollout: Rollout = field(default_factory=lambda: Rollout("Complete", ""))
    is_surge: bool = False

    @property
    def is_nothing(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.create or self.delete or self.change)


def replica_of(
    inference_set: Object, workspace: Object, now: datetime, budget_s: float, dropped: Iterable[str] = ()
) -> Replica:
    """What a Workspace is to its set.

    Args:
        inference_set: its set.
        workspace: as last seen.
        now: the present time.
        budget_s: how long it may take to come up.
        dropped: as in `differences`.
    """
    leaving = is_being_deleted(workspace)
    is_ready = not leaving and conditions.is_true(
        workspace, api.WORKSPACE_SUCCEEDED, generation=generation_of(workspace)
    )
    failure = "" if is_ready or leaving else _failure(workspace, now, budget_s)
    differing = tuple(differences(inference_set, workspace, dropped))
    return Replica(workspace, is_ready, differing, failure, leaving, way_of(differing))


def _failure(workspace: Object, now: datetime, budget_s: float) -> str:
    found = conditions.current(workspace, api.WORKSPACE_SUCCEEDED)
    if found.get("reason") == FAILED:
        return str(found.get("message") or "it has failed")
    if now - since(workspace) >= timedelta(seconds=budget_s):
        return f"it is not ready after {budget_s / 60:.0f} min"
    return ""


def since(workspace: Object) -> datetime:
    """When a Workspace was given the template that it has."""
    text = annotations_of(workspace).get(CHANGED_AT) or workspace["metadata"].get("creationTimestamp")
    try:
        return parse_timestamp(str(text))
    except ValueError:
        return parse_timestamp(str(workspace["metadata"]["creationTimestamp"]))


def decide(
    wanted: int,
    replicas: Iterable[Replica],
    strategy: Strategy,
    *,
    room: Callable[[], str] = lambda: "",
) -> Decision:
    """The next step for a set.

    Args:
        wanted: how many replicas.
        replicas: all Workspaces of the set.
        strategy: the budget of a rollout.
        room: why there are no nodes for one more replica; empty when there are, or may be bought.
    """
    live = [one for one in replicas if not one.leaving]
    outdated = [one for one in live if not one.is_current]
    labels = tuple(one for one in live if one.way == "label")
    rollout = _where(live, outdated, strategy, wanted)
    is_rolling = rollout.reason == "Progressing"
    if len(live) < wanted:
        return Decision(create=wanted - len(live), change=labels, rollout=rollout)
    most = wanted + (strategy.max_surge if is_rolling else 0)
    if len(live) > most:
        going = _surplus(live, len(live) - most, wanted, strategy.keep)
        return Decision(delete=going, change=labels, rollout=rollout)
    if not is_rolling:
        return Decision(change=labels, rollout=rollout)
    step = _roll(wanted, live, outdated, strategy, room)
    changes = (*labels, *step.change)
    return Decision(step.create, step.delete, changes, step.rollout or rollout, is_surge=bool(step.create))


def _where(live: Sequence[Replica], outdated: Sequence[Replica], strategy: Strategy, wanted: int) -> Rollout:
    number = len(outdated)
    if not number:
        return Rollout("Complete", f"all {len(live)} replicas have the present template")
    words = f"{number} of {len(live)} replicas have an older template"
    failed = [one for one in live if one.is_current and one.failure]
    if len(failed) > strategy.max_failures:
        why = f"{failed[0].name}: {failed[0].failure}"
        return Rollout("FailureBudgetSpent", f"{words}; no more get the present one: {why}")
    if strategy.paused:
        return Rollout("Paused", f"{words}; {strategy.paused}")
    if number <= strategy.keep:
        return Rollout("Canary", f"{words}; {strategy.keep} are to keep it (rollingUpdate.partition)")
    if strategy.max_unavailable == 0 == strategy.max_surge and wanted:
        return Rollout("NoBudget", f"{words}; maxUnavailable and maxSurge are both 0")
    return Rollout("Progressing", words)


def carried(wanted: int, replicas: Iterable[Replica], strategy: Strategy) -> tuple[Replica, ...]:
    """The replicas that get the template one after another, as things are; none when something holds it up.

    Args:
        wanted: how many replicas.
        replicas: as for `decide`.
        strategy: the budget of a rollout.
    """
    live = [one for one in replicas if not one.leaving]
    outdated = [one for one in live if not one.is_current]
    if _where(live, outdated, strategy, wanted).reason != "Progressing":
        return ()
    return _first(outdated, strategy)


def _first(outdated: Sequence[Replica], strategy: Strategy) -> tuple[Replica, ...]:
    """All but those that are to keep what they have, in the order in which they change."""
    return tuple(sorted(outdated, key=cheapest)[: len(outdated) - strategy.keep])


def cheapest(replica: Replica) -> tuple[bool, bool, float]:
    """Sorts replicas by what their deletion costs: least first."""
    return replica.is_ready, replica.is_current, -since(replica.workspace).timestamp()


def deletion_order(live: Iterable[Replica], keep: int) -> list[Replica]:
    """What goes first when there are too many: what costs least, and last what is to keep an older template.

    Else an autoscaler that takes replicas away would end a canary, by leaving nothing but canaries.
    """
    order = sorted(live, key=cheapest)
    older = [one for one in order if one.is_ready and not one.is_current]
    kept = older[max(0, len(older) - keep) :]
    return [*(one for one in order if one not in kept), *kept]


def _surplus(live: Sequence[Replica], number: int, wanted: int, keep: int) -> tuple[Replica, ...]:
    """Which of too many to delete: never a ready one that is needed."""
    spare = sum(one.is_ready for one in live) - wanted
    going: list[Replica] = []
    for one in deletion_order(live, keep):
        if len(going) == number or (one.is_ready and spare <= 0):
            break
        going.append(one)
        spare -= one.is_ready
    return tuple(going)


class _Step(Struct, frozen=True):
    create: int = 0
    delete: tuple[Replica, ...] = ()
    change: tuple[Replica, ...] = ()
    rollout: Rollout | None = None


def _roll(
    wanted: int,
    live: Sequence[Replica],
    outdated: Sequence[Replica],
    strategy: Strategy,
    room: Callable[[], str],
) -> _Step:
    """Carry the template to as many replicas as the budget allows."""
    todo = _first(outdated, strategy)
    spare = sum(one.is_ready for one in live) - max(0, wanted - strategy.max_unavailable)
    number, delete, change = len(live), list[Replica](), list[Replica]()
    for one in todo:
        if one.is_ready:
            if spare <= 0:
                break
            spare -= 1
        # Beyond what is wanted there is a new one in its place already.
        if number > wanted or one.way == "replace" or strategy.max_unavailable == 0:
            delete.append(one)
            number -= 1
        else:
            change.append(one)
    if delete or change:
        return _Step(0, tuple(delete), tuple(change))
    if number < wanted + strategy.max_surge:
        if why := room():
            if strategy.max_unavailable == 0:
                return _Step(rollout=Rollout("NoRoom", f"no replica can be added: {why}"))
            return _Step()
        return _Step(create=1)
    return _Step()
