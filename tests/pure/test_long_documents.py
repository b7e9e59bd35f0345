"""Long JSON documents, written as their items come, are those that would be written whole."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from kaitoctl.screens import output

HEAD = {"workspace": "a/b", "not_found": [], "selected": ["[]", "[\n"]}
VALUES: list[Any] = [
    {},
    {"name": "a", "findings": [], "gpus": {}, "nested": [[], [{"a": [1, 2.5, None, True]}]]},
    {"name": "é\x1b[2J\x7f\u2028\n", "half": "\ud800", "large": 10**30, "no number": float("inf")},
]


@pytest.mark.parametrize("count", [0, 1, 2, output._AT_ONCE, output._AT_ONCE + 1, 2 * output._AT_ONCE + 7])
@pytest.mark.parametrize("value", VALUES, ids=["empty", "nested", "odd"])
@pytest.mark.parametrize("is_fast", [False, True], ids=["json", "msgspec"])
def test_a_long_document_is_the_same_as_in_one_piece(
    count: int,
    value: Any,
    is_fast: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import msgspec

    if is_fast:
        monkeypatch.setitem(sys.modules, "msgspec", msgspec)
    else:
        monkeypatch.delitem(sys.modules, "msgspec")
    output.long_document(HEAD, "nodes", iter([value] * count))
    in_parts = capsys.readouterr().out
    monkeypatch.delitem(sys.modules, "msgspec", raising=False)
    output.document({**HEAD, "nodes": [value] * count})
    assert in_parts == capsys.readouterr().out
    assert json.loads(in_parts) == {**HEAD, "nodes": [value] * count}


def test_no_more_items_are_asked_for_than_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    written: list[int] = []

    def items() -> Any:
        for number in range(3 * output._AT_ONCE):
            if number % output._AT_ONCE == 0:
                written.append(capsys.readouterr().out.count('"number"'))
            yield {"number": number}

    output.long_document(HEAD, "nodes", items())
    assert written == [0, output._AT_ONCE, output._AT_ONCE]
