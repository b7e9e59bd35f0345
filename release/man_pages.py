"""Man pages, made of the same commands that --help is made of; the wheel brings them to share/man/man1."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from kaitoctl.cli import help_page
from kaitoctl.cli.app import app


def pages() -> dict[str, str]:
    """By file name: the page of every command that is not hidden."""
    root: Any = typer.main.get_command(app)
    top = root.make_context("kaitoctl", [], resilient_parsing=True, terminal_width=80)
    return {
        f"{'-'.join(path)}.1": _page(path, command, context) for path, command, context in _all(root, top)
    }


def _all(command: Any, context: Any, path: tuple[str, ...] = ("kaitoctl",)) -> Iterator[tuple[Any, ...]]:
    yield path, command, context
    for name in sorted(command.list_commands(context)) if hasattr(command, "list_commands") else ():
        below = command.get_command(context, name)
        if not below.hidden:
            inner = below.make_context(name, [], parent=context, resilient_parsing=True)
            yield from _all(below, inner, (*path, name))


def _page(path: tuple[str, ...], command: Any, context: Any) -> str:
    said = help_page.parts(command.help or "")
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [
        f'.TH "{_text("-".join(path).upper())}" "1" "" "kaitoctl" "kaitoctl"',
        ".SH NAME",
        f"{_text('-'.join(path))} \\- {_text(' '.join(said.head.split()))}",
        ".SH SYNOPSIS",
        f"\\fB{_text(' '.join(path))}\\fR {_text(usage)}",
    ]
    if said.examples:
        lines += [".SH EXAMPLES", ".nf", *map(_text, "\n".join(said.examples).splitlines()), ".fi"]
    lines += _params(
        "ARGUMENTS", [one for one in command.params if one.param_type_name == "argument"], context
    )
    if hasattr(command, "list_commands"):
        lines.append(".SH COMMANDS")
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if not below.hidden:
                about = " ".join(help_page.parts(below.help or "").head.split())
                lines += [".TP", f"\\fB{_text('-'.join((*path, name)))}\\fR(1)", _text(about)]
    options = [one for one in command.params if one.param_type_name == "option" and not one.hidden]
    lines += _params("OPTIONS", [*options, command.get_help_option(context)], context)
    if said.details:
        lines.append(".SH DETAILS")
        for paragraph in said.details:
            lines += _paragraph(paragraph)
    if command.epilog:
        lines += [".SH EXIT STATUS", _text(command.epilog)]
    above = "-".join(path[:-1])
    lines += [".SH SEE ALSO", f"\\fB{_text(above)}\\fR(1)" if above else "https://kaito.sh"]
    return "\n".join(lines) + "\n"


def _params(title: str, params: list[Any], context: Any) -> list[str]:
    lines: list[str] = []
    seen: set[str] = set()
    for param in params:
        record = param.get_help_record(context)
        if record is not None and record[0] not in seen:
            seen.add(record[0])
            lines += [".TP", f"\\fB{_text(record[0])}\\fR", _text(record[1])]
    return [f".SH {title}", *lines] if lines else []


def _paragraph(text: str) -> list[str]:
    if text.startswith("\b\n"):
        return [".PP", ".nf", *map(_text, text.removeprefix("\b\n").splitlines()), ".fi"]
    return [".PP", _text(" ".join(text.split()))]


def _text(words: str) -> str:
    """Words as roff reads them: none is a request, and hyphens can be searched for and copied."""
    escaped = words.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return f"\\&{escaped}" if escaped.startswith(".") else escaped
