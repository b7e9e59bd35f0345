"""What a person needs of a help page stands in the 24 rows that a terminal of 80 columns shows first."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from kaitoctl.cli import global_options
from kaitoctl.cli.app import app

ROWS = 24
SHARED = ("--output FORMAT", "--namespace NAME", "--context NAME", "--sandbox", "--catalog FILE", "--help")
"""Options that mean the same on every page."""

ROOT: Any = typer.main.get_command(app)


def below(command: Any, context: Any) -> Iterator[tuple[Any, Any]]:
    """A command and all below it, each with a context 80 columns wide."""
    yield command, context
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        one = command.get_command(context, name)
        if not one.hidden:
            yield from below(one, one.make_context(name, [], parent=context, resilient_parsing=True))


PAGES = {
    context.command_path: (command, context)
    for command, context in below(
        ROOT, ROOT.make_context("kaitoctl", [], resilient_parsing=True, terminal_width=80)
    )
}


def section(lines: list[str], title: str) -> list[str]:
    """The lines below a title, up to the next empty one that no line of the section follows."""
    if f"{title}:" not in lines:
        return []
    found = []
    for line in lines[lines.index(f"{title}:") + 1 :]:
        if line and not line.startswith(" "):
            break
        found.append(line)
    while found and not found[-1]:
        found.pop()
    return found


def first_option(lines: list[str]) -> int:
    """The row on which the options of a page, or the commands of a group, begin."""
    titles = ("Options:", "Commands:", "Start a Workspace:")
    return next(row for row, line in enumerate(lines) if line in titles) + 1


def commands_of(examples: list[str]) -> Iterator[list[str]]:
    """The arguments of kaitoctl in each example, as a shell reads them."""
    text = "\n".join(line.strip() for line in examples).replace("\\\n", " ")
    for line in text.splitlines():
        bare = re.sub(r'"?[$<]\(|\)"?|[|>]', lambda cut: ")" if ")" in cut[0] else ";", line)
        words = [shlex.split(part, comments=True) for part in re.split(r"[;)]", bare)]
        yield from (part[part.index("kaitoctl") + 1 :] for part in words if "kaitoctl" in part)


@pytest.mark.parametrize("path", PAGES)
def test_the_first_rows_say_what_it_does_how_it_is_called_and_an_example(path: str) -> None:
    command, context = PAGES[path]
    lines = command.get_help(context).splitlines()
    assert max(map(len, lines)) <= 80
    first = lines[:ROWS]
    assert first[0].startswith(f"Usage: {path} ")
    sentence = "".join((command.help or "").strip().split("\n\n")[0].split())
    assert sentence and sentence in "".join("".join(first).split())  # which a hyphen may cut
    examples = section(lines, "Examples")
    assert examples and section(first, "Examples") == examples
    assert section(first, "Arguments") == section(lines, "Arguments")
    assert first_option(lines) <= 18  # six rows of them at least, where there are so many


@pytest.mark.parametrize("path", PAGES)
def test_a_commands_own_options_stand_before_those_that_others_have(path: str) -> None:
    command, context = PAGES[path]
    lines = command.get_help(context).splitlines()
    if not section(lines, "Shared options"):
        return
    own = [line for line in section(lines, "Options") if line.startswith("  -")]
    assert own and not [line for line in own if line[2:].partition("  ")[0].endswith(SHARED)]
    assert lines.index("Options:") < lines.index("Shared options:")


def test_the_length_of_a_models_context_is_no_context_of_a_kubeconfig() -> None:
    command, context = PAGES["kaitoctl runtime serve"]
    assert any("--context N" in line for line in command.get_help(context).splitlines()[:ROWS])


def test_every_option_of_a_command_is_on_its_page_or_on_that_of_all() -> None:
    everywhere = " ".join(flags for flags, _ in global_options.page())
    for path, (command, context) in PAGES.items():
        page = command.get_help(context)
        for param in command.params:
            if param.param_type_name == "option" and not param.hidden:
                assert all(name in page or name in everywhere for name in param.opts), (path, param.opts)


@pytest.mark.parametrize("path", PAGES)
def test_examples_can_be_copied(path: str) -> None:
    command, context = PAGES[path]
    lines = section(command.get_help(context).splitlines(), "Examples")
    calls = list(commands_of(lines))
    assert calls
    for words in calls:
        outer = ROOT.make_context("kaitoctl", [], resilient_parsing=True)
        names, arguments = global_options.rearranged(ROOT, outer, words)
        inner = ROOT
        for name in names:
            inner = inner.get_command(outer, name)
        assert not hasattr(inner, "list_commands"), words
        parser = inner.make_parser(inner.make_context(names[-1], [], resilient_parsing=True))
        parser.parse_args(arguments[len(names) :])  # which refuses an option that there is not
