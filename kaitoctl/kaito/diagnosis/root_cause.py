"""The order of the rules, and which of the causes that they find is the root. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from kaitoctl.kaito.diagnosis import (
    of_claims,
    of_configuration,
    of_controller,
    of_deletion,
    of_failed_pods,
    of_images,
    of_nodes,
    of_pods,
    of_scheduling,
    of_service,
    of_unknown,
    of_volumes,
    of_workloads,
    of_workspace,
)
from kaitoctl.kaito.diagnosis.case import Case
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kaito.rollout import Progress, progress
from kaitoctl.kaito.serving import is_foreign, main_service
from kaitoctl.kaito.snapshot import Snapshot
from kaitoctl.kube import pod_state
from kaitoctl.kube.objects import dig, is_being_deleted


def _mirror(case: Case) -> Iterator[Cause]:
    """What a ModelMirror waits for; most Workspaces wait for none, and need not load its rules."""
    if case.seen.mirror:
        from kaitoctl.kaito.diagnosis import of_mirrors

        yield from of_mirrors.mirror(case)


def _devices(case: Case) -> Iterator[Cause]:
    """What has become of the devices that containers hold; most kubelets say nothing of that."""
    items = (item for pod in case.pods for item in pod_state.container_statuses(pod))
    if any(item.get("allocatedResourcesStatus") for item in items):
        from kaitoctl.kaito.diagnosis import of_devices

        yield from of_devices.unhealthy_devices(case)


def _unready(case: Case) -> Iterator[Cause]:
    """Why pods are not ready that run; most are, or are on their way, and need not load the rules."""
    if case.progress.down or any(dig(pod, "spec", "readinessGates") for pod in case.pods):
        from kaitoctl.kaito.diagnosis import of_readiness

        yield from of_readiness.readiness_gates(case)
        yield from of_readiness.not_serving_without_cause(case)


def _ways_in(case: Case) -> Iterator[Cause]:
    """What is amiss with the ways to a model that serves: with most there is nothing."""
    main = main_service(case.seen)
    own = {str(pod["metadata"]["name"]) for pod in case.seen.pods if not is_foreign(case.seen, pod)}
    behind = {
        str(dig(endpoint, "targetRef", "name"))
        for item in case.seen.slices
        for endpoint in item.get("endpoints") or ()
    }
    if main is not None and (dig(main, "spec", "type") == "LoadBalancer" or behind - own):
        from kaitoctl.kaito.diagnosis import of_ways_in

        yield from of_ways_in.load_balancer(case)
        yield from of_ways_in.foreign_pods(case)


RULES: tuple[Callable[[Case], Iterator[Cause]], ...] = (
    of_controller.busy,
    of_deletion.deletion,
    of_workspace.clash,
    of_workspace.immutable,
    of_workspace.invalid,
    of_controller.refused_template,
    of_controller.locked_out,
    of_controller.failed_benchmark,
    of_controller.stumbles,
    of_workspace.controller,
    of_workloads.workload_gone,
    of_workloads.workload_going,
    of_workloads.job_gone,
    of_workloads.scaled_to_zero,
    of_workloads.paused_workload,
    of_workloads.held_back,
    of_configuration.configuration,
    of_scheduling.scheduling_gates,
    of_scheduling.thrown_out,
    of_service.lost_nodes,
    of_claims.claims,
    of_claims.vanished_claims,
    of_claims.launch_message,
    of_claims.pools,
    of_nodes.findings,
    of_nodes.no_nodes,
    _mirror,
    of_workloads.refused_pods,
    of_scheduling.scheduling,
    of_volumes.volumes,
    of_images.images,
    of_service.headless,
    _devices,
    of_pods.containers,
    of_failed_pods.failed_pods,
    of_nodes.troubled,
    of_pods.slow,
    of_workloads.failed_tuning,
    of_workloads.given_up,
    of_service.service,
    of_service.going_service,
    _ways_in,
    of_unknown.said_of_containers,
    of_unknown.said_of_pods,
    of_unknown.said_of_workloads,
    _unready,
    of_workspace.controller_message,
)
"""The nearer to the front, the nearer to the root."""

# What these say, whatever has a smaller number explains better; all others have 0.
_LAST_RESORT = {
    "unschedulable": 1,
    "tuning-failed": 1,
    "kubernetes-says": 2,
    "nobody-served": 3,
    "progress-deadline": 3,
    "controller-says": 4,
}

_REFUSED = frozenset({"workspace-invalid", "template-refused"})

# Why KAITO, which is there, does not take a Workspace up; and the words for not knowing why.
_HELD_UP = frozenset({"controller-busy", "workspace-invalid"})
_NOT_TAKEN_UP = frozenset({"controller-not-running", "controller-silent", "generation-not-observed"})
# Who has put a pod out of the way by a taint wants it so: nobody is to take the taint off for the next pod.
_SAID_BETTER = {
    "pod-thrown-out": ("taint-not-tolerated", "unschedulable"),
    "node-lost": ("not-ready", "unschedulable", "taint-not-tolerated"),
    "scheduling-gated": ("unschedulable",),
    "template-refused": ("workspace-invalid",),
}


# What the second ones are but signs of, where both are found: it stands before them, as grave as they are.
_SIGNS_OF = {
    "node-lost": ("pod-thrown-out",),
    "disk-full": ("pressure", "pod-thrown-out", "image-pull-slow"),
    "pod-evicted": ("pressure", "pod-thrown-out"),
    "node-problem": (
        *("gpu-broken", "gpu-program-failed", "gpu-not-visible", "gpu-driver-misfit", "gpus-disconnected"),
        *("worker-died", "gpu-not-allocatable"),
    ),
}


class Diagnosis(Struct, frozen=True):
    """Where a Workspace stands, and what keeps it there.

    Args:
        progress: how far it is.
        causes: the root first; none when nothing is wrong that could be seen.
    """

    progress: Progress
    causes: tuple[Cause, ...]

    @property
    def is_ready(self) -> bool:
        """Whether all of it serves."""
        return self.progress.outcome == "ready"

    @property
    def cause(self) -> Cause | None:
        """What keeps it from being ready; None when it is, or is merely on its way."""
        first = self.causes[0] if self.causes else None
        return None if first is None or first.weight == "note" else first


def diagnose(seen: Snapshot, now: datetime) -> Diagnosis:
    """The causes in a snapshot, the gravest and nearest to the root first.

    Args:
        seen: what there is.
        now: the time; some causes need it.

    Guarantee: not ready while a pod of the present spec is not.
    """
    where = progress(seen)
    if seen.workspace is None:
        return Diagnosis(where, ())
    case = Case(seen, seen.workspace, where, now)
    found: list[Cause] = []
    for rule in RULES:
        for cause in rule(case):
            said = [(known.code, known.message) for known in found]
            if (cause.code, cause.message) not in said:
                found.append(cause)
        if found and is_being_deleted(case.workspace):
            break  # what is going away need not become ready
        if rule is of_controller.stumbles and _REFUSED & {cause.code for cause in found}:
            if seen.controllers is not None and not of_controller.does_kaito_run(seen.controllers):
                found += of_workspace.controller(case)
            break  # for what is refused nothing is built
    if of_controller.does_kaito_run(seen.controllers) and _HELD_UP & {cause.code for cause in found}:
        found = [cause for cause in found if cause.code not in _NOT_TAKEN_UP]
    better = {cause.code for cause in found if cause.weight == "fault"} & set(_SAID_BETTER)
    worse = {code for one in better for code in _SAID_BETTER[one]}
    found = [cause for cause in found if cause.code not in worse]
    found = _roots_first(_without_those_who_wait(found))
    best = min((_LAST_RESORT.get(_kind(cause), 0) for cause in found if cause.weight != "note"), default=0)
    found = [item for item in found if item.weight == "note" or _LAST_RESORT.get(_kind(item), 0) == best]
    if where.outcome == "ready":
        found = [replace(cause, weight="note") for cause in found]
    return Diagnosis(where, tuple(sorted(found, key=lambda cause: cause.order)))


# What a pod says that waits for the others of its Workspace, and what keeps one of those away.
_WAITS = ("gpus-disconnected", "worker-died", "slow-start")
_KEEPS_AWAY = (
    *("unschedulable", "scheduling-gated", "pods-refused", "pod-evicted", "pod-rejected", "pod-ended"),
    *("node-lost", "not-ready", "out-of-memory", "cuda-out-of-memory", "container-killed", "disk-full"),
)


def _without_those_who_wait(found: list[Cause]) -> list[Cause]:
    """The causes without those of pods that merely wait for another one, of which a cause is known."""
    away = [
        cause.about.partition(",")[0]
        for cause in found
        if cause.code in _KEEPS_AWAY and cause.weight != "note"
    ]
    return [
        cause
        for cause in found
        if cause.code not in _WAITS or not any(about != cause.about.partition(",")[0] for about in away)
    ]


def _kind(cause: Cause) -> str:
    """Its code; another where a container of a tuning Job is blamed: that explains why the Job failed."""
    is_of_container = cause.code == "tuning-failed" and ", container " in cause.about
    return "container-of-tuning" if is_of_container else cause.code


def _is_root(cause: Cause) -> bool:
    """Whether signs of its code may be signs of it: those of a problem of the node are of its GPUs."""
    return cause.code != "node-problem" or of_nodes.is_of_gpus(cause)


def _roots_first(found: list[Cause]) -> list[Cause]:
    """The causes, those before their signs that are the root of them."""
    for code, signs in _SIGNS_OF.items():
        root = next((cause for cause in found if cause.code == code and _is_root(cause)), None)
        of_it = [cause for cause in found if cause.code in signs and cause.weight != "note"]
        if root is not None and of_it and root.weight != "note":
            gravest = min((root, *of_it), key=lambda cause: cause.order)
            first = replace(root, weight=gravest.weight)
            rest = [cause for cause in found if cause is not root]
            at = min(rest.index(cause) for cause in of_it)
            found = [*rest[:at], first, *rest[at:]]
    return found
