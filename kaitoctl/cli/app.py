"""The root command: errors become words and exit codes (`errors.ExitCode`), signals become endings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from itertools import takewhile
from types import FrameType
from typing import Any

import typer
import typer.core

from kaitoctl import __version__
from kaitoctl.cli import global_options, options
from kaitoctl.commands import invocation
from kaitoctl.errors import ExitCode, InputError, KaitoctlError, Unread
from kaitoctl.screens import output

_HELP = """Write, validate, apply, follow and run KAITO Workspaces.

\b
Examples:
  kaitoctl create workspace first --preset falcon-7b \\
    --instance-type Standard_NC12s_v3 --sandbox
  kaitoctl status first --sandbox
  kaitoctl why first --sandbox"""
_EPILOG = (
    "Exit codes: 0 done, 1 a negative answer, 2 bad input, 3 cluster unreachable, 4 refused by the API, "
    "124 timed out, 130 interrupted, 143 terminated."
)

# All that `--help` needs to know of the commands, as its page lists them. A command's module is named as it
# is, unless the table says otherwise, and has a typer app named `app`. Lines are short enough for 80 columns.
_GROUPS = {
    "Start a Workspace": {
        "create": "Create a Workspace and follow its rollout.",
        "template": "List, show and copy Workspace templates.",
        "models": "List the models that KAITO can serve.",
        "skus": "List the GPU instance types that KAITO knows.",
        "fit": "Find where a preset fits, or what fits on given nodes.",
        "check-nodes": "Check which nodes a Workspace can use; fix the others.",
        "plan": "Show what manifests would change, restart and buy.",
        "apply": "Apply manifests and follow all rollouts.",
        "edit": "Edit a Workspace or a set, judged before it is sent.",
        "scale": "Scale an InferenceSet, or say what a Workspace takes.",
        "restart": "Restart the pods of a Workspace.",
        "delete": "Delete Workspaces; wait until pods and nodes are gone.",
        "diff": "Preview what applying manifests would change.",
    },
    "Follow a Workspace": {
        "status": "Status of Workspaces: a list, or one as a live tree.",
        "get": "As status; -o json and yaml print the objects.",
        "why": "Why a Workspace is not ready, and how to fix it.",
        "events": "Events of a Workspace and everything it owns.",
        "logs": "Container logs of a Workspace.",
        "rollout": "Show, undo and follow a Workspace's revisions.",
        "replay": "Replay a rollout recorded with status --record.",
        "endpoint": "Show how to reach a Workspace's model server.",
        "chat": "Chat with the model that a Workspace serves.",
    },
    "LoRA adapters": {
        "add-adapter": "Add a LoRA adapter.",
        "set-adapter": "Change an adapter's strength, image or pull secret.",
        "remove-adapter": "Remove a LoRA adapter.",
        "adapter": "Check and pack LoRA adapters before they are images.",
        "list-adapters": "LoRA adapters: in the spec, in the pods, loaded.",
    },
    "Offline": {
        "validate": "Validate manifests before a cluster sees them.",
        "render": "Print the objects that the controller would create.",
        "convert": "Convert Workspaces to another API version.",
        "mirror": "List images and models for an air-gapped cluster.",
        "explain": "Explain a code of validate, check-nodes or why.",
        "schema": "Print the CRD, or a JSON Schema for editors.",
    },
    "Operate": {
        "run-controller": "Run the Workspace controller.",
        "run-webhook": "Refuse invalid Workspaces before they are written.",
        "doctor": "Check the installation: controllers, rights, GPUs.",
        "upgrade": "Prepare and verify an upgrade of KAITO.",
        "orphans": "NodeClaims and nodes whose Workspace is gone.",
        "nodes": "GPUs of the cluster: used, free and broken ones.",
        "runtime": "Run a model server on this machine's CPU.",
        "sandbox": "Run a simulated cluster on this machine.",
    },
    "Settings": {
        "version": "Versions of kaitoctl, the cluster and KAITO.",
        "config": "Your own defaults for options.",
        "completion": "Print the completion script of a shell.",
        "options": "The options of every command.",
    },
}
_MODULES = {
    "adapter": "adapter_command",
    "get": "status",
    "create": "create_workspace",
    "options": "options_page",
    "runtime": "runtime_command",
}
_ELSEWHERE = {
    "describe": "`kaitoctl status NAME`; `kaitoctl why NAME` says what is wrong",
    "log": "`kaitoctl logs NAME`",
    "wait": "`kaitoctl rollout status NAME --timeout DURATION`",
    "port-forward": "`kaitoctl endpoint NAME --type port-forward`",
    "top": "`kaitoctl nodes`",
    "run": "`kaitoctl create workspace NAME`",
    "expose": "`kaitoctl endpoint NAME`",
    "patch": "`kaitoctl edit NAME`",
    "replace": "`kaitoctl edit NAME`",
    "label": "`kaitoctl edit NAME`",
    "annotate": "`kaitoctl edit NAME`",
    "list": "`kaitoctl status`",
    "create-workspace": "`kaitoctl create workspace NAME`",
}
"""What people type who come from kubectl, and what does it here."""
_COMMANDS = {name: text for commands in _GROUPS.values() for name, text in commands.items()}


_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


@contextmanager
def _said_as_all_others() -> Iterator[None]:
    """Let what is wrong with a command line end the command as other bad input does.

    typer would break its words where a terminal's line ends, and has a form of its own.
    """
    try:
        yield
    except _UsageError as error:
        ctx, message = getattr(error, "ctx", None), getattr(error, "format_message", lambda: "")()
        if message.startswith("Usage:"):  # a group without a command shows its help
            raise
        words, _, near = message.partition(". Did you mean ")
        words = words[:1].lower() + words[1:].removesuffix(".")
        if ctx is None:
            raise InputError(words) from None
        see = f"see: {ctx.command_path} -h"
        hint = f"did you mean {near.rstrip('?')}? {see}" if near else see
        raise InputError(words, problems=[" ".join(ctx.get_usage().split())], hint=hint) from None


def _kinds_joined(args: list[str]) -> list[str]:
    """`get workspaces` is `get`, and `get workspace a` is `get workspace/a`: as kubectl has it."""
    at = args.index("get") + 1 if "get" in args else len(args)
    if at >= len(args):
        return args
    from kaitoctl.commands.option_values import KINDS  # most command lines have no kinds

    if args[at].removesuffix(".kaito.sh") not in KINDS:
        return args
    names = list(takewhile(lambda word: not word.startswith("-"), args[at + 1 :]))
    joined = [name if "/" in name else f"{args[at]}/{name}" for name in names]
    return [*args[:at], *joined, *args[at + 1 + len(names) :]]


class _LazyGroup(typer.core.TyperGroup):
    """Imports and builds a command when it is asked for, so that no command pays for the others."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands.update(dict.fromkeys(sorted(_COMMANDS)))  # type: ignore[arg-type]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if self.commands.get(cmd_name) is None and cmd_name in _COMMANDS:
            self.commands[cmd_name] = _build(cmd_name)
        return self.commands.get(cmd_name)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Options of every command may stand before its name, too; a config file has its own defaults."""
        invocation.begin()
        if args[:1] == ["help"]:  # as kubectl, flux and uv have it
            args = [*args[1:], "--help"]
        if args[:2] == ["rollout", "restart"]:  # as kubectl has it
            args = args[1:]
        path, arguments = global_options.rearranged(self, ctx, _kinds_joined(args))
        if path:
            # Names are completed by the same defaults; a file that is not as it must be is not said then.
            with suppress(*[InputError] * ctx.resilient_parsing):
                global_options.set_defaults(self, ctx, path)
        rest: list[str] = super().parse_args(ctx, arguments)
        return rest

    def make_context(self, *args: Any, **extra: Any) -> Any:
        """The context of a command line, whose mistakes are said as all others are."""
        with _said_as_all_others():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that is named."""
        with _said_as_all_others():
            return super().invoke(ctx)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """A verb that kubectl has and we do not names the command that does it here."""
        if args and (instead := _ELSEWHERE.get(args[0])) and self.get_command(ctx, args[0]) is None:
            ctx.fail(f"No such command '{args[0]}': here it is {instead}")
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from kaitoctl.cli import help_page  # most commands show no help

        help_page.write(self, ctx, formatter, commands=self.format_commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        width = max(map(len, _COMMANDS))
        for title, commands in _GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), text) for name, text in commands.items()])


def _build(name: str) -> Any:
    module = _MODULES.get(name, name.replace("-", "_"))
    command = typer.main.get_command(import_module(f"kaitoctl.cli.{module}").app)
    command.name, command.short_help = name, _COMMANDS[name]
    options.with_plain_numbers(command)
    global_options.add(command, name)
    return command


app = typer.Typer(
    cls=_LazyGroup,
    name="kaitoctl",
    help=_HELP,
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
    sys.exit(ExitCode.TERMINATED if was_terminated and code == ExitCode.INTERRUPTED else code)


def run(command: Callable[[], Any]) -> int:
    """Run a command and turn however it ends into an exit code, saying why on stderr."""
    try:
        result = command()
        return result if isinstance(result, int) else 0
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else ExitCode.BAD_INPUT
        if code == ExitCode.INTERRUPTED:  # typer turns Ctrl-C into this, without a word
            output.failure("interrupted")
        return code
    except BaseExceptionGroup as group:
        return _show_failure(_single(group))
    except Exception as error:
        return _show_failure(error)


def _show_failure(error: BaseException) -> int:
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
        import re

        # Enough to find it by, and too little of what may be a secret.
        before = re.search(r"[\w.-]{0,5}\Z", error.object[: error.start])
        shown = (before[0] if before else "") + error.object[error.start]
        return InputError(f"{shown!r} cannot be written as UTF-8: a character in it is only half of one")
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
