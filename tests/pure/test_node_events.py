"""What a node's own events and conditions say: why a pod was killed, is not ready, or lost its node."""

from __future__ import annotations

from typing import Any

import pytest
from trouble import World

POD = "falcon-5b8f-abcde"
SYSTEM = "System OOM encountered, victim process: {name}, pid: 41231"
KILLED = (
    "Killed process 41231 ({name}) total-vm:98234567kB, anon-rss:62914560kB, file-rss:0kB, shmem-rss:0kB, "
    "UID:0 pgtables:123kB oom_score_adj:1000"
)


def ended(code: int = 137, *, reason: str = "Error", log: str = "") -> tuple[World, dict[str, Any]]:
    """A server that ended at 16:54, and its log."""
    world = World("killed-after-serving").without("Event")
    status = world["Pod"]["status"]["containerStatuses"][0]
    status["lastState"]["terminated"] = {
        "exitCode": code,
        "reason": reason,
        "startedAt": "2026-11-28T16:50:00Z",
        "finishedAt": "2026-11-28T16:54:00Z",
    }
    return world, {"logs": {(POD, "falcon"): log}}


@pytest.mark.parametrize("name", ["VLLM::EngineCor", "python3", "ray::RayWorker", "pt_main_thread"])
@pytest.mark.parametrize(("reason", "words"), [("SystemOOM", SYSTEM), ("OOMKilling", KILLED)])
def test_a_node_without_memory_kills_and_is_named(reason: str, words: str, name: str) -> None:
    world, more = ended()
    cause = world.event(reason, words.format(name=name), of="Node").cause(**more)
    assert cause.code == "out-of-memory"
    assert "node gpu-1 ran out of main memory" in cause.message
    assert f"process {name}" in cause.message
    assert ("60 GiB" in cause.message) is (reason == "OOMKilling")


@pytest.mark.parametrize(
    ("limits", "where", "is_its_own"),
    [
        ({"memory": "64Gi"}, "at the memory limit of falcon, 64Gi", True),
        ({"memory": "75Gi"}, "at the memory limit of falcon, 75Gi", True),
        ({"memory": "100Gi"}, "that of falcon, 100Gi, or of another container", False),
        ({}, "what all pods of node gpu-1 may use together", False),
    ],
)
def test_a_limit_that_a_process_met_is_told_from_the_memory_of_the_node(
    limits: dict[str, str], where: str, is_its_own: bool
) -> None:
    world, more = ended()
    world["Pod"]["spec"]["containers"][0]["resources"] = {"limits": limits}
    words = f"Memory cgroup out of memory: {KILLED.format(name='python3')}"
    cause = world.event("OOMKilling", words, of="Node").cause(**more)
    assert cause.code == "out-of-memory"
    assert where in cause.message
    assert "ran out" not in cause.message
    assert ("the event does not say which" in cause.message) is not is_its_own


def test_a_server_that_was_asked_to_end_was_not_killed_by_the_kernel() -> None:
    world, more = ended(143)
    cause = world.event("SystemOOM", SYSTEM.format(name="chrome"), of="Node").cause(**more)
    assert cause.code == "container-killed"
    assert "SIGTERM" in cause.message


def test_a_probe_that_killed_is_believed_before_the_kernel_that_killed_something() -> None:
    world, more = ended()
    probe = "Container falcon failed liveness probe, will be restarted"
    world.event("Killing", probe, of="Pod").event("SystemOOM", SYSTEM.format(name="chrome"), of="Node")
    assert world.cause(**more).code != "out-of-memory"
    world, more = ended()
    world.event("Unhealthy", "Liveness probe failed: timeout", of="Pod")
    world.event("SystemOOM", SYSTEM.format(name="python3"), of="Node")
    assert world.cause(**more).code == "out-of-memory", "a node without memory lets probes fail, too"


@pytest.mark.parametrize(
    ("first", "last", "is_it"), [("04", "59:50", False), ("54", "59:50", True), ("04", "54:00", True)]
)
def test_a_kill_that_was_seen_several_times_is_about_its_first_and_its_last(
    first: str, last: str, is_it: bool
) -> None:
    world, more = ended()
    seen = {"firstTimestamp": f"2026-11-28T16:{first}:00Z", "lastTimestamp": f"2026-11-28T16:{last}Z"}
    world.event("SystemOOM", SYSTEM.format(name="python3"), of="Node", count=3, **seen)
    assert (world.cause(**more).code == "out-of-memory") is is_it


def test_the_memory_of_the_node_explains_a_worker_that_died_and_no_other_error() -> None:
    log = "RuntimeError: Engine core initialization failed.\nWorker proc VllmWorker-1 died unexpectedly\n"
    world, more = ended(1, log=log)
    world.event("SystemOOM", SYSTEM.format(name="VLLM::Worker"), of="Node")
    assert world.cause(**more).code == "out-of-memory"
    world, more = ended(1, log="ValueError: unknown dtype float17")
    world.event("SystemOOM", SYSTEM.format(name="VLLM::Worker"), of="Node")
    assert world.cause(**more).code == "crash-loop"


def test_what_the_kernel_did_at_another_time_killed_nobody_now() -> None:
    world, more = ended()
    long_ago = {"firstTimestamp": "2026-11-28T13:00:00Z", "lastTimestamp": "2026-11-28T13:00:00Z"}
    world.event("SystemOOM", SYSTEM.format(name="x"), of="Node", **long_ago)
    assert world.cause(**more).code == "container-killed"


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Rebooted", "node gpu-1 restarted while falcon ran"),
        ("Shutdown", "node gpu-1 was shut down"),
        ("RebootScheduled", "the cloud restarted node gpu-1"),
        ("ContainerdStart", "the container runtime of node gpu-1 restarted"),
        ("KubeletStart", "the kubelet of node gpu-1 restarted"),
    ],
)
@pytest.mark.parametrize("end", ["Error", "ContainerStatusUnknown", "Unknown"])
def test_a_restart_of_the_node_is_why_a_container_was_killed(reason: str, words: str, end: str) -> None:
    world, more = ended(reason=end)
    cause = world.event(reason, "Node gpu-1 has been rebooted", of="Node").cause(**more)
    assert (cause.code, words in cause.message) == ("container-killed", True)


def waiting_server() -> World:
    world = World("killed-after-serving").without("Event")
    world["Pod"]["status"]["containerStatuses"] = [
        {
            "name": "falcon",
            "ready": False,
            "restartCount": 0,
            "state": {"running": {"startedAt": "2026-11-28T14:00:00Z"}},
        }
    ]
    return world


@pytest.mark.parametrize(
    ("reason", "of"),
    [
        ("NvidiaXID79Error", "the GPUs of gpu-1"),
        ("XIDErrors", "the GPUs of gpu-1"),
        ("NvidiaNVLinkError", "the GPUs of gpu-1"),
        ("DCGMDiagnosticFailure", "the GPUs of gpu-1"),
        ("KernelOops", "node gpu-1"),
        ("TaskHung", "node gpu-1"),
        ("FilesystemIsReadOnly", "node gpu-1"),
        ("BlockDeviceIOError", "node gpu-1"),
    ],
)
def test_what_a_detector_reports_by_an_event_is_found(reason: str, of: str) -> None:
    world = waiting_server().event(reason, "kernel: it went wrong", of="Node")
    told = [cause for cause in world.diagnosis().causes if cause.code == "node-problem"]
    assert [f"a problem of {of} is reported" in cause.message for cause in told] == [True]
    world.event("Rebooted", "Node gpu-1 has been rebooted", of="Node", lastTimestamp="2026-11-28T16:58:00Z")
    assert "node-problem" not in [cause.code for cause in world.diagnosis().causes], (
        "since then it is another"
    )


@pytest.mark.parametrize("kind", ["KernelDeadlock", "ReadonlyFilesystem", "XfsShutdown", "KubeletProblem"])
def test_a_condition_of_the_node_that_is_not_about_gpus_is_found_too(kind: str) -> None:
    world = waiting_server()
    world["Node"]["status"]["conditions"].append({"type": kind, "status": "True", "message": "it hangs"})
    told = [cause for cause in world.diagnosis().causes if cause.code == "node-problem"]
    assert [kind in cause.evidence[0][0] for cause in told] == [True]


def test_a_disk_that_is_full_comes_before_the_pressure_that_it_makes() -> None:
    world = World("rejected-by-kubelet").without("Event")
    for pod in world.objects:
        if pod["kind"] == "Pod":
            pod["status"] = {
                "phase": "Failed",
                "reason": "Evicted",
                "message": "The node was low on resource: ephemeral-storage.",
            }
    world["Node"]["status"]["conditions"].append({"type": "DiskPressure", "status": "True"})
    assert world.cause().code == "disk-full"


def gone_world() -> World:
    """A pod that waits for a node, the one of before being gone."""
    world = World("killed-after-serving").without("Event", "Node")
    del world["Pod"]["spec"]["nodeName"]
    words = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
    world["Pod"]["status"] = {
        "phase": "Pending",
        "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}
        ],
    }
    world["Workspace"]["status"]["workerNodes"] = ["gpu-1"]
    return world


def test_a_node_that_the_status_still_names_and_that_is_gone() -> None:
    world = gone_world()
    cause = world.cause(gone=frozenset({"gpu-1"}))
    assert (cause.code, cause.about, cause.weight) == ("node-lost", "Node gpu-1", "fault")
    assert "unschedulable" not in [one.code for one in world.diagnosis(gone=frozenset({"gpu-1"})).causes]
    assert world.cause().code != "node-lost", "nobody has looked whether it is there"


def test_a_claim_that_is_on_its_way_makes_a_lost_node_the_past() -> None:
    world = gone_world()
    world.objects.append(
        {
            "kind": "NodeClaim",
            "apiVersion": "karpenter.sh/v1",
            "metadata": {"name": "ws1", "uid": "u", "creationTimestamp": "2026-11-28T16:55:00Z"},
            "status": {"conditions": [{"type": "Launched", "status": "True"}]},
        }
    )
    found = world.diagnosis(gone=frozenset({"gpu-1"}))
    assert [cause.weight for cause in found.causes if cause.code == "node-lost"] == ["note"]


KEEP = "karpenter.sh/do-not-disrupt"


@pytest.mark.parametrize(
    ("events", "words", "hint"),
    [
        ([("DisruptionTerminating", "Disrupting Node: Underutilized/Delete")], "(consolidation)", KEEP),
        ([("DisruptionTerminating", "Disrupting Node: Consolidation/Replace")], "a cheaper one", KEEP),
        ([("DisruptionTerminating", "Disrupting Node: Empty/Delete")], "DaemonSets", "consolidateAfter"),
        ([("DisruptionTerminating", "Disrupting Node: Emptiness/Delete")], "DaemonSets", "consolidateAfter"),
        ([("DisruptionTerminating", "Disrupting Node: Drifted/Replace")], "(drift)", KEEP),
        ([("DisruptionTerminating", "Disrupting Node: Drift/Delete")], "(drift)", KEEP),
        ([("DisruptionTerminating", "Disrupting Node: Expiration/Replace")], "(expireAfter)", "raised"),
        ([("SpotInterrupted", "Spot interruption warning was triggered")], "spot machine back", "not spot"),
        ([("PreemptScheduled", "Preempt Scheduled: Sat")], "spot machine back", "not spot"),
        ([("ScaleDown", "node removed by cluster autoscaler")], "(scale-down)", "safe-to-evict"),
        ([("ScaleDownEmpty", "marked the node for removal")], "found it empty", "scale-down-unneeded-time"),
        ([("InstanceTerminating", "Instance is terminating")], "deleted in the cloud", "who did it"),
        # The cloud tells of machines that Karpenter has removed, too, and of what is an interruption anyway.
        (
            [
                ("DisruptionTerminating", "Disrupting Node: Underutilized/Delete"),
                ("InstanceTerminating", "Instance is terminating"),
            ],
            "(consolidation)",
            KEEP,
        ),
        (
            [
                ("SpotInterrupted", "Spot interruption warning was triggered"),
                ("TerminatingOnInterruption", "Interruption triggered termination for the NodeClaim/Node"),
            ],
            "spot machine back",
            "not spot",
        ),
    ],
)
@pytest.mark.parametrize("is_bound", [False, True])
def test_a_node_that_is_gone_is_told_with_why_it_went(
    events: list[tuple[str, str]], words: str, hint: str, is_bound: bool
) -> None:
    world = gone_world()
    world["Workspace"]["status"]["workerNodes"] = ["gpu-1"]
    if is_bound:
        world["Pod"]["spec"]["nodeName"] = "gpu-1"
        world["Pod"]["status"] = {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}
    for reason, said in (*events, ("DisruptionBlocked", "Node is deleting or marked for deletion")):
        world.objects.append(
            {
                "kind": "Event",
                "metadata": {"name": f"gpu-1.{reason}"},
                "involvedObject": {"kind": "Node", "name": "gpu-1", "uid": "gpu-1"},
                "type": "Normal",
                "reason": reason,
                "message": said,
                "lastTimestamp": "2026-11-28T16:40:00Z",
            }
        )
    cause = world.cause(gone=frozenset({"gpu-1"}))
    assert (cause.code, cause.about) == ("node-lost", "Node gpu-1")
    assert words in cause.message
    assert is_bound or hint in cause.hint
    assert (f"event {events[0][0]}", events[0][1]) in cause.evidence
    assert "DisruptionBlocked" not in str(cause.evidence)


def test_a_disruption_of_a_kind_that_is_new_is_evidence_alone() -> None:
    world = gone_world()
    event = {
        "kind": "Event",
        "metadata": {"name": "gpu-1.x"},
        "involvedObject": {"kind": "Node", "name": "gpu-1"},
        "reason": "DisruptionTerminating",
        "message": "Disrupting Node: Novel/Delete",
        "lastTimestamp": "2026-11-28T16:40:00Z",
    }
    world.objects.append(event)
    cause = world.cause(gone=frozenset({"gpu-1"}))
    assert cause.message.endswith("waits for another")
    assert ("event DisruptionTerminating", "Disrupting Node: Novel/Delete") in cause.evidence
