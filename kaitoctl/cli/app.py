"""The root command: where errors become words and exit codes, and signals become endings.

Exit codes: 0 done; 1 a negative answer; 2 bad input; 3 cluster unreachable; 4 refused by the API;
124 timed out; 130 interrupted; 143 terminated.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from types import FrameType
from typing import Any

import typer
import typer.core

from kaitoctl import __version__
from kaitoctl.cli import output
from kaitoctl.errors import InputError, Interrupted, KaitoctlError, Unread

_TERMINATED = 143
_EPILOG = (
    "Exit codes: 0 done, 1 a negative answer, 2 bad input, 3 cluster unreachable, 4 refused by the API, "
    "124 timed out, 130 interrupted, 143 terminated."
)

# Each command's module has a typer app named `app`; this table is all that `--help` needs to know of it.
_COMMANDS = {
    "add-adapter": ("kaitoctl.cli.add_adapter", "Serve with one more LoRA adapter."),
    "chat": ("kaitoctl.cli.chat", "Speak with the model that a Workspace serves."),
    "check-nodes": ("kaitoctl.cli.check_nodes", "Why a node would be used or skipped, and what mends it."),
    "convert": ("kaitoctl.cli.convert", "Write Workspaces in another API version."),
    "create": ("kaitoctl.cli.create_workspace", "Create a Workspace and follow its rollout."),
    "diff": ("kaitoctl.cli.diff", "What applying would change, in the objects made from it, too."),
    "doctor": ("kaitoctl.cli.doctor", "Whether the installation is sound: controllers, rights, GPUs."),
    "endpoint": ("kaitoctl.cli.endpoint", "Where a Workspace's model server is reached."),
    "events": ("kaitoctl.cli.events", "What was told about a Workspace and all that belongs to it."),
    "explain": ("kaitoctl.cli.explain", "What a code of `validate`, `check-nodes` or `why` means."),
    "fit": ("kaitoctl.cli.fit", "Say where a preset runs, or what runs on given nodes."),
    "list-adapters": ("kaitoctl.cli.list_adapters", "Adapters: as said, in the pods, loaded."),
    "logs": ("kaitoctl.cli.pod_logs", "What a Workspace's containers say."),
    "models": ("kaitoctl.cli.models", "The models that KAITO can serve."),
    "nodes": ("kaitoctl.cli.nodes", "The GPUs of the cluster: who holds them, free ones, broken ones."),
    "remove-adapter": ("kaitoctl.cli.remove_adapter", "Serve without one of the adapters."),
    "render": ("kaitoctl.cli.render", "The objects that the controller would create, offline."),
    "rollout": ("kaitoctl.cli.rollout", "What a Workspace was before, back to it, and whether it is there."),
    "replay": ("kaitoctl.cli.replay", "Play a rollout that status --record has kept."),
    "run-controller": ("kaitoctl.cli.run_controller", "Manage Workspaces: be their controller."),
    "sandbox": ("kaitoctl.cli.run_sandbox", "A cluster simulated on this machine."),
    "schema": ("kaitoctl.cli.schema_command", "The CRD of Workspaces, or a JSON Schema for editors."),
    "set-adapter": ("kaitoctl.cli.set_adapter", "Change an adapter's strength, image or pull secret."),
    "skus": ("kaitoctl.cli.skus", "The GPU instance types that KAITO knows."),
    "status": ("kaitoctl.cli.status", "How Workspaces do: a list, or one as a live tree."),
    "template": ("kaitoctl.cli.template", "Templates of Workspaces: list, show, begin one."),
    "validate": ("kaitoctl.cli.validate", "Judge Workspaces before any cluster does."),
    "why": ("kaitoctl.cli.why", "Why a Workspace is not ready: the cause, and what mends it."),
}


class _LazyGroup(typer.core.TyperGroup):
    """Imports and builds a command when it is asked for, so that no command pays for the others."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands.update(dict.fromkeys(_COMMANDS))  # type: ignore[arg-type]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if self.commands.get(cmd_name) is None and cmd_name in _COMMANDS:
            module, _ = _COMMANDS[cmd_name]
            command = typer.main.get_command(import_module(module).app)
            command.name = cmd_name
            if "kaitoctl.cli.connect" in sys.modules:  # else it asks no cluster
                from kaitoctl.cli.connect import with_request_timeout

                with_request_timeout(command)
            self.commands[cmd_name] = command
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name][1]) for name in sorted(_COMMANDS)])


app = typer.Typer(
    cls=_LazyGroup,
    name="kaitoctl",
    help="Write, judge, apply, follow and run KAITO Workspaces.",
    epilog=_EPILOG,
    no_args_is_help=True,
    # rich help costs 120 ms on every command, pretty exceptions print values that may be secret.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
    """The `kaitoctl` program.

    SIGTERM ends a command as Ctrl-C does, so that it leaves nothing behind, with an exit code of its own.
    """
    import signal

    was_terminated = False

    def terminate(number: int, frame: FrameType | None) -> None:
        nonlocal was_terminated
        was_terminated = True
        interrupt = signal.getsignal(signal.SIGINT)  # asyncio's own, while that runs
        if callable(interrupt):
            interrupt(signal.SIGINT, frame)

    # Where a shell has Ctrl-C ignored, for a job in the background, SIGTERM ends it at once.
    if callable(signal.getsignal(signal.SIGINT)):
        signal.signal(signal.SIGTERM, terminate)
    code = run(app)
    sys.exit(_TERMINATED if was_terminated and code == Interrupted.exit_code else code)


def run(command: Callable[[], Any]) -> int:
    """Run a command and turn however it ends into an exit code, saying why on stderr."""
    try:
        result = command()
        return result if isinstance(result, int) else 0
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else 2
        if code == Interrupted.exit_code:  # typer turns Ctrl-C into this, without a word
            output.failure("interrupted")
        return code
    except BaseExceptionGroup as group:
        return _failed(_single(group))
    except Exception as error:
        return _failed(error)


def _failed(error: BaseException) -> int:
    if isinstance(error, Unread):
        return error.exit_code
    if output.debugging():
        import traceback

        output.trace("".join(traceback.format_exception(error)))
    problem = error if isinstance(error, KaitoctlError) else _unforeseen(error)
    output.error(problem)
    return problem.exit_code


def _unforeseen(error: BaseException) -> KaitoctlError:
    """Words for what no code of ours foresaw: never a traceback, but the way to get one."""
    if isinstance(error, UnicodeEncodeError):  # an argument, or a JSON escape, that is half a character
        half = f"U+{ord(error.object[error.start]):04X}"  # and nothing around it, which may be a secret
        return InputError(
            f"{half} is half a character, and cannot be written as UTF-8: look for it in the input"
        )
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return KaitoctlError(f"{where}{error.strerror or error}")
    words = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return KaitoctlError(words, hint="this should not happen; KAITOCTL_DEBUG=1 shows where it does")


def _single(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one failure that a group of tasks is about; what came of the cancellation is not it."""
    leaves = list(_leaves(group))
    ours = [leaf for leaf in leaves if isinstance(leaf, KaitoctlError)]
    return ours[0] if ours and len(ours) == len(leaves) else (leaves[0] if len(leaves) == 1 else group)


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
