"""A package index on the loopback, of what this environment has: what asks an index is tested without one.

Wheels are made of the installed files when somebody asks, the same bytes each time. What is not installed
here (packages of other platforms) has empty wheels.

Source: https://packaging.python.org/en/latest/specifications/simple-repository-api/ (HTML, with metadata
files), and .../binary-distribution-format/.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import io
import re
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_UNKNOWN = ("0.4", "99.0")
"""Versions of what is not installed here; requirements such as `~=0.3` find one, too."""


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def _installed() -> dict[str, importlib.metadata.Distribution]:
    return {_plain(one.name): one for one in importlib.metadata.distributions()}


def _described(name: str, version: str) -> tuple[str, str, dict[str, bytes]]:
    """A wheel's file name, its metadata folder, and its files without RECORD."""
    found = _installed().get(name)
    if found is None:
        stem = f"{name.replace('-', '_')}-{version}"
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        about = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        folder = f"{stem}.dist-info"
        files = {f"{folder}/METADATA": metadata.encode(), f"{folder}/WHEEL": about.encode()}
        return f"{stem}-py3-none-any.whl", folder, files
    listed = {str(one): Path(str(one.locate())) for one in found.files or () if not str(one).startswith("..")}
    folder = next(one.partition("/")[0] for one in listed if one.endswith(".dist-info/METADATA"))
    left_out = {f"{folder}/{one}" for one in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")}
    files = {
        one: file.read_bytes()
        for one, file in sorted(listed.items())
        if one not in left_out and file.suffix != ".pyc" and file.is_file()
    }
    tags = re.findall(r"^Tag: (\S+?)-(\S+?)-(\S+)$", found.read_text("WHEEL") or "", re.MULTILINE)
    parts = (".".join(dict.fromkeys(part)) for part in zip(*tags, strict=True))
    return f"{folder.removesuffix('.dist-info')}-{'-'.join(parts)}.whl", folder, files


def wheel(name: str, version: str = "") -> tuple[str, bytes, bytes]:
    """A wheel's file name, its bytes, and its metadata."""
    called, folder, files = _described(name, version)
    lines = []
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(content)}\n")
    record = f"{folder}/RECORD"
    plain = io.BytesIO()
    with zipfile.ZipFile(plain, "w") as made:
        for path, content in {**files, record: "".join([*lines, f"{record},,\n"]).encode()}.items():
            made.writestr(zipfile.ZipInfo(path), content)
    return called, plain.getvalue(), files[f"{folder}/METADATA"]


@cache
def _page(name: str) -> str:
    """The page of one package: its wheel, and a name of its sources, which nobody can fetch here."""
    return "".join(_links(name, version) for version in ([""] if name in _installed() else _UNKNOWN))


def _links(name: str, version: str) -> str:
    called, content, metadata = wheel(name, version)
    sums = [hashlib.sha256(one).hexdigest() for one in (content, metadata, called.encode())]
    sources = "-".join(called.split("-")[:2]) + ".tar.gz"
    return (
        f'<a href="/wheels/{name}/{called}#sha256={sums[0]}" '
        f'data-core-metadata="sha256={sums[1]}">{called}</a>\n'
        f'<a href="/sources/{sources}#sha256={sums[2]}">{sources}</a>\n'
    )


class _Index(BaseHTTPRequestHandler):
    folder: Path

    def do_GET(self) -> None:
        place, _, name = self.path.strip("/").partition("/")
        own = {file.name: file for file in self.folder.glob("kaitoctl-*") if file.suffix in (".whl", ".gz")}
        answer: bytes | None = None
        if place == "simple" and name == "kaitoctl":
            answer = "".join(
                f'<a href="/own/{one}#sha256={hashlib.sha256(file.read_bytes()).hexdigest()}">{one}</a>\n'
                for one, file in own.items()
            ).encode()
        elif place == "simple":
            answer = _page(name).encode()
        elif place == "own" and name in own:
            answer = own[name].read_bytes()
        elif place == "wheels":
            package, _, called = name.partition("/")
            _, content, metadata = wheel(package, called.split("-")[1])
            answer = metadata if name.endswith(".metadata") else content
        self.send_response(404 if answer is None else 200)
        self.send_header("Content-Type", "text/html" if place == "simple" else "application/octet-stream")
        self.send_header("Content-Length", str(len(answer or b"")))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(answer or b"")

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def an_index(folder: Path) -> Iterator[str]:
    """The URL of an index with all that is installed, and the releases of kaitoctl in a folder."""
    with ThreadingHTTPServer(("127.0.0.1", 0), type("_", (_Index,), {"folder": folder})) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/simple"
        finally:
            server.shutdown()
            serving.join()
