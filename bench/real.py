"""A real control plane, and nothing but it: the controller beside its peers, commands beside kubectl.

    python -m bench real [--rounds N] [--workspaces N]

etcd and the API server are those of tests/controlplane, which `python3 dev.py controlplane` builds; without
them the part is skipped. Connections have TLS and client certificates; what a program asks for is counted in
the API server's audit log. The three programs of `bench.controller` work beside no other controllers, so that
their writes are the same as there; once kaitoctl works beside those that make pods of Deployments and
schedule them (KWOK plays the nodes), until every Workspace is ready.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import api_server, controller, startup
from bench.figures import Figure, Skipped, of_pairs, of_values
from kaitoctl.kaito import api
from kaitoctl.kube import conditions, request
from kaitoctl.kube.client import Client, connect
from kaitoctl.kube.objects import NODE, Object

if TYPE_CHECKING:
    from controlplane.plane import ControlPlane

IN_FLIGHT = 32
READY = 100
BURST = 1000
USER = "bench"
METHODS = {"create": "POST", "patch": "PATCH", "update": "PUT", "delete": "DELETE"}


class Server:
    """The control plane, as `controller.measured` asks a server."""

    can_forget = False  # compacting etcd does not empty the API server's own cache of events

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._config = json.loads(plane.kubeconfig_of(USER, ["system:masters"]).read_text())
        self._seen = api_server.Seen()
        self._read = plane.audit_mark()
        self._clock = time.perf_counter() - time.time()
        self._programs = [controller.Process(it.pid) for it in (plane.api_server, plane.etcd)]

    def kubeconfig(self) -> dict[str, Any]:
        """For the program that is measured: its requests are told from others by their user."""
        config: dict[str, Any] = self._config
        return config

    def ask(self, *words: Any) -> Any:
        word, *rest = words
        asked: dict[str, Any] = {"nodes": self.add_nodes, "create": self.create, "trickle": self.trickle}
        if word in asked:
            return asyncio.run(asked[word](*rest))
        if word == "cpu":
            return sum(program.cpu_s for program in self._programs)
        self._note()
        if word == "progress":
            return len(self._seen.status), len(self._seen.first_child)
        assert word == "seen"
        seen, self._seen = self._seen, api_server.Seen()
        return seen

    async def add_nodes(self, count: int) -> None:
        async with connect(kubeconfig=self._plane.kubeconfig) as client:
            await _each(
                range(count), lambda number: client.send(request.create(NODE, api_server.node(number)))
            )

    async def create(self, first: int, count: int) -> None:
        async with connect(kubeconfig=self._plane.kubeconfig) as client:
            await _each(range(first, first + count), lambda number: _create(client, number))

    async def trickle(self, first: int, count: int, pause_s: float) -> None:
        async with connect(kubeconfig=self._plane.kubeconfig) as client:
            for number in range(first, first + count):
                await _create(client, number)
                await asyncio.sleep(pause_s)

    async def create_until(self, first: int, count: int, is_done: Callable[[Object], bool]) -> None:
        async with connect(kubeconfig=self._plane.kubeconfig) as client:
            listed = await client.list(api.WORKSPACE, "default")
            waiting = asyncio.create_task(_all_done(client, listed.resource_version, count, is_done))
            await self.create(first, count)
            await waiting

    def _note(self) -> None:
        """Read on in the audit log."""
        events, self._read = self._plane.audit_events_from(self._read)
        for event in events:
            where, seen = event.get("objectRef") or {}, self._seen
            resource, name, verb = where.get("resource", ""), where.get("name", ""), event["verb"]
            if event["user"]["username"] != USER:
                if (verb, resource) == ("create", "workspaces"):
                    seen.created[name] = self._moment(event["requestReceivedTimestamp"])
            elif verb == "watch":
                seen.requests[f"watch {resource}"] += event["stage"] == "ResponseStarted"
            elif verb not in METHODS:
                seen.requests[f"get {resource or event['requestURI']}"] += 1
            else:
                kind = "/".join(filter(None, (resource, where.get("subresource"))))
                seen.requests[f"{METHODS[verb]} {kind}"] += 1
                if kind == "workspaces/status":
                    seen.status.setdefault(name, self._moment(event["stageTimestamp"]))
                elif kind not in ("workspaces", "events", "leases"):
                    arrived = self._moment(event["requestReceivedTimestamp"])
                    owner = api_server.owner(name)
                    seen.first_child[owner] = min(arrived, seen.first_child.get(owner, arrived))
                if event["responseStatus"]["code"] >= 300:
                    seen.refused.append(f"{verb} {event['requestURI']} {event['responseStatus']}")

    def _moment(self, timestamp: str) -> float:
        return datetime.fromisoformat(timestamp).timestamp() + self._clock


async def _create(client: Client, number: int) -> None:
    await client.send(request.create(api.WORKSPACE, api_server.workspace(number)))


def _is_ready(workspace: Object) -> bool:
    return conditions.is_true(workspace, api.WORKSPACE_SUCCEEDED)


def _has_status(workspace: Object) -> bool:
    """Whether the bare client has made the last of its writes."""
    return bool(workspace.get("status"))


async def _all_done(client: Client, since: str, count: int, is_done: Callable[[Object], bool]) -> None:
    """Return when so many Workspaces have come so far."""
    done: set[str] = set()
    async for event in client.watch(api.WORKSPACE, "default", resource_version=since, timeout_s=600):
        if event.type != "BOOKMARK" and is_done(event.object):
            done.add(event.object["metadata"]["name"])
            if len(done) == count:
                return
    raise TimeoutError(f"{len(done)} of {count} Workspaces are ready")


async def _each(items: Iterable[Any], work: Callable[[Any], Awaitable[Any]]) -> None:
    """The work for every item, some at a time."""
    left = iter(items)

    async def worker() -> None:
        for item in left:
            await work(item)

    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))


@contextmanager
def running(*, bare: bool = True) -> Iterator[Server]:
    """A control plane of its own.

    Raises:
        Skipped: its programs are not there.
    """
    tests = str(controller.ROOT / "tests")
    if tests not in sys.path:
        sys.path.append(tests)
    from controlplane import plane, programs

    try:
        found = programs.find()
    except programs.Unavailable as why:
        raise Skipped(str(why)) from None
    with plane.running(found, bare=bare) as it:
        yield Server(it)


def figures(rounds: int = 3, count: int = 300) -> list[Figure]:
    reading = commands(rounds * 3)
    runs = controller.runs_of(controller.SIDES, rounds, count, running)
    at_rest = [run["requests_at_rest"] for run in runs["kaitoctl"]]
    return [
        *reading,
        *controller.beside_peers("real", runs, count),
        of_values("real", "requests in 10 s at rest", at_rest, unit="", aim="= 0"),
        *until_ready(),
    ]


def burst(count: int = BURST) -> Figure:
    """So many Workspaces at once until all are Ready, beside the bare client's same writes."""
    taken = {}
    for side in ("kaitoctl", "bare"):
        with running(bare=False) as server, tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            writes = folder / "writes.json"
            writes.write_text(json.dumps(controller.recorded(folder)))
            server.ask("nodes", count)
            with controller.started(side, server, folder, writes):
                began = time.perf_counter()
                is_done = _is_ready if side == "kaitoctl" else _has_status
                asyncio.run(server.create_until(0, count, is_done))
                taken[side] = time.perf_counter() - began
    pairs = [(taken["kaitoctl"], taken["bare"])]
    return of_pairs(
        "burst", f"{count} Workspaces at once, until all are Ready", pairs, "bare", "<= 1.3", unit="s"
    )


def commands(rounds: int) -> list[Figure]:
    """Commands that read a hundred nodes and Workspaces."""
    with running() as server, tempfile.TemporaryDirectory() as home:
        server.ask("nodes", 100)
        server.ask("create", 0, 100)
        return startup.reads("real", rounds, startup.environment(Path(home), server.kubeconfig()))


def until_ready() -> list[Figure]:
    """The controller alone, until pods run: what it takes beyond its five writes."""
    with running(bare=False) as server, tempfile.TemporaryDirectory() as name:
        server.ask("nodes", 2 * READY)
        with controller.started("kaitoctl", server, Path(name), Path()) as process:
            asyncio.run(
                server.create_until(0, READY, _is_ready)
            )  # what the first ones cost is no Workspace's own
            process.settle()
            server.ask("seen")
            cpu_s, memory = process.cpu_s, process.memory_kib("VmRSS")
            asyncio.run(server.create_until(READY, READY, _is_ready))
            process.settle()
            seen = server.ask("seen")
            assert not seen.refused, seen.refused[:3]
            cpu_ms = (process.cpu_s - cpu_s) * 1000 / READY
            kib = (process.memory_kib("VmRSS") - memory) / READY
    reads = sum(number for name, number in seen.requests.items() if name.startswith("get"))

    def alone(what: str, value: float, unit: str, aim: str = "") -> Figure:
        return of_values("real", f"until pods run: {what}", [value], unit=unit, aim=aim)

    return [
        alone("writes for a Workspace", seen.written / READY, "", "= 7"),
        alone("reads for a Workspace", reads / READY, "", "= 0"),
        alone("CPU for a Workspace", cpu_ms, "ms", "<= 5"),
        alone("memory for a Workspace", kib, "KiB", "<= 12"),
    ]
