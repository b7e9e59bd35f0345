"""Every command that stands in the source as advice is one that only looks, or one whose effect was judged.

A new command of advice that changes something fails here until it has a row, with where it is shown to help.
"""

from __future__ import annotations

import ast
import functools
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
    'kubectl patch {} {} --type=merge -p {"metadata":{"finalizers":null}}': "pure/"
    "test_deletion_causes.py: only where nothing serves and no machine is known to be left, which it says",
    "kubectl patch secret": "cli/test_validate.py: only of a Secret without the key, and its others stay",
    "kubectl patch deployment": "pure/test_planning.py: only how pods are replaced, none restarts by it",
    "kubectl patch job": "lets a suspended Job of the Workspace's own go on",
    "kubectl scale": "test_harms_nobody: the Workspace's own, from 0",
    "kubectl rollout resume": "test_harms_nobody: the Workspace's own",
    "kubectl set selector": "test_harms_nobody: of a Service that reaches nobody",
    "kubectl create": "test_advice_helps: nothing that exists is touched",
    "kaitoctl edit NAME": "judges what the editor leaves, and asks before it writes",
    "kubectl edit": "opens an editor: whoever uses it decides",
    "kubectl apply": "a CRD that is missing, or the reader's own manifest",
    "kubectl annotate workspace": "leaves the benchmark out; no pod restarts by it",
    "kubectl auth": "asks only",
    "kubectl cluster-info": "asks only",
    "kubectl config": "reads the kubeconfig",
    "kubectl port-forward": "opens a way for as long as it runs",
    "kubectl kaitoctl": "the program itself",
    "kaitoctl add-adapter": "test_advice_helps: shows the cost first and asks",
    "kaitoctl set-adapter": "test_advice_helps: shows the cost first and asks",
    "kaitoctl remove-adapter": "shows the cost first and asks",
    "kaitoctl restart": "cli/test_edit.py: shows for how long nothing serves, and asks",
    "kaitoctl rollout fleet": "carries a set's template to its own Workspaces",
    "kaitoctl rollout undo": "shows the cost first and asks",
    "kaitoctl rollout resume": "cli/test_rollout_set.py: shows what restarts first, and asks",
    "kaitoctl plan": "writes nothing",
    "kaitoctl orphans": "lists",
    "kaitoctl apply": "cli/test_apply.py: shows the cost first and asks",
    "kaitoctl delete": "cli/test_delete.py: says what ends, and asks",
    "kaitoctl upgrade": "reads only; cli/test_upgrade.py",
    "kaitoctl scale": "cli/test_edit.py: shows the cost first and asks, or prints a manifest",
    "kaitoctl edit": "cli/test_edit.py: shows the cost first and asks",
    "kaitoctl create": "of one that exists: shows the cost first and asks",
    "kaitoctl run-controller": "looks first whether another controller is there",
    "kaitoctl sandbox": "a cluster of one's own, simulated",
    "kaitoctl options": "prints",
    "kaitoctl config": "prints",
    "kaitoctl chat": "speaks with the model",
    "kaitoctl adapter": "reads files, and writes one that is not there yet",
    "kaitoctl runtime": "fills a cache of one's own",
    "kaitoctl convert": "writes to stdout",
    "kaitoctl schema": "writes to stdout",
    "kaitoctl replay": "plays a file",
}
# The advices to delete: a webhook configuration that nobody answers, of a KAITO that is gone; and NodeClaims
# and node pools of Workspaces that are gone, whose nodes nobody uses; and a pod of an older revision
# that is not Ready and holds up the update that would replace it; and a Machine that its Workspace does
# without, after a look at who uses its node.
# And a Service of an IP family that no pod has, which reaches nobody and which its controller makes again.
DELETES = {
    "commands/doctor_webhooks.py",
    "kaito/diagnosis/of_service.py",
    "kaito/diagnosis/of_workloads.py",
    "kaito/node_claims.py",
    "kaito/orphans.py",
}


def literals() -> Iterator[tuple[str, str]]:
    """All texts in the source that hold a command, docstrings left out; `{}` is what is not written there."""
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
        whole = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Command"
        ]
        inside |= {id(part) for node in whole for part in node.args}
        for node in ast.walk(tree):
            text = ""
            if node in whole:
                text = " ".join(
                    str(arg.value) if isinstance(arg, ast.Constant) else "{}" for arg in node.args
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
                text = "" if id(node) in docs else node.value
            elif isinstance(node, ast.JoinedStr) and id(node) not in inside:
                text = "".join(
                    str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values
                )
            if isinstance(node, ast.expr) and ("kubectl " in text or "kaitoctl " in text):
                yield f"{file.relative_to(SOURCE)}:{node.lineno}", text


@functools.cache
def commands() -> list[tuple[str, str]]:
    """Each with the file and line where it stands, sorted."""
    pattern = re.compile(r"(?<![\w./-])(kubectl|kaitoctl) [a-z-]+( [a-z-]+)?[^`;]*")
    return sorted({(where, found[0]) for where, text in literals() for found in pattern.finditer(text)})


# A sentence about the program, and no command.
WORDS = re.compile(
    r"(kubectl|kaitoctl) (and|asks|controller|does|drops|for|has|is|itself|knows|names|or|puts|reads|refuses"
    r"|only|speaks|supports|takes|user|was|would|writes)\b"
)


def test_commands_are_found_in_the_source() -> None:
    assert len(commands()) > 100


@pytest.mark.parametrize("verb", ["delete", "drain", "cordon", "replace"])
def test_no_advice_takes_something_away(verb: str) -> None:
    begin = f"kubectl {verb} "
    found = {where.partition(":")[0] for where, command in commands() if command.startswith(begin)}
    assert found == (DELETES if verb == "delete" else set())


def test_every_command_looks_or_was_judged() -> None:
    unknown = [
        (where, command)
        for where, command in commands()
        if not LOOKS.match(command) and not command.startswith((*CHANGES, "kubectl delete"))
        if not WORDS.match(command)
    ]
    assert unknown == []


def test_every_row_stands_for_a_command() -> None:
    used = {start for start in CHANGES for _, command in commands() if command.startswith(start)}
    assert set(CHANGES) - used == set()
