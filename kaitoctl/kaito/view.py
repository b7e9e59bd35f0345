"""Snapshot -> what a screen shows of a Workspace: its stations, its tree, its conditions. Pure.

A `View` holds moments and no ages, so that two of them are equal when nothing has changed. It holds nothing
of Secrets and no environment of containers, and `as_json` leaves out what looks like a token in somebody's
message: that is what `status -o json` prints, `--record` writes and `replay` reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from kaitoctl.kaito import api, nodes
from kaitoctl.kaito.diagnosis import Cause, budget_of, diagnose
from kaitoctl.kaito.rollout import DOWN, Phase, Progress, current_pods
from kaitoctl.kaito.secrecy import without_secrets
from kaitoctl.kaito.serving import main_service, serving
from kaitoctl.kaito.snapshot import Snapshot
from kaitoctl.kaito.status import claim_failure
from kaitoctl.kube import conditions
from kaitoctl.kube import pods as pods_
from kaitoctl.kube.objects import (
    GPU_RESOURCES,
    Object,
    controller_of,
    dig,
    generation_of,
    is_being_deleted,
    key_of,
    quantity,
    uid_of,
)
from kaitoctl.kube.workloads import is_rolled_out, replicas, stalled

Mark = Literal["ok", "busy", "bad", "off"]
"""How something does: well, on its way, not at all, or out of the game."""

_SERVING = (
    *(Phase.ACCEPTED, Phase.NODES, Phase.GPU_PLUGIN, Phase.SCHEDULING, Phase.ADAPTERS),
    *(Phase.PULLING, Phase.LOADING, Phase.READY),
)
_TUNING = (
    *(Phase.ACCEPTED, Phase.NODES, Phase.GPU_PLUGIN, Phase.SCHEDULING, Phase.DATA),
    *(Phase.PULLING, Phase.TUNING, Phase.READY),
)
STATIONS: Mapping[Phase, str] = {
    Phase.ACCEPTED: "accepted",
    Phase.NODES: "nodes",
    Phase.GPU_PLUGIN: "GPU plugin",
    Phase.SCHEDULING: "scheduled",
    Phase.ADAPTERS: "adapters",
    Phase.DATA: "data",
    Phase.PULLING: "pulling",
    Phase.LOADING: "loading model",
    Phase.TUNING: "tuning",
    Phase.READY: "ready",
}
"""What the stations are called in a line of them."""


@dataclass(frozen=True, slots=True)
class Item:
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


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of the Workspace.

    Args:
        type: what it is about.
        status: `True`, `False` or `Unknown`.
        reason: one word.
        message: a sentence.
        since: when the status changed last.
        generation: the one that it speaks of; 0 when it does not say.
    """

    type: str
    status: str
    reason: str
    message: str
    since: str
    generation: int


@dataclass(frozen=True, slots=True)
class View:
    """All that a screen shows of a Workspace.

    Args:
        workspace: `namespace/name`.
        title: what it is: preset, nodes, adapters.
        generation: of its spec.
        phase: the station reached.
        detail: what goes on there.
        outcome: None while under way.
        stations: those that it passes, in order.
        since: when the present attempt began.
        budget_s: how long the preset may take from its start to ready.
        tree: the Workspace and all that belongs to it.
        conditions: of the Workspace.
        cause: what keeps it from being ready, if that can be seen; its words may change by the second.
        unseen: what could not be looked at.
        more: the command that says more.
        down: nobody is served, and no waiting helps.
    """

    workspace: str
    title: str
    generation: int
    phase: Phase
    detail: str
    outcome: Literal["ready", "failed"] | None
    stations: tuple[Phase, ...]
    since: str
    budget_s: float
    tree: Item
    conditions: tuple[Condition, ...]
    cause: Cause | None = field(compare=False)
    trouble: str
    unseen: tuple[str, ...] = ()
    more: str = ""
    down: bool = False

    @property
    def where(self) -> str:
        """Where it stands, in words."""
        link = " " if self.detail.startswith("on ") else ": "
        return (DOWN if self.down else self.phase.words) + (link + self.detail if self.detail else "")


def view(
    seen: Snapshot, now: datetime, *, at: Progress | None = None, addressed: Callable[[str], str] = str
) -> View:
    """What a screen shows of a Workspace that exists (or has just gone).

    Args:
        seen: what there is.
        now: the time; of causes, some need it.
        at: where it is, for somebody who knows better than the snapshot alone can tell.
        addressed: makes commands in an advice lead to the cluster that was looked at.
    """
    found = diagnose(seen, now, addressed=addressed)
    progress, cause = at or found.progress, found.cause
    workspace = seen.workspace or {"kind": "Workspace", "metadata": {"name": "?"}}
    stations: tuple[Phase, ...] = _TUNING if workspace.get("tuning") else _SERVING
    if not dig(workspace, "inference", "adapters"):
        stations = tuple(phase for phase in stations if phase is not Phase.ADAPTERS)
    return View(
        workspace=str(key_of(workspace)),
        title=title(workspace),
        generation=generation_of(workspace),
        phase=progress.phase,
        detail=progress.detail,
        outcome=progress.outcome,
        stations=stations,
        since=_began(workspace, seen),
        budget_s=budget_of(workspace),
        tree=_tree(workspace, seen, progress),
        conditions=tuple(_conditions(workspace)),
        cause=cause,
        trouble=f"{cause.code} {cause.about}" if cause else "",
        unseen=tuple(seen.unseen),
        more=addressed(_more(str(key_of(workspace)))),
        down=progress.down,
    )


def _more(workspace: str) -> str:
    namespace, _, name = workspace.rpartition("/")
    return f"kaitoctl why {name}" + (f" -n {namespace}" if namespace else "")


def title(workspace: Object) -> str:
    """`falcon-7b on 2 x Standard_NC12s_v3, 1 adapter`."""
    preset = dig(workspace, "inference", "preset", "name") or dig(workspace, "tuning", "preset", "name")
    words = str(preset or "a pod template") if workspace.get("inference") or preset else ""
    if workspace.get("tuning"):
        words = f"tuning of {words}"
    kind = dig(workspace, "resource", "instanceType") or "your own nodes"
    words += f" on {nodes.required_nodes(workspace)} x {kind}"
    if count := len(dig(workspace, "inference", "adapters") or ()):
        words += f", {count} {nodes.plural('adapter', count)}"
    return words.strip()


def _began(workspace: Object, seen: Snapshot) -> str:
    """When the newest pod was made, or before that the Workspace: from then on its budget counts."""
    pods = current_pods(workspace, seen)
    moments = [str(pod["metadata"].get("creationTimestamp") or "") for pod in pods]
    return max(moments, default="") or str(workspace["metadata"].get("creationTimestamp") or "")


def _conditions(workspace: Object) -> Iterable[Condition]:
    for item in dig(workspace, "status", "conditions") or ():
        yield Condition(
            str(item.get("type")),
            str(item.get("status")),
            str(item.get("reason") or ""),
            str(item.get("message") or ""),
            str(item.get("lastTransitionTime") or ""),
            int(item.get("observedGeneration") or 0),
        )


# --- the tree ------------------------------------------------------------------------------------------


def _tree(workspace: Object, seen: Snapshot, progress: Progress) -> Item:
    mark: Mark = "ok" if progress.outcome == "ready" else "bad" if progress.outcome == "failed" else "busy"
    status = {"ok": "Ready", "bad": "Failed", "busy": "Progressing", "off": ""}[mark]
    if progress.down:
        mark, status = "bad", "NotServing"
    if is_being_deleted(workspace):
        mark, status = "busy", "Deleting"
    in_claims = {str(dig(claim, "status", "nodeName") or "") for claim in seen.claims}
    children = [_claim(claim, seen) for claim in _by_name(seen.claims)]
    children += [_node(node) for node in _by_name(seen.nodes) if node["metadata"]["name"] not in in_claims]
    children += [_workload(item, workspace, seen) for item in (*seen.workloads, *seen.jobs)]
    owners = {uid_of(item) for item in (*seen.workloads, *seen.jobs, *seen.replica_sets)}
    orphans = [pod for pod in _by_name(seen.pods) if (controller_of(pod) or {}).get("uid") not in owners]
    children += _pods(orphans)
    children += [_service(item, seen) for item in _by_name(seen.services)]
    return Item("Workspace", key_of(workspace).name, mark, status, _created(workspace), "", tuple(children))


def _by_name(objects: Iterable[Object]) -> list[Object]:
    return sorted(objects, key=lambda obj: str(obj["metadata"]["name"]))


def _created(obj: Object) -> str:
    return str(obj["metadata"].get("creationTimestamp") or "")


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
    return Item(str(claim["kind"]), name, mark, status, _created(claim), " ".join(asked), children)


def _node(node: Object) -> Item:
    ready = conditions.is_true(node, "Ready")
    status, mark = ("Ready", "ok") if ready else ("NotReady", "bad")
    if dig(node, "spec", "unschedulable"):
        status += ",Cordoned"
    gpus = []
    for resource in GPU_RESOURCES:
        amounts = [dig(node, "status", side, resource) for side in ("allocatable", "capacity")]
        if any(amount is not None for amount in amounts):
            allocatable, capacity = (_whole(amount) for amount in amounts)
            few = f"{allocatable} of {capacity}" if allocatable != capacity else f"{capacity}"
            gpus.append(f"{few} {nodes.plural('GPU', capacity)}")
    info = ", ".join(gpus) or "no GPU"
    return Item("Node", str(node["metadata"]["name"]), mark, status, _created(node), info)  # type: ignore[arg-type]


def _whole(amount: object) -> int:
    try:
        return int(quantity(str(amount or 0)))
    except ValueError:
        return 0


def _workload(item: Object, workspace: Object, seen: Snapshot) -> Item:
    kind, name, uid = str(item["kind"]), str(item["metadata"]["name"]), uid_of(item)
    owner = controller_of(item)
    if owner is None or owner.get("uid") != uid_of(workspace):
        whose = f"of {owner['kind']} {owner['name']}" if owner else "of nobody"
        return Item(kind, name, "bad", "NotOurs", _created(item), whose)
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
        return Item(kind, name, mark, status, _created(item), "", tuple(children))
    ready, wanted = _whole(dig(item, "status", "readyReplicas")), replicas(item)
    mark = "ok" if is_rolled_out(item) else "bad" if stalled(item) else "busy"
    return Item(kind, name, mark, f"{ready}/{wanted} ready", _created(item), "", tuple(children))


def _replica_set(item: Object, pods: list[Object]) -> Item:
    ready, wanted = _whole(dig(item, "status", "readyReplicas")), replicas(item)
    mark: Mark = "off" if not wanted else "ok" if ready == wanted else "busy"
    children = tuple(_pods(pods))
    name = str(item["metadata"]["name"])
    return Item("ReplicaSet", name, mark, f"{ready}/{wanted} ready", _created(item), "", children)


_MOST_FAILED = 3


def _pods(pods: list[Object]) -> list[Item]:
    """Pods of one owner; those that failed alike are counted where there are many: some leave thousands."""
    alike: dict[str, list[Object]] = {}
    for pod in pods:
        if dig(pod, "status", "phase") == "Failed" and not is_being_deleted(pod):
            alike.setdefault(pods_.summary(pod), []).append(pod)
    many = {status: found for status, found in alike.items() if len(found) > _MOST_FAILED}
    hidden = {id(pod) for found in many.values() for pod in found}
    shown = [_pod(pod) for pod in pods if id(pod) not in hidden]
    counted = [
        Item("Pod", f"{len(found)} pods", "bad", status, max(map(_created, found)), "the newest is this old")
        for status, found in sorted(many.items())
    ]
    return shown + counted


def _pod(pod: Object) -> Item:
    found, status = pods_.trouble(pod), pods_.summary(pod)
    mark: Mark = "ok" if pods_.is_ready(pod) else "bad" if found else "busy"
    if is_being_deleted(pod):
        mark = "off"
    elif dig(pod, "status", "phase") == "Succeeded":
        mark = "ok"
    statuses = pods_.container_statuses(pod)
    mains = dig(pod, "status", "containerStatuses") or ()
    total = len(dig(pod, "spec", "containers") or ())
    words = [f"{sum(bool(item.get('ready')) for item in mains)}/{total}"]
    if restarts := sum(int(item.get("restartCount") or 0) for item in statuses):
        words.append(f"{restarts} {nodes.plural('restart', restarts)}")
    if node := dig(pod, "spec", "nodeName"):
        words.append(f"on {node}")
    return Item(
        "Pod",
        str(pod["metadata"]["name"]),
        mark,
        status,
        _created(pod),
        ", ".join(words),
        tuple(_containers(pod)),
    )


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
            info = f"exit code {last['exitCode']}" if last.get("exitCode") else ""
            yield Item(kind, str(item["name"]), mark, status, "", info)


def _service(item: Object, seen: Snapshot) -> Item:
    name, spec = str(item["metadata"]["name"]), item.get("spec") or {}
    is_main = item is main_service(seen)
    if spec.get("clusterIP") == "None" and not is_main:
        return Item("Service", name, "ok", "Headless", _created(item))
    ports = ",".join(str(port.get("port")) for port in spec.get("ports") or ())
    address = f"{spec.get('clusterIP') or '-'}:{ports}"
    if not is_main:
        return Item("Service", name, "ok", str(spec.get("type") or "ClusterIP"), _created(item), address)
    found = serving(seen)
    count = len(found.pods)
    status = f"{count} {nodes.plural('endpoint', count)}"
    mark: Mark = "ok" if count else "busy" if found.gap == "pods" else "bad"
    return Item("Service", name, mark, status, _created(item), address)


# --- for machines --------------------------------------------------------------------------------------


def as_json(shown: View) -> Object:
    """The view as documented in docs/status.md; `of_json` reads it."""
    made: Object = without_secrets(_as_json(shown))
    return made


def _as_json(shown: View) -> Object:
    return {
        "workspace": shown.workspace,
        "title": shown.title,
        "generation": shown.generation,
        "phase": shown.phase.name.lower(),
        "detail": shown.detail,
        "outcome": shown.outcome,
        "down": shown.down,
        "since": shown.since,
        "budget_s": shown.budget_s,
        "stations": [phase.name.lower() for phase in shown.stations],
        "cause": cause_json(shown.cause) if shown.cause else None,
        "conditions": [
            {
                "type": item.type,
                "status": item.status,
                "reason": item.reason,
                "message": item.message,
                "since": item.since,
                "generation": item.generation,
            }
            for item in shown.conditions
        ],
        "unseen": list(shown.unseen),
        "tree": _item_json(shown.tree),
    }


def cause_json(cause: Cause) -> Object:
    """A cause for machines."""
    return {
        "code": cause.code,
        "weight": cause.weight,
        "about": cause.about,
        "message": cause.message,
        "evidence": [{"source": source, "text": text} for source, text in cause.evidence],
        "hint": cause.hint,
        "command": cause.command,
    }


def _item_json(item: Item) -> Object:
    return {
        "kind": item.kind,
        "name": item.name,
        "mark": item.mark,
        "status": item.status,
        "since": item.since,
        "info": item.info,
        "children": [_item_json(child) for child in item.children],
    }


_DEEPEST = 12


def of_json(value: Any) -> View:
    """The view that `as_json` has written.

    Raises:
        ValueError: it is none.
    """
    try:
        cause = value["cause"]
        found = None
        if cause is not None:
            evidence = tuple((str(item["source"]), str(item["text"])) for item in cause["evidence"])
            texts = {key: str(cause[key]) for key in ("code", "about", "message", "hint", "command")}
            weight = cause["weight"]
            if weight not in ("fault", "wait", "note"):
                raise ValueError(weight)
            found = Cause(evidence=evidence, weight=weight, **texts)
        return View(
            workspace=str(value["workspace"]),
            title=str(value["title"]),
            generation=int(value["generation"]),
            phase=Phase[str(value["phase"]).upper()],
            detail=str(value["detail"]),
            outcome=value["outcome"] if value["outcome"] in ("ready", "failed") else None,
            stations=tuple(Phase[str(name).upper()] for name in value["stations"]),
            since=str(value["since"]),
            budget_s=float(value["budget_s"]),
            tree=_item_of(value["tree"]),
            conditions=tuple(
                Condition(
                    type=str(item["type"]),
                    status=str(item["status"]),
                    reason=str(item["reason"]),
                    message=str(item["message"]),
                    since=str(item["since"]),
                    generation=int(item["generation"]),
                )
                for item in value["conditions"]
            ),
            cause=found,
            trouble=f"{found.code} {found.about}" if found else "",
            unseen=tuple(map(str, value["unseen"])),
            more=_more(str(value["workspace"])),
            down=value.get("down") is True,
        )
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"not a view of a Workspace: {error}") from error


def _item_of(value: Any, depth: int = 0) -> Item:
    if depth > _DEEPEST or value["mark"] not in ("ok", "busy", "bad", "off"):
        raise ValueError("not a tree of objects")
    return Item(
        kind=str(value["kind"]),
        name=str(value["name"]),
        mark=value["mark"],
        status=str(value["status"]),
        since=str(value["since"]),
        info=str(value["info"]),
        children=tuple(_item_of(child, depth + 1) for child in value["children"]),
    )
