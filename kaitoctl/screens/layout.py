"""What is shown, as data: a pipe gets it as plain lines (`plain`), a terminal drawn by rich (`terminal`).

Texts may come from a cluster: both make control characters visible, and neither reads markup.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from msgspec import Struct

# Arabic, Hebrew and other letters are fine; what steers the writing direction is not.
STEERING = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def visible(text: str) -> str:
    """The text on one line, control and direction characters replaced by escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char if char.isprintable() and char not in STEERING else char.encode("unicode_escape").decode()
        for char in text
    )


def elapsed(seconds: float) -> str:
    """`4s`, `3m20s`, `1h05m`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"


class Paragraph(Struct, frozen=True):
    """A text of one line in a pipe; on a terminal wrapped between words.

    Args:
        text: the words; no line is broken inside of a command that `advice.on_screen` has put among them.
        mark: a sign before it, on terminals only; the rest of the text hangs behind it.
        lead: words before it that count, such as `hint: `, in the style of the mark.
        indent: columns on the left.
        hang: further columns on the left of all lines but the first.
        plain: other words for a pipe.
        most: columns of a line in a pipe, where the text is wrapped to them; 0 for one line.
        style: of the lead; of the whole text where there is neither lead nor mark.
    """

    text: str = ""
    mark: str = ""
    lead: str = ""
    indent: int = 0
    hang: int = 0
    plain: str | None = None
    most: int = 0
    style: str = ""


class Command(Struct, frozen=True):
    """A command that can be pasted: a line of its own that nothing breaks.

    Args:
        text: the command.
        lead: words before it, such as `fix: `.
        indent: columns on the left.
    """

    text: str
    lead: str = ""
    indent: int = 4


class Steps(Struct, frozen=True):
    """Words in a row, each with its mark.

    Args:
        items: mark and word of each.
        plain: the same for a pipe.
    """

    items: tuple[tuple[str, str], ...]
    plain: str


class Column(Struct, frozen=True):
    """A column of a table.

    Args:
        header: its name.
        right: whether it stands on the right, as numbers do.
        whole: whether its cells are names, which are not broken into lines.
    """

    header: str
    right: bool = False
    whole: bool = False


class Cell(Struct, frozen=True):
    """A cell of a table.

    Args:
        text: what it says.
        mark: a sign before it, on terminals only.
        stands_alone: whether on terminals the mark says it all.
        spans: the text in pieces, each with its style, for terminals.
        guide: lines of a tree before the text.
        below: lines of a tree that go on below the text.
    """

    text: str
    mark: str = ""
    stands_alone: bool = False
    spans: tuple[tuple[str, str], ...] = ()
    guide: str = ""
    below: str = ""


class Table(Struct, frozen=True):
    """Rows of cells in columns.

    Args:
        columns: as a pipe gets them.
        rows: their cells, one for each column.
        first: headers of the columns that stand first on a terminal.
        gap: spaces between columns in a pipe; on terminals it is two.
        wide: whether lines may be longer than the terminal: it was asked for.
        headed: whether the headers are shown.
        below: whether on terminals the last cell stands below its line, at full width, where there is too
            little room beside the others. Where words would have to be broken, last cells do in any table.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    first: tuple[str, ...] = ()
    gap: int = 2
    wide: bool = False
    headed: bool = True
    below: bool = False


class Difference(Struct, frozen=True):
    """A line of a unified diff."""

    text: str


Block = Paragraph | Command | Steps | Table | Difference
BLANK = Paragraph()


def table(
    headers: Sequence[str],
    rows: Iterable[Sequence[str | Cell]],
    *,
    gap: int = 2,
    names: int = 1,
) -> Table:
    """A table whose first columns are names."""
    columns = tuple(Column(header, whole=at < names) for at, header in enumerate(headers))
    cells = (tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in row) for row in rows)
    return Table(columns, tuple(cells), gap=gap)


def indented(line: str, *, hang: int = 4) -> Paragraph | Command:
    """A line as far in as its blanks say; a command is not wrapped."""
    text = line.lstrip(" ")
    indent = len(line) - len(text)
    if text.startswith(("kubectl ", "kaitoctl ")):
        return Command(text, indent=indent)
    return Paragraph(text, indent=indent, hang=hang)


def plain(blocks: Iterable[Block]) -> list[str]:
    """The blocks as a pipe gets them: whole lines without marks and colours."""
    lines: list[str] = []
    for block in blocks:
        match block:
            case Paragraph():
                lines += _paragraph(block)
            case Command():
                lines.append(f"{' ' * block.indent}{block.lead}{visible(block.text)}")
            case Steps():
                lines.append(visible(block.plain))
            case Difference():
                lines.append(visible(block.text))
            case Table():
                lines += _align(block)
    return lines


def _paragraph(block: Paragraph) -> list[str]:
    words = block.lead + visible(block.text if block.plain is None else block.plain)
    indent = " " * block.indent
    if not block.most:
        return [f"{indent}{words}".rstrip(" ")]
    return textwrap.wrap(
        words,
        block.most,
        initial_indent=indent,
        subsequent_indent=indent + " " * block.hang,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _align(block: Table) -> list[str]:
    rows = [[cell.guide + visible(cell.text) for cell in row] for row in block.rows]
    if block.headed:
        rows.insert(0, [column.header for column in block.columns])
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    gap = " " * block.gap
    return [
        gap.join(
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(row, widths, block.columns, strict=True)
        ).rstrip()
        for row in rows
    ]
