from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaitoctl.kube.objects import Object, quantity
from kaitoctl.sandbox import protobuf, types
from kaitoctl.sandbox.builtin import BUILTIN

POD = types.structs()["core.v1.Pod"]
DEPLOYMENT = types.structs()["apps.v1.Deployment"]


def test_every_type_in_the_table_is_there() -> None:
    for struct in types.structs().values():
        for item in struct.fields:
            name = item.type.lstrip("*[]{}")
            assert name in types.structs() or not any(letter.isupper() for letter in name), item


def test_every_served_kind_has_a_type_and_a_shape() -> None:
    for resource in BUILTIN:
        assert resource.struct is not None
        assert resource.shape.child("metadata").child("finalizers").is_set
        assert resource.shape.child("metadata").child("ownerReferences").keys == (("uid", None),)


def test_shapes_know_keys_defaults_of_keys_and_what_is_one_value() -> None:
    pod = types.shape(POD).child("spec")
    container = pod.child("containers").entry
    assert container.child("ports").keys == (("containerPort", None), ("protocol", "TCP"))
    assert container.child("ports").merge == "containerPort"
    assert pod.child("nodeSelector").atomic
    assert pod.child("tolerations").keys == ()
    assert types.shape(DEPLOYMENT).child("spec").child("selector").atomic


@given(st.integers(-(10**12), 10**12), st.sampled_from(["", "m", "k", "Mi", "Gi", "e3", "n", "E", "Ki"]))
def test_a_canonical_quantity_means_the_same_and_stays(number: int, unit: str) -> None:
    text = types.canonical_quantity(f"{number}{unit}")
    assert quantity(text) == quantity(f"{number}{unit}")
    assert types.canonical_quantity(text) == text


# Source: the examples of k8s.io/apimachinery `pkg/api/resource/quantity_test.go`, and kubectl's output.
@pytest.mark.parametrize(
    ("text", "canonical"),
    [("1000m", "1"), ("0.5", "500m"), ("1024Mi", "1Gi"), ("1500", "1500"), ("1000", "1k"), ("0.5Gi", "512Mi"),
     ("1Ki", "1Ki"), ("100Ki", "100Ki"), ("1e3", "1e3"), ("0", "0"), ("0Gi", "0"), ("1.5k", "1500")],
)  # fmt: skip
def test_quantities_are_written_in_the_largest_unit_without_a_fraction(text: str, canonical: str) -> None:
    assert types.canonical_quantity(text) == canonical


def test_reading_again_changes_nothing() -> None:
    container = {"name": "c", "resources": {"limits": {"cpu": "1000m"}}, "stdin": False}
    template = {"metadata": {"labels": {}}, "spec": {"containers": [container]}}
    once, unknown = types.decode(DEPLOYMENT, {"spec": {"template": template, "replicas": 0, "x": 1}})
    assert unknown == ["spec.x"]
    assert once["spec"]["replicas"] == 0, "a pointer: zero is not nothing"
    assert once["spec"]["strategy"] == {}
    assert types.decode(DEPLOYMENT, once) == (once, [])


# --- protobuf, with messages written out by hand ---------------------------------------------------------


def message(*fields: tuple[int, Any]) -> bytes:
    made = b""
    for number, value in fields:
        if isinstance(value, int):
            made += _varint(number << 3) + _varint(value & (1 << 64) - 1)
        else:
            raw = value.encode() if isinstance(value, str) else value
            made += _varint(number << 3 | 2) + _varint(len(raw)) + raw
    return made


def _varint(value: int) -> bytes:
    made = b""
    while value > 127:
        made += bytes([value & 127 | 128])
        value >>= 7
    return made + bytes([value])


def enveloped(api_version: str, kind: str, raw: bytes) -> bytes:
    return b"k8s\x00" + message((1, message((1, api_version), (2, kind))), (2, raw), (3, ""), (4, ""))


def test_a_message_is_read_as_the_object_that_it_is() -> None:
    meta = message((1, "x"), (8, b""), (11, message((1, "a"), (2, "b"))))
    body = enveloped("v1", "Secret", message((1, meta), (2, message((1, "k"), (2, b"\xff"))), (3, "Opaque")))
    obj = protobuf.decode(body)
    assert obj == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "x", "creationTimestamp": None, "labels": {"a": "b"}},
        "data": {"k": base64.b64encode(b"\xff").decode()},
        "type": "Opaque",
    }


def test_embedded_structs_quantities_times_and_negative_numbers() -> None:
    volume = message((1, "v"), (2, message((6, message((1, "s"))))))
    limits = message((1, message((1, "cpu"), (2, message((1, "2"))))))
    container = message((1, "c"), (8, limits), (6, message((3, 80))))
    spec = message((1, volume), (2, container), (4, -5))
    meta = message((1, "p"), (9, message((1, 60), (2, 0))))
    obj = protobuf.decode(enveloped("v1", "Pod", message((1, meta), (2, spec))))
    assert obj["metadata"]["deletionTimestamp"] == "1970-01-01T00:01:00Z"
    assert obj["spec"]["volumes"] == [{"name": "v", "secret": {"secretName": "s"}}]
    assert obj["spec"]["containers"][0]["resources"] == {"limits": {"cpu": "2"}}
    assert obj["spec"]["terminationGracePeriodSeconds"] == -5


def test_numbers_or_strings_and_raw_json() -> None:
    port = message((3, 80), (4, message((1, 0), (2, 8080))))
    named = message((3, 81), (4, message((1, 1), (3, "http"))))
    service = protobuf.decode(enveloped("v1", "Service", message((2, message((1, port), (1, named))))))
    assert [item["targetPort"] for item in service["spec"]["ports"]] == [8080, "http"]
    raw = message((1, json.dumps({"a": 1})))
    revision = protobuf.decode(enveloped("apps/v1", "ControllerRevision", message((2, raw), (3, 7))))
    assert (revision["data"], revision["revision"]) == ({"a": 1}, 7)


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"k8s\x00\xff", b"k8s\x00" + message((1, 5)), enveloped("v1", "Nothing", b""),
     enveloped("v1", "Pod", message((1, message((8, message((1, 1 << 60))))))),
     enveloped("v1", "Pod", b"\x0a\xff"), enveloped("v1", "Pod", message((1, 3)))],
)  # fmt: skip
def test_what_is_no_message_is_an_error_and_no_crash(body: bytes) -> None:
    with pytest.raises(ValueError):
        protobuf.decode(body)


@given(st.binary(max_size=80))
def test_any_bytes_are_an_object_or_an_error(raw: bytes) -> None:
    try:
        obj: Object = protobuf.decode(enveloped("v1", "Pod", raw))
    except ValueError:
        return
    assert obj["kind"] == "Pod"
