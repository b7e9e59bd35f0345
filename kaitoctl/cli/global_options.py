"""The options of every command, before and after its name, as kubectl has them.

They are added to a command after typer has built it, which costs a tenth of what typer takes for an option,
and go to `commands.invocation` instead of the command. Its help page has one line for all of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import typer.core

from kaitoctl.cli import quick
from kaitoctl.commands import invocation
from kaitoctl.errors import InputError

_LOUD = "6"  # what -v without a level means: the requests

# Names, the option's parameter, its metavariable (none for a flag) and its help.
_ALWAYS: tuple[tuple[tuple[str, ...], str, str, str], ...] = (
    (("-v", "--v"), "verbosity", "LEVEL", "Say more: 2 the server, 6 each request, 8 tracebacks."),
    (("-q", "--quiet"), "quiet", "", "Say nothing but results, warnings and errors."),
)
_CONNECTION: tuple[tuple[tuple[str, ...], str, str, str], ...] = (
    (("--as",), "as_user", "NAME", "Act as this user."),
    (("--as-group",), "as_group", "NAME", "Act as a member of this group; may be repeated."),
    (("--as-uid",), "as_uid", "UID", "Act as the user of this UID."),
    (("--server", "-s"), "server", "URL", "Address of the API server."),
    (("--token",), "token", "TOKEN", "Bearer token for the API server."),
    (("--cluster",), "cluster_name", "NAME", "Cluster of the kubeconfig."),
    (("--user",), "user_name", "NAME", "User of the kubeconfig."),
    (("--certificate-authority",), "certificate_authority", "FILE", "Certificates of the API server's CA."),
    (("--client-certificate",), "client_certificate", "FILE", "Client certificate."),
    (("--client-key",), "client_key", "FILE", "Key of the client certificate."),
    (("--tls-server-name",), "tls_server_name", "NAME", "Name that the server's certificate must have."),
    (("--insecure-skip-tls-verify",), "insecure_skip_tls_verify", "", "Trust any certificate: unsafe."),
)
_ROWS: tuple[tuple[tuple[str, ...], str, str, str], ...] = (
    (("--no-headers",), "no_headers", "", "Leave out the headers of tables."),
    (("--sort-by",), "sort_by", "JSONPATH", "Order rows by a field of their JSON, such as .name."),
)
_WRITTEN: tuple[tuple[tuple[str, ...], str, str, str], ...] = (
    (("--field-manager",), "field_manager", "NAME", "Manager of the fields that are written."),
)
_WRITERS = (
    "add-adapter", "apply", "check-nodes", "create inference-set", "create workspace", "diff", "edit", "plan",
    "remove-adapter", "restart", "rollout fleet", "rollout pause", "rollout resume", "rollout undo",
    "set-adapter",
)  # fmt: skip
"""Commands that write fields, or show what writing them would do."""
_LONGEST_MANAGER = 128  # what the API server takes
_LISTS = (
    "check-nodes", "events", "explain", "fit", "get", "list-adapters", "mirror list", "models list", "nodes",
    "orphans", "rollout history", "runtime models list", "sandbox image list", "sandbox model list",
    "sandbox status", "skus list", "status", "template list",
)  # fmt: skip
_REPEATED = ("as_group",)
# Fields of `options.WholeCluster` whose help stands on the same page.
_OF_TARGET = ("kubeconfig", "request_timeout", "sandbox_name")
# By option that may stand before a command's name: whether a value follows it.
_TARGET_FLAGS = {
    "-n": True, "--namespace": True, "--context": True, "--kubeconfig": True, "--request-timeout": True,
    "--sandbox": False, "--sandbox-name": True,
}  # fmt: skip
_TAKES_VALUE = _TARGET_FLAGS | {
    name: bool(metavar) for names, _, metavar, _ in (*_ALWAYS, *_CONNECTION) for name in names
}

_SEE = "Options for -v, -q and the connection to a cluster: kaitoctl options"
_SEE_OFFLINE = "Options for -v and -q: kaitoctl options"


def add(command: Any, path: str) -> None:
    """Give a command, and those below it, the options of every command; and lists those of rows.

    Args:
        command: as typer has built it.
        path: its names.
    """
    if below := getattr(command, "commands", None):
        for name, one in below.items():
            add(one, f"{path} {name}")
        _lay_out(command, set(), "")
        return
    if path in _LISTS:
        command.params += [_option(*row) for row in _ROWS]
    if path in _WRITERS:
        command.params += [_option(*row) for row in _WRITTEN]
    taken = {name for param in command.params for name in param.opts}
    asks_cluster = any(param.name == "kubeconfig" for param in command.params)
    rows = (*_ALWAYS, *(_CONNECTION if asks_cluster else ()))
    ours = [_option(*row) for row in rows if not taken & set(row[0])]
    command.params += ours
    for param in command.params:
        _name_value(param)
    hidden = {id(param) for param in ours}
    if asks_cluster:
        hidden |= {id(param) for param in command.params if param.name in _OF_TARGET}
    _lay_out(command, hidden, _SEE if asks_cluster else _SEE_OFFLINE)


def _name_value(param: Any) -> None:
    """What stands for a value in a help page, where nobody has said it: NAME, N; typer has `<int range>`."""
    if param.metavar is not None:
        return
    if param.param_type_name == "argument":
        param.metavar = param.name.upper()
    elif not param.is_flag and param.type.name.split(" ")[0] in ("integer", "int", "float"):
        param.metavar = "N"


def _option(names: Sequence[str], name: str, metavar: str, text: str) -> Any:
    return typer.core.TyperOption(
        param_decls=[*names, name],
        type=str if metavar else bool,
        is_flag=not metavar,
        default=None if metavar else False,
        multiple=name in _REPEATED,
        metavar=metavar or None,
        help=text,
        expose_value=False,
        callback=_keep,
    )


def _keep(ctx: Any, param: Any, value: Any) -> None:
    if value in (None, False, (), []):
        return
    if param.name == "verbosity":
        if not (value.isascii() and value.isdecimal()):
            raise typer.BadParameter(f"{value!r} is not a level: a number from 0 to 9")
        value = int(value)
    if param.name == "field_manager" and not (len(value) <= _LONGEST_MANAGER and value.isprintable()):
        raise typer.BadParameter(
            f"{value[:40]!r}: at most {_LONGEST_MANAGER} characters, all of them printable"
        )
    invocation.keep(param.name, list(value) if param.multiple else value)


def _lay_out(command: Any, hidden: set[int], see: str) -> None:
    """Give a command's help page its order; one line stands for the options of every command."""

    def format_help(ctx: Any, formatter: Any) -> None:
        from kaitoctl.cli import help_page  # most commands show no help

        help_page.write(command, ctx, formatter, hidden=hidden, see=see)

    # typer writes {NAME} for what must be given; kubectl, and everybody else, NAME.
    pieces = command.collect_usage_pieces
    command.collect_usage_pieces = lambda ctx: [piece.strip("{}") for piece in pieces(ctx)]
    command.format_help = format_help


def page() -> Iterator[tuple[str, str]]:
    """All of them, with what they are for."""
    from kaitoctl.cli import options

    for names, _, metavar, text in (*_ALWAYS, *_CONNECTION):
        yield ", ".join(sorted(names, key=len)) + (f" {metavar}" if metavar else ""), text
    hints = options.hints_of(options.Cluster)
    for name in ("namespace", "context", *_OF_TARGET, "sandbox"):
        option = hints[name].__metadata__[0]
        # typer takes the first name of an annotated option for its default.
        decls = [word for word in (option.default, *option.param_decls) if isinstance(word, str)]
        flags = ", ".join(sorted(decls, key=len))
        yield f"{flags} {option.metavar}" if option.metavar else flags, option.help


# --- before the command's name -----------------------------------------------------------------------------


def rearranged(root: Any, ctx: Any, arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments as click reads them: options of every command behind the command's name, `-o=x` as `-ox`.

    Args:
        root: the group of all commands.
        ctx: its context.
        arguments: as they were typed.

    Returns:
        The names of the command; and all arguments.
    """
    path: list[str] = []
    ahead: list[list[str]] = []
    command, at = root, 0
    while at < len(arguments) and hasattr(command, "list_commands"):
        word = arguments[at]
        flag, equals, _ = word.partition("=")
        if flag in _TAKES_VALUE:
            count = 2 if _needs_next(flag, equals, arguments[at + 1 : at + 2]) else 1
            ahead.append(list(arguments[at : at + count]))
            at += count
        elif word.startswith("-") or (below := command.get_command(ctx, word)) is None:
            break
        else:
            path.append(word)
            command = below
            at += 1
    known = {name for param in command.params for name in param.opts}
    moved = [one for group in ahead if group[0].partition("=")[0] in known for one in group]
    return path, [*path, *_as_click_reads([*moved, *arguments[at:]])]


def _needs_next(flag: str, equals: str, following: Sequence[str]) -> bool:
    if equals or not _TAKES_VALUE[flag]:
        return False
    return flag not in ("-v", "--v") or _is_level(following)


def _is_level(words: Sequence[str]) -> bool:
    return bool(words) and words[0].isascii() and words[0].isdecimal()


def _as_click_reads(arguments: Sequence[str]) -> Iterator[str]:
    """`-o=json` is what Go's flags take for `-o json`; -v alone has a level."""
    for at, word in enumerate(arguments):
        if word == "--":
            yield from arguments[at:]
            return
        if word in ("-v", "--v") and not _is_level(arguments[at + 1 : at + 2]):
            yield f"--v={_LOUD}"
        elif len(word) > 2 and word[0] == "-" and word[1].isalpha() and word[2] == "=":
            yield word[:2] + word[3:]
        else:
            yield word


# --- the user's own defaults -------------------------------------------------------------------------------


def set_defaults(root: Any, ctx: Any, path: Sequence[str]) -> None:
    """Let a command's options have the defaults of the user's file.

    Raises:
        InputError: the file is not as it must be, or names an option that no command has.
    """
    if not os.path.exists(invocation.config_path()) and not os.environ.get("KAITOCTL_CONFIG"):  # noqa: PTH110 - one stat
        return
    from kaitoctl.commands import config_file  # most people have none

    if (defaults := config_file.read()) is None:
        return
    command = root
    for name in path:
        command = command.get_command(ctx, name)
    given = defaults.of(" ".join(path))
    found = {
        param.name: value
        for param in command.params
        for value in (given[name] for name in map(_long, param.opts) if name in given)
    }
    named = {name for param in command.params for name in map(_long, param.opts)}
    own = defaults.commands.get(" ".join(path), {})
    if unknown := [name for name in own if name not in named]:
        where = f"{invocation.config_path()}: commands.{' '.join(path)}.{unknown[0]}"
        raise InputError(
            f"{where}: the command has no such option", hint=f"see: kaitoctl {' '.join(path)} -h"
        )
    _require_known(defaults.commands, defaults.everywhere)
    for name in reversed(path):
        found = {name: found}
    ctx.default_map = found


def _require_known(commands: Iterable[str], options: Iterable[str]) -> None:
    """Refuse a default that would never count, as it names no command, or an option that no command has."""
    known = quick.table()["commands"]
    names = {_long(name) for one in known.values() for flags, *_ in one["options"] for name in flags}
    wrong = [("commands", name, known, "there is no such command") for name in commands if name not in known]
    wrong += [
        ("defaults", name, names, "no command has such an option") for name in options if name not in names
    ]
    if not wrong:
        return
    from kaitoctl.kaito.catalog import close_matches  # only for who has made a mistake

    where, name, meant, why = wrong[0]
    near = close_matches(name, meant)
    raise InputError(
        f"{invocation.config_path()}: {where}.{name}: {why}",
        hint=f"did you mean {near[0]}?" if near else "see: kaitoctl options, and kaitoctl COMMAND -h",
    )


def _long(name: str) -> str:
    return name.removeprefix("--") if name.startswith("--") else ""
