"""Lists of many pages: long ones are read, endless ones are left, by whatever shows that they have no end."""

from __future__ import annotations

import pytest

from kaitoctl.errors import Unreachable
from kaitoctl.kube.objects import Object
from kaitoctl.kube.paging import Paging


def page(*names: str) -> list[Object]:
    return [{"metadata": {"namespace": "a", "name": name}} for name in names]


def test_a_million_objects_are_read() -> None:
    paging = Paging()
    for number in range(2000):
        paging.insist_on_progress(f"t{number}", page(f"w{number}-a", f"w{number}-b"))


def test_pages_without_objects_between_others_are_no_end() -> None:
    paging = Paging()
    for number in range(1000):
        paging.insist_on_progress(f"t{number}", page(f"w{number}") if number % 100 == 0 else [])


@pytest.mark.parametrize(
    ("tokens", "names", "words"),
    [
        ("x", "w{n}", "over and over"),
        ("t{half}", "w{n}", "over and over"),  # x, y, x, y
        ("t{n}", "w", "over and over"),
        ("t{n}", "w{half}", "over and over"),
        ("t{n}", "", "201 pages of a list without objects, and no end of it"),
        ("t{n}", "w{n}", "4,001 pages of a list, and no end of it"),
    ],
)
def test_an_endless_list_is_left(tokens: str, names: str, words: str) -> None:
    paging = Paging()
    with pytest.raises(Unreachable, match=words):
        for n in range(100_000):
            items = page(names.format(n=n, half=n % 2)) if names else []
            paging.insist_on_progress(tokens.format(n=n, half=n % 2), items)
