"""What becomes of one adapter's entry, what is applied for it, and what takes it back."""

from __future__ import annotations

import itertools
import shlex
from typing import Any

import pytest
from builders import adapter, workspace

from kaitoctl.advice import text
from kaitoctl.errors import ApiError, InputError
from kaitoctl.kaito import adapters
from kaitoctl.kaito.validation import OWN, Setting
from kaitoctl.kube import refusal_hints
from kaitoctl.kube.objects import Object

STYLE, TONE = adapter(), adapter("tone", "registry.example/tone:1", "1.0")


def serving(*entries: Object, **changes: Any) -> Object:
    return workspace(inference={"adapters": list(entries)} if entries else {}, **changes)


def names(entries: list[Object]) -> list[str]:
    return [adapters.name_of(item) for item in entries]


# --- changes -----------------------------------------------------------------------------------------------


def test_an_adapter_is_added_at_the_end_and_the_others_stay() -> None:
    assert adapters.adding(TONE).on([STYLE]) == [STYLE, TONE]
    assert adapters.adding(STYLE).on([]) == [STYLE]


def test_adding_what_is_there_already_changes_nothing() -> None:
    assert adapters.adding(STYLE).on([STYLE, TONE]) == [STYLE, TONE]


def test_another_adapter_of_the_name_is_replaced_only_when_asked_for_and_keeps_its_place() -> None:
    other = adapter(image="registry.example/style:2")
    with pytest.raises(InputError, match="there is an adapter style already") as told:
        adapters.adding(other).on([STYLE, TONE])
    assert "--replace" in told.value.hint
    assert adapters.adding(other, may_replace=True).on([STYLE, TONE]) == [other, TONE]


def test_a_removed_adapter_leaves_the_others_in_order() -> None:
    assert names(adapters.removing("style").on([adapter("a"), STYLE, TONE])) == ["a", "tone"]


@pytest.mark.parametrize("change", [adapters.removing("styl"), adapters.setting("styl", strength="0.5")])
def test_a_change_of_an_adapter_that_is_not_there_names_the_one_that_was_meant(
    change: adapters.Change,
) -> None:
    with pytest.raises(InputError, match="no adapter 'styl'") as told:
        change.on([STYLE, TONE])
    assert text(told.value.hint) == "did you mean style?"


def test_setting_changes_what_is_given_and_keeps_fields_that_it_does_not_know() -> None:
    present = {
        "source": {"name": "style", "image": "a/b:1", "imagePullSecrets": ["s"], "new": 1},
        "strength": "1",
    }
    changed = adapters.setting("style", strength="0.5").on([present])[0]
    assert changed == {**present, "strength": "0.5"}
    changed = adapters.setting("style", image="a/b:2", pull_secrets=["t"]).on([present])[0]
    source = {"name": "style", "image": "a/b:2", "imagePullSecrets": ["t"], "new": 1}
    assert changed == {"source": source, "strength": "1"}


def test_an_image_takes_the_place_of_a_volume() -> None:
    volume = adapters.entry("style", volume_claim="weights")
    assert adapters.source_text(volume) == "claim weights"
    assert adapters.setting("style", image="a/b:1").on([volume]) == [adapters.entry("style", image="a/b:1")]


def test_taking_back_restores_the_entry_but_never_what_somebody_else_wrote_since() -> None:
    later = adapter(strength="0.9")
    back = adapters.restoring("style", STYLE, later)
    assert back.on([TONE, later]) == [TONE, STYLE]
    assert back.on([TONE, STYLE]) == [TONE, STYLE]
    with pytest.raises(InputError, match="changed by somebody else"):
        back.on([adapter(strength="0.4")])
    assert adapters.restoring("style", None, STYLE).on([STYLE, TONE]) == [TONE]


@pytest.mark.parametrize(
    "before",
    [
        STYLE,
        adapter(strength=None),
        adapters.entry("style", image="a/b:1", strength="1", pull_secrets=["x", "y"]),
        adapters.entry("style", volume_claim="weights"),
    ],
)
def test_the_way_back_is_a_command_line_that_makes_the_same_entry(before: Object) -> None:
    command = adapters.way_back("falcon", "style", before, ["-n", "models"])
    assert command is not None
    line = text(command)
    words = shlex.split(line)
    assert words[:3] == ["kaitoctl", "add-adapter", "falcon"] and words[-2:] == ["-n", "models"]
    given: dict[str, list[str]] = {}
    for option, value in itertools.pairwise(words):
        given.setdefault(option, []).append(value)
    made = adapters.entry(
        given["--name"][0],
        image=given.get("--image", [""])[0],
        volume_claim=given.get("--volume-claim", [""])[0],
        strength=given.get("--strength", [None])[0],
        pull_secrets=given.get("--image-pull-secret", []),
    )
    assert made == before


def test_the_way_back_from_a_new_adapter_removes_it_and_from_an_odd_one_is_not_made_up() -> None:
    removing = adapters.way_back("falcon", "style", None)
    assert removing is not None and text(removing) == "kaitoctl remove-adapter falcon --name style"
    odd = {"source": {"name": "style", "volumeSource": {"hostPath": {"path": "/x"}}}}
    assert adapters.way_back("falcon", "style", odd) is None


# --- what is applied ---------------------------------------------------------------------------------------


def managed(manager: str, fields: Object, operation: str = "Apply", version: str = "v1alpha1") -> Object:
    api_version = f"kaito.sh/{version}"
    return {"manager": manager, "operation": operation, "apiVersion": api_version, "fieldsV1": fields}


INFERENCE: Object = {"f:inference": {"f:preset": {"f:name": {}}, "f:adapters": {}}}
RESOURCE: Object = {"f:resource": {"f:instanceType": {}, "f:labelSelector": {}}}


def test_all_that_we_applied_before_is_applied_again_and_nothing_of_others() -> None:
    obj = serving(STYLE, metadata={"managedFields": [managed("kaitoctl", {**INFERENCE, **RESOURCE})]})
    made = adapters.intent(obj, [STYLE, TONE], "kaitoctl")
    assert made["resource"] == {key: obj["resource"][key] for key in ("instanceType", "labelSelector")}
    assert made["inference"] == {"preset": {"name": "falcon-7b"}, "adapters": [STYLE, TONE]}


def test_of_a_workspace_that_others_made_only_the_adapters_are_applied() -> None:
    made_by_helm = managed("helm", {**RESOURCE, "f:inference": {"f:preset": {"f:name": {}}}}, "Update")
    made = adapters.intent(serving(metadata={"managedFields": [made_by_helm]}), [STYLE], "kaitoctl")
    assert made == {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": "falcon", "namespace": "default", "uid": "ws-uid", "resourceVersion": "7"},
        "inference": {"adapters": [STYLE]},
    }


def test_the_last_adapter_goes_with_its_field_unless_others_have_a_claim_to_it() -> None:
    ours = serving(
        STYLE, metadata={"managedFields": [managed("kaitoctl", {"f:inference": {"f:adapters": {}}})]}
    )
    assert "inference" not in adapters.intent(ours, [], "kaitoctl")
    theirs = serving(STYLE, metadata={"managedFields": [managed("helm", INFERENCE, "Update")]})
    assert adapters.intent(theirs, [], "kaitoctl")["inference"] == {"adapters": []}


def test_a_workspace_is_read_in_the_version_that_its_preset_was_written_in() -> None:
    fields = [
        managed("kaitoctl", {"f:inference": {"f:adapters": {}}}, version="v1beta1"),
        managed("helm", INFERENCE, "Update", version="v1alpha1"),
    ]
    assert adapters.written_as(serving(metadata={"managedFields": fields})) == "kaito.sh/v1alpha1"
    assert adapters.written_as(serving(metadata={})) == "kaito.sh/v1alpha1"


# --- judging -----------------------------------------------------------------------------------------------


def codes(before: Object, after: Object, target: str, *, is_on_vllm: bool | None = None) -> set[str]:
    found = adapters.faults(before, after, Setting(target), is_on_vllm=is_on_vllm)
    return {problem.code for problem in found if problem.severity == "error"}


def with_one(entry: Object, **changes: Any) -> tuple[Object, Object]:
    return serving(**changes), serving(entry, **changes)


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        (adapter("Not_A_Name"), "KW152"),
        (adapter("falcon"), "KW154"),
        (adapter("x" * 64), "KW152"),
        (adapter(image="Registry.example/Style:1"), "KW145"),
        (adapter(image="registry.example:port/style:1"), "KW145"),
        (adapter(image="registry.example/style@sha256:12"), "KW145"),
        (adapter(image="registry.example/style:"), "KW145"),
        (adapter(strength="2"), "KW156"),
        (adapter(strength="nan"), "KW156"),
        (adapter(strength="inf"), "KW156"),
        (adapter(strength=" 0.5"), "KW156"),
        (adapter(strength="-0.1"), "KW156"),
        (adapters.entry("style", image="a/b:1", strength="1", pull_secrets=["Not A Name"]), "KW148"),
        (adapters.entry("style", volume_claim="weights", strength="1"), "KW151"),
    ],
)
def test_what_no_adapter_may_be_is_refused(entry: Object, code: str) -> None:
    assert code in codes(*with_one(entry), OWN)


@pytest.mark.parametrize(
    "image",
    [
        "registry.example:5000/team/style:1",
        "registry.example/style@sha256:" + "a" * 64,
        "registry.example/style:1@sha256:" + "a" * 64,
        "localhost:5000/style:v1.0_x",
    ],
)
def test_ports_tags_and_digests_are_images(image: str) -> None:
    assert codes(*with_one(adapter(image=image)), OWN) == set()


def test_eleven_adapters_are_too_many() -> None:
    ten = [adapter(f"a{number}") for number in range(10)]
    assert "KW150" in codes(serving(*ten), serving(*ten, STYLE), OWN)


@pytest.mark.parametrize("preset", ["llama-2-7b", "llama-2-13b"])
def test_servers_that_load_no_adapters_are_a_refusal_and_not_a_warning(preset: str) -> None:
    options = {"accessMode": "private", "presetOptions": {"image": "registry.example/llama:1"}}
    before = workspace(inference={"preset": {"name": preset, **options}})
    after = adapters.with_entries(before, [STYLE])
    assert "KW158" in codes(before, after, OWN)


def test_whether_v04_loads_adapters_is_told_by_what_serves_now() -> None:
    assert "KW160" in codes(*with_one(STYLE), "v0.4", is_on_vllm=True)
    assert codes(*with_one(STYLE), "v0.4", is_on_vllm=False) == set()
    assert codes(*with_one(STYLE), "v0.4") == set()


def test_vllm_of_v012_takes_adapters_without_strength_only() -> None:
    changes = {"apiVersion": "kaito.sh/v1beta1"}
    inference = {"preset": {"name": "phi-4"}}
    before = {**workspace(), **changes, "inference": inference}
    # KAITO looks at strength on creation only: on update it is admitted, and vLLM has no use for it.
    after = adapters.with_entries(before, [STYLE])
    found = adapters.faults(before, after, Setting("v0.12"))
    assert [(item.code, item.severity, item.kaito) for item in found] == [("KW161", "error", "ignores")]
    bare = adapters.with_entries(before, [adapter(strength=None)])
    assert codes(before, bare, "v0.12") == set()
    volume = adapters.with_entries(before, [adapters.entry("style", volume_claim="weights")])
    assert codes(before, volume, "v0.12") == set()


def test_what_was_wrong_before_is_no_reason_to_refuse_an_adapter() -> None:
    resource = {"instanceType": "Standard_NC999"}
    assert codes(*with_one(STYLE, resource=resource), "v0.3") == set()


# --- from tuning -------------------------------------------------------------------------------------------


def tuned(status: str = "True", *, preset: str = "falcon-7b", observed: int = 1) -> Object:
    condition = {
        "type": "WorkspaceSucceeded",
        "status": status,
        "reason": "x",
        "message": "tuning job has 1 active pod",
        "observedGeneration": observed,
    }
    obj = workspace("tune", status={"conditions": [condition]})
    del obj["inference"]
    output = {"image": "registry.example/tuned:1", "imagePushSecret": "push"}
    return {**obj, "tuning": {"preset": {"name": preset}, "method": "lora", "output": output}}


def test_the_image_that_tuning_has_pushed_is_pulled_with_the_secret_that_pushed_it() -> None:
    source = adapters.from_tuning(workspace(), tuned())
    assert source == {"image": "registry.example/tuned:1", "imagePullSecrets": ["push"]}


@pytest.mark.parametrize(
    ("obj", "words"),
    [
        (tuned("False"), "has not succeeded: tuning job has 1 active pod"),
        (tuned(observed=0), "has not succeeded"),
        (tuned(preset="phi-2"), "has tuned phi-2, and Workspace falcon serves falcon-7b"),
        (workspace("tune"), "does not tune"),
    ],
)
def test_what_has_not_been_tuned_for_this_model_is_not_attached(obj: Object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        adapters.from_tuning(workspace(), obj)


# --- conflicts ---------------------------------------------------------------------------------------------


def test_a_stale_read_and_a_foreign_owner_are_two_kinds_of_conflict() -> None:
    stale = ApiError(409, "Conflict", "the object has been modified", details={"name": "falcon"})
    assert refusal_hints.is_stale(stale)
    causes = [{"reason": "FieldManagerConflict", "message": 'conflict with "helm" using kaito.sh/v1alpha1'}]
    foreign = ApiError(409, "Conflict", "Apply failed", details={"causes": causes})
    assert not refusal_hints.is_stale(foreign)
    assert adapters.conflicting(foreign) == ['"helm" using kaito.sh/v1alpha1']
