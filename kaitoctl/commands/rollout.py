"""`kaitoctl rollout`: show, undo and follow the revisions of a Workspace, or of an InferenceSet."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from kaitoctl.advice import Command
from kaitoctl.commands import (
    certain_write,
    consent,
    follow,
    invocation,
    listing,
    option_values,
    ownership_warnings,
    plan_effects,
)
from kaitoctl.commands.adapter_messages import difference
from kaitoctl.commands.asked_context import looked_up, missing_references
from kaitoctl.commands.cluster import connected, field_manager, present
from kaitoctl.commands.follow import following_s
from kaitoctl.commands.name_lookup import title_of, workspace_or_fleet
from kaitoctl.commands.observe_revisions import WorkspaceRevisions, explain, revisions_of, workspace_of
from kaitoctl.commands.option_values import ManagedBy, Named, parse_name
from kaitoctl.commands.rollout_options import RolloutOptions
from kaitoctl.commands.target import Target
from kaitoctl.commands.target_release import check_manager
from kaitoctl.errors import ApiError, InputError, Interrupted, NegativeAnswer
from kaitoctl.kaito import catalog_file, revisions, validation
from kaitoctl.kaito.catalog import Catalog
from kaitoctl.kaito.merge_request import is_unchanged
from kaitoctl.kaito.own_workloads import is_made_by_us
from kaitoctl.kaito.revisions import CHANGE_CAUSE, data_of
from kaitoctl.kaito.undo import (
    choose,
    consequence,
    goal_of,
    manifest,
    owned_by_others,
    owners,
    remainder,
    summary,
)
from kaitoctl.kube import request
from kaitoctl.kube.objects import (
    ObjectKey,
    annotations_of,
    apply_merge_patch,
    dig,
    generation_of,
    key_of,
    this_version,
    without_managed_fields,
)
from kaitoctl.kube.yaml_writer import to_yaml
from kaitoctl.screens import output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kaitoctl.kaito.snapshot import Snapshot
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object
    from kaitoctl.kube.request import Request

_LONGEST_CAUSE = 32


# --- history -----------------------------------------------------------------------------------------------


def history(*, name: str, revision: int | None, output_format: str, target: Target) -> None:
    """List what a Workspace asked for each time it was applied, oldest first."""
    option_values.output_format(output_format, listing.FORMATS)
    asyncio.run(_history(target, parse_name(name), revision, output_format))


async def _history(target: Target, asked: Named, number: int | None, output_format: str) -> None:
    async with connected(target) as client:
        known = await workspace_or_fleet(client, asked, revisions_of)
        if not isinstance(known, WorkspaceRevisions):
            from kaitoctl.commands import rollout_set  # most names are those of Workspaces

            await rollout_set.show_history(client, known, number, output_format)
            return
    shown = invocation.sort_for_output(known.history, lambda one: one)
    if number is not None:
        shown = [_revision(known, number)]
    elif not shown:
        raise _no_revisions(known)
    if output_format == "name" or option_values.is_structured(output_format):
        plain = [without_managed_fields(one) for one in shown]
        output.objects(plain, output_format, is_list=number is None)
        return
    if number is not None:
        _show_whole(known, shown[0])
        return
    _show_table(target, known, shown, wide=output_format == "wide")


def _show_table(target: Target, known: WorkspaceRevisions, shown: Sequence[Object], *, wide: bool) -> None:
    key = key_of(known.workspace)
    current = [one for one in known.history if revisions.has_same_data(one, known.workspace)][-1:]
    output.data(output.resource_name(known.workspace))
    output.table(
        ("REVISION", "CURRENT", "CHANGE-CAUSE", "SPEC"),
        [
            (
                str(revisions.number_of(one)),
                "*" if one in current else "",
                _cause(one, wide=wide),
                summary(one),
            )
            for one in shown
        ],
        wide=wide,
        below=True,
    )
    if not current:
        output.warning(
            "the current spec matches none of these revisions: no controller has applied it yet",
            hint=target.text(Command("kaitoctl rollout status", key.name, "-n", key.namespace) + " says why"),
        )


def _cause(one: Object, *, wide: bool) -> str:
    text = annotations_of(one).get(CHANGE_CAUSE) or "<none>"
    return text if wide or len(text) <= _LONGEST_CAUSE else f"{text[: _LONGEST_CAUSE - 1]}…"


def _show_whole(known: WorkspaceRevisions, one: Object) -> None:
    output.sentence(f"{output.resource_name(known.workspace)} with revision #{revisions.number_of(one)}")
    output.yaml(to_yaml(one["data"]).rstrip("\n"))


# --- undo --------------------------------------------------------------------------------------------------


def undo(
    *,
    name: str,
    to_revision: int | None,
    dry_run: str,
    output_format: str | None,
    yes: bool,
    wait: bool,
    timeout: str | None,
    force_conflicts: bool,
    catalog: str | None,
    managed: ManagedBy,
    target: Target,
) -> None:
    """Bring a Workspace back to what it asked for in an earlier revision."""
    known_presets = catalog_file.read(catalog)
    option_values.one_of(dry_run, ("none", "client", "server"), option="--dry-run")
    if output_format is not None:
        option_values.output_format(output_format, ("yaml", "json", "name"))
    timeout_s = option_values.duration_s(timeout) if timeout is not None else None
    if to_revision is not None and to_revision < 0:
        raise InputError(f"--to-revision {to_revision}: revisions are numbered from 1")
    number = to_revision or None  # as for kubectl, revision 0 is the one before
    check_manager(managed)
    how = RolloutOptions(
        dry_run, output_format, yes, wait, timeout_s, force_conflicts, known_presets, managed
    )
    asked = parse_name(name)
    try:
        asyncio.run(_undo(target, asked, number, how))
    except KeyboardInterrupt:
        command = Command("kaitoctl rollout status", str(asked), *target.in_namespace)
        hint = target.text("what was already applied stays; " + command + " follows it")
        raise invocation.interrupted(hint) from None


async def _undo(target: Target, asked: Named, to_number: int | None, how: RolloutOptions) -> None:
    async with connected(target) as client:
        known = await workspace_or_fleet(client, asked, revisions_of)
        if not isinstance(known, WorkspaceRevisions):
            from kaitoctl.commands import rollout_set  # most names are those of Workspaces

            await rollout_set.undo_to(client, target, known, to_number, how)
            return
        live = known.workspace
        chosen = _revision(known, to_number) if to_number else choose(known.history, live, None)
        if chosen is None and not known.history:
            raise _no_revisions(known)
        if chosen is None:
            raise NegativeAnswer(f"{_words(known)} has no earlier revision than {_numbers(known)}")
        number = revisions.number_of(chosen)
        if revisions.has_same_data(chosen, live):
            output.report_write(
                live, how.output, f"skipped rollback (it is already at revision {number}){how.suffix}"
            )
            return
        if how.dry_run == "none":
            consent.require_yes_or_tty(yes=how.yes)
        ownership_warnings.warn(target, live)
        goal = goal_of(live, chosen)
        is_applied = any(revisions.has_same_data(one, live) for one in known.history)
        if number < revisions.newest(known.history) or is_applied:
            _require_mutable(live, goal, number, how.catalog)  # else what was refused becomes what runs
        what = consequence(live, goal, how.catalog, known.history)
        if how.dry_run == "client":
            _show_change(known, goal, number, what)
            output.report_write(goal, how.output, f"rolled back{how.suffix}")
            return
        # The same request first without effect: what stands in the way shows before anybody is asked.
        trial, rest = await _dry_run(client, known, goal, force=how.force)
        after = apply_merge_patch(trial, rest)
        change = await plan_effects.change_of(
            client, live, after, how.catalog, is_sandbox=target.sandbox, managed=how.managed
        )
        missing = await missing_references(after, partial(looked_up, client))
        _show_change(known, goal, number, what if goal.get("tuning") else change.restarts)
        for item in missing:
            output.warning(item.message, hint=target.text(item.create))
        consent.show_costs(target, change)
        if how.dry_run == "server":
            output.report_write(after, how.output, f"rolled back{how.suffix}")
            return
        if not how.yes:
            await consent.confirm("Roll back?")
        after = await write_rollback(client, known, goal, rest, force=how.force)
        output.report_write(after, how.output, f"rolled back{how.suffix}")
        if how.wait:
            expected = max(number, revisions.newest(known.history) + (chosen is not known.history[-1]))
            await _follow(client, target, after, how.timeout_s, how.catalog, how.managed, (number, expected))


def _require_mutable(live: Object, goal: Object, number: int, catalog: Catalog) -> None:
    problems = validation.update_problems(live, goal, validation.Setting(catalog=catalog))
    found = [item for item in problems if item.severity == "error"]
    if found:
        key = key_of(live)
        raise InputError(
            f"Workspace {key.name} cannot be rolled back to revision {number}: immutable fields differ",
            problems=[f"{item.path}: {item.message}" for item in found],
            hint=Command("kaitoctl rollout history", key.name, "-n", key.namespace, "--revision", str(number))
            + " shows it; create another Workspace from that, and delete this one when it serves",
        )


def _show_change(known: WorkspaceRevisions, goal: Object, number: int, what: str) -> None:
    def shown(workspace: Object) -> Object:
        data, cause = data_of(workspace), annotations_of(workspace).get(CHANGE_CAUSE)
        if cause is None:
            return data
        return {
            **data,
            "metadata": {
                "annotations": {**(dig(data, "metadata", "annotations") or {}), CHANGE_CAUSE: cause}
            },
        }

    output.announce(f"{_words(known)} rolls back to revision {number}: {what}")
    output.differences(difference(shown(known.workspace), shown(goal)))


async def _dry_run(
    client: Client, known: WorkspaceRevisions, goal: Object, *, force: bool
) -> tuple[Object, Object]:
    """What an apply would make of the Workspace, and the patch that takes away what it leaves.

    Raises:
        ApiError: others own what would change.
    """
    after = await _apply(client, _applying(known, goal, {}, force=force, dry_run=True))
    rest = remainder(after, goal)
    fields = owned_by_others(after, rest, field_manager())
    if fields and not force:
        raise ApiError(
            409,
            "Conflict",
            f"{_words(known)}: other managers own fields to remove: {'; '.join(fields)}",
            hint="--force-conflicts removes them; or change them where their manager keeps them",
        )
    return after, rest


async def write_rollback(
    client: Client, known: WorkspaceRevisions, goal: Object, rest: Object, *, force: bool
) -> Object:
    """Take away what an apply leaves, then apply; returns the Workspace as it is then.

    In this order: an apply that came first would give the present revision the change-cause of the old one.
    """
    key, shown = key_of(known.workspace), known.workspace

    async def remove(seen: Object) -> Object:
        patch = {**rest, "metadata": {**(rest.get("metadata") or {}), **this_version(seen)}}
        return await _send(client, request.merge_patch(known.kind, *key, patch, manager=field_manager()))

    async def apply(seen: Object) -> Object:
        return await _apply(client, _applying(known, goal, this_version(seen), force=force, dry_run=False))

    async def look() -> Object | None:
        now = await present(client, request.get(known.kind, *key))
        return now if is_unchanged(now, shown) else None

    for write in (remove, apply) if rest else (apply,):
        shown = await certain_write.while_as_seen(
            shown, write, look, about=_words(known), hint="run the command again"
        )
    after = shown
    if left := remainder(after, goal):
        fields = ", ".join(path for path, _ in owners(after, left))
        output.warning(f"not everything was rolled back: another manager has just written {fields}")
    return after


def _applying(
    known: WorkspaceRevisions, goal: Object, same: Object, *, force: bool, dry_run: bool
) -> Request:
    body = manifest(known.workspace, goal, field_manager())
    body = {**body, "metadata": {**body["metadata"], **same}}
    return request.apply(known.kind, body, manager=field_manager(), force=force, dry_run=dry_run)


async def _apply(client: Client, applying: Request) -> Object:
    """Apply; a change-cause that somebody else wrote is a comment, and holds nobody up."""
    try:
        return await client.send(applying)
    except ApiError as error:
        fields = [str(cause.get("field")) for cause in error.causes]
        if error.reason == "Conflict" and fields and all(CHANGE_CAUSE in field for field in fields):
            return await _send(client, replace(applying, query={**applying.query, "force": "true"}))
        raise explain(error) from error


# --- status ------------------------------------------------------------------------------------------------


def status(
    *, name: str, timeout: str | None, catalog: str | None, managed: ManagedBy, target: Target
) -> None:
    """Follow the rollout of a Workspace until it is ready or has failed."""
    known = catalog_file.read(catalog)
    check_manager(managed)
    timeout_s = option_values.duration_s(timeout) if timeout is not None else None
    try:
        asyncio.run(_status(target, parse_name(name), timeout_s, known, managed))
    except KeyboardInterrupt:
        raise Interrupted("interrupted") from None


async def _status(
    target: Target, asked: Named, timeout_s: float | None, known: Catalog, managed: ManagedBy
) -> None:
    kind = "workspace"
    async with connected(target) as client:
        find = partial(workspace_or_fleet, client, asked, workspace_of)
        about = title_of(asked, ObjectKey(client.namespace, asked.name))
        found, timeout_s = await follow.until_created(find, about, timeout_s)
        if isinstance(found, tuple):
            await _follow(client, target, found[1], timeout_s, known, managed)
        else:
            from kaitoctl.commands import follow_fleet  # most names are those of Workspaces

            kind = "inferenceset"
            await follow_fleet.until_ready(client, target, found.key, timeout_s=timeout_s, catalog=known)
    output.sentence(f'{kind} "{asked.name}" successfully rolled out')


# --- the cluster -------------------------------------------------------------------------------------------


async def _send(client: Client, asked: Request) -> Object:
    try:
        return await client.send(asked)
    except ApiError as error:
        raise explain(error) from error


async def _follow(
    client: Client,
    target: Target,
    workspace: Object,
    timeout_s: float | None,
    known: Catalog,
    managed: ManagedBy,
    numbers: tuple[int, int] = (0, 0),
) -> None:
    """Follow the rollout.

    Args:
        client: the API client.
        target: how it was named.
        workspace: the Workspace as it is.
        timeout_s: None for the budget of its preset.
        known: the catalog.
        managed: who manages the Workspace, as far as the user says it.
        numbers: of the revision that is to come, as it was and as it will be; an edit of annotations alone
            shows in nothing else.
    """

    def has_arrived(seen: Snapshot) -> bool:
        ours = filter(is_made_by_us, seen.workloads)
        found = map(revisions.number_on, ours)
        return all(number in (0, numbers[0]) or number >= numbers[1] for number in found)

    timeout_s = timeout_s or following_s(known, workspace)
    key = key_of(workspace)
    try:
        await follow.rollout(
            client,
            target,
            key,
            timeout_s=timeout_s,
            catalog=known,
            has_arrived=has_arrived,
            managed=managed,
        )
    except NegativeAnswer as error:
        if generation_of(workspace) > 1:
            undoing = Command("kaitoctl rollout undo", key.name, "-n", key.namespace)
            error.hint = error.hint + ("; " + undoing + " rolls back")
        raise


# --- words -------------------------------------------------------------------------------------------------


def _words(known: WorkspaceRevisions) -> str:
    metadata = known.workspace["metadata"]
    return f"Workspace {metadata['namespace']}/{metadata['name']}"


def _numbers(known: WorkspaceRevisions) -> str:
    return ", ".join(str(revisions.number_of(one)) for one in known.history)


def _revision(known: WorkspaceRevisions, number: int) -> Object:
    if not known.history:
        raise _no_revisions(known)
    found = choose(known.history, known.workspace, number)
    if found is None:
        raise InputError(f"{_words(known)} has no revision {number}", hint=f"it has {_numbers(known)}")
    return found


def _no_revisions(known: WorkspaceRevisions) -> NegativeAnswer:
    return NegativeAnswer(
        f"{_words(known)} has no revisions",
        hint="a controller records one when it first applies the Workspace; is one running?",
    )
