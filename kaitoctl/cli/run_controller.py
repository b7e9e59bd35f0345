"""`kaitoctl run-controller`: be the Workspace controller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kaitoctl.cli import options, output
from kaitoctl.cli.connect import Context, Kubeconfig, Sandbox, SandboxName, Target, connected
from kaitoctl.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kaitoctl.kaito.desired import Settings
    from kaitoctl.kube.client import Client


app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def run_controller(
    namespace: Annotated[
        str | None,
        typer.Option("--namespace", "-n", help="Manage one namespace only (default: all).", metavar="NAME"),
    ] = None,
    image_generation: Annotated[
        str, typer.Option("--image-generation", help="Generation of the preset images: v0.3 or v0.4.")
    ] = "v0.4",
    registry: Annotated[
        str | None, typer.Option("--registry", help="Registry of the preset images.", metavar="HOST/PATH")
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", help="Workspaces handled at a time.", min=1, max=64)
    ] = 4,
    most_nodes: Annotated[
        int, typer.Option("--most-nodes", help="Refuse Workspaces that ask for more nodes than this.", min=1)
    ] = 64,
    leader_elect: Annotated[
        bool, typer.Option("--leader-elect/--no-leader-elect", help="Hold a Lease while running.")
    ] = True,
    lease_namespace: Annotated[
        str, typer.Option("--lease-namespace", help="Where the Lease lives.", metavar="NAME")
    ] = "default",
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = False,
    sandbox_name: SandboxName = "default",
) -> None:
    """Manage Workspaces: give each its workload, Service and nodes, and keep them so.

    Runs until SIGTERM or Ctrl-C. Example: kaitoctl run-controller --namespace models
    """
    import asyncio
    import logging

    from kaitoctl.kaito import catalog
    from kaitoctl.kaito.desired import Settings

    options.one_of(image_generation, ("v0.3", "v0.4"), option="--image-generation")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    settings = Settings(registry or catalog.DEFAULT_REGISTRY, image_generation, most_nodes)
    target = Target(namespace, context, kubeconfig, sandbox, sandbox_name)
    asyncio.run(_run(target, settings, workers, lease_namespace if leader_elect else None))


async def _run(target: Target, settings: Settings, workers: int, lease_namespace: str | None) -> None:
    import asyncio
    import signal

    from kaitoctl import workspace_controller

    async with connected(target) as client:
        await _insist_on_crd(client, target.namespace or "")

        async def work(allowed: Callable[[], bool] | None = None) -> None:
            output.step(f"managing Workspaces of {target.namespace or 'all namespaces'} on {client.host}")
            await workspace_controller.run(
                client,
                namespace=target.namespace or "",
                settings=settings,
                workers=workers,
                allowed=allowed,
            )

        task = asyncio.create_task(
            _led(client, lease_namespace, target.namespace or "", work) if lease_namespace else work()
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            output.step("stopped")


async def _led(
    client: Client, namespace: str, scope: str, work: Callable[[Callable[[], bool]], Awaitable[None]]
) -> None:
    """Run the work for exactly as long as the lease is held; there is one lease for each scope."""
    import os
    import socket

    from kaitoctl.reconcile.leader_election import LeaderElection

    identity = f"{socket.gethostname()}-{os.getpid()}"
    name = f"kaitoctl-controller-{scope}" if scope else "kaitoctl-controller"
    election = LeaderElection(client, namespace=namespace, name=name, identity=identity)
    output.step(f"waiting for the lease {namespace}/{name}")
    await election.run(lambda: work(lambda: election.is_leader))


async def _insist_on_crd(client: Client, namespace: str) -> None:
    """A controller without its CRD would wait in silence: say what is missing instead."""
    from kaitoctl.cli.create_workspace import missing_crd
    from kaitoctl.kaito import api
    from kaitoctl.kube.request import Request

    try:
        await client.send(Request("GET", api.WORKSPACE.path(namespace), query={"limit": "1"}))
    except ApiError as error:
        raise (missing_crd() if error.is_unknown_resource else error) from error
