"""Where the volumes of pods can be that wait for a node: what the scheduler compares, and does not name."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from kaitoctl.kaito.diagnosis.of_places import (
    CSI_NODE,
    PERSISTENT_VOLUME,
    STORAGE_CLASS,
    VOLUME_ATTACHMENT,
    labels_compared,
)
from kaitoctl.kaito.snapshot import Snapshot
from kaitoctl.kube import partial_decoding, request
from kaitoctl.kube.client import Client
from kaitoctl.kube.conditions import find
from kaitoctl.kube.objects import NODE, Kind, Object, dig, with_type

Answer = Callable[[str, Any], Awaitable[Any]]


async def observe_volumes(
    client: Client, seen: Snapshot, pods: Sequence[Object], claims: Iterable[Object], answer: Answer
) -> dict[str, Any]:
    """The volumes or classes of the claims, and all nodes, as fields of a snapshot.

    Args:
        client: the cluster.
        seen: the Workspace, with the verdict on its nodes.
        pods: those that wait.
        claims: that exist, bound or not.
        answer: what a request brings; None where it is refused.
    """

    async def got(kind: Kind, name: object) -> Object | None:
        found = await answer(kind.plural, client.send(request.get(kind, "", str(name))))
        return with_type(kind, found) if found else None

    bound = {name for claim in claims if (name := dig(claim, "spec", "volumeName"))}
    classes = {
        name
        for claim in claims
        if not dig(claim, "spec", "volumeName") and (name := dig(claim, "spec", "storageClassName"))
    }
    asking = [(PERSISTENT_VOLUME, name) for name in sorted(bound)]
    asking += [(STORAGE_CLASS, name) for name in sorted(classes)]
    stored = [one for one in await asyncio.gather(*(got(*one) for one in asking)) if one]

    found: dict[str, Any] = {}
    if keys := labels_compared(stored):
        # All of them, once: a node is known by its labels, and one that is not listed is not there.
        decode = partial_decoding.node_list(sorted(keys))
        nodes = await answer(NODE.plural, client.list(NODE, decode=decode))
        found["all_nodes"] = tuple(nodes.items) if nodes else None
    words = " ".join(str((find(pod, "PodScheduled") or {}).get("message")) for pod in pods)
    judged = seen.verdict.nodes if seen.verdict is not None else ()
    names = {node.name for node in judged if node.exists and node.gpus.capacity}
    if "max volume count" in words and names:
        lists = await asyncio.gather(
            answer(CSI_NODE.plural, client.list(CSI_NODE, keep=lambda one: one["metadata"]["name"] in names)),
            answer(VOLUME_ATTACHMENT.plural, client.list(VOLUME_ATTACHMENT)),
        )
        for kind, listed in zip((CSI_NODE, VOLUME_ATTACHMENT), lists, strict=True):
            stored += [with_type(kind, one) for one in (listed.items if listed else ())]
    return {**found, "storage": tuple(stored)}
