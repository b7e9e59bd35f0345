"""What KAITO v0.12 asks for new nodes with: a NodeClaim for each, one static NodePool, or nothing. Pure.

kaitoctl's own controller asks with NodeClaims of its own (`claims`), whose names follow from the Workspace.

Source: KAITO v0.12.0 `pkg/utils/nodeclaim/nodeclaim.go`, `pkg/nodeprovision/karpenter/nodepool.go`,
`pkg/nodeprovision/byo-provisioner/byo_provisioner.go`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from msgspec import Struct

from kaitoctl.kaito import api, node_claims
from kaitoctl.kaito.api import PROVISIONER_LABELS
from kaitoctl.kaito.desired import Settings, target_nodes
from kaitoctl.kaito.node_check import instance_type_of
from kaitoctl.kube.objects import NODE_CLAIM, Kind, Object, annotations_of, dig, labels_of

_SET = "inferenceset.kaito.sh/created-by"
_TAINT: Object = {"key": "sku", "value": "gpu", "effect": "NoSchedule"}
_LONGEST_NAME, _HASH = 63, 9  # the name is a label's value on nodes
_FAMILIES = {"ubuntu": "ubuntu", "azurelinux": "azurelinux"}
_CLAIM_CLASSES = {
    "azure": {"group": "kaito.sh", "kind": "KaitoNodeClass", "name": "default"},
    "aws": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"},
}


class NodeClasses(Struct, frozen=True):
    """What Karpenter makes nodes of (`--karpenter-node-class-*` and `--karpenter-node-classes` of KAITO).

    Args:
        group: API group of the class.
        kind: of the class.
        default: the class of a Workspace that names none.
    """

    group: str = "karpenter.azure.com"
    kind: str = "AKSNodeClass"
    default: str = "image-family-ubuntu"


AZURE = NodeClasses()


def node_requests(
    workspace: Object,
    settings: Settings,
    *,
    names: Iterable[str] = (),
    classes: NodeClasses = AZURE,
) -> list[tuple[Kind, Object]]:
    """The objects by which the provisioner of the settings is asked for the nodes of a Workspace.

    Args:
        workspace: the Workspace.
        settings: its provisioner, cloud and generation count.
        names: of NodeClaims, one for each node that is missing.
        classes: what Karpenter makes nodes of.
    """
    return _BY_PROVISIONER[settings.provisioner](workspace, settings, tuple(names), classes)


def node_pool_name(namespace: str, name: str) -> str:
    """The name of a Workspace's NodePool; one that is too long ends in a hash."""
    full = f"{namespace}-{name}"
    if len(full) <= _LONGEST_NAME:
        return full
    digest = hashlib.sha256(full.encode()).hexdigest()[:_HASH]
    return f"{full[: _LONGEST_NAME - 1 - _HASH]}-{digest}"


def node_claim(workspace: Object, name: str, settings: Settings) -> Object:
    """The NodeClaim of the azure-gpu-provisioner for one node."""
    notes = annotations_of(workspace)
    machine = instance_type_of(workspace)
    family = str(notes.get("kaito.sh/node-image-family") or "").lower()
    requirements = [
        _in(api.LABEL_NODE_POOL, "kaito"),
        _in(api.LABEL_INSTANCE_TYPE, machine),
        _in("kubernetes.io/os", "linux"),
    ]
    if settings.cloud == "azure":
        requirements.append(_in("karpenter.azure.com/sku-name", machine))
    elif settings.cloud == "aws":
        key = "karpenter.k8s.aws/instance-gpu-count"
        requirements.append({"key": key, "operator": "Gt", "values": ["0"]})
    disk = node_claims.disk_of(workspace, settings)
    return {
        "apiVersion": NODE_CLAIM.api_version,
        "kind": NODE_CLAIM.kind,
        "metadata": {
            "name": name,
            "labels": {
                api.LABEL_NODE_POOL: "kaito",
                **_owner(workspace, settings),
                **_selector_labels(workspace),
            },
            "annotations": {
                "karpenter.sh/do-not-disrupt": "true",
                "kaito.sh/node-image-family": _FAMILIES.get(family, "ubuntu"),
            },
        },
        "spec": {
            "nodeClassRef": dict(_CLAIM_CLASSES.get(settings.cloud, {})),
            "taints": [dict(_TAINT)],
            "requirements": requirements,
            "resources": {"requests": {"storage": "1024Gi" if disk == "0" else disk}},
        },
    }


def owned_claim(workspace: Object, name: str, settings: Settings) -> Object:
    """The NodeClaim of kaitoctl's controller: its own, or KAITO's with the uid of the Workspace on it."""
    if not settings.provisioner:
        return node_claims.node_claim(workspace, name, settings)
    made = node_claim(workspace, name, settings)
    made["metadata"]["annotations"][node_claims.OWNER_UID] = workspace["metadata"]["uid"]
    return made


def node_pool(workspace: Object, settings: Settings, classes: NodeClasses = AZURE) -> Object:
    """The static NodePool of Karpenter: as many nodes as the Workspace takes, all the time.

    Karpenter may replace a node whose class has changed at any time; for children of an InferenceSet, which
    are replaced one by one, it waits until it may.
    """
    metadata = workspace["metadata"]
    owner, maker = _owner(workspace, settings), labels_of(workspace).get(_SET)
    if maker:
        owner |= {
            "karpenter.kaito.sh/inferenceset": maker,
            "karpenter.kaito.sh/inferenceset-namespace": metadata["namespace"],
        }
    requirements = [_in(api.LABEL_INSTANCE_TYPE, instance_type_of(workspace))]
    if classes.group == AZURE.group:
        requirements.append(_in("karpenter.azure.com/placement-scope", "regional"))
    name = str(annotations_of(workspace).get("kaito.sh/node-class-name") or classes.default)
    return {
        "apiVersion": api.NODE_POOL.api_version,
        "kind": api.NODE_POOL.kind,
        "metadata": {
            "name": node_pool_name(metadata["namespace"], metadata["name"]),
            "labels": {"karpenter.kaito.sh/managed-by": "kaito", **owner},
        },
        "spec": {
            "replicas": target_nodes(workspace, settings),
            "template": {
                "metadata": {"labels": {**owner, **_selector_labels(workspace)}},
                "spec": {
                    "nodeClassRef": {"group": classes.group, "kind": classes.kind, "name": name},
                    "requirements": requirements,
                    "taints": [dict(_TAINT)],
                },
            },
            "disruption": {
                "consolidateAfter": "0s",
                "budgets": [{"nodes": "0" if maker else "1", "reasons": ["Drifted"]}],
            },
        },
    }


def _owner(workspace: Object, settings: Settings) -> dict[str, str]:
    metadata = workspace["metadata"]
    keys = PROVISIONER_LABELS[settings.provisioner]
    return dict(zip(keys, (metadata["name"], metadata["namespace"]), strict=True))


def _selector_labels(workspace: Object) -> dict[str, str]:
    labels = dig(workspace, "resource", "labelSelector", "matchLabels") or {}
    return {key: value for key, value in labels.items() if key not in api.RESERVED_LABELS}


def _in(key: str, value: str) -> Object:
    return {"key": key, "operator": "In", "values": [value]}


Asking = Callable[[Object, Settings, tuple[str, ...], NodeClasses], list[tuple[Kind, Object]]]

_BY_PROVISIONER: Mapping[str, Asking] = MappingProxyType(
    {
        "azure-gpu-provisioner": lambda workspace, settings, names, classes: [
            (NODE_CLAIM, node_claim(workspace, name, settings)) for name in names
        ],
        "karpenter": lambda workspace, settings, names, classes: [
            (api.NODE_POOL, node_pool(workspace, settings, classes))
        ],
        "byo": lambda workspace, settings, names, classes: [],
    }
)
