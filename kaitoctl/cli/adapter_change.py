"""One adapter of a Workspace: look -> judge -> show -> ask -> write -> follow -> prove, or take back.

`add-adapter`, `set-adapter` and `remove-adapter` differ in the change alone; what a change is, and how it is
written so that nobody's adapter is lost, is in `kaito.adapters`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from kaitoctl.cli import adapter_look as look
from kaitoctl.cli import adapter_words as words
from kaitoctl.cli import consent, options, output, owner_words, pull_secrets
from kaitoctl.cli.connect import Target, connected
from kaitoctl.cli.create_workspace import FIELD_MANAGER, budget_s, explained, served_versions
from kaitoctl.errors import ApiError, InputError, Interrupted, KaitoctlError, NegativeAnswer, TimedOut

if TYPE_CHECKING:
    from kaitoctl.kaito.adapters import Change, Written
    from kaitoctl.kaito.snapshot import Snapshot
    from kaitoctl.kaito.validation import Problem, Setting
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object
    from kaitoctl.kube.request import Request

Filename = Annotated[
    str | None,
    typer.Option(
        "--filename",
        "-f",
        help="Edit this manifest, comments and all, instead of a cluster; - reads stdin and writes stdout.",
        metavar="FILE",
    ),
]
DryRun = Annotated[
    str,
    typer.Option("--dry-run", help="none, client (send nothing) or server (let it judge).", metavar="MODE"),
]
OutputFormat = Annotated[
    str | None,
    typer.Option("--output", "-o", help="Print the Workspace as yaml, json or name.", metavar="FORMAT"),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; wanted where nobody can be asked.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the rollout until it is ready.")]
Timeout = Annotated[
    str | None,
    typer.Option("--timeout", help="How long to follow (default: the preset's budget and 10m)."),
]
ForceConflicts = Annotated[
    bool,
    typer.Option("--force-conflicts", help="Take the adapters over from another manager; its adapters stay."),
]
RollbackOnFailure = Annotated[
    bool,
    typer.Option("--rollback-on-failure", help="Take the change back when it does not become ready."),
]
TargetVersion = Annotated[
    str | None,
    typer.Option(
        "--target-version",
        help="KAITO version: v0.3, v0.4, v0.12 or kaitoctl (default: what the cluster shows).",
        metavar="VERSION",
    ),
]


@dataclass(frozen=True, slots=True)
class How:
    """What is to happen with a change.

    Args:
        dry_run: `none`, `client` or `server`.
        output: `yaml`, `json`, `name` or None.
        yes: whether not to ask.
        wait: whether to follow the rollout.
        timeout_s: for how long; None goes by the preset.
        force_conflicts: whether to take the field over.
        rollback_on_failure: whether to take the change back when it fails.
        target_version: of KAITO; None asks the cluster.
    """

    dry_run: str = "none"
    output: str | None = None
    yes: bool = False
    wait: bool = True
    timeout_s: float | None = None
    force_conflicts: bool = False
    rollback_on_failure: bool = False
    target_version: str | None = None


Make = Callable[["Object", str, "Object | None"], "Change"]
"""Given the Workspace, what manages it (a KAITO version or `kaitoctl`), the tuning Workspace: the change."""


def how(
    *,
    dry_run: str,
    output_format: str | None,
    yes: bool,
    wait: bool,
    timeout: str | None,
    force_conflicts: bool,
    rollback_on_failure: bool,
    target_version: str | None,
) -> How:
    """The options as one value.

    Raises:
        InputError: one of them is none, or two contradict each other.
    """
    options.one_of(dry_run, ("none", "client", "server"), option="--dry-run")
    if output_format is not None:
        options.one_of(output_format, ("yaml", "json", "name"), option="--output")
    if target_version is not None:
        from kaitoctl.cli.validate import target_option

        target_version = target_option(target_version)
    if rollback_on_failure and not wait:
        raise InputError("--rollback-on-failure and --no-wait: who does not wait sees no failure")
    return How(
        dry_run,
        output_format,
        yes,
        wait,
        options.duration_s(timeout) if timeout else None,
        force_conflicts,
        rollback_on_failure,
        target_version,
    )


def run(
    target: Target,
    name: str | None,
    make: Make,
    settings: How,
    *,
    filename: str | None = None,
    tuning: str | None = None,
) -> None:
    """Carry a change out.

    Args:
        target: the cluster.
        name: of the Workspace.
        make: the change.
        settings: what is to happen with it.
        filename: of a manifest to edit instead of a cluster.
        tuning: the name of a tuning Workspace, which the change asks for.

    Raises:
        KaitoctlError: it was not, or its rollout failed.
    """
    if filename is not None:
        from kaitoctl.cli import adapter_file

        if tuning is not None:
            hint = "kubectl get workspace NAME -o jsonpath={.tuning.output.image} shows the image for --image"
            raise InputError("--from-tuning asks a cluster, and -f edits a file", hint=hint)
        adapter_file.edit(filename, name, target.namespace, make, settings)
        return
    if not name:
        raise InputError("which Workspace? Its name is missing", hint="or edit a manifest with -f FILE")
    name = options.workspace_name(name)
    tuning = None if tuning is None else options.workspace_name(tuning)
    try:
        asyncio.run(_run(target, name, make, settings, tuning))
    except KeyboardInterrupt:
        hint = f"what was written goes on; see: kaitoctl list-adapters {name}{target.in_namespace()}"
        raise Interrupted("interrupted", hint=target.addressed(hint)) from None


async def _run(target: Target, name: str, make: Make, settings: How, tuning: str | None) -> None:
    async with connected(target) as client:
        await _Changing(client, target, settings).carry_out(name, make, tuning)


@dataclass(frozen=True, slots=True)
class _Changing:
    """One change, from the first look to the proof."""

    client: Client
    target: Target
    how: How

    async def carry_out(self, name: str, make: Make, tuning: str | None) -> None:
        from kaitoctl.kaito import adapters

        workspace = await look.workspace_named(self.client, name)
        _insist_on_inference(workspace)
        owner_words.warn(self.target, workspace)
        pods = await look.pods_of(self.client, workspace) or []
        setting = await self._setting(workspace)
        tuned = None if tuning is None else await look.workspace_named(self.client, tuning)
        change = make(workspace, setting.target_of(workspace), tuned)
        present = adapters.entries_of(workspace)
        wanted = change.on(present)
        if wanted == present:
            _print(workspace, self.how, "unchanged")
            return
        if self.how.dry_run == "none":
            consent.insist_that_it_can_be_given(yes=self.how.yes)
        check = _Check(setting, pods)
        check(workspace, adapters.with_entries(workspace, wanted))
        check.tell()
        await self._insist_on_secrets(workspace, change, wanted)
        after = adapters.with_entries(workspace, wanted)
        if self.how.dry_run != "client":
            after = (await self._written(workspace, change, check, dry_run=True)).after
        await self._show(workspace, after, pods)
        if self.how.dry_run != "none":
            _print(after, self.how, f"configured ({self.how.dry_run} dry run)")
            return
        if not self.how.yes:
            await consent.insist("Go on?")
        done = await self._written(workspace, change, check)
        if done.tries > 1:
            output.step("somebody else changed the Workspace meanwhile; their change is kept")
        _print(done.after, self.how, "configured" if done.after is not done.before else "unchanged")
        if self.how.wait:
            await self._follow(done, change)

    # --- before ----------------------------------------------------------------------------------------

    async def _setting(self, workspace: Object) -> Setting:
        from kaitoctl.cli.validate_on_cluster import kaito_version
        from kaitoctl.kaito import validation

        if self.how.target_version is not None:
            return validation.Setting(self.how.target_version)
        if self.target.sandbox or look.is_ours(workspace):
            return validation.Setting(validation.OWN)
        version = await kaito_version(self.client, await served_versions(self.client))
        return validation.Setting(version)

    async def _insist_on_secrets(self, workspace: Object, change: Change, wanted: list[Object]) -> None:
        """A missing pull secret shows only as a failed pull, when the old pod is gone already."""
        from kaitoctl.kaito import adapters
        from kaitoctl.kube.objects import dig, key_of

        entry = next((item for item in wanted if adapters.name_of(item) == change.name), None)
        names = dig(entry, "source", "imagePullSecrets") or ()
        await pull_secrets.insist_on(
            self.client,
            key_of(workspace).namespace,
            [(f"adapter {change.name}", str(name)) for name in names],
        )

    async def _written(
        self, workspace: Object, change: Change, check: _Check, *, dry_run: bool = False
    ) -> Written:
        from kaitoctl.kaito import adapters

        writing = adapters.writing(
            workspace,
            change,
            manager=FIELD_MANAGER,
            force=self.how.force_conflicts,
            dry_run=dry_run,
            check=check,
        )
        try:
            return await _driven(self.client, writing)
        except ApiError as error:
            raise _worded(error, workspace) from error

    # --- show ------------------------------------------------------------------------------------------

    async def _show(self, before: Object, after: Object, pods: Sequence[Object]) -> None:
        """The Workspace's change, what it makes of the workload, and what that costs."""
        from kaitoctl.kube.objects import key_of

        output.step(f"Workspace {key_of(before)}")
        output.differences(words.difference(words.adapters_of(before), words.adapters_of(after)))
        try:
            workload = await look.workload_of(self.client, before)
        except ApiError as error:
            if error.status != 403:
                raise
            output.warning(f"how many pods restart cannot be seen: {error}")
            return
        if workload is None:
            output.step("no pod runs yet: nothing restarts")
            return
        named = f"{workload['kind']} {key_of(workload)}"
        if not look.is_made_by_us(workload):
            output.step(f"{named} belongs to another controller, which makes its pods anew")
        elif changes := words.made_of_it(before, after, workload):
            output.step(named)
            output.differences(changes)
        output.warning(words.outage(before, workload, pods))

    # --- after -----------------------------------------------------------------------------------------

    async def _follow(self, done: Written, change: Change) -> None:
        from kaitoctl.kaito import adapter_rollout

        try:
            seen = await self._ready(done.after)
            workspace = seen.workspace or done.after  # others may have changed it since
            pods = None if "pods" in seen.unseen else adapter_rollout.current(seen.pods)
            rows, why = await look.proof(self.client, workspace, pods)
            if self.how.output is None:
                words.show_rows(rows)
                if why:
                    output.note(why)
            if idle := [row.name for row in rows if row.loaded is False and row.is_asked_for]:
                raise NegativeAnswer(
                    f"the model server serves without {', '.join(idle)}: in /data of the image must be an "
                    "adapter_config.json"
                )
        except ApiError as error:
            error.message = f"the change was written, and cannot be followed: {error.message}"
            raise
        except TimedOut as error:
            await self._taken_back(done, change, error)
        except NegativeAnswer as error:
            meaning = await self._explained(done.after, error)
            await self._taken_back(done, change, NegativeAnswer(meaning))
        else:
            output.success(words.proven(rows))

    async def _ready(self, workspace: Object) -> Snapshot:
        """Follow until the pods serve with the adapters that the Workspace says."""
        from kaitoctl.cli import follow
        from kaitoctl.kaito import adapter_rollout
        from kaitoctl.kube.objects import key_of

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
            timeout_s=self._budget_s(workspace),
            has_arrived=has_arrived,
            is_from_before=is_from_before,
        )

    def _budget_s(self, workspace: Object) -> float:
        from kaitoctl.kaito.catalog import current
        from kaitoctl.kube.objects import dig

        if self.how.timeout_s is not None:
            return self.how.timeout_s
        return budget_s(current(), str(dig(workspace, "inference", "preset", "name") or ""))

    async def _explained(self, workspace: Object, error: NegativeAnswer) -> str:
        """The root cause in one sentence; its evidence and the command that mends it are told at once."""
        from datetime import UTC, datetime

        from kaitoctl.cli import look as look_
        from kaitoctl.kaito import nodes as nodes_
        from kaitoctl.kaito.diagnosis import diagnose
        from kaitoctl.kube.objects import key_of

        key = key_of(workspace)
        rules = nodes_.OWN_RULES if self.target.sandbox else None
        try:
            seen = await look_.deeply(self.client, await look_.once(self.client, key), rules=rules)
        except KaitoctlError:  # what is known already must not be lost for it
            return error.message
        cause = diagnose(seen, datetime.now(UTC), addressed=self.target.addressed).cause
        if cause is None:
            return error.message
        for source, text in cause.evidence:
            output.note(words.shortened(f"{source}: {text}"))
        if cause.command:
            output.note(f"try: {cause.command}")
        return f"Workspace {key}: {cause.message}"

    async def _taken_back(self, done: Written, change: Change, error: KaitoctlError) -> None:
        """Say how to take the change back, or do it.

        Raises:
            KaitoctlError: always: `error`, with what became of it.
        """
        from kaitoctl.kaito import adapters
        from kaitoctl.kube.objects import key_of

        before, after = (adapters.entry_of(item, change.name) for item in (done.before, done.after))
        key = key_of(done.after)
        back = adapters.way_back(key.name, change.name, before, words.where_options(self.target, done.after))
        hint = (
            f"to go back: {back}"
            if back
            else f"to go back: kubectl edit workspace {key.name} -n {key.namespace}"
        )
        if not self.how.rollback_on_failure:
            error.hint = hint  # `connected` makes it lead to this cluster
            raise error
        output.failure(error.message)
        output.step(f"taking the change of {change.name} back")
        try:
            workspace = await look.workspace_named(self.client, key.name, key.namespace)
            undone = await self._written(
                workspace, adapters.restoring(change.name, before, after), _Check.of_nothing()
            )
            await self._ready(undone.after)
        except KaitoctlError as second:
            error.hint = f"taking it back failed, too: {second.message}; {hint}"
            raise error from second
        error.message += "; the change was taken back, and the Workspace serves as before"
        raise error


class _Check:
    """Judges a Workspace before each try to write it.

    Args:
        setting: where it lives.
        pods: its pods, which show by what they are served.
    """

    def __init__(self, setting: Setting | None, pods: Sequence[Object]) -> None:
        self._setting = setting
        self._pods = pods
        self._warnings: list[Problem] = []

    @classmethod
    def of_nothing(cls) -> _Check:
        """What was there before may come again, whatever is thought of it."""
        return cls(None, ())

    def __call__(self, before: Object, after: Object) -> None:
        if self._setting is None:
            return
        from kaitoctl.kaito import adapter_rollout, adapters
        from kaitoctl.kube.objects import key_of

        on_vllm = adapter_rollout.is_on_vllm(self._pods, before)
        problems = adapters.faults(before, after, self._setting, is_on_vllm=on_vllm)
        insist(problems, f"Workspace {key_of(before)}")
        self._warnings = [problem for problem in problems if problem.severity == "warning"]

    def tell(self) -> None:
        """What is worth knowing of the Workspace judged last."""
        for problem in self._warnings:
            output.warning(f"{problem.path}: {problem.message}", hint=problem.hint)


def insist(problems: Sequence[Problem], what: str) -> None:
    """Let nothing pass that is wrong.

    Raises:
        InputError: with all errors.
    """
    errors = [problem for problem in problems if problem.severity == "error"]
    lines = [f"{item.path}: {item.message}" if item.path else item.message for item in errors]
    if len(errors) == 1:
        raise InputError(f"{what}: {lines[0]}; nothing was written", hint=errors[0].hint)
    if errors:
        hinted = [
            line + (f" ({item.hint})" if item.hint else "") for line, item in zip(lines, errors, strict=True)
        ]
        raise InputError(f"{what}: nothing was written", problems=hinted)


def _insist_on_inference(workspace: Object) -> None:
    from kaitoctl.kube.objects import is_being_deleted, key_of

    key = key_of(workspace)
    if is_being_deleted(workspace):
        raise InputError(f"Workspace {key} is being deleted; nothing was written")
    if not workspace.get("inference"):
        raise InputError(
            f"Workspace {key} serves no model: adapters belong to inference",
            hint="an adapter that it has tuned is loaded with: kaitoctl add-adapter WORKSPACE --from-tuning "
            f"{key.name}",
        )


def _worded(error: ApiError, workspace: Object) -> ApiError:
    """A conflict with the name of who owns the field, and what to do about it."""
    from kaitoctl.kaito import adapters
    from kaitoctl.kube.objects import key_of

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
    if adapters.is_stale(error):
        error.hint = "others write this Workspace all the time; try again"
    return explained(error)


def _print(workspace: Object, how: How, word: str) -> None:
    if how.output is None:
        output.data(f"{output.resource_name(workspace)} {word}")
        return
    metadata = {key: value for key, value in workspace["metadata"].items() if key != "managedFields"}
    output.objects([{**workspace, "metadata": metadata}], how.output)
    if how.output != "name":
        output.success(f"{output.resource_name(workspace)} {word}")


async def _driven(client: Client, steps: Generator[Request, Object, Written]) -> Written:
    """Carry out what a generator asks for."""
    try:
        asked = next(steps)
        while True:
            try:
                answer = await client.send(asked)
            except ApiError as error:
                asked = steps.throw(error)
            else:
                asked = steps.send(answer)
    except StopIteration as stop:
        written: Written = stop.value
        return written
