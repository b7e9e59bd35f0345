"""The NodeClaims by which a Workspace asks Karpenter for nodes. Pure.

They cost money, so a slot's name never changes: asking twice is asking once. They live in no namespace
and cannot carry an owner reference to a Workspace; an annotation names its uid instead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import count

from kaitoctl.kaito import api, catalog, desired, tuning
from kaitoctl.kaito import nodes as nodes_
from kaitoctl.kube.objects import NODE_CLAIM, Object, annotations_of, dig, key_of, labels_of, uid_of

OWNER_UID = "kaitoctl.dev/workspace-uid"


def names(workspace: Object) -> Iterator[str]:
    """The names of a Workspace's NodeClaims, slot after slot.

    Like KAITO's they are `ws` and nine hex digits; unlike KAITO's they hash no time, so asking twice
    for the same slot is asking once.
    """
    for slot in count():
        seed = f"{key_of(workspace)}/{uid_of(workspace)}/{slot}"
        yield "ws" + hashlib.sha256(seed.encode()).hexdigest()[:9]


def node_claim(workspace: Object, name: str) -> Object:
    """The NodeClaim that asks Karpenter for one node of the Workspace's instance type.

    Source: KAITO v0.3.2 `pkg/nodeclaim/nodeclaim.go`, moved to karpenter.sh/v1.
    """
    metadata = workspace["metadata"]
    preset = tuning.row_of(workspace) or desired.preset_of(workspace)
    if _is_aws(workspace):
        node_class = {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"}
    else:
        node_class = {"group": "karpenter.azure.com", "kind": "AKSNodeClass", "name": "default"}
    return {
        "apiVersion": NODE_CLAIM.api_version,
        "kind": NODE_CLAIM.kind,
        "metadata": {
            "name": name,
            "labels": {**_selected_labels(workspace), **_own_labels(workspace)},
            "annotations": {"karpenter.sh/do-not-disrupt": "true", OWNER_UID: metadata["uid"]},
        },
        "spec": {
            "nodeClassRef": node_class,
            "requirements": [
                {"key": key, "operator": "In", "values": [value]}
                for key, value in _requirements(workspace).items()
            ],
            "taints": [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
            "resources": {"requests": {"ephemeral-storage": preset.disk if preset else "0"}},
        },
    }


def fits(workspace: Object, claim: Object) -> bool:
    """Whether the node that a NodeClaim asks for is one that the Workspace, as it is now, would use."""
    wanted = {
        "key": api.LABEL_INSTANCE_TYPE,
        "operator": "In",
        "values": [nodes_.instance_type_of(workspace)],
    }
    has_type = wanted in (dig(claim, "spec", "requirements") or ())
    return has_type and _selected_labels(workspace).items() <= labels_of(claim).items()


def contradiction(workspace: Object) -> str:
    """Why no new node could ever be one that the Workspace selects; empty when one could.

    Every claim for such a Workspace would buy a node that it does not use, and so call for the next one.
    """
    if not nodes_.instance_type_of(workspace):
        return "no new node can be asked for: resource.instanceType is not given"
    given = {**_requirements(workspace), **_own_labels(workspace)}
    for key, value in sorted(_selected_pairs(workspace)):
        if given.setdefault(key, value) != value:
            return f"no new node would match the label selector: {key} would be {given[key]}, not {value}"
    return ""


def is_of(claim: Object, workspace: Object) -> bool:
    """Whether the NodeClaim was made for this very incarnation of the Workspace."""
    return annotations_of(claim).get(OWNER_UID) == uid_of(workspace)


def owner_uids(claim: Object) -> tuple[str, ...]:
    """The uid of the Workspace that a NodeClaim was made for, as a list of one or none."""
    uid = annotations_of(claim).get(OWNER_UID)
    return (uid,) if uid else ()


def _own_labels(workspace: Object) -> dict[str, str]:
    metadata = workspace["metadata"]
    return {
        api.LABEL_NODE_POOL: "kaito",
        api.LABEL_WORKSPACE: metadata["name"],
        api.LABEL_WORKSPACE_NAMESPACE: metadata["namespace"],
    }


def _requirements(workspace: Object) -> dict[str, str]:
    instance_type = nodes_.instance_type_of(workspace)
    asked = {
        api.LABEL_NODE_POOL: "kaito",
        api.LABEL_INSTANCE_TYPE: instance_type,
        "kubernetes.io/os": "linux",
    }
    return asked if _is_aws(workspace) else {**asked, "karpenter.azure.com/sku-name": instance_type}


def _is_aws(workspace: Object) -> bool:
    known = catalog.instance_type(nodes_.instance_type_of(workspace))
    return known is not None and known.cloud == "aws"


def _selected_labels(workspace: Object) -> dict[str, str]:
    return dict(_selected_pairs(workspace))


def _selected_pairs(workspace: Object) -> list[tuple[str, str]]:
    """The selector as labels; the rules refuse expressions that cannot be said so."""
    selector = dig(workspace, "resource", "labelSelector") or {}
    single = [(item["key"], item["values"][0]) for item in selector.get("matchExpressions") or ()]
    return [*(selector.get("matchLabels") or {}).items(), *single]
