"""Several Workspaces that compete for nodes, one controller, and a cluster that moves in steps of its own.

A `Race` takes one small step after another, drawn by a seed: a request of a pass (several are under way at
a time), a node that joins, a pod that is bound to any node with room, a user's next action, a process that
dies, a pass over an old view. After each request of the controller the laws must hold:

- no NodeClaim goes whose node has other people's GPU pods, nor before its Workspace runs without it;
- none is bought while those that there are, for this Workspace or to spare, would do;
- none that vanished is asked for again before it is decent, whichever process asks;
- at the end everybody who fits runs, no more was bought than was needed and lost, and nobody writes.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from faults.model import NOW, WATCHED, Answer, Cluster, State
from faults.runs import Following, Violation, _learn, _stores
from faults.scenarios import applied, with_status
from world import gpu_node, gpus_asked, is_of_template, node_status, running_pod

from kaitoctl.errors import ApiError, KaitoctlError
from kaitoctl.kaito import api as kaito
from kaitoctl.kaito import node_claims
from kaitoctl.kaito.catalog import instance_types
from kaitoctl.kaito.desired import Settings
from kaitoctl.kube import conditions, request
from kaitoctl.kube.objects import (
    DEPLOYMENT,
    NODE,
    NODE_CLAIM,
    POD,
    Object,
    ObjectKey,
    dig,
    generation_of,
    is_being_deleted,
    is_controlled_by,
    key_of,
    labels_of,
    matches_expression,
    uid_of,
)
from kaitoctl.kube.pod_state import is_finished, is_ready
from kaitoctl.kube.request import Request
from kaitoctl.workspace_controller import ReconcileSteps, WorkspaceReconciler
from kaitoctl.workspace_controller.stores import workspace_of_labels

Action = Callable[[Cluster, State], State | None]

_Move = tuple[Callable[[], State], str]
"""What somebody other than the controller may do, and how that is told."""

MOST_STEPS = 4000
_AT_ONCE = 3
_CHANCE_OF_FAULT = 0.03


@dataclass(frozen=True)
class Contest:
    """What is there, what users do, and what must come of it.

    Args:
        name: for the replay.
        actions: what users do, in order, each at any moment after the one before.
        ends: what is wrong with the end, empty for nothing.
        most_bought: how many nodes may be bought at most.
        least_deleted: as many NodeClaims must be given back at least.
        most_deleted: as many at most.
        has_claims: whether nodes can be bought at all.
        clean: without crashes, old views and refused requests.
        astray: how many pods are on nodes that others asked for, and not as their own Workspaces ask for: for
            each of them another node is bought.
    """

    name: str
    actions: tuple[Action, ...]
    ends: Callable[[State], str]
    most_bought: int
    most_deleted: int = 0
    has_claims: bool = True
    clean: bool = False
    astray: Callable[[State], int] = lambda state: 0


@dataclass(eq=False)
class _Flight:
    """A pass that is under way.

    Args:
        key: over which Workspace.
        reconciler: whose generator it is; it learns what the pass writes.
        passing: the generator.
        view: the state that the stores showed.
        asked: the next request.
        wrote: whether it changed anything.
    """

    key: ObjectKey
    reconciler: WorkspaceReconciler
    passing: ReconcileSteps
    view: State
    asked: Request | None = None
    wrote: bool = False


@dataclass
class Race:
    """One run of a contest; `run` takes it to its end.

    Raises:
        Violation: a law is broken.
    """

    contest: Contest
    cluster: Cluster
    chance: random.Random
    bought: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    writes: Counter[str] = field(default_factory=Counter)
    decent: dict[str, datetime] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.state = self.cluster.empty
        self.now: datetime = NOW
        self.flights: list[_Flight] = []
        self.settled: dict[ObjectKey, State] = {}  # the state in which a pass over the key did nothing
        self.timers: dict[ObjectKey, float] = {}
        self.done = 0
        self.history: list[State] = [self.state]
        self.log: list[str] = []

    def run(self) -> Race:
        for _ in range(MOST_STEPS):
            if not self._step():
                break
        else:
            raise Violation(f"{self._told()}: not at rest after {MOST_STEPS} steps")
        self._judge()
        return self

    # --- steps -------------------------------------------------------------------------------------------

    def _step(self) -> bool:
        """Any one thing that can happen; False when nothing can."""
        acts = self.done < len(self.contest.actions)
        due = [key for key in self._keys() if self._is_due(key)]
        moves = list(self._moves())
        wheel: list[Callable[[], None]] = [partial(self._go_on, flight) for flight in self.flights]
        if len(self.flights) < _AT_ONCE:
            wheel += [partial(self._begin, key) for key in due]
        if moves:
            wheel += [lambda: self._moved(*self.chance.choice(moves))] * max(1, len(wheel) // 2)
        if acts and (not wheel or self.chance.random() < 0.1) and self._act():
            return True
        if not wheel:
            return self._time_passes()
        if not self.contest.clean and self.chance.random() < _CHANCE_OF_FAULT / 3 and self.flights:
            self.log.append("the process dies")
            self.flights.clear()
            self.settled.clear()
        else:
            self.chance.choice(wheel)()
        return True

    def _time_passes(self) -> bool:
        if not self.timers:
            return False
        wait_s = min(self.timers.values())
        self.now += timedelta(seconds=wait_s)
        keys = [key for key, left in self.timers.items() if left <= wait_s]
        self.timers = {key: left - wait_s for key, left in self.timers.items() if key not in keys}
        for key in keys:
            if self.settled.pop(key, None) is self.state and self._fruitless(key):
                self.settled[key] = self.state
        return True

    def _fruitless(self, key: ObjectKey) -> bool:
        """Whether the timer has gone off in this state before: it would for ever."""
        slot = (key, self.state.number)
        was = slot in self._gone_off
        self._gone_off.add(slot)
        return was

    _gone_off: set[tuple[ObjectKey, int]] = field(default_factory=set)

    def _keys(self) -> list[ObjectKey]:
        found = {key_of(obj) for obj in self.state.objects(kaito.WORKSPACE)}
        found |= {key for claim in self.state.objects(NODE_CLAIM) for key in workspace_of_labels(claim)}
        return sorted(found - {flight.key for flight in self.flights})

    def _is_due(self, key: ObjectKey) -> bool:
        settled = self.settled.get(key)
        return (
            settled is None
            or settled.table_numbers[: len(WATCHED)] != self.state.table_numbers[: len(WATCHED)]
        )

    def _act(self) -> bool:
        """The next thing that a user does; False while it cannot be done."""
        then = self.contest.actions[self.done](self.cluster, self.state)
        if then is None:
            return False
        self.done += 1
        self._become(then, f"the user does {self.done - 1}")
        return True

    def _become(self, state: State, why: str) -> None:
        self.state = state
        self.history.append(state)
        self.log.append(why)

    # --- the controller ----------------------------------------------------------------------------------

    def _begin(self, key: ObjectKey) -> None:
        view = self.state
        if not self.contest.clean and self.chance.random() < _CHANCE_OF_FAULT:
            view = self.chance.choice(self.history[-12:])
        stores = _stores(view.tables[: len(WATCHED)], can_claim=self.contest.has_claims)
        reconciler = Following(stores, Settings(), clock=lambda: self.now)
        flight = _Flight(key, reconciler, reconciler.reconcile(key), view)
        self.flights.append(flight)
        self._hear(flight, lambda: next(flight.passing))

    def _go_on(self, flight: _Flight) -> None:
        asked = flight.asked
        assert asked is not None
        if not self.contest.clean and self.chance.random() < _CHANCE_OF_FAULT:
            status, reason = self.chance.choice([(409, "Conflict"), (503, "ServiceUnavailable")])
            answer = self.cluster.error(status, reason, "an injected fault")
        else:
            before = self.state
            done = self.cluster.ask(self.state, asked)
            answer = done.answer
            if done.state is not before:
                flight.wrote = True
                self._become(
                    done.state,
                    f"{flight.key.name}: {asked.method} {asked.path.rpartition('/')[0][-12:]}"
                    f"/{asked.path.rpartition('/')[2]}",
                )
                self.writes[asked.path.rpartition("/")[2]] += 1
                self._insist(before, flight)
        _learn(flight.reconciler, asked, answer)
        self._hear(flight, lambda: self._answered(flight.passing, answer))
        # Between a last look and a deletion others may come in any cluster; here it is one step.
        if asked.path.endswith("/pods") and flight in self.flights:
            self._go_on(flight)

    def _answered(self, passing: ReconcileSteps, answer: Answer) -> Request:
        try:
            value = answer.value()
        except ApiError as error:
            return passing.throw(error)
        return passing.send(value)

    def _hear(self, flight: _Flight, go: Callable[[], Request]) -> None:
        key = flight.key
        try:
            flight.asked = go()
            return
        except StopIteration as stop:
            again_s = stop.value.requeue_after_s
            if not flight.wrote:  # what it saw is nothing to do anything about; another state may be
                self.settled[key] = flight.view
            self.timers.pop(key, None)
            if again_s is not None:
                self.timers[key] = again_s
        except KaitoctlError:
            self.settled.pop(key, None)
        self.flights.remove(flight)

    # --- the cluster -------------------------------------------------------------------------------------

    def _moved(self, move: Callable[[], State], why: str) -> None:
        self._become(move(), why)

    def _moves(self) -> Iterator[_Move]:
        """All that may come next; what comes of it is worked out for the one that does."""
        state, do = self.state, self.cluster.do
        collected = self.cluster.collect_garbage(state)
        if collected is not state:
            yield lambda: collected, "garbage is collected"
        there = {obj["metadata"]["name"]: obj for obj in state.objects(NODE_CLAIM)}
        nodes = {obj["metadata"]["name"]: obj for obj in state.objects(NODE)}
        for name, claim in there.items():
            if f"node-{name}" not in nodes:
                node = gpu_node(f"node-{name}", labels_of(claim), _type_of(claim))
                yield partial(do, state, applied(NODE, node)), f"node-{name} joins"
            elif not dig(claim, "status", "nodeName"):
                joined = with_status(NODE_CLAIM, name, {"nodeName": f"node-{name}"})
                gpus = str(instance_types()[_type_of(claim)].gpus)
                ready = with_status(NODE, f"node-{name}", node_status(gpus))
                yield partial(do, state, joined, ready), f"node-{name} is ready"
        for name in nodes:
            if name.startswith("node-") and name.removeprefix("node-") not in there:
                yield partial(do, state, request.delete(NODE, "", name)), f"{name} goes"
        yield from self._pods_move(nodes)

    def _pods_move(self, nodes: dict[str, Object]) -> Iterator[_Move]:
        state, do = self.state, self.cluster.do
        pods = list(state.objects(POD))
        for pod in pods:
            where = dig(pod, "spec", "nodeName")
            if is_being_deleted(pod) or (where and where not in nodes):
                yield partial(do, state, _stopped(pod)), f"pod {key_of(pod).name} stops"
            elif not where:
                yield from self._scheduled(pod, pods, nodes)
            elif not is_ready(pod):
                running = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
                name, namespace = key_of(pod).name, key_of(pod).namespace
                asked = request.merge_patch(
                    POD, namespace, name, {"status": running}, manager="kubelet", subresource="status"
                )
                yield partial(do, state, asked), f"pod {name} is ready on {where}"
        for workload in state.objects(DEPLOYMENT):
            if is_being_deleted(workload):
                continue
            own = [pod for pod in pods if is_controlled_by(pod, workload) and not is_being_deleted(pod)]
            wanted = int(workload["spec"]["replicas"])
            fresh = [pod for pod in own if is_of_template(pod, workload)]
            if stale := [pod for pod in own if pod not in fresh]:
                yield partial(do, state, _stopped(stale[0])), f"pod {key_of(stale[0]).name} is replaced"
            elif len(fresh) > wanted:
                yield partial(do, state, _stopped(fresh[-1])), f"pod {key_of(fresh[-1]).name} is one too many"
            else:
                names = {key_of(pod) for pod in pods}
                for number in range(wanted):
                    key = key_of(workload)
                    if key._replace(name=f"{key.name}-{number}") not in names:
                        made = running_pod(_typed(workload), number, "")
                        del made["spec"]["nodeName"]
                        yield partial(do, state, applied(POD, made)), f"pod {key_of(made).name} is made"
            ready = sum(map(is_ready, fresh))
            counts = dict.fromkeys(("readyReplicas", "availableReplicas"), ready)
            told = {
                "observedGeneration": generation_of(workload),
                "replicas": len(own),
                "updatedReplicas": len(fresh),
                **counts,
            }
            if any(((workload.get("status") or {}).get(name) or 0) != value for name, value in told.items()):
                key = key_of(workload)
                asked = request.merge_patch(
                    DEPLOYMENT, *key, {"status": told}, manager="cluster", subresource="status"
                )
                yield partial(do, state, asked), f"deployment {key.name}: {ready} of {wanted} ready"

    def _scheduled(self, pod: Object, pods: list[Object], nodes: dict[str, Object]) -> Iterator[_Move]:
        """Bound to any node with room; told that there is none when there is none."""
        state, do, key = self.state, self.cluster.do, key_of(pod)
        asks = gpus_asked(pod)
        fitting = [
            name
            for name, node in nodes.items()
            if _free(node, pods) >= asks and _suits(pod, node) and not _is_leaving(state, name)
        ]
        for node in fitting:
            bound = {**pod, "apiVersion": "v1", "kind": "Pod", "spec": {**pod["spec"], "nodeName": node}}
            yield partial(do, state, request.replace(POD, bound)), f"pod {key.name} is bound to {node}"
        told = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]
        if not fitting and not conditions.find(pod, "PodScheduled"):
            asked = request.merge_patch(
                POD, *key, {"status": {"conditions": told}}, manager="scheduler", subresource="status"
            )
            yield partial(do, state, asked), f"pod {key.name} finds no place"

    # --- laws --------------------------------------------------------------------------------------------

    def _insist(self, before: State, flight: _Flight) -> None:
        was = {obj["metadata"]["name"]: obj for obj in before.objects(NODE_CLAIM)}
        now = {obj["metadata"]["name"]: obj for obj in self.state.objects(NODE_CLAIM)}
        for name in was.keys() - now.keys():
            self.deleted.append(name)
            if wrong := _wrongly_given_back(before, was[name], flight.view):
                raise Violation(f"{self._told()}: {name}: {wrong}")
        for name in now.keys() - was.keys():
            if self.contest.clean and self.now < self.decent.get(name, self.now):
                raise Violation(f"{self._told()}: {name} is asked for again at once")
            self.decent[name] = self.now + timedelta(seconds=30)
            self.bought.append(name)
            if wrong := _wrongly_bought(before, now[name], flight.view):
                raise Violation(f"{self._told()}: {name}: {wrong}")

    def _judge(self) -> None:
        if self.done < len(self.contest.actions):
            raise Violation(f"{self._told()}: at rest before the user could do {self.done}")
        if wrong := self.contest.ends(self.state):
            raise Violation(f"{self._told()}: at the end {wrong}")
        most = self.contest.most_bought + self.contest.astray(self.state)
        if len(self.bought) > most:
            raise Violation(f"{self._told()}: {len(self.bought)} bought, {most} needed and lost")
        if len(self.deleted) > self.contest.most_deleted:
            raise Violation(f"{self._told()}: {len(self.deleted)} given back")

    def _told(self) -> str:
        return f"{self.contest.name}, last {self.log[-14:]}"


def _typed(obj: Object) -> Object:
    return {"apiVersion": "apps/v1", "kind": "Deployment", **obj}


def _stopped(pod: Object) -> Request:
    gone = request.delete(POD, *key_of(pod))
    return Request(gone.method, gone.path, body={**gone.body, "gracePeriodSeconds": 0})


def _type_of(claim: Object) -> str:
    asked = {item["key"]: item["values"][0] for item in claim["spec"]["requirements"]}
    return str(asked[kaito.LABEL_INSTANCE_TYPE])


def _free(node: Object, pods: list[Object]) -> int:
    here = [pod for pod in pods if dig(pod, "spec", "nodeName") == node["metadata"]["name"]]
    held = sum(gpus_asked(pod) for pod in here if not is_finished(pod))
    return int(dig(node, "status", "allocatable", "nvidia.com/gpu") or 0) - held


def _suits(pod: Object, node: Object) -> bool:
    affinity = pod["spec"]["affinity"]["nodeAffinity"]
    (term,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    return all(matches_expression(item, labels_of(node)) for item in term["matchExpressions"])


def _is_leaving(state: State, node: str) -> bool:
    claim = state.get(NODE_CLAIM, node.removeprefix("node-"))
    return node.startswith("node-") and (claim is None or is_being_deleted(claim))


def owner_of(state: State, claim: Object) -> Object | None:
    """The living Workspace that a claim was made for."""
    found = [obj for obj in state.objects(kaito.WORKSPACE) if uid_of(obj) in node_claims.owner_uids(claim)]
    return found[0] if found else None


def pods_of(state: State, key: ObjectKey) -> list[Object]:
    """The unfinished pods of a Workspace."""
    pods = [pod for pod in state.objects(POD) if workspace_of_labels(pod) == [key]]
    return [pod for pod in pods if not is_finished(pod)]


def _needed(workspace: Object) -> int:
    return int(dig(workspace, "resource", "count") or 1)


def _wrongly_given_back(state: State, claim: Object, view: State) -> str:
    node, owner = node_claims.node_of(claim), owner_of(state, claim)
    if owner is None or is_being_deleted(owner):
        ours = workspace_of_labels(claim) if owner_of(view, claim) is not None else []
        guests = [
            key_of(pod).name
            for pod in state.objects(POD)
            if node and dig(pod, "spec", "nodeName") == node and gpus_asked(pod) and not is_finished(pod)
            if not ours or workspace_of_labels(pod) != ours
        ]
        return f"given back under {guests}" if guests else ""
    key = key_of(owner)
    here = [
        key_of(pod).name
        for pod in state.objects(POD)
        if node and dig(pod, "spec", "nodeName") == node and gpus_asked(pod) and not is_finished(pod)
    ]
    if here:
        return f"given back under {here}"
    labels = dig(owner, "resource", "labelSelector", "matchLabels")
    suitable = {
        obj["metadata"]["name"] for obj in state.objects(NODE) if labels.items() <= labels_of(obj).items()
    }
    ready = {pod["spec"]["nodeName"] for pod in pods_of(state, key) if is_ready(pod)} & suitable
    if len(ready - {node}) < _needed(owner):
        return f"given back, and its Workspace runs on {sorted(ready)}"
    return ""


def _wrongly_bought(state: State, claim: Object, view: State) -> str:
    owner = owner_of(state, claim)
    if owner is None or is_being_deleted(owner):
        return "bought for a Workspace that goes or is gone"
    # By what it saw: what comes while it asks, nobody knows.
    key, pods = key_of(owner), list(view.objects(POD))
    held = {dig(pod, "spec", "nodeName") for pod in pods_of(view, key)} - {None, ""}
    useful = set()
    for one in view.objects(NODE_CLAIM):
        if not node_claims.is_of(one, owner) or is_being_deleted(one) or not node_claims.fits(owner, one):
            continue
        node = view.get(NODE, node_claims.node_of(one)) if node_claims.node_of(one) else None
        others = [
            pod
            for pod in pods
            if node
            and dig(pod, "spec", "nodeName") == node["metadata"]["name"]
            and workspace_of_labels(pod) != [key]
        ]
        if not any(gpus_asked(pod) for pod in others):
            useful.add(node_claims.node_of(one) or one["metadata"]["name"])
    if len(useful | held) >= _needed(owner):
        return f"bought, and {sorted(useful | held)} would do"
    if (spare := _spare(view, owner)) and len(spare) > _waiting(view, but=key):
        return f"bought, and {spare} are to spare"
    return ""


def _spare(state: State, workspace: Object) -> list[str]:
    """Nodes that were bought for others who run elsewhere, free, and such as the Workspace asks for."""
    labels = dig(workspace, "resource", "labelSelector", "matchLabels")
    found, pods = [], list(state.objects(POD))
    for claim in state.objects(NODE_CLAIM):
        owner, node = owner_of(state, claim), state.get(NODE, node_claims.node_of(claim))
        if node is None or owner is None or is_being_deleted(owner) or key_of(owner) == key_of(workspace):
            continue
        on = {dig(pod, "spec", "nodeName") for pod in pods_of(state, key_of(owner))} - {None, ""}
        wanted = {**labels, kaito.LABEL_INSTANCE_TYPE: dig(workspace, "resource", "instanceType")}
        is_free = _free(node, pods) >= 2 and wanted.items() <= labels_of(node).items()
        if is_free and len(on - {node_claims.node_of(claim)}) >= _needed(owner):
            found.append(str(node["metadata"]["name"]))
    return found


def _waiting(state: State, *, but: ObjectKey) -> int:
    """How many nodes the others lack: a pod that is not bound yet takes one, too."""
    others = [obj for obj in state.objects(kaito.WORKSPACE) if key_of(obj) != but]
    return sum(max(_needed(obj) - _bound(state, key_of(obj)), 0) for obj in others)


def _bound(state: State, key: ObjectKey) -> int:
    return sum(bool(dig(pod, "spec", "nodeName")) for pod in pods_of(state, key))


def runs(state: State, *names: str) -> str:
    """Which of the Workspaces does not run, or does not say so."""
    for one in names:
        namespace, _, name = one.rpartition("/")
        found = state.get(kaito.WORKSPACE, name, namespace or "default")
        if found is None:
            return f"there is no {name}"
        ready = [pod for pod in pods_of(state, key_of(found)) if is_ready(pod)]
        if len(ready) != _needed(found):
            return f"{name} has {len(ready)} pods: {dig(found, 'status', 'conditions')}"
        if not conditions.is_true(found, kaito.WORKSPACE_SUCCEEDED, generation=generation_of(found)):
            return f"{name} is not ready: {dig(found, 'status', 'conditions')}"
    return ""
