"""Snapshot -> what a screen shows of a Workspace: its stations, its tree, its conditions. Pure.

A `View` holds moments and no ages, so that two of them are equal when nothing has changed. It holds nothing
of Secrets and no environment of containers; `view_json` writes and reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from msgspec import Struct

from kaitoctl.advice import NO_FLAGS, ClusterFlags, Command
from kaitoctl.kaito import load_progress, node_check
from kaitoctl.kaito.diagnosis import Cause, budget_of, diagnose
from kaitoctl.kaito.rollout import DOWN, Phase, Progress, current_pods, standing
from kaitoctl.kaito.secrecy import without_secrets
from kaitoctl.kaito.snapshot import Snapshot
from kaitoctl.kaito.view_tree import Item, tree_of
from kaitoctl.kube.objects import (
    Object,
    creation_time_of,
    dig,
    generation_of,
    key_of,
)

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


class Condition(Struct, frozen=True):
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
        down: nobody is served, and no waiting helps.
        log: what the container that loads the model said last.
        loaded: how much of it is loaded, from 0 to 1, if the log says so.
        flags: lead the commands of its advice to its cluster.
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
    down: bool = False
    log: str = ""
    loaded: float | None = None
    flags: ClusterFlags = NO_FLAGS

    @property
    def more(self) -> Command:
        """The command that says more."""
        namespace, _, name = self.workspace.rpartition("/")
        return Command("kaitoctl why", name, *(("-n", namespace) if namespace else ()))

    @property
    def where(self) -> str:
        """Where it stands, in words."""
        link = " " if self.detail.startswith("on ") else ": "
        return standing(DOWN if self.down else self.phase.words, self.detail, link)


def view(
    seen: Snapshot,
    now: datetime,
    *,
    at: Progress | None = None,
    flags: ClusterFlags = NO_FLAGS,
    log: str = "",
) -> View:
    """What a screen shows of a Workspace that exists (or has just gone).

    Args:
        seen: what there is.
        now: the time; of causes, some need it.
        at: where it is, for somebody who knows better than the snapshot alone can tell.
        flags: lead its commands to the cluster that was looked at.
        log: the end of that of the container which loads the model.
    """
    found = diagnose(seen, now)
    progress, cause = at or found.progress, found.cause
    workspace = seen.workspace or {"kind": "Workspace", "metadata": {"name": "?"}}
    stations: tuple[Phase, ...] = _TUNING if workspace.get("tuning") else _SERVING
    if not dig(workspace, "inference", "adapters"):
        stations = tuple(phase for phase in stations if phase is not Phase.ADAPTERS)
    return View(
        workspace=str(key_of(workspace)),
        title=title(workspace, seen.verdict),
        generation=generation_of(workspace),
        phase=progress.phase,
        detail=progress.detail,
        outcome=progress.outcome,
        stations=stations,
        since=_began(workspace, seen),
        budget_s=budget_of(workspace, seen.catalog),
        tree=tree_of(workspace, seen, progress),
        conditions=tuple(_conditions(workspace)),
        cause=cause,
        trouble=f"{cause.code} {cause.about}" if cause else "",
        unseen=tuple(seen.unseen),
        flags=flags,
        down=progress.down,
        log=str(without_secrets(load_progress.last_line(log))),
        loaded=load_progress.loaded_share(log),
    )


def title(workspace: Object, verdict: node_check.Verdict | None = None) -> str:
    """`falcon-7b on 2 x Standard_NC12s_v3, 1 adapter`; by the verdict while no controller has counted."""
    preset = dig(workspace, "inference", "preset", "name") or dig(workspace, "tuning", "preset", "name")
    words = str(preset or "a pod template") if workspace.get("inference") or preset else ""
    if workspace.get("tuning"):
        words = f"tuning of {words}"
    kind = dig(workspace, "resource", "instanceType") or "your own nodes"
    is_counted = verdict is None or dig(workspace, "status", "targetNodeCount")
    nodes = node_check.planned_nodes(workspace) if is_counted or verdict is None else verdict.required
    least = "" if is_counted or verdict is None or not verdict.unsized else "at least "
    words += f" on {least}{nodes} x {kind}"
    if count := len(dig(workspace, "inference", "adapters") or ()):
        words += f", {count} {node_check.plural('adapter', count)}"
    return words.strip()


def _began(workspace: Object, seen: Snapshot) -> str:
    """When the newest pod was made, or before that the spec was written: from then on its budget counts."""
    pods = current_pods(workspace, seen)
    moments = [creation_time_of(pod) for pod in pods]
    return max(moments, default="") or seen.written_at or creation_time_of(workspace)


def _conditions(workspace: Object) -> Iterable[Condition]:
    for item in dig(workspace, "status", "conditions") or ():
        yield Condition(
            str(item.get("type")),
            str(item.get("status")),
            str(item.get("reason") or ""),
            str(without_secrets(item.get("message") or "")),
            str(item.get("lastTransitionTime") or ""),
            int(item.get("observedGeneration") or 0),
        )
