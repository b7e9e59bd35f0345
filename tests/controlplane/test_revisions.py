"""Revisions on a real API server, which compares their data byte by byte."""

from __future__ import annotations

import asyncio

from builders import workspace
from controlplane.plane import ControlPlane

from kaitoctl.kaito import revisions
from kaitoctl.kube import request
from kaitoctl.kube.client import connect
from kaitoctl.kube.objects import CONTROLLER_REVISION, key_of


def test_a_revision_can_be_renumbered_whatever_is_in_it(control_plane: ControlPlane) -> None:
    container = {
        "name": "c",
        "image": "r.example/c:1",
        "command": ["sh", "-c", "a <b >c && é \u2028 'x' \"y\""],
    }
    obj = {**workspace(), "inference": {"template": {"spec": {"containers": [container]}}}}
    made = revisions.revision(obj, 1)
    del made["metadata"]["ownerReferences"]  # nobody collects what has no owner

    async def renumbered() -> None:
        async with connect(kubeconfig=control_plane.kubeconfig) as client:
            await client.send(request.create(CONTROLLER_REVISION, made))
            patch = {"revision": 2, "metadata": {"annotations": {revisions.CHANGE_CAUSE: "again"}}}
            asked = request.merge_patch(CONTROLLER_REVISION, *key_of(made), patch, manager="test")
            after = await client.send(asked)
            await client.send(request.delete(CONTROLLER_REVISION, *key_of(made)))
            assert (after["revision"], after["data"]) == (2, made["data"])

    asyncio.run(renumbered())
