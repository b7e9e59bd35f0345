"""Draws on terminals, with rich; imported only when stdout or stderr is one.

Everything is a `Text` made of words that `visible` has been through: rich never sees a string of ours that it
could read as markup. What is wrapped is wrapped between words, names and commands stay whole.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TextIO

from msgspec.structs import replace
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table as Grid
from rich.text import Text

from kaitoctl.screens.layout import Block, Cell, Column, Command, Difference, Paragraph, Steps, Table, visible

_STYLES = {"✔": "green", "✗": "red", "!": "yellow", "◌": "yellow", "-": "dim", "·": "dim", "►": "dim"}
# For terminals whose encoding has none of them.
_ASCII = str.maketrans(
    {"✔": "+", "✗": "x", "◌": "o", "·": ".", "►": ">", "├": "|", "└": "`", "─": "-", "│": "|"}
    | {"█": "#", "░": "."}
    | {"…": "...", "←": "<-", "→": "->"}
)
_GAP = 2
_FOLLOWS = 6  # lines behind the last picture: error, hint and prompt
_UNDER = 4  # columns before what stands below a line
_LEAST_PROSE = 24  # columns of free text: narrower is hard to read
_LEAST_ROOM = 20
_LEAST_NAME, _SHORTEST_NAME = 24, 12
_TOO_WIDE = 10_000
_NO_BREAK = "\0"  # in no text that is visible
_KEY = re.compile(r"^(?P<before>[ -]*)(?P<key>[^\s:#][^:#]*):(?= |$)")


class _Encoded:
    """A stream of a terminal that takes only what its encoding has."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding = stream.encoding or "ascii"

    def write(self, text: str) -> int:
        """Write the text, signs replaced by plain ones and other letters by escapes."""
        plain = text.translate(_ASCII).encode(self.encoding, "backslashreplace").decode(self.encoding)
        return self._stream.write(plain)

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The stream's own."""
        return self._stream.fileno()


def _console(stream: TextIO) -> Console:
    """A console for the stream, of its width; without colours with NO_COLOR."""
    # What stands in for a stream while a picture is drawn tells no encoding of its own.
    encoding = getattr(stream, "rich_proxied_file", stream).encoding
    try:
        "✔├".encode(encoding or "ascii")
        file = stream
    except (UnicodeEncodeError, LookupError):
        file = _Encoded(stream)  # type: ignore[assignment]
    console = Console(file=file, force_terminal=True, highlight=False, markup=False, emoji=False)
    is_colourless = bool(os.environ.get("NO_COLOR"))
    system = None if is_colourless else console.color_system or "standard"
    return Console(
        file=file,
        force_terminal=True,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
        color_system=system,  # type: ignore[arg-type]
    )


def render_blocks(blocks: Iterable[Block], stream: TextIO) -> str:
    """What the blocks look like on the stream's terminal, as text to write."""
    console = _console(stream)
    with console.capture() as captured:
        _print(blocks, console)
    return _fit_for(captured.get(), console)


def _print(blocks: Iterable[Block], console: Console) -> None:
    for one in _draw(blocks, console):
        if isinstance(one, Text):  # wrapped where it may be
            console.print(one, crop=False, no_wrap=True, overflow="ignore")
        else:
            console.print(one, crop=False)


def yaml(text: str, stream: TextIO) -> str:
    """YAML with its keys in colour; no line is broken, so that it can be copied."""
    console = _console(stream)
    with console.capture() as captured:
        for line in text.split("\n"):
            shown = Text(line, no_wrap=True, overflow="ignore")
            if found := _KEY.match(line):
                shown.stylize("cyan", found.start("key"), found.end("key"))
            console.print(shown, crop=False, no_wrap=True, overflow="ignore")
    return _fit_for(captured.get(), console)


def _fit_for(text: str, console: Console) -> str:
    """Without the blanks that fill columns at the ends of lines; in signs that the terminal has."""
    text = re.sub(r"(?<! ) +((?:\x1b\[0m)?)$", r"\1", text, flags=re.MULTILINE)
    if isinstance(console.file, _Encoded):
        encoding = console.file.encoding
        return text.translate(_ASCII).encode(encoding, "backslashreplace").decode(encoding)
    return text


class Picture:
    """A picture at the end of a terminal's text, drawn again in place.

    Args:
        stream: the terminal.
        stdout: whether what is written to stdout in between is to stand above the picture.
        stderr: the same of stderr.
    """

    def __init__(self, stream: TextIO, *, stdout: bool, stderr: bool) -> None:
        self._stream = stream
        self._console = _console(stream)
        self._live: Live | None = None
        self._redirects = (stdout, stderr)
        self._size = self._console.size
        self._blocks: Sequence[Block] = ()

    def draw(self, blocks: Sequence[Block], *, smaller: Iterable[Sequence[Block]] = ()) -> None:
        """Replace the picture.

        Args:
            blocks: what it shows.
            smaller: what it shows instead where that is too high for the terminal, the first that is not.
        """
        size = self._console.size
        if self._live is not None and size != self._size:
            # Lines have moved when a window has become narrower: begin on a clean screen.
            self._live.stop()
            self._live = None
            self._console.clear()
        self._size, self._blocks = size, blocks
        shown = Group(*_draw(self._fitting(blocks, smaller, size.height), self._console))
        if self._live is None:
            self._live = Live(
                shown,
                console=self._console,
                auto_refresh=False,
                redirect_stdout=self._redirects[0],
                redirect_stderr=self._redirects[1],
                vertical_overflow="crop",
                transient=True,
            )
            self._live.start(refresh=True)
        else:
            self._live.update(shown, refresh=True)

    def _fitting(
        self, blocks: Sequence[Block], smaller: Iterable[Sequence[Block]], height: int
    ) -> Sequence[Block]:
        for fewer in smaller:
            if len(self._console.render_lines(Group(*_draw(blocks, self._console)), pad=False)) < height:
                break
            blocks = fewer
        return blocks

    def close(self, *, smaller: Iterable[Sequence[Block]] = ()) -> None:
        """Leave the picture, with its commands in one line each, and give the cursor back.

        Args:
            smaller: what stays instead of the whole where that is too high to be seen with what follows it.
        """
        if self._live is not None:
            self._live.update(Text(), refresh=True)  # stopped, it would show all of what is too high, too
            self._live.stop()
            self._live = None
            _print(self._fitting(self._blocks, smaller, self._size.height - _FOLLOWS), self._console)


# --- blocks ------------------------------------------------------------------------------------------------


def _draw(blocks: Iterable[Block], console: Console) -> Iterator[RenderableType]:
    width = console.width
    for block in blocks:
        match block:
            case Paragraph():
                yield from _paragraph(block, width)
            case Command():
                yield _whole(f"{' ' * block.indent}{block.lead}{visible(block.text)}")
            case Steps():
                yield from _steps(block, width)
            case Difference():
                yield from _difference(visible(block.text), width)
            case Table():
                yield from _table(block, width)


def _whole(text: str, style: str = "") -> Text:
    return Text(text, style, no_wrap=True, overflow="ignore")


def _paragraph(block: Paragraph, width: int) -> Iterator[Text]:
    first = Text(" " * block.indent)
    if block.mark:
        first.append(block.mark, _STYLES.get(block.mark, ""))
        first.append(" ")
    hang = first.cell_len + block.hang
    first.append(block.lead, block.style)
    style = "" if block.lead or block.mark else block.style
    text = visible(block.text)
    for piece in map(visible, getattr(block.text, "commands", ())):
        text = text.replace(piece, piece.replace(" ", _NO_BREAK))
    for number, line in enumerate(_lines(text, width - hang, first.cell_len - hang)):
        yield _whole_after(first if number == 0 else Text(" " * hang), line.replace(_NO_BREAK, " "), style)


def _difference(text: str, width: int) -> Iterator[Text]:
    """A line of a diff; what is behind its indentation is wrapped, and stays as far in."""
    style = {"+": "green", "-": "red", "@": "cyan"}.get(text[:1], "")
    words = text[1:].lstrip(" ")
    before = text[: len(text) - len(words)]
    for number, line in enumerate(_lines(words, width - len(before))):
        yield _whole((" " * len(before) if number else before) + line, style)


def _whole_after(lead: Text, line: str, style: str) -> Text:
    shown = lead.copy()
    shown.append(line, style)
    shown.no_wrap, shown.overflow = True, "ignore"
    return shown


def _lines(text: str, width: int, taken: int = 0, *, least: int = _LEAST_ROOM) -> list[str]:
    """The text in lines broken between words; a word that is longer than a line stays whole.

    Args:
        text: the words.
        width: columns of a line.
        taken: those of the first line that something else takes.
        least: columns that a line has even on the narrowest terminal.
    """
    width = max(least, width)
    lines, room = [""], width - taken
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        columns = cell_len(longer.replace(_NO_BREAK, " "))  # by itself it has no width
        # A sign at the beginning does not stand alone.
        if lines[-1] and lines[-1] not in _STYLES and columns > room:
            lines.append(word)
            room = width
        else:
            lines[-1] = longer
    return lines


def _steps(block: Steps, width: int) -> Iterator[Text]:
    line = Text()
    for mark, word in block.items:
        step = Text.assemble((mark, _STYLES.get(mark, "")), f" {visible(word)}")
        if line and line.cell_len + 2 + step.cell_len > width:
            yield line
            line = step
        else:
            line = Text("  ").join([line, step]) if line else step
    yield line


# --- tables ------------------------------------------------------------------------------------------------


def _table(block: Table, width: int) -> Iterator[RenderableType]:
    """All columns side by side; what stands beside a name that is too long is on the next line."""
    order = sorted(range(len(block.columns)), key=lambda at: at > 0 and _rank(block, at))
    columns = [block.columns[at] for at in order]
    rows = [[row[at] for at in order] for row in block.rows]
    room = _TOO_WIDE if block.wide else width
    beside = len(columns) - bool(block.below)  # the last one may stand below its line
    if _is_named_twice(columns) and _breaks_words(columns[:beside], [row[:beside] for row in rows], room):
        columns, rows = _with_one_name(columns, rows)
    under: list[str] = [""] * len(rows)
    link = ""
    is_too_wide = _is_too_wide if block.below else _breaks_words
    while len(columns) > 1 and is_too_wide(columns, rows, room):
        # A single word, such as a number, says which column it is of; a dash says nothing.
        lead = f"{columns[-1].header.lower()} "
        texts = [visible(row[-1].text) for row in rows]
        cells = [text if " " in text else lead + text if text not in ("", "-") else "" for text in texts]
        under = [link.join(filter(None, both)) for both in zip(cells, under, strict=True)]
        link = ", " if link else ": "
        columns, rows = columns[:-1], [row[:-1] for row in rows]
        is_too_wide = _breaks_words
    widths = _widths(columns, rows, room)
    grid = _grid(columns, widths)
    if block.headed:
        grid.add_row(*(Text(column.header) for column in columns))
    for at, row in enumerate(rows):
        name, *others = map(_text, row)
        lines = [len(_lines(one.plain, wide, least=1)) for one, wide in zip(others, widths[1:], strict=True)]
        below = [Text(row[0].below)] * max(lines, default=1)
        if name.cell_len <= widths[0]:
            grid.add_row(Text("\n").join([name, *below[1:]]), *others)
        else:
            yield grid
            yield from _fold(name, row[0], room)
            grid = _grid(columns, widths)
            grid.add_row(Text("\n").join(below), *others)
        if under[at]:
            yield grid
            lead = row[0].below or " " * _UNDER
            yield from (_whole(lead + line) for line in _lines(under[at], width - len(lead)))
            grid = _grid(columns, widths)
    yield grid


def _is_named_twice(columns: Sequence[Column]) -> bool:
    """Whether the first two columns are names, such as a namespace and a name in it."""
    return len(columns) > 2 and columns[0].whole and columns[1].whole


def _with_one_name(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]]
) -> tuple[list[Column], list[list[Cell]]]:
    """The table with both names in one column, as `namespace/name`, which can have a line of its own."""
    first, second, *others = columns
    name = replace(first, header=f"{first.header}/{second.header}")
    together = [replace(row[0], text=f"{row[0].text}/{row[1].text}") for row in rows]
    return [name, *others], [[one, *row[2:]] for one, row in zip(together, rows, strict=True)]


def _is_too_wide(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], room: int) -> bool:
    """Whether a line of all cells is longer than there is room."""
    natural = [_natural(column, [row[at] for row in rows]) for at, column in enumerate(columns)]
    return sum(natural) + _GAP * (len(columns) - 1) > room


def _breaks_words(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], room: int) -> bool:
    """Whether there is too little room even for the longest words of all columns but that of names."""
    least = [_least(column, [row[at] for row in rows]) for at, column in enumerate(columns)]
    least[0] = min(least[0], _SHORTEST_NAME)
    return sum(least) + _GAP * (len(columns) - 1) > room


def _rank(block: Table, at: int) -> int:
    """What a terminal shows first, the important column, comes right behind the name."""
    header = block.columns[at].header
    return block.first.index(header) + 1 if header in block.first else len(block.first) + 1


def _natural(column: Column, cells: Sequence[Cell]) -> int:
    return max([cell_len(column.header), *(_text(cell).cell_len for cell in cells)])


def _least(column: Column, cells: Sequence[Cell]) -> int:
    """The width that breaks no word, and in a column of names no name; a mark stays with the first word."""
    if column.whole:
        return _natural(column, cells)
    words = [word for cell in cells for word in visible(cell.text).split()]
    marked = [_text(replace(cell, text=cell.text.split(" ")[0], spans=())).cell_len for cell in cells]
    return max([*(cell_len(word) for word in [*column.header.split(), *words]), *marked], default=1)


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], room: int) -> list[int]:
    """How wide each column is: as wide as its cells where there is room.

    Where there is not, the last column, of free text, is made narrower first; then that of the names, so that
    long ones have lines of their own; then the others, down to their longest words.
    """
    cells = [[row[at] for row in rows] for at in range(len(columns))]
    natural = [_natural(*both) for both in zip(columns, cells, strict=True)]
    words = [_least(*both) for both in zip(columns, cells, strict=True)]
    prose = max(words[-1], min(natural[-1], _LEAST_PROSE))
    name, short = min(natural[0], _LEAST_NAME), min(natural[0], _SHORTEST_NAME)
    room -= _GAP * (len(columns) - 1)
    widths = list(natural)
    for least in (
        [*natural[:-1], prose],
        [name, *natural[1:-1], prose],
        [name, *words[1:-1], prose],
        [short, *words[1:]],
        [1] * len(columns),
    ):
        _shrink(widths, least, room)
    return widths


def _shrink(widths: list[int], least: Sequence[int], room: int) -> None:
    """Take columns away where most can be spared, until all fit."""
    while sum(widths) > room and (able := [at for at, width in enumerate(widths) if width > least[at]]):
        widths[max(able, key=lambda at: widths[at] - least[at])] -= 1


def _text(cell: Cell) -> Text:
    words = Text.assemble(*((visible(text), style) for text, style in cell.spans or ((cell.text, ""),)))
    if cell.mark:
        mark = Text(cell.mark, _STYLES.get(cell.mark, ""))
        words = mark if cell.stands_alone else Text(" ").join([mark, words])
    return Text(cell.guide) + words


def _fold(name: Text, cell: Cell, room: int) -> Iterator[Text]:
    """A name on a line of its own; on several only when it is longer than the terminal is wide."""
    while name.cell_len > room:
        at = name.plain.rfind("/", 0, room) + 1 or room
        yield name[:at]
        name = Text(cell.below) + name[at:]
    yield name


def _grid(columns: Sequence[Column], widths: Sequence[int]) -> Grid:
    grid = Grid.grid(padding=(0, _GAP, 0, 0), pad_edge=False)
    grid.width = sum(widths) + _GAP * (
        len(widths) - 1
    )  # of its own, which a wide one has beyond the terminal's
    for column, width in zip(columns, widths, strict=True):
        grid.add_column(width=width, justify="right" if column.right else "left", overflow="fold")
    return grid
