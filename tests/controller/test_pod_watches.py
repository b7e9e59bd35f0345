"""Pods of Workspaces and pods that hold GPUs: each change comes once, and nobody's is missed."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from controller.test_burst import put
from virtual_time import run
from world import crds

from kaitoctl import workspace_controller
from kaitoctl.kaito import api as kaito
from kaitoctl.kube import request
from kaitoctl.kube.client import connect
from kaitoctl.kube.objects import CRD, NAMESPACE, POD, Object
from kaitoctl.reconcile import Informer
from kaitoctl.sandbox.server import ApiServer


def pod(name: str, namespace: str, *, labelled: bool, gpus: int = 2) -> Object:
    resources = {"limits": {"nvidia.com/gpu": str(gpus)}, "requests": {"nvidia.com/gpu": str(gpus)}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {kaito.LABEL_WORKSPACE: "ws"} if labelled else {"app": "x"},
        },
        "spec": {
            "nodeName": f"node-of-{name}",
            "containers": [{"name": "c", "image": "r.example/c:1", "resources": resources if gpus else {}}],
        },
    }


ALL = {"default/own", "default/other", "elsewhere/own", "elsewhere/other"}


@pytest.mark.parametrize(
    ("namespace", "told"),
    [("", dict.fromkeys(ALL, 1)), ("default", {**dict.fromkeys(ALL, 1), "default/own": 2})],
)
def test_each_change_of_a_pod_comes_by_one_watch(
    namespace: str, told: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    events: Counter[str] = Counter()
    apply_event = Informer._apply_event

    def counted(informer: Informer, event: Any) -> None:
        if informer.kind == POD and event.type == "MODIFIED":
            metadata = event.object["metadata"]
            events[f"{metadata['namespace']}/{metadata['name']}"] += 1
        apply_event(informer, event)

    monkeypatch.setattr(Informer, "_apply_event", counted)

    async def story(folder: Path) -> None:
        server = ApiServer()
        await server.start()
        for crd in crds():
            put(server.api, request.apply(CRD, crd, manager="test", force=True))
        put(server.api, request.create(NAMESPACE, {"metadata": {"name": "elsewhere"}}))
        (folder / "config").write_text(json.dumps(server.kubeconfig()))
        shown: list[workspace_controller.Running] = []
        async with connect(kubeconfig=folder / "config") as client:
            running = asyncio.create_task(
                workspace_controller.run(client, namespace=namespace, started=shown.append)
            )
            await asyncio.sleep(5)
            for name in sorted(ALL):
                where, _, what = name.partition("/")
                put(server.api, request.create(POD, pod(what, where, labelled=what == "own")))
            put(server.api, request.create(POD, pod("plain", "default", labelled=False, gpus=0)))
            await asyncio.sleep(5)
            stores = shown[0].stores
            assert {f"{key.namespace}/{key.name}" for key in stores.gpu_pods} == ALL
            whole = {f"{key.namespace}/{key.name}" for key in stores.pods}
            assert whole == {"default/own"} | (set() if namespace else {"elsewhere/own"})
            for name in sorted(ALL):
                where, _, what = name.partition("/")
                note = {"metadata": {"annotations": {"note": "x"}}}
                put(server.api, request.merge_patch(POD, where, what, note, manager="test"))
            await asyncio.sleep(5)
            assert events == told

            over = {"status": {"phase": "Succeeded"}}
            for where, what in (("default", "own"), ("elsewhere", "other")):
                asked = request.merge_patch(POD, where, what, over, manager="kubelet", subresource="status")
                put(server.api, asked)
            unlabelled = {"metadata": {"labels": {kaito.LABEL_WORKSPACE: None}}}
            put(server.api, request.merge_patch(POD, "elsewhere", "own", unlabelled, manager="test"))
            await asyncio.sleep(5)
            held = {f"{key.namespace}/{key.name}" for key in stores.gpu_pods}
            assert held == {"default/other", "elsewhere/own"}, "those that have ended hold none"
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        await server.stop()

    with tempfile.TemporaryDirectory() as name:
        run(story(Path(name)))
