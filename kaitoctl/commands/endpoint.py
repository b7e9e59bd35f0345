"""`kaitoctl endpoint`: how to reach a Workspace's model server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kaitoctl.advice import Command
from kaitoctl.commands import option_values
from kaitoctl.commands.cluster import connected
from kaitoctl.commands.observe_workspace import snapshot_of
from kaitoctl.commands.target import Target
from kaitoctl.errors import NegativeAnswer
from kaitoctl.kaito import conversation
from kaitoctl.kaito.rollout import progress
from kaitoctl.kaito.serving import asked_port, local_address, main_service, serving
from kaitoctl.kube.objects import SERVICE, ObjectKey, dig, key_of
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.kaito.snapshot import Snapshot
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object

_KINDS = ("cluster", "proxy", "port-forward", "load-balancer", "local")


def endpoint(*, name: str, kind: str, output_format: str, target: Target) -> None:
    """Print the address of a Workspace's model server. Exit code 1 when it does not serve."""
    if kind:
        option_values.one_of(kind, _KINDS, option="--type")
    option_values.output_format(output_format, ("text", "json", "yaml"))
    asyncio.run(_endpoint(target, option_values.workspace_name(name), kind, output_format))


async def _endpoint(target: Target, name: str, kind: str, output_format: str) -> None:
    async with connected(target) as client:
        seen = await snapshot_of(client, ObjectKey(client.namespace, name))
        found = addresses(client, seen)
    forward = found["addresses"]["port-forward"]
    found["addresses"]["port-forward"] = target.text(forward)
    if option_values.is_structured(output_format):
        output.structured(found, output_format)
        return
    kind = kind or ("local" if found["addresses"]["local"] else "cluster")
    if kind == "local" and not found["addresses"][kind]:
        hint = "kaitoctl sandbox model set PRESET --from FILE lets a sandbox's pods really serve"
        raise NegativeAnswer(f"Workspace {name} has no {kind} address", hint=hint)
    if not found["addresses"][kind]:
        hint = "annotate the Workspace with kaito.sh/enablelb=True before it is created"
        raise NegativeAnswer(f"Workspace {name} has no {kind} address", hint=hint)
    output.data(output.visible(str(found["addresses"][kind])))


def addresses(client: Client, seen: Snapshot) -> Object:
    """Every way to the model server, as documented in docs/status.md.

    Raises:
        NegativeAnswer: it does not serve.
    """
    workspace = seen.workspace
    assert workspace is not None
    key, found = key_of(workspace), serving(seen)
    why = Command("kaitoctl why", key.name, "-n", key.namespace)
    if workspace.get("tuning"):
        raise NegativeAnswer(f"Workspace {key} is a tuning job: it serves no model")
    if not found.is_any:
        raise NegativeAnswer(f"Workspace {key} does not serve: {_phase(seen)}{found.words}", hint=why)
    main = main_service(seen)
    if main is None:
        raise NegativeAnswer(f"Workspace {key} is ready, but has no Service", hint=why)
    protocol = conversation.protocol_of(workspace, seen.workloads, seen.catalog)
    path = conversation.path_of(protocol)
    port = (asked_port(main) or {"port": 80}).get("port")
    balanced = dig(main, "status", "loadBalancer", "ingress", 0) or {}
    local = local_address(main, client.host)
    outside = balanced.get("ip") or balanced.get("hostname")
    proxy = SERVICE.path(key.namespace, f"{key.name}:{port}", "proxy").replace("%3A", ":")
    return {
        "workspace": str(key),
        "protocol": protocol,
        "path": path,
        "service": f"{key.name}.{key.namespace}.svc",
        "port": port,
        "proxy_path": proxy,
        "addresses": {
            "cluster": f"http://{key.name}.{key.namespace}.svc:{port}{path}",
            "proxy": f"{client.host}{proxy}{path}",
            "port-forward": Command(
                "kubectl port-forward -n", key.namespace, f"service/{key.name}", f"8080:{port}"
            ),
            "load-balancer": f"http://{outside}:{port}{path}" if outside else None,
            "local": f"{local}{path}" if local else None,
        },
    }


def _phase(seen: Snapshot) -> str:
    """How far the rollout is, while there is one, and a colon."""
    where = progress(seen)
    return "" if where.down or where.outcome == "ready" else f"{where.phase.words}: "
