"""An API server that says who it takes its client for, and a proxy before it; both on loopback, over TLS."""

from __future__ import annotations

import base64
import json
import selectors
import socket
import socketserver
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from controlplane.certificates import Authority, Pair

# What says who we are, on whose behalf, and how we want to be answered.
_TELLING = ("authorization", "impersonate-", "accept-encoding")


class Place(NamedTuple):
    """What a kubeconfig may speak of.

    Args:
        folder: of the certificates; also has `token` (`from-a-file`), `empty-token` and `plugin`.
        server: the echo server's address, https.
        plain: the same over http.
        proxy: a proxy's URL without user and password.
        tls_proxy: of the same over TLS.
        socks: of a SOCKS5 proxy.
        authority: who has signed the server's certificate; `stranger` has not.
        me: a client certificate of the user `alice`.
        other: one of the user `bob`.
    """

    folder: Path
    server: str
    plain: str
    proxy: str
    tls_proxy: str
    socks: str
    authority: Authority
    stranger: Authority
    me: Pair
    other: Pair

    @property
    def ca(self) -> str:
        """The path of the authority's certificate."""
        return str(self.authority.certificate)

    @property
    def port(self) -> str:
        """The echo server's port."""
        return self.server.rpartition(":")[2]


def encoded(file: Path) -> str:
    """A file as kubeconfigs have it inside."""
    return base64.b64encode(file.read_bytes()).decode()


@contextmanager
def place(folder: Path) -> Iterator[Place]:
    """The servers, up for as long as the block."""
    (folder / "stranger").mkdir()
    authority, stranger = Authority(folder), Authority(folder / "stranger")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority.server("echo", ["127.0.0.1", "localhost", "other.example"]))
    tls.load_verify_locations(authority.certificate)
    tls.verify_mode = ssl.CERT_OPTIONAL

    def note_name(connection: Any, name: str | None, _: ssl.SSLContext) -> None:
        connection.name_asked_for = name

    tls.sni_callback = note_name
    (folder / "token").write_text("from-a-file\n")
    (folder / "empty-token").write_text("\n")
    _write_plugin(folder)
    secure, plain, proxy, tls_proxy = _server(_Echo), _server(_Echo), _server(_Proxy), _server(_Proxy)
    for over_tls in (secure, tls_proxy):
        over_tls.socket = tls.wrap_socket(over_tls.socket, server_side=True, do_handshake_on_connect=False)
    socks = _QuietTCP(("127.0.0.1", 0), _Socks)
    servers: list[socketserver.TCPServer] = [secure, plain, proxy, tls_proxy, socks]
    threads = [threading.Thread(target=server.serve_forever, daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield Place(
            folder,
            f"https://127.0.0.1:{secure.server_port}",
            f"http://127.0.0.1:{plain.server_port}",
            f"http://127.0.0.1:{proxy.server_port}",
            f"https://127.0.0.1:{tls_proxy.server_port}",
            f"socks5://127.0.0.1:{socks.server_address[1]}",
            authority,
            stranger,
            authority.client("alice"),
            authority.client("bob"),
        )
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


def _write_plugin(folder: Path) -> None:
    """A plugin that gives the token which is its first argument, and in `$MORE` more of it."""
    answer = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "TOKEN"},
    }
    told = json.dumps(answer).replace("TOKEN", "'$1$MORE'").replace("v1", "${VERSION:-v1}", 1)
    program = folder / "plugin"
    program.write_text(
        f"#!/bin/sh\ncat <<END\n{told}\nEND\n".replace("'$1$MORE'", "$1$MORE"), encoding="ascii"
    )
    program.chmod(0o700)


class _Patient(socketserver.BaseServer):
    """Clients that hang up are what some tests are about; any other error is shown."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Quiet(_Patient, ThreadingHTTPServer):
    pass


def _server(handler: Callable[..., BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    return _Quiet(("127.0.0.1", 0), handler)


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        if isinstance(self.request, ssl.SSLSocket):
            self.request.do_handshake()
        super().setup()

    def do_GET(self) -> None:
        said: dict[str, list[str]] = {}
        for name, value in self.headers.items():
            if name.lower().startswith(_TELLING):
                said.setdefault(name.lower(), []).append(value.encode("latin-1").decode("utf-8"))
        subject: Any = ()
        asked_for: str | None = None
        if isinstance(self.connection, ssl.SSLSocket):
            subject = (self.connection.getpeercert() or {}).get("subject", ())
            asked_for = getattr(self.connection, "name_asked_for", None)
        body = json.dumps(
            {
                "headers": {key: sorted(values) for key, values in sorted(said.items())},
                "certificate": [value for part in subject for key, value in part if key == "commonName"],
                "name": asked_for,
                "by proxy": _BY_PROXY.pop(self.client_address[1], None),
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class _QuietTCP(_Patient, socketserver.ThreadingTCPServer):
    pass


class _Socks(socketserver.StreamRequestHandler):
    """SOCKS5 without a user: RFC 1928."""

    def handle(self) -> None:
        self.rfile.read(self.rfile.read(2)[1])
        self.wfile.write(bytes([5, 0]))
        of = self.rfile.read(4)[3]
        host = self.rfile.read(self.rfile.read(1)[0] if of == 3 else 4)
        shown = host.decode() if of == 3 else socket.inet_ntoa(host)
        with socket.create_connection(("127.0.0.1", int.from_bytes(self.rfile.read(2), "big"))) as far:
            _BY_PROXY[far.getsockname()[1]] = f"{shown} by SOCKS"
            self.wfile.write(bytes([5, 0, 0, 1, 127, 0, 0, 1, 0, 0]))
            _pump(self.connection, far)


def _pump(near: Any, far: socket.socket) -> None:
    """Carry bytes either way until one end closes."""
    ends = {near: far, far: near}
    with suppress(OSError), selectors.DefaultSelector() as selector:  # select() takes no file above 1023
        for side in ends:
            selector.register(side, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                end: Any = key.fileobj
                data = end.recv(65536)
                if not data:
                    return
                ends[end].sendall(data)
                while end is near and getattr(near, "pending", int)():  # what TLS has read already
                    far.sendall(near.recv(65536))


# For each port that a proxy has connected from: what it was told of its own user.
_BY_PROXY: dict[int, str] = {}


class _Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        if isinstance(self.request, ssl.SSLSocket):
            self.request.do_handshake()
        super().setup()

    def do_CONNECT(self) -> None:
        host, _, port = self.path.rpartition(":")
        with socket.create_connection(("127.0.0.1", int(port))) as far:
            _BY_PROXY[far.getsockname()[1]] = f"{host} for {self.headers.get('Proxy-Authorization')}"
            self.send_response(200)
            self.end_headers()
            _pump(self.connection, far)

    def log_message(self, *_: object) -> None:
        pass
