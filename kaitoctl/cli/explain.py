"""`kaitoctl explain CODE`: the long explanation of what `validate` or `check-nodes` found, offline."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

from kaitoctl.cli import output
from kaitoctl.errors import InputError

if TYPE_CHECKING:
    from kaitoctl.kaito.validation import Code

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_WIDTH = 80


@app.command()
def explain(
    code: Annotated[
        str | None,
        typer.Argument(help="A code such as KW156 or label-missing (default: list all).", metavar="[CODE]"),
    ] = None,
) -> None:
    """Explain a code: what is wrong, for which KAITO versions, and what KAITO itself would answer.

    Example: kaitoctl explain KW156
    """
    from kaitoctl.kaito.nodes import CODES as NODE_CODES
    from kaitoctl.kaito.validation import CODES

    if code is None:
        rows = [(name, known.title) for name, known in CODES.items()]
        rows += [(name, meaning.partition(". ")[0].rstrip(".")) for name, meaning in NODE_CODES.items()]
        output.table(("CODE", "MEANING"), rows)
    elif code.upper() in CODES:
        output.data(_page(code.upper(), CODES[code.upper()]))
    elif code.lower() in NODE_CODES:
        paragraph = textwrap.wrap(NODE_CODES[code.lower()], _WIDTH, break_on_hyphens=False)
        output.data("\n".join([f"{code.lower()}:", "", *paragraph]))
    else:
        from kaitoctl.kaito.catalog import close_matches

        near = close_matches(code, [*CODES, *NODE_CODES])
        hint = f"Did you mean {' or '.join(near)}?" if near else "`kaitoctl explain` lists all codes"
        raise InputError(f"there is no code {code[:20]!r}", hint=hint)


def _page(name: str, code: Code) -> str:
    from kaitoctl.kaito.validation import OWN

    lines = [f"{name}: {code.title}", "", *textwrap.wrap(code.meaning, _WIDTH, break_on_hyphens=False)]
    for_whom = "kaitoctl's own controller" if code.applies == OWN else f"KAITO {code.applies}"
    lines += ["", f"Judged for: {for_whom}"]
    if code.upstream:
        lines += ["", "What KAITO itself answers or does:"]
        for case in code.upstream:
            lines += textwrap.wrap(
                case, _WIDTH, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False
            )
    return "\n".join(lines)
