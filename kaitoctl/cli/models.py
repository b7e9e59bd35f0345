"""`kaitoctl models`: KAITO's presets, up to v0.6, and its models since, with their figures."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import complete, options

app = typer.Typer(
    help="The models that KAITO can serve.", no_args_is_help=True, rich_markup_mode=None, add_completion=False
)


@app.command("list")
def list_models(
    target_version: options.TargetVersion = None,
    output_format: options.CatalogOutput = "table",
    catalog: options.CatalogFile = None,
) -> None:
    """List presets (KAITO up to v0.6) and models (since v0.7).

    \b
    Examples:
      kaitoctl models list --target-version v0.12 -o wide
    """
    from kaitoctl.commands import models

    models.list_models(target_version=target_version, output_format=output_format, catalog=catalog)


@app.command("describe")
def describe_model(
    name: Annotated[
        str, typer.Argument(help="A preset, an alias or a Hugging Face id.", autocompletion=complete.presets)
    ],
    target_version: options.TargetVersion = None,
    output_format: Annotated[str, options.formats("table", "json", "yaml")] = "table",
    catalog: options.CatalogFile = None,
) -> None:
    """Show all figures of a preset or model, and their source.

    The YAML is a catalog file: save it, change a figure, and give it to --catalog.

    \b
    Examples:
      kaitoctl models describe falcon-7b
    """
    from kaitoctl.commands import models

    models.describe_model(
        name=name, target_version=target_version, output_format=output_format, catalog=catalog
    )
