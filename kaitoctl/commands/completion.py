"""`kaitoctl completion`: the script by which a shell completes."""

from __future__ import annotations

from collections.abc import Sequence

from kaitoctl.commands import option_values
from kaitoctl.screens import output


def completion(shell: str, shells: Sequence[str]) -> None:
    """Print the script for a shell."""
    from typer._completion_shared import get_completion_script  # of every start-up, a fortieth

    option_values.one_of(shell, shells, option="SHELL")
    output.data(
        get_completion_script(prog_name="kaitoctl", complete_var="_KAITOCTL_COMPLETE", shell=shell).strip()
    )
