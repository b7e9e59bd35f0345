"""What the deletion of a Workspace depends on: budgets, webhooks, its namespace, the kinds of its claims."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec.structs import replace

from kaitoctl.errors import ApiError
from kaitoctl.kaito import api
from kaitoctl.kube import request, webhooks
from kaitoctl.kube.client import Client, serves
from kaitoctl.kube.objects import NAMESPACE, NODE_CLAIM, Kind, Object

POD_DISRUPTION_BUDGET = Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")

Answer = Callable[[str, Any], Awaitable[Any]]


async def observe_deletion(
    client: Client, workspace: Object, answer: Answer, unseen: dict[str, str]
) -> dict[str, Any]:
    """What only the deletion of a Workspace depends on, as fields of a snapshot.

    Args:
        client: the cluster.
        workspace: that is being deleted.
        answer: what a request brings; None where it is refused.
        unseen: takes what could not be looked at, and why.
    """
    namespace = str(workspace["metadata"].get("namespace") or "default")
    kinds, budgets, space, *hooks = await asyncio.gather(
        _claim_kinds(client, unseen),
        answer("poddisruptionbudgets", client.list(POD_DISRUPTION_BUDGET, namespace)),
        answer("namespaces", client.send(request.get(NAMESPACE, "", namespace))),
        *(answer(kind.plural, client.list(kind)) for kind in (webhooks.VALIDATING, webhooks.MUTATING)),
    )
    configurations = [item for listed in hooks if listed for item in listed.items]
    asked = webhooks.covering(configurations, [api.kind_of(workspace)])
    return {
        "claim_kinds": kinds,
        "budgets": tuple(budgets.items) if budgets else (),
        "space": space,
        "webhooks": tuple(dict.fromkeys(hook.configuration for hook in asked)),
    }


async def _claim_kinds(client: Client, unseen: dict[str, str]) -> frozenset[str] | None:
    """The kinds of claims that the cluster has; None when it will not say."""
    found = set()
    for kind in (NODE_CLAIM, replace(NODE_CLAIM, version="v1beta1"), api.MACHINE):
        try:
            if await serves(client, kind):
                found.add(kind.kind)
        except ApiError as error:
            unseen["kinds of karpenter.sh"] = str(error)
            return None
    return frozenset(found)
