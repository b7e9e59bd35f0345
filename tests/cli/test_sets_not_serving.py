"""A set is not ready while one of its replicas says so and serves nobody, as no Workspace is."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from fleet_cluster import a_cluster, live, ready, said, until
from fleet_world import inference_set as set_of

from kaitoctl import fleet_controller
from kaitoctl.commands import follow_fleet, rollout, status, why
from kaitoctl.commands.option_values import NOT_SAID, Which
from kaitoctl.errors import NegativeAnswer, TimedOut
from kaitoctl.kaito.api import INFERENCE_SET as SET
from kaitoctl.kaito.catalog import SHIPPED
from kaitoctl.kube import request
from kaitoctl.kube.client import Client
from kaitoctl.kube.objects import POD, SERVICE, STATEFUL_SET, ObjectKey, key_of

SHOWN: dict[str, Any] = {"watch": False, "timeout": None, "record": None, "output_format": "table"}


async def both_ready_and_left(client: Client) -> None:
    """A set of two replicas that serve, whose controller has gone since."""
    managing = asyncio.ensure_future(fleet_controller.run_together(client))
    await client.send(request.create(SET, set_of(2)))

    async def both_ready() -> bool:
        return len(await ready(client)) == 2

    await until(both_ready)
    managing.cancel()
    await asyncio.gather(managing, return_exceptions=True)


@pytest.mark.parametrize("what", ["service", "pods"])
def test_a_replica_that_nobody_reaches_is_not_counted_as_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Nobody corrects its status: the controller is gone."""
    monkeypatch.setattr("kaitoctl.commands.follow_fleet.LOOK_AGAIN_S", 0.1)

    async def story() -> None:
        async with a_cluster(tmp_path) as (client, target):
            await both_ready_and_left(client)
            _, text, _ = await said(status.status, which=Which(("phis",)), target=target, **SHOWN)
            assert "ready, 2 of 2 replicas ready" in text
            name = key_of((await live(client))[0]).name
            if what == "service":
                await client.send(request.delete(SERVICE, "default", name))
            else:
                nobody = {"spec": {"replicas": 0}}
                await client.send(request.merge_patch(STATEFUL_SET, "default", name, nobody, manager="x"))

                async def one_pod() -> bool:
                    return len((await client.list(POD, "default")).items) == 1

                await until(one_pod)
            code, text, _ = await said(status.status, which=Which(("phis",)), target=target, **SHOWN)
            assert (code, "not serving, 1 of 2 replicas ready" in text) == (1, True), text
            assert f"kaitoctl why {name}" in text
            _, text, _ = await said(
                status.status,
                which=Which(everywhere=True),
                target=target,
                **{**SHOWN, "output_format": "json"},
            )
            (found,) = json.loads(text)["inferenceSets"]
            assert (found["state"], found["readyReplicas"]) == ("notserving", 1)
            asked: dict[str, Any] = {"output_format": "short", "catalog": None, "managed": NOT_SAID}
            code, text, _ = await said(why.why, names=["phis"], target=target, **asked)
            assert (code, name in text) == (1, True), text
            with pytest.raises(TimedOut, match="1 of 2 replicas ready"):
                follow = {**SHOWN, "watch": True, "timeout": "1s"}
                await said(status.status, which=Which(("phis",)), target=target, **follow)

    asyncio.run(story())


def test_a_replica_whose_pod_crashes_ends_what_follows_its_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its status says for as long as its budget lasts that it comes up; its pod says that it never will."""
    monkeypatch.setattr("kaitoctl.commands.follow_fleet.LOOK_AGAIN_S", 0.1)
    follow: dict[str, Any] = {"name": "phis", "timeout": "60s", "catalog": None, "managed": NOT_SAID}

    async def story() -> None:
        async with a_cluster(tmp_path) as (client, target):
            managing = asyncio.ensure_future(fleet_controller.run_together(client))
            await client.send(request.create(SET, set_of(2)))

            async def serving(number: int) -> bool:
                return len(await ready(client)) == number

            await until(lambda: serving(2))
            crash = {"metadata": {"annotations": {"sandbox.kaitoctl.dev/fault": "crash"}}}
            for pod in (await client.list(POD, "default")).items:
                await client.send(request.merge_patch(POD, *key_of(pod), crash, manager="x"))
            await until(lambda: serving(0))
            with pytest.raises(NegativeAnswer, match="CrashLoopBackOff") as raised:
                await said(rollout.status, target=target, **follow)
            names = [key_of(one).name for one in await live(client)]
            assert any(f"kaitoctl why {name}" in str(raised.value.hint) for name in names)
            code, text, _ = await said(status.status, which=Which(("phis",)), target=target, **SHOWN)
            assert code == 1 and "CrashLoopBackOff" in text, text
            listed = {**SHOWN, "output_format": "json"}
            _, text, _ = await said(status.status, which=Which(), target=target, **listed)
            (found,) = json.loads(text)["inferenceSets"]
            assert (found["state"], found["readyReplicas"]) == ("failed", 0)

            # A template that cures it is followed to its end, though the pods from before still crash.
            style = {"source": {"name": "style", "image": "registry.example/style:1"}}
            cured = {"spec": {"template": {"inference": {"adapters": [style]}}}}
            await client.send(request.merge_patch(SET, "default", "phis", cured, manager="x"))
            _, text, _ = await said(rollout.status, target=target, **follow)
            assert 'inferenceset "phis" successfully rolled out' in text
            managing.cancel()
            await asyncio.gather(managing, return_exceptions=True)

    asyncio.run(story())


def test_what_pods_have_said_is_kept_between_two_looks_at_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of two replicas says that it is ready and is reached by nobody, and a third one is to come."""
    monkeypatch.setattr("kaitoctl.commands.follow_fleet.LOOK_AGAIN_S", 0.1)

    async def story() -> None:
        async with a_cluster(tmp_path) as (client, _target):
            await both_ready_and_left(client)
            await client.send(request.delete(SERVICE, "default", key_of((await live(client))[0]).name))
            more = {"spec": {"replicas": 3}}
            await client.send(request.merge_patch(SET, "default", "phis", more, manager="x"))
            looks = follow_fleet.Looks(client, ObjectKey("default", "phis"), SHIPPED)
            lines = {follow_fleet.line(await looks.look()) for _ in range(11)}
            assert len(lines) == 1 and "1 of 3 replicas ready" in lines.pop(), lines

    asyncio.run(story())
