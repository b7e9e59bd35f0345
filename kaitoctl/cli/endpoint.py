"""`kaitoctl endpoint`: how to reach a Workspace's model server."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import complete, options

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
@options.grouped
def endpoint(
    name: options.ServedName,
    kind: Annotated[
        str,
        typer.Option(
            "--type",
            help="cluster (from a pod), proxy (through the API server), port-forward (the command for it), "
            "load-balancer, local (of a sandbox whose pods are real). Default: local where there is one, "
            "else cluster.",
            metavar="TYPE",
            autocompletion=complete.of("cluster", "proxy", "port-forward", "load-balancer", "local"),
        ),
    ] = "",
    output_format: Annotated[
        str, options.formats("text", "json", "yaml", "name", text="{} (the Service).")
    ] = "text",
    target_version: options.MadeBy = None,
    target: options.Cluster = options.CLUSTER,
) -> None:
    """Print the address of a Workspace's model server. Exit code 1 when it does not serve.

    \b
    Examples:
      curl -d '{"prompt": "What is Kubernetes?"}' \\
        "$(kaitoctl endpoint workspace-falcon-7b)"
    """
    from kaitoctl.commands import endpoint

    endpoint.endpoint(
        name=name, kind=kind, output_format=output_format, target_version=target_version, target=target
    )
