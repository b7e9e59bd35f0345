"""A server that answers what a test says, for the answers that no sandbox gives."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

Answer = Callable[[str, str], tuple[int, str]]
"""Method and path -> status and body."""


@contextmanager
def serving(answer: Answer, tmp_path: Path) -> Iterator[str]:
    """A server that answers as told; gives the path of a kubeconfig for it."""

    class Handler(BaseHTTPRequestHandler):
        def reply(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body = answer(self.command, self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_PATCH = do_POST = do_DELETE = reply  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [
            {"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}/s3cret-path"}}
        ],
        "users": [{"name": "u", "user": {"token": "s3cret-token"}}],
    }
    file = tmp_path / "kubeconfig"
    file.touch(mode=0o600)
    file.write_text(yaml.safe_dump(config))
    try:
        yield str(file)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def always(status: int, body: Any) -> Answer:
    text = body if isinstance(body, str) else json.dumps(body)
    return lambda method, path: (status, text)
