"""CustomResourceDefinitions and their objects."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from sandbox_api.serving import (
    CRDS,
    STRATEGIC,
    WIDGET_SCHEMA,
    WIDGETS,
    Client,
    widget,
    widget_crd,
)

from kaitoctl.kube.objects import Object

CRD = f"{CRDS}/widgets.example.com"
WIDGET = f"{WIDGETS}/w"


def _two_versions() -> Object:
    crd = widget_crd()
    older = copy.deepcopy(crd["spec"]["versions"][0])
    older.update(name="v1beta1", storage=False)
    older["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["old"] = {
        "type": "string",
        "default": "yes",
    }
    crd["spec"]["versions"].append(older)
    return crd


def test_a_definition_is_served_at_once_and_says_so(server: Client) -> None:
    assert server.get(WIDGETS).status == 404
    server.define(widget_crd())
    crd = server.get(CRD)
    conditions = {item["type"]: item["status"] for item in crd["status"]["conditions"]}
    assert conditions == {"Established": "True", "NamesAccepted": "True"}
    assert crd["status"]["storedVersions"] == ["v1"]
    assert crd["status"]["acceptedNames"]["listKind"] == "WidgetList"
    listed = server.get(WIDGETS)
    assert (listed["kind"], listed["items"]) == ("WidgetList", [])


def test_applying_a_definition_twice_changes_nothing(server: Client) -> None:
    server.apply(CRD, widget_crd())
    server.until(lambda: server.get(WIDGETS).status == 200)
    first = server.get(CRD)
    assert server.apply(CRD, widget_crd()).body == first.body


def test_defaults_are_filled_in(server: Client) -> None:
    server.define(widget_crd())
    created = server.create(WIDGETS, widget("w", parts=[{"name": "a"}], mode=None))
    assert created["spec"] == {"size": 1, "mode": "slow", "parts": [{"name": "a", "count": 1}]}
    assert created["metadata"]["generation"] == 1


def test_unknown_fields_are_dropped_warned_about_or_refused(server: Client) -> None:
    server.define(widget_crd())
    obj = widget("w", colour="red", free={"any": {"thing": 1}})
    warned = server.create(WIDGETS, obj)
    assert warned.headers["Warning"] == '299 - "unknown field \\"spec.colour\\""'
    assert warned["spec"] == {"size": 1, "mode": "slow", "free": {"any": {"thing": 1}}}
    assert "Warning" not in server.create(WIDGETS, widget("x", colour=1), fieldValidation="Ignore").headers
    refused = server.create(WIDGETS, widget("y", colour=1), fieldValidation="Strict")
    assert refused.status == 400
    assert 'strict decoding error: unknown field "spec.colour"' in refused["message"]


@pytest.mark.parametrize(
    ("spec", "reason", "message"),
    [
        (
            {"size": 0},
            "FieldValueInvalid",
            "Invalid value: 0: spec.size in body should be greater than or equal to 1",
        ),
        (
            {"size": "x"},
            "FieldValueTypeInvalid",
            'Invalid value: "string": spec.size in body must be of type integer',
        ),
        ({"size": None}, "FieldValueRequired", "Required value"),
        (
            {"mode": "mad"},
            "FieldValueNotSupported",
            'Unsupported value: "mad": supported values: "slow", "fast"',
        ),
        ({"port": 1.5}, "FieldValueTypeInvalid", "must be of type integer,string"),
        ({"tags": ["a", "a"]}, "FieldValueDuplicate", 'Duplicate value: "a"'),
        ({"parts": [{"name": "a"}, {"name": "a"}]}, "FieldValueDuplicate", "Duplicate value"),
        ({"parts": [{}]}, "FieldValueRequired", "Required value"),
    ],
)
def test_a_broken_rule_is_422_with_its_cause(server: Client, spec: Any, reason: str, message: str) -> None:
    server.define(widget_crd())
    answer = server.create(WIDGETS, widget("w", **spec))
    assert (answer.status, answer["reason"]) == (422, "Invalid")
    assert answer["message"].startswith('Widget.example.com "w" is invalid: spec.')
    (cause,) = answer["details"]["causes"]
    assert cause["reason"] == reason
    assert message in cause["message"]


def test_generation_counts_everything_but_metadata_and_status(server: Client) -> None:
    server.define(widget_crd())
    server.create(WIDGETS, widget("w"))
    assert server.merge(WIDGET, {"metadata": {"annotations": {"a": "b"}}})["metadata"]["generation"] == 1
    assert server.merge(f"{WIDGET}/status", {"status": {"ready": True}})["metadata"]["generation"] == 1
    assert server.merge(WIDGET, {"spec": {"size": 2}})["metadata"]["generation"] == 2


def test_a_put_of_a_custom_resource_needs_its_version(server: Client) -> None:
    server.define(widget_crd())
    created = server.create(WIDGETS, widget("w")).body
    refused = server.put(WIDGET, widget("w", size=2))
    assert refused.status == 422
    assert "metadata.resourceVersion: Invalid value: 0: must be specified for an update" in refused["message"]
    assert server.put(WIDGET, {**created, "spec": {"size": 2}}).status == 200


def test_a_strategic_patch_of_a_custom_resource_is_415(server: Client) -> None:
    server.define(widget_crd())
    server.create(WIDGETS, widget("w"))
    assert server.send("PATCH", WIDGET, {}, content_type=STRATEGIC).status == 415


def test_every_served_version_shows_the_same_objects(server: Client) -> None:
    server.define(_two_versions())
    stream = server.watch("/apis/example.com/v1beta1/namespaces/default/widgets")
    created = server.create(WIDGETS, widget("w"))
    older = server.get("/apis/example.com/v1beta1/namespaces/default/widgets/w")
    assert older["apiVersion"] == "example.com/v1beta1"
    assert "old" not in older["spec"], "a conversion fills in nothing"
    assert older.version == created.version
    event = stream.next()
    assert event is not None
    assert event["object"] == older.body
    older.body["spec"]["size"] = 5
    assert server.put("/apis/example.com/v1beta1/namespaces/default/widgets/w", older.body).status == 200
    now = server.get(WIDGET)
    assert (now["apiVersion"], now["spec"]["size"]) == ("example.com/v1", 5)


def test_what_was_made_in_one_version_says_in_which_it_is_read(server: Client) -> None:
    server.define(_two_versions())
    older = "/apis/example.com/v1beta1/namespaces/default/widgets"
    made = server.create(older, {**widget("w"), "apiVersion": "example.com/v1beta1"})
    assert made["apiVersion"] == "example.com/v1beta1"
    assert server.get(WIDGET)["apiVersion"] == "example.com/v1"
    assert [item["apiVersion"] for item in server.get(WIDGETS)["items"]] == ["example.com/v1"]
    assert server.get(f"{older}/w")["apiVersion"] == "example.com/v1beta1"


def test_a_version_that_is_no_longer_served_is_404(server: Client) -> None:
    crd = _two_versions()
    server.define(crd)
    crd["spec"]["versions"][1]["served"] = False
    server.apply(CRD, crd, force="true")
    server.gone("/apis/example.com/v1beta1/widgets")
    server.until(lambda: server.get("/apis/example.com/v1/widgets").status == 200)  # 429 for a moment


def test_new_defaults_show_on_old_objects(server: Client) -> None:
    server.apply(CRD, widget_crd())
    server.until(lambda: server.get(WIDGETS).status == 200)
    before = server.create(WIDGETS, widget("w"))
    crd = widget_crd()
    crd["spec"]["versions"][0] = copy.deepcopy(crd["spec"]["versions"][0])
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["fresh"] = {"type": "string", "default": "new"}
    assert server.apply(CRD, crd).status == 200
    after = server.until(lambda: (now := server.get(WIDGET))["spec"].get("fresh") and now)
    assert after["spec"]["fresh"] == "new"
    assert after.version == before.version


def test_a_definition_takes_its_objects_along(server: Client) -> None:
    server.define(widget_crd())
    held = widget("w")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    server.create(WIDGETS, held)
    assert server.delete(CRD)["metadata"]["deletionTimestamp"]
    server.until(lambda: server.get(WIDGET)["metadata"].get("deletionTimestamp"))
    server.merge(WIDGET, {"metadata": {"finalizers": None}})
    server.gone(CRD)
    server.gone(WIDGETS)
    server.define(widget_crd())
    assert server.get(WIDGETS)["items"] == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"group": "other.com"}, "metadata.name"),
        ({"scope": "Galaxy"}, "spec.scope"),
        ({"versions": []}, "spec.versions"),
        ({"versions": [{"name": "v1", "served": True, "storage": False}]}, "spec.versions"),
        (
            {"versions": [{"name": "v1", "served": True, "storage": True}]},
            "spec.versions[0].schema.openAPIV3Schema",
        ),
        ({"conversion": {"strategy": "Magic"}}, "spec.conversion.strategy"),
    ],
)
def test_a_wrong_definition_is_422(server: Client, change: Any, field: str) -> None:
    answer = server.create(CRDS, widget_crd(**change))
    assert answer.status == 422
    assert field in [cause["field"] for cause in answer["details"]["causes"]]


def test_a_schema_that_is_not_structural_is_422(server: Client) -> None:
    crd = copy.deepcopy(widget_crd())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    schema["properties"]["any"] = {"description": "no type"}
    schema["properties"]["list"] = {"type": "array"}
    schema["properties"]["parts"]["items"]["required"] = []
    fields = [cause["field"] for cause in server.create(CRDS, crd)["details"]["causes"]]
    at = "openAPIV3Schema.properties[spec].properties"
    # Where all versions have one schema, the real server says `spec.validation` for where it is.
    assert sorted(field[field.index("openAPI") :] for field in fields) == [
        f"{at}[any].type",
        f"{at}[list].items",
        f"{at}[parts].items.properties[name].default",
    ]


def test_the_shared_schema_is_left_alone() -> None:
    assert "old" not in WIDGET_SCHEMA["properties"]["spec"]["properties"]
