"""Rules for what no table knows: Kubernetes' own words are the evidence, whatever they say."""

from __future__ import annotations

from collections.abc import Iterator

from kaitoctl.advice import Command
from kaitoctl.kaito import kubectl_hints
from kaitoctl.kaito.diagnosis.case import (
    Case,
    blame,
    condition_words,
    event_words,
    is_creating,
    span,
    title_of,
)
from kaitoctl.kaito.diagnosis.cause import Cause, Weight
from kaitoctl.kaito.diagnosis.reasons import NORMAL, Place, code_of
from kaitoctl.kaito.node_check.of_state import PRESSURES
from kaitoctl.kaito.snapshot import times_of
from kaitoctl.kube import pod_state
from kaitoctl.kube.objects import Object, dig, generation_of
from kaitoctl.kube.workloads import replicas

_SILENT_S = 900.0
_USUAL_ONCE, _OFTEN = ("SandboxChanged",), 5
# Source: Kubernetes v1.37.2 pkg/volume/volume_linux.go, pkg/kubelet/kuberuntime/kuberuntime_manager.go.
_HINTS = {
    "VolumePermissionChangeInProgress": "the kubelet gives each file on the volume to the pod's fsGroup: set "
    "fsGroupChangePolicy: OnRootMismatch in the pod template, and it does so once",
    "SandboxChanged": "the pod's sandbox ends again and again: check the container runtime's and the network "
    "plugin's log on the node",
}
_CREATED_WITHIN_S = 60.0


def said_of_containers(case: Case) -> Iterator[Cause]:
    """Reasons at which containers wait, or for which they ended, that nobody knows."""
    for pod in case.pods:
        for item in pod_state.container_statuses(pod):
            for place in ("waiting", "terminated"):
                said = dig(item, "state", place) or {}
                reason = str(said.get("reason") or "")
                ended_well = place == "terminated" and said.get("exitCode") == 0
                if not reason or ended_well or code_of(_PLACES[place], reason) is not None:
                    continue
                words = str(said.get("message") or reason)
                yield _cause(case, pod, f"container {item['name']}", reason, words, [])


_PLACES: dict[str, Place] = {"waiting": "waiting", "terminated": "terminated"}


def said_of_pods(case: Case) -> Iterator[Cause]:
    """Conditions and warnings about pods that no other rule has read."""
    for pod in case.pods:
        if pod_state.is_ready(pod):
            continue
        for item in dig(pod, "status", "conditions") or ():
            if str(item.get("type")) in ("PodResizePending", "PodResizeInProgress") and item.get("message"):
                words = str(item.get("message"))
                yield _cause(
                    case, pod, f"condition {item['type']}", str(item.get("reason")), words, [], "wait"
                )
        yield from _warning(case, pod, "event")
        since_s = case.age_s(pod["metadata"].get("creationTimestamp"))
        if is_creating(pod) and not case.seen.events_of(pod) and since_s > _SILENT_S:
            node = str(dig(pod, "spec", "nodeName"))
            yield blame(
                "kubernetes-says",
                title_of(pod),
                f"the kubelet of {node} has begun nothing of it for {span(since_s)}, and no event says why",
                [("pod", pod_state.summary(pod)), *_pressures(case, node), *_unseen(case)],
                hint="the node runs out of what it reports: free it, or take another node"
                if _pressures(case, node)
                else "check whether that node's kubelet runs, and what it pulls or mounts",
                command=Command("kubectl describe node", node),
                weight="wait",
            )


def _pressures(case: Case, name: str) -> list[tuple[str, str]]:
    """That the node lacks disk, memory or process ids, in the words of its kubelet."""
    found = ((case.seen.node(name) or {}).get("status") or {}).get("conditions") or ()
    return [
        condition_words(item)
        for item in found
        if item.get("type") in PRESSURES and item.get("status") == "True"
    ]


def said_of_workloads(case: Case) -> Iterator[Cause]:
    """Warnings about workloads that no other rule has read."""
    of = (*case.seen.workloads, *case.seen.replica_sets, *case.seen.jobs)
    warned = [cause for workload in of for cause in _warning(case, workload, "workload-event")]
    yield from warned
    if not warned:
        yield from _not_taken_up(case)
    if warned or case.seen.pods or case.progress.down or "pods" in case.seen.unseen:
        return
    for workload in case.seen.workloads:
        since_s = _changed_s(case, workload)  # a restart leaves it without a pod for a moment
        if replicas(workload) and since_s > _CREATED_WITHIN_S:
            yield blame(
                "kubernetes-says",
                title_of(workload),
                f"it has had no pod for {span(since_s)}, and no event says why",
                [("spec", f"replicas: {replicas(workload)}"), *_unseen(case)],
                hint="that takes Kubernetes seconds: check that kube-controller-manager runs",
                command=kubectl_hints.describe(workload),
            )


def _changed_s(case: Case, workload: Object) -> float:
    """Seconds since somebody last wrote the workload or its status."""
    times = [item.get("time") for item in workload["metadata"].get("managedFields") or ()]
    return case.age_s(
        max(map(str, filter(None, times)), default=workload["metadata"].get("creationTimestamp"))
    )


def _not_taken_up(case: Case) -> Iterator[Cause]:
    """Workloads whose last change Kubernetes' own controllers have not seen."""
    for workload in case.seen.workloads:
        wanted, seen = generation_of(workload), int(dig(workload, "status", "observedGeneration") or 0)
        since_s = _changed_s(case, workload)
        if seen >= wanted or since_s <= _CREATED_WITHIN_S:
            continue
        yield blame(
            "kubernetes-says",
            title_of(workload),
            f"Kubernetes has not observed its last change, made {span(since_s)} ago",
            [("status", f"observedGeneration {seen}, and metadata.generation is {wanted}")],
            hint="that takes Kubernetes seconds: check that kube-controller-manager runs",
            command=kubectl_hints.describe(workload),
        )


def _warning(case: Case, obj: Object, place: Place) -> Iterator[Cause]:
    """The newest warning about it that is unknown, or known to have no cause of its own."""
    for event in case.seen.events_of(obj):
        reason = str(event.get("reason") or "")
        code = code_of(place, reason)
        if reason in _USUAL_ONCE and times_of(event) >= _OFTEN:
            code = "kubernetes-says"
        if code == NORMAL or (code is None and event.get("type") != "Warning"):
            continue
        if code in (None, "kubernetes-says"):
            source, words = event_words(event)
            yield _cause(case, obj, source, reason, words or reason, [], "wait")
        return


def _cause(
    case: Case,
    obj: Object,
    source: str,
    reason: str,
    words: str,
    more: list[tuple[str, str]],
    weight: Weight = "fault",
) -> Cause:
    return blame(
        "kubernetes-says",
        title_of(obj),
        f"{reason}: {words}" if words != reason else reason,
        [(source, f"{reason}: {words}"), *more],
        hint=_HINTS.get(reason, "kaitoctl knows no advice for this reason: the message is Kubernetes' own"),
        command=kubectl_hints.describe(obj),
        weight=weight,
    )


def _unseen(case: Case) -> list[tuple[str, str]]:
    return [("cluster", f"events: {case.seen.unseen['events']}")] if "events" in case.seen.unseen else []
