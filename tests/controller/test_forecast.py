"""What a plan foresees in the middle of a rollout: pods yet to come need the nodes bought for them."""

from __future__ import annotations

import pytest
from world import World, falcon, gpu_node, node_status, running_pod

from kaitoctl.kaito import api as kaito
from kaitoctl.kaito.desired import Settings
from kaitoctl.kube.objects import DEPLOYMENT, NODE, NODE_CLAIM, POD, SERVICE, Object, labels_of
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


@pytest.mark.parametrize("is_known", [False, True])
def test_what_somebody_else_has_under_its_name_is_what_it_waits_for(is_known: bool) -> None:
    world = World()
    theirs = {"selector": {"app": "x"}, "ports": [{"port": 80}]}
    head = {"name": "falcon", "namespace": "default"}
    world.apply(SERVICE, {"apiVersion": "v1", "kind": "Service", "metadata": head, "spec": theirs})
    world.apply(kaito.WORKSPACE, falcon())
    if is_known:
        world.reconcile()
    planned = world.get(kaito.WORKSPACE_V1BETA1, "falcon")
    assert planned is not None
    found = foreseen(world, planned)
    assert found.waits.startswith("Service default/falcon exists and is not this Workspace's")
    assert found.asked == ()


X, Y, BOTH = {"apps": "x"}, {"team": "y"}, {"apps": "x", "team": "y"}
SOUTH = {"topology.kubernetes.io/zone": "south"}


@pytest.mark.parametrize(
    ("asked", "rival", "node", "third", "meet"),
    [
        (X, X, {}, {}, True),
        (X, {"apps": "y"}, {}, {}, False),
        (X, Y, {}, {}, False),
        (X, Y, BOTH, {}, True),
        (X, Y, X, {}, False),
        (X, Y, {}, BOTH, True),
        (X, BOTH, {}, {}, True),
        (BOTH, Y, {}, {}, True),
        (X, SOUTH, {}, {}, True),  # where the node comes up, only the cloud knows
        (X | {"topology.kubernetes.io/zone": "north"}, SOUTH, {}, {}, False),
        (X, {"agentpool": "gpu"}, {}, {}, True),
    ],
)
def test_rivals_are_those_that_may_be_on_one_node(
    asked: dict[str, str], rival: dict[str, str], node: dict[str, str], third: dict[str, str], meet: bool
) -> None:
    """A node is bought with the labels of its Workspace: who asks for others is never on it."""
    world = World()
    for name, labels in (("rival", rival), ("third", third)):
        if labels:
            world.apply(kaito.WORKSPACE, named(name, labels))
    if node:
        world.apply(NODE, gpu_node("gpu-a", node))
    found = foreseen(world, named("falcon", asked))
    assert ("rival" in [key.name for key in found.rivals]) is meet
    assert len(found.asked) == 1
    assert (found.most > 1) is bool(found.rivals)


def test_a_node_that_is_asked_for_has_the_labels_that_its_workspace_had() -> None:
    """And so has one of which a list names the only value."""
    world = World()
    world.apply(kaito.WORKSPACE, named("third", BOTH))
    world.reconcile("third")
    world.apply(kaito.WORKSPACE, named("third", {"apps": "elsewhere"}))
    world.apply(kaito.WORKSPACE, named("rival", Y))
    assert "rival" in [key.name for key in foreseen(world, named("falcon", X)).rivals]
    world = World()
    third = named("third", X)
    listed = {"key": "team", "operator": "In", "values": ["y"]}
    third["resource"]["labelSelector"]["matchExpressions"] = [listed]
    world.apply(kaito.WORKSPACE, third)
    world.apply(kaito.WORKSPACE, named("rival", Y))
    assert "rival" in [key.name for key in foreseen(world, named("falcon", X)).rivals]


def named(name: str, labels: dict[str, str]) -> Object:
    made = falcon(labelSelector={"matchLabels": labels})
    made["metadata"] = {"name": name, "namespace": "default"}
    return made
