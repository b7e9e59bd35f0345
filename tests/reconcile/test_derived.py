"""What is made of stores: of several together, whatever order their events come in, and of each object."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaitoctl.kube.client import Client
from kaitoctl.kube.objects import POD, Object, ObjectKey
from kaitoctl.kube.pod_state import holding_gpus, is_finished
from kaitoctl.kube.response_bodies import WatchEvent
from kaitoctl.reconcile import Change, Derived, Informer, Store
from kaitoctl.reconcile.store import Followed

NOBODY = cast(Client, None)
"""No watch is opened here."""


def pod(
    name: str, version: int, *, labelled: bool, node: str, phase: str, gpus: int, note: str = ""
) -> Object:
    resources = {"requests": {"nvidia.com/gpu": str(gpus)}} if gpus else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "default",
            "resourceVersion": str(version),
            "labels": {"kaito.sh/workspace": "w"} if labelled else {},
        },
        "spec": {"nodeName": node, "containers": [{"name": "c", "resources": resources}]},
        "status": {"phase": phase, "message": note},
    }


def held(obj: Object) -> Object | None:
    return None if is_finished(obj) else holding_gpus(obj)


class Watches:
    """Two informers that share pods out by their label, the second of unfinished ones alone."""

    def __init__(self) -> None:
        self.own, self.others = Informer(NOBODY, POD), Informer(NOBODY, POD, transform=holding_gpus)
        self.derived = Derived([self.own, self.others], held, packed=True)
        self.changes: list[Change] = []
        self.derived.subscribe(self.changes.append)

    def events(self, states: list[Object | None]) -> tuple[list[WatchEvent], list[WatchEvent]]:
        """What each watch tells of one pod that has these states, one after the other."""
        own = self._of(states, lambda obj: bool(obj["metadata"]["labels"]))
        return own, self._of(states, lambda obj: not obj["metadata"]["labels"] and not is_finished(obj))

    @staticmethod
    def _of(states: list[Object | None], selects: Any) -> list[WatchEvent]:
        found = []
        for before, after in pairwise([None, *states]):
            was, is_now = (obj is not None and selects(obj) for obj in (before, after))
            if is_now and after is not None:
                found.append(WatchEvent("MODIFIED" if was else "ADDED", after))
            elif was and before is not None:
                last = after or before  # a server sends the object as it is when the selection loses it
                found.append(WatchEvent("DELETED", last))
        return found


STATES = st.lists(
    st.none()
    | st.fixed_dictionaries(
        {
            "labelled": st.booleans(),
            "node": st.sampled_from(["", "n1", "n2"]),
            "phase": st.sampled_from(["Pending", "Running", "Succeeded"]),
            "gpus": st.sampled_from([0, 1, 2]),
        }
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(STATES, min_size=1, max_size=3), st.data())
def test_in_the_end_it_shows_what_there_is(stories: list[Any], data: st.DataObject) -> None:
    watches, version = Watches(), 0
    queues: tuple[list[WatchEvent], list[WatchEvent]] = ([], [])
    expected: dict[ObjectKey, Object] = {}
    for number, story in enumerate(stories):
        states: list[Object | None] = []
        for state in story:
            version += 1
            states.append(None if state is None else pod(f"p{number}", version, **state))
        for queue, events in zip(queues, watches.events(states), strict=True):
            queue += events
        if states[-1] is not None and (kept := held(states[-1])) is not None:
            expected[ObjectKey("default", f"p{number}")] = kept
    informers = watches.own, watches.others
    while any(queues):
        one = data.draw(st.sampled_from([number for number, queue in enumerate(queues) if queue]))
        informers[one]._apply_event(queues[one].pop(0))
    for obj in (*watches.derived.store.values(), *expected.values()):
        obj["metadata"].pop("resourceVersion")
    shown = {key: _plain(obj) for key, obj in watches.derived.store.items()}
    assert shown == {key: _plain(obj) for key, obj in expected.items()}
    told: dict[ObjectKey, Object | None] = {}
    for change in watches.changes:
        assert told.get(change.key) == change.old, "each change begins where the last one ended"
        told[change.key] = change.new
    assert {key for key, obj in told.items() if obj is not None} == shown.keys()


def _plain(obj: Object) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": ""}}


def test_what_touches_nothing_that_is_kept_is_no_news() -> None:
    watches = Watches()
    like: dict[str, Any] = {"labelled": True, "node": "n1", "phase": "Running", "gpus": 1}
    for version in range(1, 6):
        watches.own._apply_event(WatchEvent("MODIFIED", pod("p", version, note=str(version), **like)))
    assert len(watches.changes) == 1
    assert watches.derived.store.journal.place == 1, "nor for who keeps something that follows from it"


def test_a_listener_that_fails_is_logged_and_keeps_nobody_from_the_news() -> None:
    watches, heard = Watches(), list[Change]()

    def fail(_: Change) -> None:
        raise RuntimeError

    watches.derived.subscribe(fail)
    watches.derived.subscribe(heard.append)
    watches.own._apply_event(
        WatchEvent("ADDED", pod("p", 1, labelled=True, node="n1", phase="Running", gpus=1))
    )
    assert len(heard) == 1


@pytest.mark.parametrize("others", [0, 3000], ids=["few changes", "more than the journal remembers"])
def test_what_follows_from_an_object_is_worked_out_once_for_each_state(others: int) -> None:
    store, worked_out = Store(packed=True), list[str]()

    def note(obj: Object) -> str:
        worked_out.append(obj["metadata"]["note"])
        return worked_out[-1]

    followed, key = Followed(store, note), ObjectKey("ns", "a")
    assert followed.get(key) is None
    for state in ("first", "second"):
        store._replace(key, {"metadata": {"name": "a", "note": state}})
        for number in range(others):
            store._replace(ObjectKey("ns", f"b{number % 3}"), {"metadata": {"name": "b", "note": "b"}})
        assert [followed.get(key) for _ in range(3)] == [state] * 3
    assert worked_out == ["first", "second"]
    store._replace(key, None)
    assert followed.get(key) is None
