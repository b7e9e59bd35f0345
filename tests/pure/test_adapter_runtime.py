"""Which runtime a new Workspace with adapters gets, by who is to serve it."""

from __future__ import annotations

import pytest

from kaitoctl.advice import text
from kaitoctl.kaito.api import ANNOTATION_RUNTIME
from kaitoctl.kaito.validation import OWN, Setting, judge, loading_adapters, wants_strength
from kaitoctl.kube.objects import Object, annotations_of, without

UNSAID = ("a",)


def asks_for(preset: str, version: str = "v1beta1", **metadata: object) -> Object:
    entry = {"source": {"name": "a", "image": "registry.example/a:1"}, "strength": "1.0"}
    return {
        "apiVersion": f"kaito.sh/{version}",
        "kind": "Workspace",
        "metadata": {"name": "w", **metadata},
        "resource": {
            "instanceType": "Standard_NC24ads_A100_v4",
            "labelSelector": {"matchLabels": {"apps": "w"}},
        },
        "inference": {"preset": {"name": preset}, "adapters": [entry]},
    }


@pytest.mark.parametrize(
    ("target", "preset", "version", "unsaid", "runtime"),
    [
        (OWN, "phi-4-mini-instruct", "v1beta1", UNSAID, None),
        (OWN, "phi-4", "v1beta1", (), "transformers"),
        (OWN, "phi-3-mini-4k-instruct", "v1alpha1", UNSAID, None),
        (OWN, "falcon-7b", "v1alpha1", UNSAID, "transformers"),
        (None, "falcon-7b", "v1alpha1", UNSAID, "transformers"),
        (None, "phi-3-mini-4k-instruct", "v1alpha1", UNSAID, "transformers"),
        (None, "phi-4", "v1beta1", UNSAID, None),
        ("v0.3.2", "falcon-7b", "v1alpha1", UNSAID, "transformers"),
        ("v0.4.0", "mistral-7b", "v1alpha1", UNSAID, "transformers"),
        ("v0.4.6", "falcon-7b", "v1alpha1", UNSAID, "transformers"),
        ("v0.9.4", "phi-4-mini-instruct", "v1beta1", UNSAID, None),
        ("v0.12.0", "phi-4", "v1beta1", UNSAID, None),
        ("v0.12.0", "phi-4", "v1beta1", (), "transformers"),
    ],
)
def test_the_runtime_is_one_that_loads_the_adapters(
    target: str | None, preset: str, version: str, unsaid: tuple[str, ...], runtime: str | None
) -> None:
    setting = Setting(target)
    made = loading_adapters(asks_for(preset, version), setting, unsaid)
    (entry,) = made["inference"]["adapters"]
    assert annotations_of(made).get(ANNOTATION_RUNTIME) == runtime
    assert ("strength" in entry) == (runtime == "transformers")
    assert not [item for item in judge(made, setting) if item.code in ("KW158", "KW160", "KW161", "KW162")]


def test_a_strength_that_nobody_can_apply_is_kept_and_refused() -> None:
    setting = Setting("v0.12.0")
    made = loading_adapters(asks_for("phi-4-mini-instruct"), setting, ())
    assert annotations_of(made) == {}
    assert "KW161" in [item.code for item in judge(made, setting) if item.severity == "error"]


@pytest.mark.parametrize(("runtime", "is_weighed"), [("transformers", True), ("vllm", False)])
def test_a_runtime_that_somebody_chose_stays(runtime: str, is_weighed: bool) -> None:
    asked = asks_for("phi-4", annotations={ANNOTATION_RUNTIME: runtime})
    made = loading_adapters(asked, Setting("v0.12.0"), UNSAID)
    assert annotations_of(made) == {ANNOTATION_RUNTIME: runtime}
    assert ("strength" in made["inference"]["adapters"][0]) == is_weighed


@pytest.mark.parametrize(
    ("target", "preset", "version", "runtime", "is_wanted"),
    [
        (OWN, "phi-4", "v1alpha1", "", False),
        (OWN, "phi-4", "v1beta1", "transformers", True),
        (OWN, "falcon-7b", "v1alpha1", "", True),
        ("v0.3.2", "falcon-7b", "v1alpha1", "", True),
        ("v0.4.0", "mistral-7b", "v1alpha1", "", True),
        ("v0.4.6", "phi-4-mini-instruct", "v1alpha1", "", False),
        ("v0.4.6", "phi-4-mini-instruct", "v1alpha1", "transformers", True),
        ("v0.12.0", "phi-4", "v1beta1", "", False),
    ],
)
def test_a_strength_that_nobody_gave_is_written_where_the_server_has_one(
    target: str, preset: str, version: str, runtime: str, is_wanted: bool
) -> None:
    setting, notes = Setting(target), {ANNOTATION_RUNTIME: runtime} if runtime else {}
    asked = asks_for(preset, version, annotations=notes)
    assert wants_strength(asked, setting) == is_wanted
    (entry,) = asked["inference"]["adapters"]
    said = entry if is_wanted else without(entry, "strength")
    made = {**asked, "inference": {**asked["inference"], "adapters": [said]}}
    assert not [item for item in judge(made, setting) if item.code == "KW161" and item.severity == "error"]


@pytest.mark.parametrize(("preset", "runs"), [("phi-4", True), ("phi-4-mini-instruct", False)])
@pytest.mark.parametrize("target", ["v0.12", OWN])
def test_transformers_is_advised_where_it_serves_the_model(target: str, preset: str, runs: bool) -> None:
    found = judge(asks_for(preset), Setting(target, byo=False))
    (hint,) = [text(item.hint) for item in found if item.code == "KW161"]
    assert hint.startswith("leave it out")
    assert ("transformers" in hint) is runs
    advised = asks_for(preset, annotations={ANNOTATION_RUNTIME: "transformers"})
    assert any(item.severity == "error" for item in judge(advised, Setting(target, byo=False))) is not runs


@pytest.mark.parametrize("target", [OWN, "v0.9.4", "v0.12.0"])
def test_a_model_of_hugging_face_that_no_catalog_here_has_gets_adapters_without_a_strength(
    target: str,
) -> None:
    assert not wants_strength(asks_for("owner/unknown-model"), Setting(target))
