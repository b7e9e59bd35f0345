"""Many Workspaces at once on a real API server: how often each is looked at, and what is asked for it."""

from __future__ import annotations

import asyncio
import copy
import json
import tempfile
from collections import Counter
from pathlib import Path

from virtual_time import run
from world import crds, falcon, gpu_node, node_status

from kaitoctl import workspace_controller
from kaitoctl.kaito import api as kaito
from kaitoctl.kube import request
from kaitoctl.kube.client import connect
from kaitoctl.kube.objects import CRD, NODE, ObjectKey
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.controller import ReconcileResult
from kaitoctl.sandbox.api import Api, Call, Response
from kaitoctl.sandbox.server import ApiServer

COUNT = 20
MACHINES = "GET v1alpha5"
"""Whether Machines are served by now, which no cluster of today has."""


def counting(api: Api) -> Counter[str]:
    """What the server is asked from now on: the verb and the kind."""
    asked: Counter[str] = Counter()
    answer = api.answer

    def counted(call: Call) -> object:
        parts = call.path.split("/")
        kind = parts[-1] if call.method == "POST" or "watch" in call.query else parts[-2]
        asked["WATCH" if "watch" in call.query else f"{call.method} {kind}"] += 1
        return answer(call)

    api.answer = counted  # type: ignore[method-assign, assignment]
    return asked


def put(api: Api, asked: Request) -> None:
    """A write by somebody else, behind the counter."""
    body = json.dumps(asked.body).encode()
    answer = Api.answer(api, Call(asked.method, asked.path, dict(asked.query), body, asked.content_type))
    assert isinstance(answer, Response)
    assert answer.status < 300, answer.body


def with_node(api: Api, number: int) -> None:
    name, labels = f"ws-{number}", {"apps": f"ws-{number}"}
    put(api, request.create(NODE, {**gpu_node(f"gpu-{number}", labels), "status": node_status("2")}))
    obj = copy.deepcopy(falcon(labelSelector={"matchLabels": labels}))
    obj["metadata"]["name"] = name
    put(api, request.create(kaito.WORKSPACE, obj))


def test_a_burst_takes_one_pass_and_five_writes_for_each_workspace() -> None:
    async def story(folder: Path) -> None:
        server = ApiServer()
        await server.start()
        for crd in crds():
            put(server.api, request.apply(CRD, crd, manager="test", force=True))
        (folder / "config").write_text(json.dumps(server.kubeconfig()))
        worked: list[ReconcileResult] = []
        async with connect(kubeconfig=folder / "config") as client:
            running = asyncio.create_task(workspace_controller.run(client, observer=worked.append))
            await asyncio.sleep(5)
            asked = counting(server.api)
            for number in range(COUNT):
                with_node(server.api, number)
            await asyncio.sleep(30)
            assert asked.pop(MACHINES) <= 3, "less and less often"
            assert asked == {
                "POST controllerrevisions": COUNT,
                "PATCH services": COUNT,
                "PATCH deployments": COUNT,
                "POST events": COUNT,
                **{f"PATCH ws-{number}": 1 for number in range(COUNT)},
            }
            assert {work.result for work in worked} == {"done"}
            keys = sorted(work.key for work in worked)
            assert keys == sorted(ObjectKey("default", f"ws-{number}") for number in range(COUNT))

            asked.clear()
            worked.clear()
            heartbeat = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}
            for minute in range(5):
                beat = {**heartbeat, "lastHeartbeatTime": f"2026-01-01T00:0{minute}:00Z"}
                status = {"status": {"conditions": [beat]}}
                for number in range(COUNT):
                    patch = request.merge_patch(
                        NODE, "", f"gpu-{number}", status, manager="kubelet", subresource="status"
                    )
                    put(server.api, patch)
                await asyncio.sleep(60)
            assert worked == [], "a heartbeat is no news"
            served = {"GET apis", "GET kaito.sh", MACHINES}
            assert set(asked) <= {"WATCH", *served}, "at rest: watches, and what is served"
            assert asked["GET apis"] <= 6, "once a minute"
            assert asked[MACHINES] <= 12, "twice a minute"
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        await server.stop()

    with tempfile.TemporaryDirectory() as name:
        run(story(Path(name)))
