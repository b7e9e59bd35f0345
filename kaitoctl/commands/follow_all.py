"""Several rollouts at once, a line for each change of any, and one summary."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from kaitoctl.advice import Command, text
from kaitoctl.commands import follow
from kaitoctl.errors import KaitoctlError, TimedOut
from kaitoctl.kube.conditions import timestamp
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.commands.option_values import ManagedBy
    from kaitoctl.commands.target import Target
    from kaitoctl.kaito.catalog import Catalog
    from kaitoctl.kaito.view import View
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object, ObjectKey

_ORDER = (3, 4, 1, 124)
"""The worst exit code first: what could not be seen, what failed, what is not there yet."""


class _Lines:
    """Who shows one of several rollouts: a line with its name for each step."""

    rest_s = 0.0

    def __init__(self, key: ObjectKey) -> None:
        self._key = key
        self._where: object = None
        self._trouble = ""

    def show(self, shown: View, now: datetime) -> None:
        """Write a line when it has moved on, or something new is wrong."""
        where = (shown.phase, shown.detail, shown.outcome)
        if where != self._where:
            self._where = where
            write = {"ready": output.success, "failed": output.failure}.get(shown.outcome or "", output.step)
            write(f"{timestamp(now)}  {self._key}  {shown.where}")
        cause = shown.cause
        if shown.trouble != self._trouble and cause is not None and cause.weight == "fault":
            output.warning(
                f"{self._key}: {cause.about}: {cause.message} [{cause.code}]",
                hint=text(cause.hint, shown.flags),
            )
        self._trouble = shown.trouble

    def close(self) -> None:
        """Nothing to do: lines stay."""


async def follow_all(
    client: Client,
    target: Target,
    workspaces: Mapping[ObjectKey, Object],
    timeout_s: float | None,
    known: Catalog,
    managed: ManagedBy,
) -> int:
    """Follow the rollouts until each is ready, has failed, or time is up.

    Args:
        client: the cluster.
        target: how it was named.
        workspaces: what is followed, as it was applied.
        timeout_s: for all of them; None goes by the budget of each.
        known: the catalog.
        managed: who manages Workspaces, as far as the user says it.

    Returns:
        The exit code of the worst.
    """

    async def one(key: ObjectKey, workspace: Object) -> KaitoctlError | None:
        limit_s = timeout_s or follow.following_s(known, workspace)
        try:
            reporters = [_Lines(key)]
            await follow.rollout(
                client,
                target,
                key,
                timeout_s=limit_s,
                catalog=known,
                reporters=reporters,
                managed=managed,
            )
        except KaitoctlError as error:
            return error
        return None

    found = await asyncio.gather(*(one(key, obj) for key, obj in workspaces.items()))
    failures = [(key, error) for key, error in zip(workspaces, found, strict=True) if error is not None]
    for key, error in failures:
        output.failure(f"Workspace {key}: {error.message}")
        output.note(target.text(error.hint or Command("kaitoctl why", key.name, "-n", key.namespace)))
    late = sum(isinstance(error, TimedOut) for _, error in failures)
    words = [f"{len(workspaces) - len(failures)} of {len(workspaces)} ready"]
    words += [f"{len(failures) - late} failed"] if len(failures) > late else []
    words += [f"{late} not ready in time"] if late else []
    (output.failure if failures else output.success)("; ".join(words))
    codes = {error.exit_code for _, error in failures}
    return next((code for code in _ORDER if code in codes), max(codes, default=0))
