"""The only file that prints: data on stdout, narration on stderr.

What comes from a cluster is shown with its control characters made visible, so that no name or message
can move the cursor or hide a line. Terminals are drawn by rich, which is imported for no pipe.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TextIO

from msgspec.structs import replace

from kaitoctl.advice import NO_FLAGS, Advice, ClusterFlags, on_screen, shortened
from kaitoctl.errors import Unread
from kaitoctl.screens import layout
from kaitoctl.screens.layout import STEERING, Difference, Paragraph, Table
from kaitoctl.screens.layout import visible as visible
from kaitoctl.screens.stream import write

if TYPE_CHECKING:
    from kaitoctl.errors import KaitoctlError
    from kaitoctl.kube.objects import Object
    from kaitoctl.screens.layout import Block, Cell
    from kaitoctl.screens.terminal import Picture

_SAID_AGAIN_S = 30.0
_INDENT = 2
_LONGEST_VALUE = 200
_AT_ONCE = 200  # items of a long document that become text


def is_drawn(stream: TextIO) -> bool:
    """Whether a stream gets what rich draws: a terminal that is not dumb, or a pipe with FORCE_COLOR."""
    if stream.isatty():
        return os.environ.get("TERM") not in ("dumb", "unknown")
    is_forced = os.environ.get("FORCE_COLOR", "") not in ("", "0", "false")
    return is_forced and not os.environ.get("NO_COLOR")


def is_redrawn(stream: TextIO) -> bool:
    """Whether a picture on the stream can be drawn again in place."""
    return stream.isatty() and is_drawn(stream)


_ends_unread = False


def end_unread() -> None:
    """From now on, end the command when the reader of stdout has gone: it has nothing else to do."""
    global _ends_unread
    _ends_unread = True


# --- data ----------------------------------------------------------------------------------------------


def data(text: str) -> None:
    """One line (or a finished block) of the command's result, on stdout."""
    _write(sys.stdout, text)


def sentence(text: str) -> None:
    """One line of words of the result, on stdout; a terminal breaks it between them."""
    show([Paragraph(text, hang=2)])


class _OutputSettings:
    """What the command line says of all that is written."""

    is_quiet = False
    is_headed = True
    is_traced = False


said = _OutputSettings()


def objects(items: Sequence[Object], output: str, *, is_list: bool = False) -> None:
    """Objects as `yaml`, `json` or `name`, on stdout; several as YAML documents or a JSON List.

    Args:
        items: the objects.
        output: the format.
        is_list: whether a JSON List has to hold one alone, too, and YAML is of that List.
    """
    if output == "name":
        for item in items:
            data(resource_name(item))
    elif output != "yaml" or is_list:
        is_one = len(items) == 1 and not is_list
        value = items[0] if is_one else {"apiVersion": "v1", "kind": "List", "items": list(items)}
        write_structured(value, output, indent=4)
    else:
        from kaitoctl.kube.yaml_writer import to_yaml

        yaml("---\n".join(to_yaml(item) for item in items).rstrip("\n"))


def report_write(obj: Object, output: str | None, word: str, *, narrates: bool = True) -> None:
    """An object that was written: its name and what became of it, or the object itself.

    Args:
        obj: as the server gave it; who owns its fields is left out.
        output: `yaml`, `json`, `name`; None for the line alone.
        word: what became of it: `created`, `configured (server dry run)`.
        narrates: whether the line is said beside YAML and JSON, too.
    """
    line = f"{resource_name(obj)} {word}"
    if output is None:
        sentence(line)
        return
    from kaitoctl.kube.objects import without_managed_fields

    objects([without_managed_fields(obj)], output)
    if output != "name" and narrates:
        success(line)


def changed_fields(changes: Iterable[tuple[str, object, object]]) -> Iterator[str]:
    """A line per field: its path, what it is, what it becomes."""
    changes = list(changes)
    width = max((len(path) for path, _, _ in changes), default=0)
    for path, old, new in changes:
        yield f"{path.ljust(width)}   - {short_value(old)}   + {short_value(new)}"


def short_value(value: object) -> str:
    """A field's value as JSON, cut when it is long; `(none)` where the field is not there."""
    return "(none)" if value is None else shortened(json_text(value), _LONGEST_VALUE)


def document(value: object, *, indent: int | None = _INDENT) -> None:
    """A JSON document on stdout; without `indent` on one line."""
    data(json_text(value, indent))


def long_document(head: Object, key: str, items: Iterable[Object]) -> None:
    """As `document` of the head with a list at its end, written as the items come: there may be thousands.

    Args:
        head: what stands before the list; not empty.
        key: of the list.
        items: what it holds.
    """
    begin, end = json_text({**head, key: []}, _INDENT).rsplit("[]", 1)
    coming = iter(items)
    before, after = f"{begin}[", ""
    while some := list(islice(coming, _AT_ONCE)):
        # What stands between the brackets of such a list alone, as deep as it is here.
        inner, after = json_text({key: some}, _INDENT).partition("[")[2].rsplit("\n", 2)[:2]
        _write(sys.stdout, before + inner, end="")
        before, after = ",", f"\n{after}"
    data(("" if after else before + "]") + after + end)


def write_structured(value: Any, output: str, *, indent: int = _INDENT, rows: str = "") -> None:
    """A value on stdout: as `json` or `yaml`, or what `jsonpath=` or `custom-columns=` choose of it.

    Args:
        value: of JSON.
        output: the format.
        indent: of JSON.
        rows: the key of its rows, where it has more lists than one.
    """
    if output == "json":
        document(value, indent=indent)
    elif output.startswith("jsonpath="):
        from kaitoctl.screens import output_templates

        _write(
            sys.stdout,
            passage(output_templates.jsonpath_text(value, output)),
            end="\n" if sys.stdout.isatty() else "",
        )
    elif output.startswith("custom-columns="):
        from kaitoctl.screens import output_templates

        table(*output_templates.columns(value, output, rows), wide=True)
    else:
        from kaitoctl.kube.yaml_writer import to_yaml

        yaml(to_yaml(value).rstrip("\n"))


def yaml(text: str) -> None:
    """YAML on stdout, its keys in colour on a terminal."""
    if is_drawn(sys.stdout):
        from kaitoctl.screens import terminal

        _write(sys.stdout, terminal.yaml(text, sys.stdout), end="")
    else:
        data(text)


def json_text(value: object, indent: int | None = None) -> str:
    """JSON that any terminal survives: characters that steer it are escapes, as JSON allows."""
    text = _json_text(value, indent)
    if text.isascii() and "\x7f" not in text:
        return text
    return "".join(
        char if char == "\n" or (char.isprintable() and char not in STEERING) else json.dumps(char)[1:-1]
        for char in text.replace("\x7f", "\\u007f")
    )


def _json_text(value: object, indent: int | None) -> str:
    if indent is not None and (msgspec := sys.modules.get("msgspec")) is not None:  # read with it, and much
        try:
            found: str = msgspec.json.format(json.dumps(value, ensure_ascii=False), indent=indent)
            return found
        except ValueError:  # json writes more: half of a surrogate pair, NaN
            pass
    return json.dumps(value, indent=indent, ensure_ascii=False)


def resource_name(obj: Object) -> str:
    """`workspace.kaito.sh/phi`, `service/phi`: as kubectl names objects."""
    group = str(obj.get("apiVersion")).rpartition("/")[0]
    kind = str(obj.get("kind")).lower() + (f".{group}" if group else "")
    return visible(f"{kind}/{(obj.get('metadata') or {}).get('name')}")


def table(
    headers: Sequence[str],
    rows: Iterable[Sequence[str | Cell]],
    *,
    wide: bool = False,
    below: bool = False,
) -> None:
    """A table on stdout: left-aligned columns in the manner of kubectl, the first one of names.

    Args:
        headers: of the columns.
        rows: their cells.
        wide: whether lines may be longer than the terminal.
        below: whether on terminals the last cell may stand below its line.
    """
    show([replace(layout.table(headers, rows, gap=3), wide=wide, below=below)])


def show(blocks: Sequence[Block]) -> None:
    """What a command answers, on stdout: drawn on a terminal, plain lines in a pipe."""
    if not said.is_headed:
        blocks = [replace(one, headed=False) if isinstance(one, Table) else one for one in blocks]
    _show(blocks, sys.stdout)


def _show(blocks: Sequence[Block], stream: TextIO) -> None:
    if is_drawn(stream):
        from kaitoctl.screens import terminal

        _write(stream, terminal.render_blocks(blocks, stream), end="")
    else:
        _write(stream, "\n".join(layout.plain(blocks)))


def picture(stream: TextIO) -> Picture:
    """A picture that is drawn again in place; what else is written to the terminal stands above it."""
    from kaitoctl.screens import terminal

    return terminal.Picture(stream, stdout=sys.stdout.isatty(), stderr=sys.stderr.isatty())


def passage(text: str) -> str:
    """A text of several lines, such as a log: lines and tabs stay, what else steers a terminal is escaped.

    Of a line that was written over by carriage returns (a progress bar) the last state remains.
    """
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return "\n".join("\t".join(visible(part) for part in line.split("\t")) for line in lines)


def piece(text: str) -> None:
    """A piece of a text on stdout, without a line's end: a model speaks word by word."""
    _write(sys.stdout, passage(text), end="")


def log_to_narration() -> None:
    """Let the library's warnings appear as narration, made visible; tracebacks only with KAITOCTL_DEBUG."""
    import logging

    said: dict[str, float] = {}

    class Narrating(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if debugging():
                trace(self.format(record))
            elif not record.exc_info:  # a defect's details say nothing to a user; what it leads to is shown
                text = record.getMessage()
                # Ten watches of a server that is gone say the same ten times, and again every few seconds.
                what, _, cause = text.partition(": ")
                if what.startswith("watching "):
                    if record.created - said.get(cause, -_SAID_AGAIN_S) < _SAID_AGAIN_S:
                        return
                    said[cause] = record.created
                warning(text)

    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(Narrating(logging.WARNING))


def debugging() -> bool:
    """Whether the user wants to see where things fail."""
    return said.is_traced or bool(os.environ.get("KAITOCTL_DEBUG"))


def trace(text: str) -> None:
    """Where something failed, for who is debugging."""
    _write(sys.stderr, passage(text.rstrip("\n")))


# --- narration -------------------------------------------------------------------------------------------


def step(text: str) -> None:
    """Something begins or moves on."""
    if not said.is_quiet:
        _narrate("►", text)


def announce(text: str) -> None:
    """Something is about to be done that ends, takes or costs what the lines below say: with -q, too."""
    _narrate("►", text)


def next_command(text: str) -> None:
    """What can be done now, in one line to paste."""
    if not said.is_quiet:
        _show([layout.Command(text, lead="next: ", indent=2)], sys.stderr)


def command(text: str, *, lead: str = "") -> None:
    """A line below the last one that can be pasted.

    Args:
        text: the command.
        lead: words before it.
    """
    _show([layout.Command(text, lead=lead, indent=2)], sys.stderr)


def success(text: str) -> None:
    """Something went well."""
    if not said.is_quiet:
        _narrate("✔", text)


def warning(message: str, *, hint: Advice = "", flags: ClusterFlags = NO_FLAGS) -> None:
    """Something that the user should know and that stops nobody.

    Args:
        message: what is so.
        hint: what to do.
        flags: lead its commands to the cluster that it is about.
    """
    _narrate("!", message, hint, flags)


def failure(text: str) -> None:
    """Something went wrong; details may follow."""
    _narrate("✗", text)


def note(text: str) -> None:
    """A line below the last one."""
    _show([Paragraph(text, indent=2)], sys.stderr)


def differences(lines: Iterable[str]) -> None:
    """Lines of a unified diff, on stderr."""
    if shown := [Difference(line) for line in lines]:
        _show(shown, sys.stderr)


def can_ask() -> bool:
    """Whether somebody sits there who can answer a question."""
    return sys.stdin.isatty() and sys.stderr.isatty()


async def ask(question: str) -> bool:
    """The answer to a question, no unless it is yes; Ctrl-C ends the command as always."""
    return (await read_line(f"{visible(question)} [y/N] ")).strip().lower() in ("y", "yes")


async def read_line(prompt: str) -> str:
    """The line that is typed on the terminal after a prompt, with its end; empty at the end of all."""
    import asyncio

    _write(sys.stderr, prompt, end="")
    loop = asyncio.get_running_loop()
    typed = asyncio.Event()
    # A thread that waits for a line could not be interrupted.
    loop.add_reader(sys.stdin.fileno(), typed.set)
    try:
        await typed.wait()
    except asyncio.CancelledError:
        _write(sys.stderr, "")  # what comes next begins on a line of its own
        raise
    finally:
        loop.remove_reader(sys.stdin.fileno())
    return sys.stdin.readline()


def error(problem: KaitoctlError) -> None:
    """The last words of a command that failed: cause, details, and the one thing to do next."""
    shown = [Paragraph(problem.message, lead="error: ", style="red")]
    shown += [Paragraph(line, indent=2) for line in getattr(problem, "problems", ())]
    if problem.hint:
        shown.append(Paragraph(on_screen(problem.hint, problem.flags), lead="hint: ", style="dim"))
    _show(shown, sys.stderr)


def _narrate(mark: str, message: str, hint: Advice = "", flags: ClusterFlags = NO_FLAGS) -> None:
    shown = [Paragraph(message, mark=mark, plain=f"{mark} {message}")]
    if hint:
        shown.append(Paragraph(on_screen(hint, flags), indent=2))
    _show(shown, sys.stderr)


def _write(stream: TextIO, text: str, end: str = "\n") -> None:
    is_read = write(stream, text, end)
    if not is_read and stream is sys.stdout and _ends_unread:
        raise Unread("nobody reads what this writes")
