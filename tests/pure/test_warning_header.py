"""`Warning` headers, as API servers and those before them write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaitoctl.kube.warning_header import texts


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ('299 - "v1alpha1 is deprecated"', ["v1alpha1 is deprecated"]),
        ('299 - "one", 299 - "two"', ["one", "two"]),
        ('299 - "one, with a comma",299 k8s "two"', ["one, with a comma", "two"]),
        ('299 - "unknown field \\"spec.foo\\""', ['unknown field "spec.foo"']),
        ('299 - "a back\\\\slash"', ["a back\\slash"]),
        ('299 - "dated" "Wed, 21 Oct 2015 07:28:00 GMT", 299 - "next"', ["dated", "next"]),
        ('112 - "cache down", 299 - "ours"', ["ours"]),
        ('  299   agent:80   "spaces"  ', ["spaces"]),
        ('299 - ""', []),
        ('299 - "  "', []),
        ('299 - "line\none"', ["line one"]),
        ("299 - unquoted", []),
        ('299 - "not ended', []),
        ('299 - "one" rubbish', []),
        ('299 - "one", rubbish, 299 - "two"', ["one"]),
        ('29 - "short"', []),
        ('2999 - "long"', []),
        ("", []),
        ('299 - "gr\u00c3\u00bcn"', ["gr\u00fcn"]),  # UTF-8 that was read as Latin-1
        ('299 - "gr\u00fcn"', ["gr\u00fcn"]),
    ],
)
def test_what_the_server_warns_of_is_read(header: str, found: list[str]) -> None:
    assert texts(header) == found


@given(st.text(alphabet='29 -",\\x\n', max_size=60))
def test_no_header_is_too_odd(header: str) -> None:
    for text in texts(header):
        assert text
        assert "\n" not in text


@given(st.lists(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1), max_size=4))
def test_whatever_is_quoted_comes_back(given: list[str]) -> None:
    quoted = ('299 - "' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in given)
    assert texts(", ".join(quoted)) == given


def test_a_warning_without_end_is_cut() -> None:
    assert len(texts(f'299 - "{"x" * 50_000}"')[0]) == 1000
