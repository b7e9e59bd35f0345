"""What nodes and storage lack, in words that resemble those of other lacks."""

from __future__ import annotations

import pytest
from trouble import World

from kaitoctl.advice import text

RUNC = "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container "


def waiting(reason: str, words: str) -> World:
    world = World("start-error").without("Event")
    item = world["Pod"]["status"]["containerStatuses"][0]
    item.update(state={"waiting": {"reason": reason, "message": words}}, lastState={})
    return world


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        # Of a profile that is not on the node: no program that the image lacks. Source: containerd contrib/
        # seccomp, runc libcontainer/apparmor, opencontainers/selinux.
        ('cannot load seccomp profile "/var/lib/kubelet/seccomp/x.json": open x: no such file', "seccomp"),
        (
            f"{RUNC}process: apparmor failed to apply profile: write /proc/self/attr/exec: no such file",
            "A",
        ),
        (f"{RUNC}process: write /proc/self/attr/keycreate: invalid argument", "SELinux"),
        (f"{RUNC}process: error setting rlimit type 8: operation not permitted", "LimitMEMLOCK"),
        (
            f"{RUNC}process: open /sys/fs/cgroup/kubepods/hugetlb.1GB.max: no such file or directory",
            "cgroups",
        ),
        (
            "failed to create containerd task: failed to create shim task: ttrpc: closed: unknown",
            "does not run",
        ),
        (f"{RUNC}process: open /proc/sys/net/core/somaxconn: no such file or directory", "sysctls"),
        (f"{RUNC}process: can't get final child's PID from pipe: EOF", "limits are too small"),
        ("failed to create shim task: open /etc/x.json: no such file or directory", "mounts or names it"),
        (
            f"{RUNC}process: error running prestart hook #0: exit status 1, stderr: nvidia-container-cli: "
            "device error: MIG-5b8c1f3e-aaaa-bbbb-cccc-0123456789ab: unknown device",
            "restart the pod of the device plugin",
        ),
        # Of what they resemble.
        (f"{RUNC}process: exec /app/run: no such file or directory", "lacks the program"),
        (
            "failed to start shim: start failed: fork/exec /usr/bin/containerd-shim-runc-v2: no such file",
            "lacks one of its own programs",
        ),
        (f'{RUNC}process: exec: "sh": stat /bin/sh: no such file or directory', "lacks the program"),
        (f'{RUNC}process: exec: "vllm": executable file not found in $PATH', "lacks the program"),
        (f"{RUNC}process: container init was OOM-killed (memory limit too low?)", "limits are too small"),
        (f'{RUNC}process: exec: "/x": permission denied', "its mode"),
    ],
)
def test_what_a_node_lacks_is_no_program_of_the_image(words: str, hint: str) -> None:
    assert hint in waiting("RunContainerError", words).cause().hint


@pytest.mark.parametrize(
    "words",
    [
        'rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial '
        'unix /run/containerd/containerd.sock: connect: connection refused"',
        'rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial '
        'unix /var/run/crio/crio.sock: connect: no such file or directory"',
        "rpc error: code = Unavailable desc = error reading from server: EOF",
    ],
)
def test_a_runtime_that_does_not_run_is_no_registry(words: str) -> None:
    cause = waiting("ErrImagePull", words).cause()
    assert cause.code == "image-pull-failed"
    assert "does not answer its kubelet" in cause.message
    assert "registry" not in cause.message + cause.hint


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        ("is not present with pull policy of Never", "image-pull-failed", "load the image onto the node"),
        (
            "is present with pull policy of Never but does not have the proper auth (image secret) that was "
            "used to pull the image",
            "image-unauthorized",
            "that pull secret",
        ),
    ],
)
def test_an_image_that_is_there_is_not_loaded_again(words: str, code: str, hint: str) -> None:
    cause = waiting("ErrImageNeverPull", f'Container image "r.example/x:1" {words}').cause()
    assert (cause.code, hint in cause.hint) == (code, True)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ('Head "https://r.example/v2/": tls: first record does not look like a TLS handshake', "plain HTTP"),
        ("number of layers and diffIDs don't match: 3 != 0", "not an image that a node"),
        ("failed to resolve reference: unsupported digest algorithm", "not the name of an image"),
        (
            "failed to copy: httpReadSeeker: failed open: unexpected status from GET request to "
            "https://r.example/v2/x/blobs/sha256:aa: 404 Not Found",
            "does not have all of its layers",
        ),
    ],
)
def test_what_a_pull_lacks(words: str, hint: str) -> None:
    cause = waiting("ErrImagePull", words).cause()
    assert hint in f"{cause.message} {text(cause.hint)}"


def test_a_node_that_may_not_read_a_secret_yet_tries_again() -> None:
    words = (
        'secret "hf" is forbidden: User "system:node:gpu-1" cannot get resource "secrets" in API group "" in '
        "the namespace \"default\": no relationship found between node 'gpu-1' and this object"
    )
    assert "tries again" in waiting("CreateContainerConfigError", words).cause().hint


MOUNT = 'MountVolume.MountDevice failed for volume "pvc-1" : rpc error: code = Internal desc = '
ATTACH = 'AttachVolume.Attach failed for volume "pvc-1" : rpc error: code = Internal desc = '


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        # Source: cifs-utils 7 mount.cifs.c, Linux errno.
        (
            f"{MOUNT}mount failed: exit status 32\nOutput: mount error(2): No such file or directory",
            "no such share",
        ),
        (f"{MOUNT}mount failed: exit status 32\nOutput: mount error(13): Permission denied", "access rules"),
        (f"{MOUNT}mount failed: exit status 32\nOutput: mount error(112): Host is down", "port 445"),
        (
            f"{MOUNT}mount failed: exit status 32\nOutput: mount error(115): Operation now in progress",
            "port 445",
        ),
        (
            f"{MOUNT}mount failed: exit status 32\nOutput: mount error(95): Operation not supported",
            "mountOptions",
        ),
        (
            'MountVolume.SetUp failed for volume "w" : hostPath type check failed: /x is not a directory',
            "on this node",
        ),
        # Keys.
        (f"{ATTACH}api error InvalidVolume.EncryptionKeyUnavailable: KMS key unavailable", "encrypted with"),
        (
            f"{ATTACH}KeyVaultAccessForbidden: access to the key of DiskEncryptionSet x is forbidden",
            "encrypted with",
        ),
        # What is mounted by a program, by a module, or twice.
        ('MountVolume.SetUp failed for volume "s" : stat /m: transport endpoint is not connected', "(FUSE)"),
        (
            f"{MOUNT}mount.lustre: mount fs@tcp:/x at /m failed: No such device, are the modules loaded?",
            "module",
        ),
        (
            f"{MOUNT}mount: wrong fs type. dmesg: XFS (nvme1n1): Filesystem has duplicate UUID - can't mount",
            "nouuid",
        ),
        (f'{MOUNT}Failed to resolve "fs-1.efs.us-east-1.amazonaws.com" - check that', "cannot resolve"),
        (
            'MountVolume.SetUp failed for volume "w" : mkdir /var/lib/kubelet/pods/1: read-only file system',
            "breaks",
        ),
        (f"{MOUNT}Volume capability access type mount but volume is block", "volumeMode"),
        # What a cloud does not attach.
        (
            f"{ATTACH}StorageAccountType UltraSSD_LRS can be used only when additionalCapabilities is set.",
            "enable it for its node pool",
        ),
        (f"{ATTACH}Disk pvc-1 cannot be attached to the VM because it is not in zone '2'.", "another zone"),
        (f"{ATTACH}expected device to be attached but was attaching", "not done with the disk"),
    ],
)
def test_what_storage_lacks(words: str, hint: str) -> None:
    cause = World("multi-attach").without("Event").event("FailedMount", words).cause()
    assert (cause.code, hint in cause.hint) == ("volume-unavailable", True), cause.hint


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("context deadline exceeded (Client.Timeout exceeded while awaiting headers)", "timeoutSeconds"),
        ("dial tcp 10.1.2.3:5000: connect: connection refused", "more time to start does not help"),
    ],
)
def test_a_server_that_answers_too_late_may_have_too_many_requests(words: str, hint: str) -> None:
    world = World("killed-after-serving")
    for item in world.objects:
        if item["kind"] == "Event" and item.get("reason") == "Unhealthy":
            item["message"] = f'Liveness probe failed: Get "http://10.1.2.3:5000/health": {words}'
    cause = world.cause()
    assert (cause.code, hint in cause.hint) == ("probe-kills-server", True)
