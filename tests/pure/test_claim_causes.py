"""What Karpenter's conditions and events mean for a Workspace that waits for nodes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from builders import node, workspace

from kaitoctl.advice import text
from kaitoctl.kaito import node_check
from kaitoctl.kaito.diagnosis import Cause, diagnose, karpenter
from kaitoctl.kaito.diagnosis.codes import CODES
from kaitoctl.kaito.node_claims import names
from kaitoctl.kaito.rollout import progress
from kaitoctl.kaito.snapshot import Snapshot
from kaitoctl.kube.objects import Object

NOW = datetime(2026, 1, 1, 1, tzinfo=UTC)


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(kind: str, status: str, reason: str = "", message: str = "", since_s: float = 1800) -> Object:
    found = {"type": kind, "status": status, "lastTransitionTime": ago(since_s)}
    return {**found, "reason": reason, "message": message} if reason else found


AWAITING = ("Unknown", "AwaitingReconciliation", "object is awaiting reconciliation")
JOINED = (condition("Launched", "True"), condition("Registered", "True"))


def claim(*conditions: Object, name: str = "ws0123abc", age_s: float = 1800, **more: Any) -> Object:
    metadata = {"name": name, "creationTimestamp": ago(age_s), **more.pop("metadata", {})}
    spec = more.pop("spec", {})
    return {
        "kind": more.pop("kind", "NodeClaim"),
        "metadata": metadata,
        "spec": spec,
        "status": {"conditions": list(conditions), **more},
    }


def event(name: str, reason: str, message: str, kind: str = "NodeClaim", age_s: float = 60) -> Object:
    return {
        "involvedObject": {"kind": kind, "name": name},
        "reason": reason,
        "message": message,
        "type": "Warning",
        "lastTimestamp": ago(age_s),
    }


def seen(*claims: Object, **more: Any) -> Snapshot:
    """A Workspace that waits for nodes, and its claims."""
    waiting = workspace(generation=1)
    waiting["metadata"]["creationTimestamp"] = ago(1800)
    waiting["status"] = {
        "conditions": [
            {
                "type": "ResourceReady",
                "status": "False",
                "reason": "workspaceResourceStatusNotReady",
                "message": "node claims not ready",
                "observedGeneration": 1,
            }
        ]
    }
    return Snapshot(waiting, claims=claims, **more)


def cause(*claims: Object, **more: Any) -> Cause:
    found = diagnose(seen(*claims, **more), NOW).cause
    assert found is not None
    assert found.code in CODES
    return found


def launch_unknown(reason: str, message: str) -> Object:
    return claim(
        condition("Launched", "Unknown", reason, message),
        condition("Registered", *AWAITING),
        condition("Initialized", *AWAITING),
        condition("Ready", "Unknown", "ReconcilingDependents", "Launched=Unknown"),
    )


# --- launches --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "message", "code"),
    [
        (
            "LaunchFailed",
            "OperationNotAllowed: exceeding approved NCADSA100v4Family Cores quota",
            "quota-exceeded",
        ),
        ("SubscriptionQuotaReached", "subscription level on-demand vCPU limit reached", "quota-exceeded"),
        (
            "VCPULimitExceeded",
            "An instance was requested that would exceed your VCPU limit",
            "quota-exceeded",
        ),
        ("SKUNotAvailable", "the requested SKU is unavailable", "instance-type-unavailable"),
        ("ZonalAllocationFailure", "unable to allocate resources in the zone", "instance-type-unavailable"),
        ("LaunchFailed", "all requested instance types were unavailable", "instance-type-unavailable"),
        ("CreateInstanceFailed", "AllocationFailed: no capacity", "instance-type-unavailable"),
        ("AMINotFound", "AMI used for instance launch does not exist", "node-class-not-ready"),
        ("NodeClassReadinessUnknown", "NodeClass is in Ready=Unknown", "node-class-not-ready"),
        ("InsufficientFreeAddressesInSubnet", "There are not enough free IP addresses", "node-claim-failed"),
        ("Unauthorized", "User is not authorized to perform this operation", "node-claim-failed"),
        ("LaunchFailed", "the client does not have authorization to perform action", "node-claim-failed"),
        ("SomethingNew", "the moon is in the way", "node-claim-failed"),
    ],
)
def test_launched_unknown_with_a_reason_is_a_failed_launch(reason: str, message: str, code: str) -> None:
    found = cause(launch_unknown(reason, message))
    assert found.code == code
    assert any(message in words for _, words in found.evidence)


def test_a_type_that_the_subscription_does_not_get_is_not_waited_for() -> None:
    words = "VM size Standard_NC24ads_A100_v4 is not supported for this subscription in this location"
    assert "waiting does not help" in str(cause(launch_unknown("SKUNotAvailable", words)).hint)
    assert "wait, or take" in str(cause(launch_unknown("SKUNotAvailable", "unavailable")).hint)


def test_a_reason_that_is_not_known_is_shown_with_its_message() -> None:
    found = cause(launch_unknown("SomethingNew", "the moon is in the way"))
    assert found.message == "the machine for ws0123abc could not be launched: the moon is in the way"
    assert "rights" in cause(launch_unknown("Unauthorized", "not allowed")).hint
    assert "addresses" in cause(launch_unknown("InsufficientFreeAddressesInSubnet", "none")).hint


@pytest.mark.parametrize(
    ("message", "code", "hint"),
    [
        ("exceeding approved LowPriorityCores quota. Current Limit: 3", "quota-exceeded", "spot machines"),
        ("MaxSpotInstanceCountExceeded: Max spot instance count exceeded", "quota-exceeded", "spot machines"),
        ("exceeding approved standardNCSv3Family Cores quota", "quota-exceeded", "another family"),
        ("InsufficientSubnetSize: 124 exceeds IPs available 11 in Subnet", "node-claim-failed", "subnet"),
        ("ReadOnlyDisabledSubscription: The subscription 'x' is disabled", "node-claim-failed", "owner"),
        ("MissingSubscriptionRegistration: not registered to use namespace", "node-claim-failed", "register"),
        ("OptInRequired: You are not subscribed to this service", "node-claim-failed", "register"),
        (
            "The VM size of Standard_NC99 is not allowed in your subscription in location 'eastus'. For more "
            "details, please visit https://aka.ms/cpu-quota",
            "instance-type-unavailable",
            "waiting does not help",
        ),
        ("Allocation failed. We do not have sufficient capacity", "instance-type-unavailable", "wait, or"),
        ("GalleryImageNotFound: x is not available in eastus region", "node-class-not-ready", "image"),
        ("ScopeLocked: following scope(s) are locked", "node-claim-failed", "lock"),
        ("AgentPoolK8sVersionNotSupported: Version 1.27.9 is not supported", "node-claim-failed", "upgrade"),
        ("The VM size 'X' cannot boot Hypervisor Generation '2'", "node-claim-failed", "do not go together"),
        ("OS disk of Ephemeral VM with size greater than 64 GB", "node-claim-failed", "do not go together"),
        ("Invalid IAM Instance Profile name", "node-class-not-ready", "instance profile"),
        (
            "Unsupported: Your requested instance type (p4d.24xlarge) is not supported in your requested "
            "Availability Zone (us-east-1e).",
            "instance-type-unavailable",
            "other zones",
        ),
        (
            "VMExtensionProvisioningError: vmssCSE exit status=50, output=curl: (28) mcr.microsoft.com",
            "node-claim-failed",
            "could not download",
        ),
        ("vmssCSE exit status=31, output=timeout", "node-claim-failed", "could not download"),
        ("vmssCSE error messages : {vmssCSE exit status=52, x}", "node-claim-failed", "the API server"),
        ("VMExtensionHandlerNonTransientError: vmssCSE exit status=84", "node-claim-failed", "GPU driver"),
        ("VMExtensionProvisioningTimeout: vmssCSE", "node-claim-failed", "the script that prepares it"),
        ("vmssCSE exit status=125, output=x", "node-claim-failed", "the script that prepares it"),
    ],
)
def test_a_clouds_own_words_say_what_to_do(message: str, code: str, hint: str) -> None:
    found = cause(launch_unknown("LaunchFailed", message))
    assert (found.code, hint in found.hint) == (code, True), found.hint


@pytest.mark.parametrize(
    "message",
    [
        "OperationNotAllowed: Operation is not allowed: Another operation (Updating) is in progress, please "
        "wait for it to finish before starting a new operation.",
        "OperationNotAllowed: Another agentpool operation (nodepool1 - Creating) is in progress",
        "OperationNotAllowed: Operation is not allowed because there's an in progress update managed cluster "
        "operation on the managed cluster started at 2026-01-01",
        "googleapi: Error 400: Cluster is running incompatible operation operation-1700000000-ab",
        "Operation operation-1700000000-ab is currently upgrading cluster x. Please wait",
        "409 Conflict: EtagMismatch: The etag value on the request does not match the current etag",
        "AnotherOperationInProgress: Another operation on this or dependent resource is in progress",
        "The PutAgentPoolHandler.PUT request limit has been exceeded for agentpool x, please retry again in "
        "36 seconds",
    ],
)
def test_a_request_that_the_cloud_puts_off_is_no_failed_launch(message: str) -> None:
    put_off = launch_unknown("LaunchFailed", message)
    assert progress(seen(put_off)).outcome is None
    assert (cause(put_off).weight, "tried again" in cause(put_off).hint) == ("wait", True)


def test_a_launch_that_nobody_has_tried_yet_has_not_failed() -> None:
    young = claim(condition("Launched", *AWAITING), age_s=30)
    assert progress(seen(young)).outcome is None
    assert (cause(young).code, cause(young).weight) == ("node-claim-pending", "wait")
    assert "has not been launched" in cause(young).message
    assert cause(claim(condition("Launched", *AWAITING), age_s=600)).weight == "fault"
    assert progress(seen(launch_unknown("LaunchFailed", "no"))).outcome == "failed"
    throttled = launch_unknown("RequestLimitExceeded", "slow down")
    assert progress(seen(throttled)).outcome is None
    assert (cause(throttled).weight, "slow down" in cause(throttled).message) == ("wait", True)


def test_every_reason_leads_to_a_cause_that_is_explained() -> None:
    for reason, known in karpenter.LAUNCH.items():
        assert known.code in CODES
        assert cause(launch_unknown(reason, "x")).code == known.code


def test_a_launch_that_was_given_up_still_says_why() -> None:
    given_up = launch_unknown("LaunchFailed", "insufficient quota")
    given_up["metadata"]["deletionTimestamp"] = ago(5)
    assert cause(given_up).code == "quota-exceeded"


# --- registration and initialization ---------------------------------------------------------------------


def test_a_machine_that_does_not_join_is_waited_for_as_long_as_karpenter_does() -> None:
    def launched(age_s: float, *more: Object) -> Cause:
        waiting = condition("Registered", "Unknown", "NodeNotFound", "Node not registered with cluster")
        return cause(claim(condition("Launched", "True"), *(more or (waiting,)), age_s=age_s))

    assert (launched(60).code, launched(60).weight) == ("node-claim-pending", "wait")
    assert launched(1000).weight == "fault"
    hook = launched(60, condition("Registered", "Unknown", "RegistrationHookPending", "gpu-hook"))
    assert "gpu-hook" in hook.message
    twice = launched(60, condition("Registered", "False", "MultipleNodesFound", "Invariant violated"))
    assert ("several nodes" in twice.message, twice.weight) == (True, "fault")
    new = launched(60, condition("Registered", "Unknown", "MoonPhase", "wait for the moon"))
    assert "wait for the moon" in new.message


def initializing(reason: str, message: str, *nodes: Object, **more: Any) -> Cause:
    waiting = condition("Initialized", "Unknown", reason, message)
    return cause(claim(*JOINED, waiting, nodeName="gpu-a", **more), nodes=nodes)


@pytest.mark.parametrize(
    ("taint", "who"),
    [
        ("node.cilium.io/agent-not-ready:NoExecute", "Cilium's agent"),
        ("node.cloudprovider.kubernetes.io/uninitialized=true:NoSchedule", "cloud controller manager"),
        ("ebs.csi.aws.com/agent-not-ready:NoExecute", "EBS"),
        ("readiness.k8s.io/gpu:NoSchedule", "Node Readiness Controller"),
        ("mine.example/warming:NoSchedule", "whoever put it there"),
    ],
)
def test_the_taint_that_a_node_waits_for_is_named_with_who_takes_it_off(taint: str, who: str) -> None:
    for reason, kind in (
        ("StartupTaintsExist", "StartupTaint"),
        ("KnownEphemeralTaintsExist", "KnownEphemeralTaint"),
    ):
        found = initializing(reason, f'{kind} "{taint}" still exists', node("gpu-a"))
        assert found.code == "node-not-initialized"
        assert f"waits for taint {taint}, which " in found.message
        assert who in found.message
        assert "kubectl taint" not in text(found.command) + text(found.hint)
        assert text(found.command) == "kubectl get pods -A --field-selector spec.nodeName=gpu-a"


def not_ready(reason: str, message: str) -> Object:
    made = node("gpu-a")
    made["status"]["conditions"] = [
        {
            "type": "Ready",
            "status": "False",
            "reason": reason,
            "message": message,
            "lastTransitionTime": ago(900),
        }
    ]
    return made


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (
            "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
            "message:Network "
            "plugin returns error: cni plugin not initialized",
            "(CNI) is not up",
        ),
        ("[container runtime is down, PLEG is not healthy: pleg was last seen active]", "container runtime"),
        ("something else", "something else"),
    ],
)
def test_a_node_that_joined_and_is_not_ready_says_why(message: str, what: str) -> None:
    found = initializing("NodeNotReady", "Node status is NotReady", not_ready("KubeletNotReady", message))
    assert (found.code, what in found.message, message in found.message) == (
        "node-not-initialized",
        True,
        True,
    )
    silent = cause(claim(*JOINED, nodeName="gpu-a"), nodes=(not_ready("KubeletNotReady", message),))
    assert what in silent.message, "the node shows it, too, where the claim has no such condition"


def test_a_node_that_is_ready_meanwhile_is_not_quoted_for_not_being_so() -> None:
    said = "Node status is NotReady: cni plugin not initialized"
    found = initializing("NodeNotReady", said, node("gpu-a"))
    assert (found.code, said in found.message) == ("node-not-initialized", True)
    assert "posting ready status" not in found.message


@pytest.mark.parametrize(
    ("reason", "words", "code"),
    [
        ("FailedToLaunch", "exceeding approved standardNCSv3Family Cores quota", "quota-exceeded"),
        ("Odd", "the moon is not full", "node-claim-failed"),
    ],
)
def test_whoever_writes_an_event_about_a_claim_has_acted_on_it(reason: str, words: str, code: str) -> None:
    found = cause(claim(), events=(event("ws0123abc", reason, words),))
    assert found.code == code
    assert "no node provisioner has acted" not in found.message


def test_a_resource_that_is_not_registered_is_named() -> None:
    gpu = initializing("ResourceNotRegistered", 'Resource "nvidia.com/gpu" was requested but not registered')
    assert gpu.code == "device-plugin-missing"
    efa = initializing(
        "ResourceNotRegistered", 'Resource "vpc.amazonaws.com/efa" was requested but not registered'
    )
    assert (efa.code, "vpc.amazonaws.com/efa" in efa.message) == ("node-not-initialized", True)
    dra = initializing("DRADriverPoolsNotPublished", 'DRA driver "gpu.nvidia.com" has not published a pool')
    assert "gpu.nvidia.com" in dra.message
    new = initializing("MoonPhase", "the moon is not full", node("gpu-a"))
    assert (new.code, "the moon is not full" in new.message) == ("node-not-initialized", True)


def test_a_node_that_has_gone_again_is_no_node_that_waits() -> None:
    found = initializing("NodeNotFound", "Node not registered with cluster")
    assert "node gpu-a had joined and is gone" in found.message
    assert text(found.command) == "kubectl describe nodeclaim ws0123abc", "no node is there to be described"


def test_what_helps_depends_on_how_far_a_claim_came() -> None:
    assert text(cause(claim()).command) == "kaitoctl doctor", "who makes nodes, and whether it runs"
    waiting = condition("Registered", "Unknown", "NodeNotFound", "")
    assert "start-up log" in text(cause(claim(JOINED[0], waiting)).hint)
    assert "start-up log" not in text(cause(claim(JOINED[0], waiting, age_s=60)).hint)
    busy = cause(launch_unknown("LaunchFailed", "TooManyRequests: the server rejected the request"))
    assert (busy.code, busy.weight) == ("node-claim-failed", "wait")
    taken = cause(launch_unknown("LaunchFailed", "SkuNotAvailable: not available in eastus"))
    assert "kaitoctl fit falcon-7b" in text(taken.hint)


def test_machines_of_kaito_v03_are_read_the_same() -> None:
    joined = (condition("MachineLaunched", "True"), condition("MachineRegistered", "True"))
    waiting = condition(
        "MachineInitialized", "False", "StartupTaintsExist", 'StartupTaint "a.b/c:NoSchedule" still'
    )
    found = cause(claim(*joined, waiting, kind="Machine", nodeName="gpu-a"), nodes=(node("gpu-a"),))
    assert (found.code, "a.b/c:NoSchedule" in found.message) == ("node-not-initialized", True)


# --- claims that go, are gone, or are not what was promised ----------------------------------------------


def test_a_claim_that_goes_says_what_asked_for_it() -> None:
    going: dict[str, Any] = {"metadata": {"deletionTimestamp": ago(30)}}
    drifted = claim(
        *JOINED, condition("DisruptionReason", "True", "Drifted", "Drifted"), nodeName="gpu-a", **going
    )
    found = cause(drifted)
    assert (found.code, found.weight) == ("node-claim-terminating", "wait")
    assert found.message == (
        "node gpu-a is being removed: it differed from its NodePool or node class, or their image is newer "
        "(drift)"
    )
    assert "karpenter.sh/do-not-disrupt" in found.hint
    unknown = claim(
        *JOINED, condition("DisruptionReason", "True", "NewReason", ""), nodeName="gpu-a", **going
    )
    assert cause(unknown).message == "node gpu-a is being removed: NewReason"
    bare = cause(claim(*JOINED, nodeName="gpu-a", **going))
    assert (bare.message, "who asked for its deletion" in bare.hint) == (
        "node gpu-a is being removed",
        True,
    )
    old: dict[str, Any] = {"metadata": {"creationTimestamp": ago(86_400 + 60), "deletionTimestamp": ago(30)}}
    aged = claim(*JOINED, nodeName="gpu-a", **old)
    for limit, has_expired in (
        ("24h", True),
        ("24h0m0s", True),
        ("23h", False),
        ("720h", False),
        ("Never", False),
    ):
        aged["spec"] = {"expireAfter": limit}
        assert ("expireAfter" in cause(aged).message) == has_expired, limit
    late = claim(condition("Launched", "True"), condition("Registered", *AWAITING), **going)
    assert (cause(late).code, "did not join within 15m" in cause(late).message) == (
        "node-claim-pending",
        True,
    )


DRIFTED = condition("Drifted", "True", "NodePoolDrifted", "NodePoolDrifted")


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (("SpotInterrupted", "Spot interruption warning was triggered"), "(interruption)"),
        (("PreemptScheduled", "Preempt Scheduled: Sat"), "(interruption)"),
        (("TerminatingOnInterruption", "Interruption triggered termination"), "(interruption)"),
        (("InstanceTerminating", "Instance is terminating"), "deleted in the cloud"),
        (("DisruptionTerminating", "Disrupting NodeClaim: Underutilized/Delete"), "(consolidation)"),
    ],
)
@pytest.mark.parametrize("chosen", [(), (condition("DisruptionReason", "True", "Drifted", "Drifted"),)])
def test_a_drifted_claim_that_goes_for_another_reason_is_not_called_drift(
    told: tuple[str, str], words: str, chosen: tuple[Object, ...]
) -> None:
    going = claim(*JOINED, DRIFTED, *chosen, metadata={"deletionTimestamp": ago(30)}, nodeName="gpu-a")
    found = cause(going, events=(event("ws0123abc", *told),))
    assert (words in found.message, "drift" in found.message) == (True, False)


def test_drift_alone_is_what_may_have_removed_a_node() -> None:
    times = {"creationTimestamp": ago(86_400 + 60), "deletionTimestamp": ago(30)}
    found = cause(claim(*JOINED, DRIFTED, metadata=times, nodeName="gpu-a"))
    assert "gpu-a is being removed: perhaps since it differed" in found.message
    assert "check who asked for its deletion; if nobody did, " in found.hint
    old = claim(*JOINED, DRIFTED, metadata=times, spec={"expireAfter": "24h"}, nodeName="gpu-a")
    assert ("expireAfter" in cause(old).message, "drift" in cause(old).message) == (True, False)


def test_a_node_with_fewer_gpus_than_promised_is_told() -> None:
    ready = claim(
        *JOINED,
        condition("Initialized", "True"),
        condition("Ready", "True"),
        condition("ConsistentStateFound", "False", "ConsistencyCheckFailed", "Consistency Check Failed"),
    )
    told = event("ws0123abc", "FailedConsistencyCheck", "expected 4 of resource nvidia.com/gpu, but found 3")
    found = cause(ready, events=(told,))
    assert (found.code, "found 3" in found.message) == ("node-claim-inconsistent", True)


def test_of_a_claim_that_vanished_its_events_are_left() -> None:
    words = "NodeClaim {} event: all requested instance types were unavailable during launch"
    mine = event("default-falcon-x7k2p", "InsufficientCapacityError", words.format("default-falcon-x7k2p"))
    assert cause(events=(mine,)).code == "instance-type-unavailable"
    own = next(names(seen().workspace or {}))
    ours = event(own, "InsufficientCapacityError", words.format(own))
    assert not any("can no longer be seen" in told for _, told in cause(events=(ours,)).evidence)
    kaitos = event("ws0123abcd", "InsufficientCapacityError", words.format("ws0123abcd"))
    found = cause(events=(kaitos,))
    assert found.code == "instance-type-unavailable"
    assert any("can no longer be seen" in words for _, words in found.evidence)
    for other in (
        event("default-pool-abc", "InsufficientCapacityError", "another pool's"),
        event("ws0123abcd", "InsufficientCapacityError", "yesterday's", age_s=90_000),
    ):
        shown = diagnose(seen(events=(other,)), NOW).cause
        assert shown is None or shown.code != "instance-type-unavailable"


ICE = (
    "NodeClaim {} event: creating instance, insufficient capacity, with fleet error(s), "
    "InsufficientInstanceCapacity: We currently do not have sufficient {} capacity in the Availability Zone"
)


@pytest.mark.parametrize(
    ("reason", "said", "code"),
    [
        ("InsufficientCapacityError", ICE, "instance-type-unavailable"),
        ("LaunchFailed", "NodeClaim {} event: VcpuLimitExceeded: of {}", "quota-exceeded"),
        ("NodeClassNotReady", "NodeClaim {} event: NodeClass is not ready for {}", "node-class-not-ready"),
        ("LaunchFailed", "NodeClaim {} event: something new about {}", "node-claim-pending"),
    ],
)
@pytest.mark.parametrize("present", [(), (condition("Launched", *AWAITING),)])
def test_the_next_claim_is_judged_by_what_became_of_the_one_before(
    present: tuple[Object, ...], reason: str, said: str, code: str
) -> None:
    """It is as young as ever: Karpenter deletes what it finds no capacity for, and KAITO asks again."""
    kind = node_check.instance_type_of(seen().workspace or {})
    young = claim(*present, name="ws0aaaaaaa", age_s=23)
    gone = event("ws0123abcd", reason, said.format("ws0123abcd", kind))
    found = cause(young, events=(gone,))
    assert found.code == code
    assert any("can no longer be seen" in words for _, words in found.evidence) == (
        code != "node-claim-pending"
    )
    own = next(names(seen().workspace or {}))
    ours = event(own, reason, said.format(own, "a machine"))
    assert cause(young, events=(ours,)).code == code
    for other in (
        event("ws0123abcd", reason, said.format("ws0123abcd", "another_type")),  # whose, nobody knows
        event("ws0123abcd", reason, said.format("ws0123abcd", kind), age_s=3700),
        event("default-pool-abc", reason, said.format("default-pool-abc", kind)),
    ):
        assert cause(young, events=(other,)).code == "node-claim-pending"
    is_under_way = claim(*JOINED, name="ws0aaaaaaa")
    assert cause(is_under_way, events=(gone,)).code not in ("instance-type-unavailable", "quota-exceeded")


def test_of_a_launch_that_failed_the_headline_is_the_clouds_sentence() -> None:
    dump = (
        'creating instance, agentPool.BeginCreateOrUpdate for "ws0123abc" failed: PUT https://management.azure.com/'
        f"agentPools/ws0123abc {'-' * 80} RESPONSE 403: 403 Forbidden ERROR CODE: RequestDisallowedByPolicy "
        f'{"-" * 80} {{ "code": "RequestDisallowedByPolicy", "message": "It needs a tag." }} {"-" * 80}'
    )
    found = cause(claim(condition("Launched", "Unknown", "LaunchFailed", dump)))
    assert found.message.endswith("could not be launched: RequestDisallowedByPolicy: It needs a tag.")
    assert found.evidence[0][1] == "Unknown LaunchFailed: RequestDisallowedByPolicy: It needs a tag."
    told = event(
        "ws0123abc",
        "InsufficientCapacityError",
        ICE.format("ws0123abc", "p4d") + " you requested (us-west-2b)",
    )
    found = cause(claim(condition("Launched", *AWAITING)), events=(told,))
    assert found.message.endswith("to give in us-west-2b")


def test_what_the_cluster_says_outranks_what_rules_make_of_the_manifest() -> None:
    def told(message: str, *events: Object, reason: str = "WorkspaceInferenceStatusFailed") -> str:
        broken = seen(events=events)
        assert broken.workspace
        broken.workspace["inference"] = {"preset": {"name": "no-such-preset"}}
        found = {"type": "InferenceReady", "status": "False", "reason": reason, "message": message}
        broken.workspace["status"]["conditions"].append({**found, "observedGeneration": 1})
        first = diagnose(broken, NOW).cause
        assert first
        return first.code

    assert told("unsupported inference preset name no-such-preset") == "workspace-invalid"
    assert told('admission webhook "validation.workspace.kaito.sh" denied the request') == "workspace-invalid"
    for words in (
        'deployments.apps is forbidden: User "system:serviceaccount:kaito:kaito" cannot create resource',
        'pods "falcon" is forbidden: exceeded quota: gpus, requested: 1, used: 4, limited: 4',
        'no matches for kind "NodeClaim" in version "karpenter.sh/v1"',
        'admission webhook "validate.kyverno.svc-fail" denied the request: no',
        'Internal error occurred: failed calling webhook "x.y.z": connection refused',
    ):
        assert told(words) != "workspace-invalid", words
    own = next(names(seen().workspace or {}))
    gone = event(own, "InsufficientCapacityError", ICE.format(own, "a machine"))
    assert told("node claims not ready", gone) == "instance-type-unavailable"


@pytest.mark.parametrize(
    ("kind", "reason", "message", "code"),
    [
        ("NodeClassReady", "NodeClassNotFound", "NodeClass not found on cluster", "node-class-not-ready"),
        ("NodeClassReady", "ImagesReady", "no images were found", "node-class-not-ready"),
        ("NodeRegistrationHealthy", "SubscriptionQuotaReached", "quota", "quota-exceeded"),
        ("NodeRegistrationHealthy", "RegistrationFailed", "Failed to register node", "node-claim-failed"),
        ("ValidationSucceeded", "NodePoolValidationFailed", "invalid requirement", "node-claim-failed"),
    ],
)
def test_a_node_pool_says_why_it_makes_no_nodes(kind: str, reason: str, message: str, code: str) -> None:
    pool = {
        "kind": "NodePool",
        "metadata": {"name": "default-falcon"},
        "status": {"conditions": [condition(kind, "False", reason, message)]},
    }
    found = cause(pools=(pool,))
    assert (found.code, text(found.command)) == (
        code,
        "kubectl describe nodepools.karpenter.sh default-falcon",
    )
    assert message in found.message or code == "quota-exceeded"


def test_limits_of_a_node_pool_stand_in_karpenters_events_of_the_pod() -> None:
    pod = {"kind": "Pod", "metadata": {"name": "falcon-0"}, "spec": {}, "status": {"phase": "Pending"}}
    words = 'Failed to schedule pod, all available instance types exceed limits for nodepool "default-falcon"'
    told = event("falcon-0", "FailedScheduling", words, kind="Pod")
    assert cause(pods=(pod,), events=(told,)).code == "node-pool-limit"


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("MultipleNodesFound", "stale"),
        ("UnregisteredTaintNotFound", "karpenter.sh/unregistered:NoExecute"),
        ("UnregisteredTaintMissing", "karpenter.sh/unregistered:NoExecute"),
        ("RegistrationHookPending", "provider's controller"),
    ],
)
def test_a_machine_that_has_come_up_is_not_sought_in_its_start_up_log(reason: str, advice: str) -> None:
    waiting = condition("Registered", "False", reason, "Invariant violated")
    found = cause(claim(condition("Launched", "True"), waiting, age_s=1800))
    assert advice in text(found.hint)
    assert "start-up log" not in text(found.hint)


@pytest.mark.parametrize("deleted", [{}, {"deletionTimestamp": ago(30)}])
@pytest.mark.parametrize(
    ("reason", "said", "code"),
    [
        ("InsufficientCapacityError", "insufficient capacity", "instance-type-unavailable"),
        ("NodeClassNotReady", "NodeClass default is not ready", "node-class-not-ready"),
    ],
)
def test_an_event_tells_of_a_launch_that_no_condition_tells_of(
    reason: str, said: str, code: str, deleted: Object
) -> None:
    told = event("ws0123abc", reason, f"NodeClaim ws0123abc event: {said}")
    found = cause(claim(condition("Launched", *AWAITING), metadata=deleted), events=(told,))
    assert found.code == code
    other = event("ws0123abc", "DisruptionBlocked", "Pod has karpenter.sh/do-not-disrupt")
    assert cause(claim(condition("Launched", *AWAITING)), events=(other,)).code == "node-claim-pending"
    joined = claim(*JOINED, condition("Initialized", "Unknown", "NodeNotReady", "Node status is NotReady"))
    assert cause(joined, events=(told,)).code == "node-not-initialized"


@pytest.mark.parametrize(
    "said",
    [
        "AADSTS7000222: The provided client secret keys for app 'a' are expired",
        "ExpiredToken: The security token included in the request is expired",
        "operation error STS: AssumeRoleWithWebIdentity, InvalidClientTokenId: bad token",
    ],
)
def test_a_provisioner_that_cannot_log_in_needs_credentials(said: str) -> None:
    found = cause(claim(condition("Launched", "Unknown", "LaunchFailed", f"creating instance, {said}")))
    assert (found.code, "credentials" in text(found.hint)) == ("node-claim-failed", True)


def test_after_hours_nobody_is_advised_to_wait_minutes() -> None:
    waiting = condition("Launched", *AWAITING)
    assert "minutes" in text(cause(claim(waiting, age_s=60)).hint)
    assert "minutes" not in text(cause(claim(waiting, age_s=60000)).hint)


@pytest.mark.parametrize(
    ("words", "code", "hint", "weight"),
    [
        ("RequestLimitExceeded: Request limit exceeded.", "node-claim-failed", "tried again", "wait"),
        (
            "googleapi: Error 403: Rate Limit Exceeded, rateLimitExceeded",
            "node-claim-failed",
            "again",
            "wait",
        ),
        ("TooManyRequests: The request is being throttled.", "node-claim-failed", "tried again", "wait"),
        ("Quota 'NVIDIA_A100_GPUS' exceeded. Limit: 0.0", "quota-exceeded", "raise the quota", "fault"),
        (
            "Unsupported: Your requested instance type (p5.48xlarge) is not supported in your requested "
            "Availability Zone (us-east-1f).",
            "instance-type-unavailable",
            "another type",
            "fault",
        ),
        (
            "resolving amis: no amis exist given constraints",
            "node-class-not-ready",
            "names an image",
            "fault",
        ),
        (
            "resolving security groups: no security groups exist given constraints",
            "node-class-not-ready",
            "security group",
            "fault",
        ),
        (
            "MarketplacePurchaseEligibilityFailed: Offer is not available for purchase in your region",
            "node-class-not-ready",
            "may not use",
            "fault",
        ),
        (
            "PlatformImageNotFound: The platform image is not available",
            "node-class-not-ready",
            "image",
            "fault",
        ),
        (
            "Client.InvalidKMSKey.InvalidState: The KMS key provided is in an incorrect state",
            "node-claim-failed",
            "encrypted",
            "fault",
        ),
    ],
)
def test_what_clouds_say_of_a_launch_has_its_own_advice(
    words: str, code: str, hint: str, weight: str
) -> None:
    found = diagnose(seen(claim(condition("Launched", "Unknown", "LaunchFailed", words))), NOW).cause
    assert found is not None
    assert (found.code, found.weight) == (code, weight)
    assert hint in text(found.hint)
    assert "log" not in text(found.hint) or weight == "wait"


@pytest.mark.parametrize("says", [True, False])
@pytest.mark.parametrize(
    ("labels", "capacity", "allocatable", "code", "words"),
    [
        ({}, {}, {}, "device-plugin-missing", "shows no nvidia.com/gpu"),
        (
            {},
            {"nvidia.com/gpu": "2"},
            {"nvidia.com/gpu": "0"},
            "gpu-not-allocatable",
            "has 2 GPUs, and none is",
        ),
        ({"nvidia.com/gpu.deploy.device-plugin": "false"}, {}, {}, "gpu-not-allocatable", "switched off"),
        ({"nvidia.com/gpu.product": "A100"}, {}, {}, "gpu-not-allocatable", "its labels say A100"),
        (
            {},
            {"nvidia.com/mig-1g.5gb": "7"},
            {"nvidia.com/mig-1g.5gb": "7"},
            "only-mig-slices",
            "only MIG slices",
        ),
        ({}, {"nvidia.com/gpu.shared": "4"}, {"nvidia.com/gpu.shared": "4"}, "gpus-renamed", "shared GPUs"),
    ],
)
def test_why_a_node_that_has_joined_has_no_gpus_is_what_check_nodes_says(
    labels: Any, capacity: Any, allocatable: Any, code: str, words: str, says: bool
) -> None:
    told = ("ResourceNotRegistered", 'Resource "nvidia.com/gpu" was requested but not registered')
    joined = claim(
        condition("Launched", "True"),
        condition("Registered", "True"),
        condition("Initialized", "Unknown", *told) if says else condition("Initialized", "True"),
        condition("Ready", "Unknown"),
        nodeName="gpu-1",
    )
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": ago(900)}
    node = {
        "kind": "Node",
        "metadata": {"name": "gpu-1", "labels": labels},
        "status": {"capacity": capacity, "allocatable": allocatable, "conditions": [ready]},
    }
    found = diagnose(seen(joined, nodes=(node,)), NOW).cause
    assert found is not None
    assert (found.code, found.about) == (code, "NodeClaim ws0123abc")
    assert words in found.message
    assert "gpu-1 has joined" in found.message


@pytest.mark.parametrize("kind", ["NodeClaim", "Machine", "NodePool"])
def test_a_kind_that_the_cluster_does_not_have_is_not_one_with_conditions(kind: str) -> None:
    waiting = seen()
    words = f'no matches for kind "{kind}" in version "karpenter.sh/v1"'
    told = waiting.workspace["status"]["conditions"][0]  # type: ignore[index]
    told |= {"reason": "workspaceResourceStatusFailed", "message": words, "lastTransitionTime": ago(1700)}
    found = diagnose(waiting, NOW).cause
    assert found is not None
    assert f"does not have the kind {kind}" in str(found.hint)
    assert text(found.command) == "kubectl get crd"


CSE = "VM has reported a failure when processing extension vmssCSE: command terminated with exit status={}"


@pytest.mark.parametrize(
    ("age_s", "registered", "words", "is_told"),
    [
        (60, "Unknown", CSE.format(50), True),
        (60, "Unknown", CSE.format(52), True),
        (
            60,
            "Unknown",
            "Operation could not be completed as it results in exceeding approved cores quota",
            True,
        ),
        (60, "Unknown", "something new", False),
        (60, "True", CSE.format(50), False),
        (86000, "Unknown", CSE.format(50), False),
    ],
)
def test_a_machine_that_fails_as_it_starts_is_not_one_that_is_waited_for(
    age_s: float, registered: str, words: str, is_told: bool
) -> None:
    launched = {**condition("Launched", "True"), "lastTransitionTime": ago(600)}
    starting = claim(launched, condition("Registered", registered), condition("Initialized", "Unknown"))
    said = event("ws0123abc", "AsyncProvisioningError", words, age_s=age_s)
    found = diagnose(seen(starting, events=(said,)), NOW).cause
    assert found is not None
    assert (found.code in ("node-claim-failed", "quota-exceeded")) is is_told
    assert ("could not be prepared" in found.message) is (is_told and "vmssCSE" in words)
