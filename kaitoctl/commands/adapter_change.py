"""A change of one adapter: observe -> validate -> show -> confirm -> write -> follow -> verify, or roll back.

`add-adapter`, `set-adapter` and `remove-adapter` differ in the change alone; what a change is, and how it is
written so that nobody's adapter is lost, is in `kaito.adapters`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from kaitoctl.advice import Command, shortened_inside
from kaitoctl.commands import (
    adapter_file,
    consent,
    follow,
    invocation,
    named_objects,
    observe_adapters,
    option_values,
    ownership_warnings,
    plan_effects,
    smoke_test,
)
from kaitoctl.commands import adapter_messages as words
from kaitoctl.commands.adapter_settings import AdapterCheck, AdapterSettings
from kaitoctl.commands.cluster import connected, explain_refusal, field_manager, served_versions
from kaitoctl.commands.kaito_detection import as_said
from kaitoctl.commands.observe_deeply import with_evidence
from kaitoctl.commands.observe_workspace import snapshot_of
from kaitoctl.commands.target import Target
from kaitoctl.errors import ApiError, InputError, KaitoctlError, NegativeAnswer, TimedOut
from kaitoctl.kaito import adapter_rollout, adapters, validation
from kaitoctl.kaito.diagnosis import diagnose
from kaitoctl.kaito.own_workloads import is_made_by_us, is_written_by_us
from kaitoctl.kube import refusal_hints
from kaitoctl.kube.objects import is_being_deleted, key_of
from kaitoctl.reconcile.generator_driver import drive
from kaitoctl.screens import output

_LONGEST_EVIDENCE = 240
_TRIES, _TRY_AGAIN_S = 60, 0.25  # of a proof: a kubelet brings a mounted ConfigMap up to date now and then

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kaitoctl.commands.adapter_settings import MakeChange
    from kaitoctl.kaito.adapter_rollout import Row
    from kaitoctl.kaito.adapters import Change, Written
    from kaitoctl.kaito.snapshot import Snapshot
    from kaitoctl.kaito.validation import Setting
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object


def run(
    target: Target,
    name: str | None,
    make: MakeChange,
    settings: AdapterSettings,
    *,
    tuning: str | None = None,
) -> None:
    """Carry a change out.

    Args:
        target: the cluster.
        name: of the Workspace.
        make: the change.
        settings: what is to happen with it.
        tuning: the name of a tuning Workspace, which the change asks for.

    Raises:
        KaitoctlError: it was not, or its rollout failed.
    """
    if settings.filename is not None:
        if tuning is not None:
            shows = Command("kubectl get workspace NAME -o jsonpath={.tuning.output.image}")
            raise InputError(
                "--from-tuning asks a cluster, and -f edits a file",
                hint=shows + " shows the image for --image",
            )
        adapter_file.edit(settings.filename, name, target.namespace, make, settings)
        return
    if not name:
        raise InputError("the name of the Workspace is missing", hint="or edit a manifest with -f FILE")
    name = option_values.workspace_name(name)
    tuning = None if tuning is None else option_values.workspace_name(tuning)
    try:
        asyncio.run(_run(target, name, make, settings, tuning))
    except KeyboardInterrupt:
        lists = Command("kaitoctl list-adapters", name, *target.in_namespace)
        hint = "what was already applied stays; see: " + lists
        raise invocation.interrupted(target.text(hint)) from None


async def _run(
    target: Target, name: str, make: MakeChange, settings: AdapterSettings, tuning: str | None
) -> None:
    async with connected(target) as client:
        await _Changing(client, target, settings).carry_out(name, make, tuning)


class _Changing(Struct, frozen=True):
    """One change, from the first look to the proof."""

    client: Client
    target: Target
    how: AdapterSettings

    async def carry_out(self, name: str, make: MakeChange, tuning: str | None) -> None:
        workspace = await observe_adapters.workspace_named(self.client, name)
        _require_inference(workspace)
        ownership_warnings.warn(self.target, workspace)
        pods = await observe_adapters.pods_of(self.client, workspace) or []
        setting = await self._setting(workspace)
        tuned = None if tuning is None else await observe_adapters.workspace_named(self.client, tuning)
        change = make(workspace, validation.wants_strength(workspace, setting), tuned)
        present = adapters.entries_of(workspace)
        wanted = change.on(present)
        if wanted == present:
            output.report_write(workspace, self.how.output, "unchanged")
            return
        if self.how.dry_run == "none":
            consent.require_yes_or_tty(yes=self.how.yes)
        check = AdapterCheck(setting, pods)
        after = adapters.with_entries(workspace, wanted)
        check(workspace, after)
        check.show_warnings()
        await named_objects.require(self.client, self.target, after, workspace)
        if self.how.dry_run != "client":
            after = (await self._write(workspace, change, check, dry_run=True)).after
        await self._show(workspace, after, pods)
        if self.how.dry_run != "none":
            note = option_values.dry_run_note(self.how.dry_run)
            output.report_write(after, self.how.output, f"configured{note}")
            return
        if not self.how.yes:
            await consent.confirm("Continue?")
        done = await self._write(workspace, change, check)
        if done.tries > 1:
            output.step("the Workspace was changed by someone else meanwhile; that change is kept")
        output.report_write(
            done.after, self.how.output, "configured" if done.after is not done.before else "unchanged"
        )
        if self.how.wait:
            await self._follow(done, change)

    # --- before ----------------------------------------------------------------------------------------

    async def _setting(self, workspace: Object) -> Setting:
        said = self.how.managed
        if said.target_version is None and (self.target.sandbox or is_written_by_us(workspace)):
            return validation.Setting(validation.OWN, catalog=self.how.catalog)
        here = await as_said(self.client, said, await served_versions(self.client))
        return here.setting(self.how.catalog)

    async def _write(
        self, workspace: Object, change: Change, check: AdapterCheck, *, dry_run: bool = False
    ) -> Written:
        writing = adapters.writing(
            workspace,
            change,
            manager=field_manager(),
            force=self.how.force_conflicts,
            dry_run=dry_run,
            check=check,
        )
        try:
            return await drive(self.client, writing)
        except ApiError as error:
            raise _with_owner(error, workspace) from error

    # --- show ------------------------------------------------------------------------------------------

    async def _show(self, before: Object, after: Object, pods: Sequence[Object]) -> None:
        """The Workspace's change, what it makes of the workload, and what that costs."""
        output.announce(f"Workspace {key_of(before)}")
        output.differences(words.difference(words.adapters_of(before), words.adapters_of(after)))
        workload = await observe_adapters.workload_if_seen(self.client, before)
        if workload is not None and is_made_by_us(workload):
            if changes := words.workload_changes(before, after, workload, self.how.catalog):
                output.announce(f"{workload['kind']} {key_of(workload)}")
                output.differences(changes)
        elif workload is not None:
            named = f"{workload['kind']} {key_of(workload)}"
            output.step(f"{named} belongs to another controller, which recreates its pods")
        change = await plan_effects.change_of(
            self.client,
            before,
            after,
            self.how.catalog,
            is_sandbox=self.target.sandbox,
            managed=self.how.managed,
        )
        consent.show_costs(self.target, change)
        if not change.outage.pods and not change.uncertain:
            follows = adapter_rollout.follow_strengths(pods)
            output.step(
                "no pod restarts" + (": the servers take strengths while they run" if follows else "")
            )

    # --- after -----------------------------------------------------------------------------------------

    async def _follow(self, done: Written, change: Change) -> None:
        try:
            seen = await self._ready(done.after)
            workspace = seen.workspace or done.after  # others may have changed it since
            pods = None if "pods" in seen.unseen else adapter_rollout.current(seen.pods)
            rows, why = await self._proof(workspace, pods)
            words.insist_on_loaded(rows, why, quietly=self.how.output is not None)
            await smoke_test.run(self.client, self.target, seen, is_asked_for=self.how.smoke_test)
        except ApiError as error:
            error.message = f"the change was written, but its rollout cannot be followed: {error.message}"
            raise
        except TimedOut as error:
            await self._roll_back_or_advise(done, change, error)
        except NegativeAnswer as error:
            meaning = await self._explain(done.after, error)
            await self._roll_back_or_advise(done, change, NegativeAnswer(meaning))
        else:
            output.success(words.summary(rows))

    async def _proof(self, workspace: Object, pods: Sequence[Object] | None) -> tuple[list[Row], str]:
        """What is loaded, once servers that follow the strengths have had the time to."""
        rows, why = await observe_adapters.proof(self.client, workspace, pods)
        tries = _TRIES if adapter_rollout.follow_strengths(pods or ()) else 0
        while tries and words.at_another_strength(rows):
            await asyncio.sleep(_TRY_AGAIN_S)
            rows, why = await observe_adapters.proof(self.client, workspace, pods)
            tries -= 1
        return rows, why

    async def _ready(self, workspace: Object) -> Snapshot:
        """Follow until the pods serve with the adapters that the Workspace says."""

        def has_arrived(seen: Snapshot) -> bool:
            # As it is now: others may have changed it since. Who may not see pods goes by the controller.
            now = seen.workspace or workspace
            return "pods" in seen.unseen or adapter_rollout.has_arrived(now, seen.pods)

        def is_from_before(seen: Snapshot) -> bool:
            return adapter_rollout.are_from_before(seen.workspace or workspace, seen.pods)

        return await follow.rollout(
            self.client,
            self.target,
            key_of(workspace),
            timeout_s=self.how.timeout_s or follow.following_s(self.how.catalog, workspace),
            catalog=self.how.catalog,
            has_arrived=has_arrived,
            is_from_before=is_from_before,
            managed=self.how.managed,
        )

    async def _explain(self, workspace: Object, error: NegativeAnswer) -> str:
        """The root cause in one sentence; its evidence and the command that fixes it are shown at once."""
        key = key_of(workspace)
        try:
            seen = await snapshot_of(self.client, key, catalog=self.how.catalog)
            seen = await with_evidence(
                self.client, seen, is_sandbox=self.target.sandbox, managed=self.how.managed
            )
        except KaitoctlError:  # what is known already must not be lost for it
            return error.message
        cause = diagnose(seen, datetime.now(UTC)).cause
        if cause is None:
            return error.message
        if output.is_redrawn(sys.stderr):  # the last picture has the cause and the command
            return f"Workspace {key}: {cause.message}"
        for source, text in cause.evidence:
            output.note(shortened_inside(f"{source}: {text}", _LONGEST_EVIDENCE))
        if cause.command:
            output.command(self.target.text(cause.command), lead="try: ")
        return f"Workspace {key}: {cause.message}"

    async def _roll_back_or_advise(self, done: Written, change: Change, error: KaitoctlError) -> None:
        """Roll the change back if that was asked for; else say how.

        Raises:
            KaitoctlError: always: `error`, with what became of it.
        """
        before, after = (adapters.entry_of(item, change.name) for item in (done.before, done.after))
        key = key_of(done.after)
        back = adapters.way_back(key.name, change.name, before, words.where_options(self.target, done.after))
        edit = Command("kubectl edit workspace", key.name, "-n", key.namespace)
        hint = "to roll back: " + (back or edit)
        if not self.how.rollback_on_failure:
            error.hint = hint  # `connected` makes it lead to this cluster
            raise error
        output.failure(error.message)
        output.step(f"rolling back the change of {change.name}")
        try:
            workspace = await observe_adapters.workspace_named(self.client, key.name, key.namespace)
            undone = await self._write(
                workspace, adapters.restoring(change.name, before, after), AdapterCheck.of_nothing()
            )
            await self._ready(undone.after)
        except KaitoctlError as second:
            error.hint = f"the rollback failed, too: {second.message}; " + hint
            raise error from second
        error.message += "; the change was rolled back; the Workspace serves as before"
        raise error


def _require_inference(workspace: Object) -> None:
    key = key_of(workspace)
    if is_being_deleted(workspace):
        raise InputError(f"Workspace {key} is being deleted; nothing was written")
    if not workspace.get("inference"):
        raise InputError(
            f"Workspace {key} serves no model: adapters belong to inference",
            hint="an adapter that it has tuned is loaded with: "
            + Command("kaitoctl add-adapter WORKSPACE --from-tuning", key.name),
        )


def _with_owner(error: ApiError, workspace: Object) -> ApiError:
    """A conflict with the name of who owns the field, and what to do about it."""
    key = key_of(workspace)
    if managers := adapters.conflicting(error):
        names = ", ".join(dict.fromkeys(managers))
        error = ApiError(
            error.status,
            error.reason,
            f"Workspace {key}: its adapters belong to {names}; nothing was written",
            details=error.details,
        )
        error.hint = (
            "change them where they are kept (a manifest: -f FILE), or take them over with "
            "--force-conflicts: all adapters stay, until that manifest is applied again, which takes away "
            "what it does not name without a word (a server-side apply meets a conflict)"
        )
        return error
    if refusal_hints.is_stale(error):
        error.hint = "others keep writing this Workspace; try again"
    return explain_refusal(error)
