"""`kaitoctl delete`: say what ends, which nodes go and what stays; ask; delete; wait until it is gone."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from kaitoctl.advice import Command, with_file
from kaitoctl.commands import certain_write, consent, files, option_values, ownership_warnings
from kaitoctl.commands.cluster import (
    connected,
    explain_refusal,
    no_such,
    together,
    workspace_kind,
)
from kaitoctl.commands.observe_deeply import with_missing
from kaitoctl.commands.observe_fleet import fleet_at
from kaitoctl.commands.observe_workspace import observe_workspace
from kaitoctl.commands.one_by_one import Progress
from kaitoctl.commands.target import Target
from kaitoctl.commands.wait_gone import TIMEOUT_S, Going, until_gone, wait_gone
from kaitoctl.errors import ApiError, InputError, Interrupted, KaitoctlError
from kaitoctl.kaito import api, convert
from kaitoctl.kaito.deletion import Consequences, consequences
from kaitoctl.kaito.fleet import kinds
from kaitoctl.kaito.node_check import plural
from kaitoctl.kaito.snapshot import node_names
from kaitoctl.kube import request
from kaitoctl.kube.objects import (
    POD,
    ObjectKey,
    is_being_deleted,
    is_controlled_by,
    key_of,
    uid_of,
    with_type,
)
from kaitoctl.kube.pod_state import UNFINISHED
from kaitoctl.screens import output

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kaitoctl.advice import Advice
    from kaitoctl.commands.option_values import Manifests
    from kaitoctl.kaito.fleet.view import Fleet
    from kaitoctl.kaito.snapshot import Snapshot
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Kind, Object

_MOST_NAMED = 3
_TITLES = {one.kind.lower(): one.kind for one in (api.INFERENCE_SET, api.MULTI_ROLE_INFERENCE)}
_SET, _ROLES = _TITLES
_WORKSPACE = "workspace"


class Deletion(Struct, frozen=True):
    """One Workspace that is to go, by itself or with its set."""

    key: ObjectKey
    kind: Kind
    seen: Snapshot
    pods: list[Object] | None  # of everybody, on its nodes
    of_set: bool = False
    beside: tuple[Snapshot, ...] = ()  # what goes with it

    @property
    def workspace(self) -> Object:
        """As it was seen."""
        assert self.seen.workspace is not None
        return self.seen.workspace

    @property
    def ends(self) -> Consequences:
        """What it leads to."""
        return consequences(self.seen, self.pods, self.beside)

    @property
    def going(self) -> Going:
        """What is waited for."""
        return Going(self.key, uid_of(self.workspace), self.ends.waits_for)


def at_once(deletions: Iterable[Deletion | None]) -> list[Deletion]:
    """The deletions of one command: what one of them takes away holds nothing of another."""
    found = [one for one in deletions if one is not None]
    return [replace(one, beside=tuple(other.seen for other in found)) for one in found]


class _Named(NamedTuple):
    """What is named: the Workspace of this key, or else the fleet; of one kind alone where that is said."""

    key: ObjectKey
    kind: str = ""


class _Whole(Struct, frozen=True):
    """A set or a MultiRoleInference that is to go, and its Workspaces with it."""

    kind: Kind
    obj: Object
    words: str


def delete(
    *,
    names: list[str] | None,
    given: Manifests,
    dry_run: str,
    ignore_not_found: bool,
    yes: bool,
    wait: bool,
    timeout: str | None,
    target: Target,
) -> int:
    """Delete Workspaces, and wait until their pods and nodes are gone."""
    option_values.one_of(dry_run, ("none", "client", "server"), option="--dry-run")
    if bool(names) == given.is_given:
        raise InputError("name the Workspaces, or the files that hold them: one of the two")
    timeout_s = option_values.duration_s(timeout) if timeout else TIMEOUT_S
    keys = _keys_in(given) if given.is_given else list(dict.fromkeys(map(_parse_name, names or ())))
    progress = Progress("deleted", _again(names or (), given, target))
    how = (dry_run, ignore_not_found, yes, timeout_s if wait else None)
    try:
        return asyncio.run(_delete(target, keys, progress, *how))
    except KeyboardInterrupt:
        raise _interrupted(progress, target) from None


def _again(names: Sequence[str], given: Manifests, target: Target) -> Advice:
    """The command that deletes what is left, and waits for all of it."""
    what = (*names, *given.words, "--ignore-not-found", *target.in_namespace)
    return with_file(Command("kaitoctl delete", *what))


def _interrupted(progress: Progress, target: Target) -> Interrupted:
    if not progress.has_begun:
        return Interrupted("interrupted; nothing was deleted")
    if progress.done == len(progress.titles):
        found = "the deletion continues", " waits for it"
    else:
        found = progress.interrupted_words(), " continues where this stopped"
    return Interrupted(f"interrupted; {found[0]}", hint=target.text(progress.again + found[1]))


def _parse_name(text: str) -> _Named:
    found = option_values.parse_name(text)
    return _Named(ObjectKey("", found.name), found.kind)


def _keys_in(given: Manifests) -> list[_Named]:
    """The Workspaces and fleets of some manifests, by name; their contents do not matter."""
    found: dict[_Named, None] = {}
    documents = files.objects_of(given)
    for file, objects in documents.items():
        for obj in objects:
            metadata = obj.get("metadata")
            is_fleet = kinds.is_set(obj) or kinds.is_multi_role(obj)
            if not is_fleet and not convert.is_workspace(obj) and obj.get("kind") != "Workspace":
                output.step(f"{file}: {str(obj.get('kind'))[:63]} is no Workspace; it stays")
            elif not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
                raise InputError(f"{file}: a {obj['kind']} without metadata.name")
            else:
                name = option_values.workspace_name(metadata["name"])
                kind = str(obj["kind"]).lower() if is_fleet else _WORKSPACE
                found[_Named(ObjectKey(str(metadata.get("namespace") or ""), name), kind)] = None
    if not found:
        raise InputError(f"{', '.join(documents)}: there is no Workspace and no InferenceSet in it")
    return list(found)


async def _delete(
    target: Target,
    named: Sequence[_Named],
    progress: Progress,
    dry_run: str,
    ignore_not_found: bool,
    yes: bool,
    timeout_s: float | None,
) -> int:
    async with connected(target) as client:
        here = client.namespace
        keys = [one._replace(key=one.key.within(here)) for one in named]
        deletions, wholes, missing = await _deletions(client, keys)
        if missing and not ignore_not_found:
            raise missing[0]
        for one in wholes:
            output.announce(f"{one.words} will be deleted")
            ownership_warnings.warn(target, one.obj)
        for deletion in deletions:
            show(target, deletion)
        if not (deletions or wholes):
            return 0
        if dry_run == "none":
            await _agree(deletions, wholes, yes=yes)
        own = [(one.kind, one.workspace) for one in deletions if not one.of_set]
        shown = [*((one.kind, one.obj) for one in wholes), *own]
        await send_all(client, shown, progress, dry_run=dry_run)
        if dry_run == "none" and timeout_s is not None:
            began = asyncio.get_running_loop().time()
            await wait_gone(client, target, [one.going for one in deletions], timeout_s)
            for one in wholes:
                await until_gone(client, one.kind, one.obj, began, timeout_s)
    return 0


async def _deletions(
    client: Client, named: Sequence[_Named]
) -> tuple[list[Deletion], list[_Whole], list[KaitoctlError]]:
    """What each deletion would lead to, the fleets among them, and the names that nothing has."""
    deletions: dict[ObjectKey, Deletion] = {}
    wholes: list[_Whole] = []
    missing: list[KaitoctlError] = []
    seen = await deletions_of(client, [key for key, kind in named if kind in ("", _WORKSPACE)])
    for key, kind in named:
        found = seen.get(key) if kind in ("", _WORKSPACE) else None
        if found is not None:
            deletions.setdefault(key, found)
            continue
        fleet = await fleet_at(client, key) if kind in ("", _SET) else None
        roles = await _roles_at(client, key) if fleet is None and kind in ("", _ROLES) else None
        if fleet is not None:
            wholes.append(_Whole(kinds.kind_of(fleet.inference_set), fleet.inference_set, set_words(fleet)))
        elif roles is not None:
            wholes.append(roles[0])
        elif kind in _TITLES:
            missing.append(ApiError(404, "NotFound", f"{_TITLES[kind]} {key} not found"))
        else:
            missing.append(await no_such(client, await workspace_kind(client), key))
        fleets = [fleet] if fleet is not None else roles[1] if roles is not None else ()
        replicas = [key_of(one.workspace) for whole in fleets for one in whole.replicas]
        deletions |= await deletions_of(client, replicas, of_set=True)
    return at_once(deletions.values()), wholes, missing


async def _roles_at(client: Client, key: ObjectKey) -> tuple[_Whole, list[Fleet]] | None:
    """A MultiRoleInference and the sets that are its own; None when there is none of that name."""
    kind = api.MULTI_ROLE_INFERENCE
    try:
        found = await client.send(request.get(kind, *key))
    except ApiError as error:
        if error.status not in (401, 403, 404):
            raise
        return None
    found = with_type(kind, found)
    sets = [
        one
        for role in api.INFERENCE_ROLES
        if (one := await fleet_at(client, ObjectKey(key.namespace, f"{key.name}-{role}"))) is not None
        and is_controlled_by(one.inference_set, found)
    ]
    number = sum(len(one.replicas) for one in sets)
    counted = f"{len(sets)} {plural('InferenceSet', len(sets))} and {number} {plural('Workspace', number)}"
    words = f"MultiRoleInference {key}" + (f", with its {counted}" if sets else "")
    return _Whole(kind, found, words), sets


async def deletions_of(
    client: Client, keys: Sequence[ObjectKey], *, of_set: bool = False
) -> dict[ObjectKey, Deletion]:
    """What the deletion of each Workspace would lead to; of names that nothing has, nothing."""
    asked = list(dict.fromkeys(keys))
    found = await together(partial(_deletion_of, client, key, of_set=of_set) for key in asked)
    return {one.key: one for one in found if one is not None}


async def _deletion_of(client: Client, key: ObjectKey, *, of_set: bool) -> Deletion | None:
    async with observe_workspace(client, key, once=True, events=False) as picture:
        seen = picture.snapshot()
    if seen.workspace is None:
        return None
    seen = await with_missing(client, seen)
    return Deletion(key, picture.kind, seen, await _pods_beside(client, seen), of_set)


async def _pods_beside(client: Client, seen: Snapshot) -> list[Object] | None:
    """The unfinished pods on the Workspace's nodes, of every namespace; None when they may not be listed."""
    askings = [
        lambda name=name: client.list(POD, field_selector=f"spec.nodeName={name},{UNFINISHED}")
        for name in node_names(seen)
    ]
    try:
        return [pod for listed in await together(askings) for pod in listed.items]
    except ApiError as error:
        if error.status != 403:
            raise
        return None


def show(target: Target, deletion: Deletion) -> None:
    """Say what the deletion of a Workspace ends, releases and leaves."""
    if is_being_deleted(deletion.workspace):
        output.announce(f"Workspace {deletion.key} is being deleted already")
    else:
        output.announce(f"Workspace {deletion.key} will be deleted")
        if not deletion.of_set:  # its owner goes with it
            ownership_warnings.warn(target, deletion.workspace)
    for line in deletion.ends.lines():
        output.note(target.text(line))


async def _agree(deletions: Sequence[Deletion], wholes: Sequence[_Whole], *, yes: bool) -> None:
    new = [item for item in deletions if not is_being_deleted(item.workspace)]
    if not (new or wholes):
        return
    consent.require_yes_or_tty(yes=yes)
    if not yes:
        of_none = [f"Workspace {one.key}" for one in new if not one.of_set]
        names = [*(one.words for one in wholes), *of_none]
        what = " and ".join(names) if len(names) <= _MOST_NAMED else f"{len(names)} objects listed above"
        await consent.confirm(f"Delete {what}?")


def set_words(fleet: Fleet) -> str:
    """A set, with how many Workspaces go with it."""
    number = len(fleet.replicas)
    return f"InferenceSet {fleet.key}, with its {number} {plural('Workspace', number)}"


async def send_all(
    client: Client, shown: Sequence[tuple[Kind, Object]], progress: Progress, *, dry_run: str
) -> None:
    """Delete just what was shown, such as a set, whose controller deletes its Workspaces.

    What is gone meanwhile needs no more.

    Args:
        client: of the cluster.
        shown: the objects.
        progress: shown what has been deleted.
        dry_run: `none`, or who only says it: `client` or `server`.

    Raises:
        KaitoctlError: one could not be deleted; the error says what is, and what is not.
    """
    progress.titles = [f"{kind.kind} {key_of(obj)}" for kind, obj in shown] if dry_run == "none" else ()
    await progress.each(shown, lambda one: _send(client, *one, dry_run=dry_run))


async def _send(client: Client, kind: Kind, shown: Object, *, dry_run: str) -> None:
    key = key_of(shown)
    if not is_being_deleted(shown) and dry_run != "client":
        asked = request.delete(kind, *key, uid=uid_of(shown), dry_run=dry_run == "server")
        try:
            if dry_run == "server":
                await client.send(asked)
            else:
                await certain_write.sent(
                    client, asked, kind, key, is_done=partial(_goes, shown), word="deleted"
                )
        except ApiError as error:
            if error.status == 409:
                error.hint = f"this {kind.kind} was just deleted and created again; run the command again"
            if error.status != 404 or error.is_unknown_resource:
                resource = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
                rights = f"you need get and delete on {resource} in this namespace"
                raise explain_refusal(error, namespace=key.namespace, rights=rights) from error
    output.sentence(f"{output.resource_name(shown)} deleted{option_values.dry_run_note(dry_run)}")


def _goes(shown: Object, now: Object | None) -> bool:
    return now is None or uid_of(now) != uid_of(shown) or is_being_deleted(now)
