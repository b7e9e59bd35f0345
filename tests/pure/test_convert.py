from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaitoctl.errors import InputError
from kaitoctl.kaito import api, catalog, convert, node_check, validation
from kaitoctl.kaito.convert import Remark
from kaitoctl.kaito.manifest import WorkspaceRequest
from kaitoctl.kaito.validation.releases import nearest
from kaitoctl.kube import schema


def workspace(version: str = "v1alpha1", **parts: Any) -> Any:
    base = {
        "apiVersion": f"kaito.sh/{version}",
        "kind": "Workspace",
        "metadata": {"name": "w"},
        "resource": {
            "instanceType": "Standard_NC24ads_A100_v4",
            "labelSelector": {"matchLabels": {"apps": "w", "team": "a b"}},
        },
        "inference": {"preset": {"name": "phi-3-mini-4k-instruct"}},
    }
    return {**base, **parts}


def resource(**fields: Any) -> Any:
    return {**workspace()["resource"], **fields}


def remarks(obj: Any, to: str) -> dict[str, Remark]:
    return {remark.path: remark for remark in convert.convert(obj, to).remarks}


def test_a_plain_workspace_carries_over_without_a_word() -> None:
    made = convert.convert(workspace(), "v1beta1")
    assert made.remarks == ()
    assert made.workspace == workspace("v1beta1")


def test_what_the_server_writes_is_left_out() -> None:
    live = workspace(status={"workerNodes": ["n"]})
    live["metadata"] = {"name": "w", "uid": "u", "resourceVersion": "1", "generation": 2, "managedFields": []}
    for to in api.VERSIONS:
        made = convert.convert(live, to).workspace
        assert made["metadata"] == {"name": "w"} and "status" not in made


def test_preferred_nodes_become_labels_to_put_on_nodes() -> None:
    made = convert.convert(workspace(resource=resource(preferredNodes=["n1", "n2", "n1"])), "v1beta1")
    assert "preferredNodes" not in made.workspace["resource"]
    (remark,) = made.remarks
    assert remark.path == "resource.preferredNodes"
    assert remark.commands == (
        "kubectl label node n1 apps=w 'team=a b'",
        "kubectl label node n2 apps=w 'team=a b'",
    )
    assert "otherwise none but its own, and buys them" in remark.message, "nobody says by which provisioner"


@pytest.mark.parametrize("provisioner", ["", *node_check.PROVISIONERS])
def test_labels_are_advised_where_they_make_a_prepared_node_be_taken(provisioner: str) -> None:
    made = convert.convert(
        workspace(resource=resource(preferredNodes=["n1"])), "v1beta1", provisioner=provisioner
    )
    said = next(one for one in made.remarks if one.path == "resource.preferredNodes")
    rules = node_check.rules_for(made.workspace, "v0.12", provisioner, known=catalog.SHIPPED)
    is_taken = node_check.labels_asked(made.workspace, rules).items() <= {"apps": "w", "team": "a b"}.items()
    assert bool(said.commands) == (is_taken or not provisioner)
    assert ("buys" in said.message) == (provisioner != "byo")


def test_deprecated_preset_settings_are_dropped_and_named() -> None:
    private = {
        "name": "phi-3-mini-4k-instruct",
        "accessMode": "private",
        "presetOptions": {"image": "r.io/x:1", "imagePullSecrets": ["s"]},
    }
    for use in ("inference", "tuning"):
        made = convert.convert({**workspace(), use: {"preset": private}}, "v1beta1")
        assert made.workspace[use]["preset"] == {"name": "phi-3-mini-4k-instruct"}
        assert [remark.path for remark in made.remarks] == [
            f"{use}.preset.accessMode",
            f"{use}.preset.presetOptions.image",
            f"{use}.preset.presetOptions.imagePullSecrets",
        ]


def test_the_default_instance_type_of_v1alpha1_is_written_out() -> None:
    without = workspace(resource={"labelSelector": {"matchLabels": {"apps": "w"}}})
    made = convert.convert(without, "v1beta1")
    assert made.workspace["resource"]["instanceType"] == "Standard_NC12s_v3"
    assert [remark.path for remark in made.remarks] == ["resource.instanceType"] * 2


def test_one_node_is_what_is_meant_without_a_count() -> None:
    assert (
        "count" not in convert.convert(workspace(resource=resource(count=1)), "v1beta1").workspace["resource"]
    )
    two = convert.convert(workspace(resource=resource(count=2)), "v1beta1")
    assert two.workspace["resource"]["count"] == 2 and two.remarks[0].path == "resource.count"


def test_names_that_the_other_version_does_not_know_are_said() -> None:
    old = workspace(inference={"preset": {"name": "falcon-7b"}})
    assert "no preset 'falcon-7b'" in remarks(old, "v1beta1")["inference.preset.name"].message
    new = workspace("v1beta1", inference={"preset": {"name": "phi-4"}})
    assert "no preset 'phi-4'" in remarks(new, "v1alpha1")["inference.preset.name"].message
    assert "inference.preset.name" not in remarks(workspace(), "v1beta1")


def test_strength_is_refused_on_vllm_only() -> None:
    adapted = workspace()
    adapted["inference"]["adapters"] = [{"source": {"name": "a", "image": "r/a:1"}, "strength": "0.5"}]
    assert "inference.adapters[0].strength" in remarks(adapted, "v1beta1")
    adapted["metadata"]["annotations"] = {"kaito.sh/runtime": "transformers"}
    assert remarks(adapted, "v1beta1") == {}


def test_what_v1alpha1_has_no_place_for_is_dropped_and_named() -> None:
    new = workspace(
        "v1beta1",
        resource=resource(partition={"mode": "mig", "profile": "1g.10gb"}),
        inference={
            "preset": {"name": "phi-3-mini-4k-instruct", "presetOptions": {"modelAccessSecret": "hf"}}
        },
        status={"performance": {"metrics": {}}},
    )
    made = convert.convert(new, "v1alpha1")
    assert {remark.path for remark in made.remarks} == {
        "apiVersion",  # today's webhook crashes on presets there
        "resource.partition",
        "inference.preset.presetOptions.modelAccessSecret",
    }
    assert schema.problems(made.workspace, validation.schema_of("v1alpha1"), unknown="error") == []


def test_no_instance_type_means_something_else_in_v1alpha1() -> None:
    new = workspace("v1beta1", resource={"labelSelector": {"matchLabels": {"apps": "w"}}})
    assert "fills in Standard_NC12s_v3" in remarks(new, "v1alpha1")["resource.instanceType"].message


def test_the_same_version_only_tidies() -> None:
    kept = workspace(resource=resource(preferredNodes=["n1"], count=1))
    made = convert.convert(kept, "v1alpha1")
    assert made.workspace == kept and made.remarks == ()


@pytest.mark.parametrize(
    ("obj", "to"), [({"kind": "Pod"}, "v1beta1"), (workspace(kind="Pod"), "v1beta1"), (workspace(), "v2")]
)
def test_what_cannot_be_converted_is_an_input_error(obj: Any, to: str) -> None:
    with pytest.raises(InputError):
        convert.convert(obj, to)


_PARTS = ("name", "preset", "resource", "inference", "tuning", "adapters", "preferredNodes", "labelSelector")
_FIELDS = ("image", "matchLabels", "presetOptions", "strength", "count", "instanceType", "accessMode", "x")
KEYS = st.sampled_from((*_PARTS, *_FIELDS, "metadata"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(
    st.dictionaries(KEYS, JSON, max_size=5),
    st.sampled_from(api.VERSIONS),
    st.sampled_from(api.VERSIONS),
)
@settings(max_examples=200, deadline=None)
def test_any_workspace_converts_once_and_for_all(parts: Any, came_from: str, to: str) -> None:
    obj = {**parts, "apiVersion": f"kaito.sh/{came_from}", "kind": "Workspace"}
    before = deepcopy(obj)
    made = convert.convert(obj, to)
    assert obj == before
    again = convert.convert(made.workspace, to)
    assert again.workspace == made.workspace and again.remarks == ()


# --- which version ---------------------------------------------------------------------------------------

BOTH = ["v1alpha1", "v1beta1"]


def request(**fields: Any) -> WorkspaceRequest:
    base = {"preset": "phi-3-mini-4k-instruct", "instance_type": "Standard_NC24ads_A100_v4"}
    return WorkspaceRequest(name="w", namespace="", **{**base, **fields})


def test_the_newest_served_version_is_chosen() -> None:
    assert convert.choose_version(request(), BOTH) == ("v1beta1", "")
    assert convert.choose_version(request(), ["v1alpha1"]) == ("v1alpha1", "")
    assert convert.choose_version(request(preset="org/unheard-of"), BOTH) == ("v1beta1", "")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"preset": "falcon-7b"}, "preset of KAITO up to v0.10"),
        ({"preferred_nodes": ("n",)}, "preferredNodes"),
        ({"private_image": "r/x:1"}, "private images"),
        ({"instance_type": None}, "no default"),
        ({"instance_type": "Standard_NC12s_v3"}, "not known to KAITO v0.12"),
    ],
)
def test_what_only_v1alpha1_means_stays_there_and_says_why(fields: Any, why: str) -> None:
    version, reason = convert.choose_version(request(**fields), BOTH)
    assert version == "v1alpha1" and why in reason
    assert convert.choose_version(request(**fields), ["v1beta1"]) == ("v1beta1", "")


@pytest.mark.parametrize(
    "fields", [{"instance_type": None}, {"preferred_nodes": ("n",)}, {"private_image": "r/x:1"}]
)
@pytest.mark.parametrize("version", ["v0.11.0", "v0.12.0", "v0.13.0"])
def test_a_kaito_whose_old_webhook_crashes_is_never_written_to_in_v1alpha1(fields: Any, version: str) -> None:
    release = nearest(version)
    assert convert.choose_version(request(**fields), BOTH, release=release) == ("v1beta1", "")


@pytest.mark.parametrize(
    ("version", "fields", "chosen"),
    [
        ("v0.9.4", {"preset": "falcon-7b"}, "v1beta1"),
        ("v0.9.4", {"preset": "Qwen/Qwen3.5-2B", "instance_type": None}, "v1beta1"),
        ("v0.9.4", {"instance_type": None}, "v1alpha1"),
        ("v0.4.6", {"instance_type": "Standard_NC12s_v3"}, "v1beta1"),
        ("v0.4.6", {"preferred_nodes": ("n",)}, "v1alpha1"),
    ],
)
def test_a_release_that_knows_preset_and_machine_gets_the_newest_version(
    version: str, fields: Any, chosen: str
) -> None:
    found, why = convert.choose_version(request(**fields), BOTH, release=nearest(version))
    assert found == chosen
    assert bool(why) == (chosen == "v1alpha1")


def test_nodes_of_ones_own_need_no_instance_type() -> None:
    assert convert.choose_version(request(instance_type=None), BOTH, byo=True) == ("v1beta1", "")


def test_without_a_cluster_it_is_the_guides_version_unless_the_model_is_newer() -> None:
    assert convert.choose_version(request(preset="no-such"), []) == ("v1alpha1", "")
    version, why = convert.choose_version(request(preset="falcon-7b"), [])
    assert version == "v1alpha1" and "up to v0.10" in why
    assert convert.choose_version(request(preset="phi-4"), []) == ("v1beta1", "")
    assert convert.choose_version(request(preset="Qwen/Qwen3.5-2B"), []) == ("v1beta1", "")
    assert convert.choose_version(request(preset="org/unheard-of"), []) == ("v1beta1", "")


@pytest.mark.parametrize("name", sorted(set(catalog.presets()) & set(catalog.SHIPPED.model_names())))
def test_a_name_of_both_generations_means_todays_model_unless_only_v1alpha1_means_it(name: str) -> None:
    assert convert.choose_version(request(preset=name), []) == ("v1beta1", "")
    for fields in (
        {"preferred_nodes": ("n",)},
        {"instance_type": "Standard_NC12s_v3"},
        {"instance_type": None},
    ):
        version, why = convert.choose_version(request(preset=name, **fields), [])
        assert version == "v1alpha1" and why
    assert convert.choose_version(request(preset=name, instance_type=None), [], byo=True) == ("v1beta1", "")


@pytest.mark.parametrize("answer", [{}, {"versions": None}, {"versions": [1, {"version": "v9"}]}])
def test_an_api_server_that_names_no_version_serves_none(answer: Any) -> None:
    assert api.served_versions(answer) == []


def test_the_served_versions_are_read_from_discovery() -> None:
    group = {"kind": "APIGroup", "versions": [{"version": "v1beta1"}, {"version": "v1alpha1"}]}
    assert api.served_versions(group) == BOTH


PLAIN = {"preset": {"name": "falcon-7b"}}


@pytest.mark.parametrize(
    ("release", "to", "obj", "paths"),
    [
        # falcon-7b ends with v0.9, in whichever version it is written.
        ("v0.4.6", "v1beta1", workspace(inference=PLAIN), set()),
        ("v0.9", "v1beta1", workspace(inference=PLAIN), set()),
        ("v0.12", "v1beta1", workspace(inference=PLAIN), {"inference.preset.name"}),
        # Up to v0.4.6 names of nodes are read, and counts are what is bought.
        ("v0.4.6", "v1beta1", workspace(resource=resource(preferredNodes=["n"], count=2)), set()),
        (
            "v0.9.4",
            "v1beta1",
            workspace(resource=resource(preferredNodes=["n"], count=2)),
            {"resource.preferredNodes", "resource.count"},
        ),
        ("v0.4", "v1beta1", workspace(), {"apiVersion"}),
        ("v0.12", "v1alpha1", workspace("v1beta1"), {"apiVersion"}),
        ("v0.9", "v1alpha1", workspace("v1beta1"), set()),
        ("v0.4.6", "v1alpha1", workspace("v1beta1", inference={"preset": {"name": "phi-4"}}), set()),
        (
            "v0.4",
            "v1alpha1",
            workspace("v1beta1", inference={"preset": {"name": "phi-4"}, "config": "c"}),
            {"inference.preset.name", "inference.config"},
        ),
        (
            "v0.9",
            "v1beta1",
            workspace(resource=resource(partition={"mode": "mig", "profile": "1g.10gb"})),
            {"resource.partition"},
        ),
        (
            "v0.12",
            "v1beta1",
            workspace(resource=resource(instanceType="Standard_NC12s_v3")),
            {"resource.instanceType"},
        ),
        ("v0.4.6", "v1beta1", workspace(resource=resource(instanceType="Standard_NC12s_v3")), set()),
    ],
)
def test_each_release_reads_the_versions_in_its_own_way(
    release: str, to: str, obj: Any, paths: set[str]
) -> None:
    made = convert.convert(obj, to, release=nearest(release))
    assert {remark.path for remark in made.remarks} == paths, made.remarks


def test_what_is_left_out_is_written_as_the_release_fills_it_in() -> None:
    plain = workspace(resource={"labelSelector": {"matchLabels": {"a": "b"}}})
    for release, meant in (("v0.4.6", None), ("v0.9", "Standard_NC24ads_A100_v4")):
        made = convert.convert(plain, "v1beta1", release=nearest(release)).workspace
        assert made["resource"].get("instanceType") == meant, release


def test_private_images_stay_where_they_are_read() -> None:
    own = {"preset": {"name": "falcon-7b", "accessMode": "private", "presetOptions": {"image": "r/a:1"}}}
    for release, stays in (("v0.4.6", True), ("v0.9", False), ("v0.12", False)):
        made = convert.convert(workspace(inference=own), "v1beta1", release=nearest(release)).workspace
        assert ("presetOptions" in made["inference"]["preset"]) is stays, release
