"""Reads: lists in pages and as they were, watches, single objects; as JSON or as a table. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from kaitoctl.kube import fast_json
from kaitoctl.kube.objects import Object, ObjectKey
from kaitoctl.sandbox import crd, selectors, tables
from kaitoctl.sandbox.api.requests import (
    Call,
    Response,
    continue_from,
    continue_token,
    is_true,
    json_response,
    number,
    warning_headers,
)
from kaitoctl.sandbox.api.watches import Watch
from kaitoctl.sandbox.builtin import Resource
from kaitoctl.sandbox.error_status import Failure, expired, forbidden_field, invalid, too_large_version
from kaitoctl.sandbox.store import Entry, Expired, Store


class Reads:
    """The reading half of an `Api`."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    def predicate(self, resource: Resource, query: Mapping[str, str]) -> selectors.Predicate | None:
        """What the selectors of a query choose; None for everything.

        Raises:
            Failure: 400, a selector cannot be understood.
        """
        labels = selectors.label_predicate(query.get("labelSelector") or "")
        known = ("metadata.name", "metadata.namespace", *resource.selectable)
        fields = selectors.field_predicate(query.get("fieldSelector") or "", known)
        if labels and fields:
            return lambda obj: labels(obj) and fields(obj)
        return labels or fields

    def collection(self, call: Call, resource: Resource, namespace: str) -> Response:
        """A list, or a page of it, now or as it was.

        Raises:
            Failure: 400, 410 when that past is forgotten, 504 for a version of the future.
        """
        query = call.query
        limit = number(query.get("limit"), "limit")
        asked = number(query.get("resourceVersion"), "resourceVersion")
        current = self._store.version
        at, after = None, None
        if token := query.get("continue"):
            at, after = continue_from(token)
        elif asked > current:
            raise too_large_version(asked, current)
        elif asked and query.get("resourceVersionMatch") == "Exact":
            at = asked
        predicate = self.predicate(resource, query)
        try:
            entries = self._store.entries(resource.name, namespace, after=after, at=at)
        except Expired as error:
            raise self._expiry_error(error, token, after) from None
        version = current if at is None else at
        metadata: Object = {"resourceVersion": str(version)}
        chosen: list[Entry] = []
        for entry in entries:
            if predicate is not None and not predicate(entry.obj):
                continue
            if limit and len(chosen) == limit:
                metadata["continue"] = continue_token(version, chosen[-1].key)
                if predicate is None:
                    metadata["remainingItemCount"] = 1 + sum(1 for _ in entries)
                break
            chosen.append(entry)
        if tables.wants_table(call.accept):
            shown = [crd.in_version(resource, entry.obj) for entry in chosen]
            include = query.get("includeObject", "")
            return json_response(
                200, tables.table(resource, shown, metadata, now=self._clock(), include=include)
            )
        return self.list_of(resource, chosen, metadata)

    def _expiry_error(self, error: Expired, token: str | None, after: ObjectKey | None) -> Failure:
        if not token or after is None:
            return expired(str(error))
        failure = expired(
            "The provided continue parameter is too old to display a consistent list result. Start a new "
            "list without it, or use the continue token of this answer for the rest as it is now."
        )
        failure.list_metadata = {"continue": continue_token(-1, after)}
        return failure

    def watch(self, call: Call, resource: Resource, namespace: str) -> Watch:
        """A watch; one from a forgotten past ends with the error.

        Raises:
            Failure: 400, 422, 504 for a version of the future.
        """
        query = call.query
        predicate = self.predicate(resource, query)
        asked = number(query.get("resourceVersion"), "resourceVersion")
        send_initial = query.get("sendInitialEvents")
        if send_initial is not None and query.get("resourceVersionMatch") != "NotOlderThan":
            why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            cause = forbidden_field("resourceVersionMatch", why)
            raise invalid("ListOptions", "meta.k8s.io", "", [cause])
        if asked > self._store.version:
            raise too_large_version(asked, self._store.version)
        watch = Watch(resource, self._store, self._clock, _in_namespace(namespace, predicate))
        watch.timeout_s = float(number(query.get("timeoutSeconds"), "timeoutSeconds"))
        watch.wants_bookmarks = is_true(query.get("allowWatchBookmarks"))
        watch.as_table = tables.wants_table(call.accept)
        watch.include = query.get("includeObject", "")
        initial = is_true(send_initial) or (send_initial is None and not asked)
        try:
            missed = [] if initial or not asked else self._store.events_since(resource.name, asked)
        except Expired as error:
            watch.fail(expired(str(error)))
            return watch
        watch.begin(
            initial=list(self._store.entries(resource.name, namespace)) if initial else [], missed=missed
        )
        if is_true(send_initial) and watch.wants_bookmarks:
            watch.bookmark(after_initial_list=True)
        return watch

    # --- answers ---

    def one(
        self, code: int, resource: Resource, entry: Entry, warnings: list[str] | None = None, accept: str = ""
    ) -> Response:
        """One object, in the version and the form that the client wants."""
        headers = warning_headers(warnings or ())
        if tables.wants_table(accept):
            shown = [crd.in_version(resource, entry.obj)]
            metadata = {"resourceVersion": str(entry.version)}
            return json_response(code, tables.table(resource, shown, metadata, now=self._clock()))
        return Response(code, self._show(resource, entry), headers=headers)

    def _show(self, resource: Resource, entry: Entry) -> bytes:
        if resource.kind.version == resource.storage_version:
            return entry.json
        return fast_json.encode(crd.in_version(resource, entry.obj))

    def list_of(self, resource: Resource, entries: Sequence[Entry], metadata: Object) -> Response:
        """A list of these objects."""
        kind = resource.kind
        head = fast_json.encode(
            {"kind": resource.list_kind, "apiVersion": kind.api_version, "metadata": metadata}
        )
        items = b",".join([self._show(resource, entry) for entry in entries])
        return Response(200, b'%s,"items":[%s]}' % (head[:-1], items))


def _in_namespace(namespace: str, predicate: selectors.Predicate | None) -> selectors.Predicate | None:
    if not namespace:
        return predicate
    return lambda obj: obj["metadata"]["namespace"] == namespace and (predicate is None or predicate(obj))
