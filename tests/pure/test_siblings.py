"""Words of kubelets, runtimes, storage and networks that resemble others, and want other advice."""

from __future__ import annotations

import re
from typing import Any

import pytest
from trouble import NOW, World

from kaitoctl.advice import text
from kaitoctl.commands import why
from kaitoctl.kaito.diagnosis import of_logs
from kaitoctl.kaito.diagnosis.case import Case
from kaitoctl.kaito.diagnosis.log_patterns import hub
from kaitoctl.kaito.rollout import progress
from kaitoctl.kaito.secrecy import without_secrets

SANDBOX = "Failed to create pod sandbox: rpc error: code = Unknown desc = "


def event(world: str, reason: str, words: str) -> World:
    return World(world).without("Event").event(reason, words)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (
            'MountVolume.SetUp failed for volume "kube-api-access-x" : failed to fetch token: '
            'serviceaccounts "llm" not found',
            "ServiceAccount",
        ),
        (
            'MountVolume.SetUp failed for volume "w" : failed to pull and unpack image volume',
            "image of that volume",
        ),
        ('MountVolume.SetUp failed for volume "w" : failed to sync secret cache: timed out', "tries again"),
        (
            'MountVolume.MountDevice failed for volume "pvc-1" : rpc error: code = Aborted desc = An '
            "operation with the given Volume ID vol already exists",
            "still at work",
        ),
        (
            'AttachVolume.Attach failed for volume "pvc-1" : rpc error: code = NotFound desc = volume vol-1',
            "gone from the storage",
        ),
        ('MountVolume.SetUp failed for volume "m" : gcsfuse: bucket does not exist', "gone from the storage"),
        (
            'MountVolume.SetUp failed for volume "s" : object "default"/"hf" not registered',
            "has not seen the object yet",
        ),
        (
            'MountVolume.NodeAffinity check failed for volume "pvc-1" : no matching NodeSelectorTerms',
            "another zone",
        ),
        (
            'MountVolume.SetUp failed for volume "w" : mount.nfs: Failed to resolve server nfs.example: '
            "Name or service not known",
            "cannot resolve",
        ),
        (
            'MountVolume.SetUp failed for volume "s" : rpc error: code = Unknown desc = failed to mount '
            "secrets store objects for pod default/falcon, err: keyvault.BaseClient#GetSecret: 403",
            "identity in the vault",
        ),
        (
            'MountVolume.SetUp failed for volume "s" : failed to get secretproviderclass default/hf: '
            'secretproviderclasses "hf" not found',
            "there is no SecretProviderClass",
        ),
        (
            'MountVolume.SetUp failed for volume "s" : failed to get secretproviderclass default/hf, error: '
            'SecretProviderClass.secrets-store.csi.x-k8s.io "hf" not found',
            "there is no SecretProviderClass",
        ),
        (
            'MountVolume.SetUp failed for volume "s" : failed to mount secrets store objects for pod a/b, '
            'err: error connecting to provider "gcp": provider not found: provider "gcp"',
            "provider for that vault does not run",
        ),
        ('MountVolume.SetUp failed for volume "w" : applyFSGroup failed: input/output error', "broken"),
        ('MountVolume.SetUp failed for volume "w" : blobfuse: 403 AuthorizationFailure', "access rules"),
        ('MountVolume.SetUp failed for volume "dshm" : mount tmpfs: no space left on device', "is full"),
        (
            'AttachVolume.Attach failed for volume "pvc-1" : rpc error: code = InvalidArgument desc = '
            "disk(x) in zone 2 cannot be attached to VM in zone 1",
            "another zone",
        ),
        (
            'AttachVolume.Attach failed for volume "pvc-1" : googleapi: Error 400: the disk is in a '
            "different zone than the instance",
            "another zone",
        ),
    ],
)
def test_what_a_volume_lacks(words: str, hint: str) -> None:
    cause = event("multi-attach", "FailedMount", words).cause()
    assert cause.code == "volume-unavailable"
    assert hint in cause.hint


@pytest.mark.parametrize(
    "volume", [{"name": "cfg", "emptyDir": {}}, {"name": "cfg", "image": {"reference": "m:1"}}]
)
def test_the_claim_is_not_blamed_for_another_volume(volume: dict[str, Any]) -> None:
    world = World("multi-attach").without("Event")
    world["Pod"]["spec"]["volumes"].append(volume)
    cause = world.event("FailedMount", 'MountVolume.SetUp failed for volume "cfg" : it is odd').cause()
    assert "claim" not in cause.message
    assert "pvc" not in cause.command
    world.event(
        "FailedMount", 'MountVolume.SetUp failed for volume "pvc-1" : it is odd', lastTimestamp="2027"
    )
    assert "of claim weights" in world.cause().message


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("failed to setup network for sandbox: open /run/flannel/subnet.env: no such file", "network plugin"),
        ('plugin type="multus": network-attachment-definitions.k8s.cni.cncf.io "ib" not found', "annotation"),
        ('failed to reserve sandbox name "falcon": name "falcon" is reserved for "x"', "stuck"),
        ("context deadline exceeded", "stuck"),
        ("unable to apply cgroup: mkdir /sys/fs/cgroup/x: no space left on device", "too many cgroups"),
        ("mkdir /run/containerd/x: no space left on device", "disk is full"),
        ("failed to create network namespace: too many open files", "open files"),
        (
            'failed to set bridge addr: "cni0" already has an IP address different from 10.244.1.1/24',
            "bridge",
        ),
        ("failed to allocate for range 0: no IP addresses available in range set", "no address left"),
        (
            'exec: "/usr/local/nvidia/toolkit/nvidia-container-runtime": stat: no such file: unknown',
            "NVIDIA container toolkit",
        ),
        ("nvidia-container-cli: initialization error: nvml error: driver not loaded", "NVIDIA"),
        ("failed to generate seccomp spec opts: seccomp is not supported", "securityContext"),
        (
            'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "/kubepods/x"',
            "different cgroup drivers",
        ),
        ("open /run/systemd/resolve/resolv.conf: no such file or directory", "resolvConf"),
        ("dial unix /run/multus/multus.sock: connect: no such file or directory", "network plugin"),
        (
            "failed to start shim: start failed: fork/exec /usr/bin/containerd-shim-runc-v2: resource "
            "temporarily unavailable",
            "no processes or threads left",
        ),
        ("runc create failed: unable to start init: pids limit exceeded", "no processes or threads left"),
    ],
)
def test_what_a_sandbox_lacks(words: str, hint: str) -> None:
    cause = event("sandbox-failed", "FailedCreatePodSandBox", SANDBOX + words).cause()
    assert cause.code == "pod-sandbox-failed"
    assert hint in cause.hint


@pytest.mark.parametrize(
    ("reason", "words", "hint"),
    [
        ("CreateContainerError", 'adding custom device "/dev/nvidia1": no such file or directory', "driver"),
        ("CreateContainerError", 'gathering device information for "/dev/kfd": no such file', "driver"),
        ("CreateContainerConfigError", "failed to sync configmap cache: timed out waiting", "tries again"),
        (
            "ErrImagePull",
            'failed commit on ref "l": unexpected commit digest sha256:2, expected sha256:1',
            "mirror",
        ),
        ("ErrImagePull", "failed to pull image: context canceled", "aborted"),
        ("ErrImagePull", "no basic auth credentials", "pull secret"),
        (
            "ErrImagePull",
            "unexpected status 403 Forbidden: DENIED: client with IP '20.1.1.1' is not allowed access",
            "no pull secret helps",
        ),
        (
            "ErrImagePull",
            "invalid reference format: repository name must be lowercase",
            "not the name of an image",
        ),
        ("ErrImagePull", "failed to unpack image: mismatched image rootfs and manifest layers", "unpacked"),
        (
            "CreateContainerError",
            'failed to generate spec: failed to stat "/models": stat /models: no such file or directory',
            "hostPath has to be on",
        ),
        ("RunContainerError", 'runc create failed: exec: "/bin/sh": permission denied: unknown', "its mode"),
        ("RunContainerError", "nvidia-container-cli: unsatisfied condition: cuda>=12.8", "too old"),
        (
            "RunContainerError",
            "nvidia-container-cli: mount error: failed to add device rules: unable to find any existing "
            "device filters attached to the cgroup: bpf_prog_query(BPF_CGROUP_DEVICE) failed: operation not "
            "permitted",
            "device rules",
        ),
        (
            "RunContainerError",
            "nvidia-container-cli: container error: cgroup subsystem devices not found",
            "device rules",
        ),
        ("CreateContainerError", "fork/exec /usr/bin/runc: resource temporarily unavailable", "threads left"),
        ("CreateContainerConfigError", "services have not yet been read at least once", "tries again"),
        ("ErrImagePull", "unsupported media type application/vnd.oci.empty", "not an image that a node"),
        ("ErrImagePull", "x509: certificate has expired or is not yet valid: current time is after", "renew"),
        (
            "ErrImagePull",
            "x509: certificate is valid for a.example, not b.example",
            "as its certificate does",
        ),
        ("ErrImagePull", "x509: certificate signed by unknown authority", "registry's CA"),
    ],
)
def test_what_a_container_lacks(reason: str, words: str, hint: str) -> None:
    world = World("start-error").without("Event")
    item = world["Pod"]["status"]["containerStatuses"][0]
    item.update(state={"waiting": {"reason": reason, "message": words}}, lastState={})
    assert hint in world.cause().hint


@pytest.mark.parametrize(
    ("reason", "words", "hint"),
    [
        (
            "OutOfnvidia.com/gpu",
            "Node didn't have enough resource: nvidia.com/gpu, requested: 2, used: 2, capacity: 2",
            "other pods on the node hold it",
        ),
        (
            "OutOfnvidia.com/gpu",
            "Node didn't have enough resource: nvidia.com/gpu, requested: 2, used: 0, capacity: 0",
            "stale",
        ),
        (
            "UnexpectedAdmissionError",
            "Allocate failed due to no healthy devices present; cannot allocate unhealthy "
            "devices nvidia.com/gpu, which is unexpected",
            "Xid",
        ),
        (
            "UnexpectedAdmissionError",
            "Allocate failed due to invalid allocation request: maximum request size for "
            "shared resources is 1; found 2",
            "take whole GPUs",
        ),
        (
            "UnexpectedAdmissionError",
            "Allocate failed due to cannot allocate unregistered device nvidia.com/gpu",
            "stale",
        ),
        ("TopologyAffinityError", "Resources cannot be allocated with Topology locality", "topology"),
        ("NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match", "labels are others"),
        ("MatchNodeSelector", "Predicate MatchNodeSelector failed", "labels are others"),
    ],
)
def test_why_a_kubelet_rejects_a_pod(reason: str, words: str, hint: str) -> None:
    world = World("rejected-by-kubelet").without("Event")
    for item in world.objects:
        if item["kind"] == "Pod":
            item["status"] = {"phase": "Failed", "reason": reason, "message": f"Pod was rejected: {words}"}
    cause = world.cause()
    assert cause.code == "pod-rejected"
    assert hint in text(cause.hint)


def test_of_a_node_that_restarted_no_killer_is_looked_for() -> None:
    world = World("killed-after-serving").without("Event")
    ended = world["Pod"]["status"]["containerStatuses"][0]["lastState"]["terminated"]
    ended.update(exitCode=255, reason="Unknown")
    cause = world.cause()
    assert cause.code == "container-killed"
    assert "node or its container runtime restarted" in text(cause.hint)


def test_a_kubelet_that_cannot_write_has_a_full_disk_and_no_stale_devices() -> None:
    world = World("rejected-by-kubelet").without("Event")
    words = (
        'Update plugin resources failed due to failed to write checkpoint file "x": no space left on device'
    )
    for item in world.objects:
        if item["kind"] == "Pod":
            item["status"] = {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": words}
    assert "disk of that node is full" in world.cause().hint


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("no nodes available to schedule pods", "no node that is up"),
        ("0/2 nodes are available: 2 node(s) exceed max volume count.", "as many disks as it can have"),
        ("0/2 nodes are available: waiting for resource claim to be created.", "ResourceClaims"),
        ("pod group has less than minMember 2 pods", "PodGroup"),
        ("minCount (2) cannot be satisfied: 1 scheduled, 0 remaining", "PodGroup"),
        ("pod group is not ready, 1 Pending, 2 minAvailable", "PodGroup"),
        ("0/2 nodes are available: 2 disk.csi.example CSI driver is not installed on the node.", "DaemonSet"),
        ('looking up PVC ai/w: persistentvolumeclaims "w" not found', "create the claim"),
        ('VolumeBindingMode not set for StorageClass "fast"', "volumeBindingMode"),
        ("waiting for the preemption for this pod to be finished", "making room"),
    ],
)
def test_what_a_scheduler_lacks(words: str, hint: str) -> None:
    world = World("scheduling-gated").without("Event")
    del world["Pod"]["spec"]["schedulingGates"]
    placed = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}
    world["Pod"]["status"]["conditions"] = [placed]
    assert hint in world.cause().hint


@pytest.mark.parametrize(
    "words",
    [
        'failed to fetch token: serviceaccounts "llm" not found',
        "failed to fetch anonymous token: unexpected status 401",
        "failed to fetch oauth token: unexpected status 403",
    ],
)
def test_why_a_token_could_not_be_fetched_is_no_secret(words: str) -> None:
    assert without_secrets(words) == words
    assert "s3cret" not in without_secrets("invalid token: s3cret, fetched token: s3cret")


# --- readiness gates, signals ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "gate", ["target-health.elbv2.k8s.aws/k8s-x", "cloud.google.com/load-balancer-neg-ready"]
)
@pytest.mark.parametrize(
    ("since", "weight"), [("2026-11-28T16:59:30Z", "wait"), ("2026-11-28T16:00:00Z", "fault")]
)
def test_a_readiness_gate_that_is_shut_is_named(gate: str, since: str, weight: str) -> None:
    world = World("service-missing")
    world.objects.append(World("scaled-to-zero")["Service"])
    pod = world["Pod"]
    pod["spec"]["readinessGates"] = [{"conditionType": gate}]
    pod["status"]["conditions"] = [
        {"type": "Ready", "status": "False", "reason": "ReadinessGatesNotReady"},
        {"type": "ContainersReady", "status": "True", "lastTransitionTime": since},
    ]
    world["Deployment"]["status"]["readyReplicas"] = 0
    for item in world["Workspace"]["status"]["conditions"]:
        item["status"] = "False"
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "late"}
    for conditions in (world["Deployment"]["status"].get("conditions") or [], [late]):
        world["Deployment"]["status"]["conditions"] = conditions
        cause = world.cause()
        assert (cause.code, cause.weight) == ("nobody-served", weight)
        assert f"readiness gate {gate} is not True" in cause.message


@pytest.mark.parametrize(
    ("code", "words"),
    [(132, "SIGILL"), (135, "SIGBUS"), (136, "SIGFPE"), (129, "SIGHUP"), (152, "signal 24")],
)
def test_the_signal_that_ended_a_process_is_named(code: int, words: str) -> None:
    world = World("killed-after-serving").without("Event")
    ended = world["Pod"]["status"]["containerStatuses"][0]["lastState"]["terminated"]
    ended.update(exitCode=code, reason="Error")
    assert words in world.cause().message


@pytest.mark.parametrize(
    ("reason", "words", "hint"),
    [
        ("SysctlForbidden", 'forbidden sysctl: "net.core.somaxconn" not allowlisted', "allowedUnsafeSysctls"),
        ("AppArmor", 'Cannot enforce AppArmor: profile "vllm" is not loaded', "profile onto the node"),
        ("PodOSNotSupported", "the OS field doesn't match node OS", "take it out"),
        ("SupplementalGroupsPolicyNotSupported", "SupplementalGroupsPolicy=Strict", "take it out"),
        ("UnexpectedAdmissionError", "not enough cpus available to satisfy request: requested=8", "topology"),
        (
            "OutOfmemory",
            "Node didn't have enough resource: memory, requested: 64, used: 4, capacity: 56",
            "larger nodes",
        ),
        (
            "OutOfmemory",
            "Node didn't have enough resource: memory, requested: 54, used: 4, capacity: 56",
            "other pods",
        ),
        ("TaintToleration", "Predicate TaintToleration failed", "its workload makes another"),
        ("VolumeAttachmentLimitExceeded", "exceeded", "as many disks"),
    ],
)
def test_a_rejection_says_whether_the_pod_or_the_node_has_to_change(
    reason: str, words: str, hint: str
) -> None:
    world = World("runs-as-root")
    world["Pod"]["status"] = {"phase": "Failed", "reason": reason, "message": words}
    cause = world.cause()
    assert (cause.code, hint in cause.hint) == ("pod-rejected", True)
    assert "restart" not in cause.hint


def test_storage_without_room_is_not_a_volume_of_another_zone() -> None:
    world = World("scheduling-gated")
    del world["Pod"]["spec"]["schedulingGates"]
    words = "0/1 nodes are available: 1 node(s) did not have enough free storage."
    failed = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}
    world["Pod"]["status"] = {"phase": "Pending", "conditions": [failed]}
    cause = world.cause()
    assert (cause.code, "capacity" in cause.hint) == ("volume-not-here", True)


@pytest.mark.parametrize(
    ("resource", "code", "hint"),
    [
        ("memory", "pod-evicted", "request the memory"),
        ("pids", "pod-evicted", "podPidsLimit"),
        ("inodes", "disk-full", "larger disk"),
        ("ephemeral-storage", "disk-full", "larger disk"),
    ],
)
def test_an_eviction_has_the_advice_of_what_ran_short(resource: str, code: str, hint: str) -> None:
    world = World("runs-as-root")
    words = f"The node was low on resource: {resource}. Threshold quantity: 100Mi, available: 88132Ki. "
    world["Pod"]["status"] = {"phase": "Failed", "reason": "Evicted", "message": words}
    assert (world.cause().code, hint in world.cause().hint) == (code, True)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("DisabledRepoError: 403 Client Error. (Request ID: Root=1)", "disabled"),
        ("HfHubHTTPError: 503 Server Error: Busy for url: https://huggingface.co/api/models/x", "answers"),
    ],
)
def test_a_hub_that_answers_is_neither_unreachable_nor_a_matter_of_a_licence(line: str, words: str) -> None:
    found = next(reading for pattern, reading in hub.PATTERNS if re.search(pattern, line))
    assert words in found.says
    assert "licence" not in found.hint
    assert "DNS" not in found.hint


@pytest.mark.parametrize(
    ("more", "hint"),
    [
        ("Invalid user token.", "create a token"),
        (
            "Please enable access to public gated repositories in your fine-grained token settings",
            "fine-grained",
        ),
        ("Make sure your token has the correct permissions.", "fine-grained"),
        ("Access to model x/y is restricted.", "licence"),
    ],
)
def test_a_token_that_the_hub_refuses_is_not_always_a_matter_of_a_licence(more: str, hint: str) -> None:
    url = "https://huggingface.co/api/models/x"
    log = f"HfHubHTTPError: 403 Client Error: Forbidden for url: {url} (Request ID: R)\n\n{more}\n"
    world = World("start-error")
    found = of_logs.finding(Case(world.seen(), world["Workspace"], progress(world.seen()), NOW), log)
    assert found is not None
    assert (found.code, hint in found.hint) == ("model-access-denied", True)


@pytest.mark.parametrize(
    ("volume", "named"),
    [
        ({"secret": {"secretName": "hf"}}, "Secret hf"),
        ({"configMap": {"name": "cfg"}}, "ConfigMap cfg"),
    ],
)
def test_the_object_that_lacks_a_key_is_named(volume: dict[str, Any], named: str) -> None:
    words = 'MountVolume.SetUp failed for volume "v" : references non-existent secret key: HF_TOKEN'
    world = event("multi-attach", "FailedMount", words)
    world["Pod"]["spec"]["volumes"].append({"name": "v", **volume})
    cause = world.cause()
    assert cause.code == "key-missing"
    assert f"in {named}: " in cause.message


def test_a_run_of_unknown_length_is_not_said_to_have_been_short() -> None:
    world = World("killed-after-serving").without("Event")
    ended = {"reason": "ContainerStatusUnknown", "exitCode": 137, "startedAt": None, "finishedAt": None}
    world["Pod"]["status"]["containerStatuses"][0]["lastState"]["terminated"] = ended
    cause = world.cause()
    assert cause.code == "container-killed"
    assert "it ran for" not in str(cause.evidence)


@pytest.mark.parametrize(
    ("reason", "code"), [("Evicted", "pod-evicted"), ("Terminated", "pod-ended"), ("NodeLost", "node-lost")]
)
def test_a_pod_that_failed_as_a_whole_says_why_and_not_what_the_kubelet_lost_sight_of(
    reason: str, code: str
) -> None:
    world = World("killed-after-serving").without("Event")
    ended = {"reason": "ContainerStatusUnknown", "exitCode": 137}
    world["Pod"]["status"]["containerStatuses"][0]["state"] = {"terminated": ended}
    assert world.cause().code == "container-killed"
    world["Pod"]["status"] |= {"phase": "Failed", "reason": reason, "message": "The node was low"}
    codes = [cause.code for cause in world.diagnosis().causes]
    assert codes[0] == code
    assert "container-killed" not in codes


@pytest.mark.parametrize("status", ["401", "404"])
def test_a_model_that_the_hub_does_not_have_is_not_a_matter_of_its_licence(status: str) -> None:
    found = next(
        reading
        for pattern, reading in hub.PATTERNS
        if re.search(pattern, f"huggingface_hub.errors.RepositoryNotFoundError: {status} Client Error.")
    )
    assert found.code == "model-not-found"


@pytest.mark.parametrize(
    ("words", "about", "begins"),
    [
        ("mcr.example/falcon:1 cannot be read", "Pod a", "mcr.example/falcon:1"),
        ("falcon ends with exit code 1", "Pod a, container falcon", "falcon"),
        ("activeDeadlineSeconds of the pod has passed", "", "activeDeadlineSeconds"),
        ("docker.io denies access", "Pod a", "docker.io"),
        ("the container sees no GPU", "Pod a", "The"),
        ("its image is gone", "Pod a", "Its"),
    ],
)
def test_a_sentence_does_not_change_names(words: str, about: str, begins: str) -> None:
    assert why._sentence(words, about).startswith(begins + " ")


def test_pods_that_do_not_stop_are_seen_as_such() -> None:
    world = World("service-missing").without("Event")
    world["Pod"]["metadata"].update(deletionTimestamp="2026-11-28T12:00:00Z", finalizers=["example.com/f"])
    cause = next(one for one in world.diagnosis().causes if one.code == "nobody-served")
    assert "finalizer" in cause.hint
    assert any("example.com/f" in words for _, words in cause.evidence)
