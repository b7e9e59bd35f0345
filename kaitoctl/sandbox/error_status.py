"""The ways a request can fail, as the `Status` objects and in the words of a real API server. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kaitoctl.kube.objects import Object


class Failure(Exception):
    """A request that is answered with an error Status.

    Args:
        code: HTTP status.
        reason: machine-readable, `NotFound`.
        message: in words.
        details: `name`, `group`, `kind`, `uid`, `causes`, `retryAfterSeconds`.
    """

    def __init__(self, code: int, reason: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = {key: value for key, value in details.items() if value}
        self.list_metadata: Object = {}
        self.has_details = bool(details)

    @property
    def status(self) -> Object:
        """The `Status` object."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.list_metadata,
            "status": "Failure",
            "message": self.message,
            **({"reason": self.reason} if self.reason else {}),
            **({"details": self.details} if self.has_details else {}),
            "code": self.code,
        }


def cause(reason: str, field: str, message: str) -> Object:
    """One entry of `details.causes`."""
    return {"reason": reason, "message": message, "field": field}


def required(field: str, why: str = "") -> Object:
    """The cause for a field that must be given."""
    return cause("FieldValueRequired", field, "Required value" + (f": {why}" if why else ""))


def invalid_value(field: str, value: Any, why: str) -> Object:
    """The cause for a value that is not allowed."""
    return cause("FieldValueInvalid", field, f"Invalid value: {_value_text(value)}: {why}")


def unsupported(field: str, value: Any, supported: Sequence[Any]) -> Object:
    """The cause for a value outside of an enumeration."""
    known = ", ".join(_value_text(item) for item in supported)
    return cause(
        "FieldValueNotSupported", field, f"Unsupported value: {_value_text(value)}: supported values: {known}"
    )


def duplicate(field: str, value: Any) -> Object:
    """The cause for a name that is there twice."""
    return cause("FieldValueDuplicate", field, f"Duplicate value: {_value_text(value)}")


def forbidden_field(field: str, why: str) -> Object:
    """The cause for a field that must not be set or changed."""
    return cause("FieldValueForbidden", field, f"Forbidden: {why}")


def _value_text(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)


def qualified(plural: str, group: str) -> str:
    """A resource as messages name it: `deployments.apps`, `pods`."""
    return f"{plural}.{group}" if group else plural


def bad_request(message: str) -> Failure:
    """400: the request itself makes no sense."""
    return Failure(400, "BadRequest", message)


def not_found(plural: str, group: str, name: str) -> Failure:
    """404: there is no object of this name."""
    return Failure(
        404, "NotFound", f'{qualified(plural, group)} "{name}" not found', name=name, group=group, kind=plural
    )


def already_exists(plural: str, group: str, name: str) -> Failure:
    """409: there is an object of this name."""
    message = f'{qualified(plural, group)} "{name}" already exists'
    return Failure(409, "AlreadyExists", message, name=name, group=group, kind=plural)


def conflict(plural: str, group: str, name: str, why: str = "") -> Failure:
    """409: the object is not the one that the writer has seen."""
    why = why or (
        "the object has been modified; please apply your changes to the latest version and try again"
    )
    message = f'Operation cannot be fulfilled on {qualified(plural, group)} "{name}": {why}'
    return Failure(409, "Conflict", message, name=name, group=group, kind=plural)


def forbidden(plural: str, group: str, name: str, why: str, causes: Sequence[Object] = ()) -> Failure:
    """403: not allowed, whoever asks."""
    message = f'{qualified(plural, group)} "{name}" is forbidden: {why}'
    return Failure(403, "Forbidden", message, name=name, group=group, kind=plural, causes=list(causes))


def invalid(kind: str, group: str, name: str, causes: Sequence[Object]) -> Failure:
    """422: the object breaks the rules of its kind."""
    problems = [f"{item['field']}: {item['message']}" for item in causes]
    listed = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
    message = f'{qualified(kind, group)} "{name}" is invalid: {listed}'
    return Failure(422, "Invalid", message, name=name, group=group, kind=kind, causes=list(causes))


def expired(message: str) -> Failure:
    """410: the past that was asked for is forgotten."""
    return Failure(410, "Expired", message)


def method_not_allowed() -> Failure:
    """405: the resource has no such verb."""
    message = "the server does not allow this method on the requested resource"
    return Failure(405, "MethodNotAllowed", message, kind="")


def no_such_resource() -> Failure:
    """404: the version of the API is served and has no such resource."""
    return Failure(404, "NotFound", "the server could not find the requested resource", kind="")


def nothing_serves() -> Failure:
    """501: what is asked of a pod would have to be answered by a process."""
    words = "pods of the sandbox are simulated: no container runs in them, so nothing answers"
    return Failure(501, "NotImplemented", words)


def insufficient_storage(message: str) -> Failure:
    """507: the write was understood and could not be kept; nothing of it happened."""
    return Failure(507, "InsufficientStorage", f"{message}; nothing was changed")


def unsupported_media_type(accepted: Sequence[str]) -> Failure:
    """415: a patch of a kind that the resource does not take."""
    message = "the body of the request was in an unknown format - accepted media types include: " + ", ".join(
        accepted
    )
    return Failure(415, "UnsupportedMediaType", message)


def too_large_version(asked: int, current: int) -> Failure:
    """504: a version of the future; asking again soon may help."""
    message = f"Too large resource version: {asked}, current: {current}"
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    return Failure(504, "Timeout", message, causes=causes, retryAfterSeconds=1)
