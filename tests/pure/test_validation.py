from __future__ import annotations

import copy
import inspect
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaitoctl.advice import text
from kaitoctl.cli import app
from kaitoctl.kaito import catalog, validation
from kaitoctl.kaito.validation import OWN, Problem, Setting
from kaitoctl.kaito.validation.codes import CODES

DIGEST = "sha256:" + "0" * 64
REMOVE = object()


def workspace(**changes: Any) -> dict[str, Any]:
    """A good Workspace with changes at paths: `resource__count=2`, `REMOVE` takes a field away."""
    made: dict[str, Any] = {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": "falcon", "annotations": {"kaito.sh/runtime": "transformers"}},
        "resource": {
            "instanceType": "Standard_NC12s_v3",
            "labelSelector": {"matchLabels": {"apps": "falcon"}},
        },
        "inference": {"preset": {"name": "falcon-7b"}},
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        target = made
        for step in parents:
            target = target.setdefault(step, {})
        if value is REMOVE:
            target.pop(last)
        else:
            target[last] = value
    return made


def tuning(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "inference": REMOVE,
        "tuning": {
            "preset": {"name": "phi-2"},
            "method": "qlora",
            "input": {"urls": ["https://x.io/data"]},
            "output": {"image": "r.io/out:1", "imagePushSecret": "push"},
        },
    }
    return workspace(**base, **changes)


def adapter(name: Any = "a", image: Any = "r.io/a:1", strength: Any = "0.5", **source: Any) -> dict[str, Any]:
    return {"source": {"name": name, "image": image, **source}, "strength": strength}


def with_adapters(*adapters: Any, **changes: Any) -> dict[str, Any]:
    return workspace(inference__adapters=list(adapters), **changes)


def found(problems: list[Problem]) -> set[tuple[str, str, str]]:
    return {(problem.code, problem.severity[0], problem.path) for problem in problems}


def rules(obj: Any) -> set[tuple[str, str, str]]:
    return found(validation.problems(obj))


def test_a_good_workspace_has_no_problems() -> None:
    for good in (workspace(), with_adapters(adapter(), adapter("b", strength="1")), tuning()):
        assert validation.judge(good) == []


LLAMA = {
    "inference__preset": {
        "name": "llama-2-13b",
        "accessMode": "private",
        "presetOptions": {"image": "r.io/llama:1"},
    }
}
LLAMA_70B = {"inference__preset": {**LLAMA["inference__preset"], "name": "llama-2-70b"}}
BETA = {"apiVersion": "kaito.sh/v1beta1"}
NAME, TYPE, COUNT = "metadata.name", "resource.instanceType", "resource.count"
LABELS, RUNTIME = "resource.labelSelector.matchLabels", "metadata.annotations[kaito.sh/runtime]"
PRESET, FIRST = "inference.preset", "inference.adapters[0]"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # identity
        ({"apiVersion": "kaito.sh/v2"}, {("KW103", "e", "apiVersion")}),
        ({"kind": "workspace"}, {("KW103", "e", "kind")}),
        ({"metadata__name": REMOVE}, {("KW110", "e", NAME)}),
        ({"metadata__name": ""}, {("KW110", "e", NAME)}),
        ({"metadata__name": "7b"}, {("KW110", "e", NAME)}),
        ({"metadata__name": "Falcon"}, {("KW110", "e", NAME)}),
        ({"metadata__name": "a.b"}, {("KW110", "e", NAME)}),
        ({"metadata__name": "a-"}, {("KW110", "e", NAME)}),
        ({"metadata__name": "a\n"}, {("KW110", "e", NAME)}),
        ({"metadata__name": "é"}, {("KW110", "e", NAME)}),
        ({"metadata__name": "a" * 63}, set()),
        ({"metadata__name": "a" * 64}, {("KW110", "e", NAME)}),
        ({"metadata__name": "a" * 54, **LLAMA}, set()),
        ({"metadata__name": "a" * 55, **LLAMA}, {("KW111", "e", NAME)}),
        ({"metadata__namespace": "ml"}, set()),
        ({"metadata__namespace": "ML"}, {("KW112", "e", "metadata.namespace")}),
        ({"metadata__labels": {"a/b/c": "x"}}, {("KW113", "e", "metadata.labels[a/b/c]")}),
        ({"metadata__labels": {"a": "x y"}}, {("KW113", "e", "metadata.labels[a]")}),
        ({"metadata__labels": {"example.com/a": "", "b": "A_1.x-2"}}, set()),
        ({"metadata__labels": {"a": "x" * 64}}, {("KW113", "e", "metadata.labels[a]")}),
        ({"metadata__annotations": {"a b": "x"}}, {("KW113", "e", "metadata.annotations[a b]")}),
        ({"metadata__annotations": {"a": "any text\n" * 100}}, set()),
        (
            {"metadata__annotations": {"kaito.sh/enablelb": "true"}},
            {("KW114", "w", "metadata.annotations[kaito.sh/enablelb]")},
        ),
        ({"metadata__annotations": {"kaito.sh/enablelb": "True"}}, set()),
        ({"metadata__annotations": {"kaito.sh/enablelb": "no"}}, set()),
        ({"metadata__annotations": {"kaito.sh/runtime": "tgi"}}, {("KW114", "w", RUNTIME)}),
        # nodes
        ({"resource": REMOVE}, {("KW120", "e", "resource")}),
        ({"resource__labelSelector": {}}, {("KW120", "e", LABELS)}),
        ({"resource__labelSelector__matchLabels": {}}, {("KW120", "e", LABELS)}),
        ({"resource__labelSelector__matchLabels": {"a": "b c"}}, {("KW113", "e", f"{LABELS}[a]")}),
        (
            {"resource__labelSelector__matchLabels": {"kaito.sh/workspace": "x"}},
            {("KW122", "w", f"{LABELS}[kaito.sh/workspace]")},
        ),
        (
            {"resource__labelSelector__matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]},
            set(),
        ),
        ({"resource__count": 0}, {("KW123", "e", COUNT)}),
        ({"resource__count": -1}, {("KW123", "e", COUNT)}),
        ({"resource__count": 3}, set()),
        ({"resource__preferredNodes": ["n1", "n2.example.com"]}, set()),
        ({"resource__preferredNodes": ["N1"]}, {("KW124", "e", "resource.preferredNodes[0]")}),
        ({"resource__preferredNodes": ["n", "m", "n"]}, {("KW125", "w", "resource.preferredNodes[2]")}),
        ({**BETA, "resource__preferredNodes": ["n"]}, set()),  # kaitoctl's own controller reads them
        # instance type and fit
        ({"resource__instanceType": "Standard_NC12s_v9"}, {("KW130", "w", TYPE)}),
        ({"resource__instanceType": "standard_nc12s_v3"}, {("KW130", "w", TYPE)}),
        ({"resource__instanceType": "g4ad.xlarge"}, {("KW131", "e", TYPE)}),
        ({"resource__instanceType": "trn1.2xlarge"}, {("KW131", "e", TYPE)}),
        ({"resource__instanceType": "g3s.8xlarge"}, {("KW132", "e", TYPE)}),
        ({"resource__instanceType": "Standard_ND96asr_A100_v4"}, {("KW132", "e", TYPE)}),
        ({"resource__instanceType": "g5g.xlarge"}, {("KW133", "e", TYPE)}),
        ({"resource__instanceType": REMOVE}, {("KW138", "w", TYPE)}),
        ({**BETA, "resource__instanceType": REMOVE}, {("KW138", "w", TYPE)}),
        ({"resource__instanceType": "Standard_NC6s_v3"}, set()),
        ({"resource__instanceType": "Standard_NV6"}, {("KW136", "e", TYPE)}),
        ({"resource__instanceType": "Standard_NV6", "resource__count": 4}, {("KW136", "e", TYPE)}),
        ({"inference__preset__name": "falcon-40b"}, {("KW136", "e", TYPE)}),
        (
            {"inference__preset__name": "falcon-40b", "resource__instanceType": "Standard_NC24ads_A100_v4"},
            {("KW134", "e", TYPE), ("KW136", "e", TYPE)},
        ),
        (
            {"inference__preset__name": "falcon-40b", "resource__instanceType": "Standard_NC48ads_A100_v4"},
            set(),
        ),
        ({**LLAMA, "resource__instanceType": "Standard_NC6s_v3", "resource__count": 2}, set()),
        (
            {**LLAMA, "resource__instanceType": "Standard_NC6s_v3"},
            {("KW134", "e", TYPE), ("KW136", "e", TYPE)},
        ),
        (
            {**LLAMA, "resource__instanceType": "Standard_NV12"},
            {("KW135", "e", TYPE), ("KW136", "e", TYPE)},
        ),
        ({**LLAMA_70B, "resource__instanceType": "Standard_NC96ads_A100_v4", "resource__count": 2}, set()),
        (
            {**LLAMA_70B, "resource__instanceType": "Standard_NC96ads_A100_v4", "resource__count": 3},
            {("KW137", "e", COUNT)},
        ),
        ({"resource__instanceType": "p4de.24xlarge"}, set()),
        # purpose
        ({"inference": REMOVE}, {("KW140", "e", "inference")}),
        ({"tuning": tuning()["tuning"]}, {("KW140", "e", "tuning")}),
        ({"inference": {}}, {("KW141", "e", PRESET)}),
        ({"inference__template": {"spec": {}}}, {("KW141", "e", "inference.template")}),
        ({"inference": {"template": {"spec": {}}}}, set()),
        # preset
        ({"inference__preset__name": "falcon7b"}, {("KW142", "e", f"{PRESET}.name")}),
        ({"inference__preset__name": "Falcon-7B"}, {("KW142", "e", f"{PRESET}.name")}),
        ({"inference__preset__name": "llama-2-7b"}, {("KW143", "e", f"{PRESET}.accessMode")}),
        ({"inference__preset__accessMode": "private"}, {("KW144", "e", f"{PRESET}.presetOptions.image")}),
        (
            {
                "inference__preset__accessMode": "private",
                "inference__preset__presetOptions": {"image": "R.io/X"},
            },
            {("KW145", "e", f"{PRESET}.presetOptions.image")},
        ),
        (
            {
                "inference__preset__accessMode": "private",
                "inference__preset__presetOptions": {"image": "r.io/x", "imagePullSecrets": ["ok", "Not Ok"]},
            },
            {("KW148", "e", f"{PRESET}.presetOptions.imagePullSecrets[1]")},
        ),
        (
            {"inference__preset__presetOptions": {"image": "r.io/x"}},
            {("KW146", "w", f"{PRESET}.presetOptions.image")},
        ),
        # runtime
        ({"metadata__annotations": {"kaito.sh/runtime": "vllm"}}, set()),
        (
            {**LLAMA, "metadata__annotations": {"kaito.sh/runtime": "vllm"}},
            {("KW147", "e", RUNTIME)},
        ),
    ],
)
def test_a_rule_finds_what_breaks_it_and_nothing_else(
    changes: dict[str, Any], expected: set[tuple[str, str, str]]
) -> None:
    assert rules(workspace(**changes)) == expected


@pytest.mark.parametrize(
    ("adapters", "expected"),
    [
        ([{"strength": "1"}], {("KW151", "e", f"{FIRST}.source")}),
        (
            [{"source": {}, "strength": "1"}],
            {("KW152", "e", f"{FIRST}.source.name"), ("KW151", "e", f"{FIRST}.source.image")},
        ),
        ([adapter(urls=["https://x"])], {("KW151", "e", f"{FIRST}.source.urls")}),
        (
            [adapter(image=None, volumeSource={"emptyDir": {}})],
            {("KW151", "e", f"{FIRST}.source.volumeSource")},
        ),
        ([adapter("A")], {("KW152", "e", f"{FIRST}.source.name")}),
        ([adapter("a.b")], {("KW152", "e", f"{FIRST}.source.name")}),
        ([adapter("a" * 64)], {("KW152", "e", f"{FIRST}.source.name")}),
        ([adapter("7b")], set()),
        ([adapter(), adapter("b"), adapter()], {("KW153", "e", "inference.adapters[2].source.name")}),
        ([adapter("falcon")], {("KW154", "e", f"{FIRST}.source.name")}),
        ([adapter(image="<YOUR_IMAGE>")], {("KW145", "e", f"{FIRST}.source.image")}),
        ([adapter(imagePullSecrets=["a", "B"])], {("KW148", "e", f"{FIRST}.source.imagePullSecrets[1]")}),
        ([adapter(strength="1.5")], {("KW156", "e", f"{FIRST}.strength")}),
        ([adapter(strength=None)], {("KW157", "w", f"{FIRST}.strength")}),
        ([adapter(f"a{n}") for n in range(10)], set()),
        ([adapter(f"a{n}") for n in range(11)], {("KW150", "e", "inference.adapters")}),
    ],
)
def test_an_adapter_is_judged_on_create_too(adapters: list[Any], expected: set[tuple[str, str, str]]) -> None:
    assert rules(with_adapters(*adapters)) == expected


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        (LLAMA, "KW158"),
        ({"inference__preset": {**LLAMA["inference__preset"], "name": "llama-2-7b"}}, "KW158"),
        ({"metadata__annotations": {"kaito.sh/runtime": "vllm"}}, "KW158"),
        (
            {"metadata__annotations": {}, "inference": {"template": {"spec": {}}}},
            "KW159",
        ),
    ],
)
def test_adapters_that_nothing_loads_are_a_warning(changes: dict[str, Any], code: str) -> None:
    obj = workspace(**changes)
    obj["inference"]["adapters"] = [adapter()]
    assert rules(obj) == {(code, "w", "inference.adapters")}


@pytest.mark.parametrize(("target", "codes"), [("v0.3", []), ("v0.4", ["KW160"]), (OWN, [])])
def test_adapters_need_an_annotation_where_vllm_is_the_default(target: str, codes: list[str]) -> None:
    obj = with_adapters(adapter(), metadata__annotations={})
    assert [problem.code for problem in validation.problems(obj, Setting(target))] == codes


@pytest.mark.parametrize(
    ("changes", "placeholder"),
    [
        ({"inference__preset__name": "{{ .Values.preset }}"}, "{{ .Values.preset }}"),
        ({"resource__instanceType": "${TYPE}"}, "${TYPE}"),
        ({"resource__count": "{{ .n }}"}, "{{ .n }}"),
        ({"metadata__name": "{{ .Release.Name }}-phi"}, "{{ .Release.Name }}"),
        ({"metadata__labels": {"a": "$(B)"}}, "$(B)"),
        ({"resource__preferredNodes": ["{{ .node }}"]}, "{{ .node }}"),
    ],
)
@pytest.mark.parametrize("target", [None, "v0.12", OWN])
def test_a_value_that_nobody_filled_in_is_named(
    changes: dict[str, Any], placeholder: str, target: str | None
) -> None:
    told = [str(one.hint) for one in validation.judge(workspace(**changes), Setting(target))]
    assert f"{placeholder} was not filled in: render the template (Helm, envsubst) first" in told
    plain = validation.judge(workspace(inference__preset__name="no-such"), Setting(target))
    assert not any("filled in" in str(one.hint) for one in plain)


@pytest.mark.parametrize("target", ["v0.12", OWN])
@pytest.mark.parametrize(
    "model", [one for one in catalog.models().values() if one.gated], ids=lambda one: one.id
)
def test_a_gated_model_needs_a_token_whoever_makes_its_server(model: catalog.Model, target: str) -> None:
    def told(**more: Any) -> list[str]:
        obj = workspace(inference__preset__name=model.id, **more) | {"apiVersion": "kaito.sh/v1beta1"}
        return [one.severity for one in validation.judge(obj, Setting(target)) if one.code == "KW166"]

    assert told() == ["warning"]
    assert told(inference__preset__presetOptions={"modelAccessSecret": "hf"}) == []
    assert told(metadata__annotations={"kaito.sh/use-local-weights": "true"}) == []


@pytest.mark.parametrize("target", ["v0.3", "v0.4", "v0.4.6", "v0.9", "v0.12", OWN])
def test_a_type_without_a_gpu_is_said_to_have_none(target: str) -> None:
    def said(name: str) -> str:
        obj = workspace(resource__instanceType=name)
        (one,) = [one for one in validation.judge(obj, Setting(target)) if one.code == "KW130"]
        return one.message

    for name in (
        "Standard_D4s_v5",
        "Standard_E8s_v5",
        "Standard_HB120rs_v3",
        "standard_f8s",
        "Standard_B2ms",
    ):
        assert said(name).startswith(f"{name!r} has no GPU: ")
    for name in (
        "m5.large",
        "c7gn.xlarge",
        "r6g.large",
        "x2idn.32xlarge",
        "u-6tb1.56xlarge",
        "hpc7a.96xlarge",
    ):
        assert said(name).startswith(f"{name!r} has no GPU: ")
    for name in (
        "Standard_NC8s_v9",
        "Standard_ND1_v9",
        "g99.xlarge",
        "p9.48xlarge",
        "trn9.large",
        "inf9.x",
        "x",
    ):
        assert "has no GPU" not in said(name)


def test_a_preset_that_the_generation_lacks_is_an_error() -> None:
    on_a100 = {"resource__instanceType": "Standard_NC24ads_A100_v4"}
    obj = workspace(inference__preset__name="phi-3.5-mini-instruct", **on_a100)
    (problem,) = validation.problems(obj, Setting("v0.3"))
    assert (problem.code, problem.path) == ("KW142", "inference.preset.name")
    assert validation.problems(obj) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"resource__count": 2}, {("KW170", "e", COUNT)}),
        ({"tuning__preset": REMOVE}, {("KW171", "e", "tuning.preset")}),
        ({"tuning__preset": {"name": "falcon-7b-instruct"}}, {("KW171", "e", "tuning.preset.name")}),
        ({"tuning__preset": {"name": "phi"}}, {("KW142", "e", "tuning.preset.name")}),
        ({"tuning__method": "QLoRA"}, {("KW172", "e", "tuning.method")}),
        ({"tuning__method": REMOVE}, {("KW172", "e", "tuning.method")}),
        ({"tuning__input": {}}, {("KW173", "e", "tuning.input")}),
        ({"tuning__input": {"urls": ["u"], "image": "r.io/x"}}, {("KW173", "e", "tuning.input")}),
        ({"tuning__input": {"volumeSource": {"emptyDir": {}}}}, {("KW173", "e", "tuning.input")}),
        ({"tuning__output": {}}, {("KW174", "e", "tuning.output.image")}),
        ({"tuning__output": {"image": "r.io/x"}}, {("KW174", "e", "tuning.output.imagePushSecret")}),
        (
            {"tuning__output": {"image": "r.io/x$(touch a):1", "imagePushSecret": "s"}},
            {("KW145", "e", "tuning.output.image")},
        ),
    ],
)
def test_tuning_has_rules_too(changes: dict[str, Any], expected: set[tuple[str, str, str]]) -> None:
    assert rules(tuning(**changes)) == expected


# --- grammars ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reference",
    [
        "adapter",
        "org/adapter",
        "org/sub/adapter:v1",
        "r.io/a",
        "r.io:5000/a/b_c/d__e/f--g.h:V1_x.y-z",
        "localhost/a",
        "localhost:5000/a:1",
        "host:80/a",
        f"r.io/a@{DIGEST}",
        f"r.io/a:1@{DIGEST}",
        "[::1]:5000/a",
        "R.io/a",
        "123.dkr.ecr.eu-west-1.amazonaws.com/a:latest",
    ],
)
def test_an_image_reference_is_accepted(reference: str) -> None:
    assert validation.image_fault(reference) == ""


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("", "empty"),
        ("<YOUR_IMAGE>", "blank"),
        ("r.io/<org>/a", "blank"),
        ("YOUR_REGISTRY/a", "blank"),
        ("$REG/a", "blank"),
        ("r.io/Adapter:1", "lower case"),
        ("MyOrg/adapter", "lower case"),
        ("https://r.io/a", "not an image"),
        ("r.io/a:", "not an image"),
        ("r.io/a b", "not an image"),
        ("r.io/a\n", "not an image"),
        ("r.io//a", "not an image"),
        ("/a", "not an image"),
        ("a/", "not an image"),
        ("r.io/a:1:2", "not an image"),
        ("r.io/a@sha256:123", "not an image"),
        ("r.io/a___b", "not an image"),
        ("r.io/-a", "not an image"),
        ("r.io/a:" + "x" * 129, "not an image"),
        ("r.io/" + "a" * 256, "not an image"),
        ("a" * 100_000, "not an image"),
        ("r.io/x$(touch a):1", "not an image"),
        ("r.io/a;ls", "not an image"),
    ],
)
def test_what_is_not_an_image_reference_is_told_why(reference: str, why: str) -> None:
    assert why in validation.image_fault(reference)


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "-0",
        "1",
        "0.5",
        "+0.5",
        "1.0",
        "1.0000",
        "1.",
        ".5",
        "0.25",
        "1e-1",
        "1e-3",
        "5E-1",
        "10e-1",
        "00.5",
    ],
)
def test_a_strength_is_accepted(text: str) -> None:
    assert validation.strength_fault(text) == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "NaN",
        "nan",
        "inf",
        "-inf",
        "Infinity",
        "1e400",
        "1e9999999999",
        "-0.1",
        "1.01",
        "2",
        "0.5\n",
        " 0.5",
        "0,5",
        "0x1",
        "0x1p-1",
        "--1",
        "0.5 ",
        "1_0",
        "½",
        "\u0660",
        "high",
        ".",
        "e1",
        "0." + "0" * 100,
    ],
)
def test_what_is_not_a_strength_is_refused(text: str) -> None:
    assert validation.strength_fault(text)


# --- judging with the schema -----------------------------------------------------------------------------


def test_the_schema_and_the_rules_speak_once_each() -> None:
    obj = with_adapters(
        adapter(strength=0.5),
        resource__count="two",
        resource__instanceTyp="x",
        inference__preset={"nam": "phi-2"},
    )
    problems = validation.judge(obj)
    assert found(problems) == {
        ("KW101", "e", "inference.adapters[0].strength"),
        ("KW101", "e", "resource.count"),
        ("KW102", "e", "resource.instanceTyp"),
        ("KW101", "e", "inference.preset.name"),
        ("KW102", "e", "inference.preset.nam"),
    }


def test_a_field_of_the_other_version_is_unknown() -> None:
    partition = {"resource__partition": {"mode": "mig", "profile": "3g.40gb"}}
    assert found(validation.judge(workspace(**partition))) == {("KW102", "e", "resource.partition")}
    served = workspace(**BETA, **partition, resource__instanceType=REMOVE, inference__preset__name="phi-4")
    assert validation.judge(served, Setting(byo=True, gates=frozenset({"enableMIG"}))) == []


def test_a_schema_is_found_by_either_form_of_its_version() -> None:
    assert validation.schema_of("v1alpha1") == validation.schema_of("kaito.sh/v1alpha1")
    with pytest.raises(KeyError):
        validation.schema_of("v2")


# --- update ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {}, set()),
        ({}, {"inference__adapters": [adapter()]}, set()),
        ({}, {"resource__preferredNodes": ["n"]}, set()),
        ({}, {"metadata__labels": {"a": "b"}}, set()),
        (
            {},
            {
                "resource__count": 1,
                "inference__preset__accessMode": "public",
                "inference__preset__presetOptions": {},
            },
            set(),
        ),
        ({"resource__instanceType": REMOVE}, {}, set()),
        ({}, {"resource__count": 2}, {("KW181", "e", COUNT)}),
        ({"resource__count": 2}, {}, {("KW181", "e", COUNT)}),
        ({}, {"resource__instanceType": "Standard_NC24s_v3"}, {("KW181", "e", TYPE)}),
        (
            {},
            {"resource__labelSelector__matchLabels": {"a": "b"}},
            {("KW181", "e", "resource.labelSelector")},
        ),
        ({}, {"inference__preset__name": "phi-2"}, {("KW181", "e", PRESET)}),
        ({}, {"inference": REMOVE}, {("KW180", "e", "inference")}),
        ({"inference": REMOVE}, {}, {("KW180", "e", "inference")}),
        ({}, {"inference__template": {}}, {("KW182", "e", "inference.template")}),
        ({"inference__template": {}}, {}, {("KW182", "e", "inference.template")}),
        (
            {"inference__template": {"a": 1}},
            {"inference__template": {"a": 2}},
            {("KW183", "w", "inference.template")},
        ),
    ],
)
def test_an_update_changes_only_what_may_change(
    before: dict[str, Any], after: dict[str, Any], expected: set[tuple[str, str, str]]
) -> None:
    assert found(validation.update_problems(workspace(**before), workspace(**after))) == expected


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ({"tuning__method": "QLORA"}, set()),
        ({"tuning__method": "lora"}, {("KW181", "e", "tuning.method")}),
        ({"tuning__preset": {"name": "falcon-7b"}}, {("KW181", "e", "tuning.preset")}),
        ({"tuning__input": {"name": "x", "urls": ["u"]}}, {("KW181", "e", "tuning.input.name")}),
        ({"tuning__input": {"urls": ["other"]}, "tuning__config": "c"}, set()),
    ],
)
def test_an_update_of_tuning_keeps_preset_and_method(
    after: dict[str, Any], expected: set[tuple[str, str, str]]
) -> None:
    assert found(validation.update_problems(tuning(), tuning(**after))) == expected


# --- laws ------------------------------------------------------------------------------------------------

LEAF = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSON = st.recursive(
    LEAF,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(place for key, item in below for place in places(item, (*path, key)))]


FULL = with_adapters(
    adapter(imagePullSecrets=["s"]),
    adapter("b"),
    metadata__labels={"a": "b"},
    resource__count=1,
    resource__preferredNodes=["n"],
    resource__labelSelector={
        "matchLabels": {"a": "b"},
        "matchExpressions": [{"key": "k", "operator": "Exists"}],
    },
    inference__preset={
        "name": "falcon-7b",
        "accessMode": "private",
        "presetOptions": {"image": "x", "imagePullSecrets": ["s"]},
    },
    tuning={**tuning()["tuning"], "input": {"image": "x", "name": "n"}},
)


SETTINGS = [Setting(target, "aws", byo=True, config_maps={}) for target in ("v0.3", "v0.12")]


@given(place=st.sampled_from(places(FULL)), nonsense=JSON)
@settings(max_examples=400, deadline=None)
def test_nonsense_anywhere_is_judged_and_never_raises(place: tuple[Any, ...], nonsense: Any) -> None:
    obj: Any = copy.deepcopy(FULL)
    if not place:
        obj = nonsense
    else:
        target = obj
        for step in place[:-1]:
            target = target[step]
        target[place[-1]] = nonsense
    problems = [
        *(problem for setting in SETTINGS for problem in validation.judge(obj, setting, old=FULL)),
        *validation.judge(obj),
        *validation.problems(obj),
        *validation.update_problems(obj, FULL),
        *validation.update_problems(FULL, obj),
    ]
    for problem in problems:
        assert problem.code in CODES
        assert problem.severity in ("error", "warning")
        assert "\n" not in problem.message
        assert len(problem.message) < 400


@given(JSON, JSON)
@settings(max_examples=100, deadline=None)
def test_any_json_value_at_all_is_judged(old: Any, new: Any) -> None:
    for api_version in ("kaito.sh/v1alpha1", "kaito.sh/v1beta1"):
        validation.judge({**new, "apiVersion": api_version} if isinstance(new, dict) else new, old=old)
    validation.update_problems(old, new)


def test_numbers_of_any_size_are_judged() -> None:
    for count in (10**5000, -(10**5000), True, 1.0):
        validation.problems(workspace(resource__count=count))


def test_of_endless_problems_a_hundred_are_told() -> None:
    obj = workspace(resource__preferredNodes=[1] * 50_000, inference__adapters=[{}] * 50_000)
    problems = validation.judge(obj)
    assert len(problems) == 101
    assert problems[-1].code == "KW104"


def test_every_preset_runs_on_some_type_of_each_cloud() -> None:
    for preset in catalog.presets().values():
        for cloud in ("azure", "aws"):
            machines = [m for m in catalog.instance_types().values() if m.cloud == cloud]
            assert any(validation.fits(preset, machine) for machine in machines), (preset.name, cloud)


def test_a_suggested_type_fits() -> None:
    (problem,) = validation.problems(workspace(resource__instanceType="Standard_NV6"))
    suggested = text(problem.hint).split()[-1]
    assert validation.problems(workspace(resource__instanceType=suggested)) == []


def test_every_code_is_explained_and_used() -> None:
    folders = [Path(inspect.getfile(validation)).parent, Path(inspect.getfile(app)).parent]
    source = "".join(file.read_text() for folder in folders for file in folder.glob("*.py"))
    for code, explanation in CODES.items():
        assert explanation.meaning.endswith("."), code
        assert explanation.title[0].islower() or explanation.title.startswith(("GPU", "URL")), code
        assert source.count(f'"{code}"') >= 2, f"{code} is explained but never found"
