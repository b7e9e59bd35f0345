"""What events tell of a node: the kernel killed for want of memory, it restarted, its cloud took it away.

`reasons` has the words, by the place `node-event`.

Source: Kubernetes v1.37.2 pkg/kubelet/oom (`System OOM encountered, victim process: NAME, pid: N`); Linux
mm/oom_kill.c (`Killed process N (NAME) total-vm:..kB, anon-rss:..kB`, and before it `Memory cgroup out of
memory: ` where a limit of a cgroup was met, and not the end of the machine's memory).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

from kaitoctl.advice import Command
from kaitoctl.kaito.diagnosis.case import event_words
from kaitoctl.kaito.diagnosis.reasons import code_of
from kaitoctl.kube.objects import Object, dig, quantity

_VICTIM = re.compile(
    r"victim process: (?P<called>.{1,60}?), pid: \d|Killed process \d{1,9},? \((?P<name>[^)]{1,60})\)"
    r"(?:.{0,200}?anon-rss:(?P<kib>\d{1,15})kB)?"
)
_OF_LIMIT = re.compile(r"(?i)memory cgroup out of memory|CONSTRAINT_MEMCG")
_RESTARTS = {
    "Rebooted": "node {node} restarted while {name} ran",
    "Shutdown": "node {node} was shut down while {name} ran",
    "RebootScheduled": "the cloud restarted node {node} while {name} ran",
    "KubeletStart": "the kubelet of node {node} restarted while {name} ran",
    "DockerStart": "the container runtime of node {node} restarted while {name} ran",
    "ContainerdStart": "the container runtime of node {node} restarted while {name} ran",
}


class Killed(NamedTuple):
    """Why a container was killed, by what its node says."""

    code: str
    message: str
    evidence: list[tuple[str, str]]
    hint: str
    command: Command


def why_killed(
    name: str, spec: Object, node: Object, events: Sequence[Object], by_kernel: bool, by_signal: bool
) -> Killed | None:
    """What befell the node around the moment at which a container ended; None where no event tells.

    Args:
        name: of the container.
        spec: of the container.
        node: that it ran on.
        events: about the node and that moment, the newest first.
        by_kernel: whether the kernel may have killed it, or a process of it: it sends SIGKILL alone.
        by_signal: whether the container itself was killed, by whichever signal.
    """
    where = str(node["metadata"]["name"])
    look = Command("kubectl describe node", where)
    killing = next(_of_code(events, "out-of-memory"), None)
    if killing is not None and by_kernel:
        message, hint = _of_memory(name, spec, where, killing)
        return Killed("out-of-memory", message, [event_words(killing)], hint, look)
    restart = next(_of_code(events, "container-killed"), None)
    if restart is None or not by_signal:
        return None
    message = _RESTARTS[str(restart.get("reason"))].format(node=where, name=name)
    hint = "the container starts again by itself; if it comes again, check why that node does not stay up"
    return Killed("container-killed", message, [event_words(restart)], hint, look)


def why_gone(events: Iterable[Object]) -> list[tuple[str, str]]:
    """What events say of why a node went, as evidence; the cloud's word before Kubernetes' own.

    Args:
        events: about the node, by its name: what its uid was nobody knows any more.
    """
    told = sorted(_of_code(events, "node-lost"), key=lambda event: event.get("reason") in _LATE)
    return [event_words(event) for event in told]


_LATE = ("RemovingNode", "DeletingNode")


def problems(events: Iterable[Object], code: str) -> list[tuple[str, str]]:
    """What detectors say of a node, one line for each reason, since it last restarted."""
    found: dict[str, tuple[str, str]] = {}
    for event in events:
        if event.get("reason") in ("Rebooted", "Shutdown"):
            break
        if code_of("node-event", str(event.get("reason"))) == code:
            found.setdefault(str(event.get("reason")), event_words(event))
    return list(found.values())


def _of_code(events: Iterable[Object], code: str) -> Iterator[Object]:
    return (event for event in events if code_of("node-event", str(event.get("reason"))) == code)


def _of_memory(name: str, spec: Object, node: str, event: Object) -> tuple[str, str]:
    """Whose memory came to its end, and what to do."""
    words = event_words(event)[1]
    found = _VICTIM.search(words)
    victim = f"process {found['called'] or found['name']}" if found else "a process"
    kib = int(found["kib"]) if found and found["kib"] else 0
    used = f", which used {kib / 1024**2:.0f} GiB," if kib >= 1024**2 else ""
    killed = f"the kernel killed {victim}{used}"
    if not _OF_LIMIT.search(words):
        return (
            f"node {node} ran out of main memory, and {killed}{'' if used else ' there'}".rstrip(","),
            "take a node with more memory; or let the pod template request what the server needs, so that "
            "no more pods are placed beside it than there is memory for",
        )
    limit = str(dig(spec, "resources", "limits", "memory") or "")
    if limit and kib * 1024 >= _NEAR * quantity(limit):
        return (
            f"{killed} at the memory limit of {name}, {limit}",
            "raise the limit, or take a node with more memory",
        )
    whose = f"that of {name}, {limit}, or of another container" if limit else "that of a container"
    return (
        f"{killed} at a memory limit, {whose}, or what all pods of node {node} may use together: the event "
        "does not say which",
        "see whether the memory that the server uses comes near to a limit; then raise it, take a node with "
        "more memory, or end other pods there",
    )


_NEAR = Decimal("0.8")  # what one process uses of a limit that is met because of it
