"""Rules about pods that run and are not ready: gates that are shut, servers that were ready once.

`not_serving_without_cause` is for when no rule has found why a Workspace that is called ready serves nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from kaitoctl.advice import Advice, Command
from kaitoctl.kaito import kubectl_hints
from kaitoctl.kaito.diagnosis import of_failed_pods, of_logs, of_scheduling
from kaitoctl.kaito.diagnosis.case import (
    Case,
    blame,
    budget_of,
    controller_words,
    event_words,
    events_about,
    logs_of,
    span,
    title_of,
)
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kube import conditions, pod_state
from kaitoctl.kube.objects import Object, dig, is_being_deleted


def readiness_gates(case: Case) -> Iterator[Cause]:
    """Pods whose containers are ready, and that somebody else has to call ready, too.

    Source: Kubernetes v1.37.2 pkg/kubelet/status/generate.go (ReadinessGatesNotReady).
    """
    if any(map(pod_state.is_ready, case.pods)):
        return
    for pod in case.pods:
        ready, containers = conditions.find(pod, "Ready") or {}, conditions.find(pod, "ContainersReady") or {}
        gates = [str(item.get("conditionType")) for item in dig(pod, "spec", "readinessGates") or ()]
        missing = [gate for gate in gates if not conditions.is_true(pod, gate)]
        if containers.get("status") != "True" or not missing:
            continue
        words = f"{ready.get('status')} {ready.get('reason') or ''} {ready.get('message') or ''}".strip()
        late = case.age_s(containers.get("lastTransitionTime")) > _GATES_WITHIN_S
        yield blame(
            "nobody-served",
            title_of(pod),
            f"its containers are ready, and its readiness gate {', '.join(missing)} is not True",
            [("condition Ready", words)],
            hint="its owner sets it, such as a load balancer's controller: check that it runs and knows "
            "the pod",
            command=kubectl_hints.describe(pod),
            weight="fault" if late or case.progress.down else "wait",
        )
        return


_GATES_WITHIN_S = 120.0


def no_longer_ready(case: Case, pod: Object, item: Object, log: str) -> Cause:
    """A server that served and still runs: what its probe meets, and what its log says.

    Args:
        case: what was seen.
        pod: whose container it is.
        item: the status of the container.
        log: of the container.
    """
    name = str(item["name"])
    message = f"it runs, and is no longer ready {span(pod_state.was_ready_for_s(pod, item))} after it began"
    unhealthy = [event for event in events_about(case, pod, name) if event.get("reason") == "Unhealthy"][:1]
    ready = conditions.find(pod, "Ready") or {}
    evidence = [*map(event_words, unhealthy)] or [("condition Ready", str(ready.get("message") or "False"))]
    look: Advice = logs_of(case, pod, name)
    load = _load_of(log)
    # An engine dies under load, too: then what its log says after it is the cause.
    died = of_logs.finding(case, load.after if load else log, among=_DIED_OF)
    if load and "EngineDeadError" in load.after:
        load = None
    if died is not None:
        command = of_logs.next_step(case, pod, died) or look
        evidence.append(("log", died.line))
        return blame(
            died.code, title_of(pod), f"{message}: {died.message}", evidence, hint=died.hint, command=command
        )
    hint = "more time does not help: check its last lines, and whether the GPU is lost (Xid, NVML errors)"
    if unhealthy:
        from kaitoctl.kaito.diagnosis import of_probes  # most servers pass their probes

        if (told := of_probes.meets(pod, name, unhealthy[0], log, has_served=True)) is not None:
            message, hint = f"{message}: {told.says}", told.hint
    if has_engine_died(log):
        message, hint = f"{message}; its engine has died", _DEAD
    if load:
        message = f"{message}; {load.waiting} requests wait while {load.running} are at work"
        hint = (
            "it has more requests than it can answer: add replicas or a larger GPU, let clients send fewer "
            "at once, and raise timeoutSeconds of its probes in a pod template"
        )
    error = "" if load else of_logs.last_error(log)
    said = [load.line] if load else [error] if error else of_logs.last_lines(log, 1)
    evidence += [("log", line) for line in said]
    return blame("nobody-served", title_of(pod), message, evidence, hint=hint, command=look)


def engine_died(case: Case, pod: Object, item: Object, log: str) -> Cause | None:
    """A server that was never ready, whose engine has died, and whose container runs on; by its log alone.

    Loading takes long: nothing is said of a server whose log does not tell of its end.
    """
    if not has_engine_died(log):
        return None
    name, of = str(item["name"]), of_logs.finding(case, log)
    unhealthy = [event for event in events_about(case, pod, name) if event.get("reason") == "Unhealthy"][:1]
    error = of.line if of else of_logs.last_error(log) or of_logs.handed_on(log)
    why = of.message if of else error
    return blame(
        of.code if of else "worker-died",
        f"{title_of(pod)}, container {name}",
        f"its engine has died before it was ever ready, and the container runs on: {why}",
        [*map(event_words, unhealthy), ("log", error)],
        hint=f"{of.hint}; it takes a restart of the pod" if of else _DEAD,
        command=(of_logs.next_step(case, pod, of) if of else None) or logs_of(case, pod, name),
    )


def has_engine_died(log: str) -> bool:
    """Whether a server's log tells that its engine has died, and of no other that began after it."""
    ends = [found.end() for found in _DEATHS.finditer(log)]
    return bool(ends) and _BEGINNINGS.search(log, ends[-1]) is None


_DEAD = (
    "more time does not help: its log says of what its engine died, and a restart of the pod brings it back"
)
# Source: vLLM 0.33.0 v1/engine/exceptions.py, core.py, core_client.py, utils.py; V0
# engine/async_llm_engine.py, engine/multiprocessing; SGLang 0.5 entrypoints/engine.py;
# text-generation-inference 3 launcher.
_DEATHS = re.compile(
    r"EngineDeadError|EngineCore encountered a fatal error|Engine core proc \S{1,60} died|"
    r"Engine core initialization failed|Engine process failed to start|Background loop has errored already|"
    r"RPCServer process died|Received sigquit from a child process|ShardCannotStart|ShardFailed"
)
_BEGINNINGS = re.compile(
    r"vLLM API server version|Started server process|Initializing an? (?:V\d )?LLM engine|"
    r"Starting (?:vLLM API server|shard)|server_args=ServerArgs"
)
# By what an engine dies under a server that goes on; other errors of a log may be those of one request.
_DIED_OF = (
    *("gpu-broken", "gpu-program-failed", "gpu-not-visible", "cuda-out-of-memory", "gpus-disconnected"),
    "worker-died",
)
# Source: vLLM 0.33.0 v1/metrics/loggers.py; V0 engine/metrics.py (Pending); SGLang 0.5 managers/scheduler
# (metrics mixin).
_LOADS = (
    r"Running: (?P<running>\d{1,9}) reqs, (?:Swapped: \d{1,9} reqs, )?(?:Waiting|Pending): "
    r"(?P<waiting>\d{1,9}) reqs",
    r"#running-req: (?P<running>\d{1,9}),[^\n]{0,300}#queue-req: (?P<waiting>\d{1,9})",
)


class _Load(NamedTuple):
    """How many requests a server works on and how many wait, by a line of its log; and what comes after."""

    running: int
    waiting: int
    line: str
    after: str


def _load_of(log: str) -> _Load | None:
    """The last load that a log tells of, where requests wait; None where none does."""
    lines = (line for line in reversed(log.splitlines()))
    found = next((one for line in lines for pattern in _LOADS if (one := re.search(pattern, line))), None)
    if found is None or not int(found["waiting"]):
        return None
    line = of_logs.printable_line(of_logs.lines_of(found.string)[-1][1])
    after = log.rpartition(found.string)[2]
    return _Load(int(found["running"]), int(found["waiting"]), line, after)


def not_serving_without_cause(case: Case) -> Iterator[Cause]:
    """Its controller calls it ready and it does not serve; for when nothing else was found."""
    if not case.progress.down or next(readiness_gates(case), None) is not None:
        return
    if any(pod_state.was_ready_for_s(pod, item) for pod in case.pods for item in _unready(pod)):
        return  # of_pods says so
    if (again := _loads_again(case)) is not None:
        yield again
        return
    evidence, hint = [], "check the pods and their logs"
    for pod in case.seen.pods:
        if is_being_deleted(pod) and case.age_s(pod["metadata"].get("deletionTimestamp")) > _GRACE_S:
            held = ", ".join(pod["metadata"].get("finalizers") or ()) or "none"
            since = pod["metadata"]["deletionTimestamp"]
            evidence.append((title_of(pod), f"deletionTimestamp {since}, finalizers {held}"))
            hint = (
                "check what holds the pods that are being deleted: a finalizer, or the kubelet and container "
                "runtime of their node"
            )
    for pod in case.pods:
        ready = conditions.find(pod, "Ready") or {}
        words = f"{ready.get('status')} {ready.get('reason') or ''} {ready.get('message') or ''}".strip()
        evidence.append((f"{title_of(pod)}, condition Ready", words))
        evidence += [
            event_words(event) for event in case.seen.events_of(pod) if event.get("reason") == "Unhealthy"
        ][:1]
    yield blame(
        "nobody-served",
        title_of(case.workspace),
        f"not serving: {case.progress.detail}",
        evidence or controller_words(case),
        hint=hint,
        command=Command("kaitoctl logs" if case.pods else "kaitoctl status", case.name, *case.in_namespace),
    )


_GRACE_S = 120.0


def _unready(pod: Object) -> list[Object]:
    """The containers of a pod that is not ready that run and are not."""
    if pod_state.is_ready(pod):
        return []
    return [item for item in pod_state.container_statuses(pod) if not item.get("ready")]


def _loads_again(case: Case) -> Cause | None:
    """A pod that loads, within its time, in the place of one that served; and what became of that."""
    budget_s = budget_of(case.workspace, case.seen.catalog)
    loading = [
        (pod, case.age_s(began))
        for pod in case.pods
        for item in _unready(pod)
        if (began := dig(item, "state", "running", "startedAt"))
    ]
    if not loading or any(running_s > budget_s for _, running_s in loading):
        return None
    pod, running_s = loading[0]
    ended = next(of_failed_pods.failed_pods(case), None) or next(of_scheduling.thrown_out(case), None)
    before = f"; what served before it: {ended.about}: {ended.message}" if ended else ""
    ready = conditions.find(pod, "Ready") or {}
    words = f"{ready.get('status')} {ready.get('reason') or ''} {ready.get('message') or ''}".strip()
    return blame(
        "nobody-served",
        title_of(pod),
        f"it loads the model for {span(running_s)}, and nobody is served until it is ready{before}",
        [
            ("pod", f"loading may take {span(budget_s)}"),
            ("condition Ready", words),
            *(ended.evidence[:1] if ended else ()),
        ],
        hint="wait until it has loaded; a second replica serves meanwhile the next time",
        command=Command("kaitoctl status", case.name, *case.in_namespace),
        weight="wait",
    )
