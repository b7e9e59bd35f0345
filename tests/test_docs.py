"""Every command in README and docs runs: the blocks marked `test:`, on a sandbox or with no cluster at all.

A block without a mark is read, too: its kaitoctl commands must at least exist.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from shell import BIN, Shell

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"(?:<!-- test: (?P<where>\w+) -->\n)?```console\n(?P<text>.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One console block: commands and the lines that follow each."""

    page: str
    number: int
    where: str
    text: str

    @property
    def commands(self) -> list[tuple[str, str]]:
        parts = re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]
        return [(line, "\n".join(rest)) for line, *rest in (part.rstrip("\n").split("\n") for part in parts)]


def blocks() -> Iterator[Block]:
    for page in PAGES:
        for number, found in enumerate(_BLOCK.finditer(page.read_text())):
            yield Block(str(page.relative_to(ROOT)), number, found["where"] or "", found["text"])


BLOCKS = list(blocks())


@pytest.mark.parametrize("where", ["offline", "sandbox"])
def test_the_commands_of_the_docs_run(tmp_path: Path, where: str) -> None:
    """In the order of the pages, in one home, as a reader would."""
    shell = Shell(tmp_path, "default")
    try:
        for block in BLOCKS:
            for command, expected in block.commands if block.where == where else []:
                done = shell.run("/bin/sh", "-c", f"set -e; {command}")
                assert done.returncode == 0, f"{block.page}: $ {command}\n{done.stdout}{done.stderr}"
                if expected:
                    assert done.stdout.strip() == expected.strip(), f"{block.page}: $ {command}"
    finally:
        shell.run(str(BIN / "kaitoctl"), "sandbox", "down", "--delete")


@pytest.mark.parametrize("block", [b for b in BLOCKS if not b.where], ids=lambda b: f"{b.page}-{b.number}")
def test_the_other_commands_of_the_docs_exist(block: Block, tmp_path: Path) -> None:
    for command, _ in block.commands:
        words = shlex.split(command)
        if words[0] == "kaitoctl":
            plain = [word for word in words[1:] if not word.startswith("-")]
            options = [word.partition("=")[0] for word in words[1:] if word.startswith("--")]
            done = Shell(tmp_path, "none").run(str(BIN / "kaitoctl"), *plain[:2], "--help")
            assert done.returncode == 0, command
            assert all(option in done.stdout for option in options), command
        elif words[0].startswith("python3") and words[1] == "dev.py":
            assert f"def {words[2]}(" in (ROOT / "dev.py").read_text()
