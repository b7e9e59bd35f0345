"""What the adapter commands look at in a cluster: Workspaces, pods, the model server's own word."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from kaitoctl.advice import Command
from kaitoctl.commands import cluster
from kaitoctl.commands.cluster import explain_refusal, present, served_versions
from kaitoctl.commands.name_lookup import set_at, workspace_or_fleet
from kaitoctl.errors import ApiError, KaitoctlError
from kaitoctl.kaito import adapter_rollout, adapters, api, convert
from kaitoctl.kube import pod_state, request
from kaitoctl.kube.objects import (
    DEPLOYMENT,
    POD,
    SERVICE,
    STATEFUL_SET,
    ObjectKey,
    is_controlled_by,
    key_of,
    with_type,
)
from kaitoctl.screens import output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kaitoctl.commands.option_values import Named
    from kaitoctl.kaito.adapter_rollout import Row
    from kaitoctl.kaito.fleet.view import Fleet
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Kind, Object

_LOG_BYTES = 2_000_000


async def workspace_named(client: Client, name: str, namespace: str = "") -> Object:
    """The Workspace, in the API version that it was written in unless writing that would cost it fields.

    Raises:
        ApiError: there is none; the hint names one of a similar name.
    """
    served = await served_versions(client) or [api.WORKSPACE.version]
    namespace = namespace or client.namespace
    try:
        return await _as_written(client, served, namespace, name)
    except ApiError as error:
        if error.status == 404 and not error.is_unknown_resource:
            kind = api.newest(served) or api.WORKSPACE
            await _say_what_is_there(client, error, kind, ObjectKey(namespace, name))
        raise explain_refusal(error) from error


async def workspace_or_set(client: Client, asked: Named) -> Object | Fleet:
    """The Workspace of a name, as `workspace_named` has it, or else the InferenceSet.

    Raises:
        ApiError: there is neither; the hint names one of a similar name.
    """

    async def read(client: Client, key: ObjectKey) -> Object:
        return await workspace_named(client, key.name, key.namespace)

    return await workspace_or_fleet(client, asked, read)


async def find_workspace(client: Client, name: str, namespace: str) -> Object | None:
    """As `workspace_named`; None when there is none, and nobody looks for what has the name instead."""
    served = await served_versions(client) or [api.WORKSPACE.version]
    try:
        return await _as_written(client, served, namespace, name)
    except ApiError as error:
        if error.status == 404 and not error.is_unknown_resource:
            return None
        raise explain_refusal(error) from error


async def _as_written(client: Client, served: Sequence[str], namespace: str, name: str) -> Object:
    newest = api.newest(served) or api.WORKSPACE
    found = await _read(client, newest, namespace, name)
    written = adapters.written_as(found).rpartition("/")[2]
    is_older = written != newest.version and written in served
    if is_older and not convert.lost_by_writing(found, written):
        found = await _read(client, replace(newest, version=written), namespace, name)
    return found


async def _say_what_is_there(client: Client, error: ApiError, kind: Kind, key: ObjectKey) -> None:
    """Of a name that no Workspace has: that a set has it, or which one is similar; if that can be seen."""
    try:
        fleet = await set_at(client, key)
    except ApiError:
        return
    if fleet is None:
        unknown = await cluster.no_such(client, kind, key)
        error.message, error.hint = unknown.message, unknown.hint
        return
    error.message = f"{key} is an InferenceSet, and this is about one Workspace"
    edit = Command("kaitoctl edit", f"inferenceset/{key.name}", "-n", key.namespace)
    status = Command("kaitoctl status", f"inferenceset/{key.name}", "-n", key.namespace)
    error.hint = (
        status
        + " names its Workspaces and their adapters; all of them are made of spec.template, which "
        + edit
        + " changes"
    )


async def _read(client: Client, kind: Kind, namespace: str, name: str) -> Object:
    found = await client.send(request.get(kind, namespace, name))
    return with_type(kind, found)


async def pods_of(client: Client, workspace: Object) -> list[Object] | None:
    """The Workspace's current pods; None, with a warning, when they may not be listed."""
    key = key_of(workspace)
    try:
        listed = await client.list(POD, key.namespace, label_selector=f"{api.LABEL_WORKSPACE}={key.name}")
    except ApiError as error:
        if error.status != 403:
            raise
        output.warning(f"its pods cannot be seen: {error}")
        return None
    return adapter_rollout.current(listed.items)


async def workload_if_seen(client: Client, workspace: Object) -> Object | None:
    """As `workload_of`; None, too, when it may not be seen."""
    try:
        return await workload_of(client, workspace)
    except ApiError as error:
        if error.status != 403:
            raise
        return None


async def workload_of(client: Client, workspace: Object) -> Object | None:
    """The Deployment or StatefulSet of the Workspace; None without.

    Raises:
        ApiError: it may not be seen.
    """
    for kind in (DEPLOYMENT, STATEFUL_SET):
        found = await present(client, request.get(kind, *key_of(workspace)))
        if found is not None and is_controlled_by(found, workspace):
            return with_type(kind, found)
    return None


async def log_of(client: Client, workspace: Object, pod: str, container: str) -> str:
    """The beginning of a container's log; empty when it cannot be read."""
    query = {"container": container, "limitBytes": str(_LOG_BYTES)}
    try:
        return await client.text(POD.path(key_of(workspace).namespace, pod, "log"), query)
    except KaitoctlError:
        return ""


async def proof(client: Client, workspace: Object, pods: Sequence[Object] | None) -> tuple[list[Row], str]:
    """The adapters as said, as in the pods, and as loaded; and why that is not known, if it is not."""
    ready = [pod for pod in pods or () if pod_state.is_ready(pod)]
    if not pods or not adapter_rollout.rows(workspace, pods):
        return adapter_rollout.rows(workspace, pods), ""
    if not ready:
        return adapter_rollout.rows(workspace, pods, ()), "no model server is ready"
    if all(map(pod_state.is_simulated, ready)):
        return adapter_rollout.rows(workspace, pods), "its pods are simulated: they load nothing"
    if adapter_rollout.is_on_vllm(ready, workspace):
        loaded, why = await _models_listed(client, workspace)
    else:
        name = workspace["metadata"]["name"]
        log = await log_of(client, workspace, ready[0]["metadata"]["name"], name)
        if adapter_rollout.is_our_server(log):
            return await _ask_own_servers(client, workspace, pods, ready)
        loaded, why = (
            adapter_rollout.loaded_by_log(log),
            "the log of the model server does not say what it loaded",
        )
    rows = adapter_rollout.rows(workspace, pods, loaded)
    return rows, "" if loaded is not None else why


async def _ask_own_servers(
    client: Client, workspace: Object, pods: Sequence[Object], ready: Sequence[Object]
) -> tuple[list[Row], str]:
    """What every ready server of our own runtime says, through the API server's proxy to its pod."""
    strengths: list[dict[str, float]] = []
    for pod in ready:
        try:
            path = f"{POD.path(*key_of(pod))}:5000/proxy/v1/models"
            answer: Any = json.loads(await client.text(path))
        except (KaitoctlError, ValueError) as error:
            return adapter_rollout.rows(workspace, pods), f"could not query the model server: {error}"
        strengths.append(adapter_rollout.strengths_by_models(answer))
    return adapter_rollout.rows_by_strength(workspace, pods, strengths), ""


async def _models_listed(client: Client, workspace: Object) -> tuple[list[str] | None, str]:
    """What vLLM lists, asked through the API server's proxy to the Service."""
    key = key_of(workspace)
    path = f"{SERVICE.path(key.namespace)}/{key.name}:80/proxy/v1/models"
    try:
        answer: Any = json.loads(await client.text(path))
    except KaitoctlError as error:
        return None, f"could not query the model server: {error}"
    except ValueError:
        return None, "could not query the model server: the answer is not JSON"
    loaded = adapter_rollout.loaded_by_models(answer)
    return loaded, "the model server lists no models"
