"""The rows of all tables in their order, and where a log matches them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from kaitoctl.kaito.diagnosis.log_patterns import (
    adapters,
    cuda,
    gpus,
    hub,
    memory,
    network,
    options,
    places,
    processes,
    quantization,
    weights,
)
from kaitoctl.kaito.diagnosis.log_patterns.reading import Reading, Row

_ANY_CASE = "(?i)"

PATTERNS: tuple[Row, ...] = (
    *network.PATTERNS,
    *places.PATTERNS,
    *memory.PATTERNS,
    *quantization.PATTERNS,
    *cuda.PATTERNS,
    *gpus.PATTERNS,
    *adapters.PATTERNS,
    *hub.PATTERNS,
    *weights.PATTERNS,
    *options.PATTERNS,
    *processes.PATTERNS,
    cuda.ANY,
)
"""The more particular row of two that match one line stands first."""


def readings(text: str) -> Iterator[tuple[int, Reading, dict[str, str]]]:
    """The first place at which each row is found: its offset, what it means, and the pattern's groups."""
    # Of lower case, `re` looks for a pattern's first letters, many times as fast as for those of any case.
    plain = text.encode("ascii", "replace").decode()
    lower = plain.lower()
    for pattern, reading in PATTERNS:
        if found := _search(pattern, plain, lower):
            yield found.start(), reading, {name: _group(text, found, name) for name in found.groupdict()}


def _search(pattern: str, plain: str, lower: str) -> re.Match[str] | None:
    if not pattern.startswith(_ANY_CASE):
        return re.search(pattern, plain, re.MULTILINE)
    pattern = folded(pattern)
    return re.search(pattern, lower, re.MULTILINE)


def _group(text: str, found: re.Match[str], name: str) -> str:
    start, end = found.span(name)
    return text[start:end] if start >= 0 else ""


@cache
def folded(pattern: str) -> str:
    """A pattern of any case as one of lower case: its letters, but not what stands for a class or a group."""
    letters = r"\\.|\(\?P<\w+>|[A-Z]"
    return re.sub(
        letters, lambda one: one[0].lower() if len(one[0]) == 1 else one[0], pattern[len(_ANY_CASE) :]
    )
