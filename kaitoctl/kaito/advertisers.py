"""Who makes a node offer a resource that is neither CPU nor memory: device plugins, the kernel. Pure.

A node has none of it where that does not run, and pods that ask for it wait. GPUs are the matter of
`kaito.node_check`; this table is about what pod templates ask for besides.

Source: each project's own documentation: k8s-rdma-shared-dev-plugin 1.5 (resourcePrefix, `rdma` without
one), SR-IOV network device plugin 3.9, NVIDIA Network Operator 25.x, aws-efa-k8s-device-plugin,
amazon-vpc-resource-controller-k8s, GKE multi-network, intel-device-plugins 0.34, smarter-device-manager,
generic-device-plugin, KubeVirt 1.x, HAMi; Kubernetes v1.37.2 pkg/apis/core/v1/helper (names of huge pages and
of volumes).
"""

from __future__ import annotations

import re

from msgspec import Struct

from kaitoctl.kube.pod_state import is_accelerator


class Advertiser(Struct, frozen=True):
    """Who makes nodes offer a resource.

    Args:
        pattern: of the resource's whole name.
        who: who it is, after "... is what".
        hint: what to look at.
    """

    pattern: str
    who: str
    hint: str


_NETWORK = "check its DaemonSet on these nodes, and that their network cards are in its configuration"
_NODES = "check its DaemonSet on these nodes"
# Names that people give to network devices of NVIDIA's and others' domains: `nvidia.com/hostdev`.
_CARDS = (
    r"(?:\w*(?:hostdev|nics?|sriov|rdma|roce|mlnx|mlx|mellanox|bluefield|connectx|infiniband)\w*|"
    r"ib\w*|cx\d\w*|vfs?\w*)"
)
ADVERTISERS = (
    Advertiser(
        r"networking\.gke\.io[\w.-]*/.+",
        "GKE announces for nodes with that network",
        "check the node pool's networks",
    ),
    Advertiser(
        r"rdma/.+|\A.+/(?:rdma|roce)[\w.-]*",
        "the RDMA shared device plugin announces (k8s-rdma-shared-dev-plugin, part of NVIDIA Network "
        "Operator)",
        _NETWORK,
    ),
    Advertiser(r"vpc\.amazonaws\.com/efa", "AWS's EFA device plugin announces", _NODES),
    Advertiser(
        r"vpc\.amazonaws\.com/.+",
        "Amazon's VPC resource controller announces",
        "check it, and the node's type",
    ),
    Advertiser(
        rf"nvidia\.com/{_CARDS}|(?:openshift\.io|mellanox\.com|intel\.com|broadcom\.com)/.*"
        r"(?:sriov|vf|nic|net|dpdk|mlnx|mlx|cx\d|ib)[\w.-]*|(?:mellanox\.com|openshift\.io)/.+",
        "the SR-IOV network device plugin announces (by its ConfigMap, or NVIDIA Network Operator)",
        _NETWORK,
    ),
    Advertiser(r"devices\.kubevirt\.io/.+", "KubeVirt's virt-handler announces", _NODES),
    Advertiser(
        r"(?:smarter-devices|squat\.ai|github\.com|hami\.io)/.+",
        "a generic device plugin announces",
        _NODES,
    ),
    Advertiser(
        r"(?:qat|dsa|iaa|sgx|fpga|dlb|vpu|npu)\.intel\.com/.+|\A.*\bintel\.com/(?:sgx|qat|fpga|dsa)[\w.-]*",
        "Intel's device plugin announces",
        _NODES,
    ),
    Advertiser(
        r"hugepages-.+",
        "the node's kernel sets aside (vm.nr_hugepages, or hugepages= at boot), and its kubelet reports when "
        "it starts",
        "take nodes that have huge pages of this size, or take them out of the pod template",
    ),
    Advertiser(
        r"attachable-volumes-.+",
        "a node reports as the number of disks that it can have",
        "take another node, or fewer volumes",
    ),
)


def advertiser_of(resource: str) -> Advertiser | None:
    """Who makes nodes offer a resource; None for GPUs and other accelerators, cpu, memory and storage."""
    for known in ADVERTISERS:
        if re.fullmatch(known.pattern, resource):
            return known
    if "/" not in resource or is_accelerator(resource):
        return None
    return Advertiser(
        "", "a device plugin, a driver or an administrator announces", "check who does so in this cluster"
    )
