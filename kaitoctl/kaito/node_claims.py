"""The NodeClaims by which a Workspace asks Karpenter for nodes. Pure.

They cost money, so a slot's name never changes: asking twice is asking once. They live in no namespace
and cannot carry an owner reference to a Workspace; an annotation names its uid instead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import count

from msgspec import Struct

from kaitoctl.advice import Advice, Command
from kaitoctl.kaito import api, desired, kubectl_hints, node_check, tuning
from kaitoctl.kaito.catalog import Catalog
from kaitoctl.kaito.desired import Settings
from kaitoctl.kaito.node_check import need
from kaitoctl.kube import conditions
from kaitoctl.kube.objects import (
    NODE_CLAIM,
    Object,
    ObjectKey,
    annotations_of,
    dig,
    is_being_deleted,
    key_of,
    labels_of,
    uid_of,
)

OWNER_UID = "kaitoctl.dev/workspace-uid"
# Source: karpenter-core v0.29 `pkg/controllers/machine/lifecycle/liveness.go` (registrationTTL), after which
# it deletes a Machine without node.
_MACHINE_REGISTERS_WITHIN_S = 900.0


def names(workspace: Object) -> Iterator[str]:
    """The names of a Workspace's NodeClaims, slot after slot.

    Like KAITO's they are `ws` and nine hex digits; unlike KAITO's they hash no time, so asking twice
    for the same slot is asking once.
    """
    for slot in count():
        seed = f"{key_of(workspace)}/{uid_of(workspace)}/{slot}"
        yield "ws" + hashlib.sha256(seed.encode()).hexdigest()[:9]


def disk_of(workspace: Object, settings: Settings) -> str:
    """The disk that a new node must have, a quantity: room for the images, and for what they download."""
    chosen = desired.with_image_generation(workspace, settings)
    if workspace.get("tuning"):
        row = tuning.row_of(workspace, chosen)
        return row.disk if row else "0"
    served = desired.model_of(workspace, chosen) or desired.preset_of(workspace, chosen)
    return served.disk if served else "0"


def node_claim(workspace: Object, name: str, settings: Settings) -> Object:
    """The NodeClaim that asks Karpenter for one node of the Workspace's instance type.

    Source: KAITO v0.3.2 `pkg/nodeclaim/nodeclaim.go`, moved to karpenter.sh/v1.
    """
    metadata = workspace["metadata"]
    is_aws = _is_aws(workspace, settings.catalog)
    if is_aws:
        node_class = {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"}
    else:
        node_class = {"group": "karpenter.azure.com", "kind": "AKSNodeClass", "name": "default"}
    return {
        "apiVersion": NODE_CLAIM.api_version,
        "kind": NODE_CLAIM.kind,
        "metadata": {
            "name": name,
            "labels": {**selected_labels(workspace), **_own_labels(workspace)},
            "annotations": {"karpenter.sh/do-not-disrupt": "true", OWNER_UID: metadata["uid"]},
        },
        "spec": {
            "nodeClassRef": node_class,
            "requirements": [
                {"key": key, "operator": "In", "values": [value]}
                for key, value in _requirements(workspace, is_aws=is_aws).items()
            ],
            "taints": [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
            "resources": {"requests": {"ephemeral-storage": disk_of(workspace, settings)}},
        },
    }


def fits(workspace: Object, claim: Object) -> bool:
    """Whether the node that a NodeClaim asks for is one that the Workspace, as it is now, would use."""
    wanted = {
        "key": api.LABEL_INSTANCE_TYPE,
        "operator": "In",
        "values": [node_check.instance_type_of(workspace)],
    }
    has_type = wanted in (dig(claim, "spec", "requirements") or ())
    return has_type and selected_labels(workspace).items() <= labels_of(claim).items()


def kept_words(claim: Object, why: str) -> str:
    """Why a NodeClaim that its Workspace does not need is not given back."""
    return f"NodeClaim {claim['metadata']['name']} is kept: {why}"


def is_machine(claim: Object) -> bool:
    """Whether it is a Machine, by which KAITO asked for nodes up to v0.4.1."""
    return claim.get("kind") == api.MACHINE.kind


def is_launching(claim: Object, now: datetime) -> bool:
    """Whether it is a Machine whose node may be about to join: one that is paid for, or soon will be."""
    if not is_machine(claim) or node_of(claim) or is_being_deleted(claim):
        return False
    since = conditions.parse_timestamp(str(claim["metadata"].get("creationTimestamp") or "1970-01-01"))
    return (now - since).total_seconds() < _MACHINE_REGISTERS_WITHIN_S


def launching(workspace: Object, claims: Iterable[Object], now: datetime) -> list[str]:
    """The names of the Machines whose nodes may be about to join, and would do for the Workspace."""
    there = [claim for claim in claims if is_machine(claim)]
    return [one["metadata"]["name"] for one in there if is_launching(one, now) and fits(workspace, one)]


def launching_words(names: Sequence[str]) -> str:
    """That no node is asked for beside these Machines, for so long as theirs may come."""
    who = f"Machine {names[0]}" if len(names) == 1 else f"Machines {', '.join(names[:3])}"
    minutes = round(_MACHINE_REGISTERS_WITHIN_S / 60)
    asked = f"waiting for the node of {who}, by which KAITO asked for one"
    return f"{asked}; another is bought if none has joined {minutes} minutes after that"


def stays_words(machine: Object, *, has_node: bool = True, manager: str = "kaitoctl's controller") -> Advice:
    """That a Machine stays where another has taken its Workspace over, and what deletes it.

    Args:
        machine: of an older KAITO.
        has_node: whether the node that it names, if any, is there and is not being deleted.
        manager: that other: kaitoctl's controller, or a release of KAITO that asks with NodeClaims.
    """
    name, node = machine["metadata"]["name"], node_of(machine)
    resource = kubectl_hints.resource_of(api.MACHINE.kind)
    deleting = Command("kubectl delete", resource, name)
    policy = f"{manager} deletes no Machine of an older KAITO; "
    if node and has_node:
        words = f"Machine {name} (node {node}) stays and goes on costing: {policy}"
        return words + kubectl_hints.pods_on(node) + " shows who uses its node, " + deleting + " deletes both"
    why = f"its node {node} is gone or going" if node else "it has no node"
    words = f"Machine {name} is not waited for, {why}; it stays and may go on costing: {policy}"
    return words + Command("kubectl describe", resource, name) + " shows more, " + deleting + " deletes it"


def node_of(claim: Object) -> str:
    """The name of the claim's node; empty until it has joined."""
    return str(dig(claim, "status", "nodeName") or "")


class Demand(Struct, frozen=True):
    """How many claims to make.

    Args:
        number: so many.
        lost: claims of whose nodes others hold the GPUs, and that are of no use.
        is_final: no more are made, although nodes are missing: as many were lost as the Workspace needs.
    """

    number: int
    lost: tuple[Object, ...] = ()
    is_final: bool = False


def demand(
    workspace: Object,
    claims: Iterable[Object],
    *,
    missing: int,
    in_use: Collection[str],
    full: Collection[str],
) -> Demand:
    """How many claims are to be made besides those that there are.

    Args:
        workspace: the Workspace.
        claims: made for it.
        missing: how many nodes it lacks, those left out where its own pods still are.
        in_use: nodes that it uses already, or that its pods are on.
        full: nodes of which others hold the GPUs.

    A claim whose node has not joined yet, or is not fit for use yet, is on its way; so is one that is being
    deleted before its node joined, until it is gone: then patience decides. A claim whose node was taken
    by others is replaced, but no more often than the Workspace has nodes: else whoever takes each new
    node would have us buy for ever.
    """
    required = node_check.required_nodes(workspace)
    coming, lost, alive = 0, [], 0
    for claim in claims:
        node = node_of(claim)
        if is_being_deleted(claim):
            coming += not node
        elif fits(workspace, claim):
            alive += 1
            if node in full and node not in in_use:
                lost.append(claim)
            elif node not in in_use:
                coming += 1
    wanted = max(missing - coming, 0)
    number = min(wanted, max(2 * required - alive, 0))
    return Demand(number, tuple(lost), is_final=number < wanted)


def outgrown(
    workspace: Object, claims: Iterable[Object], *, serving: Collection[str], held: Collection[str]
) -> list[Object]:
    """The claims that a Workspace does not need, because it runs without.

    Args:
        workspace: the Workspace.
        claims: made for it.
        serving: nodes that suit it as it is now, where pods of it are ready.
        held: nodes that have pods of it, ready or not.
    """
    if len(serving) < node_check.required_nodes(workspace):
        return []
    return [claim for claim in claims if not is_being_deleted(claim) and node_of(claim) not in held]


def contradiction(workspace: Object, known: Catalog) -> str:
    """Why no new node could ever be one that the Workspace selects; empty when one could.

    Every claim for such a Workspace would buy a node that it does not use, and so call for the next one.
    """
    if not node_check.instance_type_of(workspace):
        return "no new node can be asked for: resource.instanceType is not given"
    pod, shape = need.custom_pod(workspace), known.instance_type(node_check.instance_type_of(workspace))
    if pod is not None and shape is not None and shape.gpu_resource == api.GPU and pod.gpus > shape.gpus:
        return f"no new node would do: {shape.name} has {shape.gpus} GPUs, and each pod asks for {pod.gpus}"
    given = {**_requirements(workspace, is_aws=_is_aws(workspace, known)), **_own_labels(workspace)}
    for key, value in sorted(_selected_pairs(workspace)):
        if given.setdefault(key, value) != value:
            return f"no new node would match the label selector: {key} would be {given[key]}, not {value}"
    for key, value in sorted(pod.node_selector.items() if pod is not None else ()):
        if given.get(key, value) != value:
            return f"no new node would match the template's nodeSelector: {key} would be {given[key]}"
    return ""


def is_of(claim: Object, workspace: Object) -> bool:
    """Whether the NodeClaim was made for this very incarnation of the Workspace, or by KAITO for its name."""
    return made_for(claim) in ((uid_of(workspace),), (key_of(workspace),))


def made_for(claim: Object) -> tuple[str, ...] | tuple[ObjectKey, ...]:
    """The Workspace that a NodeClaim was made for, as a tuple of one or none.

    Its uid on one of ours, its key on one of KAITO's, which tells Workspaces by the labels alone.
    """
    labels = labels_of(claim)
    name, namespace = labels.get(api.LABEL_WORKSPACE), labels.get(api.LABEL_WORKSPACE_NAMESPACE)
    by_labels = (ObjectKey(namespace, name),) if name and namespace else ()
    return owner_uids(claim) or by_labels


def owner_uids(claim: Object) -> tuple[str, ...]:
    """The uid of the Workspace that a NodeClaim of ours was made for, as a tuple of one or none."""
    uid = annotations_of(claim).get(OWNER_UID)
    return (uid,) if uid else ()


def _own_labels(workspace: Object) -> dict[str, str]:
    metadata = workspace["metadata"]
    return {
        api.LABEL_NODE_POOL: "kaito",
        api.LABEL_WORKSPACE: metadata["name"],
        api.LABEL_WORKSPACE_NAMESPACE: metadata["namespace"],
    }


def _requirements(workspace: Object, *, is_aws: bool) -> dict[str, str]:
    instance_type = node_check.instance_type_of(workspace)
    asked = {
        api.LABEL_NODE_POOL: "kaito",
        api.LABEL_INSTANCE_TYPE: instance_type,
        "kubernetes.io/os": "linux",
    }
    return asked if is_aws else {**asked, "karpenter.azure.com/sku-name": instance_type}


def _is_aws(workspace: Object, known: Catalog) -> bool:
    found = known.instance_type(node_check.instance_type_of(workspace))
    return found is not None and found.cloud == "aws"


def selected_labels(workspace: Object) -> dict[str, str]:
    """What its selector says of labels that have one value; its nodes get these labels."""
    return dict(_selected_pairs(workspace))


def _selected_pairs(workspace: Object) -> list[tuple[str, str]]:
    """The selector as labels; expressions that cannot be said so are left out, and refused by the rules."""
    selector = dig(workspace, "resource", "labelSelector") or {}
    single = [
        (item["key"], item["values"][0])
        for item in selector.get("matchExpressions") or ()
        if item.get("operator") == "In" and len(item.get("values") or ()) == 1
    ]
    return [*(selector.get("matchLabels") or {}).items(), *single]
