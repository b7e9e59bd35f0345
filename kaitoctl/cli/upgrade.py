"""`kaitoctl upgrade`: what another release of KAITO does to Workspaces, before and after."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import complete, options

app = typer.Typer(
    help="Prepare and verify an upgrade of KAITO.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

_To = Annotated[
    str,
    typer.Option(
        "--to",
        help="Release to upgrade to: v0.12.",
        metavar="VERSION",
        autocompletion=complete.of("v0.12"),
    ),
]


@app.callback()
def _upgrade_group() -> None:
    """Prepare and verify an upgrade of KAITO."""


@app.command("plan")
@options.grouped
def plan(
    to: _To,
    given: options.ManifestsToRead = options.TO_READ,
    now: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Release to upgrade from (default: the cluster's; v0.4 for files).",
            metavar="VERSION",
            autocompletion=complete.of("v0.3", "v0.4"),
        ),
    ] = None,
    provisioner: Annotated[
        str | None,
        options.provisioner("Of the new KAITO: azure-gpu-provisioner, karpenter or byo (default: as now)."),
    ] = None,
    output_format: Annotated[
        str,
        options.formats(
            "text", "json", "yaml", "name", "markdown", "manifests", text="{} (what to write instead)."
        ),
    ] = "text",
    catalog: options.CatalogFile = None,
    target: options.WholeCluster = options.WHOLE_CLUSTER,
) -> None:
    """Say what an upgrade of KAITO does to all Workspaces of the cluster, or of files.

    What breaks, what restarts and for how long, what clients must change, what to write instead, and in which
    order. Writes nothing. Exit code 0: nothing to do; 1: something to do.

    \b
    Examples:
      kaitoctl upgrade plan --to v0.12
      kaitoctl upgrade plan --to v0.12 -f models/ --from v0.3
    """
    from kaitoctl.commands import upgrade

    raise typer.Exit(
        upgrade.plan(
            to=to,
            given=given,
            now=now,
            provisioner=provisioner,
            output_format=output_format,
            catalog=catalog,
            target=target,
        )
    )


@app.command("verify")
@options.grouped
def verify(
    to: _To,
    given: options.ManifestsToRead = options.TO_READ,
    output_format: Annotated[str, options.formats("text", "json", "yaml")] = "text",
    catalog: options.CatalogFile = None,
    target: options.WholeCluster = options.WHOLE_CLUSTER,
) -> None:
    """Verify after an upgrade: the controller, the CRD, and that every Workspace serves again.

    With -f of the Workspaces in manifests, and that these are written for the new release. Exit code 0: all
    is done; 1: something is not.

    \b
    Examples:
      kaitoctl upgrade verify --to v0.12
      kaitoctl upgrade verify --to v0.12 -f models/
    """
    from kaitoctl.commands import upgrade

    raise typer.Exit(
        upgrade.verify(to=to, given=given, output_format=output_format, catalog=catalog, target=target)
    )
