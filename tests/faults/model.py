"""A cluster as a value: (state, request) -> (state, answer), worked out by the sandbox's API and then known.

A `State` is immutable and interned: two histories that lead to the same objects lead to the same state. So
a fault plan costs nothing up to its first fault, and next to nothing once it has fallen in line with a plan
that was run before; and what a state says (does its Workspace tell the truth?) is found out once.

Uids and resource versions follow from an object's name and history, not from the order of all writes: that
is what lets histories meet again. Events are accepted and forgotten: no part of the controller reads them.
"""

from __future__ import annotations

import json
import random
from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import unquote

from kaitoctl import packaged
from kaitoctl.errors import ApiError
from kaitoctl.kaito import api as kaito
from kaitoctl.kube import fast_json, request
from kaitoctl.kube.documents import load_yaml
from kaitoctl.kube.objects import (
    CONFIG_MAP,
    CONTROLLER_REVISION,
    CRD,
    DEPLOYMENT,
    JOB,
    NODE,
    NODE_CLAIM,
    POD,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    Kind,
    Object,
    ObjectKey,
    is_being_deleted,
)
from kaitoctl.kube.request import Request
from kaitoctl.sandbox.api import Api, Call, Response
from kaitoctl.sandbox.store import Entry

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WATCHED = (
    kaito.WORKSPACE_V1BETA1, DEPLOYMENT, STATEFUL_SET, SERVICE, NODE, POD, NODE_CLAIM, JOB, CONFIG_MAP,
    CONTROLLER_REVISION,
)  # fmt: skip
KINDS = (*WATCHED, SECRET)

Place = tuple[str, ObjectKey]
Table = tuple[Entry, ...]
"""The objects of one kind, in the order of their keys; interned, so that `is` compares it."""


def resource_of(kind: Kind) -> str:
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural


_TABLE_OF = {resource_of(kind): number for number, kind in enumerate(KINDS)}  # whatever the version


@dataclass(frozen=True, eq=False, slots=True)
class State:
    """All objects of a cluster at one moment.

    Args:
        number: its identity.
        tables: the objects, kind by kind as in `KINDS`.
        table_numbers: the identity of each table.
        births: how often each name has been given away; a name's next object gets another uid.
        facts: what was found out about the state, by who asked.
    """

    number: int
    tables: tuple[Table, ...]
    table_numbers: tuple[int, ...]
    births: Mapping[Place, int]
    facts: dict[str, Any] = field(default_factory=dict)

    def objects(self, kind: Kind) -> Iterator[Object]:
        return (entry.obj for entry in self.tables[_TABLE_OF[resource_of(kind)]])

    def get(self, kind: Kind, name: str, namespace: str = "default") -> Object | None:
        for entry in self.tables[_TABLE_OF[resource_of(kind)]]:
            if entry.key.name == name and entry.key.namespace in ("", namespace):
                return entry.obj
        return None

    def places(self) -> dict[Place, Entry]:
        return {
            (resource_of(kind), entry.key): entry
            for kind, table in zip(KINDS, self.tables, strict=True)
            for entry in table
        }


@dataclass(frozen=True, eq=False, slots=True)
class Answer:
    """What the server said: a body, or an error."""

    number: int
    body: bytes
    status: int = 200

    def value(self) -> Object:
        """The object, or the error raised, as the door does it; a fresh one each time."""
        parsed: Object = json.loads(self.body)
        if self.status >= 300:
            reason, message = str(parsed.get("reason")), str(parsed.get("message"))
            raise ApiError(self.status, reason, message, details=parsed.get("details"))
        return parsed


class Transition(NamedTuple):
    """What a request does: the state after it, the answer, and how many objects came and went."""

    state: State
    answer: Answer
    created: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()


@cache
def _crds() -> tuple[Object, ...]:
    files = sorted(packaged.folder("schemas").glob("*.yaml"))
    return tuple(crd for file in files for crd in load_yaml(file.read_text(), str(file)))


class Cluster:
    """The sandbox's API, put into any state that it is asked about."""

    def __init__(self) -> None:
        self._api = Api(clock=lambda: NOW)
        for crd in _crds():
            asked = request.apply(CRD, crd, manager="test", force=True)
            answer = self._api.answer(_call(asked))
            assert isinstance(answer, Response)
            assert answer.status < 300, answer.body
        self._entries: dict[tuple[str, bytes], Entry] = {}
        self._tables: dict[tuple[int, ...], tuple[int, Table]] = {}
        self._states: dict[object, State] = {}
        self._answers: dict[tuple[int, bytes], Answer] = {}
        self._requests: dict[tuple[str, str, str, str, bytes], int] = {}
        self._known: dict[tuple[int, int], Transition] = {}
        self._moves: dict[tuple[int, str], State] = {}
        self.worked_out = 0
        self.empty = self._state({}, {})

    # --- what is asked ---

    def number_of(self, asked: Request) -> int:
        """The identity of a request; equal ones have the same."""
        body = b"" if asked.body is None else fast_json.encode(asked.body)
        key = (asked.method, asked.path, str(sorted(asked.query.items())), asked.content_type, body)
        return self._requests.setdefault(key, len(self._requests))

    def ask(self, state: State, asked: Request, number: int | None = None) -> Transition:
        """Carry out a request in a state."""
        slot = (state.number, self.number_of(asked) if number is None else number)
        known = self._known.get(slot)
        if known is None:
            known = self._known[slot] = self._ask(state, asked)
        return known

    def move(self, state: State, name: str, how: Callable[[State], State]) -> State:
        """What somebody other than the controller does in a state; `name` says who and what."""
        slot = (state.number, name)
        known = self._moves.get(slot)
        if known is None:
            known = self._moves[slot] = how(state)
        return known

    def do(self, state: State, *asked: Request) -> State:
        """Carry out requests that must succeed."""
        for one in asked:
            done = self.ask(state, one)
            done.answer.value()
            state = done.state
        return state

    def collect_garbage(self, state: State) -> State:
        """Let the garbage collector do all that it has to do."""

        def collect(state: State) -> State:
            self._enter(state)
            self._api.store.version = max((entry.version for entry in state.places().values()), default=0)
            while self._api.garbage.collect(100):
                pass
            return self._leave(state)[0]

        return self.move(state, "garbage collector", collect)

    def error(self, status: int, reason: str, message: str) -> Answer:
        """An answer that the server never gave."""
        body = fast_json.encode({"kind": "Status", "reason": reason, "message": message, "code": status})
        return self._answer(status, body)

    # --- the API in a state ---

    def _ask(self, state: State, asked: Request) -> Transition:
        if asked.path.endswith("/events"):
            return Transition(state, self._answer(201, fast_json.encode(asked.body)))
        self.worked_out += 1
        self._enter(state)
        place = self._place(asked)
        before = state.places()
        born = state.births.get(place, 0)
        there = before.get(place)
        # Versions count per object: `put` adds one to this.
        self._api.store.version = there.version if there else 1000 * (born + 1)
        random.seed(f"{place}/{born}")  # the API draws uids from here
        self._api.garbage.collect = lambda limit: False  # type: ignore[method-assign] # later, and not at once
        answer = self._api.answer(_call(asked))
        del self._api.garbage.collect
        assert isinstance(answer, Response)
        result, created, deleted = self._leave(state)
        return Transition(result, self._answer(answer.status, answer.body), created, deleted)

    def _enter(self, state: State) -> None:
        api, store = self._api, self._api.store
        for kind, table in zip(KINDS, state.tables, strict=True):
            place = store._table(resource_of(kind))
            place.entries = {entry.key: entry for entry in table}
            place.keys = list(place.entries)
            place.events.clear()
        api.writes._addresses._ips = {"10.96.0.1"}
        for entry in state.tables[KINDS.index(SERVICE)]:
            api.writes._addresses._ips.add(entry.obj["spec"].get("clusterIP") or "None")
        api.writes._addresses._next_ip = 10
        api.garbage.learn()

    def _leave(self, before: State) -> tuple[State, tuple[str, ...], tuple[str, ...]]:
        store = self._api.store
        births = dict(before.births)
        entries: dict[str, list[Entry]] = {}
        had = before.places()
        created, deleted = [], []  # marked for deletion is as good as gone
        for kind in KINDS:
            name = resource_of(kind)
            entries[name] = list(store._table(name).entries.values())
            for entry in entries[name]:
                old = had.pop((name, entry.key), None)
                if old is None or old.obj["metadata"]["uid"] != entry.obj["metadata"]["uid"]:
                    births[name, entry.key] = births.get((name, entry.key), 0) + 1
                    created.append(kind.kind)
                elif is_being_deleted(entry.obj) and not is_being_deleted(old.obj):
                    deleted.append(name)
        deleted += [name for (name, _), old in had.items() if not is_being_deleted(old.obj)]
        return self._state(entries, births), tuple(created), tuple(deleted)

    def _state(self, entries: Mapping[str, list[Entry]], births: Mapping[Place, int]) -> State:
        tables = [self._table(kind, entries.get(resource_of(kind), ())) for kind in KINDS]
        numbers = tuple(number for number, _ in tables)
        identity = (numbers, frozenset(births.items()))
        known = self._states.get(identity)
        if known is None:
            known = State(len(self._states), tuple(table for _, table in tables), numbers, dict(births))
            self._states[identity] = known
        return known

    def _table(self, kind: Kind, entries: Iterable[Entry]) -> tuple[int, Table]:
        interned: list[Entry] = []
        for entry in entries:
            same = self._entries.setdefault((resource_of(kind), entry.json), entry)
            insort(interned, same, key=lambda item: item.key)
        identity = (KINDS.index(kind), *(id(entry) for entry in interned))
        known = self._tables.get(identity)
        if known is None:
            known = self._tables[identity] = (len(self._tables), tuple(interned))
        return known

    def _answer(self, status: int, body: bytes) -> Answer:
        known = self._answers.get((status, body))
        if known is None:
            known = self._answers[status, body] = Answer(len(self._answers), body, status)
        return known

    def _place(self, asked: Request) -> Place:
        for kind in KINDS:
            group, plural = f"/apis/{kind.group}/" if kind.group else "/api/", kind.plural
            if not asked.path.startswith(group):
                continue
            _, *parts = asked.path.removeprefix(group).split("/")
            namespace = ""
            if parts[0] == "namespaces" and len(parts) > 2:
                namespace, parts = parts[1], parts[2:]
            if parts[0] == plural:
                name = parts[1] if len(parts) > 1 else (asked.body or {}).get("metadata", {}).get("name", "")
                return resource_of(kind), ObjectKey(namespace, unquote(name))
        raise AssertionError(f"a request for a kind that the model does not have: {asked.path}")


def _call(asked: Request) -> Call:
    body = b"" if asked.body is None else fast_json.encode(asked.body)
    return Call(asked.method, unquote(asked.path), dict(asked.query), body, asked.content_type)
