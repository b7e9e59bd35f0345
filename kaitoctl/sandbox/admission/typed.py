"""Reading fields as if they had their types. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kaitoctl.sandbox.builtin import Resource
from kaitoctl.sandbox.error_status import bad_request


@contextmanager
def as_typed(resource: Resource) -> Iterator[None]:
    """Read fields as if they had their types; where they do not, the request is bad.

    Raises:
        Failure: 400.
    """
    try:
        yield
    except (TypeError, AttributeError, KeyError, ValueError) as error:
        kind = resource.kind.kind
        raise bad_request(
            f"{kind} in version {resource.kind.version!r} cannot be handled as a {kind}: "
            f"a field is of the wrong type: {error}"
        ) from None
