"""What keeps the house readable: short files, short functions, no circles. Ruff's C901 watches the branches.

An exception names its reason, and goes when what it excepts has become short enough.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "kaitoctl"
LONGEST_FILE = 450
LONGEST_FUNCTION = 60

_OPTIONS = "a command's options are its signature; what it does is to move out"
_TABLE = "a table of texts: rows, not logic"

LONG_FILES = {
    "kaitoctl.kaito.diagnosis.codes": _TABLE,
    "kaitoctl.kaito.validation.codes": _TABLE,
}

LONG_FUNCTIONS = {
    "kaitoctl.kaito.compiled_inference_template.build": "generated from the template",
    "kaitoctl.cli.add_adapter.add_adapter": _OPTIONS,
    "kaitoctl.cli.run_controller.run_controller": _OPTIONS,
    "kaitoctl.cli.run_webhook.run_webhook": _OPTIONS,
    "kaitoctl.cli.validate.validate": _OPTIONS,
}


def modules() -> dict[str, Path]:
    """Every module of the package, by its dotted name."""
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def test_files_are_short() -> None:
    lengths = {name: len(file.read_text("utf-8").splitlines()) for name, file in modules().items()}
    long = {name: length for name, length in lengths.items() if length > LONGEST_FILE}
    assert {name: long[name] for name in long.keys() - LONG_FILES.keys()} == {}
    assert LONG_FILES.keys() - long.keys() == set(), "exceptions that nobody needs any more"


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_functions_are_short() -> None:
    lengths = {
        f"{module}.{function.name}": (function.end_lineno or 0) - function.lineno + 1
        for module, file in modules().items()
        for function in functions(ast.parse(file.read_text("utf-8")))
    }
    long = {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION}
    assert {name: long[name] for name in long.keys() - LONG_FUNCTIONS.keys()} == {}
    assert LONG_FUNCTIONS.keys() - long.keys() == set(), "exceptions that nobody needs any more"


def imports(tree: ast.AST, known: dict[str, Path]) -> Iterator[str]:
    """The modules of ours that run when this one does, or when one of its functions does."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                below = f"{node.module}.{alias.name}"
                yield below if below in known else node.module
        else:
            yield from imports(node, known)


def circles(graph: dict[str, set[str]]) -> set[frozenset[str]]:
    """The sets of modules each of which imports every other, over whatever way."""
    reach = {module: _reachable(module, graph) for module in graph}
    together = {frozenset(other for other in reach[module] if module in reach[other]) for module in graph}
    return {group for group in together if group}


def _reachable(start: str, graph: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += graph[module]
    return found


def test_no_modules_import_one_another() -> None:
    """Not even in functions: import-linter sees the layers, and nothing of what happens in one."""
    known = modules()
    graph = {
        module: set(imports(ast.parse(file.read_text("utf-8")), known)) - {module}
        for module, file in known.items()
    }
    assert {tuple(sorted(group)) for group in circles(graph)} == set()


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == {frozenset({"b", "c"})}
