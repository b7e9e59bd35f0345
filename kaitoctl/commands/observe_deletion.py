"""What the deletion of a Workspace depends on: budgets, webhooks, its namespace, the kinds of its claims."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec.structs import replace

from kaitoctl.errors import ApiError
from kaitoctl.kaito import api
from kaitoctl.kaito.snapshot import Snapshot
from kaitoctl.kube import request, webhooks
from kaitoctl.kube.client import Client, serves
from kaitoctl.kube.conditions import is_true
from kaitoctl.kube.objects import NAMESPACE, NODE_CLAIM, POD, Kind, Object, dig, is_being_deleted

POD_DISRUPTION_BUDGET = Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")

_MOST_NODES = 4  # the first few explain the others

Answer = Callable[[str, Any], Awaitable[Any]]


async def observe_deletion(
    client: Client, seen: Snapshot, answer: Answer, unseen: dict[str, str]
) -> dict[str, Any]:
    """What only the deletion of a Workspace depends on, as fields of a snapshot.

    Args:
        client: the cluster.
        seen: the Workspace that is being deleted, and its claims.
        answer: what a request brings; None where it is refused.
        unseen: takes what could not be looked at, and why.
    """
    workspace = seen.workspace
    assert workspace is not None
    namespace = str(workspace["metadata"].get("namespace") or "default")
    kinds, drained, budgets, space, *hooks = await asyncio.gather(
        _claim_kinds(client, unseen),
        _pods_on(client, _drained_nodes(seen), answer),
        answer("poddisruptionbudgets", client.list(POD_DISRUPTION_BUDGET, namespace)),
        answer("namespaces", client.send(request.get(NAMESPACE, "", namespace))),
        *(answer(kind.plural, client.list(kind)) for kind in (webhooks.VALIDATING, webhooks.MUTATING)),
    )
    configurations = [item for listed in hooks if listed for item in listed.items]
    asked = webhooks.covering(configurations, [api.kind_of(workspace)])
    return {
        "claim_kinds": kinds,
        "drained": drained,
        "budgets": tuple(budgets.items) if budgets else (),
        "space": space,
        "webhooks": tuple(dict.fromkeys(hook.configuration for hook in asked)),
    }


def _drained_nodes(seen: Snapshot) -> list[str]:
    """Nodes of claims that are being deleted and are not empty yet, as far as they are there."""
    going = [claim for claim in seen.claims if is_being_deleted(claim) and not is_true(claim, "Drained")]
    names = [str(dig(claim, "status", "nodeName") or "") for claim in going]
    return [name for name in names if seen.node(name) is not None][:_MOST_NODES]


async def _pods_on(client: Client, nodes: list[str], answer: Answer) -> tuple[Object, ...]:
    asking = (client.list(POD, field_selector=f"spec.nodeName={name}") for name in nodes)
    lists = await asyncio.gather(*(answer("pods of nodes that go", one) for one in asking))
    return tuple(pod for listed in lists if listed for pod in listed.items)


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
