"""`kaitoctl schema`: what a Workspace may say, for clusters (CRD) and for editors (JSON Schema)."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import options, output
from kaitoctl.cli.catalog_options import CatalogFile

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def schema(
    api_version: Annotated[
        str | None,
        typer.Option("--api-version", help="v1alpha1 or v1beta1 (default: both).", metavar="VERSION"),
    ] = None,
    json_schema: Annotated[
        bool, typer.Option("--json-schema", help="JSON Schema for an editor instead of the CRD.")
    ] = False,
    catalog: CatalogFile = None,
) -> None:
    """Print the CustomResourceDefinition of Workspaces, or a JSON Schema that editors complete and check by.

    Examples: kaitoctl schema | kubectl apply --server-side -f -;
    kaitoctl schema --json-schema > workspace.schema.json, then begin a manifest with the line
    # yaml-language-server: $schema=workspace.schema.json
    """
    from kaitoctl import packaged
    from kaitoctl.kaito import api

    if api_version is not None:
        options.one_of(api_version, api.VERSIONS, option="--api-version")
    if json_schema:
        from kaitoctl.kaito import catalog_file
        from kaitoctl.kaito import json_schema as json_schema_

        versions = [api_version] if api_version else api.VERSIONS
        made = json_schema_.of_workspaces(versions, known=catalog_file.read(catalog))
        output.document(made)
        return
    text = (packaged.folder("schemas") / "kaito.sh_workspaces.yaml").read_text("utf-8")
    if api_version is None:
        output.data(text.rstrip("\n"))
        return
    from kaitoctl.kube.documents import load_yaml

    crd = load_yaml(text, "kaito.sh_workspaces.yaml")[0]
    served = [version for version in crd["spec"]["versions"] if version["name"] == api_version]
    crd["spec"]["versions"] = [{**version, "storage": True} for version in served]
    output.objects([crd], "yaml")
