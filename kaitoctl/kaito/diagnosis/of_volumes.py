"""Rules about what a kubelet prepares before the first container: volumes, and the pod's sandbox."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kaitoctl.kaito.diagnosis.case import Case, blame, describe, is_creating, title_of, told_by, word
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kaito.diagnosis.of_configuration import is_reference_missing
from kaitoctl.kaito.diagnosis.reasons import code_of
from kaitoctl.kube import conditions
from kaitoctl.kube import pods as pods_
from kaitoctl.kube.objects import Object, dig

# What to do about the words of an event. Source: Kubernetes v1.37.2, pkg/volume, pkg/controller/volume/
# attachdetach; the CSI drivers of Azure, AWS and NFS.
_VOLUME_HINTS = (
    (
        r"(?i)Multi-Attach|already (exclusively )?attached|already used by",
        "the disk can be on one node at a time: wait until the pod that holds it has ended, or use a "
        "volume with access mode ReadWriteMany",
    ),
    (
        r"(?i)driver name \S+ not found|no such driver|not registered|csinode|CSI driver",
        "the CSI driver does not run on this node: see its DaemonSet",
    ),
    (
        r"(?i)hostPath type check failed|is not a directory|no such file or directory|does not exist",
        "the path is not on this node: create it there, or take a node that has it",
    ),
    (
        r"(?i)permission denied|access denied|\b(?:status|code|error)\b\D{0,12}40[13]\b|unauthorized|"
        r"forbidden|not authorized",
        "the storage refuses the node or its identity: see its access rules",
    ),
    (
        r"(?i)wrong fs type|bad superblock|fsck|filesystem|mount: |exit status 32",
        "the node cannot mount what is on the volume: see its file system, and the node's mount helpers",
    ),
    (
        r"(?i)timed? ?out|deadline exceeded|connection refused|no route|unavailable",
        "the storage does not answer in time: see that the node reaches it",
    ),
    (r"(?i)attach.*limit|maximum number|too many", "the node has as many disks as it can have: take another"),
    (r"(?i)resize", "the volume cannot grow: see its claim and storage class"),
)
_SANDBOX_HINTS = (
    (
        r"(?i)no runtime for|RuntimeHandler|runtime handler|unknown runtime",
        "the container runtime of the node does not have this runtime class: see the GPU operator's "
        "container toolkit there",
    ),
    (
        r"(?i)assign an? (ip|address)|no (free |available )?(ip|address)|ip "
        r"address|ipam|insufficient.*ip|IPs|range is full",
        "the network has no address left: enlarge the subnet, or take pods off the node",
    ),
    (
        r"(?i)cni|network plugin|network is not ready|networkPlugin|plugin type=",
        "the network plugin of the node is not ready: see its DaemonSet pod there",
    ),
    (
        r"(?i)sandbox image|pause",
        "the node cannot pull the sandbox image: see its registry settings",
    ),
    (
        r"(?i)resource ?claim|dynamic resource|DRA|prepare",
        "see the ResourceClaims and their driver on the node",
    ),
    (r"(?i)no space left|disk", "the node's disk is full"),
    (r"(?i)cgroup|systemd", "the node's cgroups are out of order: restart its container runtime"),
)


def volumes(case: Case) -> Iterator[Cause]:
    """Volumes that cannot be attached or mounted, and sandboxes that cannot be made."""
    for pod in case.pods:
        if not _is_prepared(pod):
            continue
        for event in case.seen.events_of(pod):
            code = code_of("event", str(event.get("reason") or ""))
            words = str(event.get("message") or event.get("note") or "")
            if code == "volume-unavailable" and not is_reference_missing(words):
                yield _volume(case, pod, event, words)
                break
            if code == "pod-sandbox-failed":
                yield _sandbox(case, pod, [told_by(event)], words)
                break
    for pod in case.pods:
        for item in pods_.container_statuses(pod):
            reason = str(dig(item, "state", "waiting", "reason") or "")
            if code_of("waiting", reason) == "pod-sandbox-failed":
                words = str(dig(item, "state", "waiting", "message") or reason)
                yield _sandbox(case, pod, [(f"container {item['name']}", f"{reason}: {words}")], words)
                break


def _is_prepared(pod: Object) -> bool:
    """Whether the kubelet is still at work on what comes before the containers."""
    return is_creating(pod) and not conditions.is_true(pod, "PodReadyToStartContainers")


def _hint(words: str, hints: tuple[tuple[str, str], ...], default: str) -> str:
    return next((hint for pattern, hint in hints if re.search(pattern, words)), default)


def _volume(case: Case, pod: Object, event: Object, words: str) -> Cause:
    claims = [ref.name for ref in pods_.references(pod) if ref.kind == "PersistentVolumeClaim"]
    named = [
        ref.name
        for ref in pods_.references(pod)
        if ref.kind == "PersistentVolumeClaim" and f'"{ref.by}"' in words
    ] or claims
    evidence = [told_by(event)]
    if named:
        evidence.append(("pod", f"its volume claims: {', '.join(named)}"))
    holder = re.search(r"already used by pod\(s\) (?P<pods>[^\n]+)", words)
    of = f" of claim {named[0]}" if len(named) == 1 else ""
    held = f"; {holder['pods'].strip()} holds it" if holder else ""
    what = "attached" if "Attach" in str(event.get("reason")) else "mounted"
    return blame(
        "volume-unavailable",
        title_of(pod),
        f"a volume{of} cannot be {what}{held}: {words}",
        evidence,
        hint=_hint(words, _VOLUME_HINTS, "see the message, and the storage driver's log"),
        command=f"kubectl describe pvc {' '.join(map(word, named))} {case.namespace}"
        if named
        else describe(case, pod),
    )


def _sandbox(case: Case, pod: Object, told: list[tuple[str, str]], words: str) -> Cause:
    node = str(dig(pod, "spec", "nodeName") or "")
    return blame(
        "pod-sandbox-failed",
        title_of(pod),
        f"node {node} cannot make the pod's sandbox: {words}",
        told,
        hint=_hint(words, _SANDBOX_HINTS, "see the message, and the container runtime's log on the node"),
        command=f"kubectl describe node {word(node)}" if node else describe(case, pod),
    )
