"""What a name on the command line stands for: a Workspace, or else the InferenceSet of that name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from kaitoctl.advice import Command
from kaitoctl.commands.cluster import OF_ROLES
from kaitoctl.commands.listed_sets import SETS, listed
from kaitoctl.commands.option_values import Named
from kaitoctl.errors import ApiError
from kaitoctl.kaito import api, catalog
from kaitoctl.kube import request
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
    if asked.kind == "multiroleinference":
        raise await roles_at(client, key) or ApiError(404, "NotFound", f"MultiRoleInference {key} not found")
    try:
        return await read(client, key)
    except ApiError as error:
        if error.status != 404 or asked.kind:
            raise
        fleet = await set_at(client, key)
        if fleet is None:
            raise await roles_at(client, key) or error from error
        return fleet


def title_of(asked: Named, key: ObjectKey) -> str:
    """What is asked for and not there, in words: a Workspace where nothing else is said."""
    return f"{'InferenceSet' if asked.kind == 'inferenceset' else 'Workspace'} {key}"


class OfRoles(ApiError):
    """A name is that of a MultiRoleInference, which serves by two sets.

    Args:
        key: of the MultiRoleInference.
    """

    def __init__(self, key: ObjectKey) -> None:
        self.sets = [Named("inferenceset", f"{key.name}-{role}") for role in api.INFERENCE_ROLES]
        names = " and ".join(one.name for one in self.sets)
        words = f"{key} is a MultiRoleInference: its InferenceSets are {names}"
        show = Command("kaitoctl status", key.name, "-n", key.namespace)
        hint = f"name one of them, such as {self.sets[0]}; " + show + " shows both"
        super().__init__(404, OF_ROLES, words, details={"name": key.name}, hint=hint)


async def roles_at(client: Client, key: ObjectKey) -> OfRoles | None:
    """The error for who names a MultiRoleInference and means something else; None where none is seen."""
    try:
        await client.send(request.get(api.MULTI_ROLE_INFERENCE, *key))
    except ApiError as error:
        if error.status not in (401, 403, 404):
            raise
        return None
    return OfRoles(key)


async def each(
    names: Sequence[Named], find: Callable[[Named], Awaitable[Found]]
) -> tuple[list[tuple[Named, Found]], list[ApiError]]:
    """What is found of each name, and why there is nothing of the others; `say_missing` ends with those.

    A MultiRoleInference stands for its two sets.

    Raises:
        ApiError: whatever else than that there is none.
    """
    found: list[tuple[Named, Found]] = []
    missing: list[ApiError] = []
    waiting = list(names)
    while waiting:
        asked = waiting.pop(0)
        try:
            found.append((asked, await find(asked)))
        except OfRoles as roles:
            waiting[:0] = roles.sets
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
    fleet = await set_at(client, key)
    if fleet is None:
        raise await no_such_set(client, key)
    return fleet


async def set_at(client: Client, key: ObjectKey) -> Fleet | None:
    """The set of a name; None when there is none."""
    from kaitoctl.commands.observe_fleet import fleet_at  # most names are those of Workspaces

    return await fleet_at(client, key)


async def no_such_set(client: Client, key: ObjectKey) -> ApiError:
    """The error for a name that no InferenceSet has, with the nearest one that exists."""
    there = [str(one["metadata"]["name"]) for one in await listed(client, SETS, key.namespace)]
    near = catalog.close_matches(key.name, there)
    listing = Command("kaitoctl status -n", key.namespace) + " lists what there is"
    hint = f"did you mean {near[0]}?" if near else listing
    details: Object = {"name": key.name}
    return ApiError(404, "NotFound", f"InferenceSet {key} not found", details=details, hint=hint)
