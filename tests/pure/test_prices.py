"""Prices: what a file says is added up, and nothing is guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from kaitoctl.errors import InputError
from kaitoctl.kaito import catalog, prices

SAMPLES = sorted((Path(__file__).parents[2] / "docs" / "prices").glob("*.yaml"))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_names_its_source_and_prices_types_that_there_are(path: Path) -> None:
    found = prices.read_prices(str(path))
    assert found.source and found.date and found.region and found.currency == "USD"
    assert len(found.per_hour) > 20
    assert found.per_hour.keys() <= catalog.instance_types().keys()
    assert all(0.1 < price < 200 for price in found.per_hour.values())


def test_there_are_samples_of_two_clouds() -> None:
    assert len(SAMPLES) == 2


def test_prices_add_up_and_an_unknown_type_is_named() -> None:
    found = prices.parse('{"currency": "EUR", "per_hour": {"a": 1.5, "b": 2}}', "x")
    assert found.of("a", 3) == 4.5 and found.of("c") is None
    assert found.total([("a", 2), ("b", 1), ("c", 1), ("c", 2)]) == (5.0, ("c",))
    assert found.words(1234.5) == "1,234.50 EUR per hour"
    assert prices.read_prices(None).of("a") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "0 documents"),
        ("currency: USD", "per_hour"),
        ("currency: dollars\nper_hour: {}", "currency"),
        ("currency: USD\nper_hour: {a: much}", "per_hour.a"),
        ("currency: USD\nper_hour: {a: -1}", "per_hour.a"),
        ("currency: USD\nper_hour: {a: .nan}", ".nan has no JSON form"),
        ("currency: USD\nper_hour: {a: 1}\nper_month: {}", "per_month"),
        ("currency: USD\nper_hour: {a: 1}\n---\n{}", "2 documents"),
        ("[1]", "x"),
        ("a: [", "x"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(text: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        prices.parse(text, "x")
    assert words in "\n".join([caught.value.message, *caught.value.problems])


@pytest.mark.parametrize("content", [None, b"\xff", b"a" * 1_000_001])
def test_a_file_that_cannot_be_read_is_said(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "prices.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"prices\.yaml"):
        prices.read_prices(str(path))
