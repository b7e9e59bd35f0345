"""`kaitoctl events` of an InferenceSet: its own, and those of its replicas and what they own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from kaitoctl.commands import event_rows
from kaitoctl.commands.observe_fleet import fleet_at
from kaitoctl.errors import ApiError
from kaitoctl.kaito import api
from kaitoctl.kube.objects import EVENT, dig
from kaitoctl.reconcile.informer import Informer
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.kaito.fleet.view import Fleet
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object


async def events_of(client: Client, fleet: Fleet) -> list[Object]:
    """The events of the namespace that are about the set or a replica."""
    try:
        listed = (await client.list(EVENT, fleet.key.namespace)).items
    except ApiError as error:
        if error.status not in (401, 403):
            raise
        output.warning(f"events cannot be listed: {error}")
        listed = []
    return [event for event in listed if _is_about(event, fleet.key.name, _names(fleet))]


def _names(fleet: Fleet) -> set[str]:
    return {one.name for one in fleet.replicas}


def _is_about(event: Object, name: str, replicas: Iterable[str]) -> bool:
    """Whether an event is about the set, a replica, or what is called after a replica: what it owns."""
    about = str(dig(event, "involvedObject", "name") or "")
    if dig(event, "involvedObject", "kind") == api.INFERENCE_SET.kind:
        return about == name
    return any(about == one or about.startswith((f"{one}-", f"{one}.")) for one in replicas)


async def follow(client: Client, fleet: Fleet, warnings: bool, output_format: str) -> None:
    """Show new events until cancelled; replicas that come are found when the first event names them."""
    output.end_unread()
    key, replicas, shown = fleet.key, _names(fleet), set[event_rows.Row]()
    changed = asyncio.Event()

    def kept(event: Object) -> Object | None:
        return event if str(dig(event, "involvedObject", "name") or "").startswith(key.name) else None

    informer = Informer(client, EVENT, namespace=key.namespace, transform=kept, fatal_statuses=(401, 403))
    informer.subscribe(lambda _: changed.set())
    running = asyncio.create_task(informer.run())
    running.add_done_callback(lambda _: changed.set())
    strangers = set[str]()
    try:
        await asyncio.wait(
            {running, asyncio.create_task(informer.wait_synced())}, return_when=asyncio.FIRST_COMPLETED
        )
        while True:
            if running.done():
                running.result()
            changed.clear()
            events = list(informer.store.values())
            names = {str(dig(event, "involvedObject", "name") or "") for event in events}
            if names - strangers:
                strangers |= names
                if (now := await fleet_at(client, key)) is not None:
                    replicas |= _names(now)
            found = [event for event in events if _is_about(event, key.name, replicas)]
            event_rows.show_new(event_rows.selection(found, warnings), shown, output_format)
            await changed.wait()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
