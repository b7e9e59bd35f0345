"""A preset that nobody knows: what is near it in the whole catalog, and no presets of an old release."""

from __future__ import annotations

import re

import pytest

from kaitoctl.advice import text
from kaitoctl.kaito import catalog, validation
from kaitoctl.kaito.catalog import SHIPPED
from kaitoctl.kaito.validation import OWN, Setting
from kaitoctl.kube.objects import Object

EVERY = [*SHIPPED.model_names(), *SHIPPED.presets]


def judged(
    preset: str, setting: Setting, version: str = "v1beta1", **changes: Object
) -> list[validation.Problem]:
    workspace: Object = {
        "apiVersion": f"kaito.sh/{version}",
        "kind": "Workspace",
        "metadata": {"name": "w"},
        "resource": {
            "instanceType": "Standard_NC24ads_A100_v4",
            "labelSelector": {"matchLabels": {"a": "b"}},
        },
        "inference": {"preset": {"name": preset}},
        **changes,
    }
    return validation.judge(workspace, setting)


def refused(preset: str, target: str | None, version: str) -> validation.Problem:
    (problem,) = (one for one in judged(preset, Setting(target), version) if one.code == "KW142")
    return problem


@pytest.mark.parametrize(
    ("written", "near"),
    [
        ("qwen3", "Qwen/Qwen3-8B-AWQ"),
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-8B-AWQ"),
        ("Qwen3-8B", "Qwen/Qwen3-8B-AWQ"),
        ("deepseek", "deepseek-r1-distill-llama-8b"),
        ("kimi", "moonshotai/Kimi-K2.5"),
        ("phi4", "phi-4"),
        ("llama3", "llama-3.1-8b-instruct"),
        ("gptoss", "gpt-oss-20b"),
        ("falcon7b", "falcon-7b"),
    ],
)
def test_what_is_near_is_found_in_the_whole_catalog(written: str, near: str) -> None:
    assert catalog.close_matches(written, EVERY)[0] == near


def test_no_name_is_suggested_twice_and_nothing_for_next_to_nothing() -> None:
    assert catalog.close_matches("a/x", ["a/x", "b/x"])[0] == "a/x"
    assert catalog.close_matches("x1", ["a/x1", "x1"]) == ["x1", "a/x1"]
    assert catalog.close_matches("model-x1", ["a/model-x1"]) == ["a/model-x1"]
    assert catalog.close_matches("", EVERY) == catalog.close_matches("--", EVERY) == []


@pytest.mark.parametrize("version", ["v1alpha1", "v1beta1"])
@pytest.mark.parametrize("target", [None, "v0.12", OWN])
def test_who_names_no_old_release_hears_of_none(target: str | None, version: str) -> None:
    for preset in ("qwen3", "phi4x", "no-such-thing"):
        said = refused(preset, target, version)
        assert "falcon" not in said.line and "v0.4" not in said.line
        assert ("no KAITO from v0.3 to v0.12 knows" in said.message) == (target is None)
    assert "Qwen/Qwen3-8B-AWQ" in text(refused("qwen3", target, version).hint)
    hint = text(refused("no-such-thing", target, version).hint)
    assert "phi-4-mini-instruct" in hint or "kaitoctl models list" in hint
    assert "Qwen/" not in hint


def test_who_names_one_hears_of_that_one() -> None:
    said = refused("no-such-thing", "v0.4", "v1alpha1")
    assert "of KAITO v0.4" in said.message and "falcon-7b" in text(said.hint)


def test_one_that_another_release_has_is_not_called_unknown_to_all() -> None:
    assert "no KAITO" not in refused("phi-2", "v0.12", "v1beta1").message
    assert "no KAITO" not in refused("phi-4", "v0.4", "v1alpha1").message


def test_a_generation_that_is_pinned_is_named_with_who_has_the_preset() -> None:
    (said,) = (one for one in judged("phi-4", Setting(OWN, image_generation="v0.4")) if one.code == "KW142")
    assert said.message == "preset 'phi-4' is not in the catalog of KAITO v0.4"
    assert text(said.hint).startswith("KAITO v0.4.6 to v0.12 has it: let the controller make the newest")


@pytest.mark.parametrize("name", SHIPPED.model_names())
def test_the_command_that_finds_a_type_for_a_model_knows_the_model(name: str) -> None:
    asked = judged(name, Setting(OWN, byo=False), resource={"labelSelector": {"matchLabels": {"a": "b"}}})
    (hint,) = (text(one.hint) for one in asked if one.code == "KW138")
    (meant,) = re.findall(r"kaitoctl fit (\S+) lists", hint)
    assert SHIPPED.model(meant) is SHIPPED.model(name) is not None
