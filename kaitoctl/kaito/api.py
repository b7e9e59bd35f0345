"""The names of KAITO's API: kinds, labels, annotations, conditions.

Source: KAITO v0.3.2 and v0.4.0, `api/v1alpha1` (labels, condition types) and `pkg/utils/consts`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

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

MACHINE = Kind("karpenter.sh", "v1alpha5", "Machine", "machines", namespaced=False)
"""What KAITO v0.3 and v0.4 ask for nodes with, unless their Karpenter gate is on."""

FINALIZER = "workspace.finalizer.kaito.sh"

LABEL_WORKSPACE = "kaito.sh/workspace"
LABEL_WORKSPACE_NAMESPACE = "kaito.sh/workspacenamespace"
LABEL_INSTANCE_TYPE = "node.kubernetes.io/instance-type"
LABEL_NODE_POOL = "karpenter.sh/nodepool"
LABEL_MACHINE_TYPE = "kaito.sh/machine-type"

ANNOTATION_ENABLE_LB = "kaito.sh/enablelb"  # the one value that counts is "True"
ANNOTATION_RUNTIME = "kaito.sh/runtime"  # transformers or vllm

GPU = "nvidia.com/gpu"
"""The extended resource that every preset asks for."""

NODE_CLAIM_READY = "NodeClaimReady"
NODES_READY = "NodesReady"  # from v0.12 on
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
