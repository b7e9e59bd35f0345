"""Advice is values: commands in it become text once, quoted, with the flags of a cluster."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaitoctl.advice import Advice, ClusterFlags, Command, filled, joined, text

SOURCE = Path(__file__).parents[2] / "kaitoctl"
LOOK = Command("kubectl get node", "a b")
FLAGS = ClusterFlags(("--sandbox",), ("--kubeconfig", "/my state/kubeconfig"))


@given(words=st.lists(st.text(), max_size=4))
def test_a_shell_reads_the_words_that_were_given(words: list[str]) -> None:
    assert shlex.split(text(Command("kubectl get node", *words), FLAGS)) == [
        *("kubectl", "get", "node", *words),
        *FLAGS.kubectl,
    ]


def test_words_around_commands_stay_and_each_command_gets_its_flags() -> None:
    advice = "see " + LOOK + "; or " + (Command("kaitoctl why", "x") + " says more")
    state = "--kubeconfig '/my state/kubeconfig'"
    assert text(advice, FLAGS) == (
        f"see kubectl get node 'a b' {state}; or kaitoctl why x --sandbox says more"
    )
    assert text(advice) == "see kubectl get node 'a b'; or kaitoctl why x says more"
    assert "node 'a b'; or" in advice


def test_several_pieces_become_one() -> None:
    assert text(joined("; ", ["wait", LOOK, LOOK + " again"])) == (
        "wait; kubectl get node 'a b'; kubectl get node 'a b' again"
    )


@pytest.mark.parametrize(
    ("advice", "expected"),
    [
        ("in {namespace}", "in {namespace}"),
        (Command("kubectl get pods -n {namespace}"), "kubectl get pods -n 'a;b'"),
        ("see " + Command("kubectl get pods -n {namespace}"), "see kubectl get pods -n 'a;b'"),
    ],
)
def test_names_are_filled_into_commands_as_words(advice: Advice, expected: str) -> None:
    assert text(filled(advice, namespace="a;b")) == expected


def test_a_command_in_an_f_string_is_refused() -> None:
    with pytest.raises(TypeError, match="joined by"):
        f"see {LOOK}"


# --- no command in prose -----------------------------------------------------------------------------------

# Words that begin as a command does and are none to paste; and commands that ask no cluster.
_NO_COMMAND = re.compile(
    r"kaitoctl (validate$|supports|speaks|chat and endpoint|knows|asks)\b"
    r"|kaitoctl (controller|sandbox|explain|models|skus|runtime|template)\b"
    r"|kaitoctl was tested|kubectl (has|takes|and|get prints|describe prints|scale, an)\b|kubectl kaitoctl"
)
# Long explanations, help, what a file seems to be, and the cause that is noted on a revision.
_ELSEWHERE = re.compile(r"cli/|sandbox/|runtime/|/codes\.py|commands/explain\.py|undo\.py")


def _prose(path: Path) -> Iterator[tuple[int, str]]:
    tree = ast.parse(path.read_text())
    skipped: set[int] = set()
    for node in ast.walk(tree):
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_call = isinstance(node, ast.Call) and ast.unparse(node.func) in ("Command", "re.compile")
        if is_docstring or is_call:
            skipped |= {id(inner) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.lineno, node.value


def test_the_words_of_commands_are_single_words() -> None:
    found = [
        f"{path.relative_to(SOURCE)}:{node.lineno}"
        for path in sorted(SOURCE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Command", "set_adapter")
        for word in node.args[1:]
        if isinstance(word, ast.Constant) and " -" in f" {word.value!s}" and " " in f"{word.value!s}"
    ]
    assert not found


def test_no_command_is_written_into_prose() -> None:
    found = [
        f"{path.relative_to(SOURCE)}:{line}: {words}"
        for path in sorted(SOURCE.rglob("*.py"))
        if not _ELSEWHERE.search(str(path.relative_to(SOURCE)))
        for line, words in _prose(path)
        for match in re.finditer(r"\b(kubectl|kaitoctl) [a-z].*", words)
        if not _NO_COMMAND.match(match[0])
    ]
    assert not found, "\n".join(found)
