"""`kaitoctl get -o yaml`: Workspaces and sets as the cluster has stored them, as kubectl prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kaitoctl.commands import invocation
from kaitoctl.commands.cluster import connected, explain_refusal, no_such, served_versions
from kaitoctl.commands.listed_sets import ROLES, SETS, listed
from kaitoctl.commands.name_lookup import each, no_such_set, say_missing
from kaitoctl.errors import ApiError
from kaitoctl.kaito import api
from kaitoctl.kube import request
from kaitoctl.kube.objects import ObjectKey, key_of, with_type, without_managed_fields
from kaitoctl.screens import output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kaitoctl.commands.option_values import Named, Which
    from kaitoctl.commands.target import Target
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Kind, Object

_SETS = {"": (*SETS, *ROLES), "inferenceset": SETS, "multiroleinference": ROLES, "workspace": ()}


async def show(target: Target, which: Which, asked: Sequence[Named], output_format: str) -> None:
    """Print one object, or a List of those that are named or chosen.

    Raises:
        ApiError: the cluster refuses, or has nothing of a name; the others are printed all the same.
    """
    missing: list[ApiError] = []
    async with connected(target) as client:
        if asked:
            named, missing = await each(asked, lambda one: _named(client, one))
            found = [obj for _, obj in named]
        else:
            found = await _all(client, "" if which.everywhere else client.namespace, which.labels)
    found = [without_managed_fields(obj) for obj in found]
    if len(asked) == 1 and found:
        output.write_structured(found[0], output_format)
    elif len(asked) != 1:
        items = invocation.sort_for_output(found, lambda obj: obj)
        output.write_structured({"apiVersion": "v1", "kind": "List", "items": items}, output_format)
    say_missing(missing)


async def _named(client: Client, asked: Named) -> Object:
    """The Workspace of a name, or else the set, in the newest version that is served, as kubectl has it.

    Raises:
        ApiError: there is none, or the cluster refuses to show it.
    """
    key = ObjectKey(client.namespace, asked.name)
    workspaces = await _workspaces(client)
    is_workspace = asked.kind in ("", "workspace")
    for kind in (*((workspaces,) if is_workspace else ()), *_SETS[asked.kind]):
        try:
            return with_type(kind, await client.send(request.get(kind, *key)))
        except ApiError as error:
            if error.status != 404:
                raise explain_refusal(error, namespace=key.namespace, rights=_rights(kind)) from error
    raise await (no_such(client, workspaces, key) if is_workspace else no_such_set(client, key))


async def _all(client: Client, namespace: str, labels: str) -> list[Object]:
    kind = await _workspaces(client)
    try:
        found = (await client.list(kind, namespace, label_selector=labels)).items
    except ApiError as error:
        raise explain_refusal(error, namespace=namespace, rights=_rights(kind)) from error
    workspaces = sorted((with_type(kind, obj) for obj in found), key=key_of)
    unseen: dict[str, str] = {}
    sets = [
        obj
        for kinds in (SETS, ROLES)
        for obj in await listed(client, kinds, namespace, unseen, labels=labels)
    ]
    for plural, why in unseen.items():
        output.warning(f"{plural} cannot be listed, so they are not here: {why}")
    return [*workspaces, *sets]


async def _workspaces(client: Client) -> Kind:
    return api.newest(await served_versions(client)) or api.WORKSPACE


def _rights(kind: Kind) -> str:
    return f"you need get and list on {kind.plural}.{kind.group}"
