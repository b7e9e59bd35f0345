"""What KAITO v0.12.0 leaves behind of a model, stage by stage: its objects, and statuses in its words.

Source: KAITO v0.12.0 `pkg/workspace/controllers/workspace_controller.go`, `benchmark.go`; what it wrote on a
real control plane (measured 2026-11-28). The objects are ours for that generation, without our notes.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from kaitoctl.kaito.desired import Settings, desired, with_node_count
from kaitoctl.kube.objects import Object

KAITO = Settings(image_generation="v0.12", provisioner="azure-gpu-provisioner")
LOST_UPDATE = (
    'Operation cannot be fulfilled on workspaces.kaito.sh "big": the object has been modified; please apply '
    "your changes to the latest version and try again"
)
NO_SIZE = (
    "failed to update Workspace status targetNodeCount: failed to calculate target node count: failed to get "
    "GPU config for instance type Standard_NC12s_v3: invalid value: Unsupported SKU 'Standard_NC12s_v3' for "
    "cloud provider: sku"
)
NO_RESULT = "pod default/big-0: no KAITO_BENCHMARK_RESULT line found in pod logs"
PEAK: Object = {
    "peakTokensPerMinute": {
        "description": "stress/high-concurrency",
        "value": "6143.2",
        "unit": "tokens/min",
        "config": {"durationSec": "60", "engine": "vllm", "engineVersion": "0.25.1"},
    }
}
_PENDING = ("WorkspaceInferenceStatusPending", "Inference workload is not ready")
_WAITS = ("workspacePending", "workspace is waiting for inference workload readiness")


def model(**changes: Any) -> Object:
    """A Workspace that asks for one node, of a model that takes three of them."""
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {
            "name": "big",
            "namespace": "default",
            "uid": "u",
            "generation": 1,
            "creationTimestamp": "2026-11-28T16:50:00Z",
            "finalizers": ["workspace.finalizer.kaito.sh"],
        },
        "resource": {
            "count": 1,
            "instanceType": "Standard_NC24ads_A100_v4",
            "labelSelector": {"matchLabels": {"apps": "big"}},
        },
        "inference": {"preset": {"name": "llama-3.3-70b-instruct"}},
        **changes,
    }


def status(
    *,
    nodes: bool = True,
    serves: bool = False,
    why: tuple[str, str] = _PENDING,
    measured: str | None = None,
    error: str = "",
    target: int | None = 3,
) -> Object:
    """The status that it writes at the end of a pass.

    Args:
        nodes: whether they are ready.
        serves: whether the workload is.
        why: reason and message of the workload that is not.
        measured: empty when its benchmark has a result; else why it has none; None while there is none.
        error: of the pass, appended to every message.
        target: of nodes; None before it is known.
    """
    succeeded = ("True", "workspaceSucceeded", "workspace succeeds")
    if not serves:
        succeeded = ("False", *_WAITS)
    elif measured:
        succeeded = ("False", "BenchmarkFailed", measured)
    rows: dict[str, tuple[str, str, str]] = {
        "NodesReady": ("True", "NodesReady", "All nodes are ready")
        if nodes
        else ("False", "NodeNotReady", "nodes are not ready"),
        "NodeClaimReady": ("True", "NodeClaimsReady", "all NodeClaims are ready")
        if nodes
        else ("False", "NodeClaimNotReady", "NodeClaims are not ready"),
        "ResourceReady": ("True", "workspaceResourceStatusSuccess", "workspace resource is ready")
        if nodes
        else ("False", "NodeNotReady", "nodes are not ready"),
        "InferenceReady": (
            "True",
            "WorkspaceInferenceStatusSuccess",
            "Inference has been deployed successfully",
        )
        if serves
        else ("False", *why),
        "WorkspaceSucceeded": succeeded,
    }
    if measured is not None:
        rows["BenchmarkCompleted"] = (
            ("False", "BenchmarkFailed", measured)
            if measured
            else ("True", "BenchmarkCompleted", "benchmark result has been recorded")
        )
    appended = f" (last reconcile error: {error})" if error else ""
    made: Object = {
        "conditions": [
            {
                "type": kind,
                "status": value,
                "reason": reason,
                "message": message + appended,
                "observedGeneration": 1,
                "lastTransitionTime": "2026-11-28T16:55:00Z",
            }
            for kind, (value, reason, message) in rows.items()
        ],
        "state": "Pending" if not serves else "NotReady" if measured else "Ready",
    }
    if target is not None:
        made["targetNodeCount"] = target
    if measured == "":
        made["performance"] = {"metrics": PEAK}
    return made


def objects_of(workspace: Object, provisioner: str = KAITO.provisioner) -> list[Object]:
    """Its Services and its StatefulSet."""
    settings = replace(KAITO, provisioner=provisioner)
    made = desired(with_node_count(workspace, settings), gpus=1, settings=settings)
    owner = {"apiVersion": "kaito.sh/v1beta1", "kind": "Workspace", "name": "big", "controller": True}
    owned = {"ownerReferences": [{**owner, "uid": workspace["metadata"]["uid"]}]}
    return [
        {**item, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": {**item["metadata"], **owned}}
        for kind, item in made
    ]
