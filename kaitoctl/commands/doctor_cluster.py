"""What `doctor` says of the cluster below: versions, CRDs, APIs, namespaces, clocks, deletions."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kaitoctl.advice import Advice, Command
from kaitoctl.commands.cluster import workspace_kind
from kaitoctl.commands.doctor_check import MOST_SHOWN, Check, Examined, Result, some
from kaitoctl.errors import ApiError, Unreachable
from kaitoctl.kaito import api, installation, kaito_at_work
from kaitoctl.kaito.validation import release_detection
from kaitoctl.kaito.validation.releases import nearest
from kaitoctl.kube import cluster_health, conditions, request
from kaitoctl.kube.cluster_health import API_SERVICE, SKEW
from kaitoctl.kube.objects import CRD, LEASE, NAMESPACE, NODE, NODE_CLAIM, dig, is_being_deleted, key_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kaitoctl.kube.objects import Object

NODE_LEASES = "kube-node-lease"
_GOING_WITHIN_S = 60.0
_WORKSPACES = f"{api.WORKSPACE.plural}.{api.GROUP}"
_CRDS = (
    _WORKSPACES,
    f"{api.INFERENCE_SET.plural}.{api.GROUP}",
    f"{NODE_CLAIM.plural}.{NODE_CLAIM.group}",
)
_SOURCE = "https://raw.githubusercontent.com/kaito-project/kaito"
_BASE = "config/crd/bases/kaito.sh_workspaces.yaml"


async def _controller(cluster: Examined) -> release_detection.Controller | None:
    """The controller of Workspaces; None where there is none, or it cannot be seen (said elsewhere)."""
    try:
        return release_detection.controller(await cluster.deployments())
    except (ApiError, Unreachable):
        return None


async def kubernetes(cluster: Examined) -> AsyncIterator[Check]:
    """Whether Kubernetes is as new as the release of KAITO wants it."""
    has, controller = cluster_health.minor_version(cluster.version), await _controller(cluster)
    release = None if controller is None else nearest(controller.target)
    if has is None or release is None or controller is None or has >= (1, release.kubernetes):
        return
    message = (
        f"Kubernetes {cluster.version} is older than KAITO {controller.target.removeprefix('v')} is made for "
        f"(1.{release.kubernetes} and newer)"
    )
    hint = "upgrade the cluster, or install an older KAITO; " + Command("kaitoctl explain kubernetes-too-old")
    yield Check("cluster", "kubernetes", "warning", message, hint, code="kubernetes-too-old")


async def crds(cluster: Examined) -> AsyncIterator[Check]:
    """Definitions that are going, that are not served, or that are of another release than the controller."""
    asking = (_definition(cluster, name) for name in _CRDS)
    found = {key_of(crd).name: crd for crd in await asyncio.gather(*asking) if crd is not None}
    for name, crd in found.items():
        look = Command("kubectl get crd", name, "-o", "yaml")
        if is_being_deleted(crd):
            message = f"CRD {name} is being deleted, and all of its objects with it"
            if why := cluster_health.why_crd_stays(crd):
                message += f": {why}"
            hint: Advice = "save what is left: " + Command("kubectl get", name, "-A", "-o", "yaml")
            yield Check("workspaces", "crds", "error", message, hint, code="crd-being-deleted")
        elif fault := cluster_health.why_not_served(crd):
            message = f"CRD {name} is not served: {fault.reason}: {fault.message}"
            yield Check("workspaces", "crds", "error", message, look, code="crd-not-established")
    ours, controller = found.get(_WORKSPACES), await _controller(cluster)
    if ours is None or controller is None or is_being_deleted(ours):
        return
    misfit, is_fatal = release_detection.crd_misfit(ours, controller.target)
    release = controller.target if controller.target.startswith("v") else f"v{controller.target}"
    if misfit:
        result: Result = "error" if is_fatal else "warning"
        message = (
            f"the CRD of Workspaces is of another release than the controller (KAITO {release[1:]}): {misfit}"
        )
        apply = Command("kubectl apply --server-side --force-conflicts -f", f"{_SOURCE}/{release}/{_BASE}")
        hint = "Helm does not upgrade it: " + apply
        yield Check("workspaces", "crds", result, message, hint, code="crd-of-other-release")


async def _definition(cluster: Examined, name: str) -> Object | None:
    try:
        return await cluster.client.send(request.get(CRD, "", name))
    except ApiError as error:
        if error.status == 404:
            return None
        raise


async def namespaces(cluster: Examined) -> AsyncIterator[Check]:
    """Namespaces that are being deleted: one's own, and those that stay."""
    own = cluster.client.namespace
    try:
        listed = (await cluster.client.list(NAMESPACE)).items
    except ApiError as error:
        if error.status == 404:
            return
        if error.status != 403:
            raise
        listed = [await cluster.client.send(request.get(NAMESPACE, "", own))]
    now = datetime.now(UTC)
    going = [item for item in listed if is_being_deleted(item)]
    going.sort(key=lambda item: key_of(item).name != own)
    stuck = [item for item in going if key_of(item).name == own or _going_s(item, now) > _GOING_WITHIN_S]
    for item in stuck[:MOST_SHOWN]:
        name, faults = key_of(item).name, cluster_health.why_terminating(item)
        message = f"namespace {name} is being deleted" + (", and is yours" if name == own else "")
        message += f": {'; '.join(fault.message for fault in faults[:2])}" if faults else ""
        look = Command("kubectl get namespace", name, "-o", "yaml")
        result: Result = "error" if name == own else "warning"
        yield Check("cluster", "namespaces", result, message, look, code="namespace-terminating")


def _going_s(obj: Object, now: datetime) -> float:
    """Seconds since the deletion of an object was asked for; 0 where it does not say."""
    try:
        asked = conditions.parse_timestamp(str(dig(obj, "metadata", "deletionTimestamp")))
    except ValueError:
        return 0.0
    return (now - asked).total_seconds()


async def api_services(cluster: Examined) -> AsyncIterator[Check]:
    """APIs that programs in the cluster serve, and that nobody answers for."""
    try:
        listed = (await cluster.client.list(API_SERVICE)).items
    except ApiError as error:
        if error.status == 404:
            return
        raise
    dead = [(item, fault) for item in listed if (fault := cluster_health.why_unavailable(item))]
    for item, fault in dead[:MOST_SHOWN]:
        name, namespace = key_of(item).name, str(dig(item, "spec", "service", "namespace") or "")
        message = (
            f"API {name} is unavailable ({fault.reason}: {fault.message}): discovery is incomplete, and "
            "namespaces are not deleted while it is"
        )
        look = Command("kubectl get service,endpointslices,pods -n", namespace)
        hint = "start the program behind it again: " + look
        yield Check("cluster", "api-services", "warning", message, hint, code="api-service-unavailable")


async def clocks(cluster: Examined) -> AsyncIterator[Check]:
    """Clocks that differ from the API server's: this machine's, and nodes' by the leases that they renew."""
    client = cluster.client
    here, there = datetime.now(UTC), cluster_health.http_date(client.date)
    if there is None:
        return
    hint = "synchronise it (chrony, timesyncd): " + Command("kaitoctl explain clock-skew")
    if abs(here - there) > SKEW:
        message = f"this machine's clock is {_apart(here, there)} of the API server's"
        yield Check("cluster", "clock", "warning", message, hint, code="clock-skew")
    try:
        leases = (await client.list(LEASE, NODE_LEASES)).items
    except ApiError as error:
        if error.status == 404:
            return
        raise
    now = cluster_health.http_date(client.date) or there
    wrong = {name: at for name, at in cluster_health.renewals(leases).items() if abs(at - now) > SKEW}
    if any(at < now for at in wrong.values()):  # it may have gone instead: only who is Ready renews
        ready = {
            key_of(node).name for node in (await client.list(NODE)).items if conditions.is_true(node, "Ready")
        }
        wrong = {name: at for name, at in wrong.items() if at > now or name in ready}
    if not wrong:
        if leases and abs(here - there) <= SKEW:
            message = f"the clocks of {len(leases)} nodes, the API server and this machine agree"
            yield Check("cluster", "clock", "ok", message)
        return
    names = some([f"{name} ({_apart(at, now)})" for name, at in sorted(wrong.items())])
    message = f"the clocks of nodes differ from the API server's: {names}"
    yield Check("cluster", "clock", "warning", message, hint, code="clock-skew")


def _apart(clock: datetime, other: datetime) -> str:
    """`95 s ahead`, `12 min behind`."""
    seconds = int(abs((clock - other).total_seconds()))
    much = f"{seconds} s" if seconds < 600 else f"{seconds // 60} min"
    return f"{much} {'ahead' if clock > other else 'behind'}"


async def finalizers(cluster: Examined) -> AsyncIterator[Check]:
    """Workspaces whose deletion waits for a finalizer of a controller that is not there."""
    if cluster.is_sandbox:
        return
    client = cluster.client
    try:
        kind = await workspace_kind(client)
        listed = (await client.list(kind, client.namespace)).items
    except ApiError as error:
        if error.status == 404:
            return  # no Workspaces at all: said above
        raise
    now = datetime.now(UTC)
    going = [item for item in listed if _going_s(item, now) > _GOING_WITHIN_S]
    if not going:
        return
    try:
        found = installation.controllers(await cluster.deployments())
        kept = [] if any(one.is_alive for one in found) else await _held_leases(cluster, now)
    except (ApiError, Unreachable):
        return  # who may not see controllers is told so above
    if kept or any(one.is_alive for one in found):
        return
    for item in going[:MOST_SHOWN]:
        held = [str(name) for name in item["metadata"].get("finalizers") or () if api.GROUP in str(name)]
        if not held:
            continue
        key = key_of(item)
        message = f"the deletion of Workspace {key} waits for {', '.join(held)}, and no controller runs"
        hint = "start the controller again; " + Command("kaitoctl why", key.name, "-n", key.namespace)
        yield Check("workspaces", "finalizers", "error", message, hint, code="finalizer-holds-deletion")


async def _held_leases(cluster: Examined, now: datetime) -> list[Object]:
    """The leases that controllers of Workspaces hold, wherever they run.

    Raises:
        ApiError: they may not be listed.
    """
    try:
        leases = (await cluster.client.list(LEASE)).items
    except ApiError as error:
        if error.status == 404:
            return []
        raise
    of_controllers = (
        item
        for item in leases
        if key_of(item).name.startswith((release_detection.OWN_LEASE, kaito_at_work.LEASE))
    )
    return [item for item in of_controllers if release_detection.is_held(item, now)]
