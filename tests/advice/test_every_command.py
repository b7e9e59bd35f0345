"""Every command that stands in the source as advice is one that only looks, or one whose effect was judged.

A new command of advice that changes something fails here until it has a row, with where it is shown to help.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from advice.commands import LOOKS

import kaitoctl

SOURCE = Path(kaitoctl.__file__).parent

# What it begins with -> where it is carried out, or why it may be advised.
CHANGES = {
    "kubectl label": "test_harms_nobody: only nodes that nobody holds or selects",
    "kubectl taint": "test_harms_nobody: only taints that no controller owns",
    "kubectl uncordon": "test_harms_nobody",
    "kubectl patch workspace": "test_harms_nobody: the fields as they were",
    "kubectl patch service": "test_harms_nobody: of a Service that reaches nobody",
    'kubectl patch {} {} --type=merge -p \'{"metadata":{"finalizers":null}}\'': "pure/"
    "test_deletion_causes.py: only where nothing serves and no machine is known to be left, which it says",
    "kubectl patch job": "lets a suspended Job of the Workspace's own go on",
    "kubectl scale": "test_harms_nobody: the Workspace's own, from 0",
    "kubectl rollout resume": "test_harms_nobody: the Workspace's own",
    "kubectl set selector": "test_harms_nobody: of a Service that reaches nobody",
    "kubectl create": "test_advice_helps: nothing that exists is touched",
    "kubectl edit": "opens an editor: whoever uses it decides",
    "kubectl apply": "a CRD that is missing, or the reader's own manifest",
    "kubectl auth": "asks only",
    "kubectl cluster-info": "asks only",
    "kubectl config": "reads the kubeconfig",
    "kubectl port-forward": "opens a way for as long as it runs",
    "kubectl kaitoctl": "the program itself",
    "kaitoctl add-adapter": "test_advice_helps: shows the cost first and asks",
    "kaitoctl set-adapter": "test_advice_helps: shows the cost first and asks",
    "kaitoctl remove-adapter": "shows the cost first and asks",
    "kaitoctl rollout undo": "shows the cost first and asks",
    "kaitoctl create": "of one that exists: shows the cost first and asks",
    "kaitoctl run-controller": "looks first whether another controller is there",
    "kaitoctl sandbox": "a cluster of one's own, simulated",
    "kaitoctl chat": "speaks with the model",
    "kaitoctl convert": "writes to stdout",
    "kaitoctl schema": "writes to stdout",
    "kaitoctl replay": "plays a file",
}
# The one advice to delete: a webhook configuration that nobody answers, of a KAITO that is gone.
DELETES = {"cli/doctor_webhooks.py"}


def literals() -> Iterator[tuple[str, str]]:
    """All texts in the source that hold a command, docstrings left out, f-strings with `{}` in them."""
    for file in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(file.read_text())
        docs = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            if node.body and isinstance(node.body[0], ast.Expr)
        }
        inside = {
            id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values
        }
        for node in ast.walk(tree):
            text = ""
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
                text = "" if id(node) in docs else node.value
            elif isinstance(node, ast.JoinedStr):
                text = "".join(
                    str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values
                )
            if isinstance(node, ast.expr) and ("kubectl " in text or "kaitoctl " in text):
                yield f"{file.relative_to(SOURCE)}:{node.lineno}", text


def commands() -> Iterator[tuple[str, str]]:
    for where, text in literals():
        for found in re.finditer(r"(?<![\w./-])(kubectl|kaitoctl) [a-z-]+( [a-z-]+)?[^`;]*", text):
            yield where, found[0]


FOUND = sorted(set(commands()))
# A sentence about the program, and no command.
WORDS = re.compile(
    r"(kubectl|kaitoctl) (and|asks|controller|does|for|has|is|itself|knows|names|or|puts|reads|refuses|speaks"
    r"|user|would|writes)\b"
)


def test_commands_are_found_in_the_source() -> None:
    assert len(FOUND) > 100


@pytest.mark.parametrize("verb", ["delete", "drain", "cordon", "replace"])
def test_no_advice_takes_something_away(verb: str) -> None:
    found = {where.partition(":")[0] for where, command in FOUND if command.startswith(f"kubectl {verb} ")}
    assert found == (DELETES if verb == "delete" else set())


def test_every_command_looks_or_was_judged() -> None:
    unknown = [
        (where, command)
        for where, command in FOUND
        if not LOOKS.match(command) and not command.startswith((*CHANGES, "kubectl delete"))
        if not WORDS.match(command)
    ]
    assert unknown == []


def test_every_row_stands_for_a_command() -> None:
    used = {start for start in CHANGES for _, command in FOUND if command.startswith(start)}
    assert set(CHANGES) - used == set()
