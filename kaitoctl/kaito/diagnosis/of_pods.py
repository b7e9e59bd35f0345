"""Rules about the containers of pods: how they end, never begin, or take too long."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kaitoctl.advice import Command
from kaitoctl.kaito import kubectl_hints
from kaitoctl.kaito.diagnosis import of_logs
from kaitoctl.kaito.diagnosis.case import (
    NO_PROCESS_LEFT,
    NO_RUNTIME,
    Case,
    adapter_of,
    blame,
    budget_of,
    event_words,
    events_about,
    logs_of,
    span,
    title_of,
)
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kaito.diagnosis.of_configuration import is_reference_missing
from kaitoctl.kaito.diagnosis.of_ends import why_ended, without_shell
from kaitoctl.kaito.diagnosis.of_images import WRONG_PLATFORM, wrong_platform
from kaitoctl.kaito.diagnosis.reasons import code_of
from kaitoctl.kube import pod_state
from kaitoctl.kube.objects import Object, dig

_NO_PROGRAM = r"(?i)executable file not found|no such file or directory"


def containers(case: Case) -> Iterator[Cause]:
    """Containers that end, or never begin."""
    for pod in case.pods:
        for item in pod_state.container_statuses(pod):
            waiting = str(dig(item, "state", "waiting", "reason") or "")
            if code_of("waiting", waiting) == "container-cannot-start":
                words = str(dig(item, "state", "waiting", "message") or waiting)
                if not is_reference_missing(words):  # which is a cause of its own
                    yield _start_failure(case, pod, item, waiting, words)
            elif waiting == "CrashLoopBackOff" and not _failed_end(item):
                words = str(dig(item, "state", "waiting", "message") or waiting)
                yield blame(
                    "crash-loop",
                    f"{title_of(pod)}, container {item['name']}",
                    f"{item['name']} ends again and again, and its status does not say how",
                    [(f"container {item['name']}", f"{waiting}: {words}")],
                    hint="read its log",
                    command=logs_of(case, pod, str(item["name"]), "--previous"),
                )
            elif ended := _failed_end(item):
                reason = str(ended.get("reason") or "")
                if reason == "ContainerStatusUnknown" and _has_failed_as_a_whole(pod):
                    continue  # of an eviction or shutdown, of which the pod itself says more
                if code_of("terminated", reason) == "container-cannot-start":
                    yield _start_failure(case, pod, item, reason, str(ended.get("message") or reason))
                else:
                    yield why_ended(case, pod, item, ended)


def _has_failed_as_a_whole(pod: Object) -> bool:
    return dig(pod, "status", "phase") == "Failed" and bool(dig(pod, "status", "reason"))


# What to do about the words of a container runtime. Source: Kubernetes v1.37.2, pkg/kubelet/kuberuntime/
# security_context.go, kuberuntime_container.go; runc; NVIDIA's libnvidia-container.
_START_HINTS = (
    NO_PROCESS_LEFT,
    (
        r"(?i)no space left on device|disk quota exceeded",
        "the disk of the node is full: take nodes with more",
    ),
    (
        r"(?i)nvidia-container-runtime\S*: (executable file )?not found|nvidia-ctk|\bCDI\b",
        "the NVIDIA container toolkit of the node is missing, or its list of devices (CDI) is stale: check "
        "the GPU operator's container toolkit there",
    ),
    (
        r"(?i)seccomp|apparmor|/attr/(?:exec|keycreate|current|fscreate)|selinux",
        "a profile of the pod's securityContext (seccomp, AppArmor, SELinux) is not on the node, or its "
        "kernel cannot apply it: put it there, or leave it out",
    ),
    (
        r"(?i)error setting rlimit|setrlimit|prlimit",
        "the container runtime of the node sets limits that it may not raise itself: give its service there "
        "LimitNOFILE and LimitMEMLOCK as high",
    ),
    (
        r"/sys/fs/cgroup/[^:\n]{1,300}: no such file|cgroup\.controllers|hugetlb",
        "the node's cgroups lack what the pod asks for (a controller, huge pages): restart the container "
        "runtime there, or take another node",
    ),
    NO_RUNTIME,
    (
        r"(?i)runAsNonRoot|non-root|run as root",
        "the pod or its namespace requires a non-root user: build the image with a numeric USER, or "
        "set runAsUser in a pod template",
    ),
    (
        r"unsatisfied condition: \S+ ?>= ?\S+",
        "the NVIDIA driver of the node is too old for the image: update it, or use an image of an older CUDA",
    ),
    (
        r"bpf_prog_(?:query|attach|load)|device filters attached|failed to add device rules|"
        r"cgroup subsystem devices not found|failed to get device cgroup",
        "the NVIDIA container toolkit may not set device rules in the node's cgroups: update it, or have "
        "devices given by CDI (no-cgroups = true in its config.toml)",
    ),
    (
        r"nvidia-container-cli: device error: \S{1,100}: unknown device",
        "the GPU that the pod was given has gone: its MIG was divided again, or the card was lost; "
        "restart the pod of the device plugin on the node, which lists them again, then delete this pod",
    ),
    (
        r"(?i)gathering device information|/dev/(?:nvidia|kfd|dri)|driver/library version mismatch|nvml|"
        r"nvidia-container-cli|libcuda|libnvidia|nvidia-smi",
        "the NVIDIA driver of the node is at fault, not the image: restart the node, or reinstall its driver",
    ),
    (
        r"(?i)failed to sync (?:secret|configmap) cache|services have not yet been read|"
        r"no relationship found between node",
        "the kubelet has not seen the object yet, or does not reach the API server: it tries again",
    ),
    (
        r"(?i)(?:exec|starting container process)\b.{0,200}permission denied",
        "the program that is to run may not be executed by the container's user: check its mode in the image",
    ),
    (
        r"(?i)failed to (?:stat|mkdir) \"|error mounting|failed to prepare subPath",
        "a mount into the container fails: check its volumes and subPaths; the path of a hostPath has to be "
        "on the node",
    ),
    (
        r"exec: \"[^\"\s]{1,120} [^\"]{0,600}\": (?:stat |executable file not found)",
        "the command is one text with spaces, and is looked for as a program of that name: give it as a list "
        "of words, or as sh -c and the text",
    ),
    (
        r"fork/exec /\S{1,200}(?:shim|runc|crun|kata)\S{0,60}: no such file",
        "the container runtime of the node lacks one of its own programs: install it there, or take another "
        "runtimeClassName",
    ),
    (
        r"(?i)exec: |executable file not found|\b(?:exec|stat) /[^:\n]{1,300}: no such file",
        "the image lacks the program that is to run",
    ),
    (
        r"/proc/sys/",
        "the node's kernel does not have a setting of the pod template's securityContext.sysctls, or does "
        "not let it be changed: leave it out, or take another node",
    ),
    (
        r"(?i)no such file or directory",
        "a file that the message names is missing, in the image or on the node: check what mounts or names "
        "it",
    ),
    (
        r"(?i)permission denied|operation not permitted",
        "the user of the container may not do that: check its image",
    ),
    (r"(?i)mount|rootfs|not a directory", "a mount into the container fails: check its volumes and subPaths"),
    (
        r"(?i)memory|cgroup|final child's PID",
        "its limits are too small to start a process, or the node's cgroups are out of order",
    ),
    (
        r"(?i)already in use|context deadline exceeded|name .* is reserved",
        "the container runtime of the node is stuck, or still at work on the last container: delete the pod, "
        "and if the next one meets the same, restart the container runtime there",
    ),
    (
        r"no command specified",
        "neither the image nor the pod template says what to run: set command in the template, or build the "
        "image with one",
    ),
    (
        r"get user \"|no users found|unable to find user",
        "the image has no user of that name: set runAsUser to "
        "a number in the pod template, or build the image with it",
    ),
    (r"(?i)hook", "a hook of the container fails: check its lifecycle, and its log"),
)


def _start_failure(case: Case, pod: Object, item: Object, reason: str, words: str) -> Cause:
    name, evidence = str(item["name"]), [(f"container {item['name']}", f"{reason}: {words}")]
    evidence += [
        event_words(event)
        for event in events_about(case, pod, name)
        if event.get("reason") in ("Failed", "FailedPostStartHook")
    ][:1]
    adapter = adapter_of(case, name)
    if re.search(WRONG_PLATFORM, words):
        return wrong_platform(case, pod, name, str(item.get("image")), evidence)
    if adapter and re.search(_NO_PROGRAM, words):
        return without_shell(case, pod, item, adapter, evidence)
    return blame(
        "container-cannot-start",
        f"{title_of(pod)}, container {name}",
        f"the container cannot be started: {words}",
        evidence,
        hint=next((hint for pattern, hint in _START_HINTS if re.search(pattern, words)), "check the message"),
        command=kubectl_hints.describe(pod),
    )


def _failed_end(item: Object) -> Object | None:
    """How the container ended with an error or ends over and over, unless it has recovered since."""
    is_looping = dig(item, "state", "waiting", "reason") == "CrashLoopBackOff"
    state: Object = item.get("state") or {}
    # An init container that has done its work at last is ready, and ended.
    is_well = state.get("running") is not None or dig(state, "terminated", "exitCode") == 0
    has_recovered = item.get("ready") and is_well
    for ended in (dig(state, "terminated"), dig(item, "lastState", "terminated")):
        failed = ended and (ended.get("exitCode") or ended.get("reason") == "OOMKilled" or is_looping)
        if failed and not has_recovered:
            return dict(ended)
    last = dig(item, "lastState", "terminated")  # with 0, and started again: a server is not to end
    if last and item.get("restartCount") and not item.get("ready") and not dig(item, "state", "terminated"):
        return dict(last)
    return None


def slow(case: Case) -> Iterator[Cause]:
    """Servers that load for longer than their preset may take."""
    budget_s = budget_of(case.workspace, case.seen.catalog)
    for pod in case.pods:
        for item in pod_state.container_statuses(pod):
            running_s = case.age_s(dig(item, "state", "running", "startedAt"))
            if running_s <= 0 or pod_state.is_ready(pod) or item.get("ready") or _failed_end(item):
                continue
            log, has_served = _log_of(case, pod, item), pod_state.was_ready_for_s(pod, item) > 0
            if running_s > budget_s or has_served:
                if (beside := _beside_the_server(pod, str(item["name"]), running_s)) is not None:
                    message, hint = beside
                    look = logs_of(case, pod, str(item["name"]))
                    about = f"{title_of(pod)}, container {item['name']}"
                    evidence = [(f"container {item['name']}", f"running for {span(running_s)}, not ready")]
                    evidence += _last_words(case, pod, item)
                    yield blame("slow-start", about, message, evidence, hint=hint, command=look)
                    continue
                if has_served:
                    from kaitoctl.kaito.diagnosis.of_readiness import no_longer_ready  # most serve on

                    yield no_longer_ready(case, pod, item, log)
                    continue
                yield (
                    _engine_died(case, pod, item, log)
                    or _on_loopback(case, pod, item)
                    or _by_its_probe(case, pod, item, log)
                    or _too_slow(case, pod, item, running_s, budget_s)
                )
            elif told := _engine_died(case, pod, item, log) or _by_its_probe(
                case, pod, item, log, is_early=True
            ):
                yield told


def _too_slow(case: Case, pod: Object, item: Object, running_s: float, budget_s: float) -> Cause:
    """A server that takes longer than its preset may, and nobody knows why; with what its probe meets."""
    message, hint = (
        f"it loads for {span(running_s)}, and the budget is {span(budget_s)}",
        "check whether it still moves",
    )
    name = str(item["name"])
    unhealthy = next((one for one in events_about(case, pod, name) if one.get("reason") == "Unhealthy"), None)
    if unhealthy is not None:
        from kaitoctl.kaito.diagnosis import of_probes  # most servers pass their probes

        log = _log_of(case, pod, item)
        if (told := of_probes.meets(pod, name, unhealthy, log, has_served=False)) is not None:
            message = (
                f"it is not ready {span(running_s)} after it began, and the budget is {span(budget_s)}: "
                f"{told.says}"
            )
            hint = told.hint
    return blame(
        "slow-start",
        f"{title_of(pod)}, container {name}",
        message,
        [event_words(event) for event in case.seen.events_of(pod)[:1]] + _last_words(case, pod, item),
        hint=hint,
        command=Command("kaitoctl logs", case.name, *case.in_namespace),
    )


def _engine_died(case: Case, pod: Object, item: Object, log: str) -> Cause | None:
    """A server that was never ready and will not be, by its log."""
    if not log:
        return None
    from kaitoctl.kaito.diagnosis import of_readiness  # most engines live

    return of_readiness.engine_died(case, pod, item, log)


def _log_of(case: Case, pod: Object, item: Object) -> str:
    return case.seen.logs.get((str(pod["metadata"]["name"]), str(item["name"])), "")


def _last_words(case: Case, pod: Object, item: Object) -> list[tuple[str, str]]:
    """The last error of a container that runs, or its last line, as evidence."""
    log = _log_of(case, pod, item)
    error = of_logs.last_error(log)
    return [("log", line) for line in ([error] if error else of_logs.last_lines(log, 1))]


# Source: uvicorn 0.3x server.py, vLLM 0.33.0 entrypoints/launcher.py, gradio 5, llama.cpp server.
_LOOPBACK = (
    r"(?i)(?:running|listening|started|serving)\b.{0,60}?(?:\b127\.0\.0\.1|\blocalhost|\[::1\]):"
    r"(?P<port>\d{2,5})"
)


def _on_loopback(case: Case, pod: Object, item: Object) -> Cause | None:
    """A server that has started, for its own pod alone."""
    found = re.search(_LOOPBACK, _log_of(case, pod, item))
    if found is None:
        return None
    return blame(
        "bad-arguments",
        f"{title_of(pod)}, container {item['name']}",
        f"it listens on its own loopback alone (port {found['port']}), where neither probes nor the Service "
        "reach it",
        [("log", of_logs.printable_line(found[0])), *map(event_words, case.seen.events_of(pod)[:1])],
        hint="let it listen on 0.0.0.0 (or ::): an option such as --host in the command of the pod template",
        command=logs_of(case, pod, str(item["name"])),
    )


def _by_its_probe(case: Case, pod: Object, item: Object, log: str, *, is_early: bool = False) -> Cause | None:
    """A server that is up, and whose probe asks for something else or gives up too early."""
    if not any(event.get("reason") == "Unhealthy" for event in case.seen.events_of(pod)):
        return None
    from kaitoctl.kaito.diagnosis import of_probes  # most servers pass their probes

    return of_probes.keeps_out(case, pod, item, log, is_early=is_early)


def _beside_the_server(pod: Object, name: str, running_s: float) -> tuple[str, str] | None:
    """What is so of a container that is not the model server, and what to do; None for the server."""
    inits = {str(item.get("name")): item for item in dig(pod, "spec", "initContainers") or ()}
    if name in inits and not pod_state.is_sidecar(inits[name]):
        return (
            f"init container {name} has run for {span(running_s)} and has not ended, and the server starts "
            "after it",
            "check what it waits for",
        )
    state = next((item for item in pod_state.container_statuses(pod) if item.get("name") == name), {})
    probed = inits.get(name, {}).get("startupProbe")
    if probed and not pod_state.is_started_sidecar(inits[name], state):
        return (
            f"sidecar {name} has run for {span(running_s)} and its startupProbe has not passed, and the "
            "server starts after it",
            "check its log and its startupProbe",
        )
    mains = [item for item in dig(pod, "spec", "containers") or () if isinstance(item, dict)]
    with_gpus = [item for item in mains if pod_state.holds_accelerator({"spec": {"containers": [item]}})]
    server = str(next(iter(with_gpus or mains), {}).get("name"))
    if name == server:
        return None
    return (
        f"{name}, which runs beside the server, is not ready {span(running_s)} after it began, and so the "
        "pod is not",
        "check its log and its readinessProbe; take it out where nobody needs it",
    )
