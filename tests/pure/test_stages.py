"""The stage that is shown is the one that a pod is at: nothing is pulled before its volumes are there."""

from __future__ import annotations

from typing import Any

import pytest
from trouble import World

from kaitoctl.kaito.diagnosis.reasons import reasons
from kaitoctl.kaito.pod_preparation import UNPREPARED
from kaitoctl.kaito.rollout import Phase, progress
from kaitoctl.kube.pod_state import AFTER_THE_PULL

SANDBOX = "Failed to create pod sandbox: rpc error: code = Unknown desc = no IP addresses available"


def creating(*conditions: dict[str, str]) -> World:
    """A pod that has a node, and of which no container has begun."""
    world = World("slow-pull").without("Event")
    world["Pod"]["status"]["conditions"] = list(conditions)
    world["Pod"]["status"]["containerStatuses"] = [
        {"name": "falcon", "ready": False, "state": {"waiting": {"reason": "ContainerCreating"}}}
    ]
    return world


@pytest.mark.parametrize("reason", sorted(UNPREPARED))
def test_a_failure_before_the_first_container_is_its_own_stage(reason: str) -> None:
    world = creating().event(reason, SANDBOX)
    where = progress(world.seen())
    assert (where.phase, where.words) == (Phase.PREPARING, "preparing the pod")
    assert where.detail.startswith(f"{reason}: Failed to create pod sandbox")
    # Of a newer kubelet's condition the stage is known without events, too.
    silent = creating({"type": "PodReadyToStartContainers", "status": "False"})
    assert progress(silent.seen()).phase is Phase.PREPARING


@pytest.mark.parametrize("later", ["Pulling", "Pulled", "Created", "BackOff"])
def test_what_failed_before_the_image_was_pulled_is_over(later: str) -> None:
    world = creating().event("FailedMount", "timed out")
    world.event(later, "it goes on", kind="Normal", lastTimestamp="2026-11-28T16:56:00Z")
    assert progress(world.seen()).phase is Phase.PULLING
    ready = creating({"type": "PodReadyToStartContainers", "status": "True"}).event("FailedMount", "before")
    assert progress(ready.seen()).phase is Phase.PULLING


@pytest.mark.parametrize("reason", ["CreatePodSandboxError", "ConfigPodSandboxError", "KillPodSandboxError"])
def test_a_container_that_waits_for_its_sandbox(reason: str) -> None:
    world = creating()
    world["Pod"]["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] = reason
    assert progress(world.seen()).phase is Phase.PREPARING


@pytest.mark.parametrize(
    "state",
    [
        {"state": {"running": {"startedAt": "2026-11-28T16:00:00Z"}}},
        {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 3},
        {"state": {"waiting": {}}, "lastState": {"terminated": {"exitCode": 1}}},
    ],
)
def test_a_container_that_has_begun_is_past_it(state: dict[str, Any]) -> None:
    world = creating().event("FailedMount", "the volume of another container is slow")
    world["Pod"]["status"]["containerStatuses"] = [{"name": "falcon", "ready": False, **state}]
    assert progress(world.seen()).phase is not Phase.PREPARING


def test_an_adapter_that_is_copied_is_not_prepared_any_more() -> None:
    world = creating().event("FailedCreatePodSandBox", SANDBOX)
    world["Workspace"]["inference"]["adapters"] = [{"source": {"name": "style", "image": "r/style:1"}}]
    world["Pod"]["spec"]["initContainers"] = [{"name": "style", "image": "r/style:1"}]
    assert progress(world.seen()).phase is Phase.PREPARING
    world["Pod"]["status"]["initContainerStatuses"] = [
        {"name": "style", "ready": False, "state": {"running": {"startedAt": "2026-11-28T16:00:00Z"}}}
    ]
    assert progress(world.seen()).phase is Phase.ADAPTERS


def test_each_event_that_is_about_volumes_or_sandboxes_counts() -> None:
    codes = ("volume-unavailable", "pod-sandbox-failed")
    about = {reason for place, reason, code, _ in reasons() if place == "event" and code in codes}
    of_claims = {"FailedBinding", "ProvisioningFailed"}
    later = {"VolumeResizeFailed", "FileSystemResizeFailed"}  # of volumes that a pod may have already
    assert about - of_claims - later == UNPREPARED


RUNNING = {"running": {"startedAt": "2026-11-28T16:00:00Z"}}
CREATED = {"waiting": {"reason": "ContainerCreating"}}


@pytest.mark.parametrize(
    ("init", "state", "main", "phase"),
    [
        # KAITO v0.12: weights, CUDA's compiler, an object store's key; and a service mesh.
        *(
            ({"name": name}, {"state": RUNNING}, CREATED, Phase.INITIALIZING)
            for name in ("model-weights-downloader", "cuda-toolkit-provisioner", "fetch-sas", "istio-init")
        ),
        ({"name": "w"}, {"state": {"terminated": {"exitCode": 1}}}, CREATED, Phase.INITIALIZING),
        (
            {"name": "w"},
            {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 2},
            CREATED,
            Phase.INITIALIZING,
        ),
        (
            {"name": "w"},
            {"state": {"waiting": {"reason": "CreateContainerError"}}},
            CREATED,
            Phase.INITIALIZING,
        ),
        ({"name": "w"}, {"state": {"waiting": {"reason": "ImagePullBackOff"}}}, CREATED, Phase.PULLING),
        ({"name": "w"}, {"state": CREATED}, CREATED, Phase.PULLING),
        ({"name": "w"}, {"state": {"terminated": {"exitCode": 0}}}, CREATED, Phase.PULLING),
        (
            {"name": "p", "restartPolicy": "Always"},
            {"state": RUNNING, "started": False},
            CREATED,
            Phase.INITIALIZING,
        ),
        (
            {"name": "p", "restartPolicy": "Always"},
            {"state": RUNNING, "started": True},
            CREATED,
            Phase.PULLING,
        ),
        (
            {"name": "p", "restartPolicy": "Always"},
            {"state": RUNNING, "started": True},
            RUNNING,
            Phase.LOADING,
        ),
    ],
)
def test_an_init_container_is_not_the_servers_image(
    init: dict[str, str], state: dict[str, Any], main: dict[str, Any], phase: Phase
) -> None:
    world = creating()
    world["Pod"]["spec"]["initContainers"] = [init]
    world["Pod"]["status"]["initContainerStatuses"] = [{"name": init["name"], "ready": False, **state}]
    world["Pod"]["status"]["containerStatuses"][0]["state"] = main
    assert progress(world.seen()).phase is phase


@pytest.mark.parametrize("reason", sorted(AFTER_THE_PULL))
def test_a_container_that_cannot_be_created_has_its_image(reason: str) -> None:
    world = creating()
    world["Pod"]["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] = reason
    assert progress(world.seen()).words == "starting containers"
