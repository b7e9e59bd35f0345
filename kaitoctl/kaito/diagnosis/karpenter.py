"""What Karpenter and KAITO's gpu-provisioner say of NodeClaims: conditions, events, taints.

Sources, as read:

- sigs.k8s.io/karpenter v1.14 (2266468): pkg/controllers/nodeclaim/lifecycle/{launch,registration,
  initialization,liveness}.go, nodeclaim/consistency, node/termination, nodepool/{readiness,validation},
  pkg/events/reason.go, pkg/scheduling/taints.go
- Azure/karpenter-provider-azure (352646f): pkg/cloudprovider/cloudprovider.go,
  pkg/providers/instance/offerings/commonerrorhandlers.go
- aws/karpenter-provider-aws (1d92708): pkg/errors/errors.go, pkg/cloudprovider, pkg/providers/instance
- Azure/gpu-provisioner (c09a56c), which is built on Karpenter v1.7
- Machine of karpenter v0.29, which KAITO v0.3 writes: the same conditions, called MachineLaunched and so on

Whatever reason is not here is shown with its own message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct

from kaitoctl.kaito.launch_failures import PASSES


class Reason(Struct, frozen=True):
    """What a reason means.

    Args:
        code: a key of `codes.CODES`.
        hint: what to do; empty for what is said of the code.
        passes: whether it may pass by itself.
        of: what a quota is of that is none of machines.
    """

    code: str
    hint: str = ""
    passes: bool = False
    of: str = ""


_QUOTA = Reason("quota-exceeded")
_SPOT_QUOTA = Reason(
    "quota-exceeded",
    "raise the quota for spot machines, which all families share, or take machines that are not spot",
)
_SPOT_ROLE = Reason(
    "node-claim-failed",
    "let an administrator create the service-linked role of EC2 Spot, once in an account, or take machines "
    "that are not spot",
)
_AS_MANY = "raise it, or delete those that nobody needs; another type needs as many"
_NO_MACHINE = Reason("instance-type-unavailable")
_NOT_OFFERED = Reason(
    "instance-type-unavailable",
    "waiting does not help: ask the cloud to allow it to this subscription, or take another type: ",
)
_CLASS = Reason("node-class-not-ready")
_RIGHTS = Reason(
    "node-claim-failed", "give the node provisioner's identity the rights that the message names"
)
_FAILED = Reason("node-claim-failed")
_BUSY = Reason(
    "node-claim-failed", "it is tried again; if it stays so, check the node provisioner's log", True
)

LAUNCH: Mapping[str, Reason] = MappingProxyType(
    {
        # Azure
        "SubscriptionQuotaReached": _QUOTA,
        "SKUNotAvailable": _NO_MACHINE,
        "AllocationFailure": _NO_MACHINE,
        "ZonalAllocationFailure": _NO_MACHINE,
        "OverconstrainedAllocationFailure": _NO_MACHINE,
        "OverconstrainedZonalAllocationFailure": _NO_MACHINE,
        "NodeClassResolutionError": _CLASS,
        # AWS
        "VCPULimitExceeded": _QUOTA,
        "SpotQuotaExceeded": _SPOT_QUOTA,
        "FleetQuotaExceeded": _QUOTA,
        "AMINotFound": _CLASS,
        "InvalidAMIID": _CLASS,
        "AMIAuthorizationFailure": _CLASS,
        "SecurityGroupSubnetVPCMismatch": _CLASS,
        "InstanceProfileNameInvalid": _CLASS,
        "LaunchTemplateNotFound": _CLASS,
        "UserDataSizeLimitExceeded": _CLASS,
        "SubnetResolutionFailed": _CLASS,
        "InsufficientFreeAddressesInSubnet": Reason(
            "node-claim-failed", "the subnet has no free addresses: give the node class a larger one"
        ),
        "Unauthorized": _RIGHTS,
        "SpotSLRCreationFailed": _SPOT_ROLE,
        "FreeTierIneligible": _NO_MACHINE,
        "AccountPendingVerification": _FAILED,
        "RequestLimitExceeded": _BUSY,
        "InternalError": _BUSY,
        # both, and Karpenter itself: events and conditions of NodePools
        "NodeClassReadinessUnknown": Reason("node-class-not-ready", passes=True),
        "NodeClassNotReady": _CLASS,
        "NodeClassNotFound": _CLASS,
        "NodeClassTerminating": _CLASS,
        "InstanceTypeResolutionFailed": _NO_MACHINE,
        "InsufficientCapacityError": _NO_MACHINE,
        "NoCompatibleInstanceTypes": _NO_MACHINE,
    }
)
"""By reason of a condition `Launched`, `NodeClassReady` or `NodeRegistrationHealthy`, or of an event.

`LaunchFailed`, `CreateInstanceFailed` and `AsyncProvisioningError` are not here: they are reasons for
everything, so that their message decides.
"""


_QUOTA_WORDS = r"(?i)quota|limit ?exceeded|VcpuLimit|exceeding approved|MaxSpotInstanceCount"
_UNAVAILABLE = (
    r"(?i)instance types were unavailable|InsufficientCapacity|InsufficientInstanceCapacity|Sku ?Not "
    r"?Available|"
    r"ZonalAllocation|OverconstrainedAllocation|Allocation ?Fail|InstanceTypeNotFound|not available in|"
    r"sold out|unable to allocate resources|SKU is unavailable|no instance types available|"
    r"ZONE_RESOURCE_POOL_EXHAUSTED|STOCKOUT|not have (?:enough|sufficient) (?:resources|capacity)|"
    r"(?:VM|machine) size\b.{1,80}(?:not allowed|not supported|not available)|NotAvailableForSubscription|"
    r"(?:instance|machine) type .{1,120}not supported in your requested|Unsupported: The requested config|"
    r"UnfulfillableCapacity|ReservationCapacityExceeded|insufficient capacity|Insufficient\w{1,30}Capacity|"
    r"SpotMaxPriceTooLow|InsufficientCapacityOnHost|RESOURCE_POOL_EXHAUSTED"
)
_CLASS_WORDS = r"(?i)node ?class"
_RIGHTS_WORDS = (
    r"(?i)AuthorizationFailed|not authorized|AccessDenied|Unauthorized|does not have authorization|forbidden"
)
_OF_START = r"(?i)vmssCSE.{0,40}?exit status ?= ?"
_WORDS: tuple[tuple[str, Reason], ...] = (
    (PASSES, _BUSY),  # of requests, not of machines
    # A machine came up, and what prepares it failed. Source: Azure/AgentBaker
    # parts/linux/cloud-init/artifacts/cse_helpers.sh (ERR_...).
    (
        rf"{_OF_START}(?:50|9|2[0-2]|2[5-9]|31|33|41|42|45|7[01]|99)\b",
        Reason(
            "node-claim-failed",
            "the machine came up and could not download what it needs: let its subnet reach what the cloud "
            "requires (firewall, routes, network security group, proxy)",
        ),
    ),
    (
        rf"{_OF_START}5[1-3]\b",
        Reason(
            "node-claim-failed",
            "the machine came up and does not reach the API server: check the DNS of its network (of a "
            "private cluster: the zone's link), its routes and firewall",
        ),
    ),
    (
        rf"{_OF_START}8[3-7]\b",
        Reason(
            "node-claim-failed",
            "the machine came up, and its GPU driver or device plugin could not be installed: another "
            "machine may do; if it stays so, check the node image",
        ),
    ),
    (
        r"(?i)VMExtension(?:Provisioning|Handler)\w*|vmssCSE|CustomScriptExtension",
        Reason(
            "node-claim-failed",
            "the machine came up, and the script that prepares it failed: its exit code, and its log at the "
            "cloud, say why",
        ),
    ),
    # Source: EC2 errors-overview (client error codes); Azure Compute usage (PremiumDiskCount), Azure Network
    # (PublicIPCountLimitReached); Google Compute Engine regional quotas (SSD_TOTAL_GB).
    *(
        (pattern, Reason("quota-exceeded", _AS_MANY, of=what))
        for pattern, what in (
            (
                r"(?:Volume|IOPS|Snapshot)\w{0,20}LimitExceeded|maximum \S{1,20} storage limit|"
                r"\b(?:SSD|DISKS|LOCAL_SSD|HYPERDISK)\w{0,40}_(?:TOTAL_GB|GB)\b|"
                r"\b(?:Premium|Standard|Ultra)\w{0,20}Disk\w{0,20}Count\b",
                "disks",
            ),
            (
                r"(?i)PublicIP\w{0,30}Limit|\bAddressLimitExceeded|(?:IN_USE|STATIC)_ADDRESSES|"
                r"more than \d+ public IP",
                "public IP addresses",
            ),
            (r"(?i)NetworkInterface\w{0,20}Limit", "network interfaces"),
            (r"(?i)SecurityGroup\w{0,30}Limit", "security groups"),
        )
    ),
    (r"(?i)LowPriority ?Cores|MaxSpotInstanceCount|spot .{0,40}quota", _SPOT_QUOTA),
    (_QUOTA_WORDS, _QUOTA),
    (
        r"(?i)SubnetIsFull|InsufficientSubnetSize|free addresses|available IPs?\b|\bIPs available|"
        r"\bIP (?:space|address)",
        Reason(
            "node-claim-failed",
            "the subnet has no free addresses: enlarge the subnet, or give the node class another",
        ),
    ),
    (
        r"(?i)RequestDisallowedByPolicy|constraints/compute|organization policy",
        Reason("node-claim-failed", "a policy of the cloud forbids the machine: ask who owns that policy"),
    ),
    (
        r"(?i)ReadOnlyDisabledSubscription|SubscriptionNotRegistered|MissingSubscriptionRegistration|"
        r"subscription .{1,120}(?:is disabled|not registered)|OptInRequired|PendingVerification|"
        r"NoRegisteredProviderFound|FeatureNotRegistered|SERVICE_DISABLED|has not been used in project|"
        r"account is (?:currently )?(?:blocked|suspended)|"
        r"billing .{0,60}(?:disabled|not enabled)|accountDisabled",
        Reason(
            "node-claim-failed",
            "the cloud lets this account (subscription, project) have no machines: ask its owner to enable "
            "or register it",
        ),
    ),
    (
        r"(?i)not allowed in your subscription|NotAvailableForSubscription|VMSizeNotSupported|InvalidVMSize|"
        r"not supported for (?:this )?subscription|VMSizeIsNotPermitted",
        _NOT_OFFERED,
    ),
    (r"(?i)ServiceLinkedRoleCreationNotPermitted|service-linked role", _SPOT_ROLE),
    (
        r"(?i)AvailabilityZoneNotSupported|zones? \S{1,40} (?:is |are )?not supported|"
        r"not supported in your requested Availability Zone|"
        r"machine type with name .{1,120} does not exist in zone|not available in (?:availability )?zones?\b",
        Reason(
            "instance-type-unavailable",
            "waiting does not help: this zone does not have the type: let the node class or pool take other "
            "zones, or take another type: ",
        ),
    ),
    (
        r"(?i)AgentPoolLimitReached|max(?:imum)? (?:number of )?(?:agent|node) ?pools",
        Reason(
            "node-claim-failed",
            "the cluster has as many node pools as the cloud lets it: delete those that nobody needs",
        ),
    ),
    (
        r"(?i)ScopeLocked|scope\(s\) are locked",
        Reason("node-claim-failed", "a lock of the cloud forbids it: ask who has locked the resource group"),
    ),
    (
        r"(?i)K8sVersionNotSupported|Version \S{1,20} is not supported in this region",
        Reason("node-claim-failed", "the cloud makes no nodes of this release any more: upgrade the cluster"),
    ),
    (
        r"(?i)Hypervisor Generation|OS disk of Ephemeral VM|DiffDiskPlacement",
        Reason(
            "node-claim-failed",
            "the type and the node's image or disk do not go together: take another type, or another image "
            "family or disk in the node class",
        ),
    ),
    (
        r"(?i)resolving (?:amis?|images?|security groups?|subnets?|instance profile|launch template)|"
        r"no (?:amis|images|security groups|subnets) (?:exist|found|match)|InvalidAMI|"
        r"Invalid(?:SubnetID|Group|SecurityGroupID|KeyPair|LaunchTemplate\w{0,20})\.\w*NotFound|"
        r"(?:Platform|Gallery)?Image ?(?:Version)? ?Not ?Found|MarketplacePurchaseEligibility|"
        r"InvalidTemplateDeployment.{0,80}image",
        Reason(
            "node-class-not-ready",
            "the node class (AKSNodeClass, EC2NodeClass) names an image, subnet or security group that there "
            "is "
            "not, or that this account may not use: correct it",
        ),
    ),
    (_UNAVAILABLE, _NO_MACHINE),
    (
        r"(?i)(?:IAM )?Instance ?Profile",
        Reason(
            "node-class-not-ready",
            "the node class names an instance profile that there is not, or that may not be used: correct it",
        ),
    ),
    # Source: Azure/gpu-provisioner (c09a56c) pkg/providers/instance/instance.go.
    (
        r"no requirement for instance type|storage request of nodeclaim\S* should be",
        Reason(
            "node-claim-failed",
            "the NodeClaim lacks what gpu-provisioner needs: check who wrote it, and that the releases of "
            "KAITO and of gpu-provisioner go together",
        ),
    ),
    (
        r"fail to find the node object|cannot find a ready instance",
        Reason(
            "node-claim-failed",
            "the machine was created and its node has not joined: check its start-up log at the cloud, and "
            "that it reaches the API server",
        ),
    ),
    (
        r"ResourceNotFound|The Resource '[^']{1,300}' under resource group|ResourceGroupNotFound|"
        r"ParentResourceNotFound",
        Reason(
            "node-claim-failed",
            "the message names something at the cloud that is not there (network, subnet, resource group): "
            "create it, or correct its name in the node class or the node provisioner's settings",
        ),
    ),
    (
        r"(?i)AADSTS\d+|client secret|invalid_client|ExpiredToken|InvalidClientTokenId|WebIdentityErr|"
        r"UnrecognizedClient|SignatureDoesNotMatch|no EC2 IMDS role|ChainedTokenCredential|"
        r"DefaultAzureCredential|NoCredential|AZURE_FEDERATED_TOKEN_FILE|confidential client app|"
        r"malformed cert pem",
        Reason(
            "node-claim-failed",
            "the node provisioner cannot log in to the cloud: renew its credentials (workload identity, "
            "client secret)",
        ),
    ),
    (_CLASS_WORDS, _CLASS),
    (
        r"(?i)KMS ?key|InvalidKMSKey|DiskEncryptionSet|KeyVault|customer.managed key",
        Reason(
            "node-claim-failed",
            "the key that disks are encrypted with cannot be used: check its state, and who may use it",
        ),
    ),
    (_RIGHTS_WORDS, _RIGHTS),
    (r"\b429\b", _BUSY),
)


_ADDRESS = re.compile(r"https?://\S+")  # aka.ms/cpu-quota stands also in words that are of no quota


def by_words(words: str) -> Reason:
    """What a message means whose reason is one for everything."""
    words = _ADDRESS.sub("", words)
    return next((reason for pattern, reason in _WORDS if re.search(pattern, words)), _FAILED)


def of_launch(reason: str, words: str) -> Reason:
    """What a launch failed on: by its reason, and by the message where that says more of the same kind."""
    known, told = LAUNCH.get(reason), by_words(words)
    if known is None or (told.code == known.code and told.hint and not known.hint):
        return told
    return known


def tells(words: str) -> bool:
    """Whether a message says what is wrong, and not merely that something is."""
    return by_words(words) is not _FAILED


AWAITING = ("", "AwaitingReconciliation")
"""What a condition says that nobody has worked on yet (github.com/awslabs/operatorpkg status)."""

_NO_TAINT = "its node lacks the taint that Karpenter expects of a new node, karpenter.sh/unregistered"
_TAINT_HINT = (
    "let the node class or image start the kubelet with the taint karpenter.sh/unregistered:NoExecute "
    "(--register-with-taints)"
)
REGISTRATION: Mapping[str, str] = MappingProxyType(
    {
        "NodeNotFound": "",
        "MultipleNodesFound": "several nodes have the identity of its machine",
        "RegistrationHookPending": "its node waits for a hook of the provider: {message}",
        "UnregisteredTaintNotFound": _NO_TAINT,  # a condition of older releases
        "UnregisteredTaintMissing": _NO_TAINT,  # later an event
    }
)
"""By reason of the condition `Registered`: what the machine waits for; empty for "it has not joined"."""

REGISTRATION_HINTS: Mapping[str, str] = MappingProxyType(
    {
        "MultipleNodesFound": "check which Node of its provider id is stale, and who made it",
        "RegistrationHookPending": "check the log of the provider's controller",
        "UnregisteredTaintNotFound": _TAINT_HINT,
        "UnregisteredTaintMissing": _TAINT_HINT,
    }
)
"""By the same reasons: what to do where the machine has come up, so that its start-up log says nothing."""

INITIALIZATION: Mapping[str, str] = MappingProxyType(
    {
        "NodeNotFound": "node {node} had joined and is gone",
        "NodeNotReady": "node {node} has joined and is not Ready: {ready}",
        "StartupTaintsExist": "node {node} has joined and waits for taint {taint}, which {who} removes",
        "KnownEphemeralTaintsExist": "node {node} has joined and waits for taint {taint}, which {who} "
        "removes",
        "ResourceNotRegistered": "node {node} has joined and does not offer {resource} yet",
        "DRADriverPoolsNotPublished": "node {node} has joined, and its DRA driver {resource} has not "
        "published its devices",
    }
)
"""By reason of the condition `Initialized`."""

TAINTS: Mapping[str, str] = MappingProxyType(
    {
        "node.cilium.io/agent-not-ready": "Cilium's agent on the node",
        "karpenter.sh/unregistered": "Karpenter, when it has registered the node,",
        "node.cloudprovider.kubernetes.io/uninitialized": "the cloud controller manager",
        "node.kubernetes.io/not-ready": "Kubernetes, when the kubelet is ready (network plugin),",
        "node.kubernetes.io/unreachable": "Kubernetes, when the kubelet answers again,",
        "node.kubernetes.io/network-unavailable": "the network plugin or the cloud's route controller",
        "cni.istio.io/not-ready": "Istio's CNI plugin on the node",
        "disk.csi.azure.com/agent-not-ready": "the CSI driver of Azure Disk on the node",
        "file.csi.azure.com/agent-not-ready": "the CSI driver of Azure Files on the node",
        "ebs.csi.aws.com/agent-not-ready": "the CSI driver of EBS on the node",
        "efs.csi.aws.com/agent-not-ready": "the CSI driver of EFS on the node",
        "node.gke.io/": "GKE",
        "readiness.k8s.io/": "the Node Readiness Controller",
        "startup-taint.cluster-autoscaler.kubernetes.io/": "whoever prepares the node",
        "ignore-taint.cluster-autoscaler.kubernetes.io/": "whoever prepares the node",
        "kubernetes.azure.com/": "AKS",
        "nvidia.com/gpu-driver-upgrade": "the GPU operator",
    }
)
"""By key of a taint, or the beginning of a key that ends with a slash: who takes it off when it is time."""

NOT_READY: tuple[tuple[str, str], ...] = (
    (
        r"(?i)NetworkPluginNotReady|NetworkReady=false|cni (?:plugin|config)|network plugin",
        "its network plugin (CNI) is not up",
    ),
    (r"(?i)container runtime is down|RuntimeReady=false|CRI|PLEG", "its container runtime does not work"),
    (r"(?i)NodeStatusUnknown|stopped posting node status", "its kubelet no longer answers"),
    (r"(?i)disk ?pressure|memory ?pressure|PID ?pressure", "it runs out of disk, memory or process ids"),
)
"""What a node's condition Ready says when it is not True. Source: Kubernetes 1.34 pkg/kubelet/nodestatus."""

DELETION: Mapping[str, str] = MappingProxyType(
    {
        "Drained": "its pods are being evicted",
        "VolumesDetached": "volumes have to be detached from it",
        "InstanceTerminating": "the cloud takes the machine down",
    }
)
"""By condition of a NodeClaim that is being deleted, in their order: what goes on when it is not over."""

LAUNCH_WITHIN_S, REGISTER_WITHIN_S = 300.0, 900.0
"""After so many seconds Karpenter gives a claim up (liveness.go)."""


def waits_for(taint: str) -> str:
    """Who takes a taint (`KEY=VALUE:EFFECT`) off."""
    key = taint.partition("=")[0].partition(":")[0]
    for known, who in TAINTS.items():
        if key == known or (known.endswith("/") and key.startswith(known)):
            return who
    return "whoever put it there"
