"""What is said of InferenceSets and MultiRoleInferences: KAITO's rules, and what nobody reads."""

from __future__ import annotations

import copy
import inspect
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from strategies import JSON

from kaitoctl.kaito import validation as of_workspaces
from kaitoctl.kaito.fleet import codes as fleet_codes
from kaitoctl.kaito.fleet import kinds, replicas, roles, set_versions, validation
from kaitoctl.kaito.fleet.windows import duration_s, schedule_fault
from kaitoctl.kaito.validation import OWN, Setting
from kaitoctl.kaito.validation.codes import CODES
from kaitoctl.kaito.validation.releases import nearest
from kaitoctl.kube import schema_defaults
from kaitoctl.kube.objects import dig

SET: dict[str, Any] = {
    "apiVersion": "kaito.sh/v1beta1",
    "kind": "InferenceSet",
    "metadata": {"name": "phis"},
    "spec": {
        "replicas": 3,
        "labelSelector": {"matchLabels": {"apps": "phi"}},
        "template": {
            "resource": {"instanceType": "Standard_NC24ads_A100_v4"},
            "inference": {"preset": {"name": "phi-4-mini-instruct"}},
        },
    },
}
ROLES: dict[str, Any] = {
    "apiVersion": "kaito.sh/v1alpha1",
    "kind": "MultiRoleInference",
    "metadata": {"name": "phi", "namespace": "ml"},
    "spec": {
        "labelSelector": {"matchLabels": {"apps": "phi"}},
        "model": {"name": "phi-4-mini-instruct"},
        "roles": [
            {"type": "prefill", "replicas": 1, "instanceType": "Standard_NC24ads_A100_v4"},
            {"type": "decode", "instanceType": "Standard_NC24ads_A100_v4"},
        ],
    },
}
BYO = Setting("v0.12", byo=True, provisioner="byo")
KAITO = Setting("v0.12", byo=False)
ROLES_ON = Setting("v0.12", byo=False, gates=frozenset({"enableMultiRoleInferenceController"}))
_GONE = object()


def changed(obj: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    made = copy.deepcopy(obj)
    for path, value in changes.items():
        target: Any = made
        parts = path.split("/")
        for part in parts[:-1]:
            target = target[int(part)] if isinstance(target, list) else target.setdefault(part, {})
        last: Any = int(parts[-1]) if isinstance(target, list) else parts[-1]
        if value is _GONE:
            del target[last]
        else:
            target[last] = value
    return made


def found(obj: dict[str, Any], setting: Setting = KAITO, old: Any = None) -> set[tuple[str, str, str]]:
    return {(item.code, item.path, item.kaito) for item in validation.judge(obj, setting, old=old)}


def test_what_is_right_is_let_be() -> None:
    assert found(SET) == set()
    assert found({**SET, "apiVersion": "kaito.sh/v1alpha1"}) == set()
    assert found(changed(SET, {"spec/template/resource": {}}), BYO) == set()
    assert found(SET, Setting(OWN)) == set()
    assert found(ROLES, ROLES_ON) == set()
    defaults = kinds.schema_of("InferenceSet", "v1beta1")
    assert found(schema_defaults.default(SET, defaults)) == set()


MIRROR: dict[str, Any] = {
    "apiVersion": "kaito.sh/v1alpha1",
    "kind": "ModelMirror",
    "metadata": {"name": "phi.4"},
    "spec": {
        "source": {"registry": "huggingface", "modelID": "microsoft/phi-4", "accessSecret": {"name": "hf"}},
        "storage": {"size": "50Gi", "storageClassName": "blob"},
        "jobNamespace": "models",
        "serviceAccountName": "streamer",
    },
}
MIRRORS_ON = Setting("v0.12", byo=False, gates=frozenset({"ModelMirror"}))


@pytest.mark.parametrize(
    ("changes", "setting", "expected"),
    [
        ({}, MIRRORS_ON, set()),
        ({"spec": {"mode": "Static"}}, MIRRORS_ON, set()),
        ({}, KAITO, {("KW300", "kind", "ignores")}),
        ({}, Setting("v0.9", byo=False), {("KW300", "kind", "refuses")}),
        ({}, Setting("v0.4", byo=False), {("KW300", "kind", "refuses")}),
        ({}, Setting(OWN), {("KW300", "kind", "")}),
        ({"apiVersion": "kaito.sh/v1beta1"}, MIRRORS_ON, {("KW300", "apiVersion", "refuses")}),
        ({"metadata/name": "Phi"}, MIRRORS_ON, {("KW301", "metadata.name", "refuses")}),
        ({"spec/mode": "managed"}, MIRRORS_ON, {("KW101", "spec.mode", "refuses")}),
        ({"spec/source": _GONE}, MIRRORS_ON, {("KW330", "spec.source", "refuses")}),
        ({"spec/source/registry": "s3"}, MIRRORS_ON, {("KW101", "spec.source.registry", "refuses")}),
        ({"spec/source/modelID": ""}, MIRRORS_ON, {("KW330", "spec.source.modelID", "refuses")}),
        ({"spec/source/accessSecret": {"name": "hf", "namespace": "x"}}, MIRRORS_ON,
         {("KW330", "spec.source.accessSecret.namespace", "ignores")}),
        ({"spec/storage": _GONE}, MIRRORS_ON, {("KW330", "spec.storage", "refuses")}),
        ({"spec/storage/size": "50gb"}, MIRRORS_ON, {("KW330", "spec.storage.size", "refuses")}),
        ({"spec/storage/storageClassName": ""}, MIRRORS_ON,
         {("KW330", "spec.storage.storageClassName", "refuses")}),
        ({"spec/jobNamespace": _GONE}, MIRRORS_ON, {("KW330", "spec.jobNamespace", "never-ready")}),
        ({"spec/mode": "Static"}, MIRRORS_ON,
         {("KW330", "spec.source", "refuses"), ("KW330", "spec.storage", "refuses"),
          ("KW330", "spec.jobNamespace", "ignores"), ("KW330", "spec.serviceAccountName", "ignores")}),
    ],
)  # fmt: skip
def test_of_a_mirror_is_said_what_kaito_does(
    changes: dict[str, Any], setting: Setting, expected: set[tuple[str, str, str]]
) -> None:
    assert found(changed(MIRROR, changes), setting) == expected


def test_a_mirror_does_not_change() -> None:
    assert found(MIRROR, MIRRORS_ON, MIRROR) == set()
    assert found(changed(MIRROR, {"spec/mode": "Managed"}), MIRRORS_ON, MIRROR) == set()  # the default
    larger = changed(MIRROR, {"spec/storage/size": "90Gi"})
    assert found(larger, MIRRORS_ON, MIRROR) == {("KW331", "spec", "refuses")}


TYPE = "spec.template.resource.instanceType"
WINDOW = "spec.autoUpgrade.maintenanceWindow"
CASES: list[tuple[dict[str, Any], Setting, set[tuple[str, str, str]]]] = [
    ({"metadata/name": "Phi"}, KAITO, {("KW301", "metadata.name", "refuses")}),
    ({"metadata/name": "p" * 50}, KAITO, {("KW111", "metadata.name", "never-ready")}),
    ({"metadata/name": ""}, KAITO, {("KW301", "metadata.name", "refuses")}),
    ({"apiVersion": "kaito.sh/v1"}, KAITO, {("KW300", "apiVersion", "refuses")}),
    ({}, Setting("v0.4", byo=False), {("KW300", "kind", "refuses")}),
    ({}, Setting("v0.9", byo=False), {("KW300", "apiVersion", "refuses")}),
    ({}, Setting("v0.12", byo=False, gates_off=frozenset({"enableInferenceSetController"})),
     {("KW300", "kind", "ignores")}),
    ({"spec/replicas": -1}, KAITO, {("KW101", "spec.replicas", "refuses")}),
    ({"spec/labelSelector": _GONE}, KAITO, {("KW101", "spec.labelSelector", "refuses")}),
    ({"spec/template/resource": {}}, KAITO, {("KW302", TYPE, "refuses")}),
    ({}, BYO, {("KW302", TYPE, "refuses")}),
    ({"spec/template/replicas": 1}, KAITO, {("KW102", "spec.template.replicas", "refuses")}),
    ({"spec/autoUpgrade": {"maintenanceWindow": {"schedule": ""}}}, KAITO,
     {("KW303", f"{WINDOW}.schedule", "refuses")}),
    ({"spec/autoUpgrade": {"maintenanceWindow": {"schedule": "0 24 * * *"}}}, KAITO,
     {("KW303", f"{WINDOW}.schedule", "refuses")}),
    ({"spec/autoUpgrade": {"maintenanceWindow": {"schedule": "@daily", "duration": "-1h"}}}, KAITO,
     {("KW303", f"{WINDOW}.duration", "refuses")}),
    ({"spec/autoUpgrade": {"enabled": True}}, KAITO, {("KW311", "spec.autoUpgrade.enabled", "ignores")}),
    ({"spec/autoUpgrade": {"enabled": True}}, Setting("v0.12", byo=False,
     gates=frozenset({"enableBaseImageAutoUpgrade"})), set()),
    ({"spec/nodeCountLimit": 4}, KAITO, {("KW305", "spec.nodeCountLimit", "ignores")}),
    ({"spec/updateStrategy": {"type": "OnDelete"}}, KAITO, {("KW306", "spec.updateStrategy", "ignores")}),
    ({"spec/updateStrategy": {"type": "OnDelete"}}, Setting(OWN), set()),
    ({"spec/updateStrategy": {"rollingUpdate": {"maxUnavailable": 0}}}, Setting(OWN),
     {("KW306", "spec.updateStrategy.rollingUpdate.maxSurge", "")}),
    ({"spec/updateStrategy": {"rollingUpdate": {"maxsurge": 1}}}, Setting(OWN),
     {("KW306", "spec.updateStrategy.rollingUpdate.maxsurge", "")}),
    ({"metadata/annotations": {"kaito.sh/runtime": "transformers"}}, KAITO,
     {("KW307", "metadata.annotations[kaito.sh/runtime]", "ignores")}),
    ({"metadata/annotations": {"kaito.sh/runtime": "vllm"},
      "spec/template/metadata": {"annotations": {"kaito.sh/runtime": "vllm"}}}, KAITO, set()),
    ({"metadata/labels": {"kaito.sh/inferenceset": "phis"}}, KAITO,
     {("KW308", "metadata.labels[kaito.sh/inferenceset]", "ignores")}),
    ({"spec/template/metadata": {"name": "x"}}, KAITO,
     {("KW309", "spec.template.metadata.name", "ignores")}),
    ({"spec/template/inference/preset/name": "phi-5"}, KAITO,
     {("KW142", "spec.template.inference.preset.name", "refuses")}),
    ({"spec/template/inference/adapters": [
        {"source": {"name": "a", "image": "r.io/a:1"}, "strength": "0.5"}]}, KAITO,
     {("KW161", "spec.template.inference.adapters[0].strength", "refuses")}),
    ({"spec/template/inference": {}}, KAITO, {("KW141", "spec.template.inference.preset", "refuses")}),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "setting", "expected"), CASES)
def test_what_is_wrong_with_a_set(changes: Any, setting: Setting, expected: Any) -> None:
    assert found(changed(SET, changes), setting) == expected


UPDATES: list[tuple[dict[str, Any], Setting, set[tuple[str, str, str]]]] = [
    ({"spec/replicas": 5}, KAITO, set()),
    ({"spec/template/inference/preset/accessMode": "public"}, KAITO, set()),  # the CRD's default
    ({"spec/template/inference/preset/presetOptions": {}}, KAITO, set()),  # what KAITO's client writes
    ({"spec/template/resource/partition": {"mode": "mig", "profile": "1g.10gb"}}, Setting(OWN),
     {("KW304", "spec.template.resource.partition", "")}),
    ({"spec/template/inference/adapters": [{"source": {"name": "a", "image": "r.io/a:1"}}]}, KAITO,
     {("KW310", "spec.template.inference", "ignores")}),
    ({"spec/template/inference/adapters": [{"source": {"name": "a", "image": "r.io/a:1"}}]}, Setting(OWN),
     set()),
    ({"spec/template/resource/instanceType": "Standard_NC48ads_A100_v4"}, KAITO,
     {("KW310", "spec.template.resource", "ignores")}),
    ({"spec/labelSelector": {"matchLabels": {"apps": "other"}}}, KAITO,
     {("KW310", "spec.labelSelector", "ignores")}),
    ({"metadata/name": "other"}, KAITO, {("KW184", "metadata.name", "refuses")}),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "setting", "expected"), UPDATES)
def test_what_a_changed_set_is_answered(changes: Any, setting: Setting, expected: Any) -> None:
    assert found(changed(SET, changes), setting, SET) == expected


MODEL, SELECTOR = "spec.model.name", "spec.labelSelector"
ROLE_CASES: list[tuple[dict[str, Any], Setting, set[tuple[str, str, str]]]] = [
    ({}, KAITO, {("KW300", "kind", "ignores")}),
    ({}, Setting("v0.9", byo=False), {("KW300", "apiVersion", "refuses"), }),
    ({"spec/model/name": ""}, ROLES_ON, {("KW320", MODEL, "refuses")}),
    ({"spec/model/name": "phi-5"}, ROLES_ON, {("KW142", MODEL, "never-ready")}),
    ({"spec/labelSelector": {}}, ROLES_ON, {("KW321", SELECTOR, "refuses")}),
    ({"spec/roles/1/type": "prefill"}, ROLES_ON, {("KW322", "spec.roles", "refuses")}),
    ({"spec/roles/1/type": "other"}, ROLES_ON,
     {("KW322", "spec.roles", "refuses"), ("KW101", "spec.roles[1].type", "refuses")}),
    ({"spec/roles/0/instanceType": _GONE}, ROLES_ON, {("KW302", "spec.roles[0].instanceType", "refuses")}),
    ({"spec/roles/0/replicas": 0}, ROLES_ON, {("KW101", "spec.roles[0].replicas", "refuses")}),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "setting", "expected"), ROLE_CASES)
def test_what_is_wrong_with_a_multi_role_inference(changes: Any, setting: Setting, expected: Any) -> None:
    assert found(changed(ROLES, changes), setting) == expected


def test_the_model_of_a_multi_role_inference_is_immutable() -> None:
    new = changed(ROLES, {"spec/model/name": "phi-4"})
    assert found(new, ROLES_ON, ROLES) == {("KW323", MODEL, "refuses")}


def test_own_nodes_must_have_the_labels_of_their_role() -> None:
    plain = changed(ROLES, {f"spec/roles/{n}/instanceType": _GONE for n in (0, 1)})
    gates = frozenset({"enableMultiRoleInferenceController"})
    messages = [item.message for item in validation.judge(plain, Setting("v0.12", byo=True, gates=gates))]
    assert len(messages) == 2
    assert "kaito.sh/inference-role=prefill" in messages[0]
    labelled = [{"metadata": {"labels": roles.node_labels(ROLES, role)}} for role in roles.ROLES]
    known = Setting("v0.12", byo=True, gates=gates, nodes=labelled)
    assert "KW324" not in {code for code, _, _ in found(plain, known)}
    one = Setting("v0.12", byo=True, gates=gates, nodes=labelled[:1])
    (problem,) = (item for item in validation.judge(plain, one) if item.code == "KW324")
    assert problem.severity == "error"
    assert "decode" in problem.message


def test_a_replica_is_as_kaito_makes_it() -> None:
    """Source: KAITO v0.12.0, NewWorkspaceForInferenceSet."""
    given_set = changed(
        SET,
        {
            "metadata/uid": "u1",
            "metadata/namespace": "ml",
            "metadata/labels": {"kaito.sh/inference-role": "decode", "team": "x"},
            "metadata/annotations": {
                "kaito.sh/disable-benchmark": "true",
                "kaito.sh/runtime": "transformers",
            },
            "spec/template/metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}, "name": "no"},
        },
    )
    made = replicas.workspace_of(given_set)
    assert made["metadata"] == {
        "generateName": "phis-",
        "namespace": "ml",
        "labels": {
            "a": "b",
            "kaito.sh/inference-role": "decode",
            "inferenceset.kaito.sh/created-by": "phis",
        },
        "annotations": {"c": "d", "kaito.sh/disable-benchmark": "true"},
        "ownerReferences": [
            {
                "apiVersion": "kaito.sh/v1beta1",
                "kind": "InferenceSet",
                "name": "phis",
                "uid": "u1",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    assert made["resource"] == {
        "instanceType": "Standard_NC24ads_A100_v4",
        "labelSelector": {"matchLabels": {"apps": "phi"}},
    }
    assert made["inference"] == SET["spec"]["template"]["inference"]
    assert "instanceType" not in replicas.workspace_of(given_set, provisioner="byo")["resource"]
    assert of_workspaces.judge(replicas.workspace_of(given_set, "phis-abcde"), KAITO) == []


def test_the_sets_of_roles_are_as_kaito_makes_them() -> None:
    """Source: KAITO v0.12.0, reconcileInferenceSet."""
    asked = changed(ROLES, {"metadata/annotations": {"kaito.sh/disable-benchmark": "true"}})
    prefill, decode = roles.sets_of(asked)
    assert [one["metadata"]["name"] for one in (prefill, decode)] == ["phi-prefill", "phi-decode"]
    assert (prefill["spec"].get("replicas"), decode["spec"].get("replicas")) == (1, None)
    for made, role in ((prefill, "prefill"), (decode, "decode")):
        labels = {
            "apps": "phi",
            "multiroleinference.kaito.sh/created-by": "phi",
            "kaito.sh/inference-role": role,
        }
        assert made["spec"]["labelSelector"]["matchLabels"] == labels
        assert made["spec"]["template"]["metadata"] == {
            "labels": labels,
            "annotations": {"kaito.sh/disable-benchmark": "true"},
        }
        assert found(made) == set()


def test_names_follow_from_the_set_and_look_like_the_servers() -> None:
    def first(uid: str, name: str = "phis") -> list[str]:
        made = replicas.names(changed(SET, {"metadata/uid": uid, "metadata/name": name}))
        return [next(made) for _ in range(50)]

    assert first("a") == first("a")
    assert len(set(first("a"))) == 50
    assert set(first("a")).isdisjoint(first("b"))
    assert all(len(name) == 63 for name in first("a", "p" * 63))
    free = replicas.free_names(changed(SET, {"metadata/uid": "a"}), first("a")[:2])
    assert next(free) == first("a")[2]


@pytest.mark.parametrize(
    "schedule",
    ["0 2 * * 6", "*/15 0-23/2 1,15 jan-mar SUN", "? ? ? ? ?", "@weekly", "@every 1h30m",
     "CRON_TZ=Europe/Berlin 0 2 * * *", "5/10 * * * *"],
)  # fmt: skip
def test_schedules_that_kaito_takes(schedule: str) -> None:
    assert schedule_fault(schedule) == ""


@pytest.mark.parametrize(
    "schedule",
    ["* * * *", "* * * * * *", "60 * * * *", "0 2 0 * *", "0 2 * 13 *", "0 2 * * 7", "a * * * *",
     "*/0 * * * *", "5-1 * * * *", "1-2-3 * * * *", "@reboot", "@every x", "TZ=Nowhere/X 0 2 * * *",
     "-1 * * * *", ""],
)  # fmt: skip
def test_schedules_that_kaito_refuses(schedule: str) -> None:
    assert schedule_fault(schedule)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("4h", 14400), ("1h30m", 5400), ("-1s", -1), ("0", 0), ("1.5h", 5400), ("500ms", 0.5),
     ("4", None), ("h", None), ("", None), ("4 h", None), ("4d", None)],
)  # fmt: skip
def test_durations_are_gos(text: str, seconds: float | None) -> None:
    assert duration_s(text) == seconds


def test_converting_loses_the_partition_alone() -> None:
    divided = changed(SET, {"spec/template/resource/partition": {"mode": "mig", "profile": "1g.10gb"}})
    there = set_versions.convert(divided, "v1alpha1")
    assert [remark.path for remark in there.remarks] == ["spec.template.resource.partition"]
    back = set_versions.convert(there.workspace, "v1beta1")
    assert back.workspace == SET
    assert back.remarks == ()


@pytest.mark.parametrize(
    ("release", "to", "paths"),
    [
        ("v0.12", "v1alpha1", ["spec.template.inference.preset.name"]),
        ("v0.11.0", "v1beta1", ["spec.template.inference.preset.name"]),
        ("v0.9.4", "v1alpha1", ["spec.autoUpgrade", "spec.template.inference.preset.name"]),
        ("v0.10.0", "v1beta1", ["apiVersion", "spec.autoUpgrade", "spec.template.inference.preset.name"]),
        ("v0.7.2", "v1alpha1", ["kind"]),
    ],
)
def test_converting_says_what_a_release_does_not_know(release: str, to: str, paths: list[str]) -> None:
    wanted = {"spec/autoUpgrade": {"enabled": True}, "spec/template/inference/preset/name": "granite"}
    asked = changed(SET, wanted)
    asked["apiVersion"] = "kaito.sh/v1alpha1" if to == "v1beta1" else "kaito.sh/v1beta1"
    found = set_versions.convert(asked, to, release=nearest(release))
    assert [remark.path for remark in found.remarks] == paths
    assert not set_versions.convert(asked, to).remarks


@given(JSON, JSON)
@settings(max_examples=100, deadline=None)
def test_any_json_at_all_is_judged(spec: Any, template: Any) -> None:
    for kind, versions in kinds.VERSIONS.items():
        for version in versions:
            head = {"apiVersion": f"kaito.sh/{version}", "kind": kind, "metadata": {"name": "x"}}
            for setting in (KAITO, BYO, Setting(OWN), ROLES_ON):
                validation.judge({**head, "spec": spec}, setting, old=SET)
                validation.judge({**head, "spec": {"template": template, "roles": template}}, setting, old={})
            set_versions.convert({**head, "spec": spec}, "v1alpha1")
        validation.judge({**head, "metadata": spec}, KAITO)


def test_every_code_of_fleets_is_explained_and_found() -> None:
    folder = Path(inspect.getfile(validation)).parent
    source = "".join(file.read_text() for file in folder.glob("*.py"))
    assert not set(fleet_codes.CODES) & set(CODES)
    for code, explanation in fleet_codes.CODES.items():
        assert explanation.meaning.endswith("."), code
        assert source.count(f'"{code}"') >= 2, code


def test_a_set_without_replicas_has_one() -> None:
    assert replicas.wanted_replicas(changed(SET, {"spec/replicas": _GONE})) == 1
    assert replicas.wanted_replicas(SET) == 3
    assert dig(replicas.workspace_of({"kind": "InferenceSet"}), "metadata", "generateName") == "-"


@pytest.mark.parametrize(
    "metadata", [[], "x", None, 1, {"annotations": []}, {"name": "m", "annotations": "x"}]
)
def test_metadata_of_any_shape_is_judged(metadata: object) -> None:
    roles = [{"type": "prefill"}, {"type": "decode"}]
    spec = {"labelSelector": {"matchLabels": {"a": "b"}}, "model": {"name": "phi-4"}, "roles": roles}
    fleet = {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "MultiRoleInference",
        "metadata": metadata,
        "spec": spec,
    }
    assert any(problem.kaito == "refuses" for problem in validation.judge(fleet, Setting("v0.12", byo=True)))


def test_no_instance_type_is_said_where_nobody_says_who_makes_nodes() -> None:
    made = {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "InferenceSet",
        "metadata": {"name": "s"},
        "spec": {
            "labelSelector": {"matchLabels": {"apps": "s"}},
            "template": {"inference": {"preset": {"name": "phi-4"}}},
        },
    }
    for byo, severities in ((None, ["warning"]), (False, ["error"]), (True, [])):
        found = [one.severity for one in validation.judge(made, Setting(byo=byo)) if one.code == "KW302"]
        assert found == severities
