"""`kaitoctl convert`: Workspaces and InferenceSets in another API version, and what that loses."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import complete, options

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
@options.grouped
def convert(
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="v1alpha1 or v1beta1.",
            metavar="VERSION",
            autocompletion=complete.of("v1alpha1", "v1beta1"),
        ),
    ],
    given: options.OfflineManifests = options.OFFLINE,
    output_format: Annotated[str, options.formats("yaml", "json", "name")] = "yaml",
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Change the files, only the lines that differ.")
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Show the lines that differ; exit code 1 if there are any.")
    ] = False,
    target_version: options.TargetVersion = None,
    node_provisioner: Annotated[
        str | None,
        options.provisioner("Of the KAITO that reads them: azure-gpu-provisioner, karpenter or byo."),
    ] = None,
    catalog: options.CatalogFile = None,
) -> None:
    """Write Workspaces and InferenceSets in another API version.

    Stderr says what does not carry over, and what replaces it: for KAITO v0.12 to v1beta1, for v0.4 to
    v1alpha1, or for the release that --target-version names.

    Objects of other kinds in the file are passed through. --in-place keeps comments, order and layout, and
    writes no file when one cannot be converted.

    \b
    Examples:
      kaitoctl convert -f workspace.yaml --to v1beta1
      kaitoctl convert -f models/ --to v1beta1 --diff
    """
    from kaitoctl.commands import convert

    raise typer.Exit(
        convert.convert(
            given=given,
            to=to,
            output_format=output_format,
            in_place=in_place,
            diff=diff,
            target_version=target_version,
            node_provisioner=node_provisioner,
            catalog=catalog,
        )
    )
