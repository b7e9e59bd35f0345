"""`kaitoctl validate`: judge manifests before any cluster sees them; offline, unless a cluster is named."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import complete, options

app = typer.Typer(rich_markup_mode=None, add_completion=False)


class _Cluster(options.Cluster, frozen=True):
    """The cluster to ask, if one is named; validate is offline by default, whatever the environment."""

    sandbox: Annotated[
        bool,
        typer.Option("--sandbox", help="Ask the cluster simulated on this machine, starting it when needed."),
    ] = False


_CLUSTER = _Cluster()


@app.command()
@options.grouped
def validate(
    given: options.OfflineManifests = options.OFFLINE,
    old: Annotated[
        str | None,
        typer.Option("--old", help="The Workspaces as they are now: judge the change, too.", metavar="FILE"),
    ] = None,
    config_maps: Annotated[
        str | None,
        typer.Option("--config-maps", help="ConfigMaps that the Workspaces may refer to.", metavar="FILE"),
    ] = None,
    cloud_provider: Annotated[
        str | None,
        typer.Option(
            "--cloud-provider",
            help="azure or aws (default: the instance type's).",
            metavar="NAME",
            autocompletion=complete.of("azure", "aws"),
        ),
    ] = None,
    target_version: Annotated[
        str | None,
        typer.Option(
            "--target-version",
            help="KAITO release, such as v0.4, v0.9.4 or v0.12, or kaitoctl (default: the named cluster's, "
            "kaitoctl for the sandbox; else v0.4 for v1alpha1, v0.12 for v1beta1).",
            metavar="VERSION",
            autocompletion=complete.of("v0.3", "v0.4", "v0.12", "kaitoctl"),
        ),
    ] = None,
    node_provisioner: Annotated[
        str | None,
        typer.Option(
            "--node-provisioner",
            help="KAITO's: azure-gpu-provisioner, karpenter or byo (default: the named cluster's, "
            "else azure-gpu-provisioner, as KAITO's own).",
            metavar="NAME",
            autocompletion=complete.of("azure-gpu-provisioner", "karpenter", "byo"),
        ),
    ] = None,
    feature_gates: Annotated[
        str | None,
        typer.Option(
            "--feature-gates",
            help="Feature gates enabled in KAITO v0.12, such as enableMIG (default: unknown).",
            metavar="NAME,...",
        ),
    ] = None,
    nodes: Annotated[
        str | None,
        typer.Option(
            "--nodes",
            help="With byo: nodes as `kubectl get nodes -o json` wrote them.",
            metavar="FILE",
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Treat warnings as errors.")] = False,
    allow_none: Annotated[
        bool, typer.Option("--allow-none", help="Files without any Workspace are no error.")
    ] = False,
    output_format: Annotated[
        str, options.formats("table", "json", "yaml", "github", "sarif", "junit")
    ] = "table",
    catalog: options.CatalogFile = None,
    target: _Cluster = _CLUSTER,
) -> None:
    """Judge Workspaces: schema, KAITO's rules, and what KAITO would silently ignore.

    Asks no cluster unless --context, --kubeconfig or --sandbox names one; then KAITO's release and settings,
    the Workspaces as they are now and what they name come from there.

    Exit code 0 when all are valid, 2 when one is not.

    \b
    Examples:
      kaitoctl validate -f workspace.yaml
    """
    from kaitoctl.commands import validate

    raise typer.Exit(
        validate.validate(
            given=given,
            old=old,
            config_maps=config_maps,
            cloud_provider=cloud_provider,
            target_version=target_version,
            node_provisioner=node_provisioner,
            feature_gates=feature_gates,
            nodes=nodes,
            strict=strict,
            allow_none=allow_none,
            output_format=output_format,
            catalog=catalog,
            target=target,
        )
    )
