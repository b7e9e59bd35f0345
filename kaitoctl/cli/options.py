"""What users type as option values, and what it means: labels, durations, formats."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from kaitoctl.errors import InputError

# https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_PREFIX = r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?"
_LABEL_KEY = rf"(?:{_PREFIX}/)?{_NAME}"
_LABEL_VALUE = rf"(?:{_NAME})?"
_DNS_NAME = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"
_DURATION = r"(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m)?(?:(?P<s>\d+(?:\.\d+)?)s?)?"


def labels(items: Iterable[str], *, option: str = "--label") -> dict[str, str]:
    """`KEY=VALUE` items as a dict.

    Raises:
        InputError: an item without `=`, not a label, or a key given twice with different values.
    """
    result: dict[str, str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals:
            raise InputError(f"{option} {item!r}: write it as KEY=VALUE")
        if not re.fullmatch(_LABEL_KEY, key):
            raise InputError(f"{option} {item!r}: {key!r} is not a label key", hint="such as apps=falcon-7b")
        if not re.fullmatch(_LABEL_VALUE, value):
            hint = "letters, digits, '-', '_' and '.', at most 63, a letter or digit at both ends"
            raise InputError(f"{option} {item!r}: {value!r} is not a label value", hint=hint)
        if result.setdefault(key, value) != value:
            raise InputError(f"{option} {item!r}: {key} has the value {result[key]!r} already")
    return result


def duration_s(text: str, *, option: str = "--timeout") -> float:
    """Seconds from `90`, `90s`, `30m`, `1h30m`.

    Raises:
        InputError: not a duration, or none at all.
    """
    found = re.fullmatch(_DURATION, text.strip())
    parts = found.groupdict() if found else {}
    seconds = sum(float(parts.get(unit) or 0) * size for unit, size in (("h", 3600), ("m", 60), ("s", 1)))
    if seconds <= 0:
        raise InputError(f"{option} {text!r} is not a duration", hint="such as 90s, 30m or 1h30m")
    return seconds


def request_timeout_s(text: str) -> float:
    """Seconds from what kubectl's option takes: `0` for no end, `10`, `10s`, `1m30s`, `500ms`.

    Raises:
        InputError: not a duration.
    """
    option = "--request-timeout"
    if re.fullmatch(r"0+(?:ms|s|m|h)?", text.strip()):
        return math.inf
    if found := re.fullmatch(r"(\d+(?:\.\d+)?)ms", text.strip()):
        return float(found[1]) / 1000 or math.inf
    return duration_s(text, option=option)


def number(value: float | None) -> float | None:
    """The value of an option with a range, unless it is `nan`, which no range excludes.

    Raises:
        typer.BadParameter: it is.
    """
    if value is not None and math.isnan(value):
        import typer

        raise typer.BadParameter("nan is not a number")
    return value


def http_url(text: str, *, option: str) -> str:
    """The text, if it is the address of a server.

    Raises:
        InputError: it is not; told without user and password.
    """
    from kaitoctl.kube import http

    if not http.is_address(text) or not text.isascii() or not text.isprintable() or " " in text:
        shown = http.without_user(text)[:200]
        hint = "such as http://127.0.0.1:8080"
        raise InputError(f"{option} {shown!r} is not an http(s) address", hint=hint)
    return text


def node_name(text: str) -> str:
    """The text, if it can name a node.

    Raises:
        InputError: it cannot.
    """
    if len(text) > 253 or not re.fullmatch(_DNS_NAME, text):
        hint = "lower-case letters, digits, '-' and '.', at most 253, a letter or digit at both ends"
        raise InputError(f"{text[:80]!r} cannot name a node", hint=hint)
    return text


def namespace_name(text: str) -> str:
    """The text, if it can name a namespace.

    Raises:
        InputError: it cannot.
    """
    if len(text) > 63 or not re.fullmatch(_DNS_NAME, text) or "." in text:
        hint = "lower-case letters, digits and '-', at most 63, a letter or digit at both ends"
        raise InputError(f"--namespace {text[:80]!r} cannot name a namespace", hint=hint)
    return text


def workspace_name(text: str) -> str:
    """The name in `falcon`, `workspace/falcon` or `workspace.kaito.sh/falcon`, as kubectl writes it.

    Raises:
        InputError: the text is no such name.
    """
    kind, slash, name = text.rpartition("/")
    if slash and kind not in ("workspace", "workspaces", "workspace.kaito.sh", "workspaces.kaito.sh"):
        raise InputError(f"{text[:80]!r}: this is about Workspaces", hint="such as workspace/falcon")
    if not name or len(name) > 253 or not re.fullmatch(_DNS_NAME, name):
        raise InputError(f"{text[:80]!r} does not name a Workspace", hint="such as falcon")
    return name


def one_of(value: str, choices: Sequence[str], *, option: str) -> str:
    """The value, if it is one of the choices.

    Raises:
        InputError: it is not.
    """
    if value not in choices:
        raise InputError(f"{option} {value!r}: choose {', '.join(choices[:-1])} or {choices[-1]}")
    return value


def elapsed(seconds: float) -> str:
    """`4s`, `3m20s`, `1h05m`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"
