from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from kaitoctl.kaito import api, catalog, json_schema, validation
from kaitoctl.kube import schema


def workspace(version: str = "v1beta1", **parts: Any) -> Any:
    base = {
        "apiVersion": f"kaito.sh/{version}",
        "kind": "Workspace",
        "metadata": {"name": "w"},
        "resource": {"labelSelector": {"matchLabels": {"apps": "w"}}},
        "inference": {"preset": {"name": "phi-4"}},
    }
    return {**base, **parts}


@pytest.mark.parametrize("versions", [["v1alpha1"], ["v1beta1"], list(api.VERSIONS)])
def test_it_is_a_json_schema_of_draft_2020_12(versions: list[str]) -> None:
    made = json_schema.of_workspaces(versions)
    Draft202012Validator.check_schema(made)
    assert made["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for version in versions:
        assert Draft202012Validator(made).is_valid(workspace(version))
    assert not Draft202012Validator(made).is_valid(workspace("v2"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "Workspaces"},
        {"metadata": {}},
        {"resource": {}},
        {"resource": {"labelSelector": {}, "instancetype": "x"}},
        {"inference": {"preset": {"name": "x", "accessMode": "secret"}}},
        {"inference": {"adapters": [{"source": {"volume": {}}}]}},
        {"inferrence": {}},
        {"resource": {"labelSelector": {}, "count": "2"}},
    ],
)
def test_an_editor_underlines_what_the_server_would_refuse_or_drop(wrong: Any) -> None:
    made = json_schema.of_workspaces(["v1beta1"])
    assert not Draft202012Validator(made).is_valid(workspace(**wrong))


def test_pod_templates_and_volumes_stay_open() -> None:
    free = {"template": {"spec": {"containers": [{"name": "c", "anything": 1}]}}}
    made = json_schema.of_workspaces(["v1alpha1"])
    assert Draft202012Validator(made).is_valid(workspace("v1alpha1", inference=free))


def test_editors_are_offered_the_names_of_their_version_and_what_is_deprecated() -> None:
    alpha = json_schema.of_workspaces(["v1alpha1"])["properties"]
    beta = json_schema.of_workspaces(["v1beta1"])["properties"]
    assert alpha["inference"]["properties"]["preset"]["properties"]["name"]["examples"] == list(
        catalog.presets()
    )
    assert "phi-4" in beta["inference"]["properties"]["preset"]["properties"]["name"]["examples"]
    assert "Standard_NC12s_v3" in alpha["resource"]["properties"]["instanceType"]["examples"]
    assert "Standard_NC12s_v3" not in beta["resource"]["properties"]["instanceType"]["examples"]
    assert beta["resource"]["properties"]["preferredNodes"]["deprecated"] is True
    assert "deprecated" not in alpha["resource"]["properties"]["preferredNodes"]


def described(node: Any) -> bool:
    below = [item for item in node.get("properties", {}).values() if isinstance(item, dict)]
    return all("description" in item and described(item) for item in below)


@pytest.mark.parametrize("version", api.VERSIONS)
def test_every_field_is_described(version: str) -> None:
    made = json_schema.of_workspaces([version])
    made["properties"]["metadata"] = {}
    assert all(described(made["properties"][part]) for part in ("resource", "inference", "tuning", "status"))


KEYS = [
    "name",
    "preset",
    "labelSelector",
    "matchLabels",
    "count",
    "instanceType",
    "adapters",
    "source",
    "mode",
    "x",
]
JSON = st.recursive(
    st.booleans() | st.integers(0, 3) | st.sampled_from(["public", "mig", "a"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=8,
)


@given(JSON, JSON, st.sampled_from(api.VERSIONS))
@settings(max_examples=200, deadline=None)
def test_it_agrees_with_the_crd(resource: Any, inference: Any, version: str) -> None:
    obj = workspace(version, resource=resource, inference=inference)
    accepted = schema.problems(obj, validation.schema_of(version), unknown="error") == []
    assert Draft202012Validator(json_schema.of_workspaces([version])).is_valid(obj) == accepted
