"""A wheel brings a man page for each command, made of what the command says of itself."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from release import man_pages

ROOT = Path(__file__).parents[2]
PAGES = man_pages.pages()
REQUESTS = {".TH", ".SH", ".TP", ".PP", ".nf", ".fi"}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_roff_and_says_what_it_is_about(name: str) -> None:
    lines = PAGES[name].splitlines()
    assert lines[0].startswith('.TH "') and lines[1] == ".SH NAME"
    assert re.fullmatch(rf"{re.escape(name.removesuffix('.1'))} - \S.*", lines[2].replace("\\-", "-"))
    for line in lines:
        assert not line.startswith("'")
        assert not line.startswith(".") or line.split()[0] in REQUESTS, line
        # Escapes that every reader of man pages has; a backslash by itself would swallow what follows.
        assert re.fullmatch(r"(?:[^\\]|\\(?:e|-|&|\(aq|fB|fR))*", line), line
    assert lines.count(".nf") == lines.count(".fi")
    for at, line in enumerate(lines):
        assert line != ".TP" or not lines[at + 1].startswith("."), lines[at : at + 3]


@pytest.mark.skipif(not shutil.which("groff"), reason="no reader of man pages")
def test_a_reader_of_man_pages_complains_of_none() -> None:
    for name, text in PAGES.items():
        done = subprocess.run(
            ["groff", "-k", "-man", "-Tutf8", "-ww"], input=text, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), name
        assert f"{name.removesuffix('.1').upper()}(1)" in done.stdout


def test_the_wheel_brings_them(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as inside:
        pages = {name.rpartition("/")[2]: name for name in inside.namelist() if "/share/man/man1/" in name}
        assert pages.keys() == PAGES.keys()
        assert all(".data/data/share/man/man1/" in name for name in pages.values())
        assert inside.read(pages["kaitoctl-status.1"]).decode() == PAGES["kaitoctl-status.1"]
