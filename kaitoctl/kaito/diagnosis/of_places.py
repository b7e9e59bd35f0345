"""Why no node can have a pod and its volumes: in which zone, or on which node, each volume is. Pure.

The scheduler says that volume and nodes do not go together, and names neither.

Source: Kubernetes v1.37.2 pkg/scheduler/framework/plugins/volumebinding/binder.go (checkBoundClaims,
checkVolumeProvisions: a StorageClass that makes volumes nowhere near is "no persistent volumes to bind") and
nodevolumelimits/csi.go (CSINode spec.drivers[].allocatable.count); component-helpers/storage/volume.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

from msgspec import Struct

from kaitoctl.advice import Command
from kaitoctl.kaito.diagnosis.case import FILES_LOST, Case
from kaitoctl.kube import pod_state
from kaitoctl.kube.objects import Kind, Object, dig, labels_of, matches_node_term

PERSISTENT_VOLUME = Kind("", "v1", "PersistentVolume", "persistentvolumes", namespaced=False)
STORAGE_CLASS = Kind("storage.k8s.io", "v1", "StorageClass", "storageclasses", namespaced=False)
CSI_NODE = Kind("storage.k8s.io", "v1", "CSINode", "csinodes", namespaced=False)
VOLUME_ATTACHMENT = Kind("storage.k8s.io", "v1", "VolumeAttachment", "volumeattachments", namespaced=False)

_HOSTNAME = "kubernetes.io/hostname"
_ZONES = ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone")
# Labels of zones: Kubernetes' own, and those of the CSI drivers of Azure, AWS and Google, which end alike.
_OF_ZONES = re.compile(r"/zone(?:-id)?$")
# ... and of a single node: its own name, and those of drivers of disks in it (hostpath, TopoLVM, OpenEBS).
_OF_NODES = re.compile(r"/(?:hostname|node|nodename|node-?id)$")
_IDS = re.compile(r"(?i)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{16,64}|i-[0-9a-f]{8,17}|\d{4,}")
_MOST_NAMED = 4


class Place(Struct, frozen=True):
    """Why a volume and the nodes do not go together.

    Args:
        message: what is so.
        hint: what to do.
        command: where to look.
        evidence: what the cluster says of it.
        code: of the cause.
    """

    message: str
    hint: str
    command: Command
    evidence: tuple[tuple[str, str], ...]
    code: str = "volume-not-here"


class _Held(Struct, frozen=True):
    """What keeps a pod to some of the nodes.

    Args:
        title: a volume, or the StorageClass that is to make it, and the claim.
        where: the nodes have to be.
        terms: of the labels that the nodes have to have, of which one will do.
        look: shows them.
        evidence: of it.
        is_made: whether there is a volume already.
    """

    title: str
    where: str
    terms: list[Object]
    look: Command
    evidence: tuple[str, str]
    is_made: bool = True

    @property
    def words(self) -> str:
        """What is so, as a clause."""
        return f"{self.title} {'can be attached' if self.is_made else 'makes volumes'} {self.where} alone"


def labels_compared(stored: Iterable[Object]) -> set[str]:
    """The labels of nodes by which volumes and StorageClasses say where volumes are; none if anywhere."""
    terms = [term for one in stored for term in (*_terms(one), *_topologies(one))]
    asked = {str(one.get("key")) for term in terms for one in term.get("matchExpressions") or ()}
    return asked and asked | {_HOSTNAME, *_ZONES}


def place(case: Case, pod: Object, words: str) -> Place | None:
    """What keeps a pod off the nodes, of all its volumes that were looked at; None where none of them does.

    Args:
        case: what there is.
        pod: that waits for a node.
        words: the scheduler's.
    """
    if "max volume count" in words:
        return _full(case)
    claims = {ref.name for ref in pod_state.references(pod) if ref.kind == "PersistentVolumeClaim"}
    volumes = list(_volumes(case, claims))
    if case.seen.all_nodes is None:
        return _unknown(volumes) if volumes else None
    nodes = [node for node in case.seen.all_nodes if _has_gpus(node)]
    held = [*volumes, *_classes(case, claims)] if nodes else volumes
    if gone := next((one for one in held if _is_gone(one, case.seen.all_nodes)), None):
        of_ids = [key for key, value in _homes(gone.terms) if _is_id(key, value, case.seen.all_nodes)]
        return _unlabelled(gone, of_ids) if of_ids else _lost(gone)
    if far := next((one for one in held if not _common(nodes, [one])), None):
        return _far(far, nodes)
    for some in (*combinations(held, 2), held):
        if some and not _common(nodes, some):
            return _apart(some, nodes)
    return _near(case, volumes, _common(nodes, held), nodes) if volumes else None


def _volumes(case: Case, claims: set[str]) -> Iterator[_Held]:
    """The volumes of these claims that not every node can have."""
    for volume in _kind(case, PERSISTENT_VOLUME):
        name, claim = str(volume["metadata"]["name"]), str(dig(volume, "spec", "claimRef", "name"))
        is_ours = claim in claims and dig(volume, "spec", "claimRef", "namespace") == case.namespace
        if is_ours and (terms := _terms(volume)):
            where = _words(terms)
            yield _Held(
                f"volume {name} of claim {claim}",
                where,
                terms,
                Command("kubectl describe pv", name),
                ("PersistentVolume", f"{name}: nodeAffinity {where}"),
            )


def _classes(case: Case, claims: set[str]) -> Iterator[_Held]:
    """The StorageClasses that are to make volumes for these claims, and do not make them everywhere."""
    classes = {str(one["metadata"]["name"]): one for one in _kind(case, STORAGE_CLASS)}
    for claim in case.seen.unbound:
        of_claim, name = str(claim["metadata"]["name"]), str(dig(claim, "spec", "storageClassName"))
        terms = _topologies(classes.get(name, {}))
        if of_claim in claims and terms and not dig(claim, "spec", "volumeName"):
            where = _words(terms)
            yield _Held(
                f"StorageClass {name} of claim {of_claim}",
                where,
                terms,
                Command("kubectl get storageclass", name, "-o", "yaml"),
                ("StorageClass", f"{name}: allowedTopologies {where}"),
                is_made=False,
            )


def _kind(case: Case, kind: Kind) -> list[Object]:
    return [one for one in case.seen.storage if one.get("kind") == kind.kind]


def _terms(volume: Object) -> list[Object]:
    return [
        term
        for term in dig(volume, "spec", "nodeAffinity", "required", "nodeSelectorTerms") or ()
        if isinstance(term, dict)
    ]


def _topologies(storage: Object) -> list[Object]:
    """The topologies of a StorageClass as terms of a node affinity."""
    return [
        {
            "matchExpressions": [
                {**one, "operator": "In"} for one in topology.get("matchLabelExpressions") or ()
            ]
        }
        for topology in storage.get("allowedTopologies") or ()
    ]


def _asked(terms: Iterable[Object]) -> Iterator[tuple[str, str]]:
    """The labels that a node has to have, with each of the values that will do."""
    for term in terms:
        for one in term.get("matchExpressions") or ():
            if one.get("operator") == "In":
                yield from ((str(one.get("key")), str(value)) for value in one.get("values") or ())


def _homes(terms: list[Object]) -> list[tuple[str, str]]:
    """The labels of the nodes that a volume is on the disk of; none where it can be attached to others."""
    found = [[one for one in _asked([term]) if _OF_NODES.search(one[0])] for term in terms]
    return [one for of_term in found for one in of_term] if all(found) else []


def _words(terms: list[Object]) -> str:
    """Where nodes have to be: `in zone a`, `on node b`, or with which labels."""
    asked = list(dict.fromkeys(_asked(terms)))
    zones = dict.fromkeys(value for key, value in asked if _OF_ZONES.search(key))
    nodes = dict.fromkeys(value for key, value in asked if _OF_NODES.search(key))
    if nodes:
        return f"on node {' or '.join(nodes)}"
    if zones:
        return f"in zone {' or '.join(zones)}"
    if not asked:
        return "on the nodes of its nodeAffinity"
    return f"on nodes with {' or '.join(f'{key}={value}' for key, value in asked)}"


def _has_gpus(node: Object) -> bool:
    """Whether there are NVIDIA GPUs, by whatever name it offers them: whole, shared or in slices."""
    capacity = dig(node, "status", "capacity") or {}
    return any(str(key).startswith("nvidia.com/") and str(value) != "0" for key, value in capacity.items())


def _fits(node: Object, terms: Iterable[Object]) -> bool:
    name, labels = str(node["metadata"]["name"]), labels_of(node)
    return any(matches_node_term(term, name, labels) for term in terms)


def _common(nodes: list[Object], held: Iterable[_Held]) -> list[Object]:
    """The nodes that can have all of these."""
    return [node for node in nodes if all(_fits(node, one.terms) for one in held)]


def _is_gone(held: _Held, nodes: Iterable[Object]) -> bool:
    """Whether no node there is may be the one with the disk.

    A node's name may differ from its label kubernetes.io/hostname, which is what a volume asks for (AWS,
    OpenShift); and a label of a driver is missing for as long as the driver does not run there.
    """
    homes = _homes(held.terms)
    if not homes or not held.is_made:
        return False
    known = {
        value
        for node in nodes
        for value in (
            node["metadata"]["name"],
            *(labels_of(node).get(key) for key in (_HOSTNAME, *dict(homes))),
        )
    }
    return not any(value in known for _, value in homes)


def _is_id(key: str, value: str, nodes: Iterable[Object]) -> bool:
    """Whether a driver's label has ids of its own, which tell nothing of a node that it has not labelled."""
    told = ((labels_of(node).get(key), labels_of(node).get(_HOSTNAME), node) for node in nodes)
    others = any(one and one not in (host, node["metadata"]["name"]) for one, host, node in told)
    return key != _HOSTNAME and (others or _IDS.fullmatch(value) is not None)


def _lost(held: _Held) -> Place:
    homes = dict.fromkeys(_homes(held.terms))
    return Place(
        f"{held.title} is on the disk of node {' or '.join(dict.fromkeys(value for _, value in homes))}, "
        "which does not exist any more",
        "bring the node back by the same name if its disk is still there; " + FILES_LOST,
        held.look,
        (held.evidence, ("cluster", f"no Node has {' or '.join('='.join(home) for home in homes)}")),
        code="volume-lost",
    )


def _unlabelled(held: _Held, keys: list[str]) -> Place:
    """A volume on a node that its driver has labelled with an id: it may be the label that is gone."""
    homes = dict.fromkeys(map("=".join, _homes(held.terms)))
    return Place(
        f"{held.title} is on the node with label {' or '.join(homes)}, and no node has that: either the node "
        "is gone, or the storage driver, which sets the label, does not run there",
        "check that the driver's pod runs on each node: those where it does have the label. If the node is "
        "gone, bring it back with its disk; " + FILES_LOST,
        Command("kubectl get nodes -L", ",".join(dict.fromkeys(keys))),
        (held.evidence, ("cluster", f"no Node has {' or '.join(homes)}")),
    )


def _unknown(volumes: list[_Held]) -> Place:
    """Where volumes are, for whoever knows where the nodes are."""
    return Place(
        ", and ".join(one.words for one in volumes),
        "nodes could not be listed: compare that with the labels of those with GPUs",
        volumes[0].look,
        tuple(one.evidence for one in volumes),
    )


def _far(held: _Held, nodes: list[Object]) -> Place:
    """A volume, or a StorageClass, that no node with GPUs can have."""
    if not held.is_made:
        hint = (
            f"take a node with GPUs {held.where}, or create the claim, which holds nothing yet, with a "
            "StorageClass whose allowedTopologies have the zone of these nodes"
        )
    elif _homes(held.terms):
        hint = "copy what is on it to another volume"
    else:
        copy = "copy what is on it to a volume in the zone of these nodes"
        hint = f"take a node with GPUs {held.where}, or {copy}"
    return Place(f"{held.words}{_elsewhere(nodes)}", hint, held.look, (held.evidence, *_evidence(nodes)))


def _apart(some: Sequence[_Held], nodes: list[Object]) -> Place:
    """Volumes of one pod that each have nodes with GPUs, and none together."""
    both = "both" if len(some) == 2 else "all of them"
    to_come = next((one for one in some if not one.is_made), None)
    hint = "copy what is on one of them to a volume where the nodes of the other are"
    if to_come is not None:
        hint = "create the claim that holds nothing yet with a StorageClass that makes volumes near the other"
    return Place(
        f"{', and '.join(one.words for one in some)}: no node with GPUs can have {both}",
        hint,
        (to_come or some[0]).look,
        (*(one.evidence for one in some), *_evidence(nodes)),
    )


def _near(case: Case, volumes: list[_Held], near: list[Object], nodes: list[Object]) -> Place:
    """Nodes that can have all volumes, and do not take the pod for another reason."""
    tightest = min(volumes, key=lambda one: len(_common(nodes, [one])))
    names = _few([str(node["metadata"]["name"]) for node in near])
    return Place(
        f"{tightest.words}; of the nodes with GPUs, {names} {'is' if len(near) == 1 else 'are'} there, "
        "and cannot take the pod now",
        "free GPUs there, or add a node there",
        Command("kaitoctl check-nodes", case.name, *case.in_namespace),
        (tightest.evidence, *_evidence(near)),
    )


def _full(case: Case) -> Place | None:
    """Nodes that have as many volumes of a driver as they can have."""
    used: dict[tuple[str, str], int] = {}
    for one in _kind(case, VOLUME_ATTACHMENT):
        at = str(dig(one, "spec", "nodeName")), str(dig(one, "spec", "attacher"))
        used[at] = used.get(at, 0) + 1
    full = []
    for node in _kind(case, CSI_NODE):
        name = str(node["metadata"]["name"])
        for driver in dig(node, "spec", "drivers") or ():
            limit, there = dig(driver, "allocatable", "count"), used.get((name, str(driver.get("name"))), 0)
            if isinstance(limit, int) and there >= limit:
                full.append((name, str(driver["name"]), there, limit))
    if not full:
        return None
    name, driver, there, limit = full[0]
    more = len(full) - 1
    others = f", and {more} more {'is' if more == 1 else 'are'} full, too" if more else ""
    return Place(
        f"node {name} has {there} of the {limit} volumes of {driver} that it can have{others}",
        "take another node, or a larger instance type, which may have more; or end what holds volumes there",
        Command("kubectl get volumeattachments"),
        tuple((f"CSINode {at}", f"{by}: {has} of {most} attached") for at, by, has, most in full),
    )


def _zone_of(node: Object) -> str:
    labels = labels_of(node)
    return next((zone for key in _ZONES if (zone := labels.get(key))), "")


def _elsewhere(nodes: list[Object]) -> str:
    """Where the nodes with GPUs are instead."""
    if not nodes:
        return ", and no node with GPUs is there"
    are = "the node with GPUs is" if len(nodes) == 1 else "the nodes with GPUs are"
    zones = sorted({_zone_of(node) for node in nodes} - {""})
    if zones:
        return f", and {are} in {_few(zones)}"
    return f", and {are} {_few(sorted(str(node['metadata']['name']) for node in nodes))}"


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _evidence(nodes: list[Object]) -> list[tuple[str, str]]:
    return [
        (f"Node {node['metadata']['name']}", f"{_ZONES[0]}={_zone_of(node) or '(none)'}")
        for node in nodes[:_MOST_NAMED]
    ]
