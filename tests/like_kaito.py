"""A controller of InferenceSets that does what KAITO's does, for tests beside it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import secrets

from kaitoctl.errors import ApiError
from kaitoctl.kaito import api as kaito
from kaitoctl.kaito import revisions
from kaitoctl.kaito.fleet import history, replicas
from kaitoctl.kube import conditions, request
from kaitoctl.kube.client import Client
from kaitoctl.kube.objects import (
    CONTROLLER_REVISION,
    Object,
    copy_of,
    dig,
    generation_of,
    is_being_deleted,
    key_of,
    labels_of,
    owner_reference,
    this_version,
    uid_of,
)

SET, WORKSPACE = kaito.INFERENCE_SET, kaito.WORKSPACE_V1BETA1
FINALIZER = "inferenceset.finalizer.kaito.sh"
_HISTORY = 10
_MANAGER = "workspace"


def is_ready(workspace: Object) -> bool:
    return conditions.is_true(workspace, kaito.WORKSPACE_SUCCEEDED, generation=generation_of(workspace))


class LikeKaito:
    """It creates and deletes Workspaces, and changes none but for labels; and it tells of it.

    Too many go at once, those that are not ready first; a ready one only while enough others are, and which
    nobody knows: its cache has no order. Revisions are of the whole spec, and one that there was already
    keeps its number.

    Source: KAITO v0.12.0, `pkg/inferenceset/inferenceset_controller.go`.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def run(self) -> None:
        while True:
            await asyncio.sleep(0.05)
            for found in (await self._client.list(SET, "default")).items:
                try:
                    await self._work_on({"apiVersion": SET.api_version, "kind": SET.kind, **found})
                except ApiError as error:  # somebody was faster: it looks again
                    if error.status not in (404, 409):
                        raise

    async def _work_on(self, one: Object) -> None:
        name, wanted = key_of(one).name, replicas.wanted_replicas(one)
        selector = f"{kaito.LABEL_CREATED_BY_SET}={name}"
        there = (await self._client.list(WORKSPACE, "default", label_selector=selector)).items
        finalizers = one["metadata"].get("finalizers") or []
        if is_being_deleted(one):
            for child in there:
                await self._delete(child)
            if FINALIZER in finalizers:
                await self._patch(
                    one, {"metadata": {"finalizers": [item for item in finalizers if item != FINALIZER]}}
                )
            return
        if FINALIZER not in finalizers:
            await self._patch(one, {"metadata": {"finalizers": [*finalizers, FINALIZER]}})
            return
        await self._record(one)
        for surplus in self._surplus(there, wanted):
            await self._delete(surplus)
        for _ in range(wanted - len(there)):
            made = replicas.workspace_of(one, f"{name}-{secrets.token_hex(3)}")
            await self._client.send(request.create(WORKSPACE, made))
        await self._label(one, there)
        await self._tell(one, sum(map(is_ready, there)), wanted)

    def _surplus(self, there: list[Object], wanted: int) -> list[Object]:
        live = [child for child in there if not is_being_deleted(child)]
        number = len(live) - wanted
        spare = sum(map(is_ready, live)) - wanted
        going: list[Object] = []
        for child in sorted(random.sample(live, len(live)), key=is_ready):
            if len(going) < number and not (is_ready(child) and spare <= 0):
                going.append(child)
                spare -= is_ready(child)
        return going

    async def _delete(self, child: Object) -> None:
        if not is_being_deleted(child):
            await self._client.send(request.delete(WORKSPACE, *key_of(child), uid=uid_of(child)))

    async def _label(self, one: Object, there: list[Object]) -> None:
        wanted = dig(one, "spec", "template", "metadata", "labels") or {}
        for child in there:
            if lacking := {key: value for key, value in wanted.items() if labels_of(child).get(key) != value}:
                patch = {"metadata": {"labels": lacking}}
                await self._client.send(
                    request.merge_patch(WORKSPACE, *key_of(child), patch, manager=_MANAGER)
                )

    async def _record(self, one: Object) -> None:
        digest = hashlib.sha256(json.dumps(one["spec"], sort_keys=True).encode()).hexdigest()
        if one["metadata"].get("annotations", {}).get(history.HASH) == digest:
            return
        name = f"{key_of(one).name}-{digest[:5]}"
        selector = f"{history.LABEL_NAME}={key_of(one).name}"
        past = revisions.sort_revisions(
            (await self._client.list(CONTROLLER_REVISION, "default", label_selector=selector)).items
        )
        same = [revision for revision in past if key_of(revision).name == name]
        number = revisions.number_of(same[0]) if same else 1 + max(map(revisions.number_of, past), default=0)
        if not same:
            await self._client.send(
                request.create(
                    CONTROLLER_REVISION,
                    {
                        "apiVersion": CONTROLLER_REVISION.api_version,
                        "kind": CONTROLLER_REVISION.kind,
                        "metadata": {
                            "name": name,
                            "namespace": "default",
                            "labels": {history.LABEL_NAME: key_of(one).name},
                            "annotations": {history.HASH: digest},
                            "ownerReferences": [owner_reference(one)],
                        },
                        "data": {"Spec": copy_of(one["spec"])},
                        "revision": number,
                    },
                )
            )
            if len(past) > _HISTORY:
                await self._client.send(request.delete(CONTROLLER_REVISION, *key_of(past[0])))
        notes = {history.HASH: digest, history.NUMBER: str(number)}
        await self._patch(one, {"metadata": {"annotations": notes}})

    async def _tell(self, one: Object, ready: int, wanted: int) -> None:
        is_all = ready == wanted
        told = {
            "type": "InferenceSetReady",
            "status": "True" if is_all else "False",
            "reason": "inferencesetReady" if is_all else "inferencesetNotReady",
            "message": "inferenceset is ready"
            if is_all
            else f"inferenceset is not ready, {ready}/{wanted} replicas are ready",
            "observedGeneration": generation_of(one),
            "lastTransitionTime": "2026-11-29T00:00:00Z",
        }
        found = dig(one, "status", "conditions") or ()
        others = [item for item in found if item["type"] != told["type"]]  # which it leaves as they are
        status = {
            "replicas": wanted,
            "readyReplicas": ready,
            "selector": f"{kaito.LABEL_CREATED_BY_SET}={key_of(one).name}",
            "conditions": [*others, told],
        }
        if {**(one.get("status") or {}), **status} != one.get("status"):
            await self._patch(one, {"status": status}, subresource="status")

    async def _patch(self, one: Object, patch: Object, subresource: str = "") -> None:
        if not subresource:  # somebody may have put a finalizer there meanwhile
            patch = {"metadata": {**patch["metadata"], **this_version(one)}}
        await self._client.send(
            request.merge_patch(SET, *key_of(one), patch, manager=_MANAGER, subresource=subresource)
        )
