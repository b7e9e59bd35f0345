"""What the API server asks of metadata, and what it does about nulls, numbers and encodings, before KAITO."""

from __future__ import annotations

import codecs
import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaitoctl.kaito import validation
from kaitoctl.kaito.validation import Setting, object_meta
from kaitoctl.kube import documents, schema

GOOD: dict[str, Any] = {
    "apiVersion": "kaito.sh/v1alpha1",
    "kind": "Workspace",
    "metadata": {"name": "w", "annotations": {"kaito.sh/runtime": "transformers"}},
    "resource": {"instanceType": "Standard_NC12s_v3", "labelSelector": {"matchLabels": {"a": "b"}}},
    "inference": {"preset": {"name": "falcon-7b"}},
}
OWNER = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}
DEEP = {"apiVersion": "a/b/c"}


def with_metadata(**fields: Any) -> dict[str, Any]:
    return {**GOOD, "metadata": {"name": "w", **fields}}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, []),
        ({"labels": {"a": 1}}, [("KW106", "metadata.labels[a]")]),
        ({"labels": {"a": True}}, [("KW106", "metadata.labels[a]")]),
        ({"labels": {"a": ["x"]}}, [("KW106", "metadata.labels[a]")]),
        ({"labels": {"a": None}}, []),
        ({"labels": ["a"]}, [("KW106", "metadata.labels")]),
        ({"annotations": {"a": 1.5}}, [("KW106", "metadata.annotations[a]")]),
        ({"annotations": "a"}, [("KW106", "metadata.annotations")]),
        ({"annotations": {"a": "x" * 262143}}, []),
        ({"annotations": {"a": "x" * 262144}}, [("KW107", "metadata.annotations")]),
        ({"annotations": {"a": "é" * 131072}}, [("KW107", "metadata.annotations")]),
        ({"annotations": {str(n): "x" * 1000 for n in range(300)}}, [("KW107", "metadata.annotations")]),
        ({"finalizers": ["example.com/a", "orphan"]}, []),
        ({"finalizers": ["mine"]}, []),  # of custom resources it is warned of, and no more
        ({"finalizers": ["a b"]}, [("KW108", "metadata.finalizers[0]")]),
        ({"finalizers": ["a/b/c"]}, [("KW108", "metadata.finalizers[0]")]),
        ({"finalizers": [1]}, [("KW106", "metadata.finalizers[0]")]),
        ({"finalizers": "x"}, [("KW106", "metadata.finalizers")]),
        ({"finalizers": ["orphan", "foregroundDeletion"]}, [("KW108", "metadata.finalizers")]),
        ({"ownerReferences": [OWNER]}, []),
        ({"ownerReferences": [{**OWNER, "uid": ""}]}, [("KW108", "metadata.ownerReferences[0].uid")]),
        ({"ownerReferences": [{**OWNER, **DEEP}]}, [("KW108", "metadata.ownerReferences[0].apiVersion")]),
        ({"ownerReferences": [{**OWNER, "x": 1}]}, [("KW102", "metadata.ownerReferences[0].x")]),
        ({"ownerReferences": ["x"]}, [("KW106", "metadata.ownerReferences[0]")]),
        (
            {"ownerReferences": [{**OWNER, "controller": True}, {**OWNER, "uid": "v", "controller": True}]},
            [("KW108", "metadata.ownerReferences[1].controller")],
        ),
        ({"managedFields": [{"operation": "Apply", "fieldsType": "FieldsV1"}]}, []),
        # Kubernetes 1.37 makes its own of them, whatever stands there, as long as it can be read.
        ({"managedFields": [{"operation": "Write"}]}, []),
        ({"managedFields": [{"operation": "Update", "fieldsType": "FieldsV2", "manager": "x" * 200}]}, []),
        ({"managedFields": [5]}, [("KW106", "metadata.managedFields[0]")]),
        ({"generateName": "w-"}, []),
        ({"generateName": "W-"}, [("KW108", "metadata.generateName")]),
        ({"generation": 1.5}, [("KW106", "metadata.generation")]),
        ({"creationTimestamp": None}, []),
        ({"creationTimestamp": "2026-01-01T00:00:00Z"}, []),
        ({"creationTimestamp": "yesterday"}, [("KW106", "metadata.creationTimestamp")]),
        ({"lables": {"a": "b"}}, [("KW102", "metadata.lables")]),
        ({"uid": 7}, [("KW106", "metadata.uid")]),
    ],
)
def test_metadata_is_asked_as_the_api_server_asks(
    fields: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    found = [(p.code, p.path) for p in validation.judge(with_metadata(**fields)) if p.code != "KW160"]
    assert found == expected
    for problem in validation.judge(with_metadata(**fields)):
        if (problem.code, problem.path) in expected:
            assert (problem.kaito, problem.severity) == ("refuses", "error")


@pytest.mark.parametrize(("key", "is_key"), [("EXAMPLE.com/Foo", True), ("Foo", True), ("A b", False)])
def test_the_domain_of_an_annotation_may_have_upper_case(key: str, is_key: bool) -> None:
    found = [p.code for p in validation.judge(with_metadata(annotations={key: "x"})) if p.code == "KW113"]
    assert found == ([] if is_key else ["KW113"])


def test_a_name_may_be_left_to_the_server() -> None:
    made = {**GOOD, "metadata": {"generateName": "w-", "annotations": GOOD["metadata"]["annotations"]}}
    assert validation.judge(made) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from(["labels", "annotations", "finalizers", "ownerReferences", "managedFields", "x"])


@given(st.dictionaries(FIELDS, JSON) | JSON)
@settings(max_examples=200)
def test_any_metadata_is_judged(metadata: Any) -> None:
    list(object_meta.problems(metadata))


# --- nulls -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "codes"),
    [
        ("resource.count", []),
        ("resource.preferredNodes", []),
        ("resource.instanceType", ["KW138"]),
        ("inference.preset.accessMode", []),
        ("inference.preset.presetOptions", []),
        ("inference.adapters", []),
        ("inference.template", []),
        ("tuning", []),
        ("status", []),
        ("metadata.labels", []),
        ("metadata.namespace", []),
        ("resource.labelSelector", ["KW101"]),
        ("resource.labelSelector.matchLabels", ["KW120"]),
        ("inference", ["KW140"]),
    ],
)
def test_a_null_is_what_is_missing(path: str, codes: list[str]) -> None:
    made = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    target = made
    for step in parents:
        target = target.setdefault(step, {})
    target[last] = None
    assert [problem.code for problem in validation.judge(made, Setting("v0.4"))] == codes
    if not codes:
        assert validation.judge(GOOD, Setting("v0.4"), old=made) == []


def test_nulls_go_where_the_schema_speaks_of_them_and_nowhere_else() -> None:
    plain = {"type": "string"}
    known = {
        "type": "object",
        "properties": {
            "a": plain,
            "b": {**plain, "default": "x"},
            "c": {**plain, "nullable": True},
            "d": {"type": "object", "additionalProperties": plain},
            "e": {"type": "array", "items": {"type": "object", "properties": {"a": plain}}},
            "f": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    value = {
        "a": None, "b": None, "c": None, "d": {"k": None, "l": "m"}, "e": [None, {"a": None}],
        "f": {"n": None},
    }  # fmt: skip
    assert schema.without_nulls(value, known) == {
        "c": None, "d": {"l": "m"}, "e": [None, {}], "f": {"n": None},
    }  # fmt: skip
    same = {"a": "x", "d": {"l": "m"}}
    assert schema.without_nulls(same, known) is same


# --- numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", []),
        ("1.0", []),
        ("1e0", []),
        ("2147483647", []),
        ("2147483648", [("KW123", "never-ready")]),
        ("9223372036854775807", [("KW123", "never-ready")]),
        ("9223372036854775808", [("KW101", "refuses")]),
        ("1e20", [("KW101", "refuses")]),
        ("-9223372036854775809", [("KW101", "refuses")]),
        ("1.5", [("KW101", "refuses")]),
        ('"1"', [("KW101", "refuses")]),
    ],
)
def test_a_number_is_judged_by_the_bits_that_hold_it(text: str, expected: list[tuple[str, str]]) -> None:
    (count,) = documents.load_yaml(f"count: {text}\n", "x")
    template = {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}
    made = {**GOOD, "resource": {**GOOD["resource"], **count}, "inference": template}
    found = [(p.code, p.kaito) for p in validation.judge(made, Setting("v0.4"))]
    assert found == expected


# --- encodings ---------------------------------------------------------------------------------------------

TEXT = "kind: Workspace\nmetadata: {name: é}\n"


@pytest.mark.parametrize(
    "raw",
    [
        TEXT.encode("utf-8"),
        codecs.BOM_UTF8 + TEXT.encode("utf-8"),
        codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
    ],
    ids=["utf-8", "utf-8 with a mark", "utf-16 little-endian", "utf-16 big-endian"],
)
def test_a_file_is_read_in_the_encoding_that_it_marks(raw: bytes) -> None:
    assert documents.as_kubectl_reads(raw) == TEXT
    assert documents.decode_text(raw, "x") == TEXT


@pytest.mark.parametrize(
    "raw", [b"a: \xe2\x28\xa1", b"\x80", codecs.BOM_UTF16_LE + b"a", "a: é".encode("latin-1")]
)
def test_bytes_that_are_no_text_are_a_fault_and_never_an_exception(raw: bytes) -> None:
    found = list(documents.read(documents.as_kubectl_reads(raw), "x"))
    assert all(document.fault is not None for document in found)
