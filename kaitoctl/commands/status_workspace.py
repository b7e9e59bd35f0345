"""`kaitoctl status NAME`: one Workspace with everything that it owns."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from kaitoctl.commands import follow, option_values
from kaitoctl.commands.cluster import connected
from kaitoctl.commands.observe_deeply import with_evidence
from kaitoctl.commands.observe_workspace import snapshot_of
from kaitoctl.commands.option_values import ManagedBy
from kaitoctl.commands.target import Target
from kaitoctl.errors import ApiError
from kaitoctl.kaito.view import view
from kaitoctl.kaito.view_json import as_json
from kaitoctl.kube.objects import ObjectKey
from kaitoctl.screens import output, progress_reporters, status_screen


async def show(target: Target, name: str, output_format: str, managed: ManagedBy) -> int:
    """Show a Workspace, or else the fleet of that name; returns the exit code."""
    async with connected(target) as client:
        key = ObjectKey(client.namespace, name)
        try:
            seen = await snapshot_of(client, key)
        except ApiError as error:
            if error.status != 404:
                raise
            from kaitoctl.commands.status_fleet import show_fleet  # most names are those of Workspaces

            code = await show_fleet(client, target, key, output_format)
            if code is None:
                raise
            return code
        seen = await with_evidence(client, seen, is_sandbox=target.sandbox, managed=managed)
    now = datetime.now(UTC)
    shown = view(seen, now, flags=target.flags)
    if output_format == "name":
        output.data(output.resource_name(seen.workspace or {}))
    elif option_values.is_structured(output_format):
        output.structured(as_json(shown), output_format)
    else:
        output.show(status_screen.report(shown, now, drawn=output.is_drawn(sys.stdout)))
    return 1 if shown.outcome == "failed" or shown.down else 0


async def follow_one(
    target: Target, name: str, timeout_s: float | None, record: str | None, output_format: str
) -> None:
    """Follow a Workspace until it is ready, has failed or time is up."""
    reporters = [
        progress_reporters.Objects() if output_format == "json" else progress_reporters.on(sys.stdout)
    ]
    async with connected(target) as client:
        if record is not None:
            reporters.append(progress_reporters.recording(record))
        key = ObjectKey(client.namespace, name)
        timeout_s = await follow.until_created(client, key, timeout_s)
        await follow.rollout(client, target, key, timeout_s=timeout_s, reporters=reporters)
