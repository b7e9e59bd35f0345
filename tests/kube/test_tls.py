"""To whom our client speaks, and what it tells whom: TLS, client certificates, proxies, tokens."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from controlplane.certificates import Authority, Pair

from kaitoctl.errors import KaitoctlError
from kaitoctl.kube.client import connect
from kaitoctl.kube.kubeconfig import Server
from kaitoctl.kube.proxies import from_environment

TOKEN = "s3cret-token"
HELLO = b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"a": "hello"}'


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(autouse=True)
def _no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


class Peer:
    """Somebody who listens on loopback, and keeps the heads of the requests that reach him."""

    def __init__(self, answer: bytes = HELLO) -> None:
        self.port = 0
        self.heads: list[str] = []
        self.common_names: list[str] = []
        self._answer = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
                shown = writer.get_extra_info("peercert") or {}
                names = [value for part in shown.get("subject", ()) for key, value in part]
                self.common_names += names
                writer.write(self._answer)
                await writer.drain()
        writer.close()

    @property
    def tokens(self) -> int:
        return sum(TOKEN in head for head in self.heads)


class Proxy(Peer):
    """Answers CONNECT by connecting to a port of this machine, whatever host was asked for."""

    def __init__(self, to: Peer, *, refuses: bool = False, says: str = "HTTP/1.1 200 Fine\r\n") -> None:
        super().__init__()
        self._to = to
        self._says = says
        self._refuses = refuses

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            if self._refuses:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
                writer.close()
                return
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to.port)
            writer.write(f"{self._says}\r\n".encode())
            try:
                await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
            finally:
                far_writer.transport.abort()
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def listening(peer: Peer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    at_work: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        at_work[asyncio.create_task(peer.serve(reader, writer))] = writer

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()
        for task, writer in at_work.items():
            task.cancel()
            writer.transport.abort()
        await asyncio.gather(*at_work, return_exceptions=True)
        await asyncio.sleep(0)  # transports close in the next round of the loop


def showing(pair: Pair, *, trusts: Authority | None = None) -> ssl.SSLContext:
    """A server's TLS; with `trusts` it insists on a client certificate of that authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    if trusts is not None:
        context.load_verify_locations(trusts.certificate)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def encoded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def kubeconfig(folder: Path, address: str, cluster: Any = (), user: Any = ()) -> Path:
    file = folder / "kubeconfig"
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": address, **dict(cluster)}}],
        "users": [{"name": "u", "user": {"token": TOKEN, **dict(user)}}],
    }
    file.write_text(json.dumps(config))
    file.chmod(0o600)
    return file


async def ask(folder: Path, address: str, cluster: Any = (), user: Any = ()) -> str:
    """What the server says, or what the user is told instead."""
    try:
        async with connect(kubeconfig=kubeconfig(folder, address, cluster, user)) as client:
            return await client.text("/version")
    except KaitoctlError as error:
        return f"{type(error).__name__}: {error}"


def story(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(main())


def trusting(authority: Authority) -> dict[str, str]:
    return {"certificate-authority": str(authority.certificate)}


# --- who the server is -------------------------------------------------------------------------------------


@pytest.mark.parametrize("inline", [False, True], ids=["file", "data"])
def test_the_authority_of_the_kubeconfig_vouches_for_the_server(
    tmp_path: Path, authority: Authority, inline: bool
) -> None:
    trusted = {"certificate-authority-data": encoded(authority.certificate)} if inline else None

    async def main() -> None:
        async with listening(Peer(), showing(authority.server("good"))) as api:
            said = await ask(tmp_path, f"https://127.0.0.1:{api.port}", trusted or trusting(authority))
        assert "hello" in said
        assert api.tokens == 1

    story(main)


IMPOSTORS: dict[str, tuple[Callable[[Authority, Authority], Pair], str]] = {
    "another authority's": (lambda mine, other: other.server("other"), "unable to get local issuer"),
    "for another host": (lambda mine, other: mine.server("host", ["k8s.example"]), "IP address mismatch"),
    "expired": (lambda mine, other: mine.server("old", expired=True), "certificate has expired"),
    "a client's": (lambda mine, other: mine.client("admin"), "unsuitable certificate purpose"),
}


@pytest.mark.parametrize("certificate", IMPOSTORS)
def test_a_server_that_cannot_prove_who_it_is_gets_no_request(
    tmp_path: Path, authority: Authority, stranger: Authority, certificate: str
) -> None:
    made, words = IMPOSTORS[certificate]

    async def main() -> None:
        async with listening(Peer(), showing(made(authority, stranger))) as api:
            said = await ask(tmp_path, f"https://127.0.0.1:{api.port}", trusting(authority))
        assert said.startswith("Unreachable: ")
        assert words in said
        assert api.heads == []

    story(main)


def test_without_an_authority_those_of_the_system_decide(tmp_path: Path, authority: Authority) -> None:
    """They know nothing of a cluster that has signed its own certificate."""

    async def main() -> None:
        async with listening(Peer(), showing(authority.server("own"))) as api:
            said = await ask(tmp_path, f"https://127.0.0.1:{api.port}")
        assert "CERTIFICATE_VERIFY_FAILED" in said
        assert api.heads == []

    story(main)


@pytest.mark.parametrize("name", ["k8s.example", "other.example"])
def test_tls_server_name_is_whose_certificate_it_must_be(
    tmp_path: Path, authority: Authority, name: str
) -> None:
    async def main() -> None:
        async with listening(Peer(), showing(authority.server("named", ["k8s.example"]))) as api:
            cluster = {**trusting(authority), "tls-server-name": name}
            said = await ask(tmp_path, f"https://127.0.0.1:{api.port}", cluster)
        if name == "k8s.example":
            assert "hello" in said
        else:
            assert "Hostname mismatch" in said
            assert api.heads == []

    story(main)


def test_only_who_asks_for_it_trusts_anybody_and_is_warned_each_time(
    tmp_path: Path, stranger: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with listening(Peer(), showing(stranger.server("any", ["x.example"]))) as api:
            address = f"https://127.0.0.1:{api.port}"
            for value in (False, None):
                assert "Unreachable" in await ask(tmp_path, address, {"insecure-skip-tls-verify": value})
            assert (api.heads, caplog.messages) == ([], [])
            for time in (1, 2):
                assert "hello" in await ask(tmp_path, address, {"insecure-skip-tls-verify": True})
                assert len(caplog.messages) == time
        assert all(address in line and "insecure-skip-tls-verify" in line for line in caplog.messages)

    story(main)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1 is deprecated")
def test_less_than_tls_1_2_is_not_spoken(tmp_path: Path, authority: Authority) -> None:
    async def main() -> None:
        for version in (ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = showing(authority.server("version"))
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = version
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
            async with listening(Peer(), context) as api:
                said = await ask(tmp_path, f"https://127.0.0.1:{api.port}", trusting(authority))
            assert ("hello" in said) is (version >= ssl.TLSVersion.TLSv1_2), said

    story(main)


def test_an_authority_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("no certificate")

    async def main() -> None:
        for cluster in (
            {"certificate-authority": str(tmp_path / "ca.crt")},
            {"certificate-authority": "missing.crt"},
            {"certificate-authority-data": base64.b64encode(b"none").decode()},
        ):
            said = await ask(tmp_path, "https://127.0.0.1:1", cluster)
            assert said.startswith("InputError: the kubeconfig's certificates cannot be used")

    story(main)


# --- who we are --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inline", [False, True], ids=["files", "data"])
def test_a_client_certificate_says_who_we_are(tmp_path: Path, authority: Authority, inline: bool) -> None:
    me = authority.client("alice", ["admins"])
    user = {"client-certificate": str(me.certificate), "client-key": str(me.key)}
    if inline:
        user = {"client-certificate-data": encoded(me.certificate), "client-key-data": encoded(me.key)}

    async def main() -> None:
        async with listening(Peer(), showing(authority.server("mutual"), trusts=authority)) as api:
            address = f"https://127.0.0.1:{api.port}"
            assert "hello" in await ask(tmp_path, address, trusting(authority), user)
            assert "Unreachable" in await ask(tmp_path, address, trusting(authority))
        assert api.common_names == ["alice", "admins"] or api.common_names == ["admins", "alice"]
        assert len(api.heads) == 1

    story(main)


def test_a_certificate_may_come_from_a_plugin(tmp_path: Path, authority: Authority) -> None:
    me = authority.client("carol")
    version = "client.authentication.k8s.io/v1"
    status = {
        "clientCertificateData": me.certificate.read_text(),
        "clientKeyData": me.key.read_text(),
    }
    (tmp_path / "given").write_text(json.dumps({"apiVersion": version, "status": status}))
    asked = {"apiVersion": version, "command": "cat", "args": [str(tmp_path / "given")]}
    user = {"token": "", "exec": {**asked, "interactiveMode": "Never"}}

    async def main() -> None:
        async with listening(Peer(), showing(authority.server("mutual"), trusts=authority)) as api:
            assert "hello" in await ask(tmp_path, f"https://127.0.0.1:{api.port}", trusting(authority), user)
        assert api.common_names == ["carol"]

    story(main)


def test_a_key_that_was_given_inline_stays_in_no_file(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = tmp_path / "temporary"
    places.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(places))
    me = authority.client("bob")
    user = {"client-certificate-data": encoded(me.certificate), "client-key-data": encoded(me.key)}

    async def main() -> None:
        async with connect(kubeconfig=kubeconfig(tmp_path, "https://127.0.0.1:1", (), user)):
            assert list(places.iterdir()) == []

    story(main)


def test_a_key_of_another_certificate_is_said_without_it(tmp_path: Path, authority: Authority) -> None:
    one, other = authority.client("one"), authority.client("other")
    user = {"client-certificate-data": encoded(one.certificate), "client-key-data": encoded(other.key)}

    async def main() -> None:
        said = await ask(tmp_path, "https://127.0.0.1:1", (), user)
        assert said.startswith("InputError: the kubeconfig's certificates cannot be used")
        assert "PRIVATE" not in said

    story(main)


# --- what goes over the wire -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "user",
    [{}, {"token": "", "tokenFile": "token"}, {"token": "", "username": "me", "password": TOKEN}],
    ids=["token", "token file", "password"],
)
@pytest.mark.parametrize(
    "host", ["k8s.example", "10.0.0.1", "localhost.example", "127.0.0.1.example", "[2001:db8::1]"]
)
def test_a_secret_never_leaves_this_machine_in_the_clear(tmp_path: Path, host: str, user: Any) -> None:
    (tmp_path / "token").write_text(TOKEN)

    async def main() -> None:
        said = await ask(tmp_path, f"http://{host}:8080", (), user)
        assert "must not be sent in the clear" in said
        assert TOKEN not in said

    story(main)


def test_on_this_machine_it_may_but_not_by_way_of_a_proxy(tmp_path: Path) -> None:
    async def main() -> None:
        async with listening(Peer()) as api, listening(Peer()) as proxy:
            address = f"http://127.0.0.1:{api.port}"
            assert "hello" in await ask(tmp_path, address)
            said = await ask(tmp_path, address, {"proxy-url": f"http://127.0.0.1:{proxy.port}"})
        assert "its proxy-url would see the token" in said
        assert (api.tokens, proxy.heads) == (1, [])

    story(main)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(tmp_path: Path, status: int) -> None:
    async def main() -> None:
        async with listening(Peer()) as elsewhere:
            redirect = f"HTTP/1.1 {status} X\r\nLocation: http://127.0.0.1:{elsewhere.port}/\r\n"
            async with listening(Peer(f"{redirect}Content-Length: 0\r\n\r\n".encode())) as api:
                said = await ask(tmp_path, f"http://127.0.0.1:{api.port}")
        assert said.startswith(f"ApiError: HTTP {status}")
        assert elsewhere.heads == []

    story(main)


def test_a_netrc_is_nobodys_business(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text(f"machine 127.0.0.1 login me password {TOKEN}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))

    async def main() -> None:
        async with listening(Peer()) as api:
            assert "hello" in await ask(tmp_path, f"http://127.0.0.1:{api.port}", (), {"token": ""})
        assert "authorization" not in api.heads[0].lower()

    story(main)


# --- proxies -----------------------------------------------------------------------------------------------


def test_through_a_proxy_tls_is_spoken_with_the_server_itself(tmp_path: Path, authority: Authority) -> None:
    async def main() -> None:
        async with (
            listening(Peer(), showing(authority.server("far", ["k8s.example"]))) as api,
            listening(Proxy(api)) as proxy,
        ):
            cluster = {**trusting(authority), "proxy-url": f"http://me:p%40ss@127.0.0.1:{proxy.port}"}
            assert "hello" in await ask(tmp_path, "https://k8s.example:6443", cluster)
            for address, words in (
                ("https://other.example", "Hostname mismatch"),
                ("https://[2001:db8::1]:6443", "IP address mismatch"),
            ):
                assert words in await ask(tmp_path, address, cluster)
        assert api.tokens == 1
        assert [head.split("\r\n")[0] for head in proxy.heads] == [
            "CONNECT k8s.example:6443 HTTP/1.1",
            "CONNECT other.example:443 HTTP/1.1",
            "CONNECT [2001:db8::1]:6443 HTTP/1.1",
        ]
        whom = base64.b64encode(b"me:p@ss").decode()
        assert all(f"Proxy-Authorization: Basic {whom}\r\n" in head for head in proxy.heads)
        assert proxy.tokens == 0
        assert not any("proxy-authorization" in head.lower() for head in api.heads)

    story(main)


@pytest.mark.parametrize(
    "head", ["HTTP/1.0 200 OK\r\nContent-Length: 0\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\n"]
)
def test_a_proxy_may_say_of_the_tunnel_what_no_tunnel_has(
    tmp_path: Path, authority: Authority, head: str
) -> None:
    async def main() -> None:
        async with (
            listening(Peer(), showing(authority.server("far", ["k8s.example"]))) as api,
            listening(Proxy(api, says=head)) as proxy,
        ):
            cluster = {**trusting(authority), "proxy-url": f"http://127.0.0.1:{proxy.port}"}
            assert "hello" in await ask(tmp_path, "https://k8s.example:6443", cluster)

    story(main)


def test_a_proxy_that_refuses_is_named_without_its_password(tmp_path: Path, authority: Authority) -> None:
    async def main() -> None:
        async with listening(Proxy(Peer(), refuses=True)) as proxy:
            cluster = {**trusting(authority), "proxy-url": f"http://me:{TOKEN}@127.0.0.1:{proxy.port}"}
            said = await ask(tmp_path, "https://k8s.example", cluster)
        assert f"the proxy 127.0.0.1:{proxy.port} answered HTTP 407" in said
        assert TOKEN not in said
        assert len(proxy.heads) == 1
        assert proxy.tokens == 0

    story(main)


class Wrong(Peer):
    """What listens where a proxy should: it answers CONNECT with these bytes, and hangs up."""

    def __init__(self, says: bytes) -> None:
        super().__init__()
        self._bytes = says

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(self._bytes)
            await writer.drain()
        writer.close()


def _status(code: int) -> bytes:
    return f"HTTP/1.1 {code} X\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize("how", ["kubeconfig", "environment"])
@pytest.mark.parametrize(
    ("says", "words", "hint"),
    [
        (None, "cannot be reached: Connection refused", "does it run"),
        (b"", "does not answer CONNECT as a proxy does", "is it an http:// proxy"),
        (b"\x05\xff", "does not answer CONNECT as a proxy does", "is it an http:// proxy"),
        (b"SSH-2.0-OpenSSH_9\r\n", "does not answer CONNECT as a proxy does", "is it an http:// proxy"),
        (_status(403), "answered HTTP 403", "denies connections"),
        (_status(405), "answered HTTP 405", "no CONNECT"),
        (_status(407), "answered HTTP 407", "user and a password"),
        (_status(502), "answered HTTP 502", "cannot reach the API server"),
        (_status(503), "answered HTTP 503", "cannot reach the API server"),
        (_status(504), "answered HTTP 504", "API server does not answer"),
    ],
)
def test_a_proxy_that_lets_nobody_through_is_blamed_and_not_the_server(
    tmp_path: Path,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    says: bytes | None,
    words: str,
    hint: str,
) -> None:
    async def main() -> None:
        async with listening(Wrong(says or b"")) as proxy:
            port = proxy.port
            if says is not None:
                await blamed(port)
        if says is None:
            await blamed(port)

    async def blamed(port: int) -> None:
        cluster = trusting(authority)
        if how == "kubeconfig":
            cluster["proxy-url"] = f"http://127.0.0.1:{port}"
        else:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        with pytest.raises(KaitoctlError) as caught:
            path = kubeconfig(tmp_path, "https://k8s.example:6443", cluster, ())
            async with connect(kubeconfig=path) as client:
                await client.text("/version")
        assert f"the proxy 127.0.0.1:{port} " in str(caught.value)
        assert words in str(caught.value)
        assert hint in caught.value.hint
        assert "HTTPS_PROXY" in caught.value.hint
        assert "kubectl cluster-info" not in caught.value.hint

    story(main)


def test_the_proxy_of_the_environment_is_used_for_what_is_elsewhere(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        pair = authority.server("both", ["k8s.example", "127.0.0.1"])
        async with listening(Peer(), showing(pair)) as api, listening(Proxy(api)) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{proxy.port}")
            assert "hello" in await ask(tmp_path, f"https://127.0.0.1:{api.port}", trusting(authority))
            assert proxy.heads == []
            assert "hello" in await ask(tmp_path, "https://k8s.example", trusting(authority))
            assert len(proxy.heads) == 1

    story(main)


class Socks(Peer):
    """A SOCKS5 proxy (RFC 1928, 1929) that leads everybody to a port of this machine.

    Args:
        to: who listens there.
        user: who has to say so, with his password; empty for anybody.
    """

    def __init__(self, to: Peer, user: str = "") -> None:
        super().__init__()
        self._to = to
        self._user = user

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            _, count = await reader.readexactly(2)
            method = 2 if self._user else 0
            offered = await reader.readexactly(count)
            writer.write(bytes([5, method if method in offered else 255]))
            if self._user:
                _, length = await reader.readexactly(2)
                name = await reader.readexactly(length)
                password = await reader.readexactly((await reader.readexactly(1))[0])
                is_right = f"{name.decode()}:{password.decode()}" == self._user
                writer.write(bytes([1, 0 if is_right else 1]))
            _, _, _, of = await reader.readexactly(4)
            assert of == 3, "the name is looked up by the proxy"
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
            self.heads.append(f"{host}:{int.from_bytes(await reader.readexactly(2), 'big')}")
            writer.write(bytes([5, 0, 0, 1, 127, 0, 0, 1, 0, 0]))
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to.port)
            try:
                await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
            finally:
                far_writer.transport.abort()
        writer.close()


@pytest.mark.parametrize("user", ["", "me:p@ss"])
def test_through_a_socks_proxy_tls_is_spoken_with_the_server_itself(
    tmp_path: Path, authority: Authority, user: str
) -> None:
    async def main() -> None:
        async with (
            listening(Peer(), showing(authority.server("far", ["k8s.example"]))) as api,
            listening(Socks(api, user)) as proxy,
        ):
            whose = "me:p%40ss@" if user else ""
            cluster = {**trusting(authority), "proxy-url": f"socks5://{whose}127.0.0.1:{proxy.port}"}
            assert "hello" in await ask(tmp_path, "https://k8s.example:6443", cluster)
            assert "Hostname mismatch" in await ask(tmp_path, "https://other.example", cluster)
            if user:
                wrong = {**cluster, "proxy-url": f"socks5://me:{TOKEN}@127.0.0.1:{proxy.port}"}
                said = await ask(tmp_path, "https://k8s.example:6443", wrong)
                assert f"the proxy 127.0.0.1:{proxy.port} refuses" in said
                assert TOKEN not in said
        assert proxy.heads[:2] == ["k8s.example:6443", "other.example:443"]
        assert api.tokens == 1

    story(main)


def test_a_socks_proxy_of_the_environment_may_say_who_looks_names_up(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with (
            listening(Peer(), showing(authority.server("far", ["k8s.example"]))) as api,
            listening(Socks(api)) as proxy,
        ):
            monkeypatch.setenv("HTTPS_PROXY", f"socks5h://127.0.0.1:{proxy.port}")
            assert "hello" in await ask(tmp_path, "https://k8s.example", trusting(authority))
        assert proxy.heads == ["k8s.example:443"]

    story(main)


def test_a_proxy_over_tls_must_be_vouched_for_and_sees_nothing(
    tmp_path: Path, authority: Authority, stranger: Authority
) -> None:
    async def main() -> None:
        async with (
            listening(Peer(), showing(authority.server("far", ["k8s.example"]))) as api,
            listening(Proxy(api), showing(authority.server("proxy", ["127.0.0.1"]))) as proxy,
            listening(Proxy(api), showing(stranger.server("proxy", ["127.0.0.1"]))) as nobody,
        ):
            cluster = {**trusting(authority), "proxy-url": f"https://me:p%40ss@127.0.0.1:{proxy.port}"}
            assert "hello" in await ask(tmp_path, "https://k8s.example:6443", cluster)
            cluster["proxy-url"] = f"https://me:p%40ss@127.0.0.1:{nobody.port}"
            assert "Unreachable" in await ask(tmp_path, "https://k8s.example:6443", cluster)
        assert [head.split("\r\n")[0] for head in proxy.heads] == ["CONNECT k8s.example:6443 HTTP/1.1"]
        assert proxy.tokens == 0
        assert nobody.heads == []
        assert api.tokens == 1

    story(main)


class Breaking(Peer):
    """Reads what opens TLS, answers some bytes, and ends the connection, or resets it."""

    def __init__(self, answer: bytes, *, resets: bool = False) -> None:
        super().__init__(answer)
        self._resets = resets

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(self._answer)
        if self._resets:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.close()


Far = Callable[[Authority, Authority], tuple[Peer, ssl.SSLContext | None]]
_HALF_A_RECORD = b"\x16\x03\x03\x40\x00\x02\x00"
BEHIND_A_PROXY: dict[str, tuple[Far, str]] = {
    "a stranger": (lambda mine, other: (Peer(), showing(other.server("far", ["k8s.example"]))), "issuer"),
    "another host": (lambda mine, other: (Peer(), showing(mine.server("x", ["x.example"]))), "mismatch"),
    "no guests": (
        lambda mine, other: (Peer(), showing(mine.server("far", ["k8s.example"]), trusts=mine)),
        "the server closed the connection",
    ),
    "no TLS": (lambda mine, other: (Breaking(b"HTTP/1.0 400 Bad Request\r\n\r\n"), None), "SSL"),
    "hangs up": (lambda mine, other: (Breaking(b""), None), "ended during the TLS handshake"),
    "hangs up amid": (lambda mine, other: (Breaking(_HALF_A_RECORD), None), "ended during the TLS handshake"),
    "resets": (lambda mine, other: (Breaking(b"", resets=True), None), "ended during the TLS handshake"),
}


@pytest.mark.parametrize("over_tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("who", BEHIND_A_PROXY)
def test_what_is_wrong_behind_a_proxy_is_said_alike_over_tls(
    tmp_path: Path,
    authority: Authority,
    stranger: Authority,
    caplog: pytest.LogCaptureFixture,
    who: str,
    over_tls: bool,
) -> None:
    """asyncio of Python 3.11 ends TLS inside TLS by an error of its own."""
    far, words = BEHIND_A_PROXY[who]

    async def main() -> None:
        tls = showing(authority.server("proxy", ["127.0.0.1"])) if over_tls else None
        async with listening(*far(authority, stranger)) as api, listening(Proxy(api), tls) as proxy:
            url = f"http{'s' * over_tls}://127.0.0.1:{proxy.port}"
            said = await ask(tmp_path, "https://k8s.example:6443", {**trusting(authority), "proxy-url": url})
        assert said.startswith("Unreachable: cannot reach the API server https://k8s.example:6443: ")
        assert words in said
        assert len(proxy.heads) == 1
        assert api.tokens == 0

    story(main)
    assert caplog.messages == []


def test_nobody_pays_for_socks_who_does_not_use_it() -> None:
    program = "import sys, kaitoctl.kube.client; print('python_socks' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    "url",
    [
        f"ftp://me:{TOKEN}@proxy.example",
        f"socks4://me:{TOKEN}@proxy.example:1080",
        f"http://me:{TOKEN}@",
        f"http://me:{TOKEN}@proxy.example:99999",
        f"http://me:{TOKEN}@[::1",
    ],
)
def test_a_proxy_that_we_cannot_speak_to_is_refused_and_not_told_its_password(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        asked = [await ask(tmp_path, "https://k8s.example", {"proxy-url": url})]
        monkeypatch.setenv("HTTPS_PROXY", url)
        asked.append(await ask(tmp_path, "https://k8s.example"))
        assert all(said.startswith("InputError: ") and TOKEN not in said for said in asked)
        assert "proxy-url" in asked[0]
        assert "$HTTPS_PROXY" in asked[1]

    story(main)


@pytest.mark.parametrize(
    ("address", "exempt", "direct"),
    [
        ("https://k8s.example", "", False),
        ("https://k8s.example", "*", True),
        ("https://k8s.example", "other.example, k8s.example", True),
        ("https://K8S.example", "k8s.EXAMPLE", True),
        ("https://api.k8s.example", "k8s.example", True),
        ("https://api.k8s.example", ".k8s.example", True),
        ("https://api.k8s.example", "*.k8s.example", True),
        ("https://k8s.example", ".k8s.example", False),
        ("https://badk8s.example", "k8s.example", False),
        ("https://k8s.example:6443", "k8s.example:6443", True),
        ("https://k8s.example:6443", "k8s.example:443", False),
        ("https://k8s.example", "k8s.example:443", True),
        ("https://10.1.2.3:6443", "10.0.0.0/8", True),
        ("https://11.1.2.3:6443", "10.0.0.0/8", False),
        ("https://10.1.2.3", "10.1.2.3", True),
        ("https://10.1.2.3", "2.3", False),
        ("https://[2001:db8::1]", "2001:db8::/32", True),
        ("https://[2001:db8::1]:6443", "[2001:db8::1]:6443", True),
        ("https://[2001:db8::1]:6443", "[2001:db8::1]:443", False),
        ("https://localhost:6443", "", True),
        ("https://127.0.0.2:6443", "", True),
        ("https://[::1]:6443", "", True),
        ("http://k8s.example", "", True),
    ],
)
def test_who_is_reached_without_the_proxy_of_the_environment(address: str, exempt: str, direct: bool) -> None:
    """Source: golang.org/x/net/http/httpproxy, by which kubectl goes."""
    environment = {"HTTPS_PROXY": "http://proxy.example:3128", "no_proxy": exempt}
    assert from_environment(address, environment) == ("" if direct else "http://proxy.example:3128")


def test_without_a_proxy_in_the_environment_there_is_none() -> None:
    assert from_environment("https://k8s.example", {"HTTPS_PROXY": "", "HTTP_PROXY": "http://p"}) == ""


def test_a_server_shows_none_of_its_secrets() -> None:
    server = Server(f"https://x/{TOKEN}", token=TOKEN, proxy=f"http://me:{TOKEN}@p", client_key=TOKEN)
    assert TOKEN not in repr(server)


@pytest.mark.parametrize(
    "address", [f"ftp://me:{TOKEN}@x.example", f"https://me:{TOKEN}@x:999999", f"me:{TOKEN}@x"]
)
def test_an_address_that_is_none_is_told_without_its_password(tmp_path: Path, address: str) -> None:
    async def main() -> None:
        said = await ask(tmp_path, address)
        assert said.startswith("InputError: ")
        assert TOKEN not in said

    story(main)
