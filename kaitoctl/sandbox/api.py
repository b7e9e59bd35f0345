"""The API server without its sockets: one request in, one response or one watch out. Pure.

`Api.answer` finds the resource that a path means and the verb that a method means, and does it: reads
here, writes in `writes`. What objects must look like is in `admission` and `crd`, what else exists beside
resources in `discovery`, what deletions entail in `garbage`. `server` puts it on a port.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kaitoctl.errors import InputError
from kaitoctl.kube import fast_json
from kaitoctl.kube.conditions import timestamp
from kaitoctl.kube.documents import load_yaml
from kaitoctl.kube.objects import Object, ObjectKey
from kaitoctl.sandbox import crd, discovery, openapi, protobuf, selectors, tables
from kaitoctl.sandbox.builtin import BUILTIN, CRDS, NAMESPACES, Resource
from kaitoctl.sandbox.garbage import Garbage
from kaitoctl.sandbox.pods import logged_container, must_be_dispensable, must_have_logged
from kaitoctl.sandbox.status import (
    Failure,
    bad_request,
    expired,
    forbidden_field,
    invalid,
    method_not_allowed,
    no_such_resource,
    not_found,
    nothing_serves,
    too_large_version,
)
from kaitoctl.sandbox.store import Entry, Event, Expired, Store, watch_line
from kaitoctl.sandbox.writes import Author, Writes, must_be_patch

_log = logging.getLogger(__name__)

_NAMESPACES_FROM_BIRTH = ("default", "kube-system", "kube-public", "kube-node-lease")
_LINES_A_WATCHER_MAY_LAG = 100_000


@dataclass(frozen=True, slots=True)
class Call:
    """An HTTP request, as far as the API cares.

    Args:
        method: upper-case.
        path: URL path, unquoted.
        query: query parameters, one value each.
        body: raw.
        content_type: media type of the body, parameters included.
        accept: the Accept header.
        user_agent: whose first word names the field manager when nothing else does.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    content_type: str = "application/json"
    accept: str = "application/json"
    user_agent: str = ""
    warnings: list[str] = field(default_factory=list)
    """What the client is told besides the answer, also when that is a refusal."""


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


class Watch:
    """A watch: lines waiting to be sent, and a bell that rings when there are some.

    Guarantee: the lines are in the order of the writes, and none is left out before the watch has `ended`.
    """

    def __init__(self, resource: Resource, api: Api, predicate: selectors.Predicate | None) -> None:
        self.timeout_s = 0.0
        self.wants_bookmarks = False
        self.ended = False
        self.ring: Callable[[], None] = lambda: None
        self.as_table = False
        self.include = ""
        self._resource = resource
        self._api = api
        self._store = api.store
        self._has_head = False
        self._predicate = predicate
        self._lines: list[bytes] = []
        self._converts = resource.kind.version != resource.storage_version
        self._stop: Callable[[], None] = lambda: None

    def take(self) -> bytes:
        """The lines that wait, which then wait no longer."""
        lines, self._lines = self._lines, []
        return b"".join(lines)

    def close(self) -> None:
        """End the watch; what waits may still be taken."""
        self.ended = True
        self._stop()
        self.ring()

    def bookmark(self, *, after_initial_list: bool = False) -> None:
        """Tell the watcher how far it is."""
        kind = self._resource.kind
        metadata: Object = {"resourceVersion": str(self._store.version), "creationTimestamp": None}
        if after_initial_list:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        self._say("BOOKMARK", {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata})
        self.ring()

    def begin(self, *, initial: list[Entry], missed: list[Event]) -> None:
        """Start with what exists or with what was missed, then follow."""
        for entry in initial:
            self._on_event(Event("ADDED", entry, None))
        for event in missed:
            self._on_event(event)
        self._stop = self._store.listen(self._resource.name, self._on_event)

    def fail(self, failure: Failure) -> None:
        """End with an error."""
        self._lines.append(watch_line("ERROR", fast_json.encode(failure.status)))
        self.close()

    def _on_event(self, event: Event) -> None:
        if self._predicate is not None:
            before = event.previous is not None and self._predicate(event.previous.obj)
            after = event.type != "DELETED" and self._predicate(event.entry.obj)
            if not before and not after:
                return
            if before != after and event.type == "MODIFIED":
                # Seen through a selector, an object appears and disappears without being created or deleted.
                self._say("ADDED" if after else "DELETED", _last_seen(event, after))
                self.ring()
                return
        if self._converts or self.as_table:
            self._say(event.type, event.entry.obj)
        else:
            self._lines.append(event.line)
        if len(self._lines) > _LINES_A_WATCHER_MAY_LAG:
            self.close()  # it does not read; it may come again with the version it has
        self.ring()

    def _say(self, kind: str, obj: Object) -> None:
        shown = crd.in_version(self._resource, obj) if self._converts and kind != "BOOKMARK" else obj
        if self.as_table:
            rows = [shown] if kind != "BOOKMARK" else []
            metadata = shown["metadata"] if kind == "BOOKMARK" else {}
            shown = tables.table(
                self._resource,
                rows,
                metadata,
                now=self._api.clock(),
                headless=self._has_head,
                include=self.include,
            )
            self._has_head = True
        self._lines.append(watch_line(kind, fast_json.encode(shown)))


def _last_seen(event: Event, after: bool) -> Object:
    if after or event.previous is None:
        return event.entry.obj
    obj = event.previous.obj
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(event.entry.version)}}


class Api:
    """A cluster's API over a store.

    Args:
        store: an empty or a restored one; None for a new one.
        clock: what time it is, in UTC.
    """

    def __init__(
        self, store: Store | None = None, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.store = store or Store()
        self.clock = clock
        self.pod_logs: Callable[[str, str, str], str] = lambda _namespace, _pod, _container: ""
        """Text of a container's log by namespace, pod and container; whoever runs pods sets it."""
        self.resources: dict[tuple[str, str, str], Resource] = {}
        self.garbage = Garbage(self)
        self.writes = Writes(self, clock)
        self.store.on_event = self._on_event
        self._learn()
        for name in _NAMESPACES_FROM_BIRTH:
            if self.store.find(NAMESPACES.name, ObjectKey("", name)) is None:
                obj = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
                self.writes.create(NAMESPACES, "", obj, Author("kube-apiserver", now=timestamp(clock())))

    def take_back(self) -> None:
        """Undo what was written since the store's `begin`, and all that followed from it."""
        if self.store.rollback():
            self._learn()

    def _learn(self) -> None:
        """Derive from the store what is served and what waits for whom."""
        self.resources.clear()
        for resource in BUILTIN:
            self.serve(resource)
        for entry in list(self.store.entries(CRDS.name)):
            crd.serve(self, entry.obj)
        self.garbage = Garbage(self)
        self.garbage.index_everything()

    def serve(self, resource: Resource) -> None:
        """Serve a resource from now on."""
        kind = resource.kind
        self.resources[kind.group, kind.version, kind.plural] = resource

    def resource_of(self, name: str) -> Resource | None:
        """Any served version of a resource like `deployments.apps`, the stored one when it is served."""
        plural, _, group = name.partition(".")
        found = None
        for (its_group, version, its_plural), resource in self.resources.items():
            if (its_group, its_plural) == (group, plural):
                found = resource if found is None or version == resource.storage_version else found
        return found

    def _on_event(self, resource: str, event: Event) -> None:
        self.garbage.notice(resource, event)
        if resource == CRDS.name:
            if event.type == "DELETED":
                crd.unserve(self, event.entry.obj)
            else:
                crd.serve(self, event.entry.obj)

    def answer(self, call: Call) -> Response | Watch:
        """Carry out one request.

        Guarantee: never raises for what a client sends; every failure is a Status.
        """
        try:
            answer = self._route(call)
        except Failure as failure:
            answer = _failed(failure, call.warnings)
        except Exception:
            # Whatever a client sends, the cluster lives on; the log has what we did not foresee.
            _log.exception("request failed", extra={"method": call.method, "path": call.path})
            words = "Internal error occurred; see the sandbox's log"
            answer = _failed(Failure(500, "InternalError", words), ())
        if call.method != "GET":
            self.garbage.collect(limit=50)
        return answer

    # --- routes ---

    def _route(self, call: Call) -> Response | Watch:
        parts = call.path.strip("/").split("/")
        if parts[0] == "api" and len(parts) > 2:
            group, version, rest = "", parts[1], parts[2:]
        elif parts[0] == "apis" and len(parts) > 3:
            group, version, rest = parts[1], parts[2], parts[3:]
        else:
            return self._beside_resources(call, parts)
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
            namespace, rest = rest[1], rest[2:]
        resource = self.resources.get((group, version, rest[0]))
        if not group and rest[0] in ("pods", "services") and rest[2:3] == ["proxy"]:
            raise nothing_serves()
        if resource is None and discovery.is_review(rest[0]) and call.method == "POST":
            return _json(201, discovery.access_review(f"{group}/{version}", rest[0], call.body))
        if resource is None or len(rest) > 3 or (namespace and not resource.kind.namespaced):
            if any(item[:2] == (group, version) and not it.is_custom for item, it in self.resources.items()):
                raise no_such_resource()
            return _NO_SUCH_PAGE
        if len(rest) == 1:
            return self._collection(call, resource, namespace)
        if resource.kind.namespaced and not namespace:
            return _NO_SUCH_PAGE
        subresource = rest[2] if len(rest) == 3 else ""
        if subresource and subresource not in resource.subresources:
            if not resource.is_custom:
                raise no_such_resource()
            return _NO_SUCH_PAGE
        return self._object(call, resource, ObjectKey(namespace, rest[1]), subresource)

    def _beside_resources(self, call: Call, parts: list[str]) -> Response:
        if call.method != "GET":
            return _NO_SUCH_PAGE
        if parts[0] in ("healthz", "readyz", "livez"):
            return Response(200, b"ok", "text/plain; charset=utf-8")
        if parts == ["openapi", "v2"]:
            described = openapi.document_v2(self.resources.values())
            if openapi.V2_PROTOBUF in call.accept:
                return Response(200, openapi.to_protobuf(described), openapi.V2_PROTOBUF_SENT)
            return _json(200, described)
        document = discovery.document(self.resources.values(), parts, call.accept)
        if document is None:
            return _NO_SUCH_PAGE
        return Response(200, fast_json.encode(document[0]), document[1])

    def _collection(self, call: Call, resource: Resource, namespace: str) -> Response | Watch:
        query = call.query
        if call.method == "GET":
            if is_true(query.get("watch")):
                return self._watch(call, resource, namespace)
            return self._list(call, resource, namespace)
        author = self._author(call)
        if call.method == "POST":
            obj = _decoded(call.body, call.content_type)
            entry = self.writes.create(resource, namespace, obj, author)
            return self._one(201, resource, entry, author.warnings)
        if call.method == "DELETE":
            predicate = self._predicate(resource, query)
            chosen = [
                entry
                for entry in self.store.entries(resource.name, namespace)
                if predicate is None or predicate(entry.obj)
            ]
            for entry in chosen:
                self.writes.delete(resource, entry, _delete_options(call), author)
            return self._list_of(resource, chosen, {"resourceVersion": str(self.store.version)})
        raise method_not_allowed()

    def _object(self, call: Call, resource: Resource, key: ObjectKey, subresource: str) -> Response | Watch:
        if call.method == "GET" and is_true(call.query.get("watch")):
            chosen = {**call.query, "fieldSelector": f"metadata.name={key.name}"}
            return self._watch(Call("GET", call.path, chosen, accept=call.accept), resource, key.namespace)
        entry = self.store.find(resource.name, key)
        media = _media(call.content_type)
        is_apply = call.method == "PATCH" and media.startswith("application/apply-patch")
        if call.method == "PUT" and entry is None and not subresource:
            obj, author = _decoded(call.body, call.content_type), self._author(call)
            return self._one(201, resource, self.writes.put_new(resource, key, obj, author), author.warnings)
        if call.method == "PATCH":
            must_be_patch(media, resource)
        if entry is None and not (is_apply and not subresource):
            raise not_found(resource.kind.plural, resource.kind.group, key.name)
        if subresource == "log" and call.method == "GET":
            assert entry is not None
            container = logged_container(entry.obj, call.query.get("container", ""))
            must_have_logged(entry.obj, container, previous=is_true(call.query.get("previous")))
            text = self.pod_logs(key.namespace, key.name, container)
            tail = int(call.query.get("tailLines") or -1)
            if tail >= 0:
                text = "".join(text.splitlines(keepends=True)[-tail:] if tail else ())
            return Response(200, text.encode(), "text/plain")
        if call.method == "GET" and entry is not None:
            if subresource == "scale":
                return _json(200, self.writes.scale_of(resource, entry.obj))
            return self._one(200, resource, entry, accept=call.accept)
        author = self._author(call)
        if call.method == "DELETE" and not subresource and entry is not None:
            result = self.writes.delete(resource, entry, _delete_options(call), author)
            return _json(200, result) if isinstance(result, dict) else self._one(200, resource, result)
        if call.method == "POST" and subresource == "binding" and entry is not None:
            self.writes.bind(resource, entry, _decoded(call.body, call.content_type), author)
            return _json(201, _SUCCESS)
        if call.method == "POST" and subresource == "eviction" and entry is not None:
            asked = _decoded(call.body, call.content_type)
            options = asked.get("deleteOptions") if isinstance(asked, dict) else None
            must_be_dispensable(self.store, entry.obj)
            self.writes.delete(resource, entry, options if isinstance(options, dict) else {}, author)
            return _json(201, _SUCCESS)
        if call.method == "PUT" and entry is not None:
            new = _decoded(call.body, call.content_type)
            if subresource == "scale":
                return _json(200, self.writes.set_scale(resource, entry, new, author))
            written = self.writes.replace(resource, entry, new, subresource, author)
        elif call.method == "PATCH":
            patch = _decoded(call.body, call.content_type)
            if subresource == "scale" and entry is not None:
                return _json(200, self.writes.patch_scale(resource, entry, patch, media, author))
            written = self.writes.patch(resource, key, entry, patch, media, subresource, author)
        else:
            raise method_not_allowed()
        return self._one(200 if entry else 201, resource, written, author.warnings)

    def _author(self, call: Call) -> Author:
        query = call.query
        dry_run = query.get("dryRun")
        if dry_run not in (None, "", "All"):
            raise bad_request(f'Invalid value: "{dry_run}": dryRun supports only "All"')
        validation = query.get("fieldValidation") or "Warn"
        if validation not in ("Strict", "Warn", "Ignore"):
            raise bad_request(f'invalid fieldValidation "{validation}": supported are Strict, Warn, Ignore')
        return Author(
            query.get("fieldManager") or call.user_agent.partition("/")[0] or "unknown",
            named=bool(query.get("fieldManager")),
            dry_run=bool(dry_run),
            force=is_true(query.get("force")),
            validation=validation,
            now=self.writes.now(),
            warnings=call.warnings,
        )

    # --- reads ---

    def _predicate(self, resource: Resource, query: Mapping[str, str]) -> selectors.Predicate | None:
        labels = selectors.label_predicate(query.get("labelSelector") or "")
        known = ("metadata.name", "metadata.namespace", *resource.selectable)
        fields = selectors.field_predicate(query.get("fieldSelector") or "", known)
        if labels and fields:
            return lambda obj: labels(obj) and fields(obj)
        return labels or fields

    def _list(self, call: Call, resource: Resource, namespace: str) -> Response:
        query = call.query
        limit = _number(query.get("limit"), "limit")
        asked = _number(query.get("resourceVersion"), "resourceVersion")
        current = self.store.version
        at, after = None, None
        if token := query.get("continue"):
            at, after = _continue_from(token)
        elif asked > current:
            raise too_large_version(asked, current)
        elif asked and query.get("resourceVersionMatch") == "Exact":
            at = asked
        predicate = self._predicate(resource, query)
        try:
            entries = self.store.entries(resource.name, namespace, after=after, at=at)
        except Expired as error:
            raise self._expired(error, token, after) from None
        version = current if at is None else at
        metadata: Object = {"resourceVersion": str(version)}
        chosen: list[Entry] = []
        for entry in entries:
            if predicate is not None and not predicate(entry.obj):
                continue
            if limit and len(chosen) == limit:
                metadata["continue"] = _continue_token(version, chosen[-1].key)
                if predicate is None:
                    metadata["remainingItemCount"] = 1 + sum(1 for _ in entries)
                break
            chosen.append(entry)
        if tables.wanted(call.accept):
            shown = [crd.in_version(resource, entry.obj) for entry in chosen]
            include = query.get("includeObject", "")
            return _json(200, tables.table(resource, shown, metadata, now=self.clock(), include=include))
        return self._list_of(resource, chosen, metadata)

    def _expired(self, error: Expired, token: str | None, after: ObjectKey | None) -> Failure:
        if not token or after is None:
            return expired(str(error))
        failure = expired(
            "The provided continue parameter is too old to display a consistent list result. Start a new "
            "list without it, or use the continue token of this answer for the rest as it is now."
        )
        failure.list_metadata = {"continue": _continue_token(-1, after)}
        return failure

    def _watch(self, call: Call, resource: Resource, namespace: str) -> Watch:
        query = call.query
        predicate = self._predicate(resource, query)
        asked = _number(query.get("resourceVersion"), "resourceVersion")
        send_initial = query.get("sendInitialEvents")
        if send_initial is not None and query.get("resourceVersionMatch") != "NotOlderThan":
            why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            cause = forbidden_field("resourceVersionMatch", why)
            raise invalid("ListOptions", "meta.k8s.io", "", [cause])
        if asked > self.store.version:
            raise too_large_version(asked, self.store.version)
        watch = Watch(resource, self, _in_namespace(namespace, predicate))
        watch.timeout_s = float(_number(query.get("timeoutSeconds"), "timeoutSeconds"))
        watch.wants_bookmarks = is_true(query.get("allowWatchBookmarks"))
        watch.as_table = tables.wanted(call.accept)
        watch.include = query.get("includeObject", "")
        initial = is_true(send_initial) or (send_initial is None and not asked)
        try:
            missed = [] if initial or not asked else self.store.events_since(resource.name, asked)
        except Expired as error:
            watch.fail(expired(str(error)))
            return watch
        watch.begin(
            initial=list(self.store.entries(resource.name, namespace)) if initial else [], missed=missed
        )
        if is_true(send_initial) and watch.wants_bookmarks:
            watch.bookmark(after_initial_list=True)
        return watch

    # --- answers ---

    def _one(
        self, code: int, resource: Resource, entry: Entry, warnings: list[str] | None = None, accept: str = ""
    ) -> Response:
        headers = _warning(warnings or ())
        if tables.wanted(accept):
            shown = [crd.in_version(resource, entry.obj)]
            metadata = {"resourceVersion": str(entry.version)}
            return _json(code, tables.table(resource, shown, metadata, now=self.clock()))
        return Response(code, self._shown(resource, entry), headers=headers)

    def _shown(self, resource: Resource, entry: Entry) -> bytes:
        if resource.kind.version == resource.storage_version:
            return entry.json
        return fast_json.encode(crd.in_version(resource, entry.obj))

    def _list_of(self, resource: Resource, entries: list[Entry], metadata: Object) -> Response:
        kind = resource.kind
        head = fast_json.encode(
            {"kind": resource.list_kind, "apiVersion": kind.api_version, "metadata": metadata}
        )
        items = b",".join([self._shown(resource, entry) for entry in entries])
        return Response(200, b'%s,"items":[%s]}' % (head[:-1], items))


_SUCCESS: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
_NO_SUCH_PAGE = Response(404, b"404 page not found\n", "text/plain; charset=utf-8")


def is_true(text: str | None) -> bool:
    """Whether a query parameter says yes."""
    return text in ("true", "1", "True", "t", "T", "TRUE")


def _json(code: int, value: Object) -> Response:
    return Response(code, fast_json.encode(value))


def _failed(failure: Failure, warnings: Sequence[str]) -> Response:
    headers = _warning(warnings)
    if retry := failure.details.get("retryAfterSeconds"):
        headers["Retry-After"] = str(retry)
    return Response(failure.code, fast_json.encode(failure.status), headers=headers)


def _warning(warnings: Sequence[str]) -> dict[str, str]:
    # A quoted string of HTTP: json.dumps escapes what it must, and nothing beyond ASCII gets through.
    return {"Warning": ", ".join(f"299 - {json.dumps(text)}" for text in warnings)} if warnings else {}


def _media(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _number(text: str | None, name: str) -> int:
    if not text:
        return 0
    if not text.isascii() or not text.isdigit():
        raise bad_request(f'{name}: Invalid value: "{text}": must be a number')
    return int(text)


def _in_namespace(namespace: str, predicate: selectors.Predicate | None) -> selectors.Predicate | None:
    if not namespace:
        return predicate
    return lambda obj: obj["metadata"]["namespace"] == namespace and (predicate is None or predicate(obj))


def _continue_token(version: int, last: ObjectKey) -> str:
    text = json.dumps({"v": "meta.k8s.io/v1", "rv": version, "start": list(last)})
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _continue_from(token: str) -> tuple[int | None, ObjectKey]:
    try:
        state = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        namespace, name = state["start"]
        version = int(state["rv"])
    except (ValueError, KeyError, TypeError):
        raise bad_request(f'continue key is not valid: "{token}"') from None
    return (None if version < 0 else version), ObjectKey(str(namespace), str(name))


def _decoded(body: bytes, content_type: str) -> Any:
    """The JSON or YAML value of a body.

    Raises:
        Failure: 400.
    """
    media = _media(content_type)
    try:
        if media.startswith(protobuf.MEDIA_TYPE):
            return protobuf.decode(body)
        if media.endswith("yaml") and body.lstrip()[:1] != b"{":
            return _from_yaml(body)
        return fast_json.decode(body, parse_constant=_refuse_constant)
    except ValueError as error:
        raise bad_request(f"error decoding the body: {error}") from None
    except RecursionError:
        raise bad_request("error decoding the body: nested too deeply") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _from_yaml(body: bytes) -> Any:
    """The one document of a YAML body, read as kubectl and the API server read YAML, within bounds."""
    try:
        found = load_yaml(body.decode(), "YAML")
    except InputError as error:
        raise ValueError(error.message) from None
    if len(found) > 1:
        raise ValueError(f"{len(found)} YAML documents instead of one")
    return found[0] if found else None


def _delete_options(call: Call) -> Object:
    """Options from the body and, stronger, from the query."""
    body = _decoded(call.body, call.content_type) if call.body.strip() else {}
    options: Object = dict(body) if isinstance(body, dict) else {}
    for name in ("gracePeriodSeconds",):
        if name in call.query:
            options[name] = _number(call.query[name], name)
    if "propagationPolicy" in call.query:
        options["propagationPolicy"] = call.query["propagationPolicy"]
    if "orphanDependents" in call.query:
        options["orphanDependents"] = is_true(call.query["orphanDependents"])
    return options
