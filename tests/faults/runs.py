"""One controller on a cluster that is a value: passes, faults at any request, and what must hold all along.

A `Run` goes on request by request. A pass is a function of what the stores show, what the process remembers
and what the server answers; each is worked out once by the real reconciler and known from then on. So a run
can be copied at every request, once for each fault that may happen there (`plans`).

What must hold (a `Violation` says what did not):
- the end is that of the run without faults, and a new process finds nothing to write there;
- the status says ready for a generation only when a workload of that generation was seen to serve;
- nothing of anybody else's is touched, no child goes back to an older generation of its owner, no node is
  bought twice, nothing is created or deleted more often than without faults;
- the number of requests is bounded.
"""

from __future__ import annotations

import json
import pickle
import random
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from faults.model import KINDS, NOW, WATCHED, Answer, Cluster, State, Table, Transition
from msgspec.structs import replace

from kaitoctl.errors import ApiError, KaitoctlError, Unreachable
from kaitoctl.kaito import api as kaito
from kaitoctl.kaito import node_claims, revisions
from kaitoctl.kaito.desired import Settings
from kaitoctl.kaito.revisions import LABEL_NAME
from kaitoctl.kube import conditions, fast_json
from kaitoctl.kube.objects import (
    CONFIG_MAP,
    CONTROLLER_REVISION,
    DEPLOYMENT,
    JOB,
    NODE_CLAIM,
    POD,
    SERVICE,
    STATEFUL_SET,
    Kind,
    Object,
    ObjectKey,
    annotations_of,
    controller_of,
    dig,
    generation_of,
    is_being_deleted,
    is_controlled_by,
    key_of,
    labels_of,
    uid_of,
)
from kaitoctl.kube.pod_state import holding_gpus
from kaitoctl.kube.request import Request
from kaitoctl.kube.workloads import is_rolled_out
from kaitoctl.reconcile.store import Store
from kaitoctl.sandbox.store import Entry
from kaitoctl.workspace_controller import ReconcileSteps, Stores, WorkspaceReconciler, transform_of
from kaitoctl.workspace_controller.decisions import refusal_of
from kaitoctl.workspace_controller.workspace_settings import Choices

OWNER_GENERATION = "kaitoctl.dev/owner-generation"

EXTRA_STEPS_PER_FAULT = 16
"""How many requests more than without faults one fault may cost."""

Plan = tuple[tuple[int, str], ...]
"""Faults by the number of the request that they happen at."""

Tables = tuple[int, ...]


class Violation(AssertionError):
    """Something that must hold does not."""


# --- passes ----------------------------------------------------------------------------------------------


@dataclass(eq=False, slots=True)
class Node:
    """A point of a pass: a request that is about to be sent, or the pass's end.

    Args:
        passes: whose it is.
        root: how the pass began.
        heard: the answers so far; None for no answer.
        asked: the next request; None at the end.
        number: that of the request.
        again_after_s: at the end: look again after so many seconds; 0 after a failure, None for not.
        memory: at any time: what the process remembers.
        broken: the exception that no work queue expects.
        paused: the reconciler and its generator, as long as nobody has gone on from here.
        next: the points after, by answer.
    """

    root: Root
    heard: tuple[Answer | None, ...]
    asked: Request | None = None
    number: int = -1
    again_after_s: float | None = None
    memory: bytes = b""
    broken: str = ""
    paused: tuple[WorkspaceReconciler, ReconcileSteps] | None = None
    next: dict[Answer | None, Node] = field(default_factory=dict)


class Root(NamedTuple):
    """How a pass begins: what the stores show, what the process remembers, what time it is."""

    tables: tuple[Table, ...]
    memory: bytes
    now: datetime


class Following(WorkspaceReconciler):
    """Builds what KAITO lets nobody change, too: how a Workspace comes to have more nodes than it needs."""

    def _refusal_of(self, workspace: Object, choices: Choices) -> Generator[Request, Object, str]:
        yield from ()
        return refusal_of(choices.as_it_runs(workspace), choices.settings_for(workspace))


class Passes:
    """The real reconciler, each of its passes worked out once."""

    def __init__(
        self,
        cluster: Cluster,
        key: ObjectKey,
        settings: Settings,
        reconciler: type[WorkspaceReconciler] = WorkspaceReconciler,
    ) -> None:
        self._reconciler = reconciler
        self._cluster = cluster
        self.key = key
        self._settings = settings
        self._roots: dict[tuple[Tables, bytes, datetime], Node] = {}
        self._stores: dict[Tables, Stores] = {}
        self.worked_out = 0
        self.fresh = _remembered(reconciler(_stores(((),) * len(WATCHED)), settings))

    def changed_by_passes(self) -> list[str]:
        """The objects that are no longer as they were when the stores were filled."""
        tables = {
            (kind, table)
            for root in self._roots.values()
            for kind, table in zip(WATCHED, root.root.tables, strict=True)
        }
        return [
            f"{kind.kind} {entry.key}"
            for kind, table in tables
            for entry in table
            if (there := _store(kind, table).get(entry.key)) is not None and there != _shown(kind, entry)
        ]

    def begin(self, numbers: Tables, tables: tuple[Table, ...], memory: bytes, now: datetime) -> Node:
        """The first point of a pass."""
        slot = (numbers, memory, now)
        known = self._roots.get(slot)
        if known is None:
            if numbers not in self._stores:
                self._stores[numbers] = _stores(tables)
            known = self._roots[slot] = Node(Root(tables, memory, now), ())
            self._work_out(known, self._stores[numbers])
        return known

    def go_on(self, node: Node, numbers: Tables, answer: Answer | None) -> Node:
        """The point after an answer; None for a connection that broke."""
        known = node.next.get(answer)
        if known is None:
            known = node.next[answer] = Node(node.root, (*node.heard, answer))
            if node.paused is not None:
                reconciler, passing = node.paused
                node.paused = None
                _learn(reconciler, node.asked, answer)
                self._hear(known, reconciler, passing, answer)
            else:  # a generator cannot be copied: repeat what it heard
                self._work_out(known, self._stores[numbers])
        return known

    def _work_out(self, node: Node, stores: Stores) -> None:
        reconciler = self._reconciler(stores, self._settings, clock=lambda: node.root.now)
        vars(reconciler).update(pickle.loads(node.root.memory))
        passing = reconciler.reconcile(self.key)
        *before, last = (_FIRST, *node.heard)
        asked: Request | None = None
        for answer in before:
            _learn(reconciler, asked, answer)
            asked = _sent(passing, answer)
        _learn(reconciler, asked, last)
        self._hear(node, reconciler, passing, last)

    def _hear(
        self, node: Node, reconciler: WorkspaceReconciler, passing: ReconcileSteps, answer: Answer | None
    ) -> None:
        self.worked_out += 1
        try:
            node.asked = _sent(passing, answer)
            node.number = self._cluster.number_of(node.asked)
            node.paused = (reconciler, passing)
        except StopIteration as stop:
            node.again_after_s = stop.value.requeue_after_s
        except KaitoctlError:
            node.again_after_s = 0.0
        except Exception as error:  # whatever it is, it is a finding
            node.broken = f"{type(error).__name__}: {error}"
        node.memory = _remembered(reconciler)


_FIRST = Answer(-1, b"")


def _learn(reconciler: WorkspaceReconciler, asked: Request | None, answer: Answer | None) -> None:
    """Show a pass what it has written itself, as the controller does; a deletion is told by the watch."""
    if asked is None or answer is None or answer.status >= 300:
        return
    if not asked.is_write or asked.method == "DELETE":
        return
    written = answer.value()
    for kind, name in _STORES.items():
        if (written.get("apiVersion"), written.get("kind")) != (kind.api_version, kind.kind):
            continue
        store = Store()
        for key, obj in getattr(reconciler._stores, name).items():
            store._replace(key, obj)
        store._replace(key_of(written), transform_of(kind)(written))
        learned: dict[str, Any] = {name: store}
        stores = replace(reconciler._stores, **learned)
        for part in (reconciler, reconciler._nodes, reconciler._claims, reconciler._deletion):
            part._stores = stores
        reconciler._children = replace(reconciler._children, stores=stores)


_STORES = {
    kaito.WORKSPACE_V1BETA1: "workspaces",
    DEPLOYMENT: "deployments",
    STATEFUL_SET: "stateful_sets",
    SERVICE: "services",
    NODE_CLAIM: "claims",
    JOB: "jobs",
    CONFIG_MAP: "config_maps",
    CONTROLLER_REVISION: "revisions",
}


def _sent(passing: ReconcileSteps, answer: Answer | None) -> Request:
    """The generator's next request."""
    if answer is _FIRST:
        return next(passing)
    try:
        if answer is None:
            raise Unreachable("the connection broke")
        value = answer.value()
    except (ApiError, Unreachable) as error:
        return passing.throw(error)
    return passing.send(value)


def _remembered(reconciler: WorkspaceReconciler) -> bytes:
    """What the process would lose by dying."""
    given = {"_stores", "_settings", "_clock", "_nodes", "_claims", "_deletion", "_children", "_pools"}
    given.add("_refusals")  # what is remembered there follows from the Workspace alone
    kept = {name: value for name, value in vars(reconciler).items() if name not in given}
    turns = kept.pop("_turns")
    return pickle.dumps({**kept, "_turns": turns and turns._holder})


def _stores(tables: tuple[Table, ...], *, can_claim: bool = True) -> Stores:
    views = {kind.kind: _store(kind, table) for kind, table in zip(WATCHED, tables, strict=True)}
    return Stores(
        views["Workspace"],
        views["Deployment"],
        views["StatefulSet"],
        views["Service"],
        views["Node"],
        views["Pod"],
        _gpu_pods(tables[WATCHED.index(POD)]),
        views["NodeClaim"],
        views["Job"],
        views["ConfigMap"],
        views["ControllerRevision"],
        can_claim=lambda: can_claim,
    )


_SELECTS = {
    CONFIG_MAP: kaito.LABEL_WORKSPACE,
    POD: kaito.LABEL_WORKSPACE,
    NODE_CLAIM: kaito.LABEL_WORKSPACE,
    CONTROLLER_REVISION: LABEL_NAME,
}


def _shown(kind: Kind, entry: Entry) -> Object:
    """An object of its own, as the controller's informer keeps it."""
    whole = {**json.loads(entry.json), "apiVersion": kind.api_version, "kind": kind.kind}
    return transform_of(kind)(whole)


@cache
def _store(kind: Kind, table: Table) -> Store:
    """What an informer shows of these objects; shared, as informers share theirs."""
    store = Store()
    for entry in table:
        # As the real one, the informer of these kinds selects by label.
        if _SELECTS.get(kind, "") in ("", *labels_of(entry.obj)):
            store._replace(entry.key, _shown(kind, entry))
    return store


@cache
def _gpu_pods(table: Table) -> Store:
    store = Store()
    for entry in table:
        if (kept := holding_gpus(entry.obj)) is not None:
            store._replace(entry.key, kept)
    return store


# --- scenarios and faults --------------------------------------------------------------------------------

Action = Callable[[Cluster, State], State | None]
"""What a user does; None while it cannot be done yet."""


@dataclass(frozen=True)
class Scenario:
    """A life of one Workspace.

    Args:
        name: for the replay.
        begin: what is there before the controller starts.
        actions: what users do, each once the controller has come to rest, or earlier when a plan says so.
        moves: one step of what the rest of the cluster does between two passes.
        ends: what is wrong with the end of the run without faults, empty for nothing.
        most_steps: how many requests and passes the run without faults may take; 0 for any number.
        same_as: another life with the same end, but for generations.
        extra: how many more objects of a kind may be created or deleted than without faults, where a fault
            changes what is right to do on the way.
        workspace: its name.
        without: faults that would make another end right.
        reconciler: the controller's.
    """

    name: str
    begin: Action
    actions: tuple[Action, ...]
    moves: Action
    ends: Callable[[State], str] = lambda _: ""
    most_steps: int = 0
    same_as: Scenario | None = None
    extra: Mapping[str, int] = field(default_factory=dict)
    workspace: str = "falcon"
    without: tuple[str, ...] = ()
    reconciler: type[WorkspaceReconciler] = WorkspaceReconciler


_REFUSALS = {
    "conflict": (409, "Conflict"),
    "forbidden": (403, "Forbidden"),
    "refused": (422, "Invalid"),
    "throttled": (429, "TooManyRequests"),
    "broken": (500, "InternalError"),
    "unavailable": (503, "ServiceUnavailable"),
}

READ_FAULTS = (
    "crash-before",
    "unreachable",
    "forbidden",
    "broken",
    "unavailable",
    "rival",
    "early",
    "meddle",
)
WRITE_FAULTS = (*READ_FAULTS, "crash-after", "lost-reply", "lost-504", "conflict", "refused")
EVENT_FAULTS = ("crash-before", "unavailable", "forbidden")
STALE = tuple(f"stale-{kind.plural}" for kind in WATCHED if kind is not CONFIG_MAP)
ANCIENT = tuple(f"ancient-{kind.plural}" for kind in WATCHED if kind is not CONFIG_MAP)


# --- what a state says -----------------------------------------------------------------------------------


def _specs(state: State) -> frozenset[tuple[str, int]]:
    return frozenset((uid_of(obj), generation_of(obj)) for obj in state.objects(kaito.WORKSPACE))


def served(state: State, key: ObjectKey) -> frozenset[tuple[str, int]]:
    """Which Workspace uids and generations a workload behind a Service serves, or a Job has tuned."""
    if (known := state.facts.get("served")) is None:
        found = set()
        reached = {
            str((controller_of(obj) or {}).get("uid")) for obj in state.objects(SERVICE) if key_of(obj) == key
        }
        for kind in (DEPLOYMENT, STATEFUL_SET, JOB):
            for obj in state.objects(kind):
                owner, stamp = controller_of(obj), annotations_of(obj).get(OWNER_GENERATION, "")
                done = kind is JOB and bool(dig(obj, "status", "succeeded"))
                serves = kind is not JOB and is_rolled_out(obj) and str(owner and owner["uid"]) in reached
                if owner and key_of(obj) == key and (done or serves):
                    found.add((str(owner["uid"]), int(stamp) if stamp.isdecimal() else -1))
        known = state.facts["served"] = frozenset(found)
    return known


def claimed(state: State, name: str) -> tuple[str, int] | None:
    """The Workspace's uid and generation if its status says that it is ready at that generation."""
    if "claimed" not in state.facts:
        found = None
        for obj in state.objects(kaito.WORKSPACE):
            if key_of(obj).name != name:
                continue
            ready = (kaito.WORKSPACE_SUCCEEDED,) if obj.get("tuning") else (kaito.INFERENCE_READY,)
            for type_ in ready:
                condition = conditions.find(obj, type_)
                if condition is not None and condition["status"] == "True":
                    found = (uid_of(obj), int(condition.get("observedGeneration") or 0))
        state.facts["claimed"] = found
    known: tuple[str, int] | None = state.facts["claimed"]
    return known


_UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CLAIM_NAME = re.compile(r"ws[0-9a-f]{9}")
_HISTORY = re.compile(rf'"({re.escape(revisions.NUMBER)}|kaitoctl.dev/(desired-hash|revision))": \S+')
_STAMP = re.compile(r'"(observedGeneration|kaitoctl.dev/(owner-generation|workspace-uid)|uid)": \S+')
_BY_SERVER = ("uid", "resourceVersion", "managedFields", "creationTimestamp", "generation")


def shape(state: State) -> tuple[str, ...]:
    """The state without what differs between any two runs, an object a piece."""
    if (known := state.facts.get("shape")) is None:
        names = {uid_of(entry.obj): f"uid of {entry.key}" for table in state.tables for entry in table}
        known = state.facts["shape"] = tuple(
            sorted(
                _UID.sub(lambda found: names.get(found[0], found[0]), _bare(entry))
                for kind, table in zip(KINDS, state.tables, strict=True)
                if kind is not CONTROLLER_REVISION  # how many there were is history; see `unrecorded`
                for entry in table
            )
        )
    return known


@cache
def _bare(entry: Entry) -> str:
    obj = entry.obj
    metadata = {name: value for name, value in obj["metadata"].items() if name not in _BY_SERVER}
    status = {
        name: [{k: v for k, v in item.items() if k != "lastTransitionTime"} for item in value]
        if name == "conditions"
        else value
        for name, value in (obj.get("status") or {}).items()
        if name != "observedGeneration"
    }
    text = json.dumps({**obj, "metadata": metadata, "status": status}, sort_keys=True, indent=1)
    # Which of a Workspace's slots a node was bought for says nothing, nor how many revisions came before.
    return _HISTORY.sub("", _CLAIM_NAME.sub("ws...", text))


def history(state: State) -> tuple[tuple[int, str], ...]:
    """Number and data of each revision, in the order of their numbers."""
    if (known := state.facts.get("history")) is None:
        known = state.facts["history"] = tuple(
            sorted(
                (revisions.number_of(obj), fast_json.encode(obj["data"]).decode())
                for obj in state.objects(CONTROLLER_REVISION)
            )
        )
    return known


def unrecorded(state: State) -> str:
    """Which workload carries the number of a revision that is not there, and so could not come back."""
    if (known := state.facts.get("unrecorded")) is None:
        recorded = {
            ((controller_of(obj) or {}).get("uid"), revisions.number_of(obj))
            for obj in state.objects(CONTROLLER_REVISION)
        }
        known = state.facts["unrecorded"] = ", ".join(
            f"{kind.kind} {key_of(obj)} of revision {revisions.number_on(obj)}"
            for kind in (DEPLOYMENT, STATEFUL_SET)
            for obj in state.objects(kind)
            if (owner := controller_of(obj)) and (owner["uid"], revisions.number_on(obj)) not in recorded
        )
    return str(known)


# --- a run -----------------------------------------------------------------------------------------------


class Explorer:
    """Runs one scenario with any plan of faults, or with all of them.

    Args:
        scenario: what happens besides faults.
        cluster: shared between explorers, for what it knows already.
        pass_takes_s: by how much the clock moves from pass to pass.
    """

    def __init__(self, scenario: Scenario, cluster: Cluster, *, pass_takes_s: float = 0.0) -> None:
        self.pass_takes = timedelta(seconds=pass_takes_s)
        self.scenario = scenario
        self.cluster = cluster
        key = ObjectKey("default", scenario.workspace)
        self.passes = Passes(cluster, key, Settings(), scenario.reconciler)
        self._harm: dict[tuple[int, int, int], str] = {}
        self._rest: dict[int, str] = {}
        self.ends: dict[_Place, _End] = {}
        self.say: Callable[[str], None] | None = None
        begun = scenario.begin(cluster, cluster.empty)
        assert begun is not None
        self._begin = begun
        self.most_steps = 500
        self.reference = Run(self, begun)
        self.reference.to_end()
        self.most_steps = self.reference.steps
        self.shape = shape(self.reference.state)
        self.reference.judge()
        self._judge_reference()

    def _judge_reference(self) -> None:
        scenario, state = self.scenario, self.reference.state
        if wrong := scenario.ends(state):
            raise Violation(f"without any fault: {wrong}")
        if scenario.most_steps and self.reference.steps > scenario.most_steps:
            raise Violation(
                f"without any fault: {self.reference.steps} steps instead of {scenario.most_steps}"
            )
        if scenario.same_as is not None:
            other = Explorer(scenario.same_as, self.cluster)
            mine, theirs = (tuple(_STAMP.sub("", text) for text in one.shape) for one in (self, other))
            if mine != theirs:
                raise Violation(
                    f"without any fault: not the end of {other.scenario.name}: {_difference(theirs, mine)}"
                )

    def run(self, plan: Plan) -> Run:
        """Run the scenario with these faults.

        Raises:
            Violation: something does not hold.
        """
        run = Run(self, self._begin)
        for number, fault in plan:
            while run.steps < number and run.advance():
                pass
            if not run.inject(fault):
                raise ValueError(f"{fault} cannot happen at request {number}")
        run.to_end()
        run.judge()
        return run

    def plans(self, faults: int, *, kinds: Callable[[str], bool] = lambda _: True) -> Iterator[Outcome]:
        """Run every plan of at most `faults` faults; the one without is not among them."""
        yield from self._plans(Run(self, self._begin), faults, kinds)

    def at_random(self, chance: random.Random, faults: int) -> Outcome:
        """Run one plan of up to so many faults."""
        run = Run(self, self._begin)
        try:
            while faults:
                offered = run.possible()
                if offered and chance.random() < faults / self.reference.steps:
                    faults -= 1
                    fork = run.copy()
                    if fork.inject(chance.choice(offered)):
                        run = fork
                        continue
                if not run.advance():
                    break
            run.to_end()
            run.judge()
        except Violation as violation:
            return Outcome(run.plan, str(violation))
        return Outcome(run.plan, "")

    def _plans(self, run: Run, left: int, kinds: Callable[[str], bool]) -> Iterator[Outcome]:
        at = -1
        try:
            while True:
                if not left:
                    run.to_end()
                    break
                if run.steps != at and (offered := run.possible()):
                    at = run.steps
                    for fault in offered:
                        if kinds(fault):
                            fork = run.copy()
                            try:
                                happened = fork.inject(fault)
                            except Violation as violation:
                                yield Outcome(fork.plan, str(violation))
                                continue
                            if happened:
                                yield from self._plans(fork, left - 1, kinds)
                if not run.advance():
                    break
            if run.plan:
                run.judge()
                yield Outcome(run.plan, "")
        except Violation as violation:
            yield Outcome(run.plan, str(violation))

    def replay(self, plan: Plan) -> str:
        """The command that runs this plan again, step by step."""
        return f"python -m pytest tests/faults --plan {self.scenario.name}:{text_of(plan)}"

    # --- oracles ---

    def harm(self, before: State, asked: Request, number: int, after: State, root: Root) -> str:
        """What the controller did to a state that it must not do."""
        slot = (before.number, number, id(root))
        if (known := self._harm.get(slot)) is None:
            known = self._harm[slot] = _harm(before, asked, after, root, self.passes.key)
        return known

    def at_rest(self, run: Run) -> str:
        """What a new process would still write in the run's last state."""
        state = run.state
        if (known := self._rest.get(state.number)) is None:
            fresh = Run(self, state)
            fresh.scripted = len(self.scenario.actions)
            fresh.begin_pass(None)
            writes = []
            while fresh.node is not None:
                if fresh.node.asked is not None and fresh.node.asked.is_write:
                    writes.append(f"{fresh.node.asked.method} {fresh.node.asked.path}")
                fresh.advance()
            known = self._rest[state.number] = ", ".join(writes)
        return known


_Place = tuple[int, bytes, datetime, bool, float | None, bool, int]
"""All that a run's future without faults depends on, between two passes."""


class _End(NamedTuple):
    """Where a run without further faults ends, and what it takes to get there."""

    state: State
    scripted: int
    steps: int
    created: tuple[str, ...]
    deleted: tuple[str, ...]


class Outcome(NamedTuple):
    """How one plan went: the violation's words, empty for none."""

    plan: Plan
    violation: str


class Run:
    """One run, between two requests. Copies are cheap and go their own way."""

    __slots__ = (
        "_due",
        "_unseen",
        "created",
        "deleted",
        "explorer",
        "fruitless_timer",
        "history",
        "memory",
        "node",
        "now",
        "numbers",
        "plan",
        "scripted",
        "state",
        "steps",
        "timer",
        "view_at",
    )  # fmt: skip

    def __init__(self, explorer: Explorer, state: State) -> None:
        self.explorer = explorer
        self.state = state
        self.memory = explorer.passes.fresh
        self.now = NOW
        self.node: Node | None = None
        self.numbers: Tables = ()
        self.steps = 0
        self.scripted = 0
        self.plan: Plan = ()
        self.history: tuple[State, ...] = (state,)
        self.view_at = 0
        self.created: tuple[str, ...] = ()
        self.deleted: tuple[str, ...] = ()
        self.timer: float | None = None
        self.fruitless_timer = False
        self._due = True
        self._unseen = False

    def copy(self) -> Run:
        twin: Run = object.__new__(Run)
        for name in Run.__slots__:
            setattr(twin, name, getattr(self, name))
        return twin

    # --- going on ---

    def to_end(self) -> None:
        """Go on without faults until all has come to rest."""
        began: list[tuple[_Place, int, int, int]] = []
        known: _End | None = None
        while known is None:
            if self.node is None:
                slot = (
                    self.state.number,
                    self.memory,
                    self.now,
                    self._due,
                    self.timer,
                    self.fruitless_timer,
                    self.scripted,
                )
                known = None if self.explorer.say else self.explorer.ends.get(slot)
                began.append((slot, self.steps, len(self.created), len(self.deleted)))
            if known is None and not self.advance():
                known = _End(self.state, self.scripted, 0, (), ())
        self.state, self.scripted, steps, created, deleted = known
        self.steps += steps
        self.created += created
        self.deleted += deleted
        for slot, at, was_created, was_deleted in began:
            self.explorer.ends[slot] = _End(
                self.state,
                self.scripted,
                self.steps - at,
                self.created[was_created:],
                self.deleted[was_deleted:],
            )

    def advance(self) -> bool:
        """One request, or what happens between two passes; False when all has come to rest."""
        if self.node is None:
            if self._due:
                self.begin_pass(None)
                return True
            return self._between()
        if self.node.asked is None:
            self._end_pass()
            return True
        self._send(None)
        return True

    def begin_pass(self, stale: str | None) -> bool:
        """Begin a pass; with `stale`, over an old view. False when there is no such view."""
        numbers = list(self.state.table_numbers[: len(WATCHED)])
        tables = list(self.state.tables[: len(WATCHED)])
        view_at = len(self.history) - 1
        if stale:
            which, _, plural = stale.partition("-")
            for index, kind in enumerate(WATCHED):
                if plural not in (kind.plural, "all"):
                    continue
                olds = [
                    (at, old)
                    for at, old in enumerate(self.history)
                    if old.table_numbers[index] != numbers[index]
                ]
                if which == "ancient" and index == 0:  # not only another status
                    olds = [(at, old) for at, old in olds if _specs(old) != _specs(self.state)][-1:]
                if olds:
                    at, old = olds[-1 if which == "stale" else 0]
                    numbers[index], tables[index] = old.table_numbers[index], old.tables[index]
                    view_at = min(view_at, at)
            if tuple(numbers) == self.state.table_numbers[: len(WATCHED)]:
                return False
        self.steps += 1
        self.now += self.explorer.pass_takes
        self.numbers, self.view_at = tuple(numbers), view_at
        self.node = self.explorer.passes.begin(self.numbers, tuple(tables), self.memory, self.now)
        self._unseen = stale is not None
        self._due = False
        return True

    def _end_pass(self) -> None:
        node = self.node
        assert node is not None
        if node.broken:
            raise Violation(f"the pass broke: {node.broken}")
        self.memory, self.node = node.memory, None
        self.timer = node.again_after_s
        # The work queue: a failure is repeated, and news from others call for another pass; one's own do not.
        self._due = self._unseen or self.timer == 0.0
        if self.timer == 0.0:
            self.timer = None
        self._note(f"pass ends, memory {len(self.memory)} bytes, again: {self._due}, timer: {self.timer}")

    def _between(self) -> bool:
        """What happens when nothing is due: the cluster moves, a timer fires, a user does something."""
        scenario, cluster = self.explorer.scenario, self.explorer.cluster
        moved = cluster.move(self.state, scenario.name, lambda state: scenario.moves(cluster, state) or state)
        moved = cluster.collect_garbage(moved)
        if moved is not self.state:
            self._become(moved, "the cluster moves")
            self.fruitless_timer = False
            self._due = True
            return True
        if self.timer is not None and not self.fruitless_timer:
            self.now += timedelta(seconds=self.timer)
            self.timer, self.fruitless_timer, self._due = None, True, True
            return True
        return self._act()

    def _act(self) -> bool:
        actions = self.explorer.scenario.actions
        if self.scripted >= len(actions):
            return False
        number = self.scripted
        then = self.explorer.cluster.move(
            self.state,
            f"{self.explorer.scenario.name} {number}",
            lambda state: actions[number](self.explorer.cluster, state) or state,
        )
        if then is self.state and actions[number](self.explorer.cluster, self.state) is None:
            return False
        self.scripted += 1
        self._become(then, f"the user does {number}")
        self.fruitless_timer, self._due = False, True
        return True

    def _send(self, fault: str | None) -> None:
        node = self.node
        assert node is not None
        assert node.asked is not None
        self.steps += 1
        self._insist_on_bounds()
        answer: Answer | None = None
        if fault in _REFUSALS:
            status, reason = _REFUSALS[fault]
            answer = self.explorer.cluster.error(status, reason, "an injected fault")
        elif fault not in ("unreachable", "crash-before"):
            was = self.state
            answer = self._carry_out(node)
            unheard = fault is not None or node.asked.method == "DELETE"
            self._unseen |= unheard and self.state is not was
        if fault == "lost-504":
            answer = self.explorer.cluster.error(504, "Timeout", "an injected fault")
        elif fault == "lost-reply":
            answer = None
        if self.explorer.say:
            said = "no answer" if answer is None else f"{answer.status}"
            self._note(f"{node.asked.method} {node.asked.path} -> {said}")
        if fault in ("crash-before", "crash-after"):
            self.memory, self.node, self._due, self.timer = self.explorer.passes.fresh, None, True, None
            return
        self.node = self.explorer.passes.go_on(node, self.numbers, answer)

    def _carry_out(self, node: Node) -> Answer:
        explorer, asked = self.explorer, node.asked
        assert asked is not None
        done: Transition = explorer.cluster.ask(self.state, asked, node.number)
        if asked.is_write:
            if harm := explorer.harm(self.state, asked, node.number, done.state, node.root):
                raise Violation(harm)
            self.created += done.created
            self.deleted += done.deleted
            if done.state is not self.state:
                before = self.state
                self._become(done.state, "")
                says = claimed(done.state, explorer.scenario.workspace)
                if says is not None and says != claimed(before, explorer.scenario.workspace):
                    key = explorer.passes.key
                    if not any(says in served(state, key) for state in self.history[self.view_at :]):
                        raise Violation(f"the status says ready at generation {says[1]}, and it is not")
        return done.answer

    def _become(self, state: State, why: str) -> None:
        self.state = state
        self.history += (state,)
        if why:
            self._note(why)

    def _note(self, text: str) -> None:
        if self.explorer.say:
            self.explorer.say(f"{self.steps:3} {text}")

    # --- faults ---

    def possible(self) -> tuple[str, ...]:
        """What can go wrong here."""
        if self.node is None:
            found = (*STALE, *ANCIENT, "stale-all", "ancient-all") if self._due else ()
        elif (asked := self.node.asked) is None:
            return ()
        else:
            if asked.path.endswith("/events"):
                found = EVENT_FAULTS
            else:
                found = WRITE_FAULTS if asked.is_write else READ_FAULTS
        return tuple(fault for fault in found if fault not in self.explorer.scenario.without)

    def inject(self, fault: str) -> bool:
        """Let the fault happen now; False when that would be none.

        A fault of a pass happens to the next one that begins.
        """
        if fault.startswith(("stale-", "ancient-")):
            while self.node is not None or not self._due:
                if not self.advance():
                    return False
            at = self.steps
            if not self.begin_pass(fault):
                return False
            self._planned(fault, at)
            return True
        while self.node is None or self.node.asked is None:
            if not self.advance():
                return False
        if fault == "early":
            before = self.scripted
            if not self._act():
                return False
            assert self.scripted == before + 1
            self._due = False
            self._unseen = True
            self._planned(fault)
            return True
        if fault == "meddle":
            meddled = self.explorer.cluster.move(
                self.state,
                "meddler",
                lambda state: _meddled(self.explorer.cluster, state, self.explorer.passes.key),
            )
            if meddled is self.state:
                return False
            self._become(meddled, "somebody meddles with our children")
            self._unseen = True
            self._planned(fault)
            return True
        if fault == "rival":
            self._planned(fault)
            self._rival()
            return True
        self._planned(fault)
        self._send(fault)
        return True

    def _planned(self, fault: str, at: int | None = None) -> None:
        self.plan = (*self.plan, (self.steps if at is None else at, fault))
        self._note(f"*** {fault}")

    def _rival(self) -> None:
        """A second process makes a whole pass, now."""
        other = self.copy()
        other.memory, other.node = self.explorer.passes.fresh, None
        other._whole_pass()
        self._unseen |= other.state is not self.state
        self.state, self.history = other.state, other.history
        self.created, self.deleted, self.steps = other.created, other.deleted, other.steps

    def _whole_pass(self) -> None:
        self.begin_pass(None)
        while self.node is not None:
            self.advance()

    # --- the end ---

    def _insist_on_bounds(self) -> None:
        if self.steps > self.explorer.most_steps + EXTRA_STEPS_PER_FAULT * max(len(self.plan), 1):
            raise Violation(f"{self.steps} steps and not at rest, without faults {self.explorer.most_steps}")

    def judge(self) -> None:
        """Raises: Violation: the end is not as it must be."""
        explorer = self.explorer
        self._insist_on_bounds()
        if self.scripted < len(explorer.scenario.actions):
            raise Violation(f"at rest before the user could do what comes next ({self.scripted})")
        if (mine := shape(self.state)) != explorer.shape:
            raise Violation(f"another end: {_difference(explorer.shape, mine)}")
        if not any(fault == "early" for _, fault in self.plan):  # what is skipped is not recorded
            # Its number may be higher: two processes at once may each have given one.
            recorded, wanted = (
                [data for _, data in history(end)][-1:] for end in (self.state, explorer.reference.state)
            )
            if recorded != wanted:
                raise Violation(f"another history: {recorded} and not {wanted}"[:600])
        if missing := unrecorded(self.state):
            raise Violation(f"not recorded: {missing}")
        if writes := explorer.at_rest(self):
            raise Violation(f"at rest, a new process would still write: {writes}")
        for what, ours, theirs in (
            ("created", self.created, explorer.reference.created),
            ("deleted", self.deleted, explorer.reference.deleted),
        ):
            for kind in set(ours) - {"ControllerRevision", "controllerrevisions.apps"}:
                more = ours.count(kind) - theirs.count(kind) - explorer.scenario.extra.get(kind, 0)
                if more > sum(fault.startswith("meddle") for _, fault in self.plan):
                    raise Violation(
                        f"{kind} {what} {ours.count(kind)} times, without faults {theirs.count(kind)}"
                    )


def _difference(wanted: tuple[str, ...], found: tuple[str, ...]) -> str:
    one, two = ("\n".join(pieces).splitlines() for pieces in (wanted, found))
    missing = [line.strip() for line in one if line not in two]
    extra = [line.strip() for line in two if line not in one]
    return f"missing {missing[:4]}, instead {extra[:4]}"[:600]


def _meddled(cluster: Cluster, state: State, key: ObjectKey) -> State:
    """Somebody deletes the Workspace's first child: the Service, as `kubectl delete` does."""
    from kaitoctl.kube import request
    from kaitoctl.kube.objects import SERVICE

    for obj in state.objects(SERVICE):
        if key_of(obj) == key and controller_of(obj):
            return cluster.do(state, request.delete(SERVICE, key.namespace, key.name))
    return state


def _harm(before: State, asked: Request, after: State, root: Root, key: ObjectKey) -> str:
    nobody: Object = {"metadata": {"namespace": key.namespace, "name": key.name}}
    owner: Object = next((entry.obj for entry in root.tables[0] if entry.key == key), nobody)
    live: Object = next((obj for obj in before.objects(kaito.WORKSPACE) if key_of(obj) == key), nobody)
    finalizers = dig(asked.body, "metadata", "finalizers")
    if finalizers and kaito.FINALIZER in finalizers and is_being_deleted(owner):
        return "our finalizer is asked for while the Workspace is being deleted"
    was, then = before.places(), after.places()
    for place in was.keys() | then.keys():
        old, new = was.get(place), then.get(place)
        if old is new:
            continue
        name = f"{place[0]} {place[1]}"
        if place[0] == "workspaces.kaito.sh":
            if harm := _harm_to_workspace(old.obj if old else None, new.obj if new else None, owner):
                return harm
            if new is None and any(node_claims.is_of(obj, owner) for obj in after.objects(NODE_CLAIM)):
                return "the Workspace was let go while it has nodes"
        elif place[0] == "nodeclaims.karpenter.sh":
            given_back = new is None or is_being_deleted(new.obj)
            if (
                given_back
                and old is not None
                and live["metadata"].get("uid") not in node_claims.owner_uids(old.obj) != ()
            ):
                continue  # of a Workspace that is no more
            if not node_claims.is_of((old or new).obj, owner):  # type: ignore[union-attr]
                return f"{name} is not this Workspace's, and was written"
            if new is not None and is_being_deleted(owner) and not is_being_deleted(new.obj):
                return f"{name} bought for a Workspace that is being deleted"
        elif "uid" not in owner["metadata"]:
            return f"{name} was written for a Workspace that the stores do not show"
        elif old is not None and not is_controlled_by(old.obj, owner):
            return f"{name} is not ours, and was written"
        elif old is None and new is not None and not is_controlled_by(new.obj, owner):
            return f"{name} was created without its owner reference"
        elif old is not None and new is not None and _made_for(new.obj) < _made_for(old.obj):
            return f"{name} went back from generation {_made_for(old.obj)} to {_made_for(new.obj)}"
    wanted = max(_count(owner), _count(live))
    bought = [
        obj
        for obj in after.objects(NODE_CLAIM)
        if node_claims.is_of(obj, owner) and not is_being_deleted(obj)
    ]
    had = [
        obj
        for obj in before.objects(NODE_CLAIM)
        if node_claims.is_of(obj, owner) and not is_being_deleted(obj)
    ]
    if len(bought) > len(had) and len([obj for obj in bought if node_claims.fits(owner, obj)]) > wanted:
        return f"{len(bought)} nodes bought where {wanted} are wanted"
    return ""


def _harm_to_workspace(old: Object | None, new: Object | None, owner: Object) -> str:
    if old is None:
        return "a Workspace was created"
    if uid_of(old) != owner["metadata"].get("uid"):
        return "another incarnation of the Workspace was written"
    if new is None:
        return "" if old["metadata"].get("finalizers") == [kaito.FINALIZER] else "the Workspace was deleted"
    apart = ("apiVersion", "metadata", "status")  # kept in another version than the one that we ask for
    ours = ("managedFields", "resourceVersion", "finalizers")
    if _without(old, *apart) != _without(new, *apart):
        return "the Workspace's spec was written"
    if _without(old["metadata"], *ours) != _without(new["metadata"], *ours):
        return "the Workspace's metadata was written"
    others = [
        [name for name in obj["metadata"].get("finalizers") or () if name != kaito.FINALIZER]
        for obj in (old, new)
    ]
    return "" if others[0] == others[1] else "other people's finalizers were written"


def _without(obj: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in obj.items() if name not in names}


def _made_for(obj: Object) -> int:
    text = annotations_of(obj).get(OWNER_GENERATION, "")
    return int(text) if text.isdecimal() else 0


def _count(workspace: Object) -> int:
    return int(dig(workspace, "resource", "count") or 1)


# --- plans as text ---------------------------------------------------------------------------------------


def text_of(plan: Plan) -> str:
    return ",".join(f"{number}:{fault}" for number, fault in plan)


def plan_of(text: str) -> Plan:
    """Reads what `text_of` writes.

    Raises:
        ValueError: it is not a plan.
    """
    pairs = [item.partition(":") for item in text.split(",") if item]
    return tuple((int(number), fault) for number, _, fault in pairs)
