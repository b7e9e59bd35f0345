"""What a plan announces is what then happens: no node is bought, and no pod restarts, that it did not name.

Clusters and changes are drawn at random. The plan is made by the command's own code on the in-memory cluster,
then what it would write is written, and the controller, the provisioner and the scheduler do their part. Then
the next change is planned, on what has become of the cluster; in between Workspaces are deleted, and nothing
of theirs may be left.

How many: KAITOCTL_PLANS, else 5,000 plans in CI, a tenth of them elsewhere; `dev.py soak` takes 50,000. A
scene has two or three.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from planned_world import PlannedWorld, plan_of, settle, written
from world import World, falcon, gpu_node, node_status

from kaitoctl.advice import NO_FLAGS, text
from kaitoctl.kaito import api as kaito
from kaitoctl.kaito.planning import Change, Plan
from kaitoctl.kube import conditions, request
from kaitoctl.kube.objects import (
    NODE,
    POD,
    Kind,
    Object,
    generation_of,
    key_of,
    labels_of,
    uid_of,
)
from kaitoctl.screens.plan_screen import costs

NAMES = ("w0", "w1", "w2", "w3")
TYPE, OTHER_TYPE, NEW_TYPE = "Standard_NC12s_v3", "Standard_NC24s_v3", "Standard_NC24ads_A100_v4"
ROUNDS = 5
PLANS = int(os.environ.get("KAITOCTL_PLANS") or ("5000" if os.environ.get("CI") else "500"))


PHASES = (Phase.explicit, Phase.generate)
"""A failing scene is small already, and to make it smaller takes minutes."""


# --- what is drawn -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drawn:
    """A node: its label, GPUs, whether others hold them, whether it is closed, its type and taint."""

    label: str | Mapping[str, str]
    gpus: str = "2"
    is_held: bool = False
    is_cordoned: bool = False
    instance_type: str = TYPE
    taint: str = ""


@dataclass(frozen=True)
class Asked:
    """A Workspace that there is, or that is asked for."""

    label: str | Mapping[str, str]
    count: int = 1
    preset: str = "falcon-7b"
    instance_type: str = TYPE
    adapters: tuple[str, ...] = ()
    runtime: str = ""
    team: str = ""
    preferred: tuple[int, ...] = ()
    disk: str = ""
    gpus: str = "2"

    def manifest(self, name: str) -> Object:
        preferred = (
            {"preferredNodes": [f"gpu-{number}" for number in self.preferred]} if self.preferred else {}
        )
        made = falcon(
            count=self.count,
            **({"instanceType": self.instance_type} if self.instance_type else {}),
            labelSelector={"matchLabels": labelled(self.label)},
            **preferred,
        )
        made["metadata"] = {"name": name, "namespace": "default"}
        if self.runtime:
            made["metadata"]["annotations"] = {"kaito.sh/runtime": self.runtime}
        if self.team:
            made["metadata"]["labels"] = {"team": self.team}
        made["inference"]["preset"]["name"] = self.preset
        if self.disk:
            pod = {"metadata": {"name": name}, "spec": with_disk(self.disk, self.gpus)}
            made["inference"] = {"template": pod}
        elif self.adapters:
            made["inference"]["adapters"] = [
                {"source": {"name": one, "image": f"registry.example/{one}:1"}, "strength": "0.5"}
                for one in self.adapters
            ]
        return made


def with_disk(size: str, gpus: str) -> Object:
    """A custom pod with GPUs and a disk of its own."""
    amounts = {"nvidia.com/gpu": gpus}
    container = {"name": "c", "image": "registry.example/c:1", "resources": {"limits": amounts}}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    volume = {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": claim}}}
    return {"containers": [container], "volumes": [volume]}


@dataclass(frozen=True)
class Scene:
    """Nodes, the Workspaces that have settled on them, and what somebody then applies, change by change.

    Args:
        nodes: of the cluster.
        there: by name.
        rounds: what is applied together; of a name with None, the Workspace is deleted.
        provisioner: the controller's way to nodes.
        quota: what the namespace may have.
    """

    nodes: tuple[Drawn, ...]
    there: Mapping[str, Asked]
    rounds: tuple[Mapping[str, Asked | None], ...] = ()
    provisioner: str = ""
    quota: tuple[tuple[str, str], ...] = ()


def labelled(label: str | Mapping[str, str]) -> dict[str, str]:
    """The labels of a node or a selector; most have one of two values of one label."""
    return {"apps": label} if isinstance(label, str) else dict(label)


LABELS = st.sampled_from(["a", "b"])
NODES = st.lists(
    st.builds(
        Drawn,
        LABELS,
        st.sampled_from(["2", "2", "4", "1", "0"]),
        st.booleans(),
        st.sampled_from([False, False, True]),
        st.sampled_from([TYPE, TYPE, NEW_TYPE]),
        st.sampled_from(["", "", "sku=gpu:NoSchedule", "team=a:NoSchedule", "team=a:PreferNoSchedule"]),
    ),
    max_size=4,
).map(tuple)
NEW = st.builds(
    Asked,
    LABELS,
    st.sampled_from([1, 1, 1, 2]),
    st.sampled_from(["falcon-7b", "falcon-7b", "phi-2", "phi-4", "no-such-preset"]),
    st.sampled_from([TYPE, TYPE, TYPE, OTHER_TYPE, NEW_TYPE, ""]),
    st.sampled_from([(), (), ("x",)]),
    preferred=st.sampled_from([(), (), (), (0,), (0, 1)]),
    disk=st.sampled_from(["", "", "", "60Gi"]),
    gpus=st.sampled_from(["1", "2"]),
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "adapters": st.sampled_from([(), ("x",), ("x", "y")]),
        "runtime": st.sampled_from(["", "transformers", "vllm"]),
        "team": st.sampled_from(["", "blue"]),
        "count": st.sampled_from([1, 2]),
        "preset": st.sampled_from(["falcon-7b", "phi-2"]),
        "preferred": st.sampled_from([(), (0,), (0, 1)]),
        "label": LABELS,
    },
)
THERE = st.dictionaries(
    st.sampled_from(NAMES),
    st.builds(Asked, LABELS, st.sampled_from([1, 1, 2]), adapters=st.sampled_from([(), (), ("x",)])),
    max_size=3,
)


PROVISIONERS = st.sampled_from(["", "", "azure-gpu-provisioner", "karpenter", "byo"])
GPUS, STORAGE = "requests.nvidia.com/gpu", "requests.storage"
QUOTAS = st.sampled_from(
    [
        (),
        (),
        (("pods", "1"),),
        (("pods", "3"),),
        ((GPUS, "2"),),
        ((GPUS, "4"), ("pods", "9")),
        ((STORAGE, "100Gi"),),
    ]
)


@st.composite
def scenes(draw: Any) -> Scene:
    there = draw(THERE)
    now, rounds = dict(there), []
    for _ in range(draw(st.integers(1, ROUNDS))):
        applied: dict[str, Asked | None] = {}
        for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)):
            if name not in now:
                now[name] = applied[name] = draw(NEW)
            elif draw(st.integers(0, 5)):
                now[name] = applied[name] = replace(now[name], **draw(CHANGES))
            else:
                del now[name]
                applied[name] = None
        rounds.append(applied)
    return Scene(draw(NODES), there, tuple(rounds), draw(PROVISIONERS), draw(QUOTAS))


# --- the cluster -------------------------------------------------------------------------------------------


def built(scene: Scene) -> PlannedWorld:
    world = PlannedWorld(scene.provisioner, dict(scene.quota))
    is_byo = scene.provisioner == "byo"
    for number, node in enumerate(scene.nodes):
        name = f"gpu-{number}"
        key, _, effect = node.taint.partition(":")
        taints = [dict(zip(("key", "value"), key.split("="), strict=True), effect=effect)] if key else []
        spec = {"unschedulable": True} if node.is_cordoned else {}
        product = {"nvidia.com/gpu.product": node.instance_type, "nvidia.com/gpu.count": node.gpus}
        labels = {**labelled(node.label), **(product if is_byo else {})}
        made = gpu_node(name, labels, node.instance_type)
        world.apply(NODE, {**made, "spec": {**spec, **({"taints": taints} if taints else {})}})
        world.set_status(NODE, name, node_status(node.gpus))
        if node.is_held and node.gpus != "0":
            world.apply(POD, guest(f"guest-{number}", name))
    for name, asked in scene.there.items():
        written(world, asked.manifest(name))
        settle(world)
    return world


def guest(name: str, node: str) -> Object:
    container = {"name": "c", "image": "x:1", "resources": {"limits": {"nvidia.com/gpu": "2"}}}
    spec = {"nodeName": node, "containers": [container]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def planned(world: PlannedWorld, applied: Mapping[str, Asked]) -> Plan:
    return plan_of(world, [asked.manifest(name) for name, asked in applied.items()])


def by_workspace(world: World, kind: Kind) -> dict[str, tuple[str, str]]:
    """uid -> Workspace and name, of its pods or NodeClaims."""
    return {
        uid_of(obj): (labels_of(obj)["kaito.sh/workspace"], key_of(obj).name)
        for obj in world.list(kind)
        if "kaito.sh/workspace" in labels_of(obj)
    }


SOUND = Drawn("a")
RIVALS_UNDER_A_QUOTA = Scene(
    (Drawn("b", "4", instance_type=NEW_TYPE),),
    {"w1": Asked("b", 2), "w3": Asked("b", 2)},
    ({"w2": Asked("b", 2, "phi-2", preferred=(0,)), "w1": Asked("b", 2, adapters=("x",))},),
    quota=((GPUS, "2"),),
)
# On a shared GPU each pod asks for one, and so has room on the node that was judged by two.
A_POD_FOR_A_NODE_THAT_HAS_LOST_A_GPU = Scene(
    (
        Drawn("b", instance_type=NEW_TYPE, taint="sku=gpu:NoSchedule"),
        Drawn("a", is_held=True, instance_type=NEW_TYPE, taint="team=a:NoSchedule"),
        Drawn("b", "4", is_cordoned=True, instance_type=NEW_TYPE, taint="team=a:NoSchedule"),
        Drawn("b", "1", taint="team=a:PreferNoSchedule"),
    ),
    {"w3": Asked("b", 2), "w1": Asked("a", 2, adapters=("x",)), "w2": Asked("a", 2, adapters=("x",))},
    ({"w3": Asked("b", 2, preferred=(0,))},),
    quota=((GPUS, "4"), ("pods", "9")),
)
# Wherever the scheduler places the pods that are recreated, a node that was bought may be left without.
A_NODE_THAT_HAS_BECOME_FREE = Scene(
    (SOUND,), {"w1": Asked("a")}, ({"w0": Asked("a")}, {"w1": None}, {"w0": Asked("a", adapters=("x",))})
)
A_MODEL_THAT_NEEDS_FEWER_NODES = Scene(
    (Drawn("b", "4", taint="sku=gpu:NoSchedule"),),
    {},
    ({"w0": Asked("b", preset="phi-4")}, {"w0": Asked("b", preset="phi-4", runtime="transformers")}),
)
PLANNED: Counter[str] = Counter()


@example(scene=Scene((SOUND,), {}, ({"w0": Asked("a"), "w1": Asked("a")},)))
@example(scene=Scene((SOUND,), {"w0": Asked("a")}, ({"w0": Asked("a", adapters=("x",)), "w1": Asked("a")},)))
@example(scene=Scene((SOUND, SOUND), {"w0": Asked("a", 2)}, ({"w0": Asked("a", 2, runtime="vllm")},)))
@example(
    scene=Scene((Drawn("a", is_held=True),), {}, ({"w0": Asked("a"), "w1": Asked("a", preferred=(0,))},))
)
@example(scene=Scene((), {"w0": Asked("a", adapters=("x",))}, ({"w0": Asked("a")}, {"w0": None})))
@example(
    scene=Scene((), {"w0": Asked("b")}, ({"w0": Asked("b", 2), "w1": Asked("a", preset="no-such-preset")},))
)
@example(
    scene=Scene(
        (Drawn("a", "1", instance_type=NEW_TYPE, taint="team=a:NoSchedule"),),
        {},
        ({"w0": Asked("a", preset="phi-4", instance_type=NEW_TYPE)}, {"w0": None, "w1": Asked("a")}),
    )
)
@example(  # what the API server fills in is no change
    scene=Scene(
        (Drawn("b", "4", True, True, NEW_TYPE), Drawn("b", "2", False, True, TYPE)),
        {},
        (
            {"w1": Asked("b", preset="phi-4")},
            {"w1": Asked("b", preset="phi-4", team="blue"), "w2": Asked("b", 2, "phi-4", OTHER_TYPE)},
        ),
    )
)
@example(
    scene=Scene((SOUND,), {}, ({"w0": Asked("a")},), "azure-gpu-provisioner")
)  # its pods stay on its own
@example(scene=Scene((SOUND,), {"w0": Asked("a")}, ({"w0": None}, {"w1": Asked("a", 2)}), "karpenter"))
@example(
    scene=Scene(
        (SOUND, Drawn("a", "4")), {}, ({"w0": Asked("a"), "w1": Asked("a", instance_type="")},), "byo"
    )
)
@example(  # no pod restarts, and no node is given back, where a quota refuses the pods
    scene=Scene(
        (),
        {"w0": Asked("a"), "w1": Asked("a")},
        ({"w1": Asked("a", adapters=("x",))}, {"w1": Asked("a", adapters=("x", "y"))}),
        quota=(("pods", "1"),),
    )
)
@example(
    scene=Scene(
        (),
        {},
        ({"w0": Asked("a", disk="60Gi")}, {"w1": Asked("b", disk="60Gi")}),
        quota=((STORAGE, "100Gi"),),
    )
)
@example(  # who waits for nodes has no pods, and takes nothing of a quota
    scene=Scene(
        (Drawn("a", "1", instance_type=NEW_TYPE),),
        {"w3": Asked("b")},
        (
            {
                "w3": Asked("a"),
                "w1": Asked("b", preset="no-such-preset"),
                "w0": Asked("a", 2, preferred=(0,), disk="60Gi"),
            },
            {
                "w0": Asked("a", 2, preferred=(0,), disk="60Gi"),
                "w1": Asked("b", 2, "phi-2", adapters=("x",), preferred=(0,)),
                "w3": Asked("b", preset="phi-2", team="blue", preferred=(0, 1)),
            },
            {
                "w3": Asked("b", preset="phi-2", team="blue", preferred=(0, 1)),
                "w0": Asked("a", 2, "phi-2", preferred=(0,), disk="60Gi"),
                "w2": Asked("a"),
            },
        ),
        "azure-gpu-provisioner",
        (("pods", "3"),),
    )
)
@example(scene=A_NODE_THAT_HAS_BECOME_FREE)
@example(scene=A_MODEL_THAT_NEEDS_FEWER_NODES)
@example(scene=RIVALS_UNDER_A_QUOTA)
@example(scene=A_POD_FOR_A_NODE_THAT_HAS_LOST_A_GPU)
@given(scene=scenes())
@settings(max_examples=PLANS // 3, suppress_health_check=list(HealthCheck), phases=PHASES)
def test_what_a_plan_announces_is_what_happens(scene: Scene) -> None:
    round_after_round(scene)


def round_after_round(scene: Scene) -> None:
    world = built(scene)
    for applied in scene.rounds:
        one_round(world, {name: asked for name, asked in applied.items() if asked is not None})
        for name in [name for name, asked in applied.items() if asked is None]:
            deleted(world, name)


SEVERAL = (
    {"apps": "a"},
    {"team": "y"},
    {"apps": "a", "team": "y"},
    {"apps": "b", "team": "y"},
    {"apps": "b"},
)


@st.composite
def scenes_of_several_labels(draw: Any) -> Scene:
    """Selectors that have labels in common, contradict each other, or have nothing to do with each other."""
    drawn: Scene = draw(scenes())
    labels = st.sampled_from(SEVERAL)
    several = {name: draw(labels) for name in NAMES}

    def relabelled(found: Mapping[str, Any]) -> dict[str, Any]:
        return {name: one and replace(one, label=several[name]) for name, one in found.items()}

    nodes = tuple(replace(node, label=draw(labels)) for node in drawn.nodes)
    rounds = tuple(map(relabelled, drawn.rounds))
    return replace(drawn, nodes=nodes, there=relabelled(drawn.there), rounds=rounds)


@given(scene=scenes_of_several_labels())
@settings(max_examples=PLANS // 10, suppress_health_check=list(HealthCheck), phases=PHASES)
def test_what_a_plan_announces_is_what_happens_where_some_labels_are_shared(scene: Scene) -> None:
    round_after_round(scene)


def test_where_rivals_have_not_room_for_all_their_pods_the_plan_says_so_of_each() -> None:
    applied = {name: one for name, one in RIVALS_UNDER_A_QUOTA.rounds[0].items() if one}
    for _ in range(8):  # which of them is foreseen to wait for nodes goes by their ids
        plan = planned(built(RIVALS_UNDER_A_QUOTA), applied)
        (w2,) = (one for one in plan.changes if one.key.name == "w2")
        assert w2.rivals
        assert "quota team" in w2.waits


def test_a_node_that_one_without_its_own_could_use_is_not_announced_to_go() -> None:
    first, second = Asked("a", preset="phi-4", disk="60Gi"), Asked("a", preset="phi-4", disk="60Gi")
    for _ in range(8):  # which of them has the other's node goes by their ids
        world = built(Scene((), {}, quota=((STORAGE, "100Gi"),)))
        one_round(world, {"w0": first, "w3": second})
        one_round(world, {"w0": replace(first, preferred=(0,))})


def test_a_node_that_may_be_left_is_announced_as_one_that_may() -> None:
    world = built(Scene((SOUND,), {"w1": Asked("a")}))
    one_round(world, {"w0": Asked("a")})
    assert not planned(world, {"w0": Asked("a", adapters=("x",))}).changes[0].returned
    deleted(world, "w1")
    (change,) = planned(world, {"w0": Asked("a", adapters=("x",))}).changes
    assert change.returned == change.returned_perhaps != ()
    assert "unless its pods are placed on it" in "\n".join(costs(change, NO_FLAGS))


@pytest.mark.parametrize(("guest", "bought"), [(True, 2), (False, 1)], ids=["no room", "room for one pod"])
def test_nodes_that_count_only_under_running_pods_are_replaced(guest: bool, bought: int) -> None:
    a100 = "Standard_NC24ads_A100_v4"
    nodes = Drawn("b", "1", instance_type=a100), Drawn("b", "4", guest, instance_type=a100)
    named = Asked("b", 2, "phi-2", "Standard_NC24s_v3", preferred=(0, 1))
    world = built(Scene(nodes, {}))
    one_round(world, {"w0": named})
    after = {"w0": replace(named, preferred=(), runtime="transformers")}
    assert planned(world, after).changes[0].nodes_asked == bought
    one_round(world, after)


def test_a_node_goes_with_the_claim_that_a_namesake_has_left_behind() -> None:
    world = built(Scene((), {"w0": Asked("a")}))
    free = {"metadata": {"finalizers": None}}
    world.do(request.merge_patch(kaito.WORKSPACE, "default", "w0", free, manager="somebody"))
    world.do(request.delete(kaito.WORKSPACE, "default", "w0"))
    world.cluster_moves()
    assert len(world.purchases()) == 1
    one_round(world, {"w0": Asked("a")})


def test_enough_was_planned() -> None:
    """Runs after the law, in the same process."""
    assert PLANNED["plans"] >= PLANS
    kinds = ("created", "changed", "refused", "restarts", "bought", "deleted", "rivals", "alone", "waits")
    assert PLANNED["refused by quota"] >= PLANS // 500, PLANNED
    assert all(PLANNED[kind] >= PLANS // 250 for kind in kinds), PLANNED


def one_round(world: PlannedWorld, applied: Mapping[str, Asked]) -> None:
    """Plan, write what is planned, wait, and hold what has happened against it."""
    if not applied:
        return
    claims, pods = world.purchases(), by_workspace(world, POD)
    generations = {key_of(one).name: generation_of(one) for one in world.list(kaito.WORKSPACE)}
    plan = planned(world, applied)
    count(plan)
    assert world.purchases() == claims, "a plan writes nothing"
    for change in plan.written:
        written(world, change.body)
    settle(world)
    claims_then, pods_then = world.purchases(), by_workspace(world, POD)

    bought = Counter(owner for uid, (owner, _) in claims_then.items() if uid not in claims)
    announced = Counter({one.key.name: one.nodes_asked for one in plan.written if one.nodes_asked})
    alone = {one.key.name for one in plan.changes if not one.rivals}
    most = {one.key.name: one.nodes_most for one in plan.written}
    assert {name: number for name, number in bought.items() if name in alone or name not in most} == {
        name: number for name, number in announced.items() if name in alone
    }
    assert all(number <= most[name] for name, number in bought.items()), (bought, most)
    restarted = Counter(owner for uid, (owner, _) in pods.items() if uid not in pods_then)
    assert restarted == Counter({one.key.name: one.outage.pods for one in plan.written if one.outage.pods})
    gone = {name for uid, (owner, name) in claims.items() if uid not in claims_then and owner in alone}
    told = [
        (one, line.split()[1].rstrip(",")) for one in plan.written for line in one.returned if not one.rivals
    ]
    returned = {claim for _, claim in told}
    perhaps = {line.split()[1].rstrip(",") for one in plan.written for line in one.returned_perhaps}
    perhaps |= {claim for one, claim in told if one.uncertain}
    assert returned - gone <= perhaps and gone <= returned
    for one in plan.written:
        held_against(world, one, plan)
    for one in plan.refused:  # what was refused is as it was
        now = world.get(kaito.WORKSPACE, one.key.name)
        assert (0 if now is None else generation_of(now)) == generations.get(one.key.name, 0)


def serves_now(workspace: Object) -> bool:
    return conditions.is_true(workspace, kaito.WORKSPACE_SUCCEEDED, generation=generation_of(workspace))


def held_against(world: PlannedWorld, one: Change, plan: Plan) -> None:
    """Whether it serves, and what keeps it from serving, are as the plan says."""
    name = one.key.name
    now = world.get(kaito.WORKSPACE, name)
    assert now is not None
    serves = serves_now(now)
    has_said = any("quota" in f"{other.waits}{text(other.deadlock)}" for other in plan.changes)
    assert has_said or name not in world.refused, "a quota refuses pods, unsaid"
    is_alone = len(plan.written) == 1 and not one.rivals
    if not is_alone or one.uncertain or "may be refused" in f"{one.waits}{text(one.deadlock)}":
        return
    PLANNED["alone"] += 1
    if one.waits or one.deadlock:
        PLANNED["waits"] += 1
        PLANNED["refused by quota"] += name in world.refused
        assert not serves, (one.waits, text(one.deadlock))
    else:
        assert serves, "the plan names nothing that it waits for"


def deleted(world: PlannedWorld, name: str) -> None:
    """Delete a Workspace; nothing of it is left, and no pod of another has ended."""
    if world.get(kaito.WORKSPACE, name) is None:
        return
    PLANNED["deleted"] += 1
    others = {uid for uid, (owner, _) in by_workspace(world, POD).items() if owner != name}
    world.do(request.delete(kaito.WORKSPACE, "default", name))
    settle(world)
    assert world.get(kaito.WORKSPACE, name) is None
    left = {**world.purchases(), **by_workspace(world, POD)}
    mine = {thing for owner, thing in left.values() if owner == name}
    assert mine <= claims_with_guests(world, name), "only a node on which others compute stays"
    PLANNED["kept"] += bool(mine)
    assert others <= left.keys()


def claims_with_guests(world: World, name: str) -> set[str]:
    """The NodeClaims on whose nodes others than the Workspace have pods."""
    nodes = {
        str(pod["spec"].get("nodeName"))
        for pod in world.list(POD)
        if labels_of(pod).get("kaito.sh/workspace") != name
    }
    return {node.removeprefix("node-") for node in nodes} | {pool for pool in map(pool_of, nodes) if pool}


def pool_of(node: str) -> str:
    """The NodePool that has made a node."""
    return (
        node.removeprefix("pool-").rpartition("-")[0].rpartition("-")[0] if node.startswith("pool-") else ""
    )


def count(plan: Plan) -> None:
    PLANNED["plans"] += 1
    for one in plan.changes:
        PLANNED[one.fate] += 1
        PLANNED["restarts"] += bool(one.outage.pods)
        PLANNED["bought"] += bool(one.nodes_asked)
        PLANNED["returned"] += bool(one.returned)
        PLANNED["rivals"] += bool(one.rivals)
