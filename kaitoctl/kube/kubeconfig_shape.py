"""Which keys a kubeconfig has, and of which type, as client-go decodes them: no number is a text. Pure.

What has another shape is refused with its place and its type, never with its value: nearly every value of a
user entry may be a secret.

Source: client-go v0.37 `tools/clientcmd/api/v1/types.go` and `conversion.go` (names are unique in a list).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

_TYPES: dict[type, str] = {str: "text", bool: "true or false", list: "a list", dict: "a map"}
_BYTES = "base64"

# A type; a list of one shape; a map of the keys that it may have, or under `*` of any.
_EXTENSIONS: Any = [{"name": str}]
_CLUSTER: Any = {
    "server": str,
    "tls-server-name": str,
    "insecure-skip-tls-verify": bool,
    "certificate-authority": str,
    "certificate-authority-data": _BYTES,
    "proxy-url": str,
    "disable-compression": bool,
    "extensions": _EXTENSIONS,
}
_EXEC: Any = {
    "command": str,
    "args": [str],
    "env": [{"name": str, "value": str}],
    "apiVersion": str,
    "installHint": str,
    "provideClusterInfo": bool,
    "interactiveMode": str,
}
_USER: Any = {
    "client-certificate": str,
    "client-certificate-data": _BYTES,
    "client-key": str,
    "client-key-data": _BYTES,
    "token": str,
    "tokenFile": str,
    "as": str,
    "as-uid": str,
    "as-groups": [str],
    "as-user-extra": {"*": [str]},
    "username": str,
    "password": str,
    "auth-provider": {"name": str, "config": {"*": str}},
    "exec": _EXEC,
    "extensions": _EXTENSIONS,
}
_CONTEXT: Any = {"cluster": str, "user": str, "namespace": str, "extensions": _EXTENSIONS}
_CONFIG: Any = {
    "kind": str,
    "apiVersion": str,
    "current-context": str,
    "clusters": [{"name": str, "cluster": _CLUSTER}],
    "users": [{"name": str, "user": _USER}],
    "contexts": [{"name": str, "context": _CONTEXT}],
    "extensions": _EXTENSIONS,
}
_UNIQUE = ("clusters", "users", "contexts")


def fault(config: Any) -> str:
    """Why client-go would not read it: the place and what is wrong there; empty when it would.

    Args:
        config: what a file holds; None for an empty one.
    """
    if config is None:
        return ""
    if wrong := _fault(config, _CONFIG, ""):
        return wrong
    version, kind = config.get("apiVersion") or "v1", config.get("kind") or "Config"
    if (version, kind) != ("v1", "Config"):
        return f"it is a {kind} of {version}, not a Config of v1"
    for part in _UNIQUE:
        names = [entry.get("name") or "" for entry in config.get(part) or () if entry]
        if twice := next((name for name in names if names.count(name) > 1), None):
            return f"{part} has two entries named {twice!r}"
    return ""


def _fault(value: Any, shape: Any, where: str) -> str:
    """The first thing that is wrong below a place; null is the same as nothing."""
    if value is None:
        return ""
    wanted: type = shape if isinstance(shape, type) else str if shape is _BYTES else type(shape)
    if not isinstance(value, wanted):
        return f"{where or 'it'} is {_name_of(value)}, not {_TYPES[wanted]}"
    if shape is _BYTES and not _is_base64(str(value)):
        return f"{where} is not base64"
    return next(filter(None, (_fault(*part) for part in _parts(value, shape, where))), "")


def _parts(value: Any, shape: Any, where: str) -> Iterator[tuple[Any, Any, str]]:
    """What is in a list or a map, with the shape and the place of each; but for keys that nobody knows."""
    if isinstance(shape, list):
        for number, item in enumerate(value):
            yield item, shape[0], f"{where}[{number}]"
    elif isinstance(shape, dict):
        for key, item in value.items():
            if key in shape or "*" in shape:
                yield item, shape.get(key, shape.get("*")), f"{where}.{_shorten(key, shape)}".lstrip(".")


def _shorten(key: Any, shape: Any) -> str:
    """A key that we know by its name; others may be anybody's."""
    return str(key) if key in shape else "*"


def _name_of(value: Any) -> str:
    return next((name for of, name in _TYPES.items() if isinstance(value, of)), "a number or date")


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return False
    return True
