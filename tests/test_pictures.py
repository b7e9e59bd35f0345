"""README's pictures are real runs, and those of this program: `python3 dev.py pictures` takes them again."""

from __future__ import annotations

import re
from pathlib import Path

import pictures
import pytest

from kaitoctl.runtime import model_store

README = (pictures.ROOT / "README.md").read_text(encoding="utf-8")


def test_the_pictures_of_readme_are_there() -> None:
    shown = re.findall(r"\]\((docs/pictures/[^)]+)\)|<img [^>]*src=\"(docs/pictures/[^\"]+)\"", README)
    names = [one or other for one, other in shown]
    assert names and all((pictures.ROOT / name).is_file() for name in names)
    svg = pictures.FIRST.read_text(encoding="utf-8")
    assert "@font-face" not in svg and "url(http" not in svg, "it asks no other site"


def test_a_picture_shows_the_commands_of_its_scenes() -> None:
    words = pictures.words_of(pictures.FIRST.read_text(encoding="utf-8"))
    for scene in pictures.SCENES:
        assert f"$ {scene.command}" in words


def test_what_a_picture_shows_is_what_the_program_says_now(tmp_path: Path) -> None:
    if not any(row["name"] == pictures.MODEL and row["path"] for row in model_store.list_models()):
        pytest.skip(f"there is no model: kaitoctl runtime models pull {pictures.MODEL}")
    now = pictures.words_of(pictures.drawn(pictures.taken(tmp_path)))
    assert now == pictures.words_of(pictures.FIRST.read_text()), "python3 dev.py pictures takes it again"


def test_the_words_of_a_picture_are_those_of_its_lines_but_for_what_is_drawn_anew() -> None:
    for line in (
        "\x1b[31m✗\x1b[0m falcon <a> of ws012345678, for 3m20s",
        "✗ falcon <a> of wsabcdef012, for 5s",
    ):
        assert "✗ falcon <a> of CLAIM, for N" in pictures.words_of(pictures.drawn([line]))
