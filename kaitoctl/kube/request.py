"""One request to an API server, as data.

Who decides (a reconciler, a command) says *what* to ask by building a `Request`; who acts
(`kube.client.Client.send`, the sandbox's API, a test driver) carries it out. That seam is what makes
a reconciler a plain generator, and every position of a fault an index.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from msgspec import Struct, field

from kaitoctl.errors import InputError
from kaitoctl.kube.objects import Kind, Object, key_of

JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

_UNSAFE = re.compile(r"[^!-~]")


class Request(Struct, frozen=True):
    """An HTTP request to an API server.

    Args:
        method: upper-case HTTP method.
        path: URL path, already quoted.
        query: query parameters.
        body: JSON value to send, or None.
        content_type: of the body.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    content_type: str = JSON

    @property
    def is_write(self) -> bool:
        """True when carrying it out may change the cluster (a dry run may not)."""
        return self.method != "GET" and "dryRun" not in self.query


def _path(kind: Kind, namespace: str, name: str, subresource: str = "") -> str:
    """The path of one object.

    Raises:
        InputError: the name would make it the path of something else (of all objects, when empty).
    """
    for part in (name, namespace):
        if part in (".", "..") or (not part and part is name):
            raise InputError(f"{kind.kind} {part!r}: that is not a name")
    return kind.path(namespace, name, subresource)


def get(kind: Kind, namespace: str, name: str) -> Request:
    """Ask for one object."""
    return Request("GET", _path(kind, namespace, name))


def create(kind: Kind, obj: Object) -> Request:
    """Create an object; the server answers 409 AlreadyExists when there is one of this name."""
    return Request("POST", kind.path(key_of(obj).namespace), body=obj)


def replace(kind: Kind, obj: Object, *, subresource: str = "") -> Request:
    """Write a whole object; with its `metadata.resourceVersion` only if nobody wrote since."""
    key = key_of(obj)
    return Request("PUT", _path(kind, key.namespace, key.name, subresource), body=obj)


# Stores count versions from 1 and use that one up themselves: no object ever has it.
_VERSION_OF_NOTHING = "1"


def apply(
    kind: Kind,
    obj: Object,
    *,
    manager: str,
    force: bool = False,
    dry_run: bool = False,
    only_new: bool = False,
) -> Request:
    """Server-side apply: create the object or set exactly the fields given, owned by `manager`.

    Fields that the manager applied before and that `obj` leaves out are removed.

    Args:
        kind: the object's kind.
        obj: the fields to own, with apiVersion, kind and metadata.name.
        manager: the field manager's name.
        force: take fields over from other managers instead of answering 409 Conflict.
        dry_run: let the server do everything but write.
        only_new: create it or nothing: 409 Conflict when there is such an object, whoever has made it.
            Source: apiserver `pkg/registry/generic/registry/store.go`, Update: a resourceVersion is
            compared with that of an existing object, and of no account when there is none.
    """
    query = {"fieldManager": manager, "fieldValidation": "Strict"}
    if only_new:
        obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": _VERSION_OF_NOTHING}}
    if force:
        query["force"] = "true"
    if dry_run:
        query["dryRun"] = "All"
    key = key_of(obj)
    return Request(
        "PATCH", _path(kind, key.namespace, key.name), query=query, body=obj, content_type=APPLY_PATCH
    )


def apply_status(kind: Kind, obj: Object, *, manager: str) -> Request:
    """Server-side apply of `status` alone, always taking the fields over: a status has one writer.

    `obj` may carry `metadata.uid` and `metadata.resourceVersion` as preconditions.
    """
    key = key_of(obj)
    return Request(
        "PATCH",
        _path(kind, key.namespace, key.name, "status"),
        query={"fieldManager": manager, "force": "true"},
        body=obj,
        content_type=APPLY_PATCH,
    )


def merge_patch(
    kind: Kind,
    namespace: str,
    name: str,
    patch: Object,
    *,
    manager: str,
    subresource: str = "",
    dry_run: bool = False,
) -> Request:
    """JSON merge patch (RFC 7386): objects are merged, null removes, lists are replaced."""
    return Request(
        "PATCH",
        _path(kind, namespace, name, subresource),
        query={"fieldManager": manager, **({"dryRun": "All"} if dry_run else {})},
        body=patch,
        content_type=MERGE_PATCH,
    )


def delete(
    kind: Kind,
    namespace: str,
    name: str,
    *,
    uid: str = "",
    resource_version: str = "",
    propagation: str = "Background",
    dry_run: bool = False,
) -> Request:
    """Delete one object, only if it still is the one meant when `uid` or `resource_version` is given.

    Args:
        kind: of the object.
        namespace: of the object.
        name: of the object.
        uid: it must have, or 409.
        resource_version: it must have, or 409.
        propagation: what becomes of the objects that it owns.
        dry_run: let the server do everything but delete.
    """
    options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
    preconditions = {"uid": uid, "resourceVersion": resource_version}
    if chosen := {key: value for key, value in preconditions.items() if value}:
        options["preconditions"] = chosen
    if dry_run:  # in the body: of a request that has one, the server does not read options from the query
        options["dryRun"] = ["All"]
    return Request("DELETE", _path(kind, namespace, name), body=options)


def quote_target(target: str) -> str:
    """A path or query with everything escaped that may not stand in a request line; escapes stay."""
    return quote(target, safe="/?:@!$&'()*+,;=~%-._") if _UNSAFE.search(target) else target
