"""Credentials that go stale while we work: asked for again after a 401, and before they expire."""

from __future__ import annotations

import asyncio
import json
import ssl
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from controlplane.certificates import Authority, Pair

from kaitoctl.errors import ApiError, InputError
from kaitoctl.kube.client import Client, connect

VERSION = "client.authentication.k8s.io/v1"


class Api:
    """An API server over TLS that accepts one token at a time, and says whose certificate it sees.

    Attributes:
        accepted: the token; any, when empty.
    """

    def __init__(self) -> None:
        self.accepted = ""
        self.tokens: list[str] = []
        self.names: list[str] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                token = head.partition("Authorization: Bearer ")[2].partition("\r\n")[0]
                self.tokens.append(token)
                subject: Any = (writer.get_extra_info("peercert") or {}).get("subject", ())
                self.names += [value for part in subject for key, value in part if key == "commonName"]
                is_known = self.accepted in ("", token)
                said = json.dumps({"kind": "Status", "message": "Unauthorized", "reason": "Unauthorized"})
                status = "200 OK" if is_known else "401 Unauthorized"
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(said)}\r\n\r\n{said}".encode())
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            writer.transport.abort()

    @asynccontextmanager
    async def up(self, authority: Authority) -> AsyncIterator[Api]:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*authority.server("api"))
        tls.load_verify_locations(authority.certificate)
        tls.verify_mode = ssl.CERT_OPTIONAL
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await asyncio.sleep(0)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


class Plugin:
    """A program that gives what `gives` has said last, and counts how often it was asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.program = folder / "plugin"
        self.program.write_text(f"#!/bin/sh\necho x >> {folder}/asked\nexec cat {folder}/given\n")
        self.program.chmod(stat.S_IRWXU)
        (folder / "asked").write_text("")

    def gives(self, *, pair: Pair | None = None, expires_in_s: float | None = None, **status: str) -> None:
        if pair is not None:
            status |= {
                "clientCertificateData": pair.certificate.read_text(),
                "clientKeyData": pair.key.read_text(),
            }
        if expires_in_s is not None:
            when = datetime.now(UTC) + timedelta(seconds=expires_in_s)
            status["expirationTimestamp"] = when.isoformat().replace("+00:00", "Z")
        (self._folder / "given").write_text(json.dumps({"apiVersion": VERSION, "status": status}))

    @property
    def times(self) -> int:
        return len((self._folder / "asked").read_text().split())


def kubeconfig(folder: Path, api: Api, authority: Authority, user: dict[str, Any]) -> Path:
    cluster = {
        "server": f"https://127.0.0.1:{api.port}",
        "certificate-authority": str(authority.certificate),
    }
    file = folder / "kubeconfig"
    file.touch(mode=0o600)
    file.write_text(
        yaml.safe_dump(
            {
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
                "clusters": [{"name": "k", "cluster": cluster}],
                "users": [{"name": "u", "user": user}],
            }
        )
    )
    return file


@asynccontextmanager
async def asking(folder: Path, authority: Authority) -> AsyncIterator[tuple[Api, Plugin, Client]]:
    """An API server, a plugin that has given a first token, and a client that uses both."""
    plugin = Plugin(folder)
    plugin.gives(token="one")
    spec = {"apiVersion": VERSION, "command": str(plugin.program), "interactiveMode": "Never"}
    async with (
        Api().up(authority) as api,
        connect(kubeconfig=kubeconfig(folder, api, authority, {"exec": spec})) as client,
    ):
        yield api, plugin, client


def test_a_401_makes_the_plugin_be_asked_again_and_the_request_be_repeated(
    tmp_path: Path, authority: Authority
) -> None:
    async def story() -> None:
        async with asking(tmp_path, authority) as (api, plugin, client):
            api.accepted = "one"
            await client.text("/version")
            api.accepted = "two"
            plugin.gives(token="two")
            await client.text("/version")
            assert api.tokens == ["one", "one", "two"]
            assert plugin.times == 2

    asyncio.run(story())


def test_a_401_that_stays_is_told_after_one_more_try(tmp_path: Path, authority: Authority) -> None:
    async def story() -> None:
        async with asking(tmp_path, authority) as (api, plugin, client):
            api.accepted = "another"
            with pytest.raises(ApiError, match="Unauthorized") as caught:
                await client.text("/version")
            assert "log in again" in caught.value.hint
            assert api.tokens == ["one", "one"]
            assert plugin.times == 2

    asyncio.run(story())


def test_a_plugin_that_fails_when_it_is_asked_again_is_named(tmp_path: Path, authority: Authority) -> None:
    async def story() -> None:
        async with asking(tmp_path, authority) as (api, plugin, client):
            api.accepted = "two"
            plugin.gives()
            with pytest.raises(InputError, match="gave no credentials"):
                await client.text("/version")

    asyncio.run(story())


def test_a_new_certificate_is_shown_from_the_next_request_on(tmp_path: Path, authority: Authority) -> None:
    """Connections that were made with the old one are not used any more."""

    async def story() -> None:
        plugin = Plugin(tmp_path)
        plugin.gives(pair=authority.client("first"), expires_in_s=3)  # within what is renewed early
        spec = {"apiVersion": VERSION, "command": str(plugin.program), "interactiveMode": "Never"}
        async with (
            Api().up(authority) as api,
            connect(kubeconfig=kubeconfig(tmp_path, api, authority, {"exec": spec})) as client,
        ):
            await client.text("/version")
            plugin.gives(pair=authority.client("second"), expires_in_s=600)
            await client.text("/version")
            await client.text("/version")
            assert api.names == ["first", "second", "second"]

    asyncio.run(story())


def test_a_token_file_is_read_again_after_a_401(tmp_path: Path, authority: Authority) -> None:
    async def story() -> None:
        (tmp_path / "token").write_text("one\n")
        async with (
            Api().up(authority) as api,
            connect(kubeconfig=kubeconfig(tmp_path, api, authority, {"tokenFile": "token"})) as client,
        ):
            await client.text("/version")
            api.accepted = "two"
            (tmp_path / "token").write_text("two\n")
            await client.text("/version")
            assert api.tokens == ["one", "one", "two"]

    asyncio.run(story())


def test_a_static_token_is_not_tried_twice(tmp_path: Path, authority: Authority) -> None:
    async def story() -> None:
        async with Api().up(authority) as api:
            api.accepted = "other"
            async with connect(kubeconfig=kubeconfig(tmp_path, api, authority, {"token": "t0"})) as client:
                with pytest.raises(ApiError):
                    await client.text("/version")
            assert api.tokens == ["t0"]

    asyncio.run(story())
