"""`kaitoctl rollout history`, `undo`, `status`, `pause` and `resume` of an InferenceSet."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec.structs import replace

from kaitoctl.advice import Command
from kaitoctl.commands import (
    certain_write,
    consent,
    follow_fleet,
    invocation,
    option_values,
    ownership_warnings,
    plan_effects,
)
from kaitoctl.commands.adapter_messages import difference
from kaitoctl.commands.cluster import connected, explain_refusal, field_manager
from kaitoctl.commands.name_lookup import fleet_named
from kaitoctl.commands.option_values import parse_name
from kaitoctl.commands.rollout_options import RolloutOptions
from kaitoctl.errors import ApiError, InputError, NegativeAnswer
from kaitoctl.kaito import undo
from kaitoctl.kaito.fleet import history, kinds, validation
from kaitoctl.kaito.fleet.strategy import PAUSED
from kaitoctl.kaito.fleet.template import differences, way_of
from kaitoctl.kaito.merge_request import is_unchanged
from kaitoctl.kaito.revisions import number_of, sort_revisions
from kaitoctl.kube import request
from kaitoctl.kube.objects import (
    CONTROLLER_REVISION,
    ObjectKey,
    annotations_of,
    apply_merge_patch,
    dig,
    is_controlled_by,
    merge_patch_between,
    this_version,
    with_type,
    without_managed_fields,
)
from kaitoctl.kube.yaml_writer import to_yaml
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.commands.target import Target
    from kaitoctl.kaito.fleet.view import Fleet
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object

_RIGHTS = (
    "you need get and patch on inferencesets.kaito.sh, list on workspaces.kaito.sh, and list on "
    "controllerrevisions.apps in this namespace"
)


# --- history -----------------------------------------------------------------------------------------------


async def show_history(client: Client, fleet: Fleet, number: int | None, output_format: str) -> None:
    """List what the set's replicas were to be made from, oldest first; or one revision in full.

    Raises:
        NegativeAnswer: there are none.
        InputError: there is none of this number.
    """
    found = await _revisions_of(client, fleet)
    if not found:
        raise _no_revisions(fleet)
    current = [one for one in found if history.has_same_data(one, fleet.inference_set)][-1:]
    in_order = invocation.sort_for_output(found, lambda one: one)
    shown = in_order if number is None else [_revision(fleet, found, number)]
    if output_format == "name" or option_values.is_structured(output_format):
        plain = [without_managed_fields(one) for one in shown]
        output.objects(plain, output_format, is_list=number is None)
        return
    name = output.resource_name(fleet.inference_set)
    if number is not None:
        output.sentence(f"{name} with revision #{number}")
        output.yaml(to_yaml(shown[0]["data"]).rstrip("\n"))
        return
    output.data(name)
    output.table(
        ("REVISION", "CURRENT", "REPLICAS", "SPEC"),
        [
            (
                str(number_of(one)),
                "*" if one in current else "",
                str(_replicas_with(fleet, one, found)),
                _words_of(one),
            )
            for one in in_order
        ],
        wide=output_format == "wide",
        below=True,
    )
    if not current:
        output.warning("the present template is none of these revisions: no controller has recorded it yet")


def _words_of(one: Object) -> str:
    """What a revision asks for, in a few words."""
    template = dig(one, "data", "Spec", "template") or {}
    asked = {"resource": template.get("resource") or {}, "inference": template.get("inference") or {}}
    notes = {"annotations": dig(template, "metadata", "annotations") or {}}
    return undo.summary({"data": {**asked, "metadata": notes}})


def _replicas_with(fleet: Fleet, one: Object, found: list[Object]) -> int:
    """How many replicas have the template of a revision; of two that say the same, the newest has them."""
    alike = [other for other in found if history.hash_of(other["data"]) == history.hash_of(one["data"])]
    if alike[-1] is not one:
        return 0
    then = history.as_of(fleet.inference_set, one)
    ways = (
        way_of(differences(then, replica.workspace, fleet.dropped))
        for replica in fleet.replicas
        if not replica.leaving
    )
    return sum(way in ("", "label") for way in ways)


async def _revisions_of(client: Client, fleet: Fleet) -> list[Object]:
    """The set's revisions, whole, oldest first."""
    selector = f"{history.LABEL_NAME}={fleet.key.name}"
    try:
        listed = await client.list(CONTROLLER_REVISION, fleet.key.namespace, label_selector=selector)
    except ApiError as error:
        raise explain_refusal(error, namespace=fleet.key.namespace, rights=_RIGHTS) from error
    found = [one for one in sort_revisions(listed.items) if isinstance(one.get("data"), dict)]
    return [one for one in found if is_controlled_by(one, fleet.inference_set)]


def _revision(fleet: Fleet, found: list[Object], number: int) -> Object:
    one = history.earlier(found, fleet.inference_set, number)
    if one is None:
        numbers = ", ".join(str(number_of(each)) for each in found)
        raise InputError(f"InferenceSet {fleet.key} has no revision {number}", hint=f"it has {numbers}")
    return one


def _no_revisions(fleet: Fleet) -> NegativeAnswer:
    return NegativeAnswer(
        f"InferenceSet {fleet.key} has no revisions",
        hint="a controller records one when it first sees the InferenceSet; is one running?",
    )


# --- undo --------------------------------------------------------------------------------------------------


async def undo_to(
    client: Client, target: Target, fleet: Fleet, number: int | None, how: RolloutOptions
) -> None:
    """Give the set the template of an earlier revision.

    Raises:
        NegativeAnswer: there is none, or the answer is no.
        InputError: that revision cannot come back.
        ApiError: others own what would change, or the server refuses.
    """
    found = await _revisions_of(client, fleet)
    if not found:
        raise _no_revisions(fleet)
    live = fleet.inference_set
    chosen = _revision(fleet, found, number) if number else history.earlier(found, live, None)
    if chosen is None:
        raise NegativeAnswer(f"InferenceSet {fleet.key} has no earlier revision")
    number = number_of(chosen)
    if history.has_same_data(chosen, live):
        words = f"skipped rollback (it is already at revision {number}){how.suffix}"
        output.report_write(live, how.output, words)
        return
    goal = history.as_of(live, chosen)
    patch = {"spec": merge_patch_between(live["spec"], goal["spec"])}
    _require_valid(fleet, goal, number)
    output.announce(f"InferenceSet {fleet.key} gets the template of revision {number} again")
    output.differences(difference(history.data_of(live)["Spec"], history.data_of(goal)["Spec"]))
    if how.dry_run == "client":
        output.report_write(goal, how.output, f"rolled back{how.suffix}")
        return
    _require_own(live, patch, force=how.force)
    await write(client, target, fleet, patch, how, words="rolled back", question="Roll back?")


def _require_valid(fleet: Fleet, goal: Object, number: int) -> None:
    problems = validation.judge(goal, old=fleet.inference_set)
    if lines := [item.text for item in problems if item.severity == "error"]:
        raise InputError(
            f"InferenceSet {fleet.key} cannot be rolled back to revision {number}; nothing was written",
            problems=lines,
        )


def _require_own(live: Object, patch: Object, *, force: bool) -> None:
    """Fields that are somebody else's are changed only when that was asked for."""
    others = undo.owned_by_others(live, patch, field_manager())
    if others and not force:
        hint = "--force-conflicts changes them; or change them where their manager keeps them"
        words = f"other managers own fields to change: {'; '.join(others)}"
        raise ApiError(409, "Conflict", words, hint=hint)


# --- pause and resume --------------------------------------------------------------------------------------


def set_paused(
    *, name: str, paused: bool, dry_run: str, yes: bool, wait: bool, timeout: str | None, target: Target
) -> None:
    """Keep an InferenceSet's template from further replicas, or let it go on."""
    option_values.one_of(dry_run, ("none", "client", "server"), option="--dry-run")
    timeout_s = option_values.duration_s(timeout) if timeout else None
    asked = parse_name(name)
    if asked.kind == "workspace":
        hint = "a Workspace is one replica: its controller carries out each change at once"
        raise InputError(f"{name[:80]!r}: rollouts of InferenceSets can be paused", hint=hint)
    how = RolloutOptions(dry_run, yes=yes, wait=wait, timeout_s=timeout_s)
    try:
        asyncio.run(_set_paused(target, asked.name, paused, how))
    except KeyboardInterrupt:
        hint = target.text(Command("kaitoctl status", asked.name, *target.in_namespace))
        raise invocation.interrupted(hint) from None


async def _set_paused(target: Target, name: str, paused: bool, how: RolloutOptions) -> None:
    async with connected(target) as client:
        fleet = await fleet_named(client, ObjectKey(client.namespace, name))
        live = fleet.inference_set
        is_paused = annotations_of(live).get(PAUSED) == "true"
        if is_paused == paused:
            word = "is already paused" if paused else "is not paused"
            output.report_write(live, how.output, f"{word}{how.suffix}")
            return
        patch = {"metadata": {"annotations": {PAUSED: "true" if paused else None}}}
        if paused:
            output.step(f"InferenceSet {fleet.key}: {fleet.template_words}; no further replica changes")
            how = replace(how, wait=False)
        word = "paused" if paused else "resumed"
        if how.dry_run == "client":
            output.report_write(live, how.output, f"{word}{how.suffix}")
            return
        await write(client, target, fleet, patch, how, words=word, question="Continue the rollout?")


# --- write -------------------------------------------------------------------------------------------------


async def write(
    client: Client,
    target: Target,
    fleet: Fleet,
    patch: Object,
    how: RolloutOptions,
    *,
    words: str,
    question: str,
    is_scale: bool = False,
) -> None:
    """Show what a patch leads to, ask where something stops or is bought, write, and follow.

    Args:
        client: of the cluster.
        target: the same.
        fleet: the set as it was seen.
        patch: a merge patch of it.
        how: what is asked for.
        words: what has become of it.
        question: for who is asked.
        is_scale: whether replicas come or go, of whatever template.

    Raises:
        NegativeAnswer: the answer is no, or a replica has failed.
        ApiError: somebody has changed it meanwhile, or the server refuses.
    """
    ownership_warnings.warn(target, fleet.inference_set)
    trial = await patched(client, fleet, patch, dry_run=True)
    change = await plan_effects.change_of(
        client, fleet.inference_set, trial, how.catalog, is_sandbox=target.sandbox, managed=how.managed
    )
    consent.show_costs(target, change, how.prices)
    for line in change.warnings:
        output.warning(line)
    if how.dry_run == "server":
        output.report_write(trial, how.output, f"{words}{how.suffix}")
        return
    if change.wants_consent and not how.yes:
        consent.require_yes_or_tty(yes=False)
        await consent.confirm(question)
    after = await patched(client, fleet, patch)
    output.report_write(after, how.output, words)
    if not change.outage.pods and not is_scale:
        now = await follow_fleet.present(client, fleet.key, how.catalog)
        follow_fleet.say_what_carries(target, now)
        return
    if how.wait:
        is_done = _is_scaled if is_scale else follow_fleet.is_ready
        await follow_fleet.until_ready(
            client, target, fleet.key, timeout_s=how.timeout_s, catalog=how.catalog, is_done=is_done
        )


def _is_scaled(fleet: Fleet) -> bool:
    """Whether as many serve as are wanted, and no more are there; with which template is not asked."""
    return fleet.state in ("Ready", "Mixed") and len(fleet.live) == len(fleet.replicas) == fleet.wanted


async def patched(client: Client, fleet: Fleet, patch: Object, *, dry_run: bool = False) -> Object:
    """The set with the patch, if it still is as it was seen; a status that moves is no obstacle."""
    shown = fleet.inference_set
    kind = kinds.kind_of(shown)

    async def write(seen: Object) -> Object:
        whole = apply_merge_patch(patch, {"metadata": this_version(seen)})
        asked = request.merge_patch(kind, *fleet.key, whole, manager=field_manager(), dry_run=dry_run)
        try:
            return with_type(kind, await client.send(asked))
        except ApiError as error:
            raise explain_refusal(error, namespace=fleet.key.namespace, rights=_RIGHTS) from error

    async def look() -> Object | None:
        now = (await fleet_named(client, fleet.key)).inference_set
        return now if is_unchanged(now, shown) else None

    about = f"InferenceSet {fleet.key}"
    return await certain_write.while_as_seen(shown, write, look, about=about, hint="run the command again")
