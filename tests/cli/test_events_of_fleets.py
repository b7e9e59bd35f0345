"""`events -w` of a set: replicas that come later, none of others, and no end before it is ended."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from pathlib import Path
from typing import Any

from fleet_cluster import a_cluster, ready, until
from fleet_world import inference_set as set_of
from like_kaito import SET

from kaitoctl import fleet_controller
from kaitoctl.commands import events_fleet
from kaitoctl.commands.observe_fleet import fleet_at
from kaitoctl.kube import request
from kaitoctl.kube.client import Client
from kaitoctl.kube.objects import ObjectKey


def test_new_events_of_replicas_that_come_later_are_shown_once_each(tmp_path: Path) -> None:
    async def serving(client: Client, number: int) -> None:
        async def enough() -> bool:
            return len(await ready(client)) == number

        await until(enough)

    async def story() -> None:
        async with a_cluster(tmp_path, fleet_controller.run_together) as (client, _):
            await client.send(request.create(SET, set_of(1)))
            other: Any = {**set_of(1), "metadata": {"name": "phis-two", "namespace": "default"}}
            await client.send(request.create(SET, other))
            await serving(client, 2)
            fleet = await fleet_at(client, ObjectKey("default", "phis"))
            assert fleet is not None
            (first,) = fleet.replicas
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                following = asyncio.create_task(events_fleet.follow(client, fleet, False, "json"))
                patch = {"spec": {"replicas": 2}}
                await client.send(request.merge_patch(SET, "default", "phis", patch, manager="u"))
                await serving(client, 3)
                now = await fleet_at(client, ObjectKey("default", "phis"))
                assert now is not None
                (later,) = {one.name for one in now.replicas} - {first.name}

                async def seen() -> bool:
                    return f"Pod {later}-0" in said.getvalue()

                await until(seen)
                assert not following.done()
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
            shown = [json.loads(line) for line in said.getvalue().splitlines()]
            about = {str(one["object"]).split()[1] for one in shown}
            assert {first.name, later} <= about
            assert not any(name.startswith("phis-two") for name in about)
            assert len(shown) == len({json.dumps(one, sort_keys=True) for one in shown})

    asyncio.run(story())
