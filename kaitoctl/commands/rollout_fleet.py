"""`kaitoctl rollout fleet`: carry a set's template to its replicas, where no controller does.

It decides by the same functions as kaitoctl's own controller, and acts as a client: one step, then it looks
again. KAITO's controller makes a Workspace in the place of one that is deleted, from the present template.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kaitoctl.advice import Command
from kaitoctl.commands import consent, follow_fleet, option_values
from kaitoctl.commands.cluster import connected, explain_refusal, field_manager
from kaitoctl.errors import ApiError, InputError, Interrupted, NegativeAnswer, TimedOut
from kaitoctl.kaito import api, catalog_file
from kaitoctl.kaito.fleet.decisions import CHANGED_AT, Decision, Replica, decide
from kaitoctl.kaito.fleet.strategy import PAUSED, PAUSED_BY_HAND, strategy_of
from kaitoctl.kaito.fleet.template import patch_of, way_beside_kaito
from kaitoctl.kube import request
from kaitoctl.kube.conditions import timestamp
from kaitoctl.kube.objects import ObjectKey, key_of, uid_of
from kaitoctl.screens import durations, output

if TYPE_CHECKING:
    from kaitoctl.commands.target import Target
    from kaitoctl.kaito.catalog import Catalog
    from kaitoctl.kaito.fleet.strategy import Strategy
    from kaitoctl.kaito.fleet.template import Way
    from kaitoctl.kaito.fleet.view import Fleet
    from kaitoctl.kube.client import Client

_TIMEOUT_S = 6 * 3600.0
_WORDS = {"patch": "changed in place, its pods restart", "replace": "replaced by another Workspace"}
_RIGHTS = "ask for the rights get, list, patch and delete on workspaces.kaito.sh in this namespace"


@dataclass(frozen=True, slots=True)
class _How:
    """What is asked for on the command line."""

    canary: int | None
    max_unavailable: int | None
    max_failures: int | None
    dry_run: str
    yes: bool
    timeout_s: float
    catalog: Catalog


def rollout_fleet(
    *,
    name: str,
    canary: int | None,
    max_unavailable: int | None,
    max_failures: int | None,
    dry_run: str,
    yes: bool,
    timeout: str | None,
    catalog: str | None,
    target: Target,
) -> int:
    """Carry an InferenceSet's template to its replicas, within a budget."""
    option_values.one_of(dry_run, ("none", "client"), option="--dry-run")
    for option, value in (("--canary", canary), ("--max-unavailable", max_unavailable)):
        if value is not None and value < 1:
            raise InputError(f"{option} {value}: at least one replica must be allowed to change")
    if max_failures is not None and max_failures < 0:
        raise InputError(f"--max-failures {max_failures}: there cannot be fewer than none")
    timeout_s = option_values.duration_s(timeout) if timeout else _TIMEOUT_S
    known = catalog_file.read(catalog)
    how = _How(canary, max_unavailable, max_failures, dry_run, yes, timeout_s, known)
    wanted = name.rpartition("/")[2]
    try:
        return asyncio.run(_rollout(target, option_values.workspace_name(wanted), how))
    except KeyboardInterrupt:
        look = Command("kaitoctl status", wanted, *target.in_namespace)
        hint = "the same command continues where this stopped; " + look + " shows how far it is"
        raise Interrupted("interrupted", hint=target.text(hint)) from None


async def _rollout(target: Target, name: str, how: _How) -> int:
    async with connected(target) as client:
        key = ObjectKey(client.namespace, name)
        fleet = await follow_fleet.present(client, key, how.catalog)
        if not fleet.outdated:
            output.success(f"InferenceSet {key}: {fleet.template_words}")
            return 0
        if fleet.is_rolled_by_kaitoctl:
            output.step("kaitoctl's own controller carries the template to the replicas; this follows it")
            if how.dry_run == "none":
                await follow_fleet.until_ready(
                    client, target, key, timeout_s=how.timeout_s, catalog=how.catalog
                )
            return 0
        if strategy_of(fleet.inference_set).paused == PAUSED_BY_HAND:
            raise _paused(target, fleet)
        strategy = _strategy(fleet, how)
        _show(fleet, strategy)
        if how.dry_run != "none":
            return 0
        consent.require_yes_or_tty(yes=how.yes)
        if not how.yes:
            await consent.confirm(f"Roll out to {len(fleet.outdated) - strategy.keep} replicas?")
        try:
            return await _walk(client, target, key, how, strategy)
        except ApiError as error:
            raise explain_refusal(error, namespace=key.namespace, rights=_RIGHTS) from error


def _strategy(fleet: Fleet, how: _How) -> Strategy:
    """The set's own budget, and what the options say instead; a surge takes a controller that knows of it.

    OnDelete holds a controller back, and not who asks for the rollout by name.
    """
    found = replace(strategy_of(fleet.inference_set), max_surge=0, paused="")
    if found.max_unavailable == 0:
        found = replace(found, max_unavailable=1)
    if how.max_unavailable is not None:
        found = replace(found, max_unavailable=how.max_unavailable)
    if how.max_failures is not None:
        found = replace(found, max_failures=how.max_failures)
    if how.canary is not None:
        found = replace(found, keep=max(found.keep, len(fleet.outdated) - how.canary))
    return found


def _show(fleet: Fleet, strategy: Strategy) -> None:
    output.step(f"InferenceSet {fleet.key}: {fleet.template_words}")
    for one in fleet.outdated:
        way = _way(fleet, one)
        output.note(f"{one.name}: {', '.join(one.differing[:4])}: is {_WORDS.get(way, 'relabelled')}")
    least = max(0, fleet.wanted - strategy.max_unavailable)
    output.step(
        f"at most {strategy.max_unavailable} at a time: {least} of {fleet.wanted} replicas keep serving"
    )


def _paused(target: Target, fleet: Fleet) -> NegativeAnswer:
    name, space = fleet.key.name, fleet.key.namespace
    resume = Command("kubectl annotate inferenceset", name, "-n", space, f"{PAUSED}-")
    hint = target.text("find out who paused it; " + resume + " lets it go on")
    return NegativeAnswer(f"the rollout of InferenceSet {fleet.key} is paused", hint=hint)


def _way(fleet: Fleet, one: Replica) -> Way:
    return way_beside_kaito(fleet.inference_set, one.workspace, one.differing)


async def _walk(client: Client, target: Target, key: ObjectKey, how: _How, strategy: Strategy) -> int:
    """One step after another until the template is where it is to be."""
    shown = ""
    try:
        async with asyncio.timeout(how.timeout_s):
            while True:
                fleet = await follow_fleet.present(client, key, how.catalog)
                replicas = [replace(one, way=_way(fleet, one)) for one in fleet.replicas]
                if strategy_of(fleet.inference_set).paused == PAUSED_BY_HAND:
                    raise _paused(target, fleet)
                decision = decide(fleet.wanted, replicas, strategy)
                if (words := follow_fleet.line(fleet)) != shown:
                    shown = words
                    output.step(words)
                if (code := _ended(target, fleet, decision)) is not None:
                    return code
                # More or fewer replicas are the business of KAITO's controller.
                is_of_scale = len([one for one in replicas if not one.leaving]) != fleet.wanted
                for one in () if is_of_scale else (*decision.delete, *decision.change):
                    await _carry(client, fleet, one)
                await asyncio.sleep(follow_fleet.LOOK_AGAIN_S)
    except TimeoutError:
        hint = "the same command continues where this stopped"
        raise TimedOut(f"timed out after {durations.elapsed(how.timeout_s)}; {shown}", hint=hint) from None


def _ended(target: Target, fleet: Fleet, decision: Decision) -> int | None:
    """The exit code once there is nothing more to do; None before.

    Raises:
        NegativeAnswer: more replicas have failed than may.
    """
    rollout, is_whole = decision.rollout, fleet.ready >= fleet.wanted
    if rollout.reason == "FailureBudgetSpent":
        failed = next(one for one in fleet.replicas if one.is_current and one.failure)
        hint = target.text(Command("kaitoctl why", failed.name, "-n", fleet.key.namespace))
        raise NegativeAnswer(f"InferenceSet {fleet.key}: {rollout.message}", hint=hint)
    if rollout.is_complete and is_whole:
        output.success(f"InferenceSet {fleet.key}: {rollout.message}")
        return 0
    if rollout.reason == "Canary" and is_whole:
        output.success(f"InferenceSet {fleet.key}: the canaries are ready; {fleet.template_words}")
        if partition := strategy_of(fleet.inference_set).keep:
            output.note(f"partition {partition} of its updateStrategy keeps the others as they are")
        else:
            command = Command("kaitoctl rollout fleet", fleet.key.name, "-n", fleet.key.namespace)
            output.note(target.text(command + " carries it to the others"))
        return 0
    return None


async def _carry(client: Client, fleet: Fleet, one: Replica) -> None:
    """Change or delete one replica, just as it was seen; what has moved meanwhile is looked at again."""
    kind, key, metadata = api.kind_of(one.workspace), key_of(one.workspace), one.workspace["metadata"]
    if one.way == "replace":
        output.step(f"{one.name} is deleted; KAITO makes another one in its place")
        asked = request.delete(
            kind, *key, uid=uid_of(one.workspace), resource_version=metadata["resourceVersion"]
        )
    else:
        output.step(f"{one.name} is changed in place")
        patch = patch_of(fleet.inference_set, one.workspace, dropped=fleet.dropped)
        changed = patch.get("metadata", {})
        notes = {**changed.get("annotations", {}), CHANGED_AT: timestamp(datetime.now(UTC))}
        same = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        patch["metadata"] = {**changed, "annotations": notes, **same}
        asked = request.merge_patch(kind, *key, patch, manager=field_manager())
    try:
        await client.send(asked)
    except ApiError as error:
        if error.status not in (404, 409):
            raise
