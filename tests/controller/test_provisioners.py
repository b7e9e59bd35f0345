"""The controller with KAITO v0.12's three ways to nodes: NodeClaims, static NodePools, and none."""

from __future__ import annotations

from typing import Any

import pytest
from world import World, gpu_node, is_ready, node_status

from kaitoctl.errors import ApiError
from kaitoctl.kaito import api as kaito
from kaitoctl.kaito.catalog import instance_types
from kaitoctl.kaito.desired import Settings
from kaitoctl.kaito.node_check import OWN_RULES, verdict
from kaitoctl.kaito.workspace_conditions import Observed, conditions
from kaitoctl.kube import request
from kaitoctl.kube.objects import CRD, NODE, NODE_CLAIM, POD, STATEFUL_SET, Object, ObjectKey, key_of
from kaitoctl.reconcile.store import Store
from kaitoctl.workspace_controller import WorkspaceReconciler

A100, A100S = "Standard_NC24ads_A100_v4", "Standard_NC48ads_A100_v4"
POOL = "default-falcon"


def pools_crd() -> Object:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": "NodePool", "plural": "nodepools", "singular": "nodepool", "listKind": "NodePoolList"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "nodepools.karpenter.sh"},
        "spec": {"group": "karpenter.sh", "scope": "Cluster", "names": names, "versions": [version]},
    }


class Karpenter(World):
    """A World whose nodes come from static NodePools."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.settings = Settings(provisioner="karpenter")
        self.do(request.apply(CRD, pools_crd(), manager="test", force=True))

    def more_stores(self) -> dict[str, Store]:
        pools = Store()
        for pool in self.list(kaito.NODE_POOL):
            pools._replace(key_of(pool), pool)
        return {"pools": pools}

    def cluster_moves(self) -> bool:
        moved = False
        for pool in self.list(kaito.NODE_POOL):
            spec = pool["spec"]["template"]["spec"]
            machine = next(
                item["values"][0]
                for item in spec["requirements"]
                if item["key"] == "node.kubernetes.io/instance-type"
            )
            for number in range(pool["spec"]["replicas"]):
                name = f"{key_of(pool).name}-{number}"
                if self.get(NODE, name) is None:
                    labels = pool["spec"]["template"]["metadata"]["labels"]
                    self.apply(NODE, gpu_node(name, labels, machine))
                    self.set_status(NODE, name, node_status(str(instance_types()[machine].gpus)))
                    moved = True
        return super().cluster_moves() or moved

    def pools(self) -> list[tuple[str, int]]:
        return [(key_of(pool).name, pool["spec"]["replicas"]) for pool in self.list(kaito.NODE_POOL)]


def asks(model: str = "llama-3.3-70b-instruct", machine: str = A100, name: str = "falcon") -> Object:
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": name, "namespace": "default"},
        "resource": {"instanceType": machine, "labelSelector": {"matchLabels": {"apps": "w"}}},
        "inference": {"preset": {"name": model}},
    }


def messages(world: World) -> str:
    (ws,) = world.list(kaito.WORKSPACE_V1BETA1)
    return " ".join(item["message"] for item in ws["status"]["conditions"])


def test_karpenter_is_asked_with_one_pool_and_no_claims() -> None:
    world = Karpenter()
    world.apply(kaito.WORKSPACE_V1BETA1, asks())
    world.settle()
    assert is_ready(world)
    assert world.pools() == [(POOL, 3)]
    assert not world.list(NODE_CLAIM)
    assert world.list(STATEFUL_SET)[0]["spec"]["replicas"] == 3


def test_a_pool_costs_no_writes_once_it_is_there() -> None:
    world = Karpenter()
    world.apply(kaito.WORKSPACE_V1BETA1, asks())
    world.settle()
    assert world.reconcile() == 0


def test_two_workspaces_with_the_same_selector_have_a_pool_and_nodes_each() -> None:
    world = Karpenter(runs_pods=True)
    for name in ("falcon", "other"):
        world.apply(kaito.WORKSPACE_V1BETA1, asks("phi-4", name=name))
    for _ in range(3):
        for name in ("falcon", "other"):
            world.settle(name)
    assert sorted(world.pools()) == [(POOL, 1), ("default-other", 1)]
    assert {item["status"]["state"] for item in world.list(kaito.WORKSPACE_V1BETA1)} == {"Ready"}
    on = {key_of(pod).name: pod["spec"]["nodeName"] for pod in world.list(POD)}
    assert on == {"falcon-0": "default-falcon-0", "other-0": "default-other-0"}


def pool_of_kaito(replicas: int, **changes: str) -> Object:
    owner = {
        "karpenter.kaito.sh/workspace-name": "falcon",
        "karpenter.kaito.sh/workspace-namespace": "default",
        **changes,
    }
    requirement = {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": [A100]}
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": POOL, "labels": {"karpenter.kaito.sh/managed-by": "kaito", **owner}},
        "spec": {
            "replicas": replicas,
            "template": {
                "metadata": {"labels": {**owner, "apps": "w"}},
                "spec": {"requirements": [requirement]},
            },
        },
    }


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 3), (5, 5)])
def test_kaitos_pool_is_enlarged_and_never_made_smaller(before: int, after: int) -> None:
    world = Karpenter()
    world.apply(kaito.NODE_POOL, pool_of_kaito(before))
    world.apply(kaito.WORKSPACE_V1BETA1, asks())
    world.settle()
    assert is_ready(world)
    assert world.pools() == [(POOL, after)]


def test_a_pool_of_somebody_else_is_left_alone_and_named() -> None:
    world = Karpenter()
    theirs = pool_of_kaito(1, **{"karpenter.kaito.sh/workspace-name": "theirs"})
    before = world.apply(kaito.NODE_POOL, theirs)
    world.apply(kaito.WORKSPACE_V1BETA1, asks())
    world.settle()
    assert (
        world.list(kaito.NODE_POOL)[0]["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    )
    assert f"NodePool {POOL} exists" in messages(world)
    world.do(request.delete(kaito.WORKSPACE_V1BETA1, "default", "falcon"))
    world.settle()
    assert world.pools() == [(POOL, 1)]


def test_a_pool_of_another_type_is_not_changed_under_its_nodes() -> None:
    world = Karpenter()
    world.apply(kaito.NODE_POOL, pool_of_kaito(1))
    world.apply(kaito.WORKSPACE_V1BETA1, asks("phi-4", A100S))
    world.settle()
    assert world.pools() == [(POOL, 1)]
    assert "another instance type" in messages(world)


def test_the_pool_goes_with_its_workspace() -> None:
    world = Karpenter()
    world.apply(kaito.WORKSPACE_V1BETA1, asks())
    world.settle()
    world.do(request.delete(kaito.WORKSPACE_V1BETA1, "default", "falcon"))
    world.settle()
    assert world.pools() == []
    assert world.list(kaito.WORKSPACE_V1BETA1) == []


def guest(node: str) -> Object:
    gpus = {"nvidia.com/gpu": "1"}
    container = {"name": "c", "image": "i", "resources": {"limits": gpus, "requests": gpus}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "guest", "namespace": "default"},
        "spec": {"nodeName": node, "containers": [container]},
    }


def test_a_pool_with_guests_stays_until_they_have_left() -> None:
    world = Karpenter()
    world.apply(kaito.WORKSPACE_V1BETA1, asks())
    world.settle()
    world.apply(POD, guest(f"{POOL}-1"))
    world.do(request.delete(kaito.WORKSPACE_V1BETA1, "default", "falcon"))
    world.settle()
    assert world.list(kaito.WORKSPACE_V1BETA1) == []
    assert world.pools() == [(POOL, 3)]
    (pod,) = world.list(POD)
    world.stop(pod)
    world.settle()
    assert world.pools() == []


@pytest.mark.parametrize("fault", ["crash-before", "crash-after", "conflict", "unavailable"])
def test_whatever_fails_there_is_one_pool_of_the_right_size(fault: Any) -> None:
    for number in range(12):
        world = Karpenter()
        world.apply(kaito.WORKSPACE_V1BETA1, asks())
        world.faults = {number: fault}
        world.settle()
        assert is_ready(world)
        assert world.pools() == [(POOL, 3)]


def test_no_pool_is_made_on_the_word_of_an_old_view() -> None:
    world = Karpenter()
    world.apply(kaito.WORKSPACE_V1BETA1, asks())
    reconciler_sees = world.stores()
    world.do(request.delete(kaito.WORKSPACE_V1BETA1, "default", "falcon"))
    reconciler = WorkspaceReconciler(reconciler_sees, world.settings, kind=world.kind)
    world.drive(reconciler.reconcile(ObjectKey("default", "falcon")))
    assert world.pools() == []


# --- NodeClaims of KAITO's -------------------------------------------------------------------------------


def test_the_gpu_provisioner_is_asked_with_claims_as_kaito_writes_them() -> None:
    world = World()
    world.settings = Settings(provisioner="azure-gpu-provisioner")
    world.apply(NODE, gpu_node("prepared", {"apps": "w"}, A100))
    world.set_status(NODE, "prepared", node_status("1"))
    world.apply(kaito.WORKSPACE_V1BETA1, asks("phi-4"))
    world.settle()
    assert is_ready(world)
    (claim,) = world.list(NODE_CLAIM)  # a prepared node lacks the labels that the pods demand
    assert claim["spec"]["nodeClassRef"]["group"] == "kaito.sh"
    world.do(request.delete(kaito.WORKSPACE_V1BETA1, "default", "falcon"))
    world.settle()
    assert world.list(NODE_CLAIM) == []


# --- nodes of one's own ----------------------------------------------------------------------------------


def own_nodes(*products: str) -> World:
    world = World()
    world.settings = Settings(provisioner="byo")
    for number, product in enumerate(products):
        labels = {"apps": "w", "nvidia.com/gpu.product": product, "nvidia.com/gpu.count": "1"}
        labels["nvidia.com/gpu.memory"] = "81920"
        world.apply(NODE, gpu_node(f"own-{number}", labels, "own"))
        world.set_status(NODE, f"own-{number}", node_status("1"))
    world.apply(kaito.WORKSPACE_V1BETA1, asks(machine=""))
    world.settle()
    return world


def test_byo_takes_the_nodes_that_there_are() -> None:
    world = own_nodes("A100", "A100", "A100")
    assert is_ready(world)
    assert world.list(STATEFUL_SET)[0]["spec"]["replicas"] == 3


def test_byo_counts_nodes_by_a_ready_one_whose_gpu_others_hold() -> None:
    """As KAITO's estimator does: the number does not change once the node is free."""
    world = World()
    world.settings = Settings(provisioner="byo")
    labels = {"apps": "w", "nvidia.com/gpu.product": "A100", "nvidia.com/gpu.count": "1"}
    world.apply(NODE, gpu_node("own-0", {**labels, "nvidia.com/gpu.memory": "81920"}, "own"))
    world.set_status(NODE, "own-0", node_status("1"))
    limits = {"limits": {"nvidia.com/gpu": "1"}, "requests": {"nvidia.com/gpu": "1"}}
    container = {"name": "c", "image": "i", "resources": limits}
    guest: Object = {"metadata": {"name": "guest", "namespace": "default"}}
    guest |= {"apiVersion": "v1", "kind": "Pod", "spec": {"nodeName": "own-0", "containers": [container]}}
    world.apply(POD, guest)
    world.set_status(POD, "guest", {"phase": "Running"})
    world.apply(kaito.WORKSPACE_V1BETA1, asks(machine=""))
    world.settle()
    assert "3 of 3 nodes missing" in messages(world)
    assert world.list(kaito.WORKSPACE_V1BETA1)[0]["status"]["targetNodeCount"] == 3


def test_byo_writes_no_count_before_a_node_tells_how_many_it_takes_and_keeps_one() -> None:
    """KAITO sets it once: a 1 from before there were nodes would keep a model of three on one."""

    def count(world: World) -> Any:
        return world.list(kaito.WORKSPACE_V1BETA1)[0]["status"].get("targetNodeCount")

    world = own_nodes()
    assert count(world) is None
    labels = {"apps": "w", "nvidia.com/gpu.product": "A100", "nvidia.com/gpu.count": "1"}
    labels["nvidia.com/gpu.memory"] = "81920"
    for number in range(3):
        world.apply(NODE, gpu_node(f"own-{number}", labels, "own"))
        world.set_status(NODE, f"own-{number}", node_status("1"))
        world.settle()
        assert count(world) == 3
    assert is_ready(world)
    for number in range(3):
        world.do(request.delete(NODE, "", f"own-{number}"))
    world.settle()
    assert count(world) == 3
    assert world.list(STATEFUL_SET)[0]["spec"]["replicas"] == 3


def test_byo_never_buys() -> None:
    world = own_nodes("A100")
    world.apply(kaito.WORKSPACE_V1BETA1, asks())  # with an instance type, which could be bought
    world.settle()
    assert not is_ready(world)
    assert not world.list(NODE_CLAIM)
    assert not world.list(STATEFUL_SET)
    assert "asks for none (--node-provisioner byo)" in messages(world)
    assert "NodeClaim API" not in messages(world), "there is one, and nobody uses it"


def test_byo_refuses_a_mixed_pool_and_keeps_what_serves() -> None:
    mixed = own_nodes("A100", "A100", "T4")
    assert not mixed.list(STATEFUL_SET)
    assert "own-0 has 1 A100 of 80 GiB, own-2 has 1 T4 of 80 GiB" in messages(mixed)

    world = own_nodes("A100", "A100", "A100")
    labels = {"apps": "w", "nvidia.com/gpu.product": "T4", "nvidia.com/gpu.count": "1"}
    world.apply(NODE, gpu_node("own-9", labels, "own"))
    world.set_status(NODE, "own-9", node_status("1"))
    world.settle()
    assert is_ready(world)


def test_a_cluster_without_pools_is_asked_for_none() -> None:
    world = World()
    world.settings = Settings(provisioner="karpenter")
    world.apply(kaito.WORKSPACE_V1BETA1, asks())
    with pytest.raises(ApiError):
        world.list(kaito.NODE_POOL)
    world.reconcile()
    assert not world.list(NODE_CLAIM)


@pytest.mark.parametrize(
    ("provisioner", "words"),
    [("", "no NodeClaim API"), ("karpenter", "no NodePool API"), ("byo", "asks for none")],
)
def test_what_keeps_nodes_from_being_created_is_said_by_its_name(provisioner: str, words: str) -> None:
    seen = Observed(verdict=verdict(asks(), [], None, rules=OWN_RULES), provisioner=provisioner)
    (found,) = {item["message"] for item in conditions(asks(), seen) if item["type"] == kaito.RESOURCE_READY}
    assert words in found
