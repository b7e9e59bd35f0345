"""The root command: where errors become words and exit codes, and signals become endings.

Exit codes: 0 done; 1 a negative answer; 2 bad input; 3 cluster unreachable; 4 refused by the API;
124 timed out; 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import typer

from kaitoctl import __version__
from kaitoctl.cli import output
from kaitoctl.cli.create_workspace import create_workspace
from kaitoctl.cli.run_controller import run_controller
from kaitoctl.cli.run_sandbox import sandbox_app
from kaitoctl.errors import KaitoctlError

_EPILOG = (
    "Exit codes: 0 done, 1 a negative answer, 2 bad input, 3 cluster unreachable, 4 refused by the API, "
    "124 timed out, 130 interrupted."
)

app = typer.Typer(
    name="kaitoctl",
    help="Write, judge, apply, follow and run KAITO Workspaces.",
    epilog=_EPILOG,
    no_args_is_help=True,
    # rich help costs 120 ms on every command, pretty exceptions print values that may be secret.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
create_app = typer.Typer(help="Create objects.", no_args_is_help=True, rich_markup_mode=None)
create_app.command("workspace")(create_workspace)
app.add_typer(create_app, name="create")
app.add_typer(sandbox_app, name="sandbox")
app.command("run-controller")(run_controller)


def _version(value: bool) -> None:
    if value:
        output.data(f"kaitoctl {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", help="Show the version and exit.", callback=_version, is_eager=True
    ),
) -> None:
    """Options before any command."""


def main() -> None:
    """The `kaitoctl` program."""
    sys.exit(run(app))


def run(command: Callable[[], Any]) -> int:
    """Run a command and turn however it ends into an exit code, saying why on stderr."""
    try:
        result = command()
        return result if isinstance(result, int) else 0
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else 2
    except KeyboardInterrupt:
        output.failure("interrupted")
        return 130
    except BrokenPipeError:  # `kaitoctl ... | head` is no failure
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except BaseExceptionGroup as group:
        return _failed(_single(group))
    except KaitoctlError as error:
        return _failed(error)


def _failed(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        output.failure("interrupted")
        return 130
    if not isinstance(error, KaitoctlError):
        raise error
    output.error(error)
    return error.exit_code


def _single(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one failure that a group of tasks is about; what came of the cancellation is not it."""
    leaves = list(_leaves(group))
    ours = [leaf for leaf in leaves if isinstance(leaf, KaitoctlError)]
    return ours[0] if ours and len(ours) == len(leaves) else (leaves[0] if len(leaves) == 1 else group)


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
