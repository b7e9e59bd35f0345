"""The order of a help page: what a person needs first stands in the 24 rows that a terminal shows.

Usage, what the command does in a sentence, examples, arguments and the command's own options; then how it
behaves in detail, and last the options that it shares with others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Any, NamedTuple

from kaitoctl.cli.controller_options import Controller

_SHARED = frozenset((
    "output_format", "no_headers", "sort_by", "field_manager", "catalog", "catalog_file", "prices",
    "namespace", "context", "kubeconfig", "request_timeout", "sandbox", "sandbox_name",
))  # fmt: skip
"""Parameters that stand last, as they mean the same on every page; and so does --help."""
_MOST = 3  # examples on the page of a group
_KEPT = "\b\n"
"""How click marks paragraphs whose lines stay as they are."""
_HYPHEN = "\u2011"


def write(
    command: Any,
    ctx: Any,
    formatter: Any,
    *,
    hidden: Collection[int] = (),
    see: str = "",
    commands: Callable[[Any, Any], None] | None = None,
) -> None:
    """Write a command's help page.

    Args:
        command: as typer has built it.
        ctx: its context.
        formatter: click's, which the page is written to.
        hidden: ids of the parameters that `see` stands for.
        see: where these are listed.
        commands: writes the commands of a group, when it has a way of its own.
    """
    is_group = hasattr(command, "list_commands")
    head, examples, details = parts(command.help or "")
    params = [param for param in command.get_params(ctx) if id(param) not in hidden]
    asks_cluster = any(param.name == "kubeconfig" for param in command.params)
    options = [param for param in params if param.param_type_name == "option"]
    own, controller, shared = _sorted(options, asks_cluster=asks_cluster)
    command.format_usage(ctx, formatter)
    formatter.write_paragraph()
    with formatter.indentation():
        formatter.write_text(_unbroken(head))
    _write_examples(formatter, examples or (_of_commands(command, ctx) if is_group else []))
    _write_params(
        ctx, formatter, "Arguments", [param for param in params if param.param_type_name == "argument"]
    )
    if is_group:
        (commands or partial(_write_commands, command))(ctx, formatter)
    _write_params(ctx, formatter, "Options", own)
    if details:
        with formatter.section("Details"):
            formatter.write_text(_unbroken("\n\n".join(details)))
    _write_params(ctx, formatter, "What the controller builds", controller)
    _write_params(ctx, formatter, "Shared options" if own or controller else "Options", shared)
    if see:
        formatter.write_paragraph()
        formatter.write_text(see)
    command.format_epilog(ctx, formatter)
    formatter.buffer[:] = [piece.replace(_HYPHEN, "-") for piece in formatter.buffer]


def _unbroken(text: str) -> str:
    """The text with hyphens that no line is broken behind: they stand in names and options."""
    return re.sub(r"(?<=\S)-(?=\S)", _HYPHEN, text)


def _write_commands(group: Any, ctx: Any, formatter: Any) -> None:
    """The commands of a group, each with its whole first sentence."""
    below = [(name, group.get_command(ctx, name)) for name in group.list_commands(ctx)]
    rows = [(name, " ".join(parts(one.help or "").head.split())) for name, one in below if not one.hidden]
    with formatter.section("Commands"):
        formatter.write_dl(rows)


def _of_commands(group: Any, ctx: Any) -> list[str]:
    """The first example of each of a group's commands, of the first `_MOST` that have one."""
    below = [group.get_command(ctx, name) for name in group.list_commands(ctx)]
    found = [examples[0] for one in below if not one.hidden and (examples := parts(one.help or "").examples)]
    return [_first(text) for text in found[:_MOST]]


def _first(example: str) -> str:
    """The first command of an example, with the lines on which it goes on."""
    lines = example.splitlines()
    count = 1
    while lines[count - 1].endswith("\\"):
        count += 1
    return "\n".join(lines[:count])


class Parts(NamedTuple):
    """The first paragraph of a help text, its examples, and what else it says."""

    head: str
    examples: list[str]
    details: list[str]


def parts(text: str) -> Parts:
    """Take a help text apart."""
    head, *rest = text.strip().split("\n\n")
    examples: list[str] = []
    details: list[str] = []
    for paragraph in rest:
        bare = paragraph.removeprefix(_KEPT)
        if bare.startswith(("Example:", "Examples:")):
            examples.append(bare.partition("\n")[2])
        elif examples and paragraph.startswith(f"{_KEPT}  "):
            examples.append(bare)
        else:
            details.append(paragraph)
    return Parts(head, examples, details)


def _sorted(options: list[Any], *, asks_cluster: bool) -> tuple[list[Any], list[Any], list[Any]]:
    """Options of the command's own, those of the controller's settings, and those that many commands have."""
    settings = set(Controller.__struct_fields__) - _SHARED
    names = {param.name for param in options}
    of_controller = settings if settings <= names else frozenset()
    common = _SHARED if asks_cluster else _SHARED - {"context"}  # of a model: how long it is
    shared = [param for param in options if param.name in common or "--help" in param.opts]
    controller = [param for param in options if param.name in of_controller]
    if len(shared) == 1:  # --help, which needs no section of its own
        return options, [], []
    others = {id(param) for param in (*shared, *controller)}
    return [param for param in options if id(param) not in others], controller, shared


def _write_examples(formatter: Any, examples: list[str]) -> None:
    if examples:
        with formatter.section("Examples"):
            for line in _lines(examples):
                formatter.write(f"{line}\n" if line.strip() else "\n")


def _lines(examples: list[str]) -> Iterator[str]:
    for text in examples:
        yield from text.splitlines()


def _write_params(ctx: Any, formatter: Any, title: str, params: list[Any]) -> None:
    rows = [record for param in params if (record := param.get_help_record(ctx)) is not None]
    if rows:
        with formatter.section(title):
            formatter.write_dl([(name, _unbroken(text)) for name, text in rows])
