"""The quick answers are those of the whole command line, and come without it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from shell import Shell

from kaitoctl.cli import app as app_
from kaitoctl.cli import quick
from kaitoctl.cli.app import app

TABLE = Path(quick.__file__).with_name("quick.json")
FULL = "import sys; sys.argv[0] = 'kaitoctl'; from kaitoctl.cli.app import main; main()"


def told(command: Any, context: Any, path: str = "") -> dict[str, Any]:
    """The table's entries of a command and of those below it."""
    options = [
        # The names of --help come in another order each time.
        [sorted([*param.opts, *param.secondary_opts], reverse=True), param.help or "", bool(param.multiple)]
        for param in command.get_params(context)
        if param.param_type_name == "option" and not param.hidden
    ]
    entry: dict[str, Any] = {"options": options}
    found = {path: entry}
    if hasattr(command, "list_commands"):
        shown = []
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if not below.hidden:
                shown.append([name, below.get_short_help_str()])
            inner = below.make_context(name, [], parent=context, resilient_parsing=True)
            found |= told(below, inner, f"{path} {name}".strip())
        entry["commands"] = shown
    return found


def whole(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What the whole command line says."""
    return subprocess.run(
        [sys.executable, "-c", FULL, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **environment},
    )


def test_the_table_is_that_of_the_command_line(pytestconfig: pytest.Config) -> None:
    root = typer.main.get_command(app)
    commands = told(root, root.make_context("kaitoctl", [], resilient_parsing=True))
    rows = ",\n".join(
        f"  {json.dumps(path)}: {json.dumps(entry)}" for path, entry in sorted(commands.items())
    )
    text = f'{{\n "help": {json.dumps(whole("--help").stdout)},\n "commands": {{\n{rows}\n }}\n}}\n'
    if pytestconfig.getoption("--update-golden"):
        TABLE.write_text(text)
    assert text == TABLE.read_text(), "pytest --update-golden tests/cli/test_quick.py writes it"
    assert app_.__name__ in sys.modules


LINES = [
    "kaitoctl ",
    "kaitoctl c",
    "kaitoctl create ",
    "kaitoctl --",
    "kaitoctl nothing",
    "kaitoctl nodes --n",
]
LINES += [
    "kaitoctl check-nodes --",
    "kaitoctl check-nodes --all -",
    "kaitoctl create workspace --preset x --p",
]
LINES += ["kaitoctl sandbox node ", "kaitoctl sandbox --help --"]


def words_of(completions: str) -> list[str]:
    """In one order, without what zsh has around a list."""
    bare = completions.strip().removeprefix("_arguments '*: :((").removesuffix("))'")
    return sorted(bare.split())


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_completes_as_by_the_whole_command_line(shell: str, line: str) -> None:
    environment = {"_KAITOCTL_COMPLETE": f"complete_{shell}"}
    if shell == "bash":
        words = line.split()
        number = len(words) if line.endswith(" ") else len(words) - 1
        environment |= {"COMP_WORDS": line, "COMP_CWORD": str(number)}
    else:
        environment |= {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    found = quick.answer([], environment)
    assert found is not None
    expected = whole(**environment).stdout  # which breaks long lines of help
    assert words_of(found) == words_of(expected)


@pytest.mark.parametrize(
    "line",
    [
        "kaitoctl create workspace --preset ",
        "kaitoctl validate ",
        "kaitoctl x 'y",
        "kaitoctl nodes --output=",
        "",
    ],
)
def test_what_is_no_name_is_left_to_the_whole_command_line(line: str) -> None:
    number = len(line.split()) if line.endswith(" ") else len(line.split()) - 1
    environment = {"_KAITOCTL_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(number)}
    assert quick.answer([], environment) is None


def test_a_narrow_terminal_gets_a_page_of_its_own() -> None:
    assert quick.answer(["--help"], {"COLUMNS": "40"}) is None


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["-h"]])
def test_the_quick_answers_are_the_same_and_need_no_typer(arguments: list[str]) -> None:
    program = "import sys; from kaitoctl.__main__ import main; sys.argv = ['kaitoctl', *sys.argv[1:]]\n"
    program += "try: main()\nfinally: print('typer' in sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == (whole(*arguments).stdout, 0)
    assert done.stderr == "False\n"


@pytest.mark.parametrize("command", ["--help", "skus", "validate -f -", "chat w"])
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_closed_standard_streams_are_no_surprise(offline: Shell, command: str, closed: str) -> None:
    done = offline.run("/bin/sh", "-c", f"kaitoctl {command} {closed}")
    assert done.returncode in (0, 2)
    assert "Error: " not in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["--help", "skus list"])
def test_a_full_disk_is_said(offline: Shell, command: str) -> None:
    done = offline.run("/bin/sh", "-c", f"kaitoctl {command} > /dev/full")
    assert (done.returncode, done.stderr) == (1, "error: No space left on device\n")


def test_no_arguments_show_the_page_as_bad_input(offline: Shell) -> None:
    done = offline.run("kaitoctl")
    assert done.returncode == 2
    assert "Start a Workspace:" in done.stdout + done.stderr


def test_each_command_has_one_line_on_the_page() -> None:
    page = whole("--help").stdout
    for name, text in json.loads(TABLE.read_text())["commands"][""]["commands"]:
        assert re.search(rf"^  {name} +{re.escape(text)}$", page, re.MULTILINE), name
