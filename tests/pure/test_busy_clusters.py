"""What stands beside a Workspace is not blamed: nodes of others, and pods that wait for another one."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from builders import node
from trouble import World

from kaitoctl.advice import text
from kaitoctl.kaito import node_check
from kaitoctl.kaito.controller_errors import prospect
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kaito.node_check.of_state import unready_hint
from kaitoctl.kube.objects import Object

UPSTREAM = node_check.Rules("v0.4")
TYPE = {"node.kubernetes.io/instance-type": "Standard_NC12s_v3"}
OF_OTHERS = "1 node(s) didn't match Pod's node affinity/selector"


def unplaced(words: str, event: str = "") -> World:
    """A pod that no node takes although one with the Workspace's labels is free."""
    world = World("scheduling-gated")
    pod = world["Pod"]
    del pod["spec"]["schedulingGates"]
    placed = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}
    pod["status"]["conditions"] = [placed] if words else []
    return world.event("FailedResourceClaimCreation", event) if event else world


def beside(world: World, *others: Object, **more: Any) -> Cause:
    """The cause, with nodes of other Workspaces in the cluster; the same without them."""
    workspace, own = world["Workspace"], world["Node"]

    def of(nodes: list[Object]) -> Cause:
        return world.cause(verdict=node_check.verdict(workspace, nodes, (), rules=UPSTREAM), **more)

    alone, together = of([own]), of([*others, own])
    assert (together.code, together.about, text(together.hint)) == (alone.code, alone.about, text(alone.hint))
    return together


def others() -> list[Object]:
    """Nodes that another Workspace has, that nobody has, and that take nothing; by name before our own."""
    cordoned = node("a-cordoned", labels={**TYPE, "apps": "llama"})
    cordoned["spec"]["unschedulable"] = True
    tainted = node("a-tainted", labels={**TYPE, "apps": "llama"})
    tainted["spec"]["taints"] = [{"key": "team", "value": "x", "effect": "NoSchedule"}]
    return [
        node("a-llama", labels={**TYPE, "apps": "llama"}),
        node("a-unlabelled", labels=TYPE),
        node("a-without", gpus="0", labels={**TYPE, "apps": "llama"}),
        cordoned,
        tainted,
    ]


# One message of each kind. Source: Kubernetes v1.37.2 pkg/scheduler/framework/plugins.
@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        ("1 node(s) didn't have free ports for the requested pod ports", "unschedulable", "host port"),
        ("1 Insufficient memory", "unschedulable", "more memory"),
        ("1 Too many pods", "unschedulable", "as many pods"),
        ("1 node(s) didn't match pod topology spread constraints", "unschedulable", "topologySpread"),
        ("1 node(s) didn't match pod anti-affinity rules", "unschedulable", "podAntiAffinity"),
        ("1 Insufficient rdma/hca", "unschedulable", "RDMA"),
        ("1 cannot allocate all claims", "unschedulable", "ResourceClaims"),
        ("1 node(s) exceed max volume count", "volume-not-here", "as many disks"),
        ("1 cannot align container", "unschedulable", "NUMA"),
        ('persistentvolumeclaim "weights" not found', "volume-claim-missing", "create the claim weights"),
    ],
)
def test_nodes_of_other_workspaces_are_not_blamed_for_what_keeps_a_pod_off_its_own(
    words: str, code: str, hint: str
) -> None:
    for said in (f"0/2 nodes are available: {words}, {OF_OTHERS}.", f"0/2 nodes are available: {words}."):
        cause = beside(unplaced(said), *others())
        assert cause.code == code
        assert hint in cause.hint


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (
            'nodeclaims.karpenter.sh is forbidden: User "system:serviceaccount:kaito-workspace:kaito" cannot '
            "create resource",
            "lacks the right",
        ),
        (
            'failed calling webhook "v.karpenter.sh": failed to call webhook: Post '
            '"https://karpenter.kube-system.svc:8443/validate?timeout=10s": service "karpenter" not found',
            "does not answer",
        ),
        (
            "conversion webhook for karpenter.sh/v1, Kind=NodeClaim failed: Post "
            '"https://karpenter.kube-system.svc:8443/conversion?timeout=30s": service "karpenter" not found',
            "converts objects of kind NodeClaim",
        ),
    ],
)
def test_nor_for_what_keeps_a_controller_from_making_nodes(error: str, hint: str) -> None:
    world = World("scheduling-gated").without("Pod", "Deployment", "ReplicaSet", "Service")
    world["Workspace"]["status"] = {
        "conditions": [
            {
                "type": "ResourceReady",
                "status": "False",
                "reason": "workspaceResourceStatusFailed",
                "message": error,
                "observedGeneration": 1,
                "lastTransitionTime": "2026-11-28T15:00:00Z",
            }
        ]
    }
    judged = node_check.verdict(world["Workspace"], others(), (), rules=UPSTREAM)
    cause = world.cause(verdict=judged)
    assert cause.code == "controller-says"
    assert hint in cause.hint


def test_a_node_that_lost_its_labels_while_it_was_in_use_is_blamed() -> None:
    world = unplaced(f"0/1 nodes are available: {OF_OTHERS}.")
    world["Node"]["metadata"]["labels"]["apps"] = "other"
    judged = node_check.verdict(world["Workspace"], [*others(), world["Node"]], (), rules=UPSTREAM)
    cause = world.cause(verdict=judged)
    assert (cause.code, cause.about) == ("label-differs", "Node gpu-1")


def test_a_node_without_the_label_is_named_where_one_is_missing() -> None:
    world = unplaced(f"0/1 nodes are available: {OF_OTHERS}.")
    world["Workspace"]["resource"]["count"] = 2
    unlabelled = node("gpu-2", labels=TYPE)
    judged = node_check.verdict(world["Workspace"], [world["Node"], unlabelled], (), rules=UPSTREAM)
    cause = world.cause(verdict=judged)
    assert (cause.code, cause.about) == ("label-missing", "Node gpu-2")


@pytest.mark.parametrize(
    "error", ["service not found", "x509: certificate has expired", "EOF of none at all"]
)
def test_the_time_that_a_webhook_is_given_is_no_timeout(error: str) -> None:
    said = f'failed calling webhook "w": Post "https://w.ns.svc:443/validate?timeout=10s": {error}'
    assert prospect(said) == "unknown"
    assert prospect(f"{said}; context deadline exceeded") == "passing"


# --- pods that wait for one another ------------------------------------------------------------------------


def test_a_server_that_waits_for_a_pod_without_a_node_is_not_what_is_slow() -> None:
    """The second of two pods fits nowhere; the first one loads for ever, and holds GPUs of the other node."""
    world = unplaced(
        "0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) didn't have free ports for the "
        "requested pod ports."
    )
    leader = copy.deepcopy(world["Pod"])
    leader["metadata"]["name"] = "falcon-5b8f-first"
    leader["metadata"]["uid"] = "uid-first"
    leader["spec"]["nodeName"] = "gpu-1"
    leader["status"] = {
        "phase": "Running",
        "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}],
        "containerStatuses": [
            {
                "name": "falcon",
                "ready": False,
                "restartCount": 0,
                "state": {"running": {"startedAt": "2026-11-28T15:00:00Z"}},
            }
        ],
    }
    world.objects.append(leader)
    world["Deployment"]["spec"]["replicas"] = 2
    cause = world.cause()
    assert (cause.code, cause.about) == ("unschedulable", "Pod falcon-5b8f-abcde")
    assert "host port" in cause.hint, "the GPUs that are short are the Workspace's own"


# --- ResourceClaims ----------------------------------------------------------------------------------------


# Source: Kubernetes v1.37.2 pkg/scheduler/framework/plugins/dynamicresources/dynamicresources.go.
@pytest.mark.parametrize(
    ("words", "hint", "look"),
    [
        ('resourceclaim.resource.k8s.io "gpu" not found', "create the ResourceClaim gpu", "resourceclaims"),
        ('resourceclaim "gpu" is being deleted', "who deleted it", "resourceclaim gpu"),
        ("request a: device class gpu.nvidia.com does not exist", "no DeviceClass gpu.nvidia.com", "class"),
        ("0/2 nodes are available: 2 resourceclaim in use.", "wait until one has ended", "resourceclaims"),
        ("0/2 nodes are available: 2 resourceclaim not available on the node.", "another node", "claims"),
        ("0/2 nodes are available: 2 cannot allocate all claims.", "no device is free", "resourceslices"),
        ("0/2 nodes are available: 2 timed out trying to allocate devices.", "no device is free", "slices"),
        ("resource claim default/gpu is in the process of being allocated", "wait", "resourceclaims"),
        ("0/2 nodes are available: 2 cannot schedule extended resource claim.", "wait", "resourceclaims"),
        ("0/2 nodes are available: 2 cannot fit resource.", "no DRA driver", "allocatable"),
        ("resource claim default/gpu, request a: unknown request type", "their driver", "resourceclaims"),
    ],
)
def test_what_keeps_a_pod_with_resource_claims_without_a_node(words: str, hint: str, look: str) -> None:
    cause = unplaced(words).cause()
    assert cause.code == "unschedulable"
    assert hint in cause.hint
    assert look in text(cause.command)


@pytest.mark.parametrize(
    "words", ["", 'waiting for dynamic resource controller to create the resourceclaim "x"']
)
def test_a_claim_that_cannot_be_created_is_told_by_its_event(words: str) -> None:
    """Until there is the claim no scheduler looks at the pod: that none has is not the scheduler's fault."""
    missing = 'resource claim template "gpu": resourceclaimtemplate.resource.k8s.io "gpu" not found'
    cause = unplaced(words, f"PodResourceClaim gpu: {missing}").cause()
    assert missing in cause.message
    assert "create the ResourceClaimTemplate gpu" in cause.hint
    assert text(cause.command) == "kubectl get resourceclaimtemplates -n default"


def test_a_quota_of_resource_claims_is_called_so() -> None:
    refused = (
        "resourceclaims.resource.k8s.io is forbidden: exceeded quota: q, requested: count/resourceclaims=1"
    )
    cause = unplaced("", f"PodResourceClaim gpu: create ResourceClaim : {refused}").cause()
    assert "raise the quota" in cause.hint
    assert text(cause.command) == "kubectl describe resourcequota -n default"


# --- nodes that are not Ready ------------------------------------------------------------------------------


# Source: Kubernetes v1.37.2 pkg/kubelet/kubelet.go, pkg/kubelet/nodestatus, pkg/controller/nodelifecycle.
@pytest.mark.parametrize(
    ("status", "message", "hint"),
    [
        ("Unknown", "Kubelet stopped posting node status.", "whether the machine runs"),
        ("Unknown", "Kubelet never posted node status.", "whether the machine runs"),
        ("Unknown", "", "whether the machine runs"),
        (
            "False",
            "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:x",
            "network plugin",
        ),
        (
            "False",
            "[container runtime is down, PLEG is not healthy: pleg was last seen 51m ago]",
            "containerd",
        ),
        ("False", "CSINode is not yet initialized", "kubelet's log"),
        ("False", "something new", "check its conditions"),
        ("", "", "check its conditions"),
    ],
)
def test_a_node_that_is_not_ready_says_where_to_look(status: str, message: str, hint: str) -> None:
    assert hint in unready_hint(status, message)
    world = World("slow-pull")
    ready = {"type": "Ready", "status": status, "message": message}
    world["Node"]["status"]["conditions"] = [ready] if status else []
    cause = world.cause()
    assert (cause.code, hint in cause.hint) == ("not-ready", True)


# --- older words -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("1 node(s) had taint {dedicated: gpu}, that the pod didn't tolerate", "taints"),
        ("1 node(s) had taints that the pod didn't tolerate", "taints"),
        ("1 node(s) didn't match node selector", "labels"),
        ("1 node(s) didn't match Pod's node affinity", "labels"),
        (
            "1 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode",
            "another pod uses its volume",
        ),
        ("1 node(s) had untolerated taint(s)", "taints"),
    ],
)
def test_words_of_older_and_newer_schedulers(words: str, hint: str) -> None:
    assert hint in unplaced(f"0/1 nodes are available: {words}.").cause().hint


def test_a_claim_that_could_not_be_made_is_no_cause_once_it_is_there() -> None:
    """Events stay for an hour."""
    failed = "PodResourceClaim gpu: failed to create ResourceClaim: template gpu: not found"
    waits = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    now, without = unplaced(waits, failed).cause(), unplaced(waits).cause()
    assert (now.message, now.hint, now.command) == (without.message, without.hint, without.command)
