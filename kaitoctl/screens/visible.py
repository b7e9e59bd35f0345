"""Control characters made visible: what comes from a cluster never steers the terminal."""

from __future__ import annotations

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
