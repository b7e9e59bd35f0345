"""A set goes by what its replicas' pods say, where that is more than their statuses say."""

from __future__ import annotations

from typing import Any

import pytest
from fleet_world import inference_set
from trouble import World

from kaitoctl.commands.overview import _row, failures_in
from kaitoctl.kaito.fleet.decisions import CHANGED_AT, Replica
from kaitoctl.kaito.fleet.view import Fleet
from kaitoctl.kube.objects import Object

CRASHES = {"falcon": "loading model: pod falcon-1: CrashLoopBackOff"}


def replica(**how: Any) -> Replica:
    workspace = {"metadata": {"name": "falcon"}}
    return Replica(workspace, **{"is_ready": False, "differing": (), **how})


def rolled(by_kaitoctl: bool) -> Object:
    conditions = [{"type": "RolloutComplete", "status": "False", "reason": "Progressing"}]
    return inference_set(1) | ({"status": {"conditions": conditions}} if by_kaitoctl else {})


@pytest.mark.parametrize(
    ("how", "by_kaitoctl", "state"),
    [
        ({}, True, "Failed"),
        ({}, False, "Failed"),
        ({"way": "patch"}, True, "Progressing"),  # the present template may cure it
        ({"way": "patch"}, False, "Failed"),  # which nobody carries to it
        ({"leaving": True}, True, "Progressing"),
        ({"is_ready": True}, False, "Ready"),
    ],
)
def test_a_replica_whose_pod_never_comes_up_fails_its_set(
    how: dict[str, Any], by_kaitoctl: bool, state: str
) -> None:
    fleet = Fleet(rolled(by_kaitoctl), (replica(**how),))
    assert fleet.as_served({}, {}).state in ("Progressing", "Ready")
    found = fleet.as_served({}, CRASHES)
    assert found.state == state
    assert (CRASHES["falcon"] in found.trouble) == (state == "Failed")


def test_what_a_replicas_status_says_stays() -> None:
    found = Fleet(rolled(True), (replica(failure="refused"),)).as_served({}, CRASHES)
    assert found.trouble == "falcon: refused"


@pytest.mark.parametrize(
    ("changed", "is_failed"),
    [("", True), ("2026-11-28T12:00:00Z", True), ("2026-11-28T16:30:00Z", False)],
)
def test_pods_from_before_a_template_say_nothing_of_it(changed: str, is_failed: bool) -> None:
    world = World("exit-zero-loop")
    assert world["Pod"]["metadata"]["creationTimestamp"].startswith("2026-11-28T1")
    if changed:
        world["Workspace"]["metadata"]["annotations"] = {CHANGED_AT: changed}
    seen = world.seen()
    assert seen.workspace is not None
    row = _row(seen, seen.workspace, pods_seen=True)
    assert row.state == "Failed"
    assert (row.key.name in failures_in([row])) == is_failed
