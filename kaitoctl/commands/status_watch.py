"""`kaitoctl status NAME -w`: one Workspace or set, followed until it is ready, has failed or time is up."""

from __future__ import annotations

import sys
from functools import partial

from kaitoctl.advice import Command
from kaitoctl.commands import follow
from kaitoctl.commands.cluster import connected, workspace_by_name
from kaitoctl.commands.name_lookup import title_of, workspace_or_fleet
from kaitoctl.commands.option_values import ManagedBy, Named
from kaitoctl.commands.target import Target
from kaitoctl.kube.objects import ObjectKey
from kaitoctl.screens import output, progress_reporters


async def follow_named(
    target: Target,
    asked: Named,
    timeout_s: float | None,
    record: str | None,
    output_format: str,
    managed: ManagedBy,
) -> None:
    """Follow a Workspace, or else the set of that name, until it is ready, has failed or time is up."""
    async with connected(target) as client:
        key = ObjectKey(client.namespace, asked.name)
        find = partial(workspace_or_fleet, client, asked, workspace_by_name)
        found, timeout_s = await follow.until_created(find, title_of(asked, key), timeout_s)
        if not isinstance(found, tuple):
            from kaitoctl.commands import status_fleet  # most names are those of Workspaces

            await status_fleet.follow_fleet_of(client, target, key, timeout_s, record, output_format)
            return
        reporters = [
            progress_reporters.Objects() if output_format == "json" else progress_reporters.on(sys.stdout)
        ]
        if record is not None:
            reporters.append(progress_reporters.recording(record))
        await follow.rollout(client, target, key, timeout_s=timeout_s, reporters=reporters, managed=managed)
        if output.is_redrawn(sys.stdout):
            output.next_command(target.text(Command("kaitoctl endpoint", key.name, "-n", key.namespace)))
