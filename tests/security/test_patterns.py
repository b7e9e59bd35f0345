"""No text makes a regular expression of ours work for long, and nothing evaluates what it is given."""

from __future__ import annotations

import ast
import functools
import importlib
import pkgutil
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import kaitoctl
from kaitoctl.kaito.diagnosis import pod_refusals
from kaitoctl.kaito.diagnosis.log_patterns import search
from kaitoctl.kaito.validation import ignored_fields
from kaitoctl.kube import refusal_hints, yaml_writer

SOURCE = Path(kaitoctl.__file__).parent
LENGTH = 5_000
"""Characters: more than a name may have, and as much as a line of a log."""
CPU_S = 0.5
SHORTER = 5
"""Times: where so much less of a text takes a CPU_S of its cube, the whole takes no CPU_S either.

What grows faster than the cube of the length does not get through the shorter text.
"""
PIECES = [
    *"a0-._:/= [{(\"'\\\n\x1b$<,;#AZ",
    "a-", "a.", "-a", "a/", "0a", "ab ", "1.", "a:", "a=", "--", "..", "://", "a,", " a", "<a", "1h", "0.0",
    "kaito/workspace", "--node-provisioner", "NVIDIA-", "quota ", "not found ", "Adapter added: ", "hf_a",
    "e+1", "token=", "https://a:a", "{#", "#}", "{# ", "Bearer a", "[0]", "a.b[1]", "secret \"a\" ",
    "couldn't find key", "max seq len (1) ", "Target module ", "/dev/shm",
    "expected target modules in ",
    "Initial free memory ", "huggingface.co", "(a pid=1) ", "ERROR ", "12:00:00 ", "bf16 ",
    "\x1b[0m", "CUDA ",
    "PermissionError", "error: argument a", "NVIDIA ", "Xid ", "a.A", "AError", "host='a",
    "raylet ", "4 2 9 ",
]  # fmt: skip
Use = tuple[re.Pattern[str], bool]
"""A pattern, and whether it is looked for anywhere in a text."""
ENDS = ["", "!", "\x00", "\n"]


def modules() -> Iterator[Any]:
    for found in pkgutil.walk_packages([str(SOURCE)], "kaitoctl."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def inside(value: Any, depth: int = 0) -> Iterator[re.Pattern[str]]:
    if isinstance(value, re.Pattern) and isinstance(value.pattern, str):
        yield value
    elif isinstance(value, list | tuple | set | frozenset) and depth < 3:
        for item in value:
            yield from inside(item, depth + 1)
    elif isinstance(value, dict) and depth < 3:
        for item in value.values():
            yield from inside(item, depth + 1)


def written() -> Iterator[Use]:
    """Those that stand in the code where they are used."""
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if getattr(node.func.value, "id", "") == "re" and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    anywhere = node.func.attr not in ("match", "fullmatch", "compile")
                    yield re.compile(first.value), anywhere


def kept() -> Iterator[Use]:
    """Those that a module keeps; looked for anywhere in a text unless each use of the name is a match.

    As patterns, or as texts that `re` compiles where they are used: by name, or row by row of a table.
    """
    for module in modules():
        source = Path(module.__file__).read_text("utf-8")
        for name, value in vars(module).items():
            if not isinstance(value, re.Pattern | str | list | tuple | set | frozenset | Mapping):
                continue
            uses = set(re.findall(rf"\b{name}\.([a-z]+)\(|\bre\.([a-z]+)\({name}\b", source))
            words = {word for use in uses for word in use if word}
            anywhere = not words or not words <= {"match", "fullmatch"}
            yield from ((one, anywhere) for one in inside(value))
            if isinstance(value, str) and any(use[1] for use in uses):
                # Compiled under another name, by whose uses it is judged.
                if not re.search(rf"^\w+ = re\.compile\({name}\)$", source, re.MULTILINE):
                    yield re.compile(value), anywhere
            elif isinstance(value, tuple) and re.search(
                rf"for pattern, [\w, ]+ in {name}\b|\b_hint\([^)]*\b{name}\b", source
            ):
                yield from ((re.compile(row[0]), True) for row in value)
            elif isinstance(value, tuple | Mapping):
                rows = value.values() if isinstance(value, Mapping) else value
                found = (getattr(row, "pattern", None) for row in rows if not isinstance(row, re.Pattern))
                yield from ((re.compile(text), True) for text in found if isinstance(text, str))


@functools.cache
def patterns() -> dict[re.Pattern[str], bool]:
    found: dict[re.Pattern[str], bool] = {}
    logs = (search.folded(row[0]) for row in search.PATTERNS if row[0].startswith("(?i)"))
    for pattern, anywhere in (*kept(), *written(), *((re.compile(one), True) for one in logs)):
        found[pattern] = found.get(pattern, False) or anywhere
    return found


class TookTooLong(Exception):
    pass


def _stop(number: int, frame: FrameType | None) -> None:
    raise TookTooLong


@pytest.fixture
def bounded() -> Iterator[None]:
    """Interrupts what computes for longer than CPU_S of this process's own time; waiting does not count."""
    before = signal.signal(signal.SIGVTALRM, _stop)
    yield
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.signal(signal.SIGVTALRM, before)


def slowest(pattern: re.Pattern[str], anywhere: bool) -> str:
    """The text that takes the pattern longer than the bound; empty when there is none."""
    for piece in PIECES:
        text = (piece * LENGTH)[:LENGTH]
        for end in ENDS:
            for ask in (pattern.fullmatch, pattern.match, *([pattern.search] if anywhere else [])):
                try:
                    if _took(ask, text[: LENGTH // SHORTER] + end) > CPU_S / SHORTER**3:
                        _took(ask, text + end)
                except TookTooLong:
                    return f"{ask.__name__} of {piece!r} and so on, then {end!r}"
    return ""


def _took(ask: Callable[[str], object], text: str) -> float:
    """Seconds of this process's own time; TookTooLong after CPU_S."""
    began = time.thread_time()
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_S)
    try:
        ask(text)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return time.thread_time() - began


def test_the_patterns_are_found() -> None:
    assert len(patterns()) > 700
    logs = {row[0] for row in search.PATTERNS}
    kinds = {pod_refusals.REFUSALS[0].pattern, refusal_hints.KINDS["quota"].pattern}
    some = {ignored_fields.MEANT[0][0], yaml_writer._OTHER_BREAKS, *logs, *kinds}
    assert some <= {one.pattern for one in patterns()}
    unknown = [
        f"{file.name}: {found[0]}"
        for file in SOURCE.rglob("*.py")
        for found in re.finditer(
            r"\bre\.(?:match|fullmatch|search|find[a-z]+|sub|split)\((\w+)(?!\.pattern\b)\b",
            file.read_text("utf-8"),
        )
        if not found[1].isupper() and found[1] not in ("r", "rb", "f", "rf", "pattern")
    ]
    assert not unknown, "patterns that are passed on under a name that this test does not follow"


@pytest.mark.usefixtures("bounded")
def test_no_text_makes_a_pattern_work_for_long() -> None:
    slow = {pattern: slowest(pattern, anywhere) for pattern, anywhere in patterns().items()}
    assert {pattern.pattern: text for pattern, text in slow.items() if text} == {}


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize(
    ("pattern", "anywhere"),
    [
        (r"(a+)+b", False),
        (r"a*a*a*a*b", False),
        (r"a*a*a*b", False),
        (r"a*a*b", True),
        (r"(?:a|a?)+b", False),
        (r"(?=(?:a+b|a)+c).", True),
    ],
)
def test_a_pattern_that_does_is_noticed(pattern: str, anywhere: bool) -> None:
    assert slowest(re.compile(pattern), anywhere)


FORBIDDEN_CALLS = {"eval", "exec", "compile", "os.system", "os.popen", "asyncio.create_subprocess_shell"}
FORBIDDEN_MODULES = {"pickle", "shelve", "dill", "telnetlib", "ftplib", "xml"}
NO_PROGRAMS = {"get_completion_script"}  # its `shell` is the name of one
WRITES_XML = {"Element", "SubElement", "indent", "tostring"}


def faults(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "xml.etree.ElementTree":
            # Who writes XML meets no entities; who reads it may.
            yield from (f"imports {one.name}" for one in node.names if one.name not in WRITES_XML)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None)
            names = [module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
            yield from (f"imports {name}" for name in names if name.split(".")[0] in FORBIDDEN_MODULES)
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func) if isinstance(node.func, ast.Name | ast.Attribute) else ""
        names_shell = any(word.arg == "shell" for word in node.keywords) and called not in NO_PROGRAMS
        if called in FORBIDDEN_CALLS or names_shell:
            yield f"{node.lineno}: {called}"
        if called in ("yaml.load", "yaml.load_all"):
            loader = ast.unparse(node.args[1])
            if not loader.lower().endswith("loader") or loader in ("yaml.Loader", "yaml.UnsafeLoader"):
                yield f"{node.lineno}: {called} with {loader}"


def test_nothing_is_evaluated_unpickled_or_given_to_a_shell() -> None:
    """marshal is not among them: the informer packs its own memory with it, and reads nothing else."""
    found = {
        str(file.relative_to(SOURCE)): list(faults(ast.parse(file.read_text("utf-8"))))
        for file in SOURCE.rglob("*.py")
    }
    assert {file: what for file, what in found.items() if what} == {}
    assert list(faults(ast.parse("import pickle\neval(x)\nos.system(x)\nrun(x, shell=True)"))) != []
    assert list(faults(ast.parse("from xml.etree.ElementTree import tostring, fromstring"))) != []
