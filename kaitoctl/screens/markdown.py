"""What is going to change as one Markdown comment, such as GitHub takes on a pull request."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

LIMIT = 65_536
"""Characters of a comment: GitHub's, "Body is too long (maximum is 65536 characters)"."""

_LEFT_OUT = "\n{} of {} entries are without their details here, {} are left out: the comment is full.\n"
_RESERVED = 200


def comment(command: str, summary: str, lines: Iterable[str]) -> str:
    """The summary of a command, then each entry with its details, the indented lines below it, folded.

    Every entry's line comes before any details where not all of it fits.
    """
    entries: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.startswith(" ") and entries:
            entries[-1][1].append(line.removeprefix("    "))
        else:
            entries.append((line.strip(), []))
    head = f"### kaitoctl {command}\n\n{_code('b', summary)}\n"
    room = LIMIT - len(head) - _RESERVED
    shown: list[str] = []
    for text, _ in entries:
        short = f"\n{_code('p', text)}\n"
        if len(short) > room:
            break
        shown.append(short)
        room -= len(short)
    folded = 0
    for number, (text, details) in enumerate(entries[: len(shown)]):
        full = _folded(text, details) if details else shown[number]
        growth = len(full) - len(shown[number])
        if growth <= room:
            shown[number] = full
            room -= growth
        else:
            folded += 1
    left = len(entries) - len(shown)
    tail = _LEFT_OUT.format(folded, len(entries), left) if folded or left else ""
    return head + "".join(shown) + tail


def _code(tag: str, text: str) -> str:
    """Text as it is, in an HTML block: there neither Markdown nor a mention means anything."""
    opened, closed = ("<p><b>", "</b></p>") if tag == "b" else (f"<{tag}>", f"</{tag}>")
    return f"{opened}<code>{html.escape(text, quote=False)}</code>{closed}"


def _folded(text: str, details: list[str]) -> str:
    body = "\n".join(details)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", body)), default=0))
    return f"\n<details>{_code('summary', text)}\n\n{fence}text\n{body}\n{fence}\n\n</details>\n"
