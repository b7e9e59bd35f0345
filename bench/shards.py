"""A million Workspaces over shards by namespace, in virtual time: what each has to do, who waits how long.

    python -m bench shards

Nothing is asked of a server: the work queue of the library hands out keys, and each takes the processor time
that a reconcile was measured to take (docs/performance.md). A shard is one process, which works on one key at
a time, as Python does. docs/scale.md says what follows.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.figures import Figure, of_values
from kaitoctl.reconcile import WorkQueue

PART = "shards"
WORKSPACES, NAMESPACES, SHARDS = 1_000_000, 20_000, 32
LOOK_S = 0.0005
"""Of a settled Workspace: a pass without a write."""
CHANGE_S = 0.0020
"""From a change until it is ready again: passes, writes and what the watches say of them."""
CHANGES_A_SECOND = 1 / 3600
"""Of each Workspace."""
RESYNC_S, RESYNC_WITHIN_S = 600.0, 60.0
"""As the controller does: how often all are looked at again, and within how long."""
SPAN_S = 900.0


def sizes(workspaces: int, namespaces: int) -> list[int]:
    """How many Workspaces each namespace has: few teams have many, many have few (by the root of a rank)."""
    weights = [1 / (rank + 1) ** 0.5 for rank in range(namespaces)]
    whole = sum(weights)
    found = [int(workspaces * weight / whole) for weight in weights]
    for number in range(workspaces - sum(found)):
        found[number % namespaces] += 1
    return found


def shard_of(namespace: str, shards: int) -> int:
    """The shard of a namespace: the one whose number and its name give the greatest hash.

    With one shard more, only what goes to the new one moves.
    """

    def weight(shard: int) -> bytes:
        return hashlib.blake2b(f"{shard}/{namespace}".encode(), digest_size=8).digest()

    return max(range(shards), key=weight)


def parted(of_namespaces: Sequence[int], shards: int) -> list[int]:
    """How many Workspaces each shard has."""
    found = [0] * shards
    for number, count in enumerate(of_namespaces):
        found[shard_of(f"team-{number}", shards)] += count
    return found


@dataclass(frozen=True)
class Load:
    """What a shard had to do.

    Args:
        workspaces: how many it has.
        looked_at_s: until it had looked at each once, after its start.
        busy: the part of the time after that for which it worked.
        longest_wait_s: of a change after that, until it was worked on.
    """

    workspaces: int
    looked_at_s: float
    busy: float
    longest_wait_s: float


def simulate(workspaces: int, *, seed: int, span_s: float = SPAN_S) -> Load:
    """A shard from its start on, for so long in its own time."""
    rng, queue = random.Random(seed), WorkQueue[int]()
    news = _news(workspaces, rng, span_s)
    changed: dict[int, float] = {}
    for key in range(workspaces):
        queue.add(key, 0.0)
    now, looked_at_s, busy_s, longest, seen = 0.0, 0.0, 0.0, 0.0, 0
    at, key, is_change = next(news)
    while True:
        while at <= now:
            if is_change:
                changed.setdefault(key, at)
            queue.add(key, at)
            at, key, is_change = next(news)
        taken = queue.take(now)
        if taken is None:
            now = min(at, queue.next_due() or at)
            if now >= span_s:
                break
            continue
        since = changed.pop(taken, None)
        took = LOOK_S if since is None else CHANGE_S
        if since is not None and since >= looked_at_s > 0:
            longest = max(longest, now - since)
        now += took
        queue.done(taken)
        seen += 1
        if seen == workspaces:
            looked_at_s = now
        elif seen > workspaces:
            busy_s += took
        if now >= span_s:
            break
    looked_at_s = looked_at_s if seen >= workspaces else span_s
    return Load(workspaces, looked_at_s, busy_s / (span_s - looked_at_s or 1.0), longest)


def _news(workspaces: int, rng: random.Random, span_s: float) -> Iterator[tuple[float, int, bool]]:
    """When which key is added, in order: changes, and all at each resync; at last one that is never due."""
    found = []
    at = 0.0
    while workspaces and (at := at + rng.expovariate(workspaces * CHANGES_A_SECOND)) < span_s:
        found.append((at, rng.randrange(workspaces), True))
    begin = RESYNC_S
    while begin < span_s:
        found += [(begin + RESYNC_WITHIN_S * rng.random(), key, False) for key in range(workspaces)]
        begin += RESYNC_S
    found.sort()
    yield from found
    while True:
        yield float("inf"), 0, False


def figures(workspaces: int = WORKSPACES, shards: int = SHARDS) -> list[Figure]:
    mean = workspaces / shards
    parts = parted(sizes(workspaces, NAMESPACES), shards)
    loads = [simulate(count, seed=number) for number, count in enumerate(parts)]
    what = f"{workspaces:,} Workspaces, {shards} shards"
    rows: Mapping[str, tuple[list[float], str, str]] = {
        "Workspaces of a shard": ([float(one.workspaces) for one in loads], "", ""),
        "the largest shard, beside the mean": ([max(parts) / mean], "x", "<= 1.3"),
        "all looked at once after a start": ([one.looked_at_s for one in loads], "s", ""),
        "of a core that a shard needs": ([100 * one.busy for one in loads], "%", "<= 50"),
        "longest wait of a change": ([one.longest_wait_s for one in loads], "s", ""),
    }
    return [
        of_values(PART, f"{what}: {name}", values, unit=unit, aim=aim)
        for name, (values, unit, aim) in rows.items()
    ]
