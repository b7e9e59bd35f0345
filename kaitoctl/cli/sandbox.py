"""`kaitoctl sandbox ...`: a Kubernetes-compatible cluster simulated on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import complete, options, sandbox_contents

app = typer.Typer(
    help="A cluster simulated on this machine: API server, controllers, GPU nodes; no containers run.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


node_app = typer.Typer(help="Add, remove and break nodes.", no_args_is_help=True, rich_markup_mode=None)


app.add_typer(node_app, name="node")
app.add_typer(sandbox_contents.model_app, name="model")
app.add_typer(sandbox_contents.image_app, name="image")


GpuNodes = Annotated[
    list[str] | None,
    typer.Option("--gpu-nodes", help="Nodes of an instance type, TYPE=N; may be repeated.", metavar="TYPE=N"),
]


Label = Annotated[
    list[str] | None,
    typer.Option("--label", help="Label of the nodes, KEY=VALUE; may be repeated.", metavar="KEY=VALUE"),
]


Speed = Annotated[
    float,
    typer.Option(
        "--speed",
        help="Speed of the simulation: simulated seconds per second.",
        min=0.1,
        max=10000,
        callback=options.number,
    ),
]


NoController = Annotated[
    bool, typer.Option("--no-controller", help="Run without the Workspace controller (see run-controller).")
]


@app.command("up")
def up(
    gpu_nodes: GpuNodes = None,
    label: Label = None,
    speed: Speed = 20.0,
    no_controller: NoController = False,
    catalog: options.CatalogFile = None,
    sandbox_name: options.SandboxName = "default",
) -> None:
    """Start the sandbox in the background, with its saved state.

    \b
    Examples:
      kaitoctl sandbox up --gpu-nodes Standard_NC12s_v3=2 --label apps=falcon-7b
    """
    from kaitoctl.commands import sandbox

    sandbox.up(
        gpu_nodes=gpu_nodes,
        label=label,
        speed=speed,
        no_controller=no_controller,
        catalog=catalog,
        sandbox_name=sandbox_name,
    )


@app.command("down")
def down(
    sandbox_name: options.SandboxName = "default",
    delete: Annotated[bool, typer.Option("--delete", help="Delete its state, too.")] = False,
) -> None:
    """Stop the sandbox. Its state is kept for the next `up`, unless --delete is given.

    \b
    Examples:
      kaitoctl sandbox down
    """
    from kaitoctl.commands import sandbox

    sandbox.down(sandbox_name=sandbox_name, delete=delete)


@app.command("status")
def status(
    output_format: options.CatalogOutput = "table",
) -> None:
    """List the sandboxes of this machine.

    \b
    Examples:
      kaitoctl sandbox status -o json
    """
    from kaitoctl.commands import sandbox

    sandbox.status(output_format=output_format)


@app.command("kubeconfig")
def kubeconfig(sandbox_name: options.SandboxName = "default") -> None:
    """Print the path of the sandbox's kubeconfig.

    \b
    Examples:
      kubectl --kubeconfig "$(kaitoctl sandbox kubeconfig)" get nodes
    """
    from kaitoctl.commands import sandbox

    sandbox.kubeconfig(sandbox_name=sandbox_name)


@node_app.command("add")
def add_node(
    name: Annotated[str, typer.Argument(help="The node's name.")],
    instance_type: Annotated[
        str,
        typer.Option(
            "--instance-type",
            help="Instance type of the node.",
            metavar="TYPE",
            autocompletion=complete.instance_types,
        ),
    ],
    label: Label = None,
    sandbox_name: options.SandboxName = "default",
) -> None:
    """Add a GPU node.

    \b
    Examples:
      kaitoctl sandbox node add gpu-a --instance-type Standard_NC12s_v3 \\
        --label apps=falcon-7b
    """
    from kaitoctl.commands import sandbox

    sandbox.add_node(name=name, instance_type=instance_type, label=label, sandbox_name=sandbox_name)


@node_app.command("rm")
def remove_node(
    name: Annotated[str, typer.Argument(help="The node's name.")],
    sandbox_name: options.SandboxName = "default",
) -> None:
    """Remove a node, as if its machine had gone.

    \b
    Examples:
      kaitoctl sandbox node rm gpu-a
    """
    from kaitoctl.commands import sandbox

    sandbox.remove_node(name=name, sandbox_name=sandbox_name)


@node_app.command("break")
def break_node(
    name: Annotated[str, typer.Argument(help="The node's name.")],
    how: Annotated[
        str,
        typer.Option(
            "--how",
            help="not-ready, plugin-missing, gpus-unhealthy or cordoned.",
            autocompletion=complete.of("not-ready", "plugin-missing", "gpus-unhealthy", "cordoned"),
        ),
    ] = "not-ready",
    sandbox_name: options.SandboxName = "default",
) -> None:
    """Break a node.

    \b
    Examples:
      kaitoctl sandbox node break gpu-a --how plugin-missing
    """
    from kaitoctl.commands import sandbox

    sandbox.break_node(name=name, how=how, sandbox_name=sandbox_name)


@node_app.command("repair")
def repair_node(
    name: Annotated[str, typer.Argument(help="The node's name.")],
    sandbox_name: options.SandboxName = "default",
) -> None:
    """Repair a node that `break` has broken.

    \b
    Examples:
      kaitoctl sandbox node repair gpu-a
    """
    from kaitoctl.commands import sandbox

    sandbox.repair_node(name=name, sandbox_name=sandbox_name)


@app.command("serve", hidden=True)
def serve(
    speed: Speed = 20.0,
    no_controller: NoController = False,
    catalog: options.CatalogFile = None,
    sandbox_name: options.SandboxName = "default",
) -> None:
    """Run the sandbox in the foreground until SIGTERM."""
    from kaitoctl.commands import sandbox

    sandbox.serve(speed=speed, no_controller=no_controller, catalog=catalog, sandbox_name=sandbox_name)
