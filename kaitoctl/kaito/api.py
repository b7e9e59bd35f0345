"""The names of KAITO's API: kinds, labels, annotations, conditions.

Source: KAITO v0.3.2 and v0.4.0, `api/v1alpha1` (labels, condition types) and `pkg/utils/consts`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from msgspec.structs import replace

from kaitoctl.kube.objects import Kind, Object, dig

GROUP = "kaito.sh"
WORKSPACE = Kind(GROUP, "v1alpha1", "Workspace", "workspaces")
WORKSPACE_V1BETA1 = replace(WORKSPACE, version="v1beta1")
VERSIONS = (WORKSPACE.version, WORKSPACE_V1BETA1.version)
"""The API versions of the Workspace, oldest first."""

ONLY_IN_V1BETA1 = (
    "resource.partition",
    "inference.preset.presetOptions.modelAccessSecret",
    "tuning.preset.presetOptions.modelAccessSecret",
)
"""What a user can write in v1beta1 alone: a write of v1alpha1 takes it away."""

INFERENCE_SET = Kind(GROUP, "v1beta1", "InferenceSet", "inferencesets")
INFERENCE_SET_V1ALPHA1 = replace(INFERENCE_SET, version="v1alpha1")
MULTI_ROLE_INFERENCE = Kind(GROUP, "v1alpha1", "MultiRoleInference", "multiroleinferences")
MODEL_MIRROR = Kind(GROUP, "v1alpha1", "ModelMirror", "modelmirrors", namespaced=False)
FLEETS = (INFERENCE_SET, MULTI_ROLE_INFERENCE, MODEL_MIRROR)
"""Kinds of fleets, and that of mirrors for their weights."""

NODE_POOL = Kind("karpenter.sh", "v1", "NodePool", "nodepools", namespaced=False)

MACHINE = Kind("karpenter.sh", "v1alpha5", "Machine", "machines", namespaced=False)
"""What KAITO v0.3 and v0.4 ask for nodes with, unless their Karpenter gate is on."""

FINALIZER = "workspace.finalizer.kaito.sh"
SET_FINALIZER = "inferenceset.finalizer.kaito.sh"

LABEL_WORKSPACE = "kaito.sh/workspace"
LABEL_WORKSPACE_NAMESPACE = "kaito.sh/workspacenamespace"
LABEL_POOL_WORKSPACE = "karpenter.kaito.sh/workspace-name"
LABEL_POOL_NAMESPACE = "karpenter.kaito.sh/workspace-namespace"
"""In their place where KAITO v0.12 asks Karpenter for static node pools."""

PROVISIONER_LABELS = {
    "azure-gpu-provisioner": (LABEL_WORKSPACE, LABEL_WORKSPACE_NAMESPACE),
    "karpenter": (LABEL_POOL_WORKSPACE, LABEL_POOL_NAMESPACE),
}
"""The labels by which KAITO v0.12 keeps pods on the nodes made for their Workspace, by provisioner."""

# By which KAITO marks the nodes of its other kinds, each with a namespace.
LABELS_OF_OTHERS = (
    "kaito.sh/ragengine",
    "kaito.sh/ragenginenamespace",
    "karpenter.kaito.sh/inferenceset",
    "karpenter.kaito.sh/inferenceset-namespace",
)
RESERVED_LABELS = frozenset(
    {
        LABEL_WORKSPACE,
        LABEL_WORKSPACE_NAMESPACE,
        LABEL_POOL_WORKSPACE,
        LABEL_POOL_NAMESPACE,
        *LABELS_OF_OTHERS,
    }
)
"""Labels that KAITO v0.12 drops from a selector, and that no version's users put on nodes."""

LABEL_INSTANCE_TYPE = "node.kubernetes.io/instance-type"
LABEL_PROVISIONER = "karpenter.sh/provisioner-name"
"""On nodes that were made for Machines."""
LABEL_NODE_POOL = "karpenter.sh/nodepool"
LABEL_MACHINE_TYPE = "kaito.sh/machine-type"

ANNOTATION_ENABLE_LB = "kaito.sh/enablelb"  # the one value that counts is "True"
ANNOTATION_RUNTIME = "kaito.sh/runtime"  # transformers or vllm
ANNOTATION_BYPASS = "kaito.sh/bypass-resource-checks"  # being there is enough
ANNOTATION_PERFORMANCE_MODE = "kaito.sh/performance-mode"  # v0.12: balanced, interactivity or throughput
ANNOTATION_DISABLE_BENCHMARK = "kaito.sh/disable-benchmark"  # v0.12; the one value that counts is "true"
ANNOTATION_LOCAL_WEIGHTS = "kaito.sh/use-local-weights"  # v0.12; the one value that counts is "true"
ANNOTATION_STREAMING = "kaito.sh/model-streaming"  # v0.12; the one value that counts is "disabled"
STREAM_ACCOUNT = "kaito.sh/streaming-service-account"
STATIC_MIRROR = "inference.kaito.sh/static-model-mirror"  # the one value that counts is "true"
STREAM_URL = "inference.kaito.sh/stream-datarefs-url"
STREAM_CLIENT = "inference.kaito.sh/stream-identity-client-id"
STREAM_SOURCE, STREAM_SOURCES = "inference.kaito.sh/stream-source-type", ("public", "byo")
STATIC_SOURCE = (STREAM_URL, STREAM_CLIENT, STREAM_SOURCE)
"""What a static mirror is reached by."""
LABEL_INFERENCE_ROLE = "kaito.sh/inference-role"  # v0.12: prefill or decode
INFERENCE_ROLES = ("prefill", "decode")
LABEL_CREATED_BY_SET = "inferenceset.kaito.sh/created-by"
LABEL_CREATED_BY_ROLES = "multiroleinference.kaito.sh/created-by"

GPU = "nvidia.com/gpu"
"""The extended resource that every preset asks for."""

NODE_CLAIM_READY = "NodeClaimReady"
NODES_READY = "NodesReady"  # from v0.12 on
BENCHMARK_COMPLETED = "BenchmarkCompleted"  # likewise
RESOURCE_READY = "ResourceReady"
INFERENCE_READY = "InferenceReady"
JOB_STARTED = "JobStarted"
WORKSPACE_SUCCEEDED = "WorkspaceSucceeded"
WORKSPACE_DELETING = "WorkspaceDeleting"
FIELDS_IGNORED = "FieldsIgnored"
"""kaitoctl's own: there only while the Workspace asks for something that its controller does not do."""

DEFAULT_INSTANCE_TYPE = "Standard_NC12s_v3"
"""The CRD's default of `resource.instanceType` in v1alpha1 up to v0.4.0."""

NODE_CLAIMS_ASKED = "NodeClaimsAsked"
"""kaitoctl's own: there only while nodes are waited for; says which NodeClaims were asked for, and when."""

MAX_ADAPTERS = 10


def kind_of(workspace: Object) -> Kind:
    """The kind of a Workspace in its own API version."""
    return replace(WORKSPACE, version=str(workspace["apiVersion"]).rpartition("/")[2])


def newest(versions: Collection[str]) -> Kind | None:
    """Workspaces in the newest version that is served and that we know; None when none is.

    To read is harmless in any version; what is written through an old one loses every field that only a
    newer one has, also when the write is a status.
    """
    known = (WORKSPACE_V1BETA1, WORKSPACE)
    return next((kind for kind in known if kind.version in versions), None)


def served_versions(group: Mapping[str, Any]) -> list[str]:
    """The Workspace versions in an API server's answer to `/apis/kaito.sh`."""
    found = group.get("versions")
    names = [dig(item, "version") for item in found] if isinstance(found, list) else []
    return [version for version in VERSIONS if version in names]
