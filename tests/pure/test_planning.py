"""What a plan says of restarts, deadlocks and nodes that KAITO asks for."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from world import falcon, gpu_node, node_status

from kaitoctl.advice import text
from kaitoctl.kaito import node_check, planning
from kaitoctl.kaito.catalog import SHIPPED
from kaitoctl.kaito.planning import Change, Outage, Placing, Plan, as_just_seen
from kaitoctl.kaito.validation import Setting
from kaitoctl.kube.objects import Object, ObjectKey, key_of
from kaitoctl.reconcile.comparison import between


def deployment(replicas: int = 1, **strategy: Any) -> Object:
    spec: Object = {"replicas": replicas}
    if strategy:
        spec["strategy"] = strategy
    return {"kind": "Deployment", "metadata": {"name": "falcon", "namespace": "default"}, "spec": spec}


def rolling(surge: Any, unavailable: Any) -> dict[str, Any]:
    return {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable},
    }


@pytest.mark.parametrize(
    ("workload", "surges"),
    [
        (deployment(), True),  # 25% of 1: one more, none fewer
        (deployment(4), False),  # 25% of 4: one fewer
        (deployment(3), True),
        (deployment(1, type="Recreate"), False),
        (deployment(1, **rolling(0, 1)), False),
        (deployment(1, **rolling(1, 0)), True),
        (deployment(1, **rolling("100%", "0%")), True),
        (deployment(1, **rolling("100%", "100%")), False),
        (deployment(1, type="RollingUpdate"), True),
        ({**deployment(), "kind": "StatefulSet"}, False),
    ],
)
def test_a_rolling_update_surges_as_kubernetes_rounds(workload: Object, surges: bool) -> None:
    assert planning.surges(workload) is surges


@pytest.mark.parametrize(
    ("workload", "interrupts"),
    [
        (deployment(2), False),
        (deployment(2, **rolling(0, 1)), False),
        (deployment(2, type="Recreate"), True),  # all old pods end before the first new one begins
        (deployment(2, **rolling(0, 2)), True),
        (deployment(2, **rolling(0, "100%")), True),
        (deployment(1, **rolling(0, 1)), True),
        ({**deployment(2), "kind": "StatefulSet"}, True),
    ],
)
def test_pods_that_end_together_leave_nobody_who_serves(workload: Object, interrupts: bool) -> None:
    found = planning.outage(falcon(), workload, [], workload["spec"]["replicas"], SHIPPED)
    assert found.interrupts is interrupts
    assert ("without service" in found.words) is interrupts


def node(name: str, gpus: str = "2", **labels: str) -> Object:
    return {**gpu_node(name, {"apps": "falcon-7b", **labels}), "status": node_status(gpus)}


def pod(name: str, on: str, owner: str = "") -> Object:
    labels = {"kaito.sh/workspace": owner} if owner else {}
    container = {"name": "c", "image": "x:1", "resources": {"limits": {"nvidia.com/gpu": "2"}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"nodeName": on, "containers": [container]},
        "status": {"phase": "Running"},
    }


@pytest.mark.parametrize(
    ("nodes", "pods", "is_stuck"),
    [
        (["gpu-a"], [], True),
        (["gpu-a", "gpu-b"], [], False),  # the new pod goes to the other node
        (["gpu-a", "gpu-b"], [pod("guest", "gpu-b")], True),
    ],
)
def test_a_surge_without_a_free_gpu_is_a_deadlock(
    nodes: list[str], pods: list[Object], is_stuck: bool
) -> None:
    verdict = node_check.verdict(falcon(), [node(name) for name in nodes], pods)
    words = planning.deadlock(deployment(), verdict, ["gpu-a"], 1)
    assert bool(words) is is_stuck
    if is_stuck:
        assert "gpu-a" in words and '"maxSurge":0' in words
    assert planning.deadlock(deployment(), verdict, ["gpu-a"], 0) == ""
    assert planning.deadlock(deployment(1, type="Recreate"), verdict, ["gpu-a"], 1) == ""


def move(free: str = "", would_do: str = "", held: str = "", *, surges: bool = True) -> Placing:
    """Nodes as letters; those that are free or held would do."""
    return Placing(
        frozenset(free), frozenset(free + would_do + held), frozenset(held), deployment() if surges else None
    )


@pytest.mark.parametrize(
    ("first", "second", "is_stuck"),
    [
        (move("x", held="a"), move("x", held="b"), None),  # neither's node would do for the other
        (move("x", "b", held="a"), move("x", "a", held="b"), False),  # one after the other
        (move("x", held="a"), move("x", surges=False), None),  # a new one stays there
        (move("xy", held="a"), move("x", surges=False), False),
        (move("x", held="a"), move("y", surges=False), False),
        (move("x", held="a"), move("x", held="b", surges=False), None),  # it may go there as well
        (move("", "b", held="a"), move("x", held="b"), False),  # which comes free
        (move("", "c", held="a"), move("x", held="b"), True),
        (move("", "b", held="a"), move("", "a", held="b"), True),  # each waits for the other
    ],
)
def test_who_surges_waits_for_what_others_of_the_plan_leave_or_take(
    first: Placing, second: Placing, is_stuck: bool | None
) -> None:
    """None: it may be stuck, and that is said."""
    keys = ObjectKey("default", "first"), ObjectKey("default", "second")
    found = planning.contests(dict(zip(keys, (first, second), strict=True)))
    if is_stuck:
        assert keys[0] not in found, "what it is alone is said already: forever"
        return
    assert bool(found[keys[0]]) is (is_stuck is None)
    if is_stuck is None:
        words = text(found[keys[0]])
        assert "default/second may take x first" in words
        assert '"maxSurge":0' in words


def test_what_waits_for_one_that_is_contested_is_contested() -> None:
    chain = {
        ObjectKey("default", "last"): move("", "b", held="a"),
        ObjectKey("default", "middle"): move("x", held="b"),
        ObjectKey("default", "new"): move("x", surges=False),
    }
    assert all("default/new may take x" in text(words) for words in planning.contests(chain).values())


@pytest.mark.parametrize(
    ("more", "stuck"),
    [
        ({"a": move("", "b", held="A"), "c": move("", "b", held="C")}, {"a": "c", "c": "a"}),
        (
            {"a": move("", "b", held="A"), "c": move("", "bA", held="C")},
            {"a": "c"},
        ),  # it may have a's
        ({"a": move("", "b", held="A"), "new": move("", "b", surges=False)}, {"a": "new"}),
        ({"a": move("", "bd", held="A"), "c": move("", "bd", held="C"), "d": move("y", held="d")}, {}),
        (
            {"a": move("", "bd", held="A"), "c": move("", "d", held="C"), "d": move("x", "b", held="d")},
            "abcd",
        ),
    ],
)
def test_a_node_that_one_leaves_is_for_one(more: dict[str, Placing], stuck: Any) -> None:
    """Nobody knows for whom; who may then wait for ever is told who may be first."""
    placings = {"b": move("x", "d", held="b"), **more}
    found = planning.contests({ObjectKey("default", name): one for name, one in placings.items()})
    words = {key.name: text(said) for key, said in found.items() if said}
    assert words.keys() == set(stuck)
    if isinstance(stuck, dict):
        assert all(f"default/{first} may take b first" in words[name] for name, first in stuck.items())


NODES = "uvwxyz"
_LETTERS = st.frozensets(st.sampled_from(NODES), max_size=4)


@st.composite
def moves(draw: Any, most: int, *, is_told: bool) -> tuple[dict[ObjectKey, Placing], dict[str, int]]:
    """Workspaces of a pod each, and how many GPUs of each node nobody holds; guests hold some, and stay.

    Args:
        draw: hypothesis's.
        most: how many GPUs a node has at most, and up to one fewer a pod.
        is_told: whether it is known how many of a node's GPUs are free.
    """
    room = {node: draw(st.integers(1, most)) for node in NODES}
    found = []
    for _ in range(draw(st.integers(2, 5))):
        gpus = draw(st.integers(1, max(1, most - 1)))
        nodes = [node for node in NODES if room[node] >= gpus] if draw(st.integers(0, 3)) else []
        held = frozenset({draw(st.sampled_from(nodes))} if nodes else ())
        for node in held:
            room[node] -= gpus
        found.append((gpus, held, draw(_LETTERS) | (held if draw(st.integers(0, 9)) else frozenset())))
    for node in NODES:
        room[node] -= draw(st.integers(0, room[node]))
    placings = {
        ObjectKey("default", f"w{number}"): Placing(
            frozenset(node for node in would_do if room[node] >= gpus),
            would_do,
            held,
            deployment() if held else None,
            gpus=gpus,
            room={node: room[node] for node in would_do} if is_told else {},
        )
        for number, (gpus, held, would_do) in enumerate(found)
    }
    return placings, room


def ends(placings: dict[ObjectKey, Placing], room: dict[str, int]) -> set[frozenset[ObjectKey]]:
    """Who waits for ever, for each way in which it may come: free nodes first, then those that are left."""
    found, seen = set(), set()
    todo = [(tuple(room.items()), frozenset(placings), frozenset[ObjectKey]())]

    def after(key: ObjectKey, nodes: frozenset[str], sign: int) -> tuple[tuple[str, int], ...]:
        return tuple((node, left + sign * placings[key].gpus * (node in nodes)) for node, left in state[0])

    while todo:
        state = rooms, waiting, placed = todo.pop()
        if state in seen:
            continue
        seen.add(state)
        ways = [
            (key, node)
            for key in waiting
            for node, left in rooms
            if node in placings[key].would_do and left >= placings[key].gpus
        ]
        todo += [(after(key, frozenset({node}), -1), waiting - {key}, placed | {key}) for key, node in ways]
        if not ways:
            todo += [(after(key, placings[key].held, 1), waiting, placed - {key}) for key in placed]
            if not placed:
                found.add(waiting)
    return found


@pytest.mark.parametrize("is_told", [True, False])
@pytest.mark.parametrize("most", [1, 2, 4])
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_who_may_wait_for_ever_is_told(most: int, is_told: bool, data: Any) -> None:
    """Against all ways in which it may come; who is not among the answers waits in all of them, alone."""
    placings, room = data.draw(moves(most, is_told=is_told))
    stuck = ends(placings, room)
    may_wait = frozenset[ObjectKey]().union(*stuck)
    found = planning.contests(placings)
    for key, one in placings.items():
        if one.surging is None:
            assert key not in found
        elif key in found:
            assert found[key] or key not in may_wait
        elif is_told or most < 3:
            assert all(key in waiting for waiting in stuck)


@pytest.mark.parametrize(("most", "alarms"), [(1, 0.14), (2, 0.14), (4, 0.22)])
def test_few_are_told_who_never_wait_for_ever(most: int, alarms: float) -> None:
    """Of 400 drawn clusters, always the same: how many of those that get a node in any case."""
    told = safe = 0

    @given(moves(most, is_told=True))
    @settings(max_examples=400, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
    def count(drawn: Any) -> None:
        nonlocal told, safe
        found, stuck = planning.contests(drawn[0]), ends(*drawn)
        never = [key for key in found if not any(key in waiting for waiting in stuck)]
        safe += len(never)
        told += sum(bool(found[key]) for key in never)

    count()
    assert safe > 100
    assert told <= alarms * safe, (told, safe)


@pytest.mark.parametrize("room", [{}, dict.fromkeys("abc", 1)])
def test_a_free_node_that_one_leaves_is_free_again(room: dict[str, int]) -> None:
    """Three nodes of two GPUs, three Deployments of one: each finds another's, in whatever order."""
    placings = {
        ObjectKey("default", held): replace(move("".join({*"abc"} - {held}), held=held), room=room)
        for held in "abc"
    }
    assert planning.contests(placings) == dict.fromkeys(placings, "")


class _Counted(ObjectKey):
    """A key that counts how often it is looked up, or copied from one set into another."""

    copied = 0

    def __hash__(self) -> int:
        _Counted.copied += 1
        return tuple.__hash__(self)


def test_restarts_on_each_others_nodes_take_work_in_proportion_to_what_they_could_use() -> None:
    def steps(length: int) -> int:
        nodes = frozenset(f"n{number:03}" for number in range(length))
        placings: dict[ObjectKey, Placing] = {
            _Counted("default", node): Placing(nodes - {node}, nodes, frozenset({node}), deployment())
            for node in sorted(nodes)
        }
        before = _Counted.copied
        assert not any(planning.contests(placings).values())
        return _Counted.copied - before

    assert steps(80) <= 4.1 * steps(40), "each could use twice as many nodes"


def test_a_long_chain_of_moves_takes_as_many_steps_as_it_is_long() -> None:
    def steps(length: int) -> int:
        names = [ObjectKey("default", f"w{number:03}") for number in range(length)]
        placings = {
            name: Placing(frozenset(), frozenset({f"n{number}", f"n{number + 1}"}), frozenset({f"n{number}"}))
            for number, name in enumerate(names)
        }
        placings = {key: replace(one, surging=deployment()) for key, one in placings.items()}
        placings[names[-1]] = replace(placings[names[-1]], free=frozenset({f"n{length}"}))
        found = 0

        def count(_: object, event: str, __: object) -> None:
            nonlocal found
            found += event in ("call", "c_call")

        sys.setprofile(count)
        try:
            contests = planning.contests(placings)
        finally:
            sys.setprofile(None)
        assert len(contests) == length and not any(contests.values())
        return found

    assert steps(120) <= 2.1 * steps(60)


@pytest.mark.parametrize(
    ("workload", "restarts", "expected"),
    [
        (deployment(), 1, (frozenset({"gpu-b"}), frozenset({"gpu-a"}), True)),
        (deployment(1, type="Recreate"), 1, (frozenset({"gpu-b"}), frozenset({"gpu-a"}), False)),
        (deployment(), 0, None),
        (None, 0, (frozenset({"gpu-b"}), frozenset({"gpu-a"}), False)),
    ],
)
@pytest.mark.parametrize("target", ["kaitoctl", "v0.3", "v0.4"])
def test_who_moves_is_read_from_the_nodes(
    target: str, workload: Object | None, restarts: int, expected: Any
) -> None:
    nodes = [node("gpu-a"), node("gpu-b"), node("gpu-c"), node("other", apps="x")]
    tainted, cordoned = node("gpu-d"), node("gpu-e")
    tainted["spec"] = {"taints": [{"key": "team", "value": "a", "effect": "NoSchedule"}]}
    cordoned["spec"] = {"unschedulable": True}
    rules = node_check.Rules(target)
    nodes += [tainted, cordoned]
    guests = [pod("guest", "gpu-c"), pod("guest", "gpu-d")]
    verdict = node_check.verdict(falcon(), nodes, guests, rules=rules)
    found = planning.placing(workload, verdict, ["gpu-a"], restarts)
    if expected is None:
        assert found is None
        return
    assert found is not None
    assert (found.free, found.held, found.surging is not None) == expected
    assert found.would_do == {"gpu-a", "gpu-b", "gpu-c"}, "a guest may leave, and a taint stays"


def named(name: str) -> Object:
    made = falcon()
    return {**made, "metadata": {**made["metadata"], "name": name}}


def test_kaito_counts_one_node_for_two_workspaces_and_that_is_said() -> None:
    share = planning.Share([node("gpu-a")], [], Setting("v0.4"))
    first, second = share.of(named("one")), share.of(named("two"))
    assert (first.asked, first.waits) == (0, "")
    assert second.asked == 0
    assert "gpu-a" in second.waits and "default/one" in second.waits


def test_kaito_asks_for_what_it_does_not_recognise() -> None:
    share = planning.Share([node("gpu-a")], [], Setting("v0.4"))
    two = {**named("one"), "resource": {**falcon()["resource"], "count": 2}}
    assert share.of(two).asked == 1
    joining = {"metadata": {"name": "ws1"}}
    assert planning.Share([node("gpu-a")], [], Setting("v0.4")).of(two, [joining]).asked == 0


@pytest.mark.parametrize("release", ["v0.12", "v0.12.0", "v0.11.0"])
@pytest.mark.parametrize(
    ("preset", "runtime", "asked"),
    [("llama-3.3-70b-instruct", "", 3), ("llama-3.3-70b-instruct", "transformers", 1), ("phi-4", "vllm", 1)],
)
def test_kaito_asks_for_as_many_nodes_as_it_estimates(
    release: str, preset: str, runtime: str, asked: int
) -> None:
    ws = named("one")
    ws = {
        **ws,
        "apiVersion": "kaito.sh/v1beta1",
        "metadata": {**ws["metadata"], "annotations": {"kaito.sh/runtime": runtime} if runtime else {}},
        "resource": {**ws["resource"], "count": 1, "instanceType": "Standard_NC24ads_A100_v4"},
        "inference": {"preset": {"name": preset}},
    }
    share = planning.Share([], [], Setting(release, provisioner="azure-gpu-provisioner"))
    assert share.of(ws).asked == asked


@pytest.mark.parametrize(
    ("provisioner", "means"), [("azure-gpu-provisioner", "NodeClaim"), ("karpenter", "NodePool")]
)
def test_kaito_asks_for_no_node_that_the_cluster_has_no_api_for(provisioner: str, means: str) -> None:
    ws = {**named("one"), "apiVersion": "kaito.sh/v1beta1"}
    setting = Setting("v0.12", provisioner=provisioner)
    found = planning.Share([], [], setting, can_claim=False).of(ws)
    assert (found.asked, found.unsized) == (0, "")
    assert found.waits == f"1 more node: this cluster has no {means} API that could create them"
    old = planning.Share([], [], Setting("v0.4"), can_claim=False).of(named("one"))
    assert old.asked == 1, "KAITO up to v0.4.1 asks with Machines"


def change(**values: Any) -> Change:
    return Change(
        "Workspace", ObjectKey("default", "w"), "x.yaml: document 1", **{"fate": "changed", **values}
    )


def test_the_exit_code_and_the_sums() -> None:
    assert Plan("kaitoctl", (change(fate="unchanged"),)).exit_code == 0
    assert Plan("kaitoctl", (change(),)).exit_code == 1
    assert Plan("kaitoctl", (change(), change(fate="refused"))).exit_code == 2
    both = Plan(
        "kaitoctl", (change(nodes_asked=2, instance_type="A"), change(outage=Outage(3, True, None, 60)))
    )
    assert both.nodes_asked == {"A": 2} and both.pods_restarted == 3


@pytest.mark.parametrize(
    ("values", "asks"),
    [
        ({}, False),
        ({"outage": Outage(1, True, None, 60)}, True),
        ({"nodes_most": 1}, True),
        ({"returned": ("NodeClaim x",)}, True),
        ({"takes_away": True}, True),
        ({"uncertain": "whether it serves"}, True),
        ({"takes_away": True, "fate": "unchanged"}, False),
    ],
)
def test_what_stops_costs_or_goes_wants_consent(values: dict[str, Any], asks: bool) -> None:
    assert change(**values).wants_consent is asks


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"nodes_asked": 1, "instance_type": "A"}, "nodesAsked was 0, is 1"),
        ({"fate": "unchanged"}, "would be unchanged, and not changed"),
        ({"seen": {"uid": "2", "generation": "1"}}, "is another object of this name"),
        ({"seen": {"uid": "1", "generation": "2"}}, "generation 1 -> 2"),
        ({"seen": {}}, "is gone"),
        ({"outage": Outage(1, True, None, 60)}, "podsRestarted was 0, is 1"),
        ({"uncertain": "whether it serves"}, "uncertain was nothing, is whether it serves"),
    ],
)
def test_a_kept_plan_says_how_the_world_has_moved(values: dict[str, Any], words: str) -> None:
    seen = {"uid": "1", "generation": "1", "resourceVersion": "5"}
    kept = Plan("kaitoctl", (change(seen=seen),)).as_json()
    assert planning.is_plan(kept)
    assert planning.what_moved(kept, Plan("kaitoctl", (change(seen={**seen, "resourceVersion": "6"}),))) == []
    assert words in "; ".join(
        planning.what_moved(kept, Plan("kaitoctl", (change(**{"seen": seen, **values}),)))
    )


def test_a_plan_does_not_hold_where_an_outage_becomes_one() -> None:
    """The same pods restart, and by now nobody serves meanwhile."""
    seen = {"uid": "1", "generation": "1", "resourceVersion": "5"}
    kind = [Plan("kaitoctl", (change(seen=seen, outage=Outage(2, is_down)),)) for is_down in (False, True)]
    (words,) = planning.what_moved(kind[0].as_json(), kind[1])
    assert "nothing serves" in words
    assert planning.what_moved(kind[1].as_json(), kind[0]) == []


def test_of_what_is_gone_nothing_else_is_said() -> None:
    seen = {"uid": "1", "generation": "1", "resourceVersion": "5"}
    kept = Plan("kaitoctl", (change(seen=seen),)).as_json()
    moved = planning.what_moved(kept, Plan("kaitoctl", (change(fate="created", seen={}, nodes_asked=1),)))
    assert [words.rpartition(" is ")[2] for words in moved] == ["gone"]


def test_what_is_no_plan() -> None:
    kept = Plan("kaitoctl", (change(),)).as_json()
    broken: Any
    for broken in ({**kept, "kind": "x"}, {**kept, "changes": [1]}, {**kept, "changes": [{}]}, [], None, "x"):
        assert not planning.is_plan(broken)


def test_an_outage_is_as_long_as_the_budget_or_as_the_start_before() -> None:
    assert planning.outage(falcon(), deployment(), [], 0, SHIPPED).words == ""
    said = planning.outage(falcon(), deployment(), [], 1, SHIPPED)
    assert said.interrupts and said.words.startswith("1 pod restarts: at most ")
    assert "the others keep serving" in planning.outage(falcon(), deployment(2), [], 2, SHIPPED).words
    together = planning.outage(falcon(), {**deployment(2), "kind": "StatefulSet"}, [], 2, SHIPPED)
    assert together.interrupts


# --- many nodes --------------------------------------------------------------------------------------------

LABELLED = st.lists(
    st.tuples(
        st.dictionaries(
            st.sampled_from(["apps", "team", "kaito.sh/workspace", "kaito.sh/workspacenamespace"]),
            st.sampled_from(["a", "b", "falcon", "default"]),
        ),
        st.sampled_from(["0", "2", "4"]),
        st.booleans(),
    ),
    max_size=6,
)


@given(
    drawn=LABELLED,
    labels=st.dictionaries(st.sampled_from(["apps", "team"]), st.sampled_from(["a", "b"])),
    preferred=st.lists(st.sampled_from(["node-0", "node-3", "gone"]), max_size=2),
    target=st.sampled_from(["v0.3", "v0.4", "v0.12"]),
    provisioner=st.sampled_from(["", "azure-gpu-provisioner", "karpenter", "byo"]),
    count=st.integers(1, 3),
)
def test_looking_at_few_nodes_finds_what_looking_at_all_does(
    drawn: Any, labels: Any, preferred: list[str], target: str, provisioner: str, count: int
) -> None:
    nodes, pods = [], []
    for number, (own, gpus, is_held) in enumerate(drawn):
        name = f"node-{number}"
        nodes.append({**gpu_node(name, own), "status": node_status(gpus)})
        if is_held:
            limits = {"containers": [{"name": "c", "resources": {"limits": {"nvidia.com/gpu": "2"}}}]}
            metadata = {"name": f"guest-{number}", "namespace": "default"}
            pods.append({"metadata": metadata, "spec": {"nodeName": name, **limits}})
    workspaces = []
    for name in ("falcon", "other"):
        one = falcon(count=count, labelSelector={"matchLabels": labels}, preferredNodes=preferred)
        workspaces.append({**one, "metadata": {"name": name, "namespace": "default"}})

    def answers(share: planning.Share) -> list[Any]:
        found = [share.of(one) for one in workspaces]
        return [(one.asked, one.waits, one.verdict.selected, one.verdict.missing) for one in found]

    few = planning.Share(nodes, pods, Setting(target, provisioner=provisioner))
    everything = planning.Share(nodes, pods, Setting(target, provisioner=provisioner))
    everything._candidates = lambda *_: [key_of(node).name for node in nodes]  # type: ignore[method-assign]
    assert answers(few) == answers(everything)


def test_values_of_a_config_map_that_are_no_text_are_named() -> None:
    data = {"replicas": 3, "on": True, "name": "phi", "empty": None, "nested": {"a": "b"}}
    found = planning.config_map_problems({"kind": "ConfigMap", "data": data, "binaryData": None})
    assert [line.partition(":")[0] for line in found] == ["data[replicas]", "data[on]", "data[nested]"]
    assert "in quotes" in found[0]


def test_what_others_write_while_a_plan_is_made_is_no_change_of_the_users() -> None:
    """A controller's finalizer and annotation, a moment after the Workspace was created."""

    def differing(before: Object, after: Object, body: Object) -> list[str]:
        both = ({"spec": 1, "metadata": {"name": "w", **one}} for one in (before, after, body))
        seen, now, said = both
        return [item.path for item in between(as_just_seen(seen, now, said), now)]

    theirs = {"finalizers": ["f"], "annotations": {"hash": "1"}, "ownerReferences": [{"uid": "u"}]}
    assert differing({}, theirs, {}) == []
    assert differing({}, {"annotations": {"a": "1", "hash": "1"}}, {"annotations": {"a": "1"}}) != []
    assert differing({"annotations": {"a": "1"}}, {"annotations": {"a": "2"}}, {}) != []
    assert differing({"labels": {"a": "1"}}, {"labels": {}}, {}) != [], "what goes is no addition"
    assert differing({}, {"finalizers": ["f"]}, {"finalizers": ["f"]}) != []
