"""States as they arrive -> how far a Workspace's rollout is, and how it ended. Pure.

Reads what every KAITO controller leaves behind (conditions, NodeClaims, a workload and pods labelled with
the Workspace's name), so it follows ours and upstream's alike. It never says ready while a pod is not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from kaitoctl.kaito import api
from kaitoctl.kaito.status import FAILED, OWNER_GENERATION, claim_failure, is_current
from kaitoctl.kube import conditions
from kaitoctl.kube import pods as pods_
from kaitoctl.kube.objects import Object, annotations_of, dig, generation_of, is_being_deleted
from kaitoctl.kube.workloads import is_rolled_out, replicas, stalled


class Phase(IntEnum):
    """The stations of a rollout, in the order in which they are passed."""

    SUBMITTED = 0
    ACCEPTED = 1
    NODES = 2
    SCHEDULING = 3
    ADAPTERS = 4
    PULLING = 5
    LOADING = 6
    READY = 7

    @property
    def words(self) -> str:
        """What it is called on a screen."""
        return _WORDS[self]


_WORDS = {
    Phase.SUBMITTED: "waiting for a controller",
    Phase.ACCEPTED: "accepted",
    Phase.NODES: "preparing nodes",
    Phase.SCHEDULING: "scheduling",
    Phase.ADAPTERS: "copying adapters",
    Phase.PULLING: "pulling image",
    Phase.LOADING: "loading model",
    Phase.READY: "ready",
}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that belongs to one Workspace at one moment.

    Args:
        workspace: None when it does not exist (any more).
        workloads: Deployments and StatefulSets of its name.
        pods: pods labelled with its name.
        claims: its NodeClaims.
    """

    workspace: Object | None
    workloads: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()
    claims: tuple[Object, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the rollout stands.

    Args:
        phase: the station reached.
        detail: what is going on there, one line.
        outcome: None while under way.
    """

    phase: Phase
    detail: str = ""
    outcome: Literal["ready", "failed"] | None = None


def progress(seen: Snapshot) -> Progress:
    """How far the rollout of the Workspace's present generation is."""
    workspace = seen.workspace
    if workspace is None or is_being_deleted(workspace):
        return Progress(Phase.SUBMITTED, "the Workspace has been deleted", "failed")
    if failure := _failure(seen):
        return Progress(_station(seen), failure, "failed")
    phase = _station(seen)
    return Progress(phase, _detail(phase, seen), "ready" if phase is Phase.READY else None)


def _failure(seen: Snapshot) -> str:
    assert seen.workspace is not None
    for claim in seen.claims:
        if why := claim_failure(claim):
            return f"NodeClaim {claim['metadata']['name']}: {why}"
    for pod in _current_pods(seen):
        found = pods_.trouble(pod)
        if found and found.hopeless:
            return f"pod {pod['metadata']['name']}: {found.reason}: {found.message}"
    for workload in seen.workloads:
        if _is_of_this_generation(seen.workspace, workload) and (why := stalled(workload)):
            return f"{workload['kind']} {workload['metadata']['name']}: {why}"
    succeeded = conditions.find(seen.workspace, api.WORKSPACE_SUCCEEDED) or {}
    of_now = int(succeeded.get("observedGeneration") or 0) >= generation_of(seen.workspace)
    if of_now and succeeded.get("status") == "False" and succeeded.get("reason") == FAILED:
        return str(succeeded.get("message") or "the controller gave up")
    return ""


def _station(seen: Snapshot) -> Phase:
    assert seen.workspace is not None
    generation = generation_of(seen.workspace)
    workload = next((item for item in seen.workloads if _is_of_this_generation(seen.workspace, item)), None)
    if workload is None:
        resource = conditions.find(seen.workspace, api.RESOURCE_READY) or {}
        if seen.claims or int(resource.get("observedGeneration") or 0) >= generation:
            return Phase.NODES if resource.get("status") != "True" else Phase.ACCEPTED
        return Phase.ACCEPTED if dig(seen.workspace, "status", "conditions") else Phase.SUBMITTED
    served = conditions.is_true(seen.workspace, api.INFERENCE_READY, generation=generation)
    pods = _current_pods(seen)
    if served and is_rolled_out(workload):
        return Phase.READY
    return min((_pod_station(pod) for pod in pods), default=Phase.SCHEDULING)


def _pod_station(pod: Object) -> Phase:
    if not dig(pod, "spec", "nodeName"):
        return Phase.SCHEDULING
    status = pod.get("status") or {}
    inits = len(dig(pod, "spec", "initContainers") or ())
    done = sum(
        1
        for item in status.get("initContainerStatuses") or ()
        if dig(item, "state", "terminated", "exitCode") == 0
    )
    if done < inits:
        return Phase.ADAPTERS
    running = [item for item in status.get("containerStatuses") or () if dig(item, "state", "running")]
    return Phase.LOADING if running else Phase.PULLING


def _detail(phase: Phase, seen: Snapshot) -> str:
    assert seen.workspace is not None
    if phase is Phase.NODES:
        resource = conditions.find(seen.workspace, api.RESOURCE_READY) or {}
        return str(resource.get("message") or "")
    pods = _current_pods(seen)
    if phase is Phase.READY:
        ready = sum(pods_.is_ready(pod) for pod in pods)
        return f"{ready} of {_wanted(seen.workloads)} pods serve"
    behind = [pod for pod in pods if _pod_station(pod) == phase]
    if not behind:
        return ""
    where = _where(behind[0])
    if len(pods) == 1:
        return where
    return f"{len(behind)} of {len(pods)} pods, {behind[0]['metadata']['name']} {where}".rstrip()


def _where(pod: Object) -> str:
    """What is special about the pod: its trouble if it has any, how many adapters are done, its node."""
    found = pods_.trouble(pod)
    node = dig(pod, "spec", "nodeName")
    words = [found.message] if found else []
    if pods_.summary(pod).startswith("Init:") and not found:
        words.append(f"{pods_.summary(pod).removeprefix('Init:')} done")
    if node:
        words.append(f"on {node}")
    return " ".join(words)


def _is_of_this_generation(workspace: Object, workload: Object) -> bool:
    """Ours say for which generation they were made; upstream's do not, and are taken as they are."""
    return OWNER_GENERATION not in annotations_of(workload) or is_current(workspace, workload)


def _current_pods(seen: Snapshot) -> list[Object]:
    """The newest pods, as many as there should be; what is terminating belongs to the past."""
    alive = [pod for pod in seen.pods if not is_being_deleted(pod)]
    alive.sort(key=lambda pod: str(pod["metadata"].get("creationTimestamp") or ""), reverse=True)
    return alive[: _wanted(seen.workloads)]


def _wanted(workloads: Iterable[Object]) -> int:
    return sum(replicas(item) for item in workloads)
