"""`kaitoctl apply --prune -l`: what an earlier apply wrote and no manifest has any more, deleted with care.

As kubectl's: in the namespaces of the manifests, of the objects that the selector takes, only those that
were applied by the same tool, and only after all has been applied.

Source: Kubernetes 1.34, `staging/src/k8s.io/kubectl/pkg/cmd/apply/prune.go` and `apply.go`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from kaitoctl.commands import delete, files
from kaitoctl.commands.cluster import explain_refusal, field_manager, workspace_kind
from kaitoctl.commands.nodes import selected_by
from kaitoctl.commands.observe_fleet import fleet_at
from kaitoctl.errors import ApiError, InputError
from kaitoctl.kaito import api
from kaitoctl.kaito.diagnosis import references
from kaitoctl.kaito.fleet import kinds
from kaitoctl.kube import managed_fields
from kaitoctl.kube.objects import (
    CONFIG_MAP,
    Kind,
    Object,
    ObjectKey,
    controller_of,
    dig,
    is_being_deleted,
    key_of,
    with_type,
)
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.commands.delete import Deletion
    from kaitoctl.commands.option_values import Manifests
    from kaitoctl.commands.plan_documents import Written
    from kaitoctl.commands.target import Target
    from kaitoctl.kaito.fleet.view import Fleet
    from kaitoctl.kaito.planning import Plan
    from kaitoctl.kube.client import Client


class Pruned(Struct, frozen=True):
    """What goes.

    Args:
        deletions: the Workspaces, those of sets among them.
        sets: the InferenceSets.
        config_maps: the ConfigMaps that no Workspace that stays names.
    """

    deletions: tuple[Deletion, ...] = ()
    sets: tuple[Fleet, ...] = ()
    config_maps: tuple[Object, ...] = ()

    @property
    def shown(self) -> list[tuple[Kind, Object]]:
        """What is deleted: Workspaces of sets go with these, ConfigMaps after those that name them."""
        sets = [(kinds.kind_of(one.inference_set), one.inference_set) for one in self.sets]
        workspaces = [(one.kind, one.workspace) for one in self.deletions if not one.of_set]
        return [*sets, *workspaces, *((CONFIG_MAP, one) for one in self.config_maps)]


def check(selector: str, given: Manifests, *, prune: bool, plan: str | None) -> None:
    """Refuse options that do not go together, and to delete what nobody has read.

    Raises:
        InputError: as they do not.
    """
    if prune and plan:
        raise InputError("--prune requires -f: a plan that was saved deletes nothing")
    if prune and not selector.strip():
        raise InputError("--prune deletes what -l selects: give a label selector with it")
    if selector.strip() and not prune:
        raise InputError("-l requires --prune")
    selected_by(selector)
    if prune and (unread := files.unread(given)):
        raise InputError(
            "--prune deletes what no manifest has, and those in folders below are not read",
            problems=unread,
            hint="-R reads them, too; to leave them out and delete what they hold, name the files with -f",
        )


def select_documents(written: Sequence[Written], selector: str) -> list[Written]:
    """The documents that the selector takes, as kubectl applies no others; the rest are named.

    Raises:
        InputError: it takes none, and what was applied before would all go.
    """
    takes = selected_by(selector)
    found = []
    for one in written:
        if one.fault or takes is None or takes(one.obj):
            found.append(one)
        else:
            output.step(f"{one.source}: {one.kind} {one.key.name} is skipped: -l does not select it")
    if not found:
        raise InputError(f"-l {selector!r} selects none of the documents; nothing was written")
    return found


async def find(client: Client, plan: Plan, written: Sequence[Written], selector: str) -> Pruned:
    """What an earlier apply wrote in the namespaces of the plan, and no document has."""
    kept = {(change.kind, change.key) for change in plan.changes}
    kept |= {(one.kind, one.key.within(client.namespace)) for one in written}
    namespaces = list(dict.fromkeys(change.key.namespace for change in plan.changes))
    workspaces, sets, config_maps = await workspace_kind(client), api.INFERENCE_SET, CONFIG_MAP
    going: dict[str, list[Object]] = {}
    for kind in (workspaces, sets, config_maps):
        for namespace in namespaces:
            there = await _selected(client, kind, namespace, selector)
            left = [obj for obj in there if (kind.kind, key_of(obj)) not in kept]
            going.setdefault(kind.kind, []).extend(_own(kind, left))
    deletions = await delete.deletions_of(client, [key_of(one) for one in going[workspaces.kind]])
    fleets = [await fleet_at(client, key_of(one)) for one in going[sets.kind]]
    replicas = [key_of(one.workspace) for fleet in fleets if fleet is not None for one in fleet.replicas]
    members = await delete.deletions_of(client, replicas, of_set=True)
    every = delete.at_once((*deletions.values(), *members.values()))
    ends = {("Workspace", one.key) for one in every}
    ends |= {(sets.kind, fleet.key) for fleet in fleets if fleet is not None}
    planned = [change.body for change in plan.changes if change.kind != config_maps.kind]
    unused = await _unused(client, (workspaces, sets), going[config_maps.kind], ends, planned)
    return Pruned(
        tuple(every),
        tuple(fleet for fleet in fleets if fleet is not None),
        tuple(unused),
    )


async def _selected(client: Client, kind: Kind, namespace: str, selector: str) -> list[Object]:
    try:
        found = (await client.list(kind, namespace, label_selector=selector)).items
    except ApiError as error:
        if error.is_unknown_resource:
            return []
        raise explain_refusal(error, namespace=namespace) from error
    return [with_type(kind, obj) for obj in found]


def _own(kind: Kind, objects: Sequence[Object]) -> list[Object]:
    """Those that kaitoctl has applied; the rest are somebody's, and named."""
    found = []
    for obj in objects:
        if is_being_deleted(obj) or controller_of(obj) is not None:
            continue
        if managed_fields.applied_fields(obj, field_manager()):
            found.append(obj)
        else:
            output.note(f"stays: {kind.kind} {key_of(obj)}, which others wrote")
    return found


async def _unused(
    client: Client,
    kinds: Sequence[Kind],
    config_maps: Sequence[Object],
    ends: set[tuple[str, ObjectKey]],
    planned: Sequence[Object],
) -> list[Object]:
    """The ConfigMaps that nothing needs which stays, or is planned: its next pod would not start."""
    users: dict[ObjectKey, str] = {}
    for namespace in dict.fromkeys(key_of(one).namespace for one in config_maps):
        there = [one for kind in kinds for one in await _selected(client, kind, namespace, "")]
        stay = [one for one in there if (one["kind"], key_of(one)) not in ends]
        for obj in (*stay, *(one for one in planned if key_of(one).namespace == namespace)):
            asked = dig(obj, "spec", "template") or obj
            for _, one in references(asked):
                if one.kind == "ConfigMap":
                    users[ObjectKey(namespace, one.name)] = f"{obj['kind']} {key_of(obj)}"
    for obj in config_maps:
        if user := users.get(key_of(obj)):
            output.note(f"stays: ConfigMap {key_of(obj)}, which {user} needs")
    return [obj for obj in config_maps if key_of(obj) not in users]


def show(target: Target, pruned: Pruned) -> None:
    """Say what ends, which nodes go, and what stays."""
    for fleet in pruned.sets:
        output.announce(f"{delete.set_words(fleet)} will be deleted (--prune)")
    for one in pruned.deletions:
        delete.show(target, one)
    for obj in pruned.config_maps:
        output.announce(f"ConfigMap {key_of(obj)} will be deleted (--prune)")
