"""A controller's passes, over real HTTP and in virtual time."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from reconcile.api_server import ApiServer, fail
from virtual_time import run

from kaitoctl.errors import ApiError, KaitoctlError, Unreachable
from kaitoctl.kube import request
from kaitoctl.kube.client import Client
from kaitoctl.kube.objects import CONFIG_MAP, DEPLOYMENT, NODE, SECRET, Object, ObjectKey, owner_reference
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.controller import Controller, Outcome, own_key, owner_keys, run_all
from kaitoctl.reconcile.generator_driver import drive
from kaitoctl.reconcile.informer import Informer
from kaitoctl.reconcile.planner import Child, plan

Steps = Generator[Request, Object, Outcome]


def key(name: str) -> ObjectKey:
    return ObjectKey("default", name)


def now() -> float:
    return asyncio.get_running_loop().time()


class Bench:
    """A server with ConfigMaps, and a controller that watches them and counts its passes."""

    def __init__(self, client: Client, api: ApiServer) -> None:
        self.client = client
        self.api = api
        self.config_maps = Informer(client, CONFIG_MAP)
        self.secrets = Informer(client, SECRET)
        self.passes: list[tuple[str, float]] = []

    def times(self, name: str) -> list[float]:
        return [at for passed, at in self.passes if passed == name]

    @asynccontextmanager
    async def controlling(
        self, reconcile: Callable[[ObjectKey], Steps], **options: Any
    ) -> AsyncIterator[Controller]:
        def counted(of: ObjectKey) -> Steps:
            self.passes.append((of.name, now()))
            return (yield from reconcile(of))

        controller = Controller("test", options.pop("door", self.client), counted, **options)
        controller.watches(self.config_maps, own_key)
        controller.watches(self.secrets, owner_keys(CONFIG_MAP))
        running = asyncio.create_task(run_all(self.config_maps, self.secrets, controller))
        try:
            yield controller
            assert not running.done(), running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def play(story: Callable[[Bench], Awaitable[None]]) -> None:
    async def played() -> None:
        api = ApiServer()
        async with api.running() as client:
            await story(Bench(client, api))

    run(played())


def look(of: ObjectKey) -> Steps:
    yield request.get(CONFIG_MAP, of.namespace, of.name)
    return Outcome()


def test_every_object_gets_a_pass_and_every_change_another() -> None:
    async def story(bench: Bench) -> None:
        bench.api.put(CONFIG_MAP, "a")
        bench.api.put(CONFIG_MAP, "b")
        async with bench.controlling(look):
            await asyncio.sleep(5)
            assert sorted(name for name, _ in bench.passes) == ["a", "b"]
            bench.api.put(CONFIG_MAP, "a", data={"x": "1"})
            await asyncio.sleep(5)
            assert len(bench.times("a")) == 2
            await asyncio.sleep(3600)
            assert len(bench.passes) == 3  # nothing happened, nothing was done

    play(story)


def test_workers_start_only_after_every_informer_is_synced() -> None:
    async def story(bench: Bench) -> None:
        bench.api.put(CONFIG_MAP, "a")

        def secrets_fail(http: web.Request) -> web.Response | None:
            if http.path.endswith("/secrets") and now() < 10:
                return web.json_response({"kind": "Status", "code": 500}, status=500)
            return None

        bench.api.faults.append(secrets_fail)
        async with bench.controlling(look):
            await asyncio.sleep(60)
            assert bench.config_maps.synced
            assert min(bench.times("a")) >= 10

    play(story)


def test_missing_optional_crd_holds_up_nobody() -> None:
    async def story(bench: Bench) -> None:
        bench.api.put(CONFIG_MAP, "a")
        bench.api.not_served.add("api/v1/secrets")
        async with bench.controlling(look):
            await asyncio.sleep(1)
            assert bench.times("a")

    play(story)


def test_change_of_a_child_calls_for_its_owner() -> None:
    async def story(bench: Bench) -> None:
        parent = bench.api.put(CONFIG_MAP, "a")
        async with bench.controlling(look):
            await asyncio.sleep(1)
            bench.api.put(SECRET, "child", metadata={"ownerReferences": [owner_reference(parent)]})
            await asyncio.sleep(1)
            assert len(bench.times("a")) == 2
            bench.api.remove(SECRET, "child")
            await asyncio.sleep(1)
            assert len(bench.times("a")) == 3

    play(story)


def test_owner_keys_asks_for_group_kind_and_controller() -> None:
    def child(**reference: Any) -> Object:
        return {"metadata": {"name": "c", "namespace": "d", "ownerReferences": [{"name": "o", **reference}]}}

    keys = owner_keys(DEPLOYMENT)
    assert list(keys(child(apiVersion="apps/v1beta1", kind="Deployment", controller=True))) == [("d", "o")]
    assert not list(keys(child(apiVersion="apps/v1", kind="Deployment")))
    assert not list(keys(child(apiVersion="other/v1", kind="Deployment", controller=True)))
    assert not list(keys(child(apiVersion="apps/v1", kind="ReplicaSet", controller=True)))
    assert not list(keys({"metadata": {"name": "c"}}))
    assert list(owner_keys(NODE)(child(apiVersion="v1", kind="Node", controller=True))) == [("", "o")]


def test_one_key_is_never_worked_on_twice_at_a_time() -> None:
    async def story(bench: Bench) -> None:
        active: set[str] = set()
        overlaps: list[str] = []

        def slow(of: ObjectKey) -> Steps:
            if of.name in active:
                overlaps.append(of.name)
            active.add(of.name)
            yield request.get(CONFIG_MAP, of.namespace, of.name)
            active.discard(of.name)
            return Outcome()

        for name in "abc":
            bench.api.put(CONFIG_MAP, name)
        async with bench.controlling(slow):
            for number in range(30):
                bench.api.put(CONFIG_MAP, "a", data={"n": str(number)})
                await asyncio.sleep(0.001)
            await asyncio.sleep(1)
            assert not overlaps
            assert len(bench.times("a")) >= 2

    play(story)


def test_as_many_keys_are_worked_on_at_a_time_as_there_are_workers() -> None:
    async def story(bench: Bench) -> None:
        most, active = 0, 0

        def counts(of: ObjectKey) -> Steps:
            nonlocal most, active
            active += 1
            most = max(most, active)
            yield request.get(CONFIG_MAP, of.namespace, of.name)
            active -= 1
            return Outcome()

        for number in range(20):
            bench.api.put(CONFIG_MAP, f"c{number}")
        async with bench.controlling(counts, workers=3):
            await asyncio.sleep(5)
            assert len(bench.passes) == 20
            assert most == 3

    play(story)


def test_requeue_comes_when_asked_for() -> None:
    async def story(bench: Bench) -> None:
        def again(of: ObjectKey) -> Steps:
            yield request.get(CONFIG_MAP, of.namespace, of.name)
            return Outcome(requeue_after_s=30)

        bench.api.put(CONFIG_MAP, "a")
        async with bench.controlling(again):
            await asyncio.sleep(100)
            gaps = [later - at for at, later in zip(bench.times("a"), bench.times("a")[1:], strict=False)]
            assert len(gaps) == 3
            assert all(30 <= gap < 30.5 for gap in gaps)

    play(story)


def test_poisoned_key_is_tried_ever_less_and_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def story(bench: Bench) -> None:
        def poisoned(of: ObjectKey) -> Steps:
            yield request.get(CONFIG_MAP, of.namespace, of.name)
            if of.name == "poison":
                raise ZeroDivisionError("a bug")
            return Outcome()

        bench.api.put(CONFIG_MAP, "poison")
        async with bench.controlling(poisoned, workers=1):
            await asyncio.sleep(600)
            tries = len(bench.times("poison"))
            assert 10 <= tries <= 14
            for number in range(50):
                bench.api.put(CONFIG_MAP, f"c{number}")
            await asyncio.sleep(1)
            assert sum(name.startswith("c") for name, _ in bench.passes) == 50
            await asyncio.sleep(3600)
            assert len(bench.times("poison")) - tries <= 13  # one in five minutes
            assert sum("a bug" in (record.exc_text or "") for record in caplog.records) == len(
                bench.times("poison")
            )

    play(story)


def test_objects_that_nobody_can_map_or_reconcile_harm_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    async def story(bench: Bench) -> None:
        def odd_keys(obj: Object) -> list[ObjectKey]:
            return [key(obj["data"]["concerns"])]

        def forgets_to_return(of: ObjectKey) -> Steps:
            yield from look(of)
            return Outcome() if of.name == "a" else None  # type: ignore[return-value]

        for name in ("a", "b"):
            bench.api.put(CONFIG_MAP, name)
        bench.api.put(SECRET, "odd")
        bench.api.put(SECRET, "even", data={"concerns": "a"})
        async with bench.controlling(forgets_to_return, resync_s=60) as controller:
            controller.watches(bench.secrets, odd_keys)
            await asyncio.sleep(200)
            assert len(bench.times("a")) >= 3
            assert 6 <= len(bench.times("b")) <= 20
        assert "concern" in caplog.text

    play(story)


def test_requeue_after_nothing_at_all_does_not_spin() -> None:
    async def story(bench: Bench) -> None:
        def at_once(of: ObjectKey) -> Steps:
            yield from ()
            return Outcome(requeue_after_s=0)

        bench.api.put(CONFIG_MAP, "a")
        async with bench.controlling(at_once):
            await asyncio.sleep(1)
            assert 10 <= len(bench.passes) <= 101

    play(story)


def test_success_makes_the_back_off_start_over() -> None:
    async def story(bench: Bench) -> None:
        broken = True

        def fragile(of: ObjectKey) -> Steps:
            yield request.get(CONFIG_MAP, of.namespace, of.name)
            if broken:
                raise KaitoctlError("broken")
            return Outcome()

        bench.api.put(CONFIG_MAP, "a")
        async with bench.controlling(fragile):
            await asyncio.sleep(300)
            broken = False
            bench.api.put(CONFIG_MAP, "a", data={"x": "1"})
            await asyncio.sleep(300)
            broken = True
            bench.api.put(CONFIG_MAP, "a", data={"x": "2"})
            await asyncio.sleep(0.01)
            before = len(bench.passes)
            await asyncio.sleep(0.1)
            assert len(bench.passes) - before >= 2

    play(story)


def test_conflict_is_settled_within_a_second_and_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    async def story(bench: Bench) -> None:
        tries = 0

        def loses_races(of: ObjectKey) -> Steps:
            nonlocal tries
            tries += 1
            stale = {
                "metadata": {"namespace": "default", "name": "a", "resourceVersion": "1"},
                "data": {"x": "1"},
            }
            if tries > 3:
                found = yield request.get(CONFIG_MAP, "default", "a")
                stale["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
            yield request.apply(CONFIG_MAP, stale, manager="m")
            return Outcome()

        bench.api.put(CONFIG_MAP, "a")
        async with bench.controlling(loses_races):
            await asyncio.sleep(1)
            assert bench.api.all(CONFIG_MAP)[key("a")]["data"] == {"x": "1"}
        assert not [record for record in caplog.records if record.levelno >= logging.WARNING]

    with caplog.at_level(logging.INFO):
        play(story)
    assert "resourceVersion differs" in caplog.text


def labels_itself(of: ObjectKey) -> Steps:
    """Two writes to the object itself, of which the watch tells one after the other."""
    for value in ("1", "2"):
        obj = {"metadata": {"namespace": of.namespace, "name": of.name, "labels": {"x": value}}}
        yield request.apply(CONFIG_MAP, {**obj, "apiVersion": "v1", "kind": "ConfigMap"}, manager="m")
    return Outcome()


def test_a_reconcile_is_not_repeated_for_what_it_has_written_itself() -> None:
    async def story(bench: Bench) -> None:
        for number in range(30):
            bench.api.put(CONFIG_MAP, f"c{number}")
        async with bench.controlling(labels_itself, ignore_own_writes=True):
            await asyncio.sleep(5)
            assert len(bench.passes) == 30
            assert dict(bench.config_maps.store) == bench.api.all(CONFIG_MAP)
            bench.api.put(CONFIG_MAP, "c7", data={"by": "somebody else"})
            await asyncio.sleep(5)
            assert len(bench.times("c7")) == 2
            assert len(bench.passes) == 31

    play(story)


def test_what_a_reconcile_writes_is_news_to_whom_else_it_concerns() -> None:
    async def story(bench: Bench) -> None:
        other = bench.api.put(CONFIG_MAP, "other")
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "other", "controller": True}
        bench.api.put(CONFIG_MAP, "a")

        def writes_to_the_child_of_another(of: ObjectKey) -> Steps:
            if of.name == "a" and key("child") not in bench.secrets.store:
                owner = {**reference, "uid": other["metadata"]["uid"]}
                metadata = {"namespace": "default", "name": "child", "ownerReferences": [owner]}
                child = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}
                yield request.apply(SECRET, child, manager="m")
                assert key("child") in bench.secrets.store, "shown before the watch tells it"
            return Outcome()

        async with bench.controlling(writes_to_the_child_of_another, ignore_own_writes=True):
            await asyncio.sleep(5)
            assert len(bench.times("a")) == 1
            assert len(bench.times("other")) == 2

    play(story)


class AnswersLate:
    """A door whose answers come long after the watch has told of the write."""

    def __init__(self, client: Client, after_s: float = 1.0) -> None:
        self.client = client
        self.after_s = after_s

    async def send(self, asked: Request, /) -> Object:
        answer = await self.client.send(asked)
        await asyncio.sleep(self.after_s)
        return answer


def test_what_the_watch_tells_of_an_own_write_before_its_answer_calls_for_no_other_reconcile() -> None:
    async def story(bench: Bench) -> None:
        for number in range(30):
            bench.api.put(CONFIG_MAP, f"c{number}")
        async with bench.controlling(labels_itself, ignore_own_writes=True, door=AnswersLate(bench.client)):
            await asyncio.sleep(60)
            assert len(bench.passes) == 30
            bench.api.put(CONFIG_MAP, "c7", data={"by": "somebody else"})
            await asyncio.sleep(0.5)
            bench.api.put(CONFIG_MAP, "c7", data={"by": "somebody else, while the pass waits"})
            await asyncio.sleep(60)
            assert len(bench.times("c7")) == 3
            assert len(bench.passes) == 32

    play(story)


@pytest.mark.parametrize("in_a_list", [False, True])
@pytest.mark.parametrize("edit", [{"data": {"x": "1"}}, {"metadata": {"annotations": {"x": "1"}}}])
def test_an_edit_that_shows_together_with_a_status_write_calls_for_a_reconcile(
    edit: dict[str, Any], in_a_list: bool
) -> None:
    """First in the answer to the write, or in a list before that: neither tells the edit apart."""

    async def story(bench: Bench) -> None:
        bench.api.put(CONFIG_MAP, "a")
        edits = [edit]

        def edit_before_the_write(http: web.Request) -> None:
            if http.method == "PATCH" and edits:
                listening, bench.api.watchers = bench.api.watchers, set()  # the watch tells it too late
                bench.api.put(CONFIG_MAP, "a", **copy.deepcopy(edits.pop()))
                if in_a_list:
                    bench.api.forget_history()
                bench.api.watchers = listening
                if in_a_list:
                    bench.api.say_gone()

        def tells(of: ObjectKey) -> Steps:
            status = {"metadata": {"namespace": of.namespace, "name": of.name}, "status": {"seen": "yes"}}
            yield request.apply_status(CONFIG_MAP, status, manager="m")
            return Outcome()

        bench.api.faults.append(edit_before_the_write)
        door = AnswersLate(bench.client, 10.0 if in_a_list else 0.0)
        async with bench.controlling(tells, ignore_own_writes=True, door=door):
            await asyncio.sleep(60)
            assert not edits
            assert len(bench.times("a")) == 2

    play(story)


def test_server_is_left_alone_for_as_long_as_it_asked() -> None:
    async def story(bench: Bench) -> None:
        bench.api.put(CONFIG_MAP, "a")
        bench.api.faults.append(fail(503, verb="PATCH", headers={"Retry-After": "45"}))

        def writes(of: ObjectKey) -> Steps:
            obj = {"metadata": {"namespace": of.namespace, "name": of.name}, "data": {"x": "1"}}
            yield request.apply(CONFIG_MAP, obj, manager="m")
            return Outcome()

        async with bench.controlling(writes):
            await asyncio.sleep(100)
            refused, accepted = bench.api.verbs("PATCH")[:2]
            assert accepted - refused >= 45

    play(story)


def test_failure_is_logged_once_with_key_and_reason(caplog: pytest.LogCaptureFixture) -> None:
    async def story(bench: Bench) -> None:
        bench.api.put(CONFIG_MAP, "a")
        bench.api.faults.append(fail(500, verb="PATCH"))

        def writes(of: ObjectKey) -> Steps:
            obj = {"metadata": {"namespace": of.namespace, "name": of.name}}
            yield request.apply(CONFIG_MAP, obj, manager="m")
            return Outcome()

        async with bench.controlling(writes):
            await asyncio.sleep(5)

    play(story)
    [record] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "default/a" in record.message
    assert "a scripted fault" in record.message
    assert record.exc_info is None


def test_what_helps_against_a_dead_webhook_is_logged_with_its_refusal(
    caplog: pytest.LogCaptureFixture,
) -> None:
    words = (
        'failed calling webhook "x.example": failed to call webhook: no endpoints available for service "x"'
    )

    async def story(bench: Bench) -> None:
        bench.api.put(CONFIG_MAP, "a")
        bench.api.faults.append(fail(500, verb="PATCH", message=words))

        def writes(of: ObjectKey) -> Steps:
            obj = {"metadata": {"namespace": of.namespace, "name": of.name}}
            yield request.apply(CONFIG_MAP, obj, manager="m")
            return Outcome()

        async with bench.controlling(writes):
            await asyncio.sleep(5)

    play(story)
    [record] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "webhook x.example has no ready pod" in record.__dict__["hint"]
    assert "webhookconfigurations" in record.__dict__["hint"]


def test_resync_looks_at_every_key_again() -> None:
    async def story(bench: Bench) -> None:
        bench.api.put(CONFIG_MAP, "a")
        bench.api.put(CONFIG_MAP, "gone")
        async with bench.controlling(look, resync_s=600):
            await asyncio.sleep(5)
            bench.api.remove(CONFIG_MAP, "gone")
            await asyncio.sleep(3595)
            assert 5 <= len(bench.times("a")) <= 7
            before = len(bench.times("gone"))
            await asyncio.sleep(290)
            assert len(bench.times("gone")) <= before + 6  # its 404s back off; no resync brings it back

    play(story)


def test_controller_can_run_again_and_looks_at_everything() -> None:
    async def story(bench: Bench) -> None:
        bench.api.put(CONFIG_MAP, "a")
        bench.api.put(CONFIG_MAP, "b")
        controller = Controller("test", bench.client, look)
        controller.watches(bench.config_maps, own_key)
        informing = asyncio.create_task(bench.config_maps.run())
        for _ in range(3):
            before = len(bench.api.verbs("GET"))
            running = asyncio.create_task(controller.run())
            await asyncio.sleep(5)
            assert len(bench.api.verbs("GET")) - before == 2
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        informing.cancel()
        await asyncio.gather(informing, return_exceptions=True)

    play(story)


def test_pass_cut_off_by_cancellation_is_closed_and_made_again() -> None:
    async def story(bench: Bench) -> None:
        closed: list[str] = []
        asked = asyncio.Event()

        def notes(http: web.Request) -> None:
            if "watch" not in http.query and http.path.endswith("/a"):
                asked.set()

        def waits(of: ObjectKey) -> Steps:
            try:
                yield request.get(CONFIG_MAP, of.namespace, of.name)
            except GeneratorExit:
                closed.append(of.name)
                raise
            return Outcome()

        bench.api.put(CONFIG_MAP, "a")
        controller = Controller("test", bench.client, waits)
        controller.watches(bench.config_maps, own_key)
        informing = asyncio.create_task(bench.config_maps.run())
        await bench.config_maps.wait_synced()
        running = asyncio.create_task(controller.run())
        bench.api.faults.append(notes)
        await asked.wait()  # the pass has begun, and its answer is still on its way
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert closed == ["a"]
        running = asyncio.create_task(controller.run())
        await asyncio.sleep(1)
        assert len(bench.api.verbs("GET")) == 2
        for task in (running, informing):
            task.cancel()
        await asyncio.gather(running, informing, return_exceptions=True)

    play(story)


def test_key_whose_pass_was_cancelled_before_its_first_step_is_not_lost() -> None:
    async def story(bench: Bench) -> None:
        bench.api.put(CONFIG_MAP, "a")
        informing = asyncio.create_task(bench.config_maps.run())
        await bench.config_maps.wait_synced()
        controller = Controller("test", bench.client, look)
        controller.watches(bench.config_maps, own_key)
        for steps in range(1, 12):  # cancelled at every one of its first steps
            running = asyncio.create_task(controller.run())
            for _ in range(steps):
                await asyncio.sleep(0)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        before = len(bench.api.verbs("GET"))
        running = asyncio.create_task(controller.run())
        await asyncio.sleep(1)
        assert len(bench.api.verbs("GET")) > before
        for task in (running, informing):
            task.cancel()
        await asyncio.gather(running, informing, return_exceptions=True)

    play(story)


def test_no_request_is_sent_once_it_is_not_allowed() -> None:
    async def story(bench: Bench) -> None:
        allowed = True

        def two_writes(of: ObjectKey) -> Steps:
            nonlocal allowed
            obj = {"metadata": {"namespace": of.namespace, "name": of.name}}
            yield request.apply(CONFIG_MAP, {**obj, "data": {"x": "1"}}, manager="m")
            allowed = False
            yield request.apply(CONFIG_MAP, {**obj, "data": {"x": "2"}}, manager="m")
            return Outcome()

        bench.api.put(CONFIG_MAP, "a")
        async with bench.controlling(two_writes, allowed=lambda: allowed):
            await asyncio.sleep(60)
            assert bench.api.all(CONFIG_MAP)[key("a")]["data"] == {"x": "1"}

    play(story)


# --- drive ---------------------------------------------------------------------------------------------


def test_drive_sends_answers_and_throws_errors_in() -> None:
    async def story(bench: Bench) -> None:
        bench.api.put(CONFIG_MAP, "a", data={"x": "1"})

        def asks() -> Generator[Request, Object, tuple[str, str]]:
            found = yield request.get(CONFIG_MAP, "default", "a")
            try:
                yield request.get(CONFIG_MAP, "default", "b")
            except ApiError as error:
                return found["data"]["x"], error.reason
            raise AssertionError

        assert await drive(bench.client, asks()) == ("1", "NotFound")

    play(story)


def test_drive_lets_an_outage_through() -> None:
    async def played() -> None:
        api = ApiServer()
        async with api.running():
            pass
        async with api.client() as client:
            with pytest.raises(Unreachable):
                await drive(client, look(key("a")))

    run(played())


def test_drive_returns_what_needs_no_request() -> None:
    def answer() -> Generator[Request, Object, int]:
        yield from ()
        return 42

    async def story(bench: Bench) -> None:
        assert await drive(bench.client, answer()) == 42

    play(story)


# --- all of it together --------------------------------------------------------------------------------


def test_children_follow_their_owner_and_a_settled_world_is_left_alone() -> None:
    async def story(bench: Bench) -> None:
        def copies(of: ObjectKey) -> Steps:
            owner = bench.config_maps.store.get(of)
            if owner is None:
                return Outcome()
            names = owner.get("data", {}).get("copies", "").split()
            desired = [Child(SECRET, {"metadata": {"name": name}, "data": {"x": "1"}}) for name in names]
            mine = bench.secrets.store.by_owner(owner["metadata"]["uid"])
            observed = {secret["metadata"]["name"]: secret for secret in mine}
            for name in names:
                if (secret := bench.secrets.store.get(ObjectKey(of.namespace, name))) is not None:
                    observed[name] = secret
            decided = plan(
                owner,
                desired,
                [(SECRET, secret) for secret in observed.values()],
                manager="m",
                annotation_prefix="x.io",
            )
            for step in decided.steps:
                yield step.request
            return Outcome()

        api = bench.api
        api.put(CONFIG_MAP, "a", data={"copies": "one two"})
        async with bench.controlling(copies):
            await asyncio.sleep(5)
            assert {found.name for found in api.all(SECRET)} == {"one", "two"}
            api.put(CONFIG_MAP, "a", data={"copies": "two three"})
            api.remove(SECRET, "two")
            await asyncio.sleep(5)
            assert {found.name for found in api.all(SECRET)} == {"two", "three"}
            edited = api.all(SECRET)[key("three")]
            api.put(SECRET, "three", metadata=edited["metadata"], data={"x": "edited"})
            await asyncio.sleep(5)
            assert api.all(SECRET)[key("three")]["data"] == {"x": "1"}
            writes = api.writes
            api.break_watches()
            api.say_gone()
            await asyncio.sleep(3600)
            assert api.writes == writes
            assert len(api.verbs("PATCH")) == 5  # one, two; three, two again; three restored

    play(story)


def test_a_refusal_that_is_taken_back_is_noticed_within_15_seconds_and_an_old_one_costs_little() -> None:
    async def story(bench: Bench) -> None:
        bench.api.put(CONFIG_MAP, "a")
        refused = [True]

        def asks(of: ObjectKey) -> Steps:
            yield request.get(CONFIG_MAP, of.namespace, of.name)
            if refused[0]:
                raise ApiError(403, "Forbidden", "exceeded quota")
            return Outcome()

        async with bench.controlling(asks):
            await asyncio.sleep(75)
            refused[0], healed = False, now()
            await asyncio.sleep(20)
            assert bench.times("a")[-1] - healed <= 15 * 1.1
            refused[0] = True
            bench.api.put(CONFIG_MAP, "a", data={"x": "y"})
            await asyncio.sleep(600)
            before = len(bench.times("a"))
            await asyncio.sleep(600)
            assert len(bench.times("a")) - before <= 600 / 60 + 1

    play(story)
