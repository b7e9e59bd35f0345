"""`kaitoctl explain CODE`: the long explanation of what `validate`, `check-nodes` or `why` found, offline."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import complete, options

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def explain(
    code: Annotated[
        str | None,
        typer.Argument(
            help="A code such as KW156 or label-missing (default: list all).",
            metavar="[CODE]",
            autocompletion=complete.codes,
        ),
    ] = None,
    troubleshooting: Annotated[
        bool,
        typer.Option("--troubleshooting", help="Print the whole chapter on troubleshooting, in Markdown."),
    ] = False,
    output_format: options.CatalogOutput = "table",
) -> None:
    """Explain a code: what is wrong, for which KAITO versions, and what KAITO itself would answer.

    \b
    Examples:
      kaitoctl explain KW156
    """
    from kaitoctl.commands import explain

    explain.explain(code=code, troubleshooting=troubleshooting, output_format=output_format)
