from __future__ import annotations

from typing import Any

from builders import slices_of, workspace

from kaitoctl.kaito.rollout import Phase, Progress, progress, standing
from kaitoctl.kaito.snapshot import Snapshot as SnapshotOf
from kaitoctl.kube.objects import Object


def condition(kind: str, status: str, reason: str = "x", message: str = "", generation: int = 1) -> Object:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
    }


SERVICE: Object = {
    "kind": "Service",
    "metadata": {"name": "falcon"},
    "spec": {"selector": {"kaito.sh/workspace": "falcon"}, "ports": [{"port": 80, "targetPort": 5000}]},
}


def Snapshot(*parts: Any, **more: Any) -> SnapshotOf:  # noqa: N802 - as the class, with the Workspace's Service
    pods = parts[2] if len(parts) > 2 else ()
    return SnapshotOf(*parts, **{"services": (SERVICE,), "slices": slices_of(SERVICE, pods), **more})


def serving(generation: int = 1, **changes: Any) -> Object:
    return workspace(
        generation=generation,
        status={"conditions": [condition("InferenceReady", "True"), condition("ResourceReady", "True")]},
        **changes,
    )


def deployment(*, ready: int = 1, updated: int = 1, owner_generation: str | None = "1") -> Object:
    annotations = {"kaitoctl.dev/owner-generation": owner_generation} if owner_generation else {}
    return {
        "kind": "Deployment",
        "metadata": {"name": "falcon", "generation": 1, "annotations": annotations},
        "spec": {"replicas": 1},
        "status": {
            "observedGeneration": 1,
            "replicas": 1,
            "updatedReplicas": updated,
            "readyReplicas": ready,
        },
    }


def a_pod(state: Object | None = None, *, inits: tuple[Object, ...] = (), bound: bool = True) -> Object:
    return {
        "metadata": {
            "name": "falcon-1",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"kaito.sh/workspace": "falcon"},
        },
        "spec": {"initContainers": [{"name": f"i{n}"} for n in range(len(inits))]}
        | ({"nodeName": "gpu-a"} if bound else {}),
        "status": {
            "phase": "Pending",
            "containerStatuses": [{"name": "falcon", "state": state}] if state else [],
            "initContainerStatuses": [{"name": f"i{n}", "state": item} for n, item in enumerate(inits)],
        },
    }


def ready_pod() -> Object:
    pod = a_pod({"running": {"startedAt": "t"}})
    pod["status"] |= {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    return pod


def phase(pod: Object) -> Phase:
    adapted = {"preset": {"name": "falcon-7b"}, "adapters": [{"source": {"name": "i0", "image": "r/x:1"}}]}
    return progress(Snapshot(workspace(inference=adapted), (deployment(ready=0),), (pod,))).phase


def test_a_workspace_without_status_waits_for_a_controller() -> None:
    assert progress(Snapshot(workspace())).phase is Phase.SUBMITTED


def test_what_a_detail_says_itself_is_not_said_twice() -> None:
    why = "generation 2 is refused: resource.count: is immutable (1 -> 2)"
    assert standing("refused", why) == why
    assert standing("refused", "no such preset") == "refused: no such preset"
    assert standing("ready", "") == "ready"
    assert standing("ready", "1 pod", " - ") == "ready - 1 pod"


def test_a_refused_generation_waits_for_nothing() -> None:
    why = "generation 2 is refused: resource.count: is immutable (1 -> 2); generation 1 still serves"
    told = [
        condition("ResourceReady", "False", "workspaceResourceStatusFailed", why),
        condition("InferenceReady", "False", "WorkspaceInferenceStatusFailed", why),
        condition("WorkspaceSucceeded", "False", "workspaceFailed", why),
    ]
    refused = workspace(status={"conditions": told})
    found = progress(Snapshot(refused, [deployment()], [ready_pod()]))
    assert (found.phase, found.outcome, found.detail) == (Phase.REFUSED, "failed", why)
    assert found.phase.failed_words == "refused"
    crashing = a_pod({"waiting": {"reason": "CreateContainerConfigError", "message": "no Secret"}})
    assert progress(Snapshot(refused, [deployment()], [crashing])).detail == why, "it is a pod of before"
    pending = condition("InferenceReady", "False", "WorkspaceInferenceStatusPending", "waiting for nodes")
    without_nodes = workspace(status={"conditions": [told[0], pending, told[2]]})
    assert progress(Snapshot(without_nodes)).phase is Phase.NODES


def test_the_stations_of_a_pod() -> None:
    creating: Object = {"waiting": {"reason": "ContainerCreating"}}
    done: Object = {"terminated": {"exitCode": 0}}
    assert phase(a_pod(bound=False)) is Phase.SCHEDULING
    assert phase(a_pod(creating, inits=({"running": {"x": 1}},))) is Phase.ADAPTERS
    assert phase(a_pod(creating, inits=(done,))) is Phase.PULLING
    assert phase(a_pod({"running": {"startedAt": "t"}})) is Phase.LOADING


def test_a_server_that_has_crashed_had_its_image() -> None:
    crashing = a_pod({"waiting": {"reason": "CrashLoopBackOff"}})
    item = crashing["status"]["containerStatuses"][0]
    item["lastState"] = {"terminated": {"exitCode": 1}}
    assert phase(crashing) is Phase.LOADING
    item |= {"lastState": {}, "restartCount": 1}
    assert phase(crashing) is Phase.LOADING
    assert phase(a_pod({"terminated": {"exitCode": 1}})) is Phase.LOADING
    assert phase(a_pod({"waiting": {"reason": "ErrImagePull"}})) is Phase.PULLING


def test_ready_needs_the_conditions_and_the_pods() -> None:
    pod = ready_pod()
    assert progress(Snapshot(serving(), (deployment(),), (pod,))).outcome == "ready"
    assert progress(Snapshot(serving(), (deployment(ready=0),), (pod,))).outcome is None
    assert progress(Snapshot(workspace(), (deployment(),), (pod,))).outcome is None


def test_conditions_of_an_older_generation_do_not_count() -> None:
    assert progress(Snapshot(serving(generation=2), (deployment(),), ())).outcome is None
    stale = Snapshot(serving(), (deployment(owner_generation="0"),), ())
    assert progress(stale).outcome is None


def test_workloads_of_other_controllers_are_taken_as_they_are() -> None:
    made = (deployment(owner_generation=None),)
    assert progress(Snapshot(serving(), made, (ready_pod(),))).outcome == "ready"


def test_a_pull_that_was_given_up_fails_the_rollout_and_names_the_container() -> None:
    pod = a_pod({"waiting": {"reason": "ImagePullBackOff", "message": "not found"}})
    end = progress(Snapshot(workspace(), (deployment(ready=0),), (pod,)))
    assert end.outcome == "failed"
    assert "falcon-1: ImagePullBackOff: container falcon: not found" in end.detail


def test_a_terminating_pod_of_the_past_fails_nothing() -> None:
    old = a_pod({"waiting": {"reason": "CrashLoopBackOff"}})
    old["metadata"]["deletionTimestamp"] = "2026-01-01T00:01:00Z"
    assert progress(Snapshot(workspace(), (deployment(ready=0),), (old,))).outcome is None


def test_the_broken_pod_of_the_past_does_not_fail_its_cure() -> None:
    broken = a_pod({"waiting": {"reason": "CrashLoopBackOff"}})
    cured = workspace(generation=2)
    not_yet = Snapshot(cured, (deployment(ready=0, owner_generation="1"),), (broken,))
    assert progress(not_yet).outcome is None
    taken_up = Snapshot(cured, (deployment(ready=0, updated=0, owner_generation="2"),), (broken,))
    assert progress(taken_up).outcome is None


def test_an_evicted_pod_is_replaced_and_fails_nothing() -> None:
    evicted = a_pod()
    evicted["status"] = {"phase": "Failed", "reason": "Evicted", "message": "disk pressure"}
    assert progress(Snapshot(workspace(), (deployment(ready=0),), (evicted,))).outcome is None


def test_upstreams_revision_stands_in_for_a_generation_that_it_does_not_note() -> None:
    ws = serving(generation=2, metadata={"annotations": {"workspace.kaito.io/revision": "2"}})
    workload = deployment(owner_generation=None)
    assert progress(Snapshot(ws, (workload,), (ready_pod(),))).outcome is None
    workload["metadata"]["annotations"] = {"workspace.kaito.io/revision": "2"}
    assert progress(Snapshot(ws, (workload,), (ready_pod(),))).outcome == "ready"


def test_a_tuning_job_is_done_when_the_controller_says_so() -> None:
    done = {"conditions": [condition("WorkspaceSucceeded", "True")]}
    assert progress(Snapshot(workspace(tuning={"method": "lora"}, status=done))).outcome == "ready"


def tuning_pod(state: Object | None, *, init: Object | None = None, reason: str = "x") -> Progress:
    """How far tuning is, with one pod whose containers are in the given states."""
    pod = a_pod(state, inits=(init or {"terminated": {"exitCode": 0}},))
    started = {"conditions": [condition("JobStarted", "False", reason)]}
    return progress(Snapshot(workspace(tuning={"method": "lora"}, status=started), (), (pod,)))


def test_the_stations_of_tuning_follow_each_other() -> None:
    waiting: Object = {"waiting": {"reason": "PodInitializing"}}
    assert tuning_pod(waiting, init={"running": {"x": 1}}).phase is Phase.DATA
    assert tuning_pod(waiting).phase is Phase.PULLING
    assert tuning_pod({"running": {"startedAt": "t"}}).phase is Phase.TUNING
    done = tuning_pod({"terminated": {"exitCode": 0}})
    assert (done.phase, done.detail) == (Phase.TUNING, "pushing the adapter")


def test_a_tuning_pod_that_has_failed_ends_the_rollout() -> None:
    end = tuning_pod({"terminated": {"exitCode": 1, "reason": "Error"}})
    assert end.outcome == "failed"
    assert "container falcon: Error, exit code 1" in end.detail


def test_the_pod_of_a_job_that_is_being_replaced_says_nothing_of_the_next() -> None:
    broken: Object = {"terminated": {"exitCode": 1, "reason": "Error"}}
    now = tuning_pod(broken, reason="WorkspaceTuningJobReplacePending")
    assert now.outcome is None


def test_a_claim_of_the_past_fails_nothing() -> None:
    launched = condition("Launched", "False", message="no capacity")
    claim: Object = {"metadata": {"name": "ws1"}, "status": {"conditions": [launched]}}
    assert progress(Snapshot(workspace(), claims=(claim,))).outcome == "failed"
    claim["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert progress(Snapshot(workspace(), claims=(claim,))).outcome is None


def test_what_the_controller_gave_up_fails_with_its_words() -> None:
    given_up = condition("WorkspaceSucceeded", "False", "workspaceFailed", "no such nodes")
    end = progress(Snapshot(workspace(status={"conditions": [given_up]})))
    assert (end.outcome, end.detail) == ("failed", "no such nodes")
    old = Snapshot(workspace(generation=2, status={"conditions": [given_up]}))
    assert progress(old).outcome is None


def test_a_deleted_workspace_ends_the_waiting() -> None:
    assert progress(Snapshot(None)).outcome == "failed"
