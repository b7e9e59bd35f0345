"""`kaitoctl help [COMMAND]` answers as --help does."""

import pytest
from shell import Shell
from typer.testing import CliRunner

from kaitoctl.cli.app import app


@pytest.mark.parametrize("command", [[], ["status"], ["create", "workspace"]])
def test_help_is_the_help_of_the_command(command: list[str]) -> None:
    word = CliRunner().invoke(app, ["help", *command])
    option = CliRunner().invoke(app, [*command, "--help"])
    assert (word.exit_code, word.output) == (0, option.output)


def test_help_of_an_unknown_command_is_refused(offline: Shell) -> None:
    assert "did you mean 'status'" in offline.kaitoctl("help", "statsu", code=2).stderr
