"""What a scheduler says of resources and volumes: each message of its plugins leads to what it is about."""

from __future__ import annotations

import re
from typing import Any

import pytest
from trouble import World

from kaitoctl.advice import text
from kaitoctl.kaito.advertisers import advertiser_of
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kaito.diagnosis.scheduler_messages import VOLUME_OBSTACLES, obstacle_of
from kaitoctl.kube.objects import Object

NAMES = {"workspace": "falcon", "namespace": "default", "pod": "falcon-0"}
NOBODY = "0/3 nodes are available: "


def unscheduled(words: str, reason: str = "Unschedulable", **more: Any) -> Cause:
    world = World("scheduling-gated")
    pod = world["Pod"]
    del pod["spec"]["schedulingGates"]
    pod["spec"]["volumes"] = [{"name": "w", "persistentVolumeClaim": {"claimName": "weights"}}]
    placed = {"type": "PodScheduled", "status": "False", "reason": reason, "message": words}
    pod["status"]["conditions"] = [placed]
    for event in more.pop("claim_events", ()):
        world.objects.append(event)
    return world.cause(**more)


# --- resources -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resource", "who"),
    [
        ("rdma/hca_shared_devices_a", "RDMA shared device plugin"),
        ("example.com/rdma_pool", "RDMA shared device plugin"),
        ("vpc.amazonaws.com/efa", "EFA device plugin"),
        ("vpc.amazonaws.com/pod-eni", "VPC resource controller"),
        ("nvidia.com/hostdev", "SR-IOV network device plugin"),
        ("nvidia.com/mlnxnics", "SR-IOV network device plugin"),
        ("nvidia.com/ibp12s0", "SR-IOV network device plugin"),
        ("openshift.io/sriov_ib", "SR-IOV network device plugin"),
        ("mellanox.com/cx6", "SR-IOV network device plugin"),
        ("intel.com/intel_sriov_netdevice", "SR-IOV network device plugin"),
        ("networking.gke.io.networks/rdma-0", "GKE"),
        ("devices.kubevirt.io/kvm", "KubeVirt"),
        ("smarter-devices/fuse", "generic device plugin"),
        ("qat.intel.com/generic", "Intel's device plugin"),
        ("hugepages-2Mi", "vm.nr_hugepages"),
        ("hugepages-1Gi", "vm.nr_hugepages"),
        ("example.com/licence", "a device plugin, a driver or an administrator"),
    ],
)
def test_a_resource_that_is_no_gpu_is_named_with_who_announces_it(resource: str, who: str) -> None:
    cause = unscheduled(f"{NOBODY}3 Insufficient {resource}. preemption: 0/3 nodes are available.")
    assert cause.code == "unschedulable"
    assert resource in cause.hint
    assert who in cause.hint
    assert "GPU" not in cause.hint
    # What a user pastes shows what each node has of it.
    column = resource.replace(".", r"\.")
    assert f"HAS:.status.allocatable.{column}" in text(cause.command)


@pytest.mark.parametrize(
    "resource",
    [
        "nvidia.com/gpu",
        "nvidia.com/mig-1g.5gb",
        "nvidia.com/gpu.shared",
        "amd.com/gpu",
        "huawei.com/Ascend910",
    ],
)
def test_gpus_are_asked_about_as_gpus(resource: str) -> None:
    assert "holds the GPUs" in unscheduled(f"{NOBODY}3 Insufficient {resource}.").hint
    assert advertiser_of(resource) is None


@pytest.mark.parametrize(
    ("resource", "hint"),
    [
        ("ephemeral-storage", "larger disk"),
        ("memory", "nodes with more memory"),
        ("cpu", "nodes with more cpu"),
    ],
)
def test_what_every_node_has_is_named(resource: str, hint: str) -> None:
    cause = unscheduled(f"{NOBODY}3 Insufficient {resource}.")
    assert hint in cause.hint
    assert "GPU" not in cause.hint


@pytest.mark.parametrize(
    ("reason", "words", "hint"),
    [
        (
            "OutOfrdma/hca",
            "Node didn't have enough resource: rdma/hca, requested: 1, used: 0, capacity: 0",
            "RDMA shared device plugin",
        ),
        (
            "OutOfhugepages-2Mi",
            "Node didn't have enough resource: hugepages-2Mi, requested: 1, used: 0, capacity: 0",
            "vm.nr_hugepages",
        ),
        (
            "OutOfrdma/hca",
            "Node didn't have enough resource: rdma/hca, requested: 1, used: 1, capacity: 1",
            "other pods on the node hold it",
        ),
        (
            "UnexpectedAdmissionError",
            "Allocate failed due to requested number of devices unavailable for vpc.amazonaws.com/efa. "
            "Requested: 1, Available: 0, which is unexpected",
            "EFA device plugin",
        ),
        (
            "UnexpectedAdmissionError",
            "Allocate failed due to no healthy devices present; cannot allocate unhealthy devices "
            "nvidia.com/hostdev, which is unexpected",
            "SR-IOV network device plugin",
        ),
        (
            "UnexpectedAdmissionError",
            "Allocate failed due to cannot allocate unregistered device smarter-devices/fuse, which is "
            "unexpected",
            "generic device plugin",
        ),
        (
            "UnexpectedAdmissionError",
            "Allocate failed due to [memorymanager] failed to find the default preferred hint",
            "memory manager",
        ),
    ],
)
def test_a_kubelet_that_lacks_something_else_is_not_asked_about_gpus(
    reason: str, words: str, hint: str
) -> None:
    world = World("rejected-by-kubelet").without("Event")
    for item in world.objects:
        if item["kind"] == "Pod":
            item["status"] = {"phase": "Failed", "reason": reason, "message": f"Pod was rejected: {words}"}
    cause = world.cause()
    assert cause.code == "pod-rejected"
    assert hint in cause.hint
    assert "GPU" not in cause.hint


# --- volumes ---------------------------------------------------------------------------------------------

# Each message of the volume plugins: the words, the cause, and what its advice is about.
# Source: Kubernetes v1.37.2, pkg/scheduler/framework/plugins/volume*, nodevolumelimits; older ones say so.
VOLUMES = [
    ('persistentvolumeclaim "weights" not found', "volume-claim-missing", "create the claim weights"),
    ('persistentvolumeclaims "weights" not found', "volume-claim-missing", "create the claim weights"),
    (
        'waiting for ephemeral volume controller to create the persistentvolumeclaim "falcon-0-w"',
        "volume-claim-missing",
        "claim falcon-0-w",
    ),
    (
        "PVC default/falcon-0-w was not created for pod default/falcon-0 (pod is not owner)",
        "volume-claim-missing",
        "another claim has the name falcon-0-w",
    ),
    (
        'persistentvolumeclaim "weights" bound to non-existent persistentvolume "pv-7"',
        "volume-lost",
        "volume pv-7 of claim weights is gone",
    ),
    ('persistentvolumeclaim "weights" is being deleted', "volume-claim-missing", "who deleted it"),
    (
        "pod has unbound immediate PersistentVolumeClaims",
        "volume-claim-missing",
        "why its claim is not bound",
    ),
    ("3 node(s) didn't find available persistent volumes to bind", "volume-not-here", "allowedTopologies"),
    ("3 node(s) didn't match PersistentVolume's node affinity", "volume-not-here", "zone"),
    ("3 node(s) had volume node affinity conflict", "volume-not-here", "zone"),  # up to v1.33
    ("3 node(s) did not have enough free storage", "volume-not-here", "capacity"),
    (
        "3 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",
        "volume-lost",
        "PersistentVolume of its claim is gone",
    ),
    (
        "3 node(s) unavailable due to PersistentVolume(s) bound to non-existent Node(s)",
        "volume-lost",
        "a node that is gone",
    ),
    ('no class for claim "default/weights"', "volume-claim-missing", "no default class"),
    ('failed to find storage class "fast"', "volume-claim-missing", "no StorageClass fast"),
    ('pv "pv-7" node affinity doesn\'t match node "gpu-1": no matching terms', "volume-not-here", "zone"),
    (
        'binding volumes: provisioning failed for PVC "weights"',
        "volume-claim-missing",
        "provisioner's reason",
    ),
    ("binding volumes: context deadline exceeded", "volume-claim-missing", "in time"),
    ('binding volumes: selectedNode annotation reset for PVC "weights"', "volume-claim-missing", "in time"),
    ('binding volumes: ClaimRef got reset for pv "pv-7"', "volume-claim-missing", "in time"),
    ('failed to get pv "pv-7" from cache: not found', "volume-lost", "gone"),
    ('error getting PVC "default/weights": not found', "volume-claim-missing", "names of the claims"),
    ("3 node(s) had no available volume zone", "volume-not-here", "zone"),
    ("PersistentVolumeClaim had no name", "volume-claim-missing", "names of the claims"),
    (
        "PersistentVolumeClaim had no pv name and storageClass name",
        "volume-claim-missing",
        "neither volume nor storage class",
    ),
    ('VolumeBindingMode not set for StorageClass "fast"', "volume-claim-missing", "volumeBindingMode"),
    ("PersistentVolume had no name", "volume-claim-missing", "waits for a volume"),
    ('storageclass.storage.k8s.io "fast" not found', "volume-claim-missing", "no StorageClass fast"),
    ('persistentvolume "pv-7" not found', "volume-lost", "gone"),
    ("3 node(s) exceed max volume count", "volume-not-here", "as many disks"),
    ("3 disk.csi.azure.com CSI driver is not installed on the node", "volume-not-here", "DaemonSet"),
    (
        'looking up PVC default/weights: persistentvolumeclaim "weights" not found',
        "volume-claim-missing",
        "create the claim weights",
    ),
    ("looking up provisioner name for volume w: it is odd", "volume-claim-missing", "what storage"),
    ("3 node(s) had no available disk", "volume-not-here", "another pod uses its volume"),
    (
        "3 node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use "
        "by another pod",
        "volume-not-here",
        "another pod uses its volume",
    ),
]


@pytest.mark.parametrize(("words", "code", "hint"), VOLUMES)
def test_each_message_of_the_volume_plugins(words: str, code: str, hint: str) -> None:
    for said in (f"{NOBODY}{words}. preemption: 0/3 nodes are available.", words):
        cause = unscheduled(said)
        assert (cause.code, cause.weight) == (code, "fault")
        assert hint in cause.hint
    if code == "volume-lost":
        assert "zone" not in cause.hint


def test_each_row_about_volumes_is_some_messages_best() -> None:
    best = {found.pattern for words, *_ in VOLUMES if (found := obstacle_of(words, NAMES))}
    others = {row.pattern for row in VOLUME_OBSTACLES} - best
    assert not others


def test_names_of_a_message_are_words_of_its_command() -> None:
    found = obstacle_of('persistentvolumeclaim "a; rm -rf x" is being deleted', NAMES)
    assert found is not None
    assert text(found.command) == "kubectl describe pvc 'a; rm -rf x' -n default"


def event_of_claim(reason: str, message: str) -> Object:
    return {
        "kind": "Event",
        "metadata": {"name": "c"},
        "involvedObject": {"kind": "PersistentVolumeClaim", "name": "weights"},
        "reason": reason,
        "message": message,
        "type": "Warning",
        "lastTimestamp": "2026-11-28T16:55:00Z",
    }


@pytest.mark.parametrize(
    ("reason", "message", "hint"),
    [
        ("ProvisioningFailed", 'storageclass.storage.k8s.io "fast" not found', "no StorageClass fast"),
        (
            "FailedBinding",
            "no persistent volumes available for this claim and no storage class is set",
            "no default one",
        ),
        (
            "VolumeMismatch",
            'Cannot bind to requested volume "pv-7": storageClassName does not match',
            "does not fit it",
        ),
        ("ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!", "is gone"),
        (
            "ExternalProvisioning",
            "Waiting for a volume to be created either by the external provisioner 'disk.csi.azure.com'",
            "its controller runs",
        ),
        ("ProvisioningFailed", "rpc error: code = ResourceExhausted desc = Quota exceeded", "quota"),
        (
            "ProvisioningFailed",
            "rpc error: code = InvalidArgument desc = mountVolume is not supported for access mode: "
            "MULTI_NODE_MULTI_WRITER",
            "access mode",
        ),
    ],
)
def test_a_claims_own_events_say_why_it_is_not_bound(reason: str, message: str, hint: str) -> None:
    claim: Object = {
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "weights", "namespace": "default"},
        "spec": {"storageClassName": "fast"},
        "status": {"phase": "Pending"},
    }
    words = f"{NOBODY}pod has unbound immediate PersistentVolumeClaims."
    cause = unscheduled(words, unbound=(claim,), claim_events=[event_of_claim(reason, message)])
    assert cause.code == "volume-claim-missing"
    assert hint in cause.hint
    assert ("PersistentVolumeClaim", "weights is Pending, StorageClass fast") in cause.evidence
    assert (f"event {reason}", message) in cause.evidence
    other = {**claim, "metadata": {"name": "of-another-pod"}}
    assert "of-another-pod" not in str(unscheduled(words, unbound=(other,)).evidence)


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        ("error processing PVC default/weights: PVC is not bound", "volume-lost", "bound to no volume"),
        (
            "error processing PVC default/weights: PVC is being deleted",
            "volume-unavailable",
            "who deleted it",
        ),
        (
            "error processing PVC default/weights: failed to fetch PV pv-7 from API server: "
            'persistentvolumes "pv-7" not found',
            "volume-lost",
            "PersistentVolume of its claim is gone",
        ),
        (
            "error processing PVC default/weights: found PV object pv-7 but its pv.Spec.ClaimRef.UID a does "
            "not "
            "point to claim.UID b",
            "volume-unavailable",
            "belongs to another claim",
        ),
        ('failed to fetch token: pod "falcon" not found', "volume-unavailable", "no such pod any more"),
        (
            "volume weights has volumeMode Block, but is specified in volumeMounts",
            "volume-unavailable",
            "raw block device",
        ),
        (
            'MountVolume.MountOptionSupport check failed for volume "v" : mount options not supported',
            "volume-unavailable",
            "mount options",
        ),
    ],
)
def test_what_a_kubelet_says_of_a_claim(words: str, code: str, hint: str) -> None:
    said = f"Unable to attach or mount volumes: failed to process volumes=[weights]: {words}"
    cause = World("multi-attach").without("Event").event("FailedMount", said).cause()
    assert (cause.code, re.search(hint, str(cause.hint)) is not None) == (code, True)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("mount.nfs: rpc.statd is not running but is required for remote locking.", "nolock"),
        ("mount.nfs: portmap query failed: RPC: Remote system error", "rpcbind"),
        ("mount.nfs: Protocol not supported", "version of NFS"),
        ("mount.nfs: Connection timed out", "firewall"),
        ("mount.nfs4: No route to host", "firewall"),
        ("clnt_create: RPC: Program not registered", "service runs"),
        (
            "mounting 10.0.5.4:/m failed, reason given by server: No such file or directory",
            "not have or export",
        ),
        ("mount.nfs: requested NFS version or transport protocol is not supported", "version of NFS"),
        ("rpc error: code = FailedPrecondition desc = volume has not been staged yet", "recreate the pod"),
        (
            "rpc error: code = Internal desc = Staging target path /var/lib/x is not mounted",
            "recreate the pod",
        ),
        ("format of disk failed: exit status 1 mke2fs: Device size reported to be zero.", "does not see it"),
        ("rpc error: code = Internal desc = failed to find disk on lun 3", "does not see it"),
        ("rpc error: code = Internal desc = Could not find device path /dev/nvme1n1", "does not see it"),
    ],
)
def test_what_a_node_lacks_to_mount_a_volume(words: str, hint: str) -> None:
    said = f'MountVolume.MountDevice failed for volume "pvc-1" : {words}'
    cause = World("multi-attach").without("Event").event("FailedMount", said).cause()
    assert (cause.code, hint in cause.hint) == ("volume-unavailable", True), cause.hint


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ('running PreBind plugin "DynamicResources": claim default/gpu: it has changed', "ResourceClaims"),
        ('running Bind plugin "DefaultBinder": Operation cannot be fulfilled on pods/binding', "tries again"),
        ('running "NodeResourcesFit" filter plugin: context canceled', "tries again"),
        ('running PreBind plugin "VolumeBinding": binding volumes: context deadline exceeded', "in time"),
    ],
)
def test_an_error_of_the_scheduler_itself_is_called_so(words: str, hint: str) -> None:
    assert hint in unscheduled(words, "SchedulerError").hint


@pytest.mark.parametrize("runtime", ["runsc", "kata", "nvidia"])
def test_a_runtime_class_whose_program_the_node_lacks(runtime: str) -> None:
    words = (
        "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to start sandbox: failed to "
        "create "
        f'containerd task: exec: "containerd-shim-{runtime}-v1": executable file not found in $PATH'
    )
    cause = World("sandbox-failed").without("Event").event("FailedCreatePodSandBox", words).cause()
    assert "runtime class" in cause.hint


@pytest.mark.parametrize("signal", ["nodefs", "imagefs", "containerfs", "inodes", "imagefsInodes"])
def test_each_file_system_that_a_kubelet_watches_is_a_disk(signal: str) -> None:
    world = World("runs-as-root")
    words = f"The node was low on resource: {signal}. "
    world["Pod"]["status"] = {"phase": "Failed", "reason": "Evicted", "message": words}
    assert world.cause().code == "disk-full"


@pytest.mark.parametrize(
    "words",
    [
        "1 node(s) had untolerated taint {sku: gpu}, 2 node(s) didn't match Pod's node affinity/selector.",
        "2 node(s) had untolerated taint {a: b}, 1 node(s) didn't match Pod's node affinity/selector.",
        "1 node(s) were unschedulable, 1 node(s) had untolerated taint {a: }, 1 node(s) didn't match Pod's "
        "node affinity/selector.",
    ],
)
def test_where_a_taint_or_the_labels_may_keep_it_off_the_node_both_are_named(words: str) -> None:
    """A scheduler looks at taints before labels: a node with the taint may be one that has the labels."""
    found = obstacle_of(NOBODY + words, NAMES)
    assert found is not None
    assert "taints" in text(found.hint)
    assert "labels" in text(found.hint)


def test_a_gpu_that_is_lost_is_not_what_the_kubelet_remembers_wrongly() -> None:
    world = World("rejected-by-kubelet").without("Event")
    words = "Pod was rejected: Allocate failed due to rpc error: creating nvml.Device 5: nvml: GPU is lost"
    for item in world.objects:
        if item["kind"] == "Pod":
            item["status"] = {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": words}
    assert "drain and reboot the node" in str(world.cause().hint)
