"""Snapshot -> the tree of all objects that belong to a Workspace, with how each one does. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal

from msgspec import Struct

from kaitoctl.kaito import api, node_check
from kaitoctl.kaito.launch_failures import claim_failure
from kaitoctl.kaito.rollout import Progress
from kaitoctl.kaito.serving import is_foreign, main_service, others_behind, serving
from kaitoctl.kaito.snapshot import Snapshot
from kaitoctl.kube import conditions, pod_state
from kaitoctl.kube.objects import (
    GPU_RESOURCES,
    Object,
    controller_of,
    creation_time_of,
    dig,
    is_being_deleted,
    key_of,
    quantity,
    uid_of,
)
from kaitoctl.kube.workloads import is_rolled_out, replicas, why_stalled

Mark = Literal["ok", "busy", "bad", "off"]
"""How something does: well, on its way, not at all, or out of the game."""


class Item(Struct, frozen=True):
    """One object of the tree.

    Args:
        kind: `Pod`, or `container` and `init container`.
        name: its name.
        mark: how it does.
        status: in Kubernetes' words: `Init:1/3`, `Ready`, `1/2 ready`.
        since: when it was created, RFC 3339; empty when that says nothing.
        info: more about it, a few words.
        children: what it owns or holds.
    """

    kind: str
    name: str
    mark: Mark
    status: str
    since: str = ""
    info: str = ""
    children: tuple[Item, ...] = ()


def tree_of(workspace: Object, seen: Snapshot, progress: Progress) -> Item:
    """The Workspace at the root; below it what it owns, and its nodes."""
    mark: Mark = "ok" if progress.outcome == "ready" else "bad" if progress.outcome == "failed" else "busy"
    status = {"ok": "Ready", "bad": "Failed", "busy": "Progressing", "off": ""}[mark]
    if progress.down:
        mark, status = "bad", "NotServing"
    if is_being_deleted(workspace):
        mark, status = "busy", "Deleting"
    in_claims = {str(dig(claim, "status", "nodeName") or "") for claim in seen.claims}
    children = [_claim(claim, seen) for claim in _by_name(seen.claims)]
    children += [_node(node) for node in _by_name(seen.nodes) if node["metadata"]["name"] not in in_claims]
    children += _mirror(seen.mirror)
    children += [_workload(item, workspace, seen) for item in (*seen.workloads, *seen.jobs)]
    owners = {uid_of(item) for item in (*seen.workloads, *seen.jobs)}
    owners |= {uid_of(one) for one in seen.replica_sets if (controller_of(one) or {}).get("uid") in owners}
    orphans = [pod for pod in _by_name(seen.pods) if (controller_of(pod) or {}).get("uid") not in owners]
    main = main_service(seen)
    behind = set(others_behind(seen, main)) if main and "pods" not in seen.unseen else set()
    children += _pods([pod for pod in orphans if not is_foreign(seen, pod)])
    children += [_foreign(pod, behind) for pod in orphans if is_foreign(seen, pod)]
    children += [_service(item, seen) for item in _by_name(seen.services)]
    unlabelled = behind - {str(pod["metadata"]["name"]) for pod in seen.pods}
    children += [Item("Pod", name, "bad", "NotOurs", "", _SHARES) for name in sorted(unlabelled)]
    name, info = key_of(workspace).name, measured_throughput(workspace)
    return Item("Workspace", name, mark, status, creation_time_of(workspace), info, tuple(children))


def measured_throughput(workspace: Object) -> str:
    """What KAITO has measured of the model, as `peak 6143 tokens/min`; empty where it has not.

    Source: KAITO v0.12.0 `pkg/workspace/controllers/benchmark.go`.
    """
    peak = dig(workspace, "status", "performance", "metrics", "peakTokensPerMinute") or {}
    value = str(peak.get("value") or "") if isinstance(peak, dict) else ""
    if re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,15})?", value) is None:
        return ""
    return f"peak {float(value):.0f} {peak.get('unit') or 'tokens/min'}"


def _by_name(objects: Iterable[Object]) -> list[Object]:
    return sorted(objects, key=lambda obj: str(obj["metadata"]["name"]))


def _claim(claim: Object, seen: Snapshot) -> Item:
    node = seen.node(str(dig(claim, "status", "nodeName") or ""))
    mark: Mark
    if is_being_deleted(claim):
        mark, status = "off", "Terminating"
    elif claim_failure(claim):
        mark, status = "bad", "NotLaunched"
    elif conditions.is_true(claim, "Ready"):
        mark, status = "ok", "Ready"
    else:
        steps = [
            step for step in ("Launched", "Registered", "Initialized") if conditions.is_true(claim, step)
        ]
        mark, status = "busy", steps[-1] if steps else "Pending"
    asked = [
        str(value)
        for item in dig(claim, "spec", "requirements") or ()
        if item.get("key") == api.LABEL_INSTANCE_TYPE
        for value in item.get("values") or ()
    ]
    children = (_node(node),) if node is not None else ()
    name = str(claim["metadata"]["name"])
    return Item(str(claim["kind"]), name, mark, status, creation_time_of(claim), " ".join(asked), children)


def _node(node: Object) -> Item:
    ready = conditions.is_true(node, "Ready")
    status, mark = ("Ready", "ok") if ready else ("NotReady", "bad")
    if dig(node, "spec", "unschedulable"):
        status += ",Cordoned"
    gpus = []
    slices = node_check.mig_slices(dig(node, "status", "allocatable") or {})
    for resource in GPU_RESOURCES:
        amounts = [dig(node, "status", side, resource) for side in ("allocatable", "capacity")]
        if any(amount is not None for amount in amounts) and not (slices and _whole(amounts[0]) == 0):
            allocatable, capacity = (_whole(amount) for amount in amounts)
            few = f"{allocatable} of {capacity}" if allocatable != capacity else f"{capacity}"
            gpus.append(f"{few} {node_check.plural('GPU', capacity)}")
    counts = ((_whole(dig(node, "status", "allocatable", one)), one.rpartition("/")[2]) for one in slices)
    gpus += [f"{count} x {name}" for count, name in counts if count]
    info = ", ".join(gpus) or "no GPU"
    return Item("Node", str(node["metadata"]["name"]), mark, status, creation_time_of(node), info)  # type: ignore[arg-type]


def _whole(amount: object) -> int:
    try:
        return int(quantity(str(amount or 0)))
    except ValueError:
        return 0


def _mirror(found: tuple[Object, ...]) -> Iterator[Item]:
    """The ModelMirror that it waits for, and what belongs to that; none where it waits for none."""
    if not found:
        return
    mirror, *belongings = found
    from kaitoctl.kaito.model_mirrors import download_words

    ready = conditions.find(mirror, "Ready") or {}
    phase = str(dig(mirror, "status", "phase") or "Pending")
    mark: Mark = "ok" if phase == "Ready" else "bad" if ready.get("status") == "False" else "busy"
    status = str(ready.get("reason")) if mark == "bad" else phase
    name, since = str(mirror["metadata"]["name"]), creation_time_of(mirror)
    children = tuple(map(_of_mirror, belongings))
    yield Item("ModelMirror", name, mark, status, since, download_words(mirror), children)


def _of_mirror(item: Object) -> Item:
    """Its claim, its Job, or a pod of that."""
    words = str(dig(item, "status", "phase") or "")
    if item["kind"] == "Job":
        ends = [one for one in ("Failed", "Complete") if conditions.is_true(item, one)]
        words = ends[0] if ends else "Running"
    good = {"Bound": "ok", "Complete": "ok", "Succeeded": "ok", "Failed": "bad", "Lost": "bad"}
    name = f"{item['metadata'].get('namespace') or ''}/{item['metadata']['name']}"
    mark: Mark = good.get(words, "busy")  # type: ignore[assignment]
    return Item(str(item["kind"]), name, mark, words, creation_time_of(item))


def _workload(item: Object, workspace: Object, seen: Snapshot) -> Item:
    kind, name, uid = str(item["kind"]), str(item["metadata"]["name"]), uid_of(item)
    owner = controller_of(item)
    if owner is None or owner.get("uid") != uid_of(workspace):
        whose = f"of {owner['kind']} {owner['name']}" if owner else "without an owner"
        return Item(kind, name, "bad", "NotOurs", creation_time_of(item), whose)
    own = [pod for pod in _by_name(seen.pods) if (controller_of(pod) or {}).get("uid") == uid]
    children = _pods(own)
    sets = [one for one in _by_name(seen.replica_sets) if (controller_of(one) or {}).get("uid") == uid]
    for one in sets:
        pods = [pod for pod in _by_name(seen.pods) if (controller_of(pod) or {}).get("uid") == uid_of(one)]
        if pods or replicas(one):
            children.append(_replica_set(one, pods))
    if kind == "Job":
        counts = {word: _whole(dig(item, "status", word)) for word in ("active", "succeeded", "failed")}
        mark: Mark = "ok" if counts["succeeded"] else "bad" if counts["failed"] else "busy"
        status = ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "Pending"
        return Item(kind, name, mark, status, creation_time_of(item), "", tuple(children))
    ready, wanted = _whole(dig(item, "status", "readyReplicas")), replicas(item)
    mark = "ok" if is_rolled_out(item) else "bad" if why_stalled(item) else "busy"
    return Item(kind, name, mark, f"{ready}/{wanted} ready", creation_time_of(item), "", tuple(children))


def _replica_set(item: Object, pods: list[Object]) -> Item:
    ready, wanted = _whole(dig(item, "status", "readyReplicas")), replicas(item)
    mark: Mark = "off" if not wanted else "ok" if ready == wanted else "busy"
    children = tuple(_pods(pods))
    name = str(item["metadata"]["name"])
    return Item("ReplicaSet", name, mark, f"{ready}/{wanted} ready", creation_time_of(item), "", children)


_MOST_FAILED = 3
_SHARES = "behind the Service, gets a share of the prompts"


def _pods(pods: list[Object]) -> list[Item]:
    """Pods of one owner; those that failed alike are counted where there are many: some leave thousands."""
    alike: dict[str, list[Object]] = {}
    for pod in pods:
        if dig(pod, "status", "phase") == "Failed" and not is_being_deleted(pod):
            alike.setdefault(pod_state.summary(pod), []).append(pod)
    many = {status: found for status, found in alike.items() if len(found) > _MOST_FAILED}
    hidden = {id(pod) for found in many.values() for pod in found}
    shown = [_pod(pod) for pod in pods if id(pod) not in hidden]
    counted = [
        Item(
            "Pod",
            f"{len(found)} pods",
            "bad",
            status,
            max(map(creation_time_of, found)),
            "the newest is this old",
        )
        for status, found in sorted(many.items())
    ]
    return shown + counted


def _pod(pod: Object) -> Item:
    found, status = pod_state.trouble(pod), pod_state.summary(pod)
    mark: Mark = "ok" if pod_state.is_ready(pod) else "bad" if found else "busy"
    if is_being_deleted(pod):
        mark = "off"
    elif dig(pod, "status", "phase") == "Succeeded":
        mark = "ok"
    statuses = pod_state.container_statuses(pod)
    mains = dig(pod, "status", "containerStatuses") or ()
    total = len(dig(pod, "spec", "containers") or ())
    words = [f"{sum(bool(item.get('ready')) for item in mains)}/{total}"]
    if restarts := sum(int(item.get("restartCount") or 0) for item in statuses):
        words.append(f"{restarts} {node_check.plural('restart', restarts)}")
    if node := dig(pod, "spec", "nodeName"):
        words.append(f"on {node}")
    return Item(
        "Pod",
        str(pod["metadata"]["name"]),
        mark,
        status,
        creation_time_of(pod),
        ", ".join(words),
        tuple(_containers(pod)),
    )


def _foreign(pod: Object, behind: set[str]) -> Item:
    """A pod with the Workspace's label that another workload or a person has made."""
    owner, name = controller_of(pod), str(pod["metadata"]["name"])
    info = [f"of {owner['kind']} {owner['name']}" if owner else "without an owner"]
    info += [_SHARES] * (name in behind)
    mark: Mark = "bad" if name in behind else "off"
    return Item("Pod", name, mark, "NotOurs", creation_time_of(pod), ", ".join(info))


def _containers(pod: Object) -> Iterable[Item]:
    for kind, field_name in (("init", "initContainerStatuses"), ("container", "containerStatuses")):
        for item in dig(pod, "status", field_name) or ():
            state: Object = item.get("state") or {}
            waiting, ended = state.get("waiting"), state.get("terminated")
            mark: Mark = "busy"
            if waiting is not None:
                status = str(waiting.get("reason") or "Waiting")
                mark = "busy" if status in ("ContainerCreating", "PodInitializing") else "bad"
            elif ended is not None:
                status = str(ended.get("reason") or "Ended")
                mark = "bad" if ended.get("exitCode") else "ok"
            else:
                status = "Running" if state else "Waiting"
                mark = "ok" if item.get("ready") else "busy"
            last = ended or dig(item, "lastState", "terminated") or {}
            code = f"exit code {last['exitCode']}" if last.get("exitCode") else ""
            info = ", ".join(filter(None, (code, pod_state.reality(item))))
            yield Item(kind, str(item["name"]), mark, status, "", info)


def _service(item: Object, seen: Snapshot) -> Item:
    name, spec = str(item["metadata"]["name"]), item.get("spec") or {}
    is_main = item is main_service(seen)
    if spec.get("clusterIP") == "None" and not is_main:
        return Item("Service", name, "ok", "Headless", creation_time_of(item))
    ports = ",".join(str(port.get("port")) for port in spec.get("ports") or ())
    address = f"{spec.get('clusterIP') or '-'}:{ports}"
    if is_being_deleted(item):
        return Item("Service", name, "busy", "Terminating", creation_time_of(item), address)
    if not is_main:
        return Item(
            "Service", name, "ok", str(spec.get("type") or "ClusterIP"), creation_time_of(item), address
        )
    if spec.get("type") == "LoadBalancer" and not dig(item, "status", "loadBalancer", "ingress"):
        address += ", its load balancer has no address"
    found = serving(seen)
    count = len(found.pods)
    status = f"{count} {node_check.plural('endpoint', count)}"
    mark: Mark = "ok" if count else "busy" if found.gap == "pods" else "bad"
    return Item("Service", name, mark, status, creation_time_of(item), address)
