"""How many nodes KAITO takes for a model from v0.7 on, whatever `resource.count` says: its estimator. Pure.

Source: KAITO v0.12.0, `pkg/workspace/estimator/nodesestimator/estimator.go`; v0.7.0 to v0.10.0 (the latter at
c673cadc6) reckon without a share of the weights (`Model.overhead`), and v0.11.0 (7545aa214) as v0.12.0.
"""

from __future__ import annotations

import math

from msgspec import Struct

from kaitoctl.kaito.catalog import Model

CONTEXT = 2048
"""Tokens that the estimator leaves room for, unless the Workspace's ConfigMap says otherwise."""

USABLE_SHARE = 0.84  # vLLM's gpu-memory-utilization
RESERVED_GIB = 2.3
WEIGHTS_MARGIN = 1.02

_GIB = 2**30


class Shape(Struct, frozen=True):
    """What a node offers: devices, and the memory of each in GiB.

    Args:
        gpus: how many.
        memory_gib: of each.
        is_slice: whether a device is a slice of a GPU (MIG).
    """

    gpus: int
    memory_gib: float
    is_slice: bool = False

    def __str__(self) -> str:
        return f"{self.gpus} x {self.memory_gib:g} GiB"


def estimated_gpus(model: Model, shape: Shape, *, context: int = CONTEXT) -> int | None:
    """How many GPUs KAITO wants for a model on nodes of a shape; None when none is large enough."""
    each_gib = usable_gib(model, shape, context)
    if each_gib <= 0:
        return None
    gpus = math.floor(WEIGHTS_MARGIN * model.weights_gib / each_gib) + 1
    return None if model.one_gpu and gpus > 1 else gpus


def estimated_nodes(model: Model, shape: Shape, *, context: int = CONTEXT) -> int | None:
    """How many nodes KAITO takes for a model (`status.targetNodeCount`); None when none is enough."""
    gpus = estimated_gpus(model, shape, context=context)
    return None if gpus is None else math.ceil(gpus / shape.gpus)


def usable_gib(model: Model, shape: Shape, context: int) -> float:
    """What each GPU has left for weights; the key-value cache is shared by the GPUs of a node."""
    cache_gib = context * model.bytes_per_token / shape.gpus / _GIB
    return (USABLE_SHARE * shape.memory_gib - RESERVED_GIB - cache_gib) / (1 + model.overhead)
