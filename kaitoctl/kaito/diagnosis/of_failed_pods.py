"""Rules about pods that have failed as a whole: rejected by a kubelet, evicted, or ended with their node.

A workload replaces such pods and leaves them there, sometimes by the thousand: they are counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from kaitoctl.kaito import nodes
from kaitoctl.kaito.diagnosis.case import Case, blame, describe, title_of, told_by, word
from kaitoctl.kaito.diagnosis.cause import Cause, Weight
from kaitoctl.kaito.diagnosis.reasons import code_of
from kaitoctl.kube import pods as pods_
from kaitoctl.kube.objects import Object, dig

_DISK = r"(?i)disk|ephemeral-storage"
_DEVICES = r"(?i)\bdevices?\b|Allocate failed|nvidia|\bgpu\b"
# Counts, names and amounts: what differs between the words of pods that failed for one reason.
_VARYING = r"\d+|[0-9a-f]{8}-[0-9a-f-]+"


@dataclass(frozen=True, slots=True)
class _Group:
    """Pods that failed alike on one node."""

    reason: str
    words: str
    node: str
    pods: list[Object]

    @property
    def newest(self) -> Object:
        return max(self.pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp") or ""))


def failed_pods(case: Case) -> Iterator[Cause]:
    """Pods that failed as a whole, each kind of failure once."""
    for group in sorted(_groups(case), key=lambda group: _created(group.newest), reverse=True):
        code = code_of("pod", group.reason) or "kubernetes-says"
        if group.reason == "Evicted" and re.search(_DISK, group.words):
            code = "disk-full"
        yield _cause(case, group, code)


def _groups(case: Case) -> list[_Group]:
    found: dict[tuple[str, str, str], _Group] = {}
    for pod in case.seen.pods:
        reason = str(dig(pod, "status", "reason") or "")
        if dig(pod, "status", "phase") != "Failed":
            continue
        if not reason and any(dig(item, "state", "terminated") for item in pods_.container_statuses(pod)):
            continue  # its containers say why
        reason = reason or "Failed"
        words = " ".join(str(dig(pod, "status", "message") or reason).split())
        node = str(dig(pod, "spec", "nodeName") or "")
        key = (reason, re.sub(_VARYING, "#", words), node)
        found.setdefault(key, _Group(reason, words, node, [])).pods.append(pod)
    return list(found.values())


def _created(pod: Object) -> str:
    return str(pod["metadata"].get("creationTimestamp") or "")


def _cause(case: Case, group: _Group, code: str) -> Cause:
    count, newest = len(group.pods), group.newest
    many = "" if count == 1 else f"{count} pods: "
    where = f"node {group.node}" if group.node else "its node"
    what, hint = _MEANINGS.get(code, ("", "see the message"))
    own = (words for pattern, words in _HINTS if re.search(pattern, f"{group.reason}: {group.words}"))
    hint = next(own, hint)
    said = what.format(node=where, it="it" if count == 1 else "them") if what else f"{group.reason}"
    evidence = [("pod" if count == 1 else f"{count} pods", f"{group.reason}: {group.words}")]
    evidence += [told_by(event) for event in case.seen.events_of(newest) if event.get("type") == "Warning"][
        :1
    ]
    if code == "pod-rejected" and re.search(_DEVICES, f"{group.reason} {group.words}"):
        hint = "what the kubelet knows of the node's GPUs is stale: see and restart its device plugin"
    look = f"kubectl describe node {word(group.node)}" if group.node else describe(case, newest)
    if code == "pod-rejected" and re.search(_DEVICES, group.words) and group.node:
        look = f"kubectl get pods -A --field-selector spec.nodeName={word(group.node)}"
    return blame(
        code,
        title_of(newest) if count == 1 else f"{count} {nodes.plural('pod', count)} of {case.name}",
        f"{many}{said}: {group.words}",
        evidence,
        hint=hint,
        command=look,
        weight=_weight(case, newest),
    )


def _weight(case: Case, newest: Object) -> Weight:
    """A fault while no pod has come after it that got further."""
    later = [
        pod
        for pod in case.seen.pods
        if not pods_.is_finished(pod) and _created(pod) >= _created(newest) and dig(pod, "spec", "nodeName")
    ]
    served = any(pods_.is_ready(pod) for pod in case.seen.pods)
    return "note" if later or served else "fault"


# Where a reason, or its words, tell more than the cause. Source: Kubernetes v1.37.2, pkg/kubelet/eviction/
# eviction_manager.go, nodeshutdown, active_deadline.go.
_HINTS = (
    (
        r"Usage of EmptyDir volume",
        "raise sizeLimit of that emptyDir in the pod template, or write less to it",
    ),
    (
        r"exceeds the total limit of containers|exceeded its local ephemeral storage limit",
        "raise the limits of the pod template (ephemeral-storage), or write less to the container's disk",
    ),
    (r"^NodeShutdown", "the node goes down: its workload creates another pod where there is room"),
    (r"^DeadlineExceeded", "activeDeadlineSeconds of the pod has passed: a server is not to have one"),
)
_MEANINGS = {
    "pod-rejected": (
        "the kubelet of {node} rejects {it}",
        "see what that node lacks; another node takes the pod, or the kubelet there needs a restart",
    ),
    "pod-ended": (
        "{node} ended {it}",
        "see the node; a workload creates the pod again where there is room",
    ),
    "pod-evicted": ("{node} evicted {it}", "see the node's pressure conditions"),
    "disk-full": ("{node} evicted {it}", "take nodes with a larger disk"),
    "node-lost": ("{node} is not heard of", "see whether the machine still runs"),
}
