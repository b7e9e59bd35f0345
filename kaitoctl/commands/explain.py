"""`kaitoctl explain CODE`: the long explanation of what `validate`, `check-nodes` or `why` found, offline."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from kaitoctl.commands import listing, option_values
from kaitoctl.errors import InputError
from kaitoctl.kaito.adapter_files.codes import CODES as ADAPTER_CODES
from kaitoctl.kaito.catalog import close_matches
from kaitoctl.kaito.diagnosis.codes import CODES as OF_WORKSPACES
from kaitoctl.kaito.fleet.codes import CODES as FLEET_CODES
from kaitoctl.kaito.installation_codes import CODES as OF_INSTALLATIONS
from kaitoctl.kaito.node_check.codes import CODES as NODE_CODES
from kaitoctl.kaito.validation import OWN
from kaitoctl.kaito.validation.codes import CODES
from kaitoctl.kaito.validation.outcomes import possible
from kaitoctl.screens import output
from kaitoctl.screens.layout import BLANK, Block, Paragraph, plain

if TYPE_CHECKING:
    from kaitoctl.kaito.diagnosis.codes import Code as Cause
    from kaitoctl.kaito.validation.codes import Code
    from kaitoctl.kube.objects import Object

_WIDTH = 80


_PARAGRAPHS = {**NODE_CODES, **ADAPTER_CODES}
_RULES = {**CODES, **FLEET_CODES}
CAUSES = {**OF_WORKSPACES, **OF_INSTALLATIONS}


def explain(*, code: str | None, troubleshooting: bool, output_format: str) -> None:
    """Explain a code: what is wrong, for which KAITO versions, and what KAITO itself would answer."""
    option_values.output_format(output_format, listing.FORMATS)
    if troubleshooting:
        if code is not None:
            raise InputError("--troubleshooting prints all of it; leave the code out")
        output.data(chapter().rstrip("\n"))
    elif code is None:
        _show([_item(name) for name in (*_RULES, *_PARAGRAPHS, *CAUSES)], output_format)
    else:
        name = code.upper() if code.upper() in _RULES else code.lower()
        if name not in (*_RULES, *_PARAGRAPHS, *CAUSES):
            near = close_matches(code, [*_RULES, *_PARAGRAPHS, *CAUSES])
            hint = f"Did you mean {' or '.join(near)}?" if near else "`kaitoctl explain` lists all codes"
            raise InputError(f"unknown code {code[:20]!r}", hint=hint)
        if output_format in ("table", "wide"):
            output.show(_page_of(name))
        else:
            text = "\n".join(plain(_page_of(name)))
            _show([{**_item(name), "page": text}], output_format)


def _show(items: list[Object], output_format: str) -> None:
    headers = ("CODE", "MEANING")
    listing.show(
        "codes", items, headers, lambda one: (one["name"], one["meaning"]), output_format, below=False
    )


def _item(name: str) -> Object:
    known = _RULES.get(name) or CAUSES.get(name)
    meaning = known.title if known else _PARAGRAPHS[name].partition(". ")[0].rstrip(".")
    return {"name": name, "meaning": meaning}


def _page_of(name: str) -> list[Block]:
    if name in CAUSES:
        return _cause_page(name, CAUSES[name])
    if name in _RULES:
        return _page(name, _RULES[name])
    return [_heading(name), BLANK, Paragraph(_PARAGRAPHS[name], most=_WIDTH)]


def _heading(name: str, title: str = "") -> Block:
    return Paragraph(title, lead=f"{name}: " if title else f"{name}:", style="bold")


def _page(name: str, code: Code) -> list[Block]:
    for_whom = "kaitoctl's own controller" if code.applies == OWN else f"KAITO {code.applies}"
    blocks = [_heading(name, code.title), BLANK, Paragraph(code.meaning, most=_WIDTH)]
    blocks += [BLANK, Paragraph(f"Applies to: {for_whom}")]
    if answers := possible(name):
        blocks += [BLANK, Paragraph(f"KAITO (`kaito` in JSON), by release and case: {', '.join(answers)}")]
    if code.upstream:
        blocks += [BLANK, Paragraph("What KAITO itself answers or does:")]
        blocks += [Paragraph(f"- {case}", hang=2, most=_WIDTH) for case in code.upstream]
    return blocks


def _cause_page(name: str, cause: Cause) -> list[Block]:
    blocks = [_heading(name, cause.title)]
    for heading, text in (("Shows as", cause.shows), ("Means", cause.meaning), ("Fix", cause.fix)):
        blocks += [BLANK, Paragraph(lead=f"{heading}:", style="bold"), Paragraph(text, indent=2, most=_WIDTH)]
    return blocks


_CHAPTER = """\
# Troubleshooting

A Workspace does not become ready. `kaitoctl why` walks from the Workspace over its NodeClaims, nodes,
workload and pods to their containers, events and logs, and names one cause, with evidence and how to fix it.
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

    def wrapped(text: str, first: str = "") -> list[str]:
        return textwrap.wrap(
            first + text,
            _PAGE_WIDTH,
            subsequent_indent="  " if first.startswith("- ") else "",
            break_on_hyphens=False,
            break_long_words=False,
        )

    lines = [_CHAPTER]

    def page(name: str, cause: Cause, mark: str) -> list[str]:
        title = f"**{cause.title[:1].upper()}{cause.title[1:]}.**"
        lines = [f"{mark} {name}", "", *wrapped(f"{title} {cause.meaning}"), ""]
        lines += wrapped(cause.shows, "- Shows as: ")
        return [*lines, *wrapped(cause.fix, "- Fix: "), ""]

    for name, cause in OF_WORKSPACES.items():
        lines += page(name, cause, "##")
    lines += ["## What is wrong with an installation", ""]
    lines += [*wrapped("`kaitoctl doctor` names these, and some of the causes above."), ""]
    for name, cause in OF_INSTALLATIONS.items():
        lines += page(name, cause, "###")
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
