"""What model servers say in their logs before they end, and what it means: a table by subject. Pure.

Each row is a regular expression and a `Reading`. A row belongs to a single message of a program, named in
`source` with the version in which it was read; older wordings that images of KAITO still carry are rows, or
alternatives, of their own. `of_logs` chooses among the rows that a log matches.

No pattern spans lines, none has nested repetitions, and `.` repeats only within bounds: logs are foreign
text (tests/security/test_patterns.py tries them all).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from kaitoctl.kaito.diagnosis.log_patterns import adapters, gpus, memory, processes, weights
from kaitoctl.kaito.diagnosis.log_patterns.reading import Reading, Row

__all__ = ["PATTERNS", "Reading", "Row", "readings"]

PATTERNS: tuple[Row, ...] = (
    *memory.PATTERNS,
    *gpus.PATTERNS,
    *adapters.PATTERNS,
    *weights.PATTERNS,
    *processes.PATTERNS,
)
"""The more particular row of two that match one line stands first."""


def readings(text: str) -> Iterator[tuple[int, Reading, dict[str, str]]]:
    """The first place at which each row is found: its offset, what it means, and the pattern's groups."""
    for pattern, reading in PATTERNS:
        if found := re.search(pattern, text, re.MULTILINE):
            yield found.start(), reading, {key: value or "" for key, value in found.groupdict().items()}
