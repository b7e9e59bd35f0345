"""Rules about workloads: gone, scaled to zero, paused, given up, or refused their pods."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from kaitoctl.kaito import api, nodes
from kaitoctl.kaito.diagnosis.case import Case, blame, describe, title_of, told_by, told_of, word
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kaito.rollout import is_called_ready
from kaitoctl.kaito.serving import serving
from kaitoctl.kaito.snapshot import event_time
from kaitoctl.kube import conditions
from kaitoctl.kube.managed_fields import last_writer
from kaitoctl.kube.objects import Object, dig, labels_of
from kaitoctl.kube.workloads import is_rolled_out, replicas, stalled

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
        hint="the controller has not made it again: see that it runs, and restart it if it does",
        command="kaitoctl doctor",
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
        hint="the controller has not made it again: see that it runs, and restart it if it does",
        command="kaitoctl doctor",
    )


def scaled_to_zero(case: Case) -> Iterator[Cause]:
    """Somebody has scaled it to 0."""
    for workload in case.seen.workloads:
        if replicas(workload):
            continue
        kind, name = str(workload["kind"]), word(workload["metadata"]["name"])
        who = last_writer(workload, "f:spec", "f:replicas")
        evidence = [("spec", f"replicas: 0 in {title_of(workload)}")]
        evidence += [
            told_by(event)
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
                hint = f"{who.manager} did it, and may do it again: see its rules first; then scale it up"
        yield blame(
            "scaled-to-zero",
            title_of(workload),
            "it is scaled to 0, so nobody is served"
            + (f"; {who.manager} has set that" if who is not None else ""),
            evidence,
            hint=hint,
            command=f"kubectl scale {kind.lower()} {name} {case.namespace} "
            f"--replicas={nodes.required_nodes(case.workspace)}",
        )


def paused(case: Case) -> Iterator[Cause]:
    """Somebody has halted a rollout: a paused Deployment, a partition, OnDelete, a suspended Job."""
    for workload in case.seen.workloads:
        if is_rolled_out(workload) and replicas(workload):
            continue
        name = word(workload["metadata"]["name"])
        is_behind = int(dig(workload, "status", "updatedReplicas") or 0) < replicas(workload)
        if dig(workload, "spec", "paused"):
            yield blame(
                "workload-paused",
                title_of(workload),
                "it is paused, so that no change of it is rolled out",
                [("spec", "paused: true"), *_progressing(workload)],
                hint="resume it",
                command=f"kubectl rollout resume deployment {name} {case.namespace}",
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
                hint="who set that wants to say when pods restart; see it, and set it back when they may",
                command=describe(case, workload),
            )
    for job in case.seen.jobs:
        if dig(job, "spec", "suspend"):
            yield _suspended(case, job)


def _suspended(case: Case, job: Object) -> Cause:
    name, queue = word(job["metadata"]["name"]), labels_of(job).get(_QUEUE)
    resume = f'kubectl patch job {name} {case.namespace} --type merge -p \'{{"spec":{{"suspend":false}}}}\''
    return blame(
        "workload-paused",
        title_of(job),
        f"it is suspended{f': queue {queue} has not admitted it' if queue else ''}",
        [("spec", "suspend: true"), *_progressing(job)],
        hint="see the queue; Kueue starts the job when it is its turn" if queue else "resume it",
        command=f"kubectl get workloads.kueue.x-k8s.io {case.namespace}" if queue else resume,
        weight="wait" if queue else "fault",
    )


def _progressing(workload: Object) -> list[tuple[str, str]]:
    return [
        (f"condition {item['type']}", f"{item.get('reason')}: {item.get('message')}")
        for item in dig(workload, "status", "conditions") or ()
        if item.get("type") in ("Progressing", "Suspended")
    ]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an API server does not let a controller create pods.

    Args:
        pattern: of its message.
        what: the same in words.
        hint: what to do.
        command: where to look; `{ns}` is the namespace as an option of kubectl's, `{name}` what is named.
        passes: whether it may pass by itself.
    """

    pattern: str
    what: str
    hint: str
    command: str = ""
    passes: bool = False


# Source of the messages: Kubernetes v1.37.2, plugin/pkg/admission (resourcequota, limitranger,
# serviceaccount, priority, runtimeclass, namespace/lifecycle), staging/src/k8s.io/apiserver/pkg/admission/
# plugin (webhook, policy/validating), staging/src/k8s.io/pod-security-admission; OpenShift's SCC admission.
REFUSALS = (
    Refusal(
        r"failed calling webhook \"?(?P<name>[^\s\":]+)",
        "admission webhook {name} does not answer",
        "get the service behind the webhook to run again; who owns it may let it fail open (failurePolicy)",
        "kubectl get mutatingwebhookconfigurations,validatingwebhookconfigurations",
    ),
    Refusal(
        r"admission webhook \"?(?P<name>[^\s\"]+)\"? denied the request",
        "admission webhook {name} forbids the pods",
        "change what it objects to, or ask who owns its policy",
        "kubectl get mutatingwebhookconfigurations,validatingwebhookconfigurations",
    ),
    Refusal(
        r"exceeded quota: (?P<name>[^\s,]+)|failed quota: (?P<name2>[^\s:,]+)|must specify "
        r"(limits|requests)\.",
        "the quota of the namespace is used up or asks for limits",
        "raise the quota, or free what this namespace does not need",
        "kubectl describe resourcequota {ns}",
    ),
    Refusal(
        r"(maximum|minimum) \S+ usage per (Container|Pod)|limit to request ratio per (Container|Pod)",
        "a LimitRange of the namespace forbids what the pods ask for",
        "change the LimitRange, or the resources of the pod template",
        "kubectl describe limitrange {ns}",
    ),
    Refusal(
        r"(?i)error looking up service ?account \S*?/?(?P<name>[^/\s:]+):|serviceaccounts? "
        r"\"(?P<name2>[^\"]+)\" not found",
        "ServiceAccount {name} does not exist in this namespace",
        "create it, with the rights that its pods need",
        "kubectl create serviceaccount {name} {ns}",
    ),
    Refusal(
        r"no PriorityClass with name (?P<name>\S+) was found|priorityclass\S* "
        r"\"(?P<name2>[^\"]+)\" not found",
        "PriorityClass {name} does not exist",
        "create the PriorityClass, or take its name out of the pod template",
        "kubectl get priorityclasses",
    ),
    Refusal(
        r"RuntimeClass \"(?P<name>[^\"]+)\" not found",
        "RuntimeClass {name} does not exist",
        "create it (the GPU operator does), or take its name out of the pod template",
        "kubectl get runtimeclasses",
    ),
    Refusal(
        r"(?i)because it is being terminated|namespace \S+ is being terminated|NamespaceTerminating",
        "the namespace is being deleted, so nothing new can be created in it",
        "create the Workspace in another namespace",
        "kubectl get namespace {namespace} -o yaml",
    ),
    Refusal(
        r"violates PodSecurity \"?(?P<name>[^\"\s]+)",
        "Pod Security level {name} of the namespace forbids the pods",
        "bring the pod template in line, or ask who owns the namespace for another level",
        "kubectl get namespace {namespace} --show-labels",
    ),
    Refusal(
        r"ValidatingAdmissionPolicy '?(?P<name>[^\s']+)'?.* denied request",
        "ValidatingAdmissionPolicy {name} forbids the pods",
        "change what it objects to, or ask who owns the policy",
        "kubectl describe validatingadmissionpolicies",
    ),
    Refusal(
        r"(?i)image policy webhook",
        "the image policy of the cluster forbids the image, or does not answer",
        "name an image that the policy admits, or ask who owns it",
    ),
    Refusal(
        r"(?i)namespace( default)? tolerations|namespace node label selector",
        "the namespace prescribes other tolerations or nodes than the pods have",
        "bring the pod template in line, or ask who owns the namespace",
        "kubectl get namespace {namespace} -o yaml",
    ),
    Refusal(
        r"(?i)security context constraint|pod ?security ?policy",
        "no security context constraint lets the pods run",
        "ask for a constraint for the ServiceAccount of the pods",
        "kubectl get securitycontextconstraints",
    ),
    Refusal(
        r"(?i)pods? \"[^\"]*\" is invalid|: Invalid value:|unknown field",
        "the pod template is invalid",
        "correct the pod template that the Workspace names",
    ),
    Refusal(
        r"(?i)failed to create PVC|persistentvolumeclaims? .* is forbidden",
        "the volume claims of the StatefulSet cannot be created",
        "see the message: a quota of storage, or a storage class that does not exist",
        "kubectl get persistentvolumeclaims,storageclasses {ns}",
    ),
    Refusal(
        r"(?i)\bis forbidden: User \"(?P<name>[^\"]+)\" cannot",
        "{name} may not create pods here",
        "give the workload controller its rights back",
        "kubectl get clusterrolebinding -o wide",
    ),
    Refusal(
        r"(?i)etcdserver|too many requests|timed? ?out|deadline exceeded|connection refused|unavailable",
        "the API server was too busy to create the pods",
        "it is retried automatically; check the health of the API server",
        "kubectl get --raw /readyz",
        passes=True,
    ),
)


def refused_pods(case: Case) -> Iterator[Cause]:
    """The API server refuses the pods that a workload wants to make, be it only those of a new revision."""
    for obj in (*case.seen.workloads, *case.seen.replica_sets, *case.seen.jobs):
        if told := _refused(case, obj):
            yield _refusal(case, obj, told)
            return


def _refused(case: Case, obj: Object) -> list[tuple[str, str]]:
    failure = conditions.find(obj, "ReplicaFailure")
    events = case.seen.events_of(obj)
    failed = [event for event in events if event.get("reason") in ("FailedCreate", "ReplicaSetCreateError")]
    made = max(
        (event_time(event) for event in events if event.get("reason") == "SuccessfulCreate"), default=""
    )
    # Events outlive what they speak of: they count only where pods are missing, and none was created since.
    is_short = not case.pods or int(dig(obj, "status", "replicas") or 0) < replicas(obj)
    told = [told_by(event) for event in failed if is_short and event_time(event) >= made]
    if failure is not None and failure.get("status") == "True":
        told.insert(0, ("condition ReplicaFailure", str(failure.get("message"))))
    return told


def _refusal(case: Case, obj: Object, told: list[tuple[str, str]]) -> Cause:
    words = told[0][1]
    message = f"the pods of {title_of(obj)} are refused: {words}"
    for kind in REFUSALS:
        found = re.search(kind.pattern, words)
        if found is None:
            continue
        name = str(next((value for value in found.groupdict().values() if value), "")).rstrip(".,;:")
        namespace = case.namespace.removeprefix("-n ")
        command = kind.command.format(ns=case.namespace, name=word(name), namespace=namespace)
        return blame(
            "pods-refused",
            title_of(obj),
            f"the pods are refused: {kind.what.format(name=name)}",
            told,
            hint=kind.hint,
            command=command or describe(case, obj),
            weight="wait" if kind.passes else "fault",
        )
    return blame(
        "pods-refused", title_of(obj), message, told, hint="see the message", command=describe(case, obj)
    )


def tuned(case: Case) -> Iterator[Cause]:
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
                told_of(case),
                hint="fix the cause, then change the Workspace or delete the Job",
                command=f"kaitoctl logs {case.name} {case.namespace}",
            )


def given_up(case: Case) -> Iterator[Cause]:
    """Deployments that Kubernetes has given up."""
    for workload in case.seen.workloads:
        if why := stalled(workload):
            yield blame(
                "progress-deadline",
                title_of(workload),
                f"Kubernetes has given the rollout up: {why}",
                [("condition Progressing", why)],
                hint="see the pods",
                command=f"kaitoctl status {case.name} {case.namespace}",
            )
