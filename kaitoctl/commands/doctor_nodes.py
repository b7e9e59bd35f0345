"""What `doctor` says of nodes: GPUs, who makes nodes on demand, storage."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from kaitoctl.advice import Advice, Command
from kaitoctl.commands.controller_pods import halt_of
from kaitoctl.commands.doctor_check import (
    MOST_SHOWN,
    NOT_SHOWN,
    Check,
    Examined,
    Right,
    age_s,
    group_versions,
    some,
    unseen,
)
from kaitoctl.errors import ApiError, Unreachable
from kaitoctl.kaito import api, installation, node_check
from kaitoctl.kaito.diagnosis.karpenter import REGISTER_WITHIN_S
from kaitoctl.kaito.kubectl_hints import resource_of
from kaitoctl.kaito.launch_failures import launch_failure
from kaitoctl.kaito.node_check.facts import LABEL_PRODUCT, READ_LABELS
from kaitoctl.kaito.node_check.inventory import gpu_inventory
from kaitoctl.kaito.validation import release_detection
from kaitoctl.kaito.validation.problem import OWN
from kaitoctl.kube import conditions, partial_decoding
from kaitoctl.kube.objects import (
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
    from collections.abc import AsyncIterator, Collection

    from kaitoctl.kube.objects import Object

_IDLE_S = 60.0
_PROVISIONER = "node-provisioner"


async def nodes(cluster: Examined) -> AsyncIterator[Check]:
    """GPUs, and what offers them."""
    listed = (await cluster.client.list(NODE, decode=partial_decoding.node_list(READ_LABELS))).items
    found = gpu_inventory(listed, None)
    if not found.gpu_nodes:
        yield await _without_gpus(cluster, len(listed))
        return
    silent = {"gpu-not-allocatable", "no-gpu"}
    broken = [node.name for node in found.gpu_nodes if silent & set(node.faults)]
    partly = [node.name for node in found.gpu_nodes if "gpu-unhealthy" in node.faults]
    offering = [item for item in listed if node_check.offers_gpus(item)]
    hint: Advice
    if broken:
        message = f"the device plugin offers no GPUs on {some(broken)}"
        hint = "see: " + Command("kaitoctl explain device-plugin-missing")
        yield Check("nodes", "device-plugin", "error", message, hint, code="device-plugin-missing")
    if offering:
        message = f"the device plugin offers GPUs on {len(offering)} of {len(found.gpu_nodes)} GPU nodes"
        yield Check("nodes", "device-plugin", "ok", message)
    if partly:
        hint = "see: " + Command("kaitoctl explain gpu-unhealthy")
        message = f"some GPUs are not allocatable on {some(partly)}"
        yield Check("nodes", "gpus", "warning", message, hint, code="gpu-unhealthy")
    closed = [node for node in found.gpu_nodes if not node.takes_pods and node.name not in broken]
    if closed:
        names = some([f"{node.name} ({node.faults[0]})" for node in closed])
        message = f"{len(closed)} of {len(found.gpu_nodes)} GPU nodes take no new pods: {names}"
        hint = Command("kaitoctl nodes") + ("; " + Command("kaitoctl explain", closed[0].faults[0]))
        yield Check("nodes", "gpus", "warning", message, hint, code=closed[0].faults[0])
    if ill := [node.name for node in found.gpu_nodes if "node-problem" in node.warnings]:
        message = f"node conditions report problems of {some(ill)}"
        look = Command("kubectl describe node", ill[0])
        yield Check("nodes", "gpus", "warning", message, look, code="node-problem")
    unlabelled = [item for item in offering if not labels_of(item).get(LABEL_PRODUCT)]
    if unlabelled:
        message = f"{len(unlabelled)} GPU nodes have no labels of GPU feature discovery"
        hint = "KAITO v0.12 needs them on your own nodes: " + Command("kaitoctl explain gpu-labels-missing")
        yield Check("nodes", "feature-discovery", "warning", message, hint, code="gpu-labels-missing")
    elif offering:
        yield Check("nodes", "feature-discovery", "ok", "GPU feature discovery has labelled the GPU nodes")


async def _without_gpus(cluster: Examined, total: int) -> Check:
    """What it means that no node has GPUs: nothing, where they are made on demand."""
    message = f"none of {total} nodes has GPUs"
    hint: Advice
    if cluster.is_sandbox:
        return Check("nodes", "gpus", "ok", f"{message}; the sandbox makes GPU nodes on demand")
    if await _is_byo(cluster):
        hint = (
            Command("kaitoctl check-nodes") + " says what nodes must have; the device plugin must run on them"
        )
        return Check("nodes", "gpus", "error", f"{message}, and the controller makes none (byo)", hint)
    hint = "a node provisioner creates them on demand; on your own nodes the device plugin must run"
    return Check("nodes", "gpus", "warning", message, hint)


async def _is_byo(cluster: Examined) -> bool:
    """Whether nodes must be brought, as far as the controller's Deployment can be seen."""
    controller = await _controller(cluster)
    return controller is not None and controller.byo is True


async def _lacks_pools(cluster: Examined) -> bool:
    """Whether KAITO asks for nodes with NodePools (`karpenter`), and the cluster serves none."""
    controller = await _controller(cluster)
    if controller is None or controller.provisioner != "karpenter":
        return False
    try:
        await cluster.client.list(api.NODE_POOL)
    except ApiError as error:
        return error.status == 404
    return False


async def _controller(cluster: Examined) -> release_detection.Controller | None:
    """The controller of Workspaces, as far as its Deployment can be seen."""
    try:
        return release_detection.controller(await cluster.deployments())
    except (ApiError, Unreachable):
        return None


async def provisioners(cluster: Examined) -> AsyncIterator[Check]:
    """Who makes nodes of NodeClaims."""
    hint: Advice
    served = await group_versions(cluster.client, NODE_CLAIM.group)
    if served is None:
        message = "there is no NodeClaim API: no nodes are created on demand"
        if await _is_byo(cluster):
            yield Check("nodes", _PROVISIONER, "ok", f"{message}, and the controller asks for none (byo)")
            return
        ready = Command("kaitoctl check-nodes")
        hint = "prepare nodes yourself (" + ready + "), or install Karpenter or gpu-provisioner"
        yield Check("nodes", _PROVISIONER, "warning", message, hint, code="node-claim-kind-missing")
        return
    if await _lacks_pools(cluster):
        message = "the controller asks for nodes with NodePools (karpenter), and the cluster serves none"
        hint = "install Karpenter, or run KAITO with the provisioner that is there"
        yield Check("nodes", _PROVISIONER, "error", message, hint)
        return
    said = _served_words(served)
    if cluster.is_sandbox:
        yield Check("nodes", _PROVISIONER, "ok", said)
        return
    try:
        found = installation.provisioners(await cluster.deployments())
    except ApiError as error:
        if error.status not in NOT_SHOWN:
            raise
        what = f"{said}; whether a node provisioner runs"
        yield unseen("nodes", _PROVISIONER, what, Right("list", "deployments.apps"))
        return
    none = "" if found else "; no node provisioner was found (a managed one is not visible)"
    yield Check("nodes", _PROVISIONER, "ok", said + none)
    for one in found:
        look: Advice = Command("kubectl describe deployment", one.name, "-n", one.namespace)
        words = one.words + ("" if one.is_alive else ": it is scaled to 0, so no nodes are created")
        if halt := await halt_of(cluster.client, one):
            words, look = f"{words}; {halt.words}", halt.hint
        yield Check("nodes", _PROVISIONER, "ok" if one.ready else "error", words, look)


def _served_words(versions: Collection[str]) -> str:
    """As what nodes can be asked for: Karpenter's group has had Machines before it had NodeClaims."""
    machines = api.MACHINE.version
    claims = ", ".join(sorted(version for version in versions if version != machines))
    said = [f"NodeClaims are served as {claims}"] if claims else []
    if machines in versions:
        said.append(f"Machines as {machines}" if claims else f"Machines are served as {machines}")
    return ", ".join(said)


async def claims(cluster: Examined) -> AsyncIterator[Check]:
    """NodeClaims that nobody takes up, and machines that were not launched."""
    client = cluster.client
    served = await group_versions(client, NODE_CLAIM.group) or ()
    if api.MACHINE.version in served:
        async for check in _machines(cluster):
            yield check
    version = next((one for one in ("v1", "v1beta1") if one in served), None)
    if version is None:
        return
    try:
        found = (await client.list(replace(NODE_CLAIM, version=version))).items
    except ApiError as error:
        if error.status == 404:
            return
        raise
    now = datetime.now(UTC)
    living = [claim for claim in found if not is_being_deleted(claim)]
    idle = [
        claim for claim in living if not dig(claim, "status", "conditions") and age_s(claim, now) > _IDLE_S
    ]
    if idle:
        name = key_of(idle[0]).name
        message = f"no node provisioner has acted on {some([key_of(claim).name for claim in idle])}"
        hint = "start the node provisioner, or check its log; " + Command("kubectl describe nodeclaim", name)
        yield Check("nodes", "node-claims", "error", message, hint)
    slow = [
        (claim, words)
        for claim in found
        if age_s(claim, now) > REGISTER_WITHIN_S and (words := _stuck(claim, now))
    ]
    for claim, words in slow[:MOST_SHOWN]:
        name = key_of(claim).name
        look = Command("kubectl describe nodeclaim", name)
        yield Check("nodes", "node-claims", "warning", f"NodeClaim {name} {words}", look)
    for claim in [claim for claim in living if launch_failure(claim)][:MOST_SHOWN]:
        failed = launch_failure(claim) or {}
        name = key_of(claim).name
        message = f"NodeClaim {name} was not launched: {failed.get('reason')}: {failed.get('message')}"
        look = Command("kubectl describe nodeclaim", name)
        yield Check("nodes", "node-claims", "warning", message, look)


async def _machines(cluster: Examined) -> AsyncIterator[Check]:
    """Machines by which an older KAITO asked for nodes, where kaitoctl's controller has taken over."""
    controller = await _controller(cluster)
    if not cluster.is_sandbox and (controller is None or controller.target != OWN):
        return
    try:
        found = (await cluster.client.list(api.MACHINE, label_selector=api.LABEL_WORKSPACE)).items
    except ApiError as error:
        if error.status == 404:
            return
        raise
    names = [key_of(one).name for one in found if not is_being_deleted(one)]
    if names:
        cost = "costs until it is deleted" if len(names) == 1 else "cost until they are deleted"
        count = f"{len(names)} {node_check.plural('Machine', len(names))}"
        message = (
            f"{count} ({some(names)}) of an older KAITO {cost}: kaitoctl's controller counts their nodes, "
            "and deletes none"
        )
        owners = f"{api.LABEL_WORKSPACE_NAMESPACE},{api.LABEL_WORKSPACE}"
        hint = Command("kubectl get", resource_of(api.MACHINE.kind), "-L", owners) + " shows whose they are; "
        hint += Command("kaitoctl orphans") + " lists those whose Workspace is gone, and how to delete them"
        yield Check("nodes", "machines", "warning", message, hint)


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


async def storage(cluster: Examined) -> AsyncIterator[Check]:
    """Where volumes come from that name no class; a sandbox's pods are simulated, and need none."""
    if cluster.is_sandbox:
        return
    kind = Kind("storage.k8s.io", "v1", "StorageClass", "storageclasses", False)
    try:
        classes = (await cluster.client.list(kind)).items
    except ApiError as error:
        if error.status != 404:
            raise
        yield Check("nodes", "storage", "skipped", "this cluster serves no storage classes")
        return
    default = [
        str(item["metadata"]["name"])
        for item in classes
        if annotations_of(item).get("storageclass.kubernetes.io/is-default-class") == "true"
    ]
    if default:
        yield Check("nodes", "storage", "ok", f"the default storage class is {default[0]}")
        return
    what = f"none of the {len(classes)} storage classes" if classes else "there is no storage class: none"
    hint = "volumes for tuning and weights need storageClassName, or a default class"
    yield Check("nodes", "storage", "warning", f"{what} is the default", hint)
