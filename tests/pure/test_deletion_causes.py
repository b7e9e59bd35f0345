"""What keeps a Workspace that is being deleted, and that no advice about it harms anybody."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from builders import node, workspace
from hypothesis import given
from hypothesis import strategies as st

from kaitoctl.advice import text
from kaitoctl.kaito import api
from kaitoctl.kaito.diagnosis import Cause, diagnose
from kaitoctl.kaito.diagnosis.codes import CODES
from kaitoctl.kaito.rollout import progress
from kaitoctl.kaito.snapshot import Snapshot
from kaitoctl.kube.objects import Object

NOW = datetime(2026, 1, 1, 1, tzinfo=UTC)
RUNS = ("KAITO 0.9.1: Deployment kaito/kaito-workspace, 1 of 1 pods ready",)
STOPPED = ("KAITO 0.9.1: Deployment kaito/kaito-workspace, 0 of 1 pods ready",)


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def going(*finalizers: str) -> Object:
    """A Workspace that was deleted an hour ago."""
    made = workspace(generation=1)
    made["metadata"] |= {"uid": "ws-uid", "deletionTimestamp": ago(3600), "finalizers": list(finalizers)}
    return made


def claim(*conditions: Object, deleted_s: float | None = 3600, **status: Any) -> Object:
    metadata: Object = {"name": "ws0123abc", "finalizers": ["karpenter.sh/termination"]}
    if deleted_s is not None:
        metadata["deletionTimestamp"] = ago(deleted_s)
    return {"kind": "NodeClaim", "metadata": metadata, "status": {"conditions": list(conditions), **status}}


def pod(*, ready: bool = False, owner: str = "rs-uid", **metadata: Any) -> Object:
    return {
        "kind": "Pod",
        "metadata": {
            "name": "falcon-0",
            "namespace": "default",
            "uid": "pod-uid",
            "labels": {"kaito.sh/workspace": "falcon"},
            "ownerReferences": [{"uid": owner, "blockOwnerDeletion": True, "controller": True}],
            **metadata,
        },
        "spec": {"nodeName": "gpu-a"},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


def event(kind: str, name: str, reason: str, message: str) -> Object:
    return {
        "involvedObject": {"kind": kind, "name": name},
        "reason": reason,
        "message": message,
        "type": "Warning",
        "lastTimestamp": ago(5),
    }


def causes(obj: Object, **more: Any) -> tuple[Cause, ...]:
    found = diagnose(Snapshot(obj, **more), NOW).causes
    assert found
    assert {cause.code for cause in found} <= set(CODES)
    return found


def cause(obj: Object, **more: Any) -> Cause:
    return causes(obj, **more)[0]


# --- the finalizer of KAITO ------------------------------------------------------------------------------


@pytest.mark.parametrize("here", [RUNS, None])
def test_without_the_kind_of_node_claims_kaito_cannot_finish(here: tuple[str, ...] | None) -> None:
    found = cause(going(api.FINALIZER), controllers=here, claim_kinds=frozenset())
    assert found.code == "node-claim-kind-missing"
    assert "costing money" in found.hint
    assert text(found.hint).index("cost") < text(found.hint).index("kubectl patch"), (
        "what it may cost comes first"
    )
    assert (
        '{"op":"test","path":"/metadata/finalizers/0","value":"workspace.finalizer.kaito.sh"}' in found.hint
    )


@pytest.mark.parametrize(
    ("controller", "kinds", "lacking"),
    [
        ("KAITO 0.3.2", {"NodeClaim"}, "machines.karpenter.sh"),
        ("KAITO 0.3.2", {"Machine"}, ""),
        ("KAITO 0.4.6", {"Machine"}, "nodeclaims.karpenter.sh"),
        ("KAITO 0.12.0", set(), "nodeclaims.karpenter.sh"),
        ("KAITO nightly", set(), "nodeclaims.karpenter.sh"),
        ("kaitoctl 0.2.0", set(), ""),
    ],
)
def test_each_kaito_asks_for_its_own_kind(controller: str, kinds: set[str], lacking: str) -> None:
    here = (f"{controller}: Deployment kaito/x, 1 of 1 pods ready",)
    found = cause(going(api.FINALIZER), controllers=here, claim_kinds=frozenset(kinds))
    assert (found.code == "node-claim-kind-missing", lacking in found.message) == (bool(lacking), True)
    byo = cause(
        going(api.FINALIZER),
        controllers=(f"{here[0]}, nodes by byo",),
        claim_kinds=frozenset(kinds),
    )
    assert byo.code != "node-claim-kind-missing"


def test_the_patch_takes_kaitos_finalizer_and_no_other() -> None:
    found = cause(going("foregroundDeletion", api.FINALIZER), controllers=RUNS, claim_kinds=frozenset())
    assert '"remove","path":"/metadata/finalizers/1"' in found.hint


def test_where_pods_still_serve_no_finalizer_is_to_be_taken_off() -> None:
    for here in (RUNS, STOPPED, ()):
        found = cause(
            going(api.FINALIZER), controllers=here, claim_kinds=frozenset(), pods=(pod(ready=True),)
        )
        assert "kubectl patch" not in text(found.hint) + text(found.command)
        assert "still serves" in found.hint


def test_where_machines_are_left_no_finalizer_is_to_be_taken_off() -> None:
    found = cause(going(api.FINALIZER), controllers=STOPPED, claims=(claim(deleted_s=None),))
    assert (found.code, "no controller runs" in found.message) == ("finalizer-holds-deletion", True)
    assert "kubectl patch" not in text(found.hint) + text(found.command)
    assert "ws0123abc" in found.hint


@pytest.mark.parametrize("kind", ["nodeclaims", "machines", "pods"])
@pytest.mark.parametrize("here", [(), STOPPED])
def test_where_nobody_can_see_what_is_left_no_finalizer_is_to_be_taken_off(
    here: tuple[str, ...], kind: str
) -> None:
    found = cause(going(api.FINALIZER), controllers=here, unseen={kind: "forbidden"})
    assert "kubectl patch" not in text(found.hint) + text(found.command)
    assert "cannot be listed" in found.hint


def test_nodes_that_cannot_be_seen_are_not_said_to_be_gone() -> None:
    found = cause(going(api.FINALIZER), controllers=RUNS, unseen={"nodeclaims": "forbidden"})
    assert "nothing is left" not in found.message and "cannot be listed" in found.message


@pytest.mark.parametrize("here", [(), STOPPED])
def test_nobody_serves_the_finalizer(here: tuple[str, ...]) -> None:
    found = cause(going(api.FINALIZER), controllers=here, claim_kinds=frozenset({"NodeClaim"}))
    assert (found.code, "no controller runs" in found.message) == ("finalizer-holds-deletion", True)
    assert text(found.command) == "kaitoctl doctor"


def test_a_webhook_that_would_refuse_is_named_before_somebody_tries() -> None:
    more: Any = {"claim_kinds": frozenset({"NodeClaim"}), "webhooks": ("validation.workspace.kaito.sh",)}
    stopped = cause(going(api.FINALIZER), controllers=(), **more)
    assert "validation.workspace.kaito.sh may refuse" in stopped.hint
    runs = cause(going(api.FINALIZER), controllers=RUNS, **more)
    assert "validation.workspace.kaito.sh refuses" in runs.hint
    assert "does not run" not in runs.hint


def test_a_namespace_that_is_going_away_is_evidence() -> None:
    space = {"kind": "Namespace", "metadata": {"name": "default", "deletionTimestamp": ago(60)}}
    found = cause(going(api.FINALIZER), controllers=(), space=space)
    assert any(source == "Namespace" for source, _ in found.evidence)


@pytest.mark.parametrize(
    ("finalizer", "whose"),
    [
        ("resources-finalizer.argocd.argoproj.io", "Argo CD"),
        ("finalizers.fluxcd.io", "Flux"),
        ("inferenceset.finalizer.kaito.sh", "InferenceSet"),
        ("example.com/x", "somebody else"),
    ],
)
def test_a_finalizer_of_somebody_else_says_whose_it_is(finalizer: str, whose: str) -> None:
    found = cause(going(api.FINALIZER, finalizer), controllers=RUNS, claim_kinds=frozenset())
    assert (found.code, finalizer in found.message, whose in found.message) == (
        "finalizer-holds-deletion",
        True,
        True,
    )


# --- NodeClaims that do not go ---------------------------------------------------------------------------

TERMINATING: Object = {"type": "InstanceTerminating", "status": "True"}


def test_a_claim_whose_node_is_gone_is_stuck_and_may_cost_money() -> None:
    stuck = claim(nodeName="gpu-a", providerID="azure:///subscriptions/x/vm-1")
    found = cause(going(api.FINALIZER), claims=(stuck,))
    assert (found.code, found.weight) == ("node-claim-stuck", "fault")
    assert "node gpu-a is gone, and NodeClaim ws0123abc stays for 1h00m" in found.message
    assert "azure:///subscriptions/x/vm-1 still exists, which costs money" in found.hint
    assert text(found.hint).index("costs money") < text(found.hint).index("kubectl patch nodeclaim ws0123abc")
    machine = cause(going(api.FINALIZER), claims=({**stuck, "kind": "Machine"},))
    assert "kubectl patch machines.karpenter.sh ws0123abc" in text(machine.hint), "others have machines, too"
    assert cause(going(api.FINALIZER), claims=(claim(nodeName="gpu-a", deleted_s=60),)).weight == "wait"
    told = cause(going(api.FINALIZER), claims=(claim(TERMINATING, nodeName="gpu-a"),))
    assert "the cloud has not confirmed" in told.message
    assert "no node ever joined" in cause(going(api.FINALIZER), claims=(claim(),)).message


def test_a_machine_that_the_cloud_takes_down_has_no_pods_to_be_looked_for() -> None:
    found = cause(
        going(api.FINALIZER), claims=(claim(TERMINATING, nodeName="gpu-a"),), nodes=(node("gpu-a"),)
    )
    assert "the cloud takes the machine down" in found.message
    assert text(found.command) == "kubectl describe nodeclaim ws0123abc"


def test_what_refuses_to_take_a_machine_down_is_said() -> None:
    words = "deleting agent pool: ScopeLocked: the scope '/subscriptions/s' cannot perform delete operation"
    found = cause(
        going(api.FINALIZER),
        claims=(claim(TERMINATING, nodeName="gpu-a"),),
        nodes=(node("gpu-a"),),
        events=(event("NodeClaim", "ws0123abc", "FailedTermination", words),),
    )
    assert words in found.message
    assert found.evidence[1] == ("event FailedTermination", words)


@pytest.mark.parametrize("nodes", [(), (node("gpu-a"),)])
@pytest.mark.parametrize(
    ("finalizer", "who"), [("example.com/audit", "somebody else"), ("finalizers.fluxcd.io", "Flux")]
)
def test_a_claim_that_its_provisioner_has_let_go_is_held_by_whoever_is_left(
    finalizer: str, who: str, nodes: tuple[Object, ...]
) -> None:
    held = claim({"type": "InstanceTerminating", "status": "True"}, nodeName="gpu-a")
    held["metadata"]["finalizers"] = [finalizer]
    found = cause(going(api.FINALIZER), claims=(held,), nodes=nodes)
    assert found.code == "finalizer-holds-deletion"
    assert f"finalizer {finalizer} of {who}" in found.message and "the machine is gone" in found.message
    assert "finalizers" not in text(found.command) and "null" not in text(found.hint)
    held["metadata"]["finalizers"].append("karpenter.sh/termination")
    assert who not in cause(going(api.FINALIZER), claims=(held,), nodes=nodes).message


def test_what_is_being_deleted_is_called_that() -> None:
    assert progress(Snapshot(going(api.FINALIZER))).words == "being deleted"


def test_what_may_not_be_looked_at_is_not_called_gone() -> None:
    found = cause(going(api.FINALIZER), claims=(claim(nodeName="gpu-a"),), unseen={"nodes": "forbidden"})
    assert (found.code, "gone" in found.message) == ("finalizer-holds-deletion", False)


def test_a_budget_that_forbids_the_drain_is_shown() -> None:
    words = "Failed to drain node, evicting pod violates a PDB (Pod=ai/other-0)"
    told = event("Node", "gpu-a", "FailedDraining", words)
    found = cause(
        going(api.FINALIZER), claims=(claim(nodeName="gpu-a"),), nodes=(node("gpu-a"),), events=(told,)
    )
    assert (found.code, found.weight) == ("drain-blocked", "fault")
    assert ("event FailedDraining", words) in found.evidence
    assert "PodDisruptionBudget" in found.message
    budget = {
        "metadata": {"name": "keep-one"},
        "spec": {"selector": {"matchLabels": {"kaito.sh/workspace": "falcon"}}},
        "status": {"disruptionsAllowed": 0},
    }
    named = cause(
        going(api.FINALIZER),
        claims=(claim(nodeName="gpu-a"),),
        nodes=(node("gpu-a"),),
        pods=(pod(ready=True),),
        budgets=(budget,),
    )
    assert (named.code, "keep-one" in named.message) == ("drain-blocked", True)
    assert "stops with it" in named.hint


def test_pods_that_are_still_leaving_are_waited_for() -> None:
    told = event("Node", "gpu-a", "FailedDraining", "Failed to drain node, 2 pods are waiting to be evicted")
    more: Any = {"nodes": (node("gpu-a"),), "events": (told,)}
    young = cause(going(api.FINALIZER), claims=(claim(nodeName="gpu-a", deleted_s=60),), **more)
    assert (young.code, young.weight) == ("drain-blocked", "wait")
    draining = claim(
        {"type": "Drained", "status": "Unknown", "reason": "Draining"}, nodeName="gpu-a", deleted_s=60
    )
    found = cause(going(api.FINALIZER), claims=(draining,), nodes=(node("gpu-a"),))
    assert (found.code, "pods are being evicted" in found.message) == ("finalizer-holds-deletion", True)


def test_volumes_and_a_node_that_does_not_answer_block_a_drain_too() -> None:
    waiting = {"type": "VolumesDetached", "status": "Unknown", "reason": "AwaitingVolumeDetachment"}
    found = cause(going(api.FINALIZER), claims=(claim(waiting, nodeName="gpu-a"),), nodes=(node("gpu-a"),))
    assert (found.code, text(found.command)) == ("drain-blocked", "kubectl get volumeattachments")
    lost = node("gpu-a")
    lost["status"]["conditions"] = [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}]
    found = cause(going(api.FINALIZER), claims=(claim(nodeName="gpu-a"),), nodes=(lost,))
    assert (found.code, "does not answer" in found.message) == ("drain-blocked", True)


DRAINING = {"type": "Drained", "status": "Unknown", "reason": "Draining"}
WAITS = event("Node", "gpu-a", "FailedDraining", "Failed to drain node, 1 pods are waiting to be evicted")


def of_others(name: str, *, tolerations: tuple[Object, ...] = (), **metadata: Any) -> Object:
    """A pod of another team on the node."""
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "ai", "uid": f"uid-{name}", **metadata},
        "spec": {"nodeName": "gpu-a", "tolerations": list(tolerations)},
        "status": {"phase": "Running"},
    }


def drained(*pods: Object, told: tuple[Object, ...] = (WAITS,), **claims: Any) -> Cause:
    leaving = claim(DRAINING, nodeName="gpu-a")
    leaving["metadata"].update(claims)
    return cause(going(api.FINALIZER), claims=(leaving,), nodes=(node("gpu-a"),), drained=pods, events=told)


@pytest.mark.parametrize("told", [(WAITS,), ()])
def test_a_pod_that_may_take_hours_to_end_is_named(told: tuple[Object, ...]) -> None:
    slow = of_others("train-1", deletionTimestamp=ago(-7200), deletionGracePeriodSeconds=10800)
    found = drained(slow, told=told)
    assert (found.code, found.weight) == ("drain-blocked", "wait")
    assert f"ai/train-1 ends, and has until {ago(-7200)}: its grace period of 3h00m" in found.message
    assert text(found.command) == "kubectl describe pod train-1 -n ai"


@pytest.mark.parametrize("value", ["true", "4h"])
def test_a_pod_that_is_not_to_be_disrupted_is_named(value: str) -> None:
    kept = of_others("batch-1", annotations={"karpenter.sh/do-not-disrupt": value})
    found = drained(kept)
    assert (found.code, found.weight) == ("drain-blocked", "fault")
    assert "ai/batch-1 is not to be disrupted" in found.message
    assert text(found.command) == "kubectl describe pod batch-1 -n ai"
    asks_nothing = of_others("batch-1", annotations={"karpenter.sh/do-not-disrupt": "false"})
    assert "is not to be disrupted" not in drained(asks_nothing).message
    limit = "2026-01-01T02:00:00Z"
    limited = drained(kept, annotations={"karpenter.sh/nodeclaim-termination-timestamp": limit})
    assert f"ends what is left at {limit}" in limited.hint


@pytest.mark.parametrize(
    "pod",
    [
        of_others("overdue", deletionTimestamp=ago(600), deletionGracePeriodSeconds=30),
        of_others("of-the-kubelet", ownerReferences=[{"kind": "Node", "name": "gpu-a"}]),
        of_others("everywhere", tolerations=({"operator": "Exists"},)),
        of_others("agent", tolerations=({"key": "karpenter.sh/disrupted", "operator": "Exists"},)),
        {**of_others("ended"), "status": {"phase": "Succeeded"}},
    ],
    ids=lambda pod: str(pod["metadata"]["name"]),
)
def test_pods_that_karpenter_does_not_wait_for_are_not_named(pod: Object) -> None:
    """Source: karpenter v1.14 pkg/utils/pod/scheduling.go (IsWaitingEviction)."""
    pod["metadata"].setdefault("annotations", {})["karpenter.sh/do-not-disrupt"] = "true"
    name = pod["metadata"]["name"]
    kept = of_others("kept", annotations={"karpenter.sh/do-not-disrupt": "true"})
    found = drained(pod, kept)
    assert "ai/kept" in found.message
    assert name not in f"{found.message} {found.evidence}"


def test_a_node_that_does_not_answer_comes_before_the_pods_that_wait_on_it() -> None:
    lost = node("gpu-a")
    lost["status"]["conditions"] = [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}]
    found = cause(
        going(api.FINALIZER),
        claims=(claim(DRAINING, nodeName="gpu-a"),),
        nodes=(lost,),
        drained=(of_others("batch-1", annotations={"karpenter.sh/do-not-disrupt": "true"}),),
        events=(WAITS,),
    )
    assert "does not answer" in found.message


@pytest.mark.parametrize(
    ("finalizer", "who"), [("wrangler.cattle.io/node", "Rancher"), ("example.com/x", "somebody else")]
)
def test_a_node_that_its_provisioner_has_let_go_is_held_by_whoever_is_left(finalizer: str, who: str) -> None:
    """Karpenter deletes the machine once the Node is gone (nodeclaim/lifecycle/controller.go, finalize)."""
    held = node("gpu-a")
    held["kind"] = "Node"
    held["metadata"].update(deletionTimestamp=ago(3000), finalizers=[finalizer])
    leaving = claim({"type": "Drained", "status": "True"}, nodeName="gpu-a")
    found = cause(going(api.FINALIZER), claims=(leaving,), nodes=(held,))
    assert (found.code, found.about) == ("finalizer-holds-deletion", "Node gpu-a")
    assert f"finalizer {finalizer} of {who}" in found.message
    held["metadata"]["finalizers"].append("karpenter.sh/termination")
    assert finalizer not in cause(going(api.FINALIZER), claims=(leaving,), nodes=(held,)).message


# --- foreground deletion ---------------------------------------------------------------------------------


def owned(kind: str, uid: str, owner: str, **metadata: Any) -> Object:
    references = [{"uid": owner, "blockOwnerDeletion": True, "controller": True}]
    made = {"name": f"falcon-{uid}", "uid": uid, "ownerReferences": references, **metadata}
    return {"kind": kind, "metadata": made, "spec": {}, "status": {}}


def test_what_is_orphaned_need_not_end() -> None:
    found = cause(going("orphan"), workloads=(owned("Deployment", "dep-uid", "ws-uid"),))
    assert found.code == "dependents-hold-deletion"
    assert "leaves it running" in found.message
    assert "has to end" not in found.hint


def test_foreground_deletion_lists_what_kubernetes_waits_for() -> None:
    deployment = owned("Deployment", "dep-uid", "ws-uid", finalizers=["foregroundDeletion"])
    replicas = owned("ReplicaSet", "rs-uid", "dep-uid")
    free = owned("Service", "svc-uid", "ws-uid")
    free["metadata"]["ownerReferences"][0]["blockOwnerDeletion"] = False
    found = cause(
        going("foregroundDeletion"),
        workloads=(deployment,),
        replica_sets=(replicas,),
        pods=(pod(deletionTimestamp=ago(3000)),),
        services=(free,),
    )
    assert found.code == "dependents-hold-deletion"
    for name in ("Deployment falcon-dep-uid", "ReplicaSet falcon-rs-uid", "Pod falcon-0"):
        assert name in found.message
    assert "Service" not in found.message
    assert (
        "Pod falcon-0",
        "is being deleted for 50m, finalizers none, on node gpu-a, which is gone",
    ) in found.evidence
    assert text(found.command) == "kubectl describe pod falcon-0 -n default"


@pytest.mark.parametrize(
    ("finalizer", "whose"),
    [
        ("batch.example/hold", "somebody else"),
        ("batch.kubernetes.io/job-tracking", "Kubernetes' controller of Jobs"),
        ("kueue.x-k8s.io/managed", "Kueue"),
    ],
)
def test_a_finalizer_that_holds_an_ended_pod_is_the_cause_and_not_its_deployment(
    finalizer: str, whose: str
) -> None:
    deployment = owned("Deployment", "dep-uid", "ws-uid", finalizers=["foregroundDeletion"])
    deployment["metadata"]["deletionTimestamp"] = ago(3500)
    replicas = owned("ReplicaSet", "rs-uid", "dep-uid", finalizers=["foregroundDeletion"])
    ended = pod(deletionTimestamp=ago(3000), finalizers=[finalizer])
    ended["status"]["phase"] = "Succeeded"
    tree: Any = {"workloads": (deployment,), "replica_sets": (replicas,)}
    (found,) = causes(going("foregroundDeletion"), pods=(ended,), **tree)
    assert (found.code, found.about, found.weight) == ("finalizer-holds-deletion", "Pod falcon-0", "fault")
    assert f"finalizer {finalizer} of {whose}" in found.message and "Deployment" not in found.message
    assert text(found.command) == "kubectl get pod falcon-0 -n default -o yaml --show-managed-fields"
    ended["status"]["phase"] = "Running"  # its node has to end it first
    (found,) = causes(going("foregroundDeletion"), pods=(ended,), **tree)
    assert found.code == "dependents-hold-deletion"


def test_a_load_balancer_that_is_taken_down_holds_a_foreground_deletion() -> None:
    cleanup = "service.kubernetes.io/load-balancer-cleanup"
    held = owned("Service", "svc-uid", "ws-uid", finalizers=[cleanup], deletionTimestamp=ago(3000))
    (found,) = causes(going("foregroundDeletion"), services=(held,))
    assert (found.code, found.about) == ("finalizer-holds-deletion", "Service falcon-svc-uid")
    assert "the cloud's controller of load balancers" in found.message


def test_foreground_deletion_without_dependents_points_at_the_garbage_collector() -> None:
    found = cause(going("foregroundDeletion"))
    assert (found.code, text(found.command)) == ("dependents-hold-deletion", "kubectl get apiservices")


def test_both_finalizers_have_their_say() -> None:
    found = causes(going("foregroundDeletion", api.FINALIZER), controllers=RUNS, claim_kinds=frozenset())
    assert [item.code for item in found] == ["node-claim-kind-missing", "dependents-hold-deletion"]


def test_the_finalizer_of_somebody_else_does_not_hide_that_kaito_is_down() -> None:
    """Whoever takes the other one off would find the Workspace held as before."""
    found = causes(going("argocd.argoproj.io/hook", api.FINALIZER), controllers=STOPPED)
    assert "Argo CD" in found[0].message
    assert "no controller runs" in found[1].message
    early = going("argocd.argoproj.io/hook", api.FINALIZER)
    early["metadata"]["deletionTimestamp"] = ago(5)
    assert len(causes(early, controllers=RUNS)) == 1


# --- whatever a cluster holds ----------------------------------------------------------------------------


@given(
    st.lists(st.sampled_from([api.FINALIZER, "foregroundDeletion", "orphan", "example.com/x"]), unique=True),
    st.sampled_from([None, (), RUNS, STOPPED]),
    st.sampled_from([None, frozenset[str](), frozenset({"NodeClaim"})]),
    st.lists(st.sampled_from([None, 5.0, 3600.0]), max_size=2),
    st.booleans(),
    st.booleans(),
)
def test_no_advice_ends_what_serves_or_forgets_a_machine(
    finalizers: list[str],
    here: tuple[str, ...] | None,
    kinds: frozenset[str] | None,
    deleted: list[float | None],
    serves: bool,
    has_node: bool,
) -> None:
    found = diagnose(
        Snapshot(
            going(*finalizers),
            controllers=here,
            claim_kinds=kinds,
            claims=tuple(claim(deleted_s=since, nodeName="gpu-a") for since in deleted),
            pods=(pod(ready=True),) if serves else (),
            nodes=(node("gpu-a"),) if has_node else (),
        ),
        NOW,
    ).causes
    for item in found:
        advice = text(item.hint) + text(item.command)
        assert "kubectl patch workspace" not in advice or not (serves or deleted)
        assert "kubectl patch nodeclaim" not in advice or not has_node
        assert "kubectl delete" not in advice
        if "kubectl patch" in advice:
            assert 0 <= advice.find("cost") < advice.index("kubectl patch")


# --- the first minute, and what the controller says ------------------------------------------------------


@pytest.mark.parametrize("finalizer", [api.FINALIZER, "argocd.argoproj.io/hook", "example.com/backup"])
@pytest.mark.parametrize(("seconds", "weight"), [(1, "wait"), (50, "wait"), (70, "fault"), (3600, "fault")])
def test_a_finalizer_is_waited_for_a_minute(finalizer: str, seconds: float, weight: str) -> None:
    going_away = going(finalizer)
    going_away["metadata"]["deletionTimestamp"] = ago(seconds)
    seen = Snapshot(going_away, controllers=RUNS, claim_kinds=frozenset({"NodeClaim"}))
    (cause,) = diagnose(seen, NOW).causes
    assert (cause.code, cause.weight) == ("finalizer-holds-deletion", weight)


@pytest.mark.parametrize("seconds", [5, 3600])
def test_a_controller_that_is_stopped_is_no_matter_of_waiting(seconds: float) -> None:
    going_away = going(api.FINALIZER)
    going_away["metadata"]["deletionTimestamp"] = ago(seconds)
    (cause,) = diagnose(Snapshot(going_away, controllers=STOPPED), NOW).causes
    assert cause.weight == "fault"


def said(how: str) -> Snapshot:
    """A deletion of which the controller says what holds it."""
    words = 'nodeclaims.karpenter.sh is forbidden: User "kaito" cannot list'
    going_away, events = going(api.FINALIZER), []
    if how == "appended":
        message = f"workspace is being deleted (last reconcile error: {words})"
        going_away["status"] = {
            "conditions": [
                {"type": "WorkspaceDeleting", "status": "True", "message": message, "observedGeneration": 1}
            ]
        }
    elif how == "kept":
        message = f"workspace is being deleted; {words}"
        going_away["status"] = {
            "conditions": [
                {"type": "WorkspaceDeleting", "status": "True", "message": message, "observedGeneration": 1}
            ]
        }
    else:
        events = [event("Workspace", going_away["metadata"]["name"], "ReconcileError", words)]
    return Snapshot(going_away, events=tuple(events), controllers=RUNS, claim_kinds=frozenset({"NodeClaim"}))


@pytest.mark.parametrize("how", ["appended", "kept", "event"])
def test_what_the_controller_says_is_the_message_and_not_its_log(how: str) -> None:
    (cause,) = diagnose(said(how), NOW).causes
    assert 'User "kaito" cannot list' in cause.message
    assert "log" not in cause.hint


@pytest.mark.parametrize(("seconds", "weight"), [(30, "wait"), (3600, "fault")])
def test_a_claim_that_nobody_asks_to_go_is_no_matter_of_waiting_for_hours(
    seconds: float, weight: str
) -> None:
    going_away = going(api.FINALIZER)
    going_away["metadata"]["deletionTimestamp"] = ago(seconds)
    seen = Snapshot(going_away, claims=(claim(deleted_s=None),), controllers=RUNS)
    (cause,) = diagnose(seen, NOW).causes
    assert (cause.code, cause.weight) == ("finalizer-holds-deletion", weight)
    assert ("nobody has asked for that in 1h00m" in cause.message) is (weight == "fault")


@pytest.mark.parametrize(("seconds", "weight"), [(30, "wait"), (3600, "fault")])
def test_a_drain_that_takes_hours_shows_the_pods_that_are_left(seconds: float, weight: str) -> None:
    draining = {"type": "Drained", "status": "Unknown", "reason": "Draining", "message": "1 pod waiting"}
    leaving = claim(draining, nodeName="gpu-a", deleted_s=seconds)
    seen = Snapshot(
        going(api.FINALIZER), claims=(leaving,), nodes=({**node("gpu-a"), "kind": "Node"},), controllers=RUNS
    )
    (cause,) = diagnose(seen, NOW).causes
    assert cause.weight == weight
    assert ("spec.nodeName=gpu-a" in cause.command) is (weight == "fault")
