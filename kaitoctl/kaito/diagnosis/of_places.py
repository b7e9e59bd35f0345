"""Why no node can have a pod and its volumes: in which zone, or on which node, each volume is. Pure.

The scheduler says that volume and nodes do not go together, and names neither.

Source: Kubernetes v1.37.2 pkg/scheduler/framework/plugins/volumebinding/binder.go (checkBoundClaims,
checkVolumeProvisions: a StorageClass that makes volumes nowhere near is "no persistent volumes to bind") and
nodevolumelimits/csi.go (CSINode spec.drivers[].allocatable.count); component-helpers/storage/volume.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from msgspec import Struct

from kaitoctl.advice import Command
from kaitoctl.kaito.diagnosis.case import Case
from kaitoctl.kube import pod_state
from kaitoctl.kube.objects import NODE, Kind, Object, dig, labels_of, matches_node_term

PERSISTENT_VOLUME = Kind("", "v1", "PersistentVolume", "persistentvolumes", namespaced=False)
STORAGE_CLASS = Kind("storage.k8s.io", "v1", "StorageClass", "storageclasses", namespaced=False)
CSI_NODE = Kind("storage.k8s.io", "v1", "CSINode", "csinodes", namespaced=False)
VOLUME_ATTACHMENT = Kind("storage.k8s.io", "v1", "VolumeAttachment", "volumeattachments", namespaced=False)

_ZONE = "topology.kubernetes.io/zone"
# Labels of zones: Kubernetes' own, and those of the CSI drivers of Azure, AWS and Google, which end alike.
_OF_ZONES = re.compile(r"/zone(?:-id)?$")
# ... and of a single node: its own name, and those of drivers of disks in it (hostpath, TopoLVM, OpenEBS).
_OF_NODES = re.compile(r"/(?:hostname|node|nodename)$")
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


def nodes_named(volume: Object) -> set[str]:
    """The nodes that a volume is on the disk of; none where it can be attached to several."""
    return {value for key, value in _asked(_terms(volume)) if _OF_NODES.search(key)}


def place(case: Case, pod: Object, words: str) -> Place | None:
    """The first volume of a pod that keeps it off the nodes, of those that were looked at; None without one.

    Args:
        case: what there is.
        pod: that waits for a node.
        words: the scheduler's.
    """
    if "max volume count" in words:
        return _full(case)
    claims = {ref.name for ref in pod_state.references(pod) if ref.kind == "PersistentVolumeClaim"}
    for volume in _kind(case, PERSISTENT_VOLUME):
        name = str(dig(volume, "spec", "claimRef", "name"))
        terms = _terms(volume)
        if name in claims and dig(volume, "spec", "claimRef", "namespace") == case.namespace and terms:
            title = f"volume {volume['metadata']['name']} of claim {name}"
            if found := _of_volume(case, volume, title, terms):
                return found
    for storage in _kind(case, STORAGE_CLASS):
        terms = [_as_term(one) for one in storage.get("allowedTopologies") or ()]
        if terms and (found := _of_class(case, storage, terms)):
            return found
    return None


def _as_term(topology: Object) -> Object:
    """A topology of a StorageClass as a term of a node affinity."""
    asked = topology.get("matchLabelExpressions") or ()
    return {"matchExpressions": [{**one, "operator": "In"} for one in asked]}


def _kind(case: Case, kind: Kind) -> list[Object]:
    return [one for one in case.seen.storage if one.get("kind") == kind.kind]


def _terms(volume: Object) -> list[Object]:
    return [
        term
        for term in dig(volume, "spec", "nodeAffinity", "required", "nodeSelectorTerms") or ()
        if isinstance(term, dict)
    ]


def _asked(terms: Iterable[Object]) -> Iterator[tuple[str, str]]:
    """The labels that a node has to have, with each of the values that will do."""
    for term in terms:
        for one in term.get("matchExpressions") or ():
            if one.get("operator") == "In":
                yield from ((str(one.get("key")), str(value)) for value in one.get("values") or ())


def _words(terms: list[Object]) -> str:
    """Where nodes have to be: `in zone a`, `on node b`, or with which labels."""
    asked = list(dict.fromkeys(_asked(terms)))
    zones = dict.fromkeys(value for key, value in asked if _OF_ZONES.search(key))
    nodes = dict.fromkeys(value for key, value in asked if _OF_NODES.search(key))
    if nodes:
        return f"on node {' or '.join(nodes)}"
    if zones:
        return f"in zone {' or '.join(zones)}"
    return f"on nodes with {' or '.join(f'{key}={value}' for key, value in asked)}"


def _with_gpus(case: Case) -> list[Object]:
    """The nodes with GPUs, as far as they were looked at."""
    judged = case.seen.verdict.nodes if case.seen.verdict is not None else ()
    names = {node.name for node in judged if node.gpus.capacity}
    return [node for node in _kind(case, NODE) if node["metadata"]["name"] in names]


def _fits(node: Object, terms: Iterable[Object]) -> bool:
    name, labels = str(node["metadata"]["name"]), labels_of(node)
    return any(matches_node_term(term, name, labels) for term in terms)


def _of_volume(case: Case, volume: Object, title: str, terms: list[Object]) -> Place | None:
    look = Command("kubectl describe pv", str(volume["metadata"]["name"]))
    evidence = ("PersistentVolume", f"{volume['metadata']['name']}: nodeAffinity {_words(terms)}")
    homes = nodes_named(volume)
    if homes and homes <= case.seen.gone:
        return Place(
            f"{title} is on the disk of node {', '.join(sorted(homes))}, which does not exist any more",
            "bring the node back by the same name if its disk is still there; else what was on it is gone, "
            "too: create the claim again, and fill it",
            look,
            (evidence, ("cluster", f"there is no Node {', '.join(sorted(homes))}")),
            code="volume-lost",
        )
    nodes = _with_gpus(case)
    near = [str(node["metadata"]["name"]) for node in nodes if _fits(node, terms)]
    if near:
        message = (
            f"{title} can be attached {_words(terms)} alone; of the nodes with GPUs, "
            f"{_few(near)} {'is' if len(near) == 1 else 'are'} there, and cannot take the pod now"
        )
        check = Command("kaitoctl check-nodes", case.name, *case.in_namespace)
        return Place(message, "free GPUs there, or add a node there", check, (evidence, *_evidence(nodes)))
    copy = "another volume" if homes else "a volume in the zone of these nodes"
    take = "" if homes else f"take a node with GPUs {_words(terms)}, or "
    return Place(
        f"{title} can be attached {_words(terms)} alone{_elsewhere(case, nodes)}",
        f"{take}copy what is on it to {copy}",
        look,
        (evidence, *_evidence(nodes)),
    )


def _of_class(case: Case, storage: Object, terms: list[Object]) -> Place | None:
    """A StorageClass that makes volumes where no node with GPUs is."""
    nodes, name = _with_gpus(case), str(storage["metadata"]["name"])
    claims = [
        str(claim["metadata"]["name"])
        for claim in case.seen.unbound
        if dig(claim, "spec", "storageClassName") == name
    ]
    if not claims or not nodes or any(_fits(node, terms) for node in nodes):
        return None
    return Place(
        f"StorageClass {name} of claim {claims[0]} makes volumes {_words(terms)} alone"
        f"{_elsewhere(case, nodes)}",
        f"take a node with GPUs {_words(terms)}, or create the claim, which holds nothing yet, with a "
        "StorageClass whose allowedTopologies have the zone of these nodes",
        Command("kubectl get storageclass", name, "-o", "yaml"),
        (("StorageClass", f"{name}: allowedTopologies {_words(terms)}"), *_evidence(nodes)),
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
    return labels.get(_ZONE) or labels.get("failure-domain.beta.kubernetes.io/zone") or ""


def _elsewhere(case: Case, nodes: list[Object]) -> str:
    """Where the nodes with GPUs are instead; empty where nobody looked."""
    if case.seen.verdict is None:
        return ""
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
        (f"Node {node['metadata']['name']}", f"{_ZONE}={_zone_of(node) or '(none)'}")
        for node in nodes[:_MOST_NAMED]
    ]
