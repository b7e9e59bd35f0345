"""A way to an API server that can be shut for a while, as when it is restarted or replaced."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from msgspec.structs import replace

from kaitoctl.commands.target import Target


class Way:
    """Passes connections on while it is open; shut, it breaks those there are and refuses others.

    Args:
        host: where the API server listens.
        port: the same.
    """

    def __init__(self, host: str, port: int) -> None:
        self._upstream = host, port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.port = 0

    @property
    def is_used(self) -> bool:
        """Whether somebody has come this way."""
        return bool(self._open)

    async def open(self) -> None:
        """Let connections through, on the same port again."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        """Break all connections, and refuse new ones."""
        assert self._server is not None
        self._server.close()  # who was accepted a moment ago is not in `_open` yet: `_serve` turns it away
        for writer in list(self._open):
            writer.transport.abort()
        while self._open:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)

    async def away(self, seconds: float) -> None:
        """Be shut for so long."""
        await self.shut()
        await asyncio.sleep(seconds)
        await self.open()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None or not self._server.is_serving():
            writer.transport.abort()
            return
        self._open.add(writer)
        with contextlib.suppress(OSError):
            up_reader, up_writer = await asyncio.open_connection(*self._upstream)
            try:
                await asyncio.gather(_pump(reader, up_writer), _pump(up_reader, writer))
            finally:
                up_writer.transport.abort()
                writer.transport.abort()
        self._open.discard(writer)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def way_to(target: Target, folder: Path) -> AsyncIterator[tuple[Way, Target]]:
    """A way to the cluster of a kubeconfig, and the target that leads over it."""
    config = _config(target)
    there = config["clusters"][0]["cluster"]
    server = urlsplit(there["server"])
    assert server.hostname is not None
    assert server.port is not None
    way = Way(server.hostname, server.port)
    await way.open()
    there["server"] = f"{server.scheme}://127.0.0.1:{way.port}"
    try:
        yield way, replace(target, kubeconfig=_written(config, folder / "over-the-way"))
    finally:
        await way.shut()


def _config(target: Target) -> Any:
    assert target.kubeconfig is not None
    return yaml.safe_load(Path(target.kubeconfig).read_text("utf-8"))


def _written(config: Any, file: Path) -> str:
    file.touch(mode=0o600)
    file.write_text(yaml.safe_dump(config), "utf-8")
    return str(file)
