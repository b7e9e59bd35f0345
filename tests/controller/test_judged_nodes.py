"""What is kept of judged nodes says the same as judging all of them again, whatever has changed meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import falcon, gpu_node, node_status

from kaitoctl.kaito import api, node_check
from kaitoctl.kaito.desired import Settings
from kaitoctl.kube.objects import Object, ObjectKey
from kaitoctl.reconcile.store import Journal, Store
from kaitoctl.workspace_controller import Stores
from kaitoctl.workspace_controller.node_view import Look, NodeView

TYPES = ("Standard_NC12s_v3", "Standard_NC24s_v3")
PLAIN = Settings()
SETTINGS = (PLAIN, Settings(provisioner="byo"), Settings(provisioner="karpenter"))


def empty_stores() -> Stores:
    stores: dict[str, Any] = {
        name: Store(packed=name in ("nodes", "workspaces"))
        for name in Stores.__struct_fields__
        if name != "can_claim"
    }
    return Stores(**stores, can_claim=lambda: True)


@dataclass(frozen=True)
class Change:
    """Of one object: what it is now; None for gone."""

    store: str
    key: ObjectKey
    obj: Object | None


def node(number: int, label: str, gpus: str, taint: bool, cordoned: bool, owner: str) -> Object:
    labels = {"apps": label, **({api.LABEL_WORKSPACE: owner} if owner else {})}
    made = gpu_node(f"n{number}", labels, TYPES[number % 2])
    made["status"] = node_status(gpus)
    made["spec"] = {
        "unschedulable": cordoned,
        "taints": [{"key": "team", "value": "a", "effect": "NoSchedule"}] if taint else [],
    }
    return made


def pod(number: int, on: int | None, owner: str, gpus: str, phase: str) -> Object:
    resources = {"limits": {"nvidia.com/gpu": gpus}, "requests": {"nvidia.com/gpu": gpus}}
    labels = {api.LABEL_WORKSPACE: owner} if owner else {}
    spec: Object = {"containers": [{"name": "c", "image": "r.example/c:1", "resources": resources}]}
    if on is not None:
        spec["nodeName"] = f"n{on}"
    metadata = {"name": f"p{number}", "namespace": "default", "labels": labels}
    return {"metadata": metadata, "spec": spec, "status": {"phase": phase}}


def workspace(number: int, label: str, count: int, preferred: list[int], ran_on: list[int]) -> Object:
    resource: Object = {"count": count, "labelSelector": {"matchLabels": {"apps": label}}}
    if preferred:
        resource["preferredNodes"] = [f"n{one}" for one in preferred]
    made = falcon(**resource)
    made["metadata"] |= {"name": f"w{number}", "namespace": "default", "uid": f"uid-{number}"}
    made["metadata"]["creationTimestamp"] = f"2026-01-01T00:00:0{number}Z"
    made["status"] = {"workerNodes": [f"n{one}" for one in ran_on]}
    return made


def claim(number: int, owner: int, on: int) -> Object:
    labels = {api.LABEL_WORKSPACE: f"w{owner}", api.LABEL_WORKSPACE_NAMESPACE: "default"}
    metadata = {"name": f"c{number}", "labels": labels}
    return {"kind": "NodeClaim", "metadata": metadata, "status": {"nodeName": f"n{on}"}}


SIX, THREE = st.integers(0, 5), st.integers(0, 2)
LABELS, OWNERS = st.sampled_from(["x", "y"]), st.sampled_from(["", "w0", "w1"])


def changes(store: str, letter: str, numbers: st.SearchStrategy[int], made: Any, **drawn: Any) -> Any:
    def change(number: int, is_gone: bool, more: dict[str, Any]) -> list[Change]:
        space = "" if store in ("nodes", "claims") else "default"
        obj = None if is_gone else made(number, **more)
        stores = ("gpu_pods", "pods") if store == "gpu_pods" else (store,)
        return [Change(name, ObjectKey(space, f"{letter}{number}"), obj) for name in stores]

    return st.builds(change, numbers, st.sampled_from([False, False, True]), st.fixed_dictionaries(drawn))


CHANGES = st.one_of(
    changes(
        *("nodes", "n", SIX, node),
        label=LABELS,
        gpus=st.sampled_from(["0", "1", "2", "4"]),
        owner=OWNERS,
        taint=st.booleans(),
        cordoned=st.booleans(),
    ),
    changes(
        *("gpu_pods", "p", SIX, pod),
        on=st.none() | SIX,
        owner=OWNERS,
        gpus=st.sampled_from(["1", "2"]),
        phase=st.sampled_from(["Running", "Running", "Succeeded"]),
    ),
    changes(
        *("workspaces", "w", THREE, workspace),
        label=LABELS,
        count=st.integers(1, 3),
        preferred=st.lists(SIX, max_size=2, unique=True),
        ran_on=st.lists(SIX, max_size=2),
    ),
    changes("claims", "c", THREE, claim, owner=THREE, on=SIX),
)


def told(look: Look) -> object:
    """All of a look but advice, which is the asker's and which no controller gives."""
    judged = [
        (one.name, one.usable, one.gpus, [(item.code, item.level, item.message) for item in one.findings])
        for one in look.verdict.nodes
    ]
    verdict = look.verdict
    rest = verdict.required, verdict.selected, verdict.not_found, verdict.instance_type
    return judged, rest, look.held, look.undecided, look.waits_for_others


def usable(obj: Object, stores: Stores) -> list[str]:
    """The nodes that a Workspace could use, best first, judged one by one as everybody else does it."""
    asked = obj["resource"]["labelSelector"]["matchLabels"]
    named = obj["resource"].get("preferredNodes", ())
    seen = [
        one
        for key, one in stores.nodes.items()
        if key.name in named or asked.items() <= one["metadata"]["labels"].items()
    ]
    others = node_check.pods_of_others(obj, stores.gpu_pods.values())
    return [one.name for one in node_check.verdict(obj, seen, others).nodes if one.usable]


@pytest.mark.parametrize("chosen", SETTINGS, ids=lambda one: one.provisioner)
@settings(deadline=None, max_examples=60)
@given(drawn=st.lists(st.lists(CHANGES, max_size=4), min_size=1, max_size=8))
def test_what_is_kept_says_what_all_would_say(chosen: Settings, drawn: list[list[list[Change]]]) -> None:
    stores = empty_stores()
    kept = NodeView(stores, chosen)
    for round_ in drawn:
        for change in (one for several in round_ for one in several):
            store = getattr(stores, change.store)
            if change.obj is not None or change.key in store:
                store._replace(change.key, change.obj)
        fresh = NodeView(stores, chosen)
        for obj in stores.workspaces.values():
            assert told(kept.look(obj)) == told(fresh.look(obj))
            if chosen is PLAIN:
                assert [one.name for one in kept._verdict(obj).nodes if one.usable] == usable(obj, stores)
            names = [f"n{number}" for number in range(6)]
            assert kept.serving(obj, names) == fresh.serving(obj, names)
            assert kept.wanted_by_others(obj, names) == fresh.wanted_by_others(obj, names)


@pytest.fixture
def judgements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the nodes that were judged."""
    found: list[str] = []
    judge_node = node_check.judge_node

    def counted(need: Any, node: Object, *rest: Any) -> Any:
        found.append(node["metadata"]["name"])
        return judge_node(need, node, *rest)

    monkeypatch.setattr(node_check, "judge_node", counted)
    return found


def competing(nodes: int, workspaces: int) -> Stores:
    stores = empty_stores()
    for number in range(nodes):
        stores.nodes._replace(ObjectKey("", f"n{number}"), node(number, "x", "2", False, False, ""))
    for number in range(workspaces):
        obj = workspace(number % 10, "x", 1, [], [])
        obj["metadata"] |= {"name": f"w{number}", "uid": f"uid-{number}"}
        stores.workspaces._replace(ObjectKey("default", f"w{number}"), obj)
    return stores


def test_a_node_is_judged_once_for_all_who_ask_the_same_and_again_when_it_has_changed(
    judgements: list[str],
) -> None:
    stores = competing(40, 20)
    view = NodeView(stores, PLAIN)
    for obj in stores.workspaces.values():
        view.look(obj)
    assert len(judgements) == 40
    for _ in range(3):
        for obj in stores.workspaces.values():
            view.look(obj)
    assert len(judgements) == 40, "nothing has changed"
    stores.gpu_pods._replace(ObjectKey("default", "p0"), pod(0, 7, "", "2", "Running"))
    stores.nodes._replace(ObjectKey("", "n9"), node(9, "x", "1", False, False, ""))
    for obj in stores.workspaces.values():
        view.look(obj)
    assert judgements[40:] == ["n9", "n7"]


def calls_of_a_look(workspaces: int) -> int:
    """How many functions a look calls, where each Workspace could use each of as many nodes."""
    stores = competing(workspaces, workspaces)
    view, asking = NodeView(stores, PLAIN), list(stores.workspaces.values())
    for obj in asking[:3]:
        view.look(obj)
    there = ObjectKey("default", "p0")
    stores.gpu_pods._replace(there, pod(0, 7, "", "2", "Running"))
    found = 0

    def count(_: object, event: str, __: object) -> None:
        nonlocal found
        found += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        view.look(asking[-1])
    finally:
        sys.setprofile(before)
    return found


def test_a_look_grows_with_those_who_compete_and_no_faster() -> None:
    few, more, many = map(calls_of_a_look, (40, 80, 160))
    assert (more - few) / 40 <= 105, "functions for each further Workspace with a node that all could use"
    assert (many - more) / 80 <= 1.1 * (more - few) / 40


def test_what_a_workspace_asks_is_read_again_when_it_has_changed_and_only_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    judging_key = node_check.judging_key

    def counted(obj: Object) -> str:
        asked.append(obj["metadata"]["name"])
        return judging_key(obj)

    monkeypatch.setattr(node_check, "judging_key", counted)
    stores = competing(20, 20)
    view, asking = NodeView(stores, PLAIN), list(stores.workspaces.values())
    for obj in asking:
        view.look(obj)
    asked.clear()
    for obj in asking:
        view.look(obj)
    assert len(asked) <= 2 * len(asking), "by a look at each, of itself alone"
    asked.clear()
    stores.workspaces._replace(ObjectKey("default", "w3"), workspace(3, "x", 2, [], []))
    for obj in (asking[0], asking[1]):
        view.look(obj)
    assert asked.count("w3") == 1


@pytest.mark.parametrize("size", [100, 3000])
def test_a_journal_says_what_has_changed_or_that_it_has_forgotten(size: int) -> None:
    journal = Journal[int]()
    places: list[tuple[int, Callable[[], list[int] | None]]] = []
    for number in range(size):
        places.append((number, lambda place=journal.place: journal.since(place)))  # type: ignore[misc]
        journal.add(number)
    for number, since in places:
        assert since() in (list(range(number, size)), None)
    assert journal.since(journal.place) == []
    assert journal.since(size - 500 if size > 500 else 0) is not None
    assert size < 2000 or journal.since(0) is None
