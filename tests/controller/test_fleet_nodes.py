"""Which nodes the replicas of one set get, which all select by the same labels, through a long life.

Laws, once it has come to rest: there are as many nodes as replicas, every replica runs on just one, no node
is left of a Workspace that is gone, and where KAITO's provisioner is named each has a node of its own.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fleet_cluster import a_cluster, live, ready, until
from fleet_world import SET, WORKSPACE, adapter, inference_set

from kaitoctl import fleet_controller
from kaitoctl.fleet_controller.replica_capacity import Room
from kaitoctl.kaito import api as kaito
from kaitoctl.kaito.desired import Settings
from kaitoctl.kube import request
from kaitoctl.kube.client import Client
from kaitoctl.kube.objects import (
    NODE,
    NODE_CLAIM,
    POD,
    Object,
    ObjectKey,
    dig,
    is_being_deleted,
    key_of,
    labels_of,
)
from kaitoctl.reconcile.store import Store

KEY = ("default", "phis")
STEPS = 5


class Life:
    """A set to which one thing happens after another."""

    def __init__(self, client: Client, seed: int) -> None:
        self.client, self.random, self.wanted = client, random.Random(seed), 3
        self.model, self.adapters = "phi-4-mini-instruct", list[Object]()

    async def patch(self, **spec: Any) -> None:
        await self.client.send(request.merge_patch(SET, *KEY, {"spec": spec}, manager="user"))

    async def step(self) -> None:
        budget = self.random.choice(
            [{"maxUnavailable": 1}, {"maxUnavailable": 2}, {"maxUnavailable": 0, "maxSurge": 1}]
        )
        what = self.random.choice(["replaced", "adapted", "scaled", "flapping", "deleted", "all deleted"])
        if what == "replaced":
            self.model = "phi-4" if self.model != "phi-4" else "phi-4-mini-instruct"
            template = {"inference": {"preset": {"name": self.model}}}
            await self.patch(template=template, updateStrategy={"rollingUpdate": budget})
        elif what == "adapted":
            self.adapters = [adapter(f"a{self.random.randrange(99)}")]
            await self.patch(template={"inference": {"adapters": self.adapters}})
        elif what == "scaled":
            self.wanted = self.random.choice([1, 2, 4])
            await self.patch(replicas=self.wanted)
        elif what == "flapping":
            await self.patch(replicas=1)
            await asyncio.sleep(self.random.random())
            self.wanted = 3
            await self.patch(replicas=3)
        else:
            there = await live(self.client)
            for one in there if what == "all deleted" else there[:1]:
                await self.client.send(request.delete(WORKSPACE, *key_of(one)))

    def is_as_wanted(self, workspace: Object) -> bool:
        found = workspace["inference"]
        names = [one["source"]["name"] for one in found.get("adapters") or ()]
        return (found["preset"]["name"], names) == (
            self.model,
            [one["source"]["name"] for one in self.adapters],
        )

    async def at_rest(self) -> bool:
        there = (await self.client.list(WORKSPACE, "default")).items
        serving = await ready(self.client)
        return len(there) == len(serving) == self.wanted and all(map(self.is_as_wanted, serving))


async def placement(client: Client) -> tuple[dict[str, str], set[str], set[str]]:
    """The node of each replica's pod, all nodes of the set, and the replicas that nodes are bought for."""
    pods = (await client.list(POD, "default")).items
    nodes = (await client.list(NODE)).items
    claims = (await client.list(NODE_CLAIM)).items
    on = {labels_of(pod)[kaito.LABEL_WORKSPACE]: str(dig(pod, "spec", "nodeName")) for pod in pods}
    mine = {key_of(node).name for node in nodes if labels_of(node).get("apps") == "phi"}
    return on, mine, {labels_of(claim).get(kaito.LABEL_WORKSPACE, "") for claim in claims}


@pytest.mark.parametrize(("provisioner", "seed"), [("", 1), ("azure-gpu-provisioner", 2)])
def test_through_its_life_a_set_has_a_node_for_each_replica(
    tmp_path: Path, provisioner: str, seed: int
) -> None:
    async def story() -> None:
        settings = Settings(provisioner=provisioner)
        controller: Callable[[Client], Any] = lambda client: fleet_controller.run_together(  # noqa: E731
            client, settings=settings
        )
        async with a_cluster(tmp_path, controller) as (client, _):
            await client.send(request.create(SET, inference_set(3)))
            life = Life(client, seed)
            for _ in range(STEPS):
                await until(life.at_rest, 120)

                async def holds() -> bool:
                    on, nodes, owners = await placement(client)
                    one_each = len(set(on.values())) == len(on) == len(nodes) == life.wanted
                    return one_each and (not provisioner or owners == set(on))

                await until(holds, 120)
                if provisioner:
                    claims = (await client.list(NODE_CLAIM)).items
                    own = {
                        labels_of(one)[kaito.LABEL_WORKSPACE]: dig(one, "status", "nodeName")
                        for one in claims
                    }
                    assert own == (await placement(client))[0], "one runs where another's node is"
                assert not any(map(is_being_deleted, (await client.list(NODE)).items))
                await life.step()

    asyncio.run(story())


def test_a_name_is_used_while_anything_that_was_made_for_it_is_left() -> None:
    stores = {name: Store() for name in ("claims", "pools", "nodes")}
    room = Room(Settings())
    key = ObjectKey("default", "phis-aaaaa")
    assert not room.is_used(key), "nothing runs yet"
    room.running = SimpleNamespace(stores=SimpleNamespace(**stores))  # type: ignore[assignment]
    own = {kaito.LABEL_WORKSPACE: key.name, kaito.LABEL_WORKSPACE_NAMESPACE: key.namespace}
    pool = {kaito.LABEL_POOL_WORKSPACE: key.name, kaito.LABEL_POOL_NAMESPACE: key.namespace}
    for name, labels in (("claims", own), ("pools", pool), ("nodes", own), ("nodes", pool)):
        store, of = stores[name], ObjectKey("", "x")
        assert not room.is_used(key)
        store._replace(of, {"metadata": {"name": "x", "labels": labels}})
        assert room.is_used(key)
        assert not room.is_used(key._replace(name="phis-bbbbb"))
        store._replace(of, None)
