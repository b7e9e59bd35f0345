"""One request in, one response or one watch out: which resource a path means, which verb a method. Pure."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from kaitoctl.kube import fast_json
from kaitoctl.kube.conditions import timestamp
from kaitoctl.kube.objects import ObjectKey
from kaitoctl.sandbox import discovery, openapi
from kaitoctl.sandbox.api.apply_requests import server_side_apply
from kaitoctl.sandbox.api.deletes import Deletes
from kaitoctl.sandbox.api.garbage import Garbage
from kaitoctl.sandbox.api.kinds import Kinds
from kaitoctl.sandbox.api.reads import Reads
from kaitoctl.sandbox.api.requests import (
    NO_SUCH_PAGE,
    SUCCESS,
    Author,
    Call,
    Response,
    decode_body,
    delete_options,
    failure_response,
    is_true,
    json_response,
    media_type,
    number,
)
from kaitoctl.sandbox.api.subresources import bind, patch_scale, scale_of, set_scale
from kaitoctl.sandbox.api.watches import Watch
from kaitoctl.sandbox.api.writes import Writes, must_be_patch
from kaitoctl.sandbox.builtin import CRDS, NAMESPACES, Resource
from kaitoctl.sandbox.error_status import (
    Failure,
    bad_request,
    method_not_allowed,
    no_such_resource,
    not_found,
    nothing_serves,
)
from kaitoctl.sandbox.pod_subresources import logged_container, must_be_dispensable, must_have_logged
from kaitoctl.sandbox.store import Entry, Event, Store

_log = logging.getLogger(__name__)

_NAMESPACES_FROM_BIRTH = ("default", "kube-system", "kube-public", "kube-node-lease")


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
        self.pod_logs: Callable[..., str] = lambda _namespace, _pod, _container: ""
        """Text of a container's log by namespace, pod and container; whoever runs pods sets it."""
        self.kinds = Kinds(self.store)
        self.reads = Reads(self.store, clock)
        self.deletes = Deletes(self.store, self.kinds)
        self.writes = Writes(self.store, self.deletes, clock)
        self.garbage = Garbage(self.store, self.kinds, self.deletes, clock)
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
        self.kinds.learn()
        self.garbage.learn()

    def _on_event(self, resource: str, event: Event) -> None:
        self.garbage.notice(resource, event)
        if resource == CRDS.name:
            if event.type == "DELETED":
                self.kinds.withdraw(event.entry.obj)
            else:
                self.kinds.define(event.entry.obj)

    def answer(self, call: Call) -> Response | Watch:
        """Carry out one request.

        Guarantee: never raises for what a client sends; every failure is a Status.
        """
        try:
            answer = self._route(call)
        except Failure as failure:
            answer = failure_response(failure, call.warnings)
        except Exception:
            # Whatever a client sends, the cluster lives on; the log has what we did not foresee.
            _log.exception("request failed", extra={"method": call.method, "path": call.path})
            words = "Internal error occurred; check the sandbox's log"
            answer = failure_response(Failure(500, "InternalError", words), ())
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
        resource = self.kinds.resources.get((group, version, rest[0]))
        if not group and rest[0] in ("pods", "services") and rest[2:3] == ["proxy"]:
            raise nothing_serves()
        if resource is None and discovery.is_review(rest[0]) and call.method == "POST":
            return json_response(201, discovery.access_review(f"{group}/{version}", rest[0], call.body))
        if resource is None or len(rest) > 3 or (namespace and not resource.kind.namespaced):
            if any(
                item[:2] == (group, version) and not it.is_custom for item, it in self.kinds.resources.items()
            ):
                raise no_such_resource()
            return NO_SUCH_PAGE
        if len(rest) == 1:
            return self._collection(call, resource, namespace)
        if resource.kind.namespaced and not namespace:
            return NO_SUCH_PAGE
        subresource = rest[2] if len(rest) == 3 else ""
        if subresource and subresource not in resource.subresources:
            if not resource.is_custom:
                raise no_such_resource()
            return NO_SUCH_PAGE
        return self._object(call, resource, ObjectKey(namespace, rest[1]), subresource)

    def _beside_resources(self, call: Call, parts: list[str]) -> Response:
        if call.method != "GET":
            return NO_SUCH_PAGE
        if parts[0] in ("healthz", "readyz", "livez"):
            return Response(200, b"ok", "text/plain; charset=utf-8")
        if parts == ["openapi", "v2"]:
            described = openapi.document_v2(self.kinds.resources.values())
            if openapi.V2_PROTOBUF in call.accept:
                return Response(200, openapi.to_protobuf(described), openapi.V2_PROTOBUF_SENT)
            return json_response(200, described)
        document = discovery.document(self.kinds.resources.values(), parts, call.accept)
        if document is None:
            return NO_SUCH_PAGE
        return Response(200, fast_json.encode(document[0]), document[1])

    def _collection(self, call: Call, resource: Resource, namespace: str) -> Response | Watch:
        query = call.query
        if call.method == "GET":
            if is_true(query.get("watch")):
                return self.reads.watch(call, resource, namespace)
            return self.reads.collection(call, resource, namespace)
        author = self._author(call)
        if call.method == "POST":
            obj = decode_body(call.body, call.content_type)
            entry = self.writes.create(resource, namespace, obj, author)
            return self.reads.one(201, resource, entry, author.warnings)
        if call.method == "DELETE":
            predicate = self.reads.predicate(resource, query)
            chosen = [
                entry
                for entry in self.store.entries(resource.name, namespace)
                if predicate is None or predicate(entry.obj)
            ]
            for entry in chosen:
                self.deletes.delete(resource, entry, delete_options(call), author)
            return self.reads.list_of(resource, chosen, {"resourceVersion": str(self.store.version)})
        raise method_not_allowed()

    def _object(self, call: Call, resource: Resource, key: ObjectKey, subresource: str) -> Response | Watch:
        if call.method == "GET" and is_true(call.query.get("watch")):
            chosen = {**call.query, "fieldSelector": f"metadata.name={key.name}"}
            return self.reads.watch(
                Call("GET", call.path, chosen, accept=call.accept), resource, key.namespace
            )
        entry = self.store.find(resource.name, key)
        media = media_type(call.content_type)
        is_apply = call.method == "PATCH" and media.startswith("application/apply-patch")
        if call.method == "PATCH":
            must_be_patch(media, resource)
        if entry is None and not (subresource == "" and (is_apply or call.method == "PUT")):
            raise not_found(resource.kind.plural, resource.kind.group, key.name)
        if entry is not None:
            if call.method == "GET":
                return self._get(call, resource, entry, subresource)
            if call.method in ("DELETE", "POST"):
                return self._act(call, resource, entry, subresource)
            if subresource == "scale":
                return self._scale(call, resource, entry, media)
        if call.method not in ("PUT", "PATCH"):
            raise method_not_allowed()
        author = self._author(call)
        body = decode_body(call.body, call.content_type)
        if is_apply:
            written = server_side_apply(self.writes, resource, key, entry, body, subresource, author)
        elif entry is None:
            written = self.writes.put_new(resource, key, body, author)
        elif call.method == "PUT":
            written = self.writes.replace(resource, entry, body, subresource, author)
        else:
            written = self.writes.patch(resource, entry, body, media, subresource, author)
        return self.reads.one(200 if entry else 201, resource, written, author.warnings)

    def _get(self, call: Call, resource: Resource, entry: Entry, subresource: str) -> Response:
        if subresource == "scale":
            return json_response(200, scale_of(resource, entry.obj))
        if subresource != "log":
            return self.reads.one(200, resource, entry, accept=call.accept)
        container = logged_container(entry.obj, call.query.get("container", ""))
        is_previous = is_true(call.query.get("previous"))
        must_have_logged(entry.obj, container, previous=is_previous)
        which = {"previous": True} if is_previous else {}
        text = self.pod_logs(entry.key.namespace, entry.key.name, container, **which)
        if call.query.get("tailLines"):
            tail = number(call.query["tailLines"], "tailLines")
            text = "".join(text.splitlines(keepends=True)[-tail:] if tail else ())
        return Response(200, text.encode(), "text/plain")

    def _act(self, call: Call, resource: Resource, entry: Entry, subresource: str) -> Response:
        """Delete, bind or evict."""
        author = self._author(call)
        match call.method, subresource:
            case "DELETE", "":
                result = self.deletes.delete(resource, entry, delete_options(call), author)
                if isinstance(result, dict):
                    return json_response(200, result)
                return self.reads.one(200, resource, result)
            case "POST", "binding":
                bind(self.writes, resource, entry, decode_body(call.body, call.content_type), author)
            case "POST", "eviction":
                asked = decode_body(call.body, call.content_type)
                options = asked.get("deleteOptions") if isinstance(asked, dict) else None
                must_be_dispensable(self.store, entry.obj)
                self.deletes.delete(resource, entry, options if isinstance(options, dict) else {}, author)
            case _:
                raise method_not_allowed()
        return json_response(201, SUCCESS)

    def _scale(self, call: Call, resource: Resource, entry: Entry, media: str) -> Response:
        author = self._author(call)
        body = decode_body(call.body, call.content_type)
        if call.method == "PUT":
            return json_response(200, set_scale(self.writes, resource, entry, body, author))
        return json_response(200, patch_scale(self.writes, resource, entry, body, media, author))

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
            # A deletion's options are in its body, or, where it has none, in the query; never in both.
            dry_run=bool(dry_run) and not (call.method == "DELETE" and call.body),
            force=is_true(query.get("force")),
            validation=validation,
            now=self.writes.now(),
            warnings=call.warnings,
        )
