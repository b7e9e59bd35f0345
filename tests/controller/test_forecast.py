"""What a plan foresees in the middle of a rollout: pods yet to come need the nodes bought for them."""

from __future__ import annotations

import pytest
from world import World, falcon, gpu_node, node_status, running_pod

from kaitoctl.kaito import api as kaito
from kaitoctl.kaito.desired import Settings
from kaitoctl.kube.objects import DEPLOYMENT, NODE, NODE_CLAIM, POD, Object, labels_of
from kaitoctl.workspace_controller.forecast import Forecast, forecast

ADAPTER = {"source": {"name": "style", "image": "registry.example/style:1"}, "strength": "0.5"}


def foreseen(world: World, planned: Object, *, knows_rights: bool = False) -> Forecast:
    asking = forecast(world.stores(), [planned], Settings(), knows_rights=knows_rights)
    try:
        asked = next(asking)
        while True:
            asked = asking.send(world.do(asked))
    except StopIteration as stop:
        (found,) = stop.value
        assert isinstance(found, Forecast)
        return found


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("moment", ["no workload", "its controller has not seen it", "no pods", "one pod"])
def test_a_node_that_was_bought_is_kept_for_pods_that_are_yet_to_come(count: int, moment: str) -> None:
    world = World()
    world.apply(kaito.WORKSPACE, falcon(count=count))
    world.reconcile()
    for claim in world.list(NODE_CLAIM):
        name = f"node-{claim['metadata']['name']}"
        world.apply(NODE, gpu_node(name, labels_of(claim)))
        world.set_status(NODE, name, node_status("2"))
        world.set_status(NODE_CLAIM, claim["metadata"]["name"], {"nodeName": name})
    if moment != "no workload":
        world.reconcile()
        workload = world.get(DEPLOYMENT, "falcon")
        assert workload is not None
        if moment != "its controller has not seen it":
            world.set_status(DEPLOYMENT, "falcon", {"replicas": int(moment == "one pod")})
        if moment == "one pod":
            world.apply(POD, running_pod(workload, 0, world.list(NODE)[0]["metadata"]["name"]))
    planned = world.get(kaito.WORKSPACE_V1BETA1, "falcon")
    assert planned is not None
    planned["inference"]["adapters"] = [ADAPTER]
    assert foreseen(world, planned).returned == ()


@pytest.mark.parametrize("knows_rights", [False, True])
def test_what_a_controller_allows_is_certain_where_its_options_were_read(knows_rights: bool) -> None:
    world = World()
    planned = falcon()
    pod = {"containers": [{"name": "c", "image": "r.io/c:1"}], "serviceAccountName": "admin"}
    planned["inference"] = {"template": {"metadata": {}, "spec": pod}}
    found = foreseen(world, planned, knows_rights=knows_rights)
    refused = "spec.serviceAccountName: admin"
    assert (refused in found.refusal) is knows_rights
    assert (refused in found.waits) is not knows_rights
