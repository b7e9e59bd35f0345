"""Each finding's code as a pair of files in tests/data/nodes: what was there, and what is said of it.

KAITOCTL_REFRESH=1 pytest tests/pure/test_nodes_by_code.py writes the outputs anew; read the difference.
"""

from __future__ import annotations

import json
import os

import pytest
from screen_data import NODE_CASES as CASES
from screen_data import NODE_DATA as DATA
from screen_data import node_verdict as verdict
from terminals import Terminal, lines, uncoloured

from kaitoctl.advice import text
from kaitoctl.kaito.node_check import codes as node_codes
from kaitoctl.screens import node_table


def golden(name: str, text: str) -> str:
    file = DATA / name
    if os.environ.get("KAITOCTL_REFRESH"):
        file.write_text(text)
    return file.read_text()


@pytest.mark.parametrize("case", CASES)
def test_each_code_says_what_is_wrong_and_how_to_fix_it(case: str) -> None:
    value = {**node_table.as_json(verdict(case), "models/x"), "summary": verdict(case).summary}
    text = json.dumps(value, indent=2) + "\n"
    assert text == golden(f"{case}.output.json", text)


def test_every_code_has_a_case_and_an_explanation() -> None:
    assert set(node_codes.CODES) == set(CASES) - {"mixed"}
    for case in set(CASES) - {"mixed"}:
        said = {finding.code for node in verdict(case).nodes for finding in node.findings}
        assert case in said
    assert all(len(text) > 60 for text in node_codes.CODES.values())


def test_every_failure_says_what_to_do() -> None:
    for case in CASES:
        for node in verdict(case).nodes:
            assert all(text(finding.hint) for finding in (*node.failures, *node.warnings)), case


@pytest.mark.parametrize(
    ("name", "shown_on"),
    [
        ("mixed.80-columns.txt", Terminal(80)),
        ("mixed.pipe.txt", None),
        ("mixed.colour.txt", Terminal(140, colour=True)),
    ],
)
def test_the_screen_reads_well(name: str, shown_on: Terminal | None) -> None:
    report = node_table.report(verdict("mixed"), "Workspace models/llama-2-13b", drawn=shown_on is not None)
    shown = lines(report, shown_on)
    text = "\n".join(shown) + "\n"
    assert text == golden(name, text)
    if shown_on is not None:
        long = [line for line in map(uncoloured, shown) if len(line) > shown_on.columns]
        assert all("kubectl" in line for line in long)  # a command is never broken
    assert ("\x1b" in text) == (shown_on is not None and shown_on.colour)
    assert ("✗" in text) == (shown_on is not None)
