"""`kaitoctl apply`: the plan first, then all of it or nothing; ConfigMaps, Workspaces, and their rollouts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from kaitoctl.advice import Advice, Command, with_file
from kaitoctl.commands import (
    certain_write,
    consent,
    delete,
    files,
    follow_fleet,
    invocation,
    make_plan,
    option_values,
    ownership_warnings,
    plan_documents,
)
from kaitoctl.commands import prune as pruning
from kaitoctl.commands.cluster import (
    connected,
    explain_refusal,
    field_manager,
    over_own_fields,
    present,
    rights_to_apply,
)
from kaitoctl.commands.follow_all import follow_all, worst
from kaitoctl.commands.one_by_one import Progress
from kaitoctl.commands.option_values import ManagedBy
from kaitoctl.commands.target_release import check_manager
from kaitoctl.commands.wait_gone import TIMEOUT_S, wait_gone
from kaitoctl.errors import ApiError, InputError, Interrupted, KaitoctlError
from kaitoctl.kaito import api, catalog_file, planning
from kaitoctl.kaito.fleet import kinds
from kaitoctl.kaito.prices import read_prices
from kaitoctl.kube import managed_fields, request
from kaitoctl.kube.objects import CONFIG_MAP, ObjectKey, generation_of, uid_of
from kaitoctl.screens import output, plan_screen

if TYPE_CHECKING:
    from kaitoctl.commands.option_values import Manifests
    from kaitoctl.commands.target import Target
    from kaitoctl.kaito.fleet.view import Fleet
    from kaitoctl.kaito.planning import Change, Plan
    from kaitoctl.kaito.prices import Prices
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Kind, Object


class _ApplyOptions(Struct, frozen=True):
    """What is to happen with the plan; of what the selector takes, what no document has goes."""

    dry_run: str
    yes: bool
    force: bool
    follows: bool
    prices: Prices
    timeout_s: float | None
    selector: str = ""
    documents: Sequence[plan_documents.Written] = ()


def apply(
    *,
    given: Manifests,
    plan: str | None,
    dry_run: str,
    yes: bool,
    force_conflicts: bool,
    wait: bool,
    timeout: str | None,
    managed: ManagedBy,
    catalog: str | None,
    prices: str | None,
    prune: bool,
    selector: str,
    target: Target,
) -> int:
    """Create or change what manifests say, all of it or nothing, and follow every rollout."""
    option_values.one_of(dry_run, ("none", "client", "server"), option="--dry-run")
    check_manager(managed)
    pruning.check(selector, given, prune=prune, plan=plan)
    known = catalog_file.read(catalog)
    if given.is_given == bool(plan):
        raise InputError("give manifests with -f or -k, or a plan with --plan: one of the two")
    timeout_s = option_values.duration_s(timeout) if timeout else None
    kept = _plan_of(plan) if plan else None
    written = _documents(kept) if kept is not None else plan_documents.documents_of(given)
    documents = written
    if prune:
        written = pruning.select_documents(written, selector)
    asked = make_plan.PlanRequest(target.sandbox, managed, force_conflicts, known, target.flags)
    chosen = selector if prune else ""
    again = _again(given, kept, target, asked, catalog, chosen)
    how = _ApplyOptions(
        dry_run, yes, force_conflicts, wait, read_prices(prices), timeout_s, chosen, documents
    )
    applied = Progress("applied", again)
    deleted = Progress("deleted", again, before=applied)
    try:
        return asyncio.run(_apply(target, written, asked, kept, how, applied, deleted))
    except KeyboardInterrupt:
        told = [one.interrupted_words() for one in (applied, deleted) if one.titles]
        raise Interrupted(
            "; ".join(("interrupted", *(told or ("nothing was written",)))),
            hint=target.text("to continue, run again: " + again),
        ) from None


def _again(
    given: Manifests,
    kept: Object | None,
    target: Target,
    asked: make_plan.PlanRequest,
    catalog: str | None,
    selector: str,
) -> Advice:
    """The command that goes on; a plan that is half applied is no plan any more, its manifests are."""
    known = given.words if kept is None else kept.get(planning.GIVEN)
    words = list(known or ("-f", "FILE"))
    words += ("--prune", "-l", selector) if selector else ()
    words += ("--force-conflicts",) if asked.force else ()
    valued = {"--catalog": catalog, **asked.managed.options}
    words += (word for name, value in valued.items() if value for word in (name, value))
    command = Command("kaitoctl apply", *words, *invocation.field_manager_words(), *target.in_namespace)
    return with_file(command) if known else with_file(command, "the plan's manifests")


def _plan_of(path: str) -> Object:
    """A plan that `--out` has kept.

    Raises:
        InputError: the file is none.
    """
    try:
        found: Any = json.loads(files.text_of(path, option="--plan"))
    except ValueError:
        found = None
    if not planning.is_plan(found):
        raise InputError(
            f"--plan {path}: not a plan file",
            hint=Command("kaitoctl plan -f FILE --out", path) + " makes one",
        )
    kept: Object = found
    return kept


def _documents(kept: Object) -> list[plan_documents.Written]:
    return [
        plan_documents.Written(
            item["source"], item["kind"], ObjectKey(item["namespace"], item["name"]), item["body"]
        )
        for item in kept["changes"]
    ]


# --- judge, show, ask --------------------------------------------------------------------------------------


async def _apply(
    target: Target,
    written: Sequence[plan_documents.Written],
    asked: make_plan.PlanRequest,
    kept: Object | None,
    how: _ApplyOptions,
    applied: Progress,
    deleted: Progress,
) -> int:
    async with connected(target) as client:
        plan = await make_plan.make(client, written, asked)
        _insist(plan, kept)
        _show(target, plan, how.prices)
        pruned = pruning.Pruned()
        if how.selector:
            pruned = await pruning.find(client, plan, how.documents, how.selector)
        pruning.show(target, pruned)
        generations: dict[ObjectKey, int] = {}
        if how.dry_run == "none":
            await _agree(plan, len(pruned.shown), yes=how.yes)
            generations = await write(client, plan, applied, force=how.force)
        words = option_values.dry_run_note(how.dry_run)
        for change in plan.changes:
            output.sentence(f"{_name(change)} {_word(change)}{words}")
        await delete.send_all(client, pruned.shown, deleted, dry_run=how.dry_run)
        workspaces = [change.key for change in plan.changes if change.kind == "Workspace"]
        sets = [change.key for change in plan.changes if change.kind == api.INFERENCE_SET.kind]
        if how.dry_run != "none" or not how.follows:
            return 0
        if pruned.deletions:
            going = [one.going for one in pruned.deletions]
            await wait_gone(client, target, going, how.timeout_s or TIMEOUT_S)
        shows = {key: follow_fleet.lines_of(key) for key in sets} if len(sets) > 1 else {}
        alone = len(plan.changes) == 1
        codes = await asyncio.gather(
            *(_follow_set(client, target, key, how, asked, alone=alone, show=shows.get(key)) for key in sets)
        )
        if workspaces:
            bodies = {change.key: change.body for change in plan.changes if change.kind == "Workspace"}
            codes.append(
                await follow_all(
                    client, target, bodies, generations, how.timeout_s, asked.catalog, asked.managed
                )
            )
        return worst(codes)


async def _follow_set(
    client: Client,
    target: Target,
    key: ObjectKey,
    how: _ApplyOptions,
    asked: make_plan.PlanRequest,
    *,
    alone: bool,
    show: Callable[[Fleet], None] | None,
) -> int:
    """Follow a set; of several objects, one that fails does not end the following of the others."""
    try:
        fleet = await follow_fleet.until_ready(
            client, target, key, timeout_s=how.timeout_s, catalog=asked.catalog, is_done=_is_as_far, show=show
        )
    except KaitoctlError as error:
        if alone:
            raise
        output.failure(error.message)
        if error.hint:
            output.note(target.text(error.hint))
        return error.exit_code
    follow_fleet.say_what_carries(target, fleet)
    return 0


def _is_as_far(fleet: Fleet) -> bool:
    """Whether a set is as far as its controller brings it: KAITO's carries no template to what exists."""
    return fleet.state == "Ready" or (fleet.state == "Mixed" and not fleet.is_rolled_by_kaitoctl)


def _insist(plan: Plan, kept: Object | None) -> None:
    """Refuse all of it when a part is refused, or when a plan is older than the world.

    Raises:
        InputError: with all that is wrong.
    """
    if plan.refused:
        lines = [
            f"{change.source}: {change.title}: {problem}"
            for change in plan.refused
            for problem in change.problems
        ]
        number = len(plan.refused)
        what = "1 object is refused" if number == 1 else f"{number} objects are refused"
        raise InputError(f"{what}; nothing was written", problems=lines, hint=_ways(plan))
    if kept is not None and (moved := planning.what_moved(kept, plan)):
        raise InputError(
            "the cluster is no longer as it was when the plan was made; nothing was written",
            problems=moved,
            hint=Command("kaitoctl plan -f FILE --out FILE") + " makes a new one",
        )


def _ways(plan: Plan) -> Advice:
    """How to have what only a new Workspace can be."""
    found = [change for change in plan.refused if change.way]
    if len(found) == 1:
        return f"to recreate {found[0].title}: " + found[0].way
    return Command("kaitoctl plan -f FILE") + " names the commands that recreate each" if found else ""


def _show(target: Target, plan: Plan, prices: Prices) -> None:
    for change in plan.changes:
        if change.fate == "unchanged":
            continue
        output.announce(f"{change.title} is {'to be created' if change.fate == 'created' else 'changed'}")
        for path, old, new in change.fields:
            output.note(f"{path}: {output.short_value(old)} -> {output.short_value(new)}")
        if change.loading:
            output.note(f"model: {change.loading.words}")
        for line in plan_screen.costs(change, target.flags, prices):
            output.note(line)
        for line in change.warnings:
            output.warning(line)
        if change.kind == "Workspace" and change.fate == "changed":
            ownership_warnings.warn(target, change.body)
    output.step(plan_screen.summary(plan, prices))


async def _agree(plan: Plan, pruned: int, *, yes: bool) -> None:
    if not pruned and not any(change.wants_consent for change in plan.changes):
        return
    if not yes and not output.can_ask():
        raise InputError(
            "this buys nodes, restarts pods or removes something, and there is no terminal to confirm it on; "
            "nothing was written",
            hint="add --yes to skip the confirmation prompt, or preview it with --dry-run=server",
        )
    if not yes:
        number = len(plan.written)
        words = f"Apply {number} object{'' if number == 1 else 's'}"
        await consent.confirm(f"{words}{f', and delete {pruned}' if pruned else ''}?")


# --- write -------------------------------------------------------------------------------------------------


async def write(client: Client, plan: Plan, progress: Progress, *, force: bool) -> dict[ObjectKey, int]:
    """Write what differs, in order; what fails in the middle says how far it came.

    Args:
        client: the cluster.
        plan: of which nothing is refused.
        progress: shown what has been written.
        force: take fields over from other managers.

    Returns:
        The generations of the Workspaces that were written.

    Raises:
        KaitoctlError: a write failed, or the server has gone.
    """
    generations: dict[ObjectKey, int] = {}

    async def one(change: Change) -> None:
        made = await _send(client, change, force=force)
        if change.kind == "Workspace":
            generations[change.key] = generation_of(made)

    progress.titles = [change.title for change in plan.written]
    await progress.each(plan.written, one)
    return generations


async def _send(client: Client, change: Change, *, force: bool) -> Object:
    """Write just the object that was shown, or a new one; a status that moves meanwhile is no obstacle."""
    kind, key, word = _kind(change), change.key, _word(change)

    async def write(seen: Object) -> Object:
        # Without its uid, what has been deleted meanwhile would be created again.
        same = {part: seen[part] for part in ("uid", "resourceVersion") if part in seen}
        body = {**change.body, "metadata": {**change.body["metadata"], **same}}
        try:
            return await over_own_fields(partial(sent, body, bool(seen)), force=force)
        except ApiError as error:
            raise explain_refusal(error, namespace=key.namespace, rights=rights_to_apply(kind)) from error

    async def sent(body: Object, is_there: bool, takes_over: bool) -> Object:
        # What conflicts with our own fields is there, too.
        only_new = not is_there and takes_over == force
        asked = request.apply(kind, body, manager=field_manager(), force=takes_over, only_new=only_new)
        return await certain_write.sent(
            client, asked, kind, key, is_done=lambda now: _is_done(now, change.body), word=word
        )

    async def look() -> Object | None:
        now = await present(client, request.get(kind, *key))
        return now["metadata"] if now is not None and _is_as_shown(now, change) else None

    hint = Command("kaitoctl plan -f FILE") + " shows what is to change now"
    return await certain_write.while_as_seen(dict(change.seen), write, look, about="it", hint=hint)


def _kind(change: Change) -> Kind:
    if change.kind == "ConfigMap":
        return CONFIG_MAP
    return kinds.kind_of(change.body) if change.kind == api.INFERENCE_SET.kind else api.kind_of(change.body)


def _is_as_shown(now: Object, change: Change) -> bool:
    """Whether nothing but its status has changed since the plan was made."""
    shown = (change.seen.get("uid"), change.seen.get("generation"))
    return change.kind != "ConfigMap" and (uid_of(now), str(generation_of(now))) == shown


def _is_done(now: Object | None, body: Object) -> bool:
    """Whether the object is what was applied: ours are the fields that we have sent, and their values."""
    if now is None or not managed_fields.applied_fields(now, field_manager()):
        return False
    owned = managed_fields.extract(now, field_manager())
    return all(
        owned.get(part) == body[part] for part in body if part not in ("metadata", "apiVersion", "kind")
    )


def _word(change: Change) -> str:
    return {"created": "created", "changed": "configured"}.get(change.fate, "unchanged")


def _name(change: Change) -> str:
    return output.resource_name({**change.body, "kind": change.kind})
