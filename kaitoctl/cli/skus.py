"""`kaitoctl skus`: the GPU instance types that KAITO knows."""

from __future__ import annotations

import typer

from kaitoctl.cli import options

app = typer.Typer(
    help="The GPU instance types that KAITO knows.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


@app.callback()
def _skus_group() -> None:
    """The GPU instance types that KAITO knows."""


@app.command("list")
def list_skus(
    cloud: options.Cloud = None,
    target_version: options.TargetVersion = None,
    output_format: options.CatalogOutput = "table",
    catalog: options.CatalogFile = None,
) -> None:
    """List GPU instance types with their GPUs and memory.

    USABLE says no where the presets cannot run: no NVIDIA GPU, not amd64, or no such type at the cloud.

    \b
    Examples:
      kaitoctl skus list --cloud azure --target-version v0.12
    """
    from kaitoctl.commands import skus

    skus.list_skus(cloud=cloud, target_version=target_version, output_format=output_format, catalog=catalog)
