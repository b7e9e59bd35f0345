"""`kaitoctl template`: the Workspace templates that ship, to read or to start your own from."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import complete, options

app = typer.Typer(
    help="Templates of Workspaces.", no_args_is_help=True, rich_markup_mode=None, add_completion=False
)


@app.command("list")
def list_templates(
    output_format: options.CatalogOutput = "table",
) -> None:
    """List the templates that `create workspace --template NAME` knows.

    \b
    Examples:
      kaitoctl template list
    """
    from kaitoctl.commands import template

    template.list_templates(output_format=output_format)


@app.command("show")
def show_template(
    name: Annotated[
        str,
        typer.Argument(
            help="Name of a shipped template, or a file.",
            metavar="NAME|FILE",
            autocompletion=complete.templates,
        ),
    ],
) -> None:
    """Print a template's text.

    \b
    Examples:
      kaitoctl template show inference
    """
    from kaitoctl.commands import template

    template.show_template(name=name)


@app.command("new")
def new_template(
    file: Annotated[str, typer.Argument(help="The file to write.", metavar="FILE")],
    source: Annotated[
        str,
        typer.Option(
            "--from",
            help="The template to start from.",
            metavar="NAME",
            autocompletion=complete.templates,
        ),
    ] = "inference",
    force: Annotated[bool, typer.Option("--force", help="Replace the file if there is one.")] = False,
) -> None:
    """Write a template of your own, for `create workspace --template FILE`.

    \b
    Examples:
      kaitoctl template new mine.yaml.j2 --from custom-pod
    """
    from kaitoctl.commands import template

    template.new_template(file=file, source=source, force=force)
