"""A real API server as a client that the same tests use: what is shared there looks as if it were one's own.

Each test has a namespace and an API group of its own on the server that all share; on the way out and back
`default` stands for that namespace and `example.com` for that group.
"""

from __future__ import annotations

import http.client
import itertools
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

from controlplane.plane import ControlPlane
from sandbox_api.serving import Answer, Client, Stream

_numbers = itertools.count(1)
_NAMESPACES = "/api/v1/namespaces"
_SHARED = re.compile(r"/(?:api|apis/[^/]+)/[^/]+/(?!namespaces/[^/]+/)\w+(?:/[^/]+)?$")


class RealServer(Client):
    """One test's view of a control plane."""

    own_words = False

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        number = next(_numbers)
        self.namespace = f"conformance-{number}"
        self._group = f"t{number}.example.com"
        self._made: dict[str, None] = {}  # of cluster-wide objects, by path
        self._streams: list[Stream] = []
        self._connection = plane.connection()
        plane.do("POST", _NAMESPACES, {"metadata": {"name": self.namespace}})

    def close(self) -> None:
        """Take away what is not in the namespace; that itself goes with the control plane."""
        for stream in self._streams:
            stream.close()
        for path in reversed(self._made):
            self._plane.send("DELETE", path)
        self._connection.close()

    def connection(self) -> http.client.HTTPConnection:
        return self._plane.connection()

    def exchange(self, method: str, path: str, raw: bytes | None, headers: dict[str, str]) -> Answer:
        there = self._there(path)
        body = None if raw is None else self._there(raw.decode(errors="surrogateescape"))
        headers = {"Accept": "application/json", "User-Agent": "unknown", **headers}
        sent = None if body is None else body.encode(errors="surrogateescape")
        self._connection.request(method, there, sent, headers)
        answer = Answer(self._connection.getresponse(), self._here)
        if answer.status == 201 and method in ("POST", "PATCH"):
            self._remember(there.partition("?")[0], method, answer)
        return answer

    def _remember(self, path: str, method: str, answer: Answer) -> None:
        if _SHARED.match(path) or f"/namespaces/{self.namespace}/" not in path:
            name = self._there(answer.body.get("metadata", {}).get("name", ""))
            self._made[f"{path}/{name}" if method == "POST" else path] = None

    def watch(self, path: str, **query: Any) -> Stream:
        connection = self.connection()
        url = self._there(f"{path}?{urlencode({'watch': 'true', **query})}")
        connection.request("GET", url, headers={"Accept": "application/json"})
        stream = Stream(connection, connection.getresponse(), self._here)
        self._streams.append(stream)
        return stream

    def forgotten_version(self) -> str:
        self._plane.restart_api_server(kill=True)  # the cache that it watches from begins anew
        self._connection.close()
        return "1"

    def _there(self, text: str) -> str:
        text = text.replace("namespaces/default", f"namespaces/{self.namespace}")
        text = text.replace('"namespace": "default"', f'"namespace": "{self.namespace}"')
        text = text.replace("metadata.namespace%3Ddefault", f"metadata.namespace%3D{self.namespace}")
        return re.sub(r"\bexample\.com\b", self._group, text)

    def _here(self, text: str) -> str:
        text = text.replace(self._group, "example.com")
        # Reversed domains name schemas: com.example.t7.v1.Widget.
        return re.sub(rf"\b{self.namespace}\b", "default", text)


@contextmanager
def viewed(plane: ControlPlane) -> Iterator[RealServer]:
    """A test's own view of a shared control plane."""
    view = RealServer(plane)
    try:
        yield view
    finally:
        view.close()


def as_json(text: str) -> Any:
    """A body by its looks: some servers call their JSON text."""
    return json.loads(text) if text.startswith(("{", "[")) else text
