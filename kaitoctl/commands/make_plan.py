"""Documents x cluster -> Plan: judged offline and by the server's dry run, with what then happens."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from kaitoctl.advice import NO_FLAGS, Advice, ClusterFlags, Command, text
from kaitoctl.commands import plan_effects, plan_world
from kaitoctl.commands.asked_context import (
    config_maps_named,
    context_asked,
    lines_of,
    looked_up,
    missing_references,
    with_config_maps,
)
from kaitoctl.commands.cluster import (
    explain_refusal,
    present,
    rights_to_apply,
    together,
    tried,
)
from kaitoctl.commands.option_values import ManagedBy
from kaitoctl.commands.plan_documents import Written
from kaitoctl.errors import ApiError, InputError
from kaitoctl.kaito import api, planning, revisions
from kaitoctl.kaito.catalog import SHIPPED, Catalog
from kaitoctl.kaito.fleet import kinds
from kaitoctl.kaito.planning import Change, Plan, Trial
from kaitoctl.kube import refusal_hints, request
from kaitoctl.kube.objects import (
    CONFIG_MAP,
    Kind,
    ObjectKey,
    dig,
    is_being_deleted,
    key_of,
    uid_of,
    with_type,
)
from kaitoctl.reconcile.comparison import between
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.commands.plan_world import World
    from kaitoctl.kaito.validation import Setting
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object

_KINDS = ("ConfigMap", "Workspace", "InferenceSet")
# Of the rest nothing was judged: the connection or the server is in trouble, not the document.
_NOT_ABOUT_THE_DOCUMENT = (401, 429, 500, 502, 503, 504)


class PlanRequest(Struct, frozen=True):
    """How a plan is made.

    Args:
        is_sandbox: kaitoctl's own controller runs there.
        managed: who manages Workspaces, as far as the user says it.
        force: take fields over from other managers.
        catalog: of presets and instance types.
        flags: what points the commands that are advised at the same cluster.
    """

    is_sandbox: bool
    managed: ManagedBy
    force: bool
    catalog: Catalog = SHIPPED
    flags: ClusterFlags = NO_FLAGS


async def make(client: Client, written: Sequence[Written], asked: PlanRequest) -> Plan:
    """The plan for the documents; nothing is written.

    Raises:
        InputError: there is neither a Workspace nor a ConfigMap among them.
        ApiError: the cluster knows no Workspaces, or is in trouble.
    """
    placed = [replace(one, key=one.key.within(client.namespace)) for one in written]
    skipped = [one for one in placed if not one.fault and one.kind not in _KINDS]
    meant = [one for one in placed if one.fault or one.kind in _KINDS]
    if not meant:
        others = sorted({one.kind for one in skipped if one.kind})
        beside = f", but {', '.join(others[:3])}" if others else ""
        hint: str | Advice = "a Workspace has kind: Workspace"
        if api.MULTI_ROLE_INFERENCE.kind in others:
            write = " judges a MultiRoleInference, " + Command("kubectl apply -f FILE") + " applies it"
            hint = Command("kaitoctl validate -f FILE") + write
        files = ", ".join(dict.fromkeys(one.source.rpartition(": document ")[0] for one in skipped))
        what = "there is no Workspace, no InferenceSet and no ConfigMap in it"
        raise InputError(f"{files}: {what}{beside}", hint=hint)
    for one in skipped:
        what = f"{one.kind} {one.key.name}".strip()
        if why := _why_unknown(one):
            output.warning(f"{one.source}: {what} is skipped: {why}")
        else:
            output.step(f"{one.source}: {what} is skipped")
    meant.sort(key=lambda one: _KINDS.index(one.kind) if one.kind in _KINDS else 0)
    world = await plan_world.observe_world(
        client,
        is_sandbox=asked.is_sandbox,
        managed=asked.managed,
        known=asked.catalog,
        namespaces=[one.key.namespace for one in meant],
    )
    config_maps = {one.key: one.obj for one in meant if one.kind == "ConfigMap" and not one.fault}
    planned = {one.key for one in meant if one.kind == "Workspace"}
    judge = _Judge(client, world, asked, config_maps, planned)
    keys = [(one.kind, one.key) for one in meant]

    async def judged(number: int) -> Trial | Change:
        one = meant[number]
        if not one.fault and keys.index(keys[number]) != number:
            first = meant[keys.index(keys[number])]
            return _refusal(one, f"{one.kind} {one.key} is given twice: it is also in {first.source}")
        return await judge.judged(one)

    found = await together(partial(judged, number) for number in range(len(meant)))
    changes = await plan_effects.changes_of(client, world, found)
    return Plan(world.manager, tuple(changes), tuple(f"{one.kind} {one.key.name}" for one in skipped))


def _why_unknown(one: Written) -> str:
    """Why a kind of KAITO's API group is none that is known, as `validate` says it; empty for any other."""
    if not str(one.obj.get("apiVersion")).startswith(f"{api.GROUP}/"):
        return ""
    from kaitoctl.screens.validation_report import why_not_judged

    return "" if one.kind == api.MULTI_ROLE_INFERENCE.kind else why_not_judged(one.obj)


def _refusal(one: Written, *problems: str, warnings: Sequence[str] = ()) -> Change:
    return Change(one.kind, one.key, one.source, "refused", problems=problems, warnings=tuple(warnings))


# --- judge -------------------------------------------------------------------------------------------------


class _Judge:
    """Judges one document after another, offline first."""

    def __init__(
        self,
        client: Client,
        world: World,
        asked: PlanRequest,
        config_maps: Mapping[ObjectKey, Object],
        planned: Collection[ObjectKey],
    ) -> None:
        self._client, self._world, self._asked = client, world, asked
        self._config_maps, self._planned = config_maps, planned
        self._users: dict[ObjectKey, list[Object]] = {}
        for user in world.stores.workspaces.values() if config_maps else ():
            for key in config_maps_named(user):
                self._users.setdefault(key, []).append(user)
        self._named: dict[tuple[Kind, ObjectKey], asyncio.Future[tuple[Object | None, bool]]] = {}

    async def judged(self, one: Written) -> Trial | Change:
        """The document as the server would take it, or why it is refused."""
        if one.fault:
            return _refusal(one, one.fault)
        if not one.key.name:
            is_made_up = dig(one.obj, "metadata", "generateName")
            hint = ": what is applied has a name, and no generateName" if is_made_up else ""
            return _refusal(one, f"metadata.name is missing{hint}")
        namespace = {"namespace": one.key.namespace}
        body = {**one.obj, "metadata": {**one.obj["metadata"], **namespace}}
        problems, warnings = self._offline(one, body, None, self._world.setting)
        kind = self._kind(one)
        if kind is None:
            return _refusal(one, *problems or ("apiVersion is missing or unknown",))
        try:
            setting = await self._with_config_maps(body)
            if setting is not self._world.setting:
                problems, warnings = self._offline(one, body, None, setting)
            before = await self._present(kind, one.key)
            if before is not None:
                before = with_type(kind, before)
                if is_being_deleted(before):
                    return _refusal(one, "it is being deleted: wait until it is gone, and apply again")
                problems, warnings = self._offline(one, body, before, setting)
            immutable = self._immutable_only(one, body, before, setting) if problems else ()
            if immutable and before is not None:
                if not await self._goes_back(kind, body, before):
                    settings = replace(self._world.settings, context=context_asked(body, setting))
                    world = replace(self._world, settings=settings)
                    return plan_effects.recreation(world, one.source, before, body, immutable)
                problems = ()
            if problems:
                return _refusal(one, *problems, warnings=warnings)
            after = await self._tried(kind, body)
            if kind is CONFIG_MAP:
                problems, more = await self._of_its_users(one.key, before, after)
            else:
                problems, more = await self._references(body, before)
        except ApiError as error:
            return _refusal(one, *problems, _words(error, one, kind, self._asked.flags), warnings=warnings)
        if problems:
            return _refusal(one, *problems, warnings=warnings)
        after = with_type(kind, after)
        fields = () if before is None else between(planning.as_just_seen(before, after, body), after)
        shown = tuple((item.path, item.observed, item.desired) for item in fields)
        return Trial(one.source, one.kind, body, before, after, shown, (*warnings, *more))

    async def _present(self, kind: Kind, key: ObjectKey) -> Object | None:
        """The object as it is; a Workspace as it has just been listed, if in the version that is written."""
        if kind.plural == api.WORKSPACE.plural and self._world.sees_workspaces:
            listed = self._world.stores.workspaces.get(key)
            if listed is None or listed["apiVersion"] == kind.api_version:
                return listed
        return await present(self._client, request.get(kind, *key))

    @staticmethod
    def _immutable_only(
        one: Written, body: Object, before: Object | None, setting: Setting
    ) -> tuple[str, ...]:
        if one.kind != "Workspace" or before is None:
            return ()
        return planning.immutable_only(body, setting, before)

    async def _goes_back(self, kind: Kind, body: Object, before: Object) -> bool:
        """Whether kaitoctl's controller has refused what the Workspace is, and it becomes what runs."""
        own = self._world.stores.revisions.by_owner(uid_of(before))
        newest = max(own, key=revisions.number_of, default=None)
        if not self._world.is_own or newest is None or revisions.has_same_data(newest, before):
            return False
        return revisions.has_same_data(newest, await self._tried(kind, body))

    async def _tried(self, kind: Kind, body: Object) -> Object:
        return await tried(self._client, kind, body, force=self._asked.force)

    def _kind(self, one: Written) -> Kind | None:
        if one.kind == "ConfigMap":
            return CONFIG_MAP
        version = str(one.obj.get("apiVersion"))
        if one.kind == api.INFERENCE_SET.kind:
            known = kinds.VERSIONS[one.kind]
            return kinds.kind_of(one.obj) if version.rpartition("/")[2] in known else None
        return api.kind_of(one.obj) if version in (f"{api.GROUP}/{name}" for name in api.VERSIONS) else None

    async def _with_config_maps(self, body: Object) -> Setting:
        """The setting, with the ConfigMaps that the document names: of the plan, or of the cluster."""
        look_up = partial(self._look_up, CONFIG_MAP)
        return await with_config_maps(self._world.setting, body, look_up, self._config_maps)

    def _offline(
        self, one: Written, body: Object, before: Object | None, setting: Setting
    ) -> tuple[Sequence[str], Sequence[str]]:
        if one.kind == api.INFERENCE_SET.kind:
            return planning.set_problems(body, setting, before)
        if one.kind == "ConfigMap":
            return planning.config_map_problems(body), ()
        if one.kind != "Workspace":
            return (), ()
        return planning.problems(body, setting, before)

    async def _of_its_users(
        self, key: ObjectKey, before: Object | None, after: Object
    ) -> tuple[list[str], list[str]]:
        """What a changed ConfigMap would break of the Workspaces that name it, and who reads it later."""
        problems: list[str] = []
        warnings: list[str] = []
        if before is not None and before.get("data") == after.get("data"):
            return problems, warnings
        look_up = partial(self._look_up, CONFIG_MAP)
        others = {name: one for name, one in self._config_maps.items() if name != key}
        for user in self._users.get(key, ()):
            whose = f"Workspace {key_of(user)}"
            if before is not None:
                warnings.append(f"the pods of {whose} keep the values from before until they restart")
            if key_of(user) in self._planned:
                continue  # judged by itself, with the ConfigMap
            said: list[Sequence[str]] = []
            for beside in (before, after):
                maps = others if beside is None else {**others, key: beside}
                setting = await with_config_maps(self._world.setting, user, look_up, maps)
                said.append(planning.problems(user, setting, None)[0])
            problems += [f"{whose} names it: {words}" for words in said[1] if words not in said[0]]
        return problems, warnings

    async def _references(self, body: Object, before: Object | None) -> tuple[list[str], list[str]]:
        missing = await missing_references(body, self._look_up, self._config_maps, before=before)
        return lines_of(missing, self._asked.flags)

    async def _look_up(self, kind: Kind, key: ObjectKey) -> tuple[Object | None, bool]:
        """As `looked_up`, asked for once."""
        if (kind, key) not in self._named:
            self._named[kind, key] = asyncio.ensure_future(looked_up(self._client, kind, key))
        return await asyncio.shield(self._named[kind, key])


def _words(error: ApiError, one: Written, kind: Kind, flags: ClusterFlags) -> str:
    """The server's refusal, with what helps.

    Raises:
        ApiError: it is not about this document.
    """
    what = refusal_hints.refusal_kind(error)
    if error.status in _NOT_ABOUT_THE_DOCUMENT and what in ("unwell", "busy", "not-the-server", ""):
        raise error
    if error.status == 401:
        raise explain_refusal(error) from error
    if error.is_unknown_resource:  # the CRD is there: its Workspaces have been listed
        return f"the cluster does not serve {one.obj.get('apiVersion')}"
    found = explain_refusal(error, namespace=one.key.namespace, rights=rights_to_apply(kind))
    hint = "--force-conflicts takes the fields over" if what == "field-owner" else found.hint
    return found.message + (f" ({text(hint, flags)})" if hint else "")
