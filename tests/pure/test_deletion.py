"""What a deletion ends, gives back and leaves, by whose rules."""

from __future__ import annotations

from typing import Any

import pytest
from builders import workspace
from msgspec import structs

from kaitoctl.kaito.deletion import consequences, remaining
from kaitoctl.kaito.snapshot import Named, Snapshot


def claim(name: str = "ws1", node: str = "n1", **annotations: str) -> Any:
    return {
        "kind": "NodeClaim",
        "metadata": {"name": name, "annotations": annotations},
        "status": {"nodeName": node} if node else {},
    }


def pod(name: str, node: str = "n1", owner: str = "", gpus: str = "", volumes: Any = ()) -> Any:
    limits = {"nvidia.com/gpu": gpus} if gpus else {}
    owners = [{"kind": owner, "name": "o", "uid": "u", "controller": True}] if owner else []
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "ai", "ownerReferences": owners},
        "spec": {
            "nodeName": node,
            "volumes": list(volumes),
            "containers": [{"name": "c", "resources": {"limits": limits, "requests": limits}}],
        },
        "status": {"phase": "Running"},
    }


def stateful_set(**spec: Any) -> Any:
    return {
        "kind": "StatefulSet",
        "metadata": {"name": "falcon"},
        "spec": {"replicas": 1, "volumeClaimTemplates": [{"metadata": {"name": "weights"}}], **spec},
    }


def test_kaito_gives_a_node_back_with_whatever_else_runs_on_it() -> None:
    seen = Snapshot(workspace(), claims=(claim(),))
    found = consequences(seen, [pod("guest", gpus="1"), pod("proxy", owner="DaemonSet")])
    assert found.returned == ("NodeClaim ws1, node n1",)
    assert found.evicted == ("pod ai/guest on node n1, of others",)
    assert found.waits_for == {"ws1"}
    assert not found.kept


def test_our_controller_keeps_a_node_while_others_hold_gpus_of_it() -> None:
    ours = workspace()
    ours["metadata"]["managedFields"] = [{"manager": "kaitoctl-controller"}]
    made = claim(**{"kaitoctl.dev/workspace-uid": ours["metadata"]["uid"]})
    found = consequences(Snapshot(ours, claims=(made,)), [pod("guest", gpus="1")])
    assert found.kept == ("NodeClaim ws1, node n1, until pod ai/guest of others has left",)
    assert not found.returned
    assert not found.waits_for
    # One that holds none goes with the node, and that is said.
    found = consequences(Snapshot(ours, claims=(made,)), [pod("guest")])
    assert (found.returned, len(found.evicted)) == (("NodeClaim ws1, node n1",), 1)


def test_what_goes_at_the_same_time_keeps_no_node_and_is_not_said_to_stay() -> None:
    """Replicas of a set may run on each other's nodes."""
    one, other = workspace(), workspace(name="other")
    for ours in (one, other):
        ours["metadata"]["managedFields"] = [{"manager": "kaitoctl-controller"}]
        ours["status"] = {"workerNodes": ["n2" if ours is one else "n1"]}
    made = [
        claim(name, node, **{"kaitoctl.dev/workspace-uid": ours["metadata"]["uid"]})
        for name, node, ours in (("ws1", "n1", one), ("ws2", "n2", other))
    ]
    first = Snapshot(one, claims=(made[0],), pods=(pod("first", "n2", gpus="1"),))
    second = Snapshot(other, claims=(made[1],), pods=(pod("second", "n1", gpus="1"),))
    alone = consequences(first, second.pods)
    assert alone.kept == ("NodeClaim ws1, node n1, until pod ai/second of others has left",)
    assert alone.stays == ("node n2",)
    found = consequences(first, second.pods, (second,))
    assert (found.returned, found.kept, found.stays) == (("NodeClaim ws1, node n1",), (), ())
    assert found.waits_for == {"ws1"}


def node(name: str, owner: str = "") -> Any:
    labels = {"kaito.sh/workspace": owner, "kaito.sh/workspacenamespace": "ai"} if owner else {}
    return {"metadata": {"name": name, "labels": labels}}


@pytest.mark.parametrize(
    ("owner", "guests", "is_left"),
    [("other", [], True), ("other", [pod("guest", "n2", gpus="1")], False), ("", [], False)],
)
def test_the_node_of_another_workspace_that_its_pods_leave_is_said_to_go(
    owner: str, guests: list[Any], is_left: bool
) -> None:
    """Our controller gives it back, if that one runs elsewhere: KAITO's does not."""
    own = pod("falcon-0", "n2", gpus="1")
    for is_ours in (True, False):
        there = workspace()
        if is_ours:
            there["metadata"]["managedFields"] = [{"manager": "kaitoctl-controller"}]
        found = consequences(Snapshot(there, pods=(own,), nodes=(node("n2", owner),)), [own, *guests])
        line = "node n2, bought for Workspace ai/other, if that runs without it"
        assert (line in found.returned) is (is_left and is_ours)
        assert ("node n2" in found.stays) is not (is_left and is_ours)


def test_a_node_that_is_gone_is_not_said_to_stay() -> None:
    """The status of a Workspace whose deletion hangs still names it."""
    there = workspace()
    there["status"] = {"workerNodes": ["n1", "n2"]}
    assert consequences(Snapshot(there, gone=frozenset({"n2"})), []).stays == ("node n1",)


def test_a_claim_of_an_earlier_workspace_of_the_name_is_not_counted_for_ours() -> None:
    ours = workspace()
    ours["metadata"]["managedFields"] = [{"manager": "kaitoctl-controller"}]
    found = consequences(Snapshot(ours, claims=(claim(**{"kaitoctl.dev/workspace-uid": "other"}),)), [])
    assert found.returned == ()


def test_pods_that_may_not_be_listed_are_not_taken_for_none() -> None:
    found = consequences(Snapshot(workspace(), claims=(claim(),)), None)
    assert "cannot be listed" in found.evicted[0]


@pytest.mark.parametrize("kind", ["nodeclaims", "machines"])
def test_nodes_whose_claims_may_not_be_listed_are_not_said_to_stay(kind: str) -> None:
    """NodeClaims are in no namespace: a role of one namespace shows none, and a controller deletes them."""
    seen = Snapshot(workspace(), pods=(pod("falcon-0"),), unseen={kind: "forbidden"})
    found = consequences(seen, [pod("falcon-0"), pod("guest")])
    assert found.stays == ()
    assert "node n1" in found.returned[0] and "cannot be listed" in found.returned[0]
    assert "pod ai/guest on node n1" in found.evicted[0]
    assert "cannot be listed" in consequences(seen, None).evicted[0]
    assert consequences(Snapshot(workspace(), unseen={kind: "forbidden"}), []).returned == ()


@pytest.mark.parametrize(
    ("job", "pods", "is_told"),
    [
        ({}, [], True),
        ({}, ["Running"], True),
        ({}, ["Failed", "Running"], True),  # tried again
        ({}, ["Succeeded"], False),
        ({"conditions": [{"type": "Complete", "status": "True"}]}, [], False),  # its pod is gone
        ({"conditions": [{"type": "Failed", "status": "True"}]}, [], False),
    ],
)
def test_tuning_that_runs_is_said_to_end(job: Any, pods: list[str], is_told: bool) -> None:
    made = {"kind": "Job", "metadata": {"name": "falcon"}, "status": job}
    there = tuple({**pod(f"falcon-{n}"), "status": {"phase": phase}} for n, phase in enumerate(pods))
    (line,) = consequences(Snapshot(workspace(), jobs=(made,), pods=there), []).ends
    assert ("has not finished" in line) is is_told


def test_weights_on_volumes_stay_unless_the_stateful_set_takes_them_along() -> None:
    volume = {"name": "weights", "persistentVolumeClaim": {"claimName": "weights-falcon-0"}}
    shared = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    own = pod("falcon-0", volumes=[volume, shared])
    kept = consequences(Snapshot(workspace(), workloads=(stateful_set(),), pods=(own,)), [own])
    assert kept.stays == (
        "PersistentVolumeClaim weights-falcon-0",
        "PersistentVolumeClaim data",
        "node n1",
    )
    policy = {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}}
    gone = consequences(Snapshot(workspace(), workloads=(stateful_set(**policy),), pods=(own,)), [own])
    assert gone.stays == ("PersistentVolumeClaim data", "node n1")


def test_what_does_not_exist_is_not_said_to_stay() -> None:
    ws = workspace()
    ws["inference"]["config"] = "settings"
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    own = pod("falcon-0", volumes=[volume])
    there = Snapshot(ws, pods=(own,))
    names = ("ConfigMap settings", "PersistentVolumeClaim data")
    assert set(names) <= set(consequences(there, [own]).stays)
    missing = frozenset({Named("ConfigMap", "settings"), Named("PersistentVolumeClaim", "data")})
    gone = consequences(structs.replace(there, missing=missing), [own])
    assert not set(names) & set(gone.stays)


def test_what_is_left_is_told_until_the_last_node_has_gone() -> None:
    ws = workspace()
    uid = ws["metadata"]["uid"]
    seen = Snapshot(ws, pods=(pod("falcon-0"),), claims=(claim(), claim("kept", "n2")))
    assert remaining(seen, uid, {"ws1"}) == "1 pod, 1 NodeClaim (node n1)"
    assert remaining(Snapshot(ws), uid, {"ws1"}) == "the Workspace itself"
    assert remaining(Snapshot(None, claims=(claim("kept", "n2"),)), uid, {"ws1"}) == ""


def test_another_workspace_of_the_name_is_not_waited_for() -> None:
    seen = Snapshot(workspace(uid="new"), pods=(pod("falcon-0"),), claims=(claim(),))
    assert remaining(seen, "old", {"ws1"}) == "1 NodeClaim (node n1)"
    assert remaining(Snapshot(workspace(uid="new"), pods=(pod("falcon-0"),)), "old", ()) == ""
