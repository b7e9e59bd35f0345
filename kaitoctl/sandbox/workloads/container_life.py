"""The life of one container: pulled, started, ready, crashed, and when. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from kaitoctl.kube.objects import Object, annotations_of, dig, key_of, uid_of
from kaitoctl.kube.pod_state import is_sidecar
from kaitoctl.sandbox.nodes import is_gpu

FAULT_ANNOTATION = "sandbox.kaitoctl.dev/fault"
FAULT_CONTAINER_ANNOTATION = "sandbox.kaitoctl.dev/fault-container"
# A word that is part of another one comes after it.
FAULTS = (
    "pull-error", "unauthorized", "crash", "empty-data", "cuda-oom", "oom", "slow-load", "probe-never",
    "incompatible",
)  # fmt: skip


_INCOMPATIBLE = "incompatible"
_IMAGE_WORDS = {fault: fault for fault in FAULTS} | {"does-not-exist": "pull-error"}
# What befalls a container that fetches such an image itself, with a program of its own: it ends.
FETCH_FAULTS = {"pull-error": "fetch-error", "unauthorized": "fetch-unauthorized"}
_FETCHED = re.compile(
    r"(?<![\w./:@${-])(?:docker://)?((?:[\w.-]+(?::\d+)?/)+[\w.-]+(?:[:@][\w.:-]+)?)(?![\w/])", re.ASCII
)
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


class Stretch(Struct, frozen=True):
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
        is_real: something was done for it, beyond what the API shows.
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
    is_real: bool = False

    @property
    def is_done(self) -> bool:
        """Ended well."""
        return self.state == "terminated" and self.exit_code == 0


def fault_of(pod: Object, container: Object, *, init: bool) -> str:
    """The fault that a container of the pod has, empty when it is fine."""
    annotations = annotations_of(pod)
    fault = annotations.get(FAULT_ANNOTATION, "")
    chosen = annotations.get(FAULT_CONTAINER_ANNOTATION)
    if fault in FAULTS and (container["name"] == chosen if chosen else not init):
        return fault
    inits = () if init else dig(pod, "spec", "initContainers") or ()
    brought = [image for item in inits for image in (str(item.get("image") or ""), *fetched(item))]
    if any(_INCOMPATIBLE in _last_segment(image) for image in brought):
        return _INCOMPATIBLE
    found = fault_of_image(str(container.get("image") or ""))
    if not found and init:
        faults = filter(None, map(fault_of_image, fetched(container)))
        found = next((FETCH_FAULTS.get(fault, fault) for fault in faults), "")
    return found


def fetched(container: Object) -> list[str]:
    """The images that its command line names: what a program fetches that is no kubelet.

    A path of files is none, nor is a name without a registry or folder, which any word of a script may be.
    """
    words = [*(container.get("command") or ()), *(container.get("args") or ())]
    return [image for word in words for image in _FETCHED.findall(str(word))]


def fault_of_image(image: str) -> str:
    """The fault that its name or tag asks for, empty for none; what it brings to others is not its own."""
    segment = _last_segment(image)
    found = next((fault for word, fault in _IMAGE_WORDS.items() if word in segment), "")
    return "" if found == _INCOMPATIBLE else found


def _last_segment(image: str) -> str:
    return image.split("@")[0].rsplit("/", 1)[-1]


class _Run(Struct, frozen=True):
    """One run of a container; times count from its start and may be infinite."""

    started_s: float = NEVER
    ready_s: float = NEVER
    ends_s: float = NEVER
    exit_code: int = 0
    reason: str = "Completed"


def init_life(pod: Object, container: Object, begin: float, policy: str, until: float) -> Iterator[Stretch]:
    """The life of an init container that may begin at `begin`, as far as `until`."""
    fault = fault_of(pod, container, init=True)
    if is_sidecar(container):
        return _life(pod, container, begin, fault, serving_run(container, fault), "Always", until)
    length = INIT_S * (SLOW if fault == "slow-load" else 1)
    run = _faulty(fault, INIT_S) or _Run(started_s=0, ready_s=NEVER, ends_s=length)
    return _life(pod, container, begin, fault, run, "Never" if policy == "Never" else "OnFailure", until)


def main_life(pod: Object, container: Object, begin: float, policy: str, until: float) -> Iterator[Stretch]:
    """The life of a main container that may begin at `begin`, as far as `until`."""
    fault = fault_of(pod, container, init=False)
    run = serving_run(container, fault)
    if policy != "Always":
        work = GPU_WORK_S if _holds_gpu(container) else WORK_S
        ends = run.ends_s if run.exit_code else work * (SLOW if fault == "slow-load" else 1)
        run = replace(run, ends_s=min(run.ends_s, ends))
    return _life(pod, container, begin, fault, run, policy, until)


def _faulty(fault: str, load_s: float) -> _Run | None:
    if fault in ("crash", "empty-data", *FETCH_FAULTS.values()):
        return _Run(started_s=0, ends_s=CRASH_S, exit_code=1, reason="Error")
    if fault in ("cuda-oom", _INCOMPATIBLE):
        return _Run(started_s=0, ends_s=load_s / 2, exit_code=1, reason="Error")
    if fault == "oom":
        return _Run(started_s=0, ends_s=load_s / 2, exit_code=137, reason="OOMKilled")
    return None


def answers_after_s(container: Object, fault: str) -> float:
    """How long a server loads before it answers its probes."""
    load_s = GPU_LOAD_S if _holds_gpu(container) else LOAD_S
    return NEVER if fault == "probe-never" else load_s * (SLOW if fault == "slow-load" else 1)


def serving_run(container: Object, fault: str) -> _Run:
    """The run of a server: it answers probes once it has loaded, and is killed when that takes too long."""
    load_s = GPU_LOAD_S if _holds_gpu(container) else LOAD_S
    if crashed := _faulty(fault, load_s):
        waits = container.get("startupProbe") or is_sidecar(container)
        return replace(crashed, started_s=NEVER if waits else 0)
    answers = answers_after_s(container, fault)
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
                backoff_message(pod, container, wait),
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


def backoff_message(pod: Object, container: Object, wait_s: float) -> str:
    """What a container waits for that has crashed."""
    return (
        f"back-off {_words(wait_s)} restarting failed container={container['name']} "
        f"pod={key_of(pod).name}_{key_of(pod).namespace}({uid_of(pod)})"
    )


def _words(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
