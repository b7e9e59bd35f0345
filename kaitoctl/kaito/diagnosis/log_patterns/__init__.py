"""What model servers say in their logs before they end, and what it means: a table by subject. Pure.

Each row is a regular expression and a `Reading`. A row belongs to a single message of a program, named in
`source` with the version in which it was read; older wordings that images of KAITO still carry are rows, or
alternatives, of their own. `search` looks them up, `of_logs` chooses among the rows that a log matches.

No pattern spans lines, none has nested repetitions, and `.` repeats only within bounds: logs are foreign
text (tests/security/test_patterns.py tries them all).
"""

from kaitoctl.kaito.diagnosis.log_patterns.reading import Reading, Row
from kaitoctl.kaito.diagnosis.log_patterns.search import PATTERNS, readings

__all__ = ["PATTERNS", "Reading", "Row", "readings"]
