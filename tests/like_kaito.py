"""A controller of InferenceSets that does what KAITO's does, for tests beside it."""

from __future__ import annotations

import asyncio
import secrets

from kaitoctl.errors import ApiError
from kaitoctl.kaito import api as kaito
from kaitoctl.kaito.fleet import replicas
from kaitoctl.kube import conditions, request
from kaitoctl.kube.client import Client
from kaitoctl.kube.objects import Object, generation_of, is_being_deleted, key_of, uid_of

SET, WORKSPACE = kaito.INFERENCE_SET, kaito.WORKSPACE_V1BETA1


def is_ready(workspace: Object) -> bool:
    return conditions.is_true(workspace, kaito.WORKSPACE_SUCCEEDED, generation=generation_of(workspace))


class LikeKaito:
    """It creates and deletes Workspaces, and changes none.

    Too many go at once, those that are not ready first; a ready one only while enough others are.
    Source: KAITO v0.12.0, `pkg/inferenceset/inferenceset_controller.go`.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def run(self) -> None:
        while True:
            await asyncio.sleep(0.05)
            for found in (await self._client.list(SET, "default")).items:
                await self._work_on({"apiVersion": SET.api_version, "kind": SET.kind, **found})

    async def _work_on(self, one: Object) -> None:
        name, wanted = key_of(one).name, replicas.wanted_replicas(one)
        selector = f"{kaito.LABEL_CREATED_BY_SET}={name}"
        there = (await self._client.list(WORKSPACE, "default", label_selector=selector)).items
        for _ in range(wanted - len(there)):
            made = replicas.workspace_of(one, f"{name}-{secrets.token_hex(3)}")
            await self._client.send(request.create(WORKSPACE, made))
        ready = sum(map(is_ready, there))
        for surplus in sorted(there, key=is_ready)[: max(0, len(there) - wanted)]:
            if is_being_deleted(surplus) or (is_ready(surplus) and ready <= wanted):
                continue
            ready -= is_ready(surplus)
            try:
                await self._client.send(request.delete(WORKSPACE, *key_of(surplus), uid=uid_of(surplus)))
            except ApiError as error:
                if error.status not in (404, 409):
                    raise
