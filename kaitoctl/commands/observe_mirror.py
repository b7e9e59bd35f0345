"""The ModelMirror that a Workspace waits for, with its claim, its Job and that one's pods."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from kaitoctl.kaito import api, model_mirrors
from kaitoctl.kaito.snapshot import Snapshot
from kaitoctl.kube import request
from kaitoctl.kube.client import Client
from kaitoctl.kube.objects import (
    EVENT,
    JOB,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    Object,
    creation_time_of,
    dig,
    with_type,
)

Answer = Callable[[str, Any], Awaitable[Any]]
"""Asks a question by its name; None where there is no answer."""


async def observe_mirror(client: Client, seen: Snapshot, answer: Answer) -> dict[str, tuple[Object, ...]]:
    """Fields of a `Snapshot`: the mirror and what belongs to it, and the events of a claim without volume."""
    assert seen.workspace is not None
    listed = await answer("modelmirrors", client.list(api.MODEL_MIRROR))
    mirror = model_mirrors.of_workspace(seen.workspace, listed.items if listed else (), seen.catalog)
    if mirror is None:
        return {}
    found = [with_type(api.MODEL_MIRROR, mirror)]
    name, namespace = str(mirror["metadata"]["name"]), str(dig(mirror, "spec", "jobNamespace") or "")
    if not namespace:
        return {"mirror": tuple(found)}
    claim, jobs = await asyncio.gather(
        answer(
            "persistentvolumeclaims",
            client.send(request.get(PERSISTENT_VOLUME_CLAIM, namespace, name)),
        ),
        answer("jobs", client.list(JOB, namespace, label_selector=f"{model_mirrors.LABEL}={name}")),
    )
    events: tuple[Object, ...] = ()
    if claim:
        found.append(with_type(PERSISTENT_VOLUME_CLAIM, claim))
        if dig(claim, "status", "phase") != "Bound":
            fields = f"involvedObject.kind={PERSISTENT_VOLUME_CLAIM.kind},involvedObject.name={name}"
            told = await answer("events", client.list(EVENT, namespace, field_selector=fields))
            events = tuple(told.items) if told else ()
    if jobs and jobs.items:
        job = max(jobs.items, key=creation_time_of)
        found.append(with_type(JOB, job))
        selector = f"job-name={job['metadata']['name']}"
        pods = await answer("pods", client.list(POD, namespace, label_selector=selector))
        found += [with_type(POD, pod) for pod in (pods.items if pods else ())]
    return {"mirror": tuple(found), "events": events}
