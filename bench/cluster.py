"""The controller on a cluster that is there: a real control plane, with KAITO's CRD and no other controller.

    python -m bench.cluster KUBECONFIG [WORKSPACES]

It creates as many GPU nodes as Workspaces, so it is for clusters whose nodes are simulated (KWOK). Measured
are the time until every Workspace has succeeded, CPU and memory of the controller (/proc), and its own count
of requests (/metrics). What it creates it deletes.
"""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from bench import api_server
from bench.controller import Process
from kaitoctl.errors import ApiError
from kaitoctl.kaito import api
from kaitoctl.kube import conditions, request
from kaitoctl.kube.client import Client, connect
from kaitoctl.kube.objects import NODE, Object

IN_FLIGHT = 32
TIMEOUT_S = 300.0


async def each(items: Iterable[Any], work: Callable[[Any], Awaitable[Any]]) -> None:
    """The work for every item, some at a time."""
    left = iter(items)

    async def worker() -> None:
        for item in left:
            await work(item)

    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))


async def converged(client: Client, count: int) -> float:
    """The moment when so many of our Workspaces have succeeded."""
    done: set[str] = set()
    listed = await client.list(api.WORKSPACE, "default")
    async with asyncio.timeout(TIMEOUT_S):
        async for event in client.watch(
            api.WORKSPACE, "default", resource_version=listed.resource_version, timeout_s=int(TIMEOUT_S)
        ):
            if event.type != "BOOKMARK" and conditions.is_true(event.object, api.WORKSPACE_SUCCEEDED):
                done.add(event.object["metadata"]["name"])
                if len(done) == count:
                    return time.perf_counter()
    raise TimeoutError(f"{len(done)} of {count} Workspaces have succeeded")


def requests_of(port: int) -> dict[str, int]:
    """The controller's requests so far, by verb and kind; watches that stay open and lists left out."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()
    line = re.compile(
        r'kaitoctl_api_requests_total\{code="(\d+)",resource="([^"]*)",verb="(\w+)"\} ([\d.e+]+)'
    )
    found: dict[str, int] = {}
    for code, resource, verb, number in line.findall(text):
        if verb not in ("watch", "list"):
            name = f"{verb} {resource}" + (f" ({code})" if code >= "300" else "")
            found[name] = found.get(name, 0) + int(float(number))
    return found


async def measured(client: Client, kubeconfig: str, count: int) -> dict[str, Any]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = str(Path(sys.executable).parent / "kaitoctl")
    options = ("--no-leader-elect", "--metrics-address", f"127.0.0.1:{port}", "--log-level", "error")
    command = [program, "run-controller", "--kubeconfig", kubeconfig, *options]
    controller = await asyncio.to_thread(subprocess.Popen, command)
    try:
        await asyncio.sleep(3)
        process = Process(controller.pid)
        await asyncio.to_thread(process.settle)
        cpu_s, memory, before = process.cpu_s, process.memory_kib("VmRSS"), requests_of(port)
        waiting = asyncio.create_task(converged(client, count))
        await asyncio.sleep(0.5)
        began = time.perf_counter()
        await each(range(count), lambda number: client.send(request.create(api.WORKSPACE, workspace(number))))
        created = time.perf_counter()
        ended = await waiting
        await asyncio.to_thread(process.settle)
        after = requests_of(port)
        return {
            "workspaces": count,
            "created_s": round(created - began, 2),
            "succeeded_s": round(ended - began, 2),
            "cpu_ms_per_workspace": round((process.cpu_s - cpu_s) * 1000 / count, 2),
            "kib_per_workspace": round((process.memory_kib("VmRSS") - memory) / count, 1),
            "requests_per_workspace": {
                name: round((number - before.get(name, 0)) / count, 2)
                for name, number in sorted(after.items())
            },
        }
    finally:
        controller.terminate()
        controller.wait(20)


def workspace(number: int) -> Object:
    made = api_server.workspace(number)
    made["metadata"]["labels"] = {"made-by": "bench"}
    return made


async def main(kubeconfig: str, count: int) -> None:
    async with connect(kubeconfig=Path(kubeconfig)) as client:

        async def add(number: int) -> None:
            node = api_server.node(number)
            status = {"status": node.pop("status")}
            await client.send(request.create(NODE, node))
            name = node["metadata"]["name"]
            await client.send(
                request.merge_patch(NODE, "", name, status, manager="bench", subresource="status")
            )

        async def remove(asked: request.Request) -> None:
            try:
                await client.send(asked)
            except ApiError as error:
                if error.status != 404:
                    raise

        try:
            await each(range(count), add)
            for name, value in (await measured(client, kubeconfig, count)).items():
                print(f"{name:<28}{value}")
        finally:
            names = [f"{number:05}" for number in range(count)]
            await each([request.delete(api.WORKSPACE, "default", f"ws-{name}") for name in names], remove)
            await each([request.delete(NODE, "", f"gpu-{name}") for name in names], remove)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 200))
