"""What a pass costs, counted and not timed: it must not depend on how many other Workspaces there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace
from world import NOW, World, falcon, gpu_node, node_status

from kaitoctl.kaito import api as kaito
from kaitoctl.kaito.desired import Settings
from kaitoctl.kube.objects import NODE, POD, Object, ObjectKey
from kaitoctl.reconcile.store import Store
from kaitoctl.workspace_controller import Stores, WorkspaceReconciler
from kaitoctl.workspace_controller.mappers import workspaces_for_node, workspaces_for_pod
from kaitoctl.workspace_controller.node_view import NodeView


class CountingStore(Store):
    """Counts the objects that it hands out."""

    def __init__(self, objects: Store) -> None:
        super().__init__(packed=True)
        self.handed_out = 0
        for key, obj in objects.items():
            self._replace(key, obj)

    def __getitem__(self, key: ObjectKey) -> Object:
        self.handed_out += 1
        return super().__getitem__(key)


def crowd(others: int) -> World:
    """A settled Workspace, and others like it with a node, children and a pod each."""
    world = World()
    for name in ["falcon", *(f"other-{number}" for number in range(others))]:
        labels = {"apps": name}
        world.apply(NODE, gpu_node(f"gpu-{name}", labels))
        world.set_status(NODE, f"gpu-{name}", node_status("2"))
        obj = falcon(labelSelector={"matchLabels": labels})
        obj["metadata"]["name"] = name
        world.apply(kaito.WORKSPACE, obj)
        world.apply(POD, holding_two_gpus(name))
        world.reconcile(name)
        world.cluster_moves()
        world.reconcile(name)
    return world


def holding_two_gpus(name: str) -> Object:
    resources = {"limits": {"nvidia.com/gpu": "2"}, "requests": {"nvidia.com/gpu": "2"}}
    metadata = {"name": f"{name}-0", "namespace": "default", "labels": {kaito.LABEL_WORKSPACE: name}}
    containers = [{"name": name, "image": "registry.example/x:1", "resources": resources}]
    spec = {"nodeName": f"gpu-{name}", "containers": containers}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def counted(world: World, work: Callable[[WorkspaceReconciler, Stores], object]) -> int:
    """How many objects the work looks at, the second time: the first one builds the indexes."""
    found = world.stores()
    counting = {
        name: CountingStore(store)
        for name in found.__struct_fields__
        if isinstance(store := getattr(found, name), Store)
    }
    changes: dict[str, Any] = dict(counting)
    stores = replace(found, **changes)
    reconciler = WorkspaceReconciler(stores, Settings(), clock=lambda: NOW)
    work(reconciler, stores)
    before = sum(store.handed_out for store in counting.values())
    work(reconciler, stores)
    return sum(store.handed_out for store in counting.values()) - before


def test_what_was_judged_of_nodes_that_are_no_more_is_forgotten() -> None:
    world = World()
    world.apply(kaito.WORKSPACE, falcon())
    stores = world.stores()
    (workspace,) = stores.workspaces.values()
    view = NodeView(stores, Settings())
    most = 0
    for number in range(3000):
        node = gpu_node(f"gpu-{number}", {"apps": "falcon-7b"})
        node["metadata"]["resourceVersion"] = str(number)
        node["status"] = node_status("2")
        stores.nodes._replace(ObjectKey("", f"gpu-{number}"), node)
        stores.nodes._replace(ObjectKey("", f"gpu-{number - 1}"), None)
        assert [judged.name for judged in view.look(workspace).verdict.nodes] == [f"gpu-{number}"]
        (answer,) = view._judged._answers.values()
        most = max(most, len(answer.verdicts), len(view._judged._crowds))
    assert most < 1500


def one_pass(reconciler: WorkspaceReconciler, _: Stores) -> None:
    assert list(reconciler.reconcile(ObjectKey("default", "falcon"))) == [], "it is settled"


def news_of_a_node(_: WorkspaceReconciler, stores: Stores) -> None:
    node = stores.nodes[ObjectKey("", "gpu-falcon")]
    assert workspaces_for_node(node, stores.workspaces) == [ObjectKey("default", "falcon")]


def news_of_a_pod(_: WorkspaceReconciler, stores: Stores) -> None:
    pod = stores.gpu_pods[ObjectKey("default", "falcon-0")]
    assert workspaces_for_pod(pod, stores) == [ObjectKey("default", "falcon")]


@pytest.mark.parametrize("work", [one_pass, news_of_a_node, news_of_a_pod])
def test_no_work_grows_with_the_number_of_other_workspaces(
    work: Callable[[WorkspaceReconciler, Stores], None],
) -> None:
    assert counted(crowd(1), work) == counted(crowd(12), work) < 20


def test_a_workspace_without_nodes_looks_at_as_many_as_people_read() -> None:
    def waiting(nodes: int) -> World:
        world = World()
        for number in range(nodes):
            world.apply(NODE, gpu_node(f"gpu-{number}", {"apps": "other"}))
            world.set_status(NODE, f"gpu-{number}", node_status("2"))
        world.apply(kaito.WORKSPACE, falcon())
        return world

    def look(reconciler: WorkspaceReconciler, stores: Stores) -> None:
        next(reconciler.reconcile(ObjectKey("default", "falcon")))

    assert counted(waiting(60), look) == counted(waiting(90), look)
