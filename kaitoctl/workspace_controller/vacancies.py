"""Nodes that were bought for one Workspace, are under pods of others, and may be left by them. Pure.

A node that is left is given back when its Workspace runs without it. Where pods go that are recreated only
the scheduler decides: their node may be left when all of them find room on others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from kaitoctl.kaito import desired, node_check, node_claims
from kaitoctl.kaito.desired import Settings
from kaitoctl.kube.objects import Object, ObjectKey, is_being_deleted, key_of
from kaitoctl.kube.pod_state import is_finished
from kaitoctl.reconcile.store import Store, store_of
from kaitoctl.workspace_controller.node_view import NodeView
from kaitoctl.workspace_controller.stores import Stores, node_of_claim, node_of_pod, workspace_of_labels


class Vacancy(Struct, frozen=True):
    """A node that may be left, and is given back then.

    Args:
        claim: the name of its NodeClaim.
        node: its name.
        owner: the Workspace that it was bought for.
        guests: the others, whose pods leave it.
    """

    claim: str
    node: str
    owner: ObjectKey
    guests: tuple[ObjectKey, ...]


def vacancies(
    stores: Stores,
    settings: Settings,
    restarting: Mapping[ObjectKey, tuple[Object, int]],
    ending: Collection[ObjectKey] = (),
) -> list[Vacancy]:
    """The nodes that others leave, and that their own Workspaces run without.

    Args:
        stores: the world, with the pods as they are.
        settings: the controller's.
        restarting: the Workspaces whose pods are all recreated, as they will be, each with the GPUs of a pod.
        ending: those whose pods end.
    """
    going = {*restarting, *ending}
    found = list(_left_by_others(stores, NodeView(stores, settings), settings, going))
    if not found:
        return []
    pods = {
        key_of(pod): (key, node)
        for key in going
        for pod in stores.gpu_pods.by(workspace_of_labels, key)
        for node in node_of_pod(pod)
    }
    without = (_without(stores.pods, pods), _without(stores.gpu_pods, pods))
    view = NodeView(replace(stores, pods=without[0], gpu_pods=without[1]), settings)
    rooms = {key: view.rooms(workspace, gpus) for key, (workspace, gpus) in restarting.items()}
    free: dict[str, int] = {}
    for room in rooms.values():
        free |= room
    same: dict[frozenset[str], dict[str, int]] = {}
    rooms = {key: same.setdefault(frozenset(room), room) for key, room in rooms.items()}
    placing = {pod: (key, node) for pod, (key, node) in pods.items() if key in restarting}
    asks = {pod: restarting[key][1] for pod, (key, _) in placing.items()}
    places = Places(asks, lambda pod: rooms[placing[pod][0]], free)
    for pod, (_, node) in placing.items():
        places.put(pod, first=node)
    return [one for one in found if places.can_do_without(one.node)]


def _left_by_others(
    stores: Stores, view: NodeView, settings: Settings, going: set[ObjectKey]
) -> Iterator[Vacancy]:
    """The nodes where none but pods that go are, and some of them are not those of their own Workspace."""
    nodes = {
        node
        for key in going
        for pod in stores.gpu_pods.by(workspace_of_labels, key)
        for node in node_of_pod(pod)
    }
    for node in sorted(nodes):
        pods = [pod for pod in stores.gpu_pods.by(node_of_pod, node) if not is_finished(pod)]
        there = {key for pod in pods for key in workspace_of_labels(pod) or [ObjectKey("", "")]}
        for claim in stores.claims.by(node_of_claim, node):
            for owner in workspace_of_labels(claim):
                guests = there - {owner}
                living = stores.workspaces.get(owner)
                if is_being_deleted(claim) or not guests or not there <= going:
                    continue
                if living is None or not node_claims.is_of(claim, living):
                    goes = bool(node_claims.owner_uids(claim))  # KAITO's tells no two of a name apart
                else:
                    goes = owner in going or is_being_deleted(living)
                    goes = goes or _runs_elsewhere(stores, view, settings, living)
                if goes:
                    yield Vacancy(key_of(claim).name, node, owner, tuple(sorted(guests)))


def _runs_elsewhere(stores: Stores, view: NodeView, settings: Settings, workspace: Object) -> bool:
    """Whether a Workspace has pods on as many nodes that suit it as it takes."""
    pods = stores.pods.by(workspace_of_labels, key_of(workspace))
    held = {node for pod in pods if not is_finished(pod) for node in node_of_pod(pod)}
    sized = desired.with_node_count(workspace, desired.with_image_generation(workspace, settings))
    return len(view.serving(sized, held)) >= node_check.required_nodes(sized)


def _without(store: Store, gone: Collection[ObjectKey]) -> Store:
    return store_of({key: obj for key, obj in store.items() if key not in gone})


class Places:
    """Pods on nodes, and whether they could all be on others.

    Args:
        asks: how many GPUs each pod asks for.
        rooms: the nodes where a pod may be; the same object, always, and of those alike if it can be.
        free: how many GPUs of each node these pods may have.
    """

    def __init__(
        self,
        asks: Mapping[ObjectKey, int],
        rooms: Callable[[ObjectKey], Collection[str]],
        free: Mapping[str, int],
    ) -> None:
        self._asks, self._rooms = asks, rooms
        self._spare = dict(free)
        self._on: dict[str, tuple[ObjectKey, ...]] = {}
        self._at: dict[ObjectKey, str] = {}
        self._going: set[ObjectKey] | None = None

    def put(self, pod: ObjectKey, *, first: str = "") -> bool:
        """Find room for a pod; False when there is none.

        Args:
            pod: which.
            first: the node where it is put if it may be there.
        """
        self._going = None
        if first in self._rooms(pod) and self._spare.get(first, 0) >= self._asks[pod]:
            self._move(pod, first)
            return True
        return self._place(pod, closed="")

    def can_do_without(self, node: str) -> bool:
        """Whether the pods there find room on others, where need be in the place of ones that go on."""
        pods = self._on.get(node, ())
        if self._going is None:
            self._going = self._with_a_way()
        if pods and pods[0] not in self._going:
            return False  # without a search for each node where nothing is spare
        before = dict(self._on), dict(self._at), dict(self._spare)
        found = all(self._place(pod, closed=node) for pod in pods)
        self._on, self._at, self._spare = before
        return found

    def _with_a_way(self) -> set[ObjectKey]:
        """The pods that could go somewhere else, or whom another would make room: one search for all.

        Back from the nodes that have room. It may also be on the pod's own node, which `_place` tells apart.
        """
        seekers: dict[str, list[tuple[int, int]]] = {}  # by node: who may be there, alike ones as one
        alike: dict[tuple[int, int], list[ObjectKey]] = {}
        for pod in self._at:
            one = id(self._rooms(pod)), self._asks[pod]
            if one not in alike:
                for node in self._rooms(pod):
                    seekers.setdefault(node, []).append(one)
            alike.setdefault(one, []).append(pod)
        found = set[ObjectKey]()
        least = min(self._asks.values(), default=0)
        queue = [(node, spare) for node, spare in self._spare.items() if spare >= least]
        for node, spare in queue:
            for one in seekers.get(node, ()):
                if one[1] <= spare:
                    going = alike.pop(one, [])
                    found.update(going)
                    queue += [(self._at[pod], self._spare[self._at[pod]] + one[1]) for pod in going]
            seekers[node] = [one for one in seekers.get(node, ()) if one in alike]
        return found

    def _place(self, pod: ObjectKey, *, closed: str) -> bool:
        """Put a pod somewhere but on the closed node; those in its way go on, the shortest way first."""
        comes: dict[str, ObjectKey] = {}  # who would come to a node
        looked = set[int]()  # rooms that several share
        queue = [pod]
        for one in queue:
            asked, rooms = self._asks[one], self._rooms(one)
            if id(rooms) in looked:
                continue
            looked.add(id(rooms))
            for node in rooms:
                if node == closed or node in comes:
                    continue
                comes[node] = one
                spare = self._spare.get(node, 0)
                if spare >= asked:
                    self._pass_on(comes, node, pod)
                    return True
                queue += [there for there in self._on.get(node, ()) if spare + self._asks[there] >= asked]
        return False

    def _pass_on(self, comes: Mapping[str, ObjectKey], node: str, last: ObjectKey) -> None:
        """Move each that comes, from the one that finds room back to the one that looked for it."""
        while True:
            one = comes[node]
            before = self._at.get(one, "")
            self._move(one, node)
            if one == last:
                return
            node = before

    def _move(self, pod: ObjectKey, node: str) -> None:
        if (before := self._at.get(pod)) is not None:
            self._on[before] = tuple(one for one in self._on[before] if one != pod)
            self._spare[before] += self._asks[pod]
        self._on[node] = (*self._on.get(node, ()), pod)
        self._spare[node] = self._spare.get(node, 0) - self._asks[pod]
        self._at[pod] = node
