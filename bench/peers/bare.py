"""The limit: what a controller's writes cost when nothing is decided. Raw HTTP/1.1 over asyncio, pipelined.

    python bare.py KUBECONFIG WRITES

WRITES is a JSON list of rounds of requests as the controller sends them for one Workspace, with NAME and UID
in place of the Workspace's own. For each Workspace that the watch shows, the requests of a round are sent at
once, and the next round when they are answered. No parsing but for name and uid, no checks, no retries.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import deque
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

CONFIG = json.loads(Path(sys.argv[1]).read_text())
_where = urlsplit(CONFIG["clusters"][0]["cluster"]["server"])
HOST, PORT, TOKEN = _where.hostname, _where.port, CONFIG["users"][0]["user"]["token"]


def head(method: str, target: str, content_type: str, length: int) -> bytes:
    lines = (
        f"{method} {target} HTTP/1.1\r\nHost: {HOST}:{PORT}\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"User-Agent: bare\r\nAccept: application/json\r\n"
    )
    if length:
        lines += f"Content-Type: {content_type}\r\nContent-Length: {length}\r\n"
    return (lines + "\r\n").encode()


class Pipe(asyncio.Protocol):
    """One connection; requests go out as they come, answers come back in their order."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.waiting: deque[Any] = deque()
        self.buffer = bytearray()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self.waiting:
            sys.exit("the server closed a connection with requests under way")

    def ask(self, data: bytes, then: Any) -> None:
        assert self.transport is not None
        self.waiting.append(then)
        self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            top = bytes(self.buffer[:end]).lower()
            at = top.index(b"content-length:") + 15
            length = int(top[at : at + 12].split(b"\r", 1)[0])
            if len(self.buffer) < end + 4 + length:
                return
            if top[9:10] != b"2":
                print(bytes(self.buffer[: end + 4 + length]), file=sys.stderr)
            del self.buffer[: end + 4 + length]
            self.waiting.popleft()()


class Bare:
    def __init__(self, rounds: list[list[dict[str, str]]], pipe: Pipe) -> None:
        self.pipe = pipe
        self.rounds = [
            [
                (
                    asked["method"],
                    asked["target"],
                    asked["content_type"],
                    asked["body"].encode(),
                )
                for asked in round_
            ]
            for round_ in rounds
        ]

    def begin(self, name: bytes, uid: bytes, number: int = 0) -> None:
        if number == len(self.rounds):
            return
        left = len(self.rounds[number])

        def answered() -> None:
            nonlocal left
            left -= 1
            if not left:
                self.begin(name, uid, number + 1)

        for method, target, content_type, template in self.rounds[number]:
            body = template.replace(b"NAME", name).replace(b"UID", uid)
            path = target.replace("NAME", name.decode())
            self.pipe.ask(head(method, path, content_type, len(body)) + body, answered)


async def main(rounds: list[list[dict[str, str]]]) -> None:
    loop = asyncio.get_running_loop()
    _, pipe = await loop.create_connection(Pipe, HOST, PORT)
    bare = Bare(rounds, pipe)
    reader, writer = await asyncio.open_connection(HOST, PORT, limit=2**24)
    path = "/apis/kaito.sh/v1alpha1/workspaces?watch=true&allowWatchBookmarks=true"
    writer.write(head("GET", path, "", 0))
    await reader.readuntil(b"\r\n\r\n")
    print("ready", flush=True)
    rest = b""
    while True:
        size = int(await reader.readline(), 16)
        data = await reader.readexactly(size + 2)
        *lines, rest = (rest + data[:-2]).split(b"\n")
        for line in lines:
            if line.startswith(b'{"type":"ADDED"'):
                name = line.partition(b'"name":"')[2].partition(b'"')[0]
                uid = line.partition(b'"uid":"')[2].partition(b'"')[0]
                bare.begin(name, uid)


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[2]).read_text())))
