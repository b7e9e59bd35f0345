"""What earlier Workspaces have left behind and somebody still pays for: NodeClaims, node pools, nodes. Pure.

Sources: labels of KAITO v0.3.2 to v0.12 `pkg/nodeclaim`, `pkg/utils/machine`; of its static node pools, v0.12
`pkg/nodeprovision/karpenter`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from kaitoctl.advice import Advice, Command
from kaitoctl.kaito import api, kubectl_hints, node_claims
from kaitoctl.kaito.node_check import plural
from kaitoctl.kube.objects import (
    Object,
    ObjectKey,
    annotations_of,
    dig,
    is_being_deleted,
    key_of,
    labels_of,
    uid_of,
)
from kaitoctl.kube.pod_state import holds_accelerator


class Orphan(Struct, frozen=True):
    """An object that costs money and belongs to no Workspace any more.

    Args:
        kind: `NodeClaim`, `Machine`, `NodePool` or `Node`.
        name: of the object.
        workspace: which it was made for.
        node: the node's name; empty when there is none (yet).
        instance_type: of the node; empty when it does not say.
        why: how it came to be an orphan, and what holds it.
        command: what removes it, or, where others use it, what shows them.
    """

    kind: str
    name: str
    workspace: ObjectKey
    node: str
    instance_type: str
    why: str
    command: Advice


def orphans(
    workspaces: Iterable[Object],
    claims: Iterable[Object],
    pools: Iterable[Object],
    nodes: Sequence[Object],
    pods: Iterable[Object] | None,
) -> list[Orphan]:
    """The orphans among a cluster's objects, by kind and name.

    Args:
        workspaces: all of them, of every namespace; one that is being deleted still has its nodes.
        claims: NodeClaims and Machines.
        pools: NodePools.
        nodes: the nodes.
        pods: unfinished pods that hold GPUs; None when they cannot be seen.
    """
    living = {key_of(workspace): uid_of(workspace) for workspace in workspaces}
    users: dict[str, list[Object]] = {}
    for pod in pods or ():
        if holds_accelerator(pod):
            users.setdefault(str(dig(pod, "spec", "nodeName")), []).append(pod)
    by_name = {str(node["metadata"]["name"]): node for node in nodes}
    listed = list(claims)
    found = [
        *_claims(listed, living, by_name, users),
        *_pools(pools, living),
        *_nodes(nodes, listed, living, users),
    ]
    if pods is None:
        return [_looked_at_first(orphan) if orphan.node else orphan for orphan in found]
    return found


def _claims(
    claims: Iterable[Object],
    living: Mapping[ObjectKey, str],
    nodes: Mapping[str, Object],
    users: Mapping[str, list[Object]],
) -> Iterator[Orphan]:
    for claim in sorted(claims, key=lambda item: str(item["metadata"]["name"])):
        owner = _owner(labels_of(claim))
        if owner is None:
            continue
        uid = annotations_of(claim).get(node_claims.OWNER_UID)
        if owner in living and uid in (None, living[owner]):
            continue
        kind, name = str(claim.get("kind") or "NodeClaim"), str(claim["metadata"]["name"])
        node = node_claims.node_of(claim)
        why = f"Workspace {owner} is gone"
        if owner in living:
            why = f"it was made for an earlier Workspace {owner}"
        command = Command("kubectl delete", kubectl_hints.resource_of(kind), name)
        if is_being_deleted(claim):
            finalizers = ", ".join(map(str, claim["metadata"].get("finalizers") or ())) or "none"
            why += f"; it is being deleted since {claim['metadata']['deletionTimestamp']}, "
            why += f"finalizers: {finalizers}"
            command = Command("kubectl describe", kubectl_hints.resource_of(kind), name)
        elif users.get(node):
            why += f"; {_names(users[node])} of others still use its node"
            command = _look(node)
        yield Orphan(kind, name, owner, node, _instance_type(nodes.get(node), claim), why, command)


def _pools(pools: Iterable[Object], living: Collection[ObjectKey]) -> Iterator[Orphan]:
    for pool in sorted(pools, key=lambda item: str(item["metadata"]["name"])):
        labels = labels_of(pool)
        name, space = labels.get(api.LABEL_POOL_WORKSPACE, ""), labels.get(api.LABEL_POOL_NAMESPACE, "")
        owner = ObjectKey(space, name)
        if not name or owner in living:
            continue
        own = str(pool["metadata"]["name"])
        replicas = dig(pool, "spec", "replicas")
        why = f"Workspace {owner} is gone" + (
            f"; it keeps {replicas} {plural('node', int(replicas))}" if isinstance(replicas, int) else ""
        )
        yield Orphan(
            "NodePool",
            own,
            owner,
            "",
            "",
            why,
            Command("kubectl delete", kubectl_hints.resource_of("NodePool"), own),
        )


def _nodes(
    nodes: Iterable[Object],
    claims: Iterable[Object],
    living: Collection[ObjectKey],
    users: Mapping[str, list[Object]],
) -> Iterator[Orphan]:
    """Nodes that were made for a Workspace, whose NodeClaim is gone as well."""
    claimed = {node_claims.node_of(claim) for claim in claims}
    for node in sorted(nodes, key=lambda item: str(item["metadata"]["name"])):
        name, owner = str(node["metadata"]["name"]), _owner(labels_of(node))
        if owner is None or owner in living or name in claimed:
            continue
        why = f"Workspace {owner} and its NodeClaim are gone; the machine may still be paid for"
        command = Command("kubectl get node", name, "-o", "jsonpath={.spec.providerID}")
        if users.get(name):
            why += f"; {_names(users[name])} of others still use it"
            command = _look(name)
        yield Orphan("Node", name, owner, name, _instance_type(node, {}), why, command)


def _owner(labels: Mapping[str, str]) -> ObjectKey | None:
    """Which Workspace an object says that it was made for; None when it does not say both names."""
    name, space = labels.get(api.LABEL_WORKSPACE), labels.get(api.LABEL_WORKSPACE_NAMESPACE)
    return ObjectKey(space, name) if name and space else None


def _instance_type(node: Object | None, claim: Object) -> str:
    for holder in (node or {}, claim):
        if found := labels_of(holder).get(api.LABEL_INSTANCE_TYPE) if holder else None:
            return found
    for item in dig(claim, "spec", "requirements") or ():
        if item.get("key") == api.LABEL_INSTANCE_TYPE:
            return ", ".join(map(str, item.get("values") or ()))
    return ""


def _looked_at_first(orphan: Orphan) -> Orphan:
    """Where pods may not be listed, nobody can say that the node is free."""
    return Orphan(
        orphan.kind,
        orphan.name,
        orphan.workspace,
        orphan.node,
        orphan.instance_type,
        f"{orphan.why}; pods of all namespaces cannot be listed, others may use its node",
        _look(orphan.node),
    )


def _look(node: str) -> Command:
    return kubectl_hints.pods_on(node)


def _names(pods: Sequence[Object]) -> str:
    more = f" and {len(pods) - 1} more" if len(pods) > 1 else ""
    return f"{plural('pod', len(pods))} {key_of(pods[0])}{more}"
