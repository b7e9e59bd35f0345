"""How containers end: killed, out of memory, by what their logs say, or by an exit code alone.

`why_ended` asks one reader after the other; the first that knows the end explains it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property

from msgspec import Struct

from kaitoctl.advice import Advice, Command
from kaitoctl.kaito import load_progress, node_check
from kaitoctl.kaito.diagnosis import of_logs
from kaitoctl.kaito.diagnosis.case import (
    Case,
    adapter_of,
    blame,
    event_words,
    events_about,
    is_around,
    logs_of,
    span,
    title_of,
    without_benchmark,
)
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kaito.diagnosis.of_images import NO_IMAGE, OTHER_CPU, UNAUTHORIZED, set_adapter, wrong_platform
from kaitoctl.kube import pod_state
from kaitoctl.kube.conditions import parse_timestamp
from kaitoctl.kube.objects import Object, dig

_SHELL_SAYS = r"(?m)^(?:/bin/)?(?:ba|da|a)?sh: .{1,200}: [Pp]ermission denied"  # so there is one
_NO_FILES = r"(?i)no files|can't stat '?/data|cannot stat '?/data"
_OF_COPIES = ("disk-full", "path-not-writable")  # what befalls the copying of an adapter's files, too
_SIGTERM = 143


class End(Struct, frozen=True, dict=True):
    """The end of a container's last run.

    Args:
        case: what was seen.
        pod: the container's pod.
        item: its status.
        ended: how it ended, as `terminated` of a state.
    """

    case: Case
    pod: Object
    item: Object
    ended: Object

    @property
    def name(self) -> str:
        """The container's name."""
        return str(self.item["name"])

    @property
    def about(self) -> str:
        """What a cause is about."""
        return f"{title_of(self.pod)}, container {self.name}"

    @property
    def exit_code(self) -> int:
        """The exit code; 0 when nobody says."""
        return int(self.ended.get("exitCode") or 0)

    @property
    def is_lost(self) -> bool:
        """Whether the kubelet lost sight of it, and so does not know how it ended."""
        return self.ended.get("reason") in ("ContainerStatusUnknown", "Unknown") or not self.is_told

    @property
    def is_told(self) -> bool:
        """Whether anybody says with which exit code it ended."""
        return self.ended.get("exitCode") is not None

    @cached_property
    def adapter(self) -> str:
        """The adapter that it copies; empty for none."""
        return adapter_of(self.case, self.name)

    @cached_property
    def log(self) -> str:
        """Its last lines, or what the kubelet has kept of them."""
        kept = self.case.seen.logs.get((str(self.pod["metadata"]["name"]), self.name), "")
        return kept or str(self.ended.get("message") or "")

    @property
    def spec(self) -> Object:
        """What the pod's spec says of it; empty where it does not know the name."""
        return next((one for one in pod_state.container_specs(self.pod) if one.get("name") == self.name), {})

    @property
    def look(self) -> Command:
        """The command that shows its log."""
        is_last = dig(self.item, "state", "terminated") is not None  # there is no run after it
        return logs_of(self.case, self.pod, self.name, *(() if is_last else ("--previous",)))

    @cached_property
    def evidence(self) -> list[tuple[str, str]]:
        """What its status says, as evidence."""
        restarts = int(self.item.get("restartCount") or 0)
        again = f"{restarts} {node_check.plural('restart', restarts)}"
        source = f"container {self.name}"
        said = " ".join(str(self.ended.get("message") or "").split())
        code = f"exit code {self.exit_code}" if self.is_told else "no exit code"
        evidence = [(source, f"{code}, {self.ended.get('reason') or 'Error'}; {again}")]
        return [*evidence, (source, said)] if said else evidence

    def lines(self, pattern: str | None = None) -> list[tuple[str, str]]:
        """The last line of its log that has a pattern, or its last lines, as evidence."""
        lines = [line.strip() for line in self.log.splitlines() if line.strip()]
        if pattern is not None and (found := [line for line in lines if re.search(pattern, line)]):
            return [("log", of_logs.printable_line(found[-1]))]
        return [("log", line) for line in of_logs.last_lines(self.log)]

    def blamed(
        self, code: str, message: str, *, hint: str, pattern: str | None = None, command: Advice = ""
    ) -> Cause:
        """A cause with what its status and its log say."""
        evidence = [*self.evidence, *self.lines(pattern)]
        return blame(code, self.about, message, evidence, hint=hint, command=command or self.look)


def why_ended(case: Case, pod: Object, item: Object, ended: Object) -> Cause:
    """Why a container ended."""
    end = End(case, pod, item, ended)
    return next(cause for read in _READERS if (cause := read(end)) is not None)


def without_shell(
    case: Case, pod: Object, item: Object, adapter: str, evidence: list[tuple[str, str]]
) -> Cause:
    """The image of an adapter has no program that would copy its files."""
    return blame(
        "adapter-without-shell",
        f"{title_of(pod)}, container {item['name']}",
        f"the image of adapter {adapter} has no sh, mkdir or cp, by which its files are copied",
        evidence,
        hint="build it on an image that has them, such as busybox",
        command=set_adapter(case, adapter, "--image", "IMAGE:TAG"),
    )


# --- by the status, or by the log ----------------------------------------------------------------------


def _out_of_memory(end: End) -> Cause | None:
    if end.ended.get("reason") != "OOMKilled":
        return None
    limit = dig(end.spec, "resources", "limits", "memory")
    most = f"its limit of {limit}" if limit else "the node has"
    message, hint = f"{end.name} used more main memory than {most}", "take a node with more memory"
    return end.blamed("out-of-memory", message, hint=f"{hint}, or raise the limit")


def _for_another_machine(end: End) -> Cause | None:
    if not re.search(OTHER_CPU, end.log):
        return None
    evidence = [*end.evidence, *end.lines(OTHER_CPU)]
    return wrong_platform(end.case, end.pod, end.name, str(end.item.get("image")), evidence)


def _by_its_node(end: End) -> Cause | None:
    """What its node went through at that moment: the kernel killed it, or the node itself restarted."""
    node = end.case.seen.node(str(dig(end.pod, "spec", "nodeName") or ""))
    is_killed = end.exit_code in (137, _SIGTERM) or end.is_lost
    told = end.case.seen.events_of(node) if node is not None else []
    if node is None or not told or not (is_killed or _worker_died(end)):
        return None
    from kaitoctl.kaito.diagnosis import of_node_events  # most nodes stay as they are

    around = [one for one in told if is_around(end.case, one, end.ended.get("finishedAt"), between=False)]
    by_kernel = _worker_died(end) or (end.exit_code != _SIGTERM and not _probe_kills(end))
    by_signal = is_killed and not _probe_events(end)
    if (found := of_node_events.why_killed(end.name, end.spec, node, around, by_kernel, by_signal)) is None:
        return None
    evidence = [*end.evidence[:1], *found.evidence, *end.lines()]
    return blame(found.code, end.about, found.message, evidence, hint=found.hint, command=found.command)


def _worker_died(end: End) -> bool:
    known = of_logs.finding(end.case, end.log)
    return known is not None and known.code == "worker-died"


def _of_tuning(end: End) -> Cause | None:
    """The containers of a tuning Job that fetch the data and push the result."""
    if not end.case.workspace.get("tuning") or end.name == end.case.name:
        return None
    from kaitoctl.kaito.diagnosis import of_tuning_ends

    is_init = any(item.get("name") == end.name for item in dig(end.pod, "spec", "initContainers") or ())
    told = of_tuning_ends.why_ended(end.case.workspace, end.log, end.exit_code, fetches=is_init)
    if told is None:
        return None
    lines = [("log", told.line)] if told.line else end.lines()
    return blame(
        "tuning-failed", end.about, told.message, [*end.evidence, *lines], hint=told.hint, command=end.look
    )


def _said_by_log(end: End) -> Cause | None:
    known = of_logs.finding(end.case, end.log, among=_OF_COPIES if end.adapter else ())
    if known is None:
        return None
    command = of_logs.next_step(end.case, end.pod, known) or end.look
    evidence = [*end.evidence, ("log", known.line)]
    return blame(known.code, end.about, known.message, evidence, hint=known.hint, command=command)


# --- adapters ------------------------------------------------------------------------------------------


def _unpulled_adapter(end: End) -> Cause | None:
    """KAITO v0.12 pulls in a container, whose log has the registry's answer."""
    if not end.adapter or end.name == end.adapter:
        return None
    if re.search(UNAUTHORIZED, end.log):
        return end.blamed(
            "image-unauthorized",
            f"the registry denies access to the image of adapter {end.adapter}",
            pattern=UNAUTHORIZED,
            hint="give the adapter a pull secret that is valid for it",
            command=set_adapter(end.case, end.adapter, "--image-pull-secret", "NAME"),
        )
    if re.search(NO_IMAGE, end.log):
        return end.blamed(
            "adapter-image-bad",
            f"there is no image of adapter {end.adapter}",
            pattern=NO_IMAGE,
            hint="correct the image, or push it",
            command=set_adapter(end.case, end.adapter, "--image", "IMAGE:TAG"),
        )
    return None


def _empty_adapter(end: End) -> Cause | None:
    if not end.adapter or not re.search(_NO_FILES, end.log):
        return None
    return end.blamed(
        "adapter-empty",
        f"the image of adapter {end.adapter} has no files in /data",
        pattern=_NO_FILES,
        hint="build it with adapter_config.json and the weights in /data",
        command=set_adapter(end.case, end.adapter, "--image", "IMAGE:TAG"),
    )


def _adapter_without_shell(end: End) -> Cause | None:
    if not end.adapter or end.exit_code not in (126, 127) or re.search(_SHELL_SAYS, end.log):
        return None
    return without_shell(end.case, end.pod, end.item, end.adapter, [*end.evidence, *end.lines()])


# --- exit codes that nothing explains ------------------------------------------------------------------


def _ends_with_0(end: End) -> Cause | None:
    if end.exit_code != 0:
        return None
    return end.blamed(
        "crash-loop",
        f"{end.name} exits with code 0, as if its work were done, and is restarted",
        hint="a server stays: check its command and arguments (a process that goes to the background "
        "ends the container), and its log",
    )


def _crashes(end: End) -> Cause:
    from kaitoctl.kaito.diagnosis.exit_codes import meaning_of  # most logs say more

    code, (words, hint) = end.exit_code, meaning_of(end.exit_code)
    copied = f"adapter {end.adapter} cannot be copied: " if end.adapter else ""
    error = of_logs.last_error(end.log) or of_logs.handed_on(end.log)
    message = f"{copied}{end.name} ends with exit code {code}: {error or words}"
    evidence = [*end.evidence, *([("log", error)] if error else end.lines())]
    return blame("crash-loop", end.about, message, evidence, hint=hint, command=end.look)


# --- kills ---------------------------------------------------------------------------------------------


def _kill(end: End) -> Cause | None:
    """A process that somebody killed: a probe only where an event or the time that passed says so."""
    is_killed = end.exit_code in (137, _SIGTERM) or end.is_lost
    if not is_killed and not _probe_kills(end):
        return None
    return _by_misdirection(end) or _by_liveness(end) or _by_slow_start(end) or _by_nobody_known(end)


def _by_misdirection(end: End) -> Cause | None:
    """A probe killed a server that could not have passed it."""
    probes = _probe_events(end)
    if not probes:
        return None
    from kaitoctl.kaito.diagnosis import of_probes  # most servers pass their probes

    return of_probes.kills(end.case, end.pod, end.name, probes, end.log, end.evidence, in_time=True)


def _by_liveness(end: End) -> Cause | None:
    """A probe killed a server that had served."""
    probes, ran_s, most_s = _probe_events(end), _ran_s(end.ended), _startup_s(end)
    by_startup = any("startup" in str(event.get("message")).lower() for event in probes)
    loads = load_progress.loaded_share(end.log) is not None
    if not probes or by_startup or loads or most_s <= 0 or ran_s <= 1.5 * most_s + _PATIENCE_S:
        return None
    from kaitoctl.kaito.diagnosis import of_probes  # most servers pass their probes

    evidence = [
        *end.evidence,
        *map(event_words, probes[:2]),
        ("container", f"it ran for {span(ran_s)}; loading may take {span(most_s)}"),
    ]
    return blame(
        "probe-kills-server",
        end.about,
        f"a liveness probe killed {end.name}, which had served: it ran for {span(ran_s)}",
        evidence,
        hint=of_probes.after_serving(probes),
        command=end.look,
    )


def _by_slow_start(end: End) -> Cause | None:
    """A probe killed a server that was still loading; without events, the time that passed says so."""
    probes, ran_s, most_s = _probe_events(end), _ran_s(end.ended), _startup_s(end)
    is_timed = "events" in end.case.seen.unseen and 0 < most_s <= ran_s <= most_s + _PATIENCE_S
    if not probes and not is_timed:
        return None
    evidence = [*end.evidence, *map(event_words, probes[:2])]
    if not probes:
        evidence.append(("container", f"it ran for {span(ran_s)}, and its probe allows {span(most_s)}"))
    if failed := re.search(_BENCHMARK, end.log):
        message = f"KAITO's benchmark, which is the startup probe of {end.name}, fails: {failed['why']}"
        hint = (
            "check why; KAITO does without it in a StatefulSet that it creates after the annotation is set, "
            "not in one that is there"
        )
        evidence.append(("log", of_logs.printable_line(failed[0])))
        command = without_benchmark(end.case)
        return blame("benchmark-failed", end.about, message, evidence, hint=hint, command=command)
    from kaitoctl.kaito.diagnosis import of_probes  # most servers pass their probes

    if late := of_probes.kills(end.case, end.pod, end.name, probes, end.log, end.evidence, in_time=False):
        return late
    message = f"a probe kills {end.name} before it has loaded"
    hint = "give it a startupProbe with more time"
    return blame("probe-kills-slow-start", end.about, message, evidence, hint=hint, command=end.look)


def _by_nobody_known(end: End) -> Cause:
    unseen = end.case.seen.unseen
    evidence = [*end.evidence]
    if end.ended.get("startedAt"):
        evidence.append(("container", f"it ran for {span(_ran_s(end.ended))}"))
    evidence += [("cluster", f"events: {unseen['events']}")] if "events" in unseen else []
    signal = "SIGTERM" if end.exit_code == _SIGTERM else "SIGKILL"
    message = (
        f"the node lost sight of {end.name}: it restarted, or its container runtime did"
        if end.is_lost
        else f"container {end.name} was killed from outside ({signal}), and nothing shows by what"
    )
    return blame(
        "container-killed",
        end.about,
        message,
        [*evidence, *end.lines()],
        hint=_LOST if end.is_lost else _ASKED if end.exit_code == _SIGTERM else _KILLED,
        command=Command("kubectl describe node", str(dig(end.pod, "spec", "nodeName") or "")),
    )


def _probe_events(end: End) -> list[Object]:
    """What events say of the probes that ended this run, newest first; a readiness probe kills nothing."""
    return [
        event
        for event in events_about(end.case, end.pod, end.name)
        if event.get("reason") in ("Killing", "Unhealthy")
        and re.search(r"liveness|startup", str(event.get("message")), re.I)
        and is_around(end.case, event, end.ended.get("finishedAt"))
    ]


def _probe_kills(end: End) -> bool:
    """Whether an event says that a probe ended this run: a server that is asked to end may end with 0."""
    return any(event.get("reason") == "Killing" for event in _probe_events(end))


# Source: KAITO v0.12 benchmark_entrypoint.py.
_BENCHMARK = r"KAITO_BENCHMARK \S{1,30} benchmark_failed error=(?P<why>.{1,200})"
_KILLED = (
    "no probe was seen doing it: the kernel kills a child process when memory is short (check the node's "
    "kernel log), and so does a node that shuts down"
)
_ASKED = (
    "no probe was seen doing it: its own entrypoint (a timeout, a supervisor) may have asked it to end, or a "
    "node that shuts down"
)
_LOST = (
    "check whether the node or its container runtime restarted (event Rebooted, the kubelet's log): the "
    "container starts again by itself"
)
_PATIENCE_S = 90.0  # a grace period of 30 s, and some periods of a probe
# Kubernetes' defaults of a probe, in seconds and tries.
_PROBE = {"initialDelaySeconds": 0, "periodSeconds": 10, "failureThreshold": 3}


def _startup_s(end: End) -> float:
    """How long the container may take until its probes kill it; 0 when it has none that kill."""
    total = 0.0
    for kind in ("startupProbe", "livenessProbe"):
        if probe := end.spec.get(kind):
            delay, period, tries = (int(probe.get(key) or default) for key, default in _PROBE.items())
            total += delay + period * tries
    return total


def _ran_s(ended: Object) -> float:
    try:
        began, end = (parse_timestamp(str(ended.get(key))) for key in ("startedAt", "finishedAt"))
    except ValueError:
        return 0.0
    return max(0.0, (end - began).total_seconds())


_READERS: tuple[Callable[[End], Cause | None], ...] = (
    _out_of_memory,
    _for_another_machine,
    _by_its_node,
    _of_tuning,
    _said_by_log,
    _unpulled_adapter,
    _empty_adapter,
    _adapter_without_shell,
    _kill,
    _ends_with_0,
    _crashes,
)
"""The nearer to the front, the more it knows; the last one knows any end."""
