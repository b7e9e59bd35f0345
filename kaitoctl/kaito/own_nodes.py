"""Nodes of one's own, from KAITO v0.12 on: which ones a selector means, and what its webhook asks of them.

KAITO reads the labels that NVIDIA's feature discovery puts on nodes, of every node that matches, Ready or
not; nothing else of a node counts at admission. Whether pods can run there, `kaito.node_check` decides.

Source: KAITO v0.12 `api/v1beta1/workspace_validation.go` and `pkg/sku` (figures from node labels).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from kaitoctl.kaito.api import RESERVED_LABELS
from kaitoctl.kube.objects import Object, dig

_PRODUCT, _COUNT, _MEMORY = (f"nvidia.com/gpu.{name}" for name in ("product", "count", "memory"))


LABELS = (_PRODUCT, _COUNT, _MEMORY)
"""The labels of each node of one's own that KAITO reads."""


class Hardware(Struct, frozen=True):
    """What KAITO v0.12 reckons with: so many nodes that are alike.

    Args:
        nodes: how many.
        gpus: of each node.
        memory_gib: GPU memory of each node, over all its GPUs.
        name: what to call one of them.
        gpu_gib: GPU memory of one GPU, of nodes of one's own.
    """

    nodes: int
    gpus: int
    memory_gib: int
    name: str
    gpu_gib: int = 0


class Flaw(Struct, frozen=True):
    """Why KAITO does not take the nodes: a key of `CODES`, and the message."""

    code: str
    message: str


def hardware(
    nodes: Iterable[Object], match_labels: Mapping[str, Any], *, all_count: bool = False
) -> Hardware | Flaw:
    """What the nodes that a selector means are, or why KAITO refuses them.

    Args:
        nodes: all of the cluster, whatever they are made of.
        match_labels: of the Workspace; KAITO's own labels do not count.
        all_count: whether they do, as up to v0.9.
    """
    asked = {key: value for key, value in match_labels.items() if all_count or key not in RESERVED_LABELS}
    seen: dict[tuple[str, int, int], str] = {}
    matching = 0
    for node in nodes:
        labels = dig(node, "metadata", "labels")
        labels = labels if isinstance(labels, dict) else {}
        if any(labels.get(key) != value for key, value in asked.items()):
            continue
        matching += 1
        name = str(dig(node, "metadata", "name") or "")[:253]
        product, count, memory_mib = (
            labels.get(_PRODUCT),
            _number(labels.get(_COUNT)),
            _number(labels.get(_MEMORY)),
        )
        if not isinstance(product, str) or count is None or memory_mib is None:
            return Flaw("KW201", f"node {name} does not carry {_PRODUCT}, {_COUNT} and {_MEMORY}")
        seen.setdefault((product, count, int(memory_mib / 1024 + 0.5)), name)
        if len(seen) > 1:
            (one, other), (first, second) = seen, seen.values()
            what = next(
                what for what, a, b in zip(("product", "count", "memory"), one, other, strict=True) if a != b
            )
            return Flaw("KW201", f"nodes {first} and {second} differ in {what} of their GPUs")
    if not matching:
        return Flaw("KW200", "no node carries all labels of the selector")
    ((product, count, gib),) = seen
    return Hardware(matching, count, gib * count, f"{count} x {product[:63]}", gib)


def is_readable(label: str, value: object) -> bool:
    """Whether KAITO can read the value of one of `LABELS`."""
    return isinstance(value, str) if label == _PRODUCT else _number(value) is not None


def _number(value: Any) -> int | None:
    """A whole number as Go's Atoi reads it; None for anything else."""
    is_one = isinstance(value, str) and re.fullmatch(r"[-+]?[0-9]{1,18}", value)
    return int(value) if is_one else None
