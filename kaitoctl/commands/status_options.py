"""Which Workspaces `kaitoctl status` shows: the half of its options that several modules know."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Which:
    """Which Workspaces to list.

    Args:
        names: only these; none for all.
        everywhere: whether of all namespaces.
        labels: a label selector; empty for all.
    """

    names: tuple[str, ...] = ()
    everywhere: bool = False
    labels: str = ""
