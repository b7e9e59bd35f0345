"""An InferenceSet that is to be written -> what becomes of its Workspaces. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from itertools import islice

from msgspec import Struct, field
from msgspec.structs import replace

from kaitoctl.advice import Advice
from kaitoctl.errors import InputError
from kaitoctl.kaito import api, merge_request, node_check, validation
from kaitoctl.kaito.fleet import validation as of_fleets
from kaitoctl.kaito.fleet.decisions import Replica, carried, deletion_order, replica_of
from kaitoctl.kaito.fleet.replicas import free_names, wanted_replicas, workspace_of
from kaitoctl.kaito.fleet.strategy import strategy_of
from kaitoctl.kaito.planning.change import Trial, identity
from kaitoctl.kaito.planning.outage import Outage
from kaitoctl.kaito.planning.plan import Change
from kaitoctl.kube import schema_defaults
from kaitoctl.kube.conditions import timestamp
from kaitoctl.kube.objects import (
    Object,
    ObjectKey,
    annotations_of,
    generation_of,
    is_being_deleted,
    is_controlled_by,
    key_of,
    uid_of,
)

_AT_MOST_S = 3600.0  # a replica that is not ready within it has failed
_MOST_MORE = 5000  # nodes that Kubernetes is made for: kubernetes.io/docs/setup/best-practices/cluster-large


class SetEffects(Struct, frozen=True):
    """What becomes of the Workspaces of a set.

    Args:
        made: those that are created, in the place of others or besides.
        going: the names of those that are deleted, with the nodes that were bought for them.
        chosen: how many more are deleted of those that serve; which, its controller lets nobody know.
        kept: the names of those of `going` whose nodes stay while others hold their GPUs.
        rolled: the names of those that get the new template, and restart.
        patched: those of them that stay themselves, as they are then.
        left: the names of those that stay on an older template.
        instead: which of `made` come once an older one has gone: its name by theirs.
    """

    made: tuple[Object, ...] = ()
    going: tuple[str, ...] = ()
    rolled: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    instead: Mapping[str, str] = field(default_factory=dict)
    patched: tuple[Object, ...] = ()
    chosen: int = 0
    kept: frozenset[str] = frozenset()

    @property
    def released(self) -> tuple[str, ...]:
        """What goes, in words."""
        named = (
            f"Workspace {name}, with its nodes" + (" once others have left them" if name in self.kept else "")
            for name in self.going
        )
        of_any = "one more of the replicas that serve, whichever KAITO chooses, with its nodes"
        return (*named, *([of_any] * self.chosen))

    @property
    def starting(self) -> tuple[Object, ...]:
        """The Workspaces whose pods are to start: those that are created, and those that restart."""
        return self.made + self.patched


def set_problems(
    obj: Object, setting: validation.Setting, before: Object | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Why a set is refused, and what is to be known of it."""
    lines: dict[str, list[str]] = {"error": [], "warning": []}
    for item in of_fleets.judge(obj, setting, old=before):
        lines.setdefault(item.severity, []).append(item.text)
    if words := _too_many(wanted_replicas(obj) - (0 if before is None else wanted_replicas(before))):
        lines["error"].append(words)
    return tuple(lines["error"]), tuple(lines["warning"])


def _too_many(more: int) -> str:
    """Why nobody says what so many more replicas lead to; empty of fewer."""
    if more <= _MOST_MORE:
        return ""
    return f"spec.replicas: it asks for {more} more; at most {_MOST_MORE} are planned at once"


def effects_of_set(
    trial: Trial,
    workspaces: Iterable[Object],
    now: datetime,
    *,
    is_own: bool,
    bought: Collection[ObjectKey] = (),
) -> SetEffects:
    """What a controller does about a set.

    Args:
        trial: the set as the server would have it.
        workspaces: of the cluster.
        now: the present time.
        is_own: whether it is kaitoctl's, which carries templates to replicas; KAITO's does not.
        bought: the Workspaces that nodes were bought for, which go with them.

    Raises:
        InputError: it asks for more replicas than anybody plans at once.
    """
    before, after = trial.before, trial.after
    own = [] if before is None else [one for one in workspaces if is_controlled_by(one, before)]
    live = sorted((one for one in own if not is_being_deleted(one)), key=key_of)
    members = [replica_of(after, one, now, _AT_MOST_S) for one in live]
    wanted, strategy = wanted_replicas(after), strategy_of(after)
    surplus = max(0, len(members) - wanted)
    going = deletion_order(members, strategy.keep)[:surplus]
    if not is_own and wanted:
        # KAITO takes those that are not ready, and then in the order of its cache, which has none.
        going = [one for one in going if not one.is_ready]
    staying = [one for one in members if one not in going]
    rolled = carried(wanted, staying, strategy) if is_own else ()
    anew = () if trial.fate == "unchanged" else rolled  # who changes nothing is told of no cost
    replaced = [one for one in anew if one.way == "replace" or strategy.max_unavailable == 0]
    giving_back = [one for one in replaced if key_of(one.workspace) in bought]
    # Of the others the nodes are free for those in their place, which want the same ones and come later.
    at_once = strategy.max_surge if strategy.max_unavailable == 0 else 0
    keeping = [one for one in replaced[at_once:] if one not in giving_back and not _wants_other_nodes(one)]
    coming = [one for one in replaced if one not in keeping]
    more = max(0, wanted - len(live))
    if words := _too_many(more):
        raise InputError(f"InferenceSet {key_of(after)}: {words}; nothing was written")
    names = list(islice(free_names(after, {key_of(one).name for one in own}), more + len(coming)))
    instead = zip(names[more + at_once :], (one.name for one in coming[at_once:]), strict=True)
    return SetEffects(
        tuple(_planned(after, name, now) for name in names),
        tuple(one.name for one in (*going, *giving_back)),
        tuple(one.name for one in rolled),
        tuple(one.name for one in staying if not one.is_current and one not in rolled),
        dict(instead),
        tuple(_patched(after, one, now) for one in anew if one not in replaced),
        surplus - len(going),
    )


def _wants_other_nodes(replica: Replica) -> bool:
    return any(path in ("resource.instanceType", "resource.labelSelector") for path in replica.differing)


def _patched(inference_set: Object, replica: Replica, now: datetime) -> Object:
    """A Workspace with the template of the set as it is to be."""
    wanted, there = _planned(inference_set, replica.name, now), replica.workspace
    metadata = {
        **there["metadata"],
        "annotations": {**annotations_of(there), **annotations_of(wanted)},
        "generation": generation_of(there) + 1,
    }
    return {**there, "metadata": metadata, "inference": wanted["inference"]}


def _planned(inference_set: Object, name: str, now: datetime) -> Object:
    """A Workspace of the set as the server would have it."""
    made = workspace_of(inference_set, name)
    known = validation.schema_of(api.WORKSPACE_V1BETA1.version)
    filled: Object = schema_defaults.default(made, known)
    servers = {"uid": f"{uid_of(inference_set)}-{name}", "generation": 1, "creationTimestamp": timestamp(now)}
    return {**filled, "metadata": {**filled["metadata"], **servers}}


def change_of_set(
    trial: Trial,
    effects: SetEffects,
    restarts: Outage,
    *,
    asked: int,
    most: int,
    rivals: tuple[str, ...] = (),
    waits: str = "",
    returned: tuple[str, ...] = (),
    perhaps: tuple[str, ...] = (),
    unsized: Advice = "",
) -> Change:
    """The entry of a set in a plan.

    Args:
        trial: the set as the server would have it.
        effects: what becomes of its Workspaces.
        restarts: what the restart of one replica costs.
        asked: how many nodes are asked for.
        most: how many it may become.
        rivals: other Workspaces that can use the same nodes.
        waits: what those that are created wait for.
        returned: what replicas that restart leave.
        perhaps: what of it stays when their pods are placed there again.
        unsized: why it may be more nodes than `most`; empty when it may not.
    """
    strategy, wanted = strategy_of(trial.after), wanted_replicas(trial.after)
    warnings = list(trial.warnings)
    if number := min(len(effects.left), wanted):
        bound = "up to " if effects.chosen else ""
        warnings.append(f"{bound}{number} replica{'' if number == 1 else 's'} will keep the older template")
    before, after = trial.before, trial.after
    rolled = len(effects.rolled)
    if rolled and trial.fate == "unchanged":
        warnings.append(f"{rolled} of {wanted} replicas are yet to restart with the present template")
        rolled = 0
    together = max(1, strategy.max_unavailable)
    outage = replace(restarts, pods=rolled, interrupts=together >= wanted, together=together)
    return Change(
        trial.kind,
        key_of(after),
        trial.source,
        trial.fate,
        trial.fields,
        before is not None and merge_request.takes_away(before.get("spec") or {}, after.get("spec") or {}),
        (),
        tuple(warnings),
        outage if rolled else Outage(),
        asked,
        node_check.instance_type_of(effects.starting[0]) if effects.starting and most else "",
        (*effects.released, *returned),
        waits=waits,
        body=trial.body,
        seen=identity(before),
        nodes_most=most,
        rivals=rivals,
        returned_perhaps=perhaps,
        unsized=unsized,
    )
