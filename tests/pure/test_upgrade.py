"""What an upgrade of KAITO does to Workspaces, case by case, as its source says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec import structs

from kaitoctl.advice import text
from kaitoctl.kaito import catalog, upgrade, validation
from kaitoctl.screens import upgrade_screen

A100, V100 = "Standard_NC24ads_A100_v4", "Standard_NC12s_v3"
TRANSFORMERS = {"kaito.sh/runtime": "transformers"}


def workspace(preset: str = "phi-4", instance_type: str = A100, **more: Any) -> Any:
    annotations = more.pop("annotations", {})
    return {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": "w", "namespace": "n", "annotations": annotations},
        "resource": {
            "instanceType": instance_type,
            "labelSelector": {"matchLabels": {"apps": "w"}},
            **more.pop("resource", {}),
        },
        "inference": {"preset": {"name": preset}, **more},
    }


def effect(obj: Any, now: str = "v0.4", **more: Any) -> upgrade.Effect:
    return upgrade.effect(obj, source="x", now=now, to="v0.12", **more)


def drawn(found: Sequence[upgrade.Effect], now: str = "v0.4", to: str = "v0.12") -> list[str]:
    return list(map(text, upgrade_screen.lines(found, now, to, where=(), are_files=False)))


STATEFUL_SET = {"kind": "StatefulSet", "status": {"replicas": 2}}


@pytest.mark.parametrize(
    ("obj", "now", "workload", "outcome"),
    [
        (workspace(), "v0.4", None, "restarts"),
        (workspace(), "v0.3", {"kind": "Deployment"}, "restarts"),
        (workspace(), "v0.4", STATEFUL_SET, "stays"),
        (workspace(), "v0.9", None, "stays"),
        (workspace("falcon-7b"), "v0.4", None, "unmanaged"),
        (workspace("falcon-7b", annotations=TRANSFORMERS), "v0.4", None, "ends"),
        (workspace("falcon-7b", annotations=TRANSFORMERS), "v0.4", STATEFUL_SET, "unmanaged"),
        (workspace("phi-4", V100), "v0.4", None, "unmanaged"),
        (workspace("phi-4", V100, annotations=TRANSFORMERS), "v0.4", None, "ends"),
        (workspace("Somebody/Their-Model"), "v0.4", None, "restarts"),
        ({**workspace(), "inference": {"template": {"spec": {}}}}, "v0.4", None, "restarts"),
        ({**workspace(), "inference": None, "tuning": {"preset": {"name": "phi-4"}}}, "v0.4", None, "stays"),
    ],
)
def test_what_becomes_of_the_pods(obj: Any, now: str, workload: Any, outcome: str) -> None:
    found = effect(obj, now, workload=workload)
    assert found.outcome == outcome
    assert bool(found.outage.pods) == (outcome == "restarts")
    assert found.breaks or outcome not in ("unmanaged", "ends")


@pytest.mark.parametrize("now", ["v0.3", "v0.4", "v0.9"])
@pytest.mark.parametrize("preset", ["phi-4", "falcon-7b", "Somebody/Their-Model"])
def test_nothing_restarts_or_ends_of_what_was_never_made(preset: str, now: str) -> None:
    tuned = {**workspace(preset), "inference": None, "tuning": {"preset": {"name": preset}}}
    for obj in (workspace(preset), tuned):
        found = effect(obj, now, is_made=False)
        assert (found.outcome, found.outage.pods) == ("nothing", 0)
        first, *said = drawn([found], now)
        assert "no workload" in first and not any("restart" in line for line in said)
        if obj is not tuned:
            assert bool(found.problems) == (preset == "falcon-7b"), "what is refused stays refused"
        assert now != "v0.9" or found.nodes_asked is None, "the upgrade asks for no more than there was"


def test_a_deployment_of_no_pods_is_replaced_and_nobody_goes_without_service() -> None:
    for scaled in (
        {"kind": "Deployment", "spec": {"replicas": 0}},
        {"kind": "Deployment", "spec": {"replicas": 0}, "status": {"observedGeneration": 1}},
    ):
        found = effect(workspace(), workload=scaled)
        assert (found.outcome, found.outage.pods) == ("restarts", 0)
        assert not any("wait:" in line or "service" in line for line in drawn([found]))


@pytest.mark.parametrize("seconds", [59, 1800, 3241, 3299, 3300, 3301])
def test_one_output_names_one_time(seconds: float) -> None:
    found = effect(workspace())
    slow = structs.replace(found, outage=structs.replace(found.outage, most_s=seconds))
    times = re.findall(r"([0-9]+ (?:minutes|seconds))", "\n".join(drawn([slow])))
    assert len(times) == 2 and len(set(times)) == 1


@pytest.mark.parametrize(
    ("now", "to", "is_there"),
    [
        ("v0.12.0", "v0.12", True),
        ("v0.12", "v0.12.0", True),
        ("v0.12.3", "v0.12", True),
        ("v0.12.0", "v0.12.1", False),
        ("v0.4", "v0.12", False),
        ("kaitoctl", "v0.12", False),
    ],
)
def test_no_upgrade_is_ordered_to_the_release_that_is_there(now: str, to: str, is_there: bool) -> None:
    fine = effect({**workspace(), "apiVersion": "kaito.sh/v1beta1"}, "v0.12")
    said = drawn([fine], now, to)
    assert any("its chart" in line for line in said) != is_there
    assert any("nothing to upgrade" in line for line in said) == is_there
    assert ("Order:" in said) != is_there
    old = drawn([effect(workspace(), "v0.12")], now, to)
    assert any("kaitoctl convert" in line or "-o manifests" in line for line in old), "it is to be rewritten"
    assert any("its chart" in line for line in old) != is_there


def test_what_is_written_instead_is_what_the_new_release_takes_or_what_breaks_is_said() -> None:
    for name in [*catalog.SHIPPED.presets, *catalog.SHIPPED.model_names()]:
        for instance_type in (A100, V100, "Standard_NC6s_v3", "g5.xlarge", "Standard_ND96amsr_A100_v4"):
            found = effect(workspace(name, instance_type, resource={"preferredNodes": ["a"]}))
            again = validation.judge(found.written, validation.Setting("v0.12"))
            errors = [item for item in again if item.severity == "error"]
            assert bool(errors) == bool(found.problems)
            assert found.written["apiVersion"] == "kaito.sh/v1beta1" and found.is_rewritten
            assert "preferredNodes" not in found.written["resource"]


@pytest.mark.parametrize(
    ("now", "is_lost"),
    [("v0.4.6", True), ("v0.7", True), ("kaitoctl", True), ("v0.8", False), ("v0.9", False)],
)
def test_of_v1beta1_is_named_what_earlier_releases_read_and_later_do_not(now: str, is_lost: bool) -> None:
    named = {**workspace(resource={"preferredNodes": ["gpu-a"], "count": 2})}
    named["apiVersion"] = "kaito.sh/v1beta1"
    found = effect(named, now)
    said = {remark.path: remark for remark in found.remarks}
    assert said.keys() == ({"resource.preferredNodes", "resource.count"} if is_lost else set())
    assert found.nodes_asked == (1 if is_lost else None)
    assert not found.is_rewritten and found.written["resource"]["preferredNodes"] == ["gpu-a"]
    if is_lost:
        assert "dropped" not in said["resource.preferredNodes"].message
        assert said["resource.preferredNodes"].commands == ("kubectl label node gpu-a apps=w",)


def test_what_is_lost_is_named_with_the_command_that_replaces_it() -> None:
    adapters = [{"source": {"name": "a", "image": "registry.example/a:1"}, "strength": "0.5"}]
    found = effect(workspace(adapters=adapters, resource={"preferredNodes": ["gpu-a"]}))
    said = {remark.path: remark for remark in found.remarks}
    assert said["resource.preferredNodes"].commands == ("kubectl label node gpu-a apps=w",)
    assert "inference.adapters[0].strength" in said and found.breaks
    assert any("strength" in line for line in found.problems)
    kept = effect(workspace(adapters=adapters, annotations=TRANSFORMERS))
    assert not any("strength" in line for line in kept.problems)


def test_what_a_plan_says_of_a_refused_field_beside_the_refusal_stays() -> None:
    without_type = {**workspace(), "resource": {"labelSelector": {"matchLabels": {"apps": "w"}}}}
    found = effect(without_type, "v0.4")
    assert [remark.is_refusal for remark in found.remarks if remark.path == "resource.instanceType"] == [
        False,
        True,
    ]
    said = list(map(text, upgrade_screen.lines([found], "v0.4", "v0.12", where=(), are_files=False)))
    assert sum("Standard_NC12s_v3" in line for line in said) == 2, "the refusal, and that it is written out"
    assert sum("kaitoctl skus" in line for line in said) == 1
    assert any("is written out" in line for line in said)


def test_clients_of_chat_are_warned_where_the_server_changes() -> None:
    assert "/v1/chat/completions" in effect(workspace(), "v0.3").clients
    assert effect(workspace(), "v0.4").clients == "", "vLLM served there already"
    assert "/chat is gone" in effect(workspace(annotations=TRANSFORMERS), "v0.4").clients
    assert effect(workspace(annotations=TRANSFORMERS), "v0.9").clients == ""


def test_a_workspace_of_today_is_fine() -> None:
    today = {**workspace(), "apiVersion": "kaito.sh/v1beta1"}
    assert effect(today, "v0.9").is_fine and not effect(today, "v0.9").breaks
    assert not effect(today, "v0.4").is_fine, "it restarts"


@pytest.mark.parametrize(
    ("asked", "version", "is_it", "is_before"),
    [
        ("v0.12", "v0.12.0", True, False),
        ("0.12.0", "v0.12.0", True, False),
        ("v0.12", "v0.12.3-rc1", True, False),
        ("v0.12.1", "v0.12.0", False, False),
        ("v0.12.0", "v0.12.1", False, True),
        ("v0.13", "v0.12.0", False, False),
        ("v0.11", "v0.12.0", False, True),
        ("v0.9", "v0.12.0", False, True),
        ("v0.12", "kaitoctl", False, False),
        ("v0.12", "", False, False),
    ],
)
def test_a_release_is_that_one_and_no_neighbour(
    asked: str, version: str, is_it: bool, is_before: bool
) -> None:
    """v0.11, v0.12 and v0.13 are judged by the same rules, and are three releases."""
    assert upgrade.names_release(asked, version) is is_it
    assert upgrade.is_older(asked, version) is is_before
