"""The InferenceSets and MultiRoleInferences of a cluster as they are stored; most clusters have none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kaitoctl.errors import ApiError
from kaitoctl.kaito import api
from kaitoctl.kube.objects import key_of, with_type

if TYPE_CHECKING:
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object


async def listed_sets(client: Client, namespace: str) -> list[Object]:
    """All sets of a namespace (of all when empty), by key; none where they may not be seen."""
    for kind in (api.INFERENCE_SET, api.INFERENCE_SET_V1ALPHA1):
        try:
            items = (await client.list(kind, namespace)).items
        except ApiError as error:
            if error.status not in (403, 404):
                raise
            if error.is_unknown_resource:
                continue
            return []
        return sorted((with_type(kind, one) for one in items), key=key_of)
    return []


async def listed_roles(client: Client, namespace: str) -> list[Object]:
    """All MultiRoleInferences of a namespace (of all when empty), by key; none where they may not be seen."""
    kind = api.MULTI_ROLE_INFERENCE
    try:
        items = (await client.list(kind, namespace)).items
    except ApiError as error:
        if error.status not in (403, 404):
            raise
        return []
    return sorted((with_type(kind, one) for one in items), key=key_of)
