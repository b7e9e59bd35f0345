"""`kaitoctl rollout fleet`: carry a set's template to its replicas, where no controller does.

It decides by the same functions as kaitoctl's own controller, and acts as a client: one step, then it looks
again. KAITO's controller makes a Workspace in the place of one that is deleted, from the present template.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from kaitoctl.advice import Command
from kaitoctl.commands import consent, follow_fleet, option_values, rollout_surge
from kaitoctl.commands.cluster import connected, explain_refusal, field_manager
from kaitoctl.commands.fleet_options import FleetBudget
from kaitoctl.commands.option_values import parse_name
from kaitoctl.commands.replica_prompts import Prompts
from kaitoctl.errors import ApiError, InputError, Interrupted, NegativeAnswer, TimedOut
from kaitoctl.kaito import api, catalog_file
from kaitoctl.kaito.fleet import history
from kaitoctl.kaito.fleet.decisions import CHANGED_AT, Decision, Replica, decide
from kaitoctl.kaito.fleet.node_demand import replica_demand
from kaitoctl.kaito.fleet.strategy import strategy_of
from kaitoctl.kaito.fleet.template import patch_of, way_beside_kaito
from kaitoctl.kaito.node_check import instance_type_of, plural
from kaitoctl.kube import request
from kaitoctl.kube.conditions import timestamp
from kaitoctl.kube.objects import ObjectKey, key_of, this_version
from kaitoctl.screens import layout, output

if TYPE_CHECKING:
    from collections.abc import Callable

    from kaitoctl.commands.target import Target
    from kaitoctl.kaito.catalog import Catalog
    from kaitoctl.kaito.fleet.strategy import Strategy
    from kaitoctl.kaito.fleet.template import Way
    from kaitoctl.kaito.fleet.view import Fleet
    from kaitoctl.kube.client import Client

_TIMEOUT_S = 6 * 3600.0
_WORDS = {"patch": "changed in place, its pods restart", "replace": "replaced by another Workspace"}
_RIGHTS = "you need get, list, patch and delete on workspaces.kaito.sh in this namespace"


class _FleetRolloutOptions(Struct, frozen=True):
    """What is asked for on the command line."""

    budget: FleetBudget
    dry_run: str
    yes: bool
    timeout_s: float | None
    catalog: Catalog


def rollout_fleet(
    *,
    name: str,
    budget: FleetBudget,
    dry_run: str,
    yes: bool,
    timeout: str | None,
    catalog: str | None,
    target: Target,
) -> int:
    """Carry an InferenceSet's template to its replicas, within a budget."""
    option_values.one_of(dry_run, ("none", "client"), option="--dry-run")
    _require_sense(budget)
    timeout_s = option_values.duration_s(timeout) if timeout else None
    known = catalog_file.read(catalog)
    how = _FleetRolloutOptions(budget, dry_run, yes, timeout_s, known)
    asked = parse_name(name)
    if asked.kind == "workspace":
        raise InputError(f"{name[:80]!r}: this is about InferenceSets", hint="such as inferenceset/phis")
    wanted = asked.name
    try:
        return asyncio.run(_rollout(target, wanted, how))
    except KeyboardInterrupt:
        look = Command("kaitoctl status", wanted, *target.in_namespace)
        hint = "the same command continues where this stopped; " + look + " shows how far it is"
        raise Interrupted("interrupted", hint=target.text(hint)) from None


def _require_sense(budget: FleetBudget) -> None:
    """Refuse numbers by which nothing could change.

    Raises:
        InputError: one is such a number.
    """
    least = 0 if budget.max_surge else 1
    for option, value, lowest in (
        ("--canary", budget.canary, 1),
        ("--max-unavailable", budget.max_unavailable, least),
    ):
        if value is not None and value < lowest:
            raise InputError(f"{option} {value}: at least one replica must be allowed to change")
    for option, value in (("--max-failures", budget.max_failures), ("--max-surge", budget.max_surge)):
        if value is not None and value < 0:
            raise InputError(f"{option} {value}: must not be negative")


async def _rollout(target: Target, name: str, how: _FleetRolloutOptions) -> int:
    async with connected(target) as client:
        key = ObjectKey(client.namespace, name)
        fleet = await follow_fleet.present(client, key, how.catalog)
        before = rollout_surge.wanted_before(fleet)
        surge = (how.budget.max_surge or 0) if before is None else fleet.wanted - before
        if not fleet.outdated:
            if before is not None and how.dry_run == "none":
                await rollout_surge.end(client, target, key, surge)
            if how.dry_run == "none" and not follow_fleet.is_ready(fleet):
                return await _until_ready(client, target, fleet, how)
            output.success(f"InferenceSet {key}: {fleet.template_words}")
            return 0
        if fleet.is_rolled_by_kaitoctl:
            return await _follow_our_own(client, target, fleet, how)
        if fleet.is_paused:
            raise _paused(target, fleet)
        walk = _Walk(fleet, _strategy(fleet, how, surge), surge, fleet.wanted if before is None else before)
        _show(walk)
        if surge and before is None:
            await rollout_surge.show_costs(client, target, fleet, surge, how.catalog)
        if how.dry_run != "none":
            return 0
        consent.require_yes_or_tty(yes=how.yes)
        if not how.yes:
            await consent.confirm(_question(walk, how.budget))
        try:
            await _begun(client, target, walk, how, is_new=before is None)
        except ApiError as error:
            raise explain_refusal(error, namespace=key.namespace, rights=_RIGHTS) from error
        return 0


class _Walk(Struct, frozen=True):
    """A rollout beside KAITO.

    Args:
        fleet: as it was.
        strategy: how many may be away of what is wanted and the surge, how many stay, how many may fail.
        surge: how many replicas more than wanted there are meanwhile.
        wanted: without them.
    """

    fleet: Fleet
    strategy: Strategy
    surge: int
    wanted: int

    @property
    def least(self) -> int:
        """How many replicas serve at any time."""
        return max(0, self.wanted + self.surge - self.strategy.max_unavailable)


async def _begun(
    client: Client, target: Target, walk: _Walk, how: _FleetRolloutOptions, *, is_new: bool
) -> None:
    """The walk, with prompts and surge where they are asked for; the surge is given back however it ends."""
    key, prompts = walk.fleet.key, None
    if how.budget.smoke_test:
        prompts = Prompts(client)
        await prompts.rehearse(walk.fleet)
    stages = _stages(walk, how.budget)
    try:
        if walk.surge and is_new:
            await rollout_surge.begin(client, walk.fleet, walk.surge)
        for strategy in stages:
            is_last = strategy is stages[-1]
            await _walk(client, target, replace(walk, strategy=strategy), how, prompts, last=is_last)
    finally:
        if walk.surge:
            await rollout_surge.end(client, target, key, walk.surge)


async def _follow_our_own(client: Client, target: Target, fleet: Fleet, how: _FleetRolloutOptions) -> int:
    """Where kaitoctl's controller carries the template, its budget is the set's own."""
    given = (how.budget.canary, how.budget.max_unavailable, how.budget.max_failures, how.budget.max_surge)
    if any(value is not None for value in given):
        raise InputError(
            f"InferenceSet {fleet.key}: kaitoctl's own controller rolls it out, by the set's own budget",
            hint="spec.updateStrategy.rollingUpdate has maxUnavailable, maxSurge, partition and maxFailures",
        )
    output.step("kaitoctl's own controller carries the template to the replicas; this follows it")
    return 0 if how.dry_run != "none" else await _until_ready(client, target, fleet, how)


async def _until_ready(client: Client, target: Target, fleet: Fleet, how: _FleetRolloutOptions) -> int:
    """Follow replicas that others change, or that have the template and do not serve with it yet."""
    prompts = Prompts(client) if how.budget.smoke_test else None
    done = await follow_fleet.until_ready(
        client, target, fleet.key, timeout_s=how.timeout_s, catalog=how.catalog
    )
    for one in await prompts.ask(done.replicas) if prompts else ():
        if one.failure:
            raise _silent(target, done, one)
    return 0


def _silent(target: Target, fleet: Fleet, one: Replica) -> NegativeAnswer:
    hint = target.text(Command("kaitoctl logs", one.name, "-n", fleet.key.namespace))
    return NegativeAnswer(f"InferenceSet {fleet.key}: {one.name}: {one.failure}", hint=hint)


def _strategy(fleet: Fleet, how: _FleetRolloutOptions, surge: int) -> Strategy:
    """The set's own budget, and what the options say instead; with a surge, nobody need be away.

    OnDelete holds a controller back, and not who asks for the rollout by name.
    """
    found = replace(strategy_of(fleet.inference_set), max_surge=0, paused="")
    if surge:
        found = replace(found, max_unavailable=0)
    elif found.max_unavailable == 0:
        found = replace(found, max_unavailable=1)
    if how.budget.max_unavailable is not None:
        found = replace(found, max_unavailable=how.budget.max_unavailable)
    if how.budget.max_failures is not None:
        found = replace(found, max_failures=how.budget.max_failures)
    if how.budget.canary is not None:
        found = replace(found, keep=max(found.keep, len(fleet.outdated) - how.budget.canary))
    return replace(found, max_unavailable=found.max_unavailable + surge)


def _show(walk: _Walk) -> None:
    fleet = walk.fleet
    output.announce(f"InferenceSet {fleet.key}: {fleet.template_words}")
    for one in fleet.outdated:
        way = _way(fleet, one)
        output.note(f"{one.name}: {', '.join(one.differing[:4])}: is {_WORDS.get(way, 'relabelled')}")
    kind = instance_type_of(replica_demand(fleet.inference_set))
    if kind and any(_way(fleet, one) == "replace" for one in fleet.outdated):
        output.warning(f"a new Workspace asks for {kind} nodes of its own; those of the old one are released")
    most = walk.strategy.max_unavailable
    output.step(f"at most {most} at a time: {walk.least} of {walk.wanted} replicas keep serving")


def _stages(walk: _Walk, budget: FleetBudget) -> list[Strategy]:
    """The canaries, and the others after them once they have answered a prompt."""
    others = replace(walk.strategy, keep=strategy_of(walk.fleet.inference_set).keep)
    is_two = budget.canary is not None and budget.smoke_test and others.keep < walk.strategy.keep
    return [walk.strategy, others] if is_two else [walk.strategy]


def _question(walk: _Walk, budget: FleetBudget) -> str:
    first, *rest = (len(walk.fleet.outdated) - one.keep for one in _stages(walk, budget))
    number = rest[-1] if rest else first
    return f"Roll out to {number} {plural('replica', number)}{f', {first} of them first' if rest else ''}?"


def _paused(target: Target, fleet: Fleet) -> NegativeAnswer:
    name, space = fleet.key.name, fleet.key.namespace
    resume = Command("kaitoctl rollout resume", name, "-n", space)
    hint = target.text("find out who paused it; " + resume + " resumes it")
    return NegativeAnswer(f"the rollout of InferenceSet {fleet.key} is paused", hint=hint)


def _way(fleet: Fleet, one: Replica) -> Way:
    return way_beside_kaito(fleet.inference_set, one.workspace, one.differing)


async def _walk(
    client: Client,
    target: Target,
    walk: _Walk,
    how: _FleetRolloutOptions,
    prompts: Prompts | None,
    *,
    last: bool,
) -> None:
    """One step after another until the template is where it is to be."""
    words, key = "", walk.fleet.key
    limit_s = _TIMEOUT_S if how.timeout_s is None else how.timeout_s
    moving = follow_fleet.Moving(target, how.catalog, gives_up=how.timeout_s is None)
    try:
        async with (
            asyncio.timeout(limit_s),
            follow_fleet.showing(client, target, key, sys.stderr, how.catalog) as show,
        ):
            while True:
                fleet, decision = await follow_fleet.patiently(
                    client, key, lambda: _step(client, target, walk, how.catalog, prompts, show)
                )
                words = follow_fleet.line(fleet)
                if decision is not None:
                    break
                moving.insist(fleet)
                await asyncio.sleep(follow_fleet.LOOK_AGAIN_S)
    except TimeoutError:
        hint = "the same command continues where this stopped"
        raise TimedOut(f"timed out after {layout.elapsed(limit_s)}; {words}", hint=hint) from None
    _say_end(target, fleet, decision, last=last)


async def _step(
    client: Client,
    target: Target,
    walk: _Walk,
    known: Catalog,
    prompts: Prompts | None,
    show: Callable[[Fleet], None],
) -> tuple[Fleet, Decision | None]:
    """Look, and change what may be changed now; what has been decided when there is nothing more to do.

    It may be repeated: each write is about an object as it was just seen.
    """
    fleet = replace(await follow_fleet.present(client, walk.fleet.key, known), is_walked=True)
    _insist_on_what_was_shown(target, walk.fleet, fleet)
    show(fleet)
    if prompts is not None:
        fleet = replace(fleet, replicas=tuple(await prompts.ask(fleet.replicas)))
    replicas = [replace(one, way=_way(fleet, one)) for one in fleet.replicas]
    decision = decide(fleet.wanted, replicas, walk.strategy)
    if _is_over(target, fleet, decision, walk):
        return fleet, decision
    # More or fewer replicas are the business of KAITO's controller.
    is_of_scale = len([one for one in replicas if not one.leaving]) != fleet.wanted
    for one in () if is_of_scale else (*decision.delete, *decision.change):
        await _carry(client, fleet, one)
    return fleet, None


def _insist_on_what_was_shown(target: Target, shown: Fleet, now: Fleet) -> None:
    """Stop where the set goes, or is no longer what was agreed to.

    Raises:
        NegativeAnswer: it is paused or being deleted, or has another template.
    """
    if now.is_paused:
        raise _paused(target, now)
    if now.is_leaving:
        raise follow_fleet.failure(target, now)
    if history.data_of(now.inference_set) != history.data_of(shown.inference_set):
        raise NegativeAnswer(
            f"InferenceSet {now.key}: somebody has changed its template meanwhile; nothing more is changed",
            hint="the same command shows what the new one leads to",
        )


def _is_over(target: Target, fleet: Fleet, decision: Decision, walk: _Walk) -> bool:
    """Whether there is nothing more to do.

    Raises:
        NegativeAnswer: more replicas have failed than may.
    """
    rollout = decision.rollout
    if rollout.reason == "FailureBudgetSpent":
        failed = next(one for one in fleet.replicas if one.is_current and one.failure)
        why = Command("kaitoctl why", failed.name, "-n", fleet.key.namespace)
        back = Command("kaitoctl rollout undo", fleet.key.name, "-n", fleet.key.namespace)
        hint = target.text(why + ("; " + back + " brings the earlier template back"))
        raise NegativeAnswer(f"InferenceSet {fleet.key}: {rollout.message}", hint=hint)
    return fleet.ready >= min(walk.wanted, fleet.wanted) and (
        rollout.is_complete or rollout.reason == "Canary"
    )


def _say_end(target: Target, fleet: Fleet, decision: Decision, *, last: bool) -> None:
    if decision.rollout.is_complete:
        output.success(f"InferenceSet {fleet.key}: {decision.rollout.message}")
        return
    output.success(f"InferenceSet {fleet.key}: the canaries are ready; {fleet.template_words}")
    if not last:
        output.step("the canaries have answered a prompt: the others follow")
    elif partition := strategy_of(fleet.inference_set).keep:
        output.note(f"partition {partition} of its updateStrategy keeps the others as they are")
    else:
        command = Command("kaitoctl rollout fleet", fleet.key.name, "-n", fleet.key.namespace)
        output.note(target.text(command + " carries it to the others"))


async def _carry(client: Client, fleet: Fleet, one: Replica) -> None:
    """Change or delete one replica, just as it was seen; what has moved meanwhile is looked at again."""
    kind, key, same = api.kind_of(one.workspace), key_of(one.workspace), this_version(one.workspace)
    if one.way == "replace":
        words = f"{one.name} is deleted; KAITO makes another one in its place"
        asked = request.delete(kind, *key, uid=same["uid"], resource_version=same["resourceVersion"])
    else:
        words = f"{one.name} is changed in place"
        patch = patch_of(fleet.inference_set, one.workspace, dropped=fleet.dropped)
        changed = patch.get("metadata", {})
        notes = {**changed.get("annotations", {}), CHANGED_AT: timestamp(datetime.now(UTC))}
        patch["metadata"] = {**changed, "annotations": notes, **same}
        asked = request.merge_patch(kind, *key, patch, manager=field_manager())
    try:
        await client.send(asked)
    except ApiError as error:
        if error.status not in (404, 409):
            raise
    else:
        output.step(words)
