"""The InferenceSet controller, one reconcile after another: what it makes, changes and deletes."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import pytest
from fleet_world import KEY, SET, WORKSPACE, FleetWorld, adapter, inference_set

from kaitoctl.errors import ApiError
from kaitoctl.kaito import api as kaito
from kaitoctl.kaito.fleet import status as status_
from kaitoctl.kube import request
from kaitoctl.kube.objects import (
    CONTROLLER_REVISION,
    Object,
    annotations_of,
    dig,
    key_of,
    labels_of,
    uid_of,
)
from kaitoctl.kube.request import Request


@pytest.fixture
def world() -> FleetWorld:
    return FleetWorld()


def writes(world: FleetWorld, since: int = 0) -> list[Request]:
    return [asked for asked in world.requests[since:] if asked.is_write]


def changed(obj: Object, **spec: Any) -> Object:
    made = copy.deepcopy(obj)
    made["spec"].update(spec)
    return made


def test_a_set_gets_its_workspaces_and_is_ready_when_they_are(world: FleetWorld) -> None:
    world.apply(inference_set(3))
    world.reconcile()
    assert len(world.workspaces) == 3
    for one in world.workspaces:
        assert labels_of(one)[kaito.LABEL_CREATED_BY_SET] == "phis"
        assert one["metadata"]["generateName"] == "phis-"
        assert one["resource"]["instanceType"] == "Standard_NC24ads_A100_v4"
        (owner,) = one["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == (
            "InferenceSet",
            uid_of(world.the_set),
            True,
        )
    assert world.condition(status_.READY)["message"] == "inferenceset is not ready, 0/3 replicas are ready"
    world.settle()
    assert world.condition(status_.READY)["status"] == "True"
    status = world.the_set["status"]
    assert (status["replicas"], status["readyReplicas"]) == (3, 3)
    assert status["selector"] == "inferenceset.kaito.sh/created-by=phis"


def test_at_rest_nothing_is_asked_and_nothing_written(world: FleetWorld) -> None:
    world.apply(inference_set(3))
    world.settle()
    before = len(world.requests)
    world.now += timedelta(hours=5)
    world.reconcile()
    assert world.requests[before:] == []


def test_the_scale_subresource_scales_up_and_down_by_what_costs_least(world: FleetWorld) -> None:
    world.apply(inference_set(1))
    world.settle()
    scale = f"{SET.path(*KEY)}/scale"
    assert world.do(Request("GET", scale))["status"]["selector"] == "inferenceset.kaito.sh/created-by=phis"
    patch = {"spec": {"replicas": 3}}
    world.do(Request("PATCH", scale, body=patch, content_type="application/merge-patch+json"))
    (first,) = (uid_of(one) for one in world.workspaces)
    world.now += timedelta(minutes=10)
    world.reconcile()
    assert len(world.workspaces) == 3
    world.workspaces_move(most=1)
    unready = {key_of(one).name for one in world.live if not world.is_ready(one)}
    world.apply(inference_set(2))
    world.reconcile()
    gone = unready - {key_of(one).name for one in world.live}
    assert len(gone) == 1, "what is not ready goes first"
    world.settle()
    world.apply(inference_set(1))
    world.settle()
    assert [uid_of(one) for one in world.live] == [first], "then the youngest"
    world.apply(inference_set(0))
    world.settle()
    assert world.live == []
    assert world.condition(status_.READY)["status"] == "True"


def test_a_changed_template_reaches_every_replica_one_after_the_other(world: FleetWorld) -> None:
    world.apply(inference_set(3))
    world.settle()
    uids = {uid_of(one) for one in world.live}
    lowest = [3]
    world.check = lambda asked: lowest.append(world.ready())
    world.apply(inference_set(3, adapters=[adapter("a")]))
    world.settle(at_a_time=1)
    assert {uid_of(one) for one in world.live} == uids, "adapters change in place"
    assert all(one["inference"]["adapters"] == [adapter("a") | {"strength": "1.0"}]
               or one["inference"]["adapters"] == [adapter("a")] for one in world.live)  # fmt: skip
    assert min(lowest) == 2
    assert world.condition(status_.ROLLOUT)["status"] == "True"
    numbers = sorted(one["revision"] for one in world.listed(CONTROLLER_REVISION))
    assert numbers == [1, 2]
    assert {annotations_of(one)["inferenceset.kaito.io/revision"] for one in world.live} == {"2"}


def test_what_cannot_change_in_place_is_replaced(world: FleetWorld) -> None:
    world.apply(inference_set(3))
    world.settle()
    uids = {uid_of(one) for one in world.live}
    lowest = [3]
    world.check = lambda asked: lowest.append(world.ready())
    world.apply(inference_set(3, preset={"name": "phi-4"}))
    world.settle(at_a_time=1)
    assert uids.isdisjoint(uid_of(one) for one in world.live)
    assert {dig(one, "inference", "preset", "name") for one in world.live} == {"phi-4"}
    assert min(lowest) == 2


def rolling(**budget: Any) -> Object:
    return {"type": "RollingUpdate", "rollingUpdate": budget}


@pytest.mark.parametrize("surge", [1, 2, "50%"])
def test_with_a_surge_nobody_is_missing(world: FleetWorld, surge: Any) -> None:
    strategy = rolling(maxUnavailable=0, maxSurge=surge)
    world.apply(changed(inference_set(3), updateStrategy=strategy))
    world.settle()
    counts = [(3, 3)]
    world.check = lambda asked: counts.append((world.ready(), len(world.live)))
    world.apply(changed(inference_set(3, adapters=[adapter("a")]), updateStrategy=strategy))
    world.settle(at_a_time=1)
    assert min(ready for ready, _ in counts) == 3
    assert 4 <= max(live for _, live in counts) <= 3 + (1 if surge == 1 else 2)
    assert len(world.live) == 3
    assert all(one["inference"]["adapters"] for one in world.live)


def test_no_surge_without_room_and_the_status_says_so(world: FleetWorld) -> None:
    strategy = rolling(maxUnavailable=0, maxSurge=1)
    world.apply(changed(inference_set(3), updateStrategy=strategy))
    world.settle()
    world.room = lambda workspace: "no node with free GPUs"
    world.apply(changed(inference_set(3, adapters=[adapter("a")]), updateStrategy=strategy))
    world.settle()
    assert len(world.live) == 3
    found = world.condition(status_.ROLLOUT)
    assert (found["status"], found["reason"]) == ("False", "NoRoom")
    assert "no node with free GPUs" in found["message"]
    world.room = lambda workspace: ""
    world.settle()
    assert world.condition(status_.ROLLOUT)["status"] == "True"


def quota(world: FleetWorld, gpus: int) -> None:
    """A quota of the namespace, all of it used by what there is."""
    hard = {"requests.nvidia.com/gpu": str(gpus)}
    status = {"hard": hard, "used": {"requests.nvidia.com/gpu": str(len(world.live))}}
    metadata = {"name": "team", "namespace": KEY.namespace}
    world.quotas = [{"metadata": metadata, "spec": {"hard": hard}, "status": status}]


def test_no_surge_that_a_quota_forbids_and_the_status_says_which(world: FleetWorld) -> None:
    strategy = rolling(maxUnavailable=0, maxSurge=1)
    world.apply(changed(inference_set(3), updateStrategy=strategy))
    world.settle()
    quota(world, 3)
    names = {key_of(one).name for one in world.live}
    world.apply(changed(inference_set(3, adapters=[adapter("a")]), updateStrategy=strategy))
    world.settle()
    assert {key_of(one).name for one in world.live} == names
    found = world.condition(status_.ROLLOUT)
    assert (found["status"], found["reason"]) == ("False", "NoRoom")
    assert "no replica can be added: quota team has room for none" in found["message"]
    assert world.condition(status_.READY)["status"] == "True"
    before = len(world.requests)
    world.reconcile()
    assert writes(world, before) == [], "it waits without writing"
    quota(world, 4)
    world.settle()
    assert world.condition(status_.ROLLOUT)["status"] == "True"


def test_a_quota_that_forbids_a_surge_leaves_what_may_be_away(world: FleetWorld) -> None:
    strategy = rolling(maxUnavailable=1, maxSurge=1)
    world.apply(changed(inference_set(3), updateStrategy=strategy))
    world.settle()
    quota(world, 3)
    most = [3]
    world.check = lambda asked: most.append(len(world.live))
    world.apply(changed(inference_set(3, adapters=[adapter("a")]), updateStrategy=strategy))
    world.settle(at_a_time=1)
    assert max(most) == 3
    assert all(one["inference"].get("adapters") for one in world.live)
    assert world.condition(status_.ROLLOUT)["status"] == "True"


@pytest.mark.parametrize("away", [0, 1])
def test_a_surge_that_the_server_refuses_is_no_failure_of_the_set(world: FleetWorld, away: int) -> None:
    """Such as by a quota of Workspaces, or by a webhook."""
    strategy = rolling(maxUnavailable=away, maxSurge=1)
    world.apply(changed(inference_set(2), updateStrategy=strategy))
    world.settle()
    send = world.do

    def refusing(asked: Request) -> Object:
        if asked.method == "POST" and asked.path.endswith("/workspaces"):
            raise ApiError(403, "Forbidden", "exceeded quota: count/workspaces.kaito.sh")
        return send(asked)

    world.do = refusing  # type: ignore[method-assign]
    world.apply(changed(inference_set(2, adapters=[adapter("a")]), updateStrategy=strategy))
    for _ in range(8):
        world.reconcile()
        world.workspaces_move()
    assert world.condition(status_.READY)["status"] == "True"
    found = world.condition(status_.ROLLOUT)
    if away:
        assert found["status"] == "True"
    else:
        assert found["reason"] == "NoRoom"
        assert "exceeded quota" in found["message"]


def test_a_name_of_which_nodes_are_left_is_not_used_again(world: FleetWorld) -> None:
    world.apply(inference_set(1))
    world.settle()
    (first,) = (key_of(one) for one in world.live)
    world.is_used = lambda key: key == first
    world.apply(inference_set(0))
    world.settle()
    world.apply(inference_set(2))
    world.settle()
    again = {key_of(one) for one in world.live}
    assert (len(again), first in again) == (2, False)
    world.reconcile()
    assert {key_of(one) for one in world.live} == again


def edit(world: FleetWorld, **metadata: Any) -> Object:
    """Somebody edits the metadata of a replica by hand; returns it as it was."""
    one = world.live[0]
    patch = request.merge_patch(WORKSPACE, *key_of(one), {"metadata": metadata}, manager="user")
    world.do(patch)
    return one


def test_a_replica_without_its_label_gets_it_back(world: FleetWorld) -> None:
    world.apply(inference_set(2))
    world.settle()
    uids = {uid_of(one) for one in world.live}
    edit(world, labels={kaito.LABEL_CREATED_BY_SET: None})
    world.settle()
    assert {uid_of(one) for one in world.live} == uids
    assert all(labels_of(one)[kaito.LABEL_CREATED_BY_SET] == "phis" for one in world.live)
    assert world.condition(status_.READY)["status"] == "True"


@pytest.mark.parametrize("labels", [{}, {kaito.LABEL_CREATED_BY_SET: None}])
def test_an_orphan_keeps_its_name_and_another_takes_its_place(
    world: FleetWorld, labels: dict[str, None]
) -> None:
    world.apply(inference_set(2))
    world.settle()
    orphan = edit(world, ownerReferences=None, labels=labels)
    world.settle()
    assert len(world.live) == 3
    assert uid_of(orphan) in {uid_of(one) for one in world.live}
    assert world.condition(status_.READY)["status"] == "True"
    assert world.the_set["status"]["readyReplicas"] == 2
    world.apply(inference_set(0))
    world.settle()
    assert [uid_of(one) for one in world.live] == [uid_of(orphan)]


def test_an_autoscaler_does_not_end_a_canary(world: FleetWorld) -> None:
    world.apply(inference_set(3))
    world.settle()
    old = {uid_of(one) for one in world.live}
    strategy = rolling(partition=2)
    world.apply(changed(inference_set(3, adapters=[adapter("a")]), updateStrategy=strategy))
    world.settle()
    scale = f"{SET.path(*KEY)}/scale"
    for number in (5, 2):
        patch = {"spec": {"replicas": number}}
        world.do(Request("PATCH", scale, body=patch, content_type="application/merge-patch+json"))
        world.settle()
        assert len(world.live) == number
        assert sum("adapters" not in one["inference"] for one in world.live) == 2
    assert {uid_of(one) for one in world.live} <= old
    assert world.condition(status_.ROLLOUT)["reason"] == "Canary"


def test_a_canary_then_all(world: FleetWorld) -> None:
    world.apply(inference_set(3))
    world.settle()
    new = inference_set(3, adapters=[adapter("a")])
    world.apply(changed(new, updateStrategy=rolling(maxUnavailable=1, partition=2)))
    world.settle()
    assert sum("adapters" in one["inference"] for one in world.live) == 1
    assert world.condition(status_.ROLLOUT)["reason"] == "Canary"
    assert "2 of 3 replicas have an older template" in world.condition(status_.ROLLOUT)["message"]
    world.apply(changed(new, updateStrategy=rolling(maxUnavailable=1)))
    world.settle()
    assert all("adapters" in one["inference"] for one in world.live)


def test_pause_and_resume(world: FleetWorld) -> None:
    world.apply(inference_set(3))
    world.settle()
    new = inference_set(3, adapters=[adapter("a")])
    new["metadata"]["annotations"] = {"kaitoctl.dev/rollout-paused": "true"}
    world.apply(new)
    world.settle()
    assert not any("adapters" in one["inference"] for one in world.live)
    assert world.condition(status_.ROLLOUT)["reason"] == "Paused"
    del new["metadata"]["annotations"]
    world.apply(new)
    world.settle()
    assert all("adapters" in one["inference"] for one in world.live)


def test_a_template_that_fails_stops_at_the_failure_budget_and_undo_brings_it_back(world: FleetWorld) -> None:
    world.apply(inference_set(3))
    world.settle()
    world.broken = lambda one: "adapters" in one["inference"]
    world.apply(inference_set(3, adapters=[adapter("bad")]))
    world.settle()
    assert sum("adapters" in one["inference"] for one in world.live) == 1
    assert world.ready() == 2
    found = world.condition(status_.ROLLOUT)
    assert found["reason"] == "FailureBudgetSpent"
    assert "as it is" in found["message"]
    world.apply(inference_set(3))
    world.settle()
    assert not any("adapters" in one["inference"] for one in world.live)
    assert world.ready() == 3


def test_a_replica_that_never_comes_up_counts_as_failed_when_its_time_is_over(world: FleetWorld) -> None:
    world.apply(inference_set(2))
    world.settle()
    world.apply(inference_set(2, adapters=[adapter("slow")]))
    for _ in range(3):
        world.reconcile()
    assert world.condition(status_.ROLLOUT)["reason"] == "Progressing"
    world.now += timedelta(hours=2)
    world.reconcile()
    assert world.condition(status_.ROLLOUT)["reason"] == "FailureBudgetSpent"
    assert world.ready() == 1


def test_a_label_of_the_template_reaches_all_at_once_and_an_annotation_that_goes_goes(
    world: FleetWorld,
) -> None:
    first = inference_set(3)
    first["spec"]["template"]["metadata"] = {"annotations": {"a/b": "c"}}
    world.apply(first)
    world.settle()
    second = inference_set(3)
    second["spec"]["template"]["metadata"] = {"labels": {"team": "x"}}
    world.apply(second)
    world.settle()
    assert all(labels_of(one)["team"] == "x" for one in world.live)
    assert not any("a/b" in annotations_of(one) for one in world.live)


def test_an_invalid_set_changes_nothing_and_says_why(world: FleetWorld) -> None:
    world.apply(inference_set(2))
    world.settle()
    before = [uid_of(one) for one in world.live]
    bad = inference_set(5, preset={"name": "phi-4"}, adapters=[adapter("A!")])
    world.apply(bad)
    since = len(world.requests)
    world.settle()
    assert [uid_of(one) for one in world.live] == before
    assert {asked.path.rpartition("/")[2] for asked in writes(world, since)} == {"status"}
    found = world.condition(status_.READY)
    assert (found["status"], found["reason"]) == ("False", "inferencesetFailed")


def test_a_workspace_of_somebody_else_with_the_label_is_left_alone(world: FleetWorld) -> None:
    world.apply(inference_set(1))
    world.settle()
    (mine,) = world.live
    foreign = {
        **{key: mine[key] for key in ("apiVersion", "kind", "resource", "inference")},
        "metadata": {"name": "foreign", "namespace": "default", "labels": dict(labels_of(mine))},
    }
    world.do(request.create(WORKSPACE, foreign))
    world.settle()
    assert {key_of(one).name for one in world.live} == {key_of(mine).name, "foreign"}


def test_deletion_takes_the_workspaces_and_then_the_finalizer(world: FleetWorld) -> None:
    world.apply(inference_set(2))
    world.settle()
    assert world.the_set["metadata"]["finalizers"] == [kaito.SET_FINALIZER]
    world.do(request.delete(SET, *KEY))
    world.reconcile()
    assert world.live == []
    assert world.listed(SET) == []


def test_ten_revisions_are_kept(world: FleetWorld) -> None:
    for number in range(14):
        world.apply(inference_set(1, adapters=[adapter(f"a{number}")]))
        world.settle()
    numbers = sorted(one["revision"] for one in world.listed(CONTROLLER_REVISION))
    assert numbers == list(range(5, 15))


def test_workspaces_that_kaito_made_are_taken_as_they_are(world: FleetWorld) -> None:
    """Their names and their missing stamps say nothing: what counts is what they ask for."""
    from kaitoctl.kaito.fleet.replicas import workspace_of

    made = world.apply(inference_set(2))
    for name in ("phis-aaaaa", "phis-bbbbb"):
        world.do(request.create(WORKSPACE, workspace_of({**made, "kind": SET.kind}, name)))
    world.settle()
    assert {key_of(one).name for one in world.live} == {"phis-aaaaa", "phis-bbbbb"}
    assert world.condition(status_.ROLLOUT)["status"] == "True"
