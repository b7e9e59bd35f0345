"""Pods that are processes, with a small HTTP server in place of a model server."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from kaitoctl.kube import request
from kaitoctl.kube.client import Client, connect
from kaitoctl.kube.objects import (
    DEPLOYMENT,
    EVENT,
    POD,
    REPLICA_SET,
    SERVICE,
    Kind,
    Object,
    annotations_of,
    dig,
    key_of,
)
from kaitoctl.reconcile.store import Store
from kaitoctl.sandbox import nodes, proxy
from kaitoctl.sandbox.clock import Clock, precise
from kaitoctl.sandbox.cluster import Cluster, cluster
from kaitoctl.sandbox.nodes import InstanceShape
from kaitoctl.sandbox.real import Plan
from kaitoctl.sandbox.workloads.deployments import Deployments

# Says who it is, answers with what it was given, stops answering at /sick, ends at the end of its input.
SERVER = """
import http.server, os, sys, threading
def end():
    while os.read(0, 100): pass
    os._exit(0)
threading.Thread(target=end, daemon=True).start()
sick, filled = [], []
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/sick": sick.append(1)
        if self.path == "/end": os._exit(7)
        if self.path == "/fill": filled.append(b"x" * (200 << 20))
        body = f"{self.path} {self.headers.get('Authorization')} {sys.argv[1:]}".encode()
        self.send_response(500 if sick else 200)
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): print("asked", self.path, flush=True)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print("process", os.getpid(), sys.argv[1:], flush=True)
print(f"Serving on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
"""
PROBE = {"httpGet": {"path": "/health", "port": 80}, "periodSeconds": 1}


@dataclass
class World:
    """A sandbox, and what its pods are."""

    client: Client
    up: Cluster
    files: Path
    images: dict[str, Path] = field(default_factory=dict)

    def address(self, kind: str, name: str, path: str) -> str:
        return f"{self.up.address}/{self.up.token}/api/v1/namespaces/default/{kind}/{name}/proxy{path}"


def play(folder: Path, story: Callable[[World], Awaitable[None]], command: list[str] | None = None) -> None:
    """Tell a story in a sandbox whose pods of the image `real` are processes."""
    images: dict[str, Path] = {}

    def plan_of(pod: Object) -> Plan | None:
        if pod["spec"]["containers"][0]["image"] != "real":
            return None
        inits = dig(pod, "spec", "initContainers") or ()
        copies = {item["name"]: lambda image=item["image"]: images.get(image) for item in inits}
        given = command or [sys.executable, "-c", SERVER]
        return Plan("main", lambda volume: [*given, str(volume)], copies, "/mnt")

    async def run() -> None:
        shape = InstanceShape(cpu=16, memory_mib=65_536)
        files = folder / "pods"
        async with cluster(nodes=[nodes.node("plain", shape)], plan_of=plan_of, files=files) as up:
            up.write_kubeconfig(folder / "kubeconfig")
            async with connect(kubeconfig=folder / "kubeconfig") as client:
                await story(World(client, up, files, images))

    asyncio.run(asyncio.wait_for(run(), 120))


def pod(name: str = "p", *, inits: list[Object] | None = None, **container: Any) -> Object:
    main = {"name": "main", "image": "real", **container}
    spec = {"containers": [main], **({"initContainers": inits} if inits else {})}
    metadata = {"name": name, "namespace": "default", "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


async def seen(world: World, holds: Callable[[Object], Any], name: str = "p") -> Object:
    """The pod once it is as described."""
    while True:
        found = await world.client.send(request.get(POD, "default", name))
        if holds(found):
            return found
        await asyncio.sleep(0.02)


def main(found: Object) -> Object:
    status: Object = dig(found, "status", "containerStatuses", 0) or {}
    return status


async def log(world: World, name: str = "p", **query: str) -> str:
    return await world.client.text(POD.path("default", name, "log"), query)


async def process_of(world: World) -> int:
    return int((await log(world)).split()[1])


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def until(holds: Callable[[], Awaitable[Any]]) -> None:
    while True:
        if await holds():
            return
        await asyncio.sleep(0.02)


async def gone(pid: int) -> None:
    async def is_gone() -> bool:
        return not lives(pid)

    await until(is_gone)


async def tells(world: World, reason: str) -> None:
    """Wait for an event."""

    async def is_there() -> bool:
        return reason in [item["reason"] for item in (await world.client.list(EVENT)).items]

    await until(is_there)


def test_a_pod_is_ready_when_its_process_answers_and_ends_with_it(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.client.send(request.create(POD, pod(readinessProbe=PROBE)))
        await seen(world, lambda found: main(found).get("ready"))
        pid = await process_of(world)
        assert "['/mnt']" in await log(world)  # as a container would see the folder
        address = world.address("pods", "p:80", "/a/b?c=d%20e")
        async with aiohttp.ClientSession() as session, session.get(address) as got:
            assert (got.status, await got.text()) == (200, f"/a/b?c=d+e None ['{_volume(world)}']")
        await world.client.send(request.delete(POD, "default", "p"))
        await gone(pid)

        async def is_tidy() -> bool:
            return not any(world.files.iterdir())

        await until(is_tidy)

    def _volume(world: World) -> Path:
        (folder,) = world.files.iterdir()
        return folder / "volume"

    play(tmp_path, story)


def test_a_process_that_ends_is_started_again_with_its_exit_code_told(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.client.send(request.create(POD, pod()))
        await seen(world, lambda found: main(found).get("ready"))

        async def serves() -> bool:
            return "Serving" in await log(world)

        await until(serves)
        pid = await process_of(world)
        os.kill(pid, signal.SIGKILL)
        found = await seen(world, lambda found: main(found).get("restartCount") == 1 and main(found)["ready"])
        last = main(found)["lastState"]["terminated"]
        assert (last["exitCode"], last["reason"]) == (137, "Error")
        assert str(pid) in await log(world, previous="true")
        told = [item["reason"] for item in (await world.client.list(EVENT)).items]
        assert "Unhealthy" not in told  # nobody probed it: a kill is not a failed probe

    play(tmp_path, story)


def test_a_process_that_fails_its_liveness_probe_is_killed(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        alive = {**PROBE, "failureThreshold": 1}
        await world.client.send(request.create(POD, pod(livenessProbe=alive, readinessProbe=PROBE)))
        await seen(world, lambda found: main(found).get("ready"))
        async with aiohttp.ClientSession() as session:
            (await session.get(world.address("pods", "p", "/sick"))).close()
        found = await seen(world, lambda found: main(found).get("restartCount"))
        assert main(found)["lastState"]["terminated"]["exitCode"] == 137
        await tells(world, "Unhealthy")

    play(tmp_path, story)


def test_a_process_that_takes_more_memory_than_its_limit_is_oom_killed(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        limited = pod(readinessProbe=PROBE, resources={"limits": {"memory": "120Mi"}})
        await world.client.send(request.create(POD, limited))
        await seen(world, lambda found: main(found).get("ready"))
        first = await process_of(world)
        async with aiohttp.request("GET", world.address("pods", "p", "/fill")) as answer:
            assert answer.status in (200, 502, 503)  # it may be killed before it has answered
        found = await seen(world, lambda found: main(found).get("restartCount") and main(found).get("ready"))
        last = main(found)["lastState"]["terminated"]
        assert (last["exitCode"], last["reason"]) == (137, "OOMKilled")
        assert not lives(first)

    play(tmp_path, story)


def test_what_cannot_be_started_backs_off_and_is_no_end_of_the_sandbox(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.client.send(request.create(POD, pod()))
        found = await seen(world, lambda found: main(found).get("restartCount", 0) > 1)
        assert main(found)["lastState"]["terminated"]["reason"] == "StartError"
        await seen(world, lambda it: dig(main(it), "state", "waiting", "reason") == "CrashLoopBackOff")

    play(tmp_path, story, ["/nonexistent/program"])


RUNS: Object = {"containerID": "process://1", "state": {"running": {}}}
SIMULATED: Object = {**RUNS, "containerID": "sandbox://1"}
CRASHED: Object = {"containerID": "process://1", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}


@pytest.mark.parametrize(
    ("container", "real_s", "is_given_up"),
    [(RUNS, 14, False), (RUNS, 299, False), (RUNS, 301, True)]
    # Ready, and its ReplicaSet has not counted it yet.
    + [({**RUNS, "ready": True}, 16, False)]
    + [(one, real_s, real_s > 15) for one in (SIMULATED, CRASHED) for real_s in (14, 16)],
)
def test_a_process_that_loads_has_the_real_seconds_of_a_rollouts_deadline(
    container: Object, real_s: int, is_given_up: bool
) -> None:
    """Of five minutes, which are fifteen seconds of the wall for all else."""
    began = datetime(2026, 1, 1, tzinfo=UTC)
    clock = Clock(lambda: began + timedelta(seconds=real_s), speed=20)
    template = {"spec": {"containers": [{"name": "main"}]}}

    def made(kind: Kind, owner: str, **parts: Any) -> Object:
        owners = [{"uid": owner, "controller": True}] if owner else []
        metadata = {"namespace": "default", "uid": kind.kind, "ownerReferences": owners, "generation": 1}
        return {"kind": kind.kind, "metadata": {"name": kind.kind.lower(), **metadata}, **parts}

    counts = {"replicas": 1, "updatedReplicas": 1, "unavailableReplicas": 1, "observedGeneration": 1}
    moved = {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}
    status = {**counts, "conditions": [{**moved, "lastUpdateTime": precise(began)}]}
    spec = {"replicas": 1, "template": template}
    limited = {**spec, "progressDeadlineSeconds": 300}
    stores = [Store(), Store(), Store()]
    objects = (
        made(DEPLOYMENT, "", spec=limited, status=status),
        made(REPLICA_SET, "Deployment", spec=spec, status={"replicas": 1}),
        made(POD, "ReplicaSet", status={"containerStatuses": [container]}),
    )
    for store, obj in zip(stores, objects, strict=True):
        store._replace(key_of(obj), obj)
    reconciling = Deployments(stores[0], stores[1], stores[2], clock).reconcile(key_of(objects[0]))
    written: list[Any] = []
    with suppress(StopIteration):
        asked = next(reconciling)
        while True:
            written.append(asked.body)
            asked = reconciling.send({})
    said = [dig(body, "status", "conditions") for body in written if dig(body, "status", "conditions")]
    reason = next((one["reason"] for one in said[-1] if one["type"] == "Progressing"), "") if said else ""
    assert (reason == "ProgressDeadlineExceeded") is is_given_up


def test_an_init_container_copies_and_waits_for_its_image(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()

    async def story(world: World) -> None:
        await world.client.send(request.create(POD, pod(inits=[{"name": "style", "image": "late"}])))
        await seen(world, lambda it: "ErrImagePull" in str(it["status"].get("initContainerStatuses")))
        world.images["late"] = tmp_path / "data"
        failed = await seen(world, lambda it: '"exitCode": 1' in str(it["status"]).replace("'", '"'))
        assert failed["status"]["phase"] == "Pending"
        (tmp_path / "weights").write_text("w")
        (tmp_path / "weights").replace(tmp_path / "data" / "weights")
        await seen(world, lambda it: main(it).get("ready"))
        (folder,) = world.files.iterdir()
        assert (folder / "volume" / "style" / "weights").read_text() == "w"
        assert (folder / "style.log").read_text() == "copied /data of late to /mnt/style\n"

    play(tmp_path, story)


def test_what_cannot_be_copied_is_named_and_nothing_of_it_is_left(tmp_path: Path) -> None:
    (tmp_path / "data" / "deep").mkdir(parents=True)
    (tmp_path / "data" / "deep" / "whole").write_text("w")
    (tmp_path / "data" / "weights").symlink_to("nowhere")

    async def story(world: World) -> None:
        world.images["bad"] = tmp_path / "data"
        await world.client.send(request.create(POD, pod(inits=[{"name": "style", "image": "bad"}])))
        await seen(world, lambda it: '"exitCode": 1' in str(it["status"]).replace("'", '"'))
        (folder,) = world.files.iterdir()
        assert (folder / "style.log").read_text() == "cannot copy weights: No such file or directory\n"
        assert not list((folder / "volume").iterdir())

    play(tmp_path, story)


def test_a_service_has_an_address_of_this_machine_and_a_proxy(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        for name in ("p", "q"):
            spec = {"selector": {"app": name}, "ports": [{"port": 80}]}
            obj = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}}
            await world.client.send(request.create(SERVICE, {**obj, "spec": spec}))
        await world.client.send(request.create(POD, pod(readinessProbe=PROBE)))
        await world.client.send(request.create(POD, pod("q", image="other")))
        await seen(world, lambda found: main(found).get("ready"))
        service: Object = {}
        while not (address := annotations_of(service).get("sandbox.kaitoctl.dev/address")):
            service = await world.client.send(request.get(SERVICE, "default", "p"))
        async with aiohttp.ClientSession() as session:
            for url in (f"{address}/x", world.address("services", "p:80", "/x")):
                while True:  # the store behind the address may be a moment behind the pod
                    try:
                        async with session.get(url) as got:
                            if got.status == 200:
                                assert (await got.text()).startswith("/x None")
                                break
                    except aiohttp.ClientConnectionError:
                        pass
                    await asyncio.sleep(0.02)
            for name, status in (("q:80", 501), ("nobody", 404)):
                async with session.get(world.address("services", name, "/")) as got:
                    assert got.status == status
            async with session.get(f"{world.up.address}/api/v1/namespaces/default/pods/p/proxy/") as got:
                assert got.status == 401

    play(tmp_path, story)


def test_a_log_is_followed_until_its_process_ends(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.client.send(request.create(POD, pod(readinessProbe=PROBE)))
        await seen(world, lambda found: main(found).get("ready"))
        following = asyncio.create_task(log(world, follow="true"))
        async with aiohttp.ClientSession() as session:
            for path in ("/one", "/end"):
                (await session.get(world.address("pods", "p", path))).close()
        lines = (await following).splitlines()
        assert lines[0].startswith("process")
        assert "asked /one" in lines

    play(tmp_path, story)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/api/v1/namespaces/a/pods/b/proxy", ("pods", "a", "b", "/")),
        ("/api/v1/namespaces/a/services/http:b:80/proxy/v1/x", ("services", "a", "b", "/v1/x")),
        ("/api/v1/namespaces/a/services/b:/proxy/", ("services", "a", "b", "/")),
        ("/api/v1/namespaces/a/pods/b", None),
        ("/api/v1/namespaces/a/nodes/b/proxy/", None),
        ("/api/v1/namespaces/a/pods/proxy", None),
    ],
)
def test_paths_of_the_proxy(path: str, found: tuple[str, str, str, str] | None) -> None:
    asked = proxy.read(path)
    assert found == (asked and (asked.kind, asked.namespace, asked.name, asked.path))
