"""What a name on the command line stands for: a Workspace, or else the InferenceSet of that name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from kaitoctl.advice import Command
from kaitoctl.commands.listed_sets import listed_sets
from kaitoctl.commands.option_values import Named
from kaitoctl.errors import ApiError
from kaitoctl.kaito import catalog
from kaitoctl.kube.objects import ObjectKey
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.kaito.fleet.view import Fleet
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object

Found = TypeVar("Found")


async def workspace_or_fleet(
    client: Client, asked: Named, read: Callable[[Client, ObjectKey], Awaitable[Found]]
) -> Found | Fleet:
    """What `read` finds of the Workspace of a name; or else the set of that name.

    Raises:
        ApiError: there is neither.
    """
    key = ObjectKey(client.namespace, asked.name)
    if asked.kind == "inferenceset":
        return await fleet_named(client, key)
    try:
        return await read(client, key)
    except ApiError as error:
        if error.status != 404 or asked.kind:
            raise
        fleet = await _fleet_at(client, key)
        if fleet is None:
            raise
        return fleet


async def each(
    names: Sequence[Named], find: Callable[[Named], Awaitable[Found]]
) -> tuple[list[tuple[Named, Found]], list[ApiError]]:
    """What is found of each name, and why there is nothing of the others; `say_missing` ends with those.

    Raises:
        ApiError: whatever else than that there is none.
    """
    found: list[tuple[Named, Found]] = []
    missing: list[ApiError] = []
    for asked in names:
        try:
            found.append((asked, await find(asked)))
        except ApiError as error:
            if error.status != 404:
                raise
            missing.append(error)
    return found, missing


def say_missing(missing: Sequence[ApiError]) -> None:
    """Say which names stand for nothing.

    Raises:
        ApiError: there is such a name.
    """
    for error in missing[:-1]:
        output.failure(error.message)
    if missing:
        raise missing[-1]


async def fleet_named(client: Client, key: ObjectKey) -> Fleet:
    """The set of a name.

    Raises:
        ApiError: there is none; the hint names one of a similar name.
    """
    fleet = await _fleet_at(client, key)
    if fleet is None:
        raise await no_such_set(client, key)
    return fleet


async def _fleet_at(client: Client, key: ObjectKey) -> Fleet | None:
    from kaitoctl.commands.observe_fleet import fleet_at  # most names are those of Workspaces

    return await fleet_at(client, key)


async def no_such_set(client: Client, key: ObjectKey) -> ApiError:
    """The error for a name that no InferenceSet has, with the nearest one that exists."""
    there = [str(one["metadata"]["name"]) for one in await listed_sets(client, key.namespace)]
    near = catalog.close_matches(key.name, there)
    listing = Command("kaitoctl status -n", key.namespace) + " lists what there is"
    hint = f"did you mean {near[0]}?" if near else listing
    details: Object = {"name": key.name}
    return ApiError(404, "NotFound", f"there is no InferenceSet {key}", details=details, hint=hint)
