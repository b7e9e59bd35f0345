"""The sandbox's state on a disk that is full, and files that are not what was once written."""

from __future__ import annotations

import contextlib
import json
import resource
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sandbox_api.serving import (
    CONFIG_MAPS,
    CRDS,
    DEPLOYMENTS,
    WIDGETS,
    Server,
    config_map,
    deployment,
    process_on,
    running,
    widget,
    widget_crd,
)

from kaitoctl.errors import InputError
from kaitoctl.kube import fast_json
from kaitoctl.sandbox.api import Api, Call, Response, Watch
from kaitoctl.sandbox.server import ApiServer
from kaitoctl.sandbox.store import Store


@pytest.mark.skipif(sys.platform != "linux", reason="prlimit is Linux's")
def test_a_full_disk_refuses_writes_keeps_reads_and_heals(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    with process_on(state) as (process, client):
        assert client.create(CONFIG_MAPS, config_map("before", text="1")).status == 201
        unlimited = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        full = max(file.stat().st_size for file in tmp_path.iterdir())
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (full, unlimited[1]))

        big = config_map("during", text="x" * 200_000)
        for refused in (client.create(CONFIG_MAPS, big), client.delete(f"{CONFIG_MAPS}/before")):
            assert (refused.status, refused["kind"], refused["reason"]) == (
                507,
                "Status",
                "InsufficientStorage",
            )
            assert str(state) in refused["message"]
            assert "nothing was changed" in refused["message"]
        assert client.get(f"{CONFIG_MAPS}/during").status == 404
        listed = client.get(CONFIG_MAPS)
        assert [item["metadata"]["name"] for item in listed["items"]] == ["before"]

        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, unlimited)
        created = client.create(CONFIG_MAPS, big)
        assert created.status == 201
        assert created.version == listed.version + 1  # a number that nobody has seen is used again
    with running(state) as again:
        names = [item["metadata"]["name"] for item in again.get(CONFIG_MAPS)["items"]]
    assert names == ["before", "during"]


def test_a_watcher_never_hears_of_a_write_that_was_not_saved(
    tmp_path: Path, start: Callable[[Path], Server]
) -> None:
    server = start(tmp_path / "state.db")
    server.create(CONFIG_MAPS, config_map("before"))
    stream = server.watch(CONFIG_MAPS)
    assert stream.take(1) == [("ADDED", "before")]
    connection = server.api_server._database._connection  # type: ignore[union-attr]
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages}")
    assert server.create(CONFIG_MAPS, config_map("during", text="x" * 50_000)).status == 507
    connection.execute("PRAGMA max_page_count=1000000")
    assert server.create(CONFIG_MAPS, config_map("after")).status == 201
    assert stream.take(1) == [("ADDED", "after")]


_WRITES = st.lists(
    st.tuples(st.sampled_from(["create", "update", "delete", "crd", "uncrd", "widget"]), st.integers(0, 3)),
    max_size=8,
)


def _call(what: str, number: int) -> Call:
    def with_body(method: str, path: str, obj: Any) -> Call:
        return Call(method, path, body=fast_json.encode(obj))

    match what:
        case "create":
            return with_body("POST", DEPLOYMENTS, deployment(f"d{number}"))
        case "update":
            patch = {"spec": {"replicas": number}}
            path = f"{DEPLOYMENTS}/d{number}"
            return Call(
                "PATCH", path, body=fast_json.encode(patch), content_type="application/merge-patch+json"
            )
        case "delete":
            return Call("DELETE", f"{DEPLOYMENTS}/d{number}")
        case "crd":
            return with_body("POST", CRDS, widget_crd())
        case "uncrd":
            return Call("DELETE", f"{CRDS}/widgets.example.com")
        case _:
            return with_body("POST", WIDGETS, widget(f"w{number}"))


def _world(api: Api) -> object:
    """All that a client could find out, but for the bodies of discovery."""
    store = api.store
    return (
        store.version,
        sorted((name, entry.json) for name in store.resources() for entry in store.entries(name)),
        sorted(
            (name, [(event.type, event.entry.json) for event in store.events_since(name, 1)])
            for name in store.resources()
            if store.events_since(name, 1)
        ),
        sorted(api.kinds.resources),
    )


@settings(max_examples=150, deadline=None)
@given(kept=_WRITES, lost=_WRITES)
def test_a_rollback_leaves_no_trace(kept: list[tuple[str, int]], lost: list[tuple[str, int]]) -> None:
    api = Api(Store())
    for what in kept:
        api.answer(_call(*what))
    watch = api.answer(Call("GET", DEPLOYMENTS, {"watch": "true", "resourceVersion": str(api.store.version)}))
    assert isinstance(watch, Watch)
    before = _world(api)
    api.store.begin()
    for what in lost:
        api.answer(_call(*what))
    api.take_back()
    assert _world(api) == before
    assert watch.take() == b""
    answer = api.answer(_call("create", 9))
    assert isinstance(answer, Response)
    assert answer.status == 201
    assert watch.take().count(b"ADDED") == 1


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("DELETE FROM counter", "number of the last write is None"),
        ("UPDATE counter SET version = 1", "number of the last write is 1"),
        ("UPDATE counter SET version = 'many'", "number of the last write is many"),
        ("DELETE FROM objects", "the objects are none"),
        ("UPDATE objects SET json = '{' WHERE name = 'kept'", "Expecting property name"),
        ("UPDATE objects SET json = '[]' WHERE name = 'kept'", "TypeError"),
        ("UPDATE objects SET json = '{}' WHERE name = 'kept'", "KeyError"),
        ("UPDATE objects SET name = 'other' WHERE name = 'kept'", "default/other holds another object"),
        ("DROP TABLE objects; CREATE TABLE objects (resource TEXT)", "no such column"),
    ],
)
def test_a_damaged_file_is_named_and_left_as_it_is(tmp_path: Path, damage: str, words: str) -> None:
    state = tmp_path / "state.db"
    with running(state) as server:
        server.create(CONFIG_MAPS, config_map("kept"))
    with sqlite3.connect(state) as connection:
        connection.executescript(damage)
    connection.close()
    for _ in range(2):  # the first look must not mend it into an empty cluster
        with pytest.raises(InputError, match="is damaged") as caught:
            ApiServer(state=state)
        assert words in caught.value.message
        assert "start with an empty cluster" in caught.value.hint


@pytest.mark.parametrize("at", [0.1, 0.5, 0.9])
def test_a_file_cut_or_overwritten_is_damaged_or_whole(tmp_path: Path, at: float) -> None:
    state = tmp_path / "state.db"
    with running(state) as server:
        for number in range(50):
            server.create(CONFIG_MAPS, config_map(f"m{number}", text="x" * 500))
    content = bytearray(state.read_bytes())
    place = int(len(content) * at) // 4096 * 4096
    content[place : place + 4096] = b"\xff" * 4096
    state.write_bytes(content)
    for file in tmp_path.glob("state.db-*"):
        file.unlink()
    with pytest.raises(InputError, match="is damaged"):
        ApiServer(state=state)


def test_an_empty_file_is_damaged(tmp_path: Path) -> None:
    """A crash of the machine or a full disk leaves such files; a new cluster has no file at all."""
    state = tmp_path / "state.db"
    state.touch()
    with pytest.raises(InputError, match="is damaged: the file is empty"):
        ApiServer(state=state)
    assert state.read_bytes() == b""


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("CREATE TABLE bookmarks (url TEXT)", "it has another program's tables"),
        ("DROP TABLE objects", "it has no table objects"),
        ("DROP TABLE counter", "it has no table counter"),
    ],
)
def test_a_database_without_our_tables_is_no_new_cluster(tmp_path: Path, script: str, words: str) -> None:
    state = tmp_path / "state.db"
    if script.startswith("DROP"):
        with running(state) as server:
            server.create(CONFIG_MAPS, config_map("m"))
    with contextlib.closing(sqlite3.connect(state)) as connection:
        connection.executescript(script)
    before = state.read_bytes()
    with pytest.raises(InputError, match=words):
        ApiServer(state=state)
    assert state.read_bytes() == before


def test_a_log_without_its_file_is_damage(tmp_path: Path) -> None:
    (tmp_path / "state.db-wal").write_bytes(b"x" * 100)
    with pytest.raises(InputError, match=r"it is gone, and state\.db-wal is still there"):
        ApiServer(state=tmp_path / "state.db")


def test_no_file_is_a_new_cluster(tmp_path: Path) -> None:
    with running(tmp_path / "state.db") as server:
        assert len(server.get("/api/v1/namespaces")["items"]) == 4
        assert json.loads(json.dumps(server.get(CONFIG_MAPS).body))["items"] == []
