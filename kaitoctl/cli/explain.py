"""`kaitoctl explain CODE`: the long explanation of what `validate`, `check-nodes` or `why` found, offline."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

from kaitoctl.cli import complete, output
from kaitoctl.errors import InputError

if TYPE_CHECKING:
    from kaitoctl.kaito.diagnosis.codes import Code as Cause
    from kaitoctl.kaito.validation.codes import Code

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_WIDTH = 80


@app.command()
def explain(
    code: Annotated[
        str | None,
        typer.Argument(
            help="A code such as KW156 or label-missing (default: list all).",
            metavar="[CODE]",
            autocompletion=complete.codes,
        ),
    ] = None,
    troubleshooting: Annotated[
        bool,
        typer.Option("--troubleshooting", help="Print the whole chapter on troubleshooting, in Markdown."),
    ] = False,
) -> None:
    """Explain a code: what is wrong, for which KAITO versions, and what KAITO itself would answer.

    Example: kaitoctl explain KW156
    """
    from kaitoctl.kaito.diagnosis.codes import CODES as CAUSES
    from kaitoctl.kaito.nodes.codes import CODES as NODE_CODES
    from kaitoctl.kaito.validation.codes import CODES

    if troubleshooting:
        if code is not None:
            raise InputError("--troubleshooting prints all of it; leave the code out")
        output.data(chapter().rstrip("\n"))
    elif code is None:
        rows = [(name, known.title) for name, known in CODES.items()]
        rows += [(name, meaning.partition(". ")[0].rstrip(".")) for name, meaning in NODE_CODES.items()]
        rows += [(name, cause.title) for name, cause in CAUSES.items()]
        output.table(("CODE", "MEANING"), rows)
    elif code.lower() in CAUSES:
        output.data("\n".join(_cause_page(code.lower(), CAUSES[code.lower()])))
    elif code.upper() in CODES:
        output.data(_page(code.upper(), CODES[code.upper()]))
    elif code.lower() in NODE_CODES:
        paragraph = textwrap.wrap(NODE_CODES[code.lower()], _WIDTH, break_on_hyphens=False)
        output.data("\n".join([f"{code.lower()}:", "", *paragraph]))
    else:
        from kaitoctl.kaito.catalog import close_matches

        near = close_matches(code, [*CODES, *NODE_CODES, *CAUSES])
        hint = f"Did you mean {' or '.join(near)}?" if near else "`kaitoctl explain` lists all codes"
        raise InputError(f"there is no code {code[:20]!r}", hint=hint)


def _page(name: str, code: Code) -> str:
    from kaitoctl.kaito.validation import OWN
    from kaitoctl.kaito.validation.outcomes import possible

    lines = [f"{name}: {code.title}", "", *textwrap.wrap(code.meaning, _WIDTH, break_on_hyphens=False)]
    for_whom = "kaitoctl's own controller" if code.applies == OWN else f"KAITO {code.applies}"
    lines += ["", f"Judged for: {for_whom}"]
    if answers := possible(name):
        lines += ["", f"KAITO (`kaito` in JSON), by release and case: {', '.join(answers)}"]
    if code.upstream:
        lines += ["", "What KAITO itself answers or does:"]
        for case in code.upstream:
            lines += textwrap.wrap(
                case, _WIDTH, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False
            )
    return "\n".join(lines)


def _cause_page(name: str, cause: Cause) -> list[str]:
    parts = [("Shows as", cause.shows), ("Means", cause.meaning), ("Mended by", cause.mend)]
    lines = [f"{name}: {cause.title}"]
    for heading, text in parts:
        lines += ["", f"{heading}:"]
        lines += textwrap.wrap(
            text,
            _WIDTH,
            initial_indent="  ",
            subsequent_indent="  ",
            break_on_hyphens=False,
            break_long_words=False,
        )
    return lines


_CHAPTER = """\
# Troubleshooting

A Workspace does not become ready. `kaitoctl why` walks from the Workspace over its NodeClaims, nodes,
workload and pods to their containers, events and logs, and names one cause, with evidence and what mends it.
It works the same whoever manages the Workspace: KAITO v0.3 to v0.12, or kaitoctl's own controller.

<!-- test: cluster -->
```console
$ kaitoctl status falcon
$ kaitoctl why falcon || true
$ kaitoctl explain image-not-found
```

`kaitoctl doctor` looks at the installation itself. What follows is every cause that `why` knows, in the order
in which a rollout meets them; the headings are the codes. This page is what
`kaitoctl explain --troubleshooting` prints.
"""
_PAGE_WIDTH = 120


def chapter() -> str:
    """docs/troubleshooting.md: every cause that `why` can name."""
    from kaitoctl.kaito.diagnosis.codes import CODES as CAUSES
    from kaitoctl.kaito.nodes.codes import CODES as NODE_CODES

    def wrapped(text: str, first: str = "") -> list[str]:
        return textwrap.wrap(
            first + text,
            _PAGE_WIDTH,
            subsequent_indent="  " if first.startswith("- ") else "",
            break_on_hyphens=False,
            break_long_words=False,
        )

    lines = [_CHAPTER]
    for name, cause in CAUSES.items():
        lines += [
            f"## {name}",
            "",
            *wrapped(f"**{cause.title[:1].upper()}{cause.title[1:]}.** {cause.meaning}"),
            "",
        ]
        lines += wrapped(cause.shows, "- Shows as: ")
        lines += [*wrapped(cause.mend, "- Mended by: "), ""]
    lines += ["## What is wrong with a node", ""]
    lines += [
        *wrapped(
            "These are the codes of `kaitoctl check-nodes`, too; `why` names them when a node is the cause."
        ),
        "",
    ]
    for name, meaning in NODE_CODES.items():
        lines += [f"### {name}", "", *wrapped(meaning), ""]
    return "\n".join(lines).rstrip("\n") + "\n"
