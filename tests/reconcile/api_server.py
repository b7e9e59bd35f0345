"""A small API server over real HTTP, and the faults that a test may script into it.

It knows any resource: lists in pages, watches with history and bookmarks, create, replace, apply (merging
maps, replacing lists), delete; resource versions, uids, generations and preconditions. It has no schemas.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from kaitoctl.kube.client import Client
from kaitoctl.kube.kubeconfig import Server
from kaitoctl.kube.objects import Kind, Object, ObjectKey, copy_of, key_of

Fault = Callable[[web.Request], web.StreamResponse | None]


@dataclass(frozen=True)
class Place:
    """Where a URL points: a collection, a namespace of it, one object."""

    collection: str
    namespace: str
    name: str
    subresource: str

    @classmethod
    def of(cls, path: str) -> Place:
        parts = path.strip("/").split("/")
        cut = 2 if parts[0] == "api" else 3
        prefix, rest = parts[:cut], parts[cut:]
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        rest += ["", ""]
        return cls("/".join([*prefix, rest[0]]), namespace, rest[1], rest[2])


@dataclass(eq=False)
class Watcher:
    place: Place
    selects: Callable[[Object], bool]
    lines: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)
    transport: asyncio.Transport | None = None


@dataclass
class Seen:
    """One request that arrived: when, and what it was."""

    at: float
    verb: str
    path: str
    query: dict[str, str]


class ApiServer:
    def __init__(self) -> None:
        self.version = 100
        self.page = 500
        self.objects: dict[tuple[str, ObjectKey], Object] = {}
        self.history: list[tuple[int, str, str, Object]] = []
        self.forgotten = 0
        self.seen: list[Seen] = []
        self.faults: list[Fault] = []
        self.not_served: set[str] = set()
        self.bookmark_every_s: float | None = 60.0
        self.watchers: set[Watcher] = set()
        self.writes = 0
        self.url = ""

    # --- what a test does ------------------------------------------------------------------------------

    def put(self, kind: Kind, name: str, namespace: str = "default", **fields: Any) -> Object:
        """Create or replace an object, behind the API."""
        key = ObjectKey(namespace if kind.namespaced else "", name)
        metadata = {"name": name, **fields.pop("metadata", {})}
        if kind.namespaced:
            metadata["namespace"] = namespace
        return self._store(
            _collection(kind),
            key,
            {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **fields},
        )

    def remove(self, kind: Kind, name: str, namespace: str = "default") -> None:
        self._remove(_collection(kind), ObjectKey(namespace if kind.namespaced else "", name))

    def all(self, kind: Kind) -> dict[ObjectKey, Object]:
        return {
            key: obj for (collection, key), obj in self.objects.items() if collection == _collection(kind)
        }

    def verbs(self, verb: str) -> list[float]:
        """When the requests with this verb arrived."""
        return [seen.at for seen in self.seen if seen.verb == verb]

    def break_watches(self) -> None:
        """Reset the connections of all watches."""
        for watcher in list(self.watchers):
            assert watcher.transport is not None
            watcher.transport.abort()

    def end_watches(self) -> None:
        """End all watches as a server does whose timeout has come."""
        self.say(None)

    def say(self, line: bytes | None) -> None:
        """Send a raw line into all watches."""
        for watcher in self.watchers:
            watcher.lines.put_nowait(line)

    def say_gone(self) -> None:
        event = {"type": "ERROR", "object": _status(410, "Expired", "too old resource version")}
        self.say(json.dumps(event).encode() + b"\n")

    def forget_history(self) -> None:
        self.history.clear()
        self.forgotten = self.version

    # --- HTTP ------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Client]:
        """Serve on a free port; yields a client for it."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = "http://{}:{}".format(*runner.addresses[0][:2])
        try:
            async with self.client() as client:
                yield client
        finally:
            self.end_watches()
            await runner.cleanup()

    def client(self, token: str = "") -> Client:
        return Client(Server(self.url, token=token))

    async def _answer(self, http: web.Request) -> web.StreamResponse:
        verb = http.method
        if verb == "GET":
            one = bool(Place.of(http.path).name)
            verb = "WATCH" if "watch" in http.query else "GET" if one else "LIST"
        now = asyncio.get_running_loop().time()
        self.seen.append(Seen(now, verb, http.path, dict(http.query)))
        for fault in self.faults:
            if (response := fault(http)) is not None:
                return response
        place = Place.of(http.path)
        if place.collection in self.not_served:
            return web.Response(status=404, text="404 page not found")
        if verb == "WATCH":
            return await self._watch(http, place)
        if verb == "LIST":
            return self._list(http, place)
        return self._one(http, place, await http.json() if http.can_read_body else None)

    def _list(self, http: web.Request, place: Place) -> web.Response:
        selects = _selection(http, place)
        items = [
            obj
            for (collection, _), obj in sorted(self.objects.items())
            if collection == place.collection and selects(obj)
        ]
        start = int(http.query.get("continue", "0"))
        end = start + min(int(http.query.get("limit", "500")), self.page)
        metadata = {"resourceVersion": str(self.version)}
        if end < len(items):
            metadata["continue"] = str(end)
        return web.json_response({"kind": "List", "metadata": metadata, "items": items[start:end]})

    async def _watch(self, http: web.Request, place: Place) -> web.StreamResponse:
        since = int(http.query["resourceVersion"])
        if since < self.forgotten:
            return _error(410, "Expired", "too old resource version")
        watcher = Watcher(place, _selection(http, place))
        assert isinstance(http.transport, asyncio.Transport)
        watcher.transport = http.transport
        for version, collection, type_, obj in self.history:
            if version > since and collection == place.collection and watcher.selects(obj):
                watcher.lines.put_nowait(_line(type_, obj))
        self.watchers.add(watcher)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        try:
            await response.prepare(http)
            async with asyncio.timeout(float(http.query["timeoutSeconds"])):
                while True:
                    try:
                        async with asyncio.timeout(self.bookmark_every_s):
                            line = await watcher.lines.get()
                    except TimeoutError:
                        line = _line("BOOKMARK", {"metadata": {"resourceVersion": str(self.version)}})
                    if line is None:
                        return response
                    await response.write(line)
        except (TimeoutError, ConnectionResetError):
            return response
        finally:
            self.watchers.discard(watcher)

    def _one(self, http: web.Request, place: Place, body: Any) -> web.Response:
        namespace, name = place.namespace, place.name
        if http.method == "POST":
            name = body["metadata"]["name"]
        slot = (place.collection, ObjectKey(namespace, name))
        known = self.objects.get(slot)
        if http.method == "POST" and known is not None:
            return _error(409, "AlreadyExists", f"{name} already exists", name)
        if known is None and http.method in ("GET", "PUT", "DELETE"):
            return _error(404, "NotFound", f"{name} not found", name)
        if http.method == "GET":
            return web.json_response(known)
        if http.method == "DELETE":
            uid = ((body or {}).get("preconditions") or {}).get("uid")
            if known is not None and uid not in (None, known["metadata"]["uid"]):
                return _error(409, "Conflict", "uid differs", name)
            self._remove(*slot)
            return web.json_response(_status(200, "", "deleted"))
        if http.method == "PATCH" and known is None:
            body["metadata"].pop("resourceVersion", None)  # compared with what exists, or with nothing
        if conflict := _conflict(body["metadata"], known):
            return _error(409, "Conflict", conflict, name)
        if http.method == "PATCH":
            body = _merged(known or {}, body)
        else:
            body = {**body, "metadata": {**(known or {}).get("metadata", {}), **body["metadata"]}}
        body["metadata"].setdefault("name", name)
        return web.json_response(self._store(*slot, body))

    # --- storage ---------------------------------------------------------------------------------------

    def _store(self, collection: str, key: ObjectKey, obj: Object) -> Object:
        known = self.objects.get((collection, key))
        metadata = obj["metadata"]
        before = known["metadata"] if known else {}
        self.version += 1
        metadata["uid"] = before.get("uid") or f"uid-{self.version}"
        new_spec = known is None or _decided(known) != _decided(obj)
        metadata["generation"] = before.get("generation", 0) + new_spec
        if known is not None:
            metadata["resourceVersion"] = before["resourceVersion"]
            if obj == known:
                return known
        metadata["resourceVersion"] = str(self.version)
        obj = copy_of(obj)
        self.writes += 1
        self.objects[(collection, key)] = obj
        self._publish(collection, "MODIFIED" if known else "ADDED", obj)
        return obj

    def _remove(self, collection: str, key: ObjectKey) -> None:
        self.version += 1
        self.writes += 1
        obj = copy_of(self.objects.pop((collection, key)))
        obj["metadata"]["resourceVersion"] = str(self.version)
        self._publish(collection, "DELETED", obj)

    def _publish(self, collection: str, type_: str, obj: Object) -> None:
        self.history.append((self.version, collection, type_, obj))
        for watcher in self.watchers:
            if watcher.place.collection == collection and watcher.selects(obj):
                watcher.lines.put_nowait(_line(type_, obj))


def fail(
    status: int,
    *,
    times: int = 1,
    verb: str = "",
    headers: dict[str, str] | None = None,
    message: str = "a scripted fault",
) -> Fault:
    """A fault: answer the next requests with an error status."""
    left = iter(range(times))

    def fault(http: web.Request) -> web.Response | None:
        if verb == "WATCH" and "watch" not in http.query:
            return None
        if verb == "LIST" and ("watch" in http.query or Place.of(http.path).name or http.method != "GET"):
            return None
        if verb not in ("", "WATCH", "LIST", http.method):
            return None
        if next(left, None) is None:
            return None
        return _error(status, "Fault", message, headers=headers)

    return fault


def _collection(kind: Kind) -> str:
    return kind.path().strip("/")


def _line(type_: str, obj: Object) -> bytes:
    return json.dumps({"type": type_, "object": obj}).encode() + b"\n"


def _decided(obj: Object) -> Object:
    return {name: value for name, value in obj.items() if name not in ("metadata", "status")}


def _conflict(metadata: Object, known: Object | None) -> str:
    for precondition in ("uid", "resourceVersion"):
        if (expected := metadata.get(precondition)) and expected != (known or {}).get("metadata", {}).get(
            precondition
        ):
            return f"{precondition} differs"
    return ""


def _merged(known: Any, news: Any) -> Any:
    if not isinstance(known, dict) or not isinstance(news, dict):
        return copy_of(news)
    return {**known, **{name: _merged(known.get(name), value) for name, value in news.items()}}


def _status(code: int, reason: str, message: str, name: str = "") -> Object:
    status: Object = {"kind": "Status", "code": code, "reason": reason, "message": message}
    if name:
        status["details"] = {"name": name}
    return status


def _error(
    code: int, reason: str, message: str, name: str = "", headers: dict[str, str] | None = None
) -> web.Response:
    return web.json_response(_status(code, reason, message, name), status=code, headers=headers)


def _selection(http: web.Request, place: Place) -> Callable[[Object], bool]:
    def terms(parameter: str) -> Iterator[tuple[str, str]]:
        for term in filter(None, http.query.get(parameter, "").split(",")):
            name, _, value = term.partition("=")
            yield name, value

    labels, fields = list(terms("labelSelector")), dict(terms("fieldSelector"))

    def selects(obj: Object) -> bool:
        key = key_of(obj)
        have = obj["metadata"].get("labels") or {}
        return (
            place.namespace in ("", key.namespace)
            and fields.get("metadata.name") in (None, key.name)
            and all(have.get(name) == value for name, value in labels)
        )

    return selects
