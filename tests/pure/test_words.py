"""Users read the field's words: none of the dialect that the code once had."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "kaitoctl"
BANNED = re.compile(
    r"\b(told|mend(s|ed|ing)?|anew|the door|given back|for ever|kaitoctl speaks|go(es)? back\?|gave? on"
    r"|wants (a|an|credentials|another)|broken off)\b",
    re.IGNORECASE,
)


def _shown(path: Path) -> Iterator[tuple[int, str]]:
    """The texts of a module that may be shown, docstrings left out: those of commands are in docs/cli.md."""
    tree = ast.parse(path.read_text())
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def test_messages_are_in_the_fields_words() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {words}"
        for path in sorted(SOURCE.rglob("*.py"))
        if path.name != "codes.py"  # long explanations
        for line, words in _shown(path)
        if " " in words and BANNED.search(words)
    ]
    assert not found, "\n".join(found)


def test_help_is_in_the_fields_words() -> None:
    lines = (ROOT / "docs/cli.md").read_text().splitlines()
    assert [line for line in lines if BANNED.search(line)] == []
