"""A list of Workspaces says the same of what is kept of each object as of the whole."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from trouble import WORLDS, World

from kaitoctl.commands.overview import _row
from kaitoctl.kaito import api
from kaitoctl.kaito.serving import serving
from kaitoctl.kaito.snapshot import Snapshot, trimmed
from kaitoctl.kube.objects import (
    DEPLOYMENT,
    ENDPOINT_SLICE,
    JOB,
    NODE_CLAIM,
    POD,
    SERVICE,
    STATEFUL_SET,
    Object,
    copy_of,
)

KINDS = {
    kind.kind: kind
    for kind in (DEPLOYMENT, STATEFUL_SET, JOB, POD, SERVICE, ENDPOINT_SLICE, NODE_CLAIM, api.WORKSPACE)
}
PARTS = ("workloads", "pods", "jobs", "services", "slices", "claims")
HOWS = (
    *("as it is", "deaf port", "named port", "other selector", "older generation", "not taken up"),
    *("two pods", "sidecar", "upstream", "going", "not read"),
)
NAMES = sorted(file.stem for file in WORLDS.glob("*.yaml"))


def kept(obj: Object) -> Object:
    return trimmed(KINDS[obj["kind"]], obj)


def listed(seen: Snapshot) -> Snapshot:
    """What a list has of it: without what it does not ask for."""
    return replace(seen, events=(), replica_sets=())


def slim(seen: Snapshot) -> Snapshot:
    changes: dict[str, Any] = {part: tuple(map(kept, getattr(seen, part))) for part in PARTS}
    assert seen.workspace is not None
    return replace(seen, workspace=kept(seen.workspace), **changes)


def broken(world: World, how: str) -> World:
    """The world in another state, as far as it has the object."""
    kinds = {item["kind"] for item in world.objects}
    pods = [item for item in world.objects if item["kind"] == "Pod"]
    if "port" in how or "selector" in how:  # which nobody looks at before a pod is ready
        for pod in pods:
            pod.setdefault("status", {})["phase"] = "Running"
            pod["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    if how == "deaf port" and "Service" in kinds:
        world["Service"]["spec"]["ports"] = [{"port": 80, "targetPort": 4711}]
    if how == "named port" and "Service" in kinds:
        world["Service"]["spec"]["ports"] = [{"port": 80, "targetPort": "http"}]
        for pod in pods:
            pod["spec"]["containers"][0]["ports"] = [{"name": "http", "containerPort": 5000}]
    if how == "other selector" and "Service" in kinds:
        world["Service"]["spec"]["selector"] = {"app": "another"}
    if how == "older generation" and "Deployment" in kinds:
        world["Deployment"]["metadata"]["annotations"] = {"kaitoctl.dev/owner-generation": "1"}
        world["Workspace"]["metadata"]["generation"] = 2
    if how == "not taken up" and "Deployment" in kinds:
        world["Deployment"]["metadata"]["generation"] = 5
        world["Deployment"]["status"] = {"observedGeneration": 4, "updatedReplicas": 1, "replicas": 1}
    if how == "two pods" and pods:
        pods[0]["metadata"]["creationTimestamp"] = "2026-11-28T16:00:00Z"
        second = copy_of(pods[0])
        second["metadata"] |= {"name": "second", "creationTimestamp": "2026-11-28T16:30:00Z"}
        second["status"] = {"phase": "Pending"}
        world.objects.append(second)
    if how == "sidecar" and pods:
        held = {"limits": {"nvidia.com/gpu": "1"}}
        pods[0]["spec"]["initContainers"] = [{"name": "s", "restartPolicy": "Always", "resources": held}]
    if how == "upstream" and "Deployment" in kinds:
        world["Deployment"]["metadata"].pop("annotations", None)
    if how == "going":
        world["Workspace"]["metadata"] |= {"deletionTimestamp": "2026-11-28T16:00:00Z", "finalizers": ["x"]}
    if how == "not read":
        world.without("Pod")
    return world


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("name", NAMES)
def test_a_line_says_the_same_of_what_is_kept(name: str, how: str) -> None:
    seen = listed(broken(World(name), how).seen())
    less = slim(seen)
    assert seen.workspace is not None
    assert less.workspace is not None
    assert less != seen
    assert serving(less) == serving(seen)
    assert less.is_ours == seen.is_ours
    line = _row(seen, seen.workspace, pods_seen=True).as_json()
    assert _row(less, less.workspace, pods_seen=True).as_json() == line


def test_templates_volumes_and_owners_of_fields_are_forgotten() -> None:
    seen = slim(World(NAMES[0]).seen())
    for workload in seen.workloads:
        assert workload["spec"].keys() <= {"replicas"}
    for pod in seen.pods:
        assert pod["spec"].keys() <= {"nodeName", "resourceClaims", "containers", "initContainers"}
        assert not {"env", "args", "volumeMounts"} & {key for one in pod["spec"]["containers"] for key in one}
