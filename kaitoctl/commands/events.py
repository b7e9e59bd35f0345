"""`kaitoctl events`: the events of a Workspace and everything it owns, or of a set and its replicas."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kaitoctl.commands import cluster, event_rows, option_values
from kaitoctl.commands.cluster import connected
from kaitoctl.commands.named import workspace_or_fleet
from kaitoctl.commands.observe_deeply import with_evidence
from kaitoctl.commands.observe_workspace import observe_workspace, snapshot_of
from kaitoctl.commands.option_values import Named, named
from kaitoctl.commands.target import Target
from kaitoctl.errors import Interrupted
from kaitoctl.kaito.snapshot import Snapshot
from kaitoctl.kube.objects import key_of
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import ObjectKey


def events(*, name: str, warnings: bool, watch: bool, output_format: str, target: Target) -> None:
    """Show the events of a Workspace, its workload, pods, NodeClaims and nodes, oldest first."""
    option_values.output_format(output_format, ("table", "wide", "json", "yaml"))
    try:
        asyncio.run(_events(target, named(name), warnings, watch, output_format))
    except KeyboardInterrupt:
        raise Interrupted("interrupted") from None


async def _events(target: Target, asked: Named, warnings: bool, watch: bool, output_format: str) -> None:
    async with connected(target) as client:
        found = await workspace_or_fleet(client, asked, snapshot_of)
        if not isinstance(found, Snapshot):
            from kaitoctl.commands import events_fleet  # most names are those of Workspaces

            await events_fleet.show(client, found, warnings, output_format, watch=watch)
        elif watch:
            assert found.workspace is not None
            await _follow(client, key_of(found.workspace), warnings, output_format)
        else:
            seen = await with_evidence(client, found)
            if "events" in seen.unseen:
                output.warning(f"events cannot be listed: {seen.unseen['events']}")
            event_rows.show(event_rows.selection(seen.events, warnings), output_format)


async def _follow(client: Client, key: ObjectKey, warnings: bool, output_format: str) -> None:
    output.end_unread()
    shown: set[event_rows.Row] = set()
    async with observe_workspace(client, key) as observed:
        if observed.snapshot().workspace is None:
            raise await cluster.no_such(client, observed.kind, key)
        while True:
            found = event_rows.selection(observed.snapshot().events, warnings)
            event_rows.show_new(found, shown, output_format)
            await observed.change()
