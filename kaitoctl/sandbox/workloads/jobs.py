"""Jobs: pods that run to completion, tried again until the limit is reached.

`count_pods` is the arithmetic, `Jobs` the reconciler. An ended Job is never looked at again. Not known:
indexed completion, success and pod failure policies. Successes are counted from the pods that are there, so
deleting a succeeded pod of an unfinished Job runs it again.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/job/
"""

from __future__ import annotations

from collections.abc import Generator, Iterable

from msgspec import Struct

from kaitoctl.kube import conditions, request
from kaitoctl.kube.objects import (
    JOB,
    POD,
    Object,
    ObjectKey,
    dig,
    is_being_deleted,
    is_controlled_by,
    key_of,
    uid_of,
)
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.controller import Outcome
from kaitoctl.reconcile.store import Store
from kaitoctl.sandbox.clock import Clock
from kaitoctl.sandbox.workloads import pods
from kaitoctl.sandbox.workloads.pods import Writes

_MANAGER = "job-controller"
_DEFAULT_BACKOFF_LIMIT = 6
# Source: kubernetes pkg/controller/job (DefaultJobPodFailureBackOff, MaxJobPodFailureBackOff).
_FIRST_BACKOFF_S = 10.0
_LONGEST_BACKOFF_S = 600.0


class Count(Struct, frozen=True):
    """How the pods of a Job stand.

    Args:
        active: running, or about to.
        ready: of these, the ready ones.
        succeeded: ended well.
        failed: ended badly; where containers are restarted in place, their restarts count too.
    """

    active: int
    ready: int
    succeeded: int
    failed: int


def count_pods(owned: Iterable[Object]) -> Count:
    """The count of a Job's pods."""
    mine = list(owned)
    active = [pod for pod in mine if pods.is_active(pod)]
    failed = sum(pods.phase(pod) == "Failed" for pod in mine)
    restarts = sum(
        int(status.get("restartCount") or 0)
        for pod in active
        if dig(pod, "spec", "restartPolicy") == "OnFailure"
        for field in ("initContainerStatuses", "containerStatuses")
        for status in dig(pod, "status", field) or ()
    )
    succeeded = sum(pods.phase(pod) == "Succeeded" for pod in mine)
    return Count(len(active), sum(pods.is_ready(pod) for pod in active), succeeded, failed + restarts)


def end_condition(job: Object) -> Object | None:
    """The condition that says that the Job has ended, or None."""
    for kind in ("Complete", "Failed"):
        if conditions.is_true(job, kind):
            return conditions.find(job, kind)
    return None


class Jobs(Struct, frozen=True):
    """Reconciles one Job.

    Args:
        jobs: store of all Jobs.
        pods: store of all pods.
        clock: the sandbox's time.
    """

    jobs: Store
    pods: Store
    clock: Clock

    def reconcile(self, key: ObjectKey) -> Generator[Request, Object, Outcome]:
        """Start what is missing, stop what is too much, and count."""
        job = self.jobs.get(key)
        if job is None or is_being_deleted(job):
            return Outcome()
        if end_condition(job):
            return (yield from self._expire(job))
        spec = job.get("spec") or {}
        parallelism = 1 if spec.get("parallelism") is None else int(spec["parallelism"])
        completions = int(spec.get("completions") or (parallelism if "completions" in spec else 1) or 1)
        limit = spec.get("backoffLimit")
        limit = _DEFAULT_BACKOFF_LIMIT if limit is None else int(limit)
        mine = self.pods.by_owner(uid_of(job))
        count = count_pods(mine)
        started = dig(job, "status", "startTime") or self.clock.stamp()
        left_s = None
        if spec.get("activeDeadlineSeconds") is not None:
            left_s = float(spec["activeDeadlineSeconds"]) - self.clock.since_s(started)
        if count.succeeded >= completions:
            verdict: Object | None = conditions.condition(
                "Complete", True, "CompletionsReached", "Reached expected number of succeeded pods"
            )
        elif count.failed > limit:
            verdict = conditions.condition(
                "Failed", True, "BackoffLimitExceeded", "Job has reached the specified backoff limit"
            )
        elif left_s is not None and left_s <= 0:
            verdict = conditions.condition(
                "Failed", True, "DeadlineExceeded", "Job was active longer than specified deadline"
            )
        else:
            verdict = None
        wait_s = 0.0
        wanted = 0 if verdict or spec.get("suspend") else min(parallelism, completions - count.succeeded)
        if count.active < wanted:
            wait_s = self._backoff_s(mine, count)
            if wait_s <= 0:
                yield from self._start(job, wanted)
        elif count.active > wanted:
            active = [pod for pod in mine if pods.is_active(pod)]
            for pod in sorted(active, key=pods.is_ready)[: count.active - wanted]:
                yield from pods.delete(POD, pod)
        yield from self._report(job, count, verdict, started)
        soonest = min((wait for wait in (wait_s, left_s) if wait and wait > 0), default=None)
        return Outcome(None if soonest is None else self.clock.wall_s(soonest))

    def _start(self, job: Object, wanted: int) -> Writes:
        key = key_of(job)
        # The store may not show what the last reconcile did; before starting twice, ask.
        answer = yield Request("GET", POD.path(key.namespace))
        listed = [pod for pod in answer.get("items") or () if is_controlled_by(pod, job)]
        ended_unseen = count_pods(listed) != count_pods(self.pods.by_owner(uid_of(job)))
        missing = 0 if ended_unseen else wanted - count_pods(listed).active
        labels = {
            "batch.kubernetes.io/controller-uid": uid_of(job),
            "batch.kubernetes.io/job-name": key.name,
            "controller-uid": uid_of(job),
            "job-name": key.name,
        }
        for _ in range(missing):
            pod = pods.pod_of(job, dig(job, "spec", "template") or {}, pods.random_name(key.name), labels)
            pod["spec"].setdefault("restartPolicy", "Never")
            yield request.create(POD, pod)
            yield from pods.record(
                job, "SuccessfulCreate", f"Created pod: {key_of(pod).name}", source=_MANAGER, clock=self.clock
            )

    def _backoff_s(self, mine: Iterable[Object], count: Count) -> float:
        """Simulated seconds until the next try: ten after the first failure, then twice as many each."""
        finished = [
            str(dig(status, "state", "terminated", "finishedAt") or "")
            for pod in mine
            if pods.phase(pod) == "Failed"
            for status in dig(pod, "status", "containerStatuses") or ()
        ]
        last = max(finished, default="")
        if not count.failed or not last:
            return 0.0
        pause_s: float = min(_FIRST_BACKOFF_S * 2 ** (count.failed - 1), _LONGEST_BACKOFF_S)
        return pause_s - self.clock.since_s(last)

    def _report(self, job: Object, count: Count, verdict: Object | None, started: str) -> Writes:
        had = dig(job, "status", "conditions") or []
        status: Object = {
            "startTime": started,
            "ready": 0 if verdict else count.ready,
            "terminating": 0,
            "uncountedTerminatedPods": {},
        }
        counts = {
            "active": 0 if verdict else count.active,
            "succeeded": count.succeeded,
            "failed": count.failed,
        }
        status |= {name: number for name, number in counts.items() if number}
        if verdict:
            news = [{**verdict, "lastProbeTime": self.clock.stamp()}]
            had = pods.merged_conditions(had, news, self.clock)
            if verdict["type"] == "Complete":
                status["completionTime"] = self.clock.stamp()
        if had:
            status["conditions"] = had
        yield from pods.status_patch(JOB, job, status, manager=_MANAGER)
        if verdict:
            failed = verdict["type"] == "Failed"
            reason, message = (
                (verdict["reason"], verdict["message"]) if failed else ("Completed", "Job completed")
            )
            yield from pods.record(job, reason, message, source=_MANAGER, clock=self.clock, warning=failed)

    def _expire(self, job: Object) -> Generator[Request, Object, Outcome]:
        """Delete an ended Job once its `ttlSecondsAfterFinished` are over."""
        for pod in self.pods.by_owner(uid_of(job)):
            if pods.is_active(pod):
                yield from pods.delete(POD, pod)
        kept_s = dig(job, "spec", "ttlSecondsAfterFinished")
        condition = end_condition(job) or {}
        if kept_s is None or "lastTransitionTime" not in condition:
            return Outcome()
        left_s = float(kept_s) - self.clock.since_s(condition["lastTransitionTime"])
        if left_s > 0:
            return Outcome(self.clock.wall_s(left_s))
        yield from pods.delete(JOB, job)
        return Outcome()
