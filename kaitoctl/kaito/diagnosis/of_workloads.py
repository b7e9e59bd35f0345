"""Rules about workloads: gone, scaled to zero, paused, given up, or refused their pods."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kaitoctl.advice import Command
from kaitoctl.kaito import api, kubectl_hints, node_check
from kaitoctl.kaito.diagnosis.case import (
    Case,
    blame,
    controller_words,
    event_words,
    reason_words,
    span,
    title_of,
)
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kaito.diagnosis.pod_refusals import REFUSALS
from kaitoctl.kaito.rollout import is_called_ready, refusal_events
from kaitoctl.kaito.serving import serving
from kaitoctl.kaito.snapshot import is_at_work
from kaitoctl.kube import conditions, pod_state, webhook_failures
from kaitoctl.kube.managed_fields import last_writer
from kaitoctl.kube.objects import Object, dig, is_being_deleted, labels_of
from kaitoctl.kube.workloads import is_rolled_out, replicas, why_stalled

_QUEUE = "kueue.x-k8s.io/queue-name"
_REMADE_WITHIN_S = 30.0
_AUTOSCALERS = r"(?i)keda|autoscal|knative|zeroscaler|sablier|kube-downscaler"


def job_gone(case: Case) -> Iterator[Cause]:
    """Its tuning job has begun, has not ended, and is not there."""
    started = conditions.find(case.workspace, api.JOB_STARTED) or {}
    is_over = conditions.is_true(case.workspace, api.WORKSPACE_SUCCEEDED)
    seen = case.seen
    if started.get("status") != "True" or is_over or seen.jobs or seen.pods or "jobs" in seen.unseen:
        return
    yield blame(
        "workload-missing",
        title_of(case.workspace),
        f"its Job {case.name} does not exist any more, though its conditions say that it has started",
        [
            ("condition JobStarted", f"True since {started.get('lastTransitionTime') or '?'}"),
            ("cluster", "there is no Job of the name"),
        ],
        hint="the controller has not made it again: check that it runs, and restart it if it does",
        command=Command("kaitoctl doctor"),
        weight="fault" if case.age_s(started.get("lastTransitionTime")) > _REMADE_WITHIN_S else "wait",
    )


def workload_gone(case: Case) -> Iterator[Cause]:
    """The controller calls it ready, and what it speaks of is not there."""
    seen = case.seen
    if case.workspace.get("tuning") or seen.workloads or {"deployments", "statefulsets"} & set(seen.unseen):
        return
    if not is_called_ready(case.workspace, seen):
        return
    served = "; its pods still serve, and nothing replaces them" if serving(seen).is_any else ""
    said = [
        (f"condition {item['type']}", f"{item.get('status')} since {item.get('lastTransitionTime') or '?'}")
        for item in dig(case.workspace, "status", "conditions") or ()
        if item.get("status") == "True" and "Inference" in str(item.get("type"))
    ]
    yield blame(
        "workload-missing",
        title_of(case.workspace),
        f"its Deployment or StatefulSet {case.name} does not exist any more, though its conditions say ready"
        + served,
        [*said, ("cluster", "there is no Deployment and no StatefulSet of the name")],
        hint="the controller has not made it again: check that it runs, and restart it if it does",
        command=Command("kaitoctl doctor"),
    )


def workload_going(case: Case) -> Iterator[Cause]:
    """Somebody has deleted it: what serves now goes with it, or stays without a controller (orphan)."""
    for workload in filter(is_being_deleted, case.seen.workloads):
        metadata = workload["metadata"]
        held = ", ".join(metadata.get("finalizers") or ()) or "none"
        yield blame(
            "workload-missing",
            title_of(workload),
            "it is being deleted, and its pods with it; the controller makes it again only after that",
            [("metadata", f"deletionTimestamp {metadata['deletionTimestamp']}, finalizers {held}")],
            hint="check who deleted it, and that the controller runs: it makes the workload again",
            command=Command("kaitoctl doctor"),
        )


def scaled_to_zero(case: Case) -> Iterator[Cause]:
    """Somebody has scaled it to 0."""
    for workload in case.seen.workloads:
        if replicas(workload):
            continue
        kind, name = str(workload["kind"]), workload["metadata"]["name"]
        who = last_writer(workload, "f:spec", "f:replicas")
        evidence = [("spec", f"replicas: 0 in {title_of(workload)}")]
        evidence += [
            event_words(event)
            for event in case.seen.events_of(workload)
            if event.get("reason") == "ScalingReplicaSet"
        ][:1]
        hint = "scale it up again"
        if who is None and workload["metadata"].get("managedFields"):
            # A Scale object leaves 0 out, so that its writer is not noted. Seen on Kubernetes v1.37.2.
            words = (
                "no manager owns spec.replicas: the scale subresource set it (kubectl scale, an autoscaler)"
            )
            evidence.append(("managedFields", words))
        if who is not None:
            evidence.append(("managedFields", f"{who.manager} wrote spec.replicas at {who.time or '?'}"))
            if re.search(_AUTOSCALERS, who.manager):
                hint = f"{who.manager} did it, and may do it again: check its rules first; then scale it up"
        yield blame(
            "scaled-to-zero",
            title_of(workload),
            "it is scaled to 0, so nothing serves"
            + (f"; {who.manager} has set that" if who is not None else ""),
            evidence,
            hint=hint,
            command=Command(
                "kubectl scale",
                kind.lower(),
                name,
                *case.in_namespace,
                f"--replicas={node_check.planned_nodes(case.workspace)}",
            ),
        )


def paused_workload(case: Case) -> Iterator[Cause]:
    """Somebody has halted a rollout: a paused Deployment, a partition, OnDelete, a suspended Job."""
    for workload in case.seen.workloads:
        if is_rolled_out(workload) and replicas(workload):
            continue
        name = workload["metadata"]["name"]
        is_behind = int(dig(workload, "status", "updatedReplicas") or 0) < replicas(workload)
        if dig(workload, "spec", "paused"):
            yield blame(
                "workload-paused",
                title_of(workload),
                "it is paused, so that no change of it is rolled out",
                [("spec", "paused: true"), *_progressing(workload)],
                hint="resume it",
                command=Command("kubectl rollout resume deployment", name, *case.in_namespace),
                weight="fault" if is_behind else "note",  # what its newest pods lack, no rollout brings
            )
        strategy = dig(workload, "spec", "updateStrategy") or {}
        partition = dig(strategy, "rollingUpdate", "partition")
        if (
            str(workload["kind"]) == "StatefulSet"
            and is_behind
            and (partition or strategy.get("type") == "OnDelete")
        ):
            how = f"partition {partition}" if partition else "updateStrategy OnDelete"
            yield blame(
                "workload-paused",
                title_of(workload),
                f"its {how} keeps older pods as they are",
                [("spec", f"updateStrategy: {strategy}")],
                hint="whoever set that controls when pods restart; check it, and reset it when they may",
                command=kubectl_hints.describe(workload),
            )
    for job in case.seen.jobs:
        if dig(job, "spec", "suspend"):
            yield _suspension(case, job)


def held_back(case: Case) -> Iterator[Cause]:
    """A StatefulSet that updates one pod after the other waits for one of the older revision to be Ready.

    Source: Kubernetes v1.37.2 pkg/controller/statefulset/stateful_set_control.go; `Parallel` does not wait.
    """
    for workload in case.seen.workloads:
        before, now = (dig(workload, "status", key) for key in ("currentRevision", "updateRevision"))
        is_ordered = dig(workload, "spec", "podManagementPolicy") != "Parallel"
        if workload["kind"] != "StatefulSet" or not is_ordered or not now or before == now:
            continue
        for pod in case.seen.pods:
            is_older = labels_of(pod).get("controller-revision-hash") == before
            if not is_older or is_being_deleted(pod) or pod_state.is_ready(pod):
                continue
            if pod_state.trouble(pod) is None:
                continue
            name = str(pod["metadata"]["name"])
            yield blame(
                "workload-paused",
                title_of(workload),
                f"its update waits until pod {name} of the revision before is Ready, and it is not",
                [
                    ("status", f"currentRevision {before}, updateRevision {now}"),
                    ("spec", "podManagementPolicy: OrderedReady"),
                    ("pod", f"{name}: {pod_state.summary(pod)}"),
                ],
                hint="delete that pod, which serves nobody: the next one is of the new revision",
                command=Command("kubectl delete pod", name, *case.in_namespace),
            )
            return


def _suspension(case: Case, job: Object) -> Cause:
    name, queue = job["metadata"]["name"], labels_of(job).get(_QUEUE)
    patch = '{"spec":{"suspend":false}}'
    resume = Command("kubectl patch job", name, *case.in_namespace, "--type", "merge", "-p", patch)
    return blame(
        "workload-paused",
        title_of(job),
        f"it is suspended{f': queue {queue} has not admitted it' if queue else ''}",
        [("spec", "suspend: true"), *_progressing(job)],
        hint="check the queue; Kueue starts the job when it is its turn" if queue else "resume it",
        command=Command("kubectl get workloads.kueue.x-k8s.io", *case.in_namespace) if queue else resume,
        weight="wait" if queue else "fault",
    )


def _progressing(workload: Object) -> list[tuple[str, str]]:
    return [
        (f"condition {item['type']}", reason_words(item))
        for item in dig(workload, "status", "conditions") or ()
        if item.get("type") in ("Progressing", "Suspended")
    ]


def refused_pods(case: Case) -> Iterator[Cause]:
    """The API server refuses the pods that a workload wants to make, be it only those of a new revision."""
    for obj in (*case.seen.workloads, *case.seen.replica_sets, *case.seen.jobs):
        if evidence := _refusal_evidence(case, obj):
            yield _refusal(case, obj, evidence)
            return


def _refusal_evidence(case: Case, obj: Object) -> list[tuple[str, str]]:
    evidence = [event_words(event) for event in refusal_events(case.seen, obj, is_short=_is_short(case, obj))]
    failure = conditions.find(obj, "ReplicaFailure")
    if failure is not None and failure.get("status") == "True":
        evidence.insert(0, ("condition ReplicaFailure", str(failure.get("message"))))
    return evidence


def _is_short(case: Case, obj: Object) -> bool:
    return not case.pods or int(dig(obj, "status", "replicas") or 0) < replicas(obj)


def _refusal(case: Case, obj: Object, evidence: list[tuple[str, str]]) -> Cause:
    words = evidence[0][1]
    # A StatefulSet makes a pod's claims first. Source: Kubernetes v1.37.2 pkg/controller/statefulset.
    of_claim = re.search(r'^create Claim |^persistentvolumeclaims? "', words) is not None
    refused = "the volume claim of a pod is refused" if of_claim else "the pods are refused"
    message = f"{refused}: {words}" if of_claim else f"the pods of {title_of(obj)} are refused: {words}"
    if failed := webhook_failures.failure(words):
        name, why = failed
        return blame(
            "pods-refused",
            title_of(obj),
            f"{refused}: admission webhook {name} {why.what}",
            evidence,
            hint=f"{why.hint}; who owns it may let it fail open (failurePolicy)",
            command=webhook_failures.LIST,
        )
    for kind in REFUSALS:
        found = re.search(kind.pattern, words)
        if found is None:
            continue
        name = str(next((value for value in found.groupdict().values() if value), "")).rstrip(".,;:")
        command = kind.command and kind.command.filled({"name": name, "namespace": case.namespace})
        return blame(
            "pods-refused",
            title_of(obj),
            f"{refused}: {kind.what.format(name=name)}",
            evidence,
            hint=kind.hint,
            command=command or kubectl_hints.describe(obj),
            weight="wait" if kind.passes else "fault",
        )
    return blame(
        "pods-refused",
        title_of(obj),
        message,
        evidence,
        hint="check the message",
        command=kubectl_hints.describe(obj),
    )


def failed_tuning(case: Case) -> Iterator[Cause]:
    """A tuning job that failed."""
    if not case.seen.jobs:
        return
    from kaitoctl.kaito import tuning

    for job in case.seen.jobs:
        failure = tuning.failure(job, case.seen.pods)
        if failure is not None and failure.final and case.workspace.get("tuning"):
            yield blame(
                "tuning-failed",
                title_of(job),
                failure.message,
                controller_words(case),
                hint="fix the cause, then change the Workspace or delete the Job",
                command=Command("kaitoctl logs", case.name, *case.in_namespace),
            )


def given_up(case: Case) -> Iterator[Cause]:
    """Deployments that Kubernetes has given up."""
    loading = [pod for pod in case.pods if is_at_work(case.seen, pod)]
    if any(conditions.is_true(pod, "ContainersReady") for pod in loading):
        return  # they wait for a readiness gate, not for time
    still, hint = "", "check the pods"
    if loading and not case.seen.is_ours:
        since_s = case.age_s(loading[0]["metadata"].get("creationTimestamp"))
        still = f"; {title_of(loading[0])} is at work for {span(since_s)} and may still become ready"
        hint = "wait for the pod; Kubernetes stops nothing when it gives up"
    for workload in case.seen.workloads:
        if why := why_stalled(workload):
            yield blame(
                "progress-deadline",
                title_of(workload),
                f"Kubernetes has given the rollout up: {why.rstrip('. ')}{still}",
                [("condition Progressing", why)],
                hint=hint,
                command=Command("kaitoctl status", case.name, *case.in_namespace),
                weight="wait" if still else "fault",
            )
