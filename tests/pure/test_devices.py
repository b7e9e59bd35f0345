"""The health of devices that containers hold, as `status.containerStatuses` tells it (KEP 4680)."""

from __future__ import annotations

from typing import Any

import pytest
from trouble import World

POD = "falcon-5b8f-abcde"


def holding(health: str, *, resource: str = "nvidia.com/gpu", message: str = "", ends: bool = True) -> World:
    """A server that crashes or loads, and holds two devices of which one has this health."""
    world = World("slow-pull").without("Event")
    state: dict[str, Any] = {"running": {"startedAt": "2026-11-28T16:55:00Z"}}
    more: dict[str, Any] = {}
    if ends:
        state = {"waiting": {"reason": "CrashLoopBackOff"}}
        more = {"restartCount": 4, "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}}
    said = {"message": message} if message else {}
    devices = [
        {"resourceID": "GPU-8a7b", "health": health, **said},
        {"resourceID": "GPU-9c1d", "health": "Healthy"},
    ]
    world["Pod"]["status"]["containerStatuses"] = [
        {
            "name": "falcon",
            "ready": False,
            "state": state,
            **more,
            "allocatedResourcesStatus": [{"name": resource, "resources": devices}],
        }
    ]
    return world


@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize(
    ("resource", "whose"),
    [
        ("nvidia.com/gpu", "device plugin"),
        ("amd.com/gpu", "device plugin"),
        ("rdma/ib", "device plugin"),
        ("claim:gpu/req-0", "DRA driver"),
    ],
)
def test_an_unhealthy_device_is_the_root(resource: str, whose: str, ends: bool) -> None:
    found = holding("Unhealthy", resource=resource, message="Xid 79", ends=ends).cause()
    assert (found.code, found.weight, found.about) == (
        "gpu-unhealthy",
        "fault",
        f"Pod {POD}, container falcon",
    )
    assert "GPU-8a7b" in found.message
    assert "GPU-9c1d" not in found.message
    assert f"as its {whose} says: Xid 79" in found.message


def test_a_device_of_which_nobody_says_anything_explains_no_crash() -> None:
    crashes = holding("Unknown")
    assert crashes.cause().code == "crash-loop"
    assert "gpu-unhealthy" in {cause.code for cause in crashes.diagnosis().causes}
    loads = holding("Unknown", ends=False).cause()
    assert (loads.code, loads.weight) == ("gpu-unhealthy", "wait")
    assert "device plugin has ended" in loads.message


def test_a_dra_driver_that_tells_no_health_is_as_most_are() -> None:
    loads = holding("Unknown", resource="claim:gpu/req-0", ends=False).diagnosis()
    assert "gpu-unhealthy" not in {cause.code for cause in loads.causes}


@pytest.mark.parametrize("health", ["Healthy", "", "PermanentlyOdd"])
def test_what_is_healthy_or_of_no_known_word_is_no_cause(health: str) -> None:
    assert holding(health).cause().code == "crash-loop"


def test_a_pod_that_serves_on_with_a_device_that_is_unhealthy_has_a_note() -> None:
    world = World("service-missing").without("Event")
    world.objects.append(World("scaled-to-zero")["Service"])
    world["Pod"]["status"]["containerStatuses"][0]["allocatedResourcesStatus"] = [
        {"name": "nvidia.com/gpu", "resources": [{"resourceID": "GPU-1", "health": "Unhealthy"}]}
    ]
    found = world.diagnosis()
    assert found.is_ready
    assert [(cause.code, cause.weight) for cause in found.causes] == [("gpu-unhealthy", "note")]
