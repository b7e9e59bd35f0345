"""Requests and responses without sockets: what a query, a body and a page token mean. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from kaitoctl.errors import InputError
from kaitoctl.kube import fast_json
from kaitoctl.kube.documents import load_yaml
from kaitoctl.kube.objects import Object, ObjectKey
from kaitoctl.sandbox import protobuf
from kaitoctl.sandbox.error_status import Failure, bad_request


class Call(Struct, frozen=True):
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


class Response(Struct, frozen=True):
    """An HTTP response."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


class Author(Struct, frozen=True):
    """Who writes, and how.

    Args:
        manager: the field manager.
        named: whether the request named it, as an apply must.
        dry_run: do everything but write.
        force: an apply takes fields over.
        validation: `Strict`, `Warn` or `Ignore` unknown fields.
        now: the time of the request.
        warnings: collects what the client should be told.
    """

    manager: str
    named: bool = True
    dry_run: bool = False
    force: bool = False
    validation: str = "Warn"
    now: str = ""
    warnings: list[str] = field(default_factory=list)


SUCCESS: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
NO_SUCH_PAGE = Response(404, b"404 page not found\n", "text/plain; charset=utf-8")


def is_true(text: str | None) -> bool:
    """Whether a query parameter says yes."""
    return text in ("true", "1", "True", "t", "T", "TRUE")


def json_response(code: int, value: Object) -> Response:
    """A response with a value as JSON."""
    return Response(code, fast_json.encode(value))


def failure_response(failure: Failure, warnings: Sequence[str]) -> Response:
    """A response with a failure's Status."""
    headers = warning_headers(warnings)
    if retry := failure.details.get("retryAfterSeconds"):
        headers["Retry-After"] = str(retry)
    return Response(failure.code, fast_json.encode(failure.status), headers=headers)


def warning_headers(warnings: Sequence[str]) -> dict[str, str]:
    """The header that tells a client what it should know besides."""
    # A quoted string of HTTP: json.dumps escapes what it must, and nothing beyond ASCII gets through.
    return {"Warning": ", ".join(f"299 - {json.dumps(text)}" for text in warnings)} if warnings else {}


def media_type(content_type: str) -> str:
    """A content type without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def number(text: str | None, name: str) -> int:
    """A query parameter that is a number; 0 when it is not there.

    Raises:
        Failure: 400.
    """
    if not text:
        return 0
    if not text.isascii() or not text.isdigit():
        raise bad_request(f'{name}: Invalid value: "{text}": must be a number')
    return int(text)


def continue_token(version: int, last: ObjectKey) -> str:
    """What asks for the page after an object, of a list as it was at a version."""
    text = json.dumps({"v": "meta.k8s.io/v1", "rv": version, "start": list(last)})
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def continue_from(token: str) -> tuple[int | None, ObjectKey]:
    """The version (None for now) and the last object of a page token.

    Raises:
        Failure: 400.
    """
    try:
        state = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        namespace, name = state["start"]
        version = int(state["rv"])
    except (ValueError, KeyError, TypeError):
        raise bad_request(f'continue key is not valid: "{token}"') from None
    return (None if version < 0 else version), ObjectKey(str(namespace), str(name))


def decode_body(body: bytes, content_type: str) -> Any:
    """The JSON or YAML value of a body.

    Raises:
        Failure: 400.
    """
    media = media_type(content_type)
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


def delete_options(call: Call) -> Object:
    """Options from the body or, of a request that has none, from the query; never from both.

    Source: Kubernetes 1.34 apiserver `pkg/endpoints/handlers/delete.go` DeleteResource.
    """
    if call.body.strip():
        body = decode_body(call.body, call.content_type)
        return dict(body) if isinstance(body, dict) else {}
    options: Object = {}
    if "gracePeriodSeconds" in call.query:
        options["gracePeriodSeconds"] = number(call.query["gracePeriodSeconds"], "gracePeriodSeconds")
    if "propagationPolicy" in call.query:
        options["propagationPolicy"] = call.query["propagationPolicy"]
    if "orphanDependents" in call.query:
        options["orphanDependents"] = is_true(call.query["orphanDependents"])
    return options
