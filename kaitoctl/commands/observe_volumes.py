"""Where the volumes of pods can be that wait for a node: what the scheduler compares, and does not name."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from kaitoctl.commands.observation import MOST_NODES
from kaitoctl.errors import ApiError
from kaitoctl.kaito.diagnosis.of_places import (
    CSI_NODE,
    PERSISTENT_VOLUME,
    STORAGE_CLASS,
    VOLUME_ATTACHMENT,
    nodes_named,
)
from kaitoctl.kaito.snapshot import Snapshot
from kaitoctl.kube import request
from kaitoctl.kube.client import Client
from kaitoctl.kube.conditions import find
from kaitoctl.kube.objects import NODE, Kind, Object, dig, with_type

Answer = Callable[[str, Any], Awaitable[Any]]


async def observe_volumes(
    client: Client, seen: Snapshot, pods: Sequence[Object], claims: Iterable[Object], answer: Answer
) -> dict[str, Any]:
    """The volumes or classes of the claims, and the nodes with GPUs, as fields of a snapshot.

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

    judged = seen.verdict.nodes if seen.verdict is not None else ()
    names = [node.name for node in judged if node.exists and node.gpus.capacity][:MOST_NODES]
    volumes = [one for one in stored if one["kind"] == PERSISTENT_VOLUME.kind]
    others = sorted({name for volume in volumes for name in nodes_named(volume)} - set(names))[:MOST_NODES]
    gone = set(seen.gone)

    async def node(name: str) -> Object | None:
        try:
            return with_type(NODE, await client.send(request.get(NODE, "", name)))
        except ApiError as error:
            if error.status == 404:
                gone.add(name)
            return None

    nodes = [one for one in await asyncio.gather(*map(node, [*names, *others])) if one]
    words = " ".join(str((find(pod, "PodScheduled") or {}).get("message")) for pod in pods)
    if "max volume count" in words:
        limits = await asyncio.gather(*(got(CSI_NODE, name) for name in names))
        listed = await answer(VOLUME_ATTACHMENT.plural, client.list(VOLUME_ATTACHMENT))
        stored += [one for one in limits if one]
        stored += [with_type(VOLUME_ATTACHMENT, one) for one in (listed.items if listed else ())]
    return {"storage": (*stored, *nodes), "gone": frozenset(gone)}
