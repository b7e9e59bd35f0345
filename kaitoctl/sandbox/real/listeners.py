"""A port of this machine for each Service that has real pods, for any program of this machine.

The port is the Service's for as long as it exists: its annotation remembers it, also over a sandbox's end,
and whatever pod is ready behind the Service then is what a connection reaches.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Generator, Mapping
from urllib.parse import urlsplit

from kaitoctl.kube import request
from kaitoctl.kube.objects import SERVICE, Object, ObjectKey, annotations_of, dig, is_being_deleted
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.controller import Outcome

ADDRESS_ANNOTATION = "sandbox.kaitoctl.dev/address"
_MANAGER = "sandbox"
_PIECE = 64 * 1024
_BACKLOG = 128


class Listeners:
    """Reconciles one Service.

    Args:
        services: store of all Services.
        port_of: where the process behind a Service listens: 0 when none serves now, None for one that has
            no real pods.
    """

    def __init__(
        self, services: Mapping[ObjectKey, Object], port_of: Callable[[str, str, str], int | None]
    ) -> None:
        self._services = services
        self._port_of = port_of
        self._tasks: dict[ObjectKey, asyncio.Task[None]] = {}

    def reconcile(self, key: ObjectKey) -> Generator[Request, Object, Outcome]:
        """Listen for a Service that has real pods, and say where."""
        service = self._services.get(key)
        if service is None or is_being_deleted(service):
            if (task := self._tasks.pop(key, None)) is not None:
                task.cancel()
            return Outcome()
        is_real = self._port_of("services", *key) is not None
        if key in self._tasks or not is_real or dig(service, "spec", "clusterIP") == "None":
            return Outcome()
        said = annotations_of(service).get(ADDRESS_ANNOTATION, "")
        listener = _bind(_port(said))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._tasks[key] = asyncio.get_running_loop().create_task(self._serve(key, listener))
        if address != said:
            patch = {"metadata": {"annotations": {ADDRESS_ANNOTATION: address}}}
            yield request.merge_patch(SERVICE, key.namespace, key.name, patch, manager=_MANAGER)
        return Outcome()

    async def close(self) -> None:
        """Stop listening."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _serve(self, key: ObjectKey, listener: socket.socket) -> None:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                await self._connect(key, reader, writer)
            writer.close()

        server = await asyncio.start_server(connected, sock=listener)
        try:
            await asyncio.Event().wait()
        finally:
            server.close()

    async def _connect(
        self, key: ObjectKey, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Pass everything on in both directions until one side has ended; nobody ready: hang up."""
        port = self._port_of("services", *key)
        if not port:
            return
        inner, outer = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pass_on(reader, outer))
                group.create_task(_pass_on(inner, writer))
        finally:
            outer.close()


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await source.read(_PIECE):
            target.write(piece)
            await target.drain()
    target.close()


def _port(address: str) -> int:
    try:
        return urlsplit(address).port or 0
    except ValueError:
        return 0


def _bind(wanted: int) -> socket.socket:
    """A socket on the port wanted, or on any when that is taken."""
    for port in (wanted, 0):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            listener.close()
            continue
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        return listener
    raise OSError("no port of this machine is free")
