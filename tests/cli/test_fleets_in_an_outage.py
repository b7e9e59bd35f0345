"""Following a set, and walking over it, outlives an API server that is away, and rights that are missing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from faults.proxy import Rule, Upstream, refuse, running
from fleet_cluster import a_cluster, live, ready, said, until, walk_of
from fleet_world import adapter
from fleet_world import inference_set as set_of
from like_kaito import SET, LikeKaito
from msgspec.structs import replace
from outages import Way, way_to

from kaitoctl import workspace_controller
from kaitoctl.commands import delete, follow_fleet, rollout, rollout_fleet, smoke_test, status
from kaitoctl.commands.observe_fleet import fleet_at
from kaitoctl.commands.option_values import NOT_SAID, Manifests, Which
from kaitoctl.commands.target import Target
from kaitoctl.errors import ApiError, NegativeAnswer, Unreachable
from kaitoctl.kaito.api import WORKSPACE
from kaitoctl.kaito.catalog import SHIPPED
from kaitoctl.kube import request
from kaitoctl.kube.client import Client
from kaitoctl.kube.objects import ObjectKey, is_being_deleted

KEY = ("default", "phis")
AWAY_S = 9.0
"""Longer than a request is patient."""
Story = Callable[[Client, Target, Way], Awaitable[None]]


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kaitoctl.commands.follow_fleet.LOOK_AGAIN_S", 0.1)


def over_a_way(folder: Path, story: Story) -> None:
    """A set, whose Workspaces nobody works on yet, and commands that reach it over a way that can be shut."""

    async def whole() -> None:
        async with a_cluster(folder, lambda client: LikeKaito(client).run()) as (client, direct):
            await client.send(request.create(SET, set_of(2)))
            async with way_to(direct, folder) as (way, target):
                await story(client, target, way)

    asyncio.run(whole())


@contextlib.asynccontextmanager
async def managed(client: Client) -> AsyncIterator[None]:
    managing = asyncio.ensure_future(workspace_controller.run(client))
    try:
        yield
    finally:
        managing.cancel()
        await asyncio.gather(managing, return_exceptions=True)


async def adapted(client: Client, *names: str) -> None:
    patch = {"spec": {"template": {"inference": {"adapters": [adapter(name) for name in names]}}}}
    await client.send(request.merge_patch(SET, *KEY, patch, manager="u"))


async def until_ready(client: Client) -> None:
    async def both() -> bool:
        return len(await ready(client)) == 2

    await until(both)


async def with_adapter(client: Client) -> int:
    return sum("adapters" in one["inference"] for one in await live(client))


async def until_asked(way: Way) -> None:
    async def asked() -> bool:
        return way.is_used

    await until(asked)
    await asyncio.sleep(0.5)  # and has been answered once


def rolled_out(**given: Any) -> int:
    rollout.status(**given)
    return 0


FOLLOWING: dict[str, tuple[Callable[..., int], dict[str, Any]]] = {
    "rollout status": (
        rolled_out,
        {"name": "phis", "timeout": "90s", "catalog": None, "managed": NOT_SAID},
    ),
    "status -w": (
        status.status,
        {
            "which": Which(("phis",)),
            "watch": True,
            "timeout": "90s",
            "record": None,
            "output_format": "table",
        },
    ),
}


@pytest.mark.parametrize("command", FOLLOWING)
def test_following_a_set_goes_on_when_the_server_is_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, command: str
) -> None:
    async def story(client: Client, target: Target, way: Way) -> None:
        what, given = FOLLOWING[command]
        following = asyncio.create_task(said(what, **given, target=target))
        await until_asked(way)
        await way.away(AWAY_S)
        assert not following.done()
        async with managed(client):
            code, out, err = await following
        assert (code, "2 of 2 replicas ready" in err + out) == (0, True), err
        assert "Connection refused; retrying" in caplog.text, "it says what it waits for"

    over_a_way(tmp_path, story)


def test_a_set_that_is_deleted_meanwhile_is_not_waited_for(tmp_path: Path) -> None:
    async def story(client: Client, target: Target, way: Way) -> None:
        what, given = FOLLOWING["rollout status"]
        following = asyncio.create_task(said(what, **given, target=target))
        await until_asked(way)
        await client.send(request.delete(SET, *KEY))
        with pytest.raises(NegativeAnswer, match=r"default/phis(: it is being| has been) deleted"):
            await following

    over_a_way(tmp_path, story)


def test_deleting_a_set_is_followed_to_its_end_although_the_server_was_away(tmp_path: Path) -> None:
    async def story(client: Client, target: Target, way: Way) -> None:
        held = {"metadata": {"finalizers": ["example.com/held"]}}
        await client.send(request.merge_patch(SET, *KEY, held, manager="somebody"))
        given = {"names": ["phis"], "given": Manifests(), "dry_run": "none", "ignore_not_found": False}
        given |= {"yes": True, "wait": True, "timeout": "60s"}
        deleting = asyncio.create_task(said(delete.delete, **given, target=target))

        async def waits() -> bool:
            return is_being_deleted(await client.send(request.get(SET, *KEY)))

        await until(waits)
        await asyncio.sleep(1)
        await way.away(AWAY_S)
        assert not deleting.done()
        free: Any = {"metadata": {"finalizers": []}}
        await client.send(request.merge_patch(SET, *KEY, free, manager="somebody"))
        code, _, err = await deleting
        assert code == 0, err

    over_a_way(tmp_path, story)


def test_a_walk_goes_on_when_the_server_is_back(tmp_path: Path) -> None:
    async def story(client: Client, target: Target, way: Way) -> None:
        async with managed(client):
            await until_ready(client)
            await adapted(client, "a")
            walking = asyncio.create_task(
                said(rollout_fleet.rollout_fleet, **walk_of(timeout="90s"), target=target)
            )

            async def one_has_it() -> bool:
                return await with_adapter(client) == 1

            await until(one_has_it)
            await way.away(AWAY_S)
            assert not walking.done()
            code, _, text = await walking
        assert code == 0, text
        assert (await with_adapter(client), len(await live(client))) == (2, 2)

    over_a_way(tmp_path, story)


def test_a_prompt_that_the_server_lost_says_nothing_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is one that never gets an answer anything but silent."""
    lost: list[bool] = []

    async def answer(_: Client, seen: Any) -> str:
        if lost and lost.pop(0):
            raise Unreachable("the connection was lost")
        return "words"

    async def story(client: Client, target: Target, way: Way) -> None:
        async with managed(client):
            await until_ready(client)
            await adapted(client, "a")
            monkeypatch.setattr(smoke_test, "answer_of", answer)
            lost[:] = [False, True, False]  # the rehearsal, and the canary's prompt twice
            code, _, text = await said(
                rollout_fleet.rollout_fleet, **walk_of(canary=1, smoke_test=True), target=target
            )
            assert (code, await with_adapter(client)) == (0, 2), text
            await adapted(client, "a", "b")
            lost[:] = [False, True, True]
            with pytest.raises(NegativeAnswer, match="answers no prompt: the connection was lost"):
                await said(rollout_fleet.rollout_fleet, **walk_of(canary=1, smoke_test=True), target=target)

    over_a_way(tmp_path, story)


def with_rule(folder: Path, rule: Rule, story: Callable[[Client, Target], Awaitable[None]]) -> None:
    """A set, and a target whose requests this rule is for."""

    async def over(client: Client, target: Target, _: Way) -> None:
        server, token = bearer(target)
        async with running(Upstream(server, {"Authorization": f"Bearer {token}"})) as proxy:
            proxy.rules.append(rule)
            file = proxy.kubeconfig(folder / "over-the-proxy")
            await story(client, replace(target, kubeconfig=str(file)))

    over_a_way(folder, over)


def bearer(target: Target) -> tuple[str, str]:
    config = yaml.safe_load(Path(str(target.kubeconfig)).read_text("utf-8"))
    return config["clusters"][0]["cluster"]["server"], config["users"][0]["user"]["token"]


def test_who_may_not_see_revisions_sees_the_set_all_the_same(tmp_path: Path) -> None:
    async def story(client: Client, target: Target) -> None:
        shown = {**FOLLOWING["status -w"][1], "watch": False, "timeout": None}
        _, text, _ = await said(status.status, **shown, target=target)
        assert "progressing, 0 of 2 replicas ready" in text

    with_rule(tmp_path, Rule("", "controllerrevisions", refuse(403, "Forbidden"), times=99), story)


def test_a_walk_says_that_a_replica_is_deleted_once_it_is(tmp_path: Path) -> None:
    def walked(**given: Any) -> int:
        try:
            return rollout_fleet.rollout_fleet(**given)
        except ApiError as error:
            return error.exit_code

    async def story(client: Client, target: Target) -> None:
        async with managed(client):
            await until_ready(client)
            await adapted(client, "a")
            code, _, text = await said(walked, **walk_of(), target=target)
        assert (code, "2 of 2 replicas ready" in text) == (4, True), text
        assert "is deleted" not in text
        assert await with_adapter(client) == 0

    with_rule(tmp_path, Rule("DELETE", "workspaces", refuse(403, "Forbidden"), times=99), story)


def test_a_replica_that_goes_while_its_set_is_followed_is_not_the_set(tmp_path: Path) -> None:
    """Whoever looks closely at a replica may be late: its set is there, and another look is taken."""

    async def story(client: Client, _target: Target, _way: Way) -> None:
        key, looked = ObjectKey(*KEY), 0

        async def ask() -> str:
            nonlocal looked
            looked += 1
            if looked == 1:
                await client.send(request.get(WORKSPACE, "default", "phis-gone"))
            return (await follow_fleet.present(client, key, SHIPPED)).key.name

        assert await follow_fleet.patiently(client, key, ask) == "phis"
        looked = 0
        await client.send(request.delete(SET, *KEY))

        async def gone() -> bool:
            return await fleet_at(client, key) is None

        await until(gone)
        with pytest.raises(NegativeAnswer, match="InferenceSet default/phis has been deleted"):
            await follow_fleet.patiently(client, key, ask)

    over_a_way(tmp_path, story)
