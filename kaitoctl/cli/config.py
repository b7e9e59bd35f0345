"""`kaitoctl config`: the user's own defaults for options."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import options

app = typer.Typer(
    help="The file with your own defaults for options.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


@app.callback()
def _config_group() -> None:
    """The file with your own defaults for options."""


@app.command()
def view(
    output_format: Annotated[str, options.formats("yaml", "json")] = "yaml",
) -> None:
    """Show which file is read, and the defaults in it.

    \b
    Examples:
      kaitoctl config view

    \b
    The file is $KAITOCTL_CONFIG, else $XDG_CONFIG_HOME/kaitoctl/config.yaml,
    else ~/.config/kaitoctl/config.yaml:
      defaults:
        namespace: models
      commands:
        status:
          output: wide
    """
    from kaitoctl.commands import config

    config.view(output_format)
