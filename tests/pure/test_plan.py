from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaitoctl.kube.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    JOB,
    NODE,
    SERVICE,
    Kind,
    Object,
    ObjectKey,
    key_of,
    owner_reference,
    uid_of,
)
from kaitoctl.reconcile.field_differences import differences
from kaitoctl.reconcile.planner import Child, Foreign, Plan, plan

PREFIX = "example.com"
World = dict[tuple[Kind, ObjectKey], Object]


def owner(*, generation: int = 3, uid: str = "owner-uid", **metadata: Any) -> Object:
    return {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": "w", "namespace": "d", "uid": uid, "generation": generation, **metadata},
    }


def config(name: str, **data: str) -> Child:
    return Child(CONFIG_MAP, {"metadata": {"name": name}, "data": data})


def decide(world: World, desired: list[Child], *, by: Object | None = None) -> Plan:
    observed = [(kind, obj) for (kind, _), obj in world.items()]
    return plan(by or owner(), desired, observed, manager="m", annotation_prefix=PREFIX)


def act(world: World, decided: Plan) -> World:
    """The world after the plan, as an API server would have it (server-side apply as a merge)."""
    after = dict(world)
    for step in decided.steps:
        slot = (step.kind, step.key)
        if step.verb == "delete":
            assert step.request.method == "DELETE"
            assert step.request.body["preconditions"]["uid"] == uid_of(world[slot])
            del after[slot]
            continue
        body = copy.deepcopy(step.request.body)
        before: Object = world.get(slot, {"metadata": {"uid": f"uid-of-{step.key.name}"}})
        if step.verb == "update":
            assert body["metadata"]["uid"] == uid_of(before)
            assert step.request.query["force"] == "true"
        else:
            assert slot not in world
            assert "force" not in step.request.query
        after[slot] = {**body, "metadata": {**before["metadata"], **body["metadata"]}}
    return after


def verbs(decided: Plan) -> list[tuple[str, str, str]]:
    return [(step.verb, step.key.name, step.why) for step in decided.steps]


def test_missing_child_is_created_without_force() -> None:
    decided = decide({}, [config("a", x="1")])
    assert verbs(decided) == [("create", "a", "missing")]
    request = decided.steps[0].request
    assert "force" not in request.query
    assert request.path == "/api/v1/namespaces/d/configmaps/a"
    assert request.body["metadata"]["ownerReferences"] == [owner_reference(owner())]
    annotations = request.body["metadata"]["annotations"]
    assert annotations["example.com/owner-generation"] == "3"
    assert len(annotations["example.com/desired-hash"]) == 16


def test_nothing_is_done_when_all_is_as_wanted() -> None:
    desired = [config("a", x="1")]
    world = act({}, decide({}, desired))
    for obj in world.values():  # what others add is theirs
        obj["metadata"]["labels"] = {"team": "a"}
        obj["data"]["theirs"] = "1"
        obj["metadata"]["ownerReferences"].append({"uid": "other", "kind": "X", "name": "x"})
    assert decide(world, desired) == Plan(())


@pytest.mark.parametrize(
    ("desired", "generation", "why"),
    [
        (config("a", x="2"), 3, "differs at data.x"),
        (config("a"), 3, "another manifest is wanted"),
        (config("a", x="1"), 4, "made for another generation of its owner"),
    ],
)
def test_child_that_differs_is_updated(desired: Child, generation: int, why: str) -> None:
    world = act({}, decide({}, [config("a", x="1")]))
    assert verbs(decide(world, [desired], by=owner(generation=generation))) == [("update", "a", why)]


def test_drift_is_updated() -> None:
    world = act({}, decide({}, [config("a", x="1", y="1")]))
    next(iter(world.values()))["data"] = {"x": "edited"}
    assert verbs(decide(world, [config("a", x="1", y="1")])) == [
        ("update", "a", "differs at data.x and 1 more")
    ]


@pytest.mark.parametrize("text", ["", "x", "-1", "²"])
def test_spoilt_generation_stamp_is_restored(text: str) -> None:
    world = act({}, decide({}, [config("a", x="1")]))
    next(iter(world.values()))["metadata"]["annotations"]["example.com/owner-generation"] = text
    assert [step.verb for step in decide(world, [config("a", x="1")]).steps] == ["update"]


@pytest.mark.parametrize(
    ("references", "controller"),
    [
        ([], "none"),
        ([{"uid": "owner-uid", "kind": "Widget", "name": "w"}], "none"),
        ([{"uid": "u", "kind": "Job", "name": "j", "controller": True}], "Job j"),
        ([{"uid": "previous-uid", "kind": "Widget", "name": "w", "controller": True}], "Widget w"),
    ],
)
def test_object_of_somebody_else_is_reported_and_left_alone(
    references: list[Object], controller: str
) -> None:
    world: World = {
        (CONFIG_MAP, ObjectKey("d", "a")): {
            "metadata": {"name": "a", "namespace": "d", "uid": "u", "ownerReferences": references}
        }
    }
    expected = Plan((), (Foreign(CONFIG_MAP, ObjectKey("d", "a"), controller),))
    assert decide(world, [config("a")]) == expected
    assert decide(world, []) == Plan(())


def test_no_child_goes_back_to_an_older_generation() -> None:
    world = act({}, decide({}, [config("a", x="new"), config("b")], by=owner(generation=5)))
    decided = decide(world, [config("a", x="old"), config("c")], by=owner(generation=4))
    assert decided.stale
    assert verbs(decided) == [("create", "c", "missing")]  # neither a rolled back nor b deleted


def test_child_that_is_not_wanted_any_more_is_deleted() -> None:
    world = act({}, decide({}, [config("a"), config("b")]))
    decided = decide(world, [config("b")])
    assert verbs(decided) == [("delete", "a", "no longer wanted")]
    assert decided.steps[0].request.body["propagationPolicy"] == "Background"


def test_child_that_is_being_deleted_is_waited_for() -> None:
    world = act({}, decide({}, [config("a", x="1")]))
    next(iter(world.values()))["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert decide(world, [config("a", x="2")]) == Plan(())
    assert decide(world, []) == Plan(())


def job(made_from: str, **spec: Any) -> Child:
    metadata = {"name": "j", "annotations": {"made-from": made_from}}
    return Child(JOB, {"metadata": metadata, "spec": spec}, replace_on="made-from")


def test_child_that_cannot_be_changed_is_deleted_and_created_when_it_is_gone() -> None:
    old, new = job("a", x=1), job("b", x=2)
    world = act({}, decide({}, [old]))
    decided = decide(world, [new])
    assert verbs(decided) == [("delete", "j", "to be recreated")]
    assert decided.steps[0].request.body["propagationPolicy"] == "Foreground"
    slot = next(iter(world))
    world[slot]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert decide(world, [new]) == Plan(())
    assert verbs(decide({}, [new])) == [("create", "j", "missing")]


@pytest.mark.parametrize("generation", [3, 4])
def test_child_that_cannot_be_changed_is_left_alone_while_it_was_made_from_the_same(generation: int) -> None:
    world = act({}, decide({}, [job("a", x=1)]))
    next(iter(world.values()))["metadata"]["labels"] = {"edited": "by-somebody"}
    assert decide(world, [job("a", x=2)], by=owner(generation=generation)) == Plan(())


def test_child_to_be_replaced_is_not_taken_from_somebody_else_nor_from_a_newer_owner() -> None:
    world = act({}, decide({}, [job("a")]))
    assert decide(world, [job("b")], by=owner(uid="other")).foreign[0].controller == "Widget w"
    older = decide(world, [job("b")], by=owner(generation=2))
    assert (older.steps, older.stale) == ((), True)


def test_same_name_of_another_kind_is_another_child() -> None:
    desired = [config("a"), Child(SERVICE, {"metadata": {"name": "a"}})]
    world = act({}, decide({}, desired))
    assert len(world) == 2
    assert verbs(decide(world, desired[:1])) == [("delete", "a", "no longer wanted")]


def test_child_desired_twice_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="ConfigMap d/a is desired twice"):
        decide({}, [config("a"), config("a", x="1")])


def test_child_without_owner_reference_is_known_by_its_annotation() -> None:
    desired = [
        Child(NODE, {"metadata": {"name": "n"}, "spec": {"x": 1}}, owned=False),
        Child(CONFIG_MAP, {"metadata": {"name": "a", "namespace": "elsewhere"}}, owned=False),
    ]
    world = act({}, decide({}, desired))
    for obj in world.values():
        assert "ownerReferences" not in obj["metadata"]
        assert obj["metadata"]["annotations"]["example.com/owner-uid"] == "owner-uid"
    assert decide(world, desired) == Plan(())
    assert [step.verb for step in decide(world, []).steps] == ["delete", "delete"]
    assert len(decide(world, desired, by=owner(uid="another")).foreign) == 2


def test_annotation_copied_to_a_grandchild_does_not_make_it_ours() -> None:
    # The Deployment controller copies annotations to its ReplicaSets.
    world: World = {
        (CONFIG_MAP, ObjectKey("d", "copy")): {
            "metadata": {
                "name": "copy",
                "namespace": "d",
                "annotations": {"example.com/owner-uid": "owner-uid"},
                "ownerReferences": [
                    {"uid": "deployment-uid", "kind": "Deployment", "name": "x", "controller": True}
                ],
            }
        }
    }
    assert decide(world, []) == Plan(())
    copied = Child(CONFIG_MAP, {"metadata": {"name": "copy"}}, owned=False)
    expected = Foreign(CONFIG_MAP, ObjectKey("d", "copy"), "Deployment x")
    assert decide(world, [copied]) == Plan((), (expected,))


def test_inputs_are_left_unchanged() -> None:
    by, desired = owner(), [config("a", x="1")]
    world = act({}, decide({}, [config("a", x="2")]))
    before = copy.deepcopy((by, desired, world))
    decide(world, desired, by=by)
    assert (by, desired, world) == before


# --- laws ----------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c", "d"])
VALUES = st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(["", "1", "2"]))
CHILDREN = st.builds(
    lambda kind, name, data: Child(kind, {"metadata": {"name": name}, "data": data}),
    st.sampled_from([CONFIG_MAP, SERVICE, DEPLOYMENT]),
    NAMES,
    VALUES,
)
DESIRED = st.lists(CHILDREN, unique_by=lambda child: (child.kind, child.manifest["metadata"]["name"]))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """What an owner's earlier generation left, changed by others, among strangers."""
    world = act({}, decide({}, draw(DESIRED), by=owner(generation=draw(st.integers(1, 4)))))
    for slot, obj in list(world.items()):
        match draw(st.sampled_from(["keep", "keep", "edit", "strange", "deleting", "gone"])):
            case "edit":
                obj["data"] = draw(VALUES)
            case "strange":
                obj["metadata"]["ownerReferences"] = []
            case "deleting":
                obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            case "gone":
                del world[slot]
    return world


@settings(max_examples=200)
@given(worlds(), DESIRED)
def test_plan_on_its_own_result_is_empty(world: World, desired: list[Child]) -> None:
    first = decide(world, desired)
    second = decide(act(world, first), desired)
    assert second.steps == ()
    assert second.foreign == first.foreign
    assert second.stale == first.stale


@settings(max_examples=100)
@given(worlds(), DESIRED, st.randoms(use_true_random=False))
def test_order_of_inputs_does_not_matter(world: World, desired: list[Child], random: Any) -> None:
    shuffled_world, shuffled = list(world.items()), list(desired)
    random.shuffle(shuffled_world)
    random.shuffle(shuffled)
    assert decide(dict(shuffled_world), shuffled) == decide(world, desired)


@settings(max_examples=200)
@given(worlds(), DESIRED)
def test_what_the_owner_does_not_control_is_never_written(world: World, desired: list[Child]) -> None:
    strangers = {
        slot: copy.deepcopy(obj)
        for slot, obj in world.items()
        if owner_reference(owner()) not in obj["metadata"]["ownerReferences"]
    }
    after = act(world, decide(world, desired))
    assert {slot: after[slot] for slot in strangers} == strangers


@settings(max_examples=200)
@given(worlds(), DESIRED)
def test_generations_of_children_only_grow(world: World, desired: list[Child]) -> None:
    def generations(of: World) -> dict[tuple[Kind, ObjectKey], int]:
        return {
            slot: int(obj["metadata"]["annotations"]["example.com/owner-generation"])
            for slot, obj in of.items()
        }

    before, after = generations(world), generations(act(world, decide(world, desired)))
    assert all(after.get(slot, 3) >= min(before[slot], after.get(slot, 3)) for slot in before)
    assert all(after[slot] >= before[slot] for slot in before if slot in after)
    assert all(before[slot] <= 3 for slot in before if slot not in after)


# --- differences ---------------------------------------------------------------------------------------


def container(**fields: Any) -> Object:
    return {"name": "c", "image": "i", **fields}


@pytest.mark.parametrize(
    ("desired", "observed"),
    [
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": None, "b": {}, "c": [], "d": ""}, {}),
        ({}, {"a": 1}),
        ({"a": {"b": None}}, {}),
        ({"containers": [container()]}, {"containers": [container(x=1), {"name": "sidecar"}]}),
        (
            {"env": [{"name": "A", "value": ""}, {"name": "B", "value": "1"}]},
            {"env": [{"name": "B", "value": "1"}, {"name": "A"}]},
        ),
        ({"args": [{"x": 1}]}, {"args": [{"x": 1, "defaulted": 2}]}),
        ({"ports": [{"port": 80}]}, {"ports": [{"port": 80, "protocol": "TCP", "nodePort": 3}]}),
        ({"resources": {"limits": {"cpu": "0.5"}}}, {"resources": {"limits": {"cpu": "500m"}}}),
        (
            {"resources": {"requests": {"nvidia.com/gpu": 1}}},
            {"resources": {"requests": {"nvidia.com/gpu": "1"}}},
        ),
        ({"emptyDir": {"sizeLimit": "1024Mi"}}, {"emptyDir": {"sizeLimit": "1Gi"}}),
        ({"imagePullSecrets": [{"name": "a"}]}, {"imagePullSecrets": [{"name": "b"}, {"name": "a"}]}),
        ({"metadata": {"creationTimestamp": None}}, {"metadata": {"creationTimestamp": "2026-01-01"}}),
        (
            {"env": [{"name": "A", "x": 1}, {"name": "A", "x": 2}]},
            {"env": [{"name": "A", "x": 1}, {"name": "A", "x": 2}]},
        ),
        ({"env": [{"name": {"a": 1}}]}, {"env": [{"name": {"a": 1}}]}),
        ({"env": [{"name": None}]}, {"env": [{"name": None}]}),
        (
            {"ports": [{"port": 53}, {"port": 53, "protocol": "UDP"}]},
            {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]},
        ),
    ],
)
def test_contained(desired: Object, observed: Object) -> None:
    assert differences(desired, observed) == []


@pytest.mark.parametrize(
    ("desired", "observed", "paths"),
    [
        ({"spec": {"replicas": 2}}, {"spec": {"replicas": 1}}, ["spec.replicas"]),
        ({"spec": {"replicas": 0}}, {"spec": {"replicas": 1}}, ["spec.replicas"]),
        ({"spec": {"on": False}}, {"spec": {"on": True}}, ["spec.on"]),
        ({"spec": {"selector": {"a": "1"}}}, {"spec": {"selector": {"a": "1", "b": "2"}}}, ["spec.selector"]),
        (
            {"spec": {"template": {"spec": {"containers": [container(image="j")]}}}},
            {"spec": {"template": {"spec": {"containers": [{"name": "s"}, container()]}}}},
            ["spec.template.spec.containers[name=c].image"],
        ),
        ({"containers": [container()]}, {}, ["containers"]),
        (
            {"containers": [container()]},
            {"containers": [{"name": "other"}]},
            ["containers[name=c].name", "containers[name=c].image"],
        ),
        ({"args": ["a", "b"]}, {"args": ["a"]}, ["args"]),
        ({"args": ["a", "b"]}, {"args": ["b", "a"]}, ["args[0]", "args[1]"]),
        ({"tolerations": [{"key": "a"}]}, {"tolerations": [{"key": "a"}, {"key": "b"}]}, ["tolerations"]),
        (
            {"metadata": {"labels": {"app.kubernetes.io/name": "x"}}},
            {"metadata": {"labels": {}}},
            ["metadata.labels[app.kubernetes.io/name]"],
        ),
        (
            {"resources": {"limits": {"memory": "1Gi"}}},
            {"resources": {"limits": {"memory": "1G"}}},
            ["resources.limits.memory"],
        ),
        (
            {"ports": [{"containerPort": 1, "protocol": "UDP"}]},
            {"ports": [{"containerPort": 1, "protocol": "TCP"}]},
            ["ports[containerPort=1].containerPort", "ports[containerPort=1].protocol"],
        ),
        (
            {"env": [{"name": "A", "x": 1}, {"name": "A", "x": 2}]},
            {"env": [{"name": "A", "x": 2}]},
            ["env"],
        ),
        ({"a": {"b": 1}}, {"a": "text"}, ["a"]),
        ({"a": [1]}, {"a": {"b": 1}}, ["a"]),
        ({"a": ""}, {"a": "text"}, ["a"]),
        ({"limits": {"cpu": "1"}}, {"limits": {"cpu": {}}}, ["limits.cpu"]),
    ],
)
def test_not_contained(desired: Object, observed: Object, paths: list[str]) -> None:
    assert differences(desired, observed) == paths


@pytest.mark.parametrize("zero", [False, 0, "", [], {}])
def test_zero_values_that_servers_leave_out_are_no_difference(zero: object) -> None:
    assert differences({"spec": {"x": zero}}, {"spec": {}}) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "1Gi"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "env", "ports", "limits", "x", "a.b"]), inner, max_size=4)
    ),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.sampled_from(["spec", "metadata", "env"]), JSON, max_size=3)


@given(OBJECTS)
def test_everything_contains_itself(obj: Object) -> None:
    assert differences(obj, copy.deepcopy(obj)) == []


@given(OBJECTS, OBJECTS)
def test_any_two_documents_can_be_compared(one: Object, other: Object) -> None:
    assert all(differences(one, other))


def test_key_of_is_what_plan_uses() -> None:
    step = decide({}, [config("a")]).steps[0]
    assert step.key == key_of(step.request.body)
