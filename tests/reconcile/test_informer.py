"""The informer's picture and the server's state are one, whatever the server and the network do."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import web
from reconcile.api_server import ApiServer, Place, fail
from virtual_time import run

from kaitoctl.errors import ApiError
from kaitoctl.kube.client import Client, WatchEvent
from kaitoctl.kube.kubeconfig import Server
from kaitoctl.kube.objects import CONFIG_MAP, NODE, Kind, Object, ObjectKey, key_of
from kaitoctl.reconcile.informer import Informer, follow
from kaitoctl.reconcile.store import Change, Store

WIDGET = Kind("example.com", "v1", "Widget", "widgets")


def with_informer(
    story: Callable[[ApiServer, Informer, list[Change]], Awaitable[None]], *, server: ApiServer | None = None
) -> None:
    """Play a story with a synced informer over ConfigMaps and the changes it told of."""

    async def play() -> None:
        api = server or ApiServer()
        async with api.running() as client:
            informer = Informer(client, CONFIG_MAP)
            changes: list[Change] = []
            informer.subscribe(changes.append)
            running = asyncio.create_task(informer.run())
            await informer.wait_synced()
            await settle()
            await story(api, informer, changes)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    run(play())


async def settle(seconds: float = 5.0) -> None:
    await asyncio.sleep(seconds)


def is_same_picture(informer: Informer, api: ApiServer) -> bool:
    return dict(informer.store) == api.all(informer.kind)


def is_served(informer: Informer) -> bool | None:
    return informer.is_served


def test_store_follows_additions_changes_and_deletions() -> None:
    async def story(api: ApiServer, informer: Informer, changes: list[Change]) -> None:
        api.put(CONFIG_MAP, "a", data={"x": "1"})
        api.put(CONFIG_MAP, "b")
        api.put(CONFIG_MAP, "a", data={"x": "2"})
        api.remove(CONFIG_MAP, "b")
        await settle()
        assert is_same_picture(informer, api)
        assert [(change.key.name, bool(change.old), bool(change.new)) for change in changes] == [
            ("a", False, True),
            ("b", False, True),
            ("a", True, True),
            ("b", True, False),
        ]
        assert len(api.verbs("LIST")) == 1

    with_informer(story)


def test_list_is_read_in_pages() -> None:
    server = ApiServer()
    server.page = 3
    for number in range(10):
        server.put(CONFIG_MAP, f"c{number}")

    async def story(api: ApiServer, informer: Informer, changes: list[Change]) -> None:
        assert is_same_picture(informer, api)
        assert len(changes) == 10

    with_informer(story, server=server)


def test_failing_page_never_makes_a_partial_picture() -> None:
    async def play() -> None:
        api = ApiServer()
        api.page = 3
        for number in range(10):
            api.put(CONFIG_MAP, f"c{number}")

        failures = iter(range(2))

        def third_page_fails(http: web.Request) -> web.Response | None:
            if http.query.get("continue") == "6" and next(failures, None) is not None:
                return web.json_response({"kind": "Status", "code": 410, "reason": "Expired"}, status=410)
            return None

        api.faults.append(third_page_fails)
        async with api.running() as client:
            informer = Informer(client, CONFIG_MAP)
            sizes: set[int] = set()
            informer.subscribe(lambda change: sizes.add(len(informer.store)))
            running = asyncio.create_task(informer.run())
            await asyncio.sleep(0.5)
            assert not informer.synced
            assert not informer.store
            await informer.wait_synced()
            assert is_same_picture(informer, api)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    run(play())


def test_late_listener_gets_the_store_as_additions() -> None:
    async def story(api: ApiServer, informer: Informer, changes: list[Change]) -> None:
        api.put(CONFIG_MAP, "a")
        await settle()
        late: list[Change] = []
        informer.subscribe(late.append)
        assert late == changes

    with_informer(story)


def test_failing_listener_harms_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    async def story(api: ApiServer, informer: Informer, changes: list[Change]) -> None:
        def fails(change: Change) -> None:
            raise RuntimeError("listener")

        heard: list[Change] = []
        informer.subscribe(fails)
        informer.subscribe(heard.append)
        api.put(CONFIG_MAP, "a")
        await settle()
        assert len(heard) == 1
        assert is_same_picture(informer, api)

    with_informer(story)
    assert "a listener failed" in caplog.text


def test_an_error_on_the_way_out_does_not_keep_it_from_ending(caplog: pytest.LogCaptureFixture) -> None:
    """A connection's cleanup, or whoever observes it, raises while the watch is cancelled."""

    fails: list[int] = []

    class Clumsy(Client):
        async def watch(self, *_: Any, **__: Any) -> AsyncIterator[WatchEvent]:
            try:
                await asyncio.sleep(1000)
                yield WatchEvent("BOOKMARK", {})
            finally:
                if not fails:  # once: without the guard, this test would never end
                    fails.append(1)
                    raise RuntimeError("clumsy")

    async def play() -> None:
        api = ApiServer()
        async with api.running(), Clumsy(Server(api.url)) as client:
            running = asyncio.create_task(Informer(client, CONFIG_MAP).run())
            await settle()
            running.cancel()
            done, _ = await asyncio.wait({running}, timeout=5.0)
            assert done == {running}
            assert running.cancelled()

    run(play())
    assert "unexpected answer" in caplog.text


@pytest.mark.parametrize("interrupt", [ApiServer.break_watches, ApiServer.end_watches])
def test_interrupted_watch_goes_on_where_it_stopped(interrupt: Callable[[ApiServer], None]) -> None:
    async def story(api: ApiServer, informer: Informer, changes: list[Change]) -> None:
        for number in range(4):
            api.put(CONFIG_MAP, "a", data={"n": str(number)})
            await asyncio.sleep(0.01)
            interrupt(api)
            await asyncio.sleep(0.01)
            api.put(CONFIG_MAP, f"missed-{number}")
            await settle(60)
            assert is_same_picture(informer, api)
        assert len(api.verbs("LIST")) == 1
        assert len(changes) == 8  # each once

    with_informer(story)


def test_bookmarks_move_the_place_to_go_on_from() -> None:
    async def story(api: ApiServer, informer: Informer, changes: list[Change]) -> None:
        api.put(NODE, "elsewhere")  # another resource: only a bookmark tells of its version
        await settle(70)
        api.forget_history()
        api.break_watches()
        await settle()
        assert len(api.verbs("LIST")) == 1
        assert api.seen[-1].query["resourceVersion"] == str(api.version)
        assert changes == []

    with_informer(story)


@pytest.mark.parametrize("as_event", [True, False])
def test_410_makes_the_informer_list_again(as_event: bool) -> None:
    server = ApiServer()
    for name in ("kept", "changed", "gone", "reborn"):
        server.put(CONFIG_MAP, name)

    async def story(api: ApiServer, informer: Informer, changes: list[Change]) -> None:
        changes.clear()
        if as_event:
            api.say_gone()
            await asyncio.sleep(0.01)
        else:
            api.break_watches()
            await asyncio.sleep(0.01)
        api.put(CONFIG_MAP, "changed", data={"x": "1"})
        api.remove(CONFIG_MAP, "gone")
        api.remove(CONFIG_MAP, "reborn")
        api.put(CONFIG_MAP, "reborn")
        api.put(CONFIG_MAP, "new")
        api.forget_history()
        await settle(10)
        assert is_same_picture(informer, api)
        assert len(api.verbs("LIST")) == 2
        assert sorted((c.key.name, bool(c.old), bool(c.new)) for c in changes) == [
            ("changed", True, True),
            ("gone", True, False),
            ("new", False, True),
            ("reborn", True, True),
        ]

    with_informer(story, server=server)


def test_persistent_410_costs_one_list_per_backoff_step() -> None:
    async def story(api: ApiServer, informer: Informer, changes: list[Change]) -> None:
        lists = len(api.verbs("LIST"))
        api.faults.append(fail(410, times=10**6, verb="WATCH"))
        api.end_watches()
        await settle(60)
        assert 3 <= len(api.verbs("LIST")) - lists <= 8
        api.faults.clear()
        api.put(CONFIG_MAP, "a")
        await settle(65)
        assert is_same_picture(informer, api)

    with_informer(story)


def test_server_that_ends_every_watch_at_once_is_not_asked_often() -> None:
    async def story(api: ApiServer, informer: Informer, changes: list[Change]) -> None:
        def ends_at_once(http: web.Request) -> web.Response | None:
            return web.Response(status=200) if "watch" in http.query else None

        before = len(api.verbs("WATCH"))
        api.faults.append(ends_at_once)
        api.end_watches()
        await settle(60)
        assert 3 <= len(api.verbs("WATCH")) - before <= 8

    with_informer(story)


def test_watch_that_lived_long_is_reopened_quickly() -> None:
    async def story(api: ApiServer, informer: Informer, changes: list[Change]) -> None:
        for _ in range(6):  # a proxy that cuts everything after 40 s
            await settle(40)
            ended = asyncio.get_running_loop().time()
            api.end_watches()
            await settle(1)
            assert api.verbs("WATCH")[-1] - ended < 0.25

    with_informer(story)


def test_silent_connection_is_replaced_within_75_seconds() -> None:
    async def story(api: ApiServer, informer: Informer, changes: list[Change]) -> None:
        api.watchers.clear()  # nothing arrives any more on the open connection
        api.put(CONFIG_MAP, "a")
        await settle(76)
        assert is_same_picture(informer, api)
        assert len(api.verbs("LIST")) == 1

    server = ApiServer()
    server.bookmark_every_s = None
    with_informer(story, server=server)


def test_an_hour_of_watching_lists_once() -> None:
    async def story(api: ApiServer, informer: Informer, changes: list[Change]) -> None:
        for number in range(12):
            await settle(300)
            api.put(CONFIG_MAP, "a", data={"n": str(number)})
        await settle()
        assert is_same_picture(informer, api)
        assert len(changes) == 12
        assert len(api.verbs("LIST")) == 1

    with_informer(story)


@pytest.mark.parametrize("status", [500, 503, 429, 401, 403])
def test_errors_are_waited_out(status: int) -> None:
    async def story(api: ApiServer, informer: Informer, changes: list[Change]) -> None:
        api.faults.append(fail(status, times=2))
        api.break_watches()
        api.put(CONFIG_MAP, "a")
        await settle(30)
        assert is_same_picture(informer, api)
        assert len(api.verbs("LIST")) == 1

    with_informer(story)


def test_retry_after_is_respected() -> None:
    async def story(api: ApiServer, informer: Informer, changes: list[Change]) -> None:
        api.faults.append(fail(429, verb="WATCH", headers={"Retry-After": "20"}))
        api.end_watches()
        await settle(60)
        refused, next_ = api.verbs("WATCH")[-2:]
        assert next_ - refused >= 20

    with_informer(story)


def test_place_that_the_server_keeps_refusing_is_given_up() -> None:
    # After a restore from a backup the server's versions are lower than ours, and every watch fails.
    async def story(api: ApiServer, informer: Informer, changes: list[Change]) -> None:
        def too_large(http: web.Request) -> web.Response | None:
            if "watch" in http.query and int(http.query["resourceVersion"]) > api.version:
                return web.json_response({"kind": "Status", "code": 504, "reason": "Timeout"}, status=504)
            return None

        api.put(CONFIG_MAP, "a", data={"x": "later"})
        await settle()
        api.faults.append(too_large)
        api.break_watches()
        api.version = 3
        api.history.clear()
        api.objects.clear()
        api.put(CONFIG_MAP, "a", data={"x": "restored"})
        await settle(60)
        assert is_same_picture(informer, api)

    with_informer(story)


@pytest.mark.parametrize(
    "line",
    [
        {"type": "ADDED", "object": {}},
        {"type": "ADDED", "object": {"metadata": {"resourceVersion": "5000"}}},
        {"type": "ADDED", "object": "text"},
        {"type": "MODIFIED", "object": {"metadata": None}},
        {"type": "MODIFIED", "object": {"metadata": {"name": "a", "ownerReferences": ["x"]}}},
        {"type": "BOOKMARK", "object": {}},
        {"type": "UNHEARD-OF"},
        {},
        [],
    ],
)
def test_malformed_events_are_survived(line: object, caplog: pytest.LogCaptureFixture) -> None:
    async def story(api: ApiServer, informer: Informer, changes: list[Change]) -> None:
        api.put(CONFIG_MAP, "before")
        api.say(json.dumps(line).encode() + b"\n")
        api.put(CONFIG_MAP, "after")
        await settle(10)
        assert is_same_picture(informer, api)

    with_informer(story)
    assert "malformed" in caplog.text or "unexpected" in caplog.text


def test_event_that_is_malformed_every_time_is_got_over() -> None:
    async def story(api: ApiServer, informer: Informer, changes: list[Change]) -> None:
        stuck_at = api.version

        def always_malformed(http: web.Request) -> web.Response | None:
            if "watch" in http.query and int(http.query["resourceVersion"]) <= stuck_at:
                return web.Response(text="{}\n")
            return None

        api.faults.append(always_malformed)
        api.break_watches()
        api.put(CONFIG_MAP, "after")
        await settle(30)
        assert is_same_picture(informer, api)

    with_informer(story)


def test_values_of_a_malformed_object_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def story(api: ApiServer, informer: Informer, changes: list[Change]) -> None:
        event = {"type": "ADDED", "object": {"metadata": {}, "data": {"password": "hunter2"}}}
        api.say(json.dumps(event).encode() + b"\n")
        await settle()

    with_informer(story)
    assert "a dict of ['data', 'metadata']" in caplog.text
    assert "hunter2" not in caplog.text


def test_server_too_slow_to_list_is_asked_ever_less() -> None:
    async def play() -> None:
        api = ApiServer()
        api.faults.append(lambda http: web.Response(headers={"Content-Length": "1000"}))  # begun, never ended
        async with api.running() as client:
            running = asyncio.create_task(Informer(client, CONFIG_MAP).run())
            await settle(600)
            gaps = [later - at for at, later in pairwise(api.verbs("LIST"))]
            assert max(gaps) > 60 + 10
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    run(play())


def test_line_that_is_not_json_is_survived() -> None:
    async def story(api: ApiServer, informer: Informer, changes: list[Change]) -> None:
        api.say(b"<html>a proxy's page</html>\n")
        api.put(CONFIG_MAP, "after")
        await settle(10)
        assert is_same_picture(informer, api)

    with_informer(story)


def test_answer_without_items_is_not_an_empty_list(caplog: pytest.LogCaptureFixture) -> None:
    server = ApiServer()
    server.put(CONFIG_MAP, "a")

    async def story(api: ApiServer, informer: Informer, changes: list[Change]) -> None:
        def status_200(http: web.Request) -> web.Response | None:
            return (
                None if "watch" in http.query else web.json_response({"kind": "Status", "status": "Success"})
            )

        api.faults.append(status_200)
        api.say_gone()
        await settle(30)
        assert set(informer.store) == {ObjectKey("default", "a")}

    with_informer(story, server=server)
    assert "not a list where one was due" in caplog.text


def test_repeated_and_late_news_do_not_bring_back_the_past() -> None:
    async def story(api: ApiServer, informer: Informer, changes: list[Change]) -> None:
        first = api.put(CONFIG_MAP, "a", data={"x": "1"})
        old = json.dumps({"type": "MODIFIED", "object": first}).encode() + b"\n"
        deleted = json.dumps({"type": "DELETED", "object": first}).encode() + b"\n"
        new = json.dumps({"type": "MODIFIED", "object": api.put(CONFIG_MAP, "a", data={"x": "2"})}).encode()
        for line in (old, new + b"\n", deleted, old):
            api.say(line)
        await settle()
        assert is_same_picture(informer, api)
        assert len(changes) == 2

    with_informer(story)


def test_who_waits_for_a_kind_is_told_when_it_appears() -> None:
    async def play() -> None:
        api = ApiServer()
        api.not_served.add("apis/example.com/v1/widgets")
        async with api.running() as client:
            informer = Informer(client, WIDGET)
            told: list[bool | None] = []
            informer.when_served(lambda: told.append(informer.is_served))
            running = asyncio.create_task(informer.run())
            await informer.wait_synced()
            await asyncio.sleep(60)
            assert told == []
            api.not_served.clear()
            await asyncio.sleep(61)
            assert told == [True], "though there is no object whose change could tell"
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    run(play())


def test_an_optional_kind_that_may_not_be_listed_blocks_nobody() -> None:
    async def play() -> None:
        api = ApiServer()
        api.faults.append(fail(403, times=1_000_000, verb="LIST"))
        async with api.running() as client:
            informer = Informer(client, WIDGET, optional=True)
            running = asyncio.create_task(informer.run())
            await informer.wait_synced()
            assert is_served(informer) is False
            api.faults.clear()
            await asyncio.sleep(61)
            assert is_served(informer) is True
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    run(play())


def test_only_what_is_kept_is_stored() -> None:
    def small_ones(obj: Object) -> Object | None:
        return {"metadata": obj["metadata"]} if obj["data"]["size"] == "small" else None

    async def play() -> None:
        api = ApiServer()
        api.put(CONFIG_MAP, "a", data={"size": "small"})
        api.put(CONFIG_MAP, "b", data={"size": "large"})
        async with api.running() as client:
            informer = Informer(client, CONFIG_MAP, transform=small_ones)
            changes: list[Change] = []
            informer.subscribe(changes.append)
            running = asyncio.create_task(informer.run())
            await informer.wait_synced()
            await settle()
            assert [key.name for key in informer.store] == ["a"]
            assert "data" not in informer.store[ObjectKey("default", "a")]
            api.put(CONFIG_MAP, "a", data={"size": "large"})
            await settle()
            assert not informer.store
            assert changes[-1].new is None
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    run(play())


def test_kind_that_is_not_served_counts_as_synced_until_it_appears() -> None:
    async def play() -> None:
        api = ApiServer()
        api.not_served.add("apis/example.com/v1/widgets")
        async with api.running() as client:
            informer = Informer(client, WIDGET)
            assert is_served(informer) is None
            running = asyncio.create_task(informer.run())
            await informer.wait_synced()
            assert is_served(informer) is False
            assert not informer.store
            await asyncio.sleep(60)
            assert len(api.verbs("LIST")) <= 8
            api.not_served.clear()
            api.put(WIDGET, "w")
            await asyncio.sleep(61)
            assert is_served(informer)
            assert is_same_picture(informer, api)
            api.not_served.add("apis/example.com/v1/widgets")  # its CRD is deleted, and the news was missed
            api.break_watches()
            await asyncio.sleep(150)
            assert is_served(informer) is False
            assert not informer.store
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    run(play())


@pytest.mark.parametrize("not_served", [False, True])
def test_to_run_once_lists_once_and_watches_nothing(not_served: bool) -> None:
    async def play() -> None:
        api = ApiServer()
        api.put(WIDGET, "w")
        if not_served:
            api.not_served.add("apis/example.com/v1/widgets")
        async with api.running() as client:
            informer = Informer(client, WIDGET)
            await informer.run(once=True)
            assert informer.synced
            assert is_served(informer) is not not_served
            assert len(informer.store) == (0 if not_served else 1)
            await settle()
            assert (len(api.verbs("LIST")), api.verbs("WATCH")) == (1, [])

    run(play())


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503, 504])
def test_to_run_once_raises_what_its_list_is_answered(status: int) -> None:
    """Whoever looks once is patient in the client, or not at all; here nobody would hear of it."""

    async def play() -> None:
        api = ApiServer()
        api.faults.append(fail(status, times=100))
        async with api.running() as client:
            if status == 404:
                await Informer(client, CONFIG_MAP).run(once=True)
            else:
                with pytest.raises(ApiError):
                    await Informer(client, CONFIG_MAP).run(once=True)
        assert len(api.verbs("LIST")) == 1

    run(play())


@pytest.mark.parametrize("times", [2, 100])
def test_to_run_once_lists_again_when_the_server_has_forgotten_its_beginning(times: int) -> None:
    async def play() -> None:
        api = ApiServer()
        api.put(CONFIG_MAP, "a")
        api.faults.append(fail(410, times=times))
        async with api.running() as client:
            informer = Informer(client, CONFIG_MAP)
            if times == 2:
                await informer.run(once=True)
                assert len(informer.store) == 1
            else:
                with pytest.raises(ApiError):
                    await informer.run(once=True)
        assert len(api.verbs("LIST")) == 3

    run(play())


def test_informer_starts_while_the_server_is_down() -> None:
    async def play() -> None:
        api = ApiServer()
        async with api.running():
            pass
        async with api.client() as client:
            informer = Informer(client, CONFIG_MAP)
            running = asyncio.create_task(informer.run())
            await asyncio.sleep(100)
            assert not informer.synced
            assert not running.done()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    run(play())


def test_selectors_are_passed_on() -> None:
    async def play() -> None:
        api = ApiServer()
        api.put(CONFIG_MAP, "a", metadata={"labels": {"app": "x"}})
        api.put(CONFIG_MAP, "b", metadata={"labels": {"app": "y"}})
        api.put(CONFIG_MAP, "c", namespace="other", metadata={"labels": {"app": "x"}})
        async with api.running() as client:
            informer = Informer(client, CONFIG_MAP, namespace="default", label_selector="app=x")
            running = asyncio.create_task(informer.run())
            await informer.wait_synced()
            assert set(informer.store) == {ObjectKey("default", "a")}
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    run(play())


# --- store ---------------------------------------------------------------------------------------------


def labelled(name: str, **labels: str) -> Object:
    return {"metadata": {"name": name, "namespace": "d", "labels": labels}}


def filled(*objects: Object, packed: bool = False) -> Store:
    store = Store(packed=packed)
    for obj in objects:
        store._replace(key_of(obj), obj)
    return store


def names(objects: Iterable[Object]) -> list[str]:
    return [obj["metadata"]["name"] for obj in objects]


@pytest.mark.parametrize("packed", [False, True])
def test_store_finds_children_by_their_controller(packed: bool) -> None:
    def child(name: str, *uids: str) -> Object:
        references = [{"uid": uid, "controller": True} for uid in uids]
        return {"metadata": {"name": name, "namespace": "d", "ownerReferences": references}}

    store = filled(child("a", "u1"), child("b", "u1"), child("c"), packed=packed)
    assert names(store.by_owner("u1")) == ["a", "b"]
    store._replace(ObjectKey("d", "a"), child("a", "u2"))
    store._replace(ObjectKey("d", "b"), None)
    assert store.by_owner("u1") == []
    assert names(store.by_owner("u2")) == ["a"]
    assert not isinstance(store, dict)


def test_store_finds_what_carries_all_labels() -> None:
    store = filled(labelled("a", x="1", y="1"), labelled("b", x="1"), labelled("c", x="2", y="1"))
    assert names(store.by_labels({"x": "1"})) == ["a", "b"]
    assert names(store.by_labels({"x": "1", "y": "1"})) == ["a"]
    assert names(store.by_labels({"x": "1", "z": "1"})) == []
    store._replace(ObjectKey("d", "b"), labelled("b", x="1", y="1"))
    assert names(store.by_labels({"x": "1", "y": "1"})) == ["a", "b"]


def test_an_index_looks_at_each_version_of_an_object_once() -> None:
    looked: list[str] = []

    def index(obj: Object) -> tuple[str, ...]:
        looked.append(obj["metadata"]["name"])
        return ("all",)

    store = filled(*(labelled(f"o{number}") for number in range(100)))
    assert len(store.by(index, "all")) == 100
    assert len(looked) == 100
    store.by(index, "all")
    store.by(index, "none")
    assert len(looked) == 100
    store._replace(ObjectKey("d", "o7"), labelled("o7", x="1"))
    assert looked[100:] == ["o7", "o7"]  # what it was and what it is


def test_objects_that_no_index_understands_are_kept_all_the_same() -> None:
    store = filled({"metadata": {"name": "a", "namespace": "d", "labels": {"x": ["1"]}}})
    assert names(store.by_labels({"x": "1"})) == []
    store._replace(ObjectKey("d", "a"), labelled("a", x="1"))
    assert names(store.by_labels({"x": "1"})) == ["a"]


def test_who_changes_an_object_of_a_packed_store_changes_only_his_own() -> None:
    store = filled(labelled("a", x="1"), packed=True)
    store[ObjectKey("d", "a")]["metadata"]["labels"]["x"] = "2"
    assert store[ObjectKey("d", "a")] == labelled("a", x="1")


def test_an_answer_does_not_undo_what_the_watch_has_told() -> None:
    async def story(api: ApiServer, informer: Informer, changes: list[Change]) -> None:
        old = api.put(CONFIG_MAP, "a", data={"x": "1"})
        api.put(CONFIG_MAP, "b")
        newer = api.put(CONFIG_MAP, "a", data={"x": "2"})
        gone = api.put(CONFIG_MAP, "c")
        api.remove(CONFIG_MAP, "c")
        await settle()
        told = len(changes)
        for late in (old, newer, gone):
            informer.observe_write(late)
        assert is_same_picture(informer, api)
        assert len(changes) == told

    with_informer(story)


def test_answers_are_believed_while_a_list_is_under_way() -> None:
    """What a controller makes then, it must not take for missing a moment later."""

    async def story(api: ApiServer, informer: Informer, changes: list[Change]) -> None:
        gone = api.put(CONFIG_MAP, "gone")
        api.remove(CONFIG_MAP, "gone")
        await settle()
        made: list[Object] = []
        shown: list[str] = []

        def list_of_the_moment_before(http: web.Request) -> web.Response | None:
            if "watch" in http.query or http.method != "GET" or made:
                return None
            answer = api._list(http, Place.of(http.path))
            api.forget_history()
            made.append(api.put(CONFIG_MAP, "new"))
            for late in (*made, gone):
                informer.observe_write(late)
            shown.extend(key.name for key in informer.store)
            return answer

        api.faults.append(list_of_the_moment_before)
        changes.clear()
        api.say_gone()
        await settle()
        assert shown == ["new"]
        assert is_same_picture(informer, api)
        assert len(changes) == 1, "it was never taken for gone"
        api.remove(CONFIG_MAP, "new")
        await settle()
        assert is_same_picture(informer, api)

    with_informer(story)


def test_answers_that_the_watch_would_not_show_are_left_out() -> None:
    async def story(api: ApiServer, informer: Informer, changes: list[Change]) -> None:
        api.put(CONFIG_MAP, "a")
        await settle()
        metadata = {"name": "x", "namespace": "default", "resourceVersion": "999999", "uid": "u"}
        obj: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        informer.observe_write({**obj, "kind": "Secret"})
        informer.observe_write({**obj, "metadata": {**metadata, "resourceVersion": "made up"}})
        informer.observe_write({"kind": "Status"})
        assert is_same_picture(informer, api)
        selecting = Informer(api.client(), CONFIG_MAP, label_selector="team")
        selecting._state.version = "1"
        selecting.observe_write(obj)
        assert not selecting.store
        selecting.observe_write({**obj, "metadata": {**metadata, "labels": {"team": "a"}}})
        assert len(selecting.store) == 1

    with_informer(story)


def test_a_change_of_what_is_not_kept_is_no_news() -> None:
    changes: list[Change] = []

    async def story(api: ApiServer) -> None:
        async with api.running() as client:
            informer = Informer(client, CONFIG_MAP, transform=without_data, packed=True)
            informer.subscribe(changes.append)
            running = asyncio.create_task(informer.run())
            await settle()
            api.put(CONFIG_MAP, "a", data={"x": "1"})
            api.put(CONFIG_MAP, "a", data={"x": "2"})
            last = api.put(CONFIG_MAP, "a", data={"x": "3"})
            await settle()
            (known,) = informer.store.values()
            assert known["metadata"]["resourceVersion"] == last["metadata"]["resourceVersion"]
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    run(story(ApiServer()))
    assert len(changes) == 1


def without_data(obj: Object) -> Object:
    metadata = {key: value for key, value in obj["metadata"].items() if key != "generation"}
    return {**{key: value for key, value in obj.items() if key != "data"}, "metadata": metadata}


# --- follow --------------------------------------------------------------------------------------------


def test_follow_yields_each_state_of_one_object() -> None:
    async def play() -> None:
        api = ApiServer()
        api.put(CONFIG_MAP, "other")
        async with api.running() as client:
            states = follow(client, CONFIG_MAP, "default", "a")
            assert await anext(states) is None
            created = api.put(CONFIG_MAP, "a", data={"x": "1"})
            assert await anext(states) == created
            api.put(CONFIG_MAP, "other", data={"x": "1"})
            changed = api.put(CONFIG_MAP, "a", data={"x": "2"})
            assert await anext(states) == changed
            api.break_watches()
            api.remove(CONFIG_MAP, "a")
            assert await anext(states) is None
            await states.aclose()  # type: ignore[attr-defined]
            assert len(asyncio.all_tasks()) <= 1 + len(api.watchers) + 2

    run(play())


def test_follow_starts_with_the_present_state() -> None:
    async def play() -> None:
        api = ApiServer()
        present = api.put(CONFIG_MAP, "a")
        async with api.running() as client:
            async for state in follow(client, CONFIG_MAP, "default", "a"):
                assert state == present
                break

    run(play())


@pytest.mark.parametrize("status", [401, 403])
def test_follow_raises_when_the_server_refuses(status: int) -> None:
    async def first(client: Client) -> object:
        return await anext(follow(client, CONFIG_MAP, "default", "a"))

    async def play() -> None:
        api = ApiServer()
        api.faults.append(fail(status, times=100))
        async with api.running() as client:
            with pytest.raises(ApiError) as caught:
                await first(client)
            assert caught.value.status == status

    run(play())


def test_follow_waits_out_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    async def play() -> None:
        api = ApiServer()
        api.faults.append(fail(500, times=3))
        present = api.put(CONFIG_MAP, "a")
        async with api.running() as client:
            states = follow(client, CONFIG_MAP, "default", "a")
            assert await anext(states) == present
            await states.aclose()  # type: ignore[attr-defined]

    with caplog.at_level(logging.WARNING):
        run(play())
    assert "a scripted fault" in caplog.text
