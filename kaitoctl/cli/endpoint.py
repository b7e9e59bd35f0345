"""`kaitoctl endpoint`: where prompts go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kaitoctl.cli import complete, options, output
from kaitoctl.cli.connect import Context, Kubeconfig, Namespace, Sandbox, SandboxName, Target, connected
from kaitoctl.errors import NegativeAnswer

if TYPE_CHECKING:
    from kaitoctl.kaito.snapshot import Snapshot
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_KINDS = ("cluster", "proxy", "port-forward", "load-balancer")


@app.command()
def endpoint(
    name: Annotated[
        str, typer.Argument(help="The Workspace.", metavar="WORKSPACE", autocompletion=complete.workspaces)
    ],
    kind: Annotated[
        str,
        typer.Option(
            "--type",
            help="cluster (from a pod), proxy (through the API server), port-forward (the command for it), "
            "load-balancer.",
            metavar="KIND",
        ),
    ] = "cluster",
    output_format: Annotated[
        str, typer.Option("--output", "-o", help="text or json (all of them).")
    ] = "text",
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = False,
    sandbox_name: SandboxName = "default",
) -> None:
    """Print the address of a Workspace's model server. Exit code 1 when it does not serve.

    Example: curl -d '{"prompt": "What is Kubernetes?"}' "$(kaitoctl endpoint workspace-falcon-7b)"
    """
    import asyncio

    options.one_of(kind, _KINDS, option="--type")
    options.one_of(output_format, ("text", "json"), option="--output")
    target = Target(namespace, context, kubeconfig, sandbox, sandbox_name)
    asyncio.run(_endpoint(target, options.workspace_name(name), kind, output_format))


async def _endpoint(target: Target, name: str, kind: str, output_format: str) -> None:
    from kaitoctl.cli import look
    from kaitoctl.cli.catalog_options import structured
    from kaitoctl.kube.objects import ObjectKey

    async with connected(target) as client:
        seen = await look.once(client, ObjectKey(client.namespace, name))
        found = addresses(client, seen)
    forward = found["addresses"]["port-forward"]
    found["addresses"]["port-forward"] = target.addressed(forward)
    if output_format == "json":
        structured(found, "json")
    elif not found["addresses"][kind]:
        hint = "annotate the Workspace with kaito.sh/enablelb=True before it is created"
        raise NegativeAnswer(f"Workspace {name} has no {kind} address", hint=hint)
    else:
        output.data(output.visible(str(found["addresses"][kind])))


def addresses(client: Client, seen: Snapshot) -> Object:
    """Every way to the model server, as documented in docs/status.md.

    Raises:
        NegativeAnswer: it does not serve.
    """
    from kaitoctl.kaito import conversation
    from kaitoctl.kaito.serving import asked_port, main_service, serving
    from kaitoctl.kube.objects import SERVICE, dig, key_of

    workspace = seen.workspace
    assert workspace is not None
    key, found = key_of(workspace), serving(seen)
    why = f"kaitoctl why {key.name} -n {key.namespace}"
    if workspace.get("tuning"):
        raise NegativeAnswer(f"Workspace {key} tunes a model and serves none")
    if not found.is_any:
        raise NegativeAnswer(f"Workspace {key} does not serve: {_where(seen)}{found.words}", hint=why)
    main = main_service(seen)
    if main is None:
        raise NegativeAnswer(f"Workspace {key} is ready, and has no Service", hint=why)
    protocol = conversation.protocol_of(workspace, seen.workloads)
    path = conversation.path_of(protocol)
    port = (asked_port(main) or {"port": 80}).get("port")
    balanced = dig(main, "status", "loadBalancer", "ingress", 0) or {}
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
            "port-forward": f"kubectl port-forward -n {key.namespace} service/{key.name} 8080:{port}",
            "load-balancer": f"http://{outside}:{port}{path}" if outside else None,
        },
    }


def _where(seen: Snapshot) -> str:
    """Where the rollout stands, while there is one, and a colon."""
    from kaitoctl.kaito.rollout import progress

    where = progress(seen)
    return "" if where.down or where.outcome == "ready" else f"{where.phase.words}: "
