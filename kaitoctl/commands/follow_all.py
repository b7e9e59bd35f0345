"""Several rollouts at once, drawn together on a terminal, else a line for each change; and one summary."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from kaitoctl.advice import Command
from kaitoctl.commands import follow
from kaitoctl.errors import ExitCode, KaitoctlError, TimedOut
from kaitoctl.screens import output
from kaitoctl.screens.progress_reporters import Lines, ProgressReporter, Together, on

if TYPE_CHECKING:
    from kaitoctl.commands.option_values import ManagedBy
    from kaitoctl.commands.target import Target
    from kaitoctl.kaito.catalog import Catalog
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object, ObjectKey

_ORDER = (ExitCode.UNREACHABLE, ExitCode.REFUSED, ExitCode.NEGATIVE, ExitCode.TIMED_OUT)
"""The worst exit code first: what could not be seen, what failed, what is not there yet."""


def _reporters(keys: Sequence[ObjectKey]) -> dict[ObjectKey, ProgressReporter]:
    """What shows each: one alone as everywhere."""
    if output.is_redrawn(sys.stderr):
        if len(keys) == 1:
            return {keys[0]: on(sys.stderr)}
        together = Together(sys.stderr, list(map(str, keys)))
        return {key: together.of(str(key)) for key in keys}
    unseen = set[str]()
    return {key: Lines(str(key), unseen=unseen) for key in keys}


async def follow_all(
    client: Client,
    target: Target,
    workspaces: Mapping[ObjectKey, Object],
    generations: Mapping[ObjectKey, int],
    timeout_s: float | None,
    known: Catalog,
    managed: ManagedBy,
) -> int:
    """Follow the rollouts until each is ready, has failed, or time is up.

    Args:
        client: the cluster.
        target: how it was named.
        workspaces: what is followed, as it was applied.
        generations: of those that were written.
        timeout_s: for all of them; None goes by the budget of each.
        known: the catalog.
        managed: who manages Workspaces, as far as the user says it.

    Returns:
        The exit code of the worst.
    """
    reporters = _reporters(list(workspaces))

    async def one(key: ObjectKey, workspace: Object) -> KaitoctlError | None:
        limit_s = timeout_s or follow.following_s(known, workspace)
        try:
            await follow.rollout(
                client,
                target,
                key,
                timeout_s=limit_s,
                catalog=known,
                reporters=[reporters[key]],
                managed=managed,
                written=generations.get(key),
            )
        except KaitoctlError as error:
            return error
        return None

    found = await asyncio.gather(*(one(key, obj) for key, obj in workspaces.items()))
    failures = [(key, error) for key, error in zip(workspaces, found, strict=True) if error is not None]
    for key, error in failures:
        is_named = error.message.startswith(f"Workspace {key}")
        output.failure(error.message if is_named else f"Workspace {key}: {error.message}")
        output.note(target.text(error.hint or Command("kaitoctl why", key.name, "-n", key.namespace)))
    late = sum(isinstance(error, TimedOut) for _, error in failures)
    words = [f"{len(workspaces) - len(failures)} of {len(workspaces)} ready"]
    words += [f"{len(failures) - late} failed"] if len(failures) > late else []
    words += [f"{late} not ready in time"] if late else []
    (output.failure if failures else output.success)("; ".join(words))
    return worst(error.exit_code for _, error in failures)


def worst(codes: Iterable[int]) -> int:
    """The exit code of several commands in one; 0 of none."""
    found = set(codes)
    return next((code for code in _ORDER if code in found), max(found, default=0))
