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
            "Fix it with the kubectl label command of the finding, or with `kaitoctl check-nodes --fix`. "
            "KAITO v0.12 with azure-gpu-provisioner counts only nodes that carry kaito.sh/workspace and "
            "kaito.sh/workspacenamespace; it sets these itself on the nodes that it makes, and nobody else "
            "should."
        ),
        "label-differs": (
            "The node has the label, with another value; values are compared exactly, upper and lower "
            "case included. KAITO leaves the node out. Make sure that no other Workspace relies on the "
            "present value before you overwrite it: a command that does so is printed only for an empty node "
            "that preferredNodes names. With kaitoctl's own controller, which goes by matchExpressions, an "
            "expression that the node does not satisfy has this code, too."
        ),
        "expression-ignored": (
            "The node does not satisfy resource.labelSelector.matchExpressions, and KAITO does not care: no "
            "release reads them when it looks for nodes or places pods. The node may be used all the same. "
            "Say with matchLabels what must be so."
        ),
        "no-label-selects": (
            "The selector has matchExpressions and no matchLabels. KAITO up to v0.4 makes the pods' node "
            "affinity of matchLabels alone: it is empty then, and an empty term matches no node, so that the "
            "pods stay Pending on every cluster. Add a label to matchLabels."
        ),
        "selector-not-understood": (
            "An entry of resource.labelSelector.matchExpressions has an operator that Kubernetes does not "
            "know (In, NotIn, Exists and DoesNotExist are known), lacks its values, or names an illegal "
            "label. The API server refuses pods with it; KAITO does not read it at all."
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
            "again; ask first whoever closed it, for a drain or an upgrade may be under way. Where kured, "
            "OpenShift's machine-config-operator, an autoscaler or another controller says on the node that "
            "it is at work, uncordoning would fight it: wait, or choose another node."
        ),
        "taint-not-tolerated": (
            "The node has a taint that the pods of a Workspace do not tolerate. They tolerate "
            "nvidia.com/gpu:NoSchedule with any value and sku=gpu:NoSchedule; only a custom pod can have "
            "tolerations of its own. KAITO selects the node all the same; the pod then stays Pending. A "
            "taint that somebody set by hand keeps the node for somebody: ask, then take it off, or use one "
            "of the tolerated ones to keep other pods away. The command is printed only for a node on which "
            "no other pods hold GPUs."
        ),
        "taint-of-controller": (
            "The node has a taint that a controller or the platform sets and takes off by itself: the node "
            "is about to go (karpenter.sh/disrupted, ToBeDeletedByClusterAutoscaler, spot interruptions), is "
            "not ready for pods yet (karpenter.sh/unregistered, cloud provider, Cilium, CSI drivers), is in "
            "trouble (node.kubernetes.io/..., remediators), or is kept for other pods (spot, control "
            "plane). Wait, or choose another node. Never take such a taint off by hand: its owner sets it "
            "again, or a model is started on a node that goes away under it. Where a taint is there for "
            "much longer than its owner needs, the finding says since when; see first whether the owner "
            "still runs."
        ),
        "other-platform": (
            "The node's operating system or CPU (labels kubernetes.io/os and kubernetes.io/arch, "
            "status.nodeInfo) is not linux/amd64, for which KAITO's images are built. The pod would end with "
            "`no match for platform` or `exec format error`. For a custom pod this is a warning: its image "
            "is yours."
        ),
        "node-problem": (
            "A condition of the node reports a problem: of the node problem detector, of AKS (GPUMissing, "
            "XIDErrors, NVLinkStatusInactive, IBLinkFlapping), of the EKS node monitoring agent (there False "
            "is bad: AcceleratedHardwareReady), or of another detector. Pods are still placed there. The "
            "message says what is wrong; a GPU that has fallen off the bus needs a reboot or a new machine."
        ),
        "no-room": (
            "The node has GPUs and no room for a pod: no pod slots are left (allocatable.pods), or memory, "
            "cpu or disk are too small for a custom pod's requests or for the weights of the preset. Pods "
            "of presets request GPUs alone, so that too little memory is a warning; the kubelet kills the "
            "pod while it loads."
        ),
        "custom-pod-elsewhere": (
            "The custom pod of inference.template says by itself where it runs (nodeName, nodeSelector; for "
            "kaitoctl's own controller its node affinity, too, which KAITO overwrites), and that is not "
            "this node."
        ),
        "instance-type-differs": (
            "The node's label node.kubernetes.io/instance-type is not the Workspace's "
            "resource.instanceType (the comparison is exact, upper and lower case included), and "
            "preferredNodes does not name the node. "
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
            "resource.preferredNodes names this node, and KAITO v0.12 does not read that field. With "
            "--node-provisioner byo it chooses nodes by their labels, with karpenter those that are also of "
            "the instance type; with azure-gpu-provisioner, the default, it takes none but its own."
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
            "shows the driver's side. Where NVIDIA's DRA driver offers the GPUs (dynamic resource "
            "allocation, in ResourceSlices), KAITO's pods cannot have them: they ask for nvidia.com/gpu."
        ),
        "only-mig-slices": (
            "The GPUs are cut into MIG slices (resources nvidia.com/mig-...), and the pods of a Workspace "
            "ask for whole nvidia.com/gpu devices. Choose another node. The label "
            "nvidia.com/mig.config=all-disabled (GPU operator) turns MIG off, and stops every pod that uses "
            "a slice: look first who does."
        ),
        "gpus-sliced": (
            "The node's nvidia.com/gpu devices are MIG slices (strategy `single`; GKE's GPU partitions), not "
            "GPUs. A process can use one slice, however many a pod holds, and a slice has its own, smaller "
            "memory. A pod that asks for more than one does not run; with one slice that is large enough it "
            "does."
        ),
        "gpus-shared": (
            "The device plugin offers each GPU several times (nvidia.com/gpu.replicas, .sharing-strategy; "
            "GKE's GPU sharing), or the node offers more devices than its instance type has. With time "
            "slicing all pods share the memory of the GPU and nothing keeps them apart; with MPS each gets "
            "its part, and a pod that asks for more than one is refused. Two devices may be one GPU, so "
            "tensor parallel over them does not run. Use nodes without sharing for presets of several GPUs."
        ),
        "gpus-renamed": (
            "The node offers its GPUs under another name, such as nvidia.com/gpu.shared (time slicing with "
            "renameByDefault: true), or for virtual machines, and the pods ask for nvidia.com/gpu. Change "
            "the device plugin's configuration, or choose another node."
        ),
        "gpu-unhealthy": (
            "The node offers fewer GPUs than it has: its capacity, nvidia.com/gpu.count or the instance type "
            "says more than is allocatable. The device plugin holds the missing one for unhealthy (an Xid "
            "error), or it has fallen off the bus. Check the plugin's log and `nvidia-smi` on the node; "
            "drain and reboot or replace the machine. Another instance type does not help."
        ),
        "mig-changing": (
            "The MIG manager is cutting the node's GPUs (label nvidia.com/mig.config.state is pending or "
            "rebooting). It stops what uses them, and the device plugin is paused. Wait until the state is "
            "success; the node may offer slices then instead of GPUs."
        ),
        "mig-failed": (
            "The MIG manager could not cut the node's GPUs as the label nvidia.com/mig.config says (state "
            "failed). Check its log on this node; often something still used a GPU, or the configuration "
            "does not fit the GPU model."
        ),
        "gpu-driver-upgrade": (
            "The GPU operator is replacing the driver on this node (label "
            "nvidia.com/gpu-driver-upgrade-state), which drains it and restarts the device plugin. Wait "
            "until the state is upgrade-done."
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
        "gpu-unsupported": (
            "The server's programs are built for newer GPUs, and end with no kernel image is available: "
            "vLLM takes compute capability 7.0 (V100) in KAITO v0.4 to v0.10 and 7.5 (T4) since v0.11; "
            "weights in mxfp4 take 8.0 (A10, A100, L4, H100). No release serves with vLLM on K80 (3.7), M60 "
            "(5.2) or P100 (6.0). The capability is that of the labels nvidia.com/gpu.compute.major and "
            ".minor, or the catalogue's. No setting helps; choose a node with newer GPUs."
        ),
        "no-bfloat16": (
            "vLLM refuses to start in bfloat16 on GPUs below compute capability 8.0 (T4 and older), "
            "and KAITO v0.12 starts most models in it. The capability is that of the labels "
            "nvidia.com/gpu.compute.major and .minor, or the catalogue's. Choose a node with newer GPUs "
            "(A10, A100, L4, H100), or set dtype: float16 in the ConfigMap that inference.config names; "
            "when it names one, this is a warning."
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
            "it, and a taint keeps new ones away while it lasts; model images and weights are large. See "
            "`kubectl describe node`."
        ),
        "gpu-ok": "The node has as many free GPUs as a pod of the Workspace will ask for.",
    }
)
"""By code, in the order in which a reader meets them."""
