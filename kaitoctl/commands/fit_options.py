"""What the user says to `fit`, besides the preset and the nodes."""

from __future__ import annotations

from msgspec import Struct


class FitOptions(Struct, frozen=True):
    """How to fit, and what to show of it.

    Args:
        cloud: only instance types of this cloud.
        show_all: whether to show what does not fit, and why.
        cheapest: whether the cheapest comes first, not the smallest.
        prices: a file of what nodes cost.
        max_nodes: the most nodes to take.
        max_model_len: tokens to leave room for.
        target_version: the KAITO version.
        output_format: `table`, `wide`, `json`, `yaml` or `name`.
    """

    cloud: str | None = None
    show_all: bool = False
    cheapest: bool = False
    prices: str | None = None
    max_nodes: int = 8
    max_model_len: int = 2048
    target_version: str | None = None
    output_format: str = "table"
