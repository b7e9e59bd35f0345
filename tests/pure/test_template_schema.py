"""A JSON Schema beside a template judges the template's values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kaitoctl.errors import InputError
from kaitoctl.kaito import template_schema

SCHEMA: Any = {
    "type": "object",
    "properties": {"count": {"maximum": 2}, "instance_type": {"enum": ["Standard_NC12s_v3"]}},
    "required": ["team"],
}


def refused(file: Path, values: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        template_schema.insist(values, file)
    return caught.value


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    file = tmp_path / "mine.schema.json"
    file.write_text(json.dumps(SCHEMA))
    return file


@pytest.mark.parametrize("name", ["mine.yaml.j2", "mine.yml.j2", "mine.j2", "mine.yaml"])
def test_it_is_found_by_the_name_of_the_template(tmp_path: Path, schema: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    assert template_schema.beside(str(tmp_path / name)) == schema
    assert template_schema.beside(str(tmp_path / f"other-{name}")) is None
    assert template_schema.beside("inference") is None


def test_values_that_fit_pass_and_others_are_named_with_their_paths(schema: Path) -> None:
    template_schema.insist({"count": 2, "instance_type": "Standard_NC12s_v3", "team": "a"}, schema)
    error = refused(schema, {"count": 3, "instance_type": "x"})
    assert [line.partition(":")[0] for line in error.problems] == ["$", "count", "instance_type"]
    assert "'team' is a required property" in error.problems[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[]", "is an object"),
        ('{"type": "no"}', "not a JSON Schema"),
        ('{"$ref": "https://example.com/x.json"}', "references must stay in the file"),
        ('{"$ref": "#/$defs/none"}', "references must stay in the file"),
    ],
)
def test_what_is_no_schema_is_said_of_the_file(schema: Path, text: str, words: str) -> None:
    schema.write_text(text)
    error = refused(schema, {})
    assert str(schema) in error.message
    assert words in f"{error.message} {error.hint!r}"


def test_many_problems_are_counted_and_not_all_shown(schema: Path) -> None:
    schema.write_text(json.dumps({"additionalProperties": False, "patternProperties": {"^x": False}}))
    error = refused(schema, {f"x{number}": 1 for number in range(30)})
    assert error.problems[-1] == "and 20 more"
