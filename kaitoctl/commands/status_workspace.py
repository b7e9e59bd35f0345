"""`kaitoctl status NAME`: one Workspace with everything that it owns."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kaitoctl.commands import loading_log, option_values
from kaitoctl.commands.cluster import connected
from kaitoctl.commands.observe_deeply import with_evidence
from kaitoctl.commands.observe_workspace import snapshot_of
from kaitoctl.commands.option_values import ManagedBy, Named
from kaitoctl.commands.target import Target
from kaitoctl.errors import ApiError, ExitCode
from kaitoctl.kaito.view import view
from kaitoctl.kaito.view_json import as_json
from kaitoctl.kube.objects import ObjectKey
from kaitoctl.screens import output, status_screen

if TYPE_CHECKING:
    from kaitoctl.kaito.snapshot import Snapshot
    from kaitoctl.kube.client import Client


async def show(target: Target, asked: Named, output_format: str, managed: ManagedBy) -> int:
    """Show a Workspace, or else the fleet of that name; returns the exit code."""
    async with connected(target) as client:
        key = ObjectKey(client.namespace, asked.name)
        seen, refusal = await _looked_for(client, asked, key)
        if seen is None:
            from kaitoctl.commands import status_fleet  # most names are those of Workspaces

            code = await status_fleet.show_fleet(client, target, key, output_format)
            if code is None:
                raise refusal or await status_fleet.missing(client, key)
            return code
        log = loading_log.read(client, seen)
        evidence = with_evidence(client, seen, is_sandbox=target.sandbox, managed=managed)
        known, text = await asyncio.gather(evidence, log)
    now = datetime.now(UTC)
    shown = view(known, now, flags=target.flags, log=text)
    if output_format == "name":
        output.data(output.resource_name(known.workspace or {}))
    elif option_values.is_structured(output_format):
        output.write_structured(as_json(shown), output_format)
    else:
        output.show(status_screen.report(shown, now, drawn=output.is_drawn(sys.stdout)))
    return ExitCode.NEGATIVE if shown.outcome == "failed" or shown.down else ExitCode.DONE


async def _looked_for(
    client: Client, asked: Named, key: ObjectKey
) -> tuple[Snapshot, None] | tuple[None, ApiError | None]:
    """The Workspace of a name; or why there is none, when another kind may have that name."""
    if asked.kind in ("inferenceset", "multiroleinference"):
        return None, None
    try:
        return await snapshot_of(client, key), None
    except ApiError as error:
        if error.status != 404 or asked.kind:
            raise
        return None, error
