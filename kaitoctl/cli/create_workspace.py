"""`kaitoctl create`: Workspaces and InferenceSets."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import complete, options
from kaitoctl.commands.workspace_options import SetOptions, WorkspaceOptions

app = typer.Typer(help="Create objects.", no_args_is_help=True, rich_markup_mode=None, add_completion=False)

# What a Workspace and the template of an InferenceSet are described by.
Preset = Annotated[
    str | None,
    typer.Option("--preset", help="The model to serve.", metavar="NAME", autocompletion=complete.presets),
]
Label = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        help="Label that nodes must have (default: apps=NAME); may be repeated.",
        metavar="KEY=VALUE",
    ),
]
Adapters = Annotated[
    list[str] | None,
    typer.Option(
        "--adapter",
        help="A LoRA adapter, NAME=IMAGE[,strength=S][,pull-secret=P]; may be repeated.",
        metavar="NAME=IMAGE",
    ),
]
Registry = Annotated[
    str | None,
    typer.Option(
        "--registry",
        help="Name images in this registry, where mirror list --to copies them.",
        metavar="HOST/PATH",
    ),
]
SetValue = Annotated[
    list[str] | None,
    typer.Option("--set", help="A variable for the template; may be repeated.", metavar="KEY=VALUE"),
]


class NewWorkspace(WorkspaceOptions, frozen=True):
    """The flags that describe a Workspace, and what is to happen with it."""

    preset: Preset = None
    instance_type: options.InstanceType = None
    count: Annotated[
        int | None, typer.Option("--count", help="Number of nodes (default: 1, or what the Workspace has).")
    ] = None
    label: Label = None
    preferred_node: Annotated[
        list[str] | None,
        typer.Option(
            "--preferred-node",
            help="A prepared node to use; may be repeated.",
            metavar="NAME",
            autocompletion=complete.nodes,
        ),
    ] = None
    adapter: Adapters = None
    image_pull_secret: Annotated[
        list[str] | None,
        typer.Option(
            "--image-pull-secret", help="Pull secret of the private image; may be repeated.", metavar="NAME"
        ),
    ] = None
    private_image: Annotated[
        str | None,
        typer.Option(
            "--private-image", help="Your own image of the preset (accessMode private).", metavar="IMAGE"
        ),
    ] = None
    registry: Registry = None
    template: Annotated[
        str | None,
        typer.Option(
            "--template", help="A template: a file, or the name of a shipped one.", metavar="FILE|NAME"
        ),
    ] = None
    set_value: SetValue = None
    values: Annotated[
        str | None,
        typer.Option("--values", help="Variables for the template, in YAML or JSON.", metavar="FILE"),
    ] = None
    api_version: Annotated[
        str | None,
        typer.Option(
            "--api-version",
            help="v1alpha1 or v1beta1 (default: the newest that the cluster serves and that means the same; "
            "with --dry-run=client by the preset).",
            metavar="VERSION",
            autocompletion=complete.of("v1alpha1", "v1beta1"),
        ),
    ] = None
    catalog: options.CatalogFile = None
    prices: options.PricesFile = None
    dry_run: Annotated[
        str,
        typer.Option(
            "--dry-run",
            help="none, client (offline) or server.",
            metavar="MODE",
            autocompletion=complete.of("none", "client", "server"),
        ),
    ] = "none"
    output_format: options.WorkspaceOutput = None
    wait: options.Wait = True
    timeout: Annotated[
        str | None,
        typer.Option(
            "--timeout",
            help="How long to follow (default: the preset's budget and 10m for nodes; tuning: a day).",
            metavar="DURATION",
        ),
    ] = None
    smoke_test: options.SmokeTest = False
    skip_node_check: Annotated[
        bool, typer.Option("--skip-node-check", help="Apply even if preferred nodes are not usable.")
    ] = False
    force_conflicts: Annotated[
        bool, typer.Option("--force-conflicts", help="Take over fields that another manager owns.")
    ] = False
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Remove from an existing Workspace what no option names (adapters, config)."
        ),
    ] = False
    yes: options.Yes = False


class NewSet(SetOptions, frozen=True):
    """The flags that describe an InferenceSet, and what is to happen with it."""

    preset: Preset = None
    replicas: Annotated[int, typer.Option("--replicas", help="Number of replicas (Workspaces).")] = 1
    instance_type: Annotated[
        str | None,
        typer.Option(
            "--instance-type",
            help="Instance type of the GPU nodes; left out with nodes of your own.",
            metavar="TYPE",
            autocompletion=complete.instance_types,
        ),
    ] = None
    label: Label = None
    adapter: Adapters = None
    registry: Registry = None
    set_value: SetValue = None
    api_version: Annotated[
        str,
        typer.Option(
            "--api-version",
            help="v1alpha1 or v1beta1.",
            metavar="VERSION",
            autocompletion=complete.of("v1alpha1", "v1beta1"),
        ),
    ] = "v1beta1"
    catalog: options.CatalogFile = None
    prices: options.PricesFile = None
    dry_run: Annotated[
        str,
        typer.Option(
            "--dry-run",
            help="none, client (offline) or server.",
            metavar="MODE",
            autocompletion=complete.of("none", "client", "server"),
        ),
    ] = "none"
    output_format: Annotated[
        str | None, options.formats("yaml", "json", "name", text="Print the InferenceSet as {}.")
    ] = None
    yes: options.Yes = False
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow until all replicas are ready.")] = (
        True
    )
    timeout: Annotated[
        str | None, typer.Option("--timeout", help="How long to follow (default: 2h).", metavar="DURATION")
    ] = None


NEW_WORKSPACE = NewWorkspace()
NEW_SET = NewSet()


@app.callback()
def _create_group() -> None:
    """Create objects."""


@app.command("workspace")
@options.grouped
def create_workspace(
    name: Annotated[str, typer.Argument(help="Workspace name.", metavar="NAME")],
    given: NewWorkspace = NEW_WORKSPACE,
    managed: options.ManagedBy = options.MANAGED_BY,
    target: options.Cluster = options.CLUSTER,
) -> None:
    """Create or change a Workspace, and follow its rollout.

    Shows what it costs, and asks where nodes are bought, pods restart or something is removed. Fields of an
    existing Workspace that no option names stay as they are; --replace removes them.

    \b
    Examples:
      kaitoctl create workspace workspace-falcon-7b --preset falcon-7b \\
        --instance-type Standard_NC12s_v3 --label apps=falcon-7b --sandbox

    \b
      # offline: print the manifest
      kaitoctl create workspace workspace-falcon-7b --preset falcon-7b \\
        --dry-run=client -o yaml
    """
    from kaitoctl.commands import create_workspace

    create_workspace.create_workspace(name=name, given=given, managed=managed, target=target)


@app.command("inference-set")
@options.grouped
def create_inference_set(
    name: Annotated[str, typer.Argument(help="InferenceSet name.", metavar="NAME")],
    given: NewSet = NEW_SET,
    managed: options.ManagedBy = options.MANAGED_BY,
    target: options.Cluster = options.CLUSTER,
) -> None:
    """Create an InferenceSet, several Workspaces of one model, and follow it until all are ready.

    Shows what it costs, and asks where nodes are bought.

    \b
    Examples:
      kaitoctl create inference-set phis --preset phi-4-mini-instruct \\
        --replicas 3 --instance-type Standard_NC24ads_A100_v4 --sandbox

    \b
      # offline: print the manifest
      kaitoctl create inference-set phis --preset phi-4-mini-instruct \\
        --instance-type Standard_NC24ads_A100_v4 --dry-run=client -o yaml
    """
    from kaitoctl.commands import create_inference_set

    raise typer.Exit(
        create_inference_set.create_inference_set(name=name, given=given, managed=managed, target=target)
    )
