"""How `kaitoctl rollout fleet` goes over a set: the half of its options that several modules know."""

from __future__ import annotations

from msgspec import Struct


class FleetBudget(Struct, frozen=True):
    """How many replicas change, may be away and may fail; None for what the set says.

    Args:
        canary: change so many, and stop, or go on once they have answered.
        max_unavailable: how many may be away at a time.
        max_failures: how many may fail on the new template.
        max_surge: how many more than wanted there may be meanwhile.
        smoke_test: whether a changed one must answer a prompt before the next is changed.
    """

    canary: int | None = None
    max_unavailable: int | None = None
    max_failures: int | None = None
    max_surge: int | None = None
    smoke_test: bool = False
