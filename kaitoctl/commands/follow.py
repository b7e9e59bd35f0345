"""Follow a Workspace until it is ready, has failed, or time is up, and show every change.

On a terminal the picture is drawn in place, elsewhere each change is one line with its time; `Objects` writes
JSON instead, `recording` keeps it in a file for `kaitoctl replay`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from kaitoctl.advice import Command
from kaitoctl.commands import cluster
from kaitoctl.commands.loading_log import LoadingLog
from kaitoctl.commands.observe_deeply import with_controllers, with_evidence
from kaitoctl.commands.observe_workspace import WorkspaceObservation, observe_workspace
from kaitoctl.commands.option_values import NOT_SAID, ManagedBy
from kaitoctl.commands.target import Target
from kaitoctl.errors import ApiError, NegativeAnswer, TimedOut
from kaitoctl.kaito import controller_errors
from kaitoctl.kaito.catalog import SHIPPED, Catalog
from kaitoctl.kaito.rollout import Phase, Progress, progress
from kaitoctl.kaito.snapshot import Snapshot
from kaitoctl.kaito.view import view
from kaitoctl.kube.objects import ObjectKey, dig, generation_of, key_of
from kaitoctl.kube.refusal_hints import may_pass
from kaitoctl.reconcile.until_answered import until_answered
from kaitoctl.screens import layout, output, progress_reporters
from kaitoctl.screens.progress_reporters import ProgressReporter

if TYPE_CHECKING:
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object

Found = TypeVar("Found")

_NOBODY_MANAGES = "controller-not-running"
_LOOK_AGAIN_S = 1.0  # ages grow, and some causes are only a matter of time


async def rollout(
    client: Client,
    target: Target,
    key: ObjectKey,
    *,
    timeout_s: float | None,
    catalog: Catalog = SHIPPED,
    has_arrived: Callable[[Snapshot], bool] = lambda seen: True,
    is_from_before: Callable[[Snapshot], bool] = lambda seen: False,
    reporters: Sequence[ProgressReporter] | None = None,
    managed: ManagedBy = NOT_SAID,
    written: int | None = None,
) -> Snapshot:
    """Show the rollout of the Workspace's present generation; returns what there is once it is ready.

    Somebody else may change it meanwhile: then what is ready is that change, and a warning says so.

    Args:
        client: the cluster.
        target: how the cluster was named; advice uses the same options.
        key: the Workspace's.
        timeout_s: how long to follow; None forever.
        catalog: of presets and instance types.
        has_arrived: whether a state that says ready is the new one, not the one from before.
        is_from_before: whether a state that says failed is an old one.
        reporters: what shows it; by default one on stderr.
        managed: who manages the Workspace, as far as the user says it: the cause of a failure goes by it.
        written: the generation that the caller wrote; None for the one that is seen first.

    Raises:
        InputError: there is no such Workspace.
        NegativeAnswer: it failed.
        TimedOut: it is still progressing; nothing was undone.
    """
    showing = [progress_reporters.on(sys.stderr)] if reporters is None else reporters
    last = _LastSeen(LoadingLog(client), generation=written)
    try:
        async with asyncio.timeout(timeout_s):
            async with observe_workspace(client, key, catalog=catalog) as observed:
                seen = await _until_ready(
                    client, target, observed, has_arrived, is_from_before, showing, last, managed
                )
    except TimeoutError:
        raise TimedOut(
            f"Workspace {key} is not ready after {layout.elapsed(timeout_s or 0)}; last seen {last.where}",
            hint="no controller manages it, so nothing will happen: "
            + Command("kaitoctl why", *_name_options(key))
            if last.nobody_manages
            else "nothing was undone; follow it again: "
            + Command("kaitoctl status", *_name_options(key), "-w"),
        ) from None
    finally:
        last.log.close()
        for reporter in showing:
            reporter.close()
    _say_whose(seen, last.generation)
    return seen


def _say_whose(seen: Snapshot, followed: int | None) -> None:
    """Warn when what is ready is not what was followed."""
    assert seen.workspace is not None
    now = generation_of(seen.workspace)
    if followed is not None and now > followed:
        output.warning(
            f"Workspace {key_of(seen.workspace)} was changed by somebody else meanwhile "
            f"(generation {followed} -> {now}): what is ready is that change"
        )


async def until_created(
    find: Callable[[], Awaitable[Found]], about: str, timeout_s: float | None
) -> tuple[Found, float | None]:
    """What is yet to be created, once it is, and what is left of the time.

    Args:
        find: what there is of the name; raises while there is nothing.
        about: what is waited for, in words.
        timeout_s: how long to wait at most; None does not wait: a wrong name would never be said.

    Raises:
        ApiError: there is none and it is not waited for, or the cluster does not let us look.
        TimedOut: there is still none.
    """
    began = asyncio.get_running_loop().time()
    found = await _found(find)
    if isinstance(found, ApiError) and timeout_s is None:
        found.hint = found.hint + "; --timeout DURATION waits for one that is yet to be created"
        raise found
    if isinstance(found, ApiError):
        words, missing = layout.elapsed(timeout_s or 0), found
        output.step(f"{about} does not exist yet; waiting for it, for {words} at most")
        try:
            async with asyncio.timeout(timeout_s):
                while isinstance(found, ApiError):
                    await asyncio.sleep(_LOOK_AGAIN_S)
                    found = await until_answered(
                        lambda: _found(find), doing=about, is_final=lambda error: not may_pass(error)
                    )
        except TimeoutError:
            raise TimedOut(f"{about} was not created within {words}", hint=missing.hint) from None
    waited_s = asyncio.get_running_loop().time() - began
    return found, None if timeout_s is None else max(timeout_s - waited_s, _LOOK_AGAIN_S)


async def _found(find: Callable[[], Awaitable[Found]]) -> Found | ApiError:
    """What there is; why there is nothing, while there is nothing of the name."""
    try:
        return await find()
    except ApiError as error:
        if error.status != 404 or error.is_unknown_resource or error.reason != "NotFound":
            raise
        return error


@dataclass
class _LastSeen:
    """What was seen last, for whoever has waited in vain, and the log that is read beside."""

    log: LoadingLog
    where: str = "nothing: the cluster does not show it"
    nobody_manages: bool = False
    generation: int | None = None


def _name_options(key: ObjectKey) -> tuple[str, ...]:
    return key.name, "-n", key.namespace


async def _until_ready(
    client: Client,
    target: Target,
    observed: WorkspaceObservation,
    has_arrived: Callable[[Snapshot], bool],
    is_from_before: Callable[[Snapshot], bool],
    reporters: Sequence[ProgressReporter],
    last: _LastSeen,
    managed: ManagedBy,
) -> Snapshot:
    key = observed.key
    if observed.snapshot().workspace is None:
        raise await cluster.no_such(client, observed.kind, key)
    knows_controllers = False
    while True:
        await observed.follow_nodes()
        seen, now = observed.snapshot(), datetime.now(UTC)
        if seen.workspace is None:
            raise NegativeAnswer(f"Workspace {key} has been deleted")
        if last.generation is None:
            last.generation = generation_of(seen.workspace)
        where = progress(seen)
        is_old = where.outcome == "ready" and not has_arrived(seen)
        is_refused = controller_errors.is_given_up(seen.workspace, is_ours=seen.is_ours)
        if is_old or (where.outcome == "failed" and not is_refused and is_from_before(seen)):
            where = Progress(Phase.ACCEPTED, "the old pods are still running")
        if where.outcome == "failed":
            seen = await with_evidence(client, seen, is_sandbox=target.sandbox, managed=managed)
        text = last.log.text(seen)
        shown = view(seen, now, at=where, flags=target.flags, log=text)
        if not knows_controllers and shown.cause is not None and shown.cause.code == _NOBODY_MANAGES:
            knows_controllers = True  # what to do about it depends on which controllers there are
            seen = await with_controllers(client, seen)
            shown = view(seen, now, at=where, flags=target.flags, log=text)
        last.where = shown.where
        last.nobody_manages = shown.cause is not None and shown.cause.code == _NOBODY_MANAGES
        for reporter in reporters:
            reporter.show(shown, now)
        if shown.outcome == "ready":
            return seen
        if shown.outcome == "failed":
            how = "" if shown.phase is Phase.REFUSED else "the rollout failed while "
            raise NegativeAnswer(
                f"Workspace {key}: {how}{shown.where}",
                hint=Command("kaitoctl why", *_name_options(key)),
            )
        await observed.change(rest_s=max(one.rest_s for one in reporters), within_s=_LOOK_AGAIN_S)


_TUNING_S = 24 * 3600.0


def following_s(known: Catalog, workspace: Object) -> float:
    """How long to follow a rollout if nobody says; how long tuning takes depends on its data."""
    if workspace.get("tuning"):
        return _TUNING_S
    return known.from_nothing_s(str(dig(workspace, "inference", "preset", "name") or ""))
