"""The InferenceSets and MultiRoleInferences of a cluster as they are stored; most clusters have none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kaitoctl.errors import ApiError
from kaitoctl.kaito import api
from kaitoctl.kube.client import serves
from kaitoctl.kube.objects import key_of, with_type

if TYPE_CHECKING:
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Kind, Object

SETS = (api.INFERENCE_SET, api.INFERENCE_SET_V1ALPHA1)
ROLES = (api.MULTI_ROLE_INFERENCE,)


async def listed(
    client: Client,
    kinds: tuple[Kind, ...],
    namespace: str,
    unseen: dict[str, str] | None = None,
    *,
    labels: str = "",
) -> list[Object]:
    """All objects of the first of these kinds that the cluster serves, by key.

    Args:
        client: the cluster.
        kinds: `SETS` or `ROLES`.
        namespace: empty for all.
        unseen: takes why they may not be listed, by the kind's plural; then there are none here.
        labels: a label selector; empty for all.
    """
    for kind in kinds:
        try:
            items = (await client.list(kind, namespace, label_selector=labels)).items
        except ApiError as error:
            if error.status not in (403, 404):
                raise
            if error.is_unknown_resource or (error.status == 403 and not await is_served(client, kind)):
                continue
            if error.status == 403 and unseen is not None:
                unseen[kind.plural] = str(error)
            return []
        return sorted((with_type(kind, one) for one in items), key=key_of)
    return []


async def is_served(client: Client, kind: Kind) -> bool:
    """Whether there is such a kind: rights are judged before an API server looks what it serves."""
    try:
        return await serves(client, kind)
    except ApiError:
        return True
