"""Why a scheduler gives a pod no node: a table by its words, and the row that counts. Pure.

A scheduler answers for all nodes at once: how many of them each reason rules out. What concerns the pod as a
whole, such as a claim that does not exist, stands alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from kaitoctl.advice import Command
from kaitoctl.kaito import api
from kaitoctl.kaito.advertisers import advertiser_of
from kaitoctl.kaito.diagnosis.case import FILES_LOST

_CHECK_NODES = Command("kaitoctl check-nodes {workspace} -n {namespace}")
_DESCRIBE = Command("kubectl describe pod {pod} -n {namespace}")
_CLAIMS = Command("kubectl get pvc -n {namespace}")
_VOLUMES = Command("kubectl get persistentvolumeclaims -n {namespace} -o wide")
_CLASSES = Command("kubectl get pvc,storageclasses -n {namespace}")


class Obstacle(Struct, frozen=True):
    """A reason for which the scheduler rules nodes out.

    Args:
        pattern: of its words, as they stand behind a number of nodes.
        hint: what to do; `{name}` are the pattern's groups.
        command: where to look; `{namespace}`, `{workspace}`, `{pod}` and the pattern's groups are names.
        code: the cause; the default has the nodes checked one by one.
        before_labels: whether the scheduler asks for it before, or when, it compares labels: nodes that are
            ruled out by something else are those that the Workspace selects.
        resource: what there is too little of; empty for other obstacles.
    """

    pattern: str
    hint: str
    command: Command = _CHECK_NODES
    code: str = "unschedulable"
    before_labels: bool = False
    resource: str = ""

    def filled(self, names: Mapping[str, str]) -> Obstacle:
        """The same with names in the hint and in the command."""
        return replace(self, hint=self.hint.format_map(names), command=self.command.filled(names))


# Source: Kubernetes v1.37.2, pkg/scheduler/framework/plugins: volumebinding/binder.go and volume_binding.go,
# volumezone/volume_zone.go, nodevolumelimits/csi.go, volumerestrictions/volume_restrictions.go;
# component-helpers/storage/ephemeral; what apimachinery says is not found. Older releases behind "up to".
VOLUME_OBSTACLES = (
    # --- the claim
    Obstacle(
        r"waiting for ephemeral volume controller to create the persistentvolumeclaim \"(?P<claim>[^\"]+)\"",
        "Kubernetes creates claim {claim} for the pod's ephemeral volume: if it stays so, check the pod's "
        "events and that kube-controller-manager runs",
        _DESCRIBE,
        "volume-claim-missing",
    ),
    Obstacle(
        r"PVC \S+?/(?P<claim>\S+) was not created for pod",
        "another claim has the name {claim}, which Kubernetes gives to the claim of the pod's ephemeral "
        "volume: check whose it is, and rename one of the two",
        Command("kubectl get pvc {claim} -n {namespace} -o yaml"),
        "volume-claim-missing",
    ),
    Obstacle(
        r"persistentvolumeclaims? \"(?P<claim>[^\"]+)\" not found",
        "create the claim {claim} in the pod's namespace, or correct its name in the pod template",
        _CLAIMS,
        "volume-claim-missing",
    ),
    Obstacle(
        r"persistentvolumeclaim \"(?P<claim>[^\"]+)\" is being deleted",
        "claim {claim} goes once no pod uses it, and what is on it may go, too: check who deleted it",
        Command("kubectl describe pvc {claim} -n {namespace}"),
        "volume-claim-missing",
    ),
    Obstacle(
        r"unbound immediate PersistentVolumeClaims",
        "check why its claim is not bound: its events name the storage class or the provisioner that fails",
        Command("kubectl describe pvc -n {namespace}"),
        "volume-claim-missing",
    ),
    Obstacle(
        r"PersistentVolumeClaim had no name|error getting PVC",
        "check the names of the claims in the pod template",
        _CLAIMS,
        "volume-claim-missing",
    ),
    # --- the storage class
    Obstacle(
        r"storageclass(?:es)?\.storage\.k8s\.io \"(?P<storage>[^\"]+)\" not found|"
        r"failed to find storage class \"(?P<named>[^\"]+)\"",
        "there is no StorageClass {storage}{named}, which a claim of the pod names: create it; the class of "
        "a claim cannot be changed, so else create another claim",
        _CLASSES,
        "volume-claim-missing",
    ),
    Obstacle(
        r"no class for claim \"(?P<claim>[^\"]+)\"|had no pv name and storageClass name",
        "a claim names neither volume nor storage class, and the cluster has no default class: name one",
        _CLASSES,
        "volume-claim-missing",
    ),
    Obstacle(
        r"VolumeBindingMode not set for StorageClass \"(?P<storage>[^\"]+)\"",
        "StorageClass {storage} has no volumeBindingMode: create it with one",
        _CLASSES,
        "volume-claim-missing",
    ),
    Obstacle(
        r"PersistentVolume had no name",
        "its claim waits for a volume: check the claim's events, and the provisioner of its storage class",
        Command("kubectl describe pvc -n {namespace}"),
        "volume-claim-missing",
    ),
    Obstacle(
        r"provisioning failed for PVC \"(?P<claim>[^\"]+)\"",
        "the storage made no volume for claim {claim}: its events have the provisioner's reason",
        Command("kubectl describe pvc {claim} -n {namespace}"),
        "volume-claim-missing",
    ),
    Obstacle(
        r"binding volumes: (?:.{0,80}(?:timed out|deadline exceeded|context))|selectedNode annotation reset|"
        r"ClaimRef got reset|failed to check (?:binding|provisioning pvc)|failed to get cached|"
        r"binding volumes: ",
        "no volume was bound to its claim in time: check the claim's events, and that the provisioner of its "
        "storage class runs; the scheduler tries again",
        Command("kubectl describe pvc -n {namespace}"),
        "volume-claim-missing",
    ),
    # --- the volume
    Obstacle(
        r"persistentvolumeclaim \"(?P<claim>[^\"]+)\" bound to non-existent persistentvolume "
        r"\"(?P<volume>[^\"]+)\"",
        "volume {volume} of claim {claim} is gone (the claim is Lost): create the "
        "PersistentVolume again if its disk is still at the storage; " + FILES_LOST,
        Command("kubectl describe pvc {claim} -n {namespace}"),
        "volume-lost",
    ),
    Obstacle(
        r"bound to non-existent pv\(s\)|persistentvolumes? \"(?P<volume>[^\"]+)\" not found|"
        r"failed to get pv \"",
        "the PersistentVolume of its claim is gone: create it again if its disk is still at the storage; "
        + FILES_LOST,
        _VOLUMES,
        "volume-lost",
    ),
    Obstacle(
        r"PersistentVolume\(s\) bound to non-existent Node\(s\)",
        "its volume is on the disk of a node that is gone: bring the node back by the same name if its disk "
        "is still there; " + FILES_LOST,
        _VOLUMES,
        "volume-lost",
    ),
    Obstacle(
        r"didn't match PersistentVolume's node affinity|"
        r"volume node affinity conflict|"  # up to v1.33
        r"no available volume zone|node affinity doesn't match node",
        "its volume can be attached in another zone, or on another node, alone: take a node there, or a "
        "volume that these nodes reach",
        _VOLUMES,
        "volume-not-here",
    ),
    Obstacle(
        r"didn't find available persistent volumes to bind",
        "no volume is free that fits its claim on these nodes (size, access mode, zone), and the storage "
        "class makes none there: check its provisioner and allowedTopologies",
        _CLASSES,
        "volume-not-here",
    ),
    Obstacle(
        r"did not have enough free storage",
        "the storage that nodes can reach has no room for its volume: check its capacity, or request less",
        Command("kubectl get csistoragecapacities -A"),
        "volume-not-here",
    ),
    Obstacle(
        r"ReadWriteOncePod access mode already in-use|no available disk|"
        r"same name and ReadWriteOncePod access mode",  # up to v1.28
        "another pod uses its volume, which one pod can have at a time: wait until that has ended, or use a "
        "claim of access mode ReadWriteMany",
        _CLAIMS,
        "volume-not-here",
    ),
    Obstacle(
        r"(?<!\S)(?P<driver>\S+) CSI driver is not installed on the node|csinode\S* \"[^\"]*\" not found",
        "the storage driver of its volume does not run on these nodes: check its DaemonSet",
        Command("kubectl get csinodes"),
        "volume-not-here",
    ),
    Obstacle(
        r"exceed max volume count",
        "each of these nodes has as many disks as it can have: take another node, or fewer volumes",
        _VOLUMES,
        "volume-not-here",
    ),
    Obstacle(
        r"looking up (?:PVC|provisioner name|CSI driver name)|converting volume\(|error getting CSIDriver|"
        r"translate pv",
        "the scheduler cannot tell what storage a volume of the pod is on: check its claims and classes",
        _CLASSES,
        "volume-claim-missing",
    ),
)
# Source: Kubernetes v1.37.2, pkg/scheduler/framework/plugins/dynamicresources; pkg/controller/resourceclaim.
CLAIM_OBSTACLES = (
    Obstacle(
        r"create ResourceClaim.{0,200}exceeded quota",
        "the namespace may have no more ResourceClaims: raise the quota, or delete those that nobody needs",
        Command("kubectl describe resourcequota -n {namespace}"),
    ),
    Obstacle(
        r"resourceclaimtemplates?\S* \"(?P<template>[^\"]+)\" not found",
        "create the ResourceClaimTemplate {template} in the pod's namespace, or correct its name in the pod "
        "template; Kubernetes tries again, at longer and longer intervals",
        Command("kubectl get resourceclaimtemplates -n {namespace}"),
    ),
    Obstacle(
        r"resourceclaims?\.?\S* \"(?P<claim>[^\"]+)\" not found",
        "create the ResourceClaim {claim} in the pod's namespace, or correct its name in the pod template",
        Command("kubectl get resourceclaims -n {namespace}"),
    ),
    Obstacle(
        r"resourceclaim \"(?P<claim>[^\"]+)\" is being deleted",
        "ResourceClaim {claim} goes once no pod uses it: check who deleted it, and create another",
        Command("kubectl describe resourceclaim {claim} -n {namespace}"),
    ),
    Obstacle(
        r"device class (?P<device>\S+) does not exist",
        "there is no DeviceClass {device}: install the DRA driver that brings it, or name another in the "
        "ResourceClaim",
        Command("kubectl get deviceclasses"),
    ),
    Obstacle(
        r"resourceclaim in use",
        "as many pods as may share its ResourceClaim hold it: wait until one has ended, or give each pod a "
        "claim of its own (resourceClaimTemplateName)",
        Command("kubectl get resourceclaims -n {namespace} -o yaml"),
    ),
    Obstacle(
        r"resourceclaim not available on the node",
        "its ResourceClaim holds devices of another node: take that node, or delete the claim when no other "
        "pod uses it",
        Command("kubectl get resourceclaims -n {namespace} -o yaml"),
    ),
    Obstacle(
        r"cannot allocate all claims|(?:timed out trying to allocate|stop allocating) devices",
        "no device is free there that fits the pod's ResourceClaims: see what the drivers offer, and who "
        "holds it",
        Command("kubectl get resourceslices,resourceclaims -A"),
    ),
    Obstacle(
        r"is in the process of being allocated|cannot schedule extended resource claim",
        "its ResourceClaim is being allocated: wait",
        Command("kubectl get resourceclaims -n {namespace}"),
    ),
    Obstacle(
        r"cannot fit resource",
        "no device plugin and no DRA driver of these nodes offers what the pod asks for: check both there",
        Command("kubectl get nodes -o custom-columns=NODE:.metadata.name,HAS:.status.allocatable"),
    ),
    Obstacle(
        r"waiting for dynamic resource controller to create",  # up to v1.27
        "Kubernetes creates the claim of the pod's ResourceClaimTemplate: the pod's events say why not yet",
        _DESCRIBE,
    ),
    Obstacle(
        r"(?i)resource ?claim|device ?class|plugin \"DynamicResources\"|dynamic resource",
        "check the pod's ResourceClaims and their driver",
        Command("kubectl get resourceclaims -n {namespace}"),
    ),
)
# Source: Kubernetes v1.37.2, pkg/scheduler/framework/plugins/*, and their order in pkg/scheduler/apis/
# config/v1/default_plugins.go; those of older releases behind "up to".
OBSTACLES = (
    *VOLUME_OBSTACLES,
    Obstacle(
        r"waiting for the preemption for this pod",  # defaultpreemption
        "pods of lower priority are making room for it: wait",
        _DESCRIBE,
    ),
    Obstacle(
        r"(?i)no nodes available to schedule pods|^0/0 nodes are available",
        "the cluster has no node that is up: see them, and who creates them",
        Command("kubectl get nodes"),
    ),
    Obstacle(
        r"(?i)pod ?group|minMember|minAvailable|minCount|gang\b",
        "its scheduler places all pods of a group together or none: check the PodGroup and the others",
        _DESCRIBE,
    ),
    Obstacle(
        r"Insufficient (?P<resource>[^\s,]+/[^\s,]*[^\s,.])",
        "check who holds the GPUs",
        Command("kaitoctl nodes"),
    ),
    Obstacle(
        r"Insufficient (?P<resource>(?:hugepages|attachable-volumes)-[^\s,]*[^\s,.])",
        "check the node's {resource}",
    ),
    Obstacle(
        r"Insufficient ephemeral-storage",
        "take nodes with a larger disk, or request less ephemeral-storage in the pod template",
    ),
    Obstacle(r"Insufficient (?P<resource>cpu|memory)", "take nodes with more {resource}, or ask for less"),
    Obstacle(r"Too many pods", "the node runs as many pods as its kubelet lets it: check what runs there"),
    Obstacle(
        r"untolerated taint|taints? .{0,300}that the pod didn't tolerate|"  # the second up to v1.23
        r"taints that the pod didn't tolerate",
        "check the taints and whose they are",
        before_labels=True,
    ),
    Obstacle(
        r"node affinity/selector|scheduler-enforced node affinity|"
        r"didn't match (?:node selector|Pod's node affinity)",  # up to v1.21
        "check the labels that nodes lack",
        before_labels=True,
    ),
    Obstacle(
        r"free ports",
        "another pod holds the host port: check what runs on the node",
        Command("kaitoctl nodes"),
    ),
    Obstacle(
        r"topology spread",
        "the pod template's topologySpreadConstraints keep it off these nodes: see how its pods are spread, "
        "and whether whenUnsatisfiable has to be DoNotSchedule",
        _DESCRIBE,
    ),
    Obstacle(
        r"anti-affinity",
        "a pod that is there, or this one, does not want the other near it: see the podAntiAffinity of both",
        _DESCRIBE,
    ),
    Obstacle(r"pod affinity", "no pod that it wants to be near is there: see its podAffinity", _DESCRIBE),
    Obstacle(r"were unschedulable", "the node is cordoned: find out by whom, and why", before_labels=True),
    Obstacle(
        r"requested node name|nodeinfo not found|required features|had unknown conditions",
        "check the pod and the node",
        _DESCRIBE,
    ),
    Obstacle(
        r"pod level (?:request|limit)s? (?:for|of) ",
        "the pod template's own resources are smaller than those of its containers and devices: raise them",
        _DESCRIBE,
    ),
    *CLAIM_OBSTACLES,
    Obstacle(  # kubernetes-sigs/scheduler-plugins, pkg/noderesourcetopology/filter.go
        r"(?i)\bNUMA\b|cannot align (?:pod|(?:init )?container)|invalid node topology data",
        "no NUMA node there has all free that a container asks for: ask for less CPU and memory, or take "
        "nodes of which less is in use",
        Command("kubectl get noderesourcetopologies"),
    ),
    Obstacle(
        r"running \w{1,20} plugin|plugin \"(?P<plugin>[^\"]{1,60})\" (?:failed|for pod)|"
        r"running \"[^\"]{1,60}\" filter",
        "the scheduler itself met an error, and tries again: if it stays so, check its log",
        _DESCRIBE,
    ),
)


def ruled_out(words: str) -> list[tuple[int, str]]:
    """How many nodes the scheduler rules out for which reason; what concerns the whole pod has all of them.

    Source: Kubernetes v1.37.2, pkg/scheduler/framework/types.go (FitError).
    """
    _, is_list, rest = words.partition(" nodes are available: ")
    if not is_list:
        return [(_ALL, words)] if words else []
    rest = _AFTERWARDS.split(rest)[0].rstrip(". ")
    parts = re.split(r"[,.] (?=\d+ )", rest)
    counted = [re.match(r"(\d+) (.*)", part, re.DOTALL) for part in parts]
    return [
        (int(found[1]), found[2]) if found else (_ALL, part)
        for found, part in zip(counted, parts, strict=True)
    ]


_ALL = 1_000_000
# What plugins say that try to make room once all nodes are ruled out, of which some say it since 1.34.
# Source: plugins/defaultpreemption, plugins/dynamicresources (PostFilter).
_AFTERWARDS = re.compile(
    r"preemption: |no new claims to deallocate|still not schedulable|"
    r"(?:deallocation|rescheduling) of ResourceClaim"
)


def obstacle_of(words: str, names: Mapping[str, str], ours: int = 0) -> Obstacle | None:
    """What rules out most of the nodes that have the Workspace's labels; of all nodes, where none has.

    Args:
        words: the scheduler's.
        names: `namespace`, `workspace` and `pod`, for its command.
        ours: on how many nodes other pods of the Workspace hold GPUs: these must lack some.
    """
    found = [
        (not obstacle.before_labels, count - ours * _is_of_gpus(match), -rank, obstacle, match)
        for count, reason in ruled_out(words)
        for rank, obstacle in enumerate(OBSTACLES)
        if (match := re.search(obstacle.pattern, reason))
    ]
    if not found:
        return None
    _, _, _, obstacle, match = max(found, key=lambda item: item[:3])
    if obstacle.before_labels:  # nobody knows which of these nodes have the labels
        hints = dict.fromkeys(item[3].hint for item in sorted(found, key=lambda item: item[:3], reverse=True))
        obstacle = replace(obstacle, hint="; ".join(hints))
    groups = {key: value or "" for key, value in match.groupdict().items()}
    resource = groups.get("resource", "")
    return _shortage(replace(obstacle, resource=resource), resource).filled({**names, **groups})


def _is_of_gpus(match: re.Match[str]) -> bool:
    return match.groupdict().get("resource") == api.GPU


def _shortage(obstacle: Obstacle, resource: str) -> Obstacle:
    """Of a resource that is no GPU: who makes nodes offer it, and how much each has."""
    known = advertiser_of(resource) if resource else None
    if known is None:
        return obstacle
    column = "HAS:.status.allocatable." + resource.replace(".", r"\.")
    return replace(
        obstacle,
        hint=f"no node has enough {{resource}}, which {known.who}: {known.hint}; or ask for less of it",
        command=Command("kubectl get nodes -o", f"custom-columns=NODE:.metadata.name,{column}"),
    )
