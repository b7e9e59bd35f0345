"""How the parts of one server fail to reach each other: NCCL, Gloo, torch's store, InfiniBand and EFA."""

from __future__ import annotations

from kaitoctl.kaito.diagnosis.log_patterns.reading import NCCL, TORCH, Reading, Row

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
        r"Mismatched NCCL version detected ?: rank (?P<one>\d+) has version (?P<has>\d+) rank (?P<two>\d+) "
        r"has version (?P<wants>\d+)",
        Reading(
            "gpus-disconnected",
            "the pods run images with different NCCL (rank {one}: {has}, rank {two}: {wants})",
            "let all pods of the Workspace have one image: name it by a tag that does not move, and recreate "
            "the pods that have an older one",
            f"{NCCL} src/init.cc",
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
