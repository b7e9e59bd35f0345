"""Taints that a controller or a platform sets and takes off again by itself. Pure.

Taking one of these off by hand does not help: its owner puts it back, or a pod lands on a node that is about
to go or cannot run it. So nothing here is ever advised to be removed; the answer is to wait, or another node.

Source, by owner: kubernetes `k8s.io/api/core/v1/well_known_taints.go` and `k8s.io/cloud-provider/api`;
karpenter `pkg/apis/v1/taints.go` and `pkg/scheduling/taints.go` (2026-08); cluster-autoscaler
`utils/taints/taints.go`; Cluster API `api/core/v1beta1/machine_types.go`; Azure/AKS CHANGELOG and
learn.microsoft.com/azure/aks/node-auto-drain; aws-node-termination-handler `docs/` (TAINT_NODE); GKE
node-termination-handler; medik8s fence-agents and self-node-remediation; Cilium installation/taints; Istio
`pilot/pkg/controllers/untaint`; AWS CSI drivers' node-startup taints; Gardener
`pkg/apis/core/v1beta1/constants`; NVIDIA/NVSentinel issues 753 and 458 (the taints and cordons of
fault-quarantine); OKE's and CAST AI's documentation of preemptible and spot nodes; NVIDIA/skyhook chart
(runtimeRequiredTaint); SlinkyProject/slurm-bridge.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

from msgspec import Struct

from kaitoctl.kube.conditions import parse_timestamp
from kaitoctl.kube.objects import Object

Kind = Literal["leaving", "starting", "trouble", "reserved", "spot"]


class Owner(Struct, frozen=True):
    """Who sets a taint, and what it means while it is there.

    Args:
        name: who takes it off again.
        kind: `leaving`: the node is about to go; `starting`: it is not ready for pods yet; `trouble`:
            something is wrong with it; `reserved`: the platform keeps it for other pods; `spot`: it may be
            taken away at any time.
    """

    name: str
    kind: Kind

    @property
    def advice(self) -> str:
        """What to do while the taint is there."""
        return {
            "leaving": f"{self.name} is taking this node away: wait for a new one, or choose another",
            "starting": f"wait: {self.name} removes it once the node is ready for pods",
            "trouble": f"check what is wrong with the node; {self.name} removes it when that has passed",
            "reserved": f"the node is kept for other pods by {self.name}: choose another",
            "spot": f"{self.name} sets it on spot nodes and sets it again: choose a regular node",
        }[self.kind]


_NODE = "Kubernetes' node controller"
_CLOUD = "the cloud controller manager"
_AUTOSCALER = "the cluster autoscaler"
_KARPENTER = "Karpenter"
_AKS_REPAIR = "AKS node auto-repair"
_NTH = "aws-node-termination-handler"
_MEDIK8S = "medik8s"

_BY_KEY: dict[str, Owner] = {
    "node.kubernetes.io/not-ready": Owner(_NODE, "trouble"),
    "node.kubernetes.io/unreachable": Owner(_NODE, "trouble"),
    "node.kubernetes.io/memory-pressure": Owner(_NODE, "trouble"),
    "node.kubernetes.io/disk-pressure": Owner(_NODE, "trouble"),
    "node.kubernetes.io/pid-pressure": Owner(_NODE, "trouble"),
    "node.kubernetes.io/network-unavailable": Owner(_NODE, "starting"),
    "node.kubernetes.io/unschedulable": Owner(_NODE, "trouble"),
    "node.kubernetes.io/out-of-service": Owner("whoever fenced the node", "trouble"),
    "weave.works/kured-node-reboot": Owner("kured", "leaving"),
    "node.cloudprovider.kubernetes.io/uninitialized": Owner(_CLOUD, "starting"),
    "node.cloudprovider.kubernetes.io/shutdown": Owner(_CLOUD, "leaving"),
    "ToBeDeletedByClusterAutoscaler": Owner(_AUTOSCALER, "leaving"),
    "DeletionCandidateOfClusterAutoscaler": Owner(_AUTOSCALER, "leaving"),
    "karpenter.sh/disrupted": Owner(_KARPENTER, "leaving"),
    "karpenter.sh/disruption": Owner(_KARPENTER, "leaving"),  # before v1
    "karpenter.sh/unregistered": Owner(_KARPENTER, "starting"),
    "remediator.kubernetes.azure.com/unschedulable": Owner(_AKS_REPAIR, "leaving"),
    "remediator.aks.microsoft.com/unschedulable": Owner(_AKS_REPAIR, "leaving"),  # before 2023
    "aws-node-termination-handler/spot-itn": Owner(_NTH, "leaving"),
    "aws-node-termination-handler/scheduled-maintenance": Owner(_NTH, "leaving"),
    "aws-node-termination-handler/asg-lifecycle-termination": Owner(_NTH, "leaving"),
    "aws-node-termination-handler/rebalance-recommendation": Owner(_NTH, "leaving"),
    "cloud.google.com/impending-node-termination": Owner("GKE", "leaving"),
    "node.cluster.x-k8s.io/uninitialized": Owner("Cluster API", "starting"),
    "node.cluster.x-k8s.io/outdated-revision": Owner("Cluster API", "leaving"),
    "node.cilium.io/agent-not-ready": Owner("Cilium's agent", "starting"),
    "cni.istio.io/not-ready": Owner("Istio's CNI", "starting"),
    "node.gardener.cloud/critical-components-not-ready": Owner("Gardener", "starting"),
    "medik8s.io/remediation": Owner(_MEDIK8S, "trouble"),
    "medik8s.io/fence-agents-remediation": Owner(_MEDIK8S, "trouble"),
    "remediation.medik8s.io/fence-agents-remediation": Owner(_MEDIK8S, "trouble"),
    "medik8s.io/drain": Owner(_MEDIK8S, "leaving"),
    "kubevirt.io/drain": Owner("KubeVirt", "leaving"),
    "mig-reconfigure": Owner("the MIG manager", "starting"),
    "kubernetes.azure.com/scalesetpriority": Owner("AKS", "spot"),
    "cloud.google.com/gke-spot": Owner("GKE", "spot"),
    "cloud.google.com/gke-preemptible": Owner("GKE", "spot"),
    "cloud.google.com/gke-quick-remove": Owner("GKE", "reserved"),
    "sandbox.gke.io/runtime": Owner("GKE Sandbox", "reserved"),
    "node-role.kubernetes.io/control-plane": Owner("the control plane", "reserved"),
    "node-role.kubernetes.io/master": Owner("the control plane", "reserved"),
    "node-role.kubernetes.io/etcd": Owner("etcd", "reserved"),
    "CriticalAddonsOnly": Owner("the cluster's own add-ons", "reserved"),
    "virtual-kubelet.io/provider": Owner("a virtual kubelet", "reserved"),
    "eks.amazonaws.com/compute-type": Owner("EKS", "reserved"),
    "kubernetes.io/arch": Owner("the platform", "reserved"),
    "kubernetes.io/os": Owner("the platform", "reserved"),
    "node.kubernetes.io/os": Owner("the platform", "reserved"),
    "skyhook.nvidia.com": Owner("NVIDIA Skyhook", "starting"),
    "google.com/tpu": Owner("GKE", "reserved"),
    "slinky.slurm.net/managed-node": Owner("Slurm", "reserved"),
    "AggregatedNodeHealth": Owner("NVSentinel", "trouble"),
    "oci.oraclecloud.com/oke-is-preemptible": Owner("OKE", "spot"),
    "scheduling.cast.ai/spot": Owner("CAST AI", "spot"),
}
PLATFORMS = (
    *("kubernetes.io", "k8s.io", "x-k8s.io", "kubernetes.azure.com", "azure.com", "aks.microsoft.com"),
    *(
        "eks.amazonaws.com",
        "amazonaws.com",
        "cloud.google.com",
        "gke.io",
        "oraclecloud.com",
        "alibabacloud.com",
    ),
    *("cloud.tencent.com", "volcengine.com", "digitalocean.com", "cast.ai", "spotinst.io", "gardener.cloud"),
    *("machine.sapcloud.io", "openshift.io", "cattle.io", "harvesterhci.io", "kubevirt.io", "deckhouse.io"),
    *("karpenter.sh", "karpenter.azure.com", "karpenter.k8s.aws", "nvidia.com", "amd.com", "intel.com"),
)
"""Domains, with all below them, whose labels and taints a platform or a controller writes, and no hand."""
# In such a domain, and yet set by whoever sets up a node pool.
_BY_HAND = frozenset({"nvidia.com/gpu"})
# Families of keys, by how they begin; the first that fits.
_BY_PREFIX: tuple[tuple[str, Owner], ...] = (
    ("readiness.k8s.io/", Owner("the node readiness controller", "starting")),
    ("startup-taint.cluster-autoscaler.kubernetes.io/", Owner("the component that it names", "starting")),
    ("ignore-taint.cluster-autoscaler.kubernetes.io/", Owner("the component that it names", "starting")),
    ("aws-node-termination-handler/", Owner(_NTH, "leaving")),
    ("remediation.medik8s.io/", Owner(_MEDIK8S, "trouble")),
    ("medik8s.io/", Owner(_MEDIK8S, "trouble")),
    ("node.deckhouse.io/", Owner("Deckhouse", "starting")),
    ("karpenter.sh/", Owner(_KARPENTER, "starting")),
    ("node.kubernetes.io/", Owner(_NODE, "trouble")),
    ("node.cloudprovider.kubernetes.io/", Owner(_CLOUD, "starting")),
    ("node.cluster.x-k8s.io/", Owner("Cluster API", "starting")),
    ("remediator.", Owner(_AKS_REPAIR, "leaving")),
    ("kubernetes.azure.com/", Owner("AKS", "reserved")),
    ("cloud.google.com/", Owner("GKE", "reserved")),
    ("eks.amazonaws.com/", Owner("EKS", "reserved")),
)
# What drivers and agents call the taint of a node where they do not run yet: ebs.csi.aws.com/agent-not-ready.
_STARTUP_NAMES = frozenset(
    {"agent-not-ready", "not-ready", "uninitialized", "unregistered", "not-initialized"}
)

# Words for what is wrong with a node, or done to it; no pods are meant by them.
_STATES = re.compile(
    r"(?i)quarantin|unhealth|fault|fail|repair|remediat|mainten|upgrad|updat|reboot|drain|error|degraded|broken"
)

_LEAVES_WITHIN_S = 2 * 3600.0
_STARTS_WITHIN_S = 1800.0


def owner_of(taint: Object) -> Owner | None:
    """Who sets and removes this taint by itself; None for one that somebody has set by hand."""
    return _owner_of(str(taint.get("key") or ""))


@lru_cache(maxsize=1024)  # thousands of nodes have the same few taints
def _owner_of(key: str) -> Owner | None:
    if found := _BY_KEY.get(key):
        return found
    for prefix, owner in _BY_PREFIX:
        if key.startswith(prefix):
            return owner
    domain, _, name = key.partition("/")
    if name in _STARTUP_NAMES:
        return Owner(domain, "starting")
    if not name or not is_platforms(key):
        return None
    return Owner(f"whoever owns {domain}", "trouble" if _STATES.search(name) else "reserved")


@lru_cache(maxsize=1024)  # and labels
def is_platforms(key: str) -> bool:
    """Whether the key of a label or a taint is of a domain of `PLATFORMS`, and no hand's."""
    domain = key.partition("/")[0] if "/" in key else ""
    return key not in _BY_HAND and any(domain == name or domain.endswith(f".{name}") for name in PLATFORMS)


def age_s(taint: Object, owner: Owner, ready_since: str, now: datetime | None) -> float | None:
    """For how many seconds a taint must have been there, None when nothing tells.

    Args:
        taint: as in `spec.taints`.
        owner: whose it is.
        ready_since: when the node became Ready: a startup taint that is still there is at least so old.
        now: the time, None when it is not known.
    """
    if now is None:
        return None
    value = str(taint.get("value") or "")
    since: datetime | None = None
    if (
        "ClusterAutoscaler" in str(taint.get("key"))
        and len(value) == 10
        and value.isascii()
        and value.isdigit()
    ):
        since = datetime.fromtimestamp(int(value), UTC)  # the autoscaler writes when it set the taint
    else:
        moment = taint.get("timeAdded") or (ready_since if owner.kind == "starting" else "")
        try:
            since = parse_timestamp(str(moment)) if moment else None
        except ValueError:
            since = None
    return None if since is None else max(0.0, (now - since).total_seconds())


def is_forgotten(owner: Owner, age_s: float | None) -> bool:
    """Whether a taint is there for much longer than its owner needs."""
    limit = {"leaving": _LEAVES_WITHIN_S, "starting": _STARTS_WITHIN_S}.get(owner.kind)
    return age_s is not None and limit is not None and age_s > limit


def keeps_away(taint: Object) -> bool:
    """Whether a pod that does not tolerate the taint is never placed there."""
    return taint.get("effect") in ("NoSchedule", "NoExecute")


def text_of(taint: Object) -> str:
    """The taint as `kubectl describe node` writes it."""
    key, value, effect = taint.get("key"), taint.get("value"), taint.get("effect")
    return f"{key}={value}:{effect}" if value else f"{key}:{effect}"
