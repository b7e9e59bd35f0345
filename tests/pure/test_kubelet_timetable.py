"""The pure timetable of a pod: which status it shows at which simulated second."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaitoctl.kaito.desired import adapters
from kaitoctl.kube.objects import Object, by_name, dig
from kaitoctl.sandbox.clock import Clock
from kaitoctl.sandbox.workloads.container_life import (
    FAULT_ANNOTATION,
    FAULT_CONTAINER_ANNOTATION,
    FAULTS,
    NEVER,
    fault_of,
)
from kaitoctl.sandbox.workloads.container_logs import log_of
from kaitoctl.sandbox.workloads.timetable import pod_at

GPU = {"limits": {"nvidia.com/gpu": "1"}}
READINESS = {"httpGet": {"path": "/healthz", "port": 5000}, "initialDelaySeconds": 30, "periodSeconds": 10}
LIVENESS = {"httpGet": {"path": "/healthz", "port": 5000}, "initialDelaySeconds": 60, "periodSeconds": 10}


def pod(
    *containers: Object, inits: tuple[Object, ...] = (), policy: str = "Always", **annotations: str
) -> Object:
    marks = {"fault": FAULT_ANNOTATION, "fault_container": FAULT_CONTAINER_ANNOTATION}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "p",
            "namespace": "default",
            "uid": "u-1",
            "annotations": {marks[name]: value for name, value in annotations.items()},
        },
        "spec": {
            "restartPolicy": policy,
            "containers": list(containers) or [container()],
            "initContainers": list(inits),
            "nodeName": "n",
        },
    }


def container(name: str = "main", image: str = "example.org/server:1", **more: Any) -> Object:
    return {"name": name, "image": image, **more}


def at(obj: Object, seconds: float) -> Object:
    return pod_at(obj, seconds, lambda moment: f"{moment:.3f}").status


def ready(status: Object) -> bool:
    return any(item["type"] == "Ready" and item["status"] == "True" for item in status["conditions"])


def state(status: Object, name: str = "main") -> Object:
    both = [*(status.get("initContainerStatuses") or ()), *status["containerStatuses"]]
    found: Object = by_name(both)[name]["state"]
    return found


def restarts(status: Object) -> int:
    return int(status["containerStatuses"][0]["restartCount"])


def test_a_pod_pulls_then_runs_and_is_ready_at_once_without_a_probe() -> None:
    obj = pod()
    assert state(at(obj, 0)) == {"waiting": {"reason": "ContainerCreating"}}
    assert at(obj, 3.9)["phase"] == "Pending"
    running = at(obj, 4)
    assert running["phase"] == "Running"
    assert ready(running)
    assert state(running) == {"running": {"startedAt": "4.000"}}
    assert running["podIP"].startswith("10.")
    assert pod_at(obj, 4, str).next_s == NEVER


def test_a_readiness_probe_waits_for_its_delay_and_for_the_model() -> None:
    obj = pod(container(resources=GPU, readinessProbe=READINESS))
    assert not ready(at(obj, 33.9))
    assert ready(at(obj, 34))
    impatient = pod(container(resources=GPU, readinessProbe={"periodSeconds": 7}))
    assert not ready(at(impatient, 4 + 20.9))
    assert ready(at(impatient, 4 + 21))


def test_a_startup_probe_holds_the_readiness_probe_back() -> None:
    startup = {"periodSeconds": 15, "failureThreshold": 10}
    obj = pod(container(resources=GPU, startupProbe=startup, readinessProbe={"periodSeconds": 1}))
    assert at(obj, 4 + 29)["containerStatuses"][0]["started"] is False
    status = at(obj, 4 + 30)
    assert status["containerStatuses"][0]["started"] is True
    assert ready(status)


def test_a_server_that_never_answers_is_killed_by_its_liveness_probe_and_starts_again() -> None:
    obj = pod(container(readinessProbe=READINESS, livenessProbe=LIVENESS), fault="probe-never")
    assert restarts(at(obj, 4 + 79)) == 0
    killed = at(obj, 4 + 80)
    assert state(killed)["terminated"]["exitCode"] == 137
    assert restarts(at(obj, 4 + 82)) == 1
    assert not any(ready(at(obj, second)) for second in range(0, 600, 7))


def test_a_slow_model_becomes_ready_late() -> None:
    obj = pod(container(resources=GPU, readinessProbe=READINESS), fault="slow-load")
    assert not ready(at(obj, 4 + 299))
    assert ready(at(obj, 4 + 300))


def test_init_containers_run_one_after_the_other() -> None:
    obj = pod(inits=(container("one"), container("two")))
    first = at(obj, 5)
    assert "running" in state(first, "one")
    assert state(first, "two") == {"waiting": {"reason": "PodInitializing"}}
    assert state(first) == {"waiting": {"reason": "PodInitializing"}}
    second = at(obj, 7)
    assert state(second, "one")["terminated"]["reason"] == "Completed"
    assert state(second, "two") == {"waiting": {"reason": "ContainerCreating"}}
    assert second["phase"] == "Pending"
    last = at(obj, 16)
    assert last["phase"] == "Running"
    assert by_name(last["initContainerStatuses"])["two"]["ready"] is True


def test_a_sidecar_runs_beside_the_main_container() -> None:
    obj = pod(inits=(container("side", restartPolicy="Always"),))
    status = at(obj, 20)
    assert "running" in state(status, "side")
    assert "running" in state(status)
    assert ready(status)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("example.org/team/does-not-exist:1", "not found"),
        ("example.org/team/model:pull-error", "not found"),
        ("example.org/unauthorized/model:1-unauthorized", "401 Unauthorized"),
    ],
)
def test_a_pull_error_turns_into_a_back_off_that_says_why(image: str, words: str) -> None:
    obj = pod(container(image=image))
    failed = state(at(obj, 2))["waiting"]
    assert failed["reason"] == "ErrImagePull"
    assert words in failed["message"]
    assert image in failed["message"]
    waiting = state(at(obj, 5))["waiting"]
    assert waiting["reason"] == "ImagePullBackOff"
    assert words in waiting["message"]
    assert at(obj, 100_000)["phase"] == "Pending"


def puller(reference: str, way: str = "args") -> Object:
    """As an init container of KAITO fetches an image: by its arguments, or by the text of a script."""
    if way == "script":
        script = f"set -e; d=$work/crash; skopeo copy docker://{reference} dir:/mnt/crash/oom"
        return container("puller-style", image="quay.io/skopeo:1", command=["sh", "-c"], args=[script])
    if way == "command":
        return container("puller-style", image="oras:1", command=["oras", "pull", reference, "-o", "/crash"])
    mount = {"name": "v", "mountPath": "/mnt/adapter"}
    return {**adapters.puller(reference, "/mnt/adapter/crash", mount), "name": "puller-style"}


@pytest.mark.parametrize("way", ["args", "script", "command"])
@pytest.mark.parametrize(
    ("reference", "words"),
    [
        (
            "example.org/team/does-not-exist:1",
            "reading manifest 1 in example.org/team/does-not-exist: manifest",
        ),
        ("example.org:5000/style:pull-error", "in example.org:5000/style: manifest unknown"),
        ("team/does-not-exist", "reading manifest latest in team/does-not-exist: manifest unknown"),
        ("example.org/unauthorized@sha256:ab12", "unauthorized: authentication required"),
        ("example.org/style:empty-data", "no files found"),
        ("example.org/style:crash", "exit code 1"),
    ],
)
def test_a_container_that_fetches_a_broken_image_ends_and_its_log_says_why(
    reference: str, words: str, way: str
) -> None:
    obj = pod(inits=(puller(reference, way),))
    ended = state(at(obj, 5.5), "puller-style")["terminated"]
    assert ended["exitCode"] == 1
    later = at(obj, 9)
    assert state(later, "puller-style")["waiting"]["reason"] == "CrashLoopBackOff"
    assert state(later)["waiting"]["reason"] == "PodInitializing"
    assert words in log_of({**obj, "status": later}, "puller-style", Clock(lambda: datetime.now(UTC), 1.0))


@pytest.mark.parametrize("way", ["args", "script", "command"])
@pytest.mark.parametrize("reference", ["example.org/style:1", "crash.example.org/oom/style:1"])
def test_a_container_that_fetches_a_good_image_ends_well(reference: str, way: str) -> None:
    status = at(pod(inits=(puller(reference, way),)), 30)
    assert state(status, "puller-style")["terminated"]["exitCode"] == 0 and ready(status)


def test_what_an_incompatible_image_brings_fails_the_server_whoever_fetched_it() -> None:
    status = at(pod(container(resources=GPU), inits=(puller("example.org/style:incompatible"),)), 20.5)
    assert state(status, "puller-style")["terminated"]["exitCode"] == 0
    assert state(status)["terminated"]["exitCode"] == 1


def test_a_word_in_the_registry_or_folder_is_no_fault() -> None:
    assert fault_of(pod(), container(image="crash.example.org/unauthorized/model:1"), init=False) == ""


def test_an_annotation_hits_the_chosen_container_only() -> None:
    obj = pod(container("a"), container("b"), fault="crash", fault_container="b")
    status = at(obj, 9.5)
    assert "running" in state(status, "a")
    assert state(status, "b")["terminated"]["exitCode"] == 1
    assert status["phase"] == "Running"
    assert not ready(status)


def test_a_crashing_container_backs_off_twice_as_long_each_time() -> None:
    obj = pod(fault="crash")
    seen = [
        (restarts(at(obj, second)), next(iter(state(at(obj, second))))) for second in (4, 5, 6, 7.5, 17, 19)
    ]
    assert seen == [
        (0, "running"),
        (0, "terminated"),
        (1, "running"),
        (1, "terminated"),
        (2, "running"),
        (2, "waiting"),
    ]
    waiting = state(at(obj, 30))["waiting"]
    assert waiting["reason"] == "CrashLoopBackOff"
    assert "back-off 20s" in waiting["message"]
    assert dig(at(obj, 30), "containerStatuses", 0, "lastState", "terminated", "exitCode") == 1
    assert "back-off 5m0s" in state(at(obj, 10_000))["waiting"]["message"]


def test_out_of_memory_says_so() -> None:
    obj = pod(container(resources=GPU), fault="oom")
    assert state(at(obj, 14.5))["terminated"] == {
        "exitCode": 137,
        "reason": "OOMKilled",
        "startedAt": "4.000",
        "finishedAt": "14.000",
    }


def test_a_failing_init_container_keeps_the_pod_pending() -> None:
    obj = pod(inits=(container("load", image="example.org/data:empty-data"),))
    status = at(obj, 30)
    assert status["phase"] == "Pending"
    assert state(status, "load")["waiting"]["reason"] == "CrashLoopBackOff"
    assert state(status) == {"waiting": {"reason": "PodInitializing"}}


def test_what_an_init_container_brought_can_make_the_server_crash_while_loading() -> None:
    obj = pod(inits=(container("load", image="example.org/data:incompatible"),))
    status = at(obj, 60)
    assert state(status, "load")["terminated"]["exitCode"] == 0
    assert restarts(status) > 0
    assert restarts(at(pod(container("main", image="example.org/incompatible:1")), 60)) == 0


def test_a_pod_that_is_never_restarted_ends() -> None:
    assert at(pod(policy="Never"), 14)["phase"] == "Succeeded"
    assert at(pod(policy="Never", fault="crash"), 5)["phase"] == "Failed"
    broken = pod(inits=(container("load", image="x/empty-data"),), policy="Never")
    assert at(broken, 5)["phase"] == "Failed"
    assert pod_at(broken, 5, str).next_s == NEVER


def test_on_failure_restarts_what_failed_and_not_what_succeeded() -> None:
    assert at(pod(policy="OnFailure"), 1000)["phase"] == "Succeeded"
    assert restarts(at(pod(policy="OnFailure", fault="crash"), 20)) == 2


def test_a_year_of_crashes_is_counted_without_living_through_it() -> None:
    obj = pod(fault="crash")
    year = 365 * 86_400.0
    day = 86_400.0
    # At the longest back-off a restart comes every 301 s.
    assert abs((restarts(at(obj, year + day)) - restarts(at(obj, year))) - day / 301) <= 1


def pod_of_some_sort(fault: str, word: str, policy: str, init: str, probed: bool) -> Object:
    main = container(image=f"example.org/m:{word}", resources=GPU)
    if probed:
        main["readinessProbe"] = READINESS
    inits = (container("init", image=f"example.org/i:{init}"),) if init else ()
    obj = pod(main, inits=inits, policy=policy)
    obj["metadata"]["annotations"] = {FAULT_ANNOTATION: fault}
    return obj


pods_of_all_sorts = st.builds(
    pod_of_some_sort,
    st.sampled_from(["", *FAULTS]),
    st.sampled_from(["1", *FAULTS]),
    st.sampled_from(["Always", "OnFailure", "Never"]),
    st.sampled_from(["", "1", *FAULTS]),
    st.booleans(),
)


@given(pods_of_all_sorts, st.floats(0, 20_000))
def test_a_status_holds_until_the_announced_change_and_differs_from_then_on(
    obj: Object, seconds: float
) -> None:
    def shown(at_s: float) -> Object:
        return pod_at(obj, at_s, lambda moment: f"{moment:.6f}").status

    now = pod_at(obj, seconds, lambda moment: f"{moment:.6f}")
    assert now.next_s > seconds
    if now.next_s == NEVER:
        assert shown(seconds + 50_000) == now.status
    else:
        assert shown((seconds + now.next_s) / 2) == now.status
        assert shown(now.next_s) != now.status


@given(pods_of_all_sorts, st.lists(st.floats(0, 50_000), min_size=2, max_size=2))
def test_restarts_never_go_back(obj: Object, moments: list[float]) -> None:
    earlier, later = sorted(moments)
    assert restarts(at(obj, earlier)) <= restarts(at(obj, later))
