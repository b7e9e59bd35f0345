"""`kaitoctl edit`: a Workspace or a set in an editor; judged before it is sent, planned, and followed."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from kaitoctl.advice import Advice, Command
from kaitoctl.commands import (
    asked_context,
    certain_write,
    consent,
    files,
    follow,
    invocation,
    option_values,
    ownership_warnings,
    plan_effects,
    rollout_set,
)
from kaitoctl.commands.adapter_messages import difference
from kaitoctl.commands.cluster import connected, explain_refusal, field_manager
from kaitoctl.commands.name_lookup import fleet_named
from kaitoctl.commands.observe_adapters import workspace_named, workspace_or_set
from kaitoctl.commands.option_values import ManagedBy, Named, parse_name
from kaitoctl.commands.plan_world import setting_of
from kaitoctl.commands.rollout_options import RolloutOptions
from kaitoctl.commands.target_release import check_manager
from kaitoctl.errors import ApiError, InputError, Interrupted, KaitoctlError, NegativeAnswer
from kaitoctl.kaito import api, catalog_file, merge_request, planning
from kaitoctl.kaito.fleet import kinds
from kaitoctl.kaito.prices import read_prices
from kaitoctl.kube import request
from kaitoctl.kube.documents import load_yaml
from kaitoctl.kube.objects import (
    is_being_deleted,
    key_of,
    merge_patch_between,
    this_version,
    uid_of,
    with_type,
)
from kaitoctl.kube.yaml_writer import to_yaml
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.commands.target import Target
    from kaitoctl.kaito.catalog import Catalog
    from kaitoctl.kaito.prices import Prices
    from kaitoctl.kaito.validation import Setting
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object

_HEAD = (
    "# Lines that begin with # are ignored. An unchanged or empty file ends the edit without a change.\n"
    "# If the saved file is invalid, it opens again with the errors listed here.\n"
)
_WRONG = "# ✗ "
# What a server or a controller writes, and nobody edits.
_HIDDEN = ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink")
_ABOUT_THE_OBJECT = (400, 422)
_MOST_ROUNDS = 20  # of an editor that is a program, and makes the same mistake forever


class _EditOptions(Struct, frozen=True):
    """What is to happen with the change."""

    yes: bool
    wait: bool
    timeout_s: float | None
    managed: ManagedBy
    prices: Prices
    catalog: Catalog


class _Session(Struct):
    """The file in the editor.

    Args:
        path: of it.
        about: what is edited, as kubectl names it.
        shown: its text when the editor was opened last.
        rounds: how often it was saved.
        problems: what is wrong with it.
        is_for_a_new_one: whether that is only that it differs from what there is.
    """

    path: Path
    about: Named
    shown: str = ""
    rounds: int = 0
    problems: list[str] = field(default_factory=list)
    is_for_a_new_one: bool = False

    @property
    def kind(self) -> str:
        """Of what is edited."""
        return api.INFERENCE_SET.kind if self.about.kind == "inferenceset" else api.WORKSPACE.kind


def edit(
    *,
    name: str,
    yes: bool,
    wait: bool,
    timeout: str | None,
    managed: ManagedBy,
    catalog: str | None,
    prices: str | None,
    target: Target,
) -> None:
    """Open a Workspace or a set in $EDITOR, and apply what was changed."""
    check_manager(managed)
    timeout_s = option_values.duration_s(timeout) if timeout else None
    known = catalog_file.read(catalog)
    how = _EditOptions(yes, wait, timeout_s, managed, read_prices(prices), known)
    asked = parse_name(name)
    try:
        live, setting = invocation.answer_of(_look(target, asked, how))
        with tempfile.NamedTemporaryFile("w", prefix=f"{asked.name}-", suffix=".yaml", delete=False) as file:
            about = Named("inferenceset" if kinds.is_set(live) else "", asked.name)
            session = _Session(Path(file.name), about)
        _edit(target, live, setting, session, how)
    except KeyboardInterrupt:
        raise Interrupted(
            "interrupted", hint=target.text(Command("kaitoctl status", str(asked), *target.in_namespace))
        ) from None
    except KaitoctlError as error:
        error.hint = target.text(error.hint)
        raise


async def _look(target: Target, asked: Named, how: _EditOptions) -> tuple[Object, Setting]:
    async with connected(target) as client:
        found = await workspace_or_set(client, asked)
        live = found if isinstance(found, dict) else found.inference_set
        if is_being_deleted(live):
            raise InputError(f"{live['kind']} {key_of(live)} is being deleted; it cannot be edited")
        setting = await setting_of(client, how.managed, is_sandbox=target.sandbox)
        ownership_warnings.warn(target, live)
        return live, replace(setting, catalog=how.catalog)


async def _judged(
    target: Target, goal: Object, before: Object, setting: Setting
) -> tuple[Setting, list[str], list[str]]:
    """As a plan judges it: the setting with what the object names, why it is refused, what is to be known."""
    judge = planning.set_problems if kinds.is_set(goal) else planning.problems
    async with connected(target) as client:
        seen = await asked_context.as_webhook_sees(client, setting, goal)
        problems, warnings = judge(goal, seen, before)
        if problems:
            return seen, list(problems), []
        look_up = partial(asked_context.looked_up, client)
        missing = await asked_context.missing_references(goal, look_up, before=before)
    refused, known = asked_context.lines_of(missing, target.flags)
    return seen, refused, [*warnings, *known]


def _edit(target: Target, live: Object, setting: Setting, session: _Session, how: _EditOptions) -> None:
    """Edit until it is right, nothing is changed, or nobody wants to go on."""
    before = _editable(live)
    text = to_yaml(before)
    while True:
        text = _edit_text(session, text)
        session.is_for_a_new_one = False
        try:
            goal = _goal(text, before)
        except InputError as error:
            session.problems = [error.message]
            continue
        if goal == before:
            session.path.unlink()
            output.step("nothing was changed")
            return
        try:
            seen, session.problems, warnings = invocation.answer_of(_judged(target, goal, before, setting))
        except KaitoctlError as error:
            raise _with_file(error, session) from error
        if session.problems:
            session.is_for_a_new_one = bool(planning.immutable_only(goal, seen, before))
            continue
        for line in warnings:
            output.warning(line)
        try:
            asyncio.run(_write(target, live, goal, how))
        except ApiError as error:
            if error.status in _ABOUT_THE_OBJECT:
                session.problems = [error.message]
                continue
            raise _with_file(error, session) from error
        except KaitoctlError as error:
            raise _with_file(error, session) from error
        session.path.unlink()
        return


def _with_file(error: KaitoctlError, session: _Session) -> KaitoctlError:
    where = f"the edited {session.kind} is in {session.path}"
    error.hint = error.hint + f"; {where}" if error.hint else where
    return error


def _edit_text(session: _Session, text: str) -> str:
    """The text as it is when the editor is closed, without comments.

    Raises:
        NegativeAnswer: nobody changed what was wrong, or the file is empty.
    """
    head = _HEAD + "".join(f"{_WRONG}{line}\n" for line in session.problems)
    session.shown = text
    session.path.write_text(head + "\n" + text, encoding="utf-8")
    _open(session.path)
    edited = files.text_of(str(session.path), option="the edited file")
    kept = "".join(line for line in edited.splitlines(keepends=True) if not line.startswith("#")).lstrip("\n")
    if not kept.strip():
        session.path.unlink()
        raise NegativeAnswer("the file is empty; nothing was written")
    session.rounds += 1
    if session.problems and (kept == session.shown or session.rounds > _MOST_ROUNDS):
        raise InputError(
            f"the {session.kind} is refused; nothing was written",
            problems=session.problems,
            hint=_way(session, kept),
        )
    return kept


def _way(session: _Session, kept: str) -> Advice:
    """What can be done with what is refused."""
    apply = Command("kaitoctl apply -f", str(session.path))
    if not session.is_for_a_new_one:
        return f"the edited {session.kind} is in {session.path}; " + apply + " applies it once it is right"
    delete = Command("kaitoctl delete", str(session.about), *_namespace_in(kept))
    return f"what cannot change takes a new {session.kind}: " + delete + ", and then " + apply


def _namespace_in(text: str) -> tuple[str, ...]:
    try:
        return "-n", str(load_yaml(text, "")[0]["metadata"]["namespace"])
    except (InputError, LookupError, TypeError):
        return ()


def _open(path: Path) -> None:
    """Run the editor on the file.

    Raises:
        InputError: there is none, or it failed.
    """
    words = next(filter(None, map(os.environ.get, ("KUBE_EDITOR", "VISUAL", "EDITOR"))), "")
    if not words and not output.can_ask():
        raise InputError("there is no terminal to run an editor in", hint="EDITOR names one that needs none")
    words = words or "vi"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the editor's
    try:
        # Whoever sets the variable runs the command.
        code = subprocess.run([*shlex.split(words), str(path)], check=False).returncode  # noqa: S603
    except (OSError, ValueError) as error:
        raise InputError(
            f"the editor {words!r} cannot be run: {getattr(error, 'strerror', None) or error}",
            hint="EDITOR names another, such as EDITOR=nano",
        ) from None
    finally:
        signal.signal(signal.SIGINT, before)
    if code:
        raise InputError(f"the editor {words!r} ended with exit code {code}; nothing was written")


def _editable(live: Object) -> Object:
    metadata = {key: value for key, value in live["metadata"].items() if key not in _HIDDEN}
    return {**{key: value for key, value in live.items() if key != "status"}, "metadata": metadata}


def _goal(text: str, before: Object) -> Object:
    """The Workspace or set that the text is.

    Raises:
        InputError: it is none, or another one.
    """
    documents = load_yaml(text, "the file")
    if len(documents) != 1:
        raise InputError(f"{len(documents)} documents; one is expected")
    (goal,) = documents
    for part in ("apiVersion", "kind"):
        if goal.get(part) is None:
            raise InputError(f"{part} is missing; it was {before[part]}")
        if goal[part] != before[part]:
            raise InputError(f"{part}: {goal[part]!r} instead of {before[part]!r}")
    metadata = goal.get("metadata")
    if not isinstance(metadata, dict) or key_of({"metadata": {**metadata}}) != key_of(before):
        raise InputError(f"metadata: name and namespace are those of another object than {key_of(before)}")
    return goal


# --- write -------------------------------------------------------------------------------------------------


async def _write(target: Target, live: Object, goal: Object, how: _EditOptions) -> None:
    async with connected(target) as client:
        if kinds.is_set(live):
            await _write_set(client, target, live, goal, how)
            return
        now = await _unchanged(client, live)
        trial = await _send(client, now, goal, dry_run=True)
        output.announce(f"changes to Workspace {key_of(live)}:")
        output.differences(difference(merge_request.asked_of(now), merge_request.asked_of(trial)))
        change = await plan_effects.change_of(
            client, now, trial, how.catalog, is_sandbox=target.sandbox, managed=how.managed
        )
        consent.show_costs(target, change, how.prices)
        if change.wants_consent and not how.yes:
            consent.require_yes_or_tty(yes=False)
            await consent.confirm("Continue?")
        after = await _send(client, now, goal, dry_run=False)
        output.sentence(f"{output.resource_name(after)} edited")
        if how.wait:
            timeout_s = how.timeout_s or follow.following_s(how.catalog, after)
            await follow.rollout(
                client,
                target,
                key_of(after),
                timeout_s=timeout_s,
                catalog=how.catalog,
                managed=how.managed,
            )


async def _write_set(client: Client, target: Target, live: Object, goal: Object, how: _EditOptions) -> None:
    fleet = await fleet_named(client, key_of(live))
    now = fleet.inference_set
    if uid_of(now) != uid_of(live) or _editable(now) != _editable(live):
        raise _changed(live)
    output.announce(f"changes to InferenceSet {fleet.key}:")
    output.differences(difference(merge_request.asked_of(now), merge_request.asked_of(goal)))
    options = RolloutOptions(
        yes=how.yes,
        wait=how.wait,
        timeout_s=how.timeout_s,
        catalog=how.catalog,
        managed=how.managed,
        prices=how.prices,
    )
    patch = merge_patch_between(_editable(now), goal)
    await rollout_set.write(client, target, fleet, patch, options, words="edited", question="Continue?")


def _changed(live: Object) -> InputError:
    return InputError(
        f"{live['kind']} {key_of(live)} was changed by somebody else meanwhile; nothing was written",
        hint="edit it again",
    )


async def _unchanged(client: Client, live: Object) -> Object:
    """The Workspace as it is now, of which only the status may be another.

    Raises:
        InputError: somebody else has changed it.
    """
    now = await workspace_named(client, *reversed(key_of(live)))
    if uid_of(now) != uid_of(live) or _editable(now) != _editable(live):
        raise _changed(live)
    return now


async def _send(client: Client, now: Object, goal: Object, *, dry_run: bool) -> Object:
    """Write what differs; a status that moves meanwhile is no obstacle."""
    kind, key = api.kind_of(now), key_of(now)

    async def write(seen: Object) -> Object:
        patch = merge_patch_between(_editable(seen), goal)
        patch["metadata"] = {**(patch.get("metadata") or {}), **this_version(seen)}
        asked = request.merge_patch(kind, *key, patch, manager=field_manager(), dry_run=dry_run)
        try:
            return with_type(kind, await client.send(asked))
        except ApiError as error:
            raise explain_refusal(error, namespace=key.namespace) from error

    about = f"Workspace {key}"
    return await certain_write.while_as_seen(
        now, write, lambda: _unchanged(client, now), about=about, hint="edit it again"
    )
