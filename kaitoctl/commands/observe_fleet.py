"""Sets as a cluster has them now: with their Workspaces and their revisions."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kaitoctl.commands.cluster import workspace_kind
from kaitoctl.commands.overview import failures_in, gaps_in, observe_overview
from kaitoctl.errors import ApiError
from kaitoctl.kaito import api
from kaitoctl.kaito.catalog import SHIPPED, Catalog
from kaitoctl.kaito.fleet import history
from kaitoctl.kaito.fleet.view import Fleet, fleet_of
from kaitoctl.kube import request
from kaitoctl.kube.objects import CONTROLLER_REVISION, key_of, with_type

if TYPE_CHECKING:
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object, ObjectKey

_KINDS = (api.INFERENCE_SET, api.INFERENCE_SET_V1ALPHA1)


async def fleet_at(client: Client, key: ObjectKey, *, catalog: Catalog = SHIPPED) -> Fleet | None:
    """The InferenceSet of a name; None when there is none, or the cluster serves none.

    Raises:
        ApiError: the cluster refuses to show it.
    """
    for kind in _KINDS:
        try:
            found = await client.send(request.get(kind, *key))
        except ApiError as error:
            if error.status != 404:
                raise
            if not error.is_unknown_resource:
                return None
        else:
            return await _with_workspaces(client, with_type(kind, found), catalog)
    return None


async def as_served(client: Client, fleet: Fleet) -> Fleet:
    """The same by what its replicas' pods and Services say."""
    return fleet.as_served(*await gaps_and_failures(client, fleet))


async def gaps_and_failures(client: Client, fleet: Fleet) -> tuple[dict[str, str], dict[str, str]]:
    """What the pods and Services of replicas say, by the replica's name, as `Fleet.as_served` takes it."""
    if not fleet.live:
        return {}, {}
    labels = f"{api.LABEL_CREATED_BY_SET}={fleet.key.name}"
    async with observe_overview(client, fleet.key.namespace, once=True, labels=labels) as seen:
        rows, _ = seen.rows()
    return gaps_in(rows), failures_in(rows)


async def _with_workspaces(client: Client, inference_set: Object, catalog: Catalog) -> Fleet:
    key = key_of(inference_set)
    kind = await workspace_kind(client)
    workspaces, revisions = await asyncio.gather(
        client.list(kind, key.namespace, label_selector=f"{api.LABEL_CREATED_BY_SET}={key.name}"),
        _revisions(client, key),
    )
    members = [with_type(kind, one) for one in workspaces.items]
    return fleet_of(inference_set, members, revisions, datetime.now(UTC), catalog=catalog)


async def _revisions(client: Client, key: ObjectKey) -> list[Object]:
    """The revisions of sets of this name; none where they may not be seen.

    They tell annotations of older templates, and nothing else of how a set is.
    """
    labels = f"{history.LABEL_NAME}={key.name}"
    try:
        return (await client.list(CONTROLLER_REVISION, key.namespace, label_selector=labels)).items
    except ApiError as error:
        if error.status != 403:
            raise
        return []
