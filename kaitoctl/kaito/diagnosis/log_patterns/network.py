"""How the parts of one server fail to reach each other: NCCL, Gloo, torch's store, InfiniBand and EFA."""

from __future__ import annotations

from kaitoctl.kaito.diagnosis.log_patterns.reading import NCCL, TORCH, VLLM, Reading, Row

_PARTS = "check the other pods of the Workspace and their logs: those that have not joined say why"

PATTERNS: tuple[Row, ...] = (
    (
        # What a process may lock is a limit of its own: memory does not run out.
        r"Call to ibv_\w{1,30} failed(?: with error)?:? ?Cannot allocate memory|"
        r"\bibv_(?:reg_mr|create_\w{1,12}|alloc_pd)\w{0,12}\b.{0,60}Cannot allocate memory",
        Reading(
            "gpus-disconnected",
            "the container may not lock the memory that InfiniBand needs (its limit memlock)",
            "give the container the capability IPC_LOCK in the pod template, and let the container runtime "
            "of the node set LimitMEMLOCK=infinity; NCCL_IB_DISABLE=1 does without InfiniBand, and is slower",
            f"{NCCL} src/misc/ibvwrap.cc",
        ),
    ),
    (
        r"Mismatched NCCL version detected ?: rank (?P<one>\d+) (?:has )?version (?P<has>\d+) "
        r"rank (?P<two>\d+) (?:has )?version (?P<wants>\d+)",
        Reading(
            "gpus-disconnected",
            "the pods run images with different NCCL (rank {one}: {has}, rank {two}: {wants})",
            "let all pods of the Workspace have one image: name it by a tag that does not move, and recreate "
            "the pods that have an older one",
            f"{NCCL} src/init.cc",
        ),
    ),
    (
        r"connect to (?P<peer>[\w.:\[\]-]{1,80})<(?P<port>\d{1,5})> "
        r"(?:returned (?P<why>.{3,60}?), exceeded|failed ?: (?P<error>.{3,60}))",
        Reading(
            "gpus-disconnected",
            "a part of the server does not reach another, {peer} port {port}: {why}{error}",
            "check whether that pod still runs and what its log says; if it does, the network between the "
            "nodes (NetworkPolicies, security groups), and NCCL_SOCKET_IFNAME where a pod has several "
            "interfaces",
            f"{NCCL} src/os/linux.cc",
            depth=2,
        ),
    ),
    (
        r"Connection closed by remote peer (?P<peer>[\w.:\[\]-]{1,120})<\d{1,5}>",
        Reading(
            "gpus-disconnected",
            "a part of the server has gone away from another: {peer} closed its connection",
            "check that pod and its log first: what ended it is the cause; then its node, and the network",
            f"{NCCL} src/misc/socket.cc",
            depth=2,
        ),
    ),
    (
        r"NET/IB ?:? ?Got completion from peer (?P<peer>[\w.:\[\]-]{1,80})<\d{1,5}> with "
        r"status=(?P<status>.{1,40}?) ",
        Reading(
            "gpus-disconnected",
            "a transfer by InfiniBand to {peer} failed with status {status}",
            "check that pod and its node first (a part that ended looks so, too), then its links "
            "(ibstat; for RoCE NCCL_IB_GID_INDEX); NCCL_IB_DISABLE=1 does without, and is slower",
            f"{NCCL} src/transport/net_ib/p2p.cc",
            depth=2,
        ),
    ),
    (
        r"Waiting for all ray workers to be active timed out",
        Reading(
            "gpus-disconnected",
            "the other pods of the server have not all joined the first one in time",
            _PARTS,
            f"{VLLM} examples/online_serving/multi-node-serving.sh, which KAITO v0.12 runs",
            depth=2,
        ),
    ),
    (
        r"Ray worker starts timeout, head address: (?P<head>[\w.:-]{1,200})",
        Reading(
            "gpus-disconnected",
            "this part of the server does not reach Ray's head, {head}, which the first pod runs",
            "check whether the first pod of the Workspace runs, whether its name can be resolved (the "
            "headless Service), and NetworkPolicies",
            f"{VLLM} examples/online_serving/multi-node-serving.sh, which KAITO v0.12 runs",
            depth=2,
        ),
    ),
    (
        r"watchdog got stuck for (?P<time>\d+) seconds|"
        r"Received a (?:global )?(?:timeout|dump) signal.{0,60}(?:rank|timeout)",
        Reading(
            "gpus-disconnected",
            "the GPUs of the server wait for each other, and one of them does not come",
            "check the other pods of the Workspace and their logs for the part that stopped, and the GPUs of "
            "its node (Xid errors in the kernel log)",
            f"{TORCH} torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp",
            depth=2,
        ),
    ),
    (
        r"Every node should have a unique IP address\. .{0,160}?unique IP addresses "
        r"\{(?P<has>[^}\n]{1,120})\}",
        Reading(
            "gpus-disconnected",
            "several nodes of the server's Ray cluster give one address, {has}",
            "take VLLM_HOST_IP out of the pod template's environment, or set it from status.podIP, which "
            "differs by pod",
            f"{VLLM} v1/executor/ray_executor.py",
        ),
    ),
    (
        r"Timed out after (?P<time>\d+) seconds waiting for clients\. (?P<here>\d+)/(?P<all>\d+) clients "
        r"joined",
        Reading(
            "gpus-disconnected",
            "{here} of {all} parts of the server have joined within {time} s",
            _PARTS,
            f"{TORCH} torch/csrc/distributed/c10d/TCPStore.cpp",
            depth=1,
        ),
    ),
    (
        r"client socket has (?:timed out|"
        r"failed to connect).{0,60} to \[?\(?(?P<host>[\w.:-]{1,120}?)\]?(?:, |:)"
        r"(?P<port>\d{2,5})\)?",
        Reading(
            "gpus-disconnected",
            "the first part of the server, {host} port {port}, does not answer the others",
            "check whether that pod runs and whether the others can resolve its name (the headless Service); "
            "a NetworkPolicy may be between",
            f"{TORCH} torch/csrc/distributed/c10d/socket.cpp",
            depth=1,
        ),
    ),
    (
        r"Gloo connectFullMesh failed|(?:gloo|Gloo).{0,120}(?:Connection refused|connect|"
        r"Unable to find address for)|"
        r"makeDeviceForHostname|makeDeviceForInterface",
        Reading(
            "gpus-disconnected",
            "the parts of the server do not reach each other by Gloo: each offers an address that the others "
            "cannot reach, such as that of its loopback interface",
            "set GLOO_SOCKET_IFNAME (and NCCL_SOCKET_IFNAME) to an interface that the pod has (eth0), and "
            "check that the pod's host name is not one of 127.0.0.1",
            f"{TORCH} third_party/gloo, torch/csrc/distributed/c10d/ProcessGroupGloo.cpp",
            depth=1,
        ),
    ),
    (
        r"NET/OFI (?:Failed|.{0,80}(?:failed|not found|No eligible))|aws-ofi-nccl initialization failed|"
        r"fi_getinfo\w{0,10} failed|Libfabric.{0,60}(?:failed|not found)",
        Reading(
            "gpus-disconnected",
            "NCCL's plugin for EFA (aws-ofi-nccl) finds no EFA device",
            "let the pod template ask for vpc.amazonaws.com/efa and see AWS's EFA device plugin on the node; "
            "NCCL_NET=Socket does without EFA, and is slower",
            "aws-ofi-nccl 1.17 src/nccl_ofi_net.cpp",
            depth=1,
        ),
    ),
)
