"""A running API server, and a small synchronous client that shows raw answers."""

from __future__ import annotations

import asyncio
import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from kaitoctl.kube.objects import Kind, Object
from kaitoctl.sandbox.server import ApiServer

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


class Answer:
    """A response: status, headers, and the decoded body."""

    def __init__(
        self, response: http.client.HTTPResponse, translate: Callable[[str], str] = lambda text: text
    ) -> None:
        self.status = response.status
        self.headers = response.headers
        raw = translate(response.read().decode())
        is_json = (response.headers.get("Content-Type") or "").startswith("application/json")
        self.body: Any = json.loads(raw) if is_json else raw

    def __getitem__(self, name: str) -> Any:
        return self.body[name]

    @property
    def version(self) -> int:
        return int(self.body["metadata"]["resourceVersion"])


class Stream:
    """A watch, line by line."""

    def __init__(
        self,
        connection: http.client.HTTPConnection,
        response: http.client.HTTPResponse,
        translate: Callable[[str], str] = lambda text: text,
    ) -> None:
        self._connection = connection
        self._translate = translate
        self.response = response

    def next(self) -> Object | None:
        """The next event; None at the end of the stream."""
        line = self.response.readline()
        return json.loads(self._translate(line.decode())) if line else None

    def take(self, count: int) -> list[tuple[str, str]]:
        """The next events as (type, name)."""
        events = [self.next() for _ in range(count)]
        return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events if event]

    def close(self) -> None:
        self._connection.close()


class Client:
    """Requests of all kinds; whoever carries them out says how."""

    own_words = True  # whether the sentences of its refusals are ours: the rules are Kubernetes'

    def exchange(self, method: str, path: str, raw: bytes | None, headers: dict[str, str]) -> Answer:
        raise NotImplementedError

    def watch(self, path: str, **query: Any) -> Stream:
        raise NotImplementedError

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
        **query: Any,
    ) -> Answer:
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        url = f"{path}?{urlencode(query)}" if query else path
        return self.exchange(method, url, raw, {"Content-Type": content_type, **(headers or {})})

    def get(self, path: str, **query: Any) -> Answer:
        return self.send("GET", path, **query)

    def create(self, path: str, obj: Object, **query: Any) -> Answer:
        return self.send("POST", path, obj, **query)

    def put(self, path: str, obj: Object, **query: Any) -> Answer:
        return self.send("PUT", path, obj, **query)

    def delete(self, path: str, options: Object | None = None, **query: Any) -> Answer:
        return self.send("DELETE", path, options, **query)

    def apply(self, path: str, obj: Object, manager: str = "me", **query: Any) -> Answer:
        return self.send("PATCH", path, obj, content_type=APPLY, fieldManager=manager, **query)

    def merge(self, path: str, patch: Any, **query: Any) -> Answer:
        return self.send("PATCH", path, patch, content_type=MERGE, **query)

    def forgotten_version(self) -> str:
        raise NotImplementedError

    def until(self, holds: Callable[[], Any]) -> Any:
        """What `holds` answers once that is true: some things a cluster does in its own time."""
        for _ in range(600):
            if answer := holds():
                return answer
            time.sleep(0.05)
        raise AssertionError("never happened")

    def gone(self, path: str) -> None:
        """Wait until an object is gone."""
        self.until(lambda: self.get(path).status == 404)

    def define(self, crd: Object) -> Answer:
        """Create a CustomResourceDefinition and wait until its versions are served."""
        created = self.create(CRDS, crd)
        assert created.status == 201, created.body
        spec = crd["spec"]
        served = [version["name"] for version in spec["versions"] if version["served"]]
        paths = [f"/apis/{spec['group']}/{version}/{spec['names']['plural']}" for version in served]
        self.until(lambda: all(self.get(path).status == 200 for path in paths))
        return created


class Server(Client):
    """A sandbox's server in a thread of its own."""

    def __init__(self, state: Path | None = None) -> None:
        self.api_server = ApiServer(state=state)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._run(self.api_server.start())
        self._streams: list[Stream] = []
        self._connection = self.connection()

    def forgotten_version(self) -> str:
        """A version that is too old to watch from."""
        self.api_server.api.store._history = 2
        for number in range(6):
            self.create("/api/v1/namespaces/kube-system/configmaps", config_map(f"forget-{number}"))
        return "2"

    def _run(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    def stop(self) -> None:
        for stream in self._streams:
            stream.close()
        self._connection.close()
        self._run(self.api_server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def port(self) -> int:
        return int(self.api_server.address.rpartition(":")[2])

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def exchange(self, method: str, path: str, raw: bytes | None, headers: dict[str, str]) -> Answer:
        self._connection.request(
            method, path, raw, {"Authorization": f"Bearer {self.api_server.token}", **headers}
        )
        return Answer(self._connection.getresponse())

    def watch(self, path: str, **query: Any) -> Stream:
        connection = self.connection()
        url = f"{path}?{urlencode({'watch': 'true', **query})}"
        connection.request("GET", url, headers={"Authorization": f"Bearer {self.api_server.token}"})
        stream = Stream(connection, connection.getresponse())
        self._streams.append(stream)
        return stream


_PROGRAM = """
import asyncio, sys
from pathlib import Path
from kaitoctl.sandbox.server import ApiServer
async def main():
    server = ApiServer(state=Path(sys.argv[1]), token="t")
    await server.start()
    print(server.address, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


class ProcessClient(Client):
    """Speaks with a server in a process of its own, whose token is `t`."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def exchange(self, method: str, path: str, raw: bytes | None, headers: dict[str, str]) -> Answer:
        self.connection.request(method, path, raw, {"Authorization": "Bearer t", **headers})
        return Answer(self.connection.getresponse())


@contextmanager
def process_on(state: Path) -> Iterator[tuple[subprocess.Popen[str], ProcessClient]]:
    """A server on a state file in a process that can be killed or starved of disk; killed at the end."""
    command = [sys.executable, "-c", _PROGRAM, str(state)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as process:
        assert process.stdout is not None
        client = ProcessClient(int(process.stdout.readline().rpartition(":")[2]))
        try:
            yield process, client
        finally:
            client.connection.close()
            process.kill()


@contextmanager
def running(state: Path | None = None) -> Iterator[Server]:
    server = Server(state)
    try:
        yield server
    finally:
        server.stop()


def config_map(name: str, **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def pod(name: str, **metadata: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **metadata},
        "spec": {"containers": [{"name": "main", "image": "busybox:1"}]},
    }


def deployment(name: str, image: str = "web:1", **spec: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": image}]},
            },
            **spec,
        },
    }


WIDGET = Kind("example.com", "v1", "Widget", "widgets")

WIDGET_SCHEMA: Object = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["size"],
            "properties": {
                "size": {"type": "integer", "minimum": 1},
                "mode": {"type": "string", "enum": ["slow", "fast"], "default": "slow"},
                "port": {"x-kubernetes-int-or-string": True},
                "parts": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {
                            "name": {"type": "string"},
                            "count": {"type": "integer", "default": 1},
                        },
                    },
                },
                "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            },
        },
        "status": {"type": "object", "properties": {"ready": {"type": "boolean"}}},
    },
}


def widget_crd(**changes: Any) -> Object:
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": WIDGET_SCHEMA},
        "subresources": {"status": {}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
            "versions": [version],
            **changes,
        },
    }


def widget(name: str, **spec: Any) -> Object:
    return {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": name},
        "spec": {"size": 1, **spec},
    }


CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
WIDGETS = WIDGET.path("default")
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
