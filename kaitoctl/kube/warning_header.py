"""What a server warns of in its `Warning` headers: a deprecated version, a field that it did not know. Pure.

Source: RFC 7234 section 5.5; apimachinery `pkg/util/net/http.go`, ParseWarningHeaders: only 299 counts.
"""

from __future__ import annotations

import re

_LONGEST = 1000
_WARNING = re.compile(
    r"\s*(?P<code>\d{3})\s+(?P<agent>[^\s,\"]+)\s+\"(?P<text>(?:[^\"\\]|\\.)*)\""
    r"(?:\s+\"[^\"]*\")?\s*(?:,|$)",
    re.DOTALL,
)


def texts(header: str) -> list[str]:
    """The warnings in a header, or in several that were joined by commas; what is malformed ends the list."""
    found, place = [], 0
    while match := _WARNING.match(header, place):
        place = match.end()
        text = re.sub(r"\\(.)", r"\1", match["text"], flags=re.DOTALL)
        text = " ".join(_as_utf_8(text).split())[:_LONGEST]
        if match["code"] == "299" and text:
            found.append(text)
    return found


def _as_utf_8(text: str) -> str:
    """Headers arrive as Latin-1, and API servers write UTF-8 into them."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text
