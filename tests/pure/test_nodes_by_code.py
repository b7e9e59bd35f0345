"""Each finding's code as a pair of files in tests/data/nodes: what was there, and what is said of it.

KAITOCTL_REFRESH=1 pytest tests/pure/test_nodes_by_code.py writes the outputs anew; read the difference.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from kaitoctl.cli import node_table
from kaitoctl.cli.node_table import Screen
from kaitoctl.kaito import nodes
from kaitoctl.kaito.nodes import Rules, Verdict
from kaitoctl.kaito.nodes import codes as node_codes
from kaitoctl.kube.objects import Object

DATA = Path(__file__).parent.parent / "data" / "nodes"
# Codes that only KAITO v0.12 brings up; all others are judged as v0.4 would.
MODERN = {"preferred-ignored": "azure-gpu-provisioner", "of-another-workspace": "karpenter"}
CASES = sorted(file.name.removesuffix(".input.yaml") for file in DATA.glob("*.input.yaml"))


def objects(case: str) -> list[Object]:
    documents = yaml.safe_load_all((DATA / f"{case}.input.yaml").read_text())
    return [item for document in documents for item in document.get("items", [document])]


def verdict(case: str) -> Verdict:
    everything = objects(case)
    of = {kind: [obj for obj in everything if obj["kind"] == kind] for kind in ("Workspace", "Node", "Pod")}
    (workspace,) = of["Workspace"]
    rules = Rules("v0.12", MODERN[case]) if case in MODERN else Rules("v0.4")
    return nodes.verdict(workspace, of["Node"], nodes.pods_of_others(workspace, of["Pod"]), rules=rules)


def golden(name: str, text: str) -> str:
    file = DATA / name
    if os.environ.get("KAITOCTL_REFRESH"):
        file.write_text(text)
    return file.read_text()


@pytest.mark.parametrize("case", CASES)
def test_each_code_says_what_is_wrong_and_what_mends_it(case: str) -> None:
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
            assert all(finding.hint for finding in (*node.failures, *node.warnings)), case


@pytest.mark.parametrize(
    ("name", "screen"),
    [
        ("mixed.80-columns.txt", Screen(80, symbols=True)),
        ("mixed.pipe.txt", Screen()),
        ("mixed.colour.txt", Screen(140, symbols=True, colour=True)),
    ],
)
def test_the_screen_reads_well(name: str, screen: Screen) -> None:
    lines = node_table.report(verdict("mixed"), "Workspace models/llama-2-13b", screen)
    text = "\n".join(lines) + "\n"
    assert text == golden(name, text)
    if screen.width and not screen.colour:
        long = [line for line in lines if len(line) > screen.width]
        assert all("kubectl" in line for line in long)  # a command is never broken
    assert ("\x1b" in text) == screen.colour
    assert ("✗" in text) == screen.symbols
