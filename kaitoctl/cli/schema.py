"""`kaitoctl schema`: what a Workspace or a fleet may say, for clusters and for editors."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import complete, options

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def schema(
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            help="workspace, inferenceset, multiroleinference or modelmirror.",
            metavar="KIND",
            autocompletion=complete.of("workspace", "inferenceset", "multiroleinference", "modelmirror"),
        ),
    ] = "workspace",
    api_version: Annotated[
        str | None,
        typer.Option(
            "--api-version",
            help="v1alpha1 or v1beta1 (default: all).",
            metavar="VERSION",
            autocompletion=complete.of("v1alpha1", "v1beta1"),
        ),
    ] = None,
    json_schema: Annotated[
        bool, typer.Option("--json-schema", help="JSON Schema for an editor instead of the CRD.")
    ] = False,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="crd, json-schema for editors, or admission-policy: the rules as CEL, for API servers.",
            metavar="FORMAT",
            autocompletion=complete.of("crd", "json-schema", "admission-policy"),
        ),
    ] = "crd",
    catalog: options.CatalogFile = None,
) -> None:
    """Print the CustomResourceDefinition of a kind, or a JSON Schema that editors complete and check by.

    An editor takes the JSON Schema for a manifest that begins with the line
    # yaml-language-server: $schema=workspace.schema.json

    \b
    Examples:
      kaitoctl schema | kubectl apply --server-side -f -
      kaitoctl schema --json-schema > workspace.schema.json
      kaitoctl schema --format admission-policy | kubectl apply --server-side -f -
    """
    from kaitoctl.commands import schema

    schema.schema(
        kind=kind, api_version=api_version, form="json-schema" if json_schema else form, catalog=catalog
    )
