"""How a template is to reach the replicas: `spec.updateStrategy`, which KAITO keeps and never reads. Pure.

`type` and `rollingUpdate.partition` mean what they mean for a StatefulSet, `maxUnavailable` and `maxSurge`
what they mean for a Deployment; `maxFailures` is kaitoctl's own. The API server keeps all of them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from kaitoctl.kaito.fleet.replicas import wanted_replicas
from kaitoctl.kube.objects import Object, annotations_of, dig

PAUSED = "kaitoctl.dev/rollout-paused"
"""An annotation of the set; the one value that counts is `true`."""

PAUSED_BY_HAND = "the rollout is paused"
"""What `Strategy.paused` says of a set with that annotation."""

OWN_KEYS = ("maxUnavailable", "maxSurge", "partition", "maxFailures")
_TYPES = ("RollingUpdate", "OnDelete")
_PERCENT = re.compile(r"[0-9]{1,4}%")


class Strategy(Struct, frozen=True):
    """The budget of a rollout.

    Args:
        max_unavailable: how many replicas fewer than wanted may serve.
        max_surge: how many replicas more than wanted there may be.
        keep: how many replicas stay as they are: the others are the canaries.
        max_failures: with more replicas than this that fail on the new template, no further one gets it.
        paused: why no further replica gets the template; empty when they do.
    """

    max_unavailable: int = 1
    max_surge: int = 0
    keep: int = 0
    max_failures: int = 0
    paused: str = ""


def strategy_of(inference_set: Object) -> Strategy:
    """The budget that a set asks for; parts of a wrong type count as their defaults."""
    wanted = wanted_replicas(inference_set)
    found = dig(inference_set, "spec", "updateStrategy", "rollingUpdate")
    rolling = found if isinstance(found, dict) else {}
    unavailable = _share(rolling.get("maxUnavailable", 1), wanted, up=False)
    surge = _share(rolling.get("maxSurge", 0), wanted, up=True)
    paused = ""
    if annotations_of(inference_set).get(PAUSED) == "true":
        paused = PAUSED_BY_HAND
    elif dig(inference_set, "spec", "updateStrategy", "type") == "OnDelete":
        paused = "updateStrategy is OnDelete"
    return Strategy(
        1 if unavailable is None else unavailable,
        surge or 0,
        _whole(rolling.get("partition")) or 0,
        _whole(rolling.get("maxFailures")) or 0,
        paused,
    )


def _share(value: Any, of: int, *, up: bool) -> int | None:
    """A number, or a percentage of the replicas, rounded as Deployments do: a surge up, an outage down."""
    if isinstance(value, str) and _PERCENT.fullmatch(value):
        exact = int(value[:-1]) * of / 100
        return math.ceil(exact) if up else math.floor(exact)
    return _whole(value)


def _whole(value: Any) -> int | None:
    is_number = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
    return value if is_number else None


def strategy_faults(strategy: Any) -> Iterator[tuple[str, str]]:
    """What of an updateStrategy kaitoctl's controller cannot use: path below it, and why."""
    if strategy is None:
        return
    if not isinstance(strategy, dict):
        yield "", "must be a map"
        return
    if strategy.get("type", _TYPES[0]) not in _TYPES:
        yield ".type", f"{str(strategy['type'])[:80]!r} is neither {' nor '.join(_TYPES)}"
    for key in strategy:
        if key not in ("type", "rollingUpdate"):
            yield f".{key[:80]}", "there is no such field"
    rolling = strategy.get("rollingUpdate")
    if rolling is None:
        return
    if not isinstance(rolling, dict):
        yield ".rollingUpdate", "must be a map"
        return
    for key, value in rolling.items():
        where = f".rollingUpdate.{key[:80]}"
        if key not in OWN_KEYS:
            yield where, "there is no such field"
        elif key in ("maxUnavailable", "maxSurge"):
            if _share(value, 100, up=True) is None:
                yield where, f"{str(value)[:80]!r} is neither a number of replicas nor a percentage"
        elif _whole(value) is None:
            yield where, f"{str(value)[:80]!r} is not a number of replicas"
    if (
        _share(rolling.get("maxUnavailable", 1), 100, up=True)
        == 0
        == _share(rolling.get("maxSurge", 0), 100, up=True)
    ):
        yield ".rollingUpdate.maxSurge", "it and maxUnavailable are both 0: no replica could ever change"
