"""A template that no API server would ever accept: the condition names the field, and nobody asks again."""

from __future__ import annotations

from typing import Any

import pytest
from world import NOW, World, falcon, prepared

from kaitoctl.kaito import api as kaito
from kaitoctl.kaito.desired import Settings
from kaitoctl.kube import conditions
from kaitoctl.kube.objects import ObjectKey
from kaitoctl.reconcile.controller import Outcome
from kaitoctl.workspace_controller import WorkspaceReconciler

FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("restartPolicy: Unsupported value", {"restartPolicy": "Never"}),
    ("restartPolicy: Unsupported value", {"restartPolicy": "OnFailure"}),
    ("volumeMounts[0].name: Not found", {"mounts": [{"name": "w", "mountPath": "/w"}]}),
]


def with_template(fault: dict[str, Any]) -> World:
    world = prepared()
    wanted = falcon()
    container = {"name": "x", "image": "a:1", "volumeMounts": fault.pop("mounts", [])}
    wanted["inference"] = {"template": {"spec": {"containers": [container], **fault}}}
    world.apply(kaito.WORKSPACE, wanted)
    return world


@pytest.mark.parametrize(("words", "fault"), FAULTS)
def test_it_ends_the_pass_without_a_retry(words: str, fault: dict[str, Any]) -> None:
    world = with_template(dict(fault))
    reconciler = WorkspaceReconciler(world.stores(), Settings(), kind=world.kind, clock=lambda: NOW)
    assert world.drive(reconciler.reconcile(ObjectKey("default", "falcon"))) == Outcome()  # None: tried again
    told = conditions.find(world.get(kaito.WORKSPACE, "falcon") or {}, kaito.INFERENCE_READY) or {}
    assert told["reason"] == "WorkspaceInferenceStatusFailed"
    assert f"inference.template.spec.{words}" in told["message"].replace("containers[0].", "")
