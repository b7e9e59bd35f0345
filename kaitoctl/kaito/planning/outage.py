"""Pods that a change restarts: for how long nothing serves, and whether the new ones find GPUs. Pure.

Sources: Kubernetes 1.34, `pkg/controller/deployment/util` (maxSurge and maxUnavailable: percentages of the
replicas, rounded up and down; both default to 25%; both 0 makes one pod unavailable); KAITO v0.3.2 and v0.4.0
`pkg/utils/resources`: Deployments without a strategy of their own.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from kaitoctl.advice import Advice, Command
from kaitoctl.kaito import adapter_rollout, api
from kaitoctl.kaito.catalog import Catalog
from kaitoctl.kaito.node_check import Verdict
from kaitoctl.kube import pod_state
from kaitoctl.kube.objects import DEPLOYMENT, STATEFUL_SET, Object, ObjectKey, dig
from kaitoctl.kube.workloads import replicas

_PATCH = '{"spec":{"strategy":{"rollingUpdate":{"maxSurge":0,"maxUnavailable":1}}}}'


class Outage(Struct, frozen=True):
    """What a restart costs.

    Args:
        pods: how many restart.
        interrupts: whether nothing serves meanwhile; else one pod after another restarts, and others serve.
        expected_s: what the start before took on this cluster; None when nobody knows.
        most_s: the readiness budget of the model.
        together: how many of several restart at a time.
    """

    pods: int = 0
    interrupts: bool = False
    expected_s: float | None = None
    most_s: float = 0
    together: int = 1

    @property
    def words(self) -> str:
        """In a line; empty when no pod restarts."""
        if not self.pods:
            return ""
        long, most = f"at most {span(self.most_s)}", ""
        if self.expected_s is not None:
            long, most = f"about {span(self.expected_s)}", f", {span(self.most_s)} at most"
        what = "1 pod restarts" if self.pods == 1 else f"{self.pods} pods restart"
        if self.interrupts:
            return f"{what}: {long} without service{most}"
        order = "one by one" if self.together == 1 else f"{self.together} at a time"
        return f"{what} {order}, {long} each{most}; the others keep serving"


def outage(
    workspace: Object, workload: Object | None, pods: Sequence[Object], restarts: int, known: Catalog
) -> Outage:
    """What the restart of so many pods costs.

    Args:
        workspace: as it is.
        workload: its Deployment or StatefulSet; None for another or none.
        pods: its pods as they are.
        restarts: how many restart.
        known: where its preset is looked up.
    """
    if not restarts:
        return Outage()
    name = str(dig(workspace, "inference", "preset", "name") or "")
    return Outage(
        restarts,
        restarts == 1 or workload is None or _goes_at_once(workload),
        adapter_rollout.took_s(pods),
        known.readiness_s(name),
    )


def outage_of_replica(inference_set: Object, pods: Sequence[Object], known: Catalog) -> Outage:
    """What the restart of one replica of a set costs.

    Args:
        inference_set: as it will be.
        pods: of the replicas that restart, as they are.
        known: where its preset is looked up.
    """
    name = str(dig(inference_set, "spec", "template", "inference", "preset", "name") or "")
    return Outage(1, False, adapter_rollout.took_s(pods), known.readiness_s(name))


def span(seconds: float) -> str:
    """A time that nobody knows to the second."""
    if seconds < 90:
        return f"{math.ceil(seconds)} second{'' if seconds <= 1 else 's'}"
    return f"{math.ceil(seconds / 60)} minutes"


def _goes_at_once(workload: Object) -> bool:
    """Whether all of its pods may be down at a time: not where a rolling update keeps some."""
    if workload.get("kind") == STATEFUL_SET.kind:
        return True
    if dig(workload, "spec", "strategy", "type") == "Recreate":
        return True
    return _rolling(workload)[1] >= max(1, replicas(workload))


def surges(workload: Object) -> bool:
    """Whether a rolling update waits for a new pod before an old one goes."""
    if workload.get("kind") != DEPLOYMENT.kind or dig(workload, "spec", "strategy", "type") == "Recreate":
        return False
    surge, unavailable = _rolling(workload)
    return surge > 0 and unavailable == 0


def _rolling(workload: Object) -> tuple[int, int]:
    """How many pods of a Deployment there may be above its replicas, and how many below."""
    rolling, count = dig(workload, "spec", "strategy", "rollingUpdate") or {}, replicas(workload)
    surge = _share(rolling.get("maxSurge", "25%"), count, math.ceil)
    unavailable = _share(rolling.get("maxUnavailable", "25%"), count, math.floor)
    return surge, unavailable


def deadlock(workload: Object | None, verdict: Verdict | None, held: Sequence[str], restarts: int) -> Advice:
    """Why the new pods wait for ever for the GPUs that the old ones hold; empty when they do not.

    Args:
        workload: the Deployment as it will be when its pods restart.
        verdict: of the nodes, the Workspace's own pods left out; None when nodes cannot be seen.
        held: as `nodes_held`.
        restarts: how many restart.
    """
    if not restarts or workload is None or not surges(workload):
        return ""
    if verdict is not None and any(_free(verdict, held, _gpus(workload))):
        return ""
    where = f" on {', '.join(dict.fromkeys(held))}" if held else ""
    return (
        "the Deployment starts a new pod before the old one ends, and only the old one holds the GPUs it "
        f"needs{where}: the new pod waits forever; without surge the old one goes first: "
    ) + _without_surge(workload)


def nodes_held(pods: Iterable[Object]) -> list[str]:
    """The nodes that pods are on, one that several are on as often; pods that have ended hold nothing."""
    unfinished = (pod for pod in pods if not pod_state.is_finished(pod))
    return sorted(str(node) for pod in unfinished if (node := dig(pod, "spec", "nodeName")))


def _free(verdict: Verdict, held: Sequence[str], gpus: int) -> Iterator[str]:
    """The nodes with room for a new pod while the old ones stay, also beside these where it asks for GPUs."""
    for node in verdict.nodes:
        own = held.count(node.name)
        if node.usable and (not own or 0 < gpus * (own + 1) <= (node.gpus.free or 0)):
            yield node.name


def _gpus(workload: Object) -> int:
    """How many GPUs each of its pods asks for; 0 where that is no number of them."""
    return pod_state.gpu_request(dig(workload, "spec", "template") or {}, api.GPU)


def _without_surge(workload: Object) -> Command:
    metadata = workload["metadata"]
    namespace = metadata.get("namespace") or "default"
    return Command(
        "kubectl patch deployment", metadata["name"], "-n", namespace, "--type", "merge", "-p", _PATCH
    )


class Placing(Struct, frozen=True):
    """A Workspace of the plan whose pods look for nodes.

    Args:
        free: nodes with room for its new pod; of those that its pods leave, beside these.
        would_do: those that it could use once nobody else holds them.
        held: those that its pods leave; empty of a new one.
        surging: its Deployment, when the old pods leave only once the new ones are ready.
        required: how many nodes it takes.
        gpus: how many each of its pods asks for; of a new one at most.
        room: how many GPUs of a node nobody holds, where that is known; else as many as it asks for on a
            free node, and none on another.
    """

    free: frozenset[str]
    would_do: frozenset[str]
    held: frozenset[str] = frozenset()
    surging: Object | None = None
    required: int = 1
    gpus: int = 1
    room: Mapping[str, int] = {}


def placing(workload: Object | None, verdict: Verdict, held: Sequence[str], restarts: int) -> Placing | None:
    """How a Workspace looks for nodes; None when its pods stay.

    Args:
        workload: as in `deadlock`; None of a new Workspace.
        verdict: as in `deadlock`.
        held: as in `deadlock`.
        restarts: as in `deadlock`.
    """
    if workload is not None and not restarts:
        return None
    would_do = frozenset(
        node.name for node in verdict.nodes if all(one.code == "gpus-in-use" for one in node.failures)
    )
    surging = workload if workload is not None and surges(workload) else None
    offers = {node.name: node.gpus for node in verdict.nodes if node.name in would_do}
    if workload is None:
        gpus = asked = max((one.allocatable for one in offers.values()), default=1)
    else:
        asked = _gpus(workload)
        gpus = asked or 1
    free = frozenset(_free(verdict, held, asked))
    room = {
        name: max(0, one.free - gpus * held.count(name))
        for name, one in offers.items()
        if one.free is not None
    }
    return Placing(free, would_do, frozenset(held), surging, verdict.required, gpus, room)


def contests(placings: Mapping[ObjectKey, Placing]) -> dict[ObjectKey, Advice]:
    """The deadlock of each that surges, where others of the plan move, too; empty where there is none.

    Who has a free node asks for it at once; who loses it to another waits, like those that have none, for
    what others leave once their new pods are ready, and any of them may get that: also on a node that is
    free now and held by one that moves. So one may wait for ever when there are enough others for all the
    room on every node that it could use. Each is told of those.
    """
    race = _Race(placings)
    givers: dict[ObjectKey, ObjectKey | None] = {key: None for key in race.moving if placings[key].free}
    waits = _Index({key: one.would_do for key, one in race.moving.items() if not one.free})
    found: dict[ObjectKey, tuple[set[ObjectKey], Collection[str]]] = {}
    queue = list(givers)
    for key in queue:
        giver = givers[key]
        takers = race.takers(key)
        if takers is None:
            continue
        given = found.get(giver) if giver and takers[0] else None
        found[key] = given if given and given[0] else takers
        if not takers[0]:
            race.moves(key)
        new = [other for other in waits.of(race.moving[key].held) if other not in givers]
        for other in sorted(new, key=race.order.__getitem__):
            givers[other] = key
            queue.append(other)
    return {
        key: _contest(workload, sorted(others, key=race.order.__getitem__), nodes)
        for key, (others, nodes) in found.items()
        if (workload := placings[key].surging) is not None
    }  # for the others no node comes free: they are as they would be alone


class _Race:
    """Who may be where in the end, when all of a plan look for nodes.

    Attributes:
        moving: those that surge.
        order: of the plan.
    """

    def __init__(self, placings: Mapping[ObjectKey, Placing]) -> None:
        self.moving = {key: one for key, one in placings.items() if one.surging is not None}
        self.order = {key: number for number, key in enumerate(placings)}
        self._placings = placings
        self._room = {key: _room(one) for key, one in placings.items()}
        self._holders: dict[str, set[ObjectKey]] = {}
        for key, one in placings.items():
            for node in one.held:
                self._holders.setdefault(node, set()).add(key)
        self._leaving = {
            node: sum([placings[key].gpus for key in keys]) for node, keys in self._holders.items()
        }
        self._open = frozenset[str]().union(*[one.free for one in placings.values()])
        self._taking = _Index({key: one.free | (one.held & self._open) for key, one in placings.items()})
        self._rivals = {key: self._taking.of(one.free) - {key} for key, one in placings.items()}
        self._may_lose = {
            key
            for key, one in placings.items()
            if self._may_fill(key, dict.fromkeys(one.free, 0), self._rivals[key])
        }
        self._moved: set[ObjectKey] = set()
        seeking = {
            key: placings[key].would_do
            for key in self._may_lose
            if key in self.moving or not placings[key].held  # who ends first and has a node, has its place
        }
        single = {key for key, one in placings.items() if one.required == 1}
        full = {
            node: keys
            for node, keys in self._holders.items()
            if len(keys) == 1 and node not in self._open and keys <= single
        }
        self._seeking = _Index(seeking, full)  # whose old pod fills a node, does not wait for that node

    def moves(self, key: ObjectKey) -> None:
        """It is sure to get a node, whatever others do: nothing of what it holds stays with it."""
        self._moved.add(key)

    def takers(self, key: ObjectKey) -> tuple[set[ObjectKey], Collection[str]] | None:
        """Who may take which nodes first, so that none is left; nobody when one is sure to be left.

        None when no node comes free for it, whatever others do.
        """
        one, room = self._placings[key], self._room[key]
        if one.free and key not in self._may_lose:
            return set(), ()
        # Others of the plan leave theirs; guests may never leave.
        leaving = {node: self._leaving[node] for node in one.would_do if node in self._leaving}
        leaving |= {node: leaving[node] - one.gpus for node in one.held & one.would_do}
        nodes = dict.fromkeys(one.free, 0) | {
            node: gpus for node, gpus in leaving.items() if room[node] + gpus >= one.gpus
        }
        if not nodes:
            return None
        others = self._in_the_end(key, nodes)
        if not self._may_fill(key, nodes, others):
            return set(), ()
        moved = self._moved | {key}
        left = {node: gpus for node, gpus in nodes.items() if gpus and self._holders[node] <= moved}
        seeking = self._in_the_end(key, left)
        if not self._may_fill(key, left, seeking):
            return set(), ()
        if one.free:
            return self._rivals[key], one.free
        return (seeking, left) if left else (others, nodes)

    def _in_the_end(self, key: ObjectKey, nodes: Collection[str]) -> set[ObjectKey]:
        """Who else may be on these nodes when nothing moves any more."""
        staying = {other for node in nodes if node in self._holders for other in self._holders[node]}
        taking = self._taking.of([node for node in nodes if node in self._open])
        return ((staying - self._moved) | taking | self._seeking.of(nodes)) - {key}

    def _may_fill(self, key: ObjectKey, nodes: Mapping[str, int], others: Collection[ObjectKey]) -> bool:
        """Whether these others are enough to leave no room on any of these nodes.

        Args:
            key: for whom.
            nodes: how many GPUs come free on each, beside those that are.
            others: who may be there.
        """
        one, room, placings = self._placings[key], self._room[key], self._placings
        most = max([1, *[placings[other].gpus for other in others]])
        pods = sum([(room[node] + gpus - one.gpus) // most + 1 for node, gpus in nodes.items()])
        return pods < one.required + sum([placings[other].required for other in others])


def _room(one: Placing) -> dict[str, int]:
    """How many GPUs of each node are free for its new pod."""
    room = dict.fromkeys(one.would_do, 0) | dict.fromkeys(one.free, one.gpus)
    return room | {node: gpus for node, gpus in one.room.items() if node in room}


def _contest(workload: Object, others: Sequence[ObjectKey], nodes: Collection[str]) -> Advice:
    if not others:
        return ""
    names, free = ", ".join(map(str, others[:3])), ", ".join(sorted(nodes))
    return (
        f"the Deployment starts a new pod before the old one ends, and {names} may take {free} "
        "first: the new pod would then wait forever; without surge the old one goes first: "
    ) + _without_surge(workload)


class _Index:
    """Who has which nodes, looked up by them; nodes of the same Workspaces are one.

    Args:
        nodes: of each Workspace.
        but: who does not count at a node, although it has it.
    """

    def __init__(
        self,
        nodes: Mapping[ObjectKey, Collection[str]],
        but: Mapping[str, Collection[ObjectKey]] | None = None,
    ) -> None:
        found: dict[str, set[ObjectKey]] = {}
        for key, names in nodes.items():
            for name in names:
                found.setdefault(name, set()).add(key)
        same: dict[frozenset[ObjectKey], frozenset[ObjectKey]] = {}
        whole = ((name, frozenset(keys)) for name, keys in found.items())
        self._by = {name: same.setdefault(keys, keys) for name, keys in whole}
        self._but = but or {}

    def of(self, nodes: Collection[str]) -> set[ObjectKey]:
        """Whoever has one of these; as many steps as there are nodes, and Workspaces in their classes."""
        known = [name for name in nodes if name in self._by]
        classes = {self._by[name] for name in known if name not in self._but}
        found = {key for keys in classes for key in keys}
        but: dict[frozenset[ObjectKey], Collection[ObjectKey]] = {}
        for name in known:
            keys = self._by[name]
            if name in self._but and keys not in classes:
                own = self._but[name]
                but[keys] = own if keys not in but or but[keys] == own else ()
        return found.union(*(keys.difference(own) for keys, own in but.items()))


def _share(value: Any, count: int, rounded: Any) -> int:
    text = str(value)
    if text.endswith("%") and text.isascii() and text[:-1].isdecimal():
        return int(rounded(int(text[:-1]) * count / 100))
    return int(text) if text.isascii() and text.isdecimal() else 0
