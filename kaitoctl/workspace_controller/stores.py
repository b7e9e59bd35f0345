"""What a reconcile may look at: the informers' stores, and what of each object they keep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from msgspec import Struct, field

from kaitoctl.advice import text
from kaitoctl.kaito import api, node_check, node_claims, revisions
from kaitoctl.kaito.workspace_status import trim
from kaitoctl.kube import pod_state
from kaitoctl.kube.objects import (
    CONTROLLER_REVISION,
    NODE,
    POD,
    Kind,
    Object,
    ObjectKey,
    dig,
    is_being_deleted,
    labels_of,
    without_managed_fields,
)
from kaitoctl.reconcile.store import Store


class Stores(Struct, frozen=True):
    """What a reconcile may look at: the informers' stores, and whether NodeClaims exist in this cluster.

    Args:
        pods: the Workspaces' own pods, as `pod_state.trimmed`.
        gpu_pods: all unfinished pods that hold GPUs, trimmed by `holding_gpus`.
        config_maps: those labelled with a Workspace's name.
        revisions: those labelled with a Workspace's name, as `revisions.kept`.
        can_claim: whether the cluster serves the API by which nodes are asked for.
        pools: KAITO's and our NodePools, where Karpenter is asked with them.
        machines: by which KAITO asked for nodes up to v0.4.1. They are never written, and counted while their
            nodes are there, or about to be.
        clock: the present time.
    """

    workspaces: Store
    deployments: Store
    stateful_sets: Store
    services: Store
    nodes: Store
    pods: Store
    gpu_pods: Store
    claims: Store
    jobs: Store
    config_maps: Store
    revisions: Store
    can_claim: Callable[[], bool]
    pools: Store = field(default_factory=Store)
    machines: Store = field(default_factory=Store)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)


def _as_machine(obj: Object) -> Object:
    """A Machine that says so wherever it is looked at."""
    return {**without_managed_fields(obj), "kind": api.MACHINE.kind}


_TRANSFORMS: Mapping[Kind, Callable[[Object], Object]] = {
    api.WORKSPACE: trim,
    api.WORKSPACE_V1BETA1: trim,
    CONTROLLER_REVISION: revisions.trim_revision,
    NODE: node_check.trimmed,
    POD: pod_state.trimmed,
    api.MACHINE: _as_machine,
}


def transform_of(kind: Kind) -> Callable[[Object], Object]:
    """What the stores keep of an object of this kind, for `Informer`."""
    return _TRANSFORMS.get(kind, without_managed_fields)


def workspace_of_labels(child: Object) -> list[ObjectKey]:
    """The key of the Workspace that a pod or NodeClaim is labelled with, as a list of one or none."""
    labels = labels_of(child)
    namespace = child["metadata"].get("namespace") or labels.get(api.LABEL_WORKSPACE_NAMESPACE) or ""
    name = labels.get(api.LABEL_WORKSPACE)
    return [ObjectKey(namespace, name)] if name and namespace else []


def bought_for(stores: Stores, key: ObjectKey, uid: str) -> list[Object]:
    """The NodeClaims of the Workspace of this key and uid, and Machines of an older KAITO."""
    machines = stores.machines.by(node_claims.made_for, key) if stores.machines else []
    if not stores.claims:
        return machines
    own = stores.claims.by(node_claims.made_for, uid)
    return [*own, *stores.claims.by(node_claims.made_for, key), *machines]


def counted(stores: Stores, claims: Iterable[Object]) -> list[Object]:
    """The claims without the Machines that have got no node, or have one that is going.

    Nobody need act on Machines once KAITO is replaced: waiting for such a one may be waiting for ever.
    """
    return [
        one
        for one in claims
        if not node_claims.is_machine(one)
        or _has_node(stores, one)
        or node_claims.is_launching(one, stores.clock())
    ]


def machine_stays(stores: Stores, machine: Object, manager: str = "kaitoctl's controller") -> str:
    """That a Machine stays, and what shows and deletes it, in words."""
    has_node = _has_node(stores, machine)
    return text(node_claims.stays_words(machine, has_node=has_node, manager=manager))


def _has_node(stores: Stores, claim: Object) -> bool:
    node = stores.nodes.get(ObjectKey("", node_claims.node_of(claim)))
    return node is not None and not is_being_deleted(node)


def claims_on(stores: Stores, node: str) -> list[Object]:
    """The NodeClaims and Machines that a node was made for."""
    machines = stores.machines.by(node_of_claim, node) if stores.machines else []
    return [*stores.claims.by(node_of_claim, node), *machines]


def node_of_claim(claim: Object) -> tuple[str, ...]:
    """The name of the node that a NodeClaim has got, as a tuple of one or none."""
    return (name,) if (name := node_claims.node_of(claim)) else ()


def node_index(workspace: Object) -> list[str | tuple[str, str]]:
    """By what a Workspace's nodes are known: their names, and one of the labels that they must have."""
    labels = node_check.labels_asked(workspace) or {
        api.LABEL_INSTANCE_TYPE: node_check.instance_type_of(workspace)
    }
    return [*node_check.preferred_nodes(workspace), min(labels.items())]


def node_of_pod(pod: Object) -> tuple[str, ...]:
    """The name of the node that a pod is on, as a tuple of one or none."""
    name = dig(pod, "spec", "nodeName")
    return (name,) if name else ()
