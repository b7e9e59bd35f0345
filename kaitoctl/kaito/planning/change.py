"""One document and what would come of it -> its entry in the plan. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct

from kaitoctl.advice import Advice, Command, file_word, text, with_file
from kaitoctl.kaito import merge_request, node_check, undo, validation
from kaitoctl.kaito.catalog import Catalog
from kaitoctl.kaito.planning.loading import loading
from kaitoctl.kaito.planning.outage import deadlock, nodes_held, outage
from kaitoctl.kaito.planning.plan import Change, Fate
from kaitoctl.kaito.settings import Settings
from kaitoctl.kube.objects import Object, dig, generation_of, key_of, resource_version_of, uid_of
from kaitoctl.kube.workloads import running

_FOR_GOOD = frozenset({"KW180", "KW181", "KW182"})
"""What is refused of a Workspace that exists, and of no new one: `validation.update`."""

Fields = tuple[tuple[str, Any, Any], ...]


class Effects(Struct, frozen=True):
    """What a controller does about a Workspace once it is written.

    Args:
        restarts: pods that are recreated.
        asked: nodes that are asked for.
        returned: what is given back.
        waits: what it would wait for.
        deadlock: as in `Change`.
        refusal: why nothing would be built.
        most: nodes that may be asked for, where rivals take some.
        rivals: those others.
        outgrown: what of `returned` goes only when all its pods are ready.
        perhaps: what of `outgrown` stays when the scheduler places its pods there.
        strays: nodes where the scheduler may place its pods, and where they do not count.
        breaks: as in `Change`.
        unsized: as in `Change`.
        warnings: what should be known.
    """

    restarts: int = 0
    asked: int = 0
    returned: tuple[str, ...] = ()
    waits: str = ""
    deadlock: Advice = ""
    refusal: str = ""
    most: int = 0
    rivals: tuple[str, ...] = ()
    outgrown: tuple[str, ...] = ()
    perhaps: tuple[str, ...] = ()
    strays: tuple[str, ...] = ()
    breaks: Advice = ""
    unsized: Advice = ""
    warnings: tuple[str, ...] = ()

    @property
    def uncertain(self) -> str:
        """What cannot be foreseen, in words."""
        if not self.strays:
            return ""
        nodes = ", ".join(self.strays[:3]) + (" and more" if len(self.strays) > 3 else "")
        what = "whether it serves" + (", and gives back what it has outgrown" if self.outgrown else "")
        return (
            f"{what}: the scheduler may place its pods on {nodes}, with its labels but not as it "
            "asks for, where the controller does not count them"
        )


class Trial(Struct, frozen=True):
    """A document that the server has judged.

    Args:
        source: where it is written.
        kind: `Workspace` or `ConfigMap`.
        body: what was sent, and is to be sent again.
        before: the object as it is; None when there is none.
        after: as the server would have it.
        fields: where the two differ.
        warnings: what should be known.
    """

    source: str
    kind: str
    body: Object
    before: Object | None
    after: Object
    fields: Fields
    warnings: tuple[str, ...] = ()

    @property
    def fate(self) -> Fate:
        """What becomes of the object."""
        if self.before is None:
            return "created"
        return "changed" if self.fields else "unchanged"


def problems(
    obj: Object, setting: validation.Setting, before: Object | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Why a Workspace is refused, and what is to be known of it.

    Of one that exists only what was not so before counts: a change need not put all in order.
    """
    found = validation.judge(obj, setting, old=before)
    if before is not None:
        old = {(item.path, item.code, item.message) for item in validation.judge(before, setting)}
        found = [item for item in found if (item.path, item.code, item.message) not in old]
    lines: dict[str, list[str]] = {"error": [], "warning": []}
    for item in found:
        lines.setdefault(item.severity, []).append(item.line)
    return tuple(lines["error"]), tuple(lines["warning"])


def config_map_problems(obj: Object) -> tuple[str, ...]:
    """Values of a ConfigMap that are no text, as numbers and truth values without quotes are in YAML."""
    parts = ((part, obj.get(part)) for part in ("data", "binaryData"))
    return tuple(
        f"{part}[{key}]: must be a string: write the value in quotes, or its lines after |"
        for part, values in parts
        if isinstance(values, dict)
        for key, value in values.items()
        if value is not None and not isinstance(value, str)
    )


def as_just_seen(before: Object, after: Object, body: Object) -> Object:
    """The object as it is, with the metadata that others have added since it was looked at.

    An apply adds nothing that its document does not say: a controller's finalizer is no change of the user's.

    Args:
        before: as it was seen.
        after: as the server, a moment later, would have it.
        body: the document.
    """
    seen, now, said = (dict(one.get("metadata") or {}) for one in (before, after, body))
    for part in ("labels", "annotations"):
        old, asked = seen.get(part) or {}, said.get(part) or {}
        others = {key: value for key, value in (now.get(part) or {}).items() if key not in {*old, *asked}}
        if others:
            seen[part] = {**old, **others}
    for part in ("finalizers", "ownerReferences"):
        if part in now and part not in said and not seen.get(part):
            seen[part] = now[part]
    return {**before, "metadata": seen}


def immutable_only(obj: Object, setting: validation.Setting, before: Object) -> tuple[str, ...]:
    """What of a Workspace cannot change, where that is all that it is refused for: a new one may be so."""
    found = [item for item in validation.judge(obj, setting, old=before) if item.severity == "error"]
    is_all = {item.code for item in found} <= _FOR_GOOD and before.get("kind") == "Workspace"
    return tuple(item.text for item in found) if is_all else ()


def recreation(
    source: str,
    before: Object,
    after: Object,
    workload: Object | None,
    pods: Sequence[Object],
    settings: Settings,
    *,
    releases: Sequence[str],
    stays: Sequence[str],
    refusals: Sequence[str],
    takes: int,
) -> Change:
    """The entry of a Workspace that only a new one can take the place of.

    Args:
        source: where it is written.
        before: as it is.
        after: as it is written.
        workload: of it; None without.
        pods: of it: none serves from its deletion until the new one is ready.
        settings: as which objects it is made.
        releases: the NodeClaims that go with it.
        stays: what outlives it, and costs.
        refusals: why it cannot change.
        takes: on how many nodes the new one runs, where its controller buys those that are missing; else 0.
    """
    key, machine = key_of(before), node_check.instance_type_of(after)
    nodes = f"{takes} {machine} node{'s' if takes > 1 else ''}"
    buys = (f"the new one takes {nodes}: those that are free, and new ones for the rest",)
    file = source.rpartition(": document ")[0] or source
    built, _, folder = file.partition("-k ")
    again = ("-k", folder) if folder and not built else ("-f", file_word(file))
    deleting = Command("kaitoctl delete", key.name, "-n", key.namespace)
    way = deleting + ", then " + with_file(Command("kaitoctl apply", *again))
    return Change(
        "Workspace",
        key,
        source,
        "recreated",
        problems=tuple(refusals),
        warnings=(*(buys if takes and machine else ()), *stays),
        outage=outage(before, workload, pods, len(pods), settings.catalog),
        returned=tuple(releases),
        body=after,
        seen=identity(before),
        way=way,
        loading=loading(after, settings),
    )


def change_of(
    trial: Trial, effects: Effects, workload: Object | None, pods: Sequence[Object], known: Catalog
) -> Change:
    """The entry of a document that the server would take.

    Args:
        trial: the document.
        effects: what follows; none of them for a ConfigMap.
        workload: of the Workspace as it is; None without.
        pods: of the Workspace as they are.
        known: where its preset is looked up.
    """
    before, after = trial.before, trial.after
    refusals = (f"the controller would build nothing: {effects.refusal}",) if effects.refusal else ()
    is_workspace = trial.kind == "Workspace"
    return Change(
        trial.kind,
        key_of(after),
        trial.source,
        "refused" if refusals else trial.fate,
        trial.fields,
        before is not None and _takes_away(trial),
        refusals,
        (*trial.warnings, *effects.warnings),
        outage(before or after, workload, pods, effects.restarts, known),
        effects.asked,
        node_check.instance_type_of(after) if is_workspace and (effects.asked or effects.most) else "",
        effects.returned,
        effects.deadlock,
        effects.waits,
        trial.body,
        identity(before),
        max(effects.asked, effects.most),
        effects.rivals,
        effects.uncertain,
        returned_perhaps=tuple(line for line in effects.returned if line in effects.perhaps),
        breaks=effects.breaks,
        unsized=effects.unsized,
    )


def _takes_away(trial: Trial) -> bool:
    assert trial.before is not None
    if trial.kind == "Workspace":
        return merge_request.takes_away(
            merge_request.asked_of(trial.before), merge_request.asked_of(trial.after)
        )
    parts = ("data", "binaryData")
    old, new = ({part: obj.get(part) for part in parts} for obj in (trial.before, trial.after))
    return merge_request.takes_away(old, new)


def identity(obj: Object | None) -> dict[str, str]:
    """By what an object is known again: uid, generation, resourceVersion; nothing of none."""
    if obj is None:
        return {}
    version = resource_version_of(obj)
    return {"uid": uid_of(obj), "generation": str(generation_of(obj)), "resourceVersion": str(version)}


def restarts_by_kaito(before: Object | None, after: Object, workload: Object | None, known: Catalog) -> int:
    """How many pods KAITO recreates for a change; what may restart counts as restarting.

    It goes by more of the Workspace than kaitoctl's controller does: any change of the inference part, or of
    the resource, may reach its pod template.
    """
    if before is None or workload is None:
        return 0
    is_same = all(before.get(part) == after.get(part) for part in ("inference", "resource"))
    if is_same and undo.consequence(before, after, known) == "no pod restarts":
        return 0
    return running(workload)


def restart(
    workspace: Object,
    workload: Object | None,
    pods: Sequence[Object],
    verdict: node_check.Verdict | None,
    known: Catalog,
    effects: Effects,
) -> Change:
    """The entry of a Workspace whose pods are all recreated.

    Args:
        workspace: as it is, and stays.
        workload: of it; None without.
        pods: of it.
        verdict: of the nodes, its own pods left out; None when nodes cannot be seen.
        known: the catalog.
        effects: of its nodes, as far as they are foreseen.
    """
    restarts = 0 if workload is None else running(workload)
    return Change(
        str(workspace["kind"]),
        key_of(workspace),
        "",
        "changed",
        outage=outage(workspace, workload, pods, restarts, known),
        nodes_asked=effects.asked,
        nodes_most=max(effects.asked, effects.most),
        instance_type=node_check.instance_type_of(workspace) if effects.asked or effects.most else "",
        rivals=effects.rivals,
        returned=effects.returned,
        returned_perhaps=tuple(line for line in effects.returned if line in effects.perhaps),
        deadlock=deadlock(workload, verdict, nodes_held(pods), restarts),
        breaks=_no_more_room(verdict) if restarts else "",
    )


def _no_more_room(verdict: node_check.Verdict | None) -> Advice:
    """Why the model would not start where it runs; empty where it would, or nobody knows."""
    nodes = verdict.nodes if verdict else ()
    found = (one for node in nodes for one in node.warnings if one.code == "gpu-memory-too-small")
    return next((f"{one.message}; {text(one.hint)}" for one in found), "")


def effects_by_kaito(
    trial: Trial, workload: Object | None, pods: Iterable[Object], nodes_found: Any
) -> Effects:
    """What KAITO does about a Workspace.

    Args:
        trial: the document.
        workload: as it is; None without.
        pods: of the Workspace.
        nodes_found: `of_kaito.Nodes`.
    """
    restarts = restarts_by_kaito(trial.before, trial.after, workload, nodes_found.verdict.rules.catalog)
    stuck = deadlock(workload, nodes_found.verdict, nodes_held(pods), restarts)
    waits = nodes_found.waits if workload is None else ""  # one that runs has its nodes
    breaks = _without_lora(trial.after, workload) if restarts and workload is not None else ""
    return Effects(
        restarts,
        nodes_found.asked,
        waits=waits,
        deadlock=stuck,
        breaks=breaks,
        unsized=nodes_found.unsized if workload is None else "",
    )


def _without_lora(workspace: Object, workload: Object) -> Advice:
    """Why vLLM loads no adapter in the new pods: KAITO changes no command; empty where it may load them."""
    if not dig(workspace, "inference", "adapters"):
        return ""
    from kaitoctl.kaito.adapter_rollout import starts_without_adapters  # most plans bring none

    if not starts_without_adapters(workload):
        return ""
    return (
        "vLLM runs without --enable-lora, which KAITO never adds to a workload that exists: the new pod gets "
        "the adapter's files and cannot load them; recreate the Workspace with its adapters: "
        + Command("kaitoctl delete", key_of(workspace).name, "-n", key_of(workspace).namespace)
        + ", then apply it with inference.adapters"
    )
