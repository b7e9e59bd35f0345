"""What the deletion of a Workspace ends, gives back and leaves, and what of it is still there. Pure.

Sources: KAITO v0.3.2 to v0.12 workspace_gc_finalizer.go (every NodeClaim with the Workspace's labels is
deleted, whoever runs on its node); `workspace_controller.claims` (kaitoctl's own keeps a node while others
hold GPUs of it); Kubernetes 1.34 StatefulSet `persistentVolumeClaimRetentionPolicy` (claims stay by default).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from kaitoctl.advice import Advice
from kaitoctl.kaito import api, node_check, node_claims
from kaitoctl.kaito.diagnosis import references
from kaitoctl.kaito.diagnosis.case import title_of
from kaitoctl.kaito.snapshot import Named, Snapshot, node_names
from kaitoctl.kube import conditions, pod_state
from kaitoctl.kube.objects import Object, ObjectKey, controller_of, dig, key_of, labels_of
from kaitoctl.kube.workloads import replicas


class Consequences(Struct, frozen=True):
    """What a deletion leads to, a line each.

    Args:
        ends: what is deleted with the Workspace.
        returned: the nodes that are given back.
        evicted: pods of others that end with those nodes.
        kept: nodes made for the Workspace that stay, and why.
        stays: what it uses and is not deleted.
        waits_for: the names of the NodeClaims that go.
    """

    ends: tuple[str, ...]
    returned: tuple[str, ...]
    evicted: tuple[str, ...]
    kept: tuple[Advice, ...]
    stays: tuple[str, ...]
    waits_for: frozenset[str]

    def lines(self) -> Iterator[Advice]:
        """All of it, in the order in which it matters."""
        yield from (f"ends: {line}" for line in self.ends)
        yield from (f"released: {line}" for line in self.returned)
        yield from (f"evicted: {line}" for line in self.evicted)
        yield from ("kept: " + line for line in self.kept)
        if self.stays:
            yield f"stays: {', '.join(self.stays)}"


def consequences(
    seen: Snapshot, pods: Iterable[Object] | None, beside: Sequence[Snapshot] = ()
) -> Consequences:
    """What becomes of a Workspace and all around it when it is deleted.

    Args:
        seen: the Workspace and what belongs to it.
        pods: unfinished pods on its nodes, of every namespace; None when they cannot be seen.
        beside: other Workspaces that are deleted with it, whose pods hold no node for long.
    """
    workspace = seen.workspace
    assert workspace is not None
    own = {key_of(pod) for one in (seen, *beside) for pod in one.pods}
    others: dict[str, list[Object]] = {}
    for pod in pods or ():
        if key_of(pod) not in own and not _is_of_daemon(pod):
            others.setdefault(str(dig(pod, "spec", "nodeName")), []).append(pod)
    returned, evicted, kept, waits_for = [], [], [], set()
    for claim in seen.claims:
        if seen.is_ours and not node_claims.is_of(claim, workspace):
            continue
        if seen.is_ours and node_claims.is_machine(claim):
            has_node = node_claims.node_of(claim) not in seen.gone
            kept.append(node_claims.stays_words(claim, has_node=has_node))
            continue
        title, node = _claim(claim), node_claims.node_of(claim)
        holding = [pod for pod in others.get(node, ()) if pod_state.holds_accelerator(pod)]
        if seen.is_ours and holding:
            have = "has" if len(holding) == 1 else "have"
            kept.append(f"{title}, until {_names(holding)} of others {have} left")
            continue
        returned.append(title)
        waits_for.add(str(claim["metadata"]["name"]))
        if others.get(node):
            evicted.append(f"{_names(others[node])} on node {node}, of others")
        elif pods is None and node:
            evicted.append(f"whatever else runs on node {node}: pods of all namespaces cannot be listed")
    if seen.hides_claims and (nodes := node_names(seen)):
        returned.append(
            f"any of {node_check.plural('node', len(nodes))} {', '.join(nodes)} that was made for it: "
            "NodeClaims cannot be listed"
        )
        evicted += [f"{_names(others[node])} on node {node}, of others, where that is one" for node in others]
        if pods is None:
            evicted.append("whatever else runs there: pods of all namespaces cannot be listed")
    left = dict(_left_to_others(seen, beside, others)) if seen.is_ours and pods is not None else {}
    returned += left.values()
    return Consequences(
        tuple(_ends(seen)),
        tuple(returned),
        tuple(evicted),
        tuple(kept),
        tuple(dict.fromkeys(line for line in _stays(seen, workspace, beside) if line not in left)),
        frozenset(waits_for),
    )


def _left_to_others(
    seen: Snapshot, beside: Sequence[Snapshot], others: Mapping[str, Sequence[Object]]
) -> Iterator[tuple[str, str]]:
    """The nodes that its pods leave empty, and that were bought for Workspaces which stay: title and words.

    Args:
        seen: what is deleted.
        beside: what is deleted with it.
        others: pods that stay, by node.
    """
    going = {key_of(one.workspace) for one in (seen, *beside) if one.workspace is not None}
    there = {str(dig(pod, "spec", "nodeName")) for pod in seen.pods if not pod_state.is_finished(pod)}
    for node in seen.nodes:
        name, labels = key_of(node).name, labels_of(node)
        owner = ObjectKey(labels.get(api.LABEL_WORKSPACE_NAMESPACE, ""), labels.get(api.LABEL_WORKSPACE, ""))
        is_held = any(pod_state.holds_accelerator(pod) for pod in others.get(name, ()))
        if name in there and all(owner) and owner not in going and not is_held:
            yield f"node {name}", f"node {name}, bought for Workspace {owner}, if that runs without it"


def remaining(seen: Snapshot, uid: str, waits_for: Iterable[str]) -> str:
    """What is still there of a deleted Workspace, in words; empty when nothing is.

    Args:
        seen: what there is now.
        uid: of the Workspace; another one of its name does not count.
        waits_for: the names of the NodeClaims that go with it.
    """
    wanted = set(waits_for)
    claims = [claim for claim in seen.claims if claim["metadata"]["name"] in wanted]
    is_there = seen.workspace is not None and dig(seen.workspace, "metadata", "uid") == uid
    if seen.workspace is not None and not is_there:
        parts = []  # its pods and workloads cannot be told from those of the new one
    else:
        parts = [
            _count(len(seen.pods), "pod"),
            _count(len((*seen.workloads, *seen.jobs)), "workload"),
        ]
    parts.append(_count(len(claims), "NodeClaim"))
    nodes_left = sorted(filter(None, map(node_claims.node_of, claims)))
    words = ", ".join(part for part in parts if part)
    if nodes_left:
        words += f" ({node_check.plural('node', len(nodes_left))} {', '.join(nodes_left)})"
    return words or ("the Workspace itself" if is_there else "")


def _ends(seen: Snapshot) -> Iterator[str]:
    for item in seen.workloads:
        ready = int(dig(item, "status", "readyReplicas") or 0)
        yield f"{title_of(item)}: {ready} of {replicas(item)} pods ready"
    for item in seen.jobs:
        has_ended = conditions.is_true(item, "Complete") or conditions.is_true(item, "Failed")
        is_done = has_ended or (bool(seen.pods) and all(map(pod_state.is_finished, seen.pods)))
        yield title_of(item) + ("" if is_done else ": tuning that has not finished")
    for item in seen.services:
        yield title_of(item)


def _stays(seen: Snapshot, workspace: Object, beside: Sequence[Snapshot]) -> Iterator[str]:
    for _, named in references(workspace):
        if named not in seen.missing:
            yield f"{named.kind} {named.name}"
    for pod in seen.pods:
        for volume in dig(pod, "spec", "volumes") or ():
            claim = dig(volume, "persistentVolumeClaim", "claimName")
            is_there = Named("PersistentVolumeClaim", str(claim)) not in seen.missing
            if claim and is_there and not _goes_with_its_maker(seen, str(claim)):
                yield f"PersistentVolumeClaim {claim}"
    made = {node_claims.node_of(claim) for one in (seen, *beside) for claim in one.claims}
    for name in () if seen.hides_claims else node_names(seen):
        if name not in made and name not in seen.gone:
            yield f"node {name}"


def _goes_with_its_maker(seen: Snapshot, volume_claim: str) -> bool:
    """Whether the volume claim was made from a template of StatefulSets that all take it along."""
    whens_deleted = [
        dig(item, "spec", "persistentVolumeClaimRetentionPolicy", "whenDeleted")
        for item in seen.workloads
        for template in dig(item, "spec", "volumeClaimTemplates") or ()
        if volume_claim.startswith(f"{template['metadata']['name']}-{item['metadata']['name']}-")
    ]
    return bool(whens_deleted) and all(when == "Delete" for when in whens_deleted)


def _claim(claim: Object) -> str:
    kind = str(claim.get("kind") or "NodeClaim")
    node = node_claims.node_of(claim)
    return f"{kind} {claim['metadata']['name']}" + (
        f", node {node}" if node else ", whose node has not joined"
    )


def _names(pods: list[Object]) -> str:
    shown = ", ".join(str(key_of(pod)) for pod in pods[:3])
    more = f" and {len(pods) - 3} more" if len(pods) > 3 else ""
    return f"{node_check.plural('pod', len(pods))} {shown}{more}"


def _count(number: int, noun: str) -> str:
    return f"{number} {node_check.plural(noun, number)}" if number else ""


def _is_of_daemon(pod: Object) -> bool:
    """Every node has these, and they go with it."""
    owner = controller_of(pod)
    return owner is not None and owner.get("kind") in ("DaemonSet", "Node")
