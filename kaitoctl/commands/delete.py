"""`kaitoctl delete`: say what ends, which nodes go and what stays; ask; delete; wait until it is gone."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from kaitoctl.advice import Advice, Command
from kaitoctl.commands import consent, files, option_values, ownership_warnings
from kaitoctl.commands.cluster import connected, explain_refusal, no_such, together, workspace_kind
from kaitoctl.commands.name_lookup import roles_at
from kaitoctl.commands.observe_deeply import with_evidence
from kaitoctl.commands.observe_fleet import fleet_at
from kaitoctl.commands.observe_workspace import observe_workspace, snapshot_of
from kaitoctl.commands.target import Target
from kaitoctl.errors import ApiError, InputError, Interrupted, KaitoctlError, TimedOut
from kaitoctl.kaito import convert
from kaitoctl.kaito.deletion import Consequences, consequences, remaining
from kaitoctl.kaito.diagnosis import diagnose
from kaitoctl.kaito.fleet import kinds
from kaitoctl.kaito.node_check import plural
from kaitoctl.kaito.snapshot import node_names
from kaitoctl.kube import request
from kaitoctl.kube.objects import POD, ObjectKey, dig, is_being_deleted, key_of, uid_of
from kaitoctl.kube.pod_state import UNFINISHED
from kaitoctl.screens import layout, output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kaitoctl.commands.option_values import Manifests
    from kaitoctl.kaito.fleet.view import Fleet
    from kaitoctl.kaito.snapshot import Snapshot
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Kind, Object

_LOOK_AGAIN_S = 1.0
TIMEOUT_S = 1200.0
"""For so long it is waited until all is gone."""
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Deletion:
    """One Workspace that is to go, by itself or with its set."""

    key: ObjectKey
    kind: Kind
    workspace: Object
    ends: Consequences
    of_set: bool = False


class _Named(NamedTuple):
    """What is named: the Workspace of this key, or else the set; a set alone where a kind says so."""

    key: ObjectKey
    is_set: bool = False


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
    try:
        return asyncio.run(_delete(target, keys, dry_run, ignore_not_found, yes, timeout_s if wait else None))
    except KeyboardInterrupt:
        raise Interrupted(
            "interrupted; the deletion continues",
            hint=target.text(Command("kaitoctl status", *target.in_namespace) + " shows what is left"),
        ) from None


def _parse_name(text: str) -> _Named:
    found = option_values.parse_name(text)
    if found.kind == "multiroleinference":
        raise InputError(
            f"{text[:80]!r}: a MultiRoleInference is not deleted here", hint=_of_roles(found.name)
        )
    return _Named(ObjectKey("", found.name), found.kind == "inferenceset")


def _of_roles(name: str, *where: str) -> Advice:
    asked = Command("kubectl delete multiroleinference", name, *where)
    return asked + " ends both of its InferenceSets, and the nodes bought for them go"


def _keys_in(given: Manifests) -> list[_Named]:
    """The Workspaces and sets of some manifests, by name; their contents do not matter."""
    found: dict[_Named, None] = {}
    documents = files.objects_of(given)
    for file, objects in documents.items():
        for obj in objects:
            metadata = obj.get("metadata")
            is_set = kinds.is_set(obj)
            if not is_set and not convert.is_workspace(obj) and obj.get("kind") != "Workspace":
                output.note(f"{file}: {str(obj.get('kind'))[:63]} is no Workspace; it stays")
            elif not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
                raise InputError(f"{file}: a {obj['kind']} without metadata.name")
            else:
                name = option_values.workspace_name(metadata["name"])
                found[_Named(ObjectKey(str(metadata.get("namespace") or ""), name), is_set)] = None
    if not found:
        pairs = [obj for objects in documents.values() for obj in objects if kinds.is_multi_role(obj)]
        hint = _of_roles(str(dig(pairs[0], "metadata", "name"))) if pairs else ""
        raise InputError(
            f"{', '.join(documents)}: there is no Workspace and no InferenceSet in it", hint=hint
        )
    return list(found)


async def _delete(
    target: Target,
    named: Sequence[_Named],
    dry_run: str,
    ignore_not_found: bool,
    yes: bool,
    timeout_s: float | None,
) -> int:
    async with connected(target) as client:
        here = client.namespace
        keys = [one._replace(key=ObjectKey(one.key.namespace or here, one.key.name)) for one in named]
        deletions, sets, missing = await _deletions(client, keys)
        if missing and not ignore_not_found:
            raise missing[0]
        for fleet in sets:
            output.step(f"{set_words(fleet)} will be deleted")
        for deletion in deletions:
            show(target, deletion)
        if not (deletions or sets) or dry_run == "client":
            return 0
        is_dry = dry_run == "server"
        if not is_dry:
            await _agree(deletions, sets, yes=yes)
        for fleet in sets:
            await send(client, kinds.kind_of(fleet.inference_set), fleet.inference_set, dry_run=is_dry)
        for deletion in deletions:
            if not deletion.of_set:
                await send(client, deletion.kind, deletion.workspace, dry_run=is_dry)
        if dry_run == "none" and timeout_s is not None:
            await wait_gone(client, target, deletions, timeout_s)
    return 0


async def _deletions(
    client: Client, named: Sequence[_Named]
) -> tuple[list[Deletion], list[Fleet], list[KaitoctlError]]:
    """What each deletion would lead to, the sets among them, and the names that nothing has."""
    deletions: list[Deletion] = []
    sets: list[Fleet] = []
    missing: list[KaitoctlError] = []
    for key, is_set in named:
        found = None if is_set else await deletion_of(client, key)
        if found is not None:
            deletions.append(found)
        elif (fleet := await fleet_at(client, key)) is not None:
            sets.append(fleet)
            members = [
                await deletion_of(client, key_of(one.workspace), of_set=True) for one in fleet.replicas
            ]
            deletions += [one for one in members if one is not None]
        elif is_set:
            missing.append(ApiError(404, "NotFound", f"InferenceSet {key} not found"))
        elif (roles := await roles_at(client, key)) is not None:
            roles.hint = _of_roles(key.name, "-n", key.namespace)
            missing.append(roles)
        else:
            missing.append(await no_such(client, await workspace_kind(client), key))
    return deletions, sets, missing


async def deletion_of(client: Client, key: ObjectKey, *, of_set: bool = False) -> Deletion | None:
    """What the deletion of a Workspace would lead to; None when there is none of that name."""
    async with observe_workspace(client, key, once=True) as picture:
        seen = picture.snapshot()
    if seen.workspace is None:
        return None
    ends = consequences(seen, await _pods_beside(client, seen))
    return Deletion(key, picture.kind, seen.workspace, ends, of_set)


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
        output.step(f"Workspace {deletion.key} is being deleted already")
    else:
        output.step(f"Workspace {deletion.key} will be deleted")
        if not deletion.of_set:  # its owner goes with it
            ownership_warnings.warn(target, deletion.workspace)
    for line in deletion.ends.lines():
        output.note(line)


async def _agree(deletions: Sequence[Deletion], sets: Sequence[Fleet], *, yes: bool) -> None:
    new = [item for item in deletions if not is_being_deleted(item.workspace)]
    if not (new or sets):
        return
    consent.require_yes_or_tty(yes=yes)
    if not yes:
        of_none = [f"Workspace {one.key}" for one in new if not one.of_set]
        names = [*map(set_words, sets), *of_none]
        what = " and ".join(names) if len(names) <= _MOST_NAMED else f"{len(names)} objects listed above"
        await consent.confirm(f"Delete {what}?")


def set_words(fleet: Fleet) -> str:
    """A set, with how many Workspaces go with it."""
    number = len(fleet.replicas)
    return f"InferenceSet {fleet.key}, with its {number} {plural('Workspace', number)}"


async def send(client: Client, kind: Kind, shown: Object, *, dry_run: bool) -> None:
    """Delete just the object that was shown, such as a set, whose controller deletes its Workspaces.

    One that is gone meanwhile needs no more.
    """
    words = " (server dry run)" if dry_run else ""
    key = key_of(shown)
    if not is_being_deleted(shown):
        try:
            await client.send(request.delete(kind, *key, uid=uid_of(shown), dry_run=dry_run))
        except ApiError as error:
            if error.status == 409:
                error.hint = f"this {kind.kind} was just deleted and created again; run the command again"
            if error.status != 404 or error.is_unknown_resource:
                resource = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
                rights = f"you need get and delete on {resource} in this namespace"
                raise explain_refusal(error, namespace=key.namespace, rights=rights) from error
    output.sentence(f"{output.resource_name(shown)} deleted{words}")


# --- wait --------------------------------------------------------------------------------------------------


async def wait_gone(client: Client, target: Target, deletions: Sequence[Deletion], timeout_s: float) -> None:
    """Until all is gone.

    Raises:
        TimedOut: something is still there; the error says what holds it.
    """
    left = {deletion.key: "" for deletion in deletions}
    try:
        async with asyncio.timeout(timeout_s):
            await asyncio.gather(*(_until_gone(client, deletion, left) for deletion in deletions))
    except TimeoutError:
        key, words = next(iter(left.items()))
        cause = await _cause(client, target, key)
        left_over = f": {words} left" if words else ""
        raise TimedOut(
            f"Workspace {key} is not gone after {layout.elapsed(timeout_s)}{left_over}{cause}",
            hint=Command("kaitoctl why", key.name, "-n", key.namespace),
        ) from None


async def _until_gone(client: Client, deletion: Deletion, left: dict[ObjectKey, str]) -> None:
    uid, told = uid_of(deletion.workspace), None
    async with observe_workspace(client, deletion.key) as picture:
        while words := remaining(picture.snapshot(), uid, deletion.ends.waits_for):
            left[deletion.key] = words
            if words != told:
                told = words
                output.step(f"Workspace {deletion.key}: waiting for {words} to go")
            await picture.change(within_s=_LOOK_AGAIN_S)
    del left[deletion.key]
    output.success(f"Workspace {deletion.key} is gone")


async def _cause(client: Client, target: Target, key: ObjectKey) -> str:
    """What `why` says of a Workspace that does not go, after a colon."""
    try:
        seen = await with_evidence(client, await snapshot_of(client, key))
    except KaitoctlError:
        return ""
    cause = diagnose(seen, datetime.now(UTC)).cause
    return "" if cause is None else f"; {cause.about}: {cause.message}"
