"""`kaitoctl completion`: the script by which a shell completes."""

from __future__ import annotations

from typing import Annotated

import typer

from kaitoctl.cli import complete

app = typer.Typer(rich_markup_mode=None, add_completion=False)
_SHELLS = ("bash", "zsh", "fish", "powershell")


@app.command()
def completion(
    shell: Annotated[
        str,
        typer.Argument(
            help="bash, zsh, fish or powershell.", metavar="SHELL", autocompletion=complete.of(*_SHELLS)
        ),
    ],
) -> None:
    """Print the script by which a shell completes commands, options, values and live names.

    \b
    Examples:
      source <(kaitoctl completion bash)
      kaitoctl completion zsh > "${fpath[1]}/_kaitoctl"
      kaitoctl completion fish > ~/.config/fish/completions/kaitoctl.fish
    """
    from kaitoctl.commands import completion

    completion.completion(shell, _SHELLS)
