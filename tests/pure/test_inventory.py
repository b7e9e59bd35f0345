"""The GPUs of a cluster: counted by who holds them, and drawn so that a person sees it.

KAITOCTL_REFRESH=1 pytest tests/pure/test_inventory.py draws the screens anew; read the difference.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from builders import node, pod
from hypothesis import given
from hypothesis import strategies as st
from screen_data import cluster
from terminals import Terminal, lines

from kaitoctl.kaito.gpu_nodes import gpu_nodes
from kaitoctl.kaito.node_check.inventory import Holder, NodeGpus, gpu_inventory
from kaitoctl.kube.objects import Object
from kaitoctl.screens.gpu_table import as_json, report
from kaitoctl.screens.layout import plain

DATA = Path(__file__).parent.parent / "data" / "inventory"
WORKSPACE = {"kaito.sh/workspace": "falcon"}


def counted(obj: Object, *pods: Object) -> NodeGpus:
    (found,) = gpu_inventory([obj], pods).nodes
    return found


def deleted(obj: Object) -> Object:
    obj["metadata"]["deletionTimestamp"] = "2026-11-23T10:00:00Z"
    return obj


def with_gpus(resource: str, number: str, **labels: str) -> Object:
    obj = node(gpus=None, instance_type="own")
    obj["status"]["capacity"] = obj["status"]["allocatable"] = {resource: number}
    obj["metadata"]["labels"] |= labels
    return obj


def tainted(obj: Object, key: str) -> Object:
    obj["spec"]["taints"] = [{"key": key, "effect": "NoSchedule"}]
    return obj


def labelled(obj: Object, **labels: str) -> Object:
    obj["metadata"]["labels"] |= labels
    return obj


HELD = pod(node_name="gpu-a", gpus=1)


@pytest.mark.parametrize(
    ("obj", "pods", "numbers", "faults"),
    [
        (node(), [], (2, 0, 2, 0), ()),
        (node(), [HELD], (2, 1, 1, 0), ()),
        (node(gpus="1", capacity="2"), [HELD], (2, 1, 0, 1), ("gpu-unhealthy",)),
        (node(gpus="0", capacity="2"), [HELD], (2, 1, 0, 1), ("gpu-not-allocatable",)),
        (node(ready="False"), [HELD], (2, 1, 0, 1), ("not-ready",)),
        (node(unschedulable=True), [HELD], (2, 1, 0, 1), ("cordoned",)),
        (deleted(node(unschedulable=True)), [], (2, 0, 0, 2), ("being-deleted", "cordoned")),
        # No device plugin: what the catalogue, or the labels, say that the machine has.
        (node(gpus=None), [HELD], (2, 1, 0, 1), ("no-gpu",)),
        (node(gpus=None, labels={"nvidia.com/gpu.count": "4"}), [], (4, 0, 0, 4), ("gpu-not-allocatable",)),
        (node(gpus=None, instance_type="Standard_D8s_v5"), [], (0, 0, 0, 0), ()),
        (node(gpus="two"), [], (2, 0, 0, 2), ("bad-quantity",)),
        (with_gpus("amd.com/gpu", "4"), [], (4, 0, 4, 0), ()),
        (with_gpus("nvidia.com/mig-1g.5gb", "7"), [], (0, 0, 0, 0), ("only-mig-slices",)),
        # More promised than there is: nobody loses what it holds.
        (node(gpus="1"), [HELD, pod("q", node_name="gpu-a", gpus=1)], (2, 2, 0, 0), ("gpu-unhealthy",)),
        # A GPU that has fallen off the bus is in the machine all the same.
        (node(gpus="1"), [], (2, 0, 1, 1), ("gpu-unhealthy",)),
        (tainted(node(), "karpenter.sh/disrupted"), [], (2, 0, 0, 2), ("taint-of-controller",)),
        (tainted(node(), "team"), [], (2, 0, 2, 0), ()),
        (labelled(node(), **{"kubernetes.io/arch": "arm64"}), [], (2, 0, 0, 2), ("other-platform",)),
        (
            labelled(node(), **{"nvidia.com/mig.config.state": "rebooting"}),
            [],
            (2, 0, 0, 2),
            ("mig-changing",),
        ),
        (with_gpus("nvidia.com/gpu.shared", "8"), [], (0, 0, 0, 0), ("gpus-renamed",)),
    ],
)
def test_each_device_is_held_free_or_broken(
    obj: Object, pods: list[Object], numbers: tuple[int, ...], faults: tuple[str, ...]
) -> None:
    found = counted(obj, *pods)
    assert (found.total, found.in_use, found.free, found.broken) == numbers
    assert found.faults == faults
    assert found.has_gpus == bool(numbers[0] or faults)


def test_the_pods_of_a_workspace_are_one_holder_and_others_their_own() -> None:
    pods = [
        pod("a", node_name="gpu-a", gpus=1, labels=WORKSPACE),
        pod("b", node_name="gpu-b", gpus=2, labels=WORKSPACE),
        pod("c", node_name="gpu-a", gpus=1),
        pod("waiting", gpus=2),
        pod("elsewhere", node_name="gpu-x", gpus=2),
    ]
    found = gpu_inventory([node("gpu-b"), node()], pods)
    assert [(str(share.holder), share.gpus, share.nodes) for share in found.shares or ()] == [
        ("Workspace default/falcon", 3, 2),
        ("Pod default/c", 1, 1),
    ]
    assert found.held_elsewhere == 2
    assert [item.name for item in found.nodes] == ["gpu-a", "gpu-b"]


def test_the_largest_free_block_is_that_of_one_node() -> None:
    four = {name: node(name, gpus="4", instance_type="own") for name in ("b", "c")}
    found = gpu_inventory([node("a"), *four.values()], [])
    assert (found.free, found.largest_free) == (10, (4, "b"))
    assert gpu_inventory([], []).largest_free == (0, "")


def test_shares_of_a_gpu_are_counted_and_called_shares() -> None:
    shares = {"nvidia.com/gpu.replicas": "4", "nvidia.com/gpu.count": "1"}
    obj = labelled(node("a", gpus="4", instance_type="own"), **shares)
    found = gpu_inventory([obj, node("b")], [pod(node_name="a", gpus=1)])
    assert (found.total, found.free, found.largest_free) == (6, 5, (2, "b"))
    assert found.nodes[0].warnings == ("gpus-shared",)
    text = "\n".join(plain(report(found)))
    assert "Of them 4 on 1 node are shares or MIG slices, not whole GPUs." in text
    assert "ready, shared" in text


def test_a_node_is_called_broken_only_when_the_totals_count_it() -> None:
    dead = node(gpus="0", capacity="2")
    for pods, broken in (([HELD], 1), ([pod(node_name="gpu-a", gpus=2)], 0)):
        found = gpu_inventory([dead], pods)
        assert found.broken == broken
        line = plain(report(found))[1]
        assert "not offered" in line
        assert "broken" not in line
        assert f"{broken} broken" in "\n".join(plain(report(found)))
    (partly,) = gpu_inventory([node(gpus="1")], []).nodes
    assert partly.broken == 1
    assert "1 broken" in plain(report(gpu_inventory([node(gpus="1")], [])))[1]


def test_without_pods_in_use_and_free_are_unknown() -> None:
    found = cluster(with_pods=False)
    assert (found.in_use, found.free, found.largest_free, found.shares) == (None, None, None, None)
    assert (found.total, found.broken) == (15, 3)
    assert as_json(found)["totals"]["free"] is None


# --- whatever arrives --------------------------------------------------------------------------------------

_KEYS = st.sampled_from(
    [
        *("metadata", "spec", "status", "name", "labels", "nodeName", "containers", "resources", "requests"),
        *("capacity", "allocatable", "conditions", "nvidia.com/gpu", "amd.com/gpu", "kaito.sh/workspace"),
        *(
            "node.kubernetes.io/instance-type",
            "nvidia.com/gpu.count",
            "nvidia.com/mig-1g.5gb",
            "unschedulable",
        ),
    ]
)
_WORDS = st.sampled_from(["a", "2", "-1", "1e9999", "Standard_NC12s_v3", "True", "\x1b[2J", ""])
_ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 20) | st.floats() | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=5),
    max_leaves=25,
)
_AMOUNTS = st.dictionaries(
    st.sampled_from(["nvidia.com/gpu", "amd.com/gpu", "nvidia.com/mig-1g.5gb"]),
    st.integers(-2, 40).map(str) | _ODD,
    max_size=2,
)
_NODES = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries({"name": _WORDS | _ODD, "labels": _ODD}),
        "spec": _ODD,
        "status": st.fixed_dictionaries({"capacity": _AMOUNTS, "allocatable": _AMOUNTS, "conditions": _ODD}),
    }
)
_PODS = st.fixed_dictionaries(
    {
        "metadata": _ODD,
        "spec": st.fixed_dictionaries(
            {
                "nodeName": _WORDS | _ODD,
                "containers": st.lists(
                    st.fixed_dictionaries({"resources": st.fixed_dictionaries({"requests": _AMOUNTS})}),
                    max_size=2,
                ),
            }
        ),
        "status": _ODD,
    }
)


@given(st.lists(_NODES | _ODD, max_size=4), st.lists(_PODS | _ODD, max_size=5) | st.none())
def test_odd_objects_are_counted_without_an_error_and_the_sums_hold(nodes: list[Any], pods: Any) -> None:
    found = gpu_inventory(nodes, pods)
    for item in found.nodes:
        if item.in_use is not None:
            assert item.free is not None
            assert item.in_use + item.free + item.broken == item.total
        assert min(item.broken, item.free or 0, item.total) >= 0
    if found.shares is not None:
        assert sum(share.gpus for share in found.shares) == found.in_use
    as_json(found, everything=True)
    for shown_on in (Terminal(80), None):
        shown = lines(report(found, everything=True), shown_on)
        assert all(len(line) <= 80 for line in shown if shown_on)
        assert all(line.isprintable() for line in shown)


# --- the screens -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shown_on", "how"),
    [
        ("cluster.80-columns.txt", Terminal(80), {}),
        ("cluster.all.80-columns.txt", Terminal(80), {"everything": True}),
        ("cluster.pipe.txt", None, {}),
        ("cluster.wide.txt", Terminal(80), {"wide": True}),
        ("cluster.colour.txt", Terminal(120, colour=True), {}),
    ],
)
def test_the_screen_reads_well(name: str, shown_on: Terminal | None, how: dict[str, bool]) -> None:
    shown = lines(report(cluster(), **how), shown_on)
    compared(name, shown)
    assert all(len(line) <= 80 for line in shown if "80-columns" in name)
    assert ("\x1b" in "".join(shown)) == (shown_on is not None and shown_on.colour)
    assert ("✗" in "".join(shown)) == (shown_on is not None)


def test_the_screen_says_when_holders_are_unknown() -> None:
    compared("cluster.no-pods.80-columns.txt", Terminal(80).lines(report(cluster(with_pods=False))))


def test_a_node_of_many_devices_and_a_cluster_of_many_holders_still_fit() -> None:
    pods = [pod(f"pod-{number:03}", node_name="large", gpus=1) for number in range(60)]
    found = gpu_inventory([node("large", gpus="100")], pods)
    shown = Terminal(80).lines(report(found))
    assert all(len(line) <= 80 for line in shown)
    assert "*  8 more with 8 GPUs (-o wide names them)" in shown
    assert any("pod-059" in line for line in Terminal(80).lines(report(found, wide=True)))
    assert Holder("Pod", "default", "pod-059") in dict(found.nodes[0].held or ())


def compared(name: str, lines: list[str]) -> None:
    file, text = DATA / name, "\n".join(lines) + "\n"
    if os.environ.get("KAITOCTL_REFRESH"):
        file.write_text(text)
    assert text == file.read_text()


@pytest.mark.parametrize(
    ("most", "there", "free"), [("2", 2, 0), ("3", 2, 2), ("0", 0, 0), (0, 0, 0), ("many", 9, 2)]
)
def test_a_node_that_takes_no_more_pods_has_no_free_gpus(most: Any, there: int, free: int) -> None:
    """As check-nodes and fit say; pods without GPUs count, and those that have ended do not."""
    obj = node(gpus="2")
    obj["status"]["allocatable"]["pods"] = most
    plain = [pod(f"p{number}", node_name="gpu-a") for number in range(there)]
    ended = {**pod("done", node_name="gpu-a"), "status": {"phase": "Failed"}}
    (found,) = gpu_inventory([obj], [*plain, ended]).nodes
    assert (found.free, found.broken) == (free, 2 - free)
    assert found.faults == (() if free else ("no-room",))
    (fits,) = gpu_nodes([obj], [*plain, ended])
    assert bool(fits.faults) == (free == 0)
