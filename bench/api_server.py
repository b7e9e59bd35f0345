"""The sandbox's API server in a process of its own, which counts what it is asked; for the benchmarks.

No workload controllers run in it: what is measured are the clients. Its owner speaks to it through a pipe.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import resource
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from kaitoctl import packaged
from kaitoctl.kube.documents import load_yaml
from kaitoctl.sandbox.api import Call, Response, Watch
from kaitoctl.sandbox.server import ApiServer

INSTANCE_TYPE = "Standard_NC12s_v3"
WORKSPACES = "/apis/kaito.sh/v1alpha1/namespaces/default/workspaces"


@dataclass
class Seen:
    """What the server was asked since it was last looked at; times are those of the machine's one clock."""

    requests: Counter[str] = field(default_factory=Counter)
    created: dict[str, float] = field(default_factory=dict)
    first_child: dict[str, float] = field(default_factory=dict)
    status: dict[str, float] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    writes: list[tuple[str, str, dict[str, str], str, bytes]] = field(default_factory=list)

    @property
    def written(self) -> int:
        """How many of the requests were writes."""
        return sum(number for name, number in self.requests.items() if not name.startswith(("get", "watch")))


def node(number: int) -> dict[str, Any]:
    amounts = {"cpu": "12", "memory": "220Gi", "pods": "110", "nvidia.com/gpu": "2"}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}
    name = f"gpu-{number:05}"
    labels = {
        "apps": f"ws-{number:05}",
        "kubernetes.io/hostname": name,
        "node.kubernetes.io/instance-type": INSTANCE_TYPE,
        "nvidia.com/gpu.product": "Tesla-V100-PCIE-16GB",
        "nvidia.com/gpu.memory": "16384",
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "status": {"allocatable": amounts, "capacity": amounts, "conditions": [ready]},
    }


def workspace(number: int) -> dict[str, Any]:
    """A Workspace that its own node, of the same number, can take."""
    name = f"ws-{number:05}"
    return {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": name, "namespace": "default"},
        "resource": {
            "instanceType": INSTANCE_TYPE,
            "labelSelector": {"matchLabels": {"apps": name}},
        },
        "inference": {"preset": {"name": "falcon-7b"}},
    }


def pod(number: int, which: int) -> dict[str, Any]:
    """One that runs for a Workspace, as large as they are."""
    name = f"ws-{number:05}"
    volumes = [{"name": f"volume-{one}", "emptyDir": {}} for one in range(4)]
    mounts = [{"name": volume["name"], "mountPath": f"/mnt/{volume['name']}"} for volume in volumes]
    variables = [{"name": f"VARIABLE_{one}", "value": "x" * 40} for one in range(12)]
    amounts = {"nvidia.com/gpu": "1"}
    container = {
        "name": name,
        "image": "registry.example/falcon:1",
        "command": ["/bin/sh", "-c", "python3 inference_api.py " + "--flag " * 40],
        "resources": {"limits": amounts, "requests": amounts},
        "env": variables,
        "volumeMounts": mounts,
    }
    started = "2026-01-01T00:00:00Z"
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": started}
        for kind in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    ]
    state = {
        "name": name,
        "ready": True,
        "restartCount": 0,
        "image": container["image"],
        "imageID": f"{container['image']}@sha256:{'0' * 64}",
        "state": {"running": {"startedAt": started}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{name}-{which}",
            "namespace": "default",
            "labels": {"kaito.sh/workspace": name, "pod-template-hash": "6d5f8c7b9"},
        },
        "spec": {"nodeName": f"gpu-{number:05}", "containers": [container], "volumes": volumes},
        "status": {"phase": "Running", "conditions": conditions, "containerStatuses": [state]},
    }


def owner(child: str) -> str:
    """The Workspace of a child, which is named after it."""
    return child[: len("ws-00000")]


class _Counted:
    """Stands before the API: counts, and keeps the writes of the first Workspace."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server
        self.seen = Seen()
        self.keep_writes = False
        self._answer = server.api.answer
        server.api.answer = self.answer  # type: ignore[method-assign]

    def answer(self, call: Call) -> Response | Watch:
        now = time.perf_counter()
        seen, parts = self.seen, call.path.split("/")
        answer = self._answer(call)
        if call.method == "GET":
            kind = "watch" if "watch" in call.query else "get"
            seen.requests[f"{kind} {parts[-1] if kind == 'watch' else parts[-2]}"] += 1
            return answer
        last = parts[-1]
        if last == "status":
            name, kind = parts[-2], f"{parts[-3]}/status"
            if parts[-3] == "workspaces":
                seen.status.setdefault(name, time.perf_counter())
        elif call.method == "POST":
            name, kind = "", last
        else:
            name, kind = last, parts[-2]
        if kind not in ("workspaces", "workspaces/status", "events", "leases", "nodes"):
            name = name or json.loads(call.body)["metadata"]["name"]
            seen.first_child.setdefault(owner(name), now)
        seen.requests[f"{call.method} {kind}"] += 1
        if isinstance(answer, Response) and answer.status >= 300:
            seen.refused.append(f"{call.method} {call.path} {answer.status} {answer.body[:300]!r}")
        if self.keep_writes:
            seen.writes.append((call.method, call.path, dict(call.query), call.content_type, call.body))
        return answer

    def make(self, method: str, path: str, obj: dict[str, Any]) -> None:
        """A write of the owner's, which is not counted."""
        answer = self._answer(Call(method, path, {"fieldManager": "bench"}, json.dumps(obj).encode()))
        assert isinstance(answer, Response)
        assert answer.status < 300, answer.body

    def create(self, first: int, count: int) -> None:
        for number in range(first, first + count):
            self.make("POST", WORKSPACES, workspace(number))
            self.seen.created[f"ws-{number:05}"] = time.perf_counter()

    async def trickle(self, first: int, count: int, pause_s: float) -> None:
        for number in range(first, first + count):
            self.create(number, 1)
            await asyncio.sleep(pause_s)

    def add_nodes(self, count: int) -> None:
        for number in range(count):
            self.make("POST", "/api/v1/nodes", node(number))

    async def add_pods(self, first: int, count: int) -> None:
        """Two for each Workspace, a few at a time: watchers that fall far behind would be sent away."""
        for number in range(first, first + count):
            for which in range(2):
                self.make("POST", "/api/v1/namespaces/default/pods", pod(number, which))
            if number % 50 == 0:
                await asyncio.sleep(0.02)

    def forget(self, first: int, count: int) -> None:
        """End all watches, create Workspaces, and forget the past: who comes back must list to see them."""
        for watch in list(self.server._watches):
            watch.close()
        self.create(first, count)
        store = self.server.api.store
        for table in store._tables.values():
            table.events.clear()
            table.forgotten = store.version + 1
        store.version += 2


async def _serve(pipe: Connection) -> None:
    server = ApiServer()
    await server.start()
    counted = _Counted(server)
    for file in sorted(packaged.folder("schemas").glob("*.yaml")):
        for crd in load_yaml(file.read_text(), str(file)):
            counted.make("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
    done = asyncio.Event()
    running: set[asyncio.Task[None]] = set()

    def obey() -> None:
        try:
            word, *rest = pipe.recv()
        except EOFError:
            done.set()
            return
        answer: Any = None
        if word == "nodes":
            counted.add_nodes(*rest)
        elif word == "create":
            counted.create(*rest)
        elif word in ("trickle", "pods"):
            work = counted.trickle(*rest) if word == "trickle" else counted.add_pods(*rest)
            running.add(asyncio.get_running_loop().create_task(work))
        elif word == "forget":
            counted.forget(*rest)
        elif word == "record":
            counted.keep_writes = rest[0]
        elif word == "progress":
            answer = len(counted.seen.status), len(counted.seen.first_child)
        elif word == "seen":
            answer, counted.seen = counted.seen, Seen()
        elif word == "cpu":
            used = resource.getrusage(resource.RUSAGE_SELF)
            answer = used.ru_utime + used.ru_stime
        pipe.send(answer)

    asyncio.get_running_loop().add_reader(pipe.fileno(), obey)
    pipe.send((server.address, server.token))
    await done.wait()
    await server.stop()


def _process(pipe: Connection) -> None:
    import logging

    logging.getLogger("aiohttp").setLevel(logging.ERROR)
    asyncio.run(_serve(pipe))


class Server:
    """The server's process as its owner sees it."""

    can_forget = True

    def __init__(self, pipe: Connection, pid: int) -> None:
        self._pipe = pipe
        self.pid = pid
        self.address, self.token = pipe.recv()

    def ask(self, *words: Any) -> Any:
        self._pipe.send(words)
        return self._pipe.recv()

    def kubeconfig(self) -> dict[str, Any]:
        """With the token in the address, too: kubectl sends no other without TLS."""
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "bench",
            "clusters": [{"name": "bench", "cluster": {"server": f"{self.address}/{self.token}"}}],
            "users": [{"name": "bench", "user": {"token": self.token}}],
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        }


@contextmanager
def running() -> Iterator[Server]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_process, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    try:
        assert process.pid is not None
        yield Server(ours, process.pid)
    finally:
        ours.close()
        process.join(10)
        if process.is_alive():
            process.terminate()
