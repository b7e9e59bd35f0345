"""What each finding of a node check means and what to do about it; `kaitoctl explain` prints it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

CODES: Mapping[str, str] = MappingProxyType(
    {
        "label-missing": (
            "The node lacks a label that the Workspace asks for in resource.labelSelector.matchLabels. "
            "KAITO lists nodes by these labels before it looks at anything else, so a node without them "
            "does not exist for it, not even when preferredNodes names it; it buys a new machine instead. "
            "Mend it with the kubectl label command of the finding, or with `kaitoctl check-nodes --fix`. "
            "KAITO v0.12 with azure-gpu-provisioner counts only nodes that carry kaito.sh/workspace and "
            "kaito.sh/workspacenamespace; it sets these itself on the nodes that it makes, and nobody else "
            "should."
        ),
        "label-differs": (
            "The node has the label, with another value; values are compared exactly, upper and lower "
            "case included. KAITO leaves the node out. Make sure that no other Workspace relies on the "
            "present value before you overwrite it. A failed matchExpressions rule has this code, too: "
            "KAITO accepts matchExpressions and then does not read them."
        ),
        "not-ready": (
            "The node's condition Ready is not True: its kubelet reports trouble, has stopped reporting, "
            "or has never reported. KAITO leaves the node out and the scheduler places nothing on it. "
            "`kubectl describe node` shows the conditions and the last events; a node that has just "
            "started heals by itself, and `kaitoctl check-nodes --wait 10m` waits for it."
        ),
        "being-deleted": (
            "The node has a deletion timestamp: somebody, or the autoscaler, has asked for its removal, "
            "and only finalizers keep it. That cannot be taken back. Choose another node."
        ),
        "cordoned": (
            "The node is closed for new pods (spec.unschedulable). KAITO does not look at that and "
            "selects the node all the same; the pod then stays Pending. `kubectl uncordon` opens it "
            "again; ask first whoever closed it, for a drain or an upgrade may be under way."
        ),
        "taint-not-tolerated": (
            "The node has a taint that the pods of a Workspace do not tolerate. They tolerate "
            "nvidia.com/gpu:NoSchedule with any value and sku=gpu:NoSchedule, and KAITO offers no field "
            "for more. KAITO selects the node all the same; the pod then stays Pending. Remove the taint, "
            "or use one of the tolerated ones to keep other pods away."
        ),
        "instance-type-differs": (
            "The node's label node.kubernetes.io/instance-type is not the Workspace's "
            "resource.instanceType (the comparison is exact), and preferredNodes does not name the node. "
            "Name it there: up to v0.4.0 KAITO takes preferred nodes of any type, whatever the CRD's text "
            "says. KAITO v0.12 does not read preferredNodes; ask for the node's instance type instead."
        ),
        "of-another-workspace": (
            "KAITO v0.12 made this node for another Workspace and never shares it: with karpenter the labels "
            "karpenter.kaito.sh/workspace-name and -namespace say so, with azure-gpu-provisioner "
            "kaito.sh/workspace and kaito.sh/workspacenamespace. To change them would take the node away "
            "from the model that runs there."
        ),
        "preferred-ignored": (
            "resource.preferredNodes names this node, and KAITO v0.12 does not read that field. Nodes are "
            "chosen by their labels."
        ),
        "no-gpu": (
            "The node offers no nvidia.com/gpu resource, and nothing on it says that it has an NVIDIA "
            "GPU. A GPU becomes visible to Kubernetes when the vendor's driver works and its device "
            "plugin (or the GPU operator) runs on the node. Look at the plugin's DaemonSet: does it run "
            "on this node, do its node selector and tolerations let it?"
        ),
        "gpu-not-allocatable": (
            "The node has GPUs (its capacity or its feature-discovery labels say so), but "
            "status.allocatable shows none, so that no pod can get one. Either the device plugin has "
            "stopped, or it counts the devices as unhealthy because the driver failed. KAITO up to v0.4.0 "
            "looks at capacity only and selects the node; the pod then stays Pending with `Insufficient "
            "nvidia.com/gpu`. Look at the plugin's pod on this node and its log; `nvidia-smi` on the node "
            "shows the driver's side."
        ),
        "only-mig-slices": (
            "The GPUs are cut into MIG slices (resources nvidia.com/mig-...), and the pods of a Workspace "
            "ask for whole nvidia.com/gpu devices. Turn MIG off on this node (label "
            "nvidia.com/mig.config=all-disabled with the GPU operator), or choose another node."
        ),
        "other-vendor-gpu": (
            "The node offers GPUs of another maker, such as amd.com/gpu. KAITO's images are built for "
            "CUDA, and the pods ask for nvidia.com/gpu."
        ),
        "bad-quantity": (
            "status.capacity or status.allocatable holds something for nvidia.com/gpu that is not a whole "
            "number of devices. The kubelet writes these fields from what the device plugin reports; in a "
            "saved list it may also be a slip of an editor."
        ),
        "too-few-gpus": (
            "The node has fewer allocatable GPUs than each pod will ask for. KAITO asks for the number of "
            "GPUs that resource.instanceType has, also on a preferred node of another type: with the "
            "default Standard_NC12s_v3 that is 2. Set an instance type with as many GPUs as the node has. "
            "kaitoctl's own controller asks for no more than the chosen node has, but never for less than "
            "the preset needs."
        ),
        "gpus-in-use": (
            "The node has enough GPUs, but unfinished pods hold them: free is allocatable minus what the "
            "pods on the node have requested. KAITO does not look at that; the pod stays Pending until "
            "they are given back. Pods of this Workspace itself are not counted."
        ),
        "gpu-memory-too-small": (
            "The GPUs that a pod would get have less memory than the preset needs, in total or each, by "
            "the feature-discovery labels or the catalogue's figure for the node's instance type. The "
            "model would fail while it loads, with CUDA out of memory. Seven per cent less than the "
            "figure is let pass, for drivers report a little less than the maker's round number."
        ),
        "gpu-labels-missing": (
            "Neither GPU feature discovery (labels nvidia.com/gpu.product, .memory, .count) nor the "
            "catalogue tells which GPUs the node has, so that nobody can say whether the preset fits. "
            "KAITO v0.12 refuses Workspaces on your own nodes (byo) without these labels. The GPU "
            "operator brings the feature discovery; it can also be installed with the device plugin's "
            "chart (gfd.enabled=true)."
        ),
        "gpus-not-alike": (
            "The Workspace would spread over nodes with different GPUs (product, number or memory). The "
            "slowest and smallest decides then. KAITO v0.12 refuses it on your own nodes (byo)."
        ),
        "not-found": (
            "preferredNodes names a node that the cluster does not have. KAITO does not mention it and "
            "buys a new machine. Node names are lower case and compared exactly; clouds often append a "
            "domain. The nearest existing name stands in the finding."
        ),
        "listed-twice": (
            "preferredNodes names the node more than once. It still counts as one node, so that fewer "
            "nodes are preferred than it seems."
        ),
        "pressure": (
            "The node reports that disk, memory or process ids run out. The kubelet may evict pods from "
            "it and, with disk pressure, accepts no new ones; model images and weights are large. See "
            "`kubectl describe node`."
        ),
        "gpu-ok": "The node has as many free GPUs as a pod of the Workspace will ask for.",
    }
)
"""By code, in the order in which a reader meets them."""
