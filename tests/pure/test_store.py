from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaitoctl.kube.objects import Object, ObjectKey
from kaitoctl.sandbox.store import Event, Expired, Store


def _object(name: str, namespace: str = "n", **more: Any) -> Object:
    return {"metadata": {"name": name, "namespace": namespace, "uid": name}, **more}


def _key(name: str, namespace: str = "n") -> ObjectKey:
    return ObjectKey(namespace, name)


def test_every_write_gets_a_version_of_its_own() -> None:
    store = Store()
    versions = [store.put("a", _object("x")).version, store.put("b", _object("x")).version]
    versions.append(store.remove("a", _key("x")).version)
    assert versions == [2, 3, 4]
    assert store.version == 4
    assert store.find("a", _key("x")) is None


def test_lists_are_in_the_order_of_keys_and_by_namespace() -> None:
    store = Store()
    for namespace, name in (("b", "1"), ("a", "2"), ("a-b", "9"), ("a", "1")):
        store.put("r", _object(name, namespace))
    assert [str(entry.key) for entry in store.entries("r")] == ["a/1", "a/2", "a-b/9", "b/1"]
    assert [str(entry.key) for entry in store.entries("r", "a")] == ["a/1", "a/2"]
    assert [str(entry.key) for entry in store.entries("r", after=ObjectKey("a", "2"))] == ["a-b/9", "b/1"]
    assert (store.count("r"), store.count("r", "a"), store.count("r", "c")) == (4, 2, 0)


def test_json_and_event_lines_are_encoded_once() -> None:
    store = Store()
    seen: list[Event] = []
    store.listen("r", seen.append)
    entry = store.put("r", _object("x", text="é"))
    assert entry.json is entry.json
    assert seen[0].line is seen[0].line
    assert json.loads(seen[0].line) == {"type": "ADDED", "object": entry.obj}


def test_who_stops_listening_hears_nothing_more() -> None:
    store = Store()
    seen: list[Event] = []
    stop = store.listen("r", seen.append)
    store.put("r", _object("x"))
    stop()
    stop()
    store.put("r", _object("x"))
    assert [event.type for event in seen] == ["ADDED"]


def test_the_past_is_forgotten_in_the_end() -> None:
    store = Store(history=10)
    for _ in range(30):
        store.put("r", _object("x"))
    latest = store.version
    assert [event.entry.version for event in store.events_since("r", latest - 10)] == list(
        range(latest - 9, latest + 1)
    )
    with pytest.raises(Expired, match="too old resource version: 1"):
        store.events_since("r", 1)
    with pytest.raises(Expired):
        store.entries("r", at=1)
    assert store.events_since("other", 1) == []


_WRITES = st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=40)


@given(_WRITES, st.integers(1, 12))
def test_the_history_leads_from_any_remembered_version_to_now(
    writes: list[tuple[str, bool]], history: int
) -> None:
    store = Store(history=history)
    states: dict[int, dict[str, int]] = {1: {}}
    for name, is_put in writes:
        if is_put:
            store.put("r", _object(name))
        elif store.find("r", _key(name)):
            store.remove("r", _key(name))
        states[store.version] = {entry.key.name: entry.version for entry in store.entries("r")}
    for version, state in states.items():
        try:
            events = store.events_since("r", version)
        except Expired:
            continue
        assert {entry.key.name: entry.version for entry in store.entries("r", at=version)} == state
        for event in events:
            if event.type == "DELETED":
                del state[event.entry.key.name]
            else:
                state[event.entry.key.name] = event.entry.version
        assert state == states[store.version]


def test_a_restored_store_goes_on_counting_and_knows_nothing_of_before() -> None:
    first = Store()
    entry = first.put("r", _object("x"))
    second = Store()
    second.restore(first.version, iter([("r", entry.obj, entry.json)]))
    assert second.find("r", _key("x")) is not None
    assert second.events_since("r", first.version) == []
    with pytest.raises(Expired):
        second.events_since("r", first.version - 1)
    assert second.put("r", _object("y")).version == first.version + 1


def test_showing_objects_differently_is_no_write() -> None:
    store = Store()
    before = store.put("r", _object("x")).version
    store.rewrite("r", lambda obj: {**obj, "new": 1})
    entry = store.find("r", _key("x"))
    assert entry is not None
    assert (entry.obj["new"], entry.version, store.version) == (1, before, before)
