"""The decisions behind Deployments, StatefulSets and Jobs in the sandbox."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaitoctl.kube.objects import Object
from kaitoctl.sandbox.workloads.deployments import Share, limits, new_scale
from kaitoctl.sandbox.workloads.jobs import Count, count_pods
from kaitoctl.sandbox.workloads.statefulsets import REVISION_LABEL, Step, next_steps


@pytest.mark.parametrize(
    ("surge", "unavailable", "replicas", "expected"),
    [
        ("25%", "25%", 4, (1, 1)),
        ("25%", "25%", 1, (1, 0)),
        ("25%", "25%", 10, (3, 2)),
        (0, 1, 1, (0, 1)),
        (2, "50%", 5, (2, 2)),
        (0, "10%", 3, (0, 1)),
        ("0%", 0, 3, (0, 1)),
    ],
)
def test_surge_rounds_up_unavailable_down_and_never_both_are_zero(
    surge: int | str, unavailable: int | str, replicas: int, expected: tuple[int, int]
) -> None:
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    assert limits({"rollingUpdate": rolling}, replicas) == expected


def test_the_default_is_a_quarter_each() -> None:
    assert limits(None, 4) == (1, 1)


def test_without_surge_the_old_pod_goes_before_the_new_one_comes() -> None:
    old = [Share(1, 1)]
    assert new_scale(1, Share(0, 0), old, surge=0, unavailable=1) == (0, [0])
    assert new_scale(1, Share(0, 0), [Share(0, 0)], surge=0, unavailable=1) == (1, [0])


def test_with_surge_the_old_pod_stays_until_the_new_one_is_available() -> None:
    assert new_scale(1, Share(0, 0), [Share(1, 1)], surge=1, unavailable=0) == (1, [1])
    assert new_scale(1, Share(1, 0), [Share(1, 1)], surge=1, unavailable=0) == (1, [1])
    assert new_scale(1, Share(1, 1), [Share(1, 1)], surge=1, unavailable=0) == (1, [0])


def test_old_pods_that_serve_nobody_go_first() -> None:
    old = [Share(2, 2), Share(2, 0)]
    assert new_scale(4, Share(0, 0), old, surge=0, unavailable=2) == (0, [2, 0])


@given(
    st.integers(0, 6),
    st.integers(0, 3),
    st.integers(0, 3),
    st.lists(st.integers(0, 5), min_size=1, max_size=3),
    st.randoms(use_true_random=False),
)
def test_a_rollout_ends_and_keeps_its_promises(
    replicas: int, surge: int, unavailable: int, olds: list[int], random: object
) -> None:
    """Whatever order pods become available in: bounded above and below, and finished in the end."""
    unavailable = unavailable if surge or unavailable else 1
    new, new_up = 0, 0
    old, old_up = list(olds), list(olds)
    most = max(replicas + surge, sum(old))
    for _ in range(200):
        least = min(replicas - unavailable, new_up + sum(old_up))
        new, old = new_scale(
            replicas,
            Share(new, new_up),
            [Share(*pair) for pair in zip(old, old_up, strict=True)],
            surge=surge,
            unavailable=unavailable,
        )
        old_up = [min(pair) for pair in zip(old, old_up, strict=True)]
        new_up = min(new_up, new)
        assert new + sum(old) <= most
        assert new_up + sum(old_up) >= least
        if new == replicas and not any(old) and new_up == new:
            return
        if random.random() < 0.5:  # type: ignore[attr-defined]
            new_up = min(new, new_up + 1)
    raise AssertionError("the rollout never ended")


# --- StatefulSets --------------------------------------------------------------------------------------


def replica(
    *, ready: bool = True, revision: str = "v1", deleting: bool = False, phase: str = "Running"
) -> Object:
    metadata: Object = {"name": "s-0", "labels": {REVISION_LABEL: revision}}
    if deleting:
        metadata["deletionTimestamp"] = "2025-01-01T00:00:00Z"
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {"metadata": metadata, "status": {"phase": phase, "conditions": conditions}}


def steps(
    replicas: int,
    observed: dict[int, Object],
    *,
    ordered: bool = True,
    partition: int = 0,
    update: str = "v1",
) -> list[Step]:
    return next_steps(replicas, observed, update_revision=update, ordered=ordered, partition=partition)


def test_an_ordered_set_makes_the_next_pod_when_the_one_before_is_ready() -> None:
    assert steps(3, {}) == [Step("create", 0)]
    assert steps(3, {0: replica(ready=False)}) == []
    assert steps(3, {0: replica()}) == [Step("create", 1)]
    assert steps(3, {0: replica(), 1: replica(deleting=True)}) == []


def test_a_parallel_set_makes_all_at_once() -> None:
    assert steps(3, {}, ordered=False) == [Step("create", 0), Step("create", 1), Step("create", 2)]


def test_scaling_down_takes_the_highest_first() -> None:
    three = {ordinal: replica() for ordinal in range(3)}
    assert steps(1, three) == [Step("delete", 2)]
    assert steps(1, {**three, 2: replica(deleting=True)}) == []
    assert steps(1, three, ordered=False) == [Step("delete", 2), Step("delete", 1)]


def test_an_update_goes_from_the_highest_down_to_the_partition_one_at_a_time() -> None:
    three = {ordinal: replica() for ordinal in range(3)}
    assert steps(3, three, update="v2") == [Step("delete", 2)]
    assert steps(3, {**three, 2: replica(revision="v2")}, update="v2") == [Step("delete", 1)]
    assert steps(3, {**three, 2: replica(revision="v2")}, update="v2", partition=2) == []
    assert steps(3, {**three, 2: replica(revision="v2", ready=False)}, update="v2", ordered=False) == []


def test_a_failed_pod_is_replaced() -> None:
    assert steps(1, {0: replica(ready=False, phase="Failed")}) == [Step("delete", 0)]


# --- Jobs ----------------------------------------------------------------------------------------------


def test_pods_of_a_job_are_counted_by_phase_and_restarts_in_place_as_failures() -> None:
    restarted = replica(ready=False)
    restarted["spec"] = {"restartPolicy": "OnFailure"}
    restarted["status"]["containerStatuses"] = [{"restartCount": 3}]
    several = [
        replica(),
        replica(phase="Succeeded"),
        replica(phase="Failed"),
        restarted,
        replica(deleting=True),
    ]
    assert count_pods(several) == Count(active=2, ready=1, succeeded=1, failed=4)
