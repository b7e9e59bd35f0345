"""The Workspace reconciler on the sandbox's API without sockets: what it writes, and what it never does."""

from __future__ import annotations

from typing import Any

import pytest
from builders import workspace
from world import (
    NOW,
    WATCHED,
    World,
    big,
    falcon,
    is_ready,
    node_status,
    our_pod,
    prepared,
    writes,
)

from kaitoctl.kaito import api as kaito
from kaitoctl.kaito.desired import Settings
from kaitoctl.kaito.node_claims import node_claim
from kaitoctl.kube import conditions, request
from kaitoctl.kube.objects import (
    DEPLOYMENT,
    EVENT,
    NODE,
    NODE_CLAIM,
    POD,
    SERVICE,
    STATEFUL_SET,
    Object,
    ObjectKey,
    key_of,
    uid_of,
)
from kaitoctl.reconcile.store import store_of
from kaitoctl.workspace_controller import WorkspaceReconciler
from kaitoctl.workspace_controller.mappers import keys_by_child_name


def events(world: World) -> list[tuple[str, str]]:
    """Type and reason of all Events about the Workspace."""
    found = [item for item in world.list(EVENT) if item["involvedObject"]["kind"] == "Workspace"]
    return [(item["type"], item["reason"]) for item in found]


def test_to_ready_on_a_prepared_node_takes_the_five_writes_that_it_must() -> None:
    world = prepared()
    world.apply(kaito.WORKSPACE, falcon())
    world.settle()
    assert is_ready(world)
    assert writes(world) == [
        "POST default/controllerrevisions",
        "PATCH services/falcon",
        "PATCH deployments/falcon",
        "PATCH falcon/status",
        "PATCH falcon/status",
    ]


@pytest.mark.parametrize("ending", ["", "-headless", "-tuning-config", "-inference-config", "-strengths"])
def test_who_has_the_name_of_a_child_is_news_to_the_workspace(ending: str) -> None:
    ws = workspace("falcon")
    stranger = {"metadata": {"name": f"falcon{ending}", "namespace": key_of(ws).namespace}}
    assert list(keys_by_child_name(stranger, store_of({key_of(ws): ws}))) == [key_of(ws)]


def test_each_step_is_an_event_once() -> None:
    world = prepared()
    world.apply(kaito.WORKSPACE, falcon())
    world.settle()
    assert sorted(events(world)) == [
        ("Normal", "WorkspaceInferenceStatusSuccess"),
        ("Normal", "workspaceResourceStatusSuccess"),
    ]


def test_at_rest_nothing_is_written() -> None:
    world = prepared()
    world.apply(kaito.WORKSPACE, falcon())
    world.settle()
    before = len(world.requests)
    for _ in range(10):
        world.reconcile()
    assert len(world.requests) == before


def test_missing_nodes_are_asked_for_once_each() -> None:
    world = World()
    world.apply(kaito.WORKSPACE, falcon(count=2))
    world.settle()
    assert len(world.list(NODE_CLAIM)) == 2
    found = world.get(kaito.WORKSPACE, "falcon")
    assert found is not None
    assert len(found["status"]["workerNodes"]) == 2
    assert found["metadata"]["finalizers"] == [kaito.FINALIZER]


def test_deletion_takes_the_claims_away_first_and_keeps_other_finalizers() -> None:
    world = World()
    obj = falcon()
    obj["metadata"]["finalizers"] = ["example.com/other"]
    world.apply(kaito.WORKSPACE, obj)
    world.settle()
    world.do(request.delete(kaito.WORKSPACE, "default", "falcon"))
    world.settle()
    assert world.list(NODE_CLAIM) == []
    left = world.get(kaito.WORKSPACE, "falcon")
    assert left is not None
    assert left["metadata"]["finalizers"] == ["example.com/other"]
    assert conditions.is_true(left, kaito.WORKSPACE_DELETING)


def test_deletion_leaves_nothing_behind() -> None:
    world = World()
    world.apply(kaito.WORKSPACE, falcon())
    world.settle()
    world.do(request.delete(kaito.WORKSPACE, "default", "falcon"))
    world.settle()
    for kind in (kaito.WORKSPACE, NODE_CLAIM, DEPLOYMENT, SERVICE):
        assert world.list(kind) == []


def test_a_new_incarnation_does_not_take_the_children_of_the_old_one() -> None:
    world = prepared()
    old = world.apply(kaito.WORKSPACE, falcon())
    world.settle()
    world.do(request.delete(kaito.WORKSPACE, "default", "falcon", propagation="Orphan"))
    left = world.get(DEPLOYMENT, "falcon")
    assert left is not None, "orphaned, not deleted"
    new = world.apply(kaito.WORKSPACE, falcon())
    assert uid_of(new) != uid_of(old)
    world.settle()
    assert world.get(DEPLOYMENT, "falcon") == left
    assert not is_ready(world)


@pytest.mark.parametrize("kind", [DEPLOYMENT, SERVICE])
def test_foreign_objects_of_our_name_are_not_touched(kind: Any) -> None:
    world = prepared()
    spec: Object = {
        "selector": {"matchLabels": {"app": "x"}},
        "template": {
            "metadata": {"labels": {"app": "x"}},
            "spec": {"containers": [{"name": "x", "image": "x:1"}]},
        },
    }
    if kind is SERVICE:
        spec = {"selector": {"app": "x"}, "ports": [{"port": 1}]}
    obj = {"apiVersion": kind.api_version, "kind": kind.kind, "spec": spec}
    foreign = world.apply(kind, {**obj, "metadata": {"name": "falcon", "namespace": "default"}})
    world.apply(kaito.WORKSPACE, falcon())
    world.reconcile()
    world.reconcile()
    assert world.get(kind, "falcon") == {**obj, **foreign}
    found = world.get(kaito.WORKSPACE, "falcon")
    assert found is not None
    condition = conditions.find(found, kaito.INFERENCE_READY)
    assert condition is not None
    assert condition["reason"] == "NameConflict"


def test_a_changed_field_of_a_child_is_put_back_and_a_foreign_field_is_kept() -> None:
    world = prepared()
    world.apply(kaito.WORKSPACE, falcon())
    world.settle()
    patch = {"metadata": {"annotations": {"team": "a"}}, "spec": {"replicas": 5}}
    world.do(request.merge_patch(DEPLOYMENT, "default", "falcon", patch, manager="somebody"))
    world.settle()
    deployment = world.get(DEPLOYMENT, "falcon")
    assert deployment is not None
    assert deployment["spec"]["replicas"] == 1
    assert deployment["metadata"]["annotations"]["team"] == "a"


def test_a_removed_adapter_leaves_the_pods() -> None:
    world = prepared()
    adapter = {"source": {"name": "style", "image": "r.io/style:1"}, "strength": "0.5"}
    obj = falcon()
    obj["inference"]["adapters"] = [adapter]
    world.apply(kaito.WORKSPACE, obj)
    world.settle()
    world.apply(kaito.WORKSPACE, falcon())
    world.settle()
    deployment = world.get(DEPLOYMENT, "falcon")
    assert deployment is not None
    pod = deployment["spec"]["template"]["spec"]
    assert "initContainers" not in pod
    assert "env" not in pod["containers"][0]
    assert is_ready(world)


def test_an_old_view_of_the_workspace_does_not_roll_its_children_back() -> None:
    world = prepared()
    world.apply(kaito.WORKSPACE, falcon())
    world.settle()
    old = {kind: world.list(kind) for kind in WATCHED}
    obj = falcon()
    obj["inference"]["adapters"] = [{"source": {"name": "a", "image": "r.io/a:1"}, "strength": "1.0"}]
    world.apply(kaito.WORKSPACE, obj)
    world.settle()
    after = world.get(DEPLOYMENT, "falcon")
    world.frozen = {**{kind: world.list(kind) for kind in WATCHED}, kaito.WORKSPACE: old[kaito.WORKSPACE]}
    before = len(world.requests)
    world.reconcile()
    assert not any(asked.is_write for asked in world.requests[before:])
    assert world.get(DEPLOYMENT, "falcon") == after


def test_a_stamp_of_a_generation_that_never_was_does_not_stop_the_controller() -> None:
    world = prepared()
    world.apply(kaito.WORKSPACE, falcon())
    world.settle()
    patch = {"metadata": {"annotations": {"kaitoctl.dev/owner-generation": "99"}}, "spec": {"replicas": 0}}
    world.do(request.merge_patch(DEPLOYMENT, "default", "falcon", patch, manager="somebody"))
    world.settle()
    deployment = world.get(DEPLOYMENT, "falcon")
    assert deployment is not None
    assert deployment["spec"]["replicas"] == 1


def test_a_claim_that_the_store_has_not_seen_keeps_the_finalizer() -> None:
    world = World()
    world.apply(kaito.WORKSPACE, falcon())
    world.settle()
    world.do(request.delete(kaito.WORKSPACE, "default", "falcon"))
    world.frozen = {**{kind: world.list(kind) for kind in WATCHED}, NODE_CLAIM: []}
    world.reconcile()
    assert world.list(NODE_CLAIM) == [], "found on the server, and deleted"
    assert world.get(kaito.WORKSPACE, "falcon") is not None
    world.frozen = None
    world.settle()
    assert world.get(kaito.WORKSPACE, "falcon") is None


@pytest.mark.parametrize("what", ["cordon", "not-ready", "no-gpus"])
def test_a_node_that_stumbles_under_our_pods_is_not_replaced(what: str) -> None:
    world = World()
    world.apply(kaito.WORKSPACE, falcon())
    world.settle()
    (node,) = world.list(NODE)
    name = node["metadata"]["name"]
    world.apply(POD, our_pod(name))
    if what == "cordon":
        patch = {"spec": {"unschedulable": True}}
        world.do(request.merge_patch(NODE, "", name, patch, manager="admin"))
    else:
        status = node_status("0" if what == "no-gpus" else "2")
        if what == "not-ready":
            status["conditions"][0]["status"] = "False"
        world.set_status(NODE, name, status)
    world.settle()
    assert len(world.list(NODE_CLAIM)) == 1
    found = world.get(kaito.WORKSPACE, "falcon")
    assert found is not None
    assert conditions.find(found, kaito.RESOURCE_READY)["status"] == "False"  # type: ignore[index]
    succeeded = conditions.find(found, kaito.WORKSPACE_SUCCEEDED)
    assert succeeded is not None
    assert succeeded["reason"] == "workspacePending", "what still serves has not failed"


def test_gpus_that_a_strangers_pod_holds_are_not_free() -> None:
    world = prepared()
    stranger = our_pod("gpu-a")
    stranger["metadata"] = {"name": "training", "namespace": "default"}
    world.apply(POD, stranger)
    world.apply(kaito.WORKSPACE, falcon(preferredNodes=["gpu-a"]))
    world.settle()
    found = world.get(kaito.WORKSPACE, "falcon")
    assert found is not None
    assert "0 of 2 GPUs" in str(conditions.find(found, kaito.RESOURCE_READY))
    assert world.list(DEPLOYMENT) == []


def test_a_name_conflict_is_seen_before_a_node_is_bought() -> None:
    world = World()
    spec = {"selector": {"app": "x"}, "ports": [{"port": 1}]}
    metadata = {"name": "falcon", "namespace": "default"}
    world.apply(SERVICE, {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    world.apply(kaito.WORKSPACE, falcon())
    world.settle()
    assert world.list(NODE_CLAIM) == []


def test_a_foreign_object_that_the_store_has_not_seen_is_not_adopted() -> None:
    world = prepared()
    world.apply(kaito.WORKSPACE, falcon())
    before = {kind: world.list(kind) for kind in WATCHED}
    metadata = {"name": "falcon", "namespace": "default"}
    obj = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 80}]}}
    foreign = world.apply(SERVICE, obj)
    world.frozen = before
    world.reconcile()
    assert world.get(SERVICE, "falcon") == {"apiVersion": "v1", "kind": "Service", **foreign}


def test_a_claim_that_vanishes_is_asked_for_again_with_patience() -> None:
    world = World()
    world.apply(kaito.WORKSPACE, falcon())
    creations = 0
    for _ in range(5):  # each time by another process
        reconciler = WorkspaceReconciler(world.stores(), Settings(), clock=lambda: NOW)
        outcome = world.drive(reconciler.reconcile(ObjectKey("default", "falcon")))
        for claim in world.list(NODE_CLAIM):
            creations += 1
            world.do(request.delete(NODE_CLAIM, "", claim["metadata"]["name"]))
    assert creations == 1
    assert outcome is not None
    assert outcome.requeue_after_s == 30.0
    found = world.get(kaito.WORKSPACE, "falcon")
    assert found is not None
    assert "has vanished" in str(conditions.find(found, kaito.NODE_CLAIM_READY))


@pytest.mark.parametrize(
    "change",
    [
        {"count": 1},
        {"count": 2, "instanceType": "Standard_NC24s_v3"},
        {"count": 2, "labelSelector": {"matchLabels": {"apps": "other"}}},
    ],
)
def test_nodes_that_a_workspace_has_outgrown_are_given_back(change: dict[str, Any]) -> None:
    world = World(runs_pods=True)
    world.apply(kaito.WORKSPACE, falcon(count=2))
    world.settle()
    assert len(world.list(NODE_CLAIM)) == 2
    world.forget_history()
    world.apply(kaito.WORKSPACE, falcon(**change))
    world.settle()
    assert len(world.list(NODE_CLAIM)) == change["count"]
    assert is_ready(world)


def test_nodes_that_cannot_be_created_for_the_selector_are_not_bought() -> None:
    world = World()
    expression = {"key": "zone", "operator": "NotIn", "values": ["a"]}
    selector = {"matchLabels": {"apps": "x"}, "matchExpressions": [expression]}
    world.apply(kaito.WORKSPACE, falcon(labelSelector=selector))
    world.settle()
    assert world.list(NODE_CLAIM) == []
    found = world.get(kaito.WORKSPACE, "falcon")
    assert found is not None
    assert "cannot be said with labels" in str(conditions.find(found, kaito.RESOURCE_READY))


def test_an_aws_type_asks_for_an_ec2_node() -> None:
    claim = node_claim(workspace(resource={"instanceType": "g5.xlarge"}), "ws1", Settings())
    assert claim["spec"]["nodeClassRef"]["kind"] == "EC2NodeClass"
    keys = [item["key"] for item in claim["spec"]["requirements"]]
    assert "karpenter.azure.com/sku-name" not in keys


def test_a_pair_that_somebody_adds_to_the_services_selector_is_removed() -> None:
    world = prepared()
    world.apply(kaito.WORKSPACE, falcon())
    world.settle()
    patch = {"spec": {"selector": {"version": "blue"}}}
    world.do(request.merge_patch(SERVICE, "default", "falcon", patch, manager="somebody"))
    world.settle()
    service = world.get(SERVICE, "falcon")
    assert service is not None
    assert service["spec"]["selector"] == {"kaito.sh/workspace": "falcon"}


def test_worker_nodes_that_somebody_else_wrote_go_away() -> None:
    world = World()
    world.apply(kaito.WORKSPACE, falcon(preferredNodes=["nope"]))
    world.set_status(kaito.WORKSPACE, "falcon", {"workerNodes": ["old-node"]})
    world.settle()
    found = world.get(kaito.WORKSPACE, "falcon")
    assert found is not None
    assert found["status"]["workerNodes"] == []


def test_an_invalid_workspace_costs_nothing_and_says_why() -> None:
    world = prepared()
    obj = falcon()
    obj["inference"]["preset"]["name"] = "no-such-model"
    world.apply(kaito.WORKSPACE, obj)
    world.settle()
    assert writes(world) == ["PATCH falcon/status"]
    found = world.get(kaito.WORKSPACE, "falcon")
    assert found is not None
    assert "no-such-model" in str(conditions.find(found, kaito.WORKSPACE_SUCCEEDED))


def test_a_distributed_model_becomes_a_stateful_set_with_two_services() -> None:
    world = World()
    world.apply(kaito.WORKSPACE, big())
    world.settle()
    assert is_ready(world)
    assert [obj["metadata"]["name"] for obj in world.list(STATEFUL_SET)] == ["falcon"]
    assert [obj["metadata"]["name"] for obj in world.list(SERVICE)] == ["falcon", "falcon-headless"]
    assert world.list(DEPLOYMENT) == []


def test_a_lost_headless_service_comes_back() -> None:
    world = World()
    world.apply(kaito.WORKSPACE, big())
    world.settle()
    world.do(request.delete(SERVICE, "default", "falcon-headless"))
    world.settle()
    assert world.get(SERVICE, "falcon-headless") is not None


def test_adapters_reach_a_stateful_set_too() -> None:
    world = World()
    world.apply(kaito.WORKSPACE, big())
    world.settle()
    obj = big()
    obj["inference"]["adapters"] = [{"source": {"name": "a", "image": "r.io/a:1"}, "strength": "1.0"}]
    world.apply(kaito.WORKSPACE, obj)
    world.settle()
    workload = world.get(STATEFUL_SET, "falcon")
    assert workload is not None
    assert workload["spec"]["template"]["spec"]["initContainers"][0]["name"] == "a"


def test_an_impossible_combination_buys_no_node() -> None:
    world = World()
    world.apply(kaito.WORKSPACE, big(count=3))
    world.settle()
    assert world.list(NODE_CLAIM) == []
    found = world.get(kaito.WORKSPACE, "falcon")
    assert found is not None
    assert "cannot share equally" in str(conditions.find(found, kaito.WORKSPACE_SUCCEEDED))


def test_a_count_of_millions_is_refused_at_once() -> None:
    world = World()
    world.apply(kaito.WORKSPACE, falcon(count=10**9))
    world.settle()
    assert world.list(NODE_CLAIM) == []
    found = world.get(kaito.WORKSPACE, "falcon")
    assert found is not None
    assert "more than the 64 nodes a Workspace may have" in str(
        conditions.find(found, kaito.WORKSPACE_SUCCEEDED)
    )


def test_an_edited_template_reaches_the_pods() -> None:
    world = prepared()
    obj = falcon()
    container = {"name": "server", "image": "r.io/x:1", "ports": [{"containerPort": 8080}]}
    obj["inference"] = {"template": {"spec": {"containers": [container]}}}
    world.apply(kaito.WORKSPACE, obj)
    world.settle()
    assert is_ready(world)
    container["image"] = "r.io/x:2"
    world.apply(kaito.WORKSPACE, obj)
    world.settle()
    deployment = world.get(DEPLOYMENT, "falcon")
    assert deployment is not None
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "r.io/x:2"
    before = len(world.requests)
    world.reconcile()
    assert len(world.requests) == before
