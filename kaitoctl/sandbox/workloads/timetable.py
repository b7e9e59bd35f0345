"""What a pod's status shows at any moment: a pure timetable, because nothing in the sandbox really runs.

A pod's whole life follows from its spec and the faults asked for, so `pod_at(pod, elapsed_s)` needs no
memory: not of restarts, not of probes. `workloads.kubelet` is the reconciler that asks it. All durations are
simulated seconds.

**Durations.** Pulling an image takes 4 s, an init container 2 s. A server in a container answers its probes
1 s after the container started, 20 s when it holds a GPU (it loads a model). Where the restart policy is not
`Always`, a container runs to completion: 10 s, 60 s with a GPU.

**Faults.** The annotation `sandbox.kaitoctl.dev/fault` on the pod (so: in the pod template) names a fault,
and `sandbox.kaitoctl.dev/fault-container` the one container that has it; without that all main containers do.
An image whose last path segment (name and tag) contains the image word below has the fault by itself.

| fault          | image word                     | what happens                                           |
|----------------|--------------------------------|--------------------------------------------------------|
| `pull-error`   | `pull-error`, `does-not-exist` | ErrImagePull, then ImagePullBackOff: not found         |
| `unauthorized` | `unauthorized`                 | the same with the registry's "401 Unauthorized"        |
| `crash`        | `crash`                        | exit code 1 after 1 s, CrashLoopBackOff                |
| `empty-data`   | `empty-data`                   | as `crash`; the log says that there were no files      |
| `cuda-oom`     | `cuda-oom`                     | exit code 1 half way through loading; the log says why |
| `oom`          | `oom`                          | OOMKilled (exit code 137) half way through loading     |
| `slow-load`    | `slow-load`                    | loading takes 15 times as long (300 s with a GPU)      |
| `probe-never`  | `probe-never`                  | the server never answers a probe                       |
| `incompatible` | `incompatible`, in the image   | main containers cannot use what the init container     |
|                | of an *init* container         | brought: exit code 1 half way through loading          |
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from kaitoctl.kube.objects import Object, annotations_of, dig, key_of, uid_of
from kaitoctl.sandbox.nodes import is_gpu
from kaitoctl.sandbox.workloads.pods import is_sidecar

FAULT_ANNOTATION = "sandbox.kaitoctl.dev/fault"
FAULT_CONTAINER_ANNOTATION = "sandbox.kaitoctl.dev/fault-container"

# A word that is part of another one comes after it.
FAULTS = (
    "pull-error", "unauthorized", "crash", "empty-data", "cuda-oom", "oom", "slow-load", "probe-never",
    "incompatible",
)  # fmt: skip
_INCOMPATIBLE = "incompatible"
_IMAGE_WORDS = {fault: fault for fault in FAULTS} | {"does-not-exist": "pull-error"}

PULL_S = 4.0
INIT_S = 2.0
LOAD_S = 1.0
GPU_LOAD_S = 20.0
WORK_S = 10.0
GPU_WORK_S = 60.0
CRASH_S = 1.0
SLOW = 15.0
PULL_ERROR_SHOWN_S = 2.0
ERROR_SHOWN_S = 1.0

# The kubelet's restart and pull back-off. Source: kubernetes pkg/kubelet/kubelet.go (MaxContainerBackOff,
# backOffPeriod); it forgets after twice the maximum without a crash.
FIRST_BACKOFF_S = 10.0
LONGEST_BACKOFF_S = 300.0
FORGET_BACKOFF_S = 2 * LONGEST_BACKOFF_S

NEVER = math.inf


@dataclass(frozen=True, slots=True)
class Stretch:
    """A container's state from one moment until the next stretch begins.

    Args:
        since: when it begins, after the pod's start.
        state: the key of `containerStatuses[].state`.
        reason: of waiting and terminated.
        message: of waiting.
        exit_code: of terminated.
        began: when this run of the container began; for running and terminated.
        started: the startup probe, if any, has succeeded.
        ready: the readiness probe, if any, has succeeded.
        restarts: `restartCount`.
        last: the terminated stretch of the run before.
    """

    since: float
    state: Literal["waiting", "running", "terminated"]
    reason: str = ""
    message: str = ""
    exit_code: int = 0
    began: float = 0.0
    started: bool = False
    ready: bool = False
    restarts: int = 0
    last: Stretch | None = None

    @property
    def is_done(self) -> bool:
        """Ended well."""
        return self.state == "terminated" and self.exit_code == 0


@dataclass(frozen=True, slots=True)
class Moment:
    """What a pod shows now, and when that changes.

    Args:
        status: the fields of `status` that follow from the containers (no condition times).
        next_s: when to look again, after the pod's start; infinite when nothing more will happen.
    """

    status: Object
    next_s: float


def fault_of(pod: Object, container: Object, *, init: bool) -> str:
    """The fault that a container of the pod has, empty when it is fine."""
    annotations = annotations_of(pod)
    fault = annotations.get(FAULT_ANNOTATION, "")
    chosen = annotations.get(FAULT_CONTAINER_ANNOTATION)
    if fault in FAULTS and (container["name"] == chosen if chosen else not init):
        return fault
    image = _last_segment(container)
    brought = "" if init else " ".join(map(_last_segment, dig(pod, "spec", "initContainers") or ()))
    if _INCOMPATIBLE in brought:
        return _INCOMPATIBLE
    found = next((fault for word, fault in _IMAGE_WORDS.items() if word in image), "")
    return "" if found == _INCOMPATIBLE else found


def _last_segment(container: Object) -> str:
    return str(container.get("image") or "").split("@")[0].rsplit("/", 1)[-1]


def pod_at(pod: Object, elapsed_s: float, moment: Callable[[float], str]) -> Moment:
    """The status of a pod on a healthy node.

    Args:
        pod: the pod, bound to a node.
        elapsed_s: simulated seconds since `status.startTime`.
        moment: the timestamp that lies so many simulated seconds after the start.

    Guarantee: the answer depends on nothing else, and is the same until `next_s`.
    """
    policy = str(dig(pod, "spec", "restartPolicy") or "Always")
    inits: list[tuple[Object, Stretch]] = []
    mains: list[tuple[Object, Stretch]] = []
    changes: list[float] = []
    begin, blocked = 0.0, False
    for container in dig(pod, "spec", "initContainers") or ():
        if blocked:
            inits.append((container, _not_yet("PodInitializing")))
            continue
        life = _init_life(pod, container, begin, policy, elapsed_s)
        now, change = _at(life, elapsed_s)
        inits.append((container, now))
        changes.append(change)
        if is_sidecar(container) and now.started:
            begin += PULL_S + max(LOAD_S, _serving(container, "").started_s)
        elif now.is_done:
            begin = now.since
        else:
            blocked = True
    gave_up = policy == "Never" and any(now.state == "terminated" and now.exit_code for _, now in inits)
    for index, container in enumerate(dig(pod, "spec", "containers") or ()):
        if blocked:
            mains.append((container, _not_yet("PodInitializing")))
            continue
        # The kubelet pulls one image after the other, and goes on when one of them fails.
        life = _main_life(pod, container, begin + index * PULL_S, policy, elapsed_s)
        now, change = _at(life, elapsed_s)
        mains.append((container, now))
        changes.append(change)
    status = _status(pod, inits, mains, moment, initialized=not blocked, gave_up=gave_up, policy=policy)
    ended = status["phase"] in ("Succeeded", "Failed")
    return Moment(status, NEVER if ended else min(changes, default=NEVER))


# --- a container's life --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Run:
    """One run of a container; times count from its start and may be infinite."""

    started_s: float = NEVER
    ready_s: float = NEVER
    ends_s: float = NEVER
    exit_code: int = 0
    reason: str = "Completed"


def _init_life(pod: Object, container: Object, begin: float, policy: str, until: float) -> Iterator[Stretch]:
    fault = fault_of(pod, container, init=True)
    if is_sidecar(container):
        return _life(pod, container, begin, fault, _serving(container, fault), "Always", until)
    length = INIT_S * (SLOW if fault == "slow-load" else 1)
    run = _faulty(fault, INIT_S) or _Run(started_s=0, ready_s=NEVER, ends_s=length)
    return _life(pod, container, begin, fault, run, "Never" if policy == "Never" else "OnFailure", until)


def _main_life(pod: Object, container: Object, begin: float, policy: str, until: float) -> Iterator[Stretch]:
    fault = fault_of(pod, container, init=False)
    run = _serving(container, fault)
    if policy != "Always":
        work = GPU_WORK_S if _holds_gpu(container) else WORK_S
        ends = run.ends_s if run.exit_code else work * (SLOW if fault == "slow-load" else 1)
        run = replace(run, ends_s=min(run.ends_s, ends))
    return _life(pod, container, begin, fault, run, policy, until)


def _faulty(fault: str, load_s: float) -> _Run | None:
    if fault in ("crash", "empty-data"):
        return _Run(started_s=0, ends_s=CRASH_S, exit_code=1, reason="Error")
    if fault in ("cuda-oom", _INCOMPATIBLE):
        return _Run(started_s=0, ends_s=load_s / 2, exit_code=1, reason="Error")
    if fault == "oom":
        return _Run(started_s=0, ends_s=load_s / 2, exit_code=137, reason="OOMKilled")
    return None


def _serving(container: Object, fault: str) -> _Run:
    """The run of a server: it answers probes once it has loaded, and is killed when that takes too long."""
    load_s = GPU_LOAD_S if _holds_gpu(container) else LOAD_S
    if crashed := _faulty(fault, load_s):
        waits = container.get("startupProbe") or is_sidecar(container)
        return replace(crashed, started_s=NEVER if waits else 0)
    answers = NEVER if fault == "probe-never" else load_s * (SLOW if fault == "slow-load" else 1)
    started = 0.0
    killed = NEVER
    if startup := container.get("startupProbe"):
        started = _first_probe(startup, answers)
        killed = _last_chance(startup, 0.0)
        if killed < started:
            return _Run(ends_s=killed, exit_code=137, reason="Error")
        killed = NEVER
    if liveness := container.get("livenessProbe"):
        killed = _last_chance(liveness, started)
        if killed >= _first_probe(liveness, max(started, answers)):
            killed = NEVER
    ready = started
    if readiness := container.get("readinessProbe"):
        more = int(readiness.get("successThreshold") or 1) - 1
        ready = _first_probe(readiness, max(started, answers)) + more * _period(readiness)
    if killed < NEVER:
        return _Run(started, min(ready, killed), killed, exit_code=137, reason="Error")
    return _Run(started, ready)


def _period(probe: Object) -> float:
    return float(probe.get("periodSeconds") or 10)


def _first_probe(probe: Object, not_before: float) -> float:
    """When the first probe at or after `not_before` is made."""
    if not_before == NEVER:
        return NEVER
    delay, period = float(probe.get("initialDelaySeconds") or 0), _period(probe)
    return delay + max(0, math.ceil((not_before - delay) / period)) * period


def _last_chance(probe: Object, since: float) -> float:
    """When the probe that fails once too often is made, if every one since `since` fails."""
    threshold = int(probe.get("failureThreshold") or 3)
    return _first_probe(probe, since) + (threshold - 1) * _period(probe)


def _holds_gpu(container: Object) -> bool:
    resources = container.get("resources") or {}
    asked = {**(resources.get("requests") or {}), **(resources.get("limits") or {})}
    return any(is_gpu(name) and str(amount) != "0" for name, amount in asked.items())


def _life(
    pod: Object, container: Object, begin: float, fault: str, run: _Run, policy: str, until: float
) -> Iterator[Stretch]:
    """The stretches of a container's life, in order; repetitions wholly before `until` may be left out."""
    yield Stretch(begin, "waiting", "ContainerCreating")
    if fault in ("pull-error", "unauthorized"):
        yield from _pull_failures(container, begin, fault, until)
        return
    start, restarts, failures = begin + PULL_S, 0, 0
    last: Stretch | None = None
    cycle = 0.0
    while True:
        running = Stretch(start, "running", began=start, restarts=restarts, last=last)
        for change in sorted({0.0, run.started_s, run.ready_s} - {NEVER}):
            if change < run.ends_s or change == 0:
                yield replace(
                    running,
                    since=start + change,
                    started=change >= run.started_s,
                    ready=change >= run.ready_s,
                )
        if run.ends_s == NEVER:
            return
        end = start + run.ends_s
        last = Stretch(end, "terminated", run.reason, exit_code=run.exit_code, began=start, restarts=restarts)
        yield replace(last, last=running.last)
        if policy == "Never" or (policy == "OnFailure" and run.exit_code == 0):
            return
        if run.ends_s >= FORGET_BACKOFF_S:
            failures = 0
        wait = ERROR_SHOWN_S
        if failures:
            wait = min(FIRST_BACKOFF_S * 2 ** (failures - 1), LONGEST_BACKOFF_S)
            yield Stretch(
                end + min(ERROR_SHOWN_S, wait),
                "waiting",
                "CrashLoopBackOff",
                f"back-off {_words(wait)} restarting failed container={container['name']} "
                f"pod={key_of(pod).name}_{key_of(pod).namespace}({uid_of(pod)})",
                restarts=restarts,
                last=last,
            )
        failures = min(failures + 1, 10)
        restarts += 1
        same, cycle = cycle == run.ends_s + wait, run.ends_s + wait
        start = end + wait
        if same and (skipped := int((until - start) // cycle) - 1) > 0:
            start += skipped * cycle
            restarts += skipped
            last = replace(last, since=start - wait, began=start - cycle)


def _pull_failures(container: Object, begin: float, fault: str, until: float) -> Iterator[Stretch]:
    image = str(container.get("image") or "")
    error = _pull_message(image, fault)
    backoff, start = FIRST_BACKOFF_S, begin
    while True:
        failed = start + PULL_S / 2
        yield Stretch(failed, "waiting", "ErrImagePull", error)
        yield Stretch(
            failed + PULL_ERROR_SHOWN_S,
            "waiting",
            "ImagePullBackOff",
            f'Back-off pulling image "{image}": ErrImagePull: {error}',
        )
        start = failed + backoff
        if backoff == LONGEST_BACKOFF_S:
            cycle = start - failed + PULL_S / 2
            start += max(0, int((until - start) // cycle) - 1) * cycle
        backoff = min(2 * backoff, LONGEST_BACKOFF_S)


def _pull_message(image: str, fault: str) -> str:
    registry, _, path = image.partition("/")
    if not path or not {".", ":"} & set(registry):
        registry, path = "registry-1.docker.io", image if "/" in image else f"library/{image}"
    name, _, tag = path.partition("@" if "@" in path else ":")
    full = f"{registry.replace('registry-1.docker.io', 'docker.io')}/{name}:{tag or 'latest'}"
    url = f"https://{registry}/v2/{name}/manifests/{tag or 'latest'}"
    start = f'failed to pull and unpack image "{full}": failed to resolve reference "{full}": '
    if fault == "unauthorized":
        return start + f"unexpected status from HEAD request to {url}: 401 Unauthorized"
    return f"rpc error: code = NotFound desc = {start}{full}: not found"


def _words(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _at(life: Iterator[Stretch], elapsed_s: float) -> tuple[Stretch, float]:
    """The stretch of this moment, and when the next one begins."""
    now = next(life)  # the first one counts from the beginning: the image waits for its turn
    for stretch in life:
        if stretch.since > elapsed_s:
            return now, stretch.since
        now = stretch
    return now, NEVER


def _not_yet(reason: str) -> Stretch:
    return Stretch(0.0, "waiting", reason)


# --- the pod's status ----------------------------------------------------------------------------------


def _status(
    pod: Object,
    inits: list[tuple[Object, Stretch]],
    mains: list[tuple[Object, Stretch]],
    moment: Callable[[float], str],
    *,
    initialized: bool,
    gave_up: bool,
    policy: str,
) -> Object:
    unready = [container["name"] for container, now in mains if not now.ready]
    unready += [container["name"] for container, now in inits if is_sidecar(container) and not now.ready]
    incomplete = [
        container["name"]
        for container, now in inits
        if not (now.is_done or (is_sidecar(container) and now.started))
    ]
    phase = "Failed" if gave_up else _phase([now for _, now in mains], policy) if initialized else "Pending"
    status: Object = {
        "phase": phase,
        "conditions": _conditions(phase, incomplete, unready),
        "containerStatuses": [_container_status(pod, *pair, moment, init=False) for pair in mains],
        "qosClass": _qos_class(container for container, _ in mains),
    }
    if inits:
        status["initContainerStatuses"] = [_container_status(pod, *pair, moment, init=True) for pair in inits]
    if any(now.state == "running" or now.last or now.is_done for _, now in (*inits, *mains)):
        address = pod_ip(pod)
        status |= {"podIP": address, "podIPs": [{"ip": address}]}
    return status


def _phase(mains: list[Stretch], policy: str) -> str:
    if any(now.state == "waiting" and now.last is None for now in mains):
        return "Pending"
    if any(now.state == "running" for now in mains) or policy == "Always":
        return "Running"
    if all(now.is_done for now in mains):
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def _conditions(phase: str, incomplete: list[str], unready: list[str]) -> list[Object]:
    if phase == "Succeeded":
        not_ready: Object = {"status": "False", "reason": "PodCompleted"}
    elif phase == "Failed":
        not_ready = {"status": "False", "reason": "PodFailed"}
    else:
        message = f"containers with unready status: [{' '.join(unready)}]"
        not_ready = {"status": "False", "reason": "ContainersNotReady", "message": message}
    ready = {"status": "True"} if not unready else not_ready
    initialized: Object = {"status": "True"}
    if incomplete and phase != "Succeeded":
        message = f"containers with incomplete status: [{' '.join(incomplete)}]"
        initialized = {"status": "False", "reason": "ContainersNotInitialized", "message": message}
    sandboxed = phase not in ("Succeeded", "Failed")
    return [
        {"type": "PodReadyToStartContainers", "status": str(sandboxed)},
        {"type": "Initialized", **initialized},
        {"type": "Ready", **ready},
        {"type": "ContainersReady", **ready},
        {"type": "PodScheduled", "status": "True"},
    ]


def _container_status(
    pod: Object, container: Object, now: Stretch, moment: Callable[[float], str], *, init: bool
) -> Object:
    image = str(container.get("image") or "")
    ran = now.state != "waiting" or now.last is not None
    status: Object = {
        "name": container["name"],
        "image": image,
        "imageID": f"sandbox://{image}" if ran else "",
        "restartCount": now.restarts,
        "ready": now.is_done if init and not is_sidecar(container) else now.ready,
        "started": now.started and now.state == "running",
        "state": _state(now, pod, moment),
        "lastState": _state(now.last, pod, moment) if now.last else {},
    }
    if ran:
        status["containerID"] = _container_id(pod, container["name"], now.restarts)
    return status


def _state(now: Stretch, pod: Object, moment: Callable[[float], str]) -> Object:
    if now.state == "running":
        return {"running": {"startedAt": moment(now.began)}}
    if now.state == "terminated":
        return {
            "terminated": {
                "exitCode": now.exit_code,
                "reason": now.reason,
                "startedAt": moment(now.began),
                "finishedAt": moment(now.since),
            }
        }
    waiting = {"reason": now.reason, "message": now.message} if now.message else {"reason": now.reason}
    return {"waiting": waiting}


def _container_id(pod: Object, name: str, restarts: int) -> str:
    return f"sandbox://{zlib.crc32(f'{uid_of(pod)}/{name}/{restarts}'.encode()):08x}"


def pod_ip(pod: Object) -> str:
    """The pod's address: one of 10.128.0.0/9, which follows from its uid."""
    number = zlib.crc32(uid_of(pod).encode())
    return f"10.{128 + (number >> 16 & 127)}.{number >> 8 & 255}.{1 + number % 254}"


def _qos_class(containers: Iterable[Any]) -> str:
    resources = [container.get("resources") or {} for container in containers]
    limits = [item.get("limits") or {} for item in resources]
    requests = [item.get("requests") or {} for item in resources]
    basic = {"cpu", "memory"}
    if not any(basic & {*some} for some in (*limits, *requests)):
        return "BestEffort"
    guaranteed = all(
        basic <= {*limit} and all(request.get(name, limit[name]) == limit[name] for name in basic)
        for limit, request in zip(limits, requests, strict=True)
    )
    return "Guaranteed" if guaranteed else "Burstable"
