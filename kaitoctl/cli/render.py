"""`kaitoctl render`: the objects that the controller would create, made by its own functions, offline."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import options
from kaitoctl.cli.controller_options import CONTROLLER, Controller

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
@options.grouped
def render(
    given: options.OfflineManifests = options.OFFLINE,
    nodes: Annotated[
        str | None,
        typer.Option(
            "--nodes",
            help="The cluster's nodes, as `kubectl get nodes -o json` wrote them (default: the instance type "
            "says how many GPUs there are).",
            metavar="FILE",
        ),
    ] = None,
    node_claims: Annotated[
        bool, typer.Option("--node-claims", help="NodeClaims as objects, not as comments.")
    ] = False,
    output_format: Annotated[str, options.formats("yaml", "json", "name")] = "yaml",
    namespace: Annotated[
        str,
        typer.Option("--namespace", "-n", help="Namespace for Workspaces that name none.", metavar="NAME"),
    ] = "default",
    controller: Controller = CONTROLLER,
) -> None:
    """Print the objects that run-controller would create for Workspaces and InferenceSets. Asks no cluster.

    \b
    Examples:
      kaitoctl render -f workspace.yaml

    Without any controller: kaitoctl render -f workspace.yaml | kubectl apply --server-side -f -
    """
    from kaitoctl.commands import render

    render.render(
        given=given,
        nodes=nodes,
        node_claims=node_claims,
        output_format=output_format,
        namespace=namespace,
        controller=controller,
    )
