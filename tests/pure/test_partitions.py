"""Parts of nodes that a Workspace asks for: what cannot be is refused, whoever makes the pods."""

from __future__ import annotations

from typing import Any

import pytest

from kaitoctl.kaito import validation
from kaitoctl.kaito.desired import Settings
from kaitoctl.kaito.validation import OWN, Setting
from kaitoctl.kube.objects import Object, dig
from kaitoctl.workspace_controller import children_of
from kaitoctl.workspace_controller.decisions import refusal_of


def workspace(partition: Any, preset: str = "phi-4-mini-instruct", **resource: Any) -> Object:
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": "w", "namespace": "default", "uid": "u", "generation": 1},
        "resource": {"partition": partition, "labelSelector": {"matchLabels": {"a": "b"}}, **resource},
        "inference": {"preset": {"name": preset}},
    }


def errors(obj: Object, setting: Setting) -> list[tuple[str, str]]:
    found = validation.judge(obj, setting)
    return [(one.code, one.path) for one in found if one.severity == "error"]


@pytest.mark.parametrize(
    ("partition", "field"),
    [
        ({"mode": "mig", "profile": "3g.40gb"}, ""),
        ({"mode": "accelerator", "count": 2}, ""),
        ({"mode": "mig"}, ".profile"),
        ({"mode": "mig", "profile": ""}, ".profile"),
        ({"mode": "mig", "profile": "9g.99gb"}, ".profile"),
        ({"mode": "mig", "profile": "half"}, ".profile"),
        ({"mode": "mig", "profile": "3g.40gb", "count": 2}, ".count"),
        ({"mode": "accelerator"}, ".count"),
        ({"mode": "accelerator", "count": 2, "profile": "1g.10gb"}, ".profile"),
    ],
)
def test_kaitoctls_own_controller_takes_the_partitions_that_kaito_takes(partition: Any, field: str) -> None:
    obj, gates = workspace(partition), frozenset({"enableMIG", "enableAccelerator"})
    wrong = [("KW129", f"resource.partition{field}")] if field else []
    for setting in (Setting("v0.12", byo=True, gates=gates), Setting(OWN, byo=True)):
        assert errors(obj, setting) == wrong
    refused = refusal_of(obj, Settings())
    assert bool(refused) == bool(field) and refused.startswith(f"resource.partition{field}" if field else "")


def test_nodes_that_the_controller_buys_have_no_slices() -> None:
    of = {"instanceType": "Standard_NC24ads_A100_v4"}
    slices, cards = {"mode": "mig", "profile": "3g.40gb"}, {"mode": "accelerator", "count": 1}
    assert errors(workspace(slices, **of), Setting(OWN, byo=False)) == [("KW129", "resource.partition")]
    assert errors(workspace(cards, **of), Setting(OWN, byo=False)) == []
    assert errors(workspace(slices, **of), Setting(OWN, byo=True)) == []


def test_what_has_no_parts_is_not_refused_for_them() -> None:
    found = validation.judge(workspace({"mode": "mig"}, "falcon-7b"), Setting(OWN, byo=True))
    assert "KW129" not in {one.code for one in found}


@pytest.mark.parametrize(
    ("resource", "gpus"),
    [
        ({}, "2"),  # what its nodes have is not known
        ({"instanceType": "Standard_NC96ads_A100_v4"}, "2"),  # four
        ({"instanceType": "Standard_NC24ads_A100_v4"}, "1"),  # it has no more
    ],
)
def test_a_pod_asks_for_the_gpus_that_the_manifest_says(resource: Any, gpus: str) -> None:
    obj = workspace({"mode": "accelerator", "count": 2}, **resource)
    made = [one.manifest for one in children_of(obj, gpus=1, settings=Settings())]
    (stateful_set,) = [one for one in made if one["kind"] == "StatefulSet"]
    (container,) = dig(stateful_set, "spec", "template", "spec", "containers")
    assert container["resources"]["limits"] == {"nvidia.com/gpu": gpus}
    if not resource:  # where it is known that one GPU holds the model, one process has it
        assert "--tensor-parallel-size=2" in " ".join(container["command"])
