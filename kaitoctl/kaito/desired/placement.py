"""Which nodes the pods of a Workspace may run on."""

from __future__ import annotations

from collections.abc import Collection

from kaitoctl.kaito import api
from kaitoctl.kaito.node_check import TOLERATIONS
from kaitoctl.kaito.node_check.need import SPOT
from kaitoctl.kaito.settings import Settings
from kaitoctl.kube.objects import Object, dig


def tolerations(workspace: Object, settings: Settings) -> list[Object]:
    """What KAITO v0.12 has its pods tolerate: spot nodes of Azure, and MIG slices where one is asked for."""
    made = [dict(toleration) for toleration in TOLERATIONS]
    if settings.cloud == "azure":
        made.append(dict(SPOT))
    partition = dig(workspace, "resource", "partition") or {}
    if partition.get("mode") == "mig":
        key = f"nvidia.com/mig-{partition.get('profile')}"
        made.append({"key": key, "operator": "Exists", "effect": "NoSchedule"})
    return made


def node_affinity(workspace: Object, settings: Settings | None = None, *, provisioner: str = "") -> Object:
    """One required term with all of the selector's demands, in a fixed order; empty when there are none.

    Args:
        workspace: the Workspace.
        settings: of KAITO v0.12's generation, which does without the labels that are its own and adds those
            of the provisioner; None for the generations before.
        provisioner: of those before: where nodes are made for one Workspace alone, its pods stay on them, or
            they would run where the controller does not look for them.
    """
    selector = dig(workspace, "resource", "labelSelector") or {}
    labels = dict(selector.get("matchLabels") or {})
    if settings is not None:
        provisioner = settings.provisioner
        labels = {key: value for key, value in labels.items() if key not in api.RESERVED_LABELS}
    if keys := api.PROVISIONER_LABELS.get(provisioner):
        metadata = workspace["metadata"]
        labels |= dict(zip(keys, (metadata["name"], metadata["namespace"]), strict=True))
    expressions = [{"key": key, "operator": "In", "values": [value]} for key, value in sorted(labels.items())]
    expressions += [dict(expression) for expression in selector.get("matchExpressions") or ()]
    if settings is not None and not expressions:
        return {}  # the API server refuses a term without a demand
    terms = [{"matchExpressions": expressions}]
    return {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}


def on_its_nodes(workspace: Object, settings: Settings) -> Object:
    """What keeps a pod of the generations before v0.12 on the Workspace's nodes: affinity and tolerations."""
    return {
        "affinity": {"nodeAffinity": node_affinity(workspace, provisioner=settings.provisioner)},
        "tolerations": [dict(toleration) for toleration in TOLERATIONS],
    }


def with_own_labels(workspace: Object, keys: Collection[str]) -> Object:
    """The Workspace as one that selects, besides, the labels of the nodes that are made for it alone.

    Args:
        workspace: the Workspace.
        keys: of `api.PROVISIONER_LABELS`.
    """
    metadata, resource = workspace["metadata"], workspace.get("resource") or {}
    selector = resource.get("labelSelector") or {}
    own = dict(zip(keys, (metadata["name"], metadata["namespace"]), strict=True))
    labels = {**(selector.get("matchLabels") or {}), **own}
    return {**workspace, "resource": {**resource, "labelSelector": {**selector, "matchLabels": labels}}}


def with_node_affinity(affinity: Object, ours: Object) -> Object:
    """The user's affinity, each of its node terms narrowed by ours: terms are alternatives."""
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    (our_term,) = ours[required]["nodeSelectorTerms"]
    node = dict(affinity.get("nodeAffinity") or {})
    terms = dig(node, required, "nodeSelectorTerms") or [{}]
    node[required] = {
        "nodeSelectorTerms": [
            {
                **term,
                "matchExpressions": [*(term.get("matchExpressions") or ()), *our_term["matchExpressions"]],
            }
            for term in terms
        ]
    }
    return {**affinity, "nodeAffinity": node}
