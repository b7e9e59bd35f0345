from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaitoctl.errors import InputError
from kaitoctl.kaito import catalog, catalog_file
from kaitoctl.kube import schema, yaml_writer


def refused(text: str) -> str:
    with pytest.raises(InputError) as caught:
        catalog_file.parse(text, "mine.yaml")
    return "\n".join([caught.value.message, *caught.value.problems])


OWN = """
presets:
  - name: house-model
    gpu_count: 2
    total_gpu_memory_gib: 40
  - name: falcon-40b
    disk: 500Gi
models:
  - id: Acme/House-9B
    aliases: [house]
    weights_gib: 18
    bytes_per_token: 131072
    context_limit: 8192
instance_types:
  - name: rack-1
    gpus: 4
    gpu_memory_gib: 192
    gpu_model: NVIDIA L40S
"""


def test_a_file_extends_what_ships() -> None:
    known = catalog_file.parse(OWN, "mine.yaml")
    own = known.preset("house-model")
    assert own is not None and (own.access_mode, own.gpu_count, own.source) == ("private", 2, "own catalog")
    model = known.model("HOUSE")
    assert model is not None and (model.name, model.disk, model.distributed) == ("house-9b", "98Gi", True)
    rack = known.instance_type("rack-1")
    assert rack is not None and (rack.cloud, rack.gpu_memory_per_gpu_gib) == ("own", 48)
    assert known.preset("falcon-7b") is catalog.SHIPPED.preset("falcon-7b")
    assert len(known.presets) == len(catalog.SHIPPED.presets) + 1


def test_a_row_of_a_known_name_changes_only_what_it_says() -> None:
    changed, shipped = (
        catalog_file.parse(OWN, "mine.yaml").preset("falcon-40b"),
        catalog.SHIPPED.preset("falcon-40b"),
    )
    assert changed is not None and shipped is not None
    assert (changed.disk, shipped.disk) == ("500Gi", "400Gi")
    assert {**catalog_file.plain(changed), "disk": "400Gi"} == catalog_file.plain(shipped)


def test_what_ships_is_never_changed_by_a_file() -> None:
    catalog_file.parse(OWN, "mine.yaml")
    assert catalog.SHIPPED.preset("house-model") is None and catalog.SHIPPED.instance_type("rack-1") is None


def test_an_id_in_another_case_is_the_same_model() -> None:
    known = catalog_file.parse("models: [{id: MICROSOFT/PHI-4, weights_gib: 30}]", "mine.yaml")
    assert len(known.models) == len(catalog.models())
    found = known.model("phi-4")
    assert found is not None and found.weights_gib == 30


def test_every_row_that_ships_reads_back_from_what_we_print() -> None:
    rows = {
        "presets": [catalog_file.plain(row) for row in catalog.SHIPPED.presets.values()],
        "models": [catalog_file.plain(row) for row in catalog.models().values()],
        "instance_types": [catalog_file.plain(row) for row in catalog.instance_types().values()],
    }
    for text in (json.dumps(rows), yaml_writer.to_yaml(rows)):
        known = catalog_file.parse(text, "printed")
        assert dict(known.own_presets) == dict(catalog.SHIPPED.presets)
        assert dict(known.own_models) == dict(catalog.models())
        assert dict(known.own_instance_types) == dict(catalog.instance_types())


def test_an_empty_file_and_no_file_are_what_ships(tmp_path: Path) -> None:
    assert catalog_file.parse("", "mine.yaml").presets == catalog.SHIPPED.presets
    assert catalog_file.read(None) is catalog.SHIPPED
    assert catalog_file.read("") is catalog.SHIPPED


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("presets: [{name: x}]", "presets[0].gpu_count: required"),
        ("models: [{id: a/b}]", "models[0].weights_gib: required"),
        ("models: [{id: phi-4}]", "models[0].id"),
        ("instance_types: [{name: x, gpus: 0, gpu_memory_gib: 1}]", "instance_types[0].gpus"),
        ("instance_types: [{name: x, gpus: 3, gpu_memory_gib: 16}]", "shared equally"),
        ("presets: [{name: x, gpus: 1}]", "presets[0].gpus"),
        ("presets: [{name: falcon-7b, disk: '400'}]", "presets[0].disk"),
        ("presets: [{name: falcon-7b, distributed: true}]", "presets[0].world_size"),
        ("presets: [{name: a, gpu_count: many, total_gpu_memory_gib: 1}]", "presets[0].gpu_count"),
        ("presets: [{name: falcon-7b}, {name: falcon-7b}]", "presets[1].name"),
        ("instance_types: [{name: x, gpus: 1, gpu_memory_gib: 1, versions: [v9]}]", "versions[0]"),
        ("presets: 1", "presets"),
        ("modells: []", "models"),
        ("a: 1\n---\nb: 1", "2 documents"),
        ("- 1", "mine.yaml"),
        ("{", "mine.yaml:"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(text: str, words: str) -> None:
    message = refused(text)
    assert words in message and "mine.yaml" in message


def test_a_file_that_cannot_be_read_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"\xff\xfe\xfd")
    for path in (tmp_path / "none.yaml", tmp_path, tmp_path / "latin.yaml"):
        with pytest.raises(InputError, match=path.name):
            catalog_file.read(str(path))
    with pytest.raises(InputError):
        catalog_file.read("a\0b")


def test_the_schema_names_exactly_the_fields_of_the_rows() -> None:
    for section, fields in (
        ("presets", catalog.Preset._fields),
        ("models", catalog.Model._fields),
        ("instance_types", catalog.InstanceType._fields),
    ):
        assert set(catalog_file.SCHEMA["properties"][section]["items"]["properties"]) == set(fields)
    image = catalog_file.SCHEMA["properties"]["presets"]["items"]["properties"]["images"]["properties"][
        "v0.4"
    ]
    assert set(image["properties"]) == set(catalog.PresetImage._fields)
    assert schema.problems({}, catalog_file.SCHEMA, unknown="error") == []


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**6) | st.text(max_size=8) | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "id", "gpus", "gpu_count", "images", "v0.4", "transformers", "disk", "vllm"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["presets", "models", "instance_types", "x"]), VALUES, max_size=3))
@settings(max_examples=200, deadline=None)
def test_any_document_is_read_or_refused(document: dict[str, Any]) -> None:
    with contextlib.suppress(InputError):
        catalog_file.parse(json.dumps(document), "any")
