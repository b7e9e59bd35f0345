"""What is recorded, what is kept of a Workspace that is refused, how a group of pods is replaced."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from builders import adapter
from world import WATCHED, Fault, World, falcon, gpu_node, node_status

from kaitoctl.errors import ApiError
from kaitoctl.kaito import api as kaito
from kaitoctl.kaito import revisions
from kaitoctl.kaito.own_workloads import OWNER_GENERATION
from kaitoctl.kube import conditions, request
from kaitoctl.kube.objects import (
    CONTROLLER_REVISION,
    DEPLOYMENT,
    EVENT,
    NODE,
    NODE_CLAIM,
    POD,
    SERVICE,
    STATEFUL_SET,
    Object,
    annotations_of,
    dig,
    generation_of,
    key_of,
    owner_reference,
    uid_of,
)
from kaitoctl.kube.request import Request

FAULTS = [fault for fault in get_args(Fault) if fault != "stale"]


def prepared(world: World | None = None) -> World:
    world = world or World()
    world.apply(NODE, gpu_node("gpu-a", {"apps": "falcon-7b"}))
    world.set_status(NODE, "gpu-a", node_status("2"))
    return world


def with_adapters(*names: str) -> Object:
    obj = falcon()
    if names:
        obj["inference"]["adapters"] = [adapter(name) for name in names]
    return obj


def invalid() -> Object:
    """Two adapters of one name: the CRD takes them, the rules do not."""
    return with_adapters("a", "a")


def edit(world: World, obj: Object) -> None:
    world.apply(kaito.WORKSPACE, obj)
    world.settle()


def history(world: World) -> list[tuple[int, list[str]]]:
    """Number and adapters of each revision, oldest first."""
    found = revisions.sort_revisions(world.list(CONTROLLER_REVISION))
    return [
        (
            revisions.number_of(one),
            [item["source"]["name"] for item in dig(one, "data", "inference", "adapters") or ()],
        )
        for one in found
    ]


def deployment(world: World) -> Object:
    found = world.get(DEPLOYMENT, "falcon")
    assert found is not None
    return found


def said(world: World, kind: str) -> tuple[str, str]:
    """Status and message of a condition."""
    found = world.get(kaito.WORKSPACE, "falcon")
    assert found is not None
    condition = conditions.find(found, kind)
    assert condition is not None
    assert condition["observedGeneration"] == generation_of(found)
    return condition["status"], condition["message"]


def writes_of(world: World, passes: int = 3) -> int:
    before = len(world.requests)
    for _ in range(passes):
        world.reconcile()
    return sum(asked.is_write for asked in world.requests[before:])


# --- recording ---------------------------------------------------------------------------------------------


def test_each_applied_spec_is_a_revision_and_the_workload_carries_its_number() -> None:
    world = prepared()
    edit(world, with_adapters())
    template = deployment(world)["spec"]["template"]
    assert history(world) == [(1, [])]
    assert annotations_of(deployment(world))[revisions.NUMBER] == "1"
    assert revisions.NUMBER not in str(template), "or a number would restart pods"
    edit(world, with_adapters("a"))
    edit(world, with_adapters("a", "b"))
    assert history(world) == [(1, []), (2, ["a"]), (3, ["a", "b"])]
    assert annotations_of(deployment(world))[revisions.NUMBER] == "3"
    assert writes_of(world) == 0


def test_going_back_renumbers_and_makes_the_same_pods_again() -> None:
    world = prepared()
    edit(world, with_adapters())
    template = deployment(world)["spec"]["template"]
    edit(world, with_adapters("a"))
    edit(world, with_adapters())
    assert history(world) == [(2, ["a"]), (3, [])]
    assert deployment(world)["spec"]["template"] == template
    assert annotations_of(deployment(world))[revisions.NUMBER] == "3"
    assert writes_of(world) == 0


def test_an_annotation_that_changes_what_is_built_is_a_revision_too() -> None:
    world = prepared()
    edit(world, with_adapters())
    obj = with_adapters()
    obj["metadata"]["annotations"] = {kaito.ANNOTATION_ENABLE_LB: "True", "team": "a"}
    edit(world, obj)
    assert len(history(world)) == 2
    newest = revisions.sort_revisions(world.list(CONTROLLER_REVISION))[-1]
    assert newest["data"]["metadata"] == {"annotations": {kaito.ANNOTATION_ENABLE_LB: "True"}}


def test_the_history_has_an_end() -> None:
    world = prepared()
    for number in range(13):
        edit(world, with_adapters(f"a{number}"))
    assert history(world) == [(number + 1, [f"a{number}"]) for number in range(3, 13)]
    assert writes_of(world) == 0


def test_a_change_cause_that_is_told_later_costs_one_write() -> None:
    world = prepared()
    edit(world, with_adapters())
    before = sum(asked.is_write for asked in world.requests)
    obj = with_adapters()
    obj["metadata"]["annotations"] = {revisions.CHANGE_CAUSE: "first try"}
    edit(world, obj)
    assert sum(asked.is_write for asked in world.requests) == before + 1
    (only,) = world.list(CONTROLLER_REVISION)
    assert annotations_of(only)[revisions.CHANGE_CAUSE] == "first try"


def test_a_taken_name_gives_way_whoever_has_it() -> None:
    """A Workspace of this name that was orphaned has left its history behind."""
    world = prepared()
    edit(world, with_adapters())
    world.do(request.delete(kaito.WORKSPACE, "default", "falcon", propagation="Orphan"))
    (old,) = world.list(CONTROLLER_REVISION)
    for kind in (DEPLOYMENT, SERVICE):
        world.do(request.delete(kind, "default", "falcon"))
    edit(world, with_adapters())
    found = world.list(CONTROLLER_REVISION)
    assert len(found) == 2
    (kept,) = [one for one in found if uid_of(one) == uid_of(old)]
    assert kept == old
    assert writes_of(world) == 0


def test_a_revision_that_the_store_has_not_seen_is_not_made_twice() -> None:
    world = prepared()
    world.apply(kaito.WORKSPACE, with_adapters())
    empty = {kind: world.list(kind) for kind in WATCHED}
    world.reconcile()
    world.frozen = {**{kind: world.list(kind) for kind in WATCHED}, CONTROLLER_REVISION: []}
    world.reconcile()
    assert len(world.list(CONTROLLER_REVISION)) == 1
    world.frozen = {**empty, DEPLOYMENT: world.list(DEPLOYMENT), SERVICE: world.list(SERVICE)}
    world.reconcile()
    assert history(world) == [(1, [])]


def test_an_old_view_of_the_workspace_does_not_renumber() -> None:
    world = prepared()
    edit(world, with_adapters())
    old = world.list(kaito.WORKSPACE)
    edit(world, with_adapters("a"))
    before = world.list(CONTROLLER_REVISION)
    children: dict[Any, list[Object]] = {DEPLOYMENT: [], SERVICE: []}
    world.frozen = {**{kind: world.list(kind) for kind in WATCHED}, **children, kaito.WORKSPACE: old}
    assert writes_of(world, passes=1) == 0
    assert world.list(CONTROLLER_REVISION) == before


def test_a_revision_that_cannot_be_changed_is_written_anew() -> None:
    """Another program wrote its data in another form of JSON: to a real API server any patch changes that."""

    class Strict(World):
        def do(self, asked: Request) -> Object:
            if asked.method == "PATCH" and "controllerrevisions" in asked.path:
                raise ApiError(422, "Invalid", "data: field is immutable")
            return super().do(asked)

    world = prepared(Strict())
    edit(world, with_adapters("a"))
    edit(world, with_adapters("b"))
    edit(world, with_adapters("a"))
    assert history(world) == [(1, ["a"]), (2, ["b"]), (3, ["a"])]
    assert said(world, kaito.WORKSPACE_SUCCEEDED)[0] == "True"
    assert writes_of(world) == 0


def test_what_waits_for_nodes_is_recorded_before_any_is_asked_for() -> None:
    world = World()
    world.apply(kaito.WORKSPACE, falcon())
    world.reconcile()
    wrote = [one.path.split("/")[-2:] for one in world.requests if one.is_write]
    (claim,) = world.list(NODE_CLAIM)
    recorded = wrote.index(["default", "controllerrevisions"])
    assert recorded < wrote.index(["nodeclaims", claim["metadata"]["name"]])


CHANGES: dict[str, Any] = {
    "resource.count": {"count": 2},
    "resource.instanceType": {"instanceType": "Standard_NC24s_v3"},
    "resource.labelSelector": {"labelSelector": {"matchLabels": {"apps": "other"}}},
}


@pytest.mark.parametrize("path", [*CHANGES, "inference.preset"])
@pytest.mark.parametrize("serves", [True, False])
def test_what_kaito_lets_nobody_change_buys_no_node_and_stops_no_model(path: str, serves: bool) -> None:
    world = World(runs_pods=True)
    world.apply(kaito.WORKSPACE, falcon())
    if serves:
        world.settle()
    else:
        world.reconcile()
    claims, past = world.list(NODE_CLAIM), history(world)
    changed = falcon(**CHANGES.get(path, {}))
    if path == "inference.preset":
        changed["inference"]["preset"]["name"] = "phi-2"
    edit(world, changed)
    assert [key_of(one) for one in world.list(NODE_CLAIM)] == [key_of(one) for one in claims]
    assert history(world) == past
    assert deployment(world)["spec"]["replicas"] == 1, "what was applied last is built"
    for kind in (kaito.RESOURCE_READY, kaito.WORKSPACE_SUCCEEDED):
        status, words = said(world, kind)
        assert status == "False"
        assert f"{path}: is immutable" in words
        assert "change it back, or delete the Workspace and recreate it; generation 1 still serves" in words
    assert any(path in one["message"] and one["type"] == "Warning" for one in world.list(EVENT))
    edit(world, falcon())
    assert said(world, kaito.WORKSPACE_SUCCEEDED)[0] == "True"
    assert len(world.list(NODE_CLAIM)) == 1


def test_old_revisions_that_may_not_be_deleted_do_not_deny_that_the_model_serves() -> None:
    world = prepared()
    for number in range(10):
        edit(world, with_adapters(f"a{number}"))
    world.apply(kaito.WORKSPACE, with_adapters("last"))
    deletes: list[int] = []

    class Refusing(dict[int, Any]):
        def get(self, number: int, default: Any = None) -> Any:
            is_delete = world.requests[number].method == "DELETE"
            deletes.extend([number] if is_delete else [])
            return "refused" if is_delete else default

    world.faults = Refusing()
    for _ in range(4):
        world.reconcile()
        world.cluster_moves()
    assert deletes
    assert said(world, kaito.INFERENCE_READY)[0] == "True"


def test_a_change_cause_that_cannot_be_recorded_does_not_deny_that_the_model_serves() -> None:
    class Forbidding(World):
        def do(self, asked: Request) -> Object:
            if asked.method == "PATCH" and "controllerrevisions" in asked.path:
                raise ApiError(403, "Forbidden", "no")
            return super().do(asked)

    world = prepared(Forbidding())
    edit(world, with_adapters())
    obj = with_adapters()
    obj["metadata"]["annotations"] = {revisions.CHANGE_CAUSE: "first try"}
    world.apply(kaito.WORKSPACE, obj)
    world.reconcile()
    assert said(world, kaito.INFERENCE_READY)[0] == "True"


def test_what_cannot_be_recorded_is_not_applied() -> None:
    class Forbidding(World):
        def do(self, asked: Request) -> Object:
            if asked.method == "POST" and asked.path.endswith("/controllerrevisions"):
                raise ApiError(403, "Forbidden", "no history for you")
            return super().do(asked)

    world = prepared(Forbidding())
    world.apply(kaito.WORKSPACE, with_adapters())
    world.reconcile()
    assert world.list(DEPLOYMENT) == []
    assert said(world, kaito.INFERENCE_READY) == ("False", "no history for you")


# --- a refused edit ----------------------------------------------------------------------------------------


def test_what_serves_goes_on_serving_when_an_edit_is_refused() -> None:
    world = prepared()
    edit(world, with_adapters("a"))
    before, services = deployment(world), world.list(SERVICE)
    edit(world, invalid())
    assert deployment(world) == before
    assert world.list(SERVICE) == services
    assert history(world) == [(1, ["a"])], "what was never applied is no revision"
    for kind in (kaito.INFERENCE_READY, kaito.RESOURCE_READY, kaito.WORKSPACE_SUCCEEDED):
        status, message = said(world, kind)
        assert status == "False"
        assert message.startswith("generation 2 is refused: ")
        assert message.endswith("; generation 1 still serves")
    assert writes_of(world) == 0


def test_it_does_not_say_that_it_serves_when_it_does_not() -> None:
    world = prepared()
    edit(world, with_adapters("a"))
    counts = {"readyReplicas": 0, "availableReplicas": 0}
    world.set_status(DEPLOYMENT, "falcon", counts)
    edit(world, invalid())
    assert said(world, kaito.INFERENCE_READY)[1].endswith("; generation 1 is kept as it was")


@pytest.mark.parametrize("kind", [DEPLOYMENT, SERVICE])
def test_drift_is_put_back_as_the_last_good_revision_says(kind: Any) -> None:
    world = prepared()
    edit(world, with_adapters("a"))
    edit(world, invalid())
    good = world.get(kind, "falcon")
    assert good is not None
    spec = {"replicas": 5} if kind is DEPLOYMENT else {"selector": {"x": "y"}}
    world.do(request.merge_patch(kind, "default", "falcon", {"spec": spec}, manager="somebody"))
    world.settle()
    mended = world.get(kind, "falcon")
    assert mended is not None
    assert mended["spec"] == good["spec"]
    assert annotations_of(mended)[OWNER_GENERATION] == "1"
    assert writes_of(world) == 0


def test_a_lost_node_is_replaced_for_what_still_serves() -> None:
    world = World()
    edit(world, with_adapters("a"))
    edit(world, invalid())
    (claim,) = world.list(NODE_CLAIM)
    world.do(request.delete(NODE_CLAIM, "", claim["metadata"]["name"]))
    world.do(request.delete(NODE, "", f"node-{claim['metadata']['name']}"))
    world.settle()
    assert len(world.list(NODE)) == 1


def test_a_refused_count_neither_buys_nor_gives_back_nodes() -> None:
    world = World()
    edit(world, with_adapters("a"))
    obj = with_adapters("a")
    obj["resource"]["count"] = 10**6
    edit(world, obj)
    assert len(world.list(NODE_CLAIM)) == 1
    assert said(world, kaito.RESOURCE_READY)[1].endswith("generation 1 still serves")


def test_an_annotation_alone_can_be_refused() -> None:
    world = prepared()
    edit(world, with_adapters("a"))
    before = deployment(world)
    obj = with_adapters("a")
    obj["metadata"]["annotations"] = {kaito.ANNOTATION_RUNTIME: "vllm"}
    edit(world, obj)
    assert deployment(world) == before
    assert said(world, kaito.INFERENCE_READY)[1].endswith("; what was built before still serves")


def test_a_valid_edit_ends_it() -> None:
    world = prepared()
    edit(world, with_adapters("a"))
    edit(world, invalid())
    edit(world, with_adapters("b"))
    assert said(world, kaito.WORKSPACE_SUCCEEDED)[0] == "True"
    assert history(world) == [(1, ["a"]), (2, ["b"])]


def test_without_its_revision_what_serves_is_left_alone() -> None:
    world = prepared()
    edit(world, with_adapters("a"))
    edit(world, invalid())
    (only,) = world.list(CONTROLLER_REVISION)
    world.do(request.delete(CONTROLLER_REVISION, "default", only["metadata"]["name"]))
    before = deployment(world)
    world.settle()
    assert deployment(world) == before
    assert said(world, kaito.INFERENCE_READY)[1].endswith("; generation 1 still serves")


def test_what_the_api_server_refuses_leaves_what_serves_as_it_is() -> None:
    world = prepared()
    edit(world, with_adapters("a"))
    world.apply(kaito.WORKSPACE, with_adapters("b"))

    class Refusing(dict[int, Any]):
        def get(self, number: int, default: Any = None) -> Any:
            asked = world.requests[number]
            is_deployment = asked.method == "PATCH" and "/deployments/" in asked.path
            return "refused" if is_deployment else default

    world.faults = Refusing()
    world.reconcile()
    status, message = said(world, kaito.INFERENCE_READY)
    assert status == "False"
    assert "injected fault" in message
    assert message.endswith("; generation 1 still serves")


# --- groups of pods ----------------------------------------------------------------------------------------


def distributed(*adapters: str) -> Object:
    obj = falcon(count=2, instanceType="Standard_NC96ads_A100_v4")
    options = {"image": "registry.example/llama:1"}
    obj["inference"]["preset"] = {"name": "llama-2-70b", "accessMode": "private", "presetOptions": options}
    if adapters:
        obj["inference"]["adapters"] = [adapter(name) for name in adapters]
    return obj


def group(world: World, revision: str) -> None:
    """The pods of the set, of one template."""
    owner = world.get(STATEFUL_SET, "falcon")
    assert owner is not None
    for number in range(owner["spec"]["replicas"]):
        labels = {"kaito.sh/workspace": "falcon", "controller-revision-hash": revision}
        metadata: Object = {"name": f"falcon-{number}", "namespace": "default", "labels": labels}
        metadata["ownerReferences"] = [owner_reference(owner)]
        spec = {"containers": [{"name": "falcon", "image": "x:1"}]}  # on no node, so that it goes at once
        world.apply(POD, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


def rolled(world: World, revision: str) -> None:
    """The set's controller has seen the newest template, and has replaced nothing yet."""
    owner = world.get(STATEFUL_SET, "falcon")
    assert owner is not None
    world.set_status(
        STATEFUL_SET,
        "falcon",
        {"observedGeneration": generation_of(owner), "updateRevision": revision, "updatedReplicas": 0},
    )


def a_group_to_be_replaced() -> World:
    world = World()
    edit(world, distributed())
    rolled(world, "old")
    group(world, "old")
    world.settle()
    world.apply(kaito.WORKSPACE, distributed("a"))
    return world


def test_outdated_pods_of_a_group_go_together() -> None:
    world = a_group_to_be_replaced()
    world.reconcile()
    assert len(world.list(POD)) == 2, "the set's controller has not seen the new template yet"
    rolled(world, "new")
    world.reconcile()
    assert world.list(POD) == []
    group(world, "new")
    assert writes_of(world, passes=1) == 0
    assert len(world.list(POD)) == 2


def test_a_pod_that_is_gone_already_does_not_keep_the_others() -> None:
    world = a_group_to_be_replaced()
    world.reconcile()
    rolled(world, "new")
    before = {kind: world.list(kind) for kind in WATCHED}
    world.do(request.delete(POD, "default", "falcon-1"))
    world.frozen = before
    world.reconcile()
    assert world.list(POD) == []


def test_below_a_partition_that_somebody_set_pods_stay() -> None:
    world = a_group_to_be_replaced()
    patch = {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 1}}}}
    world.do(request.merge_patch(STATEFUL_SET, "default", "falcon", patch, manager="somebody"))
    world.reconcile()
    rolled(world, "new")
    world.reconcile()
    assert len(world.list(POD)) == 2


def test_a_pod_of_somebody_elses_is_not_deleted() -> None:
    world = a_group_to_be_replaced()
    labels = {"kaito.sh/workspace": "falcon", "controller-revision-hash": "old"}
    metadata = {"name": "debug", "namespace": "default", "labels": labels}
    spec = {"containers": [{"name": "c", "image": "x:1"}]}
    world.apply(POD, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    world.reconcile()
    rolled(world, "new")
    world.reconcile()
    assert [pod["metadata"]["name"] for pod in world.list(POD)] == ["debug"]


# --- every fault at every position -------------------------------------------------------------------------


def life(faults: dict[int, Any]) -> World:
    """Applied, changed, gone back, refused, drifted: what a history has to live through."""
    world = prepared()
    world.faults = faults
    for obj in (with_adapters("a"), with_adapters("b"), with_adapters("a"), invalid()):
        edit(world, obj)
        world.settle()  # a process that died before it wrote is followed by one that looks at everything
    patch = {"spec": {"replicas": 5}}
    world.do(request.merge_patch(DEPLOYMENT, "default", "falcon", patch, manager="somebody"))
    world.settle()
    world.settle()
    return world


def shape(world: World) -> Object:
    made = deployment(world)
    return {
        "history": history(world),
        "deployment": (made["spec"], annotations_of(made)),
        "status": [said(world, kind) for kind in (kaito.RESOURCE_READY, kaito.INFERENCE_READY)],
    }


def test_every_fault_at_every_request_ends_in_the_same_history() -> None:
    reference = life({})
    wanted, length = shape(reference), len(reference.requests)
    assert wanted["history"] == [(2, ["b"]), (3, ["a"])]
    assert wanted["deployment"][0]["replicas"] == 1
    for position in range(length + 2):
        for fault in FAULTS:
            world = life({position: fault})
            assert shape(world) == wanted, f"{fault} at {position}"
            world.faults = {}
            assert writes_of(world) == 0, f"{fault} at {position}"


def test_every_fault_while_a_group_is_replaced_ends_without_an_old_pod() -> None:
    def replaced(faults: dict[int, Any]) -> World:
        world = a_group_to_be_replaced()
        world.faults = {len(world.requests) + position: fault for position, fault in faults.items()}
        for _ in range(4):
            world.reconcile()
            rolled(world, "new")
        return world

    begun = len(a_group_to_be_replaced().requests)
    for position in range(len(replaced({}).requests) - begun):
        for fault in FAULTS:
            world = replaced({position: fault})
            assert world.list(POD) == [], f"{fault} at {position}"
