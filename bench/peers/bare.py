"""The limit: what a controller's writes cost when nothing is decided. Raw HTTP/1.1 over asyncio, pipelined.

    python bare.py KUBECONFIG WRITES

WRITES is a JSON list of rounds of requests as the controller sends them for one Workspace, with NAME and UID
in place of the Workspace's own. For each Workspace that the watch shows, the requests of a round are sent at
once, and the next round when they are answered. No parsing but for name and uid, no checks, no retries.
A real API server answers the requests of a connection one after the other, so there are some connections.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from collections import deque
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

CONFIG = json.loads(Path(sys.argv[1]).read_text())
_where = urlsplit(CONFIG["clusters"][0]["cluster"]["server"])
_user = CONFIG["users"][0]["user"]
HOST, PORT = _where.hostname, _where.port
IDENTITY = f"Authorization: Bearer {_user['token']}\r\n" if "token" in _user else ""
CONNECTIONS = 16


def tls() -> ssl.SSLContext | None:
    """With the client certificate, where the server has TLS."""
    if _where.scheme != "https":
        return None
    context = ssl.create_default_context(cafile=CONFIG["clusters"][0]["cluster"]["certificate-authority"])
    context.load_cert_chain(_user["client-certificate"], _user["client-key"])
    return context


def head(method: str, target: str, content_type: str, length: int) -> bytes:
    lines = (
        f"{method} {target} HTTP/1.1\r\nHost: {HOST}:{PORT}\r\n{IDENTITY}"
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
            if (at := top.find(b"content-length:")) >= 0:
                end += 4 + int(top[at + 15 : at + 27].split(b"\r", 1)[0])
            else:  # in chunks, the last of which is empty
                last = self.buffer.find(b"\r\n0\r\n\r\n", end)
                end = last + 7 if last >= 0 else len(self.buffer) + 1
            if len(self.buffer) < end:
                return
            if top[9:10] != b"2":
                print(bytes(self.buffer[:end]), file=sys.stderr)
            del self.buffer[:end]
            self.waiting.popleft()()


class Bare:
    def __init__(self, rounds: list[list[dict[str, str]]], pipes: list[Pipe]) -> None:
        self.pipes = cycle(pipes)
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

        pipe = next(self.pipes)
        for method, target, content_type, template in self.rounds[number]:
            body = template.replace(b"NAME", name).replace(b"UID", uid)
            path = target.replace("NAME", name.decode())
            pipe.ask(head(method, path, content_type, len(body)) + body, answered)


async def main(rounds: list[list[dict[str, str]]]) -> None:
    loop = asyncio.get_running_loop()
    context = tls()
    pipes = [(await loop.create_connection(Pipe, HOST, PORT, ssl=context))[1] for _ in range(CONNECTIONS)]
    bare = Bare(rounds, pipes)
    reader, writer = await asyncio.open_connection(HOST, PORT, limit=2**24, ssl=context)
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
                metadata = line.partition(b'"metadata":')[2]
                name, uid = (
                    metadata.partition(b'"%s":"' % field)[2].partition(b'"')[0] for field in (b"name", b"uid")
                )
                bare.begin(name, uid)


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[2]).read_text())))
