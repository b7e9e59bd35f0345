"""Durations and ages as people read them."""

from __future__ import annotations


def elapsed(seconds: float) -> str:
    """`4s`, `3m20s`, `1h05m`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"
