from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import JSON, TEXT

from kaitoctl.errors import InputError
from kaitoctl.kube import documents, yaml_reader, yaml_scalars, yaml_writer


@given(st.dictionaries(TEXT, JSON, max_size=5))
@settings(max_examples=200, deadline=None)
def test_an_object_survives_being_written_and_read(obj: dict[str, Any]) -> None:
    text = yaml_writer.to_yaml(obj)
    assert documents.load_yaml(text, "x") == [obj]


_KEYS = st.sampled_from(
    ["on", '"on"', "1e3", "'1e3'", "0x10", "1.5", "a", '"a"', "!!str on", "<<x", "true", "~"]
)


@given(st.lists(_KEYS, min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_a_key_means_the_same_wherever_it_stands_in_a_text(keys: list[str]) -> None:
    def first(text: str) -> Any:
        document = next(documents.read(text, "x"))
        return document.fault.message if document.fault else document.obj["items"]

    alone = [first(f"items: [{{{key}: v}}]") for key in keys]
    faults = [one for one in alone if isinstance(one, str)]
    together = first(f"items: [{', '.join(f'{{{key}: v}}' for key in keys)}]")
    assert together == (faults[0] if faults else [item for one in alone for item in one])


def test_a_plain_key_is_understood_once_in_a_document(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def counted(text: str) -> str:
        asked.append(text)
        return yaml_scalars.key_text(text)

    monkeypatch.setattr(yaml_reader, "key_text", counted)
    (document,) = documents.read("items:\n" + "- name: a\n  on: 1\n" * 50, "x")
    assert document.obj["items"] == [{"name": "a", "true": 1}] * 50
    assert asked == ["items", "name", "on"]


def test_the_text_does_not_depend_on_the_order_of_keys() -> None:
    obj = {
        "status": {},
        "kind": "W",
        "inference": {"z": 1, "a": 2},
        "metadata": {"labels": {}, "name": "x"},
        "apiVersion": "v",
    }
    text = yaml_writer.to_yaml(obj)
    assert text == yaml_writer.to_yaml(dict(reversed(obj.items())))
    assert [line.split(":")[0] for line in text.splitlines()] == [
        "apiVersion", "kind", "metadata", "  name", "  labels", "inference", "  a", "  z", "status",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "0.2",
        "1e3",
        "true",
        "no",
        "y",
        "null",
        "~",
        "",
        "012",
        "0x1f",
        "1_000",
        "2024-01-01",
        "12:30",
        "=",
        "<<",
        ".inf",
    ],
)
def test_text_that_looks_like_something_else_is_quoted(text: str) -> None:
    assert yaml_writer.to_yaml({"a": text}).strip() in (f'a: "{text}"', f"a: '{text}'")


def test_no_aliases_are_written() -> None:
    shared = {"x": [1]}
    assert "&" not in yaml_writer.to_yaml({"a": shared, "b": shared})


SCALARS = {
    "1e3": 1000, "1.": 1, "0.5": 0.5, ".5": 0.5, "1_0.5": 10.5, "-7": -7, "+5": 5, "0o17": 15, "017": 15,
    "0x1F": 31, "-0x1F": -31, "0b11": 3, "1_000": 1000, "08": 8, "1" * 25: 1.1111111111111111e24,
    "1e400": "1e400", "yes": True, "Off": False, "y": True, "N": False, "tRue": "tRue", "~": None, "": None,
    "2024-01-01": "2024-01-01", "2024-01-01T00:00:00Z": "2024-01-01T00:00:00Z", "12:30:45": "12:30:45",
    "'1'": "1", "!!str 1": "1", "!!int '1'": 1, "0.2.1": "0.2.1", "+": "+", ".": ".", "0x": "0x",
}  # fmt: skip


@pytest.mark.parametrize(("text", "value"), SCALARS.items())
def test_a_scalar_has_the_type_of_its_form(text: str, value: Any) -> None:
    (read,) = documents.load_yaml(f"a: {text}", "f")
    assert read == {"a": value}
    assert type(read["a"]) is type(value)


def test_kubectl_reads_scalars_alike() -> None:
    kubectl = shutil.which("kubectl", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if kubectl is None:
        pytest.skip("no kubectl here")
    items = "".join(f"- {text}\n" for text in SCALARS)
    document = f"apiVersion: kaito.sh/v1alpha1\nkind: Workspace\nmetadata: {{name: w}}\nitems_: \n{items}"
    done = subprocess.run(
        [kubectl, "label", "--local", "-f", "-", "-o", "json", "a=b"],
        input=document, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["items_"] == list(SCALARS.values())
    assert documents.load_yaml(document, "f")[0]["items_"] == list(SCALARS.values())


NAMES_OF_KEYS = {
    "1": "1", "1e3": "1000", "0x10": "16", "08": "8", "on": "true", "'on'": "on", "n": "false", "1.5": "1.5",
    "2024-01-01": "2024-01-01", "12:30": "12:30", "!!str 017": "017", "a b": "a b", "<<x": "<<x",
}  # fmt: skip


@pytest.mark.parametrize(("text", "key"), NAMES_OF_KEYS.items())
def test_kubectl_reads_keys_alike(text: str, key: str) -> None:
    document = f"apiVersion: kaito.sh/v1alpha1\nkind: Workspace\nmetadata: {{name: w}}\nx: {{{text}: v}}\n"
    (read,) = documents.read(document, "f")
    assert read.obj["x"] == {key: "v"}
    assert read.position(f"x.{key}") == (4, 5)
    if kubectl := shutil.which("kubectl", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"):
        done = subprocess.run(
            [kubectl, "label", "--local", "-f", "-", "-o", "json", "a=b"],
            input=document, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert json.loads(done.stdout)["x"] == {key: "v"}


def test_a_key_that_is_null_is_refused() -> None:
    with pytest.raises(InputError, match="a key is null"):
        documents.load_yaml("a: {~: 1}", "f")


def test_keys_are_text_and_merges_fill_in() -> None:
    text = "1: a\non: b\nbase: &b {x: 1, z: 2}\nmore: {<<: *b, x: 3}\ntwo: {<<: [{w: 1}, *b]}"
    assert documents.load_yaml(text, "f") == [
        {
            "1": "a",
            "true": "b",
            "base": {"x": 1, "z": 2},
            "more": {"x": 3, "z": 2},
            "two": {"w": 1, "x": 1, "z": 2},
        }
    ]


def test_aliased_values_are_separate() -> None:
    (obj,) = documents.load_yaml("a: &x {k: [1]}\nb: *x", "f")
    obj["a"]["k"].append(2)
    assert obj["b"] == {"k": [1]}


def test_several_documents_and_empty_ones() -> None:
    assert documents.load_yaml("a: 1\n---\n# nothing\n---\nb: 2\n...\n", "f") == [{"a": 1}, {"b": 2}]
    assert documents.load_yaml("", "f") == []


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("a: 1\nb: ]", "f:2:4:", "expected"),
        ("a: 1\na: 2", "f:2:", "twice"),
        ("a: {b: 1, b: 2}", "f:1:", "twice"),
        ("'a': 1\n\"a\": 2", "f:2:", "twice"),
        ("a: *b", "f:1:4:", "*b"),
        ("a: &x [*x]", "f:1:", "*x"),
        ("a: !!python/object/apply:os.system ['x']", "f:1:", "tag"),
        ("a: !!binary aGk=", "f:1:", "tag"),
        ("? [a]\n: 1", "f:1:", "key is not text"),
        ("a: .nan", "f:1:4:", "JSON"),
        ("a: \x07", "f:1:4:", "not allowed"),
        ("a: {<<: 1}", "f:1:", "<<"),
        ("- 1", "f:", "a list instead of an object"),
        ("[" * 200_000, "f:1:", "nested deeper"),
        ("a: " + "{a: " * 500, "f:1:", "nested deeper"),
        (LAUGHS, "f:", "aliases"),
        ("a: \ud800", "f:1:4:", "not UTF-8"),
        ("x" * 10_000_001, "f:", "longer"),
    ],
    ids=range(18),
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_its_place(text: str, where: str, what: str) -> None:
    with pytest.raises(InputError) as caught:
        documents.load_yaml(text, "f")
    assert caught.value.message.startswith(where)
    assert what in caught.value.message


def test_a_chain_of_aliases_cannot_nest_without_end() -> None:
    chain = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{x: *a{n - 1}}}\n" for n in range(1, 300))
    with pytest.raises(InputError, match="nested deeper"):
        documents.load_yaml(chain, "f")


@given(st.text("ab:-[]{}&*!|>'\"\n #?,<~%@", max_size=60))
@settings(max_examples=300, deadline=None)
def test_reading_either_works_or_is_an_input_error(text: str) -> None:
    try:
        read = documents.load_yaml(text, "f")
    except InputError:
        return
    json.dumps(read, allow_nan=False)


# --- places --------------------------------------------------------------------------------------------

PLACED = """\
# first
---
metadata:
  name: w
  annotations:
    kaito.sh/runtime: vllm
    "quoted.key/x": y
inference:
  adapters:
    - source: {name: a, image: i}
      strength: "1"
    -   strength: "2"
---
list: [1, {a: 2},
  3]
"""


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("metadata", (3, 1)),
        ("metadata.name", (4, 3)),
        ("metadata.annotations[kaito.sh/runtime]", (6, 5)),
        ("metadata.annotations.kaito.sh/runtime", (6, 5)),
        ("metadata.annotations[quoted.key/x]", (7, 5)),
        ("inference.adapters[0]", (10, 7)),
        ("inference.adapters[0].source.image", (10, 25)),
        ("inference.adapters[1].strength", (12, 9)),
        # what is missing is where its parent is
        ("inference.adapters[1].source.name", (12, 9)),
        ("inference.adapters[7].source", (9, 3)),
        ("inference.preset.name", (8, 1)),
        ("tuning", (3, 1)),
        ("", (3, 1)),
    ],
)
def test_a_path_has_a_place(path: str, place: tuple[int, int]) -> None:
    document = next(documents.read(PLACED, "f"))
    assert document.position(path) == place
    assert document.line(4) == "  name: w"


def test_each_document_counts_the_lines_of_the_whole_file() -> None:
    first, second = documents.read(PLACED, "f")
    assert (first.index, second.index) == (0, 1)
    assert second.position("list[1].a") == (14, 12)
    assert second.position("list[2]") == (15, 3)
    assert second.line(15) == "  3]"


def test_items_of_a_list_are_documents_with_places() -> None:
    text = json.dumps({"kind": "List", "items": [{"kind": "A"}, {"kind": "B", "n": {"m": 1}}, 3]}, indent=1)
    found = list(documents.read(text, "f"))
    assert [document.obj.get("kind") for document in found] == ["A", "B", None]
    assert [document.index for document in found] == [0, 1, 2]
    line, _ = found[1].position("n.m") or (0, 0)
    assert found[1].line(line).strip() == '"m": 1'


def test_json_that_yaml_cannot_read_is_read_without_places() -> None:
    (document,) = documents.read('{"a": "\\ud83d\\ude00"}', "f")
    assert document.obj == {"a": "\N{GRINNING FACE}"}
    assert document.position("a") is None


def test_one_bad_document_spoils_no_other() -> None:
    text = "a: 1\n---\nb: [\n---\n- 1\n---\nc: 1\nc: 2\n---\n%bad\n---\nd: 4\n"
    found = list(documents.read(text, "f"))
    assert [document.obj for document in found if not document.fault] == [{"a": 1}, {"d": 4}]
    faults = [document.fault for document in found if document.fault]
    assert [(fault.line, fault.message[:20]) for fault in faults[1:3]] == [
        (5, "is a list instead of"),
        (8, "the key 'c' stands t"),
    ]


@pytest.mark.parametrize(
    "before", ["%YAML 1.1\n", "%YAML 1.2\n", "# of it\n%TAG ! tag:x,2000:\n", "\n%YAML 1.2\n\n"]
)
def test_a_directive_is_a_document_of_its_own_which_kubectl_cannot_read(before: str) -> None:
    first, second = documents.read(f"{before}---\na: 1\n", "f")
    assert first.fault is not None
    assert "directive" in first.fault.message
    assert before.splitlines()[first.fault.line - 1].startswith("%")
    assert documents.as_taken(first) is None
    assert (second.obj, second.fault) == ({"a": 1}, None)


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ('{"a":1}\n{"a":2}\n{"a":3}\n', [1, 2, 3]),
        ('{"a":1}{"a":2} {"a":3}', [1, 1, 1]),
        ('\n{\n "a":1\n}\n\n{"a":2}\n{\n "a":\n 3}', [3, 6, 8]),
        ('{"a":1}\r\n{"a":2}\r\n{"a":3}', [1, 2, 3]),
        ('{"a":1}\n---\n{"a":2}\n---\n{"a":3}', [1, 3, 5]),
    ],
)
def test_a_stream_of_json_is_a_document_for_each_object(text: str, places: list[int]) -> None:
    found = list(documents.read(text, "f"))
    assert [document.fault for document in found] == [None] * 3
    assert [document.obj for document in found] == [{"a": 1}, {"a": 2}, {"a": 3}]
    assert [(document.position("a") or (0, 0))[0] for document in found] == places


@pytest.mark.parametrize("rest", ["{", "oops", '{"a":2} {"b"', "}"])
def test_what_is_wrong_in_a_stream_of_json_spoils_no_object_before_it(rest: str) -> None:
    first, *more = documents.read('{"a":1}\n{"a":3}\n' + rest, "f")
    assert (first.obj, first.fault) == ({"a": 1}, None)
    assert more[-1].fault is not None


def test_braces_in_text_are_no_stream() -> None:
    (found,) = documents.read('{"a": "} {", "b": "}{"}', "f")
    assert found.obj == {"a": "} {", "b": "}{"}


def test_a_mark_of_files_that_were_put_together_is_no_text() -> None:
    found = list(documents.read("a: 1\n---\n\ufeffa: 2\n---\r\n\ufeffa: 3\n", "f"))
    assert [(document.obj, document.fault) for document in found] == [({"a": n}, None) for n in (1, 2, 3)]


KEYS = st.text("abc./0-", min_size=1, max_size=6)


@given(
    st.dictionaries(KEYS, st.lists(st.dictionaries(KEYS, st.integers(), max_size=3), max_size=3), max_size=4)
)
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_found_where_it_stands(obj: dict[str, Any]) -> None:
    text = yaml_writer.to_yaml(obj)
    found = list(documents.read(text, "f")) if obj else []
    for document in found:
        for key in obj:
            line, column = document.position(f"[{key}]") or (0, 0)
            assert document.line(line)[column - 1 :].lstrip("'\"? ").startswith(key[:1])


# --- bounds --------------------------------------------------------------------------------------------


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_documents_or_faults(raw: bytes) -> None:
    for document in documents.read(raw.decode("utf-8-sig", "surrogateescape"), "f"):
        assert (document.fault is None) or (document.obj == {} and document.fault.line >= 1)
        document.position("a.b[0]")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: [" + "b," * 2_500_000 + "]", "values in one file"),
        ("---\na: 1\n" * 500_000, "documents in one file"),
        ("---\n" * 1_250_000, "documents in one file"),
        ("---\nx: &x [1,1,1,1,1,1,1,1]\ny: &y [*x,*x,*x,*x,*x,*x]\nz: [*y,*y,*y,*y]\n" * 9_999, "aliases"),
        ('{"a": [' + "1," * 2_500_000 + "1]}", "values in one file"),
        ('{"a":' * 1_000_000, "nested deeper"),
        ("x" * 10_000_001, "longer than"),
    ],
    ids=["values", "documents", "empty documents", "aliases", "json", "depth", "length"],
)
def test_five_megabytes_of_nonsense_stop_at_a_bound(text: str, why: str) -> None:
    read = good = 0
    for document in documents.read(text, "f"):
        read += 1
        good += document.fault is None
    assert document.fault is not None
    assert why in document.fault.message
    assert read <= documents.MAX_DOCUMENTS + 1


def test_a_bound_stops_the_reading_and_not_only_its_document() -> None:
    text = "a: [" + "b," * documents.MAX_VALUES + "]\n---\nb: 1\n"
    (document,) = documents.read(text, "f")
    assert document.fault is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: Workspace\nmetadata:\n  name: {{ .Release.Name }}-phi\n", "name: {{ .Release.Name }} was"),
        ("a: 1\n---\nkind: Workspace\nmetadata: {name: x}\nb: {{ x }}\n", "b: {{ x }} was"),
        ("{{- if .Values.on }}\nkind: Workspace\n{{- end }}\n", "{{- if .Values.on }} was"),
        ("items:\n- count: {{ .Values.count }}\n", "count: {{ .Values.count }} was"),
    ],
)
def test_a_template_that_nobody_rendered_is_named_with_its_field(text: str, message: str) -> None:
    faults = [one.fault.message for one in documents.read(text, "f") if one.fault]
    assert len(faults) == 1
    assert faults[0] == f"{message} not filled in: render this template (Helm, Go, Jinja) first"


@pytest.mark.parametrize("text", ['a: ["{{ x }}", \n', "a: '{{ x }}' b\n", "{a: 1}: 2\n", "- ]\n"])
def test_what_stands_quoted_is_no_placeholder_and_other_faults_stay(text: str) -> None:
    faults = [one.fault.message for one in documents.read(text, "f") if one.fault]
    assert faults
    assert "render" not in faults[0]
