"""What `why` asks of clusters that no sandbox is: with real provisioners, long logs and refused lists."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from builders import workspace
from fake_server import serving
from served_world import world
from shell import Shell

Object = dict[str, Any]


@pytest.fixture
def why(offline: Shell, tmp_path: Path) -> Callable[..., Any]:
    def asking(*objects: Object, **more: Any) -> Any:
        with serving(world(*objects, **more), tmp_path) as kubeconfig:
            done = offline.run("kaitoctl", "why", "falcon", "-o", "json", "--kubeconfig", kubeconfig)
        assert done.returncode == 1, done.stderr
        return json.loads(done.stdout)

    return asking


def waiting() -> Object:
    """A Workspace for which KAITO waits for nodes."""
    made: Object = workspace(generation=1)
    made["metadata"] |= {"namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z"}
    made["status"] = {
        "conditions": [
            {
                "type": "ResourceReady",
                "status": "False",
                "reason": "workspaceResourceStatusNotReady",
                "message": "node claims not ready",
                "observedGeneration": 1,
            }
        ]
    }
    return made


def claim(*conditions: Object, **metadata: Any) -> Object:
    labels = {"kaito.sh/workspace": "falcon", "kaito.sh/workspacenamespace": "default"}
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodeClaim",
        "metadata": {
            "name": "ws0123abc",
            "labels": labels,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            **metadata,
        },
        "status": {"conditions": list(conditions), "nodeName": "gpu-a"},
    }


def event(kind: str, name: str, reason: str, message: str, last: str = "2026-01-01T00:00:00Z") -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name}.1", "namespace": "default"},
        "involvedObject": {"kind": kind, "name": name},
        "type": "Warning",
        "reason": reason,
        "message": message,
        "lastTimestamp": last,
    }


def test_a_launch_that_karpenter_calls_unknown_is_a_failure(why: Callable[..., Any]) -> None:
    words = "creating instance: exceeding approved StandardNCADSA100v4Family Cores quota"
    failed = {"type": "Launched", "status": "Unknown", "reason": "LaunchFailed", "message": words}
    said = why(waiting(), claim(failed))
    assert said["cause"]["code"] == "quota-exceeded"
    assert words in json.dumps(said["cause"]["evidence"])


def test_a_node_pool_of_the_workspace_is_asked(why: Callable[..., Any]) -> None:
    labels = {
        "karpenter.kaito.sh/workspace-name": "falcon",
        "karpenter.kaito.sh/workspace-namespace": "default",
    }
    found = {
        "type": "NodeClassReady",
        "status": "False",
        "reason": "NodeClassNotFound",
        "message": "no such class",
    }
    pool = {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": "default-falcon", "labels": labels},
        "status": {"conditions": [found]},
    }
    assert why(waiting(), pool)["cause"]["code"] == "node-class-not-ready"


def test_events_tell_of_a_claim_that_is_gone(why: Callable[..., Any]) -> None:
    from datetime import UTC, datetime

    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    words = "NodeClaim default-falcon-x event: all requested instance types were unavailable during launch"
    gone = event("NodeClaim", "default-falcon-x", "InsufficientCapacityError", words, now)
    assert why(waiting(), gone)["cause"]["code"] == "instance-type-unavailable"


def going() -> Object:
    made = waiting()
    made["metadata"] |= {
        "deletionTimestamp": "2026-01-01T00:00:00Z",
        "finalizers": ["workspace.finalizer.kaito.sh"],
    }
    return made


NODE: Object = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "gpu-a", "uid": "n"},
    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
}
LEAVING = {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["karpenter.sh/termination"]}


def test_a_drain_that_a_budget_forbids_is_read_from_the_nodes_events(why: Callable[..., Any]) -> None:
    words = "Failed to drain node, evicting pod violates a PDB (Pod=ai/other-0)"
    said = why(going(), claim(**LEAVING), NODE, event("Node", "gpu-a", "FailedDraining", words))
    assert said["cause"]["code"] == "drain-blocked"
    assert words in json.dumps(said["cause"]["evidence"])
    assert why(going(), claim(**LEAVING))["cause"]["code"] == "node-claim-stuck"


def test_a_drain_names_the_pod_of_another_namespace_that_it_waits_for(why: Callable[..., Any]) -> None:
    kept = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "batch-1",
            "namespace": "ai",
            "uid": "b",
            "annotations": {"karpenter.sh/do-not-disrupt": "true"},
        },
        "spec": {"nodeName": "gpu-a", "containers": [{"name": "c", "image": "x"}]},
        "status": {"phase": "Running"},
    }
    waits = event("Node", "gpu-a", "FailedDraining", "Failed to drain node, 1 pods are waiting to be evicted")
    said = why(going(), claim(**LEAVING), NODE, kept, waits)
    assert "ai/batch-1 is not to be disrupted" in said["cause"]["message"]


@pytest.mark.parametrize(
    ("group", "resource", "is_named"),
    [
        ("kaito.sh", "workspaces", True),
        ("*", "*", True),
        ("kaito.sh", "workspaces/status", True),
        ("kaito.sh", "ragengines", False),
        ("apps", "*", False),
    ],
)
def test_a_webhook_that_outlives_its_controller_is_named(
    why: Callable[..., Any], group: str, resource: str, is_named: bool
) -> None:
    rules = [{"apiGroups": [group], "resources": [resource]}]
    hook = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "validation.workspace.kaito.sh"},
        "webhooks": [{"name": "x", "rules": rules}],
    }
    said = why(going(), hook)
    assert "no controller runs" in said["cause"]["message"]
    assert ("validation.workspace.kaito.sh may refuse" in said["cause"]["hint"]) == is_named


def test_what_may_not_be_looked_at_costs_no_answer(why: Callable[..., Any]) -> None:
    forbidden = (
        "/apis/karpenter.sh", "poddisruptionbudgets", "webhookconfigurations", "/namespaces/default/events",
    )  # fmt: skip
    said = why(going(), forbidden=forbidden)
    assert said["cause"]["code"] == "finalizer-holds-deletion"
    assert {"poddisruptionbudgets", "validatingwebhookconfigurations", "kinds of karpenter.sh"} <= set(
        said["unseen"]
    )


def server(**status: Any) -> Object:
    """A pod of the Workspace on a node, whose container has this status."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "falcon-0", "namespace": "default", "labels": {"kaito.sh/workspace": "falcon"}},
        "spec": {"nodeName": "gpu-a", "containers": [{"name": "falcon", "image": "r.example/m:1"}]},
        "status": {"phase": "Running", "containerStatuses": [{"name": "falcon", **status}]},
    }


def test_the_root_of_a_long_log_is_read(why: Callable[..., Any]) -> None:
    """vLLM V1 tells the error first, then 150 lines and more of how it was handed on."""
    made = waiting()
    ended = {"exitCode": 1, "reason": "Error"}
    pod = server(state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState={"terminated": ended})
    lines = [
        "(EngineCore_DP0 pid=9) ERROR 11-02 10:00:00 [core.py:7] ValueError: No available memory for "
        "the cache blocks.",
        *('(APIServer pid=1)   File "/usr/lib/vllm/x.py", line 7, in run' for _ in range(200)),
        "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above.",
    ]
    said = why(made, pod, NODE, logs={"falcon-0": "\n".join(lines)})
    assert said["cause"]["code"] == "cuda-out-of-memory"


def test_what_a_kubelet_says_in_the_place_of_a_log_is_not_the_servers_last_word(
    why: Callable[..., Any],
) -> None:
    ended = {"exitCode": 1, "reason": "Error"}
    pod = server(state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState={"terminated": ended})
    gone = "unable to retrieve container logs for containerd://43b90bd8"
    said = why(waiting(), pod, NODE, logs={"falcon-0": gone})
    assert said["cause"]["code"] == "crash-loop"
    assert gone not in json.dumps(said["cause"])
    assert said["unseen"]["pods/log"] == gone


def test_a_kubelet_that_does_not_answer_for_a_log_is_named(offline: Shell, tmp_path: Path) -> None:
    ended = {"exitCode": 1, "reason": "Error"}
    pod = server(state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState={"terminated": ended})
    words = 'Get "https://10.0.0.5:10250/containerLogs/default/falcon-0/falcon": dial tcp: i/o timeout'
    status = {"kind": "Status", "status": "Failure", "code": 500, "message": words}
    known = world(waiting(), pod, NODE)

    def answer(method: str, path: str) -> tuple[int, str]:
        return (500, json.dumps(status)) if urlsplit(path).path.endswith("/log") else known(method, path)

    with serving(answer, tmp_path) as kubeconfig:
        done = offline.run("kaitoctl", "why", "falcon", "-o", "json", "--kubeconfig", kubeconfig)
    said = json.loads(done.stdout)
    assert (done.returncode, said["cause"]["code"]) == (1, "crash-loop")
    assert "10.0.0.5:10250" in said["unseen"]["pods/log"]


def test_the_log_of_a_server_that_is_slow_for_its_own_preset_is_read(why: Callable[..., Any]) -> None:
    """A small model has minutes; what others are given is no reason not to look."""
    made = waiting()
    made["inference"]["preset"]["name"] = "smollm2-135m-instruct"
    began = (datetime.now(UTC) - timedelta(minutes=15)).strftime("%Y-%m-%dT%H:%M:%SZ")
    pod = server(ready=False, state={"running": {"startedAt": began}})
    said = why(made, pod, NODE, logs={"falcon-0": "INFO loading tokenizer from a very far place"})
    assert "a very far place" in json.dumps(said["cause"])


def gpu_node(**annotations: str) -> Object:
    """A node with the Workspace's labels and no GPU that a pod could ask for."""
    labels = {"apps": "falcon-7b", "node.kubernetes.io/instance-type": "Standard_NC12s_v3"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "gpu-z", "labels": labels, "annotations": annotations},
        "spec": {},
        "status": {"allocatable": {"cpu": "12"}, "conditions": [{"type": "Ready", "status": "True"}]},
    }


def test_a_node_whose_gpus_only_dra_offers(why: Callable[..., Any]) -> None:
    offered = {
        "apiVersion": "resource.k8s.io/v1beta1",
        "kind": "ResourceSlice",
        "metadata": {"name": "gpu-z-1"},
        "spec": {"driver": "gpu.nvidia.com", "nodeName": "gpu-z", "devices": [{"name": "gpu-0"}]},
    }
    cause = why(waiting(), gpu_node(), offered)["cause"]
    assert (cause["code"], cause["about"]) == ("device-plugin-missing", "Node gpu-z")
    assert "1 device of gpu.nvidia.com" in cause["message"]


def test_a_node_that_somebody_reboots(why: Callable[..., Any]) -> None:
    node = gpu_node(**{"weave.works/kured-reboot-in-progress": "2026-01-01T00:00:00Z"})
    node["spec"]["unschedulable"] = True
    node["status"]["allocatable"]["nvidia.com/gpu"] = "2"
    cause = why(waiting(), node)["cause"]
    assert (cause["code"], cause["about"]) == ("cordoned", "Node gpu-z")
    assert "kured reboots it" in cause["message"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "ConfigMap default/big does not exist: nodes are counted for 2,048 tokens"),
        ("vllm:\n  max-model-len: '8192'\n", "says max-model-len 8,192, and KAITO counts nodes for 2,048"),
        ("vllm:\n  max-model-len: 8192\n", ""),
    ],
)
def test_nodes_are_counted_by_the_context_of_the_config_map(
    offline: Shell, tmp_path: Path, text: str | None, said: str
) -> None:
    asked = {**waiting(), "apiVersion": "kaito.sh/v1beta1"}
    asked["inference"] = {"preset": {"name": "phi-4"}, "config": "big"}
    metadata = {"name": "big", "namespace": "default"}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    there = [] if text is None else [{**config, "data": {"inference_config.yaml": text}}]
    with serving(world(asked, *there), tmp_path) as kubeconfig:
        how = ("--target-version", "v0.12", "--node-provisioner", "karpenter", "--kubeconfig", kubeconfig)
        done = offline.run("kaitoctl", "why", "falcon", *how)
    assert done.returncode == 1, done.stderr
    assert (said in done.stderr) if said else "tokens" not in done.stderr


def waits_for_volume(words: str, volume: str) -> list[Object]:
    """A Workspace whose pod waits for a node, since its volume is not where the nodes with GPUs are."""
    made = waiting()
    made["status"]["conditions"][0] |= {"status": "True", "reason": "x", "message": ""}
    owner = {"kind": "StatefulSet", "name": "falcon", "uid": "s", "controller": True}
    labels = {"kaito.sh/workspace": "falcon"}
    gpu = {"nvidia.com/gpu": "2"}
    nodes: list[Object] = [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "labels": {
                    "apps": "falcon-7b",
                    "node.kubernetes.io/instance-type": "Standard_NC12s_v3",
                    "kubernetes.io/hostname": name,
                    "topology.kubernetes.io/zone": f"west-{number}",
                },
            },
            "status": {
                "allocatable": {"cpu": "12", "memory": "200Gi", "pods": "30", **gpu},
                "capacity": gpu,
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }
        for number, name in ((2, "gpu-a"), (3, "gpu-b"))
    ]
    pod: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "falcon-0",
            "namespace": "default",
            "labels": labels,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "ownerReferences": [owner],
        },
        "spec": {
            "containers": [{"name": "falcon", "image": "r/m:1"}],
            "volumes": [{"name": "w", "persistentVolumeClaim": {"claimName": "weights"}}],
        },
        "status": {
            "phase": "Pending",
            "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}
            ],
        },
    }
    stateful: Object = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {
            "name": "falcon",
            "namespace": "default",
            "uid": "s",
            "generation": 1,
            "ownerReferences": [{"kind": "Workspace", "name": "falcon", "uid": "ws-uid", "controller": True}],
        },
        "spec": {"replicas": 1},
        "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1},
    }
    term = {
        "matchExpressions": [{"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["west-1"]}]
    }
    if volume == "local":
        term = {
            "matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["nvme-1"]}]
        }
    stored: list[Object] = [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "weights", "namespace": "default"},
            "spec": {"volumeName": "pv-7"},
            "status": {"phase": "Bound"},
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": "pv-7"},
            "spec": {
                "claimRef": {"namespace": "default", "name": "weights"},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
            },
        },
    ]
    return [made, stateful, pod, *nodes, *stored]


CONFLICT = "0/2 nodes are available: 2 node(s) had volume node affinity conflict."


def test_where_a_volume_is_and_where_the_nodes_are_is_looked_up(why: Callable[..., Any]) -> None:
    cause = why(*waits_for_volume(CONFLICT, "zonal"))["cause"]
    assert cause["code"] == "volume-not-here"
    assert cause["message"].endswith("in zone west-1 alone, and the nodes with GPUs are in west-2, west-3")
    lost = why(*waits_for_volume(CONFLICT, "local"))["cause"]
    assert (lost["code"], "nvme-1, which does not exist" in lost["message"]) == ("volume-lost", True)
    hidden = why(*waits_for_volume(CONFLICT, "zonal"), forbidden=("persistentvolumes",))
    assert hidden["cause"]["code"] == "volume-not-here" and "persistentvolumes" in hidden["unseen"]
    assert hidden["cause"]["message"] == CONFLICT


@pytest.mark.parametrize("volume", ["zonal", "local"])
def test_of_nodes_that_may_not_be_listed_nothing_is_said(why: Callable[..., Any], volume: str) -> None:
    found = why(*waits_for_volume(CONFLICT, volume), forbidden=("/nodes",))
    assert found["cause"]["code"] == "volume-not-here" and "nodes" in found["unseen"]
    assert found["cause"]["message"].endswith(" alone"), (
        "neither that nodes are elsewhere nor that one is gone"
    )


def test_a_node_is_known_by_its_hostname_and_not_by_its_name(why: Callable[..., Any]) -> None:
    found = waits_for_volume(CONFLICT, "local")
    home = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "nvme-1.internal", "labels": {"kubernetes.io/hostname": "nvme-1"}},
    }
    assert why(*found, home)["cause"]["code"] == "volume-not-here"


def test_a_node_that_can_have_a_volume_is_found_among_many(why: Callable[..., Any]) -> None:
    """However many there are, and whatever the Workspace selects."""
    found = waits_for_volume(CONFLICT, "zonal")
    node = next(one for one in found if one["kind"] == "Node")
    for number in range(40):
        labels = {**node["metadata"]["labels"], "kubernetes.io/hostname": f"gpu-{number:02}"}
        labels |= {"topology.kubernetes.io/zone": "west-1"} if number == 39 else {}
        found.append({**node, "metadata": {"name": f"gpu-{number:02}", "labels": labels}})
    assert "of the nodes with GPUs, gpu-39 is there" in why(*found)["cause"]["message"]


def test_how_many_disks_a_node_has_is_looked_up(why: Callable[..., Any]) -> None:
    driver = {"name": "disk.csi.azure.com", "allocatable": {"count": 4}}
    limit: Object = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSINode",
        "metadata": {"name": "gpu-a"},
        "spec": {"drivers": [driver]},
    }
    attached: list[Object] = [
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "VolumeAttachment",
            "metadata": {"name": f"a{number}"},
            "spec": {"nodeName": "gpu-a", "attacher": "disk.csi.azure.com"},
        }
        for number in range(4)
    ]
    words = "0/2 nodes are available: 2 node(s) exceed max volume count."
    cause = why(*waits_for_volume(words, "zonal"), limit, *attached)["cause"]
    assert cause["message"] == "node gpu-a has 4 of the 4 volumes of disk.csi.azure.com that it can have"
