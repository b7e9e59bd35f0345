"""Pods that sit on each other's nodes: what a plan says of their restarts is what then happens.

Nodes were bought for one Workspace and the scheduler has placed another's pod there. Who restarts frees a
node that is not its own: its owner, in the plan or not, gives it back.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from planned_world import PlannedWorld, plan_of, settle, written
from world import World, falcon, gpu_node, node_status, running_pod

from kaitoctl.advice import NO_FLAGS, text
from kaitoctl.commands.cluster import FIELD_MANAGER
from kaitoctl.commands.option_values import ManagedBy
from kaitoctl.kaito import api as kaito
from kaitoctl.kaito.planning import Plan
from kaitoctl.kube import request
from kaitoctl.kube.objects import DEPLOYMENT, NODE, POD, Object, ObjectKey, key_of, owner_reference, uid_of
from kaitoctl.screens import plan_screen
from kaitoctl.workspace_controller.vacancies import Places

RING = ("w0", "w1", "w2")


def workspace(name: str, *, adapter: str = "", count: int = 1, label: str = "falcon-7b") -> Object:
    made = falcon(count=count, labelSelector={"matchLabels": {"apps": label}})
    made["metadata"] = {"name": name, "namespace": "default"}
    if adapter:
        source = {"name": adapter, "image": f"registry.example/{adapter}:1"}
        made["inference"]["adapters"] = [{"source": source, "strength": "0.5"}]
    return made


def ring(names: Iterable[str], *, free: int = 0, provisioner: str = "") -> PlannedWorld:
    """Each Workspace's pod on the node bought for the next one, and free nodes that nobody bought."""
    world = PlannedWorld(provisioner)
    on_each_others(world, map(workspace, names))
    for number in range(free):
        world.apply(NODE, gpu_node(f"gpu-{number}", {"apps": "falcon-7b"}))
        world.set_status(NODE, f"gpu-{number}", node_status("2"))
    settle(world)
    return world


def on_each_others(world: PlannedWorld, manifests: Iterable[Object]) -> None:
    for manifest in manifests:
        written(world, manifest)
        settle(world)
    at = {key_of(pod).name: pod["spec"]["nodeName"] for pod in world.list(POD)}
    moved(world, dict(zip(at, [*at.values()][1:] + [*at.values()][:1], strict=True)))


def moved(world: PlannedWorld, places: Mapping[str, str]) -> None:
    """Put pods on other nodes, as a scheduler could have done."""
    for pod in world.list(POD):
        if key_of(pod).name in places:
            world.stop(pod)
    for name, node in places.items():
        workload = world.get(DEPLOYMENT, name.rpartition("-")[0])
        assert workload is not None
        world.apply(POD, running_pod(workload, int(name.rpartition("-")[2]), node))
        running = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        world.set_status(POD, name, running)
    settle(world)


def restart_of(world: PlannedWorld, *names: str) -> Plan:
    return plan_of(world, [workspace(name, adapter="x") for name in names])


def carried_out(world: PlannedWorld, plan: Plan) -> None:
    """What it says of restarts, purchases and releases, of all Workspaces, is what happens."""
    claims, pods = world.purchases(), {uid_of(pod) for pod in world.list(POD)}
    for one in plan.written:
        written(world, one.body)
    settle(world)
    then = world.purchases()
    gone = {name for uid, (_, name) in claims.items() if uid not in then}
    told = {line.split()[1].rstrip(",") for one in plan.written for line in one.returned}
    perhaps = {line.split()[1].rstrip(",") for one in plan.written for line in one.returned_perhaps}
    assert told - perhaps <= gone <= told
    asked, most = (sum(getattr(one, name) for one in plan.written) for name in ("nodes_asked", "nodes_most"))
    assert asked <= len(then.keys() - claims.keys()) <= most
    assert len(pods - {uid_of(pod) for pod in world.list(POD)}) == plan.pods_restarted


def released(plan: Plan) -> list[str]:
    return [line for one in plan.written for line in one.returned]


@pytest.mark.parametrize("provisioner", ["", "azure-gpu-provisioner", "karpenter"])
@pytest.mark.parametrize("free", [0, 1, 2])
@pytest.mark.parametrize(
    ("names", "who"),
    [
        (names, who)
        for names in (RING[:2], RING)
        for number in range(1, len(names) + 1)
        for who in itertools.combinations(names, number)
    ],
)
def test_what_a_plan_says_is_what_happens(
    names: tuple[str, ...], who: tuple[str, ...], free: int, provisioner: str
) -> None:
    """Also to those that the plan does not name."""
    world = ring(names, free=free, provisioner=provisioner)
    before = len(world.purchases())
    plan = restart_of(world, *who)
    assert plan.pods_restarted == len(who)
    carried_out(world, plan)
    if not free:
        assert not released(plan), "as many pods as nodes: none is left without"
    elif not provisioner:
        assert len(world.purchases()) < before, "a pod on a free node has left one that was bought"


@given(chance=st.randoms(use_true_random=False))
@settings(max_examples=10, suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate))
def test_wherever_pods_sit_a_plan_says_what_happens(chance: Random) -> None:
    """Several nodes each, two labels, nodes that nobody bought, and Workspaces that go in between."""
    world = PlannedWorld(chance.choice(["", "", "", "azure-gpu-provisioner"]))
    names = RING[: chance.randint(2, 3)]
    asks = {name: (chance.choice([1, 1, 2]), chance.choice(["a", "a", "b"])) for name in names}

    def manifest(name: str, adapter: str = "") -> Object:
        return workspace(name, adapter=adapter, count=asks[name][0], label=asks[name][1])

    for name in names:
        written(world, manifest(name))
        settle(world)
    for label in ("a", "b"):
        pods = [pod for pod in world.list(POD) if asks[key_of(pod).name.rpartition("-")[0]][1] == label]
        nodes = [pod["spec"]["nodeName"] for pod in pods]
        moved(
            world,
            dict(zip((key_of(pod).name for pod in pods), chance.sample(nodes, len(nodes)), strict=True)),
        )
    for number in range(chance.randint(0, 2)):
        world.apply(NODE, gpu_node(f"gpu-{number}", {"apps": chance.choice(["a", "b"])}))
        world.set_status(NODE, f"gpu-{number}", node_status(chance.choice(["2", "4"])))
    settle(world)
    alive = list(names)
    for adapter in ("x", "y", "z"):
        if len(alive) > 1 and not chance.randint(0, 3):
            world.do(request.delete(kaito.WORKSPACE, "default", alive.pop(chance.randrange(len(alive)))))
            settle(world)
        chosen = chance.sample(alive, chance.randint(1, len(alive)))
        carried_out(world, plan_of(world, [manifest(name, adapter) for name in chosen]))


def test_the_node_of_a_workspace_that_the_plan_does_not_name_is_named() -> None:
    (change,) = restart_of(ring(RING[:2], free=1), "w0").changes
    *_, line = plan_screen.costs(change, NO_FLAGS)
    assert "of Workspace default/w1, node node-ws" in line
    assert line.endswith("unless its pods are placed on it")
    assert change.wants_consent


def test_who_restarts_alone_does_not_wait_for_the_pod_on_its_own_node() -> None:
    """That pod stays, and a node is bought; when both restart there is room for both."""
    alone = restart_of(ring(RING[:2], provisioner="azure-gpu-provisioner"), "w0")
    assert [one.nodes_asked for one in alone.changes] == [1]
    both = restart_of(ring(RING[:2], provisioner="azure-gpu-provisioner"), "w0", "w1")
    assert [(one.nodes_asked, one.nodes_most, one.rivals) for one in both.changes] == [
        (0, 1, ("default/w1",)),
        (0, 1, ("default/w0",)),
    ]


def test_a_node_pool_makes_no_node_in_the_place_of_one_that_others_hold() -> None:
    (change,) = restart_of(ring(RING[:2], provisioner="karpenter"), "w0").changes
    assert "others hold GPUs of pool-default-w0" in change.waits
    assert "would make the controller create" not in change.waits


def test_the_node_of_a_workspace_that_is_gone_goes_when_its_last_guest_restarts() -> None:
    world = ring(RING[:2], free=1)
    world.do(request.delete(kaito.WORKSPACE, "default", "w1"))
    settle(world)
    assert len(world.purchases()) == 1, "w0 runs on the node of w1, and gives its own back"
    plan = restart_of(world, "w0")
    (line,) = released(plan)
    assert "of Workspace default/w1" in line
    carried_out(world, plan)


def test_a_replica_that_ends_frees_the_node_of_one_that_stays() -> None:
    """And its own stays, as long as the other is on it."""
    world = PlannedWorld()
    owner = world.do(request.apply(kaito.INFERENCE_SET, fleet(replicas=2), manager=FIELD_MANAGER))
    on_each_others(world, [{**workspace(name), "metadata": replica_of(owner, name)} for name in RING[:2]])
    (change,) = plan_of(world, [fleet(replicas=1)]).written
    replica, claim = change.returned
    name = replica.split()[1].rstrip(",")
    assert replica == f"Workspace {name}, with its nodes once others have left them"
    (other,) = set(RING[:2]) - {name}
    assert f"of Workspace default/{other}, node" in claim
    world.do(request.delete(kaito.WORKSPACE, "default", name))
    settle(world)
    assert [whose for whose, _ in world.purchases().values()] == [name]


def fleet(replicas: int) -> Object:
    """An InferenceSet."""
    template = {
        "resource": {"instanceType": "Standard_NC12s_v3"},
        "inference": {"preset": {"name": "falcon-7b"}},
    }
    selector = {"matchLabels": {"apps": "falcon-7b"}}
    return {
        "apiVersion": kaito.INFERENCE_SET.api_version,
        "kind": kaito.INFERENCE_SET.kind,
        "metadata": {"name": "set", "namespace": "default"},
        "spec": {"replicas": replicas, "labelSelector": selector, "template": template},
    }


def replica_of(owner: Object, name: str) -> Object:
    labels = {"inferenceset.kaito.sh/created-by": key_of(owner).name}
    return {**workspace(name)["metadata"], "labels": labels, "ownerReferences": [owner_reference(owner)]}


def pods(*names: str) -> list[ObjectKey]:
    return [ObjectKey("default", name) for name in names]


def test_pods_make_room_for_each_other_along_a_chain() -> None:
    a, b, c = pods("a", "b", "c")
    rooms = {a: ["n0", "n1"], b: ["n1", "n2"], c: ["n2", "n3"]}
    places = Places(dict.fromkeys(rooms, 2), rooms.__getitem__, dict.fromkeys(["n0", "n1", "n2", "n3"], 2))
    assert all(places.put(pod, first=rooms[pod][0]) for pod in rooms)
    assert all(places.can_do_without(node) for node in ("n0", "n1", "n2", "n3"))
    shut = Places(dict.fromkeys(rooms, 2), rooms.__getitem__, {"n0": 2, "n1": 2, "n2": 2, "n3": 1})
    assert all(shut.put(pod, first=rooms[pod][0]) for pod in rooms)
    assert not any(shut.can_do_without(node) for node in ("n0", "n1", "n2"))


def test_a_small_pod_makes_no_room_for_a_large_one() -> None:
    small, large = pods("small", "large")
    rooms = {small: ["n0", "n1"], large: ["n0", "n1"]}
    places = Places({small: 1, large: 4}, rooms.__getitem__, {"n0": 4, "n1": 2})
    assert places.put(large, first="n0") and places.put(small, first="n1")
    assert not places.can_do_without("n0")
    assert not places.can_do_without("n1"), "the small one has no room beside the large one"


class Counted(list[str]):
    """Rooms that count how many of them are looked at."""

    looked_at = 0

    def __iter__(self) -> Iterator[str]:
        for name in super().__iter__():
            self.looked_at += 1
            yield name


@pytest.mark.parametrize("spare", [0, 1])
def test_what_many_nodes_can_do_without_takes_no_search_of_all_pods_for_each(spare: int) -> None:
    """The pods' rooms are gone through once when nothing is free, else once for a node and not for a pod."""

    def looks(count: int) -> int:
        rooms = Counted(f"n{number}" for number in range(count + spare))
        who = pods(*(f"w{number}" for number in range(count)))
        places = Places(dict.fromkeys(who, 2), lambda _: rooms, dict.fromkeys(rooms, 2))
        assert all(places.put(pod, first=f"n{number}") for number, pod in enumerate(who))
        rooms.looked_at = 0
        assert {places.can_do_without(f"n{number}") for number in range(count)} == {bool(spare)}
        return rooms.looked_at

    for count in (20, 40):
        assert looks(count) <= (count + spare) * (1 + spare * count)


def custom(name: str, image: str = "registry.example/c:1") -> Object:
    """A pod of one's own: KAITO gives its Deployment no strategy, so the new pod starts first."""
    made = workspace(name)
    limits = {"limits": {"nvidia.com/gpu": "2"}}
    container = {"name": "c", "image": image, "resources": limits}
    made["inference"] = {"template": {"metadata": {"name": name}, "spec": {"containers": [container]}}}
    return made


def runs(world: World, name: str, node: str) -> None:
    """A pod of one's own that KAITO has made: its Workspace, its Deployment without a strategy, its pod."""
    written(world, custom(name))
    owner = world.get(kaito.WORKSPACE, name)
    assert owner is not None
    labels = {"kaito.sh/workspace": name}
    template = {"metadata": {"labels": labels}, "spec": custom(name)["inference"]["template"]["spec"]}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default", "ownerReferences": [owner_reference(owner)]},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    }
    world.apply(DEPLOYMENT, deployment)
    made = world.get(DEPLOYMENT, name)
    assert made is not None
    world.apply(POD, running_pod(made, 0, node))


@pytest.mark.parametrize(("beside", "is_stuck"), [(None, False), ("new", True)])
def test_a_new_workspace_may_take_the_node_that_a_surge_needs(beside: str | None, is_stuck: bool) -> None:
    """KAITO counts a free node for both, and has nobody wait for the other."""
    world = World()
    for node in ("gpu-a", "gpu-b"):
        world.apply(NODE, gpu_node(node, {"apps": "falcon-7b"}))
        world.set_status(NODE, node, node_status("2"))
    runs(world, "one", "gpu-a")
    manifests = [custom("one", "registry.example/c:2"), *([custom(beside)] if beside else [])]
    plan = plan_of(world, manifests, managed=ManagedBy("v0.4"))
    (change,) = (one for one in plan.changes if one.key.name == "one")
    assert change.outage.pods == 1
    assert ("default/new may take gpu-b first" in text(change.deadlock)) is is_stuck
    assert bool(change.deadlock) is is_stuck


@pytest.mark.parametrize(
    ("gpus", "others", "guest", "changed", "stuck"),
    [
        ("4", (), 0, ("one",), ()),  # the new pod of two GPUs starts beside the old one
        ("4", ("two",), 0, ("one",), ("one",)),
        ("4", (), 1, ("one",), ("one",)),  # one GPU is free, and it takes two
        ("5", (), 1, ("one",), ()),
        ("4", (), 3, ("one",), ("one",)),
        ("6", ("two",), 0, ("one", "two"), ()),  # one after the other
        ("4", ("two",), 0, ("one", "two"), ("one", "two")),
        ("2", (), 0, ("one",), ("one",)),
    ],
)
def test_a_surge_finds_room_beside_its_own_pod_where_the_node_has_as_many_gpus(
    gpus: str, others: tuple[str, ...], guest: int, changed: tuple[str, ...], stuck: tuple[str, ...]
) -> None:
    world = World()
    world.apply(NODE, gpu_node("gpu-a", {"apps": "falcon-7b"}))
    world.set_status(NODE, "gpu-a", node_status(gpus))
    for name in ("one", *others):
        runs(world, name, "gpu-a")
    if guest:
        limits = {"limits": {"nvidia.com/gpu": str(guest)}}
        container = {"name": "c", "image": "x:1", "resources": limits}
        metadata = {"name": "guest", "namespace": "default"}
        spec = {"nodeName": "gpu-a", "containers": [container]}
        world.apply(POD, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    manifests = [custom(name, "registry.example/c:2") for name in changed]
    plan = plan_of(world, manifests, managed=ManagedBy("v0.4"))
    assert [one.outage.pods for one in plan.changes] == [1] * len(changed)
    assert tuple(one.key.name for one in plan.changes if one.deadlock) == stuck
