"""What earlier Workspaces left behind, told from what others use."""

from __future__ import annotations

from typing import Any

from builders import workspace

from kaitoctl.advice import text
from kaitoctl.kaito import kubectl_hints
from kaitoctl.kaito.orphans import Orphan, orphans

LABELS = {"kaito.sh/workspace": "gone", "kaito.sh/workspacenamespace": "ai"}


def claim(name: str = "ws1", node: str = "n1", **metadata: Any) -> Any:
    return {
        "kind": "NodeClaim",
        "metadata": {"name": name, "labels": LABELS, **metadata},
        "spec": {
            "requirements": [{"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["T"]}]
        },
        "status": {"nodeName": node},
    }


def node(name: str, labels: Any = LABELS) -> Any:
    return {"kind": "Node", "metadata": {"name": name, "labels": labels}}


def gpu_pod(on: str) -> Any:
    limits = {"limits": {"nvidia.com/gpu": "1"}, "requests": {"nvidia.com/gpu": "1"}}
    return {
        "metadata": {"name": "guest", "namespace": "other"},
        "spec": {"nodeName": on, "containers": [{"name": "c", "resources": limits}]},
        "status": {"phase": "Running"},
    }


def one(*found: Orphan) -> Orphan:
    assert len(found) == 1, found
    return found[0]


def test_a_claim_whose_workspace_is_gone_is_named_with_its_node_and_its_end() -> None:
    found = one(*orphans([], [claim()], [], [node("n1")], []))
    assert (found.kind, found.name, found.node, found.instance_type) == ("NodeClaim", "ws1", "n1", "T")
    assert (str(found.workspace), text(found.command)) == ("ai/gone", "kubectl delete nodeclaim ws1")


def test_what_belongs_to_a_living_workspace_or_to_no_workspace_is_none() -> None:
    ws = workspace("gone")
    ws["metadata"]["namespace"] = "ai"
    assert orphans([ws], [claim()], [], [node("n1")], []) == []
    foreign = claim()
    foreign["metadata"]["labels"] = {"team": "a"}
    assert orphans([], [foreign], [], [node("n2", {})], []) == []


def test_a_claim_of_an_earlier_workspace_of_the_same_name() -> None:
    ws = workspace("gone", uid="new")
    ws["metadata"]["namespace"] = "ai"
    old = claim(annotations={"kaitoctl.dev/workspace-uid": "old"})
    assert "an earlier Workspace ai/gone" in one(*orphans([ws], [old], [], [], [])).why


def test_a_node_that_others_use_is_shown_and_its_removal_not_advised() -> None:
    found = one(*orphans([], [claim()], [], [node("n1")], [gpu_pod("n1")]))
    assert "pod other/guest of others still use its node" in found.why
    assert text(found.command) == "kubectl get pods -A --field-selector spec.nodeName=n1"
    unseen = one(*orphans([], [claim()], [], [node("n1")], None))
    assert "cannot be listed" in unseen.why
    assert "delete" not in unseen.command


def test_a_claim_that_does_not_go_names_its_finalizers() -> None:
    stuck = claim(deletionTimestamp="2026-11-28T00:00:00Z", finalizers=["karpenter.sh/termination"])
    found = one(*orphans([], [stuck], [], [], []))
    assert "finalizers: karpenter.sh/termination" in found.why
    assert text(found.command) == "kubectl describe nodeclaim ws1"


def test_machines_are_said_with_their_group_since_cluster_api_has_some_too() -> None:
    found = one(*orphans([], [{**claim(), "kind": "Machine"}], [], [node("n1")], []))
    assert text(found.command) == "kubectl delete machines.karpenter.sh ws1"
    stuck = claim(deletionTimestamp="2026-11-28T00:00:00Z")
    found = one(*orphans([], [{**stuck, "kind": "Machine"}], [], [], []))
    assert text(found.command) == "kubectl describe machines.karpenter.sh ws1"
    assert text(kubectl_hints.describe({**stuck, "kind": "Machine"})) == text(found.command)


def test_a_pool_keeps_nodes_for_a_workspace_that_is_gone() -> None:
    pool = {
        "metadata": {
            "name": "p",
            "labels": {
                "karpenter.kaito.sh/workspace-name": "gone",
                "karpenter.kaito.sh/workspace-namespace": "ai",
            },
        },
        "spec": {"replicas": 2},
    }
    found = one(*orphans([], [], [pool], [], []))
    assert ("it keeps 2 nodes" in found.why, text(found.command)) == (
        True,
        "kubectl delete nodepools.karpenter.sh p",
    )


def test_a_node_without_claim_is_a_machine_to_look_at_and_not_to_delete() -> None:
    found = one(*orphans([], [], [], [node("n9")], []))
    assert (found.kind, "may still be paid for" in found.why) == ("Node", True)
    assert "delete" not in found.command
