"""`kaitoctl check-nodes`: which nodes a Workspace can use, why not the others, and how to fix them."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import complete, options
from kaitoctl.commands.node_check_options import DescribedWorkspace, NodeCheck

app = typer.Typer(rich_markup_mode=None, add_completion=False)


class Described(DescribedWorkspace, frozen=True):
    """The options that describe a Workspace."""

    filename: Annotated[
        str | None,
        typer.Option("--filename", "-f", help="Manifest of the Workspace; - for stdin.", metavar="FILE"),
    ] = None
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset", help="Check for this preset.", metavar="NAME", autocompletion=complete.presets
        ),
    ] = None
    instance_type: options.InstanceType = None
    label: Annotated[
        list[str] | None,
        typer.Option("--label", help="Label that nodes must carry; may be repeated.", metavar="KEY=VALUE"),
    ] = None
    preferred_node: Annotated[
        list[str] | None,
        typer.Option(
            "--preferred-node",
            help="A prepared node; may be repeated.",
            metavar="NAME",
            autocompletion=complete.nodes,
        ),
    ] = None
    count: Annotated[int | None, typer.Option("--count", help="Number of nodes.", min=1)] = None


class Check(NodeCheck, frozen=True):
    """How to judge nodes, and what to do then."""

    target_version: Annotated[
        str | None,
        typer.Option(
            "--target-version",
            help="Choose nodes as kaitoctl or any release of KAITO (default: the cluster's; offline v0.4 for "
            "v1alpha1, v0.12 for v1beta1).",
            metavar="VERSION",
            autocompletion=complete.of("v0.3", "v0.4", "v0.12", "kaitoctl"),
        ),
    ] = None
    node_provisioner: Annotated[
        str | None,
        options.provisioner(
            "Setting of KAITO v0.12: azure-gpu-provisioner, karpenter or byo (default: the cluster's)."
        ),
    ] = None
    wait: Annotated[
        str | None,
        typer.Option("--wait", help="Wait up to DURATION for enough nodes.", metavar="DURATION"),
    ] = None
    strict: Annotated[bool, typer.Option("--strict", help="Treat warnings as failures.")] = False
    fix: Annotated[bool, typer.Option("--fix", help="Set missing labels, after confirmation.")] = False
    yes: Annotated[bool, typer.Option("--yes", help="With --fix: skip the confirmation prompt.")] = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --fix: a server-side dry run.")] = False
    output_format: Annotated[str, options.formats("table", "wide", "short", "json", "yaml", "name")] = "table"


_DESCRIBED, _CHECK = Described(), Check()


@app.command()
@options.grouped
def check_nodes(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Workspace in the cluster, or in FILE.",
            metavar="[NAME]",
            autocompletion=complete.workspaces,
        ),
    ] = None,
    described: Described = _DESCRIBED,
    lists: options.NodeLists = options.NODE_LISTS,
    check: Check = _CHECK,
    catalog_file: options.CatalogFile = None,
    target: options.Cluster = options.CLUSTER,
) -> None:
    """Check which nodes a Workspace can use, and how to fix the others.

    Exit code 0: enough nodes; 1: not enough.

    \b
    Examples:
      kaitoctl check-nodes -f workspace.yaml
      kaitoctl check-nodes -f workspace.yaml --nodes nodes.json --pods pods.json
    """
    from kaitoctl.commands import check_nodes

    raise typer.Exit(
        check_nodes.check_nodes(
            name=name,
            described=described,
            lists=lists,
            check=check,
            catalog_file=catalog_file,
            target=target,
        )
    )
