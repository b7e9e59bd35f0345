"""On whose behalf we ask: a kubeconfig's `as`, as the headers that client-go sends. Pure.

Source: client-go v0.37 `transport/round_trippers.go` (`impersonatingRoundTripper`, `headerKeyEscape`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# What may be in the name of a header (RFC 9110, token), but for the % that escapes everything else.
_LEGAL = frozenset(b"!#$&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def headers(user: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The headers by which the server lets us act as somebody else; none when we act for ourselves.

    Args:
        user: a kubeconfig's user entry, of the right shape.

    Raises:
        ValueError: a value that no header may have; the words do not quote it.
    """
    found = tuple(_headers(user))
    for name, value in found:
        if any(ord(char) < 32 or ord(char) == 127 for char in value):
            raise ValueError(f"{name} would have a character that no header may have")
    return found


def _headers(user: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not user.get("as"):
        return
    yield "Impersonate-User", user["as"]
    if user.get("as-uid"):
        yield "Impersonate-Uid", user["as-uid"]
    for group in user.get("as-groups") or ():
        yield "Impersonate-Group", group or ""
    for key, values in (user.get("as-user-extra") or {}).items():
        for value in values or ():
            yield f"Impersonate-Extra-{_escape(str(key))}", value or ""


def _escape(key: str) -> str:
    return "".join(chr(byte) if byte in _LEGAL else f"%{byte:02X}" for byte in key.encode())
