"""The shipped templates in both API versions: what they make fits CRD, JSON Schema and purpose."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from kaitoctl.errors import InputError
from kaitoctl.kaito import api, convert, json_schema, manifest, templates, validation
from kaitoctl.kaito.manifest import Adapter, WorkspaceRequest
from kaitoctl.kube import schema

ADAPTER = Adapter("style", "r.io/style:1", "0.5", ("pull",))
OUTPUT = {"output_image": "r.io/out:1", "output_secret": "push"}
CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("inference", {}, {}),
    ("inference", {"count": 2, "adapters": (ADAPTER,), "annotations": {"a/b": "c"}}, {"config": "server"}),
    ("adapters", {"adapters": (ADAPTER, Adapter("b", "r.io/b:1"))}, {}),
    ("private-image", {"private_image": "r.io/model:1", "image_pull_secrets": ("pull",)}, {}),
    ("private-image", {}, {"model_access_secret": "hf"}),
    ("custom-pod", {}, {"image": "r.io/server:1"}),
    (
        "custom-pod",
        {"image_pull_secrets": ("pull",)},
        {"image": "r.io/s", "command": ["a"], "args": ["b"], "gpus": 2, "port": 80, "env": {"A": 1}},
    ),
    ("tuning", {}, {**OUTPUT, "input_image": "r.io/data:1", "config": "trainer"}),
    ("tuning", {}, {**OUTPUT, "input_urls": ["https://x.io/a", "https://x.io/b"], "method": "lora"}),
    ("tuning", {}, {**OUTPUT, "input_urls": "https://x.io/a", "model_access_secret": "hf"}),
]


def made_by(name: str, version: str, fields: dict[str, Any], values: dict[str, Any]) -> Any:
    text, source = templates.text_of(name)
    request = WorkspaceRequest(
        **{
            "name": "w",
            "namespace": "models",
            "preset": "phi-3-mini-4k-instruct",
            "instance_type": "Standard_NC24ads_A100_v4",
            "labels": {"apps": "w"},
            "api_version": version,
            **fields,
        }
    )
    return manifest.workspace(request, text, values, source=source)


def suits(version: str, fields: dict[str, Any], values: dict[str, Any], name: str) -> bool:
    """Whether a case has a meaning in a version: images of one's own are the old way, tokens the new one."""
    return name != "private-image" or (version == "v1beta1") == ("model_access_secret" in values)


@pytest.mark.parametrize("version", api.VERSIONS)
@pytest.mark.parametrize(("name", "fields", "values"), CASES)
def test_every_template_passes_every_schema(
    name: str, fields: dict[str, Any], values: dict[str, Any], version: str
) -> None:
    if not suits(version, fields, values, name):
        with pytest.raises(InputError):
            made_by(name, version, fields, values)
        return
    made = made_by(name, version, fields, values)
    assert made["apiVersion"] == f"kaito.sh/{version}"
    assert schema.problems(made, validation.schema_of(version), unknown="error") == []
    for versions in ([version], api.VERSIONS):
        assert list(Draft202012Validator(json_schema.of_workspaces(versions)).iter_errors(made)) == []


def test_all_templates_are_tested_here() -> None:
    of_fleets = {"inference-set"}  # tests/cli/test_fleets.py
    assert {name for name, _, _ in CASES} | of_fleets == set(templates.names())


@pytest.mark.parametrize(
    ("name", "fields", "values"), [case for case in CASES if "private_image" not in case[1]]
)
def test_v1beta1_gets_nothing_deprecated(name: str, fields: dict[str, Any], values: dict[str, Any]) -> None:
    made = made_by(name, "v1beta1", {**fields, "count": 1}, values)
    assert set(made["resource"]) == {"instanceType", "labelSelector"}
    for use in ("inference", "tuning"):
        options = made.get(use, {}).get("preset", {})
        assert "accessMode" not in options
        assert set(options.get("presetOptions", {})) <= {"modelAccessSecret"}
    assert [remark.path for remark in convert.convert(made, "v1beta1").remarks] == []


@pytest.mark.parametrize("name", ["inference", "custom-pod", "tuning"])
def test_v1beta1_refuses_preferred_nodes_instead_of_losing_them(name: str) -> None:
    with pytest.raises(InputError, match="preferredNodes"):
        made_by(name, "v1beta1", {"preferred_nodes": ("n",)}, {"image": "x", "input_image": "x", **OUTPUT})
    values = {"image": "x", "input_image": "x", **OUTPUT}
    assert made_by(name, "v1alpha1", {"preferred_nodes": ("n",)}, values)["resource"]["preferredNodes"] == [
        "n"
    ]


@pytest.mark.parametrize("values", [{}, {"input_image": "r.io/d:1", "input_urls": ["https://x.io/d"]}])
def test_tuning_wants_its_data_from_one_place(values: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="one place"):
        made_by("tuning", "v1alpha1", {}, {**OUTPUT, **values})


def test_a_token_and_a_config_map_reach_the_model_server() -> None:
    made = made_by("inference", "v1beta1", {}, {"model_access_secret": "hf", "config": "server"})
    assert made["inference"] == {
        "preset": {"name": "phi-3-mini-4k-instruct", "presetOptions": {"modelAccessSecret": "hf"}},
        "config": "server",
    }


def test_every_template_says_what_it_is_for() -> None:
    for name in templates.names():
        text, _ = templates.text_of(name)
        assert text.startswith("{#-") and "Variables" in text.split("-#}")[0]
