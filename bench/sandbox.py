"""The sandbox: start to first answered request, the whole main job, creates and watch events a second.

python -m bench sandbox [--rounds N]
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from bench import api_server
from bench.figures import Figure, of_pairs, of_values, wall_ms

KAITOCTL = str(Path(sys.executable).parent / "kaitoctl")
MAIN_JOB = [
    *(KAITOCTL, "create", "workspace", "workspace-falcon-7b", "--preset", "falcon-7b"),
    *("--instance-type", "Standard_NC12s_v3", "--label", "apps=falcon-7b", "--sandbox"),
]
CREATES, IN_FLIGHT = 3000, 16


def figures(rounds: int = 3) -> list[Figure]:
    ups: list[float] = []
    jobs: list[float] = []
    floors: list[float] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            env = {**os.environ, "KAITOCTL_STATE_DIR": folder}
            down = [KAITOCTL, "sandbox", "down", "--delete"]
            floors.append(wall_ms([sys.executable, "-c", "pass"]))
            ups.append(wall_ms([KAITOCTL, "sandbox", "up"], env))
            wall_ms(down, env)
            jobs.append(wall_ms(MAIN_JOB, env))
            wall_ms(down, env)
    creates, events = zip(*[asyncio.run(rates()) for _ in range(rounds)], strict=True)
    return [
        of_values("sandbox", "up, until it answers", [up / 1000 for up in ups], unit="s", aim="<= 1"),
        of_pairs(
            "sandbox", "up, beside an interpreter", list(zip(ups, floors, strict=True)), "python -c pass", ""
        ),
        of_values("sandbox", "the main job, start included", [job / 1000 for job in jobs], unit="s"),
        of_values("sandbox", "creates", creates, unit="/s", aim=">= 1000"),
        of_values("sandbox", "watch events to one watcher", events, unit="/s", aim=">= 10000"),
    ]


async def rates() -> tuple[float, float]:
    """Creates a second by pipelining connections, and events a second to one watcher that was away."""
    with api_server.running() as server:
        host, _, port = server.address.removeprefix("http://").partition(":")
        top = f"HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {server.token}\r\n"
        path = "/api/v1/namespaces/default/configmaps"
        numbers = iter(range(CREATES))

        async def creates() -> None:
            reader, writer = await asyncio.open_connection(host, int(port))
            for number in numbers:
                body = json.dumps({"metadata": {"name": f"c{number}"}, "data": {"x": "y" * 200}}).encode()
                head = (
                    f"POST {path} {top}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                )
                writer.write(head.encode() + body)
                answer = await reader.readuntil(b"\r\n\r\n")
                assert answer.startswith(b"HTTP/1.1 201"), answer
                await reader.readexactly(int(answer.lower().partition(b"content-length:")[2].split(b"\r")[0]))
            writer.close()

        began = time.perf_counter()
        await asyncio.gather(*(creates() for _ in range(IN_FLIGHT)))
        created_s = time.perf_counter() - began
        reader, writer = await asyncio.open_connection(host, int(port), limit=2**24)
        began = time.perf_counter()
        writer.write(f"GET {path}?watch=true&resourceVersion=1 {top}\r\n".encode())
        seen, mark, rest = 0, b'{"type":"ADDED"', b""
        while seen < CREATES:
            data = rest + await reader.read(2**20)
            seen += data.count(mark)
            rest = data[-len(mark) + 1 :]  # it may have come in two pieces
        watched_s = time.perf_counter() - began
        writer.close()
    return CREATES / created_s, CREATES / watched_s
