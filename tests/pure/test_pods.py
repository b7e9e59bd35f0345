from __future__ import annotations

import json
from typing import Any

import pytest
from builders import pod

from kaitoctl.kube import partial_decoding, pod_state
from kaitoctl.kube.objects import Object


def with_containers(*states: Object, inits: tuple[Object, ...] = ()) -> Object:
    obj = pod(node_name="n")
    obj["spec"]["initContainers"] = [{"name": f"i{n}"} for n in range(len(inits))]
    obj["status"]["containerStatuses"] = [{"name": f"c{n}", "state": state} for n, state in enumerate(states)]
    obj["status"]["initContainerStatuses"] = [
        {"name": f"i{n}", "state": state} for n, state in enumerate(inits)
    ]
    return obj


DONE: Object = {"terminated": {"exitCode": 0, "reason": "Completed"}}
RUNNING: Object = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
BACK_OFF: Object = {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image x"}}
STARTING: Object = {"waiting": {"reason": "PodInitializing"}}


@pytest.mark.parametrize(
    ("obj", "words"),
    [
        (with_containers(RUNNING), "Running"),
        (with_containers(BACK_OFF), "ImagePullBackOff"),
        (with_containers(STARTING, inits=(DONE, RUNNING)), "Init:1/2"),
        (with_containers(STARTING, inits=(BACK_OFF,)), "Init:ImagePullBackOff"),
        (with_containers(STARTING, inits=(DONE,)), "PodInitializing"),
    ],
)
def test_the_summary_is_what_kubectl_prints(obj: Object, words: str) -> None:
    assert pod_state.summary(obj) == words


def with_sidecar(*, started: bool, main: Object, then: tuple[Object, ...] = ()) -> Object:
    obj = with_containers(main, inits=(RUNNING, *then))
    obj["spec"]["initContainers"][0]["restartPolicy"] = "Always"
    obj["status"]["initContainerStatuses"][0]["started"] = started
    return obj


@pytest.mark.parametrize(
    ("obj", "words", "at"),
    [
        (with_sidecar(started=True, main=RUNNING), "Running", None),  # as with Istio's or Linkerd's proxy
        (with_sidecar(started=True, main=BACK_OFF), "ImagePullBackOff", None),
        (with_sidecar(started=False, main=STARTING), "Init:0/1", "i0"),
        (with_sidecar(started=True, main=STARTING, then=(RUNNING,)), "Init:1/2", "i1"),
    ],
)
def test_a_sidecar_that_has_started_is_passed(obj: Object, words: str, at: str | None) -> None:
    assert pod_state.summary(obj) == words
    assert (pod_state.next_init(obj) or {}).get("name") == at


def test_trouble_names_the_container_and_whether_waiting_helps() -> None:
    found = pod_state.trouble(with_containers(STARTING, inits=(BACK_OFF,)))
    assert found is not None
    assert (found.container, found.reason, found.hopeless) == ("i0", "ImagePullBackOff", True)


def test_a_pod_on_its_way_is_in_no_trouble() -> None:
    assert pod_state.trouble(with_containers(STARTING, inits=(RUNNING,))) is None


def test_an_unscheduled_pod_says_why() -> None:
    obj = pod()
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    obj["status"] = {"phase": "Pending", "conditions": [condition]}
    found = pod_state.trouble(obj)
    assert found is not None
    assert (found.reason, found.message, found.hopeless) == ("Unschedulable", "0/1 nodes", False)


@pytest.mark.parametrize(
    ("inits", "devices"),
    [
        ([], 1),
        ([("Always", 1)], 2),
        ([(None, 3)], 3),
        ([("Always", 1), (None, 3)], 4),  # the sidecar runs beside the init container after it
        ([(None, 3), ("Always", 1)], 3),  # and not beside the one before it
        ([("Always", 1), ("Always", 2)], 4),
        ([(None, 1), ("Never", 2)], 2),
    ],
)
def test_sidecars_hold_gpus_beside_the_containers(inits: list[tuple[str | None, int]], devices: int) -> None:
    obj = pod(node_name="n", gpus=1)
    obj["spec"]["initContainers"] = [
        {"name": "i", "restartPolicy": policy, "resources": {"limits": {"nvidia.com/gpu": str(number)}}}
        for policy, number in inits
    ]
    assert pod_state.gpu_request(obj, "nvidia.com/gpu") == devices
    assert pod_state.gpu_request(pod_state.holding_gpus(obj) or {}, "nvidia.com/gpu") == devices
    decode = partial_decoding.pod_list([])
    body = json.dumps({"items": [obj] * 2000}).encode()  # large enough for the typed decoder
    assert pod_state.gpu_request(decode(body)["items"][0], "nvidia.com/gpu") == devices


def test_gpu_requests_take_the_larger_of_containers_and_inits() -> None:
    obj = pod(gpus=1)
    obj["spec"]["initContainers"] = [{"name": "i", "resources": {"limits": {"nvidia.com/gpu": "4"}}}]
    assert pod_state.gpu_request(obj, "nvidia.com/gpu") == 4


def test_odd_requests_count_as_none() -> None:
    for odd in ({}, {"spec": 1}, {"spec": {"containers": 1}}, {"spec": {"containers": [None, 1]}}, None):
        assert pod_state.gpu_request(odd, "nvidia.com/gpu") == 0  # type: ignore[arg-type]
    amounts: tuple[object, ...] = ("x", "-1", "0.5", "1e99999999", {}, [], True)
    for amount in amounts:
        obj = pod(gpus=1)
        obj["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": amount}}
        assert pod_state.gpu_request(obj, "nvidia.com/gpu") == 0, amount


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        ({"reason": "ContainerStatusUnknown"}, "ContainerStatusUnknown, its exit code is unknown"),
        ({"message": "gone"}, "its exit code is unknown, gone"),
        ({"reason": "Error", "exitCode": 3}, "Error, exit code 3"),
    ],
)
def test_an_end_without_an_exit_code_names_none(ended: dict[str, Any], words: str) -> None:
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off"}
    item = {"name": "falcon", "state": {"waiting": waiting}, "lastState": {"terminated": ended}}
    found = pod_state.trouble({"status": {"phase": "Running", "containerStatuses": [item]}})
    assert found is not None
    assert found.message == f"container falcon: back-off (last exit: {words})"


@pytest.mark.parametrize(
    ("reason", "message", "hopeless"),
    [
        ("CreateContainerConfigError", 'secret "hf" not found', True),
        ("CreateContainerConfigError", "failed to sync configmap cache: timed out waiting", False),
        ("CreateContainerError", "context deadline exceeded", False),
        ("CreateContainerError", 'failed to reserve container name "x": name "x" is reserved for "y"', False),
        ("RunContainerError", "rpc error: code = Unavailable desc = transport is closing", False),
        ("SignatureValidationFailed", "no signature", True),
        ("PreStartHookError", "the hook says no", True),
        ("PostStartHookError", "exited with 1", True),
        ("ImagePullBackOff", "context deadline exceeded", True),
        ("CrashLoopBackOff", "back-off: context deadline exceeded", True),
    ],
)
def test_waiting_helps_only_against_what_a_kubelet_tries_again(
    reason: str, message: str, hopeless: bool
) -> None:
    item = {"name": "falcon", "state": {"waiting": {"reason": reason, "message": message}}}
    found = pod_state.trouble({"status": {"phase": "Pending", "containerStatuses": [item]}})
    assert found is not None
    assert found.hopeless is hopeless
