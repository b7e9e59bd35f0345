"""What every rule of a diagnosis looks at, and the questions that several of them ask."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from kaitoctl.advice import Advice, Command
from kaitoctl.kaito import api
from kaitoctl.kaito.catalog import Catalog
from kaitoctl.kaito.diagnosis.cause import Cause, Weight
from kaitoctl.kaito.rollout import Progress, current_pods
from kaitoctl.kaito.secrecy import without_secrets
from kaitoctl.kaito.snapshot import Snapshot, event_time, times_of
from kaitoctl.kube import pod_state
from kaitoctl.kube.conditions import parse_timestamp
from kaitoctl.kube.objects import Object, creation_time_of, dig, generation_of, is_being_deleted, key_of

if TYPE_CHECKING:
    from kaitoctl.kaito.validation import Setting

_EVIDENCE_LINES = 4
_LAST_PODS = 3
_CREATING = {"", "ContainerCreating", "PodInitializing"}


class Case(Struct, frozen=True):
    """What the rules judge.

    Args:
        seen: what there is.
        workspace: the Workspace of it.
        progress: how far it is.
        now: the time.
    """

    seen: Snapshot
    workspace: Object
    progress: Progress
    now: datetime

    @property
    def name(self) -> str:
        """The Workspace's name."""
        return key_of(self.workspace).name

    @property
    def namespace(self) -> str:
        """The Workspace's namespace."""
        return key_of(self.workspace).namespace or "default"

    @property
    def in_namespace(self) -> tuple[str, str]:
        """The words that lead a command to the Workspace's namespace."""
        return "-n", self.namespace

    @property
    def pods(self) -> list[Object]:
        """The pods that count; without a workload of this generation, all that live, or the last that did.

        A workload may leave thousands of failed pods behind: all but the newest say nothing new.
        """
        if current := current_pods(self.workspace, self.seen):
            return current
        here = [pod for pod in self.seen.pods if not is_being_deleted(pod)]
        here.sort(key=creation_time_of)
        return [pod for pod in here if not pod_state.is_finished(pod)] or here[-_LAST_PODS:]

    @property
    def waited_s(self) -> float:
        """For how long the Workspace has been there."""
        return self.age_s(self.workspace["metadata"].get("creationTimestamp"))

    def age_s(self, moment: object) -> float:
        """Seconds since a timestamp; 0 when it is none."""
        try:
            return max(0.0, (self.now - parse_timestamp(str(moment))).total_seconds())
        except ValueError:
            return 0.0


def budget_of(workspace: Object, known: Catalog) -> float:
    """Seconds that the preset may take from start to ready."""
    return known.readiness_s(preset_name(workspace))


def preset_name(workspace: Object) -> str:
    """The preset that it serves or tunes; empty for a pod template."""
    return str(
        dig(workspace, "inference", "preset", "name") or dig(workspace, "tuning", "preset", "name") or ""
    )


def blame(
    code: str,
    about: str,
    message: str,
    evidence: list[tuple[str, str]],
    *,
    hint: Advice = "",
    command: Advice = "",
    weight: Weight = "fault",
) -> Cause:
    """A cause with its evidence on single lines, repetitions left out, and what looks like a secret, too."""
    lines = ((source, " ".join(str(without_secrets(words)).split())) for source, words in evidence if words)
    unique = tuple(dict.fromkeys(lines))[:_EVIDENCE_LINES]
    return Cause(code, about, str(without_secrets(message)), unique, hint, command, weight)


def title_of(obj: Object) -> str:
    """`Pod falcon-1`."""
    return f"{obj.get('kind')} {obj['metadata']['name']}"


def span(seconds: float) -> str:
    """`40s`, `12m`, `1h05m`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    return f"{whole // 60}m" if whole < 3600 else f"{whole // 3600}h{whole % 3600 // 60:02}m"


def denials(case: Case) -> list[Object]:
    """The conditions of this generation that are False, those that the others repeat last."""
    found = [
        item
        for item in dig(case.workspace, "status", "conditions") or ()
        if item.get("status") == "False" and is_of_now(case, item)
    ]
    return sorted(found, key=lambda item: item.get("type") == api.WORKSPACE_SUCCEEDED)


def controller_words(case: Case) -> list[tuple[str, str]]:
    """What the controller says, as evidence."""
    return [(f"condition {item['type']}", str(item.get("message"))) for item in denials(case)[:1]]


def condition_words(condition: Object) -> tuple[str, str]:
    """What a condition says, as evidence: `False REASON: MESSAGE`, without what it leaves out."""
    head = " ".join(str(condition[key]) for key in ("status", "reason") if condition.get(key))
    words = ": ".join(part for part in (head, str(condition.get("message") or "")) if part)
    return f"condition {condition.get('type')}", words


def reason_words(condition: Object) -> str:
    """Why a condition is as it is, `REASON: MESSAGE`, without what it leaves out."""
    said = [str(condition[key]) for key in ("reason", "message") if condition.get(key)]
    return ": ".join(said) or (f"{condition['status']}" if condition.get("status") else "there is none")


def event_words(event: Object) -> tuple[str, str]:
    """What an event says, as evidence."""
    count = times_of(event)
    times = f" (x{count})" if count > 1 else ""
    return f"event {event.get('reason')}{times}", str(event.get("message") or event.get("note") or "")


def claim_warnings(case: Case) -> list[Object]:
    """Warnings about NodeClaims, those that are gone among them, in no order."""
    return [
        event
        for event in case.seen.events
        if dig(event, "involvedObject", "kind") == "NodeClaim" and event.get("type") == "Warning"
    ]


def observed_generation(condition: Object) -> int:
    """The generation that a condition is about; 0 when it does not say."""
    return int(condition.get("observedGeneration") or 0)


def is_of_now(case: Case, condition: Object) -> bool:
    """Whether a condition is about the present generation."""
    return observed_generation(condition) >= generation_of(case.workspace)


def rules_of(case: Case) -> Setting:
    """By whose rules the Workspace is judged: as its cluster was found, or as whoever manages it says."""
    from kaitoctl.kaito.validation import OWN, Setting  # most Workspaces need not be judged

    return case.seen.setting or Setting(OWN if case.seen.is_ours else None, catalog=case.seen.catalog)


def adapter_of(case: Case, container: str) -> str:
    """The adapter that an init container copies: of its name, or `puller-NAME` from v0.12 on."""
    for adapter in dig(case.workspace, "inference", "adapters") or ():
        name = str(dig(adapter, "source", "name") or "")
        if name and container in (name, f"puller-{name}"):
            return name
    return ""


def logs_of(case: Case, pod: Object, container: str, *more: str) -> Command:
    """The command that shows the log of a container: that of the server needs no name, any other does."""
    mains = [str(item.get("name")) for item in dig(pod, "spec", "containers") or ()]
    server = case.name if case.name in mains else next(iter(mains), container)
    adapter = adapter_of(case, container)
    other = ("-c", container) if container != server else ()
    option = ("--adapter", adapter) if adapter else other
    return Command("kaitoctl logs", case.name, *case.in_namespace, *option, *more)


def without_benchmark(case: Case) -> Command:
    """The command that takes KAITO's benchmark from a Workspace."""
    annotation = f"{api.ANNOTATION_DISABLE_BENCHMARK}=true"
    return Command("kubectl annotate workspace", case.name, *case.in_namespace, annotation, "--overwrite")


def is_creating(pod: Object) -> bool:
    """Whether a pod has a node, and no container of it has begun or failed yet."""
    if not dig(pod, "spec", "nodeName") or pod_state.is_finished(pod):
        return False
    states = [item.get("state") or {} for item in pod_state.container_statuses(pod)]
    if any(state.get(kind) is not None for state in states for kind in ("running", "terminated")):
        return False
    return {dig(state, "waiting", "reason") or "" for state in states} <= _CREATING


def events_about(case: Case, pod: Object, container: str) -> list[Object]:
    """The events about one container of a pod, those of the whole pod with them, the newest first."""
    path = f"{{{container}}}"
    return [
        event
        for event in case.seen.events_of(pod)
        if not (field := str(dig(event, "involvedObject", "fieldPath") or "")) or field.endswith(path)
    ]


def is_around(case: Case, event: Object, moment: object, *, between: bool = True) -> bool:
    """Whether an event, from its first to its last time, is about a moment; where either is unknown, too.

    Args:
        case: with the time that is now.
        event: that was seen once or several times.
        moment: in RFC 3339.
        between: whether it went on between its first and its last time, as a probe that fails does; a kill
            happens twice, not on end.
    """
    last = event_time(event)
    if not moment or not last:
        return True
    first = event.get("firstTimestamp") or event.get("eventTime") or last
    since_s, began_s, ended_s = case.age_s(moment), case.age_s(first), case.age_s(last)
    if not between:
        return any(abs(age_s - since_s) <= _AROUND_S for age_s in (began_s, ended_s))
    return ended_s <= since_s + _AROUND_S and began_s >= since_s - _AROUND_S


_AROUND_S = 300.0
NO_PROCESS_LEFT = (
    r"(?i)resource temporarily unavailable|cannot fork|fork failed|pthread_create failed|"
    r"pids? (?:cgroup )?limit|newosproc",
    "the node has no processes or threads left: look for a pod that makes too many, and at the node's limits "
    "(pidsLimit, TasksMax)",
)
# Source: containerd v2.1 and CRI-O 1.34, by gRPC and ttrpc; a runtime that ends leaves its socket behind.
NO_RUNTIME = (
    r"dial unix /\S{1,100}\.sock: connect: (?:connection refused|no such file)|ttrpc: closed|"
    r"error reading from server: EOF|(?i:shim)\S{0,20} (?:exited|died|is not running)",
    "the container runtime of the node does not run, or has just ended: check its service there (containerd, "
    "CRI-O); the kubelet tries again",
)
FILES_LOST = (
    "else the files on it are lost: ask whose they are before you delete the claim, create it again, and "
    "fill it"
)
"""What to do where a volume is gone for good; after what may bring it back, and a semicolon."""
