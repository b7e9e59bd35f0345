"""Maintenance windows: cron expressions and Go durations, as far as to say whether they are valid. Pure.

Source: github.com/robfig/cron v3, `ParseStandard` and `getField`; Go, `time.ParseDuration`.
"""

from __future__ import annotations

import re
from zoneinfo import available_timezones

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _DAYS),
)
_DESCRIPTORS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_EVERY = "@every "
_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(?<![0-9.])([0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(ns|us|µs|μs|ms|s|m|h)")
_MOST_S = 2**63 / 10**9  # Go counts nanoseconds in 64 bits
_LONGEST = 200


def schedule_fault(text: str) -> str:
    """Why this is not a schedule, empty when it is one."""
    if len(text) > _LONGEST:
        return f"it has more than {_LONGEST} characters"
    if text.startswith(("TZ=", "CRON_TZ=")):
        zone, _, text = text.partition(" ")
        if (name := zone.partition("=")[2]) not in (*available_timezones(), "", "Local"):
            return f"there is no time zone {name!r}"
        text = text.strip()
    if text.startswith("@"):
        if text.startswith(_EVERY):
            return "" if duration_s(text.removeprefix(_EVERY)) is not None else "the duration is not valid"
        return "" if text in _DESCRIPTORS else f"{text!r} is none of {', '.join(_DESCRIPTORS)} and @every"
    fields = text.split()
    if len(fields) != len(_FIELDS):
        return f"it has {len(fields)} fields, and not 5: minute, hour, day, month, day of the week"
    faults = (_field_fault(field, *known) for field, known in zip(fields, _FIELDS, strict=True))
    return next(filter(None, faults), "")


def _field_fault(text: str, name: str, least: int, most: int, names: tuple[str, ...]) -> str:
    parts = [part for part in text.split(",") if part]
    return next(filter(None, (_range_fault(part, name, least, most, names) for part in parts)), "")


def _range_fault(text: str, name: str, least: int, most: int, names: tuple[str, ...]) -> str:
    span, slash, step = text.partition("/")
    if slash and (not _is_number(step) or int(step) == 0):
        return f"{name}: {text!r} has no step that is a number above 0"
    if span in ("*", "?"):
        return ""
    ends = span.split("-")
    if len(ends) > 2:
        return f"{name}: {text!r} has too many hyphens"
    numbers = [_number(end, least, names) for end in ends]
    known = [number for number in numbers if number is not None]
    if len(known) < len(numbers):
        return f"{name}: {text!r} is not a number"
    if min(known) < least or max(known) > most:
        return f"{name}: {text!r} is not within {least} to {most}"
    return f"{name}: {text!r} ends before it begins" if known[0] > known[-1] else ""


def _number(text: str, least: int, names: tuple[str, ...]) -> int | None:
    if text.lower() in names:
        return names.index(text.lower()) + least
    return int(text) if _is_number(text) else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def duration_s(text: str) -> float | None:
    """The seconds of a duration as Go writes it (`1h30m`); None when it is none."""
    if len(text) > _LONGEST:
        return None
    sign = -1.0 if text.startswith("-") else 1.0
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0.0
    parts = list(_PART.finditer(rest))
    if not parts or "".join(part.group(0) for part in parts) != rest:
        return None
    seconds = sum(float(part.group(1)) * _UNITS_S[part.group(2)] for part in parts)
    return sign * seconds if seconds < _MOST_S else None
