"""`kaitoctl events`: the events of a Workspace and everything it owns, or of a set and its replicas."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kaitoctl.commands import cluster, event_rows, listing, option_values
from kaitoctl.commands.cluster import connected
from kaitoctl.commands.name_lookup import each, say_missing, workspace_or_fleet
from kaitoctl.commands.observe_deeply import with_evidence
from kaitoctl.commands.observe_workspace import observe_workspace, snapshot_of
from kaitoctl.commands.option_values import Named
from kaitoctl.commands.target import Target
from kaitoctl.errors import Interrupted
from kaitoctl.kaito.snapshot import Snapshot
from kaitoctl.kube.objects import key_of
from kaitoctl.screens import output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kaitoctl.kaito.fleet.view import Fleet
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object, ObjectKey


def events(*, names: Sequence[str], warnings: bool, watch: bool, output_format: str, target: Target) -> None:
    """Show the events of Workspaces, their workloads, pods, NodeClaims and nodes, oldest first."""
    option_values.output_format(output_format, listing.FORMATS)
    asked = option_values.parse_names(names)
    try:
        asyncio.run(_events(target, asked, warnings, watch, output_format))
    except KeyboardInterrupt:
        raise Interrupted("interrupted") from None


async def _events(
    target: Target, names: Sequence[Named], warnings: bool, watch: bool, output_format: str
) -> None:
    async with connected(target) as client:
        found, missing = await each(names, lambda asked: workspace_or_fleet(client, asked, snapshot_of))
        if watch and not missing:
            await asyncio.gather(*(_followed(client, one, warnings, output_format) for _, one in found))
        elif found:
            events = await asyncio.gather(*(_events_of(client, one) for _, one in found))
            every = (event for some in events for event in some)
            event_rows.show(event_rows.selection(every, warnings), output_format)
        say_missing(missing)


async def _events_of(client: Client, found: Snapshot | Fleet) -> Sequence[Object]:
    if not isinstance(found, Snapshot):
        from kaitoctl.commands import events_fleet  # most names are those of Workspaces

        return await events_fleet.events_of(client, found)
    seen = await with_evidence(client, found)
    if "events" in seen.unseen:
        output.warning(f"events cannot be listed: {seen.unseen['events']}")
    return seen.events


async def _followed(client: Client, found: Snapshot | Fleet, warnings: bool, output_format: str) -> None:
    if not isinstance(found, Snapshot):
        from kaitoctl.commands import events_fleet  # most names are those of Workspaces

        await events_fleet.follow(client, found, warnings, output_format)
        return
    assert found.workspace is not None
    await _follow(client, key_of(found.workspace), warnings, output_format)


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
