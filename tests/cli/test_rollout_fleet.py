"""`kaitoctl rollout fleet` beside a controller like KAITO's: surge, prompts to canaries, failures."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from fleet_cluster import a_cluster, live, ready, said, until, walk_of
from fleet_world import adapter
from fleet_world import inference_set as set_of
from like_kaito import SET, LikeKaito
from shell import Shell
from terminals import STEERING

from kaitoctl import fleet_controller, workspace_controller
from kaitoctl.commands import rollout_fleet, scale, smoke_test
from kaitoctl.commands.option_values import NOT_SAID
from kaitoctl.commands.rollout_surge import BEFORE
from kaitoctl.commands.target import Target
from kaitoctl.errors import InputError, NegativeAnswer, TimedOut
from kaitoctl.kaito.api import WORKSPACE_SUCCEEDED
from kaitoctl.kaito.fleet.status import ROLLOUT
from kaitoctl.kube import conditions, request
from kaitoctl.kube.client import Client
from kaitoctl.kube.managed_fields import last_writer
from kaitoctl.kube.objects import annotations_of, dig, generation_of
from kaitoctl.kube.request import MERGE_PATCH, Request

KEY = ("default", "phis")
KAITOS = (lambda client: LikeKaito(client).run(), workspace_controller.run)
Story = Callable[[Client, Target], Awaitable[None]]


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kaitoctl.commands.follow_fleet.LOOK_AGAIN_S", 0.1)


def beside_kaito(
    folder: Path,
    story: Story,
    replicas: int = 2,
    speed: float = 300.0,
    *,
    before: Callable[[Client], Awaitable[None]] | None = None,
) -> None:
    """A set that serves, and then an adapter that KAITO does not carry to its replicas."""

    async def whole() -> None:
        async with a_cluster(folder, *KAITOS, speed=speed) as (client, target):
            await client.send(request.create(SET, set_of(replicas)))

            async def all_ready() -> bool:
                return len(await ready(client)) == replicas

            await until(all_ready)
            if before is not None:
                await before(client)
            await adapted(client, "a")
            await story(client, target)

    asyncio.run(whole())


async def rolled_by_us(client: Client) -> None:
    """What our controller leaves behind when KAITO takes a set over."""
    rolled = {
        "type": ROLLOUT,
        "status": "True",
        "reason": "Complete",
        "message": "all replicas have the present template",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-11-29T00:00:00Z",
    }
    found = await client.send(request.get(SET, *KEY))
    conditions = [*(dig(found, "status", "conditions") or ()), rolled]
    patch = {"status": {"conditions": conditions}}
    asked = request.merge_patch(SET, *KEY, patch, manager="kaitoctl-controller", subresource="status")
    await client.send(asked)


async def adapted(client: Client, *names: str) -> None:
    patch = {"spec": {"template": {"inference": {"adapters": [adapter(name) for name in names]}}}}
    await client.send(request.merge_patch(SET, *KEY, patch, manager="u"))


async def with_adapter(client: Client) -> int:
    return sum("adapters" in one["inference"] for one in await live(client))


def scaled(**given: Any) -> int:
    scale.scale(**given)
    return 0


def walk(target: Target, **options: Any) -> Awaitable[tuple[int, str, str]]:
    return said(rollout_fleet.rollout_fleet, **walk_of(**options), target=target)


def test_with_a_surge_never_fewer_serve_than_wanted_and_it_is_given_back(tmp_path: Path) -> None:
    async def story(client: Client, target: Target) -> None:
        fewest, most = [2], [2]

        async def watching() -> None:
            while True:
                fewest.append(len(await ready(client)))
                most.append(len(await live(client)))
                await asyncio.sleep(0.02)

        _, _, text = await walk(target, max_surge=1, dry_run="client")
        assert "1 more replica than the 2 wanted" in text
        assert "a new Workspace asks for Standard_NC24ads_A100_v4 nodes of its own" in text
        assert "nodes asked for: 1 Standard_NC24ads_A100_v4 node" in text
        assert "2 of 2 replicas keep serving" in text
        assert (await client.send(request.get(SET, *KEY)))["spec"]["replicas"] == 2
        watch = asyncio.create_task(watching())
        code, _, text = await walk(target, max_surge=1)
        assert code == 0, text
        found = await client.send(request.get(SET, *KEY))
        assert (found["spec"]["replicas"], BEFORE in annotations_of(found)) == (2, False)

        async def two_again() -> bool:
            return len(await live(client)) == 2

        await until(two_again)
        watch.cancel()
        assert await with_adapter(client) == 2
        assert (min(fewest), max(most)) == (2, 3)

    beside_kaito(tmp_path, story)


def test_on_a_terminal_the_replica_that_comes_up_has_a_bar_and_what_is_done_stands_above(
    tmp_path: Path,
) -> None:
    async def story(client: Client, target: Target) -> None:
        shell = Shell(tmp_path, cluster={"KUBECONFIG": str(target.kubeconfig)})
        walk = ("rollout", "fleet", "phis", "--yes", "--timeout", "90s")
        code, seen = await asyncio.to_thread(shell.seen, *walk, columns=80, NO_COLOR="1")
        text = " ".join(STEERING.sub("", seen).split())
        assert code == 0, text
        assert re.search(r"► phis-\w+ is deleted; KAITO makes another one in its place", text), text
        assert re.search(r"◌ default/phis-\w+ [█░]{10} ", text), text
        assert "KAITO does not carry" not in text, "this command does"
        assert "progressing, 1 of 2 replicas ready" in text
        assert text.endswith("✔ InferenceSet default/phis: all 2 replicas have the present template")

    beside_kaito(tmp_path, story, speed=12.0)


def test_who_is_asked_is_told_how_many_are_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The canaries and, where they have to answer a prompt, the others after them."""
    asked: list[str] = []

    async def no(question: str) -> bool:
        asked.append(question)
        return False

    monkeypatch.setattr("kaitoctl.screens.output.ask", no)
    monkeypatch.setattr("kaitoctl.screens.output.can_ask", lambda: True)

    async def story(client: Client, target: Target) -> None:
        for options in (
            {"canary": 1},
            {"canary": 1, "smoke_test": True},
            {},
            {"canary": 2, "smoke_test": True},
        ):
            with pytest.raises(NegativeAnswer):
                await walk(target, yes=False, **options)
        assert await with_adapter(client) == 0

    beside_kaito(tmp_path, story)
    assert [question.split(" [")[0] for question in asked] == [
        "Roll out to 1 replica?",
        "Roll out to 2 replicas, 1 of them first?",
        "Roll out to 2 replicas?",
        "Roll out to 2 replicas?",
    ]


def test_a_surge_that_was_interrupted_is_taken_up_and_given_back(tmp_path: Path) -> None:
    async def story(client: Client, target: Target) -> None:
        patch = {"metadata": {"annotations": {BEFORE: "2"}}, "spec": {"replicas": 3}}
        await client.send(request.merge_patch(SET, *KEY, patch, manager="kaitoctl"))
        code, _, text = await walk(target)
        assert code == 0, text
        assert "2 of 2 replicas keep serving" in text
        found = await client.send(request.get(SET, *KEY))
        assert (found["spec"]["replicas"], BEFORE in annotations_of(found)) == (2, False)
        assert "asks for 2 replicas again" in text

    beside_kaito(tmp_path, story)


def test_replicas_that_are_asked_for_during_a_surge_stay(tmp_path: Path) -> None:
    async def story(client: Client, target: Target) -> None:
        patch = {"metadata": {"annotations": {BEFORE: "2"}}, "spec": {"replicas": 3}}
        await client.send(request.merge_patch(SET, *KEY, patch, manager="kaitoctl"))
        how: dict[str, Any] = {"dry_run": "none", "output_format": None, "yes": True, "wait": False}
        how |= {"timeout": None, "catalog": None, "managed": NOT_SAID}
        _, text, _ = await said(scaled, name="phis", count=3, **how, target=target)
        assert text == "inferenceset.kaito.sh/phis scaled\n"
        code, _, text = await walk(target)
        assert code == 0, text
        found = await client.send(request.get(SET, *KEY))
        assert (found["spec"]["replicas"], BEFORE in annotations_of(found)) == (3, False)

    beside_kaito(tmp_path, story)


def test_a_template_that_somebody_changes_meanwhile_is_not_carried_unseen(tmp_path: Path) -> None:
    """What was agreed to is the template that was shown; the new one may stop more, and cost more."""

    async def story(client: Client, target: Target) -> None:
        walking = asyncio.ensure_future(walk(target))

        async def one_has_it() -> bool:
            return await with_adapter(client) == 1

        await until(one_has_it)
        await adapted(client, "another")
        with pytest.raises(NegativeAnswer, match="somebody has changed its template meanwhile"):
            await walking
        names = [
            one["inference"].get("adapters", [{}])[0].get("source", {}).get("name")
            for one in await live(client)
        ]
        assert "another" not in names

    beside_kaito(tmp_path, story)


async def told_of_now(client: Client) -> list[bool]:
    """Of each replica, whether it has the newest adapter, and is called ready as it is now."""
    wanted = (await client.send(request.get(SET, *KEY)))["spec"]["template"]["inference"]["adapters"]
    return [
        one["inference"].get("adapters") == wanted
        and conditions.is_true(one, WORKSPACE_SUCCEEDED, generation=generation_of(one))
        for one in await live(client)
    ]


def test_a_template_that_has_just_changed_is_done_only_when_all_serve_with_it(tmp_path: Path) -> None:
    """No controller has seen the change yet: what conditions say is about the generation before."""

    async def story(client: Client, target: Target) -> None:
        for name in ("b", "c", "d"):
            await adapted(client, name)
            code, _, text = await walk(target)
            assert code == 0 and await told_of_now(client) == [True, True], text

    beside_kaito(tmp_path, story)


def test_our_own_controller_is_not_believed_about_the_template_before(tmp_path: Path) -> None:
    async def whole() -> None:
        own = (fleet_controller.run, workspace_controller.run)
        async with a_cluster(tmp_path, *own, speed=300.0) as (client, target):
            await client.send(request.create(SET, set_of(2)))
            assert (await walk(target))[0] == 0
            for name in ("b", "c", "d"):
                await adapted(client, name)
                code, _, text = await walk(target)
                assert code == 0 and await told_of_now(client) == [True, True], text

    asyncio.run(whole())


def test_a_walk_ends_when_the_set_is_scaled_down_or_deleted_meanwhile(tmp_path: Path) -> None:
    async def story(client: Client, target: Target) -> None:
        walking = asyncio.ensure_future(walk(target))

        async def one_has_it() -> bool:
            return await with_adapter(client) == 1

        await until(one_has_it)
        await client.send(request.merge_patch(SET, *KEY, {"spec": {"replicas": 1}}, manager="u"))
        code, _, text = await walking
        assert (code, await with_adapter(client)) == (0, 1), text
        await adapted(client, "a", "b", "c")
        held = {"metadata": {"finalizers": ["example.com/held"]}}
        walking = asyncio.ensure_future(walk(target))
        await asyncio.sleep(0.3)
        await client.send(request.merge_patch(SET, *KEY, held, manager="u"))
        await client.send(request.delete(SET, *KEY))
        with pytest.raises(NegativeAnswer, match="InferenceSet default/phis: it is being deleted"):
            await walking

    beside_kaito(tmp_path, story)


def test_a_surge_is_given_back_when_time_is_up_and_not_against_an_autoscaler(tmp_path: Path) -> None:
    async def story(client: Client, target: Target) -> None:
        with pytest.raises(TimedOut):
            await walk(target, max_surge=1, timeout="0.3s")
        found = await client.send(request.get(SET, *KEY))
        assert (found["spec"]["replicas"], BEFORE in annotations_of(found)) == (2, False)
        scale = f"{SET.path(*KEY)}/scale"
        await client.send(Request("PATCH", scale, body={"spec": {"replicas": 3}}, content_type=MERGE_PATCH))
        with pytest.raises(NegativeAnswer, match="an autoscaler writes its replicas"):
            await walk(target, max_surge=1)
        assert (await client.send(request.get(SET, *KEY)))["spec"]["replicas"] == 3

    beside_kaito(tmp_path, story)


def test_a_canary_that_answers_no_prompt_stops_the_rollout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    silent: set[str] = set()

    async def answer(_: Client, seen: Any) -> str:
        name = seen.workspace["metadata"]["name"]
        asked.append(name)
        if "adapters" in seen.workspace["inference"] and silent:
            raise NegativeAnswer("nothing but silence")
        return "words"

    async def story(client: Client, target: Target) -> None:
        with pytest.raises(NegativeAnswer, match="does not answer before anything has changed"):
            await walk(target, canary=1, smoke_test=True)
        assert await with_adapter(client) == 0, "pods of this cluster are simulated: no prompt reaches them"
        monkeypatch.setattr(smoke_test, "answer_of", answer)
        silent.add("all")
        with pytest.raises(NegativeAnswer, match="answers no prompt: nothing but silence") as refused:
            await walk(target, canary=1, smoke_test=True)
        assert "kaitoctl rollout undo phis" in str(refused.value.hint)
        assert await with_adapter(client) == 1
        silent.clear()
        asked.clear()
        code, _, text = await walk(target, canary=1, smoke_test=True)
        assert code == 0, text
        assert await with_adapter(client) == 3
        assert len(asked) == 4, "one before anything changes, the canary of before, and the two others"

    beside_kaito(tmp_path, story, replicas=3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"canary": 0}, "--canary 0"),
        ({"max_unavailable": 0}, "--max-unavailable 0"),
        ({"max_surge": -1}, "--max-surge -1"),
        ({"max_failures": -1}, "--max-failures -1"),
        ({"name": "workspace/phis"}, "this is about InferenceSets"),
    ],
)
def test_numbers_by_which_nothing_could_change_are_refused(options: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        rollout_fleet.rollout_fleet(**walk_of(**options), target=Target())


def test_options_that_our_own_controller_would_not_heed_are_refused(tmp_path: Path) -> None:
    async def story() -> None:
        async with a_cluster(tmp_path, fleet_controller.run_together) as (client, target):
            held = set_of(1)
            held["metadata"]["annotations"] = {"kaitoctl.dev/rollout-paused": "true"}
            await client.send(request.create(SET, held))

            async def one_ready() -> bool:
                return len(await ready(client)) == 1

            await until(one_ready)
            await adapted(client, "a")
            for option in ("canary", "max_surge", "max_unavailable", "max_failures"):
                with pytest.raises(InputError, match="by the set's own budget"):
                    await walk(target, **{option: 1})
            with pytest.raises(NegativeAnswer, match="the rollout is paused"):
                await walk(target)

    asyncio.run(story())


def test_kaito_rolls_nothing_out_of_a_set_that_kaitoctls_controller_had(tmp_path: Path) -> None:
    """Its condition stays, and told everybody to wait for a controller that is gone."""

    async def story(client: Client, target: Target) -> None:
        async def taken_over() -> bool:
            found = await client.send(request.get(SET, *KEY))
            types = [item["type"] for item in found["status"]["conditions"]]
            assert types.count(ROLLOUT) == 1
            return (last_writer(found, "f:status", "f:conditions") or ("",))[0] == "workspace"

        await until(taken_over)
        code, _, text = await walk(target)
        assert code == 0, text
        assert await with_adapter(client) == 2

    beside_kaito(tmp_path, story, before=rolled_by_us)
