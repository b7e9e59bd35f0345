"""A model on several nodes is asked at its first pod: the others are ready, whether or not it answers."""

from __future__ import annotations

import copy
from typing import Any

from trouble import World

from kaitoctl.advice import text
from kaitoctl.kaito.serving import serving

FIRST = "statefulset.kubernetes.io/pod-name"
LABELS = {"kaito.sh/workspace": "falcon"}


def world(first: dict[str, Any], second: dict[str, Any]) -> World:
    """A Workspace with a StatefulSet of two pods, whose containers have these states."""
    made = World("start-error").without("Event", "ReplicaSet")
    workload = made["Deployment"]
    workload.update(kind="StatefulSet")
    workload["spec"].update(replicas=2, serviceName="falcon-headless")
    workload["status"] = {"replicas": 2, "updatedReplicas": 2, "observedGeneration": 1}
    made["Service"]["spec"]["selector"] = {**LABELS, FIRST: "falcon-0"}
    other = copy.deepcopy(made["Service"])
    other["metadata"].update(name="falcon-headless", uid="headless")
    pod = made["Pod"]
    made.without("Pod").objects.append(other)
    for index, state in enumerate((first, second)):
        one = copy.deepcopy(pod)
        name = f"falcon-{index}"
        one["metadata"].update(name=name, uid=name, labels={**LABELS, FIRST: name})
        one["metadata"]["ownerReferences"] = [
            {"kind": "StatefulSet", "name": "falcon", "uid": workload["metadata"]["uid"], "controller": True}
        ]
        is_ready = bool(state.get("ready"))
        item = one["status"]["containerStatuses"][0]
        item.update({"ready": is_ready, "lastState": {}, "restartCount": 0, "state": {}, **state})
        ready = {"type": "Ready", "status": str(is_ready)}
        kept = [each for each in one["status"]["conditions"] if each["type"] != "Ready"]
        one["status"].update(phase="Running", conditions=[*kept, ready])
        made.objects.append(one)
    return made


ENDED = {
    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}},
    "restartCount": 4,
}
RUNS = {"state": {"running": {"startedAt": "2026-11-28T16:00:00Z"}}, "ready": True}


def test_the_service_of_the_first_pod_is_not_widened_to_those_that_do_not_answer() -> None:
    found = world(ENDED, RUNS)
    assert serving(found.seen()).gap == "pods"
    advice = [text(cause.command) for cause in found.diagnosis().causes]
    assert not [command for command in advice if "selector" in command]


def test_lists_which_keep_little_of_a_workload_tell_the_same() -> None:
    found = world(ENDED, RUNS)
    found["StatefulSet"]["spec"] = {"replicas": 2}
    assert serving(found.seen()).gap == "pods"


def test_a_first_pod_that_is_ready_is_asked_alone() -> None:
    assert serving(world(RUNS, {"state": {"waiting": {"reason": "ContainerCreating"}}}).seen()).gap != "pods"


def test_a_selector_that_was_edited_is_given_the_first_pod_again() -> None:
    found = world(RUNS, RUNS)
    found["Service"]["spec"]["selector"] = {**LABELS, "version": "2"}
    cause = found.cause()
    assert cause.code == "no-endpoints"
    assert text(cause.command) == (
        f"kubectl set selector service falcon -n default kaito.sh/workspace=falcon,{FIRST}=falcon-0"
    )


def test_a_headless_service_that_is_missing_is_named() -> None:
    found = world(ENDED, RUNS)
    assert found.cause().about.startswith("Pod ")
    found.objects = [item for item in found.objects if item["metadata"]["name"] != "falcon-headless"]
    cause = found.cause()
    assert (cause.code, cause.about) == ("gpus-disconnected", "Service falcon-headless")
    assert found.cause(unseen={"services": "forbidden"}).about.startswith("Pod ")
    found["StatefulSet"]["spec"]["replicas"] = 1
    assert found.cause().about.startswith("Pod ")
