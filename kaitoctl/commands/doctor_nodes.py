"""What `doctor` says of nodes: GPUs, who makes nodes on demand, storage."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kaitoctl.advice import Advice, Command
from kaitoctl.commands.doctor_check import Check, Right, age_s, group_versions, unseen
from kaitoctl.commands.doctor_webhooks import NOT_SHOWN
from kaitoctl.errors import ApiError
from kaitoctl.kaito import installation, node_check
from kaitoctl.kaito.diagnosis.karpenter import REGISTER_WITHIN_S
from kaitoctl.kaito.launch_failures import launch_failure
from kaitoctl.kaito.node_check.facts import LABEL_PRODUCT, READ_LABELS
from kaitoctl.kaito.node_check.inventory import gpu_inventory
from kaitoctl.kube import conditions, partial_decoding
from kaitoctl.kube.objects import (
    DEPLOYMENT,
    NODE,
    NODE_CLAIM,
    Kind,
    annotations_of,
    dig,
    is_being_deleted,
    key_of,
    labels_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kaitoctl.kaito.installation import Installed
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object

_MOST_SHOWN = 4
_IDLE_S = 60.0
_PROVISIONER = "node-provisioner"


async def nodes(client: Client, _: bool) -> Iterable[Check]:
    """GPUs, and what offers them."""
    hint: Advice
    listed = (await client.list(NODE, decode=partial_decoding.node_list(READ_LABELS))).items
    found = gpu_inventory(listed, None)
    if not found.gpu_nodes:
        hint = "a node provisioner creates them on demand; on your own nodes the device plugin must run"
        return [Check("nodes", "gpus", "warning", f"none of {len(listed)} nodes has GPUs", hint)]
    silent = {"gpu-not-allocatable", "no-gpu"}
    broken = [node.name for node in found.gpu_nodes if silent & set(node.faults)]
    partly = [node.name for node in found.gpu_nodes if "gpu-unhealthy" in node.faults]
    offering = [item for item in listed if node_check.offers_gpus(item)]
    checks = []
    if broken:
        message = f"the device plugin offers no GPUs on {_some(broken)}"
        checks.append(
            Check(
                "nodes",
                "device-plugin",
                "error",
                message,
                "see: " + Command("kaitoctl explain device-plugin-missing"),
            )
        )
    if offering:
        message = f"the device plugin offers GPUs on {len(offering)} of {len(found.gpu_nodes)} GPU nodes"
        checks.append(Check("nodes", "device-plugin", "ok", message))
    if partly:
        hint = "see: " + Command("kaitoctl explain gpu-unhealthy")
        message = f"some GPUs are not allocatable on {_some(partly)}"
        checks.append(Check("nodes", "gpus", "warning", message, hint))
    closed = [node for node in found.gpu_nodes if not node.takes_pods and node.name not in broken]
    if closed:
        names = _some([f"{node.name} ({node.faults[0]})" for node in closed])
        message = f"{len(closed)} of {len(found.gpu_nodes)} GPU nodes take no new pods: {names}"
        hint = Command("kaitoctl nodes") + ("; " + Command("kaitoctl explain", closed[0].faults[0]))
        checks.append(Check("nodes", "gpus", "warning", message, hint))
    if ill := [node.name for node in found.gpu_nodes if "node-problem" in node.warnings]:
        message = f"node conditions report problems of {_some(ill)}"
        checks.append(Check("nodes", "gpus", "warning", message, Command("kubectl describe node", ill[0])))
    unlabelled = [item for item in offering if not labels_of(item).get(LABEL_PRODUCT)]
    if unlabelled:
        message = f"{len(unlabelled)} GPU nodes have no labels of GPU feature discovery"
        hint = "KAITO v0.12 needs them on your own nodes: " + Command("kaitoctl explain gpu-labels-missing")
        checks.append(Check("nodes", "feature-discovery", "warning", message, hint))
    elif offering:
        checks.append(
            Check("nodes", "feature-discovery", "ok", "GPU feature discovery has labelled the GPU nodes")
        )
    return checks


async def provisioners(client: Client, is_sandbox: bool) -> Iterable[Check]:
    """Who makes nodes of NodeClaims, and whether it does."""
    hint: Advice
    served = await group_versions(client, NODE_CLAIM.group)
    if served is None:
        ready = Command("kaitoctl check-nodes")
        hint = "prepare nodes yourself (" + ready + "), or install Karpenter or gpu-provisioner"
        message = "there is no NodeClaim API: no nodes are created on demand"
        return [Check("nodes", _PROVISIONER, "warning", message, hint)]
    found = [] if is_sandbox else await _provisioner_deployments(client)
    none = "" if found or is_sandbox else "; no node provisioner was found (a managed one is not visible)"
    said = f"NodeClaims are served as {', '.join(sorted(served))}"
    if found is None:
        what = f"{said}; whether a node provisioner runs"
        checks = [unseen("nodes", _PROVISIONER, what, Right("list", "deployments.apps"))]
    else:
        checks = [Check("nodes", _PROVISIONER, "ok", said + none)]
    for one in found or ():
        hint = Command("kubectl describe deployment", one.name, "-n", one.namespace)
        words = one.words + ("" if one.is_alive else ": it is scaled to 0, so no nodes are created")
        checks.append(Check("nodes", _PROVISIONER, "ok" if one.ready else "error", words, hint))
    return [*checks, *await _claims(client, served)]


async def _provisioner_deployments(client: Client) -> list[Installed] | None:
    """None where Deployments may not be listed."""
    try:
        return installation.provisioners((await client.list(DEPLOYMENT)).items)
    except ApiError as error:
        if error.status not in NOT_SHOWN:
            raise
        return None


async def _claims(client: Client, served: Sequence[str]) -> Iterable[Check]:
    """NodeClaims that nobody takes up, and machines that were not launched."""
    version = next((one for one in ("v1", "v1beta1") if one in served), None)
    if version is None:
        return []
    try:
        claims = (await client.list(replace(NODE_CLAIM, version=version))).items
    except ApiError as error:
        if error.status not in NOT_SHOWN:
            raise
        right = Right("list", f"{NODE_CLAIM.plural}.{NODE_CLAIM.group}")
        return [unseen("nodes", "node-claims", "NodeClaims", right)] if error.status == 403 else []
    now, checks = datetime.now(UTC), []
    living = [claim for claim in claims if not is_being_deleted(claim)]
    idle = [
        claim for claim in living if not dig(claim, "status", "conditions") and age_s(claim, now) > _IDLE_S
    ]
    if idle:
        name = key_of(idle[0]).name
        message = f"no node provisioner has acted on {_some([key_of(claim).name for claim in idle])}"
        hint = "start the node provisioner, or check its log; " + Command("kubectl describe nodeclaim", name)
        checks.append(Check("nodes", "node-claims", "error", message, hint))
    slow = [
        (claim, words)
        for claim in claims
        if age_s(claim, now) > REGISTER_WITHIN_S and (words := _stuck(claim, now))
    ]
    for claim, words in slow[:_MOST_SHOWN]:
        name = key_of(claim).name
        look = Command("kubectl describe nodeclaim", name)
        checks.append(Check("nodes", "node-claims", "warning", f"NodeClaim {name} {words}", look))
    for claim in [claim for claim in living if launch_failure(claim)][:_MOST_SHOWN]:
        failed = launch_failure(claim) or {}
        name = key_of(claim).name
        message = f"NodeClaim {name} was not launched: {failed.get('reason')}: {failed.get('message')}"
        checks.append(
            Check("nodes", "node-claims", "warning", message, Command("kubectl describe nodeclaim", name))
        )
    return checks


def _stuck(claim: Object, now: datetime) -> str:
    """What a NodeClaim has waited for too long, by the time that Karpenter gives a machine to join."""
    since = conditions.parse_timestamp
    if is_being_deleted(claim):
        asked = since(str(claim["metadata"]["deletionTimestamp"]))
        is_late = (now - asked).total_seconds() > REGISTER_WITHIN_S
        held = ", ".join(claim["metadata"].get("finalizers") or ()) or "nothing that it names"
        return f"has been going since {asked:%Y-%m-%d %H:%M}Z; it is held by {held}" if is_late else ""
    launched, joined = (conditions.find(claim, kind) or {} for kind in ("Launched", "Registered"))
    if launched.get("status") != "True" or joined.get("status") == "True":
        return ""
    why = f": {joined['message']}" if joined.get("message") else ""
    return f"has a machine that has not joined the cluster{why}"


def _some(names: Sequence[str]) -> str:
    """The first few names."""
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return ", ".join(names[:_MOST_SHOWN]) + more


async def storage(client: Client, is_sandbox: bool) -> Iterable[Check]:
    """Where volumes come from that name no class; a sandbox's pods are simulated, and need none."""
    if is_sandbox:
        return []
    kind = Kind("storage.k8s.io", "v1", "StorageClass", "storageclasses", False)
    try:
        classes = (await client.list(kind)).items
    except ApiError as error:
        if error.status != 404:
            raise
        return [Check("nodes", "storage", "skipped", "this cluster serves no storage classes")]
    default = [
        str(item["metadata"]["name"])
        for item in classes
        if annotations_of(item).get("storageclass.kubernetes.io/is-default-class") == "true"
    ]
    if default:
        return [Check("nodes", "storage", "ok", f"the default storage class is {default[0]}")]
    what = f"none of the {len(classes)} storage classes" if classes else "there is no storage class: none"
    hint = "volumes for tuning and weights need storageClassName, or a default class"
    return [Check("nodes", "storage", "warning", f"{what} is the default", hint)]
