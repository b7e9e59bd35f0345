"""`kaitoctl endpoint`: how to reach the model server of a Workspace, or those of an InferenceSet."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kaitoctl.advice import Command, text
from kaitoctl.commands import option_values
from kaitoctl.commands.cluster import connected
from kaitoctl.commands.name_lookup import workspace_or_fleet
from kaitoctl.commands.observe_workspace import snapshot_of
from kaitoctl.commands.option_values import ManagedBy, Named, parse_name
from kaitoctl.commands.target import Target
from kaitoctl.errors import NegativeAnswer
from kaitoctl.kaito import model_protocols
from kaitoctl.kaito.rollout import progress
from kaitoctl.kaito.serving import (
    asked_port,
    lacks_address,
    local_address,
    main_service,
    ready_pods,
    serving,
)
from kaitoctl.kaito.snapshot import Snapshot
from kaitoctl.kube import pod_state
from kaitoctl.kube.objects import SERVICE, dig, key_of
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.kaito.validation import Setting
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object

_KINDS = ("cluster", "proxy", "port-forward", "load-balancer", "gateway", "local")
_HINTS = {
    "local": "kaitoctl sandbox model set PRESET --from MODEL lets a sandbox's pods really serve",
    "load-balancer": "annotate the Workspace with kaito.sh/enablelb=True before it is created; "
    "where its Service is of type LoadBalancer already, that has no address yet",
    "gateway": "an InferenceSet has one when an HTTPRoute leads to the InferencePool that KAITO makes for it",
}


def endpoint(*, name: str, kind: str, output_format: str, target_version: str | None, target: Target) -> None:
    """Print the address of a Workspace's model server. Exit code 1 when it does not serve."""
    if kind:
        option_values.one_of(kind, _KINDS, option="--type")
    option_values.output_format(output_format, ("text", "json", "yaml", "name"))
    managed = ManagedBy(target_version)
    if managed.is_said:
        from kaitoctl.commands.target_release import check_manager  # most name none

        check_manager(managed)
    asyncio.run(_endpoint(target, parse_name(name), kind, output_format, managed))


async def _endpoint(target: Target, asked: Named, kind: str, output_format: str, managed: ManagedBy) -> None:
    async with connected(target) as client:
        found = await found_addresses(client, target, asked, managed)
    forward = found["addresses"]["port-forward"]
    found["addresses"]["port-forward"] = target.text(forward)
    if option_values.is_structured(output_format):
        output.write_structured(found, output_format)
        return
    if output_format == "name":
        output.data(output.visible(f"service/{found['service'].partition('.')[0]}"))
        return
    is_set = "inference_set" in found
    if is_set and not found["addresses"]["gateway"]:
        output.step(f"InferenceSet {found['inference_set']}: through {found['through']}")
    first = next((one for one in ("gateway", "local") if found["addresses"][one]), "cluster")
    kind = kind or first
    if not found["addresses"][kind]:
        name = f"InferenceSet {asked.name}" if is_set else f"Workspace {asked.name}"
        raise NegativeAnswer(f"{name} has no {kind} address", hint=_HINTS[kind])
    output.data(output.visible(str(found["addresses"][kind])))
    if found["simulated"]:
        output.note("its pods are simulated: nothing answers there")
    for line in found["warnings"]:
        output.warning(line)


async def found_addresses(client: Client, target: Target, asked: Named, managed: ManagedBy) -> Object:
    """Every way to the model of a Workspace, or of a set: through what stands before all of its replicas.

    Args:
        client: of the cluster.
        target: how it was named.
        asked: a Workspace or a set.
        managed: who manages Workspaces, as far as the user says it.

    Raises:
        ApiError: there is neither of that name.
        NegativeAnswer: nobody serves.
    """
    found = await workspace_or_fleet(client, asked, snapshot_of)
    if isinstance(found, Snapshot):
        return addresses(client, found, setting=await _setting(client, target, found, managed))
    from kaitoctl.commands.chosen_replica import way_to  # most names are those of Workspaces

    way = await way_to(client, found)
    setting = await _setting(client, target, way.replica, managed)
    made = addresses(client, way.replica, service=way.service, setting=setting)
    url = f"{way.gateway}{made['path']}" if way.gateway else None
    ready = [one.name for one in found.replicas if one.is_ready]
    made = {**made, "addresses": {**made["addresses"], "gateway": url}}
    return {"inference_set": str(found.key), "through": way.words, "replicas": ready, **made}


async def _setting(client: Client, target: Target, seen: Snapshot, managed: ManagedBy) -> Setting | None:
    """Who made the server, where it cannot be seen how it was started; None where it can."""
    if seen.workloads:
        return None
    from kaitoctl.commands.kaito_detection import as_said  # most may see workloads

    return (await as_said(client, managed, is_sandbox=target.sandbox)).setting(seen.catalog)


def addresses(
    client: Client, seen: Snapshot, *, service: Object | None = None, setting: Setting | None = None
) -> Object:
    """Every way to the model server, as documented in docs/status.md.

    Args:
        client: of the cluster.
        seen: a Workspace, with what belongs to it.
        service: one that leads to it and others; None for its own.
        setting: who made its server, where that cannot be seen.

    Raises:
        NegativeAnswer: it does not serve.
    """
    workspace = seen.workspace
    assert workspace is not None
    key, found, ready = key_of(workspace), serving(seen), ready_pods(seen)
    why = Command("kaitoctl why", key.name, "-n", key.namespace)
    if workspace.get("tuning"):
        raise NegativeAnswer(f"Workspace {key} is a tuning job: it serves no model")
    if not found.is_any:
        raise NegativeAnswer(f"Workspace {key} does not serve: {_phase(seen)}{found.words}", hint=why)
    main = main_service(seen)
    if main is None:
        raise NegativeAnswer(f"Workspace {key} is ready, but has no Service", hint=why)
    protocol = model_protocols.protocol_of(workspace, seen.workloads, seen.catalog, setting)
    path = model_protocols.path_of(protocol)
    main = service or main
    name = str(main["metadata"]["name"])
    port = (asked_port(main) or {"port": 80}).get("port")
    balanced = dig(main, "status", "loadBalancer", "ingress", 0) or {}
    local = local_address(main, client.host)
    outside = balanced.get("ip") or balanced.get("hostname")
    proxy = SERVICE.path(key.namespace, f"{name}:{port}", "proxy").replace("%3A", ":")
    return {
        "workspace": str(key),
        "protocol": protocol,
        "path": path,
        "service": f"{name}.{key.namespace}.svc",
        "port": port,
        "simulated": bool(ready) and all(map(pod_state.is_simulated, ready)),
        "proxy_path": proxy,
        "warnings": _pending(seen, main),
        "addresses": {
            "cluster": f"http://{name}.{key.namespace}.svc:{port}{path}",
            "proxy": f"{client.host}{proxy}{path}",
            "port-forward": Command(
                "kubectl port-forward -n", key.namespace, f"service/{name}", f"8080:{port}"
            ),
            "load-balancer": f"http://{outside}:{port}{path}" if outside else None,
            "gateway": None,
            "local": f"{local}{path}" if local else None,
        },
    }


def _pending(seen: Snapshot, service: Object) -> list[str]:
    """What keeps a load balancer from having an address, as `why` says it; nothing where it has one."""
    if not lacks_address(service):
        return []
    from kaitoctl.kaito.diagnosis.of_ways_in import pending_load_balancer  # most have an address, or none

    found = pending_load_balancer(seen, datetime.now(UTC)) if service is main_service(seen) else None
    if found is None:
        return [f"the load balancer of Service {key_of(service).name} has no address yet"]
    return [f"{found.message}; {text(found.hint)} [{found.code}]"]


def _phase(seen: Snapshot) -> str:
    """How far the rollout is, while there is one, and a colon."""
    where = progress(seen)
    return "" if where.down or where.outcome == "ready" else f"{where.phase.words}: "
