"""`kaitoctl convert`: Workspaces of one API version as those of the other, and what that loses."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import options, output
from kaitoctl.cli.catalog_options import CatalogFile

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def convert(
    file: Annotated[
        str, typer.Option("--file", "-f", help="Workspaces in YAML or JSON; - reads stdin.", metavar="FILE")
    ],
    to: Annotated[str, typer.Option("--to", help="v1alpha1 or v1beta1.", metavar="VERSION")],
    output_format: Annotated[
        str, typer.Option("--output", "-o", help="yaml or json.", metavar="FORMAT")
    ] = "yaml",
    catalog: CatalogFile = None,
) -> None:
    """Write Workspaces in another API version; stderr says what does not carry over, and what replaces it.

    Objects of other kinds in the file are passed through.

    Example: kaitoctl convert -f workspace.yaml --to v1beta1
    """
    from kaitoctl.cli.files import objects_in
    from kaitoctl.kaito import api, catalog_file
    from kaitoctl.kaito import convert as convert_

    options.one_of(to, api.VERSIONS, option="--to")
    options.one_of(output_format, ("yaml", "json"), option="--output")
    known = catalog_file.read(catalog)
    converted = []
    for obj in objects_in(file, option="--file"):
        if not convert_.is_workspace(obj):
            converted.append(obj)
            continue
        conversion = convert_.convert(obj, to, known=known)
        converted.append(conversion.workspace)
        for remark in conversion.remarks:
            output.warning(f"{remark.path}: {remark.message}" + (":" if remark.commands else ""))
            for command in remark.commands:
                output.note(command)
    output.objects(converted, output_format)
