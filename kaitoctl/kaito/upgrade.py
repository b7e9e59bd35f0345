"""What an upgrade of KAITO does to a Workspace: what breaks, what restarts, what to write instead. Pure.

Source: KAITO at 2026-08, `pkg/workspace/controllers/workspace_controller.go` (the nodes of a model on vLLM
are reckoned first, and without its figures nothing else happens; a Deployment from before v0.8 is deleted
before the model is looked up), `presets/workspace/inference/*/inference_api.py` (both servers speak
`/v1/chat/completions` and no `/chat`), and as in `kaito.convert` and `kaito.validation`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct

from kaitoctl.advice import Advice, text
from kaitoctl.kaito import api, catalog, convert, planning, validation
from kaitoctl.kaito.catalog import Catalog
from kaitoctl.kaito.convert import Remark
from kaitoctl.kaito.node_check import PROVISIONERS, preferred_nodes
from kaitoctl.kaito.planning import Outage
from kaitoctl.kaito.validation import releases
from kaitoctl.kube import workloads
from kaitoctl.kube.objects import (
    DEPLOYMENT,
    STATEFUL_SET,
    Object,
    ObjectKey,
    annotations_of,
    dig,
    key_of,
)

Outcome = Literal["stays", "restarts", "unmanaged", "ends", "nothing"]

_STATEFUL_SETS_SINCE = (0, 8, 0)
WORDS: dict[Outcome, str] = {
    "stays": "its pods stay",
    "restarts": "its Deployment is deleted and a StatefulSet made",
    "unmanaged": "nobody manages it any more: its pods serve until something ends them, for good",
    "ends": "its Deployment is deleted and nothing is made instead: the model ends",
    "nothing": "it has no workload and no pods: nothing of it restarts",
}


def names_release(asked: str, version: str) -> bool:
    """Whether a release such as `v0.12` or `0.12.1` is this one: as many numbers count as it gives."""
    numbers = _numbers(asked)
    return _numbers(version)[: len(numbers)] == numbers


def is_older(release: str, other: str) -> bool:
    """Whether a release comes before the other, by the numbers that both give."""
    pairs = zip(_numbers(release), _numbers(other), strict=False)
    return next((mine < theirs for mine, theirs in pairs if mine != theirs), False)


def is_reached(now: str, to: str) -> bool:
    """Whether the release that there is, is the one to come already; kaitoctl's own controller is none."""
    return bool(_numbers(now)) and not is_older(now, to)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"[0-9]+", re.split("[-+]", version)[0])))


class Effect(Struct, frozen=True):
    """What becomes of one Workspace.

    Args:
        key: which one.
        source: the file, or `cluster`.
        outcome: what the new controller does with its pods.
        problems: what the new release refuses or cannot make, with its code.
        remarks: what a converted manifest no longer says, with the commands that replace it.
        clients: what those who send prompts have to change; empty when nothing.
        outage: what the restart costs.
        nodes_asked: how many nodes are asked for that are not asked for now: in the place of preferred ones,
            which are not read any more, or because nothing was made so far; at most, when no cluster was
            asked, and None when there is no such reason.
        written: the Workspace as the new release wants it.
        is_rewritten: whether that differs from what there is.
        machines: what becomes of each Machine, by which KAITO up to v0.4.1 asked for its nodes, in words.
        unsized: why more nodes may be asked for, and nobody knows how many; empty when that is known.
    """

    key: ObjectKey
    source: str
    outcome: Outcome
    problems: tuple[str, ...]
    remarks: tuple[Remark, ...]
    clients: str
    outage: Outage
    nodes_asked: int | None
    written: Object
    is_rewritten: bool
    machines: tuple[str, ...] = ()
    unsized: Advice = ""

    @property
    def breaks(self) -> bool:
        """Whether somebody has to decide something before the upgrade."""
        return bool(self.problems) or self.outcome in ("unmanaged", "ends")

    @property
    def is_fine(self) -> bool:
        """Whether nothing at all is to be done or expected."""
        is_quiet = self.outcome in ("stays", "nothing") and not (self.clients or self.machines)
        is_quiet = is_quiet and not (self.nodes_asked or self.unsized)
        return is_quiet and not (self.problems or self.remarks or self.is_rewritten)

    def as_json(self) -> Object:
        """As `-o json` writes it."""
        return {
            "namespace": self.key.namespace,
            "name": self.key.name,
            "source": self.source,
            "outcome": self.outcome,
            "breaks": self.breaks,
            "problems": list(self.problems),
            "remarks": [
                {"path": one.path, "message": one.message, "commands": list(one.commands)}
                for one in self.remarks
            ],
            "clients": self.clients,
            "podsRestarted": self.outage.pods,
            "mostSecondsWithoutService": self.outage.most_s if self.outage.pods else 0,
            "nodesAsked": self.nodes_asked,
            "machines": list(self.machines),
            "unsized": text(self.unsized),
            "written": self.written,
        }


def effect(
    workspace: Object,
    *,
    source: str,
    now: str,
    to: str,
    known: Catalog = catalog.SHIPPED,
    workload: Object | None = None,
    pods: Sequence[Object] = (),
    is_made: bool = True,
    setting: validation.Setting | None = None,
) -> Effect:
    """What the upgrade does to one Workspace.

    Args:
        workspace: as it is, or as it is written.
        source: where it is from.
        now: the release that manages it.
        to: the release that will.
        known: presets, models and instance types.
        workload: its Deployment or StatefulSet; None where no cluster was asked, or there is none.
        pods: its pods.
        is_made: whether it may have a workload or pods: not where a cluster was asked and shows none.
        setting: how the new KAITO is going to run, where that is known.
    """
    release = releases.nearest(to)
    version = api.WORKSPACE_V1BETA1.version if release and releases.V1BETA1 in release.versions else ""
    came_from = str(workspace["apiVersion"]).rpartition("/")[2]
    judged = setting or validation.Setting(to, catalog=known)
    way = judged.provisioner if judged.provisioner in PROVISIONERS else "byo" if judged.byo else ""
    conversion = convert.convert(workspace, version or came_from, known=known, provisioner=way or "")
    plain = convert.convert(workspace, came_from, known=known).workspace
    problems = [item for item in validation.judge(conversion.workspace, judged) if item.severity == "error"]
    outcome = _outcome(workspace, now, to, known, workload) if is_made else "nothing"
    restarts = _pods(workspace, workload) if outcome == "restarts" else 0
    remarks, loses = conversion.remarks, loses_preferred(workspace, conversion.workspace)
    was = releases.nearest(now)
    if came_from == version and (was is None or not was.has_own_nodes):
        remarks += tuple(convert.not_read_any_more(workspace, known=known, provisioner=way or ""))
        loses = bool(preferred_nodes(workspace))
    loses = loses and outcome in ("restarts", "stays")
    is_new = outcome == "nothing" and _replaces_deployments(now, to) and not problems
    asks = planning.Share((), (), judged).of(conversion.workspace) if loses or is_new else None
    return Effect(
        key_of(workspace),
        source,
        outcome,
        tuple(f"{item.text} [{item.code}]" for item in problems),
        remarks,
        _clients(workspace, now, to),
        planning.outage(workspace, None, pods, restarts, known),
        asks.asked if asks else None,
        conversion.workspace,
        conversion.workspace != plain,
        unsized=asks.unsized if asks else "",
    )


def loses_preferred(workspace: Object, written: Object) -> bool:
    """Whether nodes that a Workspace names are not named any more, so that others may be asked for."""
    return bool(preferred_nodes(workspace)) and not preferred_nodes(written)


def _outcome(workspace: Object, now: str, to: str, known: Catalog, workload: Object | None) -> Outcome:
    if not workspace.get("inference") or not _replaces_deployments(now, to):
        return "stays"
    name, instance_type = (
        dig(workspace, "inference", "preset", "name"),
        dig(workspace, "resource", "instanceType"),
    )
    machine = known.instance_type(str(instance_type)) if instance_type else None
    is_lost = bool(name) and (
        (known.model(str(name)) is None and "/" not in str(name))
        or (machine is not None and catalog.TARGETS["v0.12"] not in machine.versions)
    )
    if is_lost and _runtime(workspace, to) == "vllm":
        return "unmanaged"
    if _kind(workspace, known, workload) != DEPLOYMENT.kind:
        return "unmanaged" if is_lost else "stays"
    return "ends" if is_lost else "restarts"


def _replaces_deployments(now: str, to: str) -> bool:
    return _number(now) < _STATEFUL_SETS_SINCE <= _number(to)


def _kind(workspace: Object, known: Catalog, workload: Object | None) -> str:
    """Of its workload: as it is, or as KAITO before v0.8 makes it."""
    if workload is not None:
        return str(workload.get("kind"))
    preset = known.preset(str(dig(workspace, "inference", "preset", "name") or ""))
    return STATEFUL_SET.kind if preset is not None and preset.distributed else DEPLOYMENT.kind


def _pods(workspace: Object, workload: Object | None) -> int:
    if workload is not None:
        return workloads.running(workload)
    count: Any = dig(workspace, "resource", "count")
    return int(count) if isinstance(count, int) and count >= 0 else 1


def _runtime(workspace: Object, release: str) -> str:
    """The server that a release of KAITO starts: that of the annotation, or its own choice."""
    chosen = annotations_of(workspace).get(api.ANNOTATION_RUNTIME)
    if chosen in ("vllm", "transformers"):
        return str(chosen)
    found = releases.nearest(release)
    return "vllm" if found is None or found.has_vllm else "transformers"


def _clients(workspace: Object, now: str, to: str) -> str:
    """What changes for those who send prompts."""
    if not dig(workspace, "inference", "preset") or not _replaces_deployments(now, to):
        return ""
    if _runtime(workspace, now) == "vllm":
        return ""
    return (
        "POST /chat is gone: prompts go to /v1/chat/completions, as {model, messages}; kaitoctl chat and "
        "endpoint do"
    )


def _number(release: str) -> tuple[int, int, int]:
    numbers = [
        int(part) for part in release.lstrip("v").split(".")[:3] if part.isascii() and part.isdecimal()
    ]
    return tuple([*numbers, 0, 0, 0][:3])  # type: ignore[return-value]
