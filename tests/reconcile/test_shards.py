"""Shards by namespace, each with a Lease: who has which, what follows a death, and what each has to do."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from virtual_time import run

from bench import shards
from kaitoctl.errors import ApiError, Unreachable
from kaitoctl.kube.client import Client
from kaitoctl.kube.objects import Object, copy_of
from kaitoctl.kube.request import Request
from kaitoctl.reconcile import LeaderElection

SHARDS, REPLICAS = 12, 4
DURATION_S, DEADLINE_S, RETRY_S = 15.0, 10.0, 2.0


@dataclass
class Leases:
    """Those of a cluster, and who works on which shard."""

    leases: dict[str, Object] = field(default_factory=dict)
    writes: int = 0
    working: dict[int, str] = field(default_factory=dict)
    free_since: dict[int, float] = field(default_factory=dict)
    longest_free_s: float = 0.0

    def answer(self, asked: Request) -> Object:
        """As an API server does, with resource versions."""
        body = cast(Object, asked.body)
        name = asked.path.rpartition("/")[2] if asked.method != "POST" else body["metadata"]["name"]
        known = self.leases.get(name)
        if asked.method == "GET" or (asked.method == "PUT" and known is None):
            if known is None:
                raise ApiError(404, "NotFound", "there is no such Lease")
            return copy_of(known)
        before = known["metadata"]["resourceVersion"] if known is not None else None
        if body["metadata"].get("resourceVersion") != before:
            raise ApiError(409, "Conflict", "somebody was faster")
        self.writes += 1
        made = copy_of(body)
        made["metadata"]["resourceVersion"] = str(self.writes)
        self.leases[name] = made
        return copy_of(made)

    @contextmanager
    def works_on(self, shard: int, replica: str) -> Iterator[None]:
        now = asyncio.get_running_loop().time
        assert shard not in self.working, f"{self.working[shard]} works on {shard}, and {replica} begins"
        self.longest_free_s = max(self.longest_free_s, now() - self.free_since.get(shard, now()))
        self.working[shard] = replica
        try:
            yield
        finally:
            del self.working[shard]
            self.free_since[shard] = now()


class Replica:
    """A process that begins with its even part of the shards, and later stands by for all."""

    def __init__(self, number: int, cluster: Leases) -> None:
        self.name, self.is_cut_off = f"replica-{number}", False
        self._number, self._cluster = number, cluster

    async def send(self, asked: Request) -> Object:
        await asyncio.sleep(0.01)
        if self.is_cut_off:
            raise Unreachable("no route to host")
        return self._cluster.answer(asked)

    async def run(self) -> None:
        await asyncio.gather(*(self._stand_by(shard) for shard in range(SHARDS)))

    async def _stand_by(self, shard: int) -> None:
        if shard % REPLICAS != self._number:
            await asyncio.sleep(2 * DURATION_S)

        async def work() -> None:
            with self._cluster.works_on(shard, self.name):
                await asyncio.Event().wait()

        election = LeaderElection(
            cast(Client, self),
            namespace="kaito",
            name=f"shard-{shard}",
            identity=self.name,
            lease_duration_s=DURATION_S,
            renew_deadline_s=DEADLINE_S,
            retry_period_s=RETRY_S,
        )
        await election.run(work)


def test_each_shard_is_worked_on_by_one_and_by_another_when_that_one_is_cut_off() -> None:
    async def story() -> None:
        cluster = Leases()
        replicas = [Replica(number, cluster) for number in range(REPLICAS)]
        running = [asyncio.create_task(replica.run()) for replica in replicas]
        await asyncio.sleep(60)
        assert Counter(cluster.working.values()) == {one.name: SHARDS // REPLICAS for one in replicas}

        before = cluster.writes
        await asyncio.sleep(60)
        assert (cluster.writes - before) / 60 <= SHARDS / RETRY_S, "Leases written in a second"

        replicas[0].is_cut_off = True
        await asyncio.sleep(60)
        left = Counter(cluster.working.values())
        assert left.total() == SHARDS
        assert replicas[0].name not in left
        assert cluster.longest_free_s <= DURATION_S - DEADLINE_S + 3 * RETRY_S

        replicas[0].is_cut_off = False
        running[1].cancel()
        await asyncio.sleep(30)
        assert sum(Counter(cluster.working.values()).values()) == SHARDS, "given back, and taken at once"
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    run(story())


def test_with_one_shard_more_only_what_goes_there_moves() -> None:
    names = [f"team-{number}" for number in range(500)]
    few, more = ({name: shards.shard_of(name, count) for name in names} for count in (8, 9))
    moved = {name for name in names if few[name] != more[name]}
    assert moved
    assert {more[name] for name in moved} == {8}
    assert len(moved) <= 2 * len(names) / 9


def test_no_shard_is_much_larger_than_the_others() -> None:
    sizes = shards.sizes(100_000, 5_000)
    assert sum(sizes) == 100_000
    parts = shards.parted(sizes, 8)
    assert sum(parts) == 100_000
    assert max(parts) <= 1.3 * 100_000 / 8


@pytest.mark.parametrize("count", [100, 2000])
def test_a_shard_looks_at_each_of_its_workspaces_and_at_changes_at_once(count: int) -> None:
    load = shards.simulate(count, seed=1)
    least = count * shards.LOOK_S
    assert least <= load.looked_at_s <= 1.2 * least + 10 * shards.CHANGE_S
    changes = count * shards.CHANGES_A_SECOND * shards.SPAN_S * shards.CHANGE_S
    assert 0.8 * (least + changes) <= load.busy * shards.SPAN_S <= 1.2 * (least + changes)
    assert load.longest_wait_s < 1


def test_a_shard_that_has_too_many_never_comes_to_the_end() -> None:
    load = shards.simulate(20_000, seed=1, span_s=5.0)
    assert load.looked_at_s == 5.0


def test_the_figures_are_those_of_every_shard(monkeypatch: Any) -> None:
    monkeypatch.setattr(shards, "NAMESPACES", 200)
    found = {figure.name.partition(": ")[2]: figure for figure in shards.figures(2_000, 4)}
    assert found["Workspaces of a shard"].runs == 4
    assert found["the largest shard, beside the mean"].value >= 1
