"""What an API server answers with: lists, objects, events of a watch, and what is none of these. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from kaitoctl.errors import Unreachable
from kaitoctl.kube import failures
from kaitoctl.kube.access import access
from kaitoctl.kube.objects import Object
from kaitoctl.kube.request import Request

NO_API_SERVER_HINT = "is the kubeconfig's server address that of a Kubernetes API server?"


class ObjectList(NamedTuple):
    """A complete list of one moment.

    Args:
        items: the objects, each with `apiVersion` and `kind` filled in.
        resource_version: where a watch may go on from.
    """

    items: list[Object]
    resource_version: str


class WatchEvent(NamedTuple):
    """One line of a watch: `ADDED`, `MODIFIED`, `DELETED` or `BOOKMARK`, and the object."""

    type: str
    object: Object


def items_of(page: Any) -> Sequence[Object]:
    """The objects of a list; an answer that is none must never be taken for an empty one."""
    items = page.get("items", ()) if isinstance(page, dict) else ()
    is_list = isinstance(items, list) or (items is None and isinstance(page.get("metadata"), dict))
    if is_list and all(_is_item(item) for item in items or ()):
        return items or ()
    raise Unreachable(
        "the server answered something that is not a list where one was due", hint=NO_API_SERVER_HINT
    )


def _is_item(item: Any) -> bool:
    metadata = item.get("metadata") if isinstance(item, dict) else None
    return isinstance(metadata, dict) and isinstance(metadata.get("name"), str)


def insist_on_success(answer: Any) -> None:
    """Take a Status that reports a failure for one, also where a gateway has made a success of its number."""
    is_status = isinstance(answer, dict) and answer.get("kind") == "Status"
    if is_status and answer.get("status") == "Failure":
        code = answer.get("code")
        raise failures.status_error(code if isinstance(code, int) and code >= 400 else 500, answer)


def insist_on_an_object(request: Request, answer: Any) -> None:
    """Refuse what no API server answers: somebody else may speak in its place."""
    if isinstance(answer, dict):
        about = access(request.method, request.path, request.query)
        if about.name and about.verb in ("get", "patch", "update") and "/" not in about.resource:
            is_right = _is_named(answer, about.name)
        else:
            is_right = not re.fullmatch("/apis/[^/]+", request.path) or _has_versions(answer)
        if is_right:
            return
    raise Unreachable(
        "the server answered something that is not an object where one was due", hint=NO_API_SERVER_HINT
    )


def _is_named(answer: Object, name: str) -> bool:
    """Whether it is an object, not a Status or a List; the path has named it where it does not say."""
    metadata = answer.get("metadata")
    if not isinstance(metadata, dict) or str(answer.get("kind")).endswith(("Status", "List")):
        return False
    return isinstance(metadata.setdefault("name", name), str)


def _has_versions(answer: Object) -> bool:
    """Whether it tells the versions of an API group."""
    versions = answer.get("versions")
    return isinstance(versions, list) and all(isinstance(item, dict) for item in versions)


def watch_event(event: Any) -> WatchEvent:
    """A line of a watch.

    Raises:
        ApiError: an `ERROR` event.
        LookupError, TypeError: it is none.
    """
    if event["type"] == "ERROR":
        raise failures.status_error(int(event["object"].get("code") or 500), event["object"])
    return WatchEvent(event["type"], event["object"])


_UNSAFE_IN_HTML = {char.encode(): f"\\u{ord(char):04x}".encode() for char in "<>&\u2028\u2029"}


def html_safe(body: bytes) -> bytes:
    """JSON in the one form in which API servers write it, too: compact, and safe to be put into HTML.

    A ControllerRevision's immutable `data` is compared by its bytes: in another form, a patch of anything
    else in it seems to change it. Source: Go's encoding/json, `HTMLEscape`.
    """
    for char, escape in _UNSAFE_IN_HTML.items():
        body = body.replace(char, escape)
    return body
