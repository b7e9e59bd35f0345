"""Rules about the containers of pods: how they end, never begin, or take too long."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kaitoctl.kaito import nodes
from kaitoctl.kaito.diagnosis import of_logs
from kaitoctl.kaito.diagnosis.case import (
    Case,
    adapter_of,
    blame,
    budget_of,
    describe,
    events_about,
    span,
    title_of,
    told_by,
    word,
)
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kaito.diagnosis.of_configuration import is_reference_missing
from kaitoctl.kaito.diagnosis.of_images import (
    NO_IMAGE,
    UNAUTHORIZED,
    WRONG_PLATFORM,
    set_adapter,
    wrong_platform,
)
from kaitoctl.kaito.diagnosis.reasons import code_of
from kaitoctl.kaito.snapshot import event_time
from kaitoctl.kube import pods as pods_
from kaitoctl.kube.conditions import parse_timestamp
from kaitoctl.kube.objects import Object, dig

_NO_FILES = r"(?i)no files|can't stat '?/data|cannot stat '?/data"
_NO_PROGRAM = r"(?i)executable file not found|no such file or directory"
# What can befall the copying of an adapter's files, too.
_OF_COPIES = ("disk-full", "path-not-writable")
_EXITS = {
    1: "the program's own error",
    2: "the program's own error, often bad arguments",
    126: "the command cannot be executed",
    127: "the command does not exist in the image",
    134: "it aborted (SIGABRT)",
    137: "it was killed (SIGKILL)",
    139: "it crashed (SIGSEGV)",
    143: "it was told to end (SIGTERM)",
}


def containers(case: Case) -> Iterator[Cause]:
    """Containers that end, or never begin."""
    for pod in case.pods:
        for item in pods_.container_statuses(pod):
            waiting = str(dig(item, "state", "waiting", "reason") or "")
            if code_of("waiting", waiting) == "container-cannot-start":
                words = str(dig(item, "state", "waiting", "message") or waiting)
                if not is_reference_missing(words):  # which is a cause of its own
                    yield _unstarted(case, pod, item, waiting, words)
            elif waiting == "CrashLoopBackOff" and not _ended(item):
                words = str(dig(item, "state", "waiting", "message") or waiting)
                yield blame(
                    "crash-loop",
                    f"{title_of(pod)}, container {item['name']}",
                    f"{item['name']} ends again and again, and its status does not say how",
                    [(f"container {item['name']}", f"{waiting}: {words}")],
                    hint="read its log",
                    command=f"kaitoctl logs {case.name} {case.namespace} --previous",
                )
            elif ended := _ended(item):
                reason = str(ended.get("reason") or "")
                if code_of("terminated", reason) == "container-cannot-start":
                    yield _unstarted(case, pod, item, reason, str(ended.get("message") or reason))
                else:
                    yield _why_ended(case, pod, item, ended)


# What to do about the words of a container runtime. Source: Kubernetes v1.37.2, pkg/kubelet/kuberuntime/
# security_context.go, kuberuntime_container.go; runc; NVIDIA's libnvidia-container.
_START_HINTS = (
    (
        r"(?i)runAsNonRoot|non-root|run as root",
        "the pod or its namespace wants another user than root: build the image with a numeric USER, or "
        "set runAsUser in a pod template",
    ),
    (
        r"(?i)driver/library version mismatch|nvml|nvidia-container-cli|libcuda|libnvidia|nvidia-smi",
        "the NVIDIA driver of the node is at fault, not the image: restart the node, or reinstall its driver",
    ),
    (
        r"(?i)exec: |executable file not found|no such file or directory",
        "the image lacks the program that is to run",
    ),
    (
        r"(?i)permission denied|operation not permitted",
        "the user of the container may not do that: see its image",
    ),
    (r"(?i)mount|rootfs|not a directory", "a mount into the container fails: see its volumes and subPaths"),
    (
        r"(?i)memory|cgroup",
        "its limits are too small to start a process, or the node's cgroups are out of order",
    ),
    (
        r"(?i)already in use|context deadline exceeded|name .* is reserved",
        "the container runtime of the node is stuck",
    ),
    (r"(?i)hook", "a hook of the container fails: see its lifecycle, and its log"),
)


def _unstarted(case: Case, pod: Object, item: Object, reason: str, words: str) -> Cause:
    name, told = str(item["name"]), [(f"container {item['name']}", f"{reason}: {words}")]
    told += [
        told_by(event)
        for event in events_about(case, pod, name)
        if event.get("reason") in ("Failed", "FailedPostStartHook")
    ][:1]
    adapter = adapter_of(case, name)
    if re.search(WRONG_PLATFORM, words):
        return wrong_platform(case, pod, name, str(item.get("image")), told)
    if adapter and re.search(_NO_PROGRAM, words):
        return _without_shell(case, pod, item, adapter, told)
    return blame(
        "container-cannot-start",
        f"{title_of(pod)}, container {name}",
        f"the container cannot be started: {words}",
        told,
        hint=next((hint for pattern, hint in _START_HINTS if re.search(pattern, words)), "see the message"),
        command=describe(case, pod),
    )


def _without_shell(case: Case, pod: Object, item: Object, adapter: str, told: list[tuple[str, str]]) -> Cause:
    return blame(
        "adapter-without-shell",
        f"{title_of(pod)}, container {item['name']}",
        f"the image of adapter {adapter} has no sh, mkdir or cp, by which its files are copied",
        told,
        hint="build it on an image that has them, such as busybox",
        command=set_adapter(case, adapter, "--image IMAGE:TAG"),
    )


def _ended(item: Object) -> Object | None:
    """How the container ended with an error or ends over and over, unless it has recovered since."""
    is_looping = dig(item, "state", "waiting", "reason") == "CrashLoopBackOff"
    for ended in (dig(item, "state", "terminated"), dig(item, "lastState", "terminated")):
        failed = ended and (ended.get("exitCode") or ended.get("reason") == "OOMKilled" or is_looping)
        if failed and not (item.get("ready") and dig(item, "state", "running") is not None):
            return dict(ended)
    last = dig(item, "lastState", "terminated")  # with 0, and started again: a server is not to end
    if last and item.get("restartCount") and not item.get("ready") and not dig(item, "state", "terminated"):
        return dict(last)
    return None


def _why_ended(case: Case, pod: Object, item: Object, ended: Object) -> Cause:
    name, code = str(item["name"]), int(ended.get("exitCode") or 0)
    about = f"{title_of(pod)}, container {name}"
    restarts = int(item.get("restartCount") or 0)
    again = f"{restarts} {nodes.plural('restart', restarts)}"
    told = [(f"container {name}", f"exit code {code}, {ended.get('reason') or 'Error'}; {again}")]
    log = case.seen.logs.get((str(pod["metadata"]["name"]), name), "") or str(ended.get("message") or "")
    said = " ".join(str(ended.get("message") or "").split())
    told += [(f"container {name}", said)] if said else []
    adapter = adapter_of(case, name)
    option = f" --adapter {word(adapter)}" if adapter else ""
    look = f"kaitoctl logs {case.name} {case.namespace}{option} --previous"

    def ended_so(
        code: str, message: str, pattern: str | None = None, *, hint: str, command: str = look
    ) -> Cause:
        return blame(code, about, message, [*told, *_log_lines(log, pattern)], hint=hint, command=command)

    if ended.get("reason") == "OOMKilled":
        limit = next(
            (
                str(amount)
                for spec in pods_.container_specs(pod)
                if spec.get("name") == name and (amount := dig(spec, "resources", "limits", "memory"))
            ),
            "",
        )
        message = f"{name} used more main memory than {'its limit of ' + limit if limit else 'the node has'}"
        return ended_so("out-of-memory", message, hint="take a node with more memory, or raise the limit")
    if re.search(WRONG_PLATFORM, log):
        image = str(item.get("image"))
        return wrong_platform(case, pod, name, image, [*told, *_log_lines(log, WRONG_PLATFORM)])
    known = of_logs.finding(case, log, among=_OF_COPIES if adapter else ())
    if known is not None:
        told.append(("log", known.line))
        command = of_logs.next_step(case, pod, known) or look
        return blame(known.code, about, known.message, told, hint=known.hint, command=command)
    if adapter and name != adapter:  # KAITO v0.12 pulls in a container, whose log has the registry's answer
        if re.search(UNAUTHORIZED, log):
            message = f"the registry refuses to hand out the image of adapter {adapter}"
            command = set_adapter(case, adapter, "--image-pull-secret NAME")
            hint = "give the adapter a pull secret that is valid for it"
            return ended_so("image-unauthorized", message, UNAUTHORIZED, hint=hint, command=command)
        if re.search(NO_IMAGE, log):
            message, hint = f"there is no image of adapter {adapter}", "correct the image, or push it"
            command = set_adapter(case, adapter, "--image IMAGE:TAG")
            return ended_so("adapter-image-bad", message, NO_IMAGE, hint=hint, command=command)
    if adapter and re.search(_NO_FILES, log):
        message = f"the image of adapter {adapter} has no files in /data"
        hint = "build it with adapter_config.json and the weights in /data"
        command = set_adapter(case, adapter, "--image IMAGE:TAG")
        return ended_so("adapter-empty", message, _NO_FILES, hint=hint, command=command)
    if adapter and code in (126, 127):
        return _without_shell(case, pod, item, adapter, [*told, *_log_lines(log, None)])
    is_lost = ended.get("reason") in ("ContainerStatusUnknown", "Unknown")
    if code in (137, 143) or is_lost or _probe_kills(case, pod, name, ended):
        return _killed(case, pod, item, ended, told)
    if code == 0:
        message = f"{name} exits with code 0, as if its work were done, and is restarted"
        return ended_so(
            "crash-loop",
            message,
            hint="a server stays: see its command and arguments (a process that goes to the background "
            "ends the container), and its log",
        )
    what = _EXITS.get(
        code, f"killed by signal {code - 128}" if 128 < code < 160 else "the program's own error"
    )
    copied = f"adapter {adapter} cannot be copied: " if adapter else ""
    if error := of_logs.last_error(log):
        what = error
        told.append(("log", error))
    return ended_so("crash-loop", f"{copied}{name} ends with exit code {code}: {what}", hint="read its log")


def _killed(case: Case, pod: Object, item: Object, ended: Object, told: list[tuple[str, str]]) -> Cause:
    """A process that somebody killed: a probe only where an event or the time that passed says so."""
    name = str(item["name"])
    about, look = (
        f"{title_of(pod)}, container {name}",
        f"kaitoctl logs {case.name} {case.namespace} --previous",
    )
    ran_s, most_s = _ran_s(ended), _startup_s(pod, name)
    ran = f"it ran for {span(ran_s)}"
    probes = _probe_events(case, pod, name)
    by_startup = any("startup" in str(event.get("message")).lower() for event in probes)
    had_begun = not by_startup and most_s > 0 and ran_s > 1.5 * most_s + _PATIENCE_S
    if probes and had_begun:
        return blame(
            "probe-kills-server",
            about,
            f"a liveness probe killed {name}, which had served: {ran}",
            [*told, *map(told_by, probes[:2]), ("container", f"{ran}; loading may take {span(most_s)}")],
            hint="more time to start does not help: see its last lines, and whether the GPU is lost "
            "(Xid, NVML errors in the node's kernel log)",
            command=look,
        )
    is_timed = not probes and "events" in case.seen.unseen and 0 < most_s <= ran_s <= most_s + _PATIENCE_S
    if probes or is_timed:
        told = [*told, *map(told_by, probes[:2])]
        if is_timed:
            told.append(("container", f"{ran}, and its probe allows {span(most_s)}"))
        message, hint = f"a probe kills {name} before it has loaded", "give it a startupProbe with more time"
        return blame("probe-kills-slow-start", about, message, told, hint=hint, command=look)
    unseen = [("cluster", f"events: {case.seen.unseen['events']}")] if "events" in case.seen.unseen else []
    signal = "SIGTERM" if ended.get("exitCode") == 143 else "SIGKILL"
    lost = ended.get("reason") in ("ContainerStatusUnknown", "Unknown")
    message = (
        f"the node lost sight of {name}: it restarted, or its container runtime did"
        if lost
        else f"container {name} was killed from outside ({signal}), and nothing shows by what"
    )
    lines = _log_lines(case.seen.logs.get((str(pod["metadata"]["name"]), name), ""), None)
    return blame(
        "container-killed",
        about,
        message,
        [*told, ("container", ran), *unseen, *lines],
        hint="no probe was seen doing it: the kernel kills a child process when memory is short (see the "
        "node's kernel log), and so does a node that shuts down",
        command=f"kubectl describe node {word(str(dig(pod, 'spec', 'nodeName') or ''))}",
    )


def _probe_events(case: Case, pod: Object, name: str) -> list[Object]:
    """What events say of the probes that kill, the newest first; a readiness probe kills nothing."""
    return [
        event
        for event in events_about(case, pod, name)
        if event.get("reason") in ("Killing", "Unhealthy")
        and re.search(r"liveness|startup", str(event.get("message")), re.I)
    ]


def _probe_kills(case: Case, pod: Object, name: str, ended: Object) -> bool:
    """Whether an event says that a probe ended this run: a server that is asked to end may end with 0."""
    for event in _probe_events(case, pod, name):
        if event.get("reason") != "Killing":
            continue
        between_s = abs(case.age_s(event_time(event)) - case.age_s(ended.get("finishedAt")))
        return not ended.get("finishedAt") or between_s <= _SAME_END_S
    return False


_SAME_END_S = 300.0
_PATIENCE_S = 90.0  # a grace period of 30 s, and some periods of a probe
# Kubernetes' defaults of a probe, in seconds and tries.
_PROBE = {"initialDelaySeconds": 0, "periodSeconds": 10, "failureThreshold": 3}


def _startup_s(pod: Object, name: str) -> float:
    """How long a container may take until its probes kill it; 0 when it has none that kill."""
    spec = next((item for item in pods_.container_specs(pod) if item.get("name") == name), {})
    total = 0.0
    for kind in ("startupProbe", "livenessProbe"):
        if probe := spec.get(kind):
            delay, period, tries = (int(probe.get(key) or default) for key, default in _PROBE.items())
            total += delay + period * tries
    return total


def _ran_s(ended: Object) -> float:
    try:
        began, end = (parse_timestamp(str(ended.get(key))) for key in ("startedAt", "finishedAt"))
    except ValueError:
        return 0.0
    return max(0.0, (end - began).total_seconds())


def _log_lines(log: str, pattern: str | None) -> list[tuple[str, str]]:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    if pattern is not None and (told := [line for line in lines if re.search(pattern, line)]):
        return [("log", of_logs.shown(told[-1]))]
    return [("log", line) for line in of_logs.last_lines(log)]


def slow(case: Case) -> Iterator[Cause]:
    """Servers that load for longer than their preset may take."""
    budget_s = budget_of(case.workspace)
    for pod in case.pods:
        for item in pods_.container_statuses(pod):
            running_s = case.age_s(dig(item, "state", "running", "startedAt"))
            if (
                running_s > budget_s
                and not pods_.is_ready(pod)
                and not item.get("ready")
                and not _ended(item)
            ):
                yield blame(
                    "slow-start",
                    f"{title_of(pod)}, container {item['name']}",
                    f"it loads for {span(running_s)}, and the budget is {span(budget_s)}",
                    [told_by(event) for event in case.seen.events_of(pod)[:1]],
                    hint="see whether it still moves",
                    command=f"kaitoctl logs {case.name} {case.namespace}",
                )
