"""`kaitoctl options`: the options of every command."""

from __future__ import annotations

import typer

from kaitoctl.cli import global_options
from kaitoctl.screens import layout, output

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def options() -> None:
    """List the options of every command: what it says, and which cluster it asks, as whom.

    They may stand before the command's name, too.

    \b
    Examples:
      kaitoctl options
      kaitoctl --context prod status
    """
    found = layout.table(("OPTION", "MEANING"), [list(row) for row in global_options.page()])
    output.show([found])
