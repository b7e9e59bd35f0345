"""What all children of a Workspace share: names, labels, the port, and how text reaches a container."""

from __future__ import annotations

from kaitoctl.kaito import api
from kaitoctl.kube.objects import DEPLOYMENT, Kind, Object, dig, labels_of

PORT = 5000
"""Where `inference_api.py` listens."""

RAY_PORT, DASHBOARD_PORT, KV_EVENTS_PORT = 6379, 8265, 5557
"""Where the pods of several nodes meet, where that is seen, and where vLLM publishes KV cache events."""

# Source: KAITO v0.12.0 pkg/workspace/manifests/manifests.go, GenerateStatefulSetManifest.
_MAKERS = (
    "inferenceset.kaito.sh/created-by",
    "multiroleinference.kaito.sh/created-by",
    api.LABEL_INFERENCE_ROLE,
)

NO_NEW_PRIVILEGES: Object = {"allowPrivilegeEscalation": False}
"""For images that are not ours to choose: KAITO's run as root, and need nobody knows what of its powers."""

# $1 is the directory to fill. Its name arrives as an argument, never as program text; dot files are
# copied too, and an image without files in /data says so instead of serving an unadapted model.
COPY_DATA = (
    'if [ -z "$(ls -A /data 2>/dev/null)" ]; then echo "no files in /data of this image" >&2; exit 1; fi; '
    'mkdir -p -- "$1" && cp -a /data/. "$1"/'
)


def child_object(kind: Kind, workspace: Object, spec: Object, *, name: str = "") -> Object:
    """An object in the Workspace's namespace, of its name unless another is given, with its label."""
    metadata = workspace["metadata"]
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {
            "name": name or metadata["name"],
            "namespace": metadata["namespace"],
            "labels": {api.LABEL_WORKSPACE: metadata["name"]},
        },
        "spec": spec,
    }


def one_pod_a_node(workspace: Object, template: Object, *, deadline_s: int | None = None) -> Object:
    """The Deployment of the Workspace's pods, one on each of its nodes.

    Args:
        workspace: the Workspace.
        template: of the pods.
        deadline_s: how long its model may take to load; Kubernetes' default of 600 s would fail a model that
            takes its full readiness budget. None for that default.
    """
    deadline = {} if deadline_s is None else {"progressDeadlineSeconds": deadline_s}
    spec = {
        "replicas": replicas(workspace),
        "selector": {"matchLabels": pod_labels(workspace)},
        # A GPU node has no room for a second pod, so the old one goes first.
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
        **deadline,
        "template": template,
    }
    return child_object(DEPLOYMENT, workspace, spec)


def pod_labels(workspace: Object) -> dict[str, str]:
    """The labels by which the Workspace's pods are found."""
    return {api.LABEL_WORKSPACE: workspace["metadata"]["name"]}


def serving_labels(workspace: Object) -> dict[str, str]:
    """Those of a model server: its pods are found by whoever made the Workspace, too."""
    labels = labels_of(workspace)
    return {**pod_labels(workspace), **{key: labels[key] for key in _MAKERS if key in labels}}


def first_pod(workspace: Object) -> str:
    """The name in the cluster's DNS of the pod that leads the others."""
    metadata = workspace["metadata"]
    return f"{metadata['name']}-0.{headless_name(workspace)}.{metadata['namespace']}.svc.cluster.local"


def headless_name(workspace: Object) -> str:
    """The name of the Service by which the pods of a distributed model find each other."""
    return f"{workspace['metadata']['name']}-headless"


def replicas(workspace: Object) -> int:
    """The number of pods: one a node."""
    return int(dig(workspace, "resource", "count") or 1)


def literal(argument: str) -> str:
    """The argument or value as Kubernetes hands it over unchanged: it replaces `$(NAME)`, and `$$` by `$`."""
    return argument.replace("$", "$$")
