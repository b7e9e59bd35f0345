"""`kaitoctl fit`: which instance types run a preset, and which presets run on given nodes."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import complete, options
from kaitoctl.commands.fit_options import FitOptions

app = typer.Typer(rich_markup_mode=None, add_completion=False)


class Fit(FitOptions, frozen=True):
    """How to fit, and what to show of it."""

    cloud: options.Cloud = None
    show_all: Annotated[bool, typer.Option("--all", help="Show all, by GPU, and why some fail.")] = False
    cheapest: Annotated[
        bool, typer.Option("--cheapest", help="Cheapest first, by --prices, instead of smallest first.")
    ] = False
    prices: options.PricesFile = None
    max_nodes: Annotated[int, typer.Option("--max-nodes", help="The most nodes to use.", min=1)] = 8
    max_model_len: Annotated[
        int,
        typer.Option(
            "--max-model-len", help="Tokens to leave room for (KAITO v0.12).", min=1, metavar="TOKENS"
        ),
    ] = 2048
    target_version: options.TargetVersion = None
    output_format: options.CatalogOutput = "table"


_FIT = Fit()


@app.command()
@options.grouped
def fit(
    preset: Annotated[
        str | None,
        typer.Argument(
            help="A preset, an alias or a Hugging Face id.",
            metavar="[PRESET]",
            autocompletion=complete.presets,
        ),
    ] = None,
    lists: options.NodeLists = options.NODE_LISTS,
    cluster: Annotated[bool, typer.Option("--cluster", help="Use the cluster's nodes and pods.")] = False,
    fitting: Fit = _FIT,
    catalog: options.CatalogFile = None,
    target: options.WholeCluster = options.WHOLE_CLUSTER,
) -> None:
    """Find the smallest instance types for a preset, or the presets for given nodes.

    Exit code 1: nothing fits.

    \b
    Examples:
      kaitoctl fit llama-2-13b-chat --cloud azure
      kaitoctl fit phi-4 --cheapest --prices docs/prices/azure-eastus.yaml
      kaitoctl fit --cluster
      kubectl get nodes -o json | kaitoctl fit --nodes -
    """
    from kaitoctl.commands import fit

    fit.fit(preset=preset, lists=lists, cluster=cluster, options=fitting, catalog=catalog, target=target)
