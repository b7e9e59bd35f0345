"""The set's reconciler under every fault at every request, and many pairs of them.

A cluster here is three dicts, so that a plan is cheap. Laws, after each request:
- ready replicas are never fewer than wanted, less the budget, but for what a test takes down itself;
- there are never more Workspaces than wanted and the surge;
- no Workspace is made from an older template than the set had when its reconcile began;
and at the end, without faults: all replicas have the present template, or the status says why not.
"""

from __future__ import annotations

import copy
import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fleet_world import adapter, inference_set
from msgspec.structs import replace

from kaitoctl.errors import ApiError, Unreachable
from kaitoctl.fleet_controller import FleetReconciler, FleetStores, transform_of
from kaitoctl.fleet_controller import reconcile as reconcile_
from kaitoctl.kaito import api as kaito
from kaitoctl.kaito.desired import Settings
from kaitoctl.kaito.fleet import decisions, replicas, template
from kaitoctl.kaito.fleet import status as status_
from kaitoctl.kaito.workspace_conditions import FAILED
from kaitoctl.kube import conditions, fast_json
from kaitoctl.kube.objects import (
    CONTROLLER_REVISION,
    Object,
    ObjectKey,
    apply_merge_patch,
    dig,
    generation_of,
    is_being_deleted,
)
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.store import Store

KEY = ObjectKey("default", "phis")
START = datetime(2026, 1, 1, tzinfo=UTC)
KINDS = {"inferencesets": kaito.INFERENCE_SET, "workspaces": kaito.WORKSPACE_V1BETA1,
         "controllerrevisions": CONTROLLER_REVISION}  # fmt: skip
STORES = {"sets": "inferencesets", "workspaces": "workspaces", "revisions": "controllerrevisions"}
FAULTS = (
    "crash-before",
    "crash-after",
    "lost-reply",
    "unavailable",
    "conflict",
    "stale",
    "rival",
    "stale-rival",
)
PAIRS = 2100
"""Of each scenario, besides every single fault: more than 20,000 plans together."""


class Crash(Exception):
    """The process died here."""


class Violation(AssertionError):
    """Something that must hold does not."""


@dataclass
class Cluster:
    """Objects by plural and name; versions, generations and uids as an API server gives them."""

    objects: dict[str, dict[str, Object]] = field(default_factory=lambda: {name: {} for name in KINDS})
    version: int = 0

    def copied(self) -> dict[str, dict[str, Object]]:
        return {plural: dict(found) for plural, found in self.objects.items()}

    def put(self, plural: str, obj: Object) -> Object:
        """An object's next version; the old one, which somebody may hold, stays as it is."""
        self.version += 1
        metadata = {**obj["metadata"], "resourceVersion": str(self.version)}
        made = {**obj, "metadata": metadata}
        self.objects[plural][metadata["name"]] = made
        return made

    def create(self, plural: str, obj: Object) -> Object:
        name = obj["metadata"]["name"]
        if name in self.objects[plural]:
            raise ApiError(409, "AlreadyExists", f"{name} exists")
        kind = KINDS[plural]
        given = {"uid": f"u{self.version}", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"}
        head = {"apiVersion": kind.api_version, "kind": kind.kind}
        return self.put(plural, {**obj, **head, "metadata": {**obj["metadata"], **given}})

    def answer(self, asked: Request) -> Object:
        parts = asked.path.strip("/").split("/")
        if parts[-1] in ("resourcequotas", "limitranges"):
            return {"items": []}
        plural = next(part for part in parts if part in KINDS)
        rest = parts[parts.index(plural) + 1 :]
        if asked.method == "POST":
            return self.create(plural, asked.body)
        if not rest:
            return {"items": list(self.objects[plural].values())}
        there = self.objects[plural].get(rest[0])
        if there is None:
            raise ApiError(404, "NotFound", f"no {rest[0]}", details={"name": rest[0]})
        if asked.method == "GET":
            return there
        meant = asked.body.get("metadata") or asked.body.get("preconditions") or {}
        for mark in ("uid", "resourceVersion"):
            if mark in meant and meant[mark] != there["metadata"][mark]:
                raise ApiError(409, "Conflict", f"{mark} of {rest[0]} is another one")
        if asked.method == "DELETE":
            return self._delete(plural, there)
        if rest[1:] == ["status"]:
            return self.put(plural, {**there, "status": asked.body["status"]})
        body = {key: value for key, value in asked.body.items() if key not in ("apiVersion", "kind")}
        made = apply_merge_patch(there, body)
        spec = ("spec", "resource", "inference")
        moved = any(made.get(part) != there.get(part) for part in spec)
        generation = generation_of(there) + moved
        made = {**made, "metadata": {**made["metadata"], "generation": generation}}
        if is_being_deleted(made) and not made["metadata"].get("finalizers"):
            self.version += 1
            return self.objects[plural].pop(rest[0])
        return self.put(plural, made)

    def _delete(self, plural: str, there: Object) -> Object:
        self.version += 1
        if there["metadata"].get("finalizers"):
            metadata = {**there["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
            return self.put(plural, {**there, "metadata": metadata})
        return self.objects[plural].pop(there["metadata"]["name"])


def stores_of(objects: dict[str, dict[str, Object]], kept: dict[int, tuple[Object, Object]]) -> FleetStores:
    """What the informers show of objects; `kept` has what they keep of each, by its `id`."""
    views = {}
    for name, plural in STORES.items():
        store = Store()
        for obj in objects[plural].values():
            key = ObjectKey("default", obj["metadata"]["name"])
            if id(obj) not in kept:
                kept[id(obj)] = obj, transform_of(KINDS[plural])(obj)
            store._replace(key, kept[id(obj)][1])
        views[name] = store
    return FleetStores(**views)


@dataclass(frozen=True)
class Scenario:
    """Edits of a set, each after the one before has settled; and which Workspaces fail."""

    edits: tuple[Object, ...]
    fails: Callable[[Object], bool] = lambda workspace: False
    ends: str = "Complete"


def edited(replicas_: int, strategy: Any = None, **asked: Any) -> Object:
    made = inference_set(replicas_, **asked)
    if strategy:
        made["spec"]["updateStrategy"] = {"rollingUpdate": strategy}
    return made


def _bad(workspace: Object) -> bool:
    return "adapters" in workspace["inference"]


SURGE = {"maxUnavailable": 0, "maxSurge": 1}
SCENARIOS = {
    "create": Scenario((edited(3),)),
    "scale": Scenario((edited(1), edited(4), edited(2))),
    "adapters": Scenario((edited(3), edited(3, adapters=[adapter("a")]))),
    "replace": Scenario((edited(3), edited(3, preset={"name": "phi-4"}))),
    "surge": Scenario((edited(3, SURGE), edited(3, SURGE, preset={"name": "phi-4"}))),
    "canary": Scenario((edited(3), edited(3, {"partition": 2}, adapters=[adapter("a")])), ends="Canary"),
    "bad": Scenario((edited(3), edited(3, adapters=[adapter("a")])), fails=_bad, ends="FailureBudgetSpent"),
    "undo": Scenario((edited(3), edited(3, adapters=[adapter("a")]), edited(3)), fails=_bad),
    "twice": Scenario((edited(2), edited(2, preset={"name": "phi-4"}), edited(3, adapters=[adapter("b")]))),
}

Plan = tuple[tuple[int, str], ...]


class Run:
    """One scenario with faults at some requests.

    Until the first fault all runs are one; a list `moments` is given a run for each pass, to begin with it.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario, self.plan = scenario, dict[int, str]()
        self.cluster, self.requests, self.now = Cluster(), 0, START
        self.past: list[dict[str, dict[str, Object]]] = []
        self.stale = False
        self.floor = self.number = self.edited = 0
        self.kept: dict[int, tuple[Object, Object]] = {}
        self.moments: list[Run] | None = None

    def with_plan(self, plan: Plan) -> Run:
        """Another run that goes on from here, with these faults."""
        made = copy.copy(self)
        made.cluster = Cluster(self.cluster.copied(), self.cluster.version)
        made.plan, made.past, made.moments = dict(plan), [*self.past], None
        return made

    def run(self) -> None:
        while True:
            if self.edited:
                self._settle()
            if self.edited == len(self.scenario.edits):
                break
            self._edit(self.scenario.edits[self.edited])
            self.edited += 1
        found = conditions.find(self._set(), status_.ROLLOUT) or {}
        if found.get("reason") != self.scenario.ends:
            raise Violation(f"it ends with {found}")
        if self.scenario.ends == "Complete" and self._ready() != self._wanted():
            raise Violation(f"{self._ready()} of {self._wanted()} are ready at the end")
        asked = dig(self._set(), "spec", "template", "inference")
        if self.scenario.ends == "Complete" and any(one["inference"] != asked for one in self._live()):
            raise Violation("at the end, one has another template")
        before = self.requests
        self.plan = {}
        self._reconcile()
        if self.requests != before:
            raise Violation("a reconcile at rest asks the server")

    def _edit(self, edit: Object) -> None:
        there = self.cluster.objects["inferencesets"].get(KEY.name)
        if there is None:
            self.cluster.create("inferencesets", edit)
            return
        metadata = {**there["metadata"], "generation": generation_of(there) + 1}
        self.cluster.put("inferencesets", {**there, "spec": edit["spec"], "metadata": metadata})
        self.floor = 0  # until as many are ready as before

    def _set(self) -> Object:
        return self.cluster.objects["inferencesets"][KEY.name]

    def _wanted(self) -> int:
        return replicas.wanted_replicas(self._set())

    def _live(self) -> list[Object]:
        return [one for one in self.cluster.objects["workspaces"].values() if not is_being_deleted(one)]

    def _ready(self) -> int:
        return sum(
            conditions.is_true(one, kaito.WORKSPACE_SUCCEEDED, generation=generation_of(one))
            for one in self._live()
        )

    def _settle(self) -> None:
        for _ in range(120):
            if self.moments is not None:
                self.moments.append(self.with_plan(()))
            saw_the_past = self.stale
            wrote = self._reconcile()
            moved = self._workspace_moves()
            self.now += timedelta(seconds=10)
            if not (wrote or moved or saw_the_past or self.stale):
                return
        raise Violation("it never comes to rest")

    def _workspace_moves(self) -> bool:
        """One Workspace serves what it asks for, or fails."""
        for one in self._live():
            found = conditions.find(one, kaito.WORKSPACE_SUCCEEDED)
            if found and found["observedGeneration"] == generation_of(one):
                continue
            fails = self.scenario.fails(one)
            reason = FAILED if fails else "workspaceSucceeded"
            news = [conditions.condition(kaito.WORKSPACE_SUCCEEDED, not fails, reason, "so it is")]
            merged = conditions.merge([], news, generation=generation_of(one), now=self.now)
            self.cluster.put("workspaces", {**one, "status": {"conditions": merged}})
            self._look()
            return True
        return False

    def _look(self) -> None:
        """What must hold at every moment."""
        strategy = dig(self._set(), "spec", "updateStrategy", "rollingUpdate") or {}
        most_away, surge = strategy.get("maxUnavailable", 1), strategy.get("maxSurge", 0)
        ready, wanted = self._ready(), self._wanted()
        self.floor = max(self.floor, min(ready, max(0, wanted - most_away)))
        if ready < self.floor:
            raise Violation(f"{ready} ready, of {wanted} wanted and {most_away} that may be away")
        number = len(self._live())
        if number > wanted + surge and number > self.number:
            raise Violation(f"{number} Workspaces, of {wanted} wanted and {surge} more")
        self.number = number

    def _reconcile(self, *, faults: bool = True, old: bool = False) -> bool:
        """One reconcile by a process that sees the present, or an old past; True when it wrote."""
        self.past.append(self.cluster.copied())
        objects = self.past[max(0, len(self.past) - 4)] if old or self.stale else self.cluster.copied()
        self.stale = False
        generation = generation_of(self._set())
        reconciler = FleetReconciler(stores_of(objects, self.kept), Settings(), clock=lambda: self.now)
        steps, wrote = reconciler.reconcile(KEY), False
        try:
            asked = next(steps)
            while True:
                wrote = wrote or asked.is_write
                try:
                    answer = self._send(asked, generation, faults=faults)
                except (ApiError, Unreachable) as error:
                    asked = steps.throw(error)
                else:
                    asked = steps.send(answer)
        except StopIteration:
            return wrote
        except (ApiError, Unreachable, Crash):
            steps.close()
            return True

    def _send(self, asked: Request, generation: int, *, faults: bool) -> Object:
        fault = ""
        if faults:
            fault = self.plan.get(self.requests, "")
            self.requests += 1
        if fault == "crash-before":
            raise Crash
        if fault == "unavailable":
            raise ApiError(503, "ServiceUnavailable", "injected")
        if fault == "conflict" and asked.is_write:
            raise ApiError(409, "Conflict", "injected")
        if fault in ("rival", "stale-rival"):
            self._reconcile(faults=False, old=fault == "stale-rival")
        if asked.method == "POST" and "/workspaces" in asked.path:
            wanted = replicas.workspace_of(self._set())
            if generation_of(self._set()) == generation and asked.body["inference"] != wanted["inference"]:
                raise Violation("a Workspace is made from an older template")
        answer = self.cluster.answer(asked)
        if asked.is_write:
            self._look()
        if fault == "crash-after":
            raise Crash
        if fault == "lost-reply":
            raise Unreachable("injected")
        if fault == "stale":
            self.stale = True
        copied: Object = fast_json.decode(fast_json.encode(answer))
        return copied


def attempts(scenario: Scenario, seed: int, pairs: int) -> Iterator[tuple[Plan, Run]]:
    """Every fault at every request, and pairs of them at random; each goes on from just before its first."""
    whole = Run(scenario)
    moments = whole.moments = []
    whole.run()

    def of(*plan: tuple[int, str]) -> tuple[Plan, Run]:
        before = bisect_right(moments, plan[0][0], key=lambda moment: moment.requests)
        return plan, moments[before - 1].with_plan(plan)

    singles = [(number, fault) for number in range(whole.requests + 4) for fault in FAULTS]
    yield from map(of, singles)
    chance = random.Random(seed)
    for _ in range(pairs):
        first, second = sorted(chance.sample(singles, 2))
        if first[0] != second[0]:
            yield of(first, second)


def first_violation(scenario: Scenario, pairs: int, count: Counter[str] | None = None) -> str:
    try:
        for plan, run in attempts(scenario, 7, pairs):
            if count is not None:
                count["plans"] += 1
            try:
                run.run()
            except Violation as violation:
                return f"{plan}: {violation}"
    except Violation as violation:
        return f"without faults: {violation}"
    return ""


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows from an object alone is found out once: the same few come in thousands of plans."""
    known: dict[tuple[str, bytes], Any] = {}

    def once(name: str, function: Callable[..., Any], *parts: Callable[[Any], Any]) -> Callable[..., Any]:
        def asked(*given: Any) -> Any:
            key = name, fast_json.encode([part(one) for part, one in zip(parts, given, strict=False)])
            if key not in known:
                known[key] = function(*given)
            return known[key]

        return asked

    def spec(obj: Object) -> Any:
        return [obj.get("spec"), obj.get("resource"), obj.get("inference"), obj["metadata"].get("labels"),
                obj["metadata"].get("annotations"), obj["metadata"]["name"]]  # fmt: skip

    differences = once("differences", template.differences, spec, spec, sorted)
    monkeypatch.setattr(decisions, "differences", differences)
    refusal = FleetReconciler._refusal
    monkeypatch.setattr(FleetReconciler, "_refusal", once("refusal", refusal, lambda _: 0, spec))


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_fault_at_every_request_keeps_the_laws(
    name: str, count: Counter[str], request: pytest.FixtureRequest
) -> None:
    pairs = 4 * PAIRS if request.config.getoption("--soak") else PAIRS
    assert first_violation(SCENARIOS[name], pairs, count) == ""


def _of_any_generation(workspace: Object) -> int:
    """A status of the template before is believed."""
    return 0


def _any_names(inference_set: Object, taken: Any) -> Iterator[str]:
    while True:
        yield f"phis-{random.randrange(10**9)}"


def _kaitos_template(inference_set: Object, workspace: Object, dropped: Any = ()) -> list[str]:
    """KAITO: a Workspace that exists is never looked at again."""
    return []


def _no_budget(*given: Any, **more: Any) -> Any:
    strategy = given[2]
    return decisions.decide(given[0], given[1], type(strategy)(9, 0, strategy.keep, 9), **more)


def _creates_too_late(wanted: int, live: Any, strategy: Any, **more: Any) -> Any:
    return decisions.decide(max(0, wanted - 1), live, strategy, **more)


def _with(**changed: int) -> Any:
    """Decisions by another budget than the set's."""

    def decided(wanted: int, live: Any, strategy: Any, **more: Any) -> Any:
        return decisions.decide(wanted, live, replace(strategy, **changed), **more)

    return decided


MUTANTS: dict[str, tuple[str, Any, str, Any]] = {
    "a status from before is believed": ("adapters", decisions, "generation_of", _of_any_generation),
    "names are drawn anew": ("create", replicas, "free_names", _any_names),
    "KAITO's own: the template is not carried over": ("adapters", decisions, "differences", _kaitos_template),
    "the budget is not kept": ("adapters", reconcile_, "decide", _no_budget),
    "KAITO's own: replicas that fail hold nobody up": ("bad", reconcile_, "decide", _with(max_failures=99)),
    "KAITO's own: what updateStrategy says is not read": ("canary", reconcile_, "decide", _with(keep=0)),
    "a surge without asking for one": ("replace", reconcile_, "decide", _with(max_surge=2)),
    "one is missing": ("create", reconcile_, "decide", _creates_too_late),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_defect_of_the_sets_controller_is_found(
    name: str, count: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario, where, what, instead = MUTANTS[name]
    monkeypatch.setattr(where, what, instead)
    count["defects put in"] += 1
    assert first_violation(SCENARIOS[scenario], 200), f"{name}: no plan finds it"
    count["of them found"] += 1
